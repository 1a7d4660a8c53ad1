"""Flat API: the optimizer, which this release does not have yet; its names say so instead of pretending."""

from barwise import __version__

_NOT_YET = ("OptimizationEngine",)


def __getattr__(name: str) -> object:
    if name in _NOT_YET:
        raise ImportError(
            f"{name} is not part of barwise {__version__}: the optimizer comes with a later release. Until then, backtest_strategies.sweep tries many settings at once.",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
