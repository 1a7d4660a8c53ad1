"""What an optimization leaves on disk: one JSON document with everything it concluded, and its trials as CSV."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise import __version__
from barwise.data.files import write_atomically
from barwise.obs import home_folder

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult
    from barwise.optimizer.trials import StageResult

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class OptimizationFiles:
    """The files of one optimization."""

    json: Path
    trials_csv: Path


def save_optimization(result: "OptimizationResult", home: Path | None = None) -> OptimizationFiles:
    """Write an optimization below the home folder: data/results/<name>.json and data/exports/<name>-trials.csv.

    Args:
        home: The folder that holds `data/`; None = BARWISE_HOME, else the working directory.

    Raises:
        DataError: A file cannot be written.
    """
    base = home_folder(home) / "data"
    name = file_stem(result)
    files = OptimizationFiles(base / "results" / f"{name}.json", base / "exports" / f"{name}-trials.csv")
    write_atomically(files.trials_csv, result.frame().write_csv())
    write_atomically(files.json, json.dumps(optimization_document(result), allow_nan=False))
    return files


def check_studies(storage: str | Path) -> None:
    """Make sure that `save_studies` can write there, before a search is made for it.

    Raises:
        ConfigError: Optuna cannot write there.
    """
    from barwise.optimizer.optuna_samplers import open_storage

    open_storage(storage)


def save_studies(result: "OptimizationResult", storage: str | Path) -> None:
    """Write each stage as an Optuna study, for Optuna's own dashboards and tools.

    Args:
        storage: A journal file, `.log` or `.journal`, or a URL such as sqlite:///study.db; studies are added to those
            that are there.

    Raises:
        ConfigError: Optuna cannot write there.
    """
    from barwise.optimizer.optuna_samplers import study_of

    for stage in result.stages:
        trials, objective = stage.trials, stage.objective
        sign = -1.0 if objective.directions[0] == "minimize" else 1.0
        study_of(
            f"{result.run} stage {stage.stage}", stage.space, objective.names, objective.directions, trials.points,
            trials.reported, sign * trials.steps, trials.complete, trials.violation, storage=storage,
        )  # fmt: skip


def file_stem(result: "OptimizationResult") -> str:
    """Name of the files of one optimization, without ending: optimization-<run>-<symbol>-<timeframe>."""
    symbol = re.sub(r"[^A-Za-z0-9._-]+", "-", result.candles.symbol).strip("-.") or "unnamed"
    return f"optimization-{result.run}-{symbol}-{result.candles.timeframe}".lower()


def optimization_document(result: "OptimizationResult") -> dict[str, Any]:
    """Everything an optimization concluded, as JSON takes it; the trials one by one are in the CSV and the ledger."""
    candles = result.candles
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "optimization",
        "run": result.run,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "barwise": __version__,
        "market": {
            "exchange": candles.exchange,
            "symbol": candles.symbol,
            "timeframe": str(candles.timeframe),
            "bars": len(candles),
            "first_ms": int(candles.time[0]),
            "last_ms": int(candles.time[-1]),
            "fingerprint": candles.fingerprint,
        },
        "strategy": type(result.strategy).__qualname__,
        "parameters": {
            "before": result.baseline.strategy.to_dict(),
            "after": result.strategy.to_dict(),
            "changed": result.best_params,
        },
        "baseline": result.baseline.metrics,
        "best": result.best.metrics,
        "stages": [_stage(stage) for stage in result.stages],
        "plateau": None if result.plateau is None else result.plateau.to_dict(),
        "top": [] if result.top is None else result.top.to_list(),
        "neighbours": result.neighbours,
        "n_trials": result.n_trials,
        "luck_line": result.luck_line,
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "notes": list(result.notes),
    }


def _stage(stage: "StageResult") -> dict[str, Any]:
    trials = stage.trials
    figures: Mapping[str, Any] = stage
    # JSON has no NaN, which is what a user's function may have said of everything.
    return {
        **{name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures.items()},
        "space": {
            dimension.name: {
                "low": dimension.low,
                "high": dimension.high,
                "step": dimension.step,
                "base": dimension.base,
            }
            for dimension in stage.space.dimensions
        },
        "levels": list(stage.levels),
        "bars": int(trials.bars.sum()),
        "full_bars": stage.full_bars,
        "front": stage.front(),
    }
