"""A run that is stopped, saved and continued is the run that was never stopped: the same records, to the bit.

The markets are the nasty ones of the differential test; the cuts fall anywhere, also within a program, within a
position, and bar by bar, which is how a live session would step.
"""

import math

import numpy as np
import pytest

from barwise.core.kernel import simulate
from barwise.core.layout import FILL, NO_RECORDS, PROGRAM, STATE, SUMMARY, TRADE, Orders, Records, fresh_states
from barwise.engine import kernel_orders
from barwise.result import BacktestResult
from tests.reference.markets import random_case
from tests.test_differential import run_engine

SEEDS = 120


def room_for(result: BacktestResult) -> Records:
    bars = len(result.candles) - result.trade_from
    counts = (len(part) for part in result.records[:3])
    programs, fills, trades = (
        np.zeros(count, kind) for count, kind in zip(counts, (PROGRAM, FILL, TRADE), strict=True)
    )
    return Records(programs, fills, trades, np.empty(bars), np.empty(bars))


def result_of(seed: int) -> BacktestResult:
    case = random_case(seed)
    if case["rules"]["max_chase_atr"] in (None, math.inf):  # a run no market makes
        case["rules"]["max_chase_atr"] = 1e12
    return run_engine(case)


def assert_same(result: BacktestResult, records: Records, summary: np.ndarray) -> None:
    assert summary.tobytes() == result.summary.tobytes()
    for name, ours, whole in zip(Records._fields, records, result.records, strict=True):
        assert ours.tobytes() == whole.tobytes(), name


def run_in_pieces(result: BacktestResult, orders: Orders, cuts: list[int]) -> tuple[Records, np.ndarray]:
    records, summary, states = room_for(result), np.zeros(1, SUMMARY), fresh_states(1)
    last = len(result.candles)
    for stop in [*cuts, last]:
        simulate(
            result.prepared.market, orders, result.params, result.trade_from, stop, records, summary[0], states[0],
            stop == last,
        )  # fmt: skip
    return records, summary


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_a_run_in_pieces_equals_the_run_in_one(first: int) -> None:
    for seed in range(first, first + 20):
        result = result_of(seed)
        orders = kernel_orders(result.plan)
        rng = np.random.default_rng(seed)
        inside = np.arange(result.trade_from + 1, len(result.candles))
        act = result.prepared.market.act
        inside = inside[act[inside - 1] < act[-1]]  # detail data may end early; then nothing is left to go on with
        for share in (0.02, 0.2, 1.0):  # 1.0: every single bar is a piece of its own
            cuts = np.sort(rng.choice(inside, max(1, int(share * inside.size)), replace=False)).tolist()
            assert_same(result, *run_in_pieces(result, orders, cuts))


def test_a_look_at_the_books_does_not_disturb_the_run() -> None:
    """What a fidelity rung does: close a copy at the rung's end, then go on with the original."""
    for seed in range(20):
        result = result_of(seed)
        market, orders, start = result.prepared.market, kernel_orders(result.plan), result.trade_from
        stop = (start + len(result.candles)) // 2
        running, state = np.zeros(1, SUMMARY), fresh_states(1)
        simulate(market, orders, result.params, start, stop - 1, NO_RECORDS, running[0], state[0], False)
        saved = state.tobytes()
        looked_at, copy = running.copy(), state.copy()
        simulate(market, orders, result.params, start, stop, NO_RECORDS, looked_at[0], copy[0], True)
        alone = np.zeros(1, SUMMARY)
        simulate(market, orders, result.params, start, stop, NO_RECORDS, alone[0], fresh_states(1)[0], True)
        assert looked_at.tobytes() == alone.tobytes()
        assert state.tobytes() == saved
        simulate(market, orders, result.params, start, len(result.candles), NO_RECORDS, running[0], state[0], True)
        assert running.tobytes() == result.summary.tobytes()


def test_a_fresh_state_says_that_nothing_has_run() -> None:
    states = fresh_states(3)
    assert states.dtype == STATE
    assert states["bar"].tolist() == [-1, -1, -1]
