"""The web application: every endpoint at its path, the page and its files, and one form for everything that fails."""

import logging
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter
from werkzeug.security import safe_join

from barwise import __version__
from barwise.dashboard import api_compare, api_data, api_files, api_live, api_run, api_search, security
from barwise.dashboard.api_base import json_response, view_of
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX, Endpoint, Endpoints
from barwise.dashboard.errors import DashboardError, NotFound, error_document, status_of
from barwise.dashboard.large_file import LargeFile
from barwise.dashboard.openapi import document
from barwise.dashboard.state import EXTENSION, Dashboard, dashboard
from barwise.errors import BarwiseError

logger = logging.getLogger(__name__)

PLOTLY: Final = "barwise-plotly"  # name of the extension that has Plotly's file
# Every part of the API, in the order of its documentation.
_PARTS: Final = (api_run, api_files, api_search, api_compare, api_data, api_live)
_STATIC: Final = Path(__file__).parent / "static"
# The package imports them where they are used. Two requests that do so at once can see one half imported.
_LIBRARIES: Final = ("polars", "pyarrow.parquet", "scipy.stats", "sqlalchemy", "optuna")
_PAGE: Final = "index.html"
# What people read where the web library has found something; its own sentences speak of URLs and servers.
_SENTENCES: Final = {
    400: ("the request cannot be read.", "GET /api/v1/openapi.json describes what can be asked."),
    404: ("there is nothing at this path.", "GET /api/v1/openapi.json lists what there is."),
    405: ("this path does not take this method.", "the header Allow lists what it takes."),
    413: ("what was sent is too long.", "send less: settings of a run are a few kilobytes."),
    415: ("what was sent is of another type.", "send it with Content-Type: application/json."),
    416: ("the file has no such part.", "Content-Range says how long it is."),
}
# What the page is made of. Said here, as the system's own list of types differs from machine to machine.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_CSRF_PLACE: Final = re.compile(r'(<meta name="csrf" content=")[^"]*(")')

endpoints = Endpoints("service")


@endpoints.get(
    "/health",
    "Whether it is there, and which version it is.",
    answers={
        "type": "object",
        "required": ["ok", "version"],
        "properties": {"ok": {"const": True}, "version": {"type": "string"}},
    },
)
def health() -> dict[str, Any]:
    """That it answers is all that there is to say."""
    return {"ok": True, "version": __version__}


@endpoints.get(
    "/openapi.json",
    "This description of the API, in OpenAPI 3.1.",
    answers={"type": "object", "required": ["openapi", "info", "paths"]},
)
def openapi() -> dict[str, Any]:
    """The description is made of the same declarations as the paths."""
    return document(all_endpoints(), needs_token=dashboard().config.token is not None)


def all_endpoints() -> list[Endpoint]:
    """Everything that the API does, in the order of its documentation."""
    return [*endpoints.all, *(endpoint for part in _PARTS for endpoint in part.endpoints.all)]


def create_app(config: DashboardConfig | None = None) -> Flask:
    """The dashboard as a WSGI application; nothing is listening yet: see `barwise.dashboard.server.serve`.

    Args:
        config: By default one for this machine only, with the files of BARWISE_HOME or of the working directory.

    Raises:
        ConfigError: A value of the configuration cannot be.
    """
    for library in _LIBRARIES:
        import_module(library)
    state = Dashboard(config or DashboardConfig())
    app = Flask("barwise", static_folder=None, root_path=str(_STATIC.parent))
    app.extensions[EXTENSION] = state
    app.config["MAX_CONTENT_LENGTH"] = state.config.max_body
    app.url_map.converters["int"] = _ShortInteger
    app.url_map.merge_slashes = False
    security.protect(app, state)
    for endpoint in all_endpoints():
        app.add_url_rule(
            PREFIX + endpoint.path,
            endpoint=f"{endpoint.method} {endpoint.path}",
            view_func=view_of(endpoint),
            methods=[endpoint.method],
        )
    _add_page(app, state)
    app.register_error_handler(BarwiseError, _failed)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(Exception, _broken)
    return app


class _ShortInteger(IntegerConverter):
    """Numbers in paths count trades; what has thousands of digits is not even read."""

    regex = r"\d{1,12}"


def _add_page(app: Flask, state: Dashboard) -> None:
    """The one page, its files, and Plotly's own file out of the installed package."""
    specification = find_spec("plotly")  # finds it without loading it, which would take longer than the page
    assert specification is not None
    assert specification.submodule_search_locations is not None
    plotly = LargeFile(
        Path(specification.submodule_search_locations[0]) / "package_data" / "plotly.min.js", "text/javascript"
    )
    app.extensions[PLOTLY] = plotly

    @app.get("/")
    def page() -> Response:
        file = _STATIC / _PAGE
        if not file.is_file():
            raise NotFound(
                "the page of the dashboard is not installed.", hint="install barwise anew; the API is there."
            )
        text = _CSRF_PLACE.sub(rf"\g<1>{state.csrf}\g<2>", file.read_text("utf-8"), count=1)
        return Response(text, content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-store"})

    @app.get("/static/plotly.min.js")
    def plotly_file() -> Response:
        return plotly.response()

    @app.get("/static/<path:file>")
    def static_file(file: str) -> Response:
        place = safe_join(str(_STATIC), file)
        path = None if place is None else Path(place)
        if path is None or path.suffix not in _TYPES or not path.is_file():
            raise NotFound(_SENTENCES[404][0], hint=_SENTENCES[404][1])
        answer = Response(path.read_bytes(), content_type=_TYPES[path.suffix])
        answer.add_etag()
        # Asked for anew each time and answered by 304: after an update no old script meets a new API.
        answer.headers["Cache-Control"] = "no-cache"
        answer.make_conditional(request)
        return answer


def _failed(error: BarwiseError) -> Response:
    """An error of this package: what it says is written for people."""
    answer = json_response(error_document(type(error).__name__, error.message, error.hint), status_of(error))
    if isinstance(error, DashboardError):
        answer.headers.update(error.headers)
    return answer


def _refused(error: HTTPException) -> Response:
    """What the web library found: no such path, no such method, too long."""
    status = error.code or 500
    message, hint = _SENTENCES.get(status, (f"{error.name}.", ""))
    answer = json_response(error_document(error.name.replace(" ", ""), message, hint), status)
    for name, value in error.get_headers():
        if name in {"Allow", "Content-Range"}:
            answer.headers[name] = value
    return answer


def _broken(error: Exception) -> Response:
    """What nobody expected: the log has all of it, the answer nothing."""
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    hint = "logs/error.log in the home folder has the details; please report it with them."
    return json_response(error_document("UnexpectedError", "unexpected error.", hint), 500)
