"""What is seen of a run while it runs: a display for a person, lines for a log, JSON lines for a program.

A run can take a second or a night, and somebody who cannot tell the two apart stops it. So the plan comes first, with
its times, and then where the run stands and how long the rest should take:

    --json            JSON lines on stdout, each an object with "event": plan | stage | progress | finding | stage_done;
                      progress at most eight times a second, and always the end of what is counted
    --quiet           nothing but errors
    on a terminal     finished stages stay as lines, the stage at work is drawn below them, all of it on stderr
    elsewhere         log lines: the plan, every finished stage, and every ten seconds at most how far it is

The time left is what was estimated for the stages to come, times what the finished ones took for each estimated second;
so it gets better as the run goes on. "at least" stands before it where a stage cannot be estimated.
"""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from barwise.cli.options import Session, quiet_searches, table_lines
from barwise.obs import redact

if TYPE_CHECKING:
    from rich.console import Console

    from barwise.pipeline.view import PlannedStage, Tick, View
    from barwise.report.findings import StageDone

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
_JSON_EVERY_S = 0.125
# Seconds of an estimate that came true, as if they had been seen before: one short stage says little about the rest.
_BELIEVED_S = 1.0
_USED_UP_S = 0.5


@contextmanager
def shown(session: Session, *, explain: bool = False) -> Iterator["View"]:
    """The view that fits a session, as long as its run lasts; see the module.

    Args:
        session: How the command may speak.
        explain: The plan is what was asked for: it goes to stdout, with the reason of each stage.
    """
    with quiet_searches(), _view_of(session, session.say if explain else None) as view:
        yield view


@contextmanager
def _view_of(session: Session, explain: "Callable[[str], object] | None") -> Iterator["View"]:
    if session.as_json:
        yield JsonLines()
    elif session.quiet:
        from barwise.pipeline.view import Silent

        yield Silent()
    elif (console := _terminal()) is not None:
        from barwise.cli.live_screen import Screen

        with Screen(console, explain) as screen:
            yield screen
    else:
        yield Logged(explain)


def _terminal() -> "Console | None":
    """A console on stderr where that is a terminal that can move its cursor."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return console if console.is_terminal and console.is_interactive and not console.is_dumb_terminal else None


# -- The plan ----------------------------------------------------------------------------------------------------------


def print_plan(stages: Sequence["PlannedStage"], write: Callable[[str], object], *, explain: bool = False) -> None:
    """Print a plan line by line: stage, name, time and what it will do, by market where there are several, and the sum.

    Args:
        stages: In the order they will run.
        write: Takes a line without its end, such as `Session.say`.
        explain: Also why each stage will run, or why it need not.
    """
    for line in plan_lines(stages, explain=explain):
        write(line)


def plan_lines(stages: Sequence["PlannedStage"], *, explain: bool = False) -> list[str]:
    """The lines of `print_plan`."""
    groups = _by_market(stages)
    heads = ("stage", "name", "time", "what it will do", *(("why",) if explain else ()))
    rows = []
    for stage in (stage for group in groups.values() for stage in group):
        time = "kept" if stage.kept else "?" if stage.seconds is None else span_text(stage.seconds)
        row = (stage.number, stage.name, time, "nothing to do" if stage.kept else stage.text)
        rows.append((*row, stage.reason) if explain else row)
    time, rest = _sum_of(stages)
    rows.append(("", "in all", time, rest, *(("",) if explain else ())))
    head, *body, last = table_lines(heads, rows, frozenset({2}))
    lines = iter(body)
    found = [head]
    for market, group in groups.items():
        if len(groups) > 1:
            found.append(f"{market or 'all markets'}: {_group_text(group)}")
        found += [next(lines) for _ in group]
    return [*found, last]


def _by_market(stages: Iterable["PlannedStage"]) -> dict[str, list["PlannedStage"]]:
    groups: dict[str, list[PlannedStage]] = {}
    for stage in stages:
        groups.setdefault(stage.market, []).append(stage)
    return groups


def _sum_of(stages: Sequence["PlannedStage"]) -> tuple[str, str]:
    """The estimated time of all stages, and what it does not contain."""
    unknown = sum(stage.seconds is None and not stage.kept for stage in stages)
    seconds = sum(stage.seconds or 0.0 for stage in stages if not stage.kept)
    return span_text(seconds), f"and {unknown} {_stages(unknown)} that cannot be estimated" if unknown else ""


def _group_text(stages: Sequence["PlannedStage"]) -> str:
    """`9 stages, 2 kept, 35 s`."""
    kept = sum(stage.kept for stage in stages)
    time, rest = _sum_of(stages)
    parts = (f"{len(stages)} {_stages(len(stages))}", f"{kept} kept" if kept else "", time, rest)
    return ", ".join(part for part in parts if part)


def _stages(count: int) -> str:
    return "stage" if count == 1 else "stages"


def span_text(seconds: float) -> str:
    """A length of time that was estimated or taken: `0.4 s`, `35 s`, `12 min`, `3.2 h`."""
    for limit, unit, name in ((99.5, 1.0, "s"), (99.5 * 60.0, 60.0, "min")):
        if seconds < limit:
            amount = seconds / unit
            return f"{amount:.{1 if amount < 9.95 else 0}f} {name}"
    return f"{seconds / 3600.0:,.1f} h"


def clock_text(seconds: float) -> str:
    """A time as it counts: `0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# -- Where a run stands ------------------------------------------------------------------------------------------------


_Line = tuple[str, str, str]  # number, name and market of a planned stage


class AtWork(NamedTuple):
    """The stage at work, and since when."""

    number: str
    name: str
    market: str
    began: float


def _lines_of(planned: Iterable[_Line], number: str, name: str, market: str) -> list[_Line]:
    """The planned lines that a stage works off: its own, and those of its number that stand before it."""
    own = [line for line in planned if (line[0], line[2]) == (number, market)]
    names = [line[1] for line in own]
    return own[: names.index(name) + 1] if name in names else own


class Left(NamedTuple):
    """Seconds until the run is done; `least` where something in it cannot be estimated.

    As text nothing where the estimates are used up: what takes longer than that has no time that could be told.
    """

    seconds: float
    least: bool

    def __str__(self) -> str:
        if self.seconds < _USED_UP_S:
            return ""
        return f"{'at least ' if self.least else ''}{clock_text(self.seconds)}"


class Course:
    """Where a run stands: what is to come, what is at work, and how the estimates have done so far.

    A tick costs a few stores and a look at the clock; everything else is worked out when somebody asks, which may be in
    another thread than the one that works: what is asked for is read once.

    Attributes:
        at_work: The stage at work; None between stages.
        tick: The last tick of it.
        ticked: When that was.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock = clock
        self.at_work: AtWork | None = None
        self.tick: Tick | None = None
        self.ticked = 0.0
        self._to_come: dict[_Line, float | None] = {}
        self._foreseen = self._spent = _BELIEVED_S
        self._step, self._step_began, self._step_from = "", 0.0, 0

    def plan(self, stages: Iterable["PlannedStage"]) -> None:
        """These stages are to come."""
        self._to_come = {
            (stage.number, stage.name, stage.market): 0.0 if stage.kept else stage.seconds for stage in stages
        }

    def begin(self, number: str, name: str, market: str) -> None:
        """A stage is at work."""
        self.tick, self._step = None, ""
        self.at_work = AtWork(number, name, market, self.clock())

    def advance(self, tick: "Tick") -> float:
        """It has come further; returns the time."""
        now = self.ticked = self.clock()
        if tick.step != self._step:
            self._step, self._step_began, self._step_from = tick.step, now, tick.done
        self.tick = tick
        return now

    def finish(self, stage: "StageDone") -> None:
        """A stage has ended."""
        key = (stage.number, stage.name, stage.market)
        foreseen = [self._to_come.pop(line) for line in _lines_of(self._to_come, *key)]
        if foreseen and None not in foreseen and stage.state == "done":
            self._foreseen += sum(filter(None, foreseen))
            self._spent += stage.seconds
        if self.at_work is not None and self.at_work[:3] == key:
            self.at_work = self.tick = None

    @property
    def elapsed(self) -> float:
        """Seconds that the stage at work has taken."""
        work = self.at_work
        return 0.0 if work is None else self.clock() - work.began

    @property
    def step_left(self) -> float | None:
        """Seconds until the step is done: as the stage says, else at the pace so far; None where nobody knows."""
        tick, now = self.tick, self.clock()
        if tick is None:
            return None
        left, made = tick.eta_seconds, tick.done - self._step_from
        if left is None and tick.done >= tick.total:
            left = 0.0
        if left is None and made > 0:
            left = (self.ticked - self._step_began) / made * (tick.total - tick.done)
        return None if left is None or not math.isfinite(left) else max(0.0, left - (now - self.ticked))

    @property
    def run_left(self) -> Left | None:
        """Until the run is done; None where not even a plan is known."""
        work, to_come = self.at_work, dict(self._to_come)
        if not to_come:
            return None
        factor = self._spent / self._foreseen
        seconds, least = 0.0, False
        if work is not None:
            own, step = [to_come.pop(line) for line in _lines_of(to_come, *work[:3])], self.step_left
            least = step is None and (not own or None in own)
            seconds = max(factor * sum(filter(None, own)) - (self.clock() - work.began), step or 0.0)
        least = least or None in to_come.values()
        return Left(seconds + factor * sum(filter(None, to_come.values())), least)


def count_text(tick: "Tick") -> str:
    """`12/99 shuffled markets`; of what is done in one go only what it is."""
    return f"{tick.done:,}/{tick.total:,} {tick.step}" if tick.total > 1 else tick.step


def best_text(tick: "Tick") -> str:
    """`sharpe ratio 1.234 at best`, or nothing."""
    if tick.best is None or not math.isfinite(tick.best):
        return ""
    return f"{tick.best_name.replace('_', ' ')} {tick.best:,.4g} at best".strip()


# -- For a log and for programs ----------------------------------------------------------------------------------------


class Logged:
    """Lines in the log: the plan, each finished stage, and now and then how far the one at work is.

    Args:
        explain: Where the lines of the plan go instead, with the reasons.
        clock: Seconds that only go up.
    """

    def __init__(
        self, explain: Callable[[str], object] | None = None, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._explain = explain
        self._course = Course(clock)
        self._next = clock() + LOG_EVERY_S

    def planned(self, stages: tuple["PlannedStage", ...]) -> None:
        """The whole plan, or one line per market."""
        self._course.plan(stages)
        if self._explain is not None:
            print_plan(stages, self._explain, explain=True)
            return
        groups = _by_market(stages)
        if len(groups) == 1:
            print_plan(stages, lambda line: logger.info("%s", line))
            return
        for market, group in groups.items():
            logger.info("plan: %s: %s", market or "all markets", _group_text(group))
        logger.info("plan: in all %s", ", ".join(filter(None, _sum_of(stages))))

    def begun(self, number: str, name: str, market: str) -> None:
        """Its progress will be said, if it takes that long."""
        self._course.begin(number, name, market)

    def tick(self, tick: "Tick") -> None:
        """A line, if the last one is long enough ago."""
        now = self._course.advance(tick)
        if now < self._next:
            return
        self._next = now + LOG_EVERY_S
        work, step, run = self._course.at_work, self._course.step_left, self._course.run_left
        parts = (
            count_text(tick),
            best_text(tick),
            tick.text,
            "" if step is None else f"{clock_text(step)} left of them",
            f"{run} of the run" if run and str(run) else "",
        )
        logger.info(
            "%s%s",
            "" if work is None else f"stage {' '.join(filter(None, work[:3]))}: ",
            ", ".join(part for part in parts if part),
        )

    def finding(self, text: str) -> None:
        """A line."""
        logger.info("%s", text)

    def done(self, stage: "StageDone") -> None:
        """A line."""
        self._course.finish(stage)
        logger.info(
            "stage %-4s %-13s %s%s  (%s)",
            stage.number,
            stage.name,
            f"{stage.market}: " if stage.market else "",
            stage.text,
            f"{stage.seconds:.2f} s" if stage.state == "done" else stage.state,
            extra={"stage": stage.number, "seconds": stage.seconds, "state": stage.state},
        )


class JsonLines:
    """An object a line on stdout, each written at once; what is not a finite number is null."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._number = self._name = self._market = ""
        self._step, self._done, self._next = "", -1, -math.inf

    def planned(self, stages: tuple["PlannedStage", ...]) -> None:
        """The plan with the sum of its estimates."""
        known = [stage.seconds or 0.0 for stage in stages]
        _write("plan", stages=[vars(stage) for stage in stages], seconds=sum(known))

    def begun(self, number: str, name: str, market: str) -> None:
        """Which one."""
        self._number, self._name, self._market = number, name, market
        self._step = ""
        _write("stage", number=number, name=name, market=market)

    def tick(self, tick: "Tick") -> None:
        """The tick, where it is the first of its step, the last, or the last written one is long enough ago."""
        now = self._clock()
        ends = tick.done >= tick.total and tick.done != self._done
        if tick.step == self._step and not ends and now < self._next:
            return
        self._step, self._done, self._next = tick.step, tick.done, now + _JSON_EVERY_S
        _write("progress", number=self._number, name=self._name, market=self._market, **vars(tick))

    def finding(self, text: str) -> None:
        """The sentence."""
        _write("finding", text=text)

    def done(self, stage: "StageDone") -> None:
        """The stage with what came out."""
        _write("stage_done", **vars(stage))


def _write(event: str, **content: Any) -> None:
    clean = {name: _shown(value) for name, value in content.items()}
    sys.stdout.write(json.dumps({"event": event, **clean}, allow_nan=False) + "\n")
    sys.stdout.flush()


def _shown(value: Any) -> Any:
    """The value as JSON knows it, without credentials: a stage may say what a venue has answered."""
    if isinstance(value, str):
        return redact(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
