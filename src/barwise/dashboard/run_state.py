"""How a run stands: what the end of its audit trail says, and whether its process is still there.

A run that says nothing of its end is at work, or was killed. Which of the two the lock tells, which the system frees
with the process: a run never looks alive because another process has got its number.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from barwise.checkpoints.lock import is_alive
from barwise.trail import ENDING

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

State = Literal["running", "done", "interrupted", "failed"]

STATES: tuple[str, ...] = get_args(State)
LOCK_ENDING: Final = ".lock"
_BEGUN = (b'"kind": "run_begun"', b'"kind": "run_resumed"')
_ENDED: Mapping[str, State] = {"run_done": "done", "interrupted": "interrupted", "failed": "failed"}
# The candles, or the markets, stand near the beginning of a trail, behind the configuration.
_NEAR = 20
# The lines that end a run are far shorter.
_LAST_BYTES: Final = 1 << 16
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


# -- Where it is -------------------------------------------------------------------------------------------------------


def is_name(text: str) -> bool:
    """Whether a run can be called so; such a name is never a way to another folder."""
    return _NAME.fullmatch(text) is not None


def trail_of(home: Path, run: str) -> Path:
    """Where the trail of a run is, or will be."""
    return home / "data" / "results" / f"{run}{ENDING}"


def lock_of(home: Path, run: str) -> Path:
    """Where the lock of a run is, or will be."""
    return home / "data" / "checkpoints" / f"{run}{LOCK_ENDING}"


# -- How it is ---------------------------------------------------------------------------------------------------------


def state_of(home: Path, run: str) -> State | None:
    """How it is with a run: one whose trail has no end is running while somebody is at it, and was cut off otherwise.

    Cheap enough to be asked after every line that a run writes: of a trail only the end is read.

    Returns:
        None where nothing is known of such a run.
    """
    trail = trail_of(home, run)
    # Asked first: one that ends in between has said so by the time that its trail is read.
    held = is_held(lock_of(home, run))
    state = _end_of(_last_line(_last_bytes(trail)))
    if state is not None:
        return state
    if held:
        return "running"
    if trail.is_file():
        return "interrupted"
    return "done" if trail.with_name(f"{run}.json").is_file() else None


class Told(NamedTuple):
    """What a trail says.

    Attributes:
        begun_ms: When the run began, or was taken up again, for the last time.
        last_ms: When the last line was written.
        state: Of a run that has said how it ended; None for one that has not.
        data: The event of its candles, or None.
        markets: Of a run over several markets, how many; else 1.
    """

    begun_ms: int
    last_ms: int
    state: State | None
    data: Mapping[str, Any] | None
    markets: int = 1


def told_by(path: Path) -> Told | None:
    """How a run stands by its trail; None where that has no whole line.

    A trail may have a hundred thousand lines, of which the first few, the last and the last beginning are read.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    content = content[: content.rfind(b"\n") + 1]
    lines = [line for line in map(_line, content.split(b"\n", _NEAR)[:_NEAR]) if line is not None]
    last = _last_line(content)
    if not lines or last is None:
        return None
    begun = max(
        (line for mark in _BEGUN for line in islice(_backwards(content, mark), 1)),
        key=lambda line: int(line["seq"]),
        default=lines[0],
    )
    data = next((line for line in lines if line["kind"] == "data" and line.get("of") == "candles"), None)
    markets = next((len(line["markets"]) for line in lines if line["kind"] == "markets"), 1)
    return Told(begun["at_ms"], last["at_ms"], _end_of(last), data, markets)


def _end_of(last: Mapping[str, Any] | None) -> State | None:
    """What the last line of a trail means, where it is an end."""
    return None if last is None else _ENDED.get(last["kind"])


def _last_bytes(trail: Path) -> bytes:
    try:
        with trail.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            return file.read(_LAST_BYTES)
    except OSError:
        return b""


def _last_line(content: bytes) -> dict[str, Any] | None:
    """The last whole line that is one of a trail."""
    return next(_backwards(content[: content.rfind(b"\n") + 1], b'"kind": '), None)


def _backwards(content: bytes, mark: bytes) -> Iterator[dict[str, Any]]:
    """The lines with this mark as their kind, from the last to the first."""
    end = len(content)
    while (at := content.rfind(mark, 0, end)) >= 0:
        end = content.rfind(b"\n", 0, at) + 1
        line = _line(content[end : content.find(b"\n", at)])
        if line is not None and mark in f'"kind": "{line["kind"]}"'.encode():
            yield line


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        return {**line, "seq": int(line["seq"]), "kind": str(line["kind"]), "at_ms": ms_of(line["time"])}
    except (ValueError, TypeError, KeyError):
        return None


def ms_of(text: str | None) -> int | None:
    """A time in ISO 8601 as ms since 1970 UTC; one without a zone is UTC."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


# -- Whose it is -------------------------------------------------------------------------------------------------------


def holder_of(home: Path, run: str) -> int | None:
    """Process id of the one who is at a run; None where nobody is."""
    return _holder(lock_of(home, run))


def is_held(lock: Path) -> bool:
    """Whether a process has this lock of a run."""
    return _holder(lock) is not None


def _holder(lock: Path) -> int | None:
    """The process that has a lock: it is alive, and the system says that it is held where it has such locks.

    The number of a process that was killed may be that of another one by now.
    """
    try:
        with lock.open("rb") as file:
            process = int(json.loads(file.read(1 << 16))["pid"])
            if not is_alive(process):
                return None
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return process
                return None
    except (OSError, ValueError, TypeError, KeyError):
        return None  # emptied by the last holder, or not there
    return process
