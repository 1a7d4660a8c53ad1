"""The optimizer keeps its promises: stages, boxes, guards, figures to the bit, and the same answer twice."""

import json
import math
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from barwise.config import ExecutionConfig, Float, Int, OptimizationConfig
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError, ConfigError, DataError
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult, optimize
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.optimizer.plateau import neighbourhood
from barwise.optimizer.search import Progress
from barwise.optimizer.space import Space
from barwise.optimizer.trials import StageResult
from barwise.result import BacktestResult
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import crossed_above, crossed_below, ema, sma
from tests.postgres import postgres_server

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
INTEGERS = {"ema_fast", "ema_slow", "ema_trend", "rsi_period", "atr_period"}
REALS = {
    "rsi_long_threshold", "rsi_short_threshold", "atr_sl_multiplier", "atr_tp_multiplier", "trailing_sl_threshold",
    "trailing_tp_threshold", "trailing_tp_atr_multiplier",
}  # fmt: skip
TIMEOUTS = {f"hybrid_tier{tier}_timeout" for tier in (1, 2, 3, 4)}
SEARCHED = {"7.1": INTEGERS, "7.2": REALS, "7.3": TIMEOUTS, "joint": INTEGERS | REALS | TIMEOUTS}
SAMPLERS = ("AUTO", "TPE", "CMA-ES", "QMC", "RANDOM", "GRID", "NSGA-II", "NSGA-III")
# Few trials over few bars; they are halved all the same, although the trades of a third of the bars are few.
PLAIN: dict[str, Any] = {"num_trials": 40, "workers": 1, "min_rung_trades": 0}
# What a trial is; what it cost depends on what was on record already.
FIELDS = ("points", "reported", "values", "violation", "steps", "complete", "sharpe", "summaries", "batch")


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 15))


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


def search(
    candles: Candles, storage: str, *, strategy: Strategy = BASE, joint: bool = False, on_progress: Any = None,
    **settings: Any,
) -> OptimizationResult:  # fmt: skip
    config = OptimizationConfig(**{**PLAIN, "storage": storage, **settings})
    return optimize(
        candles, strategy, 0.1, config=config, joint=joint, execution=COSTS, check_lookahead=False,
        on_progress=on_progress,
    )  # fmt: skip


def engine_of(candles: Candles, storage: str, strategy: Strategy = BASE, **settings: Any) -> OptimizationEngine:
    config = OptimizationConfig(**{**PLAIN, "storage": storage, **settings})
    return OptimizationEngine(candles, strategy, 0.1, opt_config=config, execution=COSTS, check_lookahead=False)


def plain(candles: Candles, strategy: Strategy) -> BacktestResult:
    return backtest(candles, strategy, 0.1, execution=COSTS, check_lookahead=False)


def assert_equal_trials(one: OptimizationResult, other: OptimizationResult) -> None:
    assert len(one.stages) == len(other.stages)
    for mine, theirs in zip(one.stages, other.stages, strict=True):
        for name in FIELDS:
            assert getattr(mine.trials, name).tobytes() == getattr(theirs.trials, name).tobytes(), (mine.stage, name)
        assert mine.chosen == theirs.chosen
        assert mine.config == theirs.config
    assert one.best_params == other.best_params


def bars_of(result: OptimizationResult) -> int:
    return sum(int(stage.trials.bars.sum()) for stage in result.stages)


# Stages.


def test_each_stage_searches_its_own_parameters_and_starts_from_the_best_before(candles: Candles, storage: str) -> None:
    with engine_of(candles, storage) as engine:
        assert engine.get_final_config() == BASE
        stages = [engine.optimize_stage_7_1(), engine.optimize_stage_7_2(), engine.optimize_stage_7_3()]
        final = engine.get_final_config()
    start: Strategy = BASE
    for stage in stages:
        assert set(stage.space.names) == SEARCHED[stage.stage]
        assert stage.space.strategy == start
        assert stage.space.configured(stage.trials.points[0]) == start
        changed = {name for name in EmaRsiAtr.model_fields if getattr(stage.config, name) != getattr(start, name)}
        assert changed <= SEARCHED[stage.stage]
        assert stage.best_value >= stage.base_value == plain(candles, start).sharpe_ratio
        start = stage.config
    assert final == start


def test_a_joint_search_searches_all_of_them_at_once(candles: Candles, storage: str) -> None:
    found = search(candles, storage, joint=True)
    assert [stage.stage for stage in found.stages] == ["joint"]
    assert set(found.stages[0].space.names) == SEARCHED["joint"]
    moved = (found.stages[0].trials.points != found.stages[0].space.base).mean(axis=0)
    assert (moved > 0.4).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("market", ["SAMPLE-NOISE", "SAMPLE-ETH"])
def test_a_stage_never_returns_something_worse_than_it_started_from(sampler: str, market: str, tmp_path: Path) -> None:
    data = sample_candles(market, "1H", datetime(2025, 3, 1), datetime(2025, 4, 5))
    for seed in (0, 7):
        settings: dict[str, Any] = {"optuna_sampler": sampler, "seed": seed, "num_trials": 16, "min_trades": 3}
        found = search(data, str(tmp_path / f"{seed}.sqlite"), **settings)
        before = found.baseline.sharpe_ratio
        for stage in found.stages:
            kept = stage.trials.violation[0] == 0.0
            assert stage.base_value == before
            assert stage.best_value >= stage.base_value or not kept
            assert stage.trials.violation[stage.chosen] <= stage.trials.violation[0]
            before = stage.best_value
        assert found.best.sharpe_ratio == before
        assert found.best.strategy == found.strategy == found.stages[-1].config


@pytest.mark.parametrize(("profile", "trials"), [("FAST", 50), ("BALANCED", 150), ("THOROUGH", 300)])
def test_a_profile_sets_the_trials_of_a_stage(candles: Candles, storage: str, profile: str, trials: int) -> None:
    found = search(candles, storage, profile=profile, num_trials=None, optuna_sampler="RANDOM")
    # The base point comes on top; the timeouts get a third, rounded up.
    assert [len(stage.trials) - 1 for stage in found.stages] == [trials, trials, -(-trials // 3)]


@pytest.mark.parametrize(("profile", "share"), [("FAST", 0.10), ("BALANCED", 0.15), ("THOROUGH", 0.25)])
def test_a_profile_sets_the_width_of_the_box(candles: Candles, storage: str, profile: str, share: float) -> None:
    strategy = EmaRsiAtr(ema_fast=10, ema_slow=40, ema_trend=100)
    with engine_of(candles, storage, strategy, profile=profile, num_trials=64, optuna_sampler="RANDOM") as engine:
        whole, real = engine.optimize("7.1"), engine.optimize("7.2")
    boxes = {dimension.name: dimension for dimension in whole.space.dimensions}
    for name, base in (("ema_slow", 40), ("ema_trend", 100)):
        half = math.floor(share * base + 0.5)
        assert (boxes[name].low, boxes[name].high) == (base - half, base + half)
    for stage in (whole, real):
        assert (stage.trials.points >= stage.space.low).all()
        assert (stage.trials.points <= stage.space.high).all()
    stop = next(dimension for dimension in real.space.dimensions if dimension.name == "atr_sl_multiplier")
    assert stop.low == pytest.approx(1.5 * (1 - share), abs=1e-3)
    assert stop.high == pytest.approx(1.5 * (1 + share), abs=1e-3)


def test_auto_makes_ten_times_the_trials_and_stops_when_it_has_tried_all(candles: Candles, storage: str) -> None:
    found = search(candles, storage, profile="FAST", num_trials=None, optuna_sampler="AUTO")
    assert [len(stage.trials) - 1 for stage in found.stages[:2]] == [500, 500]
    # Each timeout may move by one at least: three values each; a tier of timeout 1 has 0, 1, 2.
    assert len(found.stages[2].trials) - 1 == 3**4
    assert found.notes == ("stage 7.3 has tried all there is: 81 trials.",)


class Crossing(Strategy):
    """A user's strategy with one parameter of each kind."""

    period: int = Int(10, low=2, high=40)
    margin: float = Float(0.002, low=0.0, high=0.05)
    offset: int = Int(3, low=0, high=9, stage="")

    def plan(self, bars: Bars) -> Plan:
        line = sma(bars.close, self.period)
        up, down = line * (1.0 + self.margin), line * (1.0 - self.margin)
        return Plan.of(
            crossed_above(bars.close, up), entry_short=crossed_below(bars.close, down), anchor=ema(bars.close, 5)
        )


class OnlyReal(Strategy):
    """Nothing whole to search."""

    margin: float = Float(0.002, low=0.0, high=0.05)

    def plan(self, bars: Bars) -> Plan:
        line = ema(bars.close, 8)
        return Plan.of(bars.close > line * (1.0 + self.margin), entry_short=bars.close < line * (1.0 - self.margin))


def test_a_users_strategy_is_searched_in_the_stages_of_its_types(candles: Candles, storage: str) -> None:
    found = search(candles, storage, strategy=Crossing())
    first, second, third = (set(stage.space.names) for stage in found.stages)
    assert first == {"period"}
    assert second == {"margin"} | {name for name in REALS if not name.startswith("rsi")}
    assert third == TIMEOUTS
    assert found.strategy.offset == 3  # type: ignore[attr-defined]
    assert found.best.sharpe_ratio == plain(candles, found.strategy).sharpe_ratio


def test_a_stage_without_a_parameter_says_so_and_passes_on_what_it_got(candles: Candles, storage: str) -> None:
    found = search(candles, storage, strategy=OnlyReal())
    first = found.stages[0]
    assert first.notes == ("stage 7.1 has nothing to search: the strategy has no parameter of its kind in use.",)
    assert first.config == OnlyReal()
    assert len(first.trials) == 1
    assert first["num_trials"] == 0
    assert len(found.stages[1].trials) == 41
    assert "margin" in found.stages[1].space.names


def test_switched_off_parts_are_not_searched(candles: Candles, storage: str) -> None:
    strategy = BASE.replace(enable_trend_filter=False, trailing_tp_enabled=False, enable_hybrid_tier2=False)
    found = search(candles, storage, strategy=strategy, num_trials=8)
    assert set(found.stages[0].space.names) == INTEGERS - {"ema_trend"}
    assert set(found.stages[1].space.names) == REALS - {"trailing_tp_threshold", "trailing_tp_atr_multiplier"}
    assert set(found.stages[2].space.names) == TIMEOUTS - {"hybrid_tier2_timeout"}


def test_timeouts_are_never_halved_and_neither_is_what_makes_too_few_trades_on_a_rung(
    candles: Candles, tmp_path: Path
) -> None:
    halved = search(candles, str(tmp_path / "halved"))
    assert [stage.pruned > 0 for stage in halved.stages] == [True, True, False]
    trades = plain(candles, BASE).total_trades
    # Of these trades two thirds are enough, one third is not.
    enough = math.floor(0.66 * trades)
    assert 0.33 * trades < enough
    once = search(candles, str(tmp_path / "once"), min_rung_trades=enough)
    assert [stage.levels for stage in once.stages] == [(0.66, 1.0)] * 3
    assert 0 < once.stages[0].pruned < halved.stages[0].pruned
    assert not np.isfinite(once.stages[0].trials.steps).all()
    never = search(candles, str(tmp_path / "never"), min_rung_trades=trades)
    assert [stage.levels for stage in never.stages] == [(1.0,)] * 3
    assert sum(stage.pruned for stage in never.stages) == 0


# Constraints.


@pytest.mark.parametrize("sampler", ["AUTO", "TPE", "GRID", "CMA-ES"])
def test_in_the_widest_box_no_configuration_ever_breaks_the_order_of_the_averages(
    candles: Candles, storage: str, sampler: str
) -> None:
    strategy = EmaRsiAtr(ema_fast=10, ema_slow=14, ema_trend=20, rsi_period=7)
    ranges = {
        "ema_fast": (2, 80), "ema_slow": (2, 80), "ema_trend": (2, 80),
        "rsi_long_threshold": (5, 95), "rsi_short_threshold": (5, 95),
    }  # fmt: skip
    trials = 900 if sampler == "AUTO" else 90
    search(candles, storage, strategy=strategy, ranges=ranges, optuna_sampler=sampler, num_trials=trials, min_trades=0)
    search(candles, storage, strategy=strategy, space="wide", optuna_sampler=sampler, num_trials=trials)
    with Ledger(storage) as ledger:
        texts = ledger.frame()["parameters"].to_list()
    recorded = [json.loads(text) for text in texts]
    assert len(recorded) > 300
    for values in recorded:
        assert 2 <= values["ema_fast"] < values["ema_slow"] < values["ema_trend"] <= 80
        assert values["rsi_long_threshold"] < values["rsi_short_threshold"]
        EmaRsiAtr(**values)  # the strategy takes it back, to the letter
    # The boxes overlap, so that the order was there to be broken: fast averages longer than others' slow ones.
    assert max(values["ema_fast"] for values in recorded) > min(values["ema_slow"] for values in recorded)


def test_a_box_that_needs_more_bars_than_there_are_is_refused_by_name(candles: Candles, storage: str) -> None:
    with pytest.raises(DataError, match=r"the search box reaches to ema_trend 1,200 bars; there are 1,080"):
        search(candles, storage, ranges={"ema_trend": (20, 1200)})


# Figures, to the bit.

METRICS = {
    "sharpe": "sharpe_ratio",
    "sortino": "sortino_ratio",
    "calmar": "calmar_ratio",
    "profit_factor": "profit_factor",
    "net_pnl": "net_pnl",
    "expectancy": "expectancy",
    "sqn": "sqn",
}


def sampled_rows(stage: StageResult) -> list[int]:
    """The five best complete trials and five others, drawn."""
    ranked = stage.trials.ranked
    others = np.random.default_rng(0).permutation(ranked[5:])[:5]
    return [*ranked[:5].tolist(), *others.tolist()]


@pytest.mark.parametrize("objective", METRICS)
def test_what_is_maximised_is_what_a_plain_backtest_reports_to_the_bit(
    candles: Candles, storage: str, objective: str
) -> None:
    metric = METRICS[objective]
    found = search(candles, storage, objective=objective, num_trials=60)
    for stage in found.stages:
        assert stage.objective.names == (metric,)
        for row in sampled_rows(stage):
            alone = plain(candles, stage.space.configured(stage.trials.points[row]))
            reported = alone.metrics[metric]
            assert stage.trials.reported[row, 0] == (0.0 if reported is None else reported)
            assert stage.trials.summaries[row : row + 1].tobytes() == alone.summary.tobytes()
            assert stage.trials.sharpe[row] == alone.sharpe_ratio
        assert stage.best_value == stage.trials.reported[stage.trials.complete][:, 0].max() or (
            stage.trials.violation.max() > 0.0
        )
        assert stage["best_value"] == stage.best_value == plain(candles, stage.config).metrics[metric]
        assert stage["best_sharpe"] == plain(candles, stage.config).sharpe_ratio
    assert found.best.metrics[metric] == found.stages[-1].best_value


def test_a_users_function_is_maximised_and_reported_as_it_answers(candles: Candles, storage: str) -> None:
    def money_for_pain(result: BacktestResult) -> float:
        return result.net_pnl - 300.0 * result.max_drawdown

    found = search(candles, storage, objective=money_for_pain, num_trials=24)
    for stage in found.stages:
        assert stage.objective.label == "money_for_pain"
        assert stage.trials.complete.all()
        for row in sampled_rows(stage):
            alone = plain(candles, stage.space.configured(stage.trials.points[row]))
            assert stage.trials.reported[row, 0] == money_for_pain(alone)
        kept = stage.trials.violation == 0.0
        assert stage.best_value == stage.trials.reported[kept, 0].max()
    assert found.frame()["money_for_pain"].max() == pytest.approx(found.stages[-1].best_value)


def test_a_function_without_a_number_for_anything_ends_with_what_it_started_from_and_says_so(
    candles: Candles, storage: str, home: Path
) -> None:
    def never(result: BacktestResult) -> float:
        return float("nan")

    for sampler in ("TPE", "AUTO", "CMA-ES", "NSGA-II"):
        with engine_of(candles, storage, objective=never, num_trials=20, optuna_sampler=sampler) as engine:
            engine.optimize_stage_7_1()
            found = engine.result()
            files = engine.save_results(home)
        assert found.strategy == BASE
        assert "the objective never gives no finite number" in found.notes[0]
        saved = json.loads(files.json.read_text())
        assert saved["stages"][0]["best_value"] is None
        assert pl.read_csv(files.trials_csv).height == 21


def test_a_function_with_a_number_for_some_finds_the_best_of_them(candles: Candles, storage: str) -> None:
    def only_fast(result: BacktestResult) -> float:
        return result.net_pnl if result.strategy.ema_fast <= 4 else float("nan")  # type: ignore[attr-defined]

    found = search(candles, storage, objective=only_fast, num_trials=40, space="wide").stages[0]
    values = found.trials.reported[:, 0]
    assert np.isnan(values).any()
    assert found.best_params["ema_fast"] <= 4
    assert found.best_value == np.nanmax(values[found.trials.violation == 0.0])


def test_a_function_that_fails_ends_the_search_with_its_name(candles: Candles, storage: str) -> None:
    def broken(result: BacktestResult) -> float:
        return 1.0 / 0.0 if result.strategy.ema_fast == 6 else 1.0  # type: ignore[attr-defined]

    with pytest.raises(BacktestError, match=r"the objective broken failed for EmaRsiAtr\(.*ZeroDivisionError"):
        search(candles, storage, objective=broken, space="wide")


def test_a_plan_that_is_never_the_same_is_found_out(candles: Candles, storage: str) -> None:
    class Moody(Strategy):
        period: int = Int(10, low=2, high=40)

        def plan(self, bars: Bars) -> Plan:
            return Plan.of(np.random.default_rng().random(bars.close.size) < 0.1)

    with pytest.raises(BacktestError, match=r"the plain backtest of Moody.* differs from the search"):
        search(candles, storage, strategy=Moody())


# Several objectives.


@pytest.mark.parametrize("sampler", ["NSGA-II", "NSGA-III", "TPE", "RANDOM"])
def test_a_pareto_front_is_what_no_trial_dominates(candles: Candles, storage: str, sampler: str) -> None:
    names = ("net_pnl", "max_drawdown", "total_trades")
    found = search(candles, storage, joint=True, objective=names, optuna_sampler=sampler, num_trials=100, min_trades=3)
    stage = found.stages[0]
    gain = stage.trials.reported * [1.0, -1.0, 1.0]
    kept = [row for row in range(len(gain)) if stage.trials.violation[row] == 0.0]
    undominated = {
        tuple(gain[row])
        for row in kept
        if not any((gain[other] >= gain[row]).all() and (gain[other] > gain[row]).any() for other in kept)
    }
    front = [tuple(point[name] for name in names) for point in stage.front()]
    assert {(pnl, -drawdown, trades) for pnl, drawdown, trades in front} == undominated
    assert len(front) == len(undominated) > 1
    assert stage.pruned == 0
    for point in stage.front()[:3]:
        params = {name: value for name, value in point.items() if name not in names}
        alone = plain(candles, BASE.replace(**params))
        assert [alone.metrics[name] for name in names] == [point[name] for name in names]
    # What is chosen is the point of the front that is best in the first objective.
    assert stage.best_value == front[0][0] == max(pnl for pnl, _, _ in front)


def test_a_sampler_for_one_objective_is_refused_for_two(candles: Candles, storage: str) -> None:
    with pytest.raises(ConfigError, match="AUTO searches for one objective; got 2"):
        search(candles, storage, objective=("sharpe", "calmar"), optuna_sampler="AUTO")


# Guards.


def test_a_guard_of_drawdown_is_kept_by_what_is_chosen(candles: Candles, tmp_path: Path) -> None:
    free = search(candles, str(tmp_path / "free.sqlite"), objective="net_pnl", space="wide", optuna_sampler="AUTO")
    limit = 0.8 * free.best.max_drawdown
    held = search(
        candles, str(tmp_path / "held.sqlite"), objective="net_pnl", space="wide", optuna_sampler="AUTO",
        max_drawdown=limit,
    )  # fmt: skip
    assert held.best.max_drawdown <= limit < free.best.max_drawdown
    assert held.notes == free.notes


def test_a_guard_of_trades_is_kept_by_what_is_chosen(candles: Candles, storage: str) -> None:
    base = plain(candles, BASE).total_trades
    found = search(candles, storage, min_trades=base + 2, space="wide", optuna_sampler="AUTO", num_trials=300)
    assert found.best.total_trades >= base + 2
    first = found.stages[0]
    assert first.trials.violation[0] == pytest.approx(2 / (base + 2))
    states = dict(found.frame().filter(pl.col("stage") == "7.1")["state"].value_counts().iter_rows())
    assert states["infeasible"] >= 1


def test_where_nothing_keeps_the_guards_the_nearest_is_returned_and_called_no_result(
    candles: Candles, storage: str
) -> None:
    found = search(candles, storage, min_trades=5000, num_trials=24)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("no trial keeps the guards")
    counts = found.stages[0].trials.summaries["trades"]
    complete = found.stages[0].trials.complete
    assert plain(candles, found.stages[0].config).total_trades == counts[complete].max()
    assert found.stages[0].front() == []


def periods(candles: Candles) -> dict[int, float]:
    """Sharpe ratio of each period by plain backtests; NaN where the five trades of the guard are not made."""
    runs = {period: plain(candles, Crossing(period=period)) for period in range(2, 41)}
    return {period: run.sharpe_ratio if run.total_trades >= 5 else math.nan for period, run in runs.items()}


@pytest.mark.parametrize("seed", range(4))
def test_the_robust_choice_has_the_best_neighbours_of_all_that_are_no_worse_than_the_base(
    candles: Candles, storage: str, seed: int
) -> None:
    sharpe = periods(candles)
    settings: dict[str, Any] = {"ranges": {"period": (2, 40)}, "optuna_sampler": "RANDOM", "num_trials": 20}
    start = Crossing(period=(25, 10, 6, 33)[seed])
    with engine_of(candles, storage, start, choose="robust", seed=seed, **settings) as engine:
        stage = engine.optimize_stage_7_1()
    tried = stage.trials.points[stage.trials.complete, 0].astype(int).tolist()
    least = sharpe[start.period]
    allowed = [period for period in tried if sharpe[period] >= least]
    beside = {period: [sharpe[other] for other in (period - 1, period + 1) if other in sharpe] for period in allowed}
    floor = min(0.0, *(value for values in beside.values() for value in values if not math.isnan(value)))
    mean = {
        period: float(np.mean([floor if math.isnan(value) else value for value in values]))
        for period, values in beside.items()
    }
    assert mean[stage.best_params["period"]] == max(mean.values())
    assert stage.best_value >= stage.base_value


def test_the_robust_choice_stays_at_a_peak_that_nothing_equals(candles: Candles, storage: str) -> None:
    sharpe = periods(candles)
    peak = max(sharpe, key=lambda period: -math.inf if math.isnan(sharpe[period]) else sharpe[period])
    # Beside it there is one that is worse and has better neighbours.
    assert sharpe[peak - 1] + sharpe[peak + 1] < sharpe[peak - 2] + sharpe[peak]
    settings: dict[str, Any] = {"ranges": {"period": (2, 40)}, "optuna_sampler": "AUTO", "multi_fidelity": False}
    with engine_of(candles, storage, Crossing(period=peak), choose="robust", **settings) as engine:
        assert engine.optimize_stage_7_1().best_params == {"period": peak}


# The same answer twice.


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_gives_the_same_trials_and_another_seed_others(candles: Candles, tmp_path: Path, sampler: str) -> None:
    def run(name: str, seed: int) -> OptimizationResult:
        return search(candles, str(tmp_path / name), optuna_sampler=sampler, seed=seed, space="wide", num_trials=24)

    first, again, other = run("a", 1), run("b", 1), run("c", 2)
    assert_equal_trials(first, again)
    assert bars_of(first) == bars_of(again)
    assert first.stages[0].trials.points.tobytes() != other.stages[0].trials.points.tobytes()


@pytest.mark.parametrize("sampler", ["TPE", "AUTO"])
def test_workers_and_batch_sizes_change_nothing(candles: Candles, tmp_path: Path, sampler: str) -> None:
    ways: list[dict[str, Any]] = [{}, {"workers": 2}, {"batch_size": 3}, {"batch_size": 7, "workers": 2}]
    runs = [
        search(candles, str(tmp_path / f"{at}"), optuna_sampler=sampler, num_trials=60, **settings)
        for at, settings in enumerate(ways)
    ]
    for other in runs[1:]:
        assert_equal_trials(runs[0], other)
        assert bars_of(runs[0]) == bars_of(other)
        assert runs[0].n_trials == other.n_trials


def test_processes_change_nothing(candles: Candles, tmp_path: Path) -> None:
    one = search(candles, str(tmp_path / "a"), num_trials=32)
    other = search(candles, str(tmp_path / "b"), num_trials=32, backend="processes", workers=2)
    assert_equal_trials(one, other)
    assert bars_of(one) == bars_of(other)
    assert one.n_trials == other.n_trials


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_is_on_record_is_answered_from_it_without_a_bar(
    candles: Candles, storage: str, sampler: str
) -> None:
    first = search(candles, storage, optuna_sampler=sampler)
    again = search(candles, storage, optuna_sampler=sampler)
    assert_equal_trials(first, again)
    assert bars_of(first) > 0
    assert bars_of(again) == 0
    assert again.n_trials == first.n_trials
    assert again.run != first.run


def test_a_record_of_other_searches_changes_no_trial(candles: Candles, tmp_path: Path) -> None:
    alone = search(candles, str(tmp_path / "alone"))
    shared = str(tmp_path / "shared")
    search(candles, shared, optuna_sampler="AUTO", num_trials=300)
    search(candles, shared, seed=9, multi_fidelity=False, num_trials=60)
    later = search(candles, shared)
    assert_equal_trials(alone, later)
    assert bars_of(later) < bars_of(alone)


def test_a_ledger_in_postgresql_changes_nothing(candles: Candles, tmp_path: Path) -> None:
    with postgres_server() as server:
        where = server.new_database()
        here = search(candles, str(tmp_path / "ledger.sqlite"), optuna_sampler="AUTO", num_trials=150)
        there = search(candles, where, optuna_sampler="AUTO", num_trials=150)
        again = search(candles, where, optuna_sampler="AUTO", num_trials=150)
        with Ledger(where) as ledger, Ledger(tmp_path / "ledger.sqlite") as file:
            same = ["stage", "key", "first_bar", "stop_bar", "trades", "net_pnl", "score", "parameters"]
            assert ledger.frame().select(same).equals(file.frame().select(same))
    assert_equal_trials(here, there)
    assert_equal_trials(here, again)
    assert bars_of(again) == 0
    assert there.n_trials == here.n_trials == again.n_trials


# What is on record.


@pytest.mark.parametrize("sampler", ["TPE", "AUTO"])
def test_every_distinct_configuration_counts_once_pruned_ones_and_neighbours_too(
    candles: Candles, storage: str, sampler: str
) -> None:
    found = search(candles, storage, optuna_sampler=sampler, num_trials=60)
    distinct = set()
    for stage in found.stages:
        for point in stage.trials.points:
            distinct.add(json.dumps(stage.space.configured(point).to_dict(), sort_keys=True))
    assert any(stage.pruned for stage in found.stages)
    assert found.plateau is not None
    assert found.top is not None
    space = Space(found.strategy, "joint", width=0.15)
    around = [found.plateau.points]
    for row in found.top.rows:
        own = np.array([float(row.parameters.get(name, getattr(found.strategy, name))) for name in space.names])
        around.append(neighbourhood(space, own, pairs=False))
    joint = [dict(zip(found.plateau.names, point, strict=True)) for point in np.concatenate(around).tolist()]
    for values in joint:
        whole = {name: int(value) if name in INTEGERS | TIMEOUTS else value for name, value in values.items()}
        distinct.add(json.dumps(found.strategy.replace(**whole).to_dict(), sort_keys=True))
    with Ledger(storage) as ledger:
        data = DataSet.of(candles)
        assert ledger.trials(data) == found.n_trials == len(distinct)
        texts = ledger.frame(data)["parameters"].to_list()
        origins = ledger.frame(data).select("run", "stage", "sampler", "seed", "objective").unique()
    assert {json.dumps(json.loads(text), sort_keys=True) for text in texts} == distinct
    assert set(origins["stage"]) == {"7.1", "7.2", "7.3", "neighbourhood"}
    assert set(origins["run"]) == {found.run}
    assert set(origins["sampler"]) == {sampler}
    assert set(origins["seed"]) == {42}


def test_the_trials_of_all_stages_are_one_frame_and_files(candles: Candles, storage: str, home: Path) -> None:
    with engine_of(candles, storage) as engine:
        for stage in ("7.1", "7.2", "7.3"):
            engine.optimize(stage)
        files = engine.save_results(home)
        found = engine.result()
    frame = found.frame()
    assert frame.height == sum(len(stage.trials) for stage in found.stages)
    assert frame.filter(pl.col("stage") == "7.2")["ema_fast"].null_count() == 41
    assert pl.read_csv(files.trials_csv).height == frame.height
    saved = json.loads(files.json.read_text())
    assert saved["parameters"]["changed"] == found.best_params
    assert saved["best"]["sharpe_ratio"] == found.best.sharpe_ratio
    assert [stage["stage"] for stage in saved["stages"]] == ["7.1", "7.2", "7.3"]


@pytest.mark.parametrize("objective", ["profit_factor", ("net_pnl", "max_drawdown")])
def test_results_of_any_objective_can_be_saved(candles: Candles, storage: str, home: Path, objective: Any) -> None:
    with engine_of(candles, storage, objective=objective, num_trials=16, optuna_sampler="NSGA-II") as engine:
        engine.optimize_joint()
        assert json.loads(engine.save_results(home).json.read_text())["kind"] == "optimization"


class Named(Strategy):
    """Its parameters have the names of what is told about a trial."""

    bars: int = Int(8, low=3, high=30)
    stage: int = Int(3, low=2, high=9)
    seconds: float = Float(0.002, low=0.0, high=0.05)

    def plan(self, bars: Bars) -> Plan:
        line = sma(bars.close, self.bars) * (1.0 + self.seconds)
        return Plan.of(crossed_above(bars.close, line), anchor=ema(bars.close, self.stage))


def test_a_parameter_keeps_its_column_whatever_its_name(candles: Candles, storage: str) -> None:
    found = search(candles, storage, strategy=Named(), num_trials=12)
    frame, first, second = found.frame(), found.stages[0], found.stages[1]
    whole = frame.filter(pl.col("trial_stage") == "7.1")
    assert whole["bars"].to_list() == first.trials.points[:, list(first.space.names).index("bars")].tolist()
    assert whole["trial_bars"].to_list() == first.trials.bars.tolist()
    assert whole["stage"].to_list() == first.trials.points[:, list(first.space.names).index("stage")].tolist()
    real = frame.filter(pl.col("trial_stage") == "7.2")
    assert real["seconds"].to_list() == second.trials.points[:, list(second.space.names).index("seconds")].tolist()
    assert real["bars"].null_count() == real.height


def test_a_function_with_the_name_of_a_metric_keeps_its_own_column(candles: Candles, storage: str) -> None:
    def sharpe_ratio(result: BacktestResult) -> float:
        return 1000.0 + result.total_trades

    stage = search(candles, storage, objective=sharpe_ratio, num_trials=6).stages[0]
    frame = stage.frame()
    assert frame["sharpe_ratio"].to_list() == stage.trials.reported[:, 0].tolist()
    assert frame["trial_sharpe_ratio"].to_list() == stage.trials.sharpe.tolist()


def test_a_result_is_asked_for_after_a_stage(candles: Candles, storage: str) -> None:
    with engine_of(candles, storage) as engine, pytest.raises(ConfigError, match="no stage has been run"):
        engine.result()


# Progress, Ctrl-C, time.


def test_progress_is_told_after_each_batch_and_never_goes_back(candles: Candles, storage: str) -> None:
    told: list[Progress] = []
    found = search(candles, storage, on_progress=told.append)
    for stage in found.stages:
        steps = [one for one in told if one.stage == stage.stage]
        assert [one.done for one in steps] == [16, 32, 40]
        assert {one.total for one in steps} == {40}
        values = [one.best for one in steps if one.best is not None]
        assert values == sorted(values)
        assert values[-1] == stage.trials.reported[stage.trials.best, 0]
        assert steps[-1].best_params == stage.best_params
        assert steps[-1].pruned == stage.pruned
        assert steps[-1].bars == stage.trials.bars.sum()
        assert steps[-1].eta_seconds == 0.0


@pytest.fixture
def plain_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Pressed(Crossing):
    """Somebody presses Ctrl-C while the twentieth plan is made."""

    def plan(self, bars: Bars) -> Plan:
        plans.append(self.period)
        if len(plans) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return super().plan(bars)


plans: list[Any] = []


@pytest.mark.usefixtures("plain_interrupts")
def test_ctrl_c_in_the_middle_of_a_stage_ends_the_search_with_the_best_so_far(candles: Candles, storage: str) -> None:
    plans.clear()
    found = search(candles, storage, strategy=Pressed(), num_trials=64, ranges={"period": (2, 40)})
    assert found.interrupted
    assert [stage.stage for stage in found.stages] == ["7.1"]
    stage = found.stages[0]
    assert stage.interrupted
    assert 1 < len(stage.trials) < 65
    assert stage.best_value == stage.trials.reported[stage.trials.ranked[0], 0]
    assert found.best.sharpe_ratio == stage.best_value
    assert found.plateau is None
    # The same command goes on where it was.
    plans.clear()
    plans.extend(range(20))
    whole = search(candles, storage, strategy=Pressed(), num_trials=64, ranges={"period": (2, 40)})
    assert not whole.interrupted
    kept = len(stage.trials)
    assert whole.stages[0].trials.points[:kept].tobytes() == stage.trials.points.tobytes()
    assert whole.stages[0].trials.bars[:kept].sum() == 0


@pytest.mark.usefixtures("plain_interrupts")
def test_ctrl_c_before_anything_is_known_is_ctrl_c(candles: Candles, storage: str) -> None:
    plans.clear()
    plans.extend(range(18))
    with pytest.raises(KeyboardInterrupt):
        search(candles, storage, strategy=Pressed())


@pytest.mark.usefixtures("plain_interrupts")
def test_ctrl_c_while_the_neighbours_are_tried_costs_the_plateau_alone(candles: Candles, storage: str) -> None:
    plans[:] = range(20)
    with engine_of(candles, storage, Pressed(), num_trials=16, ranges={"period": (2, 40)}) as engine:
        stage = engine.optimize("7.1")
        plans[:] = range(18)  # one more for the backtest of the choice
        found = engine.result()
        assert len(plans) == 21  # the first neighbour's was the twentieth, that of the base came after it
        whole = engine.result()
    assert not stage.interrupted
    assert found.interrupted
    assert found.plateau is None
    assert found.best.sharpe_ratio == stage.best_value
    assert not whole.interrupted
    assert whole.plateau is not None
    assert whole.best.sharpe_ratio == found.best.sharpe_ratio


@pytest.mark.usefixtures("plain_interrupts")
def test_ctrl_c_while_the_most_robust_trial_is_looked_for_returns_the_best_and_says_so(
    candles: Candles, storage: str
) -> None:
    def press(progress: Progress) -> None:
        plans[:] = range(19 if progress.done == progress.total else 20)

    found = search(
        candles, storage, strategy=Pressed(), num_trials=16, ranges={"period": (2, 40)}, choose="robust",
        on_progress=press,
    )  # fmt: skip
    stage = found.stages[0]
    assert found.interrupted
    assert len(stage.trials) == 17
    assert stage.chosen == stage.trials.ranked[0]
    assert "stage 7.1 was interrupted: its best trial was chosen, not its most robust one." in found.notes


class PressedBetween(Crossing):
    """Somebody presses Ctrl-C when the search asks how many bars a strategy needs, which is before it begins."""

    def needed_bars(self) -> dict[str, int]:
        if plans == ["armed"]:
            os.kill(os.getpid(), signal.SIGINT)
        return super().needed_bars()


@pytest.mark.usefixtures("plain_interrupts")
def test_ctrl_c_before_a_stage_has_begun_keeps_the_stages_before_it(candles: Candles, storage: str) -> None:
    plans.clear()
    with engine_of(candles, storage, PressedBetween(), num_trials=8) as engine:
        first = engine.optimize("7.1")
        plans[:] = ["armed"]
        assert engine.optimize("7.2").interrupted
        plans.clear()
        found = engine.result()
    assert [stage.stage for stage in found.stages] == ["7.1"]
    assert found.interrupted
    assert found.best.sharpe_ratio == first.best_value


def test_a_time_limit_ends_a_stage_with_a_note(candles: Candles, storage: str) -> None:
    found = search(candles, storage, timeout=1e-9)
    assert [len(stage.trials) for stage in found.stages] == [1, 1, 1]
    assert found.notes[0] == "stage 7.1 stopped after its 1e-09 seconds, 0 of 40 trials."
    assert found.strategy == BASE
    assert not found.interrupted


# The luck line.


@pytest.mark.parametrize(("trials", "within"), [(2, 0.085), (10, 0.03), (45, 0.015), (350, 0.01), (2000, 0.01)])
def test_the_expected_maximum_is_that_of_draws(trials: int, within: float) -> None:
    """The formula is an approximation for many trials: 8 % too low for two of them, within 1 % from some hundred on."""
    drawn = np.random.default_rng(trials).standard_normal((10_000, trials)).max(axis=1)
    error = drawn.std() / math.sqrt(drawn.size)
    assert abs(expected_maximum(trials) - drawn.mean()) < within * drawn.mean() + 3.0 * error


def test_the_expected_maximum_gives_the_published_figures() -> None:
    assert expected_maximum(1) == 0.0
    assert expected_maximum(10) == pytest.approx(1.575, abs=5e-4)
    # After 45 trials an annual Sharpe ratio of 1 is expected of luck unless there are five years of data.
    assert expected_maximum(45) ** 2 == pytest.approx(5.0, abs=0.1)


def test_the_luck_line_counts_all_trials_on_record_and_the_years_of_the_data(candles: Candles, storage: str) -> None:
    first = search(candles, storage, num_trials=20)
    second = search(candles, storage, num_trials=20, seed=3)
    years = len(candles) / 8760
    assert second.n_trials > first.n_trials
    for found in (first, second):
        assert found.luck_line == pytest.approx(expected_maximum(found.n_trials) / math.sqrt(years))
