"""CCXT:<id>: spot candles of any other venue, through the optional library ccxt.

ccxt is asked for one page at a time and without its own retries; its errors end here. It calls many things a success
that are none, such as an empty list for a span that the venue does not reach back to: what can be told of that is
refused here, the rest is doubted by `download` like any other answer. ccxt is imported only when such a venue is named.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from barwise.data.quality import utc_text
from barwise.errors import APIError, ConfigError, CredentialError, DataError, did_you_mean
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.http import READ_S, too_fast
from barwise.exchange.venues import FOREIGN_PREFIX
from barwise.exchange.verdicts import quote
from barwise.timeframe import Timeframe

# Where ccxt does not know the venue's own limit; every venue gives this many.
_PAGE_BARS = 100
# ccxt's ways to write the precision of a market (ccxt.base.decimal_to_precision); significant digits are no step.
_DECIMAL_PLACES, _TICK_SIZE = 2, 4


def address_of(name: str) -> str:
    """The variable that sets another address for a venue: CCXT_KRAKEN_BASE_URL for CCXT:KRAKEN."""
    return f"{name.replace(':', '_')}_BASE_URL"


@lru_cache
def capabilities_of(name: str) -> Capabilities:
    """What ccxt says that a venue offers.

    Raises:
        ConfigError: ccxt is not installed, does not know the venue, or has no candles of it.
    """
    exchange = _made(name)
    words = getattr(exchange, "timeframes", None) or {}
    if exchange.has.get("fetchOHLCV") is not True or not words:
        raise ConfigError(f"{name} has no candles in ccxt.", hint="use another venue.")
    intervals = {frame: frame.lower() for frame in Timeframe.names() if frame.lower() in words}
    spot = (getattr(exchange, "features", None) or {}).get("spot") or {}
    limit = (spot.get("fetchOHLCV") or {}).get("limit") or _PAGE_BARS
    return Capabilities(
        exchange=name,
        title=f"{exchange.name} through ccxt",
        intervals=intervals,
        page_bars=dict.fromkeys(intervals, int(limit)),
        needs_key=False,
        credentials=(),
    )


class Foreign:
    """One venue through ccxt, named CCXT:<id>; spot markets, whose volume ccxt counts in base units.

    Args:
        name: CCXT:<id>, upper case.
        environment: CCXT_<ID>_BASE_URL, where the venue is asked at another address.
        sleep, clock: Not used: ccxt keeps the venue's limit by itself.
        now: Seconds since 1970; replaced in tests.

    Raises:
        ConfigError: ccxt is not installed, does not know the venue, or has no candles of it.
    """

    client = None

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.capabilities = capabilities_of(name)
        self._name, self._now = name, now
        self._exchange = _made(name)
        self._lock = threading.Lock()  # ccxt's objects are not for several threads
        address = environment.get(address_of(name))
        if address:
            self._exchange.urls["api"] = _moved(self._exchange.urls["api"], address.rstrip("/"))

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles from start_ms on, a page of them; the first call asks for the list of markets before.

        Raises:
            DataError: The venue has no such spot market, does not reach back so far, or answers in no shape of candles.
        """
        # Always a whole page: fewer would hide an answer that is the latest candles whatever was asked for.
        with self._asking():
            market = self._market(symbol)
            word = self.capabilities.intervals[timeframe.name]
            limit = self.capabilities.page_bars[timeframe.name]
            rows = self._exchange.fetch_ohlcv(market["symbol"], word, start_ms, limit)
            if not rows:
                # To ccxt a page of HTML and half an answer are lists without candles; what is no JSON ends here.
                json.loads(self._exchange.last_http_response)
            page = Page.of_rows(rows)
        if len(page.time) and page.time.min() >= end_ms and page.time.max() + 2 * timeframe.ms > self._now() * 1000:
            first = utc_text(int(page.time.min()))
            raise DataError(
                f"{self._name} has {symbol} {timeframe} candles only from {first} on, and was asked for earlier ones.",
                hint=f"start at {first} or later; some venues give their latest candles only.",
            )
        return page

    def server_time_ms(self) -> int:
        """The venue's clock, from its time endpoint or the Date header of its list of markets."""
        with self._asking():
            if self._exchange.has.get("fetchTime") is True:
                return int(self._exchange.fetch_time())
            self._exchange.load_markets(True)
            headers = {key.lower(): value for key, value in (self._exchange.last_response_headers or {}).items()}
            return int(parsedate_to_datetime(headers["date"]).timestamp() * 1000)

    def market(self, symbol: str) -> Market:
        """The market's rules as ccxt words them; its fees are the venue's public ones."""
        with self._asking():
            market = self._market(symbol)
            limits, active = market.get("limits") or {}, market.get("active")
            return Market(
                symbol=str(market["symbol"]),
                tick_size=self._step(market, "price"),
                lot_size=self._step(market, "amount"),
                min_notional=float((limits.get("cost") or {}).get("min") or 0.0),
                maker_fee=_number(market.get("maker")),
                taker_fee=_number(market.get("taker")),
                status="" if active is None else "active" if active else "not active",
            )

    def check_credentials(self) -> Check:
        """No key is read: public candles need none."""
        return Check("credentials", True, "candles need no key, and none is read.")

    def _market(self, symbol: str) -> Any:
        self._exchange.load_markets()
        spot = {name.upper(): market for name, market in self._exchange.markets.items() if market.get("spot")}
        if symbol.upper() not in spot:
            raise DataError(
                f"{self._name} has no spot market {symbol}.{did_you_mean(symbol, spot)}",
                hint="symbols are those of ccxt, such as BTC/USDT; only spot markets are served.",
            )
        return spot[symbol.upper()]

    def _step(self, market: Any, what: str) -> float:
        precision = (market.get("precision") or {}).get(what)
        if precision is None:
            return 0.0
        if self._exchange.precisionMode == _TICK_SIZE:
            return float(precision)
        return float(10 ** -int(precision)) if self._exchange.precisionMode == _DECIMAL_PLACES else 0.0

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """One thread at a time, and nothing of ccxt or of the libraries below it gets out."""
        ccxt = _library()
        with self._lock:
            try:
                yield
            except DataError:
                raise
            except (ccxt.RateLimitExceeded, ccxt.DDoSProtection):
                raise too_fast(self._name, 429, None) from None
            except ccxt.AuthenticationError as error:
                raise CredentialError(
                    f"{self._name} asks for a key: {quote(error)}.",
                    hint="only candles that need no key can be had through ccxt; use another venue.",
                ) from None
            except ccxt.NetworkError as error:
                raise APIError(
                    f"{self._name} could not be reached or is not available: {quote(error)}.",
                    hint="check the network and the venue's status page, then try again: what is stored stays.",
                ) from None
            except ccxt.BadRequest as error:
                raise DataError(
                    f"{self._name} refuses the question: {quote(error)}.", hint="check symbol, timeframe and dates."
                ) from None
            except ccxt.BaseError as error:
                raise APIError(
                    f"{self._name} answered with an error: {quote(error)}.",
                    hint="look the venue's words up; a newer ccxt may know more.",
                ) from None
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
                # ccxt trips over answers that it does not expect, and says so in Python's own errors.
                raise APIError(
                    f"{self._name} sent an answer that ccxt could not read ({type(error).__name__}).",
                    hint="try again later; if it stays so, try a newer ccxt.",
                ) from None

    def __repr__(self) -> str:
        return f"Foreign({self._name})"


def _library() -> Any:
    """The library ccxt.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import ccxt
    except ImportError:
        raise ConfigError(
            "venues named CCXT:<id> need the library ccxt, which is not installed.",
            hint="install the extra: pip install 'barwise[ccxt]'.",
        ) from None
    return ccxt


def _made(name: str) -> Any:
    """The object of ccxt for a venue; nothing is asked.

    Raises:
        ConfigError: ccxt is not installed, or does not know the venue.
    """
    ccxt = _library()
    identity = name.removeprefix(FOREIGN_PREFIX).lower()
    if identity not in ccxt.exchanges:
        raise ConfigError(
            f"{identity!r} is no venue of ccxt {ccxt.__version__}.{did_you_mean(identity, ccxt.exchanges)}",
            hint="CCXT:<id> takes the ids that ccxt lists, such as CCXT:kraken.",
        )
    return getattr(ccxt, identity)(
        {"enableRateLimit": True, "timeout": int(READ_S * 1000), "options": {"maxRetriesOnFailure": 0}}
    )


def _moved(urls: Any, address: str) -> Any:
    """The same addresses at another scheme and host."""
    if isinstance(urls, Mapping):
        return {key: _moved(value, address) for key, value in urls.items()}
    return address + urlsplit(urls).path if isinstance(urls, str) else urls


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
