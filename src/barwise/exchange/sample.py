"""SAMPLE as a venue: the synthetic market behind the interface of all others.

Whoever works on downloads has a venue that is always there. The manager stores none of its candles.
"""

import time

from barwise.data.candles import SYNTHETIC_EXCHANGE
from barwise.data.synthetic import sample_candles, sample_symbols
from barwise.errors import DataError, did_you_mean
from barwise.exchange.base import Capabilities, Check, Market, Page
from barwise.timeframe import Timeframe


class Sample:
    """The synthetic market, named SAMPLE; it needs no key and has no limit."""

    capabilities = Capabilities(
        exchange=SYNTHETIC_EXCHANGE,
        title="synthetic market",
        intervals={name: name for name in Timeframe.names()},
        page_bars=dict.fromkeys(Timeframe.names(), 100_000),
        needs_key=False,
        credentials=(),
    )

    def fetch_page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """The candles that open in [start_ms, end_ms).

        Raises:
            DataError: No such symbol, or the span lies outside 2018..2035.
        """
        candles = sample_candles(symbol, timeframe, start_ms, end_ms)
        return Page(*candles.bars, candles.quote_volume)

    def server_time_ms(self) -> int:
        """This machine's clock."""
        return int(time.time() * 1000)

    def market(self, symbol: str) -> Market:
        """Steps of a symbol.

        Raises:
            DataError: No such symbol.
        """
        known = {sample.name: sample for sample in sample_symbols()}
        if symbol not in known:
            raise DataError(f"SAMPLE has no market {symbol}.{did_you_mean(symbol, known)}", hint=", ".join(known))
        return Market(symbol, known[symbol].tick_size, known[symbol].lot_size, status="SYNTHETIC")

    def check_credentials(self) -> Check:
        """A candle is made, which is all that can be looked at."""
        sample_candles(start="2024-01-01", end="2024-01-02")
        symbols = ", ".join(symbol.name for symbol in sample_symbols())
        return Check("candles", True, f"made on this machine, SYNTHETIC; its symbols: {symbols}.")
