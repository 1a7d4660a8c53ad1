"""A backtest done again from its manifest, for the bars, fills and levels that no file has.

`barwise verify` does the same for people who may be asked where a file is now. Here nobody is asked and no venue is:
the candles are those of the span on record, out of the store of this home folder or out of a file in it. What comes out
is shown only where it is the run on record to the bit.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

from barwise.config import ExecutionConfig
from barwise.costs import FeeSchedule
from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.data.files import read_candles, read_funding
from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import CheckpointError, ConfigError, DataError
from barwise.manifest import Manifest, Origin, compare, describe_run, read_manifest
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy
from barwise.timeframe import Timeframe

# A module is put where Python looks for it while it is run, and two at once would see each other's neighbours.
_loading = Lock()


def repeated(path: Path, home: Path) -> BacktestResult:
    """The backtest of a manifest, done again and found to be the same to the bit.

    Args:
        path: Of the manifest.
        home: The home folder; no file outside of it is read, but one that lies in the working directory.

    Raises:
        CheckpointError: The manifest is damaged or not that of a backtest, or what comes out is not what is on record.
        DataError: Its candles are not here any more.
        ConfigError, BacktestError: Its strategy cannot be had, or fails.
    """
    recorded = read_manifest(path)
    if recorded.get("kind", "backtest") != "backtest":
        raise CheckpointError(
            f"{path.name} is the manifest of a {recorded['kind']}, and a backtest is needed.",
            hint="choose a part that was traded: baseline or optimized.",
        )
    origin = Origin.of(recorded)
    first, last = (_on_record(recorded, lambda m, name=name: int(m["data"]["candles"][name])) for name in _EDGES)
    candles = _candles(origin, home, first, last)
    detail = _detail(origin, home, candles)
    funding = None if origin.funding_file is None else read_funding(_located(origin.funding_file, "funding", home))
    result = backtest(
        candles,
        _strategy(recorded, origin, home),
        origin.quantity,
        execution=_on_record(recorded, _execution),
        detail=detail,
        funding=funding,
        check_lookahead=False,
    )
    found = compare(recorded, describe_run(result, origin, detail=detail, funding=funding), candles, detail)
    if not found.same:
        raise CheckpointError(
            f"the run done again is not the run on record: {found.differences[0]}",
            hint=f"barwise verify {path.name.removesuffix('.manifest.json')} names everything that differs.",
        )
    return result


_EDGES = ("first_ms", "last_ms")


def _on_record(recorded: Manifest, read: Callable[[Manifest], Any]) -> Any:
    """A part of the manifest.

    Raises:
        CheckpointError: It is not there, or cannot be what it should be.
    """
    try:
        return read(recorded)
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the manifest is damaged: it has no readable {error}.", hint="take a copy of it, or do the run again."
        ) from error


def _execution(recorded: Manifest) -> ExecutionConfig:
    values: dict[str, Any] = dict(recorded["configuration"]["execution"])
    fees: Mapping[str, Any] | None = values.get("fees")
    values["fees"] = None if fees is None else FeeSchedule.from_dict(fees)
    return ExecutionConfig(**values)


# -- Data --------------------------------------------------------------------------------------------------------------


def _candles(origin: Origin, home: Path, first: int, last: int) -> Candles:
    """The candles from the first bar on record to the last, whatever was added since."""
    if origin.candle_file is None:
        frame = Timeframe.parse(origin.timeframe or "")
        return _stored(origin.exchange, origin.symbol, frame, home, first, last + frame.ms)
    everything = read_candles(
        _located(origin.candle_file, "candles", home),
        exchange=origin.exchange,
        symbol=origin.symbol,
        timeframe=None if origin.timeframe is None else Timeframe.parse(origin.timeframe),
    )
    return everything.between(first, last + 1)


def _detail(origin: Origin, home: Path, candles: Candles) -> Candles | None:
    if origin.detail_file is not None:
        place = _located(origin.detail_file, "finer candles", home)
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


def _located(name: str, what: str, home: Path) -> Path:
    """A file that a manifest names: from the home folder on, or by its name alone.

    Raises:
        DataError: It is neither in the home folder nor in the working directory.
    """
    for place in _places(name, home):
        if place.is_file():
            return place
    raise DataError(
        f"the file of the {what} of this run was {Path(name).name}, which is neither in the home folder nor in the "
        "working directory.",
        hint="put it there, or use barwise verify, which can be told where it is.",
    )


def _places(name: str, home: Path) -> Iterator[Path]:
    inside = (home / name).resolve()
    if inside.is_relative_to(home.resolve()):
        yield inside
    if Path(name).name == name:
        yield Path.cwd() / name


# -- Strategy ----------------------------------------------------------------------------------------------------------


def _strategy(recorded: Manifest, origin: Origin, home: Path) -> Strategy:
    """The strategy with the parameters on record.

    Raises:
        ConfigError: Its class cannot be had, or does not take them any more.
    """
    place, _, name = (origin.strategy or "").rpartition(":")
    if not place:
        raise ConfigError(
            "the manifest names no strategy: its class was made inside a function.",
            hint="put the class into a file and do the run again.",
        )
    with _loading:
        kind = getattr(_module(place, home), name, None)
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise ConfigError(
            f"{Path(place).name} has no strategy {name} any more.", hint="put it back, or do the run again."
        )
    parameters: dict[str, Any] = _on_record(recorded, lambda m: dict(m["configuration"]["strategy"]["parameters"]))
    return kind(**parameters)


def _module(place: str, home: Path) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        file = _located(place, "strategy", home)
        name = f"strategy_file_{file.stem}"
        specification = importlib.util.spec_from_file_location(name, file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        # Declared parameters are looked up in the module by name, and a strategy may import its neighbours.
        sys.modules[name] = module
        sys.path.insert(0, str(file.parent))
        try:
            specification.loader.exec_module(module)
        finally:
            sys.path.remove(str(file.parent))
        return module
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the strategy of this run, {Path(place).name}, cannot be loaded: {type(error).__name__}.",
            hint="barwise audit RUN --trade 0 says why.",
        ) from error
