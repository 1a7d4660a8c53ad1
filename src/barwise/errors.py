"""Every exception this project raises, as one tree.

    BarwiseError
    ├── ConfigError (ValueError)      a parameter, option or file of settings is wrong      exit code 2
    ├── CredentialError               a venue needs a key that is missing, wrong or expired  exit code 1
    ├── APIError                      a venue answered with an error                         exit code 1
    │   └── RateLimitError            ... because it was asked too often
    ├── DataError (ValueError)        candles are missing, broken or too few                 exit code 1
    ├── BacktestError                 a run cannot go on                                     exit code 1
    └── CheckpointError               a saved run cannot be continued                        exit code 1

The message says what came and what is allowed; `hint` says what to do now. No exception of another library leaves
the package.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BarwiseError(Exception):
    """Base of all errors of this package.

    Args:
        message: One sentence: what came, what is allowed.
        hint: What to do now, or "" where the message already says it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(BarwiseError, ValueError):
    """A parameter, option or settings file is wrong."""

    exit_code = 2


class CredentialError(BarwiseError):
    """A venue needs a credential that is missing, wrong or expired."""


class APIError(BarwiseError):
    """A venue answered with an error.

    Args:
        status: HTTP status, or None where there was no answer.
        code: The venue's own error code, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: str | int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class RateLimitError(APIError):
    """A venue was asked too often.

    Args:
        retry_after: Seconds until it may be asked again, or None where the venue does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: str | int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, status=status, code=code)
        self.retry_after = retry_after


class DataError(BarwiseError, ValueError):
    """Candles are missing, broken or too few."""


class BacktestError(BarwiseError):
    """A run cannot go on."""


class CheckpointError(BarwiseError):
    """A saved run cannot be continued."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The sentence ` Did you mean X?` for the nearest known word, or "" where none is near."""
    names = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), names, n=1)
    return f" Did you mean {names[matches[0]]}?" if matches else ""
