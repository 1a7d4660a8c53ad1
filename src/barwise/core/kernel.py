"""The kernel: what every execution bar does to an entry program and to a position, to the last fill.

One pure function, compiled once. A single backtest runs it with records, a sweep runs it over all cores without them,
and both get the same numbers to the bit because it is the same function. The rules are those of docs/execution.md; a
comment names the section wherever the code decides something. Letters are the law's: d side, o h l c v bar, R arrival
price, A risk unit, P limit, E mean entry price, B best price, S stop, T target. Prices are mirrored by d, so every
comparison is written once, for a long: `d*(x - y) > 0` reads "x is better than y for the position".

Only scalars live in the bar loop. Arrays cross a function boundary at events alone (a fill, a trade, the end of a
program), which are rare; per bar that would cost five to twelve times (benchmarks/kernel.py).
"""

import numpy as np

from barwise.core._jit import njit
from barwise.core.journal import end_program, end_trade
from barwise.core.layout import (
    CLOSE_LONG,
    CLOSE_SHORT,
    Exit,
    Market,
    Orders,
    Outcome,
    Records,
    Status,
)
from barwise.core.rules import (
    STOP,
    TARGET,
    away_from_market,
    floor_to_step,
    order_fee,
    read_bar,
)

# Numba freezes plain integers; members of an IntEnum would not be.
_FILLED, _TIMEOUT, _CHASE = (
    int(Outcome.FILLED),
    int(Outcome.TIMEOUT),
    int(Outcome.CHASE),
)
_MARGIN, _REVERSED = int(Outcome.MARGIN), int(Outcome.REVERSED)
_POSITION_CLOSED, _PROGRAM_CUT = int(Outcome.POSITION_CLOSED), int(Outcome.END_OF_DATA)
_STOP_LOSS, _TRAILING_STOP = int(Exit.STOP_LOSS), int(Exit.TRAILING_STOP)
_TRAILING_TAKE_PROFIT, _TAKE_PROFIT = (
    int(Exit.TRAILING_TAKE_PROFIT),
    int(Exit.TAKE_PROFIT),
)
_OPPOSITE_SIGNAL, _STRATEGY_EXIT = int(Exit.OPPOSITE_SIGNAL), int(Exit.STRATEGY_EXIT)
_END_OF_DATA, _RUIN_EXIT = int(Exit.END_OF_DATA), int(Exit.RUINED)
_COMPLETED, _RUINED = int(Status.COMPLETED), int(Status.RUINED)

# How the entry fill of this bar came about; it decides what the rest of the bar may do (section 6).
_NO_FILL, _AT_OPEN, _AT_LIMIT, _SLICE = 0, 1, 2, 3
# What is left below this share of the order is rounding, not a quantity.
_DUST = 1e-9


@njit
def simulate(  # type: ignore[no-untyped-def]
    market: Market, orders: Orders, p, start: int, stop: int, records: Records, summary, state, close: bool
) -> None:
    """Run one row of parameters over the signal bars start .. stop-1, from their beginning or from a saved state.

    Stopping with `close` False and going on from the state is the same as never having stopped, to the bit.

    Args:
        market, orders: See `layout`; bars left of `start` are warm-up and are never read.
        p: One record of PARAMS.
        start: First signal bar whose signal may be used (trade_from).
        stop: One past the last signal bar.
        records: Where programs, fills, trades and equity go; empty arrays keep nothing.
        summary: One record of SUMMARY; overwritten, or continued where the state is one to go on from.
        state: One record of STATE; `bar` -1 starts fresh.
        close: Close an open position at the last close before `stop` and leave the state alone (section 7), or keep
            everything open and save the state. A saved run can only be closed at a later execution bar: act[stop - 1]
            must have grown since.
    """
    act, signal_close = market.act, market.signal_close
    opens, highs, lows, closes = market.open, market.high, market.low, market.close
    volumes, means, fundings = market.volume, market.mean, market.funding
    event_bar, event_code = orders.event_bar, orders.event_code
    anchors, vwaps, risks = orders.anchor, orders.vwap, orders.risk
    programs, fills, trades = records.programs, records.fills, records.trades
    equity_out, low_out = records.equity, records.low_mark

    slip, leverage, lot, tick = p.slippage, p.leverage, p.lot_size, p.tick_size
    intrabar, touch = p.intrabar, p.fill_on_touch != 0
    allow_long, allow_short = p.allow_long != 0, p.allow_short != 0
    has_funding, wants_equity = fundings.shape[0] > 0, equity_out.shape[0] > 0
    n_events = event_bar.shape[0]
    last_bar = act[stop - 1] - 1 if close else -1

    summary.bars = stop - start
    if state.bar < 0:
        summary.status = _COMPLETED
        summary.programs = 0
        summary.programs_filled = 0
        summary.fills = 0
        summary.maker_fills = 0
        summary.trades = 0
        summary.wins = 0
        summary.losses = 0
        summary.ambiguous = 0
        summary.net_pnl = 0.0
        summary.gross_pnl = 0.0
        summary.fees = 0.0
        summary.slippage = 0.0
        summary.funding = 0.0
        summary.win_pnl = 0.0
        summary.loss_pnl = 0.0
        summary.trade_square = 0.0
        summary.r_sum = 0.0
        summary.r_square = 0.0
        summary.turnover = 0.0

    # The account.
    cash, equity, peak = state.cash, state.equity, state.peak
    max_drawdown, max_drawdown_money = state.max_drawdown, state.max_drawdown_money
    s1, s2, s3, s4, down1, down2 = state.s1, state.s2, state.s3, state.s4, state.down1, state.down2
    bars_in_position, written = state.bars_in_position, state.written
    ruined = state.ruined != 0
    # The position; q == 0 is flat. The side d and the unit A are those of its program.
    q, d, E, cost, A, B, T = state.q, state.d, state.E, state.cost, state.A, state.B, state.T
    stop0, S, trail, trail_kind, initial_risk = state.stop0, state.S, state.trail, state.trail_kind, state.initial_risk
    best, worst, entry_bar = state.best, state.worst, state.entry_bar
    entry_signal_bar, program_row = state.entry_signal_bar, state.program_row
    entry_fees, slippage_paid, funding_paid = state.entry_fees, state.slippage_paid, state.funding_paid
    target_dropped, ambiguous = state.target_dropped != 0, state.ambiguous != 0
    # The entry program; tier 0 is none at work.
    R, rest, filled, mean_entry = state.R, state.rest, state.filled, state.mean_entry
    P2, tier, tier_left = state.P2, state.tier, state.tier_left
    working, fresh_order = state.working != 0, state.fresh_order != 0
    k = state.bar
    if k < 0:
        k = start
        written = start  # equity is written up to here
        cash = p.initial_capital
        equity = cash
        peak = cash
    elif ruined:
        k = stop
    elif k < start:  # it was stopped before it could begin
        k = start

    # The first event that is not over; a resumed run may have thousands behind it.
    event = 0
    after = n_events
    while event < after:
        middle = (event + after) // 2
        if event_bar[middle] < k:
            event = middle + 1
        else:
            after = middle
    while k < stop - 1:
        # -- 4. While flat with no program at work nothing can happen before the next signal.
        while event < n_events and event_bar[event] < k:
            event += 1
        if q == 0.0 and not working:
            while event < n_events:
                s = event_bar[event]
                side = (event_code[event] & 3) - 1
                allowed = (side > 0 and allow_long) or (side < 0 and allow_short)
                if s >= stop - 1 or (allowed and act[s] < act[s + 1] and risks[s] >= 0.0):
                    break
                event += 1
            if event >= n_events or event_bar[event] >= stop - 1:
                break
            k = event_bar[event]
        entry = 0
        leave = 0
        if event < n_events and event_bar[event] == k:
            code = event_code[event]
            leave = code & (CLOSE_LONG | CLOSE_SHORT)
            side = (code & 3) - 1
            # A signal of a side that is not allowed, or whose risk is not defined, is no signal.
            if risks[k] >= 0.0 and ((side > 0 and allow_long) or (side < 0 and allow_short)):
                entry = side
        if wants_equity:
            while written <= k:
                equity_out[written - start] = equity
                low_out[written - start] = equity
                written += 1
        low_mark = np.inf
        touched = False

        for i in range(act[k], act[k + 1]):
            o = opens[i]
            h = highs[i]
            l = lows[i]
            c = closes[i]
            carried = q > 0.0
            touched = touched or carried
            may_start = not carried

            # -- 6. Exits of the quantity carried into the bar.
            if carried:
                if d > 0.0:
                    fav = h
                    adv = l
                else:
                    fav = l
                    adv = h
                reason = -1
                reference = o
                maker = False
                if entry == -d and p.exit_on_opposite_signal != 0:  # rule 0
                    reason = _OPPOSITE_SIGNAL
                    may_start = True
                elif (d > 0.0 and (leave & CLOSE_LONG) != 0) or (d < 0.0 and (leave & CLOSE_SHORT) != 0):
                    reason = _STRATEGY_EXIT
                    may_start = entry == -d
                elif d * (o - S) <= 0.0:  # rule 1
                    reason = _STOP_LOSS
                elif d * (o - T) >= 0.0:  # rule 2: a resting offer gets no better price than its own
                    reason = _TAKE_PROFIT
                    reference = T
                    maker = True
                else:  # rules 3 and 4
                    met, unclear = read_bar(d, o, fav, adv, c, S, T, False, touch, intrabar)
                    ambiguous = ambiguous or unclear
                    if met == STOP:
                        reason = _STOP_LOSS
                        reference = S
                    elif met == TARGET:
                        reason = _TAKE_PROFIT
                        reference = T
                        maker = True
                if reason >= 0:
                    if reason == _STOP_LOSS and S != stop0:
                        reason = trail_kind
                    cash += end_trade(
                        p, summary, trades, program_row, d, entry_bar, i, entry_signal_bar, k + 1, q, E,
                        reference, maker, reason, S, T, initial_risk, best, worst, entry_fees, slippage_paid,
                        funding_paid, ambiguous,
                    )  # fmt: skip
                    q = 0.0
                    carried = False
                    if working:
                        outcome = _REVERSED if entry == -d else _POSITION_CLOSED
                        end_program(summary, programs, i, filled, mean_entry, outcome)
                        working = False

            # -- 4. Signals while a program works, and the start of a new one.
            if working:
                if entry == -d:
                    end_program(summary, programs, i, filled, mean_entry, _REVERSED)
                    working = False
                elif q == 0.0 and ((d > 0.0 and (leave & CLOSE_LONG) != 0) or (d < 0.0 and (leave & CLOSE_SHORT) != 0)):
                    end_program(summary, programs, i, filled, mean_entry, _REVERSED)
                    working = False
                    may_start = False
            if entry != 0 and q == 0.0 and not working and may_start:
                working = True
                d = float(entry)
                R = signal_close[k]
                A = risks[k]
                rest = p.quantity
                filled = 0.0
                mean_entry = 0.0
                tier = 0
                tier_left = 0
                program_row = summary.programs
                if program_row < programs.shape[0]:
                    row = programs[program_row]
                    row.signal_bar = k
                    row.start_bar = i
                    row.arrival_price = R
                    row.atr = A
                    row.quantity = rest
                    row.side = entry

            # -- 4. The tier at work, and what it fills in this bar.
            how = _NO_FILL
            if working:
                while tier_left == 0 and tier < 5:
                    tier += 1
                    fresh_order = True
                    if tier == 1:
                        tier_left = p.tier1_bars
                    elif tier == 2:
                        tier_left = p.tier2_bars
                        P2 = away_from_market(
                            signal_close[k] - d * p.tier2_limit_offset_atr * A,
                            d > 0.0,
                            tick,
                        )
                    elif tier == 3:
                        tier_left = p.tier3_bars
                    elif tier == 4:
                        tier_left = p.tier4_bars
                if tier == 5:
                    end_program(summary, programs, i, filled, mean_entry, _TIMEOUT)
                    working = False
                elif tier >= 3 and d * (o - R) > p.max_chase_atr * A:
                    end_program(summary, programs, i, filled, mean_entry, _CHASE)
                    working = False
            if working:
                price = 0.0
                reference = o
                maker = False
                want = rest
                if tier <= 2:
                    P = P2
                    if tier == 1:
                        P = away_from_market(
                            anchors[k] * (1.0 + d * p.ema_touch_tolerance),
                            d > 0.0,
                            tick,
                        )
                    adv = l if d > 0.0 else h
                    if d * (o - P) <= 0.0:
                        how = _AT_OPEN
                        if tier == 1 or fresh_order:
                            price = o * (1.0 + d * slip)
                            if d * (price - P) > 0.0:
                                price = P
                        else:  # the market came to a resting order: its own price, nothing better
                            price = P
                            reference = P
                            maker = True
                    elif d * (adv - P) < 0.0 or (touch and adv == P):
                        how = _AT_LIMIT
                        price = P
                        reference = P
                        maker = True
                elif tier == 3:
                    if d * (o - vwaps[k]) <= p.tier3_vwap_band_atr * A:
                        how = _SLICE
                        reference = means[i]
                        price = reference * (1.0 + d * slip)
                        want = rest / tier_left
                else:
                    how = _AT_OPEN
                    price = o * (1.0 + d * slip)
                fresh_order = False
                tier_left -= 1
                if how != _NO_FILL:
                    v = volumes[i]
                    want = floor_to_step(min(want, p.max_participation * v), lot) if v > 0.0 else 0.0
                    if want <= 0.0:
                        how = _NO_FILL
                    else:
                        # 4. Margin: notional after the fill stays within equity * leverage, both at the fill price.
                        room = leverage * (cash + d * q * (price - E)) / price - q
                        if want > room:
                            want = floor_to_step(room, lot)
                            if want <= _DUST * p.quantity:
                                how = _NO_FILL
                                end_program(summary, programs, i, filled, mean_entry, _MARGIN)
                                working = False
                if how != _NO_FILL:
                    want = min(want, rest)
                    fee = order_fee(p, d > 0.0, maker, want * price)
                    n_fills = summary.fills
                    if n_fills < fills.shape[0]:
                        fill = fills[n_fills]
                        fill.bar = i
                        fill.program = program_row
                        fill.price = price
                        fill.reference = reference
                        fill.quantity = want
                        fill.fee = fee
                        fill.tier = tier
                        fill.side = int(d)
                        fill.maker = maker
                    summary.fills += 1
                    summary.maker_fills += maker
                    summary.turnover += want * price
                    cash -= fee
                    if q == 0.0:
                        E = price
                        cost = price * want
                        B = price
                        best = price
                        worst = price
                        trail = -d * np.inf
                        trail_kind = _TRAILING_STOP
                        target_dropped = False
                        initial_risk = p.atr_sl_multiplier * A
                        entry_bar = i
                        entry_signal_bar = k + 1
                        entry_fees = 0.0
                        slippage_paid = 0.0
                        funding_paid = 0.0
                        ambiguous = False
                    else:
                        cost += price * want
                        E = cost / (q + want)
                    q += want
                    entry_fees += fee
                    slippage_paid += abs(price - reference) * want
                    filled = q
                    mean_entry = E
                    rest -= want
                    touched = True
                    # -- 5. Levels from the new mean entry price.
                    stop0 = E - d * p.atr_sl_multiplier * A
                    S = trail if d * (trail - stop0) > 0.0 else stop0
                    if not target_dropped:
                        T = away_from_market(E + d * p.atr_tp_multiplier * A, d < 0.0, tick)
                    if rest <= _DUST * p.quantity or (lot > 0.0 and rest < 0.5 * lot):
                        end_program(summary, programs, i, filled, mean_entry, _FILLED)
                        working = False

            reason = -1
            reference = c
            maker = False
            # -- 6. After an entry fill of this bar.
            if how == _AT_OPEN or how == _AT_LIMIT:
                if d > 0.0:
                    fav = h
                    adv = l
                else:
                    fav = l
                    adv = h
                passed = how == _AT_OPEN and d * (o - S) <= 0.0  # opened beyond its own stop: out at the open
                met, unclear = STOP, False
                if not passed:
                    met, unclear = read_bar(d, o, fav, adv, c, S, T, how == _AT_LIMIT, touch, intrabar)
                ambiguous = ambiguous or unclear
                if met == STOP:
                    reason = _STOP_LOSS if S == stop0 else trail_kind
                    reference = o if passed else S
                elif met == TARGET:
                    reason = _TAKE_PROFIT
                    reference = T
                    maker = True

            if q > 0.0 and reason < 0:
                if d > 0.0:
                    fav = h
                    adv = l
                else:
                    fav = l
                    adv = h
                # What the position provably saw: all of the bar if held from its open, the way down to the low if a
                # limit brought it in, else the close alone.
                from_open = carried or how == _AT_OPEN
                seen = fav if from_open else c
                if d * (seen - best) > 0.0:
                    best = seen
                suffered = adv if from_open or how == _AT_LIMIT else c
                if d * (suffered - worst) < 0.0:
                    worst = suffered
                if wants_equity:
                    low_mark = min(low_mark, cash + d * q * (suffered - E))
                # -- 5. Best price and trailing levels, for use from the next bar on.
                if d * (seen - B) > 0.0:
                    B = seen
                if p.trailing_sl_enabled != 0 and d * (B - E * (1.0 + d * p.trailing_sl_threshold)) >= 0.0:
                    level = B - d * p.trailing_sl_atr_multiplier * A
                    if d * (level - trail) > 0.0:
                        trail = level
                        trail_kind = _TRAILING_STOP
                if p.trailing_tp_enabled != 0 and d * (B - E * (1.0 + d * p.trailing_tp_threshold)) >= 0.0:
                    target_dropped = True
                    T = np.nan
                    level = B - d * p.trailing_tp_atr_multiplier * A
                    if d * (level - trail) > 0.0:
                        trail = level
                        trail_kind = _TRAILING_TAKE_PROFIT
                S = trail if d * (trail - stop0) > 0.0 else stop0
                # -- 7. Funding, ruin, end of data.
                if has_funding:
                    paid = d * q * c * fundings[i]
                    cash -= paid
                    funding_paid += paid
                if cash + d * q * (c - E) <= 0.0:
                    reason = _RUIN_EXIT
                elif i == last_bar:
                    reason = _END_OF_DATA

            if reason >= 0:
                cash += end_trade(
                    p, summary, trades, program_row, d, entry_bar, i, entry_signal_bar, k + 1, q, E, reference,
                    maker, reason, S, T, initial_risk, best, worst, entry_fees, slippage_paid, funding_paid, ambiguous,
                )  # fmt: skip
                q = 0.0
                if working:
                    outcome = _POSITION_CLOSED if reason < _END_OF_DATA else _PROGRAM_CUT
                    end_program(summary, programs, i, filled, mean_entry, outcome)
                    working = False
                ruined = reason == _RUIN_EXIT
            if q == 0.0 and cash <= 0.0:
                ruined = True
            if working and (ruined or i == last_bar):
                end_program(summary, programs, i, filled, mean_entry, _PROGRAM_CUT)
                working = False
            if ruined:
                break
            entry = 0  # a signal is new in one execution bar only
            leave = 0

        # -- 7. Equity at the close of signal bar k + 1.
        k += 1
        if touched:
            bars_in_position += 1
            marked = cash
            if q > 0.0:
                marked += d * q * (closes[act[k] - 1] - E)
            change = marked / equity - 1.0
            square = change * change
            s1 += change
            s2 += square
            s3 += square * change
            s4 += square * square
            if change < 0.0:
                down1 += change
                down2 += square
            equity = marked
            if equity > peak:
                peak = equity
            else:
                max_drawdown_money = max(max_drawdown_money, peak - equity)
                if peak - equity > max_drawdown * peak:
                    max_drawdown = (peak - equity) / peak
        if wants_equity:
            equity_out[written - start] = equity
            low_out[written - start] = min(low_mark, equity)
            written += 1
        if ruined:
            summary.status = _RUINED
            break

    if wants_equity and close:
        while written < stop:
            equity_out[written - start] = equity
            low_out[written - start] = equity
            written += 1
    summary.bars_in_position = bars_in_position
    summary.final_equity = equity
    summary.return_sum = s1
    summary.return_square = s2
    summary.return_cube = s3
    summary.return_fourth = s4
    summary.downside_sum = down1
    summary.downside_square = down2
    summary.max_drawdown = max_drawdown
    summary.max_drawdown_money = max_drawdown_money
    if not close:
        # Bars that were jumped over while flat are done; the bar before `stop` still has a signal to act on.
        state.bar = stop - 1
        state.cash, state.equity, state.peak = cash, equity, peak
        state.max_drawdown, state.max_drawdown_money = max_drawdown, max_drawdown_money
        state.s1, state.s2, state.s3, state.s4, state.down1, state.down2 = s1, s2, s3, s4, down1, down2
        state.bars_in_position, state.written = bars_in_position, written
        state.ruined = ruined
        state.q, state.d, state.E, state.cost, state.A, state.B, state.T = q, d, E, cost, A, B, T
        state.stop0, state.S, state.trail = stop0, S, trail
        state.trail_kind, state.initial_risk = trail_kind, initial_risk
        state.best, state.worst, state.entry_bar = best, worst, entry_bar
        state.entry_signal_bar, state.program_row = entry_signal_bar, program_row
        state.entry_fees, state.slippage_paid, state.funding_paid = entry_fees, slippage_paid, funding_paid
        state.target_dropped, state.ambiguous = target_dropped, ambiguous
        state.R, state.rest, state.filled, state.mean_entry = R, rest, filled, mean_entry
        state.P2, state.tier, state.tier_left = P2, tier, tier_left
        state.working, state.fresh_order = working, fresh_order


@njit
def simulate_rows(  # type: ignore[no-untyped-def]
    market: Market, lines, plans, event_bars, event_codes, plan_of_row, params, stop: int, first: int, last: int,
    nothing: Records, summaries, states, close: bool,
) -> None:  # fmt: skip
    """Run the rows first .. last-1 of a sweep, without records; threads take ranges of rows and release the GIL.

    Args:
        lines: float64 [lines, signal bars]; the columns that plans refer to by row.
        plans: PLAN records.
        event_bars, event_codes: The events of all plans, one plan after the other.
        plan_of_row: Which plan a row runs, int64 [rows].
        params, summaries, states: PARAMS, SUMMARY and STATE records, one per row.
        nothing: Records with empty arrays.
    """
    for row in range(first, last):
        plan = plans[plan_of_row[row]]
        a = plan.first_event
        b = a + plan.events
        orders = Orders(
            event_bars[a:b],
            event_codes[a:b],
            lines[plan.anchor_line],
            lines[plan.vwap_line],
            lines[plan.risk_line],
        )
        simulate(market, orders, params[row], plan.start, stop, nothing, summaries[row], states[row], close)
