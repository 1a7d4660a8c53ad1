"""Windows of a walk-forward: calendar days of the market, cut into a part to search in and a part to trade in."""

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from barwise.config import WalkForwardConfig
from barwise.data.candles import Candles
from barwise.errors import DataError
from barwise.timeframe import DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """One window as half-open spans, aware UTC: [is_start, is_end) to search in, [oos_start, oos_end) to trade in."""

    is_start: datetime
    is_end: datetime
    oos_start: datetime
    oos_end: datetime


class Span(NamedTuple):
    """A window as signal bars: half-open ranges of indexes."""

    is_first: int
    is_stop: int
    oos_first: int
    oos_stop: int


def generate_windows(candles: Candles, config: WalkForwardConfig) -> list[Window]:
    """All windows that fit into the candles, in order of time.

    A day begins at local midnight of the market's calendar. The first window begins on the day of the first bar; the
    next ones follow `stride_days` apart. With `anchored` every in-sample part begins at the first bar and grows. An
    embargo leaves that many bars out between in-sample and out-of-sample, whatever nights and weekends lie between
    them; the out-of-sample part then ends as many bars later too, so that it still ends where the next one begins.

    Raises:
        DataError: The candles are shorter than one window.
    """
    step = candles.timeframe.ms
    offset = candles.calendar.utc_offset_ms
    midnight = (int(candles.time[0]) + offset) // DAY_MS * DAY_MS - offset
    end = int(candles.time[-1]) + step
    # The last day of a session calendar ends with its session, not at midnight.
    last_midnight = -(-(end + offset) // DAY_MS) * DAY_MS - offset if not candles.calendar.always_open else end
    windows = []
    for number in range((last_midnight - midnight) // (config.stride_days * DAY_MS) + 1):
        start = midnight + number * config.stride_days * DAY_MS
        is_end = start + config.is_length_days * DAY_MS
        oos_end = is_end + config.oos_length_days * DAY_MS
        if oos_end > last_midnight or _bar_at(candles, oos_end) + config.embargo > len(candles):
            break
        edges = (is_end, _later(candles, is_end, config.embargo), _later(candles, oos_end, config.embargo))
        windows.append(Window(*map(_utc, (midnight if config.anchored else start, *edges))))
    if not windows:
        have = math.floor((last_midnight - midnight) / DAY_MS * 10.0) / 10.0
        need = config.is_length_days + config.oos_length_days
        embargo = f" and {config.embargo:,} bar{'s' * (config.embargo > 1)}" if config.embargo else ""
        raise DataError(
            f"a walk-forward window of {config.is_length_days:,} + {config.oos_length_days:,} days needs {need:,} days"
            f"{embargo}; the candles span {have:,g}.",
            hint="use a longer span, or shorter windows: WalkForwardConfig(is_length_days=..., oos_length_days=...).",
        )
    return windows


def span_of(candles: Candles, window: Window) -> Span:
    """The signal bars of a window."""
    edges = [int(moment.timestamp() * 1000) for moment in window]
    return Span(*(int(bar) for bar in np.searchsorted(candles.time, edges, side="left")))


def _bar_at(candles: Candles, time_ms: int) -> int:
    """The first bar that opens at an instant or after it; the number of bars where there is none."""
    return int(np.searchsorted(candles.time, time_ms, side="left"))


def _later(candles: Candles, time_ms: int, bars: int) -> int:
    """An instant, so many bars later: the open of that bar, or the close of the last one."""
    if not bars:
        return time_ms
    bar = _bar_at(candles, time_ms) + bars
    return int(candles.time[bar]) if bar < len(candles) else int(candles.time[-1]) + candles.timeframe.ms


def _utc(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)
