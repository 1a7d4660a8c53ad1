"""Kill the whole job at any moment, fill the disk under it, tear its files: it goes on, to the same report."""

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.cli.app import main
from barwise.data.files import TEMPORARY_PREFIX
from barwise.trail import deterministic, read
from tests.forked import Start

PRELOADED = ("polars", "plotly", "sqlalchemy", "optuna")

KILLS = 30
SHUFFLED = 19
SETTINGS = {
    "optimization.num_trials": 24,
    "optimization.workers": 1,
    "walk_forward.is_length_days": 20,
    "walk_forward.oos_length_days": 10,
    "walk_forward.min_trades_per_window": 1,
    "validation.permutations": SHUFFLED,
}
ARGUMENTS = [
    "run", "--yes", "--symbol", "SAMPLE-BTC", "--start", "2024-01-01", "--end", "2024-03-01", "--profile", "FAST",
    *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")),
]  # fmt: skip
# What a row of the record says, without who put it there and when.
SAID = (
    "SELECT fingerprint, stage, lower(hex(key)), first_bar, stop_bar, trades, net_pnl, sharpe_ratio FROM ledger "
    "ORDER BY 1, 2, 3, 4, 5"
)
# Where wall-clock times stand.
CLOCK_KEYS = {"written", "seconds", "measured_at", "digest"}
CLOCK_ELEMENT = re.compile(r'(class="[^"]*\bclock\b[^"]*"[^>]*>)[^<]*')


def job(home: Path, *more: str) -> int:
    os.environ["BARWISE_HOME"] = str(home)
    return main([*ARGUMENTS, *more, "--quiet", "--home", str(home)])


def timeless(content: Any) -> Any:
    """A JSON document without its times."""
    if isinstance(content, dict):
        return {name: timeless(value) for name, value in content.items() if name not in CLOCK_KEYS}
    return [timeless(item) for item in content] if isinstance(content, list) else content


def left_by(home: Path) -> dict[str, Any]:
    """Every file of the run's report, without times."""
    found: dict[str, Any] = {}
    for folder in ("results", "exports", "raw_logs"):
        for path in sorted((home / "data" / folder).rglob("*")):
            name = path.relative_to(home).as_posix()
            if path.is_dir():
                continue
            if name.endswith(".audit.jsonl"):
                found[name] = list(deterministic(read(path)))
            elif name.endswith(".json"):
                found[name] = timeless(json.loads(path.read_text()))
            elif name.endswith(".html"):
                found[name] = CLOCK_ELEMENT.sub(r"\1", path.read_text())
            else:
                found[name] = path.read_bytes()
    return found


def recorded(home: Path) -> list[Any]:
    with sqlite3.connect(f"file:{home / 'data' / 'ledger.sqlite'}?mode=ro", uri=True) as connection:
        rows = connection.execute(SAID).fetchall()
    connection.close()
    return rows


def temporaries(home: Path) -> list[Path]:
    return [path for path in home.rglob(f"{TEMPORARY_PREFIX}*") if "cache" not in path.parts]


def kept(home: Path) -> int:
    """How much is kept: finished stages, batches of trials on record, shuffled markets."""
    checkpoints = home / "data" / "checkpoints"
    count = len(list(checkpoints.glob("*.checkpoint")))
    for path in checkpoints.glob("*.journal"):
        with suppress(FileNotFoundError):  # its stage has just been finished
            count += path.read_bytes().count(b"\n")
    with suppress(sqlite3.OperationalError):  # not made yet, or just being made
        connection = sqlite3.connect(f"file:{home / 'data' / 'ledger.sqlite'}?mode=ro", uri=True)
        try:
            count += connection.execute("SELECT count(*) FROM ledger_batches").fetchone()[0]
        finally:
            connection.close()
    return count


def first_difference(one: Any, other: Any) -> str:
    """Where two files part, in a few words: a whole page in a message helps nobody."""
    texts = [text if isinstance(text, str | bytes) else json.dumps(text, sort_keys=True) for text in (one, other)]
    at = next((at for at, (mine, theirs) in enumerate(zip(*texts, strict=False)) if mine != theirs), 0)
    return " / ".join(repr(text[max(0, at - 200) : at + 100]) for text in texts)


def assert_same(home: Path, calm: Path) -> None:
    mine, theirs = left_by(home), left_by(calm)
    assert set(mine) == set(theirs)
    for name, content in theirs.items():
        assert mine[name] == content, (name, first_difference(mine[name], content))
    assert recorded(home) == recorded(calm)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a run that nobody disturbs."""
    home = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARWISE_HOME", str(home))
        assert job(home) == 0
    return home


def run_it(home: Path) -> None:
    job(home)


@pytest.mark.slow
def test_after_thirty_kills_the_report_is_that_of_a_run_that_nobody_disturbed(
    tmp_path: Path, started: Start, calm: Path
) -> None:
    home, random = tmp_path / "home", np.random.default_rng(11)
    # What this computer is takes longer to find out than all the rest, and is not what is tested here.
    (home / "data").mkdir(parents=True)
    shutil.copy(calm / "data" / "hardware_profile.json", home / "data")
    killed: Counter[int] = Counter()  # by the number of finished stages and steps
    total = kept(calm)
    for attempt in range(2 * KILLS):
        if killed.total() == KILLS:
            break
        # Spread over the whole run, and always after something new.
        until = max(kept(home) + 1, (attempt + 1) * (total + SHUFFLED) // KILLS)
        # Where everything is kept, the report is being written: then the time alone decides.
        patience = random.uniform(0.1, 1.2) if kept(home) >= total else random.uniform(2.0, 6.0)
        process = started(run_it, home)
        began = time.monotonic()
        while process.is_alive() and kept(home) < until and time.monotonic() - began < patience:
            time.sleep(0.001)
        time.sleep(random.exponential(0.05))
        if process.is_alive():
            process.kill()
            killed[len(list((home / "data" / "checkpoints").glob("*.checkpoint")))] += 1
        process.join()
    assert killed.total() == KILLS, killed
    assert len(killed) >= 6, f"the kills were not spread over the stages: {killed}"
    assert job(home) == 0
    assert_same(home, calm)
    assert temporaries(home) == []


def run_in_small_files(home: Path, limit: int, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    answer.send(job(home))
    answer.close()


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_sentence_and_with_more_room_nothing_is_lost(
    tmp_path: Path, processes: ForkServerContext, started: Start, calm: Path
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(calm / "data" / "hardware_profile.json", tmp_path / "data")
    finished = []
    for limit in (60_000, 400_000, 2_000_000):
        receiver, sender = processes.Pipe(duplex=False)
        process = started(run_in_small_files, tmp_path, limit, sender)
        sender.close()
        assert receiver.recv() == 1, limit
        process.join()
        lines = (tmp_path / "logs" / "error.log").read_text().splitlines()
        message = json.loads(lines[-1])["message"]
        assert "hint: " in message
        assert re.search(r"cannot be (written|used|changed|read)", message), message
        finished.append(len(list((tmp_path / "data" / "checkpoints").glob("*.checkpoint"))))
    assert finished == sorted(finished)
    assert finished[-1] > 5
    assert job(tmp_path) == 0
    assert_same(tmp_path, calm)
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "foreign"])
def test_a_checkpoint_that_is_damaged_is_made_again(tmp_path: Path, calm: Path, damage: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(calm, home)
    for path in (home / "data" / "checkpoints").glob("*.checkpoint"):
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(
            {
                "torn": whole[:middle],
                "empty": b"",
                "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
                "foreign": b"no checkpoint at all",
            }[damage]
        )
    assert job(home) == 0
    assert_same(home, calm)


def test_a_second_process_is_told_who_is_at_the_run_and_a_dead_one_is_taken_over(
    tmp_path: Path, started: Start, calm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started(run_it, tmp_path)
    locks = tmp_path / "data" / "checkpoints"
    while not any(path.stat().st_size for path in locks.glob("*.lock")):
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGSTOP)
    assert job(tmp_path) == 1
    assert str(process.pid) in capsys.readouterr().err
    process.kill()
    process.join()
    assert job(tmp_path) == 0
    assert_same(tmp_path, calm)
