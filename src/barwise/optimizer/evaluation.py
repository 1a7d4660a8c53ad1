"""From points to trials: each configuration is simulated once, judged rung by rung, and recorded before it is used.

Multi-fidelity is successive halving within a batch: all of it on the first third of the bars, the better half of that
on two thirds, the better half again on all. Every rung starts at the same bar, so that a survivor goes on from where it
stands instead of being simulated anew, and the indicators are warmed up by the bars to the left of all rungs. What is
on record is answered from the record, and a batch is recorded in one piece before anybody learns of it; so a search
that is killed and started again asks the same questions, gets the same answers, and goes on where it was.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core._jit import core_stamp
from barwise.core.layout import SUMMARY, BoolArray, FloatArray, IntArray, RecordArray
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.engine import BacktestEngine
from barwise.optimizer.ledger import Context, DataSet, Known, Ledger, Origin, Rows, configuration_keys
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
        whole = objective.function is not None or len(objective.names) > 1
        self.levels: tuple[float, ...] = (1.0,) if whole else tuple(levels)
        self.bars_simulated = 0
        self._ledger = ledger
        self._span = span
        self._context = context_of(
            sweeper.candles, sweeper.strategy, sweeper.execution, sweeper.fees, sweeper.quantity, sweeper.detail,
            sweeper.funding, sweeper.trade_from, sweeper.on_gpu, span,
        )  # fmt: skip
        self.known = Known() if ledger is None else ledger.known(self._context)
        self.parameter_values = _ParameterValues(sweeper.strategy)
        self.trade_from = sweeper.trade_from if span is None else span[0]
        self.stop = sweeper.bars if span is None else span[1]
        base = self.replayed(sweeper.strategy)
        self.first_bar = base.trade_from
        self.levels = tuple(
            share for share in self.levels if share == 1.0 or share * base.total_trades >= min_rung_trades
        )

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
        if owner.objective.function is not None:
            found = np.zeros(len(rows), np.bool_)  # the record has no results to ask a function about
        self.starts[rows[found]] = first[found]
        missing = np.flatnonzero(~found)
        if not whole:
            missing = missing[~self._too_late(rows[missing], stops)]
        if missing.size:
            summaries[missing] = self._advance(rows[missing], stop, keep=not whole)
        scored: BoolArray = found | whole | (self.starts[rows] <= stop - _LEAST_BARS)
        there, summaries = rows[scored], summaries[scored]
        result = owner.sweeper.result({}, summaries, self.starts[there], stop)
        own = None if owner.objective.function is None else self._ask_function(there)
        score = owner.objective.score(result.metrics, share, own)
        self.steps[there, rung] = score.values[:, 0]
        self.reported[there], self.values[there], self.violation[there] = score
        self.sharpe[there] = result.metrics["sharpe_ratio"]
        self.summaries[there] = summaries
        self.complete[there] = whole
        new = ~found[scored]
        if new.any():
            fresh = there[new]
            metrics = {name: result.metrics[name][new] for name in _RECORDED}
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
            {name: np.concatenate([part[4][name] for part in self.fresh]) for name in _RECORDED},
            np.concatenate([part[5] for part in self.fresh]),
        )
        ledger.record(context, origin, rows)
        known.add(rows)

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

    def _ask_function(self, rows: IntArray) -> FloatArray:
        """The user's function of each row's whole result."""
        objective = self.owner.objective
        found = np.empty((rows.size, 1))
        for at, row in enumerate(rows):
            result = self.owner.replayed(self.space.configured(self.points[row]))
            found[at, 0] = objective.of_result(result)
        return found


_RECORDED = ("total_trades", "net_pnl", "sharpe_ratio", "max_drawdown")


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


class _ParameterValues:
    """Configurations as rows of numbers: the same configuration is the same row, whatever was searched to find it."""

    def __init__(self, strategy: Strategy) -> None:
        self._names = tuple(type(strategy).model_fields)
        self._home = strategy
        self._numeric = tuple(name for name in self._names if _number(getattr(strategy, name)) is not None)

    def columns(self, space: Space, points: FloatArray) -> dict[str, Any]:
        """What `Sweeper.start` needs: what is searched, and whatever else differs from the sweeper's own strategy."""
        columns = space.columns(points)
        for name in self._numeric:
            value = getattr(space.strategy, name)
            if name not in columns and value != getattr(self._home, name):
                columns[name] = np.full(len(points), value)
        return columns or {self._numeric[0]: np.full(len(points), getattr(space.strategy, self._numeric[0]))}

    def matrix(self, space: Space, points: FloatArray) -> FloatArray:
        """float64 [points, parameters], in the order of declaration, NaN for None."""
        columns = space.columns(points)
        values = np.empty((len(points), len(self._numeric)))
        for at, name in enumerate(self._numeric):
            values[:, at] = columns[name] if name in columns else _number(getattr(space.strategy, name))
        return values

    def texts(self, space: Space, points: FloatArray) -> list[str]:
        """Each configuration as a JSON object."""
        columns = space.columns(points)
        constant = {name: value for name, value in space.strategy.to_dict().items() if name not in columns}
        head = json.dumps(constant)[:-1]
        lists = [column.tolist() for column in columns.values()]
        names = [json.dumps(name) for name in columns]
        tail = ", ".join(f"{name}: %r" for name in names)
        return (
            [f"{head}, {tail % values}}}" for values in zip(*lists, strict=True)]
            if lists
            else [head + "}"] * len(points)
        )


def _number(value: Any) -> float | None:
    """A parameter as a number, NaN for None; None where it is no number."""
    if value is None:
        return float("nan")
    return float(value) if isinstance(value, (bool, int, float)) else None


def context_of(
    candles: Candles, strategy: Strategy, execution: ExecutionConfig, fees: FeeSchedule, quantity: float,
    detail: Candles | None, funding: Any, trade_from: int | None, on_gpu: bool = False,
    span: tuple[int, int] | None = None,
) -> Context:  # fmt: skip
    """Everything besides the parameters that could change a result.

    Args:
        quantity: Of every order, as asked for.
        funding: Settlements as given, or None.
        trade_from: As given; None where the strategy's own warm-up decides.
        on_gpu: A graphics card's last digits are not those of the processor, so they are not answered for each other.
        span: (first, stop) of the part that was searched; it is a data set of its own, and the bars before it are
            part of what the result rests on.
        candles, strategy, execution, fees, detail: As in `backtest`.
    """
    kind = type(strategy)
    others = {name: value for name, value in strategy.to_dict().items() if _number(getattr(strategy, name)) is None}
    description = {
        "source": source_digest(kind),
        "core": core_stamp(),
        "device": "gpu" if on_gpu else "cpu",
        "settings": others,
        "execution": execution.to_dict(),
        "fees": fees.to_dict(),
        "quantity": float(quantity),
        "trade_from": trade_from,
        "detail": None if detail is None else detail.fingerprint,
        "funding": None if funding is None else _digest(repr(funding)),
    }
    if span is not None:
        first, stop = span
        description |= {"trade_from": first, "warm_up": candles[:first].fingerprint if first else None}
        candles = candles[first:stop]
    return Context(DataSet.of(candles), f"{kind.__module__}.{kind.__qualname__}", description)


def record_run(
    ledger: Ledger, result: BacktestResult, quantity: float, *, detail: Candles | None = None, funding: Any = None
) -> None:
    """Put a backtest that somebody ran by hand on record: a look at the data is a trial, whoever takes it.

    Args:
        quantity: Of every order, as asked for.
        detail, funding: As they were given to the backtest; one with a `trade_from` of its own is not for here.
    """
    strategy, values = result.strategy, _ParameterValues(result.strategy)
    context = context_of(
        result.candles, strategy, result.execution, result.fees_schedule, quantity, detail, funding, None
    )
    space = Space(strategy, "joint", width=0.0, fixed=tuple(type(strategy).model_fields))
    nothing_searched = np.empty((1, 0))
    rows = Rows(
        configuration_keys(values.matrix(space, nothing_searched)),
        values.texts(space, nothing_searched),
        np.array([result.trade_from], np.int64),
        np.array([len(result.candles)], np.int64),
        result.summary,
        {name: np.array([getattr(result, name)]) for name in _RECORDED},
        np.array([result.sharpe_ratio]),
    )
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-manual"
    ledger.record(context, Origin(run, "manual", "none", None, "sharpe_ratio"), rows)


def source_digest(kind: type) -> str:
    """Hash of what a strategy does: the files its own classes are written in, and the code of their methods.

    The code is there for classes without a file (typed into a notebook, made by a function): with it go the constants
    and the functions of the same module that it uses, and the values a function around it gave it. What is imported
    from other modules is not followed.
    """
    parts: list[str] = []
    for own in kind.__mro__:
        if own not in Strategy.__mro__:
            parts.append(_source_text(own))
            for name, member in sorted(vars(own).items()):
                parts.append(name)
                parts.extend(_what_it_does(member, own.__module__, set()))
    return _digest("\n".join(parts))


def _source_text(kind: type) -> str:
    try:
        file = inspect.getsourcefile(kind)
        if file is not None and Path(file).is_file():
            return Path(file).read_text(encoding="utf-8")
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _what_it_does(member: Any, module: str, seen: set[int]) -> Iterator[str]:
    """A value as texts that are the same in every process: plain values, and functions by their code."""
    for wrapper in ("__func__", "fget", "wrapped"):
        member = getattr(member, wrapper, member)
    if isinstance(member, (bool, int, float, str, bytes, type(None))):
        yield repr(member)
    elif isinstance(member, (tuple, frozenset)):
        # A set has another order in every process.
        texts = ["\n".join(_what_it_does(item, module, seen)) for item in member]
        yield from texts if isinstance(member, tuple) else sorted(texts)
    elif isinstance(member, np.ndarray) and member.dtype.kind in "biuf":
        yield f"{member.dtype} {member.shape} {member.tolist()}"
    elif isinstance(member, CodeType):
        yield member.co_code.hex()
        yield from member.co_names
        yield from _what_it_does(member.co_consts, module, seen)
    elif isinstance(member, FunctionType) and member.__module__ == module and id(member) not in seen:
        seen.add(id(member))
        yield from _what_it_does(member.__code__, module, seen)
        inside = inspect.getclosurevars(member)
        for name, value in sorted({**inside.globals, **inside.nonlocals}.items()):
            yield name
            yield from _what_it_does(value, module, seen)
        yield from _what_it_does(member.__defaults__, module, seen)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parameter_columns(home: Strategy, configurations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Configurations as the columns a sweep takes: whatever numbers differ from those of the sweep's own strategy.

    Args:
        home: The sweep's own strategy.
        configurations: All parameters by name, one mapping each; at least one.
    """
    columns = {}
    for name in type(home).model_fields:
        values = [configuration[name] for configuration in configurations]
        if _number(getattr(home, name)) is not None and any(value != getattr(home, name) for value in values):
            columns[name] = np.array(values)
    if not columns:
        name = next(name for name in type(home).model_fields if _number(getattr(home, name)) is not None)
        columns[name] = np.full(len(configurations), getattr(home, name))
    return columns
