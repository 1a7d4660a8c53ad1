"""A download ends with exactly the closed candles that the venue has, whatever it answers on the way.

The oracle is the data that the fake venue serves: candles in memory, an honest clock, and faults to order.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.data.candles import Candles
from barwise.data.files import read_candles, read_description, write_candles
from barwise.data.gaps import find_gaps
from barwise.data.store import CandleStore, Span
from barwise.errors import ConfigError, DataError, RateLimitError
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.exchange.download import DownloadReport, Progress, download, recheck_holes, source_timeframe
from barwise.exchange.http import Limiter
from barwise.timeframe import DAY_MS, HOUR_MS, Timeframe
from tests.test_candles import NEW_YEAR, built, hours

HOUR = Timeframe("1H")
KEY = ("BINANCE", "BTCUSDT", "1H")
Fault = Callable[[Page], Page]


def page_of(candles: Candles) -> Page:
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Page(candles.time, *columns, candles.quote_volume)


def rows_of(page: Page, rows: Any) -> Page:
    return Page(*(None if column is None else column[rows] for column in page))  # type: ignore[arg-type]


@dataclass
class FakeVenue:
    """Serves candles by their opens, all of them up to its clock, the forming one included.

    Attributes:
        candles: What it has, the future too.
        page_bars: Most it returns.
        now: Its clock, ms UTC.
        faults: What it does to its answers: by number of the request, from 0, once each.
        before_answer: Called with the span of each request.
        asked: The spans it was asked for.
        clock_asked: How often it was asked for its time.
    """

    candles: Candles
    page_bars: int = 1000
    now: int = 4_000_000_000_000
    faults: dict[int, Fault] = field(default_factory=dict)
    before_answer: Callable[[Span], None] | None = None
    intervals: Sequence[str] = ("1M", "5M", "1H", "4H", "1D")
    volume_unit: str = "base units"
    asked: list[Span] = field(default_factory=list)
    clock_asked: int = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            exchange=self.candles.exchange,
            title="Fake",
            intervals=dict.fromkeys(self.intervals, "x"),
            page_bars=dict.fromkeys(self.intervals, self.page_bars),
            needs_key=False,
            credentials=(),
            volume_unit=self.volume_unit,
        )

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        assert timeframe == self.candles.timeframe
        assert 0 < end_ms - start_ms <= self.page_bars * timeframe.ms
        number, span = len(self.asked), Span(start_ms, end_ms)
        if self.before_answer is not None:
            self.before_answer(span)
        self.asked.append(span)
        # Like real venues it returns the bar that opens at the end and the forming one too.
        page = page_of(self.candles.between(start_ms, min(end_ms + 1, self.now)))
        fault = self.faults.get(number)
        return page if fault is None else fault(page)

    def server_time_ms(self) -> int:
        self.clock_asked += 1
        return self.now

    def market(self, symbol: str) -> Market:
        return Market(symbol)

    def check_credentials(self) -> Check:
        return Check("key", True, "none needed")


def closed(venue: FakeVenue, start: int, end: int) -> Candles:
    """What a download of the span has to end with."""
    last = venue.now - venue.candles.timeframe.ms
    return venue.candles.between(start, max(min(end, last + 1), start))


def fetched(venue: FakeVenue, store: CandleStore, start: int, end: int, **options: Any) -> DownloadReport:
    return download(venue, store, venue.candles.symbol, venue.candles.timeframe, start, end, **options)


def hour(count: float) -> int:
    return NEW_YEAR + int(count * HOUR_MS)


def without_hours(count: int, gone: Iterable[int]) -> Candles:
    missing = set(gone)
    return built([row for at, row in enumerate(hours(count)) if at not in missing], audit="report")


def rewrite(name: str, row: int, value: float) -> Fault:
    def fault(page: Page) -> Page:
        column = getattr(page, name).copy()
        column[row] = value
        return page._replace(**{name: column})

    return fault


def empty(page: Page) -> Page:
    return rows_of(page, slice(0, 0))


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "cache")


# --------------------------------------------------------------------------------------------------- the plain download


def test_the_store_ends_with_what_the_venue_has_and_asks_nothing_twice(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100)), page_bars=30)
    report = fetched(venue, store, hour(5), hour(95))
    assert store.get(*KEY) == venue.candles[5:95]
    assert [span.end - span.start for span in venue.asked] == [30 * HOUR_MS] * 3
    assert (report.rows, report.requests, report.pages, report.holes, report.corrections) == (90, 4, 3, (), 0)
    again = fetched(venue, store, hour(5), hour(95))
    assert (again.rows, again.requests) == (0, 0)
    assert len(venue.asked) == 3
    assert venue.clock_asked == 1
    wider = fetched(venue, store, hour(0), hour(100))
    assert venue.asked[3:] == [Span(hour(0), hour(5)), Span(hour(95), hour(100))]
    assert (wider.rows, wider.requests) == (10, 3)
    assert store.get(*KEY) == venue.candles


def test_every_file_says_who_answered_when_and_what_was_missing(store: CandleStore) -> None:
    venue = FakeVenue(without_hours(40, [7, 8, 20]), page_bars=100, now=hour(500), volume_unit="contracts")
    fetched(venue, store, hour(0), hour(40), clock=iter([0.0, 2.5, 3.0, 3.5]).__next__)
    (path,) = store.root.rglob("*.parquet")
    said = read_description(path)
    assert path.name == "20250101T000000Z_20250102T160000Z.parquet"
    assert said["units"]["volume"] == "contracts"
    assert said["source"] == "BINANCE api"
    (origin,) = said["provenance"]
    assert origin["venue"] == "BINANCE"
    assert origin["endpoint"] == "api"
    assert origin["adapter"].startswith("FakeVenue 0")
    assert origin["first"] == origin["last"] == "2025-01-21T20:00:02.500+00:00"  # the venue's clock, not ours
    assert said["checked"] == hour(500) + 2500
    assert (said["rows"], said["missing"]) == (37, 3)
    assert [hole[:3] for hole in said["holes"]] == [[hour(7), hour(9), 2], [hour(20), hour(21), 1]]


def test_spans_between_the_bars_are_taken_by_the_opens_inside(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100)))
    fetched(venue, store, hour(4.5), hour(9.5))
    assert store.get(*KEY) == venue.candles[5:10]
    assert fetched(venue, store, hour(4.2), hour(9.1)).requests == 0


@pytest.mark.parametrize(("now", "last"), [(hour(50), 49), (hour(50) - 1, 48), (hour(50.99), 49), (hour(200), 99)])
def test_the_forming_candle_is_never_stored_nor_called_covered(store: CandleStore, now: int, last: int) -> None:
    venue = FakeVenue(built(hours(100)), page_bars=40, now=now)
    fetched(venue, store, hour(0), hour(100))
    stored = store.get(*KEY)
    assert stored == venue.candles[: last + 1]
    if now < hour(100):
        assert store.coverage(*KEY) == (Span(hour(0), hour(last + 1)),)
        venue.now = hour(120)
        fetched(venue, store, hour(0), hour(100))
        assert store.get(*KEY) == venue.candles


def test_the_future_is_not_asked_for(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100)), now=hour(10.5))
    report = fetched(venue, store, hour(10), hour(50))
    assert (report.rows, report.requests, venue.asked) == (0, 1, [])
    assert fetched(venue, store, hour(50), hour(20)).requests == 0
    assert store.coverage(*KEY) == ()


def test_a_candle_that_is_late_is_asked_for_again_by_the_next_download(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(50))[:30], now=hour(31.01))
    report = fetched(venue, store, hour(0), hour(50))
    assert report.rows == 30
    assert store.coverage(*KEY) == (Span(hour(0), hour(30)),)
    venue.candles = built(hours(50))
    assert fetched(venue, store, hour(0), hour(50)).rows == 1
    assert store.get(*KEY) == venue.candles[:31]


def test_what_is_still_missing_an_hour_after_its_close_is_a_hole(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(50))[:30], now=hour(34.5))
    report = fetched(venue, store, hour(0), hour(50))
    assert store.coverage(*KEY) == (Span(hour(0), hour(33)),)
    assert report.holes == (Span(hour(30), hour(33)),)


def test_a_timeframe_that_is_not_served_is_refused_with_the_one_to_ask_for(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(50)))
    with pytest.raises(ConfigError, match="no 2H candles") as caught:
        download(venue, store, "BTCUSDT", "2H", hour(0), hour(50))
    assert "ask for 1H and resample" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "served", "source"),
    [
        ("2H", ("1M", "5M", "15M", "30M", "1H", "1D"), "1H"),
        ("1W", ("1M", "1H", "1D"), "1D"),
        ("4H", ("1M", "1H", "4H"), "4H"),
        ("30M", ("1M", "5M", "15M", "1H", "1D"), "15M"),
        ("1D", ("1M", "1H"), "1H"),
    ],
)
def test_the_source_of_a_timeframe_is_the_longest_that_it_is_made_of(
    wanted: str, served: tuple[str, ...], source: str
) -> None:
    capabilities = FakeVenue(built(hours(2)), intervals=served).capabilities
    assert source_timeframe(capabilities, wanted) == Timeframe(source)


def test_detail_that_is_not_served_cannot_be_made(store: CandleStore) -> None:
    with pytest.raises(ConfigError, match="Fake has no 5M candles and no finer ones"):
        source_timeframe(FakeVenue(built(hours(2)), intervals=("1H", "1D")).capabilities, "5M")


# ---------------------------------------------------------------------------------------------------- what is put right


def test_rows_in_any_order_and_beyond_the_span_and_twice_are_put_right(store: CandleStore) -> None:
    candles = built(hours(60))
    venue = FakeVenue(candles, page_bars=20)
    venue.faults = {
        0: lambda page: rows_of(page, slice(None, None, -1)),
        1: lambda _: page_of(candles),
        2: lambda page: rows_of(page, np.array([5, *range(20), 7, 7])),
    }
    report = fetched(venue, store, hour(0), hour(60))
    assert store.get(*KEY) == candles
    assert report.requests == 4


@pytest.mark.parametrize("per_second", [1, 1_000_000, 1_000_000_000])
def test_times_that_are_all_in_another_unit_are_read_by_their_size(store: CandleStore, per_second: int) -> None:
    def other_unit(page: Page) -> Page:
        return page._replace(time=page.time // 1000 * per_second)

    venue = FakeVenue(built(hours(60)), faults=dict.fromkeys(range(4), other_unit))
    fetched(venue, store, hour(0), hour(60))
    assert store.get(*KEY) == venue.candles


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (rewrite("close", 7, float("nan")), "missing or infinite, first close of 2025-01-01 07:00"),
        (rewrite("volume", 7, float("inf")), "missing or infinite, first volume of 2025-01-01 07:00"),
        (rewrite("low", 7, 0.0), "zero or below, first 2025-01-01 07:00"),
        (rewrite("high", 7, 1.0), "not the highest .* first 2025-01-01 07:00"),
        (rewrite("volume", 7, -1.0), "negative volume, first 2025-01-01 07:00"),
        (rewrite("time", 7, hour(7) + 1), r"Off the 1H grid .* first 2025-01-01 07:00"),
        (rewrite("time", 7, hour(7) // 1000), "mix units: milliseconds, but 1 row in another, .* seconds"),
        (rewrite("time", 7, hour(7) * 1000), "mix units: milliseconds, but 1 row in another, .* microseconds"),
        (rewrite("time", 7, 9.21e18), "row 7: .* is not a time"),
        (rewrite("time", 7, hour(8)), "two candles of 2025-01-01 08:00 UTC that differ"),
        (lambda page: page._replace(close=page.close[:-1]), "columns of different lengths"),
    ],
)
def test_a_page_with_a_candle_that_cannot_be_is_refused_and_not_stored(
    store: CandleStore, fault: Fault, message: str
) -> None:
    venue = FakeVenue(built(hours(60)), page_bars=20)
    fetched(venue, store, hour(20), hour(40))
    venue.faults = {1: fault}
    with pytest.raises(DataError, match=f"BINANCE BTCUSDT 1H: .*{message}"):
        fetched(venue, store, hour(0), hour(60))
    assert store.coverage(*KEY) == (Span(hour(20), hour(40)),)
    fetched(venue, store, hour(0), hour(60))
    assert store.get(*KEY) == venue.candles


def test_a_bad_row_beyond_the_span_disturbs_nobody(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(60)), page_bars=20, faults={0: rewrite("close", 20, float("nan"))})
    fetched(venue, store, hour(0), hour(20))
    assert store.get(*KEY) == venue.candles[:20]


# --------------------------------------------------------------------------------------------- holes, real and imagined


@pytest.mark.parametrize(
    "cut",
    [slice(0, 12), slice(6, None), slice(0, 0), slice(3, 17)],
    ids=["ends early", "begins late", "empty", "both edges"],
)
@pytest.mark.parametrize("page", [0, 1, 2])
def test_an_answer_that_was_cut_is_asked_for_again(store: CandleStore, cut: slice, page: int) -> None:
    venue = FakeVenue(built(hours(60)), page_bars=20, faults={page: lambda answer: rows_of(answer, cut)})
    report = fetched(venue, store, hour(0), hour(60))
    assert store.get(*KEY) == venue.candles
    assert report.requests == 5
    assert report.holes == ()


def test_two_cut_answers_are_put_together(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(20)), page_bars=20)
    venue.faults = {0: lambda page: rows_of(page, slice(0, 12)), 1: lambda page: rows_of(page, slice(9, None))}
    fetched(venue, store, hour(0), hour(20))
    assert store.get(*KEY) == venue.candles


def test_several_lost_pages_in_a_row_are_found_from_the_first_candle_after_them(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100)), page_bars=20, faults=dict.fromkeys(range(3), empty))
    fetched(venue, store, hour(0), hour(100))
    assert store.get(*KEY) == venue.candles


def test_a_lost_last_page_is_found_by_the_candles_stored_after_it(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100)), page_bars=20)
    fetched(venue, store, hour(40), hour(60))
    venue.faults = dict.fromkeys(range(1, 3), empty)
    fetched(venue, store, hour(0), hour(40))
    assert store.get(*KEY) == venue.candles[:60]


def test_a_hole_is_believed_after_the_second_answer_and_reported(store: CandleStore) -> None:
    venue = FakeVenue(without_hours(100, range(30, 70)), page_bars=20)
    report = fetched(venue, store, hour(0), hour(100))
    assert store.get(*KEY) == venue.candles
    assert report.holes == (Span(hour(30), hour(70)),)
    assert store.missing(*KEY, hour(0), hour(100)) == ()
    assert [(hole.span, hole.bars) for hole in store.holes(*KEY)] == [(Span(hour(30), hour(70)), 40)]
    assert report.requests == 1 + 5 + 2  # the page that ends early and the one that begins late were asked for twice


def test_years_before_the_listing_are_asked_for_once_and_stored_as_one_empty_span(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(1000))[900:], page_bars=20)
    report = fetched(venue, store, hour(0), hour(1000))
    assert store.get(*KEY) == venue.candles
    assert len(venue.asked) == 50 + 1  # the page right before the first candle was doubted
    assert report.holes == (Span(hour(0), hour(900)),)
    assert store.missing(*KEY, hour(0), hour(1000)) == ()
    assert store.holes(*KEY) == ()  # a market that is not listed yet has no holes
    with pytest.raises(DataError, match=r"was asked for BTCUSDT 1H .* and had not one candle"):
        store.get(*KEY, hour(0), hour(500))


def test_a_market_without_a_candle_is_covered_and_not_listed(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(100))[:0], page_bars=20)
    fetched(venue, store, hour(0), hour(100))
    assert store.missing(*KEY, hour(0), hour(100)) == ()
    assert store.list() == ()
    assert store.holes(*KEY) == ()


def test_a_hole_that_the_venue_has_filled_is_filled_when_it_is_asked_again(store: CandleStore) -> None:
    day = 24 * HOUR_MS
    venue = FakeVenue(without_hours(200, [20, 21, 90, 150]), page_bars=50, now=hour(300))
    fetched(venue, store, hour(0), hour(200))
    assert len(store.holes(*KEY)) == 3
    assert store.holes(*KEY, older_than_days=1, now=hour(310)) == ()
    assert len(store.holes(*KEY, older_than_days=1, now=hour(300) + 2 * day)) == 3

    before, venue.now = len(venue.asked), hour(300) + 10 * day
    venue.candles = without_hours(200, [21, 150])
    told: list[Progress] = []
    report = recheck_holes(venue, store, "BTCUSDT", "1H", older_than_days=5, progress=told.append)
    assert (report.rows, report.corrections) == (2, 0)
    assert venue.asked[before:] == [Span(hour(20), hour(22)), Span(hour(90), hour(91)), Span(hour(150), hour(151))]
    assert [progress.share for progress in told] == [0.5, 0.75, 1.0]
    assert store.get(*KEY) == venue.candles
    holes = store.holes(*KEY)
    assert [hole.span for hole in holes] == [Span(hour(21), hour(22)), Span(hour(150), hour(151))]
    assert all(hole.checked is not None and hole.checked >= venue.now for hole in holes)
    assert recheck_holes(venue, store, "BTCUSDT", "1H", older_than_days=5).requests == 1  # the clock only

    store.compact(*KEY)
    assert store.holes(*KEY) == holes
    assert store.get(*KEY) == venue.candles


def test_a_series_without_holes_is_not_asked_for_again(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(50)))
    fetched(venue, store, hour(0), hour(50))
    assert recheck_holes(venue, store, "BTCUSDT", "1H", older_than_days=0).requests == 0


def test_a_damaged_file_is_set_aside_and_its_span_fetched_again(
    store: CandleStore, caplog: pytest.LogCaptureFixture
) -> None:
    venue = FakeVenue(built(hours(60)), page_bars=20)
    fetched(venue, store, hour(0), hour(60))
    path = sorted(store.root.rglob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-20])
    report = fetched(venue, store, hour(0), hour(60))
    assert report.rows == 20
    assert venue.asked[3:] == [Span(hour(20), hour(40))]
    assert store.get(*KEY) == venue.candles
    assert path.with_name(f"{path.name}.bad").exists()
    assert f"{path} is damaged" in caplog.text


def test_a_bar_that_comes_back_with_other_values_is_reported_and_the_old_one_kept(store: CandleStore) -> None:
    candles = without_hours(60, [30])
    venue = FakeVenue(candles, page_bars=60)
    fetched(venue, store, hour(0), hour(60))
    venue.faults = {1: lambda _: page_of(built([{**hours(60)[30], "close": 129.5}, hours(60)[31]]))}
    fetched(FakeVenue(candles), store, hour(100), hour(110))
    venue.now += 3_600_000
    assert recheck_holes(venue, store, "BTCUSDT", "1H", older_than_days=0).rows == 1
    assert store.get(*KEY, hour(30), hour(31))[0]["close"] == 129.5
    put = store.put(built(hours(60)[29:32]), span=(hour(29), hour(32)))
    assert (put.corrected, put.skipped) == (1, 2)
    assert store.get(*KEY, hour(30), hour(31))[0]["close"] == 129.5


# ------------------------------------------------------------------------------------------------ markets with sessions


def test_empty_days_of_an_indian_market_are_normal(store: CandleStore, market_data: Path) -> None:
    path = market_data / "dhan_RELIANCE_5m_20260713_20260717.parquet"
    candles = read_candles(path, exchange="DHAN", symbol="RELIANCE", timeframe="5M")
    venue = FakeVenue(candles, page_bars=100, now=int(candles.time[-1]) + 10 * DAY_MS)
    start, end = int(candles.time[0]) // DAY_MS * DAY_MS, int(candles.time[-1]) + 2 * DAY_MS
    report = fetched(venue, store, start, end)
    assert store.get("DHAN", "RELIANCE", "5M") == candles
    assert report.holes == ()
    assert len(venue.asked) == len(set(venue.asked))
    assert store.missing("DHAN", "RELIANCE", "5M", start, end) == ()


def test_a_cut_answer_of_an_indian_market_is_asked_for_again(store: CandleStore, market_data: Path) -> None:
    candles = read_candles(market_data / "nse_INFY_1d_20191001_20260821.parquet", exchange="ZERODHA", symbol="INFY")
    venue = FakeVenue(candles, page_bars=400, faults={1: lambda page: rows_of(page, slice(0, 200)), 3: empty})
    report = fetched(venue, store, int(candles.time[0]), int(candles.time[-1]) + DAY_MS)
    assert store.get("ZERODHA", "INFY", "1D") == candles
    assert report.requests == 1 + len(set(venue.asked)) + 2


# -------------------------------------------------------------------------------------------------- progress and faults


def test_progress_tells_rows_requests_share_time_and_limit(store: CandleStore) -> None:
    seconds = [0.0]
    limiter = Limiter(10, 60.0, clock=lambda: seconds[0])

    def two_seconds(_: Span) -> None:
        seconds[0] += 2.0
        limiter.take(1)

    venue = FakeVenue(built(hours(60)), page_bars=15, before_answer=two_seconds)
    told: list[Progress] = []
    report = fetched(venue, store, hour(0), hour(60), progress=told.append, limiter=limiter, clock=lambda: seconds[0])
    assert [(progress.rows, progress.requests, progress.share) for progress in told] == [
        (15, 2, 0.25), (30, 3, 0.5), (45, 4, 0.75), (60, 5, 1.0),
    ]  # fmt: skip
    assert [progress.eta_seconds for progress in told] == [6.0, 4.0, 2.0, 0.0]
    assert [progress.limit_used for progress in told] == [0.1, 0.2, 0.3, 0.4]
    assert report.seconds == 8.0
    assert str(report) == "60 candles in 5 requests and 8.0 s"


def test_what_came_before_an_error_stays_and_is_named_in_it(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(60)), page_bars=20)

    def refuse(page: Page) -> Page:
        raise RateLimitError("BINANCE asks for a pause of 58 s (HTTP 429).", hint="run it again.", retry_after=58.0)

    venue.faults = {2: refuse}
    with pytest.raises(RateLimitError, match="40 candles had come by then and are stored") as caught:
        fetched(venue, store, hour(0), hour(60))
    assert caught.value.retry_after == 58.0
    assert store.get(*KEY) == venue.candles[:40]
    fetched(venue, store, hour(0), hour(60))
    assert venue.asked[3:] == [Span(hour(40), hour(60))]
    assert store.get(*KEY) == venue.candles


def test_several_markets_are_downloaded_at_once(store: CandleStore) -> None:
    venues = [FakeVenue(built(hours(200 + at), symbol=f"COIN{at}"), page_bars=30) for at in range(6)]
    with ThreadPoolExecutor(6) as pool:
        reports = list(pool.map(lambda venue: fetched(venue, store, hour(0), hour(300)), venues))
    assert [report.rows for report in reports] == [200, 201, 202, 203, 204, 205]
    assert all(store.get("BINANCE", venue.candles.symbol, "1H") == venue.candles for venue in venues)


def test_threads_that_download_the_same_market_store_every_candle_once(store: CandleStore) -> None:
    venues = [FakeVenue(built(hours(400)), page_bars=30) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda venue: fetched(venue, store, hour(0), hour(400)), venues))
    assert sum(report.rows for report in reports) == 400
    assert store.get(*KEY) == venues[0].candles


def test_what_another_process_stores_meanwhile_is_not_asked_for(store: CandleStore) -> None:
    candles = built(hours(100))

    def another(span: Span) -> None:
        if span.start == hour(0):
            store.put(candles[20:47], span=(hour(20), hour(47)))

    venue = FakeVenue(candles, page_bars=20, before_answer=another)
    report = fetched(venue, store, hour(0), hour(100))
    assert venue.asked == [Span(hour(a), hour(b)) for a, b in ((0, 20), (47, 60), (60, 80), (80, 100))]
    assert report.rows == 73
    assert store.get(*KEY) == candles


@pytest.mark.parametrize(
    ("listed", "ends", "asked_to", "lost"),
    [(0, 60, 100, {0, 1}), (0, 100, 100, {0, 1}), (40, 80, 80, {3})],
    ids=["before, and nothing comes after", "before", "after, and it is the last page"],
)
def test_pages_that_were_lost_beside_what_another_process_stored_are_found(
    store: CandleStore, listed: int, ends: int, asked_to: int, lost: set[int]
) -> None:
    candles = without_hours(ends, range(listed))

    def another(span: Span) -> None:
        if span.start == hour(20):
            stored = Span(hour(40), hour(60))
            store.put(candles.between(stored.start, stored.end), span=stored)

    venue = FakeVenue(candles, page_bars=20, before_answer=another, faults=dict.fromkeys(lost, empty))
    fetched(venue, store, hour(0), hour(asked_to))
    assert store.get(*KEY) == candles


def test_a_compaction_that_cannot_be_does_not_spoil_the_download(
    store: CandleStore, caplog: pytest.LogCaptureFixture
) -> None:
    candles = built(hours(24 * 40))
    (path,) = store.put(candles[24 * 35 :]).files
    rival = built([{**row, "volume": 5.0} for row in candles[24 * 35 + 5 :]])
    write_candles(rival, path.with_name("20250205T050000Z_20250210T000000Z.parquet"))
    fetched(FakeVenue(candles, page_bars=48), store, hour(0), hour(24 * 35))
    assert "differ about 2025-02-05 05:00 UTC" in caplog.text
    assert store.get(*KEY, hour(0), hour(24 * 35)) == candles[: 24 * 35]


def test_a_report_names_holes_and_corrections() -> None:
    report = DownloadReport(1, 2, 1, (Span(hour(0), hour(2)),), 3, 0.25)
    assert str(report) == (
        "1 candle in 2 requests and 0.2 s, 1 hole, first 2025-01-01 00:00 .. 2025-01-01 02:00 UTC, "
        "3 differ from what is stored"
    )


def test_many_pages_become_months(store: CandleStore) -> None:
    venue = FakeVenue(built(hours(24 * 90)), page_bars=48)
    fetched(venue, store, hour(0), hour(24 * 90))
    assert sorted(path.name for path in store.root.rglob("*.parquet")) == [
        "20250101T000000Z_20250201T000000Z.parquet",
        "20250201T000000Z_20250301T000000Z.parquet",
        "20250301T000000Z_20250401T000000Z.parquet",
    ]
    assert store.get(*KEY) == venue.candles


# ------------------------------------------------------------------------------------------------------------- archives


class Archive:
    """Months of candles as files, from the same data as the venue; some are not published, some are cut."""

    def __init__(self, candles: Candles, *, absent: Iterable[int] = (), cut: dict[int, slice] | None = None) -> None:
        self.candles, self.absent, self.cut = candles, set(absent), cut or {}
        self.asked: list[tuple[int, int]] = []

    def __call__(self, symbol: str, timeframe: Timeframe, year: int, month: int) -> Page | None:
        self.asked.append((year, month))
        if month in self.absent:
            return None
        following = f"{year}-{month + 1:02}-01" if month < 12 else f"{year + 1}-01-01"
        page = page_of(self.candles.between(f"{year}-{month:02}-01", following))
        return rows_of(page, self.cut.get(month, slice(None)))


def test_two_whole_months_come_from_the_archive_and_the_rest_from_the_api(store: CandleStore) -> None:
    candles = built(hours(24 * 120))
    venue, archive = FakeVenue(candles, page_bars=1000), Archive(candles)
    report = fetched(venue, store, hour(24 * 10), hour(24 * 95), archives=archive)
    assert archive.asked == [(2025, 2), (2025, 3)]
    assert venue.asked == [Span(hour(24 * 10), hour(24 * 31)), Span(hour(24 * 90), hour(24 * 95))]
    assert store.get(*KEY) == candles[24 * 10 : 24 * 95]
    assert report.requests == 5
    endpoints = {
        read_description(path)["provenance"][0]["endpoint"] for path in store.root.rglob("*20250201T000000Z_*")
    }
    assert endpoints == {"archive"}


def test_one_whole_month_is_asked_from_the_api(store: CandleStore) -> None:
    candles = built(hours(24 * 120))
    venue, archive = FakeVenue(candles), Archive(candles)
    fetched(venue, store, hour(24 * 10), hour(24 * 60), archives=archive)
    assert archive.asked == []
    assert store.get(*KEY) == candles[24 * 10 : 24 * 60]


@pytest.mark.parametrize("absent", [[2], [3], [4], [2, 3], [2, 3, 4]])
def test_months_that_are_not_published_come_from_the_api(store: CandleStore, absent: list[int]) -> None:
    candles = built(hours(24 * 120))
    venue, archive = FakeVenue(candles, page_bars=100), Archive(candles, absent=absent)
    fetched(venue, store, hour(24 * 10), hour(24 * 120), archives=archive)
    assert store.get(*KEY) == candles[24 * 10 :]
    assert store.coverage(*KEY) == (Span(hour(24 * 10), hour(24 * 120)),)
    assert len(venue.asked) == len(set(venue.asked))


@pytest.mark.parametrize("cut", [slice(100, None), slice(0, 300), slice(100, 300), slice(0, 0)])
@pytest.mark.parametrize("month", [2, 3, 4])
def test_what_an_archive_lacks_at_its_edges_comes_from_the_api(store: CandleStore, cut: slice, month: int) -> None:
    candles = built(hours(24 * 120))
    venue, archive = FakeVenue(candles, page_bars=100), Archive(candles, cut={month: cut})
    fetched(venue, store, hour(24 * 10), hour(24 * 120), archives=archive)
    assert store.get(*KEY) == candles[24 * 10 :]
    assert store.coverage(*KEY) == (Span(hour(24 * 10), hour(24 * 120)),)


def test_the_month_that_is_not_over_is_not_looked_for_in_the_archive(store: CandleStore) -> None:
    candles = built(hours(24 * 120))
    venue, archive = FakeVenue(candles, now=hour(24 * 70)), Archive(candles)
    fetched(venue, store, hour(0), hour(24 * 120), archives=archive)
    assert archive.asked == [(2025, 1), (2025, 2)]
    assert store.get(*KEY) == candles[: 24 * 70]


# ------------------------------------------------------------------------------------------------------------ real data


@pytest.mark.parametrize(
    ("name", "exchange", "symbol", "page_bars"),
    [
        ("binance_spot_BTCUSDT_1h_20200920_20250331", "BINANCE", "BTCUSDT", 1000),
        ("binance_um_ETHUSDT_4h_20220101_20250331", "BINANCE_UM", "ETHUSDT", 1500),
        ("delta_india_BTCUSD_1m_20260602_20260606", "DELTA", "BTCUSD", 500),
        ("nse_HDFCBANK_1d_20191001_20260821", "ZERODHA", "HDFCBANK", 365),
        ("dhan_NIFTY_5m_20260713_20260717", "DHAN", "NIFTY", 300),
    ],
)
def test_real_candles_arrive_whole_with_their_real_holes(
    store: CandleStore, market_data: Path, name: str, exchange: str, symbol: str, page_bars: int
) -> None:
    timeframe = name.split("_")[-3].upper()
    candles = read_candles(market_data / f"{name}.parquet", exchange=exchange, symbol=symbol, timeframe=timeframe)
    venue = FakeVenue(candles, page_bars=page_bars, intervals=(timeframe,))
    start, end = int(candles.time[0]), int(candles.time[-1]) + candles.timeframe.ms
    report = fetched(venue, store, start, end)
    assert store.get(exchange, symbol, timeframe) == candles
    assert report.rows == len(candles)
    # The store does not ask the calendar: a session without one bar is a gap of the audit, but no hole.
    gaps = find_gaps(candles.time, candles.timeframe, candles.calendar)
    assert sum(hole.bars for hole in store.holes(exchange, symbol, timeframe)) == gaps.missing
    assert len(report.holes) == gaps.count
    assert fetched(venue, store, start, end).requests == 0


# ------------------------------------------------------------------------------------------------------------- property


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    """A venue with holes, its clock, what is stored already, and a span to ask for, all in quarters of an hour."""
    bars = draw(st.integers(1, 120))
    instants = st.integers(-40, 4 * bars + 40)
    return {
        "gone": draw(st.sets(st.integers(0, bars - 1))) if draw(st.booleans()) else set(),
        "bars": bars,
        "page_bars": draw(st.integers(1, 40)),
        "now": draw(instants),
        "stored": draw(st.lists(st.tuples(instants, instants), max_size=4)),
        "span": (draw(instants), draw(instants)),
    }


@settings(deadline=None, max_examples=60)
@given(situation=situations())
def test_any_download_ends_with_exactly_the_closed_candles_and_asks_for_nothing_that_is_stored(
    tmp_path_factory: pytest.TempPathFactory, situation: dict[str, Any]
) -> None:
    store = CandleStore(tmp_path_factory.mktemp("cache"))
    candles = without_hours(situation["bars"], situation["gone"])
    venue = FakeVenue(candles, page_bars=situation["page_bars"], now=hour(situation["now"] / 4))
    for begin, end in situation["stored"]:
        fetched(venue, store, hour(begin / 4), hour(end / 4))

    def still_missing(span: Span) -> None:
        assert store.missing(*KEY, span.start, span.end) == (span,)

    venue.before_answer, venue.asked = still_missing, []
    start, end = (hour(instant / 4) for instant in situation["span"])
    fetched(venue, store, start, end)
    expected = closed(venue, start, max(start, end))
    assert store.count(*KEY, start, max(start, end)) == len(expected)
    if len(expected):
        assert store.get(*KEY, start, end) == expected
    if start < end:
        # All that closed an hour ago is covered, and nothing that has not closed.
        settled = min(end, venue.now - 2 * HOUR_MS)
        opens = range(start - (start - NEW_YEAR) % -HOUR_MS, settled + 1, HOUR_MS)
        assert all(not store.missing(*KEY, at, at + 1) for at in opens if at < end and at <= settled)
    assert all(span.end <= venue.now for span in store.coverage(*KEY))
    pages = {span.start for span in venue.asked}
    assert len(venue.asked) <= 2 * len(pages)
    repeated = len(venue.asked)
    fetched(venue, store, start, end)
    if venue.now >= end + 2 * HOUR_MS:
        assert len(venue.asked) == repeated
