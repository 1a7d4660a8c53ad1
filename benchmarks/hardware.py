"""Whether the hardware profile tells the truth: estimated times of optimizations against the times they then take.

Run: python benchmarks/hardware.py

Each line is one whole optimization (three stages and the result) of the built-in strategy on SAMPLE candles, with a new
ledger, after one that compiles and loads what is loaded once. A ratio between 0.5 and 2 is what docs/hardware.md
promises. Nothing here is a test: machines are noisy, and busy ones more so.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from barwise.config import OptimizationConfig, OptimizationProfile  # noqa: E402
from barwise.data.candles import Candles  # noqa: E402
from barwise.data.synthetic import sample_candles  # noqa: E402
from barwise.hardware import estimate_of, measure_hardware  # noqa: E402
from barwise.optimize.engine import optimize  # noqa: E402
from barwise.strategy.ema_rsi_atr import EmaRsiAtr  # noqa: E402


def optimization_s(candles: Candles, search: OptimizationProfile, sampler: str, threads: int, rows: int) -> float:
    """Seconds of one optimization with the profile's settings and nothing on record."""
    with tempfile.TemporaryDirectory() as folder:
        config = OptimizationConfig(
            profile=search, optuna_sampler=sampler, workers=threads, batch_size=rows,
            storage=str(Path(folder) / "ledger.sqlite"),
        )  # fmt: skip
        # New arrays each time, or the indicators of the last round would still be known.
        fresh = candles[: len(candles)]
        started = time.perf_counter()
        optimize(fresh, EmaRsiAtr(), 0.1, config=config)
        return time.perf_counter() - started


def main() -> None:
    """Measure this machine, then every search, and print estimate, time and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, nargs="+", default=[2_136, 8_760, 52_560])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="for the measurement of the machine")
    options = parser.parse_args()
    started = time.perf_counter()
    profile = measure_hardware(options.seconds)
    print(
        f"{profile.hardware.processor}, measured in {time.perf_counter() - started:.1f} s: "
        f"{profile.threads} threads, {profile.batch_size:,} rows at a time, {profile.backend}"
    )
    longest = sample_candles("SAMPLE-BTC", "1H", "2019-01-01", "2025-01-01")
    rows = profile.batch_size
    optimization_s(longest[: min(options.bars)], OptimizationProfile.FAST, "TPE", profile.threads, rows)
    for bars in options.bars:
        for sampler in ("TPE", "AUTO"):
            for search in OptimizationProfile:
                foreseen = estimate_of(profile, search, bars=bars, sampler=sampler).seconds
                took = statistics.median(
                    optimization_s(longest[:bars], search, sampler, profile.threads, rows)
                    for _ in range(options.rounds)
                )
                print(
                    f"  {bars:>7,} bars   {sampler:<5}{search.value:<10}estimate {foreseen:6.2f} s   "
                    f"took {took:6.2f} s   ratio {foreseen / took:5.2f}"
                )


if __name__ == "__main__":
    main()
