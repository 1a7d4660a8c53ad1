"""REPLAY: a folder of candle files as a venue, so that one's own history goes the way that every download goes.

What a file says is doubted like any answer: paging, the rule of closed candles, the checks and the store are the same.
The venue's clock stands at the last close of all files, so the folder as it is decides what has happened.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from barwise.errors import ConfigError, DataError, did_you_mean
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    from barwise.data.candles import Candles

FOLDER = "BARWISE_REPLAY_DIR"
_KINDS = (".parquet", ".csv")
_FORM = "SYMBOL_TIMEFRAME.parquet or SYMBOL_TIMEFRAME.csv, such as BTCUSDT_1H.csv"


class Replay:
    """The files of one folder, named REPLAY.

    Args:
        environment: The folder, as BARWISE_REPLAY_DIR.
        sleep, clock: Not used: files have no limit.

    Raises:
        ConfigError: The folder is not named, or there is none of that name.
    """

    capabilities = Capabilities(
        exchange="REPLAY",
        title="files of a folder",
        intervals={name: name for name in Timeframe.names()},
        page_bars=dict.fromkeys(Timeframe.names(), 100_000),
        needs_key=False,
        credentials=(),
    )
    client = None

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        named = environment.get(FOLDER, "").strip()
        if not named:
            raise ConfigError(
                f"{FOLDER} is not set, so REPLAY has no files.",
                hint=f"set it to a folder of files named {_FORM}.",
            )
        self._folder = Path(named).expanduser()
        if not self._folder.is_dir():
            raise ConfigError(f"{FOLDER} names {named}, which is no folder.", hint=f"correct {FOLDER}.")
        self._read: dict[Path, tuple[tuple[int, int], Candles]] = {}
        self._lock = threading.Lock()

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """The candles of the market's file that open in [start_ms, end_ms).

        Raises:
            DataError: There is no such file, there are two, or it cannot be read.
        """
        found = {path for market, frame, path in self._files() if (market, frame) == (symbol.upper(), timeframe)}
        if not found:
            raise self._unknown(symbol, timeframe)
        if len(found) > 1:
            raise DataError(
                f"REPLAY has {len(found)} files for {symbol} {timeframe}: "
                f"{', '.join(sorted(path.name for path in found))}.",
                hint="leave one of them in the folder.",
            )
        candles = self._candles(symbol.upper(), timeframe, found.pop())
        first, stop = np.searchsorted(candles.time, [start_ms, end_ms])
        part = candles[int(first) : int(stop)]
        return Page(part.time, part.open, part.high, part.low, part.close, part.volume, part.quote_volume)

    def server_time_ms(self) -> int:
        """The last close of all files.

        Raises:
            DataError: There are no files, or one cannot be read.
        """
        closes = [int(self._candles(*file).time[-1]) + file[1].ms for file in self._files()]
        if not closes:
            raise DataError(f"REPLAY's folder {self._folder} has no candle files.", hint=f"name them {_FORM}.")
        return max(closes)

    def market(self, symbol: str) -> Market:
        """The market's name; files know no rules.

        Raises:
            DataError: There is no file of it.
        """
        if symbol.upper() not in {market for market, _, _ in self._files()}:
            raise self._unknown(symbol)
        return Market(symbol.upper(), status="REPLAY")

    def check_credentials(self) -> Check:
        """Files need no key."""
        return Check("credentials", True, "files need no key.")

    def _files(self) -> Iterator[tuple[str, Timeframe, Path]]:
        """Market, timeframe and path of each file whose name says both; other files are none of REPLAY's."""
        try:
            paths = sorted(self._folder.iterdir())
        except OSError as error:
            raise DataError(
                f"REPLAY's folder {self._folder} cannot be read ({type(error).__name__}).", hint=f"check {FOLDER}."
            ) from None
        for path in paths:
            symbol, _, frame = path.stem.rpartition("_")
            if symbol and path.suffix.lower() in _KINDS and frame.upper() in Timeframe.names():
                yield symbol.upper(), Timeframe.parse(frame), path

    def _candles(self, symbol: str, timeframe: Timeframe, path: Path) -> "Candles":
        """What a file holds; read again when it has changed.

        Raises:
            DataError: It cannot be read, or holds what must not become candles of REPLAY.
        """
        from barwise.data.files import read_candles

        with self._lock:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(
                    f"{path.name} cannot be read ({type(error).__name__}).", hint="check the file and its rights."
                ) from None
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            candles = read_candles(path, symbol=symbol, timeframe=timeframe)
            # Under the name of REPLAY nobody could tell any more that they are made up, or that nights are no holes.
            if candles.synthetic or not candles.calendar.always_open:
                raise DataError(
                    f"{path.name} holds candles of {candles.exchange}: REPLAY takes real ones of markets that trade "
                    "around the clock.",
                    hint="import it with `barwise data import`, or hand it to a backtest with --file.",
                )
            if not len(candles):
                raise DataError(f"{path.name} holds no candles.", hint="take it out of the folder.")
            self._read[path] = stamp, candles
            return candles

    def _unknown(self, symbol: str, timeframe: Timeframe | None = None) -> DataError:
        names = sorted(f"{market}_{frame}" for market, frame, _ in self._files())
        wanted = symbol.upper() if timeframe is None else f"{symbol.upper()}_{timeframe}"
        return DataError(
            f"REPLAY's folder {self._folder} has no file {wanted}.{did_you_mean(wanted, names)}",
            hint=f"it has {', '.join(names) or 'no candle files'}; name them {_FORM}.",
        )

    def __repr__(self) -> str:
        return "Replay(REPLAY)"
