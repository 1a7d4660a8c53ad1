"""The files that a run leaves, by the name of the run: documents as they were written, and where its tables are.

A name is looked up and never trusted: it is one word of letters, digits, dots, hyphens and underscores, and what it
leads to lies in the folder where runs are, also where somebody has put a link there.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from barwise.dashboard.errors import NotFound
from barwise.errors import DataError, did_you_mean

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_ALL_RUNS: Final = "GET /api/v1/runs names all of them."


@dataclass(frozen=True)
class Stamp:
    """A file as it is now: another content has another stamp.

    Attributes:
        path: Of the file.
        changed: When it was written, ns.
        size: Bytes.
    """

    path: Path
    changed: int
    size: int


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(path, found.st_mtime_ns, found.st_size)


class RunDocuments:
    """The files of all runs below one home folder.

    Args:
        home: The folder that holds `data/`.
    """

    def __init__(self, home: Path) -> None:
        self._results = home / "data" / "results"
        self._exports = home / "data" / "exports"

    def whole(self, name: str) -> dict[str, Any]:
        """What a run found, on one page.

        Raises:
            NotFound: There is no such run, or it is not done.
            DataError: The document is damaged.
        """
        found = self._document(name, "")
        if found is None:
            raise self._unknown(name, "result")
        return found

    def search(self, name: str) -> dict[str, Any]:
        """The document of a run's optimization, or of an optimization by itself.

        Raises:
            NotFound: There is no such run, or it has searched nothing.
            DataError: The document is damaged.
        """
        return self._stage(name, "7", "optimization")

    def verdict(self, name: str) -> dict[str, Any]:
        """The document of a run's validation, or of a validation by itself.

        Raises:
            NotFound: There is no such run, or nothing was validated.
            DataError: The document is damaged.
        """
        return self._stage(name, "8", "validation")

    def table(self, name: str, which: str) -> Stamp | None:
        """The CSV table of a run, such as "trials" or "equity"; None where there is none.

        Raises:
            NotFound: Nothing can have this name.
        """
        self._check(name)
        found = stamp_of(self._exports / f"{name}-{which}.csv")
        return found if found is not None and _lies_in(found.path, self._exports) else None

    def stamp(self, name: str, number: str) -> Stamp | None:
        """The stamp of the document of a stage, or of the only one that there is.

        Raises:
            NotFound: Nothing can have this name.
        """
        self._check(name)
        return stamp_of(self._results / f"{name}.stage{number}.json") or stamp_of(self._results / f"{name}.json")

    def _stage(self, name: str, number: str, kind: str) -> dict[str, Any]:
        found = self._document(name, f".stage{number}")
        if found is not None:
            return found
        whole = self._document(name, "")
        if whole is None:
            raise self._unknown(name, kind)
        if whole.get("kind") == kind:
            return whole
        if whole.get("kind") == "multi":
            raise NotFound(
                f"{name} is a run over several markets, and each of them has its own {kind}.",
                hint="ask for the run of one market; the document of all names them.",
            )
        reasons = [
            str(text) for stage, text in (whole.get("skipped") or {}).items() if str(stage).split(".")[0] == number
        ]
        raise NotFound(
            f"{name} has no {kind}: {reasons[0] if reasons else 'it was not part of it'}.",
            hint="start a run whose configuration asks for it.",
        )

    def _document(self, name: str, ending: str) -> dict[str, Any] | None:
        self._check(name)
        path = self._results / f"{name}{ending}.json"
        if not path.is_file() or not _lies_in(path, self._results):
            return None
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as cause:
            raise _damaged(path) from cause
        if not isinstance(content, dict):
            raise _damaged(path)
        return content

    def _check(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise NotFound(f"{name[:60]!r} is no name that a run can have.", hint=_ALL_RUNS)

    def _unknown(self, name: str, what: str) -> NotFound:
        if (self._results / f"{name}.audit.jsonl").is_file():
            return NotFound(
                f"{name} has no {what} yet: it is going on, or was ended before it came that far.",
                hint=f"its trail tells how far it is; barwise run data/results/{name}.config.toml goes on with it.",
            )
        names = sorted({file.name.removesuffix(".json") for file in self._results.glob("*.json")})
        return NotFound(f"there is no run {name}.{did_you_mean(name, names)}", hint=_ALL_RUNS)


def _lies_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path.name} is damaged: it is not one JSON object.", hint="run it again: the same run writes the same files."
    )
