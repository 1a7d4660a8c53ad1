"""Flat API: walk-forward analysis, which this release does not have yet; its names say so instead of pretending."""

from barwise import __version__

_NOT_YET = ("WalForwardEngine", "WalkForwardEngine")


def __getattr__(name: str) -> object:
    if name in _NOT_YET:
        raise ImportError(
            f"{name} is not part of barwise {__version__}: walk-forward analysis comes with a later release. Until then, trade_from limits a backtest to the bars behind it.",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
