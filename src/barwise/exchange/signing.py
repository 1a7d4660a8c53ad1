"""Keys that sign and never show: what an adapter holds of a user's account.

A key and a secret are read once, registered with the log's redaction, and are out of reach of repr, vars, pickle and
copy. HMAC-SHA256 is what both Binance and Delta ask for; they differ in what is signed, which the adapters know.
"""

import hashlib
import hmac
from collections.abc import Callable, ItemsView, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import urlencode

from barwise.errors import CredentialError
from barwise.obs import hide


class Keys:
    """A venue's key and secret.

    Args:
        environment: Where the variables are.
        key_name, secret_name: Names of the variables; an empty value counts as missing.
    """

    __slots__ = ("__key", "__secret", "_names")

    def __init__(self, environment: Mapping[str, str], key_name: str, secret_name: str) -> None:
        self._names = (key_name, secret_name)
        self.__key, self.__secret = (environment.get(name, "").strip() for name in self._names)
        hide(self.__key, self.__secret)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the variables that are not set."""
        pairs = zip(self._names, (self.__key, self.__secret), strict=True)
        return tuple(name for name, value in pairs if not value)

    @property
    def key(self) -> str:
        """The key, which goes into a header.

        Raises:
            CredentialError: One of the two is not set, or the secret is of a kind we cannot sign with.
        """
        if self.missing:
            raise CredentialError(
                f"{' and '.join(self.missing)} not set; this question needs a key.",
                hint="put them into config/.env or the environment; a key that may only read is enough.",
            )
        if self.__secret.startswith("-----BEGIN"):
            raise CredentialError(
                f"{self._names[1]} is a private key in PEM format; only HMAC secrets are allowed.",
                hint="make a system-generated (HMAC) key with reading rights at the venue.",
            )
        return self.__key

    def sign(self, text: str) -> str:
        """HMAC-SHA256 of the text under the secret, in hex."""
        return hmac.new(self.__secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"Keys({', '.join(self._names)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("keys are not copied or stored")


class SignedQuery(Mapping[str, Any]):
    """Parameters whose timestamp and signature are made anew each time they are read, so that each try has its own.

    The signature covers the percent-encoded query, in the order in which it is sent (Binance, since 2026-01-15).

    Args:
        keys: Sign it.
        parameters: Without timestamp and signature.
        now_ms: The wall clock in ms UTC.
    """

    def __init__(self, keys: Keys, parameters: Mapping[str, Any], now_ms: Callable[[], int]) -> None:
        self._keys, self._parameters, self._now_ms = keys, dict(parameters), now_ms

    def items(self) -> ItemsView[str, Any]:
        """All parameters, signed now."""
        fresh = {**self._parameters, "timestamp": self._now_ms()}
        fresh["signature"] = self._keys.sign(urlencode(fresh))
        return fresh.items()

    def __getitem__(self, name: str) -> Any:
        return dict(self.items())[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._parameters, "timestamp", "signature"))

    def __len__(self) -> int:
        return len(self._parameters) + 2

    def __repr__(self) -> str:
        return f"SignedQuery({self._parameters})"
