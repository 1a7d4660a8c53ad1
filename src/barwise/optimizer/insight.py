"""What a search shows, as data: which parameters mattered, where the good region lies, and how far luck alone would go.

Nothing here simulates anything: all of it is read from trials that were made. A trial that cannot take part in a figure
(given up early, without a value) is counted, so that whoever draws the figure can say so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from barwise.core.layout import BoolArray, FloatArray, IntArray
from barwise.errors import ConfigError, did_you_mean
from barwise.optimizer.trials import StageResult, Trials
from barwise.stats.sharpe import expected_maximum

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ImportanceMethod = Literal["ped-anova", "fanova"]

LUCKY_OBJECTIVE = "sharpe_ratio"  # the only one whose luck has a formula
_EULER = 0.5772156649015329
# Trials an importance is computed from: more would change shares by less than the whiskers show, and cost seconds.
_MOST_TRIALS: dict[str, int] = {"ped-anova": 500, "fanova": 300}
_LEAST_TRIALS = 20
_WHISKER = (0.1, 0.9)


def state_names(trials: Trials) -> list[str]:
    """What became of each trial: "pruned", "undefined" (no value), "infeasible" (a guard is broken) or "complete"."""
    found = np.where(trials.violation > 0.0, "infeasible", "complete")
    found = np.where(has_value(trials), found, "undefined")
    names: list[str] = np.where(trials.complete, found, "pruned").tolist()
    return names


def usable(trials: Trials) -> BoolArray:
    """Which trials were run to the end and have a value, bool [n]; those that broke a guard are among them."""
    return trials.complete & has_value(trials)


def has_value(trials: Trials) -> BoolArray:
    """Whether each trial traded and all of its objectives are defined; without a trade ratios are reported as 0."""
    found: BoolArray = np.isfinite(trials.values).all(axis=1) & (trials.summaries["trades"] > 0)
    return found


# -- Parameter importance ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Importance:
    """How much of what came out each parameter decides, within the box and by the trials of one stage.

    Attributes:
        method: "ped-anova" (what the best tenth has in common) or "fanova" (share of the variance of the objective).
        shares: By parameter, largest first, summing to 1; empty where they could not be computed.
        low, high: 10th and 90th percentile of each share over bootstrap samples of the trials; empty without them.
        used: Trials it was computed from.
        usable: Trials that were run to the end and have a value; where `used` is less, every k-th of them was taken.
        total: All trials of the stage.
        reason: Why there are no shares, or "".
    """

    method: str
    shares: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    used: int
    usable: int
    total: int
    reason: str


def importance(
    stage: StageResult, method: ImportanceMethod = "ped-anova", *, seed: int = 0, samples: int = 0
) -> Importance:
    """Parameter importances of one stage by Optuna's evaluators, for the first objective.

    Args:
        stage: Trials and their box.
        method: "ped-anova", or "fanova", which needs scikit-learn and is slower.
        seed: Of the forest of fANOVA and of the bootstrap.
        samples: Bootstrap samples for the whiskers; 0 = none.

    Raises:
        ConfigError: An unknown method, or scikit-learn is not installed.
    """
    if method not in get_args(ImportanceMethod):
        raise ConfigError(
            f"{method!r} is not a measure of importance.{did_you_mean(str(method), get_args(ImportanceMethod))}",
            hint='use "ped-anova" or "fanova".',
        )
    if method == "fanova":
        _require_scikit_learn()
    trials = stage.trials
    found = np.flatnonzero(usable(trials))
    rows = found[spread(found.size, _MOST_TRIALS[method])]

    def without(reason: str) -> Importance:
        return Importance(method, {}, {}, {}, 0, int(found.size), len(trials), reason)

    if rows.size < _LEAST_TRIALS:
        return without(f"{rows.size} trials were run to the end and have a value; at least {_LEAST_TRIALS} are needed")
    names = [dimension.name for dimension in stage.space.dimensions if dimension.high > dimension.low]
    if not names:
        return without("no parameter of the box could vary")
    if np.ptp(trials.values[rows, 0]) == 0.0:
        return without("every trial has the same value")
    frozen = _as_optuna_trials(stage, rows)
    shares = _shares(frozen, names, method, seed)
    if not shares:
        return without("no parameter tells the best trials from the others")
    random = np.random.default_rng(seed)
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    again = [
        _shares([frozen[row] for row in random.integers(0, len(frozen), len(frozen))], names, method, seed)
        for _ in range(samples)
    ]
    again = [sample for sample in again if sample]
    if again:
        for name in shares:
            low[name], high[name] = np.quantile([sample[name] for sample in again], _WHISKER).tolist()
    return Importance(method, shares, low, high, len(frozen), int(found.size), len(trials), "")


def spread(count: int, most: int) -> IntArray:
    """Indices of at most `most` of `count` things, evenly spread, first and last included; always the same ones."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.round(np.linspace(0.0, count - 1.0, most)).astype(np.int64))


def _require_scikit_learn() -> None:
    if find_spec("sklearn") is None:
        raise ConfigError(
            'importance by "fanova" needs scikit-learn, which is not installed.',
            hint='pip install "barwise[fanova]", or use method="ped-anova".',
        )


def _as_optuna_trials(stage: StageResult, rows: IntArray) -> "list[FrozenTrial]":
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.trial import create_trial

    points = stage.trials.points[rows]
    distributions: dict[str, BaseDistribution] = {}
    for column, dimension in enumerate(stage.space.dimensions):
        # Rounded to their decimals, values can lie a hair outside the box.
        low = min(dimension.low, float(points[:, column].min()))
        high = max(dimension.high, float(points[:, column].max()))
        distributions[dimension.name] = (
            IntDistribution(int(low), int(high)) if dimension.integer else FloatDistribution(low, high)
        )
    return [
        create_trial(params=stage.space.values(point), distributions=distributions, value=float(value))
        for point, value in zip(points, stage.trials.values[rows, 0], strict=True)
    ]


def _shares(trials: "list[FrozenTrial]", names: list[str], method: str, seed: int) -> dict[str, float]:
    """Importances that sum to 1, largest first; empty where no parameter has any."""
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    values = np.array([trial.value for trial in trials])
    tenth = np.sort(values)[::-1][-(-values.size // 10) - 1]
    if values.min() >= tenth:
        return {}  # so many are equal that the best tenth is all of them
    evaluator = PedAnovaImportanceEvaluator() if method == "ped-anova" else FanovaImportanceEvaluator(seed=seed)
    with _quiet_optuna():
        found = evaluator.evaluate(_study_of(trials), names)
    total = sum(found.values())
    if not total > 0.0:
        return {}
    ranked = sorted(found, key=lambda name: (-found[name], names.index(name)))
    return {name: float(found[name] / total) for name in ranked}


def _study_of(trials: "list[FrozenTrial]") -> Any:
    from optuna import create_study
    from optuna.storages import InMemoryStorage

    study = create_study(storage=InMemoryStorage(), direction="maximize")
    study.add_trials(trials)
    return study


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Without a line in the log for every study that is made and thrown away."""
    from optuna import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


# -- Where the good region lies ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PairMap:
    """The first objective over two parameters, all others as the trials had them; [rows, columns] are [y, x].

    Attributes:
        x, y: Names.
        x_edges, y_edges: float64 [columns + 1], [rows + 1], ends of the bins; between two whole numbers for integers.
        mean: float64 [rows, columns], mean of the objective as reported; NaN where a bin is empty.
        count: int64 [rows, columns], trials in the bin.
        used: Trials that were run to the end and have a value; all of them are in a bin.
        total: All trials of the stage.
    """

    x: str
    y: str
    x_edges: FloatArray
    y_edges: FloatArray
    mean: FloatArray
    count: IntArray
    used: int
    total: int


def pair_map(stage: StageResult, x: str, y: str, bins: int = 8) -> PairMap:
    """Mean objective by two parameters.

    Args:
        stage: Trials and their box.
        x, y: Names of two different searched parameters.
        bins: Of each axis, at most; an axis of fewer whole numbers has one bin for each.

    Raises:
        ConfigError: A name that was not searched, the same name twice, or fewer than one bin.
    """
    names = stage.space.names
    for name in (x, y):
        if name not in names:
            raise ConfigError(
                f"{name} was not searched in stage {stage.stage}.{did_you_mean(name, names)}",
                hint=f"searched were {', '.join(names)}.",
            )
    if x == y or bins < 1:
        raise ConfigError(f"a map needs two different parameters and at least one bin; got {x}, {y} and {bins}.")
    rows = usable(stage.trials)
    values = stage.trials.reported[rows, 0]
    edges = [_bin_edges(stage, names.index(name), bins) for name in (x, y)]
    columns, lines = (
        np.clip(np.searchsorted(ends, stage.trials.points[rows, names.index(name)], "right") - 1, 0, ends.size - 2)
        for name, ends in zip((x, y), edges, strict=True)
    )
    shape = (edges[1].size - 1, edges[0].size - 1)
    cell = lines * shape[1] + columns
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.bincount(cell, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
    mean = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    return PairMap(x, y, edges[0], edges[1], mean, count, int(rows.sum()), len(stage.trials))


def _bin_edges(stage: StageResult, column: int, bins: int) -> FloatArray:
    """Ends of equal bins over the box of a parameter; the counts of whole numbers in two bins differ by 1 at most."""
    dimension = stage.space.dimensions[column]
    if not dimension.integer:
        high = dimension.high if dimension.high > dimension.low else dimension.low + dimension.step
        return np.linspace(dimension.low, high, bins + 1)
    numbers = int(dimension.high - dimension.low) + 1
    ends: FloatArray = dimension.low - 0.5 + np.round(np.linspace(0.0, numbers, min(bins, numbers) + 1))
    return ends


def leading_pairs(found: Importance, most: int = 3) -> list[tuple[str, str]]:
    """The pairs of the most important parameters, most important first; as many as there are, at most `most`."""
    names = list(found.shares)
    pairs = [(first, second) for at, second in enumerate(names) for first in names[:at]]
    return pairs[:most]


# -- History -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class History:
    """All trials of all stages in the order they were made; n of them.

    Attributes:
        stage: int64 [n], index of the stage.
        states: n names as in `state_names`.
        reported: float64 [n], the first objective as reported, at the last rung reached; NaN where there is no value.
        best: float64 [n], best so far of the trials that were run to the end and kept all guards; NaN before the first.
        configurations: int64 [n], different configurations on record for these data so far, this trial's included.
        luck: float64 [n], the best Sharpe ratio expected of so many configurations without any edge; None where the
            objective is another one or the span is not known.
    """

    stage: IntArray
    states: list[str]
    reported: FloatArray
    best: FloatArray
    configurations: IntArray
    luck: FloatArray | None

    def __len__(self) -> int:
        return self.stage.size


def history(stages: Sequence[StageResult], *, years: float | None = None, earlier: int = 0) -> History:
    """The course of a whole search.

    The luck line is E_n / sqrt(years), n being the configurations so far: pruned ones count, since they were chosen
    not to be chosen, and the same configuration met twice counts once.

    Args:
        stages: In order, at least one.
        years: Bars that were traded over bars per year; None = no luck line.
        earlier: Configurations on record for the same data before this search.
    """
    joined = [stage.trials for stage in stages]
    reported = np.concatenate([np.where(has_value(trials), trials.reported[:, 0], np.nan) for trials in joined])
    values = np.concatenate([trials.values[:, 0] for trials in joined])
    states = [name for trials in joined for name in state_names(trials)]
    complete = np.array([name == "complete" for name in states])
    best = np.maximum.accumulate(np.where(complete, values, -np.inf))
    sign = -1.0 if stages[0].objective.directions[0] == "minimize" else 1.0
    seen = earlier + np.cumsum(_is_new(stages))
    luck = None
    if years is not None and years > 0.0 and stages[0].objective.names[0] == LUCKY_OBJECTIVE:
        counts, where = np.unique(seen, return_inverse=True)
        luck = np.array([expected_maximum(int(count)) for count in counts])[where] / math.sqrt(years)
    return History(
        np.repeat(np.arange(len(joined)), [len(trials) for trials in joined]),
        states,
        reported,
        np.where(np.isinf(best), np.nan, sign * best),
        seen,
        luck,
    )


def _is_new(stages: Sequence[StageResult]) -> BoolArray:
    """Whether each trial is the first one of its configuration in any stage, bool [all trials]."""
    names = sorted({name for stage in stages for name in stage.space.names})
    parts = []
    for stage in stages:
        searched = stage.space.names
        parts.append(
            np.stack(
                [
                    stage.trials.points[:, searched.index(name)]
                    if name in searched
                    else np.full(len(stage.trials), _number(getattr(stage.space.strategy, name)))
                    for name in names
                ],
                axis=1,
            )
        )
    first = np.unique(np.concatenate(parts), axis=0, return_index=True)[1]
    new = np.zeros(sum(len(part) for part in parts), dtype=np.bool_)
    new[first] = True
    return new


def _number(value: Any) -> float:
    """A parameter's value, with one number that is no parameter's in place of None."""
    return -math.inf if value is None else float(value)
