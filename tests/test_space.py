"""The search boxes of every profile worked out by hand, and that no point of a box ever breaks a rule."""

from typing import Any, ClassVar, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from barwise.config import Float, Int, OptimizationProfile
from barwise.core.layout import FloatArray
from barwise.errors import ConfigError
from barwise.optimizer.space import STAGES, Dimension, Space
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

INTEGERS = ("ema_fast", "ema_slow", "ema_trend", "rsi_period", "atr_period")
REALS = (
    "atr_sl_multiplier", "atr_tp_multiplier", "trailing_sl_threshold", "trailing_tp_threshold",
    "trailing_tp_atr_multiplier", "rsi_long_threshold", "rsi_short_threshold",
)  # fmt: skip
TIMEOUTS = tuple(f"hybrid_tier{tier}_timeout" for tier in (1, 2, 3, 4))


def boxes(space: Space) -> dict[str, tuple[float, float]]:
    return {dimension.name: (dimension.low, dimension.high) for dimension in space.dimensions}


def dimension(space: Space, name: str) -> Dimension:
    return space.dimensions[space.names.index(name)]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        # Half widths 2, 5, 20 and 1 (1.4 rounds down).
        ("FAST", [(18, 22), (45, 55), (180, 220), (13, 15), (13, 15)]),
        # Half widths 3, 8 (7.5 rounds up), 30 and 2 (2.1).
        ("BALANCED", [(17, 23), (42, 58), (170, 230), (12, 16), (12, 16)]),
        # Half widths 5, 13 (12.5), 50 and 4 (3.5).
        ("THOROUGH", [(15, 25), (37, 63), (150, 250), (10, 18), (10, 18)]),
    ],
)
def test_integers_reach_a_share_of_their_value_both_ways(profile: str, expected: list[tuple[int, int]]) -> None:
    space = Space(EmaRsiAtr(), "7.1", width=OptimizationProfile(profile).width)
    assert boxes(space) == dict(zip(INTEGERS, expected, strict=True))
    assert space.step.tolist() == [1.0] * 5
    assert space.base.tolist() == [20.0, 50.0, 200.0, 14.0, 14.0]


@pytest.mark.parametrize(("profile", "share"), [("FAST", 0.10), ("BALANCED", 0.15), ("THOROUGH", 0.25)])
def test_reals_reach_the_same_share_of_their_value(profile: str, share: float) -> None:
    space = Space(EmaRsiAtr(), "7.2", width=OptimizationProfile(profile).width)
    assert set(space.names) == set(REALS)
    for name, (low, high) in boxes(space).items():
        base = getattr(EmaRsiAtr(), name)
        assert low == pytest.approx(base * (1.0 - share), abs=1e-12)
        assert high == pytest.approx(base * (1.0 + share), abs=1e-12)


def test_the_step_of_a_real_is_a_unit_of_its_second_digit_and_two_decimals_more_are_kept() -> None:
    space = Space(EmaRsiAtr(), "7.2", width=0.15)
    found = {name: (dimension(space, name).step, dimension(space, name).decimals) for name in REALS}
    assert found["atr_sl_multiplier"] == (0.1, 3)  # 1.5
    assert found["trailing_sl_threshold"] == (0.001, 5)  # 0.02
    assert found["rsi_long_threshold"] == (1.0, 2)  # 35


def test_timeouts_move_by_one_bar_at_least_and_never_below_zero() -> None:
    # 15 % of 5, 3, 4 and 1 is less than a bar and a half.
    space = Space(EmaRsiAtr(), "7.3", width=0.15)
    assert boxes(space) == dict(zip(TIMEOUTS, [(4, 6), (2, 4), (3, 5), (0, 2)], strict=True))
    at_zero = Space(EmaRsiAtr(hybrid_tier4_timeout=0), "7.3", width=0.15)
    assert boxes(at_zero)["hybrid_tier4_timeout"] == (0, 1)


def test_the_joint_space_is_the_three_stages_together() -> None:
    joint = Space(EmaRsiAtr(), "joint", width=0.15)
    parts = [Space(EmaRsiAtr(), stage, width=0.15) for stage in STAGES]
    assert boxes(joint) == {name: box for part in parts for name, box in boxes(part).items()}
    assert len(joint.names) == 16


def test_a_wide_box_reaches_from_two_fifths_to_five_halves() -> None:
    space = Space(EmaRsiAtr(), "joint", width=0.15, wide=True)
    found = boxes(space)
    assert found["rsi_period"] == (6, 35)  # 5.6 and 35
    assert found["ema_trend"] == (80, 500)
    assert found["atr_sl_multiplier"] == (0.6, 3.75)
    assert found["hybrid_tier4_timeout"] == (0, 4)  # three steps where that is more, and not below zero
    assert found["rsi_short_threshold"] == (26.0, 100.0)  # a threshold ends at 100


def test_a_given_range_replaces_the_box_and_brings_in_what_no_stage_searches() -> None:
    ranges = {"ema_fast": (5, 40.7), "rsi_lookback": (20, 80), "max_chase_atr": (0.5, 3.0)}
    first, second, joint = (Space(EmaRsiAtr(), stage, width=0.15, ranges=ranges) for stage in ("7.1", "7.2", "joint"))
    assert boxes(first)["ema_fast"] == (5, 40)
    assert boxes(first)["rsi_lookback"] == (20, 80)
    assert boxes(first)["ema_slow"] == (42, 58)
    assert boxes(second)["max_chase_atr"] == (0.5, 3.0)
    assert "max_chase_atr" not in first.names
    assert {"rsi_lookback", "max_chase_atr"} < set(joint.names)


def test_fixed_idle_and_undefined_parameters_are_left_out() -> None:
    assert Space(EmaRsiAtr(), "7.1", width=0.15, fixed=["ema_trend"]).names == tuple(
        n for n in INTEGERS if n != "ema_trend"
    )
    assert Space(EmaRsiAtr(enable_trend_filter=False), "7.1", width=0.15).names == tuple(
        name for name in INTEGERS if name != "ema_trend"
    )
    no_rsi = Space(EmaRsiAtr(enable_rsi_filter=False), "joint", width=0.15)
    assert not {"rsi_period", "rsi_long_threshold", "rsi_short_threshold"} & set(no_rsi.names)
    no_trail = Space(EmaRsiAtr(trailing_sl_enabled=False), "7.2", width=0.15)
    assert set(no_trail.names) == set(REALS) - {"trailing_sl_threshold"}
    assert Space(EmaRsiAtr(enable_hybrid_tier2=False), "7.3", width=0.15).names == (
        "hybrid_tier1_timeout", "hybrid_tier3_timeout", "hybrid_tier4_timeout",
    )  # fmt: skip
    assert Space(EmaRsiAtr(enable_hybrid_engine=False), "7.3", width=0.15).names == ()
    # None follows another parameter; a number of its own is searched.
    assert "trailing_sl_atr_multiplier" not in Space(EmaRsiAtr(), "7.2", width=0.15).names
    assert "trailing_sl_atr_multiplier" in Space(EmaRsiAtr(trailing_sl_atr_multiplier=1.0), "7.2", width=0.15).names


class Bounded(Strategy):
    """Bounds that cut a box of half the base value."""

    period: int = Int(10, low=8, high=12)
    open_end: float = Float(0.5, above=0.4, high=0.6)
    closed_end: float = Float(0.5, low=1.0 / 3.0)
    level: float = Float(0.0, low=-2.0, high=2.0)
    shift: float = Float(-4.0)


def bounded(stage: Any = "joint", **options: Any) -> Space:
    return Space(Bounded(), stage, width=0.5, fixed=list(Strategy.model_fields), **options)


def test_declared_bounds_end_a_box_and_an_excluded_one_is_not_reached() -> None:
    found = boxes(bounded())
    assert found["period"] == (8, 12)
    assert np.allclose(found["open_end"], (0.4001, 0.6), rtol=0.0, atol=1e-12)  # the least of four decimals above 0.4
    assert found["closed_end"] == (1.0 / 3.0, 0.75)
    assert found["shift"] == (-6.0, -2.0)


def test_a_base_of_zero_moves_by_the_step_of_its_bounds() -> None:
    assert dimension(bounded(), "level").step == pytest.approx(0.1)  # 2.0 has its second digit there
    assert boxes(bounded())["level"] == (-0.1, 0.1)
    assert boxes(bounded(wide=True))["level"] == (-0.3, 0.3)


def test_a_bound_with_more_decimals_than_the_values_is_not_rounded_across() -> None:
    space = bounded()
    column = space.names.index("closed_end")
    points = np.tile(space.base, (3, 1))
    points[:, column] = [0.2, 1.0 / 3.0, 0.33334]  # four decimals would make all of them 0.3333
    assert space.valid(points)[:, column].tolist() == [1.0 / 3.0] * 3
    space.configured(space.valid(points)[0])


def corners(space: Space) -> FloatArray:
    """A thousand random points, both ends of every axis, and points far outside."""
    unit = np.random.default_rng(1).random((1000, len(space.dimensions)))
    return np.concatenate([space.from_unit(unit), [space.low, space.high], space.from_unit(4.0 * unit[:100] - 2.0)])


def close_chain() -> EmaRsiAtr:
    return EmaRsiAtr(ema_fast=20, ema_slow=22, ema_trend=24, rsi_long_threshold=49.9, rsi_short_threshold=50.1)


class Sum(Strategy):
    """A rule of its own that no chain describes."""

    first: int = Int(10, low=1)
    second: int = Int(10, low=1)
    share: float = Float(0.5, low=0.0, high=1.0)

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        if self.first + self.second > 22 or self.share * self.first > 6.0:
            raise ValueError("first + second must not exceed 22, share * first not 6")
        return self


class Chained(Strategy):
    """A chain with a link that is not searched, and a real one."""

    rising: ClassVar[tuple[tuple[str, ...], ...]] = (("near", "middle", "far"), ("low_share", "high_share"))
    near: int = Int(5, low=1)
    middle: int = Int(8, low=1, stage="")
    far: int = Int(11, low=1)
    low_share: float = Float(0.30)
    high_share: float = Float(0.31)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.near < self.middle < self.far or not self.low_share < self.high_share:
            raise ValueError("near < middle < far and low_share < high_share must hold")
        return self


SPACES = {
    "plain": Space(EmaRsiAtr(), "joint", width=0.15),
    "wide": Space(EmaRsiAtr(), "joint", width=0.15, wide=True),
    "close chain": Space(close_chain(), "joint", width=0.15),
    "close wide chain": Space(close_chain(), "joint", width=0.15, wide=True),
    "chain with a fixed link": Space(close_chain(), "joint", width=0.25, wide=True, fixed=["ema_slow"]),
    "bounds": bounded(),
    "wide bounds": bounded(wide=True),
    "own rule": Space(Sum(), "joint", width=0.9, fixed=list(Strategy.model_fields)),
    "own chain": Space(Chained(), "joint", width=0.5, wide=True, fixed=list(Strategy.model_fields)),
}
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def assert_all_valid(space: Space, points: FloatArray) -> None:
    """In the box, whole where whole, taken by the class itself, and not moved a second time."""
    assert (points >= space.low).all()
    assert (points <= space.high).all()
    for axis, column in zip(space.dimensions, points.T, strict=True):
        if axis.integer:
            assert (column == np.round(column)).all()
    for point in points:
        own = space.configured(point)  # raises where the class refuses it
        assert [getattr(own, name) for name in space.names] == point.tolist()
    assert np.array_equal(space.valid(points), points)


@spaces
def test_every_point_becomes_one_that_the_strategy_takes(space: Space) -> None:
    given_points = corners(space)
    kept = given_points.copy()
    assert_all_valid(space, space.valid(given_points))
    assert np.array_equal(given_points, kept)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_box_around_any_strategy_holds_an_impossible_point(data: st.DataObject) -> None:
    fast = data.draw(st.integers(2, 60))
    slow = fast + data.draw(st.integers(1, 40))
    low = data.draw(st.floats(1.0, 98.0))
    strategy = EmaRsiAtr(
        ema_fast=fast,
        ema_slow=slow,
        ema_trend=slow + data.draw(st.integers(1, 200)),
        rsi_period=data.draw(st.integers(2, 40)),
        rsi_long_threshold=low,
        rsi_short_threshold=low + data.draw(st.floats(1e-3, 1.0)),
        atr_sl_multiplier=data.draw(st.floats(1e-4, 20.0)),
        trailing_sl_threshold=data.draw(st.floats(0.0, 1.0)),
        hybrid_tier1_timeout=data.draw(st.integers(0, 1000)),
    )
    space = Space(strategy, "joint", width=data.draw(st.floats(0.01, 0.9)), wide=data.draw(st.booleans()))
    assert np.array_equal(space.valid(space.base[None, :])[0], space.base)
    assert (space.low <= space.base).all()
    assert (space.base <= space.high).all()
    seed = data.draw(st.integers(0, 2**32 - 1))
    unit = np.random.default_rng(seed).random((20, len(space.dimensions)))
    assert_all_valid(space, space.valid(space.from_unit(np.concatenate([unit, np.round(unit)]))))


@spaces
def test_the_base_is_valid_as_it_is(space: Space) -> None:
    assert np.array_equal(space.valid(space.base[None, :])[0], space.base)
    assert space.configured(space.base) == space.strategy


@spaces
def test_the_unit_cube_maps_onto_the_box_and_back(space: Space) -> None:
    points = space.from_unit(np.random.default_rng(2).random((500, len(space.dimensions))))
    assert (points >= space.low).all()
    assert (points <= space.high).all()
    unit = space.to_unit(points)
    assert (unit >= 0.0).all()
    assert (unit <= 1.0).all()
    assert np.allclose(space.from_unit(unit), points, rtol=1e-12, atol=0.0)
    assert np.array_equal(space.from_unit(np.ones((1, len(space.names))))[0], space.high)
    assert np.array_equal(space.from_unit(np.zeros((1, len(space.names))))[0], space.low)


def test_every_integer_has_the_same_share_of_its_axis() -> None:
    space = Space(EmaRsiAtr(), "7.1", width=0.15)
    unit = (np.arange(7000) + 0.5) / 7000
    fast = space.from_unit(np.tile(unit[:, None], (1, 5)))[:, 0]
    values, counts = np.unique(fast, return_counts=True)
    assert values.tolist() == [17, 18, 19, 20, 21, 22, 23]
    assert counts.tolist() == [1000] * 7


def test_overlapping_boxes_of_a_chain_leave_room_for_each_other() -> None:
    space = Space(EmaRsiAtr(ema_fast=20, ema_slow=22, ema_trend=24), "7.1", width=0.15, wide=True)
    # From 8, 8.8 and 9.6 to 50, 55 and 60, then cut: each at least one above the lowest of the one before.
    assert [boxes(space)[name] for name in INTEGERS[:3]] == [(8, 50), (9, 55), (10, 60)]
    points = np.tile(space.base, (4, 1))
    points[:, :3] = [[50, 9, 10], [30, 30, 30], [10, 40, 20], [8, 9, 10]]
    assert space.valid(points)[:, :3].tolist() == [[50, 51, 52], [30, 31, 32], [10, 40, 41], [8, 9, 10]]


def test_a_chain_link_that_is_not_searched_bounds_the_others() -> None:
    space = Space(EmaRsiAtr(), "7.1", width=0.15, wide=True, fixed=["ema_slow"])
    assert boxes(space)["ema_fast"] == (8, 49)  # 50 is the upper end of 2.5 times, and the slow EMA's period
    tight = Space(EmaRsiAtr(ema_fast=49), "7.1", width=0.15, wide=True, fixed=["ema_slow"])
    assert boxes(tight)["ema_fast"] == (20, 49)
    far = SPACES["own chain"]
    assert boxes(far)["near"] == (2, 7)  # 2 to 12.5 around 5, below 8
    assert boxes(far)["far"] == (9, 28)  # 4.4 to 27.5 around 11, above 8


def test_a_point_against_a_rule_of_the_strategy_is_pulled_towards_the_base() -> None:
    space = SPACES["own rule"]
    points = space.valid(np.array([[19.0, 19.0, 0.1], [14.0, 2.0, 0.5], [10.0, 10.0, 0.95]]))
    # Halfway from (19, 19) to (10, 10) is (14.5, 14.5), and so on: 11.125 rounds to 11, whose sum is 22.
    assert points[0].tolist() == [11.0, 11.0, pytest.approx(0.45)]
    # 14 * 0.5 is too much, 12 * 0.5 = 6 is not.
    assert points[1].tolist() == [12.0, 6.0, 0.5]
    # 10 * 0.95, 0.725, 0.6125: too much; 0.55625 is not.
    assert points[2].tolist() == [10.0, 10.0, pytest.approx(0.5563, abs=1e-4)]


def test_points_come_as_columns_as_values_and_as_strategies() -> None:
    space = Space(EmaRsiAtr(), "7.1", width=0.15)
    points = space.valid(np.array([[18.0, 45.0, 180.0, 12.0, 13.0], [23.0, 58.0, 230.0, 16.0, 16.0]]))
    columns = space.columns(points)
    assert {name: column.tolist() for name, column in columns.items()} == {
        "ema_fast": [18, 23], "ema_slow": [45, 58], "ema_trend": [180, 230], "rsi_period": [12, 16],
        "atr_period": [13, 16],
    }  # fmt: skip
    assert all(column.dtype == np.int64 for column in columns.values())
    assert space.values(points[0]) == dict(zip(INTEGERS, (18, 45, 180, 12, 13), strict=True))
    assert space.configured(points[0]) == EmaRsiAtr(
        ema_fast=18, ema_slow=45, ema_trend=180, rsi_period=12, atr_period=13
    )


def test_the_axis_of_a_grid_goes_through_the_base_by_whole_steps() -> None:
    space = Space(EmaRsiAtr(), "joint", width=0.15)
    assert dimension(space, "ema_fast").axis().tolist() == [17, 18, 19, 20, 21, 22, 23]
    assert dimension(space, "atr_sl_multiplier").axis().tolist() == pytest.approx([1.3, 1.4, 1.5, 1.6, 1.7])
    assert dimension(space, "hybrid_tier4_timeout").axis().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": {"ema_fats": (5, 10)}}, "ema_fats is not a parameter of EmaRsiAtr. Did you mean ema_fast?"),
        ({"fixed": ["ema_slwo"]}, "ema_slwo is not a parameter of EmaRsiAtr. Did you mean ema_slow?"),
        (
            {"ranges": {"ema_fast": (25, 40)}},
            "the range of ema_fast, 25 to 40, leaves out 20, which the search starts from.",
        ),
        ({"ranges": {"ema_fast": 30}}, "the range of ema_fast must be (low, high); got 30."),
        ({"ranges": {"ema_fast": (1, 2, 3)}}, "the range of ema_fast must be (low, high); got (1, 2, 3)."),
        ({"ranges": {"ema_fast": ("a", "b")}}, "the range of ema_fast must be (low, high); got ('a', 'b')."),
        (
            {"ranges": {"ema_fast": (40, 5)}},
            "the range of ema_fast must rise from a low to a high number; got (40, 5).",
        ),
        (
            {"ranges": {"ema_fast": (5, float("nan"))}},
            "the range of ema_fast must rise from a low to a high number; got (5, nan).",
        ),
        (
            {"ranges": {"ema_fast": (5, float("inf"))}},
            "the range of ema_fast must rise from a low to a high number; got (5, inf).",
        ),
        (
            {"ranges": {"trailing_sl_atr_multiplier": (1, 2)}},
            "trailing_sl_atr_multiplier is None, which is no number to search around.",
        ),
        ({"ranges": {"allow_long": (0, 1)}}, "allow_long is True, which is no number to search around."),
    ],
)  # fmt: skip
def test_a_wrong_box_is_refused_in_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Space(EmaRsiAtr(), "7.1", width=0.15, **options)
    assert caught.value.message == message
