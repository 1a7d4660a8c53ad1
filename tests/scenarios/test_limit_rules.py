"""Section 4, limit rules: when a limit fills, at what price, and who pays whom for the liquidity.

Tier 2 stands at 99.5 for a long and at 100.5 for a short throughout (close 100.0, ATR 2.0, offset 0.25). Slippage is
0.1 % where a rule speaks of it, and it must never touch a maker fill.
"""

from tests.scenarios.harness import Program, Scenario, Trade, check, each, tier1_only, tier2_only, tiers

SLIPPAGE = {"slippage": 0.001}

MARKETABLE = [
    Scenario(
        "a long limit that is marketable in the first bar of its order takes the open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
             99.2  100.0   99.0   99.8   <- 99.2992 = 99.2 * 1.001, below the limit 99.5
             99.8  100.4   99.6  100.0   <- out at 99.9 = 100.0 * 0.999
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 99.2992, "tier 2", "taker"), exit=(2, 99.9, "end_of_data"), gross=0.6008)],
    ),
    Scenario(
        "a marketable long limit never pays more than its limit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
             99.45 100.0   99.0   99.8   <- 99.45 * 1.001 = 99.54945 is above the limit 99.5
             99.8  100.4   99.6  100.0
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "taker"), exit=(2, 99.9, "end_of_data"), gross=0.4)],
    ),
    Scenario(
        "a short limit that is marketable in the first bar of its order takes the open",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.8  101.0  100.0  100.2   <- 100.6992 = 100.8 * 0.999, above the limit 100.5
            100.2  100.4   99.6  100.0   <- out at 100.1 = 100.0 * 1.001
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(1, 100.6992, "tier 2", "taker"), exit=(2, 100.1, "end_of_data"), gross=0.5992)],
    ),
    Scenario(
        "a marketable short limit never sells below its limit",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.55 101.0  100.0  100.2   <- 100.55 * 0.999 = 100.44945 is below the limit 100.5
            100.2  100.4   99.6  100.0
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(1, 100.5, "tier 2", "taker"), exit=(2, 100.1, "end_of_data"), gross=0.4)],
    ),
    Scenario(
        "tier 1 is a new order in every bar, so a later open below its limit is taken too",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    98.0  <- long signal
            100.0  100.5   98.5   99.0    98.0
             97.9   98.4   97.5   98.2    98.0  <- 97.9979 = 97.9 * 1.001
             98.2   98.5   97.8   98.0    98.0  <- out at 97.902 = 98.0 * 0.999
        """,
        params=tier1_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(2, 97.9979, "tier 1", "taker"), exit=(3, 97.902, "end_of_data"))],
    ),
    Scenario(
        "tier 1 taking a later open never pays more than its limit",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    98.0  <- long signal
            100.0  100.5   98.5   99.0    98.0
             97.95  98.4   97.5   98.2    98.0  <- 97.95 * 1.001 = 98.04795 is above the limit 98.0
             98.2   98.5   97.8   98.0    98.0
        """,
        params=tier1_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(2, 98.0, "tier 1", "taker"), exit=(3, 97.902, "end_of_data"))],
    ),
    Scenario(
        "tier 1 short takes a later open above its limit",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   102.0  <- short signal
            100.0  101.5   99.5  101.0   102.0
            102.1  102.5  101.6  101.8   102.0  <- 101.9979 = 102.1 * 0.999, below the limit, so the limit 102.0
            101.8  102.2  101.4  102.0   102.0  <- out at 102.102 = 102.0 * 1.001
        """,
        params=tier1_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(2, 102.0, "tier 1", "taker"), exit=(3, 102.102, "end_of_data"))],
    ),
    Scenario(
        "tier 1 short takes the open where that is better than its limit after slippage",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   102.0  <- short signal
            100.0  101.5   99.5  101.0   102.0
            102.5  102.8  101.6  101.8   102.0  <- 102.3975 = 102.5 * 0.999, above the limit
            101.8  102.2  101.4  102.0   102.0
        """,
        params=tier1_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(2, 102.3975, "tier 1", "taker"), exit=(3, 102.102, "end_of_data"))],
    ),
    Scenario(
        "an open at exactly the limit is marketable in the first bar",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
             99.5  100.0   99.5   99.8   <- min(99.5 * 1.001, 99.5)
             99.8  100.4   99.6  100.0
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "taker"), exit=(2, 99.9, "end_of_data"))],
    ),
    Scenario(
        "the first bar of tier 2 is the first bar of its order, whatever came before",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  100.5   99.6  100.0    95.0  <- tier 1
             99.0   99.6   98.6   99.2    95.0  <- tier 2, 99.099 = 99.0 * 1.001
             99.2   99.6   99.0   99.2    95.0  <- out at 99.1008 = 99.2 * 0.999
        """,
        params=tiers(t1=1, t2=2),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(2, 99.099, "tier 2", "taker"), exit=(3, 99.1008, "end_of_data"))],
    ),
]

RESTING = [
    Scenario(
        "a market that opens below a resting bid fills it at its own price, no better",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0
             98.0   98.8   97.5   98.4   <- filled at 99.5, maker
             98.4   99.0   98.0   98.6   <- out at 98.5014 = 98.6 * 0.999
        """,
        params=tier2_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 98.5014, "end_of_data"), gross=-0.9986)],
    ),
    Scenario(
        "a market that opens above a resting offer fills it at its own price, no better",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.4   99.6  100.0
            102.0  102.5  101.2  101.6   <- filled at 100.5, maker
            101.6  102.0  101.0  101.4   <- out at 101.5014 = 101.4 * 1.001
        """,
        params=tier2_only(bars=2),
        execution=SLIPPAGE,
        trades=[Trade("short", entry=(2, 100.5, "tier 2", "maker"), exit=(3, 101.5014, "end_of_data"), gross=-1.0014)],
    ),
    Scenario(
        "a later open at exactly the resting limit fills it as a maker",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.6  100.0
             99.5  100.2   99.5  100.0
            100.0  100.4   99.6  100.0
        """,
        params=tier2_only(bars=2),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 100.0, "end_of_data"))],
    ),
    Scenario(
        "a long limit traded through inside the bar fills at its price without slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.4   99.4  100.0
            100.0  100.4   99.6  100.0
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[
            Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(2, 99.9, "end_of_data"), gross=0.4, slippage=0.1)
        ],
    ),
    Scenario(
        "a short limit traded through inside the bar fills at its price without slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.6   99.6  100.0
            100.0  100.4   99.6  100.0
        """,
        params=tier2_only(),
        execution=SLIPPAGE,
        trades=[
            Trade("short", entry=(1, 100.5, "tier 2", "maker"), exit=(2, 100.1, "end_of_data"), gross=0.4, slippage=0.1)
        ],
    ),
    Scenario(
        "what a volume cap left of a marketable order rests at the limit and is filled there",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
             99.2   99.8   99.0   99.4      40  <- 4 at 99.2992 = 99.2 * 1.001, taker
             99.3   99.8   99.0   99.4     100  <- 6 at 99.5, maker
             99.4  100.2   99.2  100.0     100  <- out at 99.9
        """,
        params=tier2_only(bars=2),
        quantity=10,
        execution=SLIPPAGE,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 99.2992, "tier 2", "taker", 4.0), (2, 99.5, "tier 2", "maker", 6.0)],
            )
        ],
        # 99.41968 = (4 * 99.2992 + 6 * 99.5) / 10
        trades=[Trade("long", entry=(1, 99.41968), exit=(3, 99.9, "end_of_data"), gross=4.8032)],
    ),
    Scenario(
        "an order that nobody traded with in its first bar rests from the second on",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
             99.2   99.2   99.2   99.2       0
             99.2   99.6   99.0   99.4     100  <- filled at 99.5, maker
             99.4   99.8   99.2   99.6     100
        """,
        params=tier2_only(bars=2),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 99.6, "end_of_data"))],
    ),
]

_TOUCH_BID = """
     open   high    low  close  anchor
    100.0  100.5   99.5  100.0    99.5  <- long signal
    100.0  100.4   99.5  100.0    99.5  <- the low is the limit
    100.0  100.4   99.5  100.2    99.5
"""
_TOUCH_OFFER = """
     open   high    low  close  anchor
    100.0  100.5   99.5  100.0   100.5  <- short signal
    100.0  100.5   99.6  100.0   100.5  <- the high is the limit
    100.0  100.5   99.6   99.8   100.5
"""
TOUCH = [
    Scenario(
        "a mere touch does not fill a long limit",
        bars=_TOUCH_BID,
        params=tier2_only(),
        programs=[Program("long", "timeout", end=2)],
    ),
    Scenario(
        "a mere touch does not fill a short limit",
        bars=_TOUCH_OFFER,
        params=tier2_only(),
        programs=[Program("short", "timeout", end=2)],
    ),
    Scenario(
        "a mere touch does not fill the anchor limit of tier 1",
        bars=_TOUCH_BID,
        params=tier1_only(),
        programs=[Program("long", "timeout", end=2)],
    ),
    Scenario(
        "a touch fills a long limit where limit_fill says touch",
        bars=_TOUCH_BID,
        params=tier2_only(),
        execution={"limit_fill": "touch"},
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(2, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a touch fills a short limit where limit_fill says touch",
        bars=_TOUCH_OFFER,
        params=tier2_only(),
        execution={"limit_fill": "touch"},
        trades=[Trade("short", entry=(1, 100.5, "tier 2", "maker"), exit=(2, 99.8, "end_of_data"))],
    ),
    Scenario(
        "a touch fills the anchor limit of tier 1 where limit_fill says touch",
        bars=_TOUCH_BID,
        params=tier1_only(),
        execution={"limit_fill": "touch"},
        trades=[Trade("long", entry=(1, 99.5, "tier 1", "maker"), exit=(2, 100.2, "end_of_data"))],
    ),
]

SCENARIOS = [*MARKETABLE, *RESTING, *TOUCH]


@each(SCENARIOS)
def test_a_limit_fills_as_the_limit_rules_say(scenario: Scenario) -> None:
    check(scenario)
