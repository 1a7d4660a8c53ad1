"""Dhan v2 as it is on the wire.

Candles are columns of Java doubles (1.7375706E9). The ends of a range follow four different rules. "No data" is an
error of status 400 with the code of a bad parameter, an unknown kind of number is a 500, and an expired token has been
seen as 400 and as 401. Ticks are little-endian packets whose clock runs in Indian time.
"""

import csv
import io
import json
import re
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np

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
)
from tests.venues.zerodha_wire import indian

STEPS_MS = {
    "1": MINUTE_MS, "5": 5 * MINUTE_MS, "15": 15 * MINUTE_MS, "25": 25 * MINUTE_MS, "60": 60 * MINUTE_MS,
}  # fmt: skip
MOST_DAYS = 90
LOOKBACK_DAYS = 5 * 366
COLUMNS = ("open", "high", "low", "close", "volume", "timestamp")
SEGMENT_CODES = {
    "IDX_I": 0, "NSE_EQ": 1, "NSE_FNO": 2, "NSE_CURRENCY": 3, "BSE_EQ": 4, "MCX_COMM": 5, "BSE_CURRENCY": 7,
    "BSE_FNO": 8,
}  # fmt: skip
COMPACT_HEADER = (
    "SEM_EXM_EXCH_ID", "SEM_SEGMENT", "SEM_SMST_SECURITY_ID", "SEM_INSTRUMENT_NAME", "SEM_EXPIRY_CODE",
    "SEM_TRADING_SYMBOL", "SEM_LOT_UNITS", "SEM_CUSTOM_SYMBOL", "SEM_EXPIRY_DATE", "SEM_STRIKE_PRICE",
    "SEM_OPTION_TYPE", "SEM_TICK_SIZE", "SEM_EXPIRY_FLAG", "SEM_EXCH_INSTRUMENT_TYPE", "SEM_SERIES", "SM_SYMBOL_NAME",
)  # fmt: skip
DETAILED_HEADER = (
    "EXCH_ID", "SEGMENT", "SECURITY_ID", "ISIN", "INSTRUMENT", "UNDERLYING_SECURITY_ID", "UNDERLYING_SYMBOL",
    "SYMBOL_NAME", "DISPLAY_NAME", "INSTRUMENT_TYPE", "SERIES", "LOT_SIZE", "SM_EXPIRY_DATE", "STRIKE_PRICE",
    "OPTION_TYPE", "TICK_SIZE", "EXPIRY_FLAG", "BRACKET_FLAG", "COVER_FLAG", "ASM_GSM_FLAG", "ASM_GSM_CATEGORY",
    "BUY_SELL_INDICATOR", "BUY_CO_MIN_MARGIN_PER", "BUY_CO_SL_RANGE_MAX_PERC", "BUY_CO_SL_RANGE_MIN_PERC",
    "BUY_BO_MIN_MARGIN_PER", "BUY_BO_PROFIT_RANGE_MAX_PERC", "BUY_BO_PROFIT_RANGE_MIN_PERC", "MTF_LEVERAGE",
    "SM_UPPER_LIMIT", "SM_LOWER_LIMIT",
)  # fmt: skip
_SCALES = {None: 1000, "s": 1000, "ms": 1}


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), status)


def _error(code: str, kind: str, message: str, status: int) -> Reply:
    return _json({"errorType": kind, "errorCode": code, "errorMessage": message}, status)


def java_double(number: Any) -> str:
    """A double as Java's Double.toString writes it: from ten million on (and below a thousandth) with an exponent."""
    if number is None:
        return "null"
    if number != number:
        return "NaN"
    value = float(number)
    if value == 0.0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, _, exponent = np.format_float_scientific(value, trim="0").partition("e")
    return f"{mantissa}E{int(exponent)}"


def segment_of(instrument: Instrument) -> str:
    return "IDX_I" if instrument.kind == "INDEX" else f"{instrument.exchange}_EQ"


class DhanWire:
    """Dhan's REST side.

    Attributes:
        access_token: The one that is valid now; /v2/RenewToken makes a new one and kills it.
        no_data: How an empty range is answered at /v2 paths, "DH-905" (documented in an issue) or "RS-9005" (captured,
            and always so at paths without a version).
    """

    venue = "DHAN"

    def __init__(self, market: Market) -> None:
        self.market = market
        self.access_token = market.credentials["DHAN_ACCESS_TOKEN"]
        self.issued_ms = market.now(self.venue)
        self.no_data = "DH-905"
        self.seconds = Window(market.limits[self.venue], 1000, market.limit_clock)

    def too_many(self, pause_s: float | None) -> Reply:
        return _error(
            "DH-904", "Rate_Limit",
            "Too many requests on server from single user breaching rate limits. Try throttling API calls.", 429,
        )  # fmt: skip

    def banned(self, pause_s: float) -> Reply:
        return self.too_many(pause_s)

    def failing(self, status: int) -> Reply:
        return _error(
            "DH-908",
            "Internal_Server_Error",
            "Server was not able to process API request. This will occur rarely.",
            status,
        )

    def expired(self, question: Question) -> Reply:
        if "/charts/" in question.path:
            return _error("DH-906", "Order_Error", "Invalid Token", 400)
        message = "Client ID or user generated access token is invalid or expired."
        return _error("DH-901", "Invalid_Authentication", message, 401)

    @property
    def expires_ms(self) -> int:
        return self.issued_ms + DAY_MS

    def accepts(self, token: str) -> bool:
        """The token is the valid one, and not older than a day."""
        return token == self.access_token and self.market.now(self.venue) < self.expires_ms

    def answer(self, question: Question, change: Change = UNCHANGED) -> Reply:
        path = question.path
        if path.startswith("/api-data/"):
            return self._instruments(path)
        if not self.seconds.spend(1):
            return self.too_many(None)
        name = path.removeprefix("/v2")
        method = "POST" if name.startswith("/charts/") else "GET"
        routes = ("/charts/intraday", "/charts/historical", "/profile", "/fundlimit", "/RenewToken")
        listed = re.fullmatch(r"/instrument/([A-Z_]+)", name)
        if question.method != method or (name not in routes and not listed):
            body = {"timestamp": self.market.now(self.venue), "status": 404, "error": "Not Found", "path": path}
            return _json(body, 404)
        if not self.accepts(question.headers.get("access-token", "")):
            return self.expired(question)
        if listed:
            return self._csv(compact=False, segment=listed[1])
        match name:
            case "/profile":
                valid = datetime.fromtimestamp((self.expires_ms + IST_MS) / 1000, UTC)
                return _json({
                    "dhanClientId": self.market.credentials["DHAN_CLIENT_ID"],
                    "tokenValidity": f"{valid:%d/%m/%Y %H:%M}",
                    "activeSegment": "Equity, Derivative, Currency, Commodity", "ddpi": "Deactive", "mtf": "Deactive",
                    "dataPlan": "Active", "dataValidity": f"{valid:%Y-%m-%d} 09:37:52.0",
                })  # fmt: skip
            case "/fundlimit":
                money = dict.fromkeys(
                    ("availabelBalance", "sodLimit", "collateralAmount", "receiveableAmount", "utilizedAmount",
                     "blockedPayoutAmount", "withdrawableBalance"), 0.0)  # fmt: skip
                return _json({"dhanClientId": self.market.credentials["DHAN_CLIENT_ID"], **money})
            case "/RenewToken":
                return self._renew(question)
        return self._charts(question, change, daily=name.endswith("historical"))

    def _renew(self, question: Question) -> Reply:
        if question.headers.get("dhanClientId") != self.market.credentials["DHAN_CLIENT_ID"]:
            return self.expired(question)
        self.issued_ms = self.market.now(self.venue)
        self.access_token = f"{self.access_token[:40]}.renewed{self.issued_ms}"
        expiry = datetime.fromtimestamp((self.expires_ms + IST_MS) / 1000, UTC)
        return _json({
            "dhanClientId": self.market.credentials["DHAN_CLIENT_ID"], "dhanClientName": "LOOP BACK",
            "dhanClientUcc": "ABCD12345E", "givenPowerOfAttorney": False, "accessToken": self.access_token,
            "expiryTime": f"{expiry:%Y-%m-%dT%H:%M:%S}",
        })  # fmt: skip

    # Candles

    def _bad(self, message: str = "Missing required fields, bad values for parameters etc.") -> Reply:
        return _error("DH-905", "Input_Exception", message, 400)

    def _nothing(self, path: str) -> Reply:
        if self.no_data == "RS-9005" or not path.startswith("/v2/"):
            body = {"errorCode": "NONE", "httpStatus": "BAD_REQUEST", "internalErrorCode": "RS-9005",
                    "internalErrorMessage": "Data not available"}  # fmt: skip
            return _json(body, 400)
        return self._bad("System is unable to fetch data due to incorrect parameters or no data present")

    def _charts(self, question: Question, change: Change, *, daily: bool) -> Reply:
        try:
            asked = json.loads(question.body)
        except ValueError:
            return self._bad()
        needed = ["securityId", "exchangeSegment", "instrument", "fromDate", "toDate"] + ["interval"] * (not daily)
        if not isinstance(asked, dict) or any(asked.get(name) in (None, "") for name in needed):
            return self._bad()
        if not str(asked["securityId"]).isdigit():
            body = {"errorCode": "INTERNAL_SERVER_ERROR", "httpStatus": "INTERNAL_SERVER_ERROR",
                    "internalErrorCode": "RS-9005", "internalErrorMessage": "Something went wrong"}  # fmt: skip
            return _json(body, 500)
        step = DAY_MS if daily else STEPS_MS.get(str(asked["interval"]), 0)
        span = self._span(str(asked["fromDate"]), str(asked["toDate"]), daily=daily)
        if span is None or not step or asked["exchangeSegment"] not in SEGMENT_CODES:
            return self._bad()
        first, end = span
        if not daily and end - first > (MOST_DAYS + 1) * DAY_MS:
            return self._bad("Only 90 days of data can be fetched in a single request")
        instrument = next(
            (
                line
                for line in self.market.instruments[self.venue]
                if str(line.token) == str(asked["securityId"]) and segment_of(line) == asked["exchangeSegment"]
            ),
            None,
        )
        kind = "INDEX" if asked["exchangeSegment"] == "IDX_I" else "EQUITY"
        series = self.market.series_of(self.venue, instrument, step) if instrument else None
        if series is None or asked["instrument"] != kind:
            return self._nothing(question.path)
        now = self.market.now(self.venue)
        if not daily:
            first = max(first, now - LOOKBACK_DAYS * DAY_MS)
        a, b = series.between(first, end - 1, now)
        if a == b:
            return self._nothing(question.path)
        words = series.words(f"rest {change.unit}", a, b, now, change, lambda rows: cells(rows, change.unit))
        columns = zip(*words, strict=True) if words else ((),) * 6
        parts = [f'"{name}":[{",".join(column)}]' for name, column in zip(COLUMNS, columns, strict=True)]
        if asked.get("oi") is True:
            parts.append(f'"open_interest":[{",".join(["0.0"] * len(words))}]')
        return Reply(("{" + ",".join(parts) + "}").encode())

    def _span(self, from_text: str, to_text: str, *, daily: bool) -> tuple[int, int] | None:
        """The half-open span that is meant, by the venue's rules of ends.

        Daily: toDate is exclusive. Intraday: a bare toDate includes its day, a time of day excludes the bar that opens
        then, and when toDate is today everything up to now comes back.
        """
        if daily and (len(from_text) != 10 or len(to_text) != 10):
            return None
        first, end = indian(from_text), indian(to_text)
        if first is None or end is None:
            return None
        if not daily:
            today = (self.market.now(self.venue) + IST_MS) // DAY_MS * DAY_MS - IST_MS
            if len(to_text) == 10:
                end += DAY_MS
            if today <= indian(to_text[:10]) < today + DAY_MS:  # type: ignore[operator]
                end = today + DAY_MS
        return first, end

    # Instrument lists

    def _instruments(self, path: str) -> Reply:
        if path.endswith("/api-scrip-master.csv"):
            return self._csv(compact=True)
        if path.endswith("/api-scrip-master-detailed.csv"):
            return self._csv(compact=False)
        return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404, "application/xml")

    def _csv(self, *, compact: bool, segment: str = "") -> Reply:
        """The instrument list; ticks of shares are in paise there, those of indices are not."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COMPACT_HEADER if compact else DETAILED_HEADER)
        for line in self.market.instruments[self.venue]:
            if segment and segment_of(line) != segment:
                continue
            index = line.kind == "INDEX"
            part, kind = ("I", "INDEX") if index else ("E", "EQUITY")
            tick = line.tick if index else line.tick * 100
            if compact:
                writer.writerow((
                    line.exchange, part, line.token, kind, 0, line.symbol, "1.0", line.name or line.symbol,
                    "0001-01-01" if index else "", "", "XX" if index else "", f"{tick:.4f}", "" if index else "NA",
                    "INDEX" if index else "ES", "X" if index else "EQ", line.symbol if index else line.name,
                ))  # fmt: skip
            else:
                kinds = ("INDEX", "X") if index else ("ES", "EQ")
                writer.writerow((
                    line.exchange, part, line.token, "", kind, "", line.symbol, line.name or line.symbol,
                    line.name or line.symbol, *kinds, 1, "", "", "", f"{tick:g}", "NA", "N", "N", "N", "NA", "A",
                    0, 0, 0, 0, 0, 0, 0, 0, 0,
                ))  # fmt: skip
        return Reply(out.getvalue().encode(), content_type="text/csv")


def cells(rows: list[Row], unit: str | None) -> list[tuple[str, ...]]:
    """Candles as the cells of the six columns."""
    divisor, times = (1, 1000) if unit == "us" else (_SCALES[unit], 1)
    return [(*(java_double(value) for value in row[1:6]), java_double(row.time * times / divisor)) for row in rows]


# WebSocket


def tick_packet(code: int, instrument: Instrument, tick: Any) -> bytes:
    """A packet for a request code: 15 ticker (16 bytes), 17 quote (50), 21 full (162); little-endian."""
    segment = SEGMENT_CODES[segment_of(instrument)]
    seconds = (tick.time + IST_MS) // 1000  # the feed's epoch is shifted to Indian time
    if code == 15:
        return struct.pack("<BHBIfI", 2, 16, segment, instrument.token, tick.price, seconds)
    middle = (tick.price, min(tick.quantity, 65_535), seconds, tick.average, tick.volume, 1000, 1000)
    prices = (tick.open, tick.previous_close, tick.high, tick.low)
    if code == 17:
        return struct.pack("<BHBIfHIfIIIffff", 4, 50, segment, instrument.token, *middle, *prices)
    depth = struct.pack("<IIHHff", 100, 100, 1, 1, tick.price, tick.price) * 5
    head = struct.pack("<BHBIfHIfIIIIIIffff", 8, 162, segment, instrument.token, *middle, 0, 0, 0, *prices)
    return head + depth


def previous_close_packet(instrument: Instrument, price: float) -> bytes:
    return struct.pack("<BHBIfI", 6, 16, SEGMENT_CODES[segment_of(instrument)], instrument.token, price, 0)


def disconnect_packet(code: int) -> bytes:
    """Why the feed ends: 805 too many connections, 806 not subscribed, 807 token expired, 808 to 810 not accepted."""
    return struct.pack("<BHBIH", 50, 10, 0, 0, code)
