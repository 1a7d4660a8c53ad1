"""Zerodha Kite Connect v3 as it is on the wire.

Times are Indian, `to` is inclusive, the current candle comes along, and a range that is too long is refused with the
server's own sentence. A token dies at six in the morning. Ticks are big-endian packets with prices in paise.
"""

import csv
import hashlib
import io
import json
import re
import struct
from datetime import UTC, datetime
from typing import Any

from tests.venues.market import (
    DAY_MS,
    IST_MS,
    MINUTE_MS,
    UNCHANGED,
    Change,
    Instrument,
    Market,
    Question,
    Reply,
    Row,
    Window,
    shortest,
)

STEPS_MS = {
    "minute": MINUTE_MS, "3minute": 3 * MINUTE_MS, "5minute": 5 * MINUTE_MS, "10minute": 10 * MINUTE_MS,
    "15minute": 15 * MINUTE_MS, "30minute": 30 * MINUTE_MS, "60minute": 60 * MINUTE_MS, "day": DAY_MS,
}  # fmt: skip
MOST_DAYS = {
    "minute": 60, "3minute": 100, "5minute": 100, "10minute": 100, "15minute": 200, "30minute": 200, "60minute": 400,
    "day": 2000,
}  # fmt: skip
SEGMENTS = {"NSE": 1, "NFO": 2, "CDS": 3, "BSE": 4, "BFO": 5, "BCD": 6, "MCX": 7, "INDICES": 9}
CSV_HEADER = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike", "tick_size",
    "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
_STATUS = {
    "TokenException": 403, "PermissionException": 403, "InputException": 400, "GeneralException": 500,
    "DataException": 502, "NetworkException": 503,
}  # fmt: skip


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), status)


def _error(kind: str, message: str, status: int | None = None) -> Reply:
    body = {"status": "error", "message": message, "data": None, "error_type": kind}
    return _json(body, status or _STATUS[kind])


def instrument_token(instrument: Instrument) -> int:
    """Kite's number: the exchange's, and the segment in the last byte."""
    segment = "INDICES" if instrument.kind == "INDEX" else instrument.exchange
    return instrument.token * 256 + SEGMENTS[segment]


def indian(text: str) -> int | None:
    """Milliseconds UTC of an Indian date or date and time; None where it is neither."""
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() * 1000) - IST_MS
        except ValueError:
            continue
    return None


class ZerodhaWire:
    """Kite's REST side.

    Attributes:
        access_token: The one that is valid now; /session/token makes a new one.
        request_token: What the login page has handed out; good for one exchange.
    """

    venue = "ZERODHA"

    def __init__(self, market: Market) -> None:
        self.market = market
        self.access_token = market.credentials["ZERODHA_ACCESS_TOKEN"]
        self.request_token: str | None = market.credentials.get("ZERODHA_REQUEST_TOKEN", "loopbackRequestToken")
        self.issued_ms = market.now(self.venue)
        self.seconds = Window(market.limits[self.venue], 1000, market.limit_clock)

    def too_many(self, pause_s: float | None) -> Reply:
        return _error("NetworkException", "Too many requests", 429)

    def banned(self, pause_s: float) -> Reply:
        return self.too_many(pause_s)

    def failing(self, status: int) -> Reply:
        kind = {502: "DataException", 503: "NetworkException", 504: "NetworkException"}.get(status, "GeneralException")
        return _error(kind, "Gateway timed out" if status == 504 else "Something went wrong. Please try again.", status)

    def expired(self, question: Question) -> Reply:
        return _error("TokenException", "Incorrect `api_key` or `access_token`.")

    @property
    def expires_ms(self) -> int:
        """The next six o'clock in the morning after the token was made."""
        six = 6 * 3_600_000 - IST_MS
        return (self.issued_ms - six) // DAY_MS * DAY_MS + DAY_MS + six

    def accepts(self, api_key: str, access_token: str) -> bool:
        """The pair is the valid one, and its day is not over."""
        right = (self.market.credentials["ZERODHA_API_KEY"], self.access_token)
        return (api_key, access_token) == right and self.market.now(self.venue) < self.expires_ms

    def answer(self, question: Question, change: Change = UNCHANGED) -> Reply:
        path = question.path
        if not self.seconds.spend(1):
            return self.too_many(None)
        if question.headers.get("X-Kite-Version") != "3":
            return _error("InputException", "Invalid API version.")
        if path == "/session/token" and question.method == "POST":
            return self._session(question.form)
        if question.method != "GET":
            return _error("GeneralException", "Route not found", 404)
        if path == "/instruments" or re.fullmatch(r"/instruments/[A-Z]+", path):
            return self._instruments(path.removeprefix("/instruments").strip("/"))
        scheme, _, pair = question.headers.get("Authorization", "").partition(" ")
        if scheme != "token" or not self.accepts(*pair.partition(":")[::2]):
            return self.expired(question)
        if match := re.fullmatch(r"/instruments/historical/([^/]+)/([^/]+)", path):
            return self._historical(match[1], match[2], question.query, change)
        if path == "/user/profile":
            return _json({"status": "success", "data": self._user({"meta": {"demat_consent": "physical"}})})
        if path == "/user/margins":
            funds = {"enabled": True, "net": 0, "available": {"cash": 0}, "utilised": {"debits": 0}}
            return _json({"status": "success", "data": {"equity": funds, "commodity": funds}})
        if path in ("/quote/ltp", "/quote/ohlc"):
            return self._quotes(question, with_ohlc=path.endswith("ohlc"))
        return _error("GeneralException", "Route not found", 404)

    def _user(self, more: dict[str, Any]) -> dict[str, Any]:
        return {
            "user_id": "AB1234", "user_type": "individual", "email": "user@example.com", "user_name": "Loop Back",
            "user_shortname": "Loop", "broker": "ZERODHA", "exchanges": ["NSE", "BSE", "NFO"],
            "products": ["CNC", "NRML", "MIS"], "order_types": ["MARKET", "LIMIT", "SL", "SL-M"], "avatar_url": None,
            **more,
        }  # fmt: skip

    def _session(self, form: dict[str, str]) -> Reply:
        credentials, token = self.market.credentials, form.get("request_token", "")
        text = credentials["ZERODHA_API_KEY"] + token + credentials["ZERODHA_API_SECRET"]
        if form.get("api_key") != credentials["ZERODHA_API_KEY"]:
            return _error("InputException", "Invalid `api_key`.")
        if form.get("checksum") != hashlib.sha256(text.encode()).hexdigest():
            return _error("TokenException", "Invalid `checksum`.")
        if not token or token != self.request_token:
            return _error("TokenException", "Token is invalid or has expired.")
        self.request_token = None
        self.issued_ms = self.market.now(self.venue)
        self.access_token = hashlib.sha256(f"{token}{self.issued_ms}".encode()).hexdigest()[:32]
        login_time = datetime.fromtimestamp((self.issued_ms + IST_MS) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        more = {
            "api_key": credentials["ZERODHA_API_KEY"], "access_token": self.access_token, "public_token": "x" * 32,
            "enctoken": "x" * 32, "refresh_token": "", "silo": "", "login_time": login_time,
            "meta": {"demat_consent": "physical"},
        }  # fmt: skip
        return _json({"status": "success", "data": self._user(more)})

    def _instruments(self, exchange: str) -> Reply:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        for line in self.market.instruments[self.venue]:
            if exchange in ("", line.exchange):
                index = line.kind == "INDEX"
                writer.writerow((
                    instrument_token(line), line.token, line.symbol, line.name, "0.0", "", "0.0",
                    "0.0" if index else f"{line.tick:g}", 0 if index else 1, "EQ",
                    "INDICES" if index else line.exchange, line.exchange,
                ))  # fmt: skip
        return Reply(out.getvalue().encode(), content_type="text/csv")

    def _historical(self, token: str, interval: str, query: dict[str, str], change: Change) -> Reply:
        listed = self.market.instruments[self.venue]
        instrument = next((line for line in listed if str(instrument_token(line)) == token), None)
        if instrument is None:
            return _error("InputException", "invalid token")
        if interval not in STEPS_MS:
            return _error("InputException", "invalid interval")
        first, last = indian(query.get("from", "")), indian(query.get("to", ""))
        if first is None or last is None:
            return _error("InputException", f"invalid {'from' if first is None else 'to'} date")
        if first > last:
            return _error("InputException", "from date cannot be after to date")
        if last - first > MOST_DAYS[interval] * DAY_MS:
            return _error("InputException", f"interval exceeds max limit: {MOST_DAYS[interval]} days")
        if query.get("continuous") == "1" and interval != "day":
            return _error("InputException", "invalid interval for continuous data")
        with_oi = query.get("oi") == "1"
        words: list[str] = []
        series = self.market.series_of(self.venue, instrument, STEPS_MS[interval])
        if series is not None:
            now = self.market.now(self.venue)
            a, b = series.between(first, last, now)
            words = series.words(f"rest {with_oi}", a, b, now, change, lambda rows: candle_texts(rows, with_oi))
        return Reply(f'{{"status":"success","data":{{"candles":[{",".join(words)}]}}}}'.encode())

    def _quotes(self, question: Question, *, with_ohlc: bool) -> Reply:
        asked = re.findall(
            r"(?:^|&)i=([^&]*)", question.raw_query.replace("%3A", ":").replace("+", " ").replace("%20", " ")
        )
        data: dict[str, Any] = {}
        now = self.market.now(self.venue)
        for line in self.market.instruments[self.venue]:
            name = f"{line.exchange}:{line.symbol}"
            for step in sorted(STEPS_MS.values()) if name in asked else ():
                series = self.market.series_of(self.venue, line, step)
                if series is not None:
                    _, b = series.between(0, now, now)
                    row = series.rows(b - 1, b, now)[0]
                    ohlc = {"open": row.open, "high": row.high, "low": row.low, "close": row.close}
                    data[name] = {"instrument_token": instrument_token(line), "last_price": row.close}
                    data[name] |= {"ohlc": ohlc} if with_ohlc else {}
                    break
        return _json({"status": "success", "data": data})


def candle_texts(rows: list[Row], with_oi: bool = False) -> list[str]:
    """Candles as JSON arrays with an Indian time whose offset has no colon."""
    oi = ",0" if with_oi else ""
    return [
        f'["{datetime.fromtimestamp((row.time + IST_MS) / 1000, UTC):%Y-%m-%dT%H:%M:%S}+0530",{shortest(row.open)},'
        f"{shortest(row.high)},{shortest(row.low)},{shortest(row.close)},{shortest(row.volume)}{oi}]"
        for row in rows
    ]


# WebSocket


def divisor(token: int) -> int:
    """Price units per rupee, by the segment in a token's last byte."""
    return {3: 10_000_000, 6: 10_000}.get(token & 0xFF, 100)


def tick_packet(token: int, mode: str, tick: Any) -> bytes:
    """One instrument's packet: 8 bytes (ltp), 28 or 32 (index), 44 (quote) or 184 (full), big-endian."""

    def units(price: float) -> int:
        return round(price * divisor(token))

    head = struct.pack(">II", token, units(tick.price))
    if mode == "ltp":
        return head
    open_, high, low, close = (units(price) for price in (tick.open, tick.high, tick.low, tick.previous_close))
    seconds = tick.time // 1000
    if token & 0xFF == SEGMENTS["INDICES"]:
        index = head + struct.pack(">IIIIi", high, low, open_, close, units(tick.price) - close)
        return index + struct.pack(">I", seconds) if mode == "full" else index
    quote = head + struct.pack(
        ">IIIIIIIII", tick.quantity, units(tick.average), tick.volume, 1000, 1000, open_, high, low, close
    )
    if mode == "quote":
        return quote
    depth = b"".join(struct.pack(">IIHH", 100, units(tick.price), 1, 0) for _ in range(10))
    return quote + struct.pack(">IIIII", seconds, 0, 0, 0, seconds) + depth


def message(packets: list[bytes]) -> bytes:
    """Several packets in one binary message."""
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)
