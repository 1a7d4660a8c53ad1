"""`barwise run`: the whole way, from the input to the verdict, in one command."""

import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.backtest import DetailTimeframe, Quantity, StrategyName, run_config
from barwise.cli.hints import in_options
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
    shown_path,
)
from barwise.errors import ConfigError

if TYPE_CHECKING:
    from barwise.pipeline.job import Outcome
    from barwise.run_config import RunConfig

logger = logging.getLogger(__name__)

# Any of these says which market is meant.
_NAMING = ("exchange", "symbol", "file", "markets")
# What the search of the main job is, where nobody says otherwise: the one whose verdict has a measured error rate.
_DEFAULTS = {"optimization": {"optuna_sampler": "AUTO"}}
_PARTS = ("exchange", "symbol", "timeframe", "quantity")


def run(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG.toml]", help="A file of settings; barwise config init writes an example."),
    ] = None,
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Candles of a Parquet or CSV file, not the store.")
    ] = None,
    market: Annotated[
        list[str] | None,
        typer.Option(
            "--market",
            metavar="VENUE,SYMBOL[,TIMEFRAME[,QTY]]",
            help="One of several markets; repeat it. What it leaves open is as the other options say.",
        ),
    ] = None,
    detail: DetailTimeframe = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="FAST, BALANCED or THOROUGH.", show_default="BALANCED"),
    ] = None,
    settings: Settings = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what is kept of this run; the trial ledger stays.")
    ] = False,
    from_stage: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Do it again from 7.1, 7.2, 7.3 or 8 on.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say which stages will run and why, and end.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Then serve the dashboard, until Ctrl-C.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
    lookahead_check: Annotated[
        bool, typer.Option("--lookahead-check/--no-lookahead-check", help="Refuse a strategy that looks ahead.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines: progress, then the result.")] = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Run the whole way: candles, baseline, optimization, walk-forward, verdict, report.

    Without a market it asks on a terminal; with --yes, or where nobody can answer, it takes one year of the SYNTHETIC
    market SAMPLE. A run that was stopped goes on where it was when the same command is given again.
    """
    session = Session.begin(home, json, quiet)
    chosen_profile = checked_profile(profile)

    def resolved(asked: dict[str, dict[str, Any]]) -> "RunConfig":
        sections = {
            "optimization": {"profile": chosen_profile} | asked.get("optimization", {}),
        }
        answers = asked.get("market", {})
        options: dict[str, Any] = {
            "exchange": exchange, "symbol": symbol, "timeframe": timeframe, "start": start, "end": end, "file": file,
            "markets": _markets(market), "detail": detail, "quantity": qty,
        }  # fmt: skip
        return run_config(
            config, settings, strategy=strategy or asked.get("strategy", {}).get("class"), sections=sections,
            defaults=_DEFAULTS, **options | answers,
        )  # fmt: skip

    told = resolved({})
    if (
        not (yes or json or quiet)
        and _can_answer()
        and all(told.sources["market"][key] == "default" for key in _NAMING)
    ):
        from barwise.cli.prompts import ask_for_missing

        told = resolved(ask_for_missing(told, file=config))
    from barwise.cli.live import shown
    from barwise.pipeline.job import Job, run_job

    wanted = replace(told.settings, check_lookahead=lookahead_check)
    job = Job(
        wanted, told.optimization, told.walk_forward, told.validation.permutations, told.values, told.to_toml(),
        in_words=in_options,
    )  # fmt: skip
    try:
        with shown(session, explain=explain) as view:
            outcome = run_job(job, session.home, view, fresh=fresh, from_stage=from_stage, explain=explain)
    except KeyboardInterrupt:
        logger.warning("stopped. What is done is kept: the same command with the same answers goes on where it was.")
        raise
    if outcome is None:
        return
    _tell(session, outcome)
    if serve:
        from barwise.dashboard.config import DashboardConfig
        from barwise.dashboard.server import serve as serve_dashboard

        view_of = "market" if outcome.over_all is not None else "run"
        serve_dashboard(DashboardConfig(home=session.home), page=f"#/{view_of}/{outcome.name}", say=session.say)


def _markets(texts: list[str] | None) -> list[dict[str, Any]] | None:
    """The markets that --market names, as the key `markets` takes them.

    Raises:
        ConfigError: A text has too many parts, or a quantity that is no number.
    """
    found = []
    for text in texts or ():
        words = [word.strip() for word in text.split(",")]
        if len(words) > len(_PARTS) or len(words) < 2:
            raise ConfigError(
                f"--market {text}: VENUE,SYMBOL[,TIMEFRAME[,QTY]] is needed.",
                hint="for example --market BINANCE,ETHUSDT,4H,0.5.",
            )
        choice: dict[str, Any] = {name: word for name, word in zip(_PARTS, words, strict=False) if word}
        if "quantity" in choice:
            try:
                choice["quantity"] = float(choice["quantity"])
            except ValueError:
                raise ConfigError(
                    f"--market {text}: {choice['quantity']} is no quantity.",
                    hint="for example --market BINANCE,ETHUSDT,4H,0.5.",
                ) from None
        found.append(choice)
    return found or None


def _can_answer() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _tell(session: Session, outcome: "Outcome") -> None:
    """The summary, and where everything lies; to programs one last line of JSON."""
    from barwise.report.multi_terminal import print_multi
    from barwise.report.run_document import run_document
    from barwise.report.run_terminal import print_run

    over_all, now = outcome.over_all, datetime.now(UTC)
    files = [
        *({name: str(path) for name, path in written.all().items()} for written in outcome.files),
        *([{name: str(path) for name, path in vars(over_all).items()}] if over_all is not None else []),
    ]
    if session.as_json:
        session.document(
            {
                "event": "result",
                "name": outcome.name,
                "stages": [vars(stage) for stage in outcome.stages],
                "runs": [run_document(found, now) for found in outcome.findings],
                "files": files,
            }
        )
    if not session.speaks:
        return
    console = session.console()
    if over_all is None:
        print_run(outcome.findings[0], console)
    else:
        print_multi(outcome.name, outcome.findings, console)
    last = outcome.files[-1] if over_all is None else over_all
    session.say("")
    for label, path in (("Report", last.html), ("Results", last.json), ("Tables", last.html.parents[1] / "exports")):
        session.say(f" {label:<11}{shown_path(path)}")
    session.say(f" {'Dashboard':<11}barwise dashboard")
    session.say(f" {'Why':<11}barwise audit {outcome.findings[0].name}")
    session.say(f" {'Again':<11}barwise verify {outcome.findings[0].name}")
