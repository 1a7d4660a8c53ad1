"""Binance, spot and USD-M: every question as it goes out, every answer and error body as it comes in."""

import copy
import hashlib
import hmac
import inspect
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from barwise.errors import APIError, BarwiseError, CredentialError, DataError, RateLimitError
from barwise.exchange.binance import Binance, BinanceFutures
from barwise.exchange.signing import Keys, SignedQuery
from barwise.timeframe import HOUR_MS, Timeframe
from tests.scripted_venue import ManualClock, Question, Reply, ScriptedVenue, captured, captured_errors, wire_folder

# The example of Binance's own documentation ("SIGNED Endpoint Examples"), published and worthless.
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
KEYED = {"BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": SECRET}

HOUR = Timeframe("1H")
KLINES, UM_KLINES, ACCOUNT = "/api/v3/klines", "/fapi/v1/klines", "/api/v3/account"
START = 1_672_516_800_000  # 2022-12-31 20:00 UTC


def spot(
    venue: ScriptedVenue, clock: ManualClock | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Binance:
    clock = clock or ManualClock()
    return Binance({"BINANCE_BASE_URL": venue.url, **environment}, sleep=clock.sleep, clock=clock, now=lambda: 1.5e9)


def futures(
    venue: ScriptedVenue, clock: ManualClock | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> BinanceFutures:
    clock = clock or ManualClock()
    settings = {"BINANCE_FUTURES_BASE_URL": venue.url, **environment}
    return BinanceFutures(settings, sleep=clock.sleep, clock=clock, now=lambda: 1.5e9)


def error_of(reply: Reply, clock: ManualClock | None = None) -> BarwiseError:
    """What a caller sees of an answer to a question for candles."""
    with ScriptedVenue({KLINES: [reply]}) as venue, pytest.raises(BarwiseError) as caught:
        spot(venue, clock).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    return caught.value


# --- candles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "timeframe"),
    [
        ("binance/spot_klines_BTCUSDT_1h_176.json", "1H"),
        ("binance/spot_klines_BTCUSDT_1m_60.json", "1M"),
        ("binance/spot_klines_BTCUSDT_5m_limit24.json", "5M"),
        ("binance/spot_klines_BTCUSDT_1d_2019.json", "1D"),
    ],
)
def test_recorded_spot_klines_are_read_to_the_last_digit(file: str, timeframe: str) -> None:
    rows = captured(file)
    with ScriptedVenue({KLINES: [Reply(rows)]}) as venue:
        page = spot(venue).fetch_page("BTCUSDT", Timeframe(timeframe), rows[0][0], rows[-1][0] + 1)
    assert page.time.tolist() == [row[0] for row in rows]
    assert page.quote_volume is not None
    for at, column in ((1, page.open), (2, page.high), (3, page.low), (4, page.close), (5, page.volume)):
        assert column.tolist() == [float(row[at]) for row in rows]
        assert column.dtype == np.float64
    assert page.quote_volume.tolist() == [float(row[7]) for row in rows]


def test_recorded_futures_klines_are_read_to_the_last_digit() -> None:
    rows = captured("binance/um_klines_LTCUSDT_5m_500.json")
    with ScriptedVenue({UM_KLINES: [Reply(rows)]}) as venue:
        page = futures(venue).fetch_page("LTCUSDT", Timeframe("5M"), rows[0][0], rows[-1][0] + 1)
    assert page.quote_volume is not None
    assert page.time.tolist() == [row[0] for row in rows]
    assert page.close.tolist() == [float(row[4]) for row in rows]
    assert page.quote_volume.tolist() == [float(row[7]) for row in rows]


def test_an_answer_without_candles_is_an_empty_page() -> None:
    with ScriptedVenue({KLINES: [Reply([])]}) as venue:
        page = spot(venue).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert page.time.size == page.close.size == 0


def test_the_end_of_a_span_is_exclusive_though_binance_includes_it() -> None:
    with ScriptedVenue({KLINES: [Reply([])]}) as venue:
        spot(venue).fetch_page("BTCUSDT", HOUR, START, START + 10 * HOUR_MS)
    assert venue.asked[0].query == {
        "symbol": "BTCUSDT",
        "interval": "1h",
        "startTime": str(START),
        "endTime": str(START + 10 * HOUR_MS - 1),
        "limit": "1000",
    }
    assert venue.asked[0].headers["User-Agent"] == "barwise"
    assert "X-MBX-APIKEY" not in venue.asked[0].headers


@pytest.mark.parametrize("name", Timeframe.names())
def test_one_minute_is_never_asked_for_as_a_month(name: str) -> None:
    with ScriptedVenue({KLINES: [Reply([])]}) as venue:
        spot(venue).fetch_page("BTCUSDT", Timeframe(name), START, START + HOUR_MS)
    assert venue.asked[0].query["interval"] == {"1M": "1m", "1H": "1h", "1D": "1d", "1W": "1w"}.get(name, name.lower())


@pytest.mark.parametrize(
    ("bars", "limit", "weight"), [(1, 1, 1), (99, 99, 1), (100, 100, 2), (499, 499, 2), (500, 500, 5), (9999, 1000, 5)]
)
def test_a_futures_page_costs_the_weight_of_the_rows_it_asks_for(bars: int, limit: int, weight: int) -> None:
    with ScriptedVenue({UM_KLINES: [Reply([])]}) as venue:
        venue_client = futures(venue)
        venue_client.fetch_page("BTCUSDT", HOUR, START, START + bars * HOUR_MS)
    assert venue.asked[0].query["limit"] == str(limit)
    assert venue_client.client.limiter.used * 2160 == pytest.approx(weight)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1, 2],
        [["1672516800000", "1", "1", "1", "1", "1", 0, "1"]],
        [[1672516800000, "1", "1", "1", "1", "1"]],
        [[1672516800000, "one", "1", "1", "1", "1", 0, "1"]],
        [[1672516800000, "1", "1", "1", "1", "1", 0, "1"], [1672520400000, "1"]],
        [{"t": 1}],
    ],
)
def test_an_answer_of_another_shape_is_a_data_error_and_never_an_empty_page(body: Any) -> None:
    error = error_of(Reply(body))
    assert isinstance(error, DataError)
    assert "BINANCE_BASE_URL" in error.hint


@pytest.mark.parametrize("body", [b"", b"[[1672516800000,", b"<html>maintenance</html>"])
def test_a_broken_answer_is_asked_for_again_and_then_an_error(body: bytes) -> None:
    clock = ManualClock()
    assert isinstance(error_of(Reply(body), clock), APIError)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_mark_price_candles_have_no_volume() -> None:
    row = [START, "100.5", "101", "100", "100.7", "0", START + HOUR_MS - 1, "0", 3600, "0", "0", "0"]
    with ScriptedVenue({"/fapi/v1/markPriceKlines": [Reply([row])]}) as venue:
        page = futures(venue).mark_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert (page.open[0], page.volume[0], page.quote_volume) == (100.5, 0.0, None)


# --- funding, markets, fees, clock -------------------------------------------------------------------------------


def test_funding_times_are_whole_minutes_and_rates_fractions() -> None:
    rows = captured("binance/um_fundingRate_BTCUSDT_100.json")
    with ScriptedVenue({"/fapi/v1/fundingRate": [Reply(rows)]}) as venue:
        paid = futures(venue).funding_page("BTCUSDT", 1_600_128_000_000, 1_603_000_000_000)
    assert len(paid) == len(rows) == 100
    assert paid[1] == (1_600_156_800_000, -0.00002796)  # came as ...810
    assert all(at % (8 * HOUR_MS) == 0 for at, _ in paid)
    assert venue.asked[0].query == {
        "symbol": "BTCUSDT",
        "startTime": "1600128000000",
        "endTime": "1602999999999",
        "limit": "1000",
    }


def test_funding_does_not_spend_the_weight_of_candles() -> None:
    with ScriptedVenue({"/fapi/v1/fundingRate": [Reply([])]}) as venue:
        adapter = futures(venue)
        adapter.funding_page("BTCUSDT", START, START + HOUR_MS)
    assert adapter.client.limiter.used == 0.0


def test_spot_filters_become_a_market() -> None:
    body = captured("binance/spot_exchangeInfo_reduced.json")
    with ScriptedVenue({"/api/v3/exchangeInfo": [Reply(body)]}) as venue:
        adapter = spot(venue)
        bitcoin, broken = adapter.market("BTCUSDT"), adapter.market("BCCBTC")
    assert (bitcoin.tick_size, bitcoin.lot_size, bitcoin.min_notional) == (0.01, 0.00001, 10.0)
    assert (bitcoin.status, broken.status, bitcoin.contract_size) == ("TRADING", "BREAK", 1.0)
    assert bitcoin.maker_fee is None
    assert venue.asked[0].query == {"symbol": "BTCUSDT"}


@pytest.mark.parametrize("body", [{}, [], {"symbols": [{"symbol": "BTCUSDT"}]}, {"symbols": [{}]}])
def test_filters_of_another_shape_are_a_data_error(body: Any) -> None:
    with ScriptedVenue({"/api/v3/exchangeInfo": [Reply(body)]}) as venue, pytest.raises(DataError, match="shape"):
        spot(venue).market("BTCUSDT")


@pytest.mark.parametrize("body", [{}, [1], [{"fundingTime": 1}], [{"fundingTime": 1, "fundingRate": "high"}]])
def test_funding_of_another_shape_is_a_data_error(body: Any) -> None:
    with ScriptedVenue({"/fapi/v1/fundingRate": [Reply(body)]}) as venue, pytest.raises(DataError, match="shape"):
        futures(venue).funding_page("BTCUSDT", START, START + HOUR_MS)


def test_the_younger_notional_filter_is_read_as_well() -> None:
    body = copy.deepcopy(captured("binance/spot_exchangeInfo_reduced.json"))
    for market in body["symbols"]:
        for item in market["filters"]:
            if item["filterType"] == "MIN_NOTIONAL":
                item.update(filterType="NOTIONAL", minNotional="5.0", maxNotional="9000000")
    with ScriptedVenue({"/api/v3/exchangeInfo": [Reply(body)]}) as venue:
        assert spot(venue).market("BTCUSDT").min_notional == 5.0


def test_futures_filters_become_a_market() -> None:
    body = captured("binance/um_exchangeInfo_reduced.json")
    with ScriptedVenue({"/fapi/v1/exchangeInfo": [Reply(body)]}) as venue:
        market = futures(venue).market("ETHUSDT")
    assert (market.tick_size, market.lot_size, market.min_notional) == (0.01, 0.001, 5.0)


@pytest.mark.parametrize(
    "question",
    [
        lambda adapter: adapter.market("BTC-USDT"),
        lambda adapter: adapter.fetch_page("BTC-USDT", HOUR, START, START + HOUR_MS),
    ],
)
def test_an_unknown_symbol_is_answered_with_the_nearest_one(question: Callable[[Binance], object]) -> None:
    unknown = Reply(captured("binance/error_1121_invalid_symbol.json"), 400)
    listed = Reply([{"symbol": "BTCUSDT", "price": "1"}, {"symbol": "ETHUSDT", "price": "1"}])
    script = {KLINES: [unknown], "/api/v3/exchangeInfo": [unknown], "/api/v3/ticker/price": [listed]}
    with ScriptedVenue(script) as venue, pytest.raises(DataError) as caught:
        question(spot(venue))
    assert "has no market BTC-USDT. Did you mean BTCUSDT?" in caught.value.message
    assert "BINANCE_UM" in caught.value.hint


def test_a_symbol_with_a_separator_is_answered_with_the_one_without() -> None:
    said = "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
    script = {
        KLINES: [Reply({"code": -1100, "msg": said}, 400)],
        "/api/v3/ticker/price": [Reply([{"symbol": "BTCUSDT"}])],
    }
    with ScriptedVenue(script) as venue, pytest.raises(DataError, match=r"no market BTC/USDT\. Did you mean BTCUSDT\?"):
        spot(venue).fetch_page("BTC/USDT", HOUR, START, START + HOUR_MS)


def test_an_unknown_symbol_is_named_even_when_the_list_of_symbols_cannot_be_had() -> None:
    unknown = Reply(captured("binance/error_1121_invalid_symbol.json"), 400)
    with ScriptedVenue({KLINES: [unknown]}) as venue, pytest.raises(DataError, match="no market NOPE"):
        spot(venue).fetch_page("NOPE", HOUR, START, START + HOUR_MS)


def test_an_unknown_future_is_answered_with_the_nearest_one() -> None:
    body = captured("binance/um_exchangeInfo_reduced.json")
    with (
        ScriptedVenue({"/fapi/v1/exchangeInfo": [Reply(body)]}) as venue,
        pytest.raises(DataError, match="Did you mean BTCUSDT"),
    ):
        futures(venue).market("BTCUSD")


@pytest.mark.parametrize(
    ("make", "path", "file", "expected"),
    [
        (spot, "/api/v3/time", "binance/spot_time.json", 1_633_835_466_289),
        (futures, "/fapi/v1/time", "binance/um_time.json", 1_620_099_477_465),
    ],
)
def test_the_venues_clock_is_read_to_the_millisecond(
    make: Callable[[ScriptedVenue], Binance], path: str, file: str, expected: int
) -> None:
    with ScriptedVenue({path: [Reply(captured(file))]}) as venue:
        assert make(venue).server_time_ms() == expected


def test_a_clock_that_says_nothing_is_a_data_error() -> None:
    with ScriptedVenue({"/api/v3/time": [Reply({})]}) as venue, pytest.raises(DataError):
        spot(venue).server_time_ms()


def test_spot_fees_are_the_sum_of_all_rates_without_the_rebate() -> None:
    body = {
        "symbol": "BTCUSDT",
        "standardCommission": {"maker": "0.0010", "taker": "0.0012", "buyer": "0", "seller": "0.0001"},
        "taxCommission": {"maker": "0.0002", "taker": "0.0003", "buyer": "0", "seller": "0"},
        "discount": {"enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.75"},
    }
    with ScriptedVenue({"/api/v3/account/commission": [Reply(body)]}) as venue:
        assert spot(venue, environment=KEYED).commission("BTCUSDT") == pytest.approx((0.0013, 0.0016))


def test_futures_fees_are_the_accounts_own() -> None:
    body = {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0004"}
    with ScriptedVenue({"/fapi/v1/commissionRate": [Reply(body)]}) as venue:
        assert futures(venue, environment=KEYED).commission("BTCUSDT") == (0.0002, 0.0004)


# --- limits ------------------------------------------------------------------------------------------------------


def test_a_limited_request_waits_as_long_as_the_venue_says() -> None:
    clock = ManualClock()
    limited = Reply(captured("binance/error_1003_429.json"), 429, {"Retry-After": "37"})
    with ScriptedVenue({KLINES: [limited, Reply([])]}) as venue:
        spot(venue, clock).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert clock.waits == [37.0]
    assert len(venue.asked) == 2


def test_a_limit_without_a_stated_pause_is_waited_out_for_its_minute() -> None:
    clock = ManualClock()
    limited = Reply(captured("binance/error_1003_429.json"), 429)
    with ScriptedVenue({KLINES: [limited, Reply([])]}) as venue:
        spot(venue, clock).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert clock.waits == [60.0]


def test_418_is_never_retried_and_nothing_is_asked_until_it_is_over() -> None:
    clock = ManualClock()
    body = {"code": -1003, "msg": "Way too much request weight used; IP banned until 1763850000000."}
    with ScriptedVenue({KLINES: [Reply(body, 418, {"Retry-After": "125"}), Reply([])]}) as venue:
        adapter = spot(venue, clock)
        with pytest.raises(RateLimitError) as first:
            adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
        assert (first.value.status, first.value.retry_after, len(venue.asked)) == (418, 125.0, 1)
        clock.now += 100.0
        with pytest.raises(RateLimitError) as second:
            adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
        assert (second.value.retry_after, len(venue.asked)) == (25.0, 1)
        clock.now += 26.0
        assert adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS).time.size == 0
    assert clock.waits == []


def test_a_failure_that_passes_is_retried_after_1_2_and_4_seconds() -> None:
    clock = ManualClock()
    with ScriptedVenue({KLINES: [*[Reply(b"<html>502</html>", 502)] * 3, Reply([])]}) as venue:
        spot(venue, clock).fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_the_venues_own_count_of_weight_replaces_ours_where_it_is_higher() -> None:
    reply = Reply([], headers={"X-MBX-USED-WEIGHT-1M": "5398"})
    clock = ManualClock()
    with ScriptedVenue({KLINES: [reply, Reply([])]}) as venue:
        adapter = spot(venue, clock)
        adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
        adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
        assert clock.waits == []
        adapter.fetch_page("BTCUSDT", HOUR, START, START + HOUR_MS)
    assert clock.waits == [60.0]


# --- errors ------------------------------------------------------------------------------------------------------

CAPTURED: dict[str, tuple[type[BarwiseError], str, bool]] = {
    "binance/error_1003_429.json": (RateLimitError, "run the same command again", True),
    "binance/error_1021_timestamp.json": (APIError, "clock is wrong", False),
    "binance/error_1121_invalid_symbol.json": (DataError, "upper case", False),
    "binance/error_2015_rejected_key.json": (CredentialError, "reading is enough", False),
}


def test_no_captured_error_body_is_left_out_of_the_table() -> None:
    assert set(CAPTURED) == set(captured_errors("binance"))


@pytest.mark.parametrize("file", CAPTURED)
def test_captured_error_body_becomes_an_error_with_a_next_step(file: str) -> None:
    kind, hint, retried = CAPTURED[file]
    clock = ManualClock()
    error = error_of(Reply((wire_folder() / file).read_bytes(), captured_errors("binance")[file]), clock)
    assert type(error) is kind
    assert hint in error.hint
    assert bool(clock.waits) is retried


@pytest.mark.parametrize(
    ("code", "status", "kind", "hint", "retried"),
    [
        (-1000, 500, APIError, "again later", True),
        (-1001, 500, APIError, "again later", True),
        (-1007, 504, APIError, "again later", True),
        (-1008, 503, APIError, "again later", True),
        (-3999, 500, APIError, "again later", True),
        (-1002, 401, CredentialError, "Enable Reading", False),
        (-1021, 400, APIError, "clock is wrong", False),
        (-1022, 400, CredentialError, "BINANCE_API_SECRET does not belong", False),
        (-1100, 400, DataError, "upper case", False),
        (-1102, 400, DataError, "upper case", False),
        (-1104, 400, DataError, "upper case", False),
        (-1120, 400, DataError, "upper case", False),
        (-1130, 400, DataError, "upper case", False),
        (-2014, 400, CredentialError, "Enable Reading", False),
        (-2015, 401, CredentialError, "Enable Reading", False),
        (-9999, 400, APIError, "list of errors", False),
    ],
)
def test_every_code_becomes_an_error_with_a_next_step(
    code: int, status: int, kind: type[BarwiseError], hint: str, retried: bool
) -> None:
    clock = ManualClock()
    error = error_of(Reply({"code": code, "msg": "What Binance says."}, status), clock)
    assert type(error) is kind
    assert hint in error.hint
    assert f"What Binance says (code {code}" in error.message
    assert bool(clock.waits) is retried
    if isinstance(error, APIError):
        assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint", "retried"),
    [
        (403, b"<html>CloudFront</html>", APIError, "country", False),
        (
            451,
            {"code": 0, "msg": "Service unavailable from a restricted location"},
            APIError,
            "BINANCE_BASE_URL",
            False,
        ),
        (401, b"", CredentialError, "reading", False),
        (404, b"<html>Not Found</html>", APIError, "BINANCE_BASE_URL", False),
        (301, b"", APIError, "BINANCE_BASE_URL", False),
        (400, b"<html>Bad Request</html>", APIError, "BINANCE_BASE_URL", False),
        (408, b"", APIError, "later", True),
        (500, b"", APIError, "later", True),
        (502, b"<html>Bad Gateway</html>", APIError, "later", True),
        (503, b"<html>Unavailable</html>", APIError, "later", True),
    ],
)
def test_an_answer_that_is_not_binances_own_is_judged_by_its_status(
    status: int, body: Any, kind: type[BarwiseError], hint: str, retried: bool
) -> None:
    clock = ManualClock()
    error = error_of(Reply(body, status), clock)
    assert type(error) is kind
    assert hint in error.hint
    assert bool(clock.waits) is retried


# --- credentials -------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_binances_own_example() -> None:
    query = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )
    keys = Keys(KEYED, "BINANCE_API_KEY", "BINANCE_API_SECRET")
    assert keys.sign(query) == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"


def test_a_signed_query_is_percent_encoded_before_it_is_signed() -> None:
    keys = Keys(KEYED, "BINANCE_API_KEY", "BINANCE_API_SECRET")
    signed = SignedQuery(keys, {"symbol": "币安人生USDT"}, lambda: 7)
    assert signed["signature"] == keys.sign("symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&timestamp=7")
    assert list(signed) == list(dict(signed.items())) == ["symbol", "timestamp", "signature"]
    assert len(signed) == 3


def test_each_try_of_a_signed_question_has_its_own_timestamp_and_a_signature_that_fits_what_was_sent() -> None:
    moments = iter([1_500_000_000.0, 1_500_000_001.25])
    clock = ManualClock()
    with ScriptedVenue({"/fapi/v1/commissionRate": [Reply(b"", 500), Reply({})]}) as venue:
        settings = {"BINANCE_FUTURES_BASE_URL": venue.url, **KEYED}
        adapter = BinanceFutures(settings, sleep=clock.sleep, clock=clock, now=lambda: next(moments))
        with pytest.raises(DataError):
            adapter.commission("币安人生USDT")
    assert [question.query["timestamp"] for question in venue.asked] == ["1500000000000", "1500000001250"]
    for question in venue.asked:
        assert question.headers["X-MBX-APIKEY"] == KEY
        signed, _, signature = question.raw_query.rpartition("&signature=")
        assert signature == hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()


def test_without_a_key_candles_work_and_the_check_says_that_none_is_needed() -> None:
    with ScriptedVenue({}) as venue:
        check = spot(venue).check_credentials()
        with pytest.raises(CredentialError, match="BINANCE_API_KEY and BINANCE_API_SECRET not set"):
            spot(venue).commission("BTCUSDT")
    assert check.ok
    assert "need no key" in check.message
    assert venue.asked == []


def test_half_a_credential_is_named_before_anything_is_asked() -> None:
    with ScriptedVenue({}) as venue:
        check = spot(venue, environment=KEYED | {"BINANCE_API_SECRET": "  "}).check_credentials()
    assert not check.ok
    assert "BINANCE_API_SECRET not set" in check.message
    assert venue.asked == []


def test_a_private_key_in_place_of_a_secret_is_refused_before_anything_is_asked() -> None:
    with ScriptedVenue({}) as venue:
        check = spot(
            venue, environment=KEYED | {"BINANCE_API_SECRET": "-----BEGIN PRIVATE KEY-----x"}
        ).check_credentials()
    assert not check.ok
    assert "only HMAC" in check.message


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (Reply({"enableReading": True, "enableWithdrawals": False}), "the key works and may only read."),
        (
            Reply({"enableReading": True, "enableWithdrawals": True, "enableSpotAndMarginTrading": True}),
            "WARNING: it may also withdraw, trade; reading is enough",
        ),
        (Reply(b"<html></html>", 404), "what else it may do is not known"),
    ],
)
def test_a_key_that_may_do_more_than_read_is_warned_of(rights: Reply, words: str) -> None:
    account = Reply(captured("binance/spot_account_captured.json"))
    with ScriptedVenue({ACCOUNT: [account], "/sapi/v1/account/apiRestrictions": [rights]}) as venue:
        check = spot(venue, environment=KEYED).check_credentials()
    assert check.ok
    assert words in check.message
    assert venue.asked[0].query["omitZeroBalances"] == "true"


@pytest.mark.parametrize("file", ["binance/error_2015_rejected_key.json", "binance/error_1021_timestamp.json"])
def test_a_rejected_key_fails_the_check_with_a_next_step(file: str) -> None:
    with ScriptedVenue({ACCOUNT: [Reply(captured(file), 401)]}) as venue:
        check = spot(venue, environment=KEYED).check_credentials()
    assert not check.ok
    assert "hint:" in check.message


def test_a_check_that_could_not_be_made_is_an_error_and_not_a_bad_key() -> None:
    with ScriptedVenue({ACCOUNT: [Reply(b"", 403)]}) as venue, pytest.raises(APIError):
        spot(venue, environment=KEYED).check_credentials()


def test_a_futures_key_is_checked_on_the_futures_side() -> None:
    with ScriptedVenue({"/fapi/v2/account": [Reply({"canTrade": True})]}) as venue:
        assert futures(venue, environment=KEYED).check_credentials().ok


def test_no_secret_shows_in_any_error_log_line_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def echo(question: Question) -> Reply:
        told = f"bad key {question.headers.get('X-MBX-APIKEY')} secret {SECRET} in {question.raw_query}"
        return Reply({"code": -2015, "msg": told}, statuses.pop(0))

    statuses = [400, 401, 500, 500, 500, 500, 429, 429, 429, 429, 418]
    clock = ManualClock()
    with ScriptedVenue({ACCOUNT: echo, "/api/v3/account/commission": echo}) as venue:
        adapter = spot(venue, clock, KEYED)
        while statuses:
            try:
                adapter.commission("BTCUSDT")
            except BarwiseError as error:
                seen += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        keys = adapter._keys
        seen += [repr(adapter), repr(keys), repr(SignedQuery(keys, {}, lambda: 0)), str(keys), adapter.client.base_url]
    assert len(seen) > 20
    seen += [record.getMessage() for record in caplog.records]
    assert not [line for line in seen if SECRET in line or KEY in line]
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied or stored"):
            leak(keys)
    assert not hasattr(keys, "__dict__")


def test_every_question_is_a_get_of_a_path_that_only_reads() -> None:
    source = Path(inspect.getfile(Binance)).read_text()
    assert set(re.findall(r'"(/[a-z]+/v\d[^"]*)"', source)) == {
        KLINES,
        ACCOUNT,
        "/api/v3/time",
        "/api/v3/ticker/price",
        "/api/v3/exchangeInfo",
        "/api/v3/account/commission",
        "/sapi/v1/account/apiRestrictions",
        UM_KLINES,
        "/fapi/v1/time",
        "/fapi/v1/ticker/price",
        "/fapi/v1/exchangeInfo",
        "/fapi/v1/markPriceKlines",
        "/fapi/v1/fundingRate",
        "/fapi/v1/commissionRate",
        "/fapi/v2/account",
    }
    assert re.findall(r'"(GET|POST|PUT|DELETE|PATCH)"', source) == ["GET"]
