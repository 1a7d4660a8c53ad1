"""Manifests: a run can be had again to the bit, and whatever has changed is named: the bar, the event, the value."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise import pipeline
from barwise.config import Int
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import CheckpointError, DataError
from barwise.manifest import Origin, compare, describe_run, find_manifest, portable, read_manifest, strategy_reference
from barwise.manifest.record import bar_marks, digest_of, equity_of, packed, unpacked
from barwise.pipeline import RunSettings
from barwise.report.tables import trade_log
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.command_line import BREAKOUT, Call
from tests.no_network import cut_off

SPAN = ("--start", "2024-01-01", "--end", "2024-04-01")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run here may need a venue."""
    cut_off(monkeypatch)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-04-01")


@pytest.fixture(scope="module")
def result(candles: Candles) -> BacktestResult:
    return backtest(candles, EmaRsiAtr(), 0.1)


@pytest.fixture
def manifest(result: BacktestResult) -> dict[str, Any]:
    origin = Origin("SAMPLE", "SAMPLE-BTC", "1H", None, None, 0.1, strategy="barwise.strategy.ema_rsi_atr:EmaRsiAtr")
    content: dict[str, Any] = json.loads(json.dumps(describe_run(result, origin)))
    return content


def written_run(settings: RunSettings, home: Path) -> None:
    """A backtest with its report and manifest, without the command line."""
    market, rules = pipeline.choose_market(settings), pipeline.choose_rules(settings)
    inputs = pipeline.fetch_inputs(settings, market)
    pipeline.write_run(
        pipeline.run_baseline(inputs, rules, market.quantity, check_lookahead=False), settings, market, inputs, home
    )


def the_manifest(home: Path) -> Path:
    (path,) = (home / "data" / "results").glob("*.manifest.json")
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], object], *, forge: bool = True) -> None:
    """Change a manifest's file; a forger makes its digest fit again."""
    content = json.loads(path.read_text())
    change(content)
    if forge:
        content["digest"] = digest_of(content)
    path.write_text(json.dumps(content))


def verified(call: Call, *words: object, code: int) -> dict[str, Any]:
    """The JSON document of `barwise verify`."""
    outcome = call("verify", "--json", *words)
    assert outcome.code == code, outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    assert document["same"] is (code == 0)
    return document


def first_log_difference(before: BacktestResult, after: BacktestResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first line of two trade logs that differs, found without a manifest."""
    lines = zip(*(trade_log(one).splitlines()[1:] for one in (before, after)), strict=False)
    return next((json.loads(one), json.loads(other)) for one, other in lines if one != other)


def with_price(candles: Candles, bar: int, factor: float) -> Candles:
    """The same candles with one bar's prices multiplied."""
    columns = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close")}
    for column in columns.values():
        column[bar] *= factor
    return replace(candles, **columns)


class TestRoundTrip:
    def test_a_run_that_nothing_has_touched_is_the_same_to_the_bit(self, call: Call, home: Path) -> None:
        assert call("backtest", *SPAN, "--set", "ema_fast=12", "--set", "slippage=0.001", "--quiet").code == 0
        outcome = call("verify")
        assert outcome.code == 0, outcome.out
        assert " SAME " in outcome.out
        document = verified(call, code=0)
        recorded = read_manifest(the_manifest(home))
        assert recorded["configuration"]["strategy"]["parameters"]["ema_fast"] == 12
        assert document["events"] == len(recorded["events"]["rows"]) > 20
        assert (document["differences"], document["first_event"], document["notes"]) == ([], None, [])

    def test_finer_candles_funding_and_fees_are_had_again_too(self, call: Call, home: Path, candles: Candles) -> None:
        funding = home / "funding.csv"
        rows = "\n".join(f"{time},0.0001" for time in candles.time[::8])
        funding.write_text(f"time,funding_rate\n{rows}\n")
        words = ("--detail", "15M", "--funding-file", "funding.csv", "--set", "fees=BINANCE", "--quiet")
        assert call("backtest", *SPAN, *words).code == 0
        assert verified(call, code=0)["same"]
        funding.write_text(f"time,funding_rate\n{rows.replace(',0.0001', ',0.0002', 1)}\n")
        (data, *others) = verified(call, code=1)["differences"]
        assert (data["part"], data["field"]) == ("data", "funding")
        assert "data" not in {other["part"] for other in others}

    def test_another_working_directory_is_the_same_run(
        self, call: Call, home: Path, candles: Candles, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
    ) -> None:
        (home / "mine").mkdir()
        write_candles(candles, home / "mine" / "candles.parquet")
        (home / "mine" / "breakout.py").write_text(BREAKOUT)
        words = ("--file", "mine/candles.parquet", "--strategy", "mine/breakout.py:Breakout", "--quiet")
        assert call("backtest", *words).code == 0
        monkeypatch.delenv("BARWISE_HOME")
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        assert verified(call, "--home", home, code=0)["same"]
        assert verified(call, the_manifest(home), code=0)["same"]

    def test_verifying_writes_nothing(self, call: Call, home: Path) -> None:
        call("backtest", *SPAN, "--quiet")
        before = {path: path.stat().st_mtime_ns for path in (home / "data").rglob("*")}
        call("verify")
        assert {path: path.stat().st_mtime_ns for path in (home / "data").rglob("*")} == before

    def test_a_manifest_that_cannot_be_written_leaves_no_report_behind(self, home: Path) -> None:
        for second in range(20):  # a folder in the way, whatever the second
            moment = datetime.now(UTC) + timedelta(seconds=second - 1)
            (home / "data" / "results" / f"{moment:%Y%m%d-%H%M%S}-sample-btc-1h.manifest.json").mkdir(parents=True)
        with pytest.raises(DataError, match="cannot be written"):
            written_run(RunSettings(start="2024-01-01", end="2024-02-01"), home)
        assert [path for path in home.rglob("*") if path.is_file()] == []


class TestData:
    def test_one_changed_price_is_named_and_so_is_the_first_event_it_changes(
        self, call: Call, home: Path, candles: Candles, result: BacktestResult
    ) -> None:
        write_candles(candles, home / "candles.parquet")
        assert call("backtest", "--file", "candles.parquet", "--quiet").code == 0
        bar = int(result.records.trades["exit_bar"][3])
        tampered = with_price(candles, bar, 1.03)
        write_candles(tampered, home / "candles.parquet")
        document = verified(call, code=1)
        data = document["differences"][0]
        opens = datetime.fromtimestamp(int(candles.time[bar]) / 1000, UTC)
        assert (data["part"], data["field"], data["time"]) == ("data", "candles", opens.isoformat())
        assert (data["was"], data["now"]) == (candles.fingerprint, tampered.fingerprint)
        assert f"number {bar:,} of 2,184, which opens at {opens:%Y-%m-%d %H:%M} UTC" in data["text"]
        was, now = first_log_difference(result, backtest(tampered, EmaRsiAtr(), 0.1))
        event = document["first_event"]
        field = next(name for name in was if was[name] != now[name])
        assert (event["field"], event["was"], event["now"]) == (field, was[field], now[field])
        outcome = call("verify")
        assert outcome.code == 1
        assert " DIFFERS" in outcome.out
        assert event["text"] in outcome.out

    def test_bars_that_came_later_are_left_out_and_those_that_went_are_named(
        self, call: Call, home: Path, candles: Candles
    ) -> None:
        write_candles(candles[:2000], home / "candles.parquet")
        assert call("backtest", "--file", "candles.parquet", "--quiet").code == 0
        write_candles(candles, home / "candles.parquet")
        assert verified(call, code=0)["notes"] == ["184 bars have been added since and are left out."]
        write_candles(candles[:1990], home / "candles.parquet")
        data = verified(call, code=1)["differences"][0]
        assert "number 1,990 of 2,000, which is not there any more; there are 1,990 bars now" in data["text"]
        write_candles(candles[1:2000], home / "candles.parquet")
        data = verified(call, code=1)["differences"][0]
        assert (data["time"], data["text"].count("number 0 of 2,000")) == ("2024-01-01T01:00:00+00:00", 1)

    def test_a_store_that_has_grown_at_its_open_end_is_the_same_run(
        self, call: Call, home: Path, candles: Candles
    ) -> None:
        columns = candles.bars._asdict()
        mine = Candles.of(columns, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")
        words = ("--exchange", "BINANCE", "--symbol", "BTCUSDT", "--timeframe", "1H", "--quiet")
        for part in (mine[:2000], mine[2000:]):
            write_candles(part, home / "part.parquet")
            assert call("data", "import", "part.parquet", *words).code == 0
            if len(part) == 2000:
                assert call("backtest", *words).code == 0
        assert verified(call, code=0)["notes"] == ["184 bars have been added since and are left out."]

    def test_a_file_that_has_gone_is_one_sentence_and_can_be_pointed_to(
        self, call: Call, home: Path, candles: Candles
    ) -> None:
        write_candles(candles, home / "candles.parquet")
        assert call("backtest", "--file", "candles.parquet", "--quiet").code == 0
        (home / "candles.parquet").rename(home / "moved.parquet")
        outcome = call("verify")
        assert outcome.code == 1
        assert "the file of the candles of this run was candles.parquet, which is neither in" in outcome.err
        assert "--file FILE" in outcome.err
        assert verified(call, "--file", "moved.parquet", code=0)["same"]

    def test_another_market_is_said_to_be_one(self, manifest: dict[str, Any]) -> None:
        other = sample_candles("SAMPLE-ETH", "1H", "2024-01-01", "2024-04-01")
        now = describe_run(backtest(other, EmaRsiAtr(), 0.1), Origin.of(manifest))
        text = compare(manifest, now, other).differences[0].text
        assert "they were of SAMPLE SAMPLE-BTC 1H SYNTHETIC and are of SAMPLE SAMPLE-ETH 1H SYNTHETIC" in text

    @pytest.mark.parametrize("column", ["time", "open", "high", "low", "close", "volume", "quote_volume"])
    def test_every_column_of_a_bar_is_in_its_mark_and_in_no_other(self, candles: Candles, column: str) -> None:
        values = getattr(candles, column).copy()
        values[700] = np.nextafter(values[700], np.inf) if values.dtype.kind == "f" else values[700] + 1
        changed = replace(candles, **{column: values})
        assert np.flatnonzero(bar_marks(candles) != bar_marks(changed)).tolist() == [700]
        assert len(np.unique(bar_marks(candles))) == len(candles)


class TestTampering:
    def test_a_changed_event_is_named_by_time_field_and_both_values(self, call: Call, home: Path) -> None:
        call("backtest", *SPAN, "--quiet")
        path = the_manifest(home)
        events = read_manifest(path)["events"]
        at = [row[0] for row in events["rows"]].index("fill", 10)
        price = events["fields"]["fill"].index("price") + 1
        honest = events["rows"][at][price]
        time = events["rows"][at][events["fields"]["fill"].index("time") + 1]

        def cheaper(content: dict[str, Any]) -> None:
            content["events"]["rows"][at][price] = np.nextafter(honest, 0.0)

        rewrite(path, cheaper)
        (only,) = verified(call, code=1)["differences"]
        assert (only["part"], only["field"], only["time"]) == ("event", "price", time)
        assert (only["was"], only["now"]) == (np.nextafter(honest, 0.0), honest)
        assert f"event {at + 1} of {len(events['rows'])} events on record, the " in only["text"]
        rewrite(path, lambda content: content.update(digest="0" * 64), forge=False)
        parts = [difference["part"] for difference in verified(call, code=1)["differences"]]
        assert parts == ["manifest", "event"]

    def test_an_event_taken_away_or_made_up_is_named(
        self, manifest: dict[str, Any], result: BacktestResult, candles: Candles
    ) -> None:
        now = describe_run(result, Origin.of(manifest))
        last = manifest["events"]["rows"].pop()
        (_, gone) = compare(manifest, now, candles).differences
        assert (gone.part, gone.was, gone.now) == ("event", None, last[0])
        assert gone.text.startswith(
            f"after the last of {len(manifest['events']['rows'])} events on record there is the "
        )
        manifest["events"]["rows"] += [last, last]
        (_, made_up) = compare(manifest, now, candles).differences
        assert (made_up.was, made_up.now) == (last[0], None)
        assert "it does not happen any more" in made_up.text

    def test_a_changed_equity_is_named_by_its_bar(
        self, manifest: dict[str, Any], result: BacktestResult, candles: Candles
    ) -> None:
        now = describe_run(result, Origin.of(manifest))
        equity = equity_of(manifest).copy()
        honest = float(equity[500])
        equity[500:] += 1e-9
        manifest["equity"]["values"] = packed(equity)
        found = next(one for one in compare(manifest, now, candles).differences if one.part == "equity")
        opens = datetime.fromtimestamp(int(candles.time[result.trade_from + 500]) / 1000, UTC)
        assert (found.time, found.was, found.now) == (opens.isoformat(), float(equity[500]), honest)

    def test_a_changed_headline_is_named(
        self, manifest: dict[str, Any], result: BacktestResult, candles: Candles
    ) -> None:
        now = describe_run(result, Origin.of(manifest))
        manifest["metrics"]["band"]["worst"] = 1e6
        found = [one for one in compare(manifest, now, candles).differences if one.part != "manifest"]
        assert [(one.part, one.field, one.was) for one in found] == [("metrics", "band.worst", 1e6)]

    def test_another_parameter_is_another_run(self, call: Call, home: Path, candles: Candles) -> None:
        call("backtest", *SPAN, "--quiet")

        def faster(content: dict[str, Any]) -> None:
            content["configuration"]["strategy"]["parameters"]["atr_tp_multiplier"] = 3.5

        rewrite(the_manifest(home), faster)
        document = verified(call, code=1)
        was, now = (backtest(candles, EmaRsiAtr(**changes), 0.1) for changes in ({}, {"atr_tp_multiplier": 3.5}))
        before, after = first_log_difference(was, now)
        field = next(name for name in before if before[name] != after[name])
        event = document["first_event"]
        assert (event["field"], event["was"], event["now"]) == (field, before[field], after[field])

    def test_a_fee_that_the_venue_has_changed_since_is_named(self, call: Call, home: Path) -> None:
        call("backtest", *SPAN, "--quiet")
        rewrite(the_manifest(home), lambda content: content["configuration"]["fees"].update(buy_taker=0.5))
        (only,) = verified(call, code=1)["differences"]
        assert (only["part"], only["field"], only["was"]) == ("configuration", "fees.buy_taker", 0.5)

    def test_another_library_is_a_note_where_the_numbers_are_the_same(self, call: Call, home: Path) -> None:
        call("backtest", *SPAN, "--quiet")

        def older(content: dict[str, Any]) -> None:
            content["libraries"]["numpy"] = "1.0"
            content["code"]["core"] = "f" * 64

        rewrite(the_manifest(home), older)
        core, library = verified(call, code=0)["notes"]
        assert core.startswith("the code of the core is another: ffffffffffff then, ")
        assert library == f"numpy is another version: 1.0 then, {np.__version__} now."


class TestStrategy:
    @pytest.fixture
    def run(self, call: Call, home: Path) -> Path:
        (home / "breakout.py").write_text(BREAKOUT)
        assert call("backtest", *SPAN, "--strategy", "breakout.py:Breakout", "--quiet").code == 0
        return home / "breakout.py"

    def test_a_strategy_whose_text_has_changed_and_nothing_else_is_the_same_with_a_note(
        self, call: Call, run: Path
    ) -> None:
        run.write_text(BREAKOUT + "# a remark\n")
        assert "the code of the strategy is another" in verified(call, code=0)["notes"][0]

    def test_a_strategy_that_decides_otherwise_differs_and_its_code_is_the_likely_cause(
        self, call: Call, run: Path
    ) -> None:
        run.write_text(BREAKOUT.replace("bars.close > shift", "bars.close > 1.001 * shift"))
        document = verified(call, code=1)
        assert document["first_event"] is not None
        assert "the code of the strategy is another" in document["notes"][0]

    def test_a_strategy_that_has_gone_is_one_sentence_and_can_be_pointed_to(self, call: Call, run: Path) -> None:
        moved = run.rename(run.with_name("moved.py"))
        outcome = call("verify")
        assert outcome.code == 1
        assert "the strategy of this run was breakout.py" in outcome.err
        assert "--strategy FILE.py:CLASS" in outcome.err
        assert verified(call, "--strategy", f"{moved}:Breakout", code=0)["same"]

    def test_a_parameter_that_is_no_more_is_one_sentence(self, call: Call, run: Path) -> None:
        run.write_text(BREAKOUT.replace("lookback", "bars_back"))
        outcome = call("verify")
        assert outcome.code == 2
        assert "lookback" in outcome.err

    def test_a_class_of_a_function_has_no_name_to_be_found_by(self, call: Call, home: Path) -> None:
        class Local(Strategy):
            """Known to this test alone."""

            lookback: int = Int(20, low=2)

            def plan(self, bars: Bars) -> Plan:
                return Plan.of(entry=bars.close > bars.open)

        assert strategy_reference(Local, home) is None
        assert strategy_reference(EmaRsiAtr, home) == "barwise.strategy.ema_rsi_atr:EmaRsiAtr"
        written_run(RunSettings(start="2024-01-01", end="2024-02-01", strategy=Local), home)
        outcome = call("verify")
        assert outcome.code == 2
        assert "names no strategy" in outcome.err


class TestFile:
    def test_a_run_is_found_by_name_by_any_of_its_files_or_as_the_newest(self, call: Call, home: Path) -> None:
        for symbol in ("SAMPLE-ETH", "SAMPLE-BTC"):
            call("backtest", *SPAN, "--symbol", symbol, "--quiet")
        results = home / "data" / "results"
        btc, eth = sorted(results.glob("*.manifest.json"), key=lambda path: "eth" in path.name)
        assert find_manifest(None, home) == btc
        name = eth.name.removesuffix(".manifest.json")
        for run in (name, f"{name}.json", str(eth), str(results / f"{name}.json"), str(results / f"{name}.html")):
            assert find_manifest(run, home).samefile(eth), run
        with pytest.raises(CheckpointError, match=f"Did you mean {name}"):
            find_manifest(name[:-1], home)

    def test_nothing_to_verify_is_one_sentence(self, call: Call) -> None:
        outcome = call("verify")
        assert outcome.code == 1
        assert "there is no manifest of a run in" in outcome.err
        assert call("verify", "no-such-run").code == 1

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("{", "is damaged: it is no JSON"),
            ("[]", "is no manifest of a run: it has no schema_version"),
            ('{"schema_version": 1}', "it has no inputs"),
            ({"schema_version": 2}, "has version 2 of the manifest; this barwise reads version 1"),
            ({"data": {"candles": {}}}, "it has no data.detail"),
            ({"events": {"fields": {}, "rows": [["fill", 1]]}}, "the manifest is damaged"),
            ({"equity": {"bars": 3, "values": "no base64!"}}, "a column of it cannot be unpacked"),
            ({"inputs": {"exchange": "SAMPLE"}}, "does not say how its inputs can be had"),
            ({"data": {"candles": {"first_ms": "x"}, "detail": None, "funding": None}}, "the manifest is damaged"),
        ],
    )
    def test_a_damaged_manifest_is_one_sentence(
        self, call: Call, home: Path, damage: str | Mapping[str, Any], message: str
    ) -> None:
        call("backtest", *SPAN, "--quiet")
        path = the_manifest(home)
        if isinstance(damage, str):
            path.write_text(damage)
        else:
            rewrite(path, lambda content: content.update(damage))
        outcome = call("verify")
        assert outcome.code == 1
        assert message in outcome.err
        assert "hint: " in outcome.err
        assert "Traceback" not in outcome.err

    def test_a_manifest_tells_nothing_of_the_computer_and_its_folders(
        self, call: Call, home: Path, candles: Candles, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        elsewhere = tmp_path_factory.mktemp("a-folder-of-mine")
        write_candles(candles, elsewhere / "candles.parquet")
        call("backtest", "--file", elsewhere / "candles.parquet", "--quiet")
        text = the_manifest(home).read_text()
        assert json.loads(text)["inputs"]["candle_file"] == "candles.parquet"
        for private in (str(home), "a-folder-of-mine", str(Path.home()) + "/", f'"{platform.node()}"'):
            assert private not in text
        assert portable(home / "a" / "b.csv", home) == "a/b.csv"

    def test_two_manifests_of_one_run_differ_in_when_they_were_written(self, result: BacktestResult) -> None:
        origin = Origin("SAMPLE", "SAMPLE-BTC", "1H", None, None, 0.1)
        first, second = (describe_run(result, origin, written=datetime(2025, 1, day, tzinfo=UTC)) for day in (1, 2))
        assert {name for name in first if first[name] != second[name]} == {"written", "digest"}

    def test_packed_columns_come_back_to_the_bit(self) -> None:
        values = np.array([0.1, -0.0, 1e300, 5e-324])
        assert unpacked(packed(values), "<f8").tobytes() == values.tobytes()
        with pytest.raises(CheckpointError, match="cannot be unpacked"):
            unpacked("AAAA", "<f8")
