"""The main job as a user meets it: how long each stage takes, from cold caches and from warm ones.

Run: python benchmarks/main_job.py [--shared FOLDER] [--repeats N] [--json]

Two jobs. SAMPLE: one year of hourly bars, profile BALANCED, 15 walk-forward windows that are each searched anew, at
most 99 shuffled markets, verdict and report; once with no compiled code on disk, then warm. QUARTER: three months of
hourly BTCUSDT of Binance's spot market with 7 windows, the job whose usual times stand beside it. Every repeat has a
home folder of its own, so nothing is answered from a checkpoint or a ledger; times are wall times of the whole command,
the start of Python and the imports with it, and the median of the repeats is told.

The candles of QUARTER lie in ../shared, or where --shared or BARWISE_SHARED says; without them it is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
SAMPLE = ["--exchange", "SAMPLE", "--symbol", "SAMPLE-BTC"]
# Windows of 30 and 8 days are 7 in 89 days.
QUARTER = [
    "--exchange", "BINANCE", "--symbol", "BTCUSDT", "--timeframe", "1H", "--start", "2025-01-01", "--end", "2025-03-31",
    "--set", "walk_forward.is_length_days=30", "--set", "walk_forward.oos_length_days=8",
]  # fmt: skip
# What the same stages usually take with a tool that calls Python for every bar: about half an hour in all.
USUAL = {"5": 30.0, "7.1": 480.0, "7.2": 900.0, "7.3": 240.0, "8": 120.0}
SHOWN = ("5", "6", "7.1", "7.2", "7.3", "7", "8", "9")


def run(arguments: list[str], compiled: Path) -> tuple[float, dict[str, Any]]:
    """Wall seconds of one command in a home folder of its own, and its result line."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "BARWISE_HOME": home,
            "NUMBA_CACHE_DIR": str(compiled),
            "PYTHONPATH": str(REPOSITORY / "src"),
        }
        command = [sys.executable, "-m", "barwise", "run", "--yes", "--json", *arguments]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seconds, result


def stages_of(result: dict[str, Any]) -> dict[str, float]:
    """Seconds by stage; several parts of one stage together."""
    found: dict[str, float] = {}
    for stage in result["stages"]:
        found[stage["number"]] = found.get(stage["number"], 0.0) + stage["seconds"]
    return found


def told(name: str, runs: list[tuple[float, dict[str, Any]]], usual: dict[str, float]) -> dict[str, Any]:
    """The medians of some runs of one job."""
    by_stage = [stages_of(result) for _, result in runs]
    [document] = runs[-1][1]["runs"]
    return {
        "job": name,
        "runs": len(runs),
        "bars": document["market"]["bars"],
        "verdict": document["verdict"]["word"],
        "seconds": statistics.median(seconds for seconds, _ in runs),
        "stages": {
            stage: statistics.median(found.get(stage, 0.0) for found in by_stage)
            for stage in SHOWN
            if any(stage in found for found in by_stage)
        },
        "usual": usual,
    }


def print_table(found: list[dict[str, Any]]) -> None:
    """A column for each job."""
    print("| stage | " + " | ".join(job["job"] for job in found) + " | usual, three months |")
    print("| --- | " + " | ".join("---" for _ in found) + " | --- |")
    for stage in SHOWN:
        cells = [f"{job['stages'][stage]:.2f} s" if stage in job["stages"] else "-" for job in found]
        usual = f"{USUAL[stage]:,.0f} s" if stage in USUAL else ""
        print(f"| {stage} | " + " | ".join(cells) + f" | {usual} |")
    whole = " | ".join(f"{job['seconds']:.1f} s" for job in found)
    print(f"| whole command | {whole} | {sum(USUAL.values()):,.0f} s |")
    for job in found:
        print(f"\n{job['job']}: {job['bars']:,} bars, {job['runs']} runs, {job['verdict']}")


def main() -> None:
    """Run both jobs and print what they took."""
    shared = Path(os.environ.get("BARWISE_SHARED", REPOSITORY.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=shared, help="the folder with data/")
    parser.add_argument("--repeats", type=int, default=3, help="warm runs of each job, by default %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as compiled:
        found.append(told("SAMPLE, cold", [run(SAMPLE, Path(compiled))], {}))
        found.append(told("SAMPLE, warm", [run(SAMPLE, Path(compiled)) for _ in range(options.repeats)], {}))
        file = options.shared / "data" / "market" / FILE
        if file.exists():
            job = [*QUARTER, "--file", str(file)]
            found.append(told("QUARTER, warm", [run(job, Path(compiled)) for _ in range(options.repeats)], USUAL))
        else:
            print(f"{file} is not there: QUARTER is left out", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_table(found)


if __name__ == "__main__":
    main()
