"""Ray: the backend for more than one computer.

Ray keeps a shared value in the object store of each node that needs it and runs a task again whose worker or node is
lost; the rest is as with processes. Alone on one computer it does nothing that processes do not, and starts slower.
"""

import itertools
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from barwise.backends.base import RETRIES, Crew, R, Shared, T, Task, checked_workers
from barwise.backends.packing import answered, opened, packed, packed_function, packed_value, unpacked_value
from barwise.errors import BacktestError, ConfigError

_LOOPBACK = "127.0.0.1"


class Cluster(Crew[Any]):
    """A Ray on this computer, or the one of an address.

    Args:
        workers: CPUs of a Ray that is started here, 1 or more; of a cluster how many of its CPUs to keep busy. None:
            one per core this process may use, or all CPUs of the cluster.
        address: Of the head node, "host:port"; None uses the Ray that this program has started itself, if any, and
            starts one on this computer otherwise.

    Raises:
        ConfigError: Ray is not installed, does not start, or does not answer at the address.
    """

    name = "ray"

    def __init__(self, workers: int | None, address: str | None) -> None:
        local = checked_workers(workers)
        self._ray = _ray()
        self._ours = not self._ray.is_initialized()
        if not self._ours and address is not None:
            raise ConfigError(
                f"this program is connected to a Ray already, so that {address} cannot be used.",
                hint="leave the address out to use that Ray, or call ray.shutdown() first.",
            )
        if self._ours:
            _start(self._ray, local, address)
        if workers is None and not (self._ours and address is None):
            local = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        super().__init__(local)
        self._keys = itertools.count()
        self._remote = self._ray.remote(max_retries=RETRIES, retry_exceptions=False)(_work)

    def share(self, value: T) -> Shared[T]:
        """Put the value into the object store once; nodes copy it when they first need it."""
        import numpy as np

        self._require_open()
        stream, buffers = packed_value(value, self._ray.cloudpickle.dumps)
        # As arrays of bytes, Ray maps them into its workers. It maps everything read-only, and code that was compiled
        # for arrays that can be written would be compiled again: such arrays are copied by the worker, once.
        arrays = [(np.frombuffer(buffer, np.uint8), buffer.readonly) for buffer in buffers]
        try:
            reference = self._ray.put((stream, arrays))
        except self._ray.exceptions.RayError as error:
            raise self._failed("could not take the shared value", error) from error
        return Shared(self, (reference, f"{reference.hex()}-{next(self._keys)}"))

    def map(self, function: Callable[[T, Task], R], shared: Shared[T], tasks: Iterable[Task]) -> Iterator[R]:
        """As `Backend.map`; barwise and the function's module must be installed on every node."""
        reference, key = self._content(shared)
        pickled = self._ray.cloudpickle.dumps  # what a script defines itself travels with it
        called = packed_function(function, pickled)
        numbers = itertools.count()

        def submit(task: Task) -> Any:
            content = packed(task, f"task {next(numbers)}", pickled)
            # In a list Ray hands over the reference instead of the value, which then is unpacked once per worker.
            return self._remote.remote(called, [reference], key, content)

        def done(entry: Any) -> bool:
            return bool(self._ray.wait([entry], timeout=0)[0])

        return self._in_order(tasks, submit, done, self._answer, self._give_up)

    def _answer(self, pending: deque[Any]) -> Any:
        if self._closed:
            raise self._stopped()
        try:
            answer = self._ray.get(pending[0])
        except self._ray.exceptions.WorkerCrashedError as error:
            raise BacktestError(
                f"a Ray worker died {RETRIES + 1} times while it ran a task.",
                hint="was it killed for memory? Fewer workers need less.",
            ) from error
        except self._ray.exceptions.RayTaskError as error:
            # What the function raises is packed in the answer; this comes from before it was called.
            raise self._failed("could not run a task", error) from error
        except self._ray.exceptions.RayError as error:
            if self._closed:
                raise self._stopped() from None
            raise self._failed("lost a task", error) from error
        return opened(answer)

    def _give_up(self, pending: deque[Any]) -> None:
        """Let what was handed out be done: ray.cancel of a task that is just ending aborts the process (Ray 2.60)."""
        pending.clear()

    def _failed(self, what: str, error: Exception) -> BacktestError:
        said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        return BacktestError(
            f"Ray {what}: {said.strip()}.",
            hint="install the same barwise on every node of the cluster, and look at the logs of Ray.",
        )

    def _stop(self) -> None:
        if self._ours:
            self._ray.shutdown()


def _ray() -> Any:
    try:
        with _environment({"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}):
            import ray
            import ray.cloudpickle
            import ray.exceptions
    except ImportError as error:
        raise ConfigError("the ray backend needs Ray, which is not installed.", hint="pip install barwise[ray]") from (
            error
        )
    return ray


def _start(ray: Any, workers: int, address: str | None) -> None:
    """Connect to a cluster, or start a Ray that talks to nobody but itself."""
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        settings |= {
            "address": "local",
            "num_cpus": workers,
            "include_dashboard": False,
            "_node_ip_address": _LOOPBACK,
        }
    else:
        settings["address"] = address
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray does in its next version, instead of a warning
        # A Ray on this computer finds modules where this program does.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
    }
    if address is not None:
        variables["RAY_gcs_server_port_wait_time_s"] = "1"  # one attempt of about 40 s, and not twenty
    in_main = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        with _environment(variables):
            ray.init(**settings)
    except Exception as error:  # many kinds, of Ray and of its transport
        where = "on this computer" if address is None else f"at {address}"
        raise ConfigError(
            f"there is no Ray {where}: {error}.",
            hint="`ray status` on the head node shows the address of a cluster.",
        ) from error
    if in_main:
        signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own in the place of the program's


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for what is started inside; the user's own values stay."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if name == "PYTHONPATH" or not before[name]})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(function: bytes, references: list[Any], key: str, task: bytes) -> bytes:
    """The packed answer to a task, in a worker of Ray."""
    import ray.cloudpickle

    def load() -> tuple[bytes, list[Any]]:
        stream, arrays = ray.get(references[0])
        return stream, [memoryview(array) if read_only else bytearray(array) for array, read_only in arrays]

    return answered(function, lambda: unpacked_value(key, load), task, ray.cloudpickle.dumps)
