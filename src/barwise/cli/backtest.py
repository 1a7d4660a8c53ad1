"""`barwise backtest`: one backtest; and how all commands find out what they were told."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.download_bar import shown_download
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
    from collections.abc import Mapping

    from barwise.report import ReportFiles
    from barwise.result import BacktestResult
    from barwise.run_config import RunConfig

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
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file of settings; the other options come before it."),
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
    config: ConfigFile = None,
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
    told = run_config(
        config,
        settings,
        exchange=exchange,
        symbol=symbol,
        timeframe=timeframe,
        start=start,
        end=end,
        quantity=qty,
        file=file,
        detail=detail,
        detail_file=detail_file,
        funding_file=funding_file,
        strategy=strategy,
    )
    wanted = replace(told.settings, check_lookahead=lookahead_check)
    from barwise import pipeline

    market, rules = pipeline.choose_market(wanted), pipeline.choose_rules(wanted)
    with shown_download(session) as progress:
        inputs = pipeline.fetch_inputs(wanted, market, progress)
    if not inputs.candles.exchange and rules.execution.fees is None and rules.execution.taker_fee is None:
        logger.warning("these candles name no exchange, so no fees are charged; --exchange or --set taker_fee= does.")
    result = pipeline.run_baseline(inputs, rules, market.quantity, check_lookahead=wanted.check_lookahead)
    n_trials = pipeline.put_on_record(result, inputs, market.quantity, session.home, told.optimization.storage)
    files = pipeline.write_run(result, wanted, market, inputs, session.home, n_trials) if report else None
    kept = told.save_beside(files.json) if files is not None and config is not None else None
    _tell(session, result.to_dict() | {"files": _file_names(files, kept)}, result, files, n_trials, kept)


def run_config(
    config: Path | None,
    values: list[str] | None,
    *,
    strategy: str | None,
    sections: "Mapping[str, Mapping[str, Any]] | None" = None,
    defaults: "Mapping[str, Mapping[str, Any]] | None" = None,
    **market: Any,
) -> "RunConfig":
    """All that a command was told: options, --set, environment, file, defaults.

    Args:
        config: The file of settings, or None.
        values: The texts of --set.
        strategy: As --strategy names it, or None.
        sections: Options that belong to other sections, by section and key.
        defaults: What a command takes instead of the defaults of the classes, by section and key.
        market: Options that belong to [market], by key.

    Raises:
        ConfigError: A value is impossible, a key unknown, the file or the strategy cannot be loaded.
    """
    texts = parsed_settings(values)
    from barwise.cli.file_names import completed_identity
    from barwise.manifest.strategies import load_function, load_strategy
    from barwise.run_config import resolve

    options = {"market": market, "strategy": {"class": strategy}, **(sections or {})}
    told = resolve(
        config, environment=os.environ, load=load_strategy, load_function=load_function, settings=texts,
        options=options, defaults=defaults,
    )  # fmt: skip
    wanted = told.settings
    if wanted.candle_file is None:
        return told
    identity, guess = completed_identity(wanted.candle_file, wanted.exchange, wanted.symbol, wanted.timeframe)
    if guess:
        logger.info("taken from the name of the file: %s", " ".join(guess.values()))
    named: dict[str, Any] = dict(identity)
    return replace(told, settings=replace(wanted, **named))


def _file_names(files: "ReportFiles | None", kept: Path | None) -> dict[str, str]:
    """The files by name, the configuration among them where it was kept."""
    names = {} if files is None else {name: str(path) for name, path in vars(files).items()}
    return names if kept is None else names | {"config": str(kept)}


def _tell(
    session: Session,
    document: "dict[str, Any]",
    result: "BacktestResult",
    files: "ReportFiles | None",
    n_trials: int | None,
    kept: Path | None,
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
        ("Settings", kept),
    ):
        if path is not None:
            session.say(f" {label:<11}{shown_path(path)}")
