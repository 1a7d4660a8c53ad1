"""How fast this machine is: every part of a search timed with the real thing, on candles that are at hand offline.

Rounds are repeated while the time lasts and the best of them counts: other programs only ever add time.
"""

import itertools
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from barwise.config import OptimizationConfig
from barwise.data.candles import Candles
from barwise.data.files import TEMPORARY_PREFIX
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.hardware.estimating import LEVELS, rows_seconds
from barwise.hardware.machine import look_at_hardware, memory_of
from barwise.hardware.profile import (
    BUSY,
    MEASURED_SAMPLERS,
    BatchSpeed,
    BookSpeed,
    HardwareProfile,
    LengthSpeed,
    SamplerSpeed,
    ThreadSpeed,
    Timing,
    card_wins_from,
)
from barwise.optimizer.engine import optimize
from barwise.optimizer.evaluation import Evaluator, replay
from barwise.optimizer.ledger import Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.sampler import Told
from barwise.optimizer.samplers import open_sampler
from barwise.optimizer.space import Space
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

logger = logging.getLogger(__name__)

SHORT_BARS, LONG_BARS = 2_136, 17_520
# What TPE thinks in, and then the sizes that are compared.
BATCH_SIZES = (16, 64, 256, 1024, 4096)
# A card is filled by tens of thousands of rows, and loses with few: from how many on it wins is what has to be known.
CARD_ROWS = (256, 1024, 4096, 16_384)
_THREAD_ROWS = 4096
_BOOK_ROWS = (16, 512)
_WIDTH = 0.15
_ROUNDS = 99
_SAMPLER_ROUNDS, _WARMING_TRIALS = 3, 20
# Settings that differ by less than this are equal, and the more modest one is taken.
_ALIKE = 0.05
# A process that hangs is not waited for any longer than this.
_LOADING_TIMEOUT_S = 120.0
# The samplers whose libraries are timed, each needing what the one before it has loaded.
_LOADED = ("AUTO", "TPE")
# Each part's share of the time, the card's like that of the threads; the samplers are last and take what is left.
_SHARES = {"threads": 0.1, "batches": 0.2, "lengths": 0.1, "books": 0.1}


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
        return tempfile.TemporaryDirectory(prefix=f"{TEMPORARY_PREFIX}{os.getpid()}-", dir=folder)
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
        backend="threads" if card_wins_from(card_speeds, thread_speeds, batch_speeds) is None else "cuda",
    )


def _modest(speeds: Sequence[Any], size: Callable[[Any], int]) -> Any:
    """The smallest of those that are as good as the best, judged by their best rounds: other programs only add time."""
    best = min(speed.best_nanoseconds for speed in speeds)
    return min((speed for speed in speeds if speed.best_nanoseconds <= best * (1.0 + _ALIKE)), key=size)


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
        evaluator = Evaluator(sweeper, Objective.of("sharpe_ratio"), LEVELS, ledger, max(BATCH_SIZES))
        seeds = itertools.count(1)  # points of an earlier round would be answered from the record
        for rows in _BOOK_ROWS:

            def work(rows: int = rows) -> None:
                evaluator.evaluate(space, _points(space, rows, next(seeds)), origin)

            known = rows_seconds(batches, rows, len(candles), LEVELS)
            found.append(BookSpeed(rows, max(0.0, _timed(work, patience / len(_BOOK_ROWS)).fastest - sum(known))))
    return tuple(found)


def _loading_seconds() -> dict[str, float]:
    """Seconds by sampler, from a process of its own: in this one everything may be loaded already."""
    code = "from barwise.hardware import measuring; measuring._tell_first_searches()"
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
        return dict.fromkeys(_LOADED, 0.0)


def _tell_first_searches() -> None:
    """What the process of `_loading_seconds` does: each search twice."""
    candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-03-30")
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in _LOADED:
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
    for name, objectives in MEASURED_SAMPLERS:
        _thinking(name, space, _WARMING_TRIALS, objectives)  # loads what is loaded once
    found: dict[tuple[str, int, int], SamplerSpeed] = {}
    expected = dict.fromkeys(MEASURED_SAMPLERS, 0.0)  # seconds per trial of the search before
    for _ in range(_SAMPLER_ROUNDS):
        for (name, objectives), counts in MEASURED_SAMPLERS.items():
            for trials in counts:
                late = time.perf_counter() + expected[name, objectives] * trials > deadline
                if late and (name, objectives, counts[0]) in found:
                    break
                speed = _thinking(name, space, trials, objectives)
                expected[name, objectives] = speed.seconds / trials
                known = found.get((name, objectives, trials))
                if known is None or speed.seconds < known.seconds:
                    found[name, objectives, trials] = speed
    return tuple(found.values())


def _thinking(name: str, space: Space, trials: int, objectives: int) -> SamplerSpeed:
    """One search on a smooth hill, or as many as there are objectives, that costs nothing to climb."""
    before = time.perf_counter()
    sampler = open_sampler(name, space, 0, objectives, trials)
    spent = time.perf_counter() - before
    done = batches = 0
    while done < trials:
        before = time.perf_counter()
        asked = sampler.ask(min(trials - done, sampler.batch))
        spent += time.perf_counter() - before
        told = _told(space, space.valid(asked), objectives)
        before = time.perf_counter()
        sampler.tell(told)
        spent += time.perf_counter() - before
        done += len(asked)
        batches += 1
    return SamplerSpeed(name, trials, batches, spent, objectives)


def _told(space: Space, points: Any, objectives: int) -> Told:
    """Values of hills with different tops; of one hill halved at each rung as an evaluation would."""
    tops = np.linspace(0.4, 0.6, objectives)
    values = np.stack([-((space.to_unit(points) - top) ** 2).sum(axis=1) for top in tops], axis=1)
    rank = np.argsort(np.argsort(-values[:, 0]))
    rungs = len(LEVELS) if objectives == 1 else 1  # several objectives have no better half
    kept = np.array([math.ceil(len(points) * 0.5**rung) for rung in range(rungs)])
    steps = np.where(rank[:, None] < kept, values[:, :1], np.nan)
    return Told(points, values, np.zeros(len(points)), steps, ~np.isnan(steps[:, -1]))
