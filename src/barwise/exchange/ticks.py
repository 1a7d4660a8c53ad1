"""Trades of Zerodha and Dhan: their binary packets, and the candles that are made of them.

Neither venue streams candles. Both send the last trade of a market with the volume of the day so far, so that a candle
is the prices between two instants of the exchange's clock, and its volume a difference. Packets may be skipped by the
venue, therefore a candle made here is what REST has to confirm, and never the last word.

Formats: kite.trade/docs/connect/v3/websocket and dhanhq.co/docs/v2/live-market-feed (2026-11).
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from barwise.data.sessions import IST_MS
from barwise.timeframe import DAY_MS, Calendar, Timeframe

# Kite: the last byte of a token is its segment; prices are integers of these parts of a rupee.
_CURRENCY, _BSE_CURRENCY, _INDICES = 3, 6, 9
_PARTS = {_CURRENCY: 10_000_000.0, _BSE_CURRENCY: 10_000.0}
_PAISE = 100.0
_LTP, _QUOTE, _FULL, _INDEX_SIZES = 8, 44, 184, (28, 32)

# Dhan: response codes of the head, and the packets that hold a trade.
_TICKER, _DHAN_QUOTE, _DHAN_FULL, _DISCONNECT = 2, 4, 8, 50
_DHAN_SIZES = {_TICKER: 16, _DHAN_QUOTE: 50, _DHAN_FULL: 162, _DISCONNECT: 10}
_SEGMENTS = {
    0: "IDX_I", 1: "NSE_EQ", 2: "NSE_FNO", 3: "NSE_CURRENCY", 4: "BSE_EQ", 5: "MCX_COMM", 7: "BSE_CURRENCY",
    8: "BSE_FNO",
}  # fmt: skip


class Tick(NamedTuple):
    """What a packet says of the last trade of a market.

    Attributes:
        number: What the venue knows the market by.
        segment: Dhan's segment, within which the number is unique; "" at Zerodha.
        time: Of the exchange, ms UTC; None where the packet has none.
        price: In rupees.
        volume: Of the day so far; None where the packet has none (indices).
        quantity, average, open, high, low, previous_close: Of the last trade, and of the day so far; 0 where absent.
    """

    number: str
    segment: str
    time: int | None
    price: float
    volume: int | None = None
    quantity: int = 0
    average: float = 0.0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    previous_close: float = 0.0


class Disconnect(NamedTuple):
    """Dhan ends the feed, with a code of its annexure: 805 too many connections, 806 to 810 not allowed."""

    code: int


def kite_ticks(message: bytes) -> list[Tick]:
    """The ticks of a binary message: int16 count, then int16 length and packet for each, big-endian.

    Raises:
        ValueError: Lengths do not fit together, or a packet has a size that none has.
    """
    if len(message) < 2:
        return []  # a sign of life
    count, at = int.from_bytes(message[:2]), 2
    ticks: list[Tick] = []
    for _ in range(count):
        size = int.from_bytes(message[at : at + 2])
        packet = message[at + 2 : at + 2 + size]
        if size == 0 or len(packet) != size:
            raise ValueError("a packet is cut off")
        ticks.append(kite_tick(packet))
        at += 2 + size
    if at != len(message):
        raise ValueError("bytes are left over")
    return ticks


def kite_tick(packet: bytes) -> Tick:
    """One packet: 8 bytes (ltp), 28 or 32 (index), 44 (quote) or 184 (full).

    Raises:
        ValueError: It has another size.
    """
    size = len(packet)
    if size not in (_LTP, *_INDEX_SIZES, _QUOTE, _FULL):
        raise ValueError(f"no packet has {size} bytes")
    token, last = struct.unpack_from(">Ii", packet)
    parts = _PARTS.get(token & 0xFF, _PAISE)
    number, price = str(token), last / parts
    if size == _LTP:
        return Tick(number, "", None, price)
    if size in _INDEX_SIZES:
        high, low, opened, close = (value / parts for value in struct.unpack_from(">iiii", packet, 8))
        seconds = struct.unpack_from(">I", packet, 28)[0] if size == _INDEX_SIZES[1] else 0
        return Tick(number, "", _ms(seconds), price, open=opened, high=high, low=low, previous_close=close)
    quantity, average, volume = struct.unpack_from(">IiI", packet, 8)
    opened, high, low, close = (value / parts for value in struct.unpack_from(">iiii", packet, 28))
    seconds = struct.unpack_from(">I", packet, 60)[0] if size == _FULL else 0
    return Tick(number, "", _ms(seconds), price, volume, quantity, average / parts, opened, high, low, close)


def dhan_ticks(message: bytes) -> list[Tick | Disconnect]:
    """The ticks of a binary message: packets one after the other, little-endian, each with its length in the head.

    Packets that hold no trade (previous close, open interest, market status) are passed over.

    Raises:
        ValueError: Lengths do not fit together.
    """
    at = 0
    found: list[Tick | Disconnect] = []
    while at < len(message):
        if len(message) - at < 8:
            raise ValueError("a head is cut off")
        code, size, segment, number = struct.unpack_from("<BHBI", message, at)
        # Lengths of the official documentation count the head, older captures of others do not always: never below it.
        size = _DHAN_SIZES.get(code, max(size, 8))
        packet = message[at : at + size]
        if len(packet) != size:
            raise ValueError("a packet is cut off")
        if code == _DISCONNECT:
            found.append(Disconnect(struct.unpack_from("<H", packet, 8)[0]))
        elif code in _DHAN_SIZES:
            found.append(_dhan_tick(code, packet, _SEGMENTS.get(segment, str(segment)), str(number)))
        at += size
    return found


def _dhan_tick(code: int, packet: bytes, segment: str, number: str) -> Tick:
    if code == _TICKER:
        price, seconds = struct.unpack_from("<fI", packet, 8)
        return Tick(number, segment, _indian_ms(seconds), _decimal(price))
    price, quantity, seconds, average, volume = struct.unpack_from("<fHIfI", packet, 8)
    opened, close, high, low = struct.unpack_from("<ffff", packet, 34 if code == _DHAN_QUOTE else 46)
    prices = [_decimal(value) for value in (average, opened, high, low, close)]
    return Tick(number, segment, _indian_ms(seconds), _decimal(price), volume, quantity, *prices)


def _decimal(price: float) -> float:
    """The shortest decimal that a single-precision price stands for: 2850.1, not 2850.10009765625."""
    return float(str(np.float32(price)))


def _ms(seconds: int) -> int | None:
    return seconds * 1000 if seconds else None


def _indian_ms(seconds: int) -> int | None:
    """Dhan's seconds count in Indian time: its own client prints them as UTC and shows Indian hours."""
    return seconds * 1000 - IST_MS if seconds else None


@dataclass
class Bucket:
    """A candle in the making.

    Attributes:
        time: When it opens, ms UTC.
        whole: Everything since its opening was received, and what came before it is known.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    whole: bool


class TickCandles:
    """Candles from the trades of one market, by the time of the exchange.

    Packets come for changes of the order book too, so a trade is a packet in which the volume of the day has grown. A
    volume that has fallen is that of a new day. Indices have no volume: each of their packets counts.

    Args:
        timeframe, calendar: The grid.
    """

    def __init__(self, timeframe: Timeframe, calendar: Calendar) -> None:
        self._step, self._origin = timeframe.ms, timeframe.grid_origin_ms(calendar)
        self._offset = calendar.utc_offset_ms
        self._total: int | None = None
        self._last_ms: int | None = None
        self._bucket: Bucket | None = None
        self._unbroken_since: int | None = None

    def opens(self, instant: int) -> int:
        """When the candle of an instant opens."""
        return self._origin + (instant - self._origin) // self._step * self._step

    def interrupt(self) -> None:
        """Packets were lost: what is being made is not whole any more."""
        self._unbroken_since = None
        if self._bucket is not None:
            self._bucket.whole = False

    def add(self, tick: Tick) -> Bucket | None:
        """Take a packet; what comes back is the state of its candle, where it was a trade."""
        if tick.time is None or (self._last_ms is not None and tick.time < self._last_ms):
            return None
        first = self._unbroken_since is None
        if first:
            self._unbroken_since = tick.time
        new_day = self._last_ms is not None and self._day(tick.time) != self._day(self._last_ms)
        traded = self._volume_since(tick, new_day=new_day, first=first)
        self._last_ms = tick.time
        if traded is None:
            return None
        opens = self.opens(tick.time)
        bucket, price = self._bucket, tick.price
        if bucket is None or bucket.time != opens:
            whole = self._unbroken_since is not None and self._unbroken_since < opens
            bucket = self._bucket = Bucket(opens, price, price, price, price, 0.0, whole)
        bucket.high, bucket.low, bucket.close = max(bucket.high, price), min(bucket.low, price), price
        bucket.volume += traded
        return bucket

    def _volume_since(self, tick: Tick, *, new_day: bool, first: bool) -> float | None:
        """Units that have traded since the packet before; None where nothing has."""
        if tick.volume is None:
            return 0.0
        before, self._total = self._total, tick.volume
        if before is None:
            return None if not tick.quantity else float(tick.quantity)
        if new_day and tick.volume == before:
            return None  # the total of yesterday, still shown before the opening
        if new_day or tick.volume < before:
            before = 0
        elif first:
            return float(tick.quantity) if tick.volume > before else None
        return float(tick.volume - before) if tick.volume > before else None

    def _day(self, instant: int) -> int:
        return (instant + self._offset) // DAY_MS
