"""What a run decided, as events: each with the inputs of the decision, an identity, and nothing of the clock.

The builders are pure. The same result gives the same events in the same order, so two runs of the same inputs can be
compared event by event, and a run that was cut off may offer all of its events again: those that are in the trail
already are known by their identity. Values are plain JSON types, what is no number is None, times are ISO 8601 UTC.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from barwise.trail.signals import Signal, signals_of

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.optimizer.trials import StageResult
    from barwise.result import BacktestResult, Fill, Program, Trade
    from barwise.validation.engine import ValidationReport
    from barwise.validation.walk_forward import WalkForwardResult, WindowResult

# Events of one instant that belong to the same program, in the order of docs/execution.md, section 4.
_RANK = {"signal": 0, "fill": 1, "program": 2, "exit": 3}


class Event(NamedTuple):
    """One decision.

    Attributes:
        kind: What sort of decision; docs/audit-trail.md has all kinds.
        identity: Name of the event, unique in its trail and the same whenever the same inputs are run.
        fields: Its values by name, plain JSON types.
    """

    kind: str
    identity: str
    fields: dict[str, Any]


def plain(value: Any) -> Any:
    """A value as JSON has it: a number that is none is None, a time is ISO 8601 UTC, anything else is text."""
    if isinstance(value, Enum):
        value = value.value
    elif isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def run_events(
    config: Mapping[str, Mapping[str, Any]], candles: "Candles", detail: "Candles | None" = None
) -> Iterator[Event]:
    """What went in: the configuration, and the candles with what their audit found.

    Args:
        config: The resolved configuration, values by section and key.
        candles, detail: What is run on.
    """
    yield Event("configuration", "configuration", {"sections": plain(config)})
    for name, bars in (("candles", candles), ("detail", detail)):
        if bars is not None:
            yield Event("data", f"data/{name}", {"of": name, **_data(bars)})


def markets_events(
    config: Mapping[str, Mapping[str, Any]], markets: Mapping[str, tuple[str, "Candles"]]
) -> Iterator[Event]:
    """What goes into a run over several markets: the configuration, and the run of each market.

    Args:
        config: The resolved configuration, values by section and key.
        markets: What people call the market, and its candles, by the name of its run.
    """
    yield Event("configuration", "configuration", {"sections": plain(config)})
    yield Event(
        "markets",
        "markets",
        {
            "markets": [
                {
                    "run": run,
                    "label": label,
                    "exchange": candles.exchange,
                    "symbol": candles.symbol,
                    "timeframe": str(candles.timeframe),
                    "synthetic": candles.synthetic,
                    "bars": len(candles),
                }
                for run, (label, candles) in markets.items()
            ]
        },
    )


def _data(candles: "Candles") -> dict[str, Any]:
    audit = candles.audit
    edges = (audit.first, audit.last)
    first, last = (None if edge is None else datetime.fromtimestamp(edge / 1000, UTC).isoformat() for edge in edges)
    return {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": str(candles.timeframe),
        "synthetic": candles.synthetic,
        "bars": len(candles),
        "first": first,
        "last": last,
        "fingerprint": candles.fingerprint,
        "gaps": audit.gaps.count,
        "missing_bars": audit.gaps.missing,
        "findings": plain([finding.to_dict() for finding in audit.findings]),
    }


def backtest_events(part: str, result: "BacktestResult") -> Iterator[Event]:
    """Signals, entry programs, fills and exits of one backtest, in order of time.

    An event stands at the time it could be known: a signal at its bar's close, a fill at its execution bar, a program
    at the bar it ended in, an exit at that of the trade.

    Args:
        part: baseline, optimized, or out-of-sample/<window>.
        result: The backtest.
    """
    found: list[tuple[datetime, int, int, Event]] = []

    def note(kind: str, own: str, at: datetime, program: int, fields: dict[str, Any]) -> None:
        head = {"part": part, "at": at.isoformat()}
        found.append((at, program, _RANK[kind], Event(kind, f"{part}/{kind}/{own}", head | fields)))

    for signal in signals_of(result):
        note("signal", str(signal.bar), signal.time, -1, _signal(signal))
    references = iter(result.records.fills["reference"].tolist())
    fills: dict[int, int] = {}
    for fill, program in zip(result.fills, result.records.fills["program"].tolist(), strict=True):
        number = fills.get(program, 0)
        fills[program] = number + 1
        note("fill", f"{program}/{number}", fill.time, program, _fill(fill, program, next(references)))
    for entry in result.programs:
        note("program", str(entry.program_id), entry.end_time, entry.program_id, _program(entry))
    for trade, record in zip(result.trades, result.records.trades, strict=True):
        note("exit", str(trade.trade_id), trade.exit_time, trade.program_id, _exit(trade, record))
    found.sort(key=lambda item: item[:3])  # stable, so the fills of a program stay in order
    yield from (event for *_, event in found)


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "bar": signal.bar,
        "side": signal.side,
        "close": signal.close,
        "risk": plain(signal.risk),
        "anchor": plain(signal.anchor),
        "vwap": plain(signal.vwap),
        "program_id": signal.program,
        "why": signal.why or None,
        "position": signal.position,
        "working": signal.working,
        "same_side": signal.same_side,
        "cancelled": signal.cancelled,
    }


def _fill(fill: "Fill", program: int, reference: float) -> dict[str, Any]:
    return {
        "program_id": program,
        "tier": fill.tier,
        "price": fill.price,
        "reference": reference,
        "quantity": fill.quantity,
        "fee": fill.fee,
        "liquidity": fill.liquidity,
    }


def _program(program: "Program") -> dict[str, Any]:
    return {
        "program_id": program.program_id,
        "side": program.side,
        "signal_time": program.signal_time.isoformat(),
        "arrival_price": program.arrival_price,
        "risk": program.atr,
        "quantity": program.quantity,
        "filled_quantity": program.filled_quantity,
        "fills": len(program.fills),
        "outcome": program.outcome,
        "shortfall_bp": program.shortfall_bp,
    }


def _exit(trade: "Trade", record: Any) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "program_id": trade.program_id,
        "side": trade.side,
        "reason": trade.exit_reason,
        "entry_time": trade.entry_time.isoformat(),
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "reference": float(record["exit_reference"]),
        "stop": plain(float(record["stop_price"])),
        "target": plain(float(record["target_price"])),
        "liquidity": "maker" if record["exit_maker"] else "taker",
        "quantity": trade.quantity,
        "initial_risk": trade.initial_risk,
        "gross_pnl": trade.gross_pnl,
        "fees": trade.fees,
        "slippage": trade.slippage,
        "funding": trade.funding,
        "net_pnl": trade.net_pnl,
        "bars_held": trade.bars_held,
        "mfe": trade.mfe,
        "mae": trade.mae,
        "ambiguous": trade.ambiguous,
    }


def trial_events(found: "StageResult", part: str = "optimization") -> Iterator[Event]:
    """Every trial of one stage of a search, then what was chosen of them.

    What the ledger had answered before is no property of a trial and is not told: it depends on earlier runs. A search
    that Ctrl-C ended has a choice of its own name, because the same inputs will choose again among more trials.

    Args:
        found: The stage.
        part: Whose search: optimization, or validation.
    """
    trials, names, stage = found.trials, found.objective.names, found.stage
    where = f"{part}/{stage}"
    summaries = trials.summaries
    states = _states(found)
    columns = zip(
        trials.reported.tolist(),
        trials.violation.tolist(),
        trials.batch.tolist(),
        summaries["trades"].tolist(),
        summaries["net_pnl"].tolist(),
        (100.0 * summaries["max_drawdown"]).tolist(),
        strict=True,
    )
    for number, (values, violation, batch, trades, net, drawdown) in enumerate(columns):
        yield Event(
            "trial",
            f"{where}/trial/{number}",
            {
                "part": part,
                "stage": stage,
                "number": number,
                "batch": batch,
                "state": states[number],
                "parameters": found.space.values(trials.points[number]),
                "objectives": dict(zip(names, map(plain, values), strict=True)),
                "violation": plain(violation),
                "trades": trades,
                "net_pnl": plain(net),
                "max_drawdown": plain(drawdown),
            },
        )
    base, chosen = found.space.values(trials.points[0]), found.best_params
    before, after = (
        dict(zip(names, map(plain, trials.reported[row].tolist()), strict=True)) for row in (0, found.chosen)
    )
    gains = (trials.values[found.chosen] - trials.values[0]).tolist()
    yield Event(
        "choice",
        f"{where}/choice/interrupted/{len(trials)}" if found.interrupted else f"{where}/choice",
        {
            "part": part,
            "stage": stage,
            "sampler": found.sampler,
            "chosen": found.chosen,
            "parameters": dict(chosen),
            "changed": {name: [base[name], value] for name, value in chosen.items() if value != base[name]},
            "base_objectives": before,
            "objectives": after,
            "better_by": dict(zip(names, map(plain, gains), strict=True)),
            "violation": plain(float(trials.violation[found.chosen])),
            "trials": len(trials),
            "states": {state: states.count(state) for state in ("complete", "pruned", "infeasible")},
            "interrupted": found.interrupted,
            "notes": list(found.notes),
        },
    )


def _states(found: "StageResult") -> list[str]:
    trials = found.trials
    kept = np.where(trials.violation > 0.0, "infeasible", "complete")
    states: list[str] = np.where(trials.complete, kept, "pruned").tolist()
    return states


def window_events(walked: "WalkForwardResult") -> Iterator[Event]:
    """Every window of a walk-forward, then the series they make."""
    for window in walked.windows:
        yield Event("window", f"window/{window.number}", _window(window))
    scores = ("consistency_score", "stability_score", "efficiency", "confidence_score", "oos_psr")
    yield Event(
        "walk_forward",
        "walk-forward",
        {
            "reoptimized": walked.reoptimized,
            "windows": len(walked.windows),
            "scored": len(walked.scored),
            "bars": len(walked.bars),
            "trades": len(walked.trades),
            **{name: plain(getattr(walked, name)) for name in scores},
            "out_of_sample": plain(walked.metrics),
            "notes": list(walked.notes),
        },
    )


def _window(window: "WindowResult") -> dict[str, Any]:
    document: dict[str, Any] = plain(window.to_dict())
    spans = {name: document.pop(name) for name in window.window._fields}
    notes = document.pop("notes")
    why = None if window.scored else next((note for note in notes if "not scored" in note), notes[-1] if notes else "")
    return {
        "number": document.pop("number"),
        **spans,
        "bars": dict(window.span._asdict()),
        **document,
        "why_not_scored": why,
        "notes": notes,
    }


def validation_events(report: "ValidationReport") -> Iterator[Event]:
    """The tests that a verdict rests on, then the verdict."""
    if report.permutation is not None:
        yield Event("permutation", "permutation", _timeless(report.permutation.to_dict()))
    yield Event("selection", "selection", plain(report.selection.to_dict()))
    for scenario in report.scenarios:
        yield Event("scenario", f"scenario/{scenario.name}", plain(scenario.to_dict()))
    decision = report.decision.to_dict()
    yield Event(
        "verdict",
        "verdict",
        {
            "word": decision["verdict"],
            "reasons": decision["reasons"],
            "would_change": decision["would_change"],
            "tests": plain(decision["tests"]),
            "evidence": plain(decision["evidence"]),
            "n_trials": report.n_trials,
            "notes": list(report.notes),
        },
    )


def _timeless(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without how long it took."""
    return {name: plain(value) for name, value in document.items() if name != "seconds"}
