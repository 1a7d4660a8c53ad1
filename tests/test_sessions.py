"""The calendar of NSE, BSE and MCX, held against the days on which NSE has really traded."""

import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from barwise.data import sessions
from barwise.data.sessions import (
    as_of,
    indian_day,
    indian_text,
    is_session,
    known_years,
    label_gap,
    market_of,
    session_hours,
    sessions_between,
)
from barwise.errors import DataError
from barwise.timeframe import DAY_MS, MINUTE_MS, NSE
from tests.venues.market import parquet_columns

SHARES = ("HDFCBANK", "INFY", "NIFTYBEES", "RELIANCE", "SBIN")
# NSE has traded on these days, as the press of the day says, and the recorder of the daily files has missed them.
MISSED_BY_THE_RECORDER = {date(2021, 11, 4), date(2022, 8, 8)}


def instant(text: str) -> int:
    """Milliseconds UTC of an Indian date and time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) - NSE.utc_offset_ms


def clock(hours: tuple[tuple[int, int], ...] | None) -> list[str]:
    """Spans in ms UTC as times of the Indian day."""
    assert hours is not None
    return [f"{indian_text(opens)[11:16]}-{indian_text(closes)[11:16]}" for opens, closes in hours]


def traded_days(market_data: Path, file: str) -> set[date]:
    return {indian_day(int(opens)) for opens in parquet_columns(market_data / file)[0]}


# --- against what has really traded ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", SHARES)
def test_the_calendar_is_the_days_on_which_nse_has_traded(market_data: Path, share: str) -> None:
    traded = traded_days(market_data, f"nse_{share}_1d_20191001_20260821.parquet")
    first, last = min(traded), max(traded)
    found = sessions_between("NSE", first, last + timedelta(days=1))
    assert found.unknown == ()
    assert set(found.days) - traded == MISSED_BY_THE_RECORDER
    assert traded - set(found.days) == set()


@pytest.mark.parametrize("market", ["NIFTY", "RELIANCE"])
def test_the_calendar_is_the_days_that_dhan_has(market_data: Path, market: str) -> None:
    traded = traded_days(market_data, f"dhan_{market}_1d_20230102_20260716.parquet")
    assert set(sessions_between("DHAN", min(traded), max(traded) + timedelta(days=1)).days) == traded


def test_every_bar_of_a_real_month_lies_within_the_hours_of_its_day(market_data: Path) -> None:
    opens = parquet_columns(market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet")[0]
    for day in sorted({indian_day(int(at)) for at in opens}):
        hours = session_hours("BSE", day)
        assert hours is not None
        of_day = opens[[indian_day(int(at)) == day for at in opens]]
        inside = sum(((of_day >= start) & (of_day < stop)).sum() for start, stop in hours)
        assert inside == len(of_day), day


def test_every_gap_of_the_real_daily_files_is_expected_but_for_the_two_missed_days(market_data: Path) -> None:
    opens = parquet_columns(market_data / "nse_SBIN_1d_20191001_20260821.parquet")[0].astype(np.int64)
    gaps = [(int(a) + DAY_MS, int(b)) for a, b in pairwise(opens) if b - a > DAY_MS]
    suspicious = {indian_day(first) for first, after in gaps if label_gap("NSE", first, after) == "suspicious"}
    assert len(gaps) > 350
    # The gap of 2022-08-08, a Monday, begins with the Saturday before.
    assert suspicious == {date(2021, 11, 4), date(2022, 8, 6)}
    assert all(label_gap("NSE", *gap) != "unknown" for gap in gaps)


# --- days --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "day", "answer"),
    [
        ("NSE", "2026-01-15", False),  # announced three days before
        ("NSE", "2026-02-01", True),  # a Sunday
        ("BSE", "2024-01-20", True),
        ("NSE", "2024-01-21", False),
        ("NSE", "2024-01-22", False),
        ("ZERODHA", "2025-10-21", True),
        ("nse", "2026-11-08", True),  # its hours are not known yet
        ("MCX", "2026-01-01", True),  # the morning only
        ("MCX", "2026-01-26", False),
        ("MCX", "2026-05-28", True),  # the evening only
        ("MCX", "2020-02-01", None),  # no source says it
        ("NSE", "2017-06-01", None),
        ("NSE", "2017-06-03", None),  # a Saturday, but of a year of which nothing is known
        ("NSE", "2027-01-04", None),
        ("MCX", "2019-06-03", None),
        ("NYSE", "2026-01-02", None),
        ("", "2026-01-02", None),
    ],
)
def test_a_day_is_a_session_or_not_or_not_known(exchange: str, day: str, answer: bool | None) -> None:
    assert is_session(exchange, date.fromisoformat(day)) is answer


def test_a_span_into_an_unknown_year_says_which_days_are_unknown() -> None:
    found = sessions_between("NSE", date(2026, 12, 24), date(2027, 1, 3))
    assert found.days == tuple(date(2026, 12, day) for day in (24, 28, 29, 30, 31))
    assert found.unknown == (date(2027, 1, 1), date(2027, 1, 2))
    assert sessions_between("NSE", date(2026, 1, 5), date(2026, 1, 5)).days == ()


def test_the_table_says_what_it_knows_and_since_when() -> None:
    assert known_years("NSE") == known_years("DHAN") == tuple(range(2018, 2027))
    assert known_years("MCX") == tuple(range(2020, 2027))
    assert known_years("NYSE") == ()
    assert as_of() >= date(2026, 11, 22)


@pytest.mark.parametrize(
    ("year", "days"), [(2020, 252), (2021, 248), (2022, 248), (2023, 246), (2024, 249), (2025, 249)]
)
def test_a_year_has_so_many_sessions(year: int, days: int) -> None:
    # With the Muhurat sessions and the special Saturdays; annualisation counts 248 a year.
    found = len(sessions_between("NSE", date(year, 1, 1), date(year + 1, 1, 1)).days)
    assert found == days
    assert abs(found - NSE.days_per_year) <= 4


# --- hours -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "day", "segment", "hours"),
    [
        ("NSE", "2026-07-31", None, ["09:15-15:30"]),
        ("NSE", "2026-07-31", "derivatives", ["09:15-15:30"]),
        ("NSE", "2026-07-31", "closing_auction", []),
        ("NSE", "2026-08-03", "equity", ["09:15-15:30"]),
        ("NSE", "2026-08-03", "equity_with_derivatives", ["09:15-15:15"]),
        ("NSE", "2026-08-03", "closing_auction", ["15:15-15:35"]),
        ("NSE", "2026-08-03", "derivatives", ["09:15-15:40"]),
        ("NSE", "2026-08-01", None, []),
        ("NSE", "2024-03-02", None, ["09:15-10:00", "11:30-12:30"]),
        ("NSE", "2024-11-01", "derivatives", ["18:00-19:00"]),
        ("BSE", "2025-10-21", None, ["13:45-14:45"]),
        ("NSE", "2021-02-24", None, ["09:15-11:40", "15:45-17:00"]),
        ("BSE", "2021-02-24", None, ["09:15-17:00"]),
        ("MCX", "2026-07-01", None, ["09:00-23:30"]),
        ("MCX", "2026-07-01", "agri", ["09:00-17:00"]),
        ("MCX", "2026-07-01", "agri_international", ["09:00-21:00"]),
        ("MCX", "2026-05-28", None, ["17:00-23:30"]),
        ("MCX", "2026-05-28", "agri", []),
        ("MCX", "2026-01-15", None, ["17:00-23:55"]),
        ("MCX", "2026-01-01", None, ["09:00-17:00"]),
        ("MCX", "2025-02-01", None, ["09:00-17:00"]),
        ("MCX", "2020-04-22", None, ["09:00-17:00"]),
        ("MCX", "2020-04-23", None, ["09:00-23:30"]),
        # The US changed its clocks on Sundays 2024-03-10 and 2024-11-03; MCX on the days after.
        ("MCX", "2024-03-07", None, ["09:00-23:55"]),
        ("MCX", "2024-03-11", None, ["09:00-23:30"]),
        ("MCX", "2024-10-31", None, ["09:00-23:30"]),
        ("MCX", "2024-11-04", None, ["09:00-23:55"]),
    ],
)
def test_the_hours_of_a_day_are_those_of_its_date_and_segment(
    exchange: str, day: str, segment: str | None, hours: list[str]
) -> None:
    assert clock(session_hours(exchange, date.fromisoformat(day), segment)) == hours


@pytest.mark.parametrize(
    ("exchange", "day", "segment"),
    [
        ("NSE", "2026-11-08", None),
        ("NSE", "2017-01-02", None),
        ("MCX", "2020-02-01", None),
        ("BSE", "2026-08-03", "derivatives"),
        ("MCX", "2021-06-01", "agri_international"),
        ("NYSE", "2026-01-02", "equity"),
    ],
)
def test_hours_that_no_source_tells_are_not_known(exchange: str, day: str, segment: str | None) -> None:
    assert session_hours(exchange, date.fromisoformat(day), segment) is None


def test_a_segment_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(DataError) as caught:
        session_hours("NSE", date(2026, 1, 2), "commodity")
    assert "equity_with_derivatives" in caught.value.hint


# --- gaps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "first_missing", "next_bar", "segment", "label"),
    [
        ("NSE", "2026-07-15 15:30", "2026-07-16 09:15", None, "expected"),  # a night
        ("NSE", "2026-07-17 15:30", "2026-07-20 09:15", None, "expected"),  # a weekend
        ("NSE", "2026-07-17 15:30", "2026-07-20 09:20", None, "suspicious"),
        ("NSE", "2026-07-15 15:25", "2026-07-16 09:15", None, "suspicious"),
        ("NSE", "2026-07-15 11:00", "2026-07-15 11:01", None, "suspicious"),
        ("NSE", "2026-01-14 15:30", "2026-01-16 09:15", None, "expected"),  # election
        ("NSE", "2025-10-20 15:30", "2025-10-23 09:15", None, "suspicious"),  # the Muhurat session is missing
        ("NSE", "2025-10-21 14:45", "2025-10-23 09:15", None, "expected"),
        ("NSE", "2021-02-24 11:40", "2021-02-24 15:45", None, "expected"),  # the halt
        ("BSE", "2021-02-24 11:40", "2021-02-24 15:45", None, "suspicious"),
        ("NSE", "2026-07-31 15:15", "2026-08-03 09:15", None, "suspicious"),
        # Shares with derivatives have an auction then, others trade on: without the segment nobody can say.
        ("NSE", "2026-08-03 15:15", "2026-08-04 09:15", None, "unknown"),
        ("NSE", "2026-08-03 15:15", "2026-08-04 09:15", "equity_with_derivatives", "expected"),
        ("NSE", "2026-08-03 15:15", "2026-08-04 09:15", "equity", "suspicious"),
        ("NSE", "2026-08-03 15:14", "2026-08-04 09:15", None, "suspicious"),
        ("NSE", "2026-08-03 15:30", "2026-08-04 09:15", "derivatives", "suspicious"),
        ("NSE", "2026-08-03 15:40", "2026-08-04 09:15", "derivatives", "expected"),
        ("NSE", "2026-11-06 15:30", "2026-11-09 09:15", None, "unknown"),  # hours of the Muhurat session
        ("NSE", "2026-12-31 15:30", "2027-01-04 09:15", None, "unknown"),
        ("NSE", "2026-12-31 15:00", "2027-01-04 09:15", None, "suspicious"),
        ("NSE", "2016-05-02 11:00", "2016-05-02 11:05", None, "unknown"),
        ("MCX", "2026-05-27 23:30", "2026-05-28 17:00", None, "expected"),
        ("MCX", "2026-05-27 23:30", "2026-05-28 17:05", None, "suspicious"),
        ("MCX", "2026-01-14 23:30", "2026-01-15 17:00", None, "suspicious"),  # in US winter it closes at 23:55
        ("BINANCE", "2026-01-14 23:30", "2026-01-15 17:00", None, "unknown"),
    ],
)
def test_a_gap_is_expected_suspicious_or_unknown(
    exchange: str, first_missing: str, next_bar: str, segment: str | None, label: str
) -> None:
    assert label_gap(exchange, instant(first_missing), instant(next_bar), segment) == label


def test_a_missing_daily_bar_is_expected_on_a_holiday_only() -> None:
    holiday = instant("2026-01-15 00:00")
    assert label_gap("NSE", holiday, holiday + DAY_MS) == "expected"
    assert label_gap("NSE", holiday - DAY_MS, holiday + DAY_MS) == "suspicious"


# --- the rest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "symbol", "market"),
    [
        ("ZERODHA", "RELIANCE", ("NSE", None)),
        ("zerodha", "bse:reliance", ("BSE", None)),
        ("ZERODHA", "NFO:NIFTY26NOVFUT", ("NSE", "derivatives")),
        ("ZERODHA", "MCX:GOLDM26DECFUT", ("MCX", None)),
        ("ZERODHA", "CDS:USDINR26NOVFUT", None),
        ("DHAN", "IDX_I:NIFTY", ("NSE", None)),
        ("DHAN", "BSE_FNO:SENSEX-Nov2026-FUT", ("BSE", "derivatives")),
        ("DHAN", "MCX_COMM:GOLD-05Dec2026-FUT", ("MCX", None)),
        ("BINANCE", "BTCUSDT", None),
    ],
)
def test_a_market_of_a_broker_belongs_to_an_exchange(
    venue: str, symbol: str, market: tuple[str, str | None] | None
) -> None:
    assert market_of(venue, symbol) == market


def test_an_indian_day_begins_at_half_past_six_in_the_evening_utc() -> None:
    midnight = 1_735_669_800_000
    assert [indian_day(midnight + by) for by in (-1, 0, DAY_MS - 1)] == [
        date(2024, 12, 31), date(2025, 1, 1), date(2025, 1, 1),
    ]  # fmt: skip
    assert indian_text(midnight - 1) == "2024-12-31 23:59:59"
    assert indian_text(midnight + 555 * MINUTE_MS) == "2025-01-01 09:15:00"


def test_every_day_of_the_table_is_a_date_that_matters_and_has_a_reason() -> None:
    content = tomllib.loads(files("barwise.data").joinpath("sessions.toml").read_text(encoding="utf-8"))
    for entry in content["year"]:
        for kind in ("closed", "evening", "morning", "unsure"):
            for text in entry.get(kind, ()):
                day = date.fromisoformat(f"{entry['year']}-{text[:5]}")
                assert re.fullmatch(r"\d\d-\d\d \w.+", text), text
                # A holiday on a weekend is no news.
                assert kind == "unsure" or day.weekday() < 5, (entry["exchange"], day)
    assert all(source["what"] and source["where"] for source in content["source"])


@pytest.mark.parametrize(
    ("years", "hours"),
    [
        ("{exchange=['NSE'], year=2026, closed=['02-30 No such day']}", ""),
        ("{exchange=['NSE'], year=2026, closed=['02-02 A'], special=['02-02 ? B']}", ""),
        ("{exchange=['NSE'], year=2026, special=['02-02 10:00-09:00 B']}", ""),
        ("{exchange=['NSE'], year=2026, closed=['02-02 A']}, {exchange=['NSE'], year=2026, closed=['02-02 A']}", ""),
        ("{exchange=['NSE']}", ""),
        ("", "{exchange=['NSE'], segment='equity', since=2018-01-01, hours='9'}"),
        ("", "not toml"),
    ],
)
def test_a_spoilt_table_is_a_data_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, years: str, hours: str
) -> None:
    text = f"as_of = 2026-01-01\nyear = [{years}]\nhours = [{hours}]\n"
    (tmp_path / "sessions.toml").write_text(text)
    monkeypatch.setattr(sessions, "files", lambda _: tmp_path)
    sessions._table.cache_clear()
    try:
        with pytest.raises(DataError, match=r"sessions\.toml cannot be read"):
            is_session("NSE", date(2026, 1, 2))
    finally:
        monkeypatch.undo()
        sessions._table.cache_clear()
    assert is_session("NSE", date(2026, 1, 2)) is True
