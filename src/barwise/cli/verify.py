"""`barwise verify`: a run done again from its manifest, and the first thing that is not the same.

The manifest names files from the home folder on, or by name alone; where one has moved, an option says where it is now.
A backtest is run again, and a search is searched again, from nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path
from barwise.cli.validate import Workers, shown_progress

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.manifest import Manifest, Origin, Verification
    from barwise.pipeline import Inputs, Rules, RunSettings
    from barwise.result import BacktestResult
    from barwise.strategy.base import Strategy

_EXIT_DIFFERS = 1


def verify(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Name of a report or path of its manifest; default: the newest."),
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
    workers: Workers = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Do a run again from its manifest, and compare everything to the bit.

    Loads the same inputs, runs the same configuration and compares data, every event, the equity of every bar and the
    headline; of an optimization, a walk-forward or a verdict every trial, window and shuffled market as well. The exit
    code is 0 where the run is the same, and 1 where it differs; the first event that differs is named.
    """
    session = Session.begin(home, json, quiet)
    settings_of("verify", settings, {})
    from barwise.manifest import ENDING, find_manifest, read_manifest
    from barwise.manifest.loading import kind_of

    path = find_manifest(run, session.home, kind=None)
    recorded = read_manifest(path)
    kind = kind_of(recorded)
    if kind == "backtest":
        _, found = repeated(path, session.home, file, detail_file, funding_file, strategy)
    else:
        loaded = _loaded(recorded, path, session.home, file, detail_file, funding_file, strategy)
        with shown_progress(session, lines=False) as tell:
            found = _searched_again(recorded, loaded, workers, tell)
    name = path.name.removesuffix(ENDING)
    session.document({"run": name, "kind": kind, "manifest": str(path), **found.to_dict()})
    session.say(f" {name}   {shown_path(path)}\n")
    for line in _lines(found):
        session.say(line)
    return 0 if found.same else _EXIT_DIFFERS


def repeated(
    path: Path, home: Path, file: Path | None, detail: Path | None, funding: Path | None, strategy: str | None
) -> "tuple[BacktestResult, Verification]":
    """The run of a manifest done again, and how it compares with what is on record.

    Args:
        path: Of the manifest.
        home: The home folder.
        file, detail, funding, strategy: Where they are now, for those that have moved.

    Raises:
        CheckpointError: The manifest is damaged, or is not that of a backtest.
        DataError, ConfigError, BacktestError: Its inputs cannot be had, or the run fails.
    """
    from barwise import pipeline
    from barwise.manifest import compare, describe_run
    from barwise.manifest.loading import read_backtest

    recorded = read_backtest(
        path, hint="name a backtest; a run of the main job leaves two, which end in -baseline and -optimized."
    )
    loaded = _loaded(recorded, path, home, file, detail, funding, strategy)
    inputs = loaded.inputs
    result = pipeline.run_baseline(inputs, loaded.rules, loaded.origin.quantity, check_lookahead=False)
    now = describe_run(result, loaded.origin, detail=inputs.detail, funding=inputs.funding)
    found = compare(recorded, now, inputs.candles, inputs.detail)
    return result, replace(found, notes=(*loaded.notes, *found.notes))


@dataclass(frozen=True, eq=False)
class _Loaded:
    """What a run on record was made from, as it is now; `notes` says what of it was left out."""

    origin: "Origin"
    rules: "Rules"
    inputs: "Inputs"
    notes: tuple[str, ...]


def _loaded(
    recorded: "Manifest",
    path: Path,
    home: Path,
    file: Path | None,
    detail: Path | None,
    funding: Path | None,
    strategy: str | None,
) -> _Loaded:
    """Raises as `repeated`."""
    from barwise.manifest import Origin
    from barwise.manifest.loading import configured
    from barwise.pipeline import Rules

    origin = Origin.of(recorded)
    # A manifest given by its path may be of another home; data/results lies two folders below it.
    folders = (home, *path.absolute().parents[2:3], Path.cwd())
    kind = _strategy_class(strategy or origin.strategy, folders, given=strategy is not None)
    wanted = _run_settings(origin, kind, folders, file, detail, funding)
    rules = Rules(*configured(recorded, kind))
    inputs, notes = _same_span(wanted, recorded)
    return _Loaded(origin, rules, inputs, tuple(notes))


def _searched_again(
    recorded: "Manifest", loaded: _Loaded, workers: int | None, tell: Callable[[str, int, int], None]
) -> "Verification":
    """How the search of a manifest compares with the same search done again.

    Raises:
        CheckpointError: The manifest is damaged.
        DataError, ConfigError, BacktestError: The search fails, or its objective cannot be had.
    """
    from barwise.manifest import Inputs, compare_searches, repeated_search

    data, rules = loaded.inputs, loaded.rules
    inputs = Inputs(data.candles, data.detail, data.funding, rules.strategy, rules.execution, loaded.origin.quantity)
    now, notes = repeated_search(recorded, inputs, workers=workers, on_step=tell)
    found = compare_searches(recorded, now, data.candles, data.detail)
    return replace(found, notes=(*loaded.notes, *notes, *found.notes))


def _lines(found: "Verification") -> list[str]:
    counts = f"{found.events:,} events, the equity of {found.bars:,} bars, the headline"
    lines = [f" SAME      {counts}: the same to the bit"] if found.same else [" DIFFERS"]
    lines += [f"   {difference.part:<14}{difference}" for difference in found.differences]
    return lines + [f"   {'note':<14}{note}" for note in found.notes]


def _strategy_class(reference: str | None, folders: tuple[Path, ...], *, given: bool) -> "type[Strategy]":
    """The class that the manifest or the user names.

    Raises:
        ConfigError: It is not named, or cannot be loaded.
    """
    from barwise.errors import ConfigError
    from barwise.manifest.strategies import load_strategy

    if reference is None:
        raise ConfigError(
            "the manifest names no strategy: its class was made inside a function.",
            hint="name one that is the same: --strategy FILE.py:CLASS.",
        )
    place, colon, name = reference.rpartition(":")
    if not given and place.endswith(".py"):
        reference = f"{_found(place, 'strategy', '--strategy FILE.py:CLASS', folders)}{colon}{name}"
    return load_strategy(reference)


def _run_settings(
    origin: "Origin",
    kind: "type[Strategy]",
    folders: tuple[Path, ...],
    file: Path | None,
    detail: Path | None,
    funding: Path | None,
) -> "RunSettings":
    """The settings of the run on record, its files where they are now.

    Raises:
        DataError: A file is not to be found.
    """
    from barwise.pipeline import RunSettings

    def located(name: str | None, moved: Path | None, what: str, option: str) -> Path | None:
        return None if name is None else moved or _found(name, what, f"{option} FILE", folders)

    return RunSettings(
        exchange=origin.exchange or None,
        symbol=origin.symbol or None,
        timeframe=origin.timeframe,
        start=origin.start,
        end=origin.end,
        quantity=origin.quantity,
        candle_file=located(origin.candle_file, file, "file of the candles", "--file"),
        detail=origin.detail,
        detail_file=located(origin.detail_file, detail, "file of the finer candles", "--detail-file"),
        funding_file=located(origin.funding_file, funding, "file of the funding", "--funding-file"),
        strategy=kind,
    )


def _found(name: str, what: str, option: str, folders: tuple[Path, ...]) -> Path:
    """A file of the manifest, in the first of these folders that has it.

    Raises:
        DataError: None of them has.
    """
    from barwise.errors import DataError

    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"the {what} of this run was {name}, which is neither in {folders[0]} nor here.",
        hint=f"say where it is: {option}.",
    )


def _same_span(wanted: "RunSettings", recorded: "Manifest") -> "tuple[Inputs, list[str]]":
    """The inputs of the run, without the bars that have been added to an open end since; and what was left out.

    Raises:
        DataError, ConfigError: As the stages raise them.
    """
    from barwise import pipeline
    from barwise.manifest.loading import span_on_record

    inputs = pipeline.fetch_inputs(wanted, pipeline.choose_market(wanted))
    first, last = span_on_record(recorded)
    candles = inputs.candles.between(first, last + 1) if first <= last else inputs.candles
    added = len(inputs.candles) - len(candles)
    if not added or not len(candles):
        return inputs, []
    detail: Candles | None = inputs.detail
    if detail is not None and wanted.detail is not None:
        detail = detail.between(first, last + candles.timeframe.ms)
    return replace(inputs, candles=candles, detail=detail), [f"{added:,} bars have been added since and are left out."]
