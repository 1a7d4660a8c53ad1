"""What the program says while it runs: short lines for people on the console, JSON lines for machines in files.

Everything logs through the standard library below the logger `barwise`; nothing is set up by an import. A program that
uses the package decides for itself, and the command line calls `configure_logging` once. Every line is redacted in its
last form, where it becomes text, so a secret is taken out wherever it stood: in the message, an argument, an extra
field, or a traceback. Lines that belong to a run say so: `correlated`.
"""

import json
import logging
import logging.handlers
import os
import re
import sys
import traceback
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from io import TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from barwise.errors import ConfigError, did_you_mean

# The names that config/.env.example lists.
CREDENTIALS: Final = (
    "BINANCE_API_KEY",
    "BINANCE_API_SECRET",
    "DELTA_API_KEY",
    "DELTA_API_SECRET",
    "ZERODHA_API_KEY",
    "ZERODHA_API_SECRET",
    "ZERODHA_ACCESS_TOKEN",
    "DHAN_CLIENT_ID",
    "DHAN_ACCESS_TOKEN",
)

_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 6  # a shorter value would blank out ordinary words and numbers of a line
_DECODERS: Final = (unquote, unquote, unquote_plus)  # an address within an address within a form
_SHORTEST_ENCODED: Final = 12  # in base64 the ends of a value melt into what stands beside it
# Ends of the names behind which secrets stand: X-MBX-APIKEY, access_token, dhanClientId. The last four are whole names.
_TELLING: Final = (
    r"(?:(?:api|listen|private)[_-]?key|secret|token(?:[_-]?id)?|signature|checksum|passw(?:or)?d|passphrase|jwt"
    r"|(?:client|user|partner|app|consent(?:app)?)[_-]?id|authorization|cookies?|(?<![\w.-])(?:sign|totp|pin|pwd))"
)
_IS_TELLING: Final = re.compile(rf"{_TELLING}[\"']?\Z", re.IGNORECASE)
# What may stand between a name and its value: "name": x, name=x, headers['name'] = x, name="name" value=x
_BETWEEN: Final = r"(?:\\*[\"'])?\]?(?:\s*+(?:=>?|:)[\s+]*+|\s++value=)"
# In the repr of what was sent: X-MBX-APIKEY: abc\r\nHost: ...
_NEXT_HEADER: Final = r"(?:\\{1,9}[rn])+[\w-]{1,60}:"
# Where a search could begin anew at every letter its length is limited: a line of a megabyte must not take minutes.
_PATTERNS: Final = (
    (
        re.compile(r"-----BEGIN[A-Z +]*PRIVATE[ +]KEY-----.*?(?:-----END[A-Z +]*PRIVATE[ +]KEY-----|\Z)", re.DOTALL),
        _HIDDEN,
    ),
    # Cookie: a=b; c="d" and Authorization: Digest x, y="z": their values have separators of their own
    (
        re.compile(rf"((?:authorization|cookies?){_BETWEEN})(?!b?\\*[\"'])[^\r\n]+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    # api_key=abc in a query, 'apiKey': b'a b c' in a dict, {\"token\": \"abc\"} in JSON within JSON, token=['abc']
    (
        re.compile(
            rf"({_TELLING}{_BETWEEN})(?:(b?)(\\*[\"'])(?!\3)[^\r\n]*?(?=(?<!\\)\3|[\r\n]|$)"
            rf"|(?!b?\\*[\"'])(?:[\[({{][^\])}}\r\n]*|(?:(?!{_NEXT_HEADER})[^\s\"'&,;)}}\]])+))",
            re.IGNORECASE,
        ),
        rf"\1\2\3{_HIDDEN}",
    ),
    # ('api-key', 'abc') in a list of headers; a pair of names is none
    (
        re.compile(
            rf"([(\[]b?([\"'])[\w.-]*{_TELLING}\2,\s*b?([\"']))(?![\w.-]*{_TELLING}\3)[^\r\n]*?(?=\3[)\]]|[\r\n]|$)",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    # --request-token abc123de on a command line; words of a sentence about the option stay
    (re.compile(rf"((?<![\w-])--[\w-]*{_TELLING}\s+)(?=\S*\d)[^\s-]\S{{7,}}", re.IGNORECASE), rf"\1{_HIDDEN}"),
    # https://name:password@host; a port is no password
    (re.compile(r"(://)[^/\s:@\"']{0,200}:(?!\d{1,5}(?:[/?#,;)\]}]|$))[^\s\"'<>]*@"), rf"\1{_HIDDEN}@"),
    # Values that tell by themselves: of an Authorization header, and a JSON web token
    (re.compile(r"\b((?:Basic|Bearer|enctoken)\s+)(?=\S*[0-9A-Z=])[\w.~+/%-]{8,}=*"), rf"\1{_HIDDEN}"),
    (re.compile(r"\b(token\s+)\w{6,}:\w{6,}", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"eyJ[\w-]{6,300}\.[\w-]{6,4000}(?:\.[\w-]*)?"), _HIDDEN),
)
# A look that spares most lines all of the above: without one of these words, in lower case, none of it can be found.
_MAY_TELL: Final = (
    "key", "secret", "token", "sign", "checksum", "passw", "passphrase", "jwt", "client", "user", "partner", "consent",
    "appid", "app_id", "app-id", "auth", "cookie", "totp", "pin", "pwd", "://", "%2f", "eyj", "basic", "bearer",
)  # fmt: skip

_ROOT: Final = "barwise"
_DEFAULT_FILE: Final = "backtest_engine.log"
_FILE_OF_PART: Final = {
    "barwise.exchange": "exchange_manager.log",
    "barwise.optimizer": "optimization_engine.log",
    "barwise.validation": "optimization_engine.log",
    "barwise.hardware": "optimization_engine.log",
}
_ERROR_FILE: Final = "error.log"
_FILE_BYTES: Final = 5_000_000
_OLD_FILES: Final = 3
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_COLOURS: Final = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_STANDARD_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _Place(NamedTuple):
    """The run, and perhaps the stage of it, that a line belongs to."""

    run: str
    stage: str | None


_secrets: set[str] = set()
_place: ContextVar[_Place | None] = ContextVar("barwise_place", default=None)
_in_force: list[_Place] = []
_handlers: list[logging.Handler] = []
_levelled: list[logging.Logger] = []


def home_folder(explicit: Path | None = None) -> Path:
    """The folder that data/, logs/ and config/.env belong to: the one given, else BARWISE_HOME, else where we are.

    Args:
        explicit: What the user gave on the command line, or None.

    Returns:
        An absolute path; it need not exist yet.
    """
    chosen = explicit or Path(os.environ.get("BARWISE_HOME") or Path.cwd())
    return chosen.expanduser().absolute()


def hide(*secrets: str) -> None:
    """Take these values out of every later line: credentials that were read from a file instead of the environment."""
    _secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def redact(text: str) -> str:
    """The text without credentials.

    Taken out are the values of the environment variables that config/.env.example lists and values given to `hide`,
    also percent-encoded, escaped, or in base64; whatever stands behind a name such as apiKey, token, signature or
    Authorization in a URL, header, dict or JSON text; and what is a secret by its look: a password in an address, a
    JSON web token, a private key in PEM format.
    """
    known = _secrets | {value for name in CREDENTIALS if len(value := os.environ.get(name, "")) >= _SHORTEST_SECRET}
    for spelling in _spellings(frozenset(known)):
        text = text.replace(spelling, _HIDDEN)
    folded = text.lower()
    if any(word in folded for word in _MAY_TELL):
        text = _without_told(text)
        layer = text
        for decode in _DECODERS:
            decoded = decode(layer)
            if decoded != layer:
                layer = _without_told(decoded)
                text = text if layer == decoded else layer
    return text


def _without_told(text: str) -> str:
    """The text without what names or looks tell to be secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=4)
def _spellings(secrets: frozenset[str]) -> tuple[str, ...]:
    """Every way in which these values may stand in a line, the longest first: one may contain another."""
    found = set()
    for secret in secrets:
        # A private key has lines, and a traceback may show one of them alone.
        lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST_ENCODED and not line.startswith("-")]
        for value in (secret, *lines):
            found |= {value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}
            found |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
            if len(value) >= _SHORTEST_ENCODED:
                found |= set(_in_base64(value.encode()))
    return tuple(sorted(found, key=len, reverse=True))


def _in_base64(value: bytes) -> Iterator[str]:
    """What a value is inside a longer text in base64: it begins at one of three places of a group of letters."""
    for before, mixed in ((0, 0), (1, 2), (2, 3)):
        letters = b64encode(b"\0" * before + value).decode().rstrip("=")
        whole = letters[mixed:] if (before + len(value)) % 3 == 0 else letters[mixed:-1]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


@contextmanager
def correlated(run: str, stage: str | None = None) -> Iterator[None]:
    """Give every JSON line that is logged inside the fields `run` and `stage`; the console stays as it is.

    What is nested replaces what is around it until it ends. Coroutines and threads that were started with a copy of the
    context (`contextvars.copy_context().run`) belong to the run they were started in. A thread without one, such as
    those of a pool, belongs to the innermost run of the process as long as there is only one run in it; where there are
    several its lines have neither field. Worker processes do not know of it: they hand back results, and what is to be
    told of them is logged by the process that asked.

    Args:
        run: Name of the run.
        stage: As the documentation counts them, such as "7.1"; None for lines that belong to no stage.
    """
    place = _Place(run, stage)
    before = _place.set(place)
    _in_force.append(place)
    try:
        yield
    finally:
        _in_force.remove(place)
        _place.reset(before)


def _fields_of_place() -> dict[str, str]:
    """The fields `run` and `stage` of a line that is logged here and now."""
    place = _place.get()
    if place is None:
        others = tuple(_in_force)
        if len({other.run for other in others}) != 1:
            return {}
        place = others[-1]
    return {"run": place.run} if place.stage is None else {"run": place.run, "stage": place.stage}


def configure_logging(
    home: Path | None = None, *, console: int = logging.INFO, levels: str | None = None, files: bool = True
) -> None:
    """Send what the package logs to the console and to the files of the home folder; a second call replaces the first.

    Args:
        home: Where logs/ lies; see `home_folder`.
        console: Lowest level shown on stderr, on top of the loggers' own levels.
        levels: Level of the package, then of single modules: "info,barwise.exchange=debug". None reads BARWISE_LOG.
        files: Write the files; they and their folder are made with the first line, so a silent run leaves nothing.

    Raises:
        ConfigError: `levels` or BARWISE_LOG names something that is no level or no module of this package.
    """
    wanted = _parse_levels(os.environ.get("BARWISE_LOG", "") if levels is None else levels)
    close_logging()
    for name, level in {_ROOT: logging.INFO, **wanted}.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        _levelled.append(logger)

    screen = _Screen()
    screen.setLevel(console)
    screen.setFormatter(_Line(colours=sys.stderr.isatty() and "NO_COLOR" not in os.environ))
    _handlers.append(screen)
    if files:
        folder = home_folder(home) / "logs"
        _handlers.extend(_LogFile(folder / file) for file in sorted({_DEFAULT_FILE, *_FILE_OF_PART.values()}))
        errors = _LogFile(folder / _ERROR_FILE, of_all_parts=True)
        errors.setLevel(logging.ERROR)
        _handlers.append(errors)
    for handler in _handlers:
        logging.getLogger(_ROOT).addHandler(handler)


def close_logging() -> None:
    """Undo `configure_logging`: close the files and give the loggers their levels back."""
    while _handlers:
        handler = _handlers.pop()
        logging.getLogger(_ROOT).removeHandler(handler)
        handler.close()
    while _levelled:
        _levelled.pop().setLevel(logging.NOTSET)


class _Line(logging.Formatter):
    """A line for people: the message alone, its level where that is not INFO; tracebacks stay in the files."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        text = redact(record.getMessage())
        if record.levelno == logging.INFO:
            return text
        level = record.levelname.lower()
        colour = _COLOURS.get(record.levelno, "") if self._colours else ""
        return f"{colour}{level}:\x1b[0m {text}" if colour else f"{level}: {text}"


class _JsonLine(logging.Formatter):
    """One JSON object a line: time, level, logger, message, where, the extra fields, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "where": f"{record.module}.{record.funcName}:{record.lineno}",
            "process": record.process,
            **_fields_of_place(),
        }
        # Ray, where it was used, marks every record of the process with a field of its own, underscore first.
        fields |= {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD_FIELDS and not name.startswith("_")
        }
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        if record.stack_info:
            fields["stack"] = record.stack_info
        return json.dumps(_clean(fields), ensure_ascii=False)


def _clean(value: object) -> Any:
    """The value as JSON knows it, every text in it redacted, every value with a telling name hidden."""
    if isinstance(value, Mapping):
        return {redact(str(name)): _HIDDEN if _is_telling(name) else _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        if len(items) == 2 and _is_telling(items[0]) and not _is_telling(items[1]):  # a header among others
            return [redact(str(items[0])), _HIDDEN]
        return [_clean(item) for item in items]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value)):
        return value
    return redact(str(value))


def _is_telling(name: object) -> bool:
    return isinstance(name, (str, bytes)) and _IS_TELLING.search(str(name)) is not None


class _Part(logging.Filter):
    """Lets through the lines that belong to one file."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def filter(self, record: logging.LogRecord) -> bool:
        return _file_of(record.name) == self._file


class _Screen(logging.StreamHandler[TextIO]):
    """Lines for people, on whatever is stderr when they are written: a progress bar puts itself there for a while."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _LogFile(logging.handlers.RotatingFileHandler):
    """A rotating file of the JSON lines of one part; where it cannot be written the run goes on and is told so once."""

    def __init__(self, path: Path, *, of_all_parts: bool = False) -> None:
        super().__init__(path, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8", delay=True)
        self.setFormatter(_JsonLine())
        if not of_all_parts:
            self.addFilter(_Part(path.name))
        self._told = False

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - a name of the standard library
        """Say once that lines are lost, instead of a traceback for each of them."""
        if not self._told:
            self._told = True
            print(f"warning: lines are missing in {self.baseFilename}: {sys.exc_info()[1]}", file=sys.stderr)


def _file_of(logger: str) -> str:
    """The file that a logger's lines belong to."""
    for part, file in _FILE_OF_PART.items():
        if logger == part or logger.startswith(f"{part}."):
            return file
    return _DEFAULT_FILE


def _parse_levels(text: str) -> dict[str, int]:
    """Read "info,barwise.exchange=debug": a bare level is the whole package's."""
    levels: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, word = (part.strip() for part in item.rpartition("="))
        if word.lower() not in _LEVELS:
            raise ConfigError(
                f"BARWISE_LOG: {word!r} is not a level.{did_you_mean(word, _LEVELS)}",
                hint=f"use one of {', '.join(_LEVELS)}, for example BARWISE_LOG=info,barwise.exchange=debug",
            )
        if equals and name != _ROOT and not name.startswith(f"{_ROOT}."):
            raise ConfigError(
                f"BARWISE_LOG: {name!r} is not a module of this package.",
                hint="name it in full, for example barwise.exchange=debug",
            )
        levels[name or _ROOT] = getattr(logging, word.upper())
    return levels
