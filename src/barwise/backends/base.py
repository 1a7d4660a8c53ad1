"""What every backend is, so that nothing above it needs to know where its work is done.

A backend applies one function to many tasks beside one large value that all of them read. The answers come in the
order of the tasks, whoever finishes first, so that a result can never depend on the number or the kind of workers.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from barwise.errors import BacktestError, ConfigError

T = TypeVar("T")
Task = TypeVar("Task")
R = TypeVar("R")
Entry = TypeVar("Entry")

# Tasks handed out per worker: one at work, the others there when it is done. More would only cost memory.
LOOK_AHEAD = 4
# A task whose worker died is run again this many times.
RETRIES = 3


@dataclass(frozen=True, eq=False)
class Shared(Generic[T]):
    """The handle of a value that a backend has shipped to its workers; it is given to `map` in place of the value.

    Attributes:
        owner: The backend that made it, the only one that can use it.
        content: Where the value lies; of interest to its backend alone.
    """

    owner: Any
    content: Any


class Backend(Protocol):
    """Workers that apply a function to tasks.

    Attributes:
        name: "threads", "processes" or "ray".
        workers: How many tasks run at the same time.
    """

    name: str
    workers: int

    def share(self, value: T) -> Shared[T]:
        """Ship a large value once per node; it is freed with its handle, or when the backend is closed.

        The function must not change the value: other tasks read it too.

        Raises:
            ConfigError: The value cannot be pickled, or the backend is closed.
            BacktestError: There is no room for it.
        """

    def map(self, function: Callable[[T, Task], R], shared: Shared[T], tasks: Iterable[Task]) -> Iterator[R]:
        """function(value, task) of every task, in the order of the tasks, each as soon as it is the next.

        Tasks are drawn as they are needed, a few per worker ahead. What the function raises comes out unchanged at the
        place of its task, and nothing after it. Leaving the iterator early gives up what has not begun; Ray
        finishes what it was handed.

        Args:
            function: Deterministic; for processes and Ray at the top level of a module.
            shared: What `share` of this backend has returned.
            tasks: Small values; any number of them.

        Raises:
            ConfigError: The function, a task or an answer cannot be pickled or be found by a worker, the handle belongs
                to another backend, or the backend is closed.
            BacktestError: A task's worker died four times, or the backend was closed meanwhile.
        """

    def close(self) -> None:
        """Stop the workers, give up pending work and free what was shared; again is harmless."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Crew(Generic[Entry]):
    """What the backends have in common; Entry is how one of them keeps a task that it has handed out."""

    name: str

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, give up pending work and free what was shared; again is harmless."""
        if not self._closed:
            self._closed = True
            self._stop()

    def _stop(self) -> None:
        raise NotImplementedError

    def _require_open(self) -> None:
        if self._closed:
            raise ConfigError(
                f"the {self.name} backend is closed.", hint="open another one, and work inside its `with`."
            )

    def _content(self, shared: Any) -> Any:
        """What lies behind a handle of this backend.

        Raises:
            ConfigError: It is no handle, or one of another backend, or the backend is closed.
        """
        self._require_open()
        if not isinstance(shared, Shared) or shared.owner is not self:
            raise ConfigError(
                f"map needs a handle of this {self.name} backend; got {type(shared).__name__}.",
                hint="call share(value) of the same backend first.",
            )
        return shared.content

    def _stopped(self) -> BacktestError:
        return BacktestError(f"the {self.name} backend was closed before its work was done.")

    def _in_order(
        self,
        tasks: Iterable[Any],
        submit: Callable[[Any], Entry],
        done: Callable[[Entry], bool],
        answer: Callable[[deque[Entry]], Any],
        give_up: Callable[[deque[Entry]], None],
    ) -> Iterator[Any]:
        """The loop of every map.

        Args:
            tasks: What to hand out.
            submit: Hands a task to the workers.
            done: Whether an entry's answer is there.
            answer: Waits for the first of the entries; it may hand out lost ones again.
            give_up: Told about the entries that nobody waits for any more, at the end too, where there are none.
        """
        pending: deque[Entry] = deque()
        room = LOOK_AHEAD * self.workers
        try:
            for task in tasks:
                if self._closed:
                    raise self._stopped()
                pending.append(submit(task))
                while pending and (len(pending) >= room or done(pending[0])):
                    found = answer(pending)
                    pending.popleft()
                    yield found
            while pending:
                found = answer(pending)
                pending.popleft()
                yield found
        except KeyboardInterrupt:
            # Whoever has forgotten the `with` must not be left with workers that go on in the dark.
            self.close()
            raise
        finally:
            give_up(pending)


def usable_cores() -> int:
    """How many cores this process may use: fewer than the machine has where it was told so."""
    may_use = getattr(os, "sched_getaffinity", None)  # Linux alone can say
    return len(may_use(0)) if may_use is not None else os.cpu_count() or 1


def checked_workers(workers: Any) -> int:
    """The given number of workers, or for None one per core this process may use.

    Raises:
        ConfigError: It is not a whole number from 1.
    """
    if workers is None:
        return usable_cores()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ConfigError(f"workers must be a whole number, 1 or more; got {workers!r}.")
    return workers
