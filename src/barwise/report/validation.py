"""A verdict or a walk-forward as files: JSON for programs, a page for people, the windows as a table; all or none."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise.report.files import file_name, versions, write_together
from barwise.report.overfitting import overfitting_document
from barwise.report.validation_page import validation_page, walk_forward_page
from barwise.validation.error_rates import error_rates

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.strategy.lookahead import LookAheadReport
    from barwise.validation.engine import ValidationReport
    from barwise.validation.walk_forward import WalkForwardResult


@dataclass(frozen=True)
class ValidationFiles:
    """The files of one verdict or walk-forward; `windows_csv` is None where there is no window."""

    json: Path
    html: Path
    windows_csv: Path | None


def validation_document(report: "ValidationReport", look_ahead: "LookAheadReport | None" = None) -> dict[str, Any]:
    """The verdict as plain JSON types; what is infinite or undefined is None."""
    content = report.to_dict() | {"look_ahead": None if look_ahead is None else look_ahead.to_dict()}
    pbo, candles = report.selection.pbo, report.candles
    content["overfitting"] = (
        None if pbo is None else overfitting_document(pbo, candles.timeframe.bars_per_year(candles.calendar))
    )
    rates = error_rates()
    content["error_rates"] = None if rates is None else rates.to_dict()
    cleaned: dict[str, Any] = finite(content)
    return cleaned


def walk_forward_document(walked: "WalkForwardResult") -> dict[str, Any]:
    """The walk-forward as plain JSON types; what is infinite or undefined is None."""
    cleaned: dict[str, Any] = finite({"schema_version": 1, **walked.to_dict()})
    return cleaned


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_validation(
    report: "ValidationReport",
    home: Path,
    *,
    look_ahead: "LookAheadReport | None" = None,
    written: datetime | None = None,
) -> ValidationFiles:
    """Write a verdict below the home folder as JSON, HTML and a table of the windows: all of them or none.

    Args:
        report: What to write.
        home: The folder that holds `data/`. Files of the same run are replaced.
        look_ahead: What the long check for look-ahead found, where it was run.
        written: When it was written, aware; by default now.

    Raises:
        DataError: A file cannot be written; none that was written before it is left behind.
    """
    when = (written or datetime.now(UTC)).astimezone(UTC)
    places = _places(f"validation-{report.run}", report.candles, home, report.walked is not None)
    names = _names(places, home)
    contents = {
        "json": json.dumps(validation_document(report, look_ahead), allow_nan=False),
        "html": validation_page(report, written=when, versions=versions(), files=names, look_ahead=look_ahead),
    }
    if report.walked is not None:
        contents["windows_csv"] = report.walked.frame().write_csv()
    return _written(places, contents)


def write_walk_forward(walked: "WalkForwardResult", home: Path, *, written: datetime | None = None) -> ValidationFiles:
    """Write a walk-forward below the home folder as JSON, HTML and a table of the windows: all of them or none.

    Args:
        walked: What to write.
        home: The folder that holds `data/`.
        written: When it was written, aware; by default now. It is part of the names.

    Raises:
        DataError: A file cannot be written; none that was written before it is left behind.
    """
    when = (written or datetime.now(UTC)).astimezone(UTC)
    kind = "walk-forward" if walked.reoptimized else "stability-check"
    places = _places(f"{kind}-{when:%Y%m%dT%H%M%S}", walked.candles, home, True)
    contents = {
        "json": json.dumps(walk_forward_document(walked), allow_nan=False),
        "html": walk_forward_page(walked, written=when, versions=versions(), files=_names(places, home)),
        "windows_csv": walked.frame().write_csv(),
    }
    return _written(places, contents)


def _places(prefix: str, candles: "Candles", home: Path, windows: bool) -> ValidationFiles:
    stem = re.sub(r"-+", "-", f"{prefix}-{file_name(candles.symbol)}-{candles.timeframe}".lower())
    data = Path(home) / "data"
    return ValidationFiles(
        json=data / "results" / f"{stem}.json",
        html=data / "results" / f"{stem}.html",
        windows_csv=data / "exports" / f"{stem}-windows.csv" if windows else None,
    )


def _names(places: ValidationFiles, home: Path) -> dict[str, str]:
    return {kind: path.relative_to(home).as_posix() for kind, path in vars(places).items() if path is not None}


def _written(places: ValidationFiles, contents: Mapping[str, str]) -> ValidationFiles:
    write_together({getattr(places, kind): text for kind, text in contents.items()})
    return places
