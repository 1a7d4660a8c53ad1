"""Combinatorial purged cross-validation: several out-of-sample histories from one.

Walking forward tests one path through the data. Cutting them into groups and testing on every choice of some of them
gives each group several times out of sample, each time with parameters chosen elsewhere, and those pieces make several
full paths: a distribution of the out-of-sample Sharpe ratio and not a single draw.

Indicators are computed on the full series as they are causal; only what is scored is masked.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barwise.core.layout import BoolArray, IntArray
from barwise.errors import ConfigError, DataError

MOST_SPLITS = 5000


@dataclass(frozen=True, eq=False)
class PurgedSplits:
    """Every choice of test groups, in lexicographic order.

    Attributes:
        train, test: bool [splits, observations]; neither where purged or embargoed.
        chosen: int64 [splits, test_groups], the groups of each test.
        edges: int64 [groups + 1], first observation of each group and one past the last.
    """

    train: BoolArray
    test: BoolArray
    chosen: IntArray
    edges: IntArray

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.edges) - 1

    @property
    def path_splits(self) -> IntArray:
        """Which split each group of each path comes from, int64 [paths, groups].

        A group's first appearance in a test goes to path 0, its second to path 1, and so on.
        """
        return np.array([np.flatnonzero((self.chosen == group).any(axis=1)) for group in range(self.groups)]).T


def purged_splits(
    observations: int, groups: int = 6, test_groups: int = 2, purge: int = 0, embargo: int = 0
) -> PurgedSplits:
    """Train and test masks of combinatorial purged cross-validation.

    Args:
        observations: Number of bars.
        groups: Number N of contiguous groups; the first ones are one bar longer where they do not divide.
        test_groups: Number k of groups in a test, 1 .. N - 1.
        purge: Bars of training left out on both sides of a test: the longest time a trade is held, so that no trade
            touches both.
        embargo: Bars left out after a test in addition to the purge: what an indicator remembers.

    Returns:
        C(N, k) splits that make C(N, k) k / N paths.

    Raises:
        ConfigError: Numbers out of range, more than 5,000 splits, or a split without any training.
        DataError: Fewer bars than groups.

    Source:
        Lopez de Prado (2018), Advances in Financial Machine Learning, chapters 7.4 and 12.3.
    """
    if groups < 2:
        raise ConfigError(f"groups is a number of at least 2; got {groups}.")
    if not 1 <= test_groups < groups:
        raise ConfigError(f"test_groups is between 1 and {groups - 1} with {groups} groups; got {test_groups}.")
    for name, bars in (("purge", purge), ("embargo", embargo)):
        if bars < 0:
            raise ConfigError(f"{name} is a number of bars, 0 or more; got {bars}.")
    if observations < groups:
        raise DataError(f"{groups} groups need as many observations; got {observations}.", hint="use a longer span.")
    count = math.comb(groups, test_groups)
    if count > MOST_SPLITS:
        raise ConfigError(
            f"{test_groups} of {groups} groups make {count:,} splits; up to {MOST_SPLITS:,} are allowed.",
            hint="use fewer groups; 6 and 2 make 15 splits.",
        )
    sizes = np.full(groups, observations // groups)
    sizes[: observations % groups] += 1
    edges = np.concatenate([[0], np.cumsum(sizes)])
    chosen = np.array(list(itertools.combinations(range(groups), test_groups)), dtype=np.int64)
    test = np.zeros((count, observations), np.bool_)
    train = np.ones((count, observations), np.bool_)
    for split, picked in enumerate(chosen):
        for group in picked:
            first, stop = edges[group], edges[group + 1]
            test[split, first:stop] = True
            train[split, max(0, first - purge) : stop + purge + embargo] = False
    bare = np.flatnonzero(~train.any(axis=1))
    if bare.size:
        raise ConfigError(
            f"a purge of {purge} and an embargo of {embargo} bars leave nothing to train on in {bare.size} of {count} "
            f"splits of {observations} bars.",
            hint="use fewer groups, a shorter purge or a longer span.",
        )
    return PurgedSplits(train, test, chosen, edges)


def paths(splits: PurgedSplits, out_of_sample: ArrayLike) -> NDArray[Any]:
    """Put the tested pieces of all splits together to full histories.

    Args:
        splits: From `purged_splits`.
        out_of_sample: [splits, observations], what each split's choice did; only its tested bars are read.

    Returns:
        [C(N, k) k / N, observations], every bar of it out of sample.

    Raises:
        DataError: Another shape than that of the splits.
    """
    values = np.asarray(out_of_sample)
    if values.shape != splits.test.shape:
        raise DataError(
            f"one row per split and one column per observation are needed, {splits.test.shape}; got {values.shape}."
        )
    sources = splits.path_splits
    group_of = np.repeat(np.arange(splits.groups), np.diff(splits.edges))
    assembled: NDArray[Any] = values[sources[:, group_of], np.arange(values.shape[1])]
    return assembled
