"""Live candles: every closed one exactly once, in order, without gaps, whatever the connection does.

What a stream says is a hint, and the opening time is the sequence number. A candle is delivered when it is the next
one and its values are final: Binance says so itself (k.x); at the other venues REST has to confirm it. What a stream
did not bring is asked for by REST, with the same checks as a download. A value that changes after its candle has been
delivered comes again, marked as a correction, and is never put in place of the old one in silence.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from barwise.data.candles import Candles
from barwise.data.quality import utc_text
from barwise.data.store import Span
from barwise.errors import APIError, BarwiseError, ConfigError, CredentialError, DataError, RateLimitError
from barwise.exchange.base import Adapter
from barwise.exchange.download import checked_page
from barwise.exchange.stream_venues import RestartError, Sighting, refusal, shown, wording_of
from barwise.obs import redact
from barwise.timeframe import DAY_MS, Timeframe, calendar_of

logger = logging.getLogger(__name__)

# Every venue hangs up after 24 hours (Binance) or at some time of the night: we go first.
ROTATE_S = 23.5 * 3600
LONGEST_PAUSE_S = 60.0
# A quiet market is no dead connection: a limit of silence that has struck doubles, up to this.
LONGEST_SILENCE_S = 600.0
# So long REST may take to have a candle, or to catch up with what the stream has already shown of it.
PATIENCE_S = 30.0
# A message that is further ahead of the venue's clock than this is not believed.
_AHEAD_MS = 60_000
# Candles that are asked for once more with each new one, to see whether they have been corrected.
_LOOK_BACK = 2
_REMEMBERED = 1000
_BAD_ANSWERS = 5
_RECHECK_S = 5.0
_OPEN_S, _CLOSE_S, _QUEUE = 10.0, 0.5, 1024
# The library's own log has addresses with tokens in them: it goes nowhere.
_SILENT = logging.getLogger(f"{__name__}.wire")
_SILENT.disabled = True


class LiveCandle(NamedTuple):
    """A closed candle.

    Attributes:
        exchange, symbol, timeframe: What it is of.
        time: When it opened, ms UTC.
        open, high, low, close, volume: Its values, in the units of downloaded candles.
        quote_volume: None where the venue does not tell.
        corrected: This candle was delivered before, with other values; these are the new ones.
        confirmed: The values are the venue's final ones. False: REST did not have the candle in time, and it was made
            of the stream; if REST turns out to have other values, they come as a correction.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    corrected: bool = False
    confirmed: bool = True


def stream_candles(
    adapter: Adapter,
    symbol: str,
    timeframe: str | Timeframe,
    *,
    after_ms: int | None = None,
    environment: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
    stop: Callable[[], bool] = lambda: False,
    poll_s: float = 1.0,
    silence_s: float | None = None,
    rotate_s: float = ROTATE_S,
) -> Iterator[LiveCandle]:
    """Closed candles as they come, for ever; whoever has enough closes the iterator.

    Reconnects by itself, after 1, 2, 4, ... 60 seconds, and fills what was missed.

    Args:
        adapter: The venue.
        symbol: As the venue writes it.
        timeframe: One that the venue serves itself.
        after_ms: Opening time of the last candle the caller has: everything after it is delivered. None: begins with
            the candle that is forming now.
        environment: *_WS_URL, where the venue's own address is not wanted.
        clock, sleep, now: Monotonic seconds, a pause, seconds since 1970.
        stop: Looked at every `poll_s` seconds; True ends the iteration.
        poll_s: Seconds between two looks at the clocks while the stream is silent.
        silence_s: A connection that has said nothing for so long is given up; None: the venue's own figure.
        rotate_s: A connection that is so old is replaced.

    Raises:
        ConfigError: The venue has no such stream, or the address is none.
        CredentialError: The venue wants a credential, or does not accept it (any more).
        DataError: The venue does not know the symbol, or its answers stay unsound.
        APIError: The first question was not answered; later ones are asked again for ever.
    """
    frame = Timeframe.parse(timeframe)
    if poll_s <= 0 or rotate_s <= 0 or (silence_s is not None and silence_s <= 0):
        raise ConfigError("poll_s, silence_s and rotate_s are seconds and must be above 0.")
    live = _Live(adapter, symbol, frame, environment, clock, sleep, now, stop)
    live.poll_s, live.rotate_s, live.silence_s = poll_s, rotate_s, silence_s or live.wording.silence_s
    return live.run(after_ms)


class _Live:
    """One stream while it runs."""

    poll_s: float
    rotate_s: float
    silence_s: float

    def __init__(
        self,
        adapter: Adapter,
        symbol: str,
        timeframe: Timeframe,
        environment: Mapping[str, str],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        now: Callable[[], float],
        stop: Callable[[], bool],
    ) -> None:
        self.wording = wording_of(adapter, environment, symbol, timeframe)
        self._adapter, self._symbol, self._timeframe = adapter, symbol, timeframe
        self._exchange = adapter.capabilities.exchange
        self._label = f"{self._exchange} {symbol} {timeframe}"
        self._calendar = calendar_of(self._exchange)
        self._step, self._origin = timeframe.ms, timeframe.grid_origin_ms(self._calendar)
        self._page_ms = adapter.capabilities.page_bars[timeframe.name] * timeframe.ms
        self._clock, self._sleep, self._now, self._stop = clock, sleep, now, stop
        self._skew_ms = 0  # the venue's clock minus ours
        self._seen_ms = 0  # the latest instant of the venue that a message has shown
        self._next = 0  # the opening time of the next candle to deliver
        self._delivered: OrderedDict[int, LiveCandle] = OrderedDict()
        self._unconfirmed: set[int] = set()
        self._closed: dict[int, LiveCandle] = {}  # final by the stream, not delivered yet
        self._built: dict[int, Sighting] = {}  # not final: the latest values of candles not delivered yet
        self._recheck: int | None = None
        self._drained = False  # nothing has come that is not read yet
        self._fresh = False  # connected, and not yet asked for what was missed
        self._ask_at, self._failures, self._unsound = 0.0, 0, 0
        self._silence_s = 0.0  # the limit as it stands: it doubles with each silence
        self._out: deque[LiveCandle] = deque()

    def run(self, after_ms: int | None) -> Iterator[LiveCandle]:
        self._look_at_the_clock(again=False)
        self._silence_s = self.silence_s
        present = self._opens(self._venue_ms())
        self._next = present if after_ms is None else self._opens(after_ms) + self._step
        # An unknown symbol is an error here, and silence for ever at the stream.
        before = Span(present - self._step, present)
        self._checked(before)
        pause = 1.0
        while not self._stop():
            for candle in self._connection():
                if candle is None:
                    pause = 1.0
                else:
                    yield candle
            self.wording.interrupted()
            for time_ms, seen in self._built.items():
                if time_ms + self._step > self._seen_ms:
                    self._built[time_ms] = seen._replace(whole=False)
            if self._stop():
                return
            yield from self._catch_up()
            logger.debug("%s: connecting again in %.0f s", self._label, pause)
            self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    # ------------------------------------------------------------------------------------------------- one connection

    def _connection(self) -> Iterator[LiveCandle | None]:
        """The candles of one connection until it ends; None for each message of the market."""
        self._look_at_the_clock()
        address = self.wording.url()
        _require_address(address, self.wording.address)
        fatal: BarwiseError | None = None
        try:
            with connect(
                address,
                logger=_SILENT,
                open_timeout=_OPEN_S,
                close_timeout=_CLOSE_S,
                compression=None,
                max_size=2**20,
                max_queue=_QUEUE,
            ) as link:
                for message in self.wording.greeting():
                    link.send(message)
                self._fresh, self._ask_at = True, 0.0
                yield from self._follow(link)
        except InvalidStatus as error:
            refused = refusal(self._exchange, self.wording.address, error.response.status_code)
            logger.warning("%s: %s", self._label, redact(refused.message))
            fatal = refused if isinstance(refused, CredentialError) else None
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else "no handshake"
            logger.info("%s: the connection has ended (%s)", self._label, code)
        except (WebSocketException, OSError, EOFError) as error:
            # Their texts may hold the address with its token; the class says enough.
            logger.warning("%s: no connection (%s)", self._label, type(error).__name__)
        except ImportError:
            fatal = ConfigError(
                "the proxy of this computer's settings needs the package python-socks.",
                hint="install python-socks, or take the proxy out of the environment.",
            )
        except RestartError as error:
            logger.info("%s: %s", self._label, error)
        if fatal is not None:  # raised here, so that what it came from, and the address in it, stays behind
            raise fatal

    def _follow(self, link: ClientConnection) -> Iterator[LiveCandle | None]:
        opened = last = self._clock()
        while not self._stop():
            try:
                message = link.recv(timeout=self.poll_s)
            except TimeoutError:
                message = None
            now = self._clock()
            self._drained = message is None
            if message is not None:
                last = now
                if self._take(message):
                    self._silence_s = self.silence_s
                    yield None
                yield from self._ready()
            elif now - last > self._silence_s:
                logger.warning("%s: silent for %.0f s, connecting anew", self._label, now - last)
                self._silence_s = min(self._silence_s * 2, max(LONGEST_SILENCE_S, self.silence_s))
                return
            if now - opened > self.rotate_s:
                logger.info("%s: replacing the connection after %.1f h", self._label, (now - opened) / 3600)
                return
            yield from self._catch_up()

    def _look_at_the_clock(self, *, again: bool = True) -> None:
        try:
            self._skew_ms = self._adapter.server_time_ms() - int(self._now() * 1000)
        except BarwiseError as error:
            if isinstance(error, CredentialError) or not again:
                raise
            logger.warning("%s: the venue's time is not known: %s", self._label, redact(str(error)))

    # ---------------------------------------------------------------------------------------------------- messages

    def _take(self, message: str | bytes) -> bool:
        """Note what a message says; whether it was one of this market."""
        try:
            sightings = self.wording.read(message)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, BarwiseError):
                raise
            logger.warning("%s: not understood and skipped (%s): %s", self._label, type(error).__name__, shown(message))
            return False
        except RateLimitError as error:
            logger.warning("%s: %s", self._label, error.message)
            raise RestartError(error.message) from None
        except CredentialError:
            raise
        except APIError as error:
            raise RestartError(error.message) from None
        for seen in sightings:
            self._note(seen)
        return bool(sightings)

    def _note(self, seen: Sighting) -> None:
        if (seen.time - self._origin) % self._step or seen.instant > self._clock_ms() + _AHEAD_MS:
            logger.warning("%s: a candle of %s cannot be, skipped", self._label, utc_text(max(seen.time, 0)))
            return
        self._seen_ms = max(self._seen_ms, seen.instant)
        if seen.values is None:
            return
        if seen.closed and not self._sound(seen):
            logger.warning("%s: the candle of %s is unsound, skipped", self._label, utc_text(seen.time))
        elif seen.closed:
            self._note_closed(self._candle(seen.time, seen.values))
        elif not self.wording.final:
            if seen.time >= self._next:
                self._built[seen.time] = seen
            elif (known := self._delivered.get(seen.time)) is not None and seen.values[:4] != tuple(known[4:8]):
                self._recheck = min(seen.time, self._recheck or seen.time)

    def _note_closed(self, candle: LiveCandle) -> None:
        if candle.time >= self._next:
            self._closed[candle.time] = candle
        elif candle.time in self._delivered:
            self._compare(candle)

    def _sound(self, seen: Sighting) -> bool:
        opened, high, low, close, volume = (seen.values or (0.0,) * 5)[:5]
        return 0.0 < low <= min(opened, close) and max(opened, close) <= high and volume >= 0.0

    def _compare(self, candle: LiveCandle) -> None:
        """What the venue says now of a candle that was delivered: the same, or a correction."""
        known = self._delivered[candle.time]
        self._unconfirmed.discard(candle.time)
        if candle[4:10] == known[4:10]:
            return
        logger.warning("%s: the venue has corrected the candle of %s", self._label, utc_text(candle.time))
        corrected = candle._replace(corrected=True)
        self._delivered[candle.time] = corrected
        self._out.append(corrected)

    # ------------------------------------------------------------------------------------------------------ delivery

    def _ready(self) -> Iterator[LiveCandle]:
        """Corrections, and candles that are final and next in order."""
        while True:
            if self._next in self._closed:
                self._deliver(self._closed.pop(self._next))
            if not self._out:
                return
            yield self._out.popleft()

    def _deliver(self, candle: LiveCandle) -> None:
        self._delivered[candle.time] = candle
        if not candle.confirmed:
            self._unconfirmed.add(candle.time)
        while len(self._delivered) > _REMEMBERED:
            self._unconfirmed.discard(self._delivered.popitem(last=False)[0])
        self._next = candle.time + self._step
        for kept in (self._closed, self._built):
            for time_ms in [at for at in kept if at < self._next]:
                del kept[time_ms]
        self._out.append(candle)

    # -------------------------------------------------------------------------------------------- what REST has to say

    def _catch_up(self) -> Iterator[LiveCandle]:
        """Ask for what is due, where something is, and deliver it."""
        yield from self._ready()
        end = self._closed_end()
        if self._clock() < self._ask_at or not self._is_due(end):
            return
        began = self._next
        first_unconfirmed = min(self._unconfirmed, default=self._next)
        look_back = self._next - _LOOK_BACK * self._step if self._delivered else self._next
        start = max(min(look_back, first_unconfirmed, self._recheck or self._next), self._next - self._page_ms // 2)
        while start < max(end, self._next):
            page = Span(start, min(start + self._page_ms, max(end, self._next)))
            candles = self._ask(page)
            if candles is None:
                return
            for at in range(len(candles)):
                candle = self._row(candles, at)
                if candle.time >= self._next and not self._is_believed(candle):
                    yield from self._hold_back(end)
                    return
                if candle.time > self._next and self._breaks(candle.time):
                    again = self._ask(Span(self._next, candle.time))
                    if again is None:
                        return
                    for missed in range(len(again)):
                        self._take_row(self._row(again, missed))
                        yield from self._ready()
                    if self._next < candle.time:
                        logger.warning("%s: the venue has no candle of %s", self._label, Span(self._next, candle.time))
                self._take_row(candle)
                yield from self._ready()
            start = page.end
        rechecked, self._recheck = self._recheck, None
        yield from self._hold_back(end)
        if rechecked is not None:  # a stream that keeps contradicting is no reason to keep asking
            self._ask_at = max(self._ask_at, self._clock() + _RECHECK_S)
        if self._next > began:
            self._failures = 0

    def _hold_back(self, end: int) -> Iterator[LiveCandle]:
        """Where the next candle is due and REST does not have it: wait, and in the end make do with the stream."""
        self._fresh = False
        if self._next >= end or not self._is_due(end):
            self._ask_at = 0.0
            self._failures = 0
            return
        seen = self._built.get(self._next)
        # Of a candle whose trades are still waiting to be read, the clock alone says nothing.
        read = self._drained or self._seen_ms >= self._next + self._step
        late = read and self._venue_ms() > self._next + self._step + PATIENCE_S * 1000
        if late and seen is not None and seen.values is not None and seen.whole and self._sound(seen):
            values = seen.values
            if not self.wording.same_unit:
                try:
                    size = self._adapter.market(self._symbol).contract_size
                except BarwiseError as error:
                    self._wait(error)
                    return
                values = (*values[:4], values[4] * size)
            logger.warning("%s: REST has no candle of %s yet, taken from the stream", self._label, utc_text(seen.time))
            self._deliver(self._candle(seen.time, values)._replace(confirmed=False))
            yield from self._ready()
            return
        if late and not self._calendar.always_open:
            # A part of a candle that the venue does not have: nothing to wait for until something new is seen.
            self._built.pop(self._next, None)
        self._failures += 1
        longest = LONGEST_PAUSE_S if late else PATIENCE_S / 6
        self._ask_at = self._clock() + min(2.0 ** min(self._failures, 6), longest)

    def _take_row(self, candle: LiveCandle) -> None:
        if candle.time >= self._next:
            # Where the stream has said its last word on it, that is newer than this answer.
            self._deliver(self._closed.get(candle.time, candle))
        elif candle.time in self._delivered:
            self._compare(candle)

    def _is_believed(self, candle: LiveCandle) -> bool:
        """Whether an answer has caught up with what the stream has shown of a candle."""
        seen = self._built.get(candle.time)
        if seen is None or seen.values is None or self._venue_ms() > candle.time + self._step + PATIENCE_S * 1000:
            return True
        _, high, low, _, volume = seen.values[:5]
        behind = high > candle.high or low < candle.low
        return not (behind or (self.wording.same_unit and seen.whole and volume > candle.volume))

    def _is_due(self, end: int) -> bool:
        if self._recheck is not None:
            return True
        if self._next >= end:
            return False
        if self._fresh or self._calendar.always_open:
            return True
        # In a market with sessions only what has been traded is waited for: nights have no candles.
        return any(self._next <= at < end for at in self._built)

    def _closed_end(self) -> int:
        """The end of the last candle that is closed for certain."""
        end = self._opens(self._clock_ms() - int(self.wording.grace_s * 1000))
        if not self.wording.final:
            end = max(end, self._opens(self._seen_ms))
        return max(end, max(self._closed, default=0))

    def _breaks(self, time_ms: int) -> bool:
        """Whether a candle leaves a gap to the next one that no night explains."""
        if self._calendar.always_open:
            return True
        offset = self._calendar.utc_offset_ms
        return (self._next - self._step + offset) // DAY_MS == (time_ms + offset) // DAY_MS

    def _ask(self, span: Span) -> Candles | None:
        """The candles of a span; None where the question failed and is to be asked again later.

        Raises:
            CredentialError: At once.
            DataError: The answers stay unsound.
        """
        try:
            candles = self._checked(span)
        except CredentialError:
            raise
        except DataError as error:
            self._unsound += 1
            if self._unsound >= _BAD_ANSWERS:
                raise
            self._wait(error)
            return None
        except APIError as error:
            self._wait(error)
            return None
        self._unsound = 0
        return candles

    def _wait(self, error: BarwiseError) -> None:
        self._failures += 1
        pause = min(2.0 ** min(self._failures, 6), LONGEST_PAUSE_S)
        if isinstance(error, RateLimitError) and error.retry_after:
            pause = max(pause, error.retry_after)
        logger.warning("%s: asking again in %.0f s: %s", self._label, pause, redact(error.message))
        self._ask_at = self._clock() + pause

    def _checked(self, span: Span) -> Candles:
        page = self._adapter.fetch_page(self._symbol, self._timeframe, span.start, span.end)
        return checked_page(page, span, self._exchange, self._symbol, self._timeframe)

    # ------------------------------------------------------------------------------------------------------- the rest

    def _row(self, candles: Candles, at: int) -> LiveCandle:
        columns = [candles.open, candles.high, candles.low, candles.close, candles.volume]
        if candles.quote_volume is not None:
            columns.append(candles.quote_volume)
        return self._candle(int(candles.time[at]), tuple(float(column[at]) for column in columns))

    def _candle(self, time_ms: int, values: tuple[float, ...]) -> LiveCandle:
        opened, high, low, close, volume = values[:5]
        quote_volume = values[5] if len(values) > 5 else None
        return LiveCandle(
            self._exchange, self._symbol, self._timeframe, time_ms, opened, high, low, close, volume, quote_volume
        )

    def _opens(self, instant: int) -> int:
        return self._origin + (instant - self._origin) // self._step * self._step

    def _clock_ms(self) -> int:
        return int(self._now() * 1000) + self._skew_ms

    def _venue_ms(self) -> int:
        return max(self._clock_ms(), self._seen_ms)


def _require_address(address: str, name: str) -> None:
    """Refuse an address that is none, without repeating it: it may hold a token.

    Raises:
        ConfigError: It is none.
    """
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{name} is no address of a WebSocket.", hint="it begins with wss:// or ws://.")
