"""Stage 6: what this machine is, how fast it really is, and so how long a search will take before it is begun.

No table of processors says how fast a backtest runs, so everything is timed with the real thing: the kernel through
`Sweeper`, the records through a real ledger, the samplers by asking them. The candles are SAMPLE candles, which are at
hand offline and the same everywhere, so that two machines can be compared.

    profile = measure_hardware()
    save_profile(profile, home_folder() / "data" / "hardware_profile.json")
    estimate(profile, bars=8_760, sampler="TPE", trials_by_stage=(150, 150, 50)).seconds

The chosen settings change how fast a search is, never what it finds.
"""

import importlib
import itertools
import json
import logging
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from barwise import __version__
from barwise.backends import usable_cores
from barwise.config import OptimizationConfig
from barwise.core._jit import core_stamp
from barwise.core.gpu import gpu_available
from barwise.data.candles import Candles
from barwise.data.files import write_atomically
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.optimizer.engine import optimize
from barwise.optimizer.evaluation import Evaluator, replay
from barwise.optimizer.ledger import Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.sampler import Told
from barwise.optimizer.samplers import canonical_name, open_sampler
from barwise.optimizer.search import trials_of
from barwise.optimizer.space import STAGES, Space, Stage
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

__all__ = [
    "Estimate",
    "Hardware",
    "HardwareProfile",
    "estimate",
    "estimate_of",
    "load_profile",
    "look_at_hardware",
    "measure_hardware",
    "save_profile",
]

logger = logging.getLogger(__name__)

FILE_NAME = "hardware_profile.json"
SHORT_BARS, LONG_BARS = 2_136, 17_520
# Share of the cores in the hands of other programs from which on a measurement is doubtful.
BUSY = 0.5
# What TPE thinks in, and then the sizes that are compared.
BATCH_SIZES = (16, 64, 256, 1024, 4096)
# A card is filled by tens of thousands of rows, and loses with few: from how many on it wins is what has to be known.
CARD_ROWS = (256, 1024, 4096, 16_384)
MEASURED_SAMPLERS: dict[str, tuple[int, ...]] = {"TPE": (50, 150, 300), "AUTO": (500, 1_500, 3_000)}
# Parameters that all three stages search together have this many neighbours: each one's steps, and those of each pair.
_NEIGHBOURS = 512
_THREAD_ROWS = 4096
_BOOK_ROWS = (16, 512)
_LEVELS = (0.33, 0.66, 1.0)
_WIDTH = 0.15
_LEAST_TO_HALVE = 4
_ROUNDS = 99
_SAMPLER_ROUNDS = 3
# Settings that differ by less than this are equal, and the more modest one is taken.
_ALIKE = 0.05
# A process that hangs is not waited for any longer than this.
_LOADING_TIMEOUT_S = 120.0
# Each part's share of the time, the card's like that of the threads; the samplers are last and take what is left.
_SHARES = {"threads": 0.1, "batches": 0.2, "lengths": 0.1, "books": 0.1}
_LIBRARIES = ("numpy", "numba", "optuna")
# Of the processor's many features those that numeric code is faster with.
_VECTORS = ("sse4.2", "avx", "fma", "neon", "sve", "amx")
# cgroup v1 writes "no limit" as a number near 2**63.
_NO_LIMIT = 1 << 60

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


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


class Timing(NamedTuple):
    """Seconds of one call over several rounds."""

    median: Seconds
    fastest: Seconds
    slowest: Seconds


@dataclass(frozen=True)
class ThreadSpeed:
    """A sweep of `rows` rows over `bars` bars, the kernel alone, on so many threads (or on the card: 0)."""

    threads: Annotated[int, Field(ge=0)]
    rows: Count
    bars: Count
    kernel: Timing

    @property
    def nanoseconds(self) -> float:
        """Per bar and row."""
        return self.kernel.median / self.rows / self.bars * 1e9

    @property
    def best_nanoseconds(self) -> float:
        """The same in the fastest round."""
        return self.kernel.fastest / self.rows / self.bars * 1e9


@dataclass(frozen=True)
class BatchSpeed:
    """One batch on the chosen threads: its plans (indicators, signals, parameters), and the kernel.

    `planning` is for rows with periods of their own, `same_periods` for rows that share their indicators, as in every
    stage but the first.
    """

    rows: Count
    bars: Count
    planning: Timing
    same_periods: Timing
    kernel: Timing

    @property
    def nanoseconds(self) -> float:
        """Planning and kernel, per bar and row."""
        return (self.planning.median + self.kernel.median) / self.rows / self.bars * 1e9

    @property
    def best_nanoseconds(self) -> float:
        """The same in the fastest rounds."""
        return (self.planning.fastest + self.kernel.fastest) / self.rows / self.bars * 1e9


@dataclass(frozen=True)
class LengthSpeed:
    """What so many bars cost once: made ready for sweeps with their first indicators, and one plain backtest."""

    bars: Count
    preparation: Timing
    replay: Timing


@dataclass(frozen=True)
class BookSpeed:
    """What a batch of so many rows costs besides plans and kernel: scores, rungs, and its place in the ledger."""

    rows: Count
    seconds: Seconds


@dataclass(frozen=True)
class SamplerSpeed:
    """A whole search of a sampler: the time it thinks, and the batches it asks in."""

    sampler: str
    trials: Count
    batches: Count
    seconds: Seconds


@dataclass(frozen=True)
class HardwareProfile:
    """A machine, its speed, and the settings that follow from it.

    Attributes:
        measured_at: UTC, ISO 8601.
        memory_available: Bytes at that time; None where the system does not say.
        busy: Share of the usable cores that other programs took in the minute before; None where the system does not
            say. Above `BUSY` the times are too long, and all usable cores are chosen.
        loading_seconds: By sampler, what the first search of a process takes longer than the next one.
        card_speeds: The kernel on the graphics card; none where there is no card.
        threads, batch_size: Fastest, or as good as that and smaller.
        backend: For large batches: "cuda" where the card was faster than all threads, else "threads"; `backend_for`
            says it for any number of rows.
    """

    schema_version: Literal[1]
    measured_at: str
    hardware: Hardware
    memory_available: Annotated[int, Field(ge=0)] | None
    busy: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None
    thread_speeds: Annotated[tuple[ThreadSpeed, ...], Field(min_length=1)]
    batch_speeds: Annotated[tuple[BatchSpeed, ...], Field(min_length=1)]
    length_speeds: Annotated[tuple[LengthSpeed, ...], Field(min_length=1)]
    book_speeds: Annotated[tuple[BookSpeed, ...], Field(min_length=1)]
    sampler_speeds: Annotated[tuple[SamplerSpeed, ...], Field(min_length=1)]
    loading_seconds: dict[str, Seconds]
    card_speeds: tuple[ThreadSpeed, ...]
    threads: Count
    batch_size: Count
    backend: Literal["threads", "cuda"]

    @property
    def card_wins_from(self) -> int | None:
        """Fewest rows, of those that were timed, from which on the card was faster; None where it never is."""
        return _card_wins_from(self.card_speeds, self.thread_speeds, self.batch_speeds)

    def backend_for(self, rows: int) -> Literal["threads", "cuda"]:
        """The faster of the two for batches of so many rows."""
        fewest = self.card_wins_from
        return "cuda" if fewest is not None and rows >= fewest else "threads"


_PROFILE = TypeAdapter(HardwareProfile)


# -- What the machine is -----------------------------------------------------------------------------------------------


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


# -- How fast it is ----------------------------------------------------------------------------------------------------


def measure_hardware(seconds_limit: float = 10.0, folder: Path | None = None) -> HardwareProfile:
    """Time this machine with the real kernel, ledger and samplers on SAMPLE candles.

    Args:
        seconds_limit: About how long it may take, compilation and the process that times the loading not counted; less
            time means fewer rounds, and fewer lengths of a sampler's search. Every part is timed once at least.
        folder: Where the ledger that is timed is written, and removed again: on the disk that the real one will be on.
            None = the system's folder for temporary files.

    Raises:
        ConfigError: The limit is not above 0.
        DataError: The folder cannot be written.
    """
    if not seconds_limit > 0.0:
        raise ConfigError(f"seconds_limit must be above 0; got {seconds_limit}.")
    with _place_in(folder) as place:
        return _measured(seconds_limit, Path(place))


def _place_in(folder: Path | None) -> "tempfile.TemporaryDirectory[str]":
    """A folder of its own in a folder that may have to be made.

    Raises:
        DataError: It cannot be made there.
    """
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".barwise-", dir=folder)
    except OSError as error:
        raise DataError(
            f"{folder or tempfile.gettempdir()} cannot be written: {error.strerror}.",
            hint="check that the folder exists, is writable and has space.",
        ) from error


def _measured(seconds_limit: float, place: Path) -> HardwareProfile:
    hardware = look_at_hardware()
    busy = os.getloadavg()[0] / hardware.cores_usable if hasattr(os, "getloadavg") else None
    candles = sample_candles("SAMPLE-BTC", "1H", "2023-01-01", "2025-01-01")[:LONG_BARS]
    short = Sweeper(candles[:SHORT_BARS], EmaRsiAtr(), 0.1)
    _simulate_once(short)
    deadline = time.perf_counter() + seconds_limit
    thread_speeds = _thread_speeds(short, hardware.cores_usable, _SHARES["threads"] * seconds_limit)
    if busy is not None and busy > BUSY:
        threads = hardware.cores_usable  # what the others leave says nothing about how many are best without them
    else:
        threads = _modest(thread_speeds, lambda speed: speed.threads).threads
    card_speeds = () if hardware.card is None else _card_speeds(short.candles, _SHARES["threads"] * seconds_limit)
    batch_speeds = _batch_speeds(candles, threads, _SHARES["batches"] * seconds_limit)
    length_speeds = _length_speeds(candles, threads, _SHARES["lengths"] * seconds_limit)
    book_speeds = _book_speeds(candles[:SHORT_BARS], threads, batch_speeds, _SHARES["books"] * seconds_limit, place)
    before = time.perf_counter()
    loading_seconds = _loading_seconds()
    sampler_speeds = _sampler_speeds(deadline + time.perf_counter() - before)
    batch_size = _modest([speed for speed in batch_speeds if speed.bars == SHORT_BARS], lambda speed: speed.rows).rows
    return HardwareProfile(
        schema_version=1,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=hardware,
        memory_available=memory_of(Path("/"))[1],
        busy=busy,
        thread_speeds=thread_speeds,
        batch_speeds=batch_speeds,
        length_speeds=length_speeds,
        book_speeds=book_speeds,
        sampler_speeds=sampler_speeds,
        loading_seconds=loading_seconds,
        card_speeds=card_speeds,
        threads=threads,
        batch_size=batch_size,
        backend="threads" if _card_wins_from(card_speeds, thread_speeds, batch_speeds) is None else "cuda",
    )


def _modest(speeds: Sequence[Any], size: Callable[[Any], int]) -> Any:
    """The smallest of those that are as good as the best, judged by their best rounds: other programs only add time."""
    best = min(speed.best_nanoseconds for speed in speeds)
    return min((speed for speed in speeds if speed.best_nanoseconds <= best * (1.0 + _ALIKE)), key=size)


def _card_wins_from(
    cards: Sequence[ThreadSpeed], threads: Sequence[ThreadSpeed], batches: Sequence[BatchSpeed]
) -> int | None:
    """Fewest rows from which on the card beats all threads, at that number and at every larger one."""
    best = min(speed.best_nanoseconds for speed in threads)
    fewest = None
    for card in sorted(cards, key=lambda speed: -speed.rows):
        known = [speed for speed in batches if (speed.rows, speed.bars) == (card.rows, card.bars)]
        seconds = known[0].kernel.fastest if known else best * card.rows * card.bars / 1e9
        if card.kernel.fastest >= seconds:
            break
        fewest = card.rows
    return fewest


def _timed(work: Callable[[], object], patience: float) -> Timing:
    """Time a call over several rounds after one that does not count, or over as many as the patience lasts."""
    started = time.perf_counter()
    work()
    found: list[float] = []
    while not found or (len(found) < _ROUNDS and time.perf_counter() - started < patience):
        before = time.perf_counter()
        work()
        found.append(time.perf_counter() - before)
    return Timing(median(found), min(found), max(found))


def _points(space: Space, rows: int, seed: int) -> Any:
    """Random valid points of a box."""
    return space.valid(space.from_unit(np.random.default_rng(seed).random((rows, len(space.dimensions)))))


def _joint_box() -> Space:
    return Space(EmaRsiAtr(), "joint", width=_WIDTH)


def _simulate_once(sweeper: Sweeper) -> None:
    """Compile everything, and let the processor wake up."""
    space = _joint_box()
    sweeper.sweep(space.columns(_points(space, _THREAD_ROWS, 0)))


def _thread_speeds(sweeper: Sweeper, cores: int, patience: float) -> tuple[ThreadSpeed, ...]:
    space = _joint_box()
    run = sweeper.start(space.columns(_points(space, _THREAD_ROWS, 1)))
    counts = sorted({*(1 << power for power in range(cores.bit_length())), cores})
    found = []
    for threads in counts:
        sweeper.threads = threads
        timing = _timed(lambda: sweeper.advance(run, sweeper.bars, keep=False), patience / len(counts))
        found.append(ThreadSpeed(threads, _THREAD_ROWS, sweeper.bars, timing))
    return tuple(found)


def _card_speeds(candles: Candles, patience: float) -> tuple[ThreadSpeed, ...]:
    """The kernel on the card, from arrays in memory to summaries in memory."""
    space = _joint_box()
    sweeper = Sweeper(candles, EmaRsiAtr(), 0.1, check_lookahead=False, on_gpu=True)
    found = []
    for rows in CARD_ROWS:
        run = sweeper.start(space.columns(_points(space, rows, 1)))
        timing = _timed(lambda: sweeper.advance(run, sweeper.bars, keep=False), patience / len(CARD_ROWS))  # noqa: B023
        found.append(ThreadSpeed(0, rows, sweeper.bars, timing))
    return tuple(found)


def _batch_speeds(candles: Candles, threads: int, patience: float) -> tuple[BatchSpeed, ...]:
    found = []
    space, thresholds = _joint_box(), Space(EmaRsiAtr(), "7.2", width=_WIDTH)
    share = patience / len(BATCH_SIZES) / 6.0  # two lengths, three parts
    for bars in (SHORT_BARS, LONG_BARS):
        sweeper = Sweeper(candles[:bars], EmaRsiAtr(), 0.1, workers=threads, check_lookahead=False)
        for rows in BATCH_SIZES:
            columns = space.columns(_points(space, rows, rows))
            planning = _timed(lambda: sweeper.start(columns), share)  # noqa: B023
            alike = thresholds.columns(_points(thresholds, rows, rows))
            same_periods = _timed(lambda: sweeper.start(alike), share)  # noqa: B023
            run = sweeper.start(columns)
            kernel = _timed(lambda: sweeper.advance(run, sweeper.bars, keep=False), share)  # noqa: B023
            found.append(BatchSpeed(rows, bars, planning, same_periods, kernel))
    return tuple(found)


def _length_speeds(candles: Candles, threads: int, patience: float) -> tuple[LengthSpeed, ...]:
    space, strategy = _joint_box(), EmaRsiAtr()
    columns = space.columns(_points(space, 256, 2))
    found = []
    for bars in (SHORT_BARS, LONG_BARS):

        def ready(bars: int = bars) -> Sweeper:
            # New arrays each time: indicators are remembered by the array they were made from.
            sweeper = Sweeper(candles[:bars], strategy, 0.1, workers=threads)
            sweeper.start(columns)
            return sweeper

        sweeper = ready()
        found.append(
            LengthSpeed(
                bars,
                _timed(ready, patience / 4.0),
                _timed(lambda: replay(sweeper, strategy), patience / 4.0),  # noqa: B023
            )
        )
    return tuple(found)


def _book_speeds(
    candles: Candles, threads: int, batches: Sequence[BatchSpeed], patience: float, place: Path
) -> tuple[BookSpeed, ...]:
    """Whole evaluations, recorded, less what plans and kernel are known to cost."""
    space = _joint_box()
    origin = Origin("hardware", "joint", "RANDOM", 0, "sharpe_ratio")
    sweeper = Sweeper(candles, EmaRsiAtr(), 0.1, workers=threads, check_lookahead=False)
    found = []
    with Ledger(place / "ledger.sqlite") as ledger:
        evaluator = Evaluator(sweeper, Objective.of("sharpe_ratio"), _LEVELS, ledger, max(BATCH_SIZES))
        seeds = itertools.count(1)  # points of an earlier round would be answered from the record
        for rows in _BOOK_ROWS:

            def work(rows: int = rows) -> None:
                evaluator.evaluate(space, _points(space, rows, next(seeds)), origin)

            known = _rows_seconds(batches, rows, len(candles), _LEVELS)
            found.append(BookSpeed(rows, max(0.0, _timed(work, patience / len(_BOOK_ROWS)).fastest - sum(known))))
    return tuple(found)


def _loading_seconds() -> dict[str, float]:
    """Seconds by sampler, from a process of its own: in this one everything may be loaded already."""
    code = "from barwise import hardware; hardware._tell_first_searches()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter with our own text
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, check=True, timeout=_LOADING_TIMEOUT_S,
        )  # fmt: skip
        return {name: max(0.0, float(seconds)) for name, seconds in json.loads(done.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        logger.warning(
            "the start of a first search could not be timed, and is not part of the estimates: %s", *reason[-1:] or [""]
        )
        return dict.fromkeys(MEASURED_SAMPLERS, 0.0)


def _tell_first_searches() -> None:
    """What the process of `_loading_seconds` does: each search twice; TPE also needs what AUTO has loaded."""
    candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-03-30")
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("AUTO", "TPE"):
            times: list[float] = []
            for _ in range(2):
                config = OptimizationConfig(
                    optuna_sampler=name, num_trials=20, storage=str(Path(place) / f"{name}{len(times)}.sqlite")
                )
                before = time.perf_counter()
                optimize(candles, EmaRsiAtr(), 0.1, config=config)
                times.append(time.perf_counter() - before)
            found[name] = times[0] - times[1] + sum(found.values())
    sys.stdout.write(json.dumps(found))


def _sampler_speeds(deadline: float) -> tuple[SamplerSpeed, ...]:
    """The best of some rounds of whole searches; a longer one only where the time lasts."""
    space = Space(EmaRsiAtr(), "7.2", width=_WIDTH)
    for name in MEASURED_SAMPLERS:
        _thinking(name, space, 50)  # loads what is loaded once
    found: dict[tuple[str, int], SamplerSpeed] = {}
    expected = dict.fromkeys(MEASURED_SAMPLERS, 0.0)  # seconds per trial of the search before
    for _ in range(_SAMPLER_ROUNDS):
        for name, counts in MEASURED_SAMPLERS.items():
            for trials in counts:
                if (name, counts[0]) in found and time.perf_counter() + expected[name] * trials > deadline:
                    break
                speed = _thinking(name, space, trials)
                expected[name] = speed.seconds / trials
                known = found.get((name, trials))
                if known is None or speed.seconds < known.seconds:
                    found[name, trials] = speed
    return tuple(found.values())


def _thinking(name: str, space: Space, trials: int) -> SamplerSpeed:
    """One search on a smooth hill that costs nothing to climb."""
    before = time.perf_counter()
    sampler = open_sampler(name, space, 0, 1, trials)
    spent = time.perf_counter() - before
    done = batches = 0
    while done < trials:
        before = time.perf_counter()
        asked = sampler.ask(min(trials - done, sampler.batch))
        spent += time.perf_counter() - before
        told = _told(space, space.valid(asked))
        before = time.perf_counter()
        sampler.tell(told)
        spent += time.perf_counter() - before
        done += len(asked)
        batches += 1
    return SamplerSpeed(name, trials, batches, spent)


def _told(space: Space, points: Any) -> Told:
    """Values of a hill, halved at each rung as an evaluation would."""
    values = -((space.to_unit(points) - 0.4) ** 2).sum(axis=1)
    rank = np.argsort(np.argsort(-values))
    rungs = len(_LEVELS)
    kept = np.array([math.ceil(len(points) * 0.5**rung) for rung in range(rungs)])
    steps = np.where(rank[:, None] < kept, values[:, None], np.nan)
    return Told(points, values[:, None], np.zeros(len(points)), steps, ~np.isnan(steps[:, -1]))


# -- How long a search will take ---------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """Seconds of an optimization by what they are spent on."""

    loading: float
    preparation: float
    sampler: float
    planning: float
    kernel: float
    books: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self)


def estimate_of(
    profile: HardwareProfile, config: OptimizationConfig, *, bars: int, joint: bool = False, first: bool = True
) -> Estimate:
    """How long the optimization of a configuration will take, all its stages or the joint one; see `estimate`."""
    stages: tuple[Stage, ...] = ("joint",) if joint else STAGES
    return estimate(
        profile,
        bars=bars,
        sampler=config.optuna_sampler,
        trials_by_stage=[trials_of(config, stage) for stage in stages],
        levels=config.fidelity_levels if config.multi_fidelity else (1.0,),
        first=first,
    )


def estimate(
    profile: HardwareProfile,
    *,
    bars: int,
    sampler: str,
    trials_by_stage: Sequence[int],
    levels: Sequence[float] = _LEVELS,
    neighbours: int = _NEIGHBOURS,
    first: bool = True,
) -> Estimate:
    """How long an optimization will take on the machine of a profile, while no other program takes part of it.

    Of the built-in strategy: one with a plan of its own is planned row by row, in the time that its plan() takes. What
    is answered from the record is not foreseen.

    Args:
        bars: Signal bars of the data.
        sampler: One that is timed, TPE or AUTO.
        trials_by_stage: Trials of each stage, the one that searches the periods first; with AUTO ten times the
            profile's.
        levels: Shares of the bars per rung; (1.0,) without multi-fidelity.
        neighbours: Rows around the result that are run at the end; 0 where the result is not asked for.
        first: Whether it is the first search of its process, which loads what the next ones find loaded.

    Raises:
        ConfigError: A sampler that is not timed, or a number below 1.
    """
    name = canonical_name(sampler)
    if name not in MEASURED_SAMPLERS:
        raise ConfigError(
            f"no time is known for the sampler {name}.", hint=f"times are known for {' and '.join(MEASURED_SAMPLERS)}."
        )
    if bars < 1 or any(trials < 1 for trials in trials_by_stage):
        raise ConfigError(f"bars and trials must be 1 or more; got {bars} bars and {tuple(trials_by_stage)} trials.")
    lengths = profile.length_speeds
    backtest = _over_bars([(length.bars, length.replay.fastest) for length in lengths], bars)
    # Plain backtests: first bar and result of the base, and per stage what it has chosen, and at the end again.
    preparation = _over_bars([(length.bars, length.preparation.fastest) for length in lengths], bars)
    preparation += backtest * (len(trials_by_stage) + 3)
    thinking = planning = kernel = books = 0.0
    for stage, trials in enumerate(trials_by_stage):
        seconds, batches = _search(profile, name, trials)
        batch = trials / batches
        plans, rungs = _rows_seconds(profile.batch_speeds, batch, bars, levels)
        if stage:  # only the first searches the periods
            plans = _batch_seconds(profile.batch_speeds, "same_periods", batch, bars)
        thinking += seconds
        planning += batches * plans
        kernel += batches * rungs
        books += batches * _books(profile.book_speeds, batch) + _books(profile.book_speeds, 1.0)
    if neighbours:
        plans, rungs = _rows_seconds(profile.batch_speeds, neighbours, bars, (1.0,))
        planning, kernel, books = planning + plans, kernel + rungs, books + _books(profile.book_speeds, neighbours)
    loading = profile.loading_seconds.get(name, 0.0) if first else 0.0
    return Estimate(loading, preparation, thinking, planning, kernel, books)


def _rows_seconds(speeds: Sequence[BatchSpeed], rows: float, bars: int, levels: Sequence[float]) -> tuple[float, float]:
    """(planning, kernel) of one batch: all rows to the first rung, and half as many from each rung to the next."""
    planning = _batch_seconds(speeds, "planning", rows, bars)
    if rows < _LEAST_TO_HALVE:
        levels = (1.0,)
    kernel, before = 0.0, 0.0
    for rung, level in enumerate(levels):
        kernel += _batch_seconds(speeds, "kernel", rows * 0.5**rung, (level - before) * bars)
        before = level
    return planning, kernel


def _batch_seconds(speeds: Sequence[BatchSpeed], part: str, rows: float, bars: float) -> float:
    """One part of one batch: along the bars a line, between the numbers of rows that were timed as well."""
    sizes = sorted({speed.rows for speed in speeds})
    by_size = [
        _over_bars([(speed.bars, getattr(speed, part).fastest) for speed in speeds if speed.rows == size], bars)
        for size in sizes
    ]
    # More rows never take less time; where they seem to, it was the noise of a busy machine.
    places, values = [float(size) for size in sizes], np.maximum.accumulate(by_size).tolist()
    if part == "kernel":  # fewer rows than were timed: no rows take no time, where plans have their lines to make
        places, values = [0.0, *places], [0.0, *values]
    return _along(places, values, rows)


def _over_bars(known: Sequence[tuple[int, float]], bars: float) -> float:
    """Seconds at any number of bars from those at one or two: a line that never falls and never starts below 0."""
    (first, seconds), (last, later) = min(known), max(known)
    if first == last or later <= seconds:
        return max(seconds, later) * max(1.0, bars / last)
    slope = (later - seconds) / (last - first)
    fixed = seconds - slope * first
    return fixed + slope * bars if fixed >= 0.0 else later / last * bars


def _along(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """A value between known ones on straight lines; the first below all, in proportion above all."""
    if place >= places[-1]:
        return values[-1] * place / places[-1]
    return float(np.interp(place, places, values))


def _books(speeds: Sequence[BookSpeed], rows: float) -> float:
    ordered = sorted(speeds, key=lambda speed: speed.rows)
    values = np.maximum.accumulate([speed.seconds for speed in ordered]).tolist()
    return _along([float(speed.rows) for speed in ordered], values, rows)


def _search(profile: HardwareProfile, name: str, trials: int) -> tuple[float, float]:
    """(seconds a sampler thinks, batches) for so many trials; beyond the longest that was timed, a power law."""
    known = sorted((speed for speed in profile.sampler_speeds if speed.sampler == name), key=lambda speed: speed.trials)
    if not known:
        raise ConfigError(
            f"the profile has no time of the sampler {name}.", hint="measure again: barwise profile --again."
        )
    trials_of = [float(speed.trials) for speed in known]
    seconds_of = np.maximum.accumulate([speed.seconds for speed in known]).tolist()
    growth = 1.0
    if len(known) > 1 and seconds_of[-2] > 0.0:
        growth = max(1.0, math.log(seconds_of[-1] / seconds_of[-2]) / math.log(trials_of[-1] / trials_of[-2]))
    if trials > trials_of[-1]:
        seconds = seconds_of[-1] * (trials / trials_of[-1]) ** growth
    else:
        seconds = float(np.interp(trials, [0.0, *trials_of], [0.0, *seconds_of]))
    last = known[-1]
    # Either of a size of its own (TPE), or a fixed number of them (AUTO): both are lines.
    if len({speed.batches for speed in known}) == 1 and len(known) > 1:
        return seconds, float(min(trials, last.batches))
    return seconds, float(math.ceil(trials * last.batches / last.trials))


# -- The file ----------------------------------------------------------------------------------------------------------


def save_profile(profile: HardwareProfile, path: Path) -> Path:
    """Write a profile as JSON, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    return write_atomically(path, _PROFILE.dump_json(profile, indent=2) + b"\n")


def load_profile(path: Path, hardware: Hardware | None = None) -> HardwareProfile | None:
    """The stored profile, or None where it must be measured again: the log says why.

    Args:
        path: The file.
        hardware: What the profile must be of; None = this machine.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        return None
    try:
        profile = _PROFILE.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        logger.warning("%s is no hardware profile of this version (%s: %s)", path, place, first["msg"])
        return None
    hardware = look_at_hardware() if hardware is None else hardware
    changed = [
        name for name in Hardware.__dataclass_fields__ if getattr(profile.hardware, name) != getattr(hardware, name)
    ]
    if changed:
        logger.info("%s is of another machine or other versions: %s differ", path, ", ".join(changed))
        return None
    return profile
