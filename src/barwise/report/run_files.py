"""Where the report of a whole run goes: one page, one document, the documents of its stages, tables and the trade log.

The files bear the name of the run, which is made of everything that went into it, so the same run finds and replaces
its own files. All of them are rendered before the first is written, and all are written or none is.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barwise.errors import ConfigError
from barwise.optimizer.saving import optimization_document
from barwise.report import run_csv
from barwise.report.files import file_name, versions, write_together
from barwise.report.findings import RunFindings
from barwise.report.run_comparison import Comparison, compare
from barwise.report.run_document import run_document
from barwise.report.run_page import run_page
from barwise.report.validation import validation_document

# What had to be simulated and what was on record depends on what was run before, and is no part of what was found.
_WORK = frozenset({"bars", "bars_share", "duplicates", "sampler_seconds"})


@dataclass(frozen=True)
class RunFiles:
    """The files of one run on one market; see docs/run-report.md for what is in them.

    Attributes:
        html, json: The page and the document.
        stage5: The baseline with every trade and bar.
        stage7, trials_csv: The optimization; None where it was not run.
        stage8: The validation; None where it was not run.
        windows_csv: None without a walk-forward.
        comparison_csv, trades_csv, fills_csv, equity_csv: Tables for spreadsheets.
        trade_log: Every program, fill and trade of all parts.
    """

    html: Path
    json: Path
    stage5: Path
    stage7: Path | None
    stage8: Path | None
    comparison_csv: Path
    trades_csv: Path
    fills_csv: Path
    equity_csv: Path
    windows_csv: Path | None
    trials_csv: Path | None
    trade_log: Path

    def all(self) -> dict[str, Path]:
        """Those that there are, by name."""
        return {field.name: path for field in fields(self) if (path := getattr(self, field.name)) is not None}


def write_run_report(findings: RunFindings, home: Path, *, written: datetime | None = None) -> RunFiles:
    """Write the report of one run below the home folder.

    Args:
        findings: What to report.
        home: The folder that holds `data/`. Files of a run of that name are replaced; those of a stage that was not run
            this time are taken away.
        written: When the report was written, aware; by default now. It changes `written` in the documents and elements
            of class `clock` on the page, and nothing else.

    Raises:
        ConfigError: The run's name is no file name.
        DataError: A file cannot be written; none of this report is left behind.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", findings.name):
        raise ConfigError(
            f"{findings.name!r} is no name for the files of a run.",
            hint="use letters, digits, dots, underscores and hyphens, beginning with a letter or a digit.",
        )
    when = (written or datetime.now(UTC)).astimezone(UTC)
    found = compare(findings)
    possible = _places(findings, Path(home))
    contents = _contents(findings, found, when)
    places = {name: path for name, path in possible.items() if name in contents or name == "html"}
    named = {name: path.relative_to(home).as_posix() for name, path in places.items()}
    contents["html"] = run_page(findings, written=when, versions=versions(), files=named)
    write_together({path: contents[name] for name, path in places.items()})
    for name in possible.keys() - places.keys():
        possible[name].unlink(missing_ok=True)
    return RunFiles(**{field.name: places.get(field.name) for field in fields(RunFiles)})  # type: ignore[arg-type]


def _places(findings: RunFindings, home: Path) -> dict[str, Path]:
    """Where each file would go."""
    candles, name = findings.baseline.candles, findings.name
    results, exports = home / "data" / "results", home / "data" / "exports"
    logs = home / "data" / "raw_logs" / file_name(candles.exchange) / file_name(candles.symbol)
    return {
        "html": results / f"{name}.html",
        "json": results / f"{name}.json",
        **{f"stage{number}": results / f"{name}.stage{number}.json" for number in (5, 7, 8)},
        **{
            f"{table}_csv": exports / f"{name}-{table}.csv"
            for table in ("comparison", "trades", "fills", "equity", "windows", "trials")
        },
        "trade_log": logs / f"{name}.jsonl",
    }


def _contents(findings: RunFindings, found: Comparison, when: datetime) -> dict[str, str]:
    """Every file but the page, which names the others, as text."""
    contents = {
        "json": _text(run_document(findings, when)),
        "stage5": _text(findings.baseline.to_dict()),
        "comparison_csv": run_csv.comparison_csv(found),
        "trades_csv": run_csv.trades_csv(found),
        "fills_csv": run_csv.fills_csv(found),
        "equity_csv": run_csv.equity_csv(found),
        "trade_log": run_csv.trade_log(found),
    }
    optimization, validation = findings.optimization, findings.validation
    if optimization is not None:
        document = _without_work(optimization_document(optimization), "stages")
        contents["stage7"] = _text(document | {"written": when.isoformat(timespec="seconds")})
        if optimization.stages:
            contents["trials_csv"] = run_csv.trials_csv(optimization)
    if validation is not None:
        contents["stage8"] = _text(_without_work(validation_document(validation, findings.look_ahead), "search"))
        if validation.walked is not None:
            contents["windows_csv"] = run_csv.windows_csv(validation.walked)
    return contents


def _without_work(document: dict[str, Any], searches: str) -> dict[str, Any]:
    found = [{name: stage[name] for name in stage if name not in _WORK} for stage in document[searches]]
    return document | {searches: found}


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, allow_nan=False)
