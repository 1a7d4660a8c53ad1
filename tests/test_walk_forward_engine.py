"""The flat module of walk-forward analysis, as long as there is none: it is honest about that."""

import inspect

import pytest

import barwise
import walk_forward_engine


@pytest.mark.parametrize("name", ["WalForwardEngine", "WalkForwardEngine"])
def test_asking_for_the_engine_says_which_version_has_none_and_what_to_do_instead(name: str) -> None:
    with pytest.raises(ImportError) as caught:
        getattr(walk_forward_engine, name)
    said = str(caught.value)
    assert said.startswith(f"barwise {barwise.__version__} has no {name}: walk-forward analysis comes with")
    assert "trade_from=" in said


def test_a_from_import_carries_the_same_sentence() -> None:
    with pytest.raises(ImportError, match="walk-forward analysis comes with a later release"):
        from walk_forward_engine import WalForwardEngine  # noqa: F401 - asking is the test


def test_what_python_asks_every_module_is_answered_as_by_every_module() -> None:
    assert not hasattr(walk_forward_engine, "__path__")
    assert not hasattr(walk_forward_engine, "_private")


def test_what_it_names_instead_is_there() -> None:
    assert "trade_from" in inspect.signature(barwise.backtest).parameters


def test_the_settings_of_a_walk_forward_can_already_be_declared() -> None:
    from config import WalForwardConfig

    assert WalForwardConfig(is_length_days=90).is_length_days == 90
