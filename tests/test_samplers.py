"""Every search method keeps one contract: proposals in the box, a seed that decides them, and what is told counts."""

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pytest

from barwise.config import Float, Int
from barwise.core.layout import FloatArray
from barwise.errors import ConfigError
from barwise.optimizer.objective import pareto_front
from barwise.optimizer.optuna_samplers import OptunaSampler, _ranks, study_of
from barwise.optimizer.sampler import Sampler, Told
from barwise.optimizer.samplers import SAMPLERS, GridSampler, canonical_name, open_sampler
from barwise.optimizer.space import Space
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

# scikit-optimize needs a good part of a second per point.
SLOW = pytest.param("SKOPT", marks=pytest.mark.slow)
QUICK = ["AUTO", "TPE", "CMA-ES", "QMC", "RANDOM", "GRID", "NSGA-II", "NSGA-III"]
ALL = [*QUICK, SLOW]
LEARNING = ["AUTO", "TPE", "CMA-ES", "NSGA-II", "NSGA-III", SLOW]
SEVERAL = ["TPE", "QMC", "RANDOM", "GRID", "NSGA-II", "NSGA-III"]


class Mixed(Strategy):
    """Two integers and two reals."""

    length: int = Int(50, low=1)
    delay: int = Int(20, low=1)
    factor: float = Float(1.0, low=0.0)
    level: float = Float(30.0, low=0.0)


def own_space(strategy: Strategy, width: float = 0.8) -> Space:
    """The parameters the class itself declares."""
    return Space(strategy, "joint", width=width, fixed=list(Strategy.model_fields))


# length 10 .. 90, delay 4 .. 36, factor 0.2 .. 1.8, level 6 .. 54
SPACE = own_space(Mixed())
OPTIMUM = np.array([71.0, 11.0, 0.62, 44.0])


def hill(points: FloatArray) -> FloatArray:
    """0 at the optimum, minus the squared distance elsewhere, in widths of the box."""
    height: FloatArray = -(((points - OPTIMUM) / (SPACE.high - SPACE.low)) ** 2).sum(axis=1)
    return height


def told(points: FloatArray, values: FloatArray, **changes: Any) -> Told:
    """Complete points without guards, unless told otherwise."""
    count = len(points)
    whole = Told(
        points,
        values.reshape(count, -1),
        violation=np.zeros(count),
        steps=np.full((count, 0), np.nan),
        complete=np.ones(count, dtype=bool),
    )
    return whole._replace(**changes)


class Searched(NamedTuple):
    proposed: FloatArray
    points: FloatArray
    values: FloatArray
    batches: list[int]


def search(
    sampler: Sampler,
    trials: int,
    space: Space = SPACE,
    judge: Callable[[FloatArray], Told] = lambda points: told(points, hill(points)),
) -> Searched:
    """What a stage does, without a market."""
    proposed, points, values, batches = [], [], [], []
    left = trials
    while left:
        batch = sampler.ask(min(sampler.batch, left))
        if not len(batch):
            break
        valid = space.valid(batch)
        result = judge(valid)
        sampler.tell(result)
        proposed.append(batch)
        points.append(valid)
        values.append(result.values)
        batches.append(len(batch))
        left -= len(batch)
    return Searched(np.concatenate(proposed), np.concatenate(points), np.concatenate(values), batches)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("tpe", "TPE"), ("Bayes", "TPE"), ("CMAES", "CMA-ES"), ("cma_es", "CMA-ES"), ("cma", "CMA-ES"),
        ("sobol", "QMC"), ("random", "RANDOM"), ("Grid", "GRID"), ("nsga2", "NSGA-II"), ("NSGAII", "NSGA-II"),
        ("nsga-iii", "NSGA-III"), ("NSGA3", "NSGA-III"), ("gp", "GP"), ("fast", "AUTO"), ("scikit-optimize", "SKOPT"),
        *((name, name) for name in SAMPLERS),
    ],
)  # fmt: skip
def test_a_sampler_is_found_by_any_of_its_names(given: str, canonical: str) -> None:
    assert canonical_name(given) == canonical


def test_an_unknown_sampler_is_named_with_the_nearest_and_with_all() -> None:
    with pytest.raises(ConfigError, match=r"'TPEE' is not a sampler. Did you mean TPE\?") as caught:
        canonical_name("TPEE")
    assert caught.value.hint == f"the samplers are {', '.join(SAMPLERS)}."


def test_a_space_without_dimensions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Mixed has no parameter of stage 7\.3"):
        open_sampler("TPE", Space(Mixed(enable_hybrid_engine=False), "7.3", width=0.1), 1, 1, 10)


@pytest.mark.parametrize("name", ["AUTO", "CMA-ES", "SKOPT"])
def test_a_sampler_of_one_objective_refuses_two(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} searches for one objective; got 2") as caught:
        open_sampler(name, SPACE, 1, 2, 10)
    assert "NSGA-II" in caught.value.hint


@pytest.mark.parametrize("name", ALL)
def test_proposals_lie_in_the_box_in_batches_no_larger_than_asked_for(name: str) -> None:
    trials = 18 if name == "SKOPT" else 150
    sampler = open_sampler(name, SPACE, 7, 1, trials)
    assert sampler.name == name
    found = search(sampler, trials)
    assert found.proposed.shape == (trials, 4)
    assert found.proposed.dtype == np.float64
    assert (found.proposed >= SPACE.low).all()
    assert (found.proposed <= SPACE.high).all()
    assert (found.points[:, :2] == np.round(found.points[:, :2])).all()
    assert sum(found.batches) == trials


@pytest.mark.parametrize("name", ALL)
def test_a_last_batch_may_be_smaller_than_the_sampler_thinks_in(name: str) -> None:
    sampler = open_sampler(name, SPACE, 7, 1, 40)
    for count in (3, 1, 5):
        points = sampler.ask(count)
        assert points.shape == (count, 4)
        sampler.tell(told(points, hill(points)))


@pytest.mark.parametrize("name", ALL)
def test_a_seed_decides_every_proposal(name: str) -> None:
    trials = 16 if name == "SKOPT" else 100
    first, again, other = (search(open_sampler(name, SPACE, seed, 1, trials), trials) for seed in (5, 5, 6))
    assert first.proposed.tobytes() == again.proposed.tobytes()
    assert not np.array_equal(first.proposed, other.proposed)


@pytest.mark.parametrize("name", ["RANDOM", "QMC", "GRID"])
def test_a_sampler_without_a_model_proposes_the_same_in_batches_of_any_size(name: str) -> None:
    whole, parts = (open_sampler(name, SPACE, 5, 1, 90) for _ in range(2))
    assert np.array_equal(whole.ask(90), np.concatenate([parts.ask(count) for count in (1, 63, 26)]))


_IN_A_PROCESS_OF_ITS_OWN = """
import hashlib
from tests.test_samplers import SPACE, search
from barwise.optimizer.samplers import open_sampler
for name in ("AUTO", "TPE", "CMA-ES", "QMC", "RANDOM", "GRID", "NSGA-II", "NSGA-III"):
    found = search(open_sampler(name, SPACE, 11, 1, 120), 120)
    print(name, hashlib.sha256(found.proposed.tobytes()).hexdigest())
"""


def in_a_process(code: str, **environment: str) -> str:
    root = Path(__file__).parents[1]
    whole = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=root, env=whole, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_two_processes_with_other_hash_seeds_propose_the_same_and_say_nothing() -> None:
    first, second = (in_a_process(_IN_A_PROCESS_OF_ITS_OWN, PYTHONHASHSEED=seed) for seed in ("1", "4242"))
    assert first == second
    assert first.split()[::2] == QUICK


def test_importing_the_samplers_loads_neither_optuna_nor_scipy() -> None:
    code = (
        "import sys, barwise.optimizer.samplers, barwise.optimizer.optuna_samplers\n"
        "print([name for name in ('optuna', 'scipy', 'skopt', 'sklearn', 'sqlalchemy') if name in sys.modules])"
    )
    assert in_a_process(code) == "[]\n"


@pytest.mark.parametrize("name", LEARNING)
def test_a_sampler_that_learns_comes_nearer_to_the_optimum_than_chance(name: str) -> None:
    trials, seeds = (24, range(2)) if name == "SKOPT" else (150, range(9))
    best = {
        kind: np.median([search(open_sampler(kind, SPACE, seed, 1, trials), trials).values.max() for seed in seeds])
        for kind in (name, "RANDOM")
    }
    assert best[name] > best["RANDOM"]


@pytest.mark.parametrize("name", LEARNING)
def test_what_is_told_steers(name: str) -> None:
    trials = 22 if name == "SKOPT" else 100
    uphill = search(open_sampler(name, SPACE, 3, 1, trials), trials)
    away = search(open_sampler(name, SPACE, 3, 1, trials), trials, judge=lambda points: told(points, -hill(points)))
    last = trials // 3
    assert hill(uphill.points[-last:]).mean() > hill(away.points[-last:]).mean() + 0.1


def left_half_forbidden(points: FloatArray) -> Told:
    """Points with a short length break a guard, the shorter the more, and have the best values of all."""
    violation = np.maximum(0.0, (60.0 - points[:, 0]) / 80.0)
    return told(points, np.where(violation > 0.0, 5.0, hill(points)), violation=violation)


@pytest.mark.parametrize("name", LEARNING)
def test_a_broken_guard_turns_the_search_away_although_the_value_is_better(name: str) -> None:
    trials = 24 if name == "SKOPT" else 150
    found = search(open_sampler(name, SPACE, 2, 1, trials), trials, judge=left_half_forbidden)
    last = found.points[-trials // 3 :, 0]
    assert (last >= 60.0).mean() > 0.75  # 31 of the 81 lengths keep the guard
    assert (found.points[:8, 0] >= 60.0).mean() < 0.75


def halved_by_rungs(points: FloatArray) -> Told:
    """The worse half of a batch is given up after the first of two rungs, where all values look far better."""
    values = hill(points)
    given_up = values < np.median(values)
    steps = np.column_stack([values + 10.0, np.where(given_up, np.nan, values)])
    return told(points, np.where(given_up, np.nan, values), steps=steps, complete=~given_up)


@pytest.mark.parametrize("name", ALL)
def test_pruned_points_do_not_mislead_the_search(name: str) -> None:
    trials = 24 if name == "SKOPT" else 150
    found = search(open_sampler(name, SPACE, 4, 1, trials), trials, judge=halved_by_rungs)
    assert len(found.points) == trials
    if name in {"TPE", "CMA-ES", "NSGA-II", "NSGA-III", "AUTO"}:
        first, last = found.points[: trials // 4], found.points[-trials // 4 :]
        assert hill(last).mean() > hill(first).mean() + 0.05


@pytest.mark.parametrize("name", ALL)
def test_points_of_undefined_value_are_learnt_from_and_left(name: str) -> None:
    trials = 24 if name == "SKOPT" else 150

    def undefined_below_sixty(points: FloatArray) -> Told:
        return told(points, np.where(points[:, 0] < 60.0, np.nan, hill(points)))

    found = search(open_sampler(name, SPACE, 2, 1, trials), trials, judge=undefined_below_sixty)
    assert len(found.points) == trials
    if name not in {"QMC", "RANDOM", "GRID"}:
        assert (found.points[-trials // 3 :, 0] >= 60.0).mean() > 0.7


@pytest.mark.parametrize("name", ALL)
def test_a_search_in_which_nothing_is_ever_defined_goes_on(name: str) -> None:
    trials = 16 if name == "SKOPT" else 60
    nothing = search(
        open_sampler(name, SPACE, 2, 1, trials), trials, judge=lambda points: told(points, np.full(len(points), np.nan))
    )
    assert len(nothing.points) == trials


@pytest.mark.parametrize("name", ALL)
def test_an_axis_of_one_value_stays_at_it(name: str) -> None:
    space = Space(
        Mixed(), "joint", width=0.5, ranges={"delay": (20, 20)}, fixed=[*Strategy.model_fields, "factor", "level"]
    )
    found = search(open_sampler(name, space, 2, 1, 40), 40, space, lambda points: told(points, points[:, 0]))
    assert (found.proposed[:, 1] == 20.0).all()
    assert found.values.max() >= 65.0  # length goes from 25 to 75


def crossing(points: FloatArray) -> FloatArray:
    """Two objectives that disagree about `factor` (0.2 wants one, 1.8 the other) and agree about `level`."""
    share = (points[:, 2] - 0.2) / 1.6
    loss = ((points[:, 3] - 44.0) / 48.0) ** 2
    return np.column_stack([-((share - 0.2) ** 2) - loss, -((share - 0.8) ** 2) - loss])


@pytest.mark.parametrize("name", SEVERAL)
def test_several_objectives_are_searched_with_guards(name: str) -> None:
    def judge(points: FloatArray) -> Told:
        return told(points, crossing(points), violation=np.maximum(0.0, 0.4 - points[:, 2]))

    first, again = (search(open_sampler(name, SPACE, 1, 2, 120), 120, judge=judge) for _ in range(2))
    assert first.values.shape == (120, 2)
    assert first.proposed.tobytes() == again.proposed.tobytes()


@pytest.mark.parametrize("name", ["NSGA-II", "NSGA-III"])
def test_a_genetic_search_spreads_along_the_whole_front_and_comes_near_it(name: str) -> None:
    found = search(open_sampler(name, SPACE, 3, 2, 400), 400, judge=lambda points: told(points, crossing(points)))
    front = found.points[pareto_front(found.values, np.zeros(len(found.values)))]
    share = (front[:, 2] - 0.2) / 1.6
    # The true front is every share from 0.2 to 0.8 at level 44.
    counts, _ = np.histogram(share, bins=[0.2, 0.35, 0.5, 0.65, 0.8])
    assert (counts >= 2).all()
    assert np.abs(front[:, 3] - 44.0).mean() < 5.0


def test_the_first_points_of_a_model_are_spread_over_the_box() -> None:
    sampler = open_sampler("TPE", SPACE, 9, 1, 150)
    first = SPACE.to_unit(sampler.ask(sampler.batch))
    assert sampler.batch == 16
    for column in range(4):  # 16 points of a Sobol sequence: one in each sixteenth of every axis (integers blur it)
        counts, _ = np.histogram(first[:, column], bins=4, range=(0.0, 1.0))
        assert counts.min() >= 3


def test_the_batch_of_a_population_method_is_its_population() -> None:
    assert open_sampler("CMA-ES", SPACE, 1, 1, 150).batch == 4 + int(3 * math.log(4))
    assert [open_sampler("NSGA-II", SPACE, 1, 2, trials).batch for trials in (10, 150, 2000)] == [8, 24, 50]


def test_cma_es_is_told_nothing_but_an_order() -> None:
    """Complete by value, then pruned by rung and value, then broken guards by how much, then undefined."""
    nan = np.nan
    rows = [  # value, violation, first rung, second rung, complete -> rank
        (1.0, 0.0, 9.0, 1.0, True, 5),
        (nan, 0.0, 7.0, nan, False, 3),
        (9.0, 0.2, 9.0, 9.0, True, 2),
        (nan, 0.0, nan, nan, True, 0),
        (2.0, 0.0, 0.0, 2.0, True, 6),
        (nan, 0.0, 1.0, 1.0, False, 4),
        (9.0, 0.9, 9.0, 9.0, True, 1),
    ]
    table = np.array([row[:4] for row in rows])
    given = told(
        np.zeros((7, 1)),
        table[:, 0],
        violation=table[:, 1],
        steps=table[:, 2:4],
        complete=np.array([r[4] for r in rows]),
    )
    assert _ranks(given).tolist() == [row[5] for row in rows]


def test_tpe_hears_of_pruned_trials_of_their_rungs_and_of_guards() -> None:
    sampler = open_sampler("TPE", SPACE, 1, 1, 50)
    assert isinstance(sampler, OptunaSampler)
    points = sampler.ask(3)
    sampler.tell(
        told(
            points,
            np.array([1.0, np.nan, np.nan]),
            violation=np.array([0.5, 0.0, 0.0]),
            steps=np.array([[3.0, 1.0], [2.0, np.nan], [1.0, 1.0]]),
            complete=np.array([True, False, True]),
        )
    )
    kept, pruned, undefined = sampler._study.trials[:3]
    assert (kept.state.name, kept.value, kept.constraints) == ("COMPLETE", 1.0, {"guards": 0.5})
    assert (pruned.state.name, pruned.intermediate_values) == ("PRUNED", {1: 2.0})
    assert (undefined.state.name, undefined.constraints) == ("COMPLETE", {"guards": 1.0})


def small_grid() -> Space:
    """3 lengths and 5 factors: 49, 50, 51 and 0.8, 0.9, 1.0, 1.1, 1.2."""
    ranges = {"length": (49, 51), "factor": (0.8, 1.2)}
    return Space(Mixed(), "joint", width=0.1, ranges=ranges, fixed=[*Strategy.model_fields, "delay", "level"])


def test_a_grid_has_every_combination_once_and_ends() -> None:
    space = small_grid()
    sampler = open_sampler("GRID", space, 1, 1, 1000)
    batches = [sampler.ask(4) for _ in range(5)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 3, 0]
    assert batches[-1].shape == (0, 2)
    found = [tuple(point) for batch in batches for point in batch.tolist()]
    expected = itertools.product([49.0, 50.0, 51.0], [0.8, 0.9, 1.0, 1.1, 1.2])
    assert np.allclose(sorted(found), sorted(expected), rtol=0.0, atol=1e-12)
    other = open_sampler("GRID", space, 2, 1, 1000).ask(15)
    assert sorted(map(tuple, other.tolist())) == sorted(found)
    assert [tuple(point) for point in other.tolist()] != found


def test_a_huge_grid_gives_as_many_distinct_points_as_there_are_trials() -> None:
    space = Space(EmaRsiAtr(), "joint", width=0.25, wide=True)
    size = math.prod(dimension.axis().size for dimension in space.dimensions)
    assert size > 10**15
    sampler = GridSampler(space, 3, 5000)
    points = np.concatenate([sampler.ask(4000), sampler.ask(4000)])
    assert len(points) == 5000
    assert len(np.unique(points, axis=0)) == 5000
    # As many below the middle of each axis as above it: a grid cut short has been everywhere.
    centre = np.array([np.median(dimension.axis()) for dimension in space.dimensions])
    below = (points < centre).mean(axis=0) + 0.5 * (points == centre).mean(axis=0)
    assert np.abs(below - 0.5).max() < 0.05


@pytest.mark.parametrize(("name", "module", "extra"), [("GP", "torch", "gp"), ("SKOPT", "skopt", "skopt")])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(name: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"  # what Python itself does to block an import
        "from barwise.errors import ConfigError\n"
        "from barwise.optimizer.samplers import open_sampler\n"
        "from tests.test_samplers import SPACE\n"
        f"try: open_sampler({name!r}, SPACE, 1, 1, 10)\n"
        "except ConfigError as error: print(error)\n"
    )
    assert in_a_process(code) == (
        f"the sampler {name} needs {module}, which is not installed.\n  hint: pip install 'barwise[{extra}]'\n"
    )


@pytest.mark.slow
def test_gaussian_processes_of_optuna_find_the_hill() -> None:
    pytest.importorskip("torch", reason="the extra barwise[gp] is not installed")
    found = search(open_sampler("GP", SPACE, 1, 1, 32), 32, judge=left_half_forbidden)
    assert (found.points[-8:, 0] >= 60.0).mean() > 0.5


class Record(NamedTuple):
    """A finished search of two objectives as `study_of` takes it."""

    points: FloatArray
    values: FloatArray
    steps: FloatArray
    complete: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    violation: FloatArray


def record(objectives: int = 1) -> Record:
    """40 points; with one objective, point 1 pruned, point 2 infeasible, point 3 undefined."""
    points = SPACE.valid(open_sampler("QMC", SPACE, 1, 1, 40).ask(40))
    values = np.column_stack([hill(points)] * objectives)
    steps = np.column_stack([hill(points) - 1.0, hill(points)])
    complete, violation = np.ones(40, dtype=bool), np.zeros(40)
    violation[2] = 0.25
    values[3] = np.nan
    if objectives == 1:
        complete[1], values[1], steps[1, 1] = False, np.nan, np.nan
    return Record(points, values, steps, complete, violation)


def test_a_study_holds_what_the_search_found() -> None:
    given = record()
    study = study_of("stage 7.1", SPACE, ["sharpe_ratio"], ["maximize"], *given)
    complete, pruned, infeasible, undefined = study.trials[:4]
    assert study.metric_names == ["sharpe_ratio"]
    assert study.direction.name == "MAXIMIZE"
    assert complete.state.name == "COMPLETE"
    assert complete.value == given.values[0, 0]
    assert complete.params == SPACE.values(given.points[0])
    assert complete.intermediate_values == {1: given.steps[0, 0], 2: given.steps[0, 1]}
    assert complete.constraints == {"guards": 0.0}
    assert pruned.state.name == "PRUNED"
    assert pruned.intermediate_values == {1: given.steps[1, 0]}
    assert pruned.value == given.steps[1, 0]
    assert infeasible.constraints == {"guards": 0.25}
    assert undefined.state.name == "FAIL"
    assert study.best_trial.number == int(np.nanargmax(np.where(given.violation > 0.0, np.nan, given.values[:, 0])))


def test_optuna_computes_importances_and_a_front_of_a_study() -> None:
    single = study_of("one", SPACE, ["net_pnl"], ["maximize"], *record()._replace(violation=np.zeros(40)))
    importances = optuna.importance.get_param_importances(single)
    assert set(importances) == {"length", "delay", "factor", "level"}
    assert sum(importances.values()) == pytest.approx(1.0)
    double = study_of("two", SPACE, ["net_pnl", "max_drawdown"], ["maximize", "minimize"], *record(2))
    assert [way.name for way in double.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len(double.best_trials) == 38  # each objective is the other's opposite: all but the guarded and undefined


@pytest.mark.parametrize("suffix", [".journal", ".log"])
def test_a_journal_file_is_read_back_by_a_storage_of_its_own(tmp_path: Path, suffix: str) -> None:
    given, path = record(), tmp_path / f"studies{suffix}"
    study_of("stage 7.1", SPACE, ["sharpe_ratio"], ["maximize"], *given, storage=path)
    study_of("stage 7.2", SPACE, ["sharpe_ratio"], ["maximize"], *given, storage=str(path))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    assert sorted(optuna.get_all_study_names(storage)) == ["stage 7.1", "stage 7.2"]
    back = optuna.load_study(study_name="stage 7.1", storage=storage)
    here = study_of("here", SPACE, ["sharpe_ratio"], ["maximize"], *given)
    for stored, made in zip(back.trials, here.trials, strict=True):
        assert (stored.state, stored.values, stored.params) == (made.state, made.values, made.params)
        assert (stored.intermediate_values, stored.constraints) == (made.intermediate_values, made.constraints)


def test_a_storage_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    def keep(storage: str | Path) -> None:
        study_of("stage", SPACE, ["sharpe_ratio"], ["maximize"], *record(), storage=storage)

    with pytest.raises(ConfigError, match=r"trials\.txt: it is neither a journal file nor a URL"):
        keep(tmp_path / "trials.txt")
    with pytest.raises(ConfigError, match=r"no study can be kept in .*nowhere"):
        keep(tmp_path / "nowhere" / "studies.journal")
    with pytest.raises(ConfigError, match="no study can be kept in nonsense://") as caught:
        keep("nonsense://user:geheim@host/base")
    assert "geheim" not in str(caught.value)
    keep(tmp_path / "twice.journal")
    with pytest.raises(ConfigError, match="has a study named stage already"):
        keep(tmp_path / "twice.journal")
