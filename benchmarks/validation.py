"""What a verdict costs: walk-forward, the permutation test, the probability of backtest overfitting, and the whole.

Run: python benchmarks/validation.py [--rounds N] [--workers N] [--json]

Medians of several rounds after one that is not counted, each with a new ledger in a temporary folder. Absolute times
belong to the machine that printed them. The permutation test is measured on a market with a planted edge that no
shuffled market reaches, so that it never stops early: all of its searches are in the figure. Where there is nothing to
be found it stops after a fraction of them.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from barwise.backends import open_backend, usable_cores
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.data.truth import planted_trend
from barwise.stats.overfitting import probability_of_overfitting
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper
from barwise.validation.engine import validate
from barwise.validation.permutation import permutation_test
from barwise.validation.walk_forward import walk

YEAR = 8_760
DAYS = 200
PERMUTATIONS = 99
TRIALS, BLOCKS = 1_000, 16
STRONG_DRIFT = 0.4
QUANTITY = 100.0
DEFAULT = EmaRsiAtr()
UNFILTERED = EmaRsiAtr(enable_trend_filter=False, enable_rsi_filter=False)


@cache
def year_with_edge() -> Candles:
    """One year of 1H bars on which nothing beats following the crossings."""
    return planted_trend(1, YEAR, drift=STRONG_DRIFT)


@cache
def returns_of_trials() -> Any:
    """float32 [trials, bars]: returns that share half of their variance, as those of one search do."""
    random = np.random.default_rng(1)
    common = random.standard_normal(YEAR, dtype=np.float32)
    return 0.004 * (common + random.standard_normal((TRIALS, YEAR), dtype=np.float32))


def walked(workers: int) -> dict[str, Any]:
    """Seven windows of 60 and 20 days, each re-optimized with the BALANCED profile and the batch search."""
    candles = sample_candles()[: DAYS * 24]
    sweeper = Sweeper(candles, DEFAULT, 0.1, workers=workers, check_lookahead=False)
    search = OptimizationConfig(optuna_sampler="AUTO", workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / "ledger.sqlite"
        result = walk(sweeper, DEFAULT, WalkForwardConfig(), search, run="speed", storage=storage)
    return {"windows": len(result.windows), "trials": sum(window.trials for window in result.windows)}


def shuffled(strategy: Strategy, workers: int) -> dict[str, Any]:
    """The permutation test of a BALANCED search, the start of its processes included."""
    sweeper = Sweeper(year_with_edge(), strategy, QUANTITY, workers=workers, check_lookahead=False)
    search = OptimizationConfig(optuna_sampler="AUTO", workers=workers)
    with ExitStack() as until_done:
        backend = until_done.enter_context(open_backend("processes", workers)) if workers > 1 else None
        test = permutation_test(sweeper, strategy, search, PERMUTATIONS, backend=backend)
    return {"shuffles": len(test.nulls), "planned": test.planned, "p_value": test.p_value}


def overfitting() -> dict[str, Any]:
    """PBO over all 12,870 splits of 16 blocks."""
    found = probability_of_overfitting(returns_of_trials(), BLOCKS)
    return {"trials": found.trials, "splits": found.splits}


def procedure(workers: int) -> dict[str, Any]:
    """Everything `validate` does on one year, BALANCED."""
    with tempfile.TemporaryDirectory() as folder:
        search = OptimizationConfig(optuna_sampler="AUTO", workers=workers, storage=str(Path(folder) / "ledger.sqlite"))
        report = validate(year_with_edge(), UNFILTERED, QUANTITY, search=search)
    return {"verdict": report.verdict, **{name: round(seconds, 2) for name, seconds in report.seconds.items()}}


def timed(work: Callable[[], dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Median wall time of some rounds, and what the last one says of itself."""
    said = work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        said = work()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "slowest": max(seconds), **said}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, by default %(default)s")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="cores, by default all: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rounds, workers = options.rounds, options.workers
    works: dict[str, Callable[[], dict[str, Any]]] = {
        f"walk-forward, {DAYS} days of 1H": partial(walked, workers),
        f"permutation test, B = {PERMUTATIONS}, one year of 1H": partial(shuffled, DEFAULT, workers),
        "the same without the filters": partial(shuffled, UNFILTERED, workers),
        f"PBO, {TRIALS:,} trials of one year of 1H": overfitting,
        "validate, one year of 1H": partial(procedure, workers),
    }
    found = {name: timed(work, rounds) for name, work in works.items()}
    if options.json:
        machine = {"python": platform.python_version(), "cores": usable_cores()}
        print(json.dumps({"machine": machine, "workers": workers, "rounds": rounds, "found": found}, indent=2))
        return
    print(f"{workers} workers, median of {rounds} rounds")
    for name, said in found.items():
        details = "   ".join(f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}"
                             for key, value in said.items() if key not in ("seconds", "slowest"))  # fmt: skip
        print(f"{name:<48}{said['seconds']:>8.2f} s  (slowest {said['slowest']:.2f})   {details}")


if __name__ == "__main__":
    main()
