"""What the program said while it was at one run: the lines of the log files that bear its name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from barwise.dashboard.run_state import ms_of
from barwise.obs import redact

# Errors stand in one of these too, and once more in a file of their own.
_FILES = ("exchange_manager.log", "backtest_engine.log", "optimization_engine.log")
# The newest file, and the older ones behind it.
_OLDER = ("", ".1", ".2", ".3")


def log_lines(home: Path, run: str, most: int) -> list[dict[str, Any]]:
    """The last lines of a run, in order of time.

    Args:
        home: The folder that holds `logs/`.
        run: Its name.
        most: How many.

    Returns:
        Each with `time` (ms UTC), `level` and `message`.
    """
    found: list[dict[str, Any]] = []
    for name in _FILES:
        own: list[dict[str, Any]] = []
        for older in _OLDER:
            if len(own) < most:
                own = [*_of_run(home / "logs" / f"{name}{older}", run), *own]
        found += own[-most:]
    found.sort(key=lambda line: line["time"])
    return found[-most:]


def _of_run(path: Path, run: str) -> Iterator[dict[str, Any]]:
    if path.is_symlink() or not path.is_file():
        return
    mark = json.dumps(run).encode()
    with path.open("rb") as file:
        for text in file:
            if mark in text and (line := _line(text, run)) is not None:
                yield line


def _line(text: bytes, run: str) -> dict[str, Any] | None:
    """A line of this run; None for one of another run, and for one that is no line of the log."""
    try:
        line = json.loads(text)
        if line["run"] != run:
            return None
        time = ms_of(str(line["time"]))
        level, message = str(line["level"]), redact(str(line["message"]))
    except (ValueError, TypeError, KeyError):
        return None
    return {"time": time, "level": level, "message": message}
