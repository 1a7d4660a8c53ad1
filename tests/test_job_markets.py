"""A run over several markets says of itself which they are and how it is with it, however it is cut off."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barwise.checkpoints import RunLock
from barwise.errors import CheckpointError
from barwise.hardware import measure_hardware, save_profile
from barwise.hardware.profile import FILE_NAME
from barwise.pipeline.keys import STAGES
from barwise.pipeline.stage_names import SEARCHES, STAGES_OF_A_MARKET, STEPS
from barwise.trail import ENDING, find_trail, is_over_several, overview_of_trail, read, told_trail
from tests.conftest import REPOSITORY
from tests.test_job_kill import assert_same

PATIENCE = 120.0
SYMBOLS = ("SAMPLE-BTC", "SAMPLE-ETH")
WORDS = [
    sys.executable, "-m", "barwise", "run", "--yes", "--quiet", "--start", "2024-01-01", "--end", "2024-03-01",
    *(word for symbol in SYMBOLS for word in ("--market", f"SAMPLE,{symbol}")), "--profile", "FAST",
    *("--set", "optimization.num_trials=24", "--set", "optimization.workers=1", "--set", "validation.permutations=19"),
    *("--set", "walk_forward.is_length_days=20", "--set", "walk_forward.oos_length_days=10"),
    *("--set", "walk_forward.min_trades_per_window=1"),
]  # fmt: skip
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}

Process = subprocess.Popen[bytes]


def begun(home: Path, *more: str) -> Process:
    return subprocess.Popen([*WORDS, *more, "--home", str(home)], env=ENVIRONMENT, cwd=home, process_group=0)


def made(folder: Path, profile: Path) -> Path:
    """A home folder in which nothing but the profile of this computer is known."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(profile, folder / "data" / FILE_NAME)
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / FILE_NAME
    save_profile(measure_hardware(folder=path.parent, seconds_limit=0.2), path)
    return path


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, profile: Path) -> Path:
    """A home folder with a run that nobody disturbed."""
    home = made(tmp_path_factory.mktemp("calm") / "home", profile)
    process = begun(home)
    assert process.wait(PATIENCE) == 0
    return home


@pytest.fixture
def home(tmp_path: Path, profile: Path) -> Path:
    return made(tmp_path / "home", profile)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[], Process]]:
    """Starts the run; no process outlives the test."""
    processes: list[Process] = []

    def started() -> Process:
        processes.append(begun(home))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def lines(home: Path) -> list[dict[str, Any]]:
    """The trail over all markets, as far as it is there."""
    trails = (home / "data" / "results").glob(f"run-multi-*{ENDING}")
    return [line for trail in trails for line in read(trail)]


def until(process: Process, true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def at_the_second(home: Path) -> bool:
    return any((home / "data" / "results").glob(f"run-sample-eth-*{ENDING}"))


def test_its_trail_names_the_markets_their_plan_and_the_end(calm: Path) -> None:
    trail = lines(calm)
    assert [line["kind"] for line in trail] == ["run_begun", "configuration", "markets", "planned", "run_done"]
    assert is_over_several(trail[0]["run"])
    markets = trail[2]["markets"]
    assert [(one["symbol"], one["timeframe"], one["bars"]) for one in markets] == [
        ("SAMPLE-BTC", "1H", 1440), ("SAMPLE-ETH", "1H", 1440),
    ]  # fmt: skip
    assert all((calm / "data" / "results" / f"{one['run']}{ENDING}").is_file() for one in markets)
    for one in markets:
        planned = [line["name"] for line in trail[3]["stages"] if line["market"] == one["run"]]
        assert planned == [*SEARCHES.values(), "walk-forward", "shuffled", "verdict", "report"]
    assert trail[1]["sections"]["market"]["markets"] == [{"exchange": "SAMPLE", "symbol": one} for one in SYMBOLS]
    overview = overview_of_trail(calm / "data" / "results" / f"{trail[0]['run']}{ENDING}")
    assert [one["run"] for one in overview["markets"]] == [one["run"] for one in markets]
    assert f" Markets    SAMPLE SAMPLE-BTC 1H: {markets[0]['run']}" in told_trail(overview)


def test_the_newest_trail_is_that_of_a_market(calm: Path) -> None:
    newest = find_trail(None, calm)
    assert newest is not None
    assert newest.name.startswith("run-sample-eth-1h-")


def test_what_stages_are_called_stands_once(calm: Path) -> None:
    for trail in (calm / "data" / "results").glob(f"run-sample-*{ENDING}"):
        said = list(read(trail, ["stage_begun", "progress"]))
        assert [(line["stage"], line["name"]) for line in said if line["kind"] == "stage_begun"] == list(
            STAGES_OF_A_MARKET
        )
        steps = {line["step"] for line in said if line["kind"] == "progress"}
        assert steps <= {"trials", *(step.name for step in STEPS)}
    assert {number for number, _ in STAGES_OF_A_MARKET} >= set(STAGES)


def test_killed_and_gone_on_with_it_is_the_run_that_nobody_disturbed(
    home: Path, calm: Path, start: Callable[[], Process]
) -> None:
    moments = (
        lambda: any(line["kind"] == "markets" for line in lines(home)),
        lambda: at_the_second(home),
    )
    for moment in moments:
        process = start()
        until(process, moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert lines(home)[-1]["kind"] not in {"run_done", "failed", "interrupted"}
    assert start().wait(PATIENCE) == 0
    assert_same(home, calm)
    trail = lines(home)
    kinds = [line["kind"] for line in trail]
    assert (kinds[0], kinds[-1]) == ("run_begun", "run_done")
    assert kinds.count("run_resumed") == 2
    assert [line["id"] for line in trail if "id" in line] == ["configuration", "markets"]
    assert [line["seq"] for line in trail] == list(range(len(trail)))


def test_ctrl_c_is_its_last_line_and_that_of_the_market_at_work(home: Path, start: Callable[[], Process]) -> None:
    process = start()
    until(process, lambda: at_the_second(home))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert lines(home)[-1]["kind"] == "interrupted"


def test_nobody_else_can_be_at_it_and_what_is_only_explained_is_not_begun(home: Path, calm: Path) -> None:
    explained = begun(home, "--explain")
    assert explained.wait(PATIENCE) == 0
    assert lines(home) == []
    name = lines(calm)[0]["run"]
    lock = home / "data" / "checkpoints" / f"{name}.lock"
    with RunLock(lock, "a test"):
        assert begun(home).wait(PATIENCE) == 1
        with pytest.raises(CheckpointError), RunLock(lock):
            pass
    assert lines(home) == []


def test_begun_anew_its_trail_begins_anew_too(calm: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(calm, home)
    assert begun(home, "--fresh").wait(PATIENCE) == 0
    name = lines(calm)[0]["run"]
    results = home / "data" / "results"
    assert next(line["kind"] for line in read(results / f"{name}{ENDING}")) == "run_begun"
    assert (results / f"{name}.1{ENDING}").read_bytes() == (calm / "data" / "results" / f"{name}{ENDING}").read_bytes()
    assert json.loads((results / f"{name}.json").read_text())["kind"] == "multi"
