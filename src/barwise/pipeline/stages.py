"""The main job as stages: plain functions from the output of one stage to the output of the next.

    3  input       what to test: market, span, quantity            choose_market
    4  strategy    with which rules, costs and capital             choose_rules
    5  baseline    candles, and one backtest over them             fetch_candles, run_baseline
    9  report      the same numbers as files, and the manifest     write_run

`barwise backtest` and `barwise run` go through the same functions, so both mean the same by the same options. A stage
reads nothing but its arguments, so its output can be stored under a key made of them.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from barwise.config import ExecutionConfig, MarketChoice
from barwise.costs import FeeSchedule, fee_schedule
from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.data.columns import Instant
from barwise.data.files import read_candles, read_funding
from barwise.data.quality import utc_text
from barwise.data.synthetic import sample_symbols
from barwise.engine import backtest
from barwise.errors import CheckpointError, ConfigError, DataError, did_you_mean
from barwise.exchange.download import Progress
from barwise.exchange.manager import VENUES, ExchangeManager, known_venue, span_ms
from barwise.manifest import Origin, describe_run, manifest_path, portable, strategy_reference, write_manifest
from barwise.optimizer.ledger import DataSet, Ledger, ledger_place
from barwise.optimizer.recording import record_run
from barwise.report import ReportFiles, write_report
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.timeframe import Timeframe, calendar_of

logger = logging.getLogger(__name__)

_DEFAULT_TIMEFRAME = "1H"
# Fractions of a coin are ordinary, fractions of a share do not exist.
_DEFAULT_QUANTITY = 0.1
_DEFAULT_SHARES = 1.0
_NOTHING = {"", "none", "null"}

T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    """What a user asked for, as it came; the stages check it.

    Attributes:
        exchange, symbol, timeframe: The market; None where nothing was said.
        start, end: Half-open span.
        quantity: Of every entry program, in base units.
        candle_file: Candles of this file instead of the store's.
        detail: Timeframe of finer candles of the same market, or None.
        detail_file: Those finer candles as a file.
        funding_file: Funding settlements of a perpetual.
        markets: Several markets instead of the one above; see `each_market`.
        strategy: The class to run.
        values: Strategy parameters and execution settings by name, as text.
        check_lookahead: Make sure that the strategy does not look ahead.
    """

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    start: Instant | None = None
    end: Instant | None = None
    quantity: float | None = None
    candle_file: Path | None = None
    detail: str | None = None
    detail_file: Path | None = None
    funding_file: Path | None = None
    markets: tuple[MarketChoice, ...] = ()
    strategy: type[Strategy] = EmaRsiAtr
    values: Mapping[str, str] = field(default_factory=dict)
    check_lookahead: bool = True


@dataclass(frozen=True)
class Market:
    """Output of stage 3: which bars of what, and how much of it.

    Attributes:
        exchange, symbol: Upper case; "" where the bars come from a file that may say so itself.
        timeframe: Of the signal bars; None: as the file has it.
        start, end: ms UTC, None where open.
        quantity: In base units.
        candle_file: The file the bars come from; None: the venue.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe | None
    start: int | None
    end: int | None
    quantity: float
    candle_file: Path | None = None

    def __str__(self) -> str:
        names = " ".join(str(word) for word in (self.exchange, self.symbol, self.timeframe) if word)
        first = "its first bar" if self.start is None else utc_text(self.start)
        last = "its last" if self.end is None else utc_text(self.end)
        span = "" if self.start is None and self.end is None else f", {first} .. {last}"
        source = f" of {self.candle_file.name}" if self.candle_file else ""
        return f"{names}{source}{span}, quantity {self.quantity:g}".strip()


@dataclass(frozen=True)
class Rules:
    """Output of stage 4: the strategy with its parameters, and what the account and the venue allow and cost."""

    strategy: Strategy
    execution: ExecutionConfig


@dataclass(frozen=True, eq=False)
class Inputs:
    """First output of stage 5: all data of a backtest.

    Attributes:
        candles: The signal candles.
        detail: Finer candles of the same market, or None.
        funding: (time in ms UTC, rate) of each settlement, or None.
    """

    candles: Candles
    detail: Candles | None
    funding: list[tuple[int, float]] | None


def each_market(settings: RunSettings) -> tuple[RunSettings, ...]:
    """The settings of each market by itself; one that says nothing about a thing has what was said for all.

    Raises:
        ConfigError: The same market is named twice, or finer candles or funding are given as one file for several.
    """
    if not settings.markets:
        return (settings,)
    for name, file in (("detail_file", settings.detail_file), ("funding_file", settings.funding_file)):
        if file is not None and len(settings.markets) > 1:
            raise ConfigError(f"{name} {file.name} belongs to one market; there are several.", hint="run it alone.")
    found = []
    for choice in settings.markets:
        given = {name: value for name, value in choice.to_dict().items() if value is not None}
        if "file" in given:
            given["candle_file"] = Path(given.pop("file"))
        elif choice.symbol is not None or choice.exchange is not None:
            given["candle_file"] = None  # a file of another market is none of this one
        found.append(replace(settings, markets=(), **given))
    names = [str(choose_market(one)) for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the market {name} is named twice.", hint="name every market once.")
    return tuple(found)


def choose_market(settings: RunSettings) -> Market:
    """Stage 3: what to test.

    Raises:
        ConfigError: Something is missing, unknown or contradicts something else.
    """
    exchange, symbol, timeframe = settings.exchange, settings.symbol, settings.timeframe
    if settings.detail and settings.detail_file:
        raise ConfigError(
            "detail candles are asked for twice: as a timeframe and as a file.", hint="give one of the two."
        )
    if settings.candle_file is None:
        exchange, symbol = _market_names(exchange, symbol)
        timeframe = timeframe or _DEFAULT_TIMEFRAME
    else:
        exchange = known_venue(exchange) if exchange else ""
        symbol = (symbol or "").strip().upper()
    start, end = span_ms(exchange, settings.start, settings.end)
    quantity = settings.quantity
    if quantity is None:
        quantity = _DEFAULT_QUANTITY if calendar_of(exchange).always_open else _DEFAULT_SHARES
    return Market(
        exchange,
        symbol,
        Timeframe.parse(timeframe) if timeframe else None,
        start,
        end,
        quantity,
        settings.candle_file,
    )


def _market_names(exchange: str | None, symbol: str | None) -> tuple[str, str]:
    """Venue and symbol, the SAMPLE market's where nothing or one of its symbols is asked for."""
    samples = [sample.name for sample in sample_symbols()]
    if exchange is None and symbol is not None and symbol.strip().upper() not in samples:
        raise ConfigError(
            f"{symbol} is no symbol of the SAMPLE market, and no exchange is named.{did_you_mean(symbol, samples)}",
            hint=f"add --exchange, one of {', '.join(VENUES)}; the SAMPLE market has {', '.join(samples)}.",
        )
    venue = known_venue(exchange or SYNTHETIC_EXCHANGE)
    if symbol is None and venue != SYNTHETIC_EXCHANGE:
        raise ConfigError(
            f"exchange {venue} is named, but no symbol.",
            hint="add --symbol, such as BTCUSDT; barwise data list shows what is stored.",
        )
    return venue, (symbol or samples[0]).strip().upper()


def choose_rules(settings: RunSettings) -> Rules:
    """Stage 4: the strategy's parameters and the execution settings, each checked by its declaration.

    A value is text as typed: numbers, true or false, none; `fees` takes VENUE or VENUE:PRODUCT.

    Raises:
        ConfigError: A name is unknown, or a value impossible.
    """
    parameters = settings.strategy.model_fields
    execution = ExecutionConfig.model_fields
    chosen: dict[str, dict[str, Any]] = {"strategy": {}, "execution": {}}
    for name, text in settings.values.items():
        if name in parameters and name in execution:
            raise ConfigError(
                f"{name} is both a parameter of {settings.strategy.__name__} and an execution setting.",
                hint="rename the strategy's parameter.",
            )
        if name not in parameters and name not in execution:
            raise ConfigError(
                f"{name} is neither a parameter of {settings.strategy.name()} nor an execution setting."
                f"{did_you_mean(name, [*parameters, *execution])}",
                hint=f"parameters: {', '.join(_own_first(settings.strategy))}; execution: {', '.join(execution)}.",
            )
        owner = "strategy" if name in parameters else "execution"
        chosen[owner][name] = _schedule(text) if name == "fees" and owner == "execution" else _value(text)
    return Rules(settings.strategy(**chosen["strategy"]), ExecutionConfig(**chosen["execution"]))


def _own_first(strategy: type[Strategy]) -> list[str]:
    """The parameters of a strategy: its own, then the rules that all strategies share."""
    own = strategy.signal_parameters()
    return [*own, *(name for name in strategy.model_fields if name not in own)]


def _value(text: str) -> str | None:
    return None if text.strip().lower() in _NOTHING else text.strip()


def _schedule(text: str) -> FeeSchedule | None:
    """A fee schedule by venue and product, such as `ZERODHA:equity_intraday`."""
    venue, _, product = text.strip().partition(":")
    return fee_schedule(venue, product or None) if _value(text) else None


def fetch_inputs(
    settings: RunSettings, market: Market, progress: Callable[[str, Progress], None] | None = None
) -> Inputs:
    """Stage 5, first half: candles of the file or the venue, detail candles and funding where asked for.

    Args:
        settings, market: Which.
        progress: Called after each page of a download, with what is downloaded, such as BINANCE BTCUSDT 1H.

    Raises:
        DataError: Something is not there or cannot be read.
        ConfigError: The detail timeframe does not exist, or the candles do not say of what market they are.
    """
    if market.candle_file is None:
        assert market.timeframe is not None
        candles = _of_the_venue(
            market.exchange, market.symbol, market.timeframe, market.start, market.end, progress=progress
        )
    else:
        candles = _file_span(market)
    detail = None
    if settings.detail_file is not None:
        detail = read_candles(settings.detail_file, exchange=candles.exchange, symbol=candles.symbol)
    elif settings.detail:
        if not candles.exchange or not candles.symbol:
            raise ConfigError(
                f"detail {settings.detail} is looked up by market, and these candles do not name theirs.",
                hint="add --exchange and --symbol, or give the finer candles with --detail-file.",
            )
        detail = _of_the_venue(
            candles.exchange,
            candles.symbol,
            Timeframe.parse(settings.detail),
            int(candles.time[0]),
            int(candles.time[-1]) + candles.timeframe.ms,
            progress=progress,
        )
    funding = None if settings.funding_file is None else read_funding(settings.funding_file)
    return Inputs(candles, detail, funding)


def _of_the_venue(
    exchange: str,
    symbol: str,
    timeframe: Timeframe,
    start: int | None,
    end: int | None,
    *,
    progress: Callable[[str, Progress], None] | None,
) -> Candles:
    """Candles of the store, those that it lacks downloaded first."""
    told = None if progress is None else partial(progress, f"{exchange} {symbol} {timeframe}")
    return ExchangeManager().fetch_ohlc(exchange, symbol, timeframe, start, end, progress=told)


def _file_span(market: Market) -> Candles:
    """The bars of a file that lie in the span."""
    assert market.candle_file is not None
    everything = read_candles(
        market.candle_file, exchange=market.exchange, symbol=market.symbol, timeframe=market.timeframe
    )
    for note in everything.notes:
        if note.severity == "warning":
            logger.warning("%s: %s", market.candle_file.name, note.message)
    if market.start is None and market.end is None:
        return everything
    candles = everything.between(market.start, market.end)
    if len(everything) and not len(candles):
        first, last = utc_text(int(everything.time[0])), utc_text(int(everything.time[-1]))
        raise DataError(
            f"{market.candle_file.name} has no bar in the span asked for; its bars open from {first} to {last}.",
            hint="change --start and --end.",
        )
    return candles


def run_baseline(inputs: Inputs, rules: Rules, quantity: float, *, check_lookahead: bool = True) -> BacktestResult:
    """Stage 5, second half: one backtest.

    Raises:
        DataError, ConfigError, BacktestError: As `backtest` raises them.
    """
    return backtest(
        inputs.candles,
        rules.strategy,
        quantity,
        execution=rules.execution,
        detail=inputs.detail,
        funding=inputs.funding,
        check_lookahead=check_lookahead,
    )


def put_on_record(
    result: BacktestResult, inputs: Inputs, quantity: float, home: Path, storage: str | None = None
) -> int | None:
    """Write a backtest into the trial ledger: a look at the data counts, whoever takes it.

    A ledger that cannot be written does not undo the backtest; it is a warning, because the count is then too low.

    Args:
        storage: The ledger that the searches of this configuration use; None = the one below the home folder.
        result, inputs, quantity, home: As the stages before left them.

    Returns:
        Distinct configurations on record for these candles, this one included; None where that is not known.
    """
    try:
        with Ledger(ledger_place(storage, home)) as ledger:
            record_run(ledger, result, quantity, detail=inputs.detail, funding=inputs.funding)
            return ledger.trials(DataSet.of(result.candles))
    except (CheckpointError, ConfigError) as error:
        logger.warning("this backtest is not on record in the trial ledger: %s", error.message)
        return None


def write_run(
    result: BacktestResult,
    settings: RunSettings,
    market: Market,
    inputs: Inputs,
    home: Path,
    n_trials: int | None = None,
) -> ReportFiles:
    """Stage 9: the report, and beside it the manifest that `barwise verify` reads.

    Args:
        n_trials: From `put_on_record`.

    Raises:
        DataError: A file cannot be written; none of this run is left behind.
    """
    files = write_report(result, home, n_trials=n_trials)
    path = manifest_path(files.json)
    try:
        write_manifest(
            describe_run(result, origin_of(settings, market, home), detail=inputs.detail, funding=inputs.funding), path
        )
    except DataError:
        for written in vars(files).values():
            with suppress(OSError):
                written.unlink()
        raise
    return files


def origin_of(settings: RunSettings, market: Market, home: Path) -> Origin:
    """How the inputs of these settings can be had again, told without the folders of this computer."""

    def named(path: Path | None) -> str | None:
        return None if path is None else portable(path, home)

    return Origin(
        exchange=market.exchange,
        symbol=market.symbol,
        timeframe=None if market.timeframe is None else str(market.timeframe),
        start=market.start,
        end=market.end,
        quantity=market.quantity,
        candle_file=named(market.candle_file),
        detail=settings.detail,
        detail_file=named(settings.detail_file),
        funding_file=named(settings.funding_file),
        strategy=strategy_reference(settings.strategy, home),
    )


def describe_rules(rules: Rules) -> str:
    """The strategy's name and what differs from the defaults."""
    changed = ", ".join(
        f"{name}={value}" for part in (rules.strategy, rules.execution) for name, value in part.__repr_args__()
    )
    return f"{type(rules.strategy).name()}, {changed or 'defaults'}"


def describe_inputs(inputs: Inputs) -> str:
    """How many bars there are of what."""
    text = f"{inputs.candles.label}, {len(inputs.candles):,} bars"
    if inputs.detail is not None:
        text += f", {len(inputs.detail):,} detail bars of {inputs.detail.timeframe}"
    if inputs.funding is not None:
        text += f", {len(inputs.funding):,} funding settlements"
    return text


def describe_result(result: BacktestResult) -> str:
    """The result in half a line."""
    return f"{result.total_trades:,} trades, net {result.net_pnl:+,.2f} ({result.total_return:+.2f} %)"
