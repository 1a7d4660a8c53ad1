"""The optimizer: three stages one after the other, or all parameters at once, from a strategy to the best it could be.

    result = optimize(candles, EmaRsiAtr(), qty=0.1)

`OptimizationEngine` is the same in steps, with the flat API's names: stage 7.1 searches the integers, 7.2 the real
parameters, 7.3 the timeouts of the entry tiers; each starts from the best of the one before and never returns anything
worse. What is maximised is the metric that a plain backtest reports, to the bit: the chosen configuration is run again
by `backtest` before it is returned, and a difference is an error.
"""

import logging
import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from barwise.backends import open_backend
from barwise.config import ExecutionConfig, OptimizationConfig, OptimizationProfile
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.engine import checked_strategy
from barwise.errors import BacktestError, ConfigError, DataError
from barwise.obs import home_folder
from barwise.optimize.evaluation import Evaluator, replay
from barwise.optimize.ledger import DataSet, Ledger, Origin
from barwise.optimize.objective import Objective
from barwise.optimize.plateau import Plateau, measure_plateau, most_robust
from barwise.optimize.sampler import Sampler, Told
from barwise.optimize.samplers import canonical_name, open_sampler
from barwise.optimize.saving import OptimizationFiles, save_optimization
from barwise.optimize.space import STAGES, Space, Stage
from barwise.optimize.trials import StageResult, Trials
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    import polars

logger = logging.getLogger(__name__)

# The batch search makes this many trials for each one of a sampler that models: they cost it microseconds.
_AUTO_TRIALS = 10
# Stage 7.3 has four small integers to search; a third of the trials see nearly all of them.
_SHARE_OF_TIMEOUTS = 1.0 / 3.0
# Trials of a graphics card that the processor runs again: the last digits can change no more than their order.
_SCORED_AGAIN = 50
_EULER = 0.5772156649015329


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


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """What an optimization found.

    Attributes:
        run: Its id in the ledger.
        candles: What it was searched on.
        stages: In the order they were run.
        baseline, best: Plain backtests of the strategy it started from and of the one it ended with.
        strategy: The strategy it ended with.
        plateau: The neighbourhood of that strategy; None where nothing was searched.
        n_trials: Distinct configurations on record for these candles, this search and all before it.
        luck_line: Sharpe ratio that the best of so many trials is expected to have by luck alone over this span.
        seconds: Wall time of all stages.
        interrupted: Ctrl-C ended it early; what it found until then is here.
        notes: What a reader should know.
    """

    run: str
    candles: Candles
    stages: tuple[StageResult, ...]
    baseline: BacktestResult
    best: BacktestResult
    strategy: Strategy
    plateau: Plateau | None
    n_trials: int
    luck_line: float
    seconds: float
    interrupted: bool
    notes: tuple[str, ...]

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters that differ from where the search started."""
        before, after = self.baseline.strategy, self.strategy
        return {
            name: getattr(after, name)
            for name in type(after).model_fields
            if getattr(after, name) != getattr(before, name)
        }

    def frame(self) -> "polars.DataFrame":
        """All trials of all stages, one row each; parameters a stage did not search are null there."""
        import polars

        return polars.concat([stage.frame() for stage in self.stages], how="diagonal")


def optimize(
    candles: Any,
    strategy: Strategy | None = None,
    qty: float = 1.0,
    *,
    config: OptimizationConfig | None = None,
    joint: bool = False,
    execution: ExecutionConfig | None = None,
    detail: Any = None,
    funding: Iterable[tuple[int, float]] | None = None,
    trade_from: int | None = None,
    exchange: str = "",
    symbol: str = "",
    timeframe: "str | Timeframe | None" = None,
    check_lookahead: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
) -> OptimizationResult:
    """Search the parameters of a strategy, in three stages or all at once.

    Args:
        config: Sampler, trials, objective, guards, box, ledger; see `OptimizationConfig`.
        joint: Search all parameters at once instead of stage by stage.
        on_progress: Called after each batch of trials.
        candles, strategy, qty, execution, detail, funding, trade_from, exchange, symbol, timeframe, check_lookahead: As
            in `backtest`.

    Raises:
        DataError: The candles are broken, or too few for a corner of the search box.
        ConfigError: A setting is wrong.
        CheckpointError: The ledger cannot be read or written.
    """
    with OptimizationEngine(
        candles, strategy, qty, exchange=exchange, symbol=symbol, timeframe=timeframe, opt_config=config,
        execution=execution, detail=detail, funding=funding, trade_from=trade_from, check_lookahead=check_lookahead,
        on_progress=on_progress,
    ) as engine:  # fmt: skip
        for stage in ("joint",) if joint else STAGES:
            if engine.optimize(stage).interrupted:
                break
        return engine.result()


class OptimizationEngine:
    """An optimization in steps; the arguments are those of `optimize`, with the flat API's names.

    Workers and the ledger's connection end with `close`, or with a `with` block around it.
    """

    def __init__(
        self,
        candles: Any,
        base_config: Strategy | None = None,
        order_qty: float = 1.0,
        exchange: str = "",
        symbol: str = "",
        timeframe: "str | Timeframe | None" = None,
        opt_config: OptimizationConfig | None = None,
        *,
        execution: ExecutionConfig | None = None,
        detail: Any = None,
        funding: Iterable[tuple[int, float]] | None = None,
        trade_from: int | None = None,
        check_lookahead: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.config = _checked_config(opt_config)
        self.sampler = canonical_name(self.config.optuna_sampler)
        self.objective = Objective.of(self.config.objective, self.config.min_trades, self.config.max_drawdown)
        self.run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self._on_progress = on_progress
        self._ledger = Ledger(self.config.storage or home_folder() / "data" / "ledger.sqlite")
        config = self.config
        self._backend = (
            open_backend(config.backend, config.workers, config.address)
            if config.backend in ("processes", "ray")
            else None
        )
        self._sweeper = Sweeper(
            candles, checked_strategy(base_config), order_qty, execution=execution, detail=detail, funding=funding,
            trade_from=trade_from, exchange=exchange, symbol=symbol, timeframe=timeframe, workers=config.workers,
            check_lookahead=check_lookahead, backend=self._backend, on_gpu=config.backend == "cuda",
        )  # fmt: skip
        levels = config.fidelity_levels if config.multi_fidelity else (1.0,)
        self._evaluator = Evaluator(self._sweeper, self.objective, levels, self._ledger, config.batch_size)
        self.stages: list[StageResult] = []
        self._seconds = 0.0

    @property
    def candles(self) -> Candles:
        """What is searched on."""
        return self._sweeper.candles

    def optimize_stage_7_1(self) -> StageResult:
        """Search the integer parameters; see `optimize`."""
        return self.optimize("7.1")

    def optimize_stage_7_2(self) -> StageResult:
        """Search the real parameters."""
        return self.optimize("7.2")

    def optimize_stage_7_3(self) -> StageResult:
        """Search the timeouts of the entry tiers."""
        return self.optimize("7.3")

    def optimize_joint(self) -> StageResult:
        """Search all parameters at once."""
        return self.optimize("joint")

    def get_final_config(self) -> Strategy:
        """The best strategy so far: the one the next stage starts from."""
        return self.stages[-1].config if self.stages else self._sweeper.strategy

    def optimize(self, stage: Stage) -> StageResult:
        """Run one stage, from the best strategy so far.

        Ctrl-C ends it with the best so far; the result says `interrupted`.

        Raises:
            BacktestError: The plain backtest of the chosen trial differs from the search.
            DataError: The data are too short for a corner of the box.
        """
        started = perf_counter()
        config = self.config
        space = Space(
            self.get_final_config(), stage, width=config.profile.width, wide=config.space == "wide",
            ranges=config.ranges, fixed=config.fixed,
        )  # fmt: skip
        self._check_length(space)
        search = _Search(self._evaluator, space, self._origin(stage), started)
        interrupted = False
        try:
            search.run(self.sampler, config.seed, self.trials_of(stage), config.timeout, self._on_progress)
        except KeyboardInterrupt:
            if search.trials is None:
                raise
            interrupted = True
            logger.warning("stage %s was interrupted after %d trials", stage, len(search.trials))
        assert search.trials is not None
        trials = search.trials
        chosen = self._confirmed_best(space, trials) if self._sweeper.on_gpu else trials.best
        notes = list(search.notes)
        if config.choose == "robust" and len(trials) > 1 and not interrupted:
            chosen = self._robust(space, trials)
        if trials.violation[chosen] > 0.0:
            notes.append(
                "no trial keeps the guards (min_trades, max_drawdown): the nearest one is returned, which is no result."
            )
        result = StageResult(
            stage=stage,
            sampler=self.sampler,
            space=space,
            objective=self.objective,
            trials=trials,
            chosen=chosen,
            levels=self._evaluator.levels,
            full_bars=self._evaluator.full_bars(len(trials)),
            seconds=perf_counter() - started,
            sampler_seconds=search.sampler_seconds,
            interrupted=interrupted,
            notes=tuple(notes),
        )
        self._replayed(result)
        self._seconds += perf_counter() - started
        self.stages.append(result)
        return result

    def result(self) -> OptimizationResult:
        """Everything so far, with the chosen strategy replayed by a plain backtest and its neighbourhood measured."""
        started = perf_counter()
        best = replay(self._sweeper, self.get_final_config())
        plateau = self._plateau()
        n_trials = self._ledger.trials(DataSet.of(self.candles))
        years = len(self.candles) / self.candles.timeframe.bars_per_year(self.candles.calendar)
        return OptimizationResult(
            run=self.run,
            candles=self.candles,
            stages=tuple(self.stages),
            baseline=replay(self._sweeper, self._sweeper.strategy),
            best=best,
            strategy=self.get_final_config(),
            plateau=plateau,
            n_trials=n_trials,
            luck_line=expected_best_of_noise(n_trials) / math.sqrt(years),
            seconds=self._seconds + perf_counter() - started,
            interrupted=any(stage.interrupted for stage in self.stages),
            notes=tuple(dict.fromkeys(note for stage in self.stages for note in stage.notes)),
        )

    def save_results(self, folder: Path | None = None) -> OptimizationFiles:
        """Write everything so far as JSON and its trials as CSV; see `barwise.optimize.saving`."""
        return save_optimization(self.result(), folder)

    def close(self) -> None:
        """End workers and connections."""
        if self._backend is not None:
            self._backend.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- Parts of a stage ----------------------------------------------------------------------------------------------

    def trials_of(self, stage: Stage) -> int:
        """How many trials a stage makes."""
        config = self.config
        if config.num_trials is not None:
            return config.num_trials
        trials = planned_trials(config.profile, stage)
        return trials * _AUTO_TRIALS if self.sampler == "AUTO" else trials

    def _origin(self, stage: str) -> Origin:
        return Origin(self.run, stage, self.sampler, self.config.seed, self.objective.label)

    def _check_length(self, space: Space) -> None:
        """Raise where the longest periods of the box need more bars than there are."""
        if not space.dimensions:
            return
        corner = space.valid(
            np.where([dimension.integer for dimension in space.dimensions], space.high, space.base)[None]
        )
        needs = space.configured(corner[0]).needed_bars()
        longest = max(needs, key=lambda part: needs[part], default="")
        if needs and needs[longest] + 1 > len(self.candles):
            raise DataError(
                f"the search box reaches to {longest} {needs[longest]:,} bars; there are {len(self.candles):,}.",
                hint=f'use a longer span, or keep it shorter with ranges={{"{longest}": (low, high)}}.',
            )

    def _robust(self, space: Space, trials: Trials) -> int:
        """Row of the trial with the best neighbourhood, among the best that are no worse than the base."""
        kept = trials.violation == 0.0
        if not kept[trials.best]:
            return trials.best
        base = trials.values[0, 0] if kept[0] else -np.inf
        rows = np.flatnonzero(kept & trials.complete & (trials.values[:, 0] >= base))
        chosen, _ = most_robust(self._neighbours, space, trials.taken(rows))
        return int(rows[chosen])

    def _confirmed_best(self, space: Space, trials: Trials) -> int:
        """Best row of trials that a graphics card has made, after the processor, which has the word, ran them again.

        The base and the best trials get the processor's numbers in place; the others stay what they were, proposals.
        """
        sweeper = self._sweeper
        processor = Sweeper(
            sweeper.candles, sweeper.strategy, sweeper.quantity, execution=sweeper.execution, detail=sweeper.detail,
            funding=sweeper.funding, trade_from=sweeper.trade_from, workers=sweeper.threads, check_lookahead=False,
        )  # fmt: skip
        evaluator = Evaluator(processor, self.objective, (1.0,), self._ledger, self.config.batch_size)
        rows = np.unique(np.append(trials.ranked[:_SCORED_AGAIN], 0))
        again = evaluator.evaluate(space, trials.points[rows], self._origin("confirmation"), halve=False)
        for name in ("reported", "values", "violation", "sharpe", "summaries"):
            getattr(trials, name)[rows] = getattr(again, name)
        trials.steps[rows, -1] = again.values[:, 0]
        return int(rows[again.best])

    def _neighbours(self, space: Space, points: FloatArray) -> FloatArray:
        """First objective (larger is better) of points around another one, all bars, recorded."""
        trials = self._evaluator.evaluate(space, points, self._origin("neighbourhood"), halve=False)
        values: FloatArray = np.where(trials.violation > 0.0, np.nan, trials.values[:, 0])
        return values

    def _plateau(self) -> Plateau | None:
        if not self.stages:
            return None
        config = self.config
        space = Space(self.get_final_config(), "joint", width=config.profile.width, fixed=config.fixed)
        last = self.stages[-1]
        if not space.dimensions:
            return None
        return measure_plateau(self._neighbours, space, space.base, float(last.trials.values[last.chosen, 0]))

    def _replayed(self, stage: StageResult) -> None:
        """Make sure that the plain backtest says of the chosen trial what the search said, to the bit."""
        again = replay(self._sweeper, stage.config)
        found, wanted = again.summary[0], stage.trials.summaries[stage.chosen]
        different = [name for name in found.dtype.names if found[name].tobytes() != wanted[name].tobytes()]
        if different:
            raise BacktestError(
                f"the plain backtest of {stage.config!r} differs from the search in {', '.join(different)}: "
                f"{found[different[0]]!r} against {wanted[different[0]]!r}.",
                hint="this is a defect of barwise, or the strategy's plan() is not the same every time: does it use "
                "random numbers, or remember something between calls?",
            )


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
        batch = self._keep(self._space.valid(asked), halve=True)
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


def planned_trials(profile: OptimizationProfile, stage: Stage) -> int:
    """Trials of a stage with a sampler that models; a joint search has those of all three stages together."""
    if stage == "joint":
        return sum(planned_trials(profile, part) for part in STAGES)
    return math.ceil(profile.trials * _SHARE_OF_TIMEOUTS) if stage == "7.3" else profile.trials


def expected_best_of_noise(trials: int) -> float:
    """Expected maximum of `trials` standard normal numbers, 0 for one (Bailey & Lopez de Prado 2014, eq. 1).

    Times 1/sqrt(years) it is the annual Sharpe ratio to expect from the best of so many strategies that have no edge.
    """
    if trials <= 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    return (1.0 - _EULER) * quantile(1.0 - 1.0 / trials) + _EULER * quantile(1.0 - 1.0 / (trials * math.e))


def _checked_config(config: Any) -> OptimizationConfig:
    if config is None:
        return OptimizationConfig()
    if not isinstance(config, OptimizationConfig):
        raise ConfigError(f"opt_config must be an OptimizationConfig; got {type(config).__name__}.")
    return config
