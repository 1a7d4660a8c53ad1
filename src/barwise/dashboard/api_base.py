"""How an endpoint is called: what came is checked against its declaration, what it returns becomes JSON.

JSON is read more strictly than Python's own reader does it: no NaN, no name twice, no number that is infinite, no depth
that could end the interpreter, no text that cannot be written again. It is written so that no page can take a part of
it for markup, whatever a symbol or a strategy is called.
"""

import json
import os
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, TypeVar

from flask import Response, request
from pydantic import BaseModel, ValidationError

from barwise.dashboard.endpoints import Endpoint
from barwise.dashboard.errors import NotFound
from barwise.errors import ConfigError, did_you_mean
from barwise.obs import CREDENTIALS

_DEEPEST: Final = 16
_LONGEST_NAME: Final = 200
_SHORTEST_SECRET: Final = 8
_SHOWN: Final = 60  # letters of a wrong value that an answer repeats

M = TypeVar("M", bound=BaseModel)


def view_of(endpoint: Endpoint) -> Callable[..., Response]:
    """The function that Flask calls for an endpoint."""

    def view(**parts: Any) -> Response:
        for name in parts.values():
            _check_name(name)
        arguments = dict(parts)
        if endpoint.query is not None:
            arguments["query"] = _parsed(endpoint.query, _query(), f"of {endpoint.path}")
        elif request.args:
            raise ConfigError(f"{endpoint.path} takes nothing behind a question mark.", hint="leave it out.")
        if endpoint.body is not None:
            arguments["body"] = _parsed(endpoint.body, _body(), "of what was sent")
        answer = endpoint.function(**arguments)
        return answer if isinstance(answer, Response) else json_response(answer)

    return view


def json_response(content: Any, status: int = 200) -> Response:
    """The content as JSON; numbers that are not finite become null, and keys of venues are taken out."""
    text = json_text(content)
    for name in CREDENTIALS:
        # What is written to files is redacted there already; this stands behind it. Digits alone may be any number.
        secret = os.environ.get(name, "")
        if len(secret) >= _SHORTEST_SECRET and not secret.isdigit():
            text = text.replace(json_text(secret)[1:-1], "***")
    return Response(text, status=status, content_type="application/json")


def json_text(content: Any) -> str:
    """The content as JSON text in which nothing looks like markup.

    Numbers that are not finite become null; NumPy arrays and numbers are taken as lists and numbers.
    """
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(content), allow_nan=False, separators=(",", ":"), default=_plain)
    # These stand only inside of strings, where the escape means the same.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def parsed_json(data: bytes) -> Any:
    """What JSON says.

    Raises:
        ConfigError: It is no JSON, or JSON that this package does not take.
    """
    _check_depth(data)
    try:
        content = json.loads(
            data.decode(),
            parse_constant=_no_constant,
            parse_float=_finite_number,
            parse_int=_whole_number,
            object_pairs_hook=_without_doubles,
        )
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair can be read and never be written
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        # Where, but never what: the text of the error may be as long as what came.
        where = f" (character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"what was sent is not JSON{where}.", hint="send one JSON object in UTF-8.") from None
    return content


def _check_name(name: object) -> None:
    """Parts of a path are names, and no name of anything is a way through folders.

    Raises:
        NotFound: Nothing can be called that.
    """
    if isinstance(name, str) and (
        name in {".", ".."} or "/" in name or "\\" in name or len(name) > _LONGEST_NAME or not name.isprintable()
    ):
        raise NotFound(f"nothing is called {_shown(name)}.", hint="the list of runs and the list of data have names.")


def _query() -> dict[str, str]:
    """What stands behind the question mark.

    Raises:
        ConfigError: A name stands there twice.
    """
    for name, values in request.args.lists():
        if len(values) > 1:
            raise ConfigError(f"{_shown(name)} is given {len(values)} times.", hint="give it once, values by commas.")
    return request.args.to_dict()


def _body() -> dict[str, Any]:
    """The JSON object that was sent.

    Raises:
        ConfigError: It is none.
    """
    if request.mimetype != "application/json":
        raise ConfigError(
            f"what was sent is {_shown(request.mimetype or 'of no type')}; application/json is needed.",
            hint="send it with Content-Type: application/json.",
        )
    content = parsed_json(request.get_data(cache=False))
    if not isinstance(content, dict):
        raise ConfigError(f"what was sent is a {type(content).__name__}; one JSON object is needed.")
    return content


def _parsed(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """The values as the model takes them.

    Raises:
        ConfigError: The first thing that is wrong with them.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in finding["loc"])
    known = list(model.model_fields)
    if finding["type"] == "extra_forbidden":
        raise ConfigError(
            f"{_shown(name)} is not a parameter {where}.{did_you_mean(name[:_LONGEST_NAME], known)}",
            hint=f"the parameters are {', '.join(known)}." if known else "it has none.",
        )
    if finding["type"] == "missing":
        raise ConfigError(f"{_shown(name)} is missing.", hint=f"the parameters {where} are {', '.join(known)}.")
    wish = finding["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removesuffix(".")
    raise ConfigError(f"{_shown(name or 'it')} must be {wish}; got {_shown(finding['input'])}.")


def _shown(value: object) -> str:
    """A value as an error repeats it: not longer than people read, and nothing in it that a terminal obeys."""
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _check_depth(data: bytes) -> None:
    """Refuse brackets within brackets before anything walks through them.

    Raises:
        ConfigError: They are too deep.
    """
    depth, inside, escaped = 0, False, False
    for letter in data:
        if inside:
            if escaped:
                escaped = False
            elif letter == 0x5C:  # backslash
                escaped = True
            elif letter == 0x22:
                inside = False
        elif letter == 0x22:  # quotation mark
            inside = True
        elif letter in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise ConfigError(f"what was sent is nested deeper than {_DEEPEST} levels.", hint="send flat values.")
        elif letter in b"]}":
            depth -= 1


def _no_constant(name: str) -> Any:
    raise ConfigError(f"what was sent has {name}, which is not JSON.", hint="send null where there is no number.")


def _finite_number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ConfigError(f"the number {_shown(text)} is too large.", hint="send null where there is no number.")
    return number


def _whole_number(text: str) -> int:
    if len(text) > 20:
        raise ConfigError(f"the number {_shown(text)} is too large.", hint="whole numbers have up to 20 digits.")
    return int(text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"{_shown(name)} is given twice.", hint="give each name once.")
        found[name] = value
    return found


def _plain(value: Any) -> Any:
    """NumPy's arrays and numbers as Python's; paths as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _finite(value: Any) -> Any:
    """The content with None where a number is not finite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return _finite(value.tolist()) if hasattr(value, "tolist") else value
