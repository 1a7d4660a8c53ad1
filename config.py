"""Flat API: the settings of a run. See `barwise.config` and `barwise.strategy.ema_rsi_atr`."""

from barwise import (
    ExecutionConfig,
    OptimizationConfig,
    OptimizationProfile,
    StrategyConfig,
    WalForwardConfig,
    WalkForwardConfig,
)

__all__ = [
    "ExecutionConfig",
    "OptimizationConfig",
    "OptimizationProfile",
    "StrategyConfig",
    "WalForwardConfig",
    "WalkForwardConfig",
]
