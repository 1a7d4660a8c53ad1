"""Which number an Indian venue gives a symbol: its list of instruments, fetched once a day and looked up locally.

Zerodha and Dhan know markets by number. Numbers of derivatives are given to others after expiry, so a list is good for
one day and never for ever: the file on the disk carries the day in its name, and the older ones are removed. Lists are
large (Dhan's has some 200,000 lines), so only the lines that can match are read as CSV.
"""

import csv
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from barwise.data.sessions import indian_day
from barwise.errors import DataError, did_you_mean
from barwise.obs import home_folder
from barwise.timeframe import HOUR_MS, MINUTE_MS

logger = logging.getLogger(__name__)

# Both venues publish the day's list at about half past eight in the morning; before, there is only yesterday's.
_PUBLISHED_MS = 8 * HOUR_MS + 30 * MINUTE_MS
_LONGEST_SUGGESTION_LIST = 20_000


class Instrument(NamedTuple):
    """One line of a list.

    Attributes:
        segment: Part of the market, in the venue's word: NSE, NFO, NSE_EQ, IDX_I, ...
        symbol: As the venue writes it.
        number: What the venue knows it by; digits.
        kind: The venue's word: EQ, EQUITY, INDEX, FUTIDX, ...
        series: NSE's series, such as EQ or BE; "" elsewhere.
        tick_size: In rupees; 0 = not known.
        lot_size: Units per lot; 0 = not known.
    """

    segment: str
    symbol: str
    number: str
    kind: str
    series: str = ""
    tick_size: float = 0.0
    lot_size: float = 0.0


Reader = Callable[[Mapping[str, str]], Instrument | None]


class InstrumentList:
    """A venue's list, or one part of it.

    Args:
        venue: Its name, for the file and for messages.
        part: Which list of the venue; part of the file's name.
        source: Where it comes from; lists of different addresses are kept apart.
        fetch: Asks for it: CSV with a header.
        columns: The sets of columns by which a header is recognised; one of them must be there.
        read: A line as an instrument, None where it is of no use. May raise KeyError or ValueError.
        folder: Where the day's file is kept; made when needed.
        now_ms: The present in ms UTC.
    """

    def __init__(
        self,
        venue: str,
        part: str,
        source: str,
        fetch: Callable[[], bytes],
        columns: Sequence[frozenset[str]],
        read: Reader,
        *,
        folder: Path,
        now_ms: Callable[[], int],
    ) -> None:
        self._venue, self._part, self._source = venue, part, source
        self._fetch, self._columns, self._read = fetch, columns, read
        self._folder, self._now_ms = folder, now_ms
        self._day: date | None = None
        self._lines: list[str] = []
        self._found: dict[str, tuple[Instrument, ...]] = {}
        self._lock = threading.Lock()

    def named(self, symbol: str) -> tuple[Instrument, ...]:
        """The instruments with this symbol or number, in all segments of the list.

        Raises:
            DataError: The list is not one, or whatever `fetch` raises.
        """
        with self._lock:
            self._refresh()
            if symbol not in self._found:
                lines = [line for line in self._lines[1:] if symbol in line]
                self._found[symbol] = tuple(one for one in self._parse(lines) if symbol in {one.symbol, one.number})
            return self._found[symbol]

    def suggestion(self, symbol: str, segments: Iterable[str]) -> str:
        """The sentence ` Did you mean X?` for the nearest symbol of these segments, "" where none is near."""
        wanted = set(segments)
        with self._lock:
            self._refresh()
            # A misspelt name nearly always begins like the right one, and nearness to 200,000 names takes a minute.
            lines = [line for line in self._lines[1:] if symbol[:2] in line]
            names = {one.symbol for one in self._parse(lines) if one.segment in wanted}
        return did_you_mean(symbol, names) if len(names) <= _LONGEST_SUGGESTION_LIST else ""

    def _refresh(self) -> None:
        """Make sure that the list is today's."""
        today = indian_day(self._now_ms() - _PUBLISHED_MS)
        if self._day == today:
            return
        address = hashlib.sha256(self._source.encode()).hexdigest()[:8]
        stem = f"{self._venue}-{self._part}-{address}-"
        path = self._folder / f"{stem}{today}.csv"
        lines = self._stored(path)
        if lines is None:
            content = self._fetch()
            lines = self._checked(content)
            self._store(path, content, stem)
        self._day, self._lines, self._found = today, lines, {}

    def _stored(self, path: Path) -> list[str] | None:
        """The day's file, None where there is none that can be used."""
        try:
            return self._checked(path.read_bytes())
        except (OSError, DataError):
            return None

    def _checked(self, content: bytes) -> list[str]:
        """The lines of a list that is complete.

        Raises:
            DataError: It has other columns, no line, or breaks off.
        """
        lines = content.decode("utf-8-sig", "replace").splitlines()
        header = frozenset(_fields(lines[0])) if lines else frozenset()
        if not any(columns <= header for columns in self._columns):
            raise self._unreadable("its columns are not the documented ones")
        if len(lines) < 2 or len(_fields(lines[-1])) != len(_fields(lines[0])):
            raise self._unreadable("it has no lines or breaks off")
        return lines

    def _parse(self, lines: Sequence[str]) -> Iterator[Instrument]:
        for row in csv.DictReader([self._lines[0], *lines]):
            try:
                instrument = self._read(row)
            except (KeyError, TypeError, ValueError):
                continue  # one odd line among thousands is nobody's concern unless it is the one asked for
            if instrument is not None:
                yield instrument

    def _store(self, path: Path, content: bytes, stem: str) -> None:
        """Keep the day's file, whole or not at all, and remove those of other days."""
        draft = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            # The list is in memory; only the next program has to ask again.
            logger.warning("%s: the list of instruments cannot be kept in %s: %s.", self._venue, self._folder, error)
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return
        for old in self._folder.glob(f"{stem}*.csv"):
            if old.name < path.name:
                with suppress(OSError):
                    old.unlink()

    def _unreadable(self, why: str) -> DataError:
        return DataError(
            f"{self._venue}'s list of instruments cannot be used: {why}.",
            hint="try again later; if it stays so, the venue has changed and this package needs an update.",
        )


def instruments_folder(environment: Mapping[str, str]) -> Path:
    """Where lists are kept: data/instruments below the home folder."""
    home = environment.get("BARWISE_HOME")
    return home_folder(Path(home) if home else None) / "data" / "instruments"


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])
