"""The charts of the page as plain Plotly specifications: data in, dictionaries out, nothing is drawn here.

Colours are roles such as `@long` or `@tier-3`; the page's script puts in the colour of the theme, which page.css holds, so
that a thing has one colour wherever it shows. Text in a chart is only ours: no name that a user chose comes in here, since
Plotly reads markup in its texts.

Long runs are thinned for display, and only for display: what is dropped is named in the chart's caption.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.core.tiers import TIER_NAMES
from barwise.report import statements
from barwise.report.text import counted, money, percent, with_unit, words
from barwise.timeframe import HOUR_MS, Timeframe

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult, Trade

Trace: TypeAlias = dict[str, Any]

MOST_CANDLES = 4_000
MOST_TRADES = 3_000
_EQUITY_BUCKETS = 1_300  # up to three points each
_BINS = 30
_NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
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


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        name: Identifier in the page.
        title: Its message, one sentence with the figures.
        note: What the reader has to know to read it, or "".
        data, layout: As Plotly takes them, with roles for colours.
        fits: Zooming in time fits the prices to what is visible.
    """

    name: str
    title: str
    note: str
    data: list[Trace]
    layout: dict[str, Any]
    fits: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What the page's script needs."""
        return {"data": self.data, "layout": self.layout, "fits": self.fits}


def all_charts(result: "BacktestResult") -> list[Chart]:
    """Every chart that this result can fill: without trades there are two."""
    charts = [equity_chart(result), candle_chart(result)]
    if result.trades:
        charts += [cost_chart(result), distribution_chart(result), excursion_chart(result)]
    return charts


def compact(values: Iterable[float]) -> list[float]:
    """Numbers to eight significant digits, which is more than a screen shows and half of the bytes."""
    return [float(f"{value:.8g}") for value in values]


def evenly(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` things, spread evenly, first and last included."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def extremes(columns: Sequence[FloatArray], buckets: int) -> IntArray:
    """Indices that keep the shape of several curves: in each bucket the lowest of the first and the highest of all.

    Args:
        columns: Curves of one length; the result has the highest point of each and the lowest of the first.
        buckets: Into how many parts the curves are cut.
    """
    n = len(columns[0])
    if n <= buckets * (len(columns) + 1):
        return np.arange(n)
    kept = {0, n - 1}
    edges = np.linspace(0, n, buckets + 1).astype(np.int64)
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        kept.add(first + int(np.argmin(columns[0][first:end])))
        kept.update(first + int(np.argmax(column[first:end])) for column in columns)
    return np.array(sorted(kept), dtype=np.int64)


def _time_axis(candles: "Candles", **options: Any) -> dict[str, Any]:
    """A date axis without the hours in which the exchange is closed."""
    axis: dict[str, Any] = {"type": "date", **options}
    calendar = candles.calendar
    if candles.timeframe.intraday and not calendar.always_open:
        opens = calendar.grid_origin_ms / HOUR_MS
        closes = opens + calendar.session_ms / HOUR_MS
        axis["rangebreaks"] = [{"pattern": "hour", "bounds": [closes % 24.0, opens % 24.0]}]
    return axis


# -- Equity ------------------------------------------------------------------------------------------------------------


def equity_chart(result: "BacktestResult") -> Chart:
    """Equity over the whole test with buy and hold, and the drawdown under it on the same time axis."""
    candles = result.candles
    closes = candles.close[result.trade_from :]
    held = result.initial_capital * closes / closes[0]
    equity, drawdown = result.equity_curve, result.drawdown_curve
    kept = extremes((equity, drawdown), _EQUITY_BUCKETS)
    time = (candles.time[result.trade_from :] + candles.timeframe.ms)[kept].tolist()
    data: list[Trace] = [
        _line("strategy", time, equity[kept], "@ink", 1.8),
        {**_line("buy and hold", time, held[kept], "@muted", 1.0), "visible": True},
        {
            **_line("drawdown", time, -drawdown[kept], "@loss", 1.0),
            "yaxis": "y2",
            "fill": "tozeroy",
            "fillcolor": "@loss-area",
            "hovertemplate": "%{y:.2f} %",
            "showlegend": False,
        },
    ]
    layout = {
        "hovermode": "x unified",
        "xaxis": _time_axis(candles, anchor="y2", hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": {"title": {"text": "equity (quote currency)"}, "domain": [0.33, 1.0], "tickformat": "~s"},
        "yaxis2": {
            "title": {"text": "drawdown (%)"},
            "domain": [0.0, 0.26],
            "rangemode": "tozero",
        },
    }
    held_return = result.metrics["buy_and_hold"]["total_return"]
    title = (
        f"Equity ended at {money(result.final_equity)} ({percent(result.total_return, signed=True)}), "
        f"{percent(result.max_drawdown)} below its peak at worst; holding the market made "
        f"{percent(held_return, signed=True)}"
    )
    note = "" if len(kept) == len(equity) else f"{len(kept):,} of {len(equity):,} bars drawn, every extreme among them."
    return Chart("equity", title, note, data, layout)


def _line(name: str, time: list[int], values: FloatArray, color: str, width: float) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": time,
        "y": compact(values.tolist()),
        "line": {"color": color, "width": width},
        "hovertemplate": "%{y:,.2f}",
    }


# -- Candles -----------------------------------------------------------------------------------------------------------


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
    chosen = [result.trades[i] for i in evenly(len(result.trades), MOST_TRADES)]
    data += [_path(chosen, side) for side in ("long", "short")]
    data += [_entries(chosen, tier) for tier in range(1, 5)]
    data += [_exits(chosen, reason) for reason in EXIT_MARKS]
    data = [trace for trace in data if trace["x"]]
    layout = {
        "hovermode": "closest",
        "xaxis": _time_axis(
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
    shown = "" if frame == candles.timeframe else f" (drawn as {frame} candles, too many of {candles.timeframe})"
    title = f"{counted(len(result.trades), 'trade')} on {candles.timeframe} candles{shown}"
    note = "Triangles are entries by tier, pointing up for a long; the other marks are exits by reason. Zoom in time by dragging."
    if len(chosen) < len(result.trades):
        note += f" {len(chosen):,} of {len(result.trades):,} trades are drawn, evenly spread."
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
        **_marks(f"entry, tier {tier} ({TIER_NAMES[tier - 1]})", f"@tier-{tier}"),
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
        **_marks(f"exit, {words(reason)}", color),
        "x": [_ms(trade.exit_time) for trade in closed],
        "y": compact(trade.exit_price for trade in closed),
        "customdata": [[trade.trade_id, trade.quantity, *compact((trade.net_pnl,))] for trade in closed],
        "hovertemplate": f"trade %{{customdata[0]}}, {words(reason)}<br>{_TIME}<br>%{{customdata[1]}} at %{{y:,}}<br>"
        "net %{customdata[2]:+,.2f}<extra></extra>",
        "marker": {"color": color, "symbol": symbol, "size": 8, "line": {"width": 1.4 if "open" in symbol else 0}},
    }


def _marks(name: str, color: str) -> Trace:
    return {"type": "scatter", "mode": "markers", "name": name, "marker": {"color": color}}


def _ms(time: Any) -> int:
    return round(time.timestamp() * 1000)


# -- Costs -------------------------------------------------------------------------------------------------------------


def cost_chart(result: "BacktestResult") -> Chart:
    """From the result before costs down to the net result."""
    steps = statements.cost_steps(result)
    bars: Trace = {
        "type": "waterfall",
        "x": [step.name for step in steps],
        "y": compact(step.amount for step in steps),
        "measure": ["absolute" if i == 0 else "total" if step.is_total else "relative" for i, step in enumerate(steps)],
        "text": [money(step.amount, signed=True) for step in steps],
        "textposition": "outside",
        "cliponaxis": False,
        "increasing": {"marker": {"color": "@gain"}},
        "decreasing": {"marker": {"color": "@loss"}},
        "totals": {"marker": {"color": "@total"}},
        "connector": {"line": {"color": "@muted", "width": 1}},
        "hovertemplate": "%{x}: %{text}<extra></extra>",
    }
    costs = steps[0].amount - steps[-1].amount
    title = (
        f"Costs took {money(costs)} of a result of {money(steps[0].amount, signed=True)} before costs; "
        f"{money(steps[-1].amount, signed=True)} is left"
    )
    layout = {"yaxis": {"title": {"text": "quote currency"}, "tickformat": "~s"}, "showlegend": False}
    return Chart("costs", title, "", [bars], layout)


# -- Trades ------------------------------------------------------------------------------------------------------------


def in_risk_units(result: "BacktestResult") -> bool:
    """Whether every trade has an initial risk, so that results can be told in R."""
    return all(trade.initial_risk * trade.quantity > 0.0 for trade in result.trades)


def scale_of(trade: "Trade", in_r: bool) -> float:
    """What an amount of the trade is divided by: its initial risk in money, or 1."""
    return trade.initial_risk * trade.quantity if in_r else 1.0


def _unit(in_r: bool) -> str:
    return "R" if in_r else "quote currency"


def distribution_chart(result: "BacktestResult") -> Chart:
    """How often which net result came out."""
    in_r = in_risk_units(result)
    values = np.array([trade.net_pnl / scale_of(trade, in_r) for trade in result.trades])
    width = _nice_step(float(np.ptp(values)) / _BINS or abs(float(values[0])) / 4 or 1.0)
    # Bins are whole multiples of the width, so that none has gains and losses in it.
    bins = np.floor(values / width).astype(np.int64)
    first = int(bins.min())
    counts = np.bincount(bins - first)
    unit = _unit(in_r)
    data = [
        {
            "type": "bar",
            "name": name,
            "x": compact((i + 0.5) * width for i in chosen),
            "y": [int(counts[i - first]) for i in chosen],
            "width": compact([width])[0],
            "customdata": [compact((i * width, (i + 1) * width)) for i in chosen],
            "hovertemplate": f"%{{y}} of %{{customdata[0]}} to %{{customdata[1]}} {unit}<extra></extra>",
            "marker": {"color": color, "line": {"color": "@page", "width": 1}},
        }
        for name, color, chosen in (
            ("loss", "@loss", [i for i in range(first, first + len(counts)) if i < 0]),
            ("gain", "@gain", [i for i in range(first, first + len(counts)) if i >= 0]),
        )
        if chosen
    ]
    mean, median = float(values.mean()), float(np.median(values))
    layout = {
        "bargap": 0,
        "barmode": "overlay",
        "xaxis": {"title": {"text": f"net result of a trade ({unit})"}},
        "yaxis": {"title": {"text": "trades"}, "rangemode": "tozero"},
        "shapes": [_vertical(mean)],
        "annotations": [
            {"x": mean, "y": 1, "yref": "paper", "yanchor": "bottom", "text": "mean", "showarrow": False},
        ],
    }
    figure = (lambda value: with_unit(value, "R", 2, signed=True)) if in_r else (lambda value: money(value, signed=True))
    title = f"A trade made {figure(mean)} in the mean and {figure(median)} in the median"
    note = "R is a trade's own initial risk: the distance from entry to first stop, times quantity." if in_r else ""
    return Chart("distribution", title, note, data, layout)


def _nice_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in _NICE_STEPS if nice * power >= step * (1.0 - 1e-9))


def _vertical(x: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": "@ink", "width": 1, "dash": "dot"},
    }


def excursion_chart(result: "BacktestResult") -> Chart:
    """How far each trade was behind and ahead before it ended."""
    in_r = in_risk_units(result)
    chosen = [result.trades[i] for i in evenly(len(result.trades), MOST_TRADES)]
    unit = _unit(in_r)
    data = []
    for name, color, wins in (("losing trades", "@loss", False), ("winning trades", "@gain", True)):
        group = [trade for trade in chosen if (trade.net_pnl > 0.0) == wins]
        data.append(
            {
                **_marks(name, color),
                "x": compact(-trade.mae / scale_of(trade, in_r) for trade in group),
                "y": compact(trade.mfe / scale_of(trade, in_r) for trade in group),
                "customdata": [[trade.trade_id, trade.side, *compact((trade.net_pnl,))] for trade in group],
                "hovertemplate": "trade %{customdata[0]}, %{customdata[1]}<br>behind %{x:.2f}, ahead %{y:.2f}<br>"
                "net %{customdata[2]:+,.2f}<extra></extra>",
                "marker": {
                    "color": color,
                    "symbol": ["triangle-up" if trade.side == "long" else "triangle-down" for trade in group],
                    "size": 8,
                    "opacity": 0.75,
                },
            }
        )
    layout = {
        "hovermode": "closest",
        "xaxis": {"title": {"text": f"furthest behind, MAE ({unit})"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": f"furthest ahead, MFE ({unit})"}, "rangemode": "tozero"},
    }
    note = "One mark per trade, pointing up for a long."
    if len(chosen) < len(result.trades):
        note += f" {len(chosen):,} of {len(result.trades):,} trades are drawn, evenly spread."
    return Chart("excursions", _excursion_title(result, in_r), note, [trace for trace in data if trace["x"]], layout)


def _excursion_title(result: "BacktestResult", in_r: bool) -> str:
    """What winners suffered and what losers gave back, in the median."""

    def median(values: list[float]) -> str:
        middle = float(np.median(values))
        return with_unit(middle, "R", 2) if in_r else money(middle)

    ahead = [trade.mfe / scale_of(trade, in_r) for trade in result.trades if trade.net_pnl <= 0.0]
    behind = [-trade.mae / scale_of(trade, in_r) for trade in result.trades if trade.net_pnl > 0.0]
    parts = []
    if ahead:
        parts.append(f"trades that lost had been ahead by {median(ahead)}")
    if behind:
        parts.append(f"trades that won had been behind by {median(behind)}")
    sentence = "; ".join(parts) + " in the median"
    return sentence[0].upper() + sentence[1:]
