"""Shared fixtures: where the real market data lies, and a home folder of its own for every test that writes files."""

import os
import shutil
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from barwise import obs
from tests.command_line import Call, Outcome, called
from tests.forked import Start, fork_server, starting

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def shared_path() -> Path:
    """The folder of real data and specifications beside the checkout; `BARWISE_SHARED` names another one."""
    return Path(os.environ.get("BARWISE_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Real market files; the test is skipped, visibly, where they are not at hand."""
    folder = shared_path() / "data" / "market"
    if not folder.is_dir():
        pytest.skip(f"no real market data at {folder}: set BARWISE_SHARED to the folder that has it")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty BARWISE_HOME that is the working directory as well."""
    monkeypatch.setenv("BARWISE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process, with an empty folder as home and working directory."""

    def run(*words: object) -> Outcome:
        return called(words, capfd.readouterr)

    return run


@pytest.fixture(scope="module")
def processes(request: pytest.FixtureRequest) -> ForkServerContext:
    """What processes are forked off; it has loaded the test's module, and what that names in `PRELOADED`."""
    module = request.module
    return fork_server([*getattr(module, "PRELOADED", ()), module.__name__], REPOSITORY)


@pytest.fixture
def started(processes: ForkServerContext) -> Iterator[Start]:
    """Start a process that does not outlive the test."""
    with starting(processes) as start:
        yield start


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Chromium under Playwright; the test is skipped, visibly, where there is none."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no Chromium: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has hidden from the logs must not be taken out of the texts of the next."""
    monkeypatch.setattr(obs, "_secrets", set())
