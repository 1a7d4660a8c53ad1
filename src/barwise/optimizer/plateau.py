"""Plateaus, not peaks: what happens to a result when its parameters are a little off.

A peak that one step away is gone was found in the noise of one span. What was really there has a neighbourhood that is
nearly as good, because a market does not know whether an average is over 12 or over 13 bars.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError
from barwise.optimizer.space import Space
from barwise.optimizer.trials import Trials

# A neighbour keeps the objective when this share of it is left.
KEEPS = 0.8
# Trials whose neighbourhoods are compared when the most robust one is wanted.
CANDIDATES = 20

Evaluate = Callable[[Space, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False, repr=False)
class Plateau:
    """One point and what lies a step around it; n neighbours, d parameters.

    Attributes:
        names: Parameters, in the order of a point's values.
        steps: float64 [d], what one step of each is.
        point: float64 [d].
        value: Objective at the point, larger is better.
        points: float64 [n, d], the neighbours: first those with one parameter a step off, then those with two.
        values: float64 [n], their objective, larger is better; NaN where it is undefined.
    """

    names: tuple[str, ...]
    steps: FloatArray
    point: FloatArray
    value: float
    points: FloatArray
    values: FloatArray

    @property
    def undefined(self) -> int:
        """Neighbours whose objective has no value, for example because they never trade."""
        return int(np.isnan(self.values).sum())

    @property
    def reason(self) -> str:
        """Why there is no `kept`, or ""."""
        if not len(self.points):
            return "the point has no valid neighbour"
        share = f"{100.0 * KEEPS:.0f} %"
        nothing = f"{share} of an objective that is not above zero, or of which less is better, means nothing"
        return "" if self.value > 0.0 else nothing

    @property
    def kept(self) -> float | None:
        """Share of the neighbours that keep at least 80 % of the objective, undefined ones counted as lost."""
        return None if self.reason else float((self.values >= KEEPS * self.value).mean())

    @property
    def worst(self) -> float | None:
        """Lowest objective of a neighbour; None where none has a value."""
        return self._of_defined(np.min)

    @property
    def best(self) -> float | None:
        """Highest objective of a neighbour; above `value` where the search passed over something better."""
        return self._of_defined(np.max)

    @property
    def median(self) -> float | None:
        """Median objective of the neighbours that have one."""
        return self._of_defined(np.median)

    @property
    def mean(self) -> float | None:
        """Mean objective of the neighbours that have one."""
        return self._of_defined(np.mean)

    @cached_property
    def per_parameter(self) -> dict[str, tuple[float | None, float | None]]:
        """Objective (one step down, one step up) by parameter; None where that is not valid or has no value."""
        moved = self.points != self.point
        alone = moved.sum(axis=1) == 1
        found: dict[str, tuple[float | None, float | None]] = {}
        for column, name in enumerate(self.names):
            own = alone & moved[:, column]
            down, up = own & (self.points[:, column] < self.point[column]), own & (self.points > self.point)[:, column]
            found[name] = (self._only(down), self._only(up))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything but the neighbours one by one, as JSON takes it."""
        return {
            "point": dict(zip(self.names, self.point.tolist(), strict=True)),
            "steps": dict(zip(self.names, self.steps.tolist(), strict=True)),
            "value": None if np.isnan(self.value) else self.value,
            "neighbours": len(self.points),
            "undefined": self.undefined,
            "kept": self.kept,
            "kept_reason": self.reason,
            "best": self.best,
            "worst": self.worst,
            "median": self.median,
            "mean": self.mean,
            "per_parameter": {name: {"down": down, "up": up} for name, (down, up) in self.per_parameter.items()},
        }

    def _of_defined(self, of: Callable[[FloatArray], Any]) -> float | None:
        defined = self.values[~np.isnan(self.values)]
        return float(of(defined)) if defined.size else None

    def __repr__(self) -> str:
        kept = self.kept
        said = self.reason if kept is None else f"{100.0 * kept:.0f} % of {len(self.points)} neighbours keep it"
        return f"<Plateau of {self.value:.6g}: {said}>"

    def _only(self, rows: Any) -> float | None:
        found = self.values[rows]
        return float(found[0]) if found.size and not np.isnan(found[0]) else None


def neighbourhood(space: Space, point: FloatArray, *, pairs: bool = True) -> FloatArray:
    """Every valid point one step away in one parameter, or in two at once with all four combinations of signs.

    A step is that of the space. Neighbours may leave the box that was searched, because a box is a choice of the
    search and a peak at its wall is a peak as well; they never leave what the strategy declares. One that breaks a
    bound or a rule is left out and not moved: moved, it would be no step, or be another neighbour counted twice.

    Args:
        space: What was searched.
        point: float64 [d], a valid point.
        pairs: Also those with two parameters a step off.

    Returns:
        float64 [n, d], distinct; the point itself is not among them. For d parameters at most 2 d + 2 d (d - 1), and
        2 d without pairs.
    """
    point = np.asarray(point, dtype=np.float64)
    offsets = [{column: sign} for column in range(point.size) for sign in (-1.0, 1.0)]
    if pairs:
        offsets += [
            {first: sign, second: other}
            for first, second in itertools.combinations(range(point.size), 2)
            for sign, other in itertools.product((-1.0, 1.0), repeat=2)
        ]
    found: dict[bytes, FloatArray] = {}
    for offset in offsets:
        moved = point.copy()
        for column, sign in offset.items():
            dimension = space.dimensions[column]
            moved[column] = np.round(moved[column] + sign * dimension.step, dimension.decimals)
        if moved.tobytes() not in found and (moved != point).any() and _is_valid(space, moved):
            found[moved.tobytes()] = moved
    return np.array(list(found.values())).reshape(len(found), point.size)


def measure_plateau(evaluate: Evaluate, space: Space, point: FloatArray, value: float) -> Plateau:
    """The neighbourhood of one point.

    Args:
        evaluate: Gives the objective of valid points of a space, larger is better, NaN where undefined; whoever passes
            it in puts what it evaluates on record.
        space: What was searched.
        point: float64 [d], a valid point.
        value: Objective at the point, larger is better.
    """
    points = neighbourhood(space, point)
    values = evaluate(space, points) if len(points) else np.empty(0)
    return _plateau(space, point, value, points, values)


def most_robust(evaluate: Evaluate, space: Space, trials: Trials, most: int = CANDIDATES) -> tuple[int, Plateau]:
    """Among the best trials, the one whose neighbours are best in the mean; of equals the better trial.

    A neighbour without a value counts as the lowest value met anywhere in the comparison (at most 0), so that a point
    beside which nothing trades is not better for it. All neighbours are evaluated together, each distinct one once.

    Args:
        evaluate: As in `measure_plateau`.
        space: What was searched.
        trials: Of that search.
        most: How many of the best complete trials that keep all guards are compared; equal points count once.

    Returns:
        Row of the chosen trial, and its plateau.

    Raises:
        ConfigError: No complete trial keeps all guards.
    """
    rows = _candidates(trials, most)
    around = [neighbourhood(space, trials.points[row]) for row in rows]
    parts = values_around(evaluate, space, around)
    found = np.concatenate(parts)
    floor = float(np.min(found[~np.isnan(found)], initial=0.0))
    scores = [np.where(np.isnan(part), floor, part).mean() if part.size else -np.inf for part in parts]
    best = int(np.argmax(scores))
    row = rows[best]
    return row, _plateau(space, trials.points[row], float(trials.values[row, 0]), around[best], parts[best])


def values_around(evaluate: Evaluate, space: Space, around: Sequence[FloatArray]) -> list[FloatArray]:
    """Values of several neighbourhoods, all evaluated together and each distinct point once.

    Args:
        evaluate: As in `measure_plateau`.
        space: What the points belong to.
        around: At least one neighbourhood, float64 [n, d] each; an empty one has no values.
    """
    distinct, where = np.unique(np.concatenate(around), axis=0, return_inverse=True)
    found = evaluate(space, distinct) if len(distinct) else np.empty(0)
    return np.split(found[where.ravel()], np.cumsum([len(neighbours) for neighbours in around])[:-1])


def _candidates(trials: Trials, most: int) -> list[int]:
    """Rows of the best complete trials that keep all guards, of equal points the first."""
    found: dict[bytes, int] = {}
    for row in trials.ranked:
        if len(found) == most:
            break
        if trials.violation[row] == 0.0:
            found.setdefault((trials.points[row] + 0.0).tobytes(), int(row))
    if not found:
        raise ConfigError(
            f"none of {len(trials):,} trials was run to the end and kept all guards, so none is robust.",
            hint="lower min_trades or raise max_drawdown, or search a wider box.",
        )
    return list(found.values())


def _plateau(space: Space, point: FloatArray, value: float, points: FloatArray, values: FloatArray) -> Plateau:
    return Plateau(space.names, space.step, np.asarray(point, dtype=np.float64), float(value), points, values)


def _is_valid(space: Space, point: FloatArray) -> bool:
    values: Mapping[str, Any] = space.values(point)
    try:
        space.strategy.replace(**values)
    except ConfigError:
        return False
    return True
