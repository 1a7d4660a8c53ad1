"""The charts of the page as plain Plotly specifications: data in, dictionaries out, nothing is drawn here.

Colours are roles such as `@long` or `@tier-3`; the page's script puts in the colour of the theme, which page.css holds,
so that a thing has one colour wherever it shows. Text in a chart is only ours: no name that a user chose comes in here,
since Plotly reads markup in its texts.

Long runs are thinned for display, and only for display: what is dropped is named in the chart's caption.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.report import statements
from barwise.report.text import money, percent, with_unit
from barwise.timeframe import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult, Trade

Trace: TypeAlias = dict[str, Any]

MOST_MARKS = 1_800  # entries and exits together
_EQUITY_BUCKETS = 800  # up to three points each
_BINS = 30
_LARGEST_TAIL = 2.0  # of all results against the middle 98 %, before the frame fits the middle
_LARGEST_SWING = 4.0  # of buy and hold against the strategy, before it gets a scale of its own
_FIRST_WEEKDAY, _SATURDAY = 3, 5  # 1970-01-01 was a Thursday, Monday is 0
_NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


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


def drawn_trades(result: "BacktestResult") -> list["Trade"]:
    """The trades that charts draw one by one: all of them, or so many of them, evenly spread, as a page can hold."""
    count = len(result.trades)
    marks_per_trade = 1.0 + len(result.fills) / max(count, 1)
    return [result.trades[i] for i in evenly(count, int(MOST_MARKS / marks_per_trade))]


def drawn_note(drawn: Sequence["Trade"], result: "BacktestResult") -> str:
    """How many of the trades are drawn, where that is not all of them; starts with a space."""
    count = len(result.trades)
    return "" if len(drawn) == count else f" {len(drawn):,} of {count:,} trades are drawn, evenly spread."


def marks(name: str, color: str) -> Trace:
    """A scatter trace without its points."""
    return {"type": "scatter", "mode": "markers", "name": name, "marker": {"color": color}}


def time_axis(candles: "Candles", **options: Any) -> dict[str, Any]:
    """A date axis without the hours in which the exchange is closed."""
    axis: dict[str, Any] = {"type": "date", **options}
    calendar = candles.calendar
    if candles.timeframe.intraday and not calendar.always_open:
        opens = calendar.grid_origin_ms / HOUR_MS
        closes = opens + calendar.session_ms / HOUR_MS
        axis["rangebreaks"] = [{"pattern": "hour", "bounds": [closes % 24.0, opens % 24.0]}]
        # There are special sessions on Saturdays; a weekend is cut only where the data has none.
        weekday = (candles.time // DAY_MS + _FIRST_WEEKDAY) % 7
        if not (weekday >= _SATURDAY).any():
            axis["rangebreaks"].append({"bounds": ["sat", "mon"]})
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
        _line("buy and hold", time, held[kept], "@muted", 1.0),
        {
            **_line("drawdown", time, -drawdown[kept], "@loss", 1.0),
            "yaxis": "y2",
            "fill": "tozeroy",
            "fillcolor": "@loss-area",
            "hovertemplate": "%{y:.2f} %",
            "showlegend": False,
        },
    ]
    notes = []
    if len(kept) < len(equity):
        notes.append(f"{len(kept):,} of {len(equity):,} bars are drawn, every high and low of equity among them.")
    axis = {"title": {"text": "equity (quote currency)"}}
    layout: dict[str, Any] = {
        "hovermode": "x unified",
        "xaxis": time_axis(candles, anchor="y2", hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": {**axis, "domain": [0.33, 1.0]},
        "yaxis2": {"title": {"text": "drawdown (%)"}, "domain": [0.0, 0.26], "rangemode": "tozero"},
    }
    held_swing, own_swing = float(np.ptp(held)), float(np.ptp(equity))
    if held_swing > _LARGEST_SWING * own_swing:
        data[1]["yaxis"] = "y3"
        layout["yaxis"]["domain"], layout["yaxis2"]["domain"] = [0.5, 1.0], [0.0, 0.18]
        layout["yaxis3"] = {**axis, "title": {"text": "buy and hold"}, "domain": [0.24, 0.44]}
        notes.append("Buy and hold, with the whole capital, has a scale of its own: it swings far more.")
    held_return = result.metrics["buy_and_hold"]["total_return"]
    title = (
        f"Equity ended at {money(result.final_equity)} ({percent(result.total_return, signed=True)}), "
        f"{percent(result.max_drawdown)} below its peak at worst; holding the market made "
        f"{percent(held_return, signed=True)}"
    )
    return Chart("equity", title, " ".join(notes), data, layout)


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
        "constraintext": "none",
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
    layout = {"yaxis": {"title": {"text": "quote currency"}}, "showlegend": False}
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


def _told(value: float, in_r: bool) -> str:
    return with_unit(value, "R", 2, signed=True) if in_r else money(value, signed=True)


def distribution_chart(result: "BacktestResult") -> Chart:
    """How often which net result came out."""
    in_r = in_risk_units(result)
    values = np.array([trade.net_pnl / scale_of(trade, in_r) for trade in result.trades])
    low, high = np.percentile(values, (1.0, 99.0)).tolist()
    width = _nice_step((high - low) / _BINS or float(np.ptp(values)) / _BINS or abs(float(values[0])) / 4 or 1.0)
    # Bins are whole multiples of the width, so that none has gains and losses in it.
    bins, counts = np.unique(np.floor(values / width).astype(np.int64), return_counts=True)
    found = list(zip(bins.tolist(), counts.tolist(), strict=True))
    unit = _unit(in_r)
    data = [
        {
            "type": "bar",
            "name": name,
            "x": compact((i + 0.5) * width for i, _ in chosen),
            "y": [count for _, count in chosen],
            "width": compact([width])[0],
            "customdata": [compact((i * width, (i + 1) * width)) for i, _ in chosen],
            "hovertemplate": f"%{{y}} of %{{customdata[0]}} to %{{customdata[1]}} {unit}<extra></extra>",
            "marker": {"color": color, "line": {"color": "@page", "width": 1}},
        }
        for name, color, chosen in (
            ("loss", "@loss", [entry for entry in found if entry[0] < 0]),
            ("gain", "@gain", [entry for entry in found if entry[0] >= 0]),
        )
        if chosen
    ]
    mean, median = float(values.mean()), float(np.median(values))
    layout: dict[str, Any] = {
        "showlegend": True,
        "bargap": 0,
        "barmode": "overlay",
        "xaxis": {"title": {"text": f"net result of a trade ({unit})"}},
        "yaxis": {"title": {"text": "trades"}, "rangemode": "tozero"},
        "shapes": [_vertical(mean)],
        "annotations": [
            {"x": mean, "y": 1, "yref": "paper", "yanchor": "bottom", "text": "mean", "showarrow": False},
        ],
    }
    title = f"A trade made {_told(mean, in_r)} in the mean and {_told(median, in_r)} in the median"
    note = "R is a trade's own initial risk: the distance from entry to first stop, times quantity." if in_r else ""
    if float(np.ptp(values)) > _LARGEST_TAIL * (high - low) > 0.0:
        layout["xaxis"]["range"] = compact((min(low, 0.0) - 2 * width, max(high, 0.0) + 2 * width))
        reach = f"{_told(float(values.min()), in_r)} to {_told(float(values.max()), in_r)}"
        note += f" Results reach from {reach}; the frame holds the middle 98 %, a double click shows all."
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
    chosen = drawn_trades(result)
    unit = _unit(in_r)
    data = []
    for name, color, wins in (("losing trades", "@loss", False), ("winning trades", "@gain", True)):
        group = [trade for trade in chosen if (trade.net_pnl > 0.0) == wins]
        data.append(
            {
                **marks(name, color),
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
        "showlegend": True,
        "xaxis": {"title": {"text": f"furthest behind, MAE ({unit})"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": f"furthest ahead, MFE ({unit})"}, "rangemode": "tozero"},
    }
    note = f"One mark per trade, pointing up for a long.{drawn_note(chosen, result)}"
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
