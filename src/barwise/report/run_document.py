"""A whole run as one JSON document for other programs: what was found, how sure it is, and how to get it again.

Single bars, trades and trials are not in it: the documents of stages 5, 7 and 8 and the CSV tables beside it have them.
`written`, `seconds` and `measured_at` are the only keys whose values depend on the clock. docs/run-report.md describes
every key.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from barwise.report import statements
from barwise.report.files import versions
from barwise.report.findings import RunFindings
from barwise.report.run_comparison import (
    BASELINE,
    DIFFERENCES,
    FIGURES,
    HELD,
    OPTIMIZED,
    OUT_OF_SAMPLE,
    Comparison,
    Part,
    compare,
    utc,
)
from barwise.report.validation import finite
from barwise.validation.error_rates import error_rates, error_sentence

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult
    from barwise.optimizer.trials import StageResult
    from barwise.result import BacktestResult
    from barwise.validation.engine import ValidationReport

SCHEMA_VERSION = 1
# Values bar by bar and path by path: the document of stage 8 has them.
_LONG = frozenset({"edges", "counts", "points", "fan", "observed"})
_JUDGES_ANOTHER = (
    "the verdict is about the search that was repeated on every shuffled market; that search chose other "
    "parameters than the optimized column has."
)
_OF_VALIDATION = (
    "walk_forward", "permutation", "overfitting", "monte_carlo", "intervals", "scenarios", "jitters", "luck_line",
)  # fmt: skip
_STAGE_FIGURES = (
    "stage", "sampler", "objective", "base_value", "best_value", "best_sharpe", "num_trials", "pruned",
    "total_trades", "net_pnl", "seconds", "interrupted",
)  # fmt: skip


def run_document(findings: RunFindings, written: datetime) -> dict[str, Any]:
    """A run as plain JSON types; what is infinite or undefined is None.

    Args:
        findings: What to tell.
        written: When the report is written, aware.
    """
    found = compare(findings)
    optimization, validation = findings.optimization, findings.validation
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "run",
        "name": findings.name,
        "written": written.astimezone(UTC).isoformat(timespec="seconds"),
        "market": _market(findings.baseline),
        "strategy": statements.strategy_name(findings.baseline),
        "capital": findings.baseline.initial_capital,
        "quantity": float(findings.baseline.params["quantity"]),
        "n_trials": findings.n_trials,
        "verdict": _verdict(findings),
        "comparison": comparison_document(found),
        "band": {name: _band(result) for name, result in _backtests(findings).items()},
        "costs": {name: part.costs() for name, part in found.parts.items() if name != HELD},
        "tiers": {
            name: {"tiers": result.tier_statistics, "programs": result.program_totals}
            for name, result in _backtests(findings).items()
        },
        "data": _data(findings),
        "parameters": _parameters(findings),
        "optimization": None if optimization is None else _optimization(optimization),
        **_validation(validation),
        "look_ahead": None if findings.look_ahead is None else findings.look_ahead.to_dict(),
        "skipped": {stage.number: stage.text for stage in findings.stages if stage.state == "skipped"},
        "notes": [{"part": part, "text": text} for part, text in notes(findings)],
        "stages": [asdict(stage) for stage in findings.stages],
        "configuration": _plain(findings.config),
        "hardware": _plain(findings.hardware),
        "versions": versions(),
        "reproduce": {"fingerprint": findings.baseline.candles.fingerprint, "commands": commands(findings)},
    }
    cleaned: dict[str, Any] = finite(content)
    return cleaned


# -- What several reports of a run say ---------------------------------------------------------------------------------


def commands(findings: RunFindings) -> list[str]:
    """What to type to get the run again, to check it, and to be told how a trade came about."""
    name = findings.name
    return [f"barwise run data/results/{name}.config.toml", f"barwise verify {name}", f"barwise audit {name} --trade 0"]


def notes(findings: RunFindings) -> list[tuple[str, str]]:
    """What a reader should know, with the part it came from, each once, the gravest first."""
    optimization, validation = findings.optimization, findings.validation
    found: list[tuple[str, str]] = []
    if findings.look_ahead is not None and not findings.look_ahead.ok:
        found.append(("strategy", str(findings.look_ahead)))
    for part, result in _backtests(findings).items():
        if result.ruined:
            found.append((part, statements.ruin(result)))
    if optimization is not None and optimization.interrupted:
        found.append(("optimization", "interrupted: the best of what had been tried until then."))
    if validation is not None:
        if not judges_the_optimized(findings):
            found.append(("validation", _JUDGES_ANOTHER))
        found += [("validation", note) for note in validation.notes]
    found += [("data", note) for note in findings.baseline.notes]
    if optimization is not None:
        found += [("optimization", note) for note in optimization.notes]
    seen: dict[str, str] = {}
    for part, text in found:
        seen.setdefault(text, part)
    return [(part, text) for text, part in seen.items()]


def judges_the_optimized(findings: RunFindings) -> bool:
    """Whether the verdict's own search ended with the strategy of the optimized column."""
    validation = findings.validation
    return validation is None or validation.best.strategy == findings.chosen.strategy


def skipped(findings: RunFindings, number: str) -> str:
    """Why a stage, or the first of its parts, was not run; what is known where no stage says it."""
    for stage in findings.stages:
        if stage.state == "skipped" and (stage.number == number or stage.number.startswith(f"{number}.")):
            return stage.text
    return f"stage {number} was not run"


def changed_parameters(findings: RunFindings) -> dict[str, tuple[Any, Any]]:
    """Parameters that the optimization changed: what they were and what they are."""
    before, after = findings.baseline.strategy, findings.chosen.strategy
    return {
        name: (getattr(before, name), getattr(after, name))
        for name in type(after).model_fields
        if getattr(before, name) != getattr(after, name)
    }


# -- The parts of the document -----------------------------------------------------------------------------------------


def _backtests(findings: RunFindings) -> dict[str, "BacktestResult"]:
    found = {BASELINE: findings.baseline}
    if findings.optimization is not None:
        found[OPTIMIZED] = findings.optimization.best
    return found


def _market(result: "BacktestResult") -> dict[str, Any]:
    candles, detail = result.candles, statements.detail_candles(result)
    return {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": str(candles.timeframe),
        "synthetic": candles.synthetic,
        "bars": len(candles),
        "first_bar": utc(int(candles.time[0])).isoformat(),
        "last_bar": utc(int(candles.time[-1])).isoformat(),
        "fingerprint": candles.fingerprint,
        "detail_timeframe": None if detail is None else str(detail.timeframe),
        "detail_fingerprint": None if detail is None else detail.fingerprint,
    }


def _verdict(findings: RunFindings) -> dict[str, Any]:
    rates = error_rates()
    measured = {"error_rate": error_sentence(), "error_rates": None if rates is None else rates.to_dict()}
    if findings.validation is None:
        empty = {"word": None, "reasons": [skipped(findings, "8")], "would_change": [], "tests": [], "evidence": None}
        return {**empty, **measured}
    told = findings.validation.decision.to_dict()
    return {"word": told.pop("verdict"), **told, **measured}


def comparison_document(found: Comparison) -> dict[str, Any]:
    """The parts by name with their spans and figures, and the differences that mean something."""
    return {
        "units": {figure.name: figure.unit for figure in FIGURES},
        **{name: _part(found.parts[name]) if name in found.parts else None for name in _COLUMNS},
        "differences": {
            pair.name: {
                figure.name: value
                for figure in FIGURES
                if (value := found.difference(pair, figure)) is not None
            }
            for pair in DIFFERENCES
        },
    }  # fmt: skip


_COLUMNS = (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD)


def _part(part: Part) -> dict[str, Any]:
    names = {figure.metric or figure.name for figure in FIGURES}
    return {
        "label": part.label,
        "span": part.span(),
        "figures": {figure.name: part.figure(figure) for figure in FIGURES},
        "undefined": {name: reason for name, reason in part.undefined.items() if name in names},
        "buy_and_hold": {name: value for name, value in part.held.items() if name != "undefined"},
    }


def _band(result: "BacktestResult") -> dict[str, Any]:
    return asdict(result.band)


def _data(findings: RunFindings) -> dict[str, Any]:
    detail = statements.detail_candles(findings.baseline)
    return {
        "audit": findings.baseline.candles.audit.to_dict(),
        "detail_audit": None if detail is None else detail.audit.to_dict(),
        "notes": list(findings.baseline.notes),
    }


def _parameters(findings: RunFindings) -> dict[str, Any]:
    optimization = findings.optimization
    return {
        "baseline": findings.baseline.strategy.to_dict(),
        "optimized": None if optimization is None else optimization.best.strategy.to_dict(),
        "changed": {name: {"from": old, "to": new} for name, (old, new) in changed_parameters(findings).items()},
        "execution": findings.baseline.execution.to_dict(),
        "fees": findings.baseline.fees_schedule.to_dict(),
    }


def _optimization(found: "OptimizationResult") -> dict[str, Any]:
    return {
        "stages": [_search_stage(stage) for stage in found.stages],
        "luck_line": found.luck_line,
        "n_trials": found.n_trials,
        "plateau": None if found.plateau is None else found.plateau.to_dict(),
        "top": [] if found.top is None else found.top.to_list(),
        "neighbours": found.neighbours,
        "interrupted": found.interrupted,
        "seconds": found.seconds,
        "notes": list(found.notes),
    }


def _search_stage(stage: "StageResult") -> dict[str, Any]:
    searched = {
        dimension.name: {"low": dimension.low, "high": dimension.high, "step": dimension.step, "base": dimension.base}
        for dimension in stage.space.dimensions
    }
    return {name: stage[name] for name in _STAGE_FIGURES} | {"space": searched, "notes": list(stage.notes)}


def _validation(report: "ValidationReport | None") -> dict[str, Any]:
    """Everything of stage 8 but the verdict; None by name where there is none."""
    if report is None:
        return dict.fromkeys(_OF_VALIDATION)
    parts = {"reshuffled": report.reshuffled, "paths": report.paths, "missed": report.missed}
    return {
        "walk_forward": None if report.walked is None else report.walked.to_dict(),
        "permutation": None if report.permutation is None else report.permutation.to_dict(),
        "overfitting": report.selection.to_dict(),
        "monte_carlo": {name: None if part is None else _short(part.to_dict()) for name, part in parts.items()},
        "intervals": {name: {"low": one.low, "high": one.high} for name, one in report.intervals.items()},
        "scenarios": [scenario.to_dict() for scenario in report.scenarios],
        "jitters": [jitter.to_dict() for jitter in report.jitters],
        "luck_line": report.luck_line,
    }


def _short(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is there bar by bar."""
    return {
        name: _short(value) if isinstance(value, Mapping) else value
        for name, value in content.items()
        if name not in _LONG
    }


def _plain(value: Any) -> Any:
    """A setting as JSON takes it; paths, times and words of an enumeration as their text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or type(value) in {bool, int, float, str} else str(value)
