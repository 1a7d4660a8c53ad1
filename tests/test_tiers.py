"""Tier statistics and missed programs: hand-worked numbers, and the tiers of random runs of the reference simulator."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FILL, PROGRAM, FloatArray, Outcome, RecordArray
from barwise.core.tiers import (
    TIER_NAMES,
    missed_programs,
    program_totals,
    shortfall_bp,
    tier_statistics,
    tiers_reached,
)
from tests.reference.markets import random_case
from tests.reference.simulator import simulate

TIER_BARS = (5, 3, 4, 1)


def program(
    start: int, end: int, outcome: Outcome, *, side: int = 1, arrival: float = 100.0, filled: float = 0.0,
    price: float = np.nan,
) -> tuple[Any, ...]:  # fmt: skip
    return (start - 1, start, end, arrival, 2.0, 10.0, filled, price if filled else np.nan, side, outcome)


def fill(
    bar: int, owner: int, tier: int, price: float, quantity: float, *, side: int = 1, maker: bool = True,
    fee: float = 0.0,
) -> tuple[Any, ...]:  # fmt: skip
    return (bar, owner, price, price, quantity, fee, tier, side, maker)


def records(programs: list[Any], fills: list[Any]) -> tuple[RecordArray, RecordArray]:
    return np.array(programs, PROGRAM), np.array(fills, FILL)


def reached(programs: list[Any], fills: list[Any], tier_bars: tuple[int, int, int, int] = TIER_BARS) -> list[list[int]]:
    table = tiers_reached(*records(programs, fills), tier_bars)
    return [[tier for tier in range(1, 5) if row[tier - 1]] for row in table]


@pytest.mark.parametrize(
    ("start", "end", "outcome", "fills", "tiers"),
    [
        (10, 10, Outcome.FILLED, [fill(10, 0, 1, 99.0, 10.0)], [1]),
        (10, 14, Outcome.FILLED, [fill(14, 0, 1, 99.0, 10.0)], [1]),  # the fifth and last bar of tier 1
        (10, 15, Outcome.FILLED, [fill(15, 0, 2, 99.0, 10.0)], [1, 2]),
        (10, 22, Outcome.FILLED, [fill(22, 0, 4, 99.0, 10.0)], [1, 2, 3, 4]),
        (10, 23, Outcome.TIMEOUT, [], [1, 2, 3, 4]),
        (10, 18, Outcome.CHASE, [], [1, 2, 3]),  # the guard stood in the first bar of tier 3
        (10, 22, Outcome.MARGIN, [], [1, 2, 3, 4]),
        (10, 15, Outcome.END_OF_DATA, [], [1, 2]),
        (10, 15, Outcome.REVERSED, [], [1]),  # cancelled before tier 2 placed its order
        (10, 16, Outcome.REVERSED, [], [1, 2]),
        (10, 15, Outcome.POSITION_CLOSED, [fill(12, 0, 1, 99.0, 1.0)], [1]),
        (10, 15, Outcome.POSITION_CLOSED, [fill(15, 0, 2, 99.0, 1.0)], [1, 2]),  # stopped out in the bar of the fill
    ],
)
def test_a_program_reaches_the_tiers_it_was_alive_for(
    start: int, end: int, outcome: Outcome, fills: list[Any], tiers: list[int]
) -> None:
    assert reached([program(start, end, outcome, filled=float(len(fills)), price=99.0)], fills) == [tiers]


def test_a_skipped_tier_is_never_reached() -> None:
    assert reached([program(10, 14, Outcome.TIMEOUT)], [], (0, 3, 0, 1)) == [[2, 4]]
    assert reached([program(10, 10, Outcome.FILLED)], [], (0, 0, 0, 1)) == [[4]]


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_tiers_of_random_runs_are_those_the_reference_worked_in(first: int) -> None:
    programs_seen = 0
    for seed in range(first, first + 20):
        case = random_case(seed)
        run = simulate(**case)
        detail = case["detail"]
        ratio = 1 if detail is None else case["signal_bars"]["timeframe_ms"] // detail["timeframe_ms"]
        tier_bars = reference_tier_bars(case["rules"], ratio)
        programs = np.zeros(len(run.programs), PROGRAM)
        for row, ours in zip(run.programs, programs, strict=True):
            for name in ("signal_bar", "start_bar", "end_bar", "arrival_price", "quantity", "filled", "side"):
                ours[name] = getattr(row, name)
            ours["outcome"] = Outcome[row.outcome.upper()]
        fills = np.zeros(len(run.fills), FILL)
        for entry, ours in zip(run.fills, fills, strict=True):
            for name in ("bar", "program", "price", "quantity", "fee", "tier", "side", "maker"):
                ours[name] = getattr(entry, name)
        table = tiers_reached(programs, fills, tier_bars)
        for row, came_to in zip(run.programs, table, strict=True):
            last = max((tier for tier in range(1, 5) if came_to[tier - 1]), default=0)
            assert last == row.last_tier, f"seed {seed}: {row}"
            programs_seen += 1
        assert table[fills["program"], fills["tier"] - 1].all()
    assert programs_seen > 100


def reference_tier_bars(rules: dict[str, Any], ratio: int) -> tuple[int, int, int, int]:
    """Section 4: timeouts in signal bars times the ratio; tier 4 alone without the hybrid engine."""
    if not rules["enable_hybrid_engine"]:
        return (0, 0, 0, max(1, rules["hybrid_tier4_timeout"]) * ratio)
    one, two, three, four = (
        rules[f"hybrid_tier{tier}_timeout"] * ratio if rules[f"enable_hybrid_tier{tier}"] else 0
        for tier in (1, 2, 3, 4)
    )
    return (one, two, three, four)


# Closes of bars 0 to 39: 100 up to bar 10, then one more in each bar.
CLOSE: FloatArray = np.maximum(100.0, 90.0 + np.arange(40.0))

# Ten units each: half in tier 1 and half in tier 2; all in tier 2; nothing, chased in tier 3.
PROGRAMS = [
    program(11, 16, Outcome.FILLED, filled=10.0, price=100.5),
    program(12, 18, Outcome.FILLED, filled=10.0, price=99.0, side=-1),
    program(11, 19, Outcome.CHASE),
]
FILLS = [
    fill(13, 0, 1, 100.0, 5.0, fee=0.5),
    fill(16, 0, 2, 101.0, 5.0, fee=1.0, maker=False),
    fill(17, 1, 2, 99.0, 4.0, side=-1, fee=0.4),
    fill(18, 1, 2, 99.0, 6.0, side=-1, fee=0.6),
]


def test_tier_statistics_are_what_a_pencil_gives() -> None:
    one, two, three, four = tier_statistics(*records(PROGRAMS, FILLS), CLOSE, TIER_BARS)
    assert [row["name"] for row in (one, two, three, four)] == list(TIER_NAMES[:4])
    assert (one["programs"], one["programs_filled"], one["fills"]) == (3, 1, 1)
    assert one["fill_rate"] == pytest.approx(100 / 3)
    assert (one["quantity"], one["quantity_share"]) == (5.0, 25.0)
    assert one["mean_bars_to_fill"] == 2.0
    assert one["shortfall_bp"] == 0.0
    assert one["maker_share"] == 100.0
    assert one["fees"] == 0.5
    # Bar 13 at 100: the close of bar 14 is 104, of bar 18 108, of bar 33 123.
    assert one["drift_1_bp"] == pytest.approx(400.0)
    assert one["drift_5_bp"] == pytest.approx(800.0)
    assert one["drift_20_bp"] == pytest.approx(2300.0)

    assert (two["programs"], two["programs_filled"], two["fills"]) == (3, 2, 3)
    assert two["fill_rate"] == pytest.approx(200 / 3)
    assert (two["quantity"], two["quantity_share"]) == (15.0, 75.0)
    assert two["mean_bars_to_fill"] == 5.0  # 16 - 11 and 17 - 12; the second fill of a program does not count
    # Long 5 at 101: 100 bp; short 10 at 99, one below the arrival price: 100 bp as well.
    assert two["shortfall_bp"] == pytest.approx(100.0)
    assert two["maker_share"] == pytest.approx(100 * 10 / 15)
    assert two["fees"] == pytest.approx(2.0)
    drift = (5 * (107 / 101 - 1) - 4 * (108 / 99 - 1) - 6 * (109 / 99 - 1)) / 15 * 1e4
    assert two["drift_1_bp"] == pytest.approx(drift)

    assert (three["programs"], three["fills"], three["fill_rate"]) == (1, 0, 0.0)
    assert three["shortfall_bp"] is three["maker_share"] is three["mean_bars_to_fill"] is three["drift_1_bp"] is None
    assert (four["programs"], four["fill_rate"]) == (0, None)


def test_drift_takes_only_fills_with_enough_bars_after_them() -> None:
    tiers = tier_statistics(*records(PROGRAMS, FILLS), CLOSE[:22], TIER_BARS)
    assert [tiers[0][f"drift_{n}_fills"] for n in (1, 5, 20)] == [1, 1, 0]
    assert [tiers[1][f"drift_{n}_fills"] for n in (1, 5, 20)] == [3, 1, 0]  # bar 16 + 5 is the last of the 22
    assert tiers[1]["drift_5_bp"] == pytest.approx(1e4 * (CLOSE[21] / 101 - 1))
    assert tiers[1]["drift_20_bp"] is None


def test_totals_count_every_program_once() -> None:
    found = program_totals(records(PROGRAMS, FILLS)[0])
    assert (found["programs"], found["programs_filled"], found["missed"]) == (3, 2, 1)
    assert found["fill_rate"] == pytest.approx(200 / 3)
    assert (found["quantity"], found["filled"]) == (30.0, 20.0)
    assert found["quantity_rate"] == pytest.approx(200 / 3)
    assert found["shortfall_bp"] == pytest.approx(75.0)  # 50 bp and 100 bp, ten units each
    assert found["outcomes"]["filled"] == {"programs": 2, "programs_filled": 2, "missed": 0}
    assert found["outcomes"]["chase"] == {"programs": 1, "programs_filled": 0, "missed": 1}
    assert set(found["outcomes"]) == {outcome.name.lower() for outcome in Outcome}


def test_shortfall_of_a_better_price_is_negative_on_either_side() -> None:
    programs, _ = records(
        [
            program(1, 1, Outcome.FILLED, filled=1.0, price=99.0),
            program(1, 1, Outcome.FILLED, filled=1.0, price=101.0, side=-1),
        ],
        [],
    )
    assert shortfall_bp(programs).tolist() == pytest.approx([-100.0, -100.0])


def test_missed_programs_say_what_the_market_did_without_them() -> None:
    partly_filled = program(11, 24, Outcome.TIMEOUT, filled=1.0, price=100.0)
    programs = [*PROGRAMS, partly_filled, program(11, 14, Outcome.REVERSED, side=-1)]
    found = missed_programs(records(programs, FILLS)[0], CLOSE)
    assert found["missed"] == 2
    chased, reversed_ = found["programs"]
    assert (chased["program"], chased["outcome"], chased["side"]) == (2, "chase", 1)
    assert (chased["start_bar"], chased["end_bar"], chased["signal_bar"]) == (11, 19, 10)
    # Known at the close of bar 10; one bar later 101, five 105, twenty 120. It ended in bar 19, at 109.
    assert [chased[f"after_signal_{n}_bp"] for n in (1, 5, 20)] == pytest.approx([100.0, 500.0, 2000.0])
    assert [chased[f"after_end_{n}_bp"] for n in (1, 5, 20)] == pytest.approx(
        [1e4 * (110 / 109 - 1), 1e4 * (114 / 109 - 1), 1e4 * (129 / 109 - 1)]
    )
    assert chased["best_bp"] == pytest.approx(2000.0)
    assert reversed_["best_bp"] == pytest.approx(-100.0)
    assert found["after_signal_5_bp"] == pytest.approx(0.0)
    assert found["best_bp"] == pytest.approx(950.0)
    assert found["favourable_20_share"] == 50.0


def test_moves_beyond_the_data_are_unknown() -> None:
    found = missed_programs(records(PROGRAMS, FILLS)[0], CLOSE[:20])
    (chased,) = found["programs"]
    assert chased["after_signal_5_bp"] == pytest.approx(500.0)
    assert chased["after_signal_20_bp"] is chased["after_end_1_bp"] is None
    assert found["after_end_1_bp"] is found["favourable_20_share"] is None
    assert chased["best_bp"] == pytest.approx(900.0)  # of the closes there are


def test_without_programs_there_is_nothing_to_divide() -> None:
    programs, fills = records([], [])
    for row in tier_statistics(programs, fills, CLOSE, TIER_BARS):
        assert row["fill_rate"] is row["quantity_share"] is row["drift_20_bp"] is None
        assert row["programs"] == row["fills"] == row["quantity"] == row["fees"] == 0
    totals = program_totals(programs)
    assert totals["fill_rate"] is totals["quantity_rate"] is totals["shortfall_bp"] is None
    missed = missed_programs(programs, CLOSE)
    assert (missed["missed"], missed["programs"], missed["best_bp"]) == (0, [], None)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 9), st.sampled_from(list(Outcome)), st.sampled_from([1, -1])),
        max_size=12,
    ),
    st.floats(1e-6, 1e6),
    st.integers(0, 60),
)
def test_tier_tables_are_plain_json(drawn: list[tuple[int, int, Outcome, int]], price: float, later: int) -> None:
    programs, fills = records(
        [
            program(start, start + length, outcome, side=side, arrival=price, filled=float(length % 2), price=price)
            for start, length, outcome, side in drawn
        ],
        [
            fill(start, owner, 1, price, 1.0, side=side)
            for owner, (start, length, _, side) in enumerate(drawn)
            if length % 2
        ],
    )
    close = np.full(40 + later, price)
    tables = [
        tier_statistics(programs, fills, close, TIER_BARS),
        program_totals(programs),
        missed_programs(programs, close),
    ]
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables
