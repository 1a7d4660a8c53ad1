"""What a search shows, as data: importance, pairs, history and the luck line."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from barwise.core.layout import SUMMARY, BoolArray, FloatArray
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError
from barwise.optimizer.evaluation import Evaluator
from barwise.optimizer.insight import (
    Importance,
    has_value,
    history,
    importance,
    leading_pairs,
    pair_map,
    spread,
    state_names,
    usable,
)
from barwise.optimizer.ledger import Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.space import Space
from barwise.optimizer.trials import StageResult, Trials
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

NAMES = ("ema_fast", "ema_slow", "ema_trend", "rsi_period", "atr_period")


def made_up(
    points: FloatArray,
    values: FloatArray,
    *,
    complete: BoolArray | None = None,
    violation: FloatArray | None = None,
    trades: int = 9,
    objective: str = "sharpe_ratio",
    strategy: Strategy | None = None,
    stage: Any = "7.1",
) -> StageResult:
    """A stage whose trials have these points and values."""
    n = len(points)
    space = Space(strategy or EmaRsiAtr(), stage, width=0.25)
    wanted = Objective.of(objective)
    sign = -1.0 if wanted.directions[0] == "minimize" else 1.0
    summaries = np.zeros(n, SUMMARY)
    summaries["trades"] = trades
    column = values.reshape(-1, 1).astype(float)
    trials = Trials(
        points, column, sign * column, np.zeros(n) if violation is None else violation, sign * column,
        np.ones(n, bool) if complete is None else complete, np.full(n, 100), np.zeros(n), summaries, np.zeros(n, int),
        np.zeros(n),
    )  # fmt: skip
    return StageResult(stage, "RANDOM", space, wanted, trials, 0, (1.0,), 100 * n, 1.0, 0.1, False, ())


def random_points(count: int, seed: int = 1) -> FloatArray:
    space = Space(EmaRsiAtr(), "7.1", width=0.25)
    unit = np.random.default_rng(seed).random((count, len(space.names)))
    return space.valid(np.vstack([space.base[None], space.from_unit(unit)]))


@pytest.fixture(scope="module")
def searched() -> StageResult:
    """80 random points of stage 7.1 and the base, with halving, on three months of sample candles."""
    strategy = EmaRsiAtr()
    sweeper = Sweeper(sample_candles(start="2024-01-01", end="2024-04-01"), strategy, 0.5, check_lookahead=False)
    objective = Objective.of("sharpe_ratio", 3)
    evaluator = Evaluator(sweeper, objective, (1 / 3, 2 / 3, 1.0), None, 8192)
    space, points = Space(strategy, "7.1", width=0.25), random_points(80)
    origin = Origin("run", "7.1", "RANDOM", 1, objective.label)
    batches = [evaluator.evaluate(space, points[at : at + 27], origin) for at in range(0, len(points), 27)]
    trials = Trials.joined(batches)
    full = evaluator.full_bars(len(trials))
    return StageResult(
        "7.1", "RANDOM", space, objective, trials, trials.best, evaluator.levels, full, 1.0, 0.1, False, ()
    )


# -- Luck --------------------------------------------------------------------------------------------------------------


def exact_maximum(count: int) -> float:
    """Expected maximum of standard normals, by integration of its density."""
    found, _ = quad(lambda x: x * count * norm.pdf(x) * norm.cdf(x) ** (count - 1), -10.0, 10.0)
    return float(found)


def test_one_trial_has_no_luck() -> None:
    assert expected_maximum(1) == 0.0


def test_the_expected_maximum_is_the_published_one() -> None:
    assert expected_maximum(10) == pytest.approx(1.575, abs=5e-4)
    # 350 trials on three months of hourly bars: 5.9 (the annual Sharpe ratio of pure luck).
    assert expected_maximum(350) / np.sqrt(2160 / 8760) == pytest.approx(5.9, abs=0.05)


@pytest.mark.parametrize(("count", "off"), [(10, 0.025), (100, 0.01), (10_000, 0.004)])
def test_the_expected_maximum_is_near_the_exact_one(count: int, off: float) -> None:
    assert 0.0 < expected_maximum(count) / exact_maximum(count) - 1.0 < off


def test_the_expected_maximum_rises_without_end() -> None:
    values = [expected_maximum(count) for count in (1, 2, 3, 10, 1_000, 10**6, 10**12, 10**17)]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert np.isfinite(values).all()


# -- States ------------------------------------------------------------------------------------------------------------


def test_states_of_a_real_search_agree_with_its_columns(searched: StageResult) -> None:
    trials = searched.trials
    states = state_names(trials)
    assert states.count("pruned") == searched.pruned > 0
    assert states.count("complete") > 0
    assert usable(trials).sum() == states.count("complete") + states.count("infeasible")


def test_a_trial_that_never_traded_has_no_value_whatever_its_ratio_says() -> None:
    stage = made_up(random_points(3), np.zeros(4), trades=0, violation=np.full(4, 1e6))
    assert state_names(stage.trials) == ["undefined"] * 4
    assert not has_value(stage.trials).any()
    assert not usable(stage.trials).any()


# -- Importance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ped-anova", "fanova"])
@pytest.mark.parametrize("objective", ["sharpe_ratio", "max_drawdown"])
def test_the_only_parameter_that_matters_is_found(method: Any, objective: str) -> None:
    points = random_points(200)
    found = importance(made_up(points, np.abs(points[:, 1] - 45.0), objective=objective), method)
    assert next(iter(found.shares)) == "ema_slow"
    assert found.shares["ema_slow"] > 0.8
    assert set(found.shares) == set(NAMES)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert (found.used, found.usable, found.total, found.reason) == (201, 201, 201, "")


def test_importance_is_the_same_every_time_and_its_whiskers_follow_the_seed(searched: StageResult) -> None:
    assert importance(searched, samples=5, seed=3) == importance(searched, samples=5, seed=3)
    one, other = (importance(searched, samples=5, seed=seed) for seed in (3, 4))
    assert one.shares == other.shares
    assert one.low != other.low


def test_whiskers_are_narrow_where_a_share_is_certain_and_wide_where_it_is_not() -> None:
    points = random_points(300)
    certain = importance(made_up(points, points[:, 1]), samples=12)
    noise = importance(made_up(points, np.random.default_rng(5).random(301)), samples=12)
    assert set(certain.low) == set(certain.high) == set(NAMES)
    assert all(0.0 <= certain.low[name] <= certain.high[name] <= 1.0 for name in NAMES)
    assert certain.low["ema_slow"] > 0.8
    assert certain.high["ema_slow"] - certain.low["ema_slow"] < 0.2
    assert max(noise.high[name] - noise.low[name] for name in NAMES) > 0.2


def test_noise_has_a_most_important_parameter_too() -> None:
    points = random_points(100)
    found = importance(made_up(points, np.random.default_rng(5).random(101)))
    assert max(found.shares.values()) > 1.5 / len(NAMES)


def test_only_trials_with_a_full_value_take_part() -> None:
    points = random_points(99)
    values, complete = points[:, 1].copy(), np.ones(100, bool)
    values[:20], complete[20:50] = np.nan, False
    found = importance(made_up(points, values, complete=complete))
    assert (found.used, found.usable, found.total) == (50, 50, 100)


def test_of_many_trials_every_so_many_th_is_taken_and_said() -> None:
    points = random_points(1_200)
    found = importance(made_up(points, points[:, 1]))
    assert (found.used, found.usable) == (500, 1_201)
    assert found.shares["ema_slow"] > 0.8


def test_too_few_trials_have_no_importance_and_the_reason_says_how_many_there_are() -> None:
    found = importance(made_up(random_points(18), np.arange(19.0)))
    assert found.shares == {}
    assert found.reason == "19 trials were run to the end and have a value; at least 20 are needed"


def test_trials_of_equal_value_have_no_importance() -> None:
    assert importance(made_up(random_points(40), np.ones(41))).reason == "every trial has the same value"


def test_where_the_best_tenth_is_all_trials_nothing_tells_them_apart() -> None:
    values = np.ones(41)
    values[0] = 2.0
    found = importance(made_up(random_points(40), values))
    assert (found.shares, found.reason) == ({}, "no parameter tells the best trials from the others")


def test_an_unknown_measure_of_importance_is_refused(searched: StageResult) -> None:
    with pytest.raises(ConfigError, match=r"'fanowa' is not a measure of importance. Did you mean fanova\?"):
        importance(searched, "fanowa")  # type: ignore[arg-type]


def test_fanova_without_its_library_names_the_extra(searched: StageResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConfigError, match="needs scikit-learn") as caught:
        importance(searched, "fanova")
    assert "barwise[fanova]" in str(caught.value.hint)


def test_importance_leaves_the_log_of_optuna_as_it_was(
    searched: StageResult, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    importance(searched)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr().err == ""


def test_spread_takes_the_same_things_evenly_with_both_ends() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert spread(10_000, 700).size == 700


# -- Pairs -------------------------------------------------------------------------------------------------------------


def test_every_trial_is_in_the_field_its_values_belong_to(searched: StageResult) -> None:
    found = pair_map(searched, "ema_fast", "ema_slow", bins=4)
    rows = np.flatnonzero(usable(searched.trials))
    assert found.count.sum() == found.used == rows.size
    assert found.total == len(searched.trials)
    sums = np.zeros(found.count.shape)
    counts = np.zeros(found.count.shape, int)
    for row in rows:
        fast, slow = searched.trials.points[row, :2]
        for line, column in np.ndindex(*counts.shape):
            across = found.x_edges[column] < fast < found.x_edges[column + 1]
            if across and found.y_edges[line] < slow < found.y_edges[line + 1]:
                counts[line, column] += 1
                sums[line, column] += searched.trials.reported[row, 0]
    assert (counts == found.count).all()
    assert np.isnan(found.mean[counts == 0]).all()
    assert np.allclose(found.mean[counts > 0], sums[counts > 0] / counts[counts > 0])


def test_a_map_of_few_whole_numbers_has_one_bin_for_each() -> None:
    points = np.array([[20.0, 50.0, 200.0, 14.0, 14.0], [19.0, 50.0, 200.0, 14.0, 14.0]])
    stage = made_up(points, np.array([1.0, 3.0]))
    found = pair_map(stage, "rsi_period", "atr_period", bins=8)
    # 25 % of 14 is 3.5, which is rounded to 4: 10 to 18, nine numbers.
    assert (found.x_edges[0], found.x_edges[-1]) == (9.5, 18.5)
    assert sorted(np.diff(found.x_edges).tolist()) == [1.0] * 7 + [2.0]
    assert pair_map(stage, "rsi_period", "atr_period", bins=20).x_edges.tolist() == np.arange(9.5, 19.0).tolist()
    assert pair_map(stage, "rsi_period", "atr_period", bins=1).mean.tolist() == [[2.0]]


def test_the_lowest_and_the_highest_value_of_a_box_are_in_a_bin() -> None:
    space = Space(EmaRsiAtr(), "7.2", width=0.2)
    stage = made_up(np.stack([space.base, space.low, space.high]), np.array([0.0, 1.0, 2.0]), stage="7.2")
    found = pair_map(stage, space.names[0], space.names[1], bins=5)
    assert found.count.sum() == 3
    assert (found.mean[0, 0], found.mean[-1, -1]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("x", "y", "bins", "said"),
    [
        ("ema_fsat", "ema_slow", 8, r"ema_fsat was not searched in stage 7.1. Did you mean ema_fast\?"),
        ("ema_fast", "ema_fast", 8, "two different parameters"),
        ("ema_fast", "ema_slow", 0, "at least one bin"),
    ],
)
def test_a_map_of_what_was_not_searched_is_refused(x: str, y: str, bins: int, said: str, searched: StageResult) -> None:
    with pytest.raises(ConfigError, match=said):
        pair_map(searched, x, y, bins)


def test_leading_pairs_are_those_of_the_most_important_parameters() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    found = Importance("ped-anova", shares, {}, {}, 30, 30, 30, "")
    assert leading_pairs(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert leading_pairs(found, 1) == [("a", "b")]
    assert leading_pairs(replace(found, shares={"a": 1.0})) == []


# -- History -----------------------------------------------------------------------------------------------------------


def test_the_best_so_far_counts_only_full_trials_that_kept_the_guards() -> None:
    values = np.array([1.0, 9.0, 3.0, 8.0, np.nan, 2.0, 4.0])
    complete = np.array([True, False, True, True, True, True, True])
    violation = np.array([0.0, 0.0, 0.0, 0.5, 1e6, 0.0, 0.0])
    found = history([made_up(random_points(6), values, complete=complete, violation=violation)])
    assert found.states == ["complete", "pruned", "complete", "infeasible", "undefined", "complete", "complete"]
    assert found.best.tolist() == [1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 4.0]
    assert np.array_equal(found.reported, values, equal_nan=True)


def test_before_the_first_good_trial_there_is_no_best() -> None:
    found = history([made_up(random_points(2), np.array([5.0, 1.0, 2.0]), violation=np.array([1.0, 0.0, 0.0]))])
    assert np.array_equal(found.best, [np.nan, 1.0, 2.0], equal_nan=True)


def test_the_best_of_a_cost_is_the_lowest() -> None:
    found = history([made_up(random_points(2), np.array([5.0, 7.0, 2.0]), objective="max_drawdown")])
    assert found.best.tolist() == [5.0, 5.0, 2.0]
    assert found.luck is None


def test_a_configuration_met_again_in_another_stage_is_counted_once() -> None:
    points = random_points(3)
    points[3] = points[1]
    first = made_up(points, np.arange(4.0))
    chosen = first.space.configured(points[2])
    second_space = Space(chosen, "7.3", width=0.25)
    second = made_up(np.stack([second_space.base, second_space.low]), np.arange(2.0), strategy=chosen, stage="7.3")
    found = history([first, second], years=0.25, earlier=10)
    # The base of the second stage is the chosen point of the first.
    assert found.configurations.tolist() == [11, 12, 13, 13, 13, 14]
    assert found.stage.tolist() == [0, 0, 0, 0, 1, 1]


def test_the_luck_line_is_the_expected_maximum_over_the_root_of_the_years(searched: StageResult) -> None:
    found = history([searched], years=0.25)
    assert found.luck is not None
    counts = found.configurations
    assert counts[0] == 1
    assert counts[-1] == len(np.unique(searched.trials.points, axis=0))
    assert found.luck.tolist() == pytest.approx([expected_maximum(int(count)) / 0.5 for count in counts])
    assert history([searched]).luck is None


def test_a_real_search_has_a_rising_best_that_ends_at_its_result(searched: StageResult) -> None:
    found = history([searched])
    known = found.best[~np.isnan(found.best)]
    assert (np.diff(known) >= 0.0).all()
    assert known[-1] == searched.best_value
