"""The samplers by name, and those that draw without learning: one place that knows which search methods there are.

RANDOM, QMC and GRID are here because they need no model, and so neither Optuna nor the time to load it. They are also
what every other method has to beat.
"""

import importlib.util
import math
from typing import Any

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError, did_you_mean
from barwise.optimizer.sampler import Sampler, Told
from barwise.optimizer.space import Space

SAMPLERS: tuple[str, ...] = ("AUTO", "TPE", "CMA-ES", "QMC", "RANDOM", "GRID", "NSGA-II", "NSGA-III", "GP", "SKOPT")

_ALIASES = {
    "fast": "AUTO",
    "batch": "AUTO",
    "bayes": "TPE",
    "bayesian": "TPE",
    "cma": "CMA-ES",
    "sobol": "QMC",
    "nsga2": "NSGA-II",
    "nsga3": "NSGA-III",
    "scikitoptimize": "SKOPT",
}
# Each maximises one number; the others return what no point beats in all objectives.
_ONE_OBJECTIVE = ("AUTO", "CMA-ES", "SKOPT")
# What an optional method needs: (module, the extra that installs it).
_EXTRAS = {"GP": ("torch", "gp"), "SKOPT": ("skopt", "skopt")}
# Methods without a model could be asked for any number at once; this many fill the rows of a sweep.
_DRAWN_BATCH = 64
# Grids up to this size are shuffled whole; in a larger one, distinct points are drawn until there are enough.
_SHUFFLED_WHOLE = 1 << 20


def canonical_name(name: str) -> str:
    """The name in `SAMPLERS` of a sampler, whatever its case, hyphens and spaces; also for the usual other names.

    Raises:
        ConfigError: There is no such sampler.
    """
    known = {_plain(own): own for own in SAMPLERS} | _ALIASES
    found = known.get(_plain(str(name)))
    if found is None:
        raise ConfigError(
            f"{name!r} is not a sampler.{did_you_mean(str(name), [*SAMPLERS, *_ALIASES])}",
            hint=f"the samplers are {', '.join(SAMPLERS)}.",
        )
    return found


def open_sampler(name: str, space: Space, seed: int, objectives: int, trials: int) -> Sampler:
    """Start a search method.

    Args:
        name: Any that `canonical_name` knows.
        space: Where to search; at least one dimension.
        seed: At least 0; the same seed and the same told values give the same proposals, to the bit.
        objectives: How many numbers are maximised; at least 1.
        trials: How many points will be asked for in all; sets how many of them are spent on a first look around.

    Raises:
        ConfigError: No such sampler, one that needs a package that is not installed, one that cannot search for several
            objectives, or a space without a dimension.
    """
    name = canonical_name(name)
    if not space.dimensions:
        raise ConfigError(
            f"there is nothing to search: {type(space.strategy).__name__} has no parameter of stage {space.stage}.",
            hint="leave the stage out, or name parameters and their bounds in ranges.",
        )
    if objectives > 1 and name in _ONE_OBJECTIVE:
        able = ", ".join(other for other in SAMPLERS if other not in _ONE_OBJECTIVE)
        raise ConfigError(f"{name} searches for one objective; got {objectives}.", hint=f"take one of {able}.")
    if name in _EXTRAS:
        module, extra = _EXTRAS[name]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"the sampler {name} needs {module}, which is not installed.", hint=f"pip install 'barwise[{extra}]'"
            )
    if name == "AUTO":
        from barwise.optimizer.batch_search import BatchSearch

        return BatchSearch(space, seed, trials)
    if name == "RANDOM":
        return RandomSampler(space, seed)
    if name == "QMC":
        return SobolSampler(space, seed)
    if name == "GRID":
        return GridSampler(space, seed, trials)
    from barwise.optimizer.optuna_samplers import OptunaSampler, ScikitSampler

    if name == "SKOPT":
        return ScikitSampler(space, seed)
    return OptunaSampler(name, space, seed, objectives, trials)


class RandomSampler:
    """Uniformly random points of the box; every integer as likely as any other."""

    name = "RANDOM"
    batch = _DRAWN_BATCH

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._random = np.random.default_rng(seed)

    def ask(self, count: int) -> FloatArray:
        return self._space.from_unit(self._random.random((count, len(self._space.dimensions))))

    def tell(self, told: Told) -> None:
        """Nothing is learnt."""


class SobolSampler:
    """Points of one Sobol sequence, scrambled by the seed: spread evenly, however many are taken."""

    name = "QMC"
    batch = _DRAWN_BATCH

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._engine = _sobol_engine(len(space.dimensions), seed)
        self._drawn = np.zeros((0, len(space.dimensions)))

    def ask(self, count: int) -> FloatArray:
        while len(self._drawn) < count:  # drawn by powers of two, which is what keeps a Sobol sequence balanced
            self._drawn = np.concatenate([self._drawn, self._engine.random(_DRAWN_BATCH)])
        taken, self._drawn = self._drawn[:count], self._drawn[count:]
        return self._space.from_unit(taken)

    def tell(self, told: Told) -> None:
        """Nothing is learnt."""


class GridSampler:
    """Every combination of the grid values of all dimensions once, in an order shuffled by the seed, up to `trials`.

    The order is shuffled so that a search that ends before the grid does has seen all of it thinly, not one corner. A
    combination that the strategy refuses is moved to a valid one like any other proposal, so that a grid over chains
    that overlap may run some points twice.
    """

    name = "GRID"
    batch = _DRAWN_BATCH

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self._axes = [dimension.axis() for dimension in space.dimensions]
        self._left = _distinct_cells([axis.size for axis in self._axes], trials, np.random.default_rng(seed))

    def ask(self, count: int) -> FloatArray:
        taken, self._left = self._left[:count], self._left[count:]
        return np.stack([axis[taken[:, column]] for column, axis in enumerate(self._axes)], axis=1)

    def tell(self, told: Told) -> None:
        """Nothing is learnt."""


def sobol_points(space: Space, count: int, seed: int) -> FloatArray:
    """The first `count` points of a scrambled Sobol sequence over the box, float64 [count, dimensions]."""
    whole = 1 << max(0, count - 1).bit_length()
    return space.from_unit(_sobol_engine(len(space.dimensions), seed).random(whole)[:count])


def _sobol_engine(dimensions: int, seed: int) -> Any:
    from scipy.stats import qmc

    return qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))


def _distinct_cells(sizes: list[int], wanted: int, random: np.random.Generator) -> IntArray:
    """Up to `wanted` different cells of a grid in random order, int64 [cells, axes], whatever the size of the grid."""
    cells = math.prod(sizes)
    if cells <= max(_SHUFFLED_WHOLE, 2 * wanted):
        order = random.permutation(cells)[:wanted]
        return np.stack(np.unravel_index(order, sizes), axis=1).astype(np.int64)
    drawn = np.zeros((0, len(sizes)), np.int64)
    while len(drawn) < wanted:  # more than half of the cells are free, so that a few rounds do
        drawn = np.concatenate([drawn, random.integers(0, sizes, (wanted, len(sizes)))])
        _, first = np.unique(drawn, axis=0, return_index=True)
        drawn = drawn[np.sort(first)]
    return drawn[:wanted]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
