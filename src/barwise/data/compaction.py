"""Compaction: hundreds of pages into calendar months, without a moment in which a bar is not there.

A download leaves a file per page, which is what makes it resumable, and slow to read. Here the pages of a month become
one file: first the months are written, then the pages are removed. Whoever reads in between meets bars twice, with
equal values, and knows what to do; whoever dies in between leaves that state for the next compaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from barwise.data.candles import Candles
from barwise.data.parts import (
    Checks,
    Part,
    Span,
    describe,
    file_name,
    find_holes,
    merged,
    on_grid,
    parts_of,
    read_part,
    read_parts,
    sources_in,
    without,
    write_part,
)
from barwise.timeframe import Calendar, Timeframe, calendar_of


class Compaction(NamedTuple):
    """Number of files of a series before and after."""

    before: int
    after: int


@dataclass
class _Cluster:
    """Stretches of months that share files, and these files: they are written anew together or not at all."""

    pieces: list[Span] = field(default_factory=list)
    parts: set[Part] = field(default_factory=set)


def compact_folder(folder: Path, exchange: str, symbol: str, timeframe: Timeframe) -> Compaction:
    """Make calendar months of the files of a folder; the caller holds its lock.

    Where every stretch of a month is in one file already, nothing is written. Where some of the files have quote volume
    and others do not, they stay apart, because together they would lose it.

    Raises:
        DataError: A file cannot be read or written, or two files differ about a bar.
    """
    calendar = calendar_of(exchange)
    before = parts_of(folder)
    for cluster in _clusters(before, timeframe, calendar):
        parts = sorted(cluster.parts)
        alone = all(sum(part.span.overlaps(piece) for part in parts) == 1 for piece in cluster.pieces)
        if alone or _differ_in_quote_volume(parts):
            continue
        written = {_write_month(piece, parts, folder, exchange, symbol, timeframe) for piece in cluster.pieces}
        for part in parts:
            if part.path not in written:
                part.path.unlink(missing_ok=True)
    return Compaction(len(before), len(parts_of(folder)))


def _clusters(parts: Sequence[Part], timeframe: Timeframe, calendar: Calendar) -> list[_Cluster]:
    """What is covered, cut at the ends of months, in groups that have no file in common."""
    covered = merged(parts)
    filled = merged(part for part in parts if describe(part).get("rows"))
    # Years before a listing are one stretch: months that hold nothing need no file each.
    pieces = [quiet for span in covered for quiet in without(span, filled)]
    pieces += [month for span in filled for month in _months_of(span, timeframe, calendar)]
    clusters: list[_Cluster] = []
    for piece in sorted(pieces):
        inside = {part for part in parts if part.span.overlaps(piece)}
        if not clusters or not inside & clusters[-1].parts:
            clusters.append(_Cluster())
        clusters[-1].pieces.append(piece)
        clusters[-1].parts |= inside
    return clusters


def _months_of(span: Span, timeframe: Timeframe, calendar: Calendar) -> Iterable[Span]:
    """A span cut where the first bar of each month of the market's own time opens."""
    at = span.start
    while at < span.end:
        local = datetime.fromtimestamp((at + calendar.utc_offset_ms) // 1000, tz=UTC)
        for ahead in (0, 1):  # the first week of a month opens up to six days after it has begun
            year, month = divmod(local.year * 12 + local.month - 1 + ahead, 12)
            begin = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000 - calendar.utc_offset_ms
            end = min(on_grid(begin, timeframe, calendar), span.end)
            if end > at:
                break
        yield Span(at, end)
        at = end


def _differ_in_quote_volume(parts: Sequence[Part]) -> bool:
    """Some files with rows have quote volume, others not."""
    frames = (read_part(part, None, ("quote_volume",)) for part in parts)
    return len({"quote_volume" in frame.columns for frame in frames if frame.height}) > 1


def _write_month(
    piece: Span, parts: Sequence[Part], folder: Path, exchange: str, symbol: str, timeframe: Timeframe
) -> Path:
    """Write what the files have of a stretch of a month as one file, with all that they say of it."""
    parts = [part for part in parts if part.span.overlaps(piece)]
    columns = read_parts(parts, piece)
    descriptions = [describe(part) for part in parts]
    # A file without rows says what was asked for; what the volume counts is said by one that has some.
    main = max(descriptions, key=lambda said: bool(said.get("rows")))
    candles = Candles(
        **columns,
        timeframe=timeframe,
        exchange=str(main.get("exchange", exchange)),
        symbol=str(main.get("symbol", symbol)),
        synthetic=bool(main.get("synthetic", False)),
    )
    checks = Checks(parts)
    checked = checks.last(piece)
    holes = find_holes(candles.time, piece, timeframe, candles.calendar)
    return write_part(
        candles,
        folder / f"{file_name(piece)}.parquet",
        piece,
        sources=sorted({source for said in descriptions for source in sources_in(said)}),
        volume_unit=str(main.get("units", {}).get("volume", "base units")),
        origins=_joined(origin for said in descriptions for origin in said.get("provenance", ())),
        # A hole that was asked for when all the month was needs no date of its own.
        holes=[hole._replace(checked=None if (last := checks.last(hole.span)) == checked else last) for hole in holes],
        checked=checked,
    )


def _joined(origins: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each venue, endpoint and adapter, with the first and the last time."""
    joined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for origin in origins:
        key = tuple(origin.get(name) for name in ("venue", "endpoint", "adapter"))
        known = joined.setdefault(key, dict(origin))
        known["first"] = min(known["first"], origin["first"])
        known["last"] = max(known["last"], origin["last"])
    return list(joined.values())
