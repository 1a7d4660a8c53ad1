"""Reading columns: what users and vendors call a candle, turned into six plain columns.

Everything that Candles is built from comes through here: lists of dicts, frames, dicts of columns. Names are matched
against what exchanges and vendors really write; times may be milliseconds, seconds, microseconds, nanoseconds,
datetimes, dates or ISO strings. What cannot be read is a DataError that says which row and what was found there.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from textwrap import shorten
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.data.quality import Finding, counted, utc_text
from barwise.errors import DataError, did_you_mean
from barwise.timeframe import ALWAYS_OPEN, Calendar

PRICES = ("open", "high", "low", "close")
REQUIRED = ("time", *PRICES)

# Case matters only where exchanges make it matter: in Binance's messages t is the open and T the close time.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "time": (
        "time",
        "open_time",
        "timestamp",
        "unix",
        "datetime",
        "date",
        "t",
        "start",
        "start_time",
        "unix_timestamp",
    ),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "v", "vol", "base_volume"),
    "quote_volume": ("quote_volume", "quote_asset_volume", "q", "turnover"),
}
# Some vendors write "Volume BTC" and "Volume USDT": the asset tells the base from the quote.
_QUOTE_ASSETS = frozenset(
    {"USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "INR", "TRY", "JPY", "QUOTE"}
)

# How a user may name an instant; `instant_ms` reads it.
Instant: TypeAlias = datetime | date | np.datetime64 | str | int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_UNIT_NAMES = ("seconds", "milliseconds", "microseconds", "nanoseconds")
# Seconds stay below 1e11 until the year 5138 and milliseconds are above it since 1973, and so on by factors of 1,000.
_UNIT_LIMITS = (1e11, 1e14, 1e17)
# Numbers this small are no time of a market (1973 in seconds); series that start there count milliseconds from zero.
_SMALLEST_DATE = 1e8
_LARGEST_TIME = 9.2e18


class Columns(NamedTuple):
    """Candles as columns of one length, not yet audited, and what was noticed while reading them."""

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    quote_volume: FloatArray | None
    notes: tuple[Finding, ...]


def read_columns(data: object, calendar: Calendar = ALWAYS_OPEN) -> Columns:
    """Columns of a list of dicts, a pandas or polars frame, or a mapping of names to columns.

    Args:
        data: The candles.
        calendar: Of the market; dates without a time mean its local midnight.

    Raises:
        DataError: The kind of data is unknown, columns are missing or of different lengths, or a value cannot be read.
    """
    names, column = _columns_of(data)
    found = match_columns(names)
    time, notes = read_times(column(found["time"]), calendar)
    values = {name: read_floats(column(found[name]), name) for name in found if name != "time"}
    if "volume" not in values:
        values["volume"] = np.zeros(len(time))
        notes = (*notes, Finding("volume_missing", "info", len(time), None, "There is no volume column: volume is 0."))
    for name, array in values.items():
        if len(array) != len(time):
            raise DataError(
                f"Column {name} has {counted(len(array), 'value')}, column time has {len(time):,}.",
                hint="all columns need the same length.",
            )
    return Columns(
        time=time,
        **{name: values[name] for name in (*PRICES, "volume")},
        quote_volume=values.get("quote_volume"),
        notes=notes,
    )


def match_columns(names: Sequence[str]) -> dict[str, str]:
    """Which of the given names is the time, the open, and so on; volume and quote_volume only where they are there.

    Raises:
        DataError: A column that candles need is not among the names.
    """
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    found: dict[str, str] = {}
    for target, aliases in _ALIASES.items():
        exact = next((alias for alias in aliases if alias in names), None)
        loose = next((plain[_plain(alias)] for alias in aliases if _plain(alias) in plain), None)
        if match := exact or loose:
            found[target] = match
    if "volume" not in found:
        found |= _volumes_by_asset(names)
    missing = [target for target in REQUIRED if target not in found]
    if missing:
        free = [name for name in names if name not in found.values()]
        guess = next((text for target in missing if (text := did_you_mean(target, free))), "")
        raise DataError(
            f"Candles need the columns {', '.join(REQUIRED)} (and volume); missing: {', '.join(missing)}; "
            f"found: {shorten(', '.join(names), 200, placeholder=' ...') or 'none'}.{guess}",
            hint="rename the columns; case and underscores do not matter, o h l c v and timestamp are understood too.",
        )
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _volumes_by_asset(names: Sequence[str]) -> dict[str, str]:
    """`Volume BTC` and `Volume USDT` as volume and quote volume."""
    pairs = [
        (name, words[1].upper()) for name in names if len(words := name.split()) == 2 and words[0].lower() == "volume"
    ]
    base = [name for name, asset in pairs if asset not in _QUOTE_ASSETS]
    quote = [name for name, asset in pairs if asset in _QUOTE_ASSETS]
    found = {}
    if len(base) == 1:
        found["volume"] = base[0]
        if len(quote) == 1:
            found["quote_volume"] = quote[0]
    return found


def _columns_of(data: object) -> tuple[list[str], Callable[[str], Any]]:
    """Names of the columns and how to get one."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if polars is not None and isinstance(data, polars.LazyFrame):
        data = data.collect()
    if polars is not None and isinstance(data, polars.DataFrame):
        return list(data.columns), data.get_column
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return _pandas_columns(data, pandas)
    if isinstance(data, Mapping):
        by_name = {str(name): values for name, values in data.items()}
        return list(by_name), by_name.__getitem__
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray | memoryview):
        return _row_columns(data)
    raise DataError(
        f"{type(data).__name__} is not a form of candles that can be read.",
        hint="give a list of dicts (time, open, high, low, close, volume), a pandas or polars frame, or Candles; "
        "read_candles reads files.",
    )


def _pandas_columns(frame: Any, pandas: Any) -> tuple[list[str], Callable[[str], Any]]:
    if isinstance(frame.columns, pandas.MultiIndex):
        raise DataError(
            "The frame has column names of several levels.",
            hint="take one symbol: frame.droplevel(1, axis=1) or frame.xs(symbol, axis=1, level=1).",
        )
    by_name = {str(name): position for position, name in enumerate(frame.columns)}
    names = list(by_name)
    index = frame.index
    index_name = str(index.name) if index.name is not None else "time"
    known_times = {_plain(alias) for alias in _ALIASES["time"]}
    columns_have_time = any(_plain(name) in known_times for name in names)
    dated = isinstance(index, pandas.DatetimeIndex)
    if dated or (not columns_have_time and index.name is not None and _plain(index_name) in known_times):
        # A dated index is the time of the bars, whatever it is called and whatever else is in the frame.
        names = ["time", *(name for name in names if _plain(name) not in known_times)]
        return names, lambda name: index if name == "time" else frame.iloc[:, by_name[name]]
    return names, lambda name: frame.iloc[:, by_name[name]]


def _row_columns(rows: Sequence[Any]) -> tuple[list[str], Callable[[str], Any]]:
    if not len(rows):
        return [*REQUIRED, "volume"], lambda _: []
    first = rows[0]
    if not isinstance(first, Mapping):
        hint = "each candle is a dict with time, open, high, low, close, volume"
        if isinstance(first, Sequence) and not isinstance(first, str) and len(first) >= 5:
            hint += ': [dict(zip(("time", "open", "high", "low", "close", "volume"), row)) for row in rows]'
        raise DataError(f"A candle is a {type(first).__name__} where a dict is needed.", hint=f"{hint}.")
    keys = {str(key): key for key in first}

    def column(name: str) -> list[Any]:
        key = keys[name]
        try:
            return [row[key] for row in rows]
        except (KeyError, TypeError, IndexError):
            at = next(at for at, row in enumerate(rows) if not isinstance(row, Mapping) or key not in row)
            raise DataError(
                f"Candle {at} of {len(rows):,} has no {name!r}: {_shown(rows[at])}.",
                hint="every candle needs the same keys as the first.",
            ) from None

    return list(keys), column


def read_floats(values: Any, name: str) -> FloatArray:
    """One column of numbers as float64; missing values become NaN.

    Raises:
        DataError: A value is not a number.
    """
    array: FloatArray
    try:
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(values, polars.Series):
            array = values.cast(polars.Float64).to_numpy()
        elif hasattr(values, "to_numpy"):
            array = values.to_numpy(dtype="float64", na_value=np.nan)
        else:
            array = np.asarray(values, dtype=np.float64)
    except Exception as cause:  # frames raise errors of their own; none of them may leave the package
        at, value = _first_unreadable(values, float)
        raise DataError(
            f"Column {name}, row {at}: {_shown(value)} is not a number.",
            hint="prices and volumes are plain numbers with a decimal point, without units or separators.",
        ) from cause
    if array.ndim != 1:
        raise DataError(
            f"Column {name} has {array.ndim} dimensions where one is needed.", hint="give one value per bar."
        )
    return array


def _shown(value: object) -> str:
    """A value for an error message: one line, not long."""
    return shorten(repr(value), 80, placeholder=" ...")


def _first_unreadable(values: Any, read: Callable[[Any], object]) -> tuple[int, object]:
    """The first value that `read` refuses, for an error message."""
    for at, value in enumerate(values if isinstance(values, Iterable) else ()):
        try:
            if value is not None:
                read(value)
        except Exception:  # noqa: BLE001 - whatever it raises, this is the value to show
            return at, value
    return 0, values if isinstance(values, str | int | float) else type(values).__name__


def read_times(values: Any, calendar: Calendar = ALWAYS_OPEN) -> tuple[IntArray, tuple[Finding, ...]]:
    """One column of times as int64 milliseconds UTC.

    Args:
        values: Numbers (the unit is found by their size), datetimes (naive ones are UTC), dates (local midnight of the
            calendar) or ISO strings.
        calendar: Of the market.

    Returns:
        The times, and a finding of severity "error" where units are mixed (each row is then read by its own size).

    Raises:
        DataError: A time is missing or cannot be read.
    """
    try:
        return _read_times(values, calendar)
    except DataError:
        raise
    except Exception as cause:  # frames raise errors of their own; none of them may leave the package
        at, value = _first_unreadable(values, lambda item: instant_ms(item, calendar))
        raise _unreadable_time(at, value) from cause


def _unreadable_time(at: int, value: object) -> DataError:
    return DataError(
        f"Column time, row {at}: {_shown(value)} is not a time.",
        hint="times are milliseconds since 1970 UTC, datetimes, or ISO strings such as 2025-01-01T00:00:00Z.",
    )


def _read_times(values: Any, calendar: Calendar) -> tuple[IntArray, tuple[Finding, ...]]:
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(values, polars.Series):
        if values.dtype == polars.Date:
            _refuse_missing(values.is_null().to_numpy())
            return values.cast(polars.Int64).to_numpy() * 86_400_000 - calendar.utc_offset_ms, ()
        if isinstance(values.dtype, polars.Datetime):
            _refuse_missing(values.is_null().to_numpy())
            per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[values.dtype.time_unit]
            return values.to_physical().to_numpy() // per_ms, ()
        if not values.dtype.is_numeric():
            return _read_items(values.to_list(), calendar)
        values = values.to_numpy()
    elif hasattr(values, "to_numpy"):
        if getattr(values.dtype, "kind", "") == "M":
            # DatetimeIndex and Series differ in where they keep the time zone; both know their instants as UTC.
            zoned = getattr(values, "dt", values)
            values = (
                zoned.tz_convert(None).to_numpy() if values.dtype.__class__.__name__ == "DatetimeTZDtype" else values
            )
        values = np.asarray(values if isinstance(values, np.ndarray) else values.to_numpy())
    elif not isinstance(values, np.ndarray):
        values = list(values)
        if not values or not all(type(value) is int or type(value) is float for value in values):
            return _read_items(values, calendar)
        values = np.array(values)
    if values.ndim != 1:
        raise DataError(f"Column time has {values.ndim} dimensions where one is needed.", hint="give one time per bar.")
    if values.dtype.kind == "M":
        _refuse_missing(np.isnat(values))
        return values.astype("datetime64[ms]").astype(np.int64), ()
    if values.dtype.kind not in "iuf":
        return _read_items(values.tolist(), calendar)
    return _by_magnitude(values)


def _refuse_missing(missing: Any) -> None:
    if missing.any():
        raise _unreadable_time(int(np.argmax(missing)), None)


def _read_items(values: list[Any], calendar: Calendar) -> tuple[IntArray, tuple[Finding, ...]]:
    """Times given as Python objects, of one kind or of several."""
    numbers = [_as_number(value) for value in values]
    numeric = sum(number is not None for number in numbers)
    if values and numeric == len(values):
        with suppress(TypeError, OverflowError):  # integers beyond 64 bits; the reading one by one names the row
            return _by_magnitude(np.array(numbers))
    elif numeric:
        # Numbers among dates, or the other way round: the fewer are the strangers.
        strange = next(at for at, number in enumerate(numbers) if (number is not None) == (2 * numeric < len(values)))
        raise _unreadable_time(strange, values[strange])
    times = np.empty(len(values), dtype=np.int64)
    for at, value in enumerate(values):
        try:
            times[at] = instant_ms(value, calendar)
        except (DataError, OverflowError):
            raise _unreadable_time(at, value) from None
    return times, ()


def _as_number(value: object) -> int | float | None:
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, str):
        for read in (int, float):
            try:
                return read(value)
            except ValueError:
                continue
    return None


def _by_magnitude(numbers: Any) -> tuple[IntArray, tuple[Finding, ...]]:
    """Numbers as milliseconds, their unit found by size: per column, or per row where a column mixes units."""
    if not len(numbers):
        return numbers.astype(np.int64), ()
    if numbers.dtype.kind == "f":
        _refuse_missing(~np.isfinite(numbers))
    size = np.abs(numbers.astype(np.float64))
    smallest, largest = float(size.min()), float(size.max())
    if largest >= _LARGEST_TIME:
        at = int(np.argmax(size))
        raise _unreadable_time(at, numbers[at])
    if smallest < _SMALLEST_DATE and largest < 10 * _UNIT_LIMITS[0]:
        return np.floor(numbers).astype(np.int64), ()
    units = np.digitize(size, _UNIT_LIMITS)
    if units.min() == units.max():
        return _in_milliseconds(numbers, int(units[0])), ()
    common = int(np.bincount(units).argmax())
    others = np.flatnonzero(units != common)
    times = np.empty(len(numbers), dtype=np.int64)
    for unit in np.unique(units):
        rows = units == unit
        times[rows] = _in_milliseconds(numbers[rows], int(unit))
    first = int(others[0])
    return times, (
        Finding(
            "mixed_units",
            "error",
            len(others),
            int(times[first]),
            f"The times mix units: {_UNIT_NAMES[common]}, but {counted(len(others), 'row')} in another, first row "
            f"{first}: {_UNIT_NAMES[int(units[first])]} ({numbers[first]:.15g} = {utc_text(int(times[first]))}).",
            "bring all times to milliseconds; read_candles does that for files.",
        ),
    )


def _in_milliseconds(numbers: Any, unit: int) -> IntArray:
    if unit == 0:
        times = numbers * 1000
    elif unit == 1:
        times = numbers
    else:
        times = numbers // 1000 ** (unit - 1)
    return np.asarray(np.floor(times) if times.dtype.kind == "f" else times).astype(np.int64)


def instant_ms(value: object, calendar: Calendar = ALWAYS_OPEN) -> int:
    """One instant as milliseconds UTC: an int of milliseconds, a datetime (naive = UTC), a date or an ISO string.

    A date, or a string that is only a date, is the local midnight of the calendar: the stamp of that trading day.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return int(value.astype("datetime64[ms]").astype(np.int64))
    if isinstance(value, bool | np.bool_) or value is None:
        pass
    elif isinstance(value, int | np.integer):
        return int(value)
    elif isinstance(value, datetime):
        # pandas' missing time is a datetime too, and the only one that differs from itself.
        if value == value:  # noqa: PLR0124
            return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    elif isinstance(value, date):
        return (
            datetime(value.year, value.month, value.day, tzinfo=UTC) - _EPOCH
        ) // _MILLISECOND - calendar.utc_offset_ms
    elif isinstance(value, str):
        text = value.strip()
        try:
            if len(text) == len("2025-01-01"):
                return instant_ms(date.fromisoformat(text), calendar)
            return instant_ms(datetime.fromisoformat(text), calendar)
        except ValueError:
            pass
    raise DataError(
        f"{_shown(value)} is not a time.",
        hint="give milliseconds since 1970 UTC, a datetime, or an ISO string such as 2025-01-01T00:00:00Z.",
    )
