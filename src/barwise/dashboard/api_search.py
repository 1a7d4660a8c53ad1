"""What a run searched and how its result was judged, for the pages that draw both."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from barwise.core.curve import drawdown_curve
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
    TEXT_OR_NULL,
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
from barwise.report.charts import compact, extremes
from barwise.report.run_comparison import OUT_OF_SAMPLE
from barwise.validation.error_rates import error_sentence

endpoints = Endpoints("search and verdict")

_MARKET: Final = at_least(exchange=TEXT, symbol=TEXT, timeframe=TEXT, bars=COUNT, fingerprint=TEXT)


# -- The search --------------------------------------------------------------------------------------------------------


@endpoints.get(
    "/runs/<name>/optimization",
    "How a run searched: its stages and trials, what mattered, what lies around the choice, and the ledger of its data.",
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
        **FIGURES_OF_TRIALS,
        rungs=list_of(
            record(stage=TEXT, levels=list_of(record(bars=COUNT, share=NUMBER, configurations=COUNT)))
        ),
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
    states = {one["stage"]: one for one in figures["states"]}
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
        "stages": [stage_document(stage, states.get(stage["stage"])) for stage in document["stages"]],
        **{key: document.get(key) for key in ("n_trials", "luck_line", "interrupted", "seconds")},
        "notes": notes,
        "plateau": plateau_document(document.get("plateau")),
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
    found = results.stage(name, number)
    if found is not None:
        return found
    what = {7: "optimization", 8: "validation"}[number]
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
