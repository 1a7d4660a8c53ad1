"""The trial ledger: every configuration ever evaluated on a data set stays on record.

The best of many trials looks good by luck alone, and how good depends on how many there were. The statistics that say
so need the honest number: all stages, all rungs, all restarts, the pruned ones and those of last month too. The same
record is what a killed search goes on from: asked again, it is answered from here as far as it had come.

A batch of evaluations is one transaction, because a write per trial costs more than the trial. It is kept in a SQLite
file, or by URL in PostgreSQL (docs/ledger.md).
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from hashlib import blake2b, sha256
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import SUMMARY, BoolArray, FloatArray, IntArray, RecordArray
from barwise.data.candles import Candles
from barwise.errors import BarwiseError, CheckpointError, ConfigError, DataError
from barwise.obs import hide
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    import polars
    from sqlalchemy import URL, Connection, Engine, Table
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.schema import CreateView

SCHEMA_VERSION = 1
BUSY_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 10
# Any number will do, as long as every writer takes the same one.
_WRITER_LOCK = 4_708_131_626
_EXAMPLES = "give a path such as data/ledger.sqlite, or postgresql+psycopg://user:password@host:5432/database."
_BATCH_METRICS = ("total_trades", "net_pnl", "sharpe_ratio", "max_drawdown")
# Engines that a fork has copied: their connections belong to the parent, so that the child must not even close them.
_left_to_the_parent: list[Any] = []


@dataclass(frozen=True)
class DataSet:
    """What was searched on.

    Attributes:
        fingerprint: Of the candles; names identity and content.
        exchange, symbol, timeframe: The candles' identity.
        first_ms, last_ms: Opens of the first and of the last bar, ms UTC.
        bars: Number of bars.
    """

    fingerprint: str
    exchange: str
    symbol: str
    timeframe: str
    first_ms: int
    last_ms: int
    bars: int

    @classmethod
    def of(cls, candles: Candles) -> "DataSet":
        """The data set that these candles are.

        Raises:
            DataError: There is not one bar.
        """
        if not len(candles):
            raise DataError(f"{candles.label or 'The candles'}: no bars, so there is nothing to keep a record of.")
        return cls(
            candles.fingerprint,
            candles.exchange,
            candles.symbol,
            candles.timeframe.name,
            int(candles.time[0]),
            int(candles.time[-1]),
            len(candles),
        )

    @property
    def end_ms(self) -> int:
        """Close of the last bar, ms UTC."""
        return self.last_ms + Timeframe.parse(self.timeframe).ms


@dataclass(frozen=True)
class Context:
    """Everything besides the parameters of a configuration that could change its result.

    Attributes:
        data: What was searched on.
        strategy: Qualified class name.
        description: What JSON can hold: digest of the strategy's source, execution settings, fees, quantity, digests of
            detail candles and funding, a first bar to trade from where one was given, the version of the code.
    """

    data: DataSet
    strategy: str
    description: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """Name of all of it, 64 hex digits.

        The layout of a summary is part of it, so that a stored one is never read by a layout it was not written in.

        Raises:
            ConfigError: The description holds what JSON cannot.
        """
        whole = {"data": asdict(self.data), "strategy": self.strategy, "summary": SUMMARY.descr}
        return sha256(_canonical({**whole, "description": dict(self.description)}).encode()).hexdigest()


class Rows(NamedTuple):
    """A batch of n evaluations as columns.

    Attributes:
        keys: 16 bytes each, by `configuration_keys`.
        parameters: The full parameter values of each configuration, as a canonical JSON object.
        first: First signal bar used, int64.
        stop: One past the last signal bar used, int64; the number of bars for a full evaluation.
        summaries: SUMMARY records (core.layout).
        metrics: At least total_trades, net_pnl, sharpe_ratio, max_drawdown, in the units they are reported in.
        scores: The objective as reported; NaN where it has no value.
    """

    keys: list[bytes]
    parameters: list[str]
    first: IntArray
    stop: IntArray
    summaries: RecordArray
    metrics: Mapping[str, NDArray[Any]]
    scores: FloatArray


@dataclass(frozen=True)
class Origin:
    """Where a batch came from.

    Attributes:
        run: Id of the run, for example "20250401T120000-ab12".
        stage: "7.1", "7.2", "7.3", "joint", "neighbourhood", "manual", ...
        sampler: Name of the sampler.
        seed: A 64-bit whole number, or None.
        objective: Name of the objective.
    """

    run: str
    stage: str
    sampler: str
    seed: int | None
    objective: str

    def __post_init__(self) -> None:
        """Check the seed here, where the search starts, and not at the end of its first batch."""
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"seed must be a whole number of 64 bits; got {self.seed}.")


@dataclass(frozen=True)
class Run:
    """One run on one data set, in short.

    Attributes:
        run: Its id.
        started_ms, ended_ms: When its first and its last batch were recorded, ms UTC.
        data: What was searched on.
        stages: In the order of their first batch.
        evaluations: Rows that this run has added to the record.
        best: The highest score of a full evaluation in its batches, or None where there is none.
    """

    run: str
    started_ms: int
    ended_ms: int
    data: DataSet
    stages: tuple[str, ...]
    evaluations: int
    best: float | None


def configuration_keys(values: FloatArray) -> list[bytes]:
    """Short names of configurations, 16 bytes each: equal exactly where all values are.

    Args:
        values: float64 [n, k]; the k parameters in an order that never changes, NaN where a parameter is None.
    """
    # Equal values must be equal bytes: adding 0 makes -0.0 and 0.0 one, and a NaN has many spellings.
    rows = np.ascontiguousarray(values + 0.0, dtype="<f8")
    rows[np.isnan(rows)] = np.nan
    return [blake2b(row, digest_size=16).digest() for row in rows]


class Known:
    """What is on record for one context, in memory: answers a batch at once.

    Of evaluations of one configuration up to the same bar that start at different bars, the one that starts first is
    kept, in whatever order they came.
    """

    def __init__(self) -> None:
        self._row_of: dict[int, dict[bytes, int]] = {}
        self._first: IntArray = np.empty(0, np.int64)
        self._summaries: RecordArray = np.empty(0, SUMMARY)
        self._size = 0

    def __len__(self) -> int:
        return sum(len(row_of) for row_of in self._row_of.values())

    def get(self, keys: list[bytes], stop: int | IntArray) -> tuple[BoolArray, IntArray, RecordArray]:
        """What is on record of these configurations.

        Args:
            keys: n keys.
            stop: One past the last signal bar: one for all, or one each.

        Returns:
            Which were found, bool [n]; first signal bars used, int64 [n]; SUMMARY records [n]. Zeros where not found.
        """
        if isinstance(stop, np.ndarray):
            rows = [self._row_of.get(bar, {}).get(key, -1) for bar, key in zip(stop.tolist(), keys, strict=True)]
        else:
            row_of = self._row_of.get(int(stop), {})
            rows = [row_of.get(key, -1) for key in keys]
        row = np.array(rows, np.int64)
        found = row >= 0
        first, summaries = np.zeros(row.size, np.int64), np.zeros(row.size, SUMMARY)
        first[found], summaries[found] = self._first[row[found]], self._summaries[row[found]]
        return found, first, summaries

    def add(self, rows: Rows) -> None:
        """Take in a batch, as `Ledger.record` does on disk."""
        self._extend(rows.keys, rows.first, rows.stop, rows.summaries)

    def _extend(self, keys: list[bytes], first: IntArray, stop: IntArray, summaries: RecordArray) -> None:
        base, size = self._size, self._size + len(keys)
        if size > self._first.size:
            room = max(size, 2 * self._first.size) - base
            self._first = np.concatenate([self._first[:base], np.zeros(room, np.int64)])
            self._summaries = np.concatenate([self._summaries[:base], np.zeros(room, SUMMARY)])
        self._first[base:size], self._summaries[base:size] = first, summaries
        self._size = size
        for row, key, bar in zip(range(base, size), keys, stop.tolist(), strict=True):
            row_of = self._row_of.setdefault(bar, {})
            held = row_of.setdefault(key, row)
            if self._first[row] < self._first[held]:
                row_of[key] = row


class Ledger:
    """The trial ledger in a SQLite file or a PostgreSQL database; made where there is none.

    Used from one thread. Any number of processes may write to one ledger: they take turns, a batch at a time. A forked
    child may go on using its copy; it opens connections of its own.

    Args:
        where: Path of a SQLite file, or a URL: postgresql+psycopg://..., postgresql://... or sqlite:///path.
        timeout: Seconds to wait while another program is writing.

    Raises:
        ConfigError: The URL is wrong, its driver is missing, or the server does not let us in.
        CheckpointError: The file is damaged, locked, cannot be written, or is of a newer version of barwise.
    """

    def __init__(self, where: str | Path, *, timeout: float = BUSY_TIMEOUT) -> None:
        self._url = _url_of(where)
        self._timeout = timeout
        self._is_file = self._url.get_backend_name() == "sqlite"
        self._secrets = _secrets_of(self._url)
        hide(*self._secrets)
        self._name = (self._url.database or "") if self._is_file else _public(self._url)
        if self._is_file:
            self._make_folder(Path(self._name).parent)
        self._context_ids: dict[str, int] = {}
        self._closed = False
        self._process = os.getpid()
        self._engine = self._new_engine()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def record(self, context: Context, origin: Origin, rows: Rows) -> int:
        """Put a batch on record, as a whole or not at all.

        A configuration that is on record already, in this context and over the same bars, keeps its first entry.

        Returns:
            How many rows are new.

        Raises:
            CheckpointError: The ledger cannot be written; nothing of the batch is on record then.
            ConfigError: The columns differ in length, or the context cannot be told in JSON.
        """
        columns = _columns(rows)
        if not rows.keys:
            return 0
        digest, tables = context.digest, _tables()
        with self._writing() as connection:
            context_id = self._context_ids.get(digest) or self._context_id(connection, context)
            batch = {
                "context_id": context_id,
                **asdict(origin),
                "created_ms": time.time_ns() // 1_000_000,
                "asked": len(rows.keys),
                "evaluations": 0,
                "best": _best(rows, context.data.bars),
            }
            [batch_id] = connection.execute(tables.batches.insert().returning(tables.batches.c.id), batch).one()
            added = self._insert_new(
                connection, tables.evaluations, context_id=context_id, batch_id=batch_id, **columns
            )
            found = tables.batches.c.id == batch_id
            connection.execute(tables.batches.update().where(found).values(evaluations=added))
        # Not before it is on the disk: a context of a batch that failed has no id.
        self._context_ids[digest] = context_id
        return added

    def known(self, context: Context) -> Known:
        """Everything on record for a context.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        import sqlalchemy as sql

        tables, known = _tables(), Known()
        evaluations = tables.evaluations.c
        chosen = (
            sql.select(evaluations.key, evaluations.first_bar, evaluations.stop_bar, evaluations.summary)
            .join(tables.contexts)
            .where(tables.contexts.c.digest == context.digest)
        )
        with self._reading() as connection:
            entries = connection.execute(chosen).all()
        if entries:
            keys, first, stop, records = zip(*entries, strict=True)
            if {len(record) for record in records} != {SUMMARY.itemsize}:
                raise CheckpointError(
                    f"The ledger {self._name} holds summaries of a length that no version of it has written.",
                    hint="restore a copy of it, or move it away: a new one is made by the next run.",
                )
            summaries = np.frombuffer(b"".join(records), SUMMARY)
            known._extend(list(keys), np.array(first, np.int64), np.array(stop, np.int64), summaries)  # noqa: SLF001
        return known

    def trials(self, data: DataSet | str) -> int:
        """Distinct configurations evaluated on a data set, pruned ones too: the N of the overfitting statistics.

        A configuration is a context and a key; the rungs of one configuration count once.

        Args:
            data: The data set, or its fingerprint.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        return self._count(_tables().data_sets.c.fingerprint == _fingerprint(data))

    def related(self, data: DataSet) -> int:
        """Distinct configurations evaluated on this and on every data set of the same market whose span overlaps.

        Each data set has scores of its own that could have been chosen, so a configuration counts once on each.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        columns = _tables().data_sets.c
        return self._count(
            (columns.exchange == data.exchange)
            & (columns.symbol == data.symbol)
            & (columns.first_ms < data.end_ms)
            & (columns.end_ms > data.first_ms)
        )

    def frame(self, data: DataSet | str | None = None, run: str | None = None) -> "polars.DataFrame":
        """The record as a polars frame for people, one row per evaluation, newest last.

        Args:
            data: Only this data set (or fingerprint); None: all.
            run: Only what this run has added; None: all.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        import polars
        import sqlalchemy as sql

        view = _tables().view.table
        chosen = sql.select(view).order_by(view.c.id)
        if data is not None:
            chosen = chosen.where(view.c.fingerprint == _fingerprint(data))
        if run is not None:
            chosen = chosen.where(view.c.run == run)
        with self._reading() as connection:
            entries = connection.execute(chosen).all()
        types = {column.name: _polars_type(column.type.python_type) for column in view.columns}
        frame = polars.DataFrame([tuple(entry) for entry in entries], schema=types, orient="row")
        created = polars.col("created_ms").cast(polars.Datetime("ms", "UTC")).alias("created")
        return frame.with_columns(created, polars.col("key").bin.encode("hex")).drop("created_ms")

    def runs(self) -> list[Run]:
        """What has been run, oldest first; a run that searched on several data sets is named once for each.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        import sqlalchemy as sql

        tables, names = _tables(), list(DataSet.__dataclass_fields__)
        batches, data = tables.batches.c, [tables.data_sets.c[name] for name in names]
        grouped = (
            sql.select(
                batches.run,
                batches.stage,
                sql.func.min(batches.created_ms),
                sql.func.max(batches.created_ms),
                sql.func.sum(batches.evaluations),
                sql.func.max(batches.best),
                *data,
            )
            .select_from(tables.batches.join(tables.contexts).join(tables.data_sets))
            .group_by(batches.run, batches.stage, *data)
            .order_by(sql.func.min(batches.id))
        )
        with self._reading() as connection:
            entries = connection.execute(grouped).all()
        found: dict[tuple[str, str], Run] = {}
        for run, stage, started, ended, evaluations, best, *identity in entries:
            one = Run(run, started, ended, DataSet(*identity), (stage,), int(evaluations), best)
            key = run, one.data.fingerprint
            found[key] = _joined(found[key], one) if key in found else one
        return list(found.values())

    def close(self) -> None:
        """Give back the connections; the ledger cannot be used after that."""
        self._closed = True
        if self._process == os.getpid():
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self._name}>"

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
        if not self._is_file:
            waits = {} if "connect_timeout" in self._url.query else {"connect_timeout": _CONNECT_TIMEOUT}
            try:
                return sql.create_engine(
                    self._url, hide_parameters=True, pool_pre_ping=True, paramstyle="format", connect_args=waits
                )
            except ImportError:
                raise ConfigError(
                    f"The ledger {self._name} needs the PostgreSQL driver psycopg, which is not installed.",
                    hint="pip install 'barwise[postgres]'",
                ) from None
        engine = sql.create_engine(self._url, hide_parameters=True, connect_args={"timeout": self._timeout})
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

    def _open(self) -> None:
        """Find the ledger's version, and make the tables where there are none."""
        import sqlalchemy as sql

        tables = _tables()
        with self._reading(opening=True) as connection:
            version = _version_in(connection)
        if version is None:
            with self._writing(opening=True) as connection:
                version = _version_in(connection)  # somebody else may have made it since
                if version is None:
                    version = SCHEMA_VERSION
                    tables.version.metadata.create_all(connection, checkfirst=False)
                    connection.execute(tables.view)
                    connection.execute(sql.insert(tables.version).values(version=version))
        if version > SCHEMA_VERSION:
            raise CheckpointError(
                f"The ledger {self._name} was written by a newer version of barwise: its schema is {version}, and this "
                f"version knows {SCHEMA_VERSION}.",
                hint="update barwise, or name another file.",
            )

    def _insert_new(self, connection: "Connection", table: "Table", **columns: Any) -> int:
        """Insert the rows that break no unique constraint.

        Args:
            columns: Lists of one length; what is no list is the value of every row.

        Returns:
            How many rows were inserted.
        """
        from sqlalchemy.dialects import postgresql, sqlite

        insert = (sqlite.insert if self._is_file else postgresql.insert)(table).on_conflict_do_nothing()
        # The compiled text goes to the driver with plain tuples: SQLAlchemy's own way costs twice the time a row.
        compiled = insert.compile(dialect=connection.dialect, column_keys=list(columns))
        ordered = [columns[name] for name in compiled.positiontup or ()]
        rows = list(zip(*(column if isinstance(column, list) else repeat(column) for column in ordered), strict=False))
        return connection.exec_driver_sql(str(compiled), rows).rowcount

    @contextmanager
    def _reading(self, *, opening: bool = False) -> Iterator["Connection"]:
        with self._explained(opening=opening), self._own_engine().connect() as connection:
            yield connection

    @contextmanager
    def _writing(self, *, opening: bool = False) -> Iterator["Connection"]:
        """A transaction that has the ledger for itself, so that writers wait for each other and never deadlock."""
        with self._explained(opening=opening), self._own_engine().begin() as connection:
            if self._is_file:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(self._timeout * 1000))}")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            yield connection

    def _own_engine(self) -> "Engine":
        if self._closed:
            raise CheckpointError(f"The ledger {self._name} is closed.", hint="open it again with Ledger(...).")
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
            raise self._explanation(error, opening) from None

    def _explanation(self, error: "DBAPIError", opening: bool) -> BarwiseError:
        original = error.orig
        lines = str(original).strip().splitlines()
        reason = (lines[0] if lines else type(error).__name__).rstrip(".")
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        name = getattr(original, "sqlite_errorname", None)
        state = getattr(original, "sqlstate", None) or ""
        if not self._is_file and (state[:2] in {"08", "28", "3D", "57"} or (not state and _is_operational(error))):
            if opening:
                return ConfigError(
                    f"The ledger's server cannot be used: {self._name} ({reason}).",
                    hint="check host, port, database, user and password of the URL, and that the server is running.",
                )
            return CheckpointError(
                f"The connection to the ledger {self._name} was lost ({reason}).",
                hint="run the same command again; what was recorded before is there.",
            )
        for codes, states, sentence, hint in _CAUSES:
            if (name or "").startswith(codes) or (state and state.startswith(states)):
                told = sentence.format(name=self._name, timeout=self._timeout, reason=reason)
                return CheckpointError(told, hint=hint)
        return CheckpointError(f"The ledger {self._name} cannot be used: {reason}.")

    def _context_id(self, connection: "Connection", context: Context) -> int:
        """The id of a context, which is put on record together with its data set where it is new."""
        import sqlalchemy as sql

        tables = _tables()
        self._insert_new(connection, tables.data_sets, **asdict(context.data), end_ms=[context.data.end_ms])
        self._insert_new(
            connection,
            tables.contexts,
            digest=[context.digest],
            fingerprint=context.data.fingerprint,
            strategy=context.strategy,
            description=_canonical(dict(context.description)),
        )
        columns = tables.contexts.c
        return int(connection.execute(sql.select(columns.id).where(columns.digest == context.digest)).scalar_one())

    def _count(self, data_sets: Any) -> int:
        import sqlalchemy as sql

        tables = _tables()
        distinct = (
            sql.select(tables.evaluations.c.context_id, tables.evaluations.c.key)
            .select_from(tables.evaluations.join(tables.contexts).join(tables.data_sets))
            .where(data_sets)
            .distinct()
        )
        with self._reading() as connection:
            return int(connection.execute(sql.select(sql.func.count()).select_from(distinct.subquery())).scalar_one())


# Beginnings of SQLite's error names and of PostgreSQL's states, and what they mean to a user.
_CAUSES: tuple[tuple[tuple[str, ...], tuple[str, ...], str, str], ...] = (
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        ("55P03",),
        "The ledger {name} is locked: another program has kept it for more than {timeout:g} s.",
        "wait for that program or end it, then run the same command again.",
    ),
    (
        ("SQLITE_FULL",),
        ("53100",),
        "The ledger {name} cannot be written: the disk is full.",
        "make room, then run the same command again; what was recorded before is there.",
    ),
    (
        ("SQLITE_IOERR",),
        ("58",),
        "The ledger {name} cannot be read or written: {reason}.",
        "check the disk, its free space and your quota, then run the same command again.",
    ),
    (
        ("SQLITE_CORRUPT", "SQLITE_NOTADB"),
        ("XX001", "XX002"),
        "The ledger {name} is damaged or no ledger at all: {reason}.",
        "restore a copy of it, or move it away: a new one is made, but its trials are counted no more.",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
        ("42501", "25006"),
        "The ledger {name} cannot be opened for writing: {reason}.",
        "check the permissions of the file and of its folder, or name another one.",
    ),
)


class _Tables(NamedTuple):
    version: "Table"
    data_sets: "Table"
    contexts: "Table"
    batches: "Table"
    evaluations: "Table"
    view: "CreateView"


@cache
def _tables() -> _Tables:
    """The schema; a change to it is a new SCHEMA_VERSION. Names begin with ledger: others may share the database."""
    import sqlalchemy as sql

    metadata = sql.MetaData()
    # SQLite counts rows by itself only in a column of exactly this type.
    row_id = sql.BigInteger().with_variant(sql.Integer, "sqlite")

    def table(name: str, *parts: Any) -> "Table":
        return sql.Table(name, metadata, *parts)

    def text(name: str) -> Any:
        return sql.Column(name, sql.Text, nullable=False)

    def whole(name: str) -> Any:
        return sql.Column(name, sql.BigInteger, nullable=False)

    def real(name: str) -> Any:
        return sql.Column(name, sql.Double)

    def link(name: str, target: str) -> Any:
        return sql.Column(name, sql.ForeignKey(target), nullable=False)

    version = table("ledger_version", sql.Column("version", sql.Integer, primary_key=True))
    data_sets = table(
        "ledger_data_sets",
        sql.Column("fingerprint", sql.Text, primary_key=True),
        *map(text, ("exchange", "symbol", "timeframe")),
        *map(whole, ("first_ms", "last_ms", "end_ms", "bars")),
    )
    contexts = table(
        "ledger_contexts",
        sql.Column("id", row_id, primary_key=True),
        sql.Column("digest", sql.Text, nullable=False, unique=True),
        sql.Column("fingerprint", sql.ForeignKey("ledger_data_sets.fingerprint"), nullable=False, index=True),
        *map(text, ("strategy", "description")),
    )
    batches = table(
        "ledger_batches",
        sql.Column("id", row_id, primary_key=True),
        link("context_id", "ledger_contexts.id"),
        *map(text, ("run", "stage", "sampler")),
        sql.Column("seed", sql.BigInteger),
        text("objective"),
        *map(whole, ("created_ms", "asked", "evaluations")),
        real("best"),
    )
    evaluations = table(
        "ledger_evaluations",
        sql.Column("id", row_id, primary_key=True),
        link("context_id", "ledger_contexts.id"),
        link("batch_id", "ledger_batches.id"),
        sql.Column("key", sql.LargeBinary, nullable=False),
        *map(whole, ("first_bar", "stop_bar", "trades")),
        *map(real, ("net_pnl", "sharpe_ratio", "max_drawdown", "score")),
        text("parameters"),
        sql.Column("summary", sql.LargeBinary, nullable=False),
        # Counting the distinct keys of a context reads this index alone.
        sql.UniqueConstraint("context_id", "key", "first_bar", "stop_bar"),
    )
    origin = [batches.c[name] for name in ("run", "stage", "sampler", "seed", "objective", "created_ms")]
    data = [data_sets.c[name] for name in ("exchange", "symbol", "timeframe", "bars", "fingerprint")]
    result = [column for column in evaluations.c if column.name not in {"id", "context_id", "batch_id", "summary"}]
    joined = evaluations.join(batches).join(contexts, evaluations.c.context_id == contexts.c.id).join(data_sets)
    readable = sql.select(evaluations.c.id, *origin, *data, contexts.c.strategy, *result).select_from(joined)
    view = sql.schema.CreateView(readable, "ledger")
    return _Tables(version, data_sets, contexts, batches, evaluations, view)


def _version_in(connection: "Connection") -> int | None:
    import sqlalchemy as sql

    version = _tables().version
    if not sql.inspect(connection).has_table(version.name):
        return None
    found = connection.execute(sql.select(sql.func.max(version.c.version))).scalar_one()
    return None if found is None else int(found)


def _url_of(where: str | Path) -> "URL":
    """The address of a ledger.

    Raises:
        ConfigError: It cannot be read, or names a database that cannot hold a ledger.
    """
    import sqlalchemy as sql
    from sqlalchemy.exc import ArgumentError

    text = str(where)
    if isinstance(where, Path) or "://" not in text:
        if not text:
            raise ConfigError("The ledger needs a path or a URL; got an empty text.", hint=_EXAMPLES)
        return sql.URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    scheme = text.partition("://")[0]
    try:
        url = sql.make_url(text)
    except (ArgumentError, ValueError):
        # What follows the scheme may hold a password, in a place where it cannot be told apart.
        raise ConfigError(f"The ledger's URL {scheme}://... cannot be read.", hint=_EXAMPLES) from None
    if url.drivername in {"postgresql", "postgresql+psycopg"}:
        if text.count("@") > 1:
            # The rest of the password would be taken for the host, and shown.
            raise ConfigError(
                f"The ledger's URL {scheme}://... has more than one @, so its host cannot be told.",
                hint="write an @ inside a name or a password as %40.",
            )
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigError(f"A ledger cannot be kept in {scheme}; it is a SQLite file or PostgreSQL.", hint=_EXAMPLES)
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError("The ledger's URL names no file, and a ledger in memory would be forgotten.", hint=_EXAMPLES)
    return sql.URL.create("sqlite", database=str(Path(url.database).expanduser().absolute()))


def _secrets_of(url: "URL") -> tuple[str, ...]:
    """Every spelling of the passwords in a URL: before the host, or among the options after the question mark."""
    from urllib.parse import quote, quote_plus

    options = [value for name, value in url.query.items() if "password" in name]
    values = [url.password, *options]
    plain = [value for value in values if isinstance(value, str) and value]
    return tuple(dict.fromkeys(form for value in plain for form in (value, quote(value, safe=""), quote_plus(value))))


def _public(url: "URL") -> str:
    """A URL that may be shown."""
    shown = {name: value for name, value in url.query.items() if name in {"host", "port"}}
    return url.set(query=shown).render_as_string(hide_password=True)


def _is_operational(error: "DBAPIError") -> bool:
    from sqlalchemy.exc import InterfaceError, OperationalError

    return isinstance(error, OperationalError | InterfaceError)


def _canonical(value: Any) -> str:
    """JSON with sorted names and no blanks: equal text exactly where the values are equal.

    Raises:
        ConfigError: JSON cannot hold the value.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The description of a context must be what JSON can hold: {error}.") from None


def _fingerprint(data: DataSet | str) -> str:
    return data if isinstance(data, str) else data.fingerprint


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """A batch as the columns of the table, without the ids.

    Raises:
        ConfigError: The columns differ in length.
    """
    metrics = {name: rows.metrics[name] for name in _BATCH_METRICS}
    lengths = {name: len(column) for name, column in {**rows._asdict(), **metrics}.items() if name != "metrics"}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"the columns of a batch differ in length: {lengths}.")
    # One opaque item per record: a list of its bytes is made in one go.
    records = np.ascontiguousarray(rows.summaries, SUMMARY).view(f"V{SUMMARY.itemsize}")
    return {
        "key": list(rows.keys),
        "first_bar": np.asarray(rows.first, np.int64).tolist(),
        "stop_bar": np.asarray(rows.stop, np.int64).tolist(),
        "trades": np.asarray(metrics["total_trades"], np.int64).tolist(),
        "net_pnl": _numbers(metrics["net_pnl"]),
        "sharpe_ratio": _numbers(metrics["sharpe_ratio"]),
        "max_drawdown": _numbers(metrics["max_drawdown"]),
        "score": _numbers(rows.scores),
        "parameters": list(rows.parameters),
        "summary": records.tolist(),
    }


def _numbers(column: NDArray[Any]) -> list[float | None]:
    """Floats for the database; None where there is no value, because databases disagree about the order of NaN."""
    array = np.asarray(column, np.float64)
    values: list[float | None] = array.tolist()
    for row in np.flatnonzero(np.isnan(array)).tolist():
        values[row] = None
    return values


def _best(rows: Rows, bars: int) -> float | None:
    """The highest score of a full evaluation; scores over fewer bars are no match for it."""
    scores = rows.scores[(np.asarray(rows.stop) == bars) & ~np.isnan(rows.scores)]
    return float(scores.max()) if scores.size else None


def _joined(one: Run, later: Run) -> Run:
    """Two stages of a run on one data set, in the order they began."""
    scores = [run.best for run in (one, later) if run.best is not None]
    return Run(
        one.run,
        min(one.started_ms, later.started_ms),
        max(one.ended_ms, later.ended_ms),
        one.data,
        (*one.stages, *later.stages),
        one.evaluations + later.evaluations,
        max(scores, default=None),
    )


def _polars_type(kind: type) -> Any:
    import polars

    return {int: polars.Int64, float: polars.Float64, str: polars.String, bytes: polars.Binary}[kind]
