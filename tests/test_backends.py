"""The same function on threads, processes and Ray: one answer, in order, and nothing left behind, whatever happens."""

import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.backend_tasks as work
from barwise.backends import Backend, checked_workers, open_backend, usable_cores
from barwise.config import OptimizationConfig
from barwise.data.synthetic import sample_candles
from barwise.errors import APIError, BacktestError, BarwiseError, ConfigError, RateLimitError
from barwise.manifest.strategies import load_strategy
from barwise.optimizer.engine import optimize
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper
from tests.conftest import REPOSITORY

# Handed out and not yet asked for: four tasks for each of two workers.
WINDOW = 8


@pytest.fixture(scope="module")
def ray_backend() -> Iterator[Backend]:
    pytest.importorskip("ray")
    with open_backend("ray", 2) as backend:
        yield backend


@pytest.fixture(params=["threads", "processes", "ray"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_backend")
        return
    with open_backend(request.param, 2) as opened:
        yield opened


@pytest.fixture(params=["processes", "ray"])
def remote(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backends whose workers are other processes."""
    if request.param == "ray":
        yield request.getfixturevalue("ray_backend")
        return
    with open_backend(request.param, 2) as opened:
        yield opened


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process, empty and our own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def drawn(tasks: range, seen: list[int]) -> Iterator[int]:
    for task in tasks:
        seen.append(task)
        yield task


def test_answers_come_in_the_order_of_tasks_though_later_ones_are_done_first(backend: Backend) -> None:
    assert list(backend.map(work.uneven, backend.share(3), range(20))) == [3 * task for task in range(20)]


def test_no_tasks_give_no_answers(backend: Backend) -> None:
    assert list(backend.map(work.nothing, backend.share(None), [])) == []


def test_tasks_are_drawn_only_a_few_per_worker_ahead(backend: Backend) -> None:
    seen: list[int] = []
    answers = backend.map(work.nothing, backend.share(None), drawn(range(1_000_000), seen))
    assert seen == []
    for taken in range(1, 30):
        assert next(answers) == taken - 1
        assert taken <= len(seen) <= taken + WINDOW
    assert list(itertools.islice(backend.map(work.nothing, backend.share(None), itertools.count()), 3)) == [0, 1, 2]


def test_candles_arrive_whole(backend: Backend) -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-01-15")
    found = list(backend.map(work.fingerprint, backend.share(candles), [0, 7]))
    assert found == [candles.fingerprint, candles[7:].fingerprint]


def test_a_sweep_is_the_same_to_the_bit_on_every_backend(backend: Backend) -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-02-15")
    batches = [range(10, 14), range(14, 21)]
    expected = [work.swept(candles, batch) for batch in batches]
    assert expected[0] != expected[1]
    assert list(backend.map(work.swept, backend.share(candles), batches)) == expected


def test_arrays_keep_their_kind_so_that_no_machine_code_is_compiled_twice(backend: Backend) -> None:
    fixed = np.arange(5.0)
    fixed.setflags(write=False)
    value = {
        "odd": np.arange(3, dtype=np.int8),  # the array after it would not be aligned by itself
        "writable": np.arange(1000.0),
        "fixed": fixed,
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "empty": np.empty(0),
    }
    assert list(backend.map(work.flags, backend.share(value), value)) == [work.flags(value, name) for name in value]


def test_a_worker_unpickles_a_shared_value_once(remote: Backend) -> None:
    shared = remote.share(work.Counted(os.getpid() + id(remote)))
    answers = [*remote.map(work.tell, shared, range(40)), *remote.map(work.tell, shared, range(40, 60))]
    assert [task for task, _, _ in answers] == list(range(60))
    assert {times for _, _, times in answers} == {1}
    pids = {pid for _, pid, _ in answers}
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_threads_share_the_value_itself() -> None:
    value = work.Counted(-1)
    with open_backend("threads", 2) as backend:
        answers = list(backend.map(work.tell, backend.share(value), range(4)))
    assert {(pid, times) for _, pid, times in answers} == {(os.getpid(), 0)}


def test_what_one_worker_writes_reaches_neither_the_others_nor_this_process() -> None:
    value = np.full(10_000, -1.0)
    with open_backend("processes", 1) as one:
        shared = one.share(value)
        assert list(one.map(work.overwrite, shared, [5, 6])) == [-1.0, 5.0]
        with open_backend("processes", 1) as other:
            assert list(other.map(work.overwrite, other.share(value), [7])) == [-1.0]
    assert value[0] == -1.0


def test_many_values_can_be_shared_at_a_time(remote: Backend) -> None:
    handles = [remote.share(number) for number in range(9)]
    for _ in range(2):
        assert [next(remote.map(work.uneven, handle, [2])) for handle in handles] == [2 * n for n in range(9)]


def test_errors_of_the_function_come_unchanged_at_their_place(backend: Backend) -> None:
    answers = backend.map(work.raising, backend.share(None), range(100))
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ConfigError) as caught:
        next(answers)
    assert (caught.value.message, caught.value.hint) == ("three came; others are allowed.", "give another.")
    assert list(answers) == []
    with pytest.raises(RateLimitError) as limited:
        list(backend.map(work.raising, backend.share(None), [0, 4, 3]))
    assert vars(limited.value) | {"__notes__": None} == {
        "message": "too often.", "hint": "wait.", "status": 429, "code": "X1", "retry_after": 2.5, "__notes__": None,
    }  # fmt: skip
    with pytest.raises(ZeroDivisionError) as divided:
        list(backend.map(work.raising, backend.share(None), [5]))
    assert str(divided.value) == "by the function itself"
    with pytest.raises(SystemExit) as left:
        list(backend.map(work.raising, backend.share(None), [6]))
    assert left.value.code == 7


def test_an_error_from_a_worker_notes_where_it_was_raised(remote: Backend) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(remote.map(work.raising, remote.share(None), [5]))
    assert "backend_tasks.py" in caught.value.__notes__[0]


@pytest.mark.parametrize(("task", "name"), [(7, "LostError: 1 2"), (8, "BarwiseError: a lock cannot travel.")])
def test_an_error_that_cannot_travel_becomes_one_that_names_it(remote: Backend, task: int, name: str) -> None:
    with pytest.raises(BacktestError, match=f"a worker raised {name}"):
        list(remote.map(work.raising, remote.share(None), [task]))


def test_a_function_without_an_address_is_refused_at_once(remote: Backend) -> None:
    def local(shared: Any, task: int) -> int:
        return task

    functions: list[Callable[[Any, int], int]] = [local, lambda _, task: task]
    for function in functions:
        with pytest.raises(ConfigError, match=r"the function .* cannot be sent to another process") as caught:
            remote.map(function, remote.share(None), [1])
        assert "top level of a module" in caught.value.hint


def test_a_function_that_workers_cannot_import_is_named(remote: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_in_this_process")
    exec("def local(shared, task): return task", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_in_this_process", module)
    with pytest.raises(ConfigError, match=r"a worker cannot unpack its work: .*only_in_this_process"):
        list(remote.map(module.local, remote.share(None), [1]))


STRATEGY = """
from barwise import Bars, Int, Plan, Strategy
from {helper} import entries


class Own(Strategy):
    lookback: int = Int(20, low=2)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=entries(bars, self.lookback))
"""
HELPER = """
def entries(bars, lookback):
    return bars.close > bars.open
"""


@pytest.fixture
def strategy_file(tmp_path: Path) -> Path:
    """A strategy that imports a file beside it; its names are its own, because modules stay when a test has ended."""
    number = next(NUMBERS)
    (tmp_path / f"helper_{number}.py").write_text(HELPER)
    path = tmp_path / f"own_{number}.py"
    path.write_text(STRATEGY.format(helper=f"helper_{number}"))
    return path


NUMBERS = itertools.count(os.getpid())


def test_workers_load_a_strategy_of_a_file_and_what_it_imports(remote: Backend, strategy_file: Path) -> None:
    kind = load_strategy(f"{strategy_file}:Own")
    assert str(strategy_file.parent) not in sys.path
    tasks = [kind(), kind().replace(lookback=7)]
    # As the shared value, as a task and as an answer.
    assert list(remote.map(work.both, remote.share(kind()), tasks)) == [(kind(), task) for task in tasks]


def test_workers_load_a_module_of_the_working_directory(
    remote: Backend, strategy_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(strategy_file.parent)
    kind = load_strategy(f"{strategy_file.stem}:Own")
    monkeypatch.chdir("/")
    assert list(remote.map(work.both, remote.share(kind()), [1])) == [(kind(), 1)]
    helper = sys.modules[strategy_file.stem.replace("own", "helper")].entries
    # What the module imported is found as well, and before the module itself.
    assert list(remote.map(work.nothing, remote.share(None), [helper])) == [helper]


@pytest.mark.parametrize("changed", ["own", "helper"])
def test_a_strategy_that_has_changed_since_it_was_loaded_is_an_error_in_workers(
    remote: Backend, strategy_file: Path, changed: str
) -> None:
    kind = load_strategy(f"{strategy_file}:Own")
    path = strategy_file.with_name(strategy_file.name.replace("own", changed))
    path.write_text(path.read_text() + "# another\n")
    with pytest.raises(ConfigError, match=rf"{path.name} has changed since it was loaded"):
        list(remote.map(work.both, remote.share(kind()), [1]))
    # Loaded again it is the new one for everybody.
    again = load_strategy(f"{strategy_file}:Own")
    assert list(remote.map(work.both, remote.share(again()), [1])) == [(again(), 1)]
    path.unlink()
    with open_backend("processes", 1) as another, pytest.raises(ConfigError, match=r"cannot read .*\.py\."):
        list(another.map(work.both, another.share(again()), [1]))


def test_a_file_that_is_gone_harms_nobody_who_does_not_need_it(remote: Backend, strategy_file: Path) -> None:
    load_strategy(f"{strategy_file}:Own")
    strategy_file.unlink()
    assert list(remote.map(work.nothing, remote.share(None), [1])) == [1]


def test_a_strategy_that_was_edited_in_the_same_second_is_the_edited_one(strategy_file: Path) -> None:
    text = strategy_file.read_text()
    for lookback in (20, 30, 40):  # of the same length, so that a cache by time and size would not see it
        strategy_file.write_text(text.replace("Int(20", f"Int({lookback}"))
        assert load_strategy(f"{strategy_file}:Own")().to_dict()["lookback"] == lookback


def test_tasks_values_and_answers_that_cannot_be_pickled_are_named(remote: Backend) -> None:
    with pytest.raises(ConfigError, match="the shared Unpicklable cannot be sent"):
        remote.share(work.Unpicklable())
    with pytest.raises(ConfigError, match="task 1 cannot be sent"):
        list(remote.map(work.nothing, remote.share(None), [0, work.Unpicklable()]))
    with pytest.raises(ConfigError, match="the Unpicklable that the function returned cannot be sent"):
        list(remote.map(work.unpicklable_answer, remote.share(None), [0]))
    assert list(remote.map(work.nothing, remote.share(None), [1, 2])) == [1, 2]


def test_the_task_of_a_killed_worker_is_run_again(remote: Backend, tmp_path: Path) -> None:
    answers = list(remote.map(work.dies_once, remote.share(str(tmp_path)), range(30)))
    assert [task for task, _ in answers] == list(range(30))
    assert answers[5] == (5, False)
    assert list(remote.map(work.nothing, remote.share(None), range(5))) == list(range(5))


@pytest.mark.slow
def test_a_task_that_kills_every_worker_ends_after_four_runs(remote: Backend, tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match=r"worker.* died 4 times"):
        list(remote.map(work.always_dies, remote.share(str(tmp_path)), [0]))
    assert (tmp_path / "deaths").read_text() == "xxxx"
    assert list(remote.map(work.nothing, remote.share(None), [1])) == [1]


def test_leaving_a_map_early_gives_up_what_has_not_begun(tmp_path: Path) -> None:
    with open_backend("processes", 2) as backend:
        for _ in backend.map(work.marks, backend.share(str(tmp_path)), range(100)):
            break
        begun = len(list(tmp_path.iterdir()))
        assert list(backend.map(work.nothing, backend.share(None), range(20))) == list(range(20))
        # One task may have been past the look at its file in each worker; eight were handed out.
        assert len(list(tmp_path.iterdir())) <= begun + 2


def test_tasks_that_raise_themselves_stop_the_map(backend: Backend) -> None:
    def tasks() -> Iterator[int]:
        yield 1
        raise LookupError("no more tasks")

    with pytest.raises(LookupError, match="no more tasks"):
        list(backend.map(work.nothing, backend.share(None), tasks()))
    assert list(backend.map(work.nothing, backend.share(None), [2])) == [2]


def test_a_task_may_open_threads_of_its_own(backend: Backend) -> None:
    assert list(backend.map(work.nested, backend.share(2), [0, 3])) == [[], [0, 2, 4]]


def test_two_maps_can_be_read_alternately(backend: Backend) -> None:
    first = backend.map(work.uneven, backend.share(1), range(10))
    second = backend.map(work.uneven, backend.share(10), range(10))
    assert list(zip(first, second, strict=True)) == [(n, 10 * n) for n in range(10)]


def test_handles_of_another_backend_and_plain_values_are_refused(backend: Backend) -> None:
    with open_backend("threads", 1) as other:
        foreign = other.share(1)
    for wrong in (foreign, 1):
        with pytest.raises(ConfigError, match=f"map needs a handle of this {backend.name} backend"):
            backend.map(work.uneven, wrong, [1])  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "workers"), [("threads", 1), ("threads", 2), ("processes", 2)])
def test_a_closed_backend_says_so(name: str, workers: int) -> None:
    backend = open_backend(name, workers)
    shared = backend.share(1)
    waiting = backend.map(work.uneven, shared, itertools.count())
    assert next(waiting) == 0
    backend.close()
    backend.close()
    with pytest.raises(BacktestError, match="closed before its work was done"):
        list(waiting)
    for use in (lambda: backend.share(1), lambda: backend.map(work.uneven, shared, [1])):
        with pytest.raises(ConfigError, match=f"the {name} backend is closed"):
            use()


def test_nothing_that_was_shared_stays_behind(temporary: Path) -> None:
    def files() -> list[Path]:
        return [path for path in temporary.rglob("value-*") if path.is_file()]

    segments = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").is_dir() else set()
    with open_backend("processes", 2) as backend:
        kept, freed = backend.share(np.zeros(100_000)), backend.share(np.ones(100_000))
        assert list(backend.map(work.overwrite, kept, [1])) == [0.0]
        assert len(files()) == 2
        del freed
        assert len(files()) == 1
        assert list(backend.map(work.overwrite, backend.share(np.full(9, 3.0)), [1])) == [3.0]
        assert len(files()) == 1
    assert list(temporary.iterdir()) == []
    named = {path for path in set(Path("/dev/shm").iterdir()) - segments if "barwise" in path.name} if segments else ()
    assert not named


def test_no_room_for_a_value_is_said(temporary: Path) -> None:
    with open_backend("processes", 1) as backend:
        for folder in temporary.iterdir():
            folder.rmdir()
        with pytest.raises(BacktestError, match="800 bytes to share could not be written") as caught:
            backend.share(np.zeros(100))
    assert "TMPDIR" in caught.value.hint


def start(name: str, marks: Path, temporary: Path) -> "subprocess.Popen[str]":
    """A program of its own in its own session, with both of its workers at work."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.backend_tasks", name, str(marks)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(list(marks.iterdir())) == 2 or program.poll() is not None)
    assert program.poll() is None, program.communicate()
    return program


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come; the limit only keeps a broken run from hanging."""
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def of_session(session: int) -> set[int]:
    """The running processes of a session; Ray's own are in it too."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if os.getsid(pid) == session and alive(pid):
                found.add(pid)
        except ProcessLookupError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("processes", signal.SIGINT),
        ("processes", signal.SIGTERM),
        ("processes", signal.SIGKILL),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_program_leaves_no_processes_and_no_files(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    marks, temporary = tmp_path / "marks", Path(tempfile.mkdtemp(prefix="bw"))  # short: Ray makes sockets in it
    marks.mkdir()
    if name == "ray":
        pytest.importorskip("ray")
    program = start(name, marks, temporary)
    workers = {int(path.name.partition("-")[2]) for path in marks.iterdir()}
    assert len(workers) == 2
    assert all(alive(pid) for pid in workers)
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as Ctrl-C: everybody in the terminal gets it
    else:
        program.send_signal(number)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == -number
    until(lambda: not any(alive(pid) for pid in workers))
    if (name, number) != ("ray", signal.SIGKILL):  # there, two agents of Ray itself take a minute to find out
        until(lambda: not of_session(program.pid))
    until(lambda: not list(temporary.glob("barwise-*")))
    shutil.rmtree(temporary, ignore_errors=True)
    assert "resource_tracker" not in errors
    assert errors.count("Traceback") == (number == signal.SIGINT)


def test_a_whole_program_ends_without_a_word() -> None:
    code = (
        "from barwise.backends import open_backend; from tests.backend_tasks import nothing\n"
        "import numpy as np\n"
        "if __name__ == '__main__':\n"
        "    backend = open_backend('processes', 2)\n"
        "    print(list(backend.map(nothing, backend.share(np.zeros(99)), [1, 2])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, text=True, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[1, 2]\n", "")


def test_an_unknown_backend_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"proceses is not a backend\. Did you mean processes\?") as caught:
        open_backend("proceses")
    assert "threads, processes, ray" in caught.value.hint


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "two"])
@pytest.mark.parametrize("name", ["threads", "processes", "ray"])
def test_workers_must_be_a_number_of_them(name: str, workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers must be a whole number, 1 or more; got"):
        open_backend(name, workers)


def test_no_number_of_workers_is_one_per_usable_core() -> None:
    assert checked_workers(None) == usable_cores() == len(os.sched_getaffinity(0))
    with open_backend() as backend:
        assert (backend.name, backend.workers) == ("threads", usable_cores())


def test_only_ray_has_an_address() -> None:
    for name in ("threads", "processes"):
        with pytest.raises(ConfigError, match=r"only the ray backend has an address; got 127\.0\.0\.1:1"):
            open_backend(name, address="127.0.0.1:1")


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="Ray, which is not installed") as caught:
        open_backend("ray")
    assert caught.value.hint == "pip install barwise[ray]"


def test_the_backends_load_ray_and_numpy_only_when_needed() -> None:
    code = "import sys, json, barwise.backends; print(json.dumps(sorted({'ray', 'numpy'} & set(sys.modules))))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_ray_of_the_program_is_used_and_left_running(ray_backend: Backend) -> None:
    import ray

    with open_backend("ray") as second:
        assert second.workers == 2
        assert list(second.map(work.uneven, second.share(2), range(3))) == [0, 2, 4]
    assert ray.is_initialized()
    assert list(ray_backend.map(work.nothing, ray_backend.share(None), [1])) == [1]
    with pytest.raises(ConfigError, match=r"connected to a Ray already, so that 10\.0\.0\.1:6379 cannot be used"):
        open_backend("ray", address="10.0.0.1:6379")


def test_starting_ray_leaves_the_environment_and_the_signals_alone(ray_backend: Backend) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not any(name in os.environ for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"))


def elsewhere(address: str) -> "subprocess.CompletedProcess[str]":
    """A program that works on the Ray at an address."""
    code = (
        "import sys; from barwise.backends import open_backend; from barwise.errors import ConfigError\n"
        "from tests.backend_tasks import uneven\n"
        "try:\n"
        "    with open_backend('ray', address=sys.argv[1]) as backend:\n"
        "        print(backend.workers, list(backend.map(uneven, backend.share(5), range(3))))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    return subprocess.run(
        [sys.executable, "-c", code, address], env=environment, text=True, capture_output=True, check=True
    )


def test_a_cluster_is_reached_by_its_address_and_goes_on_afterwards(ray_backend: Backend) -> None:
    import ray

    assert elsewhere(ray.get_runtime_context().gcs_address).stdout == "2 [0, 5, 10]\n"
    assert list(ray_backend.map(work.nothing, ray_backend.share(None), [1])) == [1]


@pytest.mark.slow
def test_an_address_where_no_ray_answers_is_named() -> None:
    pytest.importorskip("ray")
    said = elsewhere("127.0.0.1:9").stdout
    assert said.startswith("there is no Ray at 127.0.0.1:9: ")
    assert "hint: `ray status`" in said


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("m", hint="h"),
        BacktestError("m"),
        APIError("m", hint="h", status=500, code="c"),
        RateLimitError("m", hint="h", status=429, code=1, retry_after=1.5),
    ],
)
def test_errors_survive_pickling(error: BarwiseError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert (vars(found), str(found), found.args) == (vars(error), str(error), error.args)


def test_a_sweep_in_steps_is_the_same_on_every_backend(remote: Backend) -> None:
    random = np.random.default_rng(5)
    columns = {"ema_fast": random.integers(10, 30, 40), "atr_sl_multiplier": random.uniform(1.0, 2.0, 40)}
    candles = sample_candles()[:1_500]
    here = Sweeper(candles, EmaRsiAtr(), 0.1, workers=1)
    there = Sweeper(candles, EmaRsiAtr(), 0.1, backend=remote)
    some = np.arange(0, 40, 3)
    found = []
    for sweeper in (here, there):
        run = sweeper.start(columns)
        steps = (sweeper.advance(run, 700), sweeper.advance(run, 1_500, some))
        found.append([step.tobytes() for step in steps] + [run.starts.tobytes()])
    assert found[0] == found[1]
    assert there.sweep(columns).summaries.tobytes() == here.sweep(columns).summaries.tobytes()


def test_a_whole_search_on_ray_is_that_on_threads_to_the_bit(ray_backend: Backend, tmp_path: Path) -> None:
    assert ray_backend.workers == 2  # it is up, and the search finds it
    candles = sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-02-15")
    found = []
    for name in ("threads", "ray"):
        config = OptimizationConfig(
            optuna_sampler="AUTO", num_trials=60, min_rung_trades=0, backend=name, workers=2,
            storage=str(tmp_path / f"{name}.sqlite"),
        )  # fmt: skip
        found.append(optimize(candles, EmaRsiAtr(), 0.1, config=config, check_lookahead=False))
    here, there = found
    assert sum(stage.pruned for stage in here.stages) > 50  # rungs were judged, and their survivors went on
    for mine, theirs in zip(here.stages, there.stages, strict=True):
        assert (mine.chosen, mine.config) == (theirs.chosen, theirs.config)
        for part in ("points", "reported", "values", "violation", "steps", "complete", "sharpe", "summaries", "bars"):
            assert getattr(mine.trials, part).tobytes() == getattr(theirs.trials, part).tobytes(), (mine.stage, part)
    assert here.best.metrics == there.best.metrics
    assert here.n_trials == there.n_trials
    assert here.plateau is not None
    assert there.plateau is not None
    assert here.plateau.values.tobytes() == there.plateau.values.tobytes()
    assert here.top is not None
    assert there.top is not None
    assert here.top.rows == there.top.rows
