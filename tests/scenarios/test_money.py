"""Section 7 and the money in section 4: fees, slippage, funding, ruin, margin, lots and ticks, to the last digit."""

from barwise.costs import FeeSchedule
from tests.scenarios.harness import (
    Program,
    Scenario,
    Trade,
    check,
    each,
    market_order,
    run,
    tier1_only,
    tier2_only,
    tier3_only,
)

AT_100 = (1, 100.0, "tier 4", "taker")
MAKER_TAKER = {"maker_fee": 0.0002, "taker_fee": 0.0005}
FOUR_RATES = FeeSchedule("four rates", buy_maker=0.0001, buy_taker=0.0002, sell_maker=0.0003, sell_taker=0.0004)
PER_ORDER = FeeSchedule(
    "20 per order, at most 0.03 %",
    buy_maker=0.0,
    buy_taker=0.0,
    sell_maker=0.0,
    sell_taker=0.0,
    buy_order_flat=20.0,
    buy_order_rate=0.0003,
    sell_order_flat=20.0,
    sell_order_rate=0.0003,
)

_MAKER_BOTH_WAYS = """
     open   high    low  close
    100.0  100.5   99.5  100.0   <- long signal
    100.0  100.5   99.4  100.0   <- in at 99.5
    102.0  103.75 101.5  103.0   <- target 103.5
"""
_TAKER_BOTH_WAYS = """
     open   high    low  close
    100.0  100.5   99.5  100.0   <- long signal
    100.0  101.0   99.0  100.0   <- in at 100.0
    100.0  100.5   96.5   97.0   <- stop 97.0
"""
FEES = [
    Scenario(
        "a maker entry and a maker exit pay the maker fee",
        bars=_MAKER_BOTH_WAYS,
        params=tier2_only(),
        execution=MAKER_TAKER,
        trades=[
            Trade(
                "long",
                entry=(1, 99.5, "tier 2", "maker", 1.0, 0.0199),  # 99.5 * 0.0002
                exit=(2, 103.5, "take_profit"),
                gross=4.0,
                fees=0.0406,  # 0.0199 + 103.5 * 0.0002
                net=3.9594,
            )
        ],
    ),
    Scenario(
        "a taker entry and a taker exit pay the taker fee",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        execution=MAKER_TAKER,
        trades=[
            Trade(
                "long",
                entry=(1, 100.0, "tier 4", "taker", 1.0, 0.05),  # 100 * 0.0005
                exit=(2, 97.0, "stop_loss"),
                gross=-3.0,
                fees=0.0985,  # 0.05 + 97 * 0.0005
                net=-3.0985,
            )
        ],
    ),
    Scenario(
        "a long taker buys at the buyer's rate and sells at the seller's",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        execution={"fees": FOUR_RATES},
        trades=[
            Trade(
                "long",
                entry=(1, 100.0, "tier 4", "taker", 1.0, 0.02),  # 100 * 0.0002
                exit=(2, 97.0, "stop_loss"),
                fees=0.0588,  # 0.02 + 97 * 0.0004
            )
        ],
    ),
    Scenario(
        "a long maker buys at the buyer's rate and sells at the seller's",
        bars=_MAKER_BOTH_WAYS,
        params=tier2_only(),
        execution={"fees": FOUR_RATES},
        trades=[
            Trade(
                "long",
                entry=(1, 99.5, "tier 2", "maker", 1.0, 0.00995),  # 99.5 * 0.0001
                exit=(2, 103.5, "take_profit"),
                fees=0.041,  # 0.00995 + 103.5 * 0.0003 = 0.00995 + 0.03105
            )
        ],
    ),
    Scenario(
        "a short taker sells first and buys back at the buyer's rate",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0
            100.0  103.5   99.5  103.0   <- stop 103.0
        """,
        params=market_order(),
        execution={"fees": FOUR_RATES},
        trades=[
            Trade(
                "short",
                entry=(1, 100.0, "tier 4", "taker", 1.0, 0.04),  # 100 * 0.0004
                exit=(2, 103.0, "stop_loss"),
                fees=0.0606,  # 0.04 + 103 * 0.0002
            )
        ],
    ),
    Scenario(
        "a short maker sells first and buys back at the buyer's rate",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.6   99.5  100.0   <- in at 100.5
             98.0   98.5   96.25  97.0   <- target 96.5
        """,
        params=tier2_only(),
        execution={"fees": FOUR_RATES},
        trades=[
            Trade(
                "short",
                entry=(1, 100.5, "tier 2", "maker", 1.0, 0.03015),  # 100.5 * 0.0003
                exit=(2, 96.5, "take_profit"),
                fees=0.0398,  # 0.03015 + 96.5 * 0.0001 = 0.03015 + 0.00965
            )
        ],
    ),
    Scenario(
        "the part per order is the rate below its cap",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        execution={"fees": PER_ORDER},
        trades=[
            Trade(
                "long",
                entry=(1, 100.0, "tier 4", "taker", 1.0, 0.03),  # min(20, 100 * 0.0003)
                exit=(2, 97.0, "stop_loss"),
                fees=0.0591,  # 0.03 + min(20, 97 * 0.0003)
            )
        ],
    ),
    Scenario(
        "the part per order is flat above its cap",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        quantity=1000,
        execution={"fees": PER_ORDER, "leverage": 2.0},
        trades=[
            Trade(
                "long",
                entry=(1, 100.0, "tier 4", "taker", 1000.0, 20.0),  # min(20, 100,000 * 0.0003 = 30)
                exit=(2, 97.0, "stop_loss"),
                gross=-3000.0,
                fees=40.0,  # 20 + min(20, 97,000 * 0.0003 = 29.1)
                net=-3040.0,
            )
        ],
    ),
    Scenario(
        "every fill pays the part per order anew",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0   10000  <- long signal
            100.0  101.0   99.0  100.5    4000  <- 400
            101.0  101.5  100.0  101.0    4000  <- 400
            101.0  101.5  100.0  100.5   10000
        """,
        params=market_order(bars=2),
        quantity=800,
        execution={"fees": PER_ORDER},
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[
                    (1, 100.0, "tier 4", "taker", 400.0, 12.0),  # min(20, 40,000 * 0.0003)
                    (2, 101.0, "tier 4", "taker", 400.0, 12.12),  # min(20, 40,400 * 0.0003)
                ],
            )
        ],
        # 44.12 = 12 + 12.12 + min(20, 80,400 * 0.0003 = 24.12)
        trades=[Trade("long", entry=(1, 100.5), exit=(3, 100.5, "end_of_data"), gross=0.0, fees=44.12, net=-44.12)],
    ),
    Scenario(
        "equity at each close is cash plus the position at that close, fees paid",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        execution=MAKER_TAKER,
        trades=[
            Trade("long", entry=(1, 100.0, "tier 4", "taker", 1.0, 0.05), exit=(2, 97.0, "stop_loss"), fees=0.0985)
        ],
        equity=[100_000.0, 99_999.95, 99_996.9015],  # the entry fee; then all of -3.0985
    ),
    Scenario(
        "equity of an open position is marked at the close",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.4   <- +0.8
            100.4  101.0   98.0   98.5   <- -3.0
             98.5  101.0   98.0  100.1   <- +0.2
        """,
        params=market_order(),
        quantity=2,
        trades=[Trade("long", entry=AT_100, exit=(3, 100.1, "end_of_data"))],
        equity=[100_000.0, 100_000.8, 99_997.0, 100_000.2],
    ),
]

SLIPPAGE = [
    Scenario(
        "slippage of a taker entry and a taker exit adds up",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        quantity=2,
        execution={"slippage": 0.001},
        trades=[
            Trade(
                "long",
                entry=(1, 100.1, "tier 4", "taker"),  # 100 * 1.001
                exit=(2, 97.0029, "stop_loss"),  # (100.1 - 3.0) * 0.999
                gross=-6.1942,
                slippage=0.3942,  # 2 * (0.1 + 0.0971)
            )
        ],
    ),
    Scenario(
        "slippage of several fills adds up",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      40  <- 4 at 100.1 = 100.0 * 1.001
            101.0  101.5  100.0  101.0      40  <- 4 at 101.101 = 101.0 * 1.001
            101.0  101.5  100.0  101.0     100  <- out at 100.899 = 101.0 * 0.999
        """,
        params=market_order(bars=2),
        quantity=8,
        execution={"slippage": 0.001},
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.1, "tier 4", "taker", 4.0), (2, 101.101, "tier 4", "taker", 4.0)],
            )
        ],
        # mean 100.6005; slippage 1.612 = 4 * 0.1 + 4 * 0.101 + 8 * 0.101
        trades=[Trade("long", entry=(1, 100.6005), exit=(3, 100.899, "end_of_data"), gross=2.388, slippage=1.612)],
    ),
    Scenario(
        "a taker entry capped at its limit lost only the way to the limit, a maker exit nothing",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
             99.45 100.0   99.0   99.8   <- in at 99.5, not 99.54945
            102.0  103.75 101.5  103.0   <- target 103.5
        """,
        params=tier2_only(),
        execution={"slippage": 0.001},
        trades=[
            Trade("long", entry=(1, 99.5, "tier 2", "taker"), exit=(2, 103.5, "take_profit"), gross=4.0, slippage=0.05)
        ],
    ),
]

_HELD_LONG = """
     open   high    low  close
    100.0  100.5   99.5  100.0   <- long signal
    100.0  101.0   99.0  100.4
    100.4  101.0  100.0  100.8
"""
_HELD_TO_BAR_2 = (2, 100.8, "end_of_data")
FUNDING = [
    Scenario(
        "a long pays a positive rate on the close of the bar it is settled in",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(1.5, 0.001)],
        # 0.1004 = 1 * 100.4 * 0.001
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, gross=0.8, funding=0.1004, net=0.6996)],
        equity=[100_000.0, 100_000.2996, 100_000.6996],
    ),
    Scenario(
        "a short is paid a positive rate",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.4
            100.4  101.0  100.0  100.8
        """,
        params=market_order(),
        funding=[(1.5, 0.001)],
        trades=[Trade("short", entry=AT_100, exit=_HELD_TO_BAR_2, gross=-0.8, funding=-0.1004, net=-0.6996)],
    ),
    Scenario(
        "a long is paid a negative rate",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(1.5, -0.001)],
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, funding=-0.1004)],
    ),
    Scenario(
        "a settlement at a bar's close belongs to that bar",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(2.0, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, funding=0.1004)],
        equity=[100_000.0, 100_000.2996, 100_000.6996],
    ),
    Scenario(
        "a settlement at the very open of the entry is not paid",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(1.0, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2)],
    ),
    Scenario(
        "a settlement stamped some milliseconds after a bar's close belongs to that bar",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(2.000003, 0.001)],  # 10.8 ms after the close of bar 1
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, funding=0.1004)],
    ),
    Scenario(
        "a settlement in a hole of the data is charged on the bar before it",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.4   <- 0.1004 = 100.4 * 0.001
            -
            100.4  101.0  100.0  100.8
        """,
        params=market_order(),
        funding=[(2.5, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=(3, 100.8, "end_of_data"), funding=0.1004)],
    ),
    Scenario(
        "two settlements in one bar are both paid",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(1.25, 0.001), (1.75, 0.002)],
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, funding=0.3012)],  # 100.4 * 0.003
    ),
    Scenario(
        "a settlement at the last close is paid before the position is sold there",
        bars=_HELD_LONG,
        params=market_order(),
        funding=[(3.0, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=_HELD_TO_BAR_2, funding=0.1008)],  # 100.8 * 0.001
    ),
    Scenario(
        "a position that was closed in the bar pays no settlement of that bar",
        bars=_TAKER_BOTH_WAYS,
        params=market_order(),
        funding=[(2.5, 0.001), (3.0, 0.001)],
        trades=[Trade("long", entry=AT_100, exit=(2, 97.0, "stop_loss"))],
    ),
]

# 100 of capital hold 10 units at 100.0 with leverage 10: every point is a tenth of the account.
_TEN_TIMES = {"initial_capital": 100.0, "leverage": 10.0}
RUIN = [
    Scenario(
        "a run whose equity is gone at a close ends there",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0
             98.0   98.5   88.5   89.0   <- long signal, equity -10 = 100 + 10 * (89 - 100), the stop 80.0 is far
             89.0   90.0   88.0   89.0   <- nothing starts any more
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution=_TEN_TIMES,
        trades=[Trade("long", entry=AT_100, exit=(2, 89.0, "ruined"), gross=-110.0)],
        equity=[100.0, 100.0, -10.0, -10.0],
        ruined=True,
        price_level_matters=True,
    ),
    Scenario(
        "equity of exactly 0 is ruin",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0
             98.0   98.5   88.5   90.0   <- 100 + 10 * (90 - 100)
             90.0   91.0   88.0   90.0
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution=_TEN_TIMES,
        trades=[Trade("long", entry=AT_100, exit=(2, 90.0, "ruined"))],
        equity=[100.0, 100.0, 0.0, 0.0],
        ruined=True,
        price_level_matters=True,
    ),
    Scenario(
        "equity that was gone inside a bar and is back at its close is no ruin",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0
             98.0   98.5   85.0   90.5   <- 100 + 10 * (85 - 100) = -50 at the low, 5 at the close
             90.5   96.0   90.0   95.0
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution=_TEN_TIMES,
        trades=[Trade("long", entry=AT_100, exit=(3, 95.0, "end_of_data"))],
        equity=[100.0, 100.0, 5.0, 50.0],
        price_level_matters=True,
    ),
    Scenario(
        "a ruined position is sold at the close worsened by slippage",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0   <- in at 100.1 = 100.0 * 1.001
             98.0   98.5   88.5   89.0   <- out at 88.911 = 89.0 * 0.999
             89.0   90.0   88.0   89.0
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution={"initial_capital": 100.0, "leverage": 20.0, "slippage": 0.001},
        trades=[Trade("long", entry=(1, 100.1, "tier 4", "taker"), exit=(2, 88.911, "ruined"), gross=-111.89)],
        ruined=True,
    ),
    Scenario(
        "a stop that costs more than there was is ruin as well",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0   <- stop 97.0
             89.0   90.0   88.0   89.0   <- long signal, out at 89.0, equity -10 = 100 + 10 * (89 - 100)
             89.0   90.0   88.0   89.0   <- nothing starts any more
        """,
        params=market_order(),
        quantity=10,
        execution=_TEN_TIMES,
        trades=[Trade("long", entry=AT_100, exit=(2, 89.0, "stop_loss"), gross=-110.0)],
        equity=[100.0, 100.0, -10.0, -10.0],
        ruined=True,
        price_level_matters=True,
    ),
    Scenario(
        "funding is charged before ruin is looked at",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.5  100.0
             98.0   98.5   88.5   90.5   <- equity 5, less 9.05 = 10 * 90.5 * 0.01
             90.5   96.0   90.0   95.0
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution=_TEN_TIMES,
        funding=[(2.5, 0.01)],
        trades=[Trade("long", entry=AT_100, exit=(2, 90.5, "ruined"), gross=-95.0, funding=9.05, net=-104.05)],
        ruined=True,
    ),
    Scenario(
        "a short is ruined by a rise",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.5   99.5  100.0
            102.0  111.5  101.5  111.0   <- equity -10 = 100 - 10 * (111 - 100)
            111.0  112.0  110.0  111.0
        """,
        params=market_order(stop=10.0),
        quantity=10,
        execution=_TEN_TIMES,
        trades=[Trade("short", entry=AT_100, exit=(2, 111.0, "ruined"), gross=-110.0)],
        equity=[100.0, 100.0, -10.0, -10.0],
        ruined=True,
        price_level_matters=True,
    ),
]

_THOUSAND = {"initial_capital": 1000.0}
_FLAT_AT_100 = """
     open   high    low  close
    100.0  100.5   99.5  100.0   <- long signal
    100.0  100.5   99.5  100.0
    100.0  100.5   99.5  100.0
    100.0  100.5   99.5  100.2
"""
_TEN_AT_100 = (1, 100.0, "tier 4", "taker", 10.0)
MARGIN = [
    Scenario(
        "margin: a fill is cut to what equity carries, and a program that fits no more ends",
        bars=_FLAT_AT_100,
        params=market_order(bars=2),
        quantity=20,
        execution=_THOUSAND,
        programs=[Program("long", "margin", end=2, fills=[_TEN_AT_100])],  # 10 = 1000 / 100, then 1000 / 100 - 10 = 0
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.2, "end_of_data"), quantity=10.0, gross=2.0)],
        price_level_matters=True,
    ),
    Scenario(
        "a fill that was cut does not end the program by itself",
        bars=_FLAT_AT_100,
        params=market_order(bars=1),
        quantity=20,
        execution=_THOUSAND,
        programs=[Program("long", "timeout", end=2, fills=[_TEN_AT_100])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.2, "end_of_data"), quantity=10.0, gross=2.0)],
        price_level_matters=True,
    ),
    Scenario(
        "leverage carries a multiple of equity",
        bars=_FLAT_AT_100,
        params=market_order(),
        quantity=20,
        execution={**_THOUSAND, "leverage": 2.0},
        trades=[
            Trade("long", entry=(1, 100.0, "tier 4", "taker", 20.0), exit=(3, 100.2, "end_of_data"), gross=4.0),
        ],
        price_level_matters=True,
    ),
    Scenario(
        "a short needs the same margin",
        bars=_FLAT_AT_100.replace("long", "short"),
        params=market_order(bars=2),
        quantity=20,
        execution=_THOUSAND,
        programs=[Program("short", "margin", end=2, fills=[_TEN_AT_100])],
        trades=[Trade("short", entry=(1, 100.0), exit=(3, 100.2, "end_of_data"), quantity=10.0, gross=-2.0)],
        price_level_matters=True,
    ),
    Scenario(
        "margin: equity that does not carry one lot fills nothing",
        bars=_FLAT_AT_100,
        params=market_order(bars=2),
        quantity=20,
        execution={"initial_capital": 50.0, "lot_size": 1.0},  # 50 / 100 = 0.5 of a lot
        programs=[Program("long", "margin", end=1)],
        price_level_matters=True,
    ),
    Scenario(
        "a cut fill is floored to the lot",
        bars=_FLAT_AT_100,
        params=market_order(),
        quantity=21,
        execution={"initial_capital": 1050.0, "lot_size": 3.0},  # 1050 / 100 = 10.5, three lots are 9
        programs=[Program("long", "timeout", end=2, fills=[(1, 100.0, "tier 4", "taker", 9.0)])],
        trades=[Trade("long", entry=(1, 100.0), exit=(3, 100.2, "end_of_data"), quantity=9.0)],
        price_level_matters=True,
    ),
    Scenario(
        "margin is measured at the fill price, slippage included",
        bars=_FLAT_AT_100,
        params=market_order(),
        quantity=20,
        execution={**_THOUSAND, "slippage": 0.001},
        programs=[Program("long", "timeout", end=2, fills=[(1, 100.1, "tier 4", "taker", 1000 / 100.1)])],
        # out at 100.0998 = 100.2 * 0.999
        trades=[Trade("long", entry=(1, 100.1), exit=(3, 100.0998, "end_of_data"), quantity=1000 / 100.1)],
        price_level_matters=True,
    ),
    Scenario(
        "equity for a further fill is marked at that fill's price",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 12 / 2 = 6 at 100
            100.0  103.5  100.0  102.5  100.0  <- 6 wanted at 102 = (103.5 + 100 + 102.5) / 3
            102.0  102.5  101.5  102.0  100.0
        """,
        params=tier3_only(bars=2),
        quantity=12,
        execution=_THOUSAND,
        # Equity 1012 = 1000 + 6 * 2 carries 1012 / 102 units; 1012 / 102 - 6 = 400 / 102 are left.
        programs=[
            Program(
                "long",
                "timeout",
                end=3,
                fills=[(1, 100.0, "tier 3", "taker", 6.0), (2, 102.0, "tier 3", "taker", 400 / 102)],
            )
        ],
        # 1000 paid for 1012 / 102 units
        trades=[
            Trade("long", entry=(1, 102000 / 1012), exit=(3, 102.0, "end_of_data"), quantity=1012 / 102, gross=12.0)
        ],
        price_level_matters=True,
    ),
]

LOTS_AND_TICKS = [
    Scenario(
        "the order is floored to the lot",
        bars=_FLAT_AT_100,
        params=market_order(),
        quantity=1.7,
        execution={"lot_size": 0.5},
        trades=[Trade("long", entry=(1, 100.0, "tier 4", "taker", 1.5), exit=(3, 100.2, "end_of_data"), quantity=1.5)],
    ),
    Scenario(
        "three lots of 0.1 are three lots, whatever binary fractions say",
        bars=_FLAT_AT_100,
        params=market_order(),
        quantity=0.3,
        execution={"lot_size": 0.1},
        trades=[Trade("long", entry=(1, 100.0, "tier 4", "taker", 0.3), exit=(3, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a fill under the volume cap is floored to the lot",
        bars="""
             open   high    low  close  volume
            100.0  100.5   99.5  100.0     100  <- long signal
            100.0  101.0   99.0  100.0      47  <- 4 lots of the 4.7
            100.0  101.0   99.0  100.0       9  <- not one of the 0.9
            100.0  101.0   99.0  100.0     100  <- 6
            100.0  101.0   99.0  100.5     100
        """,
        params=market_order(bars=3),
        quantity=10,
        execution={"lot_size": 1.0},
        programs=[
            Program(
                "long",
                "filled",
                end=3,
                fills=[(1, 100.0, "tier 4", "taker", 4.0), (3, 100.0, "tier 4", "taker", 6.0)],
            )
        ],
        trades=[Trade("long", entry=(1, 100.0), exit=(4, 100.5, "end_of_data"), gross=5.0)],
    ),
    Scenario(
        "a slice is floored to the lot and the next one makes up for it",
        bars="""
             open   high    low  close   vwap
            100.0  100.5   99.5  100.0  100.0  <- long signal
            100.0  101.0   99.0  100.0  100.0  <- 5 / 2 = 2.5, so 2 at 100
            100.0  102.0   99.0  102.0  100.0  <- 3 / 1 at 101
            102.0  102.5  101.5  102.0  100.0
        """,
        params=tier3_only(bars=2),
        quantity=5,
        execution={"lot_size": 1.0},
        programs=[
            Program(
                "long",
                "filled",
                end=2,
                fills=[(1, 100.0, "tier 3", "taker", 2.0), (2, 101.0, "tier 3", "taker", 3.0)],
            )
        ],
        # 100.6 = (2 * 100 + 3 * 101) / 5
        trades=[Trade("long", entry=(1, 100.6), exit=(3, 102.0, "end_of_data"), gross=7.0)],
    ),
    Scenario(
        "a bid of tier 2 is rounded down to the tick",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.6  100.0   <- limit 99.5, from 99.8 = 100.0 - 0.1 * 2.0
            100.0  100.5   99.4  100.0
            100.0  100.5   99.6  100.2
        """,
        params=tier2_only(bars=2, offset=0.1),
        execution={"tick_size": 0.5},
        trades=[Trade("long", entry=(2, 99.5, "tier 2", "maker"), exit=(3, 100.2, "end_of_data"))],
    ),
    Scenario(
        "an offer of tier 2 is rounded up to the tick",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  100.4   99.5  100.0   <- limit 100.5, from 100.2 = 100.0 + 0.1 * 2.0
            100.0  100.6   99.5  100.0
            100.0  100.4   99.5   99.8
        """,
        params=tier2_only(bars=2, offset=0.1),
        execution={"tick_size": 0.5},
        trades=[Trade("short", entry=(2, 100.5, "tier 2", "maker"), exit=(3, 99.8, "end_of_data"))],
    ),
    Scenario(
        "a bid of tier 1 is rounded down to the tick",
        bars="""
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    99.7  <- long signal
            100.0  100.5   99.4  100.0    99.7  <- limit 99.5
            100.0  100.5   99.6  100.2    99.7
        """,
        params=tier1_only(),
        execution={"tick_size": 0.5},
        trades=[Trade("long", entry=(1, 99.5, "tier 1", "maker"), exit=(2, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a price that is on the tick but for binary fractions stays there",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  100.5   99.85 100.0   <- limit 99.9 = 100.0 - 0.05 * 2.0, which 99.8 would not be filled at
            100.0  100.5   99.6  100.2
        """,
        params=tier2_only(offset=0.05),
        execution={"tick_size": 0.1},
        trades=[Trade("long", entry=(1, 99.9, "tier 2", "maker"), exit=(2, 100.2, "end_of_data"))],
    ),
    Scenario(
        "a limit of 1003 ticks of 0.1 is the 100.3 of the feed: a low there is a touch and no more",
        bars="""
             open   high    low  close
            100.8  101.3  100.3  100.8   <- long signal
            100.8  101.3  100.3  100.8   <- limit 100.3 = 100.8 - 0.25 * 2.0, while 1003 * 0.1 is a hair above
            100.8  101.3  100.3  100.8
        """,
        params=tier2_only(),
        execution={"tick_size": 0.1},
        programs=[Program("long", "timeout", end=2)],
    ),
    Scenario(
        "the target of a long is an offer and is rounded up to the tick",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- target 104.5, from 104.2 = 100.0 + 2.1 * 2.0
            102.0  104.4  101.0  103.0
            103.0  104.6  102.0  104.0
        """,
        params=market_order(target=2.1),
        execution={"tick_size": 0.5},
        trades=[Trade("long", entry=AT_100, exit=(3, 104.5, "take_profit"))],
    ),
    Scenario(
        "the target of a short is a bid and is rounded down to the tick",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- short signal
            100.0  101.0   99.0  100.0   <- target 95.5, from 95.8 = 100.0 - 2.1 * 2.0
             98.0   99.0   95.6   97.0
             97.0   98.0   95.4   96.0
        """,
        params=market_order(target=2.1),
        execution={"tick_size": 0.5},
        trades=[Trade("short", entry=AT_100, exit=(3, 95.5, "take_profit"))],
    ),
    Scenario(
        "a stop is not rounded to the tick",
        bars="""
             open   high    low  close
            100.0  100.5   99.5  100.0   <- long signal
            100.0  101.0   99.0  100.0   <- stop 97.8 = 100.0 - 1.1 * 2.0
            100.0  100.5   97.7   98.0
        """,
        params=market_order(stop=1.1),
        execution={"tick_size": 0.5},
        trades=[Trade("long", entry=AT_100, exit=(2, 97.8, "stop_loss"))],
    ),
]

SCENARIOS = [*FEES, *SLIPPAGE, *FUNDING, *RUIN, *MARGIN, *LOTS_AND_TICKS]


@each(SCENARIOS)
def test_money_comes_out_to_the_last_digit(scenario: Scenario) -> None:
    check(scenario)


def test_data_without_any_volume_are_told_to_the_user_once() -> None:
    without_volume = LOTS_AND_TICKS[0]
    notes = run(without_volume).prepared.notes
    assert len([note for note in notes if "no volume" in note]) == 1
