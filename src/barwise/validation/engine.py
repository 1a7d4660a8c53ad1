"""The whole procedure behind a verdict: search, walk forward, search shuffled markets, and look at what is left.

    report = validate(candles, EmaRsiAtr(), qty=0.1)
    print(report.verdict, report.reasons)

The procedure is fixed before it sees the data, because a test that is chosen afterwards is one more trial. Its rate of
errors is measured on markets of known truth (docs/verdict.md).
"""

import math
import secrets
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np

from barwise.backends import Backend, open_backend
from barwise.config import ExecutionConfig, OptimizationConfig, OptimizationProfile, WalkForwardConfig
from barwise.core.curve import bar_returns
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.engine import checked_strategy
from barwise.errors import ConfigError, DataError
from barwise.obs import home_folder
from barwise.optimizer.evaluation import replay
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.optimizer.objective import Objective
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.search import evaluator_of, search_all_stages
from barwise.optimizer.space import STAGES
from barwise.optimizer.trials import StageResult
from barwise.result import BacktestResult
from barwise.stats.bootstrap import (
    LEAST_OBSERVATIONS,
    Interval,
    bootstrap_intervals,
    max_drawdown,
    optimal_block,
    sharpe_annual,
    total_return,
)
from barwise.stats.monte_carlo import MissedFills, Paths, Reshuffle, bootstrap_paths, missed_fills, reshuffled_trades
from barwise.stats.sharpe import (
    deflated_sharpe,
    deflated_sharpe_null,
    expected_maximum,
    min_backtest_length,
    min_track_record,
    moments,
    probabilistic_sharpe,
)
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper
from barwise.timeframe import Timeframe
from barwise.validation.permutation import Journal, PermutationTest, checked_permutations, permutation_test
from barwise.validation.selection import Selection, judge_selection
from barwise.validation.stress import JITTERS, Jitter, Scenario, jittered, pieces_of, stressed
from barwise.validation.verdict import Evidence, Verdict, decide
from barwise.validation.walk_forward import WalkForwardResult, walk

PERMUTATIONS = {
    OptimizationProfile.FAST: 39,
    OptimizationProfile.BALANCED: 99,
    OptimizationProfile.THOROUGH: 199,
}
# Where the Sharpe ratios of daily and of bar returns differ by more than this share, the verdict takes the smaller one.
_AUTOCORRELATED = 0.2
_RESAMPLES = 1_000
_MISSED = 0.05
# Fewer shuffled markets than this are searched sooner than a second process has started.
_WORTH_PROCESSES = 30

OnStep = Callable[[str, int, int], None]
T = TypeVar("T")


class Steps(Protocol):
    """Keeps what the steps of a procedure found, so that one that was ended goes on where it was."""

    def found(self, step: str, work: Callable[[], T], sweeper: Sweeper) -> tuple[T, float]:
        """What a step finds and how many seconds that took: from before where it is kept, else by doing it now.

        Args:
            step: Its name.
            work: Does it.
            sweeper: The market that its findings belong to.
        """

    def journal(self, step: str) -> Journal | None:
        """Where the numbers of a long step are kept one by one; None = nowhere."""


class _NothingKept:
    def found(self, step: str, work: Callable[[], T], sweeper: Sweeper) -> tuple[T, float]:
        started = perf_counter()
        return work(), perf_counter() - started

    def journal(self, step: str) -> Journal | None:
        return None


@dataclass(frozen=True, eq=False)
class ValidationReport:
    """Everything the procedure found.

    Attributes:
        run: Id of the run in the ledger.
        candles: What it was done on.
        decision: The verdict with its tests.
        stages: The search on all bars.
        best: Plain backtest of the best strategy of that search: in-sample.
        walked: The walk-forward; None where no window fits.
        permutation: The permutation test; None where it was not asked for.
        selection: What the trials of the search say.
        scenarios: Net results of the out-of-sample pieces in less kind worlds.
        jitters: The neighbourhood of the best strategy.
        reshuffled: Drawdowns of the best strategy's trades in other orders.
        paths: Other histories made of blocks of the out-of-sample returns.
        missed: The best strategy's net result where some trades never come about.
        intervals: Bootstrap intervals of the best strategy's annual Sharpe ratio, return and drawdown (percent).
        luck_line: Sharpe ratio the best of so many trials has by luck alone.
        seconds: Wall time by step.
        notes: What a reader should know.
    """

    run: str
    candles: Candles
    decision: Verdict
    stages: tuple[StageResult, ...]
    best: BacktestResult
    walked: WalkForwardResult | None
    permutation: PermutationTest | None
    selection: Selection
    scenarios: tuple[Scenario, ...]
    jitters: tuple[Jitter, ...]
    reshuffled: Reshuffle | None
    paths: Paths | None
    missed: MissedFills | None
    intervals: dict[str, Interval]
    luck_line: float
    seconds: dict[str, float]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The verdict in a word or two."""
        return str(self.decision.word)

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.decision.reasons

    @property
    def p_value(self) -> float | None:
        """Of the permutation test of the whole search."""
        return self.decision.evidence.p_value

    @property
    def oos_psr(self) -> float | None:
        """Probability that the out-of-sample Sharpe ratio is above 0."""
        return self.decision.evidence.oos_psr

    @property
    def dsr0(self) -> float | None:
        """Deflated Sharpe ratio with the variance under the null."""
        return self.decision.evidence.dsr0

    @property
    def pbo(self) -> float | None:
        """Probability of backtest overfitting."""
        return self.decision.evidence.pbo

    @property
    def n_trials(self) -> int:
        """Distinct configurations on record for these candles."""
        return self.decision.evidence.n_trials

    def to_dict(self) -> dict[str, Any]:
        """Everything but bars and single trials, as JSON takes it."""
        candles = self.candles
        return {
            "schema_version": 1,
            "kind": "validation",
            "run": self.run,
            "market": {
                "exchange": candles.exchange,
                "symbol": candles.symbol,
                "timeframe": str(candles.timeframe),
                "bars": len(candles),
                "first_ms": int(candles.time[0]),
                "last_ms": int(candles.time[-1]),
                "fingerprint": candles.fingerprint,
            },
            **self.decision.to_dict(),
            "strategy": type(self.best.strategy).__qualname__,
            "parameters": self.best.strategy.to_dict(),
            "in_sample": self.best.metrics,
            "search": [dict(stage) for stage in self.stages],
            "walk_forward": None if self.walked is None else self.walked.to_dict(),
            "permutation": None if self.permutation is None else self.permutation.to_dict(),
            "selection": self.selection.to_dict(),
            "scenarios": [scenario.to_dict() for scenario in self.scenarios],
            "jitters": [jitter.to_dict() for jitter in self.jitters],
            "monte_carlo": {
                name: None if part is None else part.to_dict()
                for name, part in (("reshuffled", self.reshuffled), ("paths", self.paths), ("missed", self.missed))
            },
            "intervals": {name: [interval.low, interval.high] for name, interval in self.intervals.items()},
            "luck_line": self.luck_line,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def validate(
    candles: Any,
    strategy: Strategy | None = None,
    qty: float = 1.0,
    *,
    search: OptimizationConfig | None = None,
    windows: WalkForwardConfig | None = None,
    permutations: int | None = None,
    execution: ExecutionConfig | None = None,
    detail: Any = None,
    funding: Iterable[tuple[int, float]] | None = None,
    exchange: str = "",
    symbol: str = "",
    timeframe: "str | Timeframe | None" = None,
    check_lookahead: bool = True,
    on_step: OnStep | None = None,
    run: str | None = None,
    steps: Steps | None = None,
) -> ValidationReport:
    """Search a strategy's parameters and judge what was found.

    Args:
        search: The search that is judged; by default the batch search with the BALANCED profile. Its backend searches
            windows and shuffled markets side by side; processes where there are many, unless it says otherwise.
        windows: Of the walk-forward.
        permutations: Shuffled markets, at most; None = by profile 39, 99, 199; 0 = none, and no verdict above UNPROVEN.
        on_step: Told (step, done, total) as the work goes on.
        run: Id of the run in the ledger; by default a new one.
        steps: Keeps finished steps; by default nothing is kept, and the work begins anew.
        candles, strategy, qty, execution, detail, funding, exchange, symbol, timeframe, check_lookahead: As in
            `backtest`.

    Raises:
        DataError: The candles are broken, or too few for a corner of the search box.
        ConfigError: A setting is wrong, or several objectives.
        CheckpointError: The ledger cannot be read or written.
    """
    search = search if search is not None else OptimizationConfig(optuna_sampler="AUTO")
    windows = windows if windows is not None else WalkForwardConfig()
    if permutations is None:
        permutations = PERMUTATIONS[search.profile]
    objective = Objective.of(search.objective, search.min_trades, search.max_drawdown)
    if len(objective.names) > 1:
        raise ConfigError("a verdict judges one objective; there are several.", hint="name one objective.")
    if permutations:
        checked_permutations(permutations)
    notes = []
    sampler = canonical_name(search.optuna_sampler)
    if sampler != "AUTO":
        # The rule's error rate is that of this search; a sampler of seconds would make the shuffles take hours.
        search = search.replace(optuna_sampler="AUTO")
        notes.append(f"what is judged is the batch search (AUTO), not {sampler}: it has to run on every shuffle too.")
    sweeper = Sweeper(
        candles, checked_strategy(strategy), qty, execution=execution, detail=detail, funding=funding,
        exchange=exchange, symbol=symbol, timeframe=timeframe, workers=search.workers, check_lookahead=check_lookahead,
    )  # fmt: skip
    storage = search.storage or home_folder() / "data" / "ledger.sqlite"
    with ExitStack() as until_done:
        ledger = until_done.enter_context(Ledger(storage))
        backend = _backend(search, permutations, sweeper.threads)
        if backend is not None:
            until_done.enter_context(backend)
        procedure = _Procedure(
            sweeper, search, windows, ledger, backend, on_step, notes,
            run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}", steps or _NothingKept(),
        )  # fmt: skip
        return procedure.run(permutations, storage)


def walk_forward(
    candles: Any, strategy: Strategy | None = None, qty: float = 1.0, *, permutations: int = 0, **settings: Any
) -> ValidationReport:
    """`validate` without the permutation test, unless it is asked for: quick, and at best UNPROVEN without it.

    Args:
        permutations: Shuffled markets, at most; 0 = none.
        candles, strategy, qty, settings: As in `validate`.
    """
    return validate(candles, strategy, qty, permutations=permutations, **settings)


def judge_backtest(result: BacktestResult, n_trials: int = 1) -> Verdict:
    """The verdict on a single backtest, from what can be known without a search: at best UNPROVEN.

    Args:
        n_trials: Distinct configurations on record for its candles, this one included.
    """
    return decide(Evidence(**_known_of(result, max(1, n_trials))))


def rejudged(report: ValidationReport, n_trials: int) -> Verdict:
    """The verdict on the same findings, had there been so many distinct configurations on record."""
    known = _known_of(report.best, n_trials, report.selection.sharpe_variance)
    return decide(replace(report.decision.evidence, **known))


def _backend(search: OptimizationConfig, permutations: int, threads: int) -> Backend | None:
    if search.backend in ("processes", "ray"):
        return open_backend(search.backend, search.workers, search.address)
    if threads > 1 and permutations >= _WORTH_PROCESSES:
        return open_backend("processes", threads)
    return None


class _Procedure:
    """The steps one after the other; what each takes and how long."""

    def __init__(
        self, sweeper: Sweeper, search: OptimizationConfig, windows: WalkForwardConfig,
        ledger: Ledger, backend: Backend | None, on_step: OnStep | None, notes: list[str], run: str, steps: Steps,
    ) -> None:  # fmt: skip
        self._sweeper, self._search, self._windows = sweeper, search, windows
        self._ledger, self._backend = ledger, backend
        self._tell = on_step if on_step is not None else _silent
        self._seconds: dict[str, float] = {}
        self._notes = notes
        self._steps = steps
        self.name = run

    def run(self, permutations: int, storage: Any) -> ValidationReport:
        sweeper, search = self._sweeper, self._search
        stages = self._timed("search", self._searched)
        best = replay(sweeper, stages[-1].config)
        walked, no_walk = self._timed("walk-forward", lambda: self._walked(storage))
        permutation = None
        if permutations:
            permutation = self._timed("permutations", lambda: self._permuted(permutations))
        selection = self._timed("selection", lambda: judge_selection(sweeper, stages, search.seed))
        pieces = [] if walked is None else pieces_of(walked)
        scenarios = self._timed("stress", lambda: stressed(sweeper, pieces)) if pieces else []
        jitters, no_jitter = self._timed("jitter", lambda: self._jittered(best.strategy))
        self._notes += no_walk + no_jitter
        n_trials = self._ledger.trials(DataSet.of(sweeper.candles))
        known = _known_of(best, n_trials, selection.sharpe_variance)
        if sweeper.candles.calendar.always_open and _is_autocorrelated(best):
            self._notes.append(
                f"bar returns are autocorrelated: the Sharpe ratio is {best.metrics['daily_sharpe_ratio']:.2f} by day "
                f"and {best.sharpe_ratio:.2f} by bar; the verdict takes the smaller one."
            )
        # One given configuration in all windows is a stability check: no evidence from bars it had not seen.
        unseen = walked if walked is not None and walked.reoptimized else None
        doubled = next((scenario for scenario in scenarios if scenario.name == "slippage x 2"), None)
        evidence = Evidence(
            **known,
            p_value=None if permutation is None else permutation.p_value,
            windows=0 if walked is None else len(walked.scored),
            oos_sharpe=None if unseen is None else unseen.oos_sharpe,
            oos_psr=None if unseen is None else unseen.oos_psr,
            stressed_net=None if unseen is None or doubled is None else doubled.net_pnl,
            pbo=None if selection.pbo is None else selection.pbo.pbo,
            spa=None if selection.spa is None else selection.spa.p_consistent,
            efficiency=None if unseen is None else unseen.efficiency,
            effective_trials=selection.effective_trials,
        )
        reshuffled, paths, missed, intervals = self._timed("monte carlo", lambda: self._resampled(best, walked))
        if walked is not None:
            self._notes += walked.notes
        self._notes += [note for stage in stages for note in stage.notes if "guards" in note]
        return ValidationReport(
            run=self.name,
            candles=sweeper.candles,
            decision=decide(evidence),
            stages=tuple(stages),
            best=best,
            walked=walked,
            permutation=permutation,
            selection=selection,
            scenarios=tuple(scenarios),
            jitters=tuple(jitters),
            reshuffled=reshuffled,
            paths=paths,
            missed=missed,
            intervals=intervals,
            luck_line=known["luck_line"],
            seconds=self._seconds,
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _searched(self) -> list[StageResult]:
        sweeper, search = self._sweeper, self._search
        return search_all_stages(
            evaluator_of(sweeper, search, self._ledger), sweeper.strategy, search, self.name,
            lambda done: self._tell("search", done, len(STAGES)),
        )  # fmt: skip

    def _walked(self, storage: Any) -> tuple[WalkForwardResult | None, list[str]]:
        try:
            walked = walk(
                self._sweeper, self._sweeper.strategy, self._windows, self._search, run=self.name, storage=storage,
                backend=self._backend, on_window=lambda window, total: self._tell("walk-forward", window.number, total),
            )  # fmt: skip
        except DataError as error:
            return None, [f"no walk-forward: {error.message}"]
        return walked, []

    def _permuted(self, permutations: int) -> PermutationTest:
        return permutation_test(
            self._sweeper, self._sweeper.strategy, self._search, permutations, backend=self._backend,
            on_permutation=lambda done, _, total: self._tell("permutations", done, total),
            journal=self._steps.journal("permutations"),
        )  # fmt: skip

    def _jittered(self, strategy: Strategy) -> tuple[list[Jitter], list[str]]:
        search = self._search
        try:
            found = [jittered(self._sweeper, strategy, share, search.seed, search.fixed) for share in JITTERS]
        except DataError as error:
            return [], [f"no neighbourhood: {error.message}"]
        return found, []

    def _resampled(
        self, best: BacktestResult, walked: WalkForwardResult | None
    ) -> tuple[Reshuffle | None, Paths | None, MissedFills | None, dict[str, Interval]]:
        """Monte Carlo of the best strategy's trades and returns, and of the out-of-sample returns."""
        seed, candles = self._search.seed, best.candles
        per_year = candles.timeframe.bars_per_year(candles.calendar)
        nets = np.array([trade.net_pnl for trade in best.trades])
        returns = _returns_of(best)
        reshuffled = missed = paths = None
        intervals: dict[str, Interval] = {}
        if nets.size > 1:
            reshuffled = reshuffled_trades(nets, best.initial_capital, seed=seed)
            missed = missed_fills(nets, _MISSED, seed=seed)
        if len(returns) >= LEAST_OBSERVATIONS and returns.std() > 0.0:
            statistics = {
                "sharpe_ratio": sharpe_annual(per_year),
                "total_return": total_return,
                "max_drawdown": max_drawdown,
            }
            intervals = bootstrap_intervals(returns, statistics, resamples=_RESAMPLES, seed=seed)
        if walked is not None and walked.returns.size > 30 and walked.returns.std() > 0.0:
            block = optimal_block(walked.returns).stationary
            paths = bootstrap_paths(
                walked.returns, block=block, resamples=_RESAMPLES, seed=seed, bars_per_year=per_year
            )
        return reshuffled, paths, missed, intervals

    def _timed(self, step: str, work: Callable[[], Any]) -> Any:
        self._tell(step, 0, 1)
        found, self._seconds[step] = self._steps.found(step, work, self._sweeper)
        return found


def _known_of(result: BacktestResult, n_trials: int, sharpe_variance: float | None = None) -> dict[str, Any]:
    """What a verdict can know from one backtest and the number of trials on record."""
    candles = result.candles
    returns = _returns_of(result)
    per_year = candles.timeframe.bars_per_year(candles.calendar)
    years = len(returns) / per_year
    known: dict[str, Any] = {
        "trades": result.total_trades,
        "years": years,
        "annual_sharpe": result.sharpe_ratio,
        "n_trials": n_trials,
        "luck_line": expected_maximum(max(1, n_trials)) / math.sqrt(years) if years > 0.0 else 0.0,
    }
    daily = result.metrics["daily_sharpe_ratio"]
    if not candles.calendar.always_open and daily is not None:
        known["annual_sharpe"] = daily  # bars of a market that closes are not all of one length, its days are
    elif _is_autocorrelated(result):
        known["annual_sharpe"] = min(result.sharpe_ratio, result.metrics["daily_sharpe_ratio"])
    found = moments(returns)
    if not found.deviation > 0.0 or len(returns) < 3:
        return known
    ratio = known["annual_sharpe"] / math.sqrt(per_year)
    shape = (found.skewness, found.kurtosis)
    if ratio > 0.0:
        known["needed_years"] = min_track_record(ratio, *shape) / per_year
        known["luck_years"] = min_backtest_length(max(1, n_trials), known["annual_sharpe"])
    trials = max(1, n_trials)
    known["psr"] = probabilistic_sharpe(ratio, len(returns), *shape)
    known["dsr0"] = deflated_sharpe_null(ratio, len(returns), *shape, trials)
    if sharpe_variance:
        known["dsr"] = deflated_sharpe(ratio, len(returns), *shape, trials, sharpe_variance)
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in known.items()}


def _is_autocorrelated(result: BacktestResult) -> bool:
    """Whether the Sharpe ratios of daily and of bar returns are further apart than independent returns would be."""
    daily = result.metrics["daily_sharpe_ratio"]
    return daily is not None and abs(daily - result.sharpe_ratio) > _AUTOCORRELATED * abs(result.sharpe_ratio)


def _returns_of(result: BacktestResult) -> FloatArray:
    return bar_returns(result.equity_curve, result.initial_capital)


def _silent(step: str, done: int, total: int) -> None:
    """Nobody listens."""
