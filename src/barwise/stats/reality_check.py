"""Whether the best of a fixed set of models beats the benchmark, with all of them on the table.

White's reality check and Hansen's test for superior predictive ability: the best model's gain is held against what the
best of equally many models without an edge, as correlated as these, would gain in resampled histories. Both are valid
for models that were fixed before anyone looked at the data; for the trials of an optimizer that learns they are not.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barwise.core.layout import BoolArray, FloatArray
from barwise.errors import DataError
from barwise.stats.bootstrap import CHUNK, LEAST_OBSERVATIONS, check_resampling, optimal_block, stationary_indices
from barwise.stats.sharpe import checked_matrix

# Models whose gains are held as float64 at a time.
_MODELS = 256
# Gains transformed at a time.
_TRANSFORMED = 1 << 20
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SPA:
    """Result of the test for superior predictive ability; p-values are (1 + count) / (resamples + 1).

    Attributes:
        statistic: The largest studentised gain, or 0 where no model gains: max(0, sqrt(T) mean / deviation).
        p_lower, p_consistent, p_upper: Hansen's three. The consistent one is the test; the others bound it.
        reality_check: White's p-value: not studentised, so that the wildest model decides it.
        best: Row of the model with the largest studentised gain.
        models: Models that vary and took part.
        left_out: Models whose gain never varies.
        block: Mean block length in observations.
        resamples: Resampled histories.
    """

    statistic: float
    p_lower: float
    p_consistent: float
    p_upper: float
    reality_check: float
    best: int
    models: int
    left_out: int
    block: float
    resamples: int


def superior_predictive_ability(
    gains: ArrayLike, *, block: float | None = None, resamples: int = 1000, seed: int = 0
) -> SPA:
    """Test that no model beats the benchmark.

    Args:
        gains: [models, observations], each model's return less the benchmark's; daily values are enough and faster.
        block: Mean block length of the stationary bootstrap in observations; None = the median over the models of the
            optimal one.
        resamples: Histories to draw.
        seed: The same one gives the same p-values.

    Raises:
        ConfigError: A block below 1, or no resample.
        DataError: Fewer than 16 observations, a gain that is not finite, or no model whose gain varies.

    Source:
        Hansen (2005), A Test for Superior Predictive Ability, section 3; White (2000), A Reality Check for Data
        Snooping; both with the stationary bootstrap of Politis & Romano (1994).
    """
    values = checked_matrix(gains, LEAST_OBSERVATIONS)
    observations = values.shape[1]
    means, varies = _means(values)
    kept = np.flatnonzero(varies)
    if not kept.size:
        raise DataError(f"none of the {len(values)} models has a gain that varies.", hint="give models that trade.")
    if kept.size < len(values):
        values, means = values[kept], means[kept]
    if block is None:
        block = float(np.median([optimal_block(row).stationary for row in values]))
    check_resampling(block, resamples)
    root = math.sqrt(observations)
    deviations = _bootstrap_deviations(values, means, block)
    scores = root * means / deviations
    # What each model keeps of its own mean in the resamples: one far below the benchmark is no contender.
    hopeless = scores < -math.sqrt(2.0 * math.log(math.log(observations)))
    drags = (np.minimum(means, 0.0), np.where(hopeless, means, 0.0), np.zeros_like(means))
    largest = _null_maxima(values, means, deviations, drags, block, resamples, seed)
    found = np.array([*[max(0.0, float(scores.max()))] * 3, root * float(means.max())])
    lower, consistent, upper, white = ((1 + (largest >= found).sum(axis=0)) / (resamples + 1)).tolist()
    return SPA(
        statistic=float(found[0]),
        p_lower=lower,
        p_consistent=consistent,
        p_upper=upper,
        reality_check=white,
        best=int(kept[scores.argmax()]),
        models=int(kept.size),
        left_out=len(varies) - int(kept.size),
        block=block,
        resamples=resamples,
    )


def _means(gains: NDArray[Any]) -> tuple[FloatArray, BoolArray]:
    """Mean gain of each model, and whether its gain varies."""
    means, varies = np.empty(len(gains)), np.empty(len(gains), np.bool_)
    for first in range(0, len(gains), _MODELS):
        part = gains[first : first + _MODELS].astype(np.float64)
        means[first : first + _MODELS] = part.mean(axis=1)
        size = np.sqrt(np.mean(part * part, axis=1))
        varies[first : first + _MODELS] = part.std(axis=1) > _ROUNDING * size
    return means, varies


def _bootstrap_deviations(gains: NDArray[Any], means: FloatArray, block: float) -> FloatArray:
    """Deviation of the root of T times the mean, as the stationary bootstrap has it, in closed form.

    Source:
        Hansen (2005), section 3.1, after Politis & Romano (1994), lemma 1: all autocovariances, by Fourier transform.
    """
    size = gains.shape[1]
    lags = np.arange(1, size)
    goes_on = 1.0 - 1.0 / block
    weights = (size - lags) / size * goes_on**lags + lags / size * goes_on ** (size - lags)
    deviations = np.empty(len(gains))
    step = max(1, _TRANSFORMED // size)
    for first in range(0, len(gains), step):
        rows = slice(first, first + step)
        transformed = np.fft.rfft(gains[rows].astype(np.float64) - means[rows, None], 2 * size, axis=1)
        covariances = np.fft.irfft(np.abs(transformed) ** 2, 2 * size, axis=1)[:, :size] / size
        variance = covariances[:, 0] + 2.0 * covariances[:, 1:] @ weights
        # It is a variance and so positive; rounding alone can bring it to 0, where returns cancel exactly.
        deviations[rows] = np.sqrt(np.maximum(variance, _ROUNDING**2 * covariances[:, 0]))
    return deviations


def _null_maxima(
    gains: NDArray[Any],
    means: FloatArray,
    deviations: FloatArray,
    drags: tuple[FloatArray, ...],
    block: float,
    resamples: int,
    seed: int,
) -> FloatArray:
    """Statistics of resamples in which no model has an edge: one column for each of `drags`, the last for White's."""
    observations = gains.shape[1]
    root = math.sqrt(observations)
    rng = np.random.default_rng(seed)
    largest = np.zeros((resamples, len(drags) + 1))  # Hansen's are never below 0
    largest[:, -1] = -np.inf
    step = max(1, CHUNK // observations)
    for first in range(0, resamples, step):
        drawn = stationary_indices(observations, block, min(step, resamples - first), rng)
        # A resampled mean needs only how often each observation was drawn: then all of them are one matrix product.
        offsets = np.arange(len(drawn))[:, None] * observations
        times = np.bincount((drawn + offsets).ravel(), minlength=drawn.size).reshape(drawn.shape) / observations
        here = largest[first : first + len(drawn)]
        for start in range(0, len(gains), _MODELS):
            models = slice(start, start + _MODELS)
            centred = gains[models].astype(np.float64) - means[models, None]
            excess = root * (times @ centred.T)
            np.maximum(here[:, -1], excess.max(axis=1), out=here[:, -1])
            for column, drag in enumerate(drags):
                scores = (excess + root * drag[models]) / deviations[models]
                np.maximum(here[:, column], scores.max(axis=1), out=here[:, column])
    return largest
