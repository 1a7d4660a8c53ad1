"""Where a report goes on disk: results, exports and logs in the places of the home folder, all of them or none.

Everything is rendered before the first byte is written, every file appears whole, and where one cannot be written those
written before it are taken away again.
"""

import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise import __version__
from barwise.data.files import write_atomically
from barwise.errors import ConfigError, DataError
from barwise.report import statements, tables

if TYPE_CHECKING:
    from barwise.result import BacktestResult

_UNNAMED = "unnamed"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class ReportFiles:
    """The files of one report; see docs/reports.md for what is in them."""

    json: Path
    html: Path
    trades_csv: Path
    equity_csv: Path
    fills_csv: Path
    trade_log: Path


def write_report(
    result: "BacktestResult",
    home: Path,
    *,
    name: str | None = None,
    written: datetime | None = None,
    n_trials: int | None = None,
) -> ReportFiles:
    """Write the report of one backtest below the home folder.

    Args:
        result: What to report.
        home: The folder that holds `data/`.
        name: Name of the files without ending; files of that name are replaced. By default
            `<YYYYmmdd-HHMMSS>-<symbol>-<timeframe>`, with a number behind it where that name is taken.
        written: When the report was written, aware; by default now. The only thing in it that two runs of the same
            inputs do not share.
        n_trials: Distinct configurations on record for the candles, this one included; None where nobody knows.

    Raises:
        ConfigError: The name is no file name.
        DataError: A file cannot be written; none of this report is left behind.
    """
    from barwise.report.page import render_page

    moment = (written or datetime.now(UTC)).astimezone(UTC)
    places = _places(result, Path(home), name, moment)
    made_with = versions()
    contents = {
        "json": _json_text(result, moment, made_with, n_trials),
        "html": render_page(
            result,
            written=moment,
            versions=made_with,
            n_trials=n_trials,
            files={field.name: _below(getattr(places, field.name), Path(home)) for field in fields(places)},
        ),
        "trades_csv": tables.trades_csv(result),
        "equity_csv": tables.equity_csv(result),
        "fills_csv": tables.fills_csv(result),
        "trade_log": tables.trade_log(result),
    }
    write_together({getattr(places, kind): text for kind, text in contents.items()})
    return places


def write_together(contents: Mapping[Path, str]) -> None:
    """Write some files, all of them or none.

    Raises:
        DataError: One cannot be written; those written before it are taken away again.
    """
    done: list[Path] = []
    try:
        for path, text in contents.items():
            done.append(write_atomically(path, text))
    except DataError:
        for path in done:
            with suppress(OSError):
                path.unlink()
        raise


def versions() -> dict[str, str]:
    """What a result can depend on besides its inputs."""
    return {
        "barwise": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "machine": platform.machine(),
    }


def file_name(text: str) -> str:
    """A market's name as part of a file name: letters, digits, dot, underscore and hyphen, never a path."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:_LONGEST_NAME]
    return safe or _UNNAMED


def _places(result: "BacktestResult", home: Path, name: str | None, moment: datetime) -> ReportFiles:
    candles = result.candles
    if name is None:
        market = f"{file_name(candles.symbol)}-{candles.timeframe}".lower()
        base = first = f"{moment:%Y%m%d-%H%M%S}-{market}"
        count = 1
        while (home / "data" / "results" / f"{base}.json").exists():
            count += 1
            base = f"{first}-{count}"
    elif name != file_name(name):
        raise ConfigError(
            f"{name!r} is no name for the files of a report.",
            hint=f"use at most {_LONGEST_NAME} letters, digits, dots, underscores and hyphens: {file_name(name)!r}.",
        )
    else:
        base = name
    results, exports = home / "data" / "results", home / "data" / "exports"
    logs = home / "data" / "raw_logs" / file_name(candles.exchange) / file_name(candles.symbol)
    return ReportFiles(
        json=results / f"{base}.json",
        html=results / f"{base}.html",
        trades_csv=exports / f"{base}-trades.csv",
        equity_csv=exports / f"{base}-equity.csv",
        fills_csv=exports / f"{base}-fills.csv",
        trade_log=logs / f"{base}.jsonl",
    )


def _below(path: Path, home: Path) -> str:
    """A path as the page names it: from the home folder on, so that a page passed on does not tell whose it was."""
    return path.relative_to(home).as_posix()


def _json_text(result: "BacktestResult", moment: datetime, made_with: dict[str, str], n_trials: int | None) -> str:
    """The result as JSON, with when and with what it was made, what the audit found and what can be made of it."""
    content: dict[str, Any] = {
        **result.to_dict(),
        "verdict": {**statements.verdict(result, n_trials)._asdict(), "n_trials": n_trials},
        "data_audit": result.candles.audit.to_dict(),
        "written": moment.isoformat(timespec="seconds"),
        "versions": made_with,
    }
    return json.dumps(content, allow_nan=False)
