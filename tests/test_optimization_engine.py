"""The flat module of the optimizer, as long as there is no optimizer: it is honest about that."""

import pytest

import barwise
import optimization_engine


def test_importing_the_engine_says_which_version_has_none_and_what_to_do_instead() -> None:
    with pytest.raises(ImportError) as caught:
        from optimization_engine import OptimizationEngine  # noqa: F401 - asking is the test
    said = str(caught.value)
    assert said.startswith(f"barwise {barwise.__version__} has no OptimizationEngine: the optimizer comes with")
    assert "sweep()" in said
    assert caught.value.name == "optimization_engine"


def test_asking_the_module_for_the_engine_says_the_same() -> None:
    with pytest.raises(ImportError, match="has no OptimizationEngine"):
        optimization_engine.OptimizationEngine  # noqa: B018 - asking is the test


def test_what_python_asks_every_module_is_answered_as_by_every_module() -> None:
    assert not hasattr(optimization_engine, "__path__")
    assert not hasattr(optimization_engine, "_private")


def test_what_it_names_instead_is_there() -> None:
    import backtest_strategies

    assert callable(backtest_strategies.sweep)


def test_the_settings_of_an_optimization_can_already_be_declared() -> None:
    from config import OptimizationConfig, OptimizationProfile

    assert OptimizationConfig(profile=OptimizationProfile.FAST).profile.trials == 50
