"""The files of one stored series: what their names claim, what they say of themselves, and who may touch them.

The name of a file is a claim: the span in it was asked for, answered, and closed. A bar that opens in the span and is
not in the file was absent at its source. Everything here keeps that claim true: files appear whole or not at all, one
process at a time writes to a folder, and a file that cannot be read stops claiming anything.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from barwise.core.layout import IntArray
from barwise.data.candles import Candles
from barwise.data.checks import differing_rows
from barwise.data.files import METADATA_KEY, SCHEMA_VERSION, TEMPORARY_PREFIX, read_description, write_atomically
from barwise.data.gaps import find_gaps
from barwise.data.quality import utc_text
from barwise.errors import DataError
from barwise.timeframe import Calendar, Timeframe

if TYPE_CHECKING:
    import polars as pl

try:
    import fcntl
except ImportError:  # Windows: writers of one series must take turns by themselves
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

CORRECTIONS_FOLDER = "corrections"
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")
END_OF_TIME = 253_402_300_800_000  # the year 10000
# A record that a span was asked again and had nothing new: no rows, and a name that no file with rows has.
ASKED_AGAIN = "-checked"
_LOCK_NAME = ".lock"
_DAMAGED = ".bad"
_NAME_FORMAT = "%Y%m%dT%H%M%SZ"
_NAME_PATTERN = re.compile(rf"(\d{{8}}T\d{{6}}Z)_(\d{{8}}T\d{{6}}Z)(?:-[0-9a-f]{{8}}|{ASKED_AGAIN})?\.parquet")
# What a file lists of its holes; how many bars are missing in all of them stands beside the list.
_HOLES_LISTED = 1000
# Row groups of this size let a reader of one month skip most of a year of minutes.
_ROW_GROUP = 65_536
# A compaction replaces files once; a reader who meets three in a row is not unlucky.
_READING_TRIES = 4


@dataclass(frozen=True, order=True)
class Span:
    """A half-open stretch of time in ms UTC; of candles, those that open in it."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{utc_text(self.start)} .. {utc_text(self.end)}".replace(" UTC ..", " ..")

    def overlaps(self, other: "Span") -> bool:
        """At least one instant lies in both."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, order=True)
class Part:
    """One file of a series and the span in its name."""

    span: Span
    path: Path


@dataclass(frozen=True)
class Provenance:
    """Where candles come from.

    Attributes:
        venue: Our name of it, upper case.
        fetched: When the venue answered, ms UTC by the venue's clock.
        adapter: Name and version of the code that asked.
        endpoint: "api", or "archive" for the venue's bulk files.
    """

    venue: str
    fetched: int
    adapter: str
    endpoint: str = "api"


class Hole(NamedTuple):
    """Bars that the source did not have when it was asked.

    Attributes:
        span: From the open of the first missing bar to the open of the next one that is there.
        bars: How many are missing by the calendar.
        checked: When the source was last asked for all of them, ms UTC; None where a file was imported instead.
    """

    span: Span
    bars: int
    checked: int | None = None


class UnreadableFileError(DataError):
    """A file of the store is gone, or damaged, or may not be read.

    Args:
        path: The file.
        damaged: Its content is broken; the file system itself gave no error.
    """

    def __init__(self, message: str, *, hint: str, path: Path, damaged: bool) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.damaged = damaged


# ------------------------------------------------------------------------------------------------------ names and spans


def file_name(span: Span) -> str:
    """The name of a file that covers the span, without its ending.

    Raises:
        DataError: The span lies outside the years 1970 to 9999 or between two seconds.
    """
    texts = []
    for instant in (span.start, span.end):
        if instant % 1000 or not 0 <= instant < END_OF_TIME:
            raise DataError(
                f"The span {span} cannot be stored.",
                hint="times have to be whole seconds of the years 1970 to 9999.",
            )
        texts.append(datetime.fromtimestamp(instant // 1000, tz=UTC).strftime(_NAME_FORMAT))
    return f"{texts[0]}_{texts[1]}"


@lru_cache(maxsize=65_536)
def _span_in(name: str) -> Span | None:
    """The span that a file name claims; None where the name is not one of ours."""
    if match := _NAME_PATTERN.fullmatch(name):
        with suppress(ValueError):  # such as a 13th month
            return Span(*(int(datetime.fromisoformat(text).timestamp()) * 1000 for text in match.groups()))
    return None


def parts_of(folder: Path) -> list[Part]:
    """The finished files of a folder, by span; whatever has another name (temporary files, the lock) is left out."""
    return sorted(Part(span, folder / name) for name in names_in(folder) if (span := _span_in(name)) is not None)


def names_in(folder: Path) -> list[str]:
    """Names in a folder in alphabetical order; none where it does not exist.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - a store of minutes has thousands of names; no Path for each
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as cause:
        raise DataError(f"{folder} cannot be read: {cause.strerror}.", hint="check who may read it.") from cause


def merged(parts: Iterable[Part]) -> tuple[Span, ...]:
    """The spans of files, those that touch or overlap made one."""
    spans: list[Span] = []
    for part in sorted(parts):
        if spans and part.span.start <= spans[-1].end:
            spans[-1] = Span(spans[-1].start, max(spans[-1].end, part.span.end))
        else:
            spans.append(part.span)
    return tuple(spans)


def without(asked: Span, covered: Iterable[Span]) -> tuple[Span, ...]:
    """What of a span is in none of the others, which are sorted and do not overlap."""
    spans, at = [], asked.start
    for span in covered:
        if span.end <= at or span.start >= asked.end:
            continue
        if span.start > at:
            spans.append(Span(at, span.start))
        at = span.end
    if at < asked.end:
        spans.append(Span(at, asked.end))
    return tuple(spans)


def span_of(candles: Candles) -> Span:
    """From the open of the first bar to the close of the last."""
    return Span(int(candles.time[0]), int(candles.time[-1]) + candles.timeframe.ms)


def on_grid(instant: int, timeframe: Timeframe, calendar: Calendar) -> int:
    """The first instant at or after this one at which a bar may open."""
    origin = timeframe.grid_origin_ms(calendar)
    return origin - (origin - instant) // timeframe.ms * timeframe.ms


def find_holes(time: IntArray, span: Span, timeframe: Timeframe, calendar: Calendar) -> list[Hole]:
    """The bars that are missing among those that open in a span.

    Around the clock the edges of the span count too. In a market with sessions only breaks between two bars do, as far
    as no night, weekend or holiday explains them.

    Args:
        time: Opens of the bars of the span, ascending.
    """
    if calendar.always_open:
        first, end = (on_grid(edge, timeframe, calendar) for edge in (span.start, span.end))
        time = np.concatenate(([first - timeframe.ms], time, [end]))
    holes: list[Hole] = []
    # `find_gaps` lists at most a hundred places, which is more than there can be between so few bars.
    window = 100
    uneven = np.flatnonzero(np.diff(time) != timeframe.ms)
    for begin in np.unique(uneven // window) * window:
        found = find_gaps(time[begin : begin + window + 1], timeframe, calendar)
        for start, bars in found.where:
            after = int(time[np.searchsorted(time, start)])
            holes.append(Hole(Span(start, after), bars))
    return holes


# -------------------------------------------------------------------------------------------------------------- writing


def write_part(
    candles: Candles,
    path: Path,
    span: Span,
    *,
    sources: Sequence[str],
    volume_unit: str,
    origins: Sequence[Mapping[str, Any]],
    holes: Sequence[Hole],
    checked: int | None,
) -> Path:
    """Write one file of the store, atomically; it may have no rows.

    Args:
        span: What it covers.
        sources: Names of files or endpoints.
        origins: As `origin` makes them.
        holes: Missing bars; `checked` of a hole wins over that of the file.
        checked: When the source was asked for all of the span, ms UTC.

    Raises:
        DataError: The file cannot be written.
    """
    import polars as pl

    description = {
        "schema": SCHEMA_VERSION,
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": candles.timeframe.name,
        "synthetic": candles.synthetic,
        "span": [span.start, span.end],
        "rows": len(candles),
        "source": "; ".join(sources),
        "sources": list(sources),
        "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "units": {"time": "ms since 1970-01-01 UTC, bar open", "volume": volume_unit},
        "provenance": list(origins),
        "checked": checked,
        "missing": sum(hole.bars for hole in holes),
        "holes": [[hole.span.start, hole.span.end, hole.bars, hole.checked] for hole in holes[:_HOLES_LISTED]],
    }
    columns = {"time": candles.time, **{name: getattr(candles, name) for name in VALUES}}
    frame = pl.DataFrame({name: column for name, column in columns.items() if column is not None})
    return write_atomically(
        path,
        lambda file: frame.write_parquet(
            file,
            compression="zstd",
            row_group_size=_ROW_GROUP,
            statistics=True,
            metadata={METADATA_KEY: dumps(description)},
        ),
    )


def origin(provenance: Provenance) -> dict[str, Any]:
    """Provenance as it stands in a file: `first` and `last` say when."""
    when = datetime.fromtimestamp(provenance.fetched / 1000, tz=UTC).isoformat(timespec="milliseconds")
    return {
        "venue": provenance.venue,
        "endpoint": provenance.endpoint,
        "adapter": provenance.adapter,
        "first": when,
        "last": when,
    }


# -------------------------------------------------------------------------------------------------------------- reading


def describe(part: Part) -> dict[str, Any]:
    """What a file says of itself.

    Raises:
        UnreadableFileError: It cannot be read.
    """
    try:
        return read_description(part.path)
    except DataError as error:
        raise _unreadable(part, error.__cause__ or error) from error


def sources_in(description: Mapping[str, Any]) -> list[str]:
    """Where the bars of a file come from, by what it says of itself; `source` alone stands in files of other tools."""
    return list(description.get("sources") or filter(None, [description.get("source")]))


def read_part(part: Part, span: Span | None, names: Sequence[str]) -> "pl.DataFrame":
    """The rows of one file that open inside the span.

    Raises:
        UnreadableFileError: It cannot be read.
    """
    import polars as pl

    try:
        return _scan(part, span, names).collect()
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as cause:
        raise _unreadable(part, cause) from cause


def _read_each(parts: Sequence[Part], span: Span | None, names: Sequence[str]) -> "list[pl.DataFrame]":
    """The rows of several files, read at the same time: half the time of one after the other on two cores.

    Raises:
        UnreadableFileError: The first one that cannot be read.
    """
    import polars as pl

    try:
        return pl.collect_all([_scan(part, span, names) for part in parts])
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return [read_part(part, span, names) for part in parts]  # which of them is it?


def _scan(part: Part, span: Span | None, names: Sequence[str]) -> "pl.LazyFrame":
    import polars as pl

    scan = pl.scan_parquet(part.path, glob=False)
    present = scan.collect_schema().names()
    if span is not None and not (span.start <= part.span.start and part.span.end <= span.end):
        scan = scan.filter(pl.col("time") >= span.start, pl.col("time") < span.end)
    return scan.select("time", *(name for name in names if name in present or name != "quote_volume"))


def _unreadable(part: Part, cause: BaseException) -> UnreadableFileError:
    return UnreadableFileError(
        f"{part.path} cannot be read: {' '.join(str(cause).split())[:120]}.",
        hint="the file was damaged after it was written: remove it and fetch or import the span again.",
        path=part.path,
        damaged=not isinstance(cause, OSError),
    )


def read_parts(
    parts: Sequence[Part], span: Span | None, *, names: Sequence[str] = VALUES, first_wins: bool = False
) -> dict[str, Any]:
    """Columns of several files in time order, one row per time; quote volume only where all files with rows have it.

    Args:
        parts: At least one.
        span: Rows to read; None: all.
        names: Columns besides the time.
        first_wins: Of different rows for one time, keep that of the first file in `parts`.

    Raises:
        DataError: A file cannot be read or lacks a column, or two files differ about a bar.
    """
    read = list(zip(parts, _read_each(parts, span, names), strict=True))
    read = [(part, frame) for part, frame in read if frame.height] or read[:1]
    frames = [frame for _, frame in read]
    columns: dict[str, Any] = {"time": np.concatenate([frame.get_column("time").to_numpy() for frame in frames])}
    for name in names:
        has_it = [name in frame.columns for frame in frames]
        columns[name] = None
        if all(has_it):
            columns[name] = np.concatenate([frame.get_column(name).to_numpy() for frame in frames])
    time = columns["time"]
    if (time[1:] > time[:-1]).all():
        return _sealed(columns)
    order = np.argsort(time, kind="stable")
    same = np.flatnonzero(time[order][1:] == time[order][:-1])
    if not first_wins:
        values = [columns[name] for name in names if columns[name] is not None]
        different = differing_rows(values, order[same], order[same + 1])
        if different.any():
            rows = [order[same][different][0], order[same + 1][different][0]]
            ends = np.cumsum([frame.height for frame in frames])
            files = " and ".join(read[int(np.searchsorted(ends, row, side="right"))][0].path.name for row in rows)
            raise DataError(
                f"Two files of {parts[0].path.parent} differ about {utc_text(int(time[rows[0]]))}: {files}.",
                hint="remove the one you do not trust.",
            )
    order = np.delete(order, same + 1)
    return _sealed({name: None if column is None else column[order] for name, column in columns.items()})


def _sealed(columns: dict[str, Any]) -> dict[str, Any]:
    """The same columns, made here and now read-only, so that Candles takes them without a copy."""
    for column in columns.values():
        if column is not None:
            column.setflags(write=False)
    return columns


def steadily(read: Callable[[], _T]) -> _T:
    """Read again where a file went away between the look into the folder and the reading.

    A compaction writes a month before it removes what the month was made of, so the second look finds every bar.
    """
    for _ in range(_READING_TRIES - 1):
        try:
            return read()
        except UnreadableFileError as error:
            if error.path.exists():
                raise
    return read()


class Checks:
    """When the source was last asked for what, by the files of a series.

    Raises:
        UnreadableFileError: A file cannot be read.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        known: list[tuple[int, int, int]] = []
        for part in parts:
            description = describe(part)
            if description.get("checked"):
                known.append((part.span.start, part.span.end, description["checked"]))
            known += [(start, end, checked) for start, end, _, checked in description.get("holes", ()) if checked]
        self._starts, self._ends, self._times = np.array(known, dtype=np.int64).reshape(-1, 3).T

    def last(self, span: Span) -> int | None:
        """The time at which all of a span had been asked for, ms UTC; None where a part of it never was."""
        near = (self._starts < span.end) & (self._ends > span.start)
        starts, ends, times = self._starts[near], self._ends[near], self._times[near]
        edges = {span.start, *(int(edge) for edge in (*starts, *ends) if span.start < edge < span.end)}
        latest = [int(times[(starts <= edge) & (edge < ends)].max(initial=0)) for edge in edges]
        return min(latest) or None


def is_whole(part: Part, span: Span) -> bool:
    """Whether a file can be read, as far as it lies in the span.

    Raises:
        UnreadableFileError: The file system gave an error, so nothing is known.
    """
    try:
        describe(part)
        read_part(part, span, VALUES)
    except UnreadableFileError as error:
        if not error.damaged:
            raise
        return False
    return True


def holes_in(folder: Path, timeframe: Timeframe, calendar: Calendar) -> tuple[Hole, ...]:
    """The holes of a series between its first and its last bar.

    Raises:
        DataError: A file cannot be read.
    """
    parts = parts_of(folder)
    if not parts or not len(time := read_parts(parts, None, names=())["time"]):
        return ()
    checks = Checks(parts)
    found = []
    for span in merged(parts):
        inner = Span(max(span.start, int(time[0])), min(span.end, int(time[-1]) + timeframe.ms))
        if inner.start < inner.end:
            first, end = np.searchsorted(time, (inner.start, inner.end))
            found += find_holes(time[first:end], inner, timeframe, calendar)
    return tuple(Hole(hole.span, hole.bars, checks.last(hole.span)) for hole in found)


# ------------------------------------------------------------------------------------------------- one writer at a time


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write to a folder; the system frees the lock of a process that dies.

    Raises:
        DataError: The folder cannot be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as cause:
        raise DataError(
            f"The store cannot write to {folder}: {cause.strerror}.", hint="check who may write there, or use --home."
        ) from cause
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what writers that died have left; under the lock no living one has a temporary file here."""
    if fcntl is None:
        return
    for place in (folder, folder / CORRECTIONS_FOLDER):
        for name in names_in(place):
            if name.startswith(TEMPORARY_PREFIX):
                (place / name).unlink(missing_ok=True)


def quarantine(part: Part) -> Path:
    """Take a damaged file out of the store without deleting it; its span counts as missing from now on.

    Raises:
        DataError: It cannot be renamed.
    """
    aside = part.path.with_name(part.path.name + _DAMAGED)
    try:
        part.path.replace(aside)
    except OSError as cause:
        raise DataError(
            f"{part.path} is damaged and cannot be renamed: {cause.strerror}.", hint="remove it by hand."
        ) from cause
    logger.warning(
        "%s is damaged; it was renamed to %s and %s counts as missing again.", part.path, aside.name, part.span
    )
    return aside
