"""Where a search may look: a box around the base values in which every point is a valid configuration.

Points are float64 matrices [points, dimensions] of parameter values. A sampler may propose any point of the box, and
`valid` moves it to the nearest one the strategy accepts (whole numbers, rising chains such as fast < slow < trend, the
rules of the strategy itself), so that a constraint is never broken instead of being punished: a constant penalty would
spoil the model of every sampler that has one.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from barwise.config import parameter_stage
from barwise.core.layout import FloatArray
from barwise.errors import ConfigError, did_you_mean
from barwise.strategy.base import Strategy

Stage = Literal["7.1", "7.2", "7.3", "joint"]
STAGES: tuple[Stage, ...] = ("7.1", "7.2", "7.3")

# The wide box: a factor of 2.5 both ways, because a box of 10 to 25 % cannot leave the valley the base values lie in.
_WIDE_DOWN, _WIDE_UP = 0.4, 2.5
# Real values carry two decimals more than their step has: enough for any search, and short enough to be typed.
_EXTRA_DECIMALS = 2
# A base value below this has no digits worth searching, and counts as zero.
_SMALLEST = 1e-12
# Halvings of the way to the base values before a point that the strategy refuses becomes the base itself.
_PULLS = 6


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: Of the strategy's parameter.
        low, high: Ends of the box, both included.
        step: What counts as a small change: 1 for integers, a unit of the base value's second digit for reals.
        integer: Whether it takes whole numbers only.
        base: The value the search starts from.
        decimals: Digits after the point that its values are rounded to.
    """

    name: str
    low: float
    high: float
    step: float
    integer: bool
    base: float
    decimals: int

    def axis(self) -> FloatArray:
        """The grid of the dimension: the base value and every whole step from it within the box."""
        below = int((self.base - self.low) / self.step + 1e-9)
        above = int((self.high - self.base) / self.step + 1e-9)
        return self.rounded(self.base + self.step * np.arange(-below, above + 1, dtype=np.float64))

    def rounded(self, values: FloatArray) -> FloatArray:
        """Values with the decimals of the dimension, within its ends; the base value stays as it was given."""
        # An end may have more decimals than that, where it is a declared bound, and must not be rounded across.
        inside = np.clip(np.round(values, self.decimals), self.low, self.high)
        rounded: FloatArray = np.where(values == self.base, self.base, inside)
        return rounded


class Space:
    """The box of one stage, around one strategy.

    Args:
        strategy: Base values, and the parameters that are not searched.
        stage: "7.1", "7.2", "7.3", or "joint" for all of them.
        width: Half width of the box as a fraction of the base value; at least one step each way.
        wide: Ignore `width` and search from 0.4 to 2.5 times the base value.
        ranges: (low, high) by name, instead of the box; also puts a parameter of no stage into the search of "joint",
            or of the stage its type belongs to.
        fixed: Names that are not searched.

    Raises:
        ConfigError: An unknown name, a range of something that is no number, an empty range, or one that leaves out the
            base value.
    """

    def __init__(
        self,
        strategy: Strategy,
        stage: Stage,
        *,
        width: float,
        wide: bool = False,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        fixed: Sequence[str] = (),
    ) -> None:
        self.strategy = strategy
        self.stage = stage
        ranges = dict(ranges or {})
        known = type(strategy).model_fields
        for name in (*ranges, *fixed):
            if name not in known:
                raise ConfigError(
                    f"{name} is not a parameter of {type(strategy).__name__}.{did_you_mean(name, known)}",
                    hint=f"the parameters are {', '.join(known)}.",
                )
        for name in ranges:
            if not _is_number(getattr(strategy, name)):
                raise ConfigError(
                    f"{name} is {getattr(strategy, name)!r}, which is no number to search around.",
                    hint=f"leave {name} out of ranges, or start from a strategy in which it is a number.",
                )
        idle = strategy.idle_parameters()
        names = [
            name for name in known if name not in fixed and name not in idle and _belongs(strategy, name, stage, ranges)
        ]
        boxes = [_dimension(strategy, name, width, wide, ranges.get(name)) for name in names]
        self._chains = _chains(strategy, names)
        self.dimensions = _tightened(boxes, self._chains)

    @property
    def names(self) -> tuple[str, ...]:
        """Searched parameters, in the order of a point's values."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def low(self) -> FloatArray:
        return np.array([dimension.low for dimension in self.dimensions])

    @property
    def high(self) -> FloatArray:
        return np.array([dimension.high for dimension in self.dimensions])

    @property
    def step(self) -> FloatArray:
        return np.array([dimension.step for dimension in self.dimensions])

    @property
    def base(self) -> FloatArray:
        """The point the search starts from."""
        return np.array([dimension.base for dimension in self.dimensions])

    def from_unit(self, unit: FloatArray) -> FloatArray:
        """Points of the unit cube [0, 1]^d as points of the box; every integer has the same share of its axis."""
        whole = np.array([dimension.integer for dimension in self.dimensions], dtype=bool)
        low, high = self.low, self.high
        points: FloatArray = low + unit * (high - low + whole)
        points[:, whole] = np.floor(points)[:, whole]
        return np.clip(points, low, high)

    def to_unit(self, points: FloatArray) -> FloatArray:
        """The inverse of `from_unit`; integers become the middle of their share."""
        whole = np.array([dimension.integer for dimension in self.dimensions], dtype=bool)
        span = self.high - self.low + whole
        unit: FloatArray = (points - self.low + 0.5 * whole) / np.where(span > 0.0, span, 1.0)
        return unit

    def valid(self, points: FloatArray) -> FloatArray:
        """The nearest points that the strategy accepts; a valid point comes back as it is.

        Args:
            points: float64 [points, dimensions], anywhere.
        """
        points = np.clip(np.asarray(points, dtype=np.float64), self.low, self.high)
        for column, dimension in enumerate(self.dimensions):
            points[:, column] = dimension.rounded(points[:, column])
        for chain in self._chains:
            for before, link in itertools.pairwise(chain):
                if link.column is None:
                    continue
                floor = before.base if before.column is None else points[:, before.column]
                raised = np.maximum(points[:, link.column], floor + link.gap)
                points[:, link.column] = self.dimensions[link.column].rounded(raised)
        return self._accepted(points)

    def columns(self, points: FloatArray) -> dict[str, Any]:
        """Valid points as the columns `sweep` takes."""
        return {
            dimension.name: points[:, column].astype(np.int64) if dimension.integer else points[:, column].copy()
            for column, dimension in enumerate(self.dimensions)
        }

    def values(self, point: FloatArray) -> dict[str, int | float]:
        """One valid point by name."""
        return {
            dimension.name: int(value) if dimension.integer else float(value)
            for dimension, value in zip(self.dimensions, point, strict=True)
        }

    def configured(self, point: FloatArray) -> Strategy:
        """The strategy at one valid point."""
        return self.strategy.replace(**self.values(point))

    def _accepted(self, points: FloatArray) -> FloatArray:
        """Points that break a rule of the strategy's own, pulled towards the base values until none is broken."""
        strategy = self.strategy
        if not points.size or _only_declared_rules(strategy, self._rows(points)):
            return points
        for row, point in enumerate(points):
            for pull in range(_PULLS + 1):
                share = 0.0 if pull == _PULLS else 0.5**pull
                moved = self.base + share * (point - self.base)
                for column, dimension in enumerate(self.dimensions):
                    moved[column] = dimension.rounded(moved[column])
                if _accepts(strategy, self.values(moved)):
                    points[row] = moved
                    break
        return points

    def _rows(self, points: FloatArray) -> dict[str, Any]:
        """Every signal parameter as a column, as `Strategy.check_rows` wants them."""
        varied = self.columns(points)
        return {
            name: varied.get(name, np.broadcast_to(np.asarray(getattr(self.strategy, name)), (len(points),)))
            for name in self.strategy.signal_parameters()
        }


def _accepts(strategy: Strategy, values: Mapping[str, Any]) -> bool:
    try:
        strategy.replace(**values)
    except ConfigError:
        return False
    return True


def _only_declared_rules(strategy: Strategy, rows: Mapping[str, Any]) -> bool:
    """Whether one look at all rows shows that the strategy takes them."""
    if "check_rows" not in vars(type(strategy)):
        return False  # nobody but the strategy itself knows what it takes
    try:
        type(strategy).check_rows(rows)
    except ConfigError:
        return False
    return True


def _belongs(strategy: Strategy, name: str, stage: str, ranges: Mapping[str, Any]) -> bool:
    """Whether a parameter is searched in a stage."""
    if not _is_number(getattr(strategy, name)):
        return False  # switches, names, and numbers that follow another one (None)
    own = parameter_stage(type(strategy).model_fields[name])
    if not own and name in ranges:
        own = "7.1" if _is_integer(strategy, name) else "7.2"
    return bool(own) and stage in (own, "joint")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(strategy: Strategy, name: str) -> bool:
    return type(strategy).model_fields[name].annotation is int


def _dimension(strategy: Strategy, name: str, width: float, wide: bool, given: tuple[float, float] | None) -> Dimension:
    base, integer = float(getattr(strategy, name)), _is_integer(strategy, name)
    floor, ceiling = _declared_bounds(strategy, name)
    decimals, step = (0, 1.0) if integer else _resolution(base, floor, ceiling)
    quantum = 10.0**-decimals
    if given is not None:
        low, high = _given_range(name, given)
        if not low <= base <= high:
            raise ConfigError(
                f"the range of {name}, {low:g} to {high:g}, leaves out {base:g}, which the search starts from.",
                hint=f"widen it, or start from a strategy whose {name} lies inside.",
            )
        low, high = math.ceil(low / quantum - 1e-9) * quantum, math.floor(high / quantum + 1e-9) * quantum
    elif wide:
        ends = sorted((base * _WIDE_DOWN, base * _WIDE_UP))
        low, high = min(ends[0], base - 3.0 * step), max(ends[1], base + 3.0 * step)
    else:
        half = max(step, math.floor(width * abs(base) / step + 0.5) * step if integer else width * abs(base))
        low, high = base - half, base + half
    low = max(round(low, decimals), floor[0] + quantum * floor[1])
    high = min(round(high, decimals), ceiling[0] - quantum * ceiling[1])
    return Dimension(name, min(low, base), max(high, base), step, integer, base, decimals)


def _given_range(name: str, given: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise ConfigError(
            f"the range of {name} must be (low, high); got {given!r}.",
            hint=f'for example ranges={{"{name}": (5, 40)}}.',
        ) from None
    if not low <= high or math.isinf(low) or math.isinf(high):
        raise ConfigError(f"the range of {name} must rise from a low to a high number; got {given!r}.")
    return low, high


def _declared_bounds(strategy: Strategy, name: str) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """((lowest, it is excluded), (highest, it is excluded)) as declared."""
    low, high = (-math.inf, False), (math.inf, False)
    for bound in type(strategy).model_fields[name].metadata:
        for attribute, excluded in (("ge", False), ("gt", True)):
            limit = getattr(bound, attribute, None)
            if limit is not None:
                low = (float(limit), excluded)
        for attribute, excluded in (("le", False), ("lt", True)):
            limit = getattr(bound, attribute, None)
            if limit is not None:
                high = (float(limit), excluded)
    return low, high


def _resolution(base: float, floor: tuple[float, bool], ceiling: tuple[float, bool]) -> tuple[int, float]:
    """(decimals, step) of a real parameter: the step is one unit of the base value's second significant digit."""
    size = abs(base)
    if size < _SMALLEST:
        size = next((abs(end) for end, _ in (ceiling, floor) if 0.0 < abs(end) < math.inf), 1.0)
    digit = math.floor(math.log10(size)) - 1
    return max(0, _EXTRA_DECIMALS - digit), 10.0**digit


@dataclass(frozen=True)
class _Link:
    """One parameter of a rising chain: its column in a point, or None where it keeps its base value."""

    column: int | None
    base: float
    gap: float  # least distance from the one before


def _chains(strategy: Strategy, names: Sequence[str]) -> list[list[_Link]]:
    """The strategy's rising chains, where one of their parameters is searched."""
    chains = []
    for chain in type(strategy).rising:
        links: list[_Link] = []
        for name in chain:
            value = getattr(strategy, name)
            if value is None:
                continue
            base = float(value)
            gap = 0.0
            if links:
                distance = base - links[-1].base
                whole = _is_integer(strategy, name)
                gap = 1.0 if whole else min(distance, _resolution(base, (0.0, False), (0.0, False))[1])
            links.append(_Link(names.index(name) if name in names else None, base, gap))
        if any(link.column is not None for link in links):
            chains.append(links)
    return chains


def _tightened(boxes: Sequence[Dimension], chains: Sequence[Sequence[_Link]]) -> tuple[Dimension, ...]:
    """Boxes cut so that whatever the earlier links of a chain take, the later ones still have room above."""
    low = [box.low for box in boxes]
    high = [box.high for box in boxes]
    for chain in chains:
        for before, link in itertools.pairwise(chain):
            if link.column is not None:
                floor = before.base if before.column is None else low[before.column]
                low[link.column] = max(low[link.column], floor + link.gap)
        for position in range(len(chain) - 2, -1, -1):
            link, after = chain[position], chain[position + 1]
            if link.column is not None:
                ceiling = after.base if after.column is None else high[after.column]
                high[link.column] = min(high[link.column], ceiling - after.gap)
    return tuple(
        Dimension(box.name, low[at], high[at], box.step, box.integer, box.base, box.decimals)
        for at, box in enumerate(boxes)
    )
