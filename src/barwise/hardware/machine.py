"""What this machine is: processor, memory, vector instructions and card, as far as this process may use them.

A container may be given less than the machine has, and the system still tells of all of it; so the limits of the
control groups are read too.
"""

import importlib
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from barwise import __version__
from barwise.backends import usable_cores
from barwise.core._jit import core_stamp
from barwise.core.gpu import gpu_available

Count = Annotated[int, Field(ge=1)]

_LIBRARIES = ("numpy", "numba", "optuna")
# Of the processor's many features those that numeric code is faster with.
_VECTORS = ("sse4.2", "avx", "fma", "neon", "sve", "amx")
# cgroup v1 writes "no limit" as a number near 2**63.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Card:
    """A graphics card: its name and its memory in bytes."""

    name: str
    memory: Count


@dataclass(frozen=True)
class Hardware:
    """What a machine is, as far as this process may use it; nothing in it names the machine or its user.

    Attributes:
        processor: Model, as the system names it.
        cores_usable, cores_total: The first is lowered by affinity and by a container's quota.
        memory_total: Bytes, no more than a container's limit; None where the system does not say.
        instruction_sets: Vector instructions the compiler may use.
        card: None where none can be used; `no_card` says why.
        versions: Of Python, the libraries that decide the speed, barwise, and of the core's sources.
    """

    processor: str
    cores_usable: Count
    cores_total: Count
    memory_total: Count | None
    instruction_sets: tuple[str, ...]
    card: Card | None
    no_card: str
    versions: dict[str, str]


def look_at_hardware() -> Hardware:
    """This machine, in a few milliseconds; times nothing."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    card, no_card = _card()
    quota = processor_quota(Path("/"))
    cores = usable_cores()
    return Hardware(
        processor=_processor(Path("/proc/cpuinfo")) or str(llvm.get_host_cpu_name()),
        cores_usable=cores if quota is None else max(1, min(cores, math.ceil(quota))),
        cores_total=os.cpu_count() or cores,
        memory_total=memory_of(Path("/"))[0],
        instruction_sets=tuple(sorted(name for name, on in features.items() if on and name.startswith(_VECTORS))),
        card=card,
        no_card=no_card,
        versions=_versions(),
    )


def memory_of(root: Path) -> tuple[int | None, int | None]:
    """(total, available) bytes of memory for this process: the machine's, or its container's where that is less.

    Args:
        root: "/", or a folder with the same files below it.
    """
    total, available = _machine_memory(root)
    for folder, limit_file, used_file, cache in _groups(root, "memory"):
        limit = _number(folder / limit_file)
        if limit is None or limit >= _NO_LIMIT:
            continue
        total = int(limit) if total is None else min(total, int(limit))
        used = _number(folder / used_file)
        if used is not None:
            # Files that were read a while ago count as used and are given up when memory is needed.
            left = max(0, int(limit) - int(used) + _line_of(folder / "memory.stat", cache))
            available = min(total, left) if available is None else min(available, left)
    return total, available


def processor_quota(root: Path) -> float | None:
    """Cores' worth of time that a container may use, such as 1.5; None where nothing limits it.

    Args:
        root: "/", or a folder with the same files below it.
    """
    quotas = []
    for folder, limit_file, period_file, _ in _groups(root, "cpu"):
        if period_file:
            quota, period = _number(folder / limit_file), _number(folder / period_file)
        else:
            words = _text(folder / limit_file).split()
            quota, period = (_as_number(words[0]), _as_number(words[1])) if len(words) == 2 else (None, None)
        if quota is not None and period and quota > 0.0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _groups(root: Path, controller: str) -> Iterable[tuple[Path, str, str, str]]:
    """Folders of the control groups this process is in, innermost first, and the names of the files that limit it.

    Inside a container the path of the group often does not exist, and its files lie at the top instead.
    """
    names = {
        ("memory", 2): ("memory.max", "memory.current", "inactive_file"),
        ("memory", 1): ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("cpu", 2): ("cpu.max", "", ""),
        ("cpu", 1): ("cpu.cfs_quota_us", "cpu.cfs_period_us", ""),
    }
    top = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base, kind = (top / controller, 1) if controllers else (top, 2)
        inner = base / path.strip("/")
        for folder in (inner, *inner.parents):
            yield (folder, *names[controller, kind])
            if folder == base:
                break


def _machine_memory(root: Path) -> tuple[int | None, int | None]:
    info = root / "proc" / "meminfo"
    total, available = _line_of(info, "MemTotal:"), _line_of(info, "MemAvailable:")
    if total:
        return total * 1024, available * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (AttributeError, OSError, ValueError):
        return None, None


def _processor(path: Path) -> str:
    """Model name of the processor; "" where the system keeps no such file, or does not say in it."""
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system, or not for us to read
        return ""


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "max", or nothing
        return None


def _number(path: Path) -> float | None:
    return _as_number(_text(path).strip())


def _line_of(path: Path, name: str) -> int:
    """The number behind a name in a file of lines; 0 where there is none."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0


def _card() -> tuple[Card | None, str]:
    """The graphics card, or None and why there is none."""
    try:
        version("numba-cuda")
    except PackageNotFoundError:
        return None, "numba-cuda is not installed (barwise[cuda])"
    if not gpu_available():
        return None, "numba-cuda finds no card and driver it can use"
    cuda: Any = importlib.import_module("numba.cuda")
    try:
        name, memory = cuda.get_current_device().name, cuda.current_context().get_memory_info().total
        return Card(name.decode() if isinstance(name, bytes) else str(name), int(memory)), ""
    except (AttributeError, OverflowError):
        return None, "numba-cuda runs in its simulator"


def _versions() -> dict[str, str]:
    found = {"barwise": __version__, "core": core_stamp()[:16], "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
