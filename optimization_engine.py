"""Flat API: the optimizer, which this release does not have yet: asking for one of its names says so."""

from barwise import __version__


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise ImportError(
        f"barwise {__version__} has no {name}: the optimizer comes with a later release. "
        "Until then, backtest_strategies.sweep() tries many settings at once.",
        name=__name__,
    )
