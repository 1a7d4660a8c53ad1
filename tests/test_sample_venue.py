"""SAMPLE behind the interface of all venues: a download through it stores the market as it is made."""

from pathlib import Path

import pytest

from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from barwise.errors import DataError
from barwise.exchange.base import Adapter
from barwise.exchange.download import download
from barwise.exchange.sample import Sample
from barwise.timeframe import DAY_MS, Timeframe

START = 1_735_689_600_000  # 2025-01-01


@pytest.mark.parametrize("timeframe", ["1M", "1H", "1D"])
def test_a_download_stores_the_market_as_it_is_made(tmp_path: Path, timeframe: str) -> None:
    venue: Adapter = Sample()
    store = CandleStore(tmp_path)
    end = START + 100 * DAY_MS
    report = download(venue, store, "SAMPLE-ETH", timeframe, START, end)
    candles = sample_candles("SAMPLE-ETH", timeframe, START, end)
    assert store.get("SAMPLE", "SAMPLE-ETH", timeframe, START, end) == candles
    assert report.rows == len(candles)
    assert candles.synthetic


def test_its_markets_have_steps_and_an_unknown_one_the_nearest_name() -> None:
    assert Sample().market("SAMPLE-BTC").tick_size > 0.0
    with pytest.raises(DataError, match="Did you mean SAMPLE-SOL"):
        Sample().market("SAMPLE-SOLL")
    with pytest.raises(DataError, match="SAMPLE-SOLL"):
        Sample().fetch_page("SAMPLE-SOLL", Timeframe("1H"), START, START + DAY_MS)
