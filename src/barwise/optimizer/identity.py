"""What makes one evaluation the same as another: configuration, candles, rules, costs, and the code that was run.

The ledger answers from its record only where nothing that could change a result has changed; so everything that could
is named here, and whoever evaluates, be it a search or a person by hand, is put on record by the same names.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core._jit import core_stamp
from barwise.core.layout import FloatArray
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.optimizer.ledger import Context, DataSet
from barwise.optimizer.space import Space
from barwise.strategy.base import Strategy


def context_of(
    candles: Candles, strategy: Strategy, execution: ExecutionConfig, fees: FeeSchedule, quantity: float,
    detail: Candles | None, funding: Any, trade_from: int | None, on_gpu: bool = False,
    span: tuple[int, int] | None = None,
) -> Context:  # fmt: skip
    """Everything besides the parameters that could change a result.

    Args:
        quantity: Of every order, as asked for.
        funding: Settlements as given, or None.
        trade_from: As given; None where the strategy's own warm-up decides.
        on_gpu: A graphics card's last digits are not those of the processor, so they are not answered for each other.
        span: (first, stop) of the part that was searched; it is a data set of its own, and the bars before it are
            part of what the result rests on.
        candles, strategy, execution, fees, detail: As in `backtest`.
    """
    kind = type(strategy)
    others = {name: value for name, value in strategy.to_dict().items() if as_number(getattr(strategy, name)) is None}
    description = {
        "source": source_digest(kind),
        "core": core_stamp(),
        "device": "gpu" if on_gpu else "cpu",
        "settings": others,
        "execution": execution.to_dict(),
        "fees": fees.to_dict(),
        "quantity": float(quantity),
        "trade_from": trade_from,
        "detail": None if detail is None else detail.fingerprint,
        "funding": None if funding is None else _digest(repr(funding)),
    }
    if span is not None:
        first, stop = span
        description |= {"trade_from": first, "warm_up": candles[:first].fingerprint if first else None}
        candles = candles[first:stop]
    return Context(DataSet.of(candles), f"{kind.__module__}.{kind.__qualname__}", description)


class ParameterValues:
    """Configurations as rows of numbers: the same configuration is the same row, whatever was searched to find it.

    Args:
        strategy: The sweeper's own; every space that is asked about must be of its class.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._names = tuple(type(strategy).model_fields)
        self._home = strategy
        self._numeric = tuple(name for name in self._names if as_number(getattr(strategy, name)) is not None)

    def columns(self, space: Space, points: FloatArray) -> dict[str, Any]:
        """What `Sweeper.start` needs: what is searched, and whatever else differs from the sweeper's own strategy."""
        columns = space.columns(points)
        for name in self._numeric:
            value = getattr(space.strategy, name)
            if name not in columns and value != getattr(self._home, name):
                columns[name] = np.full(len(points), value)
        return columns or {self._numeric[0]: np.full(len(points), getattr(space.strategy, self._numeric[0]))}

    def matrix(self, space: Space, points: FloatArray) -> FloatArray:
        """float64 [points, parameters], in the order of declaration, NaN for None."""
        return self.matrix_of(space.strategy, space.columns(points), len(points))

    def matrix_of(self, strategy: Strategy, columns: Mapping[str, Any], rows: int) -> FloatArray:
        """float64 [rows, parameters] of columns that vary around a strategy."""
        values = np.empty((rows, len(self._numeric)))
        for at, name in enumerate(self._numeric):
            values[:, at] = columns[name] if name in columns else as_number(getattr(strategy, name))
        return values

    def texts(self, space: Space, points: FloatArray) -> list[str]:
        """Each configuration as a JSON object."""
        return self.texts_of(space.strategy, space.columns(points), len(points))

    def texts_of(self, strategy: Strategy, columns: Mapping[str, Any], rows: int) -> list[str]:
        """Each row of columns that vary around a strategy as a JSON object."""
        constant = {name: value for name, value in strategy.to_dict().items() if name not in columns}
        head = json.dumps(constant)[:-1]
        # JSON writes numbers as Python does, but not truth values.
        truths = {
            name: np.where(column, "true", "false") for name, column in columns.items() if column.dtype == np.bool_
        }
        lists = [column.tolist() for column in {**columns, **truths}.values()]
        tail = ", ".join(f"{json.dumps(name)}: {'%s' if name in truths else '%r'}" for name in columns)
        return [f"{head}, {tail % values}}}" for values in zip(*lists, strict=True)] if lists else [head + "}"] * rows


def as_number(value: Any) -> float | None:
    """A parameter as a number, NaN for None; None where it is no number."""
    if value is None:
        return float("nan")
    return float(value) if isinstance(value, (bool, int, float)) else None


def source_digest(kind: type) -> str:
    """Hash of what a strategy does: the files its own classes are written in, and the code of their methods.

    The code is there for classes without a file (typed into a notebook, made by a function): with it go the constants
    and the functions of the same module that it uses, and the values a function around it gave it. What is imported
    from other modules is not followed.
    """
    parts: list[str] = []
    for own in kind.__mro__:
        if own not in Strategy.__mro__:
            parts.append(_source_text(own))
            for name, member in sorted(vars(own).items()):
                parts.append(name)
                parts.extend(_what_it_does(member, own.__module__, set()))
    return _digest("\n".join(parts))


def function_digest(function: Callable[..., Any]) -> str | None:
    """Hash of what a user's function does, so that its answers can be given again; None where that cannot be told.

    It is made of the file the function stands in, its code, its defaults, and the value of everything its code names:
    of the same module's functions in the same way, of what comes from other modules the text of theirs. What those use
    in turn is not followed. A function that uses an object of another kind, or is no plain function, cannot be told.
    """
    if not isinstance(function, FunctionType):
        return None
    try:
        return _digest("\n".join([function.__qualname__, *_spelled(function, function.__module__, set())]))
    except (_CannotBeToldError, RecursionError):  # a list that holds itself has no end
        return None


class _CannotBeToldError(Exception):
    """A function uses something that has no text."""


def _spelled(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """A value that a function uses, as texts that are the same in every process and others where it has changed."""
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None), type(...), np.generic)):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, (tuple, list)):
        yield f"{type(value).__name__} {len(value)}"
        for item in value:
            yield from _spelled(item, module, seen)
    elif isinstance(value, (set, frozenset, dict)):
        items = value.items() if isinstance(value, dict) else value
        yield f"{type(value).__name__} {len(value)}"
        yield from sorted("\n".join(_spelled(item, module, seen)) for item in items)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield f"{value.dtype} {value.shape} {value.tolist()}"
    elif isinstance(value, CodeType):
        yield value.co_code.hex()
        yield " ".join((*value.co_names, *value.co_freevars))
        yield from _spelled(value.co_consts, module, seen)
    elif isinstance(value, FunctionType) and value.__module__ == module:
        yield from _spelled_function(value, module, seen)
    elif isinstance(value, ModuleType):
        yield _module_text(value.__name__)
    elif isinstance(value, (type, FunctionType, BuiltinFunctionType, np.ufunc)):
        home = getattr(value, "__module__", None) or "numpy"
        if home == module and not _source_text(value):
            raise _CannotBeToldError
        yield f"{home} {getattr(value, '__qualname__', value.__name__)}"
        yield _module_text(home)
    else:
        raise _CannotBeToldError


def _spelled_function(function: FunctionType, module: str, seen: set[int]) -> Iterator[str]:
    """A function's file, code and defaults, and what it uses of the functions around it and of its module."""
    if id(function) in seen:
        return
    seen.add(id(function))
    yield _source_text(function)
    yield from _spelled((function.__code__, function.__defaults__, function.__kwdefaults__), module, seen)
    around = {} if function.__closure__ is None else inspect.getclosurevars(function).nonlocals
    used = _names(function.__code__) & function.__globals__.keys()
    for name, value in sorted({**around, **{name: function.__globals__[name] for name in used}}.items()):
        yield name
        yield from _spelled(value, module, seen)


def _names(code: CodeType) -> set[str]:
    """All names that a code may look up in its module, those of the functions inside of it too."""
    inside = (_names(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inside)


def _module_text(name: str) -> str:
    """The file of a module that was imported; its name where it has none that is text."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return Path(file).read_text(encoding="utf-8") if file.endswith(".py") and Path(file).is_file() else name


def _source_text(kind: Any) -> str:
    try:
        file = inspect.getsourcefile(kind)
        if file is not None and Path(file).is_file():
            return Path(file).read_text(encoding="utf-8")
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _what_it_does(member: Any, module: str, seen: set[int]) -> Iterator[str]:
    """A value as texts that are the same in every process: plain values, and functions by their code."""
    for wrapper in ("__func__", "fget", "wrapped"):
        member = getattr(member, wrapper, member)
    if isinstance(member, (bool, int, float, str, bytes, type(None))):
        yield repr(member)
    elif isinstance(member, (tuple, frozenset)):
        # A set has another order in every process.
        texts = ["\n".join(_what_it_does(item, module, seen)) for item in member]
        yield from texts if isinstance(member, tuple) else sorted(texts)
    elif isinstance(member, np.ndarray) and member.dtype.kind in "biuf":
        yield f"{member.dtype} {member.shape} {member.tolist()}"
    elif isinstance(member, CodeType):
        yield member.co_code.hex()
        yield from member.co_names
        yield from _what_it_does(member.co_consts, module, seen)
    elif isinstance(member, FunctionType) and member.__module__ == module and id(member) not in seen:
        seen.add(id(member))
        yield from _what_it_does(member.__code__, module, seen)
        inside = inspect.getclosurevars(member)
        for name, value in sorted({**inside.globals, **inside.nonlocals}.items()):
            yield name
            yield from _what_it_does(value, module, seen)
        yield from _what_it_does(member.__defaults__, module, seen)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
