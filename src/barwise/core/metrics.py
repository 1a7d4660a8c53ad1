"""Metrics: what a run's sums, its equity curve and its trades say, each with a rule for the case where it says nothing.

Three sources, three functions. `headline` reads SUMMARY records and is used for one run and for a sweep alike, so that
the best row of a sweep and the single run of the same parameters show the same number to the bit. `path_metrics` needs the
equity curve, `trade_metrics` the trades; both are for single runs.

Units: returns, rates, shares and drawdowns are PERCENT, money is quote currency, ratios are plain, times are ms UTC of a
bar's open. Where a metric is undefined, `headline` holds 0.0 and `undefined` the reason; the dicts of single runs hold
None and the reason under "undefined". Nothing here is ever infinite or NaN. The table of all rules is docs/metrics.md.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import BoolArray, Exit, FloatArray, IntArray, Status
from barwise.errors import DataError
from barwise.timeframe import DAY_MS, Calendar

Records: TypeAlias = NDArray[np.void]
Column: TypeAlias = NDArray[Any]

YEAR_MS = 365.2425 * DAY_MS
# Below this a yearly rate says more about the exponent than about the strategy.
MINIMUM_YEARS = 30 * DAY_MS / YEAR_MS
_EPSILON = float(np.finfo(np.float64).eps)
# A bar return is the quotient of two equities less 1, so it is known to about this much and no better.
_RESOLUTION = 4.0 * _EPSILON
# Growth beyond this factor has no yearly rate that a float can hold (30 days compound twelve times).
_LARGEST_GROWTH = 1e25
_SHORT_SPAN = "the span is shorter than 30 days"


# -- One run or a sweep, from the sums of SUMMARY ----------------------------------------------------------------------


def headline(
    summaries: Records, initial_capital: float | FloatArray, bars_per_year: float, years: float | FloatArray
) -> dict[str, Column]:
    """The metrics of every row, one array per name; 0.0 where a metric is undefined.

    Args:
        summaries: SUMMARY records, shape (rows,).
        initial_capital: Of every row, or one for all.
        bars_per_year: Signal bars of a year, `Timeframe.bars_per_year(calendar)`.
        years: Elapsed years of every row, or one for all; see `elapsed_years`.

    Returns:
        Columns of length `rows`. A row's values do not depend on the other rows.
    """
    return _measure(summaries, initial_capital, bars_per_year, years)[0]


def undefined(
    summary: Records, initial_capital: float, bars_per_year: float, years: float, row: int = 0
) -> dict[str, str]:
    """Which headline metrics of one row are undefined, and why; arguments as in `headline`."""
    _, has_base, holds = _measure(summary[row : row + 1], initial_capital, bars_per_year, years)
    return {
        name: "the value is too large to hold" if has_base[name][0] else _why(name, summary[row], years)
        for name, defined in holds.items()
        if not defined[0]
    }


def _measure(
    s: Records, initial_capital: float | FloatArray, bars_per_year: float, years: float | FloatArray
) -> tuple[dict[str, Column], dict[str, BoolArray], dict[str, BoolArray]]:
    """All columns; of those that can be undefined, where the denominator is positive, and where the value holds."""
    trades, bars, net, final = s["trades"], s["bars"], s["net_pnl"], s["final_equity"]
    square, drawdown = s["return_square"], s["max_drawdown"]
    root = math.sqrt(bars_per_year)
    capital = np.full(len(s), initial_capital, dtype=np.float64)
    with np.errstate(all="ignore"):  # what is not finite is caught below, in one place
        count = np.maximum(bars, 1)
        mean = s["return_sum"] / count
        central = _central_square(s["return_sum"], square, mean, bars, _RESOLUTION)
        deviation = np.sqrt(central / np.maximum(bars - 1, 1))
        annual_mean = mean * root
        # Central moments of order 2 to 4 from the power sums (population moments, as the PSR takes them).
        second = central / count
        mean_square = mean * mean
        third = (s["return_cube"] - 3.0 * mean * square) / count + 2.0 * mean * mean_square
        fourth = (
            s["return_fourth"] - 4.0 * mean * s["return_cube"] + 6.0 * mean_square * square
        ) / count - 3.0 * mean_square * mean_square
        second_square = second * second
        # A fall or a loss within the rounding of one return is none.
        loses = s["downside_square"] > bars * _RESOLUTION**2
        falls = drawdown > _RESOLUTION
        mean_r = s["r_sum"] / np.maximum(trades, 1)
        deviation_r = np.sqrt(
            _central_square(s["r_sum"], s["r_square"], mean_r, trades, 0.0) / np.maximum(trades - 1, 1)
        )
        cagr, has_cagr = annual_growth(final, capital, years)

        ratios = {
            "win_rate": (100.0 * s["wins"], trades),
            "total_return": (100.0 * (final - capital), capital),
            "sharpe_ratio": (annual_mean, deviation),
            "sortino_ratio": (annual_mean, np.sqrt(s["downside_square"] / count) * loses),
            "omega_ratio": (np.maximum(s["return_sum"] - s["downside_sum"], 0.0), -s["downside_sum"] * loses),
            "volatility": (100.0 * root * deviation, bars > 1),
            "recovery_factor": (net, s["max_drawdown_money"] * falls),
            "profit_factor": (s["win_pnl"], -s["loss_pnl"]),
            "expectancy": (net, trades),
            "expectancy_r": (s["r_sum"], trades),
            "sqn": (np.sqrt(trades) * mean_r, deviation_r),
            "calmar_ratio": (cagr, 100.0 * drawdown * (falls & has_cagr)),
            "exposure": (100.0 * s["bars_in_position"], bars),
            "maker_share": (100.0 * s["maker_fills"], s["fills"]),
            "fill_rate": (100.0 * s["programs_filled"], s["programs"]),
            "skewness": (third, second * np.sqrt(second)),
            "kurtosis": (fourth, second_square),
            "turnover_ratio": (s["turnover"], capital),
        }
        # Every denominator is a count, a deviation or a loss: positive, or the ratio is undefined.
        quotients = np.array([top for top, _ in ratios.values()], dtype=np.float64)
        bottoms = np.array([bottom for _, bottom in ratios.values()], dtype=np.float64)
        has_base = bottoms > 0.0
        np.divide(quotients, bottoms, out=quotients, where=has_base)
        holds = has_base & np.isfinite(quotients)
        quotients[~holds] = 0.0

    columns: dict[str, Column] = {
        "total_trades": trades,
        "winning_trades": s["wins"],
        "losing_trades": s["losses"],
        "ambiguous_trades": s["ambiguous"],
        "programs": s["programs"],
        "fills": s["fills"],
        "net_pnl": net,
        "gross_pnl": s["gross_pnl"],
        "fees": s["fees"],
        "slippage": s["slippage"],
        "funding": s["funding"],
        "final_equity": final,
        "turnover": s["turnover"],
        "max_drawdown": 100.0 * drawdown,
        "cagr": cagr,
        "ruined": s["status"] == Status.RUINED,
    }
    columns.update(zip(ratios, quotients, strict=True))
    bases = dict(zip(ratios, has_base, strict=True))
    defined = dict(zip(ratios, holds, strict=True))
    bases["cagr"] = np.zeros(len(s), dtype=np.bool_)
    defined["cagr"] = has_cagr
    return columns, bases, defined


def _central_square(
    total: FloatArray, square: FloatArray, mean: FloatArray, count: IntArray, resolution: float
) -> FloatArray:
    """Sum of squared deviations from the mean out of power sums, 0 where it cannot be told from rounding.

    The difference `square - total * mean` of two sums over n values carries an error of up to 1.5 * n * eps of `square`
    (n additions each, of relative error eps/2), so anything below 4 * n * eps of it counts as no deviation. That still tells
    apart all series whose mean is less than 1 / sqrt(4 * n * eps) deviations: 46,000 for a year of minutes.

    Args:
        resolution: The error of a single value, absolute; a smaller deviation counts as none.
    """
    central = square - total * mean
    noise = (4.0 * _EPSILON) * count * square + count * (resolution * resolution)
    return np.where(central > noise, central, 0.0)


def annual_growth(
    final: FloatArray, initial: float | FloatArray, years: float | FloatArray
) -> tuple[FloatArray, BoolArray]:
    """CAGR in percent, and where it is defined (it is 0.0 elsewhere).

    -100 where nothing is left, whatever the span; otherwise undefined below 30 days.
    """
    growth = final / initial
    lost = ~(growth > 0.0)
    defined = lost | ((years >= MINIMUM_YEARS) & (growth < _LARGEST_GROWTH))
    base = np.minimum(np.maximum(growth, 0.0), _LARGEST_GROWTH)
    exponent = np.broadcast_to(1.0 / np.maximum(years, MINIMUM_YEARS), base.shape)
    # The C library's pow, value by value: numpy takes other code paths for one value than for many.
    power = np.fromiter(map(math.pow, base.tolist(), exponent.tolist()), dtype=np.float64, count=len(base))
    return np.where(defined, 100.0 * (power - 1.0), 0.0), defined


def elapsed_years(time: IntArray, timeframe_ms: int) -> float:
    """Years of 365.2425 days from the first bar's open to the last bar's close."""
    return (int(time[-1]) - int(time[0]) + timeframe_ms) / YEAR_MS if len(time) else 0.0


_REASONS = {
    "sharpe_ratio": "the bar returns do not vary",
    "skewness": "the bar returns do not vary",
    "kurtosis": "the bar returns do not vary",
    "sortino_ratio": "no bar lost money",
    "omega_ratio": "no bar lost money",
    "recovery_factor": "equity never fell",
    "calmar_ratio": "equity never fell",
    "profit_factor": "no losing trade",
    "sqn": "the trades' results in R do not vary",
    "exposure": "no bars",
    "total_return": "no initial capital",
    "turnover_ratio": "no initial capital",
}


def _why(name: str, summary: Any, years: float) -> str:
    """Why a headline metric of this run is undefined."""
    if name == "maker_share":
        return "no entry was filled"
    if name == "fill_rate":
        return "no entry program"
    if name == "cagr":
        return _SHORT_SPAN if years < MINIMUM_YEARS else "growth beyond all measure"
    if summary["trades"] == 0 and name not in ("exposure", "volatility", "total_return", "turnover_ratio"):
        return "no trades"
    if name in ("sharpe_ratio", "volatility", "skewness", "kurtosis") and summary["bars"] < 2:
        return "fewer than two bars"
    if name == "sqn" and summary["trades"] < 2:
        return "fewer than two trades"
    if name == "calmar_ratio" and summary["max_drawdown"] > _RESOLUTION:
        return _SHORT_SPAN if years < MINIMUM_YEARS else "growth beyond all measure"
    return _REASONS[name]


# -- One run, from its equity curve ------------------------------------------------------------------------------------


def bar_returns(equity: FloatArray, initial_capital: float) -> FloatArray:
    """Returns from close to close as fractions, the first one from the initial capital; 0 once equity is gone."""
    before = np.concatenate(([initial_capital], equity[:-1]))
    return np.divide(equity - before, before, out=np.zeros(len(equity)), where=before > 0.0)


def drawdown_curve(equity: FloatArray, initial_capital: float | None = None) -> FloatArray:
    """Fall from the running peak in percent of the peak, positive, one value per bar; above 100 where equity is negative.

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
        Dicts: peak_time, trough_time, recovery_time (first bar back at the old peak; None while it is not), depth (percent),
        bars (from the peak to the recovery or the last bar), duration_ms.
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
        The metrics of docs/metrics.md, "From the equity curve"; None where undefined, with the reason under "undefined".

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
    peak_before = np.maximum(np.concatenate(([initial_capital], np.maximum.accumulate(equity)[:-1])), initial_capital)
    intrabar = float(np.max((peak_before - low_mark) / peak_before))

    years = elapsed_years(time, timeframe_ms)
    growth, has_growth = annual_growth(equity[-1:], initial_capital, years)
    cagr = float(growth[0]) if has_growth[0] else None
    if cagr is None:
        reasons["cagr"] = _SHORT_SPAN if years < MINIMUM_YEARS else "growth beyond all measure"
    ulcer = math.sqrt(float(np.mean(depth * depth)))
    upi = None
    if cagr is None:
        reasons["ulcer_performance_index"] = reasons["cagr"]
    elif ulcer <= 100.0 * _RESOLUTION:
        reasons["ulcer_performance_index"] = "equity never fell"
    else:
        upi = cagr / ulcer

    local = time + calendar.utc_offset_ms
    days, daily, day_starts = _period_returns(local // DAY_MS, equity, initial_capital)
    daily_sharpe = None
    if timeframe_ms > DAY_MS:
        reasons["daily_sharpe_ratio"] = "the bars are longer than a day"
    else:
        daily_sharpe = _standardised_mean(daily, calendar.days_per_year)
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
        "cagr": cagr,
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
            {"year": 1970 + int(month) // 12, "month": 1 + int(month) % 12, "percent": 100.0 * float(change)}
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


def _standardised_mean(values: FloatArray, factor: float, resolution: float = _RESOLUTION) -> float | None:
    """Mean over sample deviation times the root of `factor`, or None where the values do not vary beyond their rounding.

    Args:
        factor: Periods of a year for a Sharpe ratio, number of values for a t statistic.
        resolution: The error of a single value, absolute.
    """
    if len(values) < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    # Equal values differ by rounding; no strategy is 1e9 times steadier than its mean.
    if not deviation > max(resolution, 1e-9 * math.sqrt(float(np.mean(values * values)))):
        return None
    return float(np.mean(values)) / deviation * math.sqrt(factor)


def buy_and_hold(close: FloatArray, bars_per_year: float, years: float) -> dict[str, Any]:
    """What holding the market over the same bars gave, without costs: bought at the first close, never sold.

    Args:
        close: Of the signal bars the metrics cover.
        bars_per_year, years: As for `headline`.

    Returns:
        total_return, cagr, max_drawdown, volatility (percent), sharpe_ratio; None where undefined, with the reason under
        "undefined".

    Raises:
        DataError: There are no bars.
    """
    if not len(close):
        raise DataError("buy and hold needs at least one bar; got none.", hint="pass the closes of the run's bars.")
    reasons: dict[str, str] = {}
    returns = bar_returns(close, float(close[0]))
    growth, has_growth = annual_growth(close[-1:], float(close[0]), years)
    sharpe = _standardised_mean(returns, bars_per_year)
    if not has_growth[0]:
        reasons["cagr"] = _SHORT_SPAN if years < MINIMUM_YEARS else "growth beyond all measure"
    if sharpe is None:
        reasons["sharpe_ratio"] = "fewer than two bars" if len(close) < 2 else _REASONS["sharpe_ratio"]
    if len(close) < 2:
        reasons["volatility"] = "fewer than two bars"
    return {
        "total_return": 100.0 * float(close[-1] / close[0] - 1.0),
        "cagr": float(growth[0]) if has_growth[0] else None,
        "max_drawdown": float(drawdown_curve(close).max()),
        "volatility": 100.0 * float(np.std(returns, ddof=1)) * math.sqrt(bars_per_year) if len(close) > 1 else None,
        "sharpe_ratio": sharpe,
        "undefined": reasons,
    }


# -- One run, from its trades ------------------------------------------------------------------------------------------


def excursions(trades: Records) -> tuple[FloatArray, FloatArray]:
    """Maximum favourable (>= 0) and maximum adverse (<= 0) excursion of each trade, in quote currency.

    `side * (best_price - entry_price) * quantity`, and the same with the worst price (Sweeney 1996). The quantity is
    that of the whole trade and the entry price its mean, so for an entry in parts the figures are those of the whole.
    """
    size = trades["side"] * trades["quantity"]
    favourable = np.maximum(size * (trades["best_price"] - trades["entry_price"]), 0.0)
    return favourable, np.minimum(size * (trades["worst_price"] - trades["entry_price"]), 0.0)


def trade_metrics(trades: Records) -> dict[str, Any]:
    """Metrics that need the single trades.

    Args:
        trades: TRADE records in the order of their exits.

    Returns:
        The metrics of docs/metrics.md, "From the trades"; None where undefined, with the reason under "undefined".
    """
    net = trades["net_pnl"]
    count = len(net)
    wins, losses = net[net > 0.0], net[net < 0.0]
    held = trades["exit_signal_bar"] - trades["entry_signal_bar"]
    favourable, adverse = excursions(trades)
    reasons: dict[str, str] = {}

    def mean(name: str, values: Column, reason: str) -> float | None:
        if len(values):
            return float(np.mean(values))
        reasons[name] = "no trades" if not count else reason
        return None

    average_win = mean("average_win", wins, "no winning trade")
    average_loss = mean("average_loss", losses, "no losing trade")
    payoff = kelly = None
    if average_win is not None and average_loss is not None and math.isfinite(average_win / average_loss):
        payoff = average_win / -average_loss
        share = len(wins) / count
        kelly = 100.0 * (share - (1.0 - share) / payoff) if payoff > 0.0 else None
    if payoff is None:
        reasons["payoff_ratio"] = reasons.get("average_win") or reasons.get("average_loss") or "out of range"
    if kelly is None or not math.isfinite(kelly):
        kelly = None
        reasons["kelly"] = reasons.get("payoff_ratio", "out of range")

    t_statistic = _t_statistic(net)
    results_in_r = _results_in_r(trades)
    sqn = _t_statistic(results_in_r)
    if t_statistic is None:
        reasons["t_statistic"] = reasons["p_value"] = _no_test(count, "the trades' results do not vary")
    if sqn is None:
        reasons["sqn"] = reasons["sqn_100"] = reasons["sqn_p_value"] = _no_test(count, _REASONS["sqn"])

    result: dict[str, Any] = {
        "average_trade": mean("average_trade", net, ""),
        "average_win": average_win,
        "average_loss": average_loss,
        "largest_win": float(wins.max()) if len(wins) else None,
        "largest_loss": float(losses.min()) if len(losses) else None,
        "payoff_ratio": payoff,
        "kelly": kelly,
        "longest_winning_streak": _longest_run(net > 0.0),
        "longest_losing_streak": _longest_run(net < 0.0),
        "average_bars_held": mean("average_bars_held", held, ""),
        "max_bars_held": int(held.max(initial=0)),
        "average_mfe": mean("average_mfe", favourable, ""),
        "average_mae": mean("average_mae", adverse, ""),
        "t_statistic": t_statistic,
        "p_value": None if t_statistic is None else student_t_p_value(t_statistic, count - 1),
        "sqn": sqn,
        "sqn_100": None if sqn is None else sqn * math.sqrt(min(count, 100) / count),
        "sqn_p_value": None if sqn is None else student_t_p_value(sqn, count - 1),
        "long": _group(trades[trades["side"] > 0]),
        "short": _group(trades[trades["side"] < 0]),
        "by_exit_reason": {
            reason.name.lower(): _group(chosen)
            for reason in Exit
            if len(chosen := trades[trades["exit_reason"] == reason])
        },
        "cost_attribution": cost_attribution(
            float(net.sum()),
            float(trades["fees"].sum()),
            float(trades["slippage"].sum()),
            float(trades["funding"].sum()),
        ),
        "undefined": reasons,
    }
    for name, reason in (("largest_win", "average_win"), ("largest_loss", "average_loss")):
        if result[name] is None:
            reasons[name] = reasons[reason]
    return result


def _group(trades: Records) -> dict[str, Any]:
    """The result of some of the trades; win_rate and average_trade are None where there are none."""
    net = trades["net_pnl"]
    wins = int(np.count_nonzero(net > 0.0))
    return {
        "trades": len(net),
        "wins": wins,
        "losses": int(np.count_nonzero(net < 0.0)),
        "win_rate": 100.0 * wins / len(net) if len(net) else None,
        "net_pnl": float(net.sum()),
        "average_trade": float(net.mean()) if len(net) else None,
    }


def _longest_run(holds: BoolArray) -> int:
    """Length of the longest unbroken run of True."""
    breaks = np.flatnonzero(~np.concatenate(([False], holds, [False])))
    return int(np.diff(breaks).max()) - 1


def _results_in_r(trades: Records) -> FloatArray:
    """Net result over initial risk; 0 where there was no risk, as the kernel's sums have it."""
    risk = trades["initial_risk"] * trades["quantity"]
    return np.divide(trades["net_pnl"], risk, out=np.zeros(len(trades)), where=risk > 0.0)


def _t_statistic(values: FloatArray) -> float | None:
    """Mean over its standard error; None for fewer than two values or no deviation. Of R multiples this is the SQN."""
    return _standardised_mean(values, len(values), resolution=0.0)


def _no_test(count: int, otherwise: str) -> str:
    """Why the trades allow no test."""
    return "no trades" if not count else "fewer than two trades" if count < 2 else otherwise


def cost_attribution(net: float, fees: float, slippage: float, funding: float) -> dict[str, float]:
    """The way from the result before costs to the net result; the chain closes to the last bit.

    All amounts are rounded to one binary grid, 2^-48 of the largest of them (4e-15 of it), on which sums are exact:
    `before_costs - slippage == gross_pnl`, `gross_pnl - fees - funding == net_pnl`.

    Args:
        net, fees, slippage, funding: Sums over the trades, in quote currency; funding is negative where it was received.
    """
    largest = max(abs(net), abs(fees), abs(slippage), abs(funding))
    grid = math.ldexp(1.0, max(math.frexp(largest)[1] - 48, -1022))
    net, fees, slippage, funding = (round(amount / grid) * grid for amount in (net, fees, slippage, funding))
    gross = net + funding + fees
    return {
        "before_costs": gross + slippage,
        "slippage": slippage,
        "gross_pnl": gross,
        "fees": fees,
        "funding": funding,
        "net_pnl": net,
    }


def student_t_p_value(t: float, degrees_of_freedom: int) -> float:
    """Two-sided p-value of a t statistic, in [0, 1].

    P(|T| >= |t|) = I_x(v/2, 1/2) with x = v / (v + t^2), I the regularised incomplete beta function (Abramowitz & Stegun
    1964, 26.7.1). Written out so that the core needs no SciPy; equal to it within 1e-9.

    Args:
        degrees_of_freedom: >= 1.
    """
    square = t * t
    if square == 0.0:
        return 1.0
    a, b = 0.5 * degrees_of_freedom, 0.5
    x, y = degrees_of_freedom / (degrees_of_freedom + square), square / (degrees_of_freedom + square)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    # The fraction converges fast below (a + 1) / (a + b + 2); above it, through the mirror image.
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, scale * _beta_fraction(a, b, x) / a)
    return min(1.0, max(0.0, 1.0 - scale * _beta_fraction(b, a, y) / b))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method (1976)."""
    tiny = 1e-300
    upper, lower = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    value = lower
    for m in range(1, 1000):
        for coefficient in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            lower = 1.0 / (1.0 + coefficient * lower or tiny)
            upper = 1.0 + coefficient / upper or tiny
            value *= lower * upper
        if abs(lower * upper - 1.0) < _EPSILON:
            break
    return value
