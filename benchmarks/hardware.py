"""Whether the hardware profile tells the truth: estimated times of optimizations against the times they then take.

Run: python benchmarks/hardware.py

Each line is one whole optimization (three stages and the result) of the built-in strategy on SAMPLE candles with an
empty ledger: the first of a new process, and the next one; the best of some rounds, because the estimates are made of
best rounds. First FAST, BALANCED and THOROUGH with the two samplers that matter most, then BALANCED with every other
sampler that is timed and with two objectives. A ratio between 0.5 and 2 is what docs/hardware.md promises. Nothing here
is a test: machines are noisy, and a ratio taken while other programs work (the load is shown) says more about them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from barwise.config import OptimizationConfig, OptimizationProfile  # noqa: E402
from barwise.hardware import HardwareProfile, estimate_of, measure_hardware  # noqa: E402

TWO = ("sharpe_ratio", "max_drawdown")
SEARCHES: dict[str, dict[str, Any]] = {
    f"{sampler} {search.value}": {"optuna_sampler": sampler, "profile": search.value}
    for sampler in ("TPE", "AUTO")
    for search in OptimizationProfile
}
SEARCHES |= {
    sampler: {"optuna_sampler": sampler} for sampler in ("CMA-ES", "NSGA-II", "NSGA-III", "QMC", "RANDOM", "GRID")
}
SEARCHES |= {
    f"{sampler}, 2 objectives": {"optuna_sampler": sampler, "objective": TWO} for sampler in ("TPE", "NSGA-II", "QMC")
}

CHILD = """
import json, sys, tempfile, time
from pathlib import Path
from barwise.config import OptimizationConfig
from barwise.data.synthetic import sample_candles
from barwise.optimizer.engine import optimize
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

bars, settings = int(sys.argv[1]), json.loads(sys.argv[2])
candles = sample_candles("SAMPLE-BTC", "1H", "2019-01-01", "2025-01-01")[:bars]
for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
        config = OptimizationConfig(**settings, storage=str(Path(folder) / "ledger.sqlite"))
        # New arrays each time, or the indicators of the round before would still be known.
        fresh = candles[: len(candles)]
        started = time.perf_counter()
        optimize(fresh, EmaRsiAtr(), 0.1, config=config)
        print(time.perf_counter() - started)
"""


def optimization_s(bars: int, settings: dict[str, Any], profile: HardwareProfile) -> list[float]:
    """Seconds of the first and of the second optimization of a new process, with nothing on record."""
    settings = {**settings, "workers": profile.threads, "batch_size": profile.batch_size}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(bars), json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return [float(line) for line in done.stdout.split()]


def main() -> None:
    """Measure this machine, then every search, and print estimate, time and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, nargs="+", default=[2_136, 8_760, 52_560])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="for the measurement of the machine")
    parser.add_argument("--search", action="append", choices=SEARCHES, help="this one only; repeatable")
    options = parser.parse_args()
    started = time.perf_counter()
    profile = measure_hardware(options.seconds)
    print(
        f"{profile.hardware.processor}, measured in {time.perf_counter() - started:.1f} s: "
        f"{profile.threads} threads, {profile.batch_size:,} rows at a time, {profile.backend}"
    )
    for bars in options.bars:
        for name in options.search or SEARCHES:
            rounds = [optimization_s(bars, SEARCHES[name], profile) for _ in range(options.rounds)]
            config = OptimizationConfig(**SEARCHES[name])
            for first, took in zip((True, False), map(min, zip(*rounds, strict=True)), strict=True):
                foreseen = estimate_of(profile, config, bars=bars, first=first).known
                print(
                    f"  {bars:>7,} bars  {name:<22}{'first' if first else 'next':<6}"
                    f"estimate {foreseen:6.2f} s  took {took:6.2f} s  ratio {foreseen / took:5.2f}"
                    f"  load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
