"""What is said about a search's trials is computed from the returns that plain backtests of them have."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig, Float, OptimizationConfig
from barwise.core.curve import bar_returns
from barwise.core.layout import Bars, FloatArray
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.trials import StageResult
from barwise.stats.overfitting import probability_of_overfitting
from barwise.stats.reality_check import superior_predictive_ability
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema
from barwise.sweeping import Sweeper
from barwise.validation import selection
from barwise.validation.selection import Selection, judge_selection

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", num_trials=20, seed=5, workers=1)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 20))


def searched(candles: Candles, folder: Path, strategy: Strategy, search: OptimizationConfig) -> OptimizationResult:
    config = search.replace(storage=str(folder / "ledger.sqlite"))
    return optimize(candles, strategy, 0.1, execution=COSTS, config=config, check_lookahead=False)


@pytest.fixture(scope="module")
def stages(candles: Candles, tmp_path_factory: pytest.TempPathFactory) -> tuple[StageResult, ...]:
    return searched(candles, tmp_path_factory.mktemp("selection"), BASE, SEARCH).stages


def judged(candles: Candles, stages: Any, strategy: Strategy = BASE, seed: int = 9) -> Selection:
    sweeper = Sweeper(candles, strategy, 0.1, execution=COSTS, workers=1, check_lookahead=False)
    return judge_selection(sweeper, stages, seed)


def all_strategies(stages: tuple[StageResult, ...]) -> list[Strategy]:
    """Every distinct configuration, in the order it was first tried."""
    found: dict[str, Strategy] = {}
    for stage in stages:
        for point in stage.trials.points:
            strategy = stage.space.configured(point)
            found.setdefault(json.dumps(strategy.to_dict()), strategy)
    return list(found.values())


def plain_returns(candles: Candles, strategies: list[Strategy]) -> FloatArray:
    """Bar returns of plain backtests, one row each, 0 before a row's own first bar; float32 as a sweep has them."""
    series = []
    for strategy in strategies:
        result = backtest(candles, strategy, 0.1, execution=COSTS, check_lookahead=False)
        series.append(bar_returns(result.equity_curve, 100_000.0))
    matrix = np.zeros((len(series), max(map(len, series))), np.float32)
    for row, values in zip(matrix, series, strict=True):
        row[row.size - values.size :] = values
    matrix_out: Any = matrix
    return matrix_out  # type: ignore[no-any-return]


def test_the_trials_are_all_distinct_ones_of_all_stages_pruned_ones_too(
    candles: Candles, stages: tuple[StageResult, ...]
) -> None:
    found = judged(candles, stages)
    assert found.distinct == found.trials == len(all_strategies(stages))
    assert found.distinct > max(len(stage.trials) for stage in stages)
    assert sum(stage.pruned for stage in stages) > 0


def test_overfitting_is_computed_from_the_plain_backtests_of_all_trials(
    candles: Candles, stages: tuple[StageResult, ...]
) -> None:
    found = judged(candles, stages).pbo
    by_hand = probability_of_overfitting(plain_returns(candles, all_strategies(stages)), 16)
    assert found is not None
    assert (found.pbo, found.splits, found.trials) == (by_hand.pbo, 12_870, by_hand.trials)
    assert (found.chosen == by_hand.chosen).all()
    assert found.probability_of_loss == by_hand.probability_of_loss


def test_the_variance_is_that_of_the_trials_sharpe_ratios_per_bar(
    candles: Candles, stages: tuple[StageResult, ...]
) -> None:
    returns = plain_returns(candles, all_strategies(stages)).astype(np.float64)
    returns = returns[returns.std(axis=1) > 0.0]
    ratios = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    assert judged(candles, stages).sharpe_variance == pytest.approx(ratios.var(ddof=1), rel=1e-4)


def test_the_effective_number_of_trials_is_the_effective_rank_of_their_correlations(
    candles: Candles, stages: tuple[StageResult, ...]
) -> None:
    returns = plain_returns(candles, all_strategies(stages)).astype(np.float64)
    shares = np.linalg.eigvalsh(np.corrcoef(returns[returns.std(axis=1) > 0.0]))
    shares = shares[shares > 1e-12] / shares.sum()
    effective = np.exp(-(shares * np.log(shares)).sum())
    assert 1.0 < effective < len(returns)
    assert judged(candles, stages).effective_trials == pytest.approx(effective, rel=1e-3)


def test_thinning_is_even_and_keeps_the_first_and_the_last(
    candles: Candles, stages: tuple[StageResult, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = all_strategies(stages)
    monkeypatch.setattr(selection, "MOST_TRIALS", 7)
    found = judged(candles, stages)
    last = len(strategies) - 1
    rows = [round(last * step / 6) for step in range(7)]
    assert (rows[0], rows[-1]) == (0, last)
    assert (found.trials, found.distinct) == (7, len(strategies))
    assert found.pbo is not None
    by_hand = probability_of_overfitting(plain_returns(candles, [strategies[row] for row in rows]), 16)
    assert found.pbo.logits.tolist() == by_hand.logits.tolist()


def first_points(stage: StageResult) -> list[Strategy]:
    found: dict[str, Strategy] = {}
    for point in stage.trials.points[stage.trials.batch == 1]:
        strategy = stage.space.configured(point)
        found.setdefault(json.dumps(strategy.to_dict()), strategy)
    return list(found.values())


def test_the_superior_ability_is_that_of_the_points_fixed_beforehand_by_day(
    candles: Candles, stages: tuple[StageResult, ...]
) -> None:
    strategies = first_points(stages[0])
    assert 2 <= len(strategies) <= 7  # a third of the 20 trials
    returns = plain_returns(candles, strategies).astype(np.float64)
    opened = candles.time[len(candles) - returns.shape[1] :]
    day = [datetime.fromtimestamp(moment / 1000, UTC).date() for moment in opened.tolist()]
    days = sorted(set(day))
    daily = np.array(
        [[sum(r for r, own in zip(row, day, strict=True) if own == one) for one in days] for row in returns]
    )
    by_hand = superior_predictive_ability(daily, resamples=500, seed=9)
    found = judged(candles, stages).spa
    assert found is not None
    assert found.models + found.left_out == len(strategies)
    assert found.statistic == pytest.approx(by_hand.statistic, rel=1e-4)
    assert found.p_consistent == pytest.approx(by_hand.p_consistent, abs=0.01)
    assert found.reality_check == pytest.approx(by_hand.reality_check, abs=0.01)


def test_the_days_of_a_market_with_sessions_are_its_local_days(market_data: Path) -> None:
    path = market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet"
    candles = read_candles(path, exchange="BSE", symbol="RELIANCE")
    returns = np.random.default_rng(1).standard_normal((3, 2000)).astype(np.float32)
    daily = selection._by_day(candles, returns)
    local = [
        datetime.fromtimestamp(t / 1000, UTC) + timedelta(hours=5, minutes=30) for t in candles.time[-2000:].tolist()
    ]
    days = [moment.date() for moment in local]
    assert daily.shape == (3, len(set(days)))
    assert days[0] > date(2025, 8, 25)
    for at, day in enumerate(sorted(set(days))):
        mine = [bar for bar, own in enumerate(days) if own == day]
        assert daily[:, at] == pytest.approx(returns[:, mine].sum(axis=1, dtype=np.float64))


def test_the_paths_are_chosen_elsewhere_and_scored_here(candles: Candles, stages: tuple[StageResult, ...]) -> None:
    strategies = all_strategies(stages)
    returns = plain_returns(candles, strategies).astype(np.float64)
    bars = returns.shape[1]
    edges = np.cumsum([0] + [bars // 6 + (group < bars % 6) for group in range(6)])
    longest = max(BASE.needed_bars().values())
    embargo = max(round(0.01 * bars), longest)
    chosen = backtest(candles, stages[-1].config, 0.1, execution=COSTS, check_lookahead=False)
    purge = max(trade.bars_held for trade in chosen.trades)
    assert purge > 0
    pieces: dict[int, list[FloatArray]] = {group: [] for group in range(6)}
    for one in range(6):
        for other in range(one + 1, 6):
            train = np.ones(bars, bool)
            for group in (one, other):
                train[max(0, edges[group] - purge) : edges[group + 1] + purge + embargo] = False
            inside = returns[:, train]
            deviation = inside.std(axis=1)
            ratio = np.where(deviation > 0.0, inside.mean(axis=1) / np.where(deviation > 0.0, deviation, 1.0), -np.inf)
            for group in (one, other):
                pieces[group].append(returns[ratio.argmax(), edges[group] : edges[group + 1]])
    whole = [np.concatenate([pieces[group][path] for group in range(6)]) for path in range(5)]
    by_hand = [path.mean() / path.std(ddof=1) * np.sqrt(8760.0) for path in whole]
    assert judged(candles, stages).path_sharpes == pytest.approx(by_hand, rel=1e-4)


def test_the_same_seed_says_the_same(candles: Candles, stages: tuple[StageResult, ...]) -> None:
    once, again, other = (judged(candles, stages, seed=seed).to_dict() for seed in (1, 1, 2))
    assert once == again
    assert {name for name in once if once[name] != other[name]} <= {"spa", "reality_check"}
    json.dumps(once, allow_nan=False)


# Where there is little to say.


class Silent(Strategy):
    """Never trades."""

    patience: float = Float(0.5, low=0.1, high=0.9)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(np.zeros(bars.close.size, bool), anchor=ema(bars.close, 2))


def test_trials_without_a_trade_say_nothing(candles: Candles, tmp_path: Path) -> None:
    search = SEARCH.replace(ranges={"patience": (0.1, 0.9)})
    result = searched(candles, tmp_path, Silent(), search)
    found = judged(candles, result.stages, Silent())
    assert (found.pbo, found.spa, found.sharpe_variance, found.effective_trials) == (None, None, 0.0, None)
    assert not found.path_sharpes.any()
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_few_days_are_too_few_and_no_error(tmp_path: Path) -> None:
    short = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 1, 6))
    result = searched(short, tmp_path, BASE, SEARCH)
    found = judged(short, result.stages)
    assert found.spa is None
    # Between the groups' purges and embargoes nothing is left to train on.
    assert found.path_sharpes.size == 0
    json.dumps(found.to_dict(), allow_nan=False)


class Clock(Strategy):
    """In and out by the clock; it has no whole number to search, so stage 7.1 has nothing to do."""

    enable_hybrid_engine: bool = False
    pace: float = Float(0.5, low=0.1, high=0.9)

    def plan(self, bars: Bars) -> Plan:
        clock = np.arange(bars.close.size) % round(4 + 20 * self.pace)
        return Plan.of(clock == 0, exit=clock == 2, anchor=ema(bars.close, 2))


def test_the_points_fixed_beforehand_are_those_of_the_first_stage_that_searched(
    candles: Candles, tmp_path: Path
) -> None:
    result = searched(candles, tmp_path, Clock(), SEARCH.replace(ranges={"pace": (0.1, 0.9)}))
    assert [stage.tried for stage in result.stages] == [0, 20, 0]
    found = judged(candles, result.stages, Clock())
    assert found.spa is not None
    assert found.spa.models == len(first_points(result.stages[1]))


def test_one_trial_alone_is_compared_with_nothing(candles: Candles, tmp_path: Path) -> None:
    fixed = tuple(type(BASE).model_fields)
    result = searched(candles, tmp_path, BASE, SEARCH.replace(fixed=fixed))
    found = judged(candles, result.stages)
    assert (found.trials, found.distinct, found.pbo, found.spa) == (1, 1, None, None)
    assert found.sharpe_variance == 0.0
