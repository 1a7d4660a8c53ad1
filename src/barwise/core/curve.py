"""What one run's equity curve says: returns by day, month and year, drawdowns, and the market beside it.

Units and the rule for what is undefined are those of `metrics`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from barwise.core.figures import NO_VARIATION, RESOLUTION, cagr, elapsed_years, no_growth, standardised_mean
from barwise.core.layout import FloatArray, IntArray
from barwise.errors import DataError
from barwise.timeframe import DAY_MS, Calendar


def bar_returns(equity: FloatArray, initial_capital: float) -> FloatArray:
    """Returns from close to close as fractions, the first one from the initial capital; 0 once equity is gone."""
    before = np.concatenate(([initial_capital], equity[:-1]))
    return np.divide(equity - before, before, out=np.zeros(len(equity)), where=before > 0.0)


def drawdown_curve(equity: FloatArray, initial_capital: float | None = None) -> FloatArray:
    """Fall from the running peak in percent of the peak, positive, per bar; above 100 where equity is negative.

    Args:
        initial_capital: Where the peak starts; by default at the first value.
    """
    peak = np.maximum.accumulate(equity)
    if initial_capital is not None:
        peak = np.maximum(peak, initial_capital)
    return np.divide(100.0 * (peak - equity), peak, out=np.zeros(len(equity)), where=peak > 0.0)


def drawdown_table(time: IntArray, equity: FloatArray, initial_capital: float, top: int = 5) -> list[dict[str, Any]]:
    """The deepest drawdowns, deepest first.

    Returns:
        Dicts: peak_time, trough_time, recovery_time (first bar back at the old peak; None while it is not), depth
        (percent), bars (from the peak to the recovery or the last bar), duration_ms.
    """
    depth = drawdown_curve(equity, initial_capital)
    peaks, ends, bars, lengths = _water_marks(time, depth)
    if not len(peaks):
        return []
    deepest = np.maximum.reduceat(depth, peaks + 1)
    table = []
    for i in np.argsort(-deepest, kind="stable")[:top]:
        first, end = int(peaks[i]) + 1, int(ends[i])
        table.append(
            {
                "peak_time": int(time[max(first - 1, 0)]),
                "trough_time": int(time[first + int(np.argmax(depth[first:end]))]),
                "recovery_time": int(time[end]) if end < len(time) else None,
                "depth": float(deepest[i]),
                "bars": int(bars[i]),
                "duration_ms": int(lengths[i]),
            }
        )
    return table


def _water_marks(time: IntArray, depth: FloatArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Every drawdown's peak bar (-1: the initial capital), bar of recovery (n: none), length in bars and in ms."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], depth > 0.0, [False])).astype(np.int8)))
    peaks, ends = edges[::2] - 1, edges[1::2]
    last = np.minimum(ends, len(depth) - 1)
    return peaks, ends, last - peaks, time[last] - time[np.maximum(peaks, 0)]


def path_metrics(
    time: IntArray,
    equity: FloatArray,
    low_mark: FloatArray,
    timeframe_ms: int,
    calendar: Calendar,
    initial_capital: float,
) -> dict[str, Any]:
    """Metrics that need the order of the bars.

    Args:
        time: Opens of the signal bars in ms UTC, shape (bars,).
        equity: At their closes.
        low_mark: At the worst price the position provably saw within each bar, <= equity.

    Returns:
        The metrics of docs/metrics.md, "From the equity curve"; None where undefined, the reason under "undefined".

    Raises:
        DataError: There are no bars, or the arrays differ in length.
    """
    if not len(time) or not len(time) == len(equity) == len(low_mark):
        raise DataError(
            f"metrics need at least one bar and arrays of one length; got {len(time)} times, {len(equity)} equities "
            f"and {len(low_mark)} low marks.",
            hint="pass the arrays of one run as they are.",
        )
    reasons: dict[str, str] = {}
    returns = bar_returns(equity, initial_capital)
    depth = drawdown_curve(equity, initial_capital)
    _, _, under_bars, under_ms = _water_marks(time, depth)
    # Within a bar the last known peak is that of the closes before it: the bar's own close comes after its low.
    peak_before = np.maximum(
        np.concatenate(([initial_capital], np.maximum.accumulate(equity)[:-1])),
        initial_capital,
    )
    intrabar = float(np.max((peak_before - low_mark) / peak_before))

    years = elapsed_years(time, timeframe_ms)
    growth = cagr(float(equity[-1]), initial_capital, years)
    if growth is None:
        reasons["cagr"] = no_growth(years)
    ulcer = math.sqrt(float(np.mean(depth * depth)))
    upi = None
    if growth is None:
        reasons["ulcer_performance_index"] = reasons["cagr"]
    elif ulcer <= 100.0 * RESOLUTION:
        reasons["ulcer_performance_index"] = "equity never fell"
    else:
        upi = growth / ulcer

    local = time + calendar.utc_offset_ms
    days, daily, day_starts = _period_returns(local // DAY_MS, equity, initial_capital)
    daily_sharpe = None
    if timeframe_ms > DAY_MS:
        reasons["daily_sharpe_ratio"] = "the bars are longer than a day"
    else:
        daily_sharpe = standardised_mean(daily, calendar.days_per_year)
        if daily_sharpe is None:
            reasons["daily_sharpe_ratio"] = "fewer than two days" if len(days) < 2 else "the daily returns do not vary"
    date = local.astype("datetime64[ms]")
    months, monthly, _ = _period_returns(date.astype("datetime64[M]").astype(np.int64), equity, initial_capital)
    year_numbers, yearly, _ = _period_returns(date.astype("datetime64[Y]").astype(np.int64), equity, initial_capital)

    def extreme(values: FloatArray, times: IntArray, index: Callable[[FloatArray], np.intp]) -> dict[str, Any]:
        i = int(index(values))
        return {"time": int(times[i]), "percent": 100.0 * float(values[i])}

    return {
        "years": years,
        "cagr": growth,
        "max_drawdown": float(depth.max()),
        "max_drawdown_intrabar": 100.0 * max(intrabar, 0.0),
        "max_drawdown_duration_bars": int(under_bars.max(initial=0)),
        "max_drawdown_duration_ms": int(under_ms.max(initial=0)),
        "time_under_water": 100.0 * float(np.count_nonzero(depth > 0.0)) / len(depth),
        "drawdowns": drawdown_table(time, equity, initial_capital),
        "ulcer_index": ulcer,
        "ulcer_performance_index": upi,
        "daily_sharpe_ratio": daily_sharpe,
        "monthly_returns": [
            {
                "year": 1970 + int(month) // 12,
                "month": 1 + int(month) % 12,
                "percent": 100.0 * float(change),
            }
            for month, change in zip(months, monthly, strict=True)
        ],
        "yearly_returns": [
            {"year": 1970 + int(year), "percent": 100.0 * float(change)}
            for year, change in zip(year_numbers, yearly, strict=True)
        ],
        "best_bar": extreme(returns, time, np.argmax),
        "worst_bar": extreme(returns, time, np.argmin),
        "best_day": extreme(daily, time[day_starts], np.argmax),
        "worst_day": extreme(daily, time[day_starts], np.argmin),
        "undefined": reasons,
    }


def _period_returns(
    labels: IntArray, equity: FloatArray, initial_capital: float
) -> tuple[IntArray, FloatArray, IntArray]:
    """Returns per run of equal labels: the labels, the returns from close to close, the first bar of each."""
    turns = np.flatnonzero(np.diff(labels))
    first = np.concatenate(([0], turns + 1))
    last = np.append(turns, len(labels) - 1)
    return labels[last], bar_returns(equity[last], initial_capital), first


def buy_and_hold(close: FloatArray, bars_per_year: float, years: float) -> dict[str, Any]:
    """What holding the market over the same bars gave, without costs: bought at the first close, never sold.

    Args:
        close: Of the signal bars the metrics cover.
        bars_per_year, years: As for `headline`.

    Returns:
        total_return, cagr, max_drawdown, volatility (percent), sharpe_ratio; None where undefined, the reason under
        "undefined".

    Raises:
        DataError: There are no bars.
    """
    if not len(close):
        raise DataError(
            "buy and hold needs at least one bar; got none.",
            hint="pass the closes of the run's bars.",
        )
    reasons: dict[str, str] = {}
    returns = bar_returns(close, float(close[0]))
    growth = cagr(float(close[-1]), float(close[0]), years)
    sharpe = standardised_mean(returns, bars_per_year)
    if growth is None:
        reasons["cagr"] = no_growth(years)
    if sharpe is None:
        reasons["sharpe_ratio"] = "fewer than two bars" if len(close) < 2 else NO_VARIATION
    if len(close) < 2:
        reasons["volatility"] = "fewer than two bars"
    return {
        "total_return": 100.0 * float(close[-1] / close[0] - 1.0),
        "cagr": growth,
        "max_drawdown": float(drawdown_curve(close).max()),
        "volatility": 100.0 * float(np.std(returns, ddof=1)) * math.sqrt(bars_per_year) if len(close) > 1 else None,
        "sharpe_ratio": sharpe,
        "undefined": reasons,
    }
