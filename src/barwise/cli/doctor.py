"""`barwise doctor`: whether this computer can do the work, and what to do where it cannot."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of

_EXIT_NOT_WELL = 1
_LIBRARIES = ("numba", "numpy", "pandas", "plotly", "polars", "pyarrow", "pydantic", "requests")
_OLDEST_PYTHON = (3, 11)
_LEAST_MEMORY_GIB = 2.0
_EARLIEST_CLOCK_S = 1_763_769_600  # 2025-11-22: this program did not exist before

Finding = tuple[str, bool, str]


def doctor(
    online: Annotated[bool, typer.Option("--online", help="Ask every venue as well.")] = False,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Look at this computer: Python, cores, memory, files, clock, libraries, keys; with --online the venues too.

    Each line that is not well says what to do; the exit code is 1 then.
    """
    session = Session.begin(home, json, quiet)
    settings_of("doctor", settings, {})
    found: list[Finding] = []
    for finding in (*_computer(), *_files(session), *_libraries(), *_keys(session), *(_venues() if online else ())):
        found.append(finding)
        name, ok, text = finding
        session.say(f"{'ok  ' if ok else 'FAIL'}  {name:<12}{text}")
    well = all(ok for _, ok, _ in found)
    session.document({"ok": well, "checks": [{"name": name, "ok": ok, "message": text} for name, ok, text in found]})
    return 0 if well else _EXIT_NOT_WELL


def _computer() -> Iterator[Finding]:
    recent = sys.version_info >= _OLDEST_PYTHON
    yield "Python", recent, platform.python_version() + ("" if recent else "; install Python 3.11 or newer")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield "cores", True, str(cores)
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):
        yield "memory", True, "not known on this system"
    else:
        enough = gib >= _LEAST_MEMORY_GIB
        yield "memory", enough, f"{gib:.1f} GiB" + ("" if enough else "; years of minutes need 2 GiB, use longer bars")
    sane = time.time() >= _EARLIEST_CLOCK_S
    yield "clock", sane, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()) + ("" if sane else "; set it (NTP)")


def _files(session: Session) -> Iterator[Finding]:
    # Of the home folder, or of the folder it would be made in: looking must not make it.
    folder = next(path for path in (session.home, *session.home.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield "files", True, f"{session.home} can be written"
    except OSError as error:
        yield "files", False, f"{session.home} cannot be written ({error.strerror}); choose another with --home PATH"


def _libraries() -> Iterator[Finding]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield name, False, "is not installed; pip install -r requirements.txt"
    yield "libraries", bool(found), ", ".join(found)


def _keys(session: Session) -> Iterator[Finding]:
    from barwise.errors import ConfigError
    from barwise.exchange.credentials import read_environment
    from barwise.exchange.venues import CONNECTED, capabilities_of

    try:
        environment = read_environment()
    except ConfigError as error:
        yield "config/.env", False, f"{error.message} {error.hint}"
        return
    for name in CONNECTED:
        offers = capabilities_of(name)
        if not offers.credentials:
            continue
        present = "set" if environment.has(offers.credentials) else "not set"
        need = "needed for candles" if offers.needs_key else "not needed for candles"
        yield "keys", True, f"{name}: {present}, {need}"
    path = session.home / "config" / ".env"
    if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077:
        yield "config/.env", False, f"others can read it; chmod 600 {path}"


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
            yield name, check["ok"], f"{check['name']}: {text}"
