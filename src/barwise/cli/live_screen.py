"""The display of a run on a terminal: finished stages scroll away above, the one at work is redrawn below them.

It is drawn by a thread that looks eight times a second, so that a stage pays nothing for being watched: a tick only
leaves its numbers where the thread finds them. What was finished is printed once and stays, whatever happens after it;
log lines go above the part that is redrawn, and Ctrl-C leaves a line that says where the run was.
"""

import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from barwise.cli.live import Course, best_text, clock_text, count_text, print_plan, span_text
from barwise.obs import redact

if TYPE_CHECKING:
    from barwise.pipeline.view import PlannedStage, Tick
    from barwise.report.findings import StageDone

REFRESHES_PER_SECOND = 8.0
_FINDINGS = 3
# A line across a very wide screen is hard to read.
_WIDEST = 120
_BAR, _NARROWEST_BAR = 24, 6
_NAME, _SHORT_NAME = 14, 10


class _Signs(NamedTuple):
    """What is drawn with."""

    done: str
    skipped: str
    stopped: str
    full: str
    empty: str
    dots: str
    point: str


_SIGNS = _Signs("✓", "-", "✗", "█", "░", "…", "•")
_PLAIN = _Signs("+", "-", "!", "#", ".", "...", "*")


class Screen:
    """A view on a terminal; a context manager, because the terminal must be left as it was.

    Args:
        console: On the terminal.
        explain: Where the lines of the plan go instead, with the reasons.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        console: Console,
        explain: Callable[[str], object] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._console, self._explain = console, explain
        self._course = Course(clock)
        self._signs = _SIGNS if _writes(console, "".join(_SIGNS)) else _PLAIN
        self._findings: tuple[str, ...] = ()
        self._ended = False
        self._stopped = ""
        self.frames = 0
        self._region = _Region(
            self,
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            # What a pipe reads must not land on the terminal.
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        self._ended = True
        if not self._region.is_started:
            return
        try:
            self._region.stop()
        finally:
            self._console.show_cursor(True)

    def planned(self, stages: tuple["PlannedStage", ...]) -> None:
        """The plan as a table."""
        self._course.plan(stages)
        if self._explain is not None:
            print_plan(stages, self._explain, explain=True)
            return
        self._print(Text(""))
        print_plan(stages, lambda line: self._print(self._line((line, ""))))
        self._print(Text(""))

    def begun(self, number: str, name: str, market: str) -> None:
        """From now on it is drawn."""
        self._course.begin(number, name, market)
        self._region.start()

    def tick(self, tick: "Tick") -> None:
        """The thread that draws will see it."""
        self._course.advance(tick)

    def finding(self, text: str) -> None:
        """One more below the stage at work, where there is room for three."""
        self._findings = (*self._findings, redact(text))[-_FINDINGS:]

    def done(self, stage: "StageDone") -> None:
        """A line that stays."""
        self._course.finish(stage)
        style = {"done": "", "kept": "dim", "skipped": "yellow"}[stage.state]
        sign = self._signs.skipped if stage.state == "skipped" else self._signs.done
        name = _NAME if self._width >= 60 else _SHORT_NAME
        time = span_text(stage.seconds) if stage.state == "done" else stage.state
        market = f"{stage.market}  " if stage.market else ""
        self._print(
            self._line(
                (f"{sign} ", style or "green"),
                (f"{stage.number:<4} ", style),
                (f"{self._cut(stage.name, name)} ", style),
                (f"{time:>7}  ", style or "dim"),
                (f"{market}{redact(stage.text)}", style),
            )
        )

    # -- Drawing -------------------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        self.frames += 1
        drawn = self._at_work()
        for text in self._findings:
            finding = f"{self._signs.point} {text}"
            # What is not drawn again can take as many rows as it needs.
            drawn.append(Text(self._clean(finding)) if self._ended else self._line((finding, "")))
        self._region.remember([line.cell_len for line in drawn])
        yield from drawn

    def _at_work(self) -> list[Text]:
        """The lines of the stage at work; where the run ended in the middle of it, the one that says so."""
        course = self._course
        work, tick = course.at_work, course.tick
        if work is None:
            return []
        title = f"{work.number} {work.name}{f'  {work.market}' if work.market else ''}"
        count = "" if tick is None else count_text(tick)
        if self._stopped:
            after = f"  {self._stopped} after {clock_text(course.elapsed)}"
            return [
                self._line((f"{self._signs.stopped} {title}", "red"), (f"{after}, at {count}" if count else after, ""))
            ]
        step, run = course.step_left, course.run_left
        times = f"  {clock_text(course.elapsed)}" + (f", {run} to go" if run and str(run) else "")
        lines = [self._line((f"  {title}", "bold"), (times, "dim"))]
        if tick is not None:
            room = self._width - len(count) - 16
            bar = self._bar(tick, max(_NARROWEST_BAR, min(_BAR, room))) + " " if tick.total > 1 else ""
            lines.append(
                self._line(
                    (f"  {bar}", "cyan"),
                    (count, ""),
                    ("" if step is None else f"  {clock_text(step)} left", "dim"),
                )
            )
            about = "  ".join(filter(None, (best_text(tick), tick.text)))
            if about:
                lines.append(self._line((f"  {about}", "")))
        return lines

    def _bar(self, tick: "Tick", width: int) -> str:
        share = min(1.0, max(0.0, tick.done / tick.total)) if tick.total > 0 else 0.0
        full = int(share * width)
        return self._signs.full * full + self._signs.empty * (width - full)

    @property
    def _width(self) -> int:
        """Cells of a line: one less than the terminal has, because some of them break a line that fills it."""
        return max(1, min(self._console.width - 1, _WIDEST))

    def _line(self, *parts: tuple[str, str]) -> Text:
        """One line that fits, whatever stands in it."""
        line, left = Text(no_wrap=True, overflow="ignore"), self._width
        for text, style in parts:
            clean = self._clean(text)
            if cell_len(clean) > left:
                line.append(self._cut(clean, left), style)
                break
            line.append(clean, style)
            left -= cell_len(clean)
        line.rstrip()
        return line

    def _clean(self, text: str) -> str:
        """A text without line ends and control codes, in characters that the terminal has."""
        clean = "".join(letter if letter.isprintable() else " " for letter in text)
        return clean if _writes(self._console, clean) else clean.encode("ascii", "replace").decode()

    def _cut(self, text: str, width: int) -> str:
        """A text in exactly so many cells."""
        dots = self._signs.dots
        if cell_len(text) <= width:
            return set_cell_size(text, width)
        return set_cell_size(text, max(0, width - len(dots))) + dots[:width]

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ignore", crop=True)


class _Region(Live):
    """The part that is redrawn, on terminals that break the lines they have when they get narrower."""

    def __init__(self, owner: Screen, **settings: Any) -> None:
        self._lengths: list[int] = []
        super().__init__(owner, **settings)

    def remember(self, lengths: list[int]) -> None:
        """The cells of each line that is being drawn."""
        self._lengths = lengths

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """As in `Live`; rows that lines have been broken into since they were drawn are taken away too."""
        processed = super().process_renderables(renderables)
        width = max(1, self.console.width)
        broken = sum(max(0, -(-length // width) - 1) for length in self._lengths)
        if broken:
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * broken
            processed.insert(1, Control(*up))
        return processed


def _writes(console: Console, text: str) -> bool:
    """Whether the terminal's encoding has these characters."""
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
