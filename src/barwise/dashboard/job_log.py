"""What a job has said: the JSON lines of its output, read as they come, and cut down to what will be asked for later.

`barwise run --json` says several times a second how far it is. That is of use while it runs and of none afterwards, so
a log that has grown is written again without it, and its size is bounded however long a run takes.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from barwise.obs import redact

# A log is cut down when it is longer; a day of progress has some hundred times as much.
LONGEST = 1 << 20
_MOST_LINES = 500
_LONGEST_LINE = 4_096
_RESULT = b'{"event": "result"'


class JobLog:
    """A log that is followed.

    Attributes:
        plan: The stages that will run, with their estimates; None until that is known.
        stage: The one at work or the last one: number, name, market.
        progress: How far it is; None between stages.
        error: Why it ended, kind, message and hint; None where it did not, or not so.
        done: Whether the result was told.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan: list[dict[str, Any]] | None = None
        self.stage: dict[str, Any] | None = None
        self.progress: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.done = False
        self._offset = 0
        self._said = ""  # the last line that was no JSON: what Python itself says when it ends

    def look(self) -> bool:
        """Take what is new; whether there was anything."""
        found = False
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Where it was cut down, what is left was read before.
                self._offset = min(self._offset, size)
                file.seek(self._offset)
                for line, length in _lines(file):
                    self._offset += length
                    self._take(line)
                    found = True
        except OSError:
            return found
        return found

    def why(self) -> dict[str, Any]:
        """Why a job that told neither a result nor an error ended."""
        text = self._said or "the process ended without a word."
        return {"kind": "Ended", "message": redact(text), "hint": f"{self.path.name} in logs/jobs has what it said."}

    def _take(self, text: bytes) -> None:
        if text.startswith(_RESULT):  # may be megabytes, and is cut off
            self.done = True
            return
        line = _read(text)
        if line is None:
            self._said = text.decode(errors="replace").strip()[:500] or self._said
            return
        event = line.pop("event", None)
        if event == "plan":
            self.plan = line.get("stages")
        elif event == "stage":
            self.stage, self.progress = line, None
        elif event == "progress":
            self.progress = line
        elif event == "stage_done":
            self.progress = None
        elif isinstance(line.get("error"), dict):
            self.error = {name: str(line["error"].get(name, "")) for name in ("kind", "message", "hint")}


def told_lines(path: Path, market: str | None) -> Iterator[dict[str, Any]]:
    """What a log says that people can read, line by line; who it is about is left out.

    Args:
        path: The log.
        market: Only what is said of this one of several markets, as the job calls it, and of no market; None = all.

    Yields:
        `level`, `message`, and of a stage that has ended `stage` and `name`, else None: a job writes no times.
    """
    try:
        with path.open("rb") as file:
            for text, _ in _lines(file):
                line = _read(text)
                if market is None or line is None or line.get("market", "") in {"", market}:
                    yield from _told(text, line)
    except OSError:
        return


def _told(text: bytes, line: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """One line as people read it; most of what a job says is for programs only."""
    event, stage, name, level = None if line is None else line.get("event"), None, None, "INFO"
    if line is None:
        message, level = text.decode(errors="replace").rstrip(), "WARNING"
    elif isinstance(line.get("error"), dict):
        told = line["error"]
        message, level = " ".join(str(told[part]) for part in ("message", "hint") if told.get(part)), "ERROR"
    elif event == "stage_done":
        stage, name = str(line.get("number")), str(line.get("name"))
        kept = ", kept from before" if line.get("state") == "kept" else ""
        message = f"stage {stage}, {name}: {line.get('text', '')}{kept}"
    elif event == "finding":
        message = str(line.get("text", ""))
    else:
        return
    if message.strip() and not text.startswith(_RESULT):
        yield {"level": level, "message": redact(message), "stage": stage, "name": name}


def cut_down(path: Path) -> None:
    """Write a log again without progress, without the result itself, and with no more than its last lines.

    In place, because the process that writes it has it open; what that says in this very moment may be lost.
    """
    kept: list[bytes] = []
    try:
        with path.open("r+b") as file:
            progress = b""
            for text, _ in _lines(file):
                line = text
                if line.startswith(b'{"event": "progress"'):
                    progress = line
                    continue
                if line.startswith(_RESULT):
                    line, progress = _RESULT + b"}\n", b""
                kept.append(line)
                del kept[:-_MOST_LINES]
            file.seek(0)
            file.truncate()
            file.write(b"".join([*kept, progress]))
    except OSError:
        return


def _read(text: bytes) -> dict[str, Any] | None:
    """The object that a line is; None for what is none, such as what Python itself says."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _lines(file: Any) -> Iterator[tuple[bytes, int]]:
    """Whole lines, cut off at a length, and how long they were; one that has no end yet is left."""
    while line := file.readline(_LONGEST_LINE):
        length, ended = len(line), line.endswith(b"\n")
        while not ended and (rest := file.readline(_LONGEST_LINE)):
            length, ended = length + len(rest), rest.endswith(b"\n")
        if not ended:
            return
        yield (line if line.endswith(b"\n") else line + b"\n"), length
