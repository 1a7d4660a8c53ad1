"""What the endpoints of a run answer, field by field."""

from typing import Final

from barwise.core.layout import Exit, Outcome
from barwise.dashboard.answer_schemas import (
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    NUMBER,
    NUMBER_OR_NULL,
    NUMBERS,
    NUMBERS_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    TIMES,
    Schema,
    at_least,
    by_name,
    list_of,
    or_null,
    record,
)
from barwise.dashboard.endpoints import OBJECT
from barwise.dashboard.run_rows import FIGURES, KINDS, PARTS
from barwise.dashboard.run_state import STATES
from barwise.report.run_comparison import HELD
from barwise.timeframe import Timeframe

_KIND: Final[Schema] = {"enum": list(KINDS)}
_STATE: Final[Schema] = {"enum": list(STATES)}
_PART: Final[Schema] = {"enum": list(PARTS)}
_SIDE: Final[Schema] = {"enum": ["long", "short"]}
_REASON: Final[Schema] = {"enum": [reason.name.lower() for reason in Exit]}
_OUTCOME: Final[Schema] = {"enum": [outcome.name.lower() for outcome in Outcome]}
_LIQUIDITY: Final[Schema] = {"enum": ["maker", "taker"]}
_TIMEFRAME: Final[Schema] = {"enum": list(Timeframe.names())}
_TIER: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 5}
_PERCENT: Final[Schema] = {"type": "number", "description": "percent"}

RUN_ROW: Final = record(
    name=TEXT,
    kind=_KIND,
    market=or_null(record(exchange=TEXT, symbol=TEXT, timeframe=TEXT, synthetic=FLAG)),
    markets={"type": "integer", "minimum": 0, "description": "how many; above 1 for kind multi"},
    labels={**TEXTS, "description": "of kind multi: what its markets are called"},
    bars=COUNT_OR_NULL,
    first_ms=TIME_OR_NULL,
    last_ms=TIME_OR_NULL,
    state=_STATE,
    verdict=TEXT_OR_NULL,
    verdicts={**by_name(COUNT), "description": "of kind multi: how many of its markets have which"},
    metrics={
        **record(**{part: or_null(record(**dict.fromkeys(FIGURES, NUMBER_OR_NULL))) for part in PARTS}),
        "description": "of kind multi: of all markets with equal weight, and the trades of all of them",
    },
    begun_ms=TIME,
    ended_ms=TIME_OR_NULL,
)
RUNS: Final = record(runs=list_of(RUN_ROW))
RUN: Final = at_least(name=TEXT, kind=_KIND, state=_STATE, parts=list_of(_PART))
EQUITY: Final = record(
    series=list_of(
        record(
            part={"enum": [*PARTS, HELD]},
            time={**TIMES, "description": "close of the bar"},
            equity=NUMBERS,
            drawdown={"type": "array", "items": {**_PERCENT, "maximum": 0}},
            bars={**COUNT, "description": "of the span, of which these points are left"},
        )
    )
)
CANDLES: Final = record(
    timeframe=_TIMEFRAME,
    merged={"type": "integer", "minimum": 1, "description": "bars of this timeframe in one candle"},
    bars_shown=COUNT,
    time={**TIMES, "description": "open of the candle"},
    **dict.fromkeys(("open", "high", "low", "close", "volume"), NUMBERS),
    lines=by_name({**NUMBERS_OR_NULL, "description": "at the close of each candle"}),
    ranges=by_name(record(low=NUMBERS_OR_NULL, high=NUMBERS_OR_NULL)),
    closed={
        "type": "array",
        "items": list_of(TIME, minItems=2, maxItems=2),
        "description": "spans of the whole run without bars, nights and weekends; none where the market never closes",
    },
)
_TRADE: Final[dict[str, Schema]] = {
    "trade_id": COUNT,
    "piece": or_null({"type": "integer", "minimum": 1}),
    "program_id": COUNT,
    "side": _SIDE,
    "entry_time": TIME,
    "exit_time": TIME,
    "entry_price": NUMBER,
    "exit_price": NUMBER,
    "quantity": NUMBER,
    "tiers": {"type": "string", "description": "those that filled it: 1+2"},
    "exit_reason": _REASON,
    **dict.fromkeys(("gross_pnl", "fees", "slippage", "funding", "net_pnl"), NUMBER),
    "r": NUMBER_OR_NULL,
    "bars_held": COUNT,
    "mfe": NUMBER,
    "mae": NUMBER,
    "initial_risk": NUMBER,
    "ambiguous": FLAG,
}
TRADES: Final = record(part=_PART, total=COUNT, trades=list_of(record(**_TRADE)))
TRADES_CSV: Final[Schema] = {"type": "string", "contentMediaType": "text/csv"}
_LEVELS: Final[Schema] = {
    "type": "array",
    "items": list_of(NUMBER_OR_NULL, minItems=2, maxItems=2),
    "description": "time and price from which on it stood there",
}
OVERLAYS: Final = record(
    programs=list_of(
        record(
            program_id=COUNT,
            trade_id=COUNT_OR_NULL,
            side=_SIDE,
            signal_time=TIME,
            end_time=TIME,
            arrival_price=NUMBER,
            quantity=NUMBER,
            filled_quantity=NUMBER,
            outcome=_OUTCOME,
            orders={
                "type": "array",
                "items": list_of(NUMBER_OR_NULL, minItems=3, maxItems=3),
                "description": "time of a bar, tier, and the price that it could pay at most",
            },
        )
    ),
    fills=list_of(
        record(
            program_id=COUNT,
            trade_id=COUNT_OR_NULL,
            piece=or_null({"type": "integer", "minimum": 1}),
            side=_SIDE,
            time=TIME,
            tier=_TIER,
            price=NUMBER,
            quantity=NUMBER,
            fee=NUMBER,
            liquidity=_LIQUIDITY,
        )
    ),
    trades=list_of(record(**_TRADE, stops=_LEVELS, targets=_LEVELS, trailing_from=TIME_OR_NULL)),
    omitted=COUNT,
    levels={
        "type": "boolean",
        "description": "whether orders, stops and targets are there; if not, zoom in",
    },
)
STORY: Final = record(
    story=at_least(
        **dict.fromkeys(("market", "trade", "signal", "entry", "exit", "result", "certainty"), OBJECT),
        levels=list_of(OBJECT),
    ),
    lines=TEXTS,
)
_GROUP: Final[dict[str, Schema]] = {
    "trades": COUNT,
    "wins": COUNT,
    "losses": COUNT,
    "win_rate": or_null(_PERCENT),
    "net_pnl": NUMBER,
    "average_trade": NUMBER_OR_NULL,
}
_MONTH: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 12}
STATISTICS: Final = record(
    part=_PART,
    monthly=list_of(record(**{"year": COUNT, "month": _MONTH, "return": _PERCENT})),
    yearly=list_of(record(**{"year": COUNT, "return": _PERCENT})),
    hourly=list_of(
        record(
            weekday={"type": "integer", "minimum": 0, "maximum": 6, "description": "Monday is 0"},
            hour={"type": "integer", "minimum": 0, "maximum": 23, "description": "of the entry, UTC"},
            net=NUMBER,
            trades=COUNT,
        )
    ),
    distribution=record(edges=NUMBERS, counts=list_of(COUNT), unit={"enum": ["R", "quote"]}),
    excursions=list_of(
        record(
            trade_id=COUNT,
            side=_SIDE,
            mfe=NUMBER,
            mae=NUMBER,
            net=NUMBER,
            risk={**NUMBER, "description": "initial risk in money: R is an amount over it"},
        )
    ),
    excursions_omitted=COUNT,
    tiers=list_of(at_least(tier=_TIER, name=TEXT, programs=COUNT, fills=COUNT, fill_rate=NUMBER_OR_NULL)),
    programs=or_null(at_least(programs=COUNT, programs_filled=COUNT, missed=COUNT)),
    costs=list_of(record(name=TEXT, amount=NUMBER, is_total=FLAG)),
    exits=list_of(record(reason=_REASON, **_GROUP)),
    sides=list_of(record(side=_SIDE, **_GROUP)),
    band=or_null(record(worst=NUMBER, path=NUMBER, best=NUMBER, ambiguous_trades=COUNT)),
)
TRAIL: Final = record(
    lines=list_of(at_least(time=TEXT, run=TEXT, seq=COUNT, kind=TEXT)),
    last_seq={"type": "integer", "minimum": -1, "description": "ask for what is after it"},
    more=FLAG,
)
LOG: Final = record(
    lines=list_of(
        record(
            time={**TIME, "description": "ms since 1970-01-01 UTC; of a job's lines that of their stage"},
            level=TEXT,
            message=TEXT,
        )
    ),
    sources={**TEXTS, "description": "the files that these lines are from, below the home folder"},
)
MULTI: Final = at_least(
    name=TEXT,
    kind={"const": "multi"},
    state=_STATE,
    summary=TEXTS,
    markets=list_of(OBJECT),
    correlations=OBJECT,
    portfolios=OBJECT,
    notes=list_of({}),
)
