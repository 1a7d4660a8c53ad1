"""What a line of a trail may hold, by its kind: one table, and the JSON schema that is made of it.

Events with an identity have exactly the fields of the table. What is said at a moment may have more: it is for those
who watch, and two runs are not compared by it.
"""

from typing import Any

from barwise.core.layout import Exit, Outcome
from barwise.trail.signals import WHY
from barwise.validation.verdict import Word

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_VALUES: Schema = {"type": "object"}
_SIDE: Schema = {"enum": ["long", "short"]}
_LIQUIDITY: Schema = {"enum": ["maker", "taker"]}
_TIER: Schema = {"type": "integer", "minimum": 1, "maximum": 5}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _each(schema: Schema) -> Schema:
    """An object whose values are all of one kind."""
    return {"type": "object", "additionalProperties": schema}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _record(**fields: Schema) -> Schema:
    """An object with exactly these fields."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


_NUMBER_OR_NULL, _COUNT_OR_NULL, _TEXT_OR_NULL = _or_null(_NUMBER), _or_null(_COUNT), _or_null(_TEXT)
_OBJECTIVES = _each(_NUMBER_OR_NULL)
_STATE_COUNTS = _record(complete=_COUNT, pruned=_COUNT, infeasible=_COUNT)
_IN_PART = {"part": _TEXT, "at": _TIME}
_FINDING = _record(
    kind=_TEXT,
    severity={"enum": ["error", "warning", "info"]},
    count=_COUNT,
    first_time=_or_null({"type": "integer"}),
    message=_TEXT,
    hint=_TEXT,
)
_TEST = _record(
    name=_TEXT,
    value=_NUMBER_OR_NULL,
    unit=_TEXT,
    threshold=_TEXT,
    passed=_or_null(_FLAG),
    decides=_FLAG,
    meaning=_TEXT,
)
_SPAN = _record(is_first=_COUNT, is_stop=_COUNT, oos_first=_COUNT, oos_stop=_COUNT)

# Kinds of events with an identity: what they tell, and their fields.
EVENTS: dict[str, tuple[str, dict[str, Schema]]] = {
    "configuration": ("Every setting of the run, by section and key.", {"sections": _each(_VALUES)}),
    "data": (
        "The candles it ran on, and what their audit found.",
        {
            "of": {"enum": ["candles", "detail"]},
            "exchange": _TEXT,
            "symbol": _TEXT,
            "timeframe": _TEXT,
            "synthetic": _FLAG,
            "bars": _COUNT,
            "first": _or_null(_TIME),
            "last": _or_null(_TIME),
            "fingerprint": _TEXT,
            "gaps": _COUNT,
            "missing_bars": _COUNT,
            "findings": _list_of(_FINDING),
        },
    ),
    "markets": (
        "Of a run over several markets: the run of each, which has a trail of its own.",
        {
            "markets": _list_of(
                _record(
                    run=_TEXT, label=_TEXT, exchange=_TEXT, symbol=_TEXT, timeframe=_TEXT, synthetic=_FLAG, bars=_COUNT
                )
            ),
        },
    ),
    "signal": (
        "An entry signal: the program it started, or why it started none.",
        {
            **_IN_PART,
            "bar": _COUNT,
            "side": _SIDE,
            "close": _NUMBER,
            "risk": _NUMBER_OR_NULL,
            "anchor": _NUMBER_OR_NULL,
            "vwap": _NUMBER_OR_NULL,
            "program_id": _COUNT_OR_NULL,
            "why": {"enum": [*WHY, None]},
            "position": _COUNT_OR_NULL,
            "working": _COUNT_OR_NULL,
            "same_side": _or_null(_FLAG),
            "cancelled": _FLAG,
        },
    ),
    "fill": (
        "One fill of an entry program.",
        {
            **_IN_PART,
            "program_id": _COUNT,
            "tier": _TIER,
            "price": _NUMBER,
            "reference": _NUMBER,
            "quantity": _NUMBER,
            "fee": _NUMBER,
            "liquidity": _LIQUIDITY,
        },
    ),
    "program": (
        "The end of an entry program: what was ordered, what was filled, and why no more.",
        {
            **_IN_PART,
            "program_id": _COUNT,
            "side": _SIDE,
            "signal_time": _TIME,
            "arrival_price": _NUMBER,
            "risk": _NUMBER,
            "quantity": _NUMBER,
            "filled_quantity": _NUMBER,
            "fills": _COUNT,
            "outcome": {"enum": [outcome.name.lower() for outcome in Outcome]},
            "shortfall_bp": _NUMBER_OR_NULL,
        },
    ),
    "exit": (
        "The end of a position: why, at what price, and what it made.",
        {
            **_IN_PART,
            "trade_id": _COUNT,
            "program_id": _COUNT,
            "side": _SIDE,
            "reason": {"enum": [reason.name.lower() for reason in Exit]},
            "entry_time": _TIME,
            "entry_price": _NUMBER,
            "exit_price": _NUMBER,
            "reference": _NUMBER,
            "stop": _NUMBER_OR_NULL,
            "target": _NUMBER_OR_NULL,
            "liquidity": _LIQUIDITY,
            **dict.fromkeys(
                ("quantity", "initial_risk", "gross_pnl", "fees", "slippage", "funding", "net_pnl"),
                _NUMBER,
            ),
            "bars_held": _COUNT,
            "mfe": _NUMBER,
            "mae": _NUMBER,
            "ambiguous": _FLAG,
        },
    ),
    "trial": (
        "One configuration that a search tried.",
        {
            "part": _TEXT,
            "stage": _TEXT,
            "number": _COUNT,
            "batch": _COUNT,
            "state": {"enum": ["complete", "pruned", "infeasible"]},
            "parameters": _each(_NUMBER),
            "objectives": _OBJECTIVES,
            "violation": _NUMBER_OR_NULL,
            "trades": _COUNT,
            "net_pnl": _NUMBER_OR_NULL,
            "max_drawdown": _NUMBER_OR_NULL,
        },
    ),
    "choice": (
        "What a stage of a search chose, and what that is better than.",
        {
            "part": _TEXT,
            "stage": _TEXT,
            "sampler": _TEXT,
            "chosen": _COUNT,
            "parameters": _each(_NUMBER),
            "changed": _each({"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}),
            "base_objectives": _OBJECTIVES,
            "objectives": _OBJECTIVES,
            "better_by": _OBJECTIVES,
            "violation": _NUMBER_OR_NULL,
            "trials": _COUNT,
            "states": _STATE_COUNTS,
            "interrupted": _FLAG,
            "notes": _TEXTS,
        },
    ),
    "window": (
        "One window of the walk-forward.",
        {
            "number": _COUNT,
            "is_start": _TIME,
            "is_end": _TIME,
            "oos_start": _TIME,
            "oos_end": _TIME,
            "bars": _SPAN,
            "trials": _COUNT,
            "scored": _FLAG,
            "parameters": _VALUES,
            "in_sample": _or_null(_OBJECTIVES),
            "out_of_sample": _or_null(_OBJECTIVES),
            "why_not_scored": _TEXT_OR_NULL,
            "notes": _TEXTS,
        },
    ),
    "walk_forward": (
        "The windows together: their scores, and the metrics of the stitched out-of-sample series.",
        {
            "reoptimized": _FLAG,
            "windows": _COUNT,
            "scored": _COUNT,
            "bars": _COUNT,
            "trades": _COUNT,
            "consistency_score": _NUMBER,
            "stability_score": _NUMBER,
            "efficiency": _NUMBER_OR_NULL,
            "confidence_score": _NUMBER,
            "oos_psr": _NUMBER_OR_NULL,
            "out_of_sample": _VALUES,
            "notes": _TEXTS,
        },
    ),
    "permutation": (
        "The permutation test: the best on the real market, and on each shuffled one.",
        {
            "objective": _TEXT,
            "real": _NUMBER_OR_NULL,
            "nulls": _list_of(_NUMBER_OR_NULL),
            "planned": _COUNT,
            "beaten": _COUNT,
            "stopped_early": _FLAG,
            "p_value": _NUMBER,
        },
    ),
    "selection": (
        "What the trials say about the search.",
        {
            "trials": _COUNT,
            "distinct": _COUNT,
            **dict.fromkeys(("pbo", "probability_of_loss", "degradation_slope"), _NUMBER_OR_NULL),
            "splits": _COUNT_OR_NULL,
            "path_sharpes": _list_of(_NUMBER_OR_NULL),
            **dict.fromkeys(("spa", "reality_check", "sharpe_variance", "effective_trials"), _NUMBER_OR_NULL),
        },
    ),
    "scenario": (
        "What the out-of-sample pieces would have made in a less kind world.",
        {"name": _TEXT, "net_pnl": _NUMBER, "trades": _COUNT},
    ),
    "verdict": (
        "The verdict, every test beside it, and what it looked at.",
        {
            "word": {"enum": [str(word) for word in Word]},
            "reasons": _TEXTS,
            "would_change": _TEXTS,
            "tests": _list_of(_TEST),
            "evidence": _each(_NUMBER_OR_NULL),
            "n_trials": _COUNT,
            "notes": _TEXTS,
        },
    ),
}

# What is said at a moment: what it tells, the fields it always has, and those it may have.
SAID: dict[str, tuple[str, dict[str, Schema], dict[str, Schema]]] = {
    "run_begun": ("The run begins.", {}, {"market": _TEXT}),
    "run_resumed": ("The same run goes on, or is gone through once more.", {}, {"market": _TEXT}),
    "planned": (
        "Of a run over several markets: what each will go through, in seconds by estimate; null where nobody knows.",
        {"stages": _list_of(_record(market=_TEXT, stage=_TEXT, name=_TEXT, seconds=_NUMBER_OR_NULL))},
        {},
    ),
    "stage_begun": ("A stage begins.", {"stage": _TEXT, "name": _TEXT}, {}),
    "progress": (
        "How far the stage at work is.",
        {"step": _TEXT, "done": _COUNT, "total": _COUNT},
        {"best": _NUMBER_OR_NULL},
    ),
    "stage_done": (
        "A stage has ended, and what came out.",
        {"stage": _TEXT, "name": _TEXT, "text": _TEXT},
        {"state": {"enum": ["done", "kept", "skipped"]}, "seconds": _NUMBER},
    ),
    "run_done": ("The run has ended.", {}, {"verdict": _TEXT, "report": _TEXT}),
    "interrupted": ("Ctrl-C or a signal ended the run.", {}, {"reason": _TEXT}),
    "failed": ("An error ended the run.", {}, {"reason": _TEXT}),
}

_HEAD: dict[str, Schema] = {
    "time": {**_TIME, "description": "when the line was written"},
    "run": {"type": "string", "description": "name of the run"},
    "seq": {**_COUNT, "description": "number of the line, from 0"},
    "kind": {"enum": [*EVENTS, *SAID]},
}


def line_schema() -> Schema:
    """The JSON schema (draft 2020-12) of one line."""
    identity = {"id": {"type": "string", "description": "the same in every run of the same inputs"}}
    definitions = {
        kind: {
            "description": description,
            "type": "object",
            "properties": {**_HEAD, **identity, **fields},
            "required": [*_HEAD, *identity, *fields],
            "additionalProperties": False,
        }
        for kind, (description, fields) in EVENTS.items()
    } | {
        kind: {
            "description": description,
            "type": "object",
            "properties": {**_HEAD, **fields, **others, "id": False},
            "required": [*_HEAD, *fields],
        }
        for kind, (description, fields, others) in SAID.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a barwise audit trail",
        "type": "object",
        "properties": _HEAD,
        "required": list(_HEAD),
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}}
            for kind in definitions
        ],
        "$defs": definitions,
    }
