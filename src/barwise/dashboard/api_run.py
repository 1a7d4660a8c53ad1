"""The API of one run: how it stands, what it found, and everything that its charts and tables are made of."""

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field

from barwise.dashboard import run_schemas as schemas
from barwise.dashboard.chart_answers import (
    candles_answer,
    equity_answer,
    overlays_answer,
    stitched_overlays,
)
from barwise.dashboard.endpoints import Endpoints, Query
from barwise.dashboard.errors import NotFound
from barwise.dashboard.run_log import log_of
from barwise.dashboard.state import dashboard
from barwise.dashboard.statistics_answer import statistics_of, statistics_of_walk
from barwise.dashboard.trade_list import Column, Filter, Order, Outcome, Reason, Side, chosen, listed, trades_csv
from barwise.errors import ConfigError, did_you_mean
from barwise.report.run_comparison import BASELINE, HELD, OPTIMIZED, OUT_OF_SAMPLE
from barwise.trail.schema import EVENTS, SAID

endpoints = Endpoints("runs")

PartName = Literal["baseline", "optimized", "out_of_sample"]
_CURVES = (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD)
_LAST_MS = 253_402_300_799_999  # the end of the year 9999

Instant = Annotated[int | None, Field(ge=0, le=_LAST_MS)]
_START = "First instant of the span, ms UTC; by default the first there is."
_END = "End of the span, ms UTC, which is not part of it; by default the last there is."


class PartQuery(Query):
    """Which part."""

    part: PartName | None = Field(None, description="By default optimized, where there is one, else baseline.")


class SpanQuery(Query):
    """Which span."""

    start: Instant = Field(None, description=_START)
    end: Instant = Field(None, description=_END)


class EquityQuery(SpanQuery):
    """Which curves of which span."""

    parts: str = Field(
        ",".join(_CURVES),
        max_length=200,
        description=f"By commas: {', '.join(_CURVES)}; one that is not there is left out.",
    )
    points: int = Field(2_000, ge=10, le=20_000, description="Most points of a curve.")


class CandlesQuery(SpanQuery, PartQuery):
    """Which candles, with whose lines."""

    points: int = Field(1_500, ge=10, le=20_000, description="Most candles: the timeframe is chosen by it.")


class OverlaysQuery(SpanQuery, PartQuery):
    """What was done in which span."""

    most: int = Field(300, ge=1, le=2_000, description="Most trades; of more, so many are chosen, evenly spread.")


class TradesFilter(SpanQuery, PartQuery):
    """Which trades, in which order; the span is that of the entry."""

    side: Side | None = None
    reason: Reason | None = Field(None, description="Of the exit.")
    tier: int | None = Field(None, ge=1, le=5, description="One that filled a part of it.")
    result: Outcome | None = Field(None, description="win: above 0 after costs; loss: below.")
    sort: Column = "entry_time"
    order: Order = "asc"


class TradesQuery(TradesFilter):
    """The same, a page of them."""

    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(200, ge=1, le=5_000)


class TrailQuery(Query):
    """Which lines of the trail."""

    kinds: str | None = Field(None, max_length=500, description="By commas; by default all.")
    after: int = Field(-1, ge=-1, le=2**53, description="Only lines with a higher number.")
    limit: int = Field(500, ge=1, le=5_000)


class LogQuery(Query):
    """How many lines of the log."""

    lines: int = Field(200, ge=1, le=5_000, description="The last ones.")


@endpoints.get("/runs", "All runs in a few words, the newest first.", answers=schemas.RUNS)
def runs() -> dict[str, Any]:
    """Every run of the home folder."""
    return {"runs": dashboard().results.rows()}


@endpoints.get("/runs/<name>", "The document of a run, with how it stands and which parts it has.", answers=schemas.RUN)
def run(name: str) -> dict[str, Any]:
    """One run."""
    return dashboard().results.whole(name)


@endpoints.get(
    "/runs/<name>/equity",
    "Equity and drawdown of the parts, with every high and low that can be seen.",
    query=EquityQuery,
    answers=schemas.EQUITY,
)
def equity(name: str, query: EquityQuery) -> dict[str, Any]:
    """The curves of a run."""
    parts = _listed(query.parts, _CURVES, "a curve")
    return equity_answer(dashboard().results.curves(name), parts, query.start, query.end, query.points)


@endpoints.get(
    "/runs/<name>/candles",
    "Candles of a span on the timeframe that fits, with the lines that the strategy went by.",
    query=CandlesQuery,
    answers=schemas.CANDLES,
)
def candles(name: str, query: CandlesQuery) -> dict[str, Any]:
    """The candles of a run; every window of a walk-forward has other lines, so that part has none."""
    results = dashboard().results
    part = results.require_part(name, query.part)
    again = results.again(name, BASELINE if part == OUT_OF_SAMPLE else part)
    lines = {} if part == OUT_OF_SAMPLE else again.lines
    return candles_answer(again.levels, lines, query.start, query.end, query.points)


@endpoints.get(
    "/runs/<name>/overlays",
    "Entry programs, fills, and trades with their stops and targets, in a span.",
    query=OverlaysQuery,
    answers=schemas.OVERLAYS,
)
def overlays(name: str, query: OverlaysQuery) -> dict[str, Any]:
    """What was done in a span."""
    results = dashboard().results
    part = results.require_part(name, query.part)
    if part == OUT_OF_SAMPLE:
        return stitched_overlays(results.stitched(name), query.start, query.end, query.most)
    return overlays_answer(results.again(name, part), query.start, query.end, query.most)


@endpoints.get(
    "/runs/<name>/trades", "The trades of a part, filtered and sorted.", query=TradesQuery, answers=schemas.TRADES
)
def trades(name: str, query: TradesQuery) -> dict[str, Any]:
    """A page of the trades."""
    results = dashboard().results
    part = results.require_part(name, query.part)
    found = chosen(listed(results, name, part), _filter(query), query.sort, query.order)
    page = found[query.offset : query.offset + query.limit]
    return {"part": part, "total": len(found), "trades": [entry.to_dict() for entry in page]}


@endpoints.get(
    "/runs/<name>/trades.csv",
    "The same trades, all of them, as a table for spreadsheets.",
    query=TradesFilter,
    answers=schemas.TRADES_CSV,
)
def trades_table(name: str, query: TradesFilter) -> Response:
    """The trades as a file."""
    results = dashboard().results
    part = results.require_part(name, query.part)
    found = chosen(listed(results, name, part), _filter(query), query.sort, query.order)
    return Response(
        trades_csv(results, name, part, found),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}-{part}-trades.csv"'},
    )


@endpoints.get(
    "/runs/<name>/trades/<part>/<int:trade>/story",
    "Everything there is to know about one trade, as values and as sentences.",
    answers=schemas.STORY,
)
def story(name: str, part: str, trade: int) -> dict[str, Any]:
    """The story of a trade."""
    from barwise.story import story_of, told

    result = dashboard().results.backtest(name, part)
    if trade >= len(result.trades):
        there = f"trades 0 to {len(result.trades) - 1:,}" if result.trades else "none"
        raise NotFound(f"there is no trade {trade}; this part has {there}.", hint="GET .../trades lists them.")
    found = story_of(result, trade)
    return {"story": found, "lines": told(found)}


@endpoints.get(
    "/runs/<name>/statistics",
    "Months, hours, sizes, excursions, tiers, costs and exits of a part.",
    query=PartQuery,
    answers=schemas.STATISTICS,
)
def statistics(name: str, query: PartQuery) -> dict[str, Any]:
    """The statistics of a part."""
    results = dashboard().results
    part = results.require_part(name, query.part)
    if part == OUT_OF_SAMPLE:
        walked = [trade for _, trade in results.stitched(name).trades]
        found = statistics_of_walk(walked, results.curves(name)[part], results.document(name))
    else:
        found = statistics_of(results.backtest(name, part))
    return {"part": part, **found}


@endpoints.get("/runs/<name>/trail", "Lines of the audit trail, in order.", query=TrailQuery, answers=schemas.TRAIL)
def trail(name: str, query: TrailQuery) -> dict[str, Any]:
    """What the run decided and said."""
    kinds = None if query.kinds is None else frozenset(_listed(query.kinds, (*EVENTS, *SAID), "a kind of line"))
    lines, more = dashboard().results.trail_lines(name, kinds, query.after, query.limit)
    return {"lines": lines, "last_seq": lines[-1]["seq"] if lines else query.after, "more": more}


@endpoints.get(
    "/runs/<name>/log",
    "The last lines of the log about a run, and of what its job said where it was started from here.",
    query=LogQuery,
    answers=schemas.LOG,
)
def log(name: str, query: LogQuery) -> dict[str, Any]:
    """What the program said while it was at the run."""
    known = dashboard()
    row = known.results.row(name)
    job = next((one for one in known.live.jobs.known() if name in one["runs"]), None)
    of = row["market"] if job is not None and row["kind"] != "multi" and len(job["runs"]) > 1 else None
    market = None if of is None else " ".join((of["exchange"], of["symbol"], of["timeframe"]))
    return log_of(known.home, name, query.lines, job, market)._asdict()


@endpoints.get("/multi/<name>", "The document of a run over several markets.", answers=schemas.MULTI)
def multi(name: str) -> dict[str, Any]:
    """One run over several markets."""
    results = dashboard().results
    found = results.whole(name)
    if found["kind"] == "multi":
        return found
    if results.kind(name) == "multi":
        raise NotFound(f"{name} has no document yet.", hint="it is written when all of its markets are done.")
    raise NotFound(f"{name} is no run over several markets.", hint=f"GET /api/v1/runs/{name} has it.")


def _listed(text: str, known: tuple[str, ...], what: str) -> list[str]:
    """Names by commas, each once.

    Raises:
        ConfigError: One is not known.
    """
    found = list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in found:
        if name not in known:
            raise ConfigError(
                f"{name[:60]!r} is not {what}.{did_you_mean(name[:60], known)}", hint=f"use {', '.join(known)}."
            )
    return found


def _filter(query: TradesFilter) -> Filter:
    return Filter(query.side, query.reason, query.tier, query.result, query.start, query.end)
