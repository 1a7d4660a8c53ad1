"""Options that several commands share, and what all commands do first.

Nothing heavy is imported here: `barwise --help` reads this module.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.errors import ConfigError, did_you_mean
from barwise.obs import configure_logging, home_folder

if TYPE_CHECKING:
    from rich.console import Console

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="PATH", help="Folder of data/ and logs/; else BARWISE_HOME, else where you are."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value by its name; repeatable.")
]
Exchange = Annotated[
    str | None,
    typer.Option(
        "--exchange", metavar="NAME", help="BINANCE, BINANCE_UM, DELTA, ZERODHA, DHAN, REPLAY, CCXT:id or SAMPLE."
    ),
]
Symbol = Annotated[str | None, typer.Option("--symbol", metavar="NAME", help="Such as BTCUSDT or SAMPLE-BTC.")]
TimeframeName = Annotated[
    str | None, typer.Option("--timeframe", metavar="NAME", help="1M (a minute) 5M 15M 30M 1H 2H 4H 1D 1W.")
]
Start = Annotated[str | None, typer.Option("--start", metavar="TIME", help="First bar: 2025-01-01, 2025-01-01T04:00.")]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Bars open before it: the end is exclusive.")]

_PROFILES = ("FAST", "BALANCED", "THOROUGH")


class ToldWhatItHad(int):
    """Exit status of a command that Ctrl-C ended early, and that has written its document nevertheless."""


@dataclass(frozen=True)
class Session:
    """What a command needs to know besides its own options: where its files are and how it may speak.

    Attributes:
        home: The home folder, absolute.
        as_json: One JSON document on stdout, nothing else.
        quiet: Nothing but errors.
    """

    home: Path
    as_json: bool
    quiet: bool

    @classmethod
    def begin(cls, home: Path | None, as_json: bool, quiet: bool) -> "Session":
        """Settle the home folder for this process and those it starts, and set up the log.

        Raises:
            ConfigError: The home folder is a file, or BARWISE_LOG is wrong.
        """
        use_home(home)
        folder = home_folder()
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"the home folder {folder} is a file.", hint="give a folder: --home PATH.")
        console = logging.ERROR if quiet else logging.WARNING if as_json else logging.INFO
        configure_logging(folder, console=console)
        return cls(folder, as_json, quiet)

    @property
    def speaks(self) -> bool:
        """Whether pages for people are wanted."""
        return not (self.as_json or self.quiet)

    def say(self, text: str) -> None:
        """A line for people, on stdout."""
        if self.speaks:
            sys.stdout.write(f"{text}\n")

    def document(self, content: Mapping[str, Any]) -> None:
        """The JSON document, where one is wanted."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")

    def console(self) -> "Console":
        """A rich console on stdout."""
        from rich.console import Console

        return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


@contextmanager
def quiet_searches() -> Iterator[None]:
    """Every search says how its stages ended; where there are hundreds, of windows and shuffled markets, none does."""
    searches = logging.getLogger("barwise.optimizer.search")
    level = searches.level
    if level == logging.NOTSET:
        searches.setLevel(logging.WARNING)
    try:
        yield
    finally:
        searches.setLevel(level)


def checked_profile(name: str | None) -> str | None:
    """The profile of a search as the configuration has it.

    Raises:
        ConfigError: There is no such profile.
    """
    if name is not None and name.upper() not in _PROFILES:
        raise ConfigError(
            f"{name} is not a profile.{did_you_mean(name.upper(), _PROFILES)}", hint=f"use {', '.join(_PROFILES)}."
        )
    return name and name.upper()


def use_home(home: Path | None) -> None:
    """Make a home folder given on the command line the one of this process, and of those it starts."""
    if home is not None:
        os.environ["BARWISE_HOME"] = str(home_folder(home))


def parsed_settings(texts: Iterable[str] | None) -> dict[str, str]:
    """`key=value` texts by key; the last one wins.

    Raises:
        ConfigError: A text has no `=` or no key.
    """
    settings = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {text}: KEY=VALUE is needed.", hint="for example --set ema_fast=10.")
        settings[key.strip()] = value.strip()
    return settings


def settings_of(command: str, texts: Iterable[str] | None, known: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The settings of a command that is no backtest: names and allowed values are in `known`.

    Raises:
        ConfigError: A name or value is not among them.
    """
    settings = parsed_settings(texts)
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(
                f"{key} is not a setting of barwise {command}.{did_you_mean(key, known)}",
                hint=f"its settings: {', '.join(known)}." if known else "it has none.",
            )
        allowed = tuple(known[key])
        if value not in allowed:
            raise ConfigError(
                f"{key} is {value!r}.{did_you_mean(value, allowed)}", hint=f"use one of {', '.join(allowed)}."
            )
    return settings


def table_lines(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int] = frozenset()
) -> list[str]:
    """The lines of a table; columns with these positions are aligned to the right.

    Not a rich table: that would cut the columns to the width of the terminal, and these lines get grepped.
    """
    table = [tuple(heads), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            f"{cell:>{width}}" if place in numbers else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def shown_path(path: Path) -> str:
    """A path as short as it can be typed: from the working directory on where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
