"""Look-ahead: does a strategy's past change when the future does?

A plan for bar t may use bar t and earlier bars alone. The check recomputes the plan on prefixes of the data and
compares: what the strategy said with the bars up to some point must be what it says with all later bars in hand, for
every bar of the prefix.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from barwise.core.layout import IntArray
from barwise.data.candles import Candles
from barwise.errors import BacktestError
from barwise.strategy.base import Plan, Strategy, checked_plan

# Lines are compared to this share of their value: sums in another order differ in the last digits without looking
# ahead.
_TOLERANCE = 1e-9
_QUICK_PREFIXES = 8
_REMEMBERED = 256


@dataclass(frozen=True)
class LookAhead:
    """One place where a plan changed after the fact.

    Attributes:
        bar: Index of the bar.
        time_ms: Its open, ms UTC.
        column: Which column of the plan.
        then, now: What the strategy said with the data up to that bar, and with all of it.
    """

    bar: int
    time_ms: int
    column: str
    then: float
    now: float

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.time_ms / 1000, UTC)
        return (
            f"{self.column} at {when:%Y-%m-%d %H:%M} was {self.then:g} with the bars up to then and is {self.now:g} "
            "with later bars in hand"
        )


def check_lookahead(strategy: Strategy, candles: Candles, *, prefixes: int | None = 50) -> list[LookAhead]:
    """Recompute the plan on prefixes of the data and report every bar that changed.

    Args:
        strategy: Any strategy.
        candles: Data with enough bars for signals.
        prefixes: How many prefixes; those that end on a signal come first, the rest are spread evenly. None: every bar.

    Returns:
        The last bar of each prefix and column that changed, in order of time; empty where nothing looks ahead.
    """
    full = checked_plan(strategy, candles.bars)
    n = len(candles)
    ends = np.arange(1, n) if prefixes is None else _prefix_ends(full, n, prefixes)
    return sorted(_differences(strategy, candles, full, ends), key=lambda found: found.bar)


_checked: OrderedDict[tuple[object, ...], None] = OrderedDict()
_lock = threading.Lock()


def quick_check(strategy: Strategy, candles: Candles) -> None:
    """The short form every backtest runs: a few prefixes, once per strategy and data.

    Raises:
        BacktestError: The strategy looks ahead.
    """
    # Trade rules do not enter a plan, so they do not enter the key.
    own = tuple((name, getattr(strategy, name)) for name in strategy.signal_parameters())
    key: tuple[object, ...] = (type(strategy), own, candles.fingerprint)
    try:
        with _lock:
            if key in _checked:
                _checked.move_to_end(key)
                return
    except TypeError:  # a parameter that cannot be hashed: check every time
        key = ()
    for found in _differences(
        strategy,
        candles,
        full := checked_plan(strategy, candles.bars),
        _prefix_ends(full, len(candles), _QUICK_PREFIXES),
    ):
        raise BacktestError(
            f"{type(strategy).__name__} looks ahead: {found}.",
            hint="use only bars up to t for the value at t (shift, rolling and cumulative functions do); "
            "check_lookahead() lists every place, check_lookahead=False runs it all the same.",
        )
    if key:
        with _lock:
            _checked[key] = None
            while len(_checked) > _REMEMBERED:
                _checked.popitem(last=False)


def _prefix_ends(full: Plan, n: int, count: int) -> IntArray:
    """Last bars of the prefixes to try, ascending.

    A quarter end on a signal, a quarter one bar before a signal (where a leak that removes signals shows), the rest are
    spread evenly over the later half.
    """
    signals = np.flatnonzero((full.entry != 0) | (full.exit != 0))
    signals = signals[(signals < n - 1) & (signals > (full.start or 0))]
    chosen = signals[np.linspace(0, signals.size - 1, min(count // 4, signals.size)).astype(int)]
    spread = np.linspace(n // 2, n - 2, count - 2 * chosen.size).astype(int)
    return np.unique(np.concatenate([chosen, chosen - 1, spread]))


def _differences(strategy: Strategy, candles: Candles, full: Plan, ends: IntArray) -> Iterable[LookAhead]:
    """The last bar of each prefix and column that changed; a bar that two prefixes show is reported once."""
    seen: set[tuple[int, str]] = set()
    for end in ends[ends >= 0]:
        # A view has array objects of its own, so no memoised indicator of the whole data is found.
        prefix = checked_plan(strategy, candles[: end + 1].bars)
        for column in ("entry", "exit", "anchor", "vwap", "risk"):
            then, now = getattr(prefix, column), getattr(full, column)
            if then is None and now is None:
                continue
            if then is None or now is None:
                raise BacktestError(
                    f"{type(strategy).__name__} gives its own {column} line with some bars and none with others.",
                    hint="return the same columns whatever the number of bars.",
                )
            now = now[: end + 1]
            with np.errstate(invalid="ignore"):
                near = np.abs(then - now) <= _TOLERANCE * np.abs(now)
            changed = np.flatnonzero(~(near | (then == now) | (np.isnan(then) & np.isnan(now))))
            if changed.size and (bar := int(changed[-1]), column) not in seen:
                seen.add((bar, column))
                yield LookAhead(bar, int(candles.time[bar]), column, float(then[bar]), float(now[bar]))
