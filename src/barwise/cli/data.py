"""`barwise data`: candles into the store, out of it, and what is wrong with them."""

import logging
from datetime import UTC, datetime
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
    settings_of,
    shown_path,
    table_lines,
)
from barwise.errors import ConfigError, DataError

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.data.quality import DataAudit
    from barwise.data.store import CandleStore, Series

logger = logging.getLogger(__name__)

# Two rows for one time that differ: refuse the file, or keep the one that stands first or last in it.
_READING = {"conflicts": ("raise", "first", "last")}
_EXIT_NOT_USABLE = 1
_NUMBERS = frozenset({3, 4, 5})  # columns of the list that are aligned to the right

data = typer.Typer(help="Candles on this machine: import, list, check, export.", no_args_is_help=True)


@data.command("import")
def import_candles(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, CSV, CSV.gz, or a zip with one CSV.")],
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Check the candles of a file and put them into the store.

    What is not said is taken from the file, or from a name such as binance_spot_BTCUSDT_1h_2020_2025.parquet. --set
    conflicts=first (or last) keeps the first (last) of two different rows for one time.
    """
    session = Session.begin(home, json, quiet)
    chosen = settings_of("data import", settings, _READING)
    candles, guess = _read(file, exchange, symbol, timeframe, chosen)
    _require_a_market(candles, file)
    audit = candles.check(datetime.now(UTC))
    session.say(f"{candles.label}: {audit}")
    candles.require_sound(datetime.now(UTC))
    stored = _store(session).put(candles, source=file.name)
    session.say(f"stored: {stored}.")
    session.document(
        _identity(candles)
        | {
            "guessed": guess,
            "audit": audit.to_dict(),
            "added": stored.added,
            "skipped": stored.skipped,
            "corrected": stored.corrected,
            "vanished": stored.vanished,
            "files": [str(path) for path in stored.files],
        }
    )


@data.command("list")
def list_series(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """List what is stored."""
    session = Session.begin(home, json, quiet)
    settings_of("data list", settings, {})
    store = _store(session)
    found = _matching(store, exchange, symbol, timeframe)
    session.document({"store": str(store.root), "series": [series.to_dict() for series in found]})
    if not session.speaks:
        return
    if not found:
        session.say(f"Nothing stored in {store.root}{' matches' if exchange or symbol or timeframe else ''}.")
        session.say("  hint: barwise data import FILE; the SAMPLE market is there without.")
        return
    heads = ("exchange", "symbol", "timeframe", "bars", "missing", "corrected", "stored")
    rows = [
        (
            series.exchange,
            series.symbol,
            f"{series.timeframe}{' SYNTHETIC' if series.synthetic else ''}",
            f"{series.bars:,}",
            f"{series.missing:,}",
            f"{series.corrections:,}",
            "; ".join(map(str, series.spans)),
        )
        for series in found
    ]
    for line in table_lines(heads, rows, _NUMBERS):
        session.say(line)


@data.command("check")
def check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A file; without, the store.")] = None,
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Audit the candles of a file or of the store; the exit code is 1 where some are not usable."""
    session = Session.begin(home, json, quiet)
    chosen = settings_of("data check", settings, _READING)
    checked: list[tuple[dict[str, Any], DataAudit]] = []
    if file is not None:
        candles, _ = _read(file, exchange, symbol, timeframe, chosen)
        checked.append((_identity(candles) | {"file": str(file)}, candles.check(datetime.now(UTC))))
    else:
        store = _store(session)
        series = _matching(store, exchange, symbol, timeframe)
        if not series and (exchange or symbol or timeframe):
            raise DataError(
                "nothing that is stored matches.",
                hint="barwise data list shows what is there; name less to check more.",
            )
        for one in series:
            candles = store.get(one.exchange, one.symbol, one.timeframe)
            checked.append((_identity(candles), candles.check(datetime.now(UTC))))
    for identity, audit in checked:
        name = " ".join(identity[part] for part in ("exchange", "symbol", "timeframe") if identity[part])
        session.say(f"{name}: {audit}")
    if not checked:
        session.say("Nothing is stored, so there is nothing to check.")
    ok = all(audit.ok for _, audit in checked)
    session.document({"ok": ok, "checked": [identity | audit.to_dict() for identity, audit in checked]})
    return 0 if ok else _EXIT_NOT_USABLE


@data.command("compact")
def compact(
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Make one file a month of the many that downloads leave; nothing is lost, and reading gets faster."""
    session = Session.begin(home, json, quiet)
    settings_of("data compact", settings, {})
    store = _store(session)
    done: list[dict[str, Any]] = []
    for one in _matching(store, exchange, symbol, timeframe):
        before, after = store.compact(one.exchange, one.symbol, one.timeframe)
        identity = {"exchange": one.exchange, "symbol": one.symbol, "timeframe": one.timeframe.name}
        done.append(identity | {"files_before": before, "files_after": after})
        session.say(f"{one.exchange} {one.symbol} {one.timeframe}: {before:,} files are now {after:,}")
    if not done:
        session.say("Nothing that is stored matches.")
    session.document({"compacted": done})


@data.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Name of the file, .parquet or .csv.")],
    exchange: Exchange = None,
    symbol: Symbol = None,
    timeframe: TimeframeName = None,
    start: Start = None,
    end: End = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there.")] = False,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Write stored candles, or those of SAMPLE, to a file."""
    session = Session.begin(home, json, quiet)
    settings_of("data export", settings, {})
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already.", hint="choose another name, or add --force.")
    from barwise.data.files import write_candles
    from barwise.exchange.manager import ExchangeManager
    from barwise.pipeline import RunSettings, choose_market

    market = choose_market(RunSettings(exchange, symbol, timeframe, start, end))
    assert market.timeframe is not None
    candles = ExchangeManager().fetch_ohlc(market.exchange, market.symbol, market.timeframe, market.start, market.end)
    written = write_candles(candles, out, source=f"barwise data export {candles.label}")
    session.say(f"{candles.label}: {len(candles):,} bars written to {shown_path(written)}")
    session.document(_identity(candles) | {"bars": len(candles), "file": str(written)})


def _store(session: Session) -> "CandleStore":
    from barwise.data.store import CandleStore

    return CandleStore(session.home / "data" / "cache")


def _read(
    file: Path, exchange: str | None, symbol: str | None, timeframe: str | None, chosen: dict[str, str]
) -> "tuple[Candles, dict[str, str]]":
    """The candles of a file, unsound ones too, and which part of their identity was guessed."""
    from barwise.cli.file_names import completed_identity
    from barwise.data.files import read_candles
    from barwise.exchange.manager import known_venue

    if exchange:
        exchange = known_venue(exchange)
    identity, guess = completed_identity(file, exchange, symbol, timeframe)
    candles = read_candles(
        file,
        exchange=identity.get("exchange", ""),
        symbol=identity.get("symbol", ""),
        timeframe=identity.get("timeframe"),
        conflicts=chosen.get("conflicts", "raise"),  # type: ignore[arg-type]
        audit="report",
    )
    if guess:
        logger.info("taken from the name of the file: %s", " ".join(guess.values()))
    return candles, guess


def _require_a_market(candles: "Candles", file: Path) -> None:
    """Do nothing where the candles can be stored under a name, and be found again.

    Raises:
        ConfigError: Nobody said of what market they are, or they are of none that is stored.
    """
    from barwise.exchange.manager import known_venue

    missing = [name for name in ("exchange", "symbol") if not getattr(candles, name)]
    if missing:
        raise ConfigError(
            f"{file.name} does not say its {' and '.join(missing)}, and neither does its name.",
            hint=f"add {' '.join(f'--{name} NAME' for name in missing)}.",
        )
    if known_venue(candles.exchange) == "SAMPLE":
        raise ConfigError(
            f"{file.name} holds candles of the SAMPLE market, which are made when they are asked for.",
            hint=f"barwise backtest --symbol {candles.symbol} uses them; --file {file.name} uses the file.",
        )


def _matching(store: "CandleStore", exchange: str | None, symbol: str | None, timeframe: str | None) -> "list[Series]":
    """The stored series that fit what was named.

    Raises:
        ConfigError: There is no such venue or timeframe.
    """
    from barwise.exchange.manager import known_venue
    from barwise.timeframe import Timeframe

    venue = known_venue(exchange) if exchange else ""
    frame = Timeframe.parse(timeframe) if timeframe else None
    return [
        series
        for series in store.list()
        if (not venue or series.exchange == venue)
        and (not symbol or series.symbol == symbol.strip().upper())
        and (frame is None or series.timeframe == frame)
    ]


def _identity(candles: "Candles") -> dict[str, Any]:
    return {
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": candles.timeframe.name,
        "synthetic": candles.synthetic,
    }
