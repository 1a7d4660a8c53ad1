"""One stage of a search: from a strategy to the best of its neighbourhood, whoever asks for it.

The optimizer runs it over all bars and puts every trial on record; a walk-forward runs it in each window, a permutation
test on markets that never were. It is the same search in all three, or their answers could not be compared.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from barwise.config import OptimizationConfig, OptimizationProfile
from barwise.core.layout import FloatArray
from barwise.errors import BacktestError, DataError
from barwise.optimizer.evaluation import Evaluator
from barwise.optimizer.ledger import Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.plateau import most_robust
from barwise.optimizer.sampler import Sampler, Told
from barwise.optimizer.samplers import canonical_name, open_sampler
from barwise.optimizer.space import STAGES, Space, Stage
from barwise.optimizer.trials import StageResult, Trials
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper

logger = logging.getLogger(__name__)

# The batch search makes this many trials for each one of a sampler that models: they cost it microseconds.
AUTO_TRIALS = 10
# Stage 7.3 has four small integers to search; a third of the trials see nearly all of them.
_SHARE_OF_TIMEOUTS = 1.0 / 3.0
# Tier timeouts change few fills each: on a third of the bars whole groups of trials tie, and the better half is a coin.
_NEVER_HALVED = ("7.3",)
# Trials of a graphics card that the processor runs again: the last digits can change no more than their order.
_SCORED_AGAIN = 50


@dataclass(frozen=True)
class Progress:
    """How far a stage is, told after each batch.

    Attributes:
        stage: "7.1", "7.2", "7.3" or "joint".
        done, total: Trials made, and planned.
        pruned: Of those, given up before the last rung.
        objective: Name of the first objective.
        best: Its best value so far as reported, None while no trial keeps the guards.
        best_params: The searched parameters of that trial.
        bars: Signal bars simulated so far.
        seconds: Since the stage began.
    """

    stage: str
    done: int
    total: int
    pruned: int
    objective: str
    best: float | None
    best_params: dict[str, int | float]
    bars: int
    seconds: float

    @property
    def bars_per_second(self) -> float:
        return self.bars / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def eta_seconds(self) -> float:
        """Until the stage is done, if it goes on as so far."""
        return self.seconds / max(1, self.done) * (self.total - self.done)


def search_stage(
    evaluator: Evaluator,
    strategy: Strategy,
    stage: Stage,
    config: OptimizationConfig,
    run: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> StageResult:
    """Search one stage around a strategy.

    Ctrl-C ends it with the best so far; the result says `interrupted`.

    Args:
        evaluator: Candles, rules, costs, objective, rungs and ledger.
        strategy: Where the search starts, and the values of what it does not search.
        config: Sampler, trials, seed, box, choice.
        run: Id of the run in the ledger.
        on_progress: Called after each batch of trials.

    Raises:
        BacktestError: The plain backtest of the chosen trial differs from the search.
        DataError: The data are too short for a corner of the box.
    """
    started = perf_counter()
    sampler = canonical_name(config.optuna_sampler)
    space = Space(
        strategy, stage, width=config.profile.width, wide=config.space == "wide", ranges=dict(config.ranges),
        fixed=config.fixed,
    )  # fmt: skip
    _check_length(space, evaluator.stop)
    origin = Origin(run, stage, sampler, config.seed, evaluator.objective.label)
    search = _Search(evaluator, space, origin, started)
    interrupted = False
    try:
        search.run(sampler, config.seed, trials_of(config, stage), config.timeout, on_progress)
    except KeyboardInterrupt:
        if search.trials is None:
            raise
        interrupted = True
        logger.warning("stage %s was interrupted after %d trials", stage, len(search.trials) - 1)
    trials = search.trials
    assert trials is not None
    chosen = _confirmed_best(evaluator, space, trials, origin) if evaluator.sweeper.on_gpu else trials.best
    notes = list(search.notes)
    if config.choose == "robust" and len(trials) > 1:
        try:
            if not interrupted:
                chosen = _most_robust(evaluator, space, trials, origin)
        except KeyboardInterrupt:
            interrupted = True
        if interrupted:
            notes.append(f"stage {stage} was interrupted: its best trial was chosen, not its most robust one.")
    if trials.violation[chosen] > 0.0:
        notes.append(evaluator.objective.why_no_result(trials.reported))
    result = StageResult(
        stage=stage,
        sampler=sampler,
        space=space,
        objective=evaluator.objective,
        trials=trials,
        chosen=chosen,
        levels=evaluator.levels,
        full_bars=evaluator.full_bars(len(trials)),
        seconds=perf_counter() - started,
        sampler_seconds=search.sampler_seconds,
        interrupted=interrupted,
        notes=tuple(notes),
    )
    _replay(evaluator, result)
    logger.info(
        "stage %s: %d trials, %d pruned, %s %.4f -> %.4f", stage, result.tried, result.pruned,
        evaluator.objective.names[0], result.base_value, result.best_value,
        extra={"run": run, "stage": stage, "seconds": result.seconds},
    )  # fmt: skip
    return result


def evaluator_of(
    sweeper: Sweeper, config: OptimizationConfig, ledger: Ledger | None, span: tuple[int, int] | None = None
) -> Evaluator:
    """What a search with these settings evaluates its points with; arguments as in `Evaluator`."""
    return Evaluator(
        sweeper,
        Objective.of(config.objective, config.min_trades, config.max_drawdown),
        config.fidelity_levels if config.multi_fidelity else (1.0,),
        ledger,
        config.batch_size,
        span,
        config.min_rung_trades,
    )


def search_all_stages(
    evaluator: Evaluator,
    strategy: Strategy,
    config: OptimizationConfig,
    run: str,
    on_stage: Callable[[int], None] | None = None,
) -> list[StageResult]:
    """The three stages one after the other, each from the best of the one before; at least one.

    Args:
        on_stage: Told how many stages are done, after each.
        evaluator, strategy, config, run: As in `search_stage`.

    Raises:
        KeyboardInterrupt: Ctrl-C; a search that is one step of a test is of no use half done.
    """
    found: list[StageResult] = []
    for stage in STAGES:
        found.append(search_stage(evaluator, strategy, stage, config, run))
        if found[-1].interrupted:
            raise KeyboardInterrupt
        strategy = found[-1].config
        if on_stage is not None:
            on_stage(len(found))
    return found


def trials_of(config: OptimizationConfig, stage: Stage) -> int:
    """How many trials a stage makes: those asked for, else the profile's, ten times as many with the batch search."""
    if config.num_trials is not None:
        return config.num_trials
    factor = AUTO_TRIALS if canonical_name(config.optuna_sampler) == "AUTO" else 1
    return factor * planned_trials(config.profile, stage)


def planned_trials(profile: OptimizationProfile, stage: Stage) -> int:
    """Trials of a stage with a sampler that models; a joint search has those of all three stages together."""
    if stage == "joint":
        return sum(planned_trials(profile, part) for part in STAGES)
    return math.ceil(profile.trials * _SHARE_OF_TIMEOUTS) if stage == "7.3" else profile.trials


class _Search:
    """One stage on its way: asks, evaluates, tells, until the trials or the time are used up."""

    def __init__(self, evaluator: Evaluator, space: Space, origin: Origin, started: float) -> None:
        self._evaluator, self._space, self._origin, self._started = evaluator, space, origin, started
        self._batches: list[Trials] = []
        self.sampler_seconds = 0.0
        self.notes: list[str] = []

    @property
    def trials(self) -> Trials | None:
        """All trials so far; None before the base point has been run."""
        return Trials.joined(self._batches) if self._batches else None

    def run(
        self, name: str, seed: int, total: int, timeout: float | None, tell: Callable[[Progress], None] | None
    ) -> None:
        """Run the base point, then `total` trials of the sampler.

        Args:
            name: Canonical name of the sampler.
            seed: Of the whole optimization; each stage draws its own from it.
            timeout: Seconds since the stage began after which no batch is started.
            tell: Called after each batch.
        """
        stage, space = self._origin.stage, self._space
        self._keep(space.base[np.newaxis], halve=False)
        if not space.dimensions:
            self.notes.append(f"stage {stage} has nothing to search: the strategy has no parameter of its kind in use.")
            return
        with self._sampling():
            own_seed = np.random.SeedSequence([seed, 0 if stage == "joint" else int(stage[-1])]).generate_state(1)[0]
            sampler = open_sampler(name, space, int(own_seed), len(self._evaluator.objective.names), total)
        done = 0
        while done < total:
            if timeout is not None and perf_counter() - self._started > timeout:
                self.notes.append(f"stage {stage} stopped after its {timeout:g} seconds, {done:,} of {total:,} trials.")
                return
            made = self._step(sampler, total - done)
            if not made:
                self.notes.append(f"stage {stage} has tried all there is: {done:,} trials.")
                if tell is not None and done:
                    tell(self._progress(done, done))
                return
            done += made
            if tell is not None:
                tell(self._progress(done, total))

    def _step(self, sampler: Sampler, left: int) -> int:
        """One batch of at most `left` trials; returns how many, 0 when the sampler has nothing left."""
        with self._sampling():
            asked = sampler.ask(min(left, sampler.batch))
        if not len(asked):
            return 0
        batch = self._keep(self._space.valid(asked), halve=self._origin.stage not in _NEVER_HALVED)
        with self._sampling():
            sampler.tell(Told(batch.points, batch.values, batch.violation, batch.steps, batch.complete))
        return len(batch)

    def _keep(self, points: FloatArray, *, halve: bool) -> Trials:
        batch = self._evaluator.evaluate(self._space, points, self._origin, halve=halve)
        batch.batch[:] = len(self._batches)
        batch.seconds[:] = perf_counter() - self._started
        self._batches.append(batch)
        return batch

    def _progress(self, done: int, total: int) -> Progress:
        trials = Trials.joined(self._batches)
        best = trials.best
        return Progress(
            stage=self._origin.stage,
            done=done,
            total=total,
            pruned=int((~trials.complete).sum()),
            objective=self._evaluator.objective.names[0],
            best=float(trials.reported[best, 0]) if trials.violation[best] == 0.0 else None,
            best_params=self._space.values(trials.points[best]),
            bars=int(trials.bars.sum()),
            seconds=perf_counter() - self._started,
        )

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """Count the sampler's own time."""
        started = perf_counter()
        try:
            yield
        finally:
            self.sampler_seconds += perf_counter() - started


def neighbour_values(evaluator: Evaluator, space: Space, points: FloatArray, origin: Origin) -> FloatArray:
    """First objective (larger is better) of the points around another one, over all bars and on record.

    A neighbour that breaks a guard has no value: NaN.
    """
    trials = evaluator.evaluate(space, points, replace(origin, stage="neighbourhood"), halve=False)
    values: FloatArray = np.where(trials.violation > 0.0, np.nan, trials.values[:, 0])
    return values


def _most_robust(evaluator: Evaluator, space: Space, trials: Trials, origin: Origin) -> int:
    """Row of the trial with the best neighbourhood, among the best that are no worse than the base."""
    kept = trials.violation == 0.0
    if not kept[trials.best]:
        return trials.best
    base = trials.values[0, 0] if kept[0] else -np.inf
    rows = np.flatnonzero(kept & trials.complete & (trials.values[:, 0] >= base))

    def around(space: Space, points: FloatArray) -> FloatArray:
        return neighbour_values(evaluator, space, points, origin)

    chosen, _ = most_robust(around, space, trials.taken(rows))
    return int(rows[chosen])


def _confirmed_best(evaluator: Evaluator, space: Space, trials: Trials, origin: Origin) -> int:
    """Best row of trials that a graphics card has made, after the processor, which has the word, ran them again.

    The base and the best trials get the processor's numbers in place; the others stay what they were, proposals.
    """
    sweeper = evaluator.sweeper
    processor = Sweeper(
        sweeper.candles, sweeper.strategy, sweeper.quantity, execution=sweeper.execution, detail=sweeper.detail,
        funding=sweeper.funding, trade_from=sweeper.trade_from, workers=sweeper.threads, check_lookahead=False,
    )  # fmt: skip
    rows = np.unique(np.append(trials.ranked[:_SCORED_AGAIN], 0))
    again = evaluator.on(processor).evaluate(
        space, trials.points[rows], replace(origin, stage="confirmation"), halve=False
    )
    for name in ("reported", "values", "violation", "sharpe", "summaries"):
        getattr(trials, name)[rows] = getattr(again, name)
    trials.steps[rows, -1] = again.values[:, 0]
    return int(rows[again.best])


def _check_length(space: Space, bars: int) -> None:
    """Raise where the longest periods of the box need more bars than there are."""
    if not space.dimensions:
        return
    highest = np.where([dimension.integer for dimension in space.dimensions], space.high, space.base)
    needs = space.configured(space.valid(highest[np.newaxis])[0]).needed_bars()
    longest = max(needs, key=lambda part: needs[part], default="")
    if needs and needs[longest] + 1 > bars:
        raise DataError(
            f"the search box reaches to {longest} {needs[longest]:,} bars; there are {bars:,}.",
            hint=f'use a longer span, or keep it shorter with ranges={{"{longest}": (low, high)}}.',
        )


def _replay(evaluator: Evaluator, stage: StageResult) -> None:
    """Make sure that the plain backtest says of the chosen trial what the search said, to the bit."""
    again = evaluator.replayed(stage.config)
    found, wanted = again.summary[0], stage.trials.summaries[stage.chosen]
    different = [name for name in found.dtype.names if found[name].tobytes() != wanted[name].tobytes()]
    if different:
        raise BacktestError(
            f"the plain backtest of {stage.config!r} differs from the search in {', '.join(different)}: "
            f"{found[different[0]]!r} against {wanted[different[0]]!r}.",
            hint="this is a defect of barwise, or the strategy's plan() is not the same every time: does it use "
            "random numbers, or remember something between calls?",
        )
