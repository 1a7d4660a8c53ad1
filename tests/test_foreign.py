"""CCXT:<id>: ccxt's Binance against the loopback venue, so that only this package's side of it is believed."""

import builtins
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.costs import fee_schedule
from barwise.errors import APIError, BarwiseError, ConfigError, CredentialError, DataError, RateLimitError
from barwise.exchange import foreign
from barwise.exchange.manager import ExchangeManager
from barwise.exchange.venues import connect
from barwise.timeframe import Timeframe
from tests.no_network import cut_off
from tests.venues import faults
from tests.venues.faults import Fault
from tests.venues.server import VenueServer

NAME = "CCXT:BINANCE"
HOUR_MS = 3_600_000
JANUARY = 1_735_689_600_000  # 2025-01-01 00:00 UTC
NOW = 1_785_000_000_000  # 2026-07-25
HOUR = Timeframe("1H")
NO_FUTURES = ("/fapi", "/dapi", "/eapi", "/sapi")


def walk(count: int, start: int = JANUARY) -> list[np.ndarray]:
    close = 100.0 + np.round(5 * np.sin(np.arange(count) / 7), 2)
    return [start + HOUR_MS * np.arange(count), close, close + 1, close - 1, close, np.full(count, 3.0)]


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    """Spot markets behind the address that ccxt's Binance is sent to; of futures it lists none."""
    pytest.importorskip("ccxt", reason="the extra barwise[ccxt] is not installed")
    cut_off(monkeypatch)
    with VenueServer({("BINANCE", "BTCUSDT", "1H"): walk(3000)}, NOW) as started:
        monkeypatch.setenv("CCXT_BINANCE_BASE_URL", started.url("BINANCE"))
        started.faults.on(
            faults.answering(200, '{"symbols": []}'), times=None, when=lambda asked: asked.path.startswith(NO_FUTURES)
        )
        yield started


def candle_requests(server: VenueServer) -> int:
    return sum(one.path.endswith("/klines") for one in server.log.requests)


def adapter(server: VenueServer, now: float = NOW / 1000) -> foreign.Foreign:
    return foreign.Foreign(NAME, {"CCXT_BINANCE_BASE_URL": server.url("BINANCE")}, now=lambda: now)


def test_candles_come_through_the_store_bar_by_bar(server: VenueServer) -> None:
    fetched = ExchangeManager().fetch("ccxt:binance", "BTC/USDT", "1H", "2025-01-01", "2025-04-01")
    assert fetched.report is not None
    assert fetched.report.rows == 90 * 24
    assert candle_requests(server) == 3
    assert (fetched.candles.exchange, fetched.candles.symbol) == (NAME, "BTC/USDT")
    assert fetched.candles.calendar.always_open
    for mine, theirs in zip(fetched.candles.bars, walk(90 * 24), strict=True):
        assert np.array_equal(mine, theirs)
    asked = len(server.log.requests)
    assert ExchangeManager().fetch_ohlc(NAME, "BTC/USDT", "1H", "2025-01-01", "2025-04-01") == fetched.candles
    assert len(server.log.requests) == asked


def test_the_candle_that_forms_by_the_venues_clock_is_left_out(server: VenueServer) -> None:
    server.set_now(JANUARY + 10 * HOUR_MS + 1)
    candles = ExchangeManager().fetch_ohlc(NAME, "BTC/USDT", "1H", "2025-01-01", "2025-01-02")
    assert len(candles) == 10


def test_a_page_is_one_request(server: VenueServer) -> None:
    venue = adapter(server)
    venue.market("BTC/USDT")
    before = len(server.log.requests)
    page = venue.fetch_page("btc/usdt", HOUR, JANUARY, JANUARY + 5 * HOUR_MS)
    assert len(server.log.requests) == before + 1
    assert page.time[0] == JANUARY


def test_without_a_time_endpoint_the_clock_is_the_date_of_an_answer(server: VenueServer) -> None:
    venue = adapter(server)
    assert venue.server_time_ms() == NOW
    venue._exchange.has["fetchTime"] = False
    assert venue.server_time_ms() == NOW // 1000 * 1000


def test_the_rules_of_a_market_are_numbers(server: VenueServer) -> None:
    market = adapter(server).market("BTC/USDT")
    assert market.symbol == "BTC/USDT"
    assert 0.0 < market.tick_size < 1.0
    assert 0.0 < market.lot_size < 1.0


def test_an_unknown_market_is_refused_with_the_nearest_one(server: VenueServer) -> None:
    with pytest.raises(DataError, match=r"no spot market BTC/USDX\. Did you mean BTC/USDT"):
        adapter(server).fetch_page("BTC/USDX", HOUR, JANUARY, JANUARY + HOUR_MS)


def test_the_latest_candles_in_answer_to_an_old_span_are_refused_and_no_hole(server: VenueServer) -> None:
    last = JANUARY + 3000 * HOUR_MS
    venue = adapter(server, now=last / 1000)
    venue.market("BTC/USDT")
    latest = [[last - (5 - at) * HOUR_MS, 1.0, 1.0, 1.0, 1.0, 1.0] for at in range(5)]
    venue._exchange.fetch_ohlcv = lambda *_: latest
    with pytest.raises(DataError, match="only from 2025-05-05 19:00"):
        venue.fetch_page("BTC/USDT", HOUR, JANUARY, JANUARY + 5 * HOUR_MS)
    assert len(venue.fetch_page("BTC/USDT", HOUR, last - 9 * HOUR_MS, last).time) == 5


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.too_many(1.0), RateLimitError),
        (faults.banned(), RateLimitError),
        (faults.failing(500), APIError),
        (faults.failing(502, page=True), APIError),
        (faults.html_page(), APIError),
        (faults.empty_body(), APIError),
        (faults.truncated(), APIError),
        (faults.reset(), APIError),
        (faults.answering(401, '{"code": -2015, "msg": "Invalid API-key, IP, or permissions"}'), CredentialError),
        (faults.answering(400, '{"code": -1100, "msg": "Illegal characters found"}'), DataError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else value.__name__,
)
def test_every_failure_is_one_of_ours_with_what_to_do_after_one_request(
    server: VenueServer, fault: Fault, kind: type[BarwiseError]
) -> None:
    venue = adapter(server)
    venue.market("BTC/USDT")
    server.faults.on(fault, path="/klines", times=None)
    with pytest.raises(kind) as caught:
        venue.fetch_page("BTC/USDT", HOUR, JANUARY, JANUARY + 5 * HOUR_MS)
    assert NAME in caught.value.message
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert candle_requests(server) == 1


def test_an_answer_in_another_shape_never_becomes_a_hole(server: VenueServer) -> None:
    # One ccxt reads it as a list without candles, which the download asks for again; another cannot read it and fails.
    ExchangeManager().fetch_ohlc(NAME, "BTC/USDT", "1H", "2025-01-01", "2025-01-05")
    before = candle_requests(server)
    server.faults.on(faults.answering(200, '{"unexpected": 1}'), path="/klines", times=1)
    with contextlib.suppress(APIError):
        ExchangeManager().fetch_ohlc(NAME, "BTC/USDT", "1H", "2025-01-01", "2025-01-09")
    candles = ExchangeManager().fetch_ohlc(NAME, "BTC/USDT", "1H", "2025-01-01", "2025-01-09")
    assert len(candles) == 8 * 24
    assert candle_requests(server) == before + 2


def test_connectivity_needs_no_key(server: VenueServer) -> None:
    server.set_now(lambda: int(time.time() * 1000))
    status = ExchangeManager().validate_connectivity(NAME)
    assert status["status"] == "READY", status["message"]


def test_an_id_that_ccxt_does_not_know_is_refused_with_the_nearest_one(server: VenueServer) -> None:
    with pytest.raises(ConfigError, match=r"'krakn' is no venue of ccxt .* Did you mean kraken"):
        ExchangeManager().fetch_ohlc("CCXT:krakn", "BTC/USDT", "1H", "2025-01-01", "2025-01-02")


def test_without_ccxt_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name == "ccxt":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ConfigError, match="need the library ccxt") as caught:
        connect("CCXT:KRAKEN", {})
    assert "barwise[ccxt]" in caught.value.hint


@pytest.mark.parametrize("name", ["CCXT:", "CCXT", "CCXT:../KRAKEN", "KRAKEN"])
def test_what_is_no_id_is_no_venue(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a venue") as caught:
        ExchangeManager().fetch_ohlc(name, "BTC/USDT", "1H")
    assert "CCXT:<id>" in caught.value.hint


def test_there_is_no_fee_schedule_and_the_error_says_how_to_give_fees() -> None:
    with pytest.raises(ConfigError) as caught:
        fee_schedule("CCXT:KRAKEN")
    assert "maker_fee=, taker_fee=" in caught.value.hint
