"""Files: what exchanges and vendors publish is read, what cannot be trusted is refused, nothing is half-written."""

import gzip
import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barwise.data.candles import Candles
from barwise.data.files import read_candles, read_description, read_funding, write_atomically, write_candles
from barwise.data.quality import utc_text
from barwise.errors import BarwiseError, ConfigError, DataError
from tests.test_candles import COLUMNS, HOUR, NEW_YEAR, built, candle_lists, hours

DIRTY = "dirty_cryptodatadownload_BTCUSDT_1h_2020.csv.gz"
HEADER = "time,open,high,low,close,volume\n"


def csv_of(rows: list[dict[str, Any]], header: str = HEADER, delimiter: str = ",") -> str:
    lines = (delimiter.join(str(value) for value in row.values()) for row in rows)
    return header + "\n".join(lines) + "\n"


def saved(folder: Path, text: str, name: str = "candles.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------------------------- real files


def test_the_zip_of_binance_without_a_header_is_read_with_its_quote_volume(market_data: Path) -> None:
    candles = read_candles(market_data / "raw_BTCUSDT-1h-2024-10-28_spot.zip", exchange="BINANCE", symbol="BTCUSDT")
    hourly = read_candles(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet", exchange="BINANCE")
    same = hourly.between("2024-10-28", "2024-10-29")
    assert len(candles) == 24
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(candles, name), getattr(same, name), rtol=1e-12)
    assert candles[0]["quote_volume"] == 37756129.81953250
    assert candles.audit.findings == ()


def test_the_raw_futures_csv_of_binance_equals_the_reduced_file(market_data: Path) -> None:
    raw = read_candles(market_data / "raw_NEARUSDT-1m-2025-02_um_first3000.csv.gz", exchange="BINANCE_UM")
    reduced = read_candles(market_data / "binance_um_NEARUSDT_1m_202502.parquet", exchange="BINANCE_UM")[:3000]
    assert raw.timeframe.name == "1M"
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(raw, name), getattr(reduced, name))
    assert raw.quote_volume is not None
    assert raw.audit.findings == ()


def test_the_dirty_vendor_file_is_refused_for_its_contradictions_only(market_data: Path) -> None:
    with pytest.raises(DataError, match="Different values for the same time: 1,202 bars") as caught:
        read_candles(market_data / DIRTY)
    assert "most different 2020-11-20 07:00 UTC (by 0.379%)" in caught.value.message
    assert 'conflicts="first"' in caught.value.hint


def test_the_dirty_vendor_file_is_right_where_its_first_rows_are_kept(market_data: Path) -> None:
    candles = read_candles(market_data / DIRTY, exchange="BINANCE", conflicts="first")
    assert len(candles) == 1798
    assert [note.kind for note in candles.notes] == ["mixed_units", "newest_first", "conflicts"]
    assert [note.severity for note in candles.notes] == ["warning", "info", "warning"]
    assert candles.audit.ok
    assert candles.audit.gaps.where == ((1606716000000, 1),)  # 2020-11-30 06:00, the outage of the exchange
    real = read_candles(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet", exchange="BINANCE")
    real = real.between(int(candles.time[0]), int(candles.time[-1]) + 1)
    for name in COLUMNS[:-1]:
        np.testing.assert_array_equal(getattr(candles, name), getattr(real, name))
    # Binance has raised the volume of one hour of 2020-10-27 since the vendor read it.
    revised = np.flatnonzero(~np.isclose(candles.volume, real.volume, rtol=1e-9))
    assert [utc_text(int(candles.time[at])) for at in revised] == ["2020-10-27 06:00 UTC"]
    worse = read_candles(market_data / DIRTY, exchange="BINANCE", conflicts="last")
    assert (worse.close != real.close).sum() == 1


def test_funding_times_lose_their_jitter(market_data: Path) -> None:
    for name, count in (
        ("binance_um_BTCUSDT_funding_20220101_20250331.parquet", 3558),
        ("binance_um_ETHUSDT_funding_20231201_20250331.parquet", 1461),
    ):
        funding = read_funding(market_data / name)
        assert len(funding) == count
        assert {time % (8 * HOUR) for time, _ in funding} == {0}
        assert all(type(time) is int and type(rate) is float for time, rate in funding)


def test_files_that_hold_no_candles_say_what_they_hold(market_data: Path) -> None:
    with pytest.raises(DataError, match="missing: open, high, low, close; found: time, trade_id, price"):
        read_candles(market_data / "binance_spot_BTCUSDT_trades_20240808_2354_0005.parquet")
    with pytest.raises(DataError, match="8 hours apart"):
        read_candles(market_data / "binance_um_BTCUSDT_mark_8h_20231201_20250331.parquet")
    with pytest.raises(DataError, match="Funding needs the columns time and funding_rate; found: time, open"):
        read_funding(market_data / "binance_um_BTCUSDT_mark_8h_20231201_20250331.parquet")


# ---------------------------------------------------------------------------------------------------------- round trips


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=candle_lists())
def test_candles_survive_csv_and_parquet_to_the_bit(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    candles = built(rows)
    for name in ("c.csv", "c.parquet"):
        path = write_candles(candles, tmp_path / name)
        again = read_candles(path, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")
        assert again.fingerprint == candles.fingerprint


def test_parquet_brings_the_identity_along(tmp_path: Path) -> None:
    candles = built(hours(10), synthetic=True)
    path = write_candles(candles, tmp_path / "new" / "c.parquet", source="a test")
    assert read_candles(path) == candles
    assert read_candles(path, symbol="btcusdt") == candles
    with pytest.raises(DataError, match=r"c\.parquet holds symbol BTCUSDT, not ETHUSDT"):
        read_candles(path, symbol="ETHUSDT")
    with pytest.raises(DataError, match="holds timeframe 1H, not 4H"):
        read_candles(path, timeframe="4H")
    described = read_description(path)
    assert described["schema"] == 1
    assert (described["source"], described["rows"], described["synthetic"]) == ("a test", 10, True)
    assert described["units"]["volume"] == "base units"
    assert pl.read_parquet(path).schema["time"] == pl.Int64


# ------------------------------------------------------------------------------------------------------ forms of CSV


@pytest.mark.parametrize(
    "text",
    [
        csv_of(hours(6)),
        "https://vendor.example\n" + csv_of(hours(6)),
        "\n# exported today, all rights reserved\n\n" + csv_of(hours(6)),
        "\ufeff" + csv_of(hours(6)),
        csv_of(hours(6)).replace("\n", "\r\n"),
        csv_of(hours(6), header="<DATE>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>\n", delimiter=";").replace(".", ","),
        csv_of(hours(6), header=HEADER.replace(",", "\t"), delimiter="\t"),
        csv_of(hours(6), header='"Open Time","Open","High","Low","Close","Volume"\n'),
        csv_of(hours(6)[::-1]),
        csv_of([*hours(6), hours(6)[2]]),
        csv_of([{**row, "time": row["time"] * 1000} for row in hours(6)]),
        csv_of([{**row, "time": f"{row['time'] // 1000}.0"} for row in hours(6)]),
        csv_of([{**row, "time": row["time"] // (1000 if at % 3 else 1)} for at, row in enumerate(hours(6))]),
        csv_of([{**row, "time": f"2025-01-01 0{at}:00:00"} for at, row in enumerate(hours(6))]),
        csv_of([{**row, "time": f"2025-01-01T0{at}:00:00Z"} for at, row in enumerate(hours(6))]),
        csv_of([{**row, "volume": f" {row['volume']} "} for row in hours(6)]),
    ],
    ids=[
        "plain",
        "banner line",
        "comment and blank lines",
        "byte order mark",
        "windows line ends",
        "semicolons and decimal commas",
        "tabs",
        "quoted header",
        "newest first",
        "repeated row",
        "microseconds",
        "seconds with decimals",
        "mixed units",
        "naive times",
        "ISO times",
        "blanks around numbers",
    ],
)
@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
def test_one_table_reads_the_same_in_every_form(tmp_path: Path, text: str, packing: str) -> None:
    path = tmp_path / "candles.csv"  # the kind is found by content, so a wrong ending does no harm
    raw = text.encode()
    if packing == "gzip":
        raw = gzip.compress(raw)
    elif packing == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("BTCUSDT-1h-2025-01.csv", raw)
        raw = buffer.getvalue()
    path.write_bytes(raw)
    assert read_candles(path, exchange="BINANCE", symbol="BTCUSDT") == built(hours(6))


def test_microseconds_of_the_spot_archives_since_2025_are_understood(tmp_path: Path) -> None:
    rows = [
        f"{row['time'] * 1000},{row['open']},{row['high']},{row['low']},{row['close']},{row['volume']},"
        f"{(row['time'] + HOUR) * 1000 - 1},{row['volume'] * row['close']},10,1.0,1.0,0"
        for row in hours(6)
    ]
    candles = read_candles(saved(tmp_path, "\n".join(rows)), exchange="BINANCE")
    assert candles.time.tolist() == [row["time"] for row in hours(6)]
    assert candles.quote_volume is not None
    assert candles.audit.findings == ()


def test_what_was_put_right_is_noted(tmp_path: Path) -> None:
    rows = hours(6)
    shuffled = [rows[at] for at in (0, 2, 1, 3, 4, 5)]
    for changed, kind, severity in (
        (rows[::-1], "newest_first", "info"),
        (shuffled, "sorted", "warning"),
        ([*rows, rows[5]], "duplicates", "info"),
        ([*rows[:-1], {**rows[5], "time": rows[5]["time"] // 1000}], "mixed_units", "warning"),
    ):
        candles = read_candles(saved(tmp_path, csv_of(changed)))
        assert candles.to_dicts() == rows
        assert [(note.kind, note.severity) for note in candles.notes] == [(kind, severity)]
        assert candles.audit.ok


def test_contradicting_rows_are_refused_or_chosen_by_policy(tmp_path: Path) -> None:
    rows = hours(6)
    path = saved(tmp_path, csv_of([*rows, {**rows[3], "close": 103.5}]))
    with pytest.raises(DataError, match="Different values for the same time: 1 bar, first 2025-01-01 03:00 UTC"):
        read_candles(path)
    assert read_candles(path, conflicts="first")[3]["close"] == rows[3]["close"]
    assert read_candles(path, conflicts="last")[3]["close"] == 103.5
    with pytest.raises(ConfigError, match="Did you mean first"):
        read_candles(path, conflicts="frist")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no table"),
        ("hello\n", "holds no table"),
        (HEADER, "cannot be found from 0 bars"),
        ("date,price,amount\n2025-01-01,1,2\n", "missing: open, high, low, close; found: date, price, amount"),
        ("1,2,3,4,5,6\n2,3,4,5,6,7\n", "no header line, and 6 columns"),
        (csv_of(hours(5)).replace("102.0", "a lot", 1), "Column (high|close), row [01]: 'a lot' is not a number"),
        (csv_of(hours(5))[:-12], "missing or infinite, first close of 2025-01-01 04:00 UTC"),
        (
            csv_of(hours(5)).replace(str(NEW_YEAR + HOUR), "31/12/2024"),
            "Column time, row 1: '31/12/2024' is not a time",
        ),
        (csv_of(hours(5)).replace(str(NEW_YEAR + HOUR), ""), "Column time, row 1"),
        (HEADER + f'{NEW_YEAR},"1,000.5",1001,1000,1000,5\n', "'1,000.5' is not a number"),
    ],
)
def test_a_bad_table_gets_one_sentence_with_the_name_of_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_candles(saved(tmp_path, text))
    assert caught.value.message.startswith("candles.csv: ")
    assert caught.value.hint


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    saved(tmp_path, csv_of(hours(5)), "btcusdt.csv")
    with pytest.raises(DataError, match=r"There is no file .*btcusd\.csv\. Did you mean btcusdt\.csv\?"):
        read_candles(tmp_path / "btcusd.csv")
    with pytest.raises(DataError, match="no folder"):
        read_candles(tmp_path / "nowhere" / "btcusd.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_candles(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_candles("a\0b")


def test_an_archive_needs_exactly_one_table(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", csv_of(hours(5)))
        archive.writestr("b.csv", csv_of(hours(5)))
    with pytest.raises(DataError, match="2 CSV files where one is needed"):
        read_candles(path)


def test_a_damaged_file_is_a_data_error_whatever_the_damage(tmp_path: Path) -> None:
    whole = write_candles(built(hours(500)), tmp_path / "whole.parquet").read_bytes()
    packed = gzip.compress(csv_of(hours(500)).encode())
    random = np.random.default_rng(11)
    refused = 0
    for original in (whole, packed):
        for _ in range(60):
            damaged = bytearray(original)
            if random.random() < 0.5:
                damaged = damaged[: random.integers(0, len(damaged))]
            else:
                for at in random.integers(0, len(damaged), 3):
                    damaged[at] ^= 1 << int(random.integers(0, 8))
            path = tmp_path / "damaged.bin"
            path.write_bytes(damaged)
            try:
                read_candles(path)
            except BarwiseError:
                refused += 1
    assert refused > 60


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="0123456789.,;\n-eE time,openhighlowclose", max_size=200))
def test_junk_files_never_raise_anything_but_our_errors(tmp_path: Path, junk: bytes | str) -> None:
    path = tmp_path / "junk"
    path.write_bytes(junk if isinstance(junk, bytes) else HEADER.encode() + junk.encode())
    with suppress(BarwiseError):
        assert read_candles(path, timeframe="1H").audit.ok
    with pytest.raises(BarwiseError):
        read_funding(path)


def test_contradicting_and_missing_funding_is_refused(tmp_path: Path) -> None:
    good = "fundingTime,fundingRate\n1735689600005,0.0001\n1735718400001,-0.0002\n"
    assert read_funding(saved(tmp_path, good)) == [(1735689600000, 0.0001), (1735718400000, -0.0002)]
    with pytest.raises(DataError, match="two funding rates for 2025-01-01 00:00 UTC"):
        read_funding(saved(tmp_path, good + "1735689600009,0.0003\n"))
    with pytest.raises(DataError, match="funding rate of 2025-01-01 16:00 UTC is missing"):
        read_funding(saved(tmp_path, good + "1735747200000,\n"))


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a" / "b.json", '{"old": true}')

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"b\.json cannot be written: No space left on device"):
        write_atomically(path, fail)
    assert path.read_text() == '{"old": true}'
    assert os.listdir(path.parent) == ["b.json"]  # noqa: PTH208


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    saved(tmp_path, "", "file")
    with pytest.raises(DataError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", b"")
    with pytest.raises(DataError, match="cannot be written"):
        write_candles(built(hours(3)), tmp_path / "file" / "c.parquet")
    with pytest.raises(ConfigError, match=r"neither \.parquet nor \.csv"):
        write_candles(built(hours(3)), tmp_path / "c.xlsx")


def test_unsound_candles_of_a_file_can_be_looked_at(tmp_path: Path) -> None:
    rows = hours(5)
    rows[2]["high"] = 1.0
    path = saved(tmp_path, csv_of(rows))
    candles = read_candles(path, audit="report")
    assert isinstance(candles, Candles)
    assert [finding.kind for finding in candles.audit.errors] == ["ohlc"]
    with pytest.raises(DataError, match=r"candles\.csv: 1 bar whose high is not the highest"):
        read_candles(path)
