"""What happens now, as a stream, and what makes something happen: new runs, stopped runs, runs that go on."""

import os
from typing import Any, Final

from flask import Response, request
from pydantic import Field

from barwise.dashboard.answer_schemas import (
    COUNT,
    FLAG,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    TIME_OR_NULL,
    Schema,
    at_least,
    by_name,
    list_of,
    or_null,
    record,
)
from barwise.dashboard.endpoints import OBJECT, Body, Endpoints, Query
from barwise.dashboard.form import Checked, Form
from barwise.dashboard.jobs import toml_of
from barwise.dashboard.run_settings import settings_of
from barwise.dashboard.sse import CONTENT_TYPE, EventStream
from barwise.dashboard.state import dashboard
from barwise.errors import ConfigError
from barwise.pipeline.stage_names import STAGES_OF_A_MARKET, STEPS

endpoints = Endpoints("live")

_VALUES: Final = by_name(OBJECT)
_PROBLEM: Final = record(section=TEXT, key=TEXT, message=TEXT, hint=TEXT, row=or_null(COUNT), part=TEXT)
_JOB: Final = record(
    job=TEXT,
    name=TEXT_OR_NULL,
    runs=TEXTS,
    state={"enum": ["running", "stopping", "done", "failed", "stopped", "interrupted"]},
    began_ms=TIME,
    ended_ms=TIME_OR_NULL,
    stage=or_null(at_least(number=TEXT, name=TEXT, market=TEXT)),
    progress=or_null(at_least(step=TEXT, done=COUNT, total=COUNT)),
    plan=or_null(list_of(at_least(number=TEXT, name=TEXT, text=TEXT, kept=FLAG, reason=TEXT))),
    error=or_null(record(kind=TEXT, message=TEXT, hint=TEXT)),
)
_STREAM: Final[Schema] = {"type": "string", "contentMediaType": "text/event-stream"}
# Numbers of lines that JavaScript counts exactly.
_LARGEST: Final = 2**53 - 1


class _Which(Query):
    run: str | None = Field(None, max_length=200, description="whose trail is told; none = only what concerns all runs")
    after: int = Field(-1, ge=-1, le=_LARGEST, description="number of the last line that is known; -1 = none is")


class _Values(Body):
    values: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what differs from the defaults, by section and key"
    )


class _Strategy(Body):
    name: str = Field(max_length=1_000, description="FILE.py:CLASS, of a file below the home folder; or the built-in")


class _Run(_Values):
    fresh: bool = Field(False, description="forget what is kept of this run; the trial ledger stays")
    from_stage: str | None = Field(None, max_length=20, description="do it again from 7.1, 7.2, 7.3 or 8 on")


@endpoints.get(
    "/live",
    "Server-sent events: `run` {name, state}, `job` (as in /jobs), and of the run asked for each `line` of its trail; "
    "where that is one over several markets, `market` {run, line} for the course of each.",
    query=_Which,
    answers=_STREAM,
)
def live(query: _Which) -> Response:
    """The event `reload` says that all that was told before is out of date; a connection that broke goes on by id."""
    last = request.headers.get("Last-Event-ID", "")
    # A browser that comes again says where it was, and the address still says where it began.
    after = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else query.after
    listener = dashboard().live.listen(query.run, after)
    stream = EventStream(listener, gone=request.environ.get("waitress.client_disconnected"))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream, content_type=CONTENT_TYPE, headers=headers, direct_passthrough=True)


@endpoints.get(
    "/stages",
    "What a market goes through, in order: the stages, and the steps of stage 8.",
    answers=record(
        stages=list_of(record(number=TEXT, name=TEXT)),
        steps=list_of(record(name=TEXT, planned=TEXT)),
    ),
)
def stages() -> dict[str, Any]:
    """`planned` is the line of the plan that a step belongs to."""
    return {
        "stages": [{"number": number, "name": name} for number, name in STAGES_OF_A_MARKET],
        "steps": [{"name": step.name, "planned": step.planned} for step in STEPS],
    }


@endpoints.get("/jobs", "The runs that were started from here, newest first.", answers=record(jobs=list_of(_JOB)))
def jobs() -> dict[str, Any]:
    """Those of before the last start of the dashboard too."""
    return {"jobs": dashboard().live.jobs.known()}


@endpoints.get(
    "/form",
    "Everything that a run can be told: JSON schema, defaults and where they come from, venues, strategies.",
    answers=record(schema=OBJECT, values=_VALUES, sources=_VALUES, venues=TEXTS, samples=TEXTS, strategies=TEXTS),
)
def form() -> dict[str, Any]:
    """Of the sections that `barwise config schema` describes."""
    return _form().document()


@endpoints.post(
    "/form/check",
    "What a run with these values would be, or everything that is wrong with them.",
    body=_Values,
    answers=record(ok=FLAG, errors=list_of(_PROBLEM), values=_VALUES, resolved=TEXT_OR_NULL),
)
def check(body: _Values) -> dict[str, Any]:
    """By the same rules as the command line; files only of the home folder and of the working directory."""
    checked = _form().check(body.values)
    return {
        "ok": not checked.problems,
        "errors": [problem._asdict() for problem in checked.problems],
        "values": checked.values,
        "resolved": toml_of(checked.values) if checked.values else None,
    }


@endpoints.post(
    "/form/strategy",
    "The parameters of a strategy: types, bounds, defaults, what they are for.",
    body=_Strategy,
    answers=record(schema=or_null(OBJECT), error=or_null(record(message=TEXT, hint=TEXT))),
)
def strategy(body: _Strategy) -> dict[str, Any]:
    """Its file is run for that, by another process; so this is no GET, which any page could ask for.

    A file that cannot be used is an answer like any other: it is what somebody is about to write.
    """
    try:
        return {"schema": _form().parameters(body.name), "error": None}
    except ConfigError as error:
        return {"schema": None, "error": {"message": error.message, "hint": error.hint}}


@endpoints.get(
    "/runs/<name>/settings", "What a run was told, as a form takes it.", answers=record(name=TEXT, values=_VALUES)
)
def run_settings(name: str) -> dict[str, Any]:
    """Every value by section and key; null is none."""
    return {"name": name, "values": settings_of(dashboard().results, name)}


@endpoints.post("/runs", "Start a run.", body=_Run, answers=_JOB)
def start(body: _Run) -> dict[str, Any]:
    """Its name is known a few seconds later, when its candles are; the stream tells it as `job`."""
    checked = _form().check(body.values)
    return dashboard().live.jobs.start(_right(checked), fresh=body.fresh, from_stage=body.from_stage)


@endpoints.post(
    "/runs/<name>/stop",
    "Stop a run, or a job by its name; what it has kept stays, and it can go on.",
    answers=record(name=TEXT, job=TEXT_OR_NULL, state={"const": "stopping"}),
)
def stop(name: str) -> dict[str, Any]:
    """As Ctrl-C does; one that does not end is ended after a while."""
    return dashboard().live.jobs.stop(name)


@endpoints.post("/runs/<name>/resume", "Let a run go on that was stopped or cut off.", answers=_JOB)
def resume(name: str) -> dict[str, Any]:
    """With the settings that stand in its trail."""
    return dashboard().live.jobs.resume(name)


def _form() -> Form:
    found = dashboard()
    return Form(found.home, found.live.jobs.folder, os.environ)


def _right(checked: Checked) -> Any:
    """The values of a form, if nothing is wrong with them.

    Raises:
        ConfigError: Something is; the first of it.
    """
    if not checked.problems:
        return checked.values
    first, *others = checked.problems
    place = f"[{first.section}] " if first.section else ""
    more = f" {len(others)} more: POST /api/v1/form/check lists them." if others else ""
    raise ConfigError(f"{place}{first.message}{more}", hint=first.hint)
