"""Threads: the backend for compiled work, which holds no lock, so that nothing needs to be copied or started."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from barwise.backends.base import Crew, R, Shared, T, Task


class Threads(Crew["Future[Any]"]):
    """Threads of this process; one worker is the caller itself.

    Args:
        workers: Threads, 1 or more.
    """

    name = "threads"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._pool = ThreadPoolExecutor(workers, "barwise") if workers > 1 else None

    def share(self, value: T) -> Shared[T]:
        """The value itself, behind a handle."""
        self._require_open()
        return Shared(self, value)

    def map(self, function: Callable[[T, Task], R], shared: Shared[T], tasks: Iterable[Task]) -> Iterator[R]:
        """As `Backend.map`; a function that runs already cannot be stopped, `close` waits for it."""
        value, pool = self._content(shared), self._pool
        if pool is None:
            return self._inline(function, value, tasks)

        def submit(task: Task) -> "Future[Any]":
            return pool.submit(function, value, task)

        return self._in_order(tasks, submit, Future.done, self._answer, _cancel)

    def _inline(self, function: Callable[[T, Task], R], value: T, tasks: Iterable[Task]) -> Iterator[R]:
        for task in tasks:
            if self._closed:
                raise self._stopped()
            yield function(value, task)

    def _answer(self, pending: "deque[Future[Any]]") -> Any:
        try:
            return pending[0].result()
        except CancelledError:
            if self._closed and pending[0].cancelled():
                raise self._stopped() from None
            raise  # the function's own

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _cancel(pending: "deque[Future[Any]]") -> None:
    for future in pending:
        future.cancel()
