"""Snapshots: what a stage found, as bytes, without what the next run has anyway.

A walk-forward holds hundreds of backtests, each with columns as long as its candles: kept whole, it would fill hundreds
of megabytes to save a second of work. So candles are named and not stored, and a backtest is stored as what it was run
with and a hash of what came out; it is run again when it is read, and has to come out the same to the bit.

Bytes from a file are never trusted with more than values: reading makes objects of our own data classes, of the run's
own strategy and of the few foreign types listed here, and calls nothing else.
"""

import pickle
import zlib
from dataclasses import is_dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from barwise.config import Parameters
from barwise.core.layout import RecordArray
from barwise.data.candles import Candles
from barwise.errors import CheckpointError
from barwise.optimizer.evaluation import replay
from barwise.optimizer.space import Space
from barwise.result import BacktestResult
from barwise.sweeping import Sweeper

_PROTOCOL = 5
# Numbers that a search has drawn hardly shrink further; more effort would only take longer.
_COMPRESSION = 1
_CANDLES, _BACKTEST = "candles", "backtest"
_RUN_AGAIN = "the stage has to be run again."
# Ours that is neither a data class nor an enumeration, and holds nothing but values.
_PLAIN_CLASSES = (Space,)
# What arrays, times and paths are made with when they are read: all that is allowed besides our own classes.
_FOREIGN = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("pathlib", "PosixPath"),
        ("pathlib", "WindowsPath"),
        ("pathlib._local", "PosixPath"),  # Python 3.13
        ("pathlib._local", "WindowsPath"),
        ("collections", "OrderedDict"),
    }
)


def dump(value: Any, sweeper: Sweeper) -> bytes:
    """A stage's output as bytes.

    Args:
        value: Data classes, named tuples, settings, strategies, arrays, times, and lists and mappings of them. Candles
            in it are those of the sweeper or its first bars, and so are those of backtests.
        sweeper: Candles, rules and costs of the run.

    Raises:
        CheckpointError: The value holds something that is not kept: other candles, a function (such as an objective of
            the user's own), an object of a foreign class.
    """
    buffer = BytesIO()
    try:
        _Writer(buffer, sweeper).dump(value)
    except CheckpointError:
        raise
    except Exception as cause:
        raise CheckpointError(
            f"a {type(value).__name__} cannot be kept: {type(cause).__name__}: {cause}.", hint=_RUN_AGAIN
        ) from cause
    return zlib.compress(buffer.getvalue(), _COMPRESSION)


def load(data: bytes, sweeper: Sweeper) -> Any:
    """The output of a stage again; an object that stood in it twice is one object again.

    Args:
        data: From `dump`.
        sweeper: As it was then.

    Raises:
        CheckpointError: The bytes are damaged or foreign, belong to other candles, or a backtest comes out differently.
    """
    try:
        return _Reader(BytesIO(zlib.decompress(data)), sweeper).load()
    except CheckpointError:
        raise
    except Exception as cause:
        # A pickle that is no pickle of ours can fail with anything.
        raise CheckpointError(
            f"the kept bytes are damaged or foreign: {type(cause).__name__}: {cause}.", hint=_RUN_AGAIN
        ) from cause


class _Writer(pickle.Pickler):
    """Names what the run has anyway, and refuses what `_Reader` would."""

    def __init__(self, buffer: BytesIO, sweeper: Sweeper) -> None:
        super().__init__(buffer, protocol=_PROTOCOL)
        self._sweeper = sweeper
        # A name is written out in full only the first time; `_Reader` counts along.
        self._numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Candles):
            return (_CANDLES, *self._named(obj))
        if not isinstance(obj, BacktestResult):
            return None
        number = self._numbers.get(id(obj))
        if number is not None:
            return _BACKTEST, number, None
        number = self._numbers[id(obj)] = len(self._numbers)
        fingerprint, bars = self._named(obj.candles)
        return _BACKTEST, number, (fingerprint, bars, obj.strategy, obj.trade_from, obj.execution, _digest(obj))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, FunctionType, BuiltinFunctionType)):
            if _identity(obj) not in _FOREIGN and obj is not type(self._sweeper.strategy) and not _holds_values(obj):
                raise CheckpointError(
                    f"{'.'.join(_identity(obj))} cannot be kept: a checkpoint holds values, no functions and no "
                    "objects of other classes.",
                    hint=_RUN_AGAIN,
                )
            return NotImplemented
        derived = _derived_names(type(obj))
        if not derived or derived.isdisjoint(vars(obj)):
            return NotImplemented
        # What is worked out from the rest when it is asked for can be worked out again.
        function, arguments, state, *rest = obj.__reduce_ex__(_PROTOCOL)
        return function, arguments, {name: part for name, part in state.items() if name not in derived}, *rest

    def _named(self, candles: Candles) -> tuple[str, int]:
        """Fingerprint of the sweeper's candles, and how many of them these are."""
        own, bars = self._sweeper.candles, len(candles)
        if candles is not own and not (bars <= len(own) and _same(candles, own[:bars])):
            raise CheckpointError(
                f"{candles!r} cannot be kept: these are not the candles of the run, nor its first bars.",
                hint=_RUN_AGAIN,
            )
        return own.fingerprint, bars


class _Reader(pickle.Unpickler):
    """Makes values, and nothing but values."""

    def __init__(self, buffer: BytesIO, sweeper: Sweeper) -> None:
        super().__init__(buffer, fix_imports=False)
        self._sweeper = sweeper
        self._candles = {len(sweeper.candles): sweeper.candles}
        self._backtests: dict[int, BacktestResult] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        wanted = (module_name, global_name)
        own = type(self._sweeper.strategy)
        if wanted == _identity(own):
            return own
        if wanted in _FOREIGN:
            return super().find_class(module_name, global_name)
        if module_name.startswith("barwise.") and not module_name.endswith("__main__"):
            found = super().find_class(module_name, global_name)
            # A dotted name reaches through a module's attributes to whatever that module has imported.
            if _holds_values(found) and _identity(found) == wanted:
                return found
        raise CheckpointError(
            f"the kept bytes are damaged or foreign: they ask for {module_name}.{global_name}.", hint=_RUN_AGAIN
        )

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == _CANDLES:
            return self._named(*rest)
        if kind != _BACKTEST:
            raise CheckpointError(f"the kept bytes are damaged or foreign: {kind!r} names nothing.", hint=_RUN_AGAIN)
        number, made_of = rest
        if made_of is not None:
            self._backtests[number] = self._run_again(*made_of)
        return self._backtests[number]

    def _named(self, fingerprint: str, bars: int) -> Candles:
        own = self._sweeper.candles
        if fingerprint != own.fingerprint:
            raise CheckpointError(
                f"the kept bytes belong to other candles: {fingerprint}, and not {own.fingerprint}.", hint=_RUN_AGAIN
            )
        if bars not in self._candles:
            self._candles[bars] = own[:bars]
        return self._candles[bars]

    def _run_again(
        self, fingerprint: str, bars: int, strategy: Any, trade_from: int, execution: Any, digest: str
    ) -> BacktestResult:
        candles = self._named(fingerprint, bars)
        result = replay(self._sweeper, strategy, trade_from, len(candles), execution)
        if _digest(result) != digest:
            raise CheckpointError(
                f"a kept backtest of {strategy!r} comes out differently now: something that belongs to it has changed.",
                hint=_RUN_AGAIN,
            )
        return result


def _digest(result: BacktestResult) -> str:
    """SHA-256 of all numbers of a backtest."""
    records = result.records
    digest = sha256()
    for table in (result.summary, result.band_summaries, records.programs, records.fills, records.trades):
        _add_fields(digest, table)
    for line in (records.equity, records.low_mark):
        digest.update(line.tobytes())
    return digest.hexdigest()


def _add_fields(digest: Any, table: RecordArray) -> None:
    """Field by field: the bytes between the fields of a record are nobody's."""
    digest.update(str(table.size).encode())
    for name in table.dtype.names or ():
        digest.update(table[name].tobytes())


def _same(one: Candles, other: Candles) -> bool:
    """Whether two candles are the same market and bars; much quicker than their fingerprints."""
    if (one.exchange, one.symbol, one.timeframe, one.synthetic) != (
        other.exchange, other.symbol, other.timeframe, other.synthetic
    ):  # fmt: skip
        return False
    if not all(np.array_equal(*pair, equal_nan=True) for pair in zip(one.bars, other.bars, strict=True)):
        return False
    mine, theirs = one.quote_volume, other.quote_volume
    if mine is None or theirs is None:
        return mine is theirs
    return np.array_equal(mine, theirs, equal_nan=True)


def _holds_values(found: Any) -> bool:
    """Whether something is a class of this package that holds values and does nothing when it is made."""
    if not isinstance(found, type) or not found.__module__.startswith("barwise."):
        return False
    is_named_tuple = issubclass(found, tuple) and hasattr(found, "_fields")
    return is_dataclass(found) or is_named_tuple or issubclass(found, (Enum, Parameters)) or found in _PLAIN_CLASSES


def _identity(found: Any) -> tuple[str, str]:
    return str(found.__module__), found.__qualname__


def _derived_names(kind: type) -> frozenset[str]:
    """Names of a class's cached properties."""
    return frozenset(
        name for base in kind.__mro__ for name, member in vars(base).items() if isinstance(member, cached_property)
    )
