"""What the dashboard answers for half a million bars: how long the server takes for each zoom, and how much it sends.

Run: python benchmarks/dashboard.py [--repeats N] [--json]

One backtest of 525,600 bars of one minute of the SYNTHETIC market SAMPLE, a year, is made in a folder of its own and
served by the dashboard's own application in this process, so that what is timed is the server's work and no network.
The first answer of each kind comes alone: it does the backtest again, reads the table of equity, or draws the levels of
trades that nobody has looked at. Then, at each width of the picture, spans are asked for that lie in different places,
as somebody does who moves along the chart, and the median of them is told.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from barwise.cli import main as command_line
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig

FIRST, DAYS, DAY_MS = 1_735_689_600_000, 365, 86_400_000  # 2025
# In days.
SPANS = {
    "year": 365.0,
    "half a year": 182.0,
    "quarter": 91.0,
    "month": 30.0,
    "week": 7.0,
    "two days": 2.0,
    "six hours": 0.25,
}
KINDS = ("candles", "overlays", "equity")
LIMIT_MS = 150.0


def made(home: Path) -> str:
    """The name of a backtest of a year of minutes."""
    words = ["backtest", "--timeframe", "1M", "--start", "2025-01-01", "--end", "2026-01-01", "--home", str(home)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if command_line([*words, "--json"]):
            sys.exit("the backtest failed")
    bars = json.loads(said.getvalue().splitlines()[-1])["bars"]
    [path] = (home / "data" / "results").glob("*.manifest.json")
    print(f"{bars:,} bars", file=sys.stderr)
    return path.name.removesuffix(".manifest.json")


def asked(client: FlaskClient, path: str) -> tuple[float, int]:
    """Milliseconds of one answer and its bytes."""
    began = time.perf_counter()
    answer = client.get(f"/api/v1{path}", base_url="http://127.0.0.1:8765")
    took = 1000.0 * (time.perf_counter() - began)
    if answer.status_code != 200:
        sys.exit(f"{path}: {answer.text}")
    return took, len(answer.data)


def spans(days: float, count: int) -> Iterator[tuple[int, int]]:
    """Spans of this length, from the first bar to the last, shifted a little each time."""
    length = round(days * DAY_MS)
    free = DAYS * DAY_MS - length
    for i in range(count):
        start = FIRST + free * i // max(count - 1, 1)
        yield start, start + length


def measured(client: FlaskClient, name: str, repeats: int) -> list[dict[str, Any]]:
    """Medians by kind of answer and width of the picture."""
    found: list[dict[str, Any]] = []
    first = {"list": "/runs", "run": f"/runs/{name}"}
    for answer, path in (first | {kind: f"/runs/{name}/{kind}" for kind in (*KINDS, "trades", "statistics")}).items():
        took, size = asked(client, path)
        found.append({"answer": answer, "span": "first of all", "ms": took, "bytes": size})
    for kind in KINDS:
        for span, days in SPANS.items():
            times, sizes = zip(
                *(asked(client, f"/runs/{name}/{kind}?start={a}&end={b}") for a, b in spans(days, repeats)), strict=True
            )
            row = {"answer": kind, "span": span, "ms": statistics.median(times), "worst_ms": max(times)}
            found.append(row | {"bytes": statistics.median(sizes)})
    return found


def print_table(found: list[dict[str, Any]]) -> None:
    """A row for each kind and width."""
    print("| answer | span | median | slowest | size |\n| --- | --- | ---: | ---: | ---: |")
    for row in found:
        worst = f"{row['worst_ms']:.1f} ms" if "worst_ms" in row else ""
        size = f"{row['bytes'] / 1000:,.0f} kB"
        print(f"| {row['answer']} | {row['span']} | {row['ms']:.1f} ms | {worst} | {size} |")
    zooms = [row["ms"] for row in found if "worst_ms" in row]
    print(f"\nslowest median of a zoom {max(zooms):.1f} ms, {LIMIT_MS:.0f} ms are allowed")


def main() -> None:
    """Make the run, ask for it, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="spans of each width, by default %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        name = made(home)
        app = create_app(DashboardConfig(home))
        found = measured(app.test_client(), name, options.repeats)
        app.extensions["barwise"].close()
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_table(found)


if __name__ == "__main__":
    main()
