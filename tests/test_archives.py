"""The bulk archives: what is published is verified and read exactly, what is not is None, and nothing else passes."""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from barwise.errors import APIError, DataError
from barwise.exchange.archives import archive_client, archives_pay_off, fetch_month, months_of, read_file
from barwise.exchange.base import Page
from barwise.exchange.binance import Binance, BinanceFutures
from barwise.timeframe import DAY_MS, HOUR_MS, Timeframe
from tests.scripted_venue import ManualClock, Reply, ScriptedVenue

HOUR = Timeframe("1H")
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
JANUARY = 1_735_689_600_000  # 2025-01-01
PATH = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"


def zipped(text: bytes, name: str = "BTCUSDT-1h-2025-01.csv", copies: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(copies):
            archive.writestr(f"{number or ''}{name}", text)
    return buffer.getvalue()


def rows(*stamps: int) -> bytes:
    lines = [f"{stamp},100.5,101.25,99.75,100.1,12.5,{stamp + 1},1255.5,7,6.0,600.5,0" for stamp in stamps]
    return "\n".join([*lines, ""]).encode()


def checksum(content: bytes, name: str = "BTCUSDT-1h-2025-01.zip") -> Reply:
    return Reply(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())


def january(venue: ScriptedVenue, clock: ManualClock | None = None) -> Page | None:
    clock = clock or ManualClock()
    client = archive_client({"BINANCE_ARCHIVE_URL": venue.url}, sleep=clock.sleep, clock=clock)
    return fetch_month(client, "spot", "BTCUSDT", HOUR, "2025-01")


# --- reading -----------------------------------------------------------------------------------------------------


def test_a_file_of_the_venue_equals_the_same_candles_from_elsewhere(market_data: Path) -> None:
    page = read_file((market_data / "raw_BTCUSDT-1h-2024-10-28_spot.zip").read_bytes(), "raw")
    known = polars.read_parquet(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet")
    known = known.filter(polars.col("time").is_between(int(page.time[0]), int(page.time[-1])))
    assert page.time.size == known.height == 24
    assert page.quote_volume is not None
    assert (page.quote_volume[0], page.close[-1]) == (37_756_129.81953250, known["close"][-1])
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert getattr(page, name).tolist() == known[name].to_list()
        assert getattr(page, name).flags.c_contiguous


def test_a_futures_file_has_a_header_row_and_milliseconds(market_data: Path) -> None:
    text = gzip.decompress((market_data / "raw_NEARUSDT-1m-2025-02_um_first3000.csv.gz").read_bytes())
    page = read_file(zipped(text), "raw")
    known = polars.read_parquet(market_data / "binance_um_NEARUSDT_1m_202502.parquet").head(3000)
    assert text.startswith(HEADER)
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert getattr(page, name).tolist() == known[name].to_list()


def test_microseconds_are_known_by_their_size_and_not_by_their_date() -> None:
    in_ms = read_file(zipped(rows(JANUARY, JANUARY + HOUR_MS)), "x")
    in_us = read_file(zipped(rows(JANUARY * 1000, (JANUARY + HOUR_MS) * 1000)), "x")
    old_us = read_file(zipped(rows(1_502_942_400_000_000)), "x")
    assert in_ms.time.tolist() == in_us.time.tolist() == [JANUARY, JANUARY + HOUR_MS]
    assert old_us.time.tolist() == [1_502_942_400_000]
    assert in_us.time.dtype == np.int64


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a zip", "not a zip"),
        (zipped(b""), "no candles in it"),
        (zipped(HEADER + b"\n"), "no candles in it"),
        (zipped(b"<html>sorry</html>"), "12 columns"),
        (zipped(b"1735689600000,1,1,1,1,1\n"), "12 columns"),
        (zipped(rows(JANUARY), copies=2), "2 files"),
        (zipped(rows(JANUARY, JANUARY * 1000)), "ms and in us"),
        (zipped(rows(JANUARY // 1000)), "neither ms nor us"),
        (zipped(rows(JANUARY * 1_000_000)), "neither ms nor us"),
        (zipped(rows(JANUARY).replace(b"100.5", b"lots")), "lots"),
        (zipped(rows(JANUARY, JANUARY + HOUR_MS)[:-10]), "12 columns"),
    ],
)
def test_a_file_of_another_shape_is_a_data_error_and_never_fewer_candles(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match="from the archives cannot be read") as caught:
        read_file(content, "BTCUSDT-1h-2025-01.zip")
    assert reason in caught.value.message


# --- fetching ----------------------------------------------------------------------------------------------------


def test_a_month_is_fetched_with_its_checksum_and_nothing_else() -> None:
    content = zipped(rows(JANUARY, JANUARY + HOUR_MS))
    with ScriptedVenue({PATH: [Reply(content)], f"{PATH}.CHECKSUM": [checksum(content)]}) as venue:
        page = january(venue)
    assert page is not None
    assert page.close.tolist() == [100.1, 100.1]
    assert venue.paths == [f"{PATH}.CHECKSUM", PATH]


@pytest.mark.parametrize("where", ["spot", "futures/um"])
def test_the_adapter_knows_its_part_of_the_archives_and_keeps_the_checksum(where: str) -> None:
    content = zipped(HEADER + b"\n" + rows(JANUARY))
    path = PATH.replace("spot", where)
    make = Binance if where == "spot" else BinanceFutures
    with ScriptedVenue({path: [Reply(content)], f"{path}.CHECKSUM": [checksum(content)]}) as venue:
        found = make({"BINANCE_ARCHIVE_URL": venue.url}).archive_month("BTCUSDT", HOUR, "2025-01")
    assert found is not None
    assert (found.sha256, found.name) == (hashlib.sha256(content).hexdigest(), "BTCUSDT-1h-2025-01.zip")
    assert make.capabilities.archives


def test_a_month_that_is_not_published_is_none_and_costs_one_request() -> None:
    clock = ManualClock()
    with ScriptedVenue({}) as venue:
        assert january(venue, clock) is None
    assert (len(venue.asked), clock.waits) == (1, [])


def test_a_file_that_fits_its_checksum_at_the_second_download_is_taken() -> None:
    content = zipped(rows(JANUARY))
    script = {PATH: [Reply(content[:-9] + b"corrupted"), Reply(content)], f"{PATH}.CHECKSUM": [checksum(content)]}
    with ScriptedVenue(script) as venue:
        page = january(venue)
    assert page is not None
    assert page.time.tolist() == [JANUARY]
    assert venue.paths.count(PATH) == 2


@pytest.mark.parametrize(
    "line", [checksum(b"another file"), checksum(zipped(rows(JANUARY)), "ETHUSDT-1h-2025-01.zip"), Reply(b"<html>")]
)
def test_a_file_that_does_not_fit_its_checksum_twice_is_refused(line: Reply) -> None:
    content = zipped(rows(JANUARY))
    with ScriptedVenue({PATH: [Reply(content)], f"{PATH}.CHECKSUM": [line]}) as venue:
        with pytest.raises(DataError, match="does not fit its checksum, downloaded twice") as caught:
            january(venue)
        assert venue.paths.count(f"{PATH}.CHECKSUM") == 2
    assert "try again" in caught.value.hint


def test_candles_of_another_month_are_refused() -> None:
    content = zipped(rows(JANUARY + 31 * DAY_MS))
    with (
        ScriptedVenue({PATH: [Reply(content)], f"{PATH}.CHECKSUM": [checksum(content)]}) as venue,
        pytest.raises(DataError, match="outside of its month"),
    ):
        january(venue)


def test_a_server_that_is_down_is_asked_again_and_a_firewall_is_not() -> None:
    content = zipped(rows(JANUARY))
    clock = ManualClock()
    limited = Reply(b"", 429, {"Retry-After": "9"})
    script = {PATH: [Reply(b"", 503), limited, Reply(content)], f"{PATH}.CHECKSUM": [checksum(content)]}
    with ScriptedVenue(script) as venue:
        assert january(venue, clock) is not None
    assert clock.waits == [1.0, 9.0]
    with ScriptedVenue({f"{PATH}.CHECKSUM": [Reply(b"", 403)]}) as venue, pytest.raises(APIError) as caught:
        january(venue)
    assert "BINANCE_ARCHIVE_URL" in caught.value.hint


@pytest.mark.parametrize("month", ["2025-13", "2025", "january", "2025-01-01"])
def test_a_word_that_is_no_month_is_refused_before_anything_is_asked(month: str) -> None:
    with ScriptedVenue({}) as venue, pytest.raises(DataError, match="is not a month"):
        fetch_month(archive_client({"BINANCE_ARCHIVE_URL": venue.url}), "spot", "BTCUSDT", HOUR, month)
    assert venue.asked == []


# --- months ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "names"),
    [
        ("2024-11-15", "2025-03-01", ["2024-12", "2025-01", "2025-02"]),
        ("2024-02-01", "2024-03-01", ["2024-02"]),
        ("2024-02-01T00:00:00.001", "2024-03-01", []),
        ("2024-02-01", "2024-02-29T23:59:59.999", []),
        ("2024-12-31", "2025-01-02", []),
        ("1969-12-01", "1970-02-01", ["1969-12", "1970-01"]),
        ("2025-01-01", "2025-01-01", []),
    ],
)
def test_only_whole_months_are_named(start: Any, end: Any, names: list[str]) -> None:
    first, last = (int(np.datetime64(moment, "ms").astype(np.int64)) for moment in (start, end))
    months = months_of(first, last)
    assert [month.name for month in months] == names
    for month in months:
        assert month.start_ms == int(np.datetime64(month.name, "ms").astype(np.int64))
        assert month.end_ms == int((np.datetime64(month.name) + 1).astype("datetime64[ms]").astype(np.int64))


def test_archives_pay_off_for_short_candles_only() -> None:
    assert [name for name in Timeframe.names() if archives_pay_off(Timeframe(name), 1000)] == ["1M", "5M", "15M"]
