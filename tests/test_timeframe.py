"""How long a bar is, where it starts, and how many there are in a year."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from barwise.errors import ConfigError
from barwise.timeframe import ALWAYS_OPEN, DAY_MS, HOUR_MS, MINUTE_MS, NSE, WEEK_MS, Timeframe, calendar_of

IST = timezone(timedelta(hours=5, minutes=30))


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("1M", MINUTE_MS), ("5M", 5 * MINUTE_MS), ("15M", 15 * MINUTE_MS), ("30M", 30 * MINUTE_MS), ("1H", HOUR_MS),
        ("2H", 2 * HOUR_MS), ("4H", 4 * HOUR_MS), ("1D", DAY_MS), ("1W", WEEK_MS),
    ],
)  # fmt: skip
def test_every_documented_name_has_its_length_and_is_found_by_it(name: str, length: int) -> None:
    assert Timeframe.parse(name).ms == length
    assert Timeframe.parse(name.lower()) == Timeframe.parse(f" {name} ") == Timeframe(name)
    assert Timeframe.of_length(length) == Timeframe(name)
    assert str(Timeframe(name)) == name


def test_the_names_are_those_nine_from_short_to_long_and_no_other() -> None:
    assert Timeframe.names() == ("1M", "5M", "15M", "30M", "1H", "2H", "4H", "1D", "1W")
    lengths = [Timeframe(name).ms for name in Timeframe.names()]
    assert lengths == sorted(set(lengths))


def test_1m_is_one_minute_and_never_a_month() -> None:
    assert Timeframe.parse("1M").ms == Timeframe.parse("1m").ms == 60_000


@pytest.mark.parametrize("value", ["3M", "60", "1 H", "", "1MO", "H", "1h30", 60, None, 3600.0, ["1H"]])
def test_any_other_name_is_refused_with_the_list(value: Any) -> None:
    with pytest.raises(ConfigError, match="is not a timeframe") as caught:
        Timeframe.parse(value)
    assert caught.value.hint == "use one of 1M, 5M, 15M, 30M, 1H, 2H, 4H, 1D, 1W; 1M is one minute."


def test_a_name_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"'15min' is not a timeframe\. Did you mean 15M\?"):
        Timeframe.parse("15min")


def test_a_timeframe_passes_through_and_is_one_value_wherever_it_comes_from() -> None:
    hour = Timeframe("1H")
    assert Timeframe.parse(hour) is hour
    assert {hour: "one"}[Timeframe.parse("1h")] == "one"
    assert Timeframe.of_length(HOUR_MS + 1) is None
    assert [Timeframe(name).intraday for name in ("1M", "4H", "1D", "1W")] == [True, True, False, False]


# Bars of a year: docs of the statistics, section 1.1 (365 days around the clock, 248 sessions on NSE).
PER_YEAR = [
    ("1M", 525_600.0, 93_000.0), ("5M", 105_120.0, 18_600.0), ("15M", 35_040.0, 6_200.0), ("1H", 8_760.0, 1_736.0),
    ("4H", 2_190.0, 496.0), ("1D", 365.0, 248.0), ("30M", 17_520.0, 3_224.0), ("2H", 4_380.0, 992.0),
    ("1W", 365.0 / 7.0, 248.0 / 5.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "crypto", "nse"), PER_YEAR)
def test_bars_of_a_year_follow_from_the_calendar(name: str, crypto: float, nse: float) -> None:
    assert Timeframe(name).bars_per_year() == pytest.approx(crypto, rel=1e-12)
    assert Timeframe(name).bars_per_year(ALWAYS_OPEN) == Timeframe(name).bars_per_year()
    assert Timeframe(name).bars_per_year(NSE) == pytest.approx(nse, rel=1e-12)


@pytest.mark.parametrize(
    ("exchange", "calendar"),
    [
        ("BINANCE", ALWAYS_OPEN), ("BINANCE_UM", ALWAYS_OPEN), ("DELTA", ALWAYS_OPEN), ("SAMPLE", ALWAYS_OPEN),
        ("", ALWAYS_OPEN), ("anything", ALWAYS_OPEN), ("ZERODHA", NSE), ("DHAN", NSE), ("nse", NSE), ("Bse", NSE),
    ],
)  # fmt: skip
def test_a_venue_has_its_calendar(exchange: str, calendar: Any) -> None:
    assert calendar_of(exchange) is calendar
    assert calendar_of(exchange).always_open is (calendar is ALWAYS_OPEN)


def opens_at(moment: datetime, name: str, calendar: Any) -> bool:
    frame = Timeframe(name)
    return (ms(moment) - frame.grid_origin_ms(calendar)) % frame.ms == 0


@pytest.mark.parametrize("name", ["1M", "5M", "15M", "30M", "1H", "2H", "4H", "1D"])
def test_around_the_clock_every_bar_counts_from_midnight_utc(name: str) -> None:
    assert opens_at(datetime(2025, 3, 5, tzinfo=UTC), name, ALWAYS_OPEN)
    assert not opens_at(datetime(2025, 3, 5, 0, 0, 30, tzinfo=UTC), name, ALWAYS_OPEN)


@pytest.mark.parametrize("name", ["1M", "5M", "15M", "30M", "1H"])
def test_on_nse_an_intraday_bar_counts_from_a_quarter_past_nine(name: str) -> None:
    first = datetime(2025, 3, 5, 9, 15, tzinfo=IST)
    assert opens_at(first, name, NSE)
    assert opens_at(first + timedelta(milliseconds=Timeframe(name).ms), name, NSE)
    assert not opens_at(first + timedelta(seconds=30), name, NSE)


def test_on_nse_a_day_opens_at_midnight_in_india_and_a_week_on_monday() -> None:
    assert opens_at(datetime(2025, 3, 5, tzinfo=IST), "1D", NSE)
    assert not opens_at(datetime(2025, 3, 5, tzinfo=UTC), "1D", NSE)
    assert opens_at(datetime(2025, 3, 3, tzinfo=IST), "1W", NSE)
    assert not opens_at(datetime(2025, 3, 4, tzinfo=IST), "1W", NSE)


def test_around_the_clock_a_week_opens_on_monday() -> None:
    days = [datetime(2025, 3, day, tzinfo=UTC) for day in range(3, 10)]
    assert [opens_at(day, "1W", ALWAYS_OPEN) for day in days] == [True] + [False] * 6
