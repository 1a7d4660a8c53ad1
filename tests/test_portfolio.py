"""Several accounts together: days, correlations, an equal-weight sum and many tests, by hand and by other libraries."""

import math
from datetime import UTC, datetime

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from barwise.core.curve import path_metrics
from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats.portfolio import (
    Account,
    DayCurve,
    Portfolio,
    aligned_returns,
    common_days,
    correlation,
    correlations,
    day_curve,
    days_without,
    equal_weight,
    holm,
)
from barwise.timeframe import ALWAYS_OPEN, DAY_MS, HOUR_MS, NSE, Calendar, Timeframe


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def day_number(text: str) -> int:
    return ms(text) // DAY_MS


def curve(days: list[int], levels: list[float], capital: float = 100.0, per_year: float = 365.0) -> DayCurve:
    return DayCurve(np.array(days), np.array(levels), capital, per_year)


def from_returns(returns: FloatArray, first: int = 0, per_year: float = 365.0) -> DayCurve:
    return DayCurve(first + np.arange(len(returns)), 50.0 * np.cumprod(1.0 + returns, dtype=np.float64), 50.0, per_year)


def portfolio(rows: list[list[float]], per_year: float = 4.0) -> Portfolio:
    return Portfolio(np.arange(len(rows[0])), np.array(rows), per_year)


# -- Days --------------------------------------------------------------------------------------------------------------


def test_hourly_bars_end_at_the_utc_day_and_a_missing_day_is_no_day() -> None:
    time = np.array([ms("2024-03-01 22:00"), ms("2024-03-01 23:00"), ms("2024-03-02 00:00"), ms("2024-03-05 11:00")])
    found = day_curve(time, np.array([101.0, 102.0, 103.0, 104.0]), 100.0, Timeframe("1H"), ALWAYS_OPEN)
    assert found.days.tolist() == [day_number(f"2024-03-0{day}") for day in (1, 2, 5)]
    assert found.levels.tolist() == [102.0, 103.0, 104.0]
    assert (found.capital, found.days_per_year) == (100.0, 365.0)


@pytest.mark.parametrize(
    ("timeframe", "calendar", "opens", "day", "per_year"),
    [
        ("1D", ALWAYS_OPEN, "2024-03-04 00:00", "2024-03-04", 365.0),
        ("4H", ALWAYS_OPEN, "2024-03-04 20:00", "2024-03-04", 365.0),
        # A daily bar of NSE opens at midnight in India, 18:30 UTC of the day before.
        ("1D", NSE, "2024-03-03 18:30", "2024-03-04", 248.0),
        ("1H", NSE, "2024-03-04 09:45", "2024-03-04", 248.0),
        # The week of Monday 4 March: its last day is a Sunday, or a Friday where there are sessions.
        ("1W", ALWAYS_OPEN, "2024-03-04 00:00", "2024-03-10", 365.0 / 7.0),
        ("1W", NSE, "2024-03-03 18:30", "2024-03-08", 248.0 / 5.0),
    ],
)
def test_a_bar_belongs_to_the_day_of_its_market(
    timeframe: str, calendar: Calendar, opens: str, day: str, per_year: float
) -> None:
    found = day_curve(np.array([ms(opens)]), np.array([1.0]), 1.0, Timeframe(timeframe), calendar)
    assert found.days.tolist() == [day_number(day)]
    assert found.days_per_year == pytest.approx(per_year)


def test_daily_sharpe_is_that_of_the_single_market_metrics() -> None:
    rng = np.random.default_rng(1)
    time = ms("2024-01-01") + HOUR_MS * np.arange(24 * 90)
    equity = 1_000.0 * np.cumprod(1.0 + rng.normal(0.0, 0.003, len(time)), dtype=np.float64)
    found = day_curve(time, equity, 1_000.0, Timeframe("1H"), ALWAYS_OPEN)
    account = equal_weight([found]).rebalanced
    metrics = path_metrics(time, equity, equity, HOUR_MS, ALWAYS_OPEN, 1_000.0)
    assert account.sharpe_ratio == pytest.approx(metrics["daily_sharpe_ratio"], rel=1e-9)


def test_daily_returns_are_those_of_pandas() -> None:
    rng = np.random.default_rng(2)
    time = ms("2024-01-01 05:00") + 4 * HOUR_MS * np.sort(rng.choice(900, 700, replace=False))
    equity = 1_000.0 * np.cumprod(1.0 + rng.normal(0.0, 0.01, len(time)), dtype=np.float64)
    found = day_curve(time, equity, 1_000.0, Timeframe("4H"), ALWAYS_OPEN)
    series = pandas.Series(equity, index=pandas.to_datetime(time, unit="ms"))
    closes = series.groupby(series.index.normalize()).last()
    expected = pandas.concat([pandas.Series([1_000.0]), closes]).pct_change().to_numpy()[1:]
    _, returns = aligned_returns([found])
    np.testing.assert_allclose(returns[0], expected, rtol=1e-9)


def test_bars_and_equities_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 values for 1 bars"):
        day_curve(np.array([0]), np.array([1.0, 2.0]), 1.0, Timeframe("1H"), ALWAYS_OPEN)


def test_what_one_market_did_while_the_other_was_closed_is_in_the_next_common_day() -> None:
    # Days 4 and 5 are a weekend for the second. The first one's 10 % on it belong to day 6.
    first = curve([2, 3, 4, 5, 6], [100.0, 110.0, 115.5, 121.0, 121.0])
    second = curve([3, 6, 7], [50.0, 60.0, 66.0], capital=40.0)
    days, returns = aligned_returns([first, second])
    assert days.tolist() == common_days([second, first]).tolist() == [3, 6]
    # The first starts at its level of day 2, the second, whose first day this is, at its capital.
    np.testing.assert_allclose(returns, [[0.1, 0.1], [0.25, 0.2]], rtol=1e-12)


def test_accounts_without_a_common_day_have_no_returns() -> None:
    days, returns = aligned_returns([curve([1, 2], [1.0, 2.0]), curve([3], [1.0])])
    assert days.tolist() == []
    assert returns.shape == (2, 0)
    together = equal_weight([curve([1, 2], [1.0, 2.0]), curve([3], [1.0])])
    assert together.rebalanced.total_return == together.rebalanced.max_drawdown == 0.0
    assert together.rebalanced.sharpe_ratio is None
    assert together.effective_bets is None


def test_leaving_out_an_account_leaves_the_days_that_the_others_share() -> None:
    sets = [[1, 2, 3, 4, 5], [2, 3, 4, 5, 6], [3, 4, 9]]
    curves = [curve(days, [1.0] * len(days)) for days in sets]
    expected = [len(common_days(curves[:place] + curves[place + 1 :])) for place in range(3)]
    assert days_without(curves) == expected == [2, 2, 4]
    with pytest.raises(DataError, match="got 1"):
        days_without(curves[:1])


def test_no_account_is_refused() -> None:
    with pytest.raises(DataError, match="at least one account"):
        equal_weight([])


# -- Correlation -------------------------------------------------------------------------------------------------------


def test_correlation_of_three_series_by_hand() -> None:
    one, two = np.array([0.01, 0.02, 0.03, 0.04]), np.array([0.02, 0.01, 0.04, 0.03])
    # Deviations -1.5 -0.5 0.5 1.5 and -0.5 -1.5 1.5 0.5: products 3, squares 5 and 5.
    found = correlation(one, two)
    assert found.value == pytest.approx(0.6)
    assert found.days == 4
    # Fisher: atanh(0.6) = ln 2, its deviation with 4 days is 1.
    power = math.exp(2.0 * 1.959963984540054)
    assert found.high == pytest.approx((4.0 * power - 1.0) / (4.0 * power + 1.0))
    assert found.low == pytest.approx((4.0 / power - 1.0) / (4.0 / power + 1.0))
    assert correlation(one, one[::-1]).value == pytest.approx(-1.0)
    assert correlation(one[:3], two[:3]).low is None


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_its_interval_are_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.normal(size=60)
    two = rng.uniform(-1.0, 1.0) * one + rng.normal(size=60)
    found, expected = correlation(one, two, 0.9), stats.pearsonr(one, two)
    low, high = expected.confidence_interval(0.9)
    assert (found.value, found.low, found.high) == pytest.approx((expected.statistic, low, high))


def test_a_series_that_stands_still_has_no_correlation() -> None:
    assert correlation(np.zeros(50), np.arange(50.0)) == (None, 50, None, None)
    assert correlation(np.full(50, 0.001), np.arange(50.0)).value is None


def test_series_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="got 3 and 4"):
        correlation(np.zeros(3), np.zeros(4))


def test_each_pair_is_compared_on_the_days_it_shares() -> None:
    rng = np.random.default_rng(3)
    curves = [from_returns(rng.normal(0, 0.01, 80), first) for first in (0, 20, 60)]
    matrix = correlations(curves)
    assert [[pair.days for pair in row] for row in matrix] == [[80, 60, 20], [60, 80, 40], [20, 40, 80]]
    assert matrix[0][1] == matrix[1][0]
    days, returns = aligned_returns([curves[0], curves[2]])
    assert days.tolist() == list(range(60, 80))
    assert matrix[0][2].value == pytest.approx(np.asarray(np.corrcoef(returns))[0, 1])
    least = correlations(curves, least=40)
    assert least[0][2] == (None, 20, None, None)
    assert least[1][2].value is not None


# -- Together ----------------------------------------------------------------------------------------------------------


def test_portfolio_of_three_accounts_by_hand() -> None:
    together = portfolio([[0.1, 0.2], [0.0, -0.1], [-0.1, 0.5]])
    # Rebalanced: 0 %, then (20 - 10 + 50) / 3 = 20 %. Apart: 1.32, 0.9 and 1.35 of 1 each.
    assert together.rebalanced.growth.tolist() == pytest.approx([1.0, 1.2])
    assert together.apart.growth.tolist() == pytest.approx([1.0, (1.32 + 0.9 + 1.35) / 3.0])
    account = together.rebalanced
    assert account.total_return == pytest.approx(20.0)
    # 0 and 20 %: mean 10, deviation 14.14, and four such periods make a year.
    assert account.volatility == pytest.approx(20.0 * math.sqrt(2.0))
    assert account.sharpe_ratio == pytest.approx(math.sqrt(2.0))
    rest = together.without(2)
    assert rest is not None
    assert rest.growth.tolist() == pytest.approx([1.05, 1.05 * 1.05])


def test_drawdown_counts_from_the_start_and_from_every_peak() -> None:
    assert Account.of_returns(np.array([0.1, -0.2, 0.05]), 365.0).max_drawdown == pytest.approx(20.0)
    assert Account.of_returns(np.array([-0.3, 0.1]), 365.0).max_drawdown == pytest.approx(30.0)


def test_what_is_gone_stays_gone() -> None:
    account = Account.of_returns(np.array([0.1, -1.2, 0.5, -3.0]), 365.0)
    assert account.growth.tolist() == pytest.approx([1.1, -0.22, -0.22, -0.22])
    assert account.total_return == pytest.approx(-122.0)


def test_two_unrelated_accounts_of_one_size_are_two_bets() -> None:
    together = portfolio([[0.01, -0.01, 0.01, -0.01], [0.01, 0.01, -0.01, -0.01]])
    assert together.diversification_ratio == pytest.approx(math.sqrt(2.0))
    assert together.effective_bets == pytest.approx(2.0)
    assert together.risk_shares == pytest.approx((0.5, 0.5))


def test_a_hedge_has_a_negative_share_of_the_risk() -> None:
    together = portfolio([[0.02, -0.02, 0.02, -0.02], [-0.01, 0.01, -0.01, 0.01]])
    assert together.risk_shares == pytest.approx((2.0, -1.0))


def test_effective_bets_are_the_participation_ratio_of_the_eigenvalues() -> None:
    rng = np.random.default_rng(4)
    together = Portfolio(np.arange(200), rng.normal(size=(5, 5)) @ rng.normal(0.0, 0.01, (5, 200)), 365.0)
    values = np.linalg.eigvalsh(np.corrcoef(together.returns))
    assert together.effective_bets == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_an_account_that_stands_still_is_no_bet_and_carries_no_risk() -> None:
    rng = np.random.default_rng(5)
    together = Portfolio(np.arange(50), np.vstack([rng.normal(0, 0.01, (2, 50)), np.zeros(50)]), 365.0)
    assert together.risk_shares is not None
    assert together.risk_shares[2] == pytest.approx(0.0, abs=1e-12)
    assert together.effective_bets is not None
    assert together.effective_bets <= 2.0
    idle = portfolio([[0.0] * 5, [0.0] * 5])
    assert (idle.risk_shares, idle.diversification_ratio, idle.effective_bets) == (None, None, None)
    assert idle.rebalanced.psr is None


returns_of_one = st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=40).map(np.array)


@given(returns_of_one, st.integers(2, 6))
def test_copies_of_one_account_are_that_account(row: FloatArray, copies: int) -> None:
    single, together = equal_weight([from_returns(row)]), equal_weight([from_returns(row)] * copies)
    np.testing.assert_allclose(together.rebalanced.growth, single.rebalanced.growth, rtol=1e-9)
    np.testing.assert_allclose(together.apart.growth, single.rebalanced.growth, rtol=1e-9)
    if single.rebalanced.sharpe_ratio is not None and np.std(row) > 1e-6:
        assert together.effective_bets == pytest.approx(1.0)
        assert together.diversification_ratio == pytest.approx(1.0)
        assert correlation(row, row).value == pytest.approx(1.0)
        assert together.risk_shares == pytest.approx([1.0 / copies] * copies)


@given(st.integers(0, 2**32), st.permutations(range(4)))
def test_the_order_of_accounts_changes_only_their_order(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    curves = [from_returns(rng.normal(0.0, 0.02, 30), int(first)) for first in rng.integers(0, 5, 4)]
    before, after = equal_weight(curves), equal_weight([curves[place] for place in order])
    assert before.days.tolist() == after.days.tolist()
    np.testing.assert_allclose(after.returns, before.returns[order])
    np.testing.assert_allclose(after.rebalanced.growth, before.rebalanced.growth)
    np.testing.assert_allclose(after.apart.growth, before.apart.growth)
    assert before.risk_shares is not None
    assert after.risk_shares is not None
    assert sum(before.risk_shares) == pytest.approx(1.0)
    assert after.risk_shares == pytest.approx([before.risk_shares[place] for place in order])
    assert after.effective_bets == pytest.approx(before.effective_bets)


def test_a_year_has_the_days_of_the_market_with_the_fewest() -> None:
    row = np.array([0.01, -0.02, 0.03])
    together = equal_weight([from_returns(row, per_year=365.0), from_returns(row, per_year=248.0)])
    assert together.periods_per_year == 248.0


def test_probability_of_a_sharpe_above_zero_is_that_of_the_formula() -> None:
    row = np.random.default_rng(6).normal(0.001, 0.01, 250)
    ratio = row.mean() / row.std(ddof=1)
    skewness, kurtosis = stats.skew(row), stats.kurtosis(row, fisher=False)
    error = math.sqrt((1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2) / 249.0)
    assert Account.of_returns(row, 365.0).psr == pytest.approx(stats.norm.cdf(ratio / error), rel=1e-6)


# -- Many tests --------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 and 0.04, which may not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_test_that_was_not_made_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.5]) == [None, pytest.approx(0.04), None, pytest.approx(0.5)]
    assert holm([None]) == [None]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_is_that_of_statsmodels(count: int) -> None:
    # With two decimals some of twelve are equal.
    p_values = np.random.default_rng(count).beta(0.3, 1.0, count).round(2).tolist()
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)  # type: ignore[arg-type]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_is_between_the_single_p_and_that_of_bonferroni(p_values: list[float]) -> None:
    found = [value for value in holm(list(p_values)) if value is not None]
    assert all(one <= both <= min(1.0, len(p_values) * one) for one, both in zip(p_values, found, strict=True))


def test_holm_gives_one_false_alarm_in_twenty_at_most() -> None:
    rng = np.random.default_rng(7)
    # 6 tests without anything to find, half of them the same market again.
    p_values = np.repeat(rng.uniform(size=(4_000, 3)), 2, axis=1)
    alarms = np.mean([min(value or 0.0 for value in holm(row)) <= 0.05 for row in p_values.tolist()])
    assert alarms <= 0.05 + 3.0 * math.sqrt(0.05 * 0.95 / 4_000)
    assert np.mean(p_values.min(axis=1) <= 0.05) > 0.1


def test_a_p_value_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"got 1\.5"):
        holm([0.1, 1.5])


def test_days_are_int64() -> None:
    days: IntArray = day_curve(np.empty(0, np.int64), np.empty(0), 1.0, Timeframe("1H"), ALWAYS_OPEN).days
    assert days.dtype == np.int64
    assert len(days) == 0
