"""What the optimization page draws, out of the document and the table of a search.

The figures are those of the report, made by the same functions from trials that were read back; only what a screen
cannot hold is thinned out, and then the answer says how many there were.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from barwise.core.layout import IntArray
from barwise.dashboard.answer_schemas import (
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    NUMBER,
    NUMBER_OR_NULL,
    NUMBERS,
    NUMBERS_OR_NULL,
    TEXT,
    TEXTS,
    Schema,
    by_name,
    list_of,
    or_null,
    record,
)
from barwise.dashboard.memory import Memory, stamp_of
from barwise.dashboard.recorded_search import recorded_stages
from barwise.optimizer.insight import (
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
from barwise.optimizer.plateau import KEEPS
from barwise.optimizer.trials import StageResult
from barwise.timeframe import Timeframe, calendar_of

_SHARE: Final = record(name=TEXT, share=NUMBER, low=NUMBER_OR_NULL, high=NUMBER_OR_NULL)
_POINT: Final = record(x=NUMBER, y=NUMBER)
_RANGE: Final = list_of(NUMBER, minItems=2, maxItems=2)
_AXIS: Final = record(name=TEXT, values=NUMBERS_OR_NULL, low=NUMBER, high=NUMBER)
_DIRECTION: Final[Schema] = {"enum": ["maximize", "minimize"]}
STATES: Final = ("complete", "pruned", "infeasible", "undefined")
STAGE: Final = record(
    stage=TEXT,
    sampler=TEXT,
    objective=TEXT,
    base_value=NUMBER_OR_NULL,
    best_value=NUMBER_OR_NULL,
    best_params=by_name(NUMBER),
    num_trials=COUNT,
    pruned=COUNT,
    total_trades=COUNT,
    net_pnl=NUMBER_OR_NULL,
    levels=NUMBERS,
    seconds=NUMBER_OR_NULL,
    interrupted=FLAG,
    notes=TEXTS,
    space=list_of(record(name=TEXT, low=NUMBER, high=NUMBER, step=NUMBER, base=NUMBER)),
    states=or_null(record(**dict.fromkeys(STATES, COUNT))),
)
PLATEAU: Final = record(
    value=NUMBER_OR_NULL,
    neighbours=COUNT,
    undefined=COUNT,
    kept_reason=TEXT,
    best=NUMBER_OR_NULL,
    worst=NUMBER_OR_NULL,
    median=NUMBER_OR_NULL,
    mean=NUMBER_OR_NULL,
    keeps=NUMBER,
    kept=NUMBER_OR_NULL,
    parameters=list_of(record(name=TEXT, point=NUMBER, step=NUMBER, down=NUMBER_OR_NULL, up=NUMBER_OR_NULL)),
)
FIGURES_OF_TRIALS: Final[Mapping[str, Schema]] = {
    "history": or_null(
        record(
            total=COUNT,
            trial=list_of(COUNT),
            stage=TEXTS,
            state=list_of({"enum": list(STATES)}),
            value=NUMBERS_OR_NULL,
            best=NUMBERS_OR_NULL,
            luck=or_null(NUMBERS_OR_NULL),
            begins=list_of(record(stage=TEXT, trial=COUNT)),
        )
    ),
    "importance": list_of(
        record(stage=TEXT, method=TEXT, shares=list_of(_SHARE), used=COUNT, usable=COUNT, total=COUNT, reason=TEXT)
    ),
    "parallel": list_of(
        record(
            stage=TEXT,
            objective=TEXT,
            direction=_DIRECTION,
            axes=list_of(_AXIS),
            values=NUMBERS_OR_NULL,
            rank=list_of(COUNT_OR_NULL),
            trial=list_of(COUNT),
            chosen=COUNT,
            start=COUNT,
            ranked=COUNT,
            total=COUNT,
        )
    ),
    "pairs": list_of(
        record(
            stage=TEXT,
            x=TEXT,
            y=TEXT,
            x_edges=NUMBERS,
            y_edges=NUMBERS,
            mean=list_of(NUMBERS_OR_NULL),
            count=list_of(list_of(COUNT)),
            used=COUNT,
            total=COUNT,
            chosen=_POINT,
            start=_POINT,
            plateau=or_null(record(x=_RANGE, y=_RANGE)),
        )
    ),
    "front": list_of(
        record(
            stage=TEXT,
            objectives=list_of(record(name=TEXT, direction=_DIRECTION, values=NUMBERS_OR_NULL)),
            trial=list_of(COUNT),
            on_front=list_of(FLAG),
            chosen=COUNT,
            points=list_of(by_name(NUMBER)),
            usable=COUNT,
            total=COUNT,
        )
    ),
}

MOST_TRIALS: Final = 5_000  # of the history and of a front
MOST_LINES: Final = 300  # of parallel coordinates, and marks of each slice
_WHISKER_SAMPLES: Final = 20


def numbers(values: Any) -> list[float | None]:
    """Numbers as JSON takes them: None where there is none."""
    return [value if math.isfinite(value) else None for value in np.asarray(values, dtype=np.float64).tolist()]


_KEPT: Final[Memory[Mapping[str, Any]]] = Memory(8)


def trial_figures(document: Mapping[str, Any], table: Path) -> Mapping[str, Any]:
    """Everything that needs the single trials, kept until their table changes.

    Args:
        document: Of the search.
        table: CSV with one row per trial.

    Raises:
        DataError: The table cannot be read, or is not that of the document.
    """
    return _KEPT.get(table, stamp_of(table), lambda: _figures(document, table))


def _figures(document: Mapping[str, Any], table: Path) -> Mapping[str, Any]:
    stages = recorded_stages(document, table)
    shares = [importance(stage, samples=_WHISKER_SAMPLES) for stage in stages]
    return {
        "history": _history(document, stages),
        "importance": [_importance(stage, found) for stage, found in zip(stages, shares, strict=True)],
        "parallel": [_parallel(stage) for stage in stages],
        "pairs": [
            _pair(stage, pair_map(stage, *names), document.get("plateau"))
            for stage, found in zip(stages, shares, strict=True)
            for names in leading_pairs(found)
        ],
        "front": [_front(stage) for stage in stages if len(stage.objective.names) > 1],
        "states": {stage.stage: _counted(stage) for stage in stages},
    }


NO_TRIALS: Final[Mapping[str, Any]] = {
    "history": None, "importance": [], "parallel": [], "pairs": [], "front": [], "states": {},
}  # fmt: skip


def stage_document(stage: Mapping[str, Any], states: Mapping[str, int] | None) -> dict[str, Any]:
    """One stage in figures: where it looked, what it took, what became of its trials."""
    return {
        **{name: stage[name] for name in _OF_A_STAGE},
        "space": [{"name": name, **box} for name, box in stage["space"].items()],
        "states": states,
    }


_OF_A_STAGE: Final = (
    "stage", "sampler", "objective", "base_value", "best_value", "best_params", "num_trials", "pruned", "total_trades",
    "net_pnl", "levels", "seconds", "interrupted", "notes",
)  # fmt: skip


def plateau_document(plateau: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What one step around the choice leaves of the objective."""
    if plateau is None:
        return None
    around = plateau["per_parameter"]
    return {
        **{name: plateau[name] for name in _OF_A_PLATEAU},
        "keeps": 100.0 * KEEPS,
        "kept": None if plateau["kept"] is None else 100.0 * plateau["kept"],
        "parameters": [
            {"name": name, "point": plateau["point"][name], "step": plateau["steps"][name], **around[name]}
            for name in plateau["point"]
        ],
    }


_OF_A_PLATEAU: Final = ("value", "neighbours", "undefined", "kept_reason", "best", "worst", "median", "mean")


def _history(document: Mapping[str, Any], stages: list[StageResult]) -> dict[str, Any]:
    """The course of the search with the luck line, as the report draws it."""
    market = document["market"]
    frame = Timeframe.parse(market["timeframe"])
    years = market["bars"] / frame.bars_per_year(calendar_of(market["exchange"]))
    course = history(stages, years=years)
    # What is on record and was neither a trial of this search nor a neighbour of its best was there before it.
    earlier = document["n_trials"] - int(course.configurations[-1]) - document.get("neighbours", 0)
    if earlier > 0:
        course = history(stages, years=years, earlier=earlier)
    rows = _with_steps(course.best, spread(len(course), MOST_TRIALS))
    return {
        "total": len(course),
        "trial": (rows + 1).tolist(),
        "stage": [stages[at].stage for at in course.stage[rows].tolist()],
        "state": [course.states[row] for row in rows.tolist()],
        "value": numbers(course.reported[rows]),
        "best": numbers(course.best[rows]),
        "luck": None if course.luck is None else numbers(course.luck[rows]),
        "begins": [
            {"stage": stage.stage, "trial": int(np.argmax(course.stage == at)) + 1} for at, stage in enumerate(stages)
        ],
    }


def _with_steps(best: Any, rows: IntArray) -> IntArray:
    """The rows and all in which the best so far changed: thinned out, its steps would stand at the wrong trial."""
    changed = np.flatnonzero(np.diff(best, prepend=np.nan) != 0.0)
    changed = changed[np.isfinite(best[changed])]
    found: IntArray = np.union1d(rows, changed)
    return found


def _importance(stage: StageResult, found: Importance) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "method": found.method,
        "shares": [
            {
                "name": name,
                "share": 100.0 * share,
                "low": 100.0 * found.low[name] if found.low else None,
                "high": 100.0 * found.high[name] if found.high else None,
            }
            for name, share in found.shares.items()
        ],
        "used": found.used,
        "usable": found.usable,
        "total": found.total,
        "reason": found.reason,
    }


def _parallel(stage: StageResult) -> dict[str, Any]:
    """Trials from best to worst, evenly spread by rank, the chosen one and the start always among them."""
    trials = stage.trials
    ranked = trials.ranked[has_value(trials)[trials.ranked]]
    order = {int(row): place for place, row in enumerate(ranked.tolist(), 1)}
    kept = {int(row) for row in ranked[spread(ranked.size, MOST_LINES)]} | {0, stage.chosen}
    rows = sorted(kept, key=lambda row: order.get(row, len(order) + 1))
    return {
        "stage": stage.stage,
        "objective": stage.objective.names[0],
        "direction": stage.objective.directions[0],
        "axes": [
            {
                "name": name,
                "values": numbers(trials.points[rows, column]),
                "low": float(trials.points[:, column].min()),
                "high": float(trials.points[:, column].max()),
            }
            for column, name in enumerate(stage.space.names)
        ],
        "values": numbers(trials.reported[rows, 0]),
        "rank": [order.get(row) for row in rows],
        "trial": rows,
        "chosen": rows.index(stage.chosen),
        "start": rows.index(0),
        "ranked": int(ranked.size),
        "total": len(trials),
    }


def _pair(stage: StageResult, found: PairMap, plateau: Mapping[str, Any] | None) -> dict[str, Any]:
    """A map of two parameters, with the choice and the field of one step around it."""
    chosen, start = stage.best_params, stage.space.values(stage.trials.points[0])
    around = None
    if plateau is not None and {found.x, found.y} <= set(plateau["point"]):
        point, steps = plateau["point"], plateau["steps"]
        around = {
            axis: [point[name] - steps[name], point[name] + steps[name]]
            for axis, name in (("x", found.x), ("y", found.y))
        }
    return {
        "stage": stage.stage,
        "x": found.x,
        "y": found.y,
        "x_edges": numbers(found.x_edges),
        "y_edges": numbers(found.y_edges),
        "mean": [numbers(row) for row in found.mean],
        "count": found.count.tolist(),
        "used": found.used,
        "total": found.total,
        "chosen": {"x": chosen[found.x], "y": chosen[found.y]},
        "start": {"x": start[found.x], "y": start[found.y]},
        "plateau": around,
    }


def _front(stage: StageResult) -> dict[str, Any]:
    """All objectives of the trials with a full set of values, and which of them no other beats in all."""
    trials = stage.trials
    rows = np.flatnonzero(usable(trials))
    on_front = trials.front
    others = np.setdiff1d(rows, on_front)
    drawn = np.union1d(np.append(on_front, stage.chosen), others[spread(others.size, MOST_TRIALS)])
    return {
        "stage": stage.stage,
        "objectives": [
            {"name": name, "direction": direction, "values": numbers(trials.reported[drawn, column])}
            for column, (name, direction) in enumerate(
                zip(stage.objective.names, stage.objective.directions, strict=True)
            )
        ],
        "trial": drawn.tolist(),
        "on_front": np.isin(drawn, on_front).tolist(),
        "chosen": int(np.searchsorted(drawn, stage.chosen)),
        "points": [stage.space.values(trials.points[row]) for row in on_front.tolist()],
        "usable": int(rows.size),
        "total": len(trials),
    }


def _counted(stage: StageResult) -> dict[str, int]:
    states = state_names(stage.trials)
    return {name: states.count(name) for name in STATES}
