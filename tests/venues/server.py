"""One server that is Binance, Delta India, Zerodha and Dhan, for the tests of the data layer.

It speaks the wire formats of the documentation and of captured bodies, over HTTP/1.1 and WebSocket on loopback, and it
knows nothing of the code under test. The oracle is the data it was given: whatever a client ends up with must be those
numbers. What goes wrong is scripted with `faults`, what was asked stands in `log`.

    with VenueServer({("BINANCE", "BTCUSDT", "1H"): columns}, now_ms=NOW) as server:
        environment = server.environment()
        server.faults.on(faults.failing(502, page=True), venue="BINANCE", nth=3)
"""

import re
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.venues.binance_wire import ArchiveWire, BinanceWire
from tests.venues.delta_wire import DeltaWire
from tests.venues.dhan_wire import DhanWire
from tests.venues.faults import CANDLE_PATHS, Fault, Faults, expired
from tests.venues.market import UNCHANGED, Headers, Instrument, Market, Question, Reply, Wire
from tests.venues.streams import Streams
from tests.venues.zerodha_wire import ZerodhaWire

# Parts of the paths by which the venues trade or move money. No client of this project may ever use one.
ORDER_PATHS = (
    "/order", "/orders", "/positions", "/portfolio", "/gtt", "/leverage", "/marginType", "/withdraw", "/transfer",
    "/killswitch", "/super", "/forever", "/sor/", "/listenKey",
)  # fmt: skip
ALLOWED_POSTS = ("/charts/intraday", "/charts/historical", "/session/token")
_NOT_OF_THE_PAGE = ("signature", "timestamp", "recvWindow")


@dataclass(frozen=True)
class Logged:
    """One request and what became of it."""

    venue: str
    method: str
    path: str
    raw_query: str
    headers: Headers
    body: bytes
    time_ms: int
    monotonic: float
    status: int
    fault: str = ""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def page(self) -> tuple[str, str, str, str]:
        """What was asked, without what differs from try to try."""
        query = sorted((name, value) for name, value in self.query.items() if name not in _NOT_OF_THE_PAGE)
        return self.venue, self.path, urlencode(query), self.body.decode("utf-8", "replace")

    @property
    def of_candles(self) -> bool:
        return any(part in self.path for part in CANDLE_PATHS) or self.path.endswith(".zip")

    @property
    def of_orders(self) -> bool:
        """It could have traded or moved money: by its method or by its path."""
        if self.method != "GET" and not self.path.endswith(ALLOWED_POSTS):
            return True
        return any(re.search(rf"{part}\b", self.path, re.IGNORECASE) for part in ORDER_PATHS)


@dataclass
class Log:
    """Every request, in the order in which they were answered."""

    requests: list[Logged] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.requests)

    def of(self, venue: str | None = None, path: str = "") -> list[Logged]:
        """The requests to a venue (None = any) whose path contains `path`."""
        return [r for r in self.requests if venue in (None, r.venue) and path in r.path]

    @property
    def orders(self) -> list[Logged]:
        """Requests that could have traded; must be empty."""
        return [r for r in self.requests if r.of_orders]

    @property
    def asked_twice(self) -> dict[tuple[str, str, str, str], int]:
        """Pages of candles that were served in full more than once, with how often."""
        counts = Counter(r.page for r in self.requests if r.of_candles and r.status == 200 and not r.fault)
        return {page: times for page, times in counts.items() if times > 1}

    def clear(self) -> None:
        self.requests.clear()


@dataclass
class _Delivery:
    """An answer with what happens to it on its way."""

    reply: Reply
    fault: Fault | None
    names: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    timeout = 0

    def __init__(self, venue: str, owner: "VenueServer") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.venue, self.owner = venue, owner
        self.links: set[socket.socket] = set()
        self.resets: set[int] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.links.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close with a FIN, or with a RST where a fault wants that."""
        self.links.discard(request)
        if id(request) in self.resets:
            self.resets.discard(id(request))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none of our business."""

    def close_links(self) -> None:
        """Hang up on everybody."""
        for link in list(self.links):
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _respond(self) -> None:
        owner, venue = self.server.owner, self.server.venue
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        question = Question(venue, self.command, parts.path, parts.query, Headers(self.headers.items()), body)
        try:
            delivery = owner.deliver(question)
        except Exception as error:  # noqa: BLE001 - kept, and raised where the test leaves the server
            owner.failures.append(error)
            delivery = _Delivery(Reply(repr(error).encode(), 500, "text/plain"), None, "bug in the server")
        owner.note(question, delivery)
        self._send(delivery, owner.market.date_header(venue))

    def _send(self, delivery: _Delivery, date: str) -> None:
        reply, fault = delivery.reply, delivery.fault
        if fault is not None and fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.resets.add(id(self.connection))
            self.close_connection = True
            return
        head = [
            f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}",
            f"Date: {date}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        self.close_connection = self.close_connection or self.headers.get("Connection", "").lower() == "close"
        message = ("\r\n".join(head) + "\r\n\r\n").encode()
        if fault is not None and fault.sent is not None:
            self.wfile.write(message + reply.body[: int(len(reply.body) * fault.sent)])
            self.close_connection = True
        elif fault is not None and fault.pause_s:
            middle = len(reply.body) // 2
            self.wfile.write(message + reply.body[:middle])
            self.server.owner.stopping.wait(fault.pause_s)
            self.wfile.write(reply.body[middle:])
        else:
            self.wfile.write(message + reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _respond  # noqa: N815 - names of the base class

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Nothing on stderr: the log is in memory."""


class VenueServer:
    """Four venues on loopback ports of the system's choosing.

    Args:
        candles, now_ms, credentials, funding, products, instruments, limits: See `Market`.

    Attributes:
        market: The data and the clock; `set_now` and `skew` move it.
        faults: What goes wrong.
        streams: The WebSockets and their scripts.
        log: What was asked.
        binance, binance_um, archive, delta, zerodha, dhan: The venues; they hold tokens, pauses and options.
    """

    def __init__(
        self,
        candles: Mapping[tuple[str, str, str], Sequence[Any]],
        now_ms: int | Callable[[], int],
        credentials: Mapping[str, str] | None = None,
        *,
        funding: Mapping[tuple[str, str], tuple[Any, Any]] | None = None,
        products: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
        instruments: Mapping[str, Sequence[Instrument]] | None = None,
        limits: Mapping[str, float | None] | None = None,
    ) -> None:
        self.market = Market(
            candles, now_ms, credentials, funding=funding, products=products, instruments=instruments, limits=limits
        )
        self.binance = BinanceWire(self.market)
        self.binance_um = BinanceWire(self.market, futures=True)
        self.archive = ArchiveWire(self.binance, self.binance_um)
        self.delta, self.zerodha, self.dhan = DeltaWire(self.market), ZerodhaWire(self.market), DhanWire(self.market)
        self.faults = Faults()
        self.log = Log()
        self.stopping = threading.Event()
        self.streams = Streams(self.market, self.binance, self.binance_um, self.zerodha, self.dhan)
        self.failures = self.streams.failures
        self._wires: dict[str, Wire] = {
            "BINANCE": self.binance, "BINANCE_UM": self.binance_um, "ARCHIVE": self.archive, "DELTA": self.delta,
            "ZERODHA": self.zerodha, "DHAN": self.dhan,
        }  # fmt: skip
        self._servers: dict[str, _Server] = {}

    # Life

    def start(self) -> Self:
        self._servers = {venue: _Server(venue, self) for venue in self._wires}
        self._waker, wake = socket.socketpair()
        self._loop = threading.Thread(target=self._accept, args=(wake,), name="venues", daemon=True)
        self._loop.start()
        self.streams.start()
        return self

    def stop(self) -> None:
        """Hang up, free the ports, and raise what went wrong in the server itself."""
        self.stopping.set()
        self._waker.close()
        self._loop.join(5)
        self.streams.stop()
        for server in self._servers.values():
            server.close_links()
            server.server_close()
        deadline = time.monotonic() + 5
        while any(server.links for server in self._servers.values()) and time.monotonic() < deadline:
            time.sleep(0.002)
        if self.failures:
            raise self.failures[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self, wake: socket.socket) -> None:
        """One thread waits on all ports; each connection then gets its own."""
        with selectors.DefaultSelector() as selector, wake:
            selector.register(wake, selectors.EVENT_READ)
            for server in self._servers.values():
                selector.register(server, selectors.EVENT_READ, server)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    key.data.handle_request()

    # What tests use

    def url(self, venue: str) -> str:
        """Scheme, host and port of a venue's REST side; ARCHIVE is the one of the files."""
        return f"http://127.0.0.1:{self._servers[venue].server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Every address and credential, by the name of its environment variable."""
        return {
            **self.market.credentials,
            "BINANCE_BASE_URL": self.url("BINANCE"),
            "BINANCE_FUTURES_BASE_URL": self.url("BINANCE_UM"),
            "BINANCE_ARCHIVE_URL": self.url("ARCHIVE"),
            "BINANCE_WS_URL": self.streams.url("BINANCE"),
            "BINANCE_FUTURES_WS_URL": self.streams.url("BINANCE_UM"),
            "DELTA_BASE_URL": self.url("DELTA"),
            "DELTA_WS_URL": self.streams.url("DELTA"),
            "ZERODHA_BASE_URL": self.url("ZERODHA"),
            "ZERODHA_WS_URL": self.streams.url("ZERODHA"),
            "DHAN_BASE_URL": self.url("DHAN") + "/v2",
            "DHAN_WS_URL": self.streams.url("DHAN"),
            "DHAN_INSTRUMENTS_URL": self.url("DHAN") + "/api-data/api-scrip-master.csv",
        }

    def set_now(self, now_ms: int | Callable[[], int]) -> None:
        """Move the clock of all venues."""
        self.market.clock = now_ms

    def skew(self, venue: str, by_ms: int) -> None:
        """Let one venue's clock differ."""
        self.market.skew_ms[venue] = by_ms

    def expire_token(self, venue: str, after: int = 0) -> None:
        """The venue's credential is refused after so many more requests that carry one."""
        names = ("X-MBX-APIKEY", "api-key", "Authorization", "access-token")
        self.faults.on(
            expired(), venue=venue, nth=after + 1, times=None,
            when=lambda question: any(question.headers.get(name) for name in names),
        )  # fmt: skip

    def warm(self) -> None:
        """Word all candles beforehand, so that the server costs a measurement next to nothing."""
        endless = 1 << 62
        for series in self.market.series.values():
            wire = {"BINANCE": self.binance, "BINANCE_UM": self.binance_um}.get(series.venue)
            if wire is not None:
                a, b = series.between(0, endless, endless)
                series.words("rest ms", a, b, endless, UNCHANGED, wire.renderer(series))

    # What the handlers use

    def deliver(self, question: Question) -> _Delivery:
        """The answer to a request, after its faults."""
        fault, change, names = self.faults.strike(question)
        wire = self._wires[question.venue]
        reply = fault.reply(wire, question) if fault and fault.reply else wire.answer(question, change)
        if fault is not None and fault.edit is not None:
            reply.body = fault.edit(reply.body)
        if fault is not None and fault.ban is not None and isinstance(wire, BinanceWire):
            wire.pause(fault.ban)
        return _Delivery(reply, fault, names)

    def note(self, question: Question, delivery: _Delivery) -> None:
        broken = delivery.fault is not None and delivery.fault.reset
        self.log.requests.append(
            Logged(
                question.venue, question.method, question.path, question.raw_query, question.headers,
                question.body, self.market.now(question.venue), time.monotonic(),
                0 if broken else delivery.reply.status, delivery.names,
            )
        )  # fmt: skip
