"""How fast candles come in and go out: a year of minutes from a loopback venue, then from the store.

Run: .venv/bin/python benchmarks/venues.py

The venue is the loopback server of the tests, in this process, serving a year of SAMPLE minutes as Binance would. What
is measured is asking, checking and storing; a real venue adds its distance and its limits. Nothing leaves this machine.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from barwise.data.synthetic import sample_candles  # noqa: E402
from barwise.exchange.manager import ExchangeManager  # noqa: E402
from tests.venues.server import VenueServer  # noqa: E402

YEAR = ("2025-01-01", "2026-01-01")
NOW_MS = 1_785_000_000_000  # 2026-07-25, so that all of the year is closed


def fetch(timeframe: str, start: str, end: str) -> tuple[float, int]:
    """Seconds and bars of one request through the manager."""
    began = time.perf_counter()
    candles = ExchangeManager().fetch_ohlc("BINANCE", "BTCUSDT", timeframe, start, end)
    return time.perf_counter() - began, len(candles)


def main() -> None:
    """Measure and print."""
    served = {}
    for timeframe in ("1M", "1H"):
        candles = sample_candles("SAMPLE-BTC", timeframe, *YEAR)
        served["BINANCE", "BTCUSDT", timeframe] = [
            candles.time, candles.open, candles.high, candles.low, candles.close, candles.volume,
        ]  # fmt: skip
    with VenueServer(served, NOW_MS) as server, tempfile.TemporaryDirectory() as home:
        server.warm()
        os.environ |= {**server.environment(), "BARWISE_HOME": home}
        # Without an archive address the API alone is asked: 526 pages of 1,000 minutes.
        os.environ.pop("BINANCE_ARCHIVE_URL")
        seconds, bars = fetch("1M", *YEAR)
        print(f"download, 1M, {bars:,} bars: {seconds:.1f} s, checks and storing included")
        again = median(fetch("1M", *YEAR)[0] for _ in range(5))
        print(f"store, 1M, {bars:,} bars: {again * 1e3:.0f} ms")
        fetch("1H", *YEAR)
        quarter = [fetch("1H", "2025-01-01", "2025-03-31") for _ in range(21)]
        print(f"store, 1H, {quarter[0][1]:,} bars: {median(seconds for seconds, _ in quarter) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
