"""The tests of all models at once against their definition, arch and another implementation, and on noise."""

import math
from typing import Any

import arch.bootstrap
import holdout.spa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError, DataError
from barwise.stats import reality_check
from barwise.stats.bootstrap import optimal_block, stationary_indices
from barwise.stats.reality_check import SPA, superior_predictive_ability


def noise(models: int, observations: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((models, observations)) * 0.01


def unequal(seed: int = 0) -> FloatArray:
    """A quiet model with an edge among wild ones without."""
    gains = noise(20, 500, seed) * np.linspace(1.0, 20.0, 20)[:, None]
    gains -= gains.mean(axis=1, keepdims=True)
    gains[0] += 0.15 * gains[0].std()
    return gains


def kernel_deviation(gains: FloatArray, block: float) -> float:
    """Hansen (2005), section 3.1, term by term."""
    size, q = gains.size, 1.0 / block
    centred = gains - gains.mean()
    variance = centred @ centred / size
    for lag in range(1, size):
        weight = (size - lag) / size * (1.0 - q) ** lag + lag / size * (1.0 - q) ** (size - lag)
        variance += 2.0 * weight * (centred[lag:] @ centred[: size - lag]) / size
    return math.sqrt(variance)


def by_definition(gains: FloatArray, block: float, resamples: int, seed: int) -> tuple[float, list[float], float]:
    """Statistic, Hansen's three p-values and White's, from the resampled gains themselves."""
    size = gains.shape[1]
    root = math.sqrt(size)
    means = gains.mean(axis=1)
    deviations = np.array([kernel_deviation(row, block) for row in gains])
    statistic = max(0.0, float((root * means / deviations).max()))
    kept = means >= -deviations * math.sqrt(2.0 * math.log(math.log(size)) / size)
    centres = (np.maximum(means, 0.0), np.where(kept, means, 0.0), means)
    counts, plain = [0, 0, 0], 0
    for drawn in stationary_indices(size, block, resamples, np.random.default_rng(seed)):
        resampled = gains[:, drawn].mean(axis=1)
        for which, centre in enumerate(centres):
            counts[which] += max(0.0, float((root * (resampled - centre) / deviations).max())) >= statistic
        plain += float((resampled - means).max()) >= float(means.max())
    return statistic, [(1 + count) / (resamples + 1) for count in counts], (1 + plain) / (resamples + 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(16, 80), st.floats(1.0, 20.0), st.floats(-0.5, 0.5))
def test_all_p_values_are_what_the_definition_says(
    seed: int, models: int, observations: int, block: float, edge: float
) -> None:
    gains = noise(models, observations, seed) + 0.01 * edge * np.arange(models)[:, None]
    found = superior_predictive_ability(gains, block=block, resamples=60, seed=seed)
    statistic, p_values, white = by_definition(gains, block, 60, seed)
    assert found.statistic == pytest.approx(statistic, abs=1e-9)
    # Where a resample equals the data, either side of a tie is right: at most one in 61.
    assert [found.p_lower, found.p_consistent, found.p_upper] == pytest.approx(p_values, abs=1.01 / 61)
    assert found.reality_check == pytest.approx(white, abs=1.01 / 61)
    assert found.p_lower <= found.p_consistent <= found.p_upper


def test_with_equal_volatilities_the_p_values_are_those_of_arch() -> None:
    """arch 8.0.0 does not studentise whatever it is told: it agrees only on columns standardised beforehand."""
    gains = noise(12, 400, seed=6)
    gains -= gains.mean(axis=1, keepdims=True)
    gains[3] += 0.0011
    gains[4] -= 0.01
    block = 4
    gains /= np.array([kernel_deviation(row, block) for row in gains])[:, None]
    theirs: Any = arch.bootstrap.SPA(np.zeros(400), -gains.T, block_size=block, reps=5000, seed=1)
    theirs.compute()
    ours = superior_predictive_ability(gains, block=block, resamples=5000, seed=2)
    assert 0.02 < ours.p_consistent < 0.5
    for name, p_value in (("lower", ours.p_lower), ("consistent", ours.p_consistent), ("upper", ours.p_upper)):
        assert p_value == pytest.approx(theirs.pvalues[name], abs=0.03)
    assert ours.reality_check == pytest.approx(ours.p_upper, abs=1e-3)


def test_whites_p_value_is_the_upper_one_of_arch_on_columns_as_they_are() -> None:
    gains = unequal()
    theirs: Any = arch.bootstrap.SPA(np.zeros(500), -gains.T, block_size=3, reps=4000, seed=1)
    theirs.compute()
    ours = superior_predictive_ability(gains, block=3.0, resamples=4000, seed=2)
    assert ours.reality_check == pytest.approx(theirs.pvalues["upper"], abs=0.03)


def test_studentising_finds_the_quiet_model_that_the_wild_ones_hide() -> None:
    """The mistake of arch 8.0.0, whose p-value here is that of the reality check."""
    found = superior_predictive_ability(unequal(), block=3.0, resamples=2000)
    assert found.p_consistent < 0.05
    assert found.reality_check > 0.5
    assert found.best == 0


def test_p_values_agree_with_another_implementation() -> None:
    gains = unequal(seed=4) + noise(1, 500, seed=9)
    theirs = holdout.spa.superior_predictive_ability(gains.T, n_bootstrap=4000, block_length=4.0, seed=1)
    ours = superior_predictive_ability(gains, block=4.0, resamples=4000, seed=2)
    # Theirs has the deviation of the resamples, ours its closed form.
    assert ours.statistic == pytest.approx(theirs.statistic, rel=0.03)
    for name, p_value in (("lower", ours.p_lower), ("consistent", ours.p_consistent), ("upper", ours.p_upper)):
        assert p_value == pytest.approx(getattr(theirs, name), abs=0.03)


@pytest.mark.parametrize("block", [1.0, 2.5, 15.0, 1000.0])
def test_the_deviation_is_the_kernel_sum_and_that_of_resampled_means(block: float) -> None:
    gains = np.cumsum(noise(4, 150, seed=2), axis=1) * 0.1 + noise(4, 150, seed=3)
    found = reality_check._bootstrap_deviations(gains, gains.mean(axis=1), block)
    assert found == pytest.approx([kernel_deviation(row, block) for row in gains], rel=1e-6)
    if block < 100.0:
        drawn = stationary_indices(150, block, 4000, np.random.default_rng(0))
        resampled = [math.sqrt(150) * row[drawn].mean(axis=1).std() for row in gains]
        assert found == pytest.approx(resampled, rel=0.06)


def test_on_models_fixed_beforehand_without_an_edge_it_is_wrong_no_more_often_than_it_says() -> None:
    found = [
        superior_predictive_ability(noise(15, 400, seed), block=1.0, resamples=199, seed=seed) for seed in range(300)
    ]
    assert np.mean([spa.p_consistent <= 0.05 for spa in found]) <= 0.085
    assert np.mean([spa.reality_check <= 0.05 for spa in found]) <= 0.085
    assert np.mean([spa.p_consistent <= 0.5 for spa in found]) > 0.35


def test_hopeless_models_do_not_hide_a_good_one() -> None:
    gains = noise(60, 300, seed=1)
    gains[0] += 0.002
    gains[1:] -= 0.005
    found = superior_predictive_ability(gains, block=1.0, resamples=1000)
    assert found.p_consistent < 0.05
    assert found.p_upper > 0.5


def test_where_no_model_gains_nothing_is_proven() -> None:
    gains = noise(5, 100)
    gains -= gains.mean(axis=1, keepdims=True) + 0.001
    found = superior_predictive_ability(gains, block=2.0, resamples=100)
    assert found.statistic == 0.0
    assert (found.p_lower, found.p_consistent, found.p_upper) == (1.0, 1.0, 1.0)


def test_models_that_never_vary_are_left_out_and_rows_keep_their_numbers() -> None:
    gains = noise(3, 100)
    gains[2] += 0.01
    padded = np.zeros((6, 100))
    padded[[1, 3, 5]] = gains
    found, alone = (superior_predictive_ability(part, block=2.0, resamples=200) for part in (padded, gains))
    assert (found.models, found.left_out, found.best) == (3, 3, 5)
    assert (found.p_consistent, found.reality_check) == (alone.p_consistent, alone.reality_check)


def test_the_seed_decides_and_chunks_of_models_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = noise(30, 200, seed=5)

    def p_values(seed: int) -> tuple[float, ...]:
        found: SPA = superior_predictive_ability(gains, block=2.0, resamples=300, seed=seed)
        return found.p_lower, found.p_consistent, found.p_upper, found.reality_check

    first = p_values(1)
    assert p_values(1) == first
    assert p_values(2) != first
    monkeypatch.setattr(reality_check, "_MODELS", 7)
    monkeypatch.setattr(reality_check, "_TRANSFORMED", 1000)
    assert p_values(1) == first
    assert superior_predictive_ability(gains.astype(np.float32), block=2.0, resamples=300, seed=1).p_consistent == (
        pytest.approx(first[1], abs=0.01)
    )


def test_without_a_block_the_median_of_the_models_is_used() -> None:
    gains = noise(5, 300)
    expected = np.median([optimal_block(row).stationary for row in gains])
    assert superior_predictive_ability(gains, resamples=50).block == expected


def test_what_cannot_be_tested_is_refused_with_a_sentence() -> None:
    with pytest.raises(DataError, match="none of the 3 models has a gain that varies"):
        superior_predictive_ability(np.full((3, 50), 0.001))
    with pytest.raises(DataError, match="at least 16 observations are needed; got 15"):
        superior_predictive_ability(noise(3, 15))
    with pytest.raises(ConfigError, match=r"at least 1 observation; got 0\.2"):
        superior_predictive_ability(noise(3, 50), block=0.2)
    with pytest.raises(ConfigError, match="resamples is a number of at least 1; got 0"):
        superior_predictive_ability(noise(3, 50), resamples=0)
