"""What a search leaves: every trial it made, as columns, and what a stage concluded from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.core.layout import BoolArray, FloatArray, IntArray, RecordArray
from barwise.optimizer.objective import Objective, order, pareto_front
from barwise.optimizer.space import Space
from barwise.strategy.base import Strategy

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials in the order they were made; n of them, d dimensions, k objectives, L rungs.

    Attributes:
        points: float64 [n, d], the parameter values that were run.
        reported: float64 [n, k], the objectives as reports show them, at the last rung reached; NaN where undefined.
        values: float64 [n, k], the same, larger is better.
        violation: float64 [n], how far the guards are broken; 0 = kept.
        steps: float64 [n, L], the first objective (larger is better) at each rung; NaN beyond the last one reached.
        complete: bool [n], False where the trial was given up before the last rung (pruned).
        bars: int64 [n], signal bars simulated for it; 0 where all of it was answered from the record.
        sharpe: float64 [n], the reported Sharpe ratio at the last rung reached, whatever the objective.
        summaries: SUMMARY [n] at the last rung reached.
        batch: int64 [n], the sampler's batch it belongs to; the base point is alone in batch 0.
        seconds: float64 [n], when its batch was done, since the stage began.
    """

    points: FloatArray
    reported: FloatArray
    values: FloatArray
    violation: FloatArray
    steps: FloatArray
    complete: BoolArray
    bars: IntArray
    sharpe: FloatArray
    summaries: RecordArray
    batch: IntArray
    seconds: FloatArray

    def __len__(self) -> int:
        return len(self.points)

    @property
    def ranked(self) -> IntArray:
        """Complete trials from best to worst; equal ones in the order they were made."""
        rows = order(self.values, self.violation)
        found: IntArray = rows[self.complete[rows]]
        return found

    @property
    def best(self) -> int:
        """Row of the best complete trial."""
        return int(self.ranked[0])

    @property
    def front(self) -> IntArray:
        """Rows of the Pareto front of several objectives, best first objective first."""
        rows = np.flatnonzero(self.complete)
        front: IntArray = rows[pareto_front(self.values[rows], self.violation[rows])]
        return front

    def taken(self, rows: IntArray) -> "Trials":
        """Some of the trials, in the order of `rows`."""
        return Trials(*(getattr(self, name)[rows] for name in Trials.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: "list[Trials]") -> "Trials":
        """Batches one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class StageResult(Mapping[str, Any]):
    """What one stage found. Also a mapping of its headline figures, as the flat API reads it.

    Attributes:
        stage: "7.1", "7.2", "7.3" or "joint".
        sampler: Canonical name.
        space: The box that was searched; its base is what the stage started from.
        objective: What was maximised.
        trials: All trials; row 0 is the base.
        chosen: Row of the trial that was chosen.
        levels: Shares of the bars per rung; (1.0,) without multi-fidelity.
        full_bars: Signal bars that full evaluations of all trials would have cost.
        seconds, sampler_seconds: Wall time of the stage, and the part of it the sampler itself took.
        interrupted: Ctrl-C ended the stage.
        notes: What a reader should know.
    """

    stage: str
    sampler: str
    space: Space
    objective: Objective
    trials: Trials
    chosen: int
    levels: tuple[float, ...]
    full_bars: int
    seconds: float
    sampler_seconds: float
    interrupted: bool
    notes: tuple[str, ...]

    @cached_property
    def best_params(self) -> dict[str, int | float]:
        """The searched parameters of the chosen trial."""
        return self.space.values(self.trials.points[self.chosen])

    @cached_property
    def config(self) -> Strategy:
        """The strategy with the chosen parameters."""
        return self.space.configured(self.trials.points[self.chosen])

    @property
    def best_value(self) -> float:
        """First objective of the chosen trial, as reported."""
        return float(self.trials.reported[self.chosen, 0])

    @property
    def base_value(self) -> float:
        """First objective of the base, as reported."""
        return float(self.trials.reported[0, 0])

    @property
    def tried(self) -> int:
        """Trials of the sampler, the base not counted."""
        return len(self.trials) - 1

    @property
    def pruned(self) -> int:
        """Trials given up before the last rung."""
        return int((~self.trials.complete).sum())

    @property
    def duplicates(self) -> int:
        """Trials answered from the record alone."""
        return int((self.trials.bars == 0).sum())

    def front(self) -> list[dict[str, int | float]]:
        """Parameters and objectives of each point of the Pareto front; empty where there is one objective only."""
        if len(self.objective.names) == 1:
            return []
        return [
            self.space.values(self.trials.points[row])
            | dict(zip(self.objective.names, self.trials.reported[row].tolist(), strict=True))
            for row in self.trials.front
        ]

    @cached_property
    def _figures(self) -> dict[str, Any]:
        summary = self.trials.summaries[self.chosen : self.chosen + 1]
        return {
            "stage": self.stage,
            "sampler": self.sampler,
            "objective": self.objective.label,
            "best_value": self.best_value,
            "base_value": self.base_value,
            "best_sharpe": float(self.trials.sharpe[self.chosen]),
            "best_params": dict(self.best_params),
            "num_trials": self.tried,
            "pruned": self.pruned,
            "duplicates": self.duplicates,
            "bars_share": float(self.trials.bars.sum()) / max(1, self.full_bars),
            "total_trades": int(summary["trades"][0]),
            "net_pnl": float(summary["net_pnl"][0]),
            "seconds": self.seconds,
            "sampler_seconds": self.sampler_seconds,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
        }

    def __getitem__(self, name: str) -> Any:
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def frame(self) -> "polars.DataFrame":
        """One row per trial: its parameters, objectives, state, and what it cost.

        Where a parameter of the strategy (or the user's function) has the name of another column, that one is called
        trial_<name>.
        """
        import polars

        trials = self.trials
        theirs = {*type(self.space.strategy).model_fields, *self.objective.functions}
        ours: dict[str, Any] = {
            "state": np.where(trials.complete, np.where(trials.violation > 0.0, "infeasible", "complete"), "pruned"),
            "violation": trials.violation,
            "sharpe_ratio": trials.sharpe,
            "trades": trials.summaries["trades"],
            "net_pnl": trials.summaries["net_pnl"],
            "max_drawdown": 100.0 * trials.summaries["max_drawdown"],
            "bars": trials.bars,
            "batch": trials.batch,
            "seconds": trials.seconds,
        }

        def named(columns: dict[str, Any]) -> dict[str, Any]:
            return {f"trial_{name}" if name in theirs else name: values for name, values in columns.items()}

        return polars.DataFrame(
            named({"trial": np.arange(len(trials)), "stage": [self.stage] * len(trials)})
            | self.space.columns(trials.points)
            | {name: trials.reported[:, at] for at, name in enumerate(self.objective.names)}
            | named(ours)
        )
