"""Walk-forward: nothing is chosen by bars it must not see, and the series is what its pieces were."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from barwise.backends import open_backend
from barwise.config import ExecutionConfig, Int, OptimizationConfig, WalForwardConfig, WalkForwardConfig
from barwise.core.layout import Bars, FloatArray
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.optimizer.engine import optimize
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.result import BacktestResult
from barwise.stats.resampling import as_candles_like, noise_future
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema, rolling_max, shift
from barwise.sweeping import Sweeper
from barwise.validation.walk_forward import (
    WalForwardEngine,
    WalkForwardEngine,
    WalkForwardResult,
    WindowResult,
    walk,
)
from barwise.validation.windows import Span, Window, generate_windows, span_of

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005, slippage=0.0007)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", num_trials=30, seed=5, workers=1, min_rung_trades=0)
WINDOWS = WalkForwardConfig(is_length_days=30, oos_length_days=10, stride_days=10, min_trades_per_window=2)
QUANTITY = 0.1


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 22))


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walk") / "ledger.sqlite"


@pytest.fixture(scope="module")
def walked(candles: Candles, ledger_file: Path) -> WalkForwardResult:
    return walked_over(candles, storage=ledger_file)


def walked_over(
    candles: Candles,
    strategy: Strategy = BASE,
    config: WalkForwardConfig = WINDOWS,
    search: OptimizationConfig = SEARCH,
    storage: Path | None = None,
    execution: ExecutionConfig = COSTS,
    quantity: float = QUANTITY,
    **settings: Any,
) -> WalkForwardResult:
    sweeper = Sweeper(
        candles, strategy, quantity, execution=execution, workers=search.workers, check_lookahead=False,
        detail=settings.pop("detail", None), funding=settings.pop("funding", None),
    )  # fmt: skip
    return walk(sweeper, strategy, config, search, run="test", storage=storage, **settings)


def fixed_walk(candles: Candles, config: WalkForwardConfig = WINDOWS, **settings: Any) -> WalkForwardResult:
    return walked_over(candles, config=config.replace(reoptimize=False), **settings)


def plain(candles: Candles, strategy: Strategy, first: int, stop: int, capital: float = 100_000.0) -> BacktestResult:
    costs = COSTS.replace(initial_capital=capital)
    return backtest(candles[:stop], strategy, QUANTITY, execution=costs, trade_from=first, check_lookahead=False)


def same_result(one: BacktestResult | None, other: BacktestResult | None) -> bool:
    assert one is not None
    assert other is not None
    return (
        one.summary.tobytes() == other.summary.tobytes() and one.equity_curve.tobytes() == other.equity_curve.tobytes()
    )


def same_walk(one: WalkForwardResult, other: WalkForwardResult) -> bool:
    strategies = [window.strategy for window in one.windows] == [window.strategy for window in other.windows]
    return strategies and one.equity.tobytes() == other.equity.tobytes()


# What is chosen, and by which bars.


def test_there_are_five_windows_and_they_do_not_all_choose_the_same(walked: WalkForwardResult) -> None:
    assert [window.number for window in walked.windows] == [1, 2, 3, 4, 5]
    assert len({repr(window.strategy) for window in walked.windows}) > 1
    assert all(window.trials > 60 for window in walked.windows)


def test_each_choice_is_that_of_a_search_of_the_in_sample_bars_alone(
    candles: Candles, walked: WalkForwardResult, tmp_path: Path
) -> None:
    for window in walked.windows:
        first, stop = window.span[:2]
        seed = int(np.random.SeedSequence([SEARCH.seed, window.number]).generate_state(1)[0])
        alone = optimize(
            candles[:stop], BASE, QUANTITY, execution=COSTS, trade_from=first, check_lookahead=False,
            config=SEARCH.replace(seed=seed, storage=str(tmp_path / f"{window.number}.sqlite")),
        )  # fmt: skip
        assert alone.strategy == window.strategy
        assert same_result(alone.best, window.in_sample)
        assert sum(len(stage.trials) for stage in alone.stages) == window.trials


def test_bars_after_in_sample_change_no_choice_and_bars_after_out_of_sample_change_no_result(
    candles: Candles, walked: WalkForwardResult
) -> None:
    cut = walked.windows[2].span.oos_stop
    assert cut == walked.windows[3].span.is_stop
    garbage = as_candles_like(candles, noise_future(candles.bars, cut - 1, np.random.default_rng(1)))
    again = walked_over(garbage)
    for before, after in zip(walked.windows[:4], again.windows[:4], strict=True):
        assert before.strategy == after.strategy
        assert same_result(before.in_sample, after.in_sample)
    for before, after in zip(walked.windows[:3], again.windows[:3], strict=True):
        assert same_result(before.out_of_sample, after.out_of_sample)
    # The garbage was there to be read.
    assert not same_result(walked.windows[3].out_of_sample, again.windows[3].out_of_sample)


def test_an_embargo_is_read_by_neither_part(candles: Candles) -> None:
    config = WINDOWS.replace(embargo=24)
    walked = walked_over(candles, config=config)
    for window in walked.windows:
        assert window.span.oos_first - window.span.is_stop == 24
        assert window.in_sample is not None
        assert len(window.in_sample.candles) == window.span.is_stop
        assert window.out_of_sample is not None
        assert window.out_of_sample.trade_from == window.span.oos_first


def test_the_same_seed_is_the_same_walk_and_another_seed_tries_other_points(
    candles: Candles, walked: WalkForwardResult, tmp_path: Path
) -> None:
    assert same_walk(walked, walked_over(candles))
    files = [tmp_path / "one.sqlite", tmp_path / "other.sqlite"]
    short = candles[: 40 * 24]
    for seed, file in zip((5, 6), files, strict=True):
        walked_over(short, search=SEARCH.replace(seed=seed), storage=file)
    tried = []
    for file in files:
        with Ledger(file) as ledger:
            tried.append(set(ledger.frame(DataSet.of(short[: 30 * 24]))["parameters"].to_list()))
    assert tried[0] != tried[1]


def test_windows_search_with_seeds_of_their_own(ledger_file: Path, walked: WalkForwardResult) -> None:
    with Ledger(ledger_file) as ledger:
        seeds = set(ledger.frame()["seed"].to_list())
    assert len(seeds) == len(walked.windows)


@pytest.mark.parametrize(("name", "workers"), [("threads", 1), ("threads", 2), ("processes", 2)])
def test_workers_change_nothing(
    candles: Candles, walked: WalkForwardResult, tmp_path: Path, name: str, workers: int
) -> None:
    told: list[int] = []
    with open_backend(name, workers) as backend:
        again = walked_over(
            candles, search=SEARCH.replace(workers=workers), storage=tmp_path / "ledger.sqlite", backend=backend,
            on_window=lambda window, total: told.append(10 * window.number + total),
        )  # fmt: skip
    assert same_walk(walked, again)
    assert again.metrics == walked.metrics
    assert told == [15, 25, 35, 45, 55]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for window in again.windows:
            assert ledger.trials(DataSet.of(candles[window.span.is_first : window.span.is_stop])) > 0


def test_the_ledger_has_each_windows_trials_as_a_data_set_of_its_own(
    candles: Candles, walked: WalkForwardResult, ledger_file: Path
) -> None:
    with Ledger(ledger_file) as ledger:
        assert ledger.trials(DataSet.of(candles)) == 0
        for window in walked.windows:
            data = DataSet.of(candles[window.span.is_first : window.span.is_stop])
            assert data.first_ms == int(window.window.is_start.timestamp() * 1000)
            assert data.end_ms == int(window.window.is_end.timestamp() * 1000)
            # The base of a stage is the choice of the one before, so a trial may be asked for twice.
            assert 60 < ledger.trials(data) <= window.trials
        assert {run.run for run in ledger.runs()} == {f"test-w{number}" for number in (1, 2, 3, 4, 5)}


# The out-of-sample part.


def test_out_of_sample_is_a_plain_backtest_with_the_indicators_warmed_up(
    candles: Candles, walked: WalkForwardResult
) -> None:
    for window in walked.windows:
        span = window.span
        assert same_result(window.out_of_sample, plain(candles, window.strategy, span.oos_first, span.oos_stop))
        assert window.out_of_sample is not None
        for trade in window.out_of_sample.trades:
            assert window.window.oos_start < trade.entry_time
            assert trade.exit_time < window.window.oos_end


class Always(Strategy):
    """Long from the first bar on, and nothing ever closes it."""

    enable_hybrid_engine: bool = False
    trailing_sl_enabled: bool = False
    trailing_tp_enabled: bool = False
    atr_sl_multiplier: float = 1000.0
    atr_tp_multiplier: float = 1000.0

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=np.ones(bars.close.size, bool), anchor=ema(bars.close, 2))


def test_what_is_open_at_the_end_of_a_window_is_closed_there_at_market_with_costs(candles: Candles) -> None:
    walked = fixed_walk(candles, strategy=Always())
    for window in walked.windows:
        result = window.out_of_sample
        assert result is not None
        [trade] = result.trades
        assert trade.exit_reason == "end_of_data"
        last = result.candles[-1]["close"]
        tick = trade.exit_price - last * (1.0 - COSTS.slippage)
        assert abs(tick) < 0.02  # the price is rounded to the tick
        entry, leave = (price * trade.quantity for price in (trade.entry_price, trade.exit_price))
        assert trade.fees == pytest.approx(COSTS.taker_fee * (entry + leave))  # type: ignore[operator]
        # Flat before: the entry is a fill of the window's second bar, the first signal that may be used is its first.
        assert trade.entry_time == datetime.fromtimestamp(candles.time[window.span.oos_first + 1] / 1000, UTC)
        # Nothing is left open: what the account has is what was made.
        assert result.final_equity == pytest.approx(100_000.0 + trade.net_pnl)
    # The stitched series pays these costs once per window too.
    assert len(walked.trades) == 5
    assert walked.metrics["fees"] == pytest.approx(sum(trade.fees for trade in walked.trades))


# The stitched series.


def test_the_equity_curve_is_the_pieces_chained_by_hand(candles: Candles, walked: WalkForwardResult) -> None:
    account = 100_000.0
    equity: list[float] = []
    bars: list[int] = []
    for window in walked.windows:
        piece = plain(candles, window.strategy, window.span.oos_first, window.span.oos_stop, account)
        account = piece.final_equity
        equity += piece.equity_curve.tolist()
        bars += range(window.span.oos_first, window.span.oos_stop)
    assert walked.equity.tolist() == equity
    assert walked.bars.tolist() == bars
    assert walked.metrics["final_equity"] == account == equity[-1]
    assert account - 100_000.0 == pytest.approx(sum(trade.net_pnl for trade in walked.trades))


def test_its_metrics_are_those_of_its_returns_and_trades_by_hand(walked: WalkForwardResult) -> None:
    before = np.concatenate([[100_000.0], walked.equity[:-1]])
    returns = walked.equity / before - 1.0
    found = walked.metrics
    assert walked.returns == pytest.approx(returns, abs=1e-15)
    assert found["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(8760.0))
    peak = np.maximum.accumulate(np.concatenate([[100_000.0], walked.equity]))[1:]
    assert found["max_drawdown"] == pytest.approx(100.0 * np.max(1.0 - walked.equity / peak))
    assert found["total_trades"] == len(walked.trades) > 10
    assert found["winning_trades"] == sum(trade.net_pnl > 0.0 for trade in walked.trades)
    assert found["fees"] == pytest.approx(sum(trade.fees for trade in walked.trades))
    assert found["net_pnl"] == pytest.approx(walked.equity[-1] - 100_000.0)
    assert found["total_return"] == pytest.approx(100.0 * (walked.equity[-1] / 100_000.0 - 1.0))
    years = 50.0 / 365.2425
    assert found["cagr"] == pytest.approx(100.0 * ((walked.equity[-1] / 100_000.0) ** (1.0 / years) - 1.0))
    gains = sum(trade.net_pnl for trade in walked.trades if trade.net_pnl > 0.0)
    losses = sum(trade.net_pnl for trade in walked.trades if trade.net_pnl < 0.0)
    assert found["profit_factor"] == pytest.approx(gains / -losses)


def test_the_confidence_is_the_probability_that_the_true_sharpe_ratio_is_above_0(walked: WalkForwardResult) -> None:
    from scipy import stats

    r = walked.returns
    ratio, count = r.mean() / r.std(ddof=1), len(r)
    skewness, kurtosis = stats.skew(r), stats.kurtosis(r, fisher=False)
    variance = (1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2) / (count - 1)
    assert walked.oos_psr == pytest.approx(stats.norm.cdf(ratio / np.sqrt(variance)))
    assert walked.confidence_score == walked.oos_psr


HEADLINE = (
    "sharpe_ratio", "sortino_ratio", "volatility", "skewness", "kurtosis", "max_drawdown", "cagr", "calmar_ratio",
    "omega_ratio", "recovery_factor", "profit_factor", "total_return", "net_pnl", "gross_pnl", "fees", "slippage",
    "funding", "total_trades", "winning_trades", "losing_trades", "win_rate", "expectancy", "expectancy_r", "sqn",
    "exposure", "maker_share", "fill_rate", "turnover", "turnover_ratio", "final_equity", "programs", "fills", "ruined",
    "ambiguous_trades",
)  # fmt: skip


def assert_metrics_of(walked: WalkForwardResult, alone: BacktestResult) -> None:
    for name in HEADLINE:
        assert walked.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-9), name
    mine = {name: why for name, why in alone.metrics["undefined"].items() if name in HEADLINE}
    assert walked.metrics["undefined"] == mine


def test_the_metrics_of_one_window_are_those_of_a_plain_backtest(candles: Candles) -> None:
    walked = fixed_walk(candles, WINDOWS.replace(oos_length_days=50, stride_days=50))
    assert len(walked.windows) == 1
    assert walked.metrics["total_trades"] > 10
    assert_metrics_of(walked, plain(candles, BASE, 30 * 24, 80 * 24))


def test_nights_and_weekends_of_sessions_are_elapsed_time_too(market_data: Path) -> None:
    candles = read_candles(market_data / "nse_RELIANCE_1d_20191001_20260821.parquet", exchange="NSE", symbol="RELIANCE")
    one_window = WINDOWS.replace(is_length_days=500, oos_length_days=2000, stride_days=2000)
    walked = fixed_walk(candles, one_window, quantity=1.0)
    [window] = walked.windows
    alone = backtest(
        candles[: window.span.oos_stop], BASE, 1.0, execution=COSTS, trade_from=window.span.oos_first,
        check_lookahead=False,
    )  # fmt: skip
    assert alone.metrics["cagr"] is not None
    assert_metrics_of(walked, alone)


def test_overlapping_windows_hand_over_where_the_next_one_begins(candles: Candles) -> None:
    walked = fixed_walk(candles, WINDOWS.replace(stride_days=4))
    assert len(walked.windows) == 11
    assert walked.bars.tolist() == list(range(30 * 24, 80 * 24))
    account = 100_000.0
    for at, piece in enumerate(walked.pieces):
        stop = (80 if at == 10 else 34 + 4 * at) * 24
        by_hand = plain(candles, BASE, (30 + 4 * at) * 24, stop, account)
        assert same_result(piece, by_hand)
        account = by_hand.final_equity
    assert any("overlap" in note for note in walked.notes)


def test_days_between_windows_are_in_no_series(candles: Candles) -> None:
    walked = fixed_walk(candles, WINDOWS.replace(stride_days=20))
    assert walked.bars.tolist() == [*range(30 * 24, 40 * 24), *range(50 * 24, 60 * 24), *range(70 * 24, 80 * 24)]
    years = 30.0 / 365.2425
    growth = walked.equity[-1] / 100_000.0
    assert walked.metrics["cagr"] == pytest.approx(100.0 * (growth ** (1.0 / years) - 1.0))


def test_a_ruined_account_trades_no_more(candles: Candles) -> None:
    costs = COSTS.replace(initial_capital=500.0, leverage=100.0)
    walked = fixed_walk(candles, strategy=Always(), execution=costs, quantity=0.5)
    assert walked.metrics["ruined"]
    assert len(walked.pieces) < len(walked.windows)
    assert walked.metrics["final_equity"] <= 0.0
    assert any("ruined" in note for note in walked.notes)
    json.dumps(walked.to_dict(), allow_nan=False)


# Scores, by hand.


def scored_result(
    candles: Candles, inside: list[float], outside: list[float], nets: list[float], bars: int = 240
) -> WalkForwardResult:
    """A walk-forward whose windows found these Sharpe ratios and net results."""
    edges = Window(*(datetime(2025, 1, day, tzinfo=UTC) for day in (1, 2, 2, 3)))
    windows: list[Any] = []
    for number, (own_is, own_oos, net) in enumerate(zip(inside, outside, nets, strict=True), 1):
        inside_result: Any = SimpleNamespace(sharpe_ratio=own_is)
        outside_result: Any = SimpleNamespace(sharpe_ratio=own_oos, net_pnl=net)
        span = Span(0, 100, 100, 100 + bars)
        windows.append(WindowResult(number, edges, span, BASE, inside_result, outside_result, 1, True, ()))
    empty: FloatArray = np.empty(0)
    return WalkForwardResult(
        candles, WINDOWS, tuple(windows), (), True, 100_000.0, np.empty(0, np.int64), empty, 0.0, ()
    )  # fmt: skip


def test_consistency_is_the_share_of_windows_with_a_profit_and_nothing_is_no_profit(candles: Candles) -> None:
    result = scored_result(candles, [1.0] * 4, [1.0] * 4, [10.0, -5.0, 3.0, 0.0])
    assert result.consistency_score == 0.5
    # Wilson, z = 1.959964: (0.5 + z^2/8) / (1 + z^2/4) -+ z sqrt(1/16 + z^2/64) / (1 + z^2/4)
    assert result.consistency_interval == pytest.approx((0.1500, 0.8500), abs=5e-5)


def test_stability_by_hand_where_the_error_of_a_window_is_larger_than_the_median(candles: Candles) -> None:
    result = scored_result(candles, [1.0] * 4, [1.0, 2.0, 3.0, 6.0], [1.0] * 4)
    # sd of 1 2 3 6 is sqrt(14 / 3) = 2.1602; error sqrt(8760 / 240) = 6.0415; median 2.5
    assert result.stability_score == pytest.approx(1.0 / (1.0 + 2.160247 / 6.041523), abs=1e-6)


def test_stability_by_hand_where_the_median_is_larger_than_the_error(candles: Candles) -> None:
    result = scored_result(candles, [1.0] * 4, [-1.0, -2.0, -3.0, -6.0], [1.0] * 4, bars=876_000)
    assert result.stability_score == pytest.approx(1.0 / (1.0 + 2.160247 / 2.5), abs=1e-6)


def test_equal_windows_are_perfectly_stable_and_one_window_says_nothing(candles: Candles) -> None:
    assert scored_result(candles, [1.0] * 3, [2.0] * 3, [1.0] * 3).stability_score == 1.0
    assert scored_result(candles, [1.0], [2.0], [1.0]).stability_score == 0.0


@pytest.mark.parametrize(
    ("inside", "outside", "efficiency", "indicator"),
    [
        ([2.0, 4.0], [1.0, 2.0], 0.5, 0.5),
        ([2.0, 4.0], [-1.0, 2.5], 0.25, 0.75),
        ([2.0, 4.0], [3.0, 9.0], 2.0, 0.0),  # better out-of-sample: no overfitting, and no less than that
        ([2.0, 4.0], [-3.0, 0.0], -0.5, 1.0),
        ([1.0, -1.0], [5.0, 5.0], None, 1.0),  # a mean of 0 has no efficiency
        ([-2.0, 1.0], [5.0, 5.0], None, 1.0),
        ([], [], None, 1.0),
    ],
)
def test_efficiency_and_overfitting_indicator_by_hand(
    candles: Candles, inside: list[float], outside: list[float], efficiency: float | None, indicator: float
) -> None:
    result = scored_result(candles, inside, outside, outside)
    assert result.efficiency == efficiency
    assert result.overfitting_indicator == indicator


def test_without_a_scored_window_every_score_says_nothing(candles: Candles) -> None:
    result = scored_result(candles, [], [], [])
    assert (result.consistency_score, result.stability_score, result.confidence_score) == (0.0, 0.0, 0.0)
    assert result.consistency_interval == (0.0, 1.0)
    assert result.oos_psr is None
    assert result.metrics["sharpe_ratio"] is None


def test_the_scores_are_those_of_the_windows_results(candles: Candles, walked: WalkForwardResult) -> None:
    assert len(walked.scored) > 2
    results = [plain(candles, w.strategy, w.span.oos_first, w.span.oos_stop) for w in walked.scored]
    assert walked.consistency_score == np.mean([result.net_pnl > 0.0 for result in results])
    ratios = np.array([result.sharpe_ratio for result in results])
    spread = ratios.std(ddof=1) / max(abs(np.median(ratios)), np.sqrt(8760 / 240))
    assert walked.stability_score == pytest.approx(1.0 / (1.0 + spread))
    inside = np.mean([plain(candles, w.strategy, *w.span[:2]).sharpe_ratio for w in walked.scored])
    assert walked.efficiency == pytest.approx(ratios.mean() / inside)


def test_windows_with_few_trades_are_marked_and_stay_in_the_series(candles: Candles, walked: WalkForwardResult) -> None:
    counts = [window.out_of_sample.total_trades for window in walked.windows if window.out_of_sample is not None]
    limit = sorted(counts)[2]
    assert min(counts) < limit
    again = fixed_choice(candles, walked, WINDOWS.replace(min_trades_per_window=limit))
    assert [window.scored for window in again.windows] == [count >= limit for count in counts]
    assert len(again.scored) < 5
    assert again.bars.tolist() == walked.bars.tolist()
    for window, count in zip(again.windows, counts, strict=True):
        said = f"{count} out-of-sample trades, fewer than {limit}: not scored."
        assert (said in window.notes) == (count < limit)
    assert any(f"{5 - len(again.scored)} of 5 windows" in note for note in again.notes)


def fixed_choice(candles: Candles, walked: WalkForwardResult, config: WalkForwardConfig) -> WalkForwardResult:
    again = walked_over(candles, config=config)
    assert same_walk(walked, again)
    return again


def test_drift_names_what_changed_between_windows(walked: WalkForwardResult) -> None:
    assert "ema_trend" in walked.drift
    assert walked.drift["ema_trend"] == [float(w.strategy.ema_trend) for w in walked.windows]  # type: ignore[attr-defined]
    assert "allow_long" not in walked.drift
    frame = walked.frame()
    assert frame.height == 5
    assert frame["ema_trend"].to_list() == walked.drift["ema_trend"]


# Other ways to walk.


def test_a_given_configuration_is_a_stability_check_and_searches_nothing(candles: Candles, tmp_path: Path) -> None:
    walked = fixed_walk(candles, storage=tmp_path / "ledger.sqlite")
    assert {window.trials for window in walked.windows} == {0}
    assert {repr(window.strategy) for window in walked.windows} == {repr(BASE)}
    assert not walked.reoptimized
    assert walked.to_dict()["kind"] == "stability_check"
    assert any("stability check" in note and "none of this is out-of-sample" in note for note in walked.notes)
    assert walked.drift == {}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.runs() == []


class Breakout(Strategy):
    """Buys the break of the highest high of the last bars."""

    lookback: int = Int(10, low=3, high=60)

    def plan(self, bars: Bars) -> Plan:
        ceiling = shift(rolling_max(bars.high, self.lookback))
        return Plan.of(entry=bars.close > ceiling, anchor=ema(bars.close, 5), needs=[ceiling])


def test_a_strategy_of_ones_own_walks_too(candles: Candles) -> None:
    walked = walked_over(candles, Breakout(), search=SEARCH.replace(ranges={"lookback": (3, 40)}, num_trials=12))
    assert all(isinstance(window.strategy, Breakout) for window in walked.windows)
    assert "lookback" in walked.drift
    assert all(3 <= lookback <= 40 for lookback in walked.drift["lookback"])
    for window in walked.windows:
        span = window.span
        assert same_result(window.out_of_sample, plain(candles, window.strategy, span.oos_first, span.oos_stop))


def test_funding_is_paid_out_of_sample(candles: Candles) -> None:
    rates = [(int(time), 0.001) for time in candles.time[::8]]
    walked = fixed_walk(candles, strategy=Always(), funding=rates)
    assert walked.metrics["funding"] == pytest.approx(sum(trade.funding for trade in walked.trades))
    assert walked.metrics["funding"] > 0.0


def test_bars_of_a_day_walk_as_soon_as_the_longest_period_is_there(tmp_path: Path) -> None:
    daily = sample_candles("SAMPLE-BTC", "1D", datetime(2023, 1, 1), datetime(2024, 7, 1))
    config = WINDOWS.replace(is_length_days=100, oos_length_days=60, stride_days=60, min_trades_per_window=0)
    search = SEARCH.replace(num_trials=8)
    walked = walked_over(daily, EmaRsiAtr(), config, search)
    # The box reaches to an average of 230 bars; the in-sample parts end after 100, 160, 220, 280, ...
    assert [window.trials > 0 for window in walked.windows] == [False] * 3 + [True] * 4
    assert [window.scored for window in walked.windows] == [False] * 3 + [True] * 4
    assert any("3 of 7 windows could not be searched" in note for note in walked.notes)
    assert len(walked.bars) == 7 * 60


def test_data_in_which_no_window_can_be_searched_are_one_sentence() -> None:
    daily = sample_candles("SAMPLE-BTC", "1D", datetime(2023, 1, 1), datetime(2023, 6, 1))
    with pytest.raises(
        DataError, match=r"no window could be searched: .* the search box reaches to ema_trend 230 bars"
    ):
        walked_over(daily, EmaRsiAtr())


def test_windows_of_too_few_bars_are_kept_and_not_traded() -> None:
    weekly = sample_candles("SAMPLE-BTC", "1W", datetime(2022, 1, 3), datetime(2024, 7, 1))
    walked = fixed_walk(weekly, WINDOWS.replace(is_length_days=60, oos_length_days=7, stride_days=7))
    assert all(window.out_of_sample is None for window in walked.windows)
    assert walked.pieces == ()
    assert walked.oos_psr is None
    assert walked.metrics["final_equity"] == 100_000.0
    json.dumps(walked.to_dict(), allow_nan=False)


# The flat API.


def test_the_engine_takes_the_calls_of_the_flat_api(candles: Candles, walked: WalkForwardResult, home: Path) -> None:
    positional = WalForwardEngine(candles, BASE, 0.1, "SAMPLE", "SAMPLE-BTC", "1H", WalForwardConfig())
    keywords = WalkForwardEngine(
        candles=candles.to_dicts(), config=BASE, order_qty=0.1, exchange="SAMPLE", symbol="SAMPLE-BTC", timeframe="1H",
        wfa_config=WINDOWS, opt_config=SEARCH, execution=COSTS,
    )  # fmt: skip
    [only] = positional.generate_windows()
    assert only == (*(datetime(2025, *day, tzinfo=UTC) for day in ((1, 1), (3, 2), (3, 2), (3, 22))),)
    windows = keywords.generate_windows()
    assert len(windows) == 5
    assert all(isinstance(window, tuple) and len(window) == 4 for window in windows)
    is_start, is_end, oos_start, oos_end = windows[0]
    assert is_start < is_end == oos_start < oos_end
    result = keywords.run()
    assert same_walk(result, walked)
    assert (home / "data" / "ledger.sqlite").is_file()
    path = keywords.save_results(result)
    assert path.parent == home / "data" / "results"
    saved = json.loads(path.read_text())
    assert saved["schema_version"] == 1
    assert len(saved["windows"]) == 5
    for name in ("consistency_score", "overfitting_indicator", "confidence_score", "stability_score"):
        assert saved[name] == getattr(result, name)
        assert 0.0 <= saved[name] <= 1.0


def test_the_engine_refuses_settings_of_another_kind(candles: Candles) -> None:
    wrong: Any = SEARCH
    with pytest.raises(ConfigError, match="wfa_config must be a WalForwardConfig; got OptimizationConfig"):
        WalForwardEngine(candles, BASE, 0.1, wfa_config=wrong)


def test_the_engines_windows_are_those_of_its_candles(candles: Candles) -> None:
    engine = WalForwardEngine(candles, BASE, 0.1, wfa_config=WINDOWS)
    assert engine.generate_windows() == generate_windows(candles, WINDOWS)
    assert [span_of(candles, window).oos_first for window in engine.generate_windows()] == [720, 960, 1200, 1440, 1680]


def test_data_shorter_than_a_window_are_one_sentence(candles: Candles) -> None:
    short = replace(candles, symbol="SHORT")[: 20 * 24]
    with pytest.raises(DataError, match=r"needs 40 days; the candles span 20\."):
        WalForwardEngine(short, BASE, 0.1, wfa_config=WINDOWS).run()


def test_where_a_market_closes_the_out_of_sample_test_rests_on_sessions(market_data: Path, tmp_path: Path) -> None:
    file = market_data / "nse_tickbuilt_RELIANCE_1m_202103_20210507.parquet"
    candles = read_candles(file, exchange="NSE", symbol="RELIANCE", audit="report").resample("15M")
    windows = WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10, min_trades_per_window=0)
    found = walked_over(candles, config=windows, storage=tmp_path / "ledger.sqlite")
    assert len(found.bars) > 100
    # By hand: equity at the last bar of each local day, and the capital before the first.
    day = [datetime.fromtimestamp(int(time) / 1000 + 19_800, UTC).date() for time in candles.time[found.bars]]
    last = dict(zip(day, found.equity, strict=True))
    levels = np.array([found.capital, *last.values()])
    returns = levels[1:] / levels[:-1] - 1.0
    np.testing.assert_allclose(found.tested_returns, returns, rtol=0, atol=1e-15)
    expected = returns.mean() / returns.std(ddof=1) * np.sqrt(candles.calendar.days_per_year)
    assert found.oos_sharpe == pytest.approx(expected, rel=1e-9)
    assert found.oos_sharpe != found.metrics["sharpe_ratio"]


def test_where_a_market_never_closes_it_rests_on_bars(walked: WalkForwardResult) -> None:
    assert walked.tested_returns is walked.returns
    assert walked.oos_sharpe == walked.metrics["sharpe_ratio"]
