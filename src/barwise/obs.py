"""What the program says while it runs: short lines for people on the console, JSON lines for machines in files.

Everything logs through the standard library below the logger `barwise`; nothing is set up by an import. A program that
uses the package decides for itself, and the command line calls `configure_logging` once. Every line is redacted in its
last form, where it becomes text, so a secret is taken out wherever it stood: in the message, an argument, an extra
field, or a traceback.
"""

import json
import logging
import logging.handlers
import os
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from math import isfinite
from pathlib import Path
from typing import Any, Final, TextIO

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
_TELLING_NAME: Final = (
    r"[\w.-]*(?:api[_-]?key|apikey|secret|token|signature|checksum|password|passphrase|client[_-]?id)"
    r"|sign|totp|authorization|(?:set-)?cookie"
)
_IS_TELLING: Final = re.compile(rf"(?:{_TELLING_NAME})$", re.IGNORECASE)
_PATTERNS: Final = (
    # Authorization: Bearer abc, "authorization": "token key:secret", Cookie: a=b; c=d
    (re.compile(r"(\b(?:authorization|cookie)[\"']?\s*[=:]\s*[\"']?)[^\"'\r\n,}]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    # api_key=abc in a query, 'apiKey': 'a b c' in a dict, X-MBX-APIKEY: abc in a header
    (
        re.compile(
            rf"((?<![\w.-])(?:{_TELLING_NAME})[\"']?\s*[=:]\s*)(?:([\"'])[^\"'\r\n]+|[^\s\"'&,;)}}\]]+)", re.IGNORECASE
        ),
        rf"\1\2{_HIDDEN}",
    ),
    # https://name:password@host
    (re.compile(r"(://)[^/\s:@]+:[^/\s@]+@"), rf"\1{_HIDDEN}@"),
)

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

_secrets: set[str] = set()
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

    Taken out are the values of the environment variables that config/.env.example lists, values given to `hide`, and
    whatever stands behind a name such as apiKey, token, signature or Authorization in a URL, header, dict or JSON text.
    """
    known = _secrets | {value for name in CREDENTIALS if len(value := os.environ.get(name, "")) >= _SHORTEST_SECRET}
    for secret in sorted(known, key=len, reverse=True):  # a secret may contain a shorter one
        text = text.replace(secret, _HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


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
        }
        fields |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        if record.stack_info:
            fields["stack"] = record.stack_info
        return json.dumps(_clean(fields), ensure_ascii=False)


def _clean(value: object) -> Any:
    """The value as JSON knows it, every text in it redacted, every value with a telling name hidden."""
    if isinstance(value, Mapping):
        return {
            redact(str(name)): _HIDDEN if _IS_TELLING.match(str(name)) else _clean(item) for name, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value)):
        return value
    return redact(str(value))


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
