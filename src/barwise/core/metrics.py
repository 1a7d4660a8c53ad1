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
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.curve import buy_and_hold, path_metrics
from barwise.core.figures import (
    EPSILON,
    NO_VARIATION,
    RESOLUTION,
    annual_growth,
    elapsed_years,
    no_growth,
)
from barwise.core.layout import BoolArray, FloatArray, RecordArray, Records, Status
from barwise.core.outcomes import trade_metrics

Column: TypeAlias = NDArray[Any]


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
        central = _central_square(total, square, mean, count, RESOLUTION)
        deviation = np.sqrt(central / np.maximum(bars - 1.0, 1.0))
        # Central moments of order 2 to 4 from the power sums (population moments, as the PSR takes them).
        second = central / count
        mean_square = mean * mean
        third = (cube - 3.0 * mean * square) / count + 2.0 * mean * mean_square
        fourth = (fourth - 4.0 * mean * cube + 6.0 * mean_square * square) / count - 3.0 * mean_square * mean_square
        annual_mean = mean * root
        # A loss or a fall within the rounding of one return is none.
        loses = s["downside_square"] > bars * RESOLUTION**2
        falls = drawdown > RESOLUTION
        trade_count = np.maximum(trades, 1.0)
        mean_r = r_sum / trade_count
        central_r = _central_square(r_sum, s["r_square"], mean_r, trade_count, 0.0)
        growth = annual_growth(s["final_equity"] / capital, years)
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
    noise = ((4.0 * EPSILON) * square + resolution * resolution) * count
    result: FloatArray = central * (central > noise)
    return result


_REASONS = {
    "sharpe_ratio": NO_VARIATION,
    "skewness": NO_VARIATION,
    "kurtosis": NO_VARIATION,
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


def _why(name: str, summary: Any, years: float) -> str:
    """Why a headline metric of this run is undefined."""
    if name == "maker_share":
        return "no entry was filled"
    if name == "fill_rate":
        return "no entry program"
    if name == "cagr":
        return no_growth(years)
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
    if name == "calmar_ratio" and summary["max_drawdown"] > RESOLUTION:
        return no_growth(years)
    return _REASONS[name]
