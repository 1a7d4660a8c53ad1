"""What of a run stands side by side, and which differences mean anything.

A walk-forward trades a shorter span than the backtests around it, so its totals cannot be subtracted from theirs: a
smaller profit, smaller fees and a smaller drawdown all come with fewer days. What grows with the span is therefore only
subtracted where both spans are the same; rates, ratios and amounts per 30 days always are. The page, the terminal, the
JSON and the CSV all take their figures from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from barwise.core.curve import buy_and_hold, drawdown_curve, path_metrics
from barwise.core.figures import YEAR_MS, elapsed_years
from barwise.core.layout import FloatArray, IntArray
from barwise.core.outcomes import cost_attribution
from barwise.report.findings import RunFindings
from barwise.timeframe import DAY_MS

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult
    from barwise.validation.walk_forward import WalkForwardResult

BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD = "baseline", "optimized", "out_of_sample", "buy_and_hold"
# A search starts where its longest periods are defined, a few bars after a plain backtest: still the same span.
_SAME_SPAN = 0.05
_PERIOD_MS = 30 * DAY_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Unit = Literal["count", "money", "percent", "ratio", "R"]


class Figure(NamedTuple):
    """One line of the comparison.

    Attributes:
        name: In the JSON and in the CSV.
        label: For people.
        unit: count | money (quote currency) | percent | ratio | R (a trade's own initial risk).
        grows: A total or an extreme that grows with the span.
        better: 1 where more is better, -1 where less is, 0 where neither can be said.
        metric: Its name in `metrics`; "" where it is worked out here.
    """

    name: str
    label: str
    unit: Unit
    grows: bool
    better: int
    metric: str = ""


FIGURES: tuple[Figure, ...] = (
    Figure("trades", "trades", "count", True, 0, "total_trades"),
    Figure("trades_per_30_days", "trades per 30 days", "ratio", False, 0),
    Figure("win_rate", "win rate", "percent", False, 1, "win_rate"),
    Figure("net_pnl", "net result", "money", True, 1, "net_pnl"),
    Figure("net_pnl_per_30_days", "net result per 30 days", "money", False, 1),
    Figure("total_return", "return", "percent", True, 1, "total_return"),
    Figure("cagr", "return a year (CAGR)", "percent", False, 1, "cagr"),
    Figure("sharpe_ratio", "Sharpe, annual", "ratio", False, 1, "sharpe_ratio"),
    Figure("daily_sharpe_ratio", "Sharpe by day, annual", "ratio", False, 1, "daily_sharpe_ratio"),
    Figure("sortino_ratio", "Sortino, annual", "ratio", False, 1, "sortino_ratio"),
    Figure("volatility", "volatility, annual", "percent", False, 0, "volatility"),
    Figure("max_drawdown", "max drawdown", "percent", True, -1, "max_drawdown"),
    Figure("profit_factor", "profit factor", "ratio", False, 1, "profit_factor"),
    Figure("expectancy", "expectancy a trade", "money", False, 1, "expectancy"),
    Figure("expectancy_r", "expectancy a trade", "R", False, 1, "expectancy_r"),
    Figure("exposure", "exposure", "percent", False, 0, "exposure"),
    Figure("fees", "fees", "money", True, -1, "fees"),
    Figure("fees_per_30_days", "fees per 30 days", "money", False, -1),
    Figure("slippage", "slippage", "money", True, -1, "slippage"),
    Figure("slippage_per_30_days", "slippage per 30 days", "money", False, -1),
    Figure("funding", "funding", "money", True, -1, "funding"),
)
_PER_30_DAYS = "_per_30_days"
_TOTALS = {"trades": "total_trades"}


@dataclass(frozen=True, eq=False)
class Part:
    """One column of the comparison.

    Attributes:
        name: baseline | optimized | out_of_sample | buy_and_hold.
        label: For people.
        candles: What it is about.
        bars: int64, its signal bars in order; there may be gaps between the windows of a walk-forward.
        metrics: By name; None where undefined.
        undefined: Reasons by metric.
        equity: float64, at the close of each bar.
        capital: At the start.
        held: Buy and hold over the same bars.
        results: The backtests it is made of; none for buy and hold.
    """

    name: str
    label: str
    candles: "Candles"
    bars: IntArray
    metrics: Mapping[str, Any]
    undefined: Mapping[str, str]
    equity: FloatArray
    capital: float
    held: Mapping[str, Any]
    results: tuple["BacktestResult", ...] = ()

    @property
    def first_ms(self) -> int:
        """Open of the first bar."""
        return int(self.candles.time[self.bars[0]])

    @property
    def end_ms(self) -> int:
        """Close of the last bar."""
        return int(self.candles.time[self.bars[-1]]) + self.candles.timeframe.ms

    @property
    def years(self) -> float:
        """Elapsed years of the bars: nights and weekends are part of it, what lies between windows is not."""
        runs = np.split(self.bars, np.flatnonzero(np.diff(self.bars) > 1) + 1)
        return float(sum(elapsed_years(self.candles.time[run], self.candles.timeframe.ms) for run in runs))

    @property
    def times(self) -> IntArray:
        """Close of each bar, ms UTC."""
        return self.candles.time[self.bars] + self.candles.timeframe.ms

    @property
    def drawdown(self) -> FloatArray:
        """Fall from the running peak, percent, positive."""
        return drawdown_curve(self.equity, self.capital)

    def figure(self, figure: Figure) -> float | int | None:
        """A figure of this part; None where it is undefined, or means nothing here."""
        if figure.metric:
            value: float | int | None = self.metrics.get(figure.metric)
            return value
        name = figure.name.removesuffix(_PER_30_DAYS)
        total = self.metrics.get(_TOTALS.get(name, name))
        years = self.years
        return None if total is None or not years > 0.0 else total / (years * YEAR_MS / _PERIOD_MS)

    def costs(self) -> dict[str, float] | None:
        """The way from the result before costs to the net result; None for buy and hold, which is told without."""
        if not self.results:
            return None
        if len(self.results) == 1:
            found: dict[str, float] = self.results[0].metrics["cost_attribution"]
            return found
        return cost_attribution(*(float(self.metrics[name]) for name in ("net_pnl", "fees", "slippage", "funding")))

    def span(self) -> dict[str, Any]:
        """First bar, end, bars and years, as JSON takes them."""
        return {
            "first_bar": utc(self.first_ms).isoformat(),
            "end": utc(self.end_ms).isoformat(),
            "bars": len(self.bars),
            "years": self.years,
        }


class Difference(NamedTuple):
    """Two parts that are subtracted: `part` - `base`."""

    part: str
    base: str

    @property
    def name(self) -> str:
        """`optimized_minus_baseline`."""
        return f"{self.part}_minus_{self.base}"


DIFFERENCES = (Difference(OPTIMIZED, BASELINE), Difference(OUT_OF_SAMPLE, OPTIMIZED))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The parts of a run by name, in the order of their columns; a part that was not run is not here."""

    parts: Mapping[str, Part]

    def difference(self, pair: Difference, figure: Figure) -> float | int | None:
        """A figure of one part less that of the other; None where one is missing or the difference means nothing.

        Percentages give percentage points.
        """
        part, base = self.parts.get(pair.part), self.parts.get(pair.base)
        if part is None or base is None or (figure.grows and not same_span(part, base)):
            return None
        value, other = part.figure(figure), base.figure(figure)
        return None if value is None or other is None else value - other

    @property
    def spans_differ(self) -> bool:
        """The walk-forward covers other bars than the backtests."""
        walked = self.parts.get(OUT_OF_SAMPLE)
        return walked is not None and not same_span(walked, self.parts.get(OPTIMIZED, self.parts[BASELINE]))


def same_span(part: Part, other: Part) -> bool:
    """Whether two parts end together and neither has clearly more bars than the other."""
    longest = max(len(part.bars), len(other.bars))
    return part.end_ms == other.end_ms and abs(len(part.bars) - len(other.bars)) <= _SAME_SPAN * longest


def compare(findings: RunFindings) -> Comparison:
    """The parts of a run side by side."""
    parts = [_of_result(BASELINE, "baseline", findings.baseline)]
    if findings.optimization is not None:
        parts.append(_of_result(OPTIMIZED, "optimized", findings.optimization.best))
    walked = None if findings.validation is None else findings.validation.walked
    if walked is not None and len(walked.bars):
        parts.append(_of_walk(walked))
    parts.append(_of_holding(parts[0]))
    return Comparison({part.name: part for part in parts})


def _of_result(name: str, label: str, result: "BacktestResult") -> Part:
    metrics = result.metrics
    return Part(
        name=name,
        label=label,
        candles=result.candles,
        bars=np.arange(result.trade_from, len(result.candles)),
        metrics=metrics,
        undefined=metrics["undefined"],
        equity=result.equity_curve,
        capital=result.initial_capital,
        held=metrics["buy_and_hold"],
        results=(result,),
    )


def _of_walk(walked: "WalkForwardResult") -> Part:
    """The stitched pieces; one given configuration in all windows is no out-of-sample, and is not called that."""
    candles, bars = walked.candles, walked.bars
    frame, calendar = candles.timeframe, candles.calendar
    path = path_metrics(candles.time[bars], walked.equity, walked.equity, frame.ms, calendar, walked.capital)
    metrics = {**walked.metrics, "daily_sharpe_ratio": path["daily_sharpe_ratio"]}
    undefined = dict(walked.metrics["undefined"])
    if "daily_sharpe_ratio" in path["undefined"]:
        undefined["daily_sharpe_ratio"] = path["undefined"]["daily_sharpe_ratio"]
    part = Part(
        name=OUT_OF_SAMPLE,
        label="out-of-sample" if walked.reoptimized else "stability check",
        candles=candles,
        bars=bars,
        metrics=metrics,
        undefined=undefined,
        equity=walked.equity,
        capital=walked.capital,
        held={},
        results=walked.pieces,
    )
    held = buy_and_hold(candles.close[bars], frame.bars_per_year(calendar), part.years)
    return replace(part, held=held)


def _of_holding(baseline: Part) -> Part:
    """The market held with the whole capital over the bars of the baseline, without costs."""
    closes = baseline.candles.close[baseline.bars]
    return Part(
        name=HELD,
        label="buy and hold",
        candles=baseline.candles,
        bars=baseline.bars,
        metrics=baseline.held,
        undefined=baseline.held["undefined"],
        equity=baseline.capital * closes / closes[0],
        capital=baseline.capital,
        held=baseline.held,
    )


def utc(time_ms: int) -> datetime:
    """A time in ms as an aware datetime."""
    return _EPOCH + timedelta(milliseconds=time_ms)
