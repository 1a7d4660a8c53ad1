"""Dhan: every question as it goes out, every answer and error body as it comes in, and tokens that never show."""

import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.data.candles import Candles
from barwise.errors import APIError, BarwiseError, CredentialError, DataError, RateLimitError
from barwise.exchange.dhan import Dhan
from barwise.timeframe import DAY_MS, HOUR_MS, Timeframe
from tests.scripted_venue import ManualClock, captured, captured_errors, wire_folder
from tests.venues import faults
from tests.venues.market import CREDENTIALS, parquet_columns
from tests.venues.server import Logged, VenueServer

# Wednesday 2024-09-11 09:15 in India, and the present of these tests: Sunday 2026-11-22 12:00 in India.
OPEN = 1_726_026_300_000
NOW = 1_795_329_000_000
SECRETS = (CREDENTIALS["DHAN_CLIENT_ID"], CREDENTIALS["DHAN_ACCESS_TOKEN"])
MINUTE, DAY = Timeframe("1M"), Timeframe("1D")
NO_DATA = "System is unable to fetch data due to incorrect parameters or no data present"


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with VenueServer({}, NOW) as venue:
        yield venue


def dhan(
    venue: VenueServer,
    home: Path,
    clock: ManualClock | None = None,
    changes: Mapping[str, str] | None = None,
) -> Dhan:
    clock = clock or ManualClock()
    environment = {**venue.environment(), "BARWISE_HOME": str(home), **(changes or {})}
    return Dhan(environment, sleep=clock.sleep, clock=clock, now=lambda: NOW / 1000)


def asked(venue: VenueServer, path: str = "/charts/") -> list[Logged]:
    return venue.log.of("DHAN", path)


def question_of(venue: VenueServer) -> Any:
    return json.loads(asked(venue)[-1].body)


def replying(venue: VenueServer, path: str, status: int, body: bytes | str, times: int | None = None) -> None:
    venue.faults.on(faults.answering(status, body), venue="DHAN", path=path, times=times)


def error_of(venue: VenueServer, home: Path, status: int, body: str, clock: ManualClock | None = None) -> BarwiseError:
    """What a caller sees of an answer to a question for candles."""
    replying(venue, "/charts/", status, body)
    with pytest.raises(BarwiseError) as caught:
        dhan(venue, home, clock).fetch_page("HDFCBANK", MINUTE, OPEN, OPEN + HOUR_MS)
    return caught.value


# --- candles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "symbol", "timeframe", "first", "last", "bars"),
    [
        # 09:15 on 2024-09-11 to 15:29 on 2024-09-13; 09:15 to 15:30 on 2024-01-15; 2022-01-10 to 2022-02-07.
        ("charts_intraday_HDFCBANK_1m_2024-09.json", "HDFCBANK", "1M", 1_726_026_300_000, 1_726_221_540_000, 1125),
        ("charts_intraday_NIFTY_5m_2024-01-15.json", "NIFTY", "5M", 1_705_290_300_000, 1_705_312_800_000, 76),
        ("charts_historical_HDFCBANK_2022.json", "HDFCBANK", "1D", 1_641_753_000_000, 1_644_172_200_000, 20),
    ],
)
def test_recorded_candles_are_read_to_the_last_digit(
    server: VenueServer, tmp_path: Path, file: str, symbol: str, timeframe: str, first: int, last: int, bars: int
) -> None:
    replying(server, "/charts/", 200, (wire_folder() / "dhan" / file).read_bytes())
    page = dhan(server, tmp_path).fetch_page(symbol, Timeframe(timeframe), first, last + 1)
    body = captured(f"dhan/{file}")
    assert page.time.tolist() == [int(second) * 1000 for second in body["timestamp"]]
    assert (page.time[0], page.time[-1], len(page.time)) == (first, last, bars)
    for column, name in zip(page[1:6], ("open", "high", "low", "close", "volume"), strict=True):
        assert column is not None
        assert column.tolist() == body[name]


def test_known_values_of_the_recorded_candles_are_those_of_the_exchange(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/charts/", 200, (wire_folder() / "dhan/charts_historical_HDFCBANK_2022.json").read_bytes())
    page = dhan(server, tmp_path).fetch_page("HDFCBANK", DAY, 1_641_753_000_000, 1_644_172_200_001)
    bar = [float(column[2]) for column in page[1:6] if column is not None]
    assert bar == [1568.0, 1576.65, 1552.0, 1556.65, 10_542_765.0]  # 2022-01-12; the volume came as 1.0542765E7


def test_an_intraday_question_asks_for_whole_days_that_hold_the_span(server: VenueServer, tmp_path: Path) -> None:
    dhan(server, tmp_path).fetch_page("HDFCBANK", Timeframe("5M"), OPEN, OPEN + 2 * DAY_MS)
    assert asked(server)[0].path == "/v2/charts/intraday"
    assert question_of(server) == {
        "securityId": "1333",
        "exchangeSegment": "NSE_EQ",
        "instrument": "EQUITY",
        "interval": "5",
        "oi": False,
        "fromDate": "2024-09-11 00:00:00",
        "toDate": "2024-09-14 00:00:00",
    }
    headers = asked(server)[0].headers
    assert (headers["access-token"], headers["client-id"]) == (SECRETS[1], SECRETS[0])


def test_a_daily_question_ends_on_the_day_after_the_last(server: VenueServer, tmp_path: Path) -> None:
    start = 1_735_669_800_000  # midnight of 2025-01-01 in India
    dhan(server, tmp_path).fetch_page("NIFTY", DAY, start, start + 31 * DAY_MS)
    assert asked(server)[0].path == "/v2/charts/historical"
    assert question_of(server) == {
        "securityId": "13",
        "exchangeSegment": "IDX_I",
        "instrument": "INDEX",
        "expiryCode": 0,
        "oi": False,
        "fromDate": "2025-01-01",
        "toDate": "2025-02-01",
    }


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        # Midnight of 2025-01-01 in India is 18:30 UTC of the day before.
        (1_735_669_800_000, 1_735_756_200_000, "2025-01-01", "2025-01-02"),
        (1_735_669_799_999, 1_735_669_800_000, "2024-12-31", "2025-01-01"),
        (1_735_669_799_999, 1_735_669_800_001, "2024-12-31", "2025-01-02"),
        (1_709_145_000_000, 1_709_231_400_000, "2024-02-29", "2024-03-01"),
    ],
)
def test_spans_are_worded_in_indian_days_at_the_edges_too(
    server: VenueServer, tmp_path: Path, start: int, end: int, first: str, last: str
) -> None:
    adapter = dhan(server, tmp_path)
    adapter.fetch_page("HDFCBANK", MINUTE, start, end)
    assert (question_of(server)["fromDate"], question_of(server)["toDate"]) == (f"{first} 00:00:00", f"{last} 00:00:00")
    adapter.fetch_page("HDFCBANK", DAY, start, end)
    assert (question_of(server)["fromDate"], question_of(server)["toDate"]) == (first, last)


@pytest.mark.parametrize("name", ["1M", "5M", "15M", "1H"])
def test_no_intraday_request_spans_more_than_ninety_days(server: VenueServer, tmp_path: Path, name: str) -> None:
    dhan(server, tmp_path).fetch_page("HDFCBANK", Timeframe(name), OPEN, OPEN + 400 * DAY_MS)
    question = question_of(server)
    assert question["interval"] == {"1M": "1", "5M": "5", "15M": "15", "1H": "60"}[name]
    days = np.datetime64(question["toDate"][:10]) - np.datetime64(question["fromDate"][:10])
    assert days / np.timedelta64(1, "D") <= 90


@pytest.mark.parametrize("name", ["30M", "2H", "4H", "1W"])
def test_a_timeframe_that_is_not_served_is_refused_before_anything_is_asked(
    server: VenueServer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match="no candles of"):
        dhan(server, tmp_path).fetch_page("HDFCBANK", Timeframe(name), OPEN, OPEN + DAY_MS)
    assert len(server.log) == 0


@pytest.mark.parametrize(
    ("file", "symbol", "name", "step_days"),
    [
        ("dhan_RELIANCE_5m_20260713_20260717", "RELIANCE", "5M", 1.3),
        ("dhan_NIFTY_5m_20260713_20260717", "IDX_I:NIFTY", "5M", 88),
        ("dhan_RELIANCE_1d_20230102_20260716", "RELIANCE", "1D", 100),
        ("dhan_NIFTY_1d_20230102_20260716", "NIFTY", "1D", 3650),
    ],
)
def test_real_candles_come_back_over_any_page_boundary(
    market_data: Path, tmp_path: Path, file: str, symbol: str, name: str, step_days: float
) -> None:
    served = parquet_columns(market_data / f"{file}.parquet")
    frame = Timeframe(name)
    with VenueServer({("DHAN", symbol.rpartition(":")[2], name): served}, NOW) as venue:
        adapter = dhan(venue, tmp_path)
        kept = []
        start, end = int(served[0][0]), int(served[0][-1]) + frame.ms
        for at in range(start, end, int(step_days * DAY_MS)):
            stop = min(at + int(step_days * DAY_MS), end)
            page = adapter.fetch_page(symbol, frame, at, stop)
            inside = (page.time >= at) & (page.time < stop)
            kept.append([column[inside] for column in page[:6] if column is not None])
    for mine, theirs in zip(zip(*kept, strict=True), served, strict=False):
        assert np.array_equal(np.concatenate(mine), theirs)


def test_the_stray_bar_of_an_index_is_kept_and_named_by_the_audit(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/charts/", 200, (wire_folder() / "dhan/charts_intraday_NIFTY_5m_2024-01-15.json").read_bytes())
    page = dhan(server, tmp_path).fetch_page("NIFTY", Timeframe("5M"), 1_705_290_300_000, 1_705_312_800_001)
    candles = Candles(
        page.time, page.open, page.high, page.low, page.close, page.volume, None,
        timeframe=Timeframe("5M"), exchange="DHAN", symbol="NIFTY",
    )  # fmt: skip
    finding = candles.audit.of_kind("outside_session")
    assert finding is not None
    assert (finding.severity, finding.count, finding.first_time) == ("warning", 1, 1_705_312_800_000)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0]}',
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0],"timestamp":[]}',
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0,2.0],"volume":[1.0],"timestamp":[1.7260263E9]}',
        '{"open":1.0,"high":1.0,"low":1.0,"close":1.0,"volume":1.0,"timestamp":1.7260263E9}',
        '{"open":["x"],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0],"timestamp":[1.7260263E9]}',
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0],"timestamp":[1.7260263005E9]}',
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0],"timestamp":[null]}',
        '{"open":[1.0],"high":[1.0],"low":[1.0],"close":[1.0],"volume":[1.0],"timestamp":["2024-09-11"]}',
    ],
)
def test_an_answer_of_another_shape_is_a_data_error_and_never_an_empty_page(
    server: VenueServer, tmp_path: Path, body: str
) -> None:
    error = error_of(server, tmp_path, 200, body)
    assert isinstance(error, DataError)
    assert "in a shape" in error.message
    assert "DHAN_BASE_URL" in error.hint


# --- nothing there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"errorType": "Input_Exception", "errorCode": "DH-905", "errorMessage": NO_DATA},
        {"errorType": "Data_Error", "errorCode": "DH-907", "errorMessage": NO_DATA},
        {"errorCode": "NONE", "internalErrorCode": "RS-9005", "internalErrorMessage": "Data not available"},
    ],
)
def test_the_errors_that_mean_nothing_there_are_empty_pages(
    server: VenueServer, tmp_path: Path, body: dict[str, str]
) -> None:
    replying(server, "/charts/", 400, json.dumps(body))
    page = dhan(server, tmp_path).fetch_page("HDFCBANK", MINUTE, OPEN, OPEN + HOUR_MS)
    assert page.time.size == page.volume.size == 0
    assert len(asked(server)) == 1


def test_intraday_candles_that_are_no_longer_kept_are_no_empty_page(server: VenueServer, tmp_path: Path) -> None:
    adapter, long_ago = dhan(server, tmp_path), NOW - 6 * 365 * DAY_MS
    with pytest.raises(DataError, match="keeps the last five years") as caught:
        adapter.fetch_page("HDFCBANK", MINUTE, long_ago, long_ago + 30 * DAY_MS)
    assert "1D" in caught.value.hint
    assert adapter.fetch_page("HDFCBANK", DAY, long_ago, long_ago + 30 * DAY_MS).time.size == 0


def test_columns_without_a_row_are_an_empty_page(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/charts/", 200, '{"open":[],"high":[],"low":[],"close":[],"volume":[],"timestamp":[]}')
    assert dhan(server, tmp_path).fetch_page("HDFCBANK", MINUTE, OPEN, OPEN + HOUR_MS).time.size == 0


def test_a_bad_parameter_has_the_same_code_and_is_no_empty_page(server: VenueServer, tmp_path: Path) -> None:
    text = (wire_folder() / "dhan/error_DH-905_400.json").read_text()
    error = error_of(server, tmp_path, 400, text)
    assert type(error) is DataError
    assert "Missing required fields" in error.message


def test_an_empty_span_is_never_asked_for(server: VenueServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asked for nothing"):
        dhan(server, tmp_path).fetch_page("HDFCBANK", MINUTE, OPEN, OPEN)
    assert asked(server) == []


# --- errors ------------------------------------------------------------------------------------------------------

# What a question for candles makes of it; None: a page without candles.
EXPECTED: dict[str, tuple[type[BarwiseError] | None, str, str, int]] = {
    "dhan/error_DH-901_401.json": (CredentialError, "invalid or expired", "24 hours", 1),
    "dhan/error_DH-904_429.json": (RateLimitError, "for a pause", "again after that", 4),
    "dhan/error_DH-905_400.json": (DataError, "Missing required fields", "check symbol and span", 1),
    "dhan/error_DH-906_invalid_token_400.json": (CredentialError, "Invalid Token", "24 hours", 1),
    "dhan/error_RS-9005_no_data_400.json": (None, "", "", 1),
    "dhan/error_404_spring.json": (APIError, "nothing at this address", "DHAN_BASE_URL", 1),
}


def test_the_table_has_every_recorded_error_body() -> None:
    assert set(EXPECTED) == set(captured_errors("dhan"))


@pytest.mark.parametrize("file", list(EXPECTED))
def test_every_recorded_error_body_says_what_to_do_now(server: VenueServer, tmp_path: Path, file: str) -> None:
    kind, words, hint, questions = EXPECTED[file]
    replying(server, "/charts/", captured_errors("dhan")[file], (wire_folder() / file).read_bytes())
    adapter = dhan(server, tmp_path)
    if kind is None:
        assert adapter.fetch_page("NIFTY", MINUTE, OPEN, OPEN + HOUR_MS).time.size == 0
    else:
        with pytest.raises(BarwiseError) as caught:
            adapter.fetch_page("NIFTY", MINUTE, OPEN, OPEN + HOUR_MS)
        assert type(caught.value) is kind
        assert words in caught.value.message
        assert hint in caught.value.hint
    assert len(asked(server)) == questions


@pytest.mark.parametrize(
    ("code", "status", "kind", "hint"),
    [
        ("DH-902", 403, CredentialError, "data plan"),
        (806, 403, CredentialError, "data plan"),
        ("806", 401, CredentialError, "data plan"),
        (807, 401, CredentialError, "24 hours"),
        (808, 400, CredentialError, "24 hours"),
        (809, 400, CredentialError, "24 hours"),
        (810, 400, CredentialError, "DHAN_CLIENT_ID"),
        ("DH-907", 400, DataError, "check symbol and span"),
        (811, 400, DataError, "check symbol and span"),
        (814, 400, DataError, "check symbol and span"),
        (805, 400, RateLimitError, "again after that"),
        ("DH-903", 400, APIError, "annexure"),
        ("DH-906", 400, APIError, "annexure"),
        (804, 400, APIError, "annexure"),
        ("DH-908", 500, APIError, "again later"),
        ("DH-909", 400, APIError, "again later"),
        ("DH-910", 400, APIError, "annexure"),
        (800, 500, APIError, "again later"),
    ],
)
def test_every_documented_code_has_its_error(
    server: VenueServer, tmp_path: Path, code: str | int, status: int, kind: type, hint: str
) -> None:
    body = json.dumps({"errorType": "Some_Type", "errorCode": code, "errorMessage": "in the venue's own words"})
    clock = ManualClock()
    error = error_of(server, tmp_path, status, body, clock)
    assert type(error) is kind
    assert hint in error.hint
    if kind is not RateLimitError:
        assert "in the venue's own words" in error.message
    again = kind is RateLimitError or hint == "again later"
    assert [wait for wait in clock.waits if wait >= 1.0] == ([1.0, 2.0, 4.0] if again else [])


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (502, "<html>502</html>", "not available"),
        (403, "<html>403</html>", "refuses"),
        (200, "<html></html>", "not JSON"),
        (200, "", "not JSON"),
        (500, '{"errorCode":"INTERNAL_SERVER_ERROR","internalErrorMessage":"Something went wrong"}', "went wrong"),
    ],
)
def test_what_stands_before_the_venue_is_told_apart_from_it(
    server: VenueServer, tmp_path: Path, status: int, body: str, words: str
) -> None:
    error = error_of(server, tmp_path, status, body)
    assert type(error) is APIError
    assert words in error.message


def test_no_window_of_a_second_sees_more_than_five_questions(server: VenueServer, tmp_path: Path) -> None:
    clock = ManualClock()
    adapter = dhan(server, tmp_path, clock)
    sent = []
    for _ in range(12):
        adapter.fetch_page("HDFCBANK", MINUTE, OPEN, OPEN + HOUR_MS)
        sent.append(clock.now)
    assert all(sent[at + 5] - sent[at] > 1.0 for at in range(7))


# --- instruments -------------------------------------------------------------------------------------------------


def test_the_recorded_list_is_read_and_its_steps_are_rupees(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/api-data/", 200, (wire_folder() / "dhan/api-scrip-master-detailed_head.csv").read_bytes())
    adapter = dhan(server, tmp_path)
    steps = {symbol: adapter.market(symbol).tick_size for symbol in ("HDFCBANK", "RELIANCE", "NIFTYBEES", "ARE&M")}
    assert steps == {"HDFCBANK": 0.05, "RELIANCE": 0.1, "NIFTYBEES": 0.01, "ARE&M": 0.05}
    adapter.fetch_page("NSE_EQ:NIFTYBEES", MINUTE, OPEN, OPEN + HOUR_MS)
    assert question_of(server)["securityId"] == "10576"
    assert len(server.log.of("DHAN", "/api-data/")) == 1


COMPACT = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,SEM_TRADING_SYMBOL,"
    "SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,SEM_OPTION_TYPE,SEM_TICK_SIZE,SEM_EXPIRY_FLAG,"
    "SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,SM_SYMBOL_NAME\n"
    "NSE,E,13,EQUITY,0,ABB,1.0,ABB,,,,5.0000,NA,ES,EQ,ABB INDIA\n"
    "NSE,E,99,EQUITY,0,TWICE,1.0,Twice,,,,5.0000,NA,ES,T0,TWICE\n"
    "NSE,E,98,EQUITY,0,TWICE,1.0,Twice,,,,5.0000,NA,ES,EQ,TWICE\n"
    "NSE,E,97,EQUITY,0,SAME,1.0,Same,,,,5.0000,NA,ES,EQ,SAME\n"
    "NSE,E,96,EQUITY,0,SAME,1.0,Same,,,,5.0000,NA,ES,EQ,SAME\n"
    "NSE,E,BAD1,EQUITY,0,WORDY,1.0,Wordy,,,,5.0000,NA,ES,EQ,WORDY\n"
    "NSE,E,95,ODDITY,0,ODD,1.0,Odd,,,,5.0000,NA,ES,EQ,ODD\n"
    "XXX,Z,1,EQUITY,0,BOGUS,1.0,x,,,,5,NA,ES,EQ,x\n"
    "NSE,I,13,INDEX,0,NIFTY,1.0,Nifty 50,0001-01-01,,XX,0.0500,,INDEX,X,NIFTY\n"
    "BSE,I,51,INDEX,0,SENSEX,1.0,Sensex,0001-01-01,,XX,0.0500,,INDEX,X,SENSEX\n"
    "NSE,D,61093,FUTIDX,0,NIFTY-Nov2026-FUT,65.0,NIFTY NOV FUT,2026-11-24 14:30:00,-0.01,XX,10.0,M,FUT,NA,NIFTY\n"
    "MCX,M,114,FUTCOM,0,GOLDM-05Dec2026-FUT,1.0,GOLDM 05 DEC FUT,2026-12-04 23:30:00,,XX,100.0,M,FUT,,GOLDM\n"
)


@pytest.mark.parametrize(
    ("symbol", "number", "segment", "kind"),
    [
        ("ABB", "13", "NSE_EQ", "EQUITY"),
        ("NIFTY", "13", "IDX_I", "INDEX"),
        ("IDX_I:SENSEX", "51", "IDX_I", "INDEX"),
        ("NSE:TWICE", "98", "NSE_EQ", "EQUITY"),
        ("NSE_EQ:96", "96", "NSE_EQ", "EQUITY"),
        ("NSE_FNO:NIFTY-Nov2026-FUT", "61093", "NSE_FNO", "FUTIDX"),
        ("NFO:NIFTY-Nov2026-FUT", "61093", "NSE_FNO", "FUTIDX"),
        ("MCX:GOLDM-05Dec2026-FUT", "114", "MCX_COMM", "FUTCOM"),
    ],
)
def test_a_symbol_finds_its_number_and_its_segment(
    server: VenueServer, tmp_path: Path, symbol: str, number: str, segment: str, kind: str
) -> None:
    replying(server, "/api-data/", 200, COMPACT)
    replying(server, "/charts/", 200, '{"open":[],"high":[],"low":[],"close":[],"volume":[],"timestamp":[]}')
    dhan(server, tmp_path).fetch_page(symbol, MINUTE, OPEN, OPEN + HOUR_MS)
    question = question_of(server)
    assert (question["securityId"], question["exchangeSegment"], question["instrument"]) == (number, segment, kind)


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("HDFCBNK", "no market HDFCBNK."),
        ("NIFTI", "Did you mean NIFTY?"),
        ("WORDY", "no market WORDY."),  # its number is none, and would be a 500 that is asked for again and again
        ("ODD", "no market ODD."),
        ("BOGUS", "no market BOGUS."),
        ("SAME", "several markets SAME: 97, 96."),
        ("BSE:ABB", "no market BSE:ABB."),
        ("NYSE:IBM", "no segment 'NYSE'"),
        ("NSE_EQ:", "names no market"),
    ],
)
def test_an_unusable_symbol_is_refused_locally(server: VenueServer, tmp_path: Path, symbol: str, words: str) -> None:
    replying(server, "/api-data/", 200, COMPACT)
    with pytest.raises(DataError) as caught:
        dhan(server, tmp_path).fetch_page(symbol, MINUTE, OPEN, OPEN + HOUR_MS)
    assert words in caught.value.message
    assert caught.value.hint
    assert asked(server) == []


def test_steps_of_an_index_are_not_claimed(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/api-data/", 200, COMPACT)
    adapter = dhan(server, tmp_path)
    assert adapter.market("NIFTY").tick_size == 0.0
    future = adapter.market("NFO:NIFTY-Nov2026-FUT")
    assert (future.tick_size, future.lot_size) == (0.1, 65.0)


def test_the_list_is_fetched_once_a_day_without_a_token(server: VenueServer, tmp_path: Path) -> None:
    for _ in range(2):
        dhan(server, tmp_path).market("RELIANCE")
    (question,) = server.log.of("DHAN", "/api-data/")
    assert question.path == "/api-data/api-scrip-master.csv"
    assert not {"access-token", "client-id"} & {name.lower() for name in question.headers}


def test_a_list_that_cannot_be_had_names_the_variable_of_its_address(server: VenueServer, tmp_path: Path) -> None:
    changes = {"DHAN_INSTRUMENTS_URL": server.url("DHAN") + "/api-data/gone.csv"}
    with pytest.raises(APIError) as caught:
        dhan(server, tmp_path, changes=changes).market("RELIANCE")
    assert "DHAN_INSTRUMENTS_URL" in caught.value.hint


def test_lists_of_two_addresses_are_not_mixed(server: VenueServer, tmp_path: Path) -> None:
    changes = {"DHAN_INSTRUMENTS_URL": server.url("DHAN") + "/api-data/api-scrip-master-detailed.csv"}
    dhan(server, tmp_path).market("RELIANCE")
    dhan(server, tmp_path, changes=changes).market("RELIANCE")
    assert len(server.log.of("DHAN", "/api-data/")) == 2
    assert len(list((tmp_path / "data" / "instruments").iterdir())) == 2


# --- credentials and clock ---------------------------------------------------------------------------------------


def jwt(claims: Any) -> str:
    parts = ({"alg": "HS512"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".sig"


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (jwt({"exp": 1_795_400_000, "iss": "dhan"}), 1_795_400_000_000),
        (jwt({"exp": "soon"}), None),
        (jwt({"exp": 5}), None),
        (jwt({}), None),
        (jwt([1]), None),
        ("eyJhbGciOiJIUzUxMiJ9.notBase64!.sig", None),
        ("plain", None),
        ("", None),
    ],
)
def test_the_end_of_a_token_is_read_from_it_where_it_says(
    server: VenueServer, tmp_path: Path, token: str, end: int | None
) -> None:
    assert dhan(server, tmp_path, changes={"DHAN_ACCESS_TOKEN": token}).token_expiry_ms == end


def test_a_refused_token_is_reported_with_its_own_end(server: VenueServer, tmp_path: Path) -> None:
    token = jwt({"exp": 1_795_300_000})  # 2026-11-22 03:56:40 in India
    with pytest.raises(CredentialError) as caught:
        dhan(server, tmp_path, changes={"DHAN_ACCESS_TOKEN": token}).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + 1)
    assert "ends 2026-11-22 03:56 Indian time" in caught.value.hint
    assert token not in str(caught.value)


def test_a_working_token_is_reported_with_its_end_and_the_plan(server: VenueServer, tmp_path: Path) -> None:
    check = dhan(server, tmp_path).check_credentials()
    assert check.ok
    assert "until 2026-11-23 12:00 Indian time" in check.message
    assert "data plan is active" in check.message
    assert server.log.orders == []


def test_a_token_without_the_data_plan_does_not_pass(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/profile", 200, (wire_folder() / "dhan/profile_sandbox.json").read_bytes())
    check = dhan(server, tmp_path).check_credentials()
    assert not check.ok
    assert "until 2026-04-06 11:20 Indian time" in check.message
    assert "Data APIs" in check.message


def test_an_expired_token_does_not_pass(server: VenueServer, tmp_path: Path) -> None:
    adapter = dhan(server, tmp_path)
    server.set_now(NOW + DAY_MS)
    check = adapter.check_credentials()
    assert not check.ok
    assert "DH-901" in check.message
    with pytest.raises(CredentialError, match="Invalid Token"):  # 400 DH-906 at the candles
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert len(asked(server)) == 1


@pytest.mark.parametrize("name", ["DHAN_CLIENT_ID", "DHAN_ACCESS_TOKEN"])
def test_a_missing_credential_is_named_before_anything_is_asked(server: VenueServer, tmp_path: Path, name: str) -> None:
    adapter = dhan(server, tmp_path, changes={name: ""})
    assert f"{name} not set" in adapter.check_credentials().message
    with pytest.raises(CredentialError, match=f"{name} is not set"):
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert len(server.log) == 0


def test_a_token_with_a_line_break_is_refused_locally(server: VenueServer, tmp_path: Path) -> None:
    adapter = dhan(server, tmp_path, changes={"DHAN_ACCESS_TOKEN": "firstHalfOfIt\nsecondHalfOfIt"})
    with pytest.raises(CredentialError, match="characters that no token has") as caught:
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert "HalfOfIt" not in str(caught.value)


def test_a_renewed_token_works_and_the_old_one_does_not(server: VenueServer, tmp_path: Path) -> None:
    adapter, late = dhan(server, tmp_path), dhan(server, tmp_path)
    token = adapter.renew_token()
    assert token == server.dhan.access_token != SECRETS[1]
    adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    (question,) = server.log.of("DHAN", "/RenewToken")
    assert question.headers["dhanClientId"] == SECRETS[0]
    with pytest.raises(CredentialError):
        late.renew_token()


def test_an_answer_to_a_renewal_without_a_token_is_an_error(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/RenewToken", 200, '{"status":"success"}')
    with pytest.raises(DataError, match="in a shape"):
        dhan(server, tmp_path).renew_token()


@pytest.mark.parametrize("changes", [{}, {"DHAN_ACCESS_TOKEN": ""}, {"DHAN_ACCESS_TOKEN": "tokenOfYesterday"}])
def test_the_clock_needs_no_credential(server: VenueServer, tmp_path: Path, changes: dict[str, str]) -> None:
    server.set_now(NOW + 12_345)
    assert dhan(server, tmp_path, changes=changes).server_time_ms() == NOW + 12_000


def test_no_credential_shows_in_repr_vars_errors_logs_files_or_urls(
    server: VenueServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = dhan(server, tmp_path)
    texts = [repr(adapter), str(vars(adapter)), repr(adapter._tokens), str(adapter.check_credentials())]
    for code, status in (("DH-901", 401), ("DH-905", 400), ("DH-908", 500), ("DH-910", 400)):
        server.faults.clear()
        body = {"errorType": "x", "errorCode": code, "errorMessage": f"client {SECRETS[0]} with {SECRETS[1]}"}
        replying(server, "/charts/", status, json.dumps(body))
        with pytest.raises(BarwiseError) as caught:
            adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
        texts.append("".join(traceback.format_exception(caught.value)))
    server.faults.clear()
    server.faults.on(faults.reset(), venue="DHAN", path="/charts/", times=None)
    with pytest.raises(APIError) as unreachable:
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    texts.append("".join(traceback.format_exception(unreachable.value)))
    fresh = adapter.renew_token()
    texts += [f"{question.path}?{question.raw_query}" for question in server.log.requests]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    texts.append(caplog.text)
    for secret in (*SECRETS, fresh):
        assert not [text for text in texts if secret in text]


def test_tokens_are_not_copied_or_stored(server: VenueServer, tmp_path: Path) -> None:
    tokens: Any = dhan(server, tmp_path)._tokens
    for taking in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied or stored"):
            taking(tokens)
