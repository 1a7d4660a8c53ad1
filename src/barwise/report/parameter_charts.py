"""The charts of the parameters of one stage: two at a time, each by itself, all side by side; and the Pareto front."""

import html
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.optimizer.insight import PairMap, has_value, spread, state_names, usable
from barwise.optimizer.plateau import Plateau
from barwise.optimizer.trials import StageResult
from barwise.report.charts import Chart, Trace, compact
from barwise.report.text import counted, price, words
from barwise.report.trial_marks import (
    MOST_POINTS,
    STATES,
    axis_title,
    brief,
    dots,
    frame_of,
    identifier,
    outside_text,
    star,
    told,
)

_MOST_SLICE_POINTS = 1_000
_MOST_LINES = {"best": 60, "upper": 120, "rest": 120}
_BEST_SHARE, _UPPER_SHARE = 0.05, 0.25
MOST_LEVEL_AXES = 8  # of parallel coordinates; with more, names stand upright


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
        cloud = dots("one step around", "@page", around[:, 0].tolist(), around[:, 1].tolist(), size=6, opacity=1.0)
        cloud["marker"]["line"] = {"color": "@ink", "width": 1.2}
        data.append(cloud)
    data.append(star(float(best[found.x]), float(best[found.y])))
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"title": {"text": found.x}, "showgrid": False, "zeroline": False},
        "yaxis": {"title": {"text": found.y}, "showgrid": False, "zeroline": False},
    }
    title = f"{words(name)[0].upper()}{words(name)[1:]} by {found.x} and {found.y}"
    return Chart(f"pair-{identifier(stage)}-{found.x}-{found.y}", title, "", data, layout)


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
    return Chart(f"parallel-{identifier(stage)}", title, " ".join(notes), data, layout)


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
    for state, (label, color, marker) in STATES.items():
        rows = [row for row in shown.tolist() if states[row] == state]
        if rows:
            points = trials.points[rows, column].tolist()
            data.append(dots(label, color, points, trials.reported[rows, 0], **{"size": 4, **marker}))
    data.append(star(float(trials.points[stage.chosen, column]), stage.best_value))
    frame, _ = _slice_frame(stage)
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"title": {"text": parameter}, "zeroline": False},
        "yaxis": {"title": axis_title(name), "range": frame, "zeroline": False},
    }
    dimension = stage.space.dimensions[column]
    start, end = price(dimension.base), price(float(trials.points[stage.chosen, column]))
    title = f"{parameter}: {start} became {end}" if start != end else f"{parameter}: stayed {start}"
    return Chart(f"slice-{identifier(stage)}-{parameter}", title, "", data, layout)


def _slice_rows(stage: StageResult) -> IntArray:
    """Rows that slices draw: those with a value, evenly spread where they are many."""
    rows = np.flatnonzero(has_value(stage.trials))
    kept: IntArray = rows[spread(rows.size, _MOST_SLICE_POINTS)]
    return kept


def _slice_frame(stage: StageResult) -> tuple[list[float], int]:
    """Range of the objective that all slices of a stage share, and how many trials lie outside."""
    return frame_of(stage.trials.reported[has_value(stage.trials), 0], stage.best_value)


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
    return " ".join(notes) + outside_text(outside)


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
        dots("beaten by another", "@muted", brief(trials.reported[drawn, 0]), trials.reported[drawn, 1], opacity=0.45),
        dots("front", "@up", brief(trials.reported[front, 0]), trials.reported[front, 1], size=8, opacity=1.0),
        star(float(trials.reported[stage.chosen, 0]), float(trials.reported[stage.chosen, 1])),
    ]
    layout = {
        "showlegend": True,
        "hovermode": "closest",
        "xaxis": {"title": axis_title(names[0]), "zeroline": False},
        "yaxis": {"title": axis_title(names[1]), "zeroline": False},
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
    return Chart(f"pareto-{identifier(stage)}", title, " ".join(notes), [t for t in data if t["x"]], layout)
