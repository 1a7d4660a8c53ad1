"""How fast the core is: kernel, one backtest, a sweep, and a cold start.

Run: python benchmarks/core.py

Medians of several rounds. Absolute times belong to the machine that printed them; the ratios (per bar, per row, scaling
with bars and rows) are what to compare. Nothing here is a test: machines are noisy.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core.kernel import simulate
from barwise.core.layout import FILL, PROGRAM, SUMMARY, TRADE, Records, fresh_states
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import BacktestEngine, complete_plan, kernel_orders
from barwise.prepare import parameter_records, prepare, resolved_fees
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper, sweep

SOURCE = Path(__file__).resolve().parents[1] / "src"
LENGTHS = (2_160, 8_640, 52_560, 525_600)
# One minute of everything: the rounds of a measurement stop after this many seconds.
PATIENCE_S = 3.0


def median_us(work: Callable[[], object], rounds: int = 15) -> float:
    """Median time of one call in microseconds; fast calls are grouped so that a round takes at least a millisecond."""
    work()
    started = time.perf_counter()
    work()
    once = max(time.perf_counter() - started, 1e-7)
    group = max(1, int(1e-3 / once))
    found: list[float] = []
    until = time.perf_counter() + PATIENCE_S
    while len(found) < rounds and (time.perf_counter() < until or len(found) < 3):
        started = time.perf_counter()
        for _ in range(group):
            work()
        found.append((time.perf_counter() - started) / group * 1e6)
    return statistics.median(found)


def minutes(bars: int) -> Candles:
    """The first bars of a year of SAMPLE minutes."""
    return sample_candles("SAMPLE-BTC", "1M", "2024-01-01", "2024-12-31")[:bars]


def random_rows(rows: int) -> dict[str, np.ndarray]:
    """Valid rows around the defaults, every parameter of the three stages varied."""
    rng = np.random.default_rng(1)
    return {
        "ema_fast": rng.integers(17, 24, rows),
        "ema_slow": rng.integers(42, 59, rows),
        "ema_trend": rng.integers(170, 231, rows),
        "rsi_period": rng.integers(12, 17, rows),
        "atr_period": rng.integers(12, 17, rows),
        "rsi_long_threshold": rng.uniform(30, 40, rows),
        "rsi_short_threshold": rng.uniform(60, 70, rows),
        "atr_sl_multiplier": rng.uniform(1.2, 1.8, rows),
        "atr_tp_multiplier": rng.uniform(1.7, 2.3, rows),
        "trailing_sl_threshold": rng.uniform(0.017, 0.023, rows),
        "hybrid_tier1_timeout": rng.integers(4, 7, rows),
    }


def kernel_times() -> list[dict[str, float]]:
    """The kernel with all records, per bar, over the whole length of the data."""
    found = []
    for bars in LENGTHS:
        candles = minutes(bars)
        prepared = prepare(candles)
        orders = kernel_orders(complete_plan(EmaRsiAtr(), prepared))
        execution = ExecutionConfig()
        params = parameter_records(
            1, EmaRsiAtr(), {}, execution, resolved_fees(execution, candles.exchange), 0.1, 1, prepared.steps
        )[0]
        room = orders.event_bar.size + 1
        records = Records(
            np.zeros(room, PROGRAM), np.zeros(8 * room, FILL), np.zeros(room, TRADE), np.empty(bars), np.empty(bars)
        )
        summary, fresh = np.zeros(1, SUMMARY)[0], fresh_states(1)[0]
        once = median_us(lambda: simulate(prepared.market, orders, params, 199, bars, records, summary, fresh, True))  # noqa: B023
        found.append({"bars": bars, "us": once, "ns_per_bar": once * 1e3 / bars, "trades": int(summary["trades"])})
    return found


def engine_times() -> dict[str, float]:
    """One backtest of 2,160 bars, warm: the run, with every metric, and with all it can say as a dict."""
    engine = BacktestEngine(minutes(2_160), EmaRsiAtr(), 0.1)
    return {
        "run_us": median_us(engine.run),
        "run_and_headline_us": median_us(lambda: engine.run().sharpe_ratio),
        "run_and_all_metrics_us": median_us(lambda: engine.run().metrics),
        "run_and_dict_us": median_us(lambda: engine.run().to_dict()),
    }


def sweep_times() -> list[dict[str, float]]:
    """Sweeps of growing rows and bars: one by itself, and one more of a search, whose lines are there already."""
    found = []
    cores = len(os.sched_getaffinity(0))
    for bars, rows, workers in ((2_160, 1_000, 1), (2_160, 1_000, cores), (2_160, 10_000, cores), (52_560, 200, cores)):
        candles, columns = minutes(bars), random_rows(rows)
        once = median_us(lambda: sweep(candles, EmaRsiAtr(), 0.1, rows=columns, workers=workers))  # noqa: B023
        sweeper = Sweeper(candles, EmaRsiAtr(), 0.1, workers=workers)
        further = median_us(lambda: sweeper.sweep(columns))  # noqa: B023
        found.append(
            {
                "bars": bars,
                "rows": rows,
                "threads": workers,
                "backtests_per_s": rows / once * 1e6,
                "ns_per_bar_and_row": once * 1e3 / rows / bars,
                "further_backtests_per_s": rows / further * 1e6,
                "further_ns_per_bar_and_row": further * 1e3 / rows / bars,
            }
        )
    return found


def cold_times(rounds: int = 5) -> dict[str, float]:
    """New processes: import, help, a first backtest with and without stored machine code, in milliseconds."""
    first = "from barwise import backtest, sample_candles; backtest(sample_candles(), qty=0.1)"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "BARWISE_HOME": folder}
        cold = environment | {"NUMBA_CACHE_DIR": str(Path(folder) / "machine-code")}

        def once(arguments: list[str], env: dict[str, str]) -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=env, check=True, capture_output=True)
            return (time.perf_counter() - started) * 1e3

        def middle(arguments: list[str]) -> float:
            return statistics.median(once(arguments, environment) for _ in range(rounds))

        once(["-c", first], environment)
        times = {
            "python_ms": middle(["-c", "pass"]),
            "import_barwise_ms": middle(["-c", "import barwise"]),
            "help_ms": middle(["-m", "barwise", "--help"]),
            "first_backtest_ms": middle(["-c", first]),
            "first_backtest_without_machine_code_ms": once(["-c", first], cold),
        }
        shutil.rmtree(folder, ignore_errors=True)
    return times


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--skip-cold", action="store_true", help="leave out what starts new processes")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "cores": len(os.sched_getaffinity(0))},
        "kernel": kernel_times(),
        "engine": engine_times(),
        "sweep": sweep_times(),
    }
    if not options.skip_cold:
        found["cold"] = cold_times()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, part in found.items():
        print(f"\n{name}")
        for row in part if isinstance(part, list) else [part]:
            shown = {
                key: f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
                for key, value in row.items()
            }
            print("  " + "   ".join(f"{key} {value}" for key, value in shown.items()))


if __name__ == "__main__":
    main()
