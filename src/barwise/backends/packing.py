"""How work travels to another process and its answer comes back, the same way for processes and for Ray.

Everything is packed by us and not by the pool: a pool that meets something it cannot unpickle loses the worker or
wraps the error in one of its own. Packed, every failure is an answer like any other.
"""

import pickle
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from barwise.backends.user_modules import UserModule, expect_modules, unpickled, user_modules
from barwise.errors import BacktestError, BarwiseError, ConfigError

Dumps = Callable[[Any], bytes]

# Values a worker keeps unpacked; the oldest goes first. A sweep needs one, a portfolio a few at a time.
_KEPT = 4
_values: OrderedDict[str, Any] = OrderedDict()


def dumps(content: Any) -> bytes:
    """Pickled with the protocol that every supported Python has."""
    return pickle.dumps(content, protocol=5)


def packed(content: Any, what: str, pickled: Dumps = dumps) -> bytes:
    """Pickled content.

    Raises:
        ConfigError: It cannot be pickled; `what` says what it is.
    """
    try:
        return pickled(content)
    except Exception as error:  # a class's own pickling may raise anything
        raise ConfigError(f"{what} cannot be sent to another process: {error}.", hint=_PICKLE_HINT) from error


def packed_function(function: Callable[..., Any], pickled: Dumps = dumps) -> bytes:
    """A function that workers will find, and where they find the modules of the user's own.

    Raises:
        ConfigError: It is a lambda, a nested function or something else that has no address in a module.
    """
    name = getattr(function, "__qualname__", repr(function))
    found = packed(function, f"the function {name}")
    if pickled is not dumps:
        found = packed(function, f"the function {name}", pickled)
    return dumps((user_modules(), found))


def packed_value(value: Any, pickled: Callable[..., bytes]) -> tuple[bytes, list[memoryview]]:
    """A value as a short pickle and the memory of its arrays, not copied.

    Raises:
        ConfigError: It cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []

    def with_buffers(content: Any) -> bytes:
        return pickled(content, protocol=5, buffer_callback=buffers.append)

    stream = packed(value, f"the shared {type(value).__name__}", with_buffers)
    return stream, [buffer.raw() for buffer in buffers]


def unpacked_value(key: str, load: Callable[[], tuple[Any, Sequence[Any]]]) -> Any:
    """The shared value of this worker, unpickled the first time it is asked for.

    Args:
        key: Names the value among all of all backends.
        load: Fetches its pickle and the memory of its arrays.
    """
    if key in _values:
        _values.move_to_end(key)
    else:
        stream, buffers = load()
        while len(_values) >= _KEPT:
            _values.popitem(last=False)
        _values[key] = unpickled(stream, buffers)
    return _values[key]


def answered(function: bytes, value: Callable[[], Any], task: bytes, pickled: Dumps = dumps) -> bytes:
    """Run a packed task in a worker and pack what comes of it, an error too."""
    try:
        try:
            modules, called = _function(function)
            expect_modules(modules)
            argument, content = unpickled(task), value()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"a worker cannot unpack its work: {type(error).__name__}: {error}.",
                hint="functions and classes must stand in modules that every worker can import.",
            ) from error
        answer = called(content, argument)
        return packed((True, answer), f"the {type(answer).__name__} that the function returned", pickled)
    except BaseException as error:  # noqa: BLE001 - also SystemExit, which in a thread is an error like others
        return _packed_error(error, pickled)


def opened(answer: bytes) -> Any:
    """The result in a packed answer.

    Raises:
        BaseException: What the function has raised, with the worker's traceback as a note.
    """
    good, content, *trace = unpickled(answer)
    if good:
        return content
    content.add_note(f"in the worker:\n{''.join(trace)}")
    raise content


def _packed_error(error: BaseException, pickled: Dumps) -> bytes:
    trace = "".join(traceback.format_exception(error))
    try:
        found = pickled((False, error, trace))
        unpickled(found)
    except Exception:  # noqa: BLE001 - an exception's own pickling may raise anything
        hint = str(error.hint) if isinstance(error, BarwiseError) else ""
        lost = BacktestError(f"a worker raised {type(error).__name__}: {error}", hint=hint)
        return pickled((False, lost, trace))
    return found


# The same few bytes come with every task of a map.
@lru_cache(maxsize=16)
def _function(content: bytes) -> tuple[dict[str, UserModule], Callable[..., Any]]:
    modules, function = unpickled(content)
    expect_modules(modules)
    return modules, unpickled(function)


_PICKLE_HINT = 'define functions and classes at the top level of a module, or use the "threads" backend.'
