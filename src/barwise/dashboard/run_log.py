"""What the program said while it was at one run: the lines of the log files that bear its name, and those of its job.

A run that was started from the page says what it does to the dashboard and not to a console, so the log files have only
what went wrong in it. What it said lies in the log of its job, which has no times: they are taken from the audit trail.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from barwise.dashboard.job_log import told_lines
from barwise.dashboard.run_state import ms_of, trail_of
from barwise.obs import redact

# Errors stand in one of these too, and once more in a file of their own.
_FILES = ("exchange_manager.log", "backtest_engine.log", "optimization_engine.log")
# The newest file, and the older ones behind it.
_OLDER = ("", ".1", ".2", ".3")
_STAGE_DONE = b'"kind": "stage_done"'

Line = dict[str, Any]


class RunLog(NamedTuple):
    """What was said.

    Attributes:
        lines: In order of time, each with `time` (ms UTC), `level` and `message`.
        sources: The files that these lines are from, below the home folder.
    """

    lines: list[Line]
    sources: list[str]


def log_of(home: Path, run: str, most: int, job: Mapping[str, Any] | None, market: str | None) -> RunLog:
    """The last lines about a run.

    Args:
        home: The folder that holds `logs/`.
        run: Its name.
        most: How many.
        job: What is known of the job that is or was at it; None where it was started in a terminal.
        market: What the job calls the market of this run, where it is at several; None = all that it says.
    """
    found: list[tuple[Line, str]] = []
    for name in _FILES:
        own: list[tuple[Line, str]] = []
        for older in _OLDER:
            if len(own) < most:
                place = f"logs/{name}{older}"
                own = [*((line, place) for line in _of_run(home / place, run)), *own]
        found += own[-most:]
    if job is not None:
        # Warnings are written to a log file and said aloud too; the file has their time.
        logged = [line["message"] for line, _ in found if line["message"]]
        place = f"logs/jobs/{job['job']}.jsonl"
        said = _with_times(told_lines(home / place, market), int(job["began_ms"]), _stages_done(trail_of(home, run)))
        found += [(line, place) for line in said if not any(text in line["message"] for text in logged)]
    found.sort(key=lambda pair: pair[0]["time"])
    found = found[-most:]
    return RunLog([line for line, _ in found], list(dict.fromkeys(place for _, place in found)))


def _with_times(lines: Iterable[Line], began_ms: int, done: Iterable[tuple[str, str, int]]) -> Iterator[Line]:
    """The lines of a job: what is said of a stage has the time of its end, the rest that of the line before it."""
    times, now = [entry for entry in done if entry[2] >= began_ms], began_ms
    for line in lines:
        at = next((i for i, entry in enumerate(times) if entry[:2] == (line["stage"], line["name"])), None)
        if at is not None:
            now = max(now, times.pop(at)[2])
        yield {"time": now, "level": line["level"], "message": line["message"]}


def _stages_done(trail: Path) -> Iterator[tuple[str, str, int]]:
    """Number, name and end in ms UTC of each stage that a trail says is done."""
    if trail.is_symlink() or not trail.is_file():
        return
    with trail.open("rb") as file:
        for text in file:
            if _STAGE_DONE not in text:
                continue
            try:
                line = json.loads(text)
                ended = ms_of(str(line["time"]))
                if ended is not None:
                    yield str(line["stage"]), str(line["name"]), ended
            except (ValueError, TypeError, KeyError):
                continue  # a line that is being written


def _of_run(path: Path, run: str) -> Iterator[Line]:
    if path.is_symlink() or not path.is_file():
        return
    mark = json.dumps(run).encode()
    with path.open("rb") as file:
        for text in file:
            if mark in text and (line := _line(text, run)) is not None:
                yield line


def _line(text: bytes, run: str) -> Line | None:
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
