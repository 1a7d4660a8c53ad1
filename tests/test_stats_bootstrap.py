"""Resampling: blocks as they are published, indices with the right law, intervals that cover what they say."""

import math
from typing import Any

import arch.bootstrap
import holdout.bootstrap
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError, DataError
from barwise.stats import bootstrap
from barwise.stats.bootstrap import (
    bootstrap_interval,
    bootstrap_intervals,
    cagr,
    max_drawdown,
    optimal_block,
    sharpe,
    sharpe_annual,
    stationary_indices,
    total_return,
)


def autoregressive(rho: float, length: int, seed: int = 0) -> FloatArray:
    shocks = np.random.default_rng(seed).standard_normal(length + 100)
    found = np.zeros(length + 100)
    for place in range(1, length + 100):
        found[place] = rho * found[place - 1] + shocks[place]
    return found[100:]


# -- Block length ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.3, 0.8, 0.97])
@pytest.mark.parametrize("length", [60, 500, 3000])
def test_the_block_is_that_of_another_implementation(rho: float, length: int) -> None:
    returns = autoregressive(rho, length)
    assert optimal_block(returns).stationary == pytest.approx(holdout.bootstrap.optimal_block_length(returns))


@pytest.mark.parametrize("rho", [-0.5, 0.3, 0.8])
def test_the_block_is_that_of_arch_but_for_one_lag(rho: float) -> None:
    """arch takes the first of the insignificant lags for m, Politis & White the lag before it."""
    returns = autoregressive(rho, 2000, seed=3)
    centred = returns - returns.mean()
    covariances = np.array([centred[lag:] @ centred[: 2000 - lag] / 2000 for lag in range(51)])
    theirs = arch.bootstrap.optimal_block_length(returns)
    bandwidth = bootstrap._bandwidth(covariances, 2000, 5)
    shifted = bootstrap._block_of(covariances, bandwidth + 2, 2000)
    assert shifted.stationary == pytest.approx(theirs["stationary"].iloc[0])
    assert shifted.circular == pytest.approx(theirs["circular"].iloc[0])
    assert optimal_block(returns) == pytest.approx(bootstrap._block_of(covariances, bandwidth, 2000))


def test_with_the_autocovariances_of_an_ar1_the_block_is_the_closed_form() -> None:
    """b = (2 G^2 / D)^(1/3) n^(1/3) with G = 2 rho / (1 - rho)^2 and g = (1 + rho) / (1 - rho) in units of g(0)."""
    rho, size = 0.5, 100_000
    slope, level = 2.0 * rho / (1.0 - rho) ** 2, (1.0 + rho) / (1.0 - rho)
    found = bootstrap._block_of(rho ** np.arange(300.0), 200, size)
    assert found.stationary == pytest.approx((slope**2 / level**2 * size) ** (1 / 3))
    assert found.circular == pytest.approx((1.5 * slope**2 / level**2 * size) ** (1 / 3))


def test_more_dependence_asks_for_longer_blocks_and_none_for_nearly_none() -> None:
    found = [optimal_block(autoregressive(rho, 5000)).stationary for rho in (0.0, 0.3, 0.6, 0.9)]
    assert found == sorted(found)
    assert found[0] < 5.0
    assert found[-1] > 30.0


def test_the_block_stays_between_one_and_its_limit() -> None:
    assert optimal_block(np.full(100, 0.001)) == (1.0, 1.0)
    assert optimal_block(np.zeros(100)) == (1.0, 1.0)
    # No variance in the long run: no block is long enough.
    assert bootstrap._block_of(np.array([1.0, -0.5, 0.0]), 2, 100) == (30.0, 30.0)
    assert optimal_block(np.linspace(0.0, 1.0, 900)).stationary <= 90.0
    for seed in range(50):
        short = optimal_block(autoregressive(0.9, 16, seed))
        assert 1.0 <= short.stationary <= 6.0
        assert 1.0 <= short.circular <= 6.0


@settings(deadline=None)
@given(st.floats(0.001, 1000.0), st.floats(-5.0, 5.0))
def test_scale_and_level_of_the_returns_do_not_change_the_block(scale: float, level: float) -> None:
    returns = autoregressive(0.4, 200)
    assert optimal_block(returns * scale + level) == pytest.approx(optimal_block(returns), rel=1e-6)


# -- Indices -----------------------------------------------------------------------------------------------------------


def test_blocks_have_the_mean_length_asked_for_and_start_anywhere() -> None:
    drawn = stationary_indices(500, 8.0, 400, np.random.default_rng(0))
    assert drawn.shape == (400, 500)
    steps = (drawn[:, 1:] - drawn[:, :-1]) % 500
    # A new block begins with probability 1/8, and then goes on by chance in one of 500 cases.
    assert np.mean(steps != 1) == pytest.approx(1.0 / 8.0 * 499.0 / 500.0, rel=0.01)
    assert scipy.stats.chisquare(np.bincount(drawn[:, 0], minlength=500)).pvalue > 0.001
    assert scipy.stats.chisquare(np.bincount(drawn[:, 250], minlength=500)).pvalue > 0.001


def test_block_lengths_are_geometric() -> None:
    drawn = stationary_indices(20_000, 5.0, 1, np.random.default_rng(1))[0]
    breaks = np.flatnonzero(np.diff(drawn) % 20_000 != 1)
    lengths = np.diff(breaks)
    counts = np.array([*(np.count_nonzero(lengths == n) for n in range(1, 15)), np.count_nonzero(lengths >= 15)])
    law = np.array([*(0.2 * 0.8 ** (n - 1) for n in range(1, 15)), 0.8**14])
    assert scipy.stats.chisquare(counts, law * lengths.size).pvalue > 0.001


def test_a_block_of_one_draws_each_observation_on_its_own() -> None:
    drawn = stationary_indices(1000, 1.0, 50, np.random.default_rng(2))
    assert np.mean((drawn[:, 1:] - drawn[:, :-1]) % 1000 == 1) < 0.003


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(1.0, 100.0), st.integers(1, 10), st.integers(0, 1000))
def test_indices_stay_inside_and_repeat_by_seed(observations: int, block: float, resamples: int, seed: int) -> None:
    drawn = stationary_indices(observations, block, resamples, np.random.default_rng(seed))
    assert drawn.shape == (resamples, observations)
    assert drawn.min() >= 0
    assert drawn.max() < observations
    assert (drawn == stationary_indices(observations, block, resamples, np.random.default_rng(seed))).all()


def test_resampled_means_vary_as_those_of_arch() -> None:
    returns = autoregressive(0.6, 300)
    drawn = stationary_indices(300, 12.0, 4000, np.random.default_rng(3))
    ours = returns[drawn].mean(axis=1)
    sampler: Any = arch.bootstrap.StationaryBootstrap(12, returns, seed=4)
    theirs = sampler.apply(np.mean, 4000).ravel()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    assert scipy.stats.ks_2samp(ours, theirs).pvalue > 0.001
    # And more than if the dependence were lost.
    assert ours.std() > 1.3 * returns.std() / math.sqrt(300)


# -- Statistics --------------------------------------------------------------------------------------------------------


def test_statistics_of_paths_by_hand() -> None:
    paths = np.array([[0.1, -0.5, 0.2], [0.0, 0.0, 0.0], [0.1, -1.5, 0.3], [0.1, 0.1, 0.1]])
    assert total_return(paths) == pytest.approx([-34.0, 0.0, -100.0, 33.1])
    assert cagr(3.0)(paths) == pytest.approx([100.0 * (0.66 ** (1 / 3) - 1.0), 0.0, -100.0, 10.0])
    assert max_drawdown(paths) == pytest.approx([50.0, 0.0, 100.0, 0.0])
    assert max_drawdown(np.array([[-0.2, 0.1]])) == pytest.approx([20.0])
    expected = np.mean([0.1, -0.5, 0.2]) / np.std([0.1, -0.5, 0.2], ddof=1)
    assert sharpe(paths)[[0, 1, 3]] == pytest.approx([expected, 0.0, 0.0])
    assert sharpe_annual(4.0)(paths)[0] == pytest.approx(2.0 * expected)


# -- Intervals ---------------------------------------------------------------------------------------------------------


def test_an_interval_is_the_percentiles_of_its_samples_and_repeats_by_seed() -> None:
    returns = autoregressive(0.2, 250) * 0.01
    found = bootstrap_interval(returns, sharpe, block=5.0, resamples=400, confidence=0.9, seed=7)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(found.samples, [0.05, 0.95])))
    assert found.estimate == pytest.approx(returns.mean() / returns.std(ddof=1))
    again = bootstrap_interval(returns, sharpe, block=5.0, resamples=400, confidence=0.9, seed=7)
    assert again.samples.tolist() == found.samples.tolist()
    other = bootstrap_interval(returns, sharpe, block=5.0, resamples=400, confidence=0.9, seed=8)
    assert other.samples.tolist() != found.samples.tolist()


def test_without_a_block_the_optimal_one_is_used() -> None:
    returns = autoregressive(0.7, 400)
    assert bootstrap_interval(returns, sharpe, resamples=10).block == optimal_block(returns).stationary


def test_all_statistics_are_of_the_same_histories() -> None:
    returns = autoregressive(0.0, 200) * 0.01
    several = bootstrap_intervals(
        returns, {"sharpe": sharpe, "total_return": total_return, "cagr": cagr(1.0)}, block=3.0, resamples=300, seed=1
    )
    alone = bootstrap_interval(returns, sharpe, block=3.0, resamples=300, seed=1)
    assert several["sharpe"].samples.tolist() == alone.samples.tolist()
    assert several["cagr"].samples == pytest.approx(several["total_return"].samples)
    loss = several["total_return"].share_below(0.0)
    assert loss == np.mean(several["cagr"].samples < 0.0)
    assert 0.0 < loss < 1.0


def test_memory_does_not_grow_with_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", 1000)
    largest = 0

    def watching(paths: FloatArray) -> FloatArray:
        nonlocal largest
        largest = max(largest, paths.size)
        return sharpe(paths)

    found = bootstrap_interval(autoregressive(0.0, 300), watching, block=2.0, resamples=50)
    assert largest == 900
    assert found.samples.size == 50


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(10)
    covered = 0
    for seed in range(300):
        found = bootstrap_interval(
            0.1 + random.standard_normal(200), sharpe, block=1.0, resamples=300, confidence=0.9, seed=seed
        )
        covered += found.low <= 0.1 <= found.high
    assert 0.85 < covered / 300 < 0.94


def test_blocks_keep_the_interval_honest_where_returns_depend_on_each_other() -> None:
    covered = {"blocks": 0, "single": 0}
    for seed in range(150):
        returns = autoregressive(0.6, 300, seed)
        for name, block in (("blocks", None), ("single", 1.0)):
            found = bootstrap_interval(returns, sharpe, block=block, resamples=200, confidence=0.9, seed=seed)
            covered[name] += found.low <= 0.0 <= found.high
    assert covered["single"] / 150 < 0.72
    assert covered["blocks"] / 150 > 0.8


def test_what_cannot_be_resampled_is_refused_with_a_sentence() -> None:
    returns = autoregressive(0.0, 50)
    with pytest.raises(ConfigError, match=r"at least 1 observation; got 0\.5"):
        bootstrap_interval(returns, sharpe, block=0.5)
    with pytest.raises(ConfigError, match="resamples is a number of at least 1; got 0"):
        bootstrap_interval(returns, sharpe, resamples=0)
    with pytest.raises(ConfigError, match=r"share between 0 and 1; got 1\.0"):
        bootstrap_interval(returns, sharpe, confidence=1.0)
    with pytest.raises(DataError, match="at least 16 returns are needed; got 15"):
        optimal_block(returns[:15])
    with pytest.raises(DataError, match="at least one observation; got 0"):
        stationary_indices(0, 2.0, 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="the statistic odd gave no number in 20 of 20 resamples"):
        bootstrap_intervals(returns, {"odd": lambda paths: np.full(len(paths), math.nan)}, resamples=20)
