"""The candles of a home folder, for looking at: what is there, what is missing in it, and bars of it.

A store may hold hundreds of millions of bars. To list it, only the times of a series are read, and they are read again
only when a file has changed; prices are read of the one series that somebody opens.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from barwise.dashboard.errors import NotFound
from barwise.dashboard.level_of_detail import CandleLevels
from barwise.dashboard.memory import Memory, Stamp, stamp_of
from barwise.data.candles import Candles
from barwise.data.quality import DataAudit
from barwise.data.store import CandleStore, Hole, Series
from barwise.errors import did_you_mean
from barwise.timeframe import Timeframe


class Opened:
    """One series, read whole.

    Attributes:
        candles: All of its bars.
        levels: The same, coarser and coarser.
        audit: What is wrong with them.
        holes: Missing bars, oldest first.
        corrections: Bars that arrived again with other values than the stored ones.
        files, size: How many files it has, and their bytes.
    """

    def __init__(self, candles: Candles, holes: tuple[Hole, ...], corrections: int, files: int, size: int) -> None:
        self.candles = candles
        self.levels = CandleLevels(candles)
        self.audit: DataAudit = candles.check(datetime.now(UTC))
        self.holes = holes
        self.corrections = corrections
        self.files = files
        self.size = size


_LISTED: Final[Memory[tuple[Series, ...]]] = Memory(2)
_OPENED: Final[Memory[Opened]] = Memory(2)


class StoredMarkets:
    """The candle store of a home folder.

    Args:
        home: The folder that holds `data/`.
    """

    def __init__(self, home: Path) -> None:
        self._store = CandleStore(home / "data" / "cache")

    def all(self) -> tuple[Series, ...]:
        """Every series, in alphabetical order.

        Raises:
            DataError: A file cannot be read.
        """
        return _LISTED.get(self._store.root, _stamp(self._store.root), self._store.list)

    def opened(self, exchange: str, symbol: str, timeframe: str) -> Opened:
        """All bars of a series; kept while it is among the last that were looked at.

        Raises:
            NotFound: It is not stored.
            DataError: A file cannot be read, or was changed by something else.
        """
        folder = self._folder(exchange, symbol, timeframe)
        if folder is None:
            names = (f"{one.exchange} {one.symbol} {one.timeframe}" for one in self.all())
            asked = f"{exchange} {symbol} {timeframe}"[:150]
            raise NotFound(
                f"{asked} is not in the store.{did_you_mean(asked, names)}",
                hint="GET /api/v1/data lists what is; barwise data import FILE adds to it.",
            )

        def read() -> Opened:
            market = exchange, symbol, timeframe
            corrected = self._store.corrections(*market)
            own = [found[1] for found in stamp_of(*folder.glob("*.parquet")) if found is not None]
            return Opened(
                self._store.get(*market),
                self._store.holes(*market),
                0 if corrected is None else len(corrected),
                len(own),
                sum(own),
            )

        return _OPENED.get(folder, _stamp(folder), read)

    def _folder(self, exchange: str, symbol: str, timeframe: str) -> Path | None:
        """Where a series lies: what was asked for is compared with what is there and never made a path."""
        if timeframe not in Timeframe.names():
            return None
        found = self._store.root
        for name in (exchange, symbol, timeframe):
            inside = next((child for child in _folders(found) if unquote(child.name) == name), None)
            if inside is None:
                return None
            found = inside
        return found if any(found.glob("*.parquet")) else None


def _folders(folder: Path) -> Iterator[Path]:
    return (child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else iter(())


def _stamp(folder: Path) -> Stamp:
    """The stamps of all files below a folder, which tell apart any two states of it."""
    return stamp_of(*sorted(folder.rglob("*.parquet")))
