"""The result of one backtest: records first, everything else derived from them when asked for.

Percentages are percent (win_rate, max_drawdown, total_return), ratios are plain numbers, money is quote currency, times
are aware UTC datetimes of a bar's open.
"""

import html
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from barwise.config import ExecutionConfig
from barwise.core import curve, figures, metrics, outcomes, tiers
from barwise.core.layout import Exit, FloatArray, Intrabar, Outcome, Records, Status
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.prepare import Prepared
from barwise.strategy.base import Plan, Strategy

if TYPE_CHECKING:
    import polars

SCHEMA_VERSION = 1

_SIDES = {1: "long", -1: "short"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _utc(time_ms: Any) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(time_ms))


class _Record:
    """A record is read by attribute or like a dict."""

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def keys(self) -> Iterator[str]:
        """Names of the fields."""
        return (field.name for field in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fill(_Record):
    """One fill of an entry program: time of the bar, tier 1..5, price, quantity, fee, "maker" or "taker"."""

    time: datetime
    tier: int
    price: float
    quantity: float
    fee: float
    liquidity: str


@dataclass(frozen=True)
class Program(_Record):
    """One entry program: what was signalled, what was filled, how it ended.

    Attributes:
        signal_time: When the signal was known: the close of its bar.
        arrival_price, atr: R and A of the execution rules, frozen at the signal.
        outcome: filled | timeout | chase | margin | reversed | position_closed | end_of_data.
        shortfall_bp: side * (mean entry price - arrival price) / arrival price in basis points; None without a fill.
    """

    program_id: int
    signal_time: datetime
    side: str
    arrival_price: float
    atr: float
    quantity: float
    filled_quantity: float
    outcome: str
    end_time: datetime
    fills: tuple[Fill, ...]
    shortfall_bp: float | None


@dataclass(frozen=True)
class Trade(_Record):
    """One closed position.

    Attributes:
        gross_pnl: At fill prices, so slippage is already in it.
        slippage: The part of gross_pnl lost to slippage, >= 0.
        funding: Paid (positive) or received (negative).
        net_pnl: gross_pnl - fees - funding.
        bars_held: Signal bars from entry to exit; 0 = the same bar.
        mfe, mae: Most the position was ever ahead (>= 0) and behind (<= 0) in quote currency, as far as the bars prove.
        ambiguous: A bar left the order of its events open; the reading `intrabar` decided.
    """

    trade_id: int
    program_id: int
    side: str
    entry_time: datetime
    exit_time: datetime
    entry_price: float
    exit_price: float
    quantity: float
    exit_reason: str
    gross_pnl: float
    fees: float
    slippage: float
    funding: float
    net_pnl: float
    bars_held: int
    mfe: float
    mae: float
    ambiguous: bool
    initial_risk: float
    fills: tuple[Fill, ...]


@dataclass(frozen=True)
class Band(_Record):
    """Net result under the three readings of unclear bars, and how many trades depended on one in this run."""

    worst: float
    path: float
    best: float
    ambiguous_trades: int


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult:
    """What a backtest found. Headline numbers are attributes; `metrics` has all of them.

    Attributes:
        prepared, strategy, execution, fees_schedule, plan: What was run.
        trade_from: First signal bar whose signal could be used; metrics cover the bars from it on.
        params: The PARAMS record.
        summary, band_summaries: SUMMARY records: of this run, and of the three readings.
        records: The raw PROGRAM, FILL and TRADE records and the equity columns (core.layout).
    """

    prepared: Prepared
    strategy: Strategy
    execution: ExecutionConfig
    fees_schedule: FeeSchedule
    plan: Plan
    trade_from: int
    params: Any
    summary: Any
    band_summaries: Any
    records: Records

    @property
    def candles(self) -> Candles:
        """The signal candles."""
        return self.prepared.candles

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known about the data of this run, such as missing volume."""
        return self.prepared.notes

    @property
    def initial_capital(self) -> float:
        """Starting cash, quote currency."""
        return self.execution.initial_capital

    @cached_property
    def _headline(self) -> dict[str, float]:
        candles = self.candles
        bars_per_year = candles.timeframe.bars_per_year(candles.calendar)
        found = metrics.headline(self.summary, self.initial_capital, bars_per_year, self.years)
        return {name: column[0].item() for name, column in found.items()}

    @property
    def years(self) -> float:
        """Elapsed time of the tested bars, in years of 365.2425 days."""
        return figures.elapsed_years(self.candles.time[self.trade_from :], self.candles.timeframe.ms)

    @property
    def total_trades(self) -> int:
        """Closed positions."""
        return int(self._headline["total_trades"])

    @property
    def winning_trades(self) -> int:
        """Trades with a net result above 0."""
        return int(self._headline["winning_trades"])

    @property
    def losing_trades(self) -> int:
        """Trades with a net result below 0."""
        return int(self._headline["losing_trades"])

    @property
    def win_rate(self) -> float:
        """Winning trades, percent of all."""
        return self._headline["win_rate"]

    @property
    def sharpe_ratio(self) -> float:
        """Annualised mean over standard deviation of bar returns; 0 where undefined."""
        return self._headline["sharpe_ratio"]

    @property
    def sortino_ratio(self) -> float:
        """Annualised mean over downside deviation of bar returns; 0 where undefined."""
        return self._headline["sortino_ratio"]

    @property
    def max_drawdown(self) -> float:
        """Largest fall from a running peak of equity at bar closes, percent, positive."""
        return self._headline["max_drawdown"]

    @property
    def total_return(self) -> float:
        """Net result, percent of the initial capital."""
        return self._headline["total_return"]

    @property
    def net_pnl(self) -> float:
        """Result after all costs, quote currency."""
        return self._headline["net_pnl"]

    @property
    def gross_pnl(self) -> float:
        """Result at fill prices, before fees and funding."""
        return self._headline["gross_pnl"]

    @property
    def fees(self) -> float:
        """Fees paid."""
        return self._headline["fees"]

    @property
    def slippage(self) -> float:
        """Money lost to slippage; already part of gross_pnl."""
        return self._headline["slippage"]

    @property
    def funding(self) -> float:
        """Funding paid, negative where received."""
        return self._headline["funding"]

    @property
    def profit_factor(self) -> float:
        """Net winnings over net losses; 0 where undefined."""
        return self._headline["profit_factor"]

    @property
    def recovery_factor(self) -> float:
        """Net result over the largest drawdown in money; 0 where undefined."""
        return self._headline["recovery_factor"]

    @property
    def expectancy(self) -> float:
        """Mean net result per trade; 0 where there is none."""
        return self._headline["expectancy"]

    @property
    def final_equity(self) -> float:
        """Equity at the last bar's close, after everything was closed."""
        return float(self.summary["final_equity"][0])

    @property
    def ruined(self) -> bool:
        """Equity fell to 0 or below and the run ended there."""
        return int(self.summary["status"][0]) == Status.RUINED

    @property
    def equity_curve(self) -> FloatArray:
        """Equity at the close of each signal bar from `trade_from` on."""
        return self.records.equity

    @cached_property
    def drawdown_curve(self) -> FloatArray:
        """Fall from the running peak at each of those closes, percent, positive."""
        return curve.drawdown_curve(self.records.equity)

    @cached_property
    def fills(self) -> tuple[Fill, ...]:
        """Every entry fill in order of time."""
        times = self.prepared.execution_candles.time[self.records.fills["bar"]]
        return tuple(
            Fill(
                time=_utc(time),
                tier=int(record["tier"]),
                price=float(record["price"]),
                quantity=float(record["quantity"]),
                fee=float(record["fee"]),
                liquidity="maker" if record["maker"] else "taker",
            )
            for time, record in zip(times, self.records.fills, strict=True)
        )

    @cached_property
    def _fills_of_program(self) -> dict[int, tuple[Fill, ...]]:
        grouped: dict[int, list[Fill]] = {}
        for fill, program in zip(self.fills, self.records.fills["program"].tolist(), strict=True):
            grouped.setdefault(program, []).append(fill)
        return {program: tuple(group) for program, group in grouped.items()}

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """Every entry program, the missed ones too, in order of time."""
        records = self.records.programs
        step = self.candles.timeframe.ms
        signal_times = self.candles.time[records["signal_bar"]] + step
        end_times = self.prepared.execution_candles.time[records["end_bar"]]
        return tuple(
            Program(
                program_id=row,
                signal_time=_utc(signal_times[row]),
                side=_SIDES[int(record["side"])],
                arrival_price=float(record["arrival_price"]),
                atr=float(record["atr"]),
                quantity=float(record["quantity"]),
                filled_quantity=float(record["filled"]),
                outcome=Outcome(int(record["outcome"])).name.lower(),
                end_time=_utc(end_times[row]),
                fills=self._fills_of_program.get(row, ()),
                shortfall_bp=None
                if record["filled"] == 0.0
                else float(
                    record["side"] * (record["entry_price"] - record["arrival_price"]) / record["arrival_price"] * 1e4
                ),
            )
            for row, record in enumerate(records)
        )

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Every closed position in order of time."""
        records = self.records.trades
        time = self.prepared.execution_candles.time
        entry_times, exit_times = time[records["entry_bar"]], time[records["exit_bar"]]
        favourable, adverse = outcomes.excursions(records)
        return tuple(
            Trade(
                trade_id=row,
                program_id=int(record["program"]),
                side=_SIDES[int(record["side"])],
                entry_time=_utc(entry_times[row]),
                exit_time=_utc(exit_times[row]),
                exit_reason=Exit(int(record["exit_reason"])).name.lower(),
                bars_held=int(record["exit_signal_bar"] - record["entry_signal_bar"]),
                mfe=float(favourable[row]),
                mae=float(adverse[row]),
                ambiguous=bool(record["ambiguous"]),
                fills=self._fills_of_program.get(int(record["program"]), ()),
                **{
                    name: float(record[name])
                    for name in (
                        "entry_price",
                        "exit_price",
                        "quantity",
                        "gross_pnl",
                        "fees",
                        "slippage",
                        "funding",
                        "net_pnl",
                        "initial_risk",
                    )
                },
            )
            for row, record in enumerate(records)
        )

    @cached_property
    def band(self) -> Band:
        """Net result under the worst, path and best reading of unclear bars."""
        net = self.band_summaries["net_pnl"]
        return Band(
            float(net[Intrabar.WORST]),
            float(net[Intrabar.PATH]),
            float(net[Intrabar.BEST]),
            int(self.summary["ambiguous"][0]),
        )

    @cached_property
    def tier_statistics(self) -> Any:
        """Per tier: programs, fill rate, quantity, bars to fill, shortfall, maker share, fees, drift after the fill."""
        p = self.params
        bars = (int(p["tier1_bars"]), int(p["tier2_bars"]), int(p["tier3_bars"]), int(p["tier4_bars"]))
        return tiers.tier_statistics(
            self.records.programs,
            self.records.fills,
            self.prepared.execution_candles.close,
            bars,
        )

    @cached_property
    def program_totals(self) -> Any:
        """Entry programs by how they ended, and what was filled of them."""
        return tiers.program_totals(self.records.programs)

    @cached_property
    def missed_programs(self) -> Any:
        """The programs nothing was filled of, and what the market did after them."""
        return tiers.missed_programs(self.records.programs, self.prepared.execution_candles.close)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Every metric by name; None where it is undefined, with the reason under `undefined`."""
        return metrics.all_metrics(self)

    def trades_frame(self) -> "polars.DataFrame":
        """The trades as a polars frame, one row each, without their fills."""
        import polars

        types = {
            str: polars.String,
            int: polars.Int64,
            float: polars.Float64,
            bool: polars.Boolean,
        }
        schema: dict[str, Any] = {
            field.name: types.get(field.type, polars.Datetime("ms", "UTC"))  # type: ignore[arg-type]
            for field in fields(Trade)
            if field.name != "fills"
        }
        return polars.DataFrame(
            {name: [trade[name] for trade in self.trades] for name in schema},
            schema=schema,
        )

    def equity_frame(self) -> "polars.DataFrame":
        """Equity, drawdown (percent) and close per signal bar, at its close."""
        import polars

        candles = self.candles
        return polars.DataFrame(
            {
                "time": candles.time[self.trade_from :],
                "equity": self.equity_curve,
                "drawdown": self.drawdown_curve,
                "close": candles.close[self.trade_from :],
            }
        ).with_columns(polars.from_epoch("time", time_unit="ms").dt.replace_time_zone("UTC"))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types, under a schema version."""
        candles = self.candles
        return {
            "schema_version": SCHEMA_VERSION,
            "exchange": candles.exchange,
            "symbol": candles.symbol,
            "timeframe": str(candles.timeframe),
            "synthetic": candles.synthetic,
            "bars": len(candles),
            "first_bar": _utc(candles.time[0]).isoformat(),
            "last_bar": _utc(candles.time[-1]).isoformat(),
            "trade_from": self.trade_from,
            "fingerprint": candles.fingerprint,
            "strategy": {
                "name": type(self.strategy).__name__,
                "parameters": self.strategy.to_dict(),
            },
            "execution": self.execution.to_dict(),
            "fees_schedule": self.fees_schedule.to_dict(),
            "quantity": float(self.params["quantity"]),
            "metrics": self.metrics,
            "band": asdict(self.band),
            "tiers": self.tier_statistics,
            "program_totals": self.program_totals,
            "missed_programs": self.missed_programs,
            "programs": [_plain(program) for program in self.programs],
            "trades": [_plain(trade) for trade in self.trades],
            "equity": {
                "time": candles.time[self.trade_from :].tolist(),
                "equity": self.equity_curve.tolist(),
            },
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """`to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def __repr__(self) -> str:
        candles = self.candles
        name = " ".join(part for part in (candles.exchange, candles.symbol, str(candles.timeframe)) if part)
        label = " SYNTHETIC" if candles.synthetic else ""
        low, high = sorted((self.band.worst, self.band.best))
        return (
            f"BacktestResult({name}{label}, {type(self.strategy).name()}: {self.total_trades} trades, "
            f"net {self.net_pnl:+,.2f} ({self.total_return:+.2f} %), between {low:+,.2f} and {high:+,.2f} by the order "
            f"inside bars, Sharpe {self.sharpe_ratio:.2f}, max drawdown {self.max_drawdown:.2f} %)"
        )

    def _repr_html_(self) -> str:
        rows = (
            ("net result", f"{self.net_pnl:+,.2f} ({self.total_return:+.2f} %)"),
            (
                "worst .. best order inside bars",
                f"{self.band.worst:+,.2f} .. {self.band.best:+,.2f}",
            ),
            ("Sharpe", f"{self.sharpe_ratio:.2f}"),
            ("max drawdown", f"{self.max_drawdown:.2f} %"),
            ("trades / win rate", f"{self.total_trades} / {self.win_rate:.0f} %"),
            (
                "fees / slippage / funding",
                f"{self.fees:,.2f} / {self.slippage:,.2f} / {self.funding:,.2f}",
            ),
        )
        candles = self.candles
        title = f"{candles.exchange} {candles.symbol} {candles.timeframe} {type(self.strategy).name()}"
        label = " <b>SYNTHETIC</b>" if candles.synthetic else ""
        body = "".join(
            f"<tr><td>{name}</td><td style='text-align:right'>{html.escape(value)}</td></tr>" for name, value in rows
        )
        return f"<table><caption>{html.escape(title)}{label}</caption>{body}</table>"


def _plain(record: Any) -> dict[str, Any]:
    """A record as plain JSON types."""
    plain = asdict(record)
    for owner in (plain, *plain.get("fills", ())):
        for name, value in owner.items():
            if isinstance(value, datetime):
                owner[name] = value.isoformat()
    return plain
