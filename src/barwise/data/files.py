"""Candle and funding files: Parquet, CSV, zipped CSV, and the archives of exchanges and vendors as they really are.

Files lie more often than exchanges do: banners above the header, no header at all, newest first, seconds and
milliseconds in one column, the same hour twice. What can be put right without a guess is put right here and noted; what
cannot is a DataError. Writing is atomic everywhere: a reader sees the old file or the new one, never a half.
"""

import csv
import gzip
import io
import json
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from barwise.core.layout import IntArray
from barwise.data.candles import AuditPolicy, Candles, identity_text, require_policy
from barwise.data.checks import differing_rows
from barwise.data.columns import PRICES, Columns, match_columns, read_columns, read_floats, read_times
from barwise.data.quality import Finding, counted, utc_text
from barwise.errors import ConfigError, DataError, did_you_mean
from barwise.timeframe import MINUTE_MS, Timeframe, calendar_of

if TYPE_CHECKING:
    import polars as pl

ConflictPolicy = Literal["raise", "first", "last"]
SCHEMA_VERSION = 1
METADATA_KEY = "barwise"
TEMPORARY_PREFIX = ".tmp-"

# Columns of Binance's kline archives (data.binance.vision); the spot files carry no header row.
_BINANCE_KLINE = [
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
]
_HEADER_LINES_SEARCHED = 20
_NO_VALUE = ["NULL", "null", "None", "NA", "N/A", "-"]
_DELIMITERS = (",", ";", "\t", "|")
_FUNDING_TIMES = ("time", "funding_time", "fundingTime", "calc_time", "timestamp", "date")
_FUNDING_RATES = ("funding_rate", "fundingRate", "last_funding_rate", "rate")


class _Table(NamedTuple):
    """A file as text or number columns, and the identity that it carries, if any."""

    frame: "pl.DataFrame"
    identity: Mapping[str, Any]


def read_candles(
    path: str | Path,
    *,
    exchange: str = "",
    symbol: str = "",
    timeframe: str | Timeframe | None = None,
    conflicts: ConflictPolicy = "raise",
    audit: AuditPolicy = "raise",
) -> Candles:
    """Candles of a Parquet, CSV, CSV.gz or zipped CSV file; the kind is found by content, not by the name.

    Put right and noted in `candles.notes`: rows out of order are sorted, equal rows for one time are dropped, times in
    mixed units are read row by row. Files of `write_candles` bring their identity along.

    Args:
        path: The file.
        exchange, symbol: Identity, where the file does not carry it.
        timeframe: Length of a bar; None: from the file or from the distance of its times.
        conflicts: What happens to different rows for one time: "raise", or keep the "first" or "last" in the file.
        audit: As in `Candles.of`.

    Raises:
        DataError: The file cannot be read, does not hold candles, contradicts the identity given or itself.
        ConfigError: An argument is none of the values allowed.
    """
    require_policy(audit)
    if conflicts not in get_args(ConflictPolicy):
        raise ConfigError(
            f"conflicts={conflicts!r} is not a policy.{did_you_mean(str(conflicts), get_args(ConflictPolicy))}",
            hint='use "raise", "first" or "last".',
        )
    source = Path(path)
    table = _read_table(source, match_columns)
    identity = _agreed_identity(source, table.identity, exchange, symbol, timeframe)
    with _naming(source):
        columns = _tidied(read_columns(table.frame, calendar_of(identity["exchange"])), conflicts)
        candles = Candles.of_columns(columns, **identity)
        if audit == "raise":
            candles.require_sound()
        return candles


def write_candles(candles: Candles, path: str | Path, *, source: str = "") -> Path:
    """Write candles to `.parquet` (with their identity) or `.csv` (time in ms UTC, one row per bar), atomically.

    Args:
        source: Where the candles come from, kept in the Parquet file.

    Raises:
        ConfigError: The name ends in neither.
        DataError: The file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind == ".parquet":
        return write_parquet(candles, target, source=source)
    if kind != ".csv":
        raise ConfigError(f"{target.name!r} ends in neither .parquet nor .csv.", hint="choose one of the two.")
    return write_atomically(target, lambda file: _plain_frame(candles).write_csv(file))


def write_parquet(candles: Candles, path: Path, *, source: str = "", units: Mapping[str, str] | None = None) -> Path:
    """Write candles as Parquet whose metadata say what they are, atomically.

    Args:
        source: Where the candles come from: a file name, an endpoint.
        units: What time and volumes are counted in, where that is not ms UTC and base units.

    Raises:
        DataError: The file cannot be written.
    """
    description = {
        "schema": SCHEMA_VERSION,
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": candles.timeframe.name,
        "synthetic": candles.synthetic,
        "rows": len(candles),
        "source": source,
        "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "units": {"time": "ms since 1970-01-01 UTC, bar open", "volume": "base units", **(units or {})},
    }
    metadata = {METADATA_KEY: json.dumps(description)}
    # Row groups of this size let a reader of one month skip most of a year of minutes.
    return write_atomically(
        path,
        lambda file: _plain_frame(candles).write_parquet(
            file, compression="zstd", row_group_size=65_536, statistics=True, metadata=metadata
        ),
    )


def _plain_frame(candles: Candles) -> "pl.DataFrame":
    """A frame in the format of all our files: `time` int64 ms UTC, the rest float64."""
    import polars as pl

    return candles.to_polars().with_columns(pl.col("time").cast(pl.Int64))


def write_atomically(
    path: str | Path, content: bytes | str | Callable[[IO[bytes]], object], *, mode: int | None = None
) -> Path:
    """Write a file so that it is there whole or not at all, whenever the process or the machine stops.

    A temporary file in the same folder is written, flushed to the disk and renamed over the target; then the folder is
    flushed. Folders that are missing are made.

    Args:
        path: The file.
        content: Bytes, text (written as UTF-8), or a function that writes to the open binary file it is given.
        mode: Permissions, set before anything is written; None = the usual ones.

    Raises:
        DataError: The file system refuses; nothing is left behind.
    """
    target = Path(path)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                if mode is not None:
                    temporary.chmod(mode)
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        flush_folder(target.parent)
    except (OSError, ValueError) as cause:
        raise DataError(
            f"{target} cannot be written: {_reason(cause)}.",
            hint="check that the folder exists, is writable and has space.",
        ) from cause
    return target


def flush_folder(folder: Path) -> None:
    """Make a rename in the folder outlive a power cut; does nothing where folders cannot be opened (Windows)."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_funding(path: str | Path) -> list[tuple[int, float]]:
    """Funding settlements of a perpetual as (time in ms UTC, rate as a fraction), oldest first.

    Exchanges stamp a settlement some milliseconds late; times are floored to the minute.

    Raises:
        DataError: The file cannot be read, holds no funding, misses values or contradicts itself.
    """
    source = Path(path)
    table = _read_table(source, _match_funding)
    with _naming(source):
        names = _match_funding(table.frame.columns)
        times, _ = read_times(table.frame.get_column(names["time"]))
        rates = read_floats(table.frame.get_column(names["funding_rate"]), "funding_rate")
        order = np.argsort(times, kind="stable")
        times, rates = times[order] // MINUTE_MS * MINUTE_MS, rates[order]
        if not np.isfinite(rates).all():
            at = int(np.argmin(np.isfinite(rates)))
            raise DataError(
                f"The funding rate of {utc_text(int(times[at]))} is missing or infinite.",
                hint="drop the row or fetch it again.",
            )
        again = np.flatnonzero(times[1:] == times[:-1])
        if (rates[again] != rates[again + 1]).any():
            at = int(again[np.argmax(rates[again] != rates[again + 1])])
            raise DataError(
                f"There are two funding rates for {utc_text(int(times[at]))}: {rates[at]:.10g} and "
                f"{rates[at + 1]:.10g}.",
                hint="keep one of them.",
            )
        keep = np.concatenate(([True], times[1:] != times[:-1])) if len(times) else np.zeros(0, dtype=np.bool_)
        return list(zip(times[keep].tolist(), rates[keep].tolist(), strict=True))


def _match_funding(names: Sequence[str]) -> dict[str, str]:
    """Which columns are the time and the rate."""
    time = next((name for name in _FUNDING_TIMES if name in names), None)
    rate = next((name for name in _FUNDING_RATES if name in names), None)
    if time is None or rate is None:
        raise DataError(
            f"Funding needs the columns time and funding_rate; found: {', '.join(names) or 'none'}.",
            hint="rename the columns.",
        )
    return {"time": time, "funding_rate": rate}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of whatever is wrong with its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path.name}: {error.message}", hint=error.hint) from error


def _reason(cause: BaseException) -> str:
    """What the system or a library said, in one line."""
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return " ".join(text.split())[:200].rstrip(".") or type(cause).__name__


def _agreed_identity(
    path: Path, stored: Mapping[str, Any], exchange: str, symbol: str, timeframe: str | Timeframe | None
) -> dict[str, Any]:
    """The identity of a file: what it says itself, filled in by what the caller says.

    Raises:
        DataError: The two contradict each other.
    """
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    agreed: dict[str, Any] = {"synthetic": bool(stored.get("synthetic", False))}
    for name, given in (("exchange", exchange), ("symbol", symbol), ("timeframe", frame.name if frame else "")):
        own = str(stored.get(name, ""))
        said = identity_text(given, name)
        if own and said and own != said:
            raise DataError(
                f"{path.name} holds {name} {own}, not {said}.", hint=f"leave {name} out, or name the right file."
            )
        agreed[name] = own or said
    agreed["timeframe"] = agreed["timeframe"] or None
    return agreed


def _read_table(path: Path, match: Callable[[Sequence[str]], dict[str, str]]) -> _Table:
    """The file as a frame with all columns that `match` wants.

    Raises:
        DataError: The file is missing, unreadable, or of a kind that is not known.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except (OSError, ValueError) as cause:
        raise _unreadable(path, cause) from cause
    if start.startswith(b"PAR1"):
        return _read_parquet(path)
    if start.startswith((b"ARROW1", b"\x89HDF")):
        raise DataError(
            f"{path.name} is a Feather or HDF file, which is not read here.",
            hint="load it with polars or pandas and give the frame to Candles.of.",
        )
    try:
        if start.startswith(b"PK\x03\x04"):
            raw = _unzipped(path)
        elif start.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(path.read_bytes())
        else:
            raw = path.read_bytes()
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, NotImplementedError) as cause:
        raise _unreadable(path, cause) from cause
    with _naming(path):
        return _Table(_parse_csv(raw, match), {})


def _unreadable(path: Path, cause: BaseException) -> DataError:
    if isinstance(cause, FileNotFoundError):
        with suppress(OSError):
            guess = did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
            return DataError(f"There is no file {path}.{guess}", hint="check the path.")
        return DataError(f"There is no file {path}, and no folder {path.parent}.", hint="check the path.")
    return DataError(f"{path} cannot be read: {_reason(cause)}.", hint="check that it is whole, or get it again.")


def _unzipped(path: Path) -> bytes:
    """The one CSV inside a zip archive."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith((".csv", ".txt"))]
        if len(members) != 1:
            raise ValueError(f"it holds {counted(len(members), 'CSV file')} where one is needed")
        return archive.read(members[0])


def _read_parquet(path: Path) -> _Table:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
        stored = pl.read_parquet_metadata(path).get(METADATA_KEY)
        identity = json.loads(stored) if stored else {}
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as cause:
        raise _unreadable(path, cause) from cause
    return _Table(frame, identity if isinstance(identity, dict) else {})


def read_description(path: Path) -> dict[str, Any]:
    """What a Parquet file of ours says of itself; empty where it says nothing.

    Raises:
        DataError: The file cannot be read.
    """
    import polars as pl

    try:
        stored = pl.read_parquet_metadata(path).get(METADATA_KEY)
        description = json.loads(stored) if stored else {}
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as cause:
        raise _unreadable(path, cause) from cause
    return description if isinstance(description, dict) else {}


def _parse_csv(raw: bytes, match: Callable[[Sequence[str]], dict[str, str]]) -> "pl.DataFrame":
    """The wanted columns of a CSV text: numbers where a column holds nothing else, text otherwise."""
    import polars as pl

    encoding = "utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    text = raw.decode(encoding, errors="replace")
    names, separator, begin, has_header = _find_header(text, match)
    wanted = {names.index(name): target for target, name in match(names).items()}
    try:
        frame = pl.read_csv(
            text[begin:].encode(),
            has_header=False,
            separator=separator,
            infer_schema=False,
            columns=sorted(wanted),
            null_values=_NO_VALUE,
            truncate_ragged_lines=True,
        )
    except (ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as cause:
        raise DataError(f"The table cannot be read: {_reason(cause)}.", hint="check that the file is whole.") from cause
    frame = frame.slice(1) if has_header else frame
    frame.columns = [wanted[position] for position in sorted(wanted)]
    return frame.select(_as_numbers(column.str.strip_chars(), separator) for column in frame.iter_columns())


def _as_numbers(column: "pl.Series", separator: str) -> "pl.Series":
    """Text as integers or floats where all of it can be, unchanged where not."""
    import polars as pl

    if separator == ";":
        # Spreadsheets that separate by semicolons write decimal commas.
        column = column.str.replace(",", ".", literal=True)
    for kind in (pl.Int64, pl.Float64):
        numbers = column.cast(kind, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    return column


def _find_header(text: str, match: Callable[[Sequence[str]], dict[str, str]]) -> tuple[list[str], str, int, bool]:
    """Column names, delimiter, offset of the table in the text, and whether its first line is the header.

    Raises:
        DataError: No line names the columns, and it is no exchange archive whose columns are known.
    """
    begin, problem, best = 0, None, []
    for line in islice(io.StringIO(text[: 1 << 16], newline="\n"), _HEADER_LINES_SEARCHED):
        for separator in _DELIMITERS:
            try:
                cells = [cell.strip().strip("<>") for cell in next(csv.reader([line], delimiter=separator), [])]
            except csv.Error:
                continue
            if len(cells) < 2:
                continue
            try:
                match(cells)
            except DataError as error:
                if problem is None:
                    problem, best = error, cells
            else:
                return cells, separator, begin, True
            if len(cells) == len(_BINANCE_KLINE) and all(re.fullmatch(r"[-+.\deE]+", cell) for cell in cells):
                with suppress(DataError):
                    match(_BINANCE_KLINE)
                    return list(_BINANCE_KLINE), separator, begin, False
        begin += len(line)
    if problem is None:
        raise DataError("The file holds no table.", hint="a CSV needs a header line: time,open,high,low,close,volume.")
    if all(re.fullmatch(r"[-+.:TZ\d\seE]+", cell) for cell in best):
        raise DataError(
            f"The table has no header line, and {len(best)} columns; only the 12 of Binance's archives are known.",
            hint="put a line with the column names on top: time,open,high,low,close,volume.",
        )
    raise problem


def _tidied(columns: Columns, conflicts: ConflictPolicy) -> Columns:
    """The rows in time order, one per time, with a note for everything that had to be done."""
    notes = [_repaired(note) if note.kind == "mixed_units" else note for note in columns.notes]
    time = columns.time
    order = np.arange(len(time))
    if len(time) > 1 and not (time[1:] > time[:-1]).all():
        if not (time[1:] >= time[:-1]).all():
            notes.append(_order_note(time))
        order = np.argsort(time, kind="stable")
        same = np.flatnonzero(time[order][1:] == time[order][:-1])
        if len(same):
            order, found = _without_repeats(columns, order, same, conflicts)
            notes += found
    values: dict[str, Any] = {
        name: None if column is None else column[order] for name, column in columns._asdict().items() if name != "notes"
    }
    return Columns(**values, notes=tuple(notes))


def _repaired(note: Finding) -> Finding:
    return replace(note, severity="warning", message=f"{note.message} Each row was read by its own size.", hint="")


def _order_note(time: IntArray) -> Finding:
    if (time[1:] <= time[:-1]).all() or np.mean(time[1:] <= time[:-1]) > 0.9:
        return Finding("newest_first", "info", len(time), int(time[-1]), "The rows came newest first and were sorted.")
    back = np.flatnonzero(time[1:] < time[:-1]) + 1
    at = int(time[back[0]])
    return Finding(
        "sorted", "warning", len(back), at, f"The rows were out of order and were sorted, first {utc_text(at)}."
    )


def _without_repeats(
    columns: Columns, order: "np.ndarray[Any, np.dtype[np.intp]]", same: Any, conflicts: ConflictPolicy
) -> tuple[Any, list[Finding]]:
    """Row order with one row per time, and notes on the rows that were left out.

    Raises:
        DataError: Rows of one time differ and the policy is "raise".
    """
    notes = []
    time = columns.time
    left, right = order[same], order[same + 1]
    numbers = [column for name in (*PRICES, "volume", "quote_volume") if (column := getattr(columns, name)) is not None]
    different = differing_rows(numbers, left, right)
    if different.any():
        first = int(time[left[different]][0])
        worst, by = _largest_difference(columns, left[different], right[different])
        text = (
            f"Different values for the same time: {counted(int(different.sum()), 'bar')}, first {utc_text(first)}, "
            f"most different {utc_text(worst)} (by {by:.3%})."
        )
        if conflicts == "raise":
            raise DataError(
                text,
                hint='conflicts="first" or conflicts="last" keeps the row that stands first or last in the file.',
            )
        notes.append(
            Finding(
                "conflicts", "warning", int(different.sum()), first, f"{text} The {conflicts} one in the file was kept."
            )
        )
    if not different.all():
        first = int(time[left[~different]][0])
        count = int((~different).sum())
        notes.append(
            Finding(
                "duplicates",
                "info",
                count,
                first,
                f"{counted(count, 'row')} repeated another exactly and were dropped, first {utc_text(first)}.",
            )
        )
    drop = same if conflicts == "last" else same + 1
    return np.delete(order, drop), notes


def _largest_difference(columns: Columns, left: Any, right: Any) -> tuple[int, float]:
    """Time of the pair of rows whose prices (volumes, where all prices agree) differ most, and by how much."""
    for names in (PRICES, ("volume", "quote_volume")):
        by = np.zeros(len(left))
        for name in names:
            column = getattr(columns, name)
            if column is not None:
                with np.errstate(invalid="ignore", divide="ignore"):
                    by = np.fmax(by, np.abs(column[right] / column[left] - 1))
        if by.any():
            break
    worst = int(np.argmax(by))
    return int(columns.time[left[worst]]), float(by[worst])
