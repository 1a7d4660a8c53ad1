"""Indicators as a strategy calls them: checked, remembered, and never looking ahead.

    fast = ema(bars.close, 20)
    entry = crossed_above(fast, ema(bars.close, 50)) & (rsi(bars.close, 14) < 70)

Every result is a read-only array of the bars' length, NaN (or False) where it is not yet defined; value t depends on
bars <= t only. Formulas, sources and first defined index of each: docs/indicators.md. Called again with the same
columns and arguments, the same array object comes back (barwise.strategy.memo), so nothing is gained by keeping it
yourself.
"""

from functools import lru_cache
from importlib import import_module
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barwise.core.layout import Bars, BoolArray, ByteArray, FloatArray
from barwise.errors import ConfigError
from barwise.strategy.memo import Memo
from barwise.timeframe import DAY_MS

__all__ = [
    "Adx",
    "Bollinger",
    "Donchian",
    "Macd",
    "Supertrend",
    "adx",
    "atr",
    "bollinger",
    "crossed_above",
    "crossed_below",
    "donchian",
    "ema",
    "macd",
    "rolling_max",
    "rolling_min",
    "rolling_std",
    "rsi",
    "shift",
    "sma",
    "supertrend",
    "vwap",
]

Column: TypeAlias = ArrayLike

_memo = Memo(limit_bytes=256 * 1024 * 1024)
_LONGEST = 1_000_000_000  # bars; longer periods would overflow sums of periods in machine code


class Bollinger(NamedTuple):
    """Bands around a simple mean."""

    upper: FloatArray
    middle: FloatArray
    lower: FloatArray


class Macd(NamedTuple):
    """Difference of two averages, its own average, and the difference of those."""

    line: FloatArray
    signal: FloatArray
    histogram: FloatArray


class Adx(NamedTuple):
    """Directional movement up and down, and the strength of the trend, in 0..100."""

    plus_di: FloatArray
    minus_di: FloatArray
    adx: FloatArray


class Donchian(NamedTuple):
    """Highest high and lowest low."""

    upper: FloatArray
    lower: FloatArray


class Supertrend(NamedTuple):
    """The trailing band and the direction: 1 up, -1 down, 0 where not yet defined."""

    line: FloatArray
    direction: ByteArray


def sma(column: Column, n: int) -> FloatArray:
    """Simple mean of the last n values."""
    n = _period("sma", "n", n, 1)
    line: FloatArray = _recall("sma", (column,), (n,))
    return line


def ema(column: Column, n: int) -> FloatArray:
    """Exponential moving average, alpha 2 / (n + 1), seeded with the mean of the first n values."""
    n = _period("ema", "n", n, 1)
    line: FloatArray = _recall("ema", (column,), (n,))
    return line


def rsi(column: Column, n: int) -> FloatArray:
    """Wilder's relative strength index, 0..100; 0 while there was no movement at all."""
    n = _period("rsi", "n", n, 2)
    line: FloatArray = _recall("rsi", (column,), (n,))
    return line


def atr(bars: Bars, n: int) -> FloatArray:
    """Wilder's average true range, in price units."""
    n = _period("atr", "n", n, 1)
    line: FloatArray = _recall("atr", _high_low_close("atr", bars), (n,))
    return line


def vwap(bars: Bars, utc_offset_ms: int = 0) -> FloatArray:
    """Volume-weighted mean of (h + l + c) / 3 since local midnight; the typical price where nothing has traded yet.

    Args: bars: Any timeframe; with daily or longer bars every bar is a session of its own. utc_offset_ms: Local time
    minus UTC, of the exchange's trading day (`calendar.utc_offset_ms`); 0 for 24/7 markets.
    """
    if _not_whole(utc_offset_ms) or abs(utc_offset_ms) >= DAY_MS:
        raise ConfigError(
            f"vwap: utc_offset_ms must be a whole number of ms within one day; got {utc_offset_ms!r}.",
            hint="India is 330 * 60_000; markets that never close use 0.",
        )
    try:
        columns = bars.time, bars.high, bars.low, bars.close, bars.volume
    except AttributeError:
        raise _not_bars("vwap", bars) from None
    line: FloatArray = _recall("vwap", columns, (int(utc_offset_ms),))
    return line


def rolling_max(column: Column, n: int) -> FloatArray:
    """Highest of the last n values, this one included."""
    n = _period("rolling_max", "n", n, 1)
    line: FloatArray = _recall("rolling_max", (column,), (n,))
    return line


def rolling_min(column: Column, n: int) -> FloatArray:
    """Lowest of the last n values, this one included."""
    n = _period("rolling_min", "n", n, 1)
    line: FloatArray = _recall("rolling_min", (column,), (n,))
    return line


def rolling_std(column: Column, n: int) -> FloatArray:
    """Population standard deviation (ddof 0) of the last n values."""
    n = _period("rolling_std", "n", n, 2)
    line: FloatArray = _recall("rolling_std", (column,), (n,))
    return line


def bollinger(column: Column, n: int = 20, deviations: float = 2.0) -> Bollinger:
    """Simple mean of n values, and that many population standard deviations above and below it."""
    n = _period("bollinger", "n", n, 2)
    deviations = _positive("bollinger", "deviations", deviations)
    lines: Bollinger = _recall("bollinger", (column,), (n, deviations), Bollinger)
    return lines


def macd(column: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Moving average convergence/divergence: fast minus slow EMA, the EMA of that, and their difference."""
    fast = _period("macd", "fast", fast, 2)
    slow = _period("macd", "slow", slow, 2)
    signal = _period("macd", "signal", signal, 1)
    if fast >= slow:
        raise ConfigError(f"macd: fast must be shorter than slow; got fast {fast}, slow {slow}.", hint="swap them.")
    lines: Macd = _recall("macd", (column,), (fast, slow, signal), Macd)
    return lines


def adx(bars: Bars, n: int) -> Adx:
    """Wilder's +DI, -DI and average directional index."""
    n = _period("adx", "n", n, 2)
    lines: Adx = _recall("adx", _high_low_close("adx", bars), (n,), Adx)
    return lines


def donchian(bars: Bars, n: int) -> Donchian:
    """Highest high and lowest low of the last n bars, this one included; `shift` it to trade a break of it."""
    n = _period("donchian", "n", n, 1)
    high, low, _ = _high_low_close("donchian", bars)
    lines: Donchian = _recall("donchian", (high, low), (n,), Donchian)
    return lines


def supertrend(bars: Bars, n: int, multiplier: float) -> Supertrend:
    """Seban's Supertrend: a band `multiplier` ATR(n) off the bar's middle, trailing price until a close crosses it."""
    n = _period("supertrend", "n", n, 1)
    multiplier = _positive("supertrend", "multiplier", multiplier)
    lines: Supertrend = _recall("supertrend", _high_low_close("supertrend", bars), (n, multiplier), Supertrend)
    return lines


def shift(column: Column, n: int = 1) -> FloatArray:
    """The value of n bars ago."""
    n = _period("shift", "n", n, 1)
    line: FloatArray = _recall("shift", (column,), (n,))
    return line


def crossed_above(a: Column, b: Column) -> BoolArray:
    """True on the bar where a gets above b: a[t-1] <= b[t-1] and a[t] > b[t]. One of the two may be a number."""
    flags: BoolArray = _recall("crossed_above", _pair("crossed_above", a, b), ())
    return flags


def crossed_below(a: Column, b: Column) -> BoolArray:
    """True on the bar where a gets below b: a[t-1] >= b[t-1] and a[t] < b[t]. One of the two may be a number."""
    flags: BoolArray = _recall("crossed_below", _pair("crossed_below", a, b), ())
    return flags


def _recall(name: str, columns: tuple[Any, ...], arguments: tuple[float, ...], shape: Any = None) -> Any:
    """The result of an indicator, computed where it is not remembered.

    Args:
        name: Of the public function; the core's is the same but for vwap.
        shape: NamedTuple of a function with several results.
    """
    key = (name, arguments, *map(id, columns))
    remembered = _memo.recall(key, columns)
    if remembered is not None:
        return remembered
    arrays = [
        _array(name, column, np.int64 if name == "vwap" and i == 0 else np.float64) for i, column in enumerate(columns)
    ]
    if len({len(array) for array in arrays}) > 1:
        raise ConfigError(
            f"{name}: columns must have one length; got {', '.join(str(len(array)) for array in arrays)}.",
            hint="take all columns from the same bars.",
        )
    # By name, because importing the core loads the compiler, which `import barwise` shall not wait for.
    core = import_module("barwise.core.indicators")
    computed = getattr(core, "session_vwap" if name == "vwap" else name)(*arrays, *arguments)
    if shape is None:
        return _memo.remember(key, columns, _sealed(computed), computed.nbytes)
    return _memo.remember(key, columns, shape(*map(_sealed, computed)), sum(part.nbytes for part in computed))


def _sealed(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory behind a read-only buffer, so that no flag can make a remembered result writable again."""
    return np.asarray(memoryview(array).toreadonly())  # type: ignore[arg-type]


def _array(name: str, column: Any, dtype: Any) -> NDArray[Any]:
    """One contiguous read-only column."""
    expected = "whole milliseconds" if dtype is np.int64 else "numbers"
    allowed = "iu" if dtype is np.int64 else "fiubO"
    try:
        found = np.asarray(column)
        array = np.ascontiguousarray(found, dtype=dtype).view() if found.dtype.kind in allowed else None
    except (TypeError, ValueError):
        array = None
    if array is None:
        raise ConfigError(
            f"{name} takes a column of {expected}; got {type(column).__name__} that holds something else.",
            hint="pass a column such as bars.close.",
        )
    if found.ndim != 1:
        raise ConfigError(
            f"{name} takes one column (one dimension); got {type(column).__name__} of shape {found.shape}.",
            hint="pass a column such as bars.close.",
        )
    array.flags.writeable = False  # one machine code for all callers: read-only is a type of its own to the compiler
    return array


def _pair(name: str, a: Column, b: Column) -> tuple[Any, Any]:
    """Both columns of a crossing, a number stretched to the length of the other."""
    if _is_number(a) == _is_number(b):
        if _is_number(a):
            raise ConfigError(f"{name} needs a column; got two numbers, {a!r} and {b!r}.", hint="pass bars.close, say.")
        return a, b
    if _is_number(b):
        return a, _level(float(b), np.size(a))  # type: ignore[arg-type]
    return _level(float(a), np.size(b)), b  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _level(value: float, size: int) -> FloatArray:
    """A number as a column that takes no memory; the same object each time, so that crossings are remembered."""
    number = np.array(value)
    number.flags.writeable = False
    return np.broadcast_to(number, size)


def _high_low_close(name: str, bars: Bars) -> tuple[FloatArray, FloatArray, FloatArray]:
    try:
        return bars.high, bars.low, bars.close
    except AttributeError:
        raise _not_bars(name, bars) from None


def _not_bars(name: str, got: object) -> ConfigError:
    return ConfigError(
        f"{name} takes bars, with their high, low, close and so on; got {type(got).__name__}.",
        hint="pass the bars that plan() is given, or candles.bars.",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _not_whole(value: object) -> bool:
    return not isinstance(value, (int, np.integer)) or isinstance(value, bool)


def _period(function: str, name: str, value: int, least: int) -> int:
    if value.__class__ is int and least <= value <= _LONGEST:  # the quick way for nearly all calls
        return value
    if _not_whole(value) or not least <= value <= _LONGEST:
        ahead = " A negative one would read the future." if not _not_whole(value) and value < 0 else ""
        raise ConfigError(
            f"{function}: {name} must be a whole number of bars, at least {least}; got {value!r}.{ahead}",
            hint=f"for instance {function}(..., {name}={max(least, 14)}).",
        )
    return int(value)


def _positive(function: str, name: str, value: float) -> float:
    if not _is_number(value) or not isfinite(value) or value <= 0:
        raise ConfigError(
            f"{function}: {name} must be a number above 0; got {value!r}.", hint=f"for instance {name}=2.0."
        )
    return float(value)
