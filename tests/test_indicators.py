"""Indicators: equal to TA-Lib or to a slow version in here, causal to the bit, remembered only where it is safe."""

import gc
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core import indicators as core
from barwise.core.layout import Bars, FloatArray
from barwise.errors import ConfigError
from barwise.strategy import indicators as public
from barwise.strategy.memo import Memo
from tests.conftest import REPOSITORY

HOUR_MS = 3_600_000
INDIA_MS = 330 * 60_000

# Every public function on bars, with all its outputs; the look-ahead sweep and the other laws run over this table.
SWEEP: dict[str, Callable[[Bars], Any]] = {
    "sma": lambda bars: public.sma(bars.close, 7),
    "ema": lambda bars: public.ema(bars.close, 7),
    "rsi": lambda bars: public.rsi(bars.close, 6),
    "atr": lambda bars: public.atr(bars, 6),
    "vwap": lambda bars: public.vwap(bars, INDIA_MS),
    "rolling_max": lambda bars: public.rolling_max(bars.high, 7),
    "rolling_min": lambda bars: public.rolling_min(bars.low, 7),
    "rolling_std": lambda bars: public.rolling_std(bars.close, 7),
    "bollinger": lambda bars: public.bollinger(bars.close, 7),
    "macd": lambda bars: public.macd(bars.close, 3, 8, 4),
    "adx": lambda bars: public.adx(bars, 5),
    "donchian": lambda bars: public.donchian(bars, 7),
    "supertrend": lambda bars: public.supertrend(bars, 5, 1.2),
    "shift": lambda bars: public.shift(bars.close, 3),
    "crossed_above": lambda bars: public.crossed_above(bars.close, bars.open),
    "crossed_below": lambda bars: public.crossed_below(bars.close, bars.open),
}
# Bars before the first value: of each output where they differ.
WARM_UP = {
    "sma": (6,),
    "ema": (6,),
    "rsi": (6,),
    "atr": (6,),
    "vwap": (0,),
    "rolling_max": (6,),
    "rolling_min": (6,),
    "rolling_std": (6,),
    "bollinger": (6, 6, 6),
    "macd": (10, 10, 10),
    "adx": (5, 5, 9),
    "donchian": (6, 6),
    "supertrend": (5, 5),
    "shift": (3,),
}
RECURSIVE = ("ema", "rsi", "atr", "macd", "adx", "supertrend")

every_indicator = pytest.mark.parametrize("name", SWEEP)
every_line = pytest.mark.parametrize("name", WARM_UP)


def market(size: int, seed: int = 0, price: float = 100.0, wobble: float = 0.01) -> Bars:
    """Seeded random hourly bars, some of zero volume, writable."""
    random = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(random.normal(0.0, wobble, size)))
    opens = close * np.exp(random.normal(0.0, wobble / 3, size))
    high = np.maximum(opens, close) * (1 + wobble * random.random(size))
    low = np.minimum(opens, close) * (1 - wobble * random.random(size))
    volume = random.lognormal(3.0, 1.0, size) * (random.random(size) > 0.05)
    return Bars(np.arange(size, dtype=np.int64) * HOUR_MS + 1_735_689_600_000, opens, high, low, close, volume)


def read(folder: Path, name: str) -> Bars:
    frame = pl.read_parquet(folder / f"{name}.parquet")
    return Bars._make(np.ascontiguousarray(frame[column].to_numpy()) for column in Bars._fields)


def frozen(bars: Bars) -> Bars:
    copies = Bars._make(column.copy() for column in bars)
    for column in copies:
        column.flags.writeable = False
    return copies


def outputs(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def prefix(bars: Bars, size: int) -> Bars:
    return Bars._make(column[:size].copy() for column in bars)


def assert_close(ours: FloatArray, theirs: FloatArray, scale: float = 0.0) -> None:
    """Equal to 1e-9 relative with NaN in the same places.

    `scale` is the size of the inputs where the output is a difference of them: near a zero of the difference no two
    orders of summation agree to 1e-9 of the tiny rest, so 1e-12 of the inputs is let pass there.
    """
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * scale, equal_nan=True)


# --- equal to TA-Lib --------------------------------------------------------------------------------------------------

REAL_FILES = [
    "binance_spot_BTCUSDT_1h_20200920_20250331",
    "binance_um_DOGEUSDT_4h_20220101_20250331",
    "delta_india_BTCUSD_1m_20260602_20260606",
    "dhan_NIFTY_ATM_CE_5m_20260119_20260716",
    "nse_RELIANCE_1d_20191001_20260821",
    "nse_tickbuilt_NIFTY_1m_202103_20210507",
]


def assert_equal_to_talib(bars: Bars, n: int) -> None:
    _, _, high, low, close, _ = bars
    scale = float(np.nanmax(np.abs(close)))
    assert_close(public.sma(close, n), talib.SMA(close, n))
    assert_close(public.ema(close, n), talib.EMA(close, n))
    assert_close(public.rsi(close, n), talib.RSI(close, n))
    assert_close(core.true_range(high, low, close), talib.TRANGE(high, low, close))
    assert_close(public.atr(bars, n), talib.ATR(high, low, close, n))
    assert_close(public.rolling_max(close, n), talib.MAX(close, n))
    assert_close(public.rolling_min(close, n), talib.MIN(close, n))
    assert_close(public.rolling_std(close, n), talib.STDDEV(close, n), scale)
    for ours, theirs in zip(public.bollinger(close, n, 1.7), talib.BBANDS(close, n, 1.7, 1.7), strict=True):
        assert_close(ours, theirs, scale)
    for ours, theirs in zip(public.macd(close, n, 2 * n + 1, 9), talib.MACD(close, n, 2 * n + 1, 9), strict=True):
        assert_close(ours, theirs, scale)
    movement = public.adx(bars, n)
    assert_close(movement.plus_di, talib.PLUS_DI(high, low, close, n))
    assert_close(movement.minus_di, talib.MINUS_DI(high, low, close, n))
    assert_close(movement.adx, talib.ADX(high, low, close, n))
    upper, _, lower = talib.DONCHIAN(high, low, n)
    assert_close(public.donchian(bars, n).upper, upper)
    assert_close(public.donchian(bars, n).lower, lower)
    line, direction = talib.SUPERTREND(high, low, close, n, 2.5)
    assert_close(public.supertrend(bars, n, 2.5).line, line)
    np.testing.assert_array_equal(public.supertrend(bars, n, 2.5).direction, direction)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [2, 3, 14, 50, 200])
def test_random_series_give_talibs_values_and_talibs_nan(seed: int, n: int) -> None:
    assert_equal_to_talib(market(1500, seed, price=[1e-5, 0.3, 100.0, 7e4, 1e6][seed]), n)


@pytest.mark.parametrize("name", REAL_FILES)
@pytest.mark.parametrize("n", [2, 14, 100])
def test_real_candles_give_talibs_values_and_talibs_nan(market_data: Path, name: str, n: int) -> None:
    assert_equal_to_talib(read(market_data, name), n)


@pytest.mark.parametrize("leading", [1, 5, 40])
def test_leading_nan_are_skipped_as_talib_skips_them(leading: int) -> None:
    column = np.concatenate([np.full(leading, np.nan), market(300).close])
    assert_close(public.ema(column, 10), talib.EMA(column, 10))
    assert_close(public.sma(column, 10), talib.SMA(column, 10))
    assert_close(public.rsi(column, 10), talib.RSI(column, 10))
    assert_close(public.ema(public.rsi(column, 14), 9), talib.EMA(talib.RSI(column, 14), 9))
    for ours, theirs in zip(public.macd(column), talib.MACD(column), strict=True):
        assert_close(ours, theirs, 100.0)


def test_rsi_is_zero_while_nothing_moved_and_only_then() -> None:
    still = np.full(40, 5.0)
    assert_close(public.rsi(still, 14), talib.RSI(still, 14))
    assert (public.rsi(still, 14)[14:] == 0.0).all()
    rising_once = np.concatenate([still, [5.1], np.full(500, 5.1)])
    assert (public.rsi(rising_once, 14)[40:] == 100.0).all()


# --- equal to a slow version ------------------------------------------------------------------------------------------


def slow_vwap(bars: Bars, utc_offset_ms: int) -> list[float]:
    typical = [(h + low + c) / 3 for h, low, c in zip(bars.high, bars.low, bars.close, strict=True)]
    days = [(int(t) + utc_offset_ms) // 86_400_000 for t in bars.time]
    values = []
    for t in range(len(days)):
        session = [i for i in range(t + 1) if days[i] == days[t]]
        traded = sum(bars.volume[i] for i in session)
        values.append(sum(typical[i] * bars.volume[i] for i in session) / traded if traded else typical[t])
    return values


@pytest.mark.parametrize("offset", [0, INDIA_MS, -5 * HOUR_MS])
def test_session_vwap_equals_its_definition(offset: int) -> None:
    bars = market(400, seed=3)
    bars.volume[90:130] = 0.0  # whole days without a trade
    assert_close(public.vwap(bars, offset), np.array(slow_vwap(bars, offset)))


def test_session_vwap_of_times_before_1970_starts_at_midnight_too() -> None:
    bars = market(100)
    bars = bars._replace(time=np.arange(100, dtype=np.int64) * HOUR_MS - 50 * HOUR_MS)
    assert_close(public.vwap(bars), np.array(slow_vwap(bars, 0)))


def test_vwap_of_an_index_without_volume_is_the_typical_price(market_data: Path) -> None:
    bars = read(market_data, "nse_tickbuilt_NIFTY_1m_202103_20210507")
    assert (bars.volume == 0).all()
    np.testing.assert_array_equal(public.vwap(bars, INDIA_MS), (bars.high + bars.low + bars.close) / 3.0)


def test_real_vwap_starts_anew_at_indian_midnight(market_data: Path) -> None:
    bars = prefix(read(market_data, "kite_bse_RELIANCE_5m_20250825_20251015"), 400)
    assert_close(public.vwap(bars, INDIA_MS), np.array(slow_vwap(bars, INDIA_MS)))


def slow_supertrend(bars: Bars, n: int, multiplier: float) -> tuple[list[float], list[int]]:
    """Seban's rule bar by bar over a Wilder ATR that is summed up here."""
    _, _, high, low, close, _ = bars
    ranges = [np.nan] + [
        max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1])) for t in range(1, len(close))
    ]
    lines, directions = [np.nan] * len(close), [0] * len(close)
    width = sum(ranges[1 : n + 1]) / n
    for t in range(n, len(close)):
        if t > n:
            width = (width * (n - 1) + ranges[t]) / n
        basic_upper, basic_lower = (
            (high[t] + low[t]) / 2 + multiplier * width,
            (high[t] + low[t]) / 2 - multiplier * width,
        )
        if t == n:
            upper, lower, up = basic_upper, basic_lower, True
        else:
            upper = basic_upper if basic_upper < upper or close[t - 1] > upper else upper
            lower = basic_lower if basic_lower > lower or close[t - 1] < lower else lower
            up = close[t] >= lower if up else close[t] > upper
        lines[t], directions[t] = (lower, 1) if up else (upper, -1)
    return lines, directions


@pytest.mark.parametrize(("n", "multiplier"), [(1, 0.5), (5, 1.0), (10, 3.0)])
def test_supertrend_equals_sebans_rule(n: int, multiplier: float) -> None:
    bars = market(600, seed=8)
    line, direction = slow_supertrend(bars, n, multiplier)
    assert_close(public.supertrend(bars, n, multiplier).line, np.array(line))
    np.testing.assert_array_equal(public.supertrend(bars, n, multiplier).direction, direction)
    assert {-1, 1} <= set(direction)


values = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.sampled_from([0.0, 1.0, 2.0]))


def windows(column: FloatArray, n: int, reduce: Callable[[FloatArray], float]) -> FloatArray:
    """The slow way: one window at a time, NaN where it is not full or holds a NaN."""
    return np.array([np.nan if t < n - 1 else reduce(column[t - n + 1 : t + 1]) for t in range(len(column))])


@settings(deadline=None)
@given(st.lists(values, max_size=60), st.integers(1, 25))
def test_windows_hold_exactly_the_last_n_values(numbers: list[float], n: int) -> None:
    column = np.array(numbers, dtype=np.float64)
    np.testing.assert_array_equal(public.rolling_max(column, n), windows(column, n, np.max))
    np.testing.assert_array_equal(public.rolling_min(column, n), windows(column, n, np.min))
    assert_close(public.sma(column, n), windows(column, n, np.mean), 1e6)
    if n >= 2:
        assert_close(public.rolling_std(column, n) ** 2, windows(column, n, np.var), 1e10)


def test_donchian_is_the_highest_high_and_the_lowest_low() -> None:
    bars = market(300, seed=5)
    np.testing.assert_array_equal(public.donchian(bars, 20).upper, windows(bars.high, 20, np.max))
    np.testing.assert_array_equal(public.donchian(bars, 20).lower, windows(bars.low, 20, np.min))


def test_deviation_of_a_quiet_stretch_survives_a_long_series_at_a_high_price_after_a_crash() -> None:
    random = np.random.default_rng(4)
    column = np.concatenate([1e9 + random.normal(0, 1e6, 300_000), 1e5 + random.normal(0, 1e-3, 1_000)])
    exact = np.lib.stride_tricks.sliding_window_view(column[-900:], 20).std(axis=1)
    np.testing.assert_allclose(public.rolling_std(column, 20)[-len(exact) :], exact, rtol=1e-9)


def test_crossings_are_the_bars_where_the_order_changes() -> None:
    a = np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0, np.nan, 3.0, 1.0])
    b = np.array([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, np.nan])
    assert np.flatnonzero(public.crossed_above(a, b)).tolist() == [2]
    assert np.flatnonzero(public.crossed_below(a, b)).tolist() == [5]
    assert np.flatnonzero(public.crossed_above(a, 2.0)).tolist() == [2]
    assert np.flatnonzero(public.crossed_below(a, 2)).tolist() == [5, 8]
    assert np.flatnonzero(public.crossed_above(2, a)).tolist() == [5, 8]
    assert public.crossed_above(a, b).dtype == np.bool_


# --- laws over all of them --------------------------------------------------------------------------------------------


def test_the_sweep_covers_every_public_function_of_the_module() -> None:
    functions = {
        name
        for name, member in vars(public).items()
        if isfunction(member) and member.__module__ == public.__name__ and not name.startswith("_")
    }
    assert functions == set(SWEEP)
    assert functions == {name for name in public.__all__ if isfunction(getattr(public, name))}
    assert set(SWEEP) - set(WARM_UP) == {"crossed_above", "crossed_below"}


@every_indicator
@pytest.mark.parametrize("last", [1e7, 1e-7, np.nan, 0.0])
def test_changing_only_the_last_bar_changes_no_earlier_value_by_a_bit(name: str, last: float) -> None:
    whole = market(90, seed=11)
    for size in range(1, 90):  # every length, so that every position within a block of a window comes last once
        before = prefix(whole, size)
        after = prefix(whole, size)
        for column in after[1:]:
            column[-1] = last
        for old, new in zip(outputs(SWEEP[name](before)), outputs(SWEEP[name](after)), strict=True):
            assert old[:-1].tobytes() == new[:-1].tobytes()


@every_indicator
def test_appending_bars_changes_no_earlier_value_by_a_bit(name: str) -> None:
    whole = market(90, seed=12)
    noise = market(90, seed=13, wobble=0.5)
    for size in range(90):
        short = outputs(SWEEP[name](prefix(whole, size)))
        mixed = Bars(*(np.concatenate([a[:size], b[size:]]) for a, b in zip(whole, noise, strict=True)))
        for part, all_bars, replaced in zip(
            short, outputs(SWEEP[name](whole)), outputs(SWEEP[name](mixed)), strict=True
        ):
            assert part.tobytes() == all_bars[:size].tobytes() == replaced[:size].tobytes()


def defined(line: Any) -> Any:
    return line != 0 if line.dtype == np.int8 else ~np.isnan(line)


@every_line
def test_the_first_value_comes_as_early_as_the_documentation_says(name: str) -> None:
    for line, warm_up in zip(outputs(SWEEP[name](market(60))), WARM_UP[name], strict=True):
        assert not defined(line[:warm_up]).any()
        assert defined(line[warm_up:]).all()


@every_line
def test_a_series_just_long_enough_has_one_value_and_a_shorter_one_has_none(name: str) -> None:
    last = max(WARM_UP[name])
    for size in range(last + 2):
        for line, warm_up in zip(outputs(SWEEP[name](market(size))), WARM_UP[name], strict=True):
            assert line.shape == (size,)
            assert defined(line).sum() == max(0, size - warm_up)


@every_line
@pytest.mark.parametrize("leading", [1, 13])
def test_leading_nan_delay_the_values_and_change_no_bit(name: str, leading: int) -> None:
    bars = market(80, seed=2)
    start = bars.time[0] - leading * HOUR_MS
    late = Bars._make(np.concatenate([np.full(leading, np.nan), column]) for column in bars)
    late = late._replace(time=np.concatenate([start + np.arange(leading, dtype=np.int64) * HOUR_MS, bars.time]))
    for line, plain in zip(outputs(SWEEP[name](late)), outputs(SWEEP[name](bars)), strict=True):
        assert not defined(line[:leading]).any()
        np.testing.assert_array_equal(line[leading:], plain)


@every_line
def test_a_nan_in_the_middle_undefines_what_depends_on_it(name: str) -> None:
    clean, holed = market(200, seed=9), market(200, seed=9)
    for column in holed[1:]:
        column[50] = np.nan
    for line, plain in zip(outputs(SWEEP[name](holed)), outputs(SWEEP[name](clean)), strict=True):
        np.testing.assert_array_equal(line[:50], plain[:50])
        if name in RECURSIVE:
            assert not defined(line[50:]).any()
        elif name == "shift":
            assert np.flatnonzero(np.isnan(line[50:])).tolist() == [3]
        elif name == "vwap":
            next_day = next(t for t in range(50, 200) if (holed.time[t] + INDIA_MS) % (24 * HOUR_MS) < HOUR_MS)
            assert not defined(line[50:next_day]).any()
            np.testing.assert_array_equal(line[next_day:], plain[next_day:])
        else:
            assert np.flatnonzero(~defined(line[50:])).tolist() == list(range(7))
            assert_close(line[57:], plain[57:], 100.0)


@every_line
def test_nothing_but_nan_gives_nothing_but_nan(name: str) -> None:
    bars = market(50)
    for column in bars[1:]:
        column[:] = np.nan
    assert not any(defined(line).any() for line in outputs(SWEEP[name](bars)))


@pytest.mark.parametrize("price", [0.1, 1.0, 1e-5, 67_123.45])
def test_a_flat_market_stays_flat_to_the_bit_and_crosses_nothing(price: float) -> None:
    flat = market(300)
    for column in flat[1:5]:
        column[:] = price
    close = flat.close
    for line in (
        public.ema(close, 20),
        public.sma(close, 20),
        *public.bollinger(close, 20),
        *public.donchian(flat, 20),
    ):
        assert (line[19:] == price).all()
    for line in (
        public.rolling_std(close, 20),
        public.atr(flat, 20),
        public.rsi(close, 20),
        *public.macd(close, 5, 9, 6),
    ):
        assert (line[20:] == 0.0).all()
    assert all((line[39:] == 0.0).all() for line in public.adx(flat, 20))
    assert (public.vwap(flat) == public.vwap(flat)[0]).all()
    assert not public.crossed_above(close, public.ema(close, 13)).any()
    assert not public.crossed_above(public.ema(close, 12), public.sma(close, 26)).any()
    assert not public.crossed_below(public.vwap(flat), public.shift(public.vwap(flat))).any()


@every_indicator
def test_the_unit_of_the_price_does_not_matter(name: str) -> None:
    """A power of two scales without rounding, so prices must scale and shares must stay, to the bit."""
    bars = market(200, seed=21)
    unit = 2.0**-40
    small = Bars(bars.time, bars.open * unit, bars.high * unit, bars.low * unit, bars.close * unit, bars.volume)
    for line, scaled in zip(outputs(SWEEP[name](bars)), outputs(SWEEP[name](small)), strict=True):
        shares = name in ("rsi", "adx") or line.dtype != np.float64
        np.testing.assert_array_equal(line if shares else line * unit, scaled)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def memo(monkeypatch: pytest.MonkeyPatch) -> Memo:
    fresh = Memo(limit_bytes=1_000_000)
    monkeypatch.setattr(public, "_memo", fresh)
    return fresh


@every_indicator
def test_the_same_columns_give_the_same_object_back(name: str, memo: Memo) -> None:
    bars = frozen(market(100))
    first = SWEEP[name](bars)
    assert SWEEP[name](bars) is first
    assert all(
        np.array_equal(a, b, equal_nan=a.dtype == np.float64)
        for a, b in zip(outputs(first), outputs(SWEEP[name](market(100))), strict=True)
    )


@every_indicator
def test_writable_columns_are_computed_afresh_and_never_kept(name: str, memo: Memo) -> None:
    bars = market(100)
    assert SWEEP[name](bars) is not SWEEP[name](bars)
    assert len(memo) == 0


@every_indicator
def test_results_cannot_be_written_to(name: str) -> None:
    for bars in (market(50), frozen(market(50))):
        for line in outputs(SWEEP[name](bars)):
            with pytest.raises(ValueError, match="read-only"):
                line[0] = 1
            with pytest.raises(ValueError, match="WRITEABLE"):
                line.flags.writeable = True


def test_other_arguments_and_other_columns_are_other_results(memo: Memo) -> None:
    bars = frozen(market(100))
    assert public.ema(bars.close, 5) is not public.ema(bars.close, 6)
    assert public.ema(bars.close, 5) is not public.ema(bars.open, 5)
    assert public.ema(bars.close, 5) is not public.sma(bars.close, 5)
    assert public.crossed_above(bars.close, 100) is public.crossed_above(bars.close, 100.0)
    assert public.crossed_above(bars.close, 100) is not public.crossed_above(bars.close, 101)


def test_a_new_array_at_a_dead_ones_address_never_gets_its_result(memo: Memo) -> None:
    addresses, repeats = set(), 0
    for number in range(200):
        column = np.full(50, float(number))
        column.flags.writeable = False
        repeats += id(column) in addresses
        addresses.add(id(column))
        assert public.sma(column, 5)[-1] == number
        del column
    assert repeats > 0, "no address came back, so nothing was tested"


def test_results_leave_with_the_columns_they_came_from(memo: Memo) -> None:
    bars = frozen(market(100))
    public.ema(public.rsi(bars.close, 14), 9)  # the second one hangs on the first one's result only
    public.atr(bars, 14)
    assert len(memo) == 3
    assert memo.size == 3 * 100 * 8
    del bars
    gc.collect()
    assert len(memo) == 0
    assert memo.size == 0


def test_a_column_made_writable_is_computed_afresh(memo: Memo) -> None:
    column = frozen(market(100)).close
    old = public.sma(column, 3)
    column.flags.writeable = True
    column[-1] = 1e6
    assert public.sma(column, 3)[-1] > 1e5 > old[-1]


def test_a_read_only_view_of_writable_memory_is_not_remembered(memo: Memo) -> None:
    owner = market(100).close
    view = owner[:]
    view.flags.writeable = False
    assert public.sma(view, 3)[-1] < 1e5
    owner[-1] = 1e6
    assert public.sma(view, 3)[-1] > 1e5
    assert len(memo) == 0


def test_memory_is_bounded_and_the_longest_unused_goes_first(memo: Memo) -> None:
    column = frozen(market(1000)).close  # 8,000 bytes a result, so 125 of them fit
    keep = public.ema(column, 2)
    for n in range(3, 400):
        public.ema(column, n)
        assert public.ema(column, 2) is keep
        assert memo.size <= memo.limit_bytes
    assert len(memo) == 125
    assert memo.size == 125 * 8000
    newest = public.ema(column, 399)
    assert public.ema(column, 399) is newest


def test_a_result_above_the_limit_is_returned_and_not_kept(memo: Memo) -> None:
    column = frozen(market(200_000)).close
    assert np.isfinite(public.ema(column, 5)[-1])
    assert len(memo) == 0


def test_threads_get_right_results_and_leave_the_books_straight(memo: Memo) -> None:
    shared = frozen(market(1000)).close
    expected = {n: public.ema(np.array(shared), n).tobytes() for n in range(2, 200)}
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for n in random.integers(2, 200, 600).tolist():
            own = np.full(50, float(n))
            own.flags.writeable = False
            if public.ema(shared, n).tobytes() != expected[n] or public.sma(own, 5)[-1] != n:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    public.ema(shared, 2)  # whatever a busy lock has put off is done by the next call
    assert memo.size <= memo.limit_bytes
    assert memo.size == sum(entry.size for entry in memo._entries.values())
    memo.clear()
    assert (len(memo), memo.size) == (0, 0)


# --- input ------------------------------------------------------------------------------------------------------------


def test_lists_integers_views_and_frames_columns_are_accepted() -> None:
    import pandas as pd

    expected = public.sma(np.array([1.0, 2.0, 3.0, 4.0]), 2)
    for column in (
        [1, 2, 3, 4],
        (1.0, 2.0, 3.0, 4.0),
        np.array([1, 2, 3, 4], dtype=np.int32),
        np.arange(1.0, 9.0)[:4],
        np.repeat(np.arange(1.0, 5.0), 2)[::2],
        np.arange(1.0, 5.0).astype(">f8"),
        pd.Series([1.0, 2.0, 3.0, 4.0]),
        pl.Series([1, 2, 3, 4]),
        np.array([1, 2, 3, 4], dtype=object),
    ):
        np.testing.assert_array_equal(public.sma(column, 2), expected)
    np.testing.assert_array_equal(public.rolling_max(np.array([True, False, False]), 2), [np.nan, 1.0, 0.0])
    assert public.sma([], 2).shape == (0,)


def test_numpy_integers_are_periods() -> None:
    column = frozen(market(50)).close
    period: Any = np.int64(5)
    assert public.ema(column, period) is public.ema(column, 5)


BARS: Any = market(30)
loose: Any = public  # what a type checker would stop is called here on purpose


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: loose.ema(BARS.close, 0), "ema: n must be a whole number of bars, at least 1; got 0"),
        (lambda: loose.ema(BARS.close, 14.0), "got 14.0"),
        (lambda: loose.ema(BARS.close, True), "got True"),
        (lambda: loose.ema(BARS.close, "20"), "got '20'"),
        (lambda: loose.ema(BARS.close, None), "got None"),
        (lambda: loose.ema(BARS.close, 10**30), "got 1000000"),
        (lambda: loose.rsi(BARS.close, 1), "rsi: n must be a whole number of bars, at least 2"),
        (lambda: loose.adx(BARS, 1), "at least 2"),
        (lambda: loose.rolling_std(BARS.close, 1), "at least 2"),
        (lambda: loose.shift(BARS.close, -1), "A negative one would read the future"),
        (lambda: loose.macd(BARS.close, 26, 12), "fast must be shorter than slow; got fast 26, slow 12"),
        (lambda: loose.bollinger(BARS.close, 20, 0.0), "deviations must be a number above 0; got 0.0"),
        (lambda: loose.supertrend(BARS, 10, float("nan")), "multiplier must be a number above 0; got nan"),
        (lambda: loose.supertrend(BARS, 10, "3"), "multiplier must be a number above 0; got '3'"),
        (lambda: loose.vwap(BARS, 90_000_000), "utc_offset_ms must be a whole number of ms within one day"),
        (lambda: loose.vwap(BARS, 5.5), "got 5.5"),
        (
            lambda: loose.vwap(BARS._replace(time=BARS.close)),
            "vwap takes a column of whole milliseconds; got ndarray that holds something else",
        ),
        (lambda: loose.ema(BARS, 20), "ema takes one column"),
        (lambda: loose.ema(5.0, 20), "ema takes one column"),
        (lambda: loose.ema(["a", "b"], 2), "ema takes a column of numbers; got list that holds something else"),
        (lambda: loose.ema([[1.0], [2.0, 3.0]], 2), "ema takes a column of numbers"),
        (lambda: loose.ema([1.0, {}], 2), "ema takes a column of numbers"),
        (lambda: loose.ema(np.array([1j, 2j]), 2), "ema takes a column of numbers"),
        (lambda: loose.ema(np.array(["2025-01-01"], dtype="datetime64[D]"), 2), "ema takes a column of numbers"),
        (lambda: loose.atr(BARS.close, 14), "atr takes bars, with their high, low, close and so on; got ndarray"),
        (lambda: loose.vwap(BARS.close), "vwap takes bars"),
        (lambda: loose.crossed_above(BARS.close, BARS.open[1:]), "columns must have one length; got 30, 29"),
        (lambda: loose.crossed_above(1.0, 2.0), "needs a column; got two numbers"),
        (lambda: loose.crossed_above(BARS.close, "high"), "takes a column of numbers; got str"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert caught.value.hint


def test_the_documentation_has_a_row_for_every_indicator() -> None:
    page = (REPOSITORY / "docs" / "indicators.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert {row.split("`")[1].split("(")[0] for row in rows} == set(SWEEP)


# --- compiled code ----------------------------------------------------------------------------------------------------

PROBE = """
import numpy as np
from barwise.core import indicators
from barwise.core._jit import compiled_cache_is_cold
state = [compiled_cache_is_cold(indicators.ema, indicators.shift)]
indicators.ema(np.arange(9.0), 2), indicators.shift(np.arange(9.0), 2)
print(state + [compiled_cache_is_cold(indicators.ema, indicators.shift), compiled_cache_is_cold(indicators.adx)])
"""


@pytest.fixture
def installed_core(tmp_path: Path) -> Path:
    """A copy of the package in a folder of its own, without the top that imports everything."""
    package = tmp_path / "installed" / "barwise"
    shutil.copytree(Path(core.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text("")
    return package


def probe(package: Path, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    variables |= {"PYTHONPATH": str(package.parent)} | environment
    done = subprocess.run([sys.executable, "-c", PROBE], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_cold_cache_is_known_before_the_first_call_and_any_change_of_the_core_makes_it_cold(
    installed_core: Path,
) -> None:
    assert probe(installed_core) == "[True, False, True]"
    assert probe(installed_core) == "[False, False, True]"
    with (installed_core / "core" / "layout.py").open("a", encoding="utf-8") as layout:
        layout.write("\n# changed\n")
    assert probe(installed_core) == "[True, False, True]"


def test_a_machine_without_a_writable_folder_compiles_in_every_process(installed_core: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder would have to be")
    (installed_core / "core" / "__pycache__").write_text("")
    for _ in range(2):
        state = probe(installed_core, HOME=str(blocked), XDG_CACHE_HOME=str(blocked), LOCALAPPDATA=str(blocked))
        assert state == "[True, False, True]"


PRESSED = """
import os, signal
import numpy as np
from numba.extending import overload
from barwise.core._jit import njit

def pressed(x): ...

@overload(pressed)
def _pressed(x):
    print("compiling", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    return lambda x: x + 1.0

@njit
def function(x):
    return pressed(x)

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print(function(1.0))
except KeyboardInterrupt:
    print("heard")
print(function(1.0), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_is_heard_when_the_function_is_compiled_and_leaves_it_whole(
    installed_core: Path, tmp_path: Path
) -> None:
    script = tmp_path / "pressed.py"
    script.write_text(PRESSED)
    done = subprocess.run(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(installed_core.parent)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["compiling", "heard", "2.0 True"]
    assert done.stderr == ""
