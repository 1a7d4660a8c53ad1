"""Fetching as users do it: the manager and the command line against loopback venues, set by the environment alone."""

import json
import os
import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.cli import main
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.store import CandleStore
from barwise.errors import APIError, ConfigError, CredentialError, DataError
from barwise.exchange.credentials import Environment, read_environment
from barwise.exchange.download import Progress
from barwise.exchange.manager import ExchangeManager
from tests.conftest import REPOSITORY
from tests.no_network import ManualClock, cut_off
from tests.terminal import Terminal
from tests.venues import faults
from tests.venues.market import CREDENTIALS, parquet_columns
from tests.venues.server import VenueServer

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NOW = 1_785_000_000_000  # 2026-07-25
SPAN = (datetime(2025, 1, 1), datetime(2025, 3, 31))
BTC = "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"


@pytest.fixture
def clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Home and an environment that reaches nobody."""
    return cut_off(monkeypatch)


def walk(count: int, start: int = 1_735_689_600_000, step: int = HOUR_MS) -> list[np.ndarray]:
    """So many candles that go up and down."""
    close = 100.0 + np.round(5 * np.sin(np.arange(count) / 7), 2)
    time = start + step * np.arange(count)
    return [time, close, close + 1, close - 1, close, np.full(count, 3.0)]


class Fetching:
    """A server whose addresses are in the environment for as long as this lasts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.now: int | Callable[[], int] = NOW
        self.server: VenueServer | None = None

    def __call__(
        self, candles: Mapping[tuple[str, str, str], Sequence[Any]], *, keys: bool = False, **options: Any
    ) -> VenueServer:
        self.server = VenueServer(candles, self.now, **options).start()
        for name, value in self.server.environment().items():
            if keys or name not in CREDENTIALS:
                self._monkeypatch.setenv(name, value)
        return self.server


@pytest.fixture
def serve(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetching]:
    fetching = Fetching(monkeypatch)
    yield fetching
    if fetching.server is not None:
        assert not fetching.server.log.orders
        fetching.server.stop()


def assert_same(candles: Candles, columns: Sequence[np.ndarray], start: int, end: int) -> None:
    rows = (columns[0] >= start) & (columns[0] < end)
    assert rows.any()
    for mine, theirs in zip(candles.bars, columns, strict=False):
        assert np.array_equal(mine, theirs[rows])


class TestRealFiles:
    def test_binance_hours_arrive_exactly_and_a_second_fetch_asks_nobody(
        self, serve: Fetching, market_data: Path
    ) -> None:
        server = serve({("BINANCE", "BTCUSDT", "1H"): parquet_columns(market_data / BTC)})
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", *SPAN)
        assert len(candles) == 2136
        expected = read_candles(market_data / BTC, exchange="BINANCE", symbol="BTCUSDT").between(*SPAN)
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(candles.bars, expected.bars, strict=True))
        assert not server.log.asked_twice
        server.log.clear()
        assert ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", *SPAN) == candles
        assert not len(server.log)

    def test_delta_hours_arrive_exactly(self, serve: Fetching, market_data: Path) -> None:
        columns = parquet_columns(market_data / "delta_india_BTCUSD_1h_20250328_20250630.parquet")
        serve({("DELTA", "BTCUSD", "1H"): columns})
        start, end = int(columns[0][0]), int(columns[0][-1]) + HOUR_MS
        candles = ExchangeManager().fetch_ohlc("DELTA", "BTCUSD", "1H", start, end)
        assert_same(candles, columns[:5], start, end)

    @pytest.mark.parametrize(
        ("venue", "symbol", "timeframe", "file"),
        [
            ("ZERODHA", "SBIN", "1D", "nse_SBIN_1d_20191001_20260821.parquet"),
            ("DHAN", "RELIANCE", "1D", "dhan_RELIANCE_1d_20230102_20260716.parquet"),
        ],
    )
    def test_indian_days_arrive_exactly_and_weekends_are_not_asked_for(
        self, serve: Fetching, market_data: Path, venue: str, symbol: str, timeframe: str, file: str
    ) -> None:
        columns = parquet_columns(market_data / file)
        server = serve({(venue, symbol, timeframe): columns}, keys=True)
        candles = ExchangeManager().fetch_ohlc(venue, symbol, timeframe, "2025-01-01", "2026-01-01")
        assert_same(
            candles, columns, *(int(datetime(year, 1, 1).timestamp() * 1000) - 19_800_000 for year in (2025, 2026))
        )
        server.log.clear()
        # 2025-11-01 and 2 are a Saturday and a Sunday, before and after which all is stored.
        again = ExchangeManager().fetch_ohlc(venue, symbol, timeframe, "2025-11-01", "2025-12-01")
        assert len(again) > 15
        assert not len(server.log)


class TestManager:
    def test_without_a_network_what_is_stored_is_served_and_what_is_not_is_an_error(
        self, serve: Fetching, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(96)})
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-01-03")
        monkeypatch.setenv("BINANCE_BASE_URL", "http://127.0.0.1:9")
        assert ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-01-03") == candles
        assert not clock.pauses, "nobody was asked, so nobody was waited for"
        with pytest.raises(APIError) as caught:
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-01-05")
        assert "2025-01-01 00:00 .. 2025-01-03 00:00 UTC" in caught.value.hint
        assert clock.pauses == [1, 2, 4]

    def test_after_a_failure_only_the_missing_pages_are_asked_for(self, serve: Fetching) -> None:
        server = serve({("BINANCE", "BTCUSDT", "1H"): walk(4500)})
        server.faults.on(faults.failing(503), venue="BINANCE", path="klines", nth=3, times=None)
        with pytest.raises(APIError, match="2,000 candles had come"):
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-07-07T12:00")
        server.faults.clear()
        server.log.clear()
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-07-07T12:00")
        assert_same(candles, walk(4500), 0, NOW)
        starts = [int(request.query["startTime"]) for request in server.log.of("BINANCE", "klines")]
        assert min(starts) == 1_735_689_600_000 + 2000 * HOUR_MS

    def test_a_damaged_file_is_downloaded_again(self, serve: Fetching, home: Path) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(48)})
        span = ("2025-01-01", "2025-01-03")
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", *span)
        [file] = (home / "data" / "cache" / "BINANCE" / "BTCUSDT" / "1H").glob("*.parquet")
        file.write_bytes(b"PAR1 and then nothing")
        assert ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", *span) == candles

    def test_a_timeframe_the_venue_does_not_have_is_made_of_a_finer_one(self, serve: Fetching) -> None:
        columns = walk(70, start=1_735_516_800_000, step=DAY_MS)  # Monday 2024-12-30
        serve({("DELTA", "BTCUSD", "1D"): columns})
        candles = ExchangeManager().fetch_ohlc("DELTA", "BTCUSD", "1W", "2024-12-30", "2025-02-24")
        assert candles.timeframe.name == "1W"
        assert candles.time.tolist() == [1_735_516_800_000 + 7 * DAY_MS * week for week in range(8)]
        assert candles.close[0] == columns[4][6]

    def test_a_span_into_the_future_has_the_closed_candles_by_the_clock_of_the_venue(self, serve: Fetching) -> None:
        start = NOW - NOW % HOUR_MS - 5 * HOUR_MS
        serve({("BINANCE", "BTCUSDT", "1H"): walk(6, start=start)})
        candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", start, NOW + DAY_MS)
        assert candles.time.tolist() == [start + HOUR_MS * hour for hour in range(5)]

    def test_threads_that_want_the_same_download_it_once(self, serve: Fetching) -> None:
        server = serve({("BINANCE", "BTCUSDT", "1H"): walk(2500)})
        ask = ("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-04-10")
        with ThreadPoolExecutor(8) as pool:
            found = [future.result() for future in [pool.submit(ExchangeManager().fetch_ohlc, *ask) for _ in range(8)]]
        assert all(candles == found[0] for candles in found)
        assert not server.log.asked_twice
        assert len(server.log.of("BINANCE", "klines")) == 3

    def test_several_symbols_come_in_the_order_in_which_they_were_asked_for(self, serve: Fetching) -> None:
        names = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT")
        serve({("BINANCE", name, "1H"): walk(48 + at) for at, name in enumerate(names)})
        told: list[int] = []
        found = ExchangeManager().fetch_many(
            [("BINANCE", name, "1H", "2025-01-01", "2025-01-03") for name in names],
            progress=lambda position, _: told.append(position),
        )
        assert [candles.symbol for candles in found] == list(names)
        assert sorted(told) == [0, 1, 2, 3, 4]

    def test_months_of_minutes_come_from_the_archives_of_the_same_place_only(
        self, serve: Fetching, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        columns = walk(59 * 1440, step=60_000)
        server = serve({("BINANCE", "BTCUSDT", "1M"): columns})
        ask = ("BINANCE", "BTCUSDT", "1M", "2025-01-01", "2025-03-01")
        assert_same(ExchangeManager().fetch_ohlc(*ask), columns, 0, NOW)
        assert not server.log.of("BINANCE", "klines")
        assert len(server.log.of("ARCHIVE")) == 4  # two files and their checksums
        server.log.clear()
        monkeypatch.delenv("BINANCE_ARCHIVE_URL")
        monkeypatch.setenv("BARWISE_HOME", str(Path.cwd() / "another"))
        assert_same(ExchangeManager().fetch_ohlc(*ask), columns, 0, NOW)
        assert not server.log.of("ARCHIVE")

    def test_progress_ends_at_all_rows(self, serve: Fetching) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(2500)})
        told: list[Progress] = []
        ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-04-10", progress=told.append)
        assert [progress.rows for progress in told] == [1000, 2000, 2376]
        assert told[-1].share == 1.0
        assert told[-1].limit_used is not None

    def test_an_unknown_symbol_is_an_error_that_names_it(self, serve: Fetching) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(48)})
        with pytest.raises(DataError, match="BINANCE has no market BTCUSD"):
            ExchangeManager().fetch_ohlc("BINANCE", "BTCUSD", "1H", "2025-01-01", "2025-01-02")

    def test_candles_that_need_a_key_say_so(self, serve: Fetching) -> None:
        serve({("DHAN", "RELIANCE", "1D"): walk(30, step=DAY_MS)})
        with pytest.raises(CredentialError, match="DHAN_"):
            ExchangeManager().fetch_ohlc("DHAN", "RELIANCE", "1D", "2025-01-01", "2025-01-20")

    def test_funding_comes_over_pages_and_venues_without_it_are_refused(
        self, serve: Fetching, market_data: Path
    ) -> None:
        import polars

        frame = polars.read_parquet(market_data / "binance_um_BTCUSDT_funding_20220101_20250331.parquet")
        times, rates = frame["time"].to_numpy(), frame["funding_rate"].to_numpy()
        serve({}, funding={("BINANCE_UM", "BTCUSDT"): (times, rates)})
        start, end = int(times[0]), int(times[-1]) + 1
        paid = ExchangeManager().funding("BINANCE_UM", "BTCUSDT", start, end)
        assert [rate for _, rate in paid] == rates.tolist()
        with pytest.raises(ConfigError, match="BINANCE has no funding"):
            ExchangeManager().funding("BINANCE", "BTCUSDT", start, end)

    def test_the_rules_of_a_market_come_from_its_venue(self, serve: Fetching) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(48)})
        assert ExchangeManager().market("binance", "btcusdt").tick_size > 0
        assert ExchangeManager().market("SAMPLE", "SAMPLE-BTC").tick_size > 0


class TestConnectivity:
    @pytest.mark.parametrize("venue", ["BINANCE", "BINANCE_UM", "DELTA", "ZERODHA", "DHAN"])
    def test_a_venue_that_answers_and_knows_the_key_is_ready(self, serve: Fetching, venue: str) -> None:
        serve.now = lambda: int(time.time() * 1000)
        serve({}, keys=True)
        status = ExchangeManager().validate_connectivity(venue)
        assert status["status"] == "READY", status["message"]
        assert status["latency"] >= 0
        assert [check["name"] for check in status["checks"]] == ["reachable", "clock", "credentials"]

    @pytest.mark.parametrize(
        ("venue", "expected"), [("BINANCE", "READY"), ("DELTA", "READY"), ("ZERODHA", "FAILED"), ("DHAN", "FAILED")]
    )
    def test_a_missing_key_fails_only_where_candles_need_one(self, serve: Fetching, venue: str, expected: str) -> None:
        serve({})
        status = ExchangeManager().validate_connectivity(venue)
        assert status["status"] == expected
        assert f"{venue}_" in status["message"]

    def test_a_clock_that_is_off_is_told_and_is_no_failure(self, serve: Fetching) -> None:
        serve({})
        status = ExchangeManager().validate_connectivity("BINANCE")
        clock = {check["name"]: check for check in status["checks"]}["clock"]
        assert not clock["ok"]  # the server's clock stands in July 2026
        assert "NTP" in clock["message"]
        assert status["status"] == "READY"

    def test_a_refused_key_fails(self, serve: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
        serve.now = lambda: int(time.time() * 1000)
        serve({}, keys=True)
        monkeypatch.setenv("BINANCE_API_SECRET", "anotherSecretThanTheVenueKnows0123456789")
        status = ExchangeManager().validate_connectivity("BINANCE")
        assert status["status"] == "FAILED"
        assert "BINANCE_API_SECRET" in status["message"]


class TestEnvironment:
    def test_the_environment_wins_over_the_file_which_stays_out_of_it(
        self, clock: ManualClock, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "config").mkdir()
        (home / "config" / ".env").write_text("DELTA_API_KEY=from$HOME#file\nDHAN_CLIENT_ID='1234567'\nOTHER=1\n")
        monkeypatch.setenv("DHAN_CLIENT_ID", "7654321")
        found = read_environment()
        assert found["DELTA_API_KEY"] == "from$HOME#file"
        assert found["DHAN_CLIENT_ID"] == "7654321"
        assert "OTHER" not in found
        assert "DELTA_API_KEY" not in os.environ
        assert "7654321" not in repr(found)
        with pytest.raises(TypeError, match="not copied"):
            pickle.dumps(found)

    def test_one_venue_gets_no_key_of_another(self) -> None:
        part = Environment({"BINANCE_API_KEY": "a", "DELTA_API_KEY": "b", "BARWISE_HOME": "c"}).part("DELTA")
        assert dict(part) == {"DELTA_API_KEY": "b", "BARWISE_HOME": "c"}

    def test_a_file_that_is_no_text_is_a_configuration_error(self, clock: ManualClock, home: Path) -> None:
        (home / "config").mkdir()
        (home / "config" / ".env").write_bytes(b"\xff\xfe\x00A")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_environment()


SPAN_OF_3000 = ("--start", "2025-01-01", "--end", "2025-05-06")


def stopped_after(pages: int) -> Callable[..., Any]:
    """What `Binance.fetch_page` does until somebody types Ctrl-C."""
    from barwise.exchange.binance import Binance

    ask, asked = Binance.fetch_page, 0

    def fetch_page(venue: Binance, *question: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked > pages:
            raise KeyboardInterrupt
        return ask(venue, *question)

    return fetch_page


def downloaded(out: str) -> list[tuple[int, int, str]]:
    """The JSON lines of a run that say how far a download is."""
    lines = [json.loads(line) for line in out.splitlines()]
    told = [line for line in lines if line.get("step") == "days of BINANCE BTCUSDT 1H"]
    assert all((line["event"], line["number"], line["name"]) == ("progress", "5", "candles") for line in told)
    return [(line["done"], line["total"], line["text"].split(", ")[0]) for line in told]


class TestCommandLine:
    WORDS = ("fetch", "BINANCE", "BTCUSDT", "1H", "--start", "2025-01-01", "--end", "2025-01-03")

    def test_fetch_stores_and_a_second_time_asks_nobody(
        self, serve: Fetching, home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        server = serve({("BINANCE", "BTCUSDT", "1H"): walk(96)})
        assert main([*self.WORDS, "--json"]) == 0
        document = json.loads(capfd.readouterr().out)
        assert (document["bars"], document["downloaded"]) == (48, 48)
        assert CandleStore(home / "data" / "cache").count("BINANCE", "BTCUSDT", "1H") == 48
        server.log.clear()
        assert main(list(self.WORDS)) == 0
        assert "nobody was asked" in capfd.readouterr().out
        assert not len(server.log)
        assert main(["data", "compact"]) == 0
        assert "1 files are now 1" in capfd.readouterr().out

    def test_ctrl_c_says_what_is_stored_and_exits_with_130(
        self, serve: Fetching, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from barwise.exchange.binance import Binance

        serve({("BINANCE", "BTCUSDT", "1H"): walk(3000)})
        monkeypatch.setattr(Binance, "fetch_page", stopped_after(1))
        assert main([*self.WORDS[:-1], "2025-04-01"]) == 130
        assert "1,000 candles had come and are stored" in capfd.readouterr().err

    def test_run_tells_in_days_how_far_its_download_is_and_goes_on_where_it_was_stopped(
        self, serve: Fetching, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from barwise.exchange.binance import Binance

        server = serve({("BINANCE", "BTCUSDT", "1H"): walk(3000)})
        words = ["run", "--json", "--explain", "--exchange", "BINANCE", "--symbol", "BTCUSDT", *SPAN_OF_3000]
        with monkeypatch.context() as patch:
            patch.setattr(Binance, "fetch_page", stopped_after(1))
            assert main(words) == 130
        assert downloaded(capfd.readouterr().out) == [(41, 125, "1,000 candles")]
        server.log.clear()
        assert main(words) == 0
        # What had come is not asked for again: 83 1/3 days were missing.
        assert downloaded(capfd.readouterr().out) == [(42, 84, "1,000 candles"), (84, 84, "2,000 candles")]
        assert not server.log.asked_twice

    def test_backtest_draws_the_bar_of_its_download_on_a_terminal_and_takes_it_away(
        self, serve: Fetching, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        serve({("BINANCE", "BTCUSDT", "1H"): walk(3000)})
        words = ["backtest", "--json", "--no-report", "--exchange", "BINANCE", "--symbol", "BTCUSDT", *SPAN_OF_3000]
        terminal = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setattr("sys.stderr", terminal)
        assert main(words) == 0
        assert json.loads(capfd.readouterr().out)["schema_version"] >= 1
        drawn = terminal.getvalue()
        assert "BINANCE BTCUSDT 1H" in drawn
        assert "3,000 rows" in drawn
        assert terminal.rows() == [""]
        before = len(drawn)
        assert main(words) == 0
        assert "BTCUSDT" not in terminal.getvalue()[before:]
        assert terminal.rows() == [""]

    def test_a_fetch_without_a_first_bar_or_a_venue_is_a_mistake_of_usage(
        self, clock: ManualClock, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["fetch", "BINANCE", "BTCUSDT", "1H"]) == 2
        assert main(["fetch", "BINNACE", "BTCUSDT", "1H", "--start", "2025-01-01"]) == 2
        assert "Did you mean BINANCE" in capfd.readouterr().err

    def test_exchanges_says_whether_keys_are_set_and_never_what_they_are(
        self, serve: Fetching, capfd: pytest.CaptureFixture[str]
    ) -> None:
        serve({}, keys=True)
        assert main(["exchanges"]) == 0
        page = capfd.readouterr().out
        assert main(["exchanges", "--json"]) == 0
        document = capfd.readouterr().out
        assert all(one["credentials_present"] for one in json.loads(document)["exchanges"])
        assert not any(value in page + document for value in CREDENTIALS.values())

    def test_doctor_is_well_here_and_asks_venues_only_online(
        self, serve: Fetching, capfd: pytest.CaptureFixture[str]
    ) -> None:
        server = serve({}, keys=True)
        main(["doctor"])
        assert not len(server.log)
        assert "Python" in capfd.readouterr().out
        main(["doctor", "--online", "--json"])
        checks = json.loads(capfd.readouterr().out)["checks"]
        assert {"BINANCE", "BINANCE_UM", "DELTA", "ZERODHA", "DHAN"} <= {check["name"] for check in checks}

    def test_doctor_fails_where_others_can_read_the_keys(
        self, clock: ManualClock, home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (home / "config").mkdir()
        (home / "config" / ".env").write_text("DELTA_API_KEY=\n")
        (home / "config" / ".env").chmod(0o644)
        assert main(["doctor"]) == 1
        assert "chmod 600" in capfd.readouterr().out


def readme_example(heading: str) -> str:
    """The program printed under a heading of the README."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    program = text.partition(f"## {heading}\n")[2].partition("\n## ")[0].partition("```python\n")[2].partition("```")[0]
    assert program, f"there is no program under {heading}"
    return program


def run_as_printed(program: str) -> None:
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})


def test_the_first_example_of_the_readme_runs_as_it_stands_on_downloaded_candles(
    serve: Fetching, market_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve({("BINANCE", "BTCUSDT", "1H"): parquet_columns(market_data / BTC)})
    run_as_printed(readme_example("Example 1: the flat API"))
    assert "trades, win rate" in capsys.readouterr().out
    assert len(server.log.of("BINANCE", "klines")) == 3


def test_the_second_example_of_the_readme_optimizes_as_it_stands_on_downloaded_candles(
    serve: Fetching, market_data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve({("BINANCE", "BTCUSDT", "1H"): parquet_columns(market_data / BTC)})
    run_as_printed(readme_example("Example 2: the optimizer"))
    told = capsys.readouterr().out
    stages = re.findall(r"^stage (7\.[123]): Sharpe (-?[\d.]+) after \d+ trials$", told, re.MULTILINE)
    assert [stage for stage, _ in stages] == ["7.1", "7.2", "7.3"]
    sharpes = [float(sharpe) for _, sharpe in stages]
    assert sharpes == sorted(sharpes)
    saved = json.loads(Path(told.splitlines()[-1]).read_text())
    assert round(saved["best"]["sharpe_ratio"], 2) == sharpes[-1]
    assert saved["market"]["bars"] == 2136
    assert (home / "data" / "ledger.sqlite").is_file()


def test_the_example_of_a_strategy_of_ones_own_in_the_readme_asks_nobody(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    run_as_printed(readme_example("Your own strategy, no network"))
    assert "trade_id" in capsys.readouterr().out


def test_the_third_example_of_the_readme_walks_forward_after_the_second(
    serve: Fetching, market_data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve({("BINANCE", "BTCUSDT", "1H"): parquet_columns(market_data / BTC)})
    names: dict[str, Any] = {"__name__": "readme"}
    for heading in ("Example 2: the optimizer", "Example 3: walk-forward and the verdict"):
        capsys.readouterr()
        exec(compile(readme_example(heading), "README.md", "exec"), names)
    told = capsys.readouterr().out
    # 89 days hold one window of 60 + 20.
    assert re.findall(r"^search (\S+) \.\. (\S+), trade (\S+) \.\. (\S+)$", told, re.MULTILINE) == [
        ("2025-01-01", "2025-03-02", "2025-03-02", "2025-03-22")
    ]
    result = names["result"]
    assert f"consistency {result.consistency_score:.2f}, stability {result.stability_score:.2f}" in told
    saved = next(Path(line) for line in told.splitlines() if line.endswith(".json"))
    assert json.loads(saved.read_text())["confidence_score"] == result.confidence_score
    assert "TOO LITTLE DATA\n" in told
    engine = names["WalForwardEngine"](
        names["candles"], names["opt"].get_final_config(), 0.1, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H"
    )
    assert len(engine.run().windows) == 1
