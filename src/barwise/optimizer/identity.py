"""What makes one evaluation the same as another: configuration, candles, rules, costs, and the code that was run.

The ledger answers from its record only where nothing that could change a result has changed; so everything that could
is named here, and whoever evaluates, be it a search or a person by hand, is put on record by the same names.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core._jit import core_stamp
from barwise.core.layout import FloatArray
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.optimizer.ledger import RECORDED_METRICS, Context, DataSet, Ledger, Origin, Rows, configuration_keys
from barwise.optimizer.space import Space
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy

_MANUAL = "manual"


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


def record_run(
    ledger: Ledger,
    result: BacktestResult,
    quantity: float,
    *,
    detail: Candles | None = None,
    funding: Any = None,
    run: str | None = None,
) -> None:
    """Put a backtest that somebody ran by hand on record: a look at the data is a trial, whoever takes it.

    Args:
        quantity: Of every order, as asked for.
        detail, funding: As they were given to the backtest; one with a `trade_from` of its own is not for here.
        run: Id of a run that may be gone on with, which is recorded once; by default a new one.
    """
    if run is not None and (ledger.frame(DataSet.of(result.candles), run)["stage"] == _MANUAL).any():
        return
    strategy, values = result.strategy, ParameterValues(result.strategy)
    context = context_of(
        result.candles, strategy, result.execution, result.fees_schedule, quantity, detail, funding, None
    )
    space = Space(strategy, "joint", width=0.0, fixed=tuple(type(strategy).model_fields))
    nothing_searched = np.empty((1, 0))
    rows = Rows(
        configuration_keys(values.matrix(space, nothing_searched)),
        values.texts(space, nothing_searched),
        np.array([result.trade_from], np.int64),
        np.array([len(result.candles)], np.int64),
        result.summary,
        {name: np.array([getattr(result, name)]) for name in RECORDED_METRICS},
        np.array([result.sharpe_ratio]),
    )
    run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{_MANUAL}"
    ledger.record(context, Origin(run, _MANUAL, "none", None, "sharpe_ratio"), rows)


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
        columns = space.columns(points)
        values = np.empty((len(points), len(self._numeric)))
        for at, name in enumerate(self._numeric):
            values[:, at] = columns[name] if name in columns else as_number(getattr(space.strategy, name))
        return values

    def texts(self, space: Space, points: FloatArray) -> list[str]:
        """Each configuration as a JSON object."""
        columns = space.columns(points)
        constant = {name: value for name, value in space.strategy.to_dict().items() if name not in columns}
        head = json.dumps(constant)[:-1]
        lists = [column.tolist() for column in columns.values()]
        names = [json.dumps(name) for name in columns]
        tail = ", ".join(f"{name}: %r" for name in names)
        return (
            [f"{head}, {tail % values}}}" for values in zip(*lists, strict=True)]
            if lists
            else [head + "}"] * len(points)
        )


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


def _source_text(kind: type) -> str:
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
