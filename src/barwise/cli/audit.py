"""`barwise audit`: the story of one trade of a finished run, or the list of all its trades.

A manifest holds what happened and not why. So the run is done again as `barwise verify` does it, and only where that
gives the same run to the bit is anything told about it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path

if TYPE_CHECKING:
    from barwise.result import BacktestResult


def audit(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Name of a report or path of its manifest; default: the newest."),
    ] = None,
    trade: Annotated[
        int | None, typer.Option("--trade", metavar="N", help="Tell the story of this trade; they count from 0.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Where the file of the candles is now.")
    ] = None,
    detail_file: Annotated[
        Path | None, typer.Option("--detail-file", metavar="FILE", help="Where that of the finer candles is now.")
    ] = None,
    funding_file: Annotated[
        Path | None, typer.Option("--funding-file", metavar="FILE", help="Where that of the funding is now.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", metavar="FILE.py:CLASS", help="Where the strategy is now.")
    ] = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Tell why a trade was entered, at which tier and why there, and why it was left.

    Does the run again from its manifest, as verify does, and refuses to tell anything about one that differs. Without
    --trade it lists all trades, and the entry programs that did not become one.
    """
    session = Session.begin(home, json, quiet)
    settings_of("audit", settings, {})
    from barwise.manifest import ENDING, find_manifest
    from barwise.story import overview_of, story_of, told, told_overview

    path = find_manifest(run, session.home)
    result = _repeated(path, session.home, file, detail_file, funding_file, strategy)
    name = path.name.removesuffix(ENDING)
    document = overview_of(result) if trade is None else story_of(result, trade)
    session.document({"run": name, "manifest": str(path), **document})
    session.say(f" {name}   {shown_path(path)}\n")
    for line in told_overview(document) if trade is None else told(document):
        session.say(line)


def _repeated(
    path: Path, home: Path, file: Path | None, detail: Path | None, funding: Path | None, strategy: str | None
) -> "BacktestResult":
    """The run of a manifest, done again and found to be the same to the bit.

    Raises:
        CheckpointError: It differs, or the manifest is damaged.
        DataError, ConfigError, BacktestError: Its inputs cannot be had, or the run fails.
    """
    from barwise.cli.verify import repeated
    from barwise.errors import CheckpointError
    from barwise.manifest import ENDING

    result, found = repeated(path, home, file, detail, funding, strategy)
    if not found.same:
        raise CheckpointError(
            f"the run done again is not the run on record: {found.differences[0]}",
            hint=f"barwise verify {path.name.removesuffix(ENDING)} names everything that differs.",
        )
    return result
