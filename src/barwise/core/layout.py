"""The contract between the world and the machine code: every array and record the kernel reads or writes.

Whoever knows this file knows the engine. Bars and plans come in as read-only C-contiguous columns; parameters come in
as one record per row of a sweep; programs, fills and trades come out as records, and everything else (metrics, frames,
charts, logs) is derived from them. Units: times are int64 ms UTC of a bar's OPEN, money is quote currency, rates and
shares are fractions, quantities are base units (contracts where the venue counts in contracts).
"""

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Int32Array: TypeAlias = NDArray[np.int32]
IntArray: TypeAlias = NDArray[np.int64]
ByteArray: TypeAlias = NDArray[np.int8]
RecordArray: TypeAlias = NDArray[np.void]
BoolArray: TypeAlias = NDArray[np.bool_]


class Bars(NamedTuple):
    """Candles as columns of one length; `time` is the bar's open in ms UTC, `volume` is in base units."""

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


class Outcome(IntEnum):
    """How an entry program ended."""

    FILLED = 0
    TIMEOUT = 1
    CHASE = 2
    MARGIN = 3
    REVERSED = 4
    POSITION_CLOSED = 5
    END_OF_DATA = 6


class Exit(IntEnum):
    """Why a position was closed."""

    STOP_LOSS = 0
    TRAILING_STOP = 1
    TRAILING_TAKE_PROFIT = 2
    TAKE_PROFIT = 3
    OPPOSITE_SIGNAL = 4
    STRATEGY_EXIT = 5
    END_OF_DATA = 6
    RUINED = 7


class Intrabar(IntEnum):
    """How a bar is read that leaves the order of events open (docs/execution.md, section 6)."""

    WORST = 0
    PATH = 1
    BEST = 2


class Status(IntEnum):
    """How a run ended."""

    COMPLETED = 0
    RUINED = 1


# One parameter record is one row of a sweep: what is ordered, how it is executed, and what it costs.
PARAMS = np.dtype(
    [
        ("quantity", np.float64),  # of every entry program, > 0
        ("initial_capital", np.float64),
        ("leverage", np.float64),
        ("slippage", np.float64),
        (
            "max_participation",
            np.float64,
        ),  # share of a bar's volume an entry may take; inf = no cap
        ("tick_size", np.float64),  # 0 = prices are not rounded
        ("lot_size", np.float64),  # 0 = quantities are not rounded
        ("buy_maker", np.float64),  # fee rates on notional
        ("buy_taker", np.float64),
        ("sell_maker", np.float64),
        ("sell_taker", np.float64),
        ("buy_order_flat", np.float64),  # per-order part: min(flat, rate * notional)
        ("buy_order_rate", np.float64),
        ("sell_order_flat", np.float64),
        ("sell_order_rate", np.float64),
        ("atr_sl_multiplier", np.float64),
        ("atr_tp_multiplier", np.float64),
        ("trailing_sl_threshold", np.float64),
        ("trailing_tp_threshold", np.float64),
        ("trailing_sl_atr_multiplier", np.float64),
        ("trailing_tp_atr_multiplier", np.float64),
        ("ema_touch_tolerance", np.float64),
        ("tier2_limit_offset_atr", np.float64),
        ("tier3_vwap_band_atr", np.float64),
        ("max_chase_atr", np.float64),  # inf = no guard
        ("tier1_bars", np.int64),  # in execution bars; 0 = tier skipped
        ("tier2_bars", np.int64),
        ("tier3_bars", np.int64),
        ("tier4_bars", np.int64),
        ("trailing_sl_enabled", np.int8),
        ("trailing_tp_enabled", np.int8),
        ("exit_on_opposite_signal", np.int8),
        ("allow_long", np.int8),  # a signal of a side that is not allowed is no signal
        ("allow_short", np.int8),
        ("fill_on_touch", np.int8),
        ("intrabar", np.int8),
    ],
    align=True,
)

# A plan of a sweep: its signals are a range of the event arrays, its lines are rows of a shared matrix.
PLAN = np.dtype(
    [
        ("first_event", np.int64),
        ("events", np.int64),
        ("anchor_line", np.int64),
        ("vwap_line", np.int64),
        ("risk_line", np.int64),
        ("start", np.int64),  # first signal bar whose signal may be used
    ],
    align=True,
)

# Bar indices below count EXECUTION bars unless they say signal.
PROGRAM = np.dtype(
    [
        ("signal_bar", np.int64),  # signal-bar index s whose close gave the signal
        ("start_bar", np.int64),  # first execution bar the program worked in
        ("end_bar", np.int64),  # execution bar it ended in
        ("arrival_price", np.float64),  # R = close of the signal bar
        ("atr", np.float64),  # A = risk line at the signal
        ("quantity", np.float64),  # ordered
        ("filled", np.float64),
        (
            "entry_price",
            np.float64,
        ),  # quantity-weighted mean of the fills; NaN where there is none
        ("side", np.int8),
        ("outcome", np.int8),  # Outcome
    ],
    align=True,
)

FILL = np.dtype(
    [
        ("bar", np.int64),
        ("program", np.int64),  # row of the program record
        ("price", np.float64),
        ("reference", np.float64),  # the price before slippage
        ("quantity", np.float64),
        ("fee", np.float64),
        ("tier", np.int8),
        ("side", np.int8),
        ("maker", np.int8),
    ],
    align=True,
)

TRADE = np.dtype(
    [
        ("program", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        (
            "entry_signal_bar",
            np.int64,
        ),  # signal bar that contains the entry; bars held = the difference
        ("exit_signal_bar", np.int64),
        ("quantity", np.float64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("exit_reference", np.float64),  # exit price before slippage
        (
            "initial_risk",
            np.float64,
        ),  # distance from entry price to the first stop, per unit
        ("stop_price", np.float64),  # stop in force when the trade was closed
        ("target_price", np.float64),  # NaN where trailing had dropped it
        (
            "best_price",
            np.float64,
        ),  # most favourable and most adverse price the position provably saw
        ("worst_price", np.float64),
        ("fees", np.float64),  # entry and exit
        ("slippage", np.float64),  # money lost to slippage; part of gross_pnl
        ("funding", np.float64),  # money paid, negative where it was received
        ("gross_pnl", np.float64),  # at fill prices, before fees and funding
        ("net_pnl", np.float64),  # gross_pnl - fees - funding
        ("side", np.int8),
        ("exit_reason", np.int8),  # Exit
        ("exit_maker", np.int8),
        ("ambiguous", np.int8),
    ],
    align=True,
)

# What one run leaves when nothing else is kept. Sums run over signal bars start .. stop-1 (returns are 0 while flat).
SUMMARY = np.dtype(
    [
        ("bars", np.int64),
        ("status", np.int64),  # Status
        ("programs", np.int64),
        ("programs_filled", np.int64),  # with at least one fill
        ("fills", np.int64),
        ("maker_fills", np.int64),
        ("trades", np.int64),
        ("wins", np.int64),  # net_pnl > 0
        ("losses", np.int64),  # net_pnl < 0
        ("ambiguous", np.int64),
        ("bars_in_position", np.int64),
        ("final_equity", np.float64),
        ("net_pnl", np.float64),
        ("gross_pnl", np.float64),
        ("fees", np.float64),
        ("slippage", np.float64),
        ("funding", np.float64),
        ("win_pnl", np.float64),  # sum of the winning trades' net results
        ("loss_pnl", np.float64),  # sum of the losing trades' net results, <= 0
        ("trade_square", np.float64),  # sum of squared net results
        ("r_sum", np.float64),  # of net result / initial risk
        ("r_square", np.float64),
        ("return_sum", np.float64),  # of bar returns and their powers
        ("return_square", np.float64),
        ("return_cube", np.float64),
        ("return_fourth", np.float64),
        ("downside_square", np.float64),  # of min(return, 0)
        ("downside_sum", np.float64),
        ("max_drawdown", np.float64),  # fraction of the peak, on signal-bar closes
        ("max_drawdown_money", np.float64),
        ("turnover", np.float64),  # traded notional, entries and exits
    ],
    align=True,
)


# Where a run stands between two bars: what the kernel needs, besides the SUMMARY so far, to go on as if it had never
# stopped. Names are the kernel's own.
STATE = np.dtype(
    [
        ("bar", np.int64),  # signal bar whose signal is acted on next; -1 = nothing has run yet
        ("cash", np.float64),
        ("equity", np.float64),
        ("peak", np.float64),
        ("max_drawdown", np.float64),
        ("max_drawdown_money", np.float64),
        ("s1", np.float64),
        ("s2", np.float64),
        ("s3", np.float64),
        ("s4", np.float64),
        ("down1", np.float64),
        ("down2", np.float64),
        ("q", np.float64),
        ("d", np.float64),
        ("E", np.float64),
        ("cost", np.float64),
        ("A", np.float64),
        ("B", np.float64),
        ("T", np.float64),
        ("stop0", np.float64),
        ("trail", np.float64),
        ("S", np.float64),
        ("initial_risk", np.float64),
        ("best", np.float64),
        ("worst", np.float64),
        ("entry_fees", np.float64),
        ("slippage_paid", np.float64),
        ("funding_paid", np.float64),
        ("R", np.float64),
        ("rest", np.float64),
        ("filled", np.float64),
        ("mean_entry", np.float64),
        ("P2", np.float64),
        ("bars_in_position", np.int64),
        ("written", np.int64),
        ("trail_kind", np.int64),
        ("entry_bar", np.int64),
        ("entry_signal_bar", np.int64),
        ("program_row", np.int64),
        ("tier", np.int64),
        ("tier_left", np.int64),
        ("ruined", np.int8),
        ("target_dropped", np.int8),
        ("ambiguous", np.int8),
        ("working", np.int8),
        ("fresh_order", np.int8),
    ],
    align=True,
)


class Market(NamedTuple):
    """Execution bars as the kernel reads them, and how they nest in the signal bars.

    `act[s]` is the index of the first execution bar that opens at or after the close of signal bar s, so the bars
    `act[s] .. act[s+1]-1` know signal bar s as the last closed one; without detail candles it is s + 1.
    """

    act: IntArray  # one per signal bar
    signal_close: FloatArray  # one per signal bar
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray  # +inf in every bar where the data has no volume at all
    mean: FloatArray  # the bar's own VWAP: quote volume / volume, else (high + low + close) / 3
    funding: FloatArray  # sum of the funding rates charged at the bar's close; empty where there is none


class Orders(NamedTuple):
    """One plan as the kernel reads it: signals as a short sorted list of events, lines as columns per signal bar."""

    event_bar: Int32Array  # signal bar of the event, strictly increasing
    event_code: ByteArray  # see `event_codes`
    anchor: FloatArray
    vwap: FloatArray
    risk: FloatArray


class Records(NamedTuple):
    """Where a run leaves its records; empty arrays keep nothing, full ones keep counting in the summary."""

    programs: RecordArray
    fills: RecordArray
    trades: RecordArray
    equity: FloatArray  # per signal bar start .. stop-1, at its close
    low_mark: FloatArray  # the same at the worst price the position provably saw within the bar


# For a run of which the summary alone is wanted.
NO_RECORDS = Records(np.empty(0, PROGRAM), np.empty(0, FILL), np.empty(0, TRADE), np.empty(0), np.empty(0))


def fresh_states(rows: int) -> RecordArray:
    """STATE records of runs that have not begun."""
    states = np.zeros(rows, STATE)
    states["bar"] = -1
    return states


# Event codes: bits 0-1 hold the entry side + 1, bit 2 closes a long, bit 3 closes a short.
CLOSE_LONG = 4
CLOSE_SHORT = 8


def event_codes(entry: ByteArray, leave: ByteArray) -> ByteArray:
    """Pack entry signals (-1, 0, +1) and exit signals (0 none, +1 closes a long, -1 a short, 2 either), one per bar."""
    closes = CLOSE_LONG * ((leave == 1) | (leave == 2)) + CLOSE_SHORT * ((leave == -1) | (leave == 2))
    packed: ByteArray = (entry + 1 + closes).astype(np.int8)
    return packed


NO_EVENT = 1  # the code of a bar with neither entry nor exit
