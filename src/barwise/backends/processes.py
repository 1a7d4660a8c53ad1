"""Processes: the backend for work that is mostly Python, one interpreter per worker.

A shared value is one file of this computer's temporary folder, mapped into the memory of every worker: the candles of
a large study are in memory once, whatever the number of workers. Files and not `multiprocessing.shared_memory`, because
containers often give /dev/shm no more than 64 MB, and because a map may outlive its file where a segment may not.

Workers are spawned, never forked: a fork copies the locks of Numba's and our own threads in whatever state they are.
The "forkserver" would be a little faster to start but is one more process that can be lost, and a worker started by
it inherits whatever that server has imported.
"""

import itertools
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from barwise.backends.base import RETRIES, Crew, R, Shared, T, Task
from barwise.backends.packing import answered, dumps, opened, packed, packed_function, packed_value, unpacked_value
from barwise.errors import BacktestError

# What an array in a file must be aligned to: compiled code would be another for an array that is not.
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Stored:
    """A value in a file: its arrays, and from byte `head` the pickle that binds them."""

    path: str
    head: int


@dataclass
class _Attempt:
    """A task that was handed out: what to call it with, and the last run of it."""

    number: int
    call: tuple[bytes, _Stored, str, bytes]
    runs: int
    pool: ProcessPoolExecutor
    future: "Future[bytes]"


class Processes(Crew[_Attempt]):
    """Processes of this computer.

    The workers hold one end of a pipe and this process the other. When it closes, by `close` or because this process
    was killed, they end at once and remove the shared files, so that neither processes nor files stay behind.

    Args:
        workers: Processes, 1 or more.
    """

    name = "processes"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._context = multiprocessing.get_context("spawn")
        self._watched, self._held = self._context.Pipe(duplex=False)
        self._folder = Path(tempfile.mkdtemp(prefix="barwise-shared-"))
        self._removal = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._lock = threading.Lock()
        self._count = 0
        self._futures: weakref.WeakSet[Future[bytes]] = weakref.WeakSet()
        self._pool = self._new_pool()

    def share(self, value: T) -> Shared[T]:
        """Write the value to a file that every worker maps; arrays that were writable are private copies there."""
        self._require_open()
        stream, buffers = packed_value(value, pickle.dumps)
        path = self._folder / self._next_name("value")
        places: list[tuple[int, int, bool]] = []
        try:
            with path.open("wb") as file:
                for buffer in buffers:
                    file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
                    places.append((file.tell(), buffer.nbytes, buffer.readonly))
                    file.write(buffer)
                head = file.tell()
                file.write(dumps((stream, places)))
        except OSError as error:
            path.unlink(missing_ok=True)
            size = sum(buffer.nbytes for buffer in buffers)
            raise BacktestError(
                f"{size:,} bytes to share could not be written to {path.parent}: {error.strerror}.",
                hint="name a folder with room in TMPDIR.",
            ) from error
        shared: Shared[T] = Shared(self, _Stored(str(path), head))
        weakref.finalize(shared, path.unlink, missing_ok=True)
        return shared

    def map(self, function: Callable[[T, Task], R], shared: Shared[T], tasks: Iterable[Task]) -> Iterator[R]:
        """As `Backend.map`; a script that calls it needs `if __name__ == "__main__":`, as with every such pool."""
        stored: _Stored = self._content(shared)
        call = packed_function(function)
        # A task that has not begun is given up by removing this file, and not by Future.cancel: a pool that breaks
        # with a cancelled task in it loses its own thread (CPython, concurrent.futures.process.terminate_broken).
        wanted = self._folder / self._next_name("wanted")
        wanted.touch()
        return self._mapped(call, shared, stored, wanted, tasks)

    def _mapped(
        self, function: bytes, shared: Shared[T], stored: _Stored, wanted: Path, tasks: Iterable[Task]
    ) -> Iterator[Any]:
        numbers = itertools.count()

        def submit(task: Task) -> _Attempt:
            number = next(numbers)
            return self._submitted(number, (function, stored, str(wanted), packed(task, f"task {number}")), 0)

        def give_up(_pending: "deque[_Attempt]") -> None:
            wanted.unlink(missing_ok=True)

        try:
            yield from self._in_order(tasks, submit, lambda attempt: attempt.future.done(), self._answer, give_up)
        finally:
            del shared  # its file must live as long as the map

    def _submitted(self, number: int, call: Any, runs: int) -> _Attempt:
        """A task handed out once more, to a new pool where the last one broke."""
        while runs <= RETRIES:
            runs += 1
            with self._lock:
                if self._closed:
                    raise self._stopped()
                pool = self._pool
                try:
                    future = pool.submit(_work, *call)
                except BrokenProcessPool:
                    self._pool = self._new_pool()
                    continue
                self._futures.add(future)
            return _Attempt(number, call, runs, pool, future)
        raise BacktestError(
            f"a worker process died {runs} times while task {number} or one beside it ran.",
            hint="was it killed for memory? Fewer workers need less. A script that starts processes needs "
            'if __name__ == "__main__": around its work.',
        )

    def _answer(self, pending: "deque[_Attempt]") -> Any:
        while True:
            first = pending[0]
            try:
                found = first.future.result()
            except BrokenProcessPool:
                if self._closed:
                    raise self._stopped() from None
                with self._lock:
                    if self._pool is first.pool:
                        self._pool = self._new_pool()
                # Nothing that the broken pool had is coming any more, so that all of it goes out again at once.
                for at, attempt in enumerate(pending):
                    if attempt.pool is first.pool and not _has_answer(attempt.future):
                        pending[at] = self._submitted(attempt.number, attempt.call, attempt.runs)
            else:
                if not found:
                    raise self._stopped()
                return opened(found)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.workers, self._context, initializer=_prepare_worker, initargs=(self._watched, str(self._folder))
        )

    def _next_name(self, kind: str) -> str:
        with self._lock:
            self._count += 1
            return f"{kind}-{self._count}"

    def _stop(self) -> None:
        with self._lock:
            busy = any(not future.done() for future in self._futures)
            if busy:
                self._held.close()
            self._pool.shutdown(wait=True)
            self._held.close()
            self._watched.close()
        self._removal()


def _has_answer(future: "Future[bytes]") -> bool:
    return future.done() and future.exception() is None


def _prepare_worker(watched: Connection, folder: str) -> None:
    """Ctrl-C is the main process's to handle, and its end is everybody's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        watched.poll(None)  # nothing is ever sent: this returns when the other end closes
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, name="barwise-watch", daemon=True).start()


def _work(function: bytes, stored: _Stored, wanted: str, task: bytes) -> bytes:
    """The packed answer to a task, or nothing where nobody wants it any more."""
    if not Path(wanted).exists():
        return b""
    return answered(function, lambda: unpacked_value(stored.path, lambda: _mapped_file(stored)), task)


def _mapped_file(stored: _Stored) -> tuple[bytes, list[memoryview]]:
    """The pickle and the arrays of a stored value, in memory that all workers have in common until they write to it."""
    with Path(stored.path).open("rb") as file:
        memory = memoryview(mmap(file.fileno(), 0, access=ACCESS_COPY))
    stream, places = pickle.loads(memory[stored.head :])  # noqa: S301 - pickled by ourselves
    arrays = [memory[first : first + size] for first, size, _ in places]
    return stream, [
        array.toreadonly() if read_only else array for array, (_, _, read_only) in zip(arrays, places, strict=True)
    ]
