"""Intervals by resampling: what else the same market could have paid, with its bad weeks kept together.

The stationary bootstrap draws blocks of random length from the history, wrapping around its end, so that resampled
returns keep their short-term dependence. How long the blocks should be is read from the returns themselves.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats.sharpe import checked_confidence, checked_series

# From returns [resamples, observations] to one number each.
Statistic: TypeAlias = Callable[[FloatArray], FloatArray]

LEAST_OBSERVATIONS = 16
# Returns held at a time. Part of the result: another size would draw other numbers.
CHUNK = 1 << 21
_ROUNDING = 1e-9


# -- Blocks ------------------------------------------------------------------------------------------------------------


class OptimalBlock(NamedTuple):
    """Block lengths in observations, at least 1: the mean for the stationary bootstrap, the fixed for the circular."""

    stationary: float
    circular: float


def optimal_block(returns: ArrayLike) -> OptimalBlock:
    """How long blocks must be to keep the dependence in these returns, and no longer.

    Args:
        returns: [observations]. For ratios and returns use the returns; their squares give the longer blocks that
            clustered volatility asks for.

    Returns:
        Between 1 and ceil(min(3 sqrt T, T / 3)); 1 where the returns do not vary.

    Raises:
        DataError: Fewer than 16 returns, or one that is not finite.

    Source:
        Politis & White (2004), Automatic Block-Length Selection for the Dependent Bootstrap, section 3; Patton, Politis
        & White (2009), Correction, for the variance of the stationary bootstrap.
    """
    values = checked_series(returns, LEAST_OBSERVATIONS)
    centred = values - values.mean()
    size = values.size
    if float(centred @ centred) <= _ROUNDING**2 * float(values @ values):
        return OptimalBlock(1.0, 1.0)
    run = max(5, math.ceil(math.sqrt(math.log10(size))))
    most = min(math.ceil(math.sqrt(size)) + run, size - 1)
    covariances = np.array([float(centred[lag:] @ centred[: size - lag]) / size for lag in range(most + 1)])
    return _block_of(covariances, _bandwidth(covariances, size, run), size)


def _bandwidth(covariances: FloatArray, size: int, run: int) -> int:
    """Twice the lag after which a run of autocorrelations is within the noise; the last lag above it if none is."""
    band = 2.0 * math.sqrt(math.log10(size) / size)
    large = np.abs(covariances / covariances[0]) >= band
    most = covariances.size - 1
    quiet = [lag for lag in range(most - run + 1) if not large[lag + 1 : lag + 1 + run].any()]
    last = quiet[0] if quiet else int(np.flatnonzero(large)[-1])
    return min(2 * max(last, 1), most)


def _block_of(covariances: FloatArray, bandwidth: int, size: int) -> OptimalBlock:
    lags = np.arange(1, bandwidth + 1)
    flat_top = np.minimum(1.0, 2.0 * (1.0 - lags / bandwidth))
    weighted = flat_top * covariances[1 : bandwidth + 1]
    slope = 2.0 * float(weighted @ lags)
    level = covariances[0] + 2.0 * float(weighted.sum())
    longest = float(math.ceil(min(3.0 * math.sqrt(size), size / 3.0)))
    if level == 0.0:
        return OptimalBlock(longest, longest)
    lengths = (
        (2.0 * slope**2 / (factor * level**2) * size) ** (1.0 / 3.0)
        for factor in (2.0, 4.0 / 3.0)  # of the stationary and of the circular bootstrap
    )
    stationary, circular = (min(max(length, 1.0), longest) for length in lengths)
    return OptimalBlock(stationary, circular)


def stationary_indices(observations: int, block: float, resamples: int, rng: np.random.Generator) -> IntArray:
    """Indices of the stationary bootstrap.

    Args:
        observations: Length T of the series and of each resample.
        block: Mean block length, at least 1; 1 draws each observation on its own.
        resamples: Rows.
        rng: Where the random numbers come from.

    Returns:
        int64 [resamples, observations], each 0 .. T - 1; after T - 1 a block goes on at 0.

    Raises:
        ConfigError: A block below 1, or no resample.
        DataError: No observation.

    Source:
        Politis & Romano (1994), The Stationary Bootstrap.
    """
    check_resampling(block, resamples)
    if observations < 1:
        raise DataError(f"a resample needs at least one observation; got {observations}.")
    shape = (resamples, observations)
    begins = rng.random(shape) < 1.0 / block
    places = np.arange(observations)
    # Each block is a shift: where it was drawn from less where it begins, carried on until the next one begins. The
    # first one begins at 0, whatever was drawn for that place.
    last_begin = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    shifts = rng.integers(0, observations, shape) - places
    indices = np.take_along_axis(shifts, last_begin, axis=1)
    indices += places
    indices[indices >= observations] -= observations
    return indices


def check_resampling(block: float, resamples: int) -> None:
    """Refuse a block or a number of resamples that cannot be.

    Raises:
        ConfigError: A block below 1, or no resample.
    """
    if not block >= 1.0 or math.isinf(block):
        raise ConfigError(f"block is a mean length of at least 1 observation; got {block}.")
    if resamples < 1:
        raise ConfigError(f"resamples is a number of at least 1; got {resamples}.")


# -- Statistics of many paths at once ----------------------------------------------------------------------------------


def sharpe(paths: FloatArray) -> FloatArray:
    """Sharpe ratio per observation of returns [paths, observations]; 0 where a path does not vary."""
    mean, deviation = paths.mean(axis=1), paths.std(axis=1, ddof=1)
    varies = deviation > _ROUNDING * np.abs(mean)
    return np.where(varies, mean / np.where(varies, deviation, 1.0), 0.0)


def sharpe_annual(periods_per_year: float) -> Statistic:
    """The annual Sharpe ratio, by the root of the observations of a year."""
    factor = math.sqrt(periods_per_year)
    return lambda paths: sharpe(paths) * factor


def total_return(paths: FloatArray) -> FloatArray:
    """Percent from the first to the last value of the equity of returns [paths, observations]; -100 after ruin."""
    found: FloatArray = 100.0 * (np.prod(_factors(paths), axis=1) - 1.0)
    return found


def cagr(years: float) -> Statistic:
    """Percent a year over paths that are `years` long; -100 after ruin."""

    def grown(paths: FloatArray) -> FloatArray:
        found: FloatArray = 100.0 * (np.prod(_factors(paths), axis=1) ** (1.0 / years) - 1.0)
        return found

    return grown


def max_drawdown(paths: FloatArray) -> FloatArray:
    """Largest fall from the running peak in percent of it, positive; the peak starts at the initial equity."""
    equity = np.cumprod(_factors(paths), axis=1)
    peak = np.maximum.accumulate(equity, axis=1)
    np.maximum(peak, 1.0, out=peak)
    equity /= peak
    found: FloatArray = 100.0 * (1.0 - np.minimum(equity.min(axis=1), 1.0))
    return found


def _factors(paths: FloatArray) -> FloatArray:
    """Growth of the equity; nothing grows out of ruin."""
    return np.maximum(1.0 + paths, 0.0)


# -- Intervals ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Interval:
    """A statistic and what resampling says about it, in the statistic's own unit.

    Attributes:
        estimate: Of the returns as they were.
        low, high: Percentiles of the resamples.
        samples: float64 [resamples].
        confidence: Of the interval.
        block: Mean block length in observations.
    """

    estimate: float
    low: float
    high: float
    samples: FloatArray
    confidence: float
    block: float

    def share_below(self, value: float) -> float:
        """Share of resamples below a value: of the total return below 0, the probability of a loss."""
        return float(np.mean(self.samples < value))


def bootstrap_interval(
    returns: ArrayLike,
    statistic: Statistic,
    *,
    block: float | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of one statistic by the stationary bootstrap; see `bootstrap_intervals`."""
    found = bootstrap_intervals(
        returns, {"": statistic}, block=block, resamples=resamples, confidence=confidence, seed=seed
    )
    return found[""]


def bootstrap_intervals(
    returns: ArrayLike,
    statistics: Mapping[str, Statistic],
    *,
    block: float | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of several statistics of the same resampled histories.

    Args:
        returns: [observations], at least 16.
        statistics: By name; each takes returns [resamples, observations] and gives one number per row.
        block: Mean block length in observations; None = the optimal one of these returns.
        resamples: Histories to draw.
        confidence: Of the two-sided intervals.
        seed: The same one gives the same intervals.

    Raises:
        ConfigError: A block below 1, no resample, or a confidence outside 0 .. 1.
        DataError: Too few returns, one that is not finite, or a statistic that gave no number.

    Source:
        Politis & Romano (1994), The Stationary Bootstrap; percentile intervals after Efron (1979).
    """
    values = checked_series(returns, LEAST_OBSERVATIONS)
    tail = (1.0 - checked_confidence(confidence)) / 2.0
    length = optimal_block(values).stationary if block is None else block
    check_resampling(length, resamples)
    rng = np.random.default_rng(seed)
    samples = {name: np.empty(resamples) for name in statistics}
    step = max(1, CHUNK // values.size)
    for first in range(0, resamples, step):
        count = min(step, resamples - first)
        paths = values[stationary_indices(values.size, length, count, rng)]
        for name, statistic in statistics.items():
            samples[name][first : first + count] = statistic(paths)
    found = {}
    for name, statistic in statistics.items():
        missing = int(np.count_nonzero(~np.isfinite(samples[name])))
        if missing:
            raise DataError(
                f"the statistic {name} gave no number in {missing} of {resamples} resamples.".replace("  ", " "),
                hint="let it give a number for every path, also for one that is flat or ruined.",
            )
        low, high = np.quantile(samples[name], (tail, 1.0 - tail)).tolist()
        estimate = float(statistic(values[None, :])[0])
        found[name] = Interval(estimate, low, high, samples[name], confidence, length)
    return found
