"""The flat module of walk-forward analysis: the calls that outside programs make, and that they are the package's."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import barwise.validation.engine
import walk_forward_engine
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from config import OptimizationConfig, StrategyConfig, WalForwardConfig
from walk_forward_engine import WalForwardEngine, WalkForwardEngine, WalkForwardResult, validate, walk_forward

QUICK = OptimizationConfig(profile="FAST", optuna_sampler="AUTO", num_trials=8, workers=1)
WINDOWS = WalForwardConfig(is_length_days=30, oos_length_days=10, stride_days=10, min_trades_per_window=1)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles(start="2024-01-01", end="2024-03-11")


@pytest.fixture
def engine(candles: Candles, home: Path) -> WalForwardEngine:
    """The engine with the flat API's names, positional ones included."""
    return WalForwardEngine(
        candles, StrategyConfig(enable_rsi_filter=False), 0.1, exchange="SAMPLE", symbol="SAMPLE-BTC", timeframe="1H",
        wfa_config=WINDOWS, opt_config=QUICK,
    )  # fmt: skip


def test_both_spellings_are_the_same_class_and_the_functions_are_the_packages() -> None:
    assert WalForwardEngine is WalkForwardEngine
    assert walk_forward_engine.WalForwardConfig is walk_forward_engine.WalkForwardConfig is WalForwardConfig
    assert validate is barwise.validation.engine.validate
    assert walk_forward is barwise.validation.engine.walk_forward


def test_the_windows_follow_each_other_by_the_stride_and_touch_without_an_embargo(engine: WalForwardEngine) -> None:
    windows = engine.generate_windows()
    start = datetime(2024, 1, 1, tzinfo=UTC)
    # 70 days: a window takes 40, and three more begin ten days after each other.
    assert [window[0] for window in windows] == [start + timedelta(days=10 * at) for at in range(4)]
    for is_start, is_end, oos_start, oos_end in windows:
        assert is_end - is_start == timedelta(days=30)
        assert oos_start == is_end
        assert oos_end - oos_start == timedelta(days=10)


def test_a_run_gives_the_scores_as_fractions_and_saves_all_of_it(engine: WalForwardEngine, home: Path) -> None:
    result = engine.run()
    assert isinstance(result, WalkForwardResult)
    assert len(result.windows) == 4
    for score in (result.consistency_score, result.overfitting_indicator, result.confidence_score):
        assert 0.0 <= score <= 1.0
    assert 0.0 <= result.stability_score <= 1.0
    assert math.isclose(result.equity[-1] - 100_000.0, sum(trade.net_pnl for trade in result.trades), abs_tol=1e-6)

    path = engine.save_results(result)
    assert path.is_relative_to(home / "data" / "results")
    saved = json.loads(path.read_text("utf-8"))
    assert saved["kind"] == "walk_forward"
    assert saved["consistency_score"] == result.consistency_score
    assert len(saved["windows"]) == 4
    assert (home / "data" / "ledger.sqlite").is_file()


def test_fixed_parameters_are_traded_unchanged_and_called_a_stability_check(candles: Candles, home: Path) -> None:
    given = StrategyConfig(enable_rsi_filter=False, ema_fast=11)
    result = WalForwardEngine(candles, given, 0.1, wfa_config=WINDOWS.replace(reoptimize=False), opt_config=QUICK).run()
    assert {window.strategy for window in result.windows} == {given}
    assert result.to_dict()["kind"] == "stability_check"
    assert "stability check" in result.notes[0]
    assert not (home / "data" / "ledger.sqlite").exists()


def test_windows_longer_than_the_data_are_one_sentence(candles: Candles, home: Path) -> None:
    engine = WalForwardEngine(candles, StrategyConfig(), 0.1, wfa_config=WalForwardConfig(is_length_days=90))
    with pytest.raises(DataError, match=r"90 \+ 20 days needs 110 days; the candles span 70"):
        engine.generate_windows()


def test_settings_of_something_else_are_refused(candles: Candles) -> None:
    with pytest.raises(ConfigError, match="wfa_config must be a WalForwardConfig; got OptimizationConfig"):
        WalForwardEngine(candles, StrategyConfig(), 0.1, wfa_config=QUICK)  # type: ignore[arg-type]
