"""Runs side by side: what each of them found, in what they differ, and whether they can be compared at all.

A higher figure is only better where everything else is the same. So what differs is said first: another market, another
span, other costs; and of figures that grow with the span no best one is named where the spans differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from barwise.core.figures import YEAR_MS
from barwise.core.layout import IntArray
from barwise.dashboard.answer_schemas import (
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    NUMBER_OR_NULL,
    NUMBERS_OR_NULL,
    SETTING,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    TIMES,
    list_of,
    record,
)
from barwise.dashboard.endpoints import Endpoints, Query
from barwise.dashboard.errors import NotFound
from barwise.dashboard.run_tables import Curve
from barwise.dashboard.state import dashboard
from barwise.errors import BarwiseError, ConfigError
from barwise.report.charts import compact
from barwise.report.run_comparison import BASELINE, FIGURES, OPTIMIZED, Figure
from barwise.timeframe import DAY_MS, Timeframe

endpoints = Endpoints("comparison")

FEWEST: Final = 2
MOST: Final = 8
# Spans as far apart as this share of the longer one are the same: a search begins a few bars after a plain backtest.
_SAME_SPAN: Final = 0.05
_PER_30_DAYS: Final = "_per_30_days"
_TOTALS: Final = {"trades": "total_trades"}


class ComparisonQuery(Query):
    """Which runs, and which part of each."""

    runs: str = Field(
        min_length=3, max_length=1_300, description=f"{FEWEST} to {MOST} names of runs, with commas between them"
    )
    part: Literal["baseline", "optimized", "out_of_sample"] | None = Field(
        None, description="by default what each run ended with: optimized where there is such a part"
    )
    points: int = Field(1_000, ge=50, le=5_000, description="most points of each curve")


@dataclass(frozen=True)
class Side:
    """One run of a comparison.

    Attributes:
        name, part: What is compared.
        market: Exchange, symbol, timeframe, whether synthetic.
        verdict: In a word, or None.
        first_ms, end_ms: Open of the first bar and close of the last.
        bars: How many.
        figures: By the names of `FIGURES`.
        settings: By group (strategy, execution, fees) and name.
        curve: Equity, or None where it cannot be had.
        without: Why there is no curve, or "".
    """

    name: str
    part: str
    market: Mapping[str, Any]
    verdict: str | None
    first_ms: int
    end_ms: int
    bars: int
    figures: Mapping[str, float | int | None]
    settings: Mapping[tuple[str, str], Any]
    curve: Curve | None
    without: str


@endpoints.get(
    "/compare",
    "Two to eight runs side by side: figures, parameters and equity, and why they may not be comparable.",
    query=ComparisonQuery,
    answers=record(
        runs=list_of(
            record(
                name=TEXT,
                part=TEXT,
                market=record(exchange=TEXT, symbol=TEXT, timeframe=TEXT, synthetic=FLAG),
                verdict=TEXT_OR_NULL,
                first_ms=TIME,
                end_ms=TIME,
                bars=COUNT,
            ),
            minItems=FEWEST,
            maxItems=MOST,
        ),
        warnings=TEXTS,
        metrics=list_of(
            record(
                name=TEXT,
                label=TEXT,
                unit={"enum": ["count", "money", "percent", "ratio", "R"]},
                better={"enum": ["higher", "lower", None]},
                values=NUMBERS_OR_NULL,
                best=COUNT_OR_NULL,
            )
        ),
        parameters=list_of(
            record(group={"enum": ["strategy", "execution", "fees"]}, name=TEXT, values=list_of(SETTING), differs=FLAG)
        ),
        equity=record(
            begins_ms=TIME_OR_NULL,
            time=TIMES,
            series=list_of(record(name=TEXT, part=TEXT, values=list_of(NUMBER_OR_NULL))),
        ),
    ),
)
def comparison(query: ComparisonQuery) -> dict[str, Any]:
    """The runs in the order in which they were named.

    Raises:
        NotFound: A run or its part is not there.
        ConfigError: Fewer than two different runs, or more than eight, or one that is no backtest.
        DataError: A file is damaged.
    """
    names = [name.strip() for name in query.runs.split(",")]
    if len(names) > MOST:
        raise ConfigError(f"{len(names)} runs are named; {FEWEST} to {MOST} can be compared.", hint="name fewer.")
    sides = [side_of(name, query.part) for name in names]
    if len(set(names)) < max(FEWEST, len(names)):
        raise ConfigError(
            f"{FEWEST} to {MOST} different runs can be compared; got {', '.join(names)}.",
            hint="name each run once, with commas between them: runs=a,b.",
        )
    same_span = all(_same_span(sides[0], side) for side in sides[1:])
    return {
        "runs": [
            {
                "name": side.name,
                "part": side.part,
                "market": side.market,
                "verdict": side.verdict,
                "first_ms": side.first_ms,
                "end_ms": side.end_ms,
                "bars": side.bars,
            }
            for side in sides
        ],
        "warnings": warnings(sides),
        "metrics": [_metric(figure, sides, same_span) for figure in FIGURES],
        "parameters": parameters(sides),
        "equity": rebased(sides, query.points),
    }


# -- One run -----------------------------------------------------------------------------------------------------------


def side_of(name: str, part: str | None) -> Side:
    """One run as a side of a comparison.

    Args:
        name: Of the run.
        part: Which of its parts; None: what it ended with.

    Raises:
        NotFound: There is no such run or part, or no result yet.
        ConfigError: It is no backtest.
        DataError: A file is damaged.
    """
    results = dashboard().results
    document = results.document(name)
    kind = results.kind(name)
    if "trail" in document:
        raise NotFound(
            f"{name} has no result yet: it is going on, or was ended before it had one.",
            hint="compare runs that are done.",
        )
    if kind == "run":
        return _of_run(name, part, document)
    if kind == "backtest":
        return _of_backtest(name, part, document)
    raise ConfigError(
        f"{name} is of the kind {kind}, which has no equity of its own to compare.",
        hint="compare runs (barwise run) and backtests.",
    )


def _of_run(name: str, part: str | None, document: Mapping[str, Any]) -> Side:
    columns = document["comparison"]
    chosen = part or (OPTIMIZED if columns[OPTIMIZED] is not None else BASELINE)
    column = columns[chosen]
    if column is None:
        there = [one for one in ("baseline", "optimized", "out_of_sample") if columns[one] is not None]
        raise NotFound(f"{name} has no part {chosen}.", hint=f"it has {', '.join(there)}.")
    settings = document["parameters"]
    # The windows of a walk-forward have parameters of their own each: the search's are the nearest thing to say.
    strategy = settings[BASELINE] if chosen == BASELINE else settings[OPTIMIZED] or settings[BASELINE]
    own = {"class": document["strategy"], **strategy}
    execution = {"quantity": document["quantity"], **settings["execution"]}
    curve, without = _curve(name, chosen)
    return Side(
        name=name,
        part=chosen,
        market=_market(document["market"]),
        verdict=document["verdict"]["word"],
        first_ms=_ms(column["span"]["first_bar"]),
        end_ms=_ms(column["span"]["end"]),
        bars=column["span"]["bars"],
        figures=column["figures"],
        settings=_settings(own, execution, settings["fees"]),
        curve=curve,
        without=without,
    )


def _of_backtest(name: str, part: str | None, document: Mapping[str, Any]) -> Side:
    if part not in (None, BASELINE):
        raise NotFound(f"{name} has no part {part}.", hint="it is one backtest, and has baseline.")
    metrics, strategy = document["metrics"], document["strategy"]
    curve, without = _curve(name, BASELINE)
    bar = Timeframe.parse(document["timeframe"]).ms
    execution = {"quantity": document["quantity"], **document["execution"]}
    return Side(
        name=name,
        part=BASELINE,
        market=_market(document),
        verdict=None,
        first_ms=_ms(document["first_bar"]) if curve is None else int(curve.time[0]) - bar,
        end_ms=_ms(document["last_bar"]) + bar,
        bars=document["bars"] - document["trade_from"],
        figures={figure.name: _figure(figure, metrics) for figure in FIGURES},
        settings=_settings({"class": strategy["name"], **strategy["parameters"]}, execution, document["fees_schedule"]),
        curve=curve,
        without=without,
    )


def _curve(name: str, part: str) -> tuple[Curve | None, str]:
    """The equity of a part, or why there is none: figures can be compared without it."""
    try:
        found = dashboard().results.curves(name).get(part)
    except BarwiseError as error:
        return None, error.message
    return found, "" if found is not None else "neither its table nor its manifest is there."


def _market(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("exchange", "symbol", "timeframe", "synthetic")}


def _figure(figure: Figure, metrics: Mapping[str, Any]) -> float | int | None:
    """A figure of a backtest, as `Part.figure` works it out for a run."""
    if figure.metric:
        value: float | int | None = metrics.get(figure.metric)
        return value
    name = figure.name.removesuffix(_PER_30_DAYS)
    total, years = metrics.get(_TOTALS.get(name, name)), metrics.get("years")
    return None if total is None or not years else total / (years * YEAR_MS / (30 * DAY_MS))


def _settings(
    strategy: Mapping[str, Any], execution: Mapping[str, Any], fees: Mapping[str, Any]
) -> dict[tuple[str, str], Any]:
    """All settings; where each fee comes from is no setting."""
    groups = {"strategy": strategy, "execution": execution, "fees": fees}
    return {
        (group, name): value
        for group, values in groups.items()
        for name, value in values.items()
        if group != "fees" or isinstance(value, int | float | None) or name == "name"
    }


def _ms(text: str) -> int:
    return round(1000 * datetime.fromisoformat(text).timestamp())


# -- Side by side ------------------------------------------------------------------------------------------------------


def warnings(sides: Sequence[Side]) -> list[str]:
    """Why figures of these runs should not be held against each other; each sentence once."""
    found = []

    def differing(what: str, values: Sequence[Any], because: str) -> None:
        different = list(dict.fromkeys(map(str, values)))
        if len(different) > 1:
            found.append(f"They are of different {what}: {', '.join(different)}. {because}")

    differing(
        "markets",
        [f"{side.market['exchange']} {side.market['symbol']}" for side in sides],
        "What was easy in one may have been hard in the other.",
    )
    differing("timeframes", [side.market["timeframe"] for side in sides], "Costs weigh more the more often one trades.")
    if len({side.market["synthetic"] for side in sides}) > 1:
        found.append("Some of the prices are SYNTHETIC and some are real.")
    if not all(_same_span(sides[0], side) for side in sides[1:]):
        found.append("They cover different spans: no best one is named for what grows with the span.")
    if _differ(sides, "fees") or _differ(sides, "execution", ("slippage", "maker_fee", "taker_fee", "fees")):
        found.append("They have different costs: a better result may be nothing but a cheaper venue.")
    if _differ(sides, "execution", ("initial_capital", "quantity", "leverage")):
        found.append("They trade different sizes: amounts of money and percentages cannot be held against each other.")
    differing("parts", [side.part for side in sides], "What was searched on a span looks better on it than it is.")
    found += [f"The equity of {side.name} is not drawn: {side.without}" for side in sides if side.without]
    return found


def _differ(sides: Sequence[Side], group: str, names: Sequence[str] | None = None) -> bool:
    def chosen(side: Side) -> dict[str, Any]:
        return {
            name: value
            for (of, name), value in side.settings.items()
            if of == group and (name in names if names is not None else name != "name")
        }

    return any(chosen(side) != chosen(sides[0]) for side in sides[1:])


def _same_span(one: Side, other: Side) -> bool:
    """Whether two runs cover the same time but for a few bars at the ends."""
    longest = max(one.end_ms - one.first_ms, other.end_ms - other.first_ms)
    return (
        abs(one.end_ms - other.end_ms) <= _SAME_SPAN * longest
        and abs(one.first_ms - other.first_ms) <= _SAME_SPAN * longest
        and abs(one.bars * _bar_ms(one) - other.bars * _bar_ms(other)) <= _SAME_SPAN * longest
    )


def _bar_ms(side: Side) -> int:
    return Timeframe.parse(side.market["timeframe"]).ms


def _metric(figure: Figure, sides: Sequence[Side], same_span: bool) -> dict[str, Any]:
    values = [side.figures.get(figure.name) for side in sides]
    known = {at: value for at, value in enumerate(values) if value is not None and isfinite(value)}
    best = None
    if figure.better and len(set(known.values())) > 1 and (same_span or not figure.grows):
        best = max(known, key=lambda at: figure.better * known[at])
    return {
        "name": figure.name,
        "label": figure.label,
        "unit": figure.unit,
        "better": {1: "higher", -1: "lower", 0: None}[figure.better],
        "values": values,
        "best": best,
    }


def parameters(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Every setting of any of the runs; one that a run does not have is None there."""
    names = dict.fromkeys(name for side in sides for name in side.settings)
    rows = []
    for group, name in sorted(names, key=lambda of: ("strategy", "execution", "fees").index(of[0])):
        values = [side.settings.get((group, name)) for side in sides]
        rows.append(
            {"group": group, "name": name, "values": values, "differs": any(value != values[0] for value in values[1:])}
        )
    return rows


def rebased(sides: Sequence[Side], points: int) -> dict[str, Any]:
    """The curves in percent of what each run had at one and the same time, on one calendar.

    The calendar is that of the closes of bars in the time that all runs cover, in equal steps. Where there is no such
    time each curve begins at 0 where it begins, and all of them stand on the time that any of them covers.

    Args:
        sides: The runs.
        points: Most points.

    Returns:
        `begins_ms`, from where on percentages count, None where each has its own beginning; `time`; and for each run
        its `values`, None where it has none.
    """
    curves = [side.curve for side in sides if side.curve is not None and len(side.curve.time)]
    if not curves:
        return {"begins_ms": None, "time": [], "series": []}
    first = max(int(curve.time[0]) for curve in curves)
    last = min(int(curve.time[-1]) for curve in curves)
    shared = first < last
    if not shared:
        first, last = min(int(curve.time[0]) for curve in curves), max(int(curve.time[-1]) for curve in curves)
    time = _calendar(first, last, min(map(_bar_ms, sides)), points)
    series = []
    for side in sides:
        if side.curve is not None and len(side.curve.time):
            values = _on(side.curve, time, first if shared else int(side.curve.time[0]))
            series.append({"name": side.name, "part": side.part, "values": values})
    return {"begins_ms": first if shared else None, "time": time.tolist(), "series": series}


def _calendar(first: int, last: int, bar: int, points: int) -> IntArray:
    """Whole numbers of bars from the first time on, and the last time itself; at most `points` of them."""
    step = bar * max(1, -(-(last - first) // (bar * (points - 1))))
    found: IntArray = np.unique(np.append(np.arange(first, last, step, dtype=np.int64), last))
    return found


def _on(curve: Curve, time: IntArray, base: int) -> list[float | None]:
    """A curve in percent of what it had at `base`, with what it had last at each time; None where it does not reach."""
    rows = np.searchsorted(curve.time, time, side="right") - 1
    start = curve.equity[np.searchsorted(curve.time, base, side="right") - 1]
    if not start > 0.0:
        return [None] * len(time)
    percent = compact((100.0 * (curve.equity[np.maximum(rows, 0)] / start - 1.0)).tolist())
    inside = (rows >= 0) & (time <= curve.time[-1])
    return [value if there else None for value, there in zip(percent, inside.tolist(), strict=True)]
