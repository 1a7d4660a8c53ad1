"""The connection below the ledger: transactions that take turns, forks that share nothing, errors that say what to do.

Several processes write to one ledger at once, and a search forks while it is open; the questions of `Ledger` are asked
through here, so that none of them has to know.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise.errors import CheckpointError, ConfigError
from barwise.obs import hide
from barwise.optimizer.ledger_address import Address

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

_CONNECT_TIMEOUT = 10
# Any number will do, as long as every writer takes the same one.
_WRITER_LOCK = 4_708_131_626
# Engines that a fork has copied: their connections belong to the parent, so that the child must not even close them.
_left_to_the_parent: list[Any] = []


class Database:
    """A SQLite file or a PostgreSQL database; connected to when it is first used.

    Args:
        where: As in `Ledger`.
        timeout: Seconds to wait while another program is writing.

    Attributes:
        name: Of the database, as it may be shown.

    Raises:
        ConfigError: The URL is wrong, or its driver is missing.
        CheckpointError: The folder of the file cannot be made.
    """

    def __init__(self, where: str | Path, timeout: float) -> None:
        self._address = Address(where)
        self._timeout = timeout
        hide(*self._address.secrets)
        self.name = self._address.name
        if self._address.is_file:
            self._make_folder(Path(self.name).parent)
        self._closed = False
        self._process = os.getpid()
        self._engine = self._new_engine()

    def close(self) -> None:
        """Give back the connections; the database cannot be used after that."""
        self._closed = True
        if self._process == os.getpid():
            self._engine.dispose()

    def insert_new(self, connection: "Connection", table: "Table", **columns: Any) -> int:
        """Insert the rows that break no unique constraint.

        Args:
            columns: Lists of one length; what is no list is the value of every row.

        Returns:
            How many rows were inserted.
        """
        from sqlalchemy.dialects import postgresql, sqlite

        insert = (sqlite.insert if self._address.is_file else postgresql.insert)(table).on_conflict_do_nothing()
        # The compiled text goes to the driver with plain tuples: SQLAlchemy's own way costs twice the time a row.
        compiled = insert.compile(dialect=connection.dialect, column_keys=list(columns))
        ordered = [columns[name] for name in compiled.positiontup or ()]
        rows = list(zip(*(column if isinstance(column, list) else repeat(column) for column in ordered), strict=False))
        return connection.exec_driver_sql(str(compiled), rows).rowcount

    @contextmanager
    def reading(self, *, opening: bool = False) -> Iterator["Connection"]:
        """A connection to ask questions on.

        Args:
            opening: Whether the ledger is being opened: then a server that cannot be used was named wrongly.

        Raises:
            CheckpointError: The database is closed or cannot be read.
            ConfigError: It cannot be opened.
        """
        with self._explained(opening=opening), self._own_engine().connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, opening: bool = False) -> Iterator["Connection"]:
        """A transaction that has the ledger for itself, so that writers wait for each other and never deadlock.

        Args:
            opening: As in `reading`.

        Raises:
            CheckpointError: The database is closed, locked, or cannot be written.
            ConfigError: It cannot be opened.
        """
        with self._explained(opening=opening), self._own_engine().begin() as connection:
            if self._address.is_file:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(self._timeout * 1000))}")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            yield connection

    def _own_engine(self) -> "Engine":
        if self._closed:
            raise CheckpointError(f"The ledger {self.name} is closed.", hint="open it again with Ledger(...).")
        if self._process != os.getpid():
            _left_to_the_parent.append(self._engine)
            self._engine = self._new_engine()
            self._process = os.getpid()
        return self._engine

    @contextmanager
    def _explained(self, *, opening: bool) -> Iterator[None]:
        """Errors of the database as ours, without statement, values, or password."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            raise self._address.explanation(error, self._timeout, opening=opening) from None

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"The folder {folder} of the ledger cannot be made: {error.strerror}.",
                hint="choose another folder, or make this one by hand.",
            ) from error

    def _new_engine(self) -> "Engine":
        import sqlalchemy as sql

        # Whatever goes wrong, the values of a statement stay out of the message.
        if not self._address.is_file:
            waits = {} if "connect_timeout" in self._address.url.query else {"connect_timeout": _CONNECT_TIMEOUT}
            try:
                return sql.create_engine(
                    self._address.url, hide_parameters=True, pool_pre_ping=True, paramstyle="format", connect_args=waits
                )
            except ImportError:
                raise ConfigError(
                    f"The ledger {self.name} needs the PostgreSQL driver psycopg, which is not installed.",
                    hint="pip install 'barwise[postgres]'",
                ) from None
        engine = sql.create_engine(self._address.url, hide_parameters=True, connect_args={"timeout": self._timeout})
        sql.event.listen(engine, "connect", self._prepare_file)
        return engine

    def _prepare_file(self, connection: sqlite3.Connection, _record: object) -> None:
        """Settings of a new SQLite connection: our own transactions, and a commit that is on the disk."""
        connection.isolation_level = None
        until = time.monotonic() + self._timeout
        # Readers go on while one writes. Two processes that make a new file at the same moment meet here, and SQLite
        # does not wait in this statement.
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() >= until:
                    raise
                time.sleep(0.005)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
