"""The process behind a run: whether there is one, which one, and how it is with the run if not.

Cheap enough to be asked after every line that a run writes: of a trail only the end is read.
"""

import json
import os
import re
from pathlib import Path
from typing import Final

from barwise.dashboard.run_state import State, is_held
from barwise.trail import ENDING

LOCK_ENDING: Final = ".lock"
# What the last line of a trail means, where it is an end.
_ENDS: Final[dict[str, State]] = {"run_done": "done", "failed": "failed", "interrupted": "interrupted"}
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
# The lines that end a run are far shorter.
_LAST_BYTES: Final = 1 << 16


def is_name(text: str) -> bool:
    """Whether a run can be called so; such a name is never a way to another folder."""
    return _NAME.fullmatch(text) is not None


def trail_of(home: Path, run: str) -> Path:
    """Where the trail of a run is, or will be."""
    return home / "data" / "results" / f"{run}{ENDING}"


def holder_of(home: Path, run: str) -> int | None:
    """Process id of the one who is at a run; None where nobody is."""
    path = home / "data" / "checkpoints" / f"{run}{LOCK_ENDING}"
    try:
        process = int(json.loads(path.read_bytes())["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # emptied by the last holder, or not there
    return process if is_held(path) else None


def state_of(home: Path, run: str) -> State | None:
    """How it is with a run: one whose trail has no end is running while somebody is at it, and was cut off otherwise.

    Returns:
        None where nothing is known of such a run.
    """
    trail = trail_of(home, run)
    last = _last_kind(trail)
    if last in _ENDS:
        return _ENDS[last]
    if holder_of(home, run) is not None:
        return "running"
    if trail.is_file():
        return "interrupted"
    return "done" if trail.with_name(f"{run}.json").is_file() else None


def _last_kind(trail: Path) -> str | None:
    """The kind of the last whole line; None where there is none, or it is longer than any that ends a run."""
    try:
        with trail.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            content = file.read(_LAST_BYTES)
    except OSError:
        return None
    end = content.rfind(b"\n")
    begin = content.rfind(b"\n", 0, max(0, end)) + 1
    try:
        return str(json.loads(content[begin : max(0, end)])["kind"])
    except (ValueError, TypeError, KeyError):
        return None
