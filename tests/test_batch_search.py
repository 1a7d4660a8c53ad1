"""AUTO stays in its box, reaches all of it, repeats itself for a seed, and does better than drawing."""

from typing import Any

import numpy as np
import pytest

from barwise.config import Float, Int
from barwise.core.layout import FloatArray
from barwise.optimizer.batch_search import BatchSearch
from barwise.optimizer.sampler import Sampler, Told
from barwise.optimizer.samplers import open_sampler
from barwise.optimizer.space import Space
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

RULES = (
    "atr_sl_multiplier", "atr_tp_multiplier", "trailing_sl_threshold", "trailing_tp_threshold",
    "trailing_tp_atr_multiplier", *(f"hybrid_tier{tier}_timeout" for tier in (1, 2, 3, 4)),
)  # fmt: skip


class Numbers(Strategy):
    few: int = Int(2, low=1, high=3)
    many: int = Int(50, low=1, high=100)
    one: float = Float(0.5, low=0.0, high=1.0)
    two: float = Float(0.5, low=0.0, high=1.0)


RANGES = {"few": (1.0, 3.0), "many": (1.0, 100.0), "one": (0.0, 1.0), "two": (0.0, 1.0)}


def space_of(*names: str) -> Space:
    fixed = [name for name in RANGES if name not in names]
    ranges = {name: span for name, span in RANGES.items() if name in names}
    return Space(Numbers(), "joint", width=0.1, ranges=ranges, fixed=(*RULES, *fixed))


def told(points: FloatArray, values: FloatArray, complete: Any = None, violation: Any = None) -> Told:
    size = len(points)
    return Told(
        points,
        values.reshape(size, 1),
        np.zeros(size) if violation is None else violation,
        values.reshape(size, 1),
        np.ones(size, dtype=bool) if complete is None else complete,
    )


def quadratic(space: Space, points: FloatArray, at: FloatArray) -> FloatArray:
    """Minus the squared distance in the unit cube."""
    unit = (points - space.low) / (space.high - space.low)
    distance: FloatArray = ((unit - at) ** 2).sum(axis=1)
    return -distance


def search(sampler: Sampler, space: Space, trials: int, at: FloatArray) -> tuple[list[FloatArray], float]:
    """Batches of points, and the best value found."""
    batches: list[FloatArray] = []
    best, done = -np.inf, 0
    while done < trials:
        asked = sampler.ask(min(trials - done, sampler.batch))
        if not len(asked):
            break
        values = quadratic(space, asked, at)
        best, done = max(best, float(values.max())), done + len(asked)
        sampler.tell(told(asked, values))
        batches.append(asked)
    return batches, best


@pytest.mark.parametrize("seed", range(5))
def test_every_proposal_lies_in_the_box_and_integers_are_whole(seed: int) -> None:
    space = space_of("few", "many", "one", "two")
    batches, _ = search(BatchSearch(space, seed, 600), space, 600, np.array([0.0, 1.0, 0.0, 1.0]))
    points = np.concatenate(batches)
    assert len(points) == 600
    assert (points >= space.low).all()
    assert (points <= space.high).all()
    assert (points[:, :2] == np.round(points[:, :2])).all()


@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_integers_reach_both_ends_of_their_axis_and_real_values_come_close_to_theirs(corner: float) -> None:
    space = space_of("few", "many", "one", "two")
    batches, _ = search(BatchSearch(space, 1, 1500), space, 1500, np.full(4, corner))
    points = np.concatenate(batches)
    end = space.high if corner else space.low
    assert (points[:, 0] == end[0]).any()
    assert (points[:, 1] == end[1]).any()
    assert np.abs(points[:, 2:] - end[2:]).min(axis=0).max() < 0.005
    # The start alone sees every value of a short axis, and both halves of a long one.
    assert set(batches[0][:, 0]) == {1.0, 2.0, 3.0}


def test_every_integer_is_as_likely_as_any_other_at_the_start() -> None:
    space = space_of("few", "many", "one")
    start = BatchSearch(space, 3, 3072).ask(1024)
    counts = np.bincount(start[:, 0].astype(int), minlength=4)[1:]
    assert (np.abs(counts - 1024 / 3) <= 2).all()
    counts = np.bincount(start[:, 1].astype(int), minlength=101)[1:]
    assert counts.min() >= 9
    assert counts.max() <= 12


@pytest.mark.parametrize("trials", [9, 10, 27, 500])
def test_a_box_with_no_more_points_than_trials_is_tried_point_by_point(trials: int) -> None:
    strategy = EmaRsiAtr(
        hybrid_tier1_timeout=3, hybrid_tier2_timeout=3, hybrid_tier3_timeout=3, enable_hybrid_tier4=False
    )
    fixed = ("hybrid_tier3_timeout",) if trials < 27 else ()
    space = Space(strategy, "7.3", width=0.1, fixed=fixed)
    cells = 3 ** len(space.names)
    search_all = BatchSearch(space, 0, trials)
    asked = search_all.ask(search_all.batch)
    assert len(asked) == cells
    assert {tuple(point) for point in asked} == {
        tuple(point)
        for point in np.stack(np.meshgrid(*[[2.0, 3.0, 4.0]] * len(space.names)), -1).reshape(-1, len(space.names))
    }
    search_all.tell(told(asked, np.arange(cells, dtype=float)))
    assert len(search_all.ask(search_all.batch)) == 0


def test_a_box_with_one_point_more_than_trials_is_searched() -> None:
    strategy = EmaRsiAtr(hybrid_tier1_timeout=3, enable_hybrid_tier4=False)
    space = Space(strategy, "7.3", width=0.1, fixed=("hybrid_tier2_timeout", "hybrid_tier3_timeout"))
    assert BatchSearch(space, 0, 3).batch == 3
    assert BatchSearch(space, 0, 2).batch == 1


def test_a_real_axis_has_no_last_point() -> None:
    space = space_of("one")
    batches, best = search(BatchSearch(space, 0, 60), space, 60, np.array([0.3]))
    assert sum(map(len, batches)) == 60
    assert best > -(0.02**2)


def test_batches_add_up_to_the_trials_and_the_start_is_a_third_of_them() -> None:
    space = space_of("many", "one")
    for trials in (1, 2, 3, 7, 50, 500):
        batches, _ = search(BatchSearch(space, 0, trials), space, trials, np.array([0.5, 0.5]))
        sizes = [len(batch) for batch in batches]
        assert sum(sizes) == trials
        assert sizes[0] == max(1, round(trials / 3))
        assert len(sizes) <= 7


def test_a_seed_gives_the_same_points_and_another_seed_others() -> None:
    space, at = space_of("many", "one", "two"), np.array([0.2, 0.7, 0.4])
    first, again, other = (search(BatchSearch(space, seed, 300), space, 300, at)[0] for seed in (5, 5, 6))
    for one, two in zip(first, again, strict=True):
        assert one.tobytes() == two.tobytes()
    assert np.concatenate(first).tobytes() != np.concatenate(other).tobytes()


@pytest.mark.parametrize("dimensions", [("one", "two"), ("few", "many", "one", "two")])
def test_it_steers_much_closer_to_an_optimum_than_random_search(dimensions: tuple[str, ...]) -> None:
    space = space_of(*dimensions)
    wins, ratios = 0, []
    for seed in range(20):
        at = np.random.default_rng(100 + seed).random(len(dimensions))
        if "few" in dimensions:
            at[0] = seed % 3 / 2  # an integer of three values comes no closer to anything else
        _, mine = search(BatchSearch(space, seed, 400), space, 400, at)
        _, drawn = search(open_sampler("RANDOM", space, seed, 1, 400), space, 400, at)
        wins += mine > drawn
        ratios.append(np.sqrt(mine / drawn))
    assert wins >= 18
    # In the middle of the seeds it comes at least three times as close to the optimum.
    assert np.median(ratios) < 1 / 3


def test_points_that_were_given_up_or_have_no_value_are_no_parents() -> None:
    """The best values told are those of points that must not count; the search goes where the honest ones are."""
    space = space_of("one", "two")
    sampler = BatchSearch(space, 2, 300)
    points = sampler.ask(sampler.batch)
    near = points[:, 0] < 0.5
    sampler.tell(told(points, np.where(near, 100.0, points[:, 0]), complete=~near))
    children = sampler.ask(50)
    assert (children[:45, 0] > 0.5).mean() > 0.8

    sampler = BatchSearch(space, 2, 300)
    points = sampler.ask(sampler.batch)
    near = points[:, 0] < 0.5
    sampler.tell(told(points, np.where(near, np.nan, points[:, 0])))
    children = sampler.ask(50)
    assert (children[:45, 0] > 0.5).mean() > 0.8


def test_a_kept_guard_beats_any_value() -> None:
    space = space_of("one", "two")
    sampler = BatchSearch(space, 2, 300)
    points = sampler.ask(sampler.batch)
    near = points[:, 0] < 0.5
    sampler.tell(told(points, np.where(near, 100.0, -1.0), violation=np.where(near, 0.01, 0.0)))
    assert (sampler.ask(50)[:45, 0] > 0.5).mean() > 0.8


def test_a_search_that_learns_nothing_goes_on_drawing() -> None:
    space = space_of("one", "two")
    sampler = BatchSearch(space, 2, 60)
    seen = []
    for _ in range(4):
        points = sampler.ask(10)
        sampler.tell(told(points, np.full(10, np.nan)))
        seen.append(points)
    assert len(np.unique(np.concatenate(seen), axis=0)) == 40
