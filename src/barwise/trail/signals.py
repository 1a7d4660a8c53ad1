"""What became of every entry signal: the program it started, or what stood in its way.

Records hold the programs and nothing of the signals that started none. What stood in the way follows from the records,
by docs/execution.md, section 4: a signal is acted on in one execution bar, the first after its close, and there it
meets a position carried into the bar, a program at work, or nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from barwise.core.layout import IntArray, Status
from barwise.errors import BacktestError

if TYPE_CHECKING:
    from barwise.result import BacktestResult

# Why a signal started no program.
WHY = (
    "side_not_allowed",
    "risk_undefined",
    "last_bar",
    "no_execution_bar",
    "position_open",
    "program_working",
    "ruined",
)


@dataclass(frozen=True)
class Signal:
    """One entry signal of the tested span.

    Attributes:
        bar: Signal bar at whose close it was given.
        time: That close.
        side: long | short.
        close: Price at that close.
        risk, anchor, vwap: The plan's lines there; NaN where undefined.
        program: The program it started; None where it started none.
        why: One of `WHY` where it started none, else "".
        position: Trade of the position that was carried into the bar it was acted on in; None where there was none.
        working: Program that was at work as that bar opened; None where there was none.
        same_side: Whether that position or program was of the signal's own side; None where there was neither.
        cancelled: It ended that program: an opposite signal cancels what is left.
    """

    bar: int
    time: datetime
    side: str
    close: float
    risk: float
    anchor: float
    vwap: float
    program: int | None = None
    why: str = ""
    position: int | None = None
    working: int | None = None
    same_side: bool | None = None
    cancelled: bool = False


def signals_of(result: "BacktestResult") -> Iterator[Signal]:
    """Every entry signal from `trade_from` on, in order of time.

    Raises:
        BacktestError: A signal started no program and nothing stood in its way: the records are not of this plan.
    """
    plan, market, records = result.plan, result.prepared.market, result.records
    assert plan.risk is not None
    assert plan.anchor is not None
    assert plan.vwap is not None
    programs, trades = records.programs, records.trades
    started = {int(bar): row for row, bar in enumerate(programs["signal_bar"].tolist())}
    last = len(result.candles) - 1
    for bar in np.flatnonzero(plan.entry[: last + 1]).tolist():
        if bar < result.trade_from:
            continue
        side, first = int(plan.entry[bar]), int(market.act[bar])
        allowed = result.params["allow_long"] if side > 0 else result.params["allow_short"]
        position = _at_work(trades["entry_bar"], trades["exit_bar"], first)
        working = _at_work(programs["start_bar"], programs["end_bar"], first)
        there = trades[position] if position is not None else programs[working] if working is not None else None
        same_side = None if there is None else int(there["side"]) == side
        program, why = started.get(bar), ""
        if not allowed:
            why = "side_not_allowed"
        elif not plan.risk[bar] >= 0.0:
            why = "risk_undefined"
        elif bar == last:
            why = "last_bar"
        elif first == market.act[bar + 1]:
            why = "no_execution_bar"
        elif program is None and there is not None:
            why = "program_working" if position is None else "position_open"
        elif program is None and int(result.summary["status"][0]) == Status.RUINED:
            why = "ruined"
        elif program is None:
            raise BacktestError(
                f"the signal of bar {bar} started no program, and nothing stood in its way.",
                hint="run the backtest again; if it happens again, this is a bug worth reporting.",
            )
        ignored = bool(why) and why not in ("position_open", "program_working")
        yield Signal(
            bar=bar,
            time=datetime.fromtimestamp((int(result.candles.time[bar]) + result.candles.timeframe.ms) / 1000, UTC),
            side="long" if side > 0 else "short",
            close=float(result.candles.close[bar]),
            risk=float(plan.risk[bar]),
            anchor=float(plan.anchor[bar]),
            vwap=float(plan.vwap[bar]),
            program=program,
            why=why,
            position=None if ignored else position,
            working=None if ignored else working,
            same_side=None if ignored else same_side,
            cancelled=not ignored and working is not None and int(programs[working]["side"]) == -side,
        )


def _at_work(begins: IntArray, ends: IntArray, bar: int) -> int | None:
    """The row that had begun before an execution bar and had not ended before it; there is one at most."""
    row = int(np.searchsorted(begins, bar)) - 1
    return row if row >= 0 and int(ends[row]) >= bar else None
