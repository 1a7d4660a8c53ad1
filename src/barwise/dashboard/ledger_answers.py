"""What the trial ledger says, for looking at: it is read and never made, changed or waited for.

How often one data set has been searched is what makes the best of a search worth less, so it stands beside every search
and in a list of its own.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from barwise.dashboard.answer_schemas import COUNT, NUMBER_OR_NULL, TEXT, TEXTS, TIME, record
from barwise.dashboard.memory import Memory, stamp_of
from barwise.stats.sharpe import expected_maximum
from barwise.timeframe import Timeframe, calendar_of

if TYPE_CHECKING:
    from barwise.optimizer.ledger import Ledger, Run

DATA_RUN: Final = record(
    run=TEXT,
    exchange=TEXT,
    symbol=TEXT,
    timeframe=TEXT,
    bars=COUNT,
    fingerprint=TEXT,
    started_ms=TIME,
    ended_ms=TIME,
    stages=TEXTS,
    evaluations=COUNT,
    best=NUMBER_OR_NULL,
)
DATA_SET: Final = record(
    fingerprint=TEXT,
    exchange=TEXT,
    symbol=TEXT,
    timeframe=TEXT,
    first_ms=TIME,
    last_ms=TIME,
    bars=COUNT,
    runs=COUNT,
    trials=COUNT,
    luck_line=NUMBER_OR_NULL,
)

# More evaluations of one run are not read only to be counted by rung.
_MOST_COUNTED: Final = 200_000
_TIMEOUT: Final = 2.0
_KEPT: Final[Memory[Mapping[str, Any]]] = Memory(2)


class LedgerView:
    """The ledger of a home folder.

    Args:
        home: The folder that holds `data/`.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "data" / "ledger.sqlite"
        self._beside = self._path.with_name(f"{self._path.name}-wal")

    @property
    def size(self) -> int:
        """Bytes of the file and of what is written beside it before it goes in; 0 where there is no ledger."""
        return sum(found[1] for found in stamp_of(self._path, self._beside) if found is not None)

    def overview(self) -> dict[str, Any]:
        """Every run, newest first, and how many configurations were tried on each data set.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        if not self._is_there():
            return {"runs": [], "data_sets": [], "trials": 0, "bytes": self.size}
        found = _KEPT.get(self._path, stamp_of(self._path, self._beside), lambda: _overview(self._path))
        return {**found, "bytes": self.size}

    def of_search(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is on record for the data of one search; None where there is no ledger, or it has nothing of them.

        Args:
            document: Of stage 7.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        market = document["market"]
        fingerprint = str(market["fingerprint"])
        if not self._is_there():
            return None
        with _opened(self._path) as ledger:
            runs = [run for run in ledger.runs() if run.data.fingerprint == fingerprint]
            if not runs:
                return None
            trials = ledger.trials(fingerprint)
            own = next((run for run in runs if run.run == document["run"]), None)
            countable = own is not None and own.evaluations <= _MOST_COUNTED
            rungs = _rungs(ledger, document, market["bars"]) if countable else []
            related = ledger.related(runs[0].data)
        return {
            "trials": trials,
            "related": related,
            "luck_line": _luck(trials, market["bars"], market["exchange"], market["timeframe"]),
            "runs": [_run(run) for run in reversed(runs)],
            "rungs": rungs,
        }

    def _is_there(self) -> bool:
        # An empty file would be made a ledger by looking at it.
        return self._path.is_file() and self._path.stat().st_size > 0


def _opened(path: Path) -> "Ledger":
    from barwise.optimizer.ledger import Ledger

    return Ledger(path, timeout=_TIMEOUT)


def _overview(path: Path) -> Mapping[str, Any]:
    """Everything but the size."""
    with _opened(path) as ledger:
        runs = ledger.runs()
        data = {run.data.fingerprint: run.data for run in runs}
        trials = {fingerprint: ledger.trials(fingerprint) for fingerprint in data}
    searched = Counter(run.data.fingerprint for run in runs)
    data_sets = [
        {
            "fingerprint": one.fingerprint,
            "exchange": one.exchange,
            "symbol": one.symbol,
            "timeframe": one.timeframe,
            "first_ms": one.first_ms,
            "last_ms": one.last_ms,
            "bars": one.bars,
            "runs": searched[one.fingerprint],
            "trials": trials[one.fingerprint],
            "luck_line": _luck(trials[one.fingerprint], one.bars, one.exchange, one.timeframe),
        }
        for one in data.values()
    ]
    return {"runs": [_run(run) for run in reversed(runs)], "data_sets": data_sets, "trials": sum(trials.values())}


def _run(run: "Run") -> dict[str, Any]:
    data = run.data
    return {
        "run": run.run,
        "exchange": data.exchange,
        "symbol": data.symbol,
        "timeframe": data.timeframe,
        "bars": data.bars,
        "fingerprint": data.fingerprint,
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "stages": list(run.stages),
        "evaluations": run.evaluations,
        "best": run.best,
    }


def _luck(trials: int, bars: int, exchange: str, timeframe: str) -> float | None:
    """The Sharpe ratio to expect from the best of so many configurations without any edge; None without any."""
    years = bars / Timeframe.parse(timeframe).bars_per_year(calendar_of(exchange))
    return expected_maximum(trials) / math.sqrt(years) if trials and years > 0.0 else None


def _rungs(ledger: "Ledger", document: Mapping[str, Any], bars: int) -> list[dict[str, Any]]:
    """How many configurations each stage simulated over how many bars: what was given up is missing further on."""
    frame = ledger.frame(str(document["market"]["fingerprint"]), document["run"])
    counted = {(stage, stop): count for stage, stop, count in frame.group_by("stage", "stop_bar").len().iter_rows()}
    return [
        {
            "stage": stage["stage"],
            "levels": [
                {"bars": stop, "share": 100.0 * _nearest(stage["levels"], stop / bars), "configurations": count}
                for (name, stop), count in sorted(counted.items())
                if name == stage["stage"]
            ],
        }
        for stage in document["stages"]
    ]


def _nearest(levels: Sequence[float], share: float) -> float:
    """The rung that a share of all bars belongs to: rungs are shares of what is traded, without the warm-up."""
    return min(levels, key=lambda level: abs(level - share))
