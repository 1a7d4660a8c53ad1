"""The tables of the ledger and the view for people; what each column means stands in docs/ledger.md."""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table
    from sqlalchemy.schema import CreateView

SCHEMA_VERSION = 2


class Tables(NamedTuple):
    """The tables, and the statement that makes the view."""

    version: "Table"
    data_sets: "Table"
    contexts: "Table"
    batches: "Table"
    evaluations: "Table"
    answers: "Table"
    view: "CreateView"


@cache
def ledger_tables() -> Tables:
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
    answers = table(
        "ledger_answers",
        link("context_id", "ledger_contexts.id"),
        sql.Column("function", sql.Text, nullable=False),
        sql.Column("source", sql.Text, nullable=False),
        sql.Column("key", sql.LargeBinary, nullable=False),
        *map(whole, ("first_bar", "stop_bar")),
        real("answer"),
        sql.PrimaryKeyConstraint("context_id", "source", "key", "first_bar", "stop_bar"),
    )
    origin = [batches.c[name] for name in ("run", "stage", "sampler", "seed", "objective", "created_ms")]
    data = [data_sets.c[name] for name in ("exchange", "symbol", "timeframe", "bars", "fingerprint")]
    result = [column for column in evaluations.c if column.name not in {"id", "context_id", "batch_id", "summary"}]
    joined = evaluations.join(batches).join(contexts, evaluations.c.context_id == contexts.c.id).join(data_sets)
    readable = sql.select(evaluations.c.id, *origin, *data, contexts.c.strategy, *result).select_from(joined)
    view = sql.schema.CreateView(readable, "ledger")
    return Tables(version, data_sets, contexts, batches, evaluations, answers, view)


def upgrade(connection: "Connection", version: int) -> None:
    """Bring a ledger of an earlier schema up to this one; what is on record stays as it is."""
    tables = ledger_tables()
    if version < 2:
        tables.answers.create(connection)
    connection.execute(tables.version.update().values(version=SCHEMA_VERSION))


def version_in(connection: "Connection") -> int | None:
    """The schema version of a database; None where it holds no ledger."""
    import sqlalchemy as sql

    version = ledger_tables().version
    if not sql.inspect(connection).has_table(version.name):
        return None
    found = connection.execute(sql.select(sql.func.max(version.c.version))).scalar_one()
    return None if found is None else int(found)
