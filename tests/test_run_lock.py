"""Two runs, killed runs, torn journals: one holder at a time, and what was written down is there to the last line."""

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from barwise.checkpoints import Journal, RunLock, lock, sweep_temporary
from barwise.checkpoints.lock import is_alive
from barwise.config import ExecutionConfig, OptimizationConfig
from barwise.data.synthetic import sample_candles
from barwise.errors import CheckpointError
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper
from barwise.validation.permutation import permutation_test
from tests.forked import Start

TURNS = 40
NUMBERS = [0.1, -0.0, 0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, -1.0 / 3.0, 1e22, math.nan]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "run.lock"


@pytest.fixture
def dead_pid() -> int:
    """Of a process that has ended a moment ago."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


# The lock.


def hold(path: Path, command: str, pipe: Connection) -> None:
    """Hold a lock until told to end; says so, or why not."""
    try:
        with RunLock(path, command):
            pipe.send("held")
            pipe.recv()
        pipe.send("free")
    except CheckpointError as error:
        pipe.send(str(error))


def test_a_second_process_is_refused_and_told_who_holds_the_lock_and_since_when(
    path: Path, processes: ForkServerContext, started: Start
) -> None:
    here, there = processes.Pipe()
    before = datetime.now(UTC).replace(microsecond=0)
    holder = started(hold, path, "barwise run btc.toml", there)
    assert here.recv() == "held"
    for _ in range(2):
        with pytest.raises(CheckpointError) as refused, RunLock(path, "another"):
            pytest.fail("two processes hold one lock")
        found = re.fullmatch(
            rf"process {holder.pid} \(barwise run btc\.toml\) has been working on the same run since (\S+ \S+) UTC; "
            r"it holds run\.lock\.",
            refused.value.message,
        )
        assert found
        since = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        assert before <= since <= before + timedelta(minutes=1)
        assert f"kill {holder.pid}" in refused.value.hint
    here.send("end")
    assert here.recv() == "free"
    holder.join()
    with RunLock(path, "another"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_second_lock_in_the_same_process_is_refused(path: Path) -> None:
    with RunLock(path, "first"):
        with pytest.raises(CheckpointError, match=r"this process itself \(first\) has been working"), RunLock(path):
            pytest.fail("one lock is held twice")
        # The first one still holds it.
        with pytest.raises(CheckpointError), RunLock(path):
            pytest.fail("one lock is held twice")
        with RunLock(path.with_name("other.lock")):
            pass
    with RunLock(path):
        pass


def test_a_free_lock_is_an_empty_file_that_stays(path: Path) -> None:
    with RunLock(path, "one"):
        number = path.stat().st_ino
        content = json.loads(path.read_text())
        assert (content["pid"], content["command"], sorted(content)) == (
            os.getpid(), "one", ["command", "pid", "started"],
        )  # fmt: skip
    assert path.read_bytes() == b""
    with pytest.raises(ZeroDivisionError), RunLock(path):
        raise ZeroDivisionError
    assert path.read_bytes() == b""
    assert path.stat().st_ino == number


def test_the_lock_of_a_killed_holder_is_taken_over(path: Path, processes: ForkServerContext, started: Start) -> None:
    for _ in range(3):
        here, there = processes.Pipe()
        holder = started(hold, path, "a command with a long name " * 20, there)
        assert here.recv() == "held"
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
        assert json.loads(path.read_text())["pid"] == holder.pid
        with RunLock(path, "short"):
            assert json.loads(path.read_text())["command"] == "short"


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"pid": 1', b'{"pid": 1}', b"[]", b"\xff" * 5000, b"null"])
def test_whatever_stands_in_the_file_a_lock_that_nobody_holds_is_taken(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with RunLock(path, "mine"):
        assert json.loads(path.read_bytes())["command"] == "mine"


def lock_silently(path: Path, pipe: Connection) -> None:
    """Hold the lock as one does in the moment before its name is written down."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    pipe.send("held")
    pipe.recv()


def test_a_holder_without_a_name_is_refused_too(path: Path, processes: ForkServerContext, started: Start) -> None:
    path.parent.mkdir()
    here, there = processes.Pipe()
    started(lock_silently, path, there)
    assert here.recv() == "held"
    with pytest.raises(CheckpointError, match=r"another process holds .* has not said which one"), RunLock(path):
        pytest.fail("two processes hold one lock")


def take_turns(path: Path, folder: Path) -> None:
    """So often: have the lock, make sure to be alone, and count."""
    done = 0
    while done < TURNS:
        try:
            with RunLock(path, "turn"):
                alone = os.open(folder / "alone", os.O_CREAT | os.O_EXCL)
                count = int((folder / "count").read_text())
                time.sleep(0.001)
                (folder / "count").write_text(str(count + 1))
                os.close(alone)
                (folder / "alone").unlink()
                done += 1
        except CheckpointError:
            (folder / f"refused-{os.getpid()}").touch()
        time.sleep(0.001)


def test_processes_that_race_for_a_lock_are_never_inside_together(path: Path, tmp_path: Path, started: Start) -> None:
    (tmp_path / "count").write_text("0")
    racers = [started(take_turns, path, tmp_path) for _ in range(3)]
    for racer in racers:
        racer.join(120)
        assert racer.exitcode == 0
    assert (tmp_path / "count").read_text() == str(3 * TURNS)
    assert list(tmp_path.glob("refused-*")), "they never met"


def test_a_lock_that_cannot_be_made_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, reason in (
        (tmp_path / "file" / "run.lock", "Not a directory|File exists"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(CheckpointError, match=f"cannot be locked: ({reason})") as refused, RunLock(place):
            pytest.fail("a lock on nothing")
        assert "local disk" in refused.value.hint


def test_where_the_system_has_no_locks_the_process_id_decides(
    path: Path, monkeypatch: pytest.MonkeyPatch, dead_pid: int
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    path.parent.mkdir()
    started = datetime.now(UTC).isoformat()

    def written(pid: int) -> None:
        path.write_text(json.dumps({"pid": pid, "started": started, "command": "other"}))

    written(os.getppid())
    with pytest.raises(CheckpointError, match=rf"process {os.getppid()} \(other\)"), RunLock(path):
        pytest.fail("two processes hold one lock")
    # A process id comes again, as 1 does in every container: the file alone does not say that it was this process.
    for pid in (dead_pid, os.getpid()):
        written(pid)
        with RunLock(path, "mine"):
            assert json.loads(path.read_text())["command"] == "mine"
            with pytest.raises(CheckpointError, match="this process itself"), RunLock(path):
                pytest.fail("one lock is held twice")
        assert path.read_bytes() == b""


def test_a_process_is_alive_until_it_has_ended(dead_pid: int) -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)  # somebody else's
    assert not is_alive(dead_pid)
    assert not is_alive(2**70)
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.communicate(b"\n")
    assert not is_alive(process.pid)


# The journal.


def bits(values: list[float]) -> list[str]:
    return [value.hex() for value in values]


def filled(path: Path) -> bytes:
    journal = Journal(path)
    for number in NUMBERS:
        journal.append(number)
    return path.read_bytes()


def test_a_journal_gives_back_its_numbers_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "nulls.journal"
    assert Journal(path).values == []
    assert not path.exists()
    content = filled(path)
    assert bits(Journal(path).values) == bits(NUMBERS)
    assert path.read_bytes() == content
    first, *_ = content.splitlines()
    assert first.startswith(b"0 0x1.999999999999ap-4 ")
    journal = Journal(path)
    journal.append(np.float64(7.5))
    assert journal.values[-1] == 7.5
    assert bits(Journal(path).values) == bits([*NUMBERS, 7.5])
    journal.remove()
    journal.remove()
    assert (journal.values, path.exists()) == ([], False)


def test_a_journal_torn_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = filled(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        journal = Journal(path)
        assert bits(journal.values) == bits(NUMBERS[:whole])
        assert path.read_bytes() == content[: content[:length].rfind(b"\n") + 1]
        for number in NUMBERS[whole:]:
            journal.append(number)
        assert path.read_bytes() == content


def test_a_journal_with_any_one_byte_changed_keeps_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = filled(path)
    for at in range(len(content)):
        for flip in (0x01, 0x20, 0xFF):
            changed = bytearray(content)
            changed[at] ^= flip
            path.write_bytes(changed)
            before = content[:at].count(b"\n")
            assert bits(Journal(path).values) == bits(NUMBERS[:before])
            assert path.read_bytes() == b"".join(content.splitlines(keepends=True)[:before])


def test_lines_in_another_order_or_from_another_place_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lines = filled(path).splitlines(keepends=True)
    for order, whole in (([1, 0], 0), ([0, 2, 3], 1), ([0, 0], 1), ([0, 1, 2, 2, 3], 3)):
        path.write_bytes(b"".join(lines[at] for at in order))
        assert bits(Journal(path).values) == bits(NUMBERS[:whole])


def append_for_ever(path: Path, told: Path) -> None:
    """Append the square roots of the whole numbers, and tell after each how many there are."""
    journal = Journal(path)
    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        journal.append(math.sqrt(len(journal.values)))
        os.write(descriptor, b"x")


def test_after_kills_nothing_that_was_told_is_missing(tmp_path: Path, started: Start) -> None:
    path, random = tmp_path / "journal", np.random.default_rng(4)
    before = 0
    for kill in range(6):
        told = tmp_path / f"told-{kill}"
        process = started(append_for_ever, path, told)
        while not (told.exists() and told.stat().st_size > 3):
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(random.uniform(0.0, 0.05))
        process.kill()
        process.join()
        values = Journal(path).values
        assert before + told.stat().st_size <= len(values) <= before + told.stat().st_size + 1
        assert bits(values) == bits([math.sqrt(number) for number in range(len(values))])
        before = len(values)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = filled(path)
    journal = Journal(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room, reason in ((0, "File too large"), (5, "No space left on device")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + room, hard))
        try:
            with pytest.raises(CheckpointError, match=f"cannot be written: {reason}"):
                journal.append(1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == content
        assert bits(journal.values) == bits(NUMBERS)
    journal.append(1.0)
    assert bits(Journal(path).values) == bits([*NUMBERS, 1.0])
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        Journal(tmp_path)


def test_a_permutation_test_goes_on_after_the_last_number_of_its_journal(tmp_path: Path) -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 1))
    strategy = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
    costs = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
    sweeper = Sweeper(candles, strategy, 0.1, execution=costs, workers=1, check_lookahead=False)
    search = OptimizationConfig(optuna_sampler="AUTO", num_trials=8, seed=5, workers=1)
    path = tmp_path / "nulls.journal"
    whole = permutation_test(sweeper, strategy, search, 19, journal=Journal(path))
    assert bits(Journal(path).values) == bits(whole.nulls.tolist())
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(whole.nulls) > 1
    half = len(lines) // 2
    path.write_bytes(b"".join(lines[:half]) + lines[half][:-3])
    again = permutation_test(sweeper, strategy, search, 19, journal=Journal(path))
    assert again.nulls.tobytes() == whole.nulls.tobytes()
    assert (again.p_value, again.real) == (whole.p_value, whole.real)
    assert path.read_bytes() == b"".join(lines)


# What killed writers leave.


def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path: Path, dead_pid: int) -> None:
    logs, results = tmp_path / "raw_logs", tmp_path / "results"
    (logs / "binance" / "btcusdt").mkdir(parents=True)
    results.mkdir()
    gone = [
        logs / f".tmp-{dead_pid}-0011aabb",
        logs / "binance" / "btcusdt" / f".tmp-{dead_pid}-x",
        results / f".tmp-{dead_pid}-1",
        results / f".tmp-{dead_pid}-2",
    ]
    stay = [
        logs / "binance" / f".tmp-{os.getpid()}-0011aabb",
        results / ".tmp-1-of-somebody-else",
        results / ".tmp-text-1",
        results / f".tmp-{dead_pid}",
        results / f"x.tmp-{dead_pid}-1",
        results / f"run-{dead_pid}-1.json",
        tmp_path / f".tmp-{dead_pid}-outside",
    ]
    for path in (*gone, *stay):
        path.write_text("")
    assert sweep_temporary([logs, results, tmp_path / "missing"]) == len(gone)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)
    assert sweep_temporary([logs, results]) == 0
