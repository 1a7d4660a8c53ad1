"""Questions on a terminal: what a run was not told, asked one line at a time.

Whoever starts with nothing should get to a run of his own without reading a manual, and know afterwards which command
would have said the same. Every answer is checked at once by the function that the run itself uses, so that nothing is
refused ten minutes later. Only what nobody said is asked, and never a credential: those belong into config/.env.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import typer

from barwise.cli.answers import OPEN, Sections, command, summary
from barwise.cli.hints import in_options
from barwise.cli.terminal import Terminal
from barwise.config import OptimizationProfile
from barwise.data.candles import SYNTHETIC_EXCHANGE, identity_text
from barwise.data.synthetic import sample_regimes, sample_symbols
from barwise.errors import BarwiseError, ConfigError, DataError, did_you_mean
from barwise.exchange.credentials import read_environment
from barwise.exchange.download import source_timeframe
from barwise.exchange.manager import VENUES, known_venue, span_ms
from barwise.exchange.sample import Sample
from barwise.exchange.venues import FOREIGN_PREFIX, capabilities_of, connect
from barwise.manifest.strategies import load_strategy
from barwise.pipeline import RunSettings, choose_market
from barwise.prepare import order_quantity
from barwise.run_config import RunConfig
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.timeframe import Timeframe, calendar_of

_MODES = ("SINGLE", "MULTI")
_SINGLE, _MULTI = _MODES
_REPLAY = "REPLAY"
_SPAN_DAYS = 365
# A market that each venue has; where it is not named here, BTCUSDT is tried.
_SYMBOLS = {"DELTA": "BTCUSD", "ZERODHA": "RELIANCE", "DHAN": "RELIANCE"}
_SYMBOL, _FOREIGN_SYMBOL = "BTCUSDT", "BTC/USDT"


class _Names(NamedTuple):
    exchange: str
    symbol: str
    frames: tuple[str, ...]


def ask_for_missing(
    told: RunConfig, *, file: Path | None = None, terminal: Terminal | None = None, today: date | None = None
) -> Sections:
    """Ask for what nobody said: the market or several, the span, the quantity, the strategy, the profile.

    Enter takes the default in brackets, `?` explains, Ctrl-D takes defaults for the rest.

    Args:
        told: What was said so far, and where.
        file: Of settings that `told` comes from, for the command that is shown at the end.
        terminal: Of the questions; None: stdin and stderr.
        today: In UTC; None: by the clock.

    Returns:
        What was answered by section and key, defaults that were taken included, as `resolve(options=...)` has it. A
        span that stays open and the built-in strategy are not in it. Several markets are the key `markets`.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        typer.Abort: The last question, whether to go on, was answered with no.
        ConfigError: What was said before is impossible, or config/.env cannot be read.
    """
    return _Interview(
        told, file, terminal or Terminal(sys.stdin, sys.stderr), today or datetime.now(UTC).date()
    ).answers()


class _Interview:
    """The questions about one run, and what was answered so far."""

    def __init__(self, told: RunConfig, file: Path | None, terminal: Terminal, today: date) -> None:
        self._told, self._file, self._terminal, self._today = told, file, terminal, today
        self._found: Sections = {}
        self._mentioned: set[str] = set()  # venues whose missing keys were spoken of

    def answers(self) -> Sections:
        venues = self._ask_markets()
        # A strategy whose parameters were given is chosen.
        if set(self._told.sources["strategy"].values()) == {"default"}:
            self._ask_strategy()
        if self._open("optimization", "profile"):
            self._ask_profile()
        if self._found:
            self._confirm(venues)
        return {section: values for section, values in self._found.items() if values}

    def _open(self, section: str, key: str) -> bool:
        return self._told.sources[section][key] == "default"

    def _said(self, key: str) -> Any:
        """A value of [market] that somebody gave; None where nobody did, or somebody left it open."""
        return None if self._open("market", key) else self._told.values["market"][key]

    def _keep(self, section: str, key: str, value: Any) -> None:
        kept = self._found.setdefault(section, {})
        if value is not None:
            kept[key] = value

    # -- Markets -------------------------------------------------------------------------------------------------------

    def _ask_markets(self) -> tuple[str, ...]:
        """All questions about markets and their span; the venues of what was chosen."""
        settings = self._told.settings
        if settings.markets:
            # A file has the span it has.
            asked = [choice.exchange or settings.exchange for choice in settings.markets if choice.file is None]
            venues = tuple(dict.fromkeys(known_venue(venue or SYNTHETIC_EXCHANGE) for venue in asked))
            if venues:
                self._ask_span(venues)
            return venues
        if settings.candle_file is not None:
            if self._said("quantity") is None:
                self._keep("market", "quantity", self._ask_quantity(settings.exchange or "", ""))
            return ()
        # One detail file, one file of funding and one symbol belong to one market.
        several = all(map(self._open, ["market"] * 3, ["symbol", "detail_file", "funding_file"]))
        if several and self._ask_mode() == _MULTI:
            return self._ask_several()
        names = self._ask_names("")
        for key, value in (("exchange", names.exchange), ("symbol", names.symbol), ("timeframe", names.frames[0])):
            if self._said(key) is None:
                self._keep("market", key, value)
        self._ask_span((names.exchange,))
        if self._said("quantity") is None:
            self._keep("market", "quantity", self._ask_quantity(names.exchange, names.symbol))
        return (names.exchange,)

    def _ask_mode(self) -> str:
        return self._terminal.ask(
            "mode",
            _SINGLE,
            lambda text: _one_of(text, _MODES, "mode"),
            "SINGLE tests one market. MULTI tests several venues, symbols, quantities and timeframes, and reports on "
            "them side by side.",
            _MODES,
        )

    def _ask_several(self) -> tuple[str, ...]:
        chosen: list[dict[str, Any]] = []
        symbol = ""
        while True:
            names = self._ask_names(symbol, previous=chosen[-1]["exchange"] if chosen else None, several=True)
            known = {(one["exchange"], one["symbol"], one["timeframe"]) for one in chosen}
            fresh = [frame for frame in names.frames if (names.exchange, names.symbol, frame) not in known]
            for frame in names.frames:
                if frame not in fresh:
                    self._terminal.say(
                        f"{names.exchange} {names.symbol} {frame} is chosen already, and stays as it is."
                    )
            if fresh:
                quantity = self._said("quantity") or self._ask_quantity(names.exchange, names.symbol)
                chosen += [
                    {"exchange": names.exchange, "symbol": names.symbol, "timeframe": frame, "quantity": quantity}
                    for frame in fresh
                ]
            symbol = self._terminal.ask(
                "another symbol, Enter = no more",
                "",
                str,
                "Another market beside those you have chosen: its symbol. Enter alone goes on to the next question.",
            )
            if not symbol:
                break
        self._keep("market", "markets", chosen)
        venues = tuple(dict.fromkeys(one["exchange"] for one in chosen))
        self._ask_span(venues)
        return venues

    def _ask_names(self, typed: str, *, previous: str | None = None, several: bool = False) -> _Names:
        """Venue, symbol and timeframes of a market.

        Args:
            typed: A symbol that is known already, "" = none.
            previous: Venue of the market before.
            several: More than one timeframe may be given.
        """
        symbol = self._said("symbol") or typed
        exchange = self._said("exchange")
        if exchange is None:
            exchange = self._ask_venue(_likely_venue(symbol, previous or choose_market(RunSettings()).exchange))
        else:
            exchange = known_venue(exchange)
            self._mention_keys(exchange)
        if self._said("symbol") is None:
            symbol = self._ask_symbol(exchange, typed)
        given = self._said("timeframe")
        frames = (given,) if given is not None else self._ask_timeframes(exchange, symbol, several=several)
        return _Names(exchange, symbol, tuple(str(Timeframe.parse(frame)) for frame in frames))

    def _ask_venue(self, default: str) -> str:
        while True:
            venue = self._terminal.ask(
                "venue",
                default,
                self._usable_venue,
                "Where the candles come from. SAMPLE is SYNTHETIC: made here, offline, to try things out; REPLAY is a "
                "folder of your own files; CCXT:<id> is any venue of the library ccxt.",
                VENUES,
            )
            if not self._mention_keys(venue):
                return venue
            default = venue

    def _usable_venue(self, text: str) -> str:
        venue = known_venue(text)
        if venue == _REPLAY:
            connect(venue, read_environment())
        elif venue.startswith(FOREIGN_PREFIX):
            capabilities_of(venue)
        symbol = self._said("symbol")
        if symbol is not None:
            _known_symbol(venue, symbol)
        return venue

    def _mention_keys(self, venue: str) -> bool:
        """Say that a venue's keys are missing; False where they are not, or where that was said before."""
        if venue in {SYNTHETIC_EXCHANGE, *self._mentioned}:
            return False
        offers = capabilities_of(venue)
        if not offers.needs_key or read_environment().has(offers.credentials):
            return False
        self._mentioned.add(venue)
        self._terminal.say(
            f"{venue} gives candles only for a key, and {', '.join(offers.credentials)} are not all set: put them into "
            "config/.env, or choose another venue; what is stored needs no key."
        )
        return True

    def _ask_symbol(self, exchange: str, typed: str) -> str:
        if typed:
            try:
                return _known_symbol(exchange, typed)
            except BarwiseError as error:
                self._terminal.say(in_options(str(error)))
        names = [sample.name for sample in sample_symbols()] if exchange == SYNTHETIC_EXCHANGE else []
        return self._terminal.ask(
            "symbol",
            _usual_symbol(exchange),
            lambda text: _known_symbol(exchange, text),
            f"The market, as {exchange} writes it.",
            names,
        )

    def _ask_timeframes(self, exchange: str, symbol: str, *, several: bool) -> Sequence[str]:
        def checked(text: str) -> Sequence[str]:
            words = text.replace(",", " ").split() if several else [text]
            frames = list(dict.fromkeys(Timeframe.parse(word) for word in words))
            for frame in frames:
                if exchange != SYNTHETIC_EXCHANGE:
                    source_timeframe(capabilities_of(exchange), frame)
            if not frames:
                raise ConfigError("a timeframe is needed.", hint="for example 1H, or several: 1H 4H.")
            return [str(frame) for frame in frames]

        usual = choose_market(RunSettings(exchange=exchange, symbol=symbol)).timeframe
        more = " Several are several markets: 1H 4H." if several else ""
        return self._terminal.ask(
            "timeframes" if several else "timeframe",
            str(usual),
            checked,
            f"The length of a bar; 1M is one minute.{more}",
            Timeframe.names(),
        )

    def _ask_quantity(self, exchange: str, symbol: str) -> float:
        lot = self._told.execution.lot_size or 0.0
        file = None if symbol else self._told.settings.candle_file
        usual = choose_market(RunSettings(exchange=exchange or None, symbol=symbol or None, candle_file=file)).quantity

        def checked(text: str) -> float:
            number: Any = text
            with suppress(ValueError):  # what is no number, the backtest has the words for
                number = float(text)
            order_quantity(number, lot)
            return float(number)

        return self._terminal.ask(
            "quantity",
            f"{max(usual, lot):g}",
            checked,
            "Of every entry, in base units: coins or shares, not money.",
        )

    # -- Span ----------------------------------------------------------------------------------------------------------

    def _ask_span(self, venues: tuple[str, ...]) -> None:
        """First and last day; where SAMPLE is all there is, both may stay open."""
        market = self._told.settings
        start, end = market.start, market.end
        made_here = set(venues) == {SYNTHETIC_EXCHANGE}
        free = (
            "open is a year of SAMPLE: 2024, or the one beside the other limit."
            if made_here
            else "open is what is stored; nothing is downloaded then."
        )
        day = "such as 2025-01-01; a time may follow: 2025-01-01T04:00"
        if self._open("market", "start"):
            last = self._today if end is None else _day_of(venues[0], end)
            start = self._terminal.ask(
                "start",
                OPEN if made_here else (last - timedelta(days=_SPAN_DAYS)).isoformat(),
                lambda text: _limits(venues, _limit(text), end)[0],
                f"The first bar, {day}. It is midnight UTC, in India of India; {free}",
            )
            self._keep("market", "start", start)
        if self._open("market", "end"):
            began = None if start is None else _day_of(venues[0], start)
            over = made_here or (began is not None and began >= self._today)
            end = self._terminal.ask(
                "end (exclusive)",
                OPEN if over else self._today.isoformat(),
                lambda text: _limits(venues, start, _limit(text))[1],
                f"Bars open before it, {day}; {free}",
            )
            self._keep("market", "end", end)

    # -- Strategy and search -------------------------------------------------------------------------------------------

    def _ask_strategy(self) -> None:
        built_in = EmaRsiAtr.name()

        def checked(text: str) -> str | None:
            if text.upper() == built_in.upper():
                return None
            load_strategy(text)
            return text

        chosen = self._terminal.ask(
            "strategy",
            built_in,
            checked,
            f"{built_in} is the one that comes with barwise; FILE.py:CLASS is one of your own, and the file is run "
            "as Python.",
        )
        self._keep("strategy", "class", chosen)

    def _ask_profile(self) -> None:
        names = [profile.value for profile in OptimizationProfile]
        trials = ", ".join(f"{profile} {profile.trials}" for profile in OptimizationProfile)
        chosen = self._terminal.ask(
            "search",
            str(self._told.optimization.profile),
            lambda text: _one_of(text, names, "profile"),
            f"How many parameters are tried in each stage, and how far from those you begin with: {trials} trials.",
            names,
        )
        self._keep("optimization", "profile", chosen)

    # -- The end -------------------------------------------------------------------------------------------------------

    def _confirm(self, venues: tuple[str, ...]) -> None:
        terminal, told, found = self._terminal, self._told, self._found
        terminal.show("")
        for line in summary(told, found):
            terminal.say(line)
        if SYNTHETIC_EXCHANGE in venues:
            terminal.say("SAMPLE is SYNTHETIC: its results say nothing about any real market.")
        terminal.say("Next time without questions:")
        terminal.show(f"  {shlex.join(command(told, found, self._file))}")
        if not terminal.ask(
            "go on? [Y/n]",
            "",
            _agreed,
            "Yes starts the work, no ends here; nothing has been written yet.",
        ):
            raise typer.Abort


# -- Checks ------------------------------------------------------------------------------------------------------------


def _one_of(text: str, known: Sequence[str], what: str) -> str:
    word = text.upper()
    if word not in known:
        raise ConfigError(f"{text!r} is not a {what}.{did_you_mean(word, known)}", hint=f"use {' or '.join(known)}.")
    return word


def _agreed(text: str) -> bool:
    word = text.lower()
    if word not in {"", "y", "yes", "n", "no"}:
        raise ConfigError(f"{text!r} is neither yes nor no.", hint="type y or n; Enter is yes.")
    return not word.startswith("n")


def _known_symbol(exchange: str, text: str) -> str:
    """A symbol in upper case; looked up where that needs no network.

    Raises:
        ConfigError, DataError: There is none, or the venue does not have it.
    """
    symbol = identity_text(text, "symbol")
    choose_market(RunSettings(exchange=exchange, symbol=symbol or None))
    if exchange == SYNTHETIC_EXCHANGE:
        Sample().market(symbol)
    elif exchange == _REPLAY:
        connect(exchange, read_environment()).market(symbol)
    return symbol


def _limit(text: str) -> str | None:
    return None if text.lower() == OPEN else text


def _limits(venues: Iterable[str], start: Any, end: Any) -> tuple[Any, Any]:
    """Both limits of a span as they came, where every venue can read them and something lies between them.

    Raises:
        ConfigError, DataError: They are no such limits.
    """
    for venue in venues:
        first, stop = span_ms(venue, start, end)
        if venue == SYNTHETIC_EXCHANGE:
            sample_regimes(start=first, end=stop)  # which knows when SAMPLE begins and ends
    return start, end


def _day_of(venue: str, limit: Any) -> date:
    """The day of an instant where the venue is."""
    moment, _ = span_ms(venue, limit, None)
    assert moment is not None
    return datetime.fromtimestamp((moment + calendar_of(venue).utc_offset_ms) / 1000, UTC).date()


# -- Defaults ----------------------------------------------------------------------------------------------------------


def _likely_venue(symbol: str, otherwise: str) -> str:
    """The venue of a symbol, as far as the symbol gives it away."""
    if not symbol:
        return otherwise
    is_sample = symbol.upper().startswith(f"{SYNTHETIC_EXCHANGE}-")
    if is_sample:
        return SYNTHETIC_EXCHANGE
    return "BINANCE" if otherwise == SYNTHETIC_EXCHANGE else otherwise


def _usual_symbol(exchange: str) -> str:
    """A symbol that the venue has; "" where a folder of files does not have the usual one."""
    if exchange == SYNTHETIC_EXCHANGE:
        return choose_market(RunSettings()).symbol
    symbol = _FOREIGN_SYMBOL if exchange.startswith(FOREIGN_PREFIX) else _SYMBOLS.get(exchange, _SYMBOL)
    try:
        return _known_symbol(exchange, symbol)
    except DataError:
        return ""
