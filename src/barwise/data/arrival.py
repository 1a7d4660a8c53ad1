"""Candles that arrive at the store: which of them are new, which were known, and which contradict what is there.

A bar that is stored is never changed by a later answer: a result of yesterday has to come out the same today. What
arrives is compared bar by bar, and what becomes of each is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barwise.core.layout import BoolArray, IntArray
from barwise.data.candles import Candles
from barwise.data.files import write_parquet
from barwise.data.parts import (
    ASKED_AGAIN,
    CORRECTIONS_FOLDER,
    VALUES,
    Hole,
    Part,
    Provenance,
    Span,
    UnreadableFileError,
    describe,
    file_name,
    find_holes,
    merged,
    origin,
    parts_of,
    quarantine,
    read_parts,
    span_of,
    without,
    write_part,
)
from barwise.data.quality import counted, utc_text
from barwise.errors import DataError

# A unit of volume is not asked for where it is one of these: a share is the base unit of its market.
_PLAIN_UNITS = frozenset({"base units", "shares"})


@dataclass(frozen=True)
class PutReport:
    """What became of candles that were put into the store.

    Attributes:
        added: Bars written.
        skipped: Bars that were there already with the same values.
        corrected: Bars that were there with other values; the stored ones stay, these went to `corrections/`.
        vanished: Stored bars inside the span of the new candles that the new candles do not have.
        files: The files written.
        holes: What is missing now in the span, by the calendar.
    """

    added: int
    skipped: int
    corrected: int
    vanished: int
    files: tuple[Path, ...]
    holes: tuple[Hole, ...] = ()

    def __str__(self) -> str:
        parts = [f"{counted(self.added, 'bar')} added", f"{self.skipped:,} there already"]
        if self.corrected:
            parts.append(f"{self.corrected:,} differ from what is stored (kept in {CORRECTIONS_FOLDER}/)")
        if self.vanished:
            parts.append(f"{self.vanished:,} stored ones are absent in the new data")
        return ", ".join(parts)


@dataclass(frozen=True)
class Arrival:
    """Candles on their way into a folder of the store.

    Attributes:
        candles: Sound and of one identity; there may be none.
        asked: The span that they answer.
        source: Where they come from: a file name, an endpoint.
        volume_unit: What their volume counts.
        provenance: Who answered, and when.
    """

    candles: Candles
    asked: Span
    source: str = ""
    volume_unit: str = "base units"
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        _require_inside(self.candles, self.asked)

    def settle(self, folder: Path) -> PutReport:
        """Write the bars that are not stored, and those that differ as corrections; the caller holds the lock.

        Raises:
            DataError: The folder holds another kind of prices or volumes, or the file system refuses.
        """
        everything = _agreeing(self.candles, self.volume_unit, parts_of(folder))
        near, stored = _stored_bars([part for part in everything if part.span.overlaps(self.asked)], self.asked)
        candles, old_time = self.candles, stored["time"]
        place = np.searchsorted(old_time, candles.time)
        present = np.zeros(len(candles), dtype=np.bool_)
        inside = place < len(old_time)
        present[inside] = old_time[place[inside]] == candles.time[inside]
        shared, fresh = np.flatnonzero(present), np.flatnonzero(~present)
        times = np.sort(np.concatenate([old_time, candles.time[fresh]]))
        covered = merged(near)
        files = [self._write(folder, span, times) for span in without(self.asked, covered)]
        # What is left fills holes of what was covered before. Between two new bars with the same place there is no
        # stored bar, so each group is one slice of the candles.
        late = fresh[_lies_in(candles.time[fresh], covered)]
        groups = np.split(late, np.flatnonzero((np.diff(place[late]) != 0) | (np.diff(late) != 1)) + 1)
        slices = [candles[int(group[0]) : int(group[-1]) + 1] for group in groups if len(group)]
        files += [self._write(folder, span_of(piece), times) for piece in slices]
        holes = self._holes(self.asked, times)
        if self.provenance and any(hole.span.overlaps(span) for hole in holes for span in covered):
            files.append(self._write_check(folder, holes))
        different = self._different(stored, shared, place)
        if different.any():
            files += self._write_corrections(folder, shared[different])
        count = int(different.sum())
        return PutReport(
            added=len(fresh),
            skipped=len(shared) - count,
            corrected=count,
            vanished=len(old_time) - len(shared),
            files=tuple(files),
            holes=tuple(holes),
        )

    def _different(self, stored: dict[str, Any], shared: IntArray, place: IntArray) -> Any:
        """Which of the bars that are stored already have other values than those."""
        different: Any = np.zeros(len(shared), dtype=np.bool_)
        for name in VALUES:
            new, old = getattr(self.candles, name), stored.get(name)
            if new is not None and old is not None:
                different |= new[shared] != old[place[shared]]
        return different

    def _holes(self, span: Span, time: IntArray) -> list[Hole]:
        first, end = np.searchsorted(time, (span.start, span.end))
        return find_holes(time[first:end], span, self.candles.timeframe, self.candles.calendar)

    def _write(self, folder: Path, span: Span, time: IntArray) -> Path:
        first, end = np.searchsorted(self.candles.time, (span.start, span.end))
        piece = self.candles[int(first) : int(end)]
        return self._describe(piece, folder / f"{file_name(span)}.parquet", span, self._holes(span, time))

    def _write_check(self, folder: Path, holes: Sequence[Hole]) -> Path:
        return self._describe(
            self.candles[:0], folder / f"{file_name(self.asked)}{ASKED_AGAIN}.parquet", self.asked, holes
        )

    def _describe(self, piece: Candles, path: Path, span: Span, holes: Sequence[Hole]) -> Path:
        return write_part(
            piece,
            path,
            span,
            sources=[self.source] if self.source else [],
            volume_unit=self.volume_unit,
            origins=[origin(self.provenance)] if self.provenance else [],
            holes=holes,
            checked=self.provenance.fetched if self.provenance else None,
        )

    def _write_corrections(self, folder: Path, rows: IntArray) -> Sequence[Path]:
        corrected = _rows(self.candles, rows)
        name = f"{file_name(span_of(corrected))}-{corrected.fingerprint[:8]}.parquet"
        path = folder / CORRECTIONS_FOLDER / name
        if path.exists():
            return ()
        return (write_parquet(corrected, path, source=self.source, units={"volume": self.volume_unit}),)


def _require_inside(candles: Candles, span: Span) -> None:
    """Do nothing where the span has a length and holds the open of every candle.

    Raises:
        DataError: It has not, or does not.
    """
    if span.start >= span.end:
        raise DataError(f"{candles.label}: the span {span} has no length.", hint="give (start, end) in ms UTC.")
    if len(candles) and not (span.start <= candles.time[0] and candles.time[-1] < span.end):
        raise DataError(
            f"{candles.label}: the candles {utc_text(int(candles.time[0]))} .. {utc_text(int(candles.time[-1]))} "
            f"leave the span {span} that they answer.",
            hint="cut them first: candles.between(start, end).",
        )


def _stored_bars(parts: list[Part], span: Span) -> tuple[list[Part], dict[str, Any]]:
    """The whole files among these and their columns; the damaged ones are set aside. The caller holds the lock."""
    while parts:
        try:
            return parts, read_parts(parts, span)
        except UnreadableFileError as error:
            if not error.damaged:
                raise
            broken = next(part for part in parts if part.path == error.path)
            quarantine(broken)
            parts.remove(broken)
    return [], {"time": np.zeros(0, dtype=np.int64)}


def _rows(candles: Candles, rows: Any) -> Candles:
    """Some bars as candles of their own."""
    return Candles(
        candles.time[rows],
        candles.open[rows],
        candles.high[rows],
        candles.low[rows],
        candles.close[rows],
        candles.volume[rows],
        None if candles.quote_volume is None else candles.quote_volume[rows],
        timeframe=candles.timeframe,
        exchange=candles.exchange,
        symbol=candles.symbol,
        synthetic=candles.synthetic,
    )


def _agreeing(candles: Candles, volume_unit: str, parts: list[Part]) -> list[Part]:
    """The whole ones of these files; made-up and real prices never share a series, nor do contracts and base units.

    Raises:
        DataError: They would.
    """
    description = _first_description(parts)
    if description is None:
        return parts
    stored = bool(description.get("synthetic", False))
    if stored != candles.synthetic:
        kinds = ("real", "synthetic")
        raise DataError(
            f"{candles.label}: the stored candles of this series are {kinds[stored]}, these are "
            f"{kinds[candles.synthetic]}.",
            hint="give one of them another symbol.",
        )
    unit = str(description.get("units", {}).get("volume", volume_unit))
    if unit != volume_unit and not {unit, volume_unit} <= _PLAIN_UNITS:
        raise DataError(
            f"{candles.label}: the stored volume counts {unit}, the new one {volume_unit}.",
            hint="bring the new volume to the same unit, or give one of them another symbol.",
        )
    return parts


def _first_description(parts: list[Part]) -> dict[str, Any] | None:
    """What the first whole file says of itself; damaged ones are set aside. The caller holds the lock."""
    while parts:
        try:
            return describe(parts[0])
        except UnreadableFileError as error:
            if not error.damaged:
                raise
            quarantine(parts.pop(0))
    return None


def _lies_in(time: IntArray, spans: Sequence[Span]) -> BoolArray:
    """Which instants lie in one of the spans, which are sorted and do not overlap."""
    starts = np.array([span.start for span in spans], dtype=np.int64)
    ends = np.array([span.end for span in spans], dtype=np.int64)
    at = np.searchsorted(starts, time, side="right") - 1
    inside: BoolArray = at >= 0
    inside[inside] = time[inside] < ends[at[inside]]
    return inside
