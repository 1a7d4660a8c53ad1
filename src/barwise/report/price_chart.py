"""The chart of prices with every entry coloured by its tier and every exit by its reason."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.core.tiers import TIER_NAMES
from barwise.report.charts import Chart, Trace, compact, drawn_note, drawn_trades, marks, time_axis
from barwise.report.text import counted, words
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult, Trade

MOST_CANDLES = 4_000
_TIME = "%{x|%Y-%m-%d %H:%M} UTC"
# How an exit is marked: hollow where the level had trailed, grey where neither stop nor target decided.
EXIT_MARKS = {
    "stop_loss": ("x", "@stop"),
    "trailing_stop": ("x-open", "@stop"),
    "take_profit": ("circle", "@target"),
    "trailing_take_profit": ("circle-open", "@target"),
    "opposite_signal": ("square", "@muted"),
    "strategy_exit": ("square-open", "@muted"),
    "end_of_data": ("diamond", "@muted"),
    "ruined": ("star", "@stop"),
}


def display_candles(candles: "Candles", most: int = MOST_CANDLES) -> tuple[list[FloatArray], IntArray, Timeframe]:
    """Open, high, low, close, the times and the timeframe to draw: the finest one that needs at most `most` candles.

    Unlike `Candles.resample` this keeps the first and the last candle where the data covers them only in part.
    """
    frame = candles.timeframe
    first = np.arange(len(candles))
    for coarser in map(Timeframe, Timeframe.names()):
        if len(first) <= most:
            break
        if coarser.ms > frame.ms and coarser.ms % candles.timeframe.ms == 0:
            frame = coarser
            holder = (candles.time - coarser.grid_origin_ms(candles.calendar)) // coarser.ms
            first = np.flatnonzero(np.diff(holder, prepend=holder[0] - 1))
    last = np.append(first[1:], len(candles)) - 1
    columns = [
        candles.open[first],
        np.maximum.reduceat(candles.high, first),
        np.minimum.reduceat(candles.low, first),
        candles.close[last],
    ]
    return columns, candles.time[first], frame


def candle_chart(result: "BacktestResult") -> Chart:
    """Candles with every entry by tier and every exit by reason."""
    candles = result.candles
    (opens, highs, lows, closes), time, frame = display_candles(candles)
    outline = {"line": {"color": "@candle", "width": 1}}
    data: list[Trace] = [
        {
            "type": "candlestick",
            "name": f"{frame} candles",
            "x": time.tolist(),
            "open": compact(opens.tolist()),
            "high": compact(highs.tolist()),
            "low": compact(lows.tolist()),
            "close": compact(closes.tolist()),
            "increasing": {**outline, "fillcolor": "@page"},
            "decreasing": {**outline, "fillcolor": "@candle"},
            "showlegend": False,
        }
    ]
    chosen = drawn_trades(result)
    data += [_path(chosen, side) for side in ("long", "short")]
    data += [_entries(chosen, tier) for tier in range(1, 5)]
    data += [_exits(chosen, reason) for reason in EXIT_MARKS]
    data = [trace for trace in data if trace["x"]]
    layout = {
        "hovermode": "closest",
        "xaxis": time_axis(
            candles,
            rangeslider={"visible": False},
            rangeselector={
                "buttons": [
                    {"count": 7, "step": "day", "stepmode": "backward", "label": "week"},
                    {"count": 1, "step": "month", "stepmode": "backward", "label": "month"},
                    {"count": 3, "step": "month", "stepmode": "backward", "label": "quarter"},
                    {"step": "all", "label": "all"},
                ]
            },
        ),
        "yaxis": {"title": {"text": "price (quote currency)"}},
    }
    shown = "" if frame == candles.timeframe else f", drawn as {frame} candles"
    title = f"{counted(len(result.trades), 'trade')} on {counted(len(candles), 'bar')} of {candles.timeframe}{shown}"
    note = (
        "Triangles are entries by tier, pointing up for a long; the other marks are exits by reason. Drag to zoom in "
        f"time, and prices follow.{drawn_note(chosen, result)}"
    )
    return Chart("candles", title, note, data, layout, fits=True)


def _path(trades: Sequence["Trade"], side: str) -> Trace:
    """A line from entry to exit of every trade of a side."""
    x: list[int | None] = []
    y: list[float | None] = []
    for trade in trades:
        if trade.side == side:
            x += [_ms(trade.entry_time), _ms(trade.exit_time), None]
            y += [*compact((trade.entry_price, trade.exit_price)), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{side} position",
        "x": x,
        "y": y,
        "line": {"color": f"@{side}", "width": 2},
        "hoverinfo": "skip",
    }


def _entries(trades: Sequence["Trade"], tier: int) -> Trace:
    """Every entry fill of a tier."""
    fills = [(trade, fill) for trade in trades for fill in trade.fills if fill.tier == tier]
    return {
        **marks(f"entry, tier {tier} ({TIER_NAMES[tier - 1]})", f"@tier-{tier}"),
        "x": [_ms(fill.time) for _, fill in fills],
        "y": compact(fill.price for _, fill in fills),
        "customdata": [[trade.trade_id, fill.quantity, fill.liquidity] for trade, fill in fills],
        "hovertemplate": f"trade %{{customdata[0]}}, tier {tier}, %{{customdata[2]}}<br>{_TIME}<br>"
        "%{customdata[1]} at %{y:,}<extra></extra>",
        "marker": {
            "color": f"@tier-{tier}",
            "symbol": ["triangle-up" if trade.side == "long" else "triangle-down" for trade, _ in fills],
            "size": 10,
            "line": {"color": "@ink", "width": 0.8},
        },
    }


def _exits(trades: Sequence["Trade"], reason: str) -> Trace:
    """Every exit for one reason."""
    symbol, color = EXIT_MARKS[reason]
    closed = [trade for trade in trades if trade.exit_reason == reason]
    return {
        **marks(f"exit, {words(reason)}", color),
        "x": [_ms(trade.exit_time) for trade in closed],
        "y": compact(trade.exit_price for trade in closed),
        "customdata": [[trade.trade_id, trade.quantity, *compact((trade.net_pnl,))] for trade in closed],
        "hovertemplate": f"trade %{{customdata[0]}}, {words(reason)}<br>{_TIME}<br>%{{customdata[1]}} at %{{y:,}}<br>"
        "net %{customdata[2]:+,.2f}<extra></extra>",
        "marker": {"color": color, "symbol": symbol, "size": 8, "line": {"width": 1.4 if "open" in symbol else 0}},
    }


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
