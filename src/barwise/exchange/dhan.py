"""Dhan v2: how it words questions and answers.

Candles need an access token, good for a day, and the paid data plan. Answers are columns of Java doubles with times in
seconds; each kind of range has its own rule of ends, so that more is asked for than wanted and the rest is cut off
outside. That there is nothing to tell is worded as an error. Nothing here can place an order. Facts are from
dhanhq.co/docs/v2 (2026-11) and from captured answers; where both are silent, the comment says so.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from barwise.data.sessions import IST_MS, indian_day, indian_text
from barwise.errors import APIError, CredentialError, DataError
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.http import Answer, Client, Limiter, TransientError, too_fast
from barwise.exchange.instruments import Instrument, InstrumentList, instruments_folder
from barwise.exchange.tokens import Tokens
from barwise.exchange.verdicts import by_status, quote
from barwise.timeframe import DAY_MS, Timeframe

_ADDRESS, _DEFAULT_URL = "DHAN_BASE_URL", "https://api.dhan.co/v2"
_LIST_ADDRESS, _DEFAULT_LIST = "DHAN_INSTRUMENTS_URL", "https://images.dhan.co/api-data/api-scrip-master.csv"
_CLIENT_ID, _ACCESS_TOKEN = "DHAN_CLIENT_ID", "DHAN_ACCESS_TOKEN"

# 25 minutes are served as well, and are no timeframe of ours; 30M is made of 15M.
_INTERVALS = {"1M": "1", "5M": "5", "15M": "15", "1H": "60", "1D": "day"}
# A request may span 90 days; two are left because both ends are widened to whole days. Daily candles have no documented
# limit: ten years are asked for at a time.
_INTRADAY_DAYS, _DAILY_DAYS = 88, 3650
# Intraday candles are kept for five years.
_KEPT_DAYS = 5 * 365
# Five requests a second; their windows and ours do not begin together.
_PER_WINDOW, _WINDOW_S = 5, 1.1

_INTRADAY, _DAILY, _PROFILE, _RENEW = "/charts/intraday", "/charts/historical", "/profile", "/RenewToken"
_PRICES = ("open", "high", "low", "close", "volume")

# Segments by exchange and letter in the list of instruments.
_SEGMENTS = {
    ("NSE", "I"): "IDX_I",
    ("BSE", "I"): "IDX_I",
    ("NSE", "E"): "NSE_EQ",
    ("NSE", "D"): "NSE_FNO",
    ("NSE", "C"): "NSE_CURRENCY",
    ("BSE", "E"): "BSE_EQ",
    ("BSE", "D"): "BSE_FNO",
    ("BSE", "C"): "BSE_CURRENCY",
    ("MCX", "M"): "MCX_COMM",
    ("MCX", "D"): "MCX_COMM",
}
_ALL_SEGMENTS = tuple(dict.fromkeys(_SEGMENTS.values()))
# Short names for what stands before the colon; without one, shares come before indices.
_SHORT = {
    "NSE": ("NSE_EQ", "IDX_I"),
    "BSE": ("BSE_EQ",),
    "NFO": ("NSE_FNO",),
    "BFO": ("BSE_FNO",),
    "MCX": ("MCX_COMM",),
}
_KINDS = {
    "EQUITY", "INDEX", "FUTIDX", "OPTIDX", "FUTSTK", "OPTSTK", "FUTCOM", "OPTFUT", "FUTCUR", "OPTCUR",
}  # fmt: skip
# One share has a line for each of its series; the first of these is the one that trades as everybody means it.
_SERIES = ("EQ", "BE", "A", "B", "")
_PAISE = 100.0

# The list comes in two forms; the names of the columns by their meaning.
_COMPACT = {
    "exchange": "SEM_EXM_EXCH_ID",
    "letter": "SEM_SEGMENT",
    "number": "SEM_SMST_SECURITY_ID",
    "kind": "SEM_INSTRUMENT_NAME",
    "symbol": "SEM_TRADING_SYMBOL",
    "series": "SEM_SERIES",
    "lot": "SEM_LOT_UNITS",
    "tick": "SEM_TICK_SIZE",
}
_DETAILED = {
    "exchange": "EXCH_ID",
    "letter": "SEGMENT",
    "number": "SECURITY_ID",
    "kind": "INSTRUMENT",
    "symbol": "SYMBOL_NAME",
    "series": "SERIES",
    "lot": "LOT_SIZE",
    "tick": "TICK_SIZE",
}

_RENEW_HINT = (
    "an access token is good for 24 hours: renew it while it still works, or make a new one at web.dhan.co, and put it "
    "into config/.env."
)
_PLAN_HINT = "candles need the data plan: subscribe to 'Data APIs' at web.dhan.co."
_SYMBOL_HINT = "symbols are SEGMENT:SYMBOL, such as NSE_EQ:RELIANCE, IDX_I:NIFTY or NSE_FNO:...; RELIANCE and NIFTY do."
_CREDENTIAL_CODES = {901: _RENEW_HINT, 902: _PLAN_HINT, 806: _PLAN_HINT, 807: _RENEW_HINT, 808: _RENEW_HINT,
                     809: _RENEW_HINT, 810: "check DHAN_CLIENT_ID: it must belong to the access token."}  # fmt: skip
_LIMIT_CODES = {805, 904}
_PARAMETER_CODES = {811, 812, 813, 814, 905, 907}
_PASSING_CODES = {800, 908, 909}
# With this code an expired token has been captured at the candles; the documents give it to orders.
_ORDER_CODE = 906
_NO_DATA = ("no data", "data not available")


class _NoDataError(DataError):
    """The venue has nothing for the span; a page without candles."""


class Dhan:
    """Dhan, named DHAN.

    Args:
        environment: DHAN_BASE_URL, DHAN_INSTRUMENTS_URL, credentials, and BARWISE_HOME for the list of instruments.
        sleep, clock: Pause in seconds and monotonic seconds; replaced in tests.
        now: Seconds since 1970, for the day of the list of instruments; replaced in tests.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        exchange="DHAN",
        title="Dhan",
        intervals=_INTERVALS,
        page_bars={
            name: (_INTRADAY_DAYS if Timeframe(name).intraday else _DAILY_DAYS) * DAY_MS // Timeframe(name).ms
            for name in _INTERVALS
        },
        needs_key=True,
        credentials=(_CLIENT_ID, _ACCESS_TOKEN),
        volume_unit="shares",
        stream=True,
    )

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = Tokens(environment, self.capabilities.credentials)
        self._now = now
        self._seen_ms: int | None = None
        limiter = Limiter(_PER_WINDOW, _WINDOW_S, clock=clock, sleep=sleep)
        self._client = Client("DHAN", environment.get(_ADDRESS) or _DEFAULT_URL, limiter, self._judge, sleep=sleep)
        address = environment.get(_LIST_ADDRESS) or _DEFAULT_LIST
        parts = urlsplit(address)
        self._list_path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        # Another host, which wants no token and must not get one.
        list_limiter = Limiter(1, 1.0, clock=clock, sleep=sleep)
        list_host = f"{parts.scheme}://{parts.netloc}"
        self._list_client = Client("DHAN instruments", list_host, list_limiter, _judge_list, sleep=sleep)
        self._list = InstrumentList(
            "DHAN",
            "all",
            address,
            self._fetch_list,
            (frozenset(_COMPACT.values()), frozenset(_DETAILED.values())),
            _read_instrument,
            folder=instruments_folder(environment),
            now_ms=lambda: int(now() * 1000),
        )

    @property
    def client(self) -> Client:
        """The shared client, for its limit and its count of requests."""
        return self._client

    @property
    def token_expiry_ms(self) -> int | None:
        """When the access token ends by its own words, ms UTC; None where it does not say."""
        return self._tokens.expiry_ms(_ACCESS_TOKEN)

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles that open in [start_ms, end_ms) and some around them; of a span that is too long, the oldest.

        The first call of a day asks for the list of instruments as well. Prices are adjusted for bonuses and splits,
        volumes are not. Indices have one more bar a day, stamped 15:30, which is kept: the audit of candles names it.
        """
        if timeframe.name not in _INTERVALS:
            raise DataError(
                f"DHAN has no candles of {timeframe}.",
                hint=f"ask for one of {', '.join(_INTERVALS)} and resample.",
            )
        self._authorization()  # without a token there is no use in fetching a list
        instrument = self._instrument(symbol)
        end_ms = min(end_ms, start_ms + self.capabilities.page_bars[timeframe.name] * timeframe.ms)
        if start_ms >= end_ms:
            raise DataError(f"DHAN was to be asked for nothing: {symbol} from {indian_text(start_ms)}.")
        question: dict[str, Any] = {
            "securityId": instrument.number,
            "exchangeSegment": instrument.segment,
            "instrument": instrument.kind,
            "oi": False,
        }
        # The first day at its midnight, and the midnight at or after the end. That is right under each of the rules
        # that have been observed for the end: exclusive, inclusive, and ignored for today.
        first, last = indian_day(start_ms), indian_day(end_ms - 1) + timedelta(days=1)
        if timeframe.intraday:
            path = _INTRADAY
            question |= {
                "interval": _INTERVALS[timeframe.name],
                "fromDate": f"{first} 00:00:00",
                "toDate": f"{last} 00:00:00",
            }
        else:
            path = _DAILY
            question |= {"expiryCode": 0, "fromDate": str(first), "toDate": str(last)}
        try:
            body = self._client.ask("POST", path, body=question, headers=self._authorization).body
        except _NoDataError:
            if timeframe.intraday and end_ms <= self._now() * 1000 - _KEPT_DAYS * DAY_MS:
                # An empty page would be taken for a market that did not trade.
                raise _too_old(symbol, timeframe, end_ms) from None
            return Page.of_rows([])
        return _page(body, path)

    def server_time_ms(self) -> int:
        """The venue's clock to the second below, from the Date header; needs no credential."""
        self._seen_ms = None
        headers = None if self._tokens.missing() else self._authorization
        with suppress(CredentialError):  # a refusal has a date as well
            self._client.ask("GET", _PROFILE, headers=headers)
        if self._seen_ms is None:
            raise _unreadable(_PROFILE)
        return self._seen_ms

    def market(self, symbol: str) -> Market:
        """Steps of a market in rupees and units; fees are by the trade and in no answer."""
        instrument = self._instrument(symbol)
        return Market(symbol, tick_size=instrument.tick_size, lot_size=instrument.lot_size)

    def check_credentials(self) -> Check:
        """Whether the access token works, until when, and whether the data plan is active."""
        if missing := self._tokens.missing():
            return Check("credentials", False, f"{' and '.join(missing)} not set. {_RENEW_HINT}")
        try:
            body = self._client.ask("GET", _PROFILE, headers=self._authorization).body
        except CredentialError as error:
            return Check("credentials", False, str(error))
        if not isinstance(body, dict):
            raise _unreadable(_PROFILE)
        end_ms = _validity_ms(body.get("tokenValidity")) or self.token_expiry_ms
        until = f" until {indian_text(end_ms)[:-3]} Indian time" if end_ms else ""
        plan = body.get("dataPlan")
        if plan is not None and str(plan).lower() != "active":
            return Check(
                "credentials", False, f"the access token works{until}, but the data plan does not. {_PLAN_HINT}"
            )
        return Check("credentials", True, f"the access token works{until}, and the data plan is active.")

    def renew_token(self) -> str:
        """A new access token for another 24 hours; the old one ends with it.

        The adapter goes on with the new token; config/.env is the caller's business. Works only while the old one does.

        Raises:
            CredentialError: The old one does not work any more.
        """

        def headers() -> Mapping[str, str]:
            client_id, token = (self._tokens.take(name, hint=_RENEW_HINT) for name in (_CLIENT_ID, _ACCESS_TOKEN))
            return {"access-token": token, "dhanClientId": client_id}

        body = self._client.ask("GET", _RENEW, headers=headers).body
        token = (body.get("accessToken") or body.get("token")) if isinstance(body, dict) else None
        if not isinstance(token, str) or not token:
            raise _unreadable(_RENEW)
        self._tokens.replace(_ACCESS_TOKEN, token)
        return token

    def _instrument(self, symbol: str) -> Instrument:
        """The line of a symbol in the list; DataError with the nearest names where there is none."""
        segments, name = _segments_and_name(symbol)
        found = [
            one
            for one in self._list.named(name)
            if one.segment in segments and one.kind in _KINDS and one.number.isascii() and one.number.isdigit()
        ]
        if not found:
            raise DataError(
                f"DHAN has no market {symbol}.{self._list.suggestion(name, segments)}",
                hint=_SYMBOL_HINT,
            )

        def rank(one: Instrument) -> tuple[bool, int, int]:
            series = _SERIES.index(one.series) if one.series in _SERIES else len(_SERIES)
            return one.symbol != name, segments.index(one.segment), series

        found.sort(key=rank)
        if len(found) > 1 and rank(found[0]) == rank(found[1]) and found[0].number != found[1].number:
            raise DataError(
                f"DHAN has several markets {symbol}: {', '.join(one.number for one in found[:5])}.",
                hint="name one by its number, such as NSE_EQ:2885.",
            )
        return found[0]

    def _fetch_list(self) -> bytes:
        content: bytes = self._list_client.ask("GET", self._list_path, raw=True).body
        return content

    def _authorization(self) -> Mapping[str, str]:
        token, client_id = (self._tokens.take(name, hint=_RENEW_HINT) for name in (_ACCESS_TOKEN, _CLIENT_ID))
        return {"access-token": token, "client-id": client_id}

    def _judge(self, status: int, headers: Mapping[str, str], body: Any, _text: str) -> None:
        """Raise what an answer means ("Annexure", error codes); return where it is good.

        Errors come as {"errorType", "errorCode": "DH-905", "errorMessage"}, with a bare number as code, as
        {"errorCode": "NONE", "internalErrorCode": "RS-9005", "internalErrorMessage"}, and from what stands before
        the venue as {"timestamp", "status", "error", "path"}.
        """
        seen_ms = Answer(None, headers, status).server_time_ms
        if seen_ms is not None:
            self._seen_ms = seen_ms
        found = body if isinstance(body, dict) else {}
        code = _number(found.get("errorCode"))
        if status == 429 or code in _LIMIT_CODES:
            raise TransientError(too_fast("DHAN", status, None, found.get("errorCode")))
        if "errorCode" in found or "errorMessage" in found:
            internal = found.get("internalErrorCode")
            said = quote(found.get("errorMessage") or found.get("internalErrorMessage") or "no reason given")
            name = str(found.get("errorCode") if internal is None else internal)
            self._judge_code(code, name, said, status)
        by_status("DHAN", status, address=_ADDRESS)

    def _judge_code(self, code: int | None, name: str, said: str, status: int) -> None:
        message = f"DHAN says: {said} ({quote(name)}, HTTP {status})."
        if code in _CREDENTIAL_CODES:
            raise CredentialError(message, hint=_CREDENTIAL_CODES[code] + self._end_of_token())
        if code == _ORDER_CODE and "token" in said.lower():
            raise CredentialError(message, hint=_RENEW_HINT + self._end_of_token())
        if status in {401, 403}:
            raise CredentialError(message, hint=_RENEW_HINT + self._end_of_token())
        # DH-905 is the code of bad parameters and of "nothing there"; only the words tell which.
        if 400 <= status < 500 and any(words in said.lower() for words in _NO_DATA):
            raise _NoDataError(message, hint=_SYMBOL_HINT)
        if code in _PARAMETER_CODES:
            raise DataError(message, hint="check symbol and span; if they are right, this package needs an update.")
        if code in _PASSING_CODES or status == 408 or status >= 500:
            raise TransientError(
                APIError(message, hint="the venue is busy; run the same command again later.", status=status, code=name)
            )
        raise APIError(message, hint="look the code up in dhanhq.co/docs/v2/annexure.", status=status, code=name)

    def _end_of_token(self) -> str:
        """When the token has ended or will, for a hint; "" where it does not say."""
        end_ms = self.token_expiry_ms
        return f" This one says that it ends {indian_text(end_ms)[:-3]} Indian time." if end_ms else ""

    def __repr__(self) -> str:
        return "Dhan(DHAN)"


def _judge_list(status: int, _headers: Mapping[str, str], _body: Any, _text: str) -> None:
    if status == 429:
        raise TransientError(too_fast("DHAN instruments", status, None))
    by_status("DHAN instruments", status, address=_LIST_ADDRESS)


def _number(code: object) -> int | None:
    """A code as a number: "DH-905", "905" and 905 are one; None where it is none."""
    text = str(code).strip().upper().removeprefix("DH-")
    return int(text) if text.isascii() and text.isdigit() else None


def _page(body: Any, path: str) -> Page:
    """Columns of doubles; times are seconds since 1970."""
    try:
        columns = [body[name] for name in ("timestamp", *_PRICES)]
        if not all(isinstance(column, list) for column in columns):
            raise TypeError("columns must be lists")
        if len({len(column) for column in columns}) > 1:
            raise ValueError("columns must have one length")
        seconds, *prices = (np.array(column, dtype=np.float64) for column in columns)
        if not (np.isfinite(seconds).all() and (seconds == np.floor(seconds)).all()):
            raise ValueError("times must be whole seconds")
        return Page((seconds * 1000.0).astype(np.int64), *prices)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise _unreadable(path) from None


def _segments_and_name(symbol: str) -> tuple[tuple[str, ...], str]:
    """Where to look for a symbol, in this order, and under which name."""
    segment, colon, name = symbol.strip().partition(":")
    if not colon:
        segment, name = "NSE", segment
    segment, name = segment.strip().upper(), name.strip()
    if segment in _SHORT:
        segments = _SHORT[segment]
    elif segment in _ALL_SEGMENTS:
        segments = (segment,)
    else:
        raise DataError(
            f"DHAN has no segment {segment!r}.",
            hint=f"use one of {', '.join((*_ALL_SEGMENTS, *_SHORT))}.",
        )
    if not name:
        raise DataError(f"{symbol!r} names no market.", hint=_SYMBOL_HINT)
    return segments, name


def _read_instrument(row: Mapping[str, str]) -> Instrument | None:
    names = _COMPACT if _COMPACT["number"] in row else _DETAILED
    segment = _SEGMENTS.get((row[names["exchange"]], row[names["letter"]]))
    if segment is None:
        return None
    kind = row[names["kind"]]
    # In the detailed list, shares and indices have their long name where derivatives have their symbol.
    plain = names is _DETAILED and kind in {"EQUITY", "INDEX"}
    # Steps are in paise. Those of an index mean nothing: nobody trades it.
    tick = 0.0 if segment == "IDX_I" else float(row[names["tick"]] or 0) / _PAISE
    return Instrument(
        segment=segment,
        symbol=row["UNDERLYING_SYMBOL" if plain else names["symbol"]],
        number=row[names["number"]],
        kind=kind,
        series=row[names["series"]],
        tick_size=tick,
        lot_size=float(row[names["lot"]] or 0),
    )


def _validity_ms(text: object) -> int | None:
    """When the token ends by the profile, such as 06/04/2026 11:20 in Indian time; None where it cannot be read."""
    try:
        moment = datetime.strptime(str(text), "%d/%m/%Y %H:%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp() * 1000) - IST_MS


def _too_old(symbol: str, timeframe: Timeframe, end_ms: int) -> DataError:
    return DataError(
        f"DHAN has no {timeframe} candles of {symbol} before {indian_day(end_ms)}: it keeps the last five years.",
        hint="start later, or ask for 1D, which goes back to the listing.",
    )


def _unreadable(path: str) -> DataError:
    return DataError(
        f"DHAN answered {path} in a shape that its documentation does not have.",
        hint=f"check {_ADDRESS}; if it is right, the venue has changed and this package needs an update.",
    )
