"""Runs that are started, stopped and resumed from the page: each a process of its own, which the dashboard may outlive.

A job is `barwise run` with a file of settings, in a process group of its own: a Ctrl-C that ends the dashboard is not
for it, and one that is for it reaches its workers too. What is known of a job stands in files. Whether it runs, its log
says: the process holds a lock on it, which the system frees however it ends; so a dashboard that was started again
finds what the one before it left running.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from barwise.checkpoints.lock import is_alive
from barwise.dashboard.errors import NotFound, TooBusy
from barwise.dashboard.job_environment import child_environment
from barwise.dashboard.job_log import LONGEST, JobLog, cut_down
from barwise.dashboard.run_state import LOCK_ENDING, holder_of, is_name, state_of, trail_of
from barwise.data.files import write_atomically
from barwise.errors import CheckpointError, ConfigError, DataError, did_you_mean
from barwise.pipeline.keys import STAGES
from barwise.run_config import toml_value
from barwise.trail import is_over_several, read

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

Values = Mapping[str, Mapping[str, Any]]

# So many old jobs are remembered.
_MOST_KEPT = 50
_LOOK_SECONDS = 0.25
# So long a process may take to end after its run has.
_MOMENT_SECONDS = 10.0
# Looks between two looks at the length of the log.
_LOOKS = 120
# Processes that go on when the dashboard does not: Python warns of those that nobody holds.
_outlive: "list[subprocess.Popen[bytes]]" = []


@dataclass
class _Record:
    """What is known of a job.

    Attributes:
        job: Its name, made of its settings: the same settings are the same job.
        pid: Of its process, which leads a group of its own.
        began_ms, ended_ms: ms UTC.
        runs: The names of its runs, as far as they are known; where it has several markets, that over all of them and
            that of each market which was begun.
        state: running, done, failed, stopped or interrupted.
        stopping: Somebody has asked it to stop.
        error: Why it failed.
    """

    job: str
    pid: int
    began_ms: int
    ended_ms: int | None = None
    runs: list[str] = field(default_factory=list)
    state: str = "running"
    stopping: bool = False
    error: dict[str, Any] | None = None


class Jobs:
    """The jobs of one home folder.

    Args:
        home: The home folder; the working directory of now is that of every job, so that paths mean what they meant
            when the dashboard was started.
        tell: Told of every job that goes on, by a thread.
        most: How many may run at one time.
        grace: Seconds between the request to stop and the order.

    Attributes:
        logs: The folder of their output.
        folder: The working directory.
    """

    def __init__(
        self, home: Path, tell: Callable[[dict[str, Any]], object], *, most: int = 2, grace: float = 20.0
    ) -> None:
        self._home, self._tell, self._most, self._grace = home, tell, most, grace
        self.logs = home / "logs" / "jobs"
        self.folder = Path.cwd()
        self._records = home / "data" / "jobs"
        self._lock = threading.RLock()
        self._known: dict[str, tuple[_Record, JobLog]] | None = None
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    # -- What there is -------------------------------------------------------------------------------------------------

    def known(self) -> list[dict[str, Any]]:
        """All jobs, the newest first."""
        self.look()
        with self._lock:
            found = sorted(self._entries().values(), key=lambda pair: -pair[0].began_ms)
            return [_document(record, log) for record, log in found]

    def look(self) -> None:
        """Take what running jobs have said, and tell of it."""
        news = []
        with self._lock:
            held = self._runs_by_process() if any(r.state == "running" for r, _ in self._entries().values()) else {}
            for record, log in self._entries().values():
                if record.state != "running":
                    continue
                fresh = [run for run in held.get(record.pid, ()) if run not in record.runs]
                if fresh:
                    record.runs += fresh
                    self._save(record)
                if log.look() or fresh:
                    news.append(_document(record, log))
        for document in news:
            self._tell(document)

    # -- What changes things -------------------------------------------------------------------------------------------

    def start(self, values: Values, *, fresh: bool = False, from_stage: str | None = None) -> dict[str, Any]:
        """Start a run.

        Args:
            values: Its settings by section and key, resolved and checked.
            fresh: Forget what is kept of it.
            from_stage: Forget what is kept from this stage on.

        Returns:
            The job; `runs` is empty until its process knows what it will be called.

        Raises:
            ConfigError: There is no such stage.
            CheckpointError: The same settings are being run.
            TooBusy: Enough is being run.
            DataError: The files of the job cannot be written.
        """
        if from_stage is not None and from_stage not in STAGES:
            raise ConfigError(
                f"{from_stage} is not a stage to start from.{did_you_mean(from_stage, STAGES)}",
                hint=f"use {', '.join(STAGES)}; the stages before are never kept.",
            )
        text = toml_of(values)
        name = f"job-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        with self._lock:
            self.look()
            running = [record for record, _ in self._entries().values() if record.state == "running"]
            if any(record.job == name for record in running):
                raise CheckpointError("these settings are being run.", hint="watch that run, or stop it first.")
            if len(running) >= self._most:
                raise TooBusy(
                    f"{len(running)} jobs are running, and no more are started at one time.",
                    hint="wait until one of them has ended, or stop one.",
                    retry_after=60,
                )
            config = write_atomically(self._records / f"{name}.toml", text, mode=0o600)
            words = [*(["--fresh"] if fresh else []), *(["--from", from_stage] if from_stage else [])]
            log = JobLog(self.logs / f"{name}.jsonl")
            process = self._spawn(config, words, log.path, child_environment(os.environ, self._home, values))
            record = _Record(name, process.pid, time.time_ns() // 1_000_000)
            self._entries()[name] = (record, log)
            self._save(record)
            self._forget_old()
            self._attend(record, log, process)
            document = _document(record, log)
        logger.info("%s was started: process %d", name, record.pid)
        self._tell(document)
        return document

    def stop(self, name: str) -> dict[str, Any]:
        """Ask a run to end as Ctrl-C does, and after a while order it; what it has kept stays kept.

        Args:
            name: Of the run, or of the job where the run has no name yet. It need not have been started here.

        Raises:
            NotFound: There is no such run.
            CheckpointError: It is not running.
        """
        with self._lock:
            self.look()
            record = self._running(name)
            if record is not None:
                record.stopping = True
                self._save(record)
        pid = record.pid if record is not None else self._holder(name)
        try:
            # The leader of a group is what a terminal's Ctrl-C would be for, with its workers; a job always is one.
            group = record is not None or os.getpgid(pid) == pid
            _send(pid, signal.SIGINT, group=group)
        except ProcessLookupError:
            raise CheckpointError(f"{name} has just ended.", hint="nothing is to be stopped.") from None
        except PermissionError:
            raise CheckpointError(
                f"{name} belongs to another user, process {pid}.", hint="whoever started it can stop it."
            ) from None
        still = (lambda: self._is_running(record)) if record is not None else lambda: holder_of(self._home, name) == pid
        self._thread(lambda: self._insist(pid, group, still))
        return {"name": name, "job": None if record is None else record.job, "state": "stopping"}

    def resume(self, name: str) -> dict[str, Any]:
        """Start a run again with the settings that its trail holds; it goes on with what is kept.

        Raises:
            NotFound: There is no such run, or it left no trail.
            CheckpointError: It is running, or has nothing left to do.
            TooBusy, DataError: As `start`.
        """
        state = state_of(self._home, name) if is_name(name) else None
        trail = trail_of(self._home, name)
        if state is None or not trail.is_file():
            raise NotFound(f"there is no run {name} that could go on.", hint="GET /api/v1/runs lists the runs.")
        if state in {"running", "done"}:
            what = "is being run" if state == "running" else "is done"
            raise CheckpointError(f"{name} {what}.", hint="start a new run to have it done again.")
        line = next(read(trail, kinds=["configuration"]), None)
        if line is None:
            raise CheckpointError(
                f"{name} was cut off before it had written down its settings.", hint="start it anew: nothing is lost."
            )
        self._wait_for_end(name)
        return self.start(line["sections"]) | {"name": name}

    def close(self) -> None:
        """Stop attending to jobs; they go on."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    # -- Processes -----------------------------------------------------------------------------------------------------

    def _spawn(
        self, config: Path, words: list[str], log: Path, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        """The process of a job: it says everything into its log, and holds the lock on it."""
        # -P: a file of the working directory must not be taken for a module of the library.
        command = [sys.executable, "-P", "-m", "barwise", "run", str(config), "--json", "--home", str(self._home)]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        except OSError as error:
            raise DataError(f"{log} cannot be written: {error.strerror}.", hint="check its folder.") from error
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            return subprocess.Popen(  # noqa: S603 - this program itself
                [*command, *words], stdin=subprocess.DEVNULL, stdout=descriptor, stderr=subprocess.STDOUT,
                cwd=self.folder, env=dict(environment), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DataError(f"no process can be started: {error.strerror}.", hint="look at the load here.") from error
        finally:
            os.close(descriptor)

    def _attend(self, record: _Record, log: JobLog, process: "subprocess.Popen[bytes] | None") -> None:
        """Notice when a job ends."""

        def attend() -> None:
            looks = 0
            while _runs(record, log, process):
                if self._closed.wait(_LOOK_SECONDS):
                    if process is not None:
                        _outlive.append(process)
                    return
                looks += 1
                if looks % _LOOKS == 0 and _length(log.path) > LONGEST:
                    self.look()
                    cut_down(log.path)
            if process is not None:
                # It frees its log in its last moment, which may take one.
                try:
                    process.wait(_MOMENT_SECONDS)
                except subprocess.TimeoutExpired:
                    _outlive.append(process)
            self._ended(record, log)

        self._thread(attend)

    def _thread(self, work: Callable[[], object]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=work, name="barwise-job", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _ended(self, record: _Record, log: JobLog) -> None:
        """Write down how a job ended, and tell it."""
        with self._lock:
            log.look()
            record.ended_ms = time.time_ns() // 1_000_000
            record.error = None if log.done else log.error
            if log.done:
                record.state = "done"
            elif record.stopping or (log.error is not None and log.error["kind"] == "Interrupted"):
                record.state, record.error = "stopped", None
            elif log.error is not None:
                record.state = "failed"
            else:
                record.state, record.error = "interrupted", log.why()
            log.progress = None
            cut_down(log.path)
            self._save(record)
            document = _document(record, log)
        logger.info("%s has ended: %s", record.job, record.state)
        self._tell(document)

    def _insist(self, pid: int, group: bool, still: Callable[[], bool]) -> None:
        """Order a process to end that was asked to and did not."""
        end = time.monotonic() + self._grace
        while still():
            if time.monotonic() > end:
                logger.warning("process %d did not end when it was asked to, and is ended now", pid)
                try:
                    _send(pid, signal.SIGTERM, group=group)
                except ProcessLookupError:
                    logger.info("process %d has just ended", pid)
                return
            if self._closed.wait(0.1):
                return

    def _wait_for_end(self, name: str) -> None:
        """A run that has said that it ends has a process for a moment more."""
        with self._lock:
            record = self._running(name)
        end = time.monotonic() + _MOMENT_SECONDS
        while record is not None and self._is_running(record) and time.monotonic() < end:
            if self._closed.wait(0.05):
                return

    def _holder(self, name: str) -> int:
        """The process that is at a run which no job knows."""
        if not is_name(name) or state_of(self._home, name) is None:
            raise NotFound(f"there is no run {name}.", hint="GET /api/v1/runs lists the runs.")
        pid = holder_of(self._home, name)
        if pid is None:
            raise CheckpointError(f"{name} is not running.", hint="nothing is to be stopped.")
        if pid == os.getpid():
            raise CheckpointError(f"{name} is run by the dashboard's own process.", hint="end it there.")
        return pid

    # -- Records -------------------------------------------------------------------------------------------------------

    def _entries(self) -> dict[str, tuple[_Record, JobLog]]:
        """The jobs by name; the first time from their files."""
        if self._known is None:
            self._known = {}
            for path in sorted(self._records.glob("job-*.json")):
                try:
                    record = _Record(**json.loads(path.read_bytes()))
                except (OSError, ValueError, TypeError):
                    logger.warning("%s is no record of a job; it is left alone", path)
                    continue
                log = JobLog(self.logs / f"{record.job}.jsonl")
                log.look()
                self._known[record.job] = (record, log)
                if record.state == "running":
                    self._attend(record, log, None)
        return self._known

    def _running(self, name: str) -> _Record | None:
        for record, _ in self._entries().values():
            if record.state == "running" and (record.job == name or name in record.runs):
                # Of several markets it may be at another one by now; the job is the same.
                return record
        return None

    def _is_running(self, record: _Record) -> bool:
        with self._lock:
            return record.state == "running"

    def _runs_by_process(self) -> dict[int, list[str]]:
        """Which runs each process is at, as their locks say."""
        found: dict[int, list[str]] = {}
        for path in (self._home / "data" / "checkpoints").glob(f"*{LOCK_ENDING}"):
            run = path.name.removesuffix(LOCK_ENDING)
            pid = holder_of(self._home, run)
            if pid is not None:
                found.setdefault(pid, []).append(run)
        return found

    def _save(self, record: _Record) -> None:
        write_atomically(self._records / f"{record.job}.json", json.dumps(asdict(record)), mode=0o600)

    def _forget_old(self) -> None:
        ended = sorted(
            (record for record, _ in self._entries().values() if record.state != "running"),
            key=lambda item: item.began_ms,
        )
        for record in ended[:-_MOST_KEPT]:
            del self._entries()[record.job]
            for path in (self._records / f"{record.job}.toml", self.logs / f"{record.job}.jsonl"):
                path.unlink(missing_ok=True)
            (self._records / f"{record.job}.json").unlink(missing_ok=True)


def toml_of(values: Values) -> str:
    """Settings by section and key as a file; the same settings are always the same text."""
    parts = [
        f"[{section}]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in content.items())
        for section, content in values.items()
    ]
    return "\n".join(parts)


def _document(record: _Record, log: JobLog) -> dict[str, Any]:
    content = asdict(record)
    return {
        "job": content["job"],
        "name": _name_of(record.runs),
        "runs": content["runs"],
        "state": "stopping" if record.stopping and record.state == "running" else record.state,
        "began_ms": record.began_ms,
        "ended_ms": record.ended_ms,
        "stage": log.stage,
        "progress": log.progress,
        "plan": log.plan,
        "error": content["error"],
    }


def _name_of(runs: list[str]) -> str | None:
    """What a job is called after: the run over all of its markets, or else the run that it began last."""
    return next(filter(is_over_several, runs), runs[-1] if runs else None)


def _runs(record: _Record, log: JobLog, process: "subprocess.Popen[bytes] | None") -> bool:
    if process is not None:
        process.poll()  # one that has ended is a process as long as nobody has asked how
    if fcntl is None:
        return is_alive(record.pid)
    try:
        with log.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _send(pid: int, number: signal.Signals, *, group: bool) -> None:
    (os.killpg if group else os.kill)(pid, number)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
