"""Manifests of searches: an optimization, a walk-forward, a verdict or a whole run can be had again to the bit, and
whatever has changed is named: the stage, the trial, the window, the shuffled market, the word.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import CheckpointError, ConfigError, DataError
from barwise.manifest import (
    Inputs,
    Origin,
    Verification,
    compare_searches,
    describe_job,
    describe_optimization,
    describe_run,
    describe_validation,
    describe_walk_forward,
    find_manifest,
    read_manifest,
    repeated_search,
    write_beside,
    write_manifest,
)
from barwise.manifest.record import digest_of, equity_of
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult, optimize
from barwise.optimizer.search import Progress
from barwise.report.findings import RunFindings
from barwise.result import BacktestResult
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.validation.engine import ValidationReport, rejudged, validate
from barwise.validation.walk_forward import WalForwardEngine, WalkForwardResult
from tests.command_line import Call
from tests.no_network import cut_off

Content = dict[str, Any]

KINDS = ("optimization", "walk_forward", "validation", "run")
START, END = "2024-01-01", "2024-03-11"
STRATEGY = EmaRsiAtr(enable_rsi_filter=False)
EXECUTION = ExecutionConfig(slippage=0.001)
SEARCH = OptimizationConfig(profile="FAST", optuna_sampler="AUTO", num_trials=24, workers=1, seed=7)
WINDOWS = WalkForwardConfig(is_length_days=30, oos_length_days=10, stride_days=10, min_trades_per_window=1)
MOMENT = datetime(2025, 1, 2, tzinfo=UTC)
WORDS = (
    "--start", START, "--end", END, "--profile", "FAST", "--workers", "1", "--set", "enable_rsi_filter=false",
    "--quiet",
)  # fmt: skip
SPANS = ("--is-days", "30", "--oos-days", "10", "--min-trades-per-window", "1")


class Found(NamedTuple):
    """What was found on one market, with one ledger, and the manifests of it by kind."""

    optimized: OptimizationResult
    judged: ValidationReport
    walked: WalkForwardResult
    findings: RunFindings
    manifests: dict[str, Content]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run here may need a venue."""
    cut_off(monkeypatch)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", START, END)


@pytest.fixture(scope="module")
def inputs(candles: Candles) -> Inputs:
    return Inputs(candles, None, None, STRATEGY, EXECUTION, 0.1)


@pytest.fixture(scope="module")
def origin(candles: Candles) -> Origin:
    first, last = int(candles.time[0]), int(candles.time[-1]) + candles.timeframe.ms
    return Origin("SAMPLE", "SAMPLE-BTC", "1H", first, last, 0.1, strategy="barwise.strategy.ema_rsi_atr:EmaRsiAtr")


@pytest.fixture(scope="module")
def found(candles: Candles, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Found:
    search = SEARCH.replace(storage=str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite"))
    baseline = backtest(candles, STRATEGY, 0.1, execution=EXECUTION)
    optimized = optimize(candles, STRATEGY, 0.1, config=search, execution=EXECUTION)
    judged = validate(candles, STRATEGY, 0.1, search=search, windows=WINDOWS, permutations=19, execution=EXECUTION)
    walked = WalForwardEngine(candles, STRATEGY, 0.1, wfa_config=WINDOWS, opt_config=search, execution=EXECUTION).run()
    findings = RunFindings("run-sample", baseline, optimized, judged, None, (), {}, 5, {})
    manifests = {
        "optimization": describe_optimization(optimized, origin, search, written=MOMENT),
        "walk_forward": describe_walk_forward(walked, origin, search, STRATEGY, EXECUTION, written=MOMENT),
        "validation": describe_validation(judged, origin, search, WINDOWS, written=MOMENT),
        "run": describe_job(findings, origin, search, WINDOWS, 19, None, None, written=MOMENT),
    }
    return Found(optimized, judged, walked, findings, {kind: dict(one) for kind, one in manifests.items()})


@pytest.fixture(scope="module")
def again(found: Found, inputs: Inputs) -> dict[str, Any]:
    """Each search done again, with nothing but its manifest and its inputs."""
    return {kind: repeated_search(found.manifests[kind], inputs, workers=1) for kind in KINDS}


def alone(folder: Path, **changes: Any) -> OptimizationConfig:
    """The search with a ledger that nothing else is in."""
    return SEARCH.replace(storage=str(folder / "alone.sqlite"), **changes)


def tampered(manifest: Content, change: Callable[[Content], object], *, forge: bool = True) -> Content:
    """A copy with a change; a forger makes its digest fit again."""
    content: Content = json.loads(json.dumps(manifest))
    change(content)
    return content | {"digest": digest_of(content)} if forge else content


def row_of(manifest: Content, kind: str, **wanted: Any) -> list[Any]:
    """The first event of a kind with these values, as it stands in the manifest."""
    names = manifest["events"]["fields"][kind]
    for row in manifest["events"]["rows"]:
        if row[0] == kind and all(row[1 + names.index(name)] == value for name, value in wanted.items()):
            found: list[Any] = row
            return found
    raise AssertionError(f"no {kind} with {wanted}")


def place(manifest: Content, kind: str, name: str) -> int:
    """Where a value of an event stands in its row."""
    names: list[str] = manifest["events"]["fields"][kind]
    return 1 + names.index(name)


def rows_of(manifest: Content, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    """All events of a kind, by the names of their values."""
    names = manifest["events"]["fields"][kind]
    events = [dict(zip(names, row[1:], strict=True)) for row in manifest["events"]["rows"] if row[0] == kind]
    return [event for event in events if all(event[name] == value for name, value in wanted.items())]


def without_times(manifest: Content) -> Content:
    """The manifest, and those in it, without when it was written and the digests that cover it."""
    return {
        name: without_times(value) if isinstance(value, dict) else value
        for name, value in manifest.items()
        if name not in {"written", "digest"}
    }


class TestSame:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_search_done_again_is_the_same_to_the_bit(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str
    ) -> None:
        recorded, (now, notes) = found.manifests[kind], again[kind]
        verified = compare_searches(recorded, now, candles)
        assert verified.same, verified.differences
        assert (verified.notes, notes) == ((), [])
        nested = [recorded[name] for name in ("baseline", "optimized") if name in recorded]
        backtests = [*nested, *recorded["backtests"].values()]
        assert verified.events == len(recorded["events"]["rows"]) + sum(len(one["events"]["rows"]) for one in backtests)
        assert verified.bars == sum(one["equity"]["bars"] for one in backtests) > 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_two_manifests_of_one_search_differ_in_when_they_were_written(
        self, found: Found, again: dict[str, Any], kind: str
    ) -> None:
        first, second = found.manifests[kind], again[kind][0]
        assert first["written"] != second["written"]
        assert without_times(first) == without_times(second)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_manifest_comes_back_from_its_file_as_it_was(self, found: Found, tmp_path: Path, kind: str) -> None:
        path = write_manifest(found.manifests[kind], tmp_path / "one.manifest.json")
        assert read_manifest(path) == found.manifests[kind]

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_duration_and_no_id_of_a_run_is_in_it(self, found: Found, kind: str) -> None:
        text = json.dumps(found.manifests[kind])
        for private in ("seconds", found.optimized.run, found.judged.run, "ledger.sqlite", '"workers"', "run-sample"):
            assert private not in text, private

    def test_workers_and_backend_may_be_others(self, found: Found, inputs: Inputs, candles: Candles) -> None:
        recorded = found.manifests["optimization"]
        now, _ = repeated_search(recorded, inputs, workers=2)
        assert compare_searches(recorded, now, candles).same

    def test_all_steps_are_told_while_it_runs(self, found: Found, inputs: Inputs) -> None:
        told: list[tuple[str, int, int]] = []
        repeated_search(found.manifests["run"], inputs, workers=1, on_step=lambda *step: told.append(step))
        steps = list(dict.fromkeys(step for step, _, _ in told))
        assert steps[:5] == ["stage 7.1", "stage 7.2", "stage 7.3", "search", "walk-forward"]
        assert "permutations" in steps


class TestContent:
    def test_every_trial_is_there_with_its_parameters_and_its_value_to_the_bit(self, found: Found) -> None:
        manifest = found.manifests["optimization"]
        for stage in found.optimized.stages:
            frame = stage.frame()
            trials = rows_of(manifest, "trial", stage=stage.stage)
            box = rows_of(manifest, "search", stage=stage.stage)[0]["box"]
            assert [trial["number"] for trial in trials] == frame["trial"].to_list()
            assert [trial["state"] for trial in trials] == frame["state"].to_list()
            assert [trial["values"] for trial in trials] == [[value] for value in frame["sharpe_ratio"].to_list()]
            for at, name in enumerate(box):
                assert [trial["parameters"][at] for trial in trials] == frame[name].to_list()
            (choice,) = rows_of(manifest, "choice", stage=stage.stage)
            assert choice["parameters"] == dict(stage.best_params)
            assert choice["trials"] == len(trials) - 1

    def test_every_window_is_there_with_its_span_its_choice_and_its_result(self, found: Found) -> None:
        for kind in ("walk_forward", "validation", "run"):
            windows = rows_of(found.manifests[kind], "window")
            frame = found.walked.frame()
            assert [window["oos_start"] for window in windows] == [one.isoformat() for one in frame["oos_start"]]
            for figure in ("net_pnl", "sharpe_ratio", "total_trades"):
                outside = [window["out_of_sample"][figure] for window in windows]
                assert outside == frame[f"oos_{figure}"].to_list()
            assert [window["parameters"] for window in windows] == [
                window.strategy.to_dict() for window in found.walked.windows
            ]

    def test_the_pieces_are_the_stitched_equity(self, found: Found) -> None:
        backtests = found.manifests["walk_forward"]["backtests"]
        stitched = np.concatenate([equity_of(piece) for piece in backtests.values()])
        assert stitched.tobytes() == found.walked.equity.tobytes()

    def test_the_real_market_and_every_shuffled_one_are_there_to_the_bit(self, found: Found) -> None:
        test = found.judged.permutation
        assert test is not None
        markets = rows_of(found.manifests["validation"], "market")
        assert [market["value"] for market in markets] == [test.real, *test.nulls.tolist()]
        assert [market["number"] for market in markets] == list(range(len(test.nulls) + 1))

    def test_the_evidence_and_the_word_are_the_last_events(self, found: Found) -> None:
        manifest = found.manifests["validation"]
        assert manifest["events"]["rows"][-1][1] == found.judged.verdict
        evidence = {row["name"]: row["value"] for row in rows_of(manifest, "figure", of="evidence")}
        assert evidence["n_trials"] == found.judged.n_trials == manifest["on_record"]["validation"]
        assert evidence["p_value"] == found.judged.p_value

    def test_baseline_and_optimized_of_a_run_are_whole_manifests_of_backtests(
        self, found: Found, origin: Origin
    ) -> None:
        manifest = found.manifests["run"]
        for name, result in (("baseline", found.findings.baseline), ("optimized", found.optimized.best)):
            assert manifest[name] == describe_run(result, origin, written=MOMENT)

    def test_a_run_whose_searches_could_not_be_run_is_its_baseline(
        self, found: Found, origin: Origin, inputs: Inputs, candles: Candles
    ) -> None:
        findings = replace(found.findings, optimization=None, validation=None)
        recorded = describe_job(findings, origin, SEARCH, WINDOWS, None, None, None)
        assert (recorded["optimized"], recorded["events"]["rows"], recorded["backtests"]) == (None, [], {})
        now, _ = repeated_search(recorded, inputs)
        verified = compare_searches(recorded, now, candles)
        assert verified.same
        assert verified.events == len(recorded["baseline"]["events"]["rows"]) > 0

    def test_a_stability_check_is_one_strategy_in_all_windows_and_is_had_again(
        self, inputs: Inputs, origin: Origin, candles: Candles, tmp_path: Path
    ) -> None:
        windows = WINDOWS.replace(reoptimize=False)
        walked = WalForwardEngine(
            candles, STRATEGY, 0.1, wfa_config=windows, opt_config=alone(tmp_path),
            execution=EXECUTION,
        ).run()  # fmt: skip
        recorded = describe_walk_forward(walked, origin, SEARCH, STRATEGY, EXECUTION)
        assert {row["trials"] for row in rows_of(dict(recorded), "window")} == {0}
        assert compare_searches(recorded, repeated_search(recorded, inputs)[0], candles).same


class TestTampering:
    """Whoever changes a manifest and its digest with it is still found by the search done again."""

    def compared(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str, change: Callable[[Content], object]
    ) -> Verification:
        return compare_searches(tampered(found.manifests[kind], change), again[kind][0], candles)

    @pytest.mark.parametrize(
        ("kind", "of"), [("optimization", "optimization"), ("validation", "validation"), ("run", "optimization"),
                         ("run", "validation")],
    )  # fmt: skip
    def test_the_value_of_a_trial_is_named_by_stage_and_number(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str, of: str
    ) -> None:
        manifest = found.manifests[kind]
        wanted = {"of": of, "stage": "7.2", "number": 11}
        at = place(manifest, "trial", "values")
        honest = row_of(manifest, "trial", **wanted)[at][0]
        forged = math.nextafter(honest, math.inf)

        def better(content: Content) -> None:
            row_of(content, "trial", **wanted)[at][0] = forged

        (only,) = self.compared(found, again, candles, kind, better).differences
        assert only.part == "event"
        assert (only.field, only.was, only.now) == ("values.sharpe_ratio", forged, honest)
        assert f"trial 11 of stage 7.2 of the {of}: sharpe_ratio was {forged!r} and is {honest!r}." in only.text

    def test_a_parameter_of_a_trial_is_named(self, found: Found, again: dict[str, Any], candles: Candles) -> None:
        manifest = found.manifests["optimization"]
        name = next(iter(row_of(manifest, "search", stage="7.1")[place(manifest, "search", "box")]))
        at = place(manifest, "trial", "parameters")
        honest = row_of(manifest, "trial", stage="7.1", number=3)[at][0]

        def slower(content: Content) -> None:
            row_of(content, "trial", stage="7.1", number=3)[at][0] = honest + 1

        (only,) = self.compared(found, again, candles, "optimization", slower).differences
        assert only.field == f"parameters.{name}"
        expected = f"trial 3 of stage 7.1 of the optimization: {name} was {honest + 1} and is {honest}."
        assert only.text.endswith(expected)

    def test_another_trial_that_was_chosen_is_named(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        at = place(found.manifests["optimization"], "choice", "number")
        honest = row_of(found.manifests["optimization"], "choice", stage="7.3")[at]

        def another(content: Content) -> None:
            row_of(content, "choice", stage="7.3")[at] = honest + 1

        (only,) = self.compared(found, again, candles, "optimization", another).differences
        assert only.text.endswith(
            f"the choice of stage 7.3 of the optimization: number was {honest + 1} and is {honest}."
        )

    def test_a_trial_taken_away_is_named(self, found: Found, again: dict[str, Any], candles: Candles) -> None:
        def fewer(content: Content) -> None:
            content["events"]["rows"].remove(row_of(content, "trial", stage="7.1", number=5))

        (only,) = self.compared(found, again, candles, "optimization", fewer).differences
        assert "trial 6 of stage 7.1" in only.text
        assert only.text.endswith("there is trial 5 of stage 7.1 of the optimization in its place.")

    def test_events_at_the_end_taken_away_or_made_up_are_named(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        (gone,) = self.compared(
            found, again, candles, "validation", lambda content: content["events"]["rows"].pop()
        ).differences
        assert gone.text.endswith("events on record there is the verdict.")
        (made_up,) = self.compared(
            found, again, candles, "validation",
            lambda content: content["events"]["rows"].append(content["events"]["rows"][-1]),
        ).differences  # fmt: skip
        assert made_up.text.endswith("the verdict: it does not happen any more.")

    @pytest.mark.parametrize("kind", ["walk_forward", "validation", "run"])
    def test_a_window_is_named_by_number_and_time(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str
    ) -> None:
        at = place(found.manifests[kind], "window", "out_of_sample")
        honest = row_of(found.manifests[kind], "window", number=2)[at]["net_pnl"]

        def richer(content: Content) -> None:
            row_of(content, "window", number=2)[at]["net_pnl"] = honest + 1.0

        (only,) = self.compared(found, again, candles, kind, richer).differences
        assert (only.field, only.was, only.now) == ("out_of_sample.net_pnl", honest + 1.0, honest)
        assert only.time == found.walked.windows[1].window.oos_start.isoformat()
        assert "window 2 of the walk-forward: net_pnl was" in only.text

    @pytest.mark.parametrize("kind", ["validation", "run"])
    def test_a_shuffled_market_is_named_by_number(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str
    ) -> None:
        at = place(found.manifests[kind], "market", "value")
        for number, name in ((0, "the real market"), (2, "shuffled market 2")):
            honest = row_of(found.manifests[kind], "market", number=number)[at]

            def lower(content: Content, number: int = number, honest: float = honest) -> None:
                row_of(content, "market", number=number)[at] = math.nextafter(honest, -math.inf)

            (only,) = self.compared(found, again, candles, kind, lower).differences
            assert name in only.text
            assert (only.was, only.now) == (math.nextafter(honest, -math.inf), honest)

    @pytest.mark.parametrize("kind", ["validation", "run"])
    def test_the_word_of_the_verdict_is_named(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str
    ) -> None:
        def nicer(content: Content) -> None:
            row_of(content, "verdict")[1] = "LIKELY REAL"

        (only,) = self.compared(found, again, candles, kind, nicer).differences
        assert only.text.endswith(f"the verdict: word was LIKELY REAL and is {found.judged.verdict}.")

    def test_the_evidence_is_named(self, found: Found, again: dict[str, Any], candles: Candles) -> None:
        at = place(found.manifests["validation"], "figure", "value")

        def smaller(content: Content) -> None:
            row_of(content, "figure", of="evidence", name="p_value")[at] /= 2.0

        (only,) = self.compared(found, again, candles, "validation", smaller).differences
        assert f"p_value of the evidence: value was {(found.judged.p_value or 0.0) / 2.0!r} and is" in only.text

    def test_a_statistic_that_differs_in_its_last_digits_is_a_note_and_no_difference(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        at = place(found.manifests["validation"], "figure", "value")

        def off_by(share: float) -> Verification:
            def change(content: Content) -> None:
                row_of(content, "figure", of="evidence", name="years")[at] *= 1.0 + share

            return self.compared(found, again, candles, "validation", change)

        near = off_by(1e-13)
        assert near.same
        (note,) = near.notes
        assert note.startswith("of 1 statistic the last digits differ")
        assert note.endswith("years of the evidence is the first.")
        assert not off_by(1e-6).same

    @pytest.mark.parametrize(
        ("kind", "name"), [("optimization", "chosen"), ("validation", "chosen"), ("walk_forward", "piece 1"),
                           ("run", "judged")],
    )  # fmt: skip
    def test_a_fill_of_a_backtest_is_named(
        self, found: Found, again: dict[str, Any], candles: Candles, kind: str, name: str
    ) -> None:
        events = found.manifests[kind]["backtests"][name]["events"]
        at = next(number for number, row in enumerate(events["rows"]) if row[0] == "fill")
        price = events["fields"]["fill"].index("price") + 1
        honest = events["rows"][at][price]

        def cheaper(content: Content) -> None:
            content["backtests"][name]["events"]["rows"][at][price] = honest - 1.0

        (only,) = self.compared(found, again, candles, kind, cheaper).differences
        assert (only.part, only.field, only.was, only.now) == ("event", "price", honest - 1.0, honest)
        assert only.text.startswith(f"the backtest called {name}: event {at + 1} of ")

    def test_the_parameters_of_the_optimized_backtest_are_named(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        def slower(content: Content) -> None:
            content["optimized"]["configuration"]["strategy"]["parameters"]["ema_fast"] = 99

        (only,) = self.compared(found, again, candles, "run", slower).differences
        assert (only.part, only.was) == ("configuration", 99)
        assert "the backtest called optimized: strategy.parameters.ema_fast was 99" in only.text

    def test_a_baseline_that_was_changed_is_named_before_the_search(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        def change(content: Content) -> None:
            content["baseline"]["metrics"]["net_pnl"] = 1e6
            row_of(content, "trial", number=2)[place(content, "trial", "state")] = "pruned?"

        first, second = self.compared(found, again, candles, "run", change).differences
        assert first.text.startswith("the backtest called baseline: net_pnl was 1000000.0")
        assert "state was pruned? and is" in second.text

    @pytest.mark.parametrize("name", ["optimized", "piece 1"])
    def test_a_backtest_taken_away_is_named(
        self, found: Found, again: dict[str, Any], candles: Candles, name: str
    ) -> None:
        def without(content: Content) -> None:
            if name == "optimized":
                content["optimized"] = None
            else:
                del content["backtests"][name]

        (only,) = self.compared(found, again, candles, "run", without).differences
        assert only.text == f"the backtest called {name} was not there and is there."

    def test_a_manifest_changed_by_a_careless_hand_says_so_itself(
        self, found: Found, again: dict[str, Any], candles: Candles
    ) -> None:
        careless = tampered(
            found.manifests["validation"], lambda content: content.update(written="2020-01-01"), forge=False
        )
        (only,) = compare_searches(careless, again["validation"][0], candles).differences
        assert only.part == "manifest"

    def test_a_number_of_configurations_below_what_the_search_itself_tried_is_named(
        self, found: Found, inputs: Inputs, candles: Candles
    ) -> None:
        def modest(content: Content) -> None:
            content["on_record"]["optimization"] = 3
            row_of(content, "figure", of="optimization", name="n_trials")[-1] = 3

        recorded = tampered(found.manifests["optimization"], modest)
        (only,) = compare_searches(recorded, repeated_search(recorded, inputs, workers=1)[0], candles).differences
        assert "n_trials of the optimization: value was 3 and is " in only.text
        assert only.now > sum(stage.tried for stage in found.optimized.stages) / 2


class TestInputs:
    def test_one_changed_candle_is_named_and_so_is_the_first_trial_it_changes(
        self, found: Found, candles: Candles, inputs: Inputs, tmp_path: Path
    ) -> None:
        bar = int(found.optimized.baseline.records.trades["exit_bar"][0])
        columns = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close")}
        for column in columns.values():
            column[bar] *= 1.02
        changed = replace(candles, **columns)
        now, _ = repeated_search(found.manifests["optimization"], inputs._replace(candles=changed), workers=1)
        verified = compare_searches(found.manifests["optimization"], now, changed)
        assert verified.differences[0].part == "data"
        assert f"number {bar:,} of {len(candles):,}" in verified.differences[0].text
        other = optimize(
            changed, STRATEGY, 0.1, config=alone(tmp_path), execution=EXECUTION
        ).stages[0]  # fmt: skip
        self._assert_first_trial(verified, found.optimized.stages[0].trials, other.trials)

    def test_another_seed_is_another_search(
        self, found: Found, candles: Candles, inputs: Inputs, tmp_path: Path
    ) -> None:
        def reseeded(content: Content) -> None:
            content["configuration"]["search"]["seed"] = 8
            content["configuration"]["seed"] = 8

        recorded = tampered(found.manifests["optimization"], reseeded)
        verified = compare_searches(recorded, repeated_search(recorded, inputs, workers=1)[0], candles)
        assert verified.differences[0].part == "event"
        other = optimize(
            candles, STRATEGY, 0.1, config=alone(tmp_path, seed=8), execution=EXECUTION
        ).stages[0]  # fmt: skip
        self._assert_first_trial(verified, found.optimized.stages[0].trials, other.trials)

    def test_another_parameter_to_start_from_is_another_search(
        self, found: Found, candles: Candles, inputs: Inputs
    ) -> None:
        slower = inputs._replace(strategy=STRATEGY.replace(ema_fast=STRATEGY.ema_fast + 1))
        for kind in ("optimization", "walk_forward"):
            verified = compare_searches(
                found.manifests[kind], repeated_search(found.manifests[kind], slower, workers=1)[0], candles
            )
            first, *others = verified.differences
            assert (first.part, first.field) == ("configuration", "strategy.parameters.ema_fast")
            assert "event" in {one.part for one in others}

    def _assert_first_trial(self, verified: Verification, was: Any, now: Any) -> None:
        """The first event that differs is the first trial that another way of looking finds."""
        same = (was.points == now.points).all(axis=1) & (was.reported == now.reported).all(axis=1)
        number = int(np.flatnonzero(~same)[0])
        assert verified.first_event is not None
        assert f"trial {number} of stage 7.1 of the optimization" in verified.first_event.text

    def test_a_verdict_is_judged_with_the_number_of_configurations_that_were_on_record_then(
        self, found: Found, origin: Origin, inputs: Inputs, candles: Candles
    ) -> None:
        # Whoever has searched these candles before makes the same findings less credible.
        many = 1_000 * found.judged.n_trials
        judged = replace(found.judged, decision=rejudged(found.judged, many))
        assert (judged.dsr0 or 0.0) < (found.judged.dsr0 or 0.0)
        recorded = describe_validation(judged, origin, SEARCH, WINDOWS)
        now, _ = repeated_search(recorded, inputs, workers=1)
        assert compare_searches(recorded, now, candles).same
        evidence = {row["name"]: row["value"] for row in rows_of(dict(now), "figure", of="evidence")}
        assert (evidence["n_trials"], evidence["dsr0"]) == (many, judged.dsr0)


class TestEnded:
    def test_a_search_that_ctrl_c_ended_is_done_again_up_to_there(
        self, candles: Candles, origin: Origin, inputs: Inputs, tmp_path: Path
    ) -> None:
        def impatient(progress: Progress) -> None:
            if progress.stage == "7.2":
                raise KeyboardInterrupt

        search = alone(tmp_path, num_trials=None, optuna_sampler="TPE")
        with OptimizationEngine(
            candles, STRATEGY, 0.1, opt_config=search, execution=EXECUTION, on_progress=impatient
        ) as engine:
            for stage in ("7.1", "7.2"):
                engine.optimize(stage)
            result = engine.result()
        assert result.interrupted
        tried = result.stages[-1].tried
        assert 0 < tried < 50
        recorded = describe_optimization(result, origin, search)
        now, notes = repeated_search(recorded, inputs, workers=1)
        assert compare_searches(recorded, now, candles).same
        assert notes[0].startswith(f"stage 7.2 of the optimization was ended after {tried} trials")

    def test_a_search_that_its_time_limit_ended_is_done_again_up_to_there(
        self, candles: Candles, origin: Origin, inputs: Inputs, tmp_path: Path
    ) -> None:
        search = alone(tmp_path, timeout=1e-9)
        result = optimize(candles, STRATEGY, 0.1, config=search, execution=EXECUTION)
        assert [stage.tried for stage in result.stages] == [0, 0, 0]
        recorded = describe_optimization(result, origin, search)
        now, notes = repeated_search(recorded, inputs, workers=1)
        assert compare_searches(recorded, now, candles).same
        assert len(notes) == 3

    def test_a_time_limit_of_windows_is_told(self, found: Found, inputs: Inputs, candles: Candles) -> None:
        def limited(content: Content) -> None:
            content["configuration"]["search"]["timeout"] = 60.0

        recorded = tampered(found.manifests["walk_forward"], limited)
        now, (note,) = repeated_search(recorded, inputs, workers=1)
        assert compare_searches(recorded, now, candles).same
        assert note.startswith("the search had a limit of 60 seconds a stage")


class TestCannot:
    def test_an_objective_that_is_a_function_is_named_and_needed(
        self, candles: Candles, origin: Origin, inputs: Inputs, tmp_path: Path
    ) -> None:
        def my_own_ratio(result: BacktestResult) -> float:
            return float(result.net_pnl)

        search = alone(tmp_path, objective=my_own_ratio, num_trials=4)
        result = optimize(candles, STRATEGY, 0.1, config=search, execution=EXECUTION)
        recorded = describe_optimization(result, origin, search)
        assert recorded["configuration"]["search"]["objective"] == {"function": "my_own_ratio"}
        with pytest.raises(ConfigError, match="the Python function my_own_ratio") as caught:
            repeated_search(recorded, inputs)
        assert "compare_searches" in caught.value.hint
        again = optimize(candles, STRATEGY, 0.1, config=search, execution=EXECUTION)
        assert compare_searches(recorded, describe_optimization(again, origin, search), candles).same

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda content: content["configuration"].pop("search"), "it has no configuration.search"),
            (lambda content: content.pop("backtests"), "it has no backtests"),
            (lambda content: content.update(kind="dream"), "is the manifest of a dream, which this barwise does not"),
            (lambda content: content["configuration"].update(search=[]), "the manifest is damaged"),
            (lambda content: content["configuration"]["search"].update(surprise=1), "surprise is not a parameter of"),
            (lambda content: content["events"]["rows"].insert(0, ["trial", 1]), "the manifest is damaged"),
            (lambda content: content["events"]["rows"].insert(0, ["dream", 1]), "the manifest is damaged"),
            (lambda content: content["backtests"]["chosen"].pop("equity"), "the manifest is damaged"),
        ],
    )
    def test_a_damaged_manifest_is_one_sentence(
        self, found: Found, call: Call, home: Path, change: Callable[[Content], object], message: str
    ) -> None:
        path = home / "data" / "results" / "damaged.manifest.json"
        write_manifest(tampered(found.manifests["optimization"], change), path)
        outcome = call("verify", "--workers", "1", "--quiet")
        assert outcome.code in {1, 2}
        assert message in outcome.err
        assert "hint: " in outcome.err
        assert "Traceback" not in outcome.err

    def test_a_manifest_that_cannot_be_written_takes_its_report_with_it(self, found: Found, tmp_path: Path) -> None:
        report = {"json": tmp_path / "one.json", "html": tmp_path / "one.html"}
        for path in report.values():
            path.write_text("{}")
        (tmp_path / "one.manifest.json").mkdir()
        with pytest.raises(DataError, match="cannot be written"):
            write_beside(found.manifests["optimization"], {**report, "windows_csv": None})
        assert [path.name for path in tmp_path.iterdir()] == ["one.manifest.json"]


class TestCommand:
    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            ("optimization", ("optimize", "--trials", "12", "--sampler", "AUTO")),
            ("walk_forward", ("walk-forward", *SPANS)),
            ("validation", ("validate", *SPANS, "--permutations", "19")),
        ],
    )
    def test_each_search_writes_its_manifest_and_is_verified_without_its_ledger(
        self, call: Call, home: Path, kind: str, words: tuple[str, ...]
    ) -> None:
        told = call(*words, *WORDS, "--json")
        files = json.loads(told.out.splitlines()[-1])["files"]
        path = Path(files["manifest"])
        assert path == Path(files["json"]).with_suffix(".manifest.json")
        assert read_manifest(path)["kind"] == kind
        ledger = home / "data" / "ledger.sqlite"
        ledger.write_bytes(b"no ledger")  # whoever opens it fails
        before = {one: one.stat().st_mtime_ns for one in (home / "data").rglob("*")}
        outcome = call("verify", "--workers", "1", "--json")
        assert outcome.code == 0, outcome.err
        document = json.loads(outcome.out)
        assert (document["same"], document["kind"], document["notes"]) == (True, kind, [])
        assert {one: one.stat().st_mtime_ns for one in (home / "data").rglob("*")} == before

    def test_what_differs_is_printed_and_the_exit_code_says_so(self, found: Found, call: Call, home: Path) -> None:
        folder = home / "data" / "results"
        write_manifest(found.manifests["run"], folder / "run-one.manifest.json")
        outcome = call("verify", "run-one", "--workers", "1")
        assert outcome.code == 0, outcome.out
        assert " SAME " in outcome.out
        assert "stage 7.1" in outcome.err
        assert "shuffled markets" in outcome.err

        def nicer(content: Content) -> None:
            row_of(content, "verdict")[1] = "LIKELY REAL"

        write_manifest(tampered(found.manifests["run"], nicer), folder / "run-two.manifest.json")
        outcome = call("verify", "run-two", "--workers", "1")
        assert outcome.code == 1
        assert " DIFFERS" in outcome.out
        assert "the verdict: word was LIKELY REAL and is " in outcome.out

    def test_the_files_are_named_on_the_terminal(self, call: Call) -> None:
        loud = tuple(word for word in WORDS if word != "--quiet")
        outcome = call("optimize", "--trials", "6", *loud)
        assert outcome.code == 0, outcome.err
        assert " Manifest   data" in outcome.out

    def test_the_newest_of_a_kind_is_found_among_others(self, found: Found, call: Call, home: Path) -> None:
        call("backtest", *WORDS[:4], "--quiet")
        (older,) = (home / "data" / "results").glob("*.manifest.json")
        newer = write_manifest(found.manifests["validation"], older.with_name("newer.manifest.json"))
        assert find_manifest(None, home, kind=None) == newer
        assert find_manifest(None, home) == older
        assert find_manifest(None, home, kind="validation") == newer
        assert find_manifest("newer", home) == newer
        with pytest.raises(CheckpointError, match="no manifest of a walk-forward"):
            find_manifest(None, home, kind="walk_forward")

    def test_the_story_of_a_search_is_not_told_as_that_of_a_backtest(
        self, found: Found, call: Call, home: Path
    ) -> None:
        write_manifest(found.manifests["validation"], home / "data" / "results" / "judged.manifest.json")
        outcome = call("audit", "judged")
        assert outcome.code == 1
        assert "judged.manifest.json is the manifest of a validation, and a backtest is needed" in outcome.err
