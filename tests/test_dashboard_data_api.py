"""What the dashboard says of candles and of the ledger: as their stores say it, read as little as possible."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from barwise.core.layout import SUMMARY
from barwise.dashboard.api_data import endpoints
from barwise.dashboard.ledger_answers import LedgerView
from barwise.data.candles import Candles
from barwise.data.store import CandleStore, Provenance
from barwise.data.synthetic import sample_candles
from barwise.optimizer.ledger import Context, DataSet, Ledger, Origin, Rows
from tests.dashboard_runs import ask, check_schema, client_of, failure

DATA, MARKET, LEDGER = "/data", "/data/<exchange>/<symbol>/<timeframe>", "/ledger"
HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01
CHECKED = START + 2_000 * HOUR


def bars_of(exchange: str, symbol: str, keep: Any = slice(None), days: int = 30, **changes: Any) -> Candles:
    """Bars of a market that is none of the made up ones."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    found = sample_candles(start=start, end=start + timedelta(days=days), **changes)
    columns = {name: getattr(found, name)[keep] for name in ("time", "open", "high", "low", "close", "volume")}
    return Candles(
        **columns, quote_volume=None, timeframe=found.timeframe, exchange=exchange, symbol=symbol, synthetic=False
    )


@pytest.fixture(scope="module")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    store = CandleStore(home / "data" / "cache")
    # 720 hours; those of the numbers 100 to 102 and 400 are missing, and the source was asked for them.
    rows = np.setdiff1d(np.arange(720), [100, 101, 102, 400])
    asked = Provenance("BINANCE", CHECKED, "test 1")
    store.put(bars_of("BINANCE", "BTCUSDT", rows), source="hours", span=(START, START + 720 * HOUR), provenance=asked)
    store.put(bars_of("BINANCE", "BTC/USDT", days=3), source="<script>alert(1)</script>")
    store.put(bars_of("DELTA", "M&M", days=2))
    later = bars_of("BINANCE", "ETHUSDT", slice(0, 24))
    store.put(later)
    revised = bars_of("BINANCE", "ETHUSDT", slice(0, 24))
    store.put(
        Candles(
            time=revised.time, open=revised.open, high=revised.high, low=revised.low, close=revised.close,
            volume=revised.volume + 1.0, quote_volume=None, timeframe=revised.timeframe, exchange="BINANCE",
            symbol="ETHUSDT", synthetic=False,
        )
    )  # fmt: skip
    return home


@pytest.fixture(scope="module")
def client(store_home: Path) -> FlaskClient:
    return client_of(store_home)


@pytest.fixture
def store(store_home: Path) -> CandleStore:
    return CandleStore(store_home / "data" / "cache")


def market(client: FlaskClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(client, path)
    check_schema(endpoints, MARKET, found)
    return found


class TestTheList:
    def test_it_says_what_the_store_says(self, client: FlaskClient, store: CandleStore) -> None:
        found = ask(client, "/data")
        check_schema(endpoints, DATA, found)
        listed = store.list()
        assert len(listed) == 4
        for told, series in zip(found["markets"], listed, strict=True):
            names = (told["exchange"], told["symbol"], told["timeframe"])
            assert names == (series.exchange, series.symbol, series.timeframe.name)
            counted = (told["bars"], told["gaps"], told["missing"], told["corrections"], told["files"], told["bytes"])
            assert counted == (
                series.bars, series.gaps, series.missing, series.corrections, series.files, series.size
            )  # fmt: skip
        assert found["bytes"] == sum(series.size for series in listed)
        [hours] = [told for told in found["markets"] if told["symbol"] == "BTCUSDT"]
        assert (hours["bars"], hours["gaps"], hours["missing"]) == (716, 2, 4)
        assert (hours["first_ms"], hours["last_ms"]) == (START, START + 719 * HOUR)

    def test_the_path_of_each_leads_to_it(self, client: FlaskClient) -> None:
        for told in ask(client, "/data")["markets"]:
            found = market(client, told["path"])
            assert (found["exchange"], found["symbol"]) == (told["exchange"], told["symbol"])
            assert found["bars"] == told["bars"]

    def test_no_price_is_read_and_nothing_twice(
        self, client: FlaskClient, store_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(CandleStore, "get", None)
        before = ask(client, "/data")
        monkeypatch.setattr(CandleStore, "list", None)
        assert ask(client, "/data") == before
        monkeypatch.undo()
        CandleStore(store_home / "data" / "cache").put(bars_of("DELTA", "BTCUSD", days=1))
        assert len(ask(client, "/data")["markets"]) == len(before["markets"]) + 1

    def test_a_home_without_a_store_has_an_empty_list(self, tmp_path: Path) -> None:
        assert ask(client_of(tmp_path), "/data") == {"markets": [], "bytes": 0}
        assert not (tmp_path / "data" / "cache").exists()


class TestOneMarket:
    def test_its_gaps_are_those_that_were_made(self, client: FlaskClient) -> None:
        found = market(client, "/data/BINANCE/BTCUSDT/1H")
        assert (found["gaps"]["count"], found["gaps"]["missing"], found["gaps"]["longest"]) == (2, 4, 3)
        assert found["gaps"]["places"] == [
            {"start_ms": START + 100 * HOUR, "end_ms": START + 103 * HOUR, "bars": 3, "checked_ms": CHECKED},
            {"start_ms": START + 400 * HOUR, "end_ms": START + 401 * HOUR, "bars": 1, "checked_ms": CHECKED},
        ]
        assert found["gaps"]["omitted"] == 0
        assert found["audit"]["ok"]
        kinds = {finding["kind"]: finding for finding in found["audit"]["findings"]}
        assert kinds["gaps"]["first_ms"] == START + 100 * HOUR

    def test_its_candles_are_those_of_the_store(self, client: FlaskClient, store: CandleStore) -> None:
        candles = store.get("BINANCE", "BTCUSDT", "1H")
        found = market(client, "/data/BINANCE/BTCUSDT/1H")["candles"]
        assert (found["timeframe"], found["merged"], found["bars_shown"]) == ("1H", 1, 716)
        for name in ("time", "open", "high", "low", "close", "volume"):
            assert found[name] == getattr(candles, name).tolist()

    def test_a_part_of_it_is_shown_bar_by_bar(self, client: FlaskClient, store: CandleStore) -> None:
        first, end = START + 200 * HOUR, START + 210 * HOUR
        found = market(client, f"/data/BINANCE/BTCUSDT/1H?start={first}&end={end}")["candles"]
        assert found["time"] == list(range(first, end, HOUR))
        assert found["close"] == store.get("BINANCE", "BTCUSDT", "1H", first, end).close.tolist()

    def test_too_many_bars_are_put_together_without_losing_an_extreme(
        self, client: FlaskClient, store: CandleStore
    ) -> None:
        candles = store.get("BINANCE", "BTCUSDT", "1H")
        found = market(client, "/data/BINANCE/BTCUSDT/1H?points=31")["candles"]
        assert found["timeframe"] == "1D"
        assert found["bars_shown"] == 30
        assert max(found["high"]) == candles.high.max()
        assert min(found["low"]) == candles.low.min()
        assert sum(found["volume"]) == pytest.approx(candles.volume.sum(), rel=1e-12)
        day = (candles.time >= START + 24 * HOUR) & (candles.time < START + 48 * HOUR)
        assert found["high"][1] == candles.high[day].max()
        assert found["open"][1] == candles.open[day][0]
        assert found["close"][1] == candles.close[day][-1]

    def test_a_span_outside_has_no_candles(self, client: FlaskClient) -> None:
        found = market(client, f"/data/BINANCE/BTCUSDT/1H?start={START + 10_000 * HOUR}")["candles"]
        assert found["time"] == found["close"] == []
        assert found["bars_shown"] == 0

    def test_bars_that_came_again_with_other_values_are_counted(self, client: FlaskClient) -> None:
        found = market(client, "/data/BINANCE/ETHUSDT/1H")
        assert found["corrections"] == 24
        assert found["files"] == 1

    def test_it_is_read_once_and_again_when_a_file_has_changed(
        self, store_home: Path, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        market(client, "/data/DELTA/M%26M/1H")
        with monkeypatch.context() as patch:
            patch.setattr(CandleStore, "get", None)
            assert market(client, "/data/DELTA/M%26M/1H?points=10")["bars"] == 48
        CandleStore(store_home / "data" / "cache").put(bars_of("DELTA", "M&M", slice(48, 72), days=3))
        assert market(client, "/data/DELTA/M%26M/1H")["bars"] == 72

    def test_a_source_that_looks_like_a_script_is_only_text(self, client: FlaskClient) -> None:
        answer = client.get("/api/v1/data", headers={"Host": "127.0.0.1:8765"})
        assert b"<script" not in answer.data
        assert b"alert(1)" in answer.data


class TestWhatIsNotThere:
    def test_a_market_that_is_not_stored_is_named_with_the_nearest(self, client: FlaskClient) -> None:
        error = failure(client, "/data/BINANCE/BTCUSD/1H", 404)
        assert error["kind"] == "NotFound"
        assert "Did you mean BINANCE BTCUSDT 1H?" in error["message"]

    @pytest.mark.parametrize(
        "path",
        [
            "BINANCE/BTCUSDT/7H", "BINANCE/BTCUSDT/corrections", "SAMPLE/SAMPLE-BTC/1H", "../../etc", "%2e%2e/x/1H",
            "BINANCE/%252e%252e/1H", "BINANCE/..%252F..%252Fetc/1H", "BINANCE/%00/1H", f"BINANCE/{'x' * 400}/1H",
            "%3Cscript%3E/BTCUSDT/1H", "binance/btcusdt/1h",
        ],
    )  # fmt: skip
    def test_no_name_leads_anywhere_else(self, client: FlaskClient, path: str) -> None:
        answer = client.get(f"/api/v1/data/{path}", headers={"Host": "127.0.0.1:8765"})
        assert answer.status_code == 404
        assert b"<script" not in answer.data

    def test_a_folder_of_another_name_is_no_market(self, store_home: Path, tmp_path: Path) -> None:
        inside = tmp_path / "data" / "cache" / "BINANCE" / "BTCUSDT" / "1H"
        inside.mkdir(parents=True)
        assert failure(client_of(tmp_path), "/data/BINANCE/BTCUSDT/1H", 404)["kind"] == "NotFound"
        assert ask(client_of(tmp_path), "/data")["markets"] == []

    def test_a_damaged_file_is_said_to_be(self, tmp_path: Path) -> None:
        store = CandleStore(tmp_path / "data" / "cache")
        [file] = store.put(bars_of("BINANCE", "BTCUSDT", days=2)).files
        file.write_bytes(file.read_bytes()[:200])
        assert "cannot be read" in failure(client_of(tmp_path), "/data/BINANCE/BTCUSDT/1H", 422)["message"]

    @pytest.mark.parametrize("query", ["start=5&end=4", "points=1", "points=99999", "start=-1", "start=x", "begin=3"])
    def test_a_query_that_cannot_be_is_refused(self, client: FlaskClient, query: str) -> None:
        assert failure(client, f"/data/BINANCE/BTCUSDT/1H?{query}", 400)["kind"] == "ConfigError"


def recorded(home: Path, run: str, bars: int, keys: int) -> DataSet:
    """Put some evaluations on record."""
    data = DataSet(f"{bars:032x}", "BINANCE", "BTCUSDT", "1H", START, START + (bars - 1) * HOUR, bars)
    rows = Rows(
        keys=[f"{at:016d}".encode() for at in range(keys)],
        parameters=["{}"] * keys,
        first=np.zeros(keys, np.int64),
        stop=np.full(keys, bars),
        summaries=np.zeros(keys, SUMMARY),
        metrics={name: np.ones(keys) for name in ("total_trades", "net_pnl", "sharpe_ratio", "max_drawdown")},
        scores=np.arange(keys, dtype=float),
    )
    with Ledger(home / "data" / "ledger.sqlite") as ledger:
        ledger.record(Context(data, "S", {}), Origin(run, "7.1", "TPE", 1, "sharpe_ratio"), rows)
    return data


class TestLedger:
    def test_runs_come_newest_first_with_how_often_their_data_were_searched(self, tmp_path: Path) -> None:
        recorded(tmp_path, "first", 8_766, 5)
        recorded(tmp_path, "second", 8_766, 7)
        recorded(tmp_path, "third", 17_532, 3)
        found = ask(client_of(tmp_path), "/ledger")
        check_schema(endpoints, LEDGER, found)
        assert [run["run"] for run in found["runs"]] == ["third", "second", "first"]
        # Five of the seven of the second run were on record already.
        assert [run["evaluations"] for run in found["runs"]] == [3, 2, 5]
        assert {one["bars"]: (one["runs"], one["trials"]) for one in found["data_sets"]} == {
            8_766: (2, 7),
            17_532: (1, 3),
        }
        assert found["trials"] == 10
        assert found["total"] == 3
        assert found["bytes"] >= (tmp_path / "data" / "ledger.sqlite").stat().st_size

    def test_a_page_has_its_runs_and_their_data_only(self, tmp_path: Path) -> None:
        recorded(tmp_path, "first", 100, 5)
        recorded(tmp_path, "second", 200, 5)
        found = ask(client_of(tmp_path), "/ledger?offset=1&limit=1")
        assert [run["run"] for run in found["runs"]] == ["first"]
        assert [one["bars"] for one in found["data_sets"]] == [100]
        assert (found["total"], found["trials"]) == (2, 10)

    def test_what_is_recorded_meanwhile_is_told(self, tmp_path: Path) -> None:
        recorded(tmp_path, "first", 100, 5)
        client = client_of(tmp_path)
        assert ask(client, "/ledger")["trials"] == 5
        recorded(tmp_path, "second", 100, 9)
        assert ask(client, "/ledger")["trials"] == 9

    def test_luck_is_that_of_so_many_tries_on_so_many_years(self, tmp_path: Path) -> None:
        from barwise.stats.sharpe import expected_maximum
        from barwise.timeframe import Timeframe, calendar_of

        recorded(tmp_path, "first", 17_532, 50)
        [one] = ask(client_of(tmp_path), "/ledger")["data_sets"]
        years = 17_532 / Timeframe("1H").bars_per_year(calendar_of("BINANCE"))
        assert one["luck_line"] == pytest.approx(expected_maximum(50) / years**0.5)

    def test_where_there_is_no_ledger_none_is_made(self, tmp_path: Path) -> None:
        found = ask(client_of(tmp_path), "/ledger")
        check_schema(endpoints, LEDGER, found)
        assert found == {"total": 0, "runs": [], "data_sets": [], "trials": 0, "bytes": 0}
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "ledger.sqlite").touch()
        assert LedgerView(tmp_path).overview()["runs"] == []
        assert (tmp_path / "data" / "ledger.sqlite").stat().st_size == 0

    def test_a_damaged_ledger_is_said_to_be(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no database at all" * 100)
        assert failure(client_of(tmp_path), "/ledger", 409)["kind"] == "CheckpointError"
