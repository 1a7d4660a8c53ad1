"""The venues by name. Their modules are loaded when they are asked for: a backtest on SAMPLE needs none of them."""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from barwise.errors import ConfigError
from barwise.exchange.base import Adapter, Capabilities

if TYPE_CHECKING:
    from barwise.exchange.http import Client

_CLASSES = {
    "BINANCE": ("barwise.exchange.binance", "Binance"),
    "BINANCE_UM": ("barwise.exchange.binance", "BinanceFutures"),
    "DELTA": ("barwise.exchange.delta", "Delta"),
    "ZERODHA": ("barwise.exchange.zerodha", "Zerodha"),
    "DHAN": ("barwise.exchange.dhan", "Dhan"),
    "REPLAY": ("barwise.exchange.replay", "Replay"),
}
CONNECTED = tuple(_CLASSES)
# Any other venue, by its id in the optional library ccxt.
FOREIGN_PREFIX = "CCXT:"


class Venue(Adapter, Protocol):
    """An adapter of this package: one client, and in it the venue's limit, for all threads; None where it has none."""

    @property
    def client(self) -> "Client | None": ...


class FundingVenue(Venue, Protocol):
    """A venue with perpetual contracts."""

    @property
    def funding_page_ms(self) -> int: ...

    def funding_page(self, symbol: str, start_ms: int, end_ms: int) -> list[tuple[int, float]]: ...


def capabilities_of(name: str) -> Capabilities:
    """What a venue of `CONNECTED` or of ccxt offers.

    Raises:
        ConfigError: ccxt is not installed or does not know the venue.
    """
    if name.startswith(FOREIGN_PREFIX):
        from barwise.exchange import foreign

        return foreign.capabilities_of(name)
    return cast("Capabilities", _class_of(name).capabilities)


def connect(
    name: str,
    environment: Mapping[str, str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Venue:
    """The adapter of a venue; nothing is asked yet.

    Raises:
        ConfigError: An address of the environment is no http(s) address, or the venue needs what is not there: REPLAY
            its folder, CCXT:<id> the library.
    """
    for variable, value in environment.items():
        if variable.endswith("_URL") and "_WS_" not in variable and not value.startswith(("http://", "https://")):
            raise ConfigError(f"{variable} is not an http or https address.", hint=f"correct or remove {variable}.")
    if name.startswith(FOREIGN_PREFIX):
        from barwise.exchange.foreign import Foreign

        return Foreign(name, environment, sleep=sleep, clock=clock)
    return cast("Venue", _class_of(name)(environment, sleep=sleep, clock=clock))


def _class_of(name: str) -> Any:
    module, kind = _CLASSES[name]
    return getattr(import_module(module), kind)
