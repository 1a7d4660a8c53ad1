"""The charts of a whole run that no single stage could draw: its parts in one figure, and what each of them paid.

A part has one colour everywhere: the baseline that of the text, what was optimized in-sample orange, out-of-sample
blue, and the market grey. Out-of-sample is drawn thickest and its bars are shaded, because it is the only curve that
nobody could have fitted.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.core.layout import FloatArray
from barwise.optimizer.insight import history
from barwise.report.charts import Chart, Trace, compact, extremes, time_axis
from barwise.report.findings import RunFindings
from barwise.report.optimization_charts import history_chart, plateau_chart
from barwise.report.price_chart import candle_chart
from barwise.report.run_comparison import BASELINE, HELD, OPTIMIZED, OUT_OF_SAMPLE, Comparison, Part
from barwise.report.text import money, percent
from barwise.report.validation_charts import fan_chart, luck_chart, permutation_chart, window_chart

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult
    from barwise.validation.engine import ValidationReport
    from barwise.validation.walk_forward import WalkForwardResult

# Colour, width and dash of each part.
_LINES: dict[str, tuple[str, float, str]] = {
    BASELINE: ("@ink", 1.2, "solid"),
    OPTIMIZED: ("@inside", 1.4, "solid"),
    OUT_OF_SAMPLE: ("@outside", 2.6, "solid"),
    HELD: ("@muted", 1.0, "dot"),
}
_BUCKETS = 400  # of each curve, up to three points each
_LARGEST_SWING = 4.0  # of buy and hold against the strategies, before it gets a scale of its own
_LAST_LABEL, _LEAST_ROOM = 0.85, 0.15  # shares of all trials
_STEPS = ("before costs", "slippage", "fees", "funding", "net")
_FUNDING = _STEPS.index("funding")
_ROOM = 0.22  # of the amounts' reach, for the texts beside the bars


# -- Equity ------------------------------------------------------------------------------------------------------------


def run_equity_chart(found: Comparison) -> Chart:
    """Equity of all parts and the drawdown under it, on one time axis, with the out-of-sample bars shaded."""
    candles = found.parts[BASELINE].candles
    strategies = [part for part in found.parts.values() if part.name != HELD]
    held = found.parts[HELD]
    data: list[Trace] = []
    thinned = False
    for part in strategies:
        kept = extremes((part.equity, part.drawdown), _BUCKETS)
        thinned |= len(kept) < len(part.bars)
        time = part.times[kept].tolist()
        data.append(_curve(part, time, part.equity[kept], "%{y:,.2f}"))
        data.append(_curve(part, time, -part.drawdown[kept], "%{y:.2f} %") | {"yaxis": "y2", "showlegend": False})
    kept = extremes((held.equity,), _BUCKETS)
    data.append(_curve(held, held.times[kept].tolist(), held.equity[kept], "%{y:,.2f}"))
    layout: dict[str, Any] = {
        "hovermode": "x unified",
        "xaxis": time_axis(candles, anchor="y2", hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": {"title": {"text": "equity (quote currency)"}, "domain": [0.36, 1.0]},
        "yaxis2": {"title": {"text": "drawdown (%)"}, "domain": [0.0, 0.29], "rangemode": "tozero"},
        "shapes": [] if OUT_OF_SAMPLE not in found.parts else [_shade(found.parts[OUT_OF_SAMPLE])],
    }
    notes = []
    if OUT_OF_SAMPLE in found.parts:
        notes.append("The shaded bars are those that were traded out-of-sample; every piece starts flat there.")
    swing = max(float(np.ptp(part.equity)) for part in strategies)
    if float(np.ptp(held.equity)) > _LARGEST_SWING * swing:
        data[-1]["yaxis"] = "y3"
        layout["yaxis"]["domain"], layout["yaxis2"]["domain"] = [0.48, 1.0], [0.0, 0.22]
        layout["yaxis3"] = {"title": {"text": "buy and hold"}, "domain": [0.27, 0.43]}
        notes.append("Buy and hold, with the whole capital, has a scale of its own: it swings far more.")
    if thinned:
        notes.append("Not every bar is drawn, but every high and low of each curve is.")
    return Chart("equity", _equity_title(found), " ".join(notes), data, layout)


def _curve(part: Part, time: list[int], values: FloatArray, hover: str) -> Trace:
    color, width, dash = _LINES[part.name]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": part.label,
        "x": time,
        "y": compact(values.tolist()),
        "line": {"color": color, "width": width, "dash": dash},
        "hovertemplate": hover,
    }


def _shade(part: Part) -> dict[str, Any]:
    """A shade behind the bars of a part, from its first to its last."""
    return {
        "type": "rect", "x0": part.first_ms, "x1": part.end_ms, "y0": 0, "y1": 1, "yref": "paper",
        "fillcolor": "@band", "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _equity_title(found: Comparison) -> str:
    told = [
        f"{part.label} {percent(part.metrics['total_return'], signed=True)}" for part in found.parts.values()
    ]  # fmt: skip
    text = ", ".join(told)
    return f"{text[:1].upper()}{text[1:]}"


# -- Costs -------------------------------------------------------------------------------------------------------------


def run_costs_chart(found: Comparison) -> Chart | None:
    """What a trade of each part made before costs, paid, and kept; None where no part has a trade.

    Per trade, because the parts cover spans of different length.
    """
    data: list[Trace] = []
    told = []
    for part in found.parts.values():
        costs, trades = part.costs(), part.metrics.get("total_trades")
        if costs is None or not trades:
            continue
        amounts = (costs["before_costs"], -costs["slippage"], -costs["fees"], -costs["funding"], costs["net_pnl"])
        each = [amount / trades for amount in amounts]
        told.append(f"{part.label} {money(each[0], signed=True)} before and {money(each[-1], signed=True)} after costs")
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": part.label,
                "x": compact(each),
                "y": list(_STEPS),
                "text": [money(amount, signed=True) for amount in each],
                "textposition": "outside",
                "cliponaxis": False,
                "constraintext": "none",
                "marker": {"color": _LINES[part.name][0]},
                "hovertemplate": f"{part.label}, %{{y}}: %{{text}}<extra></extra>",
            }
        )
    if not data:
        return None
    if not any(trace["x"][_FUNDING] for trace in data):
        for trace in data:
            for column in ("x", "y", "text"):
                del trace[column][_FUNDING]
    reach = [0.0, *(amount for trace in data for amount in trace["x"])]
    room = _ROOM * (max(reach) - min(reach)) or 1.0
    layout = {
        "showlegend": True,
        "barmode": "group",
        "bargap": 0.25,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": "quote currency a trade"},
            "zeroline": True,
            "range": compact((min(reach) - room, max(reach) + room)),
        },
        "yaxis": {"type": "category", "autorange": "reversed"},
    }
    text = "; ".join(told)
    title = f"A trade in the mean: {text}"
    return Chart("part-costs", title, "", data, layout)


# -- Charts of single stages, as they are in those stages' own reports -----------------------------------------------


def search_chart(found: "OptimizationResult") -> Chart | None:
    """All trials in the order they were made; None where there was none."""
    stages = found.stages
    if not stages or not any(stage.space.dimensions for stage in stages):
        return None
    candles, around = found.candles, found.neighbours
    years = len(candles) / candles.timeframe.bars_per_year(candles.calendar)
    course = history(stages, years=years)
    # What is on record and was neither a trial of this search nor a neighbour of its result was there before it.
    earlier = found.n_trials - int(course.configurations[-1]) - around
    drawn = history_chart(history(stages, years=years, earlier=earlier) if earlier > 0 else course, stages)
    _make_room(drawn.layout["annotations"], len(course))
    return drawn


def _make_room(labels: list[dict[str, Any]], trials: int) -> None:
    """Names of stages that would run into each other or out of the frame: a short stage goes without one."""
    starts = [label["x"] for label in labels]
    crowded = [end - start < _LEAST_ROOM * trials for start, end in pairwise(starts)] + [False] * bool(labels)
    labels[:] = [label for label, without in zip(labels, crowded, strict=True) if not without]
    for label in labels:
        if label["x"] > _LAST_LABEL * trials:
            label["xanchor"] = "right"


def run_charts(findings: RunFindings, found: Comparison) -> dict[str, Chart]:
    """Every chart of the page by name; what there is nothing to draw for is not in it."""
    drawn: list[Chart | None] = [run_equity_chart(found), run_costs_chart(found)]
    if findings.validation is not None:
        drawn += _of_validation(findings.validation)
    optimization = findings.optimization
    if optimization is not None:
        drawn.append(search_chart(optimization))
        if optimization.plateau is not None:
            drawn.append(plateau_chart(optimization.plateau, optimization.stages[-1]))
    drawn.append(candle_chart(findings.chosen))
    return {chart.name: chart for chart in drawn if chart is not None}


def _of_validation(report: "ValidationReport") -> list[Chart | None]:
    walked, test = report.walked, report.permutation
    return [
        None if walked is None or not _has_ratio(walked) else window_chart(walked),
        None if test is None else permutation_chart(test),
        luck_chart(report),
        None if walked is None or report.paths is None else fan_chart(report.paths, walked),
    ]


def _has_ratio(walked: "WalkForwardResult") -> bool:
    """Whether a part of any window has a Sharpe ratio to draw."""
    parts = (part for window in walked.windows for part in (window.in_sample, window.out_of_sample))
    return any(part is not None and part.metrics["sharpe_ratio"] is not None for part in parts)
