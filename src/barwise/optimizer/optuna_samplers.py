"""Optuna's methods (and scikit-optimize's) behind our protocol, and a finished search as an Optuna study.

A method's study lives in memory and knows the box, nothing else: it is the method's own notebook. What people look at
is made by `study_of` from the record of the search, in bulk, because a write per trial costs more than the trial.

The notebook holds the points as proposed, not the valid ones that were run for them: the value of `space.valid(x)` is a
well defined function of x over the whole box, and that is the function the method searches. Told the valid point
instead, a method would stay ignorant of the place it had asked about and ask again, and CMA-ES and the genetic methods
would miss members of their generation.
"""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.config import without_passwords
from barwise.core.layout import BoolArray, FloatArray, IntArray
from barwise.errors import ConfigError
from barwise.optimizer.sampler import Told
from barwise.optimizer.samplers import sobol_points
from barwise.optimizer.space import Space

if TYPE_CHECKING:
    import optuna

# Of a batch, TPE knows the other points to be under way and keeps off them; larger ones dilute what it has learnt.
_TPE_BATCH = 16
# Gaussian processes think long about a point: few at a time, so that each is placed with nearly all values known.
_GP_BATCH = 4
_STARTUP_SHARE = 0.2
_LEAST_STARTUP = 10
_POPULATIONS = (8, 50)
# The one constraint of our studies, by the name it has in them.
_CONSTRAINT = "guards"


class OptunaSampler:
    """One of Optuna's samplers: TPE, CMA-ES, NSGA-II, NSGA-III or GP.

    The first points are a scrambled Sobol sequence in whole batches, so that a model is asked only when it knows them.

    What came of a point is told in the words the method understands:

    * TPE knows pruned trials and constraints, and is told both.
    * NSGA and GP forget pruned trials, and would propose them again. They are told that a pruned point breaks a
      constraint by the number of rungs it did not reach: worse than any point that was run to its end, and among its
      like the longer the better.
    * CMA-ES has no constraints and needs a value for all of a generation, but looks at nothing but their order. It is
      told ranks: complete points by value, below them the pruned ones by how far they came, below those the ones that
      break a guard, by how much, at the bottom the undefined ones. No number is invented for any of them.

    An undefined value counts as a broken guard, not as a failed trial, because failed trials are forgotten as well.

    Args:
        name: As in `samplers.SAMPLERS`.
        space, seed, objectives, trials: As in `samplers.open_sampler`.
    """

    def __init__(self, name: str, space: Space, seed: int, objectives: int, trials: int) -> None:
        import optuna

        self.name = name
        self._names = space.names
        self._distributions = _distributions(space)
        sampler_seed, start_seed = _two_seeds(seed)
        with _quiet():
            sampler, self.batch, startup = _method(name, len(space.dimensions), trials, sampler_seed)
            self._study = optuna.create_study(sampler=sampler, directions=["maximize"] * objectives)
        for point in sobol_points(space, startup, start_seed):
            self._study.enqueue_trial(space.values(point))
        self._asked: list[optuna.Trial] = []
        self._worst = _Worst()

    def ask(self, count: int) -> FloatArray:
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return np.array([[trial.params[name] for name in self._names] for trial in self._asked], dtype=np.float64)

    def tell(self, told: Told) -> None:
        if self.name == "CMA-ES":
            for trial, rank in zip(self._asked, _ranks(told), strict=True):
                self._study.tell(trial, float(rank))
        elif self.name == "TPE":
            self._tell_states(told)
        else:
            self._tell_constraints(told)
        self._asked = []

    def _tell_states(self, told: Told) -> None:
        """Pruned trials as such; guards and undefined values as a constraint."""
        from optuna.trial import TrialState

        reached = _rungs_reached(told.steps)
        values, broken = self._worst.instead_of_undefined(told.values, told), told.violation + _undefined(told)
        for row, trial in enumerate(self._asked):
            trial.set_constraint(_CONSTRAINT, float(broken[row]))
            if told.complete[row]:
                self._study.tell(trial, values[row].tolist())
                continue
            for rung in range(reached[row]):
                trial.report(float(told.steps[row, rung]), rung + 1)
            self._study.tell(trial, state=TrialState.PRUNED)

    def _tell_constraints(self, told: Told) -> None:
        """All that is not a complete, defined value within the guards as a broken constraint."""
        missed = np.where(told.complete, 0, np.maximum(1, told.steps.shape[1] - _rungs_reached(told.steps)))
        values = self._worst.instead_of_undefined(_last_values(told), told)
        broken = told.violation + missed + _undefined(told)
        for row, trial in enumerate(self._asked):
            trial.set_constraint(_CONSTRAINT, float(broken[row]))
            self._study.tell(trial, values[row].tolist())


class ScikitSampler:
    """Gaussian processes of scikit-optimize: the most thought per point, and up to a second for it.

    It knows neither constraints nor pruning, and its model takes numbers. A pruned point is told with the value of its
    last rung, an estimate of the same thing; a point that breaks a guard or is undefined with the worst value so far,
    which never attracts and is no cliff for the model to bend around.

    Args:
        space, seed: As in `samplers.open_sampler`.
    """

    name = "SKOPT"
    batch = _GP_BATCH

    def __init__(self, space: Space, seed: int) -> None:
        import skopt

        optimizer_seed, start_seed = _two_seeds(seed)
        startup = _gp_startup(len(space.dimensions))
        self._start = sobol_points(space, startup, start_seed)
        self._base = space.base
        # An axis of one value is refused there.
        self._columns = [column for column, axis in enumerate(space.dimensions) if axis.low < axis.high]
        self._kinds = [int if space.dimensions[column].integer else float for column in self._columns]
        axes: list[Any] = []
        for axis in (space.dimensions[column] for column in self._columns):
            integer = skopt.space.Integer, int(axis.low), int(axis.high)
            kind, low, high = integer if axis.integer else (skopt.space.Real, axis.low, axis.high)
            axes.append(kind(low, high))
        self._optimizer = skopt.Optimizer(
            axes, "GP", n_initial_points=startup, acq_func="EI", random_state=optimizer_seed
        )
        self._asked: list[list[Any]] = []
        self._worst = _Worst()

    def ask(self, count: int) -> FloatArray:
        points, self._start = self._start[:count], self._start[count:]
        missing = count - len(points)
        if missing:
            thought = np.tile(self._base, (missing, 1))
            with _quiet():
                thought[:, self._columns] = self._optimizer.ask(n_points=missing)
            points = np.concatenate([points, thought])
        self._asked = [
            [kind(value) for kind, value in zip(self._kinds, point, strict=True)] for point in points[:, self._columns]
        ]
        return points

    def tell(self, told: Told) -> None:
        values = self._worst.instead_of_undefined(_last_values(told), told)
        values = np.where((told.violation > 0.0)[:, None], np.minimum(values, self._worst.value), values)
        with _quiet():
            self._optimizer.tell(self._asked, (-values[:, 0]).tolist())  # it minimises
        self._asked = []


def study_of(
    name: str,
    space: Space,
    objectives: Sequence[str],
    directions: Sequence[str],
    points: FloatArray,
    values: FloatArray,
    steps: FloatArray,
    complete: BoolArray,
    violation: FloatArray,
    storage: str | Path | None = None,
) -> "optuna.Study":
    """A finished search as an Optuna study, for dashboards and for Optuna's own analyses.

    Points that were given up are PRUNED trials with the values of their rungs (steps 1, 2, ...), complete ones without
    a defined value are FAIL. A broken guard is the constraint "guards" of its trial; all trials have one where any has.

    Args:
        name: Of the study.
        space: What was searched.
        objectives: Names of the metrics, one or more.
        directions: "maximize" or "minimize", one per objective.
        points: float64 [n, dimensions], valid ones.
        values: float64 [n, objectives], as reported.
        steps: float64 [n, rungs], the first objective as reported; NaN beyond the last rung reached.
        complete: bool [n].
        violation: float64 [n]; 0 where all guards are kept.
        storage: None = in memory; a path that ends in .journal or .log = a journal file; else a URL for SQLAlchemy.

    Raises:
        ConfigError: The storage cannot be used, or has a study of that name.
    """
    import optuna

    distributions = _distributions(space)
    constrained = bool((violation > 0.0).any())
    reached = _rungs_reached(steps)
    trials = []
    for row in range(len(points)):
        rungs = {rung + 1: float(steps[row, rung]) for rung in range(reached[row])}
        state, figures = optuna.trial.TrialState.COMPLETE, values[row].tolist()
        if not complete[row]:
            # As Optuna does it: the value of a pruned trial is that of its last rung.
            state, figures = optuna.trial.TrialState.PRUNED, list(rungs.values())[-1:] or None
        elif not np.isfinite(values[row]).all():
            state, figures = optuna.trial.TrialState.FAIL, None
        trials.append(
            optuna.trial.create_trial(
                state=state,
                values=figures,
                params=space.values(points[row]),
                distributions=distributions,
                intermediate_values=rungs,
                constraints={_CONSTRAINT: float(violation[row])} if constrained else None,
            )
        )
    with _quiet():
        study = _new_study(name, directions, storage)
        study.set_metric_names(list(objectives))
        study.add_trials(trials)
    return study


def open_storage(storage: str | Path) -> Any:
    """Where Optuna keeps studies: a journal file or a database, made where there is none.

    Raises:
        ConfigError: No study can be kept there.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    place = str(storage)
    with _quiet(), _explained(place):
        if "://" in place:
            return optuna.storages.get_storage(place)
        if Path(place).suffix not in (".journal", ".log"):
            raise ValueError("it is neither a journal file nor a URL")
        return optuna.storages.JournalStorage(JournalFileBackend(place))


def _new_study(name: str, directions: Sequence[str], storage: str | Path | None) -> "optuna.Study":
    import optuna

    ways: Any = list(directions)
    place = None if storage is None else open_storage(storage)
    with _explained(str(storage)):
        try:
            return optuna.create_study(study_name=name, directions=ways, storage=place)
        except optuna.exceptions.DuplicatedStudyError:
            raise ConfigError(
                f"{without_passwords(str(storage))} has a study named {name} already.",
                hint="take another name or another storage.",
            ) from None


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Errors of Optuna and of the database below it as ours, without a password."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    shown = without_passwords(place)
    try:
        yield
    except ConfigError:
        raise
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, ImportError, OSError, ValueError) as error:
        reason = _without_password(str(error).replace(place, shown)).splitlines()[0].removesuffix(".")
        raise ConfigError(
            f"no study can be kept in {shown}: {reason}.",
            hint="give a path that ends in .journal, or a URL such as sqlite:///data/study.db.",
        ) from error


def _without_password(text: str) -> str:
    return re.sub(r"://[^/@]*@", "://***@", text)


def _method(name: str, dimensions: int, trials: int, seed: int) -> "tuple[optuna.samplers.BaseSampler, int, int]":
    """(sampler, batch, how many points to start with)."""
    from optuna import samplers

    if name == "TPE":
        startup = _whole_batches(max(_LEAST_STARTUP, math.ceil(_STARTUP_SHARE * trials)), _TPE_BATCH)
        return samplers.TPESampler(seed=seed, n_startup_trials=startup), _TPE_BATCH, startup
    if name == "CMA-ES":
        # One batch is one generation. The sampler learns the box from the first trials told, so that these cannot be
        # its own; from the second batch on it works from the middle of the box, where the base values lie.
        population = 4 + math.floor(3 * math.log(dimensions))
        cma = samplers.CmaEsSampler(
            seed=seed,
            n_startup_trials=population,
            popsize=population,
            with_margin=True,  # integers keep both neighbours within reach
            warn_independent_sampling=False,
        )
        return cma, population, population
    if name == "GP":
        startup = _gp_startup(dimensions)
        gaussian = samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        return gaussian, _GP_BATCH, startup
    # About as many generations as members: neither can do without the other.
    population = int(np.clip(2 * round(math.sqrt(trials)), *_POPULATIONS))
    kind = samplers.NSGAIISampler if name == "NSGA-II" else samplers.NSGAIIISampler
    return kind(seed=seed, population_size=population), population, population


def _gp_startup(dimensions: int) -> int:
    """Points a Gaussian process starts from: two per length scale to be learnt."""
    return _whole_batches(max(_LEAST_STARTUP, 2 * dimensions), _GP_BATCH)


def _whole_batches(points: int, batch: int) -> int:
    return batch * math.ceil(points / batch)


def _two_seeds(seed: int) -> tuple[int, int]:
    """Independent seeds of 32 bits for the method and for its first points, from one of any size."""
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return int(first), int(second)


def _distributions(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        axis.name: IntDistribution(int(axis.low), int(axis.high))
        if axis.integer
        else FloatDistribution(axis.low, axis.high)
        for axis in space.dimensions
    }


class _Worst:
    """The worst values told so far, which stand for the undefined ones in a model that must have a number."""

    def __init__(self) -> None:
        self.value: Any = np.inf

    def instead_of_undefined(self, values: FloatArray, told: Told) -> FloatArray:
        """Values with the undefined ones replaced; 0 for them while nothing else was told.

        Args:
            values: float64 [n, objectives], NaN where undefined.
            told: What they belong to; complete rows within their guards count for the worst.
        """
        good = told.complete & (told.violation <= 0.0) & np.isfinite(values).all(axis=1)
        self.value = np.minimum(self.value, values[good].min(axis=0, initial=np.inf))
        return np.where(np.isfinite(values), values, np.where(np.isfinite(self.value), self.value, 0.0))


def _rungs_reached(steps: FloatArray) -> IntArray:
    """How many rungs each point has a value of, counted from the first."""
    return np.asarray(np.isfinite(steps).cumprod(axis=1).sum(axis=1), dtype=np.int64)


def _last_values(told: Told) -> FloatArray:
    """Values, for pruned points those of the last rung reached; NaN where there is none."""
    values = np.where(told.complete[:, None], told.values, np.nan)
    reached = _rungs_reached(told.steps)
    cut = np.flatnonzero(~told.complete & (reached > 0))
    values[cut, 0] = told.steps[cut, reached[cut] - 1]
    return values


def _undefined(told: Told) -> FloatArray:
    """1 where a complete point has an undefined value, else 0."""
    return np.asarray(told.complete & ~np.isfinite(told.values).all(axis=1), dtype=np.float64)


def _ranks(told: Told) -> IntArray:
    """0 for the worst point to n - 1 for the best, of one objective; see `OptunaSampler`."""
    broken = told.violation + _undefined(told)
    reached = np.where(told.complete, told.steps.shape[1] + 1, _rungs_reached(told.steps))
    value = np.nan_to_num(_last_values(told)[:, 0], nan=-np.inf)
    undefined_last = -_undefined(told)
    kept = broken <= 0.0
    order = np.lexsort((np.where(kept, value, 0.0), np.where(kept, reached, 0), -broken, undefined_last))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notices of other libraries that the user can do nothing about.

    What is experimental in them, that a study was created, that a point was seen before, that a fit stopped early.
    """
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "The objective has been evaluated at ")
            warnings.filterwarnings("ignore", module="sklearn")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
