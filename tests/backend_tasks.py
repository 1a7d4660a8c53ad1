"""What the tests of the backends let workers do; the workers import it, so that it needs no test library."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from barwise.backends import open_backend
from barwise.data.candles import Candles
from barwise.errors import BarwiseError, ConfigError, RateLimitError
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import sweep

unpickled: list[int] = []


class Counted:
    """Knows how often this process has unpickled one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        unpickled.append(self.number)


class LostError(Exception):
    """An exception that can be pickled and not unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not this one")


def tell(shared: Counted, task: int) -> tuple[int, int, int]:
    time.sleep(0.002)
    return task, os.getpid(), unpickled.count(shared.number)


def uneven(shared: int, task: int) -> int:
    """The first tasks take longest, so that later ones are done before them."""
    time.sleep(max(0.0, 0.05 - 0.01 * task))
    return shared * task


def nothing(shared: Any, task: Any) -> Any:
    return task


def raising(shared: Any, task: int) -> int:
    """What each kind of error looks like from outside."""
    if task == 3:
        raise ConfigError("three came; others are allowed.", hint="give another.")
    if task == 4:
        raise RateLimitError("too often.", hint="wait.", status=429, code="X1", retry_after=2.5)
    if task == 5:
        raise ZeroDivisionError("by the function itself")
    if task == 6:
        raise SystemExit(7)
    if task == 7:
        raise LostError(1, 2)
    if task == 8:
        raise BarwiseError("a lock cannot travel.", hint=threading.Lock())  # type: ignore[arg-type]
    return task


def both(shared: Any, task: Any) -> tuple[Any, Any]:
    return shared, task


def unpicklable_answer(shared: Any, task: Any) -> Any:
    return Unpicklable()


def dies_once(folder: str, task: int) -> tuple[int, bool]:
    marker = Path(folder) / str(task)
    first = not marker.exists()
    marker.touch()
    if task == 5 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    return task, first


def always_dies(folder: str, task: int) -> None:
    with (Path(folder) / "deaths").open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def marks(folder: str, task: int) -> int:
    (Path(folder) / str(task)).touch()
    time.sleep(0.05)
    return task


def sleeps(folder: str, task: int) -> None:
    (Path(folder) / f"worker-{os.getpid()}").touch()
    time.sleep(600)


def nested(shared: int, task: int) -> list[int]:
    with open_backend("threads", 1) as inner:
        return list(inner.map(uneven, inner.share(shared), range(task)))


def flags(shared: dict[str, Any], task: str) -> tuple[bool, bool, bool, str, float]:
    array = shared[task]
    layout = array.flags
    return layout.writeable, layout.aligned, layout.f_contiguous, str(array.dtype), float(np.sum(array))


def overwrite(shared: Any, task: int) -> float:
    before = float(shared[0])
    shared[0] = task
    return before


def fingerprint(shared: Candles, task: int) -> str:
    return shared[task:].fingerprint


def swept(shared: Candles, task: range) -> bytes:
    """The summaries of some rows, to the bit."""
    found = sweep(shared, EmaRsiAtr(), grid={"ema_fast": task, "atr_sl_multiplier": [1.0, 1.5]}, workers=1)
    return bytes(found.summaries.tobytes())


def main() -> None:
    """A program that works until it is stopped: `python -m tests.backend_tasks <backend> <folder>`."""
    with open_backend(sys.argv[1], 2) as backend:
        for _ in backend.map(sleeps, backend.share(sys.argv[2]), range(100)):
            raise AssertionError("nothing ever ends")


if __name__ == "__main__":
    main()
