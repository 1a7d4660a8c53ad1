"""Modules of the user's own: a worker finds by itself only what this program finds by name.

A strategy of a file, or of a module in the working directory, was loaded from a place that no other process looks at.
So its place and a hash of its text travel with the work, and a worker that meets its name loads it from there: the same
text or none, because two halves of one result must not come from two versions of a strategy.
"""

import hashlib
import importlib
import importlib.util
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import PathFinder, SourceFileLoader
from io import BytesIO
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from barwise.errors import ConfigError


@dataclass(frozen=True)
class UserModule:
    """Where a module stands, and what it was when it was loaded.

    Attributes:
        name: By which this program knows it.
        file: Absolute path.
        folder: Where it finds what it imports itself.
        digest: SHA-256 of the file.
        by_path: The name was made up for the file; nothing finds it by that name.
    """

    name: str
    file: str
    folder: str
    digest: str
    by_path: bool


# What this process has loaded, and what the process that hands out the work has.
_loaded: dict[str, UserModule] = {}
_expected: dict[str, UserModule] = {}


def load_file(path: Path, name: str) -> ModuleType:
    """Run a file as the module of a name that is made up for it; what had that name before is forgotten.

    Raises:
        OSError: The file cannot be read.
        BaseException: Whatever the file raises.
    """
    file, folder = path.absolute(), str(path.absolute().parent)
    text = file.read_bytes()
    for neighbour in _neighbours_in(folder, _loaded):
        if _digest_now(neighbour) != neighbour.digest:
            del _loaded[neighbour.name]
            sys.modules.pop(neighbour.name, None)
    specification = importlib.util.spec_from_file_location(name, file, loader=_TextLoader(name, file, text))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Declared parameters are looked up in the module by name, and a strategy may import its neighbours.
    sys.modules[name] = module
    try:
        with _looked_up_in(folder):
            specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _loaded[name] = UserModule(name, str(file), folder, _digest(text), by_path=True)
    return module


def load_named(name: str, folder: Path) -> ModuleType:
    """Import a module that stands in a folder, or anywhere this program finds it.

    Raises:
        BaseException: Whatever importing it raises.
    """
    with _looked_up_in(str(folder.absolute())):
        return importlib.import_module(name)


def user_modules() -> dict[str, UserModule]:
    """All such modules by name, for `expect_modules` in a worker."""
    return _expected | _loaded


def expect_modules(modules: Mapping[str, UserModule]) -> None:
    """Let `unpickled` load these modules where it meets their names."""
    _expected.update(modules)


def unpickled(content: bytes, buffers: Iterable[Any] = ()) -> Any:
    """What was pickled by a process whose modules are expected.

    Raises:
        ConfigError: A module cannot be read here, or its file has changed.
        Exception: Whatever unpickling raises.
    """
    return _Unpickler(BytesIO(content), buffers=buffers).load()


class _TextLoader(SourceFileLoader):
    """Runs a text that was read already: one that is read twice, or taken from a cache, may be another."""

    def __init__(self, name: str, file: Path, text: bytes) -> None:
        super().__init__(name, str(file))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self._text, self.path)
        return code


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        wanted = _expected.get(module_name)
        if wanted is not None and _loaded.get(module_name) != wanted:
            _load_again(wanted)
        return super().find_class(module_name, global_name)


def _load_again(wanted: UserModule) -> None:
    """Load what another process has loaded."""
    for module in (wanted, *_neighbours_in(wanted.folder, _expected)):
        now = _digest_now(module)
        if now != module.digest:
            raise ConfigError(
                f"{module.file} has changed since it was loaded." if now else f"a worker cannot read {module.file}.",
                hint="every worker needs the file that was there when the work began; start again to use a new one.",
            )
    if wanted.by_path:
        load_file(Path(wanted.file), wanted.name)
    else:
        load_named(wanted.name, Path(wanted.folder))
    if _loaded.setdefault(wanted.name, wanted) != wanted:
        raise ConfigError(f"{wanted.file} has changed while it was loaded.", hint="start again.")


@contextmanager
def _looked_up_in(folder: str) -> Iterator[None]:
    """Imports find modules of this folder first; those that are found nowhere else are remembered."""
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder) and _is_hidden(name):
                _loaded[name] = UserModule(name, file, folder, _digest(Path(file).read_bytes()), by_path=False)


def _neighbours_in(folder: str, modules: Mapping[str, UserModule]) -> list[UserModule]:
    return [module for module in modules.values() if module.folder == folder and not module.by_path]


def _digest_now(module: UserModule) -> str:
    """Hash of its file; "" where there is none that can be read."""
    try:
        return _digest(Path(module.file).read_bytes())
    except OSError:
        return ""


def _is_hidden(name: str) -> bool:
    return PathFinder.find_spec(name.partition(".")[0]) is None


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
