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
# What is said of several markets, where there is one.
_ONE: Mapping[str, Any] = {"markets": 1, "labels": [], "verdicts": {}}
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
    if content is None:
        data = None if told is None else told.data
        empty = dict.fromkeys(("market", "bars", "first_ms", "last_ms"))
        market = empty if data is None else _market(data, data.get("bars"), *map(ms_of, map(data.get, _EDGES)))
        many = 1 if told is None else told.markets
        kind = "run" if many == 1 else "multi"
        return {"kind": kind, **market, **_ONE, "markets": many, "verdict": None, "metrics": dict.fromkeys(PARTS)}
    kind = kind_of(content)
    if kind == "multi":
        return {"kind": kind, **_together(content)}
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
        **_ONE,
        "verdict": word,
        "metrics": _metrics(kind, content),
    }


def _market(of: Document, bars: int | None, first: int | None, last: int | None) -> dict[str, Any]:
    names = {name: str(of.get(name, "")) for name in ("exchange", "symbol", "timeframe")}
    synthetic = bool(of.get("synthetic", names["exchange"] == "SAMPLE"))
    return {"market": {**names, "synthetic": synthetic}, "bars": bars, "first_ms": first, "last_ms": last}


def _together(content: Document) -> dict[str, Any]:
    """The same of a run over several markets: how often each verdict was reached, and the figures of equal weight."""
    markets = content.get("markets") or []
    names = {name: {str(one.get(name, "")) for one in markets} for name in ("exchange", "timeframe")}
    common = {name: found.pop() if len(found) == 1 else "" for name, found in names.items()}
    firsts, lasts = ([one[name] for one in markets if name in one] for name in ("first_ms", "last_ms"))
    return {
        "market": {**common, "symbol": "", "synthetic": any(one.get("synthetic", False) for one in markets)},
        "bars": None,
        "first_ms": min(firsts, default=None),
        "last_ms": max(lasts, default=None),
        "markets": len(markets),
        "labels": [str(one["label"]) for one in markets],
        "verdict": None,
        "verdicts": dict(content.get("verdicts") or {}),
        "metrics": {part: _equal_weight(part, content, markets) for part in PARTS},
    }


def _equal_weight(part: str, content: Document, markets: list[Document]) -> dict[str, Any] | None:
    """The figures of all markets made equal again each day; None where fewer than two share enough days."""
    portfolio = (content.get("portfolios") or {}).get(part) or {}
    if portfolio.get("rebalanced") is None:
        return None
    members = [one[part] for one in markets if one["label"] in portfolio["markets"] and one[part] is not None]
    return _figures(portfolio["rebalanced"]) | {"trades": sum(one["total_trades"] for one in members)}


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
