"""The charts of many markets as plain Plotly specifications: each market's equity, small, and that of all together.

Markets are named in headings and never inside a chart: Plotly reads markup in its texts. A market's money is drawn in
percent of its own capital, because capitals and currencies differ.
"""

from dataclasses import dataclass
from typing import Any

from barwise.core.layout import FloatArray, IntArray
from barwise.report.charts import Chart, Trace, extremes, time_axis
from barwise.report.multi_markets import KINDS, Kind, Market, Together
from barwise.report.text import counted, number, percent
from barwise.timeframe import DAY_MS

MOST_DRAWN = 24
# One colour per kind of result, as on every other page; what is in-sample is thin.
LOOKS: dict[Kind, tuple[str, float]] = {
    "out_of_sample": ("outside", 2.0), "optimized": ("inside", 1.2), "baseline": ("muted", 1.2),
}  # fmt: skip
_SMALL_BUCKETS, _BUCKETS = 80, 500
_HOVER = "%{y:+.2f} %"


@dataclass(frozen=True)
class MultiCharts:
    """The charts of the page: one per market that is drawn, and all together; None where they share too few days."""

    markets: tuple[Chart, ...]
    portfolio: Chart | None

    def all(self) -> list[Chart]:
        """In the order of the page."""
        return [*self.markets, *([] if self.portfolio is None else [self.portfolio])]


def multi_charts(together: Together) -> MultiCharts:
    """Every chart of many markets, the first `MOST_DRAWN` of which get one of their own."""
    drawn = together.markets[:MOST_DRAWN]
    return MultiCharts(
        tuple(_market_chart(market, place) for place, market in enumerate(drawn, 1)), portfolio_chart(together)
    )


def _line(name: str, time: list[int], values: FloatArray, color: str, width: float, **line: Any) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": time,
        "y": [float(f"{value:.5g}") for value in values.tolist()],
        "line": {"color": f"@{color}", "width": width, **line},
        "hovertemplate": _HOVER,
    }


def _market_chart(market: Market, place: int) -> Chart:
    """One market: baseline, optimized and out-of-sample equity, in percent of the capital."""
    data = []
    for kind in reversed(KINDS):
        found = _equity(market, kind)
        if found is not None:
            time, percents = found
            kept = extremes((percents,), _SMALL_BUCKETS)
            color, width = LOOKS[kind]
            data.append(_line(kind.replace("_", "-"), time[kept].tolist(), percents[kept], color, width))
    layout = {
        "showlegend": False,
        "hovermode": "x unified",
        "margin": {"l": 44, "r": 8, "t": 8, "b": 28},
        "xaxis": time_axis(market.baseline.candles, nticks=5, hoverformat="%Y-%m-%d"),
        "yaxis": {"ticksuffix": " %", "nticks": 5, "zeroline": True},
    }
    return Chart(f"market-{place}", _market_title(market), "", data, layout)


def _equity(market: Market, kind: Kind) -> tuple[IntArray, FloatArray] | None:
    """Closes of the bars in ms, and the equity there in percent above the capital; None without such a result."""
    walked = market.walked
    if kind == "out_of_sample":
        if walked is None:
            return None
        candles, rows, equity, capital = walked.candles, walked.bars, walked.equity, walked.capital
        return candles.time[rows] + candles.timeframe.ms, 100.0 * (equity / capital - 1.0)
    result = market.baseline if kind == "baseline" else market.optimized
    if result is None:
        return None
    time = result.candles.time[result.trade_from :] + result.candles.timeframe.ms
    return time, 100.0 * (result.equity_curve / result.initial_capital - 1.0)


def _market_title(market: Market) -> str:
    figures = market.figures("out_of_sample")
    if figures is None:
        return f"{market.label}: no out-of-sample result"
    made, ratio = percent(figures["total_return"], signed=True), number(figures["sharpe_ratio"])
    return f"{market.label}: {made} out-of-sample, Sharpe\u00a0{ratio}"


def portfolio_chart(together: Together) -> Chart | None:
    """All markets with equal weight, out-of-sample with its drawdown, and what the same was in-sample."""
    outside = together.outside.portfolio
    if outside is None:
        return None
    data = []
    for kind in reversed(KINDS):
        found = together.groups[kind].portfolio
        if found is None:
            continue
        color, width = LOOKS[kind]
        name = kind.replace("_", "-")
        data.append(_line(name, *_thinned(found.days, found.rebalanced.growth), color, width))
        if kind == "out_of_sample" and len(found.returns) > 1:
            curve = _thinned(found.days, found.apart.growth)
            data.append(_line(f"{name}, left apart", *curve, color, 1.2, dash="dot"))
    account = outside.rebalanced
    time, depth = _times(outside.days), account.drawdown
    kept = extremes((depth,), _BUCKETS)
    data.append(
        {
            **_line("drawdown", time[kept].tolist(), -depth[kept], "loss", 1.0),
            "yaxis": "y2", "fill": "tozeroy", "fillcolor": "@loss-area", "showlegend": False,
        }
    )  # fmt: skip
    layout = {
        "showlegend": True,
        "hovermode": "x unified",
        "xaxis": {"type": "date", "anchor": "y2", "hoverformat": "%Y-%m-%d"},
        "yaxis": {"title": {"text": "result (% of the capital)"}, "domain": [0.33, 1.0], "zeroline": True},
        "yaxis2": {"title": {"text": "drawdown (%)"}, "domain": [0.0, 0.26], "rangemode": "tozero"},
    }
    members = counted(len(together.outside.members), "market")
    title = (
        f"Out-of-sample {members} of equal weight made {percent(account.total_return, signed=True)}, a Sharpe ratio of "
        f"{number(account.sharpe_ratio)}, {percent(account.max_drawdown)} below the peak at worst"
    )
    note = (
        "Each curve starts at 0 on the first day its markets share; the drawdown is the out-of-sample one, rebalanced."
    )
    return Chart("portfolio", title, note, data, layout)


def _times(days: IntArray) -> IntArray:
    """The ends of days in ms."""
    return (days + 1) * DAY_MS


def _thinned(days: IntArray, growth: FloatArray) -> tuple[list[int], FloatArray]:
    values = 100.0 * (growth - 1.0)
    kept = extremes((values,), _BUCKETS)
    return _times(days)[kept].tolist(), values[kept]
