"""What an HTTP answer says by itself, when its body is a proxy's page or says nothing we know.

Adapters judge the venue's own error bodies first and hand over to `by_status` for the rest.
"""

from collections.abc import Mapping

from barwise.errors import APIError, CredentialError
from barwise.exchange.http import TransientError
from barwise.obs import redact

_LONGEST_QUOTE = 200


def by_status(exchange: str, status: int, *, address: str) -> None:
    """Raise what the HTTP status says; return where it is a success.

    Args:
        exchange: For the message.
        status: Of the answer.
        address: Name of the variable that sets the venue's base URL, for the hint.

    Raises:
        TransientError: 408 and 5xx, which may pass.
        CredentialError: 401.
        APIError: Everything else outside 200 to 299.
    """
    if 200 <= status < 300:
        return
    if status == 408 or status >= 500:
        raise TransientError(
            APIError(
                f"{exchange} is not available now (HTTP {status}).",
                hint="look at the venue's status page and run the same command again later: what is stored stays.",
                status=status,
            )
        )
    if status == 401:
        raise CredentialError(
            f"{exchange} did not accept the key (HTTP 401).",
            hint="make a new key with reading rights and put it into config/.env.",
        )
    if status in {403, 451}:
        raise APIError(
            f"{exchange} refuses requests from this address (HTTP {status}).",
            hint=f"its firewall or your country's rules stand in between; {address} names another host or a proxy.",
            status=status,
        )
    if status < 400 or status in {404, 405, 410}:
        raise APIError(
            f"{exchange} has nothing at this address (HTTP {status}).",
            hint=f"check {address}: it must be the scheme and host of the venue's REST API.",
            status=status,
        )
    raise APIError(
        f"{exchange} refused the question without a reason (HTTP {status}).",
        hint=f"check {address}; if it is right, the venue has changed and this package needs an update.",
        status=status,
    )


def header_number(headers: Mapping[str, str], name: str) -> float | None:
    """A header as a number >= 0, None where it is absent or something else."""
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return number if 0.0 <= number < float("inf") else None


def quote(text: object) -> str:
    """A venue's own words for use in a message: without credentials, on one line, and short."""
    return " ".join(redact(str(text)).split())[:_LONGEST_QUOTE].rstrip(".")
