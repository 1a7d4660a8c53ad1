"""Where the command line begins and ends: the commands by name, every way to fail, and the exit code of each.

    0 done    1 the work failed    2 bad usage or configuration    130 interrupted

A failure is one sentence and a hint on stderr. Its traceback goes to the log and never to the console. With --json the
same failure is also a JSON document on stdout, so that a program that reads it always gets one.
"""

import errno
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any

import typer

from barwise import __version__
from barwise.cli.audit import audit
from barwise.cli.backtest import backtest
from barwise.cli.config import config
from barwise.cli.dashboard import dashboard
from barwise.cli.data import data
from barwise.cli.doctor import doctor
from barwise.cli.hints import in_options
from barwise.cli.login import login
from barwise.cli.optimize import optimize
from barwise.cli.options import Home, ToldWhatItHad, use_home
from barwise.cli.profile import profile
from barwise.cli.report import report
from barwise.cli.run import run
from barwise.cli.validate import validate, walk_forward
from barwise.cli.venues import exchanges, fetch
from barwise.cli.verify import verify
from barwise.errors import BarwiseError, did_you_mean
from barwise.obs import close_logging, home_folder, redact

logger = logging.getLogger(__name__)

# Work is shared out over rows and processes. Threads of the linear algebra beside them would wait for one another: on a
# busy computer, a hundred times as long as the work takes. Read when NumPy is first imported, here and in workers.
_THREADS = "OPENBLAS_NUM_THREADS"
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
# Base of everything the option parser finds; Typer has no public name for it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="barwise",
    help="Backtests of cryptocurrency strategies with fills you could really have had.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich would cost more than the whole of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("run")(run)
app.command("backtest")(backtest)
app.command("optimize")(optimize)
app.command("walk-forward")(walk_forward)
app.command("validate")(validate)
app.command("fetch")(fetch)
app.command("exchanges")(exchanges)
app.command("login")(login)
app.command("dashboard")(dashboard)
app.command("doctor")(doctor)
app.command("profile")(profile)
app.command("report")(report)
app.command("verify")(verify)
app.command("audit")(audit)
app.add_typer(data, name="data")
app.add_typer(config, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"barwise {__version__}\n")
        raise typer.Exit


@app.callback()
def _options_of_all(
    home: Home = None,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    use_home(home)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; by default those of this process.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    before = {name: os.environ.get(name) for name in ("BARWISE_HOME", _THREADS)}
    os.environ.setdefault(_THREADS, "1")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: `barwise ... >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        with suppress(AttributeError, ValueError):  # a test's or an editor's own stream
            getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        code = _run(words)
        sys.stdout.flush()
    except OSError as error:
        _forget_stdout()
        if error.errno != errno.EPIPE:
            _tell(f"the output cannot be written: {error.strerror}.")
        code = EXIT_FAILED
    finally:
        close_logging()
        _restore(before)
    return code


def _restore(variables: Mapping[str, str | None]) -> None:
    """Undo what was set, such as --home, for a program that goes on after `main`."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _run(words: list[str]) -> int:
    """Run the command and turn every outcome into an exit code; only a stdout that fails gets through."""
    as_json = "--json" in words
    pressed: list[int] = []
    try:
        with _noticing_ctrl_c(pressed):
            returned = app(words, prog_name="barwise", standalone_mode=False)
    except BarwiseError as error:
        return _fail(type(error).__name__, error.message, error.hint, error.exit_code, as_json, error)
    except _UsageError as error:
        return _bad_usage(error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        returned = EXIT_INTERRUPTED
    except SystemExit as stop:  # the reader of stdout has gone: both rich and typer leave in this way
        _forget_stdout()
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except OSError as error:
        if error.errno in {errno.EPIPE, errno.ENOSPC} and error.filename is None:
            raise
        return _fail_unexpectedly(error, as_json)
    except Exception as error:  # noqa: BLE001 - the last place that can keep a traceback off the console
        if not pressed:
            return _fail_unexpectedly(error, as_json)
        returned = EXIT_INTERRUPTED
    if returned == EXIT_INTERRUPTED:  # what a command has told nevertheless is its last document
        as_json = as_json and not isinstance(returned, ToldWhatItHad)
        return _fail("Interrupted", "interrupted.", "", EXIT_INTERRUPTED, as_json, None)
    return returned if isinstance(returned, int) else 0


@contextmanager
def _noticing_ctrl_c(pressed: list[int]) -> Iterator[None]:
    """Ctrl-C as ever, and noted: while an extension is imported it comes out as an ImportError about something else."""

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _fail_unexpectedly(error: Exception, as_json: bool) -> int:
    first_line = next(iter(str(error).splitlines()), "")
    return _fail(
        "UnexpectedError",
        f"unexpected error {type(error).__name__}: {first_line}".rstrip(": "),
        f"{home_folder() / 'logs' / 'error.log'} has the details; please report it with them.",
        EXIT_FAILED,
        as_json,
        error,
    )


def _bad_usage(error: Any, as_json: bool) -> int:
    """What the option parser found, in our words."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "barwise"
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return EXIT_USAGE
    message = error.format_message()
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities") and context:
        known = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        message = f"{option} is not an option of {command}.{did_you_mean(option, known)}"
    return _fail("UsageError", message, f"{command} --help lists what it takes.", EXIT_USAGE, as_json, None)


def _fail(kind: str, message: str, hint: str, code: int, as_json: bool, cause: Exception | None) -> int:
    """Say what went wrong: to people on stderr, to programs on stdout, with the traceback to the log."""
    hint = in_options(hint)
    text = f"{message}\n  hint: {hint}" if hint else message
    if logging.getLogger("barwise").handlers and cause is not None:
        logger.error("%s", text, exc_info=cause)
    else:
        _tell(text)
    if as_json:
        content = {"error": {"kind": kind, "message": redact(message), "hint": redact(hint), "exit_code": code}}
        sys.stdout.write(json.dumps(content) + "\n")
    return code


def _tell(text: str) -> None:
    """An error line where there is no log to write to."""
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"error: {redact(text)}\n")


def _forget_stdout() -> None:
    """Let what is still buffered for a reader that has gone, or a disk that is full, end nowhere."""
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
