"""The whole way from the input to the report, as the pipeline runs it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barwise.cli.hints import in_options
from barwise.config import MarketChoice, OptimizationConfig, WalkForwardConfig
from barwise.data.files import write_candles
from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError, BarwiseError, ConfigError
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.pipeline import RunSettings
from barwise.pipeline.job import Job, Outcome, run_job
from barwise.pipeline.view import PlannedStage, Tick
from barwise.report.findings import StageDone
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.trail import read

SEARCH = OptimizationConfig(profile="FAST", optuna_sampler="AUTO", num_trials=24, workers=1)
WINDOWS = WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10, min_trades_per_window=1)
SPAN = RunSettings(start="2024-01-01", end="2024-03-01")


class Listener:
    """A view that remembers."""

    def __init__(self) -> None:
        self.plan: tuple[PlannedStage, ...] = ()
        self.stages: list[StageDone] = []
        self.ticks: list[Tick] = []
        self.findings: list[str] = []
        self.order: list[str] = []

    def planned(self, stages: tuple[PlannedStage, ...]) -> None:
        self.plan = stages
        self.order.append("plan")

    def begun(self, number: str, name: str, market: str) -> None:
        self.order.append(f"{number} {name} {market}".strip())

    def tick(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def finding(self, text: str) -> None:
        self.findings.append(text)

    def done(self, stage: StageDone) -> None:
        self.stages.append(stage)


def job_of(settings: RunSettings = SPAN, **changes: Any) -> Job:
    plain = Job(settings, SEARCH, WINDOWS, 19, {"market": {"symbol": settings.symbol}}, "# settings\n")
    return replace(plain, **changes)


def done(job: Job, home: Path, **options: Any) -> tuple[Outcome, Listener]:
    listener = Listener()
    outcome = run_job(job, home, listener, **options)
    assert outcome is not None
    return outcome, listener


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(shared_home: Path) -> tuple[Outcome, Listener]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARWISE_HOME", str(shared_home))
        return done(job_of(), shared_home)


@pytest.fixture
def home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder in which the first run is done."""
    monkeypatch.setenv("BARWISE_HOME", str(shared_home))
    return shared_home


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARWISE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def fresh(empty: Path, first: tuple[Outcome, Listener], shared_home: Path) -> Path:
    """A home folder with nothing in it but what this computer is: timing it takes longer than all the rest."""
    assert first[0].name
    (empty / "data").mkdir()
    shutil.copy(shared_home / "data" / "hardware_profile.json", empty / "data")
    return empty


class TestOneMarket:
    def test_the_stages_come_in_order_and_the_plan_before_anything_slow(self, first: tuple[Outcome, Listener]) -> None:
        _, listener = first
        assert listener.order == [
            "1 credentials", "2 connectivity", "3 input", "4 strategy", "5 candles", "6 hardware", "plan",
            "5 look-ahead", "5 baseline", "7.1 integers", "7.2 real values", "7.3 timeouts", "7 neighbourhood",
            "8 verdict", "9 report", "10 page",
        ]  # fmt: skip
        assert [stage.state for stage in listener.stages] == ["done"] * 15
        assert all(stage.text for stage in listener.stages)

    def test_the_plan_has_a_time_for_every_slow_stage(self, first: tuple[Outcome, Listener]) -> None:
        _, listener = first
        times = {f"{line.number} {line.name}": line.seconds for line in listener.plan}
        assert list(times) == [
            "7.1 integers", "7.2 real values", "7.3 timeouts", "8 walk-forward", "8 shuffled", "8 verdict", "9 report",
        ]  # fmt: skip
        assert all(seconds is None or seconds > 0.0 for seconds in times.values())
        assert not any(line.kept for line in listener.plan)

    def test_progress_is_told_in_trials_windows_and_shuffled_markets(self, first: tuple[Outcome, Listener]) -> None:
        _, listener = first
        steps = dict.fromkeys(tick.step for tick in listener.ticks)
        assert {"trials", "walk-forward", "shuffled markets"} <= set(steps)
        assert all(0 <= tick.done <= tick.total for tick in listener.ticks)

    def test_what_is_found_is_what_the_parts_find_alone(self, first: tuple[Outcome, Listener]) -> None:
        [found] = first[0].findings
        alone = backtest(found.baseline.candles, EmaRsiAtr(), 0.1)
        assert found.baseline.to_dict() == alone.to_dict()
        assert found.optimization is not None
        assert found.validation is not None
        again = backtest(found.baseline.candles, found.optimization.strategy, 0.1)
        assert found.optimization.best.to_dict() == again.to_dict()
        # With the batch search the strategy that is judged is the one that was found.
        assert found.validation.best.strategy == found.optimization.strategy

    def test_every_file_is_there_and_none_else(self, first: tuple[Outcome, Listener], home: Path) -> None:
        name = first[0].name
        assert name.startswith("run-sample-btc-1h-")
        results = {path.name.removeprefix(name) for path in (home / "data" / "results").iterdir()}
        assert results == {
            ".html", ".json", ".config.toml", ".audit.jsonl", ".manifest.json", ".stage5.json", ".stage7.json",
            ".stage8.json", "-baseline.manifest.json", "-optimized.manifest.json",
        }  # fmt: skip

    def test_the_trail_tells_the_whole_run(self, first: tuple[Outcome, Listener], home: Path) -> None:
        outcome, _ = first
        [found] = outcome.findings
        lines = list(read(home / "data" / "results" / f"{outcome.name}.audit.jsonl"))
        kinds = [line["kind"] for line in lines]
        assert kinds[0] == "run_begun"
        assert kinds[-1] == "run_done"
        assert found.optimization is not None
        assert kinds.count("trial") == sum(len(stage.trials) for stage in found.optimization.stages)
        parts = [line["id"].split("/")[0] for line in lines if line["kind"] == "exit"]
        assert parts.count("baseline") == found.baseline.total_trades
        assert parts.count("optimized") == found.optimization.best.total_trades

    def test_the_ledger_has_the_baseline_once(self, first: tuple[Outcome, Listener], home: Path) -> None:
        outcome, _ = first
        with Ledger(home / "data" / "ledger.sqlite") as ledger:
            rows = ledger.frame(DataSet.of(outcome.findings[0].baseline.candles), outcome.name)
        assert rows.filter(rows["stage"] == "manual").height == 1


class TestAgain:
    def test_the_same_command_runs_nothing_again_and_writes_the_same(
        self, first: tuple[Outcome, Listener], home: Path
    ) -> None:
        path = first[0].files[0].json
        before = json.loads(path.read_text())
        trail = home / "data" / "results" / f"{first[0].name}.audit.jsonl"
        events = [line["id"] for line in read(trail) if "id" in line]
        outcome, listener = done(job_of(), home)
        assert outcome.name == first[0].name
        states = {f"{stage.number} {stage.name}": stage.state for stage in listener.stages}
        assert {name for name, state in states.items() if state == "kept"} == {
            "5 look-ahead", "7.1 integers", "7.2 real values", "7.3 timeouts", "7 neighbourhood", "8 verdict",
        }  # fmt: skip
        assert all(line.kept for line in listener.plan if line.number != "9")
        after = json.loads(path.read_text())
        assert {name for name in before if before[name] != after[name]} <= {"written", "stages"}
        assert [line["id"] for line in read(trail) if "id" in line] == events

    def test_from_a_stage_on_it_is_done_again(self, first: tuple[Outcome, Listener], home: Path) -> None:
        outcome, listener = done(job_of(), home, from_stage="7.3")
        states = {f"{stage.number} {stage.name}": stage.state for stage in listener.stages}
        assert states["7.1 integers"] == states["7.2 real values"] == "kept"
        assert states["7.3 timeouts"] == states["8 verdict"] == "done"
        assert outcome.findings[0].chosen.to_dict() == first[0].findings[0].chosen.to_dict()

    def test_explain_says_why_and_changes_nothing(self, first: tuple[Outcome, Listener], home: Path) -> None:
        assert first[0].name
        before = {path: path.stat().st_mtime_ns for path in (home / "data" / "checkpoints").iterdir()}
        listener = Listener()
        assert run_job(job_of(), home, listener, explain=True, fresh=True) is None
        assert {line.reason for line in listener.plan if line.number != "9"} == {"it is asked for anew"}
        assert run_job(job_of(search=SEARCH.replace(seed=7)), home, listener, explain=True) is None
        assert all("optimization.seed was 42 and is 7" in line.reason for line in listener.plan if line.number != "9")
        assert before == {path: path.stat().st_mtime_ns for path in (home / "data" / "checkpoints").iterdir()}

    def test_other_workers_change_no_key(self, first: tuple[Outcome, Listener], home: Path) -> None:
        assert first[0].name
        listener = Listener()
        job = job_of(search=SEARCH.replace(workers=2, batch_size=100))
        assert run_job(job, home, listener, explain=True) is None
        assert all(line.kept for line in listener.plan if line.number != "9")

    def test_fresh_begins_a_new_trail_and_keeps_the_old_one(self, fresh: Path) -> None:
        job = job_of(replace(SPAN, end="2024-02-10"), permutations=0)
        outcome, _ = done(job, fresh)
        again, listener = done(job, fresh, fresh=True)
        assert again.name == outcome.name
        assert {stage.state for stage in listener.stages} == {"done"}
        trails = sorted(path.name for path in (fresh / "data" / "results").glob("*.audit.jsonl"))
        assert trails == [f"{outcome.name}.1.audit.jsonl", f"{outcome.name}.audit.jsonl"]

    def test_an_unknown_stage_to_start_from_is_refused(self, empty: Path) -> None:
        with pytest.raises(ConfigError, match=r"7\.4 is not a stage to start from"):
            run_job(job_of(), empty, Listener(), from_stage="7.4")
        assert list(empty.iterdir()) == []


class Peeking(Strategy):
    """Buys where the next bar closes higher."""

    def plan(self, bars: Any) -> Plan:
        entry = bars.close < bars.close
        entry[:-1] = bars.close[1:] > bars.close[:-1]
        return Plan.of(entry=entry)


def test_no_report_names_a_folder_of_the_user(
    tmp_path: Path, shared_home: Path, first: tuple[Outcome, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first[0].name
    elsewhere, home = tmp_path / "folder-of-somebody", tmp_path / "home"
    elsewhere.mkdir()
    (home / "data").mkdir(parents=True)
    shutil.copy(shared_home / "data" / "hardware_profile.json", home / "data")
    monkeypatch.setenv("BARWISE_HOME", str(home))
    write_candles(sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-10"), elsewhere / "candles.parquet")
    config = {"market": {"file": str(elsewhere / "candles.parquet"), "markets": [{"file": str(elsewhere / "b.csv")}]}}
    settings = RunSettings(candle_file=elsewhere / "candles.parquet")
    outcome, _ = done(job_of(settings, permutations=0, config=config), home)
    made = [*outcome.files[0].all().values(), *(home / "data" / "results").glob("*.manifest.json")]
    assert len(made) > 10
    assert [path.name for path in made if "folder-of-somebody" in path.read_text()] == []
    document = json.loads(outcome.files[0].json.read_text())
    assert document["configuration"]["market"] == {"file": "candles.parquet", "markets": [{"file": "b.csv"}]}


class TestWhatCannotBeDone:
    def test_too_little_data_for_a_search_still_gives_a_report_that_says_so(self, fresh: Path) -> None:
        job = job_of(replace(SPAN, end="2024-01-10"), permutations=0, in_words=in_options)
        outcome, listener = done(job, fresh)
        [found] = outcome.findings
        assert found.optimization is None
        assert found.validation is None
        skipped = {stage.number: stage.text for stage in listener.stages if stage.state == "skipped"}
        assert set(skipped) == {"7", "8"}
        # What to do about it is said in words that can be typed.
        advice = 'Use a longer span, or keep it shorter with --set "optimization.ranges={ema_trend = [low, high]}".'
        assert all(text.endswith(f" bars; there are 216. {advice}") for text in skipped.values())
        assert outcome.files[0].html.is_file()

    def test_a_strategy_that_looks_ahead_is_refused_before_anything_slow(self, fresh: Path) -> None:
        listener = Listener()
        with pytest.raises(BacktestError):
            run_job(job_of(replace(SPAN, strategy=Peeking)), fresh, listener)
        assert listener.stages[-1].name == "hardware"

    def test_several_objectives_are_optimized_and_not_judged(self, fresh: Path) -> None:
        search = SEARCH.replace(optuna_sampler="NSGA-II", objective=("sharpe_ratio", "max_drawdown"))
        outcome, listener = done(job_of(search=search), fresh)
        assert outcome.findings[0].validation is None
        assert [stage.number for stage in listener.stages if stage.state == "skipped"] == ["8"]

    def test_a_wrong_value_ends_it_before_any_venue_is_asked(self, empty: Path) -> None:
        listener = Listener()
        with pytest.raises(BarwiseError, match="ema_fast"):
            run_job(job_of(replace(SPAN, values={"ema_fast": "60"})), empty, listener)
        assert listener.order == []
        assert list(empty.iterdir()) == []


class TestManyMarkets:
    def test_every_market_has_a_report_and_all_of_them_one(self, fresh: Path) -> None:
        markets = (
            MarketChoice(symbol="SAMPLE-BTC"),
            MarketChoice(symbol="SAMPLE-ETH", quantity=1.0),
            MarketChoice(symbol="SAMPLE-BTC", timeframe="4H"),
        )
        outcome, listener = done(job_of(replace(SPAN, markets=markets), permutations=0), fresh)
        assert outcome.name.startswith("run-multi-")
        assert outcome.over_all is not None
        candles = [found.baseline.candles for found in outcome.findings]
        assert [(one.symbol, str(one.timeframe)) for one in candles] == [
            ("SAMPLE-BTC", "1H"), ("SAMPLE-ETH", "1H"), ("SAMPLE-BTC", "4H"),
        ]  # fmt: skip
        assert len({found.name for found in outcome.findings}) == 3
        document = json.loads(outcome.over_all.json.read_text())
        assert len(document["markets"]) == 3
        assert {line.market for line in listener.plan} == {
            "SAMPLE SAMPLE-BTC 1H", "SAMPLE SAMPLE-ETH 1H", "SAMPLE SAMPLE-BTC 4H",
        }  # fmt: skip
        alone, _ = done(job_of(replace(SPAN, symbol="SAMPLE-ETH", quantity=1.0), permutations=0), fresh)
        assert alone.name == outcome.findings[1].name

    def test_a_market_named_twice_is_refused(self, empty: Path) -> None:
        markets = (MarketChoice(symbol="SAMPLE-BTC"), MarketChoice(symbol="sample-btc"))
        with pytest.raises(ConfigError, match="named twice"):
            run_job(job_of(replace(SPAN, markets=markets)), empty, Listener())


def test_stored_candles_of_a_venue_need_no_network(fresh: Path, market_data: Path) -> None:
    from barwise.data.files import read_candles

    file = market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
    candles = read_candles(file, exchange="BINANCE", symbol="BTCUSDT").between("2025-01-01", "2025-03-31")
    CandleStore(fresh / "data" / "cache").put(candles)
    settings = RunSettings("BINANCE", "BTCUSDT", "1H", "2025-01-01", "2025-03-31")
    outcome, listener = done(job_of(settings, permutations=0), fresh)
    assert len(outcome.findings[0].baseline.candles) == 2136
    assert outcome.findings[0].baseline.total_trades == 22
    assert any("BINANCE" in sentence and "store" in sentence for sentence in listener.findings)
