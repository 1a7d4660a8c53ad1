"""Delta Exchange India: how it words questions and answers.

Candles, mark prices, funding and products are public. api.delta.exchange is another venue (Global), with other products
and other keys. Nothing here can place an order. Facts are from docs.delta.exchange (2026-11); where it is silent, the
comment says who has observed it.
"""

import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar
from urllib.parse import quote as url_quote

import numpy as np

from barwise.errors import APIError, BarwiseError, CredentialError, DataError, did_you_mean
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.http import Answer, Client, Limiter, TransientError, too_fast
from barwise.exchange.signing import Keys
from barwise.exchange.verdicts import by_status, header_number, quote
from barwise.timeframe import HOUR_MS, Timeframe

_ADDRESS, _DEFAULT_URL = "DELTA_BASE_URL", "https://api.india.delta.exchange"
# Which 2000 candles of a longer span come back is not documented, so fewer are asked for.
_PAGE_BARS = 1900
_WINDOW_S = 300.0
_CANDLE_UNITS, _OTHER_UNITS = 3, 1
_PRODUCTS_PER_PAGE, _MOST_PRODUCT_PAGES = 500, 20
_FUNDING_INTERVAL_S = 28_800

_CANDLES, _PRODUCTS, _BALANCES = "/v2/history/candles", "/v2/products", "/v2/wallet/balances"
_CREDENTIAL_HINTS = {
    "invalidapikey": "check DELTA_API_KEY: it must be a key of Delta Exchange India; the Global venue has others.",
    "unauthorizedapiaccess": "give the key reading rights at Delta Exchange India; more is not needed.",
    "ipnotwhitelistedforapikey": "add this computer's address to the key's list, or make a key that may only read: "
    "it needs no list.",
    "invalidsignature": "DELTA_API_SECRET does not belong to DELTA_API_KEY; copy both again into config/.env.",
    "signaturemismatch": "DELTA_API_SECRET does not belong to DELTA_API_KEY; copy both again into config/.env.",
}
_CLOCK_CODES = {"signatureexpired", "expiredsignature"}
_UNKNOWN_CODES = {"notfound", "resourcenotfound", "productnotfound", "invalidcontract", "invalidsymbol"}
_PARAMETER_CODES = {"badschema", "validationerror", "invalidparameter"}
_PASSING_CODES = {"unavailable", "internalservererror", "timeout"}


class Delta:
    """Delta Exchange India, named DELTA.

    Volumes are converted from contracts to base units with the product's contract value, which is looked up once.

    Args:
        environment: DELTA_BASE_URL and credentials.
        sleep, clock: Pause in seconds and monotonic seconds; replaced in tests.
        now: Seconds since 1970, for signatures; replaced in tests.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        exchange="DELTA",
        title="Delta Exchange India",
        # 1W is served, but the day on which its weeks open is not documented: ours are made from 1D.
        intervals={name: name.lower() for name in Timeframe.names() if name != "1W"},
        page_bars=dict.fromkeys((name for name in Timeframe.names() if name != "1W"), _PAGE_BARS),
        needs_key=False,
        credentials=("DELTA_API_KEY", "DELTA_API_SECRET"),
        funding=True,
        mark_price=True,
        stream=True,
    )
    # One hour less than a page: the rate that is paid at the start of a span is the close of the hour before.
    funding_page_ms: ClassVar[int] = (_PAGE_BARS - 1) * HOUR_MS

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = Keys(environment, *self.capabilities.credentials)
        self._now = now
        self._products: dict[str, Mapping[str, Any]] = {}
        # 10,000 units in fixed windows of 5 minutes; a tenth is left to other programs behind the same address.
        limiter = Limiter(9000, _WINDOW_S, clock=clock, sleep=sleep)
        self._client = Client("DELTA", environment.get(_ADDRESS) or _DEFAULT_URL, limiter, _judge, sleep=sleep)

    @property
    def client(self) -> Client:
        """The shared client, for its limit and its count of requests."""
        return self._client

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles that open in [start_ms, end_ms), newest first as they come; of a longer span the oldest 1900.

        The first call for a symbol asks for its product as well, unless `market` has.
        """
        value = _base_per_contract(self._product(symbol))
        rows = self._candles(symbol, timeframe, start_ms, end_ms)
        page = _page(rows, _number)
        # As a fraction, 1 contract in 1000 of a coin is one correctly rounded division.
        return page._replace(volume=page.volume * value.numerator / value.denominator)

    def mark_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles of the mark price; their volume is 0."""
        self._product(symbol)
        return _page(self._candles(f"MARK:{symbol}", timeframe, start_ms, end_ms), lambda _: 0.0)

    def funding_page(self, symbol: str, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
        """Funding payments in [start_ms, end_ms), ascending; of a span longer than `funding_page_ms` the oldest.

        The venue has no list of payments, but hourly candles of the rate in percent, which moves until it is paid. What
        is paid at an instant is taken to be the close of the hour that ends there, for the instants at which the
        product pays (`rate_exchange_interval`, counted from midnight UTC). The documentation does not say so; one
        public project picks the same hours. Where there are candles at those instants only, they are the payments.

        Returns:
            Pairs of ms UTC and a fraction of the position's value that longs pay to shorts.
        """
        specs = self._product(symbol).get("product_specs") or {}
        try:
            every_ms = int(specs.get("rate_exchange_interval") or _FUNDING_INTERVAL_S) * 1000
        except (AttributeError, TypeError, ValueError):
            raise _unreadable(_PRODUCTS) from None
        rows = self._candles(f"FUNDING:{symbol}", Timeframe("1H"), start_ms - HOUR_MS, end_ms)
        page = _page(rows, lambda _: 0.0)
        only_payments = every_ms > HOUR_MS and not (page.time % every_ms).any()
        instants = page.time if only_payments else page.time + HOUR_MS
        paid = zip(instants.tolist(), (page.close / 100.0).tolist(), strict=True)
        return sorted((at, rate) for at, rate in paid if at % every_ms == 0 and start_ms <= at < end_ms)

    def server_time_ms(self) -> int:
        """The venue's clock to the second below, from the Date header; a cached answer's Age is added."""
        answer = self._ask(f"{_PRODUCTS}/BTCUSD", units=_CANDLE_UNITS)
        stamp = answer.server_time_ms
        if stamp is None:
            raise _unreadable(_PRODUCTS)
        return stamp + int((header_number(answer.headers, "Age") or 0.0) * 1000)

    def market(self, symbol: str) -> Market:
        """Steps and fees of a product.

        An order is a whole number of contracts, so the lot is one contract in base units. Fees are the venue's own, and
        come without the 18 % GST that Indian residents pay on them.
        """
        product = self._look_up(symbol)
        value = float(_base_per_contract(product))
        try:
            state, trading = str(product["state"]), str(product.get("trading_status") or "operational")
            return Market(
                symbol=symbol,
                tick_size=float(product["tick_size"]),
                lot_size=value,
                contract_size=value,
                maker_fee=_optional(product.get("maker_commission_rate")),
                taker_fee=_optional(product.get("taker_commission_rate")),
                status=state if trading == "operational" else trading,
            )
        except (KeyError, TypeError, ValueError):
            raise _unreadable(_PRODUCTS) from None

    def symbols(self) -> list[str]:
        """Names of all live products: one request for each page of them, 500 to a page."""
        names: list[str] = []
        query: dict[str, Any] = {"page_size": _PRODUCTS_PER_PAGE}
        for _ in range(_MOST_PRODUCT_PAGES):
            body = self._ask(_PRODUCTS, query, units=_CANDLE_UNITS).body
            try:
                names += [str(product["symbol"]) for product in body["result"]]
                after = (body.get("meta") or {}).get("after")
            except (AttributeError, KeyError, TypeError):
                raise _unreadable(_PRODUCTS) from None
            if not after:
                break
            query["after"] = after
        return names

    def check_credentials(self) -> Check:
        """Whether the key works."""
        if len(self._keys.missing) == 2:
            return Check("credentials", True, "DELTA_API_KEY is not set; candles need no key.")
        try:
            self._ask(_BALANCES, units=_CANDLE_UNITS, signed=True)
        except CredentialError as error:
            return Check("credentials", False, str(error))
        except APIError as error:
            if _plain(error.code) not in _CLOCK_CODES:
                raise
            return Check("credentials", False, str(error))
        return Check("credentials", True, "the key works; reading is enough, so let it do nothing else.")

    def _candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Any:
        interval = self.capabilities.intervals.get(timeframe.name)
        if interval is None:
            raise DataError(
                f"DELTA has no candles of {timeframe} that fit ours.",
                hint=f"ask for one of {', '.join(self.capabilities.intervals)} and resample.",
            )
        end_ms = min(end_ms, start_ms + _PAGE_BARS * timeframe.ms)
        query = {
            "symbol": symbol,
            "resolution": interval,
            "start": -(-start_ms // 1000),
            "end": (end_ms - 1) // 1000,  # both ends are inclusive
        }
        return _result(self._ask(_CANDLES, query, units=_CANDLE_UNITS).body, _CANDLES)

    def _product(self, symbol: str) -> Mapping[str, Any]:
        return self._products.get(symbol) or self._look_up(symbol)

    def _look_up(self, symbol: str) -> Mapping[str, Any]:
        """Ask for a product; DataError with the nearest names where there is none."""
        path = f"{_PRODUCTS}/{url_quote(symbol, safe='')}"
        try:
            product = _result(self._ask(path, units=_CANDLE_UNITS).body, _PRODUCTS)
        except DataError:
            # How an unknown symbol is answered is not documented: any refusal of the question is checked with the list.
            self._raise_unless_listed(symbol)
            raise
        if not isinstance(product, dict) or product.get("symbol") != symbol:
            self._raise_unless_listed(symbol)
            raise _unreadable(_PRODUCTS)
        self._products[symbol] = product
        return product

    def _raise_unless_listed(self, symbol: str) -> None:
        try:
            names = self.symbols()
        except BarwiseError:
            names = []
        if symbol not in names:
            raise DataError(
                f"DELTA has no product {symbol}.{did_you_mean(symbol, names)}",
                hint="symbols are written as the venue does, such as BTCUSD.",
            ) from None

    def _ask(
        self, path: str, query: Mapping[str, Any] | None = None, *, units: float = _OTHER_UNITS, signed: bool = False
    ) -> Answer:
        """Ask; a signed question has no query, and is signed anew for each try because a signature is good for 5 s."""
        if not signed:
            return self._client.ask("GET", path, params=query, weight=units)
        key = self._keys.key

        def headers() -> Mapping[str, str]:
            stamp = str(int(self._now()))
            return {"api-key": key, "timestamp": stamp, "signature": self._keys.sign(f"GET{stamp}{path}")}

        return self._client.ask("GET", path, headers=headers, weight=units)

    def __repr__(self) -> str:
        return "Delta(DELTA)"


def _judge(status: int, headers: Mapping[str, str], body: Any, _text: str) -> None:
    """Raise what an answer means; return where it is good.

    Errors come in two shapes: {"success": false, "error": {"code", "context"}} from the venue, and
    {"error": "Name", "message": "..."} from what stands before it.
    """
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else error
    if status == 429 or _plain(code) == "toomanyrequests":
        # Milliseconds, unlike everybody else's.
        reset = header_number(headers, "X-RATE-LIMIT-RESET")
        pause = 0.0 if reset is None else reset / 1000.0
        raise TransientError(too_fast("DELTA", status, pause or None, code), pause)
    if code or (isinstance(body, dict) and body.get("success") is False):
        _judge_code(str(code or "no reason given"), body.get("message"), status)
    by_status("DELTA", status, address=_ADDRESS)


def _judge_code(code: str, explained: object, status: int) -> None:
    said = f"{quote(code)}: {quote(explained)}" if explained else quote(code)
    message = f"DELTA says: {said} (HTTP {status})."
    name = _plain(code)
    if name in _PASSING_CODES:
        raise TransientError(
            APIError(message, hint="the venue is busy; run the same command again later.", status=status, code=code)
        )
    if name in _CREDENTIAL_HINTS:
        raise CredentialError(message, hint=_CREDENTIAL_HINTS[name])
    if name in _CLOCK_CODES:
        raise APIError(
            message,
            hint="this computer's clock is wrong: turn on time synchronisation (NTP) and try again.",
            status=status,
            code=code,
        )
    if name in _UNKNOWN_CODES or name in _PARAMETER_CODES or status == 404:
        raise DataError(message, hint="symbols are written as the venue does, such as BTCUSD.")
    if status in {401, 403, 408, 451} or status >= 500:
        by_status("DELTA", status, address=_ADDRESS)
    raise APIError(message, hint="look the code up in Delta Exchange's documentation.", status=status, code=code)


def _plain(code: object) -> str:
    """A code as one lower-case word: the same code is written invalid_api_key, InvalidApiKey and "Invalid Api Key"."""
    return "".join(letter for letter in str(code).lower() if letter.isalnum())


def _page(rows: Any, volume_of: Callable[[Any], float]) -> Page:
    """Candles from objects; one without any price is a bar without a trade and is left out, as most of them are."""
    if not isinstance(rows, list):
        raise _unreadable(_CANDLES)
    try:
        table = [
            (row["time"], row["open"], row["high"], row["low"], row["close"], volume_of(row.get("volume")))
            for row in rows
            if not (row["open"] is row["high"] is row["low"] is row["close"] is None)
        ]
        columns = list(zip(*table, strict=True)) if table else [()] * 6
        if not all(type(stamp) is int for stamp in columns[0]):
            raise TypeError("times must be integers")
        stamps = np.array(columns[0], dtype=np.int64) * 1000
        return Page(stamps, *(np.array(column, dtype=np.float64) for column in columns[1:]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise _unreadable(_CANDLES) from None


def _number(value: Any) -> float:
    if value is None:
        raise TypeError("volume is missing")
    return float(value)


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _base_per_contract(product: Mapping[str, Any]) -> Fraction:
    """Base units of one contract.

    Raises:
        DataError: The contract is inverse (worth a fixed number of dollars), which this engine does not account for.
    """
    if product.get("notional_type") == "inverse":
        raise DataError(
            f"{product.get('symbol')} is an inverse contract; only linear ones can be used.",
            hint="Delta Exchange India has linear ones only: check that DELTA_BASE_URL is not the Global venue's.",
        )
    try:
        value = Fraction(str(product["contract_value"]))
    except (KeyError, ValueError, ZeroDivisionError):
        raise _unreadable(_PRODUCTS) from None
    if value <= 0:
        raise _unreadable(_PRODUCTS)
    return value


def _result(body: Any, path: str) -> Any:
    if not isinstance(body, dict) or "result" not in body:
        raise _unreadable(path)
    return body["result"]


def _unreadable(path: str) -> DataError:
    return DataError(
        f"DELTA answered {path} in a shape that its documentation does not have.",
        hint=f"check {_ADDRESS}; if it is right, the venue has changed and this package needs an update.",
    )
