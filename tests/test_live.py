"""What is seen of a run: the plan, the time left, lines of a log and of JSON, and the display on a terminal."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from barwise.cli.live import Course, JsonLines, Logged, clock_text, plan_lines, print_plan, shown, span_text
from barwise.cli.live_screen import Screen
from barwise.cli.options import Session
from barwise.obs import close_logging, configure_logging
from barwise.pipeline.view import PlannedStage, Silent, Tick
from barwise.report.findings import StageDone
from tests.terminal import Terminal, rows_of

PLAN = (
    PlannedStage("5", "baseline", "one backtest", 0.0, kept=True, reason="kept from before"),
    PlannedStage("7.1", "integers", "1,500 trials", 10.0, reason="seed has changed"),
    PlannedStage("8", "walk-forward", "15 windows", 10.0, reason="7.1 will change"),
    PlannedStage("8", "verdict", "overfitting", 20.0, reason="7.1 will change"),
)
BASELINE = StageDone("5", "baseline", "22 trades", 0.3, "kept")
INTEGERS = StageDone("7.1", "integers", "Sharpe 1.38", 21.0)
VERDICT = StageDone("8", "verdict", "UNPROVEN", 30.0)


class Clock:
    """Seconds that go up when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def trials(done: int, **changes: Any) -> Tick:
    return replace(Tick("trials", done, 100), **changes)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the package logs, as text."""
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, package = Kept(), logging.getLogger("barwise")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    yield found
    package.removeHandler(handler)
    package.setLevel(logging.NOTSET)


class TestPlan:
    def test_a_plan_is_an_aligned_table_with_its_sum(self) -> None:
        assert plan_lines(PLAN) == [
            "stage  name          time  what it will do",
            "5      baseline      kept  nothing to do",
            "7.1    integers      10 s  1,500 trials",
            "8      walk-forward  10 s  15 windows",
            "8      verdict       20 s  overfitting",
            "       in all        40 s",
        ]

    def test_what_cannot_be_estimated_is_said_and_not_counted_as_nothing(self) -> None:
        *_, line, last = plan_lines((*PLAN, PlannedStage("9", "report", "everything", None)))
        assert line.split() == ["9", "report", "?", "everything"]
        assert last.split() == ["in", "all", "40", "s", "and", "1", "stage", "that", "cannot", "be", "estimated"]

    def test_an_explained_plan_says_of_every_stage_why(self) -> None:
        written: list[str] = []
        print_plan(PLAN, written.append, explain=True)
        assert written[0].endswith("why")
        for line, stage in zip(written[1:-1], PLAN, strict=True):
            assert line.endswith(stage.reason)
            assert line.index(stage.reason) == written[0].index("why")

    def test_several_markets_are_groups_with_their_own_sums(self) -> None:
        both = [replace(stage, market=market) for market in ("BTC", "ETH") for stage in PLAN]
        found = plan_lines(both[::2] + both[1::2])
        assert [line for line in found if line.endswith("1 kept, 40 s")] == [
            "BTC: 4 stages, 1 kept, 40 s",
            "ETH: 4 stages, 1 kept, 40 s",
        ]
        assert len(found) == 1 + 2 * (1 + 4) + 1
        assert found[-1].split()[-2:] == ["80", "s"]
        first = found.index("BTC: 4 stages, 1 kept, 40 s")
        assert {line.split()[0] for line in found[first + 1 : first + 5]} == {"5", "7.1", "8"}

    @pytest.mark.parametrize(
        ("seconds", "span", "clock"),
        [(0.04, "0.0 s", "0:00"), (9.94, "9.9 s", "0:10"), (9.96, "10 s", "0:10"), (99.4, "99 s", "1:39"),
         (99.6, "1.7 min", "1:40"), (3_599.6, "60 min", "1:00:00"), (7_384.0, "2.1 h", "2:03:04")],
    )  # fmt: skip
    def test_times_are_written_in_a_unit_that_fits(self, seconds: float, span: str, clock: str) -> None:
        assert span_text(seconds) == span
        assert clock_text(seconds) == clock


def left(course: Course) -> tuple[Any, bool] | None:
    found = course.run_left
    return None if found is None else (found.seconds, found.least)


class TestTimeLeft:
    def course(self) -> tuple[Course, Clock]:
        clock = Clock()
        course = Course(clock)
        course.plan(PLAN[1:])
        return course, clock

    def test_before_anything_is_known_it_is_the_sum_of_the_estimates(self) -> None:
        course, _ = self.course()
        assert left(course) == (40.0, False)

    def test_estimates_are_corrected_by_how_they_have_done_so_far(self) -> None:
        course, _ = self.course()
        course.finish(INTEGERS)  # 21 s where 10 were foreseen, and one second that is believed beforehand
        assert left(course) == (pytest.approx(30.0 * 22.0 / 11.0), False)

    def test_a_stage_that_was_kept_or_skipped_says_nothing_about_estimates(self) -> None:
        course, _ = self.course()
        course.finish(replace(INTEGERS, state="kept"))
        assert left(course) == (30.0, False)
        course.finish(replace(VERDICT, state="skipped"))
        assert left(course) is None

    def test_what_the_stage_at_work_has_taken_is_not_to_come_again(self) -> None:
        course, clock = self.course()
        course.begin("7.1", "integers", "")
        clock.now += 4.0
        assert left(course) == (36.0, False)
        clock.now += 60.0  # longer than foreseen: the rest is still to come
        assert left(course) == (30.0, False)

    def test_a_stage_works_off_the_planned_lines_of_its_number_up_to_its_own(self) -> None:
        course, clock = self.course()
        course.finish(INTEGERS)
        course.begin("8", "verdict", "")
        clock.now += 6.0
        assert left(course) == (pytest.approx(60.0 - 6.0), False)
        course.finish(VERDICT)
        assert left(course) is None
        early, _ = self.course()
        early.finish(replace(VERDICT, name="walk-forward", seconds=10.0))
        assert left(early) == (pytest.approx(30.0), False)

    def test_the_same_stage_of_another_market_is_still_to_come(self) -> None:
        course = Course(Clock())
        course.plan([replace(PLAN[1], market=market) for market in ("BTC", "ETH")])
        course.finish(replace(INTEGERS, market="BTC", seconds=10.0))
        assert left(course) == (10.0, False)

    def test_what_cannot_be_estimated_makes_it_a_least_time(self) -> None:
        course = Course(Clock())
        course.plan((*PLAN, PlannedStage("9", "report", "everything", None)))
        assert left(course) == (40.0, True)
        assert str(course.run_left) == "at least 0:40"

    def test_no_time_is_told_once_the_estimates_are_used_up(self) -> None:
        course, clock = self.course()
        course.finish(INTEGERS)
        course.begin("8", "verdict", "")
        clock.now += 59.0
        assert str(course.run_left) == "0:01"
        clock.now += 1.0
        assert str(course.run_left) == ""

    def test_a_step_is_timed_by_its_pace_where_the_stage_does_not_say(self) -> None:
        course, clock = self.course()
        course.begin("7.1", "integers", "")
        course.advance(trials(20))  # these were there already
        assert course.step_left is None
        clock.now += 5.0
        course.advance(trials(30))
        assert course.step_left == pytest.approx(70 * 0.5)
        clock.now += 3.0
        assert course.step_left == pytest.approx(70 * 0.5 - 3.0)
        course.advance(trials(31, eta_seconds=7.0))
        assert course.step_left == 7.0
        course.advance(Tick("windows", 1, 9))
        assert course.step_left is None

    def test_a_step_that_takes_longer_than_the_estimate_is_believed(self) -> None:
        course, _ = self.course()
        course.begin("7.1", "integers", "")
        course.advance(trials(10, eta_seconds=100.0))
        assert left(course) == (130.0, False)


class TestLog:
    def test_progress_is_said_every_ten_seconds_and_not_more_often(self, lines: list[str]) -> None:
        clock = Clock()
        view = Logged(clock=clock)
        view.planned(PLAN)
        view.begun("7.1", "integers", "")
        lines.clear()
        for done in range(1, 101):
            clock.now += 0.5
            view.tick(trials(done, best=1.25, best_name="sharpe_ratio"))
        assert len(lines) == 5
        assert lines[0] == (
            "stage 7.1 integers: 20/100 trials, sharpe ratio 1.25 at best, 0:40 left of them, 1:10 of the run"
        )

    def test_a_plan_is_its_table_or_a_line_for_each_of_several_markets(self, lines: list[str]) -> None:
        Logged().planned(PLAN)
        assert lines == plan_lines(PLAN)
        lines.clear()
        Logged().planned(tuple(replace(stage, market=market) for market in ("BTC", "ETH") for stage in PLAN))
        assert lines == ["plan: BTC: 4 stages, 1 kept, 40 s", "plan: ETH: 4 stages, 1 kept, 40 s", "plan: in all 80 s"]

    def test_every_finished_stage_is_a_line_that_says_how_it_ended(self, lines: list[str]) -> None:
        view = Logged()
        for stage in (BASELINE, replace(INTEGERS, market="BTC"), replace(VERDICT, state="skipped", text="too short")):
            view.done(stage)
        assert lines == [
            "stage 5    baseline      22 trades  (kept)",
            "stage 7.1  integers      BTC: Sharpe 1.38  (21.00 s)",
            "stage 8    verdict       too short  (skipped)",
        ]


class TestJson:
    def test_every_line_is_an_object_that_says_what_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        view = JsonLines()
        view.planned(PLAN)
        view.begun("7.1", "integers", "BTC")
        view.tick(trials(1, best=float("nan"), best_name="sharpe_ratio", eta_seconds=float("inf")))
        view.finding("it loses money")
        view.done(INTEGERS)
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["event"] for one in found] == ["plan", "stage", "progress", "finding", "stage_done"]
        plan, stage, progress, finding, done = found
        assert (plan["seconds"], len(plan["stages"]), plan["stages"][0]["kept"]) == (40.0, 4, True)
        assert (stage["number"], stage["market"]) == ("7.1", "BTC")
        assert (progress["step"], progress["done"], progress["best"], progress["eta_seconds"]) == (
            "trials",
            1,
            None,
            None,
        )
        assert (progress["number"], progress["name"]) == ("7.1", "integers")
        assert finding["text"] == "it loses money"
        assert done == {"event": "stage_done", **vars(INTEGERS)}

    def test_a_hundred_thousand_ticks_in_a_moment_are_their_first_and_their_last(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = Clock()
        view = JsonLines(clock)
        view.begun("7.1", "integers", "")
        for done in range(1, 100_001):
            view.tick(Tick("trials", done, 100_000))
        view.tick(Tick("trials", 100_000, 100_000))
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["done"] for one in found[1:]] == [1, 100_000]
        clock.now += 0.2
        view.tick(Tick("windows", 0, 9))
        assert json.loads(capsys.readouterr().out)["step"] == "windows"

    def test_credentials_are_taken_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        JsonLines().finding("https://x/y?signature=abcdef0123456789")
        assert "abcdef0123456789" not in capsys.readouterr().out


class TestChoice:
    @pytest.mark.parametrize(
        ("as_json", "quiet", "kind"), [(True, False, JsonLines), (False, True, Silent), (False, False, Logged)]
    )
    def test_the_view_is_the_one_of_the_session(self, as_json: bool, quiet: bool, kind: type) -> None:
        with shown(Session(Path(), as_json, quiet)) as view:
            assert type(view) is kind

    def test_searches_do_not_log_their_own_ends_while_a_run_is_shown(self) -> None:
        searches = logging.getLogger("barwise.optimizer.search")
        with shown(Session(Path(), False, True)):
            assert not searches.isEnabledFor(logging.INFO)
        assert searches.level == logging.NOTSET

    def test_an_explained_plan_goes_to_stdout(self, capsys: pytest.CaptureFixture[str]) -> None:
        with shown(Session(Path(), False, False), explain=True) as view:
            view.planned(PLAN)
        assert capsys.readouterr().out.splitlines() == plan_lines(PLAN, explain=True)


def console_on(terminal: Any, width: int = 80) -> Console:
    return Console(
        file=terminal, force_terminal=True, width=width, height=30, color_system=None, highlight=False, markup=False,
        emoji=False, legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip


class TestDisplay:
    def test_finished_stages_stay_and_the_one_at_work_is_below_them(self) -> None:
        terminal, clock = Terminal(), Clock()
        with Screen(console_on(terminal), clock=clock) as view:
            view.planned(PLAN)
            view.begun("5", "baseline", "")
            view.done(BASELINE)
            view.begun("7.1", "integers", "")
            view.tick(trials(0))
            clock.now += 5.0
            view.tick(trials(50, best=1.25, best_name="sharpe_ratio", text="12 pruned"))
            for number in range(1, 6):
                view.finding(f"finding {number}")
            view.done(replace(BASELINE, name="look-ahead", state="skipped", text="switched off"))
            assert terminal.rows()[8:] == [
                "✓ 5    baseline          kept  22 trades",
                "- 5    look-ahead     skipped  switched off",
                "  7.1 integers  0:05, 0:35 to go",
                "  ████████████░░░░░░░░░░░░ 50/100 trials  0:05 left",
                "  sharpe ratio 1.25 at best  12 pruned",
                "• finding 3",
                "• finding 4",
                "• finding 5",
            ]
            view.done(INTEGERS)
        assert terminal.rows()[10:] == [
            "✓ 7.1  integers          21 s  Sharpe 1.38", "• finding 3", "• finding 4", "• finding 5",
        ]  # fmt: skip

    def test_a_hundred_thousand_ticks_draw_no_more_than_the_thread_does(self) -> None:
        with Screen(console_on(Terminal())) as view:
            view.begun("7.1", "integers", "")
            began = time.perf_counter()
            for done in range(100_000):
                view.tick(Tick("trials", done, 100_000))
            seconds = time.perf_counter() - began
            assert view.frames <= 8.0 * seconds + 2

    @pytest.mark.parametrize("width", [2, 10, 20, 40, 79, 200])
    def test_no_line_is_as_wide_as_the_terminal(self, width: int) -> None:
        terminal = Terminal()
        long = "a sentence that is longer than any terminal, 漢字漢字 and\nwith \x1b[31mcodes\t in it " * 4
        with Screen(console_on(terminal, width)) as view:
            view.planned((PlannedStage("8", "validation", long, 1e6, market=long), *PLAN))
            view.begun("8", long, long)
            view.tick(Tick(long, 3, 9, best=-1e300, best_name=long, text=long))
            view.finding(long)
            view.done(replace(INTEGERS, text=long))
            rows = terminal.rows()
            assert max(map(cell_len, rows)) < width
            assert len(rows) == 1 + 9 + 1 + 1 + 4

    def test_a_terminal_without_the_signs_gets_others(self) -> None:
        sent = io.BytesIO()
        with Screen(console_on(io.TextIOWrapper(sent, "ascii", write_through=True), 80)) as view:
            view.begun("7.1", "integers", "")
            view.tick(trials(50, text="a → b" * 20))
            view.finding("one • two")
            view.done(BASELINE)
            drawn = rows_of(sent.getvalue().decode("ascii"))
        assert drawn[0] == "+ 5    baseline          kept  22 trades"
        assert drawn[2] == "  ############............ 50/100 trials"
        assert drawn[3].endswith("...")
        assert drawn[4] == "* one ? two"

    @pytest.mark.parametrize(("error", "word"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
    def test_an_end_in_the_middle_leaves_what_was_done_and_says_where_it_was(
        self, error: type[BaseException], word: str
    ) -> None:
        terminal, clock = Terminal(), Clock()

        def run() -> None:
            with Screen(console_on(terminal), clock=clock) as view:
                view.begun("5", "baseline", "")
                view.done(BASELINE)
                view.begun("7.1", "integers", "")
                clock.now += 62.0
                view.tick(trials(12))
                view.finding("a finding that is too long for one row of this terminal, " * 3)
                raise error

        with pytest.raises(error):
            run()
        first, second, *rest = terminal.rows()
        assert first == "✓ 5    baseline          kept  22 trades"
        assert second == f"✗ 7.1 integers  {word} after 1:02, at 12/100 trials"
        assert (
            " ".join(" ".join(rest).split())
            == "• " + ("a finding that is too long for one row of this terminal, " * 3).strip()
        )
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")
        assert sys.stderr is not terminal

    def test_a_log_line_stands_above_what_is_redrawn(self, tmp_path: Path) -> None:
        terminal = Terminal()
        configure_logging(tmp_path, files=False)
        try:
            with Screen(console_on(terminal)) as view:
                view.begun("7.1", "integers", "")
                view.tick(trials(50))
                logging.getLogger("barwise.engine").warning("a [b]warning[/b]")
                view.tick(trials(60))
                logging.getLogger("barwise.engine").info("a line that is broken because it has more than %s", "x" * 60)
                rows = terminal.rows()
        finally:
            close_logging()
        assert rows[0] == "warning: a [b]warning[/b]"
        assert " ".join(" ".join(rows[1:3]).split()) == "a line that is broken because it has more than " + "x" * 60
        assert rows[3].startswith("  7.1 integers  0:0")
        assert len(rows) == 5

    def test_rows_that_a_narrower_terminal_has_broken_lines_into_are_taken_away(self) -> None:
        terminal = Terminal()
        console = console_on(terminal, 80)
        with Screen(console) as view:
            view.begun("7.1", "integers", "")
            view.finding("x" * 200)
            view.done(BASELINE)  # draws a row of integers and one of 79 cells
            before = terminal.getvalue().count("\x1b[1A")
            console.width = 40
            view.done(BASELINE)
            # Up from the second row to the first, and one more row, because 79 cells are two rows of 40.
            assert terminal.getvalue().count("\x1b[1A") - before == 1 + 1


SCRIPT = """
import sys, time
from pathlib import Path
from barwise.cli.live import shown
from barwise.cli.options import Session
from barwise.pipeline.view import Tick
from barwise.report.findings import StageDone

with shown(Session(Path(), False, False)) as view:
    view.begun("5", "baseline", "")
    view.done(StageDone("5", "baseline", "22 trades", 0.3))
    print("a result", flush=True)
    view.begun("8", "verdict", "")
    view.tick(Tick("windows", 3, 9))
    print("ready", flush=True)
    time.sleep(10)
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_ctrl_c_leaves_a_terminal_in_order_and_results_where_they_belong() -> None:
    master, slave = os.openpty()
    environment = {**os.environ, "PYTHONPATH": "src", "TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    sent = bytearray()

    def read() -> None:
        with suppress(OSError):  # nobody writes to it any more
            while part := os.read(master, 65_536):
                sent.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, stderr=slave, text=True
    )
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["a result\n", "ready\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        os.close(slave)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    reader.join()
    os.close(master)
    text = sent.decode()
    assert text.count("\x1b[?25l") >= 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    rows = rows_of(re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert rows[0] == "✓ 5    baseline         0.3 s  22 trades"
    assert re.fullmatch(r"✗ 8 verdict  interrupted after 0:0\d, at 3/9 windows", rows[1])
    assert rows[2].startswith("Traceback")
