"""`barwise audit`: what a run decided, and the story of one trade of it.

A run of the main job has a trail, and the overview is counted from that. A manifest holds what happened and not why.
So for the trades of a backtest the run is done again as `barwise verify` does it, and nothing is told about it where
that does not give the same run to the bit.
"""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path

if TYPE_CHECKING:
    from barwise.result import BacktestResult

# Backtests of a main job that have a manifest of their own, the one that is told about first.
_PARTS = ("optimized", "baseline")


def audit(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Name of a run or report, or path of its file; default: the newest."),
    ] = None,
    trade: Annotated[
        int | None, typer.Option("--trade", metavar="N", help="Tell the story of this trade; they count from 0.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="PART", help="Which backtest of a run of all stages: optimized or baseline."),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a trail's line.")] = False,
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
    """Tell what a run decided; why a trade was entered, at which tier and why there, and why it was left.

    Of a run of all stages: an overview of its audit trail. Of one backtest, or with --part: all trades, and the entry
    programs that did not become one. With --trade: the story of that trade. For trades the run is done again from its
    manifest, as verify does, and nothing is told about one that differs.
    """
    session = Session.begin(home, json, quiet)
    settings_of("audit", settings, {})
    if schema:
        from barwise.trail import line_schema

        sys.stdout.write(json_text.dumps(line_schema(), indent=2, allow_nan=False) + "\n")
        return
    trail = _trail_of(run, session.home)
    if trail is not None and trade is None and part is None:
        _tell_trail(session, trail)
        return
    from barwise.manifest import ENDING, find_manifest
    from barwise.story import overview_of, story_of, told, told_overview

    if trail is None:
        _refuse_part(part)
        path = find_manifest(run, session.home)
    else:
        path = _manifest_of(trail, part)
    result = _repeated(path, session.home, file, detail_file, funding_file, strategy)
    name = path.name.removesuffix(ENDING)
    document = overview_of(result) if trade is None else story_of(result, trade)
    session.document({"run": name, "manifest": str(path), **document})
    session.say(f" {name}   {shown_path(path)}\n")
    for line in told_overview(document) if trade is None else told(document):
        session.say(line)


def _trail_of(run: str | None, home: Path) -> Path | None:
    """The trail of the run that is meant; None where that is a single backtest, which has none."""
    from barwise.errors import CheckpointError
    from barwise.manifest import ENDING, find_manifest
    from barwise.trail import ENDING as OF_TRAIL
    from barwise.trail import find_trail

    path = find_trail(run, home)
    if run is not None or path is None:
        return path
    try:
        newest = find_manifest(None, home)
    except CheckpointError:
        return path
    name = path.name.removesuffix(OF_TRAIL)
    own = newest.name.removesuffix(ENDING) in (name, *(f"{name}-{part}" for part in _PARTS))
    return path if own or newest.stat().st_mtime_ns <= path.stat().st_mtime_ns else None


def _tell_trail(session: Session, path: Path) -> None:
    """The overview of a run, and the commands that look deeper."""
    from barwise.trail import ENDING, overview_of_trail, told_trail

    name = path.name.removesuffix(ENDING)
    document = overview_of_trail(path)
    session.document({"run": name, "trail": str(path), **document})
    session.say(f" {name}   {shown_path(path)}\n")
    for line in told_trail(document):
        session.say(line)
    deeper = [f"barwise audit {name} --part {part}" for part in _PARTS if _manifest(path, part).is_file()]
    for place, command in enumerate(deeper):
        session.say(
            f"{'' if place else chr(10)} {'' if place else 'Deeper':<11}{command}   its trades; --trade 0 tells one"
        )


def _manifest(trail: Path, part: str) -> Path:
    """The manifest of one backtest of a run."""
    from barwise.manifest import ENDING
    from barwise.trail import ENDING as OF_TRAIL

    return trail.with_name(f"{trail.name.removesuffix(OF_TRAIL)}-{part}{ENDING}")


def _manifest_of(trail: Path, part: str | None) -> Path:
    """The manifest of the part that is asked for, else of the first there is.

    Raises:
        ConfigError: There is no such part.
        CheckpointError: It has no manifest yet.
    """
    from barwise.errors import CheckpointError, ConfigError, did_you_mean
    from barwise.trail import ENDING

    if part is not None and part not in _PARTS:
        raise ConfigError(f"--part is {part!r}.{did_you_mean(part, _PARTS)}", hint=f"use one of {', '.join(_PARTS)}.")
    there = [path for path in (_manifest(trail, name) for name in ([part] if part else _PARTS)) if path.is_file()]
    if not there:
        raise CheckpointError(
            f"{trail.name.removesuffix(ENDING)} has no manifest of {f'its {part} backtest' if part else 'a backtest'}.",
            hint="barwise audit RUN says which stages it came through; the same barwise run goes on from there.",
        )
    return there[0]


def _refuse_part(part: str | None) -> None:
    """A single backtest has no parts.

    Raises:
        ConfigError: One is asked for.
    """
    from barwise.errors import ConfigError

    if part is not None:
        raise ConfigError(
            f"--part {part} is asked for, and this is no run of all stages: it has no trail.",
            hint="leave --part out, or name a run: barwise audit run-...",
        )


def _repeated(
    path: Path, home: Path, file: Path | None, detail: Path | None, funding: Path | None, strategy: str | None
) -> "BacktestResult":
    """The run of a manifest, done again and found to be the same to the bit.

    Raises:
        CheckpointError: It differs, or the manifest is damaged.
        DataError, ConfigError, BacktestError: Its inputs cannot be had, or the run fails.
    """
    from barwise.cli.verify import repeated
    from barwise.manifest.loading import require_same

    result, found = repeated(path, home, file, detail, funding, strategy)
    require_same(found, path)
    return result
