"""The doctor: what is well, what is not and what to do about it; and that looking changes nothing."""

import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from barwise.checkpoints import RunLock
from barwise.hardware import FILE_NAME, Card, look_at_hardware, save_profile
from barwise.optimizer.ledger import Ledger
from tests.command_line import Call
from tests.conftest import REPOSITORY
from tests.test_hardware import profile_of
from tests.venues.market import CREDENTIALS

doctor_code = importlib.import_module("barwise.cli.doctor")

EVERYTHING = [
    "Python", "cores", "memory", "GPU", "clock", "home", "data/", "logs/", "space", "libraries", "extras", "compiler",
    "ledger", "profile", "checkpoints", "keys",
]  # fmt: skip


def checks(call: Call, *words: object) -> dict[str, dict[str, object]]:
    """The last check of each name."""
    document = json.loads(call("doctor", "--json", *words).out)
    return {check["name"]: check for check in document["checks"]}


def everything_below(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Each file and folder with size, time of change and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, content)
    return found


def new_ledger(home: Path) -> Path:
    path = home / "data" / "ledger.sqlite"
    with Ledger(path) as ledger:
        assert ledger.runs() == []
    return path


class TestTheWhole:
    def test_everything_is_looked_at_and_well_here(self, call: Call) -> None:
        outcome = call("doctor")
        assert outcome.code == 0
        names = [line[6:20].strip() for line in outcome.out.splitlines()]
        assert list(dict.fromkeys(names)) == EVERYTHING
        assert not [line for line in outcome.out.splitlines() if line.startswith("FAIL")]

    def test_looking_leaves_no_file_no_folder_and_no_line_in_the_log(self, call: Call, home: Path) -> None:
        call("doctor")
        assert everything_below(home) == {}

    def test_looking_changes_nothing_of_what_is_there(self, call: Call, home: Path) -> None:
        new_ledger(home)
        (home / "data" / FILE_NAME).write_text("{}")
        (home / "data" / "checkpoints").mkdir()
        (home / "data" / "checkpoints" / "7.1-00.checkpoint").write_bytes(b"x" * 2_000_000)
        (home / "logs").mkdir()
        before = everything_below(home)
        call("doctor")
        assert everything_below(home) == before

    def test_the_document_says_of_each_line_whether_it_is_well(self, call: Call, home: Path) -> None:
        (home / "data").write_text("a file where the folder should be")
        outcome = call("doctor", "--json")
        document = json.loads(outcome.out)
        assert outcome.code == 1
        assert document["ok"] is False
        assert [check["name"] for check in document["checks"] if not check["ok"]] == ["data/"]
        assert all(set(check) == {"name", "ok", "warning", "message"} for check in document["checks"])

    def test_it_says_whether_keys_are_there_and_never_what_they_are(self, call: Call, home: Path) -> None:
        (home / "config").mkdir()
        (home / "config" / ".env").write_text("".join(f"{name}={value}\n" for name, value in CREDENTIALS.items()))
        (home / "config" / ".env").chmod(0o600)
        outcome = call("doctor")
        assert outcome.code == 0
        assert "ZERODHA: set, needed for candles" in outcome.out
        assert not [name for name, value in CREDENTIALS.items() if value in outcome.out + outcome.err]

    def test_keys_that_others_can_read_are_a_failure(self, call: Call, home: Path) -> None:
        (home / "config").mkdir()
        (home / "config" / ".env").write_text("DELTA_API_KEY=\n")
        (home / "config" / ".env").chmod(0o640)
        outcome = call("doctor")
        assert outcome.code == 1
        assert f"others can read it; chmod 600 {home / 'config' / '.env'}" in outcome.out


class TestFiles:
    @pytest.mark.parametrize("name", ["data", "logs"])
    def test_a_file_where_a_folder_should_be_is_a_failure_that_says_what_to_do(
        self, call: Call, home: Path, name: str
    ) -> None:
        (home / name).write_text("")
        found = checks(call)[f"{name}/"]
        assert found["ok"] is False
        assert found["message"] == f"{home / name} is a file; move it away, or choose another home with --home PATH"

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no folder here that nobody can write into")
    def test_a_folder_that_cannot_be_written_is_a_failure(self, call: Call) -> None:
        found = checks(call, "--home", "/proc/self/task")["home"]
        assert found["ok"] is False
        assert "/proc/self/task cannot be written (" in str(found["message"])

    @pytest.mark.parametrize(("free", "warned"), [(2**30 - 1, True), (2**30, False)])
    def test_less_than_a_gibibyte_is_a_warning_and_no_failure(
        self, call: Call, monkeypatch: pytest.MonkeyPatch, free: int, warned: bool
    ) -> None:
        usage = namedtuple("usage", ["total", "used", "free"])  # noqa: PYI024 - as shutil's own
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 0, free))
        found = checks(call)["space"]
        assert (found["ok"], found["warning"]) == (True, warned)
        assert str(found["message"]).startswith("1.0 GiB free on the disk of ")
        assert call("doctor").code == 0


class TestComputer:
    def test_a_quota_below_one_core_is_a_warning(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("barwise.hardware.processor_quota", lambda _: 0.5)
        found = checks(call)["cores"]
        assert found["warning"] is True
        assert "the container may use 0.5 of them" in str(found["message"])

    def test_the_limit_of_a_container_is_told_beside_the_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_code, "_machine_memory", lambda: 64 * 2**30)
        monkeypatch.setattr("barwise.hardware.memory_of", lambda _: (4 * 2**30, 3 * 2**30))
        assert doctor_code._memory(4 * 2**30) == (
            "memory",
            "ok",
            "4.0 GiB, 3.0 GiB of it free; that is the container's limit, the machine has 64.0 GiB",
        )

    @pytest.mark.parametrize(("total", "free"), [(2**30, 2**30), (2**33, 2**30)])
    def test_too_little_memory_or_too_little_of_it_free_is_a_warning(
        self, monkeypatch: pytest.MonkeyPatch, total: int, free: int
    ) -> None:
        monkeypatch.setattr(doctor_code, "_machine_memory", lambda: total)
        monkeypatch.setattr("barwise.hardware.memory_of", lambda _: (total, free))
        assert doctor_code._memory(total).state == "warn"

    def test_a_card_is_named_and_a_missing_one_is_well(self) -> None:
        hardware = look_at_hardware()
        lines = {
            finding.name: finding
            for finding in doctor_code._computer(replace(hardware, card=Card("H100", 80 * 2**30), no_card=""))
        }
        assert lines["GPU"] == ("GPU", "ok", "H100, 80.0 GiB")
        lines = {
            finding.name: finding for finding in doctor_code._computer(replace(hardware, card=None, no_card="why"))
        }
        assert lines["GPU"] == ("GPU", "ok", "none: why; the processor does all the work")

    def test_a_clock_before_this_program_was_made_is_a_failure(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor_code, "_EARLIEST_CLOCK_S", 4_000_000_000)
        found = checks(call)["clock"]
        assert found["ok"] is False
        assert str(found["message"]).endswith("it is wrong: set it (NTP)")


class TestLibraries:
    def test_what_is_needed_is_what_the_project_says(self) -> None:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed, wanted = doctor_code._requirements()
        assert [str(one) for one in needed] == [str(Requirement(text)) for text in project["dependencies"]]
        names = {one.name for one in wanted}
        assert {"ray", "ccxt", "torch"} <= names
        assert "ruff" not in names

    def test_an_installed_package_is_asked_for_what_it_needs_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        described = tmp_path / "barwise-9.9.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: barwise\nVersion: 9.9\nProvides-Extra: ray\nProvides-Extra: test\n"
            "Requires-Dist: numpy>=2.1,<3\nRequires-Dist: ray>=2.40; extra == 'ray'\n"
            "Requires-Dist: ruff; extra == 'test'\nRequires-Dist: tomli; python_version < '3.11'\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        needed, wanted = doctor_code._requirements()
        assert [one.name for one in needed] == ["numpy"]
        assert [one.name for one in wanted] == ["ray"]

    def test_a_version_out_of_range_and_a_missing_library_are_told_apart(self) -> None:
        import numpy as np

        found, wrong = doctor_code._versions_of(
            [Requirement("numpy>=1"), Requirement("numpy>=99"), Requirement("no-such-library>=2")]
        )
        assert found == [f"numpy {np.__version__}"]
        assert wrong == [
            f"numpy is {np.__version__}, >=99 is needed",
            "no-such-library is not installed, >=2 is needed",
        ]

    def test_a_wrong_version_fails_and_says_how_to_put_it_right(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor_code, "_requirements", lambda: ([Requirement("numpy>=99")], []))
        outcome = call("doctor")
        assert outcome.code == 1
        [line] = [line for line in outcome.out.splitlines() if line.startswith("FAIL")]
        assert ">=99 is needed; start python3 run.py, or pip install -r requirements.txt" in line

    def test_an_extra_of_another_version_is_only_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_code, "_requirements", lambda: ([], [Requirement("numpy>=99")]))
        assert [finding.state for finding in doctor_code._libraries()] == ["ok", "warn", "ok"]

    def test_code_that_is_not_compiled_at_all_is_a_warning(self, tmp_path: Path) -> None:
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(REPOSITORY / "src")}
        said = subprocess.run(
            [sys.executable, "-m", "barwise", "doctor", "--home", str(tmp_path)],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "warn  compiler      it is switched off" in said


class TestLedger:
    def test_a_whole_one_is_told_with_its_size(self, call: Call, home: Path) -> None:
        size = new_ledger(home).stat().st_size
        assert checks(call)["ledger"]["message"] == f"whole, {size / 1e6:,.1f} MB"

    def test_one_that_another_program_writes_into_is_read_with_what_is_in_its_log(self, call: Call, home: Path) -> None:
        path = new_ledger(home)
        with sqlite3.connect(path) as other:
            other.execute("INSERT INTO ledger_version VALUES (99)")
            other.commit()
            assert path.with_name("ledger.sqlite-wal").stat().st_size > 0
            found = checks(call)["ledger"]
        other.close()
        assert found["ok"] is False
        assert "it is of version 99" in str(found["message"])

    def test_a_damaged_one_is_a_failure(self, call: Call, home: Path) -> None:
        path = new_ledger(home)
        content = bytearray(path.read_bytes())
        page = int.from_bytes(content[16:18], "big")
        content[2 * page : 4 * page] = b"\xff" * (2 * page)
        path.write_bytes(bytes(content))
        outcome = call("doctor")
        assert outcome.code == 1
        assert "FAIL  ledger        data/ledger.sqlite cannot be read (" in outcome.out
        assert "restore a copy of it, or move it away" in outcome.out

    @pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to look like one" * 40])
    def test_a_file_that_is_none_is_a_failure(self, call: Call, home: Path, content: bytes) -> None:
        (home / "data").mkdir()
        (home / "data" / "ledger.sqlite").write_bytes(content)
        assert checks(call)["ledger"]["ok"] is False

    def test_a_large_one_is_not_waited_for(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_code, "_LONGEST_CHECK_S", -1.0)
        monkeypatch.setattr(doctor_code, "_INSTRUCTIONS_A_LOOK", 1)
        path = new_ledger(home)
        assert doctor_code._looked_through(path) is False


class TestWhatRunsHaveLeft:
    def test_a_profile_of_this_computer_is_told_with_its_settings(self, call: Call, home: Path) -> None:
        profile = profile_of(hardware=look_at_hardware())
        save_profile(profile, home / "data" / FILE_NAME)
        found = checks(call)["profile"]
        assert found["warning"] is False
        assert f"{profile.threads} threads, batches of {profile.batch_size:,}, {profile.backend}" in str(
            found["message"]
        )

    def test_a_profile_of_another_computer_is_a_warning_with_the_reason(self, call: Call, home: Path) -> None:
        hardware = replace(look_at_hardware(), processor="an abacus")
        save_profile(profile_of(hardware=hardware), home / "data" / FILE_NAME)
        found = checks(call)["profile"]
        assert (found["ok"], found["warning"]) == (True, True)
        assert str(found["message"]).endswith("processor differ; barwise profile measures anew")
        assert not (home / "logs").exists()

    def test_a_broken_profile_is_a_warning(self, call: Call, home: Path) -> None:
        (home / "data").mkdir()
        (home / "data" / FILE_NAME).write_text("{")
        assert "is no hardware profile of this version" in str(checks(call)["profile"]["message"])

    def test_checkpoints_are_counted_and_weighed(self, call: Call, home: Path) -> None:
        folder = home / "data" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "7.1-00.checkpoint").write_bytes(b"x" * 2_000_000)
        (folder / "8-00.journal").write_bytes(b"x" * 500_000)
        (folder / "run-a.lock").write_bytes(b"")
        assert str(checks(call)["checkpoints"]["message"]).startswith("2 files, 2.5 MB; ")

    def test_a_run_at_work_and_one_that_was_killed_are_told(self, call: Call, home: Path) -> None:
        folder = home / "data" / "checkpoints"
        with RunLock(folder / "run-btcusdt-1h-0a1b2c3d.lock", "barwise run"):
            assert str(checks(call)["runs"]["message"]).startswith(
                f"run-btcusdt-1h-0a1b2c3d: process {os.getpid()} is at work on it since "
            )
        assert "runs" not in checks(call)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        content = {"pid": ended.pid, "started": "2026-11-22T10:00:00+00:00", "command": "barwise run"}
        (folder / "run-btcusdt-1h-0a1b2c3d.lock").write_text(json.dumps(content))
        found = checks(call)["runs"]
        assert found["message"] == (
            f"run-btcusdt-1h-0a1b2c3d: process {ended.pid} was killed at it; the same command goes on where it was"
        )
