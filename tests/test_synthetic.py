"""The SAMPLE market: the same bars for ever, one market on all timeframes, and honest about what is planted in it.

The bounds on the statistics are those that docs/sample-market.md states.
"""

import ast
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.layout import FloatArray
from barwise.data import synthetic
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles, sample_regimes, sample_symbols
from barwise.errors import ConfigError, DataError
from barwise.timeframe import MINUTE_MS, Timeframe

SYMBOLS = tuple(symbol.name for symbol in sample_symbols())
MARKET = ("SAMPLE-BTC", "SAMPLE-ETH", "SAMPLE-SOL", "SAMPLE-CALM")
COARSER = tuple(name for name in Timeframe.names() if name != "1M")
FIRST, END = datetime(2018, 1, 1), datetime(2036, 1, 1)
DAYS_OF_HISTORY = 6_574


@lru_cache(maxsize=1)
def minutes(symbol: str) -> Candles:
    """Ten weeks of minutes, from a Monday, across the turn of a year."""
    return sample_candles(symbol, "1M", "2023-11-27", "2024-02-05")


@lru_cache(maxsize=len(SYMBOLS))
def history(symbol: str) -> Candles:
    """All hours from 2018 to 2035."""
    return sample_candles(symbol, "1H", FIRST, END)


def log_returns(candles: Candles) -> FloatArray:
    return np.diff(np.log(candles.close))


def day_returns(symbol: str) -> FloatArray:
    """Simple returns of all days, from open to close."""
    hours = history(symbol)
    return hours.close[23::24] / hours.open[::24] - 1


def correlation(left: FloatArray, right: FloatArray) -> float:
    return float(np.corrcoef(left, right)[0, 1])


def at_lag(values: FloatArray, lag: int) -> float:
    return correlation(values[lag:], values[:-lag])


def kurtosis(values: FloatArray) -> float:
    """Raw: 3 for a normal distribution."""
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


# --- identity and defaults ---


def test_the_default_is_the_year_2024_of_sample_btc_in_hours() -> None:
    candles = sample_candles()
    assert (candles.exchange, candles.symbol, candles.timeframe) == ("SAMPLE", "SAMPLE-BTC", Timeframe("1H"))
    assert len(candles) == 366 * 24
    assert candles.time[0] == datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert candles.time[-1] == datetime(2024, 12, 31, 23, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_symbol_is_labelled_synthetic_and_passes_the_audit(symbol: str) -> None:
    candles = sample_candles(symbol.lower(), "4h")
    assert candles.synthetic
    assert "SYNTHETIC" in candles.label
    assert candles.symbol == symbol
    assert candles.quote_volume is not None
    assert (candles.audit.errors, candles.gaps.count) == ((), 0)


def test_a_missing_start_or_end_means_a_year() -> None:
    assert sample_candles(timeframe="1D", start="2030-03-05") == sample_candles(
        "SAMPLE-BTC", "1D", "2030-03-05", "2031-03-06"
    )
    assert sample_candles(timeframe="1D", end="2030-03-05") == sample_candles(
        "SAMPLE-BTC", "1D", "2029-03-04", "2030-03-05"
    )
    assert len(sample_candles(timeframe="1D", start=datetime(2035, 12, 1))) == 31
    assert len(sample_candles(timeframe="1D", end=datetime(2018, 2, 1))) == 31


def test_times_may_be_naive_aware_dates_text_or_milliseconds() -> None:
    wanted = sample_candles("SAMPLE-ETH", "1H", datetime(2025, 1, 2), datetime(2025, 1, 4))
    east = timezone(timedelta(hours=5, minutes=30))
    for start in (date(2025, 1, 2), "2025-01-02", datetime(2025, 1, 2, 5, 30, tzinfo=east), 1_735_776_000_000):
        assert sample_candles("SAMPLE-ETH", "1H", start, datetime(2025, 1, 4)) == wanted


def test_bars_open_at_or_after_the_start_and_before_the_end() -> None:
    candles = sample_candles("SAMPLE-BTC", "4H", "2024-05-01T00:01", "2024-05-01T08:01")
    assert [candle["time"] % 86_400_000 // 3_600_000 for candle in candles] == [4, 8]


# --- determinism ---


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from(SYMBOLS),
    timeframe=st.sampled_from(Timeframe.names()),
    cuts=st.lists(st.integers(0, 70 * 1440), min_size=2, max_size=2, unique=True).map(sorted),
)
def test_any_part_of_a_span_is_the_same_to_the_bit(symbol: str, timeframe: str, cuts: list[int]) -> None:
    whole = sample_candles(symbol, timeframe, "2023-11-27", "2024-02-05")
    start, end = (int(datetime(2023, 11, 27, tzinfo=UTC).timestamp()) * 1000 + cut * MINUTE_MS for cut in cuts)
    part = whole.between(start, end)
    if len(part):
        assert sample_candles(symbol, timeframe, start, end) == part
    else:
        with pytest.raises(DataError, match=f"no bar of {timeframe} opens"):
            sample_candles(symbol, timeframe, start, end)


@pytest.mark.parametrize("timeframe", ["15M", "1D", "1W"])
def test_pieces_of_odd_length_make_up_the_whole(timeframe: str) -> None:
    whole = sample_candles("SAMPLE-SOL", timeframe, "2019-12-30", "2021-01-04")
    edges = ["2019-12-30", "2020-01-06", "2020-02-03", "2020-02-24", "2020-07-13", "2021-01-04"]
    pieces = [sample_candles("SAMPLE-SOL", timeframe, *edge) for edge in pairwise(edges)]
    for name in ("time", "open", "high", "low", "close", "volume", "quote_volume"):
        assert np.array_equal(np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name))


def test_a_new_process_that_asks_in_another_order_gets_the_same_bars() -> None:
    script = (
        "from barwise.data.synthetic import sample_candles as candles\n"
        "candles('SAMPLE-NOISE', '1W'); candles('SAMPLE-SOL', '1D', '2034-05-01')\n"
        "print(candles('SAMPLE-ETH', '5M', '2026-01-31T00:05', '2026-03-01').fingerprint)\n"
    )
    source = Path(synthetic.__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert answer.stdout.strip() == sample_candles("SAMPLE-ETH", "5M", "2026-01-31T00:05", "2026-03-01").fingerprint


GOLDEN_CLOSES = {
    "SAMPLE-BTC": [14212.7, 31211.3, 34714.3],
    "SAMPLE-ETH": [789.99, 979.77, 3797.18],
    "SAMPLE-SOL": [31.2515, 20.2668, 20.6045],
    "SAMPLE-CALM": [251.0, 489.51, 1251.13],
    "SAMPLE-TREND": [304.6596, 2.8904, 2.2468],
    "SAMPLE-NOISE": [486.28, 2923.05, 73.521],
}
GOLDEN_DIGESTS = {
    "SAMPLE-BTC": "8f11bdec2ee5820a",
    "SAMPLE-ETH": "470d936e0f618d6d",
    "SAMPLE-SOL": "67aa25ac1f9a1349",
    "SAMPLE-CALM": "f51a61e35e2f7e3f",
    "SAMPLE-TREND": "1ab21cdaa315028b",
    "SAMPLE-NOISE": "2870eab5285cfa1c",
}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_market_is_the_one_it_always_was(symbol: str) -> None:
    """If this fails by intent, every published SAMPLE result changes: say so in the changelog."""
    days = (datetime(2018, 1, 1), datetime(2024, 2, 29), datetime(2035, 12, 31))
    closes = [sample_candles(symbol, "1D", day, day + timedelta(days=1)).close.item() for day in days]
    assert closes == GOLDEN_CLOSES[symbol]
    ticks_per_unit = round(1 / next(known for known in sample_symbols() if known.name == symbol).tick_size)
    digest = blake2b(digest_size=8)
    for day in days:
        candles = sample_candles(symbol, "1M", day, day + timedelta(days=1))
        for column in candles.bars[1:5]:
            digest.update(np.rint(column * ticks_per_unit).astype("<i8").tobytes())
        assert candles.quote_volume is not None
        for volume in (candles.volume, candles.quote_volume):
            digest.update((volume * 1024).astype("<i8").tobytes())
    assert digest.hexdigest() == GOLDEN_DIGESTS[symbol]


def test_no_function_is_used_whose_last_bit_depends_on_the_machine() -> None:
    exact = {
        *(
            "abs",
            "add",
            "arange",
            "array",
            "concatenate",
            "cumsum",
            "diff",
            "empty",
            "empty_like",
            "maximum",
            "minimum",
        ),
        *("multiply", "ndarray", "random", "repeat", "resize", "rint", "sqrt", "where", "zeros"),
        *("float64", "generic", "int64", "uint64"),
    }
    tree = ast.parse(Path(synthetic.__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    of_numpy = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    of_random = {node.attr for node in nodes if isinstance(node.value, ast.Attribute) and node.value.attr == "random"}
    of_math = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "math"
        for alias in node.names
    }
    assert "rint" in of_numpy
    assert of_numpy <= exact
    assert of_random == {"Philox"}
    assert of_math == {"sqrt"}


# --- one market on all timeframes ---


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_coarser_bar_is_the_resample_of_the_minutes_to_the_bit(symbol: str) -> None:
    for timeframe in COARSER:
        assert minutes(symbol).resample(timeframe) == sample_candles(symbol, timeframe, "2023-11-27", "2024-02-05"), (
            timeframe
        )


@pytest.mark.parametrize(("fine", "coarse"), [("5M", "1H"), ("30M", "2H"), ("1H", "1D"), ("4H", "1W"), ("1D", "1W")])
def test_timeframes_nest_in_each_other(fine: str, coarse: str) -> None:
    span = ("2024-12-30", "2025-12-29")
    assert sample_candles("SAMPLE-CALM", fine, *span).resample(coarse) == sample_candles("SAMPLE-CALM", coarse, *span)


def test_weeks_open_on_monday_and_the_last_one_is_whole() -> None:
    weeks = sample_candles("SAMPLE-BTC", "1W", FIRST, END)
    assert len(weeks) == 940
    assert {datetime.fromtimestamp(time / 1000, UTC).weekday() for time in weeks.time.tolist()} == {0}
    assert weeks.time[-1] == datetime(2035, 12, 31, tzinfo=UTC).timestamp() * 1000


# --- sound bars ---


@pytest.mark.parametrize("symbol", sample_symbols(), ids=lambda symbol: symbol.name)
def test_prices_are_whole_ticks_and_volumes_exact_steps(symbol: synthetic.SampleSymbol) -> None:
    candles = minutes(symbol.name)
    decimals = len(f"{symbol.tick_size:f}".rstrip("0").partition(".")[2])
    for column in candles.bars[1:5]:
        assert column.tolist() == [round(price, decimals) for price in column.tolist()]
    for volume in (candles.volume, candles.quote_volume):
        assert volume is not None
        assert np.array_equal(np.rint(volume * 1024) / 1024, volume)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_minutes_are_sound_and_their_mean_price_lies_inside_them(symbol: str) -> None:
    candles = minutes(symbol)
    assert candles.quote_volume is not None
    assert (candles.low > 0).all()
    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()
    assert (candles.high > candles.low).all()
    assert np.array_equal(candles.open[1:], candles.close[:-1])
    assert (candles.volume > 0).all()
    mean_price = candles.quote_volume / candles.volume
    assert ((candles.low <= mean_price) & (mean_price <= candles.high)).all()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_whole_history_has_no_gap_and_no_price_too_small_for_its_tick(symbol: str) -> None:
    candles = history(symbol)
    tick = next(known.tick_size for known in sample_symbols() if known.name == symbol)
    assert len(candles) == DAYS_OF_HISTORY * 24
    assert (np.diff(candles.time) == 3_600_000).all()
    assert candles.low.min() > 10_000 * tick
    assert (candles.low <= np.minimum(candles.open, candles.close)).all()
    assert (candles.high >= np.maximum(candles.open, candles.close)).all()


# --- what markets are like ---


@pytest.mark.parametrize(
    ("symbol", "low", "high"),
    [
        *(("SAMPLE-BTC", 0.50, 0.70), ("SAMPLE-ETH", 0.55, 0.80), ("SAMPLE-SOL", 0.65, 0.90)),
        *(("SAMPLE-CALM", 0.13, 0.22), ("SAMPLE-TREND", 0.30, 0.50), ("SAMPLE-NOISE", 0.45, 0.60)),
    ],
)
def test_annual_volatility_is_as_documented_over_all_years_and_in_2024(symbol: str, low: float, high: float) -> None:
    for candles in (history(symbol), sample_candles(symbol)):
        assert low < log_returns(candles).std() * np.sqrt(8760) < high


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_hourly_returns_have_fat_tails_and_clustered_volatility_and_no_memory_of_sign(symbol: str) -> None:
    for candles in (history(symbol), sample_candles(symbol)):
        returns = log_returns(candles)
        assert 6 < kurtosis(returns) < 20
        assert abs(at_lag(returns, 1)) < 0.05
        assert at_lag(np.abs(returns), 1) > 0.12
        assert at_lag(np.abs(returns), 24) > 0.06
        assert at_lag(np.abs(returns), 168) > 0.04


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_some_days_jump_within_one_minute(symbol: str) -> None:
    candles = sample_candles(symbol, "1M")
    moves = np.abs(candles.close / candles.open - 1).reshape(-1, 60)
    # The shocks of a minute end at 3.5 deviations of their hour, so that 9 can only be a jump.
    deviation = moves.mean(axis=1) * np.sqrt(np.pi / 2)
    jumps = int((moves.max(axis=1) > 9 * deviation).sum())
    assert 0.01 < jumps / 366 < 0.15


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_volatility_and_turnover_follow_the_clock_and_the_week(symbol: str) -> None:
    candles = history(symbol)
    assert candles.quote_volume is not None
    size = np.abs(candles.close / candles.open - 1)
    hour, weekday = candles.time // 3_600_000 % 24, (candles.time // 86_400_000 + 3) % 7
    for column in (size, candles.quote_volume):
        assert column[hour == 14].mean() > 1.4 * column[hour == 5].mean()
        assert column[weekday >= 5].mean() < 0.85 * column[weekday < 5].mean()
    assert correlation(candles.quote_volume, size) > 0.4


def test_symbols_share_the_market_factor_by_their_documented_share() -> None:
    returns = {symbol: log_returns(history(symbol)) for symbol in SYMBOLS}
    for place, left in enumerate(MARKET):
        for right in MARKET[place + 1 :]:
            assert 0.5 < correlation(returns[left], returns[right]) < 0.8, (left, right)
    for alone in ("SAMPLE-NOISE", "SAMPLE-TREND"):
        for other in SYMBOLS:
            if other != alone:
                assert abs(correlation(returns[alone], returns[other])) < 0.01, (alone, other)


# --- the truth behind it ---


def test_regimes_stay_about_as_long_as_documented_and_2024_has_all_five() -> None:
    days = sample_regimes("SAMPLE-BTC", FIRST, END)
    assert len(days) == DAYS_OF_HISTORY
    stays = [(name, len(list(run))) for name, run in groupby(days)]
    for name, documented in {"rise": 30, "fall": 20, "range": 25, "crash": 4, "recovery": 12}.items():
        lengths = [length for stay, length in stays if stay == name]
        # A geometric stay has a deviation of about its mean.
        assert abs(np.mean(lengths) - documented) < 3.5 * documented / np.sqrt(len(lengths)), name
    assert set(sample_regimes()) == {"rise", "fall", "range", "crash", "recovery"}
    assert sample_regimes("SAMPLE-ETH") == sample_regimes()
    assert set(sample_regimes("SAMPLE-TREND")) == {"rise", "fall"}
    assert set(sample_regimes("SAMPLE-NOISE")) == {"none"}
    assert len(sample_regimes("SAMPLE-BTC", "2024-01-01T00:01", "2024-01-03T00:01")) == 2


@pytest.mark.parametrize(
    ("symbol", "share"), [("SAMPLE-BTC", 1.0), ("SAMPLE-ETH", 1.1), ("SAMPLE-SOL", 1.2), ("SAMPLE-CALM", 0.25)]
)
def test_the_planted_drift_is_the_documented_one(symbol: str, share: float) -> None:
    regimes, returns = np.array(sample_regimes(symbol, FIRST, END)), day_returns(symbol)
    for name, drift in {"rise": 0.0045, "fall": -0.0035, "range": 0.0, "crash": -0.025, "recovery": 0.010}.items():
        chosen = returns[regimes == name]
        assert abs(chosen.mean() - share * drift) < 3.5 * chosen.std() / np.sqrt(len(chosen)), name


@pytest.mark.parametrize(
    ("symbol", "hold", "knowing", "last_20_days", "averages", "averages_after_costs"),
    [
        ("SAMPLE-BTC", 0.38, 1.75, 0.40, 0.32, 0.05),
        ("SAMPLE-ETH", 0.47, 1.99, 0.47, 0.49, 0.25),
        ("SAMPLE-SOL", 0.36, 1.84, 0.25, 0.37, 0.17),
        ("SAMPLE-CALM", 0.61, 1.53, 0.07, -0.03, -1.00),
        ("SAMPLE-TREND", -0.56, 6.64, 2.41, 3.38, 3.10),
        ("SAMPLE-NOISE", 0.06, None, 0.40, 0.16, -0.14),
    ],
)
def test_the_table_of_the_planted_edge_says_what_the_candles_say(
    symbol: str, hold: float, knowing: float | None, last_20_days: float, averages: float, averages_after_costs: float
) -> None:
    def sharpe(gains: FloatArray, per_year: int) -> float:
        return float(gains.mean() / gains.std() * np.sqrt(per_year))

    def average(prices: FloatArray, period: int) -> FloatArray:
        weight, level, levels = 2 / (period + 1), prices[0].item(), []
        for price in prices.tolist():
            level += weight * (price - level)
            levels.append(level)
        return np.array(levels)

    hourly = history(symbol).close
    daily = hourly[23::24]
    returns = daily[1:] / daily[:-1] - 1
    assert sharpe(returns, 365) == pytest.approx(hold, abs=0.006)
    if knowing is not None:
        sign = {"rise": 1.0, "recovery": 1.0, "range": 0.0, "fall": -1.0, "crash": -1.0}
        known = np.array([sign[name] for name in sample_regimes(symbol, FIRST, END)])[1:]
        assert sharpe(known * returns, 365) == pytest.approx(knowing, abs=0.006)
    assert sharpe(np.sign(daily[20:-1] / daily[:-21] - 1) * returns[20:], 365) == pytest.approx(last_20_days, abs=0.006)
    position = np.sign(average(hourly, 50) - average(hourly, 200))[:-1]
    gains = position * (hourly[1:] / hourly[:-1] - 1)
    costs = 0.0015 * np.abs(np.diff(position, prepend=0.0))
    assert sharpe(gains, 8760) == pytest.approx(averages, abs=0.006)
    assert sharpe(gains - costs, 8760) == pytest.approx(averages_after_costs, abs=0.006)


@pytest.mark.parametrize("hours_back", [1, 4, 12, 24, 168, 720])
def test_the_past_of_noise_says_nothing_about_its_next_hour_or_day(hours_back: int) -> None:
    close = history("SAMPLE-NOISE").close
    for hours_ahead in (1, 24):
        points = np.arange(hours_back, len(close) - hours_ahead, hours_ahead)
        past = np.sign(close[points] / close[points - hours_back] - 1)
        gains = past * (close[points + hours_ahead] / close[points] - 1)
        assert abs(gains.mean()) < 3 * gains.std() / np.sqrt(len(gains)), hours_ahead


def test_noise_has_no_drift_at_any_hour_of_the_day() -> None:
    candles = history("SAMPLE-NOISE")
    by_hour = (candles.close / candles.open - 1).reshape(-1, 24)
    errors = by_hour.mean(axis=0) / (by_hour.std(axis=0) / np.sqrt(len(by_hour)))
    assert np.abs(errors).max() < 3.5
    # Days end where the skeleton says: that must not make the evening depend on the morning.
    assert abs(correlation(by_hour[:, :12].sum(axis=1), by_hour[:, 12:].sum(axis=1))) < 3 / np.sqrt(len(by_hour))
    assert abs(correlation(by_hour[:, :23].sum(axis=1), by_hour[:, 23])) < 3 / np.sqrt(len(by_hour))


# --- bad input ---


def test_an_unknown_symbol_names_the_nearest_one_and_all_of_them() -> None:
    with pytest.raises(DataError, match=r"'SAMPLE-BTX' is not a symbol .* Did you mean SAMPLE-BTC\?") as caught:
        sample_candles("SAMPLE-BTX")
    assert all(symbol in caught.value.hint for symbol in SYMBOLS)
    with pytest.raises(DataError, match="7 is not a symbol"):
        sample_regimes(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2017-12-31T23:59", "2018-02-01"),
        ("2035-12-01", "2036-01-01T00:01"),
        (1_704_067_200, 1_735_689_600),
        (10**18, None),
    ],
)
def test_a_span_outside_the_market_names_its_limits(start: str | int, end: str | int | None) -> None:
    for ask in (sample_candles, sample_regimes):
        with pytest.raises(DataError, match="outside the SAMPLE market") as caught:
            ask("SAMPLE-BTC", start=start, end=end)
        assert "2018-01-01 to 2036-01-01" in caught.value.hint


def test_an_empty_or_backward_span_is_refused() -> None:
    for end in ("2024-01-01", "2023-01-01"):
        with pytest.raises(DataError, match="empty: its end is exclusive"):
            sample_candles("SAMPLE-BTC", "1H", "2024-01-01", end)
    with pytest.raises(DataError, match="no bar of 1W opens between 2024-01-02"):
        sample_candles("SAMPLE-BTC", "1W", "2024-01-02", "2024-01-05")


def test_an_unknown_timeframe_or_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'3H' is not a timeframe"):
        sample_candles("SAMPLE-BTC", "3H")
    with pytest.raises(DataError, match="'yesterday' is not a time"):
        sample_candles("SAMPLE-BTC", "1H", "yesterday")


# --- symbols ---


def test_symbols_are_listed_with_different_ticks_and_differ_in_every_way() -> None:
    assert set(MARKET) | {"SAMPLE-NOISE", "SAMPLE-TREND"} == set(SYMBOLS)
    assert len({symbol.tick_size for symbol in sample_symbols()}) >= 3
    assert all(symbol.description and symbol.lot_size <= 0.1 for symbol in sample_symbols())
    years = [sample_candles(symbol, "1D") for symbol in SYMBOLS]
    assert len({candles.fingerprint for candles in years}) == len(SYMBOLS)
    assert len({round(np.log10(candles.close.mean())) for candles in years}) >= 3
