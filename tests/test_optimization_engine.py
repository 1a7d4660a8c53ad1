"""The optimizer as programs on the flat API use it: the calls, their names and their order, and what comes back."""

import inspect
import json
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import barwise
import optimization_engine
from backtest_strategies import BacktestEngine
from barwise import Bars, Int, Plan, Strategy, atr, rolling_max, shift
from barwise.data.candles import Candles
from barwise.optimizer import engine
from config import OptimizationConfig, OptimizationProfile, StrategyConfig
from exchange_manager import CheckpointError, ConfigError
from optimization_engine import OptimizationEngine, OptimizationResult, optimize
from tests.conftest import REPOSITORY

INTEGERS = {"ema_fast", "ema_slow", "ema_trend", "rsi_period", "atr_period"}
REALS = {
    "rsi_long_threshold", "rsi_short_threshold", "atr_sl_multiplier", "atr_tp_multiplier", "trailing_sl_threshold",
    "trailing_tp_threshold", "trailing_tp_atr_multiplier",
}  # fmt: skip
TIMEOUTS = {f"hybrid_tier{tier}_timeout" for tier in range(1, 5)}
FAST = OptimizationConfig(profile=OptimizationProfile.FAST, optuna_sampler="AUTO")
STAGES = ("optimize_stage_7_1", "optimize_stage_7_2", "optimize_stage_7_3")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(home: Path) -> None:
    """The ledger and the results lie below the home folder."""


@pytest.fixture(scope="module")
def candles() -> Candles:
    return barwise.sample_candles(timeframe="1H", start=datetime(2025, 1, 1), end=datetime(2025, 3, 31))


def of_three_stages(candles: Candles, config: OptimizationConfig = FAST) -> OptimizationEngine:
    """An engine after all that the documentation calls."""
    opt = OptimizationEngine(
        candles, StrategyConfig(), 0.1, exchange="SAMPLE", symbol="SAMPLE-BTC", timeframe="1H", opt_config=config
    )
    for stage in STAGES:
        getattr(opt, stage)()
    return opt


# -- Names and signatures ----------------------------------------------------------------------------------------------


def test_the_flat_module_hands_on_the_packages_own_objects() -> None:
    assert optimization_engine.__all__ == ["OptimizationEngine", "OptimizationResult", "optimize"]
    assert all(getattr(optimization_engine, name) is getattr(engine, name) for name in optimization_engine.__all__)


def test_the_engine_keeps_the_names_and_the_order_of_its_arguments() -> None:
    parameters = inspect.signature(OptimizationEngine).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == ["candles", "base_config", "order_qty", "exchange", "symbol", "timeframe", "opt_config"]
    keywords = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert {"execution", "detail", "funding", "trade_from"} <= keywords


def test_what_the_stages_are_called_with_is_nothing_and_results_go_where_told() -> None:
    for stage in (*STAGES, "get_final_config"):
        assert list(inspect.signature(getattr(OptimizationEngine, stage)).parameters) == ["self"]
    folder = inspect.signature(OptimizationEngine.save_results).parameters["folder"]
    assert folder.default is None


def test_the_function_takes_the_keywords_of_a_backtest() -> None:
    function = inspect.signature(optimize).parameters
    assert list(function)[:3] == ["candles", "strategy", "qty"]
    backtest_keywords = inspect.signature(barwise.backtest).parameters
    assert set(backtest_keywords) <= set(function)


# -- The documented calls ----------------------------------------------------------------------------------------------


def test_every_stage_returns_a_mapping_with_the_documented_names(candles: Candles) -> None:
    opt = OptimizationEngine(candles, StrategyConfig(), 0.1, "SAMPLE", "SAMPLE-BTC", "1H", FAST)
    for stage, searched in zip(STAGES, (INTEGERS, REALS, TIMEOUTS), strict=True):
        results = getattr(opt, stage)()
        assert isinstance(results, Mapping)
        assert type(results["best_sharpe"]) is float
        assert type(results["num_trials"]) is int
        assert set(results["best_params"]) == searched
        assert json.loads(json.dumps(dict(results)))["best_sharpe"] == results["best_sharpe"]
    opt.close()


def test_keywords_give_the_same_result_as_positions_to_the_bit(candles: Candles) -> None:
    found = []
    for arguments in (
        {"args": (candles, StrategyConfig(), 0.1, "SAMPLE", "SAMPLE-BTC", "1H", FAST)},
        {
            "opt_config": FAST,
            "timeframe": "1H",
            "symbol": "SAMPLE-BTC",
            "exchange": "SAMPLE",
            "order_qty": 0.1,
            "base_config": StrategyConfig(),
            "candles": candles,
        },
    ):
        keywords: dict[str, Any] = dict(arguments)
        with OptimizationEngine(*keywords.pop("args", ()), **keywords) as opt:
            results = opt.optimize_stage_7_1()
            found.append((results["best_sharpe"], results["best_params"], results["num_trials"]))
    assert found[0] == found[1]


def test_each_stage_starts_from_the_best_of_the_one_before_and_is_never_worse(candles: Candles) -> None:
    with of_three_stages(candles) as opt:
        first, *later = opt.stages
        baseline = BacktestEngine(candles, StrategyConfig(), 0.1).run().sharpe_ratio
        assert first.base_value == baseline
        for before, after in pairwise([first, *later]):
            assert after.base_value == before.best_value
            assert after["best_sharpe"] >= before["best_sharpe"] >= baseline
            carried = {name: getattr(after.config, name) for name in before.best_params}
            assert carried == before.best_params


def test_the_final_strategy_is_the_sum_of_all_stages_and_backtests_to_what_they_said(candles: Candles) -> None:
    with of_three_stages(candles) as opt:
        final = opt.get_final_config()
        assert type(final) is StrategyConfig
        together = {name: value for stage in opt.stages for name, value in stage["best_params"].items()}
        assert final == StrategyConfig().replace(**together)
        again = BacktestEngine(candles, final, 0.1, "SAMPLE", "SAMPLE-BTC", "1H").run()
        last = opt.stages[-1]
        assert (again.sharpe_ratio, again.net_pnl, again.total_trades) == (
            last["best_sharpe"], last["net_pnl"], last["total_trades"],
        )  # fmt: skip


def test_before_any_stage_the_final_strategy_is_the_one_that_was_given(candles: Candles) -> None:
    given = StrategyConfig(ema_fast=12)
    with OptimizationEngine(candles, given, 0.1, opt_config=FAST) as opt:
        assert opt.get_final_config() == given


def test_the_results_are_saved_below_the_home_folder_with_all_that_was_concluded(candles: Candles, home: Path) -> None:
    with of_three_stages(candles) as opt:
        files = opt.save_results()
    assert files.json.is_relative_to(home / "data" / "results")
    assert files.trials_csv.is_relative_to(home / "data" / "exports")
    document = json.loads(files.json.read_text())
    assert [stage["best_sharpe"] for stage in document["stages"]] == [each["best_sharpe"] for each in opt.stages]
    after = {name: getattr(opt.get_final_config(), name) for name in document["parameters"]["changed"]}
    assert document["parameters"]["changed"] == after
    assert len(files.trials_csv.read_text().splitlines()) == 1 + sum(1 + each["num_trials"] for each in opt.stages)
    assert (home / "data" / "ledger.sqlite").is_file()


def test_without_settings_it_is_balanced_with_tpe(candles: Candles) -> None:
    with OptimizationEngine(candles, StrategyConfig(), 0.1) as opt:
        assert opt.config == OptimizationConfig()
        assert opt.sampler == "TPE"


@pytest.mark.parametrize(("profile", "trials"), [("FAST", 50), ("BALANCED", 150), ("THOROUGH", 300)])
def test_a_profile_makes_its_trials_and_stays_in_its_box(candles: Candles, profile: str, trials: int) -> None:
    config = OptimizationConfig(profile=OptimizationProfile(profile), optuna_sampler="random")
    with OptimizationEngine(candles, StrategyConfig(), 0.1, opt_config=config) as opt:
        stage = opt.optimize_stage_7_1()
    assert len(stage.trials) == 1 + trials  # and the strategy it starts from
    tried = stage.space.columns(stage.trials.points)
    share = {"FAST": 0.10, "BALANCED": 0.15, "THOROUGH": 0.25}[profile]
    for name, base in {"ema_fast": 20, "ema_slow": 50, "ema_trend": 200}.items():
        # Half a step more, because whole numbers are rounded to: 15 % of 50 are 7.5.
        assert np.abs(tried[name] - base).max() <= share * base + 0.5
        assert np.unique(tried[name]).size > 2


# -- The function, and what it says ------------------------------------------------------------------------------------


def test_the_function_finds_what_the_steps_find_and_says_what_luck_alone_would(candles: Candles) -> None:
    with of_three_stages(candles) as opt:
        stepwise = opt.get_final_config()
    result = optimize(candles, StrategyConfig(), 0.1, config=FAST)
    assert isinstance(result, OptimizationResult)
    assert result.strategy == stepwise
    assert result.best.sharpe_ratio == result.stages[-1]["best_sharpe"] >= result.baseline.sharpe_ratio
    assert result.best_params == {
        name: value for name, value in result.strategy.to_dict().items() if value != StrategyConfig().to_dict()[name]
    }
    assert result.luck_line > 0.0
    assert result.n_trials >= max(len(stage.trials) for stage in result.stages)


def test_the_program_of_the_documentation_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPOSITORY / "docs" / "optimization.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    exec(compile(program, "docs/optimization.md", "exec"), {"__name__": "optimization"})
    told = capsys.readouterr().out
    before, after = re.findall(r"^(-?[\d.]+) -> (-?[\d.]+)$", told, re.MULTILINE)[0]
    assert float(after) >= float(before)


def test_a_users_strategy_is_searched_over_the_parameters_it_declares(candles: Candles) -> None:
    with OptimizationEngine(candles, Breakout(), 0.1, opt_config=FAST) as opt:
        first, second = opt.optimize_stage_7_1(), opt.optimize_stage_7_2()
    assert set(first["best_params"]) == {"lookback"}
    assert set(second["best_params"]) == REALS - {"rsi_long_threshold", "rsi_short_threshold"}
    tried = first.space.columns(first.trials.points)["lookback"]
    assert 10 <= tried.min() < tried.max() <= 60


class Breakout(Strategy):
    """Buy the break of an N-bar high."""

    lookback: int = Int(20, low=10, high=60)

    def plan(self, bars: Bars) -> Plan:
        ceiling = shift(rolling_max(bars.high, self.lookback))
        return Plan.of(entry=bars.close > ceiling, anchor=ceiling, risk=atr(bars, 14))


# -- What is refused ---------------------------------------------------------------------------------------------------


def test_settings_of_another_kind_are_refused_by_name(candles: Candles) -> None:
    wrong: Any = {"profile": "FAST"}
    with pytest.raises(ConfigError, match=r"opt_config must be an OptimizationConfig; got dict\."):
        OptimizationEngine(candles, StrategyConfig(), 0.1, opt_config=wrong)


def test_an_unknown_sampler_is_refused_before_anything_runs(candles: Candles, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"'TPR' is not a sampler\. Did you mean TPE\?"):
        OptimizationEngine(candles, StrategyConfig(), 0.1, opt_config=OptimizationConfig(optuna_sampler="TPR"))
    assert not (home / "data").exists()


def test_an_objective_that_no_report_has_is_refused_with_the_nearest_one(candles: Candles) -> None:
    with pytest.raises(ConfigError, match=r"sharp_ratio is not an objective\. Did you mean sharpe_ratio\?"):
        OptimizationEngine(candles, StrategyConfig(), 0.1, opt_config=OptimizationConfig(objective="sharp_ratio"))


def test_a_ledger_that_is_something_else_is_left_as_it_is(candles: Candles, home: Path) -> None:
    other = home / "ledger.sqlite"
    other.write_text("these are not the trials you are looking for " * 100)
    before = other.read_bytes()
    with pytest.raises(CheckpointError, match=r"ledger\.sqlite"):
        OptimizationEngine(candles, StrategyConfig(), 0.1, opt_config=OptimizationConfig(storage=str(other)))
    assert other.read_bytes() == before
