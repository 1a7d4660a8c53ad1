"""The file of a trail: JSON lines that are only ever added to, each event once, whatever cuts the run off.

A line counts from its newline on. Whatever stands behind the last newline was being written when the process or the
machine stopped; it is taken off when the file is opened again, and the event is offered again by the run that goes on.
Readers stop at the last newline too, so somebody may read while another one writes.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, Self

from barwise.errors import CheckpointError
from barwise.obs import redact
from barwise.trail.events import Event, plain

ENDING = ".audit.jsonl"
# How the name of a run over several markets begins; the run of a market on which it rests has a name of its own.
OVER_SEVERAL = "run-multi-"
_OVER_SEVERAL = re.compile(rf"{OVER_SEVERAL}[0-9a-f]{{8}}")
# Lines that are written at once; some hundred kilobytes.
_BATCH = 1_000
_HIDDEN = "***"
_ABSENT = object()

Line = dict[str, Any]


class Trail:
    """A trail that is open for writing; end it with `close`, or with a `with` block around it.

    One process at a time: two that write into one file would not know of each other's events.

    Args:
        path: The file; it and its folder are made where they are missing.
        run: Name of the run, which stands in every line.

    Raises:
        CheckpointError: The file cannot be opened, or a whole line of it is none of a trail.
    """

    def __init__(self, path: Path, *, run: str) -> None:
        self.path, self.run = path, run
        self._known: set[str] = set()
        self._next = 0  # number of the next line
        self._in_doubt = True  # what is in the file is not what is known of it
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            self._take_stock()
        except BaseException:
            self._file.close()
            raise

    @property
    def events(self) -> int:
        """How many events with an identity are there."""
        return len(self._known)

    def add(self, events: Iterable[Event]) -> int:
        """Write the events that are not there yet, in order, and flush them to the disk.

        Returns:
            How many were written.

        Raises:
            CheckpointError: The file cannot be written. Some of the events may be there then, and no part of a line.
        """
        self._take_stock()
        before = len(self._known)
        batch: dict[str, Event] = {}
        for event in events:
            if event.identity not in self._known:
                batch.setdefault(event.identity, event)
            if len(batch) == _BATCH:
                self._write(self._lines(batch), batch)
                batch = {}
        if batch:
            self._write(self._lines(batch), batch)
        written = len(self._known) - before
        if written:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _unwritable(self.path, error) from error
        return written

    def say(self, kind: str, **fields: Any) -> None:
        """Write what happens now. It has no identity: the same may happen again, and no result rests on it.

        Raises:
            CheckpointError: The file cannot be written.
        """
        self._take_stock()
        self._write([self._line(kind, None, plain(fields), 0)])

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take_stock(self) -> None:
        """Read what is there and cut off a line that was never finished; only after opening and after a failure.

        Ctrl-C or a full disk may have ended a write anywhere, also between the file and what is known of it.
        """
        if not self._in_doubt:
            return
        try:
            self._file.seek(0)
            content = self._file.read()
            end = content.rfind(b"\n") + 1
            if len(content) > end:
                os.ftruncate(self._file.fileno(), end)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._known, self._next = set(), 0
        for number, text in enumerate(content[:end].split(b"\n")[:-1], 1):
            line = _parsed(self.path, number, text)
            self._next = line["seq"] + 1
            if "id" in line:
                self._known.add(line["id"])
        self._in_doubt = False

    def _lines(self, events: Mapping[str, Event]) -> list[Line]:
        return [self._line(event.kind, event.identity, event.fields, at) for at, event in enumerate(events.values())]

    def _line(self, kind: str, identity: str | None, fields: Mapping[str, Any], ahead: int) -> Line:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        own = {} if identity is None else {"id": identity}
        return {"time": now, "run": self.run, "seq": self._next + ahead, "kind": kind, **own, **fields}

    def _write(self, lines: list[Line], identities: Iterable[str] = ()) -> None:
        # Half of a pair of surrogates is no UTF-8; the escape it becomes is what JSON calls it.
        content = memoryview(_text(lines).encode(errors="backslashreplace"))
        self._in_doubt = True
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._known.update(identities)
        self._next += len(lines)
        self._in_doubt = False


def _unwritable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"the audit trail {path} cannot be written: {error.strerror}.",
        hint="check that its folder is writable and has space; the same command goes on from there.",
    )


# -- Secrets -----------------------------------------------------------------------------------------------------------


def _text(lines: list[Line]) -> str:
    """Whole lines without credentials.

    They are looked for in names and texts and taken out of those: cut out of the line as a whole a credential could
    take a quote with it, and a price that has the digits of an account's name is still a price. Names and most texts
    are the same in line after line, so each is looked at once.
    """
    names: set[str] = set()
    texts: set[str] = set()
    for line in lines:
        _gather(line, names, texts)
    if any(map(_is_telling, names)) or not _is_clean(names) or not _is_clean(texts):
        lines = [_without_secrets(line) for line in lines]
    return "".join(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n" for line in lines)


def _gather(value: Any, names: set[str], texts: set[str]) -> None:
    if isinstance(value, dict):
        names.update(value)
        for item in value.values():
            _gather(item, names, texts)
    elif isinstance(value, list):
        for item in value:
            _gather(item, names, texts)
    elif isinstance(value, str):
        texts.add(value)


def _is_clean(texts: Iterable[str]) -> bool:
    joined = "\n".join(texts)
    return redact(joined) == joined


def _is_telling(name: str) -> bool:
    """Whether what stands behind this name is a secret, whatever it is."""
    pair = f"{name}=value"
    return redact(pair) != pair


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {redact(name): _HIDDEN if _is_telling(name) else _without_secrets(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return redact(value) if isinstance(value, str) else value


# -- Reading -----------------------------------------------------------------------------------------------------------


def is_over_several(run: str) -> bool:
    """Whether this is the name of a run over several markets."""
    return _OVER_SEVERAL.fullmatch(run) is not None


def find_trail(run: str | None, home: Path) -> Path | None:
    """The trail that a user means, or None.

    Args:
        run: Name of a run, or path of its trail; None: the newest of a market below the home folder.
        home: The home folder.
    """
    folder = home / "data" / "results"
    if run is None:
        known = list(folder.glob(f"*{ENDING}")) if folder.is_dir() else []
        known = [path for path in known if not is_over_several(path.name.removesuffix(ENDING))]
        return max(known, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)
    given = Path(run).expanduser()
    places = (given, home / given) if run.endswith(ENDING) else ()
    return next(
        (path for path in (*places, folder / f"{given.name.removesuffix(ENDING)}{ENDING}") if path.is_file()), None
    )


def read(path: Path, kinds: Iterable[str] | None = None) -> Iterator[Line]:
    """The whole lines of a trail, in order; somebody may be writing it.

    Args:
        path: The file.
        kinds: Only lines of these kinds; None = all.

    Raises:
        CheckpointError: The file cannot be read, or a whole line is none of a trail.
    """
    wanted = None if kinds is None else frozenset(kinds)
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    return
                line = _parsed(path, number, text)
                if wanted is None or line["kind"] in wanted:
                    yield line
    except OSError as error:
        raise CheckpointError(
            f"the audit trail {path} cannot be read: {error.strerror}.", hint="check the path."
        ) from error


def _parsed(path: Path, number: int, text: bytes) -> Line:
    try:
        line = json.loads(text)
    except ValueError:  # no JSON, or no UTF-8
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("seq"), int) or not isinstance(line.get("kind"), str):
        raise CheckpointError(
            f"line {number} of {path.name} is no line of an audit trail.",
            hint="the file was changed by something else: take a copy of it, or move it away and run again.",
        )
    return line


# -- Two trails --------------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """The first event that is not the same in two trails.

    Attributes:
        identity: Of the event.
        text: In a sentence.
        field: Which value differs; "" where the event is in one of them only, or at another place.
        was, now: The two values; None where there is none.
    """

    identity: str
    text: str
    field: str = ""
    was: Any = None
    now: Any = None


def deterministic(lines: Iterable[Line]) -> Iterator[Line]:
    """What two runs of the same inputs share: the lines with an identity, without their time and number."""
    for line in lines:
        if "id" in line:
            yield {name: value for name, value in line.items() if name not in ("time", "seq")}


def first_difference(was: Iterable[Line], now: Iterable[Line]) -> Difference | None:
    """The first event that is not the same in two trails, or None where they tell the same."""
    for left, right in zip_longest(deterministic(was), deterministic(now)):
        if left == right:
            continue
        if right is None or left is None:
            identity, where = (left["id"], "first") if right is None else (right["id"], "second")
            return Difference(identity, f"{identity} is in the {where} trail only.")
        if left["id"] != right["id"]:
            text = f"where the first trail has {left['id']}, the second one has {right['id']}."
            return Difference(left["id"], text)
        names = dict.fromkeys((*left, *right))
        name = next(name for name in names if left.get(name, _ABSENT) != right.get(name, _ABSENT))
        before, after = left.get(name), right.get(name)
        return Difference(left["id"], f"{left['id']}: {name} was {before!r} and is {after!r}.", name, before, after)
    return None
