"""The audit trail: every decision once, whatever cuts the run off, with the run's own numbers, readable at any time."""

import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from barwise.cli import main
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.core.layout import Exit, Outcome
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import CheckpointError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.result import BacktestResult
from barwise.story import overview_of
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.trail import (
    ENDING,
    Event,
    Trail,
    backtest_events,
    deterministic,
    find_trail,
    first_difference,
    line_schema,
    overview_of_trail,
    read,
    run_events,
    told_trail,
    trial_events,
    validation_events,
    window_events,
)
from barwise.trail.events import plain
from barwise.trail.schema import EVENTS, SAID
from barwise.trail.signals import WHY, signals_of
from barwise.validation.engine import ValidationReport, validate
from tests.scenarios.harness import Scenario, market_order, run, tiers
from tests.test_differential import run_engine
from tests.test_properties import drawn, identical

SPAN = ("2024-01-01", "2024-04-01")
BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", num_trials=30, seed=5, workers=1)
WINDOWS = WalkForwardConfig(is_length_days=30, oos_length_days=15, stride_days=15, min_trades_per_window=8)
NAME = "run-sample-btc-1h-0123abcd"


class Found(NamedTuple):
    """Everything a run of the main job found."""

    baseline: BacktestResult
    optimization: OptimizationResult
    validation: ValidationReport


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", *SPAN)


def everything(candles: Candles, folder: Path) -> Found:
    search = SEARCH.replace(storage=str(folder / "ledger.sqlite"))
    return Found(
        backtest(candles, BASE, 0.1),
        optimize(candles, BASE, 0.1, config=search, check_lookahead=False),
        validate(candles, BASE, 0.1, search=search, windows=WINDOWS, permutations=19, check_lookahead=False),
    )


@pytest.fixture(scope="module")
def found(candles: Candles, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return everything(candles, tmp_path_factory.mktemp("found"))


def events_of(found: Found) -> list[list[Event]]:
    """All events of a run, as a pipeline adds them: stage by stage."""
    baseline, optimization, validation = found
    assert validation.walked is not None
    config = {"strategy": BASE.to_dict(), "execution": baseline.execution.to_dict(), "optimization": SEARCH.to_dict()}
    return [
        list(run_events(config, baseline.candles)),
        list(backtest_events("baseline", baseline)),
        *(list(trial_events(stage)) for stage in optimization.stages),
        list(backtest_events("optimized", optimization.best)),
        list(window_events(validation.walked)),
        *(
            list(backtest_events(f"out-of-sample/{window.number}", window.out_of_sample))
            for window in validation.walked.windows
            if window.out_of_sample is not None
        ),
        list(validation_events(validation)),
    ]


def write_run(path: Path, stages: list[list[Event]]) -> None:
    """A trail as the main job writes it."""
    with Trail(path, run=NAME) as trail:
        trail.say("run_begun", market="SAMPLE SAMPLE-BTC 1H")
        for number, events in enumerate(stages):
            trail.say("stage_begun", stage=str(number), name="a stage")
            trail.add(events)
            trail.say("progress", step="trials", done=1, total=2, best=math.nan)
            trail.say("stage_done", stage=str(number), name="a stage", state="done", text="it is done", seconds=0.5)
        trail.say("run_done", verdict="UNPROVEN", report=f"{NAME}.html")


@pytest.fixture(scope="module")
def stages(found: Found) -> list[list[Event]]:
    return events_of(found)


@pytest.fixture(scope="module")
def written(stages: list[list[Event]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / f"{NAME}{ENDING}"
    write_run(path, stages)
    return path


def some_events(count: int, first: int = 0) -> list[Event]:
    return [
        Event("scenario", f"scenario/{n}", {"name": f"{n}", "net_pnl": n / 3.0, "trades": n})
        for n in range(first, first + count)
    ]


def still(*notes: str, anchor: float = 95.0) -> str:
    """Bars in which nothing moves, and what is noted at each."""
    rows = [f"100.0 100.5 99.5 100.0 {anchor} 100.0" + (f" <- {note}" if note else "") for note in notes]
    return "\n".join(("open high low close anchor vwap", *rows))


def found_of(bars: str, **rules: Any) -> list[tuple[int, str, int | None, bool | None, bool]]:
    """(bar, why, program it started, same side, cancelled) of each signal of a table."""
    signals = signals_of(run(Scenario("signals", bars=bars, params=rules)))
    return [(s.bar, s.why, s.program, s.same_side, s.cancelled) for s in signals]


class TestSignals:
    def test_a_signal_of_the_same_side_while_a_program_works_is_ignored(self) -> None:
        assert found_of(still("long signal", "long signal", "", ""), **tiers(t1=3)) == [
            (0, "", 0, None, False),
            (1, "program_working", None, True, False),
        ]

    def test_an_opposite_signal_ends_a_program_without_a_fill_and_starts_its_own(self) -> None:
        assert found_of(still("long signal", "short signal", "", ""), **tiers(t1=3)) == [
            (0, "", 0, None, False),
            (1, "", 1, False, True),
        ]

    def test_a_signal_while_a_position_is_open_starts_nothing_whatever_its_side(self) -> None:
        assert found_of(still("long signal", "long signal", "short signal", ""), **market_order()) == [
            (0, "", 0, None, False),
            (1, "position_open", None, True, False),
            (2, "position_open", None, False, False),
        ]

    def test_an_opposite_signal_cancels_the_rest_of_a_half_filled_program_and_starts_nothing(self) -> None:
        result = run(Scenario("slices", bars=still("long signal", "short signal", "", ""), params=tiers(t3=3)))
        _, signal = signals_of(result)
        assert (signal.why, signal.position, signal.working, signal.cancelled) == ("position_open", 0, 0, True)
        assert result.programs[0].outcome == "reversed"

    def test_with_exit_on_opposite_signal_it_starts_in_the_bar_the_position_is_left(self) -> None:
        rules = market_order(exit_on_opposite_signal=True)
        assert found_of(still("long signal", "short signal", "", ""), **rules) == [
            (0, "", 0, None, False),
            (1, "", 1, False, False),
        ]

    def test_signals_that_are_none_say_why(self) -> None:
        bars = still("short signal", "long signal, ATR nan", "ATR 2.0", "long signal")
        assert [found[1] for found in found_of(bars, **market_order(allow_short=False))] == [
            "side_not_allowed",
            "risk_undefined",
            "last_bar",
        ]

    def test_a_signal_that_a_hole_in_the_detail_candles_jumped_over_had_no_bar_to_act_in(self) -> None:
        detail = "open high low close\n" + "\n".join(
            "-" if row in (4, 5) else "100.0 100.5 99.5 100.0" for row in range(10)
        )
        bars = """
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0
            100.0  100.5   99.5  100.0
            100.0  100.5   99.5  100.0
        """
        (signal,) = signals_of(run(Scenario("a hole", bars=bars, params=market_order(), detail=detail)))
        assert (signal.why, signal.program) == ("no_execution_bar", None)

    def test_signals_said_to_start_nothing_can_be_left_out_and_those_said_to_cancel_cannot(self) -> None:
        ignored = cancelling = started = 0
        seen = set()
        for seed in range(80):
            case = drawn(seed)
            result = run_engine(case)
            signals = list(signals_of(result))
            seen |= {signal.why for signal in signals}
            assert [s.program for s in signals if s.program is not None] == list(range(len(result.programs)))
            assert sorted(s.time for s in signals) == [s.time for s in signals]
            started += len(result.programs)

            def without(bars: list[int], case: dict[str, Any] = case) -> BacktestResult:
                entry = np.array(case["plan"]["entry"])
                entry[bars] = 0
                return run_engine(case | {"plan": case["plan"] | {"entry": entry}})

            idle = [s.bar for s in signals if s.program is None and not s.cancelled]
            again = without(idle).records
            for name in ("programs", "fills", "trades"):
                assert identical(getattr(result.records, name), getattr(again, name)), (seed, name)
            ignored += len(idle)
            for signal in [s for s in signals if s.program is None and s.cancelled][:3]:
                assert not identical(result.records.programs, without([signal.bar]).records.programs)
                cancelling += 1
        assert ignored > 1_000
        assert started > 1_000
        assert cancelling > 3
        assert seen >= {"", "position_open", "program_working", "side_not_allowed"}

    def test_after_ruin_nothing_starts(self) -> None:
        result = run_engine(drawn(966))
        assert result.ruined
        assert {s.why for s in signals_of(result) if s.bar > int(result.records.programs["signal_bar"][-1])} >= {
            "ruined"
        }

    def test_every_reason_has_words(self) -> None:
        from barwise.trail.words import _WHY

        assert set(WHY) == set(_WHY)


class TestBacktestEvents:
    def test_identities_are_unique_and_times_never_go_back(self, stages: list[list[Event]]) -> None:
        events = [event for stage in stages for event in stage]
        assert len({event.identity for event in events}) == len(events) > 700
        parts = {event.fields["part"] for event in events if "at" in event.fields}
        assert {"baseline", "optimized", "out-of-sample/1"} <= parts
        for part in parts:
            times = [
                event.fields["at"] for event in events if event.fields.get("part") == part and "at" in event.fields
            ]
            assert times == sorted(times)

    def test_every_number_is_the_results_to_the_bit_when_it_is_read_again(self, found: Found, written: Path) -> None:
        result = found.baseline
        lines = [line for line in read(written) if line.get("part") == "baseline"]
        of = {kind: [line for line in lines if line["kind"] == kind] for kind in ("program", "fill", "exit", "signal")}
        assert len(of["exit"]) == result.total_trades > 30
        for line, trade, record in zip(of["exit"], result.trades, result.records.trades, strict=True):
            assert line["id"] == f"baseline/exit/{trade.trade_id}"
            for name in (
                "entry_price", "exit_price", "quantity", "initial_risk", "gross_pnl", "fees", "slippage", "funding",
                "net_pnl", "bars_held", "mfe", "mae", "ambiguous", "side",
            ):  # fmt: skip
                assert line[name] == trade[name]
            assert line["reason"] == Exit(int(record["exit_reason"])).name.lower()
            assert datetime.fromisoformat(line["at"]) == trade.exit_time
            assert line["target"] == (None if math.isnan(record["target_price"]) else record["target_price"])
        by_fill = {line["id"]: line for line in of["fill"]}
        assert len(by_fill) == len(result.fills)
        for program in result.programs:
            for number, fill in enumerate(program.fills):
                line = by_fill[f"baseline/fill/{program.program_id}/{number}"]
                assert all(line[name] == fill[name] for name in ("tier", "price", "quantity", "fee", "liquidity"))
                assert datetime.fromisoformat(line["at"]) == fill.time
        assert [by_fill[line["id"]]["reference"] for line in of["fill"]] == result.records.fills["reference"].tolist()
        ended = sorted(of["program"], key=lambda line: line["program_id"])
        for line, program, record in zip(ended, result.programs, result.records.programs, strict=True):
            assert (line["arrival_price"], line["risk"]) == (program.arrival_price, program.atr)
            assert (line["filled_quantity"], line["shortfall_bp"]) == (program.filled_quantity, program.shortfall_bp)
            assert line["outcome"] == Outcome(int(record["outcome"])).name.lower()
        bars = [bar for bar in np.flatnonzero(result.plan.entry).tolist() if bar >= result.trade_from]
        assert [line["bar"] for line in of["signal"]] == bars
        assert [line["close"] for line in of["signal"]] == result.candles.close[bars].tolist()
        assert math.fsum(line["net_pnl"] for line in of["exit"]) == pytest.approx(result.net_pnl, rel=1e-12)

    def test_a_small_run_is_told_in_the_order_it_happened(self) -> None:
        bars = """
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0   <- long signal
            100.0  100.5   99.5  100.0    95.0   <- long signal
            100.0  104.5   99.9  104.0    95.0   <- target 104.0 = 100.0 + 2 * 2.0 reached, short signal
            104.0  104.5  103.5  104.0    95.0
        """
        result = run(Scenario("in order", bars=bars, params=market_order()))
        told = [(event.identity, event.fields["at"][11:13]) for event in backtest_events("baseline", result)]
        assert told == [
            ("baseline/signal/0", "01"),
            ("baseline/fill/0/0", "01"),
            ("baseline/program/0", "01"),
            ("baseline/signal/1", "02"),
            ("baseline/exit/0", "02"),
            ("baseline/signal/2", "03"),
            ("baseline/fill/1/0", "03"),
            ("baseline/program/1", "03"),
            ("baseline/exit/1", "03"),
        ]

    def test_a_position_is_left_before_the_next_program_fills_in_the_same_bar(self) -> None:
        rules = market_order(exit_on_opposite_signal=True)
        result = run(Scenario("turned", bars=still("long signal", "short signal", "", ""), params=rules))
        told = [event.identity.removeprefix("x/") for event in backtest_events("x", result)]
        assert told[3:7] == ["signal/1", "exit/0", "fill/1/0", "program/1"]

    def test_a_signal_is_told_with_what_it_met_and_what_it_did(self) -> None:
        result = run(Scenario("slices", bars=still("long signal", "short signal", "", ""), params=tiers(t3=3)))
        first, second = (event.fields for event in backtest_events("x", result) if event.kind == "signal")
        names = ("program_id", "why", "position", "working", "same_side", "cancelled")
        assert [first[name] for name in names] == [0, None, None, None, None, False]
        assert [second[name] for name in names] == [None, "position_open", 0, 0, False, True]
        assert [second[name] for name in ("side", "bar", "close", "risk", "anchor", "vwap")] == [
            "short", 1, 100.0, 2.0, 95.0, 100.0,
        ]  # fmt: skip


class TestSearchAndValidationEvents:
    def test_each_trial_of_the_search_is_one_event_with_its_figures(self, found: Found) -> None:
        states = set()
        for stage in found.optimization.stages:
            *trials, choice = trial_events(stage)
            frame = stage.frame()
            assert len(trials) == len(frame) == len(stage.trials)
            for event, row in zip(trials, frame.iter_rows(named=True), strict=True):
                fields = event.fields
                assert (fields["number"], fields["state"], fields["batch"]) == (
                    row["trial"],
                    row["state"],
                    row["batch"],
                )
                assert fields["parameters"] == {name: row[name] for name in fields["parameters"]}
                assert fields["objectives"] == {"sharpe_ratio": row["sharpe_ratio"]}
                assert (fields["trades"], fields["net_pnl"]) == (row["trades"], row["net_pnl"])
                states.add(fields["state"])
            assert choice.kind == "choice"
            assert choice.fields["parameters"] == stage.best_params
            assert choice.fields["better_by"] == {"sharpe_ratio": stage.best_value - stage.base_value}
            assert choice.fields["better_by"]["sharpe_ratio"] >= 0.0
            for name, (before, after) in choice.fields["changed"].items():
                assert (before, after) == (getattr(stage.space.strategy, name), stage.best_params[name])
        assert states >= {"complete", "pruned"}

    def test_where_less_is_better_a_gain_is_positive_all_the_same(self, candles: Candles, tmp_path: Path) -> None:
        config = SEARCH.replace(objective="max_drawdown", num_trials=12, storage=str(tmp_path / "ledger.sqlite"))
        stage = optimize(candles, BASE, 0.1, config=config, check_lookahead=False).stages[0]
        *_, choice = trial_events(stage)
        before, after = choice.fields["base_objectives"]["max_drawdown"], choice.fields["objectives"]["max_drawdown"]
        assert after < before
        assert choice.fields["better_by"] == {"max_drawdown": before - after}

    def test_an_interrupted_search_leaves_the_name_of_the_choice_free(self, found: Found) -> None:
        stage = found.optimization.stages[0]
        *_, choice = trial_events(stage)
        *_, cut = trial_events(replace(stage, interrupted=True, trials=stage.trials.taken(np.arange(20)), chosen=3))
        assert choice.identity == "optimization/7.1/choice"
        assert cut.identity == "optimization/7.1/choice/interrupted/20"

    def test_windows_say_their_figures_and_why_they_do_not_count(self, found: Found) -> None:
        walked = found.validation.walked
        assert walked is not None
        *windows, series = window_events(walked)
        assert len(windows) == len(walked.windows) > 2
        reasons = []
        for event, window in zip(windows, walked.windows, strict=True):
            assert event.fields["scored"] == window.scored == (event.fields["why_not_scored"] is None)
            assert event.fields["bars"] == window.span._asdict()
            assert event.fields["parameters"] == window.strategy.to_dict()
            assert window.out_of_sample is not None
            assert event.fields["out_of_sample"]["net_pnl"] == window.out_of_sample.net_pnl
            reasons.append(event.fields["why_not_scored"])
        assert any(reason and "fewer than 8: not scored" in reason for reason in reasons)
        assert (series.fields["trades"], series.fields["scored"]) == (len(walked.trades), len(walked.scored))
        assert series.fields["out_of_sample"]["net_pnl"] == walked.metrics["net_pnl"]

    def test_a_verdict_comes_with_every_test_and_each_shuffled_market(self, found: Found) -> None:
        report = found.validation
        assert report.permutation is not None
        by_kind: dict[str, list[Event]] = {}
        for event in validation_events(report):
            by_kind.setdefault(event.kind, []).append(event)
        assert list(by_kind) == ["permutation", "selection", "scenario", "verdict"]
        (permutation,), (verdict,) = by_kind["permutation"], by_kind["verdict"]
        nulls = [None if math.isinf(null) else null for null in report.permutation.nulls.tolist()]
        assert permutation.fields["nulls"] == nulls
        assert permutation.fields["p_value"] == report.p_value
        assert verdict.fields["word"] == report.verdict
        assert verdict.fields["reasons"] == list(report.reasons)
        assert verdict.fields["n_trials"] == report.n_trials
        tests = [(test["name"], test["passed"], test["threshold"]) for test in verdict.fields["tests"]]
        assert tests == [(test.name, test.passed, test.threshold) for test in report.decision.tests]
        assert [event.fields["net_pnl"] for event in by_kind["scenario"]] == [s.net_pnl for s in report.scenarios]

    def test_what_went_in_is_told_with_what_the_audit_of_the_candles_found(self, candles: Candles) -> None:
        keep = np.ones(len(candles), bool)
        keep[100:103] = False
        names = ("time", "open", "high", "low", "close", "volume")
        holed = Candles.of({name: getattr(candles, name)[keep] for name in names}, symbol="X", timeframe="1H")
        configuration, data, detail = run_events({"a": {"b": math.inf, "c": Path("x/y")}}, holed, candles)
        assert configuration.fields == {"sections": {"a": {"b": None, "c": "x/y"}}}
        assert (data.fields["gaps"], data.fields["missing_bars"], data.fields["bars"]) == (1, 3, len(candles) - 3)
        assert [finding["kind"] for finding in data.fields["findings"]] == ["gaps"]
        assert detail.identity == "data/detail"
        assert detail.fields["fingerprint"] == candles.fingerprint

    def test_values_become_plain_json_and_numbers_that_are_none_become_null(self) -> None:
        values = {
            "np": np.float64(0.1), "list": np.array([1.5, np.nan]), "inf": -math.inf, "flag": np.bool_(True),
            "whole": np.int64(3), "pair": (1, "x"), "time": datetime(2025, 1, 2), "kind": Exit.STOP_LOSS,
        }  # fmt: skip
        assert plain(values) == {
            "np": 0.1, "list": [1.5, None], "inf": None, "flag": True, "whole": 3, "pair": [1, "x"],
            "time": "2025-01-02T00:00:00+00:00", "kind": 0,
        }  # fmt: skip
        assert plain(np.float64(0.1 + 0.2)) == 0.1 + 0.2
        assert type(plain(np.float64(1.0))) is float


class TestFile:
    def test_lines_are_numbered_on_and_begin_with_their_head(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / f"{NAME}{ENDING}"
        for first in (0, 3):
            with Trail(path, run=NAME) as trail:
                trail.say("run_begun")
                assert trail.add(some_events(2, first)) == 2
        lines = list(read(path))
        assert [line["seq"] for line in lines] == list(range(6))
        assert list(lines[1]) == ["time", "run", "seq", "kind", "id", "name", "net_pnl", "trades"]
        assert "id" not in lines[0]
        assert {line["run"] for line in lines} == {NAME}
        assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
        assert [line["net_pnl"] for line in read(path, ["scenario"])] == [n / 3.0 for n in (0, 1, 3, 4)]

    def test_events_that_are_there_are_not_written_again(self, tmp_path: Path) -> None:
        path = tmp_path / "trail"
        with Trail(path, run=NAME) as trail:
            assert trail.add(some_events(5)) == 5
            assert trail.add([*some_events(5), *some_events(2, 5), *some_events(1, 6)]) == 2
            assert trail.events == 7
        with Trail(path, run=NAME) as trail:
            before = path.read_bytes()
            assert trail.add(some_events(7)) == 0
            assert path.read_bytes() == before
            assert trail.add(iter(some_events(2_500))) == 2_493
        assert [line["id"] for line in read(path)] == [event.identity for event in some_events(2_500)]

    def test_a_run_cut_at_any_byte_and_gone_on_with_tells_everything_once_and_in_order(
        self, stages: list[list[Event]], written: Path, tmp_path: Path
    ) -> None:
        whole = written.read_bytes()
        ends = [at for at, byte in enumerate(whole) if byte == 10]
        draw = np.random.default_rng(7)
        cuts = {0, 1, len(whole) - 1, ends[0], ends[0] + 1, ends[-2], ends[-2] + 1, ends[-2] + 2}
        cuts |= {int(cut) for cut in draw.integers(0, len(whole), 30)}
        for number, cut in enumerate(sorted(cuts)):
            path = tmp_path / f"{number}{ENDING}"
            path.write_bytes(whole[:cut])
            write_run(path, stages)
            assert path.read_bytes().startswith(whole[: whole[:cut].rfind(b"\n") + 1])
            assert first_difference(read(written), read(path)) is None, cut
            lines = list(read(path))
            assert [line["seq"] for line in lines] == list(range(len(lines)))

    def test_a_torn_line_goes_when_the_file_is_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "trail"
        with Trail(path, run=NAME) as trail:
            trail.add(some_events(2))
        whole = path.read_bytes()
        for torn in (b"{", b'{"time": "20', b"\0" * 40, b"\xe2\x82", whole[:-1].rsplit(b"\n", 1)[1]):
            path.write_bytes(whole + torn)
            assert len(list(read(path))) == 2
            Trail(path, run=NAME).close()
            assert path.read_bytes() == whole

    @pytest.mark.parametrize("damage", [b"", b"no JSON", b"[1]", b'{"kind": "scenario"}', b'{"seq": 1}', b"\xff\xfe"])
    def test_any_other_damage_is_an_error_that_names_the_line(self, tmp_path: Path, damage: bytes) -> None:
        path = tmp_path / f"{NAME}{ENDING}"
        with Trail(path, run=NAME) as trail:
            trail.add(some_events(3))
        lines = path.read_bytes().split(b"\n")
        lines[1] = damage
        path.write_bytes(b"\n".join(lines))
        for use in (lambda: Trail(path, run=NAME), lambda: list(read(path))):
            with pytest.raises(CheckpointError, match=f"line 2 of {NAME}.audit.jsonl is no line of an audit trail"):
                use()
        assert path.read_bytes() == b"\n".join(lines), "nothing is repaired that is not understood"

    def test_a_write_that_breaks_off_leaves_no_half_line_to_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "trail"
        with Trail(path, run=NAME) as trail:
            trail.add(some_events(2))
            real = trail._file

            class Full:
                """A file on a disk that fills up, then has space again."""

                def __init__(self, error: BaseException) -> None:
                    self.error, self.left = error, 100

                def write(self, content: Any) -> int:
                    if not self.left:
                        raise self.error
                    taken, self.left = real.write(content[: self.left]), 0
                    return taken or 0

                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

            for error, raised in (
                (OSError(28, "No space left on device"), CheckpointError),
                (KeyboardInterrupt(), KeyboardInterrupt),
            ):
                monkeypatch.setattr(trail, "_file", Full(error))
                with pytest.raises(raised):
                    trail.add(some_events(5))
                assert len(list(read(path))) == 2, "a reader stops before the half line"
                monkeypatch.setattr(trail, "_file", real)
            trail.say("failed", reason="no space")
            assert trail.add(some_events(5)) == 3
        lines = list(read(path))
        assert [line["kind"] for line in lines] == ["scenario"] * 2 + ["failed"] + ["scenario"] * 3
        assert [line["seq"] for line in lines] == list(range(6))

    def test_ctrl_c_right_after_a_write_does_not_write_its_events_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "trail"

        class Interrupted(set[str]):
            def update(self, *names: Any) -> None:
                raise KeyboardInterrupt

        with Trail(path, run=NAME) as trail:
            trail._known = Interrupted()
            with pytest.raises(KeyboardInterrupt):
                trail.add(some_events(3))
            assert trail.add(some_events(3)) == 0
        assert len(list(read(path))) == 3

    def test_a_trail_that_cannot_be_written_or_read_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(CheckpointError, match=r"the audit trail .* cannot be written: "):
            Trail(tmp_path / "file" / "trail", run=NAME)
        with pytest.raises(CheckpointError, match="cannot be read: No such file"):
            list(read(tmp_path / "nothing"))

    def test_one_sync_per_call_whatever_the_number_of_events(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        with Trail(tmp_path / "trail", run=NAME) as trail:
            trail.add(some_events(3_000))
            trail.add(some_events(3_000))
            for _ in range(10):
                trail.say("progress", step="trials", done=1, total=2)
        assert len(synced) == 1

    def test_somebody_who_reads_meanwhile_sees_whole_lines_and_never_fewer_than_before(self, tmp_path: Path) -> None:
        path, done = tmp_path / "trail", threading.Event()
        path.touch()
        counts, errors = [0], []

        def look() -> None:
            try:
                while not done.is_set():
                    seen = list(read(path))
                    assert [line["seq"] for line in seen] == list(range(len(seen)))
                    counts.append(len(seen))
            except BaseException as error:  # noqa: BLE001 - told below, in the thread that can fail the test
                errors.append(error)

        reader = threading.Thread(target=look)
        reader.start()
        with Trail(path, run=NAME) as trail:
            for first in range(0, 3_000, 100):
                trail.add(some_events(100, first))
                trail.say("progress", step="x" * 5_000, done=first, total=3_000)
        done.set()
        reader.join()
        assert not errors
        assert counts == sorted(counts)
        assert len(list(read(path))) == 3_030

    def test_credentials_never_reach_the_file_and_the_lines_stay_json(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BINANCE_API_SECRET", "s3cr3t-of-mine")
        monkeypatch.setenv("DHAN_CLIENT_ID", "1100223344")
        path = tmp_path / "trail"
        sections: dict[str, dict[str, Any]] = {
            "venue": {
                "api_key": 'with "quotes" in it',
                "token": None,
                "client_id": 7788990011,
                "secret": {"inner": "hidden-one"},
            },
            "ledger": {"storage": "postgresql://me:passphrase-1@host/db"},
        }
        fields = {"name": "a s3cr3t-of-mine b", "net_pnl": 1100223344.5, "trades": 1}
        with Trail(path, run=NAME) as trail:
            trail.add([Event("configuration", "configuration", {"sections": sections}), Event("scenario", "s", fields)])
            trail.add(some_events(2))
            trail.say("failed", reason="GET /x?signature=abcdef0123&symbol=B failed: s3cr3t-of-mine, 1100223344")
        text = path.read_text()
        for secret in ("s3cr3t-of-mine", "quotes", "hidden-one", "passphrase-1", "abcdef0123", "7788990011"):
            assert secret not in text
        configuration, scenario, *_, failed = read(path)
        assert configuration["sections"]["venue"] == dict.fromkeys(sections["venue"], "***")
        assert scenario["name"] == "a *** b"
        assert scenario["net_pnl"] == 1100223344.5, "a number is a number, whatever digits it has"
        assert failed["reason"] == "GET /x?signature=***&symbol=B failed: ***, ***"

    def test_a_number_behind_a_telling_name_is_hidden_where_nothing_else_is_secret(self, tmp_path: Path) -> None:
        with Trail(tmp_path / "trail", run=NAME) as trail:
            trail.add([Event("configuration", "configuration", {"sections": {"a": {"pin": 4711, "bars": 4711}}})])
        (line,) = read(tmp_path / "trail")
        assert line["sections"] == {"a": {"pin": "***", "bars": 4711}}

    def test_text_of_any_kind_survives(self, tmp_path: Path) -> None:
        texts = ["line\nbreak", "\u2028 \u0000 \x85", "₿ é", "half \ud800 pair"]
        with Trail(tmp_path / "trail", run=NAME) as trail:
            for text in texts:
                trail.say("failed", reason=text)
        assert [line["reason"] for line in read(tmp_path / "trail")] == texts


class TestComparison:
    def test_two_runs_of_the_same_inputs_tell_the_same(
        self, candles: Candles, stages: list[list[Event]], written: Path, tmp_path: Path
    ) -> None:
        again = events_of(everything(candles, tmp_path))
        assert again == stages
        write_run(tmp_path / "again", again)
        assert first_difference(read(written), read(tmp_path / "again")) is None
        assert list(deterministic(read(written))) == list(deterministic(read(tmp_path / "again")))

    def test_time_and_number_of_a_line_are_no_part_of_it(self, written: Path) -> None:
        assert all("time" not in line and "seq" not in line and "id" in line for line in deterministic(read(written)))

    @pytest.mark.parametrize(
        ("change", "identity", "text"),
        [
            (lambda lines: lines, None, None),
            (lambda lines: lines[:-1], "scenario/3", "scenario/3 is in the first trail only."),
            (lambda lines: [*lines, lines[0] | {"id": "x"}], "x", "x is in the second trail only."),
            (lambda lines: [lines[1], lines[0], *lines[2:]], "scenario/0", "second one has scenario/1"),
            (
                lambda lines: [*lines[:2], lines[2] | {"net_pnl": math.nextafter(2 / 3, 1.0)}, lines[3]],
                "scenario/2",
                "scenario/2: net_pnl was 0.6666666666666666 and is 0.6666666666666667.",
            ),
        ],
    )
    def test_the_first_event_that_differs_is_named(
        self, tmp_path: Path, change: Callable[[list[Any]], list[Any]], identity: str | None, text: str | None
    ) -> None:
        with Trail(tmp_path / "trail", run=NAME) as trail:
            trail.add(some_events(4))
        lines = list(read(tmp_path / "trail"))
        difference = first_difference(lines, change(lines))
        assert (None if difference is None else difference.identity) == identity
        if difference is not None:
            assert text is not None
            assert text in difference.text


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema: Any = import_module("jsonschema")
    jsonschema.Draft202012Validator.check_schema(line_schema())
    return jsonschema.Draft202012Validator(line_schema())


class TestSchema:
    def test_every_line_of_a_run_is_as_the_schema_says(self, written: Path, validator: Any) -> None:
        kinds = set()
        for line in read(written):
            assert not list(validator.iter_errors(line)), line
            kinds.add(line["kind"])
        of_several = {"markets", "planned"}  # stand in the trail over several markets
        assert kinds == {*EVENTS, *SAID} - {"run_resumed", "interrupted", "failed"} - of_several

    @pytest.mark.parametrize(
        "change",
        [
            {"net_pnl": "1"},
            {"net_pnl": None},
            {"extra": 1},
            {"reason": "boredom"},
            {"kind": "nothing"},
            {"at": "yesterday"},
            {"time": "2025-01-01"},
            {"seq": -1},
            {"kind": "fill"},
            {"ambiguous": 0},
        ],
    )
    def test_a_line_that_is_wrong_is_refused(self, written: Path, validator: Any, change: dict[str, Any]) -> None:
        line = next(read(written, ["exit"]))
        assert validator.is_valid(line)
        assert not validator.is_valid(line | change)
        for name in line:
            assert not validator.is_valid({key: value for key, value in line.items() if key != name}), name

    def test_the_documentation_has_every_kind_and_every_field(self) -> None:
        text = (Path(__file__).parents[1] / "docs" / "audit-trail.md").read_text(encoding="utf-8")
        for kind, (_, fields, *_) in (EVENTS | SAID).items():
            assert f"`{kind}`" in text, kind
            for name in fields:
                assert f"`{name}`" in text, (kind, name)


class TestOverview:
    def test_it_counts_what_the_results_have(self, found: Found, written: Path) -> None:
        overview = overview_of_trail(written)
        assert (overview["state"], overview["resumed"], overview["why"]) == ("done", 0, None)
        walked = found.validation.walked
        assert walked is not None
        results = {"baseline": found.baseline, "optimized": found.optimization.best} | {
            f"out-of-sample/{window.number}": window.out_of_sample for window in walked.windows if window.out_of_sample
        }
        assert {part["part"]: part["trades"] for part in overview["parts"]} == {
            part: len(result.trades) for part, result in results.items()
        }
        for part in overview["parts"]:
            result = results[part["part"]]
            assert part["programs"] == len(result.programs)
            assert part["fills"] == len(result.fills)
            assert part["missed_programs"] == sum(not program.fills for program in result.programs)
            assert part["signals"] == part["programs"] + sum(part["signals_without_program"].values())
            assert part["net_pnl"] == pytest.approx(result.net_pnl, rel=1e-12, abs=1e-9)
        trials = {search["stage"]: search["trials"] for search in overview["searches"]}
        assert trials == {stage.stage: len(stage.trials) for stage in found.optimization.stages}
        assert overview["verdict"]["word"] == found.validation.verdict
        assert overview["walk_forward"]["net_pnl"] == walked.metrics["net_pnl"]
        json.dumps(overview, allow_nan=False)

    def test_its_words_say_these_numbers(self, found: Found, written: Path) -> None:
        text = "\n".join(told_trail(overview_of_trail(written)))
        result = found.baseline
        assert "SAMPLE SAMPLE-BTC 1H SYNTHETIC, 2,184 bars, 2024-01-01 00:00 .. 2024-03-31 23:00" in text
        assert f"baseline: {len(list(signals_of(result)))} signals, {len(result.programs)} programs" in text
        assert f"{len(result.trades)} trades, net {result.net_pnl:+,.2f}" in text
        assert f"out-of-sample, {len(found.validation.walked.windows)} windows: " in text  # type: ignore[union-attr]
        for stage in found.optimization.stages:
            assert f"optimization {stage.stage}: {len(stage.trials)} trials (" in text
            assert f"Sharpe ratio {stage.base_value:.2f} -> {stage.best_value:.2f}" in text
        assert f"Verdict    {found.validation.verdict}, {found.validation.n_trials:,} trials on record" in text

    def test_a_run_that_was_cut_off_says_how_far_it_came(self, stages: list[list[Event]], tmp_path: Path) -> None:
        path = tmp_path / f"{NAME}{ENDING}"
        with Trail(path, run=NAME) as trail:
            assert overview_of_trail(path)["begun"] is None
            assert "nothing is written yet" in "\n".join(told_trail(overview_of_trail(path)))
            trail.say("run_begun", market="M")
            trail.add(stages[0])
            trail.add(stages[2][:10])
            overview = overview_of_trail(path)
            assert (overview["state"], overview["verdict"]) == ("open", None)
            text = "\n".join(told_trail(overview))
            assert "it is at work, or was killed" in text
            assert "optimization 7.1: 10 trials (" in text
            assert "nothing is chosen yet" in text
            trail.say("interrupted", reason="KeyboardInterrupt: ")
            assert overview_of_trail(path)["state"] == "interrupted"
            trail.say("run_resumed", market="M")
            assert overview_of_trail(path)["state"] == "open"
            trail.say("stage_done", stage="7", name="search", state="done", text="first", seconds=1.0)
            trail.say("stage_done", stage="7", name="search", state="kept", text="again", seconds=1.0)
            trail.say("failed", reason="DataError: no space")
        overview = overview_of_trail(path)
        assert (overview["state"], overview["resumed"], overview["why"]) == ("failed", 1, "DataError: no space")
        assert [stage["text"] for stage in overview["stages"]] == ["again"]
        text = "\n".join(told_trail(overview))
        assert "resumed 1 time; failed " in text
        assert "7 search: again (kept)" in text

    def test_the_files_of_the_run_are_listed_and_no_others(self, tmp_path: Path) -> None:
        names = [
            f"data/exports/{NAME}-trades.csv",
            f"data/raw_logs/SAMPLE/SAMPLE-BTC/{NAME}.jsonl",
            f"data/results/{NAME}-baseline.manifest.json",
            f"data/results/{NAME}.audit.jsonl",
            f"data/results/{NAME}.html",
        ]
        for name in (*names, f"data/results/{NAME}0.html", "data/exports/other.csv"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert overview_of_trail(tmp_path / names[3])["files"] == names


class TestCommand:
    WORDS = ("--start", SPAN[0], "--end", SPAN[1])

    @pytest.fixture
    def call(self, home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
        """The command line in this process, with an empty folder as home and working directory."""

        def run_words(*words: object) -> Ended:
            capfd.readouterr()
            code = main([str(word) for word in words])
            return Ended(code, *capfd.readouterr())

        return run_words

    @pytest.fixture
    def run_home(self, call: Call, home: Path, written: Path) -> Path:
        """A home with a trail and the manifests of two backtests, as the main job leaves them."""
        results = home / "data" / "results"
        for part, word in (("baseline", "ema_fast=20"), ("optimized", "ema_fast=18")):
            assert call("backtest", *self.WORDS, "--set", word, "--quiet").code == 0
            (manifest,) = (path for path in results.glob("*.manifest.json") if not path.name.startswith(NAME))
            manifest.rename(results / f"{NAME}-{part}.manifest.json")
            for path in results.glob("20*"):
                path.unlink()
        shutil.copy(written, results / f"{NAME}{ENDING}")
        return home

    def test_a_run_with_a_trail_is_told_as_an_overview_that_names_the_next_commands(
        self, call: Call, run_home: Path
    ) -> None:
        told = call("audit", NAME)
        assert told.code == 0
        path = run_home / "data" / "results" / f"{NAME}{ENDING}"
        for line in told_trail(overview_of_trail(path)):
            assert line in told.out
        assert f"barwise audit {NAME} --part optimized" in told.out
        assert f"barwise audit {NAME} --part baseline" in told.out
        for name in (path, path.name):
            assert call("audit", name).out == told.out
        document = json.loads(call("audit", NAME, "--json").out)
        assert (document.pop("run"), document.pop("trail")) == (NAME, str(path))
        assert document == overview_of_trail(path)

    def test_a_trade_is_told_of_the_optimized_backtest_unless_the_baseline_is_asked_for(
        self, call: Call, run_home: Path
    ) -> None:
        for words, part, fast in (
            ((), "optimized", 18),
            (("--part", "optimized"), "optimized", 18),
            (("--part", "baseline"), "baseline", 20),
        ):
            story = json.loads(call("audit", NAME, "--trade", 2, *words, "--json").out)
            assert story["run"] == f"{NAME}-{part}"
            assert story["signal"]["conditions"][0]["ema_fast"]["period"] == fast
        (run_home / "data" / "results" / f"{NAME}-optimized.manifest.json").unlink()
        assert json.loads(call("audit", NAME, "--trade", 0, "--json").out)["run"] == f"{NAME}-baseline"
        assert "--part optimized" not in call("audit", NAME).out

    def test_a_part_alone_lists_its_trades(self, call: Call, run_home: Path) -> None:
        listed = json.loads(call("audit", NAME, "--part", "baseline", "--json").out)
        result = backtest(sample_candles("SAMPLE-BTC", "1H", *SPAN), EmaRsiAtr(), listed["trades"][0]["quantity"])
        assert listed["trades"] == overview_of(result)["trades"]

    def test_without_a_name_the_newest_of_either_kind_is_told(self, call: Call, run_home: Path) -> None:
        assert json.loads(call("audit", "--json").out)["run"] == NAME
        # A manifest of the run that is written after its trail does not make it another run.
        manifest = run_home / "data" / "results" / f"{NAME}-optimized.manifest.json"
        later = (run_home / "data" / "results" / f"{NAME}{ENDING}").stat().st_mtime + 5
        os.utime(manifest, (later, later))
        assert json.loads(call("audit", "--json").out)["run"] == NAME
        assert call("backtest", *self.WORDS, "--quiet").code == 0
        (newest,) = (run_home / "data" / "results").glob("20*.manifest.json")
        os.utime(newest, (later + 5, later + 5))
        document = json.loads(call("audit", "--json").out)
        assert "trades" in document
        assert document["run"] == newest.name.removesuffix(".manifest.json")

    def test_the_schema_is_printed_and_quiet_prints_nothing_else(self, call: Call, run_home: Path) -> None:
        assert json.loads(call("audit", "--schema").out) == line_schema()
        assert call("audit", NAME, "--quiet") == (0, "", "")

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            ((NAME, "--part", "optimised"), 2, "--part is 'optimised'. Did you mean optimized?"),
            ((NAME, "--trade", 900), 2, "there is no trade 900"),
            (("run-nowhere",), 1, "there is no manifest of a run run-nowhere"),
            ((f"{NAME}-baseline", "--part", "baseline"), 2, "this is no run of all stages"),
        ],
    )
    def test_what_cannot_be_told_is_one_sentence(
        self, call: Call, run_home: Path, words: tuple[object, ...], code: int, message: str
    ) -> None:
        outcome = call("audit", *words)
        assert (outcome.code, outcome.out) == (code, "")
        assert message in outcome.err
        assert "Traceback" not in outcome.err

    def test_a_run_that_has_no_backtest_yet_and_a_damaged_trail_say_so(self, call: Call, home: Path) -> None:
        path = home / "data" / "results" / f"{NAME}{ENDING}"
        with Trail(path, run=NAME) as trail:
            trail.say("run_begun")
        assert call("audit").code == 0
        outcome = call("audit", NAME, "--trade", 0)
        assert (outcome.code, outcome.out) == (1, "")
        assert f"{NAME} has no manifest of a backtest." in outcome.err
        path.write_bytes(b"nonsense\n" + path.read_bytes())
        outcome = call("audit", NAME)
        assert outcome.code == 1
        assert f"line 1 of {NAME}.audit.jsonl is no line of an audit trail" in outcome.err

    def test_a_trail_is_found_by_name_by_path_or_as_the_newest(self, home: Path) -> None:
        assert find_trail(None, home) is None
        results = home / "data" / "results"
        results.mkdir(parents=True)
        for age, name in enumerate(("run-a", "run-b")):
            (results / f"{name}{ENDING}").touch()
            os.utime(results / f"{name}{ENDING}", (1_000 - age, 1_000 - age))
        assert find_trail(None, home) == results / f"run-a{ENDING}"
        assert find_trail("run-b", home) == results / f"run-b{ENDING}"
        assert find_trail(f"data/results/run-b{ENDING}", home) == Path(f"data/results/run-b{ENDING}")
        assert find_trail("run-c", home) is None
