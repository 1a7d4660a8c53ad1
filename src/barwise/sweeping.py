"""Many parameter rows over the same candles, on all cores: summaries only, equal to single runs to the bit.

The rows share everything that can be shared: candles, indicator columns (one per distinct period) and crossings.
Threads take ranges of rows; the kernel holds no lock and allocates nothing, so two cores do twice the work of one.
Results never depend on the number of threads or the size of a batch.
"""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core import metrics
from barwise.core.figures import YEAR_MS
from barwise.core.kernel import simulate_rows
from barwise.core.layout import (
    NO_EVENT,
    NO_RECORDS,
    PLAN,
    SUMMARY,
    FloatArray,
    event_codes,
    fresh_states,
)
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
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    import polars

# Rows planned and simulated at a time: bounds the memory of their events, whatever the number of rows.
_BATCH = 8192
# A thread takes this share of what is left; late, small shares even out rows of unequal cost.
_SHARES_PER_THREAD = 8
_GRID_EXAMPLE = 'for example grid={"ema_fast": range(5, 30)}.'
_COLUMN_TYPES: dict[Any, Any] = {int: np.int64, float: np.float64, bool: np.bool_}


@dataclass(frozen=True, eq=False)
class SweepResult:
    """Summaries of a sweep, one per row.

    Attributes:
        columns: The parameters that varied, one array each.
        summaries: SUMMARY records (core.layout), one per row.
        initial_capital, bars_per_year, years: What the metrics are annualised with; years is one value per row.
    """

    columns: Mapping[str, Any]
    summaries: Any
    initial_capital: float
    bars_per_year: float
    years: FloatArray

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
    strategy, execution = checked_strategy(strategy), checked_execution(execution)
    columns = _columns(type(strategy), rows, grid)
    n_rows = len(next(iter(columns.values())))
    threads = _threads(workers)
    strategy.check_rows(_full_columns(strategy, columns, n_rows))
    candles = as_candles(candles, exchange, symbol, timeframe)
    prepared = prepare(candles, detail, funding)
    announce_compilation()
    if check_lookahead:
        quick_check(strategy, candles)
    signal = strategy.signal_parameters()
    rules = {name: column for name, column in columns.items() if name not in signal}
    params = parameter_records(
        n_rows, strategy, rules, execution, resolved_fees(execution, candles.exchange), qty, prepared.ratio,
        prepared.steps,
    )  # fmt: skip
    summaries = np.zeros(n_rows, SUMMARY)
    starts = np.empty(n_rows, np.int64)
    for first in range(0, n_rows, _BATCH):
        batch = slice(first, min(first + _BATCH, n_rows))
        size = batch.stop - batch.start
        varied = {name: column[batch] for name, column in columns.items() if name in signal}
        planned = _plan_rows(strategy, prepared, varied, size, trade_from)
        starts[batch] = planned.plans["start"][planned.plan_of_row]
        if starts[batch].max() > len(candles) - 2:
            row = batch.start + int(starts[batch].argmax())
            changed = {name: column[row].item() for name, column in columns.items()}
            raise too_few_bars(strategy.replace(**changed), candles)
        _run(prepared, planned, params[batch], summaries[batch], len(candles), threads)
    elapsed = candles.time[-1] - candles.time[starts] + candles.timeframe.ms
    return SweepResult(
        columns,
        summaries,
        execution.initial_capital,
        candles.timeframe.bars_per_year(candles.calendar),
        elapsed / YEAR_MS,
    )


def _run(
    prepared: Prepared,
    planned: PlanRows,
    params: Any,
    summaries: Any,
    stop: int,
    threads: int,
) -> None:
    """Simulate a batch; each thread takes the next share of rows until none is left."""
    n_rows = params.size
    share = max(1, -(-n_rows // (threads * _SHARES_PER_THREAD)))
    shares = itertools.count()

    def work() -> None:
        while (first := next(shares) * share) < n_rows:
            simulate_rows(
                prepared.market, planned.lines, planned.plans, planned.event_bars, planned.event_codes,
                planned.plan_of_row, params, stop, first, min(first + share, n_rows), NO_RECORDS, summaries,
                fresh_states(1), True,
            )  # fmt: skip

    if threads == 1 or n_rows == 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def _threads(workers: Any) -> int:
    """The given number of threads, or one per core this process may use."""
    if workers is None:
        may_use = getattr(os, "sched_getaffinity", None)  # Linux alone can say
        return len(may_use(0)) if may_use is not None else os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ConfigError(f"workers must be a whole number of threads, 1 or more; got {workers!r}.")
    return workers


def _full_columns(strategy: Strategy, varied: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Every signal parameter as a column: those that vary, and the others' values repeated without taking memory."""
    return {
        name: varied[name] if name in varied else np.broadcast_to(np.asarray(getattr(strategy, name)), (rows,))
        for name in strategy.signal_parameters()
    }


def _columns(owner: type[Strategy], rows: Any, grid: Any) -> dict[str, Any]:
    """The varied parameters as checked arrays of one length."""
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
    varied: Mapping[str, Any],
    size: int,
    trade_from: int | None,
) -> PlanRows:
    """Plans of a batch: by the strategy's own shared method, or one plan per distinct set of signal parameters."""
    if size > 1:
        full = _full_columns(strategy, varied, size)
        planned = type(strategy).plan_rows(prepared.candles.bars, prepared.session_vwap, full)
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
