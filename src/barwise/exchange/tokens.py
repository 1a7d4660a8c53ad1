"""Tokens that are sent as they are and die within a day: what an adapter holds of an Indian account.

Values are read once, registered with the log's redaction, and are out of reach of repr, vars, pickle and copy. Unlike
a key that signs (`signing`), a token goes over the wire itself and is replaced while the program runs.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import NoReturn

from barwise.errors import CredentialError
from barwise.obs import hide

# A JWT names its end in seconds; below this it is no date of this century.
_SMALLEST_END_S = 946_684_800


class Tokens:
    """The credentials of one account.

    Args:
        environment: Where the variables are; an empty value counts as missing.
        names: Names of the variables.
    """

    __slots__ = ("__values", "_names")

    def __init__(self, environment: Mapping[str, str], names: tuple[str, ...]) -> None:
        self._names = names
        self.__values = {name: environment.get(name, "").strip() for name in names}
        hide(*self.__values.values())

    def missing(self, *names: str) -> tuple[str, ...]:
        """Which of these variables (of all, where none is named) are not set."""
        return tuple(name for name in names or self._names if not self.__values[name])

    def take(self, name: str, *, hint: str) -> str:
        """The value of a variable, to be sent.

        Raises:
            CredentialError: It is not set; with this hint.
        """
        value = self.__values[name]
        if not value:
            raise CredentialError(f"{name} is not set; this question needs it.", hint=hint)
        if not (value.isascii() and value.isprintable()):
            raise CredentialError(f"{name} has characters that no token has.", hint=f"copy it again. {hint}")
        return value

    def replace(self, name: str, value: str) -> None:
        """Go on with another value."""
        hide(value)
        self.__values[name] = value

    def expiry_ms(self, name: str) -> int | None:
        """When a token ends by its own words, ms UTC; None where it is no JWT or does not say.

        The signature is not looked at: only the venue can, and this is for messages only.
        """
        parts = self.__values[name].split(".")
        if len(parts) != 3:
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            end = int(claims["exp"])
        except (binascii.Error, KeyError, OverflowError, TypeError, ValueError):
            return None
        return end * 1000 if end >= _SMALLEST_END_S else None

    def __repr__(self) -> str:
        return f"Tokens({', '.join(self._names)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("tokens are not copied or stored")
