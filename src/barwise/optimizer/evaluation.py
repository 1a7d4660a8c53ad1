"""From points to trials: each configuration is simulated once, judged rung by rung, and recorded before it is used.

Multi-fidelity is successive halving within a batch: all of it on the first third of the bars, the better half of that
on two thirds, the better half again on all. Every rung starts at the same bar, so that a survivor goes on from where it
stands instead of being simulated anew, and the indicators are warmed up by the bars to the left of all rungs. What is
on record is answered from the record, and a batch is recorded in one piece before anybody learns of it; so a search
that is killed and started again asks the same questions, gets the same answers, and goes on where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core.layout import SUMMARY, BoolArray, FloatArray, IntArray, RecordArray
from barwise.engine import BacktestEngine
from barwise.optimizer.identity import ParameterValues, as_number, context_of, function_digest
from barwise.optimizer.ledger import (
    RECORDED_METRICS,
    Answers,
    Context,
    Known,
    Ledger,
    Origin,
    Rows,
    configuration_keys,
)
from barwise.optimizer.objective import Objective, order
from barwise.optimizer.space import Space
from barwise.optimizer.trials import Trials
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.sweeping import Run, Sweeper

# A rung must leave a row this many bars to trade in, else the row passes it unjudged.
_LEAST_BARS = 50
# Smaller batches are not halved: the better half of two is a coin.
_LEAST_TO_HALVE = 4


def rungs_worth_it(levels: Sequence[float], trades: int, least: int) -> tuple[float, ...]:
    """The rungs on which there is something to judge by, and the last one, which is all bars.

    Args:
        levels: Shares of the bars per rung, rising to 1.
        trades: Of the strategy that the search starts from, over all bars.
        least: So many of them must be expected on a rung.
    """
    return tuple(share for share in levels if share == 1.0 or share * trades >= least)


class Evaluator:
    """Evaluates points of any space over the same candles.

    Args:
        sweeper: Candles, rules and costs.
        objective: What is maximised.
        levels: Shares of the bars per rung, rising to 1.
        ledger: Where evaluations are recorded and looked up; None records nothing, for markets that are not real.
        batch_size: Rows simulated at a time, at most; bounds memory and changes nothing else.
        span: (first, stop) signal bars, to search in a part of the candles with all bars before it as warm-up; None =
            from each row's own warm-up to the last bar.
        min_rung_trades: Rungs on which the sweeper's own strategy would have fewer trades are left out: a handful of
            trades ranks nothing, and where trades are few the bars are soon run.

    Attributes:
        levels: Shares of the bars per rung that are left.
        known: What is on record for these candles, rules and costs.
        digests: Of the user's functions; None where it cannot be told what one does.
        first_bar: Where the rungs begin: the span's first bar, or the first one the sweeper's own strategy may use.
        stop: One past the last signal bar.

    Raises:
        DataError: Too few bars for the sweeper's own strategy.
    """

    def __init__(
        self,
        sweeper: Sweeper,
        objective: Objective,
        levels: Sequence[float],
        ledger: Ledger | None,
        batch_size: int,
        span: tuple[int, int] | None = None,
        min_rung_trades: int = 0,
    ) -> None:
        self.sweeper = sweeper
        self.objective = objective
        self.batch_size = batch_size
        # A user's function needs the whole result, and several objectives have no better half.
        whole = bool(objective.functions) or len(objective.names) > 1
        self.levels: tuple[float, ...] = (1.0,) if whole else tuple(levels)
        self.bars_simulated = 0
        self._ledger = ledger
        self._span = span
        self._context = context_of(
            sweeper.candles, sweeper.strategy, sweeper.execution, sweeper.fees, sweeper.quantity, sweeper.detail,
            sweeper.funding, sweeper.trade_from, sweeper.on_gpu, span,
        )  # fmt: skip
        # Taken now, before a function that counts its calls has been called.
        self.digests = [function_digest(function) for function in objective.functions.values()]
        sources = [digest for digest in self.digests if digest is not None]
        self.known = Known() if ledger is None else ledger.known(self._context, sources)
        self.parameter_values = ParameterValues(sweeper.strategy)
        self.trade_from = sweeper.trade_from if span is None else span[0]
        self.stop = sweeper.bars if span is None else span[1]
        base = self.replayed(sweeper.strategy)
        self.first_bar = base.trade_from
        self.levels = rungs_worth_it(self.levels, base.total_trades, min_rung_trades)

    def evaluate(self, space: Space, points: FloatArray, origin: Origin, *, halve: bool = True) -> Trials:
        """Trials of a batch of valid points, in its order; equal points are simulated once.

        Args:
            halve: Give up the worse half at each rung; False takes every point through all bars at once.
        """
        keys = configuration_keys(self.parameter_values.matrix(space, points))
        distinct: dict[bytes, int] = {}
        of_row = np.array([distinct.setdefault(key, len(distinct)) for key in keys], dtype=np.int64)
        first_rows = np.unique(of_row, return_index=True)[1]
        batch = _Batch(self, space, points[first_rows], [keys[row] for row in first_rows])
        levels = self.levels if halve and len(first_rows) >= _LEAST_TO_HALVE else (1.0,)
        stops = self._stops(levels)
        alive: IntArray = np.arange(len(first_rows))
        for at, share in enumerate(levels):
            last = at == len(levels) - 1
            judged = batch.judge(alive, at + len(self.levels) - len(levels), share, stops[at:])
            if not last:
                alive = _better_half(batch, alive, judged)
        if self._ledger is not None:
            batch.record(self._ledger, self._context, self.known, origin)
        self.bars_simulated += int(batch.bars.sum())
        trials = batch.trials()
        repeated = np.ones(len(keys), dtype=bool)
        repeated[first_rows] = False
        spread = trials.taken(of_row)
        spread.bars[repeated] = 0
        return spread

    def full_bars(self, trials: int) -> int:
        """Signal bars that so many full evaluations cost, warm-up not counted."""
        return trials * (self.stop - self.first_bar)

    def on(self, sweeper: Sweeper) -> "Evaluator":
        """The same evaluation, of all bars at once, by another sweeper of the same candles."""
        return Evaluator(sweeper, self.objective, (1.0,), self._ledger, self.batch_size, self._span)

    def replayed(self, strategy: Strategy) -> BacktestResult:
        """The plain backtest of one configuration over the same bars."""
        return replay(self.sweeper, strategy, self.trade_from, self.stop)

    def _stops(self, levels: Sequence[float]) -> list[int]:
        """The bar each rung ends at; the last is the end of the data."""
        first, stop = self.first_bar, self.stop
        return [stop if share == 1.0 else first + round(share * (stop - first)) for share in levels]


class _Batch:
    """The distinct points of one batch on their way through the rungs."""

    def __init__(self, owner: Evaluator, space: Space, points: FloatArray, keys: list[bytes]) -> None:
        n, rungs, objectives = len(points), len(owner.levels), len(owner.objective.names)
        self.owner, self.space, self.points, self.keys = owner, space, points, keys
        self.columns = owner.parameter_values.columns(space, points)
        self.runs: list[tuple[slice, Run]] | None = None
        self.reached = np.zeros(n, np.int64)  # bar up to which a row was simulated here
        self.starts = np.zeros(n, np.int64)
        self.bars = np.zeros(n, np.int64)
        self.steps = np.full((n, rungs), np.nan)
        self.reported = np.full((n, objectives), np.nan)
        self.values = np.full((n, objectives), np.nan)
        self.violation = np.full(n, np.inf)
        self.sharpe = np.zeros(n)
        self.summaries: RecordArray = np.zeros(n, SUMMARY)
        self.complete = np.zeros(n, np.bool_)
        self.fresh: list[tuple[IntArray, int, RecordArray, IntArray, Mapping[str, Any], FloatArray]] = []
        self.answers: list[Answers] = []

    def judge(self, rows: IntArray, rung: int, share: float, stops: Sequence[int]) -> BoolArray:
        """Take rows to a rung and score them there; which of them were scored (a row may start too late for it).

        Args:
            rows: Those that are alive.
            rung, share: Which rung, and its share of the bars.
            stops: The bar it ends at, and those of the rungs after it.
        """
        owner, stop = self.owner, stops[0]
        whole = len(stops) == 1
        found, first, summaries = owner.known.get([self.keys[row] for row in rows], stop)
        self.starts[rows[found]] = first[found]
        missing = np.flatnonzero(~found)
        if not whole:
            missing = missing[~self._too_late(rows[missing], stops)]
        if missing.size:
            summaries[missing] = self._advance(rows[missing], stop, keep=not whole)
        scored: BoolArray = found | whole | (self.starts[rows] <= stop - _LEAST_BARS)
        there, summaries = rows[scored], summaries[scored]
        result = owner.sweeper.result({}, summaries, self.starts[there], stop)
        answers = self._answers(there, stop) if owner.objective.functions else None
        score = owner.objective.score(result.metrics, share, answers)
        self.steps[there, rung] = score.values[:, 0]
        self.reported[there], self.values[there], self.violation[there] = score
        self.sharpe[there] = result.metrics["sharpe_ratio"]
        self.summaries[there] = summaries
        self.complete[there] = whole
        new = ~found[scored]
        if new.any() or self.answers:
            fresh = there[new]
            metrics = {name: result.metrics[name][new] for name in RECORDED_METRICS}
            self.fresh.append((fresh, stop, summaries[new], self.starts[fresh], metrics, score.reported[new, 0]))
        return scored

    def record(self, ledger: Ledger, context: Context, known: Known, origin: Origin) -> None:
        """Write down what was simulated here, in one transaction."""
        if not self.fresh:
            return
        indexes = np.concatenate([part[0] for part in self.fresh])
        texts = self.owner.parameter_values.texts(self.space, self.points)
        rows = Rows(
            [self.keys[row] for row in indexes],
            [texts[row] for row in indexes],
            np.concatenate([part[3] for part in self.fresh]),
            np.concatenate([np.full(part[0].size, part[1], np.int64) for part in self.fresh]),
            np.concatenate([part[2] for part in self.fresh]),
            {name: np.concatenate([part[4][name] for part in self.fresh]) for name in RECORDED_METRICS},
            np.concatenate([part[5] for part in self.fresh]),
        )
        ledger.record(context, origin, rows, self.answers)
        known.add(rows)
        for answers in self.answers:
            known.add_answers(answers)

    def trials(self) -> Trials:
        n = len(self.points)
        return Trials(
            self.points, self.reported, self.values, self.violation, self.steps, self.complete, self.bars, self.sharpe,
            self.summaries, np.zeros(n, np.int64), np.zeros(n),
        )  # fmt: skip

    def _begin(self) -> None:
        if self.runs is not None:
            return
        size = self.owner.batch_size
        pieces = [slice(at, min(at + size, len(self.points))) for at in range(0, len(self.points), size)]
        self.runs = [
            (
                piece,
                self.owner.sweeper.start(
                    {name: column[piece] for name, column in self.columns.items()}, self.owner.trade_from
                ),
            )
            for piece in pieces
        ]
        for piece, run in self.runs:
            if run.planned is not None:
                self.starts[piece] = run.starts

    def _too_late(self, rows: IntArray, stops: Sequence[int]) -> BoolArray:
        """Which rows are known to start too late for the first of these stops: they pass it, and need not be run."""
        known = self.owner.known
        for stop in stops[1:]:
            found, first, _ = known.get([self.keys[row] for row in rows], stop)
            self.starts[rows[found]] = first[found]
        late: BoolArray = self.starts[rows] > stops[0] - _LEAST_BARS
        if not late.all():
            self._begin()
            late = self.starts[rows] > stops[0] - _LEAST_BARS
        return late

    def _advance(self, rows: IntArray, stop: int, *, keep: bool) -> RecordArray:
        self._begin()
        assert self.runs is not None
        found = np.empty(rows.size, SUMMARY)
        for piece, run in self.runs:
            mine = np.flatnonzero((rows >= piece.start) & (rows < piece.stop))
            if mine.size:
                own = rows[mine] - piece.start
                found[mine] = self.owner.sweeper.advance(run, stop, own, keep)
                self.starts[rows[mine]] = run.starts[own]  # another backend plans only now
        self.bars[rows] += np.maximum(0, stop - np.maximum(self.reached[rows], self.starts[rows]))
        if keep:
            self.reached[rows] = stop
        return found

    def _answers(self, rows: IntArray, stop: int) -> FloatArray:
        """What the user's functions say of each row's whole result, float64 [rows, functions].

        Where the record has all answers to a row it is not asked for again; else it is run here, one after the other.
        """
        owner, keys, first = self.owner, [self.keys[row] for row in rows], self.starts[rows]
        known = np.zeros((rows.size, len(owner.digests)), np.bool_)
        found = np.full(known.shape, np.nan)
        for at, digest in enumerate(owner.digests):
            if digest is not None:
                known[:, at], found[:, at] = owner.known.answers(digest, keys, first, stop)
        asked = np.flatnonzero(~known.all(axis=1))
        for row in asked:
            result = owner.replayed(self.space.configured(self.points[rows[row]]))
            found[row] = np.where(known[row], found[row], owner.objective.of_result(result))
        # The same bars count once, whether a row was run for its summary as well or for the functions alone.
        self.bars[rows[asked]] = stop - first[asked]
        for at, (name, digest) in enumerate(zip(owner.objective.functions, owner.digests, strict=True)):
            new = asked[~known[asked, at]]
            if digest is not None and new.size:
                stops = np.full(new.size, stop, np.int64)
                self.answers.append(
                    Answers(name, digest, [keys[row] for row in new], first[new], stops, found[new, at])
                )
        return found


def replay(
    sweeper: Sweeper,
    strategy: Strategy,
    trade_from: int | None = None,
    stop: int | None = None,
    execution: ExecutionConfig | None = None,
) -> BacktestResult:
    """The plain backtest of one configuration on the sweeper's candles.

    Args:
        trade_from: First signal bar whose signal may be used; None = the sweeper's own.
        stop: One past the last signal bar; None = all.
        execution: Other costs or capital than the sweeper's.
    """
    candles = sweeper.candles if stop is None or stop == sweeper.bars else sweeper.candles[:stop]
    return BacktestEngine(
        candles, strategy, sweeper.quantity, execution=execution or sweeper.execution, detail=sweeper.detail,
        funding=sweeper.funding, trade_from=sweeper.trade_from if trade_from is None else trade_from,
        check_lookahead=False,
    ).run()  # fmt: skip


def _better_half(batch: _Batch, alive: IntArray, judged: BoolArray) -> IntArray:
    """The better half of the rows a rung has judged, and those it could not judge, in their order."""
    rows = alive[judged]
    best = rows[order(batch.values[rows], batch.violation[rows])][: -(-rows.size // 2)]
    return np.sort(np.concatenate([best, alive[~judged]]))


def parameter_columns(home: Strategy, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Configurations as the columns a sweep takes: whatever numbers differ from those of the sweep's own strategy.

    Args:
        home: The sweep's own strategy.
        configurations: All parameters by name, one mapping each; at least one.
    """
    columns = {}
    for name in type(home).model_fields:
        values = [configuration[name] for configuration in configurations]
        if as_number(getattr(home, name)) is not None and any(value != getattr(home, name) for value in values):
            columns[name] = np.array(values)
    if not columns:
        name = next(name for name in type(home).model_fields if as_number(getattr(home, name)) is not None)
        columns[name] = np.full(len(configurations), getattr(home, name))
    return columns
