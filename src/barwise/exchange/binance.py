"""Binance, spot and USD-M futures: how it words questions and answers.

Candles, mark prices, funding and filters need no key; a key that may only read shows the account's own fees. Nothing
here can place an order. Facts are from developers.binance.com (2026-11), section names in the comments.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from barwise.errors import APIError, BarwiseError, CredentialError, DataError, RateLimitError, did_you_mean
from barwise.exchange.archives import MonthFile, archive_client, fetch_file
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.http import Client, Limiter, TransientError, too_fast
from barwise.exchange.signing import Keys, SignedQuery
from barwise.exchange.verdicts import by_status, header_number, quote
from barwise.timeframe import HOUR_MS, MINUTE_MS, Timeframe

# Our 1M is one minute; Binance's own 1M is a month and is never sent.
INTERVALS: Mapping[str, str] = {name: name.lower() for name in Timeframe.names()}
# Left to other programs behind the same address: a tenth of every limit.
_SHARE = 0.9
_RECEIVE_WINDOW_MS = 10_000
# Weights count per minute, so a 429 without a Retry-After is over within one; a ban lasts two minutes or more.
_PAUSE_S, _SHORTEST_BAN_S = 60.0, 120.0
_FUNDING_ROWS = 1000

_CREDENTIAL_CODES = {-1002, -1022, -2008, -2014, -2015}
_PARAMETER_CODES = {-1100, -1101, -1102, -1103, -1104, -1105, -1106, -1120, -1128, -1130}
_PASSING_CODES = {-1000, -1001, -1006, -1007, -1008}
_LIMIT_CODE, _CLOCK_CODE, _SIGNATURE_CODE, _SYMBOL_CODE = -1003, -1021, -1022, -1121


class _UnknownSymbolError(DataError):
    """The venue does not know the symbol; the adapter adds its name and the nearest ones."""


class _Binance:
    """What spot and futures have in common.

    Args:
        environment: Base URLs (BINANCE_BASE_URL, BINANCE_FUTURES_BASE_URL, BINANCE_ARCHIVE_URL) and credentials.
        sleep, clock: Pause in seconds and monotonic seconds; replaced in tests.
        now: Seconds since 1970, for signatures; replaced in tests.
    """

    capabilities: ClassVar[Capabilities]
    _address: ClassVar[str]
    _default_url: ClassVar[str]
    _archive_market: ClassVar[str]
    _weight_per_minute: ClassVar[float]
    _klines: ClassVar[str]
    _clock_path: ClassVar[str]
    _names: ClassVar[tuple[str, float]]
    _symbol_hint: ClassVar[str]

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = Keys(environment, *self.capabilities.credentials)
        self._sleep, self._clock, self._now = sleep, clock, now
        self._banned_until = 0.0
        self._base_url = environment.get(self._address) or self._default_url
        self._limiter = Limiter(self._weight_per_minute * _SHARE, 60.0, clock=clock, sleep=sleep)
        self._client = Client(self._exchange, self._base_url, self._limiter, self._judge, sleep=sleep)
        self._archive = archive_client(environment, sleep=sleep, clock=clock)

    @property
    def _exchange(self) -> str:
        return self.capabilities.exchange

    @property
    def client(self) -> Client:
        """The shared client, for its limit and its count of requests."""
        return self._client

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles that open in [start_ms, end_ms), with quote volume; where there are more than a page, the oldest."""
        return self._candles(self._klines, symbol, timeframe, start_ms, end_ms, with_quote=True)

    def archive_month(self, symbol: str, timeframe: Timeframe, month: str) -> MonthFile | None:
        """A whole month, such as "2025-01", from the bulk archives; None where it is not published."""
        return fetch_file(self._archive, self._archive_market, symbol, timeframe, month)

    def server_time_ms(self) -> int:
        """The venue's clock."""
        answer = self._ask(self._clock_path, weight=1)
        stamp = answer.get("serverTime") if isinstance(answer, dict) else None
        if not isinstance(stamp, int):
            raise self._unreadable(self._clock_path)
        return stamp

    def _candles(
        self, path: str, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, *, with_quote: bool
    ) -> Page:
        limit, weight = self._price_of(-(-(end_ms - start_ms) // timeframe.ms), timeframe)
        query = {
            "symbol": symbol,
            "interval": INTERVALS[timeframe.name],
            "startTime": start_ms,
            "endTime": end_ms - 1,  # both ends are inclusive on the open time
            "limit": limit,
        }
        with self._naming(symbol):
            rows = self._ask(path, query, weight=weight)
        try:
            return _page(rows, with_quote=with_quote)
        except (TypeError, ValueError, IndexError, OverflowError):
            raise self._unreadable(path) from None

    def _price_of(self, bars: int, timeframe: Timeframe) -> tuple[int, float]:
        """The limit to send and the weight it costs, for a number of bars."""
        raise NotImplementedError

    def _ask(
        self,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        weight: float,
        signed: bool = False,
        client: Client | None = None,
    ) -> Any:
        if signed:
            parameters = SignedQuery(
                self._keys, {**(parameters or {}), "recvWindow": _RECEIVE_WINDOW_MS}, lambda: int(self._now() * 1000)
            )
        identity = {"X-MBX-APIKEY": self._keys.key} if signed else {}

        def headers() -> Mapping[str, str]:
            # Evaluated after the wait in the queue: whoever waited while another thread was banned asks nothing.
            self._refuse_while_banned()
            return identity

        return (client or self._client).ask("GET", path, params=parameters, headers=headers, weight=weight).body

    def _refuse_while_banned(self) -> None:
        """A request during a ban makes it longer, so none is sent."""
        left = self._banned_until - self._clock()
        if left > 0.0:
            raise self._banned(left)

    def _banned(self, seconds: float) -> RateLimitError:
        return RateLimitError(
            f"{self._exchange} has banned this address for {seconds:.0f} s (HTTP 418): it was asked too often.",
            hint="ask nothing until then, with any program behind this address; what is stored stays.",
            status=418,
            code=_LIMIT_CODE,
            retry_after=seconds,
        )

    def _judge(self, status: int, headers: Mapping[str, str], body: Any, text: str) -> None:
        """Raise what an answer means ("Error Codes", "Limits"); return where it is good."""
        used = header_number(headers, "X-MBX-USED-WEIGHT-1M")
        if used is not None:
            self._limiter.correct(used)
        code = body.get("code") if isinstance(body, dict) else None
        said = quote(body.get("msg", "")) if isinstance(body, dict) else ""
        asked = header_number(headers, "Retry-After")
        if status == 418:
            seconds = asked or _SHORTEST_BAN_S
            self._banned_until = self._clock() + seconds
            raise self._banned(seconds)
        if status == 429 or code == _LIMIT_CODE:
            seconds = _PAUSE_S if asked is None else asked
            raise TransientError(too_fast(self._exchange, status, seconds, code), seconds)
        if isinstance(code, int) and code < 0:
            self._judge_code(code, said, status)
        by_status(self._exchange, status, address=self._address)

    def _judge_code(self, code: int, said: str, status: int) -> None:
        message = f"{self._exchange} says: {said} (code {code}, HTTP {status})."
        if code == _SYMBOL_CODE or (code in _PARAMETER_CODES and "'symbol'" in said):
            raise _UnknownSymbolError(message)
        if code in _PASSING_CODES or status == 408 or status >= 500:
            raise TransientError(
                APIError(message, hint="the venue is busy; run the same command again later.", status=status, code=code)
            )
        if code == _CLOCK_CODE:
            raise APIError(
                message,
                hint="this computer's clock is wrong: turn on time synchronisation (NTP) and try again.",
                status=status,
                code=code,
            )
        if code in _CREDENTIAL_CODES:
            raise CredentialError(message, hint=self._credential_hint(code))
        if code in _PARAMETER_CODES:
            raise DataError(message, hint=self._symbol_hint)
        raise APIError(message, hint="look the code up in Binance's list of errors.", status=status, code=code)

    def _credential_hint(self, code: int) -> str:
        key, secret = self.capabilities.credentials
        if code == _SIGNATURE_CODE:
            return f"{secret} does not belong to {key}, or is not an HMAC secret; copy both again into config/.env."
        return (
            f"check {key}: it must be a key of this venue (the test network has its own) with 'Enable Reading', and "
            "this computer's address must be in its list; reading is enough."
        )

    @contextmanager
    def _naming(self, symbol: str) -> Iterator[None]:
        """Add the symbol and the nearest names to the error where the venue does not know it."""
        try:
            yield
        except _UnknownSymbolError:
            path, weight = self._names
            try:
                listed = self._ask(path, weight=weight)
                names = [row["symbol"] for row in listed]
            except (BarwiseError, TypeError, KeyError):
                names = []
            raise self._unknown(symbol, names) from None

    def _unknown(self, symbol: str, names: Sequence[str]) -> DataError:
        return DataError(
            f"{self._exchange} has no market {symbol}.{did_you_mean(symbol, names)}",
            hint=self._symbol_hint,
        )

    def _listed(self, path: str, answer: Any, symbol: str) -> Market:
        """The rules of one market from an answer of exchangeInfo."""
        try:
            markets = {str(market["symbol"]): market for market in answer["symbols"]}
            if symbol in markets:
                return _market(markets[symbol])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._unreadable(path) from None
        raise self._unknown(symbol, list(markets))

    def _fraction_pair(self, path: str, answer: Any, maker: str, taker: str) -> tuple[float, float]:
        try:
            return float(answer[maker]), float(answer[taker])
        except (KeyError, TypeError, ValueError):
            raise self._unreadable(path) from None

    def _verify(self, path: str, parameters: Mapping[str, Any], weight: float) -> Check | None:
        """Ask an account question; a Check where it settles the matter, None where the key works."""
        if len(self._keys.missing) == 2:
            return Check("credentials", True, f"{self._keys.missing[0]} is not set; candles need no key.")
        try:
            self._ask(path, parameters, weight=weight, signed=True)
        except CredentialError as error:
            return Check("credentials", False, str(error))
        except APIError as error:
            if error.code != _CLOCK_CODE:
                raise
            return Check("credentials", False, str(error))
        return None

    def _unreadable(self, path: str) -> DataError:
        return DataError(
            f"{self._exchange} answered {path} in a shape that its documentation does not have.",
            hint=f"check {self._address}; if it is right, the venue has changed and this package needs an update.",
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._exchange})"


class Binance(_Binance):
    """Binance spot, named BINANCE."""

    capabilities = Capabilities(
        exchange="BINANCE",
        title="Binance spot",
        intervals=INTERVALS,
        page_bars=dict.fromkeys(INTERVALS, 1000),
        needs_key=False,
        credentials=("BINANCE_API_KEY", "BINANCE_API_SECRET"),
        archives=True,
        stream=True,
    )
    _address = "BINANCE_BASE_URL"
    _default_url = "https://api.binance.com"
    _archive_market = "spot"
    _weight_per_minute = 6000
    _klines = "/api/v3/klines"
    _clock_path = "/api/v3/time"
    _names = ("/api/v3/ticker/price", 4)
    _symbol_hint = "symbols are upper case without a separator, such as BTCUSDT; futures markets are at BINANCE_UM."

    def _price_of(self, bars: int, timeframe: Timeframe) -> tuple[int, float]:
        # Weight 2 for any limit; without a limit only 500 rows come back.
        return self.capabilities.page_bars[timeframe.name], 2

    def market(self, symbol: str) -> Market:
        """Steps, smallest order and status; without fees, which are the account's (`commission`)."""
        path = "/api/v3/exchangeInfo"
        with self._naming(symbol):
            answer = self._ask(path, {"symbol": symbol}, weight=20)
        return self._listed(path, answer, symbol)

    def commission(self, symbol: str) -> tuple[float, float]:
        """The account's own maker and taker fee as fractions; needs a key.

        Standard, special and tax rates and the dearer of the two sides' extras are added up. The rebate for paying in
        BNB is left out: it ends with the last BNB of the account.
        """
        path = "/api/v3/account/commission"
        with self._naming(symbol):
            answer = self._ask(path, {"symbol": symbol}, weight=20, signed=True)
        maker = taker = 0.0
        for part in ("standardCommission", "specialCommission", "taxCommission"):
            rates = answer.get(part) if isinstance(answer, dict) else None
            if rates is None and part == "specialCommission":  # younger than the other two
                continue
            of_makers, of_takers = self._fraction_pair(path, rates, "maker", "taker")
            side = max(self._fraction_pair(path, rates, "buyer", "seller"))
            maker, taker = maker + of_makers + side, taker + of_takers + side
        return maker, taker

    def check_credentials(self) -> Check:
        """Whether the key works, and whether it may do more than read."""
        settled = self._verify("/api/v3/account", {"omitZeroBalances": "true"}, weight=20)
        return settled or Check("credentials", True, f"the key works{self._excess()}.")

    def _excess(self) -> str:
        """What the key may do beyond reading, in words; "" where it may not or the venue does not tell."""
        try:
            # Not on the test network, and not for every kind of key.
            rights = self._ask("/sapi/v1/account/apiRestrictions", weight=1, signed=True)
        except BarwiseError:
            return "; what else it may do is not known"
        if not isinstance(rights, dict):
            return "; what else it may do is not known"
        words = {
            "enableWithdrawals": "withdraw",
            "enableInternalTransfer": "transfer",
            "enableSpotAndMarginTrading": "trade",
            "enableFutures": "trade futures",
        }
        excess = [word for right, word in words.items() if rights.get(right) is True]
        if not excess:
            return " and may only read"
        return f", but WARNING: it may also {', '.join(excess)}; reading is enough, so take these rights away"


class BinanceFutures(_Binance):
    """Binance USD-M futures, named BINANCE_UM."""

    capabilities = Capabilities(
        exchange="BINANCE_UM",
        title="Binance USD-M futures",
        intervals=INTERVALS,
        # The weight of a request is 1 below 100 rows, 2 below 500, 5 up to 1000 and 10 above. 499 rows are the cheapest
        # per row, but only a caller with more than 8 requests a second ever meets the limit of 2400 a minute; one who
        # waits for each answer is bound by their number, and 1500 rows would bind him at 4 a second. 1000 it is.
        page_bars=dict.fromkeys(INTERVALS, 1000),
        needs_key=False,
        credentials=("BINANCE_API_KEY", "BINANCE_API_SECRET"),
        funding=True,
        mark_price=True,
        archives=True,
        stream=True,
    )
    _address = "BINANCE_FUTURES_BASE_URL"
    _default_url = "https://fapi.binance.com"
    _archive_market = "futures/um"
    _weight_per_minute = 2400
    _klines = "/fapi/v1/klines"
    _clock_path = "/fapi/v1/time"
    _names = ("/fapi/v1/ticker/price", 2)
    _symbol_hint = "symbols are upper case without a separator, such as BTCUSDT; spot markets are at BINANCE."

    # Contracts pay every 8, 4 or 1 hours; within this span one page has every payment of any of them.
    funding_page_ms: ClassVar[int] = _FUNDING_ROWS * HOUR_MS

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(environment, sleep=sleep, clock=clock, now=now)
        # Funding has a limit of its own: 500 requests in 5 minutes for each address.
        funding_limit = Limiter(500 * _SHARE, 300.0, clock=clock, sleep=sleep)
        self._funding_client = Client(self._exchange, self._base_url, funding_limit, self._judge, sleep=sleep)

    def _price_of(self, bars: int, timeframe: Timeframe) -> tuple[int, float]:
        limit = max(1, min(bars, self.capabilities.page_bars[timeframe.name]))
        return limit, 1 if limit < 100 else 2 if limit < 500 else 5

    def mark_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles of the mark price; their volume is 0."""
        return self._candles("/fapi/v1/markPriceKlines", symbol, timeframe, start_ms, end_ms, with_quote=False)

    def funding_page(self, symbol: str, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
        """Funding payments in [start_ms, end_ms), ascending, the oldest 1000.

        Returns:
            Pairs of time and rate: ms UTC floored to the minute (the venue's stamps are up to 31 ms late), and a
            fraction of the position's value that longs pay to shorts.
        """
        path = "/fapi/v1/fundingRate"
        query = {"symbol": symbol, "startTime": start_ms, "endTime": end_ms - 1, "limit": _FUNDING_ROWS}
        with self._naming(symbol):
            rows = self._ask(path, query, weight=1, client=self._funding_client)
        if not isinstance(rows, list):
            raise self._unreadable(path)
        try:
            return [(row["fundingTime"] // MINUTE_MS * MINUTE_MS, float(row["fundingRate"])) for row in rows]
        except (KeyError, TypeError, ValueError):
            raise self._unreadable(path) from None

    def market(self, symbol: str) -> Market:
        """Steps, smallest order and status; the venue tells them for all contracts at once."""
        path = "/fapi/v1/exchangeInfo"
        return self._listed(path, self._ask(path, weight=1), symbol)

    def commission(self, symbol: str) -> tuple[float, float]:
        """The account's own maker and taker fee as fractions; needs a key."""
        path = "/fapi/v1/commissionRate"
        with self._naming(symbol):
            answer = self._ask(path, {"symbol": symbol}, weight=20, signed=True)
        return self._fraction_pair(path, answer, "makerCommissionRate", "takerCommissionRate")

    def check_credentials(self) -> Check:
        """Whether the key works for futures; what else it may do, only the spot side tells."""
        settled = self._verify("/fapi/v2/account", {}, weight=5)
        return settled or Check("credentials", True, "the key works; reading is enough, so let it do nothing else.")


def _page(rows: Any, *, with_quote: bool) -> Page:
    """Columns from rows of (open time, open, high, low, close, volume, close time, quote volume, ...).

    Prices are strings; each goes through float(), which rounds correctly.

    Raises:
        TypeError, ValueError, IndexError: The rows are not of this shape.
    """
    if not isinstance(rows, list):
        raise TypeError("rows must be a list")
    columns = list(zip(*rows, strict=True)) if rows else [()] * 8
    if not all(type(stamp) is int for stamp in columns[0]):
        raise TypeError("times must be integers")
    first, high, low, last, volume = (np.array(columns[at], dtype=np.float64) for at in range(1, 6))
    quote_volume = np.array(columns[7], dtype=np.float64) if with_quote else None
    return Page(np.array(columns[0], dtype=np.int64), first, high, low, last, volume, quote_volume)


def _market(listed: Mapping[str, Any]) -> Market:
    """Rules from one element of exchangeInfo ("Filters")."""
    filters = {item["filterType"]: item for item in listed["filters"]}
    # NOTIONAL has replaced MIN_NOTIONAL on most spot markets; futures keep the old name with another field.
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    return Market(
        symbol=listed["symbol"],
        tick_size=float(filters["PRICE_FILTER"]["tickSize"]),
        lot_size=float(filters["LOT_SIZE"]["stepSize"]),
        min_notional=float(notional.get("minNotional", notional.get("notional", 0.0))),
        status=str(listed["status"]),
    )
