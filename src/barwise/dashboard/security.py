"""Who may ask, from where, and what a browser may do with the answers.

A page on this machine is open to attacks from every other page that the same browser shows. Four things stand against
them, each by itself: the Host header must be a name of ours (else a foreign name that was pointed at 127.0.0.1 would
reach us: DNS rebinding); nothing that comes from another origin is answered unless that origin is configured; what
changes something must also bring a value that only our own page can read; and where others can reach the address, a
token must come with everything. docs/dashboard.md has the whole model.
"""

import hashlib
import hmac
import platform
import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlencode

from flask import Flask, Response, redirect, request

from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX
from barwise.dashboard.errors import Forbidden, NotSignedIn, WrongHost
from barwise.dashboard.state import Dashboard
from barwise.obs import hide

CSRF_HEADER: Final = "X-Barwise-CSRF"

# Plotly writes styles; nothing else needs an exception. No script but our files, no request to anybody else.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(?::\d{1,5})?")
# A report is shown in an origin of its own, from which the links that it has to other reports come.
_REPORT: Final = re.compile(rf"{PREFIX}/runs/[^/]+/files/(?:report|[^/]+\.html)")
_SIGNED_IN_FOR: Final = 30 * 24 * 3600  # seconds that the cookie stays


def protect(app: Flask, state: Dashboard) -> None:
    """Put everything that comes in through the checks, and everything that goes out under the policy."""
    config = state.config
    names = _own_names(config)
    if config.token is not None:
        hide(config.token)

    @app.before_request
    def check() -> Response | None:
        _check_host(names, config)
        if _is_preflight():
            return None
        _check_origin(config)
        by_header = False
        if config.token is not None:
            if signed_in := _sign_in(config):
                return signed_in
            by_header = _has_token(config)
        # No page can make a browser send our Authorization header; a program that does so needs no page of ours.
        if request.method not in _READING and not by_header:
            _check_csrf(state)
        return None

    @app.after_request
    def cover(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)  # a file brings a policy of its own, which allows less
        if "Cache-Control" not in response.headers or request.path.startswith(PREFIX):
            response.headers["Cache-Control"] = "no-store"
        return response

    if config.cors_origins:
        from flask_cors import CORS

        CORS(
            app,
            resources={rf"{PREFIX}/.*": {"origins": list(config.cors_origins)}},
            methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            supports_credentials=False,
            max_age=600,
        )


def cookie_of(config: DashboardConfig) -> tuple[str, str]:
    """Name and value of the cookie that stands for the token.

    Cookies of one host are seen by all of its ports, so the name has the port, and the value tells nobody the token.
    """
    assert config.token is not None
    value = hmac.new(config.token.encode(), b"barwise dashboard cookie", hashlib.sha256).hexdigest()
    return f"barwise-{config.port}", value


def _own_names(config: DashboardConfig) -> frozenset[str]:
    """The names under which we may be asked, in lower case, IPv6 addresses in brackets."""
    names = {"localhost", "127.0.0.1", "[::1]"}
    host = config.address or config.host
    names.add(f"[{host}]" if ":" in host else host)
    if config.is_everywhere:
        own = platform.node().lower()
        names |= {own, own.partition(".")[0], f"{own.partition('.')[0]}.local"} - {"", ".local"}
    return frozenset(names)


def _check_host(names: frozenset[str], config: DashboardConfig) -> None:
    """The port is not looked at: a tunnel may have another one, and no attack is in it.

    Raises:
        WrongHost: The name is none of ours.
    """
    found = _HOST.fullmatch(request.headers.get("Host", "").lower())
    name = found[1] if found else ""
    # Nobody can point an IP address somewhere else; only names can be.
    if name not in names and not (config.is_everywhere and _is_address(name)):
        raise WrongHost(
            "the Host header has a name that this dashboard does not have.",
            hint=f"open it by the address that it was started with, such as http://localhost:{config.port}/.",
        )


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_preflight() -> bool:
    """Whether a browser only asks what it may ask; it sends no credentials with that."""
    return request.method == "OPTIONS"


def _check_origin(config: DashboardConfig) -> None:
    """What a browser says about the page that a request comes from.

    Programs say nothing, and need nothing from this; browsers always say it where something changes.

    Raises:
        Forbidden: It is another one, and not configured.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        foreign = origin not in {f"http://{request.host}", f"https://{request.host}", *config.cors_origins}
    else:
        # Without the header it is a link, an image or a script. A link to the page or to a report may stand anywhere,
        # as who made it reads nothing of what is shown; one to the rest of the API not.
        foreign = request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"} and (
            (request.path.startswith(PREFIX) and not _opens_report()) or request.method not in _READING
        )
    if foreign:
        raise Forbidden(
            "the request comes from a page of another origin.",
            hint="open the dashboard itself, or start it with --cors ORIGIN for a page of your own.",
        )


def _opens_report() -> bool:
    """Whether a browser goes to a report with a whole window, which nothing but a link makes it do."""
    goes = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return goes and _REPORT.fullmatch(request.path) is not None


def _check_csrf(state: Dashboard) -> None:
    """What only our own page can know.

    Raises:
        Forbidden: It is missing or old.
    """
    if not _same(request.headers.get(CSRF_HEADER, ""), state.csrf):
        raise Forbidden(
            f"the header {CSRF_HEADER} is missing or from an earlier start.",
            hint="reload the page; programs start the dashboard with --token and send Authorization: Bearer.",
        )


def _sign_in(config: DashboardConfig) -> Response | None:
    """Let those in who know the token; those who bring it in the address get the cookie and an address without it.

    Raises:
        NotSignedIn: None, or a wrong one.
    """
    assert config.token is not None
    name, value = cookie_of(config)
    if request.path == "/" and request.method == "GET" and _same(request.args.get("token", ""), config.token):
        others = [(key, item) for key, item in request.args.items(multi=True) if key != "token"]
        answer = redirect(f"/?{urlencode(others)}" if others else "/", 303)
        assert isinstance(answer, Response)
        answer.set_cookie(name, value, max_age=_SIGNED_IN_FOR, httponly=True, samesite="Strict", path="/")
        return answer
    if not _has_token(config) and not _same(request.cookies.get(name, ""), value):
        raise NotSignedIn(
            "this dashboard needs its token.",
            hint="open /?token=... once in a browser; programs send Authorization: Bearer.",
        )
    return None


def _has_token(config: DashboardConfig) -> bool:
    """Whether the Authorization header has the token."""
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return config.token is not None and kind.lower() == "bearer" and _same(given.strip(), config.token)


def _same(given: str, expected: str) -> bool:
    """Compared in a time that depends on neither; digests, so that not even the length tells anything."""
    digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
