"""The server under the dashboard: waitress, with a thread for every live stream and a few for everything else.

A stream holds its thread for as long as a page is open. So there are as many threads as streams are allowed, and some
more: whoever asks for a number never waits for those who watch.
"""

import errno
import logging
import platform
import sys
import webbrowser
from collections.abc import Callable
from typing import Any, Final

from waitress import create_server, wasyncore  # type: ignore[import-untyped]
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

from barwise.dashboard.app import PLOTLY, create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.state import EXTENSION, Dashboard
from barwise.errors import ConfigError

logger = logging.getLogger(__name__)

_OTHER_THREADS: Final = 8
# Connections that wait or are being refused, on top of the streams; each of them is one file descriptor.
_OTHER_CONNECTIONS: Final = 400
_LONGEST_HEAD: Final = 32 * 1024
# Between the size that the app refuses with a sentence of ours and the size that is not even read.
_BODY_SLACK: Final = 16
# What is longer goes through a file, which a full disk has no room for. Plotly is shorter.
_IN_MEMORY: Final = 8 * 1024 * 1024
# Bytes that wait for a client that does not read, before its stream waits too.
_MOST_WAITING: Final = 64 * 1024


def serve(
    config: DashboardConfig, *, page: str = "", open_page: bool = False, say: Callable[[str], None] | None = None
) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        config: Where it listens, and what it shows.
        page: The place of the page that the address said is for, such as `#/run/run-sample-btc-1h-0a1b2c3d`.
        open_page: Open a browser there.
        say: Gets the lines for people; by default stdout does. The token is in none of them.

    Raises:
        ConfigError: It cannot listen there.
    """
    app = create_app(config)
    state: Dashboard = app.extensions[EXTENSION]
    _take_over_log()
    sockets: dict[int, Any] = {}
    threads = _Threads(state)
    try:
        server = create_server(
            app,
            map=sockets,
            _dispatcher=threads,
            host="127.0.0.1" if config.host == "localhost" else config.host,
            port=config.port,
            connection_limit=config.max_streams + _OTHER_CONNECTIONS,
            channel_request_lookahead=1,  # keeps an ear on the connection: a page that was closed frees its thread
            asyncore_use_poll=True,  # select() ends at 1,024 files
            max_request_header_size=_LONGEST_HEAD,
            max_request_body_size=config.max_body * _BODY_SLACK,
            outbuf_high_watermark=_MOST_WAITING,
            outbuf_overflow=_IN_MEMORY,
            ident="",
        )
    except (OSError, ValueError) as error:
        state.close()
        wasyncore.close_all(sockets)
        raise _cannot_listen(config, error) from None
    threads.set_thread_count(config.max_streams + _OTHER_THREADS)
    app.extensions[PLOTLY].prepare()
    address = _address(config, _port(server))
    for line in _lines(config, address, _port(server), page):
        (say or _to_stdout)(line)
    if open_page:
        webbrowser.open(f"{address}{page}")
    try:
        server.run()  # comes back after Ctrl-C, when the threads have ended
    finally:
        threads.shutdown()
        wasyncore.close_all(sockets)


class _Threads(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Threads whose end begins with the end of the streams: else each would be waited for."""

    def __init__(self, state: Dashboard) -> None:
        super().__init__()
        self._state = state

    def shutdown(self, cancel_pending: bool = True, timeout: float = 2) -> bool:
        """End the streams, then the threads."""
        self._state.close()
        return bool(super().shutdown(cancel_pending, timeout))


class _Forward(logging.Handler):
    """Hands what waitress says to the log of this package, where it is redacted and kept."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.handle(record)


def _take_over_log() -> None:
    """Waitress warns of every moment in which all threads are busy; only its errors are of use."""
    theirs = logging.getLogger("waitress")
    theirs.setLevel(logging.ERROR)
    theirs.propagate = False
    if not any(isinstance(handler, _Forward) for handler in theirs.handlers):
        theirs.addHandler(_Forward())


def _cannot_listen(config: DashboardConfig, error: Exception) -> ConfigError:
    """What went wrong, and what to do, where the system only has a number."""
    place = f"{config.host} port {config.port}"
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return ConfigError(
            f"{place} is taken: another program, or another dashboard, listens there.",
            hint=f"give another one, such as --port {config.port + 1 if config.port < 65_535 else 8765}, or 0.",
        )
    if code == errno.EACCES:
        return ConfigError(f"{place} is not for everybody.", hint="ports from 1024 on are: --port 8765.")
    if code == errno.EADDRNOTAVAIL or code is None:
        return ConfigError(f"{config.host} is no address of this machine.", hint="127.0.0.1 is one, 0.0.0.0 is all.")
    return ConfigError(f"{place}: {error}.", hint="give another --host or --port.")


def _port(server: Any) -> int:
    """The port that it listens on, where 0 was asked for too."""
    if hasattr(server, "effective_port"):
        return int(server.effective_port)
    return int(server.effective_listen[0][1])


def _address(config: DashboardConfig, port: int) -> str:
    """The address that a browser on this machine takes."""
    host = "127.0.0.1" if config.is_everywhere else config.address or config.host
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _lines(config: DashboardConfig, address: str, port: int, page: str) -> list[str]:
    lines = [f" Dashboard  {address}{page}"]
    if config.is_everywhere:
        lines.append(f" Elsewhere  http://{platform.node()}:{port}/{page}")
    if config.token is not None:
        lines.append(f" Token      open {address}?token=... once with the token that it was started with")
    return [*lines, " Home       " + str(config.home), "Ctrl-C ends it."]


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
