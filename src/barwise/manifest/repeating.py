"""A search done again from its manifest.

The trials of the search on record may be in a ledger, and whatever is on record is answered from the record; a search
that is to be proven must not be asked for its own proof. So it is done again from nothing, with a ledger in a temporary
folder that is gone afterwards. Workers and backend may be others than then: they decide how fast a search is, and not
what it finds.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig
from barwise.data.candles import Candles
from barwise.engine import backtest
from barwise.errors import ConfigError
from barwise.manifest.comparison import UNREADABLE, damaged
from barwise.manifest.record import Manifest, Origin
from barwise.manifest.search_record import (
    describe_job,
    describe_optimization,
    describe_validation,
    describe_walk_forward,
)
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult
from barwise.optimizer.search import Progress
from barwise.optimizer.space import Stage
from barwise.report.findings import RunFindings
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.base import Strategy
from barwise.validation.engine import ValidationReport, rejudged, validate
from barwise.validation.walk_forward import WalForwardEngine, WalkForwardResult

OnStep = Callable[[str, int, int], None]
# A stage that was ended before its first batch is ended at once.
_AT_ONCE = 1e-9


class Inputs(NamedTuple):
    """What a search was made from, as it is now.

    Attributes:
        candles, detail, funding: The data.
        strategy: Where the search started.
        execution: Costs and capital.
        quantity: Of every order.
    """

    candles: Candles
    detail: Candles | None
    funding: list[tuple[int, float]] | None
    strategy: Strategy
    execution: ExecutionConfig
    quantity: float


def repeated_search(
    recorded: Manifest, inputs: Inputs, *, workers: int | None = None, on_step: OnStep | None = None
) -> tuple[Manifest, list[str]]:
    """The manifest of a search that is done again now.

    Args:
        recorded: The manifest on record, of any kind but a backtest.
        inputs: What it was made from, as that is now.
        workers: Threads or processes; None = all cores.
        on_step: Told (step, done, total) as the work goes on.

    Returns:
        Its manifest, and what a reader should know about it.

    Raises:
        ConfigError: The objective was a Python function, which no manifest can hold, or a setting is no more.
        CheckpointError: The manifest is damaged.
        DataError, BacktestError: As the search raises them.
    """
    origin, told = Origin.of(recorded), _Told.of(recorded)
    given: dict[str, Any] = {"detail": inputs.detail, "funding": inputs.funding}
    with TemporaryDirectory(prefix="barwise-verify-") as folder:
        search = told.search.replace(storage=str(Path(folder) / "ledger.sqlite"), timeout=None, workers=workers)
        again = _Again(told, inputs, search, on_step if on_step is not None else _silent)
        match told.kind:
            case "optimization":
                now = describe_optimization(again.optimized(), origin, told.search, **given)
            case "validation":
                report = again.judged(inputs.strategy)
                now = describe_validation(report, origin, told.search, told.windows, **given)
            case "walk_forward":
                walked = again.walked()
                now = describe_walk_forward(walked, origin, told.search, inputs.strategy, inputs.execution, **given)
            case _:
                now = describe_job(
                    again.run(), origin, told.search, told.windows, told.permutations, inputs.detail, inputs.funding
                )
    return now, list(told.notes())


@dataclass(frozen=True)
class _Told:
    """What a manifest tells about how its search is done again.

    Attributes:
        kind: Of the manifest.
        search, windows, permutations: The settings; windows are those by default where nothing was walked forward.
        stages: Of the optimization, in order.
        judged: Parameters that the search for the verdict started from, where those are others.
        on_record: How many configurations were on record, for the optimization and for the verdict.
        ended: Trials after which a stage of the optimization was ended by its time limit or by Ctrl-C.
    """

    kind: str
    search: OptimizationConfig
    windows: WalkForwardConfig
    permutations: int | None
    stages: tuple[Stage, ...]
    judged: Mapping[str, Any] | None
    on_record: Mapping[str, int]
    ended: Mapping[str, int]

    @classmethod
    def of(cls, recorded: Manifest) -> "_Told":
        """Raises as `repeated_search`."""
        try:
            settings, events = recorded["configuration"], recorded["events"]
            objective = settings["search"]["objective"]
            if isinstance(objective, Mapping):
                raise ConfigError(
                    f"the objective of this search was the Python function {objective['function']}, which a manifest "
                    "cannot hold.",
                    hint="do the search again in Python with that function, describe it, and use compare_searches.",
                )
            judged = settings.get("judged")
            choices = [
                dict(zip(events["fields"]["choice"], row[1:], strict=True))
                for row in events["rows"]
                if row[0] == "choice"
            ]
            return cls(
                str(recorded["kind"]),
                OptimizationConfig(**settings["search"]),
                WalkForwardConfig(**(settings.get("windows") or {})),
                settings.get("permutations"),
                tuple(settings.get("stages") or ()),
                None if judged is None else dict(judged["parameters"]),
                {part: int(number) for part, number in recorded["on_record"].items()},
                {choice["stage"]: int(choice["trials"]) for choice in choices if choice["cut_short"]},
            )
        except ConfigError:
            raise
        except UNREADABLE as error:
            raise damaged(error) from error

    def notes(self) -> Iterator[str]:
        """What cannot be had again of a search that had a time limit, or was ended by Ctrl-C."""
        for stage, trials in self.ended.items():
            yield (
                f"stage {stage} of the optimization was ended after {trials:,} trials, by its time limit or by Ctrl-C: "
                "it is done again up to there."
            )
        if self.search.timeout is not None and self.kind != "optimization":
            yield (
                f"the search had a limit of {self.search.timeout:g} seconds a stage, and is done again without one: "
                "where it ended the search of a window or of a shuffled market, that is another search now."
            )


class _Again:
    """The parts of a search, done again."""

    def __init__(self, told: _Told, inputs: Inputs, search: OptimizationConfig, tell: OnStep) -> None:
        self._told, self._inputs, self._search, self._tell = told, inputs, search, tell

    def run(self) -> RunFindings:
        """All parts of a run of the main job that are on record."""
        inputs, judged = self._inputs, self._told.judged
        baseline = backtest(
            inputs.candles, inputs.strategy, inputs.quantity, execution=inputs.execution, detail=inputs.detail,
            funding=inputs.funding, check_lookahead=False,
        )  # fmt: skip
        optimization = self.optimized() if self._told.stages else None
        report = None if judged is None else self.judged(type(inputs.strategy)(**judged))
        return RunFindings("", baseline, optimization, report, None, (), {}, None, {})

    def optimized(self) -> OptimizationResult:
        """The stages on record, each ended where it was ended then."""
        inputs, ended = self._inputs, self._told.ended

        def tell(progress: Progress) -> None:
            self._tell(f"stage {progress.stage}", progress.done, progress.total)
            if progress.done >= ended.get(progress.stage, math.inf):
                raise KeyboardInterrupt

        with OptimizationEngine(
            inputs.candles, inputs.strategy, inputs.quantity, opt_config=self._search, execution=inputs.execution,
            detail=inputs.detail, funding=inputs.funding, check_lookahead=False, on_progress=tell,
        ) as engine:  # fmt: skip
            for stage in self._told.stages:
                engine.config = self._search.replace(timeout=_AT_ONCE if ended.get(stage) == 0 else None)
                engine.optimize(stage)
            found = engine.result()
        n_trials = self._on_record("optimization", found.n_trials)
        candles = found.candles
        years = len(candles) / candles.timeframe.bars_per_year(candles.calendar)
        return replace(found, n_trials=n_trials, luck_line=expected_maximum(max(1, n_trials)) / math.sqrt(years))

    def judged(self, strategy: Strategy) -> ValidationReport:
        """The whole procedure, judged with the number of configurations that were on record then."""
        inputs = self._inputs
        found = validate(
            inputs.candles, strategy, inputs.quantity, search=self._search, windows=self._told.windows,
            permutations=self._told.permutations, execution=inputs.execution, detail=inputs.detail,
            funding=inputs.funding, check_lookahead=False, on_step=self._tell,
        )  # fmt: skip
        return replace(found, decision=rejudged(found, self._on_record("validation", found.n_trials)))

    def walked(self) -> WalkForwardResult:
        """The walk-forward alone."""
        inputs = self._inputs
        return WalForwardEngine(
            inputs.candles, inputs.strategy, inputs.quantity, wfa_config=self._told.windows, opt_config=self._search,
            execution=inputs.execution, detail=inputs.detail, funding=inputs.funding, check_lookahead=False,
            on_window=lambda window, total: self._tell("walk-forward", window.number, total),
        ).run()  # fmt: skip

    def _on_record(self, part: str, own: int) -> int:
        """How many configurations were on record: as the manifest says, and no fewer than the search itself has."""
        return max(self._told.on_record.get(part, 0), own)


def _silent(step: str, done: int, total: int) -> None:
    """Nobody listens."""
