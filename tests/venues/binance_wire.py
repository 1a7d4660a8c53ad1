"""Binance as it is on the wire: spot, USD-M futures and the archives of both.

Written from the documentation and the captured bodies. What decides a client's fate is here: prices are strings, both
ends of a range are inclusive, the open candle comes along, weights are counted in a header, 429 is followed by 418 for
whoever asks again too soon, and a signature is made over the percent-encoded query.
"""

import hashlib
import hmac
import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from tests.venues.market import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    UNCHANGED,
    Change,
    Market,
    Question,
    Reply,
    Row,
    Series,
    Window,
    plain,
)

STEPS_MS = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS, "6h": 6 * HOUR_MS, "8h": 8 * HOUR_MS, "12h": 12 * HOUR_MS,
    "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS,
}  # fmt: skip
# Known words without a fixed length of whole minutes: a month, and one second (spot only).
OTHER_INTERVALS = ("1M", "1s")
INTERVALS = {step: word for word, step in STEPS_MS.items()}
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TRY", "EUR", "BTC", "ETH", "BNB")
MICROSECONDS_FROM_MS = 1_735_689_600_000  # spot archives changed their unit on 2025-01-01
ARCHIVE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
_SCALES = {None: (1, 1), "ms": (1, 1), "us": (1000, 1), "s": (1, 1000)}
_KLINE_PARAMETERS = ("symbol", "interval", "startTime", "endTime", "timeZone", "limit")
_SIGNED = {
    "/api/v3/account", "/api/v3/account/commission", "/sapi/v1/account/apiRestrictions", "/fapi/v1/commissionRate",
    "/fapi/v2/account", "/fapi/v3/account", "/fapi/v2/balance", "/fapi/v3/balance",
}  # fmt: skip


class RefusedError(Exception):
    """The request is answered with one of Binance's error bodies."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), status, "application/json;charset=UTF-8")


def split_symbol(symbol: str) -> tuple[str, str]:
    """BTCUSDT -> BTC, USDT."""
    quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
    return symbol[: -len(quote)], quote


def texts(rows: list[Row], prices: int | None, volumes: int | None) -> list[tuple[str, ...]]:
    """Open, high, low, close, volume and quote volume as Binance writes them; what a fault broke, as it is."""

    def one(value: Any, places: int | None) -> str:
        if value is None:
            return "null"
        if value != value:
            return '"NaN"'
        return f'"{plain(value)}"' if places is None else f'"{value:.{places}f}"'

    return [
        (*(one(value, prices) for value in row[1:5]), one(row.volume, volumes), one(row.quote_volume, 8))
        for row in rows
    ]


def kline_parts(row: Row, step_ms: int) -> tuple[int, int, float, float]:
    """What a candle has besides prices: close time, trades, and what takers bought (derived, not in the data)."""
    volume = row.volume if isinstance(row.volume, float) and row.volume == row.volume else 0.0
    quote = row.quote_volume if isinstance(row.quote_volume, float) else 0.0
    trades = int(volume * 7) % 9000 + (1 if volume else 0)
    return row.time + step_ms - 1, trades, round(volume / 2, 3), round(quote / 2, 3)


class BinanceWire:
    """Spot, or with `futures` the USD-M side."""

    def __init__(self, market: Market, *, futures: bool = False) -> None:
        self.market = market
        self.futures = futures
        self.venue = "BINANCE_UM" if futures else "BINANCE"
        self.root = "/fapi/v1" if futures else "/api/v3"
        self.weights = Window(market.limits[self.venue], MINUTE_MS, market.limit_clock)
        self.funding_requests = Window(500, 5 * MINUTE_MS, market.limit_clock)
        self.paused_until = 0
        self.banned_until = 0
        self._formats: dict[tuple[str, str], tuple[int | None, int | None]] = {}

    # Errors that faults and limits ask for

    def too_many(self, pause_s: float | None) -> Reply:
        limit = 2400 if self.futures else 6000
        reply = _json(
            {
                "code": -1003,
                "msg": f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
            },
            429,
        )
        if pause_s is not None:
            reply.headers["Retry-After"] = f"{pause_s:.0f}"
        return reply

    def banned(self, pause_s: float) -> Reply:
        until = self.market.limit_clock() + int(pause_s * 1000)
        reply = _json(
            {
                "code": -1003,
                "msg": f"Way too much request weight used; IP banned until {until}. "
                "Please use WebSocket Streams for live updates to avoid bans.",
            },
            418,
        )
        reply.headers["Retry-After"] = f"{pause_s:.0f}"
        return reply

    def failing(self, status: int) -> Reply:
        body = {
            503: {"code": -1008, "msg": "Server is currently overloaded with other requests. Please try again later."},
            504: {
                "code": -1007,
                "msg": "Timeout waiting for response from backend server. Send status unknown; "
                "execution status unknown.",
            },
        }.get(status, {"code": -1000, "msg": "An unknown error occurred while processing the request."})
        return _json(body, status)

    def expired(self, question: Question) -> Reply:
        return _json({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, 401)

    def pause(self, seconds: float) -> None:
        """Whoever asks within so many seconds from now is banned."""
        self.paused_until = self.market.limit_clock() + int(seconds * 1000)

    # Requests

    def answer(self, question: Question, change: Change = UNCHANGED) -> Reply:
        now = self.market.limit_clock()
        if now < self.banned_until:
            return self.banned((self.banned_until - now) / 1000)
        if now < self.paused_until:
            self.banned_until = now + 120_000
            return self.banned(120)
        within = self.weights.spend(self.weight(question))
        if not within:
            pause_s = -(-self.weights.left_ms // 1000)
            self.pause(pause_s)
            reply = self.too_many(pause_s)
        else:
            try:
                reply = self._answer(question, change)
            except RefusedError as error:
                reply = _json({"code": error.code, "msg": error.message}, error.status)
        reply.headers["X-MBX-USED-WEIGHT-1M"] = f"{self.weights.used:.0f}"
        if not self.futures:
            reply.headers["X-MBX-USED-WEIGHT"] = f"{self.weights.used:.0f}"
        return reply

    def weight(self, question: Question) -> int:
        """What a request costs."""
        path = question.path
        if path.endswith("lines"):
            if not self.futures:
                return 2
            limit = question.query.get("limit", "500")
            size = int(limit) if limit.isdigit() else 500
            return 1 if size < 100 else 2 if size < 500 else 5 if size <= 1000 else 10
        if path in ("/fapi/v1/fundingRate", "/fapi/v1/fundingInfo"):
            return 0
        return {
            "/api/v3/exchangeInfo": 20, "/api/v3/account": 20, "/api/v3/account/commission": 20,
            "/fapi/v1/commissionRate": 20, "/fapi/v2/account": 5, "/fapi/v3/account": 5,
            "/fapi/v2/balance": 5, "/fapi/v3/balance": 5,
        }.get(path, 1)  # fmt: skip

    def _answer(self, question: Question, change: Change) -> Reply:
        path = question.path
        if question.method != "GET" or not path.startswith((self.root, *_SIGNED)):
            return Reply(b"", 404, "text/html")
        if path in _SIGNED:
            self._verify(question)
        name = path.rsplit("/", 1)[1]
        match name:
            case "ping":
                return _json({})
            case "time":
                return _json({"serverTime": self.market.now(self.venue)})
            case "klines" | "markPriceKlines" if name == "klines" or self.futures:
                return self._klines(question, change, "" if name == "klines" else "MARK:")
            case "exchangeInfo":
                return _json(self._exchange_info(question))
            case "fundingRate" | "fundingInfo" | "premiumIndex" if self.futures:
                if name != "premiumIndex" and not self.funding_requests.spend(1):
                    return self.too_many(self.funding_requests.left_ms / 1000)
                answers: dict[str, Callable[[dict[str, str]], Any]] = {
                    "fundingRate": self._funding,
                    "fundingInfo": self._funding_info,
                }
                return _json(answers.get(name, self._premium_index)(question.query))
            case _ if path in _SIGNED:
                return _json(self._account(path, question.query))
        return Reply(b"", 404, "text/html")

    def _verify(self, question: Question) -> None:
        """The key, the time window and the signature, in the venue's order."""
        credentials, query = self.market.credentials, question.query
        key = question.headers.get("X-MBX-APIKEY", "")
        if not re.fullmatch(r"[A-Za-z0-9]{32,64}", key):
            raise RefusedError(-2014, "API-key format invalid.", 401)
        for name in ("timestamp", "signature"):
            if not query.get(name):
                raise RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if key != credentials["BINANCE_API_KEY"]:
            raise RefusedError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        signed = re.sub(r"&?signature=[^&]*", "", question.raw_query)
        secret = credentials["BINANCE_API_SECRET"].encode()
        if not hmac.compare_digest(hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest(), query["signature"]):
            raise RefusedError(-1022, "Signature for this request is not valid.")
        window, now = int(query.get("recvWindow", "5000")), self.market.now(self.venue)
        if window > 60_000:
            raise RefusedError(-1131, "recvWindow must be less than 60000")
        stamp = int(query["timestamp"])
        if stamp > now + 1000:
            raise RefusedError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now - stamp > window:
            raise RefusedError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def _symbol(self, query: dict[str, str]) -> str:
        if not query.get("symbol"):
            raise RefusedError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        symbol = query["symbol"]
        if not re.fullmatch(r"[A-Z0-9\-_.]{1,20}", symbol):
            raise RefusedError(
                -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
            )
        if symbol not in self.market.symbols(self.venue):
            raise RefusedError(-1121, "Invalid symbol.")
        return symbol

    @staticmethod
    def _number(query: dict[str, str], name: str) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise RefusedError(
                -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            )
        return int(text)

    def _klines(self, question: Question, change: Change, prefix: str) -> Reply:
        query = question.query
        symbol = self._symbol(query)
        if not query.get("interval"):
            raise RefusedError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        word = query["interval"]
        if word not in STEPS_MS and word not in OTHER_INTERVALS:
            raise RefusedError(-1120, "Invalid interval.")
        if not self.futures and any(name not in _KLINE_PARAMETERS for name in query):
            read = sum(name in _KLINE_PARAMETERS for name in query)
            raise RefusedError(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(query)}'."
            )
        limit = self._number(query, "limit")
        if self.futures and limit is not None and not 1 <= limit <= 1500:
            raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
        limit = min(limit or 500, 1500 if self.futures else 1000)
        start, end = (self._instant(query, name) for name in ("startTime", "endTime"))
        series = self.market.find(self.venue, prefix + symbol, STEPS_MS.get(word, 0))
        if series is None:
            return _json([])
        now = self.market.now(self.venue)
        a, b = series.between(start if start is not None else 0, end if end is not None else float("inf"), now)
        if start is not None:
            b = min(b, a + limit)
        else:
            a = max(a, b - limit)
        unit = change.unit
        if unit is None and question.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND":
            unit = "us"
        words = series.words(f"rest {unit or 'ms'}", a, b, now, change, self.renderer(series, unit))
        return Reply(("[" + ",".join(words) + "]").encode(), content_type="application/json;charset=UTF-8")

    def _instant(self, query: dict[str, str], name: str) -> int | None:
        value = self._number(query, name)
        if value is None:
            return None
        if value > 10**14:
            return value // 1000  # microseconds are understood as well
        if self.futures and value < 10**11:
            return None  # captured: seconds sent by mistake were ignored
        return value

    def formats(self, series: Series) -> tuple[int | None, int | None]:
        """Decimals of prices and volumes: eight on spot and of mark prices, the market's own on futures."""
        if not self.futures or series.symbol.startswith("MARK:"):
            exact = series.price_decimals is not None
            return (8 if exact else None), (8 if series.volume_decimals is not None else None)
        return series.price_decimals, series.volume_decimals

    def kline_texts(self, series: Series, rows: list[Row], unit: str | None) -> list[str]:
        """Candles as JSON arrays."""
        prices, volumes = self.formats(series)
        times, divisor = _SCALES[unit]
        last = times - 1 if times > 1 else 0
        table = np.array(rows, dtype=np.float64).reshape(-1, 7)
        if prices is not None and volumes is not None and np.isfinite(table).all():
            # A year of minutes goes this way: everything in one format, and the derived numbers by column.
            p, v = f'"%.{prices}f"', f'"%.{volumes}f"'
            form = f'[%d,{p},{p},{p},{p},{v},%d,"%.8f",%d,"%.8f","%.8f","0"]'
            volume = table[:, 5]
            more = zip(
                *(row_times.tolist() for row_times in self._times(table, series.step_ms, times, divisor, last)),
                ((volume * 7).astype(np.int64) % 9000 + (volume > 0)).tolist(),
                np.round(volume / 2, 3).tolist(),
                np.round(table[:, 6] / 2, 3).tolist(),
                strict=True,
            )
            return [
                form % (at, row[1], row[2], row[3], row[4], row[5], end, row[6], trades, taker, taker_quote)
                for row, (at, end, trades, taker, taker_quote) in zip(rows, more, strict=True)
            ]
        out = []
        for row, (o, h, low, c, v, q) in zip(rows, texts(rows, prices, volumes), strict=True):
            close_time, trades, taker, taker_quote = kline_parts(row, series.step_ms)
            out.append(
                f"[{row.time * times // divisor},{o},{h},{low},{c},{v},{close_time * times // divisor + last},{q},"
                f'{trades},"{taker:.8f}","{taker_quote:.8f}","0"]'
            )
        return out

    def renderer(self, series: Series, unit: str | None = None) -> Callable[[list[Row]], list[str]]:
        """What words the candles of a series."""
        return lambda rows: self.kline_texts(series, rows, unit)

    @staticmethod
    def _times(table: np.ndarray, step_ms: int, times: int, divisor: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Opening and closing times in the unit of the wire."""
        opened = table[:, 0].astype(np.int64)
        return opened * times // divisor, (opened + step_ms - 1) * times // divisor + last

    # Descriptions

    def _exchange_info(self, question: Question) -> dict[str, Any]:
        query = question.query
        names = self.market.symbols(self.venue)
        if not self.futures:
            if "symbol" in query:
                names = [self._symbol(query)]
            elif "symbols" in query:
                names = [self._symbol({"symbol": name}) for name in json.loads(query["symbols"])]
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        info: dict[str, Any] = {"timezone": "UTC", "serverTime": self.market.now(self.venue)}
        if self.futures:
            info |= {"futuresType": "U_MARGINED", "rateLimits": [{**weight, "limit": 2400}], "exchangeFilters": []}
            info["assets"] = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
            info["symbols"] = [self._futures_symbol(name) for name in names]
        else:
            raw = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300000}
            info |= {"rateLimits": [{**weight, "limit": 6000}, raw], "exchangeFilters": []}
            info["symbols"] = [self._spot_symbol(name) for name in names]
        return info

    def product(self, symbol: str) -> dict[str, Any]:
        """The market's rules: what the test gave, over plausible ones."""
        given = self.market.products.get((self.venue, symbol), {})
        defaults = {
            "status": "TRADING", "tick_size": 0.01, "lot_size": 0.001 if self.futures else 0.00001,
            "min_notional": 100 if self.futures else 5, "maker": 0.0002 if self.futures else 0.001,
            "taker": 0.0005 if self.futures else 0.001, "funding_hours": 8,
        }  # fmt: skip
        return {**defaults, **given}

    def _spot_symbol(self, symbol: str) -> dict[str, Any]:
        rules, (base, quote) = self.product(symbol), split_symbol(symbol)
        lot = f"{rules['lot_size']:.8f}"
        return {
            "symbol": symbol, "status": rules["status"], "baseAsset": base, "baseAssetPrecision": 8,
            "quoteAsset": quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
            "icebergAllowed": True, "ocoAllowed": True, "otoAllowed": True, "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True, "cancelReplaceAllowed": True, "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": f"{rules['tick_size']:.8f}", "maxPrice": "1000000.00000000",
                 "tickSize": f"{rules['tick_size']:.8f}"},
                {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.00000000", "stepSize": lot},
                {"filterType": "ICEBERG_PARTS", "limit": 10},
                {"filterType": "NOTIONAL", "minNotional": f"{rules['min_notional']:.8f}", "applyMinToMarket": True,
                 "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            ],
            "permissions": [], "permissionSets": [["SPOT", "MARGIN"]], "defaultSelfTradePreventionMode": "NONE",
            "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER"],
        }  # fmt: skip

    def _futures_symbol(self, symbol: str) -> dict[str, Any]:
        rules, (base, quote) = self.product(symbol), split_symbol(symbol)
        tick, lot = plain(rules["tick_size"]), plain(rules["lot_size"])
        lots = {"maxQty": "1000", "minQty": lot, "stepSize": lot}
        return {
            "symbol": symbol, "pair": symbol, "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
            "onboardDate": 1569398400000, "status": rules["status"], "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000", "baseAsset": base, "quoteAsset": quote, "marginAsset": quote,
            "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8, "quotePrecision": 8,
            "underlyingType": "COIN", "underlyingSubType": [], "settlePlan": 0, "triggerProtect": "0.0500",
            "liquidationFee": "0.012000", "marketTakeBound": "0.30",
            "filters": [
                {"minPrice": tick, "maxPrice": "1000000", "filterType": "PRICE_FILTER", "tickSize": tick},
                {"filterType": "LOT_SIZE", **lots}, {"filterType": "MARKET_LOT_SIZE", **lots},
                {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
                {"notional": plain(rules["min_notional"]).removesuffix(".0"), "filterType": "MIN_NOTIONAL"},
                {"multiplierDown": "0.8500", "multiplierUp": "1.1500", "multiplierDecimal": "4",
                 "filterType": "PERCENT_PRICE"},
            ],
            "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                           "TRAILING_STOP_MARKET"],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        }  # fmt: skip

    def _account(self, path: str, query: dict[str, str]) -> Any:
        now = self.market.now(self.venue)
        if path.endswith("/commission"):
            symbol = self._symbol(query)
            rules = self.product(symbol)
            rates = {"maker": f"{rules['maker']:.8f}", "taker": f"{rules['taker']:.8f}"}
            sides = {"buyer": "0.00000000", "seller": "0.00000000"}
            nothing = {"maker": "0.00000000", "taker": "0.00000000", **sides}
            discount = {"enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB",
                        "discount": "0.75000000"}  # fmt: skip
            return {"symbol": symbol, "standardCommission": {**rates, **sides}, "taxCommission": nothing,
                    "discount": discount}  # fmt: skip
        if path == "/fapi/v1/commissionRate":
            symbol = self._symbol(query)
            rules = self.product(symbol)
            return {"symbol": symbol, "makerCommissionRate": f"{rules['maker']:.6f}",
                    "takerCommissionRate": f"{rules['taker']:.6f}", "rpiCommissionRate": "0.000050"}  # fmt: skip
        if path.endswith("/apiRestrictions"):
            return {
                "ipRestrict": False, "createTime": now - 30 * DAY_MS, "enableReading": True, "enableWithdrawals": False,
                "enableInternalTransfer": False, "enableMargin": False, "enableFutures": False,
                "permitsUniversalTransfer": False, "enableVanillaOptions": False, "enableFixApiTrade": False,
                "enableFixReadOnly": True, "enableSpotAndMarginTrading": False, "enablePortfolioMarginTrading": False,
            }  # fmt: skip
        if path.endswith("/balance"):
            names = ("balance", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount")
            money = dict.fromkeys(names, "0.00000000")
            return [{"accountAlias": "SgsR", "asset": "USDT", **money, "marginAvailable": True, "updateTime": now}]
        if path.startswith("/fapi"):
            return {"totalInitialMargin": "0.00000000", "totalWalletBalance": "0.00000000",
                    "availableBalance": "0.00000000", "canTrade": True, "assets": [], "positions": []}  # fmt: skip
        balances = [{"asset": asset, "free": "0.00000000", "locked": "0.00000000"} for asset in ("BTC", "ETH", "USDT")]
        if query.get("omitZeroBalances") == "true":
            balances = []
        return {
            "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
            "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000",
                                "seller": "0.00000000"},
            "canTrade": True, "canWithdraw": True, "canDeposit": True, "brokered": False,
            "requireSelfTradePrevention": False, "preventSor": False, "updateTime": now, "accountType": "SPOT",
            "balances": balances, "permissions": ["SPOT"], "uid": 354937868,
        }  # fmt: skip

    # Funding

    def _funding(self, query: dict[str, str]) -> list[dict[str, Any]]:
        names = [self._symbol(query)] if "symbol" in query else self.market.symbols(self.venue)
        start, end = (self._instant(query, name) for name in ("startTime", "endTime"))
        limit = self._number(query, "limit")
        if limit is not None and not 1 <= limit <= 1000:
            raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
        now = self.market.now(self.venue)
        found: list[tuple[int, str, float]] = []
        for name in names:
            times, rates = self.market.funding.get((self.venue, name), (np.array([]), np.array([])))
            found += [(int(t), name, float(r)) for t, r in zip(times, rates, strict=True) if t <= now]
        found = sorted(row for row in found if (start is None or row[0] >= start) and (end is None or row[0] <= end))
        if start is None and end is None:
            found = found[-(limit or 200) :]
        elif start is None:
            found = found[-(limit or 100) :]
        else:
            found = found[: limit or 100]
        return [
            {"symbol": name, "fundingTime": at, "fundingRate": f"{rate:.8f}", "markPrice": self._mark(name, at)}
            for at, name, rate in found
        ]

    def _mark(self, symbol: str, at_ms: int) -> str:
        """The mark price of an instant: the open of its mark candle, or of its candle, or nothing before 2023-10-31."""
        for name in (f"MARK:{symbol}", symbol):
            for series in self.market.series.values():
                if series.venue == self.venue and series.symbol == name:
                    a, b = series.between(at_ms - series.step_ms + 1, at_ms, at_ms)
                    if b > a:
                        return f"{series.open[b - 1]:.8f}"
        return ""

    def _funding_info(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = []
        for name in self.market.symbols(self.venue):
            hours = self.product(name)["funding_hours"]
            if hours != 8:
                rows.append(
                    {"symbol": name, "adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000",
                     "fundingIntervalHours": hours, "disclaimer": False, "updateTime": None}
                )  # fmt: skip
        return rows

    def _premium_index(self, query: dict[str, str]) -> Any:
        names = [self._symbol(query)] if "symbol" in query else self.market.symbols(self.venue)
        now = self.market.now(self.venue)
        rows = []
        for name in names:
            times, rates = self.market.funding.get((self.venue, name), (np.array([]), np.array([])))
            past = int(np.searchsorted(times, now, side="right"))
            step = self.product(name)["funding_hours"] * HOUR_MS
            mark = self._mark(name, now)
            rows.append(
                {"symbol": name, "markPrice": mark, "indexPrice": mark, "estimatedSettlePrice": mark,
                 "lastFundingRate": f"{rates[past - 1]:.8f}" if past else "0.00010000", "interestRate": "0.00010000",
                 "nextFundingTime": (now // step + 1) * step, "time": now}
            )  # fmt: skip
        return rows[0] if "symbol" in query else rows


class ArchiveWire:
    """data.binance.vision: zipped CSV files by month and day, with their checksums, made from the candles."""

    def __init__(self, spot: BinanceWire, futures: BinanceWire) -> None:
        self.market = spot.market
        self._wires = {"spot": spot, "futures/um": futures}
        self._files: dict[str, bytes] = {}

    def too_many(self, pause_s: float | None) -> Reply:
        headers = {} if pause_s is None else {"Retry-After": f"{pause_s:.0f}"}
        return Reply(_s3("SlowDown", "Please reduce your request rate."), 503, "application/xml", headers)

    def banned(self, pause_s: float) -> Reply:
        return self.too_many(pause_s)

    def failing(self, status: int) -> Reply:
        return Reply(
            _s3("InternalError", "We encountered an internal error. Please try again."), status, "application/xml"
        )

    def expired(self, question: Question) -> Reply:
        return Reply(_s3("AccessDenied", "Access Denied"), 403, "application/xml")

    def answer(self, question: Question, change: Change = UNCHANGED) -> Reply:
        path = question.path
        content = self._file(path.removesuffix(".CHECKSUM"), change)
        if content is None:
            return Reply(_s3("NoSuchKey", "The specified key does not exist."), 404, "application/xml")
        if path.endswith(".CHECKSUM"):
            name = path.removesuffix(".CHECKSUM").rsplit("/", 1)[1]
            return Reply(
                f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode(), content_type="binary/octet-stream"
            )
        return Reply(content, content_type="application/zip", headers={"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    def _file(self, path: str, change: Change) -> bytes | None:
        """The zip at a path; None where the venue has none: unknown market, no trades, or not published yet."""
        match = re.fullmatch(
            r"/data/(spot|futures/um)/(monthly|daily)/(klines|markPriceKlines|fundingRate)/([^/]+)/(?:([^/]+)/)?([^/]+)\.zip",
            path,
        )
        if match is None:
            return None
        where, period, kind, symbol, word, name = match.groups()
        wire, days = self._wires[where], r"\d{4}-\d{2}-\d{2}" if period == "daily" else r"\d{4}-\d{2}"
        parts = re.fullmatch(rf"{re.escape(symbol)}-({re.escape(word or 'fundingRate')})-({days})", name)
        if parts is None:
            return None
        try:
            start = datetime.strptime(parts[2], "%Y-%m-%d" if period == "daily" else "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            return None
        end = start + timedelta(days=1) if period == "daily" else (start + timedelta(days=32)).replace(day=1)
        # A day is published on the next one, a month on the Monday that follows it.
        published = end if period == "daily" else end + timedelta(days=-end.weekday() % 7)
        if self.market.now("ARCHIVE") < published.timestamp() * 1000:
            return None
        if path in self._files and not change:
            return self._files[path]
        first, last = int(start.timestamp() * 1000), int(end.timestamp() * 1000) - 1
        lines = (
            self._funding_lines(symbol, first, last)
            if kind == "fundingRate"
            else self._candle_lines(wire, ("MARK:" if kind != "klines" else "") + symbol, word, first, last, change)
        )
        if not lines:
            return None
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo(f"{name}.csv", (published.year, published.month, published.day, 2, 16, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, "\n".join(lines) + "\n")
        if not change:
            self._files[path] = packed.getvalue()
        return packed.getvalue()

    def _candle_lines(
        self, wire: BinanceWire, symbol: str, word: str, first: int, last: int, change: Change
    ) -> list[str] | None:
        series = self.market.find(wire.venue, symbol, STEPS_MS.get(word, -1))
        if series is None:
            return None
        a, b = series.between(first, last, self.market.now("ARCHIVE"))
        if a == b:
            return None
        unit = change.unit or ("us" if not wire.futures and first >= MICROSECONDS_FROM_MS else "ms")
        words = series.words(f"rest {unit}", a, b, 1 << 62, change, wire.renderer(series, unit))
        lines = [word[1:-1].replace('"', "") for word in words]
        return [ARCHIVE_HEADER, *lines] if wire.futures else lines

    def _funding_lines(self, symbol: str, first: int, last: int) -> list[str] | None:
        times, rates = self.market.funding.get(("BINANCE_UM", symbol), (np.array([]), np.array([])))
        inside = (times >= first) & (times <= last)
        if not inside.any():
            return None
        hours = self._wires["futures/um"].product(symbol)["funding_hours"]
        lines = [f"{at},{hours},{rate:.8f}" for at, rate in zip(times[inside], rates[inside], strict=True)]
        return ["calc_time,funding_interval_hours,last_funding_rate", *lines]


def _s3(code: str, message: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'.encode()


# WebSocket


def stream_name(series: Series) -> str:
    """BTCUSDT at 1M -> btcusdt@kline_1m."""
    return f"{series.symbol.lower()}@kline_{INTERVALS[series.step_ms]}"


def kline_event(wire: BinanceWire, series: Series, row: Row, *, closed: bool, event_ms: int) -> dict[str, Any]:
    """A candle as the kline stream sends it."""
    o, h, low, c, v, q = (json.loads(text) for text in texts([row], *wire.formats(series))[0])
    close_time, trades, taker, taker_quote = kline_parts(row, series.step_ms)
    first_trade = row.time // 1000
    return {
        "e": "kline", "E": event_ms, "s": series.symbol,
        "k": {
            "t": row.time, "T": close_time, "s": series.symbol, "i": INTERVALS[series.step_ms],
            "f": first_trade if trades else -1, "L": first_trade + trades - 1 if trades else -1,
            "o": o, "c": c, "h": h, "l": low, "v": v, "n": trades, "x": closed, "q": q,
            "V": f"{taker:.8f}", "Q": f"{taker_quote:.8f}", "B": "0",
        },
    }  # fmt: skip


def streams_of(path: str, query: str) -> tuple[bool, list[str]] | None:
    """Whether messages are wrapped, and the streams that an address names; None where it is no stream address."""
    match = re.fullmatch(r"(?:/market|/public)?/(ws|stream)(?:/(.*))?", path)
    if match is None:
        return None
    names = dict(parse_qsl(query)).get("streams", "") if match[1] == "stream" else (match[2] or "")
    return match[1] == "stream", [name for name in names.split("/") if name]
