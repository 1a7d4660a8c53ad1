"""A user's own strategy class, by file or module name: `--strategy breakout.py:Breakout`."""

from pathlib import Path
from types import ModuleType

from barwise.backends.user_modules import load_file, load_named
from barwise.errors import ConfigError, did_you_mean
from barwise.strategy.base import Strategy


def load_strategy(reference: str) -> type[Strategy]:
    """The class that `file.py:Class` or `package.module:Class` names; the class may be left out where there is one.

    Raises:
        ConfigError: There is no such file, module or class, it is no strategy, or the file cannot be run.
    """
    place, _, class_name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module_by_name(place)
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


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {path}.{did_you_mean(path.name, near)}", hint="check the path.")
    try:
        return load_file(path, f"strategy_file_{path.stem}")
    except (Exception, SystemExit) as error:
        raise _cannot_be_run(str(path), error) from error


def _module_by_name(name: str) -> ModuleType:
    try:
        return load_named(name, Path.cwd())
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"there is no module {name}.", hint="give a file: --strategy path/to/file.py:CLASS."
            ) from error
        raise _cannot_be_run(name, error) from error


def _cannot_be_run(place: str, error: BaseException) -> ConfigError:
    reason = next(iter(str(error).splitlines()), "")
    return ConfigError(
        f"{place} cannot be imported: {type(error).__name__}: {reason}".rstrip(": ") + ".",
        hint="the log has the traceback; python FILE shows it as well.",
    )
