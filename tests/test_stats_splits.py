"""Combinatorial purged splits: counts, paths, no contact between train and test, and skfolio's own."""

import math
from typing import Any

import numpy as np
import pytest
import skfolio.model_selection
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from barwise.errors import ConfigError, DataError
from barwise.stats.splits import paths, purged_splits


@pytest.mark.parametrize(
    ("groups", "test_groups", "splits", "n_paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (5, 1, 5, 1), (8, 4, 70, 35)]
)
def test_the_numbers_of_splits_and_paths_are_those_of_the_book(
    groups: int, test_groups: int, splits: int, n_paths: int
) -> None:
    found = purged_splits(240, groups, test_groups)
    assert len(found) == found.train.shape[0] == splits
    assert found.path_splits.shape == (n_paths, groups)
    assert paths(found, np.zeros((splits, 240))).shape == (n_paths, 240)


@pytest.mark.parametrize(
    ("groups", "test_groups", "purge", "embargo"), [(6, 2, 0, 0), (6, 2, 3, 0), (6, 3, 2, 4), (10, 8, 1, 0)]
)
def test_splits_and_paths_are_those_of_skfolio(groups: int, test_groups: int, purge: int, embargo: int) -> None:
    """With a length that divides: what is left over skfolio puts into the last group and we into the first ones."""
    length = groups * 20
    theirs = skfolio.model_selection.CombinatorialPurgedCV(
        n_folds=groups, n_test_folds=test_groups, purged_size=purge, embargo_size=embargo
    )
    ours = purged_splits(length, groups, test_groups, purge, embargo)
    for split, (train, tests) in enumerate(theirs.split(np.zeros((length, 1)))):
        assert np.flatnonzero(ours.train[split]).tolist() == train.tolist()
        assert np.flatnonzero(ours.test[split]).tolist() == np.concatenate(tests).tolist()
    assert ours.path_splits.T.tolist() == theirs.recombined_paths.tolist()


def test_what_does_not_divide_makes_the_first_groups_longer() -> None:
    assert purged_splits(11, 3, 1).edges.tolist() == [0, 4, 8, 11]


def test_a_small_case_by_hand() -> None:
    found = purged_splits(9, 3, 1, purge=1, embargo=1)
    rows = ["".join("T" if t else "." if tr else "x" for t, tr in zip(*two, strict=True)) for two in zip(
        found.test, found.train, strict=True
    )]  # fmt: skip
    assert rows == ["TTTxx....", "..xTTTxx.", ".....xTTT"]


@settings(deadline=None)
@given(st.integers(20, 120), st.integers(2, 7), st.data())
def test_no_train_bar_touches_a_test_and_every_bar_is_tested_equally_often(
    observations: int, groups: int, data: Any
) -> None:
    test_groups = data.draw(st.integers(1, groups - 1))
    purge, embargo = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))
    try:
        found = purged_splits(observations, groups, test_groups, purge, embargo)
    except ConfigError:
        assume(False)
        return
    bars = np.arange(observations)
    for train, test in zip(found.train, found.test, strict=True):
        tested = np.flatnonzero(test)
        gap = bars[:, None] - tested[None, :]
        touched = ((gap >= -purge) & (gap <= purge + embargo)).any(axis=1)
        assert (train == ~touched).all()
    assert (found.test.sum(axis=0) == math.comb(groups - 1, test_groups - 1)).all()


@settings(deadline=None)
@given(st.integers(7, 60), st.integers(2, 7), st.data())
def test_every_path_covers_every_bar_once_and_only_with_tested_values(
    observations: int, groups: int, data: Any
) -> None:
    found = purged_splits(observations, groups, data.draw(st.integers(1, groups - 1)))
    labels = np.arange(len(found))[:, None] * 1000 + np.arange(observations)
    marked = np.where(found.test, labels, -1)
    assembled = paths(found, marked)
    assert (assembled >= 0).all()
    assert (assembled % 1000 == np.arange(observations)).all()
    # Together the paths use each tested value exactly once.
    assert sorted(assembled.ravel()) == sorted(marked[found.test])


def test_what_cannot_be_split_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match="groups is a number of at least 2; got 1"):
        purged_splits(100, 1, 1)
    with pytest.raises(ConfigError, match="between 1 and 5 with 6 groups; got 6"):
        purged_splits(100, 6, 6)
    with pytest.raises(ConfigError, match="purge is a number of bars, 0 or more; got -1"):
        purged_splits(100, purge=-1)
    with pytest.raises(ConfigError, match="embargo is a number of bars, 0 or more; got -2"):
        purged_splits(100, embargo=-2)
    with pytest.raises(DataError, match="6 groups need as many observations; got 5"):
        purged_splits(5)
    with pytest.raises(ConfigError, match="184,756 splits"):
        purged_splits(1000, 20, 10)
    with pytest.raises(ConfigError, match="leave nothing to train on in 1 of 3 splits of 30 bars"):
        purged_splits(30, 3, 1, purge=10)
    with pytest.raises(DataError, match=r"\(15, 60\); got \(15, 59\)"):
        paths(purged_splits(60), np.zeros((15, 59)))
