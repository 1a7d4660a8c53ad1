#!/usr/bin/env python3
"""Start barwise from a clone, with nothing installed but Python.

    python3 run.py                 the main job on the built-in SAMPLE market
    python3 run.py test            style, types, layers, and all tests with the coverage gate
    python3 run.py test ARGS...    pytest with these arguments and nothing else
    python3 run.py ARGS...         the command line, as `barwise ARGS...`

The first start makes `.venv` beside this file and installs the locked requirements into it. Later starts compare a
stamp and go straight on. The stamp is written last, so an installation that was cut off is never taken for a finished
one. Standard library only, and in a grammar that Python 3.6 can read, so that an old Python gets to the line that
refuses it.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
SCRIPT = VENV / "bin" / "barwise"
STAMP = VENV / "barwise-installed.txt"
PIP_LOG = VENV / "barwise-install.log"
# Held while the environment is made; its text says that somebody began and did not end.
LOCK = ROOT / ".venv.lock"

RUNTIME = "requirements.txt"
TESTING = "requirements-test.txt"  # has every pin of the first, so installing it serves both

STATIC_CHECKS = (
    ("style", (str(VENV_PYTHON), "-m", "ruff", "check", ".")),
    ("format", (str(VENV_PYTHON), "-m", "ruff", "format", "--check", ".")),
    ("types", (str(VENV_PYTHON), "-m", "mypy")),
    ("layers", (str(VENV_PYTHON), str(VENV / "bin" / "lint-imports"), "--no-logo")),
)
PYTEST = (str(VENV_PYTHON), "-m", "pytest")
WHOLE_SUITE = ("-n", "2", "--cov", "--cov-report", "term")
LAST_LINES = 12  # of pip's output, in an error
EXIT_INTERRUPTED = 130


class SetupError(Exception):
    """The environment cannot be made; the message says what came and what to do."""

    def __init__(self, message: str, *, half_done: bool = False) -> None:
        super().__init__(message)
        self.half_done = half_done


def main(arguments: "list[str]") -> int:
    """Make sure of the environment, then do what was asked for."""
    refusal = refuse(sys.version_info[:2], os.name)
    if refusal:
        print(f"run.py: {refusal}", file=sys.stderr)
        return 2
    testing = arguments[:1] == ["test"]
    try:
        prepare(TESTING if testing else RUNTIME)
        return run_tests(arguments[1:]) if testing else run_barwise(arguments or ["run", "--yes"])
    except (SetupError, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def refuse(version: "tuple[int, ...]", system: str) -> str:
    """Why barwise cannot run on this Python or operating system, or "" where it can."""
    if version < OLDEST_PYTHON:
        return (
            f"barwise needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer; this is {version[0]}.{version[1]}.\n"
            "  hint: start it with a newer one, for example `python3.12 run.py`."
        )
    if system != "posix":
        return "run.py works on Linux and macOS.\n  hint: on Windows use WSL, or `pip install -e .` in an environment."
    return ""


def run_barwise(arguments: "list[str]") -> int:
    """Become the command line: signals, exit code and terminal are its own."""
    sys.stdout.flush()
    os.execv(str(VENV_PYTHON), [str(VENV_PYTHON), str(SCRIPT), *arguments])


def run_tests(arguments: "list[str]") -> int:
    """All checks and all tests; with arguments, pytest alone. Every check runs, also after one has failed."""
    if arguments:
        return call((*PYTEST, *arguments))
    outcome = {}
    for name, command in (*STATIC_CHECKS, ("tests", PYTEST + WHOLE_SUITE)):
        print(f"\n== {name}: {' '.join(word.split('/')[-1] for word in command[1:] if word != '-m')}", flush=True)
        outcome[name] = call(command)
    print("\n" + ", ".join(f"{name} {'FAILED' if code else 'ok'}" for name, code in outcome.items()), flush=True)
    return 1 if any(outcome.values()) else 0


def call(command: "tuple[str, ...]") -> int:
    """Run a command in the clone's root; after Ctrl-C, which it gets as well, let it finish its own words."""
    with subprocess.Popen(command, cwd=str(ROOT)) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


def prepare(lock: str) -> None:
    """Install the locked requirements into .venv unless the stamp says that just these are there."""
    if is_ready(lock):
        return
    import fcntl

    with LOCK.open("a+") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another start is making the environment; waiting for it.")
            fcntl.flock(guard, fcntl.LOCK_EX)
        if is_ready(lock):
            return
        # pip inherits the lock, so that a start after a kill waits for a pip that has outlived it.
        os.set_inheritable(guard.fileno(), True)
        guard.seek(0)
        reason = "the last installation was cut off" if guard.read() else defect()
        guard.truncate(0)
        guard.write("unfinished")
        guard.flush()
        # The word stays in the file after a kill or Ctrl-C; where pip itself gives up, it has put things back.
        try:
            if reason:
                make_venv(reason)
            install(lock)
            write_stamp(lock)
        except SetupError as error:
            if not error.half_done:
                guard.truncate(0)
            raise
        guard.truncate(0)


def stamp_lines(lock: str) -> "dict[str, str]":
    """What the stamp has to say for this lock: the kind of Python, where the clone lies, the content of the lock."""
    try:
        content = (ROOT / lock).read_bytes()
    except OSError as error:
        raise SetupError(f"{lock} cannot be read: {error}\n  hint: start run.py from a whole clone.") from None
    return {"python": str(sys.implementation.cache_tag), "root": str(ROOT), lock: hashlib.sha256(content).hexdigest()}


def is_ready(lock: str) -> bool:
    """True where the stamp fits and the interpreter is there."""
    wanted = [f"{name} {value}" for name, value in stamp_lines(lock).items()]
    try:
        present = STAMP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return VENV_PYTHON.exists() and SCRIPT.exists() and all(line in present for line in wanted)


def defect() -> str:
    """Why .venv has to be made anew, or "" where pip can install into it."""
    if not VENV.exists():
        return "this is the first start"
    question = (str(VENV_PYTHON), "-c", "import sys, pip; print(sys.implementation.cache_tag)")
    try:
        answer = subprocess.check_output(question, stderr=subprocess.DEVNULL, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "it is broken"
    return "" if answer == sys.implementation.cache_tag else f"it was made by another Python, {answer}"


def make_venv(reason: str) -> None:
    """Make .venv, empty but for pip.

    Raises:
        SetupError: This Python cannot make one.
    """
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "this Python cannot make virtual environments: venv or ensurepip is missing.\n"
            "  hint: on Debian and Ubuntu `apt install python3-venv`, then start again."
        )
    say(f"Making .venv: {reason}.")
    # The interpreter below an active environment: one must not empty the environment that one stands in.
    python = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run(
        (python, "-m", "venv", "--clear", str(VENV)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise SetupError(f"{VENV} cannot be made by {python}:\n{made.stdout.strip()}")


def install(lock: str) -> None:
    """Install a lock with the pip of .venv, under the pip settings of this machine, and put src/ on its path.

    Raises:
        SetupError: pip failed; the message has its last lines.
    """
    began = time.monotonic()
    say(f"Installing {lock}; the first time this takes a minute or two.")
    command = (str(VENV_PYTHON), "-m", "pip", "install", "--require-hashes", "-r", str(ROOT / lock))
    with PIP_LOG.open("w", encoding="utf-8") as log:
        code = subprocess.call(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=str(ROOT), close_fds=False
        )
    if code:
        tail = PIP_LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        indented = "\n    ".join(tail)
        raise SetupError(
            f"pip could not install {lock}:\n    {indented}\n"
            f"  hint: {PIP_LOG} has all it said; start again when the cause is gone.",
            half_done=code < 0,
        )
    packages = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # Relative, so that it holds for any name of the clone's folder.
    (packages / "barwise-clone.pth").write_text(os.path.relpath(ROOT / "src", packages) + "\n", encoding="utf-8")
    # A shell line that starts Python, because a #! line cannot have a path with spaces.
    SCRIPT.write_text(
        f"""#!/bin/sh
'''exec' "{VENV_PYTHON}" "$0" "$@"
' '''
import sys

from barwise.cli import main

if __name__ == "__main__":  # worker processes read this file too
    sys.exit(main())
""",
        encoding="utf-8",
    )
    SCRIPT.chmod(0o755)
    say(f"Installed in {time.monotonic() - began:.0f} s.")


def write_stamp(lock: str) -> None:
    """Say that all is there, in one step that a crash cannot halve."""
    locks = (RUNTIME, TESTING) if lock == TESTING else (RUNTIME,)
    lines = dict(item for each in locks for item in stamp_lines(each).items())
    fresh = STAMP.with_suffix(".new")
    fresh.write_text("".join(f"{name} {value}\n" for name, value in lines.items()), encoding="utf-8")
    fresh.replace(STAMP)


def say(line: str) -> None:
    """A line about the set-up, beside and not among the output of what was asked for."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
