"""The markets of known truth are what they say: martingales, real days in another order, an edge of the stated size."""

from typing import Any

import numpy as np
import pytest

from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.data.truth import clustered_volatility, permuted_days, planted_trend, random_walk
from barwise.errors import ConfigError, DataError
from barwise.strategy.indicators import ema

LONG = 120_000
DEVIATION = 0.006


def moves(candles: Candles) -> FloatArray:
    """Returns from close to close."""
    found: FloatArray = candles.close[1:] / candles.close[:-1] - 1.0
    return found


def correlation(values: FloatArray, lag: int = 1) -> float:
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


@pytest.fixture(scope="module")
def walk() -> Candles:
    return random_walk(5, LONG)


@pytest.fixture(scope="module")
def clustered() -> Candles:
    return clustered_volatility(5, LONG)


@pytest.mark.parametrize("make", [random_walk, clustered_volatility])
def test_a_martingale_has_neither_mean_nor_memory_and_the_stated_deviation(make: Any) -> None:
    found = moves(make(5, LONG))
    error = found.std() / np.sqrt(LONG)
    assert abs(found.mean()) < 3.5 * error
    assert found.std() == pytest.approx(DEVIATION, rel=0.05)
    for lag in (1, 2, 24):
        # Clustered variance widens the error of a correlation; twice is enough for this one.
        assert abs(correlation(found, lag)) < 8.0 / np.sqrt(LONG)


def test_only_the_clustered_market_remembers_its_variance(walk: Candles, clustered: Candles) -> None:
    assert abs(correlation(moves(walk) ** 2)) < 0.02
    assert correlation(np.abs(moves(clustered))) > 0.1
    assert correlation(np.abs(moves(clustered)), 24) > 0.05


def test_both_martingales_have_fat_tails(walk: Candles, clustered: Candles) -> None:
    for candles in (walk, clustered):
        found = moves(candles)
        kurtosis = float(np.mean((found - found.mean()) ** 4) / found.var() ** 2)
        assert kurtosis > 4.5


@pytest.mark.parametrize(
    "make", [random_walk, clustered_volatility, lambda seed, bars: planted_trend(seed, bars, drift=0.3)]
)
def test_the_bars_are_bars_that_the_audit_takes_and_say_that_they_are_synthetic(make: Any) -> None:
    candles = make(1, 2_000)
    assert candles.audit.ok
    assert candles.synthetic
    assert (candles.volume > 0.0).all()
    assert candles.open[1:] == pytest.approx(candles.close[:-1], rel=1e-12)


def test_a_seed_is_a_market_and_another_seed_another_one() -> None:
    for make in (random_walk, clustered_volatility):
        assert make(3, 500).fingerprint == make(3, 500).fingerprint
        assert make(3, 500).fingerprint != make(4, 500).fingerprint


def test_without_a_drift_the_planted_market_is_the_random_walk_to_the_bit() -> None:
    plain, planted = random_walk(9, 3_000), planted_trend(9, 3_000, drift=0.0)
    assert plain.fingerprint == planted.fingerprint


def test_the_planted_drift_follows_each_crossing_for_so_many_bars_and_no_longer() -> None:
    fast, slow, hold, drift = 10, 30, 20, 0.2
    candles = planted_trend(2, LONG, drift=drift, fast=fast, slow=slow, hold=hold)
    above = ema(candles.close, fast) > ema(candles.close, slow)
    since, side = np.full(LONG, 10**9), np.zeros(LONG)
    for bar in range(500, LONG - 1):  # the two kinds of EMA differ in how they begin, for some bars
        crossed = above[bar] != above[bar - 1]
        since[bar + 1] = 1 if crossed else since[bar] + 1
        side[bar + 1] = 1.0 if above[bar] else -1.0
    found = np.diff(np.log(candles.close), prepend=np.log(candles.open[0])) * side
    held, after = found[since <= hold], found[(since > hold) & (since < 10**8)]
    assert len(after) > 10_000
    assert held.mean() == pytest.approx(drift * DEVIATION, abs=4.0 * held.std() / np.sqrt(len(held)))
    assert after.mean() == pytest.approx(0.0, abs=4.0 * after.std() / np.sqrt(len(after)))
    # The last bar of it has the drift, the next one has not.
    last, next_one = found[since == hold], found[since == hold + 1]
    assert last.mean() > 4.0 * last.std() / np.sqrt(len(last))
    assert abs(next_one.mean()) < 4.0 * next_one.std() / np.sqrt(len(next_one))


def test_permuted_days_are_the_real_days_in_another_order_and_make_the_same_move() -> None:
    real = random_walk(4, 24 * 50)
    permuted = permuted_days(real, 1)
    assert len(permuted) == 24 * 49  # the first day has no bar before it
    assert permuted.audit.ok

    def days(candles: Candles, first: int) -> FloatArray:
        before = candles.close[first - 1 : -1]
        shape: FloatArray = np.stack(
            [column[first:] / before for column in (candles.open, candles.high, candles.low, candles.close)], axis=1
        ).reshape(-1, 24 * 4)
        return shape

    was, is_now = days(real, 24), days(permuted, 24)
    distance = np.abs(is_now[:, None, :] - was[None, :, :]).max(axis=2)
    origin = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-12
    assert len(set(origin.tolist())) == 48  # the first of the new order has no bar before it here
    assert list(origin) != sorted(origin)
    assert permuted.close[-1] == pytest.approx(real.close[-1], rel=1e-9)
    assert sorted(permuted.volume) == sorted(real.volume[24:])


def test_a_span_of_days_is_drawn_and_days_that_lack_a_bar_are_left_out() -> None:
    real = random_walk(4, 24 * 50)
    kept = np.arange(len(real)) != 24 * 10 + 5
    columns = {name: getattr(real, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")}
    with_hole = Candles.of(columns, timeframe="1H", audit="off")
    assert len(permuted_days(with_hole, 1)) == 24 * 48
    assert len(permuted_days(real, 1, 24 * 10 + 7)) == 24 * 10
    starts = {int(permuted_days(real, seed, 24 * 10).time[0]) for seed in range(8)}
    assert len(starts) > 1


def test_what_cannot_be_made_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="a market of 1 bars"):
        random_walk(1, 1)
    with pytest.raises(ConfigError, match=r"an edge of drift 1\.0, EMAs 22 and 46"):
        planted_trend(1, 100, drift=1.0)
    with pytest.raises(ConfigError, match="EMAs 50 and 46"):
        planted_trend(1, 100, drift=0.1, fast=50)
    with pytest.raises(DataError, match="60 whole days were asked for; 2 to 49 can be had"):
        permuted_days(random_walk(1, 24 * 50), 1, 24 * 60)
    indian = Candles.of(
        {name: getattr(random_walk(1, 48), name) for name in ("time", "open", "high", "low", "close")},
        exchange="NSE", symbol="RELIANCE", timeframe="1H", audit="off",
    )  # fmt: skip
    with pytest.raises(DataError, match="the market never closes"):
        permuted_days(indian, 1)
