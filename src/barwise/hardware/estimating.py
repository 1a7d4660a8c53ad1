"""How long a search will take: arithmetic on the measured times, between them and beyond them.

Nothing is timed here, so that an estimate of any search costs nothing and is the same each time it is asked for.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from barwise.config import OptimizationConfig
from barwise.errors import ConfigError
from barwise.hardware.profile import MEASURED_SAMPLERS, BatchSpeed, BookSpeed, HardwareProfile
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.search import trials_of
from barwise.optimizer.space import STAGES, Stage

# Shares of the bars per rung: measured with, and assumed where an estimate is told nothing else.
LEVELS = (0.33, 0.66, 1.0)
# Parameters that all three stages search together have this many neighbours: each one's steps, and those of each pair.
_NEIGHBOURS = 512
_LEAST_TO_HALVE = 4


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
    levels: Sequence[float] = LEVELS,
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
        plans, rungs = rows_seconds(profile.batch_speeds, batch, bars, levels)
        if stage:  # only the first searches the periods
            plans = _batch_seconds(profile.batch_speeds, "same_periods", batch, bars)
        thinking += seconds
        planning += batches * plans
        kernel += batches * rungs
        books += batches * _books(profile.book_speeds, batch) + _books(profile.book_speeds, 1.0)
    if neighbours:
        plans, rungs = rows_seconds(profile.batch_speeds, neighbours, bars, (1.0,))
        planning, kernel, books = planning + plans, kernel + rungs, books + _books(profile.book_speeds, neighbours)
    loading = profile.loading_seconds.get(name, 0.0) if first else 0.0
    return Estimate(loading, preparation, thinking, planning, kernel, books)


def rows_seconds(speeds: Sequence[BatchSpeed], rows: float, bars: int, levels: Sequence[float]) -> tuple[float, float]:
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
