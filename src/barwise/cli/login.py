"""`barwise login`: a fresh access token for the venues whose tokens live for a day."""

import os
from typing import Annotated

import typer

from barwise.cli.options import Home, Json, Quiet, Session, Settings, settings_of


def login(
    exchange: Annotated[str, typer.Argument(metavar="VENUE", help="ZERODHA or DHAN.")],
    request_token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="ZERODHA: the token, or the whole address the login page has led to."),
    ] = None,
    settings: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
    home: Home = None,
) -> None:
    """Get today's access token and put it into config/.env.

    ZERODHA: without a token the address of the login page is printed; log in there, and hand the address it leads to
    to --request-token. DHAN: the token at hand, which must still work, is renewed for another day.
    """
    session = Session.begin(home, json, quiet)
    settings_of("login", settings, {})
    from barwise.errors import ConfigError
    from barwise.exchange.credentials import read_environment, write_credential
    from barwise.exchange.dhan import Dhan
    from barwise.exchange.zerodha import Zerodha

    venue = exchange.strip().upper()
    if venue not in ("ZERODHA", "DHAN"):
        raise ConfigError(
            f"{exchange} has no tokens that end with the day.",
            hint="use ZERODHA or DHAN; other venues' keys stay valid.",
        )
    if venue == "DHAN" and request_token is not None:
        raise ConfigError("--request-token is ZERODHA's.", hint="barwise login DHAN renews the token at hand.")
    environment = read_environment()
    if venue == "ZERODHA" and request_token is None:
        address = Zerodha(environment).login_url()
        session.document({"exchange": venue, "login_url": address})
        session.say(f"Log in at  {address}")
        session.say("then       barwise login ZERODHA --request-token ADDRESS   (where the login has led to)")
        return
    if venue == "ZERODHA":
        token = Zerodha(environment).exchange_request_token(request_token or "")
    else:
        token = Dhan(environment).renew_token()
    name = f"{venue}_ACCESS_TOKEN"
    path = write_credential(name, token)
    shadowed = name in os.environ
    session.document({"exchange": venue, "written": str(path), "shadowed_by_environment": shadowed})
    session.say(f"{name} is in {path}.")
    if shadowed:
        session.say(f"The environment has a {name} of its own, which wins: unset it.")
