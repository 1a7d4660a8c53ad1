"""REPLAY: a folder of files that is asked, doubted and stored like any other venue."""

from pathlib import Path

import numpy as np
import pytest

from barwise.cli import main
from barwise.costs import fee_schedule
from barwise.data.candles import Candles
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.exchange.manager import ExchangeManager
from barwise.exchange.replay import Replay
from barwise.timeframe import Timeframe
from tests.no_network import cut_off

HOUR_MS = 3_600_000
JANUARY = 1_735_689_600_000  # 2025-01-01 00:00 UTC
HOUR = Timeframe("1H")


def hours(count: int, start: int = JANUARY, exchange: str = "") -> Candles:
    close = 100.0 + np.arange(count)
    time = start + HOUR_MS * np.arange(count)
    columns = {"time": time, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": close / 7}
    return Candles.of(columns, exchange=exchange, symbol="BTCUSDT", timeframe="1H")


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A replay folder, named in the environment, and no network."""
    cut_off(monkeypatch)
    made = home / "replayed"
    made.mkdir()
    monkeypatch.setenv("BARWISE_REPLAY_DIR", str(made))
    return made


def adapter(folder: Path) -> Replay:
    return Replay({"BARWISE_REPLAY_DIR": str(folder)})


@pytest.mark.parametrize("name", ["BTCUSDT_1H.csv", "BTCUSDT_1H.parquet", "btcusdt_1h.CSV"])
def test_candles_of_a_file_come_through_the_store_bar_by_bar(folder: Path, name: str) -> None:
    written = write_candles(hours(48, exchange="BINANCE"), folder / name.lower())
    written.rename(folder / name)
    fetched = ExchangeManager().fetch("replay", "BTCUSDT", "1H", "2025-01-01T05:00", "2025-01-02")
    assert fetched.report is not None
    assert fetched.report.rows == 19
    assert fetched.candles.exchange == "REPLAY"
    for mine, theirs in zip(fetched.candles.bars, hours(48)[5:24].bars, strict=True):
        assert np.array_equal(mine, theirs)
    (folder / name).unlink()
    assert ExchangeManager().fetch("REPLAY", "BTCUSDT", "1H", "2025-01-01T05:00", "2025-01-02").report is None


def test_the_clock_is_the_last_close_of_all_files_and_follows_them(folder: Path) -> None:
    write_candles(hours(10), folder / "BTCUSDT_1H.csv")
    replay = adapter(folder)
    assert replay.server_time_ms() == JANUARY + 10 * HOUR_MS
    write_candles(hours(30), folder / "ETH_USDT_1H.csv")
    assert replay.server_time_ms() == JANUARY + 30 * HOUR_MS
    write_candles(hours(12), folder / "ETH_USDT_1H.csv")
    assert replay.server_time_ms() == JANUARY + 12 * HOUR_MS
    assert replay.market("eth_usdt").symbol == "ETH_USDT"


def test_a_page_holds_the_span_and_nothing_beyond_it(folder: Path) -> None:
    write_candles(hours(48), folder / "BTCUSDT_1H.parquet")
    page = adapter(folder).fetch_page("BTCUSDT", HOUR, JANUARY + 3 * HOUR_MS, JANUARY + 5 * HOUR_MS)
    assert page.time.tolist() == [JANUARY + 3 * HOUR_MS, JANUARY + 4 * HOUR_MS]
    assert page.close.tolist() == [103.0, 104.0]


def test_what_a_file_lacks_is_a_hole_of_the_download(folder: Path) -> None:
    whole = hours(48)
    bars = {name: np.delete(getattr(whole.bars, name), slice(20, 23)) for name in whole.bars._fields}
    write_candles(Candles.of(bars, symbol="BTCUSDT", timeframe="1H"), folder / "BTCUSDT_1H.csv")
    report = ExchangeManager().fetch("REPLAY", "BTCUSDT", "1H", "2025-01-01", "2025-01-03").report
    assert report is not None
    assert [(hole.start, hole.end) for hole in report.holes] == [(JANUARY + 20 * HOUR_MS, JANUARY + 23 * HOUR_MS)]


def test_a_market_without_a_file_is_refused_with_the_nearest_one(folder: Path) -> None:
    write_candles(hours(5), folder / "BTCUSDT_1H.csv")
    (folder / "notes.csv").write_text("not candles\n")
    for symbol, frame in (("BTCUSD", HOUR), ("BTCUSDT", Timeframe("4H"))):
        with pytest.raises(DataError, match="Did you mean BTCUSDT_1H"):
            adapter(folder).fetch_page(symbol, frame, JANUARY, JANUARY + HOUR_MS)
    with pytest.raises(DataError, match="has no file ETHUSDT"):
        adapter(folder).market("ETHUSDT")


def test_two_files_of_one_market_are_refused_by_name(folder: Path) -> None:
    write_candles(hours(5), folder / "BTCUSDT_1H.csv")
    write_candles(hours(6), folder / "BTCUSDT_1H.parquet")
    with pytest.raises(DataError, match=r"2 files for BTCUSDT 1H: BTCUSDT_1H\.csv, BTCUSDT_1H\.parquet"):
        adapter(folder).fetch_page("BTCUSDT", HOUR, JANUARY, JANUARY + HOUR_MS)


def test_synthetic_candles_cannot_lose_their_mark_here(folder: Path) -> None:
    write_candles(sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-01-02"), folder / "SAMPLE-BTC_1H.parquet")
    with pytest.raises(DataError, match="holds candles of SAMPLE"):
        adapter(folder).server_time_ms()


def test_a_broken_file_is_named_and_nothing_is_stored(folder: Path, home: Path) -> None:
    (folder / "BTCUSDT_1H.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="BTCUSDT_1H"):
        ExchangeManager().fetch_ohlc("REPLAY", "BTCUSDT", "1H", "2025-01-01", "2025-01-02")
    assert not list((home / "data").rglob("*.parquet"))


def test_an_empty_folder_has_no_clock(folder: Path) -> None:
    with pytest.raises(DataError, match="has no candle files"):
        adapter(folder).server_time_ms()


def test_a_folder_that_is_not_named_or_not_there_is_a_mistake_of_settings(home: Path) -> None:
    with pytest.raises(ConfigError, match="BARWISE_REPLAY_DIR is not set"):
        Replay({})
    with pytest.raises(ConfigError, match="which is no folder"):
        adapter(home / "nowhere")


def test_connectivity_says_nothing_of_a_clock_that_stands_in_the_past(folder: Path) -> None:
    write_candles(hours(5), folder / "BTCUSDT_1H.csv")
    status = ExchangeManager().validate_connectivity("REPLAY")
    assert status["status"] == "READY"
    assert [check["name"] for check in status["checks"]] == ["reachable", "credentials"]


def test_doctor_asks_for_files_only_where_a_folder_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_candles(hours(5), folder / "BTCUSDT_1H.csv")
    main(["doctor", "--online"])
    assert "REPLAY" in capfd.readouterr().out
    monkeypatch.delenv("BARWISE_REPLAY_DIR")
    main(["doctor", "--online"])
    assert "REPLAY" not in capfd.readouterr().out


def test_it_has_no_fees_of_its_own_and_says_how_to_give_them() -> None:
    with pytest.raises(ConfigError) as caught:
        fee_schedule("REPLAY")
    assert "maker_fee=, taker_fee=" in caught.value.hint
