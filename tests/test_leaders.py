"""The best configurations side by side: which they are, what is left of each a step away, and which is recommended."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.config import OptimizationConfig
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.leaders import LEADERS, Leader, Leaders, Survey, sharpe_between, survey
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.optimizer.plateau import KEEPS
from barwise.optimizer.space import Space
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-03-31")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "ledger.sqlite"


@pytest.fixture(scope="module")
def result(candles: Candles, storage: Path) -> OptimizationResult:
    return search(candles, storage, num_trials=120)


def search(candles: Candles, storage: Path, **settings: Any) -> OptimizationResult:
    config = OptimizationConfig(**({"optuna_sampler": "AUTO", "storage": str(storage), "workers": 1} | settings))
    return optimize(candles, EmaRsiAtr(), 0.1, config=config, check_lookahead=False)


def top_of(result: OptimizationResult) -> Leaders:
    assert result.top is not None
    return result.top


def strategy_of(result: OptimizationResult, row: Leader) -> Strategy:
    return result.baseline.strategy.replace(**row.parameters)


def leader(rank: int, kept: float | None, *, chosen: bool = False) -> Leader:
    return Leader(
        rank, "7.1", rank, chosen, {"ema_fast": 10 + rank}, (3.0 / rank,), 9, 1.0, 2.0, kept, (0.1, None, -1.0)
    )


def test_they_are_the_best_different_results_of_all_stages_best_first(result: OptimizationResult) -> None:
    top = top_of(result)
    results: dict[bytes, float] = {}
    for stage in result.stages:
        trials = stage.trials
        for row in range(len(trials)):
            if trials.complete[row] and trials.violation[row] == 0.0 and trials.summaries["trades"][row] > 0:
                results[trials.summaries[row].tobytes()] = float(trials.reported[row, 0])
    assert len(results) > LEADERS
    assert [row.reported[0] for row in top.rows] == sorted(results.values(), reverse=True)[:LEADERS]
    assert [row.rank for row in top.rows] == list(range(1, LEADERS + 1))


def test_each_row_is_what_the_plain_backtest_of_its_parameters_says(result: OptimizationResult) -> None:
    for row in top_of(result).rows[::4]:
        plain = backtest(result.candles, strategy_of(result, row), 0.1, check_lookahead=False)
        assert row.reported == (plain.sharpe_ratio,)
        assert (row.trades, row.net_pnl) == (plain.total_trades, plain.net_pnl)
        assert row.max_drawdown == pytest.approx(plain.max_drawdown, rel=1e-12)
        returns = plain.equity_curve / np.concatenate([[plain.initial_capital], plain.equity_curve[:-1]]) - 1.0
        first, bars = result.baseline.trade_from, len(result.candles)
        whole = np.zeros(bars)
        whole[plain.trade_from :] = returns
        edges = [first + round(at * (bars - first) / 3) for at in range(4)]
        for value, begin, end in zip(row.thirds, edges[:-1], edges[1:], strict=True):
            part = whole[max(begin, plain.trade_from) : end]
            assert value == pytest.approx(part.mean() / part.std(ddof=1) * math.sqrt(365 * 24), rel=1e-9)


def test_the_choice_is_marked_and_is_there_whatever_its_rank(candles: Candles, tmp_path: Path) -> None:
    found = search(candles, tmp_path / "ledger.sqlite", num_trials=120, choose="robust")
    [chosen] = [row for row in top_of(found).rows if row.chosen]
    assert strategy_of(found, chosen) == found.strategy
    assert chosen.reported[0] == found.best.sharpe_ratio
    assert chosen.rank > 1


def test_kept_is_the_share_of_single_steps_that_a_sweep_finds_as_good(result: OptimizationResult) -> None:
    row = top_of(result).rows[3]
    space = Space(result.strategy, "joint", width=0.15)
    base = strategy_of(result, row)
    good = neighbours = 0
    for dimension in space.dimensions:
        for sign in (-1.0, 1.0):
            value = round(float(getattr(base, dimension.name)) + sign * dimension.step, 10)
            moved = int(value) if dimension.integer else value
            sweeper = Sweeper(result.candles, base.replace(**{dimension.name: moved}), 0.1, check_lookahead=False)
            found = sweeper.sweep({dimension.name: np.array([moved])}).metrics
            neighbours += 1
            good += bool(found["sharpe_ratio"][0] >= KEEPS * row.reported[0] and found["total_trades"][0] >= 5)
    assert row.kept == good / neighbours


def test_all_that_was_run_around_them_is_on_record_and_counted(
    result: OptimizationResult, candles: Candles, storage: Path
) -> None:
    tried = {
        tuple(getattr(stage.space.configured(point), name) for name in EmaRsiAtr.model_fields)
        for stage in result.stages
        for point in stage.trials.points
    }
    assert result.plateau is not None
    assert len(result.plateau.points) < result.neighbours <= len(result.plateau.points) + 32 * LEADERS
    with Ledger(storage) as ledger:
        recorded = ledger.trials(DataSet.of(candles))
    # Neighbours of the best are often trials themselves, and count once.
    assert max(len(tried), result.neighbours) < result.n_trials == recorded <= len(tried) + result.neighbours


def test_the_same_search_again_finds_the_same_rows_and_records_nothing_new(
    result: OptimizationResult, candles: Candles, storage: Path
) -> None:
    again = search(candles, storage, num_trials=120)
    assert top_of(again).rows == top_of(result).rows
    assert again.n_trials == result.n_trials


def looked_at(
    result: OptimizationResult, around: Callable[[Space, FloatArray], FloatArray], *, steps: bool = True
) -> tuple[Survey, list[int]]:
    """A survey in which neighbours have made-up values; and how many it asks for at a time."""
    space = Space(result.strategy, "joint", width=0.15)
    asked: list[int] = []

    def evaluate(space: Space, points: FloatArray) -> FloatArray:
        asked.append(len(points))
        return around(space, points)

    def plain(strategy: Strategy) -> BacktestResult:
        return backtest(result.candles, strategy, 0.1, check_lookahead=False)

    return survey(result.stages, space, evaluate, plain, steps=steps), asked


def nowhere(_: Space, points: FloatArray) -> FloatArray:
    return np.zeros(len(points))


def everywhere(_: Space, points: FloatArray) -> FloatArray:
    return np.full(len(points), 1e9)


def test_a_peak_names_the_most_robust_of_the_others_and_stays_the_choice(result: OptimizationResult) -> None:
    sturdy = top_of(result).rows[6]

    def around_it(space: Space, points: FloatArray) -> FloatArray:
        own = np.array([sturdy.parameters[name] for name in space.names], dtype=np.float64)
        values: FloatArray = np.where((np.abs(points - own) > 1e-9).sum(axis=1) <= 1, 1e9, 0.0)
        return values

    found, asked = looked_at(result, around_it)
    assert found.plateau.kept is not None
    assert found.plateau.kept < 0.5
    best = found.leaders.sturdiest
    assert best is not None
    assert (best.rank, best.kept) == (7, 1.0)
    assert found.note.startswith("the result is a peak: only ")
    assert "Recommended instead is rank 7 of the best 20" in found.note
    assert "100 % of its single steps keep it" in found.note
    assert [row.rank for row in found.leaders.rows if row.chosen] == [1]
    assert len(asked) == 2  # the neighbourhood of the choice, and one sweep for all of them


def test_where_nothing_is_more_robust_the_note_says_so(result: OptimizationResult) -> None:
    assert looked_at(result, nowhere)[0].note.endswith("None of the best 20 is more robust.")


def test_a_plateau_needs_no_note(result: OptimizationResult) -> None:
    found, _ = looked_at(result, everywhere)
    assert (found.plateau.kept, found.note) == (1.0, "")


def test_the_note_is_among_those_of_the_result(result: OptimizationResult) -> None:
    assert result.plateau is not None
    assert result.plateau.kept is not None
    assert result.plateau.kept < 0.5
    [note] = [note for note in result.notes if note.startswith("the result is a peak")]
    sturdiest = top_of(result).sturdiest
    assert sturdiest is not None
    assert f"rank {sturdiest.rank} of" in note


def test_steps_that_would_cost_a_backtest_each_are_not_run(result: OptimizationResult) -> None:
    found, asked = looked_at(result, nowhere, steps=False)
    assert {row.kept for row in found.leaders.rows} == {None}
    assert found.leaders.sturdiest is None
    assert found.note == ""
    assert sum(asked) == found.neighbours == len(found.plateau.points)


def test_of_equally_robust_rows_the_better_one_is_the_sturdiest() -> None:
    rows = (leader(1, 0.4, chosen=True), leader(2, 0.9), leader(3, 0.9), leader(4, None))
    assert Leaders(("sharpe_ratio",), rows).sturdiest == rows[1]


def test_the_frame_has_a_line_for_each_row_and_no_name_twice() -> None:
    rows = (replace(leader(1, 0.4), parameters={"trades": 3, "ema_fast": 9}), leader(2, None))
    frame = Leaders(("sharpe_ratio",), rows).frame()
    assert frame.height == 2
    assert frame["parameter_trades"].to_list() == [3, None]
    assert frame["trades"].to_list() == [9, 9]
    assert frame["sharpe_third_2"].to_list() == [None, None]
    assert frame["ema_fast"].to_list() == [9, 12]


def test_a_third_in_which_nothing_is_traded_has_no_sharpe_ratio(candles: Candles) -> None:
    idle = backtest(candles, EmaRsiAtr(), 0.1, check_lookahead=False)
    entry = int(np.flatnonzero(np.diff(idle.equity_curve))[0]) + idle.trade_from
    values = sharpe_between(idle, [idle.trade_from, entry - 2, len(candles)])
    assert values[0] is None
    assert values[1] is not None


def test_who_pressed_ctrl_c_has_no_leaders(candles: Candles, tmp_path: Path) -> None:
    def impatient(_: object) -> None:
        raise KeyboardInterrupt

    config = OptimizationConfig(optuna_sampler="RANDOM", num_trials=200, storage=str(tmp_path / "l.sqlite"))
    found = optimize(candles, EmaRsiAtr(), 0.1, config=config, check_lookahead=False, on_progress=impatient)
    assert found.interrupted
    assert found.top is None
    assert found.neighbours == 0
