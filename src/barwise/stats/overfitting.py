"""How often the trial that looks best on one half of the data is below the middle on the other half.

The probability of backtest overfitting by combinatorially symmetric cross-validation. A Sharpe ratio needs nothing but
the sums of returns and of their squares, so the data are read once into sums per block, and every one of the thousands
of splits is then a product of small matrices. What is one split's first half is another one's second half, so half of
them is computed and used twice.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barwise.core.layout import BoolArray, FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats.sharpe import checked_matrix

MOST_BLOCKS = 20  # 184,756 splits
# Returns converted to float64 at a time, and Sharpe ratios held at a time: both fit into a core's cache.
_CHUNK = 1 << 19
_CELLS = 1 << 17
# Multiplications of a matrix product that OpenBLAS still does on one thread, and rows of such a product.
_PIECE, _PIECE_ROWS = 1 << 18, 16
# Bits of a block's sum: the sums of up to MOST_BLOCKS of them are exact, in whatever order a library adds them up.
_BITS = 47
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class PBO:
    """What the splits say. Sharpe ratios are per observation; arrays have one value per split.

    Attributes:
        pbo: Share of splits in which the trial chosen in sample is at or below the middle of all trials out of sample.
            Without any edge it is about 0.5, not 1.
        logits: ln(w / (1 - w)) of the relative rank w = rank / (trials + 1) of the chosen trial out of sample.
        chosen: Row of `returns` that is best in sample.
        in_sample_best: Sharpe ratio of the chosen trial in sample.
        out_of_sample: Sharpe ratio of the chosen trial out of sample.
        out_of_sample_mean: Mean Sharpe ratio of all trials out of sample: choosing without looking.
        probability_of_loss: Share of splits in which `out_of_sample` is below 0.
        slope, intercept: Least squares of `out_of_sample` on `in_sample_best`; a slope below 0 says that the better it
            looked the worse it went. NaN where all in-sample values are equal.
        first_order: The sorted `out_of_sample` is nowhere below the sorted `out_of_sample_mean`, and somewhere above.
        second_order: The same for their running sums: whoever dislikes risk prefers choosing.
        splits: Number of splits, C(blocks, blocks / 2) unless in some of them no trial varied in sample.
        trials: Trials that vary and were ranked.
        left_out: Trials that never vary.
        blocks: Number of blocks.
    """

    pbo: float
    logits: FloatArray
    chosen: IntArray
    in_sample_best: FloatArray
    out_of_sample: FloatArray
    out_of_sample_mean: FloatArray
    probability_of_loss: float
    slope: float
    intercept: float
    first_order: bool
    second_order: bool
    splits: int
    trials: int
    left_out: int
    blocks: int


def probability_of_overfitting(returns: ArrayLike, blocks: int = 16) -> PBO:
    """PBO of a set of trials by combinatorially symmetric cross-validation, over all splits.

    A half in which a trial does not vary (no trade) has no Sharpe ratio: in sample such a trial cannot be chosen, out
    of sample it ranks as 0, which is what it earned.

    Args:
        returns: [trials, observations], float32 or float64: every trial of the search, over the same bars. All of them,
            not only the good ones.
        blocks: Even number of blocks the observations are cut into, 2 .. 20; the first ones are one observation longer
            where they do not divide.

    Raises:
        ConfigError: An odd number of blocks, or one out of range.
        DataError: Fewer than 2 trials that vary, fewer than 2 observations a block, or a return that is not finite.

    Source:
        Bailey, Borwein, Lopez de Prado & Zhu (2017), The Probability of Backtest Overfitting, section 2; ties get the
        mean of their ranks.
    """
    if not 2 <= blocks <= MOST_BLOCKS or blocks % 2:
        raise ConfigError(f"blocks is an even number from 2 to {MOST_BLOCKS}; got {blocks}.", hint="use 16.")
    values = checked_matrix(returns, 2 * blocks)
    sums = _block_sums(values, blocks)
    kept = np.flatnonzero(sums.varies.any(axis=0))
    if kept.size < 2:
        raise DataError(
            f"overfitting is a question about at least 2 trials that vary; got {kept.size} of {len(values)}.",
            hint="give the returns of all trials of the search, one row each.",
        )
    if kept.size < len(values):
        sums = Sums(
            sums.sums[:, kept], sums.squares[:, kept], sums.varies[:, kept], sums.centre[kept], sums.floor[kept],
            sums.counts,
        )  # fmt: skip
    chosen, best, found, mean, rank = _every_split(sums)
    usable = np.isfinite(best)  # at least half of them: a trial that varies does so in one of each split's halves
    best, found, mean, rank = best[usable], found[usable], mean[usable], rank[usable]
    logits = np.log(rank / (kept.size + 1 - rank))
    slope, intercept = _line(best, found)
    first, second = _dominance(found, mean)
    return PBO(
        pbo=float(np.mean(logits <= 0.0)),
        logits=logits,
        chosen=kept[chosen[usable]],
        in_sample_best=best,
        out_of_sample=found,
        out_of_sample_mean=mean,
        probability_of_loss=float(np.mean(found < 0.0)),
        slope=slope,
        intercept=intercept,
        first_order=first,
        second_order=second,
        splits=int(usable.sum()),
        trials=int(kept.size),
        left_out=len(values) - int(kept.size),
        blocks=blocks,
    )


class Sums(NamedTuple):
    """What is left of the returns: [blocks, trials] but for `centre` and `floor` [trials] and `counts` [blocks].

    Attributes:
        sums, squares: Of the returns less their mean over all observations, which keeps the digits of the variance.
        varies: Whether the returns of the block vary.
        centre: The mean that was taken away.
        floor: The smallest sum of squared deviations that is not rounding.
        counts: Observations.
    """

    sums: FloatArray
    squares: FloatArray
    varies: BoolArray
    centre: FloatArray
    floor: FloatArray
    counts: FloatArray


def _block_sums(values: NDArray[Any], blocks: int) -> Sums:
    trials, observations = values.shape
    counts = np.full(blocks, observations // blocks)
    counts[: observations % blocks] += 1
    starts = np.cumsum(counts) - counts
    sums, squares, varies = (np.empty((blocks, trials)) for _ in range(3))
    centre = np.empty(trials)
    resolution = 4.0 * float(np.finfo(values.dtype).eps)
    step = max(1, _CHUNK // observations)
    for first in range(0, trials, step):
        rows = slice(first, first + step)
        raw = values[rows]
        high, low = np.maximum.reduceat(raw, starts, axis=1), np.minimum.reduceat(raw, starts, axis=1)
        size = np.maximum(np.abs(high), np.abs(low))
        varies[:, rows] = (high - low > 4.0 * _EPSILON + resolution * size).T
        part = raw.astype(np.float64)
        centre[rows] = part.mean(axis=1)
        part -= centre[rows, None]
        sums[:, rows] = np.add.reduceat(part, starts, axis=1).T
        part *= part
        squares[:, rows] = np.add.reduceat(part, starts, axis=1).T
    floor = np.maximum(squares.max(axis=0) * 2.0 ** (3 - _BITS), np.finfo(np.float64).tiny)
    return Sums(_exact(sums), _exact(squares), varies > 0.0, centre, floor, counts.astype(np.float64))


def _exact(sums: FloatArray) -> FloatArray:
    """Rounded to a binary grid per trial on which adding up is exact.

    Two trials with the same returns then have the same Sharpe ratio to the bit in every split, so that a tie is a tie.
    """
    exponent = np.frexp(np.abs(sums).max(axis=0))[1] - _BITS
    rounded: FloatArray = np.ldexp(np.rint(np.ldexp(sums, -exponent)), exponent)
    return rounded


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """The matrix product of whole numbers or of numbers on a grid, where the order of adding up makes no difference.

    In pieces that OpenBLAS does not share out over threads: there are hundreds of products, at each its threads would
    wait for one another, and on a computer that is busy that takes ten times as long as the work.
    """
    rows, inner = left.shape
    height = min(_PIECE_ROWS, rows)
    stack = np.zeros((-(-rows // height), height, inner))
    stack.reshape(-1, inner)[:rows] = left
    found = np.empty((*stack.shape[:2], right.shape[1]))
    for columns in range(0, right.shape[1], _PIECE // (height * inner)):
        piece = slice(columns, columns + _PIECE // (height * inner))
        np.matmul(stack, right[:, piece], out=found[:, :, piece])
    return found.reshape(-1, right.shape[1])[:rows]


def _every_split(sums: Sums) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Of each split: the trial chosen, its Sharpe ratio in and out of sample, the mean of all out of sample, its rank.

    Splits are in lexicographic order of the blocks in sample, so the split at place i and the one as far from the end
    swap their halves. Where no trial can be chosen the ratio in sample is -inf.
    """
    blocks, trials = sums.sums.shape
    others = itertools.combinations(range(1, blocks), blocks // 2 - 1)
    members = np.zeros((math.comb(blocks - 1, blocks // 2 - 1), blocks))
    picked = np.array(list(others), dtype=np.int64).reshape(len(members), blocks // 2 - 1)
    members[:, 0] = 1.0
    np.put_along_axis(members, picked, 1.0, axis=1)
    splits = 2 * len(members)
    chosen = np.empty(splits, np.int64)
    best, found, mean, rank = (np.empty(splits) for _ in range(4))
    all_sums, all_squares, all_counts = sums.sums.sum(axis=0), sums.squares.sum(axis=0), sums.counts.sum()
    # A trial can only be flat in a half if it is flat in as many blocks.
    varies = sums.varies.astype(np.float64)
    idle = bool(((blocks - varies.sum(axis=0)) >= blocks // 2).any())
    step = max(1, _CELLS // trials)
    for first in range(0, len(members), step):
        inside = members[first : first + step]
        total, square = _product(inside, sums.sums), _product(inside, sums.squares)
        count = (inside @ sums.counts)[:, None]
        near = _sharpe(total, square, count, sums)
        far = _sharpe(all_sums - total, all_squares - square, all_counts - count, sums)
        near_choice, far_choice = near, far
        if idle:
            near_flat, far_flat = _product(inside, varies) == 0.0, _product(1.0 - inside, varies) == 0.0
            near_choice, far_choice = np.where(near_flat, -np.inf, near), np.where(far_flat, -np.inf, far)
            near[near_flat], far[far_flat] = 0.0, 0.0
        here = slice(first, first + len(inside))
        mirrored = slice(splits - first - 1, splits - first - len(inside) - 1, -1)
        for place, choice, other in ((here, near_choice, far), (mirrored, far_choice, near)):
            rows, columns = np.arange(len(inside)), choice.argmax(axis=1)
            value = other[rows, columns]
            below = np.count_nonzero(other < value[:, None], axis=1)
            level = np.count_nonzero(other == value[:, None], axis=1)
            chosen[place], best[place], found[place] = columns, choice[rows, columns], value
            mean[place], rank[place] = other.mean(axis=1), below + (level + 1) / 2.0
    return chosen, best, found, mean, rank


def _sharpe(total: FloatArray, square: FloatArray, count: FloatArray, sums: Sums) -> FloatArray:
    mean = total / count
    deviation = square - total * mean
    np.maximum(deviation, sums.floor, out=deviation)
    deviation /= count - 1.0
    np.sqrt(deviation, out=deviation)
    mean += sums.centre
    mean /= deviation
    return mean


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and intercept by least squares."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    if spread <= (4.0 * _EPSILON) ** 2 * float(x @ x):
        return math.nan, math.nan
    slope = float(centred @ y) / spread
    return slope, float(y.mean()) - slope * float(x.mean())


def _dominance(ours: FloatArray, theirs: FloatArray) -> tuple[bool, bool]:
    """Whether one sample dominates another of the same size, in the first and in the second order.

    Of two sorted samples the first order compares value by value, the second their running sums.
    """
    ahead = np.sort(ours) - np.sort(theirs)
    summed = np.cumsum(ahead)
    slack = 8.0 * _EPSILON * max(float(np.abs(ours).sum()), float(np.abs(theirs).sum()))
    first = bool((ahead >= -slack).all() and (ahead > slack).any())
    second = bool((summed >= -slack).all() and (summed > slack).any())
    return first, second
