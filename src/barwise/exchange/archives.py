"""Binance's bulk archives: a month of candles as one checked file instead of dozens of requests.

A year of one-minute candles is 12 files here and 526 pages there. Every file has a .CHECKSUM beside it, and files get
re-issued, so nothing is read before its SHA-256 is what the venue says. Times are microseconds in spot files from 2025
on and milliseconds elsewhere; the split is per file, so the magnitude decides and not the date.
(github.com/binance/binance-public-data, README.)
"""

import hashlib
import io
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote as url_quote

import numpy as np

from barwise.core.layout import IntArray
from barwise.errors import DataError
from barwise.exchange.base import Page
from barwise.exchange.http import Client, Limiter, TransientError, too_fast
from barwise.exchange.verdicts import by_status, header_number
from barwise.timeframe import DAY_MS, Timeframe

_ADDRESS, _DEFAULT_URL = "BINANCE_ARCHIVE_URL", "https://data.binance.vision"
_COLUMNS = 12
_USED = (0, 1, 2, 3, 4, 5, 7)
# A month of one-minute rows is about 6 MB; what unpacks to more than this is no month of candles.
_LARGEST_BYTES = 64 * 1024 * 1024
# Milliseconds of the years 1973 to 5138; microseconds of the same years are above.
_SMALLEST_MS, _LARGEST_MS = 10**11, 10**14
_CHECKSUM_LINE = re.compile(r"\s*([0-9a-fA-F]{64})\s+\*?(\S+)\s*")


class Month(NamedTuple):
    """A calendar month in UTC, [start_ms, end_ms)."""

    name: str
    start_ms: int
    end_ms: int


class MonthFile(NamedTuple):
    """The candles of a month's file, with what identifies it: files get re-issued with other content."""

    page: Page
    sha256: str
    name: str


class _NotPublishedError(DataError):
    """There is no such file."""


class _MismatchError(Exception):
    """The file is not the one that the checksum was made of."""


def months_of(start_ms: int, end_ms: int) -> list[Month]:
    """The calendar months that lie completely in [start_ms, end_ms), in order."""
    months = []
    moment = datetime.fromtimestamp(start_ms / 1000, UTC)
    year, number = moment.year, moment.month
    while (begin := _first_ms(year, number)) < end_ms:
        year, number, name = (year, number + 1, f"{year}-{number:02d}") if number < 12 else (year + 1, 1, f"{year}-12")
        end = _first_ms(year, number)
        if begin >= start_ms and end <= end_ms:
            months.append(Month(name, begin, end))
    return months


def month_named(name: str) -> Month:
    """The month of a name such as "2025-01".

    Raises:
        DataError: The name is none.
    """
    try:
        moment = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise DataError(f"{name!r} is not a month.", hint="write it as 2025-01.") from None
    begin = int(moment.timestamp() * 1000)
    return months_of(begin, begin + 32 * DAY_MS)[0]


def archives_pay_off(timeframe: Timeframe, page_bars: int) -> bool:
    """Whether a month's file, two requests with its checksum, saves requests against pages of so many bars."""
    return 28 * DAY_MS // timeframe.ms > 2 * page_bars


def archive_client(
    environment: Mapping[str, str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Client:
    """A client of the archives; BINANCE_ARCHIVE_URL names another place that has the same files.

    The archives have no documented limit; ten files a second are asked for at most.
    """
    limiter = Limiter(600, 60.0, clock=clock, sleep=sleep)
    return Client("BINANCE archives", environment.get(_ADDRESS) or _DEFAULT_URL, limiter, _judge, sleep=sleep)


def fetch_month(client: Client, market: str, symbol: str, timeframe: Timeframe, month: str) -> Page | None:
    """The candles of a month; see `fetch_file`, which has the checksum as well."""
    found = fetch_file(client, market, symbol, timeframe, month)
    return found.page if found else None


def fetch_file(client: Client, market: str, symbol: str, timeframe: Timeframe, month: str) -> MonthFile | None:
    """Download, verify and read one month.

    Args:
        client: Of `archive_client`.
        market: "spot" or "futures/um".
        symbol: Such as BTCUSDT.
        timeframe: The interval of the candles.
        month: Such as "2025-01".

    Returns:
        Candles with quote volume and times in ms; None where no such file is published (yet): months appear on the
        Monday after their end.

    Raises:
        DataError: The file does not fit its checksum, twice, or does not have the month's candles in it.
        APIError, RateLimitError: As the server says.
    """
    span = month_named(month)
    interval = timeframe.name.lower()
    name = f"{symbol}-{interval}-{span.name}.zip"
    path = "/".join(["/data", market, "monthly/klines", url_quote(symbol, safe=""), interval, url_quote(name, safe="")])
    try:
        try:
            content, digest = _verified(client, path, name)
        except _MismatchError:
            content, digest = _verified(client, path, name)
    except _NotPublishedError:
        return None
    except _MismatchError as error:
        raise DataError(
            f"{name} from the archives does not fit its checksum, downloaded twice: {error}.",
            hint="it may be being re-issued; try again in an hour.",
        ) from None
    page = read_file(content, name)
    if page.time.size and not (span.start_ms <= page.time.min() and page.time.max() < span.end_ms):
        raise DataError(
            f"{name} from the archives has candles outside of its month.",
            hint="report it; candles of this month can be had without the archives.",
        )
    return MonthFile(page, digest, name)


def read_file(content: bytes, name: str) -> Page:
    """The candles in an archive file: a zip with one CSV of twelve columns, with or without a header row.

    Args:
        content: The zip.
        name: For messages.

    Raises:
        DataError: It is not such a file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise ValueError(f"it has {len(members)} files instead of 1")
            member = members[0]
            if member.file_size > _LARGEST_BYTES:
                raise ValueError(f"it unpacks to {member.file_size} bytes")
            text = archive.read(member)
        lines = text.splitlines()
        if any(line.count(b",") != _COLUMNS - 1 for line in lines):
            raise ValueError(f"a row does not have {_COLUMNS} columns")
        header = int(bool(lines) and not lines[0].split(b",")[0].isdigit())
        if len(lines) == header:
            raise ValueError("no candles in it")
        table = np.loadtxt(lines[header:], delimiter=",", usecols=_USED, comments=None, ndmin=2)
        stamps = _milliseconds(table[:, 0])
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{name} from the archives cannot be read: {error}.",
            hint="the archives may have changed; candles of this month can be had without them.",
        ) from None
    return Page(stamps, *(np.ascontiguousarray(table[:, at]) for at in range(1, len(_USED))))


def _milliseconds(stamps: Any) -> IntArray:
    """Times of one file as ms; all are ms or all are us."""
    if not (stamps.min() >= _SMALLEST_MS and stamps.max() < _LARGEST_MS * 1000):
        raise ValueError(f"times from {stamps.min():.0f} to {stamps.max():.0f} are neither ms nor us")
    micro = stamps >= _LARGEST_MS
    if micro.any() != micro.all():
        raise ValueError("times in ms and in us stand in one file")
    whole: IntArray = stamps.astype(np.int64)  # exact: below 2^53
    return whole // 1000 if micro.any() else whole


def _verified(client: Client, path: str, name: str) -> tuple[bytes, str]:
    """The file and its SHA-256, which is the published one.

    Raises:
        _NotPublishedError, _MismatchError: The reason why not.
    """
    line = client.ask("GET", f"{path}.CHECKSUM", raw=True).body.decode("ascii", "replace")
    match = _CHECKSUM_LINE.fullmatch(line)
    if match is None or match[2] != name:
        raise _MismatchError("its .CHECKSUM is of another shape or file")
    content: bytes = client.ask("GET", path, raw=True).body
    digest = hashlib.sha256(content).hexdigest()
    if digest != match[1].lower():
        raise _MismatchError(f"SHA-256 {digest[:12]}... instead of {match[1][:12].lower()}...")
    return content, digest


def _judge(status: int, headers: Mapping[str, str], _body: Any, _text: str) -> None:
    if status == 404:
        raise _NotPublishedError("no such file in the archives")
    if status == 429:
        pause = header_number(headers, "Retry-After")
        raise TransientError(too_fast("BINANCE archives", status, pause), pause or 0.0)
    by_status("BINANCE archives", status, address=_ADDRESS)


def _first_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
