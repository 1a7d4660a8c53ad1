"""Packets of the Indian venues: recorded ones, damaged ones, and the candles that are made of them."""

import base64
import json
import struct

import numpy as np
import pytest

from barwise.exchange.ticks import Disconnect, Tick, TickCandles, dhan_ticks, kite_tick, kite_ticks
from barwise.timeframe import MINUTE_MS, NSE, Timeframe
from tests.scripted_venue import wire_folder
from tests.venues import dhan_wire, streams, zerodha_wire
from tests.venues.market import Instrument, Series

# Wednesday 2024-09-11 09:15 in India.
OPEN = 1_726_026_300_000
SHARE = Instrument("RELIANCE", 2885)
INDEX = Instrument("NIFTY", 13, kind="INDEX")


def a_tick(symbol: str = "RELIANCE") -> streams.Tick:
    return streams.Tick(symbol, OPEN + 7000, 2850.1, 123_456, 25, 2849.55, 2840.05, 2861.95, 2833.7, 2846.6)


def test_the_recorded_quote_packet_of_zerodha_is_read_as_its_vendor_reads_it() -> None:
    folder = wire_folder() / "zerodha"
    expected = json.loads((folder / "ticker_quote.json").read_text())
    message = base64.b64decode((folder / "ticker_quote.packet").read_text())
    packet = kite_tick(message)
    prices = expected["ohlc"]
    assert packet == Tick(
        str(expected["instrument_token"]), "", None, expected["last_price"], expected["volume"],
        expected["last_quantity"], expected["average_price"], prices["open"], prices["high"], prices["low"],
        prices["close"],
    )  # fmt: skip


def test_a_full_packet_of_zerodha_has_the_time_of_the_exchange() -> None:
    token = 2885 * 256 + 1
    [tick] = kite_ticks(zerodha_wire.message([zerodha_wire.tick_packet(token, "full", a_tick())]))
    assert tick == Tick(str(token), "", OPEN + 7000, 2850.1, 123_456, 25, 2849.55, 2840.05, 2861.95, 2833.7, 2846.6)


def test_several_packets_of_zerodha_come_in_one_message_and_indices_have_no_volume() -> None:
    index, currency = 1001 * 256 + 9, 50 * 256 + 3
    packets = [
        zerodha_wire.tick_packet(index, "full", a_tick()),
        zerodha_wire.tick_packet(currency, "ltp", streams.Tick("USDINR", OPEN, 84.1225, 0)),
    ]
    found = kite_ticks(zerodha_wire.message(packets))
    assert [(tick.number, tick.price, tick.volume) for tick in found] == [
        (str(index), 2850.1, None),
        (str(currency), 84.1225, None),
    ]
    assert found[0].time == OPEN + 7000


@pytest.mark.parametrize("cut", [3, 5, 100, 187])
def test_a_cut_message_of_zerodha_is_refused(cut: int) -> None:
    message = zerodha_wire.message([zerodha_wire.tick_packet(2885 * 256 + 1, "full", a_tick())])
    with pytest.raises(ValueError, match=r"cut off|no packet has"):
        kite_ticks(message[:cut])


def test_bytes_left_over_and_packets_of_no_known_size_are_refused() -> None:
    message = zerodha_wire.message([zerodha_wire.tick_packet(2885 * 256 + 1, "full", a_tick())])
    with pytest.raises(ValueError, match="left over"):
        kite_ticks(message + b"\x00")
    with pytest.raises(ValueError, match="no packet has 5 bytes"):
        kite_ticks(zerodha_wire.message([b"12345"]))


def test_the_single_byte_of_zerodha_is_a_sign_of_life_without_ticks() -> None:
    assert kite_ticks(b"\x00") == []


@pytest.mark.parametrize("code", [17, 21])
def test_packets_of_dhan_lose_nothing_by_single_precision_and_their_time_is_indian(code: int) -> None:
    [tick] = dhan_ticks(dhan_wire.tick_packet(code, SHARE, a_tick()))
    assert tick == Tick("2885", "NSE_EQ", OPEN + 7000, 2850.1, 123_456, 25, 2849.55, 2840.05, 2861.95, 2833.7, 2846.6)


def test_one_message_of_dhan_holds_several_packets_and_those_without_a_trade_are_passed_over() -> None:
    message = (
        dhan_wire.previous_close_packet(INDEX, 24_900.0)
        + dhan_wire.tick_packet(15, INDEX, streams.Tick("NIFTY", OPEN, 25_000.05, 0))
        + struct.pack("<BHBII", 5, 12, 1, 2885, 77)
        + dhan_wire.disconnect_packet(807)
    )
    assert dhan_ticks(message) == [Tick("13", "IDX_I", OPEN, 25_000.05), Disconnect(807)]


@pytest.mark.parametrize("cut", [1, 7, 20, 49])
def test_a_cut_message_of_dhan_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        dhan_ticks(dhan_wire.tick_packet(17, SHARE, a_tick())[:cut])


# --- candles of ticks ----------------------------------------------------------------------------------------------


def a_series(bars: int, days: int = 1) -> Series:
    random = np.random.default_rng(5)
    time = np.concatenate([OPEN + day * 86_400_000 + np.arange(bars) * MINUTE_MS for day in range(days)])
    opened, close = random.integers(9000, 11_000, (2, len(time))) / 100
    high, low = np.round(np.maximum(opened, close) + 0.35, 2), np.round(np.minimum(opened, close) - 0.45, 2)
    return Series("ZERODHA", "NSE:RELIANCE", "1M", (time, opened, high, low, close, random.integers(4, 900, len(time))))


def ticks_of(series: Series) -> list[Tick]:
    events = streams.ticks(series, int(series.time[0]), int(series.time[-1]))
    return [Tick("1", "", tick.time, tick.price, tick.volume, tick.quantity) for tick in events]


def test_candles_of_ticks_are_those_the_ticks_were_made_of_across_days() -> None:
    series, made = a_series(6, days=2), TickCandles(Timeframe("1M"), NSE)
    found = {}
    for tick in ticks_of(series):
        bucket = made.add(tick)
        if bucket is not None:
            found[bucket.time] = (bucket.open, bucket.high, bucket.low, bucket.close, bucket.volume, bucket.whole)
    rows = series.rows(0, len(series))
    assert list(found.values())[1:] == [(r.open, r.high, r.low, r.close, r.volume, True) for r in rows[1:]]
    assert next(iter(found.values()))[5] is False  # what came before its first packet is not known


def test_a_packet_without_a_trade_opens_no_candle() -> None:
    made = TickCandles(Timeframe("1M"), NSE)
    made.add(Tick("1", "", OPEN, 100.0, 500, 5))
    assert made.add(Tick("1", "", OPEN + MINUTE_MS, 100.0, 500, 5)) is None
    bucket = made.add(Tick("1", "", OPEN + MINUTE_MS + 1000, 101.0, 503, 3))
    assert bucket is not None
    assert (bucket.time, bucket.open, bucket.volume, bucket.whole) == (OPEN + MINUTE_MS, 101.0, 3.0, True)


def test_the_total_of_yesterday_before_the_opening_is_no_trade_of_today() -> None:
    made = TickCandles(Timeframe("1M"), NSE)
    made.add(Tick("1", "", OPEN, 100.0, 500, 5))
    morning = OPEN + 86_400_000
    assert made.add(Tick("1", "", morning - MINUTE_MS, 100.0, 500, 5)) is None
    bucket = made.add(Tick("1", "", morning, 102.0, 40, 40))
    assert bucket is not None
    assert (bucket.time, bucket.volume) == (morning, 40.0)


def test_an_interruption_takes_the_word_whole_from_what_is_being_made() -> None:
    series, made = a_series(3), TickCandles(Timeframe("1M"), NSE)
    whole = {}
    for number, tick in enumerate(ticks_of(series)):
        if number == 6:
            made.interrupt()
        bucket = made.add(tick)
        assert bucket is not None
        whole[bucket.time] = bucket.whole
    assert list(whole.values()) == [False, False, True]


def test_a_packet_that_is_late_changes_nothing() -> None:
    made = TickCandles(Timeframe("1M"), NSE)
    made.add(Tick("1", "", OPEN + MINUTE_MS, 100.0, 500, 5))
    assert made.add(Tick("1", "", OPEN, 90.0, 490, 5)) is None


def test_each_packet_of_an_index_counts() -> None:
    made = TickCandles(Timeframe("1H"), NSE)
    for price in (100.0, 104.0, 99.0, 101.0):
        bucket = made.add(Tick("9", "", OPEN + 5000, price))
    assert bucket is not None
    assert (bucket.time, bucket.open, bucket.high, bucket.low, bucket.close) == (OPEN, 100.0, 104.0, 99.0, 101.0)
