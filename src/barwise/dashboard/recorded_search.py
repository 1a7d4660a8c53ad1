"""The trials of a finished search, read back from its files as the objects that everything about trials works with.

Checkpoints have them whole, but are thrown away when they grow old or the code changes; the document and the table of a
run stay. What they leave out (the rungs of single trials, what a trial cost) is empty here, and nobody may ask for it.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from barwise.core.layout import SUMMARY, FloatArray
from barwise.errors import ConfigError, DataError
from barwise.optimizer.objective import Objective
from barwise.optimizer.space import Dimension, Space, Stage
from barwise.optimizer.trials import StageResult, Trials
from barwise.report.tables import cell

if TYPE_CHECKING:
    import polars

    from barwise.strategy.base import Strategy

_STATES = frozenset({"complete", "pruned", "infeasible"})
# Of the columns that every table has; a parameter of the same name pushes the column to trial_<name>.
_OURS = ("trial", "stage", "state", "violation", "sharpe_ratio", "trades", "net_pnl", "max_drawdown", "batch")


class RecordedSpace(Space):
    """The box of a search that is over: it can be looked at, and no strategy can be made of its points.

    Args:
        stage: "7.1", "7.2", "7.3" or "joint".
        dimensions: As they were searched.
        settings: Every parameter at the base of the stage.
    """

    def __init__(self, stage: Stage, dimensions: Sequence[Dimension], settings: Mapping[str, Any]) -> None:
        # The class of the strategy may be a user's own, and looking at a result shall not run anybody's code.
        self.strategy = cast("Strategy", SimpleNamespace(**settings))
        self.stage = stage
        self.dimensions = tuple(dimensions)
        self._chains = []


def recorded_stages(document: Mapping[str, Any], table: Path) -> list[StageResult]:
    """The stages of a search with all their trials.

    Args:
        document: Of stage 7.
        table: CSV with one row per trial.

    Raises:
        DataError: The table cannot be read, or is not that of the document.
    """
    frame = _read(table)
    found = []
    try:
        settings: dict[str, Any] = dict(document["parameters"]["before"])
        objective = _objective(document)
        for stage in document["stages"]:
            found.append(_stage(stage, frame, settings, objective))
            settings |= stage["best_params"]
    except (KeyError, ValueError) as cause:
        raise DataError(
            f"{table.name} is not the table of this search: {cause}.",
            hint="run it again: the same configuration makes the same table.",
        ) from cause
    return found


def _read(table: Path) -> "polars.DataFrame":
    import polars

    try:
        return polars.read_csv(table, infer_schema=False)
    except (OSError, polars.exceptions.PolarsError) as cause:
        raise DataError(
            f"{table.name} cannot be read: {' '.join(str(cause).split())[:120]}.",
            hint="run it again: the same configuration makes the same table.",
        ) from cause


def _objective(document: Mapping[str, Any]) -> Objective:
    """The objectives by their label: metrics, and what is none is the name of a function of the user's."""
    names = tuple(str(document["stages"][0]["objective"]).split("+"))
    return Objective(names, functions={name: _no_longer_there for name in names if not _is_metric(name)})


def _is_metric(name: str) -> bool:
    try:
        return bool(Objective.of(name))
    except ConfigError:
        return False


def _no_longer_there(_result: Any) -> float:
    raise AssertionError("a search that is over is looked at, not run.")


def _stage(
    document: Mapping[str, Any], frame: "polars.DataFrame", settings: Mapping[str, Any], objective: Objective
) -> StageResult:
    import polars

    dimensions = [_dimension(name, box, settings) for name, box in document["space"].items()]
    taken = {*settings, *objective.functions}
    own = {name: f"trial_{name}" if name in taken else name for name in _OURS}
    missing = {own["stage"], own["state"]} - set(frame.columns)
    if missing:
        raise ValueError(f"it has no column {min(missing)}")
    rows = frame.filter(polars.col(own["stage"]) == document["stage"])
    if rows.height != document["num_trials"] + 1:
        raise ValueError(f"stage {document['stage']} has {rows.height} rows, not {document['num_trials'] + 1}")

    def column(name: str) -> FloatArray:
        if name not in rows.columns:
            raise ValueError(f"it has no column {name}")
        values: FloatArray = rows.get_column(name).cast(polars.Float64, strict=False).fill_null(np.nan).to_numpy()
        return values

    n = rows.height
    reported = np.stack([column(cell(name)) for name in objective.names], axis=1)
    signs = np.array([-1.0 if direction == "minimize" else 1.0 for direction in objective.directions])
    states = rows.get_column(own["state"]).to_list()
    if not _STATES.issuperset(states):
        raise ValueError("a trial has a state that there is not")
    points = np.stack([column(cell(one.name)) for one in dimensions], axis=1) if dimensions else np.empty((n, 0))
    summaries = np.zeros(n, SUMMARY)
    summaries["trades"] = np.nan_to_num(column(own["trades"])).astype(np.int64)
    summaries["net_pnl"] = column(own["net_pnl"])
    summaries["max_drawdown"] = column(own["max_drawdown"]) / 100.0
    trials = Trials(
        points=points,
        reported=reported,
        values=reported * signs,
        violation=column(own["violation"]),
        steps=np.empty((n, 0)),
        complete=np.array([state != "pruned" for state in states], dtype=np.bool_),
        bars=np.zeros(n, np.int64),
        sharpe=column(own["sharpe_ratio"]),
        summaries=summaries,
        batch=np.nan_to_num(column(own["batch"])).astype(np.int64),
        seconds=np.zeros(n),
    )
    return StageResult(
        stage=document["stage"],
        sampler=document["sampler"],
        space=RecordedSpace(document["stage"], dimensions, settings),
        objective=objective,
        trials=trials,
        chosen=_chosen(trials, [document["best_params"][one.name] for one in dimensions]),
        levels=tuple(document["levels"]),
        full_bars=document["full_bars"],
        seconds=document["seconds"],
        sampler_seconds=0.0,
        interrupted=document["interrupted"],
        notes=tuple(document["notes"]),
    )


def _dimension(name: str, box: Mapping[str, float], settings: Mapping[str, Any]) -> Dimension:
    # JSON tells 35 from 35.0, so what was declared as a whole number comes back as one.
    whole, step = isinstance(settings[name], int), float(box["step"])
    decimals = 0 if whole else max(0, 2 - round(math.log10(step)))
    return Dimension(name, float(box["low"]), float(box["high"]), step, whole, float(box["base"]), decimals)


def _chosen(trials: Trials, values: Sequence[float]) -> int:
    """Row of the chosen trial: the best one at the chosen point, or the base where no trial was run to the end."""
    at_the_point = (trials.points == np.array(values, dtype=np.float64)).all(axis=1)
    ranked = trials.ranked
    found = ranked[at_the_point[ranked]]
    if not found.size and not at_the_point[0]:
        raise ValueError("no trial was made where the choice fell")
    return int(found[0]) if found.size else 0
