"""Delta Exchange India: every question as it goes out, every answer and error body as it comes in."""

import hashlib
import hmac
import inspect
import logging
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars
import pytest

from barwise.errors import APIError, BarwiseError, CredentialError, DataError, RateLimitError
from barwise.exchange.delta import Delta
from barwise.timeframe import HOUR_MS, MINUTE_MS, Timeframe
from tests.scripted_venue import ManualClock, Question, Reply, ScriptedVenue, captured, captured_errors, wire_folder

KEY, SECRET = "a-key-of-the-tests-for-delta", "a-secret-of-the-tests-for-delta"
KEYED = {"DELTA_API_KEY": KEY, "DELTA_API_SECRET": SECRET}

MINUTE, HOUR = Timeframe("1M"), Timeframe("1H")
CANDLES, PRODUCTS, BITCOIN, BALANCES = (
    "/v2/history/candles",
    "/v2/products",
    "/v2/products/BTCUSD",
    "/v2/wallet/balances",
)
START = 1_780_409_160_000
PRODUCT = {
    "id": 27,
    "symbol": "BTCUSD",
    "notional_type": "vanilla",
    "contract_value": "0.001",
    "tick_size": "0.5",
    "state": "live",
    "trading_status": "operational",
    "maker_commission_rate": "0.0002",
    "taker_commission_rate": "0.0005",
    "product_specs": {"rate_exchange_interval": 28800},
}


def good(result: Any) -> Reply:
    return Reply({"success": True, "result": result})


def candle(time_s: int, price: float = 1.0, volume: Any = 5) -> dict[str, Any]:
    return {"time": time_s, "open": price, "high": price, "low": price, "close": price, "volume": volume}


def delta(
    venue: ScriptedVenue, clock: ManualClock | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Delta:
    clock = clock or ManualClock()
    return Delta({"DELTA_BASE_URL": venue.url, **environment}, sleep=clock.sleep, clock=clock, now=lambda: 1.5e9)


def error_of(reply: Reply, clock: ManualClock | None = None) -> BarwiseError:
    """What a caller sees of an answer to a question for candles."""
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [reply]}) as venue, pytest.raises(BarwiseError) as caught:
        delta(venue, clock).fetch_page("BTCUSD", HOUR, START, START + HOUR_MS)
    return caught.value


# --- candles -----------------------------------------------------------------------------------------------------


def test_recorded_candles_equal_the_file_they_were_made_from(market_data: Path) -> None:
    body = captured("delta/v2_history_candles_BTCUSD_1m_reconstructed.json")
    known = polars.read_parquet(market_data / "delta_india_BTCUSD_1m_20260602_20260606.parquet")
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [Reply(body)]}) as venue:
        page = delta(venue).fetch_page("BTCUSD", MINUTE, START, START + 60 * MINUTE_MS)
    known = known.filter(polars.col("time").is_in(page.time.tolist())).sort("time", descending=True)
    assert page.time.size == known.height == len(body["result"])
    assert page.quote_volume is None
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert getattr(page, name).tolist() == known[name].to_list()


def test_contracts_become_base_units_without_a_rounding_error(market_data: Path) -> None:
    known = polars.read_parquet(market_data / "delta_india_BTCUSD_1m_20260602_20260606.parquet").head(1900)
    rows = [candle(at // 1000, volume=contracts) for at, contracts in known.select("time", "volume_contracts").rows()]
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good(rows)]}) as venue:
        page = delta(venue).fetch_page("BTCUSD", MINUTE, START, START + 1900 * MINUTE_MS)
    assert page.volume.tolist() == known["volume"].to_list()


def test_seconds_are_asked_for_and_the_end_of_a_span_is_exclusive() -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good([])]}) as venue:
        page = delta(venue).fetch_page("BTCUSD", MINUTE, START, START + 10 * MINUTE_MS)
    assert page.time.size == page.volume.size == 0
    assert venue.paths == [BITCOIN, CANDLES]
    assert venue.asked[1].query == {
        "symbol": "BTCUSD",
        "resolution": "1m",
        "start": str(START // 1000),
        "end": str(START // 1000 + 599),
    }
    assert {question.headers["User-Agent"] for question in venue.asked} == {"barwise"}
    assert "api-key" not in venue.asked[1].headers


def test_no_more_than_1900_candles_are_asked_for_at_once() -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good([])]}) as venue:
        delta(venue).fetch_page("BTCUSD", HOUR, 0, 9999 * HOUR_MS)
    assert int(venue.asked[1].query["end"]) == 1900 * 3600 - 1
    assert set(Delta.capabilities.page_bars.values()) == {1900}


def test_a_product_is_looked_up_once_for_all_its_pages() -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good([])]}) as venue:
        adapter = delta(venue)
        for _ in range(3):
            adapter.fetch_page("BTCUSD", HOUR, START, START + HOUR_MS)
    assert venue.paths == [BITCOIN, CANDLES, CANDLES, CANDLES]
    assert adapter.client.limiter.used * 9000 == pytest.approx(12)


def test_a_week_is_refused_because_nobody_says_when_it_opens() -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT)]}) as venue, pytest.raises(DataError, match="no candles of 1W"):
        delta(venue).fetch_page("BTCUSD", Timeframe("1W"), START, START + HOUR_MS)
    assert not Delta.capabilities.serves(Timeframe("1W"))


def test_a_minute_without_a_trade_is_left_out_and_a_flat_one_is_kept() -> None:
    silent = candle(START // 1000) | {"open": None, "high": None, "low": None, "close": None, "volume": 0}
    rows = [candle(START // 1000 + 60, volume=0), silent]
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good(rows)]}) as venue:
        page = delta(venue).fetch_page("BTCUSD", MINUTE, START, START + 2 * MINUTE_MS)
    assert page.time.tolist() == [START + MINUTE_MS]
    assert page.volume.tolist() == [0.0]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"success": True},
        {"success": True, "result": None},
        {"success": True, "result": {}},
        {"success": True, "result": [1]},
        {"success": True, "result": [{"time": 1}]},
        {"success": True, "result": [candle(1) | {"time": "1"}]},
        {"success": True, "result": [candle(1) | {"open": "much"}]},
        {"success": True, "result": [candle(1, volume=None)]},
    ],
)
def test_an_answer_of_another_shape_is_a_data_error_and_never_an_empty_page(body: Any) -> None:
    error = error_of(Reply(body))
    assert isinstance(error, DataError)
    assert "DELTA_BASE_URL" in error.hint


@pytest.mark.parametrize("body", [b"", b'{"success":true,"result":[{"ti', b"<html>maintenance</html>"])
def test_a_broken_answer_is_asked_for_again_and_then_an_error(body: bytes) -> None:
    clock = ManualClock()
    assert isinstance(error_of(Reply(body), clock), APIError)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_an_inverse_contract_is_refused_and_the_global_venue_suspected() -> None:
    inverse = captured("delta/v2_products_reduced.json")["result"]
    product = next(item for item in inverse if item["symbol"] == "BTCUSD")
    with ScriptedVenue({BITCOIN: [good(product)]}) as venue, pytest.raises(DataError, match="inverse") as caught:
        delta(venue).fetch_page("BTCUSD", HOUR, START, START + HOUR_MS)
    assert "DELTA_BASE_URL" in caught.value.hint


def test_mark_price_candles_have_no_volume() -> None:
    row = candle(START // 1000, 100.5)
    del row["volume"]
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good([row])]}) as venue:
        page = delta(venue).mark_page("BTCUSD", HOUR, START, START + HOUR_MS)
    assert (page.open[0], page.volume[0]) == (100.5, 0.0)
    assert venue.asked[1].query["symbol"] == "MARK:BTCUSD"


# --- funding, markets, clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval_s", "paid_at"), [(28800, [0, 8, 16]), (14400, [0, 4, 8, 12, 16, 20]), (None, [0, 8, 16])]
)
def test_funding_is_the_close_of_the_hour_before_it_is_paid(interval_s: int | None, paid_at: list[int]) -> None:
    midnight = 1_780_358_400
    product = PRODUCT | {"product_specs": {"rate_exchange_interval": interval_s} if interval_s else None}
    hours = [candle(midnight + hour * 3600, hour / 100) for hour in range(23, -3, -1)]
    with ScriptedVenue({BITCOIN: [good(product)], CANDLES: [good(hours)]}) as venue:
        paid = delta(venue).funding_page("BTCUSD", midnight * 1000, (midnight + 86_400) * 1000)
    # The hour that opens at 7:00 closes with 0.07 percent, which is paid at 8:00.
    assert paid == [((midnight + at * 3600) * 1000, (at - 1) / 100 / 100) for at in paid_at]
    assert venue.asked[1].query == {
        "symbol": "FUNDING:BTCUSD",
        "resolution": "1h",
        "start": str(midnight - 3600),
        "end": str(midnight + 86_400 - 1),
    }


def test_candles_at_the_instants_of_payment_alone_are_the_payments() -> None:
    midnight = 1_780_358_400
    rows = [candle(midnight + hour * 3600, hour / 100) for hour in (16, 8, 0)]
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good(rows)]}) as venue:
        paid = delta(venue).funding_page("BTCUSD", midnight * 1000, (midnight + 86_400) * 1000)
    assert paid == [((midnight + hour * 3600) * 1000, hour / 100 / 100) for hour in (0, 8, 16)]


def test_the_longest_funding_span_fits_into_one_page() -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [good([])]}) as venue:
        assert delta(venue).funding_page("BTCUSD", START, START + Delta.funding_page_ms) == []
    assert int(venue.asked[1].query["end"]) == (START + Delta.funding_page_ms - 1) // 1000


def test_a_documented_product_becomes_a_market() -> None:
    with ScriptedVenue({BITCOIN: [Reply(captured("delta/v2_product_docs.json"))]}) as venue:
        market = delta(venue).market("BTCUSD")
    assert (market.tick_size, market.contract_size, market.lot_size) == (0.5, 0.001, 0.001)
    assert (market.maker_fee, market.taker_fee, market.status) == (0.0002, 0.0005, "live")


def test_a_market_that_is_halted_says_so() -> None:
    halted = PRODUCT | {"trading_status": "disrupted_cancel_only"}
    with ScriptedVenue({BITCOIN: [good(halted)]}) as venue:
        assert delta(venue).market("BTCUSD").status == "disrupted_cancel_only"


@pytest.mark.parametrize(
    "change",
    [{"tick_size": "much"}, {"contract_value": "0"}, {"contract_value": None}, {"state": None, "tick_size": None}],
)
def test_a_product_without_its_numbers_is_a_data_error(change: dict[str, Any]) -> None:
    with ScriptedVenue({BITCOIN: [good(PRODUCT | change)]}) as venue, pytest.raises(DataError, match="shape"):
        delta(venue).market("BTCUSD")


def test_a_list_of_products_of_another_shape_is_a_data_error() -> None:
    with ScriptedVenue({PRODUCTS: [good([{}])]}) as venue, pytest.raises(DataError, match="shape"):
        delta(venue).symbols()


def test_symbols_follow_the_cursor_to_the_last_page() -> None:
    first = {"success": True, "result": [{"symbol": "BTCUSD"}], "meta": {"after": "next-page"}}
    last = {"success": True, "result": [{"symbol": "ETHUSD"}], "meta": {"after": None}}
    with ScriptedVenue({PRODUCTS: [Reply(first), Reply(last)]}) as venue:
        assert delta(venue).symbols() == ["BTCUSD", "ETHUSD"]
    assert [question.query for question in venue.asked] == [
        {"page_size": "500"},
        {"page_size": "500", "after": "next-page"},
    ]


@pytest.mark.parametrize(
    "answer",
    [
        Reply({"success": False, "error": {"code": "not_found"}}, 404),
        Reply({"success": False, "error": {"code": "bad_schema"}}, 400),
        Reply({"success": False, "error": {"code": "invalid_contract"}}, 400),
        good(None),
    ],
)
def test_an_unknown_symbol_is_answered_with_the_nearest_one(answer: Reply) -> None:
    listed = good([{"symbol": "BTCUSD"}, {"symbol": "ETHUSD"}])
    script = {"/v2/products/BTCUSDT": [answer], PRODUCTS: [listed]}
    with ScriptedVenue(script) as venue, pytest.raises(DataError, match=r"no product BTCUSDT\. Did you mean BTCUSD\?"):
        delta(venue).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)


def test_a_symbol_that_is_listed_keeps_the_venues_own_words() -> None:
    refused = Reply({"success": False, "error": {"code": "bad_schema"}}, 400)
    script = {BITCOIN: [refused], PRODUCTS: [good([{"symbol": "BTCUSD"}])]}
    with ScriptedVenue(script) as venue, pytest.raises(DataError, match="bad_schema"):
        delta(venue).market("BTCUSD")


def test_the_venues_clock_is_the_date_header_and_the_age_of_a_cached_answer() -> None:
    fresh = Reply(b"{}", headers={"Date": "Sun, 22 Nov 2026 21:33:00 GMT"})
    cached = Reply(b"{}", headers={"Date": "Sun, 22 Nov 2026 21:33:00 GMT", "Age": "4"})
    with ScriptedVenue({BITCOIN: [fresh, cached]}) as venue:
        adapter = delta(venue)
        assert adapter.server_time_ms() == 1_795_383_180_000
        assert adapter.server_time_ms() == 1_795_383_184_000


def test_an_answer_without_a_date_is_a_data_error() -> None:
    with ScriptedVenue({BITCOIN: [Reply(b"{}")]}) as venue, pytest.raises(DataError):
        delta(venue).server_time_ms()


# --- limits and errors -------------------------------------------------------------------------------------------


def test_the_reset_of_a_limit_is_read_as_milliseconds() -> None:
    clock = ManualClock()
    limited = Reply({"success": False, "error": {"code": "too_many_requests"}}, 429, {"X-RATE-LIMIT-RESET": "42500"})
    with ScriptedVenue({BITCOIN: [good(PRODUCT)], CANDLES: [limited, good([])]}) as venue:
        delta(venue, clock).fetch_page("BTCUSD", HOUR, START, START + HOUR_MS)
    assert clock.waits == [42.5]


def test_a_reset_that_is_too_far_away_is_told_instead_of_waited_for() -> None:
    clock = ManualClock()
    error = error_of(Reply(b"", 429, {"X-RATE-LIMIT-RESET": "240000"}), clock)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 240.0
    assert clock.waits == []


def test_a_limit_without_a_reset_is_retried_after_1_2_and_4_seconds() -> None:
    clock = ManualClock()
    assert isinstance(error_of(Reply(b"", 429), clock), RateLimitError)
    assert clock.waits == [1.0, 2.0, 4.0]


CAPTURED: dict[str, tuple[type[BarwiseError], str, bool]] = {
    "delta/error_forbidden_cdn.json": (APIError, "DELTA_BASE_URL", False),
    "delta/error_insufficient_margin.json": (APIError, "documentation", False),
    "delta/error_invalid_api_key.json": (CredentialError, "Delta Exchange India", False),
    "delta/error_ip_not_whitelisted.json": (CredentialError, "address", False),
    "delta/error_unavailable.json": (APIError, "later", True),
}


def test_no_captured_error_body_is_left_out_of_the_table() -> None:
    assert set(CAPTURED) == set(captured_errors("delta"))


@pytest.mark.parametrize("file", CAPTURED)
def test_captured_error_body_becomes_an_error_with_a_next_step(file: str) -> None:
    kind, hint, retried = CAPTURED[file]
    clock = ManualClock()
    error = error_of(Reply((wire_folder() / file).read_bytes(), captured_errors("delta")[file]), clock)
    assert type(error) is kind
    assert hint in error.hint
    assert bool(clock.waits) is retried


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint", "retried"),
    [
        (401, {"error": "SignatureExpired", "message": "your signature has expired"}, APIError, "clock", False),
        (401, {"error": "InvalidApiKey", "message": "Api Key not found"}, CredentialError, "India", False),
        (401, {"error": "UnauthorizedApiAccess", "message": "no"}, CredentialError, "reading rights", False),
        (401, {"success": False, "error": {"code": "Signature Mismatch"}}, CredentialError, "API_SECRET", False),
        (401, {"success": False, "error": {"code": "something_new"}}, CredentialError, "reading rights", False),
        (400, {"success": False, "error": {"code": "bad_schema", "context": {}}}, DataError, "BTCUSD", False),
        (200, {"success": False, "error": {"code": "bad_schema"}}, DataError, "BTCUSD", False),
        (200, {"success": False}, APIError, "documentation", False),
        (200, {"error": "unavailable"}, APIError, "later", True),
        (500, {"success": False, "error": {"code": "something_new"}}, APIError, "later", True),
        (503, b"<html>503</html>", APIError, "later", True),
        (403, b"<html>CloudFront</html>", APIError, "country", False),
        (404, b"<html>404</html>", APIError, "DELTA_BASE_URL", False),
    ],
)
def test_both_shapes_of_an_error_and_none_become_an_error_with_a_next_step(
    status: int, body: Any, kind: type[BarwiseError], hint: str, retried: bool
) -> None:
    clock = ManualClock()
    error = error_of(Reply(body, status), clock)
    assert type(error) is kind
    assert hint in error.hint
    assert bool(clock.waits) is retried


# --- credentials -------------------------------------------------------------------------------------------------


def test_each_try_of_a_signed_question_has_its_own_timestamp_in_seconds() -> None:
    moments = iter([1_500_000_000.9, 1_500_000_007.1])
    clock = ManualClock()
    with ScriptedVenue({BALANCES: [Reply(b"", 500), Reply(captured("delta/v2_wallet_balances_docs.json"))]}) as venue:
        settings = {"DELTA_BASE_URL": venue.url, **KEYED}
        assert Delta(settings, sleep=clock.sleep, clock=clock, now=lambda: next(moments)).check_credentials().ok
    assert [question.headers["timestamp"] for question in venue.asked] == ["1500000000", "1500000007"]
    for question in venue.asked:
        text = f"GET{question.headers['timestamp']}{BALANCES}"
        assert question.headers["api-key"] == KEY
        assert question.headers["signature"] == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert question.raw_query == ""


def test_without_a_key_the_check_says_that_none_is_needed() -> None:
    with ScriptedVenue({}) as venue:
        check = delta(venue).check_credentials()
    assert check.ok
    assert "need no key" in check.message
    assert venue.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "error": {"code": "invalid_api_key"}},
        {"error": "SignatureExpired", "message": "your signature has expired"},
    ],
)
def test_a_rejected_key_fails_the_check_with_a_next_step(body: Any) -> None:
    with ScriptedVenue({BALANCES: [Reply(body, 401)]}) as venue:
        check = delta(venue, environment=KEYED).check_credentials()
    assert not check.ok
    assert "hint:" in check.message


def test_a_check_that_could_not_be_made_is_an_error_and_not_a_bad_key() -> None:
    with ScriptedVenue({BALANCES: [Reply(b"", 403)]}) as venue, pytest.raises(APIError):
        delta(venue, environment=KEYED).check_credentials()


def test_no_secret_shows_in_any_error_log_line_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def echo(question: Question) -> Reply:
        told = f"{question.headers.get('api-key')} {SECRET} {question.headers.get('signature')}"
        return Reply({"error": "SomethingNew", "message": told}, statuses[0])

    statuses = [200, 400, 401, 403, 404, 429, 500]
    while statuses:
        clock = ManualClock()
        with ScriptedVenue({BALANCES: echo}) as venue:
            adapter = delta(venue, clock, KEYED)
            try:
                seen.append(repr(adapter.check_credentials()))
            except BarwiseError as error:
                seen += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
            seen += [repr(adapter), repr(adapter._keys)]
        del statuses[0]
    assert len(seen) > 20
    seen += [record.getMessage() for record in caplog.records]
    assert not [line for line in seen if SECRET in line or KEY in line]


def test_every_question_is_a_get_of_a_path_that_only_reads() -> None:
    source = Path(inspect.getfile(Delta)).read_text()
    assert set(re.findall(r'"(/v\d[^"]*)"', source)) == {CANDLES, PRODUCTS, BALANCES}
    assert set(re.findall(r'"(GET|POST|PUT|DELETE|PATCH)"', source)) == {"GET"}
