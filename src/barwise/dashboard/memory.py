"""What was worked out is kept for a while, and worked out once, however many ask for it at the same time.

A page asks for candles, trades and curves of one backtest in the same moment, and each of them needs all of it. The
first who comes does the work and the others wait for it. A value is as old as the files that it was made from: its
stamp is theirs, and where that has changed it is made anew.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# (ns of the last change, bytes) per file; None for one that is not there.
Stamp = tuple[tuple[int, int] | None, ...]


class _Kept(NamedTuple, Generic[T]):
    stamp: Stamp
    value: "Future[T]"


class Memory(Generic[T]):
    """The values that were used last; threads may share it.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, stamp: Stamp, make: Callable[[], T]) -> T:
        """The value of this name and stamp.

        Args:
            key: Its name.
            stamp: Of the files that it is made from.
            make: Makes it; called by one thread, while the others that want the same wait. What it raises they all get,
                and nothing is kept.
        """
        with self._lock:
            kept = self._kept.get(key)
            to_be_made = kept is None or kept.stamp != stamp
            if kept is None or to_be_made:
                kept = self._kept[key] = _Kept(stamp, Future())
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if to_be_made:
            try:
                kept.value.set_result(make())
            except BaseException as error:
                with self._lock:
                    if self._kept.get(key) is kept:
                        del self._kept[key]
                kept.value.set_exception(error)
                raise
        return kept.value.result()


def stamp_of(*paths: Path) -> Stamp:
    """When these files were changed last, and how large they are."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
