"""Sections 1, 4, 6 and 7 with detail candles: hourly signals, fills in 30-minute bars.

Bars of trades and programs are lines of the detail table: 0 and 1 lie in the first hour, 2 and 3 in the second, and so
on. What the last closed hour says holds for both of an hour's bars.
"""

from tests.scenarios.harness import (
    Program,
    Scenario,
    Trade,
    check,
    clear,
    each,
    market_order,
    tier1_only,
    tier2_only,
    tiers,
)

AT_100 = (2, 100.0, "tier 4", "taker")

CLOCK = [
    Scenario(
        "tier 1 waits at the anchor of the last closed hour in both of its bars",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    98.0  <- long signal
            100.0  101.0   98.2   99.0    98.5
             99.0   99.5   98.4   99.2    99.0
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  101.0   98.6   99.5   <- limit 98.0
             99.5   99.8   98.2   99.0   <- limit 98.0 still, the anchor 98.5 is known at the hour's close
             99.0   99.5   98.4   99.0   <- limit 98.5
             99.0   99.4   98.8   99.2
        """,
        params=tier1_only(bars=2),
        trades=[Trade("long", entry=(4, 98.5, "tier 1", "maker"), exit=(5, 99.2, "end_of_data"))],
    ),
    Scenario(
        "a timeout of one hour is two bars",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.6  100.0
            100.0  100.4   99.0   99.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  100.5   99.6  100.0   <- limit 99.5
            100.0  100.4   99.6  100.0
            100.0  100.4   99.0   99.5   <- over
             99.5   99.8   99.2   99.5
        """,
        params=tier2_only(bars=1),
        programs=[Program("long", "timeout", end=4)],
    ),
    Scenario(
        "bars that are missing do not count against a timeout",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.6  100.0
            100.0  100.4   99.4   99.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  100.5   99.6  100.0   <- limit 99.5, first bar
            -
            100.0  100.4   99.4   99.6   <- limit 99.5, second bar
             99.6   99.8   99.2   99.5
        """,
        params=tier2_only(bars=1),
        trades=[Trade("long", entry=(4, 99.5, "tier 2", "maker"), exit=(5, 99.5, "end_of_data"))],
    ),
    Scenario(
        "a tier that begins within an hour goes by the last closed hour",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  101.2   99.6  101.0    95.0
            101.0  101.5  100.4  101.2    95.0
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  100.5   99.6  100.2   <- tier 1, first bar
            -
            101.0  101.5  100.8  101.4   <- tier 1, second bar
            101.4  101.5  100.4  101.2   <- tier 2 at 100.5 = 101.0 - 0.5, not 100.9 = 101.4 - 0.5
        """,
        params=tiers(t1=1, t2=1),
        trades=[Trade("long", entry=(5, 100.5, "tier 2", "maker"), exit=(5, 101.2, "end_of_data"))],
    ),
    Scenario(
        "a signal acts in the first bar of the next hour that is there",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.6  100.2
            100.2  100.6  100.0  100.4
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            -
            100.1  100.4   99.8  100.2   <- in at 100.1
            100.2  100.6  100.0  100.3
            100.3  100.5  100.1  100.4
        """,
        params=market_order(),
        trades=[Trade("long", entry=(3, 100.1, "tier 4", "taker"), exit=(5, 100.4, "end_of_data"))],
    ),
    Scenario(
        "a signal followed by an hour without any bar is never acted on",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.6  100.2
            100.2  100.6  100.0  100.4
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            -
            -
            100.2  100.6  100.0  100.3   <- by now the last closed hour says nothing
            100.3  100.5  100.1  100.4
        """,
        params=market_order(),
    ),
    Scenario(
        "slices are equal over the detail bars of the tier, and the band is the closed hour's",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  102.0   99.0  102.0   97.0
            100.0  101.5   99.5  101.0   97.0
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  101.0   99.0  100.0   <- 4 / 4 = 1 at 100
            100.0  102.0   99.0  102.0   <- 3 / 3 = 1 at 101, VWAP 100.0 still
            100.0  101.0   99.5  100.5   <- 100.0 - 97.0 = 3.0 is over 2.0
            100.5  101.5  100.0  101.0   <- refused too
        """,
        params=tiers(t3=2),
        quantity=4,
        programs=[
            Program(
                "long",
                "end_of_data",
                end=5,
                fills=[(2, 100.0, "tier 3", "taker", 1.0), (3, 101.0, "tier 3", "taker", 1.0)],
            )
        ],
        trades=[Trade("long", entry=(2, 100.5), exit=(5, 101.0, "end_of_data"), quantity=2.0, gross=1.0)],
    ),
]

EXITS = [
    Scenario(
        "detail shows which of stop and target came first",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  105.0   96.0   98.0   <- stop 97.0 and target 104.0, unclear by itself
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  101.0   99.0  100.0
            100.0  100.5   99.5  100.0
            100.0  105.0   99.0  104.5   <- the target
            104.5  104.8   96.0   98.0
        """,
        params=market_order(),
        readings=clear([Trade("long", entry=AT_100, exit=(4, 104.0, "take_profit"))]),
    ),
    Scenario(
        "an hour's signal is new in the hour's first bar only: no way back in after a stop",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   96.5   98.0
             98.0   99.0   97.5   98.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  101.0   96.5   97.5   <- in at 100.0, out at 97.0
             97.5   98.5   97.0   98.0
             98.0   99.0   97.5   98.2
             98.2   99.0   97.8   98.5
        """,
        params=market_order(bars=2),
        trades=[Trade("long", entry=AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
    Scenario(
        "the opposite signal turns the position at the first open after the hour",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal
            100.5  101.0   99.0   99.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  101.0   99.0  100.0
            100.0  100.5   99.5  100.0
            100.5  101.0   99.5   99.8
             99.8  100.2   99.0   99.5
        """,
        params=market_order(exit_on_opposite_signal=True),
        trades=[
            Trade("long", entry=AT_100, exit=(4, 100.5, "opposite_signal")),
            Trade("short", entry=(4, 100.5, "tier 4", "taker"), exit=(5, 99.5, "end_of_data")),
        ],
    ),
    Scenario(
        "a trail found in one half of an hour holds in the other",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.0   99.5  101.2
            101.2  101.5  100.8  101.2
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  104.0   99.5  103.5   <- best 104.0, trail 101.0 = 104.0 - 3.0
            103.0  103.2  100.9  101.2
            101.2  101.5  101.0  101.3
            101.3  101.4  100.8  101.2
        """,
        params=market_order(target=10.0, trail_stop=0.0),
        trades=[Trade("long", entry=AT_100, exit=(3, 101.0, "trailing_stop"))],
    ),
]

MONEY = [
    Scenario(
        "equity is sampled at the hours' closes",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.0  100.5
            100.5  103.0  100.0  102.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  102.0   99.0  101.5
            101.5  101.8  100.0  100.5
            100.5  101.0  100.0  100.2
            100.2  103.0  100.0  102.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=AT_100, exit=(5, 102.5, "end_of_data"))],
        equity=[100_000.0, 100_000.5, 100_002.5],
    ),
    Scenario(
        "equity of an hour whose last bars are missing is that of its last bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.0  101.5
            101.5  103.0  100.0  102.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  102.0   99.0  101.5
            -
            101.5  101.8  100.0  100.2
            100.2  103.0  100.0  102.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=AT_100, exit=(5, 102.5, "end_of_data"))],
        equity=[100_000.0, 100_001.5, 100_002.5],
    ),
    Scenario(
        "funding is charged at the close of the detail bar it falls in",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.0  100.5
            100.5  103.0  100.0  102.5
        """,
        detail="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  102.0   99.0  101.5   <- 0.1015 = 101.5 * 0.001
            101.5  101.8  100.0  100.5
            100.5  101.0  100.0  100.2
            100.2  103.0  100.0  102.5
        """,
        params=market_order(),
        funding=[(3.0, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=(5, 102.5, "end_of_data"), funding=0.1015)],
    ),
    Scenario(
        "the volume cap is a share of the detail bar's volume",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     200  <- long signal
            100.0  101.0   99.0  100.0      70
            100.0  101.0   99.0  100.5     200
        """,
        detail="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100
            100.0  100.4   99.6  100.0     100
            100.0  101.0   99.0  100.0      40  <- 4
            100.0  101.0   99.0  100.0      30  <- 3
            100.0  101.0   99.0  100.0     100  <- the hour is over
            100.0  101.0   99.0  100.5     100
        """,
        params=market_order(),
        quantity=10,
        programs=[
            Program(
                "long",
                "timeout",
                end=4,
                fills=[(2, 100.0, "tier 4", "taker", 4.0), (3, 100.0, "tier 4", "taker", 3.0)],
            )
        ],
        trades=[Trade("long", entry=(2, 100.0), exit=(5, 100.5, "end_of_data"), quantity=7.0)],
    ),
]

SCENARIOS = [*CLOCK, *EXITS, *MONEY]


@each(SCENARIOS)
def test_detail_candles_carry_the_fills_and_leave_the_signals_alone(scenario: Scenario) -> None:
    check(scenario)
