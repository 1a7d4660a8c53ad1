"""Metrics: what a run's sums, its equity curve and its trades say, each with a rule for the case where it says nothing.

Three sources, three functions. `headline` reads SUMMARY records and is used for one run and for a sweep alike, so that
the best row of a sweep and the single run of the same parameters show the same number to the bit. `path_metrics` needs
the equity curve, `trade_metrics` the trades; both are for single runs.

Units: returns, rates, shares and drawdowns are PERCENT, money is quote currency, ratios are plain, times are ms UTC of
a bar's open. Where a metric is undefined, `headline` holds 0.0 and `undefined` the reason; the dicts of single runs
hold None and the reason under "undefined". Nothing here is ever infinite or NaN. The table of all rules is
docs/metrics.md.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import BoolArray, Exit, FloatArray, IntArray, RecordArray, Records, Status
from barwise.errors import DataError
from barwise.timeframe import DAY_MS, Calendar

Column: TypeAlias = NDArray[Any]

YEAR_MS = 365.2425 * DAY_MS
# Below this a yearly rate says more about the exponent than about the strategy.
MINIMUM_YEARS = 30 * DAY_MS / YEAR_MS
_EPSILON = float(np.finfo(np.float64).eps)
# A bar return is the quotient of two equities less 1, so it is known to about this much and no better.
_RESOLUTION = 4.0 * _EPSILON
# Growth beyond this factor has no yearly rate that a float can hold (30 days compound twelve times).
_LARGEST_GROWTH = 1e25


class Run(Protocol):
    """What `all_metrics` reads of a result: its records, and the bars they are about."""

    @property
    def candles(self) -> Any:
        """Signal candles: time, close, timeframe, calendar."""

    @property
    def trade_from(self) -> int:
        """First bar the metrics cover."""

    @property
    def initial_capital(self) -> float:
        """In quote currency."""

    @property
    def summary(self) -> Any:
        """SUMMARY records of shape (1,)."""

    @property
    def records(self) -> Records:
        """Programs, fills, trades, equity."""


def all_metrics(run: Run) -> dict[str, Any]:
    """Every metric of one run by name, as plain JSON types.

    Returns:
        `headline`, then `path_metrics`, `trade_metrics` and `buy_and_hold` (under its own name); where two of them have
        a name, the headline's value is meant. None where undefined, the reason under "undefined".
    """
    candles, capital = run.candles, run.initial_capital
    time, close = candles.time[run.trade_from :], candles.close[run.trade_from :]
    bars_per_year = candles.timeframe.bars_per_year(candles.calendar)
    years = elapsed_years(time, candles.timeframe.ms)
    records = run.records
    reasons = undefined(run.summary, capital, bars_per_year, years)
    found: dict[str, Any] = {
        name: None if name in reasons else column[0].item()
        for name, column in headline(run.summary, capital, bars_per_year, years).items()
    }
    path = path_metrics(time, records.equity, records.low_mark, candles.timeframe.ms, candles.calendar, capital)
    trades = trade_metrics(records.trades)
    for part in (path, trades):
        further = part.pop("undefined")
        reasons |= {name: reason for name, reason in further.items() if name not in found}
        found |= {name: value for name, value in part.items() if name not in found}
    found["buy_and_hold"] = buy_and_hold(close, bars_per_year, years)
    found["undefined"] = reasons
    return found


# -- One run or a sweep, from the sums of SUMMARY ----------------------------------------------------------------------


def headline(
    summaries: RecordArray, initial_capital: float | FloatArray, bars_per_year: float, years: float | FloatArray
) -> dict[str, Column]:
    """The metrics of every row, one array per name; 0.0 where a metric is undefined.

    Args:
        summaries: SUMMARY records, shape (rows,).
        initial_capital: Of every row, or one for all.
        bars_per_year: Signal bars of a year, `Timeframe.bars_per_year(calendar)`.
        years: Elapsed years of every row, or one for all; see `elapsed_years`.

    Returns:
        Columns of length `rows`. A row's values do not depend on the other rows. Columns of sums and counts are views
        of `summaries`.
    """
    return _measure(summaries, initial_capital, bars_per_year, years)[0]


def undefined(
    summary: RecordArray, initial_capital: float, bars_per_year: float, years: float, row: int = 0
) -> dict[str, str]:
    """Which headline metrics of one row are undefined, and why; arguments as in `headline`."""
    _, has_base, holds = _measure(summary[row : row + 1], initial_capital, bars_per_year, years)
    return {
        name: "the value is too large to hold" if based else _why(name, summary[row], years)
        for name, based, defined in zip(_RATIOS, has_base[:, 0], holds[:, 0], strict=True)
        if not defined
    }


# The order of the quotients in `_measure`, and the factor of their numerators.
_RATIOS = {
    "win_rate": 100.0,
    "expectancy": 1.0,
    "expectancy_r": 1.0,
    "exposure": 100.0,
    "maker_share": 100.0,
    "fill_rate": 100.0,
    "total_return": 100.0,
    "turnover_ratio": 1.0,
    "volatility": 100.0,
    "sharpe_ratio": 1.0,
    "sortino_ratio": 1.0,
    "omega_ratio": 1.0,
    "skewness": 1.0,
    "kurtosis": 1.0,
    "sqn": 1.0,
    "profit_factor": 1.0,
    "recovery_factor": 1.0,
    "calmar_ratio": 1.0,
    "cagr": 100.0,
}
_FACTORS = np.array(list(_RATIOS.values()))[:, np.newaxis]
_RUINED = int(Status.RUINED)


def _measure(
    s: RecordArray, initial_capital: float | FloatArray, bars_per_year: float, years: float | FloatArray
) -> tuple[dict[str, Column], BoolArray, BoolArray]:
    """All columns; and per ratio and row whether its denominator is positive, and whether its value can be held."""
    bars, trades = s["bars"].astype(np.float64), s["trades"].astype(np.float64)
    total, square, cube, fourth = s["return_sum"], s["return_square"], s["return_cube"], s["return_fourth"]
    downside, r_sum, drawdown, net = s["downside_sum"], s["r_sum"], s["max_drawdown"], s["net_pnl"]
    capital = np.full(len(s), initial_capital, dtype=np.float64)
    root = math.sqrt(bars_per_year)
    with np.errstate(all="ignore"):  # whatever is not finite is caught below, in one place
        count = np.maximum(bars, 1.0)
        mean = total / count
        central = _central_square(total, square, mean, count, _RESOLUTION)
        deviation = np.sqrt(central / np.maximum(bars - 1.0, 1.0))
        # Central moments of order 2 to 4 from the power sums (population moments, as the PSR takes them).
        second = central / count
        mean_square = mean * mean
        third = (cube - 3.0 * mean * square) / count + 2.0 * mean * mean_square
        fourth = (fourth - 4.0 * mean * cube + 6.0 * mean_square * square) / count - 3.0 * mean_square * mean_square
        annual_mean = mean * root
        # A loss or a fall within the rounding of one return is none.
        loses = s["downside_square"] > bars * _RESOLUTION**2
        falls = drawdown > _RESOLUTION
        trade_count = np.maximum(trades, 1.0)
        mean_r = r_sum / trade_count
        central_r = _central_square(r_sum, s["r_square"], mean_r, trade_count, 0.0)
        growth = _annual_growth(s["final_equity"] / capital, years)
        has_growth = growth >= -1.0
        quotients = np.array(
            [
                s["wins"], net, r_sum, s["bars_in_position"], s["maker_fills"], s["programs_filled"],
                s["final_equity"] - capital, s["turnover"],
                deviation * root, annual_mean, annual_mean, np.maximum(total - downside, 0.0), third, fourth,
                np.sqrt(trades) * mean_r, s["win_pnl"], net, 100.0 * growth, growth,
            ],
            dtype=np.float64,
        )  # fmt: skip
        # Every denominator is a count, a deviation or a loss: positive, or the ratio is undefined.
        bottoms = np.array(
            [
                trades, trades, trades, bars, s["fills"], s["programs"],
                capital, capital,
                bars > 1.0, deviation, np.sqrt(s["downside_square"] / count) * loses, -downside * loses,
                second * np.sqrt(second), second * second,
                np.sqrt(central_r / np.maximum(trades - 1.0, 1.0)), -s["loss_pnl"], s["max_drawdown_money"] * falls,
                100.0 * drawdown * (falls & has_growth), has_growth,
            ],
            dtype=np.float64,
        )  # fmt: skip
        quotients *= _FACTORS
        has_base = bottoms > 0.0
        np.divide(quotients, bottoms, out=quotients, where=has_base)
        holds = has_base & np.isfinite(quotients)
        quotients[~holds] = 0.0
    columns: dict[str, Column] = {
        "total_trades": s["trades"],
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
        "final_equity": s["final_equity"],
        "turnover": s["turnover"],
        "max_drawdown": 100.0 * drawdown,
        "ruined": s["status"] == _RUINED,
    }
    columns.update(zip(_RATIOS, quotients, strict=True))
    return columns, has_base, holds


def _central_square(
    total: FloatArray, square: FloatArray, mean: FloatArray, count: FloatArray, resolution: float
) -> FloatArray:
    """Sum of squared deviations from the mean out of power sums, 0 where it cannot be told from rounding.

    The difference `square - total * mean` of two sums over n values carries an error of up to 1.5 * n * eps of `square`
    (n additions each, of relative error eps/2), so anything below 4 * n * eps of it counts as no deviation. That still
    tells apart every series whose mean is less than 1 / sqrt(4 * n * eps) deviations: 46,000 for a year of minutes.

    Args:
        count: Number of values, >= 1.
        resolution: The error of a single value, absolute; a smaller deviation counts as none.
    """
    central = square - total * mean
    noise = ((4.0 * _EPSILON) * square + resolution * resolution) * count
    result: FloatArray = central * (central > noise)
    return result


def _annual_growth(growth: FloatArray, years: float | FloatArray) -> FloatArray:
    """CAGR as a fraction from final over initial equity; NaN where undefined.

    -1 where nothing is left, whatever the span; otherwise undefined below 30 days. Value by value with the C library's
    pow, because NumPy takes other code paths for one value than for many and a sweep has to equal its single runs.
    """
    spans = np.full(len(growth), years, dtype=np.float64).tolist()
    return np.array(
        [
            -1.0
            if factor <= 0.0
            else factor ** (1.0 / span) - 1.0
            if span >= MINIMUM_YEARS and factor < _LARGEST_GROWTH
            else math.nan
            for factor, span in zip(growth.tolist(), spans, strict=True)
        ]
    )


def cagr(final: float, initial: float, years: float) -> float | None:
    """Compound annual growth rate in percent: -100 where nothing is left, None below 30 days."""
    rate = float(_annual_growth(np.array([final / initial]), years)[0])
    return None if math.isnan(rate) else 100.0 * rate


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
    "sqn": "the trades' results do not vary",
    "exposure": "no bars",
    "total_return": "no initial capital",
    "turnover_ratio": "no initial capital",
}


def _no_growth(years: float) -> str:
    """Why there is no yearly growth rate."""
    return "the span is shorter than 30 days" if years < MINIMUM_YEARS else "growth beyond all measure"


def _why(name: str, summary: Any, years: float) -> str:
    """Why a headline metric of this run is undefined."""
    if name == "maker_share":
        return "no entry was filled"
    if name == "fill_rate":
        return "no entry program"
    if name == "cagr":
        return _no_growth(years)
    if summary["trades"] == 0 and name not in (
        "exposure",
        "volatility",
        "total_return",
        "turnover_ratio",
    ):
        return "no trades"
    if name in ("sharpe_ratio", "volatility", "skewness", "kurtosis") and summary["bars"] < 2:
        return "fewer than two bars"
    if name == "sqn" and summary["trades"] < 2:
        return "fewer than two trades"
    if name == "calmar_ratio" and summary["max_drawdown"] > _RESOLUTION:
        return _no_growth(years)
    return _REASONS[name]


# -- One run, from its equity curve ------------------------------------------------------------------------------------


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
        reasons["cagr"] = _no_growth(years)
    ulcer = math.sqrt(float(np.mean(depth * depth)))
    upi = None
    if growth is None:
        reasons["ulcer_performance_index"] = reasons["cagr"]
    elif ulcer <= 100.0 * _RESOLUTION:
        reasons["ulcer_performance_index"] = "equity never fell"
    else:
        upi = growth / ulcer

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


def _standardised_mean(values: FloatArray, factor: float, resolution: float = _RESOLUTION) -> float | None:
    """Mean over sample deviation times the root of `factor`; None where the values do not vary beyond their rounding.

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
    sharpe = _standardised_mean(returns, bars_per_year)
    if growth is None:
        reasons["cagr"] = _no_growth(years)
    if sharpe is None:
        reasons["sharpe_ratio"] = "fewer than two bars" if len(close) < 2 else _REASONS["sharpe_ratio"]
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


# -- One run, from its trades ------------------------------------------------------------------------------------------


def excursions(trades: RecordArray) -> tuple[FloatArray, FloatArray]:
    """Maximum favourable (>= 0) and maximum adverse (<= 0) excursion of each trade, in quote currency.

    `side * (best_price - entry_price) * quantity`, and the same with the worst price (Sweeney 1996). The quantity is
    that of the whole trade and the entry price its mean, so for an entry in parts the figures are those of the whole.
    """
    size = trades["side"] * trades["quantity"]
    favourable: FloatArray = np.maximum(size * (trades["best_price"] - trades["entry_price"]), 0.0)
    adverse: FloatArray = np.minimum(size * (trades["worst_price"] - trades["entry_price"]), 0.0)
    return favourable, adverse


def trade_metrics(trades: RecordArray) -> dict[str, Any]:
    """Metrics that need the single trades.

    Args:
        trades: TRADE records in the order of their exits.

    Returns:
        The metrics of docs/metrics.md, "From the trades"; None where undefined, the reason under "undefined".
    """
    net = trades["net_pnl"]
    count = len(net)
    wins, losses = net[net > 0.0], net[net < 0.0]
    held = trades["exit_signal_bar"] - trades["entry_signal_bar"]
    favourable, adverse = excursions(trades)
    average_win, average_loss = _mean(wins), _mean(losses)
    payoff = None if average_win is None or average_loss is None else average_win / -average_loss
    share = len(wins) / max(count, 1)
    t_statistic = _standardised_mean(net, count, resolution=0.0)
    sqn = _standardised_mean(_results_in_r(trades), count, resolution=0.0)
    result: dict[str, Any] = {
        "average_trade": _mean(net),
        "average_win": average_win,
        "average_loss": average_loss,
        "largest_win": float(wins.max()) if len(wins) else None,
        "largest_loss": float(losses.min()) if len(losses) else None,
        "payoff_ratio": payoff,
        "kelly": None if payoff is None else 100.0 * (share - (1.0 - share) / payoff),
        "longest_winning_streak": _longest_run(net > 0.0),
        "longest_losing_streak": _longest_run(net < 0.0),
        "average_bars_held": _mean(held),
        "max_bars_held": int(held.max(initial=0)),
        "average_mfe": _mean(favourable),
        "average_mae": _mean(adverse),
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
    }
    result["undefined"] = {name: _why_not(name, count, len(wins)) for name, value in result.items() if value is None}
    return result


def _mean(values: Column) -> float | None:
    """The mean, or None of nothing."""
    return float(np.mean(values)) if len(values) else None


def _why_not(name: str, trades: int, wins: int) -> str:
    """Why a trade metric is undefined."""
    if not trades:
        return "no trades"
    if name in ("t_statistic", "p_value", "sqn", "sqn_100", "sqn_p_value"):
        return "fewer than two trades" if trades < 2 else "the trades' results do not vary"
    # Payoff and Kelly need both; with wins it was the losses that were missing.
    return "no losing trade" if wins or name.endswith("_loss") else "no winning trade"


def _group(trades: RecordArray) -> dict[str, Any]:
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


def _results_in_r(trades: RecordArray) -> FloatArray:
    """Net result over initial risk; 0 where there was no risk, as the kernel's sums have it."""
    risk = trades["initial_risk"] * trades["quantity"]
    results: FloatArray = np.divide(trades["net_pnl"], risk, out=np.zeros(len(trades)), where=risk > 0.0)
    return results


def cost_attribution(net: float, fees: float, slippage: float, funding: float) -> dict[str, float]:
    """The way from the result before costs to the net result; the chain closes to the last bit.

    All amounts are rounded to one binary grid, 2^-48 of the largest of them (4e-15 of it), on which sums are exact:
    `before_costs - slippage == gross_pnl`, `gross_pnl - fees - funding == net_pnl`.

    Args:
        net, fees, slippage, funding: Sums over the trades, in quote currency; funding is negative where received.
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

    P(|T| >= |t|) = I_x(v/2, 1/2) with x = v / (v + t^2), I the regularised incomplete beta function (Abramowitz &
    Stegun 1964, 26.7.1). Written out so that the core needs no SciPy; equal to it within 1e-9.

    Args:
        degrees_of_freedom: >= 1.
    """
    square = t * t
    if square == 0.0:
        return 1.0
    a, b = 0.5 * degrees_of_freedom, 0.5
    x, y = (
        degrees_of_freedom / (degrees_of_freedom + square),
        square / (degrees_of_freedom + square),
    )
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
