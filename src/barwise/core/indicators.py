"""Indicators: what a bar and the bars before it say, compiled, in one pass, never looking ahead.

Conventions are TA-Lib's. Columns are C-contiguous float64 of one length, periods are whole numbers of bars that the
caller has checked (barwise.strategy.indicators does), and a new array of the input's length comes back.

NaN: a value that is not yet defined is NaN. Leading NaN are skipped, so an indicator of an indicator starts where its
input does. A NaN further on makes every value undefined that depends on it: windows until it has left them, a session
average until the session ends, and the recursive ones (ema, rsi, atr, macd, adx, supertrend) for good.

Two choices keep a flat market flat to the bit, so that it crosses nothing. Smoothing adds a share of the difference
instead of weighting two values. And windowed sums are sums of differences from a value of the same window, built up
in blocks of the window's length and never subtracted from, so that no error drifts along a long series either.
"""

import numpy as np

from barwise.core._jit import njit
from barwise.core.layout import BoolArray, ByteArray, FloatArray, IntArray
from barwise.timeframe import DAY_MS


@njit
def _first_defined(values: FloatArray) -> int:
    """Index of the first value that is not NaN; the length where there is none."""
    i = 0
    while i < len(values) and np.isnan(values[i]):
        i += 1
    return i


@njit
def _first_complete(high: FloatArray, low: FloatArray, close: FloatArray) -> int:
    """Index of the first bar without a NaN; the length where there is none."""
    i = 0
    while i < len(close) and np.isnan(high[i] + low[i] + close[i]):
        i += 1
    return i


@njit
def _mean(values: FloatArray, start: int, n: int) -> float:
    """Mean of n values; exact where all are equal, which sum / n is not."""
    reference: float = values[start]
    total = 0.0
    for i in range(start + 1, start + n):
        total += values[i] - reference
    return reference + total / n


@njit
def _range_of(high: float, low: float, previous_close: float) -> float:
    """True range; np.maximum and np.minimum because they keep a NaN."""
    return float(np.maximum(high, previous_close) - np.minimum(low, previous_close))


@njit
def shift(values: FloatArray, n: int) -> FloatArray:
    """The value of n bars ago, first at index n."""
    size = len(values)
    out = np.full(size, np.nan)
    for i in range(n, size):
        out[i] = values[i - n]
    return out


@njit
def sma(values: FloatArray, n: int) -> FloatArray:
    """Simple moving average, first at index n - 1.

    The series is cut into blocks of n. A window ends inside one block and is a tail of the block before plus a head
    of this one; it always holds this block's first value, which the sums are taken relative to.
    """
    size = len(values)
    first = _first_defined(values)
    out = np.full(size, np.nan)
    if size - first < n:
        return out
    tail = np.zeros(n)  # tail[j]: sum over the last j values of the block before
    for start in range(first, size, n):
        reference = values[start]
        if start > first:
            for j in range(1, n):
                tail[j] = tail[j - 1] + (values[start - j] - reference)
        head = 0.0
        for k in range(min(n, size - start)):
            head += values[start + k] - reference
            if start > first or k == n - 1:
                out[start + k] = reference + (tail[n - 1 - k] + head) / n
    return out


@njit
def rolling_std(values: FloatArray, n: int) -> FloatArray:
    """Population standard deviation (ddof 0) of the last n values, first at index n - 1.

    Blocks as in `sma`. Because the reference is one of the window's own values, the variance is at least 1/n of the
    mean square about it, and the difference of squares loses no more than a factor n of the 16 digits, at any price
    level. Source of the shifted sums: Chan, Golub & LeVeque (1983), Algorithms for Computing the Sample Variance.
    """
    size = len(values)
    first = _first_defined(values)
    out = np.full(size, np.nan)
    if size - first < n:
        return out
    tail = np.zeros(n)
    tail_square = np.zeros(n)
    for start in range(first, size, n):
        reference = values[start]
        if start > first:
            for j in range(1, n):
                difference = values[start - j] - reference
                tail[j] = tail[j - 1] + difference
                tail_square[j] = tail_square[j - 1] + difference * difference
        head = 0.0
        head_square = 0.0
        for k in range(min(n, size - start)):
            difference = values[start + k] - reference
            head += difference
            head_square += difference * difference
            if start > first or k == n - 1:
                total = tail[n - 1 - k] + head
                variance = (tail_square[n - 1 - k] + head_square - total * total / n) / n
                out[start + k] = 0.0 if variance < 0.0 else np.sqrt(variance)
    return out


@njit
def _rolling_extreme(values: FloatArray, n: int, sign: float) -> FloatArray:
    """Highest (sign 1) or lowest (sign -1) of the last n values.

    Running maxima of blocks of n, backwards over the block before and forwards over this one: three comparisons a bar
    whatever n is. Source: van Herk (1992), A fast algorithm for local minimum and maximum filters.
    """
    size = len(values)
    first = _first_defined(values)
    out = np.full(size, np.nan)
    if size - first < n:
        return out
    tail = np.full(n, -np.inf)
    for start in range(first, size, n):
        if start > first:
            highest = -np.inf
            for j in range(1, n):
                highest = np.maximum(highest, sign * values[start - j])
                tail[j] = highest
        head = -np.inf
        for k in range(min(n, size - start)):
            head = np.maximum(head, sign * values[start + k])
            if start > first or k == n - 1:
                out[start + k] = sign * np.maximum(tail[n - 1 - k], head)
    return out


@njit
def rolling_max(values: FloatArray, n: int) -> FloatArray:
    """Highest of the last n values, first at index n - 1."""
    return _rolling_extreme(values, n, 1.0)


@njit
def rolling_min(values: FloatArray, n: int) -> FloatArray:
    """Lowest of the last n values, first at index n - 1."""
    return _rolling_extreme(values, n, -1.0)


@njit
def donchian(high: FloatArray, low: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Highest high and lowest low of the last n bars, the bar itself included, first at index n - 1."""
    return _rolling_extreme(high, n, 1.0), _rolling_extreme(low, n, -1.0)


@njit
def bollinger(values: FloatArray, n: int, deviations: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Upper, middle and lower band: simple mean and so many population standard deviations around it, from index n - 1.

    Source: Bollinger (2001), Bollinger on Bollinger Bands.
    """
    middle = sma(values, n)
    width = deviations * rolling_std(values, n)
    return middle + width, middle, middle - width


@njit
def ema(values: FloatArray, n: int) -> FloatArray:
    """Exponential moving average, alpha = 2 / (n + 1), seeded at index n - 1 with the mean of the first n values."""
    size = len(values)
    first = _first_defined(values)
    out = np.full(size, np.nan)
    if size - first < n:
        return out
    alpha = 2.0 / (n + 1.0)
    level = _mean(values, first, n)
    out[first + n - 1] = level
    for i in range(first + n, size):
        level += alpha * (values[i] - level)
        out[i] = level
    return out


@njit
def macd(values: FloatArray, fast: int, slow: int, signal: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Line (fast minus slow average), signal (average of the line) and histogram (line minus signal).

    As in TA-Lib all three start together, at index slow + signal - 2, and the fast average is seeded with the `fast`
    values that end where the slow one's seed ends. Source: Appel (1979), The Moving Average Convergence-Divergence
    Method.
    """
    size = len(values)
    first = _first_defined(values)
    line = np.full(size, np.nan)
    if size - first < slow + signal - 1:
        return line, line.copy(), line.copy()
    fast_alpha = 2.0 / (fast + 1.0)
    slow_alpha = 2.0 / (slow + 1.0)
    fast_level = _mean(values, first + slow - fast, fast)
    slow_level = _mean(values, first, slow)
    line[first + slow - 1] = fast_level - slow_level
    for i in range(first + slow, size):
        fast_level += fast_alpha * (values[i] - fast_level)
        slow_level += slow_alpha * (values[i] - slow_level)
        line[i] = fast_level - slow_level
    signal_line = ema(line, signal)
    line[: first + slow + signal - 2] = np.nan
    return line, signal_line, line - signal_line


@njit
def rsi(values: FloatArray, n: int) -> FloatArray:
    """Relative strength index in 0..100, first at index n; 0 while there was no movement at all.

    Source: Wilder (1978), New Concepts in Technical Trading Systems. No rounding of small averages to 0, so the
    result does not depend on the unit of the price.
    """
    size = len(values)
    first = _first_defined(values)
    out = np.full(size, np.nan)
    if size - first <= n:
        return out
    gain = 0.0
    loss = 0.0
    for i in range(first + 1, first + n + 1):
        change = values[i] - values[i - 1]
        rise = 0.5 * (change + abs(change))  # max(change, 0), and NaN of NaN
        gain += rise
        loss += rise - change
    gain /= n
    loss /= n
    share = 1.0 / n
    total = gain + loss
    out[first + n] = 100.0 * (gain / total) if total != 0.0 else 0.0
    for i in range(first + n + 1, size):
        change = values[i] - values[i - 1]
        rise = 0.5 * (change + abs(change))
        gain += share * (rise - gain)
        loss += share * (rise - change - loss)
        total = gain + loss
        out[i] = 100.0 * (gain / total) if total != 0.0 else 0.0
    return out


@njit
def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Range of the bar, the close before it included, first at index 1. Source: Wilder (1978)."""
    size = len(close)
    out = np.full(size, np.nan)
    for i in range(1, size):
        out[i] = _range_of(high[i], low[i], close[i - 1])
    return out


@njit
def atr(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> FloatArray:
    """Average true range: the mean of TR[1..n] at index n, smoothed by 1/n from there. Source: Wilder (1978)."""
    size = len(close)
    first = _first_complete(high, low, close)
    out = np.full(size, np.nan)
    if size - first <= n:
        return out
    ranges = true_range(high, low, close)
    share = 1.0 / n
    level = _mean(ranges, first + 1, n)
    out[first + n] = level
    for i in range(first + n + 1, size):
        level += share * (ranges[i] - level)
        out[i] = level
    return out


@njit
def adx(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """+DI and -DI, first at index n, and ADX, first at index 2n - 1, all in 0..100.

    Source: Wilder (1978), with TA-Lib's seeds: the sums over bars 1..n-1 carry the first index, and the first ADX is
    the mean of n DX. While the true range has been 0 both DI are 0, and while both DI have been 0 so is DX.
    """
    size = len(close)
    first = _first_complete(high, low, close)
    plus = np.full(size, np.nan)
    minus = np.full(size, np.nan)
    strength = np.full(size, np.nan)
    plus_sum = 0.0
    minus_sum = 0.0
    range_sum = 0.0
    seed = 0.0
    level = 0.0
    share = 1.0 / n
    if size - first <= n:
        return plus, minus, strength
    for i in range(first + 1, size):
        age = i - first
        rise = high[i] - high[i - 1]
        fall = low[i - 1] - low[i]
        rise_counts = rise if rise > 0.0 and rise > fall else 0.0
        fall_counts = fall if fall > 0.0 and fall > rise else 0.0
        span = _range_of(high[i], low[i], close[i - 1])
        if age < n:
            plus_sum += rise_counts
            minus_sum += fall_counts
            range_sum += span
            continue
        plus_sum += rise_counts - share * plus_sum
        minus_sum += fall_counts - share * minus_sum
        range_sum += span - share * range_sum
        up = 100.0 * (plus_sum / range_sum) if range_sum != 0.0 else 0.0
        down = 100.0 * (minus_sum / range_sum) if range_sum != 0.0 else 0.0
        plus[i] = up
        minus[i] = down
        total = up + down
        direction = 100.0 * (abs(up - down) / total) if total != 0.0 else 0.0
        if age < 2 * n:
            seed += direction
            level = seed / n
        else:
            level += share * (direction - level)
        if age >= 2 * n - 1:
            strength[i] = level
    return plus, minus, strength


@njit
def supertrend(
    high: FloatArray, low: FloatArray, close: FloatArray, n: int, multiplier: float
) -> tuple[FloatArray, ByteArray]:
    """The trailing band, first at index n, and the direction: 1 up, -1 down, 0 where not defined.

    Bands lie `multiplier` ATR(n) above and below the bar's middle (h + l) / 2. A band only moves towards the price,
    until a close beyond it releases it; a close beyond the band in force turns the direction. The first direction is
    up, as in TA-Lib. Source: the rule published by Olivier Seban (Supertrend), with Wilder's ATR.
    """
    size = len(close)
    first = _first_complete(high, low, close)
    line = np.full(size, np.nan)
    direction = np.zeros(size, np.int8)
    ranges = atr(high, low, close, n)
    upper = np.inf
    lower = -np.inf
    trend = 1
    for i in range(first + n, size):
        middle = 0.5 * (high[i] + low[i])
        width = multiplier * ranges[i]
        if np.isnan(middle + width + close[i]):  # ATR is recursive: undefined from here on
            break
        if middle + width < upper or close[i - 1] > upper:
            upper = middle + width
        if middle - width > lower or close[i - 1] < lower:
            lower = middle - width
        if i > first + n:
            if trend == 1 and close[i] < lower:
                trend = -1
            elif trend == -1 and close[i] > upper:
                trend = 1
        line[i] = lower if trend == 1 else upper
        direction[i] = trend
    return line, direction


@njit
def session_vwap(
    time: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    utc_offset_ms: int,
) -> FloatArray:
    """Volume-weighted mean of the typical price (h + l + c) / 3 since local midnight, from index 0.

    Where the session's volume so far is 0: the typical price of the bar.

    Args:
        time: Bar opens, ms UTC, rising.
        utc_offset_ms: Local time minus UTC.
    """
    size = len(close)
    out = np.full(size, np.nan)
    session = 0
    reference = 0.0
    traded = 0.0
    weighted = 0.0
    first = _first_complete(high, low, close)
    for i in range(first, size):
        typical = (high[i] + low[i] + close[i]) / 3.0
        day = (time[i] + utc_offset_ms) // DAY_MS
        if i == first or day != session:
            session = day
            reference = typical  # a flat session stays flat to the bit, and large prices lose no digits
            traded = 0.0
            weighted = 0.0
        traded += volume[i]
        weighted += volume[i] * (typical - reference)
        out[i] = reference + weighted / traded if traded != 0.0 else typical
    return out


@njit
def crossed_above(a: FloatArray, b: FloatArray) -> BoolArray:
    """True where a[i-1] <= b[i-1] and a[i] > b[i]; false wherever one of the four is NaN."""
    size = len(a)
    out = np.zeros(size, np.bool_)
    for i in range(1, size):
        out[i] = a[i - 1] <= b[i - 1] and a[i] > b[i]
    return out


@njit
def crossed_below(a: FloatArray, b: FloatArray) -> BoolArray:
    """True where a[i-1] >= b[i-1] and a[i] < b[i]; false wherever one of the four is NaN."""
    return crossed_above(b, a)
