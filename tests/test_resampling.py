"""Resampled markets: what must be the same as in the real one is, what must be gone is gone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import Bars, FloatArray, IntArray
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.stats.resampling import (
    SyntheticBars,
    as_candles_like,
    block_bootstrapped_bars,
    noise_future,
    permuted_bars,
    session_labels,
)
from barwise.timeframe import DAY_MS, HOUR_MS, MINUTE_MS

START = 1_735_689_600_000  # 2025-01-01 00:00 UTC


def made_bars(n: int, seed: int = 0, *, persistence: float = 0.0) -> Bars:
    """Bars with gaps, wicks and a volume that names the bar (0, 1, 2, ...)."""
    rng = np.random.default_rng(seed)
    shocks = 0.01 * rng.standard_normal(n)
    for t in range(1, n):
        shocks[t] += persistence * shocks[t - 1]
    gaps = 0.002 * rng.standard_normal(n)
    close = 100.0 * np.exp(np.cumsum(shocks + gaps))
    open_ = close / np.exp(shocks)
    high = np.maximum(open_, close) * np.exp(0.003 * rng.random(n))
    low = np.minimum(open_, close) / np.exp(0.003 * rng.random(n))
    return Bars(START + HOUR_MS * np.arange(n), open_, high, low, close, np.arange(n, dtype=np.float64))


def gaps_of(bars: Any) -> FloatArray:
    gaps: FloatArray = np.log(bars.open[1:] / bars.close[:-1])
    return gaps


def bodies_of(bars: Any) -> FloatArray:
    """high, low, close over the open in logs, and the volume; one row per bar."""
    return np.column_stack([*(np.log(price / bars.open) for price in (bars.high, bars.low, bars.close)), bars.volume])


def rows_sorted(rows: FloatArray) -> FloatArray:
    return rows[np.argsort(rows[:, -1], kind="stable")]


def sources_of(bars: SyntheticBars, first: int) -> IntArray:
    """Which real bar each made one came from, by its volume (see `made_bars`)."""
    return bars.volume[first:].astype(np.int64)


def assert_possible(bars: Any) -> None:
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.low > 0.0).all()


def autocorrelation(bars: Any) -> float:
    returns = np.diff(np.log(bars.close))
    return float(np.corrcoef(returns[1:], returns[:-1])[0, 1])


# -- Permutation -------------------------------------------------------------------------------------------------------


def test_two_moves_come_in_the_four_possible_orders_equally_often() -> None:
    # Gaps 1.1 and 0.5, bodies 0.8 and 1.5: 100 * 1.1 * 0.8 * 0.5 * 1.5 = 66, in whatever order.
    real = Bars(
        START + HOUR_MS * np.arange(3),
        open=np.array([100, 110, 44.0]),
        high=np.array([100, 121, 66.0]),
        low=np.array([100, 77, 44.0]),
        close=np.array([100, 88, 66.0]),
        volume=np.array([1.0, 2.0, 3.0]),
    )
    expected = {
        # open, high, low, close of the second bar; open, high, low, close of the third
        (110, 121, 77, 88, 44, 66, 44, 66),
        (110, 165, 110, 165, 82.5, 90.75, 57.75, 66),
        (50, 55, 35, 40, 44, 66, 44, 66),
        (50, 75, 50, 75, 82.5, 90.75, 57.75, 66),
    }
    rng = np.random.default_rng(1)
    seen: dict[tuple[float, ...], int] = {}
    for _ in range(4_000):
        made = permuted_bars(*real[1:], rng)
        key = tuple(round(float(price[t]), 9) for t in (1, 2) for price in made[:4])
        seen[key] = seen.get(key, 0) + 1
    assert set(seen) == expected
    assert all(abs(count - 1_000) < 4.5 * 27.4 for count in seen.values())  # sqrt(4,000 * 1/4 * 3/4) = 27.4


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 60), first=st.integers(1, 59), seed=st.integers(0, 10_000))
def test_a_permuted_market_has_the_same_gaps_bodies_and_total_move(n: int, first: int, seed: int) -> None:
    first = min(first, n - 1)
    real = made_bars(n, seed)
    made = permuted_bars(*real[1:], np.random.default_rng(seed), first=first)
    for column, own in zip(made[:5], real[1:], strict=True):
        assert column[:first].tobytes() == own[:first].tobytes()
    np.testing.assert_allclose(np.sort(gaps_of(made)), np.sort(gaps_of(real)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(rows_sorted(bodies_of(made)), rows_sorted(bodies_of(real)), rtol=0, atol=1e-12)
    assert made.close[-1] == pytest.approx(real.close[-1], rel=1e-12)
    assert_possible(made)


def test_gaps_and_bodies_are_permuted_independently_of_each_other() -> None:
    real = made_bars(2_000)
    made = permuted_bars(*real[1:], np.random.default_rng(5))
    bodies = sources_of(made, 1)
    gap_of_body = gaps_of(real)[bodies - 1]
    # A gap that came along with its body would sit in the same row.
    assert np.isclose(gap_of_body, gaps_of(made), rtol=0, atol=1e-12).mean() < 0.01
    assert np.count_nonzero(bodies == np.arange(1, 2_000)) < 10


def test_the_mean_price_keeps_its_place_within_the_bar() -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-03-01")
    real = candles.bars
    assert candles.quote_volume is not None
    made = permuted_bars(*real[1:], np.random.default_rng(2), quote_volume=candles.quote_volume)
    assert made.quote_volume is not None
    order = np.argsort(made.volume, kind="stable")
    own = np.argsort(real.volume, kind="stable")
    place = made.quote_volume / made.volume / made.open
    np.testing.assert_allclose(
        np.sort(place), np.sort(candles.quote_volume / real.volume / real.open), rtol=1e-12, atol=0
    )
    np.testing.assert_array_equal(made.volume[order], real.volume[own])
    mean = made.quote_volume / made.volume
    assert ((mean <= made.high * (1 + 1e-12)) & (mean >= made.low * (1 - 1e-12))).all()


def test_a_pattern_does_not_survive_the_permutation_but_survives_in_blocks() -> None:
    real = made_bars(6_000, persistence=0.6)
    assert autocorrelation(real) > 0.5
    rng = np.random.default_rng(3)
    assert abs(autocorrelation(permuted_bars(*real[1:], rng))) < 4.0 / np.sqrt(6_000)
    assert autocorrelation(block_bootstrapped_bars(*real[1:], rng, block=120)) > 0.5


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    real = made_bars(300)
    for make in (permuted_bars, lambda *args: block_bootstrapped_bars(*args, block=24)):
        one, two, other = (make(*real[1:], np.random.default_rng(seed)) for seed in (7, 7, 8))
        assert one.close.tobytes() == two.close.tobytes()
        assert one.close.tobytes() != other.close.tobytes()


# -- Sessions ----------------------------------------------------------------------------------------------------------


def test_a_session_begins_at_nights_weekends_and_holes_in_the_data() -> None:
    day = [9 * HOUR_MS + 15 * MINUTE_MS + HOUR_MS * bar for bar in range(7)]
    time = np.array([*day, *(DAY_MS + t for t in day), *(4 * DAY_MS + t for t in day if t != day[3])])
    expected = [0] * 7 + [1] * 7 + [2] * 3 + [3] * 3
    assert session_labels(time, HOUR_MS).tolist() == expected
    assert session_labels(START + HOUR_MS * np.arange(50), HOUR_MS).tolist() == [0] * 50
    assert session_labels(np.array([START]), HOUR_MS).tolist() == [0]


def nse_like(sessions: int, bars: int = 7, *, half_day: int | None = None) -> tuple[Bars, IntArray]:
    """Bars whose night gaps are ten times as large as any gap within a session."""
    lengths = [3 if day == half_day else bars for day in range(sessions)]
    session = np.repeat(np.arange(sessions), lengths)
    real = made_bars(len(session))
    night = np.concatenate(([0.0], np.where(np.diff(session) > 0, 0.2, 0.0)))
    factor = np.exp(np.cumsum(night * np.where(session % 2, 1.0, -1.0)))
    moved = {name: getattr(real, name) * factor for name in ("open", "high", "low", "close")}
    return real._replace(**moved), session


@pytest.mark.parametrize("first", [1, 3, 7, 10])
def test_a_night_gap_stays_between_sessions(first: int) -> None:
    real, session = nse_like(40)
    made = permuted_bars(*real[1:], np.random.default_rng(4), first=first, session=session)
    between = session[1:] != session[:-1]
    for kind in (between, ~between):
        np.testing.assert_allclose(np.sort(gaps_of(made)[kind]), np.sort(gaps_of(real)[kind]), rtol=0, atol=1e-12)
    assert not np.allclose(gaps_of(made)[between], gaps_of(real)[between])
    assert made.close[-1] == pytest.approx(real.close[-1], rel=1e-12)
    without = permuted_bars(*real[1:], np.random.default_rng(4), first=first)
    assert np.abs(gaps_of(without)[~between]).max() > 0.15  # what the sessions are for


def test_runs_of_sessions_begin_at_the_same_bar_of_the_session() -> None:
    real, session = nse_like(60)
    made = block_bootstrapped_bars(*real[1:], np.random.default_rng(6), block=20, first=7, session=session)
    sources = sources_of(made, 7)
    np.testing.assert_array_equal(sources % 7, np.arange(7, 420) % 7)
    np.testing.assert_allclose(gaps_of(made)[6:], gaps_of(real)[sources - 1], rtol=0, atol=1e-12)


def test_after_a_half_day_gaps_of_the_right_kind_are_drawn() -> None:
    real, session = nse_like(60, half_day=20)
    made = block_bootstrapped_bars(*real[1:], np.random.default_rng(6), block=100, session=session)
    between = session[1:] != session[:-1]
    assert np.abs(gaps_of(made)[between]).min() > 0.15
    assert np.abs(gaps_of(made)[~between]).max() < 0.05


# -- Blocks ------------------------------------------------------------------------------------------------------------


def test_runs_are_real_have_the_mean_length_asked_for_and_begin_anywhere() -> None:
    n, block, first = 40_000, 25.0, 5
    real = made_bars(n)
    made = block_bootstrapped_bars(*real[1:], np.random.default_rng(9), block=block, first=first)
    sources = sources_of(made, first)
    assert sources.min() >= first
    follows = sources[1:] == np.where(sources[:-1] == n - 1, first, sources[:-1] + 1)
    runs = 1 + int(np.count_nonzero(~follows))
    expected = (n - first) / block
    assert abs(runs - expected) < 5.0 * np.sqrt(expected)
    starts = sources[1:][~follows]
    assert np.histogram(starts, bins=4, range=(first, n))[0] == pytest.approx(np.full(4, runs / 4), rel=0.15)
    # Gap and body of a bar come from the same real bar, also where a run begins.
    np.testing.assert_allclose(gaps_of(made)[first - 1 :], gaps_of(real)[sources - 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(bodies_of(made)[first:], bodies_of(real)[sources], rtol=0, atol=1e-12)
    assert_possible(made)


def test_blocks_of_one_bar_are_independent_draws() -> None:
    real = made_bars(20_000)
    sources = sources_of(block_bootstrapped_bars(*real[1:], np.random.default_rng(9), block=1), 1)
    assert np.count_nonzero(np.diff(sources) == 1) < 10
    assert len(np.unique(sources)) / len(sources) == pytest.approx(1 - np.exp(-1), abs=0.01)


# -- Noise in place of the future --------------------------------------------------------------------------------------


def test_the_past_stays_to_the_bit_and_the_future_owes_nothing_to_the_real_one() -> None:
    real, at = made_bars(500), 299
    other = Bars(real.time, *(np.concatenate((column[: at + 1], 3.0 * column[at + 1 :][::-1])) for column in real[1:]))
    made, again = (noise_future(bars, at, np.random.default_rng(1)) for bars in (real, other))
    for column, twin, own in zip(made, again, real, strict=True):
        assert column[: at + 1].tobytes() == own[: at + 1].tobytes()
        assert column.tobytes() == twin.tobytes()
    for column, own in zip(made[1:], real[1:], strict=True):
        assert column.shape == own.shape
        assert (column[at + 1 :] != own[at + 1 :]).all()
    assert made.time is real.time
    assert_possible(made)


def test_noise_goes_up_as_often_as_down_and_begins_with_a_jump() -> None:
    real = made_bars(50)
    jumps = [
        float(np.log(made.open[31] / real.close[30]))
        for made in (noise_future(real, 30, np.random.default_rng(seed)) for seed in range(400))
    ]
    assert 0.05 - 1e-12 <= np.abs(jumps).min() <= np.abs(jumps).max() <= 0.25 + 1e-12
    assert abs(np.count_nonzero(np.array(jumps) > 0) - 200) < 50


@pytest.mark.parametrize("at", [0, 1, 198, 199])
def test_noise_can_begin_anywhere(at: int) -> None:
    real = made_bars(200)
    made = noise_future(real, at, np.random.default_rng(0))
    assert all(np.isfinite(column).all() for column in made)
    assert np.count_nonzero(made.close != real.close) == 199 - at


def test_noise_of_a_million_bars_stays_among_prices() -> None:
    flat = np.full(10**6, 100.0)
    made = noise_future(Bars(np.arange(10**6), flat, flat, flat, flat, 0.0 * flat), 10, np.random.default_rng(0))
    assert 100.0 * np.exp(-15) < made.low.min() < made.high.max() < 100.0 * np.exp(15)
    assert not made.volume.any()


# -- As candles --------------------------------------------------------------------------------------------------------


def test_made_candles_keep_identity_and_times_say_synthetic_and_pass_the_audit() -> None:
    candles = Candles.of(
        dict(zip(Bars._fields, made_bars(2_000), strict=True)), exchange="BINANCE", symbol="BTCUSDT", timeframe="1H"
    )
    for make in (permuted_bars, lambda *args: block_bootstrapped_bars(*args, block=120)):
        made = make(*candles.bars[1:], np.random.default_rng(0))
        like = as_candles_like(candles, made)
        assert like.label == "BINANCE BTCUSDT 1H SYNTHETIC"
        assert like.time is candles.time
        assert like.close is made.close
        assert like.fingerprint != candles.fingerprint
        assert not candles.synthetic
        like.require_sound()


def test_quote_volume_is_kept_where_it_was_resampled_and_dropped_where_it_was_not() -> None:
    candles = sample_candles("SAMPLE-ETH", "1H", "2024-01-01", "2024-02-01")
    rng = np.random.default_rng(0)
    made = permuted_bars(*candles.bars[1:], rng, quote_volume=candles.quote_volume)
    assert as_candles_like(candles, made).quote_volume is made.quote_volume
    assert as_candles_like(candles, made).audit.ok
    assert as_candles_like(candles, noise_future(candles.bars, 100, rng)).quote_volume is None


def test_the_real_market_permutes_into_sound_candles(market_data: Any) -> None:
    import polars

    frame = polars.read_parquet(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet")
    candles = Candles.of(frame, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H", audit="report")
    made = permuted_bars(
        *candles.bars[1:],
        np.random.default_rng(0),
        quote_volume=candles.quote_volume,
        session=session_labels(candles.time, candles.timeframe.ms),
    )
    assert made.close[-1] == pytest.approx(candles.close[-1], rel=1e-10)
    assert_possible(made)
    like = as_candles_like(candles, made)
    assert [finding.kind for finding in like.audit.errors] == [finding.kind for finding in candles.audit.errors]


# -- Bad input ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_resampled_is_refused_in_one_sentence() -> None:
    real, rng = made_bars(10), np.random.default_rng(0)
    columns = real[1:]
    with pytest.raises(DataError, match="10 bars of which 10 stay leave nothing to resample"):
        permuted_bars(*columns, rng, first=10)
    with pytest.raises(ConfigError, match="first is 0; at least 1 bar"):
        permuted_bars(*columns, rng, first=0)
    with pytest.raises(DataError, match="Column volume has 9 values, column open has 10"):
        permuted_bars(*columns[:4], real.volume[1:], rng)
    with pytest.raises(DataError, match="Column session has 3 values"):
        permuted_bars(*columns, rng, session=np.arange(3))
    with pytest.raises(ConfigError, match=r"mean block is 0\.5 bars"):
        block_bootstrapped_bars(*columns, rng, block=0.5)
    with pytest.raises(ConfigError, match="mean block is nan bars"):
        block_bootstrapped_bars(*columns, rng, block=float("nan"))
    with pytest.raises(DataError, match="no bar 10 among 10 bars"):
        noise_future(real, 10, rng)
    with pytest.raises(DataError, match="no bar -1 among 10 bars"):
        noise_future(real, -1, rng)
    candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-01-02")
    with pytest.raises(DataError, match=r"shape \(10,\)"):
        as_candles_like(candles, permuted_bars(*columns, rng))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_price_that_is_none_is_refused(price: float, column: str) -> None:
    real = made_bars(10)
    getattr(real, column)[4] = price
    with pytest.raises(DataError, match=f"Column {column} has a price that is not positive and finite"):
        permuted_bars(*real[1:], np.random.default_rng(0))
    if column == "close":
        with pytest.raises(DataError, match="Column close has a price"):
            noise_future(real, 5, np.random.default_rng(0))
