"""From candles, rules and costs to what the kernel reads: nesting of detail, funding, fees, steps, records."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig
from barwise.core.layout import Intrabar
from barwise.costs import FeeSchedule, fee_schedule
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.prepare import as_candles, order_quantity, parameter_records, prepare, resolved_fees
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

START = 1_735_689_600_000  # 2025-01-01 UTC
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LENGTHS = {"1M": MINUTE, "5M": 5 * MINUTE, "15M": 15 * MINUTE, "1H": HOUR, "2H": 2 * HOUR, "4H": 4 * HOUR, "1D": DAY}


def candles_at(
    times: Any, timeframe: str, *, exchange: str = "", symbol: str = "X", scale: float = 1.0, **columns: Any
) -> Candles:
    """A flat market at these opens."""
    times = np.asarray(times, np.int64)
    close = np.full(times.size, 100.0 * scale)
    made = {"time": times, "open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    volume = columns.pop("volume", np.full(times.size, 10.0))
    return Candles.of(
        made | {"volume": volume, **columns}, exchange=exchange, symbol=symbol, timeframe=timeframe, audit="off"
    )


def grid(count: int, timeframe: str, *, start: int = START, without: tuple[int, ...] = (), **named: Any) -> Candles:
    """`count` bars one after the other, without those whose number is named."""
    numbers = np.array([number for number in range(count) if number not in without], np.int64)
    return candles_at(start + numbers * LENGTHS[timeframe], timeframe, **named)


# -- The signal candles alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_bars_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"a backtest needs at least 2 bars; there are {count}"):
        prepare(grid(count, "1H"))


def test_without_detail_every_bar_acts_on_the_next_one() -> None:
    candles = grid(5, "1H")
    prepared = prepare(candles)
    assert prepared.market.act.tolist() == [1, 2, 3, 4, 5]
    assert prepared.ratio == 1
    assert prepared.execution_candles is prepared.candles is candles
    assert prepared.market.open is candles.open
    assert prepared.market.funding.size == 0
    assert prepared.notes == ()


def test_nothing_that_the_kernel_reads_can_be_written_to() -> None:
    prepared = prepare(grid(5, "1H"), grid(20, "15M"), [(START + HOUR, 0.001)])
    assert not any(column.flags.writeable for column in prepared.market)
    assert not prepared.session_vwap.flags.writeable


def test_a_market_without_any_volume_has_no_cap_and_says_so() -> None:
    prepared = prepare(grid(4, "1H", volume=np.zeros(4)))
    assert np.isinf(prepared.market.volume).all()
    assert prepared.notes == ("these candles have no volume: the cap on participation is off.",)


def test_single_bars_without_volume_stay_without() -> None:
    prepared = prepare(grid(4, "1H", volume=np.array([0.0, 1.0, 0.0, 2.0])))
    assert prepared.market.volume.tolist() == [0.0, 1.0, 0.0, 2.0]
    assert prepared.notes == ()


def test_volume_is_judged_by_the_candles_that_carry_the_fills() -> None:
    silent_signals = prepare(grid(4, "1H", volume=np.zeros(4)), grid(16, "15M"))
    assert np.isfinite(silent_signals.market.volume).all()
    silent_detail = prepare(grid(4, "1H"), grid(16, "15M", volume=np.zeros(16)))
    assert np.isinf(silent_detail.market.volume).all()
    assert silent_detail.notes


def test_a_bars_own_mean_is_quote_volume_over_volume_where_there_is_any_and_its_typical_price_elsewhere() -> None:
    close = np.array([100.0, 100.0, 100.0, 100.0, 100.0])
    candles = Candles.of(
        {
            "time": START + HOUR * np.arange(5), "open": close, "high": close + 3.0, "low": close - 6.0, "close": close,
            "volume": [10.0, 10.0, 0.0, 10.0, 10.0], "quote_volume": [1010.0, np.nan, 500.0, 0.0, 5000.0],
        },
        symbol="X", timeframe="1H", audit="off",
    )  # fmt: skip
    # The last has the volumes of two feeds: its mean can be no price of the bar, so it is the nearest one.
    assert prepare(candles).market.mean.tolist() == [101.0, 99.0, 99.0, 99.0, 103.0]


@pytest.mark.parametrize("price", [11.95, 11.84, 0.1, 97.3])
def test_a_bars_own_mean_lies_inside_the_bar_without_quote_volume_too(price: float) -> None:
    """A bar of one price has that price as its mean; (p + p + p) / 3 may be the next float below."""
    times = START + HOUR * np.arange(3)
    flat = np.full(3, price)
    candles = Candles.of(
        {"time": times, "open": flat, "high": flat, "low": flat, "close": flat, "volume": np.ones(3)},
        symbol="X",
        timeframe="1H",
        audit="off",
    )
    assert prepare(candles).market.mean.tolist() == [price] * 3


def test_the_session_of_the_vwap_is_the_exchanges_own_day() -> None:
    midnight_in_india = int(datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))).timestamp() * 1000)
    close = np.array([10.0, 20.0, 30.0, 40.0])
    opens = midnight_in_india + 9 * HOUR + 15 * MINUTE + np.array([0, HOUR, DAY, DAY + HOUR])
    columns = {"time": opens, **dict.fromkeys(("open", "high", "low", "close"), close), "volume": np.ones(4)}
    indian = Candles.of(columns, exchange="ZERODHA", symbol="X", timeframe="1H", audit="off")
    assert prepare(indian).session_vwap.tolist() == [10.0, 15.0, 30.0, 35.0]
    late = columns | {"time": opens + 14 * HOUR}  # 23:15 and 00:15 in India: one UTC day, two Indian ones
    moved = Candles.of(late, exchange="ZERODHA", symbol="X", timeframe="1H", audit="off")
    assert prepare(moved).session_vwap.tolist() == [10.0, 20.0, 25.0, 40.0]


# -- Detail ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "detail", "ratio"), [("1H", "5M", 12), ("1H", "1M", 60), ("1D", "4H", 6), ("2H", "1H", 2)]
)
def test_detail_bars_nest_by_the_ratio_of_the_timeframes(signal: str, detail: str, ratio: int) -> None:
    prepared = prepare(grid(4, signal), grid(4 * ratio, detail))
    assert prepared.ratio == ratio
    assert prepared.market.act.tolist() == [ratio, 2 * ratio, 3 * ratio, 4 * ratio]
    assert len(prepared.market.open) == 4 * ratio


@pytest.mark.parametrize("detail", ["1H", "2H", "4H", "1D"])
def test_detail_that_is_not_finer_is_refused(detail: str) -> None:
    with pytest.raises(ConfigError, match=f"detail candles of {detail} do not nest in 1H bars") as caught:
        prepare(grid(24, "1H"), grid(48, detail))
    assert "5M under 1H" in caught.value.hint


def test_detail_with_holes_leaves_each_bar_its_own_and_an_empty_bar_none() -> None:
    prepared = prepare(grid(4, "1H"), grid(16, "15M", without=(0, 5, 8, 9, 10, 11, 15)))
    # 3 bars in the first hour, 3 in the second, none in the third, 3 in the last.
    assert prepared.market.act.tolist() == [3, 6, 6, 9]


def test_detail_that_starts_late_and_ends_early_is_taken_where_it_covers_half_the_bars() -> None:
    prepared = prepare(grid(10, "1H"), grid(20, "15M", start=START + 3 * HOUR))
    assert prepared.market.act.tolist() == [0, 0, 0, 4, 8, 12, 16, 20, 20, 20]
    with pytest.raises(
        DataError, match="only 40% of the candles have detail candles: the detail covers 2025-01-01 03:00 to"
    ):
        prepare(grid(10, "1H"), grid(16, "15M", start=START + 3 * HOUR))


def test_detail_before_and_after_the_candles_is_left_out() -> None:
    prepared = prepare(grid(4, "1H", start=START + 2 * HOUR), grid(32, "15M"))
    assert prepared.market.act.tolist() == [12, 16, 20, 24]


def test_detail_that_lies_in_no_signal_bar_is_refused_with_its_time() -> None:
    with pytest.raises(DataError, match="the detail bar at 2025-01-01 02:00 lies in no 1H bar"):
        prepare(grid(5, "1H", without=(2,)), grid(20, "15M"))
    with pytest.raises(DataError, match="the detail bar at 2025-01-01 00:50 lies in no 1H bar"):
        prepare(grid(5, "1H"), grid(19, "15M", start=START + 5 * MINUTE))


def test_detail_of_another_span_is_refused_with_both_spans() -> None:
    with pytest.raises(
        DataError, match=r"only 0% of the candles have detail candles.*the candles 2025-01-01 00:00 to 2025-01-01 05"
    ):
        prepare(grid(5, "1H"), grid(20, "15M", start=START + 400 * DAY))


def test_detail_without_a_single_bar_is_a_data_error() -> None:
    with pytest.raises(DataError):
        prepare(grid(5, "1H"), grid(20, "15M")[:0])


def test_detail_of_another_market_is_refused_by_its_prices_or_by_its_name() -> None:
    with pytest.raises(DataError, match=r"not of one market: their closes differ by 1\.00% in the median"):
        prepare(grid(5, "1H"), grid(20, "15M", scale=1.01))
    with pytest.raises(DataError, match="These candles are Y 15M, not symbol X"):
        prepare(grid(5, "1H"), grid(20, "15M", symbol="Y"))
    with pytest.raises(DataError, match="not exchange BINANCE"):
        prepare(grid(5, "1H", exchange="BINANCE"), grid(20, "15M", exchange="DELTA"))


def test_detail_comes_in_any_form_and_is_audited_unless_it_is_candles_already() -> None:
    fine = grid(20, "15M")
    for form in (fine, list(fine), fine.to_pandas(), fine.to_polars()):
        assert prepare(grid(5, "1H"), form).market.act.tolist() == [4, 8, 12, 16, 20]
    rows: list[Any] = [dict(candle) for candle in fine]
    rows[3]["high"] = 1.0
    with pytest.raises(DataError):
        prepare(grid(5, "1H"), rows)
    with pytest.raises(DataError):
        prepare(grid(5, "1H"), "detail.csv")


def test_minutes_of_a_short_last_bar_of_an_indian_session_nest_in_it() -> None:
    first = int(datetime(2025, 1, 1, 9, 15, tzinfo=timezone(timedelta(hours=5, minutes=30))).timestamp() * 1000)
    hours = np.concatenate([first + day * DAY + HOUR * np.arange(7) for day in range(2)])
    fives = np.concatenate([first + day * DAY + 5 * MINUTE * np.arange(75) for day in range(2)])
    prepared = prepare(candles_at(hours, "1H", exchange="ZERODHA"), candles_at(fives, "5M", exchange="ZERODHA"))
    assert prepared.market.act.tolist() == [12, 24, 36, 48, 60, 72, 75, 87, 99, 111, 123, 135, 147, 150]


# -- Funding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "bar"),
    [
        (0, None),  # at the first open: before anything could be held
        (1, 0), (59, 0), (60, 0),  # (open, close] belongs to the bar
        (61, 1), (120, 1), (240, 3), (241, None), (10**6, None), (-5, None),
    ],
)  # fmt: skip
def test_a_settlement_is_charged_on_the_bar_that_it_closes(minutes: int, bar: int | None) -> None:
    charged = prepare(grid(4, "1H"), None, [(START + minutes * MINUTE, 0.001)]).market.funding
    assert np.flatnonzero(charged).tolist() == ([] if bar is None else [bar])
    assert charged.sum() == (0.0 if bar is None else 0.001)


@pytest.mark.parametrize("late", [0, 1, 7, 999, 59_999])
def test_a_settlement_stamped_some_milliseconds_late_stays_on_its_bar(late: int) -> None:
    charged = prepare(grid(4, "1H"), None, [(START + 2 * HOUR + late, 0.001)]).market.funding
    assert np.flatnonzero(charged).tolist() == [1]


def test_settlements_of_one_bar_add_up_in_any_order_and_form() -> None:
    settlements = [(START + 2 * HOUR, 0.001), (START + HOUR + MINUTE, 0.002), (START + 3 * HOUR, -0.004)]
    expected = [0.0, 0.003, -0.004, 0.0]
    for form in (settlements, settlements[::-1], tuple(settlements), iter(settlements), np.array(settlements)):
        assert prepare(grid(4, "1H"), None, form).market.funding.tolist() == pytest.approx(expected)


def test_with_detail_a_settlement_falls_on_the_fine_bar_that_it_closes() -> None:
    charged = prepare(grid(4, "1H"), grid(16, "15M"), [(START + HOUR, 0.001)]).market.funding
    assert np.flatnonzero(charged).tolist() == [3]


def test_a_settlement_in_a_gap_is_charged_on_the_last_bar_before_it() -> None:
    charged = prepare(grid(6, "1H", without=(2, 3)), None, [(START + 3 * HOUR, 0.001)]).market.funding
    assert np.flatnonzero(charged).tolist() == [1]


def test_no_settlements_cost_nothing() -> None:
    nothings: list[Any] = [None, [], iter(())]
    for nothing in nothings:
        assert prepare(grid(4, "1H"), None, nothing).market.funding.size == 0


@pytest.mark.parametrize(
    "funding",
    [
        [(START, "much")], [(START,)], [(START, 0.1, 3)], [("noon", 0.1)], [(None, 0.1)], [(float("nan"), 0.1)],
        [(START, float("nan"))], [(START, float("inf"))], [(START, 2.0)], {START: 0.1}, 5, "funding.csv",
    ],
)  # fmt: skip
def test_funding_that_is_no_list_of_times_and_fractions_is_a_data_error(funding: Any) -> None:
    with pytest.raises(DataError, match="funding"):
        prepare(grid(4, "1H"), None, funding)


def test_a_long_pays_a_positive_rate_and_a_short_receives_it() -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 1))
    times = candles.time[::8].tolist()
    settings: dict[str, Any] = {"execution": ExecutionConfig(maker_fee=0.0, taker_fee=0.0)}
    for rules, sign in (({"allow_short": False}, 1), ({"allow_long": False}, -1)):
        strategy = EmaRsiAtr(ema_fast=5, ema_slow=15, ema_trend=40, enable_rsi_filter=False, **rules)
        paid = backtest(candles, strategy, 0.1, funding=[(time, 0.001) for time in times], **settings)
        free = backtest(candles, strategy, 0.1, **settings)
        assert sign * paid.funding > 0.0
        assert free.funding == 0.0
        assert paid.net_pnl == pytest.approx(free.net_pnl - paid.funding)


# -- Fees, steps and records -------------------------------------------------------------------------------------------


def test_fees_are_the_venues_then_own_rates_then_an_own_schedule() -> None:
    own = FeeSchedule("own", 0.001, 0.002, 0.003, 0.004)
    assert resolved_fees(ExecutionConfig(), "BINANCE_UM") == fee_schedule("BINANCE_UM")
    assert resolved_fees(ExecutionConfig(fees=own), "BINANCE_UM") is own
    rates = resolved_fees(ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005), "ZERODHA")
    assert (rates.buy_maker, rates.sell_maker, rates.buy_taker, rates.sell_taker) == (0.0002, 0.0002, 0.0005, 0.0005)
    assert (rates.buy_order_flat, rates.sell_order_flat) == (0.0, 0.0)
    spot, half = fee_schedule("BINANCE"), resolved_fees(ExecutionConfig(taker_fee=0.0005), "BINANCE")
    assert (half.buy_maker, half.buy_taker) == (spot.buy_maker, 0.0005)


def test_candles_of_no_exchange_cost_nothing_unless_fees_are_given() -> None:
    free = resolved_fees(ExecutionConfig(), "")
    assert (free.buy_maker, free.buy_taker, free.sell_maker, free.sell_taker) == (0.0, 0.0, 0.0, 0.0)
    assert resolved_fees(ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005), "").buy_taker == 0.0005


def test_an_unknown_exchange_has_no_fees_and_the_hint_says_how_to_give_them() -> None:
    with pytest.raises(ConfigError, match="'KRAKEN' has no fee schedule; known: BINANCE") as caught:
        resolved_fees(ExecutionConfig(), "KRAKEN")
    assert "ExecutionConfig(maker_fee=, taker_fee=)" in caught.value.hint


@pytest.mark.parametrize("exchange", ["KRAKEN", "NSE", "BSE"])
def test_what_that_hint_says_works(exchange: str) -> None:
    rates = resolved_fees(ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005), exchange)
    assert (rates.buy_maker, rates.sell_maker, rates.buy_taker, rates.sell_taker) == (0.0002, 0.0002, 0.0005, 0.0005)


def test_tick_and_lot_are_the_markets_own_where_known_and_the_users_where_given() -> None:
    sample = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 1, 3))
    steps = prepare(sample).steps
    assert steps[0] > 0.0
    assert steps[1] > 0.0
    assert prepare(grid(4, "1H", exchange="BINANCE")).steps == (0.0, 0.0)

    def records(execution: ExecutionConfig) -> Any:
        return parameter_records(1, EmaRsiAtr(), {}, execution, fee_schedule("ZERO"), 1.0, 1, steps)[0]

    assert (records(ExecutionConfig())["tick_size"], records(ExecutionConfig())["lot_size"]) == steps
    other = records(ExecutionConfig(tick_size=0.0, lot_size=0.25))
    assert (other["tick_size"], other["lot_size"]) == (0.0, 0.25)


def test_timeouts_are_counted_in_execution_bars_and_switched_off_tiers_have_none() -> None:
    rules = EmaRsiAtr(enable_hybrid_tier2=False, hybrid_tier3_timeout=0)
    p = parameter_records(1, rules, {}, ExecutionConfig(), fee_schedule("ZERO"), 1.0, 12, (0.0, 0.0))[0]
    assert [int(p[f"tier{tier}_bars"]) for tier in (1, 2, 3, 4)] == [60, 0, 0, 12]


@pytest.mark.parametrize("timeout", [0, 1, 3])
def test_without_the_hybrid_engine_tier_4_works_alone_and_unguarded(timeout: int) -> None:
    rules = EmaRsiAtr(enable_hybrid_engine=False, enable_hybrid_tier4=False, hybrid_tier4_timeout=timeout)
    p = parameter_records(1, rules, {}, ExecutionConfig(), fee_schedule("ZERO"), 1.0, 2, (0.0, 0.0))[0]
    assert [int(p[f"tier{tier}_bars"]) for tier in (1, 2, 3, 4)] == [0, 0, 0, 2 * max(timeout, 1)]
    assert np.isinf(p["max_chase_atr"])


def test_the_trailing_stop_has_the_distance_of_the_stop_unless_it_has_its_own() -> None:
    def distance(columns: dict[str, Any], **rules: Any) -> list[float]:
        p = parameter_records(
            2, EmaRsiAtr(**rules), columns, ExecutionConfig(), fee_schedule("ZERO"), 1.0, 1, (0.0, 0.0)
        )
        found: list[float] = p["trailing_sl_atr_multiplier"].tolist()
        return found

    assert distance({}, atr_sl_multiplier=2.5) == [2.5, 2.5]
    assert distance({}, atr_sl_multiplier=2.5, trailing_sl_atr_multiplier=1.0) == [1.0, 1.0]
    assert distance({"atr_sl_multiplier": np.array([1.0, 3.0])}) == [1.0, 3.0]
    assert distance({"trailing_sl_atr_multiplier": np.array([4.0, 5.0])}) == [4.0, 5.0]


def test_settings_of_the_execution_reach_the_record_as_the_kernel_reads_them() -> None:
    execution = ExecutionConfig(
        initial_capital=5.0, leverage=3.0, slippage=0.01, max_participation=None, limit_fill="touch", intrabar="path"
    )
    fees = FeeSchedule("own", 0.001, 0.002, 0.003, 0.004, 20.0, 0.0003, 10.0, 0.0002)
    p = parameter_records(1, EmaRsiAtr(allow_short=False), {}, execution, fees, 1.5, 1, (0.0, 0.0))[0]
    assert (p["initial_capital"], p["leverage"], p["slippage"]) == (5.0, 3.0, 0.01)
    assert np.isinf(p["max_participation"])
    assert (p["fill_on_touch"], p["intrabar"]) == (1, Intrabar.PATH)
    assert (p["allow_long"], p["allow_short"]) == (1, 0)
    for name in ("buy_maker", "buy_taker", "sell_maker", "sell_taker"):
        assert p[name] == getattr(fees, name)
    assert (p["buy_order_flat"], p["buy_order_rate"], p["sell_order_flat"], p["sell_order_rate"]) == (
        20.0,
        0.0003,
        10.0,
        0.0002,
    )


@pytest.mark.parametrize(
    ("quantity", "lot", "ordered"),
    [
        (1.0, 0.0, 1.0),
        (0.3, 0.1, 0.3),
        (0.39, 0.1, 0.3),
        (1, 1, 1.0),
        (np.float32(2.5), 0.5, 2.5),
        (7.0, 2.0, 6.0),
        (0.29, 1e-8, 0.29),
    ],
)
def test_an_order_is_floored_to_the_lot_and_a_whole_number_of_lots_stays(
    quantity: Any, lot: float, ordered: float
) -> None:
    assert order_quantity(quantity, lot) == ordered


def test_candles_that_were_taken_with_a_report_are_not_refused_later() -> None:
    bad = Candles.of(
        {"time": [START, START], "open": [1, 1], "high": [1, 1], "low": [1, 1], "close": [1, 1], "volume": [1, 1]},
        symbol="X",
        timeframe="1H",
        audit="report",
    )
    assert as_candles(bad) is bad
    with pytest.raises(DataError):
        as_candles(list(bad), timeframe="1H")
    assert as_candles(grid(3, "1H"), "binance", "x", "1h").exchange == "BINANCE"
    assert datetime.fromtimestamp(START / 1000, UTC) == datetime(2025, 1, 1, tzinfo=UTC)
