"""Strategies that know the future are refused, and those that do not are let through.

Each leak here is one that people have put into a backtest without meaning to.
"""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from barwise.config import Int
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.engine import BacktestEngine, backtest
from barwise.errors import BacktestError, ConfigError, DataError
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import atr, ema, rolling_max, shift, sma, supertrend
from barwise.strategy.lookahead import LookAhead, LookAheadReport, check_lookahead
from barwise.strategy.other_futures import OtherFutures
from barwise.strategy.warm_up import LaterStart, WarmUp, warm_up_bars, warm_up_sensitivity
from barwise.sweeping import sweep

START_MS = 1_735_689_600_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BARS = 720


def market(seed: int, bars: int = BARS) -> Candles:
    """An hourly random walk in which every bar has a body and both wicks."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, bars)))
    opens = np.concatenate(([100.0], close[:-1]))
    return Candles.of(
        {
            "time": START_MS + HOUR_MS * np.arange(bars),
            "open": opens,
            "high": np.maximum(opens, close) * (1.0 + rng.uniform(0.001, 0.005, bars)),
            "low": np.minimum(opens, close) * (1.0 - rng.uniform(0.001, 0.005, bars)),
            "close": close,
            "volume": rng.uniform(100.0, 900.0, bars),
        },
        symbol="WALK",
        timeframe="1H",
    )


Columns = dict[str, Any]


def next_close(bars: Bars) -> Columns:
    """Buys where the next bar closes higher."""
    return {"entry": np.append(bars.close[1:] > bars.close[:-1], False)}


def rolled_back(bars: Bars) -> Columns:
    """`np.roll(..., -1)` where `shift` was meant."""
    return {"entry": np.roll(bars.close > shift(bars.close), -1)}


def z_score_of_all(bars: Bars) -> Columns:
    """Normalises by the mean and deviation of the whole column."""
    score = (bars.close - bars.close.mean()) / max(bars.close.std(), 1e-12)
    return {"entry": score > 0.5, "entry_short": score < -0.5}


def range_of_all(bars: Bars) -> Columns:
    """Scales by the lowest and highest close that will ever be."""
    low, high = bars.close.min(), bars.close.max()
    return {"entry": bars.close < 0.5 * (low + high), "anchor": np.full(bars.close.size, low)}


def centred_mean(bars: Bars) -> Columns:
    """A mean over bars on both sides."""
    total, at = np.concatenate(([0.0], np.cumsum(bars.close))), np.arange(bars.close.size)
    first, stop = np.maximum(at - 5, 0), np.minimum(at + 6, bars.close.size)
    return {"entry": bars.close < (total[stop] - total[first]) / (stop - first)}


def days_high(bars: Bars) -> Columns:
    """Merges the day's high into its hours: known at the first hour, made at some later one."""
    days = bars.time // DAY_MS
    highs = np.array([bars.high[days == day].max() for day in days])
    return {"entry": bars.close >= 0.99 * highs, "anchor": highs}


def filled_backwards(bars: Bars) -> Columns:
    """A value of every fifth bar, filled backwards instead of forwards."""
    source = np.minimum(np.arange(bars.close.size) // 5 * 5 + 4, bars.close.size - 1)
    return {"entry": bars.close[source] > bars.close}


def deviation_of_all(bars: Bars) -> Columns:
    """Honest signals, but stops sized by the volatility of the whole sample."""
    moves = np.diff(bars.close, prepend=bars.close[0])
    return {"entry": bars.close > shift(bars.close), "risk": np.full(bars.close.size, moves.std() + 1e-9)}


def foreseen_exit(bars: Bars) -> Columns:
    """Honest entries, exits before the bars that fall."""
    falls = np.append(bars.close[1:] < bars.close[:-1], False)
    return {"entry": bars.close > shift(bars.close), "exit": falls}


def unfinished_quarter_day(bars: Bars) -> Columns:
    """Merges the closes of six-hour bars by their open: five of six hours know a close that is still to come."""
    group = np.arange(bars.close.size) // 6
    closes = bars.close[np.minimum(group * 6 + 5, bars.close.size - 1)]
    return {"entry": (closes > shift(closes)) & (np.arange(bars.close.size) % 6 == 0)}


def tomorrows_line(bars: Bars) -> Columns:
    """Tier 1 waits at the next bar's low."""
    return {"entry": bars.close > shift(bars.close), "anchor": np.append(bars.low[1:], bars.low[-1])}


Leak = Callable[[Bars], Columns]
LEAKS: list[Leak] = [
    next_close, rolled_back, z_score_of_all, range_of_all, centred_mean, days_high, filled_backwards, deviation_of_all,
    foreseen_exit, tomorrows_line, unfinished_quarter_day,
]  # fmt: skip


# What shows in the last bar of a prefix alone, and there every other time, may slip through four prefixes.
BROAD = [leak for leak in LEAKS if leak not in (foreseen_exit, unfinished_quarter_day)]


def leaking(leak: Leak) -> Strategy:
    class Leaking(Strategy):
        """Whatever the leak says."""

        def plan(self, bars: Bars) -> Plan:
            return Plan.of(**leak(bars))

    return Leaking()


@pytest.mark.parametrize("leak", BROAD, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_backtest_refuses_a_strategy_that_looks_ahead(leak: Leak, seed: int) -> None:
    with pytest.raises(
        BacktestError, match=r"^Leaking looks ahead: \w+ at 2025-.* was .* with the bars up to then"
    ) as e:
        backtest(market(seed), leaking(leak), 1.0)
    assert "check_lookahead=False" in e.value.hint


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_the_long_check_lists_every_kind_of_leak(leak: Leak, seed: int) -> None:
    found = check_lookahead(leaking(leak), market(seed), futures=0)
    assert found
    assert all(isinstance(place, LookAhead) for place in found)
    assert [place.bar for place in found] == sorted(place.bar for place in found)


def test_a_sweep_refuses_what_a_backtest_refuses() -> None:
    with pytest.raises(BacktestError, match="looks ahead"):
        sweep(market(0), leaking(next_close), 1.0, grid={"atr_sl_multiplier": [1.0, 2.0]})


def test_a_leaking_strategy_runs_all_the_same_where_the_user_says_so() -> None:
    candles, strategy = market(0), leaking(next_close)
    result = backtest(candles, strategy, 1.0, check_lookahead=False)
    assert result.total_trades > 0
    assert len(sweep(candles, strategy, 1.0, grid={"atr_sl_multiplier": [1.0]}, check_lookahead=False)) == 1
    with pytest.raises(BacktestError, match="looks ahead"):
        BacktestEngine(candles, strategy, 1.0).run()


def test_a_strategy_is_refused_on_every_run_and_not_on_the_first_one_alone() -> None:
    candles, strategy = market(1), leaking(rolled_back)
    for _ in range(2):
        with pytest.raises(BacktestError, match="looks ahead"):
            backtest(candles, strategy, 1.0)


class Breakout(Strategy):
    """Buys the break of an N-bar high when the bar closes strong."""

    lookback: int = Int(20, low=2, high=60)

    def plan(self, bars: Bars) -> Plan:
        ceiling = shift(rolling_max(bars.high, self.lookback))
        strong = (bars.close - bars.low) / np.maximum(bars.high - bars.low, 1e-12) > 0.7
        return Plan.of(entry=(bars.close > ceiling) & strong, anchor=ceiling, risk=atr(bars, 14))


class Mixed(Strategy):
    """Many indicators at once, running sums among them, which differ in the last digits between spans."""

    def plan(self, bars: Bars) -> Plan:
        band = supertrend(bars, 10, 3.0)
        running = np.cumsum(bars.close * bars.volume) / np.cumsum(bars.volume)
        return Plan.of(
            entry=(bars.close > running) & (band.direction == 1),
            entry_short=(bars.close < running) & (band.direction == -1),
            exit=np.where(bars.close > sma(bars.close, 5), -1, 1),
            anchor=ema(bars.close, 9),
            vwap=running,
            needs=[band.line],
        )


HONEST: list[Strategy] = [
    EmaRsiAtr(),
    EmaRsiAtr(ema_fast=3, ema_slow=8, ema_trend=30, enable_rsi_filter=False, rsi_lookback=5),
    EmaRsiAtr(ema_fast=3, ema_slow=8, ema_trend=30, enable_trend_filter=False, rsi_lookback=5),
    Breakout(),
    Breakout(lookback=3),
    Mixed(),
]


@pytest.mark.parametrize("strategy", HONEST, ids=repr)
def test_an_honest_strategy_passes_at_every_single_bar(strategy: Strategy) -> None:
    candles = market(5, bars=400)
    long = check_lookahead(strategy, candles, prefixes=None, futures=None)
    assert long.ok
    assert not long
    assert long.prefixes == 400 - 1 - warm_up_bars(strategy.plan(candles.bars))
    assert long.futures == 2 * long.prefixes
    assert not check_lookahead(strategy, candles)
    backtest(candles, strategy, 1.0)


def test_every_bar_is_checked_when_no_number_of_prefixes_is_given() -> None:
    candles = market(2, bars=120)
    at = 77

    class Once(Strategy):
        """Peeks at one bar only, where it says nothing once the future is known."""

        def plan(self, bars: Bars) -> Plan:
            entry = np.zeros(bars.close.size, bool)
            entry[at : at + 1] = bars.close.size == at + 1
            return Plan.of(entry=entry)

    assert not check_lookahead(Once(), candles, prefixes=3)
    assert [
        (found.bar, found.column, found.then, found.now) for found in check_lookahead(Once(), candles, prefixes=None)
    ] == [(at, "entry", 1.0, 0.0)]


def test_a_place_says_when_what_and_how_it_changed() -> None:
    place = check_lookahead(leaking(tomorrows_line), market(0), prefixes=1, futures=0)[0]
    assert place.column == "anchor"
    assert place.time_ms == START_MS + HOUR_MS * place.bar
    low = market(0).low
    assert (place.then, place.now) == (low[place.bar], low[place.bar + 1])
    assert f"anchor at 2025-01-{1 + place.bar // 24:02d}" in str(place)


def test_the_check_of_a_backtest_costs_a_handful_of_plans_once_and_none_after_that() -> None:
    class Counted(Strategy):
        """Counts how often it is asked."""

        calls: ClassVar[list[int]] = []

        def plan(self, bars: Bars) -> Plan:
            type(self).calls.append(bars.close.size)
            return Plan.of(entry=bars.close > shift(bars.close))

    candles = market(3)
    backtest(candles, Counted(), 1.0)
    first = len(Counted.calls)
    assert 2 < first <= 10
    backtest(candles, Counted(atr_sl_multiplier=3.0), 1.0)
    assert len(Counted.calls) == first + 1


def test_a_strategy_with_parameters_that_are_no_keys_is_checked_every_time() -> None:
    class Levels(Strategy):
        """Has a list among its parameters."""

        levels: list[float] = [0.001, 0.002]  # noqa: RUF012 - a declared parameter, copied for each object

        def plan(self, bars: Bars) -> Plan:
            rises = np.append(bars.close[1:] > bars.close[:-1] * (1.0 + self.levels[0]), False)
            return Plan.of(entry=rises if len(self.levels) == 1 else shift(rises.astype(float)) == 1.0)

    candles = market(4)
    for _ in range(2):
        assert backtest(candles, Levels(), 1.0, check_lookahead=False).total_trades > 0
        with pytest.raises(BacktestError, match="looks ahead"):
            backtest(candles, Levels(levels=[0.001]), 1.0)


def test_a_strategy_that_cannot_plan_a_shorter_span_is_answered_like_one_that_cannot_plan_at_all() -> None:
    class Needy(Strategy):
        """Refuses anything but the whole sample."""

        def plan(self, bars: Bars) -> Plan:
            if bars.close.size < BARS:
                raise ValueError("not enough bars for me")
            return Plan.of(entry=bars.close > shift(bars.close))

    with pytest.raises(BacktestError, match=r"Needy.*not enough bars for me"):
        backtest(market(0), Needy(), 1.0)


def test_columns_made_elsewhere_that_do_not_fit_a_shorter_span_are_refused() -> None:
    candles = market(0)
    known = np.append(candles.close[1:] > candles.close[:-1], False)

    class Prepared(Strategy):
        """Signals made beforehand over the whole sample: they have its length whatever bars come in."""

        def plan(self, bars: Bars) -> Plan:
            return Plan.of(entry=known)

    with pytest.raises(BacktestError):
        backtest(candles, Prepared(), 1.0)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_another_future_alone_shows_every_kind_of_leak(leak: Leak, seed: int) -> None:
    found = check_lookahead(leaking(leak), market(seed), prefixes=0)
    assert found
    assert {place.method for place in found} == {"noise"}
    assert found.warm_up is None
    assert "had other bars followed" in str(found)


def test_a_leak_in_exits_or_in_a_line_is_named_by_its_column() -> None:
    for leak, column in ((foreseen_exit, "exit"), (tomorrows_line, "anchor"), (deviation_of_all, "risk")):
        for only in ({"futures": 0}, {"prefixes": 0}):
            found = check_lookahead(leaking(leak), market(0), **only)
            assert {place.column for place in found} == {column}


def test_a_leak_of_one_bar_shows_at_exactly_that_bar_when_every_future_is_replaced() -> None:
    candles, at = market(6, bars=150), 90

    class Once(Strategy):
        """Knows the next close at one bar of all."""

        def plan(self, bars: Bars) -> Plan:
            entry = np.zeros(bars.close.size, bool)
            if bars.close.size > at + 1:
                entry[at] = bars.close[at + 1] > bars.close[at]
            return Plan.of(entry=entry)

    rises = bool(candles.close[at + 1] > candles.close[at])
    found = check_lookahead(Once(), candles, prefixes=0, futures=None)
    assert [(place.bar, place.column, place.then, place.now) for place in found] == [
        (at, "entry", float(not rises), float(rises))
    ]


def test_a_strategy_that_needs_all_the_bars_is_judged_by_other_futures() -> None:
    candles = market(0)

    class Whole(Strategy):
        """Takes the whole sample or nothing."""

        ahead: int = Int(0, low=0, high=1)

        def plan(self, bars: Bars) -> Plan:
            if bars.close.size < BARS:
                raise ValueError("not enough bars for me")
            return Plan.of(entry=np.roll(bars.close > shift(bars.close), -self.ahead))

    with pytest.raises(BacktestError, match="not enough bars for me"):
        check_lookahead(Whole(), candles)
    assert check_lookahead(Whole(), candles, prefixes=0).ok
    assert not check_lookahead(Whole(ahead=1), candles, prefixes=0).ok


def test_another_future_keeps_the_past_to_the_bit_and_is_made_of_sound_bars() -> None:
    candles, at = market(7), 300
    drawn, mirrored = OtherFutures(candles).after(at)
    for bars in (drawn, mirrored):
        assert all(np.array_equal(own[: at + 1], real[: at + 1]) for own, real in zip(bars, candles.bars, strict=True))
        assert np.array_equal(bars.time, candles.time)
        assert not any(column.flags.writeable for column in bars)
        assert (bars.close[at + 1 :] != candles.close[at + 1 :]).all()
        Candles.of(bars._asdict(), symbol="WALK", timeframe="1H")  # the audit finds nothing
        steps, real = (np.diff(np.log(column)) for column in (bars.close[at:], candles.close))
        assert 0.8 < steps.std() / real.std() < 1.2
    steps, back = np.diff(np.log(drawn.close[at:])), np.diff(np.log(mirrored.close[at:]))
    np.testing.assert_allclose(steps, -back, rtol=0, atol=1e-12)
    again = OtherFutures(candles).after(at)[0]
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))


def test_prices_that_have_no_shape_are_refused_and_can_be_left_out() -> None:
    columns = {name: column.copy() for name, column in market(0)[:200].bars._asdict().items()}
    columns["low"][50] = 0.0
    candles = Candles.of(columns, symbol="WALK", timeframe="1H", audit="off")
    with pytest.raises(DataError, match="a price is not positive") as e:
        check_lookahead(Breakout(), candles)
    assert "futures=0" in e.value.hint
    assert check_lookahead(Breakout(), candles, futures=0).ok


def test_numbers_that_check_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing would be checked"):
        check_lookahead(Breakout(), market(0), prefixes=0, futures=0)
    with pytest.raises(ConfigError, match="futures must be 0 or more, or None for every bar; got -1"):
        check_lookahead(Breakout(), market(0), futures=-1)


def test_a_report_counts_its_places_by_column_and_is_plain_json() -> None:
    report = check_lookahead(leaking(tomorrows_line), market(0), prefixes=10, futures=5)
    assert isinstance(report, LookAheadReport)
    assert 5 < report.prefixes <= 10  # two may end on the same bar
    assert report.futures == 10
    assert str(report).startswith(
        f"Leaking on WALK 1H, 720 bars: looks ahead, in {len(report)} places by {report.prefixes} shorter spans and 10 "
        f"other futures (anchor {len(report)}); the first: anchor at 2025-01-"
    )
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["ok"] is False
    assert [place["bar"] for place in plain["places"]] == [place.bar for place in report]
    assert report[:1] == report.places[:1]
    honest = check_lookahead(Breakout(), market(0), prefixes=4, futures=1)
    assert "no look-ahead found in 4 shorter spans and 2 other futures. Warm-up of 20 bars: " in str(honest)


def test_a_value_that_was_not_defined_is_null_in_json() -> None:
    place = LookAhead(3, START_MS, "anchor", float("nan"), 2.0)
    assert json.loads(json.dumps(place.to_dict(), allow_nan=False)) == {
        "bar": 3, "time_ms": START_MS, "column": "anchor", "then": None, "now": 2.0, "method": "prefix",
    }  # fmt: skip


def test_windows_of_fixed_length_do_not_depend_on_where_the_data_begins() -> None:
    class Window(Strategy):
        """Two simple means."""

        def plan(self, bars: Bars) -> Plan:
            slow = sma(bars.close, 40)
            return Plan.of(entry=sma(bars.close, 5) > slow, anchor=slow, risk=slow, needs=[slow])

    found = warm_up_sensitivity(Window(), market(8))
    assert found.bars == 39
    assert [(start.dropped, start.changed, start.settled) for start in found.starts] == [(10, 0, 0), (20, 0, 0)]
    assert all(start.entries > 100 for start in found.starts)
    assert found.share == 0.0


def test_entries_that_count_from_the_first_bar_all_change_when_the_data_begins_later() -> None:
    class Fourth(Strategy):
        """Buys at every fourth bar of whatever it is given."""

        def plan(self, bars: Bars) -> Plan:
            return Plan.of(entry=np.arange(bars.close.size) % 4 == 0)

    # Warm-up 19 (the default anchor line); 5 and 10 bars are left out, neither a multiple of 4, so no entry stays where
    # it was. From bar 24 on: 24, 28 .. 116 against 25, 29 .. 117; from 29 on: 32 .. 116 against 30 .. 118.
    found = warm_up_sensitivity(Fourth(), market(0, bars=120))
    assert found == WarmUp(19, (LaterStart(5, 48, 48, 94), LaterStart(10, 45, 45, 90)))
    assert found.share == 1.0
    assert str(found) == (
        "Warm-up of 19 bars: with the first 5 bars left out, 48 of 48 entry bars would differ (100.0 %), the last one "
        "94 bars into the comparison; with the first 10 bars left out, 45 of 45 entry bars would differ (100.0 %), the "
        "last one 90 bars into the comparison."
    )


def test_a_recursive_average_forgets_slowly_and_that_is_a_number_and_no_fault() -> None:
    class Crossing(Strategy):
        """The close above a long EMA."""

        def plan(self, bars: Bars) -> Plan:
            line = ema(bars.close, 100)
            return Plan.of(entry=bars.close > line, anchor=line, needs=[line])

    report = check_lookahead(Crossing(), market(9, bars=3000))
    assert report.ok
    assert report.warm_up is not None
    assert report.warm_up.bars == 99
    assert report.warm_up.share is not None
    assert 0.0 < report.warm_up.share < 0.1
    assert all(0 < start.settled < 1500 for start in report.warm_up.starts)


def test_too_few_bars_to_begin_later_leave_nothing_to_compare() -> None:
    found = warm_up_sensitivity(EmaRsiAtr(), market(0, bars=220))
    assert found == WarmUp(199, ())
    assert found.share is None
    assert str(found) == "Warm-up of 199 bars: too few bars to begin later."
    silent = warm_up_sensitivity(leaking(lambda bars: {"entry": np.zeros(bars.close.size, bool)}), market(0, bars=100))
    assert silent.share is None
    assert "no entry to compare" in str(silent)
