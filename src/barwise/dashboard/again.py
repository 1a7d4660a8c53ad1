"""A backtest done again from its manifest, for the bars, fills and levels that no file has.

`barwise verify` does the same for people who may be asked where a file is now. Here nobody is asked and no venue is:
the candles are those of the span on record, out of the store of this home folder or out of a file in it. What comes out
is shown only where it is the run on record to the bit.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from barwise.core.layout import FloatArray
from barwise.dashboard.level_of_detail import CandleLevels
from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.data.files import read_candles, read_funding
from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BarwiseError, ConfigError, DataError
from barwise.manifest import ENDING, Manifest, Origin, compare, describe_run
from barwise.manifest.comparison import UNREADABLE, damaged
from barwise.manifest.loading import configured, read_backtest, require_same, span_on_record
from barwise.manifest.record import equity_of
from barwise.manifest.strategies import load_strategy
from barwise.result import BacktestResult
from barwise.run_config import ENDING as SETTINGS_ENDING
from barwise.story import Replay, replay
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema, rsi
from barwise.timeframe import Timeframe

# A module is put where Python looks for it while it is run, and two at once would see each other's neighbours.
_loading = Lock()
_HEADLINE = ("net_pnl", "gross_pnl", "fees", "slippage", "funding", "final_equity")


class Again:
    """A backtest that was done again, with what is worked out of it when it is asked for.

    Attributes:
        result: The backtest.
        levels: Its candles, on their own and on every longer timeframe.
    """

    def __init__(self, result: BacktestResult) -> None:
        self.result = result
        self.levels = CandleLevels(result.candles)
        self._replays: dict[int, Replay] = {}

    @cached_property
    def lines(self) -> Mapping[str, FloatArray]:
        """The lines that the strategy went by, one value per bar each.

        Those of the built-in strategy have their own names; of any other there are the lines of its plan.
        """
        strategy, plan, close = self.result.strategy, self.result.plan, self.result.candles.close
        found: dict[str, FloatArray] = {}
        if isinstance(strategy, EmaRsiAtr) and type(strategy).plan is EmaRsiAtr.plan:
            periods = {"ema_fast": strategy.ema_fast, "ema_slow": strategy.ema_slow}
            if strategy.enable_trend_filter:
                periods["ema_trend"] = strategy.ema_trend
            found = {name: ema(close, period) for name, period in periods.items()}
            if strategy.enable_rsi_filter:
                found["rsi"] = rsi(close, strategy.rsi_period)
            own = {"vwap": plan.vwap, "atr": plan.risk}
        else:
            own = {"anchor": plan.anchor, "vwap": plan.vwap, "risk": plan.risk}
        return found | {name: line for name, line in own.items() if line is not None}

    def replay(self, program: int) -> Replay:
        """What one entry program and its position did, bar by bar."""
        if program not in self._replays:
            self._replays[program] = replay(self.result, program)
        return self._replays[program]


def repeated(path: Path, home: Path) -> BacktestResult:
    """The backtest of a manifest, done again and found to be the same to the bit.

    Args:
        path: Of the manifest.
        home: The home folder; no file outside of it is read, but one that lies in the working directory or that the
            run's own settings name.

    Raises:
        CheckpointError: The manifest is damaged or not that of a backtest, or what comes out is not what is on record.
        DataError: Its candles are not here any more.
        ConfigError, BacktestError: Its strategy cannot be had, or fails.
    """
    recorded = read_backtest(path, hint="choose a part that was traded: baseline or optimized.")
    origin = Origin.of(recorded)
    found_at = _Files(home, path)
    try:
        candles = _candles(origin, home, found_at, *span_on_record(recorded))
        detail = _detail(origin, home, found_at, candles)
        paid = origin.funding_file
        funding = None if paid is None else read_funding(found_at.located(paid, "funding"))
        strategy, execution = configured(recorded, _strategy_class(origin, found_at))
    except BarwiseError:
        raise
    except UNREADABLE as error:
        raise damaged(error) from error
    result = backtest(
        candles,
        strategy,
        origin.quantity,
        execution=execution,
        detail=detail,
        funding=funding,
        check_lookahead=False,
    )
    if not _is_as_recorded(result, recorded, detail):
        # Slower, and it can say where they part.
        now = describe_run(result, origin, detail=detail, funding=funding)
        require_same(compare(recorded, now, candles, detail), path)
    return result


def _is_as_recorded(result: BacktestResult, recorded: Manifest, detail: Candles | None) -> bool:
    """Whether the same data gave the same equity at every bar, as many events of each kind, and the same headline.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    made = Counter(program=len(result.programs), fill=len(result.fills), trade=len(result.trades))
    fingerprints = {"candles": result.candles.fingerprint, "detail": None if detail is None else detail.fingerprint}
    try:
        data, metrics = recorded["data"], recorded["metrics"]
        return (
            {name: None if data[name] is None else data[name]["fingerprint"] for name in fingerprints} == fingerprints
            and np.array_equal(equity_of(recorded), result.equity_curve)
            and Counter(row[0] for row in recorded["events"]["rows"]) == made
            and all(metrics[name] == getattr(result, name) for name in _HEADLINE)
        )
    except UNREADABLE as error:
        raise damaged(error) from error


# -- Data --------------------------------------------------------------------------------------------------------------


def _candles(origin: Origin, home: Path, found_at: "_Files", first: int, last: int) -> Candles:
    """The candles from the first bar on record to the last, whatever was added since."""
    if origin.candle_file is None:
        frame = Timeframe.parse(origin.timeframe or "")
        return _stored(origin.exchange, origin.symbol, frame, home, first, last + frame.ms)
    everything = read_candles(
        found_at.located(origin.candle_file, "candles"),
        exchange=origin.exchange,
        symbol=origin.symbol,
        timeframe=None if origin.timeframe is None else Timeframe.parse(origin.timeframe),
    )
    return everything.between(first, last + 1)


def _detail(origin: Origin, home: Path, found_at: "_Files", candles: Candles) -> Candles | None:
    if origin.detail_file is not None:
        place = found_at.located(origin.detail_file, "finer candles")
        return read_candles(place, exchange=candles.exchange, symbol=candles.symbol)
    if origin.detail is None:
        return None
    first, end = int(candles.time[0]), int(candles.time[-1]) + candles.timeframe.ms
    return _stored(candles.exchange, candles.symbol, Timeframe.parse(origin.detail), home, first, end)


def _stored(exchange: str, symbol: str, frame: Timeframe, home: Path, start: int, end: int) -> Candles:
    """Candles out of the store, made of finer ones where the venue has none of this timeframe.

    Raises:
        DataError: They are not there.
    """
    if exchange == SYNTHETIC_EXCHANGE:
        return sample_candles(symbol, frame, start, end)
    store = CandleStore(home / "data" / "cache")
    # From long to short: its own timeframe first, then the one that takes the least to be made of.
    for source in reversed([one for one in map(Timeframe, Timeframe.names()) if frame.ms % one.ms == 0]):
        if store.coverage(exchange, symbol, source):
            return store.get(exchange, symbol, source, start, end).resample(frame)
    return store.get(exchange, symbol, frame, start, end)


class _Files:
    """Where the files of a run are now.

    Args:
        home: The home folder.
        manifest: Of one part of the run; its settings lie beside it.
    """

    def __init__(self, home: Path, manifest: Path) -> None:
        self._home = home
        run = re.sub(r"-(baseline|optimized)$", "", manifest.name.removesuffix(ENDING))
        self._settings = manifest.with_name(f"{run}{SETTINGS_ENDING}")

    def located(self, name: str, what: str) -> Path:
        """A file that a manifest names: from the home folder on, or by its name alone.

        Raises:
            DataError: It is neither in the home folder nor in the working directory, nor where the run's own settings
                say it was.
        """
        for place in self._places(name):
            if place.is_file():
                return place
        raise DataError(
            f"the file of the {what} of this run was {Path(name).name}, which is neither in the home folder nor in the "
            "working directory.",
            hint="put it there, or use barwise verify, which can be told where it is.",
        )

    def _places(self, name: str) -> Iterator[Path]:
        inside = (self._home / name).resolve()
        if inside.is_relative_to(self._home.resolve()):
            yield inside
        if Path(name).name == name:
            yield Path.cwd() / name
            yield from (place for place in self._said() if place.name == name)

    def _said(self) -> Iterator[Path]:
        """The files that the settings of the run name; nobody but the run has written them."""
        try:
            market = tomllib.loads(self._settings.read_text(encoding="utf-8")).get("market", {})
        except (OSError, ValueError):
            return
        for part in (market, *market.get("markets", ())):
            yield from (Path(value) for key, value in part.items() if key.endswith("file") and isinstance(value, str))


# -- Strategy ----------------------------------------------------------------------------------------------------------


def _strategy_class(origin: Origin, found_at: _Files) -> type[Strategy]:
    """The class on record.

    Raises:
        ConfigError: It cannot be had any more. What it says names no folder, because it is shown in a browser.
    """
    place, _, name = (origin.strategy or "").rpartition(":")
    if not place:
        raise ConfigError(
            "the manifest names no strategy: its class was made inside a function.",
            hint="put the class into a file and do the run again.",
        )
    found = str(found_at.located(place, "strategy")) if place.endswith(".py") else place
    try:
        with _loading:
            return load_strategy(f"{found}:{name}")
    except ConfigError as error:
        why = "" if error.__cause__ is None else f": {type(error.__cause__).__name__}"
        raise ConfigError(
            f"the strategy of this run, {name} of {Path(place).name}, cannot be loaded{why}.",
            hint="barwise audit RUN --trade 0 says why.",
        ) from error
