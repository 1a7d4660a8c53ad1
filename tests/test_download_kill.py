"""A download that dies at any moment goes on where it stopped, and two at once end with one truth.

The children come from a fork server that has everything imported, so that fifty of them cost seconds, not minutes; what
they do to the disk is what any process does that is killed.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barwise.data.store import CandleStore, Span
from barwise.exchange.download import download
from barwise.timeframe import HOUR_MS
from tests.forked import Start
from tests.test_candles import NEW_YEAR, built, hours
from tests.test_download import FakeVenue

KEY = ("BINANCE", "BTCUSDT", "1H")
PAGE_BARS = 5
BARS = 480 * PAGE_BARS
GONE = frozenset({*range(12), 333, 334, *range(1000, 1031), 1777})
END = NEW_YEAR + BARS * HOUR_MS
KILLS = 50

PRELOADED = ("polars",)


# Made once, in the fork server too, so that its children start with it.
MARKET = built([row for at, row in enumerate(hours(BARS)) if at not in GONE])


@dataclass
class SlowVenue(FakeVenue):
    """Answers after some milliseconds and writes down each question in a file that all processes share.

    After `patience` answers it keeps silent, so that a slow machine cannot finish a download that is to be killed.
    """

    log: Path = Path()
    patience: int = 1_000_000

    def fetch_page(self, symbol: str, timeframe: Any, start_ms: int, end_ms: int) -> Any:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, f"{start_ms} {end_ms}\n".encode())
        finally:
            os.close(descriptor)
        time.sleep(0.001 if len(self.asked) < self.patience else 600)
        return super().fetch_page(symbol, timeframe, start_ms, end_ms)


def download_everything(root: Path, log: Path, patience: int = 1_000_000) -> None:
    venue = SlowVenue(MARKET, page_bars=PAGE_BARS, log=log, patience=patience)
    download(venue, CandleStore(root), "BTCUSDT", "1H", NEW_YEAR, END)


def compact_for_ever(root: Path) -> None:
    while True:
        CandleStore(root).compact(*KEY)


def questions(log: Path) -> list[Span]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [Span(*map(int, line.split())) for line in lines]


def test_after_fifty_kills_the_store_is_that_of_an_undisturbed_download_and_nothing_stored_was_asked_again(
    tmp_path: Path, started: Start
) -> None:
    root, log = tmp_path / "cache", tmp_path / "asked"
    store, random = CandleStore(root), np.random.default_rng(3)
    for kill in range(KILLS):
        known, covered = len(questions(log)), store.coverage(*KEY)
        pages = int(random.integers(1, 10))
        process = started(download_everything, root, log, pages + 2)
        while len(questions(log)) < known + pages:
            assert process.is_alive(), f"the download was over after {kill} kills"
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.006))
        process.kill()
        process.join()
        again = [asked for asked in questions(log)[known:] if any(asked.overlaps(span) for span in covered)]
        assert again == []
        if kill % 5 == 4:
            stored = store.get(*KEY)
            assert stored == MARKET[: len(stored)]
    process = started(download_everything, root, log)
    process.join()
    assert process.exitcode == 0

    undisturbed = tmp_path / "undisturbed"
    download_everything(undisturbed, tmp_path / "asked once")
    assert store.get(*KEY) == MARKET == CandleStore(undisturbed).get(*KEY)
    assert store.coverage(*KEY) == (Span(NEW_YEAR, END),)
    holes = [(hole.span, hole.bars) for hole in store.holes(*KEY)]
    assert holes == [(hole.span, hole.bars) for hole in CandleStore(undisturbed).holes(*KEY)]
    names = [sorted(path.name for path in place.rglob("*.parquet")) for place in (root, undisturbed)]
    assert names[0] == names[1]
    assert not list(root.rglob(".tmp-*"))


def test_two_downloads_of_one_market_at_once_end_with_every_candle_once(tmp_path: Path, started: Start) -> None:
    root, log = tmp_path / "cache", tmp_path / "asked"
    pair = [started(download_everything, root, log) for _ in range(2)]
    for process in pair:
        process.join()
    assert [process.exitcode for process in pair] == [0, 0]
    store = CandleStore(root)
    assert store.get(*KEY) == MARKET
    assert store.coverage(*KEY) == (Span(NEW_YEAR, END),)
    assert store.corrections(*KEY) is None
    store.compact(*KEY)
    assert store.get(*KEY) == MARKET


def test_a_compaction_that_is_killed_loses_no_bar_and_readers_never_notice_one(tmp_path: Path, started: Start) -> None:
    store, candles, random = CandleStore(tmp_path / "cache"), MARKET, np.random.default_rng(4)
    reads = 0
    for begin in range(0, 1500, 100):
        for at in range(begin, begin + 100, 10):
            store.put(candles[at : at + 10])
        process = started(compact_for_ever, store.root)
        until = time.monotonic() + random.uniform(0.0, 0.12)
        reads_before = reads
        while time.monotonic() < until or reads < reads_before + 2:  # a busy machine reads as well, only later
            assert store.get(*KEY) == candles[: begin + 100]
            reads += 1
        process.kill()
        process.join()
        assert store.get(*KEY) == candles[: begin + 100]
    assert reads > 15
    assert store.compact(*KEY).after == 3
    assert store.get(*KEY) == candles[:1500]
