"""What a venue is to the rest of the project: capabilities as data and one request per call.

An adapter knows how its venue words a question and an answer, and nothing else. Paging, limits, retries, validation,
the rule that only closed candles count, and the store are written once, outside (`http`, `download`, `manager`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.timeframe import Timeframe


@dataclass(frozen=True)
class Capabilities:
    """What a venue offers, as data.

    Attributes:
        exchange: Our name of the venue, upper case.
        title: What people call it.
        intervals: The venue's word for each timeframe it serves; the others are resampled from a finer one it serves.
        page_bars: Most candles one request returns, per timeframe.
        needs_key: Candles need a credential.
        credentials: Names of the environment variables, in the order they are needed.
        volume_unit: What the volume of our candles counts after normalisation: "base units", "contracts" or "shares".
        funding, mark_price, archives, stream: What else it serves.
    """

    exchange: str
    title: str
    intervals: Mapping[str, str | int]
    page_bars: Mapping[str, int]
    needs_key: bool
    credentials: tuple[str, ...]
    volume_unit: str = "base units"
    funding: bool = False
    mark_price: bool = False
    archives: bool = False
    stream: bool = False

    def serves(self, timeframe: Timeframe) -> bool:
        """The venue has candles of this timeframe itself."""
        return timeframe.name in self.intervals


class Page(NamedTuple):
    """The candles of one answer, as they came: any order, maybe beyond the span asked for, times in ms UTC (open)."""

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    quote_volume: FloatArray | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[float]], *, with_quote: bool = False) -> "Page":
        """A page from rows of (time in ms, open, high, low, close, volume[, quote volume])."""
        width = 7 if with_quote else 6
        table = np.array([row[:width] for row in rows], dtype=np.float64).reshape(-1, width)
        columns = [np.ascontiguousarray(table[:, at]) for at in range(1, width)]
        return cls(table[:, 0].astype(np.int64), *columns)


@dataclass(frozen=True)
class Market:
    """The rules of one market at its venue.

    Attributes:
        symbol: As the venue writes it.
        tick_size, lot_size: Steps of price and quantity; 0 = not known.
        min_notional: Smallest order value in quote currency; 0 = none.
        contract_size: Base units per contract; 1 where quantities are base units.
        maker_fee, taker_fee: The venue's own figures for this market as fractions, None where it does not say.
        status: The venue's word, such as TRADING.
    """

    symbol: str
    tick_size: float = 0.0
    lot_size: float = 0.0
    min_notional: float = 0.0
    contract_size: float = 1.0
    maker_fee: float | None = None
    taker_fee: float | None = None
    status: str = ""


@dataclass(frozen=True)
class Check:
    """One finding of a connectivity check: what was looked at, whether it is well, and what to do if not."""

    name: str
    ok: bool
    message: str
    latency_ms: float | None = None


class Adapter(Protocol):
    """One venue. Every method that asks the venue sends exactly one request, through the shared client.

    Raises of all of them: CredentialError, RateLimitError, APIError, DataError; nothing foreign.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Candles that open in [start_ms, end_ms), at most `capabilities.page_bars` of them."""
        ...

    def server_time_ms(self) -> int:
        """The venue's clock, from its time endpoint or the Date header of the cheapest public request."""
        ...

    def market(self, symbol: str) -> Market:
        """The market's rules; DataError with the nearest names where the venue does not know it."""
        ...

    def check_credentials(self) -> Check:
        """Whether the key at hand works, with its expiry where the venue tells; never a request that could trade."""
        ...
