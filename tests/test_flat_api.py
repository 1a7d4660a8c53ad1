"""The flat API: names, signatures and defaults that programs written against it rely on."""

import inspect
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

import barwise
from barwise.data.candles import Candles
from tests.conftest import REPOSITORY

ERRORS = [
    "APIError",
    "BacktestError",
    "BarwiseError",
    "CheckpointError",
    "ConfigError",
    "CredentialError",
    "DataError",
    "RateLimitError",
]
SETTINGS = [
    "ExecutionConfig",
    "OptimizationConfig",
    "OptimizationProfile",
    "StrategyConfig",
    "WalForwardConfig",
    "WalkForwardConfig",
]
STRATEGY_DEFAULTS = {
    "ema_fast": 20,
    "ema_slow": 50,
    "ema_trend": 200,
    "rsi_period": 14,
    "rsi_long_threshold": 35,
    "rsi_short_threshold": 65,
    "rsi_lookback": 50,
    "atr_period": 14,
    "atr_sl_multiplier": 1.5,
    "atr_tp_multiplier": 2.0,
    "trailing_sl_threshold": 0.02,
    "trailing_tp_threshold": 0.03,
    "trailing_sl_atr_multiplier": None,
    "trailing_tp_atr_multiplier": 1.0,
    "enable_hybrid_engine": True,
    "enable_hybrid_tier1": True,
    "enable_hybrid_tier2": True,
    "enable_hybrid_tier3": True,
    "enable_hybrid_tier4": True,
    "hybrid_tier1_timeout": 5,
    "hybrid_tier2_timeout": 3,
    "hybrid_tier3_timeout": 4,
    "hybrid_tier4_timeout": 1,
    "ema_touch_tolerance": 0.0015,
    "tier2_limit_offset_atr": 0.1,
    "tier3_vwap_band_atr": 1.0,
    "max_chase_atr": 1.5,
    "enable_trend_filter": True,
    "enable_rsi_filter": True,
    "trailing_sl_enabled": True,
    "trailing_tp_enabled": True,
    "exit_on_opposite_signal": False,
    "allow_long": True,
    "allow_short": True,
}


@pytest.fixture(scope="module")
def candles() -> Candles:
    return barwise.sample_candles(timeframe="1H", start=datetime(2025, 1, 1), end=datetime(2025, 3, 31))


class TestNames:
    @pytest.mark.parametrize(
        ("module", "names"),
        [
            ("config", SETTINGS),
            ("exchange_manager", ["ExchangeManager", *ERRORS]),
            ("backtest_strategies", ["BacktestEngine", "BacktestResult", "backtest", "sweep"]),
        ],
    )
    def test_a_flat_module_hands_on_the_packages_own_objects(self, module: str, names: list[str]) -> None:
        flat = __import__(module)
        assert sorted(flat.__all__) == sorted(names)
        assert all(getattr(flat, name) is getattr(barwise, name) for name in names)

    def test_a_script_in_the_clones_root_needs_nothing_but_its_own_folder(self) -> None:
        program = (
            "import sys; sys.path.insert(0, 'src')\n"
            "from config import StrategyConfig\nfrom backtest_strategies import BacktestEngine\n"
            "print(StrategyConfig().ema_fast, BacktestEngine.__module__)"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert answer.stdout.split() == ["20", "barwise.engine"]

    def test_both_spellings_of_the_walk_forward_settings_are_one_class(self) -> None:
        assert barwise.WalkForwardConfig is barwise.WalForwardConfig

    def test_the_strategy_settings_are_the_built_in_strategy(self) -> None:
        assert barwise.StrategyConfig is barwise.EmaRsiAtr
        assert issubclass(barwise.StrategyConfig, barwise.Strategy)

    def test_the_dashboard_is_the_packages_own(self) -> None:
        import dashboard_app
        from barwise.dashboard.app import create_app
        from barwise.dashboard.config import DashboardConfig

        assert sorted(dashboard_app.__all__) == ["DashboardConfig", "create_app", "main"]
        assert dashboard_app.create_app is create_app
        assert dashboard_app.DashboardConfig is DashboardConfig


class TestSettings:
    @pytest.mark.parametrize(("name", "value"), STRATEGY_DEFAULTS.items())
    def test_a_default_of_the_strategy_is_the_documented_one(self, name: str, value: object) -> None:
        assert getattr(barwise.StrategyConfig(), name) == value

    def test_the_strategy_has_no_setting_that_is_not_documented(self) -> None:
        assert set(barwise.StrategyConfig.model_fields) == set(STRATEGY_DEFAULTS)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ema_fast": 50},
            {"ema_slow": 200},
            {"ema_fast": 1},
            {"rsi_period": 1},
            {"rsi_long_threshold": 65},
            {"rsi_short_threshold": 101},
            {"rsi_long_threshold": -1},
            {"atr_sl_multiplier": 0},
            {"atr_tp_multiplier": -2.0},
            {"hybrid_tier1_timeout": -1},
            {"ema_fast": "twenty"},
        ],
    )
    def test_a_value_against_the_rules_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(barwise.ConfigError):
            barwise.StrategyConfig(**wrong)

    def test_an_unknown_setting_is_answered_with_the_nearest_one(self) -> None:
        misspelt: dict[str, Any] = {"ema_fsat": 10}
        with pytest.raises(barwise.ConfigError, match=r"ema_fsat is not a parameter of \w+\. Did you mean ema_fast\?"):
            barwise.StrategyConfig(**misspelt)

    @pytest.mark.parametrize(
        ("profile", "trials", "width"), [("FAST", 50, 0.10), ("BALANCED", 150, 0.15), ("THOROUGH", 300, 0.25)]
    )
    def test_a_profile_has_the_documented_trials_and_width(self, profile: str, trials: int, width: float) -> None:
        chosen = barwise.OptimizationProfile(profile)
        assert (chosen.trials, chosen.width) == (trials, width)

    def test_the_defaults_of_an_optimization_are_the_documented_ones(self) -> None:
        settings = barwise.OptimizationConfig()
        assert settings.profile is barwise.OptimizationProfile.BALANCED
        assert settings.optuna_sampler == "TPE"
        assert settings.multi_fidelity is True
        assert settings.fidelity_levels == (0.33, 0.66, 1.0)
        assert settings.num_trials is None
        assert settings.objective == "sharpe_ratio"

    def test_the_defaults_of_a_walk_forward_are_the_documented_ones(self) -> None:
        settings = barwise.WalForwardConfig()
        assert (settings.is_length_days, settings.oos_length_days, settings.stride_days) == (60, 20, 20)
        assert settings.min_trades_per_window == 5
        assert (settings.reoptimize, settings.anchored) == (True, False)

    def test_the_defaults_of_the_execution_are_the_documented_ones(self) -> None:
        settings = barwise.ExecutionConfig()
        assert (settings.initial_capital, settings.slippage) == (100_000, 0.0005)
        assert list(barwise.ExecutionConfig.model_fields) == [
            "initial_capital",
            "leverage",
            "slippage",
            "maker_fee",
            "taker_fee",
            "fees",
            "max_participation",
            "limit_fill",
            "intrabar",
            "tick_size",
            "lot_size",
        ]


class TestBacktestEngine:
    def test_the_arguments_keep_their_names_and_order(self) -> None:
        parameters = list(inspect.signature(barwise.BacktestEngine).parameters.values())
        positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        assert positional[:6] == ["candles", "strategy_config", "order_qty", "exchange", "symbol", "timeframe"]
        assert {"execution", "detail", "funding", "trade_from"} <= {each.name for each in parameters}

    def test_backtest_takes_the_same_keywords(self) -> None:
        engine = inspect.signature(barwise.BacktestEngine).parameters
        function = inspect.signature(barwise.backtest).parameters
        keywords = {name for name, each in engine.items() if each.kind is each.KEYWORD_ONLY}
        assert keywords <= set(function)

    def test_the_documented_call_gives_the_documented_names(self, candles: Candles) -> None:
        result = barwise.BacktestEngine(candles, barwise.StrategyConfig(), 0.1, "SAMPLE", "SAMPLE-BTC", "1H").run()
        assert len(candles) == 2136
        assert result.total_trades == result.winning_trades + result.losing_trades > 0
        assert 0 <= result.win_rate <= 100
        assert result.net_pnl == pytest.approx(result.gross_pnl - result.fees, abs=1e-6)
        for name in ("sharpe_ratio", "max_drawdown", "slippage", "profit_factor", "recovery_factor"):
            assert isinstance(getattr(result, name), float), name
        for name in ("trades", "programs", "equity_curve", "drawdown_curve", "band"):
            assert getattr(result, name) is not None, name

    def test_keywords_give_the_same_result_as_positions(self, candles: Candles) -> None:
        positions = barwise.BacktestEngine(candles, barwise.StrategyConfig(), 0.1, "SAMPLE", "SAMPLE-BTC", "1H").run()
        keywords = barwise.BacktestEngine(
            candles=candles,
            strategy_config=barwise.StrategyConfig(),
            order_qty=0.1,
            exchange="SAMPLE",
            symbol="SAMPLE-BTC",
            timeframe="1H",
        ).run()
        assert keywords.to_dict() == positions.to_dict()

    def test_a_trade_and_its_fills_have_the_documented_names(self, candles: Candles) -> None:
        trade = barwise.backtest(candles, qty=0.1).trades[0]
        names = (
            "trade_id side entry_time exit_time entry_price exit_price quantity exit_reason gross_pnl fees slippage "
            "funding net_pnl bars_held mfe mae ambiguous fills"
        )
        assert all(hasattr(trade, name) for name in names.split())
        assert trade.side in {"long", "short"}
        assert trade.entry_time.utcoffset() == trade.exit_time.utcoffset() == datetime.now(UTC).utcoffset()
        fill = trade.fills[0]
        assert all(hasattr(fill, name) for name in ["time", "tier", "price", "quantity", "fee", "liquidity"])
        assert fill.tier in range(1, 6)
        assert fill.liquidity in {"maker", "taker"}

    def test_a_program_has_the_documented_names(self, candles: Candles) -> None:
        program = barwise.backtest(candles, qty=0.1).programs[0]
        names = "signal_time side arrival_price atr outcome fills shortfall_bp"
        assert all(hasattr(program, name) for name in names.split())
        assert program.outcome in {
            "filled", "timeout", "chase", "margin", "reversed", "position_closed", "end_of_data"
        }  # fmt: skip

    def test_the_frames_go_to_pandas(self, candles: Candles) -> None:
        result = barwise.backtest(candles, qty=0.1)
        assert len(result.trades_frame().to_pandas()) == result.total_trades
        assert len(result.equity_frame().to_pandas()) > 0

    @pytest.mark.parametrize("form", ["dicts", "pandas", "polars"])
    def test_candles_in_another_form_give_the_same_numbers(self, form: str, candles: Candles) -> None:
        frame = candles.to_polars()
        data: Any = {"dicts": list(candles), "polars": frame, "pandas": frame.to_pandas()}[form]
        same = barwise.BacktestEngine(data, None, 0.1, "SAMPLE", "SAMPLE-BTC", "1H").run()
        assert same.net_pnl == barwise.backtest(candles, qty=0.1).net_pnl
