"""What a trail comes to: one document of a run, counted from its lines, for people and programs alike.

It reads the trail and the names of the run's files, so it tells of a run that is done, that was cut off, or that is at
work alike.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from barwise.trail.file import ENDING, read

Line = Mapping[str, Any]

_ENDED = ("run_done", "interrupted", "failed")
_BEGUN = ("run_begun", "run_resumed")


def overview_of_trail(path: Path) -> dict[str, Any]:
    """Count a trail.

    Returns:
        `begun`, `resumed`, `state` (done | interrupted | failed | open), `ended`, `why`, `lines`, `events`, `market`,
        `markets`, `stages`, `parts`, `searches`, `walk_forward`, `permutation`, `verdict` and `files`;
        docs/audit-trail.md has their fields. A run that is open is at work, or was killed.

    Raises:
        CheckpointError: The file cannot be read, or is damaged.
    """
    counted = _Count()
    for line in read(path):
        counted.take(line)
    return counted.document() | {"files": _files(path)}


def _files(trail: Path) -> list[str]:
    """The files of the trail's run, from the home folder on; only those beside it where it lies elsewhere."""
    name, folder = trail.name.removesuffix(ENDING), trail.absolute().parent
    found = [path for path in folder.iterdir() if path.name.startswith((f"{name}.", f"{name}-"))]
    if folder.parts[-2:] != ("data", "results"):
        return sorted(path.name for path in found)
    data = folder.parent
    found += [path for path in (data / "exports").glob("*.csv") if path.name.startswith(f"{name}-")]
    found += (data / "raw_logs").glob(f"*/*/{name}.jsonl")
    return sorted(path.relative_to(data.parent).as_posix() for path in found)


class _Count:
    """The document in the making."""

    def __init__(self) -> None:
        self._lines = self._events = self._starts = 0
        self._begun: str | None = None
        self._end: Line | None = None
        self._market: dict[str, Any] | None = None
        self._markets: list[dict[str, Any]] = []
        self._stages: dict[tuple[str, str], dict[str, Any]] = {}
        self._parts: dict[str, _Part] = {}
        self._searches: dict[tuple[str, str], dict[str, Any]] = {}
        self._found: dict[str, dict[str, Any]] = {}
        self._takers: dict[str, Callable[[Line], None]] = {
            "data": self._take_data,
            "markets": self._take_markets,
            "stage_done": self._take_stage,
            "trial": self._take_trial,
            "choice": self._take_choice,
            "walk_forward": self._take_walk,
            "permutation": self._take_permutation,
            "verdict": self._take_verdict,
            **dict.fromkeys(("signal", "program", "fill", "exit"), self._take_decision),
            **dict.fromkeys((*_BEGUN, *_ENDED), self._take_moment),
        }

    def take(self, line: Line) -> None:
        self._lines += 1
        self._events += "id" in line
        if self._begun is None:
            self._begun = line["time"]
        if line["kind"] in self._takers:
            self._takers[line["kind"]](line)

    def document(self) -> dict[str, Any]:
        end = self._end
        state = "open" if end is None else "done" if end["kind"] == "run_done" else end["kind"]
        return {
            "begun": self._begun,
            "resumed": max(0, self._starts - 1),
            "state": state,
            "ended": None if end is None else end["time"],
            "why": None if end is None or state == "done" else end.get("reason"),
            "lines": self._lines,
            "events": self._events,
            "market": self._market,
            "markets": self._markets,
            "stages": list(self._stages.values()),
            "parts": [part.document(name) for name, part in self._parts.items()],
            "searches": list(self._searches.values()),
            **{name: self._found.get(name) for name in ("walk_forward", "permutation", "verdict")},
        }

    def _take_moment(self, line: Line) -> None:
        if line["kind"] in _BEGUN:
            self._starts += 1
            self._end = None
        else:
            self._end = line

    def _take_data(self, line: Line) -> None:
        if line["of"] == "candles":
            names = ("exchange", "symbol", "timeframe", "synthetic", "bars", "first", "last", "fingerprint")
            self._market = {name: line[name] for name in names}

    def _take_markets(self, line: Line) -> None:
        self._markets = [{name: one[name] for name in ("run", "label")} for one in line["markets"]]

    def _take_stage(self, line: Line) -> None:
        stage = {name: line.get(name) for name in ("stage", "name", "text", "state", "seconds")}
        key = (line["stage"], line["name"])
        self._stages.pop(key, None)  # of a stage that was gone through twice, the last time
        self._stages[key] = stage

    def _take_decision(self, line: Line) -> None:
        self._parts.setdefault(line["part"], _Part()).take(line)

    def _search(self, line: Line) -> dict[str, Any]:
        fresh = {"part": line["part"], "stage": line["stage"], "trials": 0, "states": Counter(), "choice": None}
        return self._searches.setdefault((line["part"], line["stage"]), fresh)

    def _take_trial(self, line: Line) -> None:
        search = self._search(line)
        search["trials"] += 1
        search["states"][line["state"]] += 1

    def _take_choice(self, line: Line) -> None:
        names = ("changed", "base_objectives", "objectives", "better_by", "interrupted")
        self._search(line)["choice"] = {name: line[name] for name in names}

    def _take_walk(self, line: Line) -> None:
        figures = {name: line["out_of_sample"].get(name) for name in ("net_pnl", "sharpe_ratio")}
        names = ("reoptimized", "windows", "scored", "trades", "oos_psr")
        self._found["walk_forward"] = {**{name: line[name] for name in names}, **figures}

    def _take_permutation(self, line: Line) -> None:
        names = ("objective", "real", "beaten", "planned", "p_value")
        self._found["permutation"] = {**{name: line[name] for name in names}, "done": len(line["nulls"])}

    def _take_verdict(self, line: Line) -> None:
        self._found["verdict"] = {name: line[name] for name in ("word", "reasons", "n_trials")}


class _Part:
    """What happened in one backtest."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._without: Counter[str] = Counter()  # signals that started no program, by what stood in their way
        self._nets: list[float] = []

    def take(self, line: Line) -> None:
        self._counts[line["kind"]] += 1
        if line["kind"] == "signal" and line["why"] is not None:
            self._without[line["why"]] += 1
        if line["kind"] == "program" and not line["fills"]:
            self._counts["missed"] += 1
        if line["kind"] == "exit":
            self._nets.append(line["net_pnl"])

    def document(self, name: str) -> dict[str, Any]:
        counts = self._counts
        return {
            "part": name,
            "signals": counts["signal"],
            "signals_without_program": dict(self._without),
            "programs": counts["program"],
            "missed_programs": counts["missed"],
            "fills": counts["fill"],
            "trades": counts["exit"],
            "net_pnl": math.fsum(self._nets),
        }
