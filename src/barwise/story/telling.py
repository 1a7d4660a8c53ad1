"""The story of a trade, and the list of all of them, as plain JSON types.

Words and --json are both made from these documents, so neither knows more than the other. Times are ISO 8601 of a bar's
open, except the signal's, which is known at its bar's close. What is undefined is None.
"""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from barwise.core.layout import Intrabar
from barwise.core.tiers import TIER_NAMES
from barwise.errors import ConfigError
from barwise.result import BacktestResult, Program, Trade
from barwise.story.replay import Levels, Replay, Step, replay
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema, rolling_max, rolling_min, rsi

_LEVELS = ("entry_price", "best", "stop", "target")


def overview_of(result: BacktestResult) -> dict[str, Any]:
    """All trades of a run, and the programs that did not become one.

    Returns:
        `market`, `trades` (one dict each: trade_id, side, times, prices, tiers, exit_reason, net_pnl, r, ambiguous) and
        `missed` (program_id, signal_time, end_time, side, outcome, and `tiers`: per tier it came to the bars and how
        many of them ended in which `why`).

    Raises:
        BacktestError: A program done again does not agree with its record.
    """
    traded = {trade.program_id for trade in result.trades}
    return {
        "market": _market(result),
        "trades": [
            {
                "trade_id": trade.trade_id,
                "side": trade.side,
                "entry_time": trade.entry_time.isoformat(),
                "exit_time": trade.exit_time.isoformat(),
                "quantity": trade.quantity,
                "entry_price": trade.entry_price,
                "exit_price": trade.exit_price,
                "tiers": sorted({fill.tier for fill in trade.fills}),
                "exit_reason": trade.exit_reason,
                "net_pnl": trade.net_pnl,
                "r": _in_r(trade.net_pnl, trade.initial_risk * trade.quantity),
                "ambiguous": trade.ambiguous,
            }
            for trade in result.trades
        ],
        "missed": [_missed(result, program) for program in result.programs if program.program_id not in traded],
    }


def story_of(result: BacktestResult, trade_id: int) -> dict[str, Any]:
    """Everything there is to know about one trade.

    Args:
        trade_id: As in reports, exports and `overview_of`: trades count from 0.

    Returns:
        `market`, `trade`, `signal`, `entry` (with one dict per bar under `steps`), `levels`, `exit`, `result` and
        `certainty`; docs/audit.md has their fields.

    Raises:
        ConfigError: There is no such trade.
        BacktestError: The trade done again does not agree with its records.
    """
    if not 0 <= trade_id < len(result.trades):
        raise ConfigError(
            f"there is no trade {trade_id}; this run has {_range_of(len(result.trades))}.",
            hint="barwise audit RUN lists them.",
        )
    trade = result.trades[trade_id]
    program = result.programs[trade.program_id]
    again = replay(result, trade.program_id)
    closed = again.closed
    assert closed is not None
    risk = trade.initial_risk * trade.quantity
    return {
        "market": _market(result),
        "trade": {"trade_id": trade_id, "program_id": trade.program_id, "side": trade.side, "quantity": trade.quantity},
        "signal": {
            "time": program.signal_time.isoformat(),
            "side": program.side,
            "close": program.arrival_price,
            "risk_unit": program.atr,
            **_indicators(result, trade.program_id),
        },
        "entry": {
            "quantity": program.quantity,
            "filled_quantity": program.filled_quantity,
            "entry_price": trade.entry_price,
            "outcome": program.outcome,
            "end_time": program.end_time.isoformat(),
            "shortfall_bp": program.shortfall_bp,
            "limit_fill": result.execution.limit_fill,
            "steps": [_step(result, step) for step in again.steps],
        },
        "levels": [_level(result, level) for level in again.levels],
        "exit": {
            "time": trade.exit_time.isoformat(),
            "reason": trade.exit_reason,
            "stop": _number(closed.stop_price),
            "target": _number(closed.target_price),
            "reference": closed.exit_reference,
            "price": trade.exit_price,
            "slippage": abs(closed.exit_price - closed.exit_reference) * closed.quantity,
            "liquidity": "maker" if closed.exit_maker else "taker",
            "fee": closed.fee,
            "bars_held": trade.bars_held,
        },
        "result": {
            "gross_pnl": trade.gross_pnl,
            "slippage": trade.slippage,
            "fees": trade.fees,
            "funding": trade.funding,
            "net_pnl": trade.net_pnl,
            "risk": risk,
            "r": _in_r(trade.net_pnl, risk),
            "mfe": trade.mfe,
            "mae": trade.mae,
        },
        "certainty": _certainty(result, trade, again),
    }


def _range_of(trades: int) -> str:
    if not trades:
        return "none"
    return "trade 0 alone" if trades == 1 else f"trades 0 to {trades - 1}"


def _market(result: BacktestResult) -> dict[str, Any]:
    candles = result.candles
    return {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": str(candles.timeframe),
        "execution_timeframe": str(result.prepared.execution_candles.timeframe),
        "synthetic": candles.synthetic,
        "strategy": type(result.strategy).name(),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _in_r(net: float, risk: float) -> float | None:
    return net / risk if risk > 0.0 else None


def _time(result: BacktestResult, bar: int) -> str:
    """When an execution bar opens."""
    return datetime.fromtimestamp(int(result.prepared.execution_candles.time[bar]) / 1000, UTC).isoformat()


def _step(result: BacktestResult, step: Step) -> dict[str, Any]:
    return {
        "time": _time(result, step.bar),
        "tier": step.tier,
        "name": TIER_NAMES[step.tier - 1],
        "limit": _number(step.limit),
        "seen": step.seen,
        "why": step.why,
        "fill": None if step.fill is None else _fill(step),
    }


def _fill(step: Step) -> dict[str, Any]:
    values: dict[str, Any] = asdict(step)["fill"]
    return {"liquidity": "maker" if values.pop("maker") else "taker", **values}


def _level(result: BacktestResult, level: Levels) -> dict[str, Any]:
    values = {name: _number(getattr(level, name)) for name in _LEVELS}
    return {"time": _time(result, level.bar), "cause": level.cause, **values}


def _missed(result: BacktestResult, program: Program) -> dict[str, Any]:
    """A program without a fill: how it ended, and what each tier that it came to met."""
    found: dict[int, dict[str, Any]] = {}
    for step in replay(result, program.program_id).steps:
        tier = found.setdefault(step.tier, {"tier": step.tier, "name": TIER_NAMES[step.tier - 1], "bars": 0, "why": {}})
        tier["bars"] += 1
        tier["why"][step.why] = tier["why"].get(step.why, 0) + 1
    return {
        "program_id": program.program_id,
        "signal_time": program.signal_time.isoformat(),
        "end_time": program.end_time.isoformat(),
        "side": program.side,
        "arrival_price": program.arrival_price,
        "outcome": program.outcome,
        "tiers": list(found.values()),
    }


def _indicators(result: BacktestResult, program: int) -> dict[str, Any]:
    """What the signal was made of: the plan's lines at its bar, and what the built-in strategy compared."""
    t, plan = int(result.records.programs[program]["signal_bar"]), result.plan
    lines = {
        name: _number(line[t])
        for name, line in (("anchor", plan.anchor), ("vwap", plan.vwap), ("risk", plan.risk))
        if line is not None
    }
    return {"lines": lines, "conditions": _conditions(result, t, int(plan.entry[t]))}


def _conditions(result: BacktestResult, t: int, side: int) -> list[dict[str, Any]]:
    """The conditions of section 3 with their values; none for a strategy that makes its signals in another way."""
    strategy, close = result.strategy, result.candles.close
    if not isinstance(strategy, EmaRsiAtr) or type(strategy).plan is not EmaRsiAtr.plan:
        return []
    fast, slow = (ema(close, period) for period in (strategy.ema_fast, strategy.ema_slow))
    found: list[dict[str, Any]] = [
        {
            "condition": "crossing",
            "ema_fast": {"period": strategy.ema_fast, "before": float(fast[t - 1]), "value": float(fast[t])},
            "ema_slow": {"period": strategy.ema_slow, "before": float(slow[t - 1]), "value": float(slow[t])},
        }
    ]
    if strategy.enable_trend_filter:
        trend = float(ema(close, strategy.ema_trend)[t])
        found.append({"condition": "trend", "ema_trend": {"period": strategy.ema_trend, "value": trend}})
    if strategy.enable_rsi_filter:
        strength = rsi(close, strategy.rsi_period)
        extreme = (rolling_min if side > 0 else rolling_max)(strength, strategy.rsi_lookback)
        found.append(
            {
                "condition": "rsi",
                "period": strategy.rsi_period,
                "lookback": strategy.rsi_lookback,
                "extreme": float(extreme[t]),
                "threshold": strategy.rsi_long_threshold if side > 0 else strategy.rsi_short_threshold,
            }
        )
    return found


def _certainty(result: BacktestResult, trade: Trade, again: Replay) -> dict[str, Any]:
    """The bars that left the order of events open, and this trade under the other two readings of them."""
    others, now = [], again.closed
    if again.unclear and now is not None:
        for reading in Intrabar:
            if reading.name.lower() != result.execution.intrabar:
                closed = replay(result, trade.program_id, reading).closed
                assert closed is not None
                others.append(
                    {
                        "reading": reading.name.lower(),
                        "exit_time": _time(result, closed.exit_bar),
                        "exit_reason": closed.exit_reason,
                        "exit_price": closed.exit_price,
                        "net_pnl": closed.net_pnl,
                        "difference": closed.net_pnl - now.net_pnl,
                        "same": (closed.exit_bar, closed.exit_reason, closed.exit_price)
                        == (now.exit_bar, now.exit_reason, now.exit_price),
                    }
                )
    return {
        "ambiguous": trade.ambiguous,
        "reading": result.execution.intrabar,
        "bars": [_time(result, bar) for bar in again.unclear],
        "other_readings": others,
    }
