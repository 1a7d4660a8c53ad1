"""Flat API: the optimizer, in steps or in one call. See `barwise.optimize.engine`."""

from barwise import OptimizationEngine, OptimizationResult, optimize

__all__ = ["OptimizationEngine", "OptimizationResult", "optimize"]
