"""The description of the API for programs: OpenAPI 3.1, made of the declarations that the API itself is made of."""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic import BaseModel

from barwise import __version__
from barwise.dashboard.endpoints import PREFIX, Endpoint
from barwise.dashboard.errors import ERROR

_PART: Final = re.compile(r"<(?:(\w+):)?(\w+)>")
_SCHEMAS: Final = "#/components/schemas/"
_CSRF: Final = "page"
_BEARER: Final = "token"
_COOKIE: Final = "cookie"
# What every endpoint may answer besides what it is for.
_ALWAYS: Final = {
    400: "Something in the request cannot be.",
    401: "A token is needed.",
    403: "The request comes from another page.",
    404: "There is nothing of this name.",
    409: "Somebody else is at it.",
    413: "Too much was sent.",
    416: "The file does not reach so far.",
    421: "The Host header has a foreign name.",
    422: "What is stored is not enough for this.",
    503: "All places are taken; Retry-After says when to ask again.",
}


def document(endpoints: Iterable[Endpoint], *, needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        endpoints: All of them, in the order of the document.
        needs_token: Whether this dashboard has a token.
    """
    schemas: dict[str, Any] = {"Error": dict(ERROR)}
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for endpoint in endpoints:
        tags[endpoint.tag] = None
        path = PREFIX + _PART.sub(r"{\2}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, needs_token)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "barwise dashboard",
            "version": __version__,
            "description": "Runs of barwise: what they found, and how they are going. Times are milliseconds since "
            "1970 UTC, money is in quote currency, undefined numbers are null. GET changes nothing.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _schemes()},
    }


def _schemes() -> dict[str, Any]:
    return {
        _CSRF: {
            "type": "apiKey",
            "in": "header",
            "name": "X-Barwise-CSRF",
            "description": "Content of the csrf element of the page; another one after every start.",
        },
        _BEARER: {"type": "http", "scheme": "bearer", "description": "The token that the dashboard was started with."},
        _COOKIE: {
            "type": "apiKey",
            "in": "cookie",
            "name": "barwise-PORT",
            "description": "What a browser keeps after /?token=...",
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any], needs_token: bool) -> dict[str, Any]:
    """One method of one path."""
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [*_parts(endpoint.path), *_parameters(endpoint.query, schemas)],
        "responses": {
            "200": {"description": endpoint.summary, "content": _content(endpoint.answers, schemas)},
            **{
                str(status): {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}Error"}}},
                }
                for status, text in _ALWAYS.items()
            },
        },
        "security": _security(endpoint, needs_token),
    }
    if endpoint.body is not None:
        schema = _lifted(_schema_of(endpoint.body), schemas)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    """Such as get_runs_name_equity."""
    words = re.sub(r"[^a-z0-9]+", "_", _PART.sub(r"\2", endpoint.path).lower()).strip("_")
    return f"{endpoint.method.lower()}_{words}"


def _security(endpoint: Endpoint, needs_token: bool) -> list[dict[str, list[str]]]:
    """One of these is enough."""
    changes = endpoint.method != "GET"
    if needs_token:
        return [{_BEARER: []}, {_COOKIE: [], _CSRF: []} if changes else {_COOKIE: []}]
    return [{_CSRF: []}] if changes else []


def _parts(path: str) -> list[dict[str, Any]]:
    """The parts of a path that vary."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0} if kind == "int" else {"type": "string", "minLength": 1},
        }
        for kind, name in _PART.findall(path)
    ]


def _parameters(query: type[BaseModel] | None, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    """What may stand behind the question mark."""
    if query is None:
        return []
    schema = _lifted(_schema_of(query), schemas)
    required = schema.get("required", [])
    found = []
    for name, one in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
        if "description" in one:
            parameter["description"] = one["description"]
        found.append(parameter)
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query cannot say null: what is not known is left out."""
    found = {name: value for name, value in schema.items() if name != "title"}
    if found.get("default", 0) is None:
        del found["default"]
    kinds = [kind for kind in found.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del found["anyOf"]
        found |= kinds[0]
    elif kinds:
        found["anyOf"] = kinds
    return found


def _content(answers: Mapping[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """What comes back; a schema with `contentMediaType` is a text of that type, everything else is JSON."""
    schema = _lifted(answers, schemas)
    media = schema.pop("contentMediaType", "application/json")
    return {media: {"schema": schema}}


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")


def _lifted(schema: Mapping[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A copy of a schema whose definitions have been put among those of the document."""
    found = deepcopy(dict(schema))
    for name, definition in found.pop("$defs", {}).items():
        schemas[name] = _pointed(definition)
    pointed = _pointed(found)
    assert isinstance(pointed, dict)
    return pointed


def _pointed(value: Any) -> Any:
    """References to definitions of a schema as references to those of the document."""
    if isinstance(value, Mapping):
        return {
            name: item.replace("#/$defs/", _SCHEMAS) if name == "$ref" and isinstance(item, str) else _pointed(item)
            for name, item in value.items()
        }
    return [_pointed(item) for item in value] if isinstance(value, list) else value
