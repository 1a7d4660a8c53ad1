"""What somebody tried by hand goes on record too: a look at the data is a trial, whoever takes it.

A backtest or a sweep in Python writes nothing down by itself, because most are not of the data that a decision rests
on. `record` is for those that are, or the number of trials behind that decision is too low.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from barwise.data.candles import Candles
from barwise.engine import first_usable_bar
from barwise.errors import ConfigError, DataError
from barwise.optimizer.identity import ParameterValues, context_of
from barwise.optimizer.ledger import (
    RECORDED_METRICS,
    Context,
    DataSet,
    Ledger,
    Origin,
    Rows,
    configuration_keys,
    ledger_place,
)
from barwise.result import BacktestResult
from barwise.sweeping import SweepResult

_MANUAL = "manual"
_SCORE = "sharpe_ratio"
# Rows written at a time; bounds memory.
_BATCH = 8192


def record(result: BacktestResult | SweepResult, storage: str | Path | None = None) -> int:
    """Put a backtest or a sweep on record in the trial ledger, so that its configurations count.

    Args:
        result: As `backtest` or `sweep` returned it.
        storage: The ledger: a file or a database URL; None = data/ledger.sqlite below the home folder.

    Returns:
        Distinct configurations on record for its candles, these included: the N of the overfitting statistics.

    Raises:
        ConfigError: It is neither, or the URL is wrong or its server cannot be used.
        CheckpointError: The ledger cannot be written.
    """
    if not isinstance(result, BacktestResult | SweepResult):
        raise ConfigError(
            f"a backtest or a sweep can be put on record; got {type(result).__name__}.",
            hint="pass what backtest() or sweep() returned; optimize() and validate() record by themselves.",
        )
    if isinstance(storage, str) and not storage.strip():
        raise ConfigError("storage must be a file or a database URL; got an empty text.")
    with Ledger(ledger_place(storage)) as ledger:
        if isinstance(result, BacktestResult):
            _record_backtest(ledger, result, _context_of_backtest(result), None)
            return ledger.trials(DataSet.of(result.candles))
        _record_sweep(ledger, result)
        return ledger.trials(DataSet.of(result.sweeper.candles))


def record_run(
    ledger: Ledger,
    result: BacktestResult,
    quantity: float,
    *,
    detail: Candles | None = None,
    funding: Any = None,
    run: str | None = None,
) -> None:
    """Put a backtest that somebody ran by hand on record.

    Args:
        quantity: Of every order, as asked for.
        detail, funding: As they were given to the backtest; one with a `trade_from` of its own is not for here.
        run: Id of a run that may be gone on with, which is recorded once; by default a new one.
    """
    if run is not None and (ledger.frame(DataSet.of(result.candles), run)["stage"] == _MANUAL).any():
        return
    context = context_of(
        result.candles, result.strategy, result.execution, result.fees_schedule, quantity, detail, funding, None
    )
    _record_backtest(ledger, result, context, run)


def _record_backtest(ledger: Ledger, result: BacktestResult, context: Context, run: str | None) -> None:
    strategy = result.strategy
    values = ParameterValues(strategy)
    rows = Rows(
        configuration_keys(values.matrix_of(strategy, {}, 1)),
        values.texts_of(strategy, {}, 1),
        np.array([result.trade_from], np.int64),
        np.array([len(result.candles)], np.int64),
        result.summary,
        {name: np.array([getattr(result, name)]) for name in RECORDED_METRICS},
        np.array([getattr(result, _SCORE)]),
    )
    ledger.record(context, _origin(run), rows)


def _context_of_backtest(result: BacktestResult) -> Context:
    """Everything that could have changed a result, as far as the result itself tells it.

    A quantity that was rounded to the lot is known as rounded, and funding by what it came to in each bar. So one with
    either may be on record twice, here and by a search; never is it taken for another.
    """
    prepared, funding = result.prepared, result.prepared.market.funding
    try:
        own = first_usable_bar(result.plan, result.strategy, result.candles, None)
    except DataError:  # without a first bar of its own it could not have been run
        own = -1
    return context_of(
        result.candles, result.strategy, result.execution, result.fees_schedule, float(result.params["quantity"]),
        None if prepared.execution_candles is prepared.candles else prepared.execution_candles,
        funding.tolist() if funding.any() else None, None if result.trade_from == own else result.trade_from,
    )  # fmt: skip


def _record_sweep(ledger: Ledger, result: SweepResult) -> None:
    sweeper, columns = result.sweeper, result.columns
    values = ParameterValues(sweeper.strategy)
    context = context_of(
        sweeper.candles, sweeper.strategy, sweeper.execution, sweeper.fees, sweeper.quantity, sweeper.detail,
        sweeper.funding, sweeper.trade_from, sweeper.on_gpu,
    )  # fmt: skip
    origin = _origin(None)
    for at in range(0, len(result), _BATCH):
        piece = slice(at, min(at + _BATCH, len(result)))
        part, n = {name: column[piece] for name, column in columns.items()}, piece.stop - piece.start
        rows = Rows(
            configuration_keys(values.matrix_of(sweeper.strategy, part, n)),
            values.texts_of(sweeper.strategy, part, n),
            result.starts[piece],
            np.full(n, sweeper.bars, np.int64),
            result.summaries[piece],
            {name: result.metrics[name][piece] for name in RECORDED_METRICS},
            result.metrics[_SCORE][piece],
        )
        ledger.record(context, origin, rows)


def _origin(run: str | None) -> Origin:
    return Origin(run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{_MANUAL}", _MANUAL, "none", None, _SCORE)
