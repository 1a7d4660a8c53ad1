"""Backtests of cryptocurrency strategies with fills you could really have had.

Importing this package loads nothing but itself: each public name is fetched from its module when it is first used, so
`import barwise` and `barwise --help` stay instant while NumPy, Numba, Polars and Plotly wait until they are needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barwise.config import Bool as Bool
    from barwise.config import ExecutionConfig as ExecutionConfig
    from barwise.config import Float as Float
    from barwise.config import Int as Int
    from barwise.config import OptimizationConfig as OptimizationConfig
    from barwise.config import OptimizationProfile as OptimizationProfile
    from barwise.config import WalForwardConfig as WalForwardConfig
    from barwise.config import WalkForwardConfig as WalkForwardConfig
    from barwise.core.layout import Bars as Bars
    from barwise.costs import FeeSchedule as FeeSchedule
    from barwise.costs import fee_schedule as fee_schedule
    from barwise.data.candles import Candles as Candles
    from barwise.data.files import read_candles as read_candles
    from barwise.data.synthetic import sample_candles as sample_candles
    from barwise.engine import BacktestEngine as BacktestEngine
    from barwise.engine import backtest as backtest
    from barwise.errors import APIError as APIError
    from barwise.errors import BacktestError as BacktestError
    from barwise.errors import BarwiseError as BarwiseError
    from barwise.errors import CheckpointError as CheckpointError
    from barwise.errors import ConfigError as ConfigError
    from barwise.errors import CredentialError as CredentialError
    from barwise.errors import DataError as DataError
    from barwise.errors import RateLimitError as RateLimitError
    from barwise.exchange.manager import ExchangeManager as ExchangeManager
    from barwise.optimizer.engine import OptimizationEngine as OptimizationEngine
    from barwise.optimizer.engine import OptimizationResult as OptimizationResult
    from barwise.optimizer.engine import optimize as optimize
    from barwise.optimizer.ledger import Ledger as Ledger
    from barwise.optimizer.recording import record as record
    from barwise.result import BacktestResult as BacktestResult
    from barwise.strategy.base import Plan as Plan
    from barwise.strategy.base import Strategy as Strategy
    from barwise.strategy.ema_rsi_atr import EmaRsiAtr as EmaRsiAtr
    from barwise.strategy.indicators import adx as adx
    from barwise.strategy.indicators import atr as atr
    from barwise.strategy.indicators import bollinger as bollinger
    from barwise.strategy.indicators import crossed_above as crossed_above
    from barwise.strategy.indicators import crossed_below as crossed_below
    from barwise.strategy.indicators import donchian as donchian
    from barwise.strategy.indicators import ema as ema
    from barwise.strategy.indicators import macd as macd
    from barwise.strategy.indicators import rolling_max as rolling_max
    from barwise.strategy.indicators import rolling_min as rolling_min
    from barwise.strategy.indicators import rolling_std as rolling_std
    from barwise.strategy.indicators import rsi as rsi
    from barwise.strategy.indicators import shift as shift
    from barwise.strategy.indicators import sma as sma
    from barwise.strategy.indicators import supertrend as supertrend
    from barwise.strategy.indicators import vwap as vwap
    from barwise.strategy.lookahead import check_lookahead as check_lookahead
    from barwise.sweeping import sweep as sweep
    from barwise.timeframe import Timeframe as Timeframe
    from barwise.validation.engine import ValidationReport as ValidationReport
    from barwise.validation.engine import validate as validate
    from barwise.validation.engine import walk_forward as walk_forward
    from barwise.validation.walk_forward import WalForwardEngine as WalForwardEngine
    from barwise.validation.walk_forward import WalkForwardEngine as WalkForwardEngine

    StrategyConfig = EmaRsiAtr

__version__ = "0.1.0"

_NAMES_OF_MODULE = {
    "barwise.config": (
        "Bool",
        "ExecutionConfig",
        "Float",
        "Int",
        "OptimizationConfig",
        "OptimizationProfile",
        "WalForwardConfig",
        "WalkForwardConfig",
    ),
    "barwise.core.layout": ("Bars",),
    "barwise.costs": ("FeeSchedule", "fee_schedule"),
    "barwise.data.candles": ("Candles",),
    "barwise.data.files": ("read_candles",),
    "barwise.data.synthetic": ("sample_candles",),
    "barwise.engine": ("BacktestEngine", "backtest"),
    "barwise.errors": (
        "APIError",
        "BacktestError",
        "BarwiseError",
        "CheckpointError",
        "ConfigError",
        "CredentialError",
        "DataError",
        "RateLimitError",
    ),
    "barwise.exchange.manager": ("ExchangeManager",),
    "barwise.optimizer.engine": ("OptimizationEngine", "OptimizationResult", "optimize"),
    "barwise.optimizer.ledger": ("Ledger",),
    "barwise.optimizer.recording": ("record",),
    "barwise.result": ("BacktestResult",),
    "barwise.strategy.base": ("Plan", "Strategy"),
    "barwise.strategy.ema_rsi_atr": ("EmaRsiAtr", "StrategyConfig"),
    "barwise.strategy.indicators": (
        "adx",
        "atr",
        "bollinger",
        "crossed_above",
        "crossed_below",
        "donchian",
        "ema",
        "macd",
        "rolling_max",
        "rolling_min",
        "rolling_std",
        "rsi",
        "shift",
        "sma",
        "supertrend",
        "vwap",
    ),
    "barwise.strategy.lookahead": ("check_lookahead",),
    "barwise.sweeping": ("sweep",),
    "barwise.timeframe": ("Timeframe",),
    "barwise.validation.engine": ("ValidationReport", "validate", "walk_forward"),
    "barwise.validation.walk_forward": ("WalForwardEngine", "WalkForwardEngine"),
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_OF_MODULE.items() for name in names}
# The flat API's name for the built-in strategy: its settings and its rules are one class.
_OTHER_NAMES = {"StrategyConfig": "EmaRsiAtr"}

__all__ = list(_MODULE_OF_NAME)


def __getattr__(name: str) -> object:
    """Fetch a public name from its module when it is first used (PEP 562); from then on it is an ordinary global."""
    if name not in _MODULE_OF_NAME:
        from barwise.errors import did_you_mean

        raise AttributeError(f"module 'barwise' has no attribute {name!r}.{did_you_mean(name, _MODULE_OF_NAME)}")
    value: object = getattr(import_module(_MODULE_OF_NAME[name]), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, fetched or not."""
    return sorted({*globals(), *_MODULE_OF_NAME})
