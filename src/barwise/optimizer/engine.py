"""The optimizer: three stages one after the other, or all parameters at once, from a strategy to the best it could be.

    result = optimize(candles, EmaRsiAtr(), qty=0.1)

`OptimizationEngine` is the same in steps, with the flat API's names: stage 7.1 searches the integers, 7.2 the real
parameters, 7.3 the timeouts of the entry tiers; each starts from the best of the one before and never returns anything
worse. What is maximised is the metric that a plain backtest reports, to the bit: the chosen configuration is run again
by `backtest` before it is returned, and a difference is an error.
"""

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from barwise.backends import open_backend
from barwise.config import ExecutionConfig, OptimizationConfig
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.engine import checked_strategy
from barwise.errors import ConfigError
from barwise.obs import home_folder
from barwise.optimizer.evaluation import replay
from barwise.optimizer.leaders import Leaders, Survey, survey
from barwise.optimizer.ledger import DataSet, Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.plateau import Plateau
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.saving import OptimizationFiles, save_optimization
from barwise.optimizer.search import Progress, evaluator_of, neighbour_values, search_stage
from barwise.optimizer.space import STAGES, Space, Stage
from barwise.optimizer.trials import StageResult
from barwise.result import BacktestResult
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """What an optimization found.

    Attributes:
        run: Its id in the ledger.
        candles: What it was searched on.
        stages: In the order they were run.
        baseline, best: Plain backtests of the strategy it started from and of the one it ended with.
        strategy: The strategy it ended with.
        plateau: The neighbourhood of that strategy; None where nothing was searched or Ctrl-C ended the search.
        top: The best configurations of all stages, and how robust each is; None where there is no plateau.
        neighbours: Configurations that were run for the plateau and for `top`; they are on record as well.
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
    top: Leaders | None
    neighbours: int
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
        run: str | None = None,
    ) -> None:
        self.config = _checked_config(opt_config)
        self.sampler = canonical_name(self.config.optuna_sampler)
        self.objective = Objective.of(self.config.objective, self.config.min_trades, self.config.max_drawdown)
        self.run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self._on_progress = on_progress
        self._ledger = Ledger(self.config.storage or home_folder() / "data" / "ledger.sqlite")
        config = self.config
        self._backend = (
            open_backend(config.backend, config.workers, config.address)
            if config.backend in ("processes", "ray")
            else None
        )
        self.sweeper = Sweeper(
            candles, checked_strategy(base_config), order_qty, execution=execution, detail=detail, funding=funding,
            trade_from=trade_from, exchange=exchange, symbol=symbol, timeframe=timeframe, workers=config.workers,
            check_lookahead=check_lookahead, backend=self._backend, on_gpu=config.backend == "cuda",
        )  # fmt: skip
        self._evaluator = evaluator_of(self.sweeper, config, self._ledger)
        self.stages: list[StageResult] = []

    @property
    def candles(self) -> Candles:
        """What is searched on."""
        return self.sweeper.candles

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
        return self.stages[-1].config if self.stages else self.sweeper.strategy

    def optimize(self, stage: Stage) -> StageResult:
        """Run one stage, from the best strategy so far.

        Ctrl-C ends it with the best so far; the result says `interrupted`.

        Raises:
            BacktestError: The plain backtest of the chosen trial differs from the search.
            DataError: The data are too short for a corner of the box.
        """
        stages = self.stages
        try:
            stages.append(
                search_stage(self._evaluator, self.get_final_config(), stage, self.config, self.run, self._on_progress)
            )
        except KeyboardInterrupt:
            if not stages:
                raise
            stages[-1] = replace(stages[-1], interrupted=True)  # this one had not begun: the one before is the result
        return stages[-1]

    def take(self, stage: StageResult) -> None:
        """Go on from a stage that was run before, by an engine of the same arguments."""
        self.stages.append(stage)

    def result(self) -> OptimizationResult:
        """Everything so far, with the chosen strategy replayed by a plain backtest and its neighbourhood measured.

        Ctrl-C ends the measuring; the result then has no plateau and says `interrupted`.

        Raises:
            ConfigError: No stage has been run yet.
        """
        if not self.stages:
            raise ConfigError(
                "there is no result yet: no stage has been run.",
                hint="call optimize_stage_7_1() or another stage first.",
            )
        started = perf_counter()
        best = replay(self.sweeper, self.get_final_config())
        interrupted = any(stage.interrupted for stage in self.stages)
        around = None
        if not interrupted:  # who pressed Ctrl-C does not wait for hundreds of neighbours
            try:
                around = self._survey()
            except KeyboardInterrupt:
                interrupted = True
        n_trials = self._ledger.trials(DataSet.of(self.candles))
        years = len(self.candles) / self.candles.timeframe.bars_per_year(self.candles.calendar)
        notes = [note for stage in self.stages for note in stage.notes] + ([] if around is None else [around.note])
        return OptimizationResult(
            run=self.run,
            candles=self.candles,
            stages=tuple(self.stages),
            baseline=replay(self.sweeper, self.sweeper.strategy),
            best=best,
            strategy=self.get_final_config(),
            plateau=None if around is None else around.plateau,
            top=None if around is None else around.leaders,
            neighbours=0 if around is None else around.neighbours,
            n_trials=n_trials,
            luck_line=expected_maximum(max(1, n_trials)) / math.sqrt(years),
            seconds=sum(stage.seconds for stage in self.stages) + perf_counter() - started,
            interrupted=interrupted,
            notes=tuple(dict.fromkeys(note for note in notes if note)),
        )

    def save_results(self, folder: Path | None = None) -> OptimizationFiles:
        """Write everything so far as JSON and its trials as CSV; see `barwise.optimizer.saving`."""
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

    def _survey(self) -> Survey | None:
        config = self.config
        stages = {name for stage in self.stages for name in stage.space.names}
        joint = Space(self.get_final_config(), "joint", width=config.profile.width, fixed=config.fixed)
        # A parameter of no stage is searched where it was given a range.
        own = {name: ends for name, ends in dict(config.ranges).items() if name in stages - {*joint.names}}
        space = Space(self.get_final_config(), "joint", width=config.profile.width, fixed=config.fixed, ranges=own)
        if not space.dimensions:
            return None
        origin = Origin(self.run, "neighbourhood", self.sampler, config.seed, self.objective.label)

        def around(space: Space, points: FloatArray) -> FloatArray:
            return neighbour_values(self._evaluator, space, points, origin)

        # A function of the result takes a whole backtest for each neighbour.
        return survey(self.stages, space, around, self._evaluator.replayed, steps=not self.objective.functions)


def _checked_config(config: Any) -> OptimizationConfig:
    if config is None:
        return OptimizationConfig()
    if not isinstance(config, OptimizationConfig):
        raise ConfigError(f"opt_config must be an OptimizationConfig; got {type(config).__name__}.")
    return config
