"""`barwise backtest` and `barwise run`: one backtest, and the main job around it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.options import (
    End,
    Exchange,
    Home,
    Json,
    Quiet,
    Session,
    Settings,
    Start,
    Symbol,
    TimeframeName,
    parsed_settings,
    shown_path,
)

if TYPE_CHECKING:
    from barwise.pipeline import RunSettings, StageDone
    from barwise.report import ReportFiles
    from barwise.result import BacktestResult

logger = logging.getLogger(__name__)

Quantity = Annotated[
    float | None,
    typer.Option("--qty", metavar="NUMBER", help="Of every entry, in base units; default 0.1, one share in India."),
]
StrategyName = Annotated[
    str | None,
    typer.Option("--strategy", metavar="FILE.py:CLASS", help="A strategy of your own; default EMA/RSI/ATR."),
]
DetailTimeframe = Annotated[
    str | None,
    typer.Option("--detail", metavar="NAME", help="Fill in finer candles of the same market, such as 5M."),
]


def backtest(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Candles of a Parquet or CSV file, not the store.")
    ] = None,
    detail: DetailTimeframe = None,
    detail_file: Annotated[
        Path | None, typer.Option("--detail-file", metavar="FILE", help="Those finer candles as a file.")
    ] = None,
    funding_file: Annotated[
        Path | None, typer.Option("--funding-file", metavar="FILE", help="Funding settlements of a perpetual.")
    ] = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    settings: Settings = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report's files.")] = True,
    lookahead_check: Annotated[
        bool, typer.Option("--lookahead-check/--no-lookahead-check", help="Refuse a strategy that looks ahead.")
    ] = True,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Backtest a strategy, print what came out, and write the report.

    Without options: the EMA/RSI/ATR strategy on one year of the SYNTHETIC market SAMPLE. --set takes every parameter of
    the strategy and every execution setting: --set ema_fast=10 --set slippage=0.001 --set intrabar=path.
    """
    session = Session.begin(home, json, quiet)
    wanted = run_settings(
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe,
        start=start,
        end=end,
        quantity=qty,
        candle_file=file,
        detail=detail,
        detail_file=detail_file,
        funding_file=funding_file,
        strategy=strategy,
        values=settings,
        check_lookahead=lookahead_check,
    )
    from barwise import pipeline

    market, rules = pipeline.choose_market(wanted), pipeline.choose_rules(wanted)
    inputs = pipeline.fetch_inputs(wanted, market)
    if not inputs.candles.exchange and rules.execution.fees is None and rules.execution.taker_fee is None:
        logger.warning("these candles name no exchange, so no fees are charged; --exchange or --set taker_fee= does.")
    result = pipeline.run_baseline(inputs, rules, market.quantity, check_lookahead=wanted.check_lookahead)
    n_trials = pipeline.put_on_record(result, inputs, market.quantity, session.home)
    files = pipeline.write_run(result, wanted, market, inputs, session.home, n_trials) if report else None
    _tell(session, result.to_dict() | {"files": _file_names(files)}, result, files, n_trials)


def run(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    detail: DetailTimeframe = None,
    qty: Quantity = None,
    strategy: StrategyName = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Run the main job: input, strategy, candles and baseline backtest, report.

    Without options: on one year of the SYNTHETIC market SAMPLE, offline.
    """
    session = Session.begin(home, json, quiet)
    wanted = run_settings(
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe,
        start=start,
        end=end,
        quantity=qty,
        detail=detail,
        strategy=strategy,
        values=settings,
    )
    from barwise import pipeline

    job = pipeline.run_main_job(wanted, session.home, _log_stage)
    document = {
        "stages": [vars(stage) for stage in job.stages],
        "result": job.result.to_dict(),
        "files": _file_names(job.files),
        "not_in_this_job": pipeline.NOT_IN_THIS_JOB,
    }
    _tell(session, document, job.result, job.files, job.n_trials)
    missing = ", ".join(f"{name} ({number})" for number, name in pipeline.NOT_IN_THIS_JOB.items())
    session.say(f" Not in this job yet, by stage: {missing}. Alone: barwise profile, optimize, validate.")


def run_settings(*, strategy: str | None, values: list[str] | None, **options: Any) -> "RunSettings":
    """The options of a command as the stages take them; the class is loaded and the name of a file is made use of.

    Raises:
        ConfigError: The strategy cannot be loaded, or --set is malformed.
    """
    texts = parsed_settings(values)
    from barwise.cli.file_names import completed_identity
    from barwise.cli.strategies import load_strategy
    from barwise.pipeline import RunSettings

    if strategy is not None:
        options["strategy"] = load_strategy(strategy)
    if options.get("candle_file") is not None:
        identity, guess = completed_identity(
            options["candle_file"], options["exchange"], options["symbol"], options["timeframe"]
        )
        options |= identity
        if guess:
            logger.info("taken from the name of the file: %s", " ".join(guess.values()))
    return RunSettings(values=texts, **options)


def _log_stage(stage: "StageDone") -> None:
    logger.info(
        "stage %s  %-9s%s  (%.2f s)",
        stage.number,
        stage.name,
        stage.text,
        stage.seconds,
        extra={"stage": stage.number, "seconds": stage.seconds},
    )


def _file_names(files: "ReportFiles | None") -> dict[str, str]:
    return {} if files is None else {name: str(path) for name, path in vars(files).items()}


def _tell(
    session: Session,
    document: "dict[str, Any]",
    result: "BacktestResult",
    files: "ReportFiles | None",
    n_trials: int | None,
) -> None:
    """The summary page with the verdict, and where its files are; to programs the document with both."""
    if session.as_json:
        from barwise.report import statements

        verdict = {**statements.verdict(result, n_trials)._asdict(), "n_trials": n_trials}
        session.document(document | {"verdict": verdict})
    if not session.speaks:
        return
    from barwise.report import print_summary

    print_summary(result, session.console(), n_trials)
    session.say("")
    if files is None:
        return
    for label, path in (
        ("Report", files.html),
        ("Results", files.json),
        ("Tables", files.trades_csv),
        ("", files.fills_csv),
        ("", files.equity_csv),
        ("Trade log", files.trade_log),
    ):
        session.say(f" {label:<11}{shown_path(path)}")
