"""A venue on loopback that gives prepared answers and remembers every question, for tests of single adapters."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.conftest import shared_path


@dataclass(frozen=True)
class Reply:
    """An answer: JSON of the body, or the body itself where it is bytes."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A request as it came."""

    method: str
    path: str
    raw_query: str
    headers: Mapping[str, str]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


class ScriptedVenue:
    """Answers the replies of a path one after the other, the last one for ever; 404 for a path without any."""

    def __init__(self, script: Mapping[str, list[Reply] | Callable[[Question], Reply]]) -> None:
        self.asked: list[Question] = []
        self._script = {
            path: list(answers) if isinstance(answers, list) else answers for path, answers in script.items()
        }
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                question = Question("GET", parts.path, parts.query, dict(self.headers))
                venue.asked.append(question)
                reply = venue._reply(question)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response_only(reply.status)  # no log line, and the script decides about the Date
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def _reply(self, question: Question) -> Reply:
        answers = self._script.get(question.path)
        if answers is None:
            return Reply(b"<html>nothing here</html>", 404)
        if callable(answers):
            return answers(question)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [question.path for question in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ManualClock:
    """Seconds that pass only in `sleep`, which remembers every pause."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def wire_folder() -> Path:
    """Captured bodies of the venues; the test is skipped, visibly, where they are not at hand."""
    folder = shared_path() / "data" / "wire"
    if not folder.is_dir():
        pytest.skip(f"no captured bodies at {folder}: set BARWISE_SHARED to the folder that has them")
    return folder


def captured(file: str) -> Any:
    """A captured body, decoded."""
    return json.loads((wire_folder() / file).read_text())


def captured_errors(venue: str) -> dict[str, int]:
    """HTTP status of every captured error body of a venue, by file name."""
    index = json.loads((wire_folder() / "index.json").read_text())
    return {item["file"]: item["http_status"] for item in index if item["file"].startswith(f"{venue}/error")}
