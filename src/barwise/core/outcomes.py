"""What one run's trades say: averages, streaks, excursions, and how gross becomes net.

Units and the rule for what is undefined are those of `metrics`.
"""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.figures import EPSILON, standardised_mean
from barwise.core.layout import BoolArray, Exit, FloatArray, RecordArray

Column: TypeAlias = NDArray[Any]


def excursions(trades: RecordArray) -> tuple[FloatArray, FloatArray]:
    """Maximum favourable (>= 0) and maximum adverse (<= 0) excursion of each trade, in quote currency.

    `side * (best_price - entry_price) * quantity`, and the same with the worst price (Sweeney 1996). The quantity is
    that of the whole trade and the entry price its mean, so for an entry in parts the figures are those of the whole.
    """
    size = trades["side"] * trades["quantity"]
    favourable: FloatArray = np.maximum(size * (trades["best_price"] - trades["entry_price"]), 0.0)
    adverse: FloatArray = np.minimum(size * (trades["worst_price"] - trades["entry_price"]), 0.0)
    return favourable, adverse


def trade_metrics(trades: RecordArray) -> dict[str, Any]:
    """Metrics that need the single trades.

    Args:
        trades: TRADE records in the order of their exits.

    Returns:
        The metrics of docs/metrics.md, "From the trades"; None where undefined, the reason under "undefined".
    """
    net = trades["net_pnl"]
    count = len(net)
    wins, losses = net[net > 0.0], net[net < 0.0]
    held = trades["exit_signal_bar"] - trades["entry_signal_bar"]
    favourable, adverse = excursions(trades)
    average_win, average_loss = _mean(wins), _mean(losses)
    payoff = None if average_win is None or average_loss is None else average_win / -average_loss
    share = len(wins) / max(count, 1)
    t_statistic = standardised_mean(net, count, resolution=0.0)
    sqn = standardised_mean(_results_in_r(trades), count, resolution=0.0)
    result: dict[str, Any] = {
        "average_trade": _mean(net),
        "average_win": average_win,
        "average_loss": average_loss,
        "largest_win": float(wins.max()) if len(wins) else None,
        "largest_loss": float(losses.min()) if len(losses) else None,
        "payoff_ratio": payoff,
        "kelly": None if payoff is None else 100.0 * (share - (1.0 - share) / payoff),
        "longest_winning_streak": _longest_run(net > 0.0),
        "longest_losing_streak": _longest_run(net < 0.0),
        "average_bars_held": _mean(held),
        "max_bars_held": int(held.max(initial=0)),
        "average_mfe": _mean(favourable),
        "average_mae": _mean(adverse),
        "t_statistic": t_statistic,
        "p_value": None if t_statistic is None else student_t_p_value(t_statistic, count - 1),
        "sqn": sqn,
        "sqn_100": None if sqn is None else sqn * math.sqrt(min(count, 100) / count),
        "sqn_p_value": None if sqn is None else student_t_p_value(sqn, count - 1),
        "long": _group(trades[trades["side"] > 0]),
        "short": _group(trades[trades["side"] < 0]),
        "by_exit_reason": {
            reason.name.lower(): _group(chosen)
            for reason in Exit
            if len(chosen := trades[trades["exit_reason"] == reason])
        },
        "cost_attribution": cost_attribution(
            float(net.sum()),
            float(trades["fees"].sum()),
            float(trades["slippage"].sum()),
            float(trades["funding"].sum()),
        ),
    }
    result["undefined"] = {name: _why_not(name, count, len(wins)) for name, value in result.items() if value is None}
    return result


def _mean(values: Column) -> float | None:
    """The mean, or None of nothing."""
    return float(np.mean(values)) if len(values) else None


def _why_not(name: str, trades: int, wins: int) -> str:
    """Why a trade metric is undefined."""
    if not trades:
        return "no trades"
    if name in ("t_statistic", "p_value", "sqn", "sqn_100", "sqn_p_value"):
        return "fewer than two trades" if trades < 2 else "the trades' results do not vary"
    # Payoff and Kelly need both; with wins it was the losses that were missing.
    return "no losing trade" if wins or name.endswith("_loss") else "no winning trade"


def _group(trades: RecordArray) -> dict[str, Any]:
    """The result of some of the trades; win_rate and average_trade are None where there are none."""
    net = trades["net_pnl"]
    wins = int(np.count_nonzero(net > 0.0))
    return {
        "trades": len(net),
        "wins": wins,
        "losses": int(np.count_nonzero(net < 0.0)),
        "win_rate": 100.0 * wins / len(net) if len(net) else None,
        "net_pnl": float(net.sum()),
        "average_trade": float(net.mean()) if len(net) else None,
    }


def _longest_run(holds: BoolArray) -> int:
    """Length of the longest unbroken run of True."""
    breaks = np.flatnonzero(~np.concatenate(([False], holds, [False])))
    return int(np.diff(breaks).max()) - 1


def _results_in_r(trades: RecordArray) -> FloatArray:
    """Net result over initial risk; 0 where there was no risk, as the kernel's sums have it."""
    risk = trades["initial_risk"] * trades["quantity"]
    results: FloatArray = np.divide(trades["net_pnl"], risk, out=np.zeros(len(trades)), where=risk > 0.0)
    return results


def cost_attribution(net: float, fees: float, slippage: float, funding: float) -> dict[str, float]:
    """The way from the result before costs to the net result; the chain closes to the last bit.

    All amounts are rounded to one binary grid, 2^-48 of the largest of them (4e-15 of it), on which sums are exact:
    `before_costs - slippage == gross_pnl`, `gross_pnl - fees - funding == net_pnl`.

    Args:
        net, fees, slippage, funding: Sums over the trades, in quote currency; funding is negative where received.
    """
    largest = max(abs(net), abs(fees), abs(slippage), abs(funding))
    grid = math.ldexp(1.0, max(math.frexp(largest)[1] - 48, -1022))
    net, fees, slippage, funding = (round(amount / grid) * grid for amount in (net, fees, slippage, funding))
    gross = net + funding + fees
    return {
        "before_costs": gross + slippage,
        "slippage": slippage,
        "gross_pnl": gross,
        "fees": fees,
        "funding": funding,
        "net_pnl": net,
    }


def student_t_p_value(t: float, degrees_of_freedom: int) -> float:
    """Two-sided p-value of a t statistic, in [0, 1].

    P(|T| >= |t|) = I_x(v/2, 1/2) with x = v / (v + t^2), I the regularised incomplete beta function (Abramowitz &
    Stegun 1964, 26.7.1). Written out so that the core needs no SciPy; equal to it within 1e-9.

    Args:
        degrees_of_freedom: >= 1.
    """
    square = t * t
    if square == 0.0:
        return 1.0
    a, b = 0.5 * degrees_of_freedom, 0.5
    x, y = (
        degrees_of_freedom / (degrees_of_freedom + square),
        square / (degrees_of_freedom + square),
    )
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    # The fraction converges fast below (a + 1) / (a + b + 2); above it, through the mirror image.
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, scale * _beta_fraction(a, b, x) / a)
    return min(1.0, max(0.0, 1.0 - scale * _beta_fraction(b, a, y) / b))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method (1976)."""
    tiny = 1e-300
    upper, lower = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0) or tiny)
    value = lower
    for m in range(1, 1000):
        for coefficient in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            lower = 1.0 / (1.0 + coefficient * lower or tiny)
            upper = 1.0 + coefficient / upper or tiny
            value *= lower * upper
        if abs(lower * upper - 1.0) < EPSILON:
            break
    return value
