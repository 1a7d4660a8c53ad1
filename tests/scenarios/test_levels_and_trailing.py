"""Section 5: the mean entry price, the best price, where trailing starts, and which of its levels is the stop in force.

Most tables enter at 100.0 at the open of bar 1 with an ATR of 2.0: the first stop is 97.0, and a trailing stop stands
3.0 below the best price. Where the target would be in the way it is moved out of sight (target=10: 120.0).
"""

from tests.scenarios.harness import (
    Program,
    Scenario,
    Trade,
    check,
    each,
    market_order,
    tier2_only,
    tier3_only,
    tiers,
)

AT_100 = (1, 100.0, "tier 4", "taker")

TRAILING_STOP = [
    Scenario(
        "the stop trails from the gain that starts it, at its distance below the best price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.5  101.5   <- best 102.0 = 100.0 * 1.02, trail 99.0 = 102.0 - 1.5 * 2.0
            101.0  101.5   98.9   99.2
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("long", entry=AT_100, exit=(2, 99.0, "trailing_stop"))],
    ),
    Scenario(
        "short of that gain the stop does not trail",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.9   99.5  101.5   <- best 101.9 is below 102.0
            101.0  101.5   98.9   99.2
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("long", entry=AT_100, exit=(2, 99.2, "end_of_data"))],
    ),
    Scenario(
        "a short's stop trails from a gain that is a fraction of its entry price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.5   98.0   98.5   <- best 98.0 = 100.0 * 0.98, trail 101.0 = 98.0 + 3.0
             99.0  101.1   98.5  100.8
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("short", entry=AT_100, exit=(2, 101.0, "trailing_stop"), gross=-1.0)],
    ),
    Scenario(
        "short of that gain a short's stop does not trail",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.5   98.1   98.5   <- best 98.1 is above 98.0
             99.0  101.1   98.5  100.8
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("short", entry=AT_100, exit=(2, 100.8, "end_of_data"))],
    ),
    Scenario(
        "a trail is in force from the next bar on, there from its open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.5  100.5   <- trail 100.0 = 103.0 - 3.0, the low 99.5 of this bar does not count
             99.8  100.5   99.0   99.5   <- opens below it
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("long", entry=AT_100, exit=(2, 99.8, "trailing_stop"))],
    ),
    Scenario(
        "with trailing switched off the stop stays",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.5  100.5
             99.8  100.5   97.1   99.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=AT_100, exit=(2, 99.5, "end_of_data"))],
    ),
    Scenario(
        "a carried position's best price is the high",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.5
            100.5  103.0  100.2  102.5   <- best 103.0, trail 100.0
            101.0  101.5   99.9  100.5
        """,
        params=market_order(trail_stop=0.02),
        trades=[Trade("long", entry=AT_100, exit=(3, 100.0, "trailing_stop"))],
    ),
    Scenario(
        "a trail never loosens",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  105.0   99.5  104.0   <- trail 102.0 = 105.0 - 3.0
            104.0  104.5  102.5  103.0   <- a lower high changes nothing
            103.0  103.5  101.5  102.0
        """,
        params=market_order(trail_stop=0.02, target=10.0),
        trades=[Trade("long", entry=AT_100, exit=(3, 102.0, "trailing_stop"))],
    ),
    Scenario(
        "the trailing stop has a distance of its own where one is given",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.5  101.5   <- trail 101.0 = 102.0 - 0.5 * 2.0
            101.5  101.8  100.9  101.2
        """,
        params=market_order(trail_stop=0.02, trailing_sl_atr_multiplier=0.5),
        trades=[Trade("long", entry=AT_100, exit=(2, 101.0, "trailing_stop"))],
    ),
    Scenario(
        "a trail that is looser than the first stop is not in force",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.0   99.5  101.5   <- trail 96.0 = 102.0 - 3.0 * 2.0, below 97.0
            101.0  101.5   96.5   98.0
        """,
        params=market_order(trail_stop=0.02, trailing_sl_atr_multiplier=3.0),
        trades=[Trade("long", entry=AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
    Scenario(
        "a trail that is level with the first stop leaves it its name",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.0   99.0   99.5   <- best 100.0, trail 97.0 = 100.0 - 3.0
             99.0   99.5   96.5   97.5
        """,
        params=market_order(trail_stop=0.0),
        trades=[Trade("long", entry=AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
]

BEST_PRICE_OF_THE_ENTRY_BAR = [
    Scenario(
        "after a limit fill inside the bar its high is no best price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.4  100.0   <- in at 99.5, best 100.0, trailing would start at 101.49 = 99.5 * 1.02
            100.0  100.5   98.0   99.5   <- with 103.0 the trail would be 100.0
        """,
        params=tier2_only(trail_stop=0.02),
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(2, 99.5, "end_of_data"))],
    ),
    Scenario(
        "after a limit fill inside the bar its close is the best price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.4  102.0   <- in at 99.5, best 102.0, trail 99.0
            101.0  101.5   98.9   99.2
        """,
        params=tier2_only(trail_stop=0.02),
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(2, 99.0, "trailing_stop"))],
    ),
    Scenario(
        "after a VWAP slice the high of its bar is no best price",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  103.0   98.0   99.0  100.0  <- in at 100 = (103 + 98 + 99) / 3, best 100.0
             99.0   99.5   98.5   99.0  100.0  <- with 103.0 the trail would be 100.0
        """,
        params=tier3_only(trail_stop=0.02),
        trades=[Trade("long", entry=(1, 100.0, "tier 3", "taker"), exit=(2, 99.0, "end_of_data"))],
    ),
    Scenario(
        "in a bar that adds a slice to a carried position its high is the best price",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 1 at 100
            100.0  103.0   99.5  100.5  100.0  <- 1 at 101, mean 100.5; best 103.0 is beyond 102.51, trail 100.0
            100.5  101.0   99.9  100.2  100.0
        """,
        params=tier3_only(bars=2, trail_stop=0.02),
        quantity=2,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 3", "taker", 1.0), (2, 101.0, "tier 3", "taker", 1.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 100.5), exit=(3, 100.0, "trailing_stop"), gross=-1.0)],
    ),
    Scenario(
        "the best price starts at the first fill, not at the mean of all",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  101.0  <- long signal
            101.0  104.0  101.0  101.0  101.0  <- 1 at 102 = (104 + 101 + 101) / 3, best 102.0
             98.0   99.0   97.0   98.0  101.0  <- 1 at 98; mean 100.0, best 102.0 = 100.0 * 1.02, trail 99.0
             98.5   99.0   98.0   98.5  101.0  <- opens below it
        """,
        params=tier3_only(bars=2, stop=4.0, target=10.0, trail_stop=0.02, trailing_sl_atr_multiplier=1.5),
        quantity=2,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 102.0, "tier 3", "taker", 1.0), (2, 98.0, "tier 3", "taker", 1.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 98.5, "trailing_stop"), gross=-3.0)],
    ),
]

TRAILING_TAKE_PROFIT = [
    Scenario(
        "the target turns into a trailing take-profit from the gain that starts it",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.5   99.5  103.0   <- best 103.5 is beyond 103.0 = 100.0 * 1.03, trail 101.5 = 103.5 - 1.0 * 2.0
            102.5  105.0  102.0  104.5   <- the target 104.0 is dropped, trail 103.0 = 105.0 - 2.0
            104.0  104.5  102.9  103.5
        """,
        params=market_order(trail_target=0.03),
        trades=[Trade("long", entry=AT_100, exit=(3, 103.0, "trailing_take_profit"))],
    ),
    Scenario(
        "short of that gain the target is taken",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.9   99.5  102.5   <- best 102.9 is below 103.0
            102.5  105.0  102.0  104.5
        """,
        params=market_order(trail_target=0.03),
        trades=[Trade("long", entry=AT_100, exit=(2, 104.0, "take_profit"))],
    ),
    Scenario(
        "a short's target turns into a trailing take-profit at a fraction of its entry price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.5   96.5   97.0   <- best 96.5 is beyond 97.0 = 100.0 * 0.97, trail 98.5 = 96.5 + 2.0
             97.5   98.0   95.0   95.5   <- the target 96.0 is dropped, trail 97.0 = 95.0 + 2.0
             96.0   97.1   95.5   96.5
        """,
        params=market_order(trail_target=0.03),
        trades=[Trade("short", entry=AT_100, exit=(3, 97.0, "trailing_take_profit"), gross=3.0)],
    ),
    Scenario(
        "the dropped target does not come back with a later fill",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  103.5   99.5  103.0      40  <- 4 at 100.0, target dropped, trail 101.5
            102.0  105.5  101.75 105.0      40  <- 4 at 102.0, mean 101.0; 105.0 = 101.0 + 4.0 is no target any more
            104.5  105.0  103.4  104.0     100  <- trail 103.5 = 105.5 - 2.0
        """,
        params=market_order(bars=2, trail_target=0.03),
        quantity=8,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 4", "taker", 4.0), (2, 102.0, "tier 4", "taker", 4.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 101.0), exit=(3, 103.5, "trailing_take_profit"), gross=20.0)],
    ),
    Scenario(
        "the tighter of two trails gives the name: take-profit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.5  102.5   <- trails 100.0 = 103.0 - 1.5 * 2.0 and 101.0 = 103.0 - 1.0 * 2.0
            102.0  102.5  100.5  101.0
        """,
        params=market_order(trail_stop=0.02, trail_target=0.02),
        trades=[Trade("long", entry=AT_100, exit=(2, 101.0, "trailing_take_profit"))],
    ),
    Scenario(
        "the tighter of two trails gives the name: stop",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.5  102.5   <- trails 102.0 = 103.0 - 0.5 * 2.0 and 101.0 = 103.0 - 1.0 * 2.0
            102.5  103.0  101.5  102.0
        """,
        params=market_order(trail_stop=0.02, trail_target=0.02, trailing_sl_atr_multiplier=0.5),
        trades=[Trade("long", entry=AT_100, exit=(2, 102.0, "trailing_stop"))],
    ),
    Scenario(
        "a new position knows nothing of the levels of the last",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.5   99.5  103.0   <- target dropped, trail 101.5 = 103.5 - 2.0
            102.0  102.5  101.0  101.2   <- long signal, out at 101.5
            101.0  101.5   99.5  100.0   <- in at 101.0, stop 98.0, target 105.0
            104.0  105.5  103.0  105.0
        """,
        params=market_order(trail_stop=0.02, trail_target=0.03),
        trades=[
            Trade("long", entry=AT_100, exit=(2, 101.5, "trailing_take_profit")),
            Trade("long", entry=(3, 101.0, "tier 4", "taker"), exit=(4, 105.0, "take_profit")),
        ],
    ),
    Scenario(
        "of two trails that are level the stop gives the name",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.0   99.5  102.5   <- both trails 101.0 = 103.0 - 1.0 * 2.0
            102.0  102.5  100.5  101.0
        """,
        params=market_order(trail_stop=0.02, trail_target=0.02, trailing_sl_atr_multiplier=1.0),
        trades=[Trade("long", entry=AT_100, exit=(2, 101.0, "trailing_stop"))],
    ),
]

MEAN_ENTRY_PRICE = [
    Scenario(
        "stop and target move with the mean entry price",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- 4 at 100.0, stop 97.0, target 104.0
             98.0   99.0   97.5   98.5      40  <- 4 at 98.0, mean 99.0, stop 96.0, target 103.0
             98.5   99.0   96.5   97.0     100  <- above the new stop
             98.0  103.25  97.5  103.0     100  <- beyond the new target
        """,
        params=market_order(bars=2),
        quantity=8,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 4", "taker", 4.0), (2, 98.0, "tier 4", "taker", 4.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 99.0), exit=(4, 103.0, "take_profit"), gross=32.0)],
    ),
    Scenario(
        "the mean weighs fills by quantity, over tiers too",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.5   99.4  100.0      20  <- tier 2, 2 at 99.5, stop 96.5
            100.5  101.0   99.5  100.0     100  <- tier 4, 6 at 100.5, mean 100.25 = (2 * 99.5 + 6 * 100.5) / 8
            100.0  100.5   97.0   98.0     100  <- stop 97.25 = 100.25 - 3.0
        """,
        params=tiers(t2=1, t4=1),
        quantity=8,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 99.5, "tier 2", "maker", 2.0), (2, 100.5, "tier 4", "taker", 6.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 100.25), exit=(3, 97.25, "stop_loss"), gross=-24.0)],
    ),
    Scenario(
        "what was carried is judged by the stop it had, before the bar's own fill",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- 4 at 100.0, stop 97.0
             98.0   99.0   96.9   98.0      40  <- out at 97.0; 4 more at 98.0 would have moved the stop to 96.0
             98.0   99.0   97.5   98.5     100
        """,
        params=market_order(bars=2),
        quantity=8,
        programs=[Program("long", "position_closed", end=2, fills=[(1, 100.0, "tier 4", "taker", 4.0)])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 97.0, "stop_loss"), quantity=4.0)],
    ),
]

SCENARIOS = [*TRAILING_STOP, *BEST_PRICE_OF_THE_ENTRY_BAR, *TRAILING_TAKE_PROFIT, *MEAN_ENTRY_PRICE]


@each(SCENARIOS)
def test_levels_move_as_the_law_of_levels_says(scenario: Scenario) -> None:
    check(scenario)
