"""The books: what the end of a program and the end of a trade leave in the records and in the summary.

Called at events alone, which are rare, so arrays may cross the boundary here.
"""

import numpy as np

from barwise.core._jit import njit
from barwise.core.rules import order_fee


@njit
def end_program(summary, programs, end_bar, filled, entry_price, outcome):  # type: ignore[no-untyped-def]
    """Close the record of the program at work, and count it."""
    row = summary.programs
    if row < programs.shape[0]:
        programs[row].end_bar = end_bar
        programs[row].filled = filled
        programs[row].entry_price = entry_price if filled > 0.0 else np.nan
        programs[row].outcome = outcome
    summary.programs += 1
    if filled > 0.0:
        summary.programs_filled += 1


@njit
def end_trade(  # type: ignore[no-untyped-def]
    p, summary, trades, program, d, entry_bar, exit_bar, entry_signal_bar, exit_signal_bar, quantity, entry_price,
    reference, maker, reason, stop, target, initial_risk, best, worst, entry_fees, slippage, funding, ambiguous,
):  # fmt: skip
    """Close the whole position at `reference` (worsened by slippage unless maker), write and count the trade.

    Returns:
        What cash gains: the gross result less the fee of the exit.
    """
    price = reference if maker else reference * (1.0 - d * p.slippage)
    fee = order_fee(p, d < 0.0, maker, quantity * price)
    gross = d * quantity * (price - entry_price)
    fees = entry_fees + fee
    slipped = slippage + abs(price - reference) * quantity
    net = gross - fees - funding
    row = summary.trades
    if row < trades.shape[0]:
        t = trades[row]
        t.program = program
        t.side = int(d)
        t.entry_bar = entry_bar
        t.exit_bar = exit_bar
        t.entry_signal_bar = entry_signal_bar
        t.exit_signal_bar = exit_signal_bar
        t.quantity = quantity
        t.entry_price = entry_price
        t.exit_price = price
        t.exit_reference = reference
        t.exit_maker = maker
        t.exit_reason = reason
        t.stop_price = stop
        t.target_price = target
        t.initial_risk = initial_risk
        t.best_price = best if d * (best - price) > 0.0 else price
        t.worst_price = worst if d * (worst - price) < 0.0 else price
        t.fees = fees
        t.slippage = slipped
        t.funding = funding
        t.gross_pnl = gross
        t.net_pnl = net
        t.ambiguous = ambiguous
    summary.trades += 1
    summary.ambiguous += ambiguous
    summary.gross_pnl += gross
    summary.net_pnl += net
    summary.fees += fees
    summary.slippage += slipped
    summary.funding += funding
    summary.trade_square += net * net
    summary.turnover += quantity * price
    if net > 0.0:
        summary.wins += 1
        summary.win_pnl += net
    elif net < 0.0:
        summary.losses += 1
        summary.loss_pnl += net
    if initial_risk > 0.0:
        r = net / (initial_risk * quantity)
        summary.r_sum += r
        summary.r_square += r * r
    return gross - fee
