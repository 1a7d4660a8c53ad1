"""The tables of a run read back: equity of every part, and the trades of the walk-forward, which nothing else has.

The tables have as many digits as it takes to read the same numbers back, so what comes out of them is what went in, to
the bit.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from barwise.core.curve import drawdown_curve
from barwise.core.layout import FloatArray, IntArray
from barwise.errors import DataError
from barwise.report.run_comparison import BASELINE, HELD, OPTIMIZED, OUT_OF_SAMPLE
from barwise.result import BacktestResult, Fill, Trade
from barwise.timeframe import Timeframe

T = TypeVar("T")

_TIME = "bar_open (UTC)"
_EQUITY = " equity at close (quote)"
# What a table of a single backtest has instead.
_ALONE, _CLOSE = "equity at close (quote)", "close (quote)"
_PARTS = (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD)


class Curve(NamedTuple):
    """The equity of one part.

    Attributes:
        time: int64, the close of each bar in ms.
        equity: float64, at that time.
        drawdown: float64, fall from the running peak, percent, positive.
    """

    time: IntArray
    equity: FloatArray
    drawdown: FloatArray


class Stitched(NamedTuple):
    """The trades of a walk-forward, piece by piece; ids of trades and programs start anew in every piece.

    Attributes:
        trades: Each with the piece it belongs to, from 1.
        fills: Each with its piece and the program it belongs to.
    """

    trades: tuple[tuple[int, Trade], ...]
    fills: tuple[tuple[int, int, Fill], ...]


def curves_of(result: BacktestResult) -> dict[str, Curve]:
    """The equity of a backtest as `baseline`, and holding the market over the same bars as `buy_and_hold`."""
    candles = result.candles
    time = candles.time[result.trade_from :] + candles.timeframe.ms
    closes = candles.close[result.trade_from :]
    held = result.initial_capital * closes / closes[0]
    return {
        BASELINE: Curve(time, result.equity_curve, result.drawdown_curve),
        HELD: Curve(time, held, drawdown_curve(held, result.initial_capital)),
    }


def read_curves(path: Path, timeframe: str, capital: float | None) -> dict[str, Curve]:
    """The curves of a table of equity, by part.

    Args:
        path: The table.
        timeframe: Of its bars.
        capital: That the walk-forward and holding the market start from; None: their own first value.

    Raises:
        DataError: It cannot be read.
    """
    import polars

    try:
        frame = polars.read_csv(path, schema_overrides={_TIME: polars.String}, infer_schema_length=0).with_columns(
            polars.col(_TIME).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms").dt.epoch("ms").alias(_TIME),
            polars.exclude(_TIME).cast(polars.Float64),
        )
    except (polars.exceptions.PolarsError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    time = frame[_TIME].to_numpy() + Timeframe.parse(timeframe).ms
    columns = {part: frame[f"{part}{_EQUITY}"].to_numpy() for part in _PARTS if f"{part}{_EQUITY}" in frame.columns}
    if _ALONE in frame.columns and _CLOSE in frame.columns and len(frame):
        close = frame[_CLOSE].to_numpy()
        start = frame[_ALONE][0] if capital is None else capital
        columns = {BASELINE: frame[_ALONE].to_numpy(), HELD: start * close / close[0]}
    found = {}
    for part, column in columns.items():
        there = ~np.isnan(column)
        if there.any():
            equity = np.ascontiguousarray(column[there])
            # A backtest's own curve begins at its capital, and its peak with it.
            peak = capital if part in (OUT_OF_SAMPLE, HELD) else None
            found[part] = Curve(time[there], equity, drawdown_curve(equity, peak))
    return found


def read_stitched(trades: Path, fills: Path) -> Stitched:
    """The out-of-sample rows of the tables of trades and fills.

    Raises:
        DataError: One cannot be read.
    """
    found = _read(fills, lambda row: (int(row["piece"]), int(row["program_id"]), _fill(row)))
    of_program: dict[tuple[int, int], list[Fill]] = {}
    for piece, program, fill in found:
        of_program.setdefault((piece, program), []).append(fill)

    def trade(row: Mapping[str, str]) -> tuple[int, Trade]:
        piece = int(row["piece"])
        return piece, _trade(row, tuple(of_program.get((piece, int(row["program_id"])), ())))

    return Stitched(tuple(_read(trades, trade)), tuple(found))


def _read(path: Path, made: Callable[[Mapping[str, str]], T]) -> list[T]:
    try:
        return [made(row) for row in _out_of_sample(path)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path) from error


def _out_of_sample(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["part"] == OUT_OF_SAMPLE)


def _fill(row: Mapping[str, str]) -> Fill:
    return Fill(
        time=_time(row["time (UTC)"]),
        tier=int(row["tier"]),
        price=float(row["price (quote)"]),
        quantity=float(row["quantity (base)"]),
        fee=float(row["fee (quote)"]),
        liquidity=row["liquidity"],
    )


_MONEY = ("gross_pnl", "fees", "slippage", "funding", "net_pnl", "mfe", "mae")


def _trade(row: Mapping[str, str], fills: tuple[Fill, ...]) -> Trade:
    amounts: dict[str, Any] = {name: float(row[f"{name} (quote)"]) for name in _MONEY}
    return Trade(
        trade_id=int(row["trade_id"]),
        program_id=int(row["program_id"]),
        side=row["side"],
        entry_time=_time(row["entry_time (UTC)"]),
        exit_time=_time(row["exit_time (UTC)"]),
        entry_price=float(row["entry_price (quote)"]),
        exit_price=float(row["exit_price (quote)"]),
        quantity=float(row["quantity (base)"]),
        exit_reason=row["exit_reason"],
        bars_held=int(row["bars_held (signal bars)"]),
        ambiguous=row["ambiguous"] == "true",
        initial_risk=float(row["initial_risk (quote per unit)"]),
        fills=fills,
        **amounts,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _unreadable(path: Path) -> DataError:
    return DataError(
        f"the table {path.name} cannot be read: it was changed by something else.",
        hint="do the run again, and it is written anew.",
    )
