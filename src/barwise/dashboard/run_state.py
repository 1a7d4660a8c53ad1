"""How a run stands: what the end of its audit trail says, and whether its process is still there.

A run that says nothing of its end is at work, or was killed. Which of the two the lock tells, which the system frees
with the process: a run never looks alive because another process has got its number.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from barwise.checkpoints.lock import is_alive

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

State = Literal["running", "done", "interrupted", "failed"]

STATES: tuple[str, ...] = get_args(State)
_BEGUN = (b'"kind": "run_begun"', b'"kind": "run_resumed"')
_ENDED: Mapping[str, State] = {"run_done": "done", "interrupted": "interrupted", "failed": "failed"}
# The candles stand near the beginning of a trail, behind the configuration.
_NEAR = 20


class Told(NamedTuple):
    """What a trail says.

    Attributes:
        begun_ms: When the run began, or was taken up again, for the last time.
        last_ms: When the last line was written.
        state: Of a run that has said how it ended; None for one that has not.
        data: The event of its candles, or None.
    """

    begun_ms: int
    last_ms: int
    state: State | None
    data: Mapping[str, Any] | None


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
    last = next(_backwards(content, b'"kind": '), None)
    if not lines or last is None:
        return None
    begun = max(
        (line for mark in _BEGUN for line in islice(_backwards(content, mark), 1)),
        key=lambda line: int(line["seq"]),
        default=lines[0],
    )
    data = next((line for line in lines if line["kind"] == "data" and line.get("of") == "candles"), None)
    return Told(begun["at_ms"], last["at_ms"], _ENDED.get(last["kind"]), data)


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


def is_held(lock: Path) -> bool:
    """Whether a process has this lock of a run: it is alive, and the system says so too where it has such locks.

    The number of a process that was killed may be that of another one by now.
    """
    try:
        with lock.open("rb") as file:
            holder = json.loads(file.read(1 << 16) or b"null")
            if not isinstance(holder, dict) or not is_alive(int(holder["pid"])):
                return False
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
    except BlockingIOError:
        return True
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return True


def ms_of(text: str | None) -> int | None:
    """A time in ISO 8601 as ms since 1970 UTC; one without a zone is UTC."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
