"""The market behind the loopback venues: the candles, the clock, and what a request and an answer are.

A venue answers from here and never makes a price up: whatever a client reads must be found in these columns. The
candle that is still open at the venue's clock is the one exception. It is served as it stands at that moment, partly
formed and therefore different from its final values, as the real venues do; a client that keeps it has kept a wrong
candle.
"""

import re
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl
from zlib import crc32

import numpy as np

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
IST_MS = 19_800_000  # Indian time is five and a half hours ahead, all year
_UNITS_MS = {"M": MINUTE_MS, "H": HOUR_MS, "D": DAY_MS, "W": 7 * DAY_MS}
_BLOCK = 1024

VENUES = ("BINANCE", "BINANCE_UM", "DELTA", "ZERODHA", "DHAN")

CREDENTIALS = {
    "BINANCE_API_KEY": "loopbackBinanceKey0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "BINANCE_API_SECRET": "loopbackBinanceSecret0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
    "DELTA_API_KEY": "loopbackDeltaKey0123456789abcd",
    "DELTA_API_SECRET": "loopbackDeltaSecret0123456789abcdefghijklmnopqrstuvwxyz0123",
    "ZERODHA_API_KEY": "loopbackkitekey0",
    "ZERODHA_API_SECRET": "loopbackkitesecret0123456789abcd",
    "ZERODHA_ACCESS_TOKEN": "loopbackKiteAccessToken012345678",
    "DHAN_CLIENT_ID": "1000000001",
    "DHAN_ACCESS_TOKEN": "eyJhbGciOiJIUzUxMiJ9.loopbackDhanAccessToken.0123456789abcdef",
}


# Markets that a venue has whatever the test gives it; clients ask for them to see whether the venue is there.
ALWAYS_THERE = (("DELTA", "BTCUSD"), ("BINANCE", "BTCUSDT"), ("BINANCE_UM", "BTCUSDT"))


class Row(NamedTuple):
    """One candle on its way to the wire; a fault may put None or NaN where a number belongs."""

    time: int
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    quote_volume: Any


RowChange = Callable[[list[Row]], list[Row]]


@dataclass(frozen=True)
class Change:
    """What data faults do to the candles of one answer: to the rows, and to the unit of their times."""

    rows: tuple[RowChange, ...] = ()
    unit: str | None = None

    def __bool__(self) -> bool:
        return bool(self.rows) or self.unit is not None

    def apply(self, rows: list[Row]) -> list[Row]:
        for change in self.rows:
            rows = change(rows)
        return rows


UNCHANGED = Change()


class Headers(dict[str, str]):
    """Headers as they came, found in any spelling."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(pairs)
        self._lower = {name.lower(): value for name, value in self.items()}

    def get(self, name: str, default: Any = None) -> Any:
        return self._lower.get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return self._lower[name.lower()]

    def __contains__(self, name: object) -> bool:
        return str(name).lower() in self._lower


@dataclass(frozen=True)
class Question:
    """A request as it came."""

    venue: str
    method: str
    path: str
    raw_query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass
class Reply:
    """An answer before it is sent."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """One venue's wording: of its answers, and of the errors that faults ask for."""

    def answer(self, question: Question, change: Change) -> Reply: ...

    def too_many(self, pause_s: float | None) -> Reply: ...

    def banned(self, pause_s: float) -> Reply: ...

    def failing(self, status: int) -> Reply: ...

    def expired(self, question: Question) -> Reply: ...


@dataclass(frozen=True)
class Instrument:
    """One line of an Indian instrument list.

    Attributes:
        symbol: Trading symbol as the venue writes it.
        token: The exchange's own number of it (at Dhan: the securityId).
        exchange: "NSE" or "BSE".
        kind: "EQ" or "INDEX".
        name: What the company or index is called.
        tick: Price step in rupees.
    """

    symbol: str
    token: int
    exchange: str = "NSE"
    kind: str = "EQ"
    name: str = ""
    tick: float = 0.05


# Numbers of the exchanges, as the captured instrument lists and the official documentation show them. ABB has number 13
# within NSE_EQ and NIFTY has number 13 within IDX_I: a number means something only together with its segment.
_EQUITIES = (
    Instrument("RELIANCE", 2885, name="RELIANCE INDUSTRIES", tick=0.1),
    Instrument("HDFCBANK", 1333, name="HDFC BANK"),
    Instrument("INFY", 1594, name="INFOSYS", tick=0.1),
    Instrument("SBIN", 3045, name="STATE BANK OF INDIA"),
    Instrument("TCS", 11536, name="TATA CONSULTANCY SERV LT", tick=0.1),
    Instrument("ABB", 13, name="ABB INDIA"),
    Instrument("NIFTYBEES", 10576, name="NIP IND ETF NIFTY BEES", tick=0.01),
    Instrument("RELIANCE", 500325, exchange="BSE", name="RELIANCE INDUSTRIES LTD."),
)
INSTRUMENTS: dict[str, tuple[Instrument, ...]] = {
    "ZERODHA": (
        *_EQUITIES,
        Instrument("NIFTY 50", 1001, kind="INDEX", name="NIFTY 50"),
        Instrument("NIFTY BANK", 1016, kind="INDEX", name="NIFTY BANK"),
    ),
    "DHAN": (
        *_EQUITIES,
        Instrument("NIFTY", 13, kind="INDEX", name="Nifty 50"),
        Instrument("BANKNIFTY", 25, kind="INDEX", name="Nifty Bank"),
    ),
}


def step_of(interval: str) -> int:
    """Length in ms of an interval in our spelling: 1M is one minute, 1W a week."""
    match = re.fullmatch(r"(\d+)([MHDW])", interval)
    if match is None:
        raise ValueError(f"{interval!r} is no interval; write them as 1M, 5M, 1H, 1D, 1W")
    return int(match[1]) * _UNITS_MS[match[2]]


def decimals_of(*columns: np.ndarray) -> int | None:
    """The fewest decimals, at most 8, that write every number exactly; None where 8 do not suffice.

    A double below 2^53 / 10^8 is an eight-decimal number exactly when scaling, rounding and dividing give it back;
    a larger one always survives eight decimals, its own spacing being coarser.
    """
    for places in range(9):
        scale = 10.0**places
        if all(np.all((np.abs(c) * scale >= 2.0**53) | (np.round(c * scale) / scale == c)) for c in columns):
            return places
    return None


def plain(number: float) -> str:
    """The shortest decimal notation of a number, without an exponent."""
    text = repr(float(number))
    return np.format_float_positional(number, trim="-") if "e" in text else text


def shortest(number: Any) -> str:
    """A JSON number as JavaScript and Go write it: integral ones without a point."""
    if number is None:
        return "null"
    if number != number:
        return "NaN"
    return plain(number).removesuffix(".0")


class Series:
    """The candles of one market at one interval, and their words on the wire.

    Args:
        venue, symbol, interval: Names; the interval in our spelling.
        columns: time (ms, open of the bar), open, high, low, close, volume (the unit of the wire: contracts at Delta)
            and perhaps quote volume; without it, a plausible one is derived and served.
    """

    def __init__(self, venue: str, symbol: str, interval: str, columns: Sequence[Any]) -> None:
        self.venue, self.symbol, self.interval = venue, symbol, interval
        self.step_ms = step_of(interval)
        self.time = np.ascontiguousarray(columns[0], dtype=np.int64)
        numbers = [np.ascontiguousarray(column, dtype=np.float64) for column in columns[1:]]
        self.open, self.high, self.low, self.close, self.volume = numbers[:5]
        if len(numbers) > 5:
            self.quote_volume = numbers[5]
        else:
            self.quote_volume = np.round((self.high + self.low + self.close) / 3.0 * self.volume, 8)
        self.price_decimals = decimals_of(self.open, self.high, self.low, self.close)
        self.volume_decimals = decimals_of(self.volume)
        self._times: list[int] = self.time.tolist()
        self._fragments: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._times)

    def between(self, first_ms: float, last_ms: float, now_ms: int) -> tuple[int, int]:
        """Positions [a, b) of the candles that open in [first, last] and have opened by now."""
        b = bisect_right(self._times, min(last_ms, now_ms))
        return min(bisect_left(self._times, first_ms), b), b

    def rows(self, a: int, b: int, now_ms: int | None = None) -> list[Row]:
        """Candles [a, b); one that is still open at `now_ms` as it stands then."""
        columns = (self.time, self.open, self.high, self.low, self.close, self.volume, self.quote_volume)
        rows = [Row(*values) for values in zip(*(column[a:b].tolist() for column in columns), strict=True)]
        if now_ms is not None and rows and rows[-1].time + self.step_ms > now_ms:
            rows[-1] = self.partial(b - 1, (now_ms - rows[-1].time) / self.step_ms)
        return rows

    def partial(self, at: int, share: float) -> Row:
        """The candle at a position when `share` of its time has passed: never its final values, while it has any."""
        row = self.rows(at, at + 1)[0]
        share = min(max(share, 0.0), 1.0)
        places = 8 if self.price_decimals is None else self.price_decimals
        close = round(row.open + (row.close - row.open) * share, places)
        close = min(max(close, row.low), row.high)
        return Row(
            row.time,
            row.open,
            max(row.open, close),
            min(row.open, close),
            close,
            float(np.floor(row.volume * share * 0.999)) if row.volume >= 10.0 else round(row.volume * share * 0.999, 8),
            round(row.quote_volume * share * 0.999, 8),
        )

    def position(self, time_ms: int) -> int:
        """Where the candle that opens at this instant stands."""
        at = bisect_left(self._times, time_ms)
        if at == len(self) or self._times[at] != time_ms:
            raise KeyError(f"{self.venue} {self.symbol} {self.interval} has no candle that opens at {time_ms}")
        return at

    def fragments(self, style: str, a: int, b: int, render: Callable[[list[Row]], list[Any]]) -> list[Any]:
        """The rendered candles [a, b): each block of them is written once and kept."""
        with self._lock:
            made = self._fragments.setdefault(style, [None] * len(self))
            for start in range(a - a % _BLOCK, b, _BLOCK):
                end = min(start + _BLOCK, len(self))
                if made[start] is None:
                    made[start:end] = render(self.rows(start, end))
        return made[a:b]

    def words(
        self, style: str, a: int, b: int, now_ms: int, change: Change, render: Callable[[list[Row]], list[Any]]
    ) -> list[Any]:
        """The words of candles [a, b) as they stand at `now_ms`, after what the faults do to them."""
        if change:
            return render(change.apply(self.rows(a, b, now_ms)))
        if b > a and self._times[b - 1] + self.step_ms > now_ms:
            return self.fragments(style, a, b - 1, render) + render(self.rows(b - 1, b, now_ms))
        return self.fragments(style, a, b, render)


class Window:
    """What was spent of a limit, in windows of fixed length that start at multiples of it."""

    def __init__(self, allowed: float | None, length_ms: int, clock: Callable[[], int]) -> None:
        self.allowed, self.length_ms = allowed, length_ms
        self.used = 0.0
        self._clock = clock
        self._window = -1
        self._lock = threading.Lock()

    def spend(self, weight: float) -> bool:
        """Add to the window of this instant; False where that is more than the limit."""
        with self._lock:
            window = self._clock() // self.length_ms
            if window != self._window:
                self._window, self.used = window, 0.0
            self.used += weight
            return self.allowed is None or self.used <= self.allowed

    @property
    def left_ms(self) -> int:
        """Until the next window."""
        return self.length_ms - self._clock() % self.length_ms


# What the venues allow: weight a minute, weight a minute, units in five minutes, requests a second, requests a second.
# The two per-second limits are kept only where a test asks for it: most tests do not wait between requests.
LIMITS: dict[str, float | None] = {"BINANCE": 6000, "BINANCE_UM": 2400, "DELTA": 10000, "ZERODHA": None, "DHAN": None}


class Market:
    """Everything the venues know, and the clock they share.

    Args:
        candles: (venue, symbol, interval) -> columns; the interval in our spelling, whatever the venue calls it.
            Mark prices are symbols such as MARK:BTCUSDT. Indian symbols may name their exchange, as in BSE:RELIANCE.
        now_ms: The venues' clock: a fixed instant, or a function. With a fixed instant limits are counted by the real
            clock, because no pause would ever end otherwise.
        credentials: Values by the name of their environment variable, over `CREDENTIALS`.
        funding: (venue, symbol) -> (times in ms, rates as fractions).
        products: (venue, symbol) -> fields of the market's description, over plausible ones.
        instruments: venue -> the instrument list, before what the candles need.
        limits: venue -> what it allows, over `LIMITS`; None = anything.
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
        self.series = {key: Series(*key, columns) for key, columns in candles.items()}
        self.clock = now_ms
        self.skew_ms: dict[str, int] = {}
        self.credentials = {**CREDENTIALS, **(credentials or {})}
        self.funding = {
            key: (np.asarray(times, dtype=np.int64), np.asarray(rates, dtype=np.float64))
            for key, (times, rates) in (funding or {}).items()
        }
        self.products = dict(products or {})
        self.limits = {**LIMITS, **(limits or {})}
        self.instruments = {
            venue: self._listed(venue, (instruments or INSTRUMENTS).get(venue, ())) for venue in ("ZERODHA", "DHAN")
        }

    def now(self, venue: str = "") -> int:
        """The venue's clock, with the skew that a test has given it."""
        instant = self.clock() if callable(self.clock) else self.clock
        return instant + self.skew_ms.get(venue, 0)

    def limit_clock(self) -> int:
        return self.clock() if callable(self.clock) else int(time.time() * 1000)

    def date_header(self, venue: str) -> str:
        return formatdate(self.now(venue) / 1000, usegmt=True)

    def find(self, venue: str, symbol: str, step_ms: int) -> Series | None:
        """The series of a market at a step, whatever the spelling of the interval."""
        for (at, name, _), series in self.series.items():
            if at == venue and name == symbol and series.step_ms == step_ms:
                return series
        return None

    def symbols(self, venue: str) -> list[str]:
        """Markets of a venue: those with candles, funding or a description; without MARK: and the like."""
        keys = [*self.series, *self.funding, *self.products, *ALWAYS_THERE]
        return sorted({key[1] for key in keys if key[0] == venue and (":" not in key[1] or venue in INSTRUMENTS)})

    def series_of(self, venue: str, instrument: Instrument, step_ms: int) -> Series | None:
        """The candles of an Indian instrument: its exchange may be part of the symbol, and NSE is meant without."""
        named = self.find(venue, f"{instrument.exchange}:{instrument.symbol}", step_ms)
        return named or (self.find(venue, instrument.symbol, step_ms) if instrument.exchange == "NSE" else None)

    def _listed(self, venue: str, given: Sequence[Instrument]) -> tuple[Instrument, ...]:
        """The instrument list, with a line for every symbol that has candles and none yet."""
        listed = list(given)
        for symbol in self.symbols(venue):
            exchange, _, name = symbol.rpartition(":")
            if not any(line.symbol == name and line.exchange == (exchange or "NSE") for line in listed):
                listed.append(Instrument(name, 20_000 + crc32(symbol.encode()) % 5_000, exchange or "NSE", name=name))
        return tuple(listed)


def parquet_columns(path: Path, volume: str = "volume") -> tuple[np.ndarray, ...]:
    """The columns of one of the shared market files, ready for `candles`."""
    import polars

    frame = polars.read_parquet(path)
    names = ["time", "open", "high", "low", "close", volume]
    names += ["quote_volume"] if "quote_volume" in frame.columns else []
    return tuple(frame[name].to_numpy() for name in names)
