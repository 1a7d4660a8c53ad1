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
from barwise.errors import DataError
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
    settings: dict[str, Any] = dict(document["parameters"]["before"])
    objective = _objective(document, frame, settings)
    found = []
    try:
        for stage in document["stages"]:
            found.append(_stage(stage, frame, settings, objective))
            settings |= stage["best_params"]
    except (KeyError, ValueError) as cause:
        raise _foreign(table, str(cause)) from cause
    return found


def trial_column(name: str, settings: Mapping[str, Any], objective: Objective) -> str:
    """What one of the table's own columns is called beside the parameters of a strategy."""
    taken = name in settings or (objective.function is not None and name in objective.names)
    return f"trial_{name}" if taken else name


def _read(table: Path) -> "polars.DataFrame":
    import polars

    try:
        return polars.read_csv(table, infer_schema=False)
    except (OSError, polars.exceptions.PolarsError) as cause:
        raise DataError(
            f"{table.name} cannot be read: {' '.join(str(cause).split())[:120]}.",
            hint="run it again: the same configuration makes the same table.",
        ) from cause


def _foreign(table: Path, what: str) -> DataError:
    return DataError(
        f"{table.name} is not the table of this search: {what}.",
        hint="run it again: the same configuration makes the same table.",
    )


def _objective(document: Mapping[str, Any], frame: "polars.DataFrame", settings: Mapping[str, Any]) -> Objective:
    """The objective by its label; a user's function is known by having a column that is no metric."""
    label = str(document["stages"][0]["objective"])
    names = tuple(label.split("+"))
    if cell(label) in frame.columns and label not in Objective.known():
        return Objective((label,), function=_no_longer_there)
    del settings
    return Objective(names)


def _no_longer_there(_result: Any) -> float:
    raise AssertionError("a recorded search is looked at, not run")
