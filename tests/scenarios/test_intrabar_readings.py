"""Section 6, what a bar cannot prove: stop and target in one bar (a), and a target before or after a limit entry (b).

Case (a) with a position at 100.0 has its stop at 97.0 and its target at 104.0; a limit of tier 2 at 99.5 has its stop
at 96.5 and its target at 103.5. "Nearer" is the distance of an extreme from the open.
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

AT_OPEN = (1, 100.0, "tier 4", "taker")
AT_LIMIT = (1, 99.5, "tier 2", "maker")


def _one(side: str, entry: tuple[object, ...], leave: tuple[int, float, str]) -> list[Trade]:
    return [Trade(side, entry=entry, exit=leave, ambiguous=True)]


CARRIED_STOP = (2, 97.0, "stop_loss")
CARRIED_TARGET = (2, 104.0, "take_profit")
STOP_AND_TARGET = [
    Scenario(
        "carried, both reached, the low nearer to the open: the path is stopped first",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.0  105.0   96.0   98.0   <- 5.0 up, 4.0 down
        """,
        params=market_order(),
        readings={
            "worst": _one("long", AT_OPEN, CARRIED_STOP),
            "path": _one("long", AT_OPEN, CARRIED_STOP),
            "best": _one("long", AT_OPEN, CARRIED_TARGET),
        },
    ),
    Scenario(
        "carried, both reached, the high nearer to the open: the path takes the profit first",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            102.0  105.0   96.0   98.0   <- 3.0 up, 6.0 down
        """,
        params=market_order(),
        readings={
            "worst": _one("long", AT_OPEN, CARRIED_STOP),
            "path": _one("long", AT_OPEN, CARRIED_TARGET),
            "best": _one("long", AT_OPEN, CARRIED_TARGET),
        },
    ),
    Scenario(
        "carried, both reached, both as near: the path takes the adverse extreme first",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            100.5  105.0   96.0  104.5   <- 4.5 up, 4.5 down; the close decides nothing
        """,
        params=market_order(),
        readings={
            "worst": _one("long", AT_OPEN, CARRIED_STOP),
            "path": _one("long", AT_OPEN, CARRIED_STOP),
            "best": _one("long", AT_OPEN, CARRIED_TARGET),
        },
    ),
    Scenario(
        "a carried short reads the mirrored bar: the high is adverse",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0   <- stop 103.0, target 96.0
             98.0  104.0   95.0  102.0   <- 6.0 up, 3.0 down
        """,
        params=market_order(),
        readings={
            "worst": _one("short", AT_OPEN, (2, 103.0, "stop_loss")),
            "path": _one("short", AT_OPEN, (2, 96.0, "take_profit")),
            "best": _one("short", AT_OPEN, (2, 96.0, "take_profit")),
        },
    ),
    Scenario(
        "filled at the open, both reached in the same bar, the high nearer",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.5   95.0  100.0   <- 4.5 up, 5.0 down
            100.0  100.5   99.5  100.0
        """,
        params=market_order(),
        readings={
            "worst": _one("long", AT_OPEN, (1, 97.0, "stop_loss")),
            "path": _one("long", AT_OPEN, (1, 104.0, "take_profit")),
            "best": _one("long", AT_OPEN, (1, 104.0, "take_profit")),
        },
    ),
    Scenario(
        "filled at the open, both reached in the same bar, the low nearer",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  105.0   96.0  100.0   <- 5.0 up, 4.0 down
            100.0  100.5   99.5  100.0
        """,
        params=market_order(),
        readings={
            "worst": _one("long", AT_OPEN, (1, 97.0, "stop_loss")),
            "path": _one("long", AT_OPEN, (1, 97.0, "stop_loss")),
            "best": _one("long", AT_OPEN, (1, 104.0, "take_profit")),
        },
    ),
    Scenario(
        "a resting order the market opened through reads the bar like a fill at the open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0
             99.0  104.0   93.0   98.0   <- in at 99.5; 5.0 up, 6.0 down
        """,
        params=tier2_only(bars=2),
        readings={
            "worst": _one("long", (2, 99.5, "tier 2", "maker"), (2, 96.5, "stop_loss")),
            "path": _one("long", (2, 99.5, "tier 2", "maker"), (2, 103.5, "take_profit")),
            "best": _one("long", (2, 99.5, "tier 2", "maker"), (2, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "limit inside the bar, both reached, the low nearer: the path meets the stop on its way down",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  105.0   96.0  100.0   <- 5.0 up, 4.0 down
            100.0  100.5   99.5  100.0
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (1, 96.5, "stop_loss")),
            "path": _one("long", AT_LIMIT, (1, 96.5, "stop_loss")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "limit inside the bar, both reached, the high nearer: the high came before the fill, the stop after it",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            102.0  104.0   96.0  100.0   <- 2.0 up, 6.0 down
            100.0  100.5   99.5  100.0
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (1, 96.5, "stop_loss")),
            "path": _one("long", AT_LIMIT, (1, 96.5, "stop_loss")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
]

TARGET_AFTER_A_LIMIT_FILL = [
    Scenario(
        "limit inside the bar, target touched by the high alone, the low nearer: the path comes back up to it",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.0   99.0  101.0   <- 4.0 up, 1.0 down
            101.0  101.5  100.0  100.5
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (2, 100.5, "end_of_data")),
            "path": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "limit inside the bar, target touched by the high alone, the high nearer: the path was there too early",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            103.0  104.0   99.0  101.0   <- 1.0 up, 4.0 down
            101.0  101.5  100.0  100.5
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (2, 100.5, "end_of_data")),
            "path": _one("long", AT_LIMIT, (2, 100.5, "end_of_data")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "limit inside the bar, target touched by the high alone, both as near: the low comes first on the path",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            101.5  104.0   99.0  101.0   <- 2.5 up, 2.5 down
            101.0  101.5  100.0  100.5
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (2, 100.5, "end_of_data")),
            "path": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "a close at exactly the target is not beyond it",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            103.0  104.0   99.0  103.5   <- closed at the target 103.5; 1.0 up, 4.0 down
            103.0  103.25 102.0  103.0
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (2, 103.0, "end_of_data")),
            "path": _one("long", AT_LIMIT, (2, 103.0, "end_of_data")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "a short limit inside the bar reads the mirrored bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   96.0   99.0   <- in at 100.5, target 96.5; 1.0 up, 4.0 down: the high comes first
             99.0  100.0   98.5   99.5
        """,
        params=tier2_only(),
        readings={
            "worst": _one("short", (1, 100.5, "tier 2", "maker"), (2, 99.5, "end_of_data")),
            "path": _one("short", (1, 100.5, "tier 2", "maker"), (1, 96.5, "take_profit")),
            "best": _one("short", (1, 100.5, "tier 2", "maker"), (1, 96.5, "take_profit")),
        },
    ),
    Scenario(
        "a second limit fill inside the bar puts the whole position under its nearer target",
        bars="""
             open   high    low  close  volume  anchor
            100.0  100.5   99.5  100.0     100   101.0  <- long signal
            100.0  101.0   99.0   99.0      40   101.0  <- tier 1, 4 at 100.0, target 104.0
             99.0  103.5   98.4  100.0     100   101.0  <- tier 2, 4 at 98.5; target 103.25 = 99.25 + 4.0
            100.0  100.5   99.5  100.0     100   101.0
        """,
        params=tiers(t1=1, t2=1),
        quantity=8,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 1", "taker", 4.0), (2, 98.5, "tier 2", "maker", 4.0)],
            )
        ],
        readings={
            "worst": _one("long", (1, 99.25), (3, 100.0, "end_of_data")),
            "path": _one("long", (1, 99.25), (2, 103.25, "take_profit")),
            "best": _one("long", (1, 99.25), (2, 103.25, "take_profit")),
        },
    ),
    Scenario(
        "with limit_fill touch a high at exactly the target leaves the order open too",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  103.5   99.0  101.0   <- in at 99.5, the high is the target 103.5; 3.5 up, 1.0 down
            101.0  101.5  100.0  100.5
        """,
        params=tier2_only(),
        execution={"limit_fill": "touch"},
        readings={
            "worst": _one("long", AT_LIMIT, (2, 100.5, "end_of_data")),
            "path": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
    Scenario(
        "an unclear bar at the entry marks the trade, however clearly it ends later",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            103.0  104.0   99.0  101.0   <- in at 99.5, target 103.5 touched, 1.0 up, 4.0 down
            101.0  101.5   96.0   97.0   <- stop 96.5
        """,
        params=tier2_only(),
        readings={
            "worst": _one("long", AT_LIMIT, (2, 96.5, "stop_loss")),
            "path": _one("long", AT_LIMIT, (2, 96.5, "stop_loss")),
            "best": _one("long", AT_LIMIT, (1, 103.5, "take_profit")),
        },
    ),
]


def _sure(bars: str, params: dict[str, object], trade: Trade, name: str) -> Scenario:
    return Scenario(name, bars, params, readings=clear([trade]))


CLEAR_BARS = [
    _sure(
        """
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.0   99.4  103.75  <- in at 99.5, closed beyond the target 103.5
            103.75 104.0  103.0  103.5
        """,
        tier2_only(),
        Trade("long", entry=AT_LIMIT, exit=(1, 103.5, "take_profit")),
        "a close beyond the target after a limit fill leaves nothing open",
    ),
    _sure(
        """
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
             96.0  105.0   95.0  104.5   <- below the stop at the open, whatever came later
        """,
        market_order(),
        Trade("long", entry=AT_OPEN, exit=(2, 96.0, "stop_loss")),
        "an open below the stop leaves nothing open",
    ),
    _sure(
        """
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0
            105.0  106.0   95.0   96.0   <- above the target at the open, whatever came later
        """,
        market_order(),
        Trade("long", entry=AT_OPEN, exit=(2, 104.0, "take_profit")),
        "an open above the target leaves nothing open",
    ),
    _sure(
        """
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  104.0   96.0   98.0   <- the target 104.0 is only touched, so the stop 97.0 is alone
             98.0   99.0   97.5   98.0
        """,
        market_order(),
        Trade("long", entry=AT_OPEN, exit=(1, 97.0, "stop_loss")),
        "a target that is only touched is not in question",
    ),
    _sure(
        """
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    99.5  <- long signal
            100.0  101.0   96.0   98.0    99.5  <- in at 99.5, stop 96.5 on the way down
             98.0   99.0   97.5   98.0    99.5
        """,
        tier1_only(),
        Trade("long", entry=(1, 99.5, "tier 1", "maker"), exit=(1, 96.5, "stop_loss")),
        "a stop below a limit filled in the same bar is not in question",
    ),
]

SCENARIOS = [*STOP_AND_TARGET, *TARGET_AFTER_A_LIMIT_FILL, *CLEAR_BARS]


@each(SCENARIOS)
def test_an_unclear_bar_is_read_as_intrabar_says_and_marks_its_trade(scenario: Scenario) -> None:
    check(scenario)
