"""The venues' WebSockets, played from a script.

A script is a list of events per connection: the n-th connection to a venue plays the n-th list, from the moment it has
subscribed to something, and then stays open and silent. Events say what a venue could do at that point: send a candle
as it forms or as it closed, a tick, a correction, garbage; stall, ping, drop the connection. Skipping a candle or
sending it twice is an event left out or written twice. Candle events that the client has not subscribed to are not
sent, as at the real venues.

    server.streams.script("BINANCE", [
        [*candles(key, first, last), Drop()],
        candles(key, last + 60_000, end),
    ])
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.venues import binance_wire, delta_wire, dhan_wire, zerodha_wire
from tests.venues.binance_wire import BinanceWire
from tests.venues.dhan_wire import DhanWire
from tests.venues.market import DAY_MS, IST_MS, Instrument, Market, Series
from tests.venues.zerodha_wire import ZerodhaWire

Key = tuple[str, str, str]
STREAM_VENUES = ("BINANCE", "BINANCE_UM", "DELTA", "ZERODHA", "DHAN")


# What a script is made of


@dataclass(frozen=True)
class Candle:
    """A candle of the data as the stream sends it.

    Attributes:
        key: (venue, symbol, interval) of the series.
        time_ms: When it opens.
        share: How much of its time has passed; 1 with `closed` = its final values.
        closed: Binance: the close flag. Delta has none; there a closed candle is its last update.
        values: Columns to overwrite, for a correction: {"close": 101.5}.
    """

    key: Key
    time_ms: int
    share: float = 1.0
    closed: bool = True
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tick:
    """A trade as Zerodha and Dhan send it: prices in rupees, `volume` of the day so far, the day's prices so far."""

    symbol: str
    time: int
    price: float
    volume: int
    quantity: int = 1
    average: float = 0.0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    previous_close: float = 0.0


@dataclass(frozen=True)
class Raw:
    """Anything else: text is a text frame, bytes are a binary one."""

    message: str | bytes


@dataclass(frozen=True)
class Drop:
    """The connection ends: with a closing handshake and this code, or without a word where the code is None."""

    code: int | None = None


@dataclass(frozen=True)
class Stall:
    """Silence, in seconds of the real clock; the connection stays open."""

    seconds: float


@dataclass(frozen=True)
class Ping:
    """A ping; the script goes on when the pong has come (or the client is gone)."""


@dataclass(frozen=True)
class Heartbeat:
    """The venue's own sign of life: Delta's message (where the client asked for it), Zerodha's single byte."""


@dataclass(frozen=True)
class Gate:
    """The script halts until the test sets the event."""

    event: threading.Event


@dataclass(frozen=True)
class Subscribed:
    """The script halts until the client has so many streams or instruments."""

    count: int


@dataclass(frozen=True)
class Call:
    """Something that happens on the server's side at this point, such as moving its clock."""

    action: Callable[[], None]


Event = Candle | Tick | Raw | Drop | Stall | Ping | Heartbeat | Gate | Subscribed | Call


def candles(key: Key, first_ms: int, last_ms: int, step_ms: int, *, updates: int = 1) -> list[Event]:
    """Every candle from first to last (by opening time, inclusive): `updates` as it forms, then closed."""
    events: list[Event] = []
    for at in range(first_ms, last_ms + 1, step_ms):
        events += [Candle(key, at, (n + 1) / (updates + 1), closed=False) for n in range(updates)]
        events.append(Candle(key, at))
    return events


def ticks(series: Series, first_ms: int, last_ms: int) -> list[Tick]:
    """Four trades for each candle from first to last, whose aggregation is that candle.

    The volume of a day starts at zero at Indian midnight and grows by the candle's volume, which must be integral.
    """
    a, b = series.between(first_ms, last_ms, last_ms)
    events: list[Tick] = []
    day, total, turnover, opened, high, low, previous = -1, 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for row in series.rows(a, b):
        if (row.time + IST_MS) // DAY_MS != day:
            day = (row.time + IST_MS) // DAY_MS
            previous = events[-1].price if events else row.open
            total, turnover, opened, high, low = 0, 0.0, row.open, row.open, row.open
        path = (
            (row.open, row.low, row.high, row.close)
            if row.close >= row.open
            else (row.open, row.high, row.low, row.close)
        )
        for n, price in enumerate(path):
            quantity = int(row.volume) * (n + 1) // 4 - int(row.volume) * n // 4
            total, turnover = total + quantity, turnover + price * quantity
            high, low = max(high, price), min(low, price)
            at = row.time + (series.step_ms - 1000) * n // 3
            average = turnover / total if total else price
            events.append(Tick(series.symbol, at, price, total, max(quantity, 1), average, opened, high, low, previous))
    return events


# Connections


@dataclass
class Connection:
    """One client: what it asked for, and what was done to it."""

    venue: str
    path: str
    query: str
    headers: dict[str, str]
    number: int
    socket: ServerConnection
    received: list[str | bytes] = field(default_factory=list)
    sent: list[str | bytes] = field(default_factory=list)
    not_sent: list[Event] = field(default_factory=list)
    streams: dict[Any, str] = field(default_factory=dict)
    wrapped: bool = False
    heartbeats: bool = False
    pongs: int = 0
    finished: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def send(self, message: str | bytes) -> None:
        with suppress(ConnectionClosed):
            self.socket.send(message)
            self.sent.append(message)

    def send_json(self, value: Any) -> None:
        self.send(json.dumps(value, separators=(",", ":")))

    def subscribe(self, name: Any, mode: str = "") -> None:
        with self.changed:
            self.streams[name] = mode
            self.changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Until the client has so many streams; False where it left before."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.streams) >= count or self.closed.is_set())
        return not self.closed.is_set()

    def leave(self) -> None:
        self.closed.set()
        with self.changed:
            self.changed.notify_all()


class Streams:
    """The WebSocket side of all venues.

    Attributes:
        connections: Every connection there was, in order.
        ping_s: Seconds between the protocol's own pings; Binance sends one every 20 s.
        refuse: How many of a venue's next handshakes are answered with 503.
        failures: Exceptions of the server itself.
    """

    def __init__(
        self, market: Market, spot: BinanceWire, futures: BinanceWire, zerodha: ZerodhaWire, dhan: DhanWire
    ) -> None:
        self.market = market
        self.connections: list[Connection] = []
        self.ping_s: float | None = 20.0
        self.refuse: dict[str, int] = {}
        self.failures: list[BaseException] = []
        self._binance = {"BINANCE": spot, "BINANCE_UM": futures}
        self._zerodha, self._dhan = zerodha, dhan
        self._scripts: dict[str, list[Sequence[Event]]] = {}
        self._servers: dict[str, Server] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def script(self, venue: str, connections: Sequence[Sequence[Event]]) -> None:
        """What the next connections to a venue will see."""
        self._scripts[venue] = [()] * sum(c.venue == venue for c in self.connections) + list(connections)

    def of(self, venue: str) -> list[Connection]:
        return [connection for connection in self.connections if connection.venue == venue]

    def url(self, venue: str) -> str:
        return f"ws://127.0.0.1:{self._servers[venue].socket.getsockname()[1]}"

    def start(self) -> None:
        for venue in STREAM_VENUES:
            server = serve(
                partial(self._serve, venue),
                "127.0.0.1",
                0,
                process_request=partial(self._admit, venue),
                ping_interval=self.ping_s,
                ping_timeout=None,
                close_timeout=1,
                compression=None,
            )
            thread = threading.Thread(target=server.serve_forever, name=f"{venue} streams", daemon=True)
            thread.start()
            self._servers[venue] = server
            self._threads.append(thread)

    def stop(self) -> None:
        for connection in self.connections:
            connection.leave()
        for server in self._servers.values():
            server.shutdown()
        for thread in self._threads:
            thread.join(5)

    # The handshake

    def _admit(self, venue: str, link: ServerConnection, request: Request) -> Response | None:
        with self._lock:
            if self.refuse.get(venue, 0) > 0:
                self.refuse[venue] -= 1
                return link.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable\n")
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        if venue in self._binance and binance_wire.streams_of(parts.path, parts.query) is None:
            return link.respond(HTTPStatus.NOT_FOUND, "")
        if venue == "ZERODHA" and not self._zerodha.accepts(query.get("api_key", ""), query.get("access_token", "")):
            return link.respond(HTTPStatus.FORBIDDEN, "Incorrect `api_key` or `access_token`.")
        return None

    def _serve(self, venue: str, link: ServerConnection) -> None:
        request = link.request
        assert request is not None
        parts = urlsplit(request.path)
        with self._lock:
            connection = Connection(
                venue, parts.path, parts.query, dict(request.headers.raw_items()), len(self.of(venue)), link
            )
            self.connections.append(connection)
        player = threading.Thread(target=self._play, args=(connection,), daemon=True)
        try:
            if self._greet(connection):
                player.start()
                for message in link:
                    connection.received.append(message)
                    self._hear(connection, message)
        except ConnectionClosed:
            connection.leave()
        except Exception as error:  # noqa: BLE001 - kept, and raised where the test leaves the server
            self.failures.append(error)
        finally:
            connection.leave()
            if player.ident is not None:
                player.join(5)

    def _greet(self, connection: Connection) -> bool:
        """What a venue does when somebody has connected; False ends the connection."""
        if connection.venue in self._binance:
            found = binance_wire.streams_of(connection.path, connection.query)
            assert found is not None
            connection.wrapped = found[0]
            for name in found[1]:
                connection.subscribe(name)
        elif connection.venue == "ZERODHA":
            connection.send(b"\x00")
            connection.send_json({"type": "instruments_meta", "data": {"count": 86481, "etag": 'W/"68907d60-55bd"'}})
        elif connection.venue == "DHAN":
            query = dict(parse_qsl(connection.query))
            right_client = query.get("clientId") == self.market.credentials["DHAN_CLIENT_ID"]
            if not right_client or not self._dhan.accepts(query.get("token", "")):
                connection.send(dhan_wire.disconnect_packet(807 if right_client else 808))
                return False
        return True

    # What clients say

    def _hear(self, connection: Connection, message: str | bytes) -> None:
        try:
            asked = json.loads(message)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return
        if connection.venue in self._binance:
            self._hear_binance(connection, asked)
        elif connection.venue == "DELTA":
            self._hear_delta(connection, asked)
        elif connection.venue == "ZERODHA":
            self._hear_zerodha(connection, asked)
        else:
            self._hear_dhan(connection, asked)

    def _hear_binance(self, connection: Connection, asked: dict[str, Any]) -> None:
        names = asked.get("params") or []
        result = None
        match asked.get("method"):
            case "SUBSCRIBE":
                connection.send_json({"result": None, "id": asked.get("id")})
                for name in names:
                    connection.subscribe(name)
                return
            case "UNSUBSCRIBE":
                for name in names:
                    connection.streams.pop(name, None)
            case "LIST_SUBSCRIPTIONS":
                result = list(connection.streams)
            case other:
                error = {"code": 2, "msg": f"Invalid request: unknown variant `{other}`"}
                connection.send_json({"error": error, "id": asked.get("id")})
                return
        connection.send_json({"result": result, "id": asked.get("id")})

    def _hear_delta(self, connection: Connection, asked: dict[str, Any]) -> None:
        channels = (asked.get("payload") or {}).get("channels", [])
        match asked.get("type"):
            case "subscribe":
                known = [
                    {"name": c["name"], "symbols": c["symbols"]}
                    for c in channels
                    if c["name"].removeprefix("candlestick_") in delta_wire.RESOLUTIONS.values()
                ]
                unknown = [{"name": c["name"], "error": "subscription forbidden on this channel"} for c in channels
                           if not any(c["name"] == k["name"] for k in known)]  # fmt: skip
                connection.send_json({"type": "subscriptions", "channels": [*known, *unknown]})
                for channel in known:
                    for symbol in channel["symbols"]:
                        connection.subscribe((channel["name"], symbol))
            case "unsubscribe":
                for channel in channels:
                    for name, symbol in list(connection.streams):
                        if name == channel["name"] and symbol in channel.get("symbols", [symbol]):
                            connection.streams.pop((name, symbol))
                connection.send_json({"type": "unsubscribed", "channels": channels})
            case "enable_heartbeat":
                connection.heartbeats = True
                connection.send_json({"type": "success", "message": "Heartbeat enabled"})
            case "disable_heartbeat":
                connection.heartbeats = False
            case "ping":
                connection.send_json({"type": "pong"})
            case other:
                connection.send_json({"type": "error", "message": f"unknown message type {other}"})

    def _hear_zerodha(self, connection: Connection, asked: dict[str, Any]) -> None:
        value = asked.get("v") or []
        match asked.get("a"):
            case "subscribe":
                for token in value:
                    connection.subscribe(token, connection.streams.get(token, "quote"))
            case "mode":
                for token in value[1]:
                    connection.subscribe(token, value[0])
            case "unsubscribe":
                for token in value:
                    connection.streams.pop(token, None)
            case other:
                connection.send_json({"type": "error", "data": f"unknown action {other}"})

    def _hear_dhan(self, connection: Connection, asked: dict[str, Any]) -> None:
        code = asked.get("RequestCode")
        if code == 12:
            connection.socket.close()
            return
        for line in asked.get("InstrumentList", []):
            name = (line["ExchangeSegment"], str(line["SecurityId"]))
            if code in (15, 17, 21):
                known = self._instrument(name)
                if known is not None:
                    connection.send(dhan_wire.previous_close_packet(known, 100.0))
                connection.subscribe(name, str(code))
            elif code in (16, 18, 22):
                connection.streams.pop(name, None)

    def _instrument(self, name: tuple[str, str]) -> Instrument | None:
        return next(
            (line for line in self.market.instruments["DHAN"] if (dhan_wire.segment_of(line), str(line.token)) == name),
            None,
        )

    # What the script does

    def _play(self, connection: Connection) -> None:
        try:
            self._follow(connection)
        except Exception as error:  # noqa: BLE001 - kept, and raised where the test leaves the server
            self.failures.append(error)

    def _follow(self, connection: Connection) -> None:
        script = self._scripts.get(connection.venue, [])
        events = script[connection.number] if connection.number < len(script) else ()
        if connection.wait_for(1):
            for event in events:
                if connection.closed.is_set():
                    return
                self._do(connection, event)
        connection.finished.set()
        while not connection.closed.wait(30):
            self._beat(connection)

    def _do(self, connection: Connection, event: Event) -> None:
        match event:
            case Candle():
                self._send_candle(connection, event)
            case Tick():
                self._send_tick(connection, event)
            case Raw():
                connection.send(event.message)
            case Drop(code=None):
                connection.finished.set()
                with suppress(OSError):
                    connection.socket.socket.shutdown(socket.SHUT_RDWR)
                connection.closed.wait(5)
            case Drop():
                connection.finished.set()
                connection.socket.close(event.code or 1000)
            case Stall():
                connection.closed.wait(event.seconds)
            case Ping():
                with suppress(ConnectionClosed):
                    pong = connection.socket.ping()
                    while not pong.wait(0.05) and not connection.closed.is_set():
                        pass
                    connection.pongs += pong.is_set()
            case Heartbeat():
                self._beat(connection)
            case Gate():
                while not event.event.wait(0.02) and not connection.closed.is_set():
                    pass
            case Subscribed():
                connection.wait_for(event.count)
            case Call():
                event.action()

    def _beat(self, connection: Connection) -> None:
        if connection.venue == "DELTA" and connection.heartbeats:
            connection.send_json({"type": "heartbeat"})
        elif connection.venue == "ZERODHA":
            connection.send(b"\x00")

    def _send_candle(self, connection: Connection, event: Candle) -> None:
        series = self.market.series[event.key]
        at = series.position(event.time_ms)
        row = series.rows(at, at + 1)[0] if event.closed else series.partial(at, min(event.share, 0.999))
        row = row._replace(**event.values)
        # A closing message comes just after the boundary, an update within the candle.
        passed = series.step_ms + 12 if event.closed else int(series.step_ms * min(event.share, 0.999))
        if connection.venue in self._binance:
            name = binance_wire.stream_name(series)
            wire = self._binance[connection.venue]
            message = binance_wire.kline_event(wire, series, row, closed=event.closed, event_ms=event.time_ms + passed)
            subscribed = name in connection.streams
            if connection.wrapped:
                message = {"stream": name, "data": message}
        else:
            instant = min(event.time_ms + passed, event.time_ms + series.step_ms - 3)
            message = delta_wire.candle_event(series, row, instant * 1000 + 627)
            subscribed = (message["type"], series.symbol) in connection.streams
        if subscribed:
            connection.send_json(message)
        else:
            connection.not_sent.append(event)

    def _send_tick(self, connection: Connection, tick: Tick) -> None:
        exchange, _, name = tick.symbol.rpartition(":")
        for line in self.market.instruments[connection.venue]:
            if line.symbol != name or line.exchange != (exchange or "NSE"):
                continue
            if connection.venue == "ZERODHA":
                token = zerodha_wire.instrument_token(line)
                if token in connection.streams:
                    packet = zerodha_wire.tick_packet(token, connection.streams[token], tick)
                    connection.send(zerodha_wire.message([packet]))
                    return
            else:
                mode = connection.streams.get((dhan_wire.segment_of(line), str(line.token)))
                if mode is not None:
                    connection.send(dhan_wire.tick_packet(int(mode), line, tick))
                    return
        connection.not_sent.append(tick)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition comes true before the test gives up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
