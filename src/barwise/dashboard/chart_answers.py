"""What the charts of a run draw: candles with their lines, equity with its drawdown, and what was done on them.

Only what a screen can show is sent, and of that the numbers as they are: nothing is rounded here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from barwise.core.layout import BoolArray, FloatArray, IntArray
from barwise.dashboard.again import Again
from barwise.dashboard.level_of_detail import CandleLevels, Shown, thinned
from barwise.dashboard.run_tables import Curve, Stitched
from barwise.dashboard.trade_list import Listed, ms
from barwise.report.charts import evenly
from barwise.result import BacktestResult, Fill, Program, Trade
from barwise.story import Replay

# Lines that are no prices: where candles are put together, their extremes say what the last value would hide.
_BESIDE_PRICES = frozenset({"rsi", "atr", "risk"})
# Programs in one picture whose orders and levels can be told apart.
MOST_WITH_LEVELS = 120
_NO_LEVELS: Mapping[str, Any] = {"stops": [], "targets": [], "trailing_from": None}


def numbers(values: FloatArray) -> list[float | None]:
    """An array as JSON has it; what is no number is None."""
    found: list[float | None] = values.tolist()
    if np.isfinite(values).all():
        return found
    return [value if defined else None for value, defined in zip(found, np.isfinite(values).tolist(), strict=True)]


# -- Equity ------------------------------------------------------------------------------------------------------------


def equity_answer(
    curves: Mapping[str, Curve], parts: Iterable[str], start: int | None, end: int | None, points: int
) -> dict[str, Any]:
    """The curves of these parts; one that the run has not is left out.

    Args:
        curves: By part.
        parts: Which, in the order of the answer.
        start, end: Half-open span, ms UTC; None where open.
        points: Most points of a curve.
    """
    series = []
    for part in parts:
        if part not in curves:
            continue
        time, equity, drawdown = curves[part]
        low = 0 if start is None else int(np.searchsorted(time, start))
        high = len(time) if end is None else max(low, int(np.searchsorted(time, end)))
        kept = low + thinned((equity[low:high], drawdown[low:high]), points) if high > low else np.arange(0)
        series.append(
            {
                "part": part,
                "time": time[kept].tolist(),
                "equity": numbers(equity[kept]),
                # From 0, so that there is no -0.0.
                "drawdown": numbers(0.0 - drawdown[kept]),
                "bars": high - low,
            }
        )
    return {"series": series}


# -- Candles -----------------------------------------------------------------------------------------------------------


def candles_answer(
    levels: CandleLevels, lines: Mapping[str, FloatArray], start: int | None, end: int | None, points: int
) -> dict[str, Any]:
    """Candles of a span with the lines of a strategy at their closes.

    Args:
        levels: Of the candles.
        lines: One value per bar each, by name.
        start, end: Half-open span, ms UTC; None where open.
        points: Most candles.
    """
    shown = levels.shown(start, end, points)
    return {
        "timeframe": str(shown.timeframe),
        "merged": shown.merged,
        "bars_shown": len(shown.first),
        "time": shown.time.tolist(),
        **{name: getattr(shown, name).tolist() for name in ("open", "high", "low", "close", "volume")},
        "lines": {name: numbers(shown.line(values)) for name, values in lines.items()},
        "closed": levels.closed,
        "ranges": {name: _range(shown, values) for name, values in lines.items() if name in _BESIDE_PRICES},
    }


def _range(shown: Shown, values: FloatArray) -> dict[str, list[float | None]]:
    low, high = shown.range(values)
    return {"low": numbers(low), "high": numbers(high)}


# -- What was done -----------------------------------------------------------------------------------------------------


def overlays_answer(again: Again, start: int | None, end: int | None, most: int) -> dict[str, Any]:
    """Programs, fills and trades of a span, with the levels of each.

    Args:
        again: The backtest.
        start, end: Half-open span, ms UTC; None where open.
        most: Most trades, and most programs without one; of more, that many are chosen, evenly spread.

    Returns:
        `programs`, `fills`, `trades`, `omitted` (trades), and `levels`: whether programs have their orders and trades
        their stops and targets. Where there are more than can be told apart on a screen they have none.
    """
    result = again.result
    time, records = result.prepared.execution_candles.time, result.records
    trades = _overlapping(time[records.trades["entry_bar"]], time[records.trades["exit_bar"]], start, end)
    programs = records.programs
    without = _overlapping(time[programs["start_bar"]], time[programs["end_bar"]], start, end)
    without = np.setdiff1d(without, records.trades["program"])
    drawn = [result.trades[trades[i]] for i in evenly(len(trades), most)]
    missed = [int(without[i]) for i in evenly(len(without), most)]
    shown = sorted([trade.program_id for trade in drawn] + missed)
    trade_of = {trade.program_id: trade.trade_id for trade in drawn}
    told = {row: again.replay(row) for row in shown} if len(shown) <= MOST_WITH_LEVELS else {}
    return {
        "programs": [_program(result.programs[row], told.get(row), time, trade_of.get(row)) for row in shown],
        "fills": [
            _fill(fill, program_id=row, trade_id=trade_of.get(row), piece=None, side=result.programs[row].side)
            for row in shown
            for fill in result.programs[row].fills
        ],
        "trades": [
            {**Listed(trade.trade_id, None, trade).to_dict(), **_levels(told.get(trade.program_id), trade, result)}
            for trade in drawn
        ],
        "omitted": len(trades) - len(drawn),
        "levels": bool(told) or not shown,
    }


def stitched_overlays(stitched: Stitched, start: int | None, end: int | None, most: int) -> dict[str, Any]:
    """The same of a walk-forward, of which the tables have fills and trades but neither programs nor levels."""
    trades = [Listed(place, piece, trade) for place, (piece, trade) in enumerate(stitched.trades)]
    entry = np.array([ms(one.trade.entry_time) for one in trades], np.int64)
    leave = np.array([ms(one.trade.exit_time) for one in trades], np.int64)
    inside = _overlapping(entry, leave, start, end)
    drawn = [trades[inside[i]] for i in evenly(len(inside), most)]
    return {
        "programs": [],
        "fills": [
            _fill(
                fill,
                program_id=one.trade.program_id,
                trade_id=one.trade.trade_id,
                piece=one.piece,
                side=one.trade.side,
            )
            for one in drawn
            for fill in one.trade.fills
        ],
        "trades": [{**one.to_dict(), **_NO_LEVELS} for one in drawn],
        "omitted": len(inside) - len(drawn),
        "levels": False,
    }


def _overlapping(first: IntArray, last: IntArray, start: int | None, end: int | None) -> IntArray:
    """Which of some spans reach into another one; they hold their last instant, it does not hold its end."""
    inside: BoolArray = np.ones(len(first), np.bool_)
    if start is not None:
        inside &= last >= start
    if end is not None:
        inside &= first < end
    return np.flatnonzero(inside)


def _program(program: Program, told: Replay | None, time: IntArray, trade_id: int | None) -> dict[str, Any]:
    """A program with the price it waited at in each bar; None where it would have taken any."""
    return {
        "program_id": program.program_id,
        "trade_id": trade_id,
        "side": program.side,
        "signal_time": ms(program.signal_time),
        "end_time": ms(program.end_time),
        "arrival_price": program.arrival_price,
        "quantity": program.quantity,
        "filled_quantity": program.filled_quantity,
        "outcome": program.outcome,
        "orders": [
            [int(time[step.bar]), step.tier, step.limit if np.isfinite(step.limit) else None]
            for step in (() if told is None else told.steps)
        ],
    }


def _fill(fill: Fill, **owner: Any) -> dict[str, Any]:
    return {
        **owner,
        "time": ms(fill.time),
        "tier": fill.tier,
        "price": fill.price,
        "quantity": fill.quantity,
        "fee": fill.fee,
        "liquidity": fill.liquidity,
    }


def _levels(told: Replay | None, trade: Trade, result: BacktestResult) -> dict[str, Any]:
    """Where stop and target stood, each time and price from which on; the last point is at the exit."""
    if told is None:
        return dict(_NO_LEVELS)
    bars = result.prepared.execution_candles
    left = ms(trade.exit_time)
    stops: list[list[Any]] = []
    targets: list[list[Any]] = []
    trailing = None
    for level in told.levels:
        filled = level.cause == "fill"
        # A trail is in force from the next bar on.
        at = int(bars.time[level.bar]) if filled else int(bars.time[level.bar]) + bars.timeframe.ms
        if at > left:
            break
        if level.cause.startswith("trailing") and trailing is None:
            trailing = at
        for line, value in ((stops, level.stop), (targets, level.target)):
            price = value if np.isfinite(value) else None
            if not line or line[-1][1] != price:
                line.append([at, price])
    for line in (stops, targets):
        if line and line[-1][0] < left:
            line.append([left, line[-1][1]])
    return {"stops": stops, "targets": targets, "trailing_from": trailing}
