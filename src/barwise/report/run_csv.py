"""A run as tables for spreadsheets, and its trade log: the parts under each other, told apart by a column.

Written by the rules of `tables`: plain decimals with as many digits as it takes to read the same number back, ISO 8601
times in UTC, lines that end as RFC 4180 says, and no text that a spreadsheet would take for a formula.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.report import tables
from barwise.report.run_comparison import BASELINE, DIFFERENCES, FIGURES, HELD, OPTIMIZED, OUT_OF_SAMPLE, Comparison

if TYPE_CHECKING:
    import polars

    from barwise.optimizer.engine import OptimizationResult
    from barwise.result import BacktestResult
    from barwise.validation.walk_forward import WalkForwardResult

_COLUMNS = (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD)


def comparison_csv(found: Comparison) -> str:
    """One row per figure, a column per part, and the differences beside the part that is compared."""
    header = ["figure", "unit"]
    for name in _COLUMNS:
        header += [name, *(pair.name for pair in DIFFERENCES if pair.part == name)]
    rows: list[list[Any]] = []
    spans = {name: part.span() for name, part in found.parts.items()}
    for name, unit in (("first_bar", "UTC"), ("end", "UTC"), ("bars", "count"), ("years", "years")):
        values = {part: _instant(span[name]) for part, span in spans.items()}
        rows.append([name, unit, *_with_differences(values.get, lambda _: None)])
    for figure in FIGURES:
        shown = {name: part.figure(figure) for name, part in found.parts.items()}
        differences = {pair: found.difference(pair, figure) for pair in DIFFERENCES}
        unit = "quote" if figure.unit == "money" else figure.unit
        rows.append([figure.name, unit, *_with_differences(shown.get, differences.get)])
    return tables.csv_text(header, rows)


def _with_differences(value: Callable[[str], Any], difference: Callable[[Any], Any]) -> Iterator[Any]:
    for name in _COLUMNS:
        yield value(name)
        yield from (difference(pair) for pair in DIFFERENCES if pair.part == name)


def _instant(value: Any) -> Any:
    """A time as every other table has it."""
    return value.replace("+00:00", "Z") if isinstance(value, str) else value


def trades_csv(found: Comparison) -> str:
    """One row per trade of every part; `piece` counts the pieces of the walk-forward, where ids start anew."""
    return _stacked(found, tables.trades_csv)


def fills_csv(found: Comparison) -> str:
    """One row per entry fill of every part."""
    return _stacked(found, tables.fills_csv)


def _stacked(found: Comparison, table: Callable[["BacktestResult"], str]) -> str:
    """The tables of all parts under one header. What they hold is written already, so it is only moved."""
    text = io.StringIO()
    writer = csv.writer(text)
    for at, (part, piece, result) in enumerate(_results(found)):
        header, *rows = csv.reader(io.StringIO(table(result), newline=""))
        if at == 0:
            writer.writerow(["part", "piece", *header])
        writer.writerows([part, piece, *row] for row in rows)
    return text.getvalue()


def _results(found: Comparison) -> Iterator[tuple[str, str, "BacktestResult"]]:
    """Every backtest with the part it belongs to and its number among the pieces of a walk-forward."""
    for name, part in found.parts.items():
        for number, result in enumerate(part.results, 1):
            yield name, str(number) if name == OUT_OF_SAMPLE else "", result


def equity_csv(found: Comparison) -> str:
    """One row per signal bar that any part covers: the equity of each part at its close."""
    candles = found.parts[BASELINE].candles
    first = min(int(part.bars[0]) for part in found.parts.values())
    columns: list[list[float | None]] = []
    for name in _COLUMNS:
        column = np.full(len(candles), math.nan)
        if name in found.parts:
            column[found.parts[name].bars] = found.parts[name].equity
        columns.append([None if math.isnan(value) else value for value in column[first:].tolist()])
    times = np.datetime_as_string(candles.time[first:].astype("datetime64[ms]"), unit="s").tolist()
    header = ("bar_open (UTC)", *(f"{name} equity at close (quote)" for name in _COLUMNS))
    return tables.csv_text(header, ((f"{time}Z", *values) for time, *values in zip(times, *columns, strict=True)))


def windows_csv(walked: "WalkForwardResult") -> str:
    """One row per window."""
    return _frame_csv(walked.frame())


def trials_csv(found: "OptimizationResult") -> str:
    """One row per trial of every stage, without what it cost to run: that depends on what was on record before."""
    frame = found.frame()
    cost = [named if (named := f"trial_{name}") in frame.columns else name for name in ("bars", "seconds")]
    return _frame_csv(frame.drop(cost))


def _frame_csv(frame: "polars.DataFrame") -> str:
    """A frame by the rules of the other tables; what has no value is an empty cell."""
    header = [tables.cell(name) for name in frame.columns]
    return tables.csv_text(header, ([_or_empty(value) for value in row] for row in frame.iter_rows()))


def _or_empty(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def trade_log(found: Comparison) -> str:
    """The trade logs of all parts, one after the other, every line with the part and the piece it belongs to."""
    lines = []
    for part, piece, result in _results(found):
        for line in tables.trade_log(result).splitlines():
            event: dict[str, Any] = json.loads(line)
            lines.append(json.dumps({"part": part, "piece": int(piece) if piece else None, **event}, allow_nan=False))
    return "\n".join(lines) + "\n"
