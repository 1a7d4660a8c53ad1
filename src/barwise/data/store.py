"""The local candle store: what was imported or fetched once is there tomorrow, whole, and says where it came from.

    <root>/<EXCHANGE>/<SYMBOL>/<TIMEFRAME>/20250101T000000Z_20250401T000000Z.parquet

A file is written once and never changed. Its name is the half-open span it covers: the open of its first bar to the
close of its last; a bar absent inside was absent at its source. Its Parquet metadata say what it is and where it comes
from. Exchanges revise the past: a bar that arrives again with other values does not replace the stored one, it is kept
beside it in `corrections/` and reported, so that yesterday's result can be computed again today.

A writer holds a lock per folder, which the system drops when the process dies; readers need none.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from barwise.data.candles import Candles, identity_text
from barwise.data.columns import Instant, instant_ms
from barwise.data.files import (
    TEMPORARY_PREFIX,
    read_description,
    write_parquet,
)
from barwise.data.quality import counted, differing_rows, find_gaps, utc_text
from barwise.errors import DataError, did_you_mean
from barwise.timeframe import Timeframe, calendar_of

if TYPE_CHECKING:
    import polars as pl

try:
    import fcntl
except ImportError:  # Windows: writers of one series must take turns by themselves
    fcntl = None  # type: ignore[assignment]

CORRECTIONS_FOLDER = "corrections"
_LOCK_NAME = ".lock"
_LONGEST_NAME = 200
_NAME_FORMAT = "%Y%m%dT%H%M%SZ"
_NAME_PATTERN = re.compile(r"(\d{8}T\d{6}Z)_(\d{8}T\d{6}Z)(?:-[0-9a-f]{8})?\.parquet")
_END_OF_TIME = 253_402_300_800_000  # the year 10000
_VALUES = ("open", "high", "low", "close", "volume", "quote_volume")


@dataclass(frozen=True, order=True)
class Span:
    """A half-open stretch of time in ms UTC."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{utc_text(self.start)} .. {utc_text(self.end)}".replace(" UTC ..", " ..")


@dataclass(frozen=True)
class PutReport:
    """What became of candles that were put into the store.

    Attributes:
        added: Bars written.
        skipped: Bars that were there already with the same values.
        corrected: Bars that were there with other values; the stored ones stay, these went to `corrections/`.
        vanished: Stored bars inside the span of the new candles that the new candles do not have.
        files: The files written.
    """

    added: int
    skipped: int
    corrected: int
    vanished: int
    files: tuple[Path, ...]

    def __str__(self) -> str:
        parts = [f"{counted(self.added, 'bar')} added", f"{self.skipped:,} there already"]
        if self.corrected:
            parts.append(f"{self.corrected:,} differ from what is stored (kept in {CORRECTIONS_FOLDER}/)")
        if self.vanished:
            parts.append(f"{self.vanished:,} stored ones are absent in the new data")
        return ", ".join(parts)


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


@dataclass(frozen=True, order=True)
class _Part:
    """One file of a series and the span in its name."""

    span: Span
    path: Path


class CandleStore:
    """Candles on disk, by exchange, symbol and timeframe.

    Args:
        root: The folder, usually `data/cache` under the home folder; made when the first candles are put.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def put(self, candles: Candles, *, source: str = "", volume_unit: str = "base units") -> PutReport:
        """Store candles: only what is new is written.

        Bars that are there already with the same values are skipped. Bars with other values go to `corrections/` and
        are counted in the report; `get` keeps returning the first ones.

        Args:
            candles: With exchange and symbol, without errors in their audit.
            source: Where they come from: a file name, an endpoint.
            volume_unit: What their volume counts.

        Raises:
            DataError: The candles are unsound or have no identity, would mix synthetic with real prices, or the store
                cannot be written.
        """
        if not candles.exchange or not candles.symbol:
            raise DataError(
                f"The store needs an exchange and a symbol; these candles are {candles.label}.",
                hint="name both: Candles.of(candles, exchange=..., symbol=...).",
            )
        candles.require_sound()
        folder = self._folder(candles.exchange, candles.symbol, candles.timeframe)
        with _locked(folder):
            _sweep(folder)
            everything = _parts(folder)
            _refuse_mixture(candles, everything)
            parts = [part for part in everything if _overlap(part.span, _span_of(candles))]
            stored = _read_parts(parts, _span_of(candles)) if parts else None
            return _write_new(candles, stored, folder, source, {"volume": volume_unit})

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
        folder = self._folder(exchange, symbol, frame)
        parts = [part for part in _parts(folder) if _overlap(part.span, asked)]
        columns = _read_parts(parts, asked) if parts else None
        if columns is None or not len(columns["time"]):
            raise self._nothing_there(exchange, symbol, frame, asked)
        description = read_description(parts[0].path)
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

    def coverage(self, exchange: str, symbol: str, timeframe: str | Timeframe) -> tuple[Span, ...]:
        """The spans that are stored, merged, oldest first; empty where there is nothing."""
        folder = self._folder(exchange, symbol, Timeframe.parse(timeframe))
        return _merged(_parts(folder))

    def missing(
        self,
        exchange: str,
        symbol: str,
        timeframe: str | Timeframe,
        start: Instant,
        end: Instant,
    ) -> tuple[Span, ...]:
        """The parts of a span that are not stored, oldest first."""
        asked = _asked_span(exchange, start, end)
        spans, at = [], asked.start
        for span in self.coverage(exchange, symbol, timeframe):
            if span.end <= at or span.start >= asked.end:
                continue
            if span.start > at:
                spans.append(Span(at, span.start))
            at = span.end
        if at < asked.end:
            spans.append(Span(at, asked.end))
        return tuple(spans)

    def corrections(self, exchange: str, symbol: str, timeframe: str | Timeframe) -> Candles | None:
        """Bars that arrived with other values than the stored ones, the latest of each; None where there are none.

        Raises:
            DataError: A file cannot be read.
        """
        frame = Timeframe.parse(timeframe)
        folder = self._folder(exchange, symbol, frame) / CORRECTIONS_FOLDER
        parts = _parts(folder)
        if not parts:
            return None
        written = {part.path: str(read_description(part.path).get("written", "")) for part in parts}
        parts.sort(key=lambda part: written[part.path], reverse=True)
        columns = _read_parts(parts, None, first_wins=True)
        return Candles(**columns, timeframe=frame, exchange=exchange, symbol=symbol)

    def list(self) -> tuple[Series, ...]:
        """Every series of the store, in alphabetical order.

        Raises:
            DataError: A file cannot be read.
        """
        return tuple(
            self._series(unquote(exchange.name), unquote(symbol.name), Timeframe(folder.name), parts)
            for exchange in _folders(self.root)
            for symbol in _folders(exchange)
            for folder in _folders(symbol)
            if folder.name in Timeframe.names() and (parts := _parts(folder))
        )

    def _series(self, exchange: str, symbol: str, frame: Timeframe, parts: "Sequence[_Part]") -> Series:
        time = _read_parts(parts, None, names=())["time"]
        gaps = find_gaps(time, frame, calendar_of(exchange))
        descriptions = [read_description(part.path) for part in parts]
        corrected = _parts(parts[0].path.parent / CORRECTIONS_FOLDER)
        return Series(
            exchange=exchange,
            symbol=symbol,
            timeframe=frame,
            spans=_merged(parts),
            bars=len(time),
            gaps=gaps.count,
            missing=gaps.missing,
            sources=tuple(sorted({str(found["source"]) for found in descriptions if found.get("source")})),
            synthetic=any(found.get("synthetic", False) for found in descriptions),
            corrections=len(_read_parts(corrected, None, names=(), first_wins=True)["time"]) if corrected else 0,
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
            text = f"Nothing of {name} is stored {_asked_text(asked)}; stored: {'; '.join(map(str, spans))}."
        else:
            folder = self._folder(exchange, symbol, frame)
            others = [other.name for other in _folders(folder.parent) if _parts(other)]
            symbols = [unquote(other.name) for other in _folders(folder.parent.parent)]
            text = f"{name} is not in the store."
            if others:
                text += f" Of {symbol} it has: {', '.join(others)}."
            else:
                text += did_you_mean(symbol, symbols)
        return DataError(text, hint=f"import a file that has it: {command}")


def _asked_text(asked: Span) -> str:
    """A span that may have no beginning or end, in words."""
    if asked.end >= _END_OF_TIME:
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


def _file_name(span: Span) -> str:
    """The name of a file that covers the span.

    Raises:
        DataError: The span lies outside the years 1970 to 9999 or between two seconds.
    """
    texts = []
    for instant in (span.start, span.end):
        if instant % 1000 or not 0 <= instant < _END_OF_TIME:
            raise DataError(
                f"The span {span} cannot be stored.",
                hint="times have to be whole seconds of the years 1970 to 9999.",
            )
        texts.append(datetime.fromtimestamp(instant // 1000, tz=UTC).strftime(_NAME_FORMAT))
    return f"{texts[0]}_{texts[1]}"


def _parts(folder: Path) -> "list[_Part]":
    """The finished files of a folder, by span; whatever has another name (temporary files, the lock) is left out."""
    parts = []
    for name in _names(folder):
        if match := _NAME_PATTERN.fullmatch(name):
            with suppress(ValueError):  # such as a 13th month: not a name of ours
                start, end = (int(datetime.fromisoformat(text).timestamp()) * 1000 for text in match.groups())
                parts.append(_Part(Span(start, end), folder / name))
    return sorted(parts)


def _names(folder: Path) -> "list[str]":
    """Names in a folder in alphabetical order; none where it does not exist.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as cause:
        raise DataError(f"{folder} cannot be read: {cause.strerror}.", hint="check who may read it.") from cause


def _folders(folder: Path) -> "list[Path]":
    return [folder / name for name in _names(folder) if (folder / name).is_dir()]


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _merged(parts: "Sequence[_Part]") -> tuple[Span, ...]:
    """The spans of files, those that touch or overlap made one."""
    spans: list[Span] = []
    for part in sorted(parts):
        if spans and part.span.start <= spans[-1].end:
            spans[-1] = Span(spans[-1].start, max(spans[-1].end, part.span.end))
        else:
            spans.append(part.span)
    return tuple(spans)


def _asked_span(exchange: str, start: Instant | None, end: Instant | None) -> Span:
    """The span asked for; without limits, all time.

    Raises:
        DataError: A time cannot be read, or the span ends before it starts.
    """
    calendar = calendar_of(exchange)
    asked = Span(
        0 if start is None else instant_ms(start, calendar), _END_OF_TIME if end is None else instant_ms(end, calendar)
    )
    if asked.start > asked.end:
        raise DataError(f"The span starts at {utc_text(asked.start)}, after its end at {utc_text(asked.end)}.")
    return asked


def _read_parts(
    parts: "Sequence[_Part]", span: Span | None, *, names: Sequence[str] = _VALUES, first_wins: bool = False
) -> dict[str, Any]:
    """Columns of several files in time order, one row per time; quote volume only where all files have it.

    Args:
        parts: At least one.
        span: Rows to read; None: all.
        names: Columns besides the time.
        first_wins: Of different rows for one time, keep that of the first file in `parts`.

    Raises:
        DataError: A file cannot be read or lacks a column, or two files differ about a bar.
    """
    frames = [_read_part(part, span, names) for part in parts]
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
            files = " and ".join(parts[int(np.searchsorted(ends, row, side="right"))].path.name for row in rows)
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


def _read_part(part: _Part, span: Span | None, names: Sequence[str]) -> "pl.DataFrame":
    """The rows of one file that open inside the span."""
    import polars as pl

    try:
        scan = pl.scan_parquet(part.path, glob=False)
        present = scan.collect_schema().names()
        if span is not None and not (span.start <= part.span.start and part.span.end <= span.end):
            scan = scan.filter(pl.col("time") >= span.start, pl.col("time") < span.end)
        return scan.select("time", *(name for name in names if name in present or name != "quote_volume")).collect()
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as cause:
        raise DataError(
            f"{part.path} cannot be read: {' '.join(str(cause).split())[:120]}.",
            hint="the file was damaged after it was written: remove it and import the span again.",
        ) from cause


def _write_new(
    candles: Candles, stored: dict[str, Any] | None, folder: Path, source: str, units: dict[str, str]
) -> PutReport:
    """Write the bars that are not stored, and those that differ as corrections; the caller holds the lock."""
    if stored is None or not len(stored["time"]):
        stored = {"time": np.zeros(0, dtype=np.int64)}
    place = np.searchsorted(stored["time"], candles.time)
    present = np.zeros(len(candles), dtype=np.bool_)
    inside = place < len(stored["time"])
    present[inside] = stored["time"][place[inside]] == candles.time[inside]
    shared = np.flatnonzero(present)
    different: Any = np.zeros(len(shared), dtype=np.bool_)
    for name in _VALUES:
        new, old = getattr(candles, name), stored.get(name)
        if new is not None and old is not None:
            different |= new[shared] != old[place[shared]]
    files = []
    fresh = np.flatnonzero(~present)
    # Between two new bars with the same place there is no stored bar, so each group is one slice of the candles.
    for group in np.split(fresh, np.flatnonzero(np.diff(place[fresh])) + 1):
        if len(group):
            piece = candles[int(group[0]) : int(group[-1]) + 1]
            files.append(
                write_parquet(piece, folder / f"{_file_name(_span_of(piece))}.parquet", source=source, units=units)
            )
    if different.any():
        corrected = _rows(candles, shared[different])
        name = f"{_file_name(_span_of(corrected))}-{corrected.fingerprint[:8]}.parquet"
        path = folder / CORRECTIONS_FOLDER / name
        if not path.exists():
            files.append(write_parquet(corrected, path, source=source, units=units))
    count = int(different.sum())
    return PutReport(
        added=len(fresh),
        skipped=len(shared) - count,
        corrected=count,
        vanished=len(stored["time"]) - len(shared),
        files=tuple(files),
    )


def _span_of(candles: Candles) -> Span:
    return Span(int(candles.time[0]), int(candles.time[-1]) + candles.timeframe.ms)


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


def _refuse_mixture(candles: Candles, parts: "Sequence[_Part]") -> None:
    """Made-up and real prices never share a series.

    Raises:
        DataError: They would.
    """
    if not parts:
        return
    stored = bool(read_description(parts[0].path).get("synthetic", False))
    if stored != candles.synthetic:
        kinds = ("real", "synthetic")
        raise DataError(
            f"{candles.label}: the stored candles of this series are {kinds[stored]}, these are "
            f"{kinds[candles.synthetic]}.",
            hint="give one of them another symbol.",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
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


def _sweep(folder: Path) -> None:
    """Remove what writers that died have left; under the lock no living one has a temporary file here."""
    if fcntl is None:
        return
    for place in (folder, folder / CORRECTIONS_FOLDER):
        for name in _names(place):
            if name.startswith(TEMPORARY_PREFIX):
                (place / name).unlink(missing_ok=True)
