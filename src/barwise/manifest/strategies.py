"""What a user wrote, by its file or module: a strategy as `breakout.py:Breakout`, an objective as `goals.py:calm`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from barwise.backends.user_modules import load_file, load_named
from barwise.errors import ConfigError, did_you_mean
from barwise.manifest.record import portable
from barwise.strategy.base import Strategy


def strategy_reference(kind: type[Strategy], home: Path) -> str | None:
    """What `--strategy` takes for a class: a file or a module; None for a class made inside a function."""
    if "<" in kind.__qualname__ or "." in kind.__qualname__:
        return None
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None:
        return None
    stem = Path(file).stem
    # A file that was run or loaded by its path bears another name as a module.
    by_name = stem == "__init__" or kind.__module__.rpartition(".")[2] == stem
    return f"{kind.__module__ if by_name else portable(Path(file), home)}:{kind.__name__}"


def load_strategy(reference: str) -> type[Strategy]:
    """The class that `file.py:Class` or `package.module:Class` names; the class may be left out where there is one.

    Raises:
        ConfigError: There is no such file, module or class, it is no strategy, or the file cannot be run.
    """
    place, _, class_name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    module = _module(place, "strategy", "--strategy path/to/file.py:CLASS")
    # Its own classes, not those it imports to build on.
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }
    if not class_name and len(found) == 1:
        return next(iter(found.values()))
    chosen = getattr(module, class_name, None) if class_name else None
    if isinstance(chosen, type) and issubclass(chosen, Strategy):
        return chosen
    has = f"it has {', '.join(found)}" if found else "it has no class that derives from barwise.Strategy"
    if not class_name:
        raise ConfigError(f"{place}: which strategy? {has}.", hint=f"name the class: --strategy {place}:CLASS.")
    if chosen is not None:
        raise ConfigError(
            f"{class_name} of {place} is not a strategy.",
            hint="write class NAME(barwise.Strategy) with a plan(self, bars).",
        )
    raise ConfigError(f"{place} has no class {class_name}.{did_you_mean(class_name, found)}", hint=f"{has}.")


def load_function(reference: str) -> Callable[..., Any]:
    """The function of a result that `file.py:function` or `package.module:function` names.

    Raises:
        ConfigError: There is no such file, module or function, it cannot be called, or the file cannot be run.
    """
    place, _, name = reference.rpartition(":")
    # A module for each: one that is run again would not be the one that the first function is found in by a worker.
    module = _module(place, f"objective_{name}", "--objective path/to/file.py:FUNCTION")
    functions: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and not isinstance(value, type) and value.__module__ == module.__name__
    }
    if name in functions:
        return functions[name]
    has = f"it has {', '.join(functions)}" if functions else "it has none of its own"
    if not name:
        raise ConfigError(f"{place}: which function? {has}.", hint=f"name it: --objective {place}:FUNCTION.")
    if hasattr(module, name):
        raise ConfigError(
            f"{name} of {place} is not a function of it.",
            hint="def NAME(result) gets a BacktestResult; it gives a number.",
        )
    raise ConfigError(f"{place} has no function {name}.{did_you_mean(name, functions)}", hint=f"{has}.")


def _module(place: str, purpose: str, example: str) -> ModuleType:
    return _module_of_file(Path(place), purpose) if place.endswith(".py") else _module_by_name(place, example)


def _module_of_file(path: Path, purpose: str) -> ModuleType:
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {path}.{did_you_mean(path.name, near)}", hint="check the path.")
    try:
        return load_file(path, f"{purpose}_file_{path.stem}")
    except (Exception, SystemExit) as error:
        raise _cannot_be_run(str(path), error) from error


def _module_by_name(name: str, example: str) -> ModuleType:
    try:
        return load_named(name, Path.cwd())
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"there is no module {name}.", hint=f"give a file: {example}.") from error
        raise _cannot_be_run(name, error) from error


def _cannot_be_run(place: str, error: BaseException) -> ConfigError:
    reason = next(iter(str(error).splitlines()), "")
    return ConfigError(
        f"{place} cannot be imported: {type(error).__name__}: {reason}".rstrip(": ") + ".",
        hint="the log has the traceback; python FILE shows it as well.",
    )
