"""As much as a screen can show: a year of minutes has half a million bars, and a chart has some thousand pixels.

Candles are put together on the grids of the longer timeframes, so that one stays the same candle while people move
along the chart. Curves lose points and nothing else: what is left are points of the curve, the lowest and the highest
of every stretch among them, so no spike is lost however far one zooms out.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.data.candles import Candles
from barwise.timeframe import Timeframe

# Ends of the curve, and the lowest and highest of one stretch.
FEWEST_POINTS = 4


class Shown(NamedTuple):
    """The candles that are shown of a span.

    Attributes:
        timeframe: Of a candle.
        merged: How many bars of that timeframe are one candle: 1, but where the longest timeframe is still too short.
        first: int64, the bar each candle begins with.
        stop: The bar after the last candle.
        time: int64, its open in ms; of the first bar where the data begin within a candle.
        open, high, low, close, volume: float64, of the candles.
    """

    timeframe: Timeframe
    merged: int
    first: IntArray
    stop: int
    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def line(self, values: FloatArray) -> FloatArray:
        """A line of one value per bar at the close of each candle; NaN where it is not defined there."""
        return values[self._last]

    def range(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The lowest and the highest value of a line within each candle; NaN where it is not defined in all of it."""
        if not len(self.first):
            return values[:0], values[:0]
        begin = int(self.first[0])
        cut, places = values[begin : self.stop], self.first - begin
        return np.fmin.reduceat(cut, places), np.fmax.reduceat(cut, places)

    @property
    def _last(self) -> IntArray:
        return np.append(self.first[1:], self.stop)[: len(self.first)] - 1


class CandleLevels:
    """The same candles on their own and on every longer timeframe.

    Args:
        candles: The bars.
    """

    def __init__(self, candles: Candles) -> None:
        self._candles = candles

    def shown(self, start: int | None, end: int | None, points: int) -> Shown:
        """The candles that overlap a span, on the shortest timeframe on which they are at most `points`.

        Args:
            start, end: Half-open span, ms UTC; None where open.
            points: Most candles, > 0.
        """
        low, high = self._rows(start, end)
        for frame, first in self._levels:
            begin, stop = self._within(first, low, high)
            if stop - begin <= points:
                return self._merged(frame, 1, first[begin:stop], self._stop(first, stop))
        # In groups that are counted from the beginning of the data, so that they too stay where they are.
        longest, merged = first, 1
        while stop - begin > points:
            merged += -(-(stop - begin) // points) - 1 or 1
            first = longest[::merged]
            begin, stop = self._within(first, low, high)
        return self._merged(frame, merged, first[begin:stop], self._stop(first, stop))

    @cached_property
    def closed(self) -> list[list[int]]:
        """Where the market was closed: the end of the last bar before and the open of the next, ms, in order.

        A market that is always open has none: a hole in its bars is a fault of the data and stays to be seen.
        """
        candles = self._candles
        if candles.calendar.always_open:
            return []
        ends, opens = candles.time[:-1] + candles.timeframe.ms, candles.time[1:]
        apart = opens > ends
        found: list[list[int]] = np.column_stack((ends[apart], opens[apart])).tolist()
        return found

    @cached_property
    def _levels(self) -> list[tuple[Timeframe, IntArray]]:
        """Each timeframe with the first bar of each of its candles, from short to long."""
        candles = self._candles
        own, time = candles.timeframe, candles.time
        found = [(own, np.arange(len(candles)))]
        for frame in map(Timeframe, Timeframe.names()):
            if frame.ms > own.ms and frame.ms % own.ms == 0 and len(candles):
                holder = (time - frame.grid_origin_ms(candles.calendar)) // frame.ms
                found.append((frame, np.flatnonzero(np.diff(holder, prepend=holder[0] - 1))))
        return found

    def _rows(self, start: int | None, end: int | None) -> tuple[int, int]:
        """The bars that overlap a span."""
        time = self._candles.time
        low = 0 if start is None else int(np.searchsorted(time, start - self._candles.timeframe.ms, side="right"))
        high = len(time) if end is None else int(np.searchsorted(time, end, side="left"))
        return low, max(low, high)

    @staticmethod
    def _within(first: IntArray, low: int, high: int) -> tuple[int, int]:
        """The candles that hold the bars from `low` up to `high`."""
        if low == high:
            return 0, 0
        return int(np.searchsorted(first, low, side="right")) - 1, int(np.searchsorted(first, high, side="left"))

    def _stop(self, first: IntArray, candle: int) -> int:
        """The bar after the candle before this one."""
        return int(first[candle]) if candle < len(first) else len(self._candles)

    def _merged(self, frame: Timeframe, merged: int, first: IntArray, stop: int) -> Shown:
        candles = self._candles
        if not len(first):
            none = candles.open[:0]
            return Shown(frame, merged, first, 0, candles.time[:0], none, none, none, none, none)
        begin = int(first[0])
        places = first - begin
        last = np.append(first[1:], stop) - 1
        return Shown(
            frame,
            merged,
            first,
            stop,
            candles.time[first],
            candles.open[first],
            np.maximum.reduceat(candles.high[begin:stop], places),
            np.minimum.reduceat(candles.low[begin:stop], places),
            candles.close[last],
            np.add.reduceat(candles.volume[begin:stop], places),
        )


def thinned(columns: Sequence[FloatArray], most: int) -> IntArray:
    """The points that keep the shape of some curves over the same times.

    Args:
        columns: float64 [points], without NaN, all of one length; at least one.
        most: How many points may be left; no fewer than 2 + 2 * len(columns).

    Returns:
        int64, their places in order: the first, the last, and of each of equally many points the lowest and the highest
        of every curve. All where they are few enough.
    """
    count = len(columns[0])
    if count <= most:
        return np.arange(count)
    buckets = max(1, (most - 2) // (2 * len(columns)))
    edges = np.linspace(0, count, buckets + 1).astype(np.int64)
    sizes, starts = np.diff(edges), edges[:-1]
    kept = [np.array([0, count - 1])]
    for column in columns:
        for extreme in (np.minimum, np.maximum):
            here = np.flatnonzero(column == np.repeat(extreme.reduceat(column, starts), sizes))
            bucket = np.searchsorted(edges, here, side="right")
            kept.append(here[np.flatnonzero(np.diff(bucket, prepend=0))])
    return np.unique(np.concatenate(kept))
