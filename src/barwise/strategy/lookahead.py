"""Look-ahead: does a strategy's past change when the future does?

A plan for bar t may use bar t and earlier bars alone. What the strategy said with the bars up to some point must be
what it says with all later bars in hand (prefixes), and what it says where other bars follow
(barwise.strategy.other_futures), for every bar up to that point.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from barwise.core.layout import IntArray
from barwise.data.candles import Candles
from barwise.errors import BacktestError, ConfigError
from barwise.strategy.base import Plan, Strategy, checked_plan
from barwise.strategy.lookahead_report import LookAhead, LookAheadReport, Method
from barwise.strategy.other_futures import OtherFutures
from barwise.strategy.warm_up import warm_up_bars, warm_up_sensitivity

__all__ = ["LookAhead", "LookAheadReport", "check_lookahead", "quick_check"]

# Lines are compared to this share of their value: sums in another order differ in the last digits without looking
# ahead.
_TOLERANCE = 1e-9
_QUICK_PREFIXES = 8
_REMEMBERED = 256
_COLUMNS = ("entry", "exit", "anchor", "vwap", "risk")


def check_lookahead(
    strategy: Strategy, candles: Candles, *, prefixes: int | None = 50, futures: int | None = 20
) -> LookAheadReport:
    """Recompute the plan with the future cut off and with other futures, and report every bar that changed.

    Args:
        strategy: Any strategy.
        candles: Data with enough bars for signals.
        prefixes: How many prefixes; those that end on a signal come first, the rest are spread evenly. None: every bar
            from the first usable one on. 0: none, for a strategy that cannot plan fewer bars.
        futures: After how many bars the future is replaced, chosen in the same way; twice each, the second time
            mirrored. None: every bar. 0: none, which leaves leaks to the prefixes.

    Returns:
        The last bar of each prefix, future and column that changed, in order of time; false where nothing looks ahead.

    Raises:
        BacktestError: plan() failed, or returned something that does not fit the bars it was given.
        ConfigError: A number is negative, or both are 0.
        DataError: A price is not positive, so that the future cannot be replaced.
    """
    for name, number in (("prefixes", prefixes), ("futures", futures)):
        if number is not None and number < 0:
            raise ConfigError(f"{name} must be 0 or more, or None for every bar; got {number}.")
    if prefixes == futures == 0:
        raise ConfigError(
            "prefixes and futures are both 0, so nothing would be checked.", hint="leave one of them out."
        )
    full = checked_plan(strategy, candles.bars)
    cuts, replaced = _cuts(full, prefixes), _cuts(full, futures)
    seen: set[tuple[int, str]] = set()
    found = [
        *_differences(strategy, candles, full, cuts, seen),
        *_noise_differences(strategy, candles, full, replaced, seen),
    ]
    return LookAheadReport(
        strategy=type(strategy).__name__,
        market=candles.label,
        bars=len(candles),
        prefixes=cuts.size,
        futures=2 * replaced.size,
        places=tuple(sorted(found, key=lambda place: place.bar)),
        warm_up=None if prefixes == 0 else warm_up_sensitivity(strategy, candles),
    )


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
    full = checked_plan(strategy, candles.bars)
    for found in _differences(strategy, candles, full, _prefix_ends(full, _QUICK_PREFIXES), set()):
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


def _cuts(full: Plan, count: int | None) -> IntArray:
    """The last bars known, ascending: so many of them, or all that matter."""
    if count is not None:
        return _prefix_ends(full, count)
    # What changes before the first usable bar changes no trade, and a strategy may well fail on three bars.
    return np.arange(max(1, warm_up_bars(full)), full.entry.size - 1)


def _prefix_ends(full: Plan, count: int) -> IntArray:
    """Last bars of the prefixes to try, ascending.

    A quarter end on a signal, a quarter one bar before a signal (where a leak that removes signals shows), the rest are
    spread evenly over the later half.
    """
    n = full.entry.size
    signals = np.flatnonzero((full.entry != 0) | (full.exit != 0))
    signals = signals[(signals < n - 1) & (signals > (full.start or 0))]
    chosen = signals[np.linspace(0, signals.size - 1, min(count // 4, signals.size)).astype(int)]
    spread = np.linspace(n // 2, n - 2, count - 2 * chosen.size).astype(int)
    return np.unique(np.concatenate([chosen, chosen - 1, spread]))


def _differences(
    strategy: Strategy, candles: Candles, full: Plan, ends: IntArray, seen: set[tuple[int, str]]
) -> Iterator[LookAhead]:
    """The last bar of each prefix and column that changed; a bar that two of them show is reported once."""
    for end in ends[ends >= 0]:
        # A view has array objects of its own, so no memoised indicator of the whole data is found.
        prefix = checked_plan(strategy, candles[: end + 1].bars)
        yield from _changes(strategy, candles, prefix, full, end + 1, "prefix", seen)


def _noise_differences(
    strategy: Strategy, candles: Candles, full: Plan, ends: IntArray, seen: set[tuple[int, str]]
) -> Iterator[LookAhead]:
    """The same with other futures after each of these bars."""
    if not ends.size:
        return
    others = OtherFutures(candles)
    for end in ends[ends >= 0]:
        for bars in others.after(int(end)):
            yield from _changes(strategy, candles, checked_plan(strategy, bars), full, end + 1, "noise", seen)


def _changes(
    strategy: Strategy,
    candles: Candles,
    other: Plan,
    full: Plan,
    stop: int,
    method: Method,
    seen: set[tuple[int, str]],
) -> Iterator[LookAhead]:
    """The last bar before `stop` of each column that is another in the other plan, unless it was seen already."""
    for column in _COLUMNS:
        then, now = getattr(other, column), getattr(full, column)
        if then is None and now is None:
            continue
        if then is None or now is None:
            raise BacktestError(
                f"{type(strategy).__name__} gives its own {column} line with some bars and none with others.",
                hint="return the same columns whatever the bars.",
            )
        then, now = then[:stop], now[:stop]
        with np.errstate(invalid="ignore"):
            near = np.abs(then - now) <= _TOLERANCE * np.abs(now)
        changed = np.flatnonzero(~(near | (then == now) | (np.isnan(then) & np.isnan(now))))
        if changed.size and (bar := int(changed[-1]), column) not in seen:
            seen.add((bar, column))
            yield LookAhead(bar, int(candles.time[bar]), column, float(then[bar]), float(now[bar]), method)
