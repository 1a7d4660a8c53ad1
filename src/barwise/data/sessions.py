"""When NSE, BSE and MCX trade: holidays, special sessions and hours, with dates, so that a gap can be judged.

No calendar of a library has the Muhurat sessions, the special Saturdays, MCX or the hours of August 2026, so the facts
stand in `sessions.toml` beside this module, with their sources. The table only labels: nothing is dropped or refused
because of it, and what it does not know it says (`None`, "unknown") instead of guessing.
"""

import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias

from barwise.errors import DataError
from barwise.timeframe import DAY_MS, MINUTE_MS, NSE

Label: TypeAlias = Literal["expected", "suspicious", "unknown"]
Interval: TypeAlias = tuple[int, int]

IST_MS = NSE.utc_offset_ms
_TABLE = "sessions.toml"
_UNKNOWN = "?"
# MCX trades in two sessions with this boundary, in minutes after midnight.
_EVENING = 17 * 60
_SATURDAY = 5
_EPOCH = date(1970, 1, 1)

_MAIN_SEGMENT = {"NSE": "equity", "BSE": "equity", "MCX": "commodity"}
_VENUES = {"ZERODHA": "NSE", "DHAN": "NSE"}
# What stands before the colon of a symbol at Zerodha and at Dhan. Currency derivatives are not in the table.
_MARKET_OF_PREFIX: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("NSE", "NSE_EQ", "IDX_I"), ("NSE", None)),
    **dict.fromkeys(("BSE", "BSE_EQ"), ("BSE", None)),
    **dict.fromkeys(("NFO", "NSE_FNO"), ("NSE", "derivatives")),
    **dict.fromkeys(("BFO", "BSE_FNO"), ("BSE", "derivatives")),
    **dict.fromkeys(("MCX", "MCX_COMM"), ("MCX", None)),
}


class Sessions(NamedTuple):
    """Trading days of a span.

    Attributes:
        days: Days with a session, ascending.
        unknown: Days of which the table does not know it.
    """

    days: tuple[date, ...]
    unknown: tuple[date, ...]


class _Day(NamedTuple):
    """What the table says of a day: its hours in minutes after midnight, None where they are the regular ones."""

    hours: tuple[Interval, ...] | None = None
    earliest: int = 0
    latest: int = 24 * 60
    hours_known: bool = True
    session_known: bool = True


class _Hours(NamedTuple):
    """Regular hours since a date, in minutes after midnight; None where they are not known."""

    since: date
    hours: tuple[Interval, ...] | None
    winter_close: int | None


class _Table(NamedTuple):
    as_of: date
    years: dict[str, frozenset[int]]
    days: dict[tuple[str, date], _Day]
    hours: dict[tuple[str, str], tuple[_Hours, ...]]


_CLOSED = _Day(hours=())


def is_session(exchange: str, day: date) -> bool | None:
    """Whether there is a session on a day, however short.

    Args:
        exchange: NSE, BSE or MCX; ZERODHA and DHAN stand for NSE.
        day: In India.

    Returns:
        None where the table does not know the exchange, the year or the day.
    """
    known = _day(exchange, day)
    if known is None or not known.session_known:
        return None
    return known.hours != ()


def known_years(exchange: str) -> tuple[int, ...]:
    """The years that the table has for an exchange, ascending."""
    return tuple(sorted(_table().years.get(_exchange(exchange), ())))


def as_of() -> date:
    """The day on which the table was last brought up to date; later holidays are as announced by then."""
    return _table().as_of


def sessions_between(exchange: str, start: date, end: date) -> Sessions:
    """The trading days from `start` on and before `end`."""
    days, unknown = [], []
    for day in _days(start, end):
        answer = is_session(exchange, day)
        if answer is None:
            unknown.append(day)
        elif answer:
            days.append(day)
    return Sessions(tuple(days), tuple(unknown))


def session_hours(exchange: str, day: date, segment: str | None = None) -> tuple[Interval, ...] | None:
    """When a part of the market trades on a day.

    Args:
        exchange: NSE, BSE or MCX; ZERODHA and DHAN stand for NSE.
        day: In India.
        segment: NSE and BSE: "equity" (default), "equity_with_derivatives" (shares whose continuous market ends before
            the closing auction, since 2026-08-03), "closing_auction", "derivatives". MCX: "commodity" (default),
            "agri_international", "agri".

    Returns:
        Half-open spans in ms UTC, ascending; none on a day without a session. None where they are not known.

    Raises:
        DataError: The exchange has no such segment.
    """
    name = _exchange(exchange)
    main = _MAIN_SEGMENT.get(name)
    if main is None:
        return None
    regular = _table().hours.get((name, segment or main))
    if regular is None:
        known = ", ".join(sorted(part for market, part in _table().hours if market == name))
        raise DataError(f"{name} has no segment {segment!r}.", hint=f"use one of {known}.")
    found = _day(name, day)
    if found is None or not (found.session_known and found.hours_known):
        return None
    minutes = _minutes(found, regular, day, auction=segment == "closing_auction")
    if minutes is None:
        return None
    midnight = (day - _EPOCH).days * DAY_MS - IST_MS
    return tuple((midnight + opens * MINUTE_MS, midnight + closes * MINUTE_MS) for opens, closes in minutes)


def label_gap(exchange: str, first_missing_ms: int, next_bar_ms: int, segment: str | None = None) -> Label:
    """Whether a gap between two bars is explained by the calendar.

    Args:
        exchange: NSE, BSE or MCX; ZERODHA and DHAN stand for NSE.
        first_missing_ms: Open of the first missing bar, ms UTC.
        next_bar_ms: Open of the bar after the gap, ms UTC.
        segment: See `session_hours`. None is the main one; at NSE and BSE it is then left open whether the shares have
            derivatives, so that the minutes of the closing auction are "unknown".

    Returns:
        "expected" where the market was closed throughout, "suspicious" where it was open for some of it, "unknown"
        where the table does not know enough.
    """
    if segment is None and _MAIN_SEGMENT.get(_exchange(exchange)) == "equity":
        labels = {
            _label(exchange, first_missing_ms, next_bar_ms, part) for part in ("equity", "equity_with_derivatives")
        }
        return labels.pop() if len(labels) == 1 else "unknown"
    return _label(exchange, first_missing_ms, next_bar_ms, segment)


def market_of(venue: str, symbol: str) -> tuple[str, str | None] | None:
    """Exchange and segment of a market of ZERODHA or DHAN: ("NSE", "derivatives") for NFO:... and NSE_FNO:...

    Returns:
        The segment is None for the main one. None for other venues and for markets that the table does not have.
    """
    if venue.upper() not in _VENUES:
        return None
    prefix, colon, _ = symbol.upper().partition(":")
    return _MARKET_OF_PREFIX.get(prefix) if colon else ("NSE", None)


def indian_day(time_ms: int) -> date:
    """The date in India at an instant in ms UTC."""
    return _EPOCH + timedelta(days=(time_ms + IST_MS) // DAY_MS)


def indian_text(time_ms: int) -> str:
    """Date and time in India at an instant in ms UTC: `2026-11-22 09:15:00`."""
    moment = datetime.fromtimestamp((time_ms + IST_MS) // 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _label(exchange: str, first_missing_ms: int, next_bar_ms: int, segment: str | None) -> Label:
    label: Label = "expected"
    for day in _days(indian_day(first_missing_ms), indian_day(next_bar_ms - 1) + timedelta(days=1)):
        hours = session_hours(exchange, day, segment)
        if hours is None:
            label = "unknown"
        elif any(max(opens, first_missing_ms) < min(closes, next_bar_ms) for opens, closes in hours):
            return "suspicious"
    return label


def _exchange(name: str) -> str:
    upper = name.upper()
    return _VENUES.get(upper, upper)


def _days(start: date, end: date) -> Iterator[date]:
    return (start + timedelta(days=at) for at in range((end - start).days))


def _day(exchange: str, day: date) -> _Day | None:
    """What the table says of a day, None where it does not have the year."""
    name, table = _exchange(exchange), _table()
    if day.year not in table.years.get(name, ()):
        return None
    return table.days.get((name, day)) or (_CLOSED if day.weekday() >= _SATURDAY else _Day())


def _minutes(found: _Day, regular: tuple[_Hours, ...], day: date, *, auction: bool) -> tuple[Interval, ...] | None:
    """The hours of a day in minutes after midnight, None where they are not known."""
    if found.hours is not None:
        return () if auction else found.hours
    valid = [hours for hours in regular if hours.since <= day]
    if not valid:
        # An auction that does not exist yet has no hours; a market whose older hours we do not know has some.
        return () if auction else None
    hours = valid[-1].hours
    if hours is None:
        return None
    if valid[-1].winter_close is not None and _us_winter(day):
        hours = (*hours[:-1], (hours[-1][0], valid[-1].winter_close))
    clipped = ((max(opens, found.earliest), min(closes, found.latest)) for opens, closes in hours)
    return tuple((opens, closes) for opens, closes in clipped if opens < closes)


def _us_winter(day: date) -> bool:
    """The US is not on daylight saving time: before the second Sunday of March, from the first of November on."""
    return not _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)


def _sunday(year: int, month: int, which: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (which - 1))


@cache
def _table() -> _Table:
    """The table, read once.

    Raises:
        DataError: Somebody has edited it, and it cannot be read.
    """
    try:
        return _read(tomllib.loads((files("barwise.data") / _TABLE).read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"The calendar {_TABLE} cannot be read: {error}.", hint="undo the last change of it, or install again."
        ) from None


def _read(content: dict[str, Any]) -> _Table:
    years: dict[str, set[int]] = {}
    days: dict[tuple[str, date], _Day] = {}
    hours: dict[tuple[str, str], list[_Hours]] = {}
    for entry in content["year"]:
        found = dict(_days_of_year(entry))
        for exchange in entry["exchange"]:
            years.setdefault(exchange, set()).add(entry["year"])
            if twice := [day for day in found if (exchange, day) in days]:
                raise ValueError(f"{exchange} has {twice[0]} twice")
            days |= {(exchange, day): meaning for day, meaning in found.items()}
    for entry in content["hours"]:
        close = entry.get("close_in_us_winter")
        regular = _Hours(entry["since"], _hours(entry["hours"]), _minute(close) if close else None)
        for exchange in entry["exchange"]:
            hours.setdefault((exchange, entry["segment"]), []).append(regular)
    return _Table(
        content["as_of"],
        {exchange: frozenset(known) for exchange, known in years.items()},
        days,
        {part: tuple(sorted(known, key=lambda one: one.since)) for part, known in hours.items()},
    )


def _days_of_year(entry: dict[str, Any]) -> Iterator[tuple[date, _Day]]:
    """The days that a table of a year names."""
    meanings = {
        "closed": _CLOSED,
        "evening": _Day(earliest=_EVENING),
        "morning": _Day(latest=_EVENING),
        "unsure": _Day(session_known=False),
    }
    named: set[date] = set()
    for kind in (*meanings, "special"):
        for text in entry.get(kind, ()):
            month_day, _, rest = text.partition(" ")
            day = date.fromisoformat(f"{entry['year']}-{month_day}")
            if day in named:
                raise ValueError(f"{day} stands there twice")
            named.add(day)
            if kind != "special":
                yield day, meanings[kind]
                continue
            hours = _hours(rest.partition(" ")[0])
            yield day, _Day(hours_known=False) if hours is None else _Day(hours=hours)


def _hours(text: str) -> tuple[Interval, ...] | None:
    """09:15-10:00,11:30-12:30 as minutes after midnight; None for a question mark."""
    if text == _UNKNOWN:
        return None
    spans = []
    for span in text.split(","):
        opens, closes = span.split("-")
        spans.append((_minute(opens), _minute(closes)))
    if any(opens >= closes for opens, closes in spans) or spans != sorted(spans):
        raise ValueError(f"{text} are no hours")
    return tuple(spans)


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)
