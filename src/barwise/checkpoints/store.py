"""The store of checkpoints: what stages found, in files named by everything that went in.

A stage's key is a hash of all that could change what it finds. So a file that is there for a key is the answer, nothing
ever has to be marked as out of date, and a run that was killed finds what it had by asking the same questions again. A
file is there whole or not at all, and one that cannot be read is no answer: then the stage runs again, and that is all.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from barwise.checkpoints.snapshot import dump, load
from barwise.data.files import write_atomically
from barwise.errors import CheckpointError, ConfigError, DataError
from barwise.sweeping import Sweeper

logger = logging.getLogger(__name__)

_VERSION = 1
_ENDING = ".checkpoint"
_DIGITS = 24
_MOST_NAMED = 4
_LONGEST_VALUE = 40
# A file whose first line is longer than this was not written here.
_LONGEST_HEADER = 1 << 20
# Parts that are hashes: that one has become another tells a reader nothing.
_IN_WORDS = {
    "code": "the code has changed",
    "data": "the data have changed",
    "strategy source": "the source of the strategy has changed",
}


@dataclass(frozen=True)
class StageKey:
    """Everything that could change what a stage finds.

    Attributes:
        stage: Its name, in letters, digits, dots, hyphens and underscores.
        market: Which market it is for.
        parts: What goes into it, by name: {"code": a hash, "data": the fingerprint, "optimization.seed": "42", ...}.

    Raises:
        ConfigError: The name of the stage is none for a file.
    """

    stage: str
    market: str
    parts: Mapping[str, str]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.stage):
            raise ConfigError(
                f"{self.stage!r} is no name of a stage.", hint="use letters, digits, dots, hyphens and underscores."
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, 64 hex digits; the order of the parts does not matter."""
        return sha256(_canonical({"stage": self.stage, "market": self.market, "parts": dict(self.parts)})).hexdigest()


@dataclass(frozen=True)
class Described:
    """What is known of a checkpoint without reading its value.

    Attributes:
        seconds: How long the stage took when it was run.
        made: When that was, aware UTC.
        size: Of the value, in bytes.
    """

    seconds: float
    made: datetime
    size: int


@dataclass(frozen=True, eq=False)
class Kept:
    """A stage's output from before.

    Attributes:
        value: What the stage found.
        seconds, made: As in `Described`.
    """

    value: Any
    seconds: float
    made: datetime


class _Header(NamedTuple):
    """The first line of a file, checked."""

    stage: str
    market: str
    parts: Mapping[str, str]
    seconds: float
    made: datetime
    length: int  # of the body, bytes
    sha256: str  # of the body

    @property
    def digest(self) -> str:
        return StageKey(self.stage, self.market, self.parts).digest


class CheckpointStore:
    """Checkpoints of any number of runs in one folder; runs that ask for the same find the same.

    Args:
        folder: Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: StageKey, sweeper: Sweeper) -> Kept | None:
        """What is kept for a key; None where nothing is, or where it cannot be used, which the log tells.

        Args:
            sweeper: Candles, rules and costs of the run; its backtests are run again with it.
        """
        path = self._path(key)
        found = self._whole(key)
        if found is None:
            return None
        header, body = found
        try:
            value = load(body, sweeper)
        except CheckpointError as error:
            _remove_useless(path, error.message)
            return None
        _touch(path)
        return Kept(value, header.seconds, header.made)

    def save(self, key: StageKey, value: Any, sweeper: Sweeper, seconds: float) -> None:
        """Keep what a stage found, instead of what was kept for the key before.

        Args:
            value: See `barwise.checkpoints.snapshot.dump`.
            sweeper: As in `load`.
            seconds: How long the stage took.

        Raises:
            CheckpointError: The value cannot be kept, because it holds a function or foreign objects; or the file
                cannot be written, because the disk is full for example. Nothing is left behind.
        """
        body = dump(value, sweeper)
        fields: dict[str, Any] = {
            "version": _VERSION,
            "stage": key.stage,
            "market": key.market,
            "parts": dict(key.parts),
            "seconds": seconds,
            "made": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "length": len(body),
            "sha256": sha256(body).hexdigest(),
        }
        line = _canonical(fields | {"header": sha256(_canonical(fields)).hexdigest()})
        try:
            write_atomically(self._path(key), b"\n".join((line, body)))
        except DataError as error:
            # What is wrong is the disk, not the data: nobody may take it for a stage that the data do not allow.
            raise CheckpointError(error.message, hint=error.hint) from error

    def described(self, key: StageKey) -> Described | None:
        """When and in what time the checkpoint of a key was made; None where there is none that is whole."""
        found = self._whole(key)
        if found is None:
            return None
        header, body = found
        return Described(header.seconds, header.made, len(body))

    def forget(self, key: StageKey) -> None:
        """Remove what is kept for a key, if anything is."""
        self._path(key).unlink(missing_ok=True)

    def explain(self, key: StageKey) -> str:
        """Why a stage has to be run, in a few words: what differs from the last time; "" where it is kept."""
        if self.described(key) is not None:
            return ""
        others = [header for path in self._files(f"{key.stage}-*") if (header := _header_of(path)) is not None]
        others = [header for header in others if (header.stage, header.market) == (key.stage, key.market)]
        if not others:
            return "nothing of it is kept yet"
        return _difference(max(others, key=lambda header: header.made).parts, key.parts)

    def prune(self, most_bytes: int) -> int:
        """Remove the checkpoints that were used longest ago until the rest is small enough.

        Args:
            most_bytes: What all files together may have.

        Returns:
            How many were removed.
        """
        found = []
        for path in self._files("*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another run has pruned it
                continue
            found.append((status.st_mtime_ns, path.name, status.st_size, path))
        total, removed = sum(size for _, _, size, _ in found), 0
        for _, _, size, path in sorted(found):
            if total <= most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            removed += 1
        return removed

    def _path(self, key: StageKey) -> Path:
        return self.folder / f"{key.stage}-{key.digest[:_DIGITS]}{_ENDING}"

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(f"{pattern}{_ENDING}"))

    def _whole(self, key: StageKey) -> tuple[_Header, bytes] | None:
        """Header and body of a key's file, both as they were written; a file that is not like that is removed."""
        path = self._path(key)
        try:
            line, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as cause:
            _remove_useless(path, f"it cannot be read: {cause.strerror}")
            return None
        header = _header(line)
        if header is None or header.digest != key.digest:
            _remove_useless(path, "its first line is damaged or of another version")
        elif (len(body), sha256(body).hexdigest()) != (header.length, header.sha256):
            _remove_useless(path, "it is torn or damaged")
        else:
            return header, body
        return None


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _header(line: bytes) -> _Header | None:
    """The first line of a file; None where it is not exactly as it was written."""
    try:
        fields = json.loads(line)
        same = line == _canonical(fields)
        check = fields.pop("header")
        if not same or check != sha256(_canonical(fields)).hexdigest() or fields.pop("version") != _VERSION:
            return None
        return _Header(**fields | {"made": datetime.fromisoformat(fields["made"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _header_of(path: Path) -> _Header | None:
    try:
        with path.open("rb") as file:
            return _header(file.readline(_LONGEST_HEADER).removesuffix(b"\n"))
    except OSError:  # it is only looked at to explain something
        return None


def _remove_useless(path: Path, reason: str) -> None:
    """A checkpoint that cannot be used costs the time of its stage, and nothing else."""
    still_there = ""
    try:
        path.unlink(missing_ok=True)
    except OSError as cause:
        still_there = f" (and it cannot be removed: {cause.strerror})"
    logger.warning(
        "the checkpoint %s is left out and its stage runs again: %s%s.", path.name, reason.rstrip("."), still_there
    )


def _touch(path: Path) -> None:
    """Note that a checkpoint was used; one that cannot be touched is only pruned earlier."""
    try:
        os.utime(path)
    except OSError as cause:
        logger.debug("the time of %s cannot be set: %s.", path.name, cause.strerror)


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What has changed between the parts of two keys, as one sentence without its full stop."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    # Values first: they are what a user has changed on purpose.
    names.sort(key=lambda name: name in _IN_WORDS)
    named = [_change(name, before.get(name), now.get(name)) for name in names[:_MOST_NAMED]]
    more = len(names) - len(named)
    return "; ".join([*named, *([f"and {more} more"] if more else [])])


def _change(name: str, before: str | None, now: str | None) -> str:
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    if before is None:
        return f"{name} is new"
    if now is None:
        return f"{name} is gone"
    if max(len(before), len(now)) > _LONGEST_VALUE:
        return f"{name} has changed"
    return f"{name} was {before or 'empty'} and is {now or 'empty'}"
