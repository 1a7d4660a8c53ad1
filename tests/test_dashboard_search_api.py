"""What the dashboard says of searches and verdicts: the library's own numbers, and a clear word where there is none."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from barwise.config import OptimizationConfig
from barwise.dashboard.api_search import endpoints
from barwise.dashboard.recorded_search import recorded_stages
from barwise.dashboard.search_answers import MOST_LINES, trial_figures
from barwise.errors import DataError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.insight import history, importance, leading_pairs, pair_map, state_names
from barwise.optimizer.ledger import Ledger
from barwise.optimizer.saving import optimization_document, save_optimization
from barwise.report.overfitting import overfitting_document
from barwise.report.run_csv import trials_csv
from barwise.report.validation import validation_document
from barwise.result import BacktestResult
from barwise.stats.overfitting import probability_of_overfitting
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.dashboard_runs import (
    WHOLE,
    Hostile,
    Whole,
    ask,
    check_schema,
    client_of,
    days_of,
    failure,
    whole_run,
    write_bare,
)

SEARCH, VERDICT = "/runs/<name>/optimization", "/runs/<name>/validation"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    found = whole_run(tmp_path_factory.mktemp("home"))
    write_bare(found)
    return found


@pytest.fixture(scope="module")
def client(whole: Whole) -> FlaskClient:
    return client_of(whole.home)


@pytest.fixture(scope="module")
def search(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = ask(client, f"/runs/{WHOLE}/optimization")
    check_schema(endpoints, SEARCH, found)
    return found


@pytest.fixture(scope="module")
def verdict(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = ask(client, f"/runs/{WHOLE}/validation")
    check_schema(endpoints, VERDICT, found)
    return found


def plain(values: Any) -> list[float | None]:
    return [None if math.isnan(value) else value for value in np.asarray(values, dtype=float).tolist()]


class TestTrialsReadBack:
    def test_every_trial_comes_back_as_it_was_made(self, whole: Whole, tmp_path: Path) -> None:
        table = tmp_path / "trials.csv"
        table.write_text(trials_csv(whole.optimization), "utf-8")
        document = json.loads(json.dumps(optimization_document(whole.optimization)))
        for was, now in zip(whole.optimization.stages, recorded_stages(document, table), strict=True):
            assert now.stage == was.stage
            assert now.space.names == was.space.names
            np.testing.assert_array_equal(now.trials.points, was.trials.points)
            np.testing.assert_array_equal(now.trials.reported, was.trials.reported)
            np.testing.assert_array_equal(now.trials.values, was.trials.values)
            np.testing.assert_array_equal(now.trials.violation, was.trials.violation)
            np.testing.assert_array_equal(now.trials.ranked, was.trials.ranked)
            np.testing.assert_array_equal(now.trials.summaries["trades"], was.trials.summaries["trades"])
            assert state_names(now.trials) == state_names(was.trials)
            assert now.best_params == was.best_params
            assert [type(value) for value in now.best_params.values()] == [
                type(value) for value in was.best_params.values()
            ]
            assert now.best_value == was.best_value
            assert importance(now, samples=3) == importance(was, samples=3)

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (lambda text: text.replace("ema_fast", "ema_quick", 1), "no column ema_fast"),
            (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "rows, not"),
            (lambda text: text.replace(",complete,", ",finished,"), "state that there is not"),
            (lambda _: "\x00\x01", "no column stage"),
            (lambda _: "", "cannot be read"),
        ],
    )
    def test_a_table_of_another_search_is_refused(self, whole: Whole, tmp_path: Path, damage: Any, says: str) -> None:
        table = tmp_path / "trials.csv"
        table.write_text(damage(trials_csv(whole.optimization)), "utf-8")
        with pytest.raises(DataError, match=says):
            recorded_stages(optimization_document(whole.optimization), table)


class TestSearch:
    def test_the_history_is_that_of_the_library(self, whole: Whole, search: dict[str, Any]) -> None:
        stages = whole.optimization.stages
        candles = whole.findings.baseline.candles
        years = len(candles) / candles.timeframe.bars_per_year(candles.calendar)
        course = history(stages, years=years)
        earlier = whole.optimization.n_trials - int(course.configurations[-1]) - whole.optimization.neighbours
        course = history(stages, years=years, earlier=max(0, earlier))
        found = search["history"]
        assert found["total"] == len(course)
        assert found["trial"] == list(range(1, len(course) + 1))
        assert found["value"] == plain(course.reported)
        assert found["best"] == plain(course.best)
        assert course.luck is not None
        assert found["luck"] == plain(course.luck)
        assert found["state"] == course.states
        assert [begin["stage"] for begin in found["begins"]] == [stage.stage for stage in stages]
        assert found["begins"][1]["trial"] == len(stages[0].trials) + 1

    def test_shares_and_maps_are_those_of_the_library(self, whole: Whole, search: dict[str, Any]) -> None:
        maps = iter(search["pairs"])
        for stage, told in zip(whole.optimization.stages, search["importance"], strict=True):
            found = importance(stage, samples=20)
            assert {one["name"]: one["share"] / 100.0 for one in told["shares"]} == pytest.approx(dict(found.shares))
            assert told["reason"] == found.reason
            for x, y in leading_pairs(found):
                expected, drawn = pair_map(stage, x, y), next(maps)
                assert (drawn["stage"], drawn["x"], drawn["y"]) == (stage.stage, x, y)
                assert drawn["mean"] == [plain(row) for row in expected.mean]
                assert drawn["count"] == expected.count.tolist()
                assert drawn["chosen"] == {"x": stage.best_params[x], "y": stage.best_params[y]}
        assert next(maps, None) is None
        assert search["pairs"]

    def test_the_plateau_is_marked_one_step_around_the_choice(self, whole: Whole, search: dict[str, Any]) -> None:
        plateau = whole.optimization.plateau
        assert plateau is not None
        steps = {
            one["name"]: (one["point"], one["step"], one["down"], one["up"]) for one in search["plateau"]["parameters"]
        }
        for at, name in enumerate(plateau.names):
            assert steps[name] == (plateau.point[at], plateau.steps[at], *plateau.per_parameter[name])
        assert search["plateau"]["kept"] == (None if plateau.kept is None else 100.0 * plateau.kept)
        for drawn in search["pairs"]:
            point, step = steps[drawn["x"]][:2]
            assert drawn["plateau"]["x"] == [point - step, point + step]

    def test_parallel_lines_are_ranked_and_hold_the_choice_and_the_start(
        self, whole: Whole, search: dict[str, Any]
    ) -> None:
        for stage, drawn in zip(whole.optimization.stages, search["parallel"], strict=True):
            rows = drawn["trial"]
            assert rows[drawn["chosen"]] == stage.chosen
            assert rows[drawn["start"]] == 0
            assert [axis["name"] for axis in drawn["axes"]] == list(stage.space.names)
            for column, axis in enumerate(drawn["axes"]):
                assert axis["values"] == stage.trials.points[rows, column].tolist()
            ranks = [rank for rank in drawn["rank"] if rank is not None]
            assert ranks == sorted(ranks)
            assert drawn["total"] == len(stage.trials)
            assert len(rows) <= MOST_LINES + 2

    def test_states_are_counted_and_parameters_say_what_changed(self, whole: Whole, search: dict[str, Any]) -> None:
        for stage, told in zip(whole.optimization.stages, search["stages"], strict=True):
            assert told["states"]["pruned"] == stage.pruned
            assert sum(told["states"].values()) == len(stage.trials)
            assert told["best_params"] == stage.best_params
        before, after = EmaRsiAtr(enable_rsi_filter=False).to_dict(), whole.optimization.strategy.to_dict()
        assert {one["name"]: (one["before"], one["after"]) for one in search["parameters"]} == {
            name: (before[name], after[name]) for name in before
        }
        changed = {one["name"] for one in search["parameters"] if one["changed"]}
        assert changed == {name for name in before if before[name] != after[name]} != set()

    def test_the_ledger_says_how_often_these_data_were_searched(self, whole: Whole, search: dict[str, Any]) -> None:
        fingerprint = whole.findings.baseline.candles.fingerprint
        with Ledger(whole.home / "data" / "ledger.sqlite") as ledger:
            assert search["ledger"]["trials"] == ledger.trials(fingerprint)
            frame = ledger.frame(fingerprint, whole.optimization.run)
        assert [run["run"] for run in search["ledger"]["runs"]] == [whole.optimization.run]
        assert [stage["stage"] for stage in search["rungs"]] == ["7.1", "7.2", "7.3"]
        counted = sum(level["configurations"] for stage in search["rungs"] for level in stage["levels"])
        assert counted == sum(stage in {"7.1", "7.2", "7.3"} for stage in frame["stage"])
        first = search["rungs"][0]["levels"]
        assert [level["share"] for level in first] == [33.0, 66.0, 100.0]
        assert first[0]["configurations"] > first[-1]["configurations"]

    def test_a_search_for_several_things_has_a_front_that_nothing_beats(self, tmp_path: Path) -> None:
        result = optimize(
            days_of(60), EmaRsiAtr(enable_rsi_filter=False), 0.1,
            config=OptimizationConfig(
                profile="FAST", optuna_sampler="NSGAII", num_trials=30, workers=1, min_trades=1,
                objective=("net_pnl", "max_drawdown"), storage=str(tmp_path / "data" / "ledger.sqlite"),
            ),
        )  # fmt: skip
        name = saved(result, tmp_path)
        found = ask(client_of(tmp_path), f"/runs/{name}/optimization")
        check_schema(endpoints, SEARCH, found)
        assert [one["direction"] for one in found["objectives"]] == ["maximize", "minimize"]
        for stage, front in zip(result.stages, found["front"], strict=True):
            gain, fall = (one["values"] for one in front["objectives"])
            points = list(zip(gain, fall, front["on_front"], strict=True))
            assert [front["trial"][at] for at, on in enumerate(front["on_front"]) if on] == sorted(stage.trials.front)
            best = [(one, other) for one, other, on in points if on]
            assert not any(a > c and b < d for a, b in best for c, d in best)
            assert front["points"] == [{name: point[name] for name in stage.space.names} for point in stage.front()]
            assert front["trial"][front["chosen"]] == stage.chosen

    def test_a_function_of_the_users_with_a_strange_name_is_only_text(self, tmp_path: Path) -> None:
        def result_of(result: BacktestResult) -> float:
            return result.net_pnl

        result_of.__name__ = "<img src=x onerror=alert(1)>"
        result = optimize(
            days_of(60), Hostile(enable_rsi_filter=False), 0.1,
            config=OptimizationConfig(
                profile="FAST", optuna_sampler="TPE", num_trials=8, workers=1, min_trades=1, objective=result_of,
                storage=str(tmp_path / "data" / "ledger.sqlite"),
            ),
        )  # fmt: skip
        name, client = saved(result, tmp_path), client_of(tmp_path)
        found = ask(client, f"/runs/{name}/optimization")
        assert found["objectives"] == [{"name": result_of.__name__, "direction": "maximize"}]
        assert found["history"]["luck"] is None
        raw = client.get(f"/api/v1/runs/{name}/optimization", headers={"Host": "127.0.0.1:8765"}).data
        assert b"<img" not in raw

    def test_without_the_table_of_trials_the_rest_is_still_told(self, whole: Whole, tmp_path: Path) -> None:
        shutil.copytree(whole.home / "data" / "results", tmp_path / "data" / "results")
        found = ask(client_of(tmp_path), f"/runs/{WHOLE}/optimization")
        check_schema(endpoints, SEARCH, found)
        assert found["history"] is None
        assert found["importance"] == found["pairs"] == found["parallel"] == []
        assert f"{WHOLE}-trials.csv is missing" in found["notes"][-1]
        assert found["ledger"] is None
        assert found["rungs"] == []
        assert found["plateau"]["neighbours"] > 0
        assert not (tmp_path / "data" / "ledger.sqlite").exists()

    def test_a_damaged_ledger_is_a_note_and_no_failure(self, whole: Whole, tmp_path: Path) -> None:
        shutil.copytree(whole.home / "data" / "results", tmp_path / "data" / "results")
        (tmp_path / "data" / "ledger.sqlite").write_bytes(b"no database at all" * 100)
        found = ask(client_of(tmp_path), f"/runs/{WHOLE}/optimization")
        assert found["ledger"] is None
        assert "ledger" in found["notes"][-1]

    def test_a_new_table_is_read_and_an_old_one_kept(self, whole: Whole, tmp_path: Path) -> None:
        document = optimization_document(whole.optimization)
        table = tmp_path / "trials.csv"
        table.write_text(trials_csv(whole.optimization), "utf-8")
        first = trial_figures(document, table)
        assert trial_figures(document, table) is first
        table.write_text(trials_csv(whole.optimization) + "\r\n", "utf-8")
        assert trial_figures(document, table) is not first

    def test_a_long_search_is_thinned_out_and_keeps_its_steps(
        self, whole: Whole, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from barwise.dashboard import search_answers

        monkeypatch.setattr(search_answers, "MOST_TRIALS", 10)
        stages = list(whole.optimization.stages)
        drawn = search_answers._history(optimization_document(whole.optimization), stages)
        course = history(stages, years=1.0)
        assert drawn["total"] == len(course)
        assert len(drawn["trial"]) < len(course)
        assert {1, len(course)} <= set(drawn["trial"])
        steps = np.flatnonzero(np.diff(course.best, prepend=-np.inf) > 0.0)
        assert {int(row) + 1 for row in steps} <= set(drawn["trial"])


def saved(result: OptimizationResult, home: Path) -> str:
    return save_optimization(result, home).json.stem


class TestVerdict:
    def test_it_is_the_document_of_the_validation(self, whole: Whole, verdict: dict[str, Any]) -> None:
        document = json.loads(json.dumps(validation_document(whole.validation)))
        for name in ("verdict", "reasons", "tests", "evidence", "selection", "scenarios", "jitters", "monte_carlo"):
            assert verdict[name] == document[name]
        assert verdict["overfitting"] == document["overfitting"] is not None
        permutation = whole.validation.permutation
        assert permutation is not None
        assert verdict["permutation"]["nulls"] == plain(permutation.nulls)

    def test_windows_have_their_edges_in_ms(self, whole: Whole, verdict: dict[str, Any]) -> None:
        walked = whole.validation.walked
        assert walked is not None
        windows = verdict["walk_forward"]["windows"]
        for told, found in zip(windows, walked.windows, strict=True):
            assert told["oos_start_ms"] == found.window.oos_start.timestamp() * 1000
            assert told["is_end_ms"] == found.window.is_end.timestamp() * 1000
        assert verdict["walk_forward"]["drift"] == {name: plain(values) for name, values in walked.drift.items()}

    def test_the_stitched_equity_is_that_of_the_walk_forward(self, whole: Whole, verdict: dict[str, Any]) -> None:
        walked, stitched = whole.validation.walked, verdict["stitched"]
        assert walked is not None
        assert stitched["bars"] == len(walked.equity)
        at = dict(zip((walked.candles.time[walked.bars] + 3_600_000).tolist(), walked.equity.tolist(), strict=True))
        assert stitched["equity"] == pytest.approx([at[time] for time in stitched["time"]], rel=1e-7)
        assert max(stitched["drawdown"]) <= 0.0
        assert min(stitched["drawdown"]) == pytest.approx(-walked.metrics["max_drawdown"], rel=1e-7)

    def test_a_thinned_curve_keeps_its_ends_and_its_lowest_point(self, whole: Whole, client: FlaskClient) -> None:
        walked = whole.validation.walked
        assert walked is not None
        stitched = ask(client, f"/runs/{WHOLE}/validation?points=100")["stitched"]
        assert len(stitched["time"]) <= 100 < stitched["bars"]
        assert stitched["equity"][-1] == pytest.approx(walked.equity[-1], rel=1e-7)
        assert min(stitched["equity"]) == pytest.approx(walked.equity.min(), rel=1e-7)

    def test_the_spread_of_the_splits_gives_the_probability_again(self) -> None:
        random = np.random.default_rng(7)
        found = probability_of_overfitting(random.normal(size=(30, 640)), 8)
        # Three splits on the edge itself count as below it.
        found = replace(found, logits=np.concatenate([found.logits[:-3], np.zeros(3)]))
        share = float(np.mean(found.logits <= 0.0))
        document = overfitting_document(found, 10_000.0)
        edges, counts = np.array(document["logits"]["edges"]), np.array(document["logits"]["counts"])
        assert counts.sum() == found.splits == 70
        assert counts[edges[1:] <= 1e-12].sum() / found.splits == share
        drawn = document["degradation"]
        assert drawn["chosen_in"] == pytest.approx((100.0 * found.in_sample_best).tolist(), rel=1e-7)
        assert drawn["intercept"] == 100.0 * found.intercept

    def test_documents_of_earlier_versions_have_no_spread_and_no_curve_without_a_table(
        self, whole: Whole, tmp_path: Path
    ) -> None:
        shutil.copytree(whole.home / "data" / "results", tmp_path / "data" / "results")
        path = tmp_path / "data" / "results" / f"{WHOLE}.stage8.json"
        document = json.loads(path.read_text("utf-8"))
        del document["overfitting"]
        path.write_text(json.dumps(document), "utf-8")
        found = ask(client_of(tmp_path), f"/runs/{WHOLE}/validation")
        check_schema(endpoints, VERDICT, found)
        assert found["overfitting"] is None
        assert found["stitched"] is None


class TestWhatIsNotThere:
    def test_a_run_whose_search_was_skipped_says_why(self, client: FlaskClient, whole: Whole) -> None:
        write_bare(whole)
        for what, why in (("optimization", "longest period of the box"), ("validation", "nothing to judge")):
            error = failure(client, f"/runs/run-sample-btc-1h-00000000/{what}", 404)
            assert error["kind"] == "NotFound"
            assert why in error["message"]
            assert error["hint"]

    def test_a_run_that_is_going_on_has_none_yet(self, tmp_path: Path) -> None:
        folder = tmp_path / "data" / "results"
        folder.mkdir(parents=True)
        line = {"time": "2025-01-01T00:00:00.000+00:00", "run": "run-x", "seq": 0, "kind": "run_begun", "market": "x"}
        (folder / "run-x.audit.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
        for what in ("optimization", "validation"):
            assert "no " + what + " yet" in failure(client_of(tmp_path), f"/runs/run-x/{what}", 404)["message"]

    @pytest.mark.parametrize(
        "name",
        [
            "nope",
            "..",
            "..%2F..%2Fetc",
            "%2e%2e",
            "a%00b",
            "%3Cscript%3E",
            "x" * 300,
            "run-sample-btc-1h-0a1b2c3d.json",
        ],
    )
    def test_no_name_leads_anywhere_else(self, client: FlaskClient, name: str) -> None:
        for what in ("optimization", "validation"):
            answer = client.get(f"/api/v1/runs/{name}/{what}", headers={"Host": "127.0.0.1:8765"})
            assert answer.status_code == 404
            assert b"<script" not in answer.data

    def test_a_near_name_is_offered(self, client: FlaskClient) -> None:
        assert f"Did you mean {WHOLE}?" in failure(client, f"/runs/{WHOLE[:-1]}e/optimization", 404)["message"]

    def test_a_damaged_document_is_said_to_be(self, whole: Whole, tmp_path: Path) -> None:
        shutil.copytree(whole.home / "data" / "results", tmp_path / "data" / "results")
        (tmp_path / "data" / "results" / f"{WHOLE}.stage7.json").write_text("[1, 2", "utf-8")
        assert failure(client_of(tmp_path), f"/runs/{WHOLE}/optimization", 422)["kind"] == "DataError"
