"""Memory of computed indicators: the same function of the same unchanging columns is computed once.

A sweep asks for the same few averages thousands of times, and a strategy should not have to know. What makes it safe
is what is remembered: only results of columns that nobody can write to, found by the identity of the array objects.
The memory holds its inputs weakly. A column that has died takes its results with it, and a new array that happens to
get the same address is told apart, because the weak reference must lead to the very object that is asked about.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from threading import Lock
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

Key = tuple[Hashable, ...]


class _Entry(NamedTuple):
    columns: tuple[ReferenceType[NDArray[Any]], ...]
    result: Any
    size: int  # bytes


class Memo:
    """Results by (function, arguments, identity of the columns), the least recently used dropped first; thread-safe.

    Args:
        limit_bytes: Most bytes of results that are held.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size = 0
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._orphaned: deque[Key] = deque()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, key: Key, columns: tuple[Any, ...]) -> Any:
        """The result remembered under that key for exactly these column objects, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        for reference, column in zip(entry.columns, columns, strict=True):
            array = reference()
            if array is None or array is not column or array.flags.writeable:  # made writable since: may have changed
                return None
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
        return entry.result

    def remember(self, key: Key, columns: tuple[Any, ...], result: Any, size: int) -> Any:
        """Keep a result where its columns cannot change; returns the object that later calls will get.

        Args:
            size: Bytes of the result; one larger than the limit is not kept.
        """
        if size > self.limit_bytes or not all(map(_cannot_change, columns)):
            return result

        def forget(_: object) -> None:
            self._orphaned.append(key)
            # Runs wherever an array dies, in the middle of the lines below too: never wait for the lock here.
            if self._lock.acquire(blocking=False):
                try:
                    self._drop_orphans()
                finally:
                    self._lock.release()

        with self._lock:
            self._drop_orphans()
            known = self._entries.pop(key, None)
            if known is not None:
                self.size -= known.size
                if all(reference() is column for reference, column in zip(known.columns, columns, strict=True)):
                    result, size = known.result, known.size  # another thread was first
            self._entries[key] = _Entry(tuple(ref(column, forget) for column in columns), result, size)
            self.size += size
            while self.size > self.limit_bytes:
                self.size -= self._entries.popitem(last=False)[1].size
            self._drop_orphans()
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._orphaned.clear()
            self.size = 0

    def _drop_orphans(self) -> None:
        """Drop what belonged to columns that have died."""
        while self._orphaned:
            key = self._orphaned.popleft()
            entry = self._entries.get(key)
            if entry is not None and any(reference() is None for reference in entry.columns):
                self.size -= entry.size
                del self._entries[key], entry  # the result dies here, and orphans what was computed from it


def _cannot_change(column: object) -> bool:
    """True for an array that is read-only down to the array that owns the memory."""
    if not isinstance(column, np.ndarray):
        return False
    owner: object = column
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return True
