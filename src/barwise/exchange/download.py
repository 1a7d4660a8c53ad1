"""Downloads: what is missing in the store, asked page by page, believed only after it has been checked.

Everything that is the same for all venues is here, once: which spans to ask for, the rule that only closed candles
count, what is refused, when an answer is doubted and asked for again, and when a hole is believed. Each page is stored
before the next one is asked, so a download that dies goes on where it stopped. Time is the venue's: its clock decides
which candle is closed, never the one of this machine.
"""

import logging
import time
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from barwise import __version__
from barwise.data.candles import Candles
from barwise.data.checks import differing_rows
from barwise.data.columns import read_times
from barwise.data.gaps import LONGEST_HOLIDAY_DAYS
from barwise.data.parts import on_grid
from barwise.data.quality import counted, utc_text
from barwise.data.store import CandleStore, Hole, Provenance, PutReport, Span
from barwise.errors import APIError, ConfigError, DataError
from barwise.exchange.base import Adapter, Capabilities, Page
from barwise.exchange.http import Limiter
from barwise.timeframe import DAY_MS, HOUR_MS, Timeframe, calendar_of

logger = logging.getLogger(__name__)

# What a venue lacks of the last hour may still come: a candle can be late, a cache old. So long it is asked again.
SETTLING_MS = HOUR_MS
# A series of so many new files is worth making months of.
_PAGES_TO_COMPACT = 12
_ARCHIVE_MONTHS = 2

_DISTRUST = "nothing of this answer was stored; try again, and ask the venue if it stays so."

FetchMonth: TypeAlias = Callable[[str, Timeframe, int, int], Page | None]


class Progress(NamedTuple):
    """How far a download is.

    Attributes:
        rows: Candles stored by it.
        requests: Questions asked.
        share: Done of the time that was missing, 0 to 1.
        missing_ms: That time, ms.
        eta_seconds: Seconds to go at this pace; None before the first page.
        limit_used: Share of the venue's limit spent, 0 to 1; None where nobody counts.
    """

    rows: int
    requests: int
    share: float
    missing_ms: int
    eta_seconds: float | None
    limit_used: float | None


@dataclass(frozen=True)
class DownloadReport:
    """What a download did.

    Attributes:
        rows: Candles that are new in the store.
        requests: Questions asked, the venue's time included.
        pages: Answers that were stored.
        holes: What the venue does not have, oldest first; on session markets only where no holiday explains it.
        corrections: Candles that came with other values than the stored ones, which stay.
        seconds: How long it took.
    """

    rows: int
    requests: int
    pages: int
    holes: tuple[Span, ...]
    corrections: int
    seconds: float

    def __str__(self) -> str:
        text = f"{counted(self.rows, 'candle')} in {counted(self.requests, 'request')} and {self.seconds:.1f} s"
        if self.holes:
            text += f", {counted(len(self.holes), 'hole')}, first {self.holes[0]}"
        if self.corrections:
            text += f", {self.corrections:,} differ from what is stored"
        return text


def download(
    adapter: Adapter,
    store: CandleStore,
    symbol: str,
    timeframe: str | Timeframe,
    start_ms: int,
    end_ms: int,
    *,
    progress: Callable[[Progress], None] | None = None,
    archives: FetchMonth | None = None,
    limiter: Limiter | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DownloadReport:
    """Bring into the store what it lacks of the closed candles that open in [start_ms, end_ms).

    Damaged files of the span are set aside first and count as missing. Where nothing is missing, nobody is asked.

    Args:
        adapter: The venue; it must serve the timeframe (see `source_timeframe`).
        symbol: As the venue writes it.
        progress: Called after each page.
        archives: Candles of (symbol, timeframe, year, month), None where the month is not published; used for spans
            that hold at least two whole months (UTC).
        limiter: The venue's limit, for `Progress.limit_used`; adapters wait for it themselves.
        clock: Seconds that only grow.

    Raises:
        ConfigError: The venue does not serve the timeframe.
        DataError: The venue sent candles that cannot be right, or the store cannot be written.
        APIError, CredentialError, RateLimitError: As the adapter raises them; what was stored before stays.
    """
    work = _Download(adapter, store, symbol, Timeframe.parse(timeframe), progress, limiter, clock)
    start, end = (on_grid(instant, work.timeframe, work.calendar) for instant in (start_ms, end_ms))
    if start < end:
        store.repair(work.exchange, symbol, work.timeframe, start, end)
        missing = store.missing(work.exchange, symbol, work.timeframe, start, end)
        if missing:
            work.look_at_the_clock()
            work.fill([Span(gap.start, min(gap.end, work.closed_end)) for gap in missing], archives)
    return work.report()


def recheck_holes(
    adapter: Adapter,
    store: CandleStore,
    symbol: str,
    timeframe: str | Timeframe,
    *,
    older_than_days: float = 30.0,
    progress: Callable[[Progress], None] | None = None,
    limiter: Limiter | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DownloadReport:
    """Ask once more for the candles that the venue did not have, where it was not asked for them lately.

    What comes is stored; what does not is recorded as asked for now. Arguments and errors are those of `download`.
    """
    work = _Download(adapter, store, symbol, Timeframe.parse(timeframe), progress, limiter, clock)
    if store.holes(work.exchange, symbol, work.timeframe):
        work.look_at_the_clock()
        holes = store.holes(
            work.exchange, symbol, work.timeframe, older_than_days=older_than_days, now=work.server_time
        )
        work.ask_for(holes)
    return work.report()


def source_timeframe(capabilities: Capabilities, timeframe: str | Timeframe) -> Timeframe:
    """The timeframe to ask a venue for: the one wanted, or the longest it serves that the wanted one is made of.

    Raises:
        ConfigError: It serves none that would do.
    """
    wanted = Timeframe.parse(timeframe)
    served = [Timeframe(name) for name in Timeframe.names() if name in capabilities.intervals]
    fitting = [frame for frame in served if frame.ms <= wanted.ms and wanted.ms % frame.ms == 0]
    if not fitting:
        raise ConfigError(
            f"{capabilities.title} has no {wanted} candles and no finer ones to make them of.",
            hint=f"use one of {', '.join(frame.name for frame in served)}.",
        )
    return fitting[-1]


class _Download:
    """One download while it runs: counters, the venue's time, and what is known about the page before."""

    def __init__(
        self,
        adapter: Adapter,
        store: CandleStore,
        symbol: str,
        timeframe: Timeframe,
        progress: Callable[[Progress], None] | None,
        limiter: Limiter | None,
        clock: Callable[[], float],
    ) -> None:
        capabilities = adapter.capabilities
        if not capabilities.serves(timeframe):
            raise ConfigError(
                f"{capabilities.title} has no {timeframe} candles of its own.",
                hint=f"ask for {source_timeframe(capabilities, timeframe)} and resample.",
            )
        self.adapter, self.store, self.symbol, self.timeframe = adapter, store, symbol, timeframe
        self.exchange = capabilities.exchange
        self.calendar = calendar_of(self.exchange)
        self.server_time = self.closed_end = 0
        self._settled_end = 0
        self._volume_unit = capabilities.volume_unit
        self._page_ms = capabilities.page_bars[timeframe.name] * timeframe.ms
        # No candle for so long is nothing to wonder about: none around the clock, a row of holidays on an exchange.
        self._slack = 0 if self.calendar.always_open else LONGEST_HOLIDAY_DAYS * DAY_MS
        self._progress, self._limiter, self._clock = progress, limiter, clock
        self._began = clock()
        self._rows = self._requests = self._pages = self._corrections = 0
        self._holes: list[Span] = []
        self._wanted_ms = self._done_before = 0

    # ---------------------------------------------------------------------------------- what is asked, and when

    def look_at_the_clock(self) -> None:
        """Ask the venue for its time: candles that have closed by it count, one that is forming never does."""
        self._requests += 1
        self.server_time = self.adapter.server_time_ms()
        self.closed_end = self._last_close(self.server_time)
        self._settled_end = self._last_close(self.server_time - SETTLING_MS)

    def _last_close(self, instant: int) -> int:
        """The end of the last bar that has closed by the grid.

        The last bar of a session waits for its full length too: exchanges still correct it after the bell.
        """
        return on_grid(instant - self.timeframe.ms + 1, self.timeframe, self.calendar)

    def fill(self, gaps: Sequence[Span], archives: FetchMonth | None) -> None:
        """Ask for all of these spans and store what comes."""
        gaps = [gap for gap in gaps if gap.start < gap.end]
        self._wanted_ms = sum(gap.end - gap.start for gap in gaps)
        try:
            for gap in gaps:
                self._fill_gap(gap, archives)
                self._done_before += gap.end - gap.start
        except APIError as error:
            if self._pages:
                error.message += f" {counted(self._rows, 'candle')} had come by then and are stored."
            raise
        if self._pages >= _PAGES_TO_COMPACT:
            self._compact()

    def _fill_gap(self, gap: Span, archives: FetchMonth | None) -> None:
        """One missing span, oldest page first.

        An empty page is believed at once where the page before has candles: it is asked for twice then. Where nothing
        is known before it, it waits: only when the first candle after it stands at the very edge was there a page
        lost; when that is asked for again and is empty again, all that wait are stored as one empty span.
        """
        known, at = self._has_bars_before(gap.start), gap.start
        waiting: list[Span] = []
        for page, candles in self._pieces(gap, archives):
            if page.start != at:  # another process has stored what lies between
                self._settle(waiting, self._has_bars_after(at))
                known = self._has_bars_before(page.start)
            answer = self._ask(page) if candles is None else candles
            if candles is None and self._is_doubtful(answer, page, known):
                answer = _joined(answer, self._ask(page))
            if not len(answer) and not known:
                waiting.append(page)
            else:
                self._settle(waiting, bool(len(answer)) and int(answer.time[0]) <= page.start + self._slack)
                self._store(answer, page, "api" if candles is None else "archive")
                known = bool(len(answer)) and self._reaches(answer, page.end)
            at = page.end
            self._tell(self._done_before + at - gap.start)
        self._settle(waiting, bool(waiting) and self._has_bars_after(at))

    def _pieces(self, gap: Span, archives: FetchMonth | None) -> Iterator[tuple[Span, Candles | None]]:
        """The pages of a span in order; candles only for those that an archive has."""
        months = list(self._whole_months(gap))
        if archives is None or len(months) < _ARCHIVE_MONTHS:
            yield from self._api_pieces(gap)
            return
        at = gap.start
        for year, month, span in months:
            self._requests += 1
            page = archives(self.symbol, self.timeframe, year, month)
            candles = None if page is None else self._checked(page, span)
            if candles is None or not len(candles):
                continue
            # What a file lacks at its edges is asked for: the venue may have it.
            held = Span(int(candles.time[0]), int(candles.time[-1]) + self.timeframe.ms)
            begin = held.start if held.start > span.start + self._slack else max(at, span.start)
            yield from self._api_pieces(Span(at, begin))
            at = span.end if self._reaches(candles, span.end) else held.end
            yield Span(begin, at), candles
        yield from self._api_pieces(Span(at, gap.end))

    def _whole_months(self, gap: Span) -> Iterator[tuple[int, int, Span]]:
        """Year, month and bars of each calendar month (UTC) that lies in a span whole."""
        at = datetime.fromtimestamp(gap.start // 1000, tz=UTC).replace(day=1, hour=0, minute=0, second=0)
        while (begin := int(at.timestamp()) * 1000) < gap.end:
            end = begin + monthrange(at.year, at.month)[1] * DAY_MS
            if gap.start <= begin and end <= gap.end:
                first, stop = (on_grid(edge, self.timeframe, self.calendar) for edge in (begin, end))
                yield at.year, at.month, Span(first, min(stop, gap.end))
            at = datetime.fromtimestamp(end // 1000, tz=UTC)

    def _api_pieces(self, span: Span) -> Iterator[tuple[Span, None]]:
        """What is still missing of a span, in pages; another process may have stored some in the meantime."""
        at = span.start
        while at < span.end:
            end = min(at + self._page_ms, span.end)
            missing = self.store.missing(self.exchange, self.symbol, self.timeframe, at, end)
            if missing:
                yield Span(missing[0].start, missing[-1].end), None
            at = end

    def ask_for(self, holes: Sequence[Hole]) -> None:
        """Ask once for each of these holes, those that fit on one page together."""
        spans: list[Span] = []
        for hole in holes:
            if spans and hole.span.end - spans[-1].start <= self._page_ms:
                spans[-1] = Span(spans[-1].start, hole.span.end)
            else:
                starts = range(hole.span.start, hole.span.end, self._page_ms)
                spans += [Span(start, min(start + self._page_ms, hole.span.end)) for start in starts]
        self._wanted_ms = sum(span.end - span.start for span in spans)
        for span in spans:
            self._store(self._ask(span), span, "api")
            self._done_before += span.end - span.start
            self._tell(self._done_before)

    def _has_bars_before(self, instant: int) -> bool:
        begin = max(instant - self.timeframe.ms - self._slack, 0)
        return self.store.count(self.exchange, self.symbol, self.timeframe, begin, max(instant, 0)) > 0

    def _has_bars_after(self, instant: int) -> bool:
        end = instant + self.timeframe.ms + self._slack
        return self.store.count(self.exchange, self.symbol, self.timeframe, instant, end) > 0

    # ------------------------------------------------------------------------------------------------- what is believed

    def _ask(self, page: Span) -> Candles:
        self._requests += 1
        return self._checked(self.adapter.fetch_page(self.symbol, self.timeframe, page.start, page.end), page)

    def _checked(self, page: Page, span: Span) -> Candles:
        return checked_page(page, span, self.exchange, self.symbol, self.timeframe)

    def _is_doubtful(self, answer: Candles, page: Span, known: bool) -> bool:
        """Whether an answer may be a part of what the venue has: nothing beside candles, or an edge that is bare."""
        if not len(answer):
            return known and page.end - page.start > self._slack
        return bool(answer.time[0] > page.start + self._slack) or not self._reaches(answer, page.end)

    def _reaches(self, candles: Candles, end: int) -> bool:
        return int(candles.time[-1]) + self.timeframe.ms >= end - self._slack

    def _settle(self, waiting: list[Span], beside_candles: bool) -> None:
        """Store empty pages as what they are: spans that the venue has nothing of.

        Where a candle stands right after them, and no holidays explain them, they are asked for again, backwards, until
        one is empty again.
        """
        recovered: list[tuple[Span, Candles]] = []
        while waiting and beside_candles and waiting[-1].end - waiting[0].start > self._slack:
            again = self._ask(waiting[-1])
            if not len(again):
                break
            recovered.append((waiting.pop(), again))
            beside_candles = int(again.time[0]) <= recovered[-1][0].start + self._slack
        if waiting:
            span = Span(waiting[0].start, waiting[-1].end)
            self._store(self._checked(Page.of_rows([]), span), span, "api")
            waiting.clear()
        for page, candles in reversed(recovered):
            self._store(candles, page, "api")

    # -------------------------------------------------------------------------------------------------- what is stored

    def _store(self, candles: Candles, span: Span, endpoint: str) -> None:
        believed = min(
            span.end, max(self._settled_end, int(candles.time[-1]) + self.timeframe.ms if len(candles) else 0)
        )
        if believed > span.start:
            fetched = self.server_time + int((self._clock() - self._began) * 1000)
            put = self.store.put(
                candles,
                source=f"{self.exchange} {endpoint}",
                volume_unit=self._volume_unit,
                span=Span(span.start, believed),
                provenance=Provenance(self.exchange, fetched, f"{type(self.adapter).__name__} {__version__}", endpoint),
            )
            self._count(put)

    def _count(self, put: PutReport) -> None:
        self._rows += put.added
        self._corrections += put.corrected
        self._pages += 1
        for hole in put.holes:
            if self._holes and self._holes[-1].end == hole.span.start:
                self._holes[-1] = Span(self._holes[-1].start, hole.span.end)
            else:
                self._holes.append(hole.span)

    def _tell(self, done_ms: int) -> None:
        if self._progress is None:
            return
        share = done_ms / self._wanted_ms
        elapsed = self._clock() - self._began
        used = None if self._limiter is None else self._limiter.used
        left = elapsed * (1 - share) / share
        self._progress(Progress(self._rows, self._requests, share, self._wanted_ms, left, used))

    def _compact(self) -> None:
        try:
            self.store.compact(self.exchange, self.symbol, self.timeframe)
        except DataError as error:  # the candles are stored; that they are in many files is no reason to fail
            logger.warning("%s", error.message)

    def report(self) -> DownloadReport:
        return DownloadReport(
            rows=self._rows,
            requests=self._requests,
            pages=self._pages,
            holes=tuple(self._holes),
            corrections=self._corrections,
            seconds=self._clock() - self._began,
        )


def checked_page(page: Page, span: Span, exchange: str, symbol: str, timeframe: Timeframe) -> Candles:
    """The candles of an answer that open in the span, oldest first; there may be none.

    Put right: disorder, rows beyond the span, equal rows for one time, and times that are all in seconds, microseconds
    or nanoseconds. Refused: everything else that candles must not be.

    Raises:
        DataError: Columns differ in length, times mix units, two rows of one time differ, or a bar is unsound; the
            message names venue, symbol and the first bad bar.
    """
    label = f"{exchange} {symbol} {timeframe}"
    lengths = {len(column) for column in page if column is not None}
    if len(lengths) > 1:
        raise DataError(
            f"{label}: the answer for {span} has columns of different lengths.",
            hint=_DISTRUST,
        )
    try:
        times, notes = read_times(np.asarray(page.time))
    except DataError as error:
        raise DataError(f"{label}: {error.message}", hint=_DISTRUST) from error
    if notes:
        raise DataError(f"{label}: {notes[0].message}", hint=_DISTRUST)
    rows = np.flatnonzero((times >= span.start) & (times < span.end))
    rows = rows[np.argsort(times[rows], kind="stable")]
    same = np.flatnonzero(times[rows][1:] == times[rows][:-1])
    values = [column for column in page[1:] if column is not None]
    different = differing_rows(values, rows[same], rows[same + 1])
    if different.any():
        first = int(times[rows[same][different][0]])
        raise DataError(
            f"{label}: the answer has two candles of {utc_text(first)} that differ.",
            hint=_DISTRUST,
        )
    rows = np.delete(rows, same + 1)
    candles = Candles(
        times[rows],
        page.open[rows],
        page.high[rows],
        page.low[rows],
        page.close[rows],
        page.volume[rows],
        None if page.quote_volume is None else page.quote_volume[rows],
        timeframe=timeframe,
        exchange=exchange,
        symbol=symbol,
    )
    if len(candles):
        candles.require_sound()
    return candles


def _joined(first: Candles, second: Candles) -> Candles:
    """All candles of two answers to one question; where both have one, that of the second, which is newer."""
    if not len(first) or not len(second):
        return second if len(second) else first
    only_first = np.flatnonzero(~np.isin(first.time, second.time))
    if not len(only_first):
        return second
    with_quote = first.quote_volume is not None and second.quote_volume is not None
    names = ("time", "open", "high", "low", "close", "volume", *(("quote_volume",) if with_quote else ()))
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(first, name)[only_first], getattr(second, name)]) for name in names
    }
    order = np.argsort(columns["time"], kind="stable")
    columns = {"quote_volume": None} | {name: column[order] for name, column in columns.items()}
    return Candles(
        **columns,
        timeframe=second.timeframe,
        exchange=second.exchange,
        symbol=second.symbol,
    )
