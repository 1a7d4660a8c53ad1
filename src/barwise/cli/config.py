"""`barwise config`: a file of settings to start from, what may stand in it, and what it comes to."""

import json as json_text
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, parsed_settings, shown_path
from barwise.errors import ConfigError

if TYPE_CHECKING:
    from barwise.strategy.base import Strategy

StrategyName = Annotated[
    str | None,
    typer.Option("--strategy", metavar="FILE.py:CLASS", help="Whose parameters [strategy] has; default EMA/RSI/ATR."),
]

config = typer.Typer(help="Files of settings: an example, the schema, what a file comes to.", no_args_is_help=True)


@config.command("init")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("barwise.toml"),
    strategy: StrategyName = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Write a file of settings with every key as a comment: its default, and what it is."""
    session = Session.begin(home, json, quiet)
    from barwise.data.files import write_atomically
    from barwise.run_config import example

    if file.exists():
        raise ConfigError(f"{file} is there already.", hint="give another name: barwise config init FILE.")
    write_atomically(file, example(_kind(strategy), strategy))
    session.say(f"{shown_path(file)} has every setting as a comment. barwise run {shown_path(file)} takes it.")
    session.document({"file": str(file)})


@config.command("schema")
def schema(
    strategy: StrategyName = None,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Print the JSON schema of a file of settings: sections, keys, types, bounds, defaults."""
    Session.begin(home, as_json=True, quiet=quiet)
    from barwise.run_config import schema as schema_of

    sys.stdout.write(json_text.dumps(schema_of(_kind(strategy)), indent=2, allow_nan=False) + "\n")


@config.command("show")
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A TOML file; none = the defaults.")] = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Show every setting that a run with this file would have, and where each comes from.

    What it prints is such a file itself. --set takes SECTION.KEY=VALUE, and parameters of the strategy and execution
    settings by their bare names.
    """
    session = Session.begin(home, json, quiet)
    from barwise.manifest.strategies import load_function, load_strategy
    from barwise.run_config import resolve

    found = resolve(
        file,
        environment=os.environ,
        load=load_strategy,
        load_function=load_function,
        settings=parsed_settings(settings),
    )
    session.document({"values": found.values, "sources": found.sources})
    session.say(found.to_toml().rstrip())


def _kind(strategy: str | None) -> "type[Strategy]":
    from barwise.manifest.strategies import load_strategy
    from barwise.strategy.ema_rsi_atr import EmaRsiAtr

    return EmaRsiAtr if strategy is None else load_strategy(strategy)
