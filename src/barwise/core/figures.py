"""What all metrics share: how small a difference still counts, how long a year is, and what growth is per year."""

import math

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.timeframe import DAY_MS

YEAR_MS = 365.2425 * DAY_MS
NO_VARIATION = "the bar returns do not vary"
# Below this a yearly rate says more about the exponent than about the strategy.
MINIMUM_YEARS = 30 * DAY_MS / YEAR_MS
EPSILON = float(np.finfo(np.float64).eps)
# A bar return is the quotient of two equities less 1, so it is known to about this much and no better.
RESOLUTION = 4.0 * EPSILON
# Growth beyond this factor has no yearly rate that a float can hold (30 days compound twelve times).
LARGEST_GROWTH = 1e25


def annual_growth(growth: FloatArray, years: float | FloatArray) -> FloatArray:
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
            if span >= MINIMUM_YEARS and factor < LARGEST_GROWTH
            else math.nan
            for factor, span in zip(growth.tolist(), spans, strict=True)
        ]
    )


def cagr(final: float, initial: float, years: float) -> float | None:
    """Compound annual growth rate in percent: -100 where nothing is left, None below 30 days."""
    rate = float(annual_growth(np.array([final / initial]), years)[0])
    return None if math.isnan(rate) else 100.0 * rate


def elapsed_years(time: IntArray, timeframe_ms: int) -> float:
    """Years of 365.2425 days from the first bar's open to the last bar's close."""
    return (int(time[-1]) - int(time[0]) + timeframe_ms) / YEAR_MS if len(time) else 0.0


def no_growth(years: float) -> str:
    """Why there is no yearly growth rate."""
    return "the span is shorter than 30 days" if years < MINIMUM_YEARS else "growth beyond all measure"


def standardised_mean(values: FloatArray, factor: float, resolution: float = RESOLUTION) -> float | None:
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
