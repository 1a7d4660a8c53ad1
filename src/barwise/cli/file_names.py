"""What a file's name says about the candles in it, where the file itself says nothing."""

import re
from contextlib import suppress
from pathlib import Path

from barwise.errors import ConfigError, DataError
from barwise.timeframe import Timeframe

_VENUE_OF_PREFIX = {
    "binance_spot": "BINANCE",
    "binance_um": "BINANCE_UM",
    "delta_india": "DELTA",
    "dhan": "DHAN",
    "kite_bse": "ZERODHA",
    "nse": "ZERODHA",
}
# binance_spot_BTCUSDT_1h_20200920_20250331.parquet
_WITH_VENUE = re.compile(
    rf"(?P<venue>{'|'.join(_VENUE_OF_PREFIX)})_(?P<symbol>[A-Z0-9][A-Z0-9-]*(?:_[A-Z][A-Z0-9]*)*)_(?P<frame>\d+[mhdw])(?:_|\.)"
)
# BTCUSDT-1h-2024-10.zip of data.binance.vision, which does not say of which of Binance's markets it is
_ARCHIVE = re.compile(r"(?:.*[^A-Z0-9])?(?P<symbol>[A-Z0-9]+)-(?P<frame>\d+[mhdw])-\d{4}-\d{2}")


def guessed_identity(path: Path) -> dict[str, str]:
    """Exchange, symbol and timeframe as far as the name tells them; empty where it tells nothing."""
    match = _WITH_VENUE.match(path.name) or _ARCHIVE.match(path.name)
    if match is None:
        return {}
    guess = {"symbol": match["symbol"]}
    if "venue" in match.groupdict():
        guess["exchange"] = _VENUE_OF_PREFIX[match["venue"]]
    with suppress(ConfigError):  # a timeframe that is none of ours: the reader of the file says so
        guess["timeframe"] = Timeframe.parse(match["frame"]).name
    return guess


def stored_identity(path: Path) -> dict[str, str]:
    """What a Parquet file of ours says of itself; empty for any other file."""
    from barwise.data.files import read_description

    if path.suffix.lower() != ".parquet" or not path.is_file():
        return {}
    try:
        description = read_description(path)
    except DataError:
        return {}  # reading the candles will say what is wrong with it
    return {name: str(description[name]) for name in ("exchange", "symbol", "timeframe") if description.get(name)}


def completed_identity(
    path: Path, exchange: str | None, symbol: str | None, timeframe: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """The identity of a file's candles, and which part of it is a guess.

    What the user says comes first, then what the file says, then its name.

    Returns:
        exchange, symbol and timeframe as far as they are known; and those of them that were taken from the name.
    """
    given = {"exchange": exchange, "symbol": symbol, "timeframe": timeframe}
    known = stored_identity(path) | {name: value for name, value in given.items() if value}
    names = guessed_identity(path)
    guess = {name: names[name] for name in given if name in names and name not in known}
    return known | guess, guess
