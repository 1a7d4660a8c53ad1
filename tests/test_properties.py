"""What must hold in every run, whatever the market: hypothesis draws markets and configurations by their seed.

A case is what the reference simulator takes (tests.reference.markets), so every law that changes a market - mirrored,
scaled, cut short - is a few lines on plain dicts. The examples are derandomised and bounded: the same cases everywhere.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from barwise.config import ExecutionConfig
from barwise.core import metrics, outcomes
from barwise.core.layout import SUMMARY, Exit, Outcome
from barwise.data.candles import Candles
from barwise.engine import backtest
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.sweeping import sweep
from tests.reference.markets import random_case
from tests.test_differential import Planned, candles_of, run_engine

RELATIVE = 1e-9
TAKE_PROFIT, END_OF_DATA = int(Exit.TAKE_PROFIT), int(Exit.END_OF_DATA)
NO_GUARD = 1e12  # a run no market makes

bounded = settings(
    derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
few = settings(bounded, max_examples=25)
seeds = st.integers(min_value=0, max_value=2**31)


def drawn(seed: int) -> dict[str, Any]:
    """The case of a seed, in a form `run_engine` takes."""
    case = random_case(seed)
    if case["rules"]["max_chase_atr"] in (None, math.inf):
        case["rules"]["max_chase_atr"] = NO_GUARD
    return case


def execution_bars(case: dict[str, Any]) -> dict[str, Any]:
    bars: dict[str, Any] = case["detail"] or case["signal_bars"]
    return bars


def column(bars: dict[str, Any], name: str, at: Any) -> Any:
    return np.asarray(bars[name], np.float64)[at]


def identical(ours: Any, theirs: Any) -> bool:
    """Records equal to the bit, field by field: what lies between the fields of a selection is anybody's."""
    return len(ours) == len(theirs) and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours.dtype.names)


# -- Money -------------------------------------------------------------------------------------------------------------


@bounded
@given(seeds)
def test_net_results_of_the_trades_and_the_initial_capital_are_the_final_equity(seed: int) -> None:
    result = run_engine(drawn(seed))
    total = result.initial_capital + math.fsum(result.records.trades["net_pnl"])
    scale = max(abs(result.final_equity), result.initial_capital)
    assert abs(total - result.final_equity) <= RELATIVE * scale
    assert result.equity_curve[-1] == result.final_equity
    assert result.equity_curve[0] == result.initial_capital


@bounded
@given(seeds)
def test_a_trades_net_result_is_gross_less_fees_and_funding_and_its_fees_hold_those_of_its_fills(seed: int) -> None:
    result = run_engine(drawn(seed))
    trades, fills, rates = result.records.trades, result.records.fills, result.fees_schedule
    assert np.array_equal(trades["net_pnl"], trades["gross_pnl"] - trades["fees"] - trades["funding"])
    for trade in trades:
        own = fills[fills["program"] == trade["program"]]
        leaving = rates.fee(-int(trade["side"]), bool(trade["exit_maker"]), trade["quantity"] * trade["exit_price"])
        assert trade["fees"] == pytest.approx(math.fsum(own["fee"]) + leaving, rel=RELATIVE)
        moved = trade["side"] * (trade["exit_price"] - trade["entry_price"]) * trade["quantity"]
        assert trade["gross_pnl"] == pytest.approx(moved, rel=RELATIVE, abs=RELATIVE * result.initial_capital)
        entered = math.fsum(abs(own["price"] - own["reference"]) * own["quantity"])
        left = abs(trade["exit_price"] - trade["exit_reference"]) * trade["quantity"]
        assert trade["slippage"] == pytest.approx(entered + left, rel=1e-6, abs=RELATIVE * result.initial_capital)


@bounded
@given(seeds)
def test_funding_is_paid_by_longs_and_received_by_shorts_at_every_close_they_are_held_over(seed: int) -> None:
    case = drawn(seed)
    first, last = case["signal_bars"]["time"][0], case["signal_bars"]["time"][-1]
    case["funding"] = [(time, 0.0003) for time in range(first, last, 4 * case["signal_bars"]["timeframe_ms"])]
    result = run_engine(case)
    records, charged = result.records, result.prepared.market.funding
    due = np.asarray(execution_bars(case)["close"]) * charged
    for trade in records.trades:
        if np.count_nonzero(records.fills["program"] == trade["program"]) > 1:
            assert trade["side"] * trade["funding"] >= 0.0
            continue
        # Closed inside its last bar a position does not see that bar's close; at the end of the run it does.
        stop = trade["exit_bar"] + (trade["exit_reason"] in (Exit.END_OF_DATA, Exit.RUINED))
        expected = trade["side"] * trade["quantity"] * math.fsum(due[trade["entry_bar"] : stop])
        assert trade["funding"] == pytest.approx(expected, rel=RELATIVE, abs=RELATIVE * result.initial_capital)


@bounded
@given(seeds)
def test_no_entry_takes_the_notional_above_equity_times_leverage(seed: int) -> None:
    case = drawn(seed)
    case["funding"] = ()
    result = run_engine(case)
    realised = result.initial_capital
    fills, trades = result.records.fills, {int(trade["program"]): trade for trade in result.records.trades}
    for program in np.unique(fills["program"]):
        held = cost = fees = 0.0
        for fill in fills[fills["program"] == program]:
            equity = realised - fees + fill["side"] * (held * fill["price"] - cost)
            held += fill["quantity"]
            cost += fill["quantity"] * fill["price"]
            lot = case["execution"]["lot_size"]
            assert (
                held * fill["price"] <= result.execution.leverage * equity * (1 + RELATIVE) + 1e-6 * lot * fill["price"]
            )
            fees += fill["fee"]
        realised += trades[int(program)]["net_pnl"]


# -- Prices ------------------------------------------------------------------------------------------------------------


@bounded
@example(2488)  # a slice in a bar of one price, without quote volume: (h + l + c) / 3 is not that price
@given(seeds)
def test_an_entrys_price_before_slippage_lies_inside_its_bar_or_is_a_resting_bids_own_worse_price(seed: int) -> None:
    case = drawn(seed)
    fills, bars = run_engine(case).records.fills, execution_bars(case)
    low, high, opens = (column(bars, name, fills["bar"]) for name in ("low", "high", "open"))
    inside = (low <= fills["reference"]) & (fills["reference"] <= high)
    gapped = (fills["tier"] == 2) & (fills["maker"] == 1) & (fills["side"] * (fills["reference"] - opens) >= 0.0)
    assert (inside | gapped).all()


@bounded
@given(seeds)
def test_an_exits_price_before_slippage_lies_inside_its_bar_or_is_a_gapped_targets_own_worse_price(seed: int) -> None:
    case = drawn(seed)
    trades, bars = run_engine(case).records.trades, execution_bars(case)
    low, high, opens = (column(bars, name, trades["exit_bar"]) for name in ("low", "high", "open"))
    reference = trades["exit_reference"]
    inside = (low <= reference) & (reference <= high)
    gapped = (trades["exit_reason"] == TAKE_PROFIT) & (trades["side"] * (opens - reference) >= 0.0)
    assert (inside | gapped).all()


@bounded
@given(seeds)
def test_no_fill_is_better_for_the_trader_than_the_best_price_of_its_bar(seed: int) -> None:
    case = drawn(seed)
    records, bars = run_engine(case).records, execution_bars(case)
    entries, exits = records.fills, records.trades
    cheapest = np.where(entries["side"] > 0, column(bars, "low", entries["bar"]), column(bars, "high", entries["bar"]))
    assert (entries["side"] * (entries["price"] - cheapest) >= 0.0).all()
    dearest = np.where(
        exits["side"] > 0, column(bars, "high", exits["exit_bar"]), column(bars, "low", exits["exit_bar"])
    )
    assert (exits["side"] * (exits["exit_price"] - dearest) <= 0.0).all()


@bounded
@given(seeds)
def test_slippage_never_helps_and_makers_pay_none(seed: int) -> None:
    records = run_engine(drawn(seed)).records
    entries, exits = records.fills, records.trades
    assert (entries["side"] * (entries["price"] - entries["reference"]) >= 0.0).all()
    assert (exits["side"] * (exits["exit_price"] - exits["exit_reference"]) <= 0.0).all()
    assert (entries["price"] == entries["reference"])[entries["maker"] == 1].all()
    assert (exits["exit_price"] == exits["exit_reference"])[exits["exit_maker"] == 1].all()
    assert ((exits["exit_maker"] == 1) == (exits["exit_reason"] == TAKE_PROFIT)).all()


@bounded
@given(seeds)
def test_a_stop_that_the_bar_opened_beyond_is_left_at_the_open(seed: int) -> None:
    case = drawn(seed)
    trades, bars = run_engine(case).records.trades, execution_bars(case)
    stopped = trades[trades["exit_reason"] < TAKE_PROFIT]
    opens = column(bars, "open", stopped["exit_bar"])
    expected = np.where(stopped["side"] * (opens - stopped["stop_price"]) <= 0.0, opens, stopped["stop_price"])
    assert np.array_equal(stopped["exit_reference"], expected)


@bounded
@given(seeds)
def test_prices_of_makers_lie_on_the_tick_and_quantities_on_the_lot(seed: int) -> None:
    case = drawn(seed)
    tick, lot = case["execution"]["tick_size"], case["execution"]["lot_size"]
    records = run_engine(case).records
    fills, trades = records.fills, records.trades
    if tick:
        resting = [*fills["price"][fills["maker"] == 1], *trades["exit_price"][trades["exit_maker"] == 1]]
        # A step that is one over an integer gives the numbers a feed writes; others, such as 0.012, the next float.
        slack = 0.0 if abs(1.0 / tick - round(1.0 / tick)) < RELATIVE else 1.0
        for price in resting:
            written = float(round(price / tick) * Decimal(repr(tick)))
            assert abs(price - written) <= slack * np.spacing(written)
    if lot:
        for quantity in (*fills["quantity"], *trades["quantity"], *records.programs["quantity"]):
            assert quantity / lot == pytest.approx(round(quantity / lot), abs=1e-6)
            assert quantity > 0.5 * lot


# -- Records -----------------------------------------------------------------------------------------------------------


@bounded
@given(seeds)
def test_every_trade_comes_from_one_program_and_its_fills_add_up_to_it(seed: int) -> None:
    records = run_engine(drawn(seed)).records
    programs, fills, trades = records.programs, records.fills, records.trades
    assert np.array_equal(trades["program"], np.flatnonzero(programs["filled"] > 0.0))
    for trade in trades:
        own, program = fills[fills["program"] == trade["program"]], programs[trade["program"]]
        quantity = math.fsum(own["quantity"])
        assert quantity == pytest.approx(program["filled"], rel=RELATIVE)
        assert trade["quantity"] == program["filled"] <= program["quantity"] * (1 + RELATIVE)
        mean = math.fsum(own["quantity"] * own["price"]) / quantity
        assert trade["entry_price"] == program["entry_price"] == pytest.approx(mean, rel=RELATIVE)
        assert (own["side"] == trade["side"]).all()
        assert program["side"] == trade["side"]
        assert own["bar"][0] == trade["entry_bar"]
        assert own["bar"][-1] <= trade["exit_bar"]
        assert program["start_bar"] <= own["bar"][0]
        assert own["bar"][-1] <= program["end_bar"] <= trade["exit_bar"] or program["outcome"] != Outcome.FILLED
    for program in programs[programs["filled"] == 0.0]:
        assert math.isnan(program["entry_price"])
        assert program["outcome"] != Outcome.FILLED


@bounded
@given(seeds)
def test_records_stand_in_order_of_time_and_no_two_entries_share_a_bar(seed: int) -> None:
    records = run_engine(drawn(seed)).records
    programs, fills, trades = records.programs, records.fills, records.trades
    assert (np.diff(fills["bar"]) > 0).all()
    assert (np.diff(programs["signal_bar"]) > 0).all()
    assert (np.diff(programs["start_bar"]) > 0).all()
    assert (programs["end_bar"] >= programs["start_bar"]).all()
    assert (trades["exit_bar"] >= trades["entry_bar"]).all()
    # One position at a time: the next one is opened in the bar in which the last was closed only after an exit at its
    # open (section 6, rule 0).
    same_bar = trades["entry_bar"][1:] == trades["exit_bar"][:-1]
    assert (trades["entry_bar"][1:] >= trades["exit_bar"][:-1]).all()
    at_open = np.isin(trades["exit_reason"][:-1], [Exit.OPPOSITE_SIGNAL, Exit.STRATEGY_EXIT])
    assert (at_open | ~same_bar).all()


@bounded
@given(seeds)
def test_no_program_works_before_the_bar_of_its_signal_has_closed(seed: int) -> None:
    case = drawn(seed)
    programs, signals, bars = run_engine(case).records.programs, case["signal_bars"], execution_bars(case)
    closed = column(signals, "time", programs["signal_bar"]) + signals["timeframe_ms"]
    assert (column(bars, "time", programs["start_bar"]) >= closed).all()
    assert (programs["signal_bar"] >= case["trade_from"]).all()
    assert np.array_equal(programs["side"], np.asarray(case["plan"]["entry"])[programs["signal_bar"]])
    assert np.array_equal(programs["arrival_price"], column(signals, "close", programs["signal_bar"]))
    assert np.array_equal(programs["atr"], column(case["plan"], "risk", programs["signal_bar"]))


@bounded
@given(seeds)
def test_no_entry_takes_more_than_its_share_of_a_bar_and_none_of_an_empty_one(seed: int) -> None:
    case = drawn(seed)
    bars, share = execution_bars(case), case["execution"]["max_participation"]
    assume(any(bars["volume"]))
    fills = run_engine(case).records.fills
    volume = column(bars, "volume", fills["bar"])
    assert (volume > 0.0).all()
    if share is not None:
        rounding = 1e-9 * case["execution"]["lot_size"]
        assert (fills["quantity"] <= share * volume * (1.0 + RELATIVE) + rounding).all()


@bounded
@given(seeds)
def test_excursions_enclose_entry_and_exit_and_stay_inside_the_bars_held(seed: int) -> None:
    case = drawn(seed)
    bars = execution_bars(case)
    lows, highs = np.asarray(bars["low"]), np.asarray(bars["high"])
    result = run_engine(case)
    for record in result.records.trades:
        side = record["side"]
        assert side * (record["best_price"] - record["exit_price"]) >= 0.0
        assert side * (record["worst_price"] - record["exit_price"]) <= 0.0
        held = slice(record["entry_bar"], record["exit_bar"] + 1)
        own = result.records.fills[result.records.fills["program"] == record["program"]]
        paid = [*own["price"], record["exit_price"]]
        reach = sorted([lows[held].min(), highs[held].max(), min(paid), max(paid)])
        assert reach[0] <= min(record["best_price"], record["worst_price"])
        assert max(record["best_price"], record["worst_price"]) <= reach[-1]


@bounded
@given(seeds)
def test_a_trade_is_never_ahead_by_less_than_nothing_nor_behind_by_more(seed: int) -> None:
    result = run_engine(drawn(seed))
    favourable, adverse = outcomes.excursions(result.records.trades)
    for trade, ahead, behind in zip(result.trades, favourable, adverse, strict=True):
        assert trade.mae <= 0.0 <= trade.mfe
        assert (trade.mfe, trade.mae) == (ahead, behind)


# -- Symmetry ----------------------------------------------------------------------------------------------------------


def is_dyadic(case: dict[str, Any]) -> bool:
    return all(price * 4.0 == round(price * 4.0) for price in execution_bars(case)["close"])


def reflect(bars: dict[str, Any] | None, twice_middle: float) -> dict[str, Any] | None:
    if bars is None:
        return None
    turned = {name: [twice_middle - price for price in bars[name]] for name in ("open", "close")}
    turned["high"] = [twice_middle - price for price in bars["low"]]
    turned["low"] = [twice_middle - price for price in bars["high"]]
    if "quote_volume" in bars:
        pairs = zip(bars["volume"], bars["quote_volume"], strict=True)
        turned["quote_volume"] = [twice_middle * volume - money for volume, money in pairs]
    return {**bars, **turned}


def symmetric(case: dict[str, Any]) -> dict[str, Any]:
    """The case without all that is not a mirror image of itself: relative costs and thresholds, margin, funding."""
    bars = execution_bars(case)
    free = dict.fromkeys(case["execution"]["fees"], 0.0)
    execution = {
        **case["execution"],
        "slippage": 0.0,
        "fees": free,
        "leverage": 1.0,
        "initial_capital": 1e6 * max(bars["high"]) * case["quantity"],
    }
    if not is_dyadic(case):
        # Reflected prices are rounded: neither the tick nor a tie of the two extremes survives that.
        execution["tick_size"] = 0.0
        execution["intrabar"] = "worst" if execution["intrabar"] == "path" else execution["intrabar"]
    rules = {**case["rules"], "ema_touch_tolerance": 0.0, "trailing_sl_threshold": 0.0, "trailing_tp_enabled": False}
    # Where nothing of the order is left to the trail but its sign, B >= E is a tie of two means (section 5).
    rules["trailing_sl_enabled"] = is_dyadic(case) and rules["trailing_sl_enabled"]
    rules["allow_long"] = rules["allow_short"] = True
    return {**case, "execution": execution, "rules": rules, "funding": ()}


def mirrored(case: dict[str, Any], twice_middle: float) -> dict[str, Any]:
    plan = case["plan"]
    lines = {name: [twice_middle - value for value in plan[name]] for name in ("anchor", "vwap")}
    signals = {
        "entry": [-side for side in plan["entry"]],
        "exit": [-side if side in (1, -1) else side for side in plan["exit"]],
    }
    return {
        **case,
        "plan": {**plan, **lines, **signals},
        "signal_bars": reflect(case["signal_bars"], twice_middle),
        "detail": reflect(case["detail"], twice_middle),
    }


@bounded
@given(seeds)
def test_a_mirrored_market_with_mirrored_signals_gives_the_mirrored_run(seed: int) -> None:
    case = symmetric(drawn(seed))
    twice_middle = 2.0 ** (2 + math.ceil(math.log2(max(case["signal_bars"]["high"] + execution_bars(case)["high"]))))
    here, there = run_engine(case), run_engine(mirrored(case, twice_middle))
    scale = twice_middle * RELATIVE
    for kind, prices, same in (
        ("programs", ("arrival_price", "entry_price"), ("signal_bar", "start_bar", "end_bar", "outcome")),
        ("fills", ("price", "reference"), ("bar", "program", "tier", "maker")),
        (
            "trades",
            ("entry_price", "exit_price", "exit_reference", "stop_price", "target_price", "best_price", "worst_price"),
            ("program", "entry_bar", "exit_bar", "exit_reason", "exit_maker", "ambiguous"),
        ),
    ):
        ours, theirs = getattr(here.records, kind), getattr(there.records, kind)
        assert len(ours) == len(theirs)
        for name in same:
            assert np.array_equal(ours[name], theirs[name]), (kind, name)
        assert np.array_equal(ours["side"], -theirs["side"])
        for name in prices:
            np.testing.assert_allclose(ours[name], twice_middle - theirs[name], rtol=0.0, atol=scale, err_msg=name)
    money = scale * case["quantity"] * 100.0
    np.testing.assert_allclose(here.records.trades["net_pnl"], there.records.trades["net_pnl"], rtol=0.0, atol=money)
    np.testing.assert_allclose(here.equity_curve, there.equity_curve, rtol=1e-12, atol=money)


def power_of_two(step: float) -> float:
    return 2.0 ** round(math.log2(step)) if step else 0.0


def scaled(case: dict[str, Any], factor: float) -> dict[str, Any]:
    def bars(columns: dict[str, Any] | None) -> dict[str, Any] | None:
        if columns is None:
            return None
        prices = {name: [price * factor for price in columns[name]] for name in ("open", "high", "low", "close")}
        return {**columns, **prices, "volume": [volume / factor for volume in columns["volume"]]}

    lines = {name: [value * factor for value in case["plan"][name]] for name in ("anchor", "vwap", "risk")}
    execution = case["execution"]
    return {
        **case,
        "signal_bars": bars(case["signal_bars"]),
        "detail": bars(case["detail"]),
        "plan": {**case["plan"], **lines},
        "quantity": case["quantity"] / factor,
        "execution": {
            **execution,
            "tick_size": execution["tick_size"] * factor,
            "lot_size": execution["lot_size"] / factor,
        },
    }


@bounded
@given(seeds, st.integers(min_value=-8, max_value=8))
def test_prices_times_a_power_of_two_with_quantities_divided_by_it_give_the_same_money_to_the_bit(
    seed: int, power: int
) -> None:
    case, factor = drawn(seed), 2.0**power
    # A decimal step is no decimal step any more once it is doubled.
    for name in ("tick_size", "lot_size"):
        case["execution"][name] = power_of_two(case["execution"][name])
    here, there = run_engine(case), run_engine(scaled(case, factor))
    assert here.summary.tobytes() == there.summary.tobytes()
    assert here.band_summaries.tobytes() == there.band_summaries.tobytes()
    assert here.records.equity.tobytes() == there.records.equity.tobytes()
    assert here.records.low_mark.tobytes() == there.records.low_mark.tobytes()
    for name in (
        "entry_price",
        "exit_price",
        "stop_price",
        "target_price",
        "best_price",
        "worst_price",
        "initial_risk",
    ):
        ours, theirs = here.records.trades[name] * factor, there.records.trades[name]
        assert np.array_equal(ours, theirs, equal_nan=True), name
    for name in ("fees", "slippage", "funding", "gross_pnl", "net_pnl", "exit_bar", "exit_reason", "ambiguous"):
        assert np.array_equal(here.records.trades[name], there.records.trades[name]), name
    assert np.array_equal(here.records.fills["quantity"] / factor, there.records.fills["quantity"])


# -- Time --------------------------------------------------------------------------------------------------------------


def cut(case: dict[str, Any], count: int) -> dict[str, Any]:
    """The case with its first `count` signal bars and the detail inside them, as it was on that day."""
    signals = case["signal_bars"]
    end = signals["time"][count - 1] + signals["timeframe_ms"]

    def before(bars: dict[str, Any]) -> dict[str, Any]:
        keep = sum(time < end for time in bars["time"])
        return {name: values[:keep] if isinstance(values, list) else values for name, values in bars.items()}

    return {
        **case,
        "signal_bars": before(signals),
        "detail": case["detail"] and before(case["detail"]),
        "plan": {name: values[:count] for name, values in case["plan"].items()},
        "funding": [(time, rate) for time, rate in case["funding"] if time <= end],
    }


@bounded
@given(seeds, st.floats(min_value=0.2, max_value=0.95))
def test_bars_appended_later_change_nothing_that_was_over_before(seed: int, share: float) -> None:
    case = drawn(seed)
    count = max(case["trade_from"] + 3, int(share * len(case["signal_bars"]["time"])))
    short = cut(case, count)
    # A market that had no volume yet has no cap yet (section 4): the one way in which the whole reaches back.
    assume(any(execution_bars(short)["volume"]) == any(execution_bars(case)["volume"]))
    assume(len(execution_bars(short)["time"]) > 0)
    before, after = run_engine(short), run_engine(case)
    last = len(execution_bars(short)["time"]) - 1

    over = before.records.trades["exit_reason"] != END_OF_DATA
    assert over.sum() >= len(over) - 1
    assert identical(before.records.trades[over], after.records.trades[: over.sum()])
    fills = after.records.fills
    assert identical(before.records.fills, fills[fills["bar"] <= last])
    ended = before.records.programs["outcome"] != Outcome.END_OF_DATA
    assert identical(before.records.programs[ended], after.records.programs[: ended.sum()])
    # From the bar that holds the last execution bar on, equity holds the cost of closing what would have gone on.
    signal_times, last_time = np.asarray(short["signal_bars"]["time"]), execution_bars(short)["time"][last]
    same = int(np.searchsorted(signal_times, last_time, side="right")) - 1 - case["trade_from"]
    assert before.equity_curve[: max(same, 0)].tobytes() == after.equity_curve[: max(same, 0)].tobytes()


@few
@given(seeds)
def test_what_happens_in_later_bars_never_changes_an_earlier_fill(seed: int) -> None:
    case = drawn(seed)
    assume(case["detail"] is None)
    bars = case["signal_bars"]
    half = len(bars["time"]) // 2
    other = {name: list(values) if isinstance(values, list) else values for name, values in bars.items()}
    for name in ("open", "high", "low", "close"):
        other[name][half:] = [1.5 * price for price in other[name][half:]]
    if "quote_volume" in other:
        other["quote_volume"][half:] = [1.5 * money for money in other["quote_volume"][half:]]
    here, there = run_engine(case).records, run_engine({**case, "signal_bars": other}).records
    for kind, bar in (("fills", "bar"), ("trades", "exit_bar")):
        ours, theirs = getattr(here, kind), getattr(there, kind)
        assert identical(ours[ours[bar] < half], theirs[theirs[bar] < half])


# -- The same run, run another way -------------------------------------------------------------------------------------


def same_records(one: BacktestResult, other: BacktestResult) -> bool:
    same = all(a.tobytes() == b.tobytes() for a, b in zip(one.records, other.records, strict=True))
    return same and one.summary.tobytes() == other.summary.tobytes()


@few
@given(seeds)
def test_a_run_repeated_has_the_same_bytes(seed: int) -> None:
    assert same_records(run_engine(drawn(seed)), run_engine(drawn(seed)))


class Momentum(Strategy):
    """Signals of both sides and exits from the bars themselves, so that nothing is handed over beside the candles."""

    def plan(self, bars: Any) -> Plan:
        change = np.diff(bars.close, prepend=bars.close[0])
        calm = np.abs(change) < np.median(np.abs(change))
        return Plan.of(entry=(change > 0) & ~calm, entry_short=(change < 0) & ~calm, exit=bars.volume == 0)


@few
@given(seeds)
def test_the_same_candles_as_dicts_pandas_polars_or_columns_give_the_same_bytes(seed: int) -> None:
    bars = drawn(seed)["signal_bars"]
    bars.pop("quote_volume", None)  # drawn with holes, which an audit of raw data refuses
    candles = candles_of(bars)
    assume(candles.audit.ok)
    columns = {name: values for name, values in bars.items() if name != "timeframe_ms"}
    forms: Sequence[Any] = (candles, list(candles), candles.to_pandas(), candles.to_polars(), columns)
    results = [
        backtest(
            form,
            Momentum(),
            1.0,
            symbol="RANDOM",
            timeframe="1H",
            check_lookahead=False,
            execution=ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005),
        )
        for form in forms
    ]
    assert all(same_records(results[0], other) for other in results[1:])


def variations(case: dict[str, Any], rng: np.random.Generator, rows: int) -> dict[str, Any]:
    """Columns of trade rules around those of the case."""
    return {
        "atr_sl_multiplier": rng.uniform(0.3, 4.0, rows),
        "atr_tp_multiplier": rng.uniform(0.3, 6.0, rows),
        "hybrid_tier1_timeout": rng.integers(0, 4, rows),
        "hybrid_tier3_timeout": rng.integers(0, 4, rows),
        "trailing_sl_enabled": rng.integers(0, 2, rows).astype(bool),
        "enable_hybrid_engine": rng.integers(0, 4, rows) > 0,
        "tier2_limit_offset_atr": rng.uniform(0.0, 1.0, rows),
        "max_chase_atr": rng.uniform(0.1, 3.0, rows),
        "exit_on_opposite_signal": rng.integers(0, 2, rows).astype(bool),
    }


@few
@given(seeds)
def test_a_sweep_over_trade_rules_equals_its_single_runs_to_the_bit_whatever_threads_and_order(seed: int) -> None:
    case, rows = drawn(seed), 12
    rng = np.random.default_rng(seed)
    columns = variations(case, rng, rows)
    single = run_engine(case)
    arguments: dict[str, Any] = {
        "execution": single.execution,
        "detail": None if case["detail"] is None else candles_of(case["detail"]),
        "funding": case["funding"],
        "trade_from": case["trade_from"],
        "check_lookahead": False,
    }
    candles, strategy, quantity = single.candles, single.strategy, case["quantity"]
    swept = sweep(candles, strategy, quantity, rows=columns, workers=1, **arguments)
    order = rng.permutation(rows)
    turned = sweep(
        candles,
        strategy,
        quantity,
        rows={name: values[order] for name, values in columns.items()},
        workers=2,
        **arguments,
    )
    assert swept.summaries[order].tobytes() == turned.summaries.tobytes()
    for row in range(rows):
        changes = {name: values[row].item() for name, values in columns.items()}
        alone = backtest(candles, strategy.replace(**changes), quantity, **arguments)
        for name in SUMMARY.names or ():
            assert alone.summary[name][0] == swept.summaries[name][row], (row, name)
        undefined = alone.metrics["undefined"]
        for name, values in swept.metrics.items():
            assert values[row] == (0.0 if name in undefined else alone.metrics[name]), (row, name)
    reference = metrics.headline(swept.summaries, swept.initial_capital, swept.bars_per_year, swept.years)
    assert all(np.array_equal(reference[name], swept.metrics[name]) for name in reference)


# -- Simple cases that have simple answers -----------------------------------------------------------------------------


@bounded
@given(seeds)
def test_without_tiers_costs_and_guard_an_entry_is_the_next_open_and_the_same_with_the_engine_switched_off(
    seed: int,
) -> None:
    case = drawn(seed)
    off = {f"enable_hybrid_tier{tier}": False for tier in (1, 2, 3)}
    case["rules"] |= off | {"enable_hybrid_engine": True, "enable_hybrid_tier4": True, "hybrid_tier4_timeout": 1}
    case["rules"]["max_chase_atr"] = NO_GUARD
    bars = execution_bars(case)
    case["execution"] |= {
        "slippage": 0.0,
        "max_participation": None,
        "initial_capital": 1e6 * max(bars["high"]) * case["quantity"],
        "leverage": 1.0,
        "fees": dict.fromkeys(case["execution"]["fees"], 0.0),
    }
    bars["volume"] = [1.0 for _ in bars["volume"]]
    bars.pop("quote_volume", None)
    # At risk 0 any guard is shut above the arrival price.
    case["plan"]["risk"] = [max(risk, 0.01) for risk in case["plan"]["risk"]]
    hybrid = run_engine(case)
    case["rules"]["enable_hybrid_engine"] = False
    assert same_records(hybrid, run_engine(case))
    programs, fills = hybrid.records.programs, hybrid.records.fills
    assert (programs["outcome"] == Outcome.FILLED).all()
    assert np.array_equal(fills["price"], column(bars, "open", fills["bar"]))
    assert np.array_equal(fills["bar"], programs["start_bar"][fills["program"]])
    opened = column(case["signal_bars"], "time", programs["signal_bar"]) + case["signal_bars"]["timeframe_ms"]
    first = np.searchsorted(bars["time"], opened, side="left")
    assert np.array_equal(first, programs["start_bar"])


def one_unclear_bar(offsets: Sequence[float], limit_entry: bool, intrabar: str, side: int) -> BacktestResult:
    """A trade whose only unclear bar is one in which both stop and target (or limit and target) lie, then calm.

    Args:
        offsets: Open, favourable and adverse reach of that bar in shares of the distances to target and stop.
        limit_entry: Enter at a limit inside that bar; else at the open of the bar before.
    """
    opens, reach, depth, close, after = offsets
    # In units for a long: R = 100, A = 1, stop at E - 2, target at E + 2.
    entry = 99.5 if limit_entry else 100.0
    open_ = 100.0 + 0.4 * opens
    low = entry - (0.01 + 1.98 * depth if limit_entry else 2.0 + depth)
    high = entry + 2.01 + reach
    close_ = low + (min(high, entry + 1.99) - low) * close
    last = entry + 1.5 * after
    rows = [(100.0, 100.2, 99.8, 100.0)] * 3
    if not limit_entry:
        rows.append((100.0, 100.2, 99.8, 100.0))
    rows += [(open_, max(high, open_), min(low, open_), close_), (close_, max(close_, last), min(close_, last), last)]
    rows += [(last, last, last, last)] * 2
    table = np.array(rows)
    if side < 0:
        table = 200.0 - table[:, [0, 2, 1, 3]]
    n = len(table)
    entries = [0] * n
    entries[2] = side
    candles = Candles.of(
        {
            "time": 1_735_689_600_000 + 3_600_000 * np.arange(n),
            **dict(zip(("open", "high", "low", "close"), table.T, strict=True)),
            "volume": np.full(n, 1e6),
        },
        symbol="UNCLEAR",
        timeframe="1H",
    )
    plan = {"entry": entries, "exit": [0] * n, "anchor": [100.0] * n, "vwap": [100.0] * n, "risk": [1.0] * n}
    kind = type("Unclear", (Planned,), {"columns": plan, "__module__": __name__})
    rules = {
        "atr_sl_multiplier": 2.0,
        "atr_tp_multiplier": 2.0,
        "trailing_sl_enabled": False,
        "trailing_tp_enabled": False,
        "enable_hybrid_tier1": False,
        "enable_hybrid_tier2": limit_entry,
        "tier2_limit_offset_atr": 0.5,
        "enable_hybrid_tier3": False,
        "max_chase_atr": NO_GUARD,
    }
    execution = ExecutionConfig(slippage=0.0, maker_fee=0.0, taker_fee=0.0, intrabar=intrabar)
    return backtest(candles, kind(**rules), 1.0, execution=execution, trade_from=0, check_lookahead=False)


shares = st.floats(min_value=0.0, max_value=1.0)


@bounded
@given(
    st.tuples(
        st.floats(min_value=-1.0, max_value=1.0), shares, shares, shares, st.floats(min_value=-1.0, max_value=1.0)
    ),
    st.booleans(),
    st.sampled_from((1, -1)),
)
def test_one_unclear_bar_gives_worst_at_most_path_at_most_best(
    offsets: tuple[float, ...], limit_entry: bool, side: int
) -> None:
    runs = {reading: one_unclear_bar(offsets, limit_entry, reading, side) for reading in ("worst", "path", "best")}
    for reading, run in runs.items():
        assert run.total_trades == 1
        assert run.trades[0].ambiguous, reading
        assert run.band == runs["worst"].band
        assert run.net_pnl == getattr(run.band, reading)
    band = runs["worst"].band
    assert band.worst <= band.path <= band.best
    assert band.best == pytest.approx(2.0, abs=1e-9)  # the target, 2 A from the entry
