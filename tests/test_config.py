"""Settings as values: what they default to, what they refuse and how, and that nobody can change them."""

import json
from typing import Any

import pytest
from pydantic import model_validator

from barwise.config import (
    Bool,
    ExecutionConfig,
    Float,
    Int,
    OptimizationConfig,
    OptimizationProfile,
    TradeRules,
    WalForwardConfig,
    parameter_stage,
    without_passwords,
)
from barwise.costs import FeeSchedule, fee_schedule
from barwise.errors import ConfigError
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr, StrategyConfig

SETTINGS: list[Any] = [EmaRsiAtr, TradeRules, ExecutionConfig, OptimizationConfig, WalForwardConfig]


def test_execution_defaults_are_those_of_the_law() -> None:
    assert ExecutionConfig().to_dict() == {
        "initial_capital": 100_000.0, "leverage": 1.0, "slippage": 0.0005, "maker_fee": None, "taker_fee": None,
        "fees": None, "max_participation": 0.1, "limit_fill": "through", "intrabar": "worst", "tick_size": None,
        "lot_size": None,
    }  # fmt: skip


def test_optimization_and_walk_forward_defaults_are_the_documented_ones() -> None:
    assert OptimizationConfig().to_dict() == {
        "profile": "BALANCED", "optuna_sampler": "TPE", "multi_fidelity": True, "fidelity_levels": [0.33, 0.66, 1.0],
        "num_trials": None, "seed": 42, "workers": None, "storage": None, "timeout": None, "objective": "sharpe_ratio",
        "min_rung_trades": 20, "min_trades": 5, "max_drawdown": None, "space": "profile", "ranges": [], "fixed": [],
        "choose": "best", "backend": "auto", "address": None, "batch_size": 8192,
    }  # fmt: skip
    assert WalForwardConfig().to_dict() == {
        "is_length_days": 60, "oos_length_days": 20, "stride_days": 20, "min_trades_per_window": 5, "reoptimize": True,
        "anchored": False, "embargo": 0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_every_setting_of_every_kind_explains_itself(kind: Any) -> None:
    for name, field in kind.model_fields.items():
        assert field.description, name
        assert len(field.description) < 90, name


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_what_is_printed_is_only_what_differs_from_the_defaults(kind: Any) -> None:
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(EmaRsiAtr(ema_fast=9, ema_slow=50)) == "EmaRsiAtr(ema_fast=9)"


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_settings_are_values_equal_by_content_and_good_as_keys(kind: Any) -> None:
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    assert kind(**kind().to_dict()) == kind()


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_a_setting_cannot_be_changed_in_place(kind: Any) -> None:
    """The error is one of ours, like every other that leaves the package."""
    made = kind()
    name = next(iter(kind.model_fields))
    before = getattr(made, name)
    with pytest.raises(ConfigError):
        setattr(made, name, before)
    assert getattr(made, name) == before


def test_replace_makes_a_checked_copy_and_leaves_the_first_alone() -> None:
    first = EmaRsiAtr(ema_fast=5, ema_slow=9, atr_sl_multiplier=3.0)
    second = first.replace(ema_fast=6)
    assert (first.ema_fast, second.ema_fast, second.ema_slow, second.atr_sl_multiplier) == (5, 6, 9, 3.0)
    assert type(second) is EmaRsiAtr
    with pytest.raises(ConfigError, match="ema_fast < ema_slow < ema_trend must hold; got 9, 9, 200"):
        first.replace(ema_fast=9)
    with pytest.raises(ConfigError, match="Did you mean ema_fast"):
        first.replace(ema_fats=9)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (EmaRsiAtr, {"ema_fsat": 3}, r"ema_fsat is not a parameter of EmaRsiAtr\. Did you mean ema_fast\?"),
        (EmaRsiAtr, {"zzz": 3}, r"zzz is not a parameter of EmaRsiAtr\.\n"),
        (EmaRsiAtr, {"ema_fast": 1}, "EmaRsiAtr: ema_fast must be greater than or equal to 2; got 1"),
        (EmaRsiAtr, {"ema_fast": 2.5}, "ema_fast must be a valid integer"),
        (EmaRsiAtr, {"ema_fast": None}, "ema_fast must be a valid integer; got None"),
        (EmaRsiAtr, {"atr_sl_multiplier": float("nan")}, "atr_sl_multiplier must be a finite number; got nan"),
        (EmaRsiAtr, {"max_chase_atr": float("inf")}, "max_chase_atr must be a finite number; got inf"),
        (EmaRsiAtr, {"max_chase_atr": -0.1}, "max_chase_atr must be greater than or equal to 0"),
        (EmaRsiAtr, {"allow_long": "perhaps"}, "allow_long must be a valid boolean"),
        (EmaRsiAtr, {"hybrid_tier2_timeout": -1}, "hybrid_tier2_timeout must be greater than or equal to 0"),
        (EmaRsiAtr, {"rsi_long_threshold": 70.0}, "rsi_long_threshold < rsi_short_threshold must hold; got 70, 65"),
        (EmaRsiAtr, {"rsi_lookback": 0}, "rsi_lookback must be greater than or equal to 1"),
        (ExecutionConfig, {"slipage": 0.1}, r"slipage is not a parameter of ExecutionConfig\. Did you mean slippage\?"),
        (ExecutionConfig, {"initial_capital": 0}, "initial_capital must be greater than 0; got 0"),
        (ExecutionConfig, {"leverage": -1}, "leverage must be greater than 0; got -1"),
        (ExecutionConfig, {"slippage": -0.1}, "slippage must be greater than or equal to 0"),
        (ExecutionConfig, {"slippage": 5}, "slippage must be less than or equal to 0.5; got 5"),
        (ExecutionConfig, {"max_participation": 0}, "max_participation must be greater than 0"),
        (ExecutionConfig, {"max_participation": 1.5}, "max_participation must be less than or equal to 1"),
        (ExecutionConfig, {"limit_fill": "thru"}, "limit_fill must be 'through' or 'touch'; got 'thru'"),
        (ExecutionConfig, {"intrabar": "middle"}, "intrabar must be 'worst', 'path' or 'best'; got 'middle'"),
        (ExecutionConfig, {"tick_size": -0.01}, "tick_size must be greater than or equal to 0"),
        (ExecutionConfig, {"lot_size": "small"}, "lot_size must be a valid number"),
        (ExecutionConfig, {"maker_fee": 0.5}, "maker_fee must be less than or equal to 0.1"),
        (OptimizationConfig, {"profile": "SLOW"}, "profile must be 'FAST', 'BALANCED' or 'THOROUGH'; got 'SLOW'"),
        (OptimizationConfig, {"num_trials": 0}, "num_trials must be greater than or equal to 1"),
        (OptimizationConfig, {"fidelity_levels": (0.5, 0.3, 1.0)}, "fidelity_levels must rise from above 0 to exactly"),
        (OptimizationConfig, {"fidelity_levels": (0.5,)}, "fidelity_levels must rise"),
        (OptimizationConfig, {"fidelity_levels": ()}, "fidelity_levels must rise"),
        (OptimizationConfig, {"fidelity_levels": (0.0, 1.0)}, "fidelity_levels must rise"),
        (OptimizationConfig, {"timeout": 0}, "timeout must be greater than 0"),
        (WalForwardConfig, {"is_length": 3}, r"is_length is not a parameter of WalForwardConfig\. Did"),
        (WalForwardConfig, {"embargo": -1}, "embargo must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused_in_one_sentence(
    kind: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kind(**values)
    assert "\n" not in caught.value.message
    assert "pydantic" not in str(caught.value)


def test_ranges_are_given_by_name_and_stay_good_as_a_key() -> None:
    given = OptimizationConfig(ranges={"ema_fast": (5, 40)})
    assert given.ranges == (("ema_fast", (5.0, 40.0)),)
    assert given == OptimizationConfig(**given.to_dict())
    assert hash(given) == hash(OptimizationConfig(ranges={"ema_fast": (5, 40)}))


def test_a_password_in_the_storage_url_is_not_written_out() -> None:
    config = OptimizationConfig(storage="postgresql://trader:geheim@db.example:5432/trials")
    assert config.to_dict()["storage"] == "postgresql://trader@db.example:5432/trials"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://db.example/trials?user=me&password=geheim", "postgresql://db.example/trials?user=me"),
        ("postgresql://db.example/trials?sslPass%77ord=geheim", "postgresql://db.example/trials"),
        (
            "postgresql://me:ge/heim@db.example:5432/trials?connect_timeout=3",
            "postgresql://me@db.example:5432/trials?connect_timeout=3",
        ),
        ("postgresql://me:ge@geheim@db.example/trials", "postgresql://me@db.example/trials"),
        ("postgresql://db.example:5432/trials?user=me&password=ge@geheim", "postgresql://***"),
        ("postgresql://me:ge?geheim@db.example/trials", "postgresql://***"),
        ("sqlite:///data/ledger.sqlite", "sqlite:///data/ledger.sqlite"),
        ("data/with password=in its name.sqlite", "data/with password=in its name.sqlite"),
    ],
)
def test_no_password_of_an_address_is_shown_or_written_wherever_it_stands(address: str, shown: str) -> None:
    config = OptimizationConfig(storage=address, seed=3)
    assert config.storage == address
    assert without_passwords(address) == config.to_dict()["storage"] == shown
    assert repr(config) == f"OptimizationConfig(seed=3, storage={shown!r})"
    assert "heim" not in f"{config} {config!r} {config.to_dict()}"


@pytest.mark.parametrize("storage", ["", "  "])
def test_an_empty_address_is_no_word_for_the_default(storage: str) -> None:
    with pytest.raises(ConfigError, match="storage must be a file or a database URL; got"):
        OptimizationConfig(storage=storage)


def test_objectives_are_told_by_their_names() -> None:
    def calm(result: Any) -> float:
        return 0.0

    assert OptimizationConfig(objective=calm).to_dict()["objective"] == "calm"
    assert OptimizationConfig(objective=("sharpe", calm)).to_dict()["objective"] == ["sharpe", "calm"]


def test_the_error_says_the_default_and_an_unknown_name_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        EmaRsiAtr(ema_fast=1)
    assert caught.value.hint == "the default is 20."
    unknown: dict[str, Any] = {"slip": 1}
    with pytest.raises(ConfigError) as caught:
        ExecutionConfig(**unknown)
    assert caught.value.hint.startswith("the parameters are initial_capital, leverage, slippage")


def test_a_schedule_and_single_fees_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="give either fees or maker_fee/taker_fee, not both"):
        ExecutionConfig(fees=fee_schedule("BINANCE"), taker_fee=0.001)


def test_settings_with_a_fee_schedule_of_any_kind_are_plain_json() -> None:
    """A flat amount per order has an infinite rate (docs/costs.md), and JSON knows no infinity."""
    flat = FeeSchedule("flat", 0.0, 0.0, 0.0, 0.0, buy_order_flat=20.0, buy_order_rate=float("inf"))
    for schedule in (fee_schedule("ZERODHA"), flat):
        written = json.dumps(ExecutionConfig(fees=schedule).to_dict(), allow_nan=False)
        assert json.loads(written)["fees"]["name"] == schedule.name


@pytest.mark.parametrize(
    ("name", "trials", "width"), [("FAST", 50, 0.1), ("BALANCED", 150, 0.15), ("THOROUGH", 300, 0.25)]
)
def test_a_profile_is_found_by_its_name_and_has_its_trials_and_width(name: str, trials: int, width: float) -> None:
    profile = OptimizationConfig(profile=name).profile
    assert profile is OptimizationProfile(name)
    assert (profile.trials, profile.width) == (trials, width)


def test_the_stage_that_searches_a_parameter_follows_from_its_kind() -> None:
    stages: dict[str, set[str]] = {"7.1": set(), "7.2": set(), "7.3": set(), "": set()}
    for name, field in StrategyConfig.model_fields.items():
        stages[parameter_stage(field)].add(name)
    assert stages["7.1"] == {"ema_fast", "ema_slow", "ema_trend", "rsi_period", "atr_period"}
    assert stages["7.3"] == {f"hybrid_tier{tier}_timeout" for tier in (1, 2, 3, 4)}
    assert {"atr_sl_multiplier", "trailing_sl_threshold", "rsi_long_threshold"} <= stages["7.2"]
    assert {"allow_long", "enable_rsi_filter", "rsi_lookback"} <= stages[""]
    assert {parameter_stage(field) for field in ExecutionConfig.model_fields.values()} == {""}


class Channel(Strategy):
    """A strategy of a user with a rule of its own."""

    length: int = Int(20, low=5, high=50, help="bars of the channel")
    width: float = Float(2.0, above=0.0, help="deviations")
    both: bool = Bool(True, help="trade both sides")
    atr_sl_multiplier: float = Float(3.0, above=0.0, help="wider than usual")

    @model_validator(mode="after")
    def _wide_enough(self) -> "Channel":
        if self.width * self.length < 10.0:
            raise ValueError(f"width * length must be at least 10; got {self.width:g} * {self.length}")
        return self


def test_a_users_parameters_are_checked_like_our_own() -> None:
    assert Channel().atr_sl_multiplier == 3.0
    assert Channel(length=30, hybrid_tier1_timeout=0).replace(width=1.0).length == 30
    with pytest.raises(ConfigError, match="Channel: length must be less than or equal to 50; got 60"):
        Channel(length=60)
    misspelt: dict[str, Any] = {"lenght": 9}
    with pytest.raises(ConfigError, match=r"lenght is not a parameter of Channel\. Did you mean length\?"):
        Channel(**misspelt)
    with pytest.raises(ConfigError, match=r"Channel: width \* length must be at least 10; got 1 \* 5"):
        Channel(length=5, width=1.0)
    assert Channel.signal_parameters() == ("length", "width", "both")
    assert (Channel.name(), EmaRsiAtr.name()) == ("Channel", "EMA/RSI/ATR")
    assert Channel().needed_bars() == {}
