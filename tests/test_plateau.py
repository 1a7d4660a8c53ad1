"""Plateaus: what a neighbour is, what a plateau says about a point, and which point is the most robust."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from barwise.config import Float, Int
from barwise.core.layout import SUMMARY, FloatArray
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError
from barwise.optimizer.plateau import Plateau, measure_plateau, most_robust, neighbourhood
from barwise.optimizer.space import Space
from barwise.optimizer.trials import Trials
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

NOT_FREE = ("ema_trend", "rsi_period", "atr_period")


class Two(Strategy):
    """Two free whole numbers and a rule of their own: their sum is not 13."""

    left: int = Int(5, low=0, high=10)
    right: int = Int(5, low=0, high=10)

    @model_validator(mode="after")
    def _not_thirteen(self) -> "Two":
        if self.left + self.right == 13:
            raise ValueError("left + right must not be 13")
        return self


class Real(Strategy):
    """One real number of its own."""

    ratio: float = Float(0.3, low=0.0, high=1.0)


def two_emas(fast: int, slow: int) -> Space:
    return Space(EmaRsiAtr(ema_fast=fast, ema_slow=slow), "7.1", width=0.1, fixed=NOT_FREE)


def two(left: int, right: int) -> Space:
    return Space(Two(left=left, right=right), "7.1", width=0.1)


def pairs(points: FloatArray) -> set[tuple[float, ...]]:
    return {tuple(point) for point in points.tolist()}


def trials_at(points: list[list[float]], values: list[float], violation: list[float] | None = None) -> Trials:
    """Complete trials with these values."""
    n = len(points)
    column = np.array(values).reshape(-1, 1)
    return Trials(
        np.array(points), column, column, np.array(violation or [0.0] * n), column, np.ones(n, bool),
        np.ones(n, np.int64), np.zeros(n), np.zeros(n, SUMMARY), np.zeros(n, np.int64), np.zeros(n),
    )  # fmt: skip


def plateau_of(value: float, values: list[float]) -> Plateau:
    """A plateau over one parameter with made-up neighbours."""
    points = np.arange(1.0, len(values) + 1.0).reshape(-1, 1)
    return Plateau(("left",), np.ones(1), np.zeros(1), value, points, np.array(values))


def test_two_parameters_have_eight_neighbours() -> None:
    space = two_emas(20, 50)
    found = neighbourhood(space, space.base)
    assert found.shape == (8, 2)
    assert pairs(found) == set(itertools.product((19.0, 20.0, 21.0), (49.0, 50.0, 51.0))) - {(20.0, 50.0)}


def test_one_parameter_steps_come_before_those_in_two() -> None:
    space = two_emas(20, 50)
    moved = (neighbourhood(space, space.base) != space.base).sum(axis=1)
    assert moved.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_neighbour_may_leave_the_box() -> None:
    space = two(5, 5)
    corner = space.high
    assert (neighbourhood(space, corner) > space.high).any()


def test_a_neighbour_never_leaves_the_declared_bounds() -> None:
    space = two(0, 10)
    assert pairs(neighbourhood(space, space.base)) == {(1.0, 10.0), (0.0, 9.0), (1.0, 9.0)}


def test_a_neighbour_never_breaks_a_rising_chain() -> None:
    space = two_emas(12, 13)
    assert pairs(neighbourhood(space, space.base)) == {
        (11.0, 13.0), (12.0, 14.0), (11.0, 12.0), (11.0, 14.0), (13.0, 14.0),
    }  # fmt: skip


def test_a_neighbour_never_breaks_a_rule_of_the_strategy_itself() -> None:
    space = two(6, 6)
    found = pairs(neighbourhood(space, space.base))
    assert found == set(itertools.product((5.0, 6.0, 7.0), repeat=2)) - {(6.0, 6.0), (7.0, 6.0), (6.0, 7.0)}


def test_a_real_parameter_moves_by_its_step_without_rounding_errors() -> None:
    others = set(Space(Real(), "7.2", width=0.2).names) - {"ratio"}
    space = Space(Real(), "7.2", width=0.2, fixed=tuple(others))
    assert pairs(neighbourhood(space, np.array([0.3]))) == {(0.29,), (0.31,)}
    # The step is that of the space, also where the value has another size or more decimals.
    assert pairs(neighbourhood(space, np.array([0.0821]))) == {(0.0721,), (0.0921,)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=16, max_size=16))
def test_neighbours_are_distinct_valid_and_one_step_away_in_one_or_two_parameters(unit: list[float]) -> None:
    space = Space(EmaRsiAtr(), "joint", width=0.25)
    point = space.valid(space.from_unit(np.array([unit])))[0]
    found = neighbourhood(space, point)
    assert len(pairs(found)) == len(found) <= 2 * 16 + 2 * 16 * 15
    steps = np.abs(found - point) / space.step
    assert set((steps > 0.0).sum(axis=1).tolist()) <= {1, 2}
    assert np.allclose(steps[steps > 0.0], 1.0, atol=1e-6)
    for neighbour in found:
        space.configured(neighbour)


def test_kept_is_the_share_that_has_four_fifths_of_the_value() -> None:
    plateau = plateau_of(2.0, [1.6, 1.59, 2.5, -1.0])
    assert (plateau.kept, plateau.reason) == (0.5, "")
    assert (plateau.worst, plateau.best) == (-1.0, 2.5)
    assert plateau.median == pytest.approx(1.595)
    assert plateau.mean == pytest.approx(1.1725)


def test_a_neighbour_without_a_value_is_lost_but_has_no_part_in_the_mean() -> None:
    plateau = plateau_of(1.0, [1.0, float("nan"), 3.0, float("nan")])
    assert (plateau.kept, plateau.undefined, plateau.mean, plateau.worst) == (0.5, 2, 2.0, 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_share_of_nothing_is_not_reported(value: float) -> None:
    plateau = plateau_of(value, [value, value])
    assert plateau.kept is None
    assert "not above zero" in plateau.reason
    assert plateau.to_dict()["kept_reason"] == plateau.reason


def test_a_point_without_neighbours_says_so() -> None:
    space = Space(Two(), "7.1", width=0.1, fixed=("left", "right"))
    plateau = measure_plateau(lambda _, points: np.zeros(len(points)), space, space.base, 1.0)
    assert (plateau.kept, plateau.worst, plateau.reason) == (None, None, "the point has no valid neighbour")


def test_per_parameter_has_the_value_one_step_down_and_one_step_up() -> None:
    space = two(0, 5)
    plateau = measure_plateau(lambda _, points: 10.0 * points[:, 0] + points[:, 1], space, space.base, 5.0)
    assert plateau.per_parameter == {"left": (None, 15.0), "right": (4.0, 6.0)}


def test_a_plateau_has_what_a_sweep_of_its_neighbours_reports() -> None:
    sweeper = Sweeper(sample_candles(start="2024-01-01", end="2024-02-15"), EmaRsiAtr(ema_trend=80), 0.5)
    space = Space(sweeper.strategy, "7.1", width=0.1, fixed=NOT_FREE)

    def evaluate(_: Space, points: FloatArray) -> FloatArray:
        values: FloatArray = sweeper.sweep(space.columns(points)).metrics["net_pnl"]
        return values

    own = float(evaluate(space, space.base[None])[0])
    plateau = measure_plateau(evaluate, space, space.base, own)
    for (fast, slow), value in zip(plateau.points.tolist(), plateau.values.tolist(), strict=True):
        alone = Sweeper(sweeper.candles, sweeper.strategy.replace(ema_fast=int(fast), ema_slow=int(slow)), 0.5)
        assert alone.sweep({"ema_fast": np.array([int(fast)])}).metrics["net_pnl"][0] == value
    assert len(set(plateau.values.tolist())) > 1


def landscape(points: FloatArray) -> FloatArray:
    """A needle of 10 at (2, 2) and a hill of 6 at (8, 8) that falls by 1 a step."""
    hill = 6.0 - np.abs(points - 8.0).sum(axis=1)
    needle = (points == 2.0).all(axis=1)
    values: FloatArray = np.where(needle, 10.0, hill)
    return values


def robust(values: Callable[[FloatArray], FloatArray], trials: Trials, **options: Any) -> tuple[int, Plateau]:
    return most_robust(lambda _, points: values(points), two(5, 5), trials, **options)


def test_the_most_robust_point_is_on_the_hill_and_not_on_the_needle() -> None:
    points = [[5.0, 5.0], [2.0, 2.0], [8.0, 8.0], [7.0, 8.0]]
    trials = trials_at(points, landscape(np.array(points)).tolist())
    assert trials.best == 1
    row, plateau = robust(landscape, trials)
    assert row == 2
    assert plateau.value == 6.0
    # Four neighbours at 5, four at 4.
    assert (plateau.mean, plateau.kept) == (4.5, 0.5)


def test_only_the_best_trials_are_compared() -> None:
    points = [[5.0, 5.0], [2.0, 2.0], [8.0, 8.0]]
    trials = trials_at(points, landscape(np.array(points)).tolist())
    assert robust(landscape, trials, most=1)[0] == 1


def test_of_equally_robust_points_the_better_one_is_taken() -> None:
    trials = trials_at([[3.0, 3.0], [7.0, 7.0], [5.0, 5.0]], [1.0, 3.0, 2.0])
    assert robust(lambda points: np.ones(len(points)), trials)[0] == 1


def test_a_trial_that_broke_a_guard_is_no_candidate() -> None:
    trials = trials_at([[3.0, 3.0], [7.0, 7.0]], [1.0, 3.0], violation=[0.0, 0.5])
    assert robust(lambda points: np.ones(len(points)), trials)[0] == 0
    with pytest.raises(ConfigError, match="none of 2 trials was run to the end and kept all guards"):
        robust(landscape, trials_at([[3.0, 3.0], [7.0, 7.0]], [1.0, 3.0], violation=[1.0, 1.0]))


def test_neighbours_without_a_value_make_no_point_more_robust() -> None:
    def half_empty(points: FloatArray) -> FloatArray:
        values: FloatArray = np.where(points[:, 0] > 6.0, np.nan, 1.0)
        values[(points == 7.0).all(axis=1)] = 2.0
        return values

    # Beside (8, 7) all that has a value has 2; everything around (4, 4) has 1.
    assert robust(half_empty, trials_at([[8.0, 7.0], [4.0, 4.0]], [3.0, 1.0]))[0] == 1


def test_neighbours_of_all_candidates_are_evaluated_once_and_together() -> None:
    asked: list[FloatArray] = []

    def evaluate(_: Space, points: FloatArray) -> FloatArray:
        asked.append(points)
        return landscape(points)

    most_robust(evaluate, two(5, 5), trials_at([[4.0, 4.0], [4.0, 5.0], [4.0, 4.0]], [3.0, 2.0, 3.0]))
    [points] = asked
    assert len(pairs(points)) == len(points) == 12
