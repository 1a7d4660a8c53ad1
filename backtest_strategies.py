"""Flat API: one backtest, or many at once. See `barwise.engine`, `barwise.sweeping` and `barwise.result`."""

from barwise import BacktestEngine, BacktestResult, backtest, sweep

__all__ = ["BacktestEngine", "BacktestResult", "backtest", "sweep"]
