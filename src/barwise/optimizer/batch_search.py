"""AUTO: a search made for an evaluator that takes thousands of points at once and microseconds for each.

Bayesian samplers spend milliseconds on each proposal, a thousand times what it costs to try one. This one spends
microseconds. A quasi-random start covers the box; then generations of a few hundred points each are drawn around
the elite of all that is known so far, in ever smaller steps, with coordinates mixed between two parents so that single
good values can meet. A part of each generation stays quasi-random, so that the search never rests on one hill.

Everything is drawn from one generator in the order of the batches, so a seed gives the same points on every machine.
"""

import math
from typing import Any

import numpy as np

from barwise.core.layout import BoolArray, FloatArray
from barwise.optimizer.objective import order
from barwise.optimizer.sampler import Told
from barwise.optimizer.space import Space

# The search works in this many batches: the start, and generations around the elite.
_GENERATIONS = 6
# Share of the trials that the start takes, and share of each generation that stays quasi-random.
_START, _ELSEWHERE = 1.0 / 3.0, 0.1
_ELITE = 16
# Half width of a step in the unit cube, at the first and at the last generation.
_FIRST_STEP, _LAST_STEP = 0.2, 0.03
# Chance that a coordinate of a child is moved at all: a child that moves everywhere is a new random point.
_MOVES = 0.5


def first_batch(trials: int) -> int:
    """Points of the quasi-random start, which is the largest batch, of so many trials."""
    return max(1, min(trials, round(trials * _START)))


class BatchSearch:
    """The batch search on one space.

    Args:
        space: Where to search.
        seed: Same seed, same proposals to the same answers.
        trials: How many points will be asked for in all.
    """

    name = "AUTO"

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self._space = space
        self._random = np.random.default_rng(seed)
        self._sequence: Any = None
        dimensions = len(space.names)
        self._points = np.empty((0, dimensions))
        self._values = np.empty(0)
        self._violation = np.empty(0)
        self._generation = 0
        self._start = first_batch(trials)
        self._later = max(1, -(-(trials - self._start) // _GENERATIONS))
        # A box with fewer points than there are trials is not searched but tried, point by point.
        sizes = [
            int(dimension.high - dimension.low) + 1 if dimension.integer else trials + 1
            for dimension in space.dimensions
        ]
        self._all: FloatArray | None = None
        if math.prod(sizes) <= trials:
            axes = (np.arange(dimension.low, dimension.high + 1.0) for dimension in space.dimensions)
            self._all = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dimensions)

    @property
    def batch(self) -> int:
        """Points of the next generation."""
        if self._all is not None:
            return max(1, len(self._all))
        return self._start if self._generation == 0 else self._later

    def ask(self, count: int) -> FloatArray:
        if self._all is not None:
            asked, self._all = self._all[:count], self._all[count:]
            return asked
        if not self._points.size:
            return self._space.from_unit(self._quasi_random(count))
        elsewhere = round(count * _ELSEWHERE)
        unit = np.concatenate([self._children(count - elsewhere), self._quasi_random(elsewhere)])
        return self._space.from_unit(unit)

    def tell(self, told: Told) -> None:
        judged = told.complete & np.isfinite(told.values[:, 0])
        self._points = np.concatenate([self._points, told.points[judged]])
        self._values = np.concatenate([self._values, told.values[judged, 0]])
        self._violation = np.concatenate([self._violation, told.violation[judged]])
        best = order(self._values, self._violation)[:_ELITE]
        self._points, self._values, self._violation = self._points[best], self._values[best], self._violation[best]
        self._generation += 1

    def _children(self, count: int) -> FloatArray:
        """Points around the elite: coordinates of two parents mixed, some of them moved, reflected into the cube."""
        parents = self._space.to_unit(self._points)
        size, dimensions = parents.shape
        # The better of two random ranks: the best parent is twice as likely as an average one.
        first = self._random.integers(size, size=(2, count)).min(axis=0)
        second = self._random.integers(size, size=count)
        mixed: BoolArray = self._random.random((count, dimensions)) < 0.5
        children = np.where(mixed, parents[first], parents[second])
        progress = min(1.0, (self._generation - 1) / max(1, _GENERATIONS - 1))
        width = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** progress
        # An integer with few values must be able to reach its neighbour, however small the steps have become.
        whole = np.array([dimension.integer for dimension in self._space.dimensions])
        shares = np.where(whole, 1.0 / (self._space.high - self._space.low + 1.0), 0.0)
        steps = self._random.standard_normal((count, dimensions)) * np.maximum(width, shares)
        moves = self._random.random((count, dimensions)) < _MOVES
        children = children + np.where(moves, steps, 0.0)
        children = np.abs(children)
        children = np.where(children > 1.0, 2.0 - children, children)
        return np.clip(children, 0.0, 1.0)

    def _quasi_random(self, count: int) -> FloatArray:
        """The next points of a scrambled Sobol sequence (Sobol 1967; Owen 1998), float64 [count, dimensions]."""
        if self._sequence is None:
            from scipy.stats import qmc

            self._sequence = qmc.Sobol(len(self._space.names), scramble=True, rng=self._random)
            # The first points are balanced if they are a power of two; the last of them are not used.
            first: FloatArray = self._sequence.random_base2((count - 1).bit_length())
            return first[:count]
        drawn: FloatArray = self._sequence.random(count)
        return drawn
