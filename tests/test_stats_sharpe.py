"""Published examples to the printed digits, the limits each formula must have, and the mistakes of public tools."""

import math
from collections.abc import Callable
from typing import Any

import holdout.deflated
import holdout.sharpe
import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.multitest
import statsmodels.stats.proportion
import statsmodels.tsa.stattools
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError, DataError
from barwise.stats import sharpe
from barwise.stats.sharpe import (
    Haircut,
    deflated_sharpe,
    deflated_sharpe_null,
    effective_trials,
    expected_maximum,
    haircut_sharpe,
    lo_annualisation,
    min_backtest_length,
    min_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_variance,
    sharpe_variance_ar1,
    wilson_interval,
)

# Skewness and raw kurtosis.
NORMAL = (0.0, 3.0)
# The hedge fund of Bailey & Lopez de Prado (2012): 24 monthly returns.
HEDGE_FUND = (-2.448, 10.164)
# The strategy of Bailey & Lopez de Prado (2014): daily returns of five years of 250 days, annual Sharpe ratio 2.5.
DAILY, DAYS = 2.5 / math.sqrt(250), 1250
SHAPE_2014 = (-3.0, 10.0)
VARIANCE_2014 = 0.5 / 250

shapes = st.tuples(st.floats(-3.0, 3.0), st.floats(0.0, 20.0)).map(lambda two: (two[0], 1.0 + two[0] ** 2 + two[1]))
ratios = st.floats(-0.5, 0.5)


# -- One record --------------------------------------------------------------------------------------------------------


def test_the_probabilistic_sharpe_ratio_is_that_of_the_paper() -> None:
    assert round(probabilistic_sharpe(0.458, 24, *NORMAL), 3) == 0.982
    assert round(probabilistic_sharpe(0.458, 24, *HEDGE_FUND), 3) == 0.913


def test_evaluated_at_the_benchmark_it_is_that_of_the_later_paper() -> None:
    """Which gives the same fund as mean 3.6 % and deviation 7.9 % a month."""
    assert round(probabilistic_sharpe(0.036 / 0.079, 24, *HEDGE_FUND, at="benchmark"), 3) == 0.987


def test_the_two_published_forms_agree_on_bars_and_not_on_months() -> None:
    both = [probabilistic_sharpe(0.02, 8760, -0.3, 12.0, at=at) for at in ("estimate", "benchmark")]
    assert both[0] == pytest.approx(both[1], abs=5e-4)
    monthly = [probabilistic_sharpe(0.458, 24, *HEDGE_FUND, at=at) for at in ("estimate", "benchmark")]
    assert monthly[1] - monthly[0] > 0.05


def test_the_minimum_track_record_is_that_of_the_paper() -> None:
    for periods, years in ((252, 2.73), (12, 3.24)):
        observations = min_track_record(2.0 / math.sqrt(periods), *NORMAL, benchmark=1.0 / math.sqrt(periods))
        assert round(observations / periods, 2) == years


@settings(deadline=None)
@given(st.floats(0.01, 0.5), shapes, st.floats(0.6, 0.999))
def test_after_the_minimum_track_record_the_probability_is_the_confidence(
    sr: float, shape: tuple[float, float], confidence: float
) -> None:
    needed = min_track_record(sr, *shape, confidence=confidence)
    variance = sharpe_variance(sr, 2, *shape) / (needed - 1.0) if needed > 1.0 else 0.0
    if variance > 0.0:
        assert scipy.stats.norm.cdf(sr / math.sqrt(variance)) == pytest.approx(confidence, abs=1e-9)


def test_a_sharpe_ratio_that_is_not_above_the_benchmark_never_proves_it() -> None:
    assert min_track_record(0.05, *NORMAL, benchmark=0.05) == math.inf
    assert min_track_record(-0.05, *NORMAL) == math.inf


def test_the_variance_by_hand() -> None:
    # [1 + 0.5 * 0.2 + (5 - 1) / 4 * 0.04] / (101 - 1) = 1.14 / 100
    assert sharpe_variance(0.2, 101, -0.5, 5.0) == pytest.approx(0.0114)
    # rho 1/2: a = 3, b = 1 + 1 + 1/3 = 7/3, c = 1 + 2/3 = 5/3: [3 + 7/3 * 0.1 + 5/3 * 0.04] / 100 = 3.3 / 100
    assert sharpe_variance_ar1(0.2, 100, -0.5, 5.0, 0.5) == pytest.approx(0.033)


@settings(deadline=None)
@given(ratios, shapes, st.integers(2, 10_000))
def test_without_autocorrelation_both_variances_differ_by_one_observation(
    sr: float, shape: tuple[float, float], observations: int
) -> None:
    plain = sharpe_variance(sr, observations + 1, *shape)
    assert sharpe_variance_ar1(sr, observations, *shape, 0.0) == pytest.approx(plain, rel=1e-12)
    assert plain >= -1e-12


def test_the_variance_is_the_one_simulated_records_have() -> None:
    random = np.random.default_rng(5)
    returns = 0.1 + (random.gamma(4.0, size=(20_000, 200)) - 4.0) / 2.0  # skewness 1, raw kurtosis 4.5
    found = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    assert found.var() == pytest.approx(sharpe_variance(0.1, 200, 1.0, 4.5), rel=0.03)


def test_the_variance_of_autocorrelated_returns_is_the_one_simulated_records_have() -> None:
    random = np.random.default_rng(6)
    rho, length, records = 0.4, 400, 8000
    shocks = random.standard_normal((length + 50, records))
    state = np.zeros(records)
    kept = []
    for row in shocks:
        state = rho * state + math.sqrt(1.0 - rho * rho) * row
        kept.append(state)
    returns = 0.1 + np.array(kept[50:])
    found = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    assert found.var() == pytest.approx(sharpe_variance_ar1(0.1, length, 0.0, 3.0, rho), rel=0.05)
    assert found.var() > 2.0 * sharpe_variance(0.1, length, 0.0, 3.0)


def test_the_probability_agrees_with_another_implementation() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        returns = random.standard_t(5, 300) * 0.01 + random.normal(0.0, 0.001)
        found = moments(returns)
        ours = probabilistic_sharpe(found.sharpe, returns.size, found.skewness, found.kurtosis, 0.01)
        theirs = holdout.deflated.probabilistic_sharpe_ratio(
            found.sharpe, returns.size, skewness=found.skewness, kurtosis=found.kurtosis, benchmark=0.01
        )
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_on_noise_the_probability_is_uniform() -> None:
    random = np.random.default_rng(2)
    found = []
    for _ in range(2000):
        shape = moments(random.standard_t(6, 250) * 0.01)
        found.append(probabilistic_sharpe(shape.sharpe, 250, shape.skewness, shape.kurtosis))
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01
    assert 0.035 < np.mean(np.array(found) > 0.95) < 0.065


@settings(deadline=None)
@given(ratios, ratios, shapes, st.integers(2, 5000))
def test_the_probability_is_a_half_at_the_benchmark_and_rises_with_the_ratio(
    sr: float, benchmark: float, shape: tuple[float, float], observations: int
) -> None:
    for at in ("estimate", "benchmark"):
        found = probabilistic_sharpe(sr, observations, *shape, benchmark, at=at)
        if not math.isnan(found):
            assert 0.0 <= found <= 1.0
            assert (found - 0.5) * (sr - benchmark) >= 0.0


def test_an_excess_kurtosis_that_no_raw_kurtosis_can_be_is_refused() -> None:
    """The excess kurtosis of normal returns is 0; a public tool passes it into the formula for raw kurtosis."""
    calls: list[Callable[[], float]] = [
        lambda: probabilistic_sharpe(0.02, 8760, 0.0, 0.0),
        lambda: deflated_sharpe_null(DAILY, DAYS, -3.0, 10.0 - 3.0, 100),
        lambda: min_track_record(0.02, -3.0, 7.0),
        lambda: sharpe_variance_ar1(0.02, 100, 0.0, 0.5, 0.1),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="no distribution has kurtosis") as caught:
            call()
        assert "add 3" in caught.value.hint


def test_excess_kurtosis_would_have_changed_the_published_number() -> None:
    raw = probabilistic_sharpe(0.458, 24, *HEDGE_FUND)
    excess = probabilistic_sharpe(0.458, 24, HEDGE_FUND[0], HEDGE_FUND[1] - 3.0)
    assert (round(raw, 3), round(excess, 3)) == (0.913, 0.920)


# -- Moments -----------------------------------------------------------------------------------------------------------


def test_moments_are_those_of_scipy() -> None:
    returns = np.random.default_rng(3).gamma(2.0, size=500) - 1.5
    found = moments(returns)
    assert found.mean == pytest.approx(returns.mean())
    assert found.deviation == pytest.approx(returns.std(ddof=1))
    assert found.skewness == pytest.approx(scipy.stats.skew(returns))
    assert found.kurtosis == pytest.approx(scipy.stats.kurtosis(returns, fisher=False))
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))


@pytest.mark.parametrize(
    "returns", [np.zeros(10), np.full(10, 0.001), 0.001 + 1e-17 * np.arange(10), 0.01 + 1e-13 * np.arange(10)], ids=str
)
def test_returns_that_do_not_vary_have_no_sharpe_ratio_and_no_shape(returns: Any) -> None:
    found = moments(returns)
    assert found.deviation == 0.0
    assert math.isnan(found.sharpe)
    assert math.isnan(found.skewness)
    assert math.isnan(found.kurtosis)
    assert math.isnan(probabilistic_sharpe(found.sharpe, 10, found.skewness, found.kurtosis))
    assert math.isnan(deflated_sharpe_null(found.sharpe, 10, found.skewness, found.kurtosis, 5))
    assert math.isnan(lo_annualisation(returns, 12.0, 3))


@settings(deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=40))
def test_any_returns_have_a_shape_the_formulas_accept(returns: list[float]) -> None:
    found = moments(returns)
    if found.deviation > 0.0:
        assert 0.0 <= probabilistic_sharpe(found.sharpe, len(returns), *found[2:]) <= 1.0 or found.kurtosis < 1.0 + 1e-6


def test_broken_returns_are_named() -> None:
    with pytest.raises(DataError, match="return 2 is nan"):
        moments([0.1, 0.2, math.nan])
    with pytest.raises(DataError, match="at least 2 returns are needed; got 1"):
        moments([0.1])
    with pytest.raises(DataError, match="shape"):
        moments(np.zeros((2, 2)))


# -- The best of many --------------------------------------------------------------------------------------------------


def test_the_expected_maximum_is_near_the_exact_one_and_zero_for_one_trial() -> None:
    assert expected_maximum(1) == 0.0
    assert round(expected_maximum(10), 3) == 1.575
    for trials, exact, excess in ((10, 1.5388, 0.025), (100, 2.5076, 0.01), (1000, 3.2414, 0.006)):
        assert exact < expected_maximum(trials) < exact * (1.0 + excess)


def test_the_luck_line_of_three_months_and_350_trials_is_nearly_six() -> None:
    assert round(expected_maximum(350) / math.sqrt(0.25), 1) == 5.9


@settings(deadline=None)
@given(st.floats(1.0, 1e9), st.floats(1.0, 10.0))
def test_more_trials_never_bring_a_lower_maximum(trials: float, factor: float) -> None:
    assert 0.0 <= expected_maximum(trials) <= expected_maximum(trials * factor)


def test_the_minimum_backtest_length_is_that_of_the_paper() -> None:
    assert round(min_backtest_length(45, 1.0)) == 5


@settings(deadline=None)
@given(st.floats(1.0, 1e6), st.floats(0.1, 5.0))
def test_the_minimum_backtest_length_is_below_its_bound(trials: float, target: float) -> None:
    assert min_backtest_length(trials, target) <= 2.0 * math.log(trials) / target**2 + 1e-12


def test_the_deflated_sharpe_ratio_is_that_of_the_paper() -> None:
    assert round(math.sqrt(VARIANCE_2014) * expected_maximum(100), 4) == 0.1132
    assert round(deflated_sharpe(DAILY, DAYS, *SHAPE_2014, trials=100, trial_variance=VARIANCE_2014), 4) == 0.9004
    assert round(deflated_sharpe(DAILY, DAYS, *SHAPE_2014, trials=46, trial_variance=VARIANCE_2014), 4) == 0.9505


def test_an_annual_ratio_with_daily_observations_would_have_proven_anything() -> None:
    """The commonest mistake: the annual ratio and the annual variance, but the number of days."""
    wrong = deflated_sharpe(2.5, DAYS, *SHAPE_2014, trials=100, trial_variance=0.5)
    assert wrong > 0.99
    noise = deflated_sharpe(1.0, DAYS, *NORMAL, trials=1, trial_variance=0.0)
    assert noise > 0.999
    assert deflated_sharpe(1.0 / math.sqrt(250), DAYS, *NORMAL, trials=1, trial_variance=0.0) < 0.99


def test_one_trial_is_not_deflated() -> None:
    plain = probabilistic_sharpe(DAILY, DAYS, *SHAPE_2014)
    assert deflated_sharpe(DAILY, DAYS, *SHAPE_2014, trials=1, trial_variance=VARIANCE_2014) == plain
    assert deflated_sharpe_null(DAILY, DAYS, *SHAPE_2014, trials=1) == plain


def test_dsr0_is_the_deflated_ratio_with_the_variance_under_the_null() -> None:
    expected = deflated_sharpe(DAILY, DAYS, *SHAPE_2014, trials=100, trial_variance=1.0 / DAYS)
    assert deflated_sharpe_null(DAILY, DAYS, *SHAPE_2014, trials=100) == expected


@settings(deadline=None)
@given(ratios, shapes, st.integers(20, 5000), st.floats(1.0, 1e5), st.floats(1.0, 10.0))
def test_more_trials_never_make_a_result_more_likely(
    sr: float, shape: tuple[float, float], observations: int, trials: float, factor: float
) -> None:
    few, many = (deflated_sharpe_null(sr, observations, *shape, n) for n in (trials, trials * factor))
    assert math.isnan(few) or many <= few


def best_of_noise(runs: int, trials: int, length: int, sharing: float = 0.0) -> FloatArray:
    """PSR, DSR0, textbook DSR, and DSR with an effective number, of the best of equally correlated noise."""
    random = np.random.default_rng(11)
    found = []
    for _ in range(runs):
        common = random.standard_normal(length) * math.sqrt(sharing)
        returns = common + math.sqrt(1.0 - sharing) * random.standard_normal((trials, length))
        all_ratios = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
        best = returns[all_ratios.argmax()]
        shape = moments(best)
        arguments = (shape.sharpe, length, shape.skewness, shape.kurtosis)
        variance = float(all_ratios.var(ddof=1))
        found.append(
            (
                probabilistic_sharpe(*arguments),
                deflated_sharpe_null(*arguments, trials),
                deflated_sharpe(*arguments, trials, variance),
                deflated_sharpe(*arguments, effective_trials(returns), variance),
            )
        )
    return np.array(found)


def test_the_best_of_many_trials_without_an_edge_looks_sure_until_it_is_deflated() -> None:
    share = (best_of_noise(200, 64, 250) > 0.95).mean(axis=0)
    assert share[0] > 0.9
    assert share[1] <= 0.01


def test_an_effective_number_together_with_the_trials_variance_counts_the_correlation_twice() -> None:
    share = (best_of_noise(200, 64, 250, sharing=0.9) > 0.95).mean(axis=0)
    assert share[1] <= 0.01
    assert share[3] > max(0.05, share[2])


# -- Effective trials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["average-correlation", "rank", "participation"])
def test_trials_that_are_all_the_same_are_one_trial(method: Any) -> None:
    one = np.random.default_rng(0).standard_normal(100)
    assert effective_trials(np.tile(one, (12, 1)), method) == pytest.approx(1.0)
    assert effective_trials(one[None, :], method) == 1.0


@pytest.mark.parametrize("method", ["average-correlation", "rank", "participation"])
def test_orthogonal_trials_all_count(method: Any) -> None:
    walsh = scipy.linalg.hadamard(16)[1:].astype(float)
    assert effective_trials(walsh, method) == pytest.approx(15.0)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)], ids=str)
def test_effective_numbers_are_those_of_the_full_correlation_matrix(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(4)
    returns = random.standard_normal(shape) + 0.7 * random.standard_normal(shape[1])
    correlation = np.asarray(np.corrcoef(returns))
    trials = len(returns)
    eigenvalues = np.linalg.eigvalsh(correlation)
    shares = eigenvalues[eigenvalues > 1e-10] / trials
    mean = correlation[~np.eye(trials, dtype=bool)].mean()
    assert effective_trials(returns) == pytest.approx(mean + (1.0 - mean) * trials)
    assert effective_trials(returns, "rank") == pytest.approx(math.exp(scipy.stats.entropy(shares)))
    assert effective_trials(returns, "participation") == pytest.approx(trials**2 / (eigenvalues**2).sum())


@pytest.mark.parametrize("method", ["average-correlation", "rank", "participation"])
def test_effective_numbers_do_not_depend_on_scale_precision_idle_trials_or_chunks(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(8)
    returns = random.standard_normal((20, 120)) + random.standard_normal(120)
    plain = effective_trials(returns, method)
    changed = np.vstack([returns * np.linspace(0.001, 3.0, 20)[:, None] + 0.01, np.zeros((5, 120))])
    assert effective_trials(changed, method) == pytest.approx(plain)
    assert effective_trials(returns.astype(np.float32), method) == pytest.approx(plain, rel=1e-5)
    monkeypatch.setattr(sharpe, "_CHUNK", 500)
    assert effective_trials(returns, method) == pytest.approx(plain)


def test_effective_numbers_refuse_what_they_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = np.random.default_rng(0).standard_normal((6, 9))
    with pytest.raises(ConfigError, match="Did you mean participation"):
        effective_trials(returns, "particpation")  # type: ignore[arg-type]
    monkeypatch.setattr(sharpe, "_MOST_EIGENVALUES", 5)
    with pytest.raises(ConfigError, match="6 trials of 9 observations"):
        effective_trials(returns, "rank")
    assert effective_trials(np.zeros((4, 9))) == 1.0
    with pytest.raises(DataError, match="matrix of one row per trial"):
        effective_trials(returns[0])
    with pytest.raises(DataError, match="at least 2 observations are needed; got 1"):
        effective_trials([[1], [2]])


# -- Annualisation -----------------------------------------------------------------------------------------------------


def test_without_lags_the_factor_is_the_root_of_the_periods() -> None:
    returns = np.random.default_rng(0).standard_normal(500)
    assert lo_annualisation(returns, 8760.0, 0) == math.sqrt(8760.0)
    assert lo_annualisation(returns, 1.0, 5) == 1.0


@pytest.mark.parametrize("rho", [-0.4, 0.2, 0.7])
def test_with_the_autocorrelations_of_an_ar1_the_factor_is_the_closed_form(rho: float) -> None:
    # Lo (2002), eq. 22: sqrt(q) [1 + 2 rho / (1 - rho) (1 - (1 - rho^q) / (q (1 - rho)))]^(-1/2)
    q = 12
    closed = math.sqrt(q / (1.0 + 2.0 * rho / (1.0 - rho) * (1.0 - (1.0 - rho**q) / (q * (1.0 - rho)))))
    assert sharpe._lo_factor(rho ** np.arange(1.0, q), q) == pytest.approx(closed)


def test_the_factor_agrees_with_autocorrelations_of_statsmodels() -> None:
    random = np.random.default_rng(9)
    returns = np.convolve(random.standard_normal(900), [1.0, 0.5, 0.25], "valid")
    correlations = statsmodels.tsa.stattools.acf(returns, nlags=6)[1:]
    assert sharpe.autocorrelations(returns, 6) == pytest.approx(correlations)
    expected = holdout.sharpe.serial_correlation_factor(252, correlations)
    assert lo_annualisation(returns, 252.0, 6) == pytest.approx(expected)
    assert lo_annualisation(returns, 252.0, 6) < math.sqrt(252.0) / 1.3


def test_no_more_lags_are_used_than_the_year_has_periods() -> None:
    returns = np.random.default_rng(0).standard_normal(50)
    assert lo_annualisation(returns, 4.0, 40) == lo_annualisation(returns, 4.0, 3)
    assert lo_annualisation(returns, 4.5, 40) == lo_annualisation(returns, 4.5, 4)
    assert math.isnan(lo_annualisation(np.tile([1.0, -1.0], 50), 4.0, 1))


# -- Haircut -----------------------------------------------------------------------------------------------------------


def test_the_haircut_is_that_of_the_paper() -> None:
    found = haircut_sharpe(0.75, 240 / 12, 200, "sidak")
    assert round(found.p_value, 4) == 0.0008
    assert round(found.adjusted_p_value, 2) == 0.15
    assert round(found.sharpe_annual, 2) == 0.32


@pytest.mark.parametrize("method", ["bonferroni", "sidak"])
@pytest.mark.parametrize("annual", [-1.3, 0.001, 0.4, 0.75, 2.0])
def test_the_adjusted_p_value_is_that_of_statsmodels(method: Any, annual: float) -> None:
    found = haircut_sharpe(annual, 9.0, 50, method)
    single = 2.0 * scipy.stats.norm.sf(abs(annual) * 3.0)
    others = [0.5] * 49  # not 1, of which its Sidak takes the logarithm of 0
    family = statsmodels.stats.multitest.multipletests([single, *others], method=method)[1]
    assert found.p_value == pytest.approx(single)
    assert found.adjusted_p_value == pytest.approx(family[0])
    if family[0] < 1.0:
        assert 2.0 * scipy.stats.norm.sf(abs(found.sharpe_annual) * 3.0) == pytest.approx(family[0])
    else:
        assert found.sharpe_annual == 0.0


@settings(deadline=None)
@given(st.floats(-20.0, 20.0), st.floats(0.01, 30.0), st.integers(1, 100_000), st.sampled_from(["bonferroni", "sidak"]))
def test_a_haircut_never_adds_and_never_turns_the_sign(annual: float, years: float, trials: int, method: Any) -> None:
    found = haircut_sharpe(annual, years, trials, method)
    assert abs(found.sharpe_annual) <= abs(annual) * (1.0 + 1e-9) + 1e-9
    assert found.sharpe_annual * annual >= 0.0
    assert 0.0 <= found.p_value <= found.adjusted_p_value * (1.0 + 1e-12) <= 1.0 + 1e-12


def test_a_ratio_beyond_all_p_values_is_left_alone() -> None:
    assert haircut_sharpe(50.0, 4.0, 1000) == Haircut(0.0, 0.0, 50.0)
    # The smallest p-value a float can hold has no half.
    ratios = np.arange(38.4, 38.6, 0.0005)
    found = [haircut_sharpe(annual, 1.0, 1) for annual in ratios]
    assert 5e-324 in [haircut.p_value for haircut in found]
    assert [haircut.sharpe_annual for haircut in found] == pytest.approx(ratios, rel=0.01)


# -- Shares ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.5, 0.999))
def test_the_interval_of_a_share_is_that_of_statsmodels(successes: int, extra: int, confidence: float) -> None:
    count = successes + extra
    expected = statsmodels.stats.proportion.proportion_confint(successes, count, 1.0 - confidence, method="wilson")
    assert wilson_interval(successes, count, confidence) == pytest.approx(expected, abs=1e-9)


def test_of_nothing_counted_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0


# -- What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sharpe_variance(0.1, 1, 0.0, 3.0), "observations is a number of at least 2; got 1"),
        (lambda: sharpe_variance_ar1(0.1, 10, 0.0, 3.0, 1.0), "between -1 and 1; got 1.0"),
        (lambda: probabilistic_sharpe(0.1, 10, 0.0, 3.0, at="bench"), "Did you mean benchmark"),  # type: ignore[arg-type]
        (lambda: min_track_record(0.1, 0.0, 3.0, confidence=95), "confidence is a share between 0 and 1; got 95"),
        (lambda: expected_maximum(0.5), "trials is a number of at least 1; got 0.5"),
        (lambda: expected_maximum(math.nan), "trials is a number of at least 1; got nan"),
        (lambda: min_backtest_length(45, 0.0), "target_sharpe_annual is above 0; got 0"),
        (lambda: deflated_sharpe(0.1, 10, 0.0, 3.0, 5, -0.1), "trial_variance is not negative; got -0.1"),
        (lambda: haircut_sharpe(1.0, 0.0, 5), "years is above 0; got 0.0"),
        (lambda: haircut_sharpe(1.0, 1.0, 0), "trials is a number of at least 1; got 0"),
        (lambda: haircut_sharpe(1.0, 1.0, 5, "holm"), "'holm' is not a correction"),  # type: ignore[arg-type]
        (lambda: wilson_interval(3, 2), "successes are between 0 and n; got 3 of 2"),
        (lambda: lo_annualisation([0.1, 0.2], 0.5, 1), "periods_per_year is a number of at least 1; got 0.5"),
        (lambda: lo_annualisation([0.1, 0.2], 12, -1), "0 or more; got -1"),
    ],
    ids=range(14),
)
def test_impossible_arguments_get_one_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        call()
