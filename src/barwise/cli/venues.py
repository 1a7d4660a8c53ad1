"""`barwise fetch` and `barwise exchanges`: candles of a venue into the store, and what the venues offer."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barwise.cli.options import End, Home, Json, Quiet, Session, Settings, Start, settings_of, table_lines

if TYPE_CHECKING:
    from collections.abc import Callable

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
    progress = _Bar(session, f"{venue} {symbol} {frame}")
    try:
        with progress.shown():
            fetched = ExchangeManager().fetch(
                venue, symbol, frame, start, int(time.time() * 1000) if end is None else end, progress=progress.update
            )
    except KeyboardInterrupt:
        logger.warning("stopped: %s. The same command goes on from there.", progress.so_far)
        raise
    except APIError:
        if progress.last is not None:
            logger.warning("before the failure: %s.", progress.so_far)
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


class _Bar:
    """The progress of a download on stderr; lines of a log where that is no terminal."""

    def __init__(self, session: Session, label: str) -> None:
        self._wanted = not session.quiet and sys.stderr.isatty()
        self._label = label
        self._show: Callable[[Progress], None] | None = None
        self.last: Progress | None = None

    @property
    def so_far(self) -> str:
        """What came, in words."""
        if self.last is None:
            return "nothing had been stored yet"
        return f"{self.last.rows:,} candles had come and are stored ({self.last.share:.0%})"

    def update(self, progress: "Progress") -> None:
        self.last = progress
        if self._show is not None:
            self._show(progress)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The bar, as long as this lasts."""
        if not self._wanted:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Page

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
        )
        with Page(*columns, console=Console(stderr=True), transient=True) as page:
            task = page.add_task(self._label, total=1.0, told="")
            self._show = lambda progress: page.update(task, completed=progress.share, told=_told(progress))
            try:
                yield
            finally:
                self._show = None


def _told(progress: "Progress") -> str:
    parts = [f"{progress.rows:,} rows", f"{progress.requests:,} requests"]
    if progress.eta_seconds is not None:
        minutes, seconds = divmod(round(progress.eta_seconds), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    if progress.limit_used is not None:
        parts.append(f"limit {progress.limit_used:.0%}")
    return ", ".join(parts)
