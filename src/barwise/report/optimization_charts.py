"""The charts of an optimization as plain Plotly specifications: what was tried, what came of it, what mattered.

No trial vanishes from a chart without being counted in its caption: not one that was given up early, not one without a
value, and not one that is left out because thousands of marks would be drawn on top of each other.
"""

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
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
    PairMap,
    has_value,
    history,
    importance,
    leading_pairs,
    pair_map,
    spread,
    state_names,
    usable,
)
from barwise.optimizer.plateau import KEEPS, Plateau
from barwise.optimizer.trials import StageResult
from barwise.report.charts import Chart, Trace, compact
from barwise.report.text import counted, money, number, percent, price, words

if TYPE_CHECKING:
    import plotly.graph_objects

    from barwise.optimizer.engine import OptimizationResult

MOST_POINTS = 5_000  # of the history; slices are smaller, and there are more of them
_MOST_SLICE_POINTS = 1_000
_MOST_LINES = {"best": 60, "upper": 120, "rest": 120}
_BEST_SHARE, _UPPER_SHARE = 0.05, 0.25
_LUCK_POINTS = 200
MOST_LEVEL_AXES = 8  # of parallel coordinates; with more, names stand upright
_WHISKER_SAMPLES = 20
_MIDDLE = (1.0, 99.0)  # percentiles that a frame holds where the rest lies far outside
_LARGEST_TAIL = 2.0
_ROOM = 0.06  # above and below what a frame holds
_EDGE = 0.02  # of the frame, from its lower edge to the marks of trials without a value
_IN_PERCENT = frozenset({"total_return", "cagr", "win_rate", "max_drawdown", "volatility"})
_IN_MONEY = frozenset({"net_pnl", "expectancy", "fees", "slippage", "funding"})
_COUNTED = frozenset({"total_trades", "ambiguous_trades", "losing_trades"})
# Roles beside those of page.css, from the same palette: one thing, one colour, in every chart of an optimization.
ROLES = {"done": "#56b4e9", "broken": "#e69f00", "chosen": "#d55e00", "luck": "#cc79a7", "up": "#0072b2"}


# -- Numbers of an objective -------------------------------------------------------------------------------------------


def told(name: str, value: float | None) -> str:
    """A value of an objective as people read it."""
    if name in _IN_PERCENT:
        return percent(value)
    if name in _IN_MONEY:
        return money(value, signed=True)
    return number(value, 0) if name in _COUNTED else number(value)


def _axis_title(name: str) -> dict[str, str]:
    """An objective with its unit, safe for Plotly, which reads markup: a user's function may be called `<lambda>`."""
    unit = " (%)" if name in _IN_PERCENT else " (quote currency)" if name in _IN_MONEY else ""
    return {"text": f"{html.escape(words(name))}{unit}"}


def _brief(values: Iterable[float]) -> list[float]:
    """Numbers to five significant digits: a mark on a screen has no more."""
    return [float(f"{value:.5g}") for value in values]


def _frame(values: FloatArray, *always: float) -> tuple[list[float], int]:
    """A range of the value axis that holds `always` and the middle of the values, and how many lie outside."""
    finite = values[np.isfinite(values)]
    ends = [value for value in always if math.isfinite(value)]
    if finite.size:
        middle = np.percentile(finite, _MIDDLE)
        far = np.ptp(finite) > _LARGEST_TAIL * np.ptp(middle)
        ends += (middle if far else np.array([finite.min(), finite.max()])).tolist()
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    room = _ROOM * (high - low) or _ROOM * abs(high) or 1.0
    low, high = low - room, high + room
    return compact((low, high)), int(((finite < low) | (finite > high)).sum())


def _outside_text(outside: int) -> str:
    if not outside:
        return ""
    return (
        f" {counted(outside, 'trial')} {'lies' if outside == 1 else 'lie'} outside the frame: a double click shows all."
    )


def _dots(name: str, color: str, x: Iterable[float], y: Iterable[float], **marker: Any) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": _brief(y),
        "marker": {"color": color, "size": 5, "opacity": 0.7, **marker},
    }


def _star(x: float, y: float, name: str = "chosen") -> Trace:
    """The chosen point: one shape and colour in every chart."""
    return {
        **_dots(name, "@chosen", [x], [y]),
        "marker": {"color": "@chosen", "symbol": "star", "size": 15, "line": {"color": "@page", "width": 1.5}},
    }


def _identifier(stage: StageResult) -> str:
    return stage.stage.replace(".", "-")


# -- History -----------------------------------------------------------------------------------------------------------

_STATES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pruned": ("given up early", "@muted", {"opacity": 0.45}),
    "infeasible": ("broke a guard", "@broken", {"symbol": "circle-open"}),
    "complete": ("run to the end", "@done", {}),
}


def history_chart(course: History, stages: Sequence[StageResult]) -> Chart:
    """All trials in the order they were made, the best so far, and how far luck alone would have come."""
    name, n = stages[0].objective.names[0], len(course)
    ends = course.best[np.isfinite(course.best)]
    luck_end = math.nan if course.luck is None else float(course.luck[-1])
    frame, outside = _frame(course.reported, *ends[-1:], *ends[:1], luck_end)
    drawn = spread(n, MOST_POINTS)
    data: list[Trace] = []
    for state, (label, color, marker) in _STATES.items():
        rows = [row for row in drawn.tolist() if course.states[row] == state and math.isfinite(course.reported[row])]
        if rows:
            data.append(_dots(label, color, (row + 1 for row in rows), course.reported[rows], **marker))
    undefined = [row for row in drawn.tolist() if math.isnan(course.reported[row])]
    if undefined:
        at_the_edge = [frame[0] + _EDGE * (frame[1] - frame[0])] * len(undefined)
        data.append(
            _dots("without a value", "@broken", (row + 1 for row in undefined), at_the_edge, symbol="x-thin-open")
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
        "yaxis": {"title": _axis_title(name), "range": frame},
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
    return " ".join(notes) + _outside_text(outside)


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
        "x": _brief(100.0 * found.shares[name] for name in names),
        "y": names,
        "marker": {"color": "@done"},
        "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
    }
    data = [bars]
    if found.low:
        ends: list[float | None] = []
        rows: list[str | None] = []
        for name in names:
            ends += [*_brief((100.0 * found.low[name], 100.0 * found.high[name])), None]
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
    return Chart(f"importance-{_identifier(stage)}", title, note, data, layout)


def _of_trials(found: Importance) -> str:
    """`500 of 1,200 trials, evenly spread, that were run to the end (40 others were not)`."""
    text = f"{found.used:,} of {found.usable:,} trials, evenly spread, that" if found.used < found.usable else ""
    text = text or f"the {counted(found.used, 'trial')} that"
    left = found.total - found.usable
    return f"{text} were run to the end and have a value" + (f" ({left:,} others do not count)" if left else "")


# -- Pairs, slices, parallel coordinates -------------------------------------------------------------------------------


def pair_chart(stage: StageResult, found: PairMap, plateau: Plateau | None) -> Chart:
    """Mean objective over two parameters, with the number of trials in each bin and where the choice fell."""
    name = stage.objective.names[0]
    empty = found.count == 0
    best = stage.best_params
    data: list[Trace] = [
        {
            "type": "heatmap",
            "x": compact(found.x_edges),
            "y": compact(found.y_edges),
            "z": _with_gaps(found.mean),
            "text": np.where(empty, "", found.count.astype(str)).tolist(),
            "texttemplate": "%{text}",
            "textfont": {"size": 10},
            "colorscale": "Cividis",
            "reversescale": stage.objective.directions[0] == "minimize",
            "colorbar": {"thickness": 9, "outlinewidth": 0, "title": {"text": "mean", "side": "right"}},
            "hoverongaps": False,
            "hovertemplate": "mean %{z:.3~f} of %{text} trials<extra></extra>",
        }
    ]
    if plateau is not None and {found.x, found.y} <= set(plateau.names) and len(plateau.points):
        columns = [plateau.names.index(axis) for axis in (found.x, found.y)]
        around = np.unique(plateau.points[:, columns], axis=0)
        cloud = _dots("one step around", "@page", around[:, 0].tolist(), around[:, 1].tolist(), size=6, opacity=1.0)
        cloud["marker"]["line"] = {"color": "@ink", "width": 1.2}
        data.append(cloud)
    data.append(_star(float(best[found.x]), float(best[found.y])))
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"title": {"text": found.x}, "showgrid": False, "zeroline": False},
        "yaxis": {"title": {"text": found.y}, "showgrid": False, "zeroline": False},
    }
    title = f"{words(name)[0].upper()}{words(name)[1:]} by {found.x} and {found.y}"
    return Chart(f"pair-{_identifier(stage)}-{found.x}-{found.y}", title, "", data, layout)


def _with_gaps(values: FloatArray) -> list[list[float | None]]:
    return [[None if math.isnan(value) else float(f"{value:.5g}") for value in row] for row in values.tolist()]


def parallel_chart(stage: StageResult) -> Chart | None:
    """Each trial as a line over all parameters, the best ones in colour; None where no trial can be drawn."""
    trials, name = stage.trials, stage.objective.names[0]
    ranked = np.flatnonzero(usable(trials))
    if not ranked.size or not stage.space.dimensions:
        return None
    ranked = ranked[np.argsort(-trials.values[ranked, 0], kind="stable")]
    best, upper = math.ceil(_BEST_SHARE * ranked.size), math.ceil(_UPPER_SHARE * ranked.size)
    groups = {"rest": ranked[upper:], "upper": ranked[best:upper], "best": ranked[:best]}
    looks = {
        "rest": ("the others", {"color": "@muted", "width": 0.7}, 0.35),
        "upper": ("best quarter", {"color": "@done", "width": 1.0}, 0.6),
        "best": ("best twentieth", {"color": "@up", "width": 1.5}, 0.85),
    }
    heights, ticks = _parallel_axes(stage, trials.reported[ranked, 0])
    data: list[Trace] = []
    drawn = 0
    for group, rows in groups.items():
        kept = rows[spread(rows.size, _MOST_LINES[group])]
        drawn += kept.size
        label, line, opacity = looks[group]
        if kept.size:
            data.append(_bundle(label, heights(kept), line, opacity))
    data.append(_bundle("start", heights(np.array([0])), {"color": "@ink", "width": 2.0, "dash": "dot"}, 1.0))
    data.append(_bundle("chosen", heights(np.array([stage.chosen])), {"color": "@chosen", "width": 3.0}, 1.0))
    names = [*stage.space.names, html.escape(words(name))]
    # Upright names and ends need no room beside an axis, so that many of them fit a phone.
    crowded = len(names) > MOST_LEVEL_AXES
    layout = {
        "showlegend": True,
        "hovermode": False,
        "xaxis": {
            "tickvals": list(range(len(names))), "ticktext": names, "range": [-0.35, len(names) - 0.65],
            "zeroline": False, "gridcolor": "@muted", "tickangle": -90 if crowded else -35,
        },
        "yaxis": {
            "range": [-0.25, 1.25] if crowded else [-0.12, 1.12], "showticklabels": False, "ticks": "",
            "showgrid": False, "zeroline": False,
        },
        "annotations": [
            {
                "x": at, "y": y, "yanchor": anchor, "text": text, "showarrow": False, "font": {"size": 10},
                "textangle": -90 if crowded else 0,
            }
            for at, pair in enumerate(ticks)
            for text, y, anchor in zip(pair, (-0.02, 1.02), ("top", "bottom"), strict=True)
        ],
    }  # fmt: skip
    left = len(trials) - ranked.size
    notes = ["Each axis goes from the lowest to the highest value that was tried."]
    if drawn < ranked.size:
        notes.append(f"{drawn:,} of {ranked.size:,} trials are drawn, evenly spread in each group by rank.")
    if left:
        notes.append(
            f"{counted(left, 'trial')} given up early or without a value {'is' if left == 1 else 'are'} not drawn."
        )
    title = f"Where the best of {counted(ranked.size, 'trial')} lie"
    return Chart(f"parallel-{_identifier(stage)}", title, " ".join(notes), data, layout)


def _parallel_axes(
    stage: StageResult, reported: FloatArray
) -> tuple[Callable[[IntArray], FloatArray], list[tuple[str, str]]]:
    """A function from rows to heights [rows, axes] between 0 and 1, and the (lowest, highest) value of each axis."""
    trials, name = stage.trials, stage.objective.names[0]
    table = np.column_stack([trials.points, trials.reported[:, 0]])
    low = np.append(trials.points.min(axis=0), reported.min())
    high = np.append(trials.points.max(axis=0), reported.max())
    span = np.where(high > low, high - low, 1.0)

    def heights(rows: IntArray) -> FloatArray:
        placed: FloatArray = np.where(high > low, (table[rows] - low) / span, 0.5)
        return np.clip(placed, 0.0, 1.0)

    ends = [(price(float(down)), price(float(up))) for down, up in zip(low[:-1], high[:-1], strict=True)]
    return heights, [*ends, (told(name, float(low[-1])), told(name, float(high[-1])))]


def _bundle(name: str, heights: FloatArray, line: dict[str, Any], opacity: float) -> Trace:
    """Lines as one trace, with a gap between each two."""
    x: list[int | None] = []
    y: list[float | None] = []
    for row in heights.tolist():
        x += [*range(len(row)), None]
        y += [*(round(value, 3) if math.isfinite(value) else None for value in row), None]
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line, "opacity": opacity}


def slice_chart(stage: StageResult, parameter: str) -> Chart:
    """All values that one parameter was tried at, and what came of them."""
    trials, name = stage.trials, stage.objective.names[0]
    column = stage.space.names.index(parameter)
    states, shown = state_names(trials), _slice_rows(stage)
    data: list[Trace] = []
    for state, (label, color, marker) in _STATES.items():
        rows = [row for row in shown.tolist() if states[row] == state]
        if rows:
            points = trials.points[rows, column].tolist()
            data.append(_dots(label, color, points, trials.reported[rows, 0], **{"size": 4, **marker}))
    data.append(_star(float(trials.points[stage.chosen, column]), stage.best_value))
    frame, _ = _slice_frame(stage)
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"title": {"text": parameter}, "zeroline": False},
        "yaxis": {"title": _axis_title(name), "range": frame, "zeroline": False},
    }
    dimension = stage.space.dimensions[column]
    start, end = price(dimension.base), price(float(trials.points[stage.chosen, column]))
    title = f"{parameter}: {start} became {end}" if start != end else f"{parameter}: stayed {start}"
    return Chart(f"slice-{_identifier(stage)}-{parameter}", title, "", data, layout)


def _slice_rows(stage: StageResult) -> IntArray:
    """Rows that slices draw: those with a value, evenly spread where they are many."""
    rows = np.flatnonzero(has_value(stage.trials))
    kept: IntArray = rows[spread(rows.size, _MOST_SLICE_POINTS)]
    return kept


def _slice_frame(stage: StageResult) -> tuple[list[float], int]:
    """Range of the objective that all slices of a stage share, and how many trials lie outside."""
    return _frame(stage.trials.reported[has_value(stage.trials), 0], stage.best_value)


def slices_note(stage: StageResult) -> str:
    """What holds for all slices of a stage."""
    trials, shown = stage.trials, _slice_rows(stage)
    _, outside = _slice_frame(stage)
    undefined = int((~has_value(trials)).sum())
    notes = [f"One mark per trial, {words(stage.objective.names[0])} over the value of one parameter."]
    if "pruned" in state_names(trials):
        notes.append("Grey: given up early, with what it had then.")
    if "infeasible" in state_names(trials):
        notes.append("Hollow: a guard was broken.")
    if shown.size < len(trials) - undefined:
        notes.append(f"{shown.size:,} of {len(trials) - undefined:,} trials are drawn, evenly spread.")
    if undefined:
        notes.append(f"{counted(undefined, 'trial')} without a value {'is' if undefined == 1 else 'are'} not drawn.")
    return " ".join(notes) + _outside_text(outside)


def pareto_chart(stage: StageResult) -> Chart | None:
    """The first two of several objectives, and which trials no other beats in all; None for one objective."""
    names, trials = stage.objective.names, stage.trials
    if len(names) < 2:
        return None
    rows = np.flatnonzero(usable(trials))
    others = np.setdiff1d(rows, trials.front)
    drawn = others[spread(others.size, MOST_POINTS)]
    front = trials.front[np.argsort(trials.reported[trials.front, 0], kind="stable")]
    data = [
        _dots(
            "beaten by another", "@muted", _brief(trials.reported[drawn, 0]), trials.reported[drawn, 1], opacity=0.45
        ),
        _dots("front", "@up", _brief(trials.reported[front, 0]), trials.reported[front, 1], size=8, opacity=1.0),
        _star(float(trials.reported[stage.chosen, 0]), float(trials.reported[stage.chosen, 1])),
    ]
    layout = {
        "showlegend": True,
        "hovermode": "closest",
        "xaxis": {"title": _axis_title(names[0]), "zeroline": False},
        "yaxis": {"title": _axis_title(names[1]), "zeroline": False},
    }
    notes = []
    if len(names) > 2:
        others_named = ", ".join(html.escape(words(name)) for name in names[2:])
        notes.append(f"The front is that of all {len(names)} objectives, {others_named} too.")
    if drawn.size < others.size:
        notes.append(f"{drawn.size:,} of {others.size:,} beaten trials are drawn, evenly spread.")
    if rows.size < len(trials):
        notes.append(f"{counted(len(trials) - rows.size, 'trial')} without a full set of values not drawn.")
    title = f"{counted(front.size, 'trial')} on the front: better in one objective is worse in another"
    return Chart(f"pareto-{_identifier(stage)}", title, " ".join(notes), [t for t in data if t["x"]], layout)


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
            "x": [None if (value := pair[at]) is None else _brief([sign * value])[0] for pair in around.values()],
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
        "xaxis": {"title": _axis_title(name)},
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
    around = 0 if plateau is None else len(plateau.points)
    # What is on record and was neither a trial of this search nor a neighbour of its result was there before it.
    earlier = result.n_trials - int(course.configurations[-1]) - around
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
