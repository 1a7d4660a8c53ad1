"""Stressed results are those of plain backtests in the unkinder world, and neighbours are as near as is said."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig, Int, OptimizationConfig, WalkForwardConfig
from barwise.core.layout import Bars
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import DataError
from barwise.optimizer.space import Space
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema, rolling_max, rolling_min, shift
from barwise.sweeping import Sweeper
from barwise.validation.stress import FACTORS, Scenario, delayed, jittered, pieces_of, stressed, with_fees
from barwise.validation.walk_forward import walk

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005, slippage=0.0007)
PIECES: list[tuple[Strategy, int, int]] = [
    (BASE, 200, 700), (BASE.replace(ema_fast=6), 700, 1200), (BASE, 1300, 1500)
]  # fmt: skip


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 5))[:1500]


def sweeper_of(candles: Candles, strategy: Strategy = BASE, execution: ExecutionConfig = COSTS) -> Sweeper:
    return Sweeper(candles, strategy, 0.1, execution=execution, workers=1, check_lookahead=False)


def by_name(scenarios: list[Scenario]) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


def plain(candles: Candles, pieces: list[tuple[Strategy, int, int]], execution: ExecutionConfig) -> tuple[float, int]:
    """Net result and trades of the pieces, each as a plain backtest."""
    results = [
        backtest(candles[:stop], strategy, 0.1, execution=execution, trade_from=first, check_lookahead=False)
        for strategy, first, stop in pieces
    ]
    return sum(result.net_pnl for result in results), sum(result.total_trades for result in results)


@pytest.fixture(scope="module")
def scenarios(candles: Candles) -> dict[str, Scenario]:
    return by_name(stressed(sweeper_of(candles), PIECES))


def test_every_world_is_there_once(scenarios: dict[str, Scenario]) -> None:
    assert list(scenarios) == [
        "as it was", "slippage x 1.5", "slippage x 2", "slippage x 3", "fees x 1.5", "fees x 2", "fees x 3",
        "entry one bar later",
    ]  # fmt: skip


def test_the_world_as_it_was_is_the_sum_of_plain_backtests(candles: Candles, scenarios: dict[str, Scenario]) -> None:
    net, trades = plain(candles, PIECES, COSTS)
    assert trades > 10
    assert (scenarios["as it was"].net_pnl, scenarios["as it was"].trades) == (net, trades)


@pytest.mark.parametrize("factor", FACTORS)
def test_more_slippage_is_a_plain_backtest_with_that_slippage(
    candles: Candles, scenarios: dict[str, Scenario], factor: float
) -> None:
    net, trades = plain(candles, PIECES, COSTS.replace(slippage=0.0007 * factor))
    found = scenarios[f"slippage x {factor:g}"]
    assert (found.net_pnl, found.trades) == (net, trades)
    assert net < scenarios["as it was"].net_pnl


@pytest.mark.parametrize("factor", FACTORS)
def test_higher_fees_are_a_plain_backtest_with_those_fees(
    candles: Candles, scenarios: dict[str, Scenario], factor: float
) -> None:
    higher = COSTS.replace(maker_fee=0.0002 * factor, taker_fee=0.0005 * factor)
    net, trades = plain(candles, PIECES, higher)
    found = scenarios[f"fees x {factor:g}"]
    assert found.net_pnl == pytest.approx(net)
    assert found.trades == trades
    assert net < scenarios["as it was"].net_pnl


def test_every_part_of_a_schedule_is_scaled(candles: Candles) -> None:
    fees = FeeSchedule("broker", 0.0001, 0.0002, 0.0003, 0.0004, 20.0, 0.0003, 15.0, 0.0001)
    sweeper = sweeper_of(candles, execution=ExecutionConfig(fees=fees))
    scaled = with_fees(sweeper.execution, sweeper.fees, 3.0).fees
    assert isinstance(scaled, FeeSchedule)
    for name in ("buy_maker", "buy_taker", "sell_maker", "sell_taker", "buy_order_flat", "buy_order_rate",
                 "sell_order_flat", "sell_order_rate"):  # fmt: skip
        assert getattr(scaled, name) == pytest.approx(3.0 * getattr(fees, name)), name
    once = backtest(candles, BASE, 0.1, execution=ExecutionConfig(fees=fees))
    thrice = backtest(candles, BASE, 0.1, execution=ExecutionConfig(fees=scaled))
    assert once.fees > 0.0
    assert thrice.fees == pytest.approx(3.0 * once.fees)


def test_fees_and_slippage_beyond_all_measure_are_held_at_what_the_engine_takes(candles: Candles) -> None:
    dear = ExecutionConfig(maker_fee=0.05, taker_fee=0.05, slippage=0.3)
    found = by_name(stressed(sweeper_of(candles, execution=dear), PIECES[:1]))
    assert found["fees x 3"].net_pnl <= found["fees x 1.5"].net_pnl < 0.0


class Range(Strategy):
    """Long at a new high, short at a new low; leaves in the middle."""

    lookback: int = Int(20, low=3, high=60)
    late: int = 0

    def plan(self, bars: Bars) -> Plan:
        top, bottom = shift(rolling_max(bars.high, self.lookback)), shift(rolling_min(bars.low, self.lookback))
        entry = np.where(bars.close > top, 1, np.where(bars.close < bottom, -1, 0))
        middle = ema(bars.close, self.lookback)
        leave = np.where(bars.close < middle, 1, -1)
        if self.late:
            entry, leave = (np.concatenate([[0], column[:-1]]) for column in (entry, leave))
        return Plan.of(entry, exit=leave, anchor=ema(bars.close, 5), needs=[top])


def test_a_late_entry_is_every_signal_shifted_by_one_bar(candles: Candles) -> None:
    pieces: list[tuple[Strategy, int, int]] = [(Range(lookback=15), 100, 800), (Range(), 800, 1500)]
    shifted: list[tuple[Strategy, int, int]] = [(Range(lookback=15, late=1), 100, 800), (Range(late=1), 800, 1500)]
    found = by_name(stressed(sweeper_of(candles, Range()), pieces))["entry one bar later"]
    assert (found.net_pnl, found.trades) == plain(candles, shifted, COSTS)
    assert found.net_pnl != plain(candles, pieces, COSTS)[0]


def test_a_delayed_strategy_keeps_its_parameters_and_lines(candles: Candles) -> None:
    own, late = BASE.plan(candles.bars), delayed(BASE).plan(candles.bars)
    assert delayed(BASE).to_dict() == BASE.to_dict()
    assert late.entry[0] == 0
    assert (late.entry[1:] == own.entry[:-1]).all()
    assert own.entry.any()
    for name in ("anchor", "vwap", "risk"):
        one, other = getattr(own, name), getattr(late, name)
        assert (one is None and other is None) or np.array_equal(one, other, equal_nan=True)


def test_the_pieces_of_a_walk_are_run_again_as_they_were(candles: Candles) -> None:
    sweeper = sweeper_of(candles)
    windows = WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10, reoptimize=False)
    walked = walk(sweeper, BASE, windows, OptimizationConfig(), run="test", storage=None)
    pieces = pieces_of(walked)
    assert [(first, stop) for _, first, stop in pieces] == [(480, 720), (720, 960), (960, 1200), (1200, 1440)]
    as_it_was = stressed(sweeper, pieces)[0]
    assert as_it_was.trades == walked.metrics["total_trades"]
    # Orders have a fixed quantity, so the account they start from changes nothing.
    assert as_it_was.net_pnl == pytest.approx(walked.metrics["net_pnl"])


def test_funding_and_detail_go_with_every_world(candles: Candles) -> None:
    fine = sample_candles("SAMPLE-BTC", "15M", datetime(2025, 1, 1), datetime(2025, 3, 5))
    rates = [(int(time), 0.0005) for time in candles.time[::8]]
    sweeper = Sweeper(candles, BASE, 0.1, execution=COSTS, detail=fine, funding=rates, check_lookahead=False)
    found = by_name(stressed(sweeper, PIECES[:1]))["slippage x 2"]
    alone = backtest(
        candles[:700], BASE, 0.1, execution=COSTS.replace(slippage=0.0014), detail=fine, funding=rates, trade_from=200,
        check_lookahead=False,
    )  # fmt: skip
    assert alone.funding != 0.0
    assert found.net_pnl == alone.net_pnl


# The neighbourhood.


def neighbours(strategy: Strategy, share: float, seed: int, fixed: tuple[str, ...] = ()) -> list[Strategy]:
    reals = [d.name for d in Space(strategy, "joint", width=share, fixed=fixed).dimensions if not d.integer]
    ends = {name: (getattr(strategy, name) * (1.0 - share), getattr(strategy, name) * (1.0 + share)) for name in reals}
    space = Space(strategy, "joint", width=share, ranges=ends, fixed=fixed)
    unit = np.random.default_rng(seed).random((200, len(space.names)))
    return [space.configured(point) for point in space.valid(space.from_unit(unit))]


@pytest.mark.parametrize("share", [0.05, 0.10])
def test_a_neighbourhood_is_200_plain_backtests_within_the_share(candles: Candles, share: float) -> None:
    found = jittered(sweeper_of(candles), BASE, share, seed=3)
    drawn = neighbours(BASE, share, 3)
    for name in Space(BASE, "joint", width=share).names:
        own = getattr(BASE, name)
        # A whole number moves by one at least, or it could not move at all.
        room = max(1.0, round(share * own)) if isinstance(own, int) else share * own
        values = np.array([getattr(strategy, name) for strategy in drawn])
        assert (np.abs(values - own) <= room * (1.0 + 1e-9)).all(), name
        assert len(set(values.tolist())) > 1, name
    results = [backtest(candles, strategy, 0.1, execution=COSTS, check_lookahead=False) for strategy in drawn]
    assert found.tried == 200
    assert found.profitable == np.mean([result.net_pnl > 0.0 for result in results])
    ratios = [result.sharpe_ratio for result in results]
    assert found.median == pytest.approx(np.median(ratios))
    assert found.worst_decile == pytest.approx(np.quantile(ratios, 0.1))
    assert found.worst_decile <= found.median


def test_the_same_seed_gives_the_same_neighbours_and_another_one_others(candles: Candles) -> None:
    sweeper = sweeper_of(candles)
    once = jittered(sweeper, BASE, 0.1, seed=3)
    assert once == jittered(sweeper, BASE, 0.1, seed=3)
    assert once != jittered(sweeper, BASE, 0.1, seed=4)


def test_fixed_parameters_do_not_move_and_with_all_of_them_fixed_nothing_does(candles: Candles) -> None:
    sweeper = sweeper_of(candles)
    assert {strategy.to_dict()["ema_fast"] for strategy in neighbours(BASE, 0.1, 1, ("ema_fast",))} == {5}
    found = jittered(sweeper, BASE, 0.1, 1, tuple(type(BASE).model_fields))
    alone = backtest(candles, BASE, 0.1, execution=COSTS)
    assert found.median == found.worst_decile == pytest.approx(alone.sharpe_ratio)
    assert found.profitable == float(alone.net_pnl > 0.0)


def test_a_neighbour_that_needs_more_bars_than_there_are_is_a_data_error(candles: Candles) -> None:
    short = replace(candles, symbol="SHORT")[:34]
    with pytest.raises(DataError, match="needs at least"):
        jittered(sweeper_of(short, BASE), BASE.replace(ema_trend=32), 0.1, seed=1)


def test_scenarios_and_neighbourhoods_are_plain_values(candles: Candles) -> None:
    assert Scenario("as it was", 1.5, 3).to_dict() == {"name": "as it was", "net_pnl": 1.5, "trades": 3}
    found: dict[str, Any] = jittered(sweeper_of(candles), BASE, 0.05, seed=1).to_dict()
    assert list(found) == ["share", "tried", "profitable", "median", "worst_decile"]
    assert all(type(value) in (int, float) for value in found.values())
