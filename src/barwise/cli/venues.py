"""`barwise fetch` and `barwise exchanges`: candles of a venue into the store, and what the venues offer."""

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.download_bar import shown_download
from barwise.cli.options import End, Home, Json, Quiet, Session, Settings, Start, settings_of, table_lines

if TYPE_CHECKING:
    from barwise.exchange.download import Progress

logger = logging.getLogger(__name__)


def fetch(
    exchange: Annotated[
        str, typer.Argument(metavar="VENUE", help="BINANCE, BINANCE_UM, DELTA, ZERODHA, DHAN, REPLAY or CCXT:id.")
    ],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="As the venue writes it, such as BTCUSDT.")],
    timeframe: Annotated[str, typer.Argument(metavar="TIMEFRAME", help="1M (a minute) 5M 15M 30M 1H 2H 4H 1D 1W.")],
    start: Start = None,
    end: End = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Download what the store lacks of a span; without --end until now.

    Stop it with Ctrl-C and run it again: it goes on where it was. Where nothing is missing, nobody is asked.
    """
    session = Session.begin(home, json, quiet)
    settings_of("fetch", settings, {})
    from barwise.errors import APIError, ConfigError
    from barwise.exchange.manager import ExchangeManager, known_venue
    from barwise.timeframe import Timeframe

    venue, frame = known_venue(exchange), Timeframe.parse(timeframe)
    if start is None:
        raise ConfigError("fetch needs to know the first bar.", hint="for example --start 2025-01-01.")
    last: Progress | None = None
    try:
        with shown_download(session) as tell:

            def come(progress: "Progress") -> None:
                nonlocal last
                last = progress
                tell(f"{venue} {symbol} {frame}", progress)

            fetched = ExchangeManager().fetch(
                venue, symbol, frame, start, int(time.time() * 1000) if end is None else end, progress=come
            )
    except KeyboardInterrupt:
        logger.warning("stopped: %s. The same command goes on from there.", _so_far(last))
        raise
    except APIError:
        if last is not None:
            logger.warning("before the failure: %s.", _so_far(last))
        raise
    candles, report = fetched
    session.document(
        {
            "exchange": candles.exchange,
            "symbol": candles.symbol,
            "timeframe": candles.timeframe.name,
            "bars": len(candles),
            "first": int(candles.time[0]),
            "last": int(candles.time[-1]),
            "fingerprint": candles.fingerprint,
            "downloaded": 0 if report is None else report.rows,
            "requests": 0 if report is None else report.requests,
            "corrections": 0 if report is None else report.corrections,
            "holes": [] if report is None else [{"start": hole.start, "end": hole.end} for hole in report.holes],
        }
    )
    session.say(f"{candles.label}: {len(candles):,} candles; {report or 'all were stored, nobody was asked'}.")


def _so_far(progress: "Progress | None") -> str:
    """What came, in words."""
    if progress is None:
        return "nothing had been stored yet"
    return f"{progress.rows:,} candles had come and are stored ({progress.share:.0%})"


def exchanges(
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """List the venues: what they offer, whether they need a key, and whether one is set."""
    session = Session.begin(home, json, quiet)
    settings_of("exchanges", settings, {})
    found = list(_venues())
    session.document({"exchanges": found})
    heads = ("exchange", "timeframes", "key", "set", "funding", "archives", "title")
    rows = [
        (
            one["exchange"],
            " ".join(one["timeframes"]),
            "needed" if one["needs_key"] else "not needed",
            ("yes" if one["credentials_present"] else "no") if one["credentials"] else "-",
            "yes" if one["funding"] else "no",
            "yes" if one["archives"] else "no",
            one["title"],
        )
        for one in found
    ]
    for line in table_lines(heads, rows):
        session.say(line)
    session.say("  keys are read from the environment and from config/.env; other timeframes are made of finer ones.")


def _venues() -> Iterator[dict[str, Any]]:
    from barwise.exchange.credentials import read_environment
    from barwise.exchange.venues import CONNECTED, capabilities_of
    from barwise.timeframe import Timeframe

    environment = read_environment()
    for name in CONNECTED:
        offers = capabilities_of(name)
        yield {
            "exchange": name,
            "title": offers.title,
            "timeframes": [frame for frame in Timeframe.names() if frame in offers.intervals],
            "needs_key": offers.needs_key,
            "credentials": list(offers.credentials),
            "credentials_present": environment.has(offers.credentials),
            "volume": offers.volume_unit,
            "funding": offers.funding,
            "mark_price": offers.mark_price,
            "archives": offers.archives,
            "stream": offers.stream,
        }
