"""What a run searched and how its result was judged, for the pages that draw both."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from barwise.dashboard.answer_schemas import (
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    NUMBER,
    NUMBER_OR_NULL,
    NUMBERS,
    NUMBERS_OR_NULL,
    SETTING,
    TEXT,
    TEXTS,
    TIME,
    TIMES,
    at_least,
    by_name,
    list_of,
    or_null,
    record,
)
from barwise.dashboard.endpoints import Endpoints, Query
from barwise.dashboard.errors import NotFound
from barwise.dashboard.ledger_answers import DATA_RUN, LedgerView
from barwise.dashboard.level_of_detail import thinned
from barwise.dashboard.run_rows import read_document
from barwise.dashboard.search_answers import (
    FIGURES_OF_TRIALS,
    NO_TRIALS,
    PLATEAU,
    STAGE,
    plateau_document,
    stage_document,
    trial_figures,
)
from barwise.dashboard.state import dashboard
from barwise.errors import CheckpointError
from barwise.optimizer.objective import Objective
from barwise.report.charts import compact
from barwise.report.run_comparison import OUT_OF_SAMPLE
from barwise.validation.error_rates import error_sentence

endpoints = Endpoints("search and verdict")

_LEADER: Final = record(
    rank=COUNT, stage=TEXT, trial=COUNT, chosen=FLAG, objectives=by_name(NUMBER_OR_NULL), trades=COUNT, net_pnl=NUMBER,
    max_drawdown=NUMBER, kept=NUMBER_OR_NULL, sharpe_by_third=NUMBERS_OR_NULL, parameters=by_name(SETTING),
)  # fmt: skip
_MARKET: Final = at_least(exchange=TEXT, symbol=TEXT, timeframe=TEXT, bars=COUNT, fingerprint=TEXT)


# -- The search --------------------------------------------------------------------------------------------------------


@endpoints.get(
    "/runs/<name>/optimization",
    "How a run searched: its stages and trials, what mattered, what lies around it, and the ledger of its data.",
    answers=record(
        name=TEXT,
        market=_MARKET,
        strategy=TEXT,
        objectives=list_of(record(name=TEXT, direction={"enum": ["maximize", "minimize"]})),
        parameters=list_of(record(name=TEXT, before=SETTING, after=SETTING, changed=FLAG)),
        stages=list_of(STAGE),
        n_trials=COUNT,
        luck_line=NUMBER_OR_NULL,
        interrupted=FLAG,
        seconds=NUMBER_OR_NULL,
        notes=TEXTS,
        plateau=or_null(PLATEAU),
        top=list_of(_LEADER),
        **FIGURES_OF_TRIALS,
        rungs=list_of(record(stage=TEXT, levels=list_of(record(bars=COUNT, share=NUMBER, configurations=COUNT)))),
        ledger=or_null(record(trials=COUNT, related=COUNT, luck_line=NUMBER_OR_NULL, runs=list_of(DATA_RUN))),
    ),
)
def optimization(name: str) -> dict[str, Any]:
    """The search of a run.

    Raises:
        NotFound: There is no such run, or it has searched nothing.
        DataError: A file of it is damaged.
    """
    document = _stage(name, 7)
    notes = [str(note) for note in document["notes"]]
    table = dashboard().results.table(name, "trials")
    figures = NO_TRIALS
    if document["stages"] and table is not None:
        figures = trial_figures(document, table)
    elif document["stages"]:
        notes.append(f"the single trials are not here: data/exports/{name}-trials.csv is missing.")
    try:
        ledger = LedgerView(dashboard().home).of_search(document)
    except CheckpointError as error:  # what was found is there without it
        ledger = None
        notes.append(error.message)
    before, after = document["parameters"]["before"], document["parameters"]["after"]
    return {
        "name": name,
        "market": document["market"],
        "strategy": document["strategy"],
        "objectives": _objectives(document),
        "parameters": [
            {"name": key, "before": before[key], "after": after.get(key), "changed": before[key] != after.get(key)}
            for key in before
        ],
        "stages": [stage_document(stage, figures["states"].get(stage["stage"])) for stage in document["stages"]],
        **{key: document.get(key) for key in ("n_trials", "luck_line", "interrupted", "seconds")},
        "notes": notes,
        "plateau": plateau_document(document.get("plateau")),
        "top": document.get("top", []),
        **{key: figures[key] for key in FIGURES_OF_TRIALS},
        "rungs": [] if ledger is None else ledger.pop("rungs"),
        "ledger": ledger,
    }


def _stage(name: str, number: Literal[7, 8]) -> Mapping[str, Any]:
    """The document of a stage.

    Raises:
        NotFound: There is no such run, or the stage was not run.
        DataError: The document is damaged.
    """
    results = dashboard().results
    what = {7: "optimization", 8: "validation"}[number]
    path = results.folder / f"{results.require(name)}.stage{number}.json"
    if path.is_file() and path.resolve().parent == results.folder.resolve():
        return read_document(path)
    # A search or a validation by itself is the document of its stage.
    if results.kind(name) == what:
        return results.document(name)
    if results.kind(name) == "multi":
        raise NotFound(
            f"{name} is a run over several markets, and each of them has its own {what}.",
            hint="ask for the run of one market.",
        )
    whole = results.document(name)
    if "trail" in whole:
        raise NotFound(
            f"{name} has no {what} yet: it is going on, or was ended before it came that far.",
            hint="its trail tells how far it is.",
        )
    skipped: Mapping[str, str] = whole.get("skipped") or {}
    reasons = [text for stage, text in skipped.items() if stage.split(".")[0] == str(number)]
    raise NotFound(
        f"{name} has no {what}: {reasons[0] if reasons else 'it was not part of it'}.",
        hint="start a run whose configuration asks for it.",
    )


def _objectives(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was searched for; empty where nothing was."""
    if not document["stages"]:
        return []
    names = str(document["stages"][0]["objective"]).split("+")
    return [
        {"name": name, "direction": direction}
        for name, direction in zip(names, Objective(tuple(names)).directions, strict=True)
    ]


# -- The verdict -------------------------------------------------------------------------------------------------------


class VerdictQuery(Query):
    """How fine the stitched curve is."""

    points: int = Field(2_000, ge=100, le=20_000, description="most points of the stitched equity")


_HISTOGRAM: Final = record(edges=NUMBERS, counts=list_of(COUNT))


@endpoints.get(
    "/runs/<name>/validation",
    "How a run was judged: the verdict and its tests, windows, the stitched equity, and what luck alone would show.",
    query=VerdictQuery,
    answers=at_least(
        name=TEXT,
        market=_MARKET,
        verdict=TEXT,
        reasons=TEXTS,
        would_change=TEXTS,
        tests=list_of(at_least(name=TEXT, threshold=TEXT, meaning=TEXT)),
        error_rate=TEXT,
        walk_forward=or_null(
            at_least(
                drift=by_name(NUMBERS_OR_NULL),
                windows=list_of(
                    at_least(number=COUNT, scored=FLAG, is_start_ms=TIME, is_end_ms=TIME, oos_start_ms=TIME,
                             oos_end_ms=TIME)
                ),
            )
        ),
        stitched=or_null(record(time=TIMES, equity=NUMBERS, drawdown=NUMBERS, bars=COUNT)),
        permutation=or_null(
            at_least(real=NUMBER_OR_NULL, nulls=NUMBERS_OR_NULL, planned=COUNT, beaten=COUNT, p_value=NUMBER_OR_NULL)
        ),
        selection=at_least(pbo=NUMBER_OR_NULL, splits=COUNT_OR_NULL, path_sharpes=NUMBERS_OR_NULL),
        overfitting=or_null(
            record(
                blocks=COUNT,
                logits=_HISTOGRAM,
                degradation=record(
                    chosen_in=NUMBERS, other_half=NUMBERS, slope=NUMBER_OR_NULL, intercept=NUMBER_OR_NULL
                ),
            )
        ),
        scenarios=list_of(at_least(name=TEXT)),
        jitters=list_of(at_least(share=NUMBER)),
        monte_carlo=by_name(or_null({"type": "object"})),
        intervals=by_name(list_of(NUMBER_OR_NULL, minItems=2, maxItems=2)),
        luck_line=NUMBER_OR_NULL,
        notes=TEXTS,
    ),
)  # fmt: skip
def validation(name: str, query: VerdictQuery) -> dict[str, Any]:
    """The verdict on a run.

    Raises:
        NotFound: There is no such run, or nothing was validated.
        DataError: A file of it is damaged.
    """
    document = _stage(name, 8)
    walked = document["walk_forward"]
    return {
        **document,
        "name": name,
        "error_rate": error_sentence(),
        # Documents of earlier versions have no spread of the splits.
        "overfitting": document.get("overfitting"),
        "walk_forward": None if walked is None else {**walked, "windows": list(map(_in_ms, walked["windows"]))},
        "stitched": None if walked is None else _stitched(name, query.points),
    }


def _in_ms(window: Mapping[str, Any]) -> dict[str, Any]:
    """A window with its edges in ms too."""
    edges = {
        f"{edge}_ms": round(1000 * datetime.fromisoformat(window[edge]).timestamp())
        for edge in ("is_start", "is_end", "oos_start", "oos_end")
    }
    return {**window, **edges}


def _stitched(name: str, points: int) -> dict[str, Any] | None:
    """The equity of all windows one after the other, thinned out; None where its table is not there."""
    results = dashboard().results
    if results.table(name, "equity") is None or (curve := results.curves(name).get(OUT_OF_SAMPLE)) is None:
        return None
    rows = thinned([curve.equity], points)
    return {
        "time": curve.time[rows].tolist(),
        "equity": compact(curve.equity[rows].tolist()),
        "drawdown": compact((-curve.drawdown[rows]).tolist()),
        "bars": len(curve.equity),
    }
