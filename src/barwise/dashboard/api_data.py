"""What lies in the candle store and in the trial ledger of this home folder."""

from typing import Any, Final
from urllib.parse import quote, unquote

from pydantic import Field

from barwise.dashboard.answer_schemas import (
    COUNT,
    FLAG,
    NUMBERS,
    TEXT,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    TIMES,
    list_of,
    record,
)
from barwise.dashboard.endpoints import Endpoints, Query
from barwise.dashboard.ledger_answers import DATA_RUN, DATA_SET, LedgerView
from barwise.dashboard.state import dashboard
from barwise.dashboard.stored_markets import Opened, StoredMarkets
from barwise.data.quality import Finding
from barwise.data.store import Hole, Series
from barwise.errors import ConfigError

endpoints = Endpoints("data")

MOST_HOLES: Final = 1_000
_SPAN: Final = record(start_ms=TIME, end_ms=TIME)
_LATEST: Final = 253_402_300_799_999  # of the year 9999


# -- Candles -----------------------------------------------------------------------------------------------------------


@endpoints.get(
    "/data",
    "What is stored, series by series, in alphabetical order.",
    answers=record(
        markets=list_of(
            record(
                exchange=TEXT,
                symbol=TEXT,
                timeframe=TEXT,
                path={**TEXT, "description": "of the series in this API, behind the prefix"},
                synthetic=FLAG,
                first_ms=TIME,
                last_ms=TIME,
                spans=list_of(_SPAN),
                bars=COUNT,
                gaps=COUNT,
                missing=COUNT,
                sources=TEXTS,
                corrections=COUNT,
                files=COUNT,
                bytes=COUNT,
            )
        ),
        bytes=COUNT,
    ),
)
def stored() -> dict[str, Any]:
    """Everything in the store; the SAMPLE market is made when it is asked for, and is not in it.

    Raises:
        DataError: A file cannot be read.
    """
    found = StoredMarkets(dashboard().home).all()
    return {"markets": [_listed(series) for series in found], "bytes": sum(series.size for series in found)}


class MarketQuery(Query):
    """Which bars, and how many at most."""

    start: int | None = Field(None, ge=0, le=_LATEST, description="first time shown, ms UTC")
    end: int | None = Field(None, ge=0, le=_LATEST, description="the time before which the last bar opens, ms UTC")
    points: int = Field(1_500, ge=10, le=20_000, description="most candles")


@endpoints.get(
    "/data/<exchange>/<symbol>/<timeframe>",
    "One stored series: its gaps, what its audit found, and candles put together so that they fit a screen.",
    query=MarketQuery,
    answers=record(
        exchange=TEXT,
        symbol=TEXT,
        timeframe=TEXT,
        synthetic=FLAG,
        first_ms=TIME,
        last_ms=TIME,
        bars=COUNT,
        corrections=COUNT,
        files=COUNT,
        bytes=COUNT,
        gaps=record(
            count=COUNT,
            missing=COUNT,
            longest=COUNT,
            places=list_of(record(start_ms=TIME, end_ms=TIME, bars=COUNT, checked_ms=TIME_OR_NULL)),
            omitted=COUNT,
            sessions=TEXTS,
        ),
        audit=record(
            ok=FLAG,
            findings=list_of(
                record(
                    kind=TEXT,
                    severity={"enum": ["error", "warning", "info"]},
                    count=COUNT,
                    first_ms=TIME_OR_NULL,
                    message=TEXT,
                    hint=TEXT,
                )
            ),
        ),
        candles=record(
            timeframe=TEXT,
            merged={"type": "integer", "minimum": 1, "description": "bars of that timeframe in one candle"},
            bars_shown=COUNT,
            time=TIMES,
            open=NUMBERS,
            high=NUMBERS,
            low=NUMBERS,
            close=NUMBERS,
            volume=NUMBERS,
        ),
    ),
)
def market(exchange: str, symbol: str, timeframe: str, query: MarketQuery) -> dict[str, Any]:
    """One series of the store; in a path `/` of a symbol is written %252F.

    Raises:
        NotFound: It is not stored.
        ConfigError: The span ends before it begins.
        DataError: A file cannot be read.
    """
    found = StoredMarkets(dashboard().home).opened(exchange, unquote(symbol), timeframe)
    if query.start is not None and query.end is not None and query.start > query.end:
        raise ConfigError(f"start is {query.start}, after end, {query.end}.", hint="give the earlier time as start.")
    candles = found.candles
    return {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": candles.timeframe.name,
        "synthetic": candles.synthetic,
        "first_ms": int(candles.time[0]),
        "last_ms": int(candles.time[-1]),
        "bars": len(candles),
        "corrections": found.corrections,
        "files": found.files,
        "bytes": found.size,
        "gaps": _gaps(found),
        "audit": {"ok": found.audit.ok, "findings": [_finding(finding) for finding in found.audit.findings]},
        "candles": _candles(found, query),
    }


def _listed(series: Series) -> dict[str, Any]:
    spans = [{"start_ms": span.start, "end_ms": span.end} for span in series.spans]
    # A server undoes one escape before it looks for the slashes of a path, so those of a symbol are escaped twice.
    names = quote(series.exchange, safe=""), quote(quote(series.symbol, safe=""), safe=""), series.timeframe.name
    return {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "timeframe": series.timeframe.name,
        "path": f"/data/{'/'.join(names)}",
        "synthetic": series.synthetic,
        "first_ms": series.spans[0].start,
        "last_ms": series.spans[-1].end - series.timeframe.ms,
        "spans": spans,
        "bars": series.bars,
        "gaps": series.gaps,
        "missing": series.missing,
        "sources": list(series.sources),
        "corrections": series.corrections,
        "files": series.files,
        "bytes": series.size,
    }


def _gaps(found: Opened) -> dict[str, Any]:
    """Missing bars by the audit, and the places with when their source was last asked for them."""
    gaps = found.audit.gaps
    return {
        "count": gaps.count,
        "missing": gaps.missing,
        "longest": gaps.longest,
        "places": [_place(hole) for hole in found.holes[:MOST_HOLES]],
        "omitted": max(0, len(found.holes) - MOST_HOLES),
        "sessions": [day.isoformat() for day in gaps.sessions],
    }


def _place(hole: Hole) -> dict[str, Any]:
    return {"start_ms": hole.span.start, "end_ms": hole.span.end, "bars": hole.bars, "checked_ms": hole.checked}


def _finding(finding: Finding) -> dict[str, Any]:
    told = finding.to_dict()
    return {"first_ms": told.pop("first_time"), **told}


def _candles(found: Opened, query: MarketQuery) -> dict[str, Any]:
    shown = found.levels.shown(query.start, query.end, query.points)
    columns = ("time", "open", "high", "low", "close", "volume")
    return {
        "timeframe": shown.timeframe.name,
        "merged": shown.merged,
        "bars_shown": len(shown.time),
        **{name: getattr(shown, name).tolist() for name in columns},
    }


# -- The ledger --------------------------------------------------------------------------------------------------------


class LedgerQuery(Query):
    """How many runs, newest first."""

    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(200, ge=1, le=2_000)


@endpoints.get(
    "/ledger",
    "What the trial ledger has on record: runs, newest first, and how often each data set was searched.",
    query=LedgerQuery,
    answers=record(total=COUNT, runs=list_of(DATA_RUN), data_sets=list_of(DATA_SET), trials=COUNT, bytes=COUNT),
)
def ledger(query: LedgerQuery) -> dict[str, Any]:
    """The ledger of the home folder; empty where there is none.

    Raises:
        CheckpointError: It is damaged, or of a newer version.
    """
    found = LedgerView(dashboard().home).overview()
    runs = found["runs"][query.offset : query.offset + query.limit]
    named = {run["fingerprint"] for run in runs}
    return {
        **found,
        "total": len(found["runs"]),
        "runs": runs,
        "data_sets": [one for one in found["data_sets"] if one["fingerprint"] in named],
    }
