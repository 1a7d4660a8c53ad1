"""Warm-up: how much do a strategy's entries depend on where the data happens to begin?

Averages that feed on themselves (EMA, Wilder's RSI and ATR) never quite forget their first value. That is no leak and
no mistake, but a signal that comes and goes with fifty bars more or less of history will not come in live trading as it
came in the backtest. So it is measured, and reported as a number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from barwise.data.candles import Candles
from barwise.data.quality import counted
from barwise.strategy.base import Plan, Strategy, checked_plan, first_defined

_SHARES = (0.25, 0.5)
# First defined bar of the lines a plan gets where it names none: EMA(20) and ATR(14).
_DEFAULT_STARTS = {"anchor": 19, "risk": 14}


@dataclass(frozen=True)
class LaterStart:
    """The same strategy on data that begin later.

    Attributes:
        dropped: Bars left out at the beginning.
        entries: Bars with an entry in either plan, from the first bar on that both can use.
        changed: Those whose entry is not the same in both.
        settled: Bars from that first bar to the last change, which included; 0 where nothing changed.
    """

    dropped: int
    entries: int
    changed: int
    settled: int

    @property
    def share(self) -> float | None:
        """Changed entries as a fraction of all; None where there is no entry."""
        return self.changed / self.entries if self.entries else None

    def __str__(self) -> str:
        if not self.entries:
            return f"with the first {counted(self.dropped, 'bar')} left out there is no entry to compare"
        text = f"with the first {counted(self.dropped, 'bar')} left out, {self.changed:,} of "
        text += f"{counted(self.entries, 'entry bar')} would differ ({100.0 * self.changed / self.entries:.1f} %)"
        return f"{text}, the last one {self.settled:,} bars into the comparison" if self.changed else text

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `share` is None where there is no entry."""
        return {
            "dropped": self.dropped,
            "entries": self.entries,
            "changed": self.changed,
            "share": self.share,
            "settled": self.settled,
        }


@dataclass(frozen=True)
class WarmUp:
    """How a strategy's entries depend on the beginning of the data.

    Attributes:
        bars: Bars before the first usable one.
        starts: One for each later beginning; empty where the data is too short to begin later.
    """

    bars: int
    starts: tuple[LaterStart, ...]

    @property
    def share(self) -> float | None:
        """The largest share of entries that changed; None where nothing could be compared."""
        return max((start.share for start in self.starts if start.share is not None), default=None)

    def __str__(self) -> str:
        if not self.starts:
            return f"Warm-up of {counted(self.bars, 'bar')}: too few bars to begin later."
        return f"Warm-up of {counted(self.bars, 'bar')}: {'; '.join(map(str, self.starts))}."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"bars": self.bars, "share": self.share, "starts": [start.to_dict() for start in self.starts]}


def warm_up_sensitivity(strategy: Strategy, candles: Candles) -> WarmUp:
    """Recompute the plan on data that begin a quarter and half a warm-up later, and count the entries that change.

    Only bars count that lie a whole warm-up after the later beginning, where every line is defined in both plans.

    Args:
        strategy: Any strategy.
        candles: Data with enough bars for signals.

    Raises:
        BacktestError: plan() failed, or returned something that does not fit the bars.
    """
    full = checked_plan(strategy, candles.bars)
    warm_up = warm_up_bars(full)
    starts: list[LaterStart] = []
    for share in _SHARES:
        dropped = max(1, round(share * warm_up))
        first = dropped + warm_up
        if first >= len(candles) or any(start.dropped == dropped for start in starts):
            continue
        now = checked_plan(strategy, candles[dropped:].bars).entry[warm_up:]
        then = full.entry[first:]
        changed = np.flatnonzero(then != now)
        entries = int(np.count_nonzero((then != 0) | (now != 0)))
        starts.append(LaterStart(dropped, entries, changed.size, int(changed[-1]) + 1 if changed.size else 0))
    return WarmUp(warm_up, tuple(starts))


def warm_up_bars(plan: Plan) -> int:
    """Bars before the first one whose signal a backtest may use; the number of bars where there is none."""
    starts = [plan.start or 0]
    for name, default in _DEFAULT_STARTS.items():
        line = getattr(plan, name)
        starts.append(default if line is None else first_defined(line))
    return min(max(starts), plan.entry.size)
