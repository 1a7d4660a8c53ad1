"""Long and short are the same law: every scenario of this folder again, in a market turned upside down.

Every price p becomes 200 - p, highs become lows, buys become sells. Rules that add and subtract must give the mirrored
fills to the digit. Rules that multiply a price (slippage, fees, the tolerance of tier 1, trailing thresholds, funding,
margin) have no mirror image; for them the other files have a short written by hand.
"""

from tests.scenarios import (
    test_detail_candles,
    test_entry_tiers,
    test_exit_rules,
    test_intrabar_readings,
    test_levels_and_trailing,
    test_limit_rules,
    test_money,
    test_program_endings,
)
from tests.scenarios.harness import Scenario, check, each

ALL = [
    scenario
    for module in (
        test_entry_tiers,
        test_limit_rules,
        test_exit_rules,
        test_intrabar_readings,
        test_levels_and_trailing,
        test_program_endings,
        test_money,
        test_detail_candles,
    )
    for scenario in module.SCENARIOS
]


@each([scenario for scenario in ALL if scenario.has_a_mirror_image])
def test_a_mirrored_market_gives_the_mirrored_trades(scenario: Scenario) -> None:
    check(scenario, mirror=True)


def test_no_two_scenarios_have_one_name() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL)


def test_every_rule_that_multiplies_a_price_is_written_for_both_sides() -> None:
    without_image = [scenario for scenario in ALL if not scenario.has_a_mirror_image]
    multiplying = {
        "slippage": [one for one in without_image if one.execution.get("slippage")],
        "fees": [one for one in without_image if "fees" in one.execution],
        "tolerance": [one for one in without_image if one.params["ema_touch_tolerance"]],
        "trailing stop": [one for one in without_image if one.params["trailing_sl_threshold"]],
        "trailing take-profit": [one for one in without_image if one.params["trailing_tp_threshold"]],
        "funding": [one for one in without_image if one.funding],
        "ruin": [one for one in without_image if one.ruined],
        "margin": [one for one in without_image if any(end.outcome == "margin" for end in one.programs or ())],
    }
    sides = {
        rule: {side for one in scenarios for side in ("long", "short") if f"{side} signal" in one.bars}
        for rule, scenarios in multiplying.items()
    }
    assert {rule: found for rule, found in sides.items() if found != {"long", "short"}} == {}
