"""The trail of a run from its first line to its last, held by one process: of one market, or over several of them.

Whoever looks at the file and at the lock knows how it is with a run, however its process ended.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from barwise.checkpoints import RunLock
from barwise.pipeline.view import PlannedStage
from barwise.trail import ENDING, Trail


@contextmanager
def run_trail(
    name: str, home: Path, market: str, *, fresh: bool = False, first: Callable[[], object] = lambda: None
) -> Iterator[Trail]:
    """The trail of a run that begins, or goes on; an error that ends the block is its last line.

    Args:
        name: Of the run.
        home: Where the files go.
        market: What it runs on, for people.
        fresh: Begin the trail anew; the one before it stays beside it.
        first: Done before the first line, when no other process can be at this very run.

    Raises:
        CheckpointError: Another process is at this very run, or the trail cannot be written.
    """
    path = home / "data" / "results" / f"{name}{ENDING}"
    with RunLock(home / "data" / "checkpoints" / f"{name}.lock", f"barwise run, {name}"):
        first()
        if fresh:
            _put_aside(path)
        with Trail(path, run=name) as trail:
            trail.say("run_resumed" if trail.events else "run_begun", market=market)
            try:
                yield trail
            except BaseException as error:
                kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                trail.say(kind, reason=f"{type(error).__name__}: {error}")
                raise


def say_plan(trail: Trail, plan: Iterable[PlannedStage], runs: dict[str, str]) -> None:
    """What is going to be done, and how long it will take by estimate, for those who watch a run over several markets.

    Args:
        trail: Of the run over all of them.
        plan: Of all markets.
        runs: The name of each market's run by its label.
    """
    trail.say(
        "planned",
        stages=[
            {"market": runs[line.market], "stage": line.number, "name": line.name, "seconds": line.seconds}
            for line in plan
        ],
    )


def _put_aside(trail: Path) -> None:
    if not trail.exists():
        return
    stem, count = trail.name.removesuffix(ENDING), 1
    while (aside := trail.with_name(f"{stem}.{count}{ENDING}")).exists():
        count += 1
    trail.replace(aside)
