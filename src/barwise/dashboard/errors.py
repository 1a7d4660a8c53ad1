"""Errors that only a dashboard has, and the status that every error of the package has there."""

from collections.abc import Mapping
from typing import Any, Final

from barwise.errors import (
    APIError,
    BacktestError,
    BarwiseError,
    CheckpointError,
    ConfigError,
    CredentialError,
    DataError,
)
from barwise.obs import redact


class DashboardError(BarwiseError):
    """Base of the errors that only a dashboard has.

    Attributes:
        status: Of the HTTP answer.
    """

    status: int = 400

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer has besides its text."""
        return {}


class NotFound(DashboardError):  # noqa: N818 - it is what the answer says
    """There is no run, part, market or trade of this name."""

    status = 404


class NotSignedIn(DashboardError):  # noqa: N818
    """A token is needed, and none or a wrong one came."""

    status = 401

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="barwise"'}


class Forbidden(DashboardError):  # noqa: N818
    """The request comes from a page that is not ours."""

    status = 403


class WrongHost(DashboardError):  # noqa: N818
    """The request was meant for another server: a foreign name has been pointed at this address."""

    status = 421


class TooBusy(DashboardError):  # noqa: N818
    """All places are taken; it may be asked again.

    Args:
        retry_after: Whole seconds until then.
    """

    status = 503

    def __init__(self, message: str, *, hint: str = "", retry_after: int = 5) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}


# The first class that an error belongs to counts.
_STATUS: Final[tuple[tuple[type[BarwiseError], int], ...]] = (
    (ConfigError, 400),
    (CheckpointError, 409),
    (DataError, 422),
    (BacktestError, 422),
    (CredentialError, 422),
    (APIError, 502),
)


def status_of(error: BarwiseError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, DashboardError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_document(kind: str, message: str, hint: str = "") -> dict[str, Any]:
    """The one form that every error has in an answer; credentials are taken out of it."""
    return {"error": {"kind": kind, "message": redact(message), "hint": redact(hint)}}


# JSON schema of `error_document`.
ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "hint"],
            "properties": {
                "kind": {"type": "string", "description": "Class of the error, or the name of the HTTP status."},
                "message": {"type": "string", "description": "One sentence: what came, what is allowed."},
                "hint": {"type": "string", "description": "What to do now; may be empty."},
            },
        }
    },
}
