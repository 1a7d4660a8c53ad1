"""The law in scalars: steps of price and quantity, what a fee is, and what a bar says about stop and target.

Small pure functions that the kernel calls and that anything else may call one by one; section numbers are those of
docs/execution.md.
"""

from typing import Any

import numpy as np

from barwise.core._jit import njit
from barwise.core.layout import Intrabar

# Numba freezes plain integers; members of an IntEnum would not be.
_PATH, _BEST = int(Intrabar.PATH), int(Intrabar.BEST)
# What the bar after a look at stop and target says: nothing reached, the stop, or the target.
NEITHER, STOP, TARGET = 0, 1, 2
# A lot or tick that is reached up to this share of itself counts as reached: 0.3 / 0.1 is 2.9999999999999996.
_STEP_TOLERANCE = 1e-9


@njit
def on_grid(steps: float, step: float) -> float:
    """`steps` whole steps, rounded as a feed writes the number: 1003 steps of 0.1 are 100.3.

    The product would be 100.30000000000001, and a low of 100.3 would then count as traded through that limit. A decimal
    step below 1 is one over an integer, and dividing by it is correctly rounded. NaN stays NaN.
    """
    per_unit = round(1.0 / step)
    if per_unit >= 1.0 and abs(per_unit * step - 1.0) < _STEP_TOLERANCE:
        return steps / per_unit
    return steps * step


@njit
def _tolerance(steps: float) -> float:
    """How far below a whole number of steps counts as on it: 1e-9, or the rounding error of that many steps."""
    return max(_STEP_TOLERANCE, 1e-15 * abs(steps))


@njit
def floor_to_step(value: float, step: float) -> float:
    """The largest multiple of `step` not above `value`; `value` itself where step is 0."""
    if step <= 0.0:
        return value
    steps = value / step
    return on_grid(np.floor(steps + _tolerance(steps)), step)


@njit
def away_from_market(price: float, buys: bool, tick: float) -> float:
    """A limit price on the tick grid: a buy is rounded down, a sell up (section 4)."""
    if tick <= 0.0:
        return price
    steps = price / tick
    if buys:
        return on_grid(np.floor(steps + _tolerance(steps)), tick)
    return on_grid(np.ceil(steps - _tolerance(steps)), tick)


@njit
def read_bar(
    d: float, o: float, fav: float, adv: float, c: float, stop: float, target: float, at_limit: bool, touch: bool,
    intrabar: int,
) -> tuple[int, bool]:  # fmt: skip
    """Which of stop and target a position met inside a bar (section 6, rules 3 and 4 and the three readings).

    Args:
        fav, adv: The bar's most favourable and most adverse price (high and low for a long).
        target: NaN where no target is in force.
        at_limit: The position's last fill was a limit inside this bar; else it was held from the open on.

    Returns:
        (NEITHER | STOP | TARGET, the bar left the order of events open).
    """
    stopped = d * (adv - stop) <= 0.0
    reached = d * (fav - target) > 0.0 or (touch and fav == target)
    if not reached:
        return (STOP if stopped else NEITHER), False
    favourable_first = abs(fav - o) < abs(o - adv)
    if at_limit:
        beyond = d * (c - target) > 0.0  # it closed beyond the target, so the extreme came after the fill
        if not stopped:
            if beyond:
                return TARGET, False
            # The extreme came before the fill unless the adverse extreme, which brought the fill, came first.
            if intrabar == _BEST or (intrabar == _PATH and not favourable_first):
                return TARGET, True
            return NEITHER, True
        # On the path the stop is met on the same leg as the limit, before any later favourable extreme.
        return (TARGET if intrabar == _BEST else STOP), True
    if not stopped:
        return TARGET, False
    if intrabar == _BEST or (intrabar == _PATH and favourable_first):
        return TARGET, True
    return STOP, True


@njit
def order_fee(p: Any, buys: bool, maker: bool, notional: float) -> float:
    """Fee of one fill: the side's rate on notional plus the venue's per-order part (section 7)."""
    if buys:
        rate, flat, order_rate = (p.buy_maker if maker else p.buy_taker), p.buy_order_flat, p.buy_order_rate
    else:
        rate, flat, order_rate = (p.sell_maker if maker else p.sell_taker), p.sell_order_flat, p.sell_order_rate
    return float(rate * notional + min(flat, order_rate * notional))
