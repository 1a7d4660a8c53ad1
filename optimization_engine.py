"""Flat API: the optimizer, in steps or in one call. See `barwise.optimizer.engine`."""

from barwise.optimizer.engine import OptimizationEngine, OptimizationResult, optimize

__all__ = ["OptimizationEngine", "OptimizationResult", "optimize"]
