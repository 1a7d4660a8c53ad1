"""The local candle store: what was imported or fetched once is there tomorrow, whole, and says where it came from.

    <root>/<EXCHANGE>/<SYMBOL>/<TIMEFRAME>/20250101T000000Z_20250401T000000Z.parquet

A file is written once and never changed. Its name is the half-open span it covers, by the opens of its bars: the span
was asked for, answered, and closed; a bar absent inside was absent at its source. Its Parquet metadata say what it is,
where it comes from, and which bars are missing. Exchanges revise the past: a bar that arrives again with other values
does not replace the stored one, it is kept beside it in `corrections/` and reported, so that yesterday's result can be
computed again today.

A writer holds a lock per folder, which the system drops when the process dies; readers need none.
"""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from barwise.data.arrival import Arrival, PutReport
from barwise.data.candles import Candles, identity_text
from barwise.data.columns import Instant, instant_ms
from barwise.data.compaction import Compaction, compact_folder
from barwise.data.gaps import find_gaps, indian_market
from barwise.data.parts import (
    CORRECTIONS_FOLDER,
    END_OF_TIME,
    Hole,
    Part,
    Provenance,
    Span,
    describe,
    holes_in,
    is_whole,
    locked,
    merged,
    names_in,
    parts_of,
    quarantine,
    read_parts,
    sources_in,
    span_of,
    steadily,
    sweep,
    without,
)
from barwise.data.quality import utc_text
from barwise.errors import DataError, did_you_mean
from barwise.timeframe import DAY_MS, Timeframe, calendar_of

__all__ = ["CORRECTIONS_FOLDER", "CandleStore", "Compaction", "Hole", "Provenance", "PutReport", "Series", "Span"]

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Series:
    """One series of the store.

    Attributes:
        exchange, symbol, timeframe: Its identity.
        spans: What is covered, merged, oldest first.
        bars: Bars stored.
        gaps, missing: Gaps by the calendar, and the bars missing in them.
        sources: Where the bars come from.
        synthetic: True where the prices were made up.
        corrections: Bars that arrived again with other values.
        files: Number of files.
        size: Bytes on disk.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    spans: tuple[Span, ...]
    bars: int
    gaps: int
    missing: int
    sources: tuple[str, ...]
    synthetic: bool
    corrections: int
    files: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "exchange": self.exchange,
            "symbol": self.symbol,
            "timeframe": self.timeframe.name,
            "spans": [{"start": span.start, "end": span.end} for span in self.spans],
            "bars": self.bars,
            "gaps": self.gaps,
            "missing": self.missing,
            "sources": list(self.sources),
            "synthetic": self.synthetic,
            "corrections": self.corrections,
            "files": self.files,
            "size": self.size,
        }


class CandleStore:
    """Candles on disk, by exchange, symbol and timeframe.

    Args:
        root: The folder, usually `data/cache` under the home folder; made when the first candles are put.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def put(
        self,
        candles: Candles,
        *,
        source: str = "",
        volume_unit: str = "base units",
        span: tuple[int, int] | Span | None = None,
        provenance: Provenance | None = None,
    ) -> PutReport:
        """Store candles: only what is new is written.

        Bars that are there already with the same values are skipped. Bars with other values go to `corrections/` and
        are counted in the report; `get` keeps returning the first ones. A damaged file in the way is renamed to `.bad`.

        Args:
            candles: With exchange and symbol, without errors in their audit. With `span` there may be none: candles of
                no bars carry an identity too.
            source: Where they come from: a file name, an endpoint.
            volume_unit: What their volume counts.
            span: (start, end) in ms UTC that was asked for, answered, and closed; it counts as covered from now on,
                whatever is missing in it. None: from the open of the first bar to the close of the last.
            provenance: Who answered, and when. With it, holes that are still there are recorded as asked for again.

        Raises:
            DataError: The candles are unsound, have no identity or leave the span, would mix synthetic with real
                prices or contracts with base units, or the store cannot be written.
        """
        if not candles.exchange or not candles.symbol:
            raise DataError(
                f"The store needs an exchange and a symbol; these candles are {candles.label}.",
                hint="name both: Candles.of(candles, exchange=..., symbol=...).",
            )
        if len(candles) or span is None:
            candles.require_sound()
        asked = span_of(candles) if span is None else Span(*span) if isinstance(span, tuple) else span
        arrival = Arrival(candles, asked, source, volume_unit, provenance)
        folder = self._folder(candles.exchange, candles.symbol, candles.timeframe)
        with locked(folder):
            sweep(folder)
            return arrival.settle(folder)

    def get(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> Candles:
        """The stored candles that open at or after `start` and before `end`.

        What is stored of the span comes back, which may be less than was asked for: see `missing`.

        Args:
            start, end: Datetime (naive = UTC), ISO string or ms UTC; None: everything that is there.

        Raises:
            DataError: Nothing is stored there (the message says what is), or a file cannot be read.
            ConfigError: The timeframe is not one of ours.
        """
        frame = Timeframe.parse(timeframe)
        asked = _asked_span(exchange, start, end)
        return steadily(lambda: self._get(exchange, symbol, frame, asked))

    def _get(self, exchange: str, symbol: str, frame: Timeframe, asked: Span) -> Candles:
        folder = self._folder(exchange, symbol, frame)
        parts = [part for part in parts_of(folder) if part.span.overlaps(asked)]
        columns = read_parts(parts, asked) if parts else None
        if columns is None or not len(columns["time"]):
            raise self._nothing_there(exchange, symbol, frame, asked)
        description = describe(parts[0])
        candles = Candles(
            **columns,
            timeframe=frame,
            exchange=exchange,
            symbol=symbol,
            synthetic=bool(description.get("synthetic", False)),
        )
        said = tuple(description.get(name, "") for name in ("exchange", "symbol", "timeframe"))
        if said != (candles.exchange, candles.symbol, frame.name):
            raise DataError(
                f"{parts[0].path} says that it holds {' '.join(said).strip() or 'nothing known'}, not {candles.label}.",
                hint="the file was moved or is not of this store: remove it.",
            )
        candles.require_sound()
        return candles

    def count(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> int:
        """How many stored bars open at or after `start` and before `end`.

        Raises:
            DataError: A file cannot be read.
        """
        frame = Timeframe.parse(timeframe)
        asked = _asked_span(exchange, start, end)
        folder = self._folder(exchange, symbol, frame)

        def counted_now() -> int:
            parts = [part for part in parts_of(folder) if part.span.overlaps(asked)]
            return len(read_parts(parts, asked, names=())["time"]) if parts else 0

        return steadily(counted_now)

    def coverage(self, exchange: str, symbol: str, timeframe: str | Timeframe) -> tuple[Span, ...]:
        """The spans that are stored, merged, oldest first; empty where there is nothing."""
        return merged(parts_of(self._folder(exchange, symbol, Timeframe.parse(timeframe))))

    def missing(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        start: Instant,
        end: Instant,
    ) -> tuple[Span, ...]:
        """The parts of a span that are not stored, oldest first; holes inside what is stored are not among them."""
        asked = _asked_span(exchange, start, end)
        return without(asked, self.coverage(exchange, symbol, timeframe))

    def holes(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        *,
        older_than_days: float | None = None,
        now: Instant | None = None,
    ) -> tuple[Hole, ...]:
        """Bars missing inside what is stored, oldest first: the source was asked for them and had none.

        What lies before the first bar and after the last one is no hole: the market may not have been listed.

        Args:
            older_than_days: Only holes that were not asked for within so many days; None: all.
            now: The present; None: the clock of this machine.

        Raises:
            DataError: A file cannot be read.
        """
        frame = Timeframe.parse(timeframe)
        folder = self._folder(exchange, symbol, frame)
        holes = steadily(lambda: holes_in(folder, frame, calendar_of(exchange)))
        if older_than_days is None:
            return holes
        present = int(time.time() * 1000) if now is None else instant_ms(now)
        limit = present - older_than_days * DAY_MS
        return tuple(hole for hole in holes if hole.checked is None or hole.checked <= limit)

    def corrections(self, exchange: str, symbol: str, timeframe: str | Timeframe) -> Candles | None:
        """Bars that arrived with other values than the stored ones, the latest of each; None where there are none.

        Raises:
            DataError: A file cannot be read.
        """
        frame = Timeframe.parse(timeframe)
        parts = parts_of(self._folder(exchange, symbol, frame) / CORRECTIONS_FOLDER)
        if not parts:
            return None
        written = {part.path: str(describe(part).get("written", "")) for part in parts}
        parts.sort(key=lambda part: written[part.path], reverse=True)
        columns = read_parts(parts, None, first_wins=True)
        return Candles(**columns, timeframe=frame, exchange=exchange, symbol=symbol)

    def compact(self, exchange: str, symbol: str, timeframe: str | Timeframe) -> Compaction:
        """Make the files of a series calendar months, which are read faster than hundreds of pages.

        Other processes may read and write meanwhile. A process that dies in between leaves bars in two files, which
        readers know how to read and the next compaction cleans up.

        Raises:
            DataError: A file cannot be read or written, or two files differ about a bar.
        """
        frame = Timeframe.parse(timeframe)
        folder = self._folder(exchange, symbol, frame)
        if not parts_of(folder):
            return Compaction(0, 0)
        with locked(folder):
            sweep(folder)
            return compact_folder(folder, exchange, symbol, frame)

    def repair(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> tuple[Path, ...]:
        """Read every file of a span and rename those that are damaged to `.bad`; their spans count as missing again.

        Returns:
            The new names.

        Raises:
            DataError: The file system refuses to read or to rename.
        """
        frame = Timeframe.parse(timeframe)
        asked = _asked_span(exchange, start, end)
        folder = self._folder(exchange, symbol, frame)

        def damaged() -> list[Part]:
            return [part for part in parts_of(folder) if part.span.overlaps(asked) and not is_whole(part, asked)]

        if not steadily(damaged):
            return ()
        with locked(folder):
            return tuple(quarantine(part) for part in damaged())

    def list(self) -> tuple[Series, ...]:
        """Every series of the store that has bars, in alphabetical order.

        Raises:
            DataError: A file cannot be read.
        """
        found = [
            steadily(lambda: self._series(unquote(exchange.name), unquote(symbol.name), folder))  # noqa: B023 - called now
            for exchange in _folders(self.root)
            for symbol in _folders(exchange)
            for folder in _folders(symbol)
            if folder.name in Timeframe.names()
        ]
        return tuple(series for series in found if series is not None)

    def _series(self, exchange: str, symbol: str, folder: Path) -> Series | None:
        parts = parts_of(folder)
        if not parts or not len(time := read_parts(parts, None, names=())["time"]):
            return None
        gaps = find_gaps(time, Timeframe(folder.name), calendar_of(exchange), indian_market(exchange, symbol))
        descriptions = [describe(part) for part in parts]
        corrected = parts_of(folder / CORRECTIONS_FOLDER)
        return Series(
            exchange=exchange,
            symbol=symbol,
            timeframe=Timeframe(folder.name),
            spans=merged(parts),
            bars=len(time),
            gaps=gaps.count,
            missing=gaps.missing,
            sources=tuple(sorted({source for found in descriptions for source in sources_in(found)})),
            synthetic=any(found.get("synthetic", False) for found in descriptions),
            corrections=len(read_parts(corrected, None, names=(), first_wins=True)["time"]) if corrected else 0,
            files=len(parts),
            size=sum(part.path.stat().st_size for part in parts),
        )

    def _folder(self, exchange: str, symbol: str, frame: Timeframe) -> Path:
        return self.root / _path_name(exchange, "exchange") / _path_name(symbol, "symbol") / frame.name

    def _nothing_there(self, exchange: str, symbol: str, frame: Timeframe, asked: Span) -> DataError:
        """The error that says what is stored instead and how to get what was asked for."""
        exchange, symbol = identity_text(exchange, "exchange"), identity_text(symbol, "symbol")
        name = f"{exchange} {symbol} {frame}"
        command = f"barwise data import FILE --exchange {exchange} --symbol {shlex.quote(symbol)} --timeframe {frame}"
        if spans := self.coverage(exchange, symbol, frame):
            if not without(asked, spans):
                return DataError(
                    f"{exchange} was asked for {symbol} {frame} {_asked_text(asked)} and had not one candle.",
                    hint="the market was not listed yet, not any more, or had no session; choose another span.",
                )
            text = f"Nothing of {name} is stored {_asked_text(asked)}; stored: {'; '.join(map(str, spans))}."
        else:
            folder = self._folder(exchange, symbol, frame)
            others = [other.name for other in _folders(folder.parent) if parts_of(other)]
            symbols = [unquote(other.name) for other in _folders(folder.parent.parent)]
            text = f"{name} is not in the store."
            if others:
                text += f" Of {symbol} it has: {', '.join(others)}."
            else:
                text += did_you_mean(symbol, symbols)
        return DataError(text, hint=f"import a file that has it: {command}")


def _folders(folder: Path) -> "list[Path]":
    return [folder / name for name in names_in(folder) if (folder / name).is_dir()]


def _asked_text(asked: Span) -> str:
    """A span that may have no beginning or end, in words."""
    if asked.end >= END_OF_TIME:
        return f"from {utc_text(asked.start)} on" if asked.start else "at all"
    return f"before {utc_text(asked.end)}" if not asked.start else f"for {asked}"


def _path_name(name: str, what: str) -> str:
    """A name as one folder that can be read back: everything but letters, digits, `_ - . ~` becomes %XX.

    Raises:
        DataError: It is empty, too long, or no text.
    """
    try:
        encoded = quote(identity_text(name, what), safe="")
    except UnicodeEncodeError:
        encoded = ""
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if not 0 < len(encoded) <= _LONGEST_NAME:
        raise DataError(
            f"{str(name)[:40]!r} is not a name that {what} can have: it is empty, or longer than "
            f"{_LONGEST_NAME} letters.",
            hint=f'for example {what}="{"BINANCE" if what == "exchange" else "BTCUSDT"}".',
        )
    return encoded


def _asked_span(exchange: str, start: Instant | None, end: Instant | None) -> Span:
    """The span asked for; without limits, all time.

    Raises:
        DataError: A time cannot be read, or the span ends before it starts.
    """
    calendar = calendar_of(exchange)
    asked = Span(
        0 if start is None else instant_ms(start, calendar), END_OF_TIME if end is None else instant_ms(end, calendar)
    )
    if asked.start > asked.end:
        raise DataError(f"The span starts at {utc_text(asked.start)}, after its end at {utc_text(asked.end)}.")
    return asked
