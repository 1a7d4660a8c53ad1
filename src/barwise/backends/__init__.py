"""Where work is done: on threads, on processes, or on a Ray cluster, with identical results.

Whoever has many rows, runs or permutations to compute asks for a backend by name and maps a function over tasks; the
rest of the package does not know which one it is.
"""

from barwise.backends.base import Backend, Shared, checked_workers, usable_cores
from barwise.errors import ConfigError, did_you_mean

__all__ = ["BACKENDS", "Backend", "Shared", "checked_workers", "open_backend", "usable_cores"]

BACKENDS = ("threads", "processes", "ray")


def open_backend(name: str = "threads", workers: int | None = None, address: str | None = None) -> Backend:
    """Start workers; use it in a `with`, which stops them.

    Args:
        name: "threads" for compiled work, "processes" for Python's own, "ray" for a cluster.
        workers: How many; None is one per core this process may use, with an address one per CPU of the cluster.
        address: Of a Ray cluster, "host:port" of its head node.

    Raises:
        ConfigError: An unknown name, a wrong number of workers, an address without Ray, or Ray does not start.
    """
    if name not in BACKENDS:
        raise ConfigError(
            f"{name} is not a backend.{did_you_mean(str(name), BACKENDS)}",
            hint=f"the backends are {', '.join(BACKENDS)}.",
        )
    if name == "ray":
        from barwise.backends.cluster import Cluster

        return Cluster(workers, address)
    if address is not None:
        raise ConfigError(f"only the ray backend has an address; got {address} for {name}.")
    if name == "processes":
        from barwise.backends.processes import Processes

        return Processes(checked_workers(workers))
    from barwise.backends.threads import Threads

    return Threads(checked_workers(workers))
