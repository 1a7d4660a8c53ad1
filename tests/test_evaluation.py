"""What an evaluation costs, what it decides at each rung, and that its record is what was run and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.backends import open_backend
from barwise.config import ExecutionConfig, Float, Int
from barwise.core.layout import Bars, FloatArray
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError
from barwise.optimizer.evaluation import Evaluator
from barwise.optimizer.identity import context_of, source_digest
from barwise.optimizer.ledger import Context, DataSet, Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.space import Space
from barwise.optimizer.trials import Trials
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema
from barwise.sweeping import Sweeper
from tests.conftest import REPOSITORY

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
THIRDS = (1 / 3, 2 / 3, 1.0)
FIRST, BARS = 100, 1000
STOPS = (400, 700, 1000)  # 100 + 900 times 1/3, 2/3, 1
ORIGIN = Origin("20250401T120000-ab12", "7.1", "TPE", 7, "sharpe_ratio")
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
FIELDS = ("points", "reported", "values", "violation", "steps", "complete", "sharpe", "summaries")


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 1))[:BARS]


@pytest.fixture(scope="module")
def sweeper(candles: Candles) -> Sweeper:
    return Sweeper(candles, BASE, 0.1, execution=COSTS, trade_from=FIRST, workers=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def evaluator_of(sweeper: Sweeper, ledger: Ledger | None, objective: Any = None, **settings: Any) -> Evaluator:
    chosen = {"levels": THIRDS, "batch_size": 8192, **settings}
    return Evaluator(sweeper, objective or Objective.of("sharpe"), ledger=ledger, **chosen)


def evaluator_context(sweeper: Sweeper) -> Context:
    """Under what name these evaluations are on record."""
    return context_of(
        sweeper.candles, sweeper.strategy, sweeper.execution, sweeper.fees, sweeper.quantity, sweeper.detail,
        sweeper.funding, sweeper.trade_from,
    )  # fmt: skip


def space_of(strategy: Strategy = BASE, stage: Any = "7.1") -> Space:
    return Space(strategy, stage, width=0.15, wide=True)


def random_points(space: Space, count: int, seed: int = 0) -> FloatArray:
    return space.valid(space.from_unit(np.random.default_rng(seed).random((count, len(space.names)))))


def assert_equal_trials(one: Trials, other: Trials) -> None:
    for name in FIELDS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def on_prefix(candles: Candles, strategy: Strategy, stop: int) -> BacktestResult:
    """A fresh single run on the bars up to a rung."""
    return backtest(candles[:stop], strategy, 0.1, execution=COSTS, trade_from=FIRST, check_lookahead=False)


# Bars and rungs, by hand.


def test_a_batch_of_eight_costs_what_halving_costs_by_hand(sweeper: Sweeper, ledger: Ledger) -> None:
    evaluator = evaluator_of(sweeper, ledger)
    trials = evaluator.evaluate(space_of(), random_points(space_of(), 8), ORIGIN)
    assert evaluator.first_bar == FIRST
    # 300 bars for all eight, 300 more for the better four, 300 more for the better two of them.
    assert evaluator.bars_simulated == 8 * 300 + 4 * 300 + 2 * 300 == 4200
    assert sorted(trials.bars.tolist()) == [300] * 4 + [600] * 2 + [900] * 2
    assert evaluator.full_bars(8) == 8 * 900
    assert trials.complete.sum() == 2
    assert (trials.bars[trials.complete] == 900).all()
    reached = np.isfinite(trials.steps).sum(axis=1)
    assert (300 * reached == trials.bars).all()


@pytest.mark.parametrize("metric", ["sharpe_ratio", "net_pnl", "max_drawdown"])
def test_survivors_are_the_better_half_by_fresh_runs_on_the_bars_of_the_rung(
    candles: Candles, sweeper: Sweeper, ledger: Ledger, metric: str
) -> None:
    space, points = space_of(), random_points(space_of(), 25, seed=3)
    objective = Objective.of(metric, min_trades=12)
    trials = evaluator_of(sweeper, ledger, objective).evaluate(space, points, ORIGIN)
    alive = list(range(25))
    sign = -1.0 if metric == "max_drawdown" else 1.0
    for rung, stop in enumerate(STOPS):
        ranks = {}
        for row in alive:
            alone = on_prefix(candles, space.configured(points[row]), stop)
            value = sign * alone.metrics[metric]
            needed = 12 * (rung + 1) / 3
            missing = max(0.0, needed - alone.total_trades) / needed
            ranks[row] = (missing + (1e6 if alone.total_trades == 0 else 0.0), -value, row)
            assert trials.steps[row, rung] == value
        gone = set(range(25)) - set(alive)
        assert np.isnan(trials.steps[sorted(gone), rung]).all()
        if rung < 2:
            alive = sorted(sorted(alive, key=ranks.__getitem__)[: -(-len(alive) // 2)])
    assert np.flatnonzero(trials.complete).tolist() == alive
    assert len(alive) == 7  # 25, 13, 7


def test_every_trial_shows_the_summary_of_a_single_run_at_its_last_rung(
    candles: Candles, sweeper: Sweeper, ledger: Ledger
) -> None:
    space = space_of(stage="joint")
    points = random_points(space, 40, seed=4)
    trials = evaluator_of(sweeper, ledger).evaluate(space, points, ORIGIN)
    for row in range(40):
        rung = int(np.isfinite(trials.steps[row]).sum()) - 1
        alone = on_prefix(candles, space.configured(points[row]), STOPS[rung])
        assert alone.summary.tobytes() == trials.summaries[row : row + 1].tobytes()
        assert trials.reported[row, 0] == trials.sharpe[row] == alone.sharpe_ratio
        assert trials.complete[row] == (rung == 2)


def test_fewer_than_four_points_are_not_halved(sweeper: Sweeper, ledger: Ledger) -> None:
    evaluator = evaluator_of(sweeper, ledger)
    trials = evaluator.evaluate(space_of(), random_points(space_of(), 3), ORIGIN)
    assert trials.complete.all()
    assert evaluator.bars_simulated == 3 * 900
    # The last column belongs to the last rung whatever was skipped.
    assert np.isnan(trials.steps[:, :2]).all()
    assert (trials.steps[:, 2] == trials.values[:, 0]).all()


def test_halving_can_be_switched_off_for_a_batch(sweeper: Sweeper, ledger: Ledger) -> None:
    evaluator = evaluator_of(sweeper, ledger)
    trials = evaluator.evaluate(space_of(), random_points(space_of(), 20), ORIGIN, halve=False)
    assert trials.complete.all()
    assert evaluator.bars_simulated == 20 * 900


@pytest.mark.parametrize("objective", [Objective.of(("sharpe", "drawdown")), Objective.of(len)], ids=["two", "own"])
def test_several_objectives_and_functions_see_all_bars(sweeper: Sweeper, objective: Objective) -> None:
    assert evaluator_of(sweeper, None, objective).levels == (1.0,)


# What starts late.


class LateStart(Strategy):
    """Trades a crossing, from bar `late` on."""

    late: int = Int(50, low=2, high=2000)

    def plan(self, bars: Bars) -> Plan:
        fast, slow = ema(bars.close, 3), ema(bars.close, 10)
        wait = np.full(bars.close.size, np.nan)
        wait[self.late :] = 0.0
        return Plan.of(fast > slow, entry_short=fast < slow, needs=[slow, wait])


def test_a_row_that_starts_too_late_for_a_rung_passes_it_unjudged_and_costs_the_bars_it_was_run(
    candles: Candles, tmp_path: Path
) -> None:
    sweeper = Sweeper(candles, LateStart(), 0.1, execution=COSTS, workers=1)
    space = Space(LateStart(), "7.1", width=0.1, ranges={"late": (2.0, 900.0)})
    points = np.array([[20.0], [30.0], [40.0], [50.0], [330.0], [390.0], [800.0]])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        evaluator = evaluator_of(sweeper, ledger)
        assert evaluator.first_bar == 50
        # Rungs at 50 + 950 times 1/3, 2/3: 367 and 683. A row needs 50 bars before a rung to be judged there.
        trials = evaluator.evaluate(space, points, ORIGIN)
        again = evaluator.evaluate(space, points, ORIGIN)
    judged = np.isfinite(trials.steps)
    assert judged[:4, 0].all()
    assert not judged[4:, 0].any()
    assert judged[5, 1]
    assert not judged[6, 1]
    # The better two of the first four pass the first rung, the three late ones pass it unseen. Of the four that the
    # second rung judges two pass, and the last row passes it unseen.
    assert judged[:, 1].sum() == 4
    assert judged[:, 2].sum() == trials.complete.sum() == 3
    assert trials.complete[6]
    for row, start in enumerate(points[:, 0].astype(int).tolist()):
        last = (367, 683, 1000)[int(np.flatnonzero(judged[row])[-1])]
        assert trials.bars[row] == last - start, row
    assert_equal_trials(trials, again)
    assert (again.bars == 0).all()


# Duplicates and the record.


def test_equal_points_are_run_once_within_a_batch_and_across_batches_and_stages(
    sweeper: Sweeper, ledger: Ledger
) -> None:
    evaluator, space = evaluator_of(sweeper, ledger), space_of()
    points = random_points(space, 8)
    once = evaluator.evaluate(space, points, ORIGIN)
    repeated = np.repeat(points, 3, axis=0)
    other = evaluator_of(sweeper, None)
    thrice = other.evaluate(space, repeated, ORIGIN)
    assert other.bars_simulated == evaluator.bars_simulated
    assert_equal_trials(thrice.taken(np.arange(0, 24, 3)), once)
    assert_equal_trials(thrice.taken(np.arange(2, 24, 3)), once)
    assert thrice.bars.reshape(8, 3)[:, 1:].sum() == 0

    bars = evaluator.bars_simulated
    again = evaluator.evaluate(space, points, ORIGIN)
    assert evaluator.bars_simulated == bars
    assert_equal_trials(again, once)
    # The same configurations as points of another stage, around the best of the first.
    best = space.configured(points[once.best])
    joint = space_of(best, "joint")
    trials = evaluator.evaluate(joint, joint.base[None], Origin("other", "joint", "TPE", 7, "sharpe_ratio"))
    assert evaluator.bars_simulated == bars
    assert trials.summaries[0].tobytes() == once.summaries[once.best].tobytes()
    assert ledger.trials(DataSet.of(sweeper.candles)) == 8


def test_another_evaluator_answers_from_the_record_without_a_bar(sweeper: Sweeper, tmp_path: Path) -> None:
    space, points = space_of(), random_points(space_of(), 30, seed=5)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = evaluator_of(sweeper, ledger).evaluate(space, points, ORIGIN)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        later = evaluator_of(sweeper, ledger)
        again = later.evaluate(space, points, ORIGIN)
        assert later.bars_simulated == 0
        assert_equal_trials(first, again)
        # A trial that was given up is taken further when there is reason to, and then from its first bar.
        pruned = np.flatnonzero(~first.complete)[:3]
        whole = later.evaluate(space, points[pruned], ORIGIN)
        assert whole.complete.all()
        assert later.bars_simulated == 3 * 900
        assert ledger.trials(DataSet.of(sweeper.candles)) == len(np.unique(points, axis=0))


def test_the_record_holds_every_evaluation_as_it_was_and_nothing_else(
    candles: Candles, sweeper: Sweeper, ledger: Ledger
) -> None:
    space = space_of(stage="joint")
    points = random_points(space, 21, seed=6)
    evaluator = evaluator_of(sweeper, ledger)
    trials = evaluator.evaluate(space, points, ORIGIN)
    frame = ledger.frame()
    assert frame.height == 21 + 11 + 6
    recorded = {(entry["parameters"], entry["stop_bar"]) for entry in frame.iter_rows(named=True)}
    assert len(recorded) == frame.height
    expected = set()
    for row in range(21):
        for rung in range(int(np.isfinite(trials.steps[row]).sum())):
            expected.add((json.dumps(space.configured(points[row]).to_dict(), sort_keys=True), STOPS[rung]))
    assert {(json.dumps(json.loads(text), sort_keys=True), stop) for text, stop in recorded} == expected
    for entry in frame.iter_rows(named=True):
        alone = on_prefix(candles, EmaRsiAtr(**json.loads(entry["parameters"])), entry["stop_bar"])
        assert entry["first_bar"] == FIRST
        assert entry["trades"] == alone.total_trades
        assert entry["net_pnl"] == alone.net_pnl
        assert entry["max_drawdown"] == alone.max_drawdown
        assert entry["sharpe_ratio"] == entry["score"] == alone.sharpe_ratio
    known = ledger.known(evaluator_context(sweeper))
    assert len(known) == frame.height
    keys = [bytes.fromhex(key) for key in frame["key"]]
    found, first, summaries = known.get(keys, np.array(frame["stop_bar"]))
    assert found.all()
    assert (first == FIRST).all()
    for at, entry in enumerate(frame.iter_rows(named=True)):
        alone = on_prefix(candles, EmaRsiAtr(**json.loads(entry["parameters"])), entry["stop_bar"])
        assert summaries[at : at + 1].tobytes() == alone.summary.tobytes()


def test_without_a_ledger_nothing_is_recorded_and_all_is_the_same(sweeper: Sweeper, ledger: Ledger) -> None:
    space, points = space_of(), random_points(space_of(), 12)
    with_record, without = evaluator_of(sweeper, ledger), evaluator_of(sweeper, None)
    assert_equal_trials(with_record.evaluate(space, points, ORIGIN), without.evaluate(space, points, ORIGIN))
    without.evaluate(space, points, ORIGIN)
    assert without.bars_simulated == 2 * with_record.bars_simulated


def test_a_record_is_used_for_its_own_candles_rules_costs_and_quantity_only(candles: Candles, ledger: Ledger) -> None:
    space, points = space_of(), random_points(space_of(), 4)
    bars = []
    for data, quantity, execution, strategy in (
        (candles, 0.1, COSTS, BASE),
        (candles, 0.1, COSTS, BASE),
        (candles, 0.2, COSTS, BASE),
        (candles, 0.1, COSTS.replace(taker_fee=0.0006), BASE),
        (candles[1:], 0.1, COSTS, BASE),
    ):
        one = Sweeper(data, strategy, quantity, execution=execution, workers=1)
        evaluator = evaluator_of(one, ledger)
        evaluator.evaluate(space, points, ORIGIN)
        bars.append(evaluator.bars_simulated)
    assert bars[0] > 0
    assert bars[1] == 0
    assert min(bars[2:]) > 0


# The objective is a function.


def test_a_function_of_the_result_is_asked_of_each_row_and_recorded(sweeper: Sweeper, ledger: Ledger) -> None:
    def pnl_per_trade(result: BacktestResult) -> float:
        return result.net_pnl / max(1, result.total_trades)

    space, points = space_of(), random_points(space_of(), 6)
    evaluator = evaluator_of(sweeper, ledger, Objective.of(pnl_per_trade))
    trials = evaluator.evaluate(space, points, ORIGIN)
    for row in range(6):
        alone = on_prefix(sweeper.candles, space.configured(points[row]), BARS)
        assert trials.reported[row, 0] == alone.net_pnl / max(1, alone.total_trades)
        assert trials.summaries[row : row + 1].tobytes() == alone.summary.tobytes()
    assert sorted(ledger.frame()["score"]) == sorted(trials.reported[:, 0].tolist())
    again = evaluator.evaluate(space, points, ORIGIN)
    assert again.reported.tobytes() == trials.reported.tobytes()
    assert ledger.frame().height == 6


def test_a_function_that_fails_leaves_nothing_of_its_batch_on_record(sweeper: Sweeper, ledger: Ledger) -> None:
    def fails(result: BacktestResult) -> float:
        raise ZeroDivisionError("by me")

    evaluator = evaluator_of(sweeper, ledger, Objective.of(fails))
    with pytest.raises(BacktestError, match=r"the objective fails failed for .*ZeroDivisionError: by me"):
        evaluator.evaluate(space_of(), random_points(space_of(), 5), ORIGIN)
    assert ledger.frame().height == 0


# Nothing depends on how the work is cut.


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_the_size_of_a_batch_changes_nothing(sweeper: Sweeper, batch_size: int) -> None:
    space = space_of(stage="joint")
    points = random_points(space, 23, seed=8)
    whole, cut = evaluator_of(sweeper, None), evaluator_of(sweeper, None, batch_size=batch_size)
    one, other = whole.evaluate(space, points, ORIGIN), cut.evaluate(space, points, ORIGIN)
    assert_equal_trials(one, other)
    assert one.bars.tolist() == other.bars.tolist()


def test_late_rows_cost_the_same_bars_however_a_batch_is_cut(candles: Candles) -> None:
    sweeper = Sweeper(candles, LateStart(), 0.1, execution=COSTS, workers=1)
    space = Space(LateStart(), "7.1", width=0.1, ranges={"late": (2.0, 900.0)})
    points = np.array([[20.0], [360.0], [40.0], [50.0], [366.0], [60.0], [800.0]])
    evaluators = [evaluator_of(sweeper, None, batch_size=size) for size in (1, 2, 100)]
    trials = [evaluator.evaluate(space, points, ORIGIN) for evaluator in evaluators]
    for other in trials[1:]:
        assert_equal_trials(trials[0], other)
        assert trials[0].bars.tolist() == other.bars.tolist()


def test_processes_give_the_trials_of_threads(candles: Candles) -> None:
    space = space_of(stage="joint")
    points = random_points(space, 23, seed=9)
    backend = open_backend("processes", 2, None)
    try:
        there = Sweeper(candles, BASE, 0.1, execution=COSTS, workers=2, backend=backend)
        here = Sweeper(candles, BASE, 0.1, execution=COSTS, workers=2)
        one, other = (evaluator_of(sweeper, None).evaluate(space, points, ORIGIN) for sweeper in (there, here))
    finally:
        backend.close()
    assert_equal_trials(one, other)
    assert one.bars.tolist() == other.bars.tolist()


def test_processes_that_know_a_part_of_the_answers_give_the_trials_of_threads(candles: Candles, tmp_path: Path) -> None:
    """Calmar ratios are annualised with the bars since a row's own start, which a worker of another process finds."""
    space, objective = space_of(), Objective.of("calmar")
    points = random_points(space, 16, seed=10)
    backend = open_backend("processes", 2, None)
    trials = []
    try:
        for name, own in (("threads", None), ("processes", backend)):
            sweeper = Sweeper(candles, BASE, 0.1, execution=COSTS, workers=2, backend=own)
            with Ledger(tmp_path / f"{name}.sqlite") as ledger:
                evaluator = evaluator_of(sweeper, ledger, objective)
                evaluator.evaluate(space, points[::2], ORIGIN, halve=False)
                trials.append(evaluator.evaluate(space, points, ORIGIN, halve=False))
    finally:
        backend.close()
    assert_equal_trials(*trials)
    for row in range(16):
        alone = backtest(candles, space.configured(points[row]), 0.1, execution=COSTS, check_lookahead=False)
        assert trials[1].reported[row, 0] == alone.metrics["calmar_ratio"]


# Strategies are told apart by their source.


class Twice(Strategy):
    period: int = Int(5, low=2, high=50)
    level: float = Float(0.5, low=0.0)


def test_a_strategy_without_a_file_is_told_apart_by_what_it_does() -> None:
    text = "def plan(self, bars):\n    return Plan.of(bars.close > {threshold})\n"

    def made(threshold: float) -> type[Strategy]:
        names: dict[str, Any] = {"Plan": Plan, "__name__": "__main__"}
        exec(text.format(threshold=threshold), names)  # as in an interactive session
        return type("Typed", (Strategy,), {"__module__": "__main__", "plan": names["plan"]})

    one, again, other = made(1.0), made(1.0), made(2.0)
    assert source_digest(one) == source_digest(again)
    assert source_digest(one) != source_digest(other)


def test_a_strategy_is_told_apart_by_what_it_inherits_and_by_what_it_was_made_with() -> None:
    def made(threshold: float) -> type[Strategy]:
        class Inside(Twice):
            def plan(self, bars: Bars) -> Plan:
                return Plan.of(bars.close > threshold)

        return Inside

    assert source_digest(made(1.0)) == source_digest(made(1.0))
    assert source_digest(made(1.0)) != source_digest(made(2.0))
    assert source_digest(made(1.0)) != source_digest(Twice)


def test_a_strategy_has_the_same_name_on_record_in_every_process() -> None:
    """Where sets of texts, functions and arrays are among its constants, too."""
    script = """
import numpy
from barwise.strategy.base import Plan, Strategy
from barwise.optimizer.identity import source_digest
days = numpy.arange(3.0)
def helper(bars): return bars.close > 3.0
class Mine(Strategy):
    label = 'mine'
    def plan(self, bars):
        if self.label in {'mine', 'yours', 'theirs'}: return Plan.of(helper(bars))
        return [(lambda: day)() for day in days]
print(source_digest(Mine))
"""
    changes = (("", ""), ("> 3.0", "> 4.0"), ("'theirs'", "'ours'"), ("arange(3.0)", "arange(4.0)"))
    scripts = [script.replace(*change) if change[0] else script for change in changes]
    typed = f"for text in {scripts!r}: exec(text, {{'__name__': '__main__'}})"

    def digests(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", typed]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    found = digests("1")
    assert found == digests("2")
    assert len(set(found)) == 4
    assert {len(digest) for digest in found} == {64}
