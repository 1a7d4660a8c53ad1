"""Many parameter rows over the same candles, on all cores: summaries only, equal to single runs to the bit.

The rows share everything that can be shared: candles, indicator columns (one per distinct period) and crossings.
Threads take ranges of rows; the kernel holds no lock and allocates nothing, so two cores do twice the work of one.
Results never depend on the number of threads or the size of a batch.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from barwise.backends import Backend, checked_workers
from barwise.config import ExecutionConfig
from barwise.core import metrics
from barwise.core.curve import bar_returns
from barwise.core.figures import YEAR_MS
from barwise.core.kernel import simulate, simulate_rows
from barwise.core.layout import (
    NO_EVENT,
    NO_RECORDS,
    PLAN,
    SUMMARY,
    FloatArray,
    IntArray,
    Orders,
    RecordArray,
    event_codes,
    fresh_states,
)
from barwise.data.candles import Candles
from barwise.engine import (
    announce_compilation,
    checked_execution,
    checked_strategy,
    checked_trade_from,
    complete_plan,
    first_usable_bar,
    too_few_bars,
)
from barwise.errors import BarwiseError, ConfigError, did_you_mean
from barwise.prepare import Prepared, as_candles, parameter_records, prepare, resolved_fees
from barwise.strategy.base import PlanRows, Strategy
from barwise.strategy.lookahead import quick_check
from barwise.strategy.shared_lines import SharedLines
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    import polars

# Rows planned and simulated at a time: bounds the memory of their events, whatever the number of rows.
BATCH = 8192
# Lines that batches of rows leave to the next ones are given up above this many bytes.
_LINE_BYTES = 1 << 29
# Less than this many bars times rows is done before a second thread has started.
_WORTH_THREADS = 200_000
# A thread takes this share of what is left; late, small shares even out rows of unequal cost.
_SHARES_PER_THREAD = 8
# Parts of a batch for each worker of a backend: more even out their times, fewer share more of the planning.
_PARTS_PER_WORKER = 2
_GRID_EXAMPLE = 'for example grid={"ema_fast": range(5, 30)}.'
_COLUMN_TYPES: dict[Any, Any] = {int: np.int64, float: np.float64, bool: np.bool_}


@dataclass(frozen=True, eq=False)
class SweepResult:
    """Summaries of a sweep, one per row.

    Attributes:
        columns: The parameters that varied, one array each.
        summaries: SUMMARY records (core.layout), one per row.
        initial_capital, bars_per_year, years: What the metrics are annualised with; years is one value per row.
        starts: First signal bar each row could use, int64.
        sweeper: What it was run with.
    """

    columns: Mapping[str, Any]
    summaries: Any
    initial_capital: float
    bars_per_year: float
    years: FloatArray
    starts: IntArray
    sweeper: "Sweeper"

    def __len__(self) -> int:
        return int(self.summaries.size)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Headline metrics by name, one array each; the same numbers a single run reports."""
        return metrics.headline(self.summaries, self.initial_capital, self.bars_per_year, self.years)

    def best(self, metric: str = "sharpe_ratio") -> dict[str, Any]:
        """Parameters of the row with the highest value of a metric; the first of equals.

        Rows without a trade are passed over: their ratios are 0, which would beat every loss.

        Raises:
            ConfigError: There is no such metric, or no row traded.
        """
        if metric not in self.metrics:
            raise ConfigError(f"{metric} is not a metric of a sweep.{did_you_mean(metric, self.metrics)}")
        traded = self.metrics["total_trades"] > 0
        if not traded.any():
            raise ConfigError("no row of the sweep made a trade.", hint="widen the grid or use a longer span.")
        row = int(np.argmax(np.where(traded, self.metrics[metric], -np.inf)))
        return {name: values[row].item() for name, values in self.columns.items()}

    def frame(self) -> "polars.DataFrame":
        """Parameters and metrics as a polars frame, one row per row of the sweep."""
        import polars

        return polars.DataFrame({**self.columns, **self.metrics})


def sweep(
    candles: Any,
    strategy: Strategy | None = None,
    qty: float = 1.0,
    *,
    rows: "Sequence[Mapping[str, Any]] | Mapping[str, Any] | None" = None,
    grid: Mapping[str, Iterable[Any]] | None = None,
    execution: ExecutionConfig | None = None,
    detail: Any = None,
    funding: Iterable[tuple[int, float]] | None = None,
    trade_from: int | None = None,
    exchange: str = "",
    symbol: str = "",
    timeframe: "str | Timeframe | None" = None,
    workers: int | None = None,
    check_lookahead: bool = True,
) -> SweepResult:
    """Run a strategy with many parameter rows over the same candles.

    Args:
        rows: Columns by parameter name, one value per row each (fastest), or one mapping per row.
        grid: Values by parameter name; every combination is a row. Give rows or grid.
        workers: Threads; None = all cores.
        candles, strategy, qty, execution, detail, funding, trade_from, exchange, symbol, timeframe, check_lookahead: As
            in `backtest`; `strategy` holds the parameters that do not vary.

    Raises:
        ConfigError: An unknown parameter, a value out of bounds, columns of different length.
        DataError: The candles are broken or too few for a row.
    """
    sweeper = Sweeper(
        candles, strategy, qty, execution=execution, detail=detail, funding=funding, trade_from=trade_from,
        exchange=exchange, symbol=symbol, timeframe=timeframe, workers=workers, check_lookahead=check_lookahead,
    )  # fmt: skip
    return sweeper.sweep(checked_columns(type(sweeper.strategy), rows, grid))


class Sweeper:
    """Candles, rules and costs made ready once for any number of sweeps; the arguments are those of `sweep`.

    With a `backend` the rows are spread over its workers, with `on_gpu` they run on the graphics card: there the last
    digits may differ, so whoever reports such a row runs it again here.

    A sweep can also be run in steps: `start` makes a run of some rows, `advance` takes it (or some of its rows) to a
    later bar and says what each row would show if it ended there. Going on costs the bars in between and no more.
    """

    def __init__(
        self,
        candles: Any,
        strategy: Strategy | None = None,
        qty: float = 1.0,
        *,
        execution: ExecutionConfig | None = None,
        detail: Any = None,
        funding: Iterable[tuple[int, float]] | None = None,
        trade_from: int | None = None,
        exchange: str = "",
        symbol: str = "",
        timeframe: "str | Timeframe | None" = None,
        workers: int | None = None,
        check_lookahead: bool = True,
        backend: Backend | None = None,
        on_gpu: bool = False,
    ) -> None:
        self.strategy, self.execution = checked_strategy(strategy), checked_execution(execution)
        self.threads = checked_workers(workers)
        self.candles = as_candles(candles, exchange, symbol, timeframe)
        settlements = None if funding is None else list(funding)
        self.prepared = prepare(self.candles, detail, settlements)
        self.fees = resolved_fees(self.execution, self.candles.exchange)
        self._lines = SharedLines(self.prepared.session_vwap)
        self.quantity = qty
        self.trade_from = trade_from
        self.on_gpu = on_gpu
        self.detail = self.prepared.execution_candles if detail is not None else None
        self.funding = settlements
        announce_compilation()
        if check_lookahead:
            quick_check(self.strategy, self.candles)
        # Threads of this process need no copy: the kernel holds no lock. Other backends get one per worker.
        self._backend = None if backend is None or backend.name == "threads" else backend
        self._shared = None if self._backend is None else self._backend.share(self)

    def __reduce__(self) -> tuple[Any, ...]:
        setup = (self.candles, self.strategy, self.quantity, self.execution, self.detail, self.funding, self.trade_from)
        return _on_one_thread, setup

    @property
    def bars(self) -> int:
        """Signal bars, the warm-up included."""
        return len(self.candles)

    def sweep(self, columns: Mapping[str, Any]) -> SweepResult:
        """Run rows to the last bar.

        Args:
            columns: From `checked_columns`, or arrays of the declared types that the strategy accepts.
        """
        n_rows = len(next(iter(columns.values())))
        self.strategy.check_rows(_full_columns(self.strategy, columns, n_rows))
        summaries = np.empty(n_rows, SUMMARY)
        starts = np.empty(n_rows, np.int64)
        for first in range(0, n_rows, BATCH):
            batch = slice(first, min(first + BATCH, n_rows))
            run = self.start({name: column[batch] for name, column in columns.items()})
            starts[batch] = run.starts
            summaries[batch] = self.advance(run, self.bars, keep=False)
        return self.result(columns, summaries, starts, self.bars)

    def start(self, columns: Mapping[str, Any], trade_from: int | None = None) -> "Run":
        """Plans and parameters of up to `BATCH` rows, of which nothing has run yet.

        Args:
            columns: As in `sweep`.
            trade_from: First signal bar whose signal may be used; None = the sweeper's own.

        Raises:
            DataError: Too few bars for the indicators of a row; on another backend than threads `advance` raises it.
        """
        n_rows = len(next(iter(columns.values())))
        first = self.trade_from if trade_from is None else trade_from
        if self._backend is not None:
            starts = np.zeros(n_rows, np.int64)
            return Run(columns, first, None, None, starts, np.zeros(n_rows, SUMMARY), fresh_states(n_rows))
        return self._planned(columns, first)

    def _planned(self, columns: Mapping[str, Any], first: int | None) -> "Run":
        """A run whose rows are planned in this process."""
        n_rows = len(next(iter(columns.values())))
        signal = self.strategy.signal_parameters()
        rules = {name: column for name, column in columns.items() if name not in signal}
        varied = {name: column for name, column in columns.items() if name in signal}
        params = parameter_records(
            n_rows, self.strategy, rules, self.execution, self.fees, self.quantity, self.prepared.ratio,
            self.prepared.steps,
        )  # fmt: skip
        if self._lines.nbytes > _LINE_BYTES:
            self._lines = SharedLines(self.prepared.session_vwap)
        planned = _plan_rows(self.strategy, self.prepared, self._lines, varied, n_rows, first)
        starts = planned.plans["start"][planned.plan_of_row]
        if starts.max() > self.bars - 2:
            row = int(starts.argmax())
            changed = {name: column[row].item() for name, column in columns.items()}
            raise too_few_bars(self.strategy.replace(**changed), self.candles)
        return Run(columns, first, planned, params, starts, np.zeros(n_rows, SUMMARY), fresh_states(n_rows))

    def advance(self, run: "Run", stop: int, rows: IntArray | None = None, keep: bool = True) -> RecordArray:
        """Take rows of a run to signal bar `stop`, and look at what they show if they end there.

        Args:
            run: From `start`; with `keep` its states are moved on.
            stop: One past the last signal bar, later than where the rows stand.
            rows: Which rows, None = all.
            keep: Whether the rows may be taken further later; False saves the copy that needs.

        Returns:
            SUMMARY records, one per row asked for, positions closed at the last close before `stop`.
        """
        whole = rows is None
        rows = np.arange(run.starts.size) if rows is None else rows
        if self._backend is not None:
            return self._advance_elsewhere(run, stop, rows, keep)
        assert run.planned is not None
        assert run.params is not None
        plan_of_row = run.planned.plan_of_row if whole else run.planned.plan_of_row[rows]
        params = run.params if whole else run.params[rows]
        # A plain copy takes a twentieth of the time of one row after another.
        summaries = run.summaries.copy() if whole else run.summaries[rows]
        states = run.states.copy() if whole else run.states[rows]
        if keep:
            # The last bar that has execution bars is left for the closing look, which closes in it.
            act = self.prepared.market.act
            pause = int(np.searchsorted(act, act[stop - 1]))
            begun = np.flatnonzero(run.starts[rows] < pause)  # a row that starts later has nothing to be moved on
            if begun.size:
                moved, left = summaries[begun], states[begun]
                self._simulate(run.planned, plan_of_row[begun], params[begun], moved, left, pause, False)
                summaries[begun], states[begun] = moved, left
                run.summaries[rows[begun]], run.states[rows[begun]] = moved, left
        self._simulate(run.planned, plan_of_row, params, summaries, states, stop, True)
        return summaries

    def bar_returns(self, columns: Mapping[str, Any], trade_from: int | None = None, stop: int | None = None) -> Any:
        """Bar returns of many rows, float32 [rows, bars], 0 while flat and before a row's own first bar.

        Args:
            columns: As in `sweep`.
            trade_from: First signal bar; None = the earliest first bar of the rows, and each row's own within.
            stop: One past the last signal bar; None = all.
        """
        n_rows, stop = len(next(iter(columns.values()))), self.bars if stop is None else stop
        found: list[FloatArray] = []
        for at in range(0, n_rows, BATCH):
            run = self._planned({name: column[at : at + BATCH] for name, column in columns.items()}, trade_from)
            found += [self._returns_of(run, row, stop) for row in range(run.starts.size)]
        longest = max(series.size for series in found)
        returns = np.zeros((n_rows, longest), np.float32)
        for row, series in enumerate(found):
            returns[row, longest - series.size :] = series
        return returns

    def _returns_of(self, run: "Run", row: int, stop: int) -> FloatArray:
        """Bar returns of one row from its first bar on."""
        assert run.planned is not None
        assert run.params is not None
        planned, plan = run.planned, run.planned.plans[run.planned.plan_of_row[row]]
        events = slice(plan["first_event"], plan["first_event"] + plan["events"])
        anchor, vwap, risk = (planned.lines[plan[f"{name}_line"]] for name in ("anchor", "vwap", "risk"))
        orders = Orders(planned.event_bars[events], planned.event_codes[events], anchor, vwap, risk)
        first = int(run.starts[row])
        equity, low_mark = np.empty(stop - first), np.empty(stop - first)
        records = NO_RECORDS._replace(equity=equity, low_mark=low_mark)
        summary, state = np.zeros(1, SUMMARY), fresh_states(1)
        simulate(self.prepared.market, orders, run.params[row], first, stop, records, summary[0], state[0], True)
        return bar_returns(equity, self.execution.initial_capital)

    def result(self, columns: Mapping[str, Any], summaries: RecordArray, starts: IntArray, stop: int) -> SweepResult:
        """Summaries with what their metrics are annualised with, as if the data ended at signal bar `stop`."""
        candles = self.candles
        elapsed = candles.time[stop - 1] - candles.time[starts] + candles.timeframe.ms
        return SweepResult(
            columns,
            summaries,
            self.execution.initial_capital,
            candles.timeframe.bars_per_year(candles.calendar),
            elapsed / YEAR_MS,
            starts,
            self,
        )

    def _advance_elsewhere(self, run: "Run", stop: int, rows: IntArray, keep: bool) -> RecordArray:
        """`advance` on the workers of a backend: each plans its own rows, and the states travel."""
        assert self._backend is not None
        assert self._shared is not None
        parts = np.array_split(rows, min(rows.size, self._backend.workers * _PARTS_PER_WORKER))
        tasks = [
            (
                {name: column[part] for name, column in run.columns.items()},
                run.trade_from,
                run.summaries[part],
                run.states[part],
                stop,
                keep,
            )
            for part in parts
        ]
        found = []
        for part, (looked_at, summaries, states, starts) in zip(
            parts, self._backend.map(_advance_part, self._shared, tasks), strict=True
        ):
            run.summaries[part], run.states[part], run.starts[part] = summaries, states, starts
            found.append(looked_at)
        return np.concatenate(found)

    def _simulate(
        self, planned: PlanRows, plan_of_row: IntArray, params: Any, summaries: Any, states: Any, stop: int, close: bool
    ) -> None:
        """Run rows; each thread takes the next share of them until none is left. Or all at once on a graphics card."""
        n_rows = params.size
        if self.on_gpu:
            from barwise.core.gpu import simulate_rows_on_gpu

            simulate_rows_on_gpu(
                self.prepared.market, planned.lines, planned.plans, planned.event_bars, planned.event_codes,
                plan_of_row, params, stop, summaries, states, close,
            )  # fmt: skip
            return
        threads = self.threads if n_rows * stop > _WORTH_THREADS else 1
        share = max(1, -(-n_rows // (threads * _SHARES_PER_THREAD)))
        shares = itertools.count()

        def work() -> None:
            while (first := next(shares) * share) < n_rows:
                simulate_rows(
                    self.prepared.market, planned.lines, planned.plans, planned.event_bars, planned.event_codes,
                    plan_of_row, params, stop, first, min(first + share, n_rows), NO_RECORDS, summaries, states, close,
                )  # fmt: skip

        if threads == 1:
            work()
            return
        with ThreadPoolExecutor(threads - 1) as pool:  # this thread is one of them
            others = [pool.submit(work) for _ in range(threads - 1)]
            work()
            for other in others:
                other.result()


class Run(NamedTuple):
    """Rows on their way: what they do, and where each of them stands."""

    columns: Mapping[str, Any]
    trade_from: int | None  # first signal bar of all rows; None = each row's own
    planned: PlanRows | None  # None where the workers of a backend plan
    params: RecordArray | None
    starts: IntArray  # first signal bar each row may use
    summaries: RecordArray
    states: RecordArray


def _on_one_thread(
    candles: Candles, strategy: Strategy, qty: float, execution: ExecutionConfig, detail: Candles | None,
    funding: list[tuple[int, float]] | None, trade_from: int | None,
) -> Sweeper:  # fmt: skip
    """A sweeper in a worker of a backend: its process is one of many already, and its strategy is checked."""
    return Sweeper(
        candles, strategy, qty, execution=execution, detail=detail, funding=funding, trade_from=trade_from, workers=1,
        check_lookahead=False,
    )  # fmt: skip


def _advance_part(sweeper: Sweeper, task: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a worker of a backend does with some rows; a module-level function, so that it can be sent."""
    columns, trade_from, summaries, states, stop, keep = task
    fresh = sweeper.start(columns, trade_from)
    run = fresh._replace(summaries=summaries.copy(), states=states.copy())
    looked_at = sweeper.advance(run, stop, keep=keep)
    return looked_at, run.summaries, run.states, run.starts


def _full_columns(strategy: Strategy, varied: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Every signal parameter as a column: those that vary, and the others' values repeated without taking memory."""
    return {
        name: varied[name] if name in varied else np.broadcast_to(np.asarray(getattr(strategy, name)), (rows,))
        for name in strategy.signal_parameters()
    }


def checked_columns(owner: type[Strategy], rows: Any, grid: Any) -> dict[str, Any]:
    """The varied parameters as checked arrays of one length.

    Args:
        owner: Class of the strategy.
        rows, grid: As in `sweep`.

    Raises:
        ConfigError: An unknown parameter, a value out of bounds, columns of different length.
    """
    if (rows is None) == (grid is None):
        raise ConfigError(
            "sweep needs either rows or grid.",
            hint='for example grid={"ema_fast": range(5, 30)}.',
        )
    if grid is not None:
        if not isinstance(grid, Mapping) or not all(_is_column(choices) for choices in grid.values()):
            raise ConfigError("grid must be a mapping of parameter names to values.", hint=_GRID_EXAMPLE)
        values = {name: list(choices) for name, choices in grid.items()}
        table = list(itertools.product(*values.values()))
        raw = {name: [line[at] for line in table] for at, name in enumerate(values)}
    elif isinstance(rows, Mapping):
        raw = dict(rows)
    else:
        if not _is_column(rows) or not all(isinstance(row, Mapping) for row in rows):
            raise ConfigError("rows must be columns by parameter name, or one mapping per row.", hint=_GRID_EXAMPLE)
        listed = list(rows)
        names = list(listed[0]) if listed else []
        if any(set(row) != set(names) for row in listed):
            raise ConfigError("every row of a sweep must name the same parameters.")
        raw = {name: [row[name] for row in listed] for name in names}
    columns = {name: _column(owner, name, values) for name, values in raw.items()}
    lengths = {name: column.size for name, column in columns.items()}
    if not columns or not all(lengths.values()):
        raise ConfigError("a sweep needs at least one row and one parameter that varies.")
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"the columns of a sweep differ in length: {lengths}.")
    return columns


def _is_column(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping))


def _column(owner: type[Strategy], name: str, values: Any) -> Any:
    """One varied parameter as an array of its declared type, within its declared bounds."""
    field = owner.model_fields.get(name)
    if field is None:
        raise ConfigError(
            f"{name} is not a parameter of {owner.__name__}.{did_you_mean(name, owner.model_fields)}",
            hint=f"the parameters are {', '.join(owner.model_fields)}.",
        )
    declared: Any = field.annotation
    kind: Any = _COLUMN_TYPES.get(declared, np.float64)
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iufb":
        raise ConfigError(f"{name}: a column of numbers is needed; got {given.dtype} of shape {given.shape}.")
    column: Any = given.astype(kind)
    wrong = ~np.isfinite(given) | (column != given)
    for bound in field.metadata:
        for attribute, breaks in (
            ("ge", np.less),
            ("le", np.greater),
            ("gt", np.less_equal),
            ("lt", np.greater_equal),
        ):
            limit = getattr(bound, attribute, None)
            if limit is not None:
                wrong |= breaks(given, limit)
    if wrong.any():
        row = int(wrong.argmax())
        try:
            owner(**{name: given[row].item()})
        except ConfigError as error:
            raise ConfigError(f"row {row} of the sweep: {error.message}", hint=error.hint) from None
        raise ConfigError(f"row {row} of the sweep: {name} must be {kind.__name__}; got {given[row]!r}.")
    return column


def _plan_rows(
    strategy: Strategy,
    prepared: Prepared,
    shared: SharedLines,
    varied: Mapping[str, Any],
    size: int,
    trade_from: int | None,
) -> PlanRows:
    """Plans of a batch: by the strategy's own shared method, or one plan per distinct set of signal parameters."""
    if size > 1:
        full = _full_columns(strategy, varied, size)
        planned = type(strategy).plan_rows(prepared.candles.bars, shared, full)
        if planned is not None:
            if trade_from is not None:
                planned.plans["start"] = checked_trade_from(trade_from, len(prepared.candles))
            return planned
    if not varied:
        return _collect([strategy], prepared, np.zeros(size, np.int64), trade_from)
    keys: dict[tuple[Any, ...], int] = {}
    plan_of_row = np.empty(size, np.int64)
    for row, key in enumerate(zip(*(column.tolist() for column in varied.values()), strict=True)):
        plan_of_row[row] = keys.setdefault(key, len(keys))
    variants = [strategy.replace(**dict(zip(varied, key, strict=True))) for key in keys]
    return _collect(variants, prepared, plan_of_row, trade_from)


def _collect(
    variants: Sequence[Strategy],
    prepared: Prepared,
    plan_of_row: Any,
    trade_from: int | None,
) -> PlanRows:
    """Plans of some strategies as one table; lines that are the same array are kept once."""
    plans = np.zeros(len(variants), PLAN)
    line_of: dict[int, int] = {}
    lines: list[FloatArray] = []
    bars: list[Any] = []
    codes: list[Any] = []
    at = 0
    for row, variant in enumerate(variants):
        try:
            plan = complete_plan(variant, prepared)
        except BarwiseError as error:
            raise type(error)(f"{variant!r}: {error.message}", hint=error.hint) from error
        for name in ("anchor", "vwap", "risk"):
            line = getattr(plan, name)
            if id(line) not in line_of:
                line_of[id(line)] = len(lines)
                lines.append(line)
            plans[row][f"{name}_line"] = line_of[id(line)]
        packed = event_codes(plan.entry, plan.exit)
        events = np.flatnonzero(packed != NO_EVENT)
        bars.append(events.astype(np.int32))
        codes.append(packed[events])
        plans[row]["first_event"], plans[row]["events"] = at, events.size
        plans[row]["start"] = first_usable_bar(plan, variant, prepared.candles, trade_from)
        at += events.size
    return PlanRows(plans, np.stack(lines), np.concatenate(bars), np.concatenate(codes), plan_of_row)
