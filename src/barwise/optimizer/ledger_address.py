"""Where a ledger is: a file or a server, what of its address may be shown, and what an error met there means.

A URL holds a password, and a driver's own words may repeat it; so whatever is shown of either is made here.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from barwise.errors import BarwiseError, CheckpointError, ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.exc import DBAPIError

# Without a password in it: what looks like one is taken out of every message.
_EXAMPLES = "give a path such as data/ledger.sqlite, or postgresql://user@host:5432/database with PGPASSWORD set."
# What SQLite calls a database that is no file.
_MEMORY = ":memory:"
_FORGOTTEN = "The ledger's address names no file, and a ledger in memory would be forgotten."
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


class Address:
    """The address of a ledger.

    Args:
        where: Path of a SQLite file, or a URL: postgresql+psycopg://..., postgresql://... or sqlite:///path.

    Attributes:
        url: For the driver; holds the password.
        is_file: Whether it is a SQLite file, not a server.
        secrets: Every spelling of the passwords in the URL.
        name: What may be shown: the path, or the URL without its passwords.

    Raises:
        ConfigError: It cannot be read, or names a database that cannot hold a ledger.
    """

    def __init__(self, where: str | Path) -> None:
        self.url = _url_of(where)
        self.is_file = self.url.get_backend_name() == "sqlite"
        self.secrets = _secrets_of(self.url)
        self.name = (self.url.database or "") if self.is_file else _public(self.url)

    def explanation(self, error: "DBAPIError", timeout: float, *, opening: bool) -> BarwiseError:
        """An error of the driver as ours, without statement, values, or password.

        Args:
            timeout: Seconds that were waited for other programs.
            opening: Whether the ledger is being opened: then a server that cannot be used was named wrongly.
        """
        original = error.orig
        lines = str(original).strip().splitlines()
        reason = (lines[0] if lines else type(error).__name__).rstrip(".")
        for secret in self.secrets:
            reason = reason.replace(secret, "***")
        name = getattr(original, "sqlite_errorname", None)
        state = getattr(original, "sqlstate", None) or ""
        if not self.is_file and (state[:2] in {"08", "28", "3D", "57"} or (not state and _is_operational(error))):
            if opening:
                return ConfigError(
                    f"The ledger's server cannot be used: {self.name} ({reason}).",
                    hint="check host, port, database, user and password of the URL, and that the server is running.",
                )
            return CheckpointError(
                f"The connection to the ledger {self.name} was lost ({reason}).",
                hint="run the same command again; what was recorded before is there.",
            )
        for codes, states, sentence, hint in _CAUSES:
            if (name or "").startswith(codes) or (state and state.startswith(states)):
                told = sentence.format(name=self.name, timeout=timeout, reason=reason)
                return CheckpointError(told, hint=hint)
        return CheckpointError(f"The ledger {self.name} cannot be used: {reason}.")


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
        if text == _MEMORY:
            raise ConfigError(_FORGOTTEN, hint=_EXAMPLES)
        return sql.URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    scheme = text.partition("://")[0]
    try:
        url = sql.make_url(text)
    except (ArgumentError, ValueError):
        # What follows the scheme may hold a password, in a place where it cannot be told apart.
        raise ConfigError(f"The ledger's URL {scheme}://... cannot be read.", hint=_EXAMPLES) from None
    if url.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        if text.count("@") > 1 or "@" in text.partition("?")[2]:
            # The rest of the password would be taken for the host, and shown.
            raise ConfigError(
                f"The ledger's URL {scheme}://... has more than one @, or one after a question mark, so its host "
                "cannot be told.",
                hint="write an @ inside a name or a password as %40, and a question mark as %3F.",
            )
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigError(f"A ledger cannot be kept in {scheme}; it is a SQLite file or PostgreSQL.", hint=_EXAMPLES)
    if not url.database or url.database == _MEMORY or url.database.startswith("file:"):
        raise ConfigError(_FORGOTTEN, hint=_EXAMPLES)
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
