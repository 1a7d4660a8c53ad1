"""Zerodha, Kite Connect v3: how it words questions and answers.

Candles need a paid plan and an access token, which a person gets by logging in (`login_url`, `exchange_request_token`)
and which dies at six in the morning, Indian time. Times on the wire are Indian, `to` is inclusive, and markets are
known by number. Nothing here can place an order. Facts are from kite.trade/docs/connect/v3 (2026-11); where it is
silent, the comment says who has observed it.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np

from barwise.data.sessions import IST_MS, indian_text
from barwise.errors import APIError, CredentialError, DataError
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.http import Answer, Client, Limiter, TransientError, too_fast
from barwise.exchange.instruments import Instrument, InstrumentList, instruments_folder
from barwise.exchange.tokens import Tokens
from barwise.exchange.verdicts import by_status, quote
from barwise.obs import hide
from barwise.timeframe import DAY_MS, HOUR_MS, Timeframe

_ADDRESS, _DEFAULT_URL = "ZERODHA_BASE_URL", "https://api.kite.trade"
_LOGIN_PAGE = "https://kite.zerodha.com/connect/login"
_API_KEY, _API_SECRET, _ACCESS_TOKEN = "ZERODHA_API_KEY", "ZERODHA_API_SECRET", "ZERODHA_ACCESS_TOKEN"

_INTERVALS = {
    "1M": "minute",
    "5M": "5minute",
    "15M": "15minute",
    "30M": "30minute",
    "1H": "60minute",
    "1D": "day",
}
# Days a request may span, from the server's own refusals ("interval exceeds max limit: 60 days").
_MOST_DAYS = {"1M": 60, "5M": 100, "15M": 200, "30M": 200, "1H": 400, "1D": 2000}
# Three requests a second for candles, ten for the rest (staff at the vendor's forum). Their windows and ours do not
# begin together, so ours is a little longer than a second.
_CANDLES_PER_WINDOW, _WINDOW_S = 3, 1.1
_CANDLE_WEIGHT, _OTHER_WEIGHT = 1.0, 0.3

_EXCHANGES = ("NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX")
_COLUMNS = frozenset({"instrument_token", "tradingsymbol", "tick_size", "lot_size", "instrument_type", "exchange"})
_PROFILE, _SESSION, _INSTRUMENTS = "/user/profile", "/session/token", "/instruments"
_HISTORICAL = "/instruments/historical"

_LOG_IN = "log in again and put the new access token into config/.env: it dies at 06:00 in the morning, Indian time."
_CREDENTIAL_HINTS = {
    "TokenException": _LOG_IN,
    "PermissionException": "only the paid Connect plan of an API key includes candles; look at developers.kite.trade.",
}
_PASSING_KINDS = {"DataException", "NetworkException", "GeneralException"}
_SYMBOL_HINT = "symbols are EXCHANGE:SYMBOL, such as NSE:RELIANCE, NSE:NIFTY 50 or NFO:...; without a colon it is NSE."


class Zerodha:
    """Zerodha's Kite Connect, named ZERODHA.

    Args:
        environment: ZERODHA_BASE_URL, credentials, and BARWISE_HOME for the lists of instruments.
        sleep, clock: Pause in seconds and monotonic seconds; replaced in tests.
        now: Seconds since 1970, for the day of a list of instruments; replaced in tests.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        exchange="ZERODHA",
        title="Zerodha",
        intervals=_INTERVALS,
        page_bars={name: days * DAY_MS // Timeframe(name).ms for name, days in _MOST_DAYS.items()},
        needs_key=True,
        credentials=(_API_KEY, _API_SECRET, _ACCESS_TOKEN),
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
        limiter = Limiter(_CANDLES_PER_WINDOW, _WINDOW_S, clock=clock, sleep=sleep)
        base_url = environment.get(_ADDRESS) or _DEFAULT_URL
        self._client = Client("ZERODHA", base_url, limiter, self._judge, headers={"X-Kite-Version": "3"}, sleep=sleep)
        self._lists = {
            exchange: InstrumentList(
                "ZERODHA",
                exchange,
                base_url,
                partial(self._fetch_list, exchange),
                (_COLUMNS,),
                _read_instrument,
                folder=instruments_folder(environment),
                now_ms=lambda: int(now() * 1000),
            )
            for exchange in _EXCHANGES
        }

    @property
    def client(self) -> Client:
        """The shared client, for its limit and its count of requests."""
        return self._client

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles that open in [start_ms, end_ms); of a span longer than the venue allows, the oldest.

        The first call of a day for an exchange asks for its list of instruments as well. The candle that is forming
        comes along. Prices are adjusted for splits and bonuses.
        """
        interval = self.capabilities.intervals.get(timeframe.name)
        if interval is None:
            raise DataError(
                f"ZERODHA has no candles of {timeframe}.",
                hint=f"ask for one of {', '.join(self.capabilities.intervals)} and resample.",
            )
        self._authorization()  # without a token there is no use in fetching a list
        number = self._instrument(symbol).number
        end_ms = min(end_ms, start_ms + self.capabilities.page_bars[timeframe.name] * timeframe.ms)
        query = {
            "from": indian_text(start_ms + 999),
            "to": indian_text(end_ms - 1),  # inclusive, in whole seconds
            "continuous": 0,
            "oi": 0,
        }
        body = self._ask("GET", f"{_HISTORICAL}/{number}/{interval}", query, weight=_CANDLE_WEIGHT).body
        try:
            return _page(body["data"]["candles"])
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
            raise _unreadable(_HISTORICAL) from None

    def server_time_ms(self) -> int:
        """The venue's clock to the second below, from the Date header; needs no credential."""
        self._seen_ms = None
        headers = None if self._tokens.missing(_API_KEY, _ACCESS_TOKEN) else self._authorization
        with suppress(CredentialError):  # a refusal has a date as well
            self._client.ask("GET", _PROFILE, headers=headers, weight=_OTHER_WEIGHT)
        if self._seen_ms is None:
            raise _unreadable(_PROFILE)
        return self._seen_ms

    def market(self, symbol: str) -> Market:
        """Steps of a market in rupees and units; fees are by the trade and in no answer."""
        instrument = self._instrument(symbol)
        return Market(symbol, tick_size=instrument.tick_size, lot_size=instrument.lot_size)

    def check_credentials(self) -> Check:
        """Whether the access token works, and until when."""
        if missing := self._tokens.missing(_API_KEY, _ACCESS_TOKEN):
            return Check("credentials", False, f"{' and '.join(missing)} not set. {_LOG_IN}")
        try:
            answer = self._ask("GET", _PROFILE)
        except CredentialError as error:
            return Check("credentials", False, str(error))
        now_ms = answer.server_time_ms or int(self._now() * 1000)
        return Check(
            "credentials",
            True,
            f"the access token works until {indian_text(token_end_ms(now_ms))[:-3]} Indian time. Whether the plan of "
            "the API key includes candles, only a question for candles tells.",
        )

    def login_url(self) -> str:
        """The page on which a person logs in; it leads to the address of the app, with a request token in it.

        Raises:
            CredentialError: ZERODHA_API_KEY is not set.
        """
        key = self._tokens.take(_API_KEY, hint="make an app at developers.kite.trade; its key and secret belong there.")
        return f"{_LOGIN_PAGE}?{urlencode({'v': 3, 'api_key': key})}"

    def exchange_request_token(self, request_token: str) -> str:
        """The access token for a request token, which is good for some minutes and for one time.

        The adapter goes on with the new token; config/.env is the caller's business.

        Args:
            request_token: The token, or the whole address to which the login page has led.

        Raises:
            CredentialError: No token in it, key or secret not set, or the venue does not accept them.
        """
        token = _request_token(request_token)
        hide(token)  # as good as the access token until it has been exchanged
        hint = "make an app at developers.kite.trade; its key and secret belong into config/.env."
        key, secret = (self._tokens.take(name, hint=hint) for name in (_API_KEY, _API_SECRET))
        checksum = hashlib.sha256(f"{key}{token}{secret}".encode()).hexdigest()
        form = urlencode({"api_key": key, "request_token": token, "checksum": checksum}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = self._client.ask("POST", _SESSION, body=form, headers=headers, weight=_OTHER_WEIGHT).body
        try:
            access_token = body["data"]["access_token"]
        except (KeyError, TypeError):
            access_token = None
        if not isinstance(access_token, str) or not access_token:
            raise _unreadable(_SESSION)
        self._tokens.replace(_ACCESS_TOKEN, access_token)
        return access_token

    def _instrument(self, symbol: str) -> Instrument:
        """The line of a symbol in its exchange's list; DataError with the nearest names where there is none."""
        exchange, name = _exchange_and_name(symbol)
        listed = self._lists[exchange]
        for instrument in listed.named(name):
            if instrument.segment == exchange and instrument.symbol == name:
                return instrument
        raise DataError(
            f"ZERODHA has no market {exchange}:{name}.{listed.suggestion(name, [exchange])}",
            hint=_SYMBOL_HINT,
        )

    def _fetch_list(self, exchange: str) -> bytes:
        headers = None if self._tokens.missing(_API_KEY, _ACCESS_TOKEN) else self._authorization
        path = f"{_INSTRUMENTS}/{exchange}"
        content: bytes = self._client.ask("GET", path, headers=headers, weight=_OTHER_WEIGHT, raw=True).body
        return content

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, *, weight: float = _OTHER_WEIGHT
    ) -> Answer:
        return self._client.ask(method, path, params=query, headers=self._authorization, weight=weight)

    def _authorization(self) -> Mapping[str, str]:
        key, token = (self._tokens.take(name, hint=_LOG_IN) for name in (_API_KEY, _ACCESS_TOKEN))
        return {"Authorization": f"token {key}:{token}"}

    def _judge(self, status: int, headers: Mapping[str, str], body: Any, _text: str) -> None:
        """Raise what an answer means ("Exceptions and errors"); return where it is good."""
        seen_ms = Answer(None, headers, status).server_time_ms
        if seen_ms is not None:
            self._seen_ms = seen_ms
        kind = body.get("error_type") if isinstance(body, dict) else None
        if status == 429:
            # Its kind is NetworkException, like that of an outage, and no header says how long to wait.
            raise TransientError(too_fast("ZERODHA", status, None, kind))
        if kind or (isinstance(body, dict) and body.get("status") == "error"):
            _judge_kind(str(kind or "no kind given"), quote(body.get("message") or "no reason given"), status)
        by_status("ZERODHA", status, address=_ADDRESS)

    def __repr__(self) -> str:
        return "Zerodha(ZERODHA)"


def token_end_ms(now_ms: int) -> int:
    """When an access token that works at an instant dies: the next 06:00 in India, ms UTC."""
    six = 6 * HOUR_MS - IST_MS
    return now_ms - (now_ms - six) % DAY_MS + DAY_MS


def _judge_kind(kind: str, said: str, status: int) -> None:
    message = f"ZERODHA says: {said} ({quote(kind)}, HTTP {status})."
    if kind in _CREDENTIAL_HINTS:
        raise CredentialError(message, hint=_CREDENTIAL_HINTS[kind])
    if kind == "InputException":
        raise DataError(message, hint="check symbol and span; if they are right, this package needs an update.")
    if status == 408 or status >= 500 or (kind in _PASSING_KINDS and status < 400):
        raise TransientError(
            APIError(message, hint="the venue is busy; run the same command again later.", status=status, code=kind)
        )
    raise APIError(
        message, hint=f"check {_ADDRESS}; kite.trade/docs explains the kinds of errors.", status=status, code=kind
    )


def _page(rows: Any) -> Page:
    """Columns from rows of (time, open, high, low, close, volume[, open interest]).

    Raises:
        TypeError, ValueError: The rows are not of this shape.
    """
    if not isinstance(rows, list):
        raise TypeError("candles must be a list")
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    stamps = np.array([_milliseconds(stamp) for stamp in columns[0]], dtype=np.int64)
    return Page(stamps, *(np.array(columns[at], dtype=np.float64) for at in range(1, 6)))


def _milliseconds(stamp: str) -> int:
    """A time such as 2017-12-15T09:15:00+0530; one without an offset would be nobody knows when."""
    moment = datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return round(moment.timestamp() * 1000)


def _exchange_and_name(symbol: str) -> tuple[str, str]:
    exchange, colon, name = symbol.strip().partition(":")
    if not colon:
        exchange, name = "NSE", exchange
    exchange, name = exchange.strip().upper(), name.strip()
    if exchange not in _EXCHANGES:
        raise DataError(f"ZERODHA has no exchange {exchange!r}.", hint=f"use one of {', '.join(_EXCHANGES)}.")
    if not name:
        raise DataError(f"{symbol!r} names no market.", hint=_SYMBOL_HINT)
    return exchange, name


def _read_instrument(row: Mapping[str, str]) -> Instrument | None:
    number = row["instrument_token"]
    if not number.isdigit():
        return None
    return Instrument(
        segment=row["exchange"],
        symbol=row["tradingsymbol"],
        number=number,
        kind=row["instrument_type"],
        tick_size=float(row["tick_size"] or 0),
        lot_size=float(row["lot_size"] or 0),
    )


def _request_token(text: str) -> str:
    """The token in what the user has copied: itself, or the address that has it as a parameter."""
    text = text.strip()
    if "request_token=" in text:
        found = parse_qs(urlsplit(text).query).get("request_token", [])
        text = found[0] if found else ""
    if not (text.isascii() and text.isalnum()):
        raise CredentialError(
            "There is no request token in that.",
            hint="after the login, copy the whole address of the page you were led to; it has request_token= in it.",
        )
    return text


def _unreadable(path: str) -> DataError:
    return DataError(
        f"ZERODHA answered {path} in a shape that its documentation does not have.",
        hint=f"check {_ADDRESS}; if it is right, the venue has changed and this package needs an update.",
    )
