"""ExchangeManager: one object to ask for candles, whatever venue they are of.

Every question goes through the local store: what is there is read, what is missing is downloaded first, and then read
from there too. A span that is stored needs no network. Candles of SAMPLE are made here and now.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Self, cast

from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles, identity_text
from barwise.data.columns import Instant, instant_ms
from barwise.data.parts import on_grid
from barwise.data.quality import utc_text
from barwise.data.sessions import label_gap, market_of
from barwise.data.store import CandleStore, Span
from barwise.data.synthetic import sample_candles
from barwise.errors import APIError, BarwiseError, ConfigError, CredentialError, DataError, did_you_mean
from barwise.exchange.archives import archives_pay_off
from barwise.exchange.base import Check, Market, Page
from barwise.exchange.credentials import Environment, read_environment
from barwise.exchange.download import (
    SETTLING_MS,
    DownloadReport,
    FetchMonth,
    Progress,
    download,
    source_timeframe,
)
from barwise.exchange.sample import Sample
from barwise.exchange.venues import CONNECTED, FOREIGN_PREFIX, FundingVenue, Venue, capabilities_of, connect
from barwise.obs import home_folder, redact
from barwise.timeframe import Timeframe, calendar_of

logger = logging.getLogger(__name__)

VENUES = (*CONNECTED, SYNTHETIC_EXCHANGE)
_REPLAY = "REPLAY"
_SPANS_NAMED = 3
_MOST_AT_ONCE = 4
_SKEW_MS = 1000.0


class Fetched(NamedTuple):
    """Candles, and what it took to get them.

    Attributes:
        candles: Of the span that was asked for.
        report: Of the download; None where nothing was missing and nobody was asked.
    """

    candles: Candles
    report: DownloadReport | None


class _Connection(NamedTuple):
    environment: Environment
    venue: Venue


class ExchangeManager:
    """The one door to all venues: every call of the class gives the same object, and threads may share it.

    The store is `data/cache` below the home folder (BARWISE_HOME, else the working directory). Addresses and keys are
    those of the environment and of config/.env there; each venue has one connection and one limit for all threads,
    which is made anew when one of its values has changed.
    """

    _instance: "ExchangeManager | None" = None
    _creation = threading.Lock()
    _connections: dict[str, _Connection]
    _series_locks: dict[tuple[str, ...], threading.Lock]
    _lock: threading.Lock
    _sleep: Callable[[float], None]
    _clock: Callable[[], float]

    def __new__(cls) -> Self:
        with cls._creation:
            if cls._instance is None:
                made = super().__new__(cls)
                made._connections, made._series_locks, made._lock = {}, {}, threading.Lock()
                made._sleep, made._clock = time.sleep, time.monotonic
                cls._instance = made
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
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Candles:
        """The candles that open at or after `start_date` and before `end_date`.

        What the store lacks of the span is downloaded and stored first. Without one of the dates nothing is: what is
        stored comes back. A timeframe that the venue does not have is made of a finer one.

        Args:
            exchange_name: BINANCE (spot), BINANCE_UM (USD-M futures), DELTA, ZERODHA, DHAN, REPLAY (files of a folder),
                SAMPLE or CCXT:<id> (any venue of the library ccxt, by its id there), any case.
            symbol: Name of the market, such as BTCUSDT.
            timeframe: 1M 5M 15M 30M 1H 2H 4H 1D 1W; 1M is one minute.
            start_date, end_date: Datetime (naive = UTC, aware ones are converted), ISO string or ms UTC; a date without
                a time is the start of that trading day. None: everything stored; for SAMPLE the year 2024.
            progress: Called after each page of a download.

        Raises:
            ConfigError: No such venue or timeframe, or no such span.
            DataError: There are no such candles, what came cannot be right, or what is stored cannot be read.
            CredentialError, RateLimitError, APIError: The venue cannot be asked for what is missing; the hint says what
                is stored.
        """
        return self.fetch(exchange_name, symbol, timeframe, start_date, end_date, progress=progress).candles

    def fetch(
        self,
        exchange_name: str,
        symbol: str,
        timeframe: str | Timeframe,
        start_date: Instant | None = None,
        end_date: Instant | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Fetched:
        """Like `fetch_ohlc`, with the report of the download."""
        name = known_venue(exchange_name)
        frame = Timeframe.parse(timeframe)
        start, end = span_ms(name, start_date, end_date)
        if name == SYNTHETIC_EXCHANGE:
            return Fetched(sample_candles(symbol, frame, start, end), None)
        symbol = identity_text(symbol, "symbol")
        if start is None or end is None:
            return Fetched(self._stored(name, symbol, frame, start, end), None)
        asked = Span(*(on_grid(edge, frame, calendar_of(name)) for edge in (start, end)))
        source = source_timeframe(capabilities_of(name), frame)
        if source != frame and not self._missing(name, symbol, frame, asked):
            source = frame  # imported as it is wanted
        with self._series_lock(name, symbol, source):
            report = self._complete(name, symbol, source, asked, progress)
            try:
                candles = self.store.get(name, symbol, source, asked.start, asked.end)
            except DataError:
                if not self.store.repair(name, symbol, source, asked.start, asked.end):
                    raise
                report = self._complete(name, symbol, source, asked, progress)  # a damaged file is asked for again
                candles = self.store.get(name, symbol, source, asked.start, asked.end)
        latest = time.time() * 1000 - source.ms - SETTLING_MS
        lacking = [span for span in self._missing(name, symbol, source, asked) if span.start <= latest]
        if lacking:
            logger.warning("%s: the venue has nothing yet of %s.", candles.label, _named(lacking))
        return Fetched(candles.resample(frame), report)

    def fetch_many(
        self,
        wanted: Iterable[tuple[str, str, str | Timeframe, Instant, Instant]],
        *,
        progress: Callable[[int, Progress], None] | None = None,
    ) -> list[Candles]:
        """Several spans at once, within one limit for each venue.

        Args:
            wanted: Each (exchange, symbol, timeframe, start, end), as for `fetch_ohlc`.
            progress: Called with the position in `wanted` after each page, from several threads.

        Returns:
            The candles in the order of `wanted`.

        Raises:
            BarwiseError: As `fetch_ohlc` does: the first in the order of `wanted`. Downloads that run are finished
                before, others are not begun; all that came is stored.
        """

        def fetch_one(position: int, question: tuple[str, str, str | Timeframe, Instant, Instant]) -> Candles:
            told = None if progress is None else partial(progress, position)
            return self.fetch_ohlc(*question, progress=told)

        with ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(fetch_one, *numbered) for numbered in enumerate(wanted)]
            try:
                return [future.result() for future in futures]
            finally:
                pool.shutdown(cancel_futures=True)

    def funding(
        self, exchange_name: str, symbol: str, start_date: Instant, end_date: Instant
    ) -> list[tuple[int, float]]:
        """The funding payments of a perpetual in [start_date, end_date), asked of the venue; they are not stored.

        Returns:
            (time in ms UTC, rate) each, ascending; the rate is a fraction of the position's value that longs pay to
            shorts.

        Raises:
            ConfigError: The venue has no funding, or there is no such span.
            DataError, APIError, RateLimitError: As the venue answers.
        """
        name = known_venue(exchange_name)
        start, end = span_ms(name, start_date, end_date)
        if name not in CONNECTED or not capabilities_of(name).funding:
            having = [other for other in CONNECTED if capabilities_of(other).funding]
            raise ConfigError(f"{name} has no funding payments.", hint=f"venues that have them: {', '.join(having)}.")
        if start is None or end is None:
            raise ConfigError("funding needs a start and an end.", hint="give both dates.")
        venue = cast("FundingVenue", self._connection(name).venue)
        paid: dict[int, float] = {}
        for at in range(start, end, venue.funding_page_ms):
            paid |= venue.funding_page(identity_text(symbol, "symbol"), at, min(at + venue.funding_page_ms, end))
        return sorted(paid.items())

    def market(self, exchange_name: str, symbol: str) -> Market:
        """The rules of a market, asked of its venue.

        Raises:
            ConfigError: No such venue.
            DataError: The venue does not know the market; the message has the nearest name.
            CredentialError, APIError, RateLimitError: As the venue answers.
        """
        name, symbol = known_venue(exchange_name), identity_text(symbol, "symbol")
        if name == SYNTHETIC_EXCHANGE:
            return Sample().market(symbol)
        return self._connection(name).venue.market(symbol)

    def validate_connectivity(self, exchange_name: str) -> dict[str, Any]:
        """Whether candles of a venue can be had: it answers, its clock is ours, the key works where there is one.

        A key that is not set is no failure where candles need none. A venue's failure is told and not raised.

        Returns:
            exchange; status "READY" or "FAILED"; message; latency of the first answer in ms, None where there was none;
            checks, each with name, ok and message. A clock that is off makes its check fail and not the venue.

        Raises:
            ConfigError: No such venue.
        """
        name = known_venue(exchange_name)
        began = time.perf_counter()
        if name == SYNTHETIC_EXCHANGE:
            made = Sample().check_credentials()
            return _status(name, [made], _since(began))
        try:
            venue = self._connection(name).venue
            began, sent = time.perf_counter(), time.time() * 1000
            server_time = venue.server_time_ms()
        except BarwiseError as error:
            return _status(name, [Check("reachable", False, str(error))], None)
        latency = _since(began)
        checks = [Check("reachable", True, f"it answers in {latency:.0f} ms.")]
        if name != _REPLAY:  # whose clock stands where its files end
            checks.append(_clock_check(server_time, sent, time.time() * 1000))
        try:
            checks.append(venue.check_credentials())
        except BarwiseError as error:
            checks.append(Check("credentials", False, str(error)))
        return _status(name, checks, latency)

    def _connection(self, name: str) -> _Connection:
        """The connection of a venue; another one where its addresses or keys have changed."""
        environment = read_environment().part(name.partition("_")[0].replace(":", "_"))
        with self._lock:
            connection = self._connections.get(name)
            if connection is None or connection.environment != environment:
                venue = connect(name, environment, sleep=self._sleep, clock=self._clock)
                connection = self._connections[name] = _Connection(environment, venue)
            return connection

    def _series_lock(self, *names: object) -> threading.Lock:
        """One download at a time of a series: a second thread finds it stored."""
        with self._lock:
            return self._series_locks.setdefault((str(self.store.root), *map(str, names)), threading.Lock())

    def _complete(
        self,
        name: str,
        symbol: str,
        timeframe: Timeframe,
        span: Span,
        progress: Callable[[Progress], None] | None,
    ) -> DownloadReport | None:
        """Download what is missing of a span; None where nobody was asked, or nothing could have closed since."""
        missing = self._missing(name, symbol, timeframe, span)
        if not missing:
            return None
        try:
            connection = self._connection(name)
            report = download(
                connection.venue,
                self.store,
                symbol,
                timeframe,
                span.start,
                span.end,
                progress=progress,
                archives=_archives(connection, timeframe),
                limiter=None if connection.venue.client is None else connection.venue.client.limiter,
            )
        except (APIError, CredentialError) as error:
            if missing[0].start + timeframe.ms > time.time() * 1000:
                logger.info("%s cannot be asked; all that can have closed is stored.", name)
                return None
            stored = [part for part in self.store.coverage(name, symbol, timeframe) if part.overlaps(span)]
            if stored:
                error.hint += f" Stored, and to be had without the venue: {_named(stored)}."
            raise
        logger.info("%s %s %s: %s", name, symbol, timeframe, report)
        return report

    def _missing(self, name: str, symbol: str, timeframe: Timeframe, span: Span) -> tuple[Span, ...]:
        """What the store lacks of a span, without the times at which the market was closed."""
        missing = self.store.missing(name, symbol, timeframe, span.start, span.end)
        market = market_of(name, symbol)
        if market is None:
            return missing
        return tuple(gap for gap in missing if label_gap(market[0], gap.start, gap.end, market[1]) != "expected")

    def _stored(self, name: str, symbol: str, timeframe: Timeframe, start: int | None, end: int | None) -> Candles:
        """What is stored from `start` or until `end`, with a warning where a part of that is not."""
        try:
            candles = self.store.get(name, symbol, timeframe, start, end)
        except DataError as error:
            if not self.store.coverage(name, symbol, timeframe):
                error.hint = f"give a start and an end, and they are downloaded; or {error.hint}"
            raise
        stored = self.store.coverage(name, symbol, timeframe)
        span = Span(stored[0].start if start is None else start, stored[-1].end if end is None else end)
        missing = self._missing(name, symbol, timeframe, span)
        if missing:
            logger.warning(
                "%s: not stored of what was asked for: %s; give a start and an end to download it.",
                candles.label,
                _named(missing),
            )
        return candles


def known_venue(name: object) -> str:
    """The name of a venue in upper case.

    Raises:
        ConfigError: There is no such venue.
    """
    venue = name.strip().upper() if isinstance(name, str) else ""
    foreign = venue.startswith(FOREIGN_PREFIX) and venue.removeprefix(FOREIGN_PREFIX).isalnum()
    if venue not in VENUES and not foreign:
        raise ConfigError(
            f"{name!r} is not a venue.{did_you_mean(venue, VENUES)}",
            hint=f"use one of {', '.join(VENUES)}, or CCXT:<id> for any venue of the library ccxt.",
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


def _archives(connection: _Connection, timeframe: Timeframe) -> FetchMonth | None:
    """Whole months as files, where the venue has them and they save requests.

    Whoever asks another place than the real venue gets its archives only if he names them: prices must not be mixed.
    """
    capabilities, environment = connection.venue.capabilities, connection.environment
    fetch = getattr(connection.venue, "archive_month", None)
    moved = any(name.endswith("BASE_URL") for name in environment) and "BINANCE_ARCHIVE_URL" not in environment
    if fetch is None or moved or not archives_pay_off(timeframe, capabilities.page_bars[timeframe.name]):
        return None
    given_up = False

    def fetch_month(symbol: str, frame: Timeframe, year: int, month: int) -> Page | None:
        nonlocal given_up
        if given_up:
            return None
        try:
            found = fetch(symbol, frame, f"{year}-{month:02d}")
        except (APIError, DataError) as error:
            given_up = isinstance(error, APIError)
            logger.warning("%s The venue itself is asked instead.", error.message)
            return None
        return None if found is None else found.page

    return fetch_month


def _named(spans: Sequence[Span]) -> str:
    """The first of several spans, in words."""
    more = f" and {len(spans) - _SPANS_NAMED} more" if len(spans) > _SPANS_NAMED else ""
    return f"{'; '.join(map(str, spans[:_SPANS_NAMED]))}{more}"


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _clock_check(server_ms: int, sent_ms: float, received_ms: float) -> Check:
    """Whether this machine's clock is the venue's, as far as the answer's way leaves that open."""
    # A Date header has whole seconds; an answer of a clock that ends in 000 may be one.
    resolution = 1000 if server_ms % 1000 == 0 else 0
    ahead = max(sent_ms - server_ms - resolution, 0.0) - max(server_ms - received_ms, 0.0)
    if abs(ahead) <= _SKEW_MS:
        return Check("clock", True, "this computer's clock is the venue's.")
    return Check(
        "clock",
        False,
        f"this computer's clock is {abs(ahead) / 1000:,.1f} s {'ahead of' if ahead > 0 else 'behind'} the venue's; "
        "turn on time synchronisation (NTP), signed questions may be refused.",
    )


def _status(name: str, checks: Sequence[Check], latency: float | None) -> dict[str, Any]:
    ready = all(check.ok for check in checks if check.name != "clock")
    told = [check for check in checks if not check.ok or (ready and check.name != "clock")]
    return {
        "exchange": name,
        "status": "READY" if ready else "FAILED",
        "message": redact(f"{name}: {' '.join(check.message for check in told)}"),
        "latency": latency,
        "checks": [{"name": check.name, "ok": check.ok, "message": redact(check.message)} for check in checks],
    }
