"""Windows are calendar days of the market: counted by hand at every timeframe, around the clock and in sessions."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from barwise.config import WalkForwardConfig
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.errors import ConfigError, DataError
from barwise.timeframe import DAY_MS, Timeframe
from barwise.validation.windows import Window, generate_windows, span_of

START = datetime(2024, 1, 1, tzinfo=UTC)
BSE_5M = "kite_bse_RELIANCE_5m_20250825_20251015.parquet"
NSE_1D = "nse_RELIANCE_1d_20191001_20260821.parquet"


def flat_candles(days: float, timeframe: str = "1H", start: datetime = START) -> Candles:
    """So many days of bars around the clock that all cost the same."""
    step = Timeframe.parse(timeframe).ms
    bars = round(days * DAY_MS / step)
    columns = {name: np.full(bars, 100.0) for name in ("open", "high", "low", "close", "volume")}
    time = int(start.timestamp() * 1000) + step * np.arange(bars)
    return Candles.of({"time": time, **columns}, exchange="BINANCE", symbol="FLAT", timeframe=timeframe)


def india(month: int, day: int, hour: int = 0, minute: int = 0, year: int = 2025) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC) - timedelta(hours=5, minutes=30)


def test_200_days_of_hours_are_7_windows_of_60_and_20_days() -> None:
    windows = generate_windows(flat_candles(200), WalkForwardConfig())
    assert len(windows) == 7
    for number, window in enumerate(windows):
        begin = START + timedelta(days=20 * number)
        assert window == (begin, begin + timedelta(60), begin + timedelta(60), begin + timedelta(80))
    assert windows[-1].oos_end == START + timedelta(200)


def test_a_leap_year_is_15_windows_and_6_days_are_left_over() -> None:
    windows = generate_windows(flat_candles(366), WalkForwardConfig())
    assert len(windows) == 15
    assert windows[-1].oos_end == datetime(2024, 12, 26, tzinfo=UTC)


@pytest.mark.parametrize("timeframe", ["5M", "1H", "4H", "1D"])
def test_the_windows_are_the_same_days_at_every_timeframe_and_their_spans_count_its_bars(timeframe: str) -> None:
    candles = flat_candles(100, timeframe)
    windows = generate_windows(candles, WalkForwardConfig())
    assert windows == generate_windows(flat_candles(100), WalkForwardConfig())
    per_day = DAY_MS // candles.timeframe.ms
    assert [span_of(candles, window) for window in windows] == [
        (0, 60 * per_day, 60 * per_day, 80 * per_day),
        (20 * per_day, 80 * per_day, 80 * per_day, 100 * per_day),
    ]


def test_edges_are_aware_utc_and_half_open() -> None:
    candles = flat_candles(80)
    [window] = generate_windows(candles, WalkForwardConfig())
    assert all(moment.tzinfo is UTC for moment in window)
    span = span_of(candles, window)
    # The bar that opens at is_end is the first one to trade, and in no in-sample part.
    assert int(candles.time[span.oos_first]) == int(window.oos_start.timestamp() * 1000)
    assert int(candles.time[span.is_stop - 1]) == int(window.is_end.timestamp() * 1000) - candles.timeframe.ms
    assert span.oos_stop == len(candles)


def test_anchored_parts_all_begin_at_the_first_bar() -> None:
    rolling = generate_windows(flat_candles(200), WalkForwardConfig())
    anchored = generate_windows(flat_candles(200), WalkForwardConfig(anchored=True))
    assert anchored == [Window(START, *window[1:]) for window in rolling]


def test_an_embargo_leaves_out_its_bars_and_the_parts_still_join() -> None:
    candles = flat_candles(200)
    windows = generate_windows(candles, WalkForwardConfig(embargo=12))
    # The seventh would end 12 hours after the data.
    assert len(windows) == 6
    for window in windows:
        assert window.oos_start - window.is_end == timedelta(hours=12)
        assert window.oos_end - window.oos_start == timedelta(20)
        span = span_of(candles, window)
        assert span.oos_first - span.is_stop == 12
    assert [window.oos_end for window in windows[:-1]] == [window.oos_start for window in windows[1:]]
    assert len(generate_windows(flat_candles(200.5), WalkForwardConfig(embargo=12))) == 7


def test_a_short_stride_overlaps_and_a_long_one_leaves_gaps() -> None:
    close = generate_windows(flat_candles(100), WalkForwardConfig(stride_days=5))
    assert len(close) == 5
    assert close[1].oos_start < close[0].oos_end
    apart = generate_windows(flat_candles(140), WalkForwardConfig(stride_days=30))
    assert len(apart) == 3
    assert apart[1].oos_start - apart[0].oos_end == timedelta(10)


def test_the_first_window_begins_at_the_midnight_before_the_first_bar() -> None:
    candles = flat_candles(80, start=START + timedelta(hours=7))
    [window] = generate_windows(candles, WalkForwardConfig())
    assert window.is_start == START
    assert span_of(candles, window) == (0, 60 * 24 - 7, 60 * 24 - 7, 80 * 24 - 7)


def test_sessions_begin_at_midnight_in_india(market_data: Path) -> None:
    candles = read_candles(market_data / BSE_5M, exchange="BSE", symbol="RELIANCE")
    windows = generate_windows(candles, WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10))
    # 52 days, 25 August to 15 October; the last one ends with its session and counts.
    assert windows == [
        (india(8, 25), india(9, 14), india(9, 14), india(9, 24)),
        (india(9, 4), india(9, 24), india(9, 24), india(10, 4)),
        (india(9, 14), india(10, 4), india(10, 4), india(10, 14)),
    ]
    span = span_of(candles, windows[0])
    assert int(candles.time[0]) == int(india(8, 25, 9, 15).timestamp() * 1000)
    # 14 September is a Sunday: the next bar is Monday's first.
    assert int(candles.time[span.oos_first]) == int(india(9, 15, 9, 15).timestamp() * 1000)
    # 27 August was a holiday: 14 sessions of 75 bars from 25 August to 12 September.
    assert span[:2] == (0, 14 * 75)


def test_the_last_session_of_the_data_is_a_whole_day(market_data: Path) -> None:
    candles = read_candles(market_data / BSE_5M, exchange="BSE", symbol="RELIANCE")
    [window] = generate_windows(candles, WalkForwardConfig(is_length_days=42, oos_length_days=10))
    assert window.oos_end == india(10, 16)
    assert span_of(candles, window).oos_stop == len(candles)
    with pytest.raises(DataError, match=r"needs 53 days; the candles span 52\."):
        generate_windows(candles, WalkForwardConfig(is_length_days=42, oos_length_days=11))


def test_an_embargo_in_sessions_is_bars_and_no_night(market_data: Path) -> None:
    candles = read_candles(market_data / BSE_5M, exchange="BSE", symbol="RELIANCE")
    config = WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10, embargo=3)
    windows = generate_windows(candles, config)
    assert windows[0] == (india(8, 25), india(9, 14), india(9, 15, 9, 30), india(9, 24, 9, 30))
    for window in windows:
        span = span_of(candles, window)
        assert span.oos_first - span.is_stop == 3
    assert [span_of(candles, w).oos_stop for w in windows[:-1]] == [span_of(candles, w).oos_first for w in windows[1:]]


def test_daily_bars_of_seven_years_of_sessions_are_counted_in_calendar_days(market_data: Path) -> None:
    candles = read_candles(market_data / NSE_1D, exchange="NSE", symbol="RELIANCE")
    windows = generate_windows(candles, WalkForwardConfig(is_length_days=365, oos_length_days=90, stride_days=90))
    days = (date(2026, 8, 22) - date(2019, 10, 1)).days
    assert days == 2517
    assert len(windows) == (days - 455) // 90 + 1 == 23
    assert windows[0].is_start == india(10, 1, year=2019)
    assert windows[0].is_end == india(9, 30, year=2020)
    assert all(window.oos_start.hour == 18 and window.oos_start.minute == 30 for window in windows)


@pytest.mark.parametrize(
    ("days", "config", "sentence"),
    [
        (79, WalkForwardConfig(), "a walk-forward window of 60 + 20 days needs 80 days; the candles span 79."),
        # 79 days and 23 hours must not be called 80.
        (79 + 23 / 24, WalkForwardConfig(), "needs 80 days; the candles span 79.9."),
        (80, WalkForwardConfig(embargo=1), "needs 80 days and 1 bar; the candles span 80."),
        (1, WalkForwardConfig(is_length_days=1500), "of 1,500 + 20 days needs 1,520 days; the candles span 1."),
    ],
)
def test_too_short_data_is_one_sentence_with_both_numbers(
    days: float, config: WalkForwardConfig, sentence: str
) -> None:
    with pytest.raises(DataError) as caught:
        generate_windows(flat_candles(days), config)
    assert caught.value.message.endswith(sentence)
    assert "is_length_days" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["is_length_days", "oos_length_days", "stride_days"])
def test_lengths_of_no_day_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        WalkForwardConfig(**{name: 0})
