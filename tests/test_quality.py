"""The audit finds what was put in, finds nothing in sound data, and says of the real files what their README says."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.gaps import find_gaps, indian_market
from barwise.data.quality import DataAudit, utc_text
from barwise.errors import DataError
from barwise.timeframe import ALWAYS_OPEN, NSE, Timeframe
from tests.conftest import shared_path

HOUR = 3_600_000
MINUTE = 60_000
NEW_YEAR = 1_735_689_600_000  # 2025-01-01 00:00 UTC
MONDAY_OPEN = 1_736_135_100_000  # Monday 2025-01-06 09:15 IST
NSE_DAYS = "_1d_20191001_20260821.parquet"
EXCHANGES = {
    "binance_spot": "BINANCE",
    "binance_um": "BINANCE_UM",
    "delta": "DELTA",
    "dhan": "DHAN",
    "kite": "BSE",
    "nse": "NSE",
    "yahoo": "NSE",
}


def market(count: int = 200, **columns: Any) -> dict[str, Any]:
    """A calm market of hourly bars; columns can be replaced."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.004, count)))
    opened = np.concatenate(([100.0], close[:-1]))
    return {
        "time": NEW_YEAR + HOUR * np.arange(count),
        "open": opened,
        "high": np.maximum(opened, close) * 1.001,
        "low": np.minimum(opened, close) * 0.999,
        "close": close,
        "volume": np.full(count, 5.0),
        **columns,
    }


def audited(
    columns: dict[str, Any], *, exchange: str = "BINANCE", timeframe: str = "1H", now: int | None = None
) -> DataAudit:
    return Candles.of(columns, exchange=exchange, timeframe=timeframe, audit="report").check(now)


def kinds(found: DataAudit) -> list[tuple[str, str]]:
    return [(finding.kind, finding.severity) for finding in found.findings]


def test_sound_data_has_no_finding() -> None:
    found = audited(market())
    assert found.findings == ()
    assert found.ok
    assert found.gaps.count == 0
    assert str(found) == "200 bars, 2025-01-01 00:00 UTC .. 2025-01-09 07:00 UTC: ok"


def test_gaps_are_counted_located_and_only_warned_about() -> None:
    columns = {name: np.delete(column, [3, 50, 51, 52]) for name, column in market().items()}
    found = audited(columns)
    assert kinds(found) == [("gaps", "warning")]
    assert found.ok
    assert (found.gaps.count, found.gaps.missing, found.gaps.longest) == (2, 4, 3)
    assert found.gaps.where == ((NEW_YEAR + 3 * HOUR, 1), (NEW_YEAR + 50 * HOUR, 3))
    assert "2 gaps of 4 bars in all, first 2025-01-01 03:00 UTC, longest 3 bars from 2025-01-03 02:00 UTC" in str(found)


def test_disorder_and_both_kinds_of_repeats_are_told_apart() -> None:
    columns = market()
    swapped = {name: column.copy() for name, column in columns.items()}
    for column in swapped.values():
        column[[10, 11]] = column[[11, 10]]
    assert kinds(audited(swapped)) == [("order", "error")]
    repeated = {name: np.insert(column, 10, column[10]) for name, column in columns.items()}
    found = audited(repeated)
    assert kinds(found) == [("duplicates", "error")]
    assert found.findings[0].first_time == NEW_YEAR + 10 * HOUR
    repeated["volume"][10] += 1
    assert kinds(audited(repeated)) == [("conflicts", "error")]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("open", np.nan, "not_finite"),
        ("volume", np.inf, "not_finite"),
        ("low", 0.0, "not_positive"),
        ("low", -1.0, "not_positive"),
        ("high", 1.0, "ohlc"),
        ("low", 1e6, "ohlc"),
        ("close", 1e6, "ohlc"),
        ("volume", -0.5, "negative_volume"),
    ],
)
def test_an_impossible_value_is_an_error_that_names_its_bar(name: str, value: float, kind: str) -> None:
    columns = market()
    columns[name][[17, 30]] = value
    found = audited(columns)
    assert [finding.kind for finding in found.errors] == [kind]
    assert found.errors[0].count == 2
    assert found.errors[0].first_time == NEW_YEAR + 17 * HOUR
    assert "2025-01-01 17:00 UTC" in found.errors[0].message
    with pytest.raises(DataError, match=r"BINANCE 1H: 2 bars .* 2025-01-01 17:00 UTC"):
        Candles.of(columns, exchange="BINANCE")


def test_every_kind_of_error_is_listed_and_the_first_one_raised() -> None:
    columns = market()
    columns["volume"][3] = -1
    columns["open"][5] = np.nan
    found = audited(columns)
    assert [finding.kind for finding in found.errors] == ["not_finite", "negative_volume"]
    with pytest.raises(DataError, match=r"missing or infinite.* \(and 1 other kind of error\)"):
        Candles.of(columns)


def test_zero_volume_is_a_warning_and_none_at_all_another() -> None:
    some = market()
    some["volume"][[4, 9]] = 0
    found = audited(some)
    assert kinds(found) == [("zero_volume", "warning")]
    assert (found.findings[0].count, found.findings[0].first_time) == (2, NEW_YEAR + 4 * HOUR)
    assert kinds(audited(market(volume=np.zeros(200)))) == [("no_volume", "warning")]


def test_jumps_and_wicks_far_beyond_the_series_are_warned_about() -> None:
    split = market()
    for name in ("open", "high", "low", "close"):
        split[name][100:] /= 2
    split["open"][100] = split["close"][100]
    found = audited(split)
    assert kinds(found) == [("outliers", "warning")]
    assert found.findings[0].first_time == NEW_YEAR + 100 * HOUR
    spike = market()
    spike["high"][60] *= 3
    found = audited(spike)
    assert kinds(found) == [("wicks", "warning")]
    assert found.findings[0].first_time == NEW_YEAR + 60 * HOUR


def test_a_wild_market_is_measured_by_its_own_yardstick() -> None:
    close = 100 * np.exp(np.random.default_rng(3).normal(0, 0.1, 200))
    wild = market(open=close, high=close * 1.05, low=close * 0.95, close=close)
    assert np.abs(np.diff(np.log(close))).max() > 0.3
    assert audited(wild).findings == ()


def test_a_bar_that_closes_in_the_future_is_an_error() -> None:
    last_close = NEW_YEAR + 200 * HOUR
    assert audited(market(), now=last_close).ok
    found = audited(market(), now=last_close - 1)
    assert kinds(found) == [("unclosed", "error")]
    assert found.findings[0].first_time == NEW_YEAR + 199 * HOUR
    candles = Candles.of(market())
    candles.require_sound(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(DataError, match="200 bars not closed yet"):
        candles.require_sound(datetime(2024, 1, 1, tzinfo=UTC))


def test_the_last_bar_of_a_session_closes_with_the_session() -> None:
    opens = MONDAY_OPEN + HOUR * np.arange(7)
    columns = {**market(7), "time": opens}
    session_close = MONDAY_OPEN + 375 * MINUTE
    assert audited(columns, exchange="NSE", now=session_close).of_kind("unclosed") is None
    assert audited(columns, exchange="NSE", now=session_close - 1).of_kind("unclosed") is not None
    day = Candles.of({**market(1), "time": [MONDAY_OPEN - 555 * MINUTE]}, exchange="NSE", timeframe="1D")
    assert day.check(session_close).ok
    assert not day.check(session_close - 1).ok


def test_mixed_units_are_an_error_that_names_the_row() -> None:
    columns = market()
    columns["time"][7] //= 1000
    found = audited(columns)
    assert kinds(found) == [("mixed_units", "error")]
    assert "first row 7: seconds (1735714800 = 2025-01-01 07:00 UTC)" in found.findings[0].message


def test_bars_between_grid_points_and_other_timeframes_are_errors() -> None:
    late = market()
    late["time"][20] += 90_000
    found = audited(late)
    assert ("off_grid", "error") in kinds(found)
    assert found.errors[0].first_time == NEW_YEAR + 20 * HOUR + 90_000
    assert "2025-01-01 20:01:30 UTC" in found.errors[0].message
    assert kinds(audited(market(), timeframe="4H"))[0] == ("timeframe", "error")
    assert kinds(audited(market(), timeframe="5M"))[0] == ("timeframe", "error")
    assert (
        "18:30 UTC"
        in audited(market(time=NEW_YEAR + 24 * HOUR * np.arange(200)), exchange="NSE", timeframe="1D").errors[0].hint
    )


def test_a_quote_volume_that_cannot_belong_to_the_volume_is_found() -> None:
    columns = market()
    good = columns["close"] * columns["volume"]
    assert audited({**columns, "quote_volume": good}).findings == ()
    one_wrong = good.copy()
    one_wrong[5] *= 2
    assert kinds(audited({**columns, "quote_volume": one_wrong})) == [("quote_volume", "warning")]
    assert kinds(audited({**columns, "quote_volume": good / 1000})) == [("quote_volume", "error")]
    one_wrong[5] = np.nan
    assert kinds(audited({**columns, "quote_volume": one_wrong})) == [("quote_volume", "error")]


def test_no_bar_at_all_is_an_error() -> None:
    found = audited({name: column[:0] for name, column in market().items()})
    assert kinds(found) == [("empty", "error")]
    assert "no bars: not usable" in str(found)


def test_an_audit_is_plain_values_for_json() -> None:
    columns = {name: np.delete(column, 3) for name, column in market().items()}
    columns["volume"][5] = -1
    told = json.loads(json.dumps(audited(columns).to_dict()))
    assert told["ok"] is False
    assert told["gaps"]["where"] == [{"start": NEW_YEAR + 3 * HOUR, "bars": 1}]
    assert {finding["kind"] for finding in told["findings"]} == {"negative_volume", "gaps"}


@settings(deadline=None)
@given(st.sets(st.integers(1, 198), max_size=30))
def test_every_missing_bar_is_counted_once(missing: set[int]) -> None:
    time = np.delete(NEW_YEAR + HOUR * np.arange(200), sorted(missing))
    gaps = find_gaps(time, Timeframe("1H"), ALWAYS_OPEN)
    assert gaps.missing == len(missing)
    listed = {start // HOUR + at for start, bars in gaps.where for at in range(bars)}
    assert listed == {NEW_YEAR // HOUR + at for at in missing}


# ------------------------------------------------------------------------------------------------ markets with sessions


def session_times(days: list[int], minutes: int = 5) -> Any:
    """Opens of whole NSE sessions, `days` after Monday 2025-01-06."""
    bars = np.arange(0, 375, minutes) * MINUTE
    return np.concatenate([MONDAY_OPEN + day * 24 * HOUR + bars for day in days])


def test_nights_weekends_and_holidays_are_no_gaps() -> None:
    time = session_times([0, 1, 3, 4, 7, 8])  # Wednesday is a holiday
    assert find_gaps(time, Timeframe("5M"), NSE).count == 0
    days = MONDAY_OPEN - 555 * MINUTE + 24 * HOUR * np.array([0, 1, 3, 4, 7, 8])
    assert find_gaps(days, Timeframe("1D"), NSE).count == 0


def test_missing_bars_inside_a_session_are_gaps() -> None:
    time = np.delete(session_times([0, 1]), [10, 11, 80])
    gaps = find_gaps(time, Timeframe("5M"), NSE)
    assert (gaps.count, gaps.missing, gaps.longest) == (2, 3, 2)
    assert gaps.where[0] == (MONDAY_OPEN + 50 * MINUTE, 2)


def test_a_break_that_no_holiday_explains_is_a_gap() -> None:
    time = session_times([0, 14])
    gaps = find_gaps(time, Timeframe("5M"), NSE)
    assert gaps.where == ((MONDAY_OPEN + 24 * HOUR, 9 * 75),)
    days = MONDAY_OPEN - 555 * MINUTE + 24 * HOUR * np.array([0, 14])
    assert find_gaps(days, Timeframe("1D"), NSE).missing == 9


def test_prints_outside_the_session_and_short_sessions_are_told() -> None:
    time = np.concatenate([session_times([0])[:70], [MONDAY_OPEN + 600 * MINUTE]])
    found = audited({**market(71), "time": time}, exchange="NSE", timeframe="5M")
    assert ("outside_session", "warning") in kinds(found)
    assert ("short_sessions", "info") in kinds(found)
    assert found.gaps.missing == 5  # the five bars that the session still had


def days_of(*texts: str) -> dict[str, Any]:
    """Daily bars of these days, as an Indian venue stamps them."""
    midnights = np.array(texts, dtype="datetime64[ms]").astype(np.int64) - 330 * MINUTE
    return {**market(len(texts)), "time": midnights}


def indian_audit(columns: dict[str, Any], symbol: str, timeframe: str = "1D") -> DataAudit:
    return Candles.of(columns, exchange="ZERODHA", symbol=symbol, timeframe=timeframe, audit="report").audit


def test_a_session_without_a_bar_is_a_gap_that_names_its_date() -> None:
    # Friday 2025-02-21, Tuesday 25th, Wednesday 26th is a holiday, Friday 28th: Monday and Thursday are missing.
    columns = days_of("2025-02-21", "2025-02-25", "2025-02-28")
    found = indian_audit(columns, "NSE:INFY")
    assert kinds(found) == [("gaps", "warning")]
    assert found.gaps.where == ((int(columns["time"][0]) + 72 * HOUR, 1), (int(columns["time"][2]) - 24 * HOUR, 1))
    assert found.gaps.sessions == (date(2025, 2, 24), date(2025, 2, 27))
    assert found.gaps.to_dict()["sessions"] == ["2025-02-24", "2025-02-27"]
    assert "No bar at all on 2025-02-24, 2025-02-27 in India." in found.findings[0].message
    assert Candles.of(columns, exchange="ZERODHA", timeframe="1D").gaps == found.gaps


def test_holidays_of_the_table_are_expected_and_special_sessions_are_not() -> None:
    assert indian_audit(days_of("2024-12-24", "2024-12-26"), "INFY").findings == ()  # Christmas
    special = indian_audit(days_of("2024-01-19", "2024-01-23"), "INFY")  # Saturday a session, Monday a holiday
    assert special.gaps.sessions == (date(2024, 1, 20),)
    budget = indian_audit(days_of("2026-01-30", "2026-02-02"), "INFY")
    assert budget.gaps.sessions == (date(2026, 2, 1),)


def test_holidays_inside_a_long_break_are_not_counted() -> None:
    found = indian_audit(days_of("2025-04-09", "2025-04-21"), "INFY")  # 10, 14 and 18 April are holidays
    assert found.gaps.missing == 4
    assert found.gaps.count == 1
    assert [day.day for day in found.gaps.sessions] == [11, 15, 16, 17]


def test_many_missing_sessions_are_named_in_short() -> None:
    found = indian_audit(days_of("2025-06-02", "2025-06-16"), "INFY")
    assert len(found.gaps.sessions) == 9
    assert "2025-06-03, 2025-06-04, 2025-06-05, 2025-06-06, 2025-06-09, ... in India." in found.findings[0].message


def test_a_session_without_a_bar_counts_the_bars_of_its_own_hours() -> None:
    # Muhurat 2025-10-21 is 13:45 to 14:45; the day before and the day after next are whole sessions.
    monday, thursday = (session_times([day]) for day in (287, 290))
    found = indian_audit({**market(150), "time": np.concatenate([monday, thursday])}, "BSE:RELIANCE", "5M")
    muhurat_open = int(monday[0]) + 24 * HOUR + 270 * MINUTE
    assert found.gaps.where == ((muhurat_open, 12),)
    assert found.gaps.sessions == (date(2025, 10, 21),)
    regular = indian_audit({**market(150), "time": session_times([0, 2])}, "NSE:INFY", "5M")
    assert regular.gaps.where == ((MONDAY_OPEN + 24 * HOUR, 75),)


def test_a_year_that_the_table_does_not_know_is_said_and_forgiven() -> None:
    found = indian_audit(days_of("2016-12-30", "2017-01-04", "2017-01-20"), "INFY")
    assert kinds(found) == [("gaps", "warning"), ("unknown_years", "info")]
    assert found.gaps.missing == 11  # the first break could be holidays; the second one is over 7 days, 11 weekdays
    assert found.gaps.sessions == ()
    assert found.findings[1].count == 3
    assert "the calendar of NSE does not know, first 2016-12-29 18:30 UTC" in found.findings[1].message


def test_a_break_across_the_first_known_year_is_judged_on_both_sides() -> None:
    found = indian_audit(days_of("2017-12-28", "2018-01-03"), "INFY")
    assert found.gaps.sessions == (date(2018, 1, 1), date(2018, 1, 2))
    assert found.gaps.missing == 2
    longer = indian_audit(days_of("2017-12-21", "2018-01-03"), "INFY")
    assert longer.gaps.missing == 2 + 6
    assert longer.gaps.where[0][0] == int(days_of("2017-12-22")["time"][0])


def test_markets_without_a_table_keep_the_rule_of_the_longest_holiday() -> None:
    assert indian_market("BINANCE", "BTCUSDT") is None
    assert indian_market("ZERODHA", "CDS:USDINR25JANFUT") is None
    assert indian_market("BSE", "RELIANCE") == ("BSE", None)
    assert indian_audit(days_of("2025-02-21", "2025-02-25"), "CDS:USDINR25JANFUT").findings == ()
    assert indian_audit(days_of("2010-01-04", "2010-01-06"), "CDS:USDINR25JANFUT").findings == ()


def test_a_holiday_with_an_evening_session_is_expected_at_mcx() -> None:
    assert indian_audit(days_of("2025-02-25", "2025-02-27"), "MCX:CARDAMOM25MARFUT").findings == ()
    assert indian_audit(days_of("2025-02-24", "2025-02-26"), "MCX:GOLD25APRFUT").gaps.missing == 1


def test_times_beyond_the_calendar_do_not_stop_the_audit() -> None:
    far = {**market(2), "time": np.array([0, 40_000 * 365 * 24 * HOUR]) - 330 * MINUTE}
    found = indian_audit(far, "INFY")
    assert found.of_kind("unknown_years") is not None
    assert found.gaps.count == 1


# --------------------------------------------------------------------------------------------------------- real files


def real_files() -> list[dict[str, Any]]:
    """The candle files of the shared market data whose timeframe is one of ours, with what their manifest counts."""
    manifest = shared_path() / "data" / "market" / "manifest.json"
    if not manifest.is_file():
        return []
    entries = json.loads(manifest.read_text())
    return [
        entry
        for entry in entries
        if "candles" in str(entry.get("kind"))
        and "mark" not in str(entry.get("kind"))
        and entry["file"].endswith(".parquet")
    ]


def prefix_of(file: str) -> str:
    """Where a file comes from, by its name."""
    return next(prefix for prefix in EXCHANGES if file.startswith(prefix))


@pytest.mark.parametrize("entry", real_files(), ids=lambda entry: entry["file"])
def test_a_real_file_loads_with_the_audit_that_its_readme_states(market_data: Path, entry: dict[str, Any]) -> None:
    candles = read_candles(market_data / entry["file"], exchange=EXCHANGES[prefix_of(entry["file"])])
    found = candles.audit
    assert found.ok
    assert len(candles) == entry["bars"]
    assert candles.timeframe == Timeframe.parse(entry["tf"])
    assert utc_text(int(candles.time[0])) == f"{entry['start']} UTC"
    zero = found.of_kind("no_volume") or found.of_kind("zero_volume")
    assert (zero.count if zero else 0) == entry["zero_vol"]
    if candles.calendar is ALWAYS_OPEN:
        assert (found.gaps.count, found.gaps.missing) == (entry["gaps"], entry["missing_bars"])
        assert [utc_text(start - candles.timeframe.ms)[:16] for start, _ in found.gaps.where] == [
            before for before, _ in entry.get("gap_list", [])
        ]


def test_the_outages_of_binance_are_10_gaps_of_20_bars(market_data: Path) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        path = market_data / f"binance_spot_{symbol}_1h_20200920_20250331.parquet"
        found = read_candles(path, exchange="BINANCE").audit
        assert (found.gaps.count, found.gaps.missing, found.gaps.longest) == (10, 20, 4)


def test_the_unadjusted_bonus_issues_of_nse_are_flagged(market_data: Path) -> None:
    for symbol, when in (
        ("HDFCBANK", "2025-08-25 18:30 UTC"),
        ("RELIANCE", "2024-10-27 18:30 UTC"),
        ("NIFTYBEES", "2019-12-18 18:30 UTC"),
    ):
        found = read_candles(market_data / f"nse_{symbol}_1d_20191001_20260821.parquet", exchange="NSE").audit
        outliers = found.of_kind("outliers")
        assert outliers is not None
        assert outliers.count == 1
        assert when in outliers.message
    for quiet in ("SBIN", "INFY"):
        found = read_candles(market_data / f"nse_{quiet}_1d_20191001_20260821.parquet", exchange="NSE").audit
        assert kinds(found) == [("gaps", "warning")]


@pytest.mark.parametrize("symbol", ["HDFCBANK", "INFY", "NIFTYBEES", "RELIANCE", "SBIN"])
def test_the_two_sessions_that_the_recorder_of_nse_missed_are_found(market_data: Path, symbol: str) -> None:
    found = read_candles(market_data / f"nse_{symbol}_1d_20191001_20260821.parquet", exchange="NSE").audit
    assert found.gaps.sessions == (date(2021, 11, 4), date(2022, 8, 8))
    assert (found.gaps.count, found.gaps.missing) == (2, 2)
    gaps = found.of_kind("gaps")
    assert gaps is not None
    assert "2021-11-04, 2022-08-08" in gaps.message
    assert found.of_kind("unknown_years") is None


@pytest.mark.parametrize(
    "entry",
    [
        entry
        for entry in real_files()
        if EXCHANGES[prefix_of(entry["file"])] in ("NSE", "BSE", "DHAN") and not entry["file"].endswith(NSE_DAYS)
    ],
    ids=lambda entry: entry["file"],
)
def test_no_other_indian_file_lacks_a_session(market_data: Path, entry: dict[str, Any]) -> None:
    candles = read_candles(market_data / entry["file"], exchange=EXCHANGES[prefix_of(entry["file"])])
    assert candles.gaps.sessions == ()
    assert candles.gaps == find_gaps(candles.time, candles.timeframe, candles.calendar)


def test_the_two_prints_of_dhan_outside_the_session_are_flagged(market_data: Path) -> None:
    found = read_candles(market_data / "dhan_NIFTY_5m_20260713_20260717.parquet", exchange="DHAN").audit
    outside = found.of_kind("outside_session")
    assert outside is not None
    assert outside.count == 2
    assert "2026-07-13 10:00 UTC" in outside.message


def test_nse_days_without_their_exchange_are_refused_with_the_way_out(market_data: Path) -> None:
    with pytest.raises(DataError, match="Off the 1D grid of a 24/7 market: 1,709 bars") as caught:
        read_candles(market_data / "nse_SBIN_1d_20191001_20260821.parquet")
    assert "name the exchange" in caught.value.hint
