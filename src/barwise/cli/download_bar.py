"""How far a download is, for commands without a display of stages: a bar on stderr, or now and then a line in the log.

What a venue is asked for can take a second or an hour, and every command that needs candles may have to ask. Where
nothing is missing nobody is asked, and nothing is drawn.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from barwise.cli.live import LOG_EVERY_S, clock_text
from barwise.cli.options import Session

if TYPE_CHECKING:
    from barwise.exchange.download import Progress

logger = logging.getLogger(__name__)

# Takes what is downloaded, such as "BINANCE BTCUSDT 1H", and how far that is.
Tell: TypeAlias = "Callable[[str, Progress], None]"


@contextmanager
def shown_download(session: Session) -> Iterator[Tell]:
    """Who is told about downloads, as long as this lasts. JSON documents have no progress in them; stderr may have."""
    if session.quiet:
        yield _nobody
    elif sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        yield _Logged()


def _nobody(label: str, progress: "Progress") -> None:
    """Nobody listens."""


class _Logged:
    """A line, if the last one is long enough ago."""

    def __init__(self) -> None:
        self._next = perf_counter() + LOG_EVERY_S

    def __call__(self, label: str, progress: "Progress") -> None:
        now = perf_counter()
        if now >= self._next:
            self._next = now + LOG_EVERY_S
            logger.info("%s: %.0f %%, %s", label, 100.0 * progress.share, _told(progress))


@contextmanager
def _bars() -> Iterator[Tell]:
    """A bar for each download, from its first page on."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Page

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Page(*columns, console=Console(stderr=True), transient=True) as page:
        tasks: dict[str, Any] = {}

        def tell(label: str, progress: "Progress") -> None:
            if label not in tasks:
                tasks[label] = page.add_task(label, total=1.0, told="")
            page.update(tasks[label], completed=progress.share, told=_told(progress))

        yield tell


def _told(progress: "Progress") -> str:
    parts = [f"{progress.rows:,} rows", f"{progress.requests:,} requests"]
    if progress.eta_seconds is not None:
        parts.append(f"{clock_text(progress.eta_seconds)} left")
    if progress.limit_used is not None:
        parts.append(f"limit {progress.limit_used:.0%}")
    return ", ".join(parts)
