"""Bars that should be there and are not: around the clock every empty slot, on an exchange those of its sessions."""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import IntArray
from barwise.timeframe import DAY_MS, WEEK_MS, Calendar, Timeframe, calendar_of

# Exchange and segment whose trading days are known: ("NSE", None), ("MCX", None), ("NSE", "derivatives").
IndianMarket: TypeAlias = tuple[str, str | None]

# No exchange holiday lasts longer; a longer break of a session market is missing data.
LONGEST_HOLIDAY_DAYS = 7
_GAPS_LISTED = 100
_FIRST_WEEKDAY = np.datetime64("1970-01-01", "D")
_DAY_ZERO = date(1970, 1, 1).toordinal()
# Exchanges that are named themselves, not through a venue and the prefix of its symbol.
_EXCHANGES_WITH_SESSIONS = ("NSE", "BSE")


@dataclass(frozen=True)
class Gaps:
    """Bars that should be there by the timeframe and the calendar, and are not.

    Attributes:
        count: Places.
        missing: Bars missing in all of them.
        longest: Bars missing in the longest.
        where: (open of the first missing bar in ms UTC, bars missing) of the first 100 places.
        sessions: Trading days without one bar, by the calendar of an Indian exchange; the first 100.
    """

    count: int = 0
    missing: int = 0
    longest: int = 0
    where: tuple[tuple[int, int], ...] = ()
    sessions: tuple[date, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "count": self.count,
            "missing": self.missing,
            "longest": self.longest,
            "where": [{"start": start, "bars": bars} for start, bars in self.where],
            "sessions": [day.isoformat() for day in self.sessions],
        }


def indian_market(exchange: str, symbol: str) -> IndianMarket | None:
    """Where the bars of a symbol are traded, if that is an exchange whose trading days the package knows."""
    # The table and what reads it are loaded for Indian markets only: `import barwise` would take twice as long.
    if calendar_of(exchange).always_open:
        return None
    from barwise.data.sessions import market_of

    name = exchange.upper()
    return (name, None) if name in _EXCHANGES_WITH_SESSIONS else market_of(exchange, symbol)


def find_gaps(time: IntArray, timeframe: Timeframe, calendar: Calendar, market: IndianMarket | None = None) -> Gaps:
    """The bars missing between the first and the last.

    Around the clock every absent grid slot counts. Where a market has sessions, nights, weekends and holidays are not
    gaps: slots inside a session that lie between two bars of the same day count, and sessions without one bar, which
    the calendar of `market` knows. Where it does not know the days, a break of up to LONGEST_HOLIDAY_DAYS passes for
    holidays, and of a longer one, which no holiday explains, the weekdays are counted as whole sessions.

    Args:
        time: Opens in ms UTC, ascending.
        timeframe: Of the bars. Weeks are never shut, so that every absent one counts.
        calendar: When the market trades.
        market: See `indian_market`. None: no trading day is known.
    """
    if len(time) < 2:
        return Gaps()
    before, after = time[:-1], time[1:]
    sessions: tuple[date, ...] = ()
    if calendar.always_open or timeframe.ms == WEEK_MS:
        missing = np.maximum((after - before) // timeframe.ms - 1, 0)
        first_missing = before + timeframe.ms
    else:
        missing, first_missing = _session_gaps(before, after, timeframe, calendar, market)
        if market is not None:
            sessions = _add_absent_sessions(missing, first_missing, time, timeframe, calendar, market)
    places = np.flatnonzero(missing)
    if not len(places):
        return Gaps()
    where = tuple((int(first_missing[place]), int(missing[place])) for place in places[:_GAPS_LISTED])
    return Gaps(len(places), int(missing[places].sum()), int(missing[places].max()), where, sessions)


def _session_gaps(
    before: IntArray, after: IntArray, timeframe: Timeframe, calendar: Calendar, market: IndianMarket | None
) -> tuple[IntArray, IntArray]:
    """Missing bars and the open of the first one, for each pair of neighbours in a market with sessions.

    Days that the table of `market` knows are left out; they are not guessed from the length of a break.
    """
    day_before = (before + calendar.utc_offset_ms) // DAY_MS
    day_after = (after + calendar.utc_offset_ms) // DAY_MS
    first_missing = before + timeframe.ms
    if timeframe.intraday:
        session_open = day_before * DAY_MS + calendar.grid_origin_ms
        start = np.maximum(before, session_open - timeframe.ms)
        stop = np.minimum(after, session_open + calendar.session_ms)
        missing = np.where(day_before == day_after, np.maximum(-((start - stop) // timeframe.ms) - 1, 0), 0)
        first_missing = start + timeframe.ms
        bars_of_a_day = -(-calendar.session_ms // timeframe.ms)
    else:
        missing = np.zeros(len(before), dtype=np.int64)
        bars_of_a_day = 1
    too_long = np.flatnonzero(day_after - day_before > LONGEST_HOLIDAY_DAYS)
    if len(too_long):
        weekdays = np.busday_count(
            _FIRST_WEEKDAY + (day_before[too_long] + 1).astype("timedelta64[D]"),
            _FIRST_WEEKDAY + day_after[too_long].astype("timedelta64[D]"),
            holidays=[] if market is None else _known_days(market[0]).known,
        )
        missing[too_long] = weekdays * bars_of_a_day
        next_open = (day_before + 1) * DAY_MS + timeframe.grid_origin_ms(calendar)
        first_missing[too_long] = next_open[too_long]
    return missing, first_missing


class _KnownDays(NamedTuple):
    """What the calendar of an exchange knows: days since 1970 with a session, and all days with an answer."""

    sessions: IntArray
    known: NDArray[np.datetime64]


@cache
def _known_days(exchange: str) -> _KnownDays:
    from barwise.data.sessions import known_years, session_hours, sessions_between

    years = known_years(exchange)
    start, end = date(years[0], 1, 1), date(years[-1] + 1, 1, 1)
    found = sessions_between(exchange, start, end)
    # On a holiday with an evening session the agricultural contracts of MCX rest, and a symbol does not say what it is.
    common = [day for day in found.days if exchange != "MCX" or session_hours(exchange, day, "agri") != ()]
    known = np.setdiff1d(
        np.arange(np.datetime64(start), np.datetime64(end)), np.array(found.unknown, dtype="datetime64[D]")
    )
    return _KnownDays(np.array(common, dtype="datetime64[D]").astype(np.int64), known)


def _add_absent_sessions(
    missing: IntArray,
    first_missing: IntArray,
    time: IntArray,
    timeframe: Timeframe,
    calendar: Calendar,
    market: IndianMarket,
) -> tuple[date, ...]:
    """Put the sessions without one bar into the missing bars of each pair of neighbours; returns the first of them."""
    days = (time + calendar.utc_offset_ms) // DAY_MS
    sessions = _known_days(market[0]).sessions
    sessions = sessions[(sessions > days[0]) & (sessions < days[-1])]
    next_bar = np.searchsorted(days, sessions)
    absent = days[next_bar] != sessions
    for day, pair in zip(sessions[absent].tolist(), (next_bar[absent] - 1).tolist(), strict=True):
        start, bars = _whole_session(day, timeframe, calendar, market)
        first_missing[pair] = min(first_missing[pair], start) if missing[pair] else start
        missing[pair] += bars
    return tuple((_FIRST_WEEKDAY + sessions[absent][:_GAPS_LISTED]).tolist())


def _whole_session(day: int, timeframe: Timeframe, calendar: Calendar, market: IndianMarket) -> tuple[int, int]:
    """Open of the first bar, ms UTC, and number of bars of the session of a day, counted in days since 1970."""
    if not timeframe.intraday:
        return day * DAY_MS + timeframe.grid_origin_ms(calendar), 1
    from barwise.data.sessions import session_hours

    origin = day * DAY_MS + calendar.grid_origin_ms
    # Hours that the table does not have are taken to be the regular ones.
    hours = session_hours(market[0], date.fromordinal(day + _DAY_ZERO), market[1])
    slots = {
        slot
        for opens, closes in hours or ((origin, origin + calendar.session_ms),)
        for slot in range((opens - origin) // timeframe.ms, -((origin - closes) // timeframe.ms))
    }
    return origin + min(slots) * timeframe.ms, len(slots)
