"""The runs of a home folder: which there are, how they stand, and what their files hold.

Nothing is read but files that bear the name of a run and lie in the folders where runs leave them: a name is no path,
and a link that leads out of its folder is no file. What was read is kept until the file changes.
"""

import logging
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from barwise.dashboard.again import Again, repeated
from barwise.dashboard.errors import NotFound
from barwise.dashboard.memory import Memory, stamp_of
from barwise.dashboard.run_rows import Document, Kind, damaged, described, kind_of, read_document, times_of
from barwise.dashboard.run_state import State, Told, is_held, told_by
from barwise.dashboard.run_tables import Curve, Stitched, curves_of, read_curves, read_stitched
from barwise.errors import DataError, did_you_mean
from barwise.manifest import ENDING as MANIFEST
from barwise.report.run_comparison import BASELINE, HELD, OPTIMIZED, OUT_OF_SAMPLE
from barwise.result import BacktestResult
from barwise.trail import ENDING as TRAIL
from barwise.trail import overview_of_trail, read

logger = logging.getLogger(__name__)

_DOCUMENT = ".json"
_STAGES = (5, 7, 8)
# Files that end like a document and belong to one.
_BESIDE = (MANIFEST, *(f".stage{number}.json" for number in _STAGES))
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,149}")
# A trail that a run from the start has put aside: run-sample-btc-1h-b16a5b1d.1
_PUT_ASIDE = re.compile(r".+\.\d+")
_KEPT_RESULTS, _KEPT_DOCUMENTS, _KEPT_ROWS = 4, 16, 2_000


class Results:
    """The runs below a home folder; threads may share it.

    Args:
        home: The folder of data/ and logs/.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "data" / "results"
        self._again: Memory[Again] = Memory(_KEPT_RESULTS)
        self._documents: Memory[Document] = Memory(_KEPT_DOCUMENTS)
        self._curves: Memory[Mapping[str, Curve]] = Memory(_KEPT_RESULTS)
        self._stitched: Memory[Stitched] = Memory(_KEPT_RESULTS)
        self._told: Memory[Told | None] = Memory(_KEPT_ROWS)
        self._rows: Memory[dict[str, Any] | None] = Memory(_KEPT_ROWS)

    # -- Which there are -----------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all runs, in the order of the alphabet."""
        if not self.folder.is_dir():
            return []
        found = set()
        for path in self.folder.iterdir():
            if path.name.endswith(TRAIL):
                name = path.name.removesuffix(TRAIL)
                if _PUT_ASIDE.fullmatch(name):
                    continue
            elif path.suffix == _DOCUMENT and not path.name.endswith(_BESIDE):
                name = path.name.removesuffix(_DOCUMENT)
            else:
                continue
            if _NAME.fullmatch(name) and self.is_ours(path):
                found.add(name)
        return sorted(found)

    def require(self, name: str) -> str:
        """The same name, of a run that is there.

        Raises:
            NotFound: There is none.
        """
        possible = _NAME.fullmatch(name) and not _PUT_ASIDE.fullmatch(name)
        if possible and (self._document_path(name) is not None or self.trail_path(name) is not None):
            return name
        raise NotFound(f"there is no run {name[:150]}.{did_you_mean(name[:150], self.names())}", hint=_LIST)

    def rows(self) -> list[dict[str, Any]]:
        """Every run in a few words, the newest first."""
        found = [row for name in self.names() if (row := self._row(name)) is not None]
        return sorted(found, key=lambda row: (row["begun_ms"], row["name"]), reverse=True)

    def row(self, name: str) -> dict[str, Any]:
        """One run in a few words.

        Raises:
            NotFound: There is none.
            DataError: Its document is damaged.
        """
        row = self._row(self.require(name))
        if row is None:
            raise damaged(f"{name}{_DOCUMENT}")
        return row

    def kind(self, name: str) -> Kind:
        """What sort of run it is; one that has only a trail is one of the main job.

        Raises:
            NotFound, DataError: As `row`.
        """
        kind: Kind = self.row(name)["kind"]
        return kind

    def state(self, name: str) -> State:
        """How a run stands: one whose trail has no end is running while its process is there, and else was stopped.

        Raises:
            NotFound: There is no such run.
        """
        told = self._trail(self.require(name))
        return "done" if told is None else self._state(name, told)

    def parts(self, name: str) -> list[str]:
        """Which backtests of a run can be looked at: baseline, optimized, out_of_sample.

        Raises:
            NotFound: There is no such run.
        """
        self.require(name)
        found = [part for part in (BASELINE, OPTIMIZED) if self._manifest(name, part) is not None]
        row = self._row(name)
        walked = row is not None and row["kind"] == "run" and row["metrics"][OUT_OF_SAMPLE] is not None
        if walked and all(self.table(name, table) is not None for table in ("equity", "trades", "fills")):
            found.append(OUT_OF_SAMPLE)
        return found

    # -- Files ---------------------------------------------------------------------------------------------------------

    def document(self, name: str) -> Document:
        """The document of a run without what is there bar by bar; of one that has none yet, what its trail comes to.

        Raises:
            NotFound: There is no such run.
            DataError, CheckpointError: A file is damaged.
        """
        path = self._document_path(self.require(name))
        if path is not None:
            return self._read(path)
        trail = self.trail_path(name)
        assert trail is not None
        told = overview_of_trail(trail)
        del told["state"]  # which does not know whether the process is there
        return {"kind": "run", "name": name, "market": told.pop("market"), "trail": told}

    def whole(self, name: str) -> dict[str, Any]:
        """The document with how the run stands and which parts there are.

        Raises:
            NotFound, DataError, CheckpointError: As `document`.
        """
        found = self.document(name)
        return {**found, "kind": kind_of(found), "name": name, "state": self.state(name), "parts": self.parts(name)}

    def table(self, name: str, table: str) -> Path | None:
        """A table of a run: comparison, trades, fills, equity, windows or trials; None where there is none.

        Raises:
            NotFound: There is no such run.
        """
        return self._ours(self.home / "data" / "exports" / f"{self.require(name)}-{table}.csv")

    def trail_path(self, name: str) -> Path | None:
        """The audit trail of a run, or None."""
        return self._ours(self.folder / f"{name}{TRAIL}") if _NAME.fullmatch(name) else None

    def is_ours(self, path: Path, folder: Path | None = None) -> bool:
        """Whether a path is a file below a folder, by default its own, and no link on the way there leads elsewhere.

        The folder itself may be a link: whoever keeps results on another disk made it.
        """
        folder = folder or path.parent
        try:
            return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)
        except OSError:
            return False

    # -- What is worked out --------------------------------------------------------------------------------------------

    def again(self, name: str, part: str) -> Again:
        """The backtest of a part, done again from its manifest; kept while it is among the last that were used.

        Raises:
            NotFound: There is no such run, or it has no such part.
            CheckpointError, DataError, ConfigError, BacktestError: It cannot be done again to the bit.
        """
        path = self._manifest(self.require(name), part)
        if path is None and part == OUT_OF_SAMPLE and part in self.parts(name):
            raise NotFound(
                f"the out-of-sample part of {name} is made of many backtests, which have no manifest.",
                hint=f"choose {BASELINE} or {OPTIMIZED}.",
            )
        if path is None:
            raise self._no_part(name, part)
        return self._again.get((name, part), stamp_of(path), lambda: Again(repeated(path, self.home)))

    def backtest(self, name: str, part: str) -> BacktestResult:
        """The result of `again`.

        Raises:
            NotFound, CheckpointError, DataError, ConfigError, BacktestError: As `again`.
        """
        return self.again(name, part).result

    def curves(self, name: str) -> Mapping[str, Curve]:
        """The equity of every part of a run by name, buy and hold among them.

        They stand in a table beside the run; where that was removed they are those of the backtests done again.

        Raises:
            NotFound: There is no such run.
            DataError: The table is damaged.
            CheckpointError, ConfigError, BacktestError: There is no table and a part cannot be done again.
        """
        if self.table(name, "equity") is not None:
            return self._tables(name)
        found: dict[str, Curve] = {}
        for part in (BASELINE, OPTIMIZED):
            if self._manifest(name, part) is not None:
                made = curves_of(self.backtest(name, part))
                found[part] = made[BASELINE]
                found.setdefault(HELD, made[HELD])
        return found

    def stitched(self, name: str) -> Stitched:
        """Trades and fills of the walk-forward of a run.

        Raises:
            NotFound: There is no such run, or it has none.
            DataError: A table is damaged.
        """
        trades, fills = self.table(name, "trades"), self.table(name, "fills")
        if trades is None or fills is None or OUT_OF_SAMPLE not in self.parts(name):
            raise self._no_part(name, OUT_OF_SAMPLE)
        return self._stitched.get(name, stamp_of(trades, fills), lambda: read_stitched(trades, fills))

    def require_part(self, name: str, part: str | None) -> str:
        """The part that is meant: by default the strategy that the run ended with.

        Raises:
            NotFound: There is no such run, or it has no such part.
        """
        there = self.parts(name)
        if part is None and there:
            return OPTIMIZED if OPTIMIZED in there else there[0]
        if part is None or part not in there:
            raise self._no_part(name, part or BASELINE)
        return part

    def trail_lines(
        self, name: str, kinds: frozenset[str] | None, after: int, most: int
    ) -> tuple[list[Document], bool]:
        """Lines of the trail behind a number, and whether there are more.

        Raises:
            NotFound: There is no such run, or it has no trail.
            CheckpointError: The trail is damaged.
        """
        path = self.trail_path(self.require(name))
        if path is None:
            raise NotFound(f"{name} has no audit trail.", hint="only runs of all stages, barwise run, have one.")
        found: list[Document] = list(islice((line for line in read(path, kinds) if line["seq"] > after), most + 1))
        return found[:most], len(found) > most

    # -- Inside --------------------------------------------------------------------------------------------------------

    def _ours(self, path: Path) -> Path | None:
        return path if self.is_ours(path) else None

    def _document_path(self, name: str) -> Path | None:
        path = self.folder / f"{name}{_DOCUMENT}"
        return None if path.name.endswith(_BESIDE) else self._ours(path)

    def _manifest(self, name: str, part: str) -> Path | None:
        if part not in (BASELINE, OPTIMIZED):
            return None
        path = self._ours(self.folder / f"{name}-{part}{MANIFEST}")
        if path is None and part == BASELINE:
            row = self._row(name)
            if row is not None and row["kind"] == "backtest":
                return self._ours(self.folder / f"{name}{MANIFEST}")
        return path

    def _no_part(self, name: str, part: str) -> NotFound:
        there = self.parts(name)
        hint = f"it has {', '.join(there)}." if there else "parts are there when the run has written its report."
        return NotFound(f"{name} has no part {part}.", hint=hint)

    def _tables(self, name: str) -> Mapping[str, Curve]:
        path = self.table(name, "equity")
        assert path is not None

        def made() -> Mapping[str, Curve]:
            document = self.document(name)
            market = document.get("market", document)
            capital = document.get("capital") or document.get("execution", {}).get("initial_capital")
            return read_curves(path, str(market["timeframe"]), None if capital is None else float(capital))

        return self._curves.get(name, stamp_of(path), made)

    def _read(self, path: Path) -> Document:
        return self._documents.get(path, stamp_of(path), lambda: read_document(path))

    def _trail(self, name: str) -> Told | None:
        path = self.trail_path(name)
        return None if path is None else self._told.get(name, stamp_of(path), lambda: told_by(path))

    def _state(self, name: str, told: Told) -> State:
        if told.state is not None:
            return told.state
        lock = self.home / "data" / "checkpoints" / f"{name}.lock"
        return "running" if is_held(lock) else "interrupted"

    def _row(self, name: str) -> dict[str, Any] | None:
        document = self._document_path(name)
        files = [path for path in (document, self.trail_path(name)) if path is not None]

        def made() -> dict[str, Any] | None:
            told = self._trail(name)
            if document is not None:
                try:
                    content = self._read(document)
                    return {"name": name, **described(content, told), **times_of(content, told, files)}
                except DataError:
                    logger.warning("%s is damaged and left out of the list of runs.", document.name)
            return None if told is None else {"name": name, **described(None, told), **times_of(None, told, files)}

        found = self._rows.get(name, stamp_of(*files), made)
        if found is None:
            return None
        told = self._trail(name)
        state: State = "done" if told is None else self._state(name, told)
        return {**found, "state": state, "ended_ms": None if state == "running" else found["ended_ms"]}


_LIST = "GET /api/v1/runs lists all there are."
