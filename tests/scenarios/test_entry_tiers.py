"""Section 4: what each tier does in its bars, how one tier hands on to the next, and how much a bar lets an entry take.

Unless a table says otherwise the ATR is 2.0: a limit of tier 2 stands 0.5 behind the close, the stop 3.0 behind the
mean entry price, the target 4.0 beyond it, and tiers 3 and 4 stand down 3.0 beyond the arrival price.
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
    tiers,
)

TIER_TABLE = [
    Scenario(
        "tier 1 long waits at the anchor plus tolerance and is filled when the low goes through it",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    99.0  <- long signal
            100.0  100.4   99.0  100.2    50.0  <- limit 99.198 = 99.0 * 1.002, the anchor known before this bar
            100.2  100.6   99.8  100.4    50.0
        """,
        params=tier1_only(tolerance=0.002),
        trades=[Trade("long", entry=(1, 99.198, "tier 1", "maker"), exit=(2, 100.4, "end_of_data"), gross=1.202)],
    ),
    Scenario(
        "tier 1 short waits at the anchor minus tolerance and is filled when the high goes through it",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   101.0  <- short signal
            100.0  101.2   99.6   99.8   150.0  <- limit 100.798 = 101.0 * 0.998
             99.8  100.2   99.4   99.6   150.0
        """,
        params=tier1_only(tolerance=0.002),
        trades=[Trade("short", entry=(1, 100.798, "tier 1", "maker"), exit=(2, 99.6, "end_of_data"), gross=1.198)],
    ),
    Scenario(
        "tier 1 follows the anchor from bar to bar",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    98.0  <- long signal
            100.0  100.5   98.2   99.5    98.5  <- limit 98.0, not reached
             99.5  100.0   98.6   99.5    99.0  <- limit 98.5, not reached
             99.5  100.0   98.9   99.6    99.5  <- limit 99.0, filled
             99.6  100.0   99.2   99.8    99.5
        """,
        params=tier1_only(bars=3),
        trades=[Trade("long", entry=(3, 99.0, "tier 1", "maker"), exit=(4, 99.8, "end_of_data"))],
    ),
    Scenario(
        "tier 1 long is not filled where the low stays above the limit",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    98.0  <- long signal
            100.0  100.5   98.1   99.5    98.0
             99.5  100.0   97.0   98.0    98.0  <- too late, the tier is over
        """,
        params=tier1_only(),
        programs=[Program("long", "timeout", end=2)],
    ),
    Scenario(
        "tier 2 long waits below the last close",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.6   99.4  100.2   <- limit 99.5 = 100.0 - 0.25 * 2.0
            100.2  100.8   99.8  100.5
        """,
        params=tier2_only(),
        trades=[Trade("long", entry=(1, 99.5, "tier 2", "maker"), exit=(2, 100.5, "end_of_data"), gross=1.0)],
    ),
    Scenario(
        "tier 2 short waits above the last close",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.6   99.4   99.8   <- limit 100.5 = 100.0 + 0.25 * 2.0
             99.8  100.2   99.2   99.5
        """,
        params=tier2_only(),
        trades=[Trade("short", entry=(1, 100.5, "tier 2", "maker"), exit=(2, 99.5, "end_of_data"), gross=1.0)],
    ),
    Scenario(
        "tier 2 stays where it was placed while the closes move away",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  101.2   99.6  101.0    95.0  <- tier 1 at 95.0, not reached
            101.0  101.8  100.8  101.5    95.0  <- tier 2 at 100.5 = 101.0 - 0.5, not 99.5 from the arrival price
            101.5  101.9  100.4  101.0    95.0  <- still 100.5, not 101.0 = 101.5 - 0.5
            101.0  101.5  100.8  101.2    95.0
        """,
        params=tiers(t1=1, t2=2),
        trades=[Trade("long", entry=(3, 100.5, "tier 2", "maker"), exit=(4, 101.2, "end_of_data"))],
    ),
    Scenario(
        "tier 3 long buys at the bar's mean price worsened by slippage",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.6  100.0  <- 100.3002 = (101.0 + 99.0 + 100.6) / 3 * 1.001
            100.6  101.2  100.4  101.0  100.0  <- out at 100.899 = 101.0 * 0.999
        """,
        params=tier3_only(),
        execution={"slippage": 0.001},
        trades=[Trade("long", entry=(1, 100.3002, "tier 3", "taker"), exit=(2, 100.899, "end_of_data"), gross=0.5988)],
    ),
    Scenario(
        "tier 3 short sells at the bar's mean price worsened by slippage",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- short signal
            100.0  101.0   99.0  100.6  100.0  <- 100.0998 = 100.2 * 0.999
            100.6  101.2  100.4  101.0  100.0  <- out at 101.101 = 101.0 * 1.001
        """,
        params=tier3_only(),
        execution={"slippage": 0.001},
        trades=[
            Trade("short", entry=(1, 100.0998, "tier 3", "taker"), exit=(2, 101.101, "end_of_data"), gross=-1.0012)
        ],
    ),
    Scenario(
        "tier 4 long buys at the open worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.2  101.0   99.8  100.6   <- 100.3002 = 100.2 * 1.001
            100.6  101.2  100.4  101.0   <- out at 100.899 = 101.0 * 0.999
        """,
        params=market_order(),
        execution={"slippage": 0.001},
        trades=[Trade("long", entry=(1, 100.3002, "tier 4", "taker"), exit=(2, 100.899, "end_of_data"), gross=0.5988)],
    ),
    Scenario(
        "tier 4 short sells at the open worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.2  101.0   99.8  100.6   <- 100.0998 = 100.2 * 0.999
            100.6  101.2  100.4  101.0   <- out at 101.101 = 101.0 * 1.001
        """,
        params=market_order(),
        execution={"slippage": 0.001},
        trades=[
            Trade("short", entry=(1, 100.0998, "tier 4", "taker"), exit=(2, 101.101, "end_of_data"), gross=-1.0012)
        ],
    ),
    Scenario(
        "tier 5 long leaves nothing working",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.6   99.6  100.2   <- limit 99.5, not reached
            100.2  100.8   99.7  100.0   <- nor here
            100.0  100.4   99.0   99.4   <- would be filled, were it still there
             99.4  100.0   99.0   99.8
        """,
        params=tier2_only(bars=2),
        programs=[Program("long", "timeout", end=3)],
    ),
    Scenario(
        "tier 5 short leaves nothing working",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.4   99.4   99.8   <- limit 100.5, not reached
             99.8  100.3   99.2  100.0   <- nor here
            100.0  101.0   99.6  100.6   <- would be filled, were it still there
            100.6  101.0  100.0  100.2
        """,
        params=tier2_only(bars=2),
        programs=[Program("short", "timeout", end=3)],
    ),
]

TIER_ORDER = [
    Scenario(
        "what tiers 1 to 3 leave goes to tier 4",
        bars="""
             open   high    low  close  anchor   vwap
            100.0  100.5   99.5  100.0    95.0   97.0  <- long signal
            100.0  100.5   99.6  100.2    95.0   97.0  <- tier 1 at 95.0
            100.2  100.6   99.8  100.4    95.0   97.0  <- tier 2 at 99.7 = 100.2 - 0.5
            100.4  100.8  100.0  100.6    95.0   97.0  <- tier 3 refuses, 100.4 - 97.0 = 3.4 above VWAP is over 2.0
            100.6  101.0  100.2  100.8    95.0   97.0  <- tier 4
            100.8  101.2  100.4  101.0    95.0   97.0
        """,
        params=tiers(t1=1, t2=1, t3=1, t4=1),
        trades=[Trade("long", entry=(4, 100.6, "tier 4", "taker"), exit=(5, 101.0, "end_of_data"))],
    ),
    Scenario(
        "a disabled tier and a tier with timeout 0 are skipped",
        bars="""
             open   high    low  close  anchor   vwap
            100.0  100.5   99.5  100.0   104.0  100.0  <- long signal
            100.0  101.0   98.0  101.0   104.0  100.0  <- tier 3 at once, 100.0 = (101.0 + 98.0 + 101.0) / 3
            101.0  101.5  100.5  101.2   104.0  100.0
        """,
        params=tiers(t1=5, t2=0, t3=1, enable_hybrid_tier1=False),
        trades=[Trade("long", entry=(1, 100.0, "tier 3", "taker"), exit=(2, 101.2, "end_of_data"))],
    ),
    Scenario(
        "tier 2 begins when the timeout of tier 1 is over, off the last close of then",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  100.5   99.6  100.2    95.0
            100.2  102.2  100.0  102.0    95.0
            102.0  102.4  101.4  101.8    95.0  <- tier 2 at 101.5 = 102.0 - 0.5
            101.8  102.2  101.6  102.0    95.0
        """,
        params=tiers(t1=2, t2=1),
        trades=[Trade("long", entry=(3, 101.5, "tier 2", "maker"), exit=(4, 102.0, "end_of_data"))],
    ),
    Scenario(
        "the ATR of the signal bar holds for limit and stop, whatever it does later",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal, ATR 2.0
            100.0  100.5   99.6  100.2    95.0  <- ATR 8.0
            100.2  100.6   99.6  100.0    95.0  <- tier 2 at 99.7 = 100.2 - 0.25 * 2.0
            100.0  100.4   96.6   98.0    95.0  <- stop 96.7 = 99.7 - 1.5 * 2.0
        """,
        params=tiers(t1=1, t2=1),
        trades=[Trade("long", entry=(2, 99.7, "tier 2", "maker"), exit=(3, 96.7, "stop_loss"))],
    ),
    Scenario(
        "with every tier switched off the program stands down at once",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   90.0  100.0
            100.0  101.0   90.0  100.0
        """,
        params=tiers(),
        programs=[Program("long", "timeout", end=1)],
    ),
    Scenario(
        "an anchor that is not defined yet fills nothing",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0     nan  <- long signal
            100.0  100.5   95.0  100.0     nan  <- tier 1 has no price to wait at
            100.0  100.4   99.4  100.0     nan  <- tier 2 at 99.5
            100.0  100.5   99.6  100.2     nan
        """,
        params=tiers(t1=1, t2=1),
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a VWAP that is not defined yet buys no slice",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0    nan  <- long signal
            100.0  100.5   99.0  100.0    nan
            100.2  100.4   99.4  100.0    nan  <- tier 4
            100.0  100.5   99.6  100.4    nan
        """,
        params=tiers(t3=1, t4=1),
        trades=[Trade("long", entry=(2, 100.2, "tier 4", "taker"), exit=(3, 100.4, "end_of_data"))],
    ),
    Scenario(
        "a signal whose ATR is not defined yet starts nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal, ATR nan
            100.0  100.5   99.5  100.2   <- long signal, ATR 2.0
            100.2  100.6   99.8  100.4
            100.4  100.8  100.0  100.6
        """,
        params=market_order(),
        trades=[Trade("long", entry=(2, 100.2, "tier 4", "taker"), exit=(3, 100.6, "end_of_data"))],
        programs=[Program("long", "filled", end=2, fills=[(2, 100.2, "tier 4", "taker")], signal=1)],
    ),
]

HYBRID_OFF = [
    Scenario(
        "without the hybrid engine the order goes to the next open, however far it ran and whatever tier 4 is set to",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   120.0  <- long signal
            110.0  111.0  109.0  110.5   120.0  <- 10.0 above the arrival price
            110.5  111.0  110.0  110.8   120.0
        """,
        params=tiers(t1=5, t2=5, t3=5, t4=0, enable_hybrid_engine=False, enable_hybrid_tier4=False),
        trades=[Trade("long", entry=(1, 110.0, "tier 4", "taker"), exit=(2, 110.8, "end_of_data"))],
    ),
    Scenario(
        "without the hybrid engine the market order still waits its timeout for volume",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.0  100.0  100.0       0  <- nobody traded
            100.4  101.0  100.0  100.6     100
            100.6  101.0  100.2  100.8     100
        """,
        params=market_order(bars=2, enable_hybrid_engine=False),
        trades=[Trade("long", entry=(2, 100.4, "tier 4", "taker"), exit=(3, 100.8, "end_of_data"))],
    ),
    Scenario(
        "without the hybrid engine a timeout of 0 still means one bar and not two",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.0  100.0  100.0       0  <- nobody traded
            100.4  101.0  100.0  100.6     100
            100.6  101.0  100.2  100.8     100
        """,
        params=market_order(bars=0, enable_hybrid_engine=False),
        programs=[Program("long", "timeout", end=2)],
    ),
]

SLICES = [
    Scenario(
        "tier 3 buys equal slices in every bar of the tier",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 1 of 4 at 100 = (101 + 99 + 100) / 3
            100.0  102.0   99.0  102.0  100.0  <- 1 of 3 at 101 = (102 + 99 + 102) / 3
            101.0  103.0  101.0  102.0  100.0  <- 1 of 2 at 102 = (103 + 101 + 102) / 3
            102.0  104.0  102.0  103.0  100.0  <- the last at 103, 102.0 - 100.0 is just within the band of 2.0
            103.0  103.5  101.5  102.0  100.0
        """,
        params=tier3_only(bars=4),
        quantity=4,
        programs=[
            Program(
                "long",
                "filled",
                end=4,
                fills=[
                    (1, 100.0, "tier 3", "taker", 1.0),
                    (2, 101.0, "tier 3", "taker", 1.0),
                    (3, 102.0, "tier 3", "taker", 1.0),
                    (4, 103.0, "tier 3", "taker", 1.0),
                ],
            )
        ],
        trades=[Trade("long", entry=(1, 101.5), exit=(5, 102.0, "end_of_data"), gross=2.0)],  # 4 * (102 - 101.5)
    ),
    Scenario(
        "a slice refused by the band is made up for in the bars that are left",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 4 / 4 = 1 at 100
            102.5  103.0  102.0  102.5  100.0  <- 2.5 above VWAP, over 1.0 * 2.0
            102.0  102.5  100.5  101.5  100.0  <- 3 / 2 = 1.5 at 101.5 = (102.5 + 100.5 + 101.5) / 3
            101.0  102.0  100.0  101.0  100.0  <- 1.5 / 1 at 101
            101.0  101.5  100.5  101.0  100.0
        """,
        params=tier3_only(bars=4),
        quantity=4,
        programs=[
            Program(
                "long",
                "filled",
                end=4,
                fills=[
                    (1, 100.0, "tier 3", "taker", 1.0),
                    (3, 101.5, "tier 3", "taker", 1.5),
                    (4, 101.0, "tier 3", "taker", 1.5),
                ],
            )
        ],
        # 100.9375 = (1 * 100 + 1.5 * 101.5 + 1.5 * 101) / 4
        trades=[Trade("long", entry=(1, 100.9375), exit=(5, 101.0, "end_of_data"), gross=0.25)],
    ),
    Scenario(
        "slices the band refuses to the end are never bought, and what was bought stays",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 2 / 2 = 1 at 100
            102.5  103.0  102.0  102.5  100.0  <- 2.5 above VWAP
            102.0  102.5  101.5  102.0  100.0  <- the tier is over
        """,
        params=tier3_only(bars=2),
        quantity=2,
        programs=[Program("long", "timeout", end=3, fills=[(1, 100.0, "tier 3", "taker", 1.0)])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 102.0, "end_of_data"), quantity=1.0)],
    ),
    Scenario(
        "where the data have quote volume a slice costs quote volume over volume",
        bars="""
             open   high    low  close  volume    quote   vwap
            100.0  100.5   99.5  100.0     100  10000.0  100.0  <- long signal
            100.0  101.0   99.0  100.6     100  10030.0  100.0  <- 100.3 = 10030 / 100, not 100.2 of the typical price
            100.6  101.0  100.0  100.8     100  10060.0  100.0
        """,
        params=tier3_only(),
        trades=[Trade("long", entry=(1, 100.3, "tier 3", "taker"), exit=(2, 100.8, "end_of_data"))],
    ),
    Scenario(
        "the band looks at the VWAP of the last closed bar, never at the bar's own",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0   97.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 100.0 - 97.0 = 3.0 is over 2.0, though its own VWAP is 100.0
            100.0  101.0   99.0  100.0  100.0
        """,
        params=tier3_only(),
        programs=[Program("long", "timeout", end=2)],
    ),
    Scenario(
        "the session VWAP weighs all bars since midnight by volume",
        bars="""
             open   high    low  close  volume
             98.0   99.0   97.0   98.0     300  <- typical price 98.0
            101.0  102.0  100.0  101.0     100  <- long signal, VWAP 98.75 = (98.0 * 300 + 101.0 * 100) / 400
            101.0  102.0  100.0  101.0     100  <- 101.0 - 98.75 = 2.25 is over 2.0
            101.0  102.0  100.0  101.0     100
        """,
        params=tier3_only(),
        programs=[Program("long", "timeout", end=3)],
    ),
    Scenario(
        "the session VWAP is the typical price where nothing was traded yet",
        bars="""
             open   high    low  close  volume
            100.0  100.0  100.0  100.0       0  <- long signal, VWAP 100.0
            102.0  103.0  101.0  102.0     100  <- 102.0 - 100.0 is just within 2.0
            102.0  102.5  101.5  102.2     100
        """,
        params=tier3_only(),
        trades=[Trade("long", entry=(1, 102.0, "tier 3", "taker"), exit=(2, 102.2, "end_of_data"))],
    ),
]

CHASE_GUARD = [
    Scenario(
        "tier 4 stands down when the open ran too far, and does not come back with the price",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            103.5  104.0  103.0  103.5   <- 3.5 above the arrival price, over 1.5 * 2.0
            100.0  100.5   99.5  100.0
            100.0  100.5   99.5  100.0
        """,
        params=market_order(bars=3),
        programs=[Program("long", "chase", end=1)],
    ),
    Scenario(
        "tier 4 still buys at exactly the distance of the guard",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            103.0  103.5  102.5  103.0   <- 3.0 above the arrival price is not more than 3.0
            103.0  103.5  102.5  103.2
        """,
        params=market_order(),
        trades=[Trade("long", entry=(1, 103.0, "tier 4", "taker"), exit=(2, 103.2, "end_of_data"))],
    ),
    Scenario(
        "a price that came towards a long is never chased",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
             95.0   96.0   94.0   95.5   <- 5.0 below the arrival price
             95.5   96.0   95.0   95.8
        """,
        params=market_order(),
        trades=[Trade("long", entry=(1, 95.0, "tier 4", "taker"), exit=(2, 95.8, "end_of_data"))],
    ),
    Scenario(
        "tier 3 stands down when the open ran too far, though it is near VWAP",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  103.0  <- long signal
            103.5  104.0  103.0  103.5  103.0
            100.0  100.5   99.5  100.0  103.0
        """,
        params=tier3_only(bars=2),
        programs=[Program("long", "chase", end=1)],
    ),
    Scenario(
        "a chase cancels the rest and keeps what was bought",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  103.0  <- 2 / 2 = 1 at 100
            103.25 103.75 103.0  103.5  103.0  <- 3.25 above the arrival price
            103.5  103.75 103.0  103.25 103.0
        """,
        params=tier3_only(bars=2),
        quantity=2,
        programs=[Program("long", "chase", end=2, fills=[(1, 100.0, "tier 3", "taker", 1.0)])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 103.25, "end_of_data"), quantity=1.0)],
    ),
    Scenario(
        "tier 1 has no chase guard",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0   104.0  <- long signal
            103.5  104.0  103.0  103.5   104.0  <- at the open, 3.5 above the arrival price
            103.5  104.0  103.0  103.8   104.0
        """,
        params=tier1_only(),
        trades=[Trade("long", entry=(1, 103.5, "tier 1", "taker"), exit=(2, 103.8, "end_of_data"))],
    ),
    Scenario(
        "tier 2 has no chase guard",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    95.0  <- long signal
            100.0  105.0  100.0  105.0    95.0
            105.0  105.5  104.4  105.0    95.0  <- limit 104.5 = 105.0 - 0.5, 4.5 above the arrival price
            105.0  105.5  104.8  105.2    95.0
        """,
        params=tiers(t1=1, t2=1),
        trades=[Trade("long", entry=(2, 104.5, "tier 2", "maker"), exit=(3, 105.2, "end_of_data"))],
    ),
]

VOLUME_CAP = [
    Scenario(
        "an entry takes at most a tenth of each bar's volume and the rest waits",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.5      40  <- 4 = 0.1 * 40
            101.0  101.5  100.0  101.0      30  <- 3 = 0.1 * 30
            102.0  102.5  101.0  102.0     100  <- the last 3
            102.0  102.5  101.5  102.0     100
        """,
        params=market_order(bars=3),
        quantity=10,
        programs=[
            Program(
                "long",
                "filled",
                end=3,
                fills=[
                    (1, 100.0, "tier 4", "taker", 4.0),
                    (2, 101.0, "tier 4", "taker", 3.0),
                    (3, 102.0, "tier 4", "taker", 3.0),
                ],
            )
        ],
        # 100.9 = (4 * 100 + 3 * 101 + 3 * 102) / 10
        trades=[Trade("long", entry=(1, 100.9), exit=(4, 102.0, "end_of_data"), gross=11.0)],
    ),
    Scenario(
        "a resting limit is capped bar by bar and keeps its price",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.5   99.4  100.0      40  <- 4 at the limit 99.5
             99.0   99.8   98.5   99.5      30  <- 3, the open came to the resting order
            100.0  100.5   99.4  100.0     100  <- the last 3
            100.0  100.5   99.6  100.0     100
        """,
        params=tier2_only(bars=3),
        quantity=10,
        programs=[
            Program(
                "long",
                "filled",
                end=3,
                fills=[
                    (1, 99.5, "tier 2", "maker", 4.0),
                    (2, 99.5, "tier 2", "maker", 3.0),
                    (3, 99.5, "tier 2", "maker", 3.0),
                ],
            )
        ],
        trades=[Trade("long", entry=(1, 99.5), exit=(4, 100.0, "end_of_data"), gross=5.0)],
    ),
    Scenario(
        "what a capped tier leaves goes to the next tier",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.5   99.4  100.0      40  <- tier 2, 4 at 99.5
            100.2  100.6   99.8  100.4     100  <- tier 4, 6 at 100.2
            100.4  100.8  100.0  100.5     100
        """,
        params=tiers(t2=1, t4=1),
        quantity=10,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 99.5, "tier 2", "maker", 4.0), (2, 100.2, "tier 4", "taker", 6.0)],
            )
        ],
        # 99.92 = (4 * 99.5 + 6 * 100.2) / 10
        trades=[Trade("long", entry=(1, 99.92), exit=(3, 100.5, "end_of_data"))],
    ),
    Scenario(
        "a capped slice is made up for in the bars that are left",
        bars="""
             open   high    low  close  volume   vwap
            100.0  100.5   99.5  100.0     100  100.0  <- long signal
            100.0  101.0   99.0  100.0      10  100.0  <- 4 / 2 = 2 wanted, 1 = 0.1 * 10 taken at 100
            100.0  102.0   99.0  102.0     100  100.0  <- 3 / 1 = 3 at 101
            102.0  102.5  101.5  102.0     100  100.0
        """,
        params=tier3_only(bars=2),
        quantity=4,
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 3", "taker", 1.0), (2, 101.0, "tier 3", "taker", 3.0)],
            )
        ],
        # 100.75 = (1 * 100 + 3 * 101) / 4
        trades=[Trade("long", entry=(1, 100.75), exit=(3, 102.0, "end_of_data"), gross=5.0)],
    ),
    Scenario(
        "a bar of zero volume fills no entry",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.0  100.0  100.0       0
            100.5  101.0  100.0  100.5     100
            100.5  101.0  100.0  100.8     100
        """,
        params=market_order(bars=2),
        trades=[Trade("long", entry=(2, 100.5, "tier 4", "taker"), exit=(3, 100.8, "end_of_data"))],
    ),
    Scenario(
        "a bar of zero volume fills no entry with the cap switched off either",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  100.0  100.0  100.0       0
            100.5  101.0  100.0  100.5     100
            100.5  101.0  100.0  100.8     100
        """,
        params=market_order(bars=2),
        execution={"max_participation": None},
        trades=[Trade("long", entry=(2, 100.5, "tier 4", "taker"), exit=(3, 100.8, "end_of_data"))],
    ),
    Scenario(
        "with the cap switched off a thin bar fills the whole order",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.5     0.5
            100.5  101.0  100.0  100.8     100
        """,
        params=market_order(),
        quantity=10,
        execution={"max_participation": None},
        trades=[
            Trade("long", entry=(1, 100.0, "tier 4", "taker"), exit=(2, 100.8, "end_of_data"), gross=8.0),
        ],
    ),
    Scenario(
        "where all of the data have no volume the cap is off",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0       0  <- long signal
            100.0  101.0   99.0  100.5       0
            100.5  101.0  100.0  100.8       0
        """,
        params=market_order(),
        quantity=10,
        trades=[Trade("long", entry=(1, 100.0, "tier 4", "taker"), exit=(2, 100.8, "end_of_data"))],
    ),
    Scenario(
        "an exit is never capped, not even in a bar of no volume",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.5     200  <- all 10
             95.0   95.0   95.0   95.0       0  <- below the stop 97.0, all 10 out at the open
             95.0   95.5   94.5   95.0     100
        """,
        params=market_order(),
        quantity=10,
        trades=[Trade("long", entry=(1, 100.0, "tier 4", "taker"), exit=(2, 95.0, "stop_loss"), gross=-50.0)],
    ),
]

SCENARIOS = [*TIER_TABLE, *TIER_ORDER, *HYBRID_OFF, *SLICES, *CHASE_GUARD, *VOLUME_CAP]


@each(SCENARIOS)
def test_an_entry_is_worked_as_the_tier_table_says(scenario: Scenario) -> None:
    check(scenario)
