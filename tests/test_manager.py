"""ExchangeManager: one door to candles, honest about what stands behind it."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from barwise.data.candles import Candles
from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from barwise.errors import APIError, ConfigError, DataError
from barwise.exchange.manager import VENUES, ExchangeManager
from tests.no_network import cut_off

HOUR = 3_600_000
JANUARY = 1_735_689_600_000  # 2025-01-01 00:00 UTC


def hours(count: int, start: int = JANUARY) -> Candles:
    """So many hours of a market that goes up by 1 an hour."""
    close = np.arange(count) + 100.0
    columns = {
        "time": start + HOUR * np.arange(count),
        "open": close,
        "high": close + 1,
        "low": close - 1,
        "close": close,
        "volume": np.ones(count),
    }
    return Candles.of(columns, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may reach a venue."""
    cut_off(monkeypatch)


@pytest.fixture
def store(home: Path) -> CandleStore:
    return CandleStore(home / "data" / "cache")


def test_every_call_of_the_class_gives_the_same_object_also_from_many_threads() -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(ExchangeManager())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(manager is ExchangeManager() for manager in found)


class TestSample:
    def test_candles_are_those_of_the_synthetic_market(self) -> None:
        candles = ExchangeManager().fetch_ohlc(
            exchange_name="sample",
            symbol="sample-eth",
            timeframe="4h",
            start_date=datetime(2025, 1, 1),
            end_date=datetime(2025, 2, 1),
        )
        assert candles == sample_candles("SAMPLE-ETH", "4H", "2025-01-01", "2025-02-01")
        assert candles.synthetic

    def test_without_dates_it_is_the_year_2024(self) -> None:
        candles = ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTC", "1H")
        assert len(candles) == 366 * 24
        assert candles.time[0] == 1_704_067_200_000

    def test_an_unknown_symbol_is_refused_with_the_nearest_one(self) -> None:
        with pytest.raises(DataError, match="Did you mean SAMPLE-BTC"):
            ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTX", "1H")


class TestStore:
    def test_the_span_is_half_open_to_the_bar(self, store: CandleStore) -> None:
        store.put(hours(48))
        candles = ExchangeManager().fetch_ohlc(
            exchange_name="BINANCE",
            symbol="BTCUSDT",
            timeframe="1H",
            start_date=datetime(2025, 1, 1, 5),
            end_date=datetime(2025, 1, 1, 9),
        )
        assert candles.time.tolist() == [JANUARY + HOUR * hour for hour in (5, 6, 7, 8)]

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (datetime(2025, 1, 1, 5), datetime(2025, 1, 1, 9)),
            (datetime(2025, 1, 1, 5, tzinfo=UTC), datetime(2025, 1, 1, 9, tzinfo=UTC)),
            (
                datetime(2025, 1, 1, 10, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
                datetime(2025, 1, 1, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            ),
            ("2025-01-01T05:00", "2025-01-01T09:00:00Z"),
            ("2025-01-01 05:00", "2025-01-01T14:30+05:30"),
            (JANUARY + 5 * HOUR, JANUARY + 9 * HOUR),
        ],
        ids=["naive is UTC", "UTC", "IST", "ISO", "ISO with offset", "milliseconds"],
    )
    def test_all_ways_to_write_the_same_span_give_the_same_candles(
        self, store: CandleStore, start: datetime | str | int, end: datetime | str | int
    ) -> None:
        store.put(hours(48))
        candles = ExchangeManager().fetch_ohlc("binance", "btcusdt", "1h", start, end)
        assert candles == hours(48)[5:9]

    def test_without_dates_everything_stored_comes_back(self, store: CandleStore) -> None:
        store.put(hours(48))
        assert ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H") == hours(48)

    def test_an_empty_store_without_dates_says_how_to_download_and_how_to_import(self, home: Path) -> None:
        with pytest.raises(DataError) as caught:
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H")
        assert "give a start and an end, and they are downloaded" in caught.value.hint
        assert "barwise data import FILE --exchange BINANCE --symbol BTCUSDT --timeframe 1H" in caught.value.hint
        assert not list(home.iterdir()), "asking must not make folders"

    def test_without_an_end_the_part_that_is_stored_comes_back_with_a_warning_of_the_rest(
        self, store: CandleStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.put(hours(48))
        assert ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2024-12-31") == hours(48)
        assert "2024-12-31 00:00 .. 2025-01-01 00:00 UTC" in caplog.text

    def test_a_part_that_cannot_be_downloaded_is_an_error_that_says_what_is_stored(self, store: CandleStore) -> None:
        store.put(hours(48))
        with pytest.raises(APIError, match="could not be reached") as caught:
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2024-12-31", "2025-01-05")
        assert "2025-01-01 00:00 .. 2025-01-03 00:00 UTC" in caught.value.hint

    def test_a_span_that_is_stored_whole_gives_no_warning(
        self, store: CandleStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.put(hours(48))
        ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-01-03")
        assert not caplog.records

    def test_a_weekend_at_the_edge_of_an_indian_span_gives_no_warning(
        self, store: CandleStore, market_data: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from barwise.data.files import read_candles

        file = market_data / "nse_RELIANCE_1d_20191001_20260821.parquet"
        store.put(read_candles(file, exchange="ZERODHA", symbol="RELIANCE", timeframe="1D"))
        # 2026-08-21 is a Friday.
        candles = ExchangeManager().fetch_ohlc("ZERODHA", "RELIANCE", "1D", "2026-08-01", "2026-08-24")
        assert not caplog.records
        assert len(candles) > 10

    def test_a_damaged_file_is_not_called_missing(self, store: CandleStore) -> None:
        report = store.put(hours(48))
        report.files[0].write_bytes(b"PAR1 and then nothing")
        with pytest.raises(DataError, match="cannot be read") as caught:
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H")
        assert "download" not in caught.value.message


class TestBadQuestions:
    def test_an_unknown_venue_is_refused_with_the_nearest_one(self) -> None:
        with pytest.raises(ConfigError, match=r"'BINANC' is not a venue\. Did you mean BINANCE") as caught:
            ExchangeManager().fetch_ohlc("BINANC", "BTCUSDT", "1H")
        assert all(venue in caught.value.hint for venue in VENUES)

    @pytest.mark.parametrize("name", [None, 5, "", "KRAKEN"])
    def test_what_is_no_venue_is_refused_by_both_methods(self, name: str) -> None:
        with pytest.raises(ConfigError, match="not a venue"):
            ExchangeManager().fetch_ohlc(name, "BTCUSDT", "1H")
        with pytest.raises(ConfigError, match="not a venue"):
            ExchangeManager().validate_connectivity(name)

    def test_an_unknown_timeframe_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'3H' is not a timeframe"):
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "3H")

    def test_a_date_that_is_none_is_refused_by_its_name(self) -> None:
        with pytest.raises(ConfigError, match="end: 'tomorrow' is not a time"):
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "tomorrow")

    @pytest.mark.parametrize("end", ["2025-01-01", "2024-12-31"])
    def test_a_span_without_a_bar_is_refused(self, end: str) -> None:
        with pytest.raises(ConfigError, match="nothing lies in it"):
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", end)


class TestConnectivity:
    def test_sample_is_ready(self) -> None:
        status = ExchangeManager().validate_connectivity("SAMPLE")
        assert status["exchange"] == "SAMPLE"
        assert status["status"] == "READY"
        assert "SYNTHETIC" in status["message"]
        assert status["latency"] > 0
        assert all(check["ok"] for check in status["checks"])

    @pytest.mark.parametrize("venue", [venue for venue in VENUES if venue not in {"SAMPLE", "REPLAY"}])
    def test_a_venue_that_cannot_be_reached_fails_with_what_to_do(self, venue: str) -> None:
        status = ExchangeManager().validate_connectivity(exchange_name=venue)
        assert status["exchange"] == venue
        assert status["status"] == "FAILED"
        assert "could not be reached" in status["message"]
        assert "check the network" in status["message"]
        assert status["latency"] is None
        assert [(check["name"], check["ok"]) for check in status["checks"]] == [("reachable", False)]
