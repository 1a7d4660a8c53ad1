"""What the optimizer finds on real candles, stage by stage, and what of it to believe.

Run: python benchmarks/real_optimization.py [--shared FOLDER] [--seeds N]

BALANCED with TPE and with AUTO on one quarter of BTCUSDT 1H and on four years of ETHUSDT 1H of Binance's spot market,
its fees and 5 bp slippage included. The candles lie in ../shared, or where --shared or BARWISE_SHARED says; they are
not part of the repository. Every search has a new ledger, so that its trials and its luck line are its own; --seeds
repeats each from several seeds, halved and in full. All of it is in-sample: the tables say how well a strategy can be
fitted to a past, not what it will earn.
"""

import argparse
import os
import statistics
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barwise.config import OptimizationConfig, OptimizationProfile
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.engine import backtest
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult
from barwise.result import BacktestResult
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = (
    f"  {'':<12}{'Sharpe':>8}{'net':>12}{'trades':>8}{'max DD':>9}{'trials':>8}{'bars':>7}{'s':>8}{'sampler s':>11}"
)


@dataclass(frozen=True)
class Case:
    """One market: file, span and quantity of every order."""

    file: str
    symbol: str
    start: str
    end: str
    quantity: float


CASES = (
    Case("binance_spot_BTCUSDT_1h_20200920_20250331.parquet", "BTCUSDT", "2025-01-01", "2025-03-31", 0.1),
    Case("binance_spot_ETHUSDT_1h_20200920_20250331.parquet", "ETHUSDT", "2021-01-01", "2025-01-01", 1.0),
)


def candles_of(case: Case, folder: Path) -> Candles:
    """The candles of a case; outages of the exchange stay the gaps they were."""
    candles = read_candles(folder / case.file, exchange="BINANCE", symbol=case.symbol, timeframe="1H", audit="report")
    return candles.between(case.start, case.end)


def optimized(candles: Candles, quantity: float, sampler: str, **settings: Any) -> OptimizationResult:
    """The three stages."""
    with tempfile.TemporaryDirectory() as folder:
        config = OptimizationConfig(
            profile=OptimizationProfile.BALANCED,
            optuna_sampler=sampler,
            storage=str(Path(folder) / "ledger.sqlite"),
            **settings,
        )
        with OptimizationEngine(
            candles, EmaRsiAtr(), quantity, exchange="BINANCE", symbol=candles.symbol, timeframe="1H", opt_config=config
        ) as engine:
            engine.optimize_stage_7_1()
            engine.optimize_stage_7_2()
            engine.optimize_stage_7_3()
            return engine.result()


def after_each_stage(result: OptimizationResult, quantity: float) -> list[BacktestResult]:
    """A plain backtest of what each stage ended with, the baseline first."""
    candles = result.candles
    after = [backtest(candles, stage.config, quantity, check_lookahead=False) for stage in result.stages]
    return [result.baseline, *after]


def line(name: str, run: BacktestResult, cost: str = "") -> str:
    """One row of a table."""
    figures = f"{run.sharpe_ratio:>8.2f}{run.net_pnl:>+12,.0f}{run.total_trades:>8,}{run.max_drawdown:>7.2f} %"
    return f"  {name:<12}{figures}{cost}"


def report(sampler: str, result: OptimizationResult, runs: list[BacktestResult]) -> None:
    """Print the table of one search."""
    print(f"\n  {sampler}\n{HEADER}")
    print(line("baseline", runs[0]))
    for stage, run in zip(result.stages, runs[1:], strict=True):
        cost = f"{len(stage.trials):>8,}{stage['bars_share']:>7.0%}{stage.seconds:>8.2f}{stage.sampler_seconds:>11.2f}"
        print(line(f"after {stage.stage}", run, cost))
    changed = ", ".join(f"{name} {value}" for name, value in result.best_params.items()) or "nothing"
    told("changed", changed)
    told(
        "luck",
        f"the best of {result.n_trials:,} trials without any edge is expected to reach Sharpe {result.luck_line:.2f} "
        f"on such a span; found {result.best.sharpe_ratio:.2f}",
    )
    if result.plateau is not None:
        kept, neighbours = result.plateau.kept, len(result.plateau.points)
        share = result.plateau.reason if kept is None else f"{kept:.0%} of {neighbours} neighbours keep 80 % of it"
        told("plateau", share)
    told("time", f"{result.seconds:.2f} s, neighbourhood included")


def compare(candles: Candles, quantity: float, sampler: str, seeds: int) -> None:
    """Print the best Sharpe ratios from several seeds, with halving and without."""
    for name, halved in (("halved", True), ("in full", False)):
        runs = [
            optimized(candles, quantity, sampler, seed=seed, multi_fidelity=halved, min_rung_trades=0)
            for seed in range(seeds)
        ]
        found = sorted(run.best.sharpe_ratio for run in runs)
        told(
            name,
            f"{seeds} seeds end at Sharpe {found[0]:.2f} to {found[-1]:.2f}, median {statistics.median(found):.2f}",
        )


def told(name: str, text: str) -> None:
    """A remark under a table."""
    print(textwrap.fill(f"  {name:<12}{text}", 110, subsequent_indent=" " * 14, break_on_hyphens=False))


def main() -> int:
    """Search every case with both samplers, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(os.environ.get("BARWISE_SHARED", REPOSITORY.parent / "shared"))
    parser.add_argument(
        "--shared", type=Path, default=beside, help="folder that has data/market; by default %(default)s"
    )
    parser.add_argument("--seeds", type=int, default=0, help="compare halving with full evaluation from so many seeds")
    options = parser.parse_args()
    folder, seeds = options.shared / "data" / "market", options.seeds
    missing = [case.file for case in CASES if not (folder / case.file).is_file()]
    if missing:
        print(f"not measured: {folder} has no {' and no '.join(missing)}; --shared names the folder.", file=sys.stderr)
        return 1
    first = CASES[0]
    # Once without a word, so that no table has the time it takes to load Optuna and the compiled kernel.
    optimized(candles_of(first, folder), first.quantity, "TPE")
    for case in CASES:
        candles = candles_of(case, folder)
        print(
            f"\n{case.symbol} 1H BINANCE  {case.start} .. {case.end}  {len(candles):,} bars, quantity {case.quantity:g}"
        )
        for sampler in ("TPE", "AUTO"):
            result = optimized(candles, case.quantity, sampler)
            report(sampler, result, after_each_stage(result, case.quantity))
            if seeds:
                compare(candles, case.quantity, sampler, seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
