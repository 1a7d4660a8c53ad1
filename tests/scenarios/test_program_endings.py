"""Section 4: every way an entry program ends, what it leaves behind, and which signals start nothing.

In each bar the order is: the opposite signal, exits of what was carried, a new start, the tiers' clock, the guard, the
fill. A timeout is therefore written down in the bar after the last one the tiers worked in.
"""

from tests.scenarios.harness import Program, Scenario, Trade, check, each, market_order, tier2_only, tiers

FOUR_AT_100 = (1, 100.0, "tier 4", "taker", 4.0)

FILLED_OR_TIMED_OUT = [
    Scenario(
        "filled: in the bar of the last fill",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40
            100.0  101.0   99.0  100.0      40
            100.0  101.0   99.0  100.0      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[
            Program("long", "filled", end=2, fills=[FOUR_AT_100, (2, 100.0, "tier 4", "taker", 4.0)], signal=0),
        ],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.0, "end_of_data"))],
    ),
    Scenario(
        "timeout: the position keeps what was filled",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40
            100.0  101.0   99.0  100.0      40
            100.0  101.0   99.0  100.5      40
        """,
        params=market_order(bars=1),
        quantity=8,
        programs=[Program("long", "timeout", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.5, "end_of_data"), quantity=4.0)],
    ),
    Scenario(
        "position_closed, not timeout, where the position ends in the bar the timeout would be written down",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40
             96.0   97.0   95.0   96.0      40
        """,
        params=market_order(bars=1),
        quantity=8,
        programs=[Program("long", "position_closed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 96.0, "stop_loss"), quantity=4.0)],
    ),
]

REVERSED = [
    Scenario(
        "reversed: with nothing filled the opposite signal starts its own program in the same bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- short signal, the long limit 99.5 was not reached
            100.0  100.6   99.4   99.8   <- the short limit 100.5 is, the long one is gone
             99.8  100.0   99.4   99.6
        """,
        params=tier2_only(bars=3),
        programs=[
            Program("long", "reversed", end=2, signal=0),
            Program("short", "filled", end=2, fills=[(2, 100.5, "tier 2", "maker")], signal=1),
        ],
        trades=[Trade("short", entry=(2, 100.5, "tier 2", "maker"), exit=(3, 99.6, "end_of_data"))],
    ),
    Scenario(
        "reversed: with something filled the rest is cancelled, the position stays, no new program starts",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- short signal
            100.0  101.0   99.0  100.0      40
            100.0  101.0   99.0  100.5      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "reversed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.5, "end_of_data"), quantity=4.0)],
    ),
    Scenario(
        "reversed: an exit by the opposite signal cancels the rest and turns the position",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- short signal
            100.5  101.0   99.5   99.8      40  <- 4 sold at 100.5, and 4 of the short
             99.5  100.0   99.0   99.2      40  <- the other 4
             99.2   99.6   98.8   99.0      40
        """,
        params=market_order(bars=3, exit_on_opposite_signal=True),
        quantity=8,
        programs=[
            Program("long", "reversed", end=2, fills=[FOUR_AT_100], signal=0),
            Program(
                "short",
                "filled",
                end=3,
                fills=[(2, 100.5, "tier 4", "taker", 4.0), (3, 99.5, "tier 4", "taker", 4.0)],
                signal=1,
            ),
        ],
        trades=[
            Trade("long", entry=(1, 100.0), exit=(2, 100.5, "opposite_signal"), quantity=4.0),
            Trade("short", entry=(2, 100.0), exit=(4, 99.0, "end_of_data"), gross=8.0),  # mean of 100.5 and 99.5
        ],
    ),
    Scenario(
        "reversed, not position_closed, where the opposite signal and the stop come in one bar",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- short signal
             96.0   97.0   95.0   96.0      40  <- the rest is cancelled by the signal, the 4 are stopped at the open
             96.0   97.0   95.0   96.0      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "reversed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 96.0, "stop_loss"), quantity=4.0)],
    ),
    Scenario(
        "reversed: the strategy's exit cancels a program that has filled nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- leave long
            100.0  100.4   99.0  100.0   <- would be filled at 99.5
            100.0  100.4   99.0  100.0
        """,
        params=tier2_only(bars=3),
        programs=[Program("long", "reversed", end=2)],
    ),
    Scenario(
        "an exit for the other side leaves a working program alone",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- leave short
            100.0  100.4   99.4  100.0   <- filled at 99.5
            100.0  100.4   99.6  100.2
        """,
        params=tier2_only(bars=3),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 100.2, "end_of_data"))],
    ),
    Scenario(
        "reversed: an opposite signal at the close of the last tier bar still finds the program at work",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- short signal
            100.0  100.6   99.6  100.0   <- short limit 100.5
            100.0  100.2   99.6   99.8
        """,
        params=tier2_only(bars=1),
        programs=[
            Program("long", "reversed", end=2, signal=0),
            Program("short", "filled", end=2, fills=[(2, 100.5, "tier 2", "maker")], signal=1),
        ],
        trades=[Trade("short", entry=(2, 100.5, "tier 2", "maker"), exit=(3, 99.8, "end_of_data"))],
    ),
]

POSITION_CLOSED = [
    Scenario(
        "position_closed: a stop at the open cancels the rest",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40
             96.0   97.0   95.0   96.0      40  <- no second fill
             96.0   97.0   95.0   96.0      40  <- nor here
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "position_closed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 96.0, "stop_loss"), quantity=4.0)],
    ),
    Scenario(
        "position_closed: a target inside the bar cancels the rest before it could be filled at that open",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40
            101.0  104.5  100.0  104.0      40
            101.0  102.0  100.0  101.0      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "position_closed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 104.0, "take_profit"), quantity=4.0)],
    ),
    Scenario(
        "position_closed: a stop in the bar of the fill cancels the rest",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   96.5   98.0      40
             98.0   99.0   97.0   98.0      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "position_closed", end=1, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(1, 97.0, "stop_loss"), quantity=4.0)],
    ),
    Scenario(
        "position_closed: the strategy's exit cancels the rest",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- leave long
            100.5  101.0   99.5  100.0      40
            100.0  101.0   99.5  100.0      40
        """,
        params=market_order(bars=3),
        quantity=8,
        programs=[Program("long", "position_closed", end=2, fills=[FOUR_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 100.5, "strategy_exit"), quantity=4.0)],
    ),
]

END_OF_DATA = [
    Scenario(
        "end_of_data: a limit still waiting",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0
            100.0  100.4   99.6  100.0
        """,
        params=tier2_only(bars=5),
        programs=[Program("long", "end_of_data", end=2)],
    ),
    Scenario(
        "end_of_data: a rest still working is cancelled and the position sold",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- 4
            100.0  101.0   99.0  100.5      10  <- 1
        """,
        params=market_order(bars=5),
        quantity=8,
        programs=[
            Program("long", "end_of_data", end=2, fills=[FOUR_AT_100, (2, 100.0, "tier 4", "taker", 1.0)]),
        ],
        trades=[Trade("long", entry=(1, 100.0), exit=(2, 100.5, "end_of_data"), quantity=5.0)],
    ),
    Scenario(
        "a signal at the close of the last bar starts nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0
            100.0  100.4   99.6  100.0
            100.0  100.4   99.6  100.0   <- long signal
        """,
        params=market_order(),
    ),
]

SIGNALS_THAT_START_NOTHING = [
    Scenario(
        "a signal of the same side does not restart a working program",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  102.2   99.6  102.0   <- long signal
            102.0  102.4  101.0  101.5   <- a new limit would stand at 101.5 = 102.0 - 0.5
            101.5  102.0  101.0  101.5   <- and would still be there
        """,
        params=tier2_only(bars=2),
        programs=[Program("long", "timeout", end=3, signal=0)],
    ),
    Scenario(
        "a signal of the same side at the close of the last tier bar is ignored as well",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- long signal
            100.0  100.4   99.0  100.0   <- long signal, the timeout is written down here
            100.0  100.4   99.4  100.0   <- limit 99.5 of the third signal
            100.0  100.4   99.6  100.2
        """,
        params=tier2_only(bars=1),
        programs=[
            Program("long", "timeout", end=2, signal=0),
            Program("long", "filled", end=3, fills=[(3, 99.5, "tier 2", "maker")], signal=2),
        ],
        trades=[Trade("long", entry=(3, 99.5, "tier 2", "maker"), exit=(4, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a signal of the same side does not add to a position",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- long signal
            100.0  101.0   99.0  100.5
        """,
        params=market_order(),
        trades=[Trade("long", entry=(1, 100.0, "tier 4", "taker"), exit=(3, 100.5, "end_of_data"))],
    ),
    Scenario(
        "a side that is not allowed starts nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  101.0   99.0  100.5
        """,
        params=market_order(allow_long=False),
    ),
    Scenario(
        "a signal of a side that is not allowed cancels nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0   <- short signal
            100.0  100.4   99.4  100.0
            100.0  100.4   99.6  100.2
        """,
        params=tier2_only(bars=2, allow_short=False),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 100.2, "end_of_data"))],
    ),
    Scenario(
        "after a program has run out the next signal starts afresh, from its own close",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  100.4   99.8  100.2    95.0  <- tier 1
            100.2  101.2   99.8  101.0    95.0  <- tier 2 at 99.7
            101.0  101.4  100.8  101.2    95.0  <- long signal
            101.2  101.6  100.8  101.4    95.0  <- tier 1
            101.4  101.8  100.8  101.2    95.0  <- tier 2 at 100.9 = 101.4 - 0.5
            101.2  101.6  101.0  101.4    95.0
        """,
        params=tiers(t1=1, t2=1),
        programs=[
            Program("long", "timeout", end=3, signal=0),
            Program("long", "filled", end=5, fills=[(5, 100.9, "tier 2", "maker")], signal=3),
        ],
        trades=[Trade("long", entry=(5, 100.9, "tier 2", "maker"), exit=(6, 101.4, "end_of_data"))],
    ),
]

SCENARIOS = [*FILLED_OR_TIMED_OUT, *REVERSED, *POSITION_CLOSED, *END_OF_DATA, *SIGNALS_THAT_START_NOTHING]


@each(SCENARIOS)
def test_a_program_ends_as_the_law_of_programs_says(scenario: Scenario) -> None:
    check(scenario)
