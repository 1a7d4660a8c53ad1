"""`barwise optimize`: the three stages of the optimizer, with their progress, and what they found."""

import json as json_text
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.backtest import ConfigFile, DetailTimeframe, Quantity, StrategyName, run_config
from barwise.cli.download_bar import shown_download
from barwise.cli.options import (
    End,
    Exchange,
    Home,
    Quiet,
    Session,
    Settings,
    Start,
    Symbol,
    TimeframeName,
    ToldWhatItHad,
    checked_profile,
    shown_path,
)
from barwise.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from barwise.config import OptimizationConfig
    from barwise.data.candles import Candles
    from barwise.manifest import Manifest
    from barwise.optimizer.engine import OptimizationResult
    from barwise.optimizer.search import Progress
    from barwise.run_config import RunConfig

logger = logging.getLogger(__name__)

_INTERRUPTED = ToldWhatItHad(130)
_LABELS = {
    "html": "Report",
    "json": "Results",
    "trials_csv": "Trials",
    "manifest": "Manifest",
    "config": "Settings",
    "study": "Studies",
}
_STAGES = ("all", "joint", "7.1", "7.2", "7.3")


def optimize(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Candles of a Parquet or CSV file, not the store.")
    ] = None,
    detail: DetailTimeframe = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    settings: Settings = None,
    config: ConfigFile = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="FAST, BALANCED or THOROUGH.", show_default="BALANCED"),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler", metavar="NAME", help="TPE, AUTO, CMA-ES, QMC, RANDOM, GRID, NSGA-II, ...", show_default="TPE"
        ),
    ] = None,
    stage: Annotated[
        str, typer.Option("--stage", metavar="NAME", help="all (7.1, 7.2, 7.3), one of them, or joint: all at once.")
    ] = "all",
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", metavar="NAME", help="A metric, or FILE.py:FUNCTION; repeat for several."),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", metavar="N", help="Per stage, not the profile's.")] = None,
    min_trades: Annotated[
        int | None, typer.Option("--min-trades", metavar="N", help="Fewer do not count.", show_default="5")
    ] = None,
    max_drawdown: Annotated[
        float | None, typer.Option("--max-drawdown", metavar="PERCENT", help="Deeper does not count.")
    ] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", metavar="NAME=LOW:HIGH", help="Search this instead; repeatable.")
    ] = None,
    fixed: Annotated[
        list[str] | None, typer.Option("--fix", metavar="NAME", help="Do not search this one; repeatable.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Search from 0.4 to 2.5 times the base values.")] = False,
    robust: Annotated[
        bool, typer.Option("--robust", help="Choose the best neighbourhood, not the best point.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Evaluate every trial on all bars.")] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Same seed, same result.", show_default="42")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="End each stage after this.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Threads or processes.")] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME", help="auto, threads, processes, ray or cuda.", show_default="auto"),
    ] = None,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Ledger: a file or a PostgreSQL URL.")
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="FILE", help="Also write Optuna studies: a .journal file or a URL.")
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report's files.")] = True,
    lookahead_check: Annotated[
        bool, typer.Option("--lookahead-check/--no-lookahead-check", help="Refuse a strategy that looks ahead.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines: progress, then the result.")] = False,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Search the parameters of a strategy in three stages: integers, real values, tier timeouts.

    Without options: the EMA/RSI/ATR strategy on one year of the SYNTHETIC market SAMPLE. Every trial goes on record in
    data/ledger.sqlite; a search that was stopped goes on from there when the same command is given again.
    """
    session = Session.begin(home, json, quiet)
    chosen_profile = checked_profile(profile)
    if stage not in _STAGES:
        raise ConfigError(f"{stage} is not a stage.{did_you_mean(stage, _STAGES)}", hint=f"use {', '.join(_STAGES)}.")
    told = run_config(
        config,
        settings,
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe,
        start=start,
        end=end,
        file=file,
        detail=detail,
        quantity=qty,
        strategy=strategy,
        sections={
            "optimization": {
                "profile": chosen_profile,
                "optuna_sampler": sampler,
                "objective": objective[0] if objective and len(objective) == 1 else tuple(objective or ()) or None,
                "num_trials": trials,
                "min_trades": min_trades,
                "max_drawdown": max_drawdown,
                "ranges": _parsed_ranges(ranges) or None,
                "fixed": tuple(fixed or ()) or None,
                "space": "wide" if wide else None,
                "choose": "robust" if robust else None,
                "multi_fidelity": False if full else None,
                "seed": seed,
                "timeout": timeout,
                "workers": workers,
                "backend": backend,
                "storage": storage,
            }
        },
    )
    from barwise import pipeline
    from barwise.hardware import suited_here
    from barwise.manifest import describe_optimization
    from barwise.optimizer.engine import OptimizationEngine
    from barwise.optimizer.saving import check_studies

    if study is not None:
        check_studies(study)
    wanted, search = told.settings, suited_here(told.optimization, session.home)
    market, rules = pipeline.choose_market(wanted), pipeline.choose_rules(wanted)
    with shown_download(session) as progress:
        inputs = pipeline.fetch_inputs(wanted, market, progress)
    with (
        _shown_progress(session) as tell,
        OptimizationEngine(
            inputs.candles, rules.strategy, market.quantity, opt_config=search, execution=rules.execution,
            detail=inputs.detail, funding=inputs.funding, check_lookahead=lookahead_check, on_progress=tell,
        ) as engine,
    ):  # fmt: skip
        names: tuple[Any, ...] = ("7.1", "7.2", "7.3") if stage == "all" else (stage,)
        _tell_plan(engine.candles, search, names)
        for name in names:
            if engine.optimize(name).interrupted:
                break
        result = engine.result()
    manifest = None
    if report:
        origin = pipeline.origin_of(wanted, market, session.home)
        manifest = describe_optimization(result, origin, search, detail=inputs.detail, funding=inputs.funding)
    _finish(session, result, None if config is None else told, manifest, study)
    return _INTERRUPTED if result.interrupted else 0


def _tell_plan(candles: "Candles", config: "OptimizationConfig", stages: Sequence[Any]) -> None:
    """What is about to be done, and what luck alone would make of it."""
    from barwise.optimizer.samplers import canonical_name
    from barwise.optimizer.search import trials_of
    from barwise.stats.sharpe import expected_maximum

    counts = [trials_of(config, stage) for stage in stages]
    years = len(candles) / candles.timeframe.bars_per_year(candles.calendar)
    logger.info(
        "plan: %s trials (%s) on %s bars, %.2f years; the best of %s without any edge is expected to show a Sharpe "
        "ratio of %.2f",
        " + ".join(f"{count:,}" for count in counts),
        canonical_name(config.optuna_sampler),
        f"{len(candles):,}",
        years,
        f"{sum(counts):,}",
        expected_maximum(sum(counts)) / years**0.5,
    )


def _parsed_ranges(texts: list[str] | None) -> dict[str, tuple[float, float]]:
    """`name=low:high` texts by name.

    Raises:
        ConfigError: A text is something else.
    """
    found = {}
    for text in texts or ():
        name, _, span = text.partition("=")
        low, _, high = span.partition(":")
        try:
            found[name.strip()] = (float(low), float(high))
        except ValueError:
            raise ConfigError(
                f"--range {text}: NAME=LOW:HIGH is needed.", hint="for example --range ema_fast=5:40."
            ) from None
    return found


def _finish(
    session: Session,
    result: "OptimizationResult",
    told: "RunConfig | None",
    manifest: "Manifest | None",
    study: str | None,
) -> None:
    """Write what was asked for and say what was found.

    Args:
        session, result: Who is told what.
        told: The configuration, where it came from a file.
        manifest: Written beside the report; None = no report.
        study: Where Optuna studies go as well.
    """
    from barwise.config import without_passwords
    from barwise.manifest import write_beside
    from barwise.optimizer.saving import optimization_document, save_studies
    from barwise.report.optimization import write_optimization
    from barwise.report.optimization_terminal import print_optimization

    written: dict[str, str] = {}
    if manifest is not None:
        files = vars(write_optimization(result, session.home)).copy()
        files["manifest"] = write_beside(manifest, files)
        if told is not None:
            files["config"] = told.save_beside(files["json"])
        written = {name: str(path) for name, path in files.items()}
    failed: ConfigError | None = None
    if study is not None:
        try:
            save_studies(result, study)
            written["study"] = without_passwords(study)
        except ConfigError as error:  # what was found is told all the same
            failed = error
    if session.as_json:
        session.document({"event": "result", **optimization_document(result), "files": written})
    if session.speaks:
        print_optimization(result, session.console())
        session.say("")
        for name, path in written.items():
            session.say(f" {_LABELS[name]:<11}{path if '://' in path else shown_path(Path(path))}")
    if failed is not None:
        raise failed


@contextmanager
def _shown_progress(session: Session) -> Iterator["Callable[[Progress], None] | None"]:
    """How progress is told: JSON lines to programs, a bar to a terminal."""
    if session.as_json:
        yield _json_line
    elif session.speaks and sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield None  # the log has a line for each stage


def _json_line(progress: "Progress") -> None:
    content = {"event": "progress", **vars(progress), "bars_per_second": progress.bars_per_second}
    sys.stdout.write(json_text.dumps(content | {"eta_seconds": progress.eta_seconds}, allow_nan=False) + "\n")
    sys.stdout.flush()


def _speed(progress: "Progress") -> str:
    """Bars per second, or where the answers come from when nothing has to be run."""
    return f"{progress.bars_per_second / 1e6:,.1f} M bars/s" if progress.bars else "all from the record"


@contextmanager
def _bar() -> Iterator["Callable[[Progress], None]"]:
    """A bar per stage on stderr, with the best so far and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns: tuple[Any, ...] = (
        TextColumn("{task.fields[stage]:<5}"),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=Console(stderr=True), transient=False) as bars:
        tasks: dict[str, Any] = {}

        def tell(progress: "Progress") -> None:
            best = "none yet" if progress.best is None else f"{progress.best:,.3f}"
            text = f"best {best}  {progress.pruned:,} pruned  {_speed(progress)}"
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(
                    "", total=progress.total, completed=progress.done, stage=progress.stage, text=text
                )
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, text=text)

        yield tell
