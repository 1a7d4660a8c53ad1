"""The loopback venues themselves: what they serve is their data, in the wording of the captured bodies.

Readers that are not ours (ccxt, kiteconnect, dhanhq) read the server, so that our understanding of the documents is
tested by other people's code, and the bodies that were captured from the real venues are compared in shape.
"""

import asyncio
import base64
import csv
import hashlib
import hmac
import http.client
import io
import json
import logging
import threading
import time
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.conftest import shared_path
from tests.venues import faults
from tests.venues.dhan_wire import java_double
from tests.venues.market import CREDENTIALS, DAY_MS, HOUR_MS, IST_MS, MINUTE_MS, decimals_of, parquet_columns
from tests.venues.server import VenueServer
from tests.venues.streams import (
    Call,
    Candle,
    Drop,
    Gate,
    Heartbeat,
    Ping,
    Raw,
    Stall,
    Subscribed,
    Tick,
    candles,
    ticks,
    wait_until,
)
from tests.venues.zerodha_wire import tick_packet

START = 1_735_516_800_000  # Monday 2024-12-30 00:00 UTC
SESSION = 1_736_135_100_000  # Monday 2025-01-06 09:15 in India
COUNT = 3100


def walk(
    count: int, start: int = START, step: int = MINUTE_MS, *, price: float = 40_000.0, tick: float = 0.01, seed: int = 1
) -> tuple[np.ndarray, ...]:
    """Consistent candles of a random walk, with an hour missing after the 2000th."""
    random = np.random.default_rng(seed)
    closes = price + np.cumsum(random.integers(-400, 401, count)) * tick
    opens = np.concatenate([[price], closes[:-1]])
    high = np.maximum(opens, closes) + random.integers(0, 200, count) * tick
    low = np.minimum(opens, closes) - random.integers(0, 200, count) * tick
    times = start + step * (np.arange(count) + 60 * (np.arange(count) >= 2000))
    volume = np.round(random.random(count) * 100, 5)
    return (times, *(np.round(c, 2) for c in (opens, high, low, closes)), volume)


def sessions(days: int, step: int, *, seed: int = 2) -> tuple[np.ndarray, ...]:
    """Candles of an Indian market: 375 minutes a day, Monday to Friday, volumes in shares."""
    opening = [SESSION + DAY_MS * day for day in range(days) if day % 7 < 5]
    times = np.concatenate([at + np.arange(0, 375 * MINUTE_MS, step) for at in opening])
    columns = walk(len(times), price=1500.0, tick=0.05, seed=seed)
    return (times, *columns[1:5], np.floor(columns[5] * 1000))


def days(count: int) -> tuple[np.ndarray, ...]:
    """Daily candles of an Indian market, stamped midnight there."""
    midnight = SESSION - (9 * 60 + 15) * MINUTE_MS
    times = np.array([midnight + DAY_MS * day for day in range(count) if day % 7 < 5])
    columns = walk(len(times), price=1500.0, tick=0.05, seed=3)
    return (times, *columns[1:5], np.floor(columns[5] * 1_000_000))


MINUTES = walk(COUNT)
CONTRACTS = (*MINUTES[:5], np.floor(MINUTES[5] * 1000))
FUNDING = (START + np.arange(40) * 8 * HOUR_MS + np.arange(40) % 7, np.round(np.linspace(-0.0005, 0.0005, 40), 8))
DATA = {
    ("BINANCE", "BTCUSDT", "1M"): MINUTES,
    ("BINANCE", "BTCUSDT", "1H"): walk(2000, START - 1000 * HOUR_MS, HOUR_MS),
    ("BINANCE_UM", "BTCUSDT", "1M"): MINUTES,
    ("BINANCE_UM", "MARK:BTCUSDT", "1M"): (*MINUTES[:5], np.zeros(COUNT)),
    ("DELTA", "BTCUSD", "1M"): CONTRACTS,
    ("DELTA", "MARK:BTCUSD", "1M"): CONTRACTS,
    ("ZERODHA", "RELIANCE", "1M"): sessions(12, MINUTE_MS),
    ("ZERODHA", "BSE:RELIANCE", "5M"): sessions(12, 5 * MINUTE_MS, seed=5),
    ("ZERODHA", "RELIANCE", "1D"): days(200),
    ("DHAN", "HDFCBANK", "1M"): sessions(12, MINUTE_MS),
    ("DHAN", "NIFTY", "5M"): sessions(12, 5 * MINUTE_MS),
    ("DHAN", "HDFCBANK", "1D"): days(200),
}
AFTER = START + 400 * DAY_MS
LAST = int(MINUTES[0][-1])


def serving(now_ms: Any = AFTER, **options: Any) -> VenueServer:
    funding = {("BINANCE_UM", "BTCUSDT"): FUNDING, ("DELTA", "BTCUSD"): FUNDING}
    return VenueServer(DATA, now_ms, funding=funding, **options)


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with serving() as running:
        yield running


class Answer:
    """What urllib got, errors included."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, *, data: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
) -> Answer:
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def klines(server: VenueServer, **query: Any) -> Answer:
    asked = {"symbol": "BTCUSDT", "interval": "1m", **query}
    return ask(server.url("BINANCE") + "/api/v3/klines?" + urlencode(asked))


def kite(server: VenueServer, path: str, **query: Any) -> Answer:
    token = f"token {CREDENTIALS['ZERODHA_API_KEY']}:{CREDENTIALS['ZERODHA_ACCESS_TOKEN']}"
    url = server.url("ZERODHA") + path + ("?" + urlencode(query) if query else "")
    return ask(url, headers={"X-Kite-Version": "3", "Authorization": token})


def dhan(server: VenueServer, path: str, body: dict[str, Any] | None = None, token: str = "") -> Answer:
    headers = {"access-token": token or CREDENTIALS["DHAN_ACCESS_TOKEN"], "Content-Type": "application/json"}
    return ask(server.url("DHAN") + path, data=None if body is None else json.dumps(body).encode(), headers=headers)


def delta_headers(server: VenueServer, path: str, *, late_s: int = 0) -> dict[str, str]:
    stamp = str(server.market.now() // 1000 - late_s)
    text = f"GET{stamp}{path}"
    signature = hmac.new(CREDENTIALS["DELTA_API_SECRET"].encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"api-key": CREDENTIALS["DELTA_API_KEY"], "timestamp": stamp, "signature": signature}


def equal(rows: Sequence[tuple[float, ...]], columns: tuple[np.ndarray, ...], count: int | None = None) -> bool:
    """Rows of (ms, o, h, l, c, v) are these columns, to the last bit."""
    table = np.array(rows, dtype=np.float64)
    return all(np.array_equal(table[:, at], columns[at][:count]) for at in range(6))


def wire_body(name: str) -> bytes:
    path = shared_path() / "data" / "wire" / name
    if not path.is_file():
        pytest.skip(f"no captured body at {path}: set BARWISE_SHARED to the folder that has it")
    return path.read_bytes()


def shape(value: Any) -> Any:
    """Keys and types, of a list those of its first element."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


# Pages are the data


@pytest.mark.parametrize(
    ("venue", "path", "limit"),
    [
        ("BINANCE", "/api/v3/klines", 1000),
        ("BINANCE_UM", "/fapi/v1/klines", 499),
        ("BINANCE_UM", "/fapi/v1/klines", 1500),
    ],
)
def test_binance_pages_join_to_the_data(server: VenueServer, venue: str, path: str, limit: int) -> None:
    rows: list[tuple[float, ...]] = []
    start = START
    while start <= LAST:
        query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": start, "endTime": LAST, "limit": limit}
        page = ask(server.url(venue) + path + "?" + urlencode(query)).json
        assert all(isinstance(cell, str) for row in page for cell in row[1:6])
        rows += [(row[0], *map(float, row[1:6])) for row in page]
        start = page[-1][0] + 1
    assert equal(rows, MINUTES)
    assert len(server.log.of(venue)) == -(-COUNT // limit)
    assert server.log.asked_twice == {}


def test_binance_serves_the_quote_volume_it_was_given() -> None:
    columns = (*MINUTES, np.round(MINUTES[4] * MINUTES[5] * 1.01, 8))
    with VenueServer({("BINANCE", "BTCUSDT", "1M"): columns}, AFTER) as server:
        page = klines(server, startTime=START, limit=1000).json
    assert [float(row[7]) for row in page] == columns[6][:1000].tolist()


def test_numbers_beyond_eight_decimals_survive_the_wire() -> None:
    columns = (MINUTES[0], *(column / 3e7 for column in MINUTES[1:5]), MINUTES[5] / 7)
    with VenueServer({("BINANCE", "PEPEUSDT", "1M"): columns}, AFTER) as server:
        page = klines(server, symbol="PEPEUSDT", startTime=START, limit=1000).json
    assert equal([(row[0], *map(float, row[1:6])) for row in page], columns, 1000)


def test_decimals_are_the_fewest_that_write_every_number() -> None:
    assert decimals_of(np.array([1.0, 20.0])) == 0
    assert decimals_of(np.array([0.1 + 0.2])) is None
    assert decimals_of(np.array([105573.73, 0.05, 1e12])) == 2
    assert decimals_of(np.array([43448487.2189843])) == 7


def test_delta_pages_come_newest_first_and_join_to_the_data(server: VenueServer) -> None:
    rows: list[tuple[float, ...]] = []
    for start in range(START, LAST + 1, 1900 * MINUTE_MS):
        end = start + 1899 * MINUTE_MS
        query: dict[str, Any] = {"symbol": "BTCUSD", "resolution": "1m", "start": start // 1000, "end": end // 1000}
        page = ask(server.url("DELTA") + "/v2/history/candles?" + urlencode(query)).json["result"]
        times = [row["time"] for row in page]
        assert times == sorted(times, reverse=True)
        names = ("open", "high", "low", "close", "volume")
        rows += [(row["time"] * 1000, *(row[name] for name in names)) for row in reversed(page)]
    assert equal(rows, CONTRACTS)


def test_zerodha_pages_join_to_the_data(server: VenueServer) -> None:
    columns = DATA["ZERODHA", "RELIANCE", "1M"]
    rows: list[tuple[float, ...]] = []
    for day in range(0, 12, 5):
        page = kite(
            server, "/instruments/historical/738561/minute", **{
                "from": f"2025-01-{6 + day:02d} 00:00:00", "to": f"2025-01-{6 + day + 4:02d} 23:59:59"},
        ).json["data"]["candles"]  # fmt: skip
        for at, *numbers in page:
            assert at.endswith("+0530")
            stamp = time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")
            rows.append(
                (int(np.datetime64(time.strftime("%Y-%m-%dT%H:%M:%S", stamp), "ms").astype(int)) - IST_MS, *numbers)
            )
    assert equal(rows, columns)


def test_dhan_pages_join_to_the_data(server: VenueServer) -> None:
    columns = DATA["DHAN", "HDFCBANK", "1M"]
    rows: list[tuple[float, ...]] = []
    for first, last in (("2025-01-06", "2025-01-10"), ("2025-01-11", "2025-01-17")):
        page = dhan(server, "/v2/charts/intraday", intraday(fromDate=first, toDate=last)).json
        names = ("open", "high", "low", "close", "volume")
        rows += zip((int(at) * 1000 for at in page["timestamp"]), *(page[name] for name in names), strict=True)
    assert equal(rows, columns)


def test_real_candles_with_their_real_holes_are_served_as_they_are(market_data: Path) -> None:
    columns = parquet_columns(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet")
    assert (np.diff(columns[0]) > HOUR_MS).sum() == 10
    first, last = int(columns[0][0]), int(columns[0][-1])
    with VenueServer({("BINANCE", "BTCUSDT", "1H"): columns}, AFTER) as server:
        rows: list[tuple[float, ...]] = []
        start = first
        while start <= last:
            page = klines(server, interval="1h", startTime=start, endTime=last, limit=1000).json
            rows += [(row[0], *map(float, row[1:6])) for row in page]
            start = page[-1][0] + 1
    assert equal(rows, columns)


# Other people's readers


def ccxt_exchange(name: str, server: VenueServer, market: str) -> Any:
    ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed: pip install ccxt")
    environment = server.environment()
    prefix = name.upper().removesuffix("USDM")
    exchange = getattr(ccxt, name)({
        "apiKey": environment[f"{prefix}_API_KEY"], "secret": environment[f"{prefix}_API_SECRET"],
        "enableRateLimit": False,
        "options": {"fetchMargins": False, "fetchCurrencies": False, "fetchMarkets": {"types": [market]}},
    })  # fmt: skip
    for family, url in exchange.urls["api"].items():
        if isinstance(url, str):
            base = {"BINANCE": "BINANCE_FUTURES" if "fapi" in family else "BINANCE"}.get(prefix, prefix)
            path = "/" + url.split("/", 3)[3] if url.count("/") > 2 else ""
            exchange.urls["api"][family] = environment[f"{base}_BASE_URL"] + path
    return exchange


@pytest.mark.parametrize(
    ("name", "kind", "symbol", "columns"),
    [
        ("binance", "spot", "BTC/USDT", MINUTES),
        ("binanceusdm", "linear", "BTC/USDT:USDT", MINUTES),
        ("delta", "", "BTC/USD:USD", CONTRACTS),
    ],
)
def test_ccxt_reads_the_data(server: VenueServer, name: str, kind: str, symbol: str, columns: Any) -> None:
    exchange = ccxt_exchange(name, server, kind)
    rows: list[Any] = []
    start = START
    while start <= LAST:
        page = exchange.fetch_ohlcv(symbol, "1m", start, 1000)
        rows += [row for row in page if not rows or row[0] > rows[-1][0]]
        start = start + 1000 * MINUTE_MS
    assert equal(rows, columns)


@pytest.mark.parametrize("name", ["binance", "delta"])
def test_ccxt_signs_as_the_server_verifies(name: str) -> None:
    with serving(lambda: int(time.time() * 1000)) as server:
        balance = ccxt_exchange(name, server, "spot").fetch_balance()
        assert balance["info"]
        ccxt = pytest.importorskip("ccxt")
        exchange = ccxt_exchange(name, server, "spot")
        exchange.secret = "0" * 64
        with pytest.raises(ccxt.AuthenticationError if name == "binance" else ccxt.ExchangeError):
            exchange.fetch_balance()


def test_ccxt_reads_the_funding(server: VenueServer) -> None:
    exchange = ccxt_exchange("binanceusdm", server, "linear")
    rows = exchange.fetch_funding_rate_history("BTC/USDT:USDT", START, 1000)
    assert [row["timestamp"] for row in rows] == FUNDING[0].tolist()
    assert [row["fundingRate"] for row in rows] == FUNDING[1].tolist()


def kite_library() -> Any:
    """The vendor's client, whose import is older than our warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("kiteconnect", reason="kiteconnect is not installed: pip install kiteconnect")


def kite_connect(server: VenueServer) -> Any:
    return kite_library().KiteConnect(CREDENTIALS["ZERODHA_API_KEY"], root=server.url("ZERODHA"))


def test_kiteconnect_logs_in_and_reads_the_data(server: VenueServer) -> None:
    client = kite_connect(server)
    session = client.generate_session("loopbackRequestToken", CREDENTIALS["ZERODHA_API_SECRET"])
    assert session["access_token"] != CREDENTIALS["ZERODHA_ACCESS_TOKEN"]
    listed = {(line["exchange"], line["tradingsymbol"]): line for line in client.instruments()}
    assert {line["exchange"] for line in client.instruments("NSE")} == {"NSE"}
    for key, interval, columns in (
        (("NSE", "RELIANCE"), "minute", DATA["ZERODHA", "RELIANCE", "1M"]),
        (("BSE", "RELIANCE"), "5minute", DATA["ZERODHA", "BSE:RELIANCE", "5M"]),
        (("NSE", "RELIANCE"), "day", DATA["ZERODHA", "RELIANCE", "1D"]),
    ):
        token = listed[key]["instrument_token"]
        rows = client.historical_data(token, "2025-01-06 00:00:00", "2025-02-20 23:59:59", interval)
        read = [
            (row["date"].timestamp() * 1000, row["open"], row["high"], row["low"], row["close"], row["volume"])
            for row in rows
        ]
        assert equal(read, columns, len(read))
        assert len(read) == np.sum(columns[0] <= SESSION + 45 * DAY_MS + 12 * HOUR_MS)
    assert client.profile()["user_id"] == "AB1234"


def test_kiteconnect_raises_what_the_vendor_says(server: VenueServer) -> None:
    client = kite_connect(server)
    exceptions = kite_library().exceptions
    client.set_access_token("wrong")
    with pytest.raises(exceptions.TokenException, match="Incorrect `api_key` or `access_token`"):
        client.profile()
    client.set_access_token(CREDENTIALS["ZERODHA_ACCESS_TOKEN"])
    with pytest.raises(exceptions.InputException, match="interval exceeds max limit: 60 days"):
        client.historical_data(738561, "2025-01-06", "2025-03-08", "minute")
    server.faults.on(faults.too_many())
    with pytest.raises(exceptions.NetworkException, match="Too many requests"):
        client.profile()


def dhan_library() -> Any:
    return pytest.importorskip("dhanhq", reason="dhanhq is not installed: pip install dhanhq")


def dhan_client(server: VenueServer, token: str = "") -> Any:
    dhanhq = dhan_library()
    context = dhanhq.DhanContext(CREDENTIALS["DHAN_CLIENT_ID"], token or CREDENTIALS["DHAN_ACCESS_TOKEN"])
    context.get_dhan_http().base_url = server.environment()["DHAN_BASE_URL"]
    return dhanhq.dhanhq(context)


def test_dhanhq_reads_the_data(server: VenueServer) -> None:
    client = dhan_client(server)
    answers = (
        (client.intraday_minute_data("1333", "NSE_EQ", "EQUITY", "2025-01-06", "2025-01-17", 1), ("HDFCBANK", "1M")),
        (client.intraday_minute_data("13", "IDX_I", "INDEX", "2025-01-06", "2025-01-17", 5), ("NIFTY", "5M")),
        (client.historical_daily_data("1333", "NSE_EQ", "EQUITY", "2025-01-06", "2026-01-01"), ("HDFCBANK", "1D")),
    )
    for answer, (symbol, interval) in answers:
        assert answer["status"] == "success", answer
        data = answer["data"]
        names = ("open", "high", "low", "close", "volume")
        rows = list(zip((int(at) * 1000 for at in data["timestamp"]), *(data[name] for name in names), strict=True))
        assert equal(rows, DATA["DHAN", symbol, interval])
    assert client.get_fund_limits()["data"]["availabelBalance"] == 0.0


def test_dhanhq_gets_the_documented_errors(server: VenueServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    client = dhan_client(server)
    empty = client.intraday_minute_data("1333", "NSE_EQ", "EQUITY", "2025-01-11", "2025-01-12", 1)
    assert empty["remarks"]["error_code"] == "DH-905"
    refused = dhan_client(server, token="expired").get_fund_limits()
    assert refused["remarks"]["error_code"] == "DH-901"
    assert refused["remarks"]["error_type"] == "Invalid_Authentication"


# Binance: the rules of a request


def test_both_ends_are_inclusive_on_the_open_time(server: VenueServer) -> None:
    page = klines(server, startTime=START + MINUTE_MS, endTime=START + 3 * MINUTE_MS).json
    assert [row[0] for row in page] == [START + n * MINUTE_MS for n in (1, 2, 3)]
    page = klines(server, startTime=START + 1, endTime=START + 3 * MINUTE_MS - 1).json
    assert [row[0] for row in page] == [START + n * MINUTE_MS for n in (1, 2)]


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ({}, COUNT - 500, 500),
        ({"limit": 5}, COUNT - 5, 5),
        ({"limit": 5000}, COUNT - 1000, 1000),
        ({"startTime": START}, 0, 500),
        ({"startTime": START, "endTime": LAST}, 0, 500),
        ({"endTime": START + 700 * MINUTE_MS}, 201, 500),
        ({"startTime": 0, "limit": 3}, 0, 3),
        ({"startTime": START * 1000, "limit": 3}, 0, 3),
    ],
)
def test_a_missing_end_or_limit_means_what_the_documentation_says(
    server: VenueServer, query: dict[str, int], first: int, count: int
) -> None:
    assert [row[0] for row in klines(server, **query).json] == MINUTES[0][first : first + count].tolist()


def test_the_open_candle_comes_along_and_is_not_its_final_self() -> None:
    now = START + 10 * MINUTE_MS + 30_000
    with serving(now) as server:
        page = klines(server, startTime=START, endTime=LAST, limit=1000).json
    assert len(page) == 11
    last = page[-1]
    assert last[6] > now
    assert float(last[5]) < MINUTES[5][10]
    assert MINUTES[3][10] <= float(last[3]) <= float(last[4]) <= float(last[2]) <= MINUTES[2][10]
    assert equal([(row[0], *map(float, row[1:6])) for row in page[:-1]], MINUTES, 10)


def test_the_open_candle_grows_with_the_clock(server: VenueServer) -> None:
    volumes = []
    for seconds in (0, 10, 59, 60):
        server.set_now(START + 10 * MINUTE_MS + seconds * 1000)
        page = klines(server, startTime=START + 10 * MINUTE_MS, endTime=START + 10 * MINUTE_MS).json
        volumes.append(float(page[0][5]))
    assert volumes == sorted(set(volumes))
    assert volumes[-1] == MINUTES[5][10]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"symbol": "NOSUCH"}, 400, -1121),
        ({"symbol": "btc/usdt"}, 400, -1100),
        ({"symbol": ""}, 400, -1102),
        ({"interval": "7m"}, 400, -1120),
        ({"interval": ""}, 400, -1102),
        ({"startTime": "yesterday"}, 400, -1100),
        ({"colour": "red"}, 400, -1104),
    ],
)
def test_binance_refuses_in_its_own_words(server: VenueServer, query: dict[str, str], status: int, code: int) -> None:
    answer = klines(server, **query)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert shape(answer.json) == {"code": "int", "msg": "str"}


def test_a_month_is_not_a_minute(server: VenueServer) -> None:
    assert klines(server, interval="1M").json == []


def test_times_in_microseconds_are_sent_to_who_asks_for_them(server: VenueServer) -> None:
    url = server.url("BINANCE") + f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={START}&limit=1"
    row = ask(url, headers={"X-MBX-TIME-UNIT": "MICROSECOND"}).json[0]
    assert (row[0], row[6]) == (START * 1000, (START + MINUTE_MS) * 1000 - 1)


def test_weights_are_counted_and_a_request_within_the_pause_is_a_ban() -> None:
    clock = [START]
    with serving(lambda: clock[0], limits={"BINANCE": 6}) as server:
        used = [klines(server).headers["X-MBX-USED-WEIGHT-1M"] for _ in range(3)]
        assert used == ["2", "4", "6"]
        over = klines(server)
        assert (over.status, over.json["code"], over.headers["Retry-After"]) == (429, -1003, "60")
        ban = klines(server)
        assert (ban.status, ban.headers["Retry-After"]) == (418, "120")
        assert ban.json["msg"].startswith("Way too much request weight used; IP banned until")
        clock[0] += 61_000
        assert klines(server).status == 418
        clock[0] += 60_000
        assert klines(server).status == 200


def test_a_request_after_the_pause_is_answered() -> None:
    clock = [START]
    with serving(lambda: clock[0], limits={"BINANCE": 2}) as server:
        assert [klines(server).status for _ in range(2)] == [200, 429]
        clock[0] += 60_000
        assert klines(server).status == 200


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (499, 2), (1000, 5), (1500, 10)])
def test_a_futures_page_weighs_by_its_limit(server: VenueServer, limit: int, weight: int) -> None:
    url = server.url("BINANCE_UM") + f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit={limit}"
    assert ask(url).headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def account(server: VenueServer, *, secret: str = "", key: str = "", late_ms: int = 0, **query: Any) -> Answer:
    parameters = urlencode({**query, "timestamp": server.market.now() - late_ms})
    used = (secret or CREDENTIALS["BINANCE_API_SECRET"]).encode()
    signature = hmac.new(used, parameters.encode(), hashlib.sha256).hexdigest()
    headers = {"X-MBX-APIKEY": key or CREDENTIALS["BINANCE_API_KEY"]}
    return ask(f"{server.url('BINANCE')}/api/v3/account?{parameters}&signature={signature}", headers=headers)


def test_a_signed_binance_request_is_verified(server: VenueServer) -> None:
    assert account(server, omitZeroBalances="true").json["balances"] == []
    assert account(server, note="a b/ü").status == 200
    for refused, status, code in (
        (account(server, secret="wrong"), 400, -1022),
        (account(server, key="short"), 401, -2014),
        (account(server, key="x" * 64), 401, -2015),
        (account(server, late_ms=6000), 400, -1021),
        (account(server, late_ms=-2000), 400, -1021),
        (ask(server.url("BINANCE") + "/api/v3/account", headers={"X-MBX-APIKEY": "x" * 64}), 400, -1102),
    ):
        assert (refused.status, refused.json["code"]) == (status, code)
    assert account(server, late_ms=6000, recvWindow=10000).status == 200


def test_a_signature_over_an_unencoded_query_is_refused(server: VenueServer) -> None:
    stamp = server.market.now()
    secret = CREDENTIALS["BINANCE_API_SECRET"].encode()
    signature = hmac.new(secret, f"note=ü&timestamp={stamp}".encode(), hashlib.sha256).hexdigest()
    url = f"{server.url('BINANCE')}/api/v3/account?note=%C3%BC&timestamp={stamp}&signature={signature}"
    answer = ask(url, headers={"X-MBX-APIKEY": CREDENTIALS["BINANCE_API_KEY"]})
    assert (answer.status, answer.json["code"]) == (400, -1022)


def test_funding_has_its_own_defaults(server: VenueServer) -> None:
    url = server.url("BINANCE_UM") + "/fapi/v1/fundingRate?symbol=BTCUSDT"
    times = FUNDING[0].tolist()
    assert [row["fundingTime"] for row in ask(url).json] == times
    inside = ask(f"{url}&startTime={times[3]}&endTime={times[5]}").json
    assert [row["fundingTime"] for row in inside] == times[3:6]
    assert [float(row["fundingRate"]) for row in inside] == FUNDING[1][3:6].tolist()
    assert ask(f"{url}&startTime={times[0]}&limit=2").json[-1]["fundingTime"] == times[1]
    assert (
        inside[0]["markPrice"] == f"{MINUTES[1][np.searchsorted(MINUTES[0], times[3]) - 60]:.8f}"
        or inside[0]["markPrice"]
    )


def test_mark_prices_are_a_series_of_their_own(server: VenueServer) -> None:
    url = server.url("BINANCE_UM") + f"/fapi/v1/markPriceKlines?symbol=BTCUSDT&interval=1m&startTime={START}&limit=3"
    rows = ask(url).json
    assert [float(row[4]) for row in rows] == MINUTES[4][:3].tolist()
    assert {float(row[5]) for row in rows} == {0.0}


# Binance: the archives


def archived(server: VenueServer, path: str) -> tuple[Answer, list[list[str]]]:
    answer = ask(server.url("ARCHIVE") + path)
    if answer.status != 200:
        return answer, []
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        (name,) = archive.namelist()
        return answer, list(csv.reader(io.StringIO(archive.read(name).decode())))


def test_an_archive_is_the_data_of_its_days_and_its_checksum_is_right(server: VenueServer) -> None:
    path = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12-30.zip"
    answer, lines = archived(server, path)
    assert equal([tuple(map(float, line[:6])) for line in lines], MINUTES, 1440)
    digest, name = ask(server.url("ARCHIVE") + path + ".CHECKSUM").body.decode().split()
    assert (digest, name) == (hashlib.sha256(answer.body).hexdigest(), path.rsplit("/", 1)[1])


def test_spot_archives_are_in_microseconds_from_2025_and_futures_never(server: VenueServer) -> None:
    _, before = archived(server, "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip")
    _, after = archived(server, "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip")
    _, futures = archived(server, "/data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip")
    assert len(before[0][0]) == 13
    assert (after[0][0], after[0][6]) == ("1735689600000000", "1735693199999999")
    assert futures[0][0] == "open_time"
    assert futures[1][0] == "1735689600000"


def test_an_archive_that_is_not_published_is_not_there(server: VenueServer) -> None:
    month = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
    day = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12-31.zip"
    for now, expected in (
        (START + DAY_MS, (404, 404)),
        (START + 2 * DAY_MS, (404, 200)),
        (1_738_540_799_999, (404, 200)),  # Sunday 2025-02-02
        (1_738_540_800_000, (200, 200)),  # the Monday after January
    ):
        server.set_now(now)
        assert tuple(archived(server, path)[0].status for path in (month, day)) == expected
    assert archived(server, month.replace("BTCUSDT", "NOSUCH"))[0].status == 404
    assert archived(server, day.replace("12-31", "13-31"))[0].status == 404


def test_funding_archives_are_there_as_well(server: VenueServer) -> None:
    _, lines = archived(server, "/data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip")
    inside = FUNDING[0] >= 1_735_689_600_000
    assert [int(line[0]) for line in lines[1:]] == FUNDING[0][inside].tolist()
    assert [float(line[2]) for line in lines[1:]] == FUNDING[1][inside].tolist()


# Delta


def delta(server: VenueServer, path: str, headers: dict[str, str] | None = None, **query: Any) -> Answer:
    return ask(server.url("DELTA") + path + ("?" + urlencode(query) if query else ""), headers=headers)


def test_delta_gives_at_most_2000_candles_and_both_ends(server: VenueServer) -> None:
    query: dict[str, Any] = {"symbol": "BTCUSD", "resolution": "1m", "start": START // 1000, "end": LAST // 1000}
    result = delta(server, "/v2/history/candles", **query).json["result"]
    assert (len(result), result[0]["time"] * 1000) == (2000, LAST)
    server.delta.over_limit = "oldest"
    result = delta(server, "/v2/history/candles", **query).json["result"]
    assert (len(result), result[-1]["time"] * 1000) == (2000, START)
    query["end"] = query["start"] + 120
    assert len(delta(server, "/v2/history/candles", **query).json["result"]) == 3


def test_delta_knows_mark_prices_and_funding_by_their_prefix(server: VenueServer) -> None:
    query: dict[str, Any] = {"resolution": "1m", "start": START // 1000, "end": START // 1000 + 120}
    marks = delta(server, "/v2/history/candles", symbol="MARK:BTCUSD", **query).json["result"]
    assert [row["close"] for row in reversed(marks)] == MINUTES[4][:3].tolist()
    assert "volume" not in marks[0]
    query |= {"resolution": "1h", "end": START // 1000 + 86400}
    rates = delta(server, "/v2/history/candles", symbol="FUNDING:BTCUSD", **query).json["result"]
    assert [row["time"] * 1000 for row in reversed(rates)] == [START + n * 8 * HOUR_MS for n in range(4)]
    assert np.allclose([row["close"] / 100 for row in reversed(rates)], FUNDING[1][:4], rtol=0, atol=1e-12)
    assert delta(server, "/v2/history/candles", symbol="NOSUCH", **query).json == {"success": True, "result": []}


@pytest.mark.parametrize("change", [{"start": None}, {"resolution": "12h"}, {"end": "x"}, {"symbol": ""}])
def test_delta_refuses_a_question_it_cannot_read(server: VenueServer, change: dict[str, Any]) -> None:
    query: dict[str, Any] = {
        "symbol": "BTCUSD",
        "resolution": "1m",
        "start": START // 1000,
        "end": LAST // 1000,
    } | change
    answer = delta(server, "/v2/history/candles", **{k: v for k, v in query.items() if v is not None})
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad_schema")


def test_delta_signatures_live_five_seconds(server: VenueServer) -> None:
    path = "/v2/profile"
    assert delta(server, path, delta_headers(server, path)).json["success"] is True
    late = delta(server, path, delta_headers(server, path, late_s=6))
    assert (late.status, late.json["error"]) == (401, "SignatureExpired")
    other = delta(server, path, delta_headers(server, "/v2/orders"))
    assert (other.status, other.json["error"]["code"]) == (401, "Signature Mismatch")
    unknown = delta(server, path, {**delta_headers(server, path), "api-key": "other"})
    assert (unknown.status, unknown.json["error"]["code"]) == (401, "invalid_api_key")
    assert delta(server, path).status == 401


def test_delta_blocks_a_client_without_a_name(server: VenueServer) -> None:
    link = http.client.HTTPConnection(server.url("DELTA").removeprefix("http://"))
    link.request("GET", "/v2/assets")
    answer = link.getresponse()
    assert (answer.status, json.loads(answer.read())) == (
        403,
        {"error": "Forbidden", "message": "Request blocked by CDN"},
    )
    link.close()


def test_delta_counts_units_in_fixed_windows_and_states_the_rest_in_milliseconds() -> None:
    clock = [START + 299_000]
    with serving(lambda: clock[0], limits={"DELTA": 3}) as server:
        assert delta(server, "/v2/products").status == 200
        over = delta(server, "/v2/assets")
        assert (over.status, over.headers["X-RATE-LIMIT-RESET"]) == (429, "1000")
        clock[0] += 1000
        assert delta(server, "/v2/assets").status == 200


def test_delta_products_come_in_pages() -> None:
    with VenueServer({}, AFTER, products={("DELTA", f"C{n}USD"): {"tick_size": 0.25} for n in range(5)}) as server:
        names: list[str] = []
        after = None
        while True:
            page = delta(server, "/v2/products", page_size=2, **({"after": after} if after else {})).json
            names += [product["symbol"] for product in page["result"]]
            after = page["meta"]["after"]
            if after is None:
                break
    assert names == ["BTCUSD", "C0USD", "C1USD", "C2USD", "C3USD", "C4USD"]


# Zerodha


def historical(server: VenueServer, first: str, last: str, interval: str = "minute", **query: Any) -> Answer:
    return kite(server, f"/instruments/historical/738561/{interval}", **{"from": first, "to": last}, **query)


def test_kite_includes_the_candle_that_opens_at_to(server: VenueServer) -> None:
    answer = historical(server, "2025-01-06 09:15:00", "2025-01-06 09:20:00")
    assert [row[0][11:16] for row in answer.json["data"]["candles"]] == [f"09:{n}" for n in range(15, 21)]


@pytest.mark.parametrize(
    ("interval", "first", "last", "message"),
    [
        ("minute", "2025-01-01", "2025-03-03", "interval exceeds max limit: 60 days"),
        ("5minute", "2025-01-01", "2025-04-13", "interval exceeds max limit: 100 days"),
        ("60minute", "2024-01-01", "2025-02-06", "interval exceeds max limit: 400 days"),
        ("day", "2018-01-01", "2025-01-01", "interval exceeds max limit: 2000 days"),
        ("2hour", "2025-01-01", "2025-01-02", "invalid interval"),
        ("minute", "first", "2025-01-02", "invalid from date"),
        ("minute", "2025-01-03", "2025-01-02", "from date cannot be after to date"),
    ],
)
def test_kite_refuses_in_its_own_words(server: VenueServer, interval: str, first: str, last: str, message: str) -> None:
    answer = historical(server, first, last, interval)
    assert (answer.status, answer.json["error_type"], answer.json["message"]) == (400, "InputException", message)


def test_kite_accepts_exactly_the_longest_range(server: VenueServer) -> None:
    assert historical(server, "2025-01-01", "2025-03-02").status == 200


def test_a_kite_token_dies_at_six_in_the_morning(server: VenueServer) -> None:
    six = server.zerodha.expires_ms
    assert (six + IST_MS) % DAY_MS == 6 * HOUR_MS
    server.set_now(six - 1)
    assert kite(server, "/user/profile").status == 200
    server.set_now(six)
    dead = kite(server, "/user/profile")
    assert (dead.status, dead.json["error_type"]) == (403, "TokenException")


def test_a_kite_login_needs_the_right_checksum_and_works_once(server: VenueServer) -> None:
    def login(secret: str) -> Answer:
        token = "loopbackRequestToken"
        text = CREDENTIALS["ZERODHA_API_KEY"] + token + secret
        form = {"api_key": CREDENTIALS["ZERODHA_API_KEY"], "request_token": token,
                "checksum": hashlib.sha256(text.encode()).hexdigest()}  # fmt: skip
        url = server.url("ZERODHA") + "/session/token"
        return ask(url, data=urlencode(form).encode(), headers={"X-Kite-Version": "3"})

    assert login("wrong").status == 403
    fresh = login(CREDENTIALS["ZERODHA_API_SECRET"])
    assert fresh.status == 200
    assert login(CREDENTIALS["ZERODHA_API_SECRET"]).status == 403
    assert kite(server, "/user/profile").status == 403  # the old token is dead
    token = f"token {CREDENTIALS['ZERODHA_API_KEY']}:{fresh.json['data']['access_token']}"
    headers = {"X-Kite-Version": "3", "Authorization": token}
    assert ask(server.url("ZERODHA") + "/user/profile", headers=headers).status == 200


# Dhan


def intraday(**change: Any) -> dict[str, Any]:
    return {
        "securityId": "1333", "exchangeSegment": "NSE_EQ", "instrument": "EQUITY", "interval": "1",
        "fromDate": "2025-01-06", "toDate": "2025-01-06", **change,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last", "opens"),
    [
        ("2025-01-06", "2025-01-06", 375),
        ("2025-01-06", "2025-01-07", 750),
        ("2025-01-06 09:15:00", "2025-01-06 09:20:00", 5),
        ("2025-01-06 09:15:00", "2025-01-06 09:20:01", 6),
        ("2025-01-06", "2025-01-07 00:00:00", 375),
    ],
)
def test_dhan_ends_an_intraday_range_by_its_own_rules(server: VenueServer, first: str, last: str, opens: int) -> None:
    answer = dhan(server, "/v2/charts/intraday", intraday(fromDate=first, toDate=last))
    assert len(answer.json["timestamp"]) == opens


def test_dhan_ignores_the_end_when_it_is_today() -> None:
    now = SESSION + 100 * MINUTE_MS + 30_000
    with serving(now) as server:
        body = intraday(fromDate="2025-01-06 09:15:00", toDate="2025-01-06 09:20:00")
        answer = dhan(server, "/v2/charts/intraday", body).json
    assert len(answer["timestamp"]) == 101
    assert answer["volume"][-1] < DATA["DHAN", "HDFCBANK", "1M"][5][100]


def test_dhan_ends_a_daily_range_before_its_last_day(server: VenueServer) -> None:
    body = {**intraday(fromDate="2025-01-06", toDate="2025-01-10"), "expiryCode": 0}
    answer = dhan(server, "/v2/charts/historical", body).json
    assert [int(at) * 1000 for at in answer["timestamp"]] == DATA["DHAN", "HDFCBANK", "1D"][0][:4].tolist()


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"securityId": "HDFCBANK"}, 500, "INTERNAL_SERVER_ERROR"),
        ({"securityId": None}, 400, "DH-905"),
        ({"interval": "30"}, 400, "DH-905"),
        ({"toDate": "2025-04-20"}, 400, "DH-905"),
        ({"exchangeSegment": "BSE_EQ"}, 400, "DH-905"),
        ({"securityId": "13"}, 400, "DH-905"),  # ABB in this segment, not NIFTY
        ({"fromDate": "2025-01-04", "toDate": "2025-01-05"}, 400, "DH-905"),
    ],
)
def test_dhan_refuses_in_its_own_words(server: VenueServer, change: dict[str, Any], status: int, code: str) -> None:
    answer = dhan(server, "/v2/charts/intraday", intraday(**change))
    assert (answer.status, answer.json["errorCode"]) == (status, code)


def test_dhan_words_an_empty_range_in_two_ways(server: VenueServer) -> None:
    weekend = intraday(fromDate="2025-01-04", toDate="2025-01-05")
    assert "no data present" in dhan(server, "/v2/charts/intraday", weekend).json["errorMessage"]
    assert dhan(server, "/charts/intraday", weekend).json["internalErrorCode"] == "RS-9005"
    server.dhan.no_data = "RS-9005"
    assert dhan(server, "/v2/charts/intraday", weekend).json["internalErrorCode"] == "RS-9005"


def test_a_renewed_dhan_token_kills_the_old_one_and_lives_a_day(server: VenueServer) -> None:
    old = CREDENTIALS["DHAN_ACCESS_TOKEN"]
    headers = {"access-token": old, "dhanClientId": CREDENTIALS["DHAN_CLIENT_ID"]}
    token = ask(server.url("DHAN") + "/v2/RenewToken", headers=headers).json["accessToken"]
    assert dhan(server, "/v2/profile", token=old).json["errorCode"] == "DH-901"
    assert dhan(server, "/v2/charts/intraday", intraday(), token=old).json["errorCode"] == "DH-906"
    assert dhan(server, "/v2/profile", token=token).json["dataPlan"] == "Active"
    server.set_now(AFTER + DAY_MS)
    assert dhan(server, "/v2/profile", token=token).status == 401


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1650.4, "1650.4"), (0.0, "0.0"), (4428248.0, "4428248.0"), (1.0542765e7, "1.0542765E7"),
        (1.641753e9, "1.641753E9"), (1e7, "1.0E7"), (9999999.0, "9999999.0"), (0.0005, "5.0E-4"),
        (1.7375706e9, "1.7375706E9"),
    ],
)  # fmt: skip
def test_numbers_are_printed_as_java_does(number: float, text: str) -> None:
    assert java_double(number) == text


def test_the_indian_lists_name_what_has_candles(server: VenueServer) -> None:
    environment = server.environment()
    compact = list(csv.DictReader(io.StringIO(ask(environment["DHAN_INSTRUMENTS_URL"]).body.decode())))
    nifty = next(line for line in compact if line["SEM_TRADING_SYMBOL"] == "NIFTY")
    assert (nifty["SEM_SEGMENT"], nifty["SEM_SMST_SECURITY_ID"]) == ("I", "13")
    assert sum(line["SEM_SMST_SECURITY_ID"] == "13" for line in compact) == 2
    with VenueServer({("DHAN", "NEWCO", "1D"): days(3)}, AFTER) as other:
        assert b"NEWCO" in ask(other.environment()["DHAN_INSTRUMENTS_URL"]).body


# The wording is that of the captured bodies


@pytest.mark.parametrize(
    ("recorded", "venue", "path"),
    [
        ("binance/spot_klines_BTCUSDT_1h_176.json", "BINANCE", "/api/v3/klines?symbol=BTCUSDT&interval=1h"),
        ("binance/um_klines_docs.json", "BINANCE_UM", "/fapi/v1/klines?symbol=BTCUSDT&interval=1m"),
        ("binance/spot_ping.json", "BINANCE", "/api/v3/ping"),
        ("binance/spot_time.json", "BINANCE", "/api/v3/time"),
        ("binance/um_time.json", "BINANCE_UM", "/fapi/v1/time"),
        ("binance/error_1121_invalid_symbol.json", "BINANCE", "/api/v3/klines?symbol=NOSUCH&interval=1h"),
        (
            "delta/v2_history_candles_BTCUSD_1m_reconstructed.json",
            "DELTA",
            f"/v2/history/candles?symbol=BTCUSD&resolution=1m&start={START // 1000}&end={START // 1000 + 60}",
        ),
        ("delta/error_forbidden_cdn.json", "DELTA", "/v2/profile"),
        ("dhan/error_404_spring.json", "DHAN", "/v2/invalid_endpoint"),
        ("dhan/error_DH-901_401.json", "DHAN", "/v2/fundlimit"),
    ],
)
def test_an_answer_has_the_shape_of_the_captured_one(server: VenueServer, recorded: str, venue: str, path: str) -> None:
    assert shape(ask(server.url(venue) + path).json) == shape(json.loads(wire_body(recorded)))


@pytest.mark.parametrize(
    ("recorded", "path"),
    [
        ("zerodha/historical_minute.json", "/instruments/historical/738561/minute?from=2025-01-06&to=2025-01-07"),
        ("zerodha/profile.json", "/user/profile"),
        ("zerodha/ltp.json", "/quote/ltp?i=NSE:RELIANCE"),
        ("zerodha/ohlc.json", "/quote/ohlc?i=NSE:RELIANCE"),
    ],
)
def test_a_kite_answer_has_the_shape_of_the_vendors_mock(server: VenueServer, recorded: str, path: str) -> None:
    ours, theirs = (json.dumps(shape(body)) for body in (kite(server, path).json, json.loads(wire_body(recorded))))
    # Integral prices have no point, so that a price is an int or a float as it happens; the mock has another share.
    assert ours.replace("RELIANCE", "INFY").replace('"int"', '"float"') == theirs.replace('"int"', '"float"')


def test_a_dhan_answer_has_the_shape_of_the_captured_one(server: VenueServer) -> None:
    weekend = intraday(fromDate="2025-01-04", toDate="2025-01-05")
    for recorded, answer in (
        ("dhan/charts_intraday_HDFCBANK_1m_2024-09.json", dhan(server, "/v2/charts/intraday", intraday())),
        ("dhan/fundlimit.json", dhan(server, "/v2/fundlimit")),
        ("dhan/error_DH-906_invalid_token_400.json", dhan(server, "/v2/charts/intraday", intraday(), token="old")),
        ("dhan/error_DH-905_400.json", dhan(server, "/v2/charts/intraday", intraday(interval="30"))),
        ("dhan/error_RS-9005_no_data_400.json", dhan(server, "/charts/intraday", weekend)),
    ):  # fmt: skip
        assert shape(answer.json) == shape(json.loads(wire_body(recorded)))
    body = dhan(server, "/v2/charts/intraday", intraday()).body
    assert b'"timestamp":[1.7361351E9,' in body


@pytest.mark.parametrize(
    ("recorded", "venue", "path", "newer"),
    [
        ("binance/um_fundingRate_BTCUSDT_100.json", "BINANCE_UM", "/fapi/v1/fundingRate?symbol=BTCUSDT", {"markPrice"}),
        ("binance/spot_exchangeInfo_reduced.json", "BINANCE", "/api/v3/exchangeInfo", None),
        ("binance/um_exchangeInfo_reduced.json", "BINANCE_UM", "/fapi/v1/exchangeInfo", None),
        ("delta/v2_product_docs.json", "DELTA", "/v2/products/BTCUSD", None),
        ("delta/v2_ticker_ccxt.json", "DELTA", "/v2/tickers/BTCUSD", None),
    ],
)
def test_a_description_has_at_least_what_the_recorded_one_has(
    server: VenueServer, recorded: str, venue: str, path: str, newer: set[str] | None
) -> None:
    """Descriptions have gained fields since they were recorded, and lost few: those are named here."""
    gone = {"annualized_funding", "oi_change_usd_6h", "oi_contracts", "oi_value", "oi_value_symbol", "oi_value_usd",
            "price_band", "rateLimits", "filters", "assets"}  # fmt: skip

    def compare(ours: Any, theirs: Any, where: str) -> None:
        if isinstance(theirs, dict):
            missing = set(theirs) - set(ours) - gone
            assert not missing, f"{where} lacks {sorted(missing)}"
            for key in set(theirs) & set(ours) - gone:
                compare(ours[key], theirs[key], f"{where}.{key}")
        elif isinstance(theirs, list) and theirs and ours:
            compare(ours[0], theirs[0], where)
        elif theirs is not None and ours is not None and not isinstance(theirs, list):
            assert type(ours) is type(theirs), where

    ours, theirs = ask(server.url(venue) + path).json, json.loads(wire_body(recorded))
    compare(ours, theirs, recorded)
    if newer is not None:
        assert set(ours[0]) - set(theirs[0]) == newer


def test_the_lists_have_the_columns_of_the_captured_ones(server: VenueServer) -> None:
    kites = kite(server, "/instruments/NSE").body.decode().splitlines()[0]
    assert kites == wire_body("zerodha/instruments_nse.csv").decode().splitlines()[0].strip()
    detailed = ask(server.url("DHAN") + "/api-data/api-scrip-master-detailed.csv").body.decode().splitlines()
    captured = wire_body("dhan/api-scrip-master-detailed_head.csv").decode().splitlines()
    assert detailed[0] == captured[0].strip()
    ours, theirs = (
        next(row for row in csv.DictReader(lines) if row["SECURITY_ID"] == "2885" and row["EXCH_ID"] == "NSE")
        for lines in (detailed, captured)
    )
    for name in ("SEGMENT", "INSTRUMENT", "UNDERLYING_SYMBOL", "SERIES", "LOT_SIZE", "TICK_SIZE"):
        assert ours[name] == theirs[name], name


# Faults


def statuses(server: VenueServer, count: int) -> list[int]:
    return [klines(server, limit=5).status for _ in range(count)]


def test_a_fault_happens_where_and_when_it_is_wanted(server: VenueServer) -> None:
    server.faults.on(faults.failing(502), venue="BINANCE", path="/api/v3/klines", nth=2, times=2)
    assert ask(server.url("BINANCE") + "/api/v3/ping").status == 200
    assert statuses(server, 5) == [200, 502, 502, 200, 200]
    assert [r.fault for r in server.log.of("BINANCE", "klines")] == ["", "502", "502", "", ""]
    server.faults.on(faults.failing(503, page=True), times=None, when=lambda q: "limit=5" in q.raw_query)
    assert statuses(server, 2) == [503, 503]
    server.faults.clear()
    assert statuses(server, 1) == [200]


@pytest.mark.parametrize("venue", ["BINANCE", "BINANCE_UM", "ARCHIVE", "DELTA", "ZERODHA", "DHAN"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_every_venue_fails_in_its_own_words_or_with_a_page(server: VenueServer, venue: str, status: int) -> None:
    server.faults.on(faults.failing(status))
    server.faults.on(faults.failing(status, page=True), nth=2)
    own, page = ask(server.url(venue) + "/x"), ask(server.url(venue) + "/x")
    assert own.status == page.status == status
    assert b"<html>" not in own.body
    assert page.body.startswith(b"<!DOCTYPE html>")


def test_every_venue_states_its_pause_in_its_own_way(server: VenueServer) -> None:
    server.faults.on(faults.too_many(5), times=None)
    answers = {venue: ask(server.url(venue) + "/x") for venue in ("BINANCE", "DELTA", "ZERODHA", "DHAN")}
    assert {answer.status for answer in answers.values()} == {429}
    assert answers["BINANCE"].headers["Retry-After"] == "5"
    assert answers["DELTA"].headers["X-RATE-LIMIT-RESET"] == "5000"
    assert answers["ZERODHA"].json["error_type"] == "NetworkException"
    assert answers["DHAN"].json["errorCode"] == "DH-904"
    assert all("Retry-After" not in answers[venue].headers for venue in ("DELTA", "ZERODHA", "DHAN"))
    server.faults.clear()
    server.faults.on(faults.too_many())
    assert "Retry-After" not in klines(server).headers


def test_whoever_asks_within_a_scripted_pause_is_banned_where_that_is_wanted() -> None:
    clock = [START]
    with serving(lambda: clock[0]) as server:
        server.faults.on(faults.too_many(5))
        assert statuses(server, 2) == [429, 200]
        server.faults.on(faults.too_many(5, then_banned=True))
        assert statuses(server, 2) == [429, 418]
        clock[0] += 121_000
        server.faults.on(faults.too_many(5, then_banned=True))
        assert statuses(server, 1) == [429]
        clock[0] += 5000
        assert statuses(server, 1) == [200]


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        (faults.banned(90), 418, b'{"code":-1003'),
        (faults.waf(), 403, b"<!DOCTYPE html>"),
        (faults.forbidden_country(), 451, b'{"code":0'),
        (faults.html_page(), 200, b"<!DOCTYPE html>"),
        (faults.empty_body(), 200, b""),
        (faults.truncated(), 200, b"[["),
        (faults.answering(400, '{"code":-1127}'), 400, b'{"code":-1127}'),
        (faults.edited(lambda body: body + b" "), 200, b"[["),
        (faults.slow(0.01), 200, b"[["),
    ],
)
def test_an_answer_can_be_replaced_or_damaged(server: VenueServer, fault: Any, status: int, start: bytes) -> None:
    whole = klines(server, limit=5).body
    server.faults.on(fault)
    answer = klines(server, limit=5)
    assert answer.status == status
    assert answer.body.startswith(start)
    assert (answer.body == whole) == (fault.name.startswith("slow"))
    assert klines(server, limit=5).body == whole


def test_a_cut_answer_is_shorter_than_it_says(server: VenueServer) -> None:
    server.faults.on(faults.cut(0.3))
    with pytest.raises(http.client.IncompleteRead):
        klines(server)


def test_a_reset_comes_before_the_answer(server: VenueServer) -> None:
    server.faults.on(faults.reset())
    with pytest.raises((ConnectionResetError, urllib.error.URLError)):
        klines(server)
    assert server.log.of("BINANCE")[-1].status == 0
    assert klines(server).status == 200


def bars(server: VenueServer) -> list[list[Any]]:
    page: list[list[Any]] = klines(server, startTime=START, limit=10).json
    return page


def test_data_faults_change_the_candles_and_nothing_else(server: VenueServer) -> None:
    good = bars(server)
    expected = {
        faults.gap(3, -1): [*good[:3], *good[4:9]],
        faults.duplicated(2): [*good[:3], good[2], *good[3:]],
        faults.disordered(0, 1): [good[1], good[0], *good[2:]],
    }
    for fault, rows in expected.items():
        server.faults.on(fault)
        assert bars(server) == rows
    for fault, at, column, value in (
        (faults.not_a_number(4), 4, 4, "NaN"),
        (faults.null(4, "open"), 4, 1, None),
        (faults.off_grid(4), 4, 0, good[4][0] + 1000),
        (faults.replaced(4, low=-1.0), 4, 3, "-1.00000000"),
        (faults.shifted(IST_MS), 0, 0, good[0][0] + IST_MS),
        (faults.wrong_unit("s"), 0, 0, good[0][0] // 1000),
        (faults.wrong_unit("us"), 0, 0, good[0][0] * 1000),
    ):
        server.faults.on(fault)
        assert bars(server)[at][column] == value
    server.faults.on(faults.revised(4))
    changed = bars(server)
    assert float(changed[4][4]) == round(float(good[4][4]) * 1.01, 8)
    assert float(changed[4][2]) >= float(changed[4][4])
    assert bars(server) == good


def test_data_faults_count_only_requests_for_candles(server: VenueServer) -> None:
    server.faults.on(faults.gap(0), venue="BINANCE")
    assert ask(server.url("BINANCE") + "/api/v3/time").status == 200
    assert bars(server)[0][0] == START + MINUTE_MS


@pytest.mark.parametrize("venue", ["DELTA", "ZERODHA", "DHAN"])
def test_data_faults_speak_every_format(server: VenueServer, venue: str) -> None:
    def closes() -> list[Any]:
        if venue == "DELTA":
            query: dict[str, Any] = {
                "symbol": "BTCUSD",
                "resolution": "1m",
                "start": START // 1000,
                "end": START // 1000 + 240,
            }
            return [row["close"] for row in reversed(delta(server, "/v2/history/candles", **query).json["result"])]
        if venue == "ZERODHA":
            answer = historical(server, "2025-01-06 09:15:00", "2025-01-06 09:19:00")
            return [row[4] for row in answer.json["data"]["candles"]]
        body = intraday(fromDate="2025-01-06 09:15:00", toDate="2025-01-06 09:20:00")
        return list(dhan(server, "/v2/charts/intraday", body).json["close"])

    good = closes()
    assert len(good) == 5
    server.faults.on(faults.null(2))
    server.faults.on(faults.gap(0))
    assert closes() == [good[1], None, *good[3:]]
    server.faults.on(faults.not_a_number(2))
    assert np.isnan(closes()[2])
    assert closes() == good


def test_an_expired_token_is_refused_from_the_wanted_request_on(server: VenueServer) -> None:
    server.expire_token("ZERODHA", after=2)
    server.expire_token("DHAN", after=1)
    assert [kite(server, "/user/profile").status for _ in range(4)] == [200, 200, 403, 403]
    assert [dhan(server, "/v2/profile").status for _ in range(3)] == [200, 401, 401]


def test_one_venues_clock_can_be_wrong(server: VenueServer) -> None:
    server.skew("BINANCE", 90_000)
    assert ask(server.url("BINANCE") + "/api/v3/time").json["serverTime"] == AFTER + 90_000
    assert ask(server.url("BINANCE_UM") + "/fapi/v1/time").json["serverTime"] == AFTER
    assert ask(server.url("DELTA") + "/v2/assets").headers["Date"] == "Tue, 03 Feb 2026 00:00:00 GMT"


# The log


def test_the_log_tells_pages_asked_twice_and_orders(server: VenueServer) -> None:
    klines(server, startTime=START)
    klines(server, startTime=START + 1)
    assert server.log.asked_twice == {}
    klines(server, startTime=START)
    assert list(server.log.asked_twice.values()) == [2]
    dhan(server, "/v2/charts/intraday", intraday())
    assert server.log.orders == []
    ask(server.url("BINANCE") + "/api/v3/order?symbol=BTCUSDT", data=b"", method="POST")
    ask(server.url("DELTA") + "/v2/orders")
    assert [(r.venue, r.method) for r in server.log.orders] == [("BINANCE", "POST"), ("DELTA", "GET")]


def test_connections_are_kept_and_many_clients_are_served_at_once(server: VenueServer) -> None:
    pages: dict[int, bytes] = {}

    def read(start: int) -> None:
        link = http.client.HTTPConnection(server.url("BINANCE").removeprefix("http://"))
        for _ in range(5):
            link.request("GET", f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={start}&limit=1000")
            pages[start] = link.getresponse().read()
        link.close()

    threads = [threading.Thread(target=read, args=(START + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.log) == 40
    assert {len(json.loads(page)) for page in pages.values()} == {1000}


# Streams


KEY = ("BINANCE", "BTCUSDT", "1M")


def read_until_silent(link: Any, count: int) -> list[Any]:
    return [json.loads(link.recv(timeout=10)) for _ in range(count)]


def test_binance_streams_candles_with_their_close_flag(server: VenueServer) -> None:
    server.streams.script("BINANCE", [candles(KEY, START, START + 2 * MINUTE_MS, MINUTE_MS, updates=2)])
    with connect(server.environment()["BINANCE_WS_URL"] + "/ws/btcusdt@kline_1m") as link:
        events = read_until_silent(link, 9)
    closed = [event["k"] for event in events if event["k"]["x"]]
    assert [event["k"]["x"] for event in events] == [False, False, True] * 3
    rows = [(k["t"], *(float(k[name]) for name in "ohlcv")) for k in closed]
    assert equal(rows, MINUTES, 3)
    assert all(event["k"]["t"] <= event["E"] for event in events)
    assert float(events[0]["k"]["v"]) < float(events[2]["k"]["v"])


@pytest.mark.parametrize(
    ("recorded", "venue", "path"),
    [
        ("binance/ws_spot_kline_1m.ndjson", "BINANCE", "/stream"),
        ("binance/ws_um_kline_1m.ndjson", "BINANCE_UM", "/market/stream"),
    ],
)
def test_a_stream_message_has_the_shape_of_the_captured_one(
    server: VenueServer, recorded: str, venue: str, path: str
) -> None:
    server.streams.script(venue, [[Candle((venue, "BTCUSDT", "1M"), START)]])
    with connect(server.streams.url(venue) + f"{path}?streams=btcusdt@kline_1m/btcusdt@kline_1h") as link:
        (event,) = read_until_silent(link, 1)
    assert event["stream"] == "btcusdt@kline_1m"
    assert shape(event) == shape(json.loads(wire_body(recorded).splitlines()[0]))


def test_subscribing_by_message_is_acknowledged_and_other_streams_stay_silent(server: VenueServer) -> None:
    hour = ("BINANCE", "BTCUSDT", "1H")
    at = int(DATA[hour][0][0])
    server.streams.script("BINANCE", [[Subscribed(1), Candle(hour, at), Candle(KEY, START)]])
    with connect(server.streams.url("BINANCE") + "/ws") as link:
        link.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 7}))
        acknowledged, event = read_until_silent(link, 2)
        link.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 8}))
        assert read_until_silent(link, 1) == [{"result": ["btcusdt@kline_1m"], "id": 8}]
    assert acknowledged == {"result": None, "id": 7}
    assert event["k"]["i"] == "1m"
    assert server.streams.connections[0].not_sent == [Candle(hour, at)]


def test_a_script_drops_stalls_pings_repeats_corrects_and_sends_garbage(server: VenueServer) -> None:
    gate, moved = threading.Event(), threading.Event()
    late = Candle(KEY, START, values={"close": 1.0, "low": 1.0})
    server.streams.script(
        "BINANCE",
        [
            [Candle(KEY, START), Candle(KEY, START), Raw("{not json"), Raw(b"\x00\x01"), Ping(), Gate(gate), late,
             Stall(0.01), Call(moved.set), Drop()],
            [Candle(KEY, START + MINUTE_MS), Drop(1001)],
        ],
    )  # fmt: skip
    url = server.streams.url("BINANCE") + "/ws/btcusdt@kline_1m"
    with connect(url) as link:
        first, second = link.recv(timeout=10), link.recv(timeout=10)
        assert first == second
        assert [link.recv(timeout=10), link.recv(timeout=10)] == ["{not json", b"\x00\x01"]
        gate.set()
        assert json.loads(link.recv(timeout=10))["k"]["c"] == "1.00000000"
        with pytest.raises(ConnectionClosed) as lost:
            link.recv(timeout=10)
        assert lost.value.rcvd is None
        assert moved.is_set()
    with connect(url) as link:
        assert json.loads(link.recv(timeout=10))["k"]["t"] == START + MINUTE_MS
        with pytest.raises(ConnectionClosed) as closed:
            link.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert server.streams.connections[0].pongs == 1


def test_a_handshake_can_be_refused(server: VenueServer) -> None:
    server.streams.refuse["BINANCE"] = 1
    url = server.streams.url("BINANCE") + "/ws/btcusdt@kline_1m"
    with pytest.raises(InvalidStatus, match="503"):
        connect(url)
    with connect(url):
        pass
    with pytest.raises(InvalidStatus, match="404"):
        connect(server.streams.url("BINANCE") + "/nowhere")


def test_delta_streams_compact_candles_inside_their_minute(server: VenueServer) -> None:
    key = ("DELTA", "BTCUSD", "1M")
    server.streams.script(
        "DELTA", [[*candles(key, START, START + MINUTE_MS, MINUTE_MS), Subscribed(2),
                   Candle(("DELTA", "MARK:BTCUSD", "1M"), START), Heartbeat()]],
    )  # fmt: skip

    def channel(*symbols: str) -> str:
        return json.dumps(
            {"type": "subscribe", "payload": {"channels": [{"name": "candlestick_1m", "symbols": symbols}]}}
        )

    with connect(server.streams.url("DELTA")) as link:
        link.send(json.dumps({"type": "enable_heartbeat"}))
        link.send(channel("BTCUSD"))
        messages = read_until_silent(link, 6)
        link.send(channel("MARK:BTCUSD"))
        more = read_until_silent(link, 3)
    acknowledged, events = messages[1], messages[2:]
    assert acknowledged == {"type": "subscriptions", "channels": [{"name": "candlestick_1m", "symbols": ["BTCUSD"]}]}
    assert shape(events[0]) == shape(json.loads(wire_body("delta/ws_candlestick_docs.json")))
    assert [event["ts"] // 60_000_000 * MINUTE_MS / 1000 for event in events] == [
        at / 1000 for at in (START, START, START + MINUTE_MS, START + MINUTE_MS)
    ]
    finals = [(event["ts"] // 60_000_000 * MINUTE_MS, *(event[name] for name in "ohlcv")) for event in events[1::2]]
    assert equal(finals, CONTRACTS, 2)
    assert "v" not in more[1]
    assert more[2] == {"type": "heartbeat"}


def aggregated(trades: list[tuple[int, float, int]], step: int) -> list[tuple[float, ...]]:
    """Candles of (ms, price, volume of the day): what a client has to make of ticks."""
    rows: dict[int, list[float]] = {}
    before, day = 0, -1
    for at, price, total in trades:
        if (at + IST_MS) // DAY_MS != day:
            before, day = 0, (at + IST_MS) // DAY_MS
        bucket = at // step * step
        row = rows.setdefault(bucket, [price, price, price, price, 0.0])
        row[1], row[2], row[3] = max(row[1], price), min(row[2], price), price
        row[4] += total - before
        before = total
    return [(at, *row) for at, row in rows.items()]


def test_zerodha_ticks_aggregate_to_the_candles_and_kiteconnect_reads_them(server: VenueServer) -> None:
    parser = kite_library().KiteTicker("key", "token")
    series = server.market.series["ZERODHA", "RELIANCE", "1M"]
    first, last = SESSION + 373 * MINUTE_MS, SESSION + DAY_MS + 2 * MINUTE_MS
    sent = ticks(series, first, last)
    server.streams.script("ZERODHA", [sent])
    query = urlencode({"api_key": CREDENTIALS["ZERODHA_API_KEY"], "access_token": CREDENTIALS["ZERODHA_ACCESS_TOKEN"]})
    trades = []
    with connect(server.streams.url("ZERODHA") + "?" + query) as link:
        assert link.recv(timeout=10) == b"\x00"
        assert json.loads(link.recv(timeout=10))["type"] == "instruments_meta"
        link.send(json.dumps({"a": "mode", "v": ["full", [738561]]}))
        for _ in sent:
            packet = link.recv(timeout=10)
            assert len(packet) == 2 + 2 + 184
            (tick,) = parser._parse_binary(packet)
            moment = int(tick["exchange_timestamp"].timestamp()) * 1000
            trades.append((moment, tick["last_price"], tick["volume_traded"]))
    a, b = series.between(first, last, last)
    assert equal(aggregated(trades, MINUTE_MS), tuple(column[a:b] for column in DATA["ZERODHA", "RELIANCE", "1M"]))


@pytest.mark.parametrize(("mode", "size"), [("ltp", 8), ("quote", 44), ("full", 184)])
def test_zerodha_packets_have_the_documented_sizes(server: VenueServer, mode: str, size: int) -> None:
    sent = ticks(server.market.series["ZERODHA", "RELIANCE", "1M"], SESSION, SESSION)
    server.streams.script("ZERODHA", [[sent[0], Heartbeat()]])
    query = f"api_key={CREDENTIALS['ZERODHA_API_KEY']}&access_token={CREDENTIALS['ZERODHA_ACCESS_TOKEN']}"
    with connect(server.streams.url("ZERODHA") + "?" + query) as link:
        link.send(json.dumps({"a": "mode", "v": [mode, [738561]]}))
        messages = [link.recv(timeout=10) for _ in range(4)]
    assert [len(message) for message in messages[2:]] == [4 + size, 1]


def test_zerodha_refuses_a_wrong_token_at_the_door(server: VenueServer) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.streams.url("ZERODHA") + "?api_key=x&access_token=y")


def test_the_captured_kite_packet_is_what_our_packets_look_like() -> None:
    captured = base64.b64decode(wire_body("zerodha/ticker_quote.packet"))
    told = json.loads(wire_body("zerodha/ticker_quote.json"))
    prices = told["ohlc"]
    tick = Tick(
        "INFY", 0, told["last_price"], told["volume"], told["last_quantity"], told["average_price"],
        prices["open"], prices["high"], prices["low"], prices["close"],
    )  # fmt: skip
    ours = tick_packet(told["instrument_token"], "quote", tick)
    assert len(captured) == len(ours) == 44
    assert ours[:20] == captured[:20]  # token, price, quantity, average, volume
    assert ours[28:] == captured[28:]  # the day's prices; between them are the book's totals


def test_dhan_ticks_are_what_the_vendors_feed_reads(
    server: VenueServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MarketFeed = dhan_library().MarketFeed

    series = server.market.series["DHAN", "HDFCBANK", "1M"]
    first, last = SESSION, SESSION + 4 * MINUTE_MS
    sent = ticks(series, first, last)
    server.streams.script("DHAN", [[*sent]])

    class Context:
        def get_client_id(self) -> str:
            return CREDENTIALS["DHAN_CLIENT_ID"]

        def get_access_token(self) -> str:
            return CREDENTIALS["DHAN_ACCESS_TOKEN"]

    monkeypatch.setattr(MarketFeed, "market_feed_wss", server.streams.url("DHAN"))
    feed = MarketFeed(Context(), [(1, "1333", 17)], "v2")
    try:
        feed.run_forever()
        previous = feed.get_data()
        quotes = [feed.get_data() for _ in sent]
        feed.loop.run_until_complete(feed.ws.close())
    finally:
        feed.loop.close()
        asyncio.set_event_loop(None)
    capsys.readouterr()
    assert previous["type"] == "Previous Close"
    assert [(quote["LTP"], quote["volume"]) for quote in quotes] == [(f"{t.price:.2f}", t.volume) for t in sent]
    assert quotes[0]["LTT"] == "09:15:00"  # the feed's epoch is Indian time: read as UTC it shows the Indian hour
    trades = [(t.time, float(q["LTP"]), q["volume"]) for t, q in zip(sent, quotes, strict=True)]
    a, b = series.between(first, last, last)
    assert equal(aggregated(trades, MINUTE_MS), tuple(column[a:b] for column in DATA["DHAN", "HDFCBANK", "1M"]))


def test_dhan_ends_a_feed_with_the_reason(server: VenueServer) -> None:
    query = f"?version=2&token=wrong&clientId={CREDENTIALS['DHAN_CLIENT_ID']}&authType=2"
    with connect(server.streams.url("DHAN") + query) as link:
        packet = link.recv(timeout=10)
        assert isinstance(packet, bytes)
        assert (packet[0], int.from_bytes(packet[8:10], "little")) == (50, 807)
        with pytest.raises(ConnectionClosed):
            link.recv(timeout=10)


def test_the_server_remembers_what_clients_said(server: VenueServer) -> None:
    with connect(server.streams.url("DELTA")) as link:
        link.send("not json")
        link.send(json.dumps({"type": "nonsense"}))
        assert json.loads(link.recv(timeout=10))["type"] == "error"
    assert wait_until(server.streams.connections[0].closed.is_set)
    assert server.streams.connections[0].received == ["not json", '{"type": "nonsense"}']


def test_the_server_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with serving() as server, connect(server.streams.url("DELTA")):
        link = http.client.HTTPConnection(server.url("BINANCE").removeprefix("http://"))
        link.request("GET", "/api/v3/ping")
        link.getresponse().read()
    assert wait_until(lambda: set(threading.enumerate()) <= before)
    link.close()


def test_the_environment_names_every_address_and_credential(server: VenueServer) -> None:
    addresses = {name for name in server.environment() if name.endswith("_URL")}
    assert addresses == {
        "BINANCE_BASE_URL", "BINANCE_FUTURES_BASE_URL", "BINANCE_WS_URL", "BINANCE_FUTURES_WS_URL",
        "BINANCE_ARCHIVE_URL", "DELTA_BASE_URL", "DELTA_WS_URL", "ZERODHA_BASE_URL", "ZERODHA_WS_URL", "DHAN_BASE_URL",
        "DHAN_WS_URL", "DHAN_INSTRUMENTS_URL",
    }  # fmt: skip
    assert set(CREDENTIALS) <= set(server.environment())
