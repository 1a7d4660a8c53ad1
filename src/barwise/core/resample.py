"""Resampling: finer bars into coarser ones, on the grid of the market's calendar.

A coarse bar is only worth having when it says what the exchange's own would have said, so buckets start where the
exchange starts them (UTC midnight and Mondays around the clock, the session's open on NSE) and a bucket that the data
enters or leaves half-way is dropped rather than passed off as whole.
"""

import numpy as np

from barwise.core.layout import Bars, FloatArray, IntArray
from barwise.timeframe import DAY_MS, WEEK_MS, Calendar, Timeframe


def bucket_opens(time: IntArray, timeframe: Timeframe, calendar: Calendar) -> IntArray:
    """The open of the bar of `timeframe` that contains each instant.

    Every intraday length divides a day, so one grid through a session's open serves all sessions.
    """
    origin = timeframe.grid_origin_ms(calendar)
    return origin + (time - origin) // timeframe.ms * timeframe.ms


def resample_bars(
    bars: Bars,
    quote_volume: FloatArray | None,
    source: Timeframe,
    target: Timeframe,
    calendar: Calendar,
) -> tuple[Bars, FloatArray | None]:
    """Coarser bars: first open, highest high, lowest low, last close, summed volumes.

    The first bucket is dropped unless the data holds its beginning, the last unless the data holds its end. In a market
    with sessions the beginning is the session's open (Monday's, for a week) and the end the session's close (Friday's).
    Holes in between are kept as they are: an outage of the exchange is part of its own coarse bar too.

    Args:
        bars: In time order, on the grid of `source`; may be empty.
        quote_volume: Of the same length, or None.
        source: Timeframe of the bars.
        target: A coarser timeframe whose length is a multiple.
    """
    if not len(bars.time):
        return bars, quote_volume
    opens = bucket_opens(bars.time, target, calendar)
    starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    ends = np.append(starts[1:], len(bars.time)) - 1
    begin = 0 if _holds_beginning(int(bars.time[0]), int(opens[0]), target, source, calendar) else 1
    stop = len(starts)
    if not _holds_end(int(bars.time[-1]), int(opens[-1]), target, source, calendar):
        stop -= 1
    kept, ends = starts[begin : max(begin, stop)], ends[begin : max(begin, stop)]
    # reduceat runs each bucket up to the next start, so rows after the last kept bucket are cut off first.
    rows = int(ends[-1]) + 1 if len(ends) else 0
    coarse = Bars(
        time=opens[kept],
        open=bars.open[kept],
        high=np.maximum.reduceat(bars.high[:rows], kept),
        low=np.minimum.reduceat(bars.low[:rows], kept),
        close=bars.close[ends],
        volume=np.add.reduceat(bars.volume[:rows], kept),
    )
    return coarse, None if quote_volume is None else np.add.reduceat(quote_volume[:rows], kept)


def _session_open(time_ms: int, calendar: Calendar) -> int:
    """The session's open on the local day of an instant."""
    return (time_ms + calendar.utc_offset_ms) // DAY_MS * DAY_MS + calendar.grid_origin_ms


def _holds_beginning(first: int, bucket: int, target: Timeframe, source: Timeframe, calendar: Calendar) -> bool:
    """Whether the first bar is where its bucket begins to trade."""
    if calendar.always_open or target.intraday or not source.intraday:
        return first <= bucket
    return first <= _session_open(bucket, calendar)


def _holds_end(last: int, bucket: int, target: Timeframe, source: Timeframe, calendar: Calendar) -> bool:
    """Whether the last bar closes where its bucket stops trading, or later."""
    end = bucket + target.ms
    if not calendar.always_open:
        last_day = bucket + 4 * DAY_MS if target.ms == WEEK_MS else last
        end = min(end, _session_open(last_day, calendar) + calendar.session_ms)
    return last + source.ms >= end
