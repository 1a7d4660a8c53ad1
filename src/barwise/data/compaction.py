"""Compaction: hundreds of pages into calendar months, without a moment in which a bar is not there.

A download leaves a file per page, which is what makes it resumable, and slow to read. Here the pages of a month become
one file: first the month is written, then the pages are removed. Whoever reads in between meets bars twice, with equal
values, and knows what to do; whoever dies in between leaves that state for the next compaction.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from barwise.data.candles import Candles
from barwise.data.parts import (
    Hole,
    Part,
    Span,
    checks_of,
    describe,
    file_name,
    find_holes,
    last_checked,
    merged,
    on_grid,
    parts_of,
    read_parts,
    write_part,
)
from barwise.timeframe import Calendar, Timeframe, calendar_of


class Compaction(NamedTuple):
    """Number of files of a series before and after."""

    before: int
    after: int


def compact_folder(folder: Path, exchange: str, symbol: str, timeframe: Timeframe) -> Compaction:
    """Make months of the files of a folder; the caller holds its lock.

    A stretch of a month that one file covers alone is left as it is. Where one file of several with rows has no quote
    volume, they stay apart, because together they would lose it.

    Raises:
        DataError: A file cannot be read or written, or two files differ about a bar.
    """
    parts = parts_of(folder)
    for piece, inside in _pieces_to_write(parts, timeframe, calendar_of(exchange)):
        _write_month(piece, inside, folder, exchange, symbol, timeframe)
    # Every piece is on the disk now, so whatever lies in several of them or beside another file is not needed.
    kept = _needed(parts_of(folder), timeframe, calendar_of(exchange))
    for part in parts_of(folder):
        if part not in kept:
            part.path.unlink(missing_ok=True)
    return Compaction(len(parts), len(parts_of(folder)))
