"""How each venue words its stream: where to connect, what to send first, and what a message says of a candle.

A wording knows nothing of order, gaps or time; `stream` does. It turns every message into sightings of candles, or
refuses it with a ValueError, KeyError or TypeError, which means: garbage. Sources: developers.binance.com (2026-11),
docs.delta.exchange, kite.trade/docs/connect/v3/websocket, dhanhq.co/docs/v2/live-market-feed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from barwise.errors import APIError, BarwiseError, ConfigError, CredentialError, RateLimitError
from barwise.exchange.base import Adapter
from barwise.exchange.ticks import Disconnect, TickCandles, dhan_ticks, kite_ticks
from barwise.exchange.verdicts import quote
from barwise.timeframe import Timeframe, calendar_of

_DHAN_CREDENTIAL_CODES = {806, 807, 808, 809, 810}
_DHAN_TICKER, _DHAN_QUOTE = 15, 17
_RENEW = "get a new access token, put it into config/.env, and go on after the last candle you have."


class Sighting(NamedTuple):
    """A candle as a message shows it.

    Attributes:
        time: When it opens, ms UTC.
        instant: The venue's time of the message, ms UTC.
        values: open, high, low, close, volume and perhaps quote volume; None where the message has none (no trade yet).
        closed: The venue says that these are its last values.
        whole: The values cover the candle from its opening.
    """

    time: int
    instant: int
    values: tuple[float, ...] | None
    closed: bool = False
    whole: bool = True


class RestartError(Exception):
    """The venue is about to hang up: connect anew now."""


class Wording(Protocol):
    """One market's stream at one venue.

    Attributes:
        address: The variable that holds the base URL.
        silence_s: A connection that has said nothing for so long is dead.
        grace_s: A candle is taken to be closed so long after its end, where nothing says so.
        final: The stream has the last values itself; otherwise REST has.
        same_unit: Volumes of the stream are in the unit of the candles, so that they can be compared.
    """

    address: str
    silence_s: float
    grace_s: float
    final: bool
    same_unit: bool

    def url(self) -> str: ...

    def greeting(self) -> Sequence[str]: ...

    def interrupted(self) -> None: ...

    def read(self, message: str | bytes) -> Sequence[Sighting]: ...


class BinanceWording:
    """`symbol@kline_1m`; k.x closes a candle ("Kline/Candlestick Streams")."""

    silence_s, grace_s, final, same_unit = 60.0, 5.0, True, True

    def __init__(self, environment: Mapping[str, str], symbol: str, timeframe: Timeframe, *, futures: bool) -> None:
        self.address = "BINANCE_FUTURES_WS_URL" if futures else "BINANCE_WS_URL"
        default = "wss://fstream.binance.com/market" if futures else "wss://stream.binance.com:9443"
        self._base = environment.get(self.address) or default
        self._symbol, self._interval, self._step = symbol, timeframe.name.lower(), timeframe.ms

    def url(self) -> str:
        return f"{self._base.rstrip('/')}/ws/{self._symbol.lower()}@kline_{self._interval}"

    def greeting(self) -> Sequence[str]:
        return ()

    def interrupted(self) -> None:
        """Nothing is kept from message to message."""

    def read(self, message: str | bytes) -> Sequence[Sighting]:
        found = _object(message)
        if isinstance(found.get("data"), dict):
            found = found["data"]
        if found.get("e") == "serverShutdown":
            raise RestartError("BINANCE announces that this server stops")
        if found.get("e") != "kline":
            if "result" in found and "id" in found:
                return ()
            raise ValueError("it is neither a candle nor an answer")
        candle = found["k"]
        if candle["s"] != self._symbol or candle["i"] != self._interval:
            return ()
        opens = _instant(candle["t"])
        if opens % 60_000 or not isinstance(candle["x"], bool):
            raise ValueError("it has no time or no close flag")
        closed = candle["x"]
        instant = opens + self._step if closed else min(_instant(found["E"]), opens + self._step - 1)
        values = tuple(_number(candle[name]) for name in ("o", "h", "l", "c", "v", "q"))
        return (Sighting(opens, instant, values, closed),)


class DeltaWording:
    """`candlestick_1m`: an event time and no close flag. The older form with candle_start_time is read too."""

    # With heartbeats switched on there is one every 30 s; the documentation says to reconnect after 35 s.
    address, silence_s, grace_s, final, same_unit = "DELTA_WS_URL", 35.0, 3.0, False, False

    def __init__(self, environment: Mapping[str, str], symbol: str, timeframe: Timeframe) -> None:
        self._base = environment.get(self.address) or "wss://public-socket.india.delta.exchange"
        self._symbol, self._channel, self._step = symbol, f"candlestick_{timeframe.name.lower()}", timeframe.ms

    def url(self) -> str:
        return self._base

    def greeting(self) -> Sequence[str]:
        channels = [{"name": self._channel, "symbols": [self._symbol]}]
        return (
            json.dumps({"type": "enable_heartbeat"}),
            json.dumps({"type": "subscribe", "payload": {"channels": channels}}),
        )

    def interrupted(self) -> None:
        """Nothing is kept from message to message."""

    def read(self, message: str | bytes) -> Sequence[Sighting]:
        found = _object(message)
        kind = found["type"]
        if kind in {"heartbeat", "subscriptions", "success", "pong", "unsubscribed"}:
            return ()
        if kind != self._channel:
            raise ValueError("it is not of this channel")
        if (found["sy"] if "sy" in found else found["symbol"]) != self._symbol:
            return ()
        if "candle_start_time" in found:
            opens, names = _instant(found["candle_start_time"]) // 1000, ("open", "high", "low", "close", "volume")
            instant = _instant(found["timestamp"]) // 1000
        else:
            instant, names = _instant(found["ts"]) // 1000, ("o", "h", "l", "c", "v")
            opens = instant // self._step * self._step
        prices = [found[name] for name in names[:4]]
        if None in prices:
            return (Sighting(opens, instant, None),)
        return (Sighting(opens, instant, (*(_number(p) for p in prices), _number(found.get(names[4]) or 0.0))),)


class ZerodhaWording:
    """Ticks in mode full, which is the one that has the exchange's time."""

    address, silence_s, grace_s, final, same_unit = "ZERODHA_WS_URL", 30.0, 5.0, False, True

    def __init__(self, adapter: Any, environment: Mapping[str, str], symbol: str, timeframe: Timeframe) -> None:
        self._adapter, self._symbol = adapter, symbol
        self._base = environment.get(self.address) or "wss://ws.kite.trade"
        self._candles = TickCandles(timeframe, calendar_of("ZERODHA"))
        self._number = ""

    def url(self) -> str:
        """The address with key and token in it, as the venue wants it: never to be logged."""
        self._number = self._adapter._instrument(self._symbol).number  # noqa: SLF001 - one venue, two modules
        authorization = self._adapter._authorization()["Authorization"]  # noqa: SLF001
        key, _, token = authorization.removeprefix("token ").partition(":")
        return f"{self._base.rstrip('/')}/?{urlencode({'api_key': key, 'access_token': token})}"

    def greeting(self) -> Sequence[str]:
        number = int(self._number)
        return (json.dumps({"a": "subscribe", "v": [number]}), json.dumps({"a": "mode", "v": ["full", [number]]}))

    def interrupted(self) -> None:
        self._candles.interrupt()

    def read(self, message: str | bytes) -> Sequence[Sighting]:
        if isinstance(message, str):
            if _object(message).get("type") == "error":
                raise ValueError("the venue reports an error")
            return ()
        return _sightings(self._candles, [tick for tick in kite_ticks(message) if tick.number == self._number])


class DhanWording:
    """Ticks: quote packets, for indices ticker packets."""

    address, silence_s, grace_s, final, same_unit = "DHAN_WS_URL", 40.0, 5.0, False, True

    def __init__(self, adapter: Any, environment: Mapping[str, str], symbol: str, timeframe: Timeframe) -> None:
        self._adapter, self._symbol = adapter, symbol
        self._base = environment.get(self.address) or "wss://api-feed.dhan.co"
        self._candles = TickCandles(timeframe, calendar_of("DHAN"))
        self._market = ("", "")

    def url(self) -> str:
        """The address with token and client in it, as the venue wants it: never to be logged."""
        found = self._adapter._instrument(self._symbol)  # noqa: SLF001 - one venue, two modules
        self._market = (found.segment, found.number)
        identity = self._adapter._authorization()  # noqa: SLF001
        query = {"version": 2, "token": identity["access-token"], "clientId": identity["client-id"], "authType": 2}
        return f"{self._base.rstrip('/')}/?{urlencode(query)}"

    def greeting(self) -> Sequence[str]:
        segment, number = self._market
        code = _DHAN_TICKER if segment == "IDX_I" else _DHAN_QUOTE
        instruments = [{"ExchangeSegment": segment, "SecurityId": number}]
        return (json.dumps({"RequestCode": code, "InstrumentCount": 1, "InstrumentList": instruments}),)

    def interrupted(self) -> None:
        self._candles.interrupt()

    def read(self, message: str | bytes) -> Sequence[Sighting]:
        if isinstance(message, str):
            _object(message)
            return ()
        ticks = []
        for found in dhan_ticks(message):
            if isinstance(found, Disconnect):
                raise _dhan_error(found.code)
            if (found.segment, found.number) == self._market:
                ticks.append(found)
        return _sightings(self._candles, ticks)


def wording_of(adapter: Adapter, environment: Mapping[str, str], symbol: str, timeframe: Timeframe) -> Wording:
    """The stream of a market.

    Raises:
        ConfigError: The venue has none, or no candles of this timeframe to confirm its own with.
    """
    capabilities = adapter.capabilities
    if not capabilities.serves(timeframe):
        raise ConfigError(
            f"{capabilities.title} has no {timeframe} candles of its own.",
            hint=f"stream one of {', '.join(capabilities.intervals)}.",
        )
    match capabilities.exchange:
        case "BINANCE" | "BINANCE_UM" as name:
            return BinanceWording(environment, symbol, timeframe, futures=name == "BINANCE_UM")
        case "DELTA":
            return DeltaWording(environment, symbol, timeframe)
        case "ZERODHA":
            return ZerodhaWording(adapter, environment, symbol, timeframe)
        case "DHAN":
            return DhanWording(adapter, environment, symbol, timeframe)
    raise ConfigError(f"{capabilities.title} has no stream of candles.", hint="download them instead.")


def _sightings(candles: TickCandles, ticks: Sequence[Any]) -> list[Sighting]:
    found = []
    for tick in ticks:
        bucket = candles.add(tick)
        if bucket is not None:
            values = (bucket.open, bucket.high, bucket.low, bucket.close, bucket.volume)
            found.append(Sighting(bucket.time, tick.time, values, whole=bucket.whole))
        elif tick.time is not None:
            found.append(Sighting(candles.opens(tick.time), tick.time, None))
    return found


def _dhan_error(code: int) -> BarwiseError:
    if code in _DHAN_CREDENTIAL_CODES:
        return CredentialError(f"DHAN ends the feed: not allowed (code {code}).", hint=_RENEW)
    if code == 805:
        return RateLimitError("DHAN ends the feed: more than five connections (code 805).", code=code)
    return APIError(f"DHAN ends the feed (code {code}).", hint="it is connected to anew.", code=code)


def refusal(exchange: str, address: str, status: int) -> BarwiseError:
    """The error for a handshake that was answered with an HTTP status instead."""
    if status in {401, 403}:
        return CredentialError(f"{exchange} refuses the stream (HTTP {status}).", hint=_RENEW)
    if status == 429:
        return RateLimitError(f"{exchange} refuses the stream: asked too often (HTTP 429).", status=status)
    return APIError(f"{exchange} refuses the stream (HTTP {status}).", hint=f"check {address}.", status=status)


def shown(message: str | bytes) -> str:
    """A message for a log line: the beginning of a text, the length of bytes."""
    return f"{len(message)} bytes" if isinstance(message, bytes) else quote(message[:80])


def _object(message: str | bytes) -> dict[str, Any]:
    found = json.loads(message)
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    return found


def _instant(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError("it has no time")
    return value


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError("it has a value that is no number")
    return number
