"""`barwise dashboard`: the web page of this home folder, until Ctrl-C."""

import sys
from typing import Annotated

import typer

from barwise.cli.options import Home, Session

TOKEN_VARIABLE = "BARWISE_DASHBOARD_TOKEN"  # noqa: S105 - a name


def dashboard(
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Where to listen; others reach it only with a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TEXT",
            envvar=TOKEN_VARIABLE,
            show_envvar=False,
            help=f"What whoever asks must know; better in {TOKEN_VARIABLE}, as command lines can be seen.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="A page of another origin that may read the API; repeatable."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = False,
    home: Home = None,
) -> None:
    """Serve the dashboard: runs going on and finished, what they found, the store; and start new ones.

    Only this machine reaches it unless --host says otherwise. Ctrl-C ends it; runs that it has started go on.
    """
    session = Session.begin(home, as_json=False, quiet=False)
    from barwise.dashboard.config import DashboardConfig
    from barwise.dashboard.server import serve

    def say(line: str) -> None:
        session.say(line)
        sys.stdout.flush()

    config = DashboardConfig(home=session.home, host=host, port=port, token=token, cors_origins=tuple(cors or ()))
    serve(config, open_page=open_page, say=say)
