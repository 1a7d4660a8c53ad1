"""How long a search or a validation will take: arithmetic on the measured times, between them and beyond them.

Nothing is timed here, so that an estimate of any search costs nothing and is the same each time it is asked for.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from barwise.config import OptimizationConfig
from barwise.errors import ConfigError
from barwise.hardware.profile import BatchSpeed, BookSpeed, HardwareProfile
from barwise.optimizer.evaluation import rungs_worth_it
from barwise.optimizer.leaders import LEADERS
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.search import trials_of
from barwise.optimizer.space import STAGES, Stage
from barwise.validation.selection import MOST_TRIALS
from barwise.validation.stress import FACTORS, JITTERS

# Shares of the bars per rung: measured with, and assumed where an estimate is told nothing else.
LEVELS = (0.33, 0.66, 1.0)
# Parameters that all three stages search together have this many neighbours: each one's steps, and those of each pair.
# The other leaders are looked at by the steps alone, and all of them are run once more by plain backtests.
_NEIGHBOURS = 512
_STEPS = 32 * (LEADERS - 1)
# Bars in which the built-in strategy makes one trade, on SAMPLE hours of any year: 104 to 151.
_BARS_PER_TRADE = 120
# Methods without a model think as long whatever the number of objectives.
_DRAWING = ("QMC", "RANDOM", "GRID")
_LEAST_TO_HALVE = 4
_TIMEOUTS = 2
# Points that a sampler asks for at a time where that was not timed.
_UNKNOWN_BATCH = 4
# Before a new process does anything it imports the package, which takes half as long as what its first search loads; a
# first backtest loads the compiled code and not the rest.
_PROCESS_START, _BACKTEST_LOADING = 1.5, 0.4
# As in the validation: fewer shuffled markets are searched in this process.
_WORTH_PROCESSES = 30
# Each window is traded by plain backtests: both of its parts, and the part that the account follows.
_TRADED = 3
# Worlds that the pieces are run in: as it was, slippage and fees times each factor, and late entries. The strategies of
# such worlds are planned anew, which doubles a plain backtest.
_WORLDS, _REPLANNED = 2 + 2 * len(FACTORS), 2.0
_JITTERED_ROWS = 200
# What judging a trial and resampling a bar cost besides the kernel, in bars of one row on one thread of it: no part of
# the profile times them, and a machine that is faster with the one is faster with the other.
_JUDGED, _JUDGED_PER_BAR, _RESAMPLED_PER_BAR = 264_000.0, 31.0, 13_700.0


class Estimate(NamedTuple):
    """Seconds of an optimization by what they are spent on.

    `sampler` is None where nobody has timed the sampler: GP, SKOPT, and models of three objectives or more.
    """

    loading: float
    preparation: float
    sampler: float | None
    planning: float
    kernel: float
    books: float

    @property
    def known(self) -> float:
        """All of it but what is not known."""
        return sum(part for part in self if part is not None)

    @property
    def seconds(self) -> float | None:
        """All of it; None where the sampler's own time, mostly the longest part, is not known."""
        return None if self.sampler is None else self.known


def estimate_of(
    profile: HardwareProfile,
    config: OptimizationConfig,
    *,
    bars: int,
    joint: bool = False,
    first: bool = True,
    trades: int | None = None,
) -> Estimate:
    """How long the optimization of a configuration will take, all its stages or the joint one; see `estimate`.

    Args:
        trades: Of the strategy it starts from, which decide the rungs as they do in the search; None = as many as the
            built-in strategy makes on SAMPLE hours.
    """
    stages: tuple[Stage, ...] = ("joint",) if joint else STAGES
    functions = any(callable(goal) for goal in config.objectives)
    whole = functions or len(config.objectives) > 1
    return estimate(
        profile,
        bars=bars,
        sampler=config.optuna_sampler,
        trials_by_stage=[trials_of(config, stage) for stage in stages],
        levels=(1.0,) if whole else _rungs(config, bars, trades),
        objectives=len(config.objectives),
        functions=functions,
        first=first,
    )


def _rungs(config: OptimizationConfig, bars: int, trades: int | None = None) -> tuple[float, ...]:
    """The rungs that a search of one metric will use."""
    if not config.multi_fidelity:
        return (1.0,)
    trades = bars // _BARS_PER_TRADE if trades is None else trades
    return rungs_worth_it(config.fidelity_levels, trades, config.min_rung_trades)


def estimate(
    profile: HardwareProfile,
    *,
    bars: int,
    sampler: str,
    trials_by_stage: Sequence[int],
    levels: Sequence[float] = LEVELS,
    objectives: int = 1,
    functions: bool = False,
    neighbours: int = _NEIGHBOURS,
    first: bool = True,
) -> Estimate:
    """How long an optimization will take on the machine of a profile, while no other program takes part of it.

    Of the built-in strategy: one with a plan of its own is planned row by row, in the time that its plan() takes. What
    is answered from the record is not foreseen.

    Args:
        bars: Signal bars of the data.
        sampler: Its own time is known where the profile has it, see `Estimate`; all other parts always are.
        trials_by_stage: Trials of each stage, the one that searches the periods first, the one of the timeouts, which
            is never halved, third; with AUTO ten times the profile's.
        levels: Shares of the bars per rung; (1.0,) without multi-fidelity, and with several objectives.
        objectives: How many are searched for.
        functions: Whether one of them is a function of the result: each trial is then a plain backtest. What the
            function itself takes is not known.
        neighbours: Rows around the result that are run at the end, and with them what is run of the others that came
            close; 0 where the result is not asked for.
        first: Whether it is the first search of its process, which loads what the next ones find loaded.

    Raises:
        ConfigError: An unknown sampler, or a number below 1.
    """
    name = canonical_name(sampler)
    if min(bars, objectives) < 1 or any(trials < 1 for trials in trials_by_stage):
        raise ConfigError(
            f"bars, objectives and trials must be 1 or more; got {bars} bars, {objectives} objectives and "
            f"{tuple(trials_by_stage)} trials."
        )
    lengths = profile.length_speeds
    backtest = _over_bars([(length.bars, length.replay.fastest) for length in lengths], bars)
    # Plain backtests: first bar and result of the base, and per stage what it has chosen, and at the end again.
    preparation = _over_bars([(length.bars, length.preparation.fastest) for length in lengths], bars)
    preparation += backtest * (len(trials_by_stage) + 3)
    thinking: float | None = 0.0
    planning = kernel = books = 0.0
    for stage, trials in enumerate(trials_by_stage):
        seconds, batches = _search(profile, name, 1 if name in _DRAWING else objectives, trials)
        batch = trials / batches
        plans, rungs = rows_seconds(profile.batch_speeds, batch, bars, (1.0,) if stage == _TIMEOUTS else levels)
        if stage:  # only the first searches the periods
            plans = _batch_seconds(profile.batch_speeds, "same_periods", batch, bars)
        thinking = None if thinking is None or seconds is None else thinking + seconds
        planning += batches * plans
        kernel += batches * rungs + trials * functions * backtest
        books += batches * _books(profile.book_speeds, batch) + _books(profile.book_speeds, 1.0)
    if neighbours:
        preparation += backtest * (LEADERS + 1)
        for rows in (neighbours,) if functions else (neighbours, _STEPS):
            plans, rungs = rows_seconds(profile.batch_speeds, rows, bars, (1.0,))
            planning, kernel = planning + plans, kernel + rungs + rows * functions * backtest
            books += _books(profile.book_speeds, rows)
    loaded = name if name in profile.loading_seconds else "AUTO" if name in _DRAWING else "TPE"
    loading = profile.loading_seconds.get(loaded, 0.0) if first else 0.0
    return Estimate(loading, preparation, thinking, planning, kernel, books)


def estimate_backtest(profile: HardwareProfile, bars: int, *, first: bool = True) -> float:
    """Seconds of one plain backtest from its candles on, with its quick check for look-ahead.

    Args:
        bars: Signal bars.
        first: Whether nothing has been run in this process yet, so that the compiled code has to be loaded.

    Raises:
        ConfigError: Fewer than 1 bar.
    """
    if bars < 1:
        raise ConfigError(f"bars must be 1 or more; got {bars}.")
    lengths = profile.length_speeds
    loading = profile.loading_seconds.get("AUTO", 0.0) * _BACKTEST_LOADING if first else 0.0
    return (
        loading
        + _over_bars([(length.bars, length.preparation.fastest) for length in lengths], bars)
        + _over_bars([(length.bars, length.replay.fastest) for length in lengths], bars)
    )


def estimate_validation(
    profile: HardwareProfile,
    search: OptimizationConfig,
    *,
    bars: int,
    windows: int,
    in_sample_bars: int,
    permutations: int,
    workers: int,
    first: bool = True,
) -> dict[str, float]:
    """How long a validation will take at most, while no other program takes part of the machine.

    At most, because the permutation test ends early where a tenth of the shuffled markets have beaten the real one:
    without an edge that is soon. Of the built-in strategy, as with `estimate`.

    Args:
        search: The search that is judged; whatever its sampler, the batch search is what runs.
        bars: Signal bars of the data.
        windows: Of the walk-forward; 0 where none fits, or where they are not searched.
        in_sample_bars: Of one window; of windows that grow, the mean.
        permutations: Shuffled markets, at most; 0 = none.
        workers: Threads, or processes where there are enough shuffled markets.
        first: Whether it is the first search of its process.

    Returns:
        Seconds of "walk-forward", "permutations" and "others": the search on all bars, the look at its trials, other
        costs, neighbours and resampling. With processes the first of the two steps that needs one waits for its start.

    Raises:
        ConfigError: A number is below what it can be.
    """
    if min(windows, permutations) < 0 or workers < 1 or (windows and in_sample_bars < 1):
        raise ConfigError(
            "windows and permutations must be 0 or more, workers and in-sample bars 1 or more; got "
            f"{windows} windows of {in_sample_bars} bars, {permutations} permutations and {workers} workers."
        )
    lengths = profile.length_speeds
    plain = _over_bars([(length.bars, length.replay.fastest) for length in lengths], bars)
    whole = _batch_search(profile, search, bars)
    apart = search.backend in ("processes", "ray") or (workers > 1 and permutations >= _WORTH_PROCESSES)
    start = _PROCESS_START * profile.loading_seconds.get("AUTO", 0.0) if apart else 0.0
    crew = workers if apart else 1
    # Shuffled markets are never put on record, and each is searched on one thread, wherever that is.
    shuffled = _on_one_thread(profile, whole) - whole.books
    walked, begun = 0.0, 0
    if windows:
        window = _batch_search(profile, search, in_sample_bars)
        begun = min(windows, crew)
        own = _on_one_thread(profile, window) if apart else window.known
        walked = start + windows * own / begun + windows * _TRADED * plain
    permuted = 0.0
    if permutations:
        late = crew - begun  # processes that are started now
        permuted = whole.known - whole.books + (permutations * shuffled + late * start) / crew
    trials = sum(trials_of(_as_batch_search(search), stage) for stage in STAGES)
    unit = _thread_nanoseconds(profile, 1) / 1e9
    others = _batch_search(profile, search, bars, first=first).known + plain
    others += min(trials, MOST_TRIALS) * (_JUDGED + _JUDGED_PER_BAR * bars) * unit
    others += windows * _WORLDS * _REPLANNED * plain
    others += len(JITTERS) * sum(rows_seconds(profile.batch_speeds, _JITTERED_ROWS, bars, (1.0,)))
    others += _RESAMPLED_PER_BAR * bars * unit
    return {"walk-forward": walked, "permutations": permuted, "others": others}


def _as_batch_search(search: OptimizationConfig) -> OptimizationConfig:
    return search.replace(optuna_sampler="AUTO")


def _batch_search(profile: HardwareProfile, search: OptimizationConfig, bars: int, *, first: bool = False) -> Estimate:
    """The three stages of the batch search, without the neighbours of their result."""
    search = _as_batch_search(search)
    return estimate(
        profile,
        bars=bars,
        sampler="AUTO",
        trials_by_stage=[trials_of(search, stage) for stage in STAGES],
        levels=_rungs(search, bars),
        neighbours=0,
        first=first,
    )


def _on_one_thread(profile: HardwareProfile, search: Estimate) -> float:
    """Seconds of a search whose kernel has one thread instead of those of the profile."""
    slower = max(1.0, _thread_nanoseconds(profile, 1) / _thread_nanoseconds(profile, profile.threads))
    return search.known + search.kernel * (slower - 1.0)


def _thread_nanoseconds(profile: HardwareProfile, threads: int) -> float:
    """Nanoseconds per bar and row with so many threads, or the nearest number that was timed."""
    return min(profile.thread_speeds, key=lambda speed: abs(speed.threads - threads)).best_nanoseconds


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


def _search(profile: HardwareProfile, name: str, objectives: int, trials: int) -> tuple[float | None, float]:
    """(seconds a sampler thinks, batches) for so many trials; beyond the longest that was timed, a power law.

    None where the sampler was not timed with so many objectives.
    """
    timed = [speed for speed in profile.sampler_speeds if (speed.sampler, speed.objectives) == (name, objectives)]
    if not timed:
        return None, float(math.ceil(trials / _UNKNOWN_BATCH))
    known = sorted(timed, key=lambda speed: speed.trials)
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
