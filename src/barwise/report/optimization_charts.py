"""The charts of an optimization as plain Plotly specifications: what was tried, what came of it, what mattered.

No trial vanishes from a chart without being counted in its caption: not one that was given up early, not one without a
value, and not one that is left out because thousands of marks would be drawn on top of each other.
"""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError
from barwise.optimizer.insight import (
    History,
    Importance,
    history,
    importance,
    leading_pairs,
    pair_map,
    spread,
)
from barwise.optimizer.plateau import KEEPS, Plateau
from barwise.optimizer.trials import StageResult
from barwise.report.charts import Chart, Trace, compact
from barwise.report.parameter_charts import pair_chart, parallel_chart, pareto_chart, slice_chart
from barwise.report.text import counted, percent, words
from barwise.report.trial_marks import (
    MOST_POINTS,
    ROLES,
    STATES,
    axis_title,
    brief,
    dots,
    frame_of,
    identifier,
    outside_text,
    told,
)

if TYPE_CHECKING:
    import plotly.graph_objects

    from barwise.optimizer.engine import OptimizationResult

_LUCK_POINTS = 200
_WHISKER_SAMPLES = 20
_EDGE = 0.02  # of the frame, from its lower edge to the marks of trials without a value


# -- History -----------------------------------------------------------------------------------------------------------


def history_chart(course: History, stages: Sequence[StageResult]) -> Chart:
    """All trials in the order they were made, the best so far, and how far luck alone would have come."""
    name, n = stages[0].objective.names[0], len(course)
    ends = course.best[np.isfinite(course.best)]
    luck_end = math.nan if course.luck is None else float(course.luck[-1])
    frame, outside = frame_of(course.reported, *ends[-1:], *ends[:1], luck_end)
    drawn = spread(n, MOST_POINTS)
    data: list[Trace] = []
    for state, (label, color, marker) in STATES.items():
        rows = [row for row in drawn.tolist() if course.states[row] == state and math.isfinite(course.reported[row])]
        if rows:
            data.append(dots(label, color, (row + 1 for row in rows), course.reported[rows], **marker))
    undefined = [row for row in drawn.tolist() if math.isnan(course.reported[row])]
    if undefined:
        at_the_edge = [frame[0] + _EDGE * (frame[1] - frame[0])] * len(undefined)
        data.append(
            dots("without a value", "@broken", (row + 1 for row in undefined), at_the_edge, symbol="x-thin-open")
        )
    data.append(_best_line(course))
    if course.luck is not None:
        kept = np.unique(np.geomspace(1, n, _LUCK_POINTS).astype(np.int64)) - 1
        data.append(_curve("luck alone", "@luck", kept + 1, course.luck[kept], dash="dot"))
    starts = [int(np.argmax(course.stage == at)) + 1 for at in range(len(stages))]
    layout = {
        "hovermode": "closest",
        "showlegend": True,
        "xaxis": {"title": {"text": "trial"}, "range": [0, n + 1]},
        "yaxis": {"title": axis_title(name), "range": frame},
        "shapes": [_upright(start) for start in starts[1:]],
        "annotations": [
            {
                "x": start, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top", "showarrow": False,
                "text": f"stage {stage.stage}", "font": {"color": "@muted"},
            }
            for start, stage in zip(starts, stages, strict=True)
            if len(stages) > 1
        ],
    }  # fmt: skip
    return Chart("history", _history_title(course, name), _history_note(course, drawn.size, outside), data, layout)


def _best_line(course: History) -> Trace:
    """The best so far: every trial that changed it, and the last one."""
    rows = np.flatnonzero(np.isfinite(course.best))
    if rows.size:
        changed = np.flatnonzero(np.diff(course.best[rows], prepend=math.nan) != 0.0)
        rows = np.append(rows[changed], rows[-1])
    return _curve("best so far", "@ink", rows + 1, course.best[rows], shape="hv", width=2.0)


def _curve(name: str, color: str, x: IntArray, y: FloatArray, **line: Any) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x.tolist(),
        "y": compact(y.tolist()),
        "line": {"color": color, "width": 1.8, **line},
    }


def _upright(x: float) -> dict[str, Any]:
    line = {"color": "@rule", "width": 1}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _history_title(course: History, name: str) -> str:
    found = course.best[np.isfinite(course.best)]
    made = counted(len(course), "trial")
    if not found.size:
        return f"None of {made} kept all guards"
    text = f"The best {words(name)} went from {told(name, found[0])} to {told(name, found[-1])} in {made}"
    if course.luck is None:
        return text
    tried, luck = int(course.configurations[-1]), told(name, float(course.luck[-1]))
    return f"{text}; of {counted(tried, 'configuration')} without any edge the best reaches {luck} by luck"


def _history_note(course: History, drawn: int, outside: int) -> str:
    n = len(course)
    notes = []
    pruned = course.states.count("pruned")
    if pruned:
        notes.append(f"{counted(pruned, 'trial')} given up early: drawn with what they had when they were given up.")
    undefined = int(np.isnan(course.reported).sum())
    if undefined:
        are = "stands" if undefined == 1 else "stand"
        notes.append(
            f"{counted(undefined, 'trial')} without a value (no trade, or a metric that is not defined) {are} at the "
            "lower edge."
        )
    if drawn < n:
        notes.append(f"{drawn:,} of {n:,} trials are drawn, evenly spread; the best so far follows all of them.")
    if course.luck is not None:
        notes.append(
            "Luck alone: the Sharpe ratio to expect over this span from the best of all different configurations on "
            "record for these data so far, if none has an edge. The neighbours of the result, looked at afterwards, "
            "are not in it yet."
        )
    return " ".join(notes) + outside_text(outside)


# -- Importance --------------------------------------------------------------------------------------------------------


def importance_chart(stage: StageResult, found: Importance) -> Chart | None:
    """Shares of the parameters with their bootstrap range; None where there are none."""
    if not found.shares:
        return None
    names = list(found.shares)[::-1]
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "name": "share",
        "x": brief(100.0 * found.shares[name] for name in names),
        "y": names,
        "marker": {"color": "@done"},
        "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
    }
    data = [bars]
    if found.low:
        ends: list[float | None] = []
        rows: list[str | None] = []
        for name in names:
            ends += [*brief((100.0 * found.low[name], 100.0 * found.high[name])), None]
            rows += [name, name, None]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "80 % of bootstrap samples",
                "x": ends,
                "y": rows,
                "line": {"color": "@ink", "width": 1.5},
                "marker": {"color": "@ink", "symbol": "line-ns-open", "size": 9},
                "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
            }
        )
    layout = {
        "showlegend": bool(found.low),
        "xaxis": {"title": {"text": "share of importance (%)"}, "rangemode": "tozero"},
        "yaxis": {"type": "category"},
    }
    first = names[-1]
    title = f"{first} told good trials from bad more than any other, {percent(100.0 * found.shares[first], 0)} of it"
    how = {
        "ped-anova": "PED-ANOVA: in which parameters the best tenth of the trials differs from the rest.",
        "fanova": "fANOVA: whose changes make up how much of the variance of the objective.",
    }[found.method]
    note = f"{how} From {_of_trials(found)}."
    if found.low:
        note += " A range wide enough to cover another bar says that their order is not known."
    return Chart(f"importance-{identifier(stage)}", title, note, data, layout)


def _of_trials(found: Importance) -> str:
    """`500 of 1,200 trials, evenly spread, that were run to the end (40 others were not)`."""
    text = f"{found.used:,} of {found.usable:,} trials, evenly spread, that" if found.used < found.usable else ""
    text = text or f"the {counted(found.used, 'trial')} that"
    left = found.total - found.usable
    return f"{text} were run to the end and have a value" + (f" ({left:,} others do not count)" if left else "")


# -- Plateau -----------------------------------------------------------------------------------------------------------


def plateau_chart(plateau: Plateau, stage: StageResult) -> Chart | None:
    """What one step down and one step up in each parameter leaves of the objective; None where there is no value."""
    if plateau.undefined == len(plateau.points):
        return None
    name = stage.objective.names[0]
    sign = -1.0 if stage.objective.directions[0] == "minimize" else 1.0
    around = dict(reversed(plateau.per_parameter.items()))
    labels = list(around)
    sides = {"one step up": ("@up", 1), "one step down": ("@broken", 0)}
    data: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "y": labels,
            "x": [None if (value := pair[at]) is None else brief([sign * value])[0] for pair in around.values()],
            "marker": {"color": color},
            "hovertemplate": f"%{{y}}, {label}: %{{x:.3~f}}<extra></extra>",
        }
        for label, (color, at) in sides.items()
    ]
    shapes = [_upright(sign * plateau.value)]
    shapes[0]["line"] = {"color": "@chosen", "width": 2}
    legend: list[Trace] = [_line_for_legend("chosen", {"color": "@chosen", "width": 2})]
    if plateau.kept is not None:
        limit = _upright(KEEPS * plateau.value)
        limit["line"] = {"color": "@chosen", "width": 1.5, "dash": "dot"}
        shapes.append(limit)
        legend.append(_line_for_legend(f"{100.0 * KEEPS:.0f} % of it", limit["line"]))
    layout = {
        "showlegend": True,
        "barmode": "group",
        "bargap": 0.25,
        "xaxis": {"title": axis_title(name)},
        "yaxis": {"type": "category"},
        "shapes": shapes,
    }
    missing = sum(value is None for pair in around.values() for value in pair)
    note = ""
    if missing:
        verb = "has" if missing == 1 else "have"
        note = (
            f"{counted(missing, 'step')} {verb} no bar: outside what the strategy allows, or without a value (no "
            "trade, or a broken guard)."
        )
    return Chart("plateau", _plateau_title(plateau), note, [*legend, *data], layout)


def _line_for_legend(name: str, line: dict[str, Any]) -> Trace:
    return {"type": "scatter", "mode": "lines", "name": name, "x": [None], "y": [None], "line": line}


def _plateau_title(plateau: Plateau) -> str:
    around = counted(len(plateau.points), "neighbour")
    if plateau.kept is None:
        return f"How much of {around} is as good is not known: {plateau.reason}"
    return f"{percent(100.0 * plateau.kept, 0)} of {around} keep at least {100.0 * KEEPS:.0f} % of the objective"


# -- All charts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageCharts:
    """The charts of one stage, None or empty where there is nothing to draw."""

    importance: Importance
    ranking: Chart | None
    pairs: tuple[Chart, ...]
    left_out: int
    parallel: Chart | None
    slices: tuple[Chart, ...]
    pareto: Chart | None

    def all(self) -> list[Chart]:
        """In the order of the page."""
        found = [self.ranking, self.parallel, self.pareto, *self.pairs, *self.slices]
        return [chart for chart in found if chart is not None]


@dataclass(frozen=True)
class OptimizationCharts:
    """All charts of the page."""

    history: Chart
    plateau: Chart | None
    stages: tuple[StageCharts, ...]

    def all(self) -> list[Chart]:
        """In the order of the page."""
        found = [self.history, *([self.plateau] if self.plateau else [])]
        return found + [chart for stage in self.stages for chart in stage.all()]


def optimization_charts(result: "OptimizationResult") -> OptimizationCharts:
    """Every chart of an optimization, as plain Plotly specifications; `plotly_figure` makes figures of them.

    Raises:
        ConfigError: Nothing was searched yet.
    """
    stages = result.stages
    if not stages:
        raise ConfigError("nothing was searched yet, so there is nothing to show.", hint="run optimize() first.")
    candles, plateau = result.candles, result.plateau
    years = len(candles) / candles.timeframe.bars_per_year(candles.calendar)
    course = history(stages, years=years)
    # What is on record and was neither a trial of this search nor a neighbour of its best was there before it.
    earlier = result.n_trials - int(course.configurations[-1]) - result.neighbours
    if earlier > 0:
        course = history(stages, years=years, earlier=earlier)
    return OptimizationCharts(
        history_chart(course, stages),
        None if plateau is None else plateau_chart(plateau, stages[-1]),
        tuple(_stage_charts(stage, plateau) for stage in stages),
    )


def _stage_charts(stage: StageResult, plateau: Plateau | None) -> StageCharts:
    found = importance(stage, samples=_WHISKER_SAMPLES)
    maps = [pair_map(stage, *names) for names in leading_pairs(found)]
    return StageCharts(
        found,
        importance_chart(stage, found),
        tuple(pair_chart(stage, one, plateau) for one in maps),
        maps[0].total - maps[0].used if maps else 0,
        parallel_chart(stage),
        tuple(slice_chart(stage, name) for name in stage.space.names),
        pareto_chart(stage),
    )


def plotly_figure(chart: Chart, *, dark: bool = False) -> "plotly.graph_objects.Figure":
    """A chart as a Plotly figure with the colours of the page, for notebooks and dashboards."""
    import plotly.graph_objects

    colours = _colours(dark)

    def coloured(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return colours[value[1:]]
        if isinstance(value, list):
            return [coloured(item) for item in value]
        if isinstance(value, dict):
            return {key: coloured(item) for key, item in value.items()}
        return value

    frame = {"title": {"text": html.escape(chart.title)}, "paper_bgcolor": "@page", "plot_bgcolor": "@page"}
    axis = {"gridcolor": "@grid", "linecolor": "@rule", "zerolinecolor": "@rule", "automargin": True}
    layout = {**frame, "font": {"color": "@ink"}, **chart.layout}
    for name in ("xaxis", "yaxis"):
        layout[name] = {**axis, **layout.get(name, {})}
    return plotly.graph_objects.Figure(coloured(chart.data), coloured(layout))


@cache
def _colours(dark: bool) -> dict[str, str]:
    """Colours by role, as the style of the page has them."""
    blocks = re.findall(
        r":root([^{]*)\{(.*?)\}", (package_files("barwise.report") / "page.css").read_text("utf-8"), re.DOTALL
    )
    found: dict[str, str] = {}
    for selector, block in blocks:
        if not selector.strip() or (dark and "dark" in selector):
            found |= {name: value.strip() for name, value in re.findall(r"--([\w-]+):\s*([^;]+);", block)}
    found |= ROLES
    return {name: found.get(value[6:-1], value) if value.startswith("var(") else value for name, value in found.items()}
