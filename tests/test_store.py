"""The store gives back exactly what was put, whoever dies in between, and never mixes two truths about one bar."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barwise.data.candles import Candles
from barwise.data.files import read_candles, read_description, write_candles
from barwise.data.parts import UnreadableFileError, find_holes, on_grid, steadily
from barwise.data.store import CandleStore, Hole, Provenance, Span
from barwise.errors import BarwiseError, ConfigError, DataError
from barwise.timeframe import Timeframe, calendar_of
from tests.test_candles import HOUR, NEW_YEAR, built, candle_lists, hours

DAY = 24 * HOUR
KEY = ("BINANCE", "BTCUSDT", "1H")

# What a writing process does in the tests below: put the candles of a file, so many at a time, and say so after each.
WRITER = """
import sys
from barwise.data.files import read_candles
from barwise.data.store import CandleStore
root, path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
candles, store = read_candles(path), CandleStore(root)
for at in range(0, len(candles), size):
    store.put(candles[at : at + size], source="writer")
    print(at, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "cache")


def writer(store: CandleStore, path: Path, size: int) -> "subprocess.Popen[str]":
    source = str(Path(__file__).resolve().parents[1] / "src")
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.root), str(path), str(size)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


def files_of(store: CandleStore) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file() and path.name != ".lock")


def test_what_is_put_comes_back_to_the_bit(store: CandleStore, market_data: Path) -> None:
    candles = read_candles(
        market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet", exchange="BINANCE", symbol="BTCUSDT"
    )
    report = store.put(candles, source="a file")
    assert (report.added, report.skipped, report.corrected, report.vanished) == (39676, 0, 0, 0)
    assert store.get(*KEY) == candles
    quarter = store.get("binance", "btcusdt", "1h", "2025-01-01", "2025-04-01")
    assert len(quarter) == 2160
    assert quarter == candles.between("2025-01-01", "2025-04-01")
    assert not quarter.close.flags.writeable
    assert str(store.put(candles)) == "0 bars added, 39,676 there already"
    assert len(files_of(store)) == 1


def test_a_file_is_named_by_its_span_and_says_what_it_is(store: CandleStore) -> None:
    report = store.put(built(hours(48)), source="a test", volume_unit="contracts")
    (path,) = report.files
    assert path == store.root / "BINANCE" / "BTCUSDT" / "1H" / "20250101T000000Z_20250103T000000Z.parquet"
    described = read_description(path)
    assert {name: described[name] for name in ("schema", "exchange", "symbol", "timeframe", "source", "rows")} == {
        "schema": 1,
        "exchange": "BINANCE",
        "symbol": "BTCUSDT",
        "timeframe": "1H",
        "source": "a test",
        "rows": 48,
    }
    assert described["units"]["volume"] == "contracts"
    assert described["written"].endswith("+00:00")


def test_only_the_bars_that_are_new_are_written(store: CandleStore) -> None:
    candles = built(hours(100))
    store.put(candles[20:40])
    store.put(candles[60:70])
    report = store.put(candles[:80])
    assert (report.added, report.skipped, len(report.files)) == (50, 30, 3)
    assert store.get(*KEY) == candles[:80]
    assert store.coverage(*KEY) == (Span(NEW_YEAR, NEW_YEAR + 80 * HOUR),)
    assert store.put(candles[10:30]).files == ()


def test_a_hole_that_is_filled_later_is_filled(store: CandleStore) -> None:
    candles = built(hours(30))
    with_hole = built([row for at, row in enumerate(hours(30)) if at not in (10, 11, 20)])
    store.put(with_hole)
    assert store.get(*KEY).gaps.missing == 3
    assert store.put(candles).added == 3
    assert store.get(*KEY) == candles
    assert store.put(with_hole).vanished == 3
    assert store.get(*KEY) == candles


def test_a_bar_that_arrives_with_other_values_is_kept_apart_and_reported(store: CandleStore) -> None:
    candles = built(hours(30))
    store.put(candles)
    rows = hours(30)
    rows[7]["volume"] += 1
    rows[9]["close"] += 0.5
    report = store.put(built(rows), source="fetched again")
    assert (report.added, report.skipped, report.corrected) == (0, 28, 2)
    assert "2 differ from what is stored" in str(report)
    assert store.get(*KEY) == candles
    corrections = store.corrections(*KEY)
    assert corrections is not None
    assert corrections.to_dicts() == [rows[7], rows[9]]
    assert store.put(built(rows)).files == ()  # known already
    rows[7]["volume"] += 1
    store.put(built(rows))
    latest = store.corrections(*KEY)
    assert latest is not None
    assert latest.to_dicts() == [rows[7], rows[9]]
    (entry,) = store.list()
    assert (entry.corrections, entry.bars, entry.files) == (2, 30, 1)


def test_nothing_there_says_what_is_and_how_to_get_it(store: CandleStore) -> None:
    with pytest.raises(DataError, match="BINANCE BTCUSDT 1H is not in the store") as caught:
        store.get(*KEY)
    assert "barwise data import FILE --exchange BINANCE --symbol BTCUSDT --timeframe 1H" in caught.value.hint
    store.put(built(hours(48)))
    with pytest.raises(DataError, match="Did you mean BTCUSDT"):
        store.get("BINANCE", "BTCUSD", "1H")
    with pytest.raises(DataError, match="Of BTCUSDT it has: 1H"):
        store.get("BINANCE", "BTCUSDT", "4H")
    with pytest.raises(
        DataError, match=r"stored from 2026-01-01 00:00 UTC on; stored: 2025-01-01 00:00 \.\. 2025-01-03 00:00 UTC"
    ):
        store.get(*KEY, "2026-01-01")
    with pytest.raises(DataError, match="after its end"):
        store.get(*KEY, "2026-01-01", "2025-01-01")
    with pytest.raises(ConfigError, match="not a timeframe"):
        store.get("BINANCE", "BTCUSDT", "3H")


def test_coverage_and_what_is_missing_of_a_span(store: CandleStore) -> None:
    candles = built(hours(100))
    store.put(candles[10:20])
    store.put(candles[20:30])
    store.put(candles[50:60])

    def span(begin: int, end: int) -> Span:
        return Span(NEW_YEAR + begin * HOUR, NEW_YEAR + end * HOUR)

    assert store.coverage(*KEY) == (span(10, 30), span(50, 60))
    assert store.missing(*KEY, NEW_YEAR, NEW_YEAR + 100 * HOUR) == (span(0, 10), span(30, 50), span(60, 100))
    assert store.missing(*KEY, NEW_YEAR + 12 * HOUR, NEW_YEAR + 25 * HOUR) == ()
    assert store.missing(*KEY, NEW_YEAR + 15 * HOUR, NEW_YEAR + 52 * HOUR) == (span(30, 50),)
    assert store.coverage("DELTA", "BTCUSD", "1H") == ()
    assert len(store.get(*KEY, NEW_YEAR + 15 * HOUR, NEW_YEAR + 52 * HOUR)) == 17


def test_the_list_tells_each_series_once(store: CandleStore, market_data: Path) -> None:
    assert store.list() == ()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        path = market_data / f"binance_spot_{symbol}_1h_20200920_20250331.parquet"
        store.put(read_candles(path, exchange="BINANCE", symbol=symbol), source=path.name)
    store.put(built(hours(48), exchange="SAMPLE"), source="made up")
    (store.root / "BINANCE" / "BTCUSDT" / "notes").mkdir()
    (store.root / "readme.txt").write_text("not a venue")
    listed = store.list()
    assert [(entry.exchange, entry.symbol, entry.timeframe.name) for entry in listed] == [
        ("BINANCE", "BTCUSDT", "1H"),
        ("BINANCE", "ETHUSDT", "1H"),
        ("SAMPLE", "BTCUSDT", "1H"),
    ]
    assert (listed[0].bars, listed[0].gaps, listed[0].missing) == (39676, 10, 20)
    assert listed[0].sources == ("binance_spot_BTCUSDT_1h_20200920_20250331.parquet",)
    assert [entry.synthetic for entry in listed] == [False, False, True]
    assert listed[2].to_dict()["spans"] == [{"start": NEW_YEAR, "end": NEW_YEAR + 48 * HOUR}]


def test_made_up_and_real_prices_never_share_a_series(store: CandleStore) -> None:
    store.put(built(hours(10)))
    with pytest.raises(DataError, match="the stored candles of this series are real, these are synthetic"):
        store.put(built(hours(20)[10:], synthetic=True))
    assert len(store.get(*KEY)) == 10
    store.put(built(hours(10), symbol="MADEUP", synthetic=True))
    assert store.get("BINANCE", "MADEUP", "1H").synthetic


def test_quote_volume_comes_back_where_every_file_of_the_span_has_it(store: CandleStore) -> None:
    rows = [{**row, "quote_volume": row["volume"] * row["close"]} for row in hours(20)]
    candles = built(rows)
    store.put(candles[:10])
    assert store.get(*KEY) == candles[:10]
    store.put(built(hours(20)[10:]))
    assert store.get(*KEY, NEW_YEAR, NEW_YEAR + 10 * HOUR) == candles[:10]
    assert store.get(*KEY) == built(hours(20))


@pytest.mark.parametrize(
    "symbol",
    [
        "NSE:RELIANCE",
        "../../ETC/PASSWD",
        "..",
        ".",
        ".HIDDEN",
        "A/B",
        "A\\B",
        "M&M",
        "NIFTY 50",
        "100%",
        "É",
        "CON",
        "~",
    ],
)
def test_any_symbol_stays_below_the_root_and_is_read_back(store: CandleStore, symbol: str) -> None:
    candles = built(hours(5), symbol=symbol)
    report = store.put(candles)
    inside = report.files[0].relative_to(store.root)
    assert len(inside.parts) == 4
    assert not any(part in {".", ".."} for part in inside.parts)
    assert store.get("BINANCE", symbol, "1H") == candles
    assert [entry.symbol for entry in store.list()] == [symbol]


@pytest.mark.parametrize("symbol", ["", "  ", "X" * 500, "\ud800"])
def test_names_that_cannot_be_stored_are_refused(store: CandleStore, symbol: str) -> None:
    with pytest.raises(DataError):
        store.put(built(hours(5), symbol=symbol))
    with pytest.raises(DataError, match="not a name"):
        store.get("BINANCE", symbol, "1H")
    with pytest.raises(DataError):
        store.get("BINANCE", 5, "1H")  # type: ignore[arg-type]


def test_unsound_and_nameless_candles_are_refused(store: CandleStore) -> None:
    with pytest.raises(DataError, match="not in time order"):
        store.put(built(hours(5)[::-1], audit="report"))
    with pytest.raises(DataError, match="needs an exchange and a symbol"):
        store.put(Candles.of(hours(5)))
    with pytest.raises(DataError, match="not one bar"):
        store.put(built(hours(5))[:0])
    with pytest.raises(DataError, match="cannot be stored"):
        store.put(built(hours(5, start=-10 * DAY), timeframe="1H"))
    assert files_of(store) == []


def test_a_damaged_file_is_named(store: CandleStore) -> None:
    (path,) = store.put(built(hours(50))).files
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=path.name) as caught:
        store.get(*KEY)
    assert "import the span again" in caught.value.hint
    path.write_bytes(b"")
    with pytest.raises(DataError, match=path.name):
        store.list()


def test_a_file_from_another_series_is_not_believed(store: CandleStore) -> None:
    (path,) = store.put(built(hours(50))).files
    other = store.root / "BINANCE" / "ETHUSDT" / "1H"
    other.mkdir(parents=True)
    path.rename(other / path.name)
    with pytest.raises(DataError, match="says that it holds BINANCE BTCUSDT 1H, not BINANCE ETHUSDT 1H"):
        store.get("BINANCE", "ETHUSDT", "1H")


def test_two_files_that_contradict_each_other_are_both_named(store: CandleStore) -> None:
    (path,) = store.put(built(hours(50))).files
    rows = hours(50)
    rows[30]["close"] += 0.5
    rival = path.with_name("20250101T050000Z_20250103T020000Z.parquet")
    write_candles(built(rows[5:]), rival)
    with pytest.raises(DataError, match="differ about 2025-01-02 06:00 UTC") as caught:
        store.get(*KEY)
    assert path.name in caught.value.message
    assert rival.name in caught.value.message
    assert len(store.get(*KEY, NEW_YEAR, NEW_YEAR + 20 * HOUR)) == 20  # equal overlap is no contradiction


def test_a_store_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        CandleStore(tmp_path / "file").put(built(hours(5)))


# -------------------------------------------------------------------------------------------- spans that were asked for


def hour(count: int) -> int:
    return NEW_YEAR + count * HOUR


def answered(at: int) -> Provenance:
    return Provenance("BINANCE", at, "Binance 0.1.0")


def test_a_span_that_was_asked_is_covered_whatever_is_missing_in_it(store: CandleStore) -> None:
    candles = built([row for at, row in enumerate(hours(40)) if 5 <= at < 30 and at != 12])
    report = store.put(candles, span=(hour(0), hour(40)))
    assert [path.name for path in report.files] == ["20250101T000000Z_20250102T160000Z.parquet"]
    assert store.coverage(*KEY) == (Span(hour(0), hour(40)),)
    assert [(hole.span, hole.bars) for hole in report.holes] == [
        (Span(hour(0), hour(5)), 5), (Span(hour(12), hour(13)), 1), (Span(hour(30), hour(40)), 10),
    ]  # fmt: skip
    assert store.get(*KEY) == candles
    assert store.count(*KEY) == 24
    assert store.count(*KEY, hour(10), hour(14)) == 3
    assert store.count("BINANCE", "NONE", "1H") == 0


def test_candles_of_no_bars_cover_their_span_and_change_nothing_else(store: CandleStore) -> None:
    candles = built([{**row, "quote_volume": row["volume"] * row["close"]} for row in hours(40)])
    store.put(candles[20:40])
    report = store.put(built([], audit="off"), span=(hour(0), hour(20)))
    assert report.added == 0
    assert store.coverage(*KEY) == (Span(hour(0), hour(40)),)
    assert store.get(*KEY) == candles[20:40]  # with its quote volume
    with pytest.raises(DataError, match=r"was asked for BTCUSDT 1H for .* and had not one candle"):
        store.get(*KEY, hour(0), hour(20))
    assert store.put(candles[:20], span=(hour(0), hour(20))).added == 20
    assert store.get(*KEY) == candles
    assert [entry.bars for entry in store.list()] == [40]


def test_late_bars_and_new_ones_between_them_are_each_written_once(store: CandleStore) -> None:
    candles = built(hours(15))
    for begin in (0, 10):
        store.put(candles[:0], span=(hour(begin), hour(begin + 5)))
    store.put(candles)
    assert [read_description(path)["rows"] for path in store.root.rglob("*.parquet")] == [5, 5, 5]
    assert store.get(*KEY) == candles


@pytest.mark.parametrize("span", [(hour(1), hour(40)), (hour(0), hour(39)), (hour(5), hour(5)), (hour(9), hour(2))])
def test_candles_that_leave_their_span_are_refused(store: CandleStore, span: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"leave the span|has no length"):
        store.put(built(hours(40)), span=span)
    assert files_of(store) == []


def test_a_span_is_written_only_where_it_was_not_covered(store: CandleStore) -> None:
    candles = built(hours(100))
    store.put(candles[20:40])
    store.put(candles[60:70])
    report = store.put(candles, span=(hour(-10), hour(110)))
    assert (report.added, report.skipped, len(report.files)) == (70, 30, 3)
    assert store.coverage(*KEY) == (Span(hour(-10), hour(110)),)
    assert store.get(*KEY) == candles


def test_holes_lie_between_bars_and_know_when_they_were_asked_for(store: CandleStore) -> None:
    rows = hours(100)
    store.put(built(rows[:30]))
    store.put(built(rows[40:60]), span=(hour(35), hour(70)), provenance=answered(1000))
    store.put(built(rows[80:90]), span=(hour(70), hour(100)), provenance=answered(2000))
    assert store.holes(*KEY) == (
        Hole(Span(hour(35), hour(40)), 5, 1000),  # 30 to 35 is not covered: missing, not a hole
        Hole(Span(hour(60), hour(80)), 20, 1000),  # the older of the two answers
    )
    assert store.holes(*KEY, older_than_days=0.5, now=1000 + DAY // 2) == store.holes(*KEY)
    assert store.holes(*KEY, older_than_days=0.5, now=999 + DAY // 2) == ()
    report = store.put(built(rows[:0], audit="off"), span=(hour(60), hour(80)), provenance=answered(5000))
    assert [path.name for path in report.files] == ["20250103T120000Z_20250104T080000Z-checked.parquet"]
    assert [hole.checked for hole in store.holes(*KEY)] == [1000, 5000]
    store.put(built(rows[60:75]), span=(hour(60), hour(75)), provenance=answered(6000))
    assert store.holes(*KEY)[1:] == (Hole(Span(hour(75), hour(80)), 5, 5000),)
    assert store.get(*KEY).to_dicts() == rows[:30] + rows[40:75] + rows[80:90]


def test_holes_of_an_imported_file_were_never_asked_for(store: CandleStore, market_data: Path) -> None:
    path = market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
    candles = read_candles(path, exchange="BINANCE", symbol="BTCUSDT")
    store.put(candles)
    holes = store.holes(*KEY, older_than_days=10_000)
    assert [(hole.span.start, hole.bars) for hole in holes] == list(candles.gaps.where)
    assert {hole.checked for hole in holes} == {None}
    assert holes[0].span.end in candles.time


def test_every_hole_is_found_however_many_there_are(store: CandleStore) -> None:
    gone = set(range(1, 3000, 2)) - {1501, 1503}
    candles = built([row for at, row in enumerate(hours(3001)) if at not in gone], audit="off")
    assert find_holes(candles.time, Span(hour(0), hour(3001)), candles.timeframe, candles.calendar) == [
        Hole(Span(hour(at), hour(at + 1)), 1) for at in sorted(gone)
    ]


def test_nights_and_weekends_of_an_indian_market_are_no_holes(store: CandleStore, market_data: Path) -> None:
    path = market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet"
    candles = read_candles(path, exchange="ZERODHA", symbol="RELIANCE", timeframe="5M")
    cut = Candles.of(
        [row for at, row in enumerate(candles) if at not in {100, 101, 700}], exchange="ZERODHA", symbol="RELIANCE"
    )
    span = (int(candles.time[0]) - DAY, int(candles.time[-1]) + DAY)
    store.put(cut, span=span, volume_unit="shares", provenance=answered(1000))
    expected = [(int(candles.time[100]), 2), (int(candles.time[700]), 1)]
    assert [(hole.span.start, hole.bars) for hole in store.holes("ZERODHA", "RELIANCE", "5M")] == expected
    store.compact("ZERODHA", "RELIANCE", "5M")
    assert store.get("ZERODHA", "RELIANCE", "5M") == cut


def test_volume_in_contracts_and_in_base_units_never_share_a_series(store: CandleStore) -> None:
    store.put(built(hours(10)), volume_unit="contracts")
    with pytest.raises(DataError, match="the stored volume counts contracts, the new one base units"):
        store.put(built(hours(20)))
    store.put(built(hours(20)), volume_unit="contracts")
    store.put(built(hours(10), symbol="OTHER"))
    store.put(built(hours(20), symbol="OTHER"), volume_unit="shares")  # a share is the base unit of its market
    assert store.count("BINANCE", "OTHER", "1H") == 20


# ---------------------------------------------------------------------------------------------------- damage and months


def test_damaged_files_are_set_aside_by_a_repair_and_by_the_next_put(
    store: CandleStore, caplog: pytest.LogCaptureFixture
) -> None:
    candles = built(hours(90))
    paths = [store.put(candles[at : at + 30]).files[0] for at in (0, 30, 60)]
    assert store.repair(*KEY) == ()
    for path in paths[:2]:
        path.write_bytes(path.read_bytes()[:100])
    assert store.repair(*KEY, hour(60), hour(90)) == ()
    aside = store.repair(*KEY, hour(0), hour(10))
    assert aside == (paths[0].with_name(f"{paths[0].name}.bad"),)
    assert aside[0].stat().st_size == 100
    assert store.missing(*KEY, hour(0), hour(90)) == (Span(hour(0), hour(30)),)
    report = store.put(candles[20:50])
    assert (report.added, report.skipped) == (30, 0)
    assert store.missing(*KEY, hour(0), hour(90)) == (Span(hour(0), hour(20)), Span(hour(50), hour(60)))
    assert store.get(*KEY, hour(20), hour(50)) == candles[20:50]
    assert caplog.text.count("is damaged; it was renamed") == 2


def test_a_file_that_the_system_does_not_let_us_read_is_not_set_aside(store: CandleStore) -> None:
    (path,) = store.put(built(hours(30))).files
    path.unlink()
    path.symlink_to(path)  # an endless loop: the system gives an error, whoever asks
    with pytest.raises(DataError, match="cannot be read"):
        store.repair(*KEY)
    with pytest.raises(DataError, match="cannot be read"):
        store.put(built(hours(30)))
    assert path.is_symlink()


def test_pages_become_calendar_months_with_all_that_their_files_said(store: CandleStore) -> None:
    candles = built([row for at, row in enumerate(hours(24 * 75)) if at not in {30, 31, 800, 1700}])
    for page, begin in enumerate(range(0, 24 * 75, 100)):
        span = Span(hour(begin), hour(min(begin + 100, 24 * 75)))
        store.put(
            candles.between(span.start, span.end),
            span=span,
            source="BINANCE api" if page < 10 else "BINANCE archive",
            volume_unit="contracts",
            provenance=Provenance("BINANCE", 1000 + page, "Binance 0.1.0", "api" if page < 10 else "archive"),
        )
    holes = store.holes(*KEY)
    assert store.compact(*KEY) == (18, 3)
    assert files_of(store) == [
        "20250101T000000Z_20250201T000000Z.parquet",
        "20250201T000000Z_20250301T000000Z.parquet",
        "20250301T000000Z_20250317T000000Z.parquet",
    ]
    assert store.get(*KEY) == candles
    assert store.coverage(*KEY) == (Span(hour(0), hour(24 * 75)),)
    assert [(hole.span, hole.bars) for hole in store.holes(*KEY)] == [(hole.span, hole.bars) for hole in holes]
    said = read_description(next(store.root.rglob("20250201T000000Z_*")))
    assert said["sources"] == ["BINANCE api", "BINANCE archive"]
    assert said["units"]["volume"] == "contracts"
    assert [(origin["endpoint"], origin["first"][-10:-6], origin["last"][-10:-6]) for origin in said["provenance"]] == [
        ("api", ".007", ".009"), ("archive", ".010", ".014"),
    ]  # fmt: skip
    assert (said["checked"], said["missing"]) == (1007, 1)
    assert store.list()[0].sources == ("BINANCE api", "BINANCE archive")
    written = [path.stat().st_ino for path in sorted(store.root.rglob("*.parquet"))]
    assert store.compact(*KEY) == (3, 3)
    assert [path.stat().st_ino for path in sorted(store.root.rglob("*.parquet"))] == written
    assert store.compact("BINANCE", "NONE", "1H") == (0, 0)


def test_a_compaction_claims_no_span_that_was_not_asked_for(store: CandleStore) -> None:
    candles = built(hours(200))
    for begin, end in ((0, 10), (10, 20), (50, 60), (60, 70), (100, 110)):
        store.put(candles[begin:end])
    assert store.compact(*KEY) == (5, 3)
    assert store.coverage(*KEY) == tuple(Span(hour(a), hour(b)) for a, b in ((0, 20), (50, 70), (100, 110)))
    assert store.count(*KEY) == 50


def test_years_without_a_bar_stay_one_file(store: CandleStore) -> None:
    candles = built(hours(100))
    store.put(candles[:0], span=(0, hour(-3456)))
    store.put(candles[:0], span=(hour(-3456), hour(0)))
    store.put(candles[:50])
    store.put(candles[50:])
    assert store.compact(*KEY) == (4, 2)
    assert store.coverage(*KEY) == (Span(0, hour(100)),)


@pytest.mark.parametrize(
    ("exchange", "timeframe", "names"),
    [
        ("ZERODHA", "1D", ["20191001T183000Z_20191031T183000Z", "20191031T183000Z_20191130T183000Z"]),
        ("BINANCE", "1W", ["20191007T000000Z_20191104T000000Z", "20191104T000000Z_20191202T000000Z"]),
    ],
)
def test_months_begin_with_the_first_bar_of_the_month_where_the_market_is(
    store: CandleStore, exchange: str, timeframe: str, names: list[str]
) -> None:
    frame = Timeframe(timeframe)
    first = on_grid(1_569_888_000_000 + 12 * HOUR, frame, calendar_of(exchange))
    candles = built(hours(100, start=first, step=frame.ms), exchange=exchange, timeframe=timeframe, audit="off")
    for at in range(0, 100, 2):
        store.put(candles[at : at + 2])
    store.compact(exchange, "BTCUSDT", timeframe)
    assert [name.removesuffix(".parquet") for name in files_of(store)][:2] == names
    assert store.get(exchange, "BTCUSDT", timeframe) == candles


def test_files_with_and_without_quote_volume_stay_apart(store: CandleStore) -> None:
    rows = [{**row, "quote_volume": row["volume"] * row["close"]} for row in hours(40)]
    candles = built(rows)
    store.put(candles[:10])
    store.put(candles[10:20])
    store.put(built(hours(40)[20:]))
    store.put(candles[:0], span=(hour(40), hour(50)))
    assert store.compact(*KEY) == (4, 4)
    assert store.get(*KEY, hour(0), hour(20)) == candles[:20]


def test_a_reader_looks_again_when_a_file_went_away_between_look_and_read(tmp_path: Path) -> None:
    def reader(path: Path, failures: int) -> Callable[[], int]:
        tries = iter(range(100))

        def read() -> int:
            number = next(tries)
            if number < failures:
                raise UnreadableFileError("gone", hint="", path=path, damaged=False)
            return number

        return read

    assert steadily(reader(tmp_path / "gone", 2)) == 2
    with pytest.raises(DataError):
        steadily(reader(tmp_path / "gone", 99))
    with pytest.raises(DataError):
        steadily(reader(tmp_path, 1))  # what is there and cannot be read will not get better


def test_what_a_dead_compaction_has_left_is_read_and_cleaned_up(store: CandleStore) -> None:
    candles = built(hours(1000))
    pages = [store.put(candles[at : at + 50]).files[0] for at in range(0, 1000, 50)]
    kept = {path: path.read_bytes() for path in pages[3:12]}
    store.compact(*KEY)
    for path, content in kept.items():
        path.write_bytes(content)
    assert store.get(*KEY) == candles
    assert store.put(candles).added == 0
    assert store.compact(*KEY).after == 2
    assert store.get(*KEY) == candles


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    rows=candle_lists(),
    spans=st.lists(st.tuples(st.integers(-30, 100), st.integers(1, 60), st.booleans()), min_size=1, max_size=8),
    months_of=st.sampled_from(["1H", "1D"]),
)
def test_any_spans_in_any_order_keep_every_bar_and_every_claim(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    spans: list[tuple[int, int, bool]],
    months_of: str,
) -> None:
    store = CandleStore(tmp_path_factory.mktemp("cache"))
    step = HOUR if months_of == "1H" else DAY
    start = rows[0]["time"] // DAY * DAY
    rows = [{**row, "time": start + (row["time"] - rows[0]["time"]) // HOUR * step} for row in rows]
    candles = built(rows, timeframe=months_of)
    claimed: set[int] = set()
    for begin, length, compact in spans:
        span = Span(start + begin * step, start + (begin + length) * step)
        report = store.put(candles.between(span.start, span.end), span=span, provenance=answered(begin + 100))
        new = set(range(span.start, span.end, step)) - claimed
        assert report.added == sum(row["time"] in new for row in rows)
        claimed |= new
        if compact:
            store.compact("BINANCE", "BTCUSDT", months_of)
    held = [row for row in rows if row["time"] in claimed]
    coverage = store.coverage("BINANCE", "BTCUSDT", months_of)
    assert {at for span in coverage for at in range(span.start, span.end, step)} == claimed
    assert store.count("BINANCE", "BTCUSDT", months_of) == len(held)
    if held:
        assert store.get("BINANCE", "BTCUSDT", months_of).to_dicts() == held
        inside = {at for at in claimed if held[0]["time"] < at < held[-1]["time"]} - {row["time"] for row in held}
        assert sum(hole.bars for hole in store.holes("BINANCE", "BTCUSDT", months_of)) == len(inside)
        assert all(hole.checked is not None for hole in store.holes("BINANCE", "BTCUSDT", months_of))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(rows=candle_lists(), cuts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5))
def test_pieces_in_any_order_make_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cuts: list[tuple[int, int]]
) -> None:
    store = CandleStore(tmp_path_factory.mktemp("cache"))
    candles = built(rows)
    kept: set[int] = set()
    for begin, end in cuts:
        piece = candles[begin:end]
        if len(piece):
            report = store.put(piece)
            new = set(piece.time.tolist()) - kept
            assert report.added == len(new)
            assert report.corrected == 0
            kept |= new
    if kept:
        assert store.get(*KEY).to_dicts() == [row for row in rows if row["time"] in kept]
    assert store.put(candles).added == len(rows) - len(kept)
    assert store.get(*KEY) == candles


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=4))
def test_junk_names_never_raise_anything_but_our_errors(exchange: str, symbol: str, timeframe: str) -> None:
    with pytest.raises(BarwiseError):
        CandleStore("nowhere").get(exchange, symbol, timeframe)


# ---------------------------------------------------------------------------------------- processes that die or compete


def test_the_store_is_whole_after_every_kill(store: CandleStore, tmp_path: Path) -> None:
    candles = built(hours(3000))
    path = write_candles(candles, tmp_path / "all.parquet")
    random = np.random.default_rng(5)
    for round_ in range(5):
        process = writer(store, path, 20)
        assert process.stdout is not None
        for _ in range(8 * (round_ + 1)):
            process.stdout.readline()
        # the kill falls somewhere inside the next puts
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=float(random.uniform(0.0, 0.01)))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        stored = store.get(*KEY)
        assert stored == candles[: len(stored)]
        assert len(stored) % 20 == 0
        assert len(stored) >= 8 * 20 * (round_ + 1)
    folder = store.root / "BINANCE" / "BTCUSDT" / "1H"
    (folder / ".tmp-1-torn").write_bytes(b"half a file")
    (folder / ".tmp-1-torn.parquet").write_bytes(b"half a file")
    assert len(store.get(*KEY)) >= 800
    store.put(candles)
    assert store.get(*KEY) == candles
    assert not [name for name in files_of(store) if name.startswith(".tmp")]


def test_writers_at_the_same_time_write_every_bar_once(store: CandleStore, tmp_path: Path) -> None:
    candles = built(hours(600))
    path = write_candles(candles, tmp_path / "all.parquet")
    processes = [writer(store, path, size) for size in (30, 45, 70)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert store.get(*KEY) == candles
    assert store.corrections(*KEY) is None
    stored = [read_description(path)["rows"] for path in store.root.rglob("*.parquet")]
    assert sum(stored) == 600
