"""Section 6: how a position ends, rule by rule and in their order, and what an entry leaves to the rest of its own bar.

Most tables enter at 100.0 at the open of bar 1 and ask what bar 2 does: with an ATR of 2.0 the stop is 97.0 and the
target 104.0 for a long, 103.0 and 96.0 for a short.
"""

from tests.scenarios.harness import (
    Program,
    Scenario,
    Trade,
    check,
    each,
    market_order,
    tier1_only,
    tier2_only,
    tier3_only,
)

SLIPPAGE = {"slippage": 0.001}
LONG_AT_100 = (1, 100.0, "tier 4", "taker")

STOP = [
    Scenario(
        "rule 1 long: an open below the stop is the exit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- in at 100.1 = 100.0 * 1.001, stop 97.1
             95.0   96.0   94.0   95.5   <- out at 94.905 = 95.0 * 0.999
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 94.905, "stop_loss"), gross=-5.195)],
    ),
    Scenario(
        "rule 1 short: an open above the stop is the exit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0   <- in at 99.9 = 100.0 * 0.999, stop 102.9
            105.0  106.0  104.0  105.5   <- out at 105.105 = 105.0 * 1.001
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(1, 99.9, "tier 4", "taker"), exit=(2, 105.105, "stop_loss"), gross=-5.205)],
    ),
    Scenario(
        "rule 1: an open at exactly the stop is the exit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
             97.0  104.5   96.5   97.2   <- no look at the target, the position is gone at the open
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
    Scenario(
        "rule 3 long: a low below the stop sells at the stop worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- in at 100.1, stop 97.1
            100.0  100.5   96.5   97.0   <- out at 97.0029 = 97.1 * 0.999
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 97.0029, "stop_loss"), gross=-3.0971)],
    ),
    Scenario(
        "rule 3 short: a high above the stop buys at the stop worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0   <- in at 99.9, stop 102.9
            100.0  103.5   99.5  103.0   <- out at 103.0029 = 102.9 * 1.001
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(1, 99.9, "tier 4", "taker"), exit=(2, 103.0029, "stop_loss"), gross=-3.1029)],
    ),
    Scenario(
        "rule 3: a low at exactly the stop is enough",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  100.5   97.0   98.0
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
    Scenario(
        "a low just above the stop leaves the position alone",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  100.5   97.1   98.0
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 98.0, "end_of_data"))],
    ),
]

TARGET = [
    Scenario(
        "rule 2 long: an open above the target fills the resting offer at its own price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- in at 100.1, target 104.1
            106.0  107.0  105.0  106.0   <- out at 104.1, no slippage on a maker fill
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 104.1, "take_profit"), gross=4.0)],
    ),
    Scenario(
        "rule 2 short: an open below the target fills the resting bid at its own price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0   <- in at 99.9, target 95.9
             94.0   95.0   93.0   94.5   <- out at 95.9
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(1, 99.9, "tier 4", "taker"), exit=(2, 95.9, "take_profit"), gross=4.0)],
    ),
    Scenario(
        "rule 2: an open at exactly the target is enough, under limit_fill through as well",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            104.0  104.0   96.0   96.5   <- gone at the open, so the low cannot reach the stop any more
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 104.0, "take_profit"))],
    ),
    Scenario(
        "rule 4: a high above the target sells at the target",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- in at 100.1, target 104.1
            100.0  104.25  99.5  103.0
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 104.1, "take_profit"), gross=4.0)],
    ),
    Scenario(
        "rule 4: a mere touch does not fill the target",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  104.0   99.5  103.0   <- the high is the target
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 103.0, "end_of_data"))],
    ),
    Scenario(
        "rule 4: a touch fills the target where limit_fill says touch",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  104.0   99.5  103.0
        """,
        params=market_order(),
        execution={"limit_fill": "touch"},
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 104.0, "take_profit"))],
    ),
]

OPPOSITE_SIGNAL = [
    Scenario(
        "rule 0: the opposite signal sells at the open, and goes short in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal, in at 100.1 = 100.0 * 1.001
            100.5  101.0   99.0   99.5   <- both sell at 100.3995 = 100.5 * 0.999
             99.5  100.0   99.0   99.2   <- out at 99.2992 = 99.2 * 1.001
        """,
        params=market_order(exit_on_opposite_signal=True),
        execution=SLIPPAGE,
        trades=[
            Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 100.3995, "opposite_signal"), gross=0.2995),
            Trade("short", entry=(2, 100.3995, "tier 4", "taker"), exit=(3, 99.2992, "end_of_data"), gross=1.1003),
        ],
    ),
    Scenario(
        "rule 0 comes before rule 1: an open below the stop is still an exit by the opposite signal",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal
             95.0   96.0   94.0   95.0   <- below the stop 97.0, and short at 95.0
             95.0   96.0   94.0   94.5
        """,
        params=market_order(exit_on_opposite_signal=True, chase=9.0),
        trades=[
            Trade("long", entry=LONG_AT_100, exit=(2, 95.0, "opposite_signal")),
            Trade("short", entry=(2, 95.0, "tier 4", "taker"), exit=(3, 94.5, "end_of_data")),
        ],
    ),
    Scenario(
        "rule 0 comes before rule 2: an open above the target is sold at the open, not at the target",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal
            106.0  107.0  105.0  106.0   <- above the target 104.0, and short at 106.0
            106.0  107.0  105.0  105.5
        """,
        params=market_order(exit_on_opposite_signal=True),
        trades=[
            Trade("long", entry=LONG_AT_100, exit=(2, 106.0, "opposite_signal")),
            Trade("short", entry=(2, 106.0, "tier 4", "taker"), exit=(3, 105.5, "end_of_data")),
        ],
    ),
    Scenario(
        "without exit_on_opposite_signal an opposite signal changes nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal
            100.5  101.0   99.0   99.5   <- short signal
             99.5  100.0   99.0   99.2
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(3, 99.2, "end_of_data"))],
    ),
    Scenario(
        "a signal in the direction of the position is no opposite signal",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- long signal
            100.5  101.0   99.0   99.5
        """,
        params=market_order(exit_on_opposite_signal=True),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 99.5, "end_of_data"))],
    ),
]

STRATEGY_EXIT = [
    Scenario(
        "the strategy's own exit sells at the next open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- leave long, in at 100.1 = 100.0 * 1.001
            100.5  101.0   99.0   99.5   <- out at 100.3995 = 100.5 * 0.999
             99.5  100.0   99.0   99.2
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 100.3995, "strategy_exit"), gross=0.2995)],
    ),
    Scenario(
        "an exit for either side closes a long",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- leave either
            100.5  101.0   99.0   99.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 100.5, "strategy_exit"))],
    ),
    Scenario(
        "an exit for shorts leaves a long alone",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- leave short
            100.5  101.0   99.0   99.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 99.5, "end_of_data"))],
    ),
    Scenario(
        "an exit together with an opposite entry turns the position in one bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- leave long, short signal
            100.5  101.0   99.0   99.5
             99.5  100.0   99.0   99.2
        """,
        params=market_order(),
        trades=[
            Trade("long", entry=LONG_AT_100, exit=(2, 100.5, "strategy_exit")),
            Trade("short", entry=(2, 100.5, "tier 4", "taker"), exit=(3, 99.2, "end_of_data")),
        ],
    ),
    Scenario(
        "an exit together with an entry of the same side does not enter again",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- leave long, long signal
            100.5  101.0   99.0   99.5
             99.5  100.0   99.0   99.2
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 100.5, "strategy_exit"))],
    ),
]

AFTER_AN_EXIT = [
    Scenario(
        "no program starts in the bar of an exit, and the next signal starts one",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- long signal, ignored in bar 2 whose open still holds the position
            100.0  100.5   96.5   97.0   <- long signal, stopped at 97.0
             97.0   98.0   96.0   97.5   <- in again at 97.0
             97.5   98.0   97.0   97.8
        """,
        params=market_order(),
        trades=[
            Trade("long", entry=LONG_AT_100, exit=(2, 97.0, "stop_loss")),
            Trade("long", entry=(3, 97.0, "tier 4", "taker"), exit=(4, 97.8, "end_of_data")),
        ],
        programs=[
            Program("long", "filled", end=1, fills=[LONG_AT_100], signal=0),
            Program("long", "filled", end=3, fills=[(3, 97.0, "tier 4", "taker")], signal=2),
        ],
    ),
    Scenario(
        "an opposite signal is lost when the stop ends the position at that very open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- short signal
             96.0   97.0   95.0   96.0   <- below the stop, no short before the next open
             96.0   97.0   95.0   96.0   <- and by now the signal is old
        """,
        params=market_order(chase=9.0),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 96.0, "stop_loss"))],
    ),
    Scenario(
        "the end of the data sells at the last close worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.5   <- in at 100.1
            100.5  101.5  100.0  101.0   <- out at 100.899 = 101.0 * 0.999
        """,
        params=market_order(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 100.899, "end_of_data"), gross=0.799)],
    ),
    Scenario(
        "a stop in the last bar is a stop",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  100.5   96.0   99.0
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
]

IN_THE_BAR_OF_THE_ENTRY = [
    Scenario(
        "filled at the open, stopped in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   96.5   98.0   <- in at 100.0, out at 97.0
             98.0   99.0   97.5   98.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(1, 97.0, "stop_loss"))],
    ),
    Scenario(
        "filled at the open, target in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.5   99.0  101.0   <- in at 100.0, out at 104.0, though it closed below
            101.0  102.0  100.0  101.0
        """,
        params=market_order(),
        trades=[Trade("long", entry=LONG_AT_100, exit=(1, 104.0, "take_profit"))],
    ),
    Scenario(
        "a marketable limit is filled at the open: target in the same bar",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   101.0  <- long signal
            100.0  104.5   99.0  101.0   101.0  <- the open is below the limit 101.0
            101.0  102.0  100.0  101.0   101.0
        """,
        params=tier1_only(),
        trades=[Trade("long", entry=(1, 100.0, "tier 1", "taker"), exit=(1, 104.0, "take_profit"))],
    ),
    Scenario(
        "long limit filled inside the bar, stop below it reached: stopped in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal, ATR 2.0
            100.0  100.2   95.0   96.0   <- tier 2 limit 99.8 = 100.0 - 0.1 * 2.0 filled, stop 96.8 = 99.8 - 3.0
             96.0   97.0   95.0   96.5
        """,
        params=tier2_only(offset=0.1, stop=1.5),
        trades=[Trade("long", entry=(1, 99.8, "tier 2", "maker"), exit=(1, 96.8, "stop_loss"))],
    ),
    Scenario(
        "short limit filled inside the bar, stop above it reached: stopped in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal, ATR 2.0
            100.0  105.0   99.8  104.0   <- tier 2 limit 100.2 = 100.0 + 0.1 * 2.0 filled, stop 103.2 = 100.2 + 3.0
            104.0  105.0  103.0  104.5
        """,
        params=tier2_only(offset=0.1, stop=1.5),
        trades=[Trade("short", entry=(1, 100.2, "tier 2", "maker"), exit=(1, 103.2, "stop_loss"))],
    ),
    Scenario(
        "limit filled inside a bar that closed beyond the target: the high came later, so it is sold there",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.0   99.4  103.75  <- in at 99.5, target 103.5
            103.75 104.0  103.0  103.5
        """,
        params=tier2_only(),
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(1, 103.5, "take_profit"))],
    ),
    Scenario(
        "after a VWAP slice nothing more happens in the bar",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  106.0   95.0   99.0  100.0  <- in at 100 = (106 + 95 + 99) / 3, beyond stop and target, both ignored
             99.0   99.5   98.5   99.2  100.0
        """,
        params=tier3_only(),
        trades=[Trade("long", entry=(1, 100.0, "tier 3", "taker"), exit=(2, 99.2, "end_of_data"))],
    ),
    Scenario(
        "a VWAP slice that is under water at the close is stopped at the next open",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  108.0   96.0   96.0  100.0  <- in at 100 = (108 + 96 + 96) / 3, stop 97.0
             95.0   95.5   94.5   95.2  100.0
        """,
        params=tier3_only(),
        trades=[Trade("long", entry=(1, 100.0, "tier 3", "taker"), exit=(2, 95.0, "stop_loss"))],
    ),
    Scenario(
        "a resting order the market opened through counts as filled at the open: target in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- limit 99.5 rests
             98.0  104.0   97.5  100.0   <- in at 99.5, target 103.5, though it closed below
            100.0  100.5   99.5  100.0
        """,
        params=tier2_only(bars=2),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(2, 103.5, "take_profit"))],
    ),
    Scenario(
        "a resting order the market opened through counts as filled at the open: stop in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0
             98.0   98.5   96.0   97.0   <- in at 99.5, stop 96.5
             97.0   97.5   96.5   97.0
        """,
        params=tier2_only(bars=2),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(2, 96.5, "stop_loss"))],
    ),
    Scenario(
        "a market that opened through a resting order and its stop gives the open, not the stop nobody traded at",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- limit 99.5 rests, its stop would be 96.5
             95.0   95.5   94.0   94.5   <- in at 99.5, out at 95.0: the bar never saw 96.5
             94.5   95.0   94.0   94.5
        """,
        params=tier2_only(bars=2),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(2, 95.0, "stop_loss"), gross=-4.5)],
    ),
    Scenario(
        "slippage beyond the stop's distance: in and out at the open, worsened both ways",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0  100.0  101.0   <- in at 101.0 = 100.0 * 1.01, stop 100.5, out at 99.0 = 100.0 * 0.99
            101.0  101.5  100.5  101.0
        """,
        params=market_order(stop=0.25),
        execution={"slippage": 0.01},
        trades=[Trade("long", entry=(1, 101.0, "tier 4", "taker"), exit=(1, 99.0, "stop_loss"), gross=-2.0)],
    ),
    Scenario(
        "slippage beyond a short's stop distance: in and out at the open, worsened both ways",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.0   98.0   99.0   <- in at 99.0 = 100.0 * 0.99, stop 99.5, out at 101.0 = 100.0 * 1.01
             99.0   99.5   98.5   99.0
        """,
        params=market_order(stop=0.25),
        execution={"slippage": 0.01},
        trades=[Trade("short", entry=(1, 99.0, "tier 4", "taker"), exit=(1, 101.0, "stop_loss"), gross=-2.0)],
    ),
    Scenario(
        "a second fill at the open puts the whole position under the new stop in that bar",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.5      40  <- 4 at 100.0, stop 97.0
            101.0  101.5   97.5   98.0      40  <- 4 at 101.0, mean 100.5, stop 97.5: all 8 out there
             98.0   99.0   97.5   98.5     100
        """,
        params=market_order(bars=2),
        quantity=8,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 4", "taker", 4.0), (2, 101.0, "tier 4", "taker", 4.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 100.5), exit=(2, 97.5, "stop_loss"), gross=-24.0)],
    ),
]

SCENARIOS = [*STOP, *TARGET, *OPPOSITE_SIGNAL, *STRATEGY_EXIT, *AFTER_AN_EXIT, *IN_THE_BAR_OF_THE_ENTRY]


@each(SCENARIOS)
def test_a_position_ends_as_the_exit_rules_say(scenario: Scenario) -> None:
    check(scenario)
