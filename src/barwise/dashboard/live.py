"""What happens in the home folder, told to those who listen as it happens: one thread for all, woken by the system.

The trail of a run is the stream. A listener remembers nothing but its place in that file, so replay and what is live
are the same reading, without a seam where a line could be lost or told twice; and a client that does not keep up costs
no memory: its place stays behind. When it reads on it gets one line of progress instead of all that are out of date.
What is told besides lines, how it is with runs and jobs, is kept by name, the last word on each.

The trail of a run over several markets names the runs of those. Who listens to it is told the course of each besides,
in one stream, because a browser has no more than six for all of its pages.
"""

import json
import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from barwise.checkpoints.lock import is_alive
from barwise.dashboard.errors import NotFound, TooBusy
from barwise.dashboard.jobs import Jobs
from barwise.dashboard.run_state import LOCK_ENDING, holder_of, is_name, state_of, trail_of
from barwise.trail import ENDING

logger = logging.getLogger(__name__)

# Milliseconds: how long the files have to be quiet before a change is told, how long at most it waits for that, and how
# often the processes that are at work are looked at. Their end changes no file.
_STEP, _DEBOUNCE, _LOOK = 25, 100, 250
# A listener reads so much of a trail at a time, and the rest of the line it ends in.
_CHUNK = 1 << 18
# So much may be told of runs and jobs before it was fetched; who is further behind is told to load everything again.
_MOST_NOTICES = 1_000
_HEAD = re.compile(
    rb'\{"time": "[^"]*", "run": "(?:[^"\\]|\\.)*", "seq": (?P<seq>\d+), "kind": "(?P<kind>[^"\\]*)"[,}]'
)
_DOCUMENT = ".json"
_MARKETS = b"markets"
# What of a market is told to those who watch all of them: its course and its results, not every decision.
_COURSE = frozenset(
    (
        b"run_begun", b"run_resumed", b"configuration", b"stage_begun", b"progress", b"stage_done", b"choice",
        b"verdict", b"run_done", b"interrupted", b"failed",
    )
)  # fmt: skip


class Message(NamedTuple):
    """One thing that is told.

    Attributes:
        event: line, a line of the trail; market, a line of the trail of one of several markets, which begin with its
            first; run, a run has another state; job, a job went on; reload, everything that was told before is to be
            forgotten.
        data: JSON.
        number: Of a line: where a client that lost its connection goes on.
    """

    event: str
    data: str
    number: int | None = None


class Listener:
    """One who listens; `Live.listen` makes it.

    Args:
        live: Where it belongs.
        run: Whose lines it wants; None = none.
        after: Number of the last line that it has; -1 = it has none.
    """

    def __init__(self, live: "Live", run: str | None, after: int) -> None:
        self._live = live
        self._place = None if run is None else _Place(live.trail_of(run), after)
        # Those of the markets, where the run is one over several.
        self._markets: dict[str, _Place] = {}
        self._woken = threading.Condition()
        self._grown = run is not None
        self._over = self._too_many = False
        self._notices: dict[tuple[str, str], str] = {}

    def next(self, seconds: float) -> list[Message] | None:
        """What there is to tell, as soon as there is something.

        Args:
            seconds: How long to wait for it.

        Returns:
            Messages in order; none after that time; None when there will be no more, because the server ends.
        """
        with self._woken:
            self._woken.wait_for(lambda: self._grown or self._notices or self._too_many or self._over, seconds)
            if self._over:
                return None
            grown, self._grown = self._grown, False
            notices, self._notices = self._notices, {}
            too_many, self._too_many = self._too_many, False
        messages = [Message(event, data) for (event, _), data in notices.items()]
        if too_many:
            messages.append(Message("reload", '{"why": "too much has changed"}'))
            if self._place is not None:
                self._place.begin_again()
                grown, self._markets = True, {}
        if grown and self._place is not None and self._read(self._place, messages):
            self.wake()
        return messages

    def _read(self, place: "_Place", messages: list[Message]) -> bool:
        """Add the lines that are new; whether there are more."""
        lines, more = place.read()
        if any(message.event == "reload" for message in lines):
            self._markets = {}
        messages += lines
        for run in place.markets:
            if run not in self._markets:
                # A dict of its own, because the thread that watches looks at it.
                self._markets = {**self._markets, run: _Place(self._live.trail_of(run), -1, market=run)}
                self._live.tell_state(run, self)
        for market in self._markets.values():
            course, further = market.read()
            messages += course
            more = more or further
        return more

    def follows(self, trails: set[Path]) -> bool:
        """Whether it wants the lines of one of these."""
        places = [*self._markets.values(), *([] if self._place is None else [self._place])]
        return any(place.trail in trails for place in places)

    def wake(self) -> None:
        """The trail may have grown."""
        with self._woken:
            self._grown = True
            self._woken.notify_all()

    def tell(self, event: str, name: str, data: str) -> None:
        """Something that is no line; of each event and name only the last is kept."""
        with self._woken:
            if len(self._notices) < _MOST_NOTICES:
                self._notices[event, name] = data
            else:
                self._notices, self._too_many = {}, True
            self._woken.notify_all()

    def end(self) -> None:
        """There is no more to come."""
        with self._woken:
            self._over = True
            self._woken.notify_all()

    def close(self) -> None:
        """It has left."""
        self.end()
        self._live.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Place:
    """How far somebody has read a trail: always the beginning of a line.

    Args:
        trail: The file.
        after: Number of the last line that is known; -1 = none is.
        market: The run of a market of which only the course is told; "" = every line is told.
    """

    def __init__(self, trail: Path, after: int, *, market: str = "") -> None:
        self.trail = trail
        self.markets: tuple[str, ...] = ()
        self._after, self._market = after, market
        self._offset = 0
        self._file: tuple[int, int] | None = None  # which file it was, whatever its name
        self._last = -1

    def read(self) -> tuple[list[Message], bool]:
        """The next whole lines, and whether there are more."""
        messages: list[Message] = []
        try:
            with self.trail.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if self._file is not None and (identity != self._file or status.st_size < self._offset):
                    messages += self._told_to_reload()  # a run that was begun anew has a new trail
                self._file = identity
                file.seek(self._offset)
                content = file.read(_CHUNK)
                content += file.readline() if len(content) == _CHUNK and not content.endswith(b"\n") else b""
        except OSError:  # not there yet, or no more
            return messages, False
        end = content.rfind(b"\n") + 1  # what stands behind it is still being written
        self._offset += end
        messages += self._told(content[:end])
        more = self._offset < status.st_size and end == len(content) > 0
        if not more and self._last < self._after and end:
            # The client knows lines that are not there: they belong to the trail before this one.
            messages = self._told_to_reload()
            more = True
        return messages, more

    def begin_again(self) -> None:
        """Nothing that was read counts any more."""
        self._offset, self._after, self._last, self.markets = 0, -1, -1, ()

    def _told_to_reload(self) -> list[Message]:
        self.begin_again()
        # The course of a market is told from its first line on, which says as much.
        return [] if self._market else [Message("reload", '{"why": "the run was begun anew"}')]

    def _told(self, content: bytes) -> list[Message]:
        """The lines that the client does not have; of progress only the last, what was before it is out of date."""
        lines: list[tuple[int, bytes, bytes]] = []
        for text in content.split(b"\n")[:-1]:
            head = _HEAD.match(text)
            if head is None:
                logger.warning("a line of %s is no line of an audit trail; it is left out of the stream", self.trail)
                continue
            self._last = int(head["seq"])
            if head["kind"] == _MARKETS and not self._market:
                self.markets = _runs_of(text)
            if self._last > self._after and (not self._market or head["kind"] in _COURSE):
                lines.append((self._last, head["kind"], text))
        progress = [number for number, kind, _ in lines if kind == b"progress"]
        return [
            self._message(number, text.decode(errors="replace"))
            for number, kind, text in lines
            if kind != b"progress" or number == progress[-1]
        ]

    def _message(self, number: int, text: str) -> Message:
        if not self._market:
            return Message("line", text, number)
        return Message("market", f'{{"run": {json.dumps(self._market)}, "line": {text}}}')


def _runs_of(text: bytes) -> tuple[str, ...]:
    """The runs of the markets that a line names."""
    try:
        runs = [str(market["run"]) for market in json.loads(text)["markets"]]
    except (ValueError, TypeError, KeyError):
        logger.warning("a line that should name markets does not; they are left out of the stream")
        return ()
    return tuple(filter(is_name, runs))


class Live:
    """Everything of one home folder that goes on.

    Args:
        home: The home folder.
        max_streams: How many may listen at one time.

    Attributes:
        jobs: The runs that were started from here.
    """

    def __init__(self, home: Path, *, max_streams: int = 100) -> None:
        self._home, self._most = home, max_streams
        self.jobs = Jobs(home, self._tell_of_job)
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._states: dict[str, str | None] = {}
        self._at_work: dict[str, int] = {}

    @property
    def listeners(self) -> int:
        """How many listen."""
        with self._lock:
            return len(self._listeners)

    def listen(self, run: str | None = None, after: int = -1) -> Listener:
        """Begin to listen: to what changes in the list of runs, and to the trail of one run.

        Args:
            run: Whose trail; None = of none.
            after: Number of the last line that is known already; -1 = from the first line on.

        Raises:
            NotFound: There is no such run.
            TooBusy: Too many listen.
        """
        if run is not None and (not is_name(run) or state_of(self._home, run) is None):
            raise NotFound(f"there is no run {run}.", hint="GET /api/v1/runs lists the runs.")
        listener = Listener(self, run, after)
        if run is not None:
            self.tell_state(run, listener)
        with self._lock:
            if self._stop.is_set():
                listener.end()
                return listener
            if len(self._listeners) >= self._most:
                raise TooBusy(
                    f"{self._most} streams are open, and no more are allowed.",
                    hint="close a page that shows a run, or allow more of them.",
                )
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="barwise-live", daemon=True)
                self._thread.start()
        return listener

    def trail_of(self, run: str) -> Path:
        """Where the trail of a run is, or will be."""
        return trail_of(self._home, run)

    def tell_state(self, run: str, listener: Listener) -> None:
        """How it is with a run now: what somebody asked for before listening may be out of date."""
        state = state_of(self._home, run)
        if state is not None:
            listener.tell("run", run, json.dumps({"name": run, "state": state}))

    def leave(self, listener: Listener) -> None:
        """This one does not listen any more."""
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End all streams and stop watching; jobs go on."""
        self._stop.set()
        with self._lock:
            thread, listeners = self._thread, list(self._listeners)
        for listener in listeners:
            listener.end()
        if thread is not None:
            thread.join()
        self.jobs.close()

    # -- The thread ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for changes until the server ends; after a failure clients come again, and with them a new thread."""
        from watchfiles import Change, watch

        data = self._home / "data"
        folders = [data / "results", data / "checkpoints", self.jobs.logs]
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            begun = False
            for changes in watch(
                *folders, watch_filter=None, debounce=_DEBOUNCE, step=_STEP, rust_timeout=_LOOK, yield_on_timeout=True,
                recursive=False, stop_event=self._stop, raise_interrupt=False,
            ):  # fmt: skip
                if not begun:
                    # Something may have happened before the system began to tell.
                    begun = True
                    self._look_around(data / "checkpoints")
                paths = {Path(path) for _, path in changes}
                self._take(paths)
                self._look_for_dead()
                if any(kind == Change.deleted and Path(path) in folders for kind, path in changes):
                    logger.warning("a folder of %s was removed; it is made again and watched anew", self._home)
                    return
        except OSError:
            logger.exception("%s cannot be watched", self._home)
        finally:
            with self._lock:
                self._thread = None
                left = list(self._listeners)
            for listener in left:
                listener.end()

    def _look_around(self, checkpoints: Path) -> None:
        for lock in checkpoints.glob(f"*{LOCK_ENDING}"):
            if lock.stat().st_size:
                self._look_at(lock.name.removesuffix(LOCK_ENDING))
        self.jobs.look()
        for listener in self._all():
            listener.wake()

    def _take(self, paths: Iterable[Path]) -> None:
        """What may have changed."""
        grown: set[Path] = set()
        runs: set[str] = set()
        jobs = False
        for path in paths:
            name = path.name
            if name.endswith(ENDING):
                grown.add(path)
                runs.add(name.removesuffix(ENDING))
            elif name.endswith(LOCK_ENDING):
                runs.add(name.removesuffix(LOCK_ENDING))
                jobs = True
            elif path.parent == self.jobs.logs:
                jobs = True
            elif name.endswith(_DOCUMENT) and "." not in name.removesuffix(_DOCUMENT):
                runs.add(name.removesuffix(_DOCUMENT))
        if grown:
            for listener in self._all():
                if listener.follows(grown):
                    listener.wake()
        for run in runs:
            self._look_at(run)
        if jobs:
            self.jobs.look()

    def _look_at(self, run: str) -> None:
        """Tell how it is with a run, if that is another way than before."""
        if not is_name(run):
            return
        state = state_of(self._home, run)
        holder = holder_of(self._home, run) if state == "running" else None
        if holder is None:
            self._at_work.pop(run, None)
        else:
            self._at_work[run] = holder
        if self._states.get(run) == state:
            return
        self._states[run] = state
        self._tell("run", run, {"name": run, "state": state or "gone"})

    def _look_for_dead(self) -> None:
        """A process that was killed leaves its files as they were."""
        for run, process in list(self._at_work.items()):
            if not is_alive(process):
                self._look_at(run)

    # -- Telling -------------------------------------------------------------------------------------------------------

    def _all(self) -> list[Listener]:
        with self._lock:
            return list(self._listeners)

    def _tell(self, event: str, name: str, content: Mapping[str, Any]) -> None:
        data = json.dumps(content)
        for listener in self._all():
            listener.tell(event, name, data)

    def _tell_of_job(self, document: Mapping[str, Any]) -> None:
        self._tell("job", document["job"], document)
