"""`barwise doctor`: whether this computer can do the work, and what to do where it cannot.

It looks and changes nothing: no file is made, not even a line in the log. What is not well but can be worked with is a
warning, and only what stops the work is a failure.
"""

import json as json_text
import logging
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

import barwise
from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of, shown_path

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from barwise.hardware import Hardware

_EXIT_NOT_WELL = 1
_OLDEST_PYTHON = (3, 11)
_LEAST_MEMORY, _LEAST_SPACE = 2 * 2**30, 2**30
_EARLIEST_CLOCK_S = 1_763_769_600  # 2025-11-22: this program did not exist before
# A ledger of gigabytes takes longer to check than anybody waits; what was read until then was well.
_LONGEST_CHECK_S = 0.5
_INSTRUCTIONS_A_LOOK = 10_000
# Extras that are for the work on this package and not for its use.
_FOR_DEVELOPERS = ("test",)

State = Literal["ok", "warn", "FAIL"]


class Finding(NamedTuple):
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    state: State
    text: str


def doctor(
    online: Annotated[bool, typer.Option("--online", help="Ask every venue as well.")] = False,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Look at this computer: Python, cores, memory, files, libraries, ledger, keys; with --online the venues too.

    Each line that is not well says what to do. The exit code is 1 where one of them is FAIL; a warning changes nothing.
    """
    session = Session.begin(home, json, quiet)
    settings_of("doctor", settings, {})
    found: list[Finding] = []
    for finding in _all_of(session.home, online=online):
        found.append(finding)
        session.say(f"{finding.state:<4}  {finding.name:<14}{finding.text}")
    well = all(finding.state != "FAIL" for finding in found)
    checks = [
        {"name": name, "ok": state != "FAIL", "warning": state == "warn", "message": text}
        for name, state, text in found
    ]
    session.document({"ok": well, "checks": checks})
    return 0 if well else _EXIT_NOT_WELL


def _all_of(home: Path, *, online: bool) -> Iterator[Finding]:
    from barwise.hardware import look_at_hardware

    hardware = look_at_hardware()
    yield from _computer(hardware)
    yield from _folders(home)
    yield from _libraries()
    yield from _compiler()
    yield from _ledger(home / "data" / "ledger.sqlite")
    yield from _profile(home, hardware)
    yield from _runs(home / "data" / "checkpoints")
    yield from _keys(home)
    if online:
        yield from _venues()


# -- The computer ------------------------------------------------------------------------------------------------------


def _computer(hardware: "Hardware") -> Iterator[Finding]:
    recent = sys.version_info >= _OLDEST_PYTHON
    yield Finding(
        "Python",
        "ok" if recent else "FAIL",
        platform.python_version() + ("" if recent else "; install Python 3.11 or newer"),
    )
    yield _cores(hardware)
    yield _memory(hardware.memory_total)
    card = hardware.card
    none = f"none: {hardware.no_card}; the processor does all the work"
    yield Finding("GPU", "ok", none if card is None else f"{card.name}, {card.memory / 2**30:.1f} GiB")
    sane = time.time() >= _EARLIEST_CLOCK_S
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    yield Finding("clock", "ok" if sane else "FAIL", now + ("" if sane else "; it is wrong: set it (NTP)"))


def _cores(hardware: "Hardware") -> Finding:
    from barwise.hardware import processor_quota

    quota = processor_quota(Path("/"))
    text = f"{hardware.cores_usable} of {hardware.cores_total}, {hardware.processor}"
    if quota is None:
        return Finding("cores", "ok", text)
    text += f"; the container may use {quota:g} of them"
    if quota >= 1.0:
        return Finding("cores", "ok", text)
    return Finding("cores", "warn", f"{text}, so everything waits most of the time; give it a whole one")


def _memory(total: int | None) -> Finding:
    from barwise.hardware import memory_of

    if total is None:
        return Finding("memory", "ok", "not known on this system")
    available = memory_of(Path("/"))[1]
    text = f"{total / 2**30:.1f} GiB" + ("" if available is None else f", {available / 2**30:.1f} GiB of it free")
    machine = _machine_memory()
    if machine is not None and total < machine:
        text += f"; that is the container's limit, the machine has {machine / 2**30:.1f} GiB"
    if min(total, total if available is None else available) >= _LEAST_MEMORY:
        return Finding("memory", "ok", text)
    return Finding("memory", "warn", f"{text}; years of minutes need 2 GiB: close programs, or use longer bars")


def _machine_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


# -- Files -------------------------------------------------------------------------------------------------------------


def _folders(home: Path) -> Iterator[Finding]:
    disks: dict[int, Path] = {}
    for name, folder in (("home", home), ("data/", home / "data"), ("logs/", home / "logs")):
        if folder.exists() and not folder.is_dir():
            yield Finding(name, "FAIL", f"{folder} is a file; move it away, or choose another home with --home PATH")
            continue
        there = _nearest(folder)
        disks.setdefault(there.stat().st_dev, there)
        reason = _why_not_writable(there)
        if reason:
            yield Finding(
                name,
                "FAIL",
                f"{there} cannot be written ({reason}); give yourself the right to (chmod u+rwx), or choose another "
                "home with --home PATH",
            )
        else:
            yield Finding(name, "ok", f"{folder} can be {'written' if folder.exists() else 'made'}")
    for folder in disks.values():
        free = shutil.disk_usage(folder).free
        enough = free >= _LEAST_SPACE
        text = f"{free / 2**30:,.1f} GiB free on the disk of {folder}"
        yield Finding("space", "ok" if enough else "warn", text + ("" if enough else "; a year of minutes needs 1 GiB"))


def _nearest(folder: Path) -> Path:
    """The folder, or the one in which it would be made: looking must not make it."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder; "" where one can. The file it tries has no name and is gone at once."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


# -- What is installed -------------------------------------------------------------------------------------------------


def _libraries() -> Iterator[Finding]:
    required, optional = _requirements()
    found, wrong = _versions_of(required)
    for text in wrong:
        yield Finding("libraries", "FAIL", f"{text}; start python3 run.py, or pip install -r requirements.txt")
    yield Finding("libraries", "ok", ", ".join(found) or "their ranges are not known here")
    present = [requirement for requirement in optional if _version_of(requirement) is not None]
    found, wrong = _versions_of(present)
    for text in wrong:
        yield Finding("extras", "warn", f"{text}; what needs it may fail: install a version of that range")
    yield Finding("extras", "ok", ", ".join(found) or "none installed")


def _requirements() -> "tuple[list[Requirement], list[Requirement]]":
    """What this package needs, and what its extras need: of its installation, else of the clone it runs from."""
    from packaging.requirements import Requirement

    try:
        described = metadata.metadata("barwise")
    except metadata.PackageNotFoundError:
        return _requirements_of_clone()
    texts = [Requirement(text) for text in described.get_all("Requires-Dist") or ()]
    extras = [name for name in described.get_all("Provides-Extra") or () if name not in _FOR_DEVELOPERS]
    needed = [one for one in texts if one.marker is None or one.marker.evaluate({"extra": ""})]
    wanted = [one for one in texts if one not in needed and any(_is_for(one, name) for name in extras)]
    return needed, wanted


def _is_for(requirement: "Requirement", extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _requirements_of_clone() -> "tuple[list[Requirement], list[Requirement]]":
    import tomllib

    from packaging.requirements import Requirement

    path = Path(barwise.__file__).parents[2] / "pyproject.toml"
    if not path.is_file():
        return [], []
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted = [text for name, texts in extras.items() if name not in _FOR_DEVELOPERS for text in texts]
    return [Requirement(text) for text in project["dependencies"]], [Requirement(text) for text in wanted]


def _versions_of(requirements: "Iterable[Requirement]") -> tuple[list[str], list[str]]:
    """Libraries with their versions, and sentences on those that are missing or of another range."""
    found, wrong = [], []
    for requirement in requirements:
        version = _version_of(requirement)
        if version is None:
            wrong.append(f"{requirement.name} is not installed, {requirement.specifier} is needed")
        elif requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} {version}")
        else:
            wrong.append(f"{requirement.name} is {version}, {requirement.specifier} is needed")
    return found, wrong


def _version_of(requirement: "Requirement") -> str | None:
    try:
        return metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None


def _compiler() -> Iterator[Finding]:
    from barwise.core._jit import compiled_cache_is_cold
    from barwise.core.kernel import simulate

    stored = getattr(simulate, "stats", None)
    if stored is None:
        yield Finding("compiler", "warn", "it is switched off, and everything takes very long; unset NUMBA_DISABLE_JIT")
        return
    folder = stored.cache_path
    reason = "no folder can" if folder is None else _why_not_writable(_nearest(Path(folder)))
    if reason:
        where = "" if folder is None else f" in {folder}"
        yield Finding(
            "compiler",
            "warn",
            f"compiled code cannot be kept{where} ({reason}), so that every start takes seconds longer; set "
            "NUMBA_CACHE_DIR to a folder that can be written",
        )
        return
    cold = compiled_cache_is_cold(simulate)
    text = "the first run compiles for some seconds, once" if cold else "compiled code is there"
    yield Finding("compiler", "ok", f"{text}, in {folder}")


# -- What earlier runs have left ---------------------------------------------------------------------------------------


def _ledger(path: Path) -> Iterator[Finding]:
    if not path.is_file():
        yield Finding("ledger", "ok", "none yet; the first run makes it")
        return
    size = f"{path.stat().st_size / 1e6:,.1f} MB"
    try:
        whole = _looked_through(path)
    except (sqlite3.Error, OSError) as error:
        text = f"{shown_path(path)} cannot be read ({error}); restore a copy of it, or move it away: a new one is made"
        yield Finding("ledger", "FAIL", f"{text}, but its trials are counted no more")
        return
    said = "whole" if whole else f"readable, and well as far as {_LONGEST_CHECK_S:g} s of looking go"
    yield Finding("ledger", "ok", f"{said}, {size}")


def _looked_through(path: Path) -> bool:
    """Whether all of a ledger was looked through, without a file being made beside it.

    Raises:
        sqlite3.Error: It is damaged, or no ledger.
    """
    from barwise.optimizer.ledger_schema import SCHEMA_VERSION

    log = path.with_name(f"{path.name}-wal")
    # A reader of a database with a log makes a file of its own; one whose log is empty can be read without.
    in_use = log.exists() and log.stat().st_size > 0
    deadline = time.perf_counter() + _LONGEST_CHECK_S
    address = f"{path.absolute().as_uri()}?{'mode=ro' if in_use else 'immutable=1'}"
    with closing(sqlite3.connect(address, uri=True, timeout=_LONGEST_CHECK_S)) as connection:
        [version] = connection.execute("SELECT max(version) FROM ledger_version").fetchone()
        if version is None or version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, this release reads {SCHEMA_VERSION}")
        connection.set_progress_handler(lambda: time.perf_counter() > deadline, _INSTRUCTIONS_A_LOOK)
        try:
            [said] = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_INTERRUPT":
                raise
            return False
    if said != "ok":
        raise sqlite3.DatabaseError(" ".join(said.split()))
    return True


def _profile(home: Path, hardware: "Hardware") -> Iterator[Finding]:
    from barwise.hardware import FILE_NAME, load_profile

    path = home / "data" / FILE_NAME
    if not path.exists():
        yield Finding("profile", "ok", "not measured yet; barwise profile does it, and takes 10 to 15 seconds")
        return
    with _said_by("barwise.hardware.profile") as said:
        profile = load_profile(path, hardware)
    if profile is None:
        why = " ".join(said) or f"{path} is of another machine or other versions"
        yield Finding("profile", "warn", f"{why}; barwise profile measures anew")
        return
    yield Finding(
        "profile",
        "ok",
        f"of this computer, {profile.measured_at[:10]}: {profile.threads} threads, batches of {profile.batch_size:,}, "
        f"{profile.backend}",
    )


@contextmanager
def _said_by(name: str) -> Iterator[list[str]]:
    """What a logger says meanwhile, instead of its lines: those would make the log's files."""
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    logger = logging.getLogger(name)
    logger.addFilter(keep)
    try:
        yield said
    finally:
        logger.removeFilter(keep)


def _runs(folder: Path) -> Iterator[Finding]:
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    kept = [path for path in files if path.suffix != ".lock"]
    size = sum(path.stat().st_size for path in kept)
    text = f"{len(kept):,} files, {size / 1e6:,.1f} MB; they may be removed while nothing runs" if kept else "none"
    yield Finding("checkpoints", "ok", text)
    for path in sorted(files):
        holder = _holder_of(path) if path.suffix == ".lock" else None
        if holder is None:
            continue
        from barwise.checkpoints.lock import is_alive

        if is_alive(holder["pid"]):
            said = f"process {holder['pid']} is at work on it since {holder['started']}"
        else:
            said = f"process {holder['pid']} was killed at it; the same command goes on where it was"
        yield Finding("runs", "ok", f"{path.stem}: {said}")


def _holder_of(path: Path) -> dict[str, Any] | None:
    """Who has written into a lock; None where nobody holds it."""
    try:
        content = json_text.loads(path.read_text(encoding="utf-8"))
        return {"pid": int(content["pid"]), "started": str(content["started"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None


# -- Venues ------------------------------------------------------------------------------------------------------------


def _keys(home: Path) -> Iterator[Finding]:
    from barwise.errors import ConfigError
    from barwise.exchange.credentials import read_environment
    from barwise.exchange.venues import CONNECTED, capabilities_of

    try:
        environment = read_environment()
    except ConfigError as error:
        yield Finding("config/.env", "FAIL", f"{error.message} {error.hint}")
        return
    for name in CONNECTED:
        offers = capabilities_of(name)
        if not offers.credentials:
            continue
        present = "set" if environment.has(offers.credentials) else "not set"
        need = "needed for candles" if offers.needs_key else "not needed for candles"
        yield Finding("keys", "ok", f"{name}: {present}, {need}")
    path = home / "config" / ".env"
    if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077:
        yield Finding("config/.env", "FAIL", f"others can read it; chmod 600 {path}")


def _venues() -> Iterator[Finding]:
    from barwise.exchange.credentials import FOLDERS, read_environment
    from barwise.exchange.manager import ExchangeManager
    from barwise.exchange.venues import CONNECTED

    for name in CONNECTED:
        if name == "REPLAY" and not read_environment().has(FOLDERS):
            continue  # nobody has to have files
        status = ExchangeManager().validate_connectivity(name)
        for check in status["checks"]:
            text = " ".join(check["message"].split())
            yield Finding(name, "ok" if check["ok"] else "FAIL", f"{check['name']}: {text}")
