"""The whole way, stages 1 to 10, for one market or several: what to do is settled and told before anything slow begins.

    1, 2  credentials, connectivity    of the venues that are asked
    3, 4  input, strategy              what to test, with which rules and costs
    5     candles, baseline            through the store; one backtest
    6     hardware                     this computer, timed with the real kernel
    7     optimization                 7.1 integers, 7.2 real values, 7.3 timeouts
    8     verdict                      walk-forward, shuffled markets, overfitting statistics
    9     report                       everything side by side
    10    page                         how to look at it

The first six are done for all markets at once; then one market after the other goes through the rest (`market_run`).
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from barwise.checkpoints import CheckpointStore, StageKey, sweep_temporary
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.errors import ConfigError, DataError, did_you_mean
from barwise.exchange.download import Progress
from barwise.hardware import (
    FILE_NAME,
    Hardware,
    HardwareProfile,
    estimate_of,
    estimate_validation,
    load_profile,
    look_at_hardware,
    measure_hardware,
    save_profile,
    suited,
)
from barwise.optimizer.objective import Objective
from barwise.optimizer.search import trials_of
from barwise.optimizer.space import STAGES as SEARCHES
from barwise.pipeline.access import describe_connectivity, describe_credentials, venues_of
from barwise.pipeline.keys import STAGES, Keys, name_of_all
from barwise.pipeline.market_run import MarketRun, Task
from barwise.pipeline.run_trail import run_trail, say_plan
from barwise.pipeline.stage_names import SEARCHES as SEARCH_NAMES
from barwise.pipeline.stage_names import SHUFFLED, STEP_NAMES, VERDICT, WALK_FORWARD
from barwise.pipeline.stages import (
    Inputs,
    Market,
    Rules,
    RunSettings,
    choose_market,
    choose_rules,
    describe_inputs,
    describe_rules,
    each_market,
    fetch_inputs,
)
from barwise.pipeline.view import PlannedStage, Tick, View
from barwise.report.findings import RunFindings, StageDone
from barwise.report.multi_files import MultiFiles, write_multi
from barwise.report.run_files import RunFiles
from barwise.report.text import counted
from barwise.stats.sharpe import expected_maximum
from barwise.trail import Trail, markets_events
from barwise.validation.engine import PERMUTATIONS
from barwise.validation.windows import generate_windows

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Timing the computer for its own sake takes longer; for a plan this much is exact enough.
_MEASURE_SECONDS = 4.0
# Rendering takes about that long, whatever there is to show.
_REPORT_SECONDS = 1.0
# Checkpoints of other runs are thrown away, the least recently used first, above this.
_MOST_CHECKPOINTS = 2_000_000_000


@dataclass(frozen=True)
class Job:
    """What a user asked for, resolved and checked.

    Attributes:
        settings: What to test, with which rules; one market or several.
        search, windows: Of stages 7 and 8.
        permutations: Shuffled markets, at most; None = by profile, 0 = none.
        config: Every value of the configuration, by section and key, for the report.
        toml: The same as a file, to be kept beside the report.
        in_words: Says a hint, which is written for callers of the package, to whoever has asked.
    """

    settings: RunSettings
    search: OptimizationConfig
    windows: WalkForwardConfig
    permutations: int | None
    config: Mapping[str, Mapping[str, Any]]
    toml: str
    in_words: Callable[[str], str] = str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run leaves.

    Attributes:
        name: Of the run: its market's, or that of all of them.
        findings: By market, in the order they were named.
        files: The report of each.
        over_all: The report over several markets; None where there is one.
        stages: All that was gone through.
    """

    name: str
    findings: tuple[RunFindings, ...]
    files: tuple[RunFiles, ...]
    over_all: MultiFiles | None
    stages: tuple[StageDone, ...]


def run_job(
    job: Job, home: Path, view: View, *, fresh: bool = False, from_stage: str | None = None, explain: bool = False
) -> Outcome | None:
    """All stages.

    Args:
        job: What to do; settings that say nothing mean the SAMPLE market.
        home: Where the files go.
        view: Told about everything as it happens.
        fresh: Forget what is kept of this run. The trial ledger is never emptied: what was tried was tried.
        from_stage: Forget what is kept from this stage on: "7.1", "7.2", "7.3" or "8".
        explain: Tell the plan, with why each stage will or will not run, and end.

    Returns:
        What was found; None with `explain`.

    Raises:
        ConfigError, DataError, BacktestError, CheckpointError: As the stages raise them.
    """
    if from_stage is not None and from_stage not in STAGES:
        raise ConfigError(
            f"{from_stage} is not a stage to start from.{did_you_mean(from_stage, STAGES)}",
            hint=f"use {', '.join(STAGES)}; the stages before are never kept.",
        )
    return _Job(job, home, view).run(fresh=fresh, from_stage=from_stage, explain=explain)


class _Job:
    def __init__(self, job: Job, home: Path, view: View) -> None:
        self._job, self._home, self._view = job, home, view
        self._stages: list[StageDone] = []
        self._store = CheckpointStore(home / "data" / "checkpoints")

    def run(self, *, fresh: bool, from_stage: str | None, explain: bool) -> Outcome | None:
        job, home, view = self._job, self._home, self._view
        data = home / "data"
        sweep_temporary([data])
        # What is wrong with the input is said before any venue is asked.
        chosen = each_market(job.settings)
        markets, rules = [choose_market(one) for one in chosen], choose_rules(job.settings)
        functions = Objective.of(job.search.objective).functions
        if functions:
            raise ConfigError(
                f"a run keeps what its stages found, and a function of yours ({', '.join(functions)}) cannot be kept.",
                hint="optimize and validate take such an objective; for a run, name a metric.",
            )
        venues = venues_of(markets)
        self._stage("1", "credentials", lambda: describe_credentials(venues), str)
        answers = self._stage("2", "connectivity", lambda: describe_connectivity(venues), lambda found: found[0])
        for sentence in answers[1]:
            view.finding(sentence)
        self._stage("3", "input", lambda: markets, _listed)
        self._stage("4", "strategy", lambda: rules, describe_rules)
        several = len(markets) > 1
        tasks = []
        for settings, market in zip(chosen, markets, strict=True):
            label = _label(market) if several else ""
            inputs = self._stage(
                "5", "candles", partial(fetch_inputs, settings, market, self._downloaded), describe_inputs, label
            )
            if not inputs.candles.exchange and rules.execution.fees is None and rules.execution.taker_fee is None:
                view.finding("These candles name no exchange, so no fees are charged; --exchange or taker_fee does.")
            tasks.append(self._task(settings, market, rules, inputs, label))
        if not several:
            return self._gone_through(tasks, None, fresh=fresh, from_stage=from_stage, explain=explain)
        name = name_of_all([task.name for task in tasks])
        # What is only explained is not begun.
        whole: AbstractContextManager[Trail | None] = nullcontext()
        if not explain:
            whole = run_trail(name, home, f"{len(tasks)} markets", fresh=fresh)
        with whole as trail:
            if trail is not None:
                trail.add(
                    markets_events(tasks[0].config, {task.name: (task.label, task.inputs.candles) for task in tasks})
                )
            return self._gone_through(tasks, trail, fresh=fresh, from_stage=from_stage, explain=explain)

    def _gone_through(
        self, tasks: list[Task], trail: Trail | None, *, fresh: bool, from_stage: str | None, explain: bool
    ) -> Outcome | None:
        """Stages 6 to 10.

        Args:
            trail: Of the run over all markets; None where there is one market.
        """
        job, home, view = self._job, self._home, self._view
        profile, hardware = self._hardware()
        forgotten = {task.name: self._forgotten(task, fresh=fresh, from_stage=from_stage) for task in tasks}
        plan = tuple(line for task in tasks for line in self._plan_of(task, profile, hardware, forgotten[task.name]))
        view.planned(plan)
        if explain:
            return None
        if trail is not None:
            say_plan(trail, plan, {task.label: task.name for task in tasks})
        done = [
            MarketRun(
                task, home, self._store, view, tuple(self._stages), _words(hardware), suited(task.search, profile),
                unwanted=forgotten[task.name], fresh=fresh, in_words=job.in_words,
            ).run()
            for task in tasks
        ]  # fmt: skip
        findings, files = tuple(found for found, _ in done), tuple(written for _, written in done)
        over_all, name = None, tasks[0].name
        if trail is not None:
            name = trail.run
            over_all = self._stage(
                "9", "all markets", lambda: write_multi(name, findings, home), lambda made: str(made.html.name)
            )
            trail.say("run_done", report=over_all.html.name)
        self._store.prune(_MOST_CHECKPOINTS)
        page = (files[0] if over_all is None else over_all).html
        self._stage("10", "page", lambda: page, lambda path: f"open {path.name} in a browser, or barwise dashboard")
        stages = dict.fromkeys([stage for found in findings for stage in found.stages] + self._stages)
        return Outcome(name, findings, files, over_all, tuple(stages))

    def _task(self, settings: RunSettings, market: Market, rules: Rules, inputs: Inputs, label: str) -> Task:
        job = self._job
        # The batch search is the one that is judged, because the error rate of the rule is measured with it.
        judged = job.search.replace(optuna_sampler="AUTO")
        permutations = PERMUTATIONS[job.search.profile] if job.permutations is None else job.permutations
        keys = Keys(market, rules, inputs, job.search, judged, job.windows, permutations)
        config = {section: dict(values) for section, values in job.config.items()}
        return Task(
            settings, market, rules, inputs, job.search, judged, job.windows, permutations, config, job.toml, keys,
            label,
        )  # fmt: skip

    def _downloaded(self, label: str, progress: Progress) -> None:
        self._view.tick(Tick.of_download(label, progress))

    # -- Stage 6 -------------------------------------------------------------------------------------------------------

    def _hardware(self) -> tuple[HardwareProfile, Hardware]:
        """The stored profile of this computer, or a new one."""
        path = self._home / "data" / FILE_NAME
        hardware = look_at_hardware()

        def known() -> HardwareProfile:
            found = load_profile(path, hardware)
            if found is None:
                found = measure_hardware(folder=path.parent, seconds_limit=_MEASURE_SECONDS)
                save_profile(found, path)
            return found

        def described(found: HardwareProfile) -> str:
            return f"{_cores(hardware)}; {found.threads} threads, {found.backend}"

        return self._stage("6", "hardware", known, described), hardware

    # -- The plan ------------------------------------------------------------------------------------------------------

    def _plan_of(
        self, task: Task, profile: HardwareProfile, hardware: Hardware, forgotten: list[StageKey]
    ) -> list[PlannedStage]:
        """What each slow stage of a market will do and about how long it will take."""

        def line(number: str, name: str, key: StageKey, text: str, seconds: float | None) -> PlannedStage:
            why = "it is asked for anew" if key in forgotten else self._store.explain(key)
            kept = not why
            reason = "kept from before" if kept else why
            return PlannedStage(number, name, text, 0.0 if kept else seconds, kept, reason, task.label)

        candles, search = task.inputs.candles, task.search
        bars, workers = len(candles), task.search.workers or hardware.cores_usable
        counts = [trials_of(search, stage) for stage in SEARCHES]
        whole = _estimated(profile, search, bars)
        share = 0.0 if whole is None else whole / max(1, sum(counts))
        plan = [
            line(number, name, task.keys.search(number), f"{count:,} trials", None if whole is None else share * count)
            for (number, name), count in zip(SEARCH_NAMES.items(), counts, strict=True)
        ]
        windows = _windows_of(task)
        day = 86_400_000 / candles.timeframe.ms
        seconds = estimate_validation(
            profile, task.judged, bars=bars, windows=windows,
            in_sample_bars=round(task.windows.is_length_days * day), permutations=task.permutations, workers=workers,
        )  # fmt: skip
        years = bars / candles.timeframe.bars_per_year(candles.calendar)
        luck = expected_maximum(max(2, sum(counts))) / years**0.5
        texts = {
            "walk-forward": f"{counted(windows, 'window')}, each searched anew",
            "permutations": f"at most {counted(task.permutations, 'shuffled market')}, each searched",
            "others": f"overfitting; by luck alone the best of {sum(counts):,} trials has a Sharpe ratio of {luck:.2f}",
        }
        names = {"walk-forward": WALK_FORWARD, "permutations": SHUFFLED, "others": VERDICT}
        plan += [
            line(
                "8", names[step], task.keys.judging("selection" if step == "others" else step), text,
                seconds.get(step, 0.0),
            )
            for step, text in texts.items()
            if step != "permutations" or task.permutations
        ]  # fmt: skip
        plan.append(
            PlannedStage(
                "9", "report", "everything side by side", _REPORT_SECONDS, reason="is always written", market=task.label
            )
        )
        return plan

    # -- What is kept --------------------------------------------------------------------------------------------------

    def _forgotten(self, task: Task, *, fresh: bool, from_stage: str | None) -> list[StageKey]:
        """The keys whose outputs are not wanted, kept or not."""
        if not fresh and from_stage is None:
            return []
        first = 0 if fresh or from_stage is None else STAGES.index(from_stage)
        searches = STAGES[first:-1]
        keys = [task.keys.search(stage) for stage in (*searches, *(("7",) if searches else ()))]
        return keys + [task.keys.judging(step) for step in (*STEP_NAMES, *(("look-ahead",) if fresh else ()))]

    # -- One stage -----------------------------------------------------------------------------------------------------

    def _stage(
        self, number: str, name: str, work: Callable[[], T], describe: Callable[[T], str], market: str = ""
    ) -> T:
        self._view.begun(number, name, market)
        began = perf_counter()
        output = work()
        self._stages.append(StageDone(number, name, describe(output), perf_counter() - began, market=market))
        self._view.done(self._stages[-1])
        return output


def _estimated(profile: HardwareProfile, search: OptimizationConfig, bars: int) -> float | None:
    """Seconds of stage 7; None for a sampler whose pace nobody has measured."""
    try:
        return estimate_of(profile, search, bars=bars).seconds
    except ConfigError:
        return None


def _label(market: Market) -> str:
    """What people call one of several markets."""
    names = " ".join(str(word) for word in (market.exchange, market.symbol, market.timeframe) if word)
    return names if market.symbol or market.candle_file is None else f"{names} {market.candle_file.name}".strip()


def _windows_of(task: Task) -> int:
    """How many windows the walk-forward will have; none where the candles are too few for one."""
    try:
        return len(generate_windows(task.inputs.candles, task.windows))
    except DataError:
        return 0


def _listed(markets: list[Market]) -> str:
    return str(markets[0]) if len(markets) == 1 else f"{len(markets)} markets: {'; '.join(map(str, markets))}"


def _cores(hardware: Hardware) -> str:
    return f"{hardware.processor}, {hardware.cores_usable} of {hardware.cores_total} cores"


def _words(hardware: Hardware) -> dict[str, str]:
    memory = "unknown" if hardware.memory_total is None else f"{hardware.memory_total / 2**30:.1f} GiB"
    card = hardware.no_card if hardware.card is None else str(hardware.card)
    return {"processor": _cores(hardware), "memory": memory, "graphics card": card}
