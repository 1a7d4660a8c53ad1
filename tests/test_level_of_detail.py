"""What a chart is sent of a long run: never more than asked for, nothing invented, and no extreme lost."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray
from barwise.dashboard.level_of_detail import CandleLevels, Shown, thinned
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, Timeframe, calendar_of

MIDNIGHT = 1_704_067_200_000  # 2024-01-01, a Monday
MINUTES = sample_candles(timeframe="1M", start="2024-01-01", end="2024-01-15")


def hours(opens: list[float], first: int = 0, skip: tuple[int, ...] = ()) -> Candles:
    """Bars of an hour from so many hours behind midnight on: each closes 1 above its open, between -2 and +3."""
    rows = [
        {
            "time": MIDNIGHT + (first + at) * HOUR_MS, "open": price, "high": price + 3.0, "low": price - 2.0,
            "close": price + 1.0, "volume": 1.0 + at,
        }
        for at, price in enumerate(opens)
        if at not in skip
    ]  # fmt: skip
    return Candles.of(rows, timeframe="1H", audit="off")


def naive(candles: Candles, frame: Timeframe) -> dict[int, list[float]]:
    """Candles on the grid of a timeframe, one bar after the other, by the open of their first bar."""
    found: dict[int, tuple[int, list[float]]] = {}
    origin = frame.grid_origin_ms(candles.calendar)
    for bar in candles:
        holder = (bar["time"] - origin) // frame.ms
        if holder not in found:
            found[holder] = bar["time"], [bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"]]
            continue
        values = found[holder][1]
        values[1], values[2] = max(values[1], bar["high"]), min(values[2], bar["low"])
        values[3] = bar["close"]
        values[4] += bar["volume"]
    return dict(found.values())


def columns(shown: Shown) -> dict[int, list[float]]:
    """The same of what is shown."""
    rows = zip(shown.time, shown.open, shown.high, shown.low, shown.close, shown.volume, strict=True)
    return {int(time): [float(value) for value in values] for time, *values in rows}


class TestCandles:
    def test_nights_of_a_market_that_closes_are_told_and_a_hole_in_one_that_never_does_is_not(self) -> None:
        opens = MIDNIGHT + 225 * MINUTE_MS  # 09:15 in India
        flat = dict.fromkeys(("open", "high", "low", "close", "volume"), 9.0)
        rows = [
            {"time": opens + day * DAY_MS + bar * HOUR_MS, **flat}
            for day in (0, 1, 4)  # Monday, Tuesday, Friday
            for bar in range(7)
        ]
        closed = CandleLevels(Candles.of(rows, exchange="ZERODHA", timeframe="1H", audit="off")).closed
        last = opens + 7 * HOUR_MS  # the last bar of a day reaches beyond the session
        assert closed == [[last, opens + DAY_MS], [last + DAY_MS, opens + 4 * DAY_MS]]
        assert CandleLevels(hours([1.0, 2.0, 3.0, 4.0], skip=(1, 2))).closed == []

    def test_five_hours_in_three_candles_of_two_hours_on_the_clock(self) -> None:
        # From 01:00 on: the first candle of two hours, 00:00 to 02:00, has one bar only.
        levels = CandleLevels(hours([10.0, 20.0, 30.0, 25.0, 40.0], first=1))
        shown = levels.shown(None, None, 3)
        assert str(shown.timeframe) == "2H"
        assert columns(shown) == {
            MIDNIGHT + 1 * HOUR_MS: [10.0, 13.0, 8.0, 11.0, 1.0],
            MIDNIGHT + 2 * HOUR_MS: [20.0, 33.0, 18.0, 31.0, 2.0 + 3.0],
            MIDNIGHT + 4 * HOUR_MS: [25.0, 43.0, 23.0, 41.0, 4.0 + 5.0],
        }

    def test_bars_that_are_few_enough_stay_as_they_are(self) -> None:
        candles = hours([10.0, 20.0, 30.0])
        shown = CandleLevels(candles).shown(None, None, 3)
        assert str(shown.timeframe) == "1H"
        assert np.array_equal(shown.high, candles.high)
        assert shown.merged == 1

    def test_a_span_that_cuts_candles_has_all_of_them_whole(self) -> None:
        levels = CandleLevels(hours([float(at) for at in range(12)]))
        # From within 03:00 to within 06:00: hours 3 to 6, which lie in the candles of 02:00, 04:00 and 06:00.
        start, end = MIDNIGHT + 3 * HOUR_MS + MINUTE_MS, MIDNIGHT + 6 * HOUR_MS + MINUTE_MS
        shown = levels.shown(start, end, 3)
        assert shown.time.tolist() == [MIDNIGHT + at * HOUR_MS for at in (2, 4, 6)]
        assert shown.volume.tolist() == [3.0 + 4.0, 5.0 + 6.0, 7.0 + 8.0]

    def test_the_end_of_a_span_is_not_part_of_it(self) -> None:
        levels = CandleLevels(hours([1.0, 2.0, 3.0, 4.0]))
        shown = levels.shown(MIDNIGHT + HOUR_MS, MIDNIGHT + 3 * HOUR_MS, 10)
        assert shown.open.tolist() == [2.0, 3.0]

    @pytest.mark.parametrize(
        "span", [(0, 1), (MIDNIGHT + DAY_MS, MIDNIGHT + 2 * DAY_MS), (MIDNIGHT + HOUR_MS, MIDNIGHT)]
    )
    def test_a_span_without_bars_has_no_candle(self, span: tuple[int, int]) -> None:
        shown = CandleLevels(hours([1.0, 2.0])).shown(*span, 10)
        assert columns(shown) == {}
        assert len(shown.line(np.zeros(2))) == 0
        assert len(shown.range(np.zeros(2))[0]) == 0

    @settings(max_examples=60, deadline=None)
    @given(
        first=st.integers(0, len(MINUTES) - 2),
        length=st.integers(1, len(MINUTES)),
        points=st.integers(10, 3_000),
    )
    def test_every_candle_is_that_of_a_loop_over_its_bars(self, first: int, length: int, points: int) -> None:
        start = int(MINUTES.time[first]) + 1
        end = min(start + length * MINUTE_MS, int(MINUTES.time[-1]) + MINUTE_MS)
        shown = CandleLevels(MINUTES).shown(start, end, points)
        own = columns(shown)
        assert 1 <= len(own) <= points
        assert shown.merged == 1
        expected = naive(MINUTES, shown.timeframe)
        for time, values in own.items():
            assert values[:4] == expected[time][:4]
            assert values[4] == pytest.approx(expected[time][4], rel=1e-12)
        # No bar of the span is missing, and no candle is beside it.
        step = shown.timeframe.ms
        assert min(own) <= start < min(own) + step
        assert max(own) < end <= max(own) + step

    def test_the_shortest_timeframe_that_fits_is_taken(self) -> None:
        levels = CandleLevels(MINUTES)
        counts = {
            points: str(levels.shown(None, None, points).timeframe) for points in (20_160, 20_159, 1_344, 336, 14)
        }
        assert counts == {20_160: "1M", 20_159: "5M", 1_344: "15M", 336: "1H", 14: "1D"}

    def test_a_candle_stays_the_same_candle_while_one_moves_along(self) -> None:
        levels = CandleLevels(MINUTES)
        one = columns(levels.shown(MIDNIGHT, MIDNIGHT + 5 * DAY_MS, 150))
        other = columns(levels.shown(MIDNIGHT + 17 * MINUTE_MS, MIDNIGHT + 5 * DAY_MS + 17 * MINUTE_MS, 150))
        shared = one.keys() & other.keys()
        assert len(shared) >= 119
        assert all(one[time] == other[time] for time in shared)

    def test_more_weeks_than_fit_are_put_together_in_equal_groups(self) -> None:
        weeks = [
            {
                "time": MIDNIGHT + at * WEEK_MS,
                "open": 1.0 + at,
                "high": 3.0 + at,
                "low": 0.5,
                "close": 2.0,
                "volume": 1.0,
            }
            for at in range(100)
        ]
        levels = CandleLevels(Candles.of(weeks, timeframe="1W", audit="off"))
        shown = levels.shown(None, None, 12)
        assert (str(shown.timeframe), shown.merged, len(shown.first)) == ("1W", 9, 12)
        assert shown.open.tolist() == [1.0 + at for at in range(0, 100, 9)]
        assert shown.high.tolist() == [min(3.0 + at + 8, 102.0) for at in range(0, 100, 9)]
        assert shown.volume.sum() == 100.0

    def test_candles_of_a_session_begin_with_its_opening(self) -> None:
        calendar = calendar_of("NSE")
        opening = MIDNIGHT + (calendar.grid_origin_ms % DAY_MS)
        rows = [
            {"time": opening + at * 5 * MINUTE_MS, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
            for at in range(75)
        ]
        candles = Candles.of(rows, exchange="NSE", symbol="TEST", timeframe="5M", audit="off")
        shown = CandleLevels(candles).shown(None, None, 7)
        assert str(shown.timeframe) == "1H"
        assert shown.time.tolist() == [opening + at * HOUR_MS for at in range(7)]
        assert shown.volume.tolist() == [12.0] * 6 + [3.0]


class TestLines:
    def test_a_line_has_its_value_at_the_close_of_each_candle(self) -> None:
        shown = CandleLevels(hours([1.0] * 5)).shown(None, None, 3)
        assert shown.line(np.array([1.0, 2.0, 3.0, 4.0, 5.0])).tolist() == [2.0, 4.0, 5.0]

    def test_a_range_has_the_extremes_within_each_candle_and_passes_over_what_is_undefined(self) -> None:
        shown = CandleLevels(hours([1.0] * 6)).shown(None, None, 3)
        low, high = shown.range(np.array([np.nan, np.nan, np.nan, 7.0, 9.0, 2.0]))
        assert np.array_equal(low, [np.nan, 7.0, 2.0], equal_nan=True)
        assert np.array_equal(high, [np.nan, 7.0, 9.0], equal_nan=True)


CURVES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).map(np.array)


class TestThinned:
    def test_a_spike_among_ten_thousand_points_is_kept(self) -> None:
        curve = np.zeros(10_000)
        curve[1_234], curve[8_765] = 5.0, -7.0
        kept = thinned([curve], 50)
        assert {0, 1_234, 8_765, 9_999} <= set(kept.tolist())

    def test_twelve_points_in_two_stretches_keep_ends_and_extremes(self) -> None:
        curve = np.array([0.0, 3.0, 1.0, -2.0, 2.0, 1.0, 5.0, 4.0, 9.0, 4.0, 6.0, 5.0])
        # 6 points: first, last, and lowest and highest of 0 .. 5 and of 6 .. 11.
        assert thinned([curve], 6).tolist() == [0, 1, 3, 7, 8, 11]

    def test_few_points_stay_as_they_are(self) -> None:
        assert thinned([np.array([1.0, 2.0, 3.0])], 3).tolist() == [0, 1, 2]

    @settings(max_examples=200, deadline=None)
    @given(curve=CURVES, most=st.integers(6, 60))
    def test_no_more_than_asked_for_and_every_stretch_keeps_its_extremes(self, curve: FloatArray, most: int) -> None:
        other = np.cumsum(curve)
        kept = thinned([curve, other], most)
        assert len(kept) <= most
        assert (np.diff(kept) > 0).all()
        assert kept[0] == 0
        assert kept[-1] == len(curve) - 1
        if len(curve) <= most:
            return
        edges = np.linspace(0, len(curve), (most - 2) // 4 + 1).astype(int).tolist()
        for low, high in itertools.pairwise(edges):
            here = kept[(kept >= low) & (kept < high)]
            for column in (curve, other):
                assert column[here].min() == column[low:high].min()
                assert column[here].max() == column[low:high].max()
