"""An objective of the user's own: named on the command line, asked once for each result, and never answered wrongly."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from barwise import OptimizationConfig, optimize, sample_candles
from barwise.data.candles import Candles
from barwise.errors import BacktestError, ConfigError
from barwise.manifest.strategies import load_function, load_strategy
from barwise.optimizer.engine import OptimizationResult
from barwise.optimizer.identity import function_digest
from barwise.optimizer.ledger import Ledger
from barwise.optimizer.objective import Objective
from barwise.result import BacktestResult
from barwise.run_config import resolve
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.command_line import Call, called
from tests.conftest import REPOSITORY

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")
GOALS = """
from barwise import BacktestResult

PAIN = {"weight": 300.0}


def calm(result: BacktestResult) -> float:
    with open("asked.txt", "a") as asked:
        asked.write("x")
    return result.net_pnl - PAIN["weight"] * result.max_drawdown


def busy(result: BacktestResult) -> float:
    return float(result.total_trades)


class Nothing:
    pass
"""
calls: list[str] = []


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 1))[:1000]


@pytest.fixture
def call(home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    (home / "goals.py").write_text(GOALS)
    return lambda *words: called(words, capfd.readouterr)


def searched(candles: Candles, storage: Path, objective: Any, **settings: Any) -> OptimizationResult:
    chosen = {"num_trials": 24, "min_trades": 1, "storage": str(storage), "objective": objective, **settings}
    return optimize(candles, BASE, 0.1, config=OptimizationConfig(**chosen), check_lookahead=False)


def function_of(text: str, name: str = "goal") -> Any:
    """A function of a module without a file, as one typed into a notebook."""
    space: dict[str, Any] = {"__name__": "notebook"}
    exec(text, space)
    return space[name]


# Answers on record.


def test_a_search_that_is_on_record_asks_the_function_nothing(candles: Candles, tmp_path: Path) -> None:
    def goal(result: BacktestResult) -> float:
        told.append(1)
        return result.net_pnl if result.total_trades > 2 else float("nan")

    told: list[int] = []
    first = searched(candles, tmp_path / "ledger", goal)
    asked = len(told)
    told.clear()
    again = searched(candles, tmp_path / "ledger", goal)
    assert asked > 50
    assert told == []
    for one, other in zip(first.stages, again.stages, strict=True):
        assert one.trials.reported.tobytes() == other.trials.reported.tobytes()
        assert one.trials.points.tobytes() == other.trials.points.tobytes()
        assert other.trials.bars.sum() == 0
        assert one.chosen == other.chosen
    assert first.strategy == again.strategy
    assert first.n_trials == again.n_trials


def test_a_function_that_was_changed_is_asked_again_and_its_new_answers_are_kept_beside_the_old(
    candles: Candles, tmp_path: Path
) -> None:
    def goal_of(weight: float) -> Any:
        def goal(result: BacktestResult) -> float:
            calls.append(f"{weight}")
            return result.net_pnl - weight * result.max_drawdown

        return goal

    ledger = tmp_path / "ledger"
    found = {}
    for weight, wanted in ((10.0, True), (20.0, True), (10.0, False), (20.0, False)):
        calls.clear()
        found[weight, wanted] = searched(candles, ledger, goal_of(weight), optuna_sampler="RANDOM", num_trials=8)
        assert bool(calls) == wanted
        stage = found[weight, wanted].stages[0]
        row = int(stage.trials.best)
        result = found[weight, wanted].stages[0].trials.summaries[row]
        assert stage.trials.reported[row, 0] == pytest.approx(
            float(result["net_pnl"]) - weight * 100.0 * float(result["max_drawdown"])
        )
    assert found[10.0, True].stages[0].best_value == found[10.0, False].stages[0].best_value
    with Ledger(ledger) as opened:
        per_key = opened.frame().group_by("key").len()["len"]
        assert per_key.max() == 1  # a configuration is one trial, whatever was asked about it


def test_a_search_for_a_metric_before_it_leaves_the_functions_answers_what_they_are(
    candles: Candles, tmp_path: Path
) -> None:
    def goal(result: BacktestResult) -> float:
        return result.net_pnl - result.fees

    alone = searched(candles, tmp_path / "alone", goal)
    searched(candles, tmp_path / "both", "sharpe_ratio")
    shared = searched(candles, tmp_path / "both", goal)
    again = searched(candles, tmp_path / "both", goal)
    for one, other, last in zip(alone.stages, shared.stages, again.stages, strict=True):
        assert one.trials.reported.tobytes() == other.trials.reported.tobytes() == last.trials.reported.tobytes()
        assert one.trials.bars.tolist() == other.trials.bars.tolist()  # a row on record is run again to be asked about
        assert last.trials.bars.sum() == 0


def test_what_cannot_be_told_apart_is_always_asked(candles: Candles, tmp_path: Path) -> None:
    class Goal:
        asked = 0

        def __call__(self, result: BacktestResult) -> float:
            self.asked += 1
            return result.net_pnl

    goal = Goal()
    first = searched(candles, tmp_path / "ledger", goal, num_trials=6, optuna_sampler="RANDOM")
    once = goal.asked
    again = searched(candles, tmp_path / "ledger", goal, num_trials=6, optuna_sampler="RANDOM")
    assert goal.asked == 2 * once
    assert first.strategy == again.strategy


# Telling functions apart.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def goal(result): return result.net_pnl", "def goal(result): return result.fees"),
        ("def goal(result): return result.net_pnl", "def goal(result): return result.net_pnl + 1"),
        ("w = 1.0\ndef goal(result): return w * result.fees", "w = 2.0\ndef goal(result): return w * result.fees"),
        ("w = {'a': [1]}\ndef goal(result): return w['a']", "w = {'a': [2]}\ndef goal(result): return w['a']"),
        ("def goal(result, k=1): return k", "def goal(result, k=2): return k"),
        ("def goal(result, *, k=1): return k", "def goal(result, *, k=2): return k"),
        (
            "def part(x): return x\ndef goal(result): return part(result.fees)",
            "def part(x): return -x\ndef goal(result): return part(result.fees)",
        ),
        (
            "w = 1\ndef goal(result): return sum(w * one for one in result.trades)",
            "w = 2\ndef goal(result): return sum(w * one for one in result.trades)",
        ),
        (
            "import numpy as np\nw = np.array([1.0])\ndef goal(result): return w[0]",
            "import numpy as np\nw = np.array([2.0])\ndef goal(result): return w[0]",
        ),
    ],
)
def test_functions_that_may_answer_differently_have_different_digests(one: str, other: str) -> None:
    digests = [function_digest(function_of(text)) for text in (one, other, one)]
    assert None not in digests
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    "text",
    [
        "class Weights: x = 1\nw = Weights()\ndef goal(result): return w.x",
        "class Weights: x = 1\ndef goal(result): return Weights.x",
        "import functools\n@functools.cache\ndef goal(result): return 1.0",
        "import functools\ngoal = functools.partial(lambda w, result: w, 2.0)",
        "w = []\nw.append(w)\ndef goal(result): return len(w)",
        "goal = len",
    ],
)
def test_a_function_whose_doing_cannot_be_told_has_no_digest(text: str) -> None:
    assert function_digest(function_of(text)) is None


def test_a_digest_is_the_same_in_every_process_and_follows_the_text_of_the_module_beside_it(home: Path) -> None:
    (home / "helper.py").write_text("def weight(result):\n    return 2.0\n")
    (home / "goals.py").write_text(
        "import helper\nNAMES = {'b', 'a', 'c'}\ndef goal(result):\n    return helper.weight(result) * len(NAMES)\n"
    )
    program = (
        "from barwise.manifest.strategies import load_function as f\n"
        "from barwise.optimizer.identity import function_digest as d\n"
        "print(d(f('goals.py:goal')))"
    )

    def digest(seed: int) -> str:
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(REPOSITORY / "src")}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=home, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    before = digest(1)
    assert before == digest(2) != "None"
    (home / "helper.py").write_text("def weight(result):\n    return 3.0\n")
    assert digest(1) != before


# Several at once.


def test_metrics_and_functions_can_be_objectives_together(candles: Candles, tmp_path: Path) -> None:
    def fees(result: BacktestResult) -> float:
        return float(result.total_trades)

    def calm(result: BacktestResult) -> float:
        return -result.max_drawdown

    wanted = (calm, "net_pnl", fees)
    found = searched(candles, tmp_path / "ledger", wanted, optuna_sampler="NSGA-II", num_trials=30)
    stage = found.stages[0]
    assert stage.objective.names == ("calm", "net_pnl", "fees")
    # A function is maximised, also where it has the name of a cost.
    assert stage.objective.directions == ("maximize",) * 3
    for row in (0, 7, 30):
        summary = stage.trials.summaries[row]
        assert stage.trials.reported[row, 0] == pytest.approx(-100.0 * float(summary["max_drawdown"]))
        assert stage.trials.reported[row, 1] == float(summary["net_pnl"])
        assert stage.trials.reported[row, 2] == float(summary["trades"])
    assert {"calm", "net_pnl", "fees", "trial_net_pnl"} <= {*stage.frame().columns} | {"trial_net_pnl"}


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"several different ones; got <lambda>, <lambda>"):
        Objective.of((lambda result: result.fees, lambda result: result.net_pnl))


def test_the_one_of_several_functions_that_fails_is_named() -> None:
    def fine(result: Any) -> float:
        return 1.0

    def fails(result: Any) -> float:
        raise ZeroDivisionError

    class Result:
        strategy = BASE

    with pytest.raises(BacktestError, match="the objective fails failed for"):
        Objective.of((fine, fails)).of_result(Result())


def test_a_function_without_a_finite_number_is_named_and_no_guard_is_blamed(candles: Candles, tmp_path: Path) -> None:
    def endless(result: BacktestResult) -> float:
        return float("inf")

    found = searched(candles, tmp_path / "ledger", endless, num_trials=6)
    assert found.notes == (
        "the objective endless gives no finite number for any trial: what is returned is no result.",
    )
    assert "min_trades" in Objective.of("sharpe").why_no_result(np.zeros((3, 1)))


# On the command line.


def test_a_function_of_a_file_is_searched_for_and_the_same_command_is_answered_from_the_record(
    call: Call, home: Path
) -> None:
    words = ("optimize", *SPAN, "--trials", "6", "--objective", "goals.py:calm", "--json")
    first = call(*words)
    assert first.code == 0
    found = json.loads(first.out.splitlines()[-1])
    assert found["stages"][0]["objective"] == "calm"
    best = found["best"]
    assert found["stages"][-1]["best_value"] == best["net_pnl"] - 300.0 * best["max_drawdown"]
    asked = (home / "asked.txt").read_text()
    again = call(*words)
    assert again.code == 0
    assert (home / "asked.txt").read_text() == asked
    assert json.loads(again.out.splitlines()[-1])["parameters"] == found["parameters"]
    manifest = json.loads(Path(found["files"]["manifest"]).read_text())
    assert manifest["configuration"]["search"]["objective"] == {"function": "calm"}


def test_functions_and_metrics_may_be_named_together(call: Call) -> None:
    words = ("optimize", *SPAN, "--trials", "10", "--sampler", "NSGA-II", "--no-report", "--json")
    found = call(*words, "--objective", "goals.py:calm", "--objective", "sharpe", "--objective", "goals.py:busy")
    assert found.code == 0
    result = json.loads(found.out.splitlines()[-1])
    assert result["stages"][0]["objective"] == "calm+sharpe_ratio+busy"
    assert {"calm", "sharpe_ratio", "busy"} <= {*result["stages"][0]["front"][0]}


def test_worker_processes_of_a_walk_forward_ask_the_function_of_the_file(call: Call, home: Path) -> None:
    (home / "run.toml").write_text('[optimization]\nobjective = "goals.py:busy"\nnum_trials = 6\n')
    words = ("walk-forward", "--start", "2024-01-01", "--end", "2024-06-01", "--config", "run.toml", "--quiet")
    assert call(*words, "--backend", "processes", "--workers", "2").code == 0
    [settings] = (home / "data" / "results").glob("*.config.toml")
    assert 'objective = "goals.py:busy"' in settings.read_text()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("goals.py:clam", r"goals\.py has no function clam\. Did you mean calm\?"),
        ("goals.py:Nothing", r"Nothing of goals\.py is not a function of it"),
        ("goals.py:", r"goals\.py: which function\? it has calm, busy"),
        ("gaols.py:calm", r"there is no file gaols\.py\. Did you mean goals\.py\?"),
        ("no_such_module:calm", r"there is no module no_such_module"),
    ],
)
def test_a_function_that_is_not_there_is_one_sentence(call: Call, reference: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_function(reference)
    found = call("optimize", "--objective", reference)
    assert found.code == 2
    assert found.err.startswith("error: ")


def test_a_run_says_at_once_that_it_cannot_keep_a_function(call: Call, home: Path) -> None:
    found = call("run", "--yes", "--set", "optimization.objective=goals.py:calm")
    assert found.code == 2
    assert "a function of yours (calm) cannot be kept" in found.err
    assert not (home / "asked.txt").exists()


def test_where_no_program_may_be_named_an_objective_names_none(home: Path) -> None:
    (home / "goals.py").write_text("raise SystemExit('it was run')")
    settings = {"optimization.objective": "goals.py:calm"}
    with pytest.raises(ConfigError, match=r"an objective of your own is not taken here; got goals\.py:calm"):
        resolve(None, environment={}, load=load_strategy, settings=settings)


def test_two_functions_of_one_file_are_both_found_by_their_names(call: Call) -> None:
    found = [load_function(f"goals.py:{name}") for name in ("calm", "busy")]
    for function in found:
        assert isinstance(function, FunctionType)
        assert getattr(sys.modules[function.__module__], function.__name__) is function
