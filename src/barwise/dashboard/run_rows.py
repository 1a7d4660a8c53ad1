"""A run in a few words: what was run on which market, what came out, and when; of a run at work what is known so far.

Every command writes a document of its own kind. Here the few figures that a list of runs shows are taken out of each.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from barwise.dashboard.run_state import Told, ms_of
from barwise.errors import DataError
from barwise.report.run_comparison import BASELINE, OPTIMIZED, OUT_OF_SAMPLE

Kind = Literal["run", "multi", "backtest", "optimization", "validation", "walk_forward"]
Document = Mapping[str, Any]

KINDS: tuple[str, ...] = get_args(Kind)
PARTS = (BASELINE, OPTIMIZED, OUT_OF_SAMPLE)
_EDGES = ("first", "last")
_LONG = frozenset({"equity", "trades", "programs", "missed_programs"})
FIGURES = ("sharpe_ratio", "total_return", "max_drawdown", "trades")


def damaged(name: str) -> DataError:
    """That a file is not what its name says."""
    return DataError(f"{name} is no document of a run.", hint="do the run again, and it is written anew.")


def read_document(path: Path) -> Document:
    """The document of a run, without the lists of a single backtest that have a value per bar, trade or program.

    Raises:
        DataError: It cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="check who may read it.") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path.name) from error
    if not isinstance(content, dict) or kind_of(content) not in KINDS:
        raise damaged(path.name)
    try:
        described(content, None)  # so that nobody after this has to doubt its form
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path.name) from error
    return {name: value for name, value in content.items() if name not in _LONG}


def kind_of(document: Document) -> str:
    """The document of a single backtest is the only one that does not say what it is."""
    kind = str(document.get("kind", "backtest" if "metrics" in document else ""))
    return "walk_forward" if kind == "stability_check" else kind


def described(content: Document | None, told: Told | None) -> dict[str, Any]:
    """Market, verdict and figures of a run, from its document or from what its trail says."""
    empty = dict.fromkeys(("market", "bars", "first_ms", "last_ms"))
    if content is None:
        data = None if told is None else told.data
        market = empty if data is None else _market(data, data.get("bars"), *map(ms_of, map(data.get, _EDGES)))
        return {"kind": "run", **market, "markets": 1, "verdict": None, "metrics": dict.fromkeys(PARTS)}
    kind = kind_of(content)
    if kind == "multi":
        found = {"markets": len(content.get("markets") or ()), "verdict": None, "metrics": dict.fromkeys(PARTS)}
        return {"kind": kind, **empty, **found}
    told_of = content.get("market") or content
    first, last = (
        told_of[f"{edge}_ms"] if f"{edge}_ms" in told_of else ms_of(told_of.get(f"{edge}_bar"))
        for edge in ("first", "last")
    )
    verdict = content.get("verdict")
    word = verdict.get("word") if isinstance(verdict, Mapping) else verdict
    return {
        "kind": kind,
        **_market(told_of, told_of.get("bars"), first, last),
        "markets": 1,
        "verdict": word,
        "metrics": _metrics(kind, content),
    }


def _market(of: Document, bars: int | None, first: int | None, last: int | None) -> dict[str, Any]:
    names = {name: str(of.get(name, "")) for name in ("exchange", "symbol", "timeframe")}
    synthetic = bool(of.get("synthetic", names["exchange"] == "SAMPLE"))
    return {"market": {**names, "synthetic": synthetic}, "bars": bars, "first_ms": first, "last_ms": last}


def _metrics(kind: str, content: Document) -> dict[str, Any]:
    """The figures of each part, where there are any."""
    walked: Any = content.get("walk_forward")
    found: dict[str, Any] = dict.fromkeys(PARTS)
    match kind:
        case "run":
            comparison = content["comparison"]
            found = {part: None if comparison[part] is None else comparison[part]["figures"] for part in PARTS}
        case "backtest":
            found[BASELINE] = content["metrics"]
        case "optimization":
            found[BASELINE], found[OPTIMIZED] = content["baseline"], content["best"]
        case "validation":
            found[OPTIMIZED] = content["in_sample"]
            found[OUT_OF_SAMPLE] = None if walked is None else walked["out_of_sample"]
        case _:
            found[OUT_OF_SAMPLE] = content["out_of_sample"]
    return {part: None if figures is None else _figures(figures) for part, figures in found.items()}


def _figures(figures: Document) -> dict[str, Any]:
    return {name: figures.get(name, figures.get("total_trades") if name == "trades" else None) for name in FIGURES}


def times_of(content: Document | None, told: Told | None, files: list[Path]) -> dict[str, int]:
    """When a run began last and when it ended, by its trail, else by its document, else by its file."""
    if told is not None:
        return {"begun_ms": told.begun_ms, "ended_ms": told.last_ms}
    ended = ms_of((content or {}).get("written"))
    if ended is None:
        ended = files[0].stat().st_mtime_ns // 1_000_000
    seconds = (content or {}).get("seconds")
    took = round(1000 * seconds) if isinstance(seconds, int | float) else 0
    return {"begun_ms": ended - took, "ended_ms": ended}
