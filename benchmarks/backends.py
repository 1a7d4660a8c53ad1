"""What a backend costs before any work is done: start, sharing, and the way of one task and of one batch.

Run: python benchmarks/backends.py

Absolute times belong to the machine that printed them. What to read is the ratio to your own task: a backend is worth
it where a task takes much longer than its way there and back.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import time
from typing import Any

import numpy as np

from barwise.backends import BACKENDS, open_backend, usable_cores

SHARED_MB = 50
TASKS = 1_000
ROUNDS = 5
# Rows in a batch, as a sweep hands them out: parameters there, summaries back.
BATCH_ROWS = 8_192
COLUMNS = 10


def nothing(_shared: Any, task: int) -> int:
    """The smallest task."""
    return task


def batch(_shared: Any, task: Any) -> Any:
    """A batch of rows there, and as much back."""
    return task * 2.0


def read(shared: Any, task: int) -> float:
    """Touch one number of the shared array."""
    return float(shared[task])


def cost(name: str, workers: int) -> dict[str, Any]:
    """The costs of one backend, in seconds and milliseconds."""
    started = time.perf_counter()
    with open_backend(name, workers) as backend:
        empty = backend.share(None)
        list(backend.map(nothing, empty, range(workers)))
        start_s = time.perf_counter() - started

        def per_task_ms(function: Any, tasks: Any) -> float:
            found = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                for _answer in backend.map(function, empty, tasks):
                    pass
                found.append((time.perf_counter() - began) / len(tasks) * 1e3)
            return statistics.median(found)

        task_ms = per_task_ms(nothing, range(TASKS))
        batch_ms = per_task_ms(batch, [np.full((BATCH_ROWS, COLUMNS), float(number)) for number in range(20)])
        value = np.zeros(SHARED_MB * 1_000_000 // 8)
        began = time.perf_counter()
        shared = backend.share(value)
        share_ms = (time.perf_counter() - began) * 1e3
        began = time.perf_counter()
        list(backend.map(read, shared, range(workers)))
        first_use_ms = (time.perf_counter() - began) * 1e3
        ending = time.perf_counter()
    return {
        "backend": name,
        "workers": workers,
        "start_s": start_s,
        "task_ms": task_ms,
        "batch_ms": batch_ms,
        f"share_{SHARED_MB}_mb_ms": share_ms,
        "first_use_ms": first_use_ms,
        "close_s": time.perf_counter() - ending,
    }


def main() -> None:
    """Measure every backend that is installed and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--workers", type=int, help="workers of each backend; all cores by default")
    options = parser.parse_args()
    names = [name for name in BACKENDS if name != "ray" or importlib.util.find_spec("ray") is not None]
    found = [cost(name, options.workers or usable_cores()) for name in names]
    if options.json:
        machine = {"python": platform.python_version(), "cores": usable_cores()}
        print(json.dumps({"machine": machine, "batch_rows": BATCH_ROWS, "backends": found}, indent=2))
        return
    print("   ".join(f"{name:>14}" for name in found[0]))
    for row in found:
        print("   ".join(f"{value:>14,.3f}" if isinstance(value, float) else f"{value:>14}" for value in row.values()))


if __name__ == "__main__":
    main()
