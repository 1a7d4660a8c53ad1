"""What the manifest of a search holds: an optimization, a walk-forward, a verdict, or a run with all of them.

Its inputs are told as those of a backtest. Its events are what the search did, in order: every trial with its objective
to the bit, what each stage chose, every window, every shuffled market, every figure of the verdict, its word. Beside
them stand the backtests it ended with, each with its fills, trades and equity. How long anything took, on how many
cores, and under which id is not in it, because none of that can be had again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig, objective_name
from barwise.data.candles import Candles
from barwise.manifest.record import (
    Manifest,
    Origin,
    configuration_of,
    data_of,
    describe_run,
    outcome_of,
    plain,
    sealed,
)
from barwise.optimizer.engine import OptimizationResult
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.search import trials_of
from barwise.optimizer.trials import StageResult
from barwise.report.findings import RunFindings
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.validation.engine import PERMUTATIONS, ValidationReport
from barwise.validation.permutation import PermutationTest
from barwise.validation.walk_forward import WalkForwardResult, WindowResult

# What decides where and how fast a search runs, and not what it finds.
_OF_THE_COMPUTER = ("workers", "storage", "address", "backend")
_LIBRARIES = ("cmaes", "optuna", "scipy")
_LIBRARY_OF = {"GP": "torch", "SKOPT": "scikit-optimize"}
_HEADLINE = ("net_pnl", "sharpe_ratio", "total_trades")
# The values of each kind of event, by name, in the order of its row.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "search": ("of", "stage", "sampler", "objectives", "box"),
    "trial": ("of", "stage", "number", "parameters", "values", "violation", "rungs", "state"),
    "choice": ("of", "stage", "trials", "cut_short", "number", "parameters"),
    "window": (
        "number", "is_start", "is_end", "oos_start", "oos_end", "bars", "trials", "parameters", "scored", "in_sample",
        "out_of_sample",
    ),
    "market": ("number", "value"),
    "figure": ("of", "name", "value"),
    "verdict": ("word", "reasons", "would_change"),
}  # fmt: skip

Row = list[Any]
Funding = Iterable[tuple[int, float]] | None


def describe_optimization(
    result: OptimizationResult,
    origin: Origin,
    search: OptimizationConfig,
    *,
    detail: Candles | None = None,
    funding: Funding = None,
    written: datetime | None = None,
) -> Manifest:
    """The manifest of an optimization, in plain JSON types.

    Args:
        result: What it found.
        origin: How its inputs can be had again.
        search: Its settings.
        detail, funding: As they were given to it.
        written: When, aware; by default now. The only part that two runs of the same inputs do not share.
    """
    settings = configuration_of(result.baseline, origin.quantity) | _search_settings(search)
    settings["stages"] = [stage.stage for stage in result.stages]
    return sealed(
        "optimization",
        origin,
        result.strategy,
        settings,
        data_of(result.candles, detail, funding),
        {
            "on_record": {"optimization": result.n_trials},
            "events": _events(_optimization_rows(result, search)),
            "backtests": _backtests({"baseline": result.baseline, "chosen": result.best}, origin),
        },
        libraries=_libraries(search),
        written=written,
    )


def describe_validation(
    report: ValidationReport,
    origin: Origin,
    search: OptimizationConfig,
    windows: WalkForwardConfig,
    *,
    detail: Candles | None = None,
    funding: Funding = None,
    written: datetime | None = None,
) -> Manifest:
    """The manifest of a verdict.

    Args:
        report: What was found.
        windows: Settings of its walk-forward.
        origin, search, detail, funding, written: As in `describe_optimization`.
    """
    settings = configuration_of(report.best, origin.quantity) | _search_settings(search)
    settings |= {
        "strategy": _strategy(_start_of(report)),
        "windows": windows.to_dict(),
        "permutations": 0 if report.permutation is None else report.permutation.planned,
    }
    return sealed(
        "validation",
        origin,
        report.best.strategy,
        settings,
        data_of(report.candles, detail, funding),
        {
            "on_record": {"validation": report.n_trials},
            "events": _events(_validation_rows(report)),
            "backtests": _backtests({"chosen": report.best, **_pieces(report.walked)}, origin),
        },
        libraries=_libraries(search),
        written=written,
    )


def describe_walk_forward(
    walked: WalkForwardResult,
    origin: Origin,
    search: OptimizationConfig,
    strategy: Strategy,
    execution: ExecutionConfig,
    *,
    detail: Candles | None = None,
    funding: Funding = None,
    written: datetime | None = None,
) -> Manifest:
    """The manifest of a walk-forward.

    Args:
        walked: What it found.
        strategy: Where each window's search started, or what every window traded.
        execution: Costs and capital.
        origin, search, detail, funding, written: As in `describe_optimization`.
    """
    settings = {
        "strategy": _strategy(strategy),
        "execution": execution.to_dict(),
        "fees": walked.pieces[0].fees_schedule.to_dict() if walked.pieces else None,
        "quantity": origin.quantity,
        "trade_from": None,  # each window has its own
        **_search_settings(search),
        "windows": walked.config.to_dict(),
    }
    return sealed(
        "walk_forward",
        origin,
        strategy,
        settings,
        data_of(walked.candles, detail, funding),
        {
            "on_record": {},  # nothing is judged here
            "events": _events(_walk_forward_rows(walked)),
            "backtests": _backtests(_pieces(walked), origin),
        },
        libraries=_libraries(search),
        written=written,
    )


def describe_job(
    findings: RunFindings,
    origin: Origin,
    search: OptimizationConfig,
    windows: WalkForwardConfig,
    permutations: int | None,
    detail: Candles | None,
    funding: Funding,
    *,
    written: datetime | None = None,
) -> Manifest:
    """The manifest of a run of the main job on one market: its baseline, its optimization, its verdict.

    Under `baseline` and `optimized` are the whole manifests of these two backtests.

    Args:
        findings: What the run found; a part that was not run is None.
        search: Settings of the optimization and of the search that is judged.
        windows: Settings of the walk-forward.
        permutations: Shuffled markets, at most; None = by profile.
        origin, detail, funding, written: As in `describe_optimization`.
    """
    written = written or datetime.now(UTC)
    settlements = None if funding is None else list(funding)
    optimization, report = findings.optimization, findings.validation
    settings = configuration_of(findings.baseline, origin.quantity) | _search_settings(search)
    on_record: dict[str, int] = {}
    rows: list[Row] = []
    pieces: dict[str, BacktestResult] = {}
    if optimization is not None:
        settings["stages"] = [stage.stage for stage in optimization.stages]
        on_record["optimization"] = optimization.n_trials
        rows += _optimization_rows(optimization, search)
    if report is not None:
        settings |= {
            "judged": _strategy(_start_of(report)),
            "windows": windows.to_dict(),
            "permutations": PERMUTATIONS[search.profile] if permutations is None else permutations,
        }
        on_record["validation"] = report.n_trials
        rows += _validation_rows(report)
        pieces = {"judged": report.best, **_pieces(report.walked)}
    runs = {"baseline": findings.baseline, "optimized": None if optimization is None else optimization.best}
    return sealed(
        "run",
        origin,
        findings.baseline.strategy,
        settings,
        data_of(findings.baseline.candles, detail, settlements),
        {
            **{
                name: None
                if result is None
                else describe_run(result, origin, detail=detail, funding=settlements, written=written)
                for name, result in runs.items()
            },
            "on_record": on_record,
            "events": _events(rows),
            "backtests": _backtests(pieces, origin),
        },
        libraries=_libraries(search),
        written=written,
    )


def was_cut_short(stage: StageResult, search: OptimizationConfig) -> bool:
    """Whether Ctrl-C or the time limit may have ended a stage: where it ends is then the computer's affair."""
    return stage.interrupted or (search.timeout is not None and stage.tried < trials_of(search, stage.space.stage))


# -- Settings ----------------------------------------------------------------------------------------------------------


def _search_settings(search: OptimizationConfig) -> dict[str, Any]:
    settings = {name: value for name, value in search.to_dict().items() if name not in _OF_THE_COMPUTER}
    if search.backend == "cuda":
        settings["backend"] = "cuda"  # trials of a graphics card are the same up to their last digits only
    functions = [objective_name(one) for one in search.objectives if callable(one)]
    if functions:
        settings["objective"] = {"function": " and ".join(functions)}
    return {"seed": search.seed, "search": settings}


def _strategy(strategy: Strategy) -> dict[str, Any]:
    return {"name": type(strategy).__name__, "parameters": strategy.to_dict()}


def _start_of(report: ValidationReport) -> Strategy:
    """Where the search that is judged started."""
    return report.stages[0].space.strategy


def _libraries(search: OptimizationConfig) -> tuple[str, ...]:
    own = _LIBRARY_OF.get(canonical_name(search.optuna_sampler))
    return _LIBRARIES if own is None else (*_LIBRARIES, own)


# -- What came out -----------------------------------------------------------------------------------------------------


def _events(rows: Iterable[Row]) -> dict[str, Any]:
    return {"fields": {kind: list(names) for kind, names in FIELDS.items()}, "rows": list(rows)}


def _row(kind: str, *values: Any) -> Row:
    assert len(values) == len(FIELDS[kind])
    return [kind, *(plain(value) for value in values)]


def _backtests(results: Mapping[str, BacktestResult], origin: Origin) -> dict[str, Any]:
    """The backtests a search ended with, by name: each one's settings, events, equity and headline."""
    return {
        name: {"configuration": configuration_of(result, origin.quantity), **outcome_of(result)}
        for name, result in results.items()
    }


def _pieces(walked: WalkForwardResult | None) -> dict[str, BacktestResult]:
    """The pieces of the stitched series, in order."""
    return {} if walked is None else {f"piece {at}": piece for at, piece in enumerate(walked.pieces, 1)}


def _optimization_rows(result: OptimizationResult, search: OptimizationConfig) -> list[Row]:
    rows = [row for stage in result.stages for row in _stage_rows("optimization", stage, was_cut_short(stage, search))]
    if result.plateau is not None and not was_cut_short(result.stages[-1], search):
        rows += _figures("neighbourhood", result.plateau.to_dict())
    return [*rows, *_figures("optimization", {"n_trials": result.n_trials, "luck_line": result.luck_line})]


def _validation_rows(report: ValidationReport) -> list[Row]:
    rows = [row for stage in report.stages for row in _stage_rows("validation", stage)]
    if report.walked is not None:
        rows += _walk_forward_rows(report.walked)
    if report.permutation is not None:
        rows += _market_rows(report.permutation)
    rows += _figures("trials", report.selection.to_dict())
    for scenario in report.scenarios:
        rows += _figures(f"stress test, {scenario.name}", {"net_pnl": scenario.net_pnl, "trades": scenario.trades})
    for jitter in report.jitters:
        rows += _figures(f"parameters off by {100.0 * jitter.share:g} %", jitter.to_dict())
    for name, part in (
        ("reshuffled trades", report.reshuffled), ("other histories", report.paths), ("missed trades", report.missed),
    ):  # fmt: skip
        rows += [] if part is None else _figures(name, part.to_dict())
    for name, interval in report.intervals.items():
        rows += _figures("intervals", {name: [interval.low, interval.high]})
    decision = report.decision
    rows += _figures("evidence", asdict(decision.evidence))
    return [*rows, _row("verdict", str(decision.word), list(decision.reasons), list(decision.would_change))]


def _stage_rows(of: str, stage: StageResult, cut_short: bool = False) -> list[Row]:
    """The box of a stage, all its trials in order, and what it chose."""
    space, trials = stage.space, stage.trials
    box = {dimension.name: [dimension.low, dimension.high, dimension.step] for dimension in space.dimensions}
    states = np.where(trials.complete, np.where(trials.violation > 0.0, "infeasible", "complete"), "pruned").tolist()
    columns = (trials.reported.tolist(), trials.violation.tolist(), trials.steps.tolist(), states)
    rows = [_row("search", of, stage.stage, stage.sampler, list(stage.objective.names), box)]
    rows += [
        _row("trial", of, stage.stage, number, list(space.values(trials.points[number]).values()), *values)
        for number, values in enumerate(zip(*columns, strict=True))
    ]
    chosen = dict(stage.best_params)
    return [*rows, _row("choice", of, stage.stage, stage.tried, cut_short, int(stage.chosen), chosen)]


def _walk_forward_rows(walked: WalkForwardResult) -> list[Row]:
    rows = [_window_row(window) for window in walked.windows]
    figures = {name: walked.metrics[name] for name in (*_HEADLINE, "max_drawdown", "total_return")}
    scores = ("consistency_score", "stability_score", "efficiency", "oos_psr")
    return rows + _figures("walk-forward", figures | {name: getattr(walked, name) for name in scores})


def _window_row(window: WindowResult) -> Row:
    parts = [
        None if result is None else {name: result.metrics[name] for name in _HEADLINE}
        for result in (window.in_sample, window.out_of_sample)
    ]
    return _row(
        "window", window.number, *window.window, list(window.span), window.trials, window.strategy.to_dict(),
        window.scored, *parts,
    )  # fmt: skip


def _market_rows(test: PermutationTest) -> list[Row]:
    """The best of the real market, number 0, and of each shuffled one."""
    rows = [_row("market", number, value) for number, value in enumerate([test.real, *test.nulls.tolist()])]
    return rows + _figures("permutation test", {"planned": test.planned, "p_value": test.p_value})


def _figures(of: str, figures: Mapping[str, Any]) -> list[Row]:
    return [_row("figure", of, name, value) for name, value in figures.items()]
