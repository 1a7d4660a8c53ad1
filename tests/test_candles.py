"""Candles: immutable, with an identity, the same whatever they were built from, and coarser as exchanges make them."""

import copy
import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.errors import BarwiseError, ConfigError, DataError

HOUR = 3_600_000
NEW_YEAR = 1_735_689_600_000  # 2025-01-01 00:00 UTC
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def hours(count: int, *, start: int = NEW_YEAR, step: int = HOUR, price: float = 100.0) -> list[dict[str, Any]]:
    """A gently rising market."""
    return [
        {
            "time": start + at * step,
            "open": price + at,
            "high": price + at + 2.0,
            "low": price + at - 1.0,
            "close": price + at + 1.0,
            "volume": 10.0 + at,
        }
        for at in range(count)
    ]


@st.composite
def candle_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Sound hourly candles with gaps, any prices, and quote volume in half of the cases."""
    price = st.floats(1e-6, 1e6)
    with_quote = draw(st.booleans())
    rows: list[dict[str, Any]] = []
    at = NEW_YEAR + HOUR * draw(st.integers(0, 20_000))
    for _ in range(draw(st.integers(2, 12))):
        low, first, second, high = sorted(draw(st.tuples(price, price, price, price)))
        row = {
            "time": at,
            "open": first,
            "high": high,
            "low": low,
            "close": second,
            "volume": draw(st.floats(0, 1e9)),
        }
        if with_quote:
            row["quote_volume"] = row["volume"] * row["close"]
        rows.append(row)
        at += HOUR * draw(st.sampled_from([1, 1, 1, 1, 2, 7]))
    return rows


def built(rows: object, **identity: Any) -> Candles:
    return Candles.of(rows, **{"exchange": "BINANCE", "symbol": "BTCUSDT", "timeframe": "1H", **identity})


def test_the_quarter_of_the_readme_has_its_2160_bars_and_no_gap(market_data: Path) -> None:
    candles = read_candles(
        market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet", exchange="BINANCE", symbol="BTCUSDT"
    )
    quarter = candles.between(datetime(2025, 1, 1), datetime(2025, 4, 1))
    assert len(quarter) == 2160
    assert quarter.gaps.count == 0
    assert quarter[0] == {
        "time": NEW_YEAR,
        "open": 93576.0,
        "high": 94509.42,
        "low": 93489.03,
        "close": 94401.14,
        "volume": 755.9901,
    }
    assert repr(quarter) == "<Candles BINANCE BTCUSDT 1H: 2025-01-01 00:00 .. 2025-03-31 23:00 UTC, 2,160 bars, 0 gaps>"
    assert np.shares_memory(quarter.close, candles.close)


def test_columns_and_attributes_cannot_be_changed() -> None:
    candles = built(hours(5))
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(candles, name)[0] = 1
    with pytest.raises(AttributeError):
        candles.symbol = "ETHUSDT"  # type: ignore[misc]
    with pytest.raises(TypeError):
        candles[0] = {}  # type: ignore[index]


@pytest.mark.parametrize("kind", ["dict", "frozen view", "pandas", "polars"])
def test_later_changes_of_the_users_arrays_never_reach_the_candles(kind: str) -> None:
    arrays = {name: np.array([row[name] for row in hours(50)]) for name in COLUMNS}
    data: Any
    if kind == "dict":
        data = arrays
    elif kind == "frozen view":
        data = {name: array[:] for name, array in arrays.items()}
        for view in data.values():
            view.setflags(write=False)
    else:
        data = pd.DataFrame(arrays, copy=False) if kind == "pandas" else pl.DataFrame(arrays)
    candles = built(data)
    before = candles.fingerprint
    for array in arrays.values():
        array[:] = 7
    if kind == "pandas":
        data.loc[:, "close"] = 3.0
    if kind == "polars":
        data[0, "close"] = 3.0
    again = Candles(*candles.bars, None, candles.timeframe, "BINANCE", "BTCUSDT")
    assert again.fingerprint == before
    assert candles.close[0] == 101.0


def test_a_candle_is_a_dict_of_plain_python_numbers() -> None:
    rows = hours(4)
    candles = built(rows)
    assert list(candles) == rows == candles.to_dicts()
    assert candles[-1] == rows[-1] == candles[np.int64(3)]
    assert [type(value) for value in candles[1].values()] == [int] + [float] * 5
    assert [type(value) for value in next(iter(candles)).values()] == [int] + [float] * 5
    assert rows[2] in candles
    assert candles.index(rows[2]) == 2
    for position in (4, -5):
        with pytest.raises(IndexError):
            candles[position]


def test_slices_are_views_and_steps_are_refused() -> None:
    candles = built(hours(10))
    part = candles[2:5]
    assert [candle["time"] for candle in part] == [NEW_YEAR + at * HOUR for at in (2, 3, 4)]
    assert np.shares_memory(part.open, candles.open)
    assert part.label == candles.label
    assert len(candles[20:]) == 0
    with pytest.raises(DataError, match="steps of 2"):
        candles[::2]


def test_bars_are_the_same_array_objects_on_every_access() -> None:
    candles = built(hours(5))
    assert candles.bars is candles.bars
    assert candles.bars.close is candles.close
    assert all(column.flags.c_contiguous for column in candles.bars)


@settings(deadline=None)
@given(candle_lists())
def test_content_survives_every_round_trip(rows: list[dict[str, Any]]) -> None:
    candles = built(rows)
    ways: list[Callable[[Candles], object]] = [
        Candles.to_dicts,
        Candles.to_polars,
        Candles.to_pandas,
        lambda it: pd.DataFrame(it.to_dicts()),
        lambda it: pl.DataFrame(it.to_dicts()),
        lambda it: it.to_pandas().reset_index(),
        lambda it: {name: column.tolist() for name, column in it._columns()},
    ]
    for way in ways:
        assert built(way(candles)).fingerprint == candles.fingerprint
    for copied in (pickle.loads(pickle.dumps(candles)), copy.deepcopy(candles)):
        assert copied == candles
        assert not copied.close.flags.writeable


def test_fingerprint_changes_with_every_value_and_with_the_identity() -> None:
    rows = [{**row, "quote_volume": row["volume"] * row["close"]} for row in hours(5)]
    original = built(rows)
    seen = {original.fingerprint}
    for name in (*COLUMNS[1:], "quote_volume"):
        changed = [dict(row) for row in rows]
        changed[3][name] += 1e-9 * changed[3][name]
        seen.add(built(changed, audit="off").fingerprint)
    seen.add(built([{**row, "time": row["time"] + HOUR} for row in rows]).fingerprint)
    seen.add(built(hours(5)).fingerprint)
    seen.add(built(rows[:-1]).fingerprint)
    seen |= {built(rows, **{name: "X"}).fingerprint for name in ("exchange", "symbol")}
    seen.add(built(rows, synthetic=True).fingerprint)
    assert len(seen) == 13
    assert built(rows) == original
    assert hash(built(rows)) == hash(original)
    assert original != rows


def test_between_is_half_open_and_takes_any_way_to_name_an_instant() -> None:
    candles = built(hours(10))
    aware = datetime(2025, 1, 1, 7, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    for start in (
        NEW_YEAR + 2 * HOUR,
        datetime(2025, 1, 1, 2),
        aware,
        "2025-01-01T02:00",
        "2025-01-01T02:00:00Z",
        np.datetime64("2025-01-01T02:00"),
    ):
        part = candles.between(start, NEW_YEAR + 5 * HOUR)
        assert [candle["time"] for candle in part] == [NEW_YEAR + at * HOUR for at in (2, 3, 4)]
    assert len(candles.between(date(2025, 1, 1), date(2025, 1, 2))) == 10
    assert len(candles.between(NEW_YEAR + 1, NEW_YEAR + HOUR)) == 0
    assert candles.between() == candles


def test_between_refuses_what_makes_no_sense() -> None:
    candles = built(hours(10))
    with pytest.raises(DataError, match="after its end"):
        candles.between(NEW_YEAR + HOUR, NEW_YEAR)
    with pytest.raises(DataError, match="is not a time"):
        candles.between("soon")
    backwards = built(hours(10)[::-1], audit="report")
    with pytest.raises(DataError, match="not in time order"):
        backwards.between(NEW_YEAR, None)


@settings(deadline=None)
@given(candle_lists(), st.integers(-5, 100), st.integers(0, 100))
def test_between_never_copies_and_keeps_exactly_the_span(rows: list[dict[str, Any]], begin: int, length: int) -> None:
    candles = built(rows)
    start = rows[0]["time"] + begin * HOUR
    end = start + length * HOUR
    part = candles.between(start, end)
    assert part.to_dicts() == [row for row in rows if start <= row["time"] < end]
    assert not len(part) or all(
        np.shares_memory(mine, theirs) for mine, theirs in zip(part.bars, candles.bars, strict=True)
    )


# ---------------------------------------------------------------------------------------------------------- resampling


def assert_same_bars(coarse: Candles, expected: Candles) -> None:
    """Prices to the bit; volume, a sum whose order differs, to 1e-9."""
    for name in COLUMNS[:-1]:
        np.testing.assert_array_equal(getattr(coarse, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(coarse.volume, expected.volume, rtol=1e-9)


def test_real_5m_bars_become_the_1h_bars_of_the_exchange(market_data: Path) -> None:
    fine = read_candles(market_data / "binance_spot_BTCUSDT_5m_20250101_20250331.parquet", exchange="BINANCE")
    hourly = read_candles(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet", exchange="BINANCE")
    coarse = fine.resample("1H")
    assert len(coarse) == 2160
    assert_same_bars(coarse, hourly.between(NEW_YEAR))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_real_1h_bars_with_outages_become_the_1d_bars(market_data: Path, symbol: str) -> None:
    hourly = read_candles(market_data / f"binance_spot_{symbol}_1h_20200920_20250331.parquet", exchange="BINANCE")
    daily = read_candles(market_data / f"binance_spot_{symbol}_1d_20200920_20250331.parquet", exchange="BINANCE")
    assert_same_bars(hourly.resample("1D"), daily)
    weekly = hourly.resample("1W")
    assert {datetime.fromtimestamp(time / 1000, tz=UTC).strftime("%A %H:%M") for time in weekly.time} == {
        "Monday 00:00"
    }
    assert_same_bars(weekly, daily.resample("1W"))


def test_nse_bars_count_from_the_open_of_the_session(market_data: Path) -> None:
    fine = read_candles(market_data / "dhan_RELIANCE_5m_20260713_20260717.parquet", exchange="DHAN")
    hourly = fine.resample("1H")
    opens = [(datetime.fromtimestamp(t / 1000, tz=UTC) + timedelta(minutes=330)).strftime("%H:%M") for t in hourly.time]
    assert opens == ["09:15", "10:15", "11:15", "12:15", "13:15", "14:15", "15:15"] * 5
    daily = fine.resample("1D")
    official = read_candles(market_data / "dhan_RELIANCE_1d_20230102_20260716.parquet", exchange="DHAN")
    common = official.between(int(daily.time[0]))
    assert len(common) == 4
    for name in ("time", "open", "high", "low"):
        np.testing.assert_array_equal(getattr(daily[: len(common)], name), getattr(common, name))
    assert len(fine.resample("1W")) == 1
    assert fine.resample("4H").resample("1D").high.tolist() == daily.high.tolist()


def test_a_late_print_after_the_close_does_not_make_a_second_day(market_data: Path) -> None:
    fine = read_candles(market_data / "dhan_NIFTY_5m_20260713_20260717.parquet", exchange="DHAN")
    daily = fine.resample("1D")
    assert len(daily) == 5
    assert daily.close[-1] == fine.close[-1]


def test_bars_at_the_ends_that_are_not_covered_whole_are_left_out() -> None:
    candles = built(hours(60, start=NEW_YEAR + 3 * HOUR))  # 03:00 on the first day to 14:00 on the third
    daily = candles.resample("1D")
    assert daily.time.tolist() == [NEW_YEAR + 24 * HOUR]
    assert daily[0] == {
        "time": NEW_YEAR + 24 * HOUR,
        "open": 121.0,
        "high": 146.0,
        "low": 120.0,
        "close": 145.0,
        "volume": sum(10.0 + at for at in range(21, 45)),
    }
    assert built(hours(48)).resample("1D").time.tolist() == [NEW_YEAR, NEW_YEAR + 24 * HOUR]
    with pytest.raises(DataError, match="do not fill one 1D bar"):
        built(hours(23)).resample("1D")


def test_an_outage_inside_a_coarse_bar_keeps_the_bar() -> None:
    rows = [row for at, row in enumerate(hours(12)) if at not in (3, 4, 5, 6)]
    coarse = built(rows).resample("4H")
    assert coarse.time.tolist() == [NEW_YEAR, NEW_YEAR + 4 * HOUR, NEW_YEAR + 8 * HOUR]
    assert coarse[1]["open"] == rows[3]["open"]
    assert coarse.volume.tolist() == [10 + 11 + 12, 17, 18 + 19 + 20 + 21]


def test_quote_volume_is_summed_and_identity_kept() -> None:
    rows = [{**row, "quote_volume": row["volume"] * row["close"]} for row in hours(8)]
    coarse = built(rows, exchange="SAMPLE").resample("4h")
    assert coarse.quote_volume is not None
    assert coarse.quote_volume.tolist() == [sum(row["quote_volume"] for row in rows[at : at + 4]) for at in (0, 4)]
    assert coarse.label == "SAMPLE BTCUSDT 4H SYNTHETIC"


def test_resampling_refuses_finer_and_unknown_timeframes_and_unsound_bars() -> None:
    candles = built(hours(8))
    assert candles.resample("1H") is candles
    with pytest.raises(ConfigError, match="cannot become 5M") as caught:
        candles.resample("5M")
    assert "2H, 4H, 1D, 1W" in caught.value.hint
    with pytest.raises(ConfigError, match="not a timeframe"):
        candles.resample("3H")
    with pytest.raises(DataError, match="not in time order"):
        built(hours(8)[::-1], audit="report").resample("4H")


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 30))
def test_resampling_in_two_steps_equals_one_step(count: int, offset: int) -> None:
    fine = built(hours(count, start=NEW_YEAR + offset * 300_000, step=300_000), timeframe="5M")

    def attempt(*steps: str) -> list[Any] | None:
        candles = fine
        try:
            for step in steps:
                candles = candles.resample(step)
        except DataError:
            return None
        return candles.to_dicts()

    assert attempt("30M", "4H") == attempt("4H")


# ------------------------------------------------------------------------------------------------------- what goes in


def test_names_of_columns_are_found_by_their_meaning() -> None:
    rows = hours(5)
    expected = built(rows).fingerprint
    spellings = [
        ("Timestamp", "Open", "High", "Low", "Close", "Volume"),
        ("t", "o", "h", "l", "c", "v"),
        ("open_time", "open", "high", "low", "close", "vol"),
        ("DATE", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"),
        ("unix", "open_price", "highPrice", "low price", "closePrice", "Volume BTC"),
    ]
    for names in spellings:
        assert built([dict(zip(names, row.values(), strict=True)) for row in rows]).fingerprint == expected, names
    # Binance's own messages: t opens, T closes, v is base and V something else
    noisy = [{"T": 1, "V": 2.0, "L": 3, **dict(zip("tohlcv", row.values(), strict=True))} for row in rows]
    assert built(noisy).fingerprint == expected


@pytest.mark.parametrize("factor", [1e-3, 1, 1e3, 1e6])
def test_the_unit_of_numeric_times_is_found_by_size(factor: float) -> None:
    rows = hours(5)
    scaled = [{**row, "time": int(row["time"] * factor) if factor >= 1 else row["time"] // 1000} for row in rows]
    assert built(scaled) == built(rows)
    assert built([{**row, "time": str(row["time"])} for row in scaled]) == built(rows)
    assert built(pl.DataFrame(scaled)) == built(rows)
    if factor <= 1e3:
        assert built([{**row, "time": float(row["time"])} for row in scaled]) == built(rows)


def test_times_of_every_type_mean_the_same_instant() -> None:
    rows = hours(5)
    expected = built(rows)
    moments = [datetime.fromtimestamp(row["time"] / 1000, tz=UTC) for row in rows]
    india = timezone(timedelta(hours=5, minutes=30))
    values = {name: [row[name] for row in rows] for name in COLUMNS[1:]}
    columns: list[Any] = [
        moments,
        [moment.replace(tzinfo=None) for moment in moments],
        [moment.astimezone(india) for moment in moments],
        [moment.isoformat() for moment in moments],
        [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in moments],
        [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments],
        np.array([row["time"] for row in rows], dtype="datetime64[ms]"),
        pd.Series(moments),
        pd.Series(moments).dt.tz_convert("Asia/Kolkata"),
        pd.Series(moments).dt.tz_localize(None).astype("datetime64[ns]"),
        pd.DatetimeIndex(moments),
        pl.Series(moments),
        pl.Series(moments).dt.convert_time_zone("Asia/Kolkata"),
        pl.Series(moments).dt.replace_time_zone(None).cast(pl.Datetime("ns")),
    ]
    for column in columns:
        assert built({"time": column, **values}) == expected, type(column)


def test_a_pandas_frame_with_a_dated_index_is_read_by_its_index() -> None:
    rows = hours(5)
    frame = pd.DataFrame(rows)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame["time"], unit="ms"), name="whenever")
    for data in (frame, frame.drop(columns="time"), frame.drop(columns="time").tz_localize("UTC")):
        assert built(data) == built(rows)
    by_number = pd.DataFrame(rows).set_index("time")
    assert built(by_number) == built(rows)


def test_a_date_means_the_trading_day_of_its_exchange() -> None:
    days = [date(2025, 1, 6), date(2025, 1, 7), date(2025, 1, 8)]
    prices = {name: [row[name] for row in hours(3)] for name in COLUMNS[1:]}
    for column in (days, [str(day) for day in days], pl.Series(days)):
        indian = Candles.of({"time": column, **prices}, exchange="NSE")
        assert indian.time[0] == datetime(2025, 1, 5, 18, 30, tzinfo=UTC).timestamp() * 1000
        everywhere = Candles.of({"time": column, **prices}, exchange="BINANCE")
        assert everywhere.time[0] == datetime(2025, 1, 6, tzinfo=UTC).timestamp() * 1000
        assert everywhere.timeframe.name == "1D"


def test_volume_may_be_absent_and_is_zero_then() -> None:
    candles = built([{name: row[name] for name in COLUMNS[:-1]} for row in hours(5)])
    assert candles.volume.tolist() == [0.0] * 5
    assert candles.audit.of_kind("volume_missing") is not None
    assert candles.audit.ok


def test_the_timeframe_is_the_most_common_distance() -> None:
    rows = hours(20)
    del rows[4:9]
    assert Candles.of(rows).timeframe.name == "1H"
    with pytest.raises(DataError, match="8 hours apart"):
        Candles.of(hours(5, step=8 * HOUR))
    with pytest.raises(DataError, match="cannot be found from 1 bar"):
        Candles.of(hours(1))


def test_candles_are_taken_as_they_are_and_only_blanks_are_filled_in() -> None:
    anonymous = Candles.of(hours(5))
    named = Candles.of(anonymous, exchange="binance", symbol=" btcusdt ")
    assert named.label == "BINANCE BTCUSDT 1H"
    assert named.close is anonymous.close
    assert Candles.of(named) is named
    assert Candles.of(named, symbol="BTCUSDT", timeframe="1h") is named
    contradictions: list[dict[str, Any]] = [{"symbol": "ETHUSDT"}, {"exchange": "DELTA"}, {"timeframe": "4H"}]
    for wrong in contradictions:
        with pytest.raises(DataError, match="These candles are BINANCE BTCUSDT 1H"):
            Candles.of(named, **wrong)
    with pytest.raises(DataError, match="not in time order"):
        Candles.of(built(hours(5)[::-1], audit="report"))


def test_synthetic_candles_say_so_wherever_they_show() -> None:
    for candles in (built(hours(5), synthetic=True), built(hours(5), exchange="sample")):
        for shown in (repr(candles), candles._repr_html_(), candles.label, repr(candles[1:3])):
            assert "SYNTHETIC" in shown
    assert "SYNTHETIC" not in repr(built(hours(5)))


def test_html_shows_both_ends_and_escapes_names() -> None:
    shown = built(hours(50), symbol="<b>")._repr_html_()
    assert "&lt;B&gt;" in shown
    assert "2025-01-01 00:00 UTC" in shown
    assert "2025-01-03 01:00 UTC" in shown
    assert shown.count("<tr>") == 8


# ---------------------------------------------------------------------------------------------------------- bad input


def replaced(at: int, **values: Any) -> list[dict[str, Any]]:
    rows = hours(6)
    rows[at] = {**rows[at], **values}
    return rows


BAD = [
    ([], "There is not one bar|cannot be found from 0 bars"),
    (None, "NoneType is not a form of candles"),
    (42, "int is not a form of candles"),
    ("BTCUSDT.csv", "str is not a form of candles"),
    ([1, 2, 3], "A candle is a int"),
    ([[1, 2, 3, 4, 5, 6]], "A candle is a list"),
    ([{"time": 1}], "missing: open, high, low, close"),
    ([{"tiem": 1, "open": 1, "high": 1, "low": 1, "close": 1}], "missing: time; .* Did you mean tiem"),
    ([*hours(3), {"time": 5}], "Candle 3 of 4 has no 'open'"),
    ([*hours(3), 5], "Candle 3 of 4 has no 'time'"),
    (replaced(2, close="n/a"), "Column close, row 2: 'n/a' is not a number"),
    (replaced(2, close=[1, 2]), "Column close, row 2"),
    (replaced(2, close=None), "missing or infinite, first close of 2025-01-01 02:00 UTC"),
    (replaced(2, open=float("inf")), "missing or infinite, first open of 2025-01-01 02:00 UTC"),
    (replaced(2, time=None), "Column time, row 2: None is not a time"),
    (replaced(2, time="yesterday"), "Column time, row 2: 'yesterday' is not a time"),
    (replaced(2, time=float("nan")), "Column time, row 2"),
    (replaced(2, time=10**30), "Column time, row 2"),
    (replaced(2, time=NEW_YEAR // 1000), "mix units: milliseconds, but 1 row in another, first row 2: seconds"),
    (replaced(2, low=0.0), "price of zero or below, first 2025-01-01 02:00 UTC"),
    (replaced(2, high=1.0), "high is not the highest .* first 2025-01-01 02:00 UTC"),
    (replaced(2, volume=-1.0), "negative volume, first 2025-01-01 02:00 UTC"),
    (hours(6)[::-1], "not in time order: 2025-01-01 04:00 UTC comes after 2025-01-01 05:00 UTC"),
    ([*hours(6), hours(6)[5]], "Repeated with the same values: 1 bar"),
    ([*hours(6), replaced(5, close=105.5)[5]], "Different values for the same time: 1 bar"),
    (
        {"time": [1, 2], "open": [1], "high": [1], "low": [1], "close": [1]},
        "Column open has 1 value, column time has 2",
    ),
    ({name: np.ones((2, 2)) for name in COLUMNS}, "dimensions"),
    ({"time": 5, "open": 1, "high": 1, "low": 1, "close": 1}, "Column time"),
    (pd.DataFrame(), "missing: time, open"),
    (pd.DataFrame([[1.0]], columns=pd.MultiIndex.from_tuples([("Close", "BTC")])), "several levels"),
    (pl.DataFrame({"time": [None], **{name: [1.0] for name in COLUMNS[1:]}}), "Column time, row 0"),
    (pl.DataFrame({"time": [NEW_YEAR], **{name: [["a"]] for name in COLUMNS[1:]}}), "Column open, row 0"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_candles_get_one_clear_sentence(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Candles.of(data)
    assert "\n" not in caught.value.message


def test_wrong_arguments_are_refused_with_the_values_allowed() -> None:
    with pytest.raises(ConfigError, match="Did you mean report"):
        Candles.of(hours(5), audit="reprot")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'7H' is not a timeframe"):
        Candles.of(hours(5), timeframe="7H")
    with pytest.raises(DataError, match="symbol is 5"):
        Candles.of(hours(5), symbol=5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="The bars are 1H apart, not 4H"):
        Candles.of(hours(8), timeframe="4H")


def test_a_report_takes_bad_candles_and_says_what_is_wrong() -> None:
    candles = Candles.of(replaced(2, high=1.0), audit="report")
    assert not candles.audit.ok
    assert [finding.kind for finding in candles.audit.errors] == ["ohlc"]
    assert len(Candles.of([], timeframe="1H", audit="off")) == 0


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.datetimes()
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(COLUMNS), inner, max_size=7),
    max_leaves=12,
)


@settings(deadline=None)
@given(JUNK)
def test_junk_never_raises_anything_but_our_errors(data: object) -> None:
    with pytest.raises(BarwiseError):
        Candles.of(data)


@settings(deadline=None)
@given(st.integers(0, 5), st.sampled_from(COLUMNS), JUNK)
def test_one_junk_value_is_read_or_refused_by_our_errors(at: int, name: str, value: object) -> None:
    rows = replaced(at, **{name: value})
    for data in (rows, {column: [row[column] for row in rows] for column in COLUMNS}):
        with suppress(BarwiseError):
            assert np.isfinite(Candles.of(data).close).all()
