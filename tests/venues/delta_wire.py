"""Delta Exchange India as it is on the wire.

Candles come newest first, in seconds, with volumes in contracts; at most 2000 of them. Errors have two shapes. A
signature lives for five seconds and covers method, time, path, query and body. What the documentation leaves open is
decided here for the harder case: an unknown symbol is an empty success, and mark prices have no volume at all.
"""

import hashlib
import hmac
import json
from typing import Any

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
    shortest,
)

STEPS_MS = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS, "6h": 6 * HOUR_MS, "1d": DAY_MS, "1w": 7 * DAY_MS,
}  # fmt: skip
RESOLUTIONS = {**{step: word for word, step in STEPS_MS.items()}, 12 * HOUR_MS: "12h"}
MOST = 2000
_DIVISORS = {None: 1000, "s": 1000, "ms": 1}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), status, "application/json", dict(headers or {}))


def _error(code: str, status: int, context: dict[str, Any] | None = None) -> Reply:
    """The shape of the application's errors."""
    return _json({"success": False, "error": {"code": code, **({"context": context} if context else {})}}, status)


def _gateway_error(error: str, message: str, status: int) -> Reply:
    """The other shape: `error` is a string."""
    return _json({"error": error, "message": message}, status)


class DeltaWire:
    """Delta India's REST side.

    Attributes:
        over_limit: Which candles of a range with more than 2000 are returned, "newest" or "oldest"; undocumented.
    """

    venue = "DELTA"

    def __init__(self, market: Market) -> None:
        self.market = market
        self.over_limit = "newest"
        self.units = Window(market.limits[self.venue], 5 * MINUTE_MS, market.limit_clock)

    def too_many(self, pause_s: float | None) -> Reply:
        reply = _error("too_many_requests", 429)
        if pause_s is not None:
            reply.headers["X-RATE-LIMIT-RESET"] = f"{pause_s * 1000:.0f}"
        return reply

    def banned(self, pause_s: float) -> Reply:
        return _gateway_error("Forbidden", "Request blocked by CDN", 403)

    def failing(self, status: int) -> Reply:
        return _json(
            {"error": {"code": "unavailable" if status == 503 else "internal_server_error"}, "success": False}, status
        )

    def expired(self, question: Question) -> Reply:
        return _error("invalid_api_key", 401)

    def answer(self, question: Question, change: Change = UNCHANGED) -> Reply:
        if not question.headers.get("User-Agent"):
            return _gateway_error("Forbidden", "Request blocked by CDN", 403)
        path = question.path
        dear = path.startswith(("/v2/history/candles", "/v2/products", "/v2/tickers"))
        if not self.units.spend(3 if dear else 1):
            return self.too_many(self.units.left_ms / 1000)
        if question.method != "GET":
            return _error("not_found", 404)
        if path == "/v2/history/candles":
            return self._candles(question.query, change)
        if path == "/v2/products":
            return self._products(question.query)
        if path.startswith(("/v2/products/", "/v2/tickers/")):
            symbol = path.rsplit("/", 1)[1]
            if symbol not in self.market.symbols(self.venue):
                return _error("not_found", 404)
            result = self.product(symbol) if path.startswith("/v2/products/") else self._ticker(symbol)
            return _json({"success": True, "result": result})
        if path == "/v2/assets":
            asset = {"id": 14, "symbol": "USD", "precision": 8, "deposit_status": "enabled",
                     "withdrawal_status": "enabled", "base_withdrawal_fee": "0.000000000000000000",
                     "min_withdrawal_amount": "0.000000000000000000"}  # fmt: skip
            return _json({"success": True, "result": [asset]})
        if path == "/v2/rate_limits/quota":
            return _json({"success": True, "result": {"remaining_quota": int(10_000 - self.units.used)}})
        if path in ("/v2/profile", "/v2/wallet/balances"):
            return self._refusal(question) or self._account(path)
        return _error("not_found", 404)

    def _refusal(self, question: Question) -> Reply | None:
        """Why a signed request is not answered."""
        credentials, headers = self.market.credentials, question.headers
        key, stamp = headers.get("api-key", ""), headers.get("timestamp", "")
        if not key or not stamp or not headers.get("signature"):
            return _gateway_error("UnauthorizedApiAccess", "Api Key not authorised to access this endpoint", 401)
        if key != credentials["DELTA_API_KEY"]:
            return _error("invalid_api_key", 401)
        if not stamp.isdigit() or abs(self.market.now(self.venue) / 1000 - int(stamp)) > 5:
            return _gateway_error("SignatureExpired", "your signature has expired", 401)
        query = f"?{question.raw_query}" if question.raw_query else ""
        text = question.method + stamp + question.path + query + question.body.decode()
        right = hmac.new(credentials["DELTA_API_SECRET"].encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, headers["signature"]):
            return _error("Signature Mismatch", 401)
        return None

    # Candles

    def _candles(self, query: dict[str, str], change: Change) -> Reply:
        wrong = [name for name in ("symbol", "resolution", "start", "end") if not query.get(name)]
        wrong += [name for name in ("start", "end") if query.get(name) and not query[name].isdigit()]
        if query.get("resolution") and query["resolution"] not in STEPS_MS:
            wrong.append("resolution")
        if wrong:
            errors = [{"code": "validation_error", "message": f"{name} is missing or not valid", "param": name}
                      for name in wrong]  # fmt: skip
            return _error("bad_schema", 400, {"schema_errors": errors})
        symbol, step = query["symbol"], STEPS_MS[query["resolution"]]
        first, last = int(query["start"]) * 1000, int(query["end"]) * 1000
        now = self.market.now(self.venue)
        if symbol.startswith("FUNDING:"):
            words = self._funding(symbol.removeprefix("FUNDING:"), step, first, min(last, now))
        else:
            series = self.market.find(self.venue, symbol, step)
            words = [] if series is None else self._words(series, first, last, now, change)
        body = '{"success":true,"result":[' + ",".join(reversed(words)) + "]}"
        return Reply(body.encode())

    def _words(self, series: Series, first: int, last: int, now: int, change: Change) -> list[str]:
        a, b = series.between(first, last, now)
        if b - a > MOST:
            a, b = (b - MOST, b) if self.over_limit == "newest" else (a, a + MOST)
        with_volume = ":" not in series.symbol
        return series.words(
            f"rest {change.unit}", a, b, now, change, lambda rows: candle_texts(rows, change.unit, with_volume)
        )

    def _funding(self, symbol: str, step: int, first: int, last: int) -> list[str]:
        """Funding rates as candles, in percent."""
        times, rates = self.market.funding.get((self.venue, symbol), (np.array([]), np.array([])))
        percents: dict[int, float] = {}
        for at, rate in zip(times, rates, strict=True):
            percents[int(at) // step * step] = round(float(rate) * 100, 10)
        rows = [Row(at, p, p, p, p, None, None) for at, p in sorted(percents.items()) if first <= at <= last]
        return candle_texts(rows[-MOST:], None, with_volume=False)

    # Descriptions

    def _products(self, query: dict[str, str]) -> Reply:
        names = self.market.symbols(self.venue)
        size = int(query.get("page_size", "100"))
        after = query.get("after", "")
        start = int(after.removeprefix("g3QAAAAC"), 16) if after else 0
        page = names[start : start + size]
        more = start + size < len(names)
        meta = {
            "after": f"g3QAAAAC{start + size:06x}" if more else None,
            "before": f"g3QAAAAC{max(start - size, 0):06x}" if start else None,
            "limit": size,
            "total_count": len(names),
        }
        return _json({"meta": meta, "result": [self.product(name) for name in page], "success": True})

    def product(self, symbol: str) -> dict[str, Any]:
        """A contract as /v2/products describes it."""
        given = self.market.products.get((self.venue, symbol), {})
        rules = {"tick_size": 0.5, "contract_value": 0.001, "maker": 0.0002, "taker": 0.0005, "state": "live",
                 "funding_hours": 8, **given}  # fmt: skip
        unit = symbol.removesuffix("USD")
        asset = {"id": 14, "symbol": "USD", "precision": 8, "deposit_status": "enabled",
                 "withdrawal_status": "enabled", "base_withdrawal_fee": "0.000000000000000000",
                 "min_withdrawal_amount": "0.000000000000000000"}  # fmt: skip
        return {
            "id": 27 + self.market.symbols(self.venue).index(symbol), "symbol": symbol,
            "description": f"{unit} Perpetual futures, quoted, settled & margined in INR",
            "created_at": "2023-12-18T13:10:39Z", "updated_at": "2024-11-15T02:47:50Z", "settlement_time": None,
            "notional_type": "vanilla", "impact_size": 10000, "initial_margin": "0.5", "maintenance_margin": "0.25",
            "contract_value": plain(rules["contract_value"]), "contract_unit_currency": unit,
            "tick_size": plain(rules["tick_size"]),
            "product_specs": {"funding_clamp_value": 0.05, "only_reduce_only_orders_allowed": False,
                              "rate_exchange_interval": int(rules["funding_hours"] * 3600), "tags": ["layer_1"]},
            "state": rules["state"], "trading_status": "operational", "max_leverage_notional": "100000",
            "default_leverage": "200", "initial_margin_scaling_factor": "0.0000025",
            "maintenance_margin_scaling_factor": "0.00000125", "taker_commission_rate": plain(rules["taker"]),
            "maker_commission_rate": plain(rules["maker"]), "liquidation_penalty_factor": "0.5",
            "contract_type": "perpetual_futures", "position_size_limit": 229167, "basis_factor_max_limit": "10.95",
            "is_quanto": False, "funding_method": "mark_price", "annualized_funding": "10.95", "price_band": "2.5",
            "underlying_asset": {**asset, "id": 2, "symbol": unit}, "quoting_asset": asset, "settling_asset": asset,
            "spot_index": {
                "id": 14, "symbol": f".DEX{unit[:2]}USD", "underlying_asset_id": 2, "quoting_asset_id": 14,
                "tick_size": "0.5", "index_type": "spot_pair",
                "constituent_exchanges": [{"name": "ExchangeA", "weight": 0.25}],
            },
        }  # fmt: skip

    def _ticker(self, symbol: str) -> dict[str, Any]:
        now = self.market.now(self.venue)
        row = Row(now, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for series in self.market.series.values():
            a, b = series.between(0, now, now) if (series.venue, series.symbol) == (self.venue, symbol) else (0, 0)
            if b > a:
                row = series.rows(b - 1, b, now)[0]
                break
        mark = plain(row.close)
        return {
            "close": row.close, "contract_type": "perpetual_futures", "greeks": None, "high": row.high, "low": row.low,
            "mark_price": mark, "oi": "0.0000", "open": row.open, "product_id": self.product(symbol)["id"],
            "quotes": {}, "size": row.volume, "spot_price": mark, "symbol": symbol, "timestamp": now * 1000,
            "turnover": row.volume, "turnover_symbol": "USD", "turnover_usd": row.volume, "volume": row.volume,
        }  # fmt: skip

    def _account(self, path: str) -> Reply:
        if path == "/v2/profile":
            return _json({"success": True, "result": {
                "id": 57354187, "email": "user@example.com", "account_name": "Main", "first_name": "Loop",
                "last_name": "Back", "country": "India", "is_kyc_done": True, "margin_mode": "isolated",
                "pf_index_symbol": None, "is_sub_account": False,
            }})  # fmt: skip
        wallet = {"asset_id": 14, "asset_symbol": "USD", "available_balance": "0", "balance": "0", "id": 1,
                  "user_id": 57354187}  # fmt: skip
        return _json({"meta": {"net_equity": "0", "robo_trading_equity": "0"}, "result": [wallet], "success": True})


def candle_texts(rows: list[Row], unit: str | None, with_volume: bool) -> list[str]:
    """Candles as JSON objects; times in seconds, prices as the captured answers write them (67949.0)."""

    def price(value: Any) -> str:
        return "null" if value is None else "NaN" if value != value else plain(value)

    divisor, times = (1, 1000) if unit == "us" else (_DIVISORS[unit], 1)
    return [
        f'{{"close":{price(row.close)},"high":{price(row.high)},"low":{price(row.low)},"open":{price(row.open)},'
        f'"time":{row.time * times // divisor}' + (f',"volume":{shortest(row.volume)}}}' if with_volume else "}")
        for row in rows
    ]


# WebSocket


def candle_event(series: Series, row: Row, event_us: int) -> dict[str, Any]:
    """A candle of the compact stream: no start, no close flag; a mark price has no volume."""
    resolution = RESOLUTIONS[series.step_ms]
    event = {
        "c": row.close, "h": row.high, "l": row.low, "o": row.open, "res": resolution, "sy": series.symbol,
        "ts": event_us, "type": f"candlestick_{resolution}",
    }  # fmt: skip
    return event if ":" in series.symbol else {**event, "v": row.volume}
