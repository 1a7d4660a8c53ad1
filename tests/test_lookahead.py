"""Strategies that know the future are refused, and those that do not are let through.

Each leak here is one that people have put into a backtest without meaning to.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from barwise.config import Int
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.engine import BacktestEngine, backtest
from barwise.errors import BacktestError
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import atr, ema, rolling_max, shift, sma, supertrend
from barwise.strategy.lookahead import LookAhead, check_lookahead
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


def tomorrows_line(bars: Bars) -> Columns:
    """Tier 1 waits at the next bar's low."""
    return {"entry": bars.close > shift(bars.close), "anchor": np.append(bars.low[1:], bars.low[-1])}


Leak = Callable[[Bars], Columns]
LEAKS: list[Leak] = [
    next_close, rolled_back, z_score_of_all, range_of_all, centred_mean, days_high, filled_backwards, deviation_of_all,
    foreseen_exit, tomorrows_line,
]  # fmt: skip


# What shows in the last bar of a prefix alone, and there every other time, may slip through four prefixes.
BROAD = [leak for leak in LEAKS if leak is not foreseen_exit]


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
    found = check_lookahead(leaking(leak), market(seed))
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
    assert check_lookahead(strategy, candles, prefixes=None) == []
    assert check_lookahead(strategy, candles) == []
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

    assert check_lookahead(Once(), candles, prefixes=3) == []
    assert [
        (found.bar, found.column, found.then, found.now) for found in check_lookahead(Once(), candles, prefixes=None)
    ] == [(at, "entry", 1.0, 0.0)]


def test_a_place_says_when_what_and_how_it_changed() -> None:
    place = check_lookahead(leaking(tomorrows_line), market(0), prefixes=1)[0]
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
