"""The one place where the compiler is configured: how the core becomes machine code, and how long that lasts.

Compiled code is stored on disk and reused by later processes. Numba renews a stored function when the file it stands
in has changed, but not when a function it calls has changed in another file: the kernel would go on with the old
arithmetic after an upgrade. So the stamp of every stored function here covers all sources of the core.

Ctrl-C waits for the function that is being compiled: an exception inside LLVM's callbacks is swallowed there and leaves
a library without code, which fails much later with an error about something else.

Fast-math stays off and nothing depends on the number of threads: the same input gives the same bits on the same
machine.
"""

import hashlib
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numba

__all__ = ["Compiled", "compiled_cache_is_cold", "core_stamp", "njit"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Compiled(Protocol[P, R_co]):
    """A compiled function: called like the Python function it was made from, which is `py_func`."""

    @property
    def py_func(self) -> Callable[P, R_co]: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def njit(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile a function at its first call, and store the machine code for later processes."""
    return cast("Compiled[P, R]", _compile(function))


def _compile(function: Callable[..., Any]) -> Any:
    # error_model "numpy": a division by zero is inf or NaN, as in the arrays around it, and costs no branch.
    options: dict[str, Any] = {
        "error_model": "numpy",
        "nogil": True,
        "fastmath": False,
    }
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder of this machine can be written to: compile in every process rather than refuse
        dispatcher = numba.njit(**options)(function)
    if dispatcher is function:  # the compiler is switched off
        return function
    # Numba looks it up on the object at each call with new types.
    dispatcher._compile_for_args = _uninterrupted(dispatcher._compile_for_args)
    stored = _stored_code(dispatcher)
    if stored is not None:
        stored._source_stamp = (stored._source_stamp, core_stamp())
    return dispatcher


def _uninterrupted(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with a Ctrl-C that comes meanwhile heard at the end."""

    def compiled(*arguments: Any, **named: Any) -> Any:
        heard: list[Any] = []
        try:
            handler = signal.signal(signal.SIGINT, lambda *arrived: heard.append(arrived))
        except ValueError:  # in a thread; signals are for the main thread
            return compile_(*arguments, **named)
        try:
            return compile_(*arguments, **named)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
            if heard and callable(handler):
                handler(*heard[0])

    return compiled


def compiled_cache_is_cold(*functions: Compiled[..., Any]) -> bool:
    """True where a first call of one of these functions will compile it, which takes seconds, once per machine.

    A function counts as warm when this process has run it or when machine code for today's sources is stored, for any
    argument types. Functions that are never stored (a machine without a writable folder) are cold in every process.
    """
    return any(_is_cold(function) for function in functions)


def _is_cold(function: Any) -> bool:
    if getattr(function, "signatures", None) != []:  # compiled in this process, or a plain function: JIT switched off
        return False
    stored = _stored_code(function)
    return stored is None or not any(Path(stored._data_path(name)).exists() for name in stored._load_index().values())


def _stored_code(function: Any) -> Any:
    """Numba's index of the stored machine code of one function (private to Numba), or None where there is none."""
    return getattr(getattr(function, "_cache", None), "_cache_file", None)


@cache
def core_stamp() -> str:
    """Hash of all sources of the core."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
