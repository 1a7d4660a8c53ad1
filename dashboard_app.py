"""Flat API: the dashboard, which this release does not have yet; its names say so instead of pretending."""

from barwise import __version__

_NOT_YET = ("create_app",)


def __getattr__(name: str) -> object:
    if name in _NOT_YET:
        raise ImportError(
            f"{name} is not part of barwise {__version__}: the dashboard comes with a later release. Until then, a backtest leaves an HTML report.",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
