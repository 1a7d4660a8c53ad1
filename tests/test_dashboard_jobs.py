"""Runs from the page: real processes that are started, stopped, killed, found again, resumed; and the form of one."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barwise.dashboard import form as form_module
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.errors import NotFound, TooBusy
from barwise.dashboard.form import DEFAULT_STRATEGY, Form
from barwise.dashboard.job_environment import child_environment
from barwise.dashboard.job_log import JobLog, cut_down
from barwise.dashboard.jobs import Jobs, toml_of
from barwise.dashboard.results import Results
from barwise.dashboard.run_settings import settings_of
from barwise.dashboard.run_state import holder_of, state_of, trail_of
from barwise.errors import CheckpointError, ConfigError, DataError
from barwise.hardware import measure_hardware, save_profile
from barwise.hardware.profile import FILE_NAME
from barwise.pipeline.stage_names import STAGES_OF_A_MARKET, STEPS
from barwise.run_config import resolve
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.trail import Event, Trail, read
from tests.command_line import BREAKOUT
from tests.conftest import REPOSITORY

Document = dict[str, Any]
Values = dict[str, dict[str, Any]]

PATIENCE = 120.0
ADDRESS = "http://127.0.0.1:8765"
QUICK: Values = {
    "market": {"start": "2024-01-01", "end": "2024-03-01"},
    "optimization": {"profile": "FAST", "num_trials": 24, "workers": 1},
    "walk_forward": {"is_length_days": 20, "oos_length_days": 10, "min_trades_per_window": 1},
    "validation": {"permutations": 0},
}
# Long enough to be stopped in the middle.
LONG: Values = QUICK | {"validation": {"permutations": 200_000}}
# Takes no notice of being asked to end.
DEAF = """
import signal, time

signal.signal(signal.SIGINT, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this computer is, roughly: a job would take seconds to time it."""
    path = tmp_path_factory.mktemp("profile") / FILE_NAME
    save_profile(measure_hardware(folder=path.parent, seconds_limit=0.2), path)
    return path


@pytest.fixture
def ready(home: Path, profile: Path) -> Path:
    """A home folder in which a job begins at once."""
    (home / "data").mkdir()
    shutil.copy(profile, home / "data" / FILE_NAME)
    return home


class Told:
    """Hears what is told of jobs."""

    def __init__(self) -> None:
        self.documents: list[Document] = []

    def __call__(self, document: Document) -> None:
        self.documents.append(document)


@pytest.fixture
def heard() -> Told:
    return Told()


@pytest.fixture
def jobs(ready: Path, heard: Told) -> Iterator[Jobs]:
    found = Jobs(ready, heard, most=2)
    yield found
    end_all(found)


def end_all(jobs: Jobs) -> None:
    """No job outlives its test."""
    for document in jobs.known():
        if document["state"] in {"running", "stopping"}:
            record = next(record for record, _ in jobs._entries().values() if record.job == document["job"])
            os.killpg(record.pid, signal.SIGKILL)
    until(lambda: all(document["ended_ms"] for document in jobs.known()))
    jobs.close()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def checked(home: Path, values: Values) -> Any:
    found = Form(home, Path.cwd(), {}).check(values)
    assert found.problems == ()
    return found.values


def last(jobs: Jobs) -> Document:
    return jobs.known()[0]


def ended(jobs: Jobs) -> Document:
    until(lambda: last(jobs)["ended_ms"] is not None)
    return last(jobs)


def at_stage(jobs: Jobs, number: str) -> str:
    """Wait until a job has come to a stage; the name of its run."""

    def there() -> bool:
        found = last(jobs)
        assert found["ended_ms"] is None, found
        return found["stage"] is not None and found["stage"]["number"] == number and found["name"] is not None

    until(there)
    name: str = last(jobs)["name"]
    return name


class TestJobs:
    def test_a_job_is_the_run_of_the_command_line(self, jobs: Jobs, ready: Path, heard: Told) -> None:
        values = checked(ready, QUICK)
        begun = jobs.start(values)
        assert (begun["state"], begun["name"]) == ("running", None)
        document = ended(jobs)
        assert (document["state"], document["error"]) == ("done", None), document
        name = document["name"]
        assert state_of(ready, name) == "done"
        # The configuration of its report is the one that it was given.
        report = resolve(ready / "data" / "results" / f"{name}.config.toml", environment={}, load=lambda _: EmaRsiAtr)
        assert report.values == values
        assert [line["name"] for line in document["plan"]][:3] == ["integers", "real values", "timeouts"]
        until(lambda: heard.documents[-1]["state"] == "done")
        assert {told["job"] for told in heard.documents} == {begun["job"]}
        config = ready / "data" / "jobs" / f"{begun['job']}.toml"
        log = ready / "logs" / "jobs" / f"{begun['job']}.jsonl"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (config, log)] == [0o600, 0o600]
        lines = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert lines[-1] == "result"
        assert "progress" not in lines

    def test_a_job_is_stopped_as_by_ctrl_c_and_goes_on_when_it_is_resumed(self, jobs: Jobs, ready: Path) -> None:
        job = jobs.start(checked(ready, LONG))["job"]
        name = at_stage(jobs, "8")
        with pytest.raises(CheckpointError, match="is being run"):
            jobs.resume(name)
        assert jobs.stop(name) == {"name": name, "job": job, "state": "stopping"}
        assert ended(jobs)["state"] == "stopped"
        lines = list(read(trail_of(ready, name)))
        assert lines[-1]["kind"] == "interrupted"
        assert state_of(ready, name) == "interrupted"
        with pytest.raises(CheckpointError, match="is not running"):
            jobs.stop(name)

        again = jobs.resume(name)
        assert (again["job"], again["name"]) == (job, name)
        assert at_stage(jobs, "8") == name
        jobs.stop(job)  # by its own name too
        assert ended(jobs)["state"] == "stopped"
        lines = list(read(trail_of(ready, name)))
        resumed = next(line["seq"] for line in lines if line["kind"] == "run_resumed")
        kept = [line["name"] for line in lines[resumed:] if line.get("state") == "kept"]
        assert kept[-4:] == ["integers", "real values", "timeouts", "neighbourhood"]

    def test_the_same_settings_are_not_run_twice_and_no_more_than_a_few_at_once(self, jobs: Jobs, ready: Path) -> None:
        long = [checked(ready, LONG | {"optimization": {**LONG["optimization"], "seed": seed}}) for seed in (1, 2, 3)]
        jobs.start(long[0])
        with pytest.raises(CheckpointError, match="these settings are being run"):
            jobs.start(long[0])
        jobs.start(long[1])
        with pytest.raises(TooBusy, match="2 jobs are running"):
            jobs.start(long[2])
        assert len(jobs.known()) == 2

    def test_a_dashboard_that_is_started_again_finds_what_is_running(self, ready: Path, heard: Told) -> None:
        program = (
            "import json, sys\nfrom pathlib import Path\nfrom barwise.dashboard.jobs import Jobs\n"
            "jobs = Jobs(Path(sys.argv[1]), print)\njobs.start(json.loads(sys.argv[2]))\n"
        )
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
        words = [sys.executable, "-c", program, str(ready), json.dumps(checked(ready, LONG))]
        subprocess.run(words, env=environment, check=True, capture_output=True)
        jobs = Jobs(ready, heard)
        try:
            name = at_stage(jobs, "8")
            assert holder_of(ready, name) is not None
            with pytest.raises(CheckpointError, match="these settings are being run"):
                jobs.start(checked(ready, LONG))
            jobs.stop(name)
            assert ended(jobs)["state"] == "stopped"
        finally:
            end_all(jobs)
        # And the next one knows how it ended.
        after = Jobs(ready, heard)
        assert [(found["name"], found["state"]) for found in after.known()] == [(name, "stopped")]
        after.close()

    def test_a_job_that_is_killed_is_interrupted(self, jobs: Jobs, ready: Path) -> None:
        jobs.start(checked(ready, LONG))
        name = at_stage(jobs, "8")
        holder = holder_of(ready, name)
        assert holder is not None
        os.killpg(holder, signal.SIGKILL)
        assert ended(jobs)["state"] == "interrupted"
        assert state_of(ready, name) == "interrupted"

    def test_a_job_that_takes_no_notice_is_ended_after_a_while(self, ready: Path, heard: Told) -> None:
        (ready / "deaf.py").write_text(DEAF)
        jobs = Jobs(ready, heard, grace=0.3)
        try:
            job = jobs.start({"strategy": {"class": "deaf.py:Deaf"}})["job"]
            log = ready / "logs" / "jobs" / f"{job}.jsonl"
            until(lambda: "deaf" in log.read_text())
            jobs.stop(job)
            assert ended(jobs)["state"] == "stopped"
        finally:
            end_all(jobs)

    def test_a_job_that_fails_says_why(self, jobs: Jobs, ready: Path) -> None:
        jobs.start(checked(ready, {"market": {"file": "missing.csv"}}))
        document = ended(jobs)
        assert document["state"] == "failed"
        assert document["error"]["kind"] == "DataError"
        assert "missing.csv" in document["error"]["message"]
        assert document["runs"] == []

    def test_a_run_of_a_terminal_can_be_stopped_and_resumed_too(self, jobs: Jobs, ready: Path) -> None:
        config = ready / "long.toml"
        config.write_text(toml_of(checked(ready, LONG)))
        words = [sys.executable, "-m", "barwise", "run", str(config), "--yes", "--quiet", "--home", str(ready)]
        process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}, process_group=0)
        locks = ready / "data" / "checkpoints"
        try:
            until(lambda: any(path.stat().st_size for path in locks.glob("run-*.lock")))
            name = next(locks.glob("run-*.lock")).stem
            until(lambda: any(line["kind"] == "configuration" for line in _lines(ready, name)))
            assert jobs.stop(name) == {"name": name, "job": None, "state": "stopping"}
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
            process.wait()
        jobs.resume(name)
        assert at_stage(jobs, "8") == name

    def test_what_is_not_there_can_be_neither_stopped_nor_resumed(self, jobs: Jobs) -> None:
        for name in ("run-nobody", "../x", "job-000000000000"):
            with pytest.raises(NotFound):
                jobs.stop(name)
            with pytest.raises(NotFound):
                jobs.resume(name)

    def test_a_stage_that_is_none_is_refused(self, jobs: Jobs) -> None:
        with pytest.raises(ConfigError, match=r"7\.4 is not a stage"):
            jobs.start({}, from_stage="7.4")


def _lines(home: Path, name: str) -> list[Document]:
    path = trail_of(home, name)
    return list(read(path)) if path.is_file() else []


class TestEnvironment:
    def test_secrets_that_are_not_needed_are_not_passed_on(self, tmp_path: Path) -> None:
        given = {
            "PATH": "/bin", "LC_ALL": "C", "NUMBA_NUM_THREADS": "2", "AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x",
            "BINANCE_API_KEY": "b", "BINANCE_BASE_URL": "u", "DELTA_API_KEY": "d", "PGPASSWORD": "p",
            "BARWISE_DASHBOARD_TOKEN": "t", "BARWISE_OPTIMIZATION__NUM_TRIALS": "9",
        }  # fmt: skip
        sample = child_environment(given, tmp_path, {"market": {"exchange": None}})
        assert set(sample) == {"PATH", "LC_ALL", "NUMBA_NUM_THREADS", "PYTHONPATH", "BARWISE_HOME"}
        assert sample["BARWISE_HOME"] == str(tmp_path)
        several = {"market": {"exchange": None, "markets": [{"exchange": "binance_um"}, {"exchange": "SAMPLE"}]}}
        assert set(child_environment(given, tmp_path, several)) - set(sample) == {"BINANCE_API_KEY", "BINANCE_BASE_URL"}

    def test_a_ledger_on_a_server_keeps_its_password_out_of_files(self, tmp_path: Path) -> None:
        address = "postgresql://me:secret@host/ledger"
        given = {"BARWISE_OPTIMIZATION__STORAGE": address, "PGPASSWORD": "p"}
        form = Form(tmp_path, tmp_path, given)
        values = form.check({}).values
        assert "secret" not in toml_of(values)
        assert child_environment(given, tmp_path, values) | given == child_environment(given, tmp_path, values)
        resumed = {"optimization": {"storage": "postgresql://me@host/ledger"}}
        assert child_environment(given, tmp_path, resumed)["BARWISE_OPTIMIZATION__STORAGE"] == address
        other = {"optimization": {"storage": "mine.sqlite"}}
        assert "BARWISE_OPTIMIZATION__STORAGE" not in child_environment(given, tmp_path, other)


class TestLog:
    PROGRESS = b'{"event": "progress", "step": "trials", "done": 1, "total": 9}\n'

    def test_what_is_half_written_waits(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        log = JobLog(path)
        assert not log.look()
        path.write_bytes(b'{"event": "stage", "number": "5", "name": "candles", "market": ""}\n' + self.PROGRESS[:20])
        assert log.look()
        assert log.stage == {"number": "5", "name": "candles", "market": ""}
        assert log.progress is None
        with path.open("ab") as file:
            file.write(self.PROGRESS[20:])
        assert log.look()
        assert log.progress == {"step": "trials", "done": 1, "total": 9}
        assert not log.look()

    def test_a_log_that_was_cut_down_is_read_on_from_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(
            b'{"event": "stage", "number": "8", "name": "verdict", "market": ""}\n' + 20_000 * self.PROGRESS
        )
        log = JobLog(path)
        log.look()
        with path.open("ab", buffering=0) as writer:  # as the process has it
            cut_down(path)
            assert path.stat().st_size < 200
            assert not log.look()
            writer.write(b'{"error": {"kind": "DataError", "message": "no", "hint": "", "exit_code": 1}}\n')
        assert log.look()
        assert log.error == {"kind": "DataError", "message": "no", "hint": ""}
        assert log.stage == {"number": "8", "name": "verdict", "market": ""}

    def test_a_result_of_megabytes_is_kept_as_a_word(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(self.PROGRESS + b'{"event": "result", "runs": "' + b"x" * 5_000_000 + b'"}\n')
        log = JobLog(path)
        log.look()
        assert log.done
        cut_down(path)
        assert path.read_bytes() == b'{"event": "result"}\n'

    def test_secrets_of_the_last_words_are_hidden(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"Fatal: api_key=abcdefgh12345678\n")
        log = JobLog(path)
        log.look()
        assert log.why()["message"].startswith("Fatal: api_key=")
        assert "abcdefgh" not in log.why()["message"]


class TestForm:
    @pytest.fixture
    def form(self, home: Path) -> Form:
        return Form(home, home, {})

    def test_a_form_that_says_nothing_is_the_run_that_says_nothing(self, form: Form) -> None:
        told = resolve(
            None, environment={}, load=lambda _: EmaRsiAtr, defaults={"optimization": {"optuna_sampler": "AUTO"}}
        )
        assert form.check({}).values == told.values
        assert form.document()["values"] == told.values

    def test_what_it_comes_to_means_the_same_as_a_file(self, form: Form, home: Path) -> None:
        values = form.check(QUICK | {"strategy": {"ema_fast": 12}, "execution": {"fees": "BINANCE"}}).values
        file = home / "again.toml"
        file.write_text(toml_of(values))
        assert resolve(file, environment={}, load=lambda _: EmaRsiAtr).values == values

    def test_everything_that_is_wrong_is_told_by_its_key(self, form: Form) -> None:
        found = form.check(
            {
                "market": {"start": "yesterday", "symbl": "X"},
                "strategy": {"ema_fast": "20", "ema_fsat": 3},
                "optimization": {"num_trials": 0, "profile": "QUICK"},
                "walkforward": {"x": 1},
            }
        )
        places = {(problem.section, problem.key) for problem in found.problems}
        assert places == {
            ("market", "symbl"), ("strategy", "ema_fast"), ("strategy", "ema_fsat"), ("optimization", "num_trials"),
            ("optimization", "profile"), ("walkforward", ""),
        }  # fmt: skip
        assert found.values == {}
        text = " ".join(problem.message for problem in found.problems)
        assert "Did you mean ema_fast?" in text
        assert "Did you mean walk_forward?" in text
        assert "form.toml" not in text

    @pytest.mark.parametrize(
        ("market", "key"),
        [
            ({"exchange": "BINANCEE", "symbol": "BTCUSDT"}, "exchange"),
            ({"symbol": "NOSUCH"}, "symbol"),
            ({"start": "2025-01-01", "end": "2024-01-01"}, ""),
            ({"quantity": -1.0}, "quantity"),
        ],
    )
    def test_a_market_that_cannot_be_is_told_before_anything_is_started(
        self, form: Form, market: dict[str, Any], key: str
    ) -> None:
        [problem] = form.check({"market": market}).problems
        assert problem.section == "market"
        assert problem.key in {key, "start", "end"} if not key else problem.key == key

    @pytest.mark.parametrize(
        ("second", "part"),
        [
            ({"symbol": "NOSUCH"}, "symbol"),
            ({"exchange": "BINANCEE", "symbol": "BTCUSDT"}, "exchange"),
            ({"exchange": "BINANCE"}, "exchange"),
            ({"timeframe": "7X"}, "timeframe"),
            ({"quantity": "many"}, "quantity"),
            ({"quantity": -1.0}, "quantity"),
            ({"symbl": "SAMPLE-ETH"}, ""),
        ],
    )
    def test_what_is_wrong_with_one_of_several_markets_is_told_by_its_row(
        self, form: Form, second: dict[str, Any], part: str
    ) -> None:
        [problem] = form.check({"market": {"markets": [{"symbol": "SAMPLE-BTC"}, second]}}).problems
        assert (problem.section, problem.key, problem.row, problem.part) == ("market", "markets", 1, part)

    def test_each_wrong_row_is_told_and_a_market_named_twice_is_none_of_them(self, form: Form) -> None:
        wrong = [{"symbol": "A"}, {"symbol": "SAMPLE-BTC"}, {"exchange": "BINANCE"}]
        assert [problem.row for problem in form.check({"market": {"markets": wrong}}).problems] == [0, 2]
        [problem] = form.check({"market": {"markets": [{}, {"symbol": "sample-btc"}]}}).problems
        assert (problem.key, problem.row) == ("markets", None)
        assert "named twice" in problem.message

    @pytest.mark.parametrize(
        ("section", "key", "value"),
        [
            ("market", "file", "/etc/passwd"),
            ("market", "file", "../../etc/passwd"),
            ("market", "detail_file", "link/passwd"),
            ("market", "funding_file", "~root/../etc/passwd\0"),
            ("market", "markets", [{"symbol": "A"}, {"file": "/etc/hostname"}]),
            ("optimization", "storage", "/tmp/ledger.sqlite"),
            ("optimization", "storage", "postgresql://me@elsewhere/ledger"),
            ("optimization", "address", "ray://elsewhere:10001"),
            ("strategy", "class", "/etc/strategy.py:Mine"),
            ("strategy", "class", "os.path:Mine"),
            ("strategy", "class", "antigravity"),
        ],
    )
    def test_a_page_names_no_file_of_elsewhere_no_module_and_no_server(
        self, form: Form, home: Path, section: str, key: str, value: Any
    ) -> None:
        (home / "link").symlink_to("/etc")
        found = form.check({section: {key: value}})
        assert [(problem.section, problem.key) for problem in found.problems] == [(section, key)]

    def test_files_of_the_home_folder_and_of_the_working_directory_may_be_named(self, tmp_path: Path) -> None:
        homes = tmp_path / "home", tmp_path / "work"
        form = Form(*homes, {})
        for file in (str(homes[0] / "a.csv"), str(homes[1] / "a.csv"), "a.csv", "data/../a.csv", "none"):
            assert form.check({"market": {"file": file}}).problems == ()
        assert form.check({"market": {"file": "../a.csv"}}).problems

    def test_the_code_of_a_strategy_is_run_by_another_process(self, form: Form, home: Path) -> None:
        mark = "import os, pathlib\npathlib.Path('imported_by').write_text(str(os.getpid()))\nprint('hello')\n"
        (home / "breakout.py").write_text(mark + BREAKOUT)
        assert form.document()["strategies"] == [DEFAULT_STRATEGY, "breakout.py:Breakout"]
        assert not (home / "imported_by").exists()
        found = form.check({"strategy": {"class": "breakout.py:Breakout", "lookback": 30}})
        assert found.problems == ()
        assert found.values["strategy"]["lookback"] == 30
        assert found.values["optimization"]["optuna_sampler"] == "AUTO"
        assert int((home / "imported_by").read_text()) != os.getpid()
        [problem] = form.check({"strategy": {"class": "breakout.py:Breakout", "lookbak": 30}}).problems
        assert (problem.section, problem.key) == ("strategy", "lookbak")
        assert "Did you mean lookback?" in problem.message

    def test_only_a_strategy_of_the_home_folder_is_run(self, tmp_path: Path) -> None:
        home, work = tmp_path / "home", tmp_path / "work"
        for folder in (home, work):
            folder.mkdir()
            (folder / "breakout.py").write_text(BREAKOUT)
        (home / "linked.py").symlink_to(work / "breakout.py")
        form = Form(home, work, {})
        assert form.document()["strategies"] == [
            DEFAULT_STRATEGY,
            f"{home}/breakout.py:Breakout",
            f"{home}/linked.py:Breakout",
        ]
        assert form.check({"strategy": {"class": f"{home}/breakout.py:Breakout"}}).problems == ()
        for elsewhere in (
            "breakout.py:Breakout",
            str(work / "breakout.py"),
            str(home / "linked.py"),
            "../work/breakout.py",
        ):
            [problem] = form.check({"strategy": {"class": elsewhere}}).problems
            assert "not below the home folder" in problem.message
            with pytest.raises(ConfigError, match="not below the home folder"):
                form.parameters(elsewhere)

    def test_the_parameters_of_a_strategy_are_those_that_it_declares(self, form: Form, home: Path) -> None:
        declared = (
            "import os, pathlib\nfrom typing import Literal\nfrom barwise import Bool, Float\n"
            "pathlib.Path('imported_by').write_text(str(os.getpid()))\nprint('{')\n"
        )
        own = '    share: float = Float(0.5, low=0.1, high=0.9, help="of the range")\n    rising: bool = Bool(True)\n'
        own += '    kind: Literal["high", "close"] = "high"\n'
        file = home / "breakout.py"
        file.write_text(declared + BREAKOUT.replace("    lookback", f"{own}    lookback"))
        schema = form.parameters("breakout.py:Breakout")
        assert int((home / "imported_by").read_text()) != os.getpid()
        found = schema["properties"]
        assert set(list(found)[1:5]) == {"share", "rising", "kind", "lookback"}  # its own come first
        assert (found["lookback"]["type"], found["lookback"]["minimum"], found["lookback"]["default"]) == (
            "integer",
            2,
            20,
        )
        share = found["share"]
        assert (share["type"], share["minimum"], share["maximum"], share["description"]) == (
            "number",
            0.1,
            0.9,
            "of the range",
        )
        assert (found["rising"]["type"], found["kind"]["enum"]) == ("boolean", ["high", "close"])
        built_in = form.parameters(DEFAULT_STRATEGY)["properties"]
        assert "ema_fast" in built_in
        assert "ema_fast" not in found
        assert set(found) - set(built_in) == {"share", "rising", "kind", "lookback"}
        file.write_text("def (")
        with pytest.raises(ConfigError, match="SyntaxError"):
            form.parameters("breakout.py:Breakout")

    def test_a_strategy_that_never_ends_or_cannot_be_read_is_a_problem_of_its_class(
        self, form: Form, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "deaf.py").write_text(DEAF)
        (home / "broken.py").write_text("def (")
        [broken] = form.check({"strategy": {"class": "broken.py:Mine"}}).problems
        assert broken[:2] == ("strategy", "class")
        assert "SyntaxError" in broken.message
        monkeypatch.setattr(form_module, "_PATIENCE_SECONDS", 2.0)
        [deaf] = form.check({"strategy": {"class": "deaf.py:Mine"}}).problems
        assert deaf[:3] == ("strategy", "class", "its file took more than 2 s to import.")

    def test_the_environment_gives_defaults_and_the_page_comes_before_it(self, home: Path) -> None:
        given = {"BARWISE_OPTIMIZATION__NUM_TRIALS": "33", "BARWISE_OPTIMIZATION__SEED": "7"}
        form = Form(home, home, given)
        document = form.document()
        assert document["values"]["optimization"]["num_trials"] == 33
        assert document["sources"]["optimization"]["num_trials"] == "environment"
        values = form.check({"optimization": {"num_trials": 50}}).values
        assert (values["optimization"]["num_trials"], values["optimization"]["seed"]) == (50, 7)

    @given(
        st.dictionaries(
            st.sampled_from(["market", "strategy", "execution", "optimization", "walk_forward", "validation", "x", ""]),
            st.dictionaries(
                st.sampled_from(["file", "class", "start", "markets", "ranges", "storage", "fees", "seed", "a b", ""])
                | st.text(max_size=5),
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
                    max_leaves=5,
                ),
                max_size=3,
            ),
            max_size=3,
        )
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_a_page_sends_is_right_or_has_a_problem(self, home: Path, values: Values) -> None:
        found = Form(home, home, {}).check(values)
        assert bool(found.problems) != bool(found.values)
        assert all(problem.message for problem in found.problems)


class TestSettings:
    @pytest.fixture
    def results(self, home: Path) -> Results:
        return Results(home)

    def test_those_of_a_run_stand_in_its_trail(self, results: Results, home: Path) -> None:
        sections = {"market": {"start": "2025-01-01", "quantity": None}, "strategy": {"class": "breakout.py:Breakout"}}
        with Trail(trail_of(home, "run-x"), run="run-x") as trail:
            trail.say("run_begun")
            trail.add([Event("configuration", "configuration", {"sections": sections})])
        assert settings_of(results, "run-x") == sections

    def test_those_of_another_command_stand_in_the_file_beside_it(self, results: Results, home: Path) -> None:
        folder = home / "data" / "results"
        folder.mkdir(parents=True)
        (folder / "one.json").write_text('{"metrics": {}}')
        with pytest.raises(NotFound, match="nothing says how one was begun"):
            settings_of(results, "one")
        file = folder / "one.config.toml"
        file.write_text('[market]\nsymbol = "SAMPLE-ETH"\nend = "none"\n[unknown]\nx = 1\n')
        assert settings_of(results, "one") == {"market": {"symbol": "SAMPLE-ETH", "end": None}}
        file.write_text("[market")
        with pytest.raises(DataError, match="no file of settings"):
            settings_of(results, "one")
        with pytest.raises(NotFound):
            settings_of(results, "../one")

    def test_they_are_settings_of_the_same_run(self, jobs: Jobs, ready: Path) -> None:
        values = checked(ready, QUICK)
        jobs.start(values)
        name = ended(jobs)["name"]
        assert checked(ready, {key: dict(found) for key, found in settings_of(Results(ready), name).items()}) == values


class Page:
    """A page of the dashboard: what it may ask, and how it asks."""

    def __init__(self, client: FlaskClient, csrf: str) -> None:
        self._client, self._csrf = client, csrf

    def get(self, path: str) -> Document:
        answer = self._client.get(f"/api/v1{path}", base_url=ADDRESS)
        assert answer.status_code == 200, answer.text
        return dict(json.loads(answer.text))

    def post(self, path: str, content: Document | None = None) -> tuple[int, Document]:
        headers = {"Origin": ADDRESS, "X-Barwise-CSRF": self._csrf}
        answer = self._client.post(f"/api/v1{path}", json=content, base_url=ADDRESS, headers=headers)
        return answer.status_code, json.loads(answer.text)


class TestEndpoints:
    @pytest.fixture
    def page(self, ready: Path) -> Iterator[Page]:
        app = create_app(DashboardConfig(home=ready))
        state = app.extensions["barwise"]
        yield Page(app.test_client(), state.csrf)
        end_all(state.live.jobs)
        state.close()

    def test_a_run_is_started_watched_and_stopped_over_the_api(self, page: Page) -> None:
        status, begun = page.post("/runs", {"values": LONG})
        assert (status, begun["state"]) == (200, "running")

        def now() -> Document:
            [found] = page.get("/jobs")["jobs"]
            assert found["job"] == begun["job"]
            return dict(found)

        until(lambda: now()["name"])
        name = now()["name"]
        assert page.post("/runs", {"values": LONG})[0] == 409
        assert page.post(f"/runs/{name}/stop")[1] == {"name": name, "job": begun["job"], "state": "stopping"}
        until(lambda: now()["ended_ms"])
        assert now()["state"] == "stopped"

    def test_a_form_with_problems_starts_nothing(self, page: Page, ready: Path) -> None:
        values = {"values": {"optimization": {"num_trials": 0}, "market": {"file": "/etc/passwd"}}}
        status, found = page.post("/form/check", values)
        assert (status, found["ok"], found["resolved"]) == (200, False, None)
        assert {error["key"] for error in found["errors"]} == {"num_trials", "file"}
        status, refused = page.post("/runs", values)
        assert status == 400
        assert "1 more" in refused["error"]["message"]
        assert not (ready / "data" / "jobs").exists()

    def test_the_form_tells_everything_that_a_run_takes(self, page: Page) -> None:
        form = page.get("/form")
        assert set(form["schema"]["properties"]) == set(form["values"]) == set(form["sources"])
        assert "SAMPLE" in form["venues"]
        assert page.post("/form/check", {"values": form["values"]})[1]["ok"]

    def test_the_stages_are_those_of_the_pipeline(self, page: Page) -> None:
        told = page.get("/stages")
        assert [(one["number"], one["name"]) for one in told["stages"]] == list(STAGES_OF_A_MARKET)
        assert [one["name"] for one in told["steps"]] == [step.name for step in STEPS]
        assert {one["planned"] for one in told["steps"]} == {"walk-forward", "shuffled", "verdict"}

    def test_a_strategy_is_asked_for_its_parameters_by_a_page_only(self, page: Page, ready: Path) -> None:
        (ready / "breakout.py").write_text(BREAKOUT)
        name = str(ready / "breakout.py:Breakout")
        status, found = page.post("/form/strategy", {"name": name})
        assert (status, found["schema"]["properties"]["lookback"]["minimum"]) == (200, 2)
        assert found["error"] is None
        status, refused = page.post("/form/strategy", {"name": "/etc/strategy.py:Mine"})
        assert (status, refused["schema"]) == (200, None)
        assert "not below the home folder" in refused["error"]["message"]
        answer = page._client.post("/api/v1/form/strategy", json={"name": name}, base_url=ADDRESS)
        assert answer.status_code == 403

    @pytest.mark.parametrize("name", ["nobody", "a%00b", "..%5Cx"])
    def test_unknown_names_are_not_found(self, page: Page, name: str) -> None:
        assert page.post(f"/runs/{name}/stop")[0] == 404
        assert page.post(f"/runs/{name}/resume")[0] == 404
