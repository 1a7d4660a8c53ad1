"""Signals of many parameter rows at once: crossings of two lines found once per pair, then filtered per row.

A row of a sweep needs only the few bars where something is signalled. Finding the crossings of a pair costs one pass
over the bars; filtering them for a row touches the crossings alone, so a thousand rows over a hundred pairs cost a
hundred passes.
"""

import numpy as np

from barwise.core._jit import njit
from barwise.core.layout import BoolArray, ByteArray, FloatArray, Int32Array, IntArray


@njit
def crossings(lines: FloatArray, upper: IntArray, lower: IntArray) -> tuple[IntArray, Int32Array, ByteArray]:
    """Where line `upper[j]` crosses line `lower[j]`, for every pair j.

    Args:
        lines: float64 [lines, bars]; NaN compares false.
        upper, lower: Rows of `lines`.

    Returns:
        (offsets [pairs + 1], bars, sides): the crossings of pair j stand at offsets[j] .. offsets[j+1]-1; side +1 where
        upper[t-1] <= lower[t-1] and upper[t] > lower[t], -1 for the mirror.
    """
    n = lines.shape[1]
    offsets = np.zeros(upper.size + 1, np.int64)
    bars, sides = np.empty(n, np.int32), np.empty(n, np.int8)
    # Which line is above, bar by bar, and eight bars at a time: a crossing is rare, and a word that equals the one that
    # is a bar behind has none.
    above = np.zeros(n + 8, np.int8)
    words = (n - 1) // 8
    now, before = above[1 : 1 + 8 * words].view(np.int64), above[: 8 * words].view(np.int64)
    at = 0
    for j in range(upper.size):
        a, b = lines[upper[j]], lines[lower[j]]
        if bars.size - at < n:
            room = 2 * bars.size + n
            more_bars, more_sides = np.empty(room, np.int32), np.empty(room, np.int8)
            more_bars[:at], more_sides[:at] = bars[:at], sides[:at]
            bars, sides = more_bars, more_sides
        for t in range(n):
            above[t] = np.int8(a[t] > b[t]) - np.int8(a[t] < b[t])
        for word in range(words + 1):
            if word < words and now[word] == before[word]:
                continue
            for t in range(8 * word + 1, min(8 * word + 9, n)):
                if above[t] > 0:
                    if a[t - 1] <= b[t - 1]:
                        bars[at], sides[at] = t, 1
                        at += 1
                elif above[t] < 0 and a[t - 1] >= b[t - 1]:
                    bars[at], sides[at] = t, -1
                    at += 1
        offsets[j + 1] = at
    return offsets, bars[:at], sides[:at]


@njit
def filtered_events(
    lines: FloatArray, close: FloatArray, offsets: IntArray, cross_bars: Int32Array,
    cross_sides: ByteArray, pair_of_row: IntArray, trend: IntArray, lowest: IntArray, highest: IntArray,
    use_trend: BoolArray, use_rsi: BoolArray, long_threshold: FloatArray, short_threshold: FloatArray,
) -> tuple[IntArray, IntArray, Int32Array, ByteArray]:  # fmt: skip
    """The crossings of each row's pair that pass the row's trend and RSI filters, as events.

    Args:
        lines, close: float64 [lines, bars] and [bars].
        offsets, cross_bars, cross_sides: From `crossings`.
        pair_of_row: Which pair a row uses, [rows]; the rest is one value per row too: `trend`, `lowest`, `highest` are
            rows of `lines`, thresholds are RSI points.

    Returns:
        (first event, number of events) per row, and the bars and codes of all events.
    """
    n_rows = pair_of_row.size
    room = 0
    for row in range(n_rows):
        room += offsets[pair_of_row[row] + 1] - offsets[pair_of_row[row]]
    bars = np.empty(room, np.int32)
    codes = np.empty(room, np.int8)
    first = np.empty(n_rows, np.int64)
    counts = np.empty(n_rows, np.int64)
    at = 0
    for row in range(n_rows):
        first[row] = at
        pair = pair_of_row[row]
        trend_line, low_line, high_line = (
            lines[trend[row]],
            lines[lowest[row]],
            lines[highest[row]],
        )
        for j in range(offsets[pair], offsets[pair + 1]):
            t = cross_bars[j]
            side = cross_sides[j]
            if side > 0:
                passes = not use_trend[row] or close[t] > trend_line[t]
                passes = passes and (not use_rsi[row] or low_line[t] <= long_threshold[row])
            else:
                passes = not use_trend[row] or close[t] < trend_line[t]
                passes = passes and (not use_rsi[row] or high_line[t] >= short_threshold[row])
            if passes:
                bars[at] = t
                codes[at] = side + 1
                at += 1
        counts[row] = at - first[row]
    return first, counts, bars[:at], codes[:at]
