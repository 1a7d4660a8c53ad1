"""Zerodha: every question as it goes out, every answer and error body as it comes in, and tokens that never show."""

import copy
import inspect
import logging
import pickle
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.errors import APIError, BarwiseError, CredentialError, DataError, RateLimitError
from barwise.exchange.base import Page
from barwise.exchange.zerodha import Zerodha, token_end_ms
from barwise.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.scripted_venue import ManualClock, captured, captured_errors, wire_folder
from tests.venues import faults
from tests.venues.market import CREDENTIALS, parquet_columns
from tests.venues.server import Logged, VenueServer

# Friday 2017-12-15 09:15:00 in India, and the present of these tests: Sunday 2026-11-22 12:00 in India.
OPEN = 1_513_309_500_000
NOW = 1_795_329_000_000
SECRETS = [value for name, value in CREDENTIALS.items() if name.startswith("ZERODHA")]
MINUTE = Timeframe("1M")


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with VenueServer({}, NOW) as venue:
        yield venue


def zerodha(
    venue: VenueServer,
    home: Path,
    clock: ManualClock | None = None,
    changes: Mapping[str, str] | None = None,
    now_ms: int = NOW,
) -> Zerodha:
    clock = clock or ManualClock()
    environment = {**venue.environment(), "BARWISE_HOME": str(home), **(changes or {})}
    return Zerodha(environment, sleep=clock.sleep, clock=clock, now=lambda: now_ms / 1000)


def asked(venue: VenueServer, path: str = "/historical/") -> list[Logged]:
    return venue.log.of("ZERODHA", path)


def replying(venue: VenueServer, path: str, status: int, body: bytes | str, times: int | None = None) -> None:
    venue.faults.on(faults.answering(status, body), venue="ZERODHA", path=path, times=times)


# --- candles -----------------------------------------------------------------------------------------------------


def test_the_vendors_own_candles_are_read_to_the_last_digit(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/historical/", 200, (wire_folder() / "zerodha/historical_minute.json").read_bytes())
    page = zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + 6 * MINUTE_MS)
    rows = captured("zerodha/historical_minute.json")["data"]["candles"]
    assert page.time.tolist() == [OPEN + at * MINUTE_MS for at in range(6)]
    assert [column.tolist() for column in page[1:6]] == [[float(row[at]) for row in rows] for at in range(1, 6)]
    assert (page.open[0], page.low[3], page.volume[5]) == (1704.5, 1698.3, 802.0)
    assert page.quote_volume is None


def test_the_end_of_a_span_is_exclusive_though_kite_includes_it(server: VenueServer, tmp_path: Path) -> None:
    zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + 5 * MINUTE_MS)
    (question,) = asked(server)
    assert question.path == "/instruments/historical/738561/minute"
    assert question.query == {
        "from": "2017-12-15 09:15:00",
        "to": "2017-12-15 09:19:59",
        "continuous": "0",
        "oi": "0",
    }
    assert question.headers["X-Kite-Version"] == "3"
    assert question.headers["Authorization"] == f"token {SECRETS[0]}:{CREDENTIALS['ZERODHA_ACCESS_TOKEN']}"


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        # Midnight in India is 18:30 UTC of the day before.
        (1_735_669_800_000, 1_735_756_200_000, "2025-01-01 00:00:00", "2025-01-01 23:59:59"),
        (1_735_669_799_000, 1_735_669_800_000, "2024-12-31 23:59:59", "2024-12-31 23:59:59"),
        (1_735_669_799_001, 1_735_669_800_001, "2025-01-01 00:00:00", "2025-01-01 00:00:00"),
        (1_709_145_000_000, 1_709_231_400_000, "2024-02-29 00:00:00", "2024-02-29 23:59:59"),
    ],
)
def test_spans_are_worded_in_indian_time_at_the_edges_of_a_day_too(
    server: VenueServer, tmp_path: Path, start: int, end: int, first: str, last: str
) -> None:
    zerodha(server, tmp_path).fetch_page("RELIANCE", Timeframe("1D"), start, end)
    assert (asked(server)[0].query["from"], asked(server)[0].query["to"]) == (first, last)


@pytest.mark.parametrize(
    ("name", "word", "days"),
    [("1M", "minute", 60), ("5M", "5minute", 100), ("15M", "15minute", 200), ("30M", "30minute", 200),
     ("1H", "60minute", 400), ("1D", "day", 2000)],
)  # fmt: skip
def test_no_request_is_longer_than_the_venue_allows(
    server: VenueServer, tmp_path: Path, name: str, word: str, days: int
) -> None:
    adapter, frame = zerodha(server, tmp_path), Timeframe(name)
    assert adapter.capabilities.page_bars[name] * frame.ms == days * DAY_MS
    adapter.fetch_page("RELIANCE", frame, OPEN, OPEN + 9 * 365 * DAY_MS)  # the server refuses more than its cap
    assert asked(server)[0].path.endswith(f"/{word}")


@pytest.mark.parametrize("name", ["2H", "4H", "1W"])
def test_a_timeframe_that_is_not_served_is_refused_before_anything_is_asked(
    server: VenueServer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match="no candles of"):
        zerodha(server, tmp_path).fetch_page("RELIANCE", Timeframe(name), OPEN, OPEN + DAY_MS)
    assert len(server.log) == 0


def pages(adapter: Zerodha, symbol: str, frame: Timeframe, start: int, end: int, step_ms: int) -> list[np.ndarray]:
    """Candles of a span, in pages of so many milliseconds, cut as the downloader cuts them."""
    columns: list[list[np.ndarray]] = [[] for _ in range(6)]
    for at in range(start, end, step_ms):
        stop = min(at + step_ms, end)
        page: Page = adapter.fetch_page(symbol, frame, at, stop)
        inside = (page.time >= at) & (page.time < stop)
        for kept, column in zip(columns, page[:6], strict=True):
            assert column is not None
            kept.append(column[inside])
    return [np.concatenate(kept) for kept in columns]


@pytest.mark.parametrize("step_ms", [7 * DAY_MS, 30 * DAY_MS + 5 * MINUTE_MS, 90 * DAY_MS])
def test_real_candles_come_back_over_any_page_boundary(market_data: Path, tmp_path: Path, step_ms: int) -> None:
    served = parquet_columns(market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet")
    with VenueServer({("ZERODHA", "BSE:RELIANCE", "5M"): served}, NOW) as venue:
        start, end = int(served[0][0]), int(served[0][-1]) + 5 * MINUTE_MS
        got = pages(zerodha(venue, tmp_path), "BSE:RELIANCE", Timeframe("5M"), start, end, step_ms)
    for mine, theirs in zip(got, served, strict=False):
        assert np.array_equal(mine, theirs)


def test_real_daily_candles_are_stamped_at_midnight_in_india(market_data: Path, tmp_path: Path) -> None:
    served = parquet_columns(market_data / "nse_SBIN_1d_20191001_20260821.parquet")
    with VenueServer({("ZERODHA", "SBIN", "1D"): served}, NOW) as venue:
        start, end = int(served[0][0]), int(served[0][-1]) + DAY_MS
        got = pages(zerodha(venue, tmp_path), "SBIN", Timeframe("1D"), start, end, 2000 * DAY_MS)
        assert len(asked(venue)) == 2
    assert np.array_equal(got[0], served[0])
    assert np.array_equal(got[4], served[4])


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"status":"success","data":null}',
        '{"status":"success","data":{"candles":null}}',
        '{"status":"success","data":{"candles":[["2017-12-15T09:15:00",1,1,1,1,1]]}}',
        '{"status":"success","data":{"candles":[[1513309500,1,1,1,1,1]]}}',
        '{"status":"success","data":{"candles":[["yesterday",1,1,1,1,1]]}}',
        '{"status":"success","data":{"candles":[["2017-12-15T09:15:00+0530",1,1,1,1]]}}',
        '{"status":"success","data":{"candles":[["2017-12-15T09:15:00+0530",1,1,1,"x",1]]}}',
        '{"status":"success","data":{"candles":[["2017-12-15T09:15:00+0530",1,1,1,1,1],["2017-12-15T09:16:00+0530"]]}}',
        "[1]",
    ],
)
def test_an_answer_of_another_shape_is_a_data_error_and_never_an_empty_page(
    server: VenueServer, tmp_path: Path, body: str
) -> None:
    replying(server, "/historical/", 200, body)
    with pytest.raises(DataError, match="in a shape") as caught:
        zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert "ZERODHA_BASE_URL" in caught.value.hint


def test_an_answer_without_candles_is_an_empty_page(server: VenueServer, tmp_path: Path) -> None:
    page = zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert page.time.size == page.close.size == 0
    assert page.time.dtype == np.int64


# --- errors ------------------------------------------------------------------------------------------------------

EXPECTED = {
    "zerodha/error_InputException_unit.json": (DataError, "missing or invalid params", False),
    "zerodha/error_NetworkException_unit.json": (APIError, "oopsy doopsy network issues damn", True),
    "zerodha/error_docs_general.json": (APIError, "Error message", True),
    "zerodha/error_token.json": (CredentialError, "Incorrect `api_key` or `access_token`", False),
}


def test_the_table_has_every_recorded_error_body() -> None:
    assert set(EXPECTED) == set(captured_errors("zerodha"))


@pytest.mark.parametrize("file", list(EXPECTED))
def test_every_recorded_error_body_says_what_to_do_now(server: VenueServer, tmp_path: Path, file: str) -> None:
    kind, words, asked_again = EXPECTED[file]
    replying(server, "/historical/", captured_errors("zerodha")[file], (wire_folder() / file).read_bytes())
    clock = ManualClock()
    adapter = zerodha(server, tmp_path, clock)
    with pytest.raises(BarwiseError) as caught:
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert caught.value.hint
    assert len(asked(server)) == (4 if asked_again else 1)
    assert [wait for wait in clock.waits if wait >= 1.0] == ([1.0, 2.0, 4.0] if asked_again else [])


@pytest.mark.parametrize(
    ("status", "body", "kind", "words", "hint"),
    [
        (403, '{"status":"error","message":"Insufficient permission","error_type":"PermissionException"}',
         CredentialError, "Insufficient permission", "paid Connect plan"),
        (403, '{"status":"error","message":"Incorrect token","error_type":"TokenException"}',
         CredentialError, "Incorrect token", "06:00"),
        (400, '{"status":"error","message":"interval exceeds max limit: 60 days","error_type":"InputException"}',
         DataError, "interval exceeds max limit: 60 days", "span"),
        (404, '{"status":"error","message":"Route not found","error_type":"GeneralException"}',
         APIError, "Route not found", "ZERODHA_BASE_URL"),
        (400, '{"status":"error","message":"no such order","error_type":"OrderException"}',
         APIError, "no such order", "kite.trade/docs"),
        (400, '{"status":"error","message":"","error_type":null}', APIError, "no reason given", "kite.trade/docs"),
        (403, "<html>403 Forbidden</html>", APIError, "refuses requests", "ZERODHA_BASE_URL"),
        (502, "<html>502 Bad Gateway</html>", APIError, "not available", "status page"),
        (200, '{"status":"error","message":"half asleep","error_type":"DataException"}',
         APIError, "half asleep", "again later"),
        (200, "<html>maintenance</html>", APIError, "not JSON", "proxy"),
    ],
)  # fmt: skip
def test_other_errors_are_told_apart(
    server: VenueServer, tmp_path: Path, status: int, body: str, kind: type, words: str, hint: str
) -> None:
    replying(server, "/historical/", status, body)
    with pytest.raises(BarwiseError) as caught:
        zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_too_many_requests_is_a_rate_limit_though_kite_calls_it_a_network_problem(
    server: VenueServer, tmp_path: Path
) -> None:
    server.faults.on(faults.too_many(), venue="ZERODHA", path="/historical/", times=None)
    clock = ManualClock()
    with pytest.raises(RateLimitError) as caught:
        zerodha(server, tmp_path, clock).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "NetworkException", None)
    assert [wait for wait in clock.waits if wait >= 1.0] == [1.0, 2.0, 4.0]


def test_a_failure_that_passes_is_not_noticed(server: VenueServer, tmp_path: Path) -> None:
    server.faults.on(faults.too_many(), venue="ZERODHA", path="/historical/", times=1)
    server.faults.on(faults.failing(502, page=True), venue="ZERODHA", path="/historical/", nth=2, times=1)
    zerodha(server, tmp_path).fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert [question.status for question in asked(server)] == [429, 502, 200]


def test_no_window_of_a_second_sees_more_than_three_questions_for_candles(server: VenueServer, tmp_path: Path) -> None:
    clock = ManualClock()
    adapter = zerodha(server, tmp_path, clock)
    adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    clock.now += 10.0
    sent = []
    for _ in range(10):
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
        sent.append(clock.now)
    assert all(sent[at + 3] - sent[at] > 1.0 for at in range(7))


# --- instruments -------------------------------------------------------------------------------------------------


def test_the_vendors_own_list_is_read(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/instruments/NSE", 200, (wire_folder() / "zerodha/instruments_nse.csv").read_bytes())
    replying(server, "/historical/", 200, '{"status":"success","data":{"candles":[]}}')
    adapter = zerodha(server, tmp_path)
    market = adapter.market("NSE:JETAIRWAYS")
    assert (market.symbol, market.tick_size, market.lot_size) == ("NSE:JETAIRWAYS", 0.05, 1.0)
    adapter.fetch_page("IRFC-ND", MINUTE, OPEN, OPEN + HOUR_MS)
    assert asked(server)[0].path == "/instruments/historical/510209/minute"
    assert adapter.market("IRFC-ND").tick_size == 0.01


def test_a_bare_name_is_of_nse_and_each_exchange_has_its_own_number(server: VenueServer, tmp_path: Path) -> None:
    adapter = zerodha(server, tmp_path)
    for symbol in ("RELIANCE", "NSE:RELIANCE", "BSE:RELIANCE", "NSE:NIFTY 50"):
        adapter.fetch_page(symbol, MINUTE, OPEN, OPEN + HOUR_MS)
    numbers = [question.path.split("/")[3] for question in asked(server)]
    assert numbers == ["738561", "738561", str(500325 * 256 + 4), "256265"]
    assert [question.path for question in server.log.of("ZERODHA", "/instruments/") if "hist" not in question.path] == [
        "/instruments/NSE",
        "/instruments/BSE",
    ]


def test_the_list_is_asked_for_once_a_day_and_its_day_begins_when_it_is_published(
    server: VenueServer, tmp_path: Path
) -> None:
    day = NOW - 12 * HOUR_MS + 8 * HOUR_MS + 30 * MINUTE_MS  # 08:30 in India

    def lists(now_ms: int) -> int:
        zerodha(server, tmp_path, now_ms=now_ms).market("RELIANCE")
        return len(server.log.of("ZERODHA", "/instruments/NSE"))

    assert [lists(at) for at in (day, day + 5 * HOUR_MS, day + DAY_MS - 1)] == [1, 1, 1]
    assert lists(day + DAY_MS) == 2
    kept = sorted(path.name for path in (tmp_path / "data" / "instruments").iterdir())
    assert len(kept) == 1
    assert kept[0].startswith("ZERODHA-NSE-")
    assert kept[0].endswith("-2026-11-23.csv")


def test_one_adapter_takes_the_new_list_when_the_day_changes(server: VenueServer, tmp_path: Path) -> None:
    moments = [NOW]
    clock = ManualClock()
    environment = {**server.environment(), "BARWISE_HOME": str(tmp_path)}
    adapter = Zerodha(environment, sleep=clock.sleep, clock=clock, now=lambda: moments[0] / 1000)
    adapter.market("RELIANCE")
    moments[0] += DAY_MS
    header = "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    header += "instrument_type,segment,exchange\n"
    replying(server, "/instruments/NSE", 200, header + "77,1,RELIANCE,X,0,,0,0.1,1,EQ,NSE,NSE\n")
    replying(server, "/historical/", 200, '{"status":"success","data":{"candles":[]}}')
    adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert asked(server)[0].path == "/instruments/historical/77/minute"


@pytest.mark.parametrize("body", ["", "<html>maintenance</html>", "a,b,c\n1,2,3\n"])
def test_a_list_that_is_none_is_refused_and_not_kept(server: VenueServer, tmp_path: Path, body: str) -> None:
    replying(server, "/instruments/NSE", 200, body, times=1)
    adapter = zerodha(server, tmp_path)
    with pytest.raises(DataError, match="list of instruments cannot be used"):
        adapter.market("RELIANCE")
    assert not list(tmp_path.rglob("*.csv"))
    assert adapter.market("RELIANCE").tick_size == 0.1


def test_a_list_that_breaks_off_is_refused(server: VenueServer, tmp_path: Path) -> None:
    whole = (wire_folder() / "zerodha/instruments_nse.csv").read_bytes()
    replying(server, "/instruments/NSE", 200, whole[:-30], times=1)
    with pytest.raises(DataError, match="breaks off"):
        zerodha(server, tmp_path).market("JETAIRWAYS")


def test_a_damaged_file_of_the_day_is_fetched_again(server: VenueServer, tmp_path: Path) -> None:
    zerodha(server, tmp_path).market("RELIANCE")
    (kept,) = (tmp_path / "data" / "instruments").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert zerodha(server, tmp_path).market("RELIANCE").tick_size == 0.1
    assert len(server.log.of("ZERODHA", "/instruments/NSE")) == 2


def test_a_folder_that_cannot_be_written_costs_a_request_and_no_error(server: VenueServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    assert zerodha(server, tmp_path).market("RELIANCE").tick_size == 0.1


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("RELIANC", "no market NSE:RELIANC. Did you mean RELIANCE?"),
        ("NIFTY", "no market NSE:NIFTY. Did you mean NIFTY 50?"),
        ("NYSE:IBM", "no exchange 'NYSE'"),
        ("NSE:", "names no market"),
        ("", "names no market"),
    ],
)
def test_an_unknown_symbol_is_answered_with_the_nearest_one(
    server: VenueServer, tmp_path: Path, symbol: str, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        zerodha(server, tmp_path).market(symbol)
    assert words in caught.value.message
    assert caught.value.hint


# --- credentials and clock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "end"),
    [
        # Indian 2026-11-22 12:00, 2026-11-22 05:59:59.999, 2026-11-22 06:00, 2026-11-22 23:59.
        (NOW, NOW + 18 * HOUR_MS),
        (NOW - 6 * HOUR_MS - 1, NOW - 6 * HOUR_MS),
        (NOW - 6 * HOUR_MS, NOW + 18 * HOUR_MS),
        (NOW + 12 * HOUR_MS - MINUTE_MS, NOW + 18 * HOUR_MS),
    ],
)
def test_a_token_dies_at_the_next_six_in_the_morning_in_india(now: int, end: int) -> None:
    assert token_end_ms(now) == end


def test_a_working_token_is_reported_with_its_end(server: VenueServer, tmp_path: Path) -> None:
    check = zerodha(server, tmp_path).check_credentials()
    assert check.ok
    assert "until 2026-11-23 06:00 Indian time" in check.message
    assert server.log.orders == []


@pytest.mark.parametrize("name", ["ZERODHA_API_KEY", "ZERODHA_ACCESS_TOKEN"])
def test_a_missing_credential_is_named_before_anything_is_asked(server: VenueServer, tmp_path: Path, name: str) -> None:
    adapter = zerodha(server, tmp_path, changes={name: " "})
    check = adapter.check_credentials()
    assert not check.ok
    assert f"{name} not set" in check.message
    with pytest.raises(CredentialError, match=f"{name} is not set"):
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert len(server.log) == 0


def test_after_six_in_the_morning_the_token_is_refused_and_the_hint_says_why(
    server: VenueServer, tmp_path: Path
) -> None:
    adapter = zerodha(server, tmp_path)
    server.set_now(NOW + 18 * HOUR_MS)
    check = adapter.check_credentials()
    assert not check.ok
    with pytest.raises(CredentialError) as caught:
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert "06:00" in caught.value.hint
    assert len(asked(server)) == 1


@pytest.mark.parametrize("changes", [{}, {"ZERODHA_ACCESS_TOKEN": ""}, {"ZERODHA_ACCESS_TOKEN": "tokenOfYesterday"}])
def test_the_clock_needs_no_credential(server: VenueServer, tmp_path: Path, changes: dict[str, str]) -> None:
    server.set_now(NOW + 12_345)
    assert zerodha(server, tmp_path, changes=changes).server_time_ms() == NOW + 12_000


def test_the_login_page_names_the_key_only(server: VenueServer, tmp_path: Path) -> None:
    url = zerodha(server, tmp_path).login_url()
    assert url == f"https://kite.zerodha.com/connect/login?v=3&api_key={SECRETS[0]}"


def test_the_checksum_of_a_login_is_the_documented_one(server: VenueServer, tmp_path: Path) -> None:
    changes = {"ZERODHA_API_KEY": "kitekey0123", "ZERODHA_API_SECRET": "secretsecret42", "ZERODHA_ACCESS_TOKEN": ""}
    replying(server, "/session/token", 200, (wire_folder() / "zerodha/generate_session.json").read_bytes())
    assert zerodha(server, tmp_path, changes=changes).exchange_request_token("requesttoken9") == "XXXXXX"
    (question,) = asked(server, "/session/token")
    assert (question.method, question.raw_query) == ("POST", "")
    assert question.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert question.body.decode() == (
        "api_key=kitekey0123&request_token=requesttoken9"
        # printf 'kitekey0123requesttoken9secretsecret42' | sha256sum
        "&checksum=71f246f9a84ba7012252e4ae91ea4968c1d6baf4ffa18e3f286c3b68201360e0"
    )


def test_a_login_gives_a_token_that_works(server: VenueServer, tmp_path: Path) -> None:
    adapter = zerodha(server, tmp_path, changes={"ZERODHA_ACCESS_TOKEN": ""})
    address = "https://127.0.0.1/?action=login&status=success&request_token=loopbackRequestToken"
    token = adapter.exchange_request_token(address)
    assert token == server.zerodha.access_token
    assert token != CREDENTIALS["ZERODHA_ACCESS_TOKEN"]
    adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    assert asked(server)[0].status == 200
    with pytest.raises(CredentialError, match="invalid or has expired"):
        adapter.exchange_request_token("loopbackRequestToken")  # good for one time


@pytest.mark.parametrize("text", ["", "https://127.0.0.1/?status=cancelled", "two words", "https://x/?request_token="])
def test_what_is_no_request_token_is_never_sent(server: VenueServer, tmp_path: Path, text: str) -> None:
    with pytest.raises(CredentialError, match="no request token"):
        zerodha(server, tmp_path).exchange_request_token(text)
    assert len(server.log) == 0


def test_an_answer_to_a_login_without_a_token_is_an_error(server: VenueServer, tmp_path: Path) -> None:
    replying(server, "/session/token", 200, '{"status":"success","data":{}}')
    with pytest.raises(DataError, match="in a shape"):
        zerodha(server, tmp_path).exchange_request_token("loopbackRequestToken")


def test_no_credential_shows_in_repr_vars_errors_logs_files_or_urls(
    server: VenueServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = zerodha(server, tmp_path)
    texts = [repr(adapter), str(vars(adapter)), repr(adapter._tokens), str(adapter.check_credentials())]
    echo = '{"status":"error","message":"bad api_key=%s access_token=%s secret %s","error_type":"%s"}'
    values = tuple(CREDENTIALS[f"ZERODHA_{name}"] for name in ("API_KEY", "ACCESS_TOKEN", "API_SECRET"))
    for kind in ("TokenException", "InputException", "GeneralException", "OrderException"):
        server.faults.clear()
        replying(server, "/historical/", 400 if kind != "GeneralException" else 500, echo % (*values, kind))
        with pytest.raises(BarwiseError) as caught:
            adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
        texts.append("".join(traceback.format_exception(caught.value)))
    server.faults.clear()
    server.faults.on(faults.reset(), venue="ZERODHA", path="/historical/", times=None)
    with pytest.raises(APIError) as unreachable:
        adapter.fetch_page("RELIANCE", MINUTE, OPEN, OPEN + HOUR_MS)
    texts.append("".join(traceback.format_exception(unreachable.value)))
    fresh = adapter.exchange_request_token("loopbackRequestToken")
    texts += [f"{question.path}?{question.raw_query}" for question in server.log.requests]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    texts.append(caplog.text)
    for secret in (*SECRETS, fresh, "loopbackRequestToken"):
        assert not [text for text in texts if secret in text]


def test_tokens_are_not_copied_or_stored(server: VenueServer, tmp_path: Path) -> None:
    tokens: Any = zerodha(server, tmp_path)._tokens
    for taking in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied or stored"):
            taking(tokens)


def test_no_method_could_place_an_order(server: VenueServer, tmp_path: Path) -> None:
    adapter = zerodha(server, tmp_path)
    names = {name for name, _ in inspect.getmembers(adapter) if not name.startswith("_")}
    assert names == {
        "capabilities", "check_credentials", "client", "exchange_request_token", "fetch_page", "login_url", "market",
        "server_time_ms",
    }  # fmt: skip
