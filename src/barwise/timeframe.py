"""Timeframes and trading calendars: how long a bar is, where it starts, and how many there are in a year.

Annualisation comes from here and from nowhere else, so that a Sharpe ratio never depends on the sample or on a silent
252. In this project 1M is ONE MINUTE (the exchanges' own one-month interval is never used).
"""

from dataclasses import dataclass
from functools import cached_property

from barwise.errors import ConfigError, did_you_mean

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

_LENGTHS_MS = {
    "1M": MINUTE_MS,
    "5M": 5 * MINUTE_MS,
    "15M": 15 * MINUTE_MS,
    "30M": 30 * MINUTE_MS,
    "1H": HOUR_MS,
    "2H": 2 * HOUR_MS,
    "4H": 4 * HOUR_MS,
    "1D": DAY_MS,
    "1W": WEEK_MS,
}
_NAMES_BY_LENGTH = {length: name for name, length in _LENGTHS_MS.items()}
# 1970-01-05 was a Monday, and venues open their weeks on Monday 00:00.
_FIRST_MONDAY_MS = 4 * DAY_MS


@dataclass(frozen=True)
class Calendar:
    """When a market trades.

    Attributes:
        name: "24/7" or the exchange's short name.
        days_per_year: Trading days (sessions) of a year.
        session_ms: Length of the regular session.
        utc_offset_ms: Local time minus UTC; a trading day starts at local midnight.
        session_open_ms: Opening of the session after local midnight.
    """

    name: str
    days_per_year: int
    session_ms: int = DAY_MS
    utc_offset_ms: int = 0
    session_open_ms: int = 0

    @property
    def always_open(self) -> bool:
        """True where bars follow each other without a break."""
        return self.session_ms == DAY_MS

    @property
    def grid_origin_ms(self) -> int:
        """An instant at which an intraday bar opens; all others lie whole bars away within the same session."""
        return self.session_open_ms - self.utc_offset_ms


ALWAYS_OPEN = Calendar("24/7", 365)
NSE = Calendar(
    "NSE",
    248,
    session_ms=375 * MINUTE_MS,
    utc_offset_ms=330 * MINUTE_MS,
    session_open_ms=9 * HOUR_MS + 15 * MINUTE_MS,
)
_CALENDAR_OF_EXCHANGE = {"ZERODHA": NSE, "DHAN": NSE, "NSE": NSE, "BSE": NSE}


def calendar_of(exchange: str) -> Calendar:
    """The calendar of a venue; every venue that is not Indian trades around the clock."""
    return _CALENDAR_OF_EXCHANGE.get(exchange.upper(), ALWAYS_OPEN)


@dataclass(frozen=True)
class Timeframe:
    """The length of a bar, by its name: 1M 5M 15M 30M 1H 2H 4H 1D 1W.

    Args:
        name: One of the names above; `1m`, `1h`, `1d`, `1w` are accepted by `Timeframe.parse`.
    """

    name: str

    @classmethod
    def parse(cls, value: "str | Timeframe") -> "Timeframe":
        """Read a timeframe.

        Raises:
            ConfigError: The name is none of those allowed.
        """
        if isinstance(value, Timeframe):
            return value
        name = value.strip().upper() if isinstance(value, str) else repr(value)
        if name not in _LENGTHS_MS:
            raise ConfigError(
                f"{value!r} is not a timeframe.{did_you_mean(name, _LENGTHS_MS)}",
                hint=f"use one of {', '.join(_LENGTHS_MS)}; 1M is one minute.",
            )
        return cls(name)

    @classmethod
    def of_length(cls, length_ms: int) -> "Timeframe | None":
        """The timeframe of that length in ms, or None."""
        return cls(_NAMES_BY_LENGTH[length_ms]) if length_ms in _NAMES_BY_LENGTH else None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All names, from short to long."""
        return tuple(_LENGTHS_MS)

    @cached_property
    def ms(self) -> int:
        """Length in milliseconds."""
        return _LENGTHS_MS[self.name]

    @property
    def intraday(self) -> bool:
        """Shorter than a day."""
        return self.ms < DAY_MS

    def grid_origin_ms(self, calendar: Calendar = ALWAYS_OPEN) -> int:
        """An instant at which a bar of this timeframe opens under the calendar."""
        if self.intraday:
            return calendar.grid_origin_ms
        origin = -calendar.utc_offset_ms
        return origin + _FIRST_MONDAY_MS if self.ms == WEEK_MS else origin

    def bars_per_year(self, calendar: Calendar = ALWAYS_OPEN) -> float:
        """Bars in a year of that calendar: 8,760 of 1H around the clock, 1,736 on NSE (7 a session)."""
        if self.ms == WEEK_MS:
            return calendar.days_per_year / (7 if calendar.always_open else 5)
        bars_per_session = -(-calendar.session_ms // self.ms) if self.intraday else 1
        return float(calendar.days_per_year * bars_per_session)

    def __str__(self) -> str:
        return self.name
