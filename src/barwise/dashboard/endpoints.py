"""How the API is declared: one line says path, query, answer and what it is for, and is all that there is of it.

The same declaration makes the Flask route, checks what comes in, and is read for the OpenAPI document, so that none of
them can promise what another does not keep. The page uses nothing but this API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

PREFIX = "/api/v1"

# JSON schema of an answer that is an object of any content.
OBJECT: Mapping[str, Any] = {"type": "object"}


class Query(BaseModel):
    """What may stand behind the `?` of a path; unknown names are errors with the nearest match."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """What may be sent with a POST, as JSON; unknown names are errors with the nearest match."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Endpoint:
    """One thing that the API does.

    Attributes:
        method: GET never changes anything.
        path: Below `PREFIX`, with `<name>` for parts that vary.
        function: Called with the parts of the path by name, and `query` or `body` where there is one; it returns what
            is sent as JSON, or a Flask response. Errors are raised as errors of this package.
        summary: One sentence, for people who write programs against it.
        query, body: What it takes.
        answers: JSON schema of what comes back.
        tag: Which part of the API it belongs to.
    """

    method: Literal["GET", "POST"]
    path: str
    function: Callable[..., Any]
    summary: str
    query: type[Query] | None
    body: type[Body] | None
    answers: Mapping[str, Any]
    tag: str


class Endpoints:
    """The endpoints of one part of the API.

    Args:
        tag: Name of the part.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Endpoint] = []

    def get(
        self, path: str, summary: str, *, query: type[Query] | None = None, answers: Mapping[str, Any] = OBJECT
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare what a GET does."""
        return self._declared("GET", path, summary, query, None, answers)

    def post(
        self, path: str, summary: str, *, body: type[Body] | None = None, answers: Mapping[str, Any] = OBJECT
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare what a POST does."""
        return self._declared("POST", path, summary, None, body, answers)

    def _declared(
        self,
        method: Literal["GET", "POST"],
        path: str,
        summary: str,
        query: type[Query] | None,
        body: type[Body] | None,
        answers: Mapping[str, Any],
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self.all.append(Endpoint(method, path, function, summary, query, body, answers, self.tag))
            return function

        return declare
