"""The kernel on a graphics card, so that a sweep of a hundred thousand rows may leave the processor alone.

There is no second copy of the law. The functions of `kernel`, `journal` and `rules` are compiled once more, from the
same code objects, by numba-cuda; one thread runs one parameter row. The card proposes, the processor scores again what
is reported: docs/gpu.md says how far the two agree and why.

numba-cuda is an extra (`barwise[cuda]`), so nothing of it is imported before a function here is called.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numba
import numpy as np

from barwise.core.kernel import simulate_rows
from barwise.core.layout import NO_RECORDS, PARAMS, PLAN, STATE, SUMMARY, Market, Records
from barwise.errors import ConfigError

__all__ = ["device_functions", "gpu_available", "gpu_compiler_available", "ptx", "simulate_rows_on_gpu"]

# One warp. Rows take unequally long and a block leaves when its slowest row is done; how many rows are at work at once
# is limited by their registers (docs/gpu.md), so small blocks cost nothing.
_THREADS_PER_BLOCK = 32
_INSTALL = "install barwise[cuda] on a machine with an NVIDIA driver, or run the sweep on the processor."


def gpu_available() -> bool:
    """Whether numba-cuda is installed, with its compiler, and finds a card it can use; never raises."""
    if find_spec("numba_cuda") is None:
        return False
    try:
        return bool(_numba_cuda().is_available())
    except (ImportError, OSError, RuntimeError):  # a driver or a library that does not load
        return False


def gpu_compiler_available() -> bool:
    """Whether machine code for a card can be made here, card or not; never raises."""
    if find_spec("numba_cuda") is None or _simulated():
        return False
    try:
        return bool(_numba_cuda("cudadrv.nvvm").is_available() and _numba_cuda("cudadrv.nvrtc").get_supported_ccs())
    except (ImportError, OSError, RuntimeError):  # the wheels of NVVM and NVRTC are not installed
        return False


def device_functions() -> dict[str, Any]:
    """The functions of the law as numba-cuda device functions, by name: `simulate_rows` and all that it calls.

    Their code objects are those of the compiled functions of the core; only the names they look up lead to the device
    functions instead.
    """
    twins: dict[Any, Any] = {}
    _twin(simulate_rows, twins)
    return {compiled.py_func.__name__: twin for compiled, twin in twins.items()}


def simulate_rows_on_gpu(
    market: Market, lines: Any, plans: Any, event_bars: Any, event_codes: Any, plan_of_row: Any, params: Any, stop: int,
    summaries: Any, states: Any, close: bool,
) -> None:  # fmt: skip
    """Run all rows of a sweep on the card; returns when the summaries are back.

    A card is filled by tens of thousands of rows; fewer leave part of it idle. The first call of a process
    compiles, which takes some seconds.

    Args:
        market, lines, plans, event_bars, event_codes, plan_of_row, params, stop, summaries, states, close: As in
            `kernel.simulate_rows`, which is what every thread runs for its row. `summaries`, and `states` where `close`
            is False, are overwritten.

    Raises:
        ConfigError: No card can be used here.
    """
    if not gpu_available():
        raise ConfigError(
            "no graphics card can be used here: there is no driver, or numba-cuda is missing.", hint=_INSTALL
        )
    to_device = _numba_cuda().to_device

    def copied(array: Any) -> Any:
        return to_device(np.ascontiguousarray(array))

    on_card, left = copied(summaries), copied(states)
    arguments = (
        Market(*map(copied, market)), copied(lines), copied(plans), copied(event_bars), copied(event_codes),
        copied(plan_of_row), copied(params), int(stop), Records(*map(copied, NO_RECORDS)), on_card, left, bool(close),
    )  # fmt: skip
    with _exact_arithmetic():
        _kernel()[-(-len(params) // _THREADS_PER_BLOCK), _THREADS_PER_BLOCK](*arguments)
    summaries[...] = on_card.copy_to_host()
    if not close:
        states[...] = left.copy_to_host()


def ptx(capability: tuple[int, int] = (8, 0)) -> str:
    """The kernel as PTX, the assembly of NVIDIA's cards; needs the compiler, but no card.

    Args:
        capability: Compute capability of the card, for example (8, 0) for an A100.

    Raises:
        ConfigError: The compiler is not installed.
    """
    if not gpu_compiler_available():
        raise ConfigError("the compiler for graphics cards (NVVM and NVRTC) is not installed.", hint=_INSTALL)
    dispatcher = _numba_cuda("dispatcher")
    floats, integers = np.empty(0), np.empty(0, np.int64)
    signature = numba.types.void(*map(numba.typeof, (
        Market(integers, *[floats] * (len(Market._fields) - 1)), np.empty((0, 0)), np.empty(0, PLAN),
        np.empty(0, np.int32), np.empty(0, np.int8), integers, np.empty(0, PARAMS), 0, NO_RECORDS,
        np.empty(0, SUMMARY), np.empty(0, STATE), True,
    )))  # fmt: skip
    with _exact_arithmetic():
        # Functions called by a kernel are compiled for the card at hand, and numba-cuda has no way to name another.
        ask = dispatcher.get_current_device
        dispatcher.get_current_device = partial(SimpleNamespace, compute_capability=capability)
        try:
            text, _ = _numba_cuda().compile_ptx(_rebound(_row_of_thread, {}), signature, cc=capability, device=False)
        finally:
            dispatcher.get_current_device = ask
    return str(text)


cuda: Any = None  # a name for `_row_of_thread`, in whose copies `_rebound` binds it to numba.cuda


def _row_of_thread(
    market: Any, lines: Any, plans: Any, event_bars: Any, event_codes: Any, plan_of_row: Any, params: Any, stop: Any,
    nothing: Any, summaries: Any, states: Any, close: Any,
) -> None:  # fmt: skip
    """What one thread does: the row whose number it has."""
    row = cuda.grid(1)
    if row < params.shape[0]:
        simulate_rows(
            market, lines, plans, event_bars, event_codes, plan_of_row, params, stop, row, row + 1, nothing,
            summaries, states, close,
        )  # fmt: skip


@cache
def _kernel() -> Any:
    """The kernel of this process; compiled at its first launch."""
    return _jit(_rebound(_row_of_thread, {}))


def _numba_cuda(module: str = "") -> Any:
    """numba.cuda or a module of it; it has no types."""
    return import_module(f"numba.cuda.{module}" if module else "numba.cuda")


def _simulated() -> bool:
    """Whether numba-cuda only plays a card (NUMBA_ENABLE_CUDASIM), as the tests let it do where there is none."""
    config: Any = numba.config
    return bool(config.ENABLE_CUDASIM)


def _jit(function: Any, **options: Any) -> Any:
    """Hand a function to numba-cuda, without link-time optimization.

    With it the arithmetic would be made by a linker that `_exact_arithmetic` does not reach. The function stands beside
    the options because numba-cuda forgets this one where `jit` is called as a decorator with arguments.
    """
    if not _simulated():
        options["lto"] = False
    return _numba_cuda().jit(function, **options)


def _twin(value: Any, twins: dict[Any, Any]) -> Any:
    """What a name of the law stands for on the card: functions and NumPy change, constants do not."""
    if value is np:
        return _device_numpy()
    if not hasattr(value, "py_func"):
        return value
    if value not in twins:
        twins[value] = _jit(_rebound(value.py_func, twins), device=True)
    return twins[value]


def _rebound(function: Callable[..., Any], twins: dict[Any, Any]) -> Any:
    """The same code with its global names bound to their twins."""
    assert isinstance(function, FunctionType)
    known = function.__globals__ | {"cuda": _numba_cuda()}
    names = {name: _twin(known[name], twins) for name in function.__code__.co_names if name in known}
    names["__name__"] = function.__module__
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)


@cache
def _device_numpy() -> ModuleType:
    """NumPy with the two functions of the law that numba-cuda does not compile, from the card's own library."""
    if _simulated():
        return np
    library = _numba_cuda().libdevice
    twin = ModuleType("numpy")
    vars(twin).update(vars(np))
    vars(twin).update(floor=library.floor, ceil=library.ceil)
    return twin


@contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """Compile without fused multiply-add, which rounds once where the processor rounds twice.

    numba-cuda has no option for it, the compiler below it has: so it is handed over here, while no one else compiles.
    """
    if _simulated():
        yield
        return
    nvvm = _numba_cuda("cudadrv.nvvm")
    with _numba_cuda("core.compiler_lock").global_compiler_lock, warnings.catch_warnings():
        # A small sweep leaves most of the card idle; whoever asked for it knows.
        warnings.simplefilter("ignore", _numba_cuda("core.errors").NumbaPerformanceWarning)
        plain = nvvm.compile_ir
        nvvm.compile_ir = partial(plain, fma=False)
        try:
            yield
        finally:
            nvvm.compile_ir = plain
