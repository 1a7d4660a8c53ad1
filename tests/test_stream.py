"""Live candles over real sockets: whatever a stream does, the venue's candles come out, exactly and in order."""

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.errors import BarwiseError, ConfigError, CredentialError, DataError
from barwise.exchange import stream
from barwise.exchange.base import Adapter
from barwise.exchange.binance import Binance, BinanceFutures
from barwise.exchange.delta import Delta
from barwise.exchange.dhan import Dhan
from barwise.exchange.stream import LiveCandle, stream_candles
from barwise.exchange.stream_venues import wording_of
from barwise.exchange.zerodha import Zerodha
from barwise.timeframe import MINUTE_MS, Timeframe
from tests.scripted_venue import ManualClock, wire_folder
from tests.venues import faults, streams
from tests.venues.market import CREDENTIALS, Series
from tests.venues.server import VenueServer
from tests.venues.streams import Call, Candle, Drop, Event, Heartbeat, Ping, Raw, Stall, Tick

# Wednesday 2024-09-11 09:15 in India, which is a whole minute and a quarter of an hour everywhere.
OPEN = 1_726_026_300_000
BARS = 40
SYMBOLS = {"BINANCE": "BTCUSDT", "BINANCE_UM": "BTCUSDT", "DELTA": "BTCUSD", "ZERODHA": "RELIANCE", "DHAN": "RELIANCE"}
ADAPTERS: Mapping[str, Callable[..., Adapter]] = {
    "BINANCE": Binance, "BINANCE_UM": BinanceFutures, "DELTA": Delta, "ZERODHA": Zerodha, "DHAN": Dhan,
}  # fmt: skip
CONTRACT = {"DELTA": 1000.0}  # contracts per coin of the test market
SPEED = 50.0
VENUES = tuple(SYMBOLS)
OF_CANDLES = ("BINANCE", "BINANCE_UM", "DELTA")
OF_TICKS = ("ZERODHA", "DHAN")


def at(bar: int) -> int:
    return OPEN + bar * MINUTE_MS


def key_of(venue: str) -> streams.Key:
    return venue, SYMBOLS[venue], "1M"


def columns() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(11)
    opened, close = random.integers(9000, 11_000, (2, BARS)) / 100
    high, low = np.round(np.maximum(opened, close) + 0.35, 2), np.round(np.minimum(opened, close) - 0.45, 2)
    return OPEN + np.arange(BARS) * MINUTE_MS, opened, high, low, close, random.integers(40, 900, BARS).astype(float)


class Desk:
    """A venue, a client of it, and what the client did."""

    def __init__(self, venue: str, home: Path) -> None:
        self.venue, self.home = venue, home
        products = {("DELTA", "BTCUSD"): {"contract_value": "0.001"}}
        self.server = VenueServer({key_of(venue): columns()}, at(2) + 1000, products=products)
        self.waits: list[float] = []
        self.adapter: Adapter | None = None

    @property
    def series(self) -> Series:
        return self.server.market.series[key_of(self.venue)]

    def environment(self) -> dict[str, str]:
        return {**self.server.environment(), "BARWISE_HOME": str(self.home)}

    def candles(self, count: int, first: int = 2, **options: Any) -> list[LiveCandle]:
        """Everything that comes until so many new candles have, or ten seconds are over."""
        manual, deadline = ManualClock(), time.monotonic() + 10.0

        def present() -> float:
            return self.server.market.now() / 1000

        self.adapter = ADAPTERS[self.venue](self.environment(), sleep=manual.sleep, clock=manual, now=present)
        live = stream_candles(
            self.adapter,
            SYMBOLS[self.venue],
            "1M",
            environment=self.environment(),
            clock=lambda: time.monotonic() * SPEED,
            sleep=self.waits.append,
            now=present,
            **{
                "after_ms": at(first) - MINUTE_MS,
                "stop": lambda: time.monotonic() > deadline,
                "poll_s": 0.01,
                "silence_s": 400.0,
                **options,
            },
        )
        found: list[LiveCandle] = []
        for candle in live:
            found.append(candle)
            if sum(not one.corrected for one in found) == count:
                break
        live.close()  # type: ignore[attr-defined]
        return found

    def served(self, first: int, last: int) -> list[tuple[float, ...]]:
        rows = self.series.rows(first, last)
        unit = CONTRACT.get(self.venue, 1.0)
        return [(r.time, r.open, r.high, r.low, r.close, r.volume / unit) for r in rows]

    # Scripts

    def moves(self, instant: int) -> Call:
        return Call(lambda: self.server.set_now(instant))

    def bars(self, first: int, last: int) -> list[Event]:
        """Bars [first, last) as the venue streams them, each after the clock has come to its end."""
        events: list[Event] = []
        for bar in range(first, last):
            events.append(self.moves(at(bar + 1) + 40))
            if self.venue in OF_CANDLES:
                events += streams.candles(key_of(self.venue), at(bar), at(bar), MINUTE_MS)
            else:
                events += streams.ticks(self.series, at(bar), at(bar))
        return events

    def ticks(self, first: int, last: int) -> list[Event]:
        """Ticks of bars [first, last) of one day, whose volume goes on from bar to bar."""
        events: list[Event] = []
        for tick in streams.ticks(self.series, at(first), at(last - 1)):
            events += [self.moves(tick.time + 200), tick]
        return events

    def play(self, *connections: list[Event], end: int | None = None) -> None:
        """Scripts of the connections; after the last one, the clock goes on to let everything close."""
        # Zerodha streams without times between a client's first message and its second one, which asks for them.
        first: list[Event] = [Stall(0.2)] if self.venue == "ZERODHA" else []
        scripts = [[*first, *events] for events in connections]
        if end is not None:
            scripts[-1].append(self.moves(at(end) + 15_000))
        self.server.streams.script(self.venue, scripts)

    def events(self, first: int, last: int) -> list[Event]:
        return self.bars(first, last) if self.venue in OF_CANDLES else self.ticks(first, last)


def values(candles: list[LiveCandle]) -> list[tuple[float, ...]]:
    return [(c.time, c.open, c.high, c.low, c.close, c.volume) for c in candles]


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(request.param, tmp_path)
    with made.server:
        yield made


every_venue = pytest.mark.parametrize("desk", VENUES, indirect=True)
binance = pytest.mark.parametrize("desk", ["BINANCE"], indirect=True)
delta = pytest.mark.parametrize("desk", ["DELTA"], indirect=True)
zerodha = pytest.mark.parametrize("desk", ["ZERODHA"], indirect=True)
dhan = pytest.mark.parametrize("desk", ["DHAN"], indirect=True)


def assert_exactly_the_served(desk: Desk, found: list[LiveCandle], first: int, last: int) -> None:
    assert values(found) == desk.served(first, last)
    assert not any(candle.corrected for candle in found)
    assert all(candle.confirmed for candle in found)
    assert desk.server.log.orders == []


# --- every venue -------------------------------------------------------------------------------------------------


@every_venue
def test_a_calm_stream_gives_the_served_candles(desk: Desk) -> None:
    desk.play(desk.events(2, 12), end=12)
    assert_exactly_the_served(desk, desk.candles(10), 2, 12)
    assert len(desk.server.streams.of(desk.venue)) == 1


@every_venue
def test_a_dropped_connection_loses_and_repeats_nothing(desk: Desk) -> None:
    desk.play([*desk.events(2, 5), Drop()], [*desk.events(8, 10), Drop(1001)], desk.events(13, 16), end=16)
    assert_exactly_the_served(desk, desk.candles(14), 2, 16)
    assert len(desk.server.streams.of(desk.venue)) == 3


@every_venue
def test_candles_that_the_stream_skips_come_from_rest(desk: Desk) -> None:
    desk.play([*desk.events(2, 4), *desk.events(9, 12)], end=12)
    assert_exactly_the_served(desk, desk.candles(10), 2, 12)


@every_venue
def test_messages_that_come_twice_give_one_candle(desk: Desk) -> None:
    events = desk.events(2, 8)
    twice = [event for event in events for _ in range(2 if isinstance(event, Candle | Tick) else 1)]
    desk.play(twice, end=8)
    assert_exactly_the_served(desk, desk.candles(6), 2, 8)


@every_venue
def test_garbage_is_logged_and_skipped(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    garbage = [
        Raw("<html>502</html>"), Raw("[1, 2]"), Raw("null"), Raw(b"\x00\x07\x00\x2cx"), Raw("{}"), Raw('{"k": {}}'),
        Raw('{"e": "kline", "k": {"t": "soon"}}'), Raw('{"type": "candlestick_1m", "sy": "BTCUSD", "ts": -4}'),
    ]  # fmt: skip
    events = desk.events(2, 6)
    desk.play([*garbage, Stall(0.3), *events[: len(events) // 2], *garbage, *events[len(events) // 2 :]], end=6)
    with caplog.at_level(logging.WARNING):
        assert_exactly_the_served(desk, desk.candles(4), 2, 6)
    assert "not understood and skipped" in caplog.text
    assert len(desk.server.streams.of(desk.venue)) == 1


@every_venue
def test_a_connection_that_falls_silent_is_replaced(desk: Desk) -> None:
    desk.play([*desk.events(2, 4), Stall(8.0)], desk.events(4, 7), end=7)
    assert_exactly_the_served(desk, desk.candles(5, silence_s=15.0), 2, 7)
    assert len(desk.server.streams.of(desk.venue)) >= 2


@every_venue
def test_an_old_connection_is_replaced_before_the_venue_ends_it(desk: Desk) -> None:
    desk.play([*desk.events(2, 4), Stall(8.0)], desk.events(4, 7), end=7)
    assert_exactly_the_served(desk, desk.candles(5, rotate_s=15.0), 2, 7)
    assert len(desk.server.streams.of(desk.venue)) >= 2


@every_venue
def test_refused_handshakes_are_tried_again_after_growing_pauses(desk: Desk) -> None:
    desk.server.streams.refuse[desk.venue] = 8
    desk.play(desk.events(2, 4), end=4)
    assert_exactly_the_served(desk, desk.candles(2), 2, 4)
    assert desk.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@every_venue
def test_what_was_missed_since_the_last_known_candle_comes_first(desk: Desk) -> None:
    desk.server.set_now(at(20) + 30_000)
    desk.play(desk.events(20, 22), end=22)
    assert_exactly_the_served(desk, desk.candles(19, after_ms=at(2)), 3, 22)


@every_venue
def test_without_a_known_candle_the_first_is_the_one_that_is_forming(desk: Desk) -> None:
    desk.server.set_now(at(6) + 30_000)
    desk.play(desk.events(6, 9), end=9)
    assert_exactly_the_served(desk, desk.candles(3, after_ms=None), 6, 9)


@every_venue
def test_a_rest_that_fails_for_a_while_delays_candles_and_loses_none(desk: Desk) -> None:
    def fail() -> None:
        desk.server.faults.on(faults.failing(503), venue=desk.venue, path=CANDLES[desk.venue], times=9)

    desk.play(
        [*desk.events(2, 4), Drop()],
        [
            Call(fail),
            *desk.events(7, 9),
        ],
        end=9,
    )
    assert_exactly_the_served(desk, desk.candles(7), 2, 9)


CANDLES = {
    "BINANCE": "klines", "BINANCE_UM": "klines", "DELTA": "/history/candles", "ZERODHA": "/historical/",
    "DHAN": "/charts/",
}  # fmt: skip


@every_venue
def test_a_symbol_that_the_venue_does_not_know_is_an_error_at_once(desk: Desk) -> None:
    environment = desk.environment()
    manual = ManualClock()
    adapter = ADAPTERS[desk.venue](environment, sleep=manual.sleep, clock=manual)
    live = stream_candles(adapter, "NOSUCH", "1M", environment=environment, now=lambda: at(5) / 1000)
    with pytest.raises(DataError, match="NOSUCH"):
        next(live)
    assert desk.server.streams.of(desk.venue) == []


@every_venue
def test_an_address_that_is_none_is_named_by_its_variable_only(desk: Desk) -> None:
    environment = desk.environment()
    names = [name for name in environment if name.endswith("_WS_URL")]
    environment |= dict.fromkeys(names, "wss://nobody:s3cretpart@[broken")
    manual = ManualClock()
    adapter = ADAPTERS[desk.venue](environment, sleep=manual.sleep, clock=manual)
    live = stream_candles(adapter, SYMBOLS[desk.venue], "1M", environment=environment, now=lambda: at(2) / 1000)
    with pytest.raises(ConfigError, match="_WS_URL is no address") as caught:
        next(live)
    assert "s3cretpart" not in "".join(traceback.format_exception(caught.value))


def test_a_timeframe_that_a_venue_lacks_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match="no 4H candles"):
        stream_candles(Zerodha({}), "RELIANCE", "4H", environment={})
    with pytest.raises(ConfigError, match="above 0"):
        stream_candles(Binance({}), "BTCUSDT", "1M", environment={}, poll_s=0.0)


# --- Binance -----------------------------------------------------------------------------------------------------


@binance
def test_a_calm_stream_of_binance_needs_rest_for_nothing_but_the_start(desk: Desk) -> None:
    gates = [streams.Gate(threading.Event()) for _ in range(6)]
    script: list[Event] = []
    for bar, gate in zip(range(2, 8), gates, strict=True):
        script += [gate, *streams.candles(key_of("BINANCE"), at(bar), at(bar), MINUTE_MS)]
    desk.play(script)
    live = stream_candles(
        Binance(desk.environment()), "BTCUSDT", "1M", environment=desk.environment(), poll_s=0.01,
        after_ms=at(1), now=lambda: desk.server.market.now() / 1000,
    )  # fmt: skip
    found = []
    for bar, gate in zip(range(2, 8), gates, strict=True):
        desk.server.set_now(at(bar + 1) + 20)
        gate.event.set()
        found.append(next(live))
    live.close()  # type: ignore[attr-defined]
    assert_exactly_the_served(desk, found, 2, 8)
    assert [candle.quote_volume for candle in found] == desk.series.quote_volume[2:8].tolist()
    assert len(desk.server.log.of("BINANCE", "klines")) == 1


@binance
def test_a_late_correction_comes_as_a_correction_and_the_first_values_stay_said(desk: Desk) -> None:
    correction = Candle(key_of("BINANCE"), at(3), values={"volume": 1234.0})
    desk.play([*desk.bars(2, 6), Stall(0.3), correction, correction, Stall(0.3), *desk.bars(6, 8)], end=8)
    found = desk.candles(6)
    assert values([candle for candle in found if not candle.corrected]) == desk.served(2, 8)
    [corrected] = [candle for candle in found if candle.corrected]
    assert (corrected.time, corrected.volume) == (at(3), 1234.0)
    assert found.index(corrected) == 4


@binance
def test_the_announced_end_of_a_server_leads_to_another_connection(desk: Desk) -> None:
    desk.play([*desk.bars(2, 4), Raw('{"e": "serverShutdown", "E": 1}'), Stall(8.0)], desk.bars(4, 6), end=6)
    assert_exactly_the_served(desk, desk.candles(4), 2, 6)
    assert desk.waits == [1.0]


@binance
def test_pings_of_the_venue_are_answered(desk: Desk) -> None:
    desk.play([Ping(), *desk.bars(2, 4), Ping(), *desk.bars(4, 5)], end=5)
    assert_exactly_the_served(desk, desk.candles(3), 2, 5)
    assert desk.server.streams.of("BINANCE")[0].pongs == 2


@binance
def test_a_market_without_trades_gets_its_candles_by_the_clock(desk: Desk) -> None:
    desk.play([*desk.bars(2, 3), desk.moves(at(5) + 10_000)])
    assert_exactly_the_served(desk, desk.candles(3), 2, 5)


@binance
def test_a_message_from_the_future_moves_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.play([*desk.bars(2, 4), Candle(key_of("BINANCE"), at(30)), Stall(0.3), *desk.bars(4, 6)], end=6)
    assert_exactly_the_served(desk, desk.candles(4), 2, 6)
    assert "cannot be, skipped" in caplog.text


@binance
def test_a_closed_candle_that_is_unsound_is_not_delivered_but_asked_for(desk: Desk) -> None:
    broken = Candle(key_of("BINANCE"), at(4), values={"high": 1.0})
    desk.play([*desk.bars(2, 4), desk.moves(at(5) + 40), broken, *desk.bars(5, 7)], end=7)
    assert_exactly_the_served(desk, desk.candles(5), 2, 7)


@binance
def test_an_answer_of_rest_that_skips_a_candle_is_asked_again(desk: Desk) -> None:
    desk.server.set_now(at(20) + 30_000)
    desk.server.faults.on(faults.gap(5, 6), venue="BINANCE", path="klines", nth=2)
    desk.play(desk.bars(20, 21), end=21)
    assert_exactly_the_served(desk, desk.candles(18, after_ms=at(2)), 3, 21)


@binance
def test_answers_of_rest_that_stay_unsound_end_the_stream(desk: Desk) -> None:
    desk.server.set_now(at(20) + 30_000)
    desk.server.faults.on(faults.replaced(3, high=0.5), venue="BINANCE", path="klines", nth=2, times=None)
    with pytest.raises(DataError):
        desk.candles(18, after_ms=at(2))


@binance
def test_captured_messages_of_binance_are_understood(desk: Desk) -> None:
    understood = 0
    for name in ("ws_spot_kline_1m.ndjson", "ws_um_kline_1m.ndjson"):
        for line in (wire_folder() / "binance" / name).read_text().splitlines():
            candle = json.loads(line)["data"]["k"]
            wording = wording_of(Binance({}), {}, candle["s"], Timeframe("1M"))
            [seen] = wording.read(line)
            assert (seen.time, seen.closed) == (candle["t"], candle["x"])
            assert seen.values == tuple(float(candle[column]) for column in "ohlcvq")
            understood += 1
    assert understood == 34


# --- Delta -------------------------------------------------------------------------------------------------------


@delta
def test_a_late_correction_at_delta_is_looked_up_and_told(desk: Desk) -> None:
    opened, high, low, close, volume = desk.served(3, 4)[0][1:]
    corrected = (at(3), opened, high, low, round(close + 0.01, 2), volume)

    def correct() -> None:
        revised = faults.changed(
            lambda rows: [row._replace(close=corrected[4]) if row.time == at(3) else row for row in rows]
        )
        desk.server.faults.on(revised, venue="DELTA", path="/history/candles", times=None)

    message = Candle(key_of("DELTA"), at(3), values={"close": corrected[4]})
    correction: list[Event] = [Stall(0.3), Call(correct), message, Stall(0.3)]
    desk.play([*desk.bars(2, 7), *correction, *desk.bars(7, 8)], end=8)
    found = desk.candles(6)
    assert values([candle for candle in found if not candle.corrected]) == desk.served(2, 8)
    assert values([candle for candle in found if candle.corrected]) == [corrected]


@delta
def test_heartbeats_of_delta_keep_a_quiet_connection(desk: Desk) -> None:
    beats: list[Event] = [event for _ in range(12) for event in (Heartbeat(), Stall(0.1))]
    desk.play([*desk.bars(2, 3), *beats, *desk.bars(3, 5)], end=5)
    assert_exactly_the_served(desk, desk.candles(3, silence_s=25.0), 2, 5)
    assert len(desk.server.streams.of("DELTA")) == 1


@delta
def test_captured_messages_of_delta_are_understood_and_those_without_a_trade_have_no_values(desk: Desk) -> None:
    folder = wire_folder() / "delta"
    for line in (folder / "ws_candlestick_1m_2021.ndjson").read_text().splitlines():
        said = json.loads(line)
        [seen] = wording_of(Delta({}), {}, said["symbol"], Timeframe("1M")).read(line)
        assert seen.time == said["candle_start_time"] // 1000
        assert (seen.values is None) == (said["close"] is None)
    [seen] = wording_of(Delta({}), {}, "BTCUSD", Timeframe("1M")).read(
        (folder / "ws_candlestick_docs.json").read_text()
    )
    assert seen.time == 1_775_814_780_000
    assert seen.values == (71737.0, 71751.5, 71737.0, 71748.0, 2826.0)
    acknowledged = (folder / "ws_subscriptions_ack.json").read_text()
    assert wording_of(Delta({}), {}, "BTCUSD", Timeframe("1M")).read(acknowledged) == ()


@delta
def test_where_rest_stays_behind_the_stream_is_taken_and_called_unconfirmed(desk: Desk) -> None:
    lagging = faults.changed(lambda rows: [row for row in rows if row.time < at(4)])
    desk.server.faults.on(lagging, venue="DELTA", path="/history/candles", times=None)
    desk.play([*desk.bars(2, 5), desk.moves(at(5) + 45_000)])
    found = desk.candles(3)
    assert values(found) == desk.served(2, 5)
    assert found[-1].confirmed is False


# --- Zerodha and Dhan --------------------------------------------------------------------------------------------


def secrets_in(text: str) -> list[str]:
    return [name for name, value in CREDENTIALS.items() if value in text]


def said_of(error: BaseException | None) -> str:
    """Everything an exception and those behind it hold."""
    parts = []
    while error is not None:
        parts += [repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


@pytest.mark.parametrize("desk", OF_TICKS, indirect=True)
def test_tokens_of_addresses_stand_in_no_log_line_and_no_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    venue = desk.server.zerodha if desk.venue == "ZERODHA" else desk.server.dhan

    def expire() -> None:
        venue.access_token = "another"

    desk.server.streams.refuse[desk.venue] = 2
    desk.play([*desk.events(2, 4), Call(expire), Drop()], end=4)
    with caplog.at_level(logging.DEBUG), pytest.raises(CredentialError) as caught:
        desk.candles(30)
    assert len(desk.server.streams.of(desk.venue)) >= 1
    assert "no connection" in caplog.text or "refuses the stream" in caplog.text
    # The server of these tests is in the same process, and its own log has the addresses that it was asked for.
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert secrets_in("\n".join(ours)) == []
    assert secrets_in(said_of(caught.value)) == []
    assert isinstance(caught.value, BarwiseError)


@dhan
def test_the_feed_of_dhan_ends_with_a_code_that_is_told(desk: Desk) -> None:
    from tests.venues.dhan_wire import disconnect_packet

    desk.play([*desk.events(2, 4), Raw(disconnect_packet(806))])
    with pytest.raises(CredentialError, match="806"):
        desk.candles(30)


@dhan
def test_too_many_connections_at_dhan_are_waited_out(desk: Desk) -> None:
    from tests.venues.dhan_wire import disconnect_packet

    desk.play([*desk.events(2, 4), Raw(disconnect_packet(805)), Stall(8.0)], desk.events(4, 6), end=6)
    assert_exactly_the_served(desk, desk.candles(4), 2, 6)


@zerodha
def test_ticks_of_zerodha_are_asked_for_in_the_mode_that_has_the_time(desk: Desk) -> None:
    desk.play(desk.events(2, 4), end=4)
    desk.candles(2)
    token = 2885 * 256 + 1
    assert desk.server.streams.of("ZERODHA")[0].streams == {token: "full"}


@pytest.mark.parametrize("desk", OF_TICKS, indirect=True)
def test_ticks_make_do_where_rest_stays_behind(desk: Desk) -> None:
    desk.server.faults.on(
        faults.changed(lambda rows: [row for row in rows if row.time < at(6)]),
        venue=desk.venue, path=CANDLES[desk.venue], times=None,
    )  # fmt: skip
    desk.play([*desk.events(2, 8), desk.moves(at(8) + 45_000)])
    found = desk.candles(6)
    assert values(found) == desk.served(2, 8)
    assert [candle.confirmed for candle in found] == [True] * 4 + [False] * 2


@zerodha
def test_nights_are_not_asked_for(desk: Desk) -> None:
    desk.play([*desk.events(2, 4), desk.moves(at(4) + 600 * MINUTE_MS), Stall(1.0), Drop()])
    found = desk.candles(30, stop=seconds(2.5))
    assert values(found)[:2] == desk.served(2, 4)
    assert len(desk.server.log.of("ZERODHA", "/historical/")) < 15


def seconds(length: float) -> Callable[[], bool]:
    deadline = time.monotonic() + length
    return lambda: time.monotonic() > deadline


def test_the_library_of_sockets_may_log_nothing() -> None:
    assert not stream._SILENT.isEnabledFor(logging.CRITICAL)
