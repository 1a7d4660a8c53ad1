"""Stages 5 to 9 for one market, each of them kept as soon as it is done.

Killed at any moment, the same command goes on with what is kept: finished stages as checkpoints, trials in the ledger,
shuffled markets one by one. Nothing here may depend on whether a value was made now or read back, or the two reports
would differ.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from barwise.checkpoints import CheckpointStore, Journal, StageKey
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.data.files import write_atomically
from barwise.errors import BacktestError, DataError
from barwise.manifest import describe_job, describe_run, manifest_path, portable, write_manifest
from barwise.obs import correlated
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult
from barwise.optimizer.ledger import DataSet, Ledger, ledger_place
from barwise.optimizer.objective import Objective
from barwise.optimizer.recording import record_run
from barwise.optimizer.search import Progress
from barwise.optimizer.space import STAGES, Stage
from barwise.optimizer.trials import StageResult
from barwise.pipeline.keys import Keys
from barwise.pipeline.run_trail import run_trail
from barwise.pipeline.stage_names import SEARCHES, STEP_NAMES
from barwise.pipeline.stages import (
    Inputs,
    Market,
    Rules,
    RunSettings,
    describe_result,
    origin_of,
    run_baseline,
)
from barwise.pipeline.view import Tick, View
from barwise.report.findings import RunFindings, StageDone
from barwise.report.run_files import RunFiles, write_run_report
from barwise.result import BacktestResult
from barwise.strategy.lookahead import LookAheadReport, check_lookahead
from barwise.sweeping import Sweeper
from barwise.trail import Trail, backtest_events, run_events, trial_events, validation_events, window_events
from barwise.validation.engine import ValidationReport, validate

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Progress is written into the trail for those who watch it; more often than this nobody can read it.
_TELL_EVERY = 0.5


@dataclass(frozen=True, eq=False)
class Task:
    """One market of a run, with everything its stages need.

    Attributes:
        settings, market, rules, inputs: As the stages before left them.
        search: As the user wants it.
        judged: The search that stage 8 judges.
        windows: Of the walk-forward.
        permutations: Shuffled markets, at most; 0 = none.
        config: Every value of the resolved configuration, by section and key.
        toml: The same as a file.
        keys: Of its stages.
        label: What people call it where there are several; "" where it is the only one.
    """

    settings: RunSettings
    market: Market
    rules: Rules
    inputs: Inputs
    search: OptimizationConfig
    judged: OptimizationConfig
    windows: WalkForwardConfig
    permutations: int
    config: dict[str, Any]
    toml: str
    keys: Keys
    label: str

    @property
    def name(self) -> str:
        """Of the run and its files."""
        return self.keys.run


class MarketRun:
    """One market's way through the stages.

    Args:
        task: What to do.
        home: Where the files go.
        store: The checkpoints.
        view: Who listens.
        before: Stages that were done for all markets.
        hardware: The computer in a few words.
        search: The search of the task with the settings that suit this computer.
        unwanted: Keys of checkpoints to forget first.
        fresh: Begin the trail anew; the one before it stays beside it.
        in_words: Says a hint to whoever has asked for the run.
    """

    def __init__(
        self,
        task: Task,
        home: Path,
        store: CheckpointStore,
        view: View,
        before: tuple[StageDone, ...],
        hardware: dict[str, str],
        search: OptimizationConfig,
        *,
        unwanted: Sequence[StageKey] = (),
        fresh: bool = False,
        in_words: Callable[[str], str] = str,
    ) -> None:
        self._unwanted, self._fresh, self._in_words = unwanted, fresh, in_words
        self._task, self._home, self._store, self._view = task, home, store, view
        self._hardware, self._search = hardware, search
        self.stages = list(before)
        self._told = 0.0
        self._trail: Trail

    def run(self) -> tuple[RunFindings, RunFiles]:
        """All stages.

        Raises:
            CheckpointError: Another process is at this very run, or the ledger cannot be used.
            BacktestError: The strategy looks ahead.
            DataError: A file cannot be written.
        """
        task = self._task
        trail = run_trail(task.name, self._home, str(task.market), fresh=self._fresh, first=self._forget_unwanted)
        with trail as self._trail, correlated(task.name):
            found = self._stages()
            files = self._report(found)
            self._trail.say("run_done", verdict=found.verdict, report=files.html.name)
        return replace(found, stages=tuple(self.stages)), files

    def _forget_unwanted(self) -> None:
        for key in self._unwanted:
            self._store.forget(key)

    def _stages(self) -> RunFindings:
        task = self._task
        inputs, candles = task.inputs, task.inputs.candles
        self._trail.add(run_events(task.config, candles, inputs.detail))
        sweeper = Sweeper(
            candles, task.rules.strategy, task.market.quantity, execution=task.rules.execution, detail=inputs.detail,
            funding=inputs.funding, workers=task.search.workers, check_lookahead=False,
        )  # fmt: skip
        look_ahead = None
        if task.settings.check_lookahead:
            look_ahead = self._stage(
                "5", "look-ahead", task.keys.judging("look-ahead"), sweeper, self._long_check, lambda _: "none found"
            )
        baseline = self._stage("5", "baseline", None, sweeper, self._baseline, describe_result)
        self._trail.add(backtest_events("baseline", baseline))
        # A look at the data counts. Unlike a single backtest's, this ledger is needed by what follows.
        with Ledger(ledger_place(task.search.storage, self._home)) as ledger:
            record_run(
                ledger, baseline, task.market.quantity, detail=inputs.detail, funding=inputs.funding, run=task.name
            )
            n_trials = ledger.trials(DataSet.of(candles))
        optimization = self._optimization(sweeper)
        validation = self._validation(sweeper)
        if optimization is not None:
            n_trials = optimization.n_trials
        if validation is not None:
            n_trials = validation.n_trials
        config = {
            section: {key: _portable(key, value, self._home) for key, value in values.items()}
            for section, values in task.config.items()
        }
        return RunFindings(
            task.name, baseline, optimization, validation, look_ahead, (), config, n_trials, self._hardware
        )

    # -- Stage 5 -------------------------------------------------------------------------------------------------------

    def _long_check(self) -> LookAheadReport:
        task = self._task
        found = check_lookahead(task.rules.strategy, task.inputs.candles)
        if not found.ok:
            raise BacktestError(str(found), hint="use only bars up to t for the value at t.")
        return found

    def _baseline(self) -> BacktestResult:
        task = self._task
        return run_baseline(task.inputs, task.rules, task.market.quantity, check_lookahead=False)

    # -- Stage 7 -------------------------------------------------------------------------------------------------------

    def _optimization(self, sweeper: Sweeper) -> OptimizationResult | None:
        """The three stages, and what they come to; None where the data do not allow a search."""
        task, inputs = self._task, self._task.inputs
        with OptimizationEngine(
            inputs.candles, task.rules.strategy, task.market.quantity, opt_config=self._search,
            execution=task.rules.execution, detail=inputs.detail, funding=inputs.funding, check_lookahead=False,
            on_progress=self._searched, run=task.name,
        ) as engine:  # fmt: skip
            for stage in STAGES:
                try:
                    found = self._stage(
                        stage, SEARCHES[stage], task.keys.search(stage), sweeper,
                        partial(_searched_to_the_end, engine, stage), _describe_search,
                    )  # fmt: skip
                except DataError as error:
                    self._skipped("7", "optimization", error)
                    return None
                if not engine.stages or engine.stages[-1].stage != stage:
                    engine.take(found)
                self._trail.add(trial_events(found))
            result = self._stage(
                "7", "neighbourhood", task.keys.search("7"), sweeper, partial(_whole_result, engine),
                _describe_optimization,
            )  # fmt: skip
        self._trail.add(backtest_events("optimized", result.best))
        return result

    def _searched(self, progress: Progress) -> None:
        self._tick(
            Tick(
                "trials", progress.done, progress.total, progress.best, progress.objective,
                f"{progress.pruned:,} pruned", progress.eta_seconds,
            )
        )  # fmt: skip

    # -- Stage 8 -------------------------------------------------------------------------------------------------------

    def _validation(self, sweeper: Sweeper) -> ValidationReport | None:
        """The verdict; None where it cannot be asked for."""
        task, inputs = self._task, self._task.inputs
        objectives = Objective.of(task.judged.objective).names
        if len(objectives) > 1:
            self._skipped("8", "verdict", f"a verdict judges one objective; there are {len(objectives)}.")
            return None
        steps = _KeptSteps(self._store, task.keys)

        def judged() -> ValidationReport:
            return validate(
                inputs.candles, task.rules.strategy, task.market.quantity, search=task.judged, windows=task.windows,
                permutations=task.permutations, execution=task.rules.execution, detail=inputs.detail,
                funding=inputs.funding, check_lookahead=False, on_step=self._stepped, run=task.name, steps=steps,
            )  # fmt: skip

        try:
            found = self._stage("8", "verdict", None, sweeper, judged, _describe_validation, lambda: steps.state)
        except DataError as error:
            self._skipped("8", "verdict", error)
            return None
        if found.walked is not None:
            self._trail.add(window_events(found.walked))
            for window in found.walked.windows:
                if window.out_of_sample is not None:
                    self._trail.add(backtest_events(f"out-of-sample/{window.number}", window.out_of_sample))
        self._trail.add(validation_events(found))
        return found

    def _stepped(self, step: str, done: int, total: int) -> None:
        self._tick(Tick(STEP_NAMES[step], done, total))

    # -- Stage 9 -------------------------------------------------------------------------------------------------------

    def _report(self, found: RunFindings) -> RunFiles:
        """The report, the settings and the manifests, all beside each other."""
        task, inputs = self._task, self._task.inputs

        def written() -> RunFiles:
            moment = datetime.now(UTC)
            # Whether a stage was run now or before is no part of what was found.
            stages = tuple(replace(stage, state="done") if stage.state == "kept" else stage for stage in self.stages)
            files = write_run_report(replace(found, stages=stages), self._home, written=moment)
            origin = origin_of(task.settings, task.market, self._home)
            parts = {"baseline": found.baseline}
            if found.optimization is not None:
                parts["optimized"] = found.optimization.best
            for part, result in parts.items():
                described = describe_run(result, origin, detail=inputs.detail, funding=inputs.funding, written=moment)
                write_manifest(described, manifest_path(files.json.with_name(f"{task.name}-{part}.json")))
            write_atomically(files.json.with_name(f"{task.name}.config.toml"), task.toml)
            # Last, so that the newest manifest is that of the whole run.
            manifest = describe_job(
                found, origin, task.search, task.windows, task.permutations, detail=inputs.detail,
                funding=inputs.funding,
            )  # fmt: skip
            write_manifest(manifest, manifest_path(files.json))
            return files

        return self._stage("9", "report", None, None, written, lambda files: str(files.html.name))

    # -- One stage -----------------------------------------------------------------------------------------------------

    def _stage(
        self,
        number: str,
        name: str,
        key: StageKey | None,
        sweeper: Sweeper | None,
        work: Callable[[], T],
        describe: Callable[[T], str],
        state: Callable[[], Any] = lambda: "done",
    ) -> T:
        """What a stage leaves: from its checkpoint where there is one, else by doing it.

        Args:
            key: Of the checkpoint; None where the output is made anew sooner than it could be read.
            state: Asked afterwards, where the work itself knows what it took from before.
        """
        self._view.begun(number, name, self._task.label)
        self._trail.say("stage_begun", stage=number, name=name)
        kept = None
        if key is not None and sweeper is not None:
            kept = self._store.load(key, sweeper)
        if kept is None:
            began = perf_counter()
            with correlated(self._task.name, number):
                output = work()
            seconds = perf_counter() - began
            if key is not None and sweeper is not None:
                self._store.save(key, output, sweeper, seconds)
            done = StageDone(number, name, describe(output), seconds, state(), self._task.label)
        else:
            output = kept.value
            done = StageDone(number, name, describe(output), kept.seconds, "kept", self._task.label)
        self._ended(done)
        return output

    def _skipped(self, number: str, name: str, why: "DataError | str") -> None:
        hint = "" if isinstance(why, str) else self._in_words(why.hint)
        text = why if isinstance(why, str) else f"{why.message} {hint[:1].upper()}{hint[1:]}".strip()
        self._ended(StageDone(number, name, text, 0.0, "skipped", self._task.label))

    def _ended(self, done: StageDone) -> None:
        self.stages.append(done)
        self._trail.say(
            "stage_done", stage=done.number, name=done.name, state=done.state, text=done.text, seconds=done.seconds
        )
        self._view.done(done)

    def _tick(self, tick: Tick) -> None:
        self._view.tick(tick)
        now = perf_counter()
        if now - self._told >= _TELL_EVERY:
            self._told = now
            self._trail.say("progress", step=tick.step, done=tick.done, total=tick.total, best=tick.best)


class _KeptSteps:
    """Keeps the steps of stage 8."""

    def __init__(self, store: CheckpointStore, keys: Keys) -> None:
        self._store, self._keys = store, keys
        self._made = 0

    @property
    def state(self) -> str:
        """Whether anything had to be done again."""
        return "done" if self._made else "kept"

    def found(self, step: str, work: Callable[[], T], sweeper: Sweeper) -> tuple[T, float]:
        key = self._keys.judging(step)
        kept = self._store.load(key, sweeper)
        if kept is not None:
            return kept.value, kept.seconds
        self._made += 1
        began = perf_counter()
        value = work()
        seconds = perf_counter() - began
        self._store.save(key, value, sweeper, seconds)
        self._journal_path(step).unlink(missing_ok=True)
        return value, seconds

    def journal(self, step: str) -> Journal:
        return Journal(self._journal_path(step))

    def _journal_path(self, step: str) -> Path:
        key = self._keys.judging(step)
        return self._store.folder / f"{key.stage}-{key.digest[:24]}.journal"


def _portable(key: str, value: Any, home: Path) -> Any:
    """A value of the configuration as a report shows it, which is made to be passed on: no folder of a user in it."""
    if isinstance(value, Mapping):
        return {name: _portable(name, item, home) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(key, item, home) for item in value]
    if key.endswith("file") and value is not None:
        return portable(Path(value), home)
    if key == "class" and isinstance(value, str) and ".py:" in value:
        place, _, name = value.rpartition(":")
        return f"{portable(Path(place), home)}:{name}"
    return value


def _whole_result(engine: OptimizationEngine) -> OptimizationResult:
    """The result with its neighbourhood.

    Raises:
        KeyboardInterrupt: The neighbours were not all tried; half of a step is not kept.
    """
    found = engine.result()
    if found.interrupted:
        raise KeyboardInterrupt
    return found


def _searched_to_the_end(engine: OptimizationEngine, stage: Stage) -> StageResult:
    """One stage of the search; one that Ctrl-C ended is kept in the ledger and nowhere else.

    Raises:
        KeyboardInterrupt: It was ended.
    """
    found = engine.optimize(stage)
    if found.interrupted:
        raise KeyboardInterrupt
    return found


def _describe_search(found: StageResult) -> str:
    pruned = f", {found.pruned:,} pruned" if found.pruned else ""
    return (
        f"{found.tried:,} trials{pruned}; {found.objective.names[0]} {found.base_value:.3f} -> {found.best_value:.3f}"
    )


def _describe_optimization(found: OptimizationResult) -> str:
    luck = f"by luck alone the best of {found.n_trials:,} trials has a Sharpe ratio of {found.luck_line:.2f}"
    return f"{describe_result(found.best)}; {luck}"


def _describe_validation(found: ValidationReport) -> str:
    return f"{found.verdict}: {found.reasons[0]}" if found.reasons else found.verdict
