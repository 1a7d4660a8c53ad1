"""A real PostgreSQL server for tests: in a folder of its own, on loopback only, gone afterwards."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER = "ledger_keeper"
PASSWORD = "s3cret/of@the:server"
_START_SECONDS = 30.0
# The server ends with its input, so that it does not outlive tests that are killed; SIGINT waits for no session.
_UNTIL_ASKED = '"$@" & read _; kill -INT $!; wait $!'
_NOBODY = 65534


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `logs` is the file it writes to."""

    port: int
    logs: Path

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        import sqlalchemy as sql

        made = sql.URL.create("postgresql+psycopg", USER, password, "127.0.0.1", self.port, database)
        return made.render_as_string(hide_password=False)

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement outside a transaction; the rows it returns."""
        psycopg = pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
        address = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "dbname": database}
        with psycopg.connect(**address, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs: of those on PATH, else the newest below /usr/lib/postgresql."""
    on_path = shutil.which("initdb")
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    for folder in ([Path(on_path).resolve().parent] if on_path else []) + packaged:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server that asks for a password; the test is skipped, visibly, where none is installed."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server here: neither initdb on PATH nor /usr/lib/postgresql/*/bin")
    # The server refuses to run as root, who can hand its folder to somebody else.
    account: dict[str, Any] = {}
    # Not below pytest's own folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="barwise-postgres-"))
    if os.geteuid() == 0:
        account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        os.chown(folder, _NOBODY, _NOBODY)
    try:
        password, cluster, logs = folder / "password", folder / "cluster", folder / "server.log"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # the folder lets nobody else in
        make: list[str | Path] = [
            found / "initdb",
            "-D",
            cluster,
            "-U",
            USER,
            "--auth=scram-sha-256",
            f"--pwfile={password}",
        ]
        made = subprocess.run(
            [*make, "--encoding=UTF8", "--locale=C", "--no-sync"],
            cwd=folder, env=_environment(), capture_output=True, text=True, check=False, **account,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        port = _free_port()
        server: list[str | Path] = [found / "postgres", "-D", cluster, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        with logs.open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", _UNTIL_ASKED, "sh", *server, "-c", "fsync=off"],
                cwd=folder, env=_environment(), stdin=subprocess.PIPE, stdout=log, stderr=log, **account,
            )  # fmt: skip
        try:
            running = PostgresServer(port, logs)
            _wait_for(running)
            yield running
        finally:
            process.communicate()
    finally:
        shutil.rmtree(folder)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: PostgresServer) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < until, server.logs.read_text()
            time.sleep(0.05)
        else:
            return
