"""A dashboard as users have it, for tests: the command in a process of its own, on a free port of this machine."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.conftest import REPOSITORY

PATIENCE = 20.0  # seconds; only for what hangs
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
_ADDRESS = re.compile(r"Dashboard\s+http://(\S+):(\d+)/")


class Answer(NamedTuple):
    """Status, headers with names in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A running dashboard."""

    def __init__(self, process: subprocess.Popen[str], port: int, said: list[str]) -> None:
        self.process, self.port, self.said = process, port, said

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; the path goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None:
                named.setdefault("Content-Length", str(len(body)))
            for name, value in named.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def send(self, raw: bytes) -> bytes:
        """Bytes as they are, and everything that comes back until the other side closes; b"" where it cuts the line.

        What is a good request needs `Connection: close`.
        """
        found = b""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as line,
            suppress(ConnectionResetError, BrokenPipeError),
        ):
            line.sendall(raw)
            while part := line.recv(65_536):
                found += part
        return found

    def stream(self, path: str = "/api/v1/live", headers: Mapping[str, str] | None = None) -> "Stream":
        """An open answer, read as far as its head."""
        return Stream(self.port, path, headers or {})

    def resident_bytes(self) -> int:
        """Memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


class Stream:
    """A connection whose answer does not end."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", path, headers=dict(headers))
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}

    def rest(self) -> bytes:
        """Everything until the server ends it."""
        return self._answer.read()

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self._connection.close()


@contextmanager
def served(home: Path, *words: str) -> Iterator[Server]:
    """A dashboard of this home folder, with these options besides; ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "barwise", "dashboard", "--port", "0", "--home", str(home), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = _ADDRESS.search("".join(said))
        assert found is not None, "".join(said)
        yield Server(process, int(found[2]), said)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
        said.append(process.stdout.read())
        process.stdout.close()
