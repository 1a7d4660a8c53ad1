"""ExchangeManager: one object to ask for candles, whatever venue they are of.

This release has no connection to any venue. Candles of SAMPLE are made here and now; candles of every other venue come
out of the local store, into which `barwise data import` puts them. A caller does not see the difference, so that
nothing has to change above this module when downloads come.
"""

import logging
import threading
from time import perf_counter
from typing import Any, Self

from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.data.columns import Instant, instant_ms
from barwise.data.quality import LONGEST_HOLIDAY_DAYS, utc_text
from barwise.data.store import CandleStore, Span
from barwise.data.synthetic import sample_candles, sample_symbols
from barwise.errors import ConfigError, DataError, did_you_mean
from barwise.obs import home_folder
from barwise.timeframe import DAY_MS, Timeframe, calendar_of

logger = logging.getLogger(__name__)

VENUES = ("BINANCE", "BINANCE_UM", "DELTA", "ZERODHA", "DHAN", SYNTHETIC_EXCHANGE)
_NO_DOWNLOADS = "this release cannot download from {venue}; that comes with a later one"
_SPANS_NAMED = 3


class ExchangeManager:
    """The one door to all venues: every call of the class gives the same object, and threads may share it.

    The store is `data/cache` below the home folder (BARWISE_HOME, else the working directory).
    """

    _instance: "ExchangeManager | None" = None
    _creation = threading.Lock()

    def __new__(cls) -> Self:
        with cls._creation:
            if cls._instance is None:
                cls._instance = super().__new__(cls)
            return cls._instance  # type: ignore[return-value]

    @property
    def store(self) -> CandleStore:
        """The local candles; looked up anew each time, so a change of the home folder takes effect."""
        return CandleStore(home_folder() / "data" / "cache")

    def fetch_ohlc(
        self,
        exchange_name: str,
        symbol: str,
        timeframe: str | Timeframe,
        start_date: Instant | None = None,
        end_date: Instant | None = None,
    ) -> Candles:
        """The candles that open at or after `start_date` and before `end_date`.

        Where the store has a part of the span only, that part comes back and the log has a warning with the rest.

        Args:
            exchange_name: BINANCE (spot), BINANCE_UM (USD-M futures), DELTA, ZERODHA, DHAN or SAMPLE, any case.
            symbol: Name of the market, such as BTCUSDT.
            timeframe: 1M 5M 15M 30M 1H 2H 4H 1D 1W; 1M is one minute.
            start_date, end_date: Datetime (naive = UTC, aware ones are converted), ISO string or ms UTC; a date without
                a time is the start of that trading day. None: everything stored; for SAMPLE the year 2024.

        Raises:
            ConfigError: No such venue or timeframe, or no such span.
            DataError: Nothing of it is stored, or what is stored cannot be read.
        """
        venue = known_venue(exchange_name)
        frame = Timeframe.parse(timeframe)
        start, end = span_ms(venue, start_date, end_date)
        if venue == SYNTHETIC_EXCHANGE:
            return sample_candles(symbol, frame, start, end)
        try:
            candles = self.store.get(venue, symbol, frame, start, end)
        except DataError as error:
            if any(_overlaps(span, start, end) for span in self.store.coverage(venue, symbol, frame)):
                raise
            raise DataError(
                f"{error.message} And {_NO_DOWNLOADS.format(venue=venue)}.",
                hint=error.hint,
            ) from error
        self._warn_of_missing(candles, start, end)
        return candles

    def validate_connectivity(self, exchange_name: str) -> dict[str, Any]:
        """Whether candles of a venue can be had.

        Returns:
            exchange; status "READY" or "FAILED"; message; latency in ms, or None where nothing was asked; checks, each
            with name, passed and message.

        Raises:
            ConfigError: No such venue.
        """
        venue = known_venue(exchange_name)
        if venue == SYNTHETIC_EXCHANGE:
            began = perf_counter()
            sample_candles(start="2024-01-01", end="2024-01-02")
            latency = (perf_counter() - began) * 1000
            symbols = ", ".join(symbol.name for symbol in sample_symbols())
            message = f"made on this machine, SYNTHETIC; its symbols: {symbols}."
            return _status(venue, True, message, latency, [_check("candles", True, message)])
        stored = [series for series in self.store.list() if series.exchange == venue]
        names = ", ".join(f"{series.symbol} {series.timeframe}" for series in stored)
        connection = _check("connection", False, f"{_NO_DOWNLOADS.format(venue=venue)}.")
        candles = _check(
            "stored_candles", bool(stored), f"stored: {names}." if stored else "no candles of it are stored."
        )
        message = f"{connection['message']} {candles['message']}"
        if not stored:
            message += f" Bring some with: barwise data import FILE --exchange {venue} --symbol SYMBOL --timeframe 1H"
        return _status(venue, False, message, None, [connection, candles])

    def _warn_of_missing(self, candles: Candles, start: int | None, end: int | None) -> None:
        """Say which parts of the span asked for are not stored, as far as no weekend or holiday explains them."""
        if start is None or end is None:
            stored = self.store.coverage(candles.exchange, candles.symbol, candles.timeframe)
            start = stored[0].start if start is None else start
            end = stored[-1].end if end is None else end
        longest = candles.timeframe.ms - 1 if candles.calendar.always_open else LONGEST_HOLIDAY_DAYS * DAY_MS
        missing = [
            span
            for span in self.store.missing(candles.exchange, candles.symbol, candles.timeframe, start, end)
            if span.end - span.start > longest
        ]
        if missing:
            named = "; ".join(map(str, missing[:_SPANS_NAMED]))
            more = f" and {len(missing) - _SPANS_NAMED} more" if len(missing) > _SPANS_NAMED else ""
            logger.warning(
                "%s: not stored of what was asked for: %s%s; %s.",
                candles.label,
                named,
                more,
                _NO_DOWNLOADS.format(venue=candles.exchange),
            )


def known_venue(name: object) -> str:
    """The name of a venue in upper case.

    Raises:
        ConfigError: There is no such venue.
    """
    venue = name.strip().upper() if isinstance(name, str) else ""
    if venue not in VENUES:
        raise ConfigError(
            f"{name!r} is not a venue.{did_you_mean(venue, VENUES)}",
            hint=f"use one of {', '.join(VENUES)}.",
        )
    return venue


def span_ms(exchange: str, start: Instant | None, end: Instant | None) -> tuple[int | None, int | None]:
    """A span as ms UTC, None where it is open.

    Raises:
        ConfigError: A time cannot be read, or the span is empty.
    """
    limits: list[int | None] = []
    for name, value in (("start", start), ("end", end)):
        try:
            limits.append(None if value is None else instant_ms(value, calendar_of(exchange)))
        except DataError as error:
            raise ConfigError(f"{name}: {error.message}", hint=error.hint) from error
    first, stop = limits
    if first is not None and stop is not None and first >= stop:
        raise ConfigError(
            f"the span starts at {utc_text(first)} and ends at {utc_text(stop)}: nothing lies in it.",
            hint="the end is exclusive; give one after the start.",
        )
    return first, stop


def _overlaps(span: Span, start: int | None, end: int | None) -> bool:
    return (end is None or span.start < end) and (start is None or start < span.end)


def _check(name: str, passed: bool, message: str) -> dict[str, Any]:
    return {"name": name, "passed": passed, "message": message}


def _status(
    venue: str, ready: bool, message: str, latency: float | None, checks: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "exchange": venue,
        "status": "READY" if ready else "FAILED",
        "message": f"{venue}: {message}",
        "latency": latency,
        "checks": checks,
    }
