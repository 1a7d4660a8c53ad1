"""The whole `barwise run` as a person meets it: questions, a live display, a summary, Ctrl-C, on a pseudo-terminal."""

import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import barwise
from barwise.data.files import TEMPORARY_PREFIX
from barwise.hardware import FILE_NAME, measure_hardware, save_profile
from barwise.trail import read

SOURCE = Path(barwise.__file__).parents[1]
# A process in a session of its own, whose terminal it is: Ctrl-C on it is for this process and those it starts.
DRIVER = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from barwise.cli import main
sys.exit(main(sys.argv[1:]))
"""
QUICK = (
    "--profile", "FAST", "--set", "optimization.num_trials=24", "--set", "validation.permutations=19",
    "--set", "walk_forward.is_length_days=20", "--set", "walk_forward.oos_length_days=10",
    "--set", "walk_forward.min_trades_per_window=1",
)  # fmt: skip
SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = "\x03"


class Pseudo:
    """The command line on a pseudo-terminal that shows all it says.

    Args:
        home: Its home and working directory.
        words: As typed after `barwise`.
    """

    _PATIENCE_S = 300.0

    def __init__(self, home: Path, *words: str) -> None:
        self._terminal, inside = pty.openpty()
        termios.tcsetwinsize(inside, (40, 100))
        self._raw = b""
        self._seen = 0
        environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "PYTHONIOENCODING": "utf-8",
            "TERM": "xterm",
            "BARWISE_HOME": str(home),
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, *words],
                stdin=inside, stdout=inside, stderr=inside, cwd=home, env=environment, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(inside)

    @property
    def shown(self) -> str:
        """All that came so far, without colours and movements of the cursor."""
        return CONTROLS.sub("", self._raw.decode(errors="replace")).replace("\r", "\n")

    def wait_for(self, pattern: str) -> None:
        """Until the terminal shows something after what was waited for before."""
        until = time.monotonic() + self._PATIENCE_S
        while (found := re.compile(pattern, re.MULTILINE).search(self.shown, self._seen)) is None:
            assert time.monotonic() < until, f"no {pattern!r} after:\n{self.shown}"
            assert self._read(until), f"it ended before {pattern!r}:\n{self.shown}"
        self._seen = found.end()

    def answer(self, question: str, text: str) -> None:
        """Wait for a question and type a line, or a control character."""
        self.wait_for(rf"^{re.escape(question)}[^\n]*: $")
        self.type(text if text == CTRL_C else f"{text}\n")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """The exit code, after the last word."""
        until = time.monotonic() + self._PATIENCE_S
        while self._read(until):
            assert time.monotonic() < until, f"it does not end after:\n{self.shown}"
        return self._process.wait(self._PATIENCE_S)

    def close(self) -> None:
        """Let go of the terminal, whatever has become of the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)

    @property
    def cursor_is_shown(self) -> bool:
        """Whether the cursor was given back at the end."""
        return self._raw.rfind(b"\x1b[?25h") >= self._raw.rfind(b"\x1b[?25l")

    def _read(self, until: float) -> bool:
        """Whether the other side is still open."""
        ready, _, _ = select.select([self._terminal], [], [], max(until - time.monotonic(), 0.0))
        if not ready:
            return True
        try:
            piece = os.read(self._terminal, 65_536)
        except OSError:  # what Linux says when the other side is closed
            return False
        self._raw += piece
        return bool(piece)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this computer is, measured once and briefly: timing it takes longer than all the rest."""
    folder = tmp_path_factory.mktemp("hardware")
    save_profile(measure_hardware(folder=folder, seconds_limit=1.0), folder / FILE_NAME)
    return folder / FILE_NAME


@pytest.fixture
def folder(home: Path, profile: Path) -> Path:
    """A home folder with nothing in it but the measured computer."""
    (home / "data").mkdir()
    shutil.copy(profile, home / "data")
    return home


@pytest.fixture
def terminals(folder: Path) -> Iterator[list[Pseudo]]:
    """Those that were opened, to be closed."""
    opened: list[Pseudo] = []
    yield opened
    for terminal in opened:
        terminal.close()


def run(terminals: list[Pseudo], folder: Path, *words: str) -> Pseudo:
    terminals.append(Pseudo(folder, "run", *words))
    return terminals[-1]


def results(folder: Path, ending: str) -> list[Path]:
    return sorted((folder / "data" / "results").glob(f"*{ending}"))


def assert_nothing_is_torn(folder: Path) -> None:
    """Every file can be read to its end, and none was left half-written."""
    assert not list(folder.rglob(f"{TEMPORARY_PREFIX}*"))
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in results(folder, ".audit.jsonl"):
        assert list(read(path))
        assert path.read_bytes().endswith(b"\n")
    with sqlite3.connect(f"file:{folder / 'data' / 'ledger.sqlite'}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_questions_the_live_display_and_the_summary_of_a_whole_run(folder: Path, terminals: list[Pseudo]) -> None:
    terminal = run(terminals, folder, *QUICK)
    for question, text in [
        ("mode", ""),
        ("venue", "nowhere"),
        ("venue", ""),
        ("symbol", ""),
        ("timeframe", ""),
        ("start", "2024-01-01"),
        ("end", "2024-03-01"),
        ("quantity", ""),
        ("strategy", ""),
        ("go on?", ""),
    ]:
        terminal.answer(question, text)
    for seen in (r"✓ 5 +candles", r"✓ 7\.1 ", r"✓ 8 +verdict", r"✓ 10 +page", r"VERDICT"):
        terminal.wait_for(seen)
    assert terminal.end() == 0, terminal.shown
    shown = terminal.shown
    assert "'nowhere' is not a venue" in shown
    assert "Traceback" not in shown
    assert terminal.cursor_is_shown
    command = re.search(r"^  (barwise run .*)$", shown, re.MULTILINE)
    assert command is not None
    assert "--yes" in command.group(1).split()
    [page] = results(folder, ".html")
    name = page.name.removesuffix(".html")
    for label, end in (("Report", page.name), ("Results", f"{name}.json"), ("Why", f"barwise audit {name}")):
        assert re.search(rf"^ {label} .*{re.escape(end)}\s*$", shown, re.MULTILINE), shown
    assert_nothing_is_torn(folder)


def test_ctrl_c_in_the_middle_keeps_what_is_done_and_the_same_command_goes_on(
    folder: Path, terminals: list[Pseudo]
) -> None:
    first = run(terminals, folder, *SPAN, *QUICK)
    for question in ("mode", "venue", "symbol", "timeframe", "quantity", "strategy", "go on?"):
        first.answer(question, "")
    first.wait_for(r"✓ 7\.1 ")
    first.type(CTRL_C)
    assert first.end() == 130, first.shown
    assert "the same command with the same answers goes on where it was" in " ".join(first.shown.split())
    assert "Traceback" not in first.shown
    assert first.cursor_is_shown
    assert results(folder, ".html") == []
    [trail] = results(folder, ".audit.jsonl")
    assert_nothing_is_torn(folder)
    second = run(terminals, folder, *SPAN, *QUICK, "--yes")
    assert second.end() == 0, second.shown
    assert re.search(r"✓ 7\.1 +integers +kept", second.shown), second.shown
    [page] = results(folder, ".html")
    assert page.name.removesuffix(".html") == trail.name.removesuffix(".audit.jsonl")
    assert_nothing_is_torn(folder)


@pytest.mark.parametrize("answered", [0, 4])
def test_ctrl_c_at_a_question_ends_it_and_nothing_is_written(
    folder: Path, terminals: list[Pseudo], answered: int
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    terminal = run(terminals, folder, *QUICK)
    questions = ("mode", "venue", "symbol", "timeframe", "start")
    for question in questions[:answered]:
        terminal.answer(question, "")
    terminal.answer(questions[answered], CTRL_C)
    assert terminal.end() == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
