"""The stream of what happens: every line once and in order, whoever comes when; who is slow costs no memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from barwise.checkpoints import RunLock
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.errors import NotFound, TooBusy
from barwise.dashboard.live import Listener, Live, Message
from barwise.dashboard.run_state import holder_of, is_name, state_of, trail_of
from barwise.dashboard.sse import EventStream, event_bytes
from barwise.trail import ENDING, Event, Trail
from tests.conftest import REPOSITORY

RUN = "run-sample-btc-1h-0a1b2c3d"
HOST = {"Host": "127.0.0.1:8765"}
# A test that waits longer than this has failed.
PATIENCE = 20.0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    found = Live(tmp_path, max_streams=30)
    yield found
    found.close()


def trail(home: Path, run: str = RUN) -> Trail:
    return Trail(trail_of(home, run), run=run)


def trials(first: int, stop: int) -> Iterator[Event]:
    for number in range(first, stop):
        yield Event("trial", f"trial/{number}", {"number": number, "parameters": {"ema_fast": number}})


def told(listener: Listener, enough: Callable[[list[Message]], object]) -> list[Message]:
    """Messages until there are enough of them."""
    found: list[Message] = []
    end = time.monotonic() + PATIENCE
    while not enough(found) and time.monotonic() < end:
        messages = listener.next(1.0)
        if messages is None:
            break
        found += messages
    assert enough(found), found[-3:]
    return found


def numbers(messages: list[Message]) -> list[int]:
    return [message.number for message in messages if message.number is not None]


def lines(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in messages if message.event == "line"]


def silence(listener: Listener, seconds: float = 0.6) -> list[Message]:
    """What is told although nothing happens; the look around when watching begins counts as nothing."""
    found: list[Message] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found += listener.next(0.1) or []
    return found


def states(messages: list[Message]) -> list[str]:
    return [json.loads(message.data)["state"] for message in messages if message.event == "run"]


class TestLines:
    def test_whoever_comes_when_is_told_every_line_once_and_in_order(self, live: Live, tmp_path: Path) -> None:
        count = 2_000
        heard: dict[int, list[int]] = {}

        def listen(after: int) -> None:
            with live.listen(RUN, after) as listener:
                heard[after] = numbers(told(listener, lambda found: numbers(found)[-1:] == [count - 1]))

        threads = []
        with trail(tmp_path) as writer:
            writer.add(trials(0, 100))
            for turn in range(19):
                threads.append(threading.Thread(target=listen, args=(turn * 90 - 1 if turn else -1,)))
                threads[-1].start()
                writer.add(trials(100 + 100 * turn, 200 + 100 * turn))
        for thread in threads:
            thread.join()
        assert len(heard) == 19
        for after, found in heard.items():
            assert found == list(range(after + 1, count))

    def test_the_text_of_a_line_is_that_of_the_file(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun", market="<script>alert('é')</script>\u2028\r\n")
            with live.listen(RUN) as listener:
                messages = told(listener, numbers)
        texts = [message.data for message in messages if message.event == "line"]
        assert texts == trail_of(tmp_path, RUN).read_text(encoding="utf-8").split("\n")[:-1]
        assert lines(messages)[0]["market"] == "<script>alert('é')</script>\u2028\r\n"

    def test_half_a_line_waits_for_its_end(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
        with live.listen(RUN) as listener, trail_of(tmp_path, RUN).open("ab", buffering=0) as file:
            assert numbers(told(listener, numbers)) == [0]
            file.write(b'{"time": "2026-01-01T00:00:00.000+00:00", "run": "x", "seq": 1, "kind": "stage')
            assert numbers(silence(listener)) == []
            file.write(b'_begun", "stage": "5", "name": "baseline"}\n')
            assert numbers(told(listener, numbers)) == [1]

    def test_a_line_longer_than_what_is_read_at_a_time_arrives_whole(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            writer.say("stage_begun", stage="5", name="x" * 1_000_000)
            writer.say("stage_begun", stage="7", name="y")
        with live.listen(RUN) as listener:
            messages = told(listener, lambda found: len(numbers(found)) == 3)
        assert [len(line.get("name", "")) for line in lines(messages)] == [0, 1_000_000, 1]

    def test_what_is_no_line_of_a_trail_is_left_out(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            with trail_of(tmp_path, RUN).open("ab") as file:
                file.write(b"\xff\xfe no line\n")
            writer.say("stage_begun", stage="5", name="baseline")
        with live.listen(RUN) as listener:
            assert numbers(told(listener, lambda found: len(numbers(found)) == 2)) == [0, 1]

    def test_a_run_that_was_begun_anew_is_told_anew(self, live: Live, tmp_path: Path) -> None:
        path = trail_of(tmp_path, RUN)
        with trail(tmp_path) as writer:
            writer.add(trials(0, 10))
        with live.listen(RUN) as listener:
            told(listener, lambda found: len(numbers(found)) == 10)
            path.replace(path.with_name(f"{RUN}.1{ENDING}"))
            with trail(tmp_path) as writer:
                writer.add(trials(0, 3))
            messages = told(listener, lambda found: len(numbers(found)) == 3)
        events = [message.event for message in messages if message.event != "run"]
        assert events == ["reload", "line", "line", "line"]
        assert numbers(messages) == [0, 1, 2]

    def test_a_client_that_knows_more_than_there_is_is_told_to_forget_it(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.add(trials(0, 3))
        with live.listen(RUN, 500) as listener:
            messages = told(listener, lambda found: len(numbers(found)) == 3)
        assert [message.event for message in messages if message.event != "run"] == ["reload", *["line"] * 3]

    def test_a_client_that_knows_all_there_is_is_told_nothing(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.add(trials(0, 3))
        with live.listen(RUN, 2) as listener:
            assert [message for message in silence(listener) if message.event != "run"] == []


class TestSlowClients:
    def test_they_lose_progress_that_is_out_of_date_and_nothing_else(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            for done in range(300):
                writer.say("progress", step="trials", done=done, total=300)
            writer.add(trials(0, 5))
            with live.listen(RUN) as listener:
                messages = told(listener, lambda found: len(numbers(found)) == 7)
        assert numbers(messages) == [0, 300, 301, 302, 303, 304, 305]
        assert lines(messages)[1]["done"] == 299

    def test_those_who_never_read_cost_no_memory(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            listeners = [live.listen(RUN) for _ in range(20)]
            told(listeners[0], numbers)
            tracemalloc.start()
            for turn in range(10):
                writer.add(trials(500 * turn, 500 * turn + 500))
            written = trail_of(tmp_path, RUN).stat().st_size
            told(listeners[0], lambda found: numbers(found)[-1:] == [5_000])
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        # The writer remembers the identities of its events; a queue for each listener would be twenty times the file.
        assert grown < 2 * written

    def test_of_runs_and_jobs_the_last_word_is_kept(self, live: Live) -> None:
        listener = live.listen()
        for state in ("running", "stopping", "stopped"):
            listener.tell("run", "a", json.dumps({"name": "a", "state": state}))
            listener.tell("run", "b", json.dumps({"name": "b", "state": state}))
        assert states(listener.next(0.0) or []) == ["stopped", "stopped"]

    def test_who_is_too_far_behind_is_told_to_load_everything(self, live: Live) -> None:
        listener = live.listen()
        for number in range(5_000):
            listener.tell("run", f"run-{number}", "{}")
        messages = listener.next(0.0) or []
        assert len(messages) <= 1_001
        assert messages[-1].event == "reload"
        assert silence(listener, 0.2) == []

    def test_who_was_too_far_behind_is_told_every_line_again(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.add(trials(0, 3))
        with live.listen(RUN) as listener:
            told(listener, lambda found: len(numbers(found)) == 3)
            for number in range(5_000):
                listener.tell("run", f"run-{number}", "{}")
            messages = told(listener, lambda found: len(numbers(found)) == 3)
        assert numbers(messages) == [0, 1, 2]
        first_line = next(at for at, message in enumerate(messages) if message.event == "line")
        assert messages[first_line - 1].event == "reload"


ALL = "run-multi-0a1b2c3d"
ONE, OTHER = "run-sample-btc-1h-11111111", "run-sample-eth-1h-22222222"


def course(messages: list[Message], run: str) -> list[tuple[int, str]]:
    """Number and kind of each line of one of several markets."""
    found = [json.loads(message.data) for message in messages if message.event == "market"]
    return [(one["line"]["seq"], one["line"]["kind"]) for one in found if one["run"] == run]


def over_all(home: Path, *runs: str) -> Trail:
    """The trail of a run over several markets, which has begun."""
    writer = trail(home, ALL)
    writer.say("run_begun", market=f"{len(runs)} markets")
    writer.add([Event("markets", "markets", {"markets": [{"run": run, "label": run} for run in runs]})])
    return writer


class TestMarkets:
    def test_who_listens_to_all_is_told_the_course_of_each_and_no_more(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path, ONE) as writer:
            writer.say("run_begun")
            writer.add(trials(0, 3))
            writer.say("stage_begun", stage="5", name="baseline")
        with over_all(tmp_path, ONE, OTHER) as whole, live.listen(ALL) as listener:
            messages = told(listener, lambda found: len(course(found, ONE)) == 2)
            assert course(messages, ONE) == [(0, "run_begun"), (4, "stage_begun")]
            assert [line["kind"] for line in lines(messages)] == ["run_begun", "markets"]
            # One that has not begun yet is heard as soon as it does.
            with trail(tmp_path, OTHER) as writer:
                writer.say("run_begun")
                writer.add(trials(0, 3))
                writer.say("run_done", verdict="UNPROVEN")
            messages = told(listener, lambda found: len(course(found, OTHER)) == 2)
            assert course(messages, OTHER) == [(0, "run_begun"), (4, "run_done")]
            assert course(messages, ONE) == []
            whole.say("run_done")
            assert [line["kind"] for line in lines(told(listener, lines))] == ["run_done"]

    def test_who_comes_again_is_told_the_course_of_each_from_its_first_line(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path, ONE) as writer:
            writer.say("run_begun")
            writer.say("stage_begun", stage="5", name="baseline")
        with over_all(tmp_path, ONE), live.listen(ALL, 1) as listener:
            messages = told(listener, lambda found: len(course(found, ONE)) == 2)
        assert numbers(messages) == []
        assert course(messages, ONE) == [(0, "run_begun"), (1, "stage_begun")]

    def test_a_market_that_is_begun_anew_is_told_from_its_first_line(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path, ONE) as writer:
            writer.say("run_begun")
            writer.say("run_done")
        with over_all(tmp_path, ONE), live.listen(ALL) as listener:
            told(listener, lambda found: len(course(found, ONE)) == 2)
            path = trail_of(tmp_path, ONE)
            path.replace(path.with_name(f"{ONE}.1{ENDING}"))
            with trail(tmp_path, ONE) as writer:
                writer.say("run_begun")
            messages = told(listener, lambda found: course(found, ONE))
            assert course(messages, ONE) == [(0, "run_begun")]
            assert "reload" not in {message.event for message in messages}

    def test_all_of_it_is_told_again_when_it_is_begun_anew(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path, ONE) as writer:
            writer.say("run_begun")
        with over_all(tmp_path, ONE):
            pass
        with live.listen(ALL) as listener:
            told(listener, lambda found: course(found, ONE))
            path = trail_of(tmp_path, ALL)
            path.replace(path.with_name(f"{ALL}.1{ENDING}"))
            with over_all(tmp_path, ONE):
                messages = told(listener, lambda found: course(found, ONE))
        assert [message.event for message in messages if message.event in {"reload", "line"}] == [
            "reload",
            "line",
            "line",
        ]

    def test_how_it_is_with_each_is_told(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path, ONE) as writer:
            writer.say("run_begun")  # and its process is not there any more
        with over_all(tmp_path, ONE, OTHER), live.listen(ALL) as listener:
            messages = told(listener, lambda found: len(states(found)) == 2)
        found = [json.loads(message.data) for message in messages if message.event == "run"]
        assert {one["name"]: one["state"] for one in found} == {ALL: "interrupted", ONE: "interrupted"}

    def test_a_name_that_leads_elsewhere_is_no_market(self, live: Live, tmp_path: Path) -> None:
        (tmp_path / "secret.audit.jsonl").write_text('{"time": "", "run": "x", "seq": 0, "kind": "run_begun"}\n')
        with over_all(tmp_path, "../../secret", ONE), live.listen(ALL) as listener:
            with trail(tmp_path, ONE) as writer:
                writer.say("run_begun")
            messages = told(listener, lambda found: course(found, ONE))
            assert course(messages + silence(listener), "../../secret") == []


class TestRuns:
    def test_a_run_is_running_while_its_lock_is_held_and_ends_as_its_trail_says(
        self, live: Live, tmp_path: Path
    ) -> None:
        with live.listen() as listener:
            with RunLock(tmp_path / "data" / "checkpoints" / f"{RUN}.lock"), trail(tmp_path) as writer:
                writer.say("run_begun")
                told(listener, lambda found: states(found)[-1:] == ["running"])
                assert holder_of(tmp_path, RUN) == os.getpid()
                writer.say("run_done")
            messages = told(listener, states)
        assert states(messages) == ["done"]
        assert holder_of(tmp_path, RUN) is None

    def test_whoever_begins_to_listen_to_a_run_is_told_how_it_is_with_it(self, live: Live, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            writer.say("failed", reason="no")
        with live.listen(RUN) as listener:
            assert states(told(listener, states)) == ["failed"]

    @pytest.mark.parametrize(
        ("last", "state"), [("run_done", "done"), ("failed", "failed"), ("interrupted", "interrupted")]
    )
    def test_the_last_line_of_a_trail_is_its_end(self, tmp_path: Path, last: str, state: str) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
            assert state_of(tmp_path, RUN) == "interrupted"  # nobody holds its lock
            writer.say(last)
        assert state_of(tmp_path, RUN) == state
        with trail_of(tmp_path, RUN).open("ab") as file:
            file.write(b'{"time": "half a line')
        assert state_of(tmp_path, RUN) == state

    def test_a_run_that_was_killed_is_told_to_be_interrupted(self, live: Live, tmp_path: Path) -> None:
        program = (
            "import time\nfrom pathlib import Path\nfrom barwise.checkpoints import RunLock\n"
            "from barwise.trail import Trail\n"
            f"home, run = Path({str(tmp_path)!r}), {RUN!r}\n"
            "with RunLock(home / 'data' / 'checkpoints' / f'{run}.lock'):\n"
            "    with Trail(home / 'data' / 'results' / f'{run}.audit.jsonl', run=run) as trail:\n"
            "        trail.say('run_begun')\n        time.sleep(60)\n"
        )
        with live.listen() as listener:
            environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
            process = subprocess.Popen([sys.executable, "-c", program], env=environment)
            try:
                told(listener, lambda found: states(found)[-1:] == ["running"])
                process.send_signal(signal.SIGKILL)
            finally:
                process.kill()
                process.wait()
            assert states(told(listener, states)) == ["interrupted"]

    def test_a_lock_with_the_number_of_another_process_holds_nothing(self, tmp_path: Path) -> None:
        with trail(tmp_path) as writer:
            writer.say("run_begun")
        lock = tmp_path / "data" / "checkpoints" / f"{RUN}.lock"
        lock.parent.mkdir()
        lock.write_text(json.dumps({"pid": os.getpid(), "started": "2026-01-01T00:00:00+00:00", "command": ""}))
        assert state_of(tmp_path, RUN) == "interrupted"

    @pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "a\n", "x" * 201])
    def test_what_leads_elsewhere_is_no_name(self, name: str) -> None:
        assert not is_name(name)


class TestListeners:
    def test_there_is_one_thread_for_all_and_none_before_the_first(self, live: Live) -> None:
        def threads() -> int:
            return sum(thread.name == "barwise-live" for thread in threading.enumerate())

        assert threads() == 0
        listeners = [live.listen() for _ in range(10)]
        assert threads() == 1
        live.close()
        assert threads() == 0
        assert [listener.next(PATIENCE) for listener in listeners] == [None] * 10

    def test_there_is_a_limit_and_who_leaves_frees_a_place(self, tmp_path: Path) -> None:
        live = Live(tmp_path, max_streams=2)
        first, _ = live.listen(), live.listen()
        with pytest.raises(TooBusy, match="2 streams are open"):
            live.listen()
        EventStream(first).close()  # never begun: the client had gone before
        assert live.listeners == 1
        live.listen()
        live.close()

    def test_after_the_end_nobody_waits(self, live: Live) -> None:
        live.listen()
        live.close()
        assert live.listen().next(PATIENCE) is None

    @pytest.mark.parametrize("name", ["run-nobody-knows", "../../etc/passwd", ""])
    def test_a_run_that_is_not_there_cannot_be_listened_to(self, live: Live, name: str) -> None:
        with pytest.raises(NotFound):
            live.listen(name)
        assert live.listeners == 0

    def test_a_folder_that_is_removed_is_watched_again_when_clients_come_again(
        self, live: Live, tmp_path: Path
    ) -> None:
        listener = live.listen()
        silence(listener)
        shutil.rmtree(tmp_path / "data" / "results")
        end = time.monotonic() + PATIENCE
        while listener.next(0.2) is not None:
            assert time.monotonic() < end
        listener.close()
        with live.listen() as again:
            silence(again)
            with trail(tmp_path) as writer:
                writer.say("run_begun")
                writer.say("run_done")
            assert told(again, lambda found: "done" in states(found))


class TestFormat:
    def test_an_event_has_its_name_its_number_and_its_data(self) -> None:
        assert event_bytes(Message("line", '{"seq": 7}', 7)) == b'event: line\nid: 7\ndata: {"seq": 7}\n\n'
        assert event_bytes(Message("run", "{}")) == b"event: run\ndata: {}\n\n"

    def test_no_content_can_make_an_event_of_its_own(self) -> None:
        content = event_bytes(Message("run", "a\n\nevent: x\rdata: y\r\nz"))
        assert content == b"event: run\ndata: a\ndata: \ndata: event: x\ndata: data: y\ndata: z\n\n"

    def test_silence_is_filled_with_comments(self, live: Live) -> None:
        stream = EventStream(live.listen(), heartbeat=0.01)
        assert next(stream) == b"retry: 1000\n\n"
        assert next(stream) == b": still here\n\n"
        live.close()
        assert list(stream) == []
        stream.close()

    def test_a_client_that_has_gone_leaves_its_place(self, live: Live) -> None:
        gone = threading.Event()
        stream = EventStream(live.listen(), gone=gone.is_set)
        next(stream)
        gone.set()
        assert list(stream) == []


class TestEndpoint:
    @pytest.fixture
    def client(self, tmp_path: Path) -> Iterator[FlaskClient]:
        app = create_app(DashboardConfig(home=tmp_path))
        with trail(tmp_path) as writer:
            writer.add(trials(0, 5))
        yield app.test_client()
        app.extensions["barwise"].close()

    def ids(self, client: FlaskClient, query: str, headers: dict[str, str], count: int) -> list[int]:
        answer = client.get(f"/api/v1/live?run={RUN}{query}", headers=HOST | headers, buffered=False)
        assert answer.status_code == 200
        assert answer.content_type == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        found: list[int] = []
        for part in answer.iter_encoded():
            found += [int(line[4:]) for line in part.split(b"\n") if line.startswith(b"id: ")]
            if len(found) >= count:
                break
        answer.close()
        return found

    def test_a_stream_begins_with_the_first_line(self, client: FlaskClient) -> None:
        assert self.ids(client, "", {}, 5) == [0, 1, 2, 3, 4]

    def test_a_stream_goes_on_behind_the_line_that_is_asked_for(self, client: FlaskClient) -> None:
        assert self.ids(client, "&after=2", {}, 2) == [3, 4]

    def test_a_browser_that_comes_again_goes_on_where_it_was(self, client: FlaskClient) -> None:
        assert self.ids(client, "&after=0", {"Last-Event-ID": "3"}, 1) == [4]

    @pytest.mark.parametrize("last", ["x", "-1", "²", "9" * 40])
    def test_a_number_that_is_none_is_as_if_it_were_not_there(self, client: FlaskClient, last: str) -> None:
        headers = {"Last-Event-ID": last}
        if last == "²":
            headers = {"Last-Event-ID": last.encode().decode("latin-1")}
        assert self.ids(client, "&after=1", headers, 3) == [2, 3, 4]

    @pytest.mark.parametrize(("query", "status"), [("run=nobody", 404), ("after=x", 400), ("after=-2", 400)])
    def test_what_cannot_be_is_refused(self, client: FlaskClient, query: str, status: int) -> None:
        assert client.get(f"/api/v1/live?{query}", headers=HOST).status_code == status
