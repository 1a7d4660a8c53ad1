"""Stages 1 and 2: may this computer ask the venues, and do they answer?

A venue that does not answer ends nothing here: its candles may all be in the store. It is said early, because half an
hour later it would be an unpleasant surprise.
"""

from collections.abc import Iterable

from barwise.data.candles import SYNTHETIC_EXCHANGE
from barwise.exchange.credentials import read_environment
from barwise.exchange.manager import ExchangeManager
from barwise.exchange.venues import capabilities_of
from barwise.pipeline.stages import Market


def venues_of(markets: Iterable[Market]) -> list[str]:
    """The venues that candles may have to be asked for, each once, in the order they are named."""
    asked = [market.exchange for market in markets if market.candle_file is None]
    return [name for name in dict.fromkeys(asked) if name != SYNTHETIC_EXCHANGE]


def describe_credentials(venues: list[str]) -> str:
    """Stage 1: which venues have a key in config/.env, never which key.

    Raises:
        ConfigError: config/.env cannot be read.
    """
    if not venues:
        return "no venue is asked, so none is needed"
    environment = read_environment()
    said = []
    for name in venues:
        offers = capabilities_of(name)
        if not offers.credentials:
            said.append(f"{name} needs none")
        else:
            present = "set" if environment.has(offers.credentials) else "not set"
            said.append(f"{name} {present}{'' if offers.needs_key else ' (candles need none)'}")
    return ", ".join(said)


def describe_connectivity(venues: list[str]) -> tuple[str, list[str]]:
    """Stage 2: which venues answer; and a sentence for each that does not."""
    if not venues:
        return "no venue is asked", []
    said, failed = [], []
    for name in venues:
        status = ExchangeManager().validate_connectivity(name)
        said.append(f"{name} {status['status']}")
        if status["status"] != "READY":
            failed.append(f"{status['message']} Candles that the store has are used.")
    return ", ".join(said), failed
