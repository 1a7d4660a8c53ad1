"""The verdict on real markets: the whole procedure on more than four years of hourly candles.

Run: python benchmarks/real_validation.py [--shared FOLDER] [--profile NAME] [--workers N] [--json]

BTCUSDT and ETHUSDT 1H of Binance's spot market, 2020-09-20 to 2025-03-31, with its fees and 5 bp of slippage. The
built-in strategy as it is, searched with the batch search, walked forward in windows of 60 and 20 days, its search
repeated on shuffled markets. The candles lie in ../shared, or where --shared or BARWISE_SHARED says; they are not part
of the repository. Every case has a new ledger.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barwise.config import OptimizationConfig, OptimizationProfile
from barwise.data.files import read_candles
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.validation.engine import ValidationReport, validate
from barwise.validation.walk_forward import WalkForwardResult

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """One market: file and quantity of every order."""

    file: str
    symbol: str
    quantity: float


CASES = (
    Case("binance_spot_BTCUSDT_1h_20200920_20250331.parquet", "BTCUSDT", 0.1),
    Case("binance_spot_ETHUSDT_1h_20200920_20250331.parquet", "ETHUSDT", 1.0),
)


def judged(case: Case, folder: Path, profile: str, workers: int | None) -> ValidationReport:
    """The whole procedure; outages of the exchange stay the gaps they were."""
    candles = read_candles(folder / case.file, exchange="BINANCE", symbol=case.symbol, timeframe="1H", audit="report")
    with tempfile.TemporaryDirectory() as storage:
        search = OptimizationConfig(
            profile=OptimizationProfile(profile),
            optuna_sampler="AUTO",
            workers=workers,
            storage=str(Path(storage) / "ledger.sqlite"),
        )
        return validate(candles, EmaRsiAtr(), case.quantity, search=search)


def shown(value: float | None, unit: str) -> str:
    """A test's number in its unit."""
    if value is None:
        return "-"
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:,.0f}" if unit in ("trades", "windows", "money") else f"{value:,.2f}"


def told(name: str, text: str) -> None:
    """A line that may be long."""
    print(textwrap.fill(f"  {name:<14}{text}", 118, subsequent_indent=" " * 16, break_on_hyphens=False))


def print_report(case: Case, report: ValidationReport, seconds: float) -> None:
    """One page."""
    candles, best = report.candles, report.best
    print(f"\n{case.symbol} 1H BINANCE  {len(candles):,} bars, quantity {case.quantity:g}")
    print(f"  VERDICT       {report.verdict}")
    for reason in report.reasons:
        told("why", reason)
    for change in report.decision.would_change:
        told("would change", change)
    told(
        "in-sample",
        f"Sharpe {best.sharpe_ratio:.2f}, net {best.net_pnl:+,.0f}, {best.total_trades:,} trades, drawdown "
        f"{best.max_drawdown:.2f} %; luck line {report.luck_line:.2f} for {report.n_trials:,} trials",
    )
    print(f"\n  {'test':<32}{'found':>10}  {'passed':<8}{'decides':<9}threshold")
    for test in report.decision.tests:
        passed = {True: "yes", False: "no", None: "-"}[test.passed]
        print(
            f"  {test.name:<32}{shown(test.value, test.unit):>10}  {passed:<8}{'yes' if test.decides else '-':<9}"
            f"{test.threshold}"
        )
    if report.walked is not None:
        print_windows(report.walked)
    if report.permutation is not None:
        shuffles = report.permutation
        median = statistics.median(shuffles.nulls.tolist())
        told(
            "shuffled",
            f"real best {shuffles.real:.2f}, {shuffles.beaten} of {len(shuffles.nulls)} shuffled markets as good, "
            f"median {median:.2f}; {shuffles.planned} planned",
        )
    for scenario in report.scenarios:
        told("stress", f"{scenario.name:<22}{scenario.net_pnl:>+12,.0f}   {scenario.trades:,} trades")
    for jitter in report.jitters:
        told("jitter", f"+-{jitter.share:.0%}: {jitter.profitable:.0%} of {jitter.tried} profitable")
    for name, interval in report.intervals.items():
        told("interval", f"{name} {interval.low:.2f} to {interval.high:.2f}")
    for note in report.notes:
        told("note", note)
    steps = ", ".join(f"{name} {spent:.2f}" for name, spent in report.seconds.items())
    told("seconds", f"{seconds:.1f} in all: {steps}")


def print_windows(walked: WalkForwardResult) -> None:
    """The walk-forward by calendar year, and its scores."""
    years: dict[int, list[Any]] = {}
    for window in walked.windows:
        years.setdefault(window.window.oos_start.year, []).append(window)
    print(
        f"\n  {'year':<6}{'windows':>8}{'scored':>8}{'profit':>8}{'trades':>8}{'net':>12}{'IS Sharpe':>11}"
        f"{'OOS Sharpe':>12}"
    )
    for year, windows in years.items():
        outside = [window.out_of_sample for window in windows if window.out_of_sample is not None]
        inside = [window.in_sample for window in windows if window.in_sample is not None]
        print(
            f"  {year:<6}{len(windows):>8}{sum(window.scored for window in windows):>8}"
            f"{sum(result.net_pnl > 0.0 for result in outside):>8}{sum(result.total_trades for result in outside):>8}"
            f"{sum(result.net_pnl for result in outside):>+12,.0f}"
            f"{statistics.mean(result.sharpe_ratio for result in inside):>11.2f}"
            f"{statistics.mean(result.sharpe_ratio for result in outside):>12.2f}"
        )
    efficiency = "-" if walked.efficiency is None else f"{walked.efficiency:.2f}"
    low, high = walked.consistency_interval
    print()
    told(
        "walk-forward",
        f"{len(walked.windows)} windows, {len(walked.scored)} scored; consistency {walked.consistency_score:.0%} "
        f"({low:.0%} to {high:.0%}), stability {walked.stability_score:.2f}, efficiency {efficiency}, overfitting "
        f"indicator {walked.overfitting_indicator:.2f}, confidence {walked.confidence_score:.2f}",
    )


def main() -> int:
    """Judge both markets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(os.environ.get("BARWISE_SHARED", REPOSITORY.parent / "shared"))
    parser.add_argument(
        "--shared", type=Path, default=beside, help="folder that has data/market; by default %(default)s"
    )
    parser.add_argument("--profile", choices=[str(profile) for profile in OptimizationProfile], default="BALANCED")
    parser.add_argument("--workers", type=int, help="cores, by default all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    folder = options.shared / "data" / "market"
    missing = [case.file for case in CASES if not (folder / case.file).is_file()]
    if missing:
        print(f"not measured: {folder} has no {' and no '.join(missing)}; --shared names the folder.", file=sys.stderr)
        return 1
    reports = []
    for case in CASES:
        started = time.perf_counter()
        report = judged(case, folder, options.profile, options.workers)
        seconds = time.perf_counter() - started
        if options.json:
            reports.append(report.to_dict() | {"wall_seconds": seconds})
        else:
            print_report(case, report, seconds)
    if options.json:
        print(json.dumps(reports, indent=2, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
