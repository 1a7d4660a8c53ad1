"""Fee schedules: contract notes worked by hand, and the promises that every schedule keeps."""

import dataclasses
import json
import math
from datetime import date
from pathlib import Path

import pytest

from barwise.costs import FeePart, FeeSchedule, fee_exchanges, fee_schedule, products
from barwise.errors import ConfigError

BUY, SELL = +1, -1
MAKER, TAKER = True, False
BROKERS = ("ZERODHA", "DHAN")
ALL = [(exchange, product) for exchange in fee_exchanges() for product in products(exchange)]
NOTIONALS = (0.01, 1.0, 999.0, 10_000.0, 66_666.0, 66_667.0, 100_000.0, 2_500_000.0)
RATES = ("buy_maker", "buy_taker", "sell_maker", "sell_taker")
PER_ORDER = ("buy_order_flat", "buy_order_rate", "sell_order_flat", "sell_order_rate")


# Every figure was added up with a pencil from the published rates; nothing here was read back from the code.
CONTRACT_NOTES = [
    # 100 shares at 1,000. STT 100.00, stamp 15.00, NSE 3.07, SEBI 0.10, GST 18 % of 3.17 = 0.5706
    ("ZERODHA", "equity_delivery", BUY, TAKER, 100_000, 118.7406),
    ("DHAN", "equity_delivery", BUY, TAKER, 100_000, 118.7406),
    # the sale, no stamp: STT 100.00, NSE 3.07, SEBI 0.10, GST 0.5706;
    # and the depository: (3.50 + 9.50) * 1.18 = 15.34, or 12.50 * 1.18 = 14.75
    ("ZERODHA", "equity_delivery", SELL, MAKER, 100_000, 119.0806),
    ("DHAN", "equity_delivery", SELL, MAKER, 100_000, 118.4906),
    # the depository fee is flat: a sale of 1,000 pays STT 1.00, NSE 0.0307, SEBI 0.001, GST 0.005706 and the same 15.34
    ("ZERODHA", "equity_delivery", SELL, TAKER, 1_000, 16.377406),
    # intraday above the cap (0.03 % = 30): brokerage 20.00, NSE 3.07, SEBI 0.10, GST 18 % of 23.17 = 4.1706, stamp 3.00
    ("ZERODHA", "equity_intraday", BUY, TAKER, 100_000, 30.3406),
    ("DHAN", "equity_intraday", BUY, TAKER, 100_000, 30.3406),
    # ... the sale: the same without stamp, and STT 25.00
    ("ZERODHA", "equity_intraday", SELL, TAKER, 100_000, 52.3406),
    ("DHAN", "equity_intraday", SELL, TAKER, 100_000, 52.3406),
    # intraday below the cap: brokerage 3.00, NSE 0.307, SEBI 0.01, GST 18 % of 3.317 = 0.59706, stamp 0.30
    ("ZERODHA", "equity_intraday", BUY, TAKER, 10_000, 4.21406),
    # ... sold for 11,000: brokerage 3.30, NSE 0.3377, SEBI 0.011, GST 18 % of 3.6487 = 0.656766, STT 2.75
    ("DHAN", "equity_intraday", SELL, TAKER, 11_000, 7.055466),
    # 75 index futures at 22,000: brokerage 20.00, NSE 30.195, SEBI 1.65, GST 18 % of 51.845 = 9.3321, stamp 33.00
    ("ZERODHA", "futures", BUY, TAKER, 1_650_000, 94.1771),
    ("DHAN", "futures", BUY, TAKER, 1_650_000, 94.1771),
    # ... sold at 22,100: brokerage 20.00, NSE 30.33225, SEBI 1.6575, GST 18 % of 51.98975 = 9.358155, STT 828.75
    ("ZERODHA", "futures", SELL, TAKER, 1_657_500, 890.097905),
    ("DHAN", "futures", SELL, TAKER, 1_657_500, 890.097905),
    # futures below the cap: brokerage 9.00 (DHAN 20.00 flat), NSE 0.549, SEBI 0.03, stamp 0.60,
    # GST 18 % of 9.579 (20.579)
    ("ZERODHA", "futures", BUY, TAKER, 30_000, 11.90322),
    ("DHAN", "futures", BUY, TAKER, 30_000, 24.88322),
    # 1,100 options at a premium of 90: brokerage 20.00, NSE 35.1747, SEBI 0.099, stamp 2.97,
    # GST 18 % of 55.2737 = 9.949266
    ("ZERODHA", "options", BUY, TAKER, 99_000, 68.192966),
    ("DHAN", "options", BUY, TAKER, 99_000, 68.192966),
    # ... sold at 100: brokerage 20.00, NSE 39.083, SEBI 0.11, GST 18 % of 59.193 = 10.65474, STT 165.00
    ("ZERODHA", "options", SELL, TAKER, 110_000, 234.84774),
    ("DHAN", "options", SELL, TAKER, 110_000, 234.84774),
    # half a bitcoin at 60,000
    ("BINANCE", "spot", BUY, MAKER, 30_000, 30.0),
    ("BINANCE", "spot", SELL, TAKER, 30_000, 30.0),
    ("SAMPLE", "spot", SELL, TAKER, 30_000, 30.0),
    ("BINANCE_UM", "futures", BUY, MAKER, 30_000, 6.0),
    ("BINANCE_UM", "futures", SELL, TAKER, 30_000, 15.0),
    # 10,000 at Delta: 2.00 + 0.36 GST resting, 5.00 + 0.90 GST taken
    ("DELTA", "futures", BUY, MAKER, 10_000, 2.36),
    ("DELTA", "futures", SELL, TAKER, 10_000, 5.90),
    ("ZERO", "any", SELL, TAKER, 10_000, 0.0),
]


@pytest.mark.parametrize(("exchange", "product", "side", "maker", "notional", "expected"), CONTRACT_NOTES)
def test_a_contract_note_worked_by_hand_comes_out_to_the_paisa(
    exchange: str, product: str, side: int, maker: bool, notional: float, expected: float
) -> None:
    assert fee_schedule(exchange, product).fee(side, maker, notional) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_every_schedule_has_a_contract_note_worked_by_hand() -> None:
    assert {(exchange, product) for exchange, product, *_ in CONTRACT_NOTES} == set(ALL)


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_every_schedule_and_every_part_has_source_and_date(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    published: list[FeeSchedule | FeePart] = [schedule, *schedule.parts]
    for item in published:
        assert item.source not in ("", "set by the user"), item.name
        assert date(2020, 1, 1) < date.fromisoformat(item.as_of) <= date(2026, 11, 22), item.name


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_maker_never_pays_more_than_taker(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    assert schedule.buy_maker <= schedule.buy_taker
    assert schedule.sell_maker <= schedule.sell_taker


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_fee_is_the_sum_of_the_lines_for_every_fill(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    for side in (BUY, SELL):
        for maker in (MAKER, TAKER):
            for notional in NOTIONALS:
                lines = schedule.breakdown(side, maker, notional)
                assert sum(lines.values()) == pytest.approx(schedule.fee(side, maker, notional), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("exchange", "product"), [pair for pair in ALL if pair[0] != "ZERO"])
def test_totals_are_the_sums_of_the_parts(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    for side in ("buy", "sell"):
        for liquidity in ("maker", "taker"):
            by_hand = sum(
                part.rate
                for part in schedule.parts
                if part.flat == 0 and part.side in (side, "both") and part.liquidity in (liquidity, "both")
            )
            assert getattr(schedule, f"{side}_{liquidity}") == pytest.approx(by_hand, rel=1e-12)
        flat = sum(part.flat for part in schedule.parts if part.side in (side, "both"))
        assert getattr(schedule, f"{side}_order_flat") == pytest.approx(flat, rel=1e-12, abs=0.0)


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_a_fill_of_nothing_costs_nothing(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    assert [schedule.fee(side, maker, 0.0) for side in (BUY, SELL) for maker in (MAKER, TAKER)] == [0.0] * 4


@pytest.mark.parametrize("broker", BROKERS)
def test_stt_is_due_on_both_sides_of_a_delivery_and_on_the_sale_of_all_else(broker: str) -> None:
    due = {
        product: {
            side: fee_schedule(broker, product).breakdown(side, TAKER, 100_000).get("STT", 0.0) for side in (BUY, SELL)
        }
        for product in products(broker)
    }
    assert due == {
        "equity_delivery": {BUY: pytest.approx(100.0), SELL: pytest.approx(100.0)},
        "equity_intraday": {BUY: 0.0, SELL: pytest.approx(25.0)},
        "futures": {BUY: 0.0, SELL: pytest.approx(50.0)},
        "options": {BUY: 0.0, SELL: pytest.approx(150.0)},
    }


@pytest.mark.parametrize("broker", BROKERS)
def test_stamp_duty_is_due_on_the_purchase_alone(broker: str) -> None:
    for product in products(broker):
        schedule = fee_schedule(broker, product)
        assert schedule.breakdown(BUY, TAKER, 100_000)["stamp duty"] > 0
        assert "stamp duty" not in schedule.breakdown(SELL, TAKER, 100_000)


@pytest.mark.parametrize("broker", BROKERS)
def test_gst_is_18_percent_of_the_services_and_never_of_a_tax(broker: str) -> None:
    for product in products(broker):
        for side in (BUY, SELL):
            lines = fee_schedule(broker, product).breakdown(side, TAKER, 40_000)
            gst = {name: amount for name, amount in lines.items() if name.startswith("GST on ")}
            taxes = {"STT", "stamp duty"}
            services = {name: amount for name, amount in lines.items() if name not in gst and name not in taxes}
            assert set(gst) == {f"GST on {name}" for name in services}
            assert sum(gst.values()) == pytest.approx(0.18 * sum(services.values()), rel=1e-12)


def test_delta_pays_no_indian_transaction_tax_and_no_stamp_duty() -> None:
    assert {part.name for part in fee_schedule("DELTA").parts} == {
        "maker fee",
        "GST on maker fee",
        "taker fee",
        "GST on taker fee",
    }


def test_a_depository_fee_is_due_on_delivery_sales_alone() -> None:
    for broker in BROKERS:
        for product in products(broker):
            for side in (BUY, SELL):
                lines = fee_schedule(broker, product).breakdown(side, TAKER, 100_000)
                has_fee = any(name.startswith("DP charge") for name in lines)
                assert has_fee == (product == "equity_delivery" and side == SELL)


def test_brokerage_stops_growing_at_the_cap_and_not_before() -> None:
    schedule = fee_schedule("ZERODHA", "equity_intraday")
    cap = 20 / 0.0003  # 66,666.67 rupees

    def brokerage(notional: float) -> float:
        return schedule.breakdown(BUY, TAKER, notional)["brokerage"]

    assert brokerage(cap / 2) == pytest.approx(10.0)
    assert brokerage(cap * 0.999) < 20.0
    assert brokerage(cap) == pytest.approx(20.0)
    assert brokerage(cap * 100) == 20.0


def test_the_default_of_an_indian_broker_is_the_dearest_way_to_trade_a_share() -> None:
    for broker in BROKERS:
        assert fee_schedule(broker) is fee_schedule(broker, "equity_delivery")
        for notional in (1_000.0, 20_000.0, 100_000.0, 5_000_000.0):
            round_trip = {
                product: sum(fee_schedule(broker, product).fee(side, TAKER, notional) for side in (BUY, SELL))
                for product in ("equity_delivery", "equity_intraday")
            }
            assert round_trip["equity_delivery"] > round_trip["equity_intraday"]


def test_venue_and_product_are_found_in_any_case() -> None:
    assert fee_schedule("zerodha", "Futures") is fee_schedule("ZERODHA", "futures")
    assert products("binance_um") == ("futures",)
    assert products("DHAN") == ("equity_delivery", "equity_intraday", "futures", "options")


def test_an_unknown_venue_is_refused_with_the_nearest_name_and_the_list() -> None:
    with pytest.raises(ConfigError, match="Did you mean ZERODHA") as caught:
        fee_schedule("ZERODAH")
    assert all(exchange in caught.value.message for exchange in fee_exchanges())
    assert "FeeSchedule" in caught.value.hint
    with pytest.raises(ConfigError, match="Did you mean BINANCE"):
        products("BINANCEE")


def test_an_unknown_product_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"equity_delivery, equity_intraday, futures, options.*Did you mean futures"):
        fee_schedule("ZERODHA", "future")


def test_own_rates_replace_both_sides_and_drop_the_per_order_part() -> None:
    own = fee_schedule("ZERODHA", "equity_intraday").with_rates(maker=0.0001, taker=0.0004)
    assert [getattr(own, name) for name in RATES] == [0.0001, 0.0004, 0.0001, 0.0004]
    assert [getattr(own, name) for name in PER_ORDER] == [0.0] * 4
    assert own.fee(SELL, TAKER, 100_000) == pytest.approx(40.0)
    assert own.source == "set by the user"


def test_one_own_rate_keeps_the_other_liquidity_of_the_venue() -> None:
    delta = fee_schedule("DELTA")
    own = delta.with_rates(taker=0.001)
    assert (own.buy_maker, own.sell_maker) == (delta.buy_maker, delta.sell_maker)
    assert (own.buy_taker, own.sell_taker) == (0.001, 0.001)
    assert "delta.exchange" in own.source
    assert "taker fee set by the user" in own.source
    delivery = fee_schedule("ZERODHA").with_rates(maker=0.0)
    assert delivery.fee(BUY, TAKER, 100_000) == pytest.approx(118.7406)
    assert delivery.fee(SELL, TAKER, 100_000) == pytest.approx(103.7406)  # without the depository fee


def test_no_own_rate_changes_nothing() -> None:
    schedule = fee_schedule("DHAN")
    assert schedule.with_rates() is schedule


def test_own_rates_work_on_a_schedule_without_parts() -> None:
    plain = FeeSchedule("mine", 0.001, 0.002, 0.003, 0.004, buy_order_flat=5.0, buy_order_rate=math.inf)
    own = plain.with_rates(maker=0.0005)
    assert [getattr(own, name) for name in (*RATES, "buy_order_flat")] == [0.0005, 0.002, 0.0005, 0.004, 0.0]


def test_a_percentage_given_as_a_fraction_is_refused() -> None:
    with pytest.raises(ConfigError, match="10% of every fill") as caught:
        fee_schedule("BINANCE").with_rates(taker=0.1)
    assert "0.1 % is 0.001" in caught.value.hint


@pytest.mark.parametrize("bad", [-0.0001, math.nan, math.inf, "much", None, True])
def test_a_rate_that_is_no_number_from_zero_up_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError):
        FeeSchedule("mine", 0.001, bad, 0.001, 0.001)  # type: ignore[arg-type]


@pytest.mark.parametrize(("flat", "rate"), [(20.0, 0.0), (0.0, 0.0003), (math.inf, 0.0003), (-1.0, 0.0003)])
def test_half_a_per_order_part_is_refused(flat: float, rate: float) -> None:
    with pytest.raises(ConfigError):
        FeeSchedule("mine", 0.001, 0.001, 0.001, 0.001, sell_order_flat=flat, sell_order_rate=rate)


@pytest.mark.parametrize(("side", "notional"), [(0, 1.0), (2, 1.0), (1, -1.0), (1, math.nan), (-1, math.inf)])
def test_a_fill_that_cannot_be_is_refused(side: int, notional: float) -> None:
    for call in (fee_schedule("ZERODHA").fee, fee_schedule("ZERODHA").breakdown):
        with pytest.raises(ConfigError):
            call(side, TAKER, notional)


def test_parts_that_do_not_add_up_to_the_totals_are_refused() -> None:
    schedule = fee_schedule("BINANCE_UM")
    with pytest.raises(ConfigError, match=r"parts add up to 0\.0005"):
        dataclasses.replace(schedule, buy_taker=0.0004)
    cheaper = dataclasses.replace(schedule, buy_taker=0.0004, parts=())
    assert (cheaper.buy_taker, cheaper.sell_taker) == (0.0004, 0.0005)
    assert cheaper.breakdown(BUY, TAKER, 1_000) == {"rate": pytest.approx(0.4), "per order": 0.0}


def test_per_order_parts_that_one_cap_cannot_express_are_refused() -> None:
    capped = FeePart("brokerage", "both", 0.0003, flat=20.0)
    with pytest.raises(ConfigError, match="different notionals"):
        FeeSchedule.from_parts("mine", [capped, FeePart("desk", "sell", math.inf, flat=10.0)])
    same_cap = FeePart("levy on brokerage", "both", 0.00003, flat=2.0)
    assert FeeSchedule.from_parts("mine", [capped, same_cap]).fee(BUY, TAKER, 10_000) == pytest.approx(3.3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": "long"},
        {"liquidity": "resting"},
        {"source": ""},
        {"name": " "},
        {"as_of": "8 October 2026"},
        {"flat": 5.0, "rate": 0.0},
        {"flat": 5.0, "liquidity": "maker"},
        {"rate": 0.5},
    ],
)
def test_a_part_with_a_wrong_field_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        FeePart.from_dict({"name": "levy", "side": "buy", "rate": 0.001, **wrong})


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_a_schedule_survives_json_unchanged(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    text = json.dumps(schedule.to_dict(), allow_nan=False)
    assert FeeSchedule.from_dict(json.loads(text)) == schedule


def test_a_schedule_can_be_read_from_its_parts_alone() -> None:
    full = fee_schedule("ZERODHA", "futures")
    parts_only = {key: full.to_dict()[key] for key in ("name", "source", "as_of", "parts")}
    assert FeeSchedule.from_dict(parts_only) == full


def test_a_misspelt_field_is_refused_with_the_nearest_name() -> None:
    data = {"name": "mine", "buy_maker": 0.001, "buy_taker": 0.001, "sell_maker": 0.001, "sell_taker": 0.001}
    with pytest.raises(ConfigError, match="Did you mean buy_order_flat"):
        FeeSchedule.from_dict({**data, "buy_order_flt": 20})
    with pytest.raises(ConfigError, match="sell_taker is missing"):
        FeeSchedule.from_dict({key: value for key, value in data.items() if key != "sell_taker"})
    with pytest.raises(ConfigError, match="Did you mean rate"):
        FeeSchedule.from_dict({**data, "parts": [{"name": "levy", "side": "buy", "rat": 0.001}]})
    with pytest.raises(ConfigError, match="a list of tables"):
        FeeSchedule.from_dict({**data, "parts": "levy"})


def test_whole_numbers_are_kept_as_floats() -> None:
    schedule = FeeSchedule("mine", 0, 0, 0, 0, sell_order_flat=20, sell_order_rate=math.inf)
    assert all(type(getattr(schedule, name)) is float for name in (*RATES, *PER_ORDER))
    assert schedule.fee(SELL, TAKER, 1) == 20.0


def test_schedules_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        fee_schedule("BINANCE").buy_taker = 0.0  # type: ignore[misc]


def test_sample_is_labelled_synthetic_and_costs_what_binance_costs() -> None:
    sample, binance = fee_schedule("SAMPLE"), fee_schedule("BINANCE")
    assert "SYNTHETIC" in sample.name
    assert "synthetic" in sample.source
    assert [getattr(sample, name) for name in RATES] == [getattr(binance, name) for name in RATES]


def _percent(rate: float) -> str:
    return f"{100 * rate:.6g} %"


def _per_order(flat: float, rate: float) -> str:
    if flat == 0:
        return "-"
    return f"{flat:.6g}" if math.isinf(rate) else f"min({flat:.6g}, {_percent(rate)})"


@pytest.mark.parametrize(("exchange", "product"), ALL)
def test_the_page_about_costs_shows_the_totals_that_are_charged(exchange: str, product: str) -> None:
    schedule = fee_schedule(exchange, product)
    row = [
        f"{exchange} {product}",
        *(_percent(getattr(schedule, name)) for name in RATES),
        _per_order(schedule.buy_order_flat, schedule.buy_order_rate),
        _per_order(schedule.sell_order_flat, schedule.sell_order_rate),
        schedule.as_of,
    ]
    page = (Path(__file__).resolve().parents[1] / "docs" / "costs.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(row)} |" in page
