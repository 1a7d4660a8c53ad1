"""A sweep is many single runs to the last bit, with no more memory than it needs and the errors of a single run."""

import os
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from barwise.config import ExecutionConfig, Float, Int
from barwise.core.layout import SUMMARY, Bars
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError, ConfigError, DataError
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import atr, crossed_above, crossed_below, ema, rolling_max, shift
from barwise.sweeping import SweepResult, sweep

COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 15))


@pytest.fixture(scope="module")
def fine(candles: Candles) -> Candles:
    return sample_candles("SAMPLE-BTC", "15M", datetime(2025, 1, 1), datetime(2025, 2, 15))


def random_rows(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """Valid rows of the built-in strategy that vary everything a plan and an execution depend on."""
    fast = rng.integers(2, 15, count)
    slow = fast + rng.integers(1, 30, count)
    return {
        "ema_fast": fast,
        "ema_slow": slow,
        "ema_trend": slow + rng.integers(1, 80, count),
        "rsi_period": rng.integers(2, 20, count),
        "rsi_lookback": rng.choice([1, 2, 10, 50], count),
        "rsi_long_threshold": rng.uniform(20.0, 49.0, count),
        "rsi_short_threshold": rng.uniform(51.0, 80.0, count),
        "atr_period": rng.integers(2, 30, count),
        "enable_trend_filter": rng.integers(0, 2, count).astype(bool),
        "enable_rsi_filter": rng.integers(0, 2, count).astype(bool),
        "atr_sl_multiplier": rng.uniform(0.5, 4.0, count),
        "atr_tp_multiplier": rng.uniform(0.5, 6.0, count),
        "trailing_sl_threshold": rng.uniform(0.0, 0.03, count),
        "trailing_tp_threshold": rng.uniform(0.0, 0.03, count),
        "trailing_tp_atr_multiplier": rng.uniform(0.3, 3.0, count),
        "trailing_sl_enabled": rng.integers(0, 2, count).astype(bool),
        "trailing_tp_enabled": rng.integers(0, 2, count).astype(bool),
        "enable_hybrid_engine": rng.integers(0, 5, count) > 0,
        **{f"enable_hybrid_tier{tier}": rng.integers(0, 5, count) > 0 for tier in (1, 2, 3, 4)},
        **{f"hybrid_tier{tier}_timeout": rng.integers(0, 6, count) for tier in (1, 2, 3, 4)},
        "ema_touch_tolerance": rng.uniform(-0.002, 0.004, count),
        "tier2_limit_offset_atr": rng.uniform(0.0, 1.0, count),
        "tier3_vwap_band_atr": rng.uniform(0.0, 3.0, count),
        "max_chase_atr": rng.uniform(0.0, 3.0, count),
        "exit_on_opposite_signal": rng.integers(0, 2, count).astype(bool),
        "allow_long": rng.integers(0, 6, count) > 0,
        "allow_short": rng.integers(0, 6, count) > 0,
    }


def row_of(columns: Mapping[str, Any], row: int) -> dict[str, Any]:
    return {name: values[row].item() for name, values in columns.items()}


def assert_rows_equal_single_runs(
    swept: SweepResult,
    candles: Candles,
    strategy: Strategy,
    quantity: float,
    columns: Mapping[str, Any],
    **settings: Any,
) -> int:
    """Every SUMMARY field and every headline metric of every row, to the bit; returns the trades of all rows."""
    assert len(swept) == len(next(iter(columns.values())))
    for row in range(len(swept)):
        alone = backtest(candles, strategy.replace(**row_of(columns, row)), quantity, check_lookahead=False, **settings)
        for name in SUMMARY.names or ():
            assert alone.summary[name][0] == swept.summaries[name][row], (row, name, row_of(columns, row))
        undefined = alone.metrics["undefined"]
        for name, values in swept.metrics.items():
            assert values[row] == (0.0 if name in undefined else alone.metrics[name]), (row, name)
    return int(swept.summaries["trades"].sum())


def test_random_rows_of_the_built_in_strategy_equal_their_single_runs_to_the_bit(candles: Candles) -> None:
    columns = random_rows(np.random.default_rng(7), 250)
    swept = sweep(candles, EmaRsiAtr(), 0.1, rows=columns, execution=COSTS)
    assert assert_rows_equal_single_runs(swept, candles, EmaRsiAtr(), 0.1, columns, execution=COSTS) > 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"intrabar": "best", "limit_fill": "touch"},
        {"intrabar": "path", "max_participation": 0.0005, "lot_size": 0.01},
        {"leverage": 20.0, "initial_capital": 2000.0, "tick_size": 0.5},
    ],
    ids=str,
)
def test_rows_equal_single_runs_under_other_execution_settings(candles: Candles, settings: dict[str, Any]) -> None:
    columns = random_rows(np.random.default_rng(8), 40)
    execution = COSTS.replace(**settings)
    swept = sweep(candles, EmaRsiAtr(), 0.7, rows=columns, execution=execution)
    assert assert_rows_equal_single_runs(swept, candles, EmaRsiAtr(), 0.7, columns, execution=execution) > 100


def test_rows_equal_single_runs_with_detail_candles_funding_and_a_given_start(candles: Candles, fine: Candles) -> None:
    columns = random_rows(np.random.default_rng(9), 40)
    first = int(candles.time[0])
    settings: dict[str, Any] = {
        "execution": COSTS,
        "detail": fine,
        "funding": [(first + 8 * 3_600_000 * step, 0.0001 * (-1) ** step * step) for step in range(120)],
        "trade_from": 300,
    }
    swept = sweep(candles, EmaRsiAtr(), 0.1, rows=columns, **settings)
    assert (swept.summaries["bars"] == len(candles) - 300).all()
    assert (swept.summaries["funding"] != 0.0).any()
    assert assert_rows_equal_single_runs(swept, candles, EmaRsiAtr(), 0.1, columns, **settings) > 100


class Breakout(Strategy):
    """A strategy of a user: planned one set of parameters at a time."""

    lookback: int = Int(20, low=2, high=60)
    strength: float = Float(0.7, low=0.0, high=0.99)

    def plan(self, bars: Bars) -> Plan:
        ceiling, floor = shift(rolling_max(bars.high, self.lookback)), shift(-rolling_max(-bars.low, self.lookback))
        place = (bars.close - bars.low) / np.maximum(bars.high - bars.low, 1e-12)
        return Plan.of(
            entry=(bars.close > ceiling) & (place > self.strength),
            entry_short=(bars.close < floor) & (place < 1.0 - self.strength),
            exit=np.abs(place - 0.5) < 0.01,
            anchor=ceiling,
            risk=atr(bars, 14),
        )


class SlowCross(EmaRsiAtr):
    """Derived from the built-in strategy, with signals of its own: its parent's shared plans are not its plans."""

    extra: int = Int(3, low=1, high=20)

    def plan(self, bars: Bars) -> Plan:
        fast, slow = ema(bars.close, self.ema_fast * self.extra), ema(bars.close, self.ema_slow * self.extra)
        return Plan.of(
            entry=crossed_above(fast, slow), entry_short=crossed_below(fast, slow), anchor=fast, risk=atr(bars, 5)
        )


class Renamed(EmaRsiAtr):
    """Derived from the built-in strategy with other defaults and the same plan."""

    ema_fast: int = Int(4, low=2)
    ema_slow: int = Int(9, low=2)
    ema_trend: int = Int(30, low=2)


def test_rows_of_a_users_strategy_equal_their_single_runs_to_the_bit(candles: Candles) -> None:
    rng = np.random.default_rng(3)
    columns = {
        "lookback": rng.integers(2, 40, 60),
        "strength": rng.choice([0.0, 0.5, 0.8], 60),
        "atr_sl_multiplier": rng.uniform(0.5, 3.0, 60),
        "hybrid_tier1_timeout": rng.integers(0, 3, 60),
    }
    swept = sweep(candles, Breakout(), 0.1, rows=columns, execution=COSTS)
    assert assert_rows_equal_single_runs(swept, candles, Breakout(), 0.1, columns, execution=COSTS) > 500


@pytest.mark.parametrize("strategy", [SlowCross(), Renamed()], ids=repr)
def test_rows_of_a_strategy_derived_from_the_built_in_one_equal_their_single_runs(
    candles: Candles, strategy: Strategy
) -> None:
    columns: dict[str, Any] = {"ema_fast": np.array([2, 3, 5, 5]), "ema_slow": np.array([7, 8, 13, 21])}
    swept = sweep(candles, strategy, 0.1, rows=columns, execution=COSTS)
    assert assert_rows_equal_single_runs(swept, candles, strategy, 0.1, columns, execution=COSTS) > 20


def test_a_sweep_of_trade_rules_alone_plans_once(candles: Candles) -> None:
    class Counted(Breakout):
        """Counts its plans."""

        def plan(self, bars: Bars) -> Plan:
            plans.append(bars.close.size)
            return super().plan(bars)

    plans: list[int] = []
    sweep(candles, Counted(), 0.1, grid={"atr_sl_multiplier": np.linspace(0.5, 3.0, 20)}, check_lookahead=False)
    assert plans == [len(candles)]
    sweep(candles, Counted(), 0.1, grid={"lookback": [5, 6], "max_chase_atr": [1.0, 2.0, 3.0]}, check_lookahead=False)
    assert plans == [len(candles)] * 3


def test_columns_rows_and_grid_are_three_ways_to_say_the_same(candles: Candles) -> None:
    grid = {"ema_fast": range(3, 6), "atr_tp_multiplier": (1.0, 2.5)}
    listed = [{"ema_fast": fast, "atr_tp_multiplier": target} for fast in range(3, 6) for target in (1.0, 2.5)]
    columns = {"ema_fast": [3, 3, 4, 4, 5, 5], "atr_tp_multiplier": np.array([1.0, 2.5] * 3)}
    results = [
        sweep(candles, EmaRsiAtr(), 0.1, grid=grid),
        sweep(candles, EmaRsiAtr(), 0.1, rows=listed),
        sweep(candles, EmaRsiAtr(), 0.1, rows=columns),
    ]
    assert len(results[0]) == 6
    assert {result.summaries.tobytes() for result in results} == {results[0].summaries.tobytes()}
    assert all(result.frame().equals(results[0].frame()) for result in results)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 33])
@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_the_number_of_threads_changes_nothing(candles: Candles, count: int, workers: int | None) -> None:
    columns = random_rows(np.random.default_rng(count), count)
    alone = sweep(candles, EmaRsiAtr(), 0.1, rows=columns, workers=1, execution=COSTS)
    together = sweep(candles, EmaRsiAtr(), 0.1, rows=columns, workers=workers, execution=COSTS)
    assert alone.summaries.tobytes() == together.summaries.tobytes()


def test_a_row_does_not_depend_on_the_rows_around_it(candles: Candles) -> None:
    columns = random_rows(np.random.default_rng(11), 60)
    whole = sweep(candles, EmaRsiAtr(), 0.1, rows=columns, execution=COSTS)
    order = np.random.default_rng(12).permutation(60)
    turned = sweep(candles, EmaRsiAtr(), 0.1, rows={k: v[order] for k, v in columns.items()}, execution=COSTS)
    assert whole.summaries[order].tobytes() == turned.summaries.tobytes()
    for at in (slice(0, 1), slice(20, 41)):
        part = sweep(candles, EmaRsiAtr(), 0.1, rows={k: v[at] for k, v in columns.items()}, execution=COSTS)
        assert part.summaries.tobytes() == whole.summaries[at].tobytes()


def test_rows_beyond_one_batch_equal_the_same_rows_in_the_first(candles: Candles) -> None:
    few = candles[:300]
    columns = random_rows(np.random.default_rng(13), 1000)
    columns["ema_trend"] = columns["ema_slow"] + 1
    long = {name: np.tile(values, 9) for name, values in columns.items()}
    long["ema_fast"][8500] = long["ema_fast"][8500]
    whole = sweep(few, EmaRsiAtr(), 0.1, rows=long, trade_from=100, execution=COSTS, check_lookahead=False)
    first = sweep(few, EmaRsiAtr(), 0.1, rows=columns, trade_from=100, execution=COSTS, check_lookahead=False)
    assert whole.summaries.tobytes() == np.tile(first.summaries, 9).tobytes()


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_memory_grows_with_the_rows_by_their_parameters_and_summaries_alone(candles: Candles) -> None:
    few = candles[:400]

    def peak(rows: int) -> int:
        columns = random_rows(np.random.default_rng(5), rows)
        columns["ema_trend"] = columns["ema_slow"] + 1
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        swept = sweep(few, EmaRsiAtr(), 0.1, rows=columns, trade_from=150, workers=2, check_lookahead=False)
        assert len(swept) == rows
        return tracemalloc.get_traced_memory()[1] - before

    peak(1000)
    small, large = peak(10_000), peak(20_000)
    per_row = (large - small) / 10_000
    assert per_row < 1500  # PARAMS and SUMMARY are 550 bytes, 35 columns of eight bytes make 280
    assert small < 60e6


def test_best_is_the_first_row_with_the_highest_value(candles: Candles) -> None:
    swept = sweep(candles, EmaRsiAtr(enable_rsi_filter=False), 0.1, grid={"ema_fast": range(2, 12)}, execution=COSTS)
    for metric in ("sharpe_ratio", "net_pnl", "total_trades"):
        highest = int(np.argmax(swept.metrics[metric]))
        assert swept.best(metric) == {"ema_fast": 2 + highest}
    assert swept.best() == swept.best("sharpe_ratio")
    twice = sweep(candles, EmaRsiAtr(), 0.1, rows={"ema_fast": [9, 9], "max_chase_atr": [1.5, 1.5]}, execution=COSTS)
    assert twice.best() == {"ema_fast": 9, "max_chase_atr": 1.5}
    assert EmaRsiAtr().replace(**swept.best()).ema_fast == swept.best()["ema_fast"]


def test_a_row_without_a_trade_is_never_the_best_and_where_no_row_traded_there_is_none(candles: Candles) -> None:
    base = EmaRsiAtr(ema_fast=5, ema_slow=15, ema_trend=40, enable_rsi_filter=False, allow_short=False)
    costly = ExecutionConfig(maker_fee=0.01, taker_fee=0.01)
    losing = sweep(candles, base, 0.1, grid={"allow_long": [False, True]}, execution=costly)
    assert losing.metrics["total_trades"][0] == 0 < losing.metrics["total_trades"][1]
    assert losing.metrics["net_pnl"][0] == 0.0 > losing.metrics["net_pnl"][1]
    assert losing.best("net_pnl") == {"allow_long": True}
    idle = sweep(candles, base, 0.1, grid={"allow_long": [False]})
    with pytest.raises(ConfigError, match="no row of the sweep made a trade"):
        idle.best()


def test_best_by_a_metric_that_is_not_there_names_the_nearest(candles: Candles) -> None:
    swept = sweep(candles, EmaRsiAtr(), 0.1, grid={"ema_fast": [5, 6]})
    with pytest.raises(ConfigError, match=r"sharp_ratio is not a metric of a sweep\. Did you mean sharpe_ratio\?"):
        swept.best("sharp_ratio")


def test_the_frame_has_a_row_per_row_with_parameters_first_and_every_metric(candles: Candles) -> None:
    swept = sweep(candles, EmaRsiAtr(), 0.1, grid={"ema_fast": [5, 6], "enable_rsi_filter": [True, False]})
    frame = swept.frame()
    assert frame.columns == ["ema_fast", "enable_rsi_filter", *swept.metrics]
    assert frame["ema_fast"].to_list() == [5, 5, 6, 6]
    assert frame["enable_rsi_filter"].dtype == pl.Boolean
    assert frame["net_pnl"].to_list() == swept.summaries["net_pnl"].tolist()
    assert frame.height == len(swept) == 4


def test_a_sweep_starts_each_row_where_its_own_indicators_are_defined(candles: Candles) -> None:
    swept = sweep(candles, EmaRsiAtr(enable_rsi_filter=False), 0.1, grid={"ema_trend": [60, 100, 250]})
    assert swept.summaries["bars"].tolist() == [len(candles) - 59, len(candles) - 99, len(candles) - 249]


# -- What is refused, and how ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"ema_fsat": [5]}, r"ema_fsat is not a parameter of EmaRsiAtr\. Did you mean ema_fast\?"),
        ({"initial_capital": [5.0]}, "initial_capital is not a parameter of EmaRsiAtr"),
        ({"ema_fast": [5, 6, 1]}, r"row 2 of the sweep: EmaRsiAtr: ema_fast must be .* or equal to 2; got 1"),
        ({"atr_sl_multiplier": [1.0, 0.0]}, r"row 1 of the sweep: .*atr_sl_multiplier must be greater than 0; got 0"),
        ({"hybrid_tier1_timeout": [1001, 1]}, r"row 0 of the sweep: .*hybrid_tier1_timeout"),
        ({"ema_fast": [5.5]}, "row 0 of the sweep: .*ema_fast"),
        ({"max_chase_atr": [1.0, np.nan]}, "row 1 of the sweep: .*max_chase_atr"),
        ({"max_chase_atr": [np.inf, 1.0]}, "row 0 of the sweep: .*max_chase_atr"),
        ({"allow_long": [0, 1, 2]}, "row 2 of the sweep: .*allow_long"),
        ({"ema_fast": ["5", "6"]}, "ema_fast: a column of numbers is needed"),
        ({"ema_fast": [[5, 6]]}, r"ema_fast: a column of numbers is needed; got int64 of shape \(1, 2\)"),
        ({"ema_fast": 5}, "ema_fast: a column of numbers is needed"),
        ({"ema_fast": [5, 6], "ema_slow": [20]}, r"the columns of a sweep differ in length: .*'ema_fast': 2"),
        ({"ema_fast": []}, "at least one row"),
        ({}, "at least one row"),
        ([], "at least one row"),
        ([{"ema_fast": 5}, {"ema_slow": 9}], "every row of a sweep must name the same parameters"),
        ({"ema_fast": [5, 60]}, r"row 1 of the sweep breaks ema_fast < ema_slow < ema_trend.*ema_fast 60, ema_slow 50"),
        ({"ema_slow": [300, 40]}, "row 0 of the sweep breaks ema_fast < ema_slow < ema_trend"),
        ({"rsi_long_threshold": [30.0, 65.0]}, "row 1 of the sweep breaks .*rsi_long_threshold 65"),
        ({"ema_fast": [60]}, "ema_fast < ema_slow < ema_trend"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_run_are_refused_and_named(candles: Candles, rows: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(candles, EmaRsiAtr(), 0.1, rows=rows)


def test_the_row_that_breaks_a_rule_is_named_beyond_the_first_batch_too(candles: Candles) -> None:
    fast = np.full(8195, 5)
    fast[8193] = 60
    with pytest.raises(ConfigError, match=r"row 8,?193 of the sweep"):
        sweep(candles[:260], EmaRsiAtr(), 0.1, rows={"ema_fast": fast}, check_lookahead=False)


@pytest.mark.parametrize("arguments", [{}, {"rows": {"ema_fast": [5]}, "grid": {"ema_fast": [5]}}])
def test_rows_and_grid_exclude_each_other_and_one_is_needed(candles: Candles, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="sweep needs either rows or grid"):
        sweep(candles, EmaRsiAtr(), 0.1, **arguments)


@pytest.mark.parametrize("grid", [{}, {"ema_fast": []}, {"ema_fast": [5], "ema_slow": []}])
def test_an_empty_grid_is_refused(candles: Candles, grid: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least one row"):
        sweep(candles, EmaRsiAtr(), 0.1, grid=grid)


@pytest.mark.parametrize(
    "arguments", [{"grid": {"ema_fast": 5}}, {"rows": [5, 6]}, {"rows": "ema_fast"}, {"grid": [5]}]
)
def test_rows_of_no_use_are_a_configuration_error(candles: Candles, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        sweep(candles, EmaRsiAtr(), 0.1, **arguments)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_an_impossible_number_of_workers_is_a_configuration_error(candles: Candles, workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers"):
        sweep(candles, EmaRsiAtr(), 0.1, grid={"ema_fast": [5, 6]}, workers=workers)


def test_a_row_with_too_few_bars_is_answered_with_how_many_it_needs(candles: Candles) -> None:
    with pytest.raises(DataError, match=r"needs at least 2,001 bars \(2,000 for ema_trend, 1 to trade\)"):
        sweep(candles, EmaRsiAtr(), 0.1, rows={"ema_trend": [200, 2000]})
    with pytest.raises(DataError, match="Breakout has no usable signal within 60 bars"):
        sweep(candles[:60], Breakout(), 0.1, rows={"lookback": [5, 60]}, check_lookahead=False)


@pytest.mark.parametrize("trade_from", [-1, 10**6, 1.5, True, "3"])
def test_a_start_outside_the_data_is_refused_for_shared_and_for_single_plans(candles: Candles, trade_from: Any) -> None:
    for rows in (1, 2):
        with pytest.raises(ConfigError, match="trade_from must be a bar index from 0 to"):
            sweep(candles, EmaRsiAtr(), 0.1, rows={"ema_fast": list(range(5, 5 + rows))}, trade_from=trade_from)


class Broken(Strategy):
    """Fails in its plan."""

    period: int = Int(3, low=2)

    def plan(self, bars: Bars) -> Plan:
        raise KeyError("no such column")


class Answerless(Strategy):
    """Returns no plan."""

    period: int = Int(3, low=2)

    def plan(self, bars: Bars) -> Plan:
        return None  # type: ignore[return-value]


class TooShort(Strategy):
    """Returns fewer values than there are bars."""

    period: int = Int(3, low=2)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close[5:] > 0.0)


@pytest.mark.parametrize("check_lookahead", [True, False])
@pytest.mark.parametrize("strategy", [Broken(), Answerless(), TooShort()], ids=lambda s: type(s).__name__)
def test_a_plan_that_fails_in_a_sweep_is_the_error_a_backtest_gives(
    candles: Candles, strategy: Strategy, check_lookahead: bool
) -> None:
    with pytest.raises(BacktestError, match=rf"{type(strategy).__name__}\.plan\(\)"):
        sweep(candles, strategy, 0.1, grid={"period": [2, 3]}, check_lookahead=check_lookahead)


def test_a_strategy_class_instead_of_an_object_is_refused(candles: Candles) -> None:
    with pytest.raises(ConfigError, match="EmaRsiAtr is the class; a strategy object is needed"):
        sweep(candles, EmaRsiAtr, 0.1, grid={"ema_fast": [5]})  # type: ignore[arg-type]


def test_a_sweep_runs_where_the_system_cannot_say_which_cores_it_may_use(
    candles: Candles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`os.sched_getaffinity` is Linux alone; the package says that it runs on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert len(sweep(candles, EmaRsiAtr(), 0.1, grid={"ema_fast": [5, 6]})) == 2
