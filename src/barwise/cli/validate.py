"""`barwise validate` and `barwise walk-forward`: is it real, and would it have worked on bars it had not seen?"""

import json as json_text
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
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
    checked_profile,
    quiet_searches,
    shown_path,
)
from barwise.errors import BacktestError

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.manifest import Origin
    from barwise.pipeline import Inputs, Market, Rules
    from barwise.run_config import RunConfig
    from barwise.strategy.base import Strategy
    from barwise.strategy.lookahead import LookAheadReport

logger = logging.getLogger(__name__)

# How each file is announced, in the order of this table.
_LABELS = {
    "Report": "html",
    "Results": "json",
    "Windows": "windows_csv",
    "Manifest": "manifest",
    "Settings": "config",
}
# What a step is called where people read it.
_STEPS = {"permutations": "shuffled markets", "monte carlo": "other histories"}

File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Candles of a Parquet or CSV file, not the store.")
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="FAST, BALANCED or THOROUGH.", show_default="BALANCED"),
]
InSampleDays = Annotated[
    int | None, typer.Option("--is-days", metavar="DAYS", help="In-sample part of a window.", show_default="60")
]
OutOfSampleDays = Annotated[
    int | None, typer.Option("--oos-days", metavar="DAYS", help="Out-of-sample part of a window.", show_default="20")
]
StrideDays = Annotated[
    int | None, typer.Option("--stride-days", metavar="DAYS", help="From window to window; default --oos-days.")
]
Anchored = Annotated[bool, typer.Option("--anchored", help="Every in-sample part begins at the first bar.")]
Embargo = Annotated[
    int | None, typer.Option("--embargo", metavar="BARS", help="Left out between the two parts.", show_default="0")
]
LeastTrades = Annotated[
    int | None,
    typer.Option(
        "--min-trades-per-window", metavar="N", help="Fewer: the window is kept and not scored.", show_default="5"
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Same seed, same result.", show_default="42")]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="Threads or processes.")]
BackendName = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME", help="threads, processes or ray.", show_default="threads"),
]
Storage = Annotated[str | None, typer.Option("--storage", metavar="URL", help="Ledger: a file or a PostgreSQL URL.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write the report's files.")]
LookAheadCheck = Annotated[
    bool, typer.Option("--lookahead-check/--no-lookahead-check", help="Refuse a strategy that looks ahead.")
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines: progress, then the result.")]

Tell = Callable[[str, int, int], None]


def validate(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    file: File = None,
    detail: DetailTimeframe = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    settings: Settings = None,
    config: ConfigFile = None,
    profile: Profile = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            "--permutations", metavar="N", help="Shuffled markets, at most; 0 = none; default 39, 99, 199 by profile."
        ),
    ] = None,
    is_days: InSampleDays = None,
    oos_days: OutOfSampleDays = None,
    stride_days: StrideDays = None,
    anchored: Anchored = False,
    embargo: Embargo = None,
    min_trades_per_window: LeastTrades = None,
    seed: Seed = None,
    workers: Workers = None,
    backend: BackendName = None,
    storage: Storage = None,
    report: Report = True,
    lookahead_check: LookAheadCheck = True,
    json: JsonLines = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Search a strategy's parameters, judge what was found, and give a verdict.

    Without options: the EMA/RSI/ATR strategy on one year of the SYNTHETIC market SAMPLE. The verdict is one of LIKELY
    REAL, UNPROVEN, LIKELY OVERFIT and TOO LITTLE DATA, by a rule that was fixed beforehand; docs/verdict.md explains
    it. The exit code does not depend on it.
    """
    session = Session.begin(home, json, quiet)
    told = run_config(
        config, settings, exchange=exchange, symbol=symbol, timeframe=timeframe, start=start, end=end, file=file,
        detail=detail, quantity=qty, strategy=strategy,
        sections={
            "optimization": _search(profile, seed=seed, workers=workers, backend=backend, storage=storage),
            "walk_forward": {
                "is_length_days": is_days, "oos_length_days": oos_days, "stride_days": stride_days,
                "min_trades_per_window": min_trades_per_window, "anchored": anchored or None, "embargo": embargo,
            },
            "validation": {"permutations": permutations},
        },
    )  # fmt: skip
    market, rules, inputs, origin = _inputs(told, session, check_lookahead=lookahead_check)
    # The batch search is the one that is judged, because the error rate of the rule is measured with it.
    search, windows = told.optimization.replace(optuna_sampler="AUTO"), told.walk_forward
    from barwise.manifest import describe_validation, write_beside
    from barwise.report.validation import validation_document, write_validation
    from barwise.report.validation_terminal import print_validation
    from barwise.validation.engine import validate as judged

    with shown_progress(session) as tell:
        look_ahead = _long_check(rules.strategy, inputs.candles, tell) if lookahead_check else None
        found = judged(
            inputs.candles, rules.strategy, market.quantity, search=search, windows=windows,
            permutations=told.validation.permutations,
            execution=rules.execution, detail=inputs.detail, funding=inputs.funding, check_lookahead=lookahead_check,
            on_step=tell,
        )  # fmt: skip
    files = {}
    if report:
        files = vars(write_validation(found, session.home, look_ahead=look_ahead)).copy()
        manifest = describe_validation(found, origin, search, windows, detail=inputs.detail, funding=inputs.funding)
        files["manifest"] = write_beside(manifest, files)
        files["config"] = None if config is None else told.save_beside(files["json"])
    if session.as_json:
        session.document(_result_line(validation_document(found, look_ahead), files))
    if session.speaks:
        print_validation(found, session.console(), look_ahead=look_ahead)
        _say_files(session, files)


def walk_forward(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    file: File = None,
    detail: DetailTimeframe = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    settings: Settings = None,
    config: ConfigFile = None,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Trade the given parameters in every window: a stability check.")
    ] = False,
    profile: Profile = None,
    is_days: InSampleDays = None,
    oos_days: OutOfSampleDays = None,
    stride_days: StrideDays = None,
    anchored: Anchored = False,
    embargo: Embargo = None,
    min_trades_per_window: LeastTrades = None,
    seed: Seed = None,
    workers: Workers = None,
    backend: BackendName = None,
    storage: Storage = None,
    report: Report = True,
    lookahead_check: LookAheadCheck = True,
    json: JsonLines = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Walk a strategy forward: search in the past, trade what came after, window by window.

    Without options: the EMA/RSI/ATR strategy on one year of the SYNTHETIC market SAMPLE. There is no verdict here;
    barwise validate has this and the other tests.
    """
    session = Session.begin(home, json, quiet)
    told = run_config(
        config, settings, exchange=exchange, symbol=symbol, timeframe=timeframe, start=start, end=end, file=file,
        detail=detail, quantity=qty, strategy=strategy,
        sections={
            "optimization": _search(profile, seed=seed, workers=workers, backend=backend, storage=storage),
            "walk_forward": {
                "is_length_days": is_days, "oos_length_days": oos_days, "stride_days": stride_days,
                "min_trades_per_window": min_trades_per_window, "anchored": anchored or None, "embargo": embargo,
                "reoptimize": False if fixed else None,
            },
        },
    )  # fmt: skip
    market, rules, inputs, origin = _inputs(told, session, check_lookahead=lookahead_check)
    # The batch search is the one that is judged, because the error rate of the rule is measured with it.
    search, windows = told.optimization.replace(optuna_sampler="AUTO"), told.walk_forward
    from barwise.manifest import describe_walk_forward, write_beside
    from barwise.report.validation import walk_forward_document, write_walk_forward
    from barwise.report.validation_terminal import print_walk_forward
    from barwise.validation.walk_forward import WalForwardEngine

    with shown_progress(session) as tell:
        found = WalForwardEngine(
            inputs.candles, rules.strategy, market.quantity, wfa_config=windows, opt_config=search,
            execution=rules.execution, detail=inputs.detail, funding=inputs.funding, check_lookahead=lookahead_check,
            on_window=lambda window, total: tell("walk-forward", window.number, total),
        ).run()  # fmt: skip
    files = {}
    if report:
        files = vars(write_walk_forward(found, session.home)).copy()
        manifest = describe_walk_forward(
            found, origin, search, rules.strategy, rules.execution, detail=inputs.detail, funding=inputs.funding
        )
        files["manifest"] = write_beside(manifest, files)
        files["config"] = None if config is None else told.save_beside(files["json"])
    if session.as_json:
        session.document(_result_line(walk_forward_document(found), files))
    if session.speaks:
        print_walk_forward(found, session.console())
        _say_files(session, files)


# -- Options -----------------------------------------------------------------------------------------------------------


def _inputs(told: "RunConfig", session: Session, *, check_lookahead: bool) -> "tuple[Market, Rules, Inputs, Origin]":
    wanted = replace(told.settings, check_lookahead=check_lookahead)
    from barwise import pipeline

    market, rules = pipeline.choose_market(wanted), pipeline.choose_rules(wanted)
    with shown_download(session) as progress:
        inputs = pipeline.fetch_inputs(wanted, market, progress)
    return market, rules, inputs, pipeline.origin_of(wanted, market, session.home)


def _search(profile: str | None, **options: Any) -> dict[str, Any]:
    """The options of the search by their keys.

    Raises:
        ConfigError: There is no such profile.
    """
    return {"profile": checked_profile(profile), **options}


def _long_check(strategy: "Strategy", candles: "Candles", tell: Tell) -> "LookAheadReport":
    """The long check for look-ahead: no verdict is worth a look if the strategy has seen the future.

    Raises:
        BacktestError: The strategy looks ahead.
    """
    from barwise.strategy.lookahead import check_lookahead

    tell("look-ahead", 0, 1)
    found = check_lookahead(strategy, candles)
    if not found.ok:
        raise BacktestError(
            str(found),
            hint="use only bars up to t for the value at t; --no-lookahead-check judges it all the same.",
        )
    return found


# -- What is said ------------------------------------------------------------------------------------------------------


def _result_line(document: dict[str, Any], files: Mapping[str, Path | None]) -> dict[str, Any]:
    written = {name: str(path) for name, path in files.items() if path is not None}
    return {"event": "result", **document, "files": written}


def _say_files(session: Session, files: Mapping[str, Path | None]) -> None:
    for label, name in _LABELS.items():
        path = files.get(name)
        if path is not None:
            session.say(f" {label:<11}{shown_path(path)}")


@contextmanager
def shown_progress(session: Session, *, lines: bool = True) -> Iterator[Tell]:
    """How progress is told: JSON lines to programs, a bar a step to a terminal, a line a step to a log.

    Args:
        lines: Whether programs are told it; a command that prints one document tells them nothing before.
    """
    with quiet_searches(), _teller(session, lines) as tell:
        yield tell


@contextmanager
def _teller(session: Session, lines: bool) -> Iterator[Tell]:
    if session.as_json and lines:
        yield _json_line
    elif not session.speaks:
        yield _nobody
    elif sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        yield _Logged()


def _nobody(step: str, done: int, total: int) -> None:
    """Nobody listens."""


def _json_line(step: str, done: int, total: int) -> None:
    content = {"event": "progress", "step": step, "done": done, "total": total}
    sys.stdout.write(json_text.dumps(content) + "\n")
    sys.stdout.flush()


class _Logged:
    """A line as each step begins, with what the one before it took."""

    def __init__(self) -> None:
        self._step, self._began = "", perf_counter()

    def __call__(self, step: str, done: int, total: int) -> None:
        if step == self._step:
            return
        now = perf_counter()
        before = f" ({self._step} took {now - self._began:,.1f} s)" if self._step else ""
        logger.info("%s%s", _STEPS.get(step, step), before)
        self._step, self._began = step, now


@contextmanager
def _bars() -> Iterator[Tell]:
    """A bar per step on stderr, with the time it has taken."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def finish() -> None:
            for task in bars.tasks:
                bars.update(task.id, completed=task.total)

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                finish()
                tasks[step] = bars.add_task(_STEPS.get(step, step), total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield tell
        finish()
