"""CSV tables for spreadsheets and the trade log for programs, as text.

Numbers are written with a decimal point, without thousands separators and without exponents, with as many digits as it
takes to read the same number back. Times are ISO 8601 in UTC. Text that came from a user cannot start a formula.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from barwise.report import statements

if TYPE_CHECKING:
    from barwise.result import BacktestResult, Fill, Trade

TRADE_LOG_VERSION = 1
# A spreadsheet takes a cell that begins like this for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """A value as a spreadsheet takes it: plain decimals, ISO times, text that is no formula, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        # Adding 0 turns -0.0 into 0.0.
        return np.format_float_positional(value + 0.0, trim="-")
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA_STARTS):
        return f"'{text}"
    return text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV (RFC 4180: commas, CRLF, quotes where needed)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def tiers_of(fills: Sequence["Fill"]) -> str:
    """The tiers that filled a trade, in order: `1+2`."""
    return "+".join(str(tier) for tier in sorted({fill.tier for fill in fills}))


def trades_csv(result: "BacktestResult") -> str:
    """One row per trade."""
    header = (
        "exchange", "symbol", "timeframe", "strategy", "trade_id", "program_id", "side", "entry_time (UTC)",
        "exit_time (UTC)", "entry_price (quote)", "exit_price (quote)", "quantity (base)", "tiers", "exit_reason",
        "gross_pnl (quote)", "fees (quote)", "slippage (quote)", "funding (quote)", "net_pnl (quote)",
        "bars_held (signal bars)", "mfe (quote)", "mae (quote)", "initial_risk (quote per unit)", "ambiguous",
    )  # fmt: skip
    candles = result.candles
    identity = (candles.exchange, candles.symbol, str(candles.timeframe), statements.strategy_name(result))
    return csv_text(
        header,
        (
            (
                *identity, trade.trade_id, trade.program_id, trade.side, trade.entry_time, trade.exit_time,
                trade.entry_price, trade.exit_price, trade.quantity, tiers_of(trade.fills), trade.exit_reason,
                trade.gross_pnl, trade.fees, trade.slippage, trade.funding, trade.net_pnl, trade.bars_held, trade.mfe,
                trade.mae, trade.initial_risk, trade.ambiguous,
            )
            for trade in result.trades
        ),
    )  # fmt: skip


def equity_csv(result: "BacktestResult") -> str:
    """One row per signal bar, at its close."""
    candles = result.candles
    times = np.datetime_as_string(candles.time[result.trade_from :].astype("datetime64[ms]"), unit="s")
    header = ("bar_open (UTC)", "equity at close (quote)", "drawdown (%)", "close (quote)")
    columns = (result.equity_curve, result.drawdown_curve, candles.close[result.trade_from :])
    return csv_text(
        header,
        ((f"{time}Z", *values) for time, *values in zip(times.tolist(), *(c.tolist() for c in columns), strict=True)),
    )


def fills_csv(result: "BacktestResult") -> str:
    """One row per entry fill, with the program it belongs to."""
    header = (
        "program_id", "signal_time (UTC)", "side", "arrival_price (quote)", "time (UTC)", "tier", "price (quote)",
        "quantity (base)", "fee (quote)", "liquidity", "outcome of the program",
    )  # fmt: skip
    return csv_text(
        header,
        (
            (
                program.program_id, program.signal_time, program.side, program.arrival_price, fill.time, fill.tier,
                fill.price, fill.quantity, fill.fee, fill.liquidity, program.outcome,
            )
            for program in result.programs
            for fill in program.fills
        ),
    )  # fmt: skip


def trade_log(result: "BacktestResult") -> str:
    """JSON lines in order of time: one for the run, then one per program at its signal, fill, and trade at its exit.

    A program's line holds how it ended, which was known only later: the log tells what happened, not what was known.
    """
    candles = result.candles
    run = {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": str(candles.timeframe),
        "synthetic": candles.synthetic,
        "strategy": statements.strategy_name(result),
        "fingerprint": candles.fingerprint,
        "initial_capital": result.initial_capital,
    }
    events: list[tuple[datetime, str, dict[str, Any]]] = []
    for program in result.programs:
        plain = _fields(program, without=("fills",))
        events.append((program.signal_time, "program", plain))
        events += [
            (fill.time, "fill", {"program_id": program.program_id, "side": program.side, **_fields(fill)})
            for fill in program.fills
        ]
    events += [(trade.exit_time, "trade", _trade_fields(trade)) for trade in result.trades]
    # Within one bar a trade that was carried into it ends before a new program is filled, but one that was filled in it
    # cannot end before: what belongs to a later program comes later.
    order = {"program": 0, "fill": 1, "trade": 2}
    events.sort(key=lambda event: (event[0], event[2]["program_id"], order[event[1]]))
    lines = [_log_line("run", run), *(_log_line(kind, fields) for _, kind, fields in events)]
    return "\n".join(lines) + "\n"


def _log_line(kind: str, fields: dict[str, Any]) -> str:
    return json.dumps({"schema_version": TRADE_LOG_VERSION, "event": kind, **fields}, allow_nan=False)


def _trade_fields(trade: "Trade") -> dict[str, Any]:
    return {**_fields(trade, without=("fills",)), "tiers": tiers_of(trade.fills)}


def _fields(record: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A record as plain JSON types."""
    plain = {name: record[name] for name in record.keys() if name not in without}  # noqa: SIM118 - a record is no dict
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in plain.items()}
