"""The trades of one part as the page lists them: filtered and sorted here, so that a long list is never sent whole."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from barwise.dashboard.results import Results
from barwise.report import tables
from barwise.report.run_comparison import OUT_OF_SAMPLE
from barwise.result import Trade

Side = Literal["long", "short"]
Outcome = Literal["win", "loss"]
Order = Literal["asc", "desc"]
# Names of core.layout.Exit.
Reason = Literal[
    "stop_loss",
    "trailing_stop",
    "trailing_take_profit",
    "take_profit",
    "opposite_signal",
    "strategy_exit",
    "end_of_data",
    "ruined",
]
Column = Literal[
    "trade_id",
    "side",
    "entry_time",
    "exit_time",
    "entry_price",
    "exit_price",
    "quantity",
    "tiers",
    "exit_reason",
    "gross_pnl",
    "fees",
    "slippage",
    "funding",
    "net_pnl",
    "r",
    "bars_held",
    "mfe",
    "mae",
    "ambiguous",
]


class Listed(NamedTuple):
    """One trade of a part.

    Attributes:
        place: Among all trades of the part, from 0.
        piece: Of the walk-forward, from 1; None for a backtest.
        trade: The trade; its id is unique within its piece.
    """

    place: int
    piece: int | None
    trade: Trade

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `r` is the net result in units of the initial risk, None where there was none."""
        trade = self.trade
        return {
            "trade_id": trade.trade_id,
            "piece": self.piece,
            "program_id": trade.program_id,
            "side": trade.side,
            "entry_time": ms(trade.entry_time),
            "exit_time": ms(trade.exit_time),
            "entry_price": trade.entry_price,
            "exit_price": trade.exit_price,
            "quantity": trade.quantity,
            "tiers": self.value("tiers"),
            "exit_reason": trade.exit_reason,
            "gross_pnl": trade.gross_pnl,
            "fees": trade.fees,
            "slippage": trade.slippage,
            "funding": trade.funding,
            "net_pnl": trade.net_pnl,
            "r": self.value("r"),
            "bars_held": trade.bars_held,
            "mfe": trade.mfe,
            "mae": trade.mae,
            "initial_risk": trade.initial_risk,
            "ambiguous": trade.ambiguous,
        }

    def value(self, column: Column) -> Any:
        """What a column is sorted by; as in `to_dict`, but for times, which stay times."""
        trade = self.trade
        if column == "r":
            risk = trade.initial_risk * trade.quantity
            return trade.net_pnl / risk if risk > 0.0 else None
        return tables.tiers_of(trade.fills) if column == "tiers" else getattr(trade, column)


def ms(moment: datetime) -> int:
    """An aware time in ms since 1970."""
    return round(moment.timestamp() * 1000)


class Filter(NamedTuple):
    """Which trades are wanted; None = all.

    Attributes:
        side, reason: As in a trade.
        tier: One that filled a part of it.
        result: win: a net result above 0; loss: below 0.
        start, end: Half-open span of the entry, ms UTC.
    """

    side: Side | None = None
    reason: Reason | None = None
    tier: int | None = None
    result: Outcome | None = None
    start: int | None = None
    end: int | None = None

    def keeps(self, trade: Trade) -> bool:
        """Whether a trade is one of them."""
        return (
            (self.side is None or trade.side == self.side)
            and (self.reason is None or trade.exit_reason == self.reason)
            and (self.tier is None or any(fill.tier == self.tier for fill in trade.fills))
            and (self.result is None or (trade.net_pnl > 0.0 if self.result == "win" else trade.net_pnl < 0.0))
            and (self.start is None or ms(trade.entry_time) >= self.start)
            and (self.end is None or ms(trade.entry_time) < self.end)
        )


def listed(results: Results, name: str, part: str) -> list[Listed]:
    """All trades of a part, in order of time.

    Raises:
        NotFound: There is no such run, or it has no such part.
        DataError, CheckpointError, ConfigError, BacktestError: The part cannot be had.
    """
    if part == OUT_OF_SAMPLE:
        return [Listed(place, piece, trade) for place, (piece, trade) in enumerate(results.stitched(name).trades)]
    return [Listed(trade.trade_id, None, trade) for trade in results.backtest(name, part).trades]


def chosen(trades: Sequence[Listed], wanted: Filter, sort: Column, order: Order) -> list[Listed]:
    """The trades that are wanted, sorted by a column; equal ones stay in order of time, undefined ones come last."""
    kept = [(entry.value(sort), entry) for entry in trades if wanted.keeps(entry.trade)]
    defined = [pair for pair in kept if pair[0] is not None]
    defined.sort(key=lambda pair: pair[0], reverse=order == "desc")
    return [entry for _, entry in defined] + [entry for value, entry in kept if value is None]


def trades_csv(results: Results, name: str, part: str, trades: Sequence[Listed]) -> str:
    """These trades as the table of a run has them, with part and piece in front.

    Raises:
        NotFound, DataError, CheckpointError, ConfigError, BacktestError: As `listed`.
    """
    if part == OUT_OF_SAMPLE:
        path = results.table(name, "trades")
        assert path is not None
        text = path.read_text(encoding="utf-8")
    else:
        text = tables.trades_csv(results.backtest(name, part))
    rows = _rows(text, part)
    header, everything = next(rows), list(rows)
    written = io.StringIO()
    writer = csv.writer(written)
    # What the rows hold is as a table has it already, so it is only moved.
    writer.writerow(header)
    writer.writerows(everything[entry.place] for entry in trades)
    return written.getvalue()


def _rows(text: str, part: str) -> Iterator[list[str]]:
    """The header and the rows of a part, with its name and piece in front."""
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows)
    stacked = header[:2] == ["part", "piece"]
    yield header if stacked else ["part", "piece", *header]
    for row in rows:
        if not stacked:
            yield [part, "", *row]
        elif row[0] == part:
            yield row
