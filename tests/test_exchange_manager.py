"""Where candles come from, as programs written against the flat API ask for them; SAMPLE needs no network."""

import inspect
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import barwise
import exchange_manager
from exchange_manager import ExchangeManager
from tests.no_network import cut_off

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may reach a venue."""
    cut_off(monkeypatch)


def test_there_is_one_manager() -> None:
    assert ExchangeManager() is ExchangeManager()


def test_the_arguments_of_fetch_ohlc_keep_their_names_and_order() -> None:
    parameters = list(inspect.signature(ExchangeManager().fetch_ohlc).parameters)
    assert parameters[:5] == ["exchange_name", "symbol", "timeframe", "start_date", "end_date"]


def test_every_error_is_importable_from_here() -> None:
    for name in ("CredentialError", "APIError", "RateLimitError", "DataError", "BacktestError", "ConfigError"):
        assert issubclass(getattr(exchange_manager, name), exchange_manager.BarwiseError)
    assert issubclass(exchange_manager.RateLimitError, exchange_manager.APIError)


def test_the_sample_venue_is_ready_without_a_network() -> None:
    status = ExchangeManager().validate_connectivity("SAMPLE")
    assert status["exchange"] == "SAMPLE"
    assert status["status"] == "READY"
    assert {"exchange", "status", "message", "latency", "checks"} <= set(status)


def test_an_unknown_venue_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(barwise.ConfigError, match="BINANCE"):
        ExchangeManager().validate_connectivity("BINANSE")


class TestFetch:
    def test_the_end_is_exclusive_so_a_quarter_of_hours_is_2136_bars(self) -> None:
        candles = ExchangeManager().fetch_ohlc(
            exchange_name="SAMPLE",
            symbol="SAMPLE-BTC",
            timeframe="1H",
            start_date=datetime(2025, 1, 1),
            end_date=datetime(2025, 3, 31),
        )
        assert len(candles) == 2136
        assert candles[0]["time"] == 1_735_689_600_000
        assert candles[-1]["time"] == 1_743_375_600_000
        assert (candles.exchange, candles.symbol, str(candles.timeframe)) == ("SAMPLE", "SAMPLE-BTC", "1H")

    def test_naive_datetimes_are_utc_and_aware_ones_are_converted(self) -> None:
        india = timezone(timedelta(hours=5, minutes=30))
        spans = [
            (datetime(2025, 1, 1), datetime(2025, 1, 2)),
            (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)),
            (datetime(2025, 1, 1, 5, 30, tzinfo=india), datetime(2025, 1, 2, 5, 30, tzinfo=india)),
        ]
        fetched = [ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTC", "1H", *span) for span in spans]
        assert len({candles.fingerprint for candles in fetched}) == 1
        assert len(fetched[0]) == 24

    @pytest.mark.parametrize("name", ["1h", "1H", " 1h "])
    def test_a_timeframe_may_be_written_in_small_letters(self, name: str) -> None:
        candles = ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTC", name, datetime(2025, 1, 1), datetime(2025, 1, 2))
        assert str(candles.timeframe) == "1H"

    def test_another_timeframe_is_an_error_that_lists_those_there_are(self) -> None:
        with pytest.raises(barwise.ConfigError, match="15M, 30M, 1H"):
            ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTC", "7H", datetime(2025, 1, 1), datetime(2025, 1, 2))

    def test_a_span_that_ends_before_it_starts_is_refused(self) -> None:
        with pytest.raises((barwise.ConfigError, barwise.DataError)):
            ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTC", "1H", datetime(2025, 1, 2), datetime(2025, 1, 1))

    def test_an_unknown_symbol_is_answered_with_the_nearest_one(self) -> None:
        with pytest.raises(barwise.BarwiseError, match="SAMPLE-BTC"):
            ExchangeManager().fetch_ohlc("SAMPLE", "SAMPLE-BTX", "1H", datetime(2025, 1, 1), datetime(2025, 1, 2))

    def test_fetched_candles_run_in_the_engine_as_they_are(self) -> None:
        candles = ExchangeManager().fetch_ohlc(
            "SAMPLE", "SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 31)
        )
        result = barwise.BacktestEngine(candles, barwise.StrategyConfig(), 0.1, "SAMPLE", "SAMPLE-BTC", "1H").run()
        assert result.total_trades > 0

    def test_imported_candles_are_served_from_the_store_without_a_network(self, home: Path) -> None:
        made = barwise.sample_candles(start=datetime(2025, 1, 1), end=datetime(2025, 3, 31)).to_polars()
        imported = barwise.Candles.of(made, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")
        from barwise.data.store import CandleStore

        CandleStore(home / "data" / "cache").put(imported)
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", datetime(2025, 1, 1), datetime(2025, 3, 31))
        assert len(candles) == 2136
        assert candles[100]["close"] == imported[100]["close"]
