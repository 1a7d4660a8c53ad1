"""The trial ledger: every configuration ever evaluated on a data set stays on record.

The best of many trials looks good by luck alone, and how good depends on how many there were. The statistics that say
so need the honest number: all stages, all rungs, all restarts, the pruned ones and those of last month too. The same
record is what a killed search goes on from: asked again, it is answered from here as far as it had come.

A batch of evaluations is one transaction, because a write per trial costs more than the trial. It is kept in a SQLite
file, or by URL in PostgreSQL (docs/ledger.md).
"""

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import SUMMARY
from barwise.errors import CheckpointError, ConfigError
from barwise.obs import home_folder
from barwise.optimizer.ledger_database import Database
from barwise.optimizer.ledger_records import (
    RECORDED_METRICS,
    Answers,
    Context,
    DataSet,
    Known,
    Origin,
    Rows,
    Run,
    canonical,
    configuration_keys,
)
from barwise.optimizer.ledger_schema import SCHEMA_VERSION, ledger_tables, upgrade, version_in

if TYPE_CHECKING:
    import polars
    from sqlalchemy import Connection

__all__ = [
    "BUSY_TIMEOUT",
    "RECORDED_METRICS",
    "SCHEMA_VERSION",
    "Answers",
    "Context",
    "DataSet",
    "Known",
    "Ledger",
    "Origin",
    "Rows",
    "Run",
    "configuration_keys",
    "ledger_place",
]

BUSY_TIMEOUT = 30.0


def ledger_place(storage: str | Path | None, home: Path | None = None) -> str | Path:
    """Where the ledger is: as it was said, or data/ledger.sqlite below the home folder."""
    return home_folder(home) / "data" / "ledger.sqlite" if storage is None else storage


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
        self._database = Database(where, timeout)
        self._context_ids: dict[str, int] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def record(self, context: Context, origin: Origin, rows: Rows, answers: Iterable[Answers] = ()) -> int:
        """Put a batch on record, as a whole or not at all.

        A configuration that is on record already, in this context and over the same bars, keeps its first entry.

        Args:
            context, origin, rows: What was evaluated, why, and what came out; there may be no rows.
            answers: What the user's functions said, of these rows and of those on record before.

        Returns:
            How many rows are new.

        Raises:
            CheckpointError: The ledger cannot be written; nothing of the batch is on record then.
            ConfigError: The columns differ in length, or the context cannot be told in JSON.
        """
        columns, said = _columns(rows), [one for one in answers if one.keys]
        if not rows.keys and not said:
            return 0
        digest, tables, added = context.digest, ledger_tables(), 0
        with self._database.writing() as connection:
            context_id = self._context_ids.get(digest) or self._context_id(connection, context)
            if rows.keys:
                batch = {
                    "context_id": context_id,
                    **asdict(origin),
                    "created_ms": time.time_ns() // 1_000_000,
                    "asked": len(rows.keys),
                    "evaluations": 0,
                    "best": _best(rows, context.data.bars),
                }
                [batch_id] = connection.execute(tables.batches.insert().returning(tables.batches.c.id), batch).one()
                added = self._database.insert_new(
                    connection, tables.evaluations, context_id=context_id, batch_id=batch_id, **columns
                )
                found = tables.batches.c.id == batch_id
                connection.execute(tables.batches.update().where(found).values(evaluations=added))
            for one in said:
                self._database.insert_new(
                    connection, tables.answers, context_id=context_id, function=one.function, source=one.source,
                    key=list(one.keys), first_bar=one.first.tolist(), stop_bar=one.stop.tolist(),
                    answer=_numbers(one.values),
                )  # fmt: skip
        # Not before it is on the disk: a context of a batch that failed has no id.
        self._context_ids[digest] = context_id
        return added

    def known(self, context: Context, sources: Iterable[str] = ()) -> Known:
        """Everything on record for a context.

        Args:
            context: Which.
            sources: Digests of the user's functions whose answers are wanted as well.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        import sqlalchemy as sql

        tables, known = ledger_tables(), Known()
        evaluations = tables.evaluations.c
        chosen = (
            sql.select(evaluations.key, evaluations.first_bar, evaluations.stop_bar, evaluations.summary)
            .join(tables.contexts)
            .where(tables.contexts.c.digest == context.digest)
        )
        with self._database.reading() as connection:
            entries = connection.execute(chosen).all()
        if entries:
            keys, first, stop, records = zip(*entries, strict=True)
            if {len(record) for record in records} != {SUMMARY.itemsize}:
                raise CheckpointError(
                    f"The ledger {self._database.name} holds summaries of a length that no version of it has written.",
                    hint="restore a copy of it, or move it away: a new one is made by the next run.",
                )
            summaries = np.frombuffer(b"".join(records), SUMMARY)
            known.extend(list(keys), np.array(first, np.int64), np.array(stop, np.int64), summaries)
        for source in sources:
            known.add_answers(self._answers(context, source))
        return known

    def trials(self, data: DataSet | str) -> int:
        """Distinct configurations evaluated on a data set, pruned ones too: the N of the overfitting statistics.

        A configuration is a context and a key; the rungs of one configuration count once.

        Args:
            data: The data set, or its fingerprint.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        return self._count(ledger_tables().data_sets.c.fingerprint == _fingerprint(data))

    def related(self, data: DataSet) -> int:
        """Distinct configurations evaluated on this and on every data set of the same market whose span overlaps.

        Each data set has scores of its own that could have been chosen, so a configuration counts once on each.

        Raises:
            CheckpointError: The ledger cannot be read.
        """
        columns = ledger_tables().data_sets.c
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

        view = ledger_tables().view.table
        chosen = sql.select(view).order_by(view.c.id)
        if data is not None:
            chosen = chosen.where(view.c.fingerprint == _fingerprint(data))
        if run is not None:
            chosen = chosen.where(view.c.run == run)
        with self._database.reading() as connection:
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

        tables, names = ledger_tables(), list(DataSet.__dataclass_fields__)
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
        with self._database.reading() as connection:
            entries = connection.execute(grouped).all()
        found: dict[tuple[str, str], Run] = {}
        for run, stage, started, ended, evaluations, best, *identity in entries:
            one = Run(run, started, ended, DataSet(*identity), (stage,), int(evaluations), best)
            key = run, one.data.fingerprint
            found[key] = _joined(found[key], one) if key in found else one
        return list(found.values())

    def close(self) -> None:
        """Give back the connections; the ledger cannot be used after that."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self._database.name}>"

    def _answers(self, context: Context, source: str) -> Answers:
        import sqlalchemy as sql

        tables = ledger_tables()
        columns = tables.answers.c
        chosen = (
            sql.select(columns.key, columns.first_bar, columns.stop_bar, columns.answer)
            .join(tables.contexts)
            .where((tables.contexts.c.digest == context.digest) & (columns.source == source))
        )
        with self._database.reading() as connection:
            entries = connection.execute(chosen).all()
        keys, first, stop, values = zip(*entries, strict=True) if entries else ((), (), (), ())
        # What the database has as None becomes NaN.
        numbers = np.array(values, np.float64)
        return Answers("", source, list(keys), np.array(first, np.int64), np.array(stop, np.int64), numbers)

    def _open(self) -> None:
        """Find the ledger's version, make the tables where there are none, and add those that came later."""
        import sqlalchemy as sql

        tables = ledger_tables()
        with self._database.reading(opening=True) as connection:
            version = version_in(connection)
        if version is None:
            with self._database.writing(opening=True) as connection:
                version = version_in(connection)  # somebody else may have made it since
                if version is None:
                    version = SCHEMA_VERSION
                    tables.version.metadata.create_all(connection, checkfirst=False)
                    connection.execute(tables.view)
                    connection.execute(sql.insert(tables.version).values(version=version))
        if version < SCHEMA_VERSION:
            with self._database.writing(opening=True) as connection:
                version = version_in(connection)
                assert version is not None
                if version < SCHEMA_VERSION:
                    upgrade(connection, version)
        if version > SCHEMA_VERSION:
            raise CheckpointError(
                f"The ledger {self._database.name} was written by a newer version of barwise: its schema is {version}, "
                f"and this version knows {SCHEMA_VERSION}.",
                hint="update barwise, or name another file.",
            )

    def _context_id(self, connection: "Connection", context: Context) -> int:
        """The id of a context, which is put on record together with its data set where it is new."""
        import sqlalchemy as sql

        tables = ledger_tables()
        self._database.insert_new(connection, tables.data_sets, **asdict(context.data), end_ms=[context.data.end_ms])
        self._database.insert_new(
            connection,
            tables.contexts,
            digest=[context.digest],
            fingerprint=context.data.fingerprint,
            strategy=context.strategy,
            description=canonical(dict(context.description)),
        )
        columns = tables.contexts.c
        return int(connection.execute(sql.select(columns.id).where(columns.digest == context.digest)).scalar_one())

    def _count(self, data_sets: Any) -> int:
        import sqlalchemy as sql

        tables = ledger_tables()
        distinct = (
            sql.select(tables.evaluations.c.context_id, tables.evaluations.c.key)
            .select_from(tables.evaluations.join(tables.contexts).join(tables.data_sets))
            .where(data_sets)
            .distinct()
        )
        with self._database.reading() as connection:
            return int(connection.execute(sql.select(sql.func.count()).select_from(distinct.subquery())).scalar_one())


def _fingerprint(data: DataSet | str) -> str:
    return data if isinstance(data, str) else data.fingerprint


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """A batch as the columns of the table, without the ids.

    Raises:
        ConfigError: The columns differ in length.
    """
    metrics = {name: rows.metrics[name] for name in RECORDED_METRICS}
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
