"""How fast a graphics card runs a sweep, against all cores of the processor, and how far the two agree.

Run: python benchmarks/gpu.py

Times are from arrays in memory to summaries in memory, so the way to the card and back is part of them; planning (the
indicators and signals of every row) is the same for both and is left out. Medians of several rounds, after one that
compiles. Where there is no card this says so and measures nothing.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from barwise.config import ExecutionConfig  # noqa: E402
from barwise.core.gpu import gpu_available, simulate_rows_on_gpu  # noqa: E402
from barwise.core.kernel import simulate_rows  # noqa: E402
from barwise.core.layout import NO_RECORDS, SUMMARY, fresh_states  # noqa: E402
from barwise.prepare import parameter_records, prepare, resolved_fees  # noqa: E402
from barwise.strategy.ema_rsi_atr import EmaRsiAtr  # noqa: E402
from barwise.strategy.shared_lines import SharedLines  # noqa: E402
from benchmarks.core import minutes, random_rows  # noqa: E402

ROUNDS = 5
# A share is what a thread of the processor takes at a time; small enough that no core waits long for another.
SHARE = 64

# What a sweep passes to either before `stop`: market, lines, plans, two columns of events, plan of row, parameters.
Workload = tuple[Any, Any, Any, Any, Any, Any, Any]


def workload(rows: int, bars: int) -> Workload:
    """Random rows of the built-in strategy over SAMPLE minutes, planned."""
    candles, strategy, execution = minutes(bars), EmaRsiAtr(), ExecutionConfig()
    prepared, varied = prepare(candles), random_rows(rows)
    signal = strategy.signal_parameters()
    columns = {name: varied.get(name, np.broadcast_to(getattr(strategy, name), (rows,))) for name in signal}
    planned = EmaRsiAtr.plan_rows(candles.bars, SharedLines(prepared.session_vwap), columns)
    assert planned is not None
    params = parameter_records(
        rows, strategy, {name: column for name, column in varied.items() if name not in signal}, execution,
        resolved_fees(execution, candles.exchange), 0.1, prepared.ratio, prepared.steps,
    )  # fmt: skip
    return (
        prepared.market, planned.lines, planned.plans, planned.event_bars, planned.event_codes, planned.plan_of_row,
        params,
    )  # fmt: skip


def on_processor(work: Workload, bars: int, summaries: Any, pool: ThreadPoolExecutor) -> None:
    """All rows on all cores."""
    states = fresh_states(summaries.size)

    def share(first: int) -> None:
        last = min(first + SHARE, summaries.size)
        simulate_rows(*work, bars, first, last, NO_RECORDS, summaries, states, True)

    list(pool.map(share, range(0, summaries.size, SHARE)))


def on_card(work: Workload, bars: int, summaries: Any) -> None:
    """All rows on the card."""
    simulate_rows_on_gpu(*work, bars, summaries, fresh_states(summaries.size), True)


def median_s(work: Callable[[], None]) -> float:
    """Median time of a call in seconds, after one that may compile."""
    work()
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    """Measure every number of rows and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--bars", type=int, default=2_160)
    options = parser.parse_args()
    if not gpu_available():
        print("There is no graphics card here that numba-cuda can use, so there is nothing to compare.")
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"{options.bars:,} bars, {cores} cores; ns per bar and row")
    with ThreadPoolExecutor(cores) as pool:
        for rows in options.rows:
            work = workload(rows, options.bars)
            processor, card = np.zeros(rows, SUMMARY), np.zeros(rows, SUMMARY)
            processor_s = median_s(lambda: on_processor(work, options.bars, processor, pool))  # noqa: B023
            card_s = median_s(lambda: on_card(work, options.bars, card))  # noqa: B023
            unit = 1e9 / rows / options.bars
            equal = sum(one == other for one, other in zip(processor.tolist(), card.tolist(), strict=True))
            print(
                f"  {rows:>9,} rows   processor {processor_s * unit:8.3f}   card {card_s * unit:8.3f}   "
                f"{processor_s / card_s:6.1f} times as fast   {equal:,} rows equal to the bit"
            )


if __name__ == "__main__":
    main()
