"""Tiers: how entries were filled, what that cost, and what the market did after the entries that were missed.

A resting limit that waits for its price is cheap when it fills and expensive when it does not, so a tier's fees and
shortfall are shown next to the programs it let go. All of it is derived from PROGRAM and FILL records (execution
specification, sections 4 and 8) and the closes of the execution bars.

Units: rates and shares are PERCENT, price moves are basis points of the price they are measured from, positive where
the name says so: a positive shortfall is a cost, a positive drift or move is in favour of the position.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import BoolArray, FloatArray, IntArray, Outcome, RecordArray

TIER_NAMES = ("EMA touch", "limit order", "VWAP slice", "market order", "stand-down")
HORIZONS = (1, 5, 20)
_BASIS_POINTS = 1e4


def tier_statistics(
    programs: RecordArray,
    fills: RecordArray,
    close: FloatArray,
    tier_bars: tuple[int, int, int, int],
    horizons: tuple[int, ...] = HORIZONS,
) -> list[dict[str, Any]]:
    """What each of the tiers 1 to 4 did.

    Args:
        programs: PROGRAM records of a run.
        fills: FILL records of the same run.
        close: Of the execution bars. Cut it at the run's end, or the drift looks beyond it.
        tier_bars: Length of the tiers in execution bars, 0 where a tier is skipped (PARAMS tier1_bars .. tier4_bars).
        horizons: Execution bars after a fill at which the drift is taken.

    Returns:
        One dict per tier: tier, name, programs (that reached it), programs_filled (with a fill in it), fills, fill_rate
        (percent of the programs that reached it), quantity, quantity_share (percent of all filled), mean_bars_to_fill
        (execution bars from the program's first bar to its first fill in this tier), shortfall_bp, maker_share
        (percent of quantity), fees, and per horizon n drift_n_bp and drift_n_fills (the fills it is the mean of). Means
        are weighted by quantity, except that over programs; None where there is nothing to take them of.
    """
    reached = tiers_reached(programs, fills, tier_bars)
    total = float(fills["quantity"].sum())
    tables = []
    for tier in range(1, 5):
        f = fills[fills["tier"] == tier]
        visited = int(np.count_nonzero(reached[:, tier - 1]))
        # Fills are in the order of time, so the first row of a program is its first fill here.
        owners, first_row = np.unique(f["program"], return_index=True)
        waited = f["bar"][first_row] - programs["start_bar"][owners]
        quantity = f["quantity"]
        arrival = programs["arrival_price"][f["program"]]
        filled = float(quantity.sum())
        table: dict[str, Any] = {
            "tier": tier,
            "name": TIER_NAMES[tier - 1],
            "programs": visited,
            "programs_filled": len(owners),
            "fills": len(f),
            "fill_rate": 100.0 * len(owners) / visited if visited else None,
            "quantity": filled,
            "quantity_share": 100.0 * filled / total if total > 0.0 else None,
            "mean_bars_to_fill": float(waited.mean()) if len(waited) else None,
            "shortfall_bp": _weighted(_move(f["side"], arrival, f["price"]), quantity),
            "maker_share": 100.0 * float(quantity[f["maker"] == 1].sum()) / filled if filled > 0.0 else None,
            "fees": float(f["fee"].sum()),
        }
        for n in horizons:
            table[f"drift_{n}_bp"], table[f"drift_{n}_fills"] = _drift(f, close, n)
        tables.append(table)
    return tables


def tiers_reached(programs: RecordArray, fills: RecordArray, tier_bars: tuple[int, int, int, int]) -> BoolArray:
    """Which tiers each program came to, shape (programs, 4).

    A program is in the tiers for as many execution bars as they last, one after the other, from its first bar on. In
    its last bar it was still at work if it filled, was cut by margin or the end of the run, or stood down there: the
    chase guard and the timeout belong to the tier they end. A reversal or an exit cancels a program before it works in
    that bar, unless it filled there first.
    """
    first = np.concatenate(([0], np.cumsum(tier_bars)[:-1]))
    cancelled = np.isin(programs["outcome"], (Outcome.REVERSED, Outcome.POSITION_CLOSED))
    filled_last = np.zeros(len(programs), dtype=np.bool_)
    filled_last[fills["program"][fills["bar"] == programs["end_bar"][fills["program"]]]] = True
    last = programs["end_bar"] - programs["start_bar"] - (cancelled & ~filled_last)
    reached: BoolArray = (last[:, np.newaxis] >= first) & (np.asarray(tier_bars) > 0)
    return reached


def program_totals(programs: RecordArray) -> dict[str, Any]:
    """All entry programs of a run: how many, how they ended, how much of the order quantity was had at which price.

    Returns:
        programs, programs_filled (with at least one fill), missed (without), fill_rate (percent of programs), quantity
        (ordered), filled, quantity_rate (percent of the ordered quantity), shortfall_bp (weighted by filled quantity;
        positive is a cost), outcomes (name -> {programs, programs_filled, missed}; every outcome is present). None
        where undefined.
    """
    had = programs["filled"] > 0.0
    ordered, filled = float(programs["quantity"].sum()), float(programs["filled"].sum())
    return {
        "programs": len(programs),
        "programs_filled": int(np.count_nonzero(had)),
        "missed": int(np.count_nonzero(~had)),
        "fill_rate": 100.0 * int(np.count_nonzero(had)) / len(programs) if len(programs) else None,
        "quantity": ordered,
        "filled": filled,
        "quantity_rate": 100.0 * filled / ordered if ordered > 0.0 else None,
        "shortfall_bp": _weighted(shortfall_bp(programs)[had], programs["filled"][had]),
        "outcomes": {outcome.name.lower(): _outcome(had[programs["outcome"] == outcome]) for outcome in Outcome},
    }


def shortfall_bp(programs: RecordArray) -> FloatArray:
    """Implementation shortfall of each program, d * (E - R) / R in bp; NaN where nothing was filled.

    Source:
        Perold (1988), The implementation shortfall: its execution part, without the opportunity cost of the misses.
    """
    return _move(programs["side"], programs["arrival_price"], programs["entry_price"])


def missed_programs(programs: RecordArray, close: FloatArray, horizons: tuple[int, ...] = HORIZONS) -> dict[str, Any]:
    """The programs without any fill, and what the market did without them.

    Args:
        programs: PROGRAM records of a run.
        close: Of the execution bars, up to the run's end.
        horizons: Execution bars to look ahead, ascending.

    Returns:
        `programs`: one dict per missed program: program (row), signal_bar, start_bar, end_bar, side (+1, -1), outcome
        (name), arrival_price, best_bp (best of the closes from the signal on, within the last horizon and the data),
        and per horizon n after_signal_n_bp (move from the arrival price to the close n execution bars after the signal)
        and after_end_n_bp (move from the close of the bar it ended in to the close n bars later). Moves are positive
        where they favour the side that was not had. Over all of them: `missed`, `best_bp` (mean), and per horizon
        `after_signal_n_bp`, `after_end_n_bp` (means) and `favourable_n_share` (percent that moved in favour after the
        signal). None where the data ends before the horizon.
    """
    rows = np.flatnonzero(~(programs["filled"] > 0.0))
    p = programs[rows]
    side, arrival = p["side"], p["arrival_price"]
    # The bar before the first one at work is the last that was known at the signal.
    signal = p["start_bar"] - 1
    end_close = close[p["end_bar"]]
    after_signal = {n: _moves_after(side, arrival, close, signal + n) for n in horizons}
    known_after_signal = {n: values[np.isfinite(values)] for n, values in after_signal.items()}
    after_end = {n: _moves_after(side, end_close, close, p["end_bar"] + n) for n in horizons}
    ahead = signal[:, np.newaxis] + np.arange(1, horizons[-1] + 1)
    # A program works in at least one bar, so there is a close after its signal; past the data the last one is repeated.
    best = _move(side[:, np.newaxis], arrival[:, np.newaxis], close[np.minimum(ahead, len(close) - 1)]).max(axis=1)
    moves_of = {f"after_signal_{n}_bp": values for n, values in after_signal.items()}
    moves_of |= {f"after_end_{n}_bp": values for n, values in after_end.items()}
    table = [
        {
            "program": int(rows[i]),
            "signal_bar": int(p["signal_bar"][i]),
            "start_bar": int(p["start_bar"][i]),
            "end_bar": int(p["end_bar"][i]),
            "side": int(side[i]),
            "outcome": Outcome(int(p["outcome"][i])).name.lower(),
            "arrival_price": float(arrival[i]),
            "best_bp": float(best[i]),
            **{name: _number(values[i]) for name, values in moves_of.items()},
        }
        for i in range(len(rows))
    ]
    return {
        "missed": len(rows),
        "best_bp": _mean(best),
        **{name: _mean(values) for name, values in moves_of.items()},
        **{f"favourable_{n}_share": _mean(100.0 * (known > 0.0)) for n, known in known_after_signal.items()},
        "programs": table,
    }


def _move(side: NDArray[Any], start: FloatArray, end: FloatArray) -> FloatArray:
    """From one price to another in bp of the first, positive in the direction of `side`."""
    move: FloatArray = side * (end - start) / start * _BASIS_POINTS
    return move


def _moves_after(side: NDArray[Any], start: FloatArray, close: FloatArray, bar: IntArray) -> FloatArray:
    """Moves to the closes of `bar`; NaN where the data has no such bar."""
    moves = np.full(len(bar), np.nan)
    inside = bar < len(close)
    moves[inside] = _move(side[inside], start[inside], close[bar[inside]])
    return moves


def _drift(fills: RecordArray, close: FloatArray, bars: int) -> tuple[float | None, int]:
    """Mean move after the fills, weighted by quantity, and the number of fills with enough bars after them."""
    moves = _moves_after(fills["side"], fills["price"], close, fills["bar"] + bars)
    known = ~np.isnan(moves)
    return _weighted(moves[known], fills["quantity"][known]), int(np.count_nonzero(known))


def _weighted(values: FloatArray, weights: FloatArray) -> float | None:
    """Mean weighted by quantity, or None where there is no quantity."""
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0.0 else None


def _number(value: float) -> float | None:
    """The value as a plain float, None where it is not one."""
    return float(value) if np.isfinite(value) else None


def _mean(values: NDArray[Any]) -> float | None:
    """Mean of those that are known, or None."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _outcome(had: BoolArray) -> dict[str, int]:
    """Programs of one outcome, with and without a fill."""
    filled = int(np.count_nonzero(had))
    return {"programs": len(had), "programs_filled": filled, "missed": len(had) - filled}
