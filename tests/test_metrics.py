"""Metrics: hand-worked numbers, every degenerate case, and quantstats and empyrical where the definitions agree."""

import json
import math
from pathlib import Path
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import polars
import pytest
import quantstats.stats
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.curve import bar_returns, buy_and_hold, drawdown_curve, drawdown_table, path_metrics
from barwise.core.figures import MINIMUM_YEARS, YEAR_MS, elapsed_years
from barwise.core.layout import SUMMARY, TRADE, Exit, IntArray, RecordArray, Status
from barwise.core.metrics import all_metrics, headline, undefined
from barwise.core.outcomes import cost_attribution, excursions, student_t_p_value, trade_metrics
from barwise.data.candles import Candles
from barwise.engine import backtest
from barwise.errors import DataError
from barwise.result import BacktestResult
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.timeframe import ALWAYS_OPEN, DAY_MS, HOUR_MS, NSE, WEEK_MS, Calendar

START = 1_738_195_200_000  # 2025-01-30 00:00 UTC
HOURS_PER_YEAR = 8760.0
qs: Any = quantstats.stats  # it ships no types


# -- What the kernel would leave, made from the definitions and without its code ---------------------------------------


def trade_records(
    net: list[float],
    *,
    side: list[int] | None = None,
    fees: float = 0.0,
    slippage: float = 0.0,
    funding: float = 0.0,
    held: list[int] | None = None,
    risk: float = 10.0,
    reasons: list[Exit] | None = None,
) -> RecordArray:
    trades = np.zeros(len(net), TRADE)
    trades["net_pnl"] = net
    trades["fees"], trades["slippage"], trades["funding"] = fees, slippage, funding
    trades["gross_pnl"] = trades["net_pnl"] + fees + funding
    trades["quantity"] = 1.0
    trades["initial_risk"] = risk
    trades["side"] = 1 if side is None else side
    trades["entry_price"] = trades["best_price"] = trades["worst_price"] = 100.0
    trades["exit_signal_bar"] = 0 if held is None else held
    trades["exit_reason"] = Exit.STOP_LOSS if reasons is None else reasons
    return trades


def summary_of(equity: Any, trades: RecordArray | None = None, initial: float = 100.0) -> RecordArray:
    """One SUMMARY record of an equity curve, its sums added up bar by bar as the kernel does."""
    s = np.zeros(1, SUMMARY)
    before, peak = initial, initial
    for value in equity:
        change = value / before - 1.0 if before > 0.0 else 0.0
        s["return_sum"] += change
        s["return_square"] += change**2
        s["return_cube"] += change**3
        s["return_fourth"] += change**4
        s["downside_sum"] += min(change, 0.0)
        s["downside_square"] += min(change, 0.0) ** 2
        peak = max(peak, value)
        s["max_drawdown"] = max(s["max_drawdown"][0], (peak - value) / peak)
        s["max_drawdown_money"] = max(s["max_drawdown_money"][0], peak - value)
        before = value
    s["bars"] = len(equity)
    s["final_equity"] = equity[-1] if len(equity) else initial
    s["net_pnl"] = s["final_equity"] - initial
    s["status"] = Status.RUINED if len(equity) and equity[-1] <= 0.0 else Status.COMPLETED
    if trades is not None:
        net = trades["net_pnl"]
        r = net / (trades["initial_risk"] * trades["quantity"])
        s["trades"], s["wins"], s["losses"] = len(net), (net > 0).sum(), (net < 0).sum()
        s["win_pnl"], s["loss_pnl"], s["net_pnl"] = net[net > 0].sum(), net[net < 0].sum(), net.sum()
        s["trade_square"] = (net**2).sum()
        s["r_sum"], s["r_square"] = r.sum(), (r**2).sum()
        for name in ("gross_pnl", "fees", "slippage", "funding"):
            s[name] = trades[name].sum()
    return s


def one(s: RecordArray, initial: float = 100.0, bars_per_year: float = 100.0, years: float = 1.0) -> dict[str, Any]:
    return {name: column[0].item() for name, column in headline(s, initial, bars_per_year, years).items()}


def times(count: int, step: int = DAY_MS, start: int = START) -> IntArray:
    return start + step * np.arange(count, dtype=np.int64)


def path_of(equity: Any, *, low: Any = None, step: int = DAY_MS, calendar: Calendar = ALWAYS_OPEN) -> dict[str, Any]:
    values = np.array(equity, dtype=np.float64)
    marks = values if low is None else np.array(low, dtype=np.float64)
    return path_metrics(times(len(values), step), values, marks, step, calendar, 100.0)


def assert_plain_and_finite(value: Any) -> None:
    json.dumps(value, allow_nan=False)


# Equity 100, 110, 99, 118.8, 106.92 from 100: returns 0, 0.1, -0.1, 0.2, -0.1.
EQUITY = [100.0, 110.0, 99.0, 118.8, 106.92]


# -- Headline, by hand -------------------------------------------------------------------------------------------------


def test_headline_of_five_bars_is_what_a_pencil_gives() -> None:
    found = one(summary_of(EQUITY, trade_records([10.0, -11.0, 19.8, -11.88])))
    # Mean 0.02; squared deviations 0.0004 + 0.0064 + 0.0144 + 0.0324 + 0.0144 = 0.068, over 4: variance 0.017.
    assert found["sharpe_ratio"] == pytest.approx(0.02 / math.sqrt(0.017) * 10)
    assert found["volatility"] == pytest.approx(100 * math.sqrt(0.017) * 10)
    # Downside 0.01 + 0.01 over all five bars.
    assert found["sortino_ratio"] == pytest.approx(0.02 / math.sqrt(0.004) * 10)
    assert found["omega_ratio"] == pytest.approx(0.3 / 0.2)
    # Third and fourth powers of the deviations: 0.00288 and 0.0015056, over 5; second moment 0.0136.
    assert found["skewness"] == pytest.approx(0.000576 / 0.0136**1.5)
    assert found["kurtosis"] == pytest.approx(0.00030112 / 0.0136**2)
    assert found["total_return"] == pytest.approx(6.92)
    assert found["cagr"] == pytest.approx(6.92)
    assert found["max_drawdown"] == pytest.approx(10.0)
    assert found["calmar_ratio"] == pytest.approx(0.692)
    assert found["recovery_factor"] == pytest.approx(6.92 / 11.88)
    assert (found["total_trades"], found["winning_trades"], found["losing_trades"]) == (4, 2, 2)
    assert found["win_rate"] == 50.0
    assert found["profit_factor"] == pytest.approx(29.8 / 22.88)
    assert found["expectancy"] == pytest.approx(1.73)
    assert found["expectancy_r"] == pytest.approx(0.173)
    # R: 1, -1.1, 1.98, -1.188; mean 0.173, squared deviations 7.421984 over 3.
    assert found["sqn"] == pytest.approx(2 * 0.173 / math.sqrt(7.421828 / 3), rel=1e-4)
    assert found["ruined"] is False


def test_sortino_of_the_published_example_is_4_417() -> None:
    """Rollinger & Hoffman: annual returns of 17, 15, 23, -5, 12, 9, 13 and -4 percent, target 0."""
    returns = np.array([17.0, 15.0, 23.0, -5.0, 12.0, 9.0, 13.0, -4.0]) / 100.0
    found = one(summary_of(100.0 * np.cumprod(1.0 + returns)), bars_per_year=1.0, years=8.0)
    assert found["sortino_ratio"] == pytest.approx(4.417, abs=5e-4)


def test_shares_of_counts_are_percent() -> None:
    s = summary_of(EQUITY, trade_records([1.0]))
    s["bars_in_position"], s["fills"], s["maker_fills"], s["programs"], s["programs_filled"] = 2, 8, 6, 4, 1
    s["turnover"], s["ambiguous"] = 250.0, 1
    found = one(s)
    assert (found["exposure"], found["maker_share"], found["fill_rate"]) == (40.0, 75.0, 25.0)
    assert (found["turnover"], found["turnover_ratio"]) == (250.0, 2.5)
    assert (found["programs"], found["fills"], found["ambiguous_trades"]) == (4, 8, 1)


def test_cagr_takes_elapsed_time_and_not_bars() -> None:
    s = summary_of([121.0])
    assert one(s, years=2.0)["cagr"] == pytest.approx(10.0)
    assert one(s, years=0.5)["cagr"] == pytest.approx(46.41)


def test_a_year_is_365_2425_days_from_the_first_open_to_the_last_close() -> None:
    time = times(365)
    assert elapsed_years(time, DAY_MS) == pytest.approx(365 / 365.2425, rel=1e-15)
    assert elapsed_years(time[:0], DAY_MS) == 0.0


# -- Headline, degenerate cases ----------------------------------------------------------------------------------------


def test_without_trades_every_ratio_is_zero_and_has_its_reason() -> None:
    s = summary_of([100.0] * 50)
    found, reasons = one(s), undefined(s, 100.0, 100.0, 1.0)
    for name in ("win_rate", "sharpe_ratio", "sortino_ratio", "omega_ratio", "profit_factor", "recovery_factor",
                 "expectancy", "expectancy_r", "sqn", "calmar_ratio", "skewness", "kurtosis"):  # fmt: skip
        assert found[name] == 0.0
        assert reasons[name] == "no trades"
    assert reasons["fill_rate"] == "no entry program"
    assert reasons["maker_share"] == "no entry was filled"
    for name in ("total_return", "volatility", "max_drawdown", "exposure", "cagr"):
        assert found[name] == 0.0
        assert name not in reasons


def test_one_trade_has_an_expectancy_and_no_sqn() -> None:
    s = summary_of([100.0, 105.0, 104.0], trade_records([4.0]))
    found, reasons = one(s), undefined(s, 100.0, 100.0, 1.0)
    assert (found["expectancy"], found["sqn"], found["win_rate"]) == (4.0, 0.0, 100.0)
    assert reasons["sqn"] == "fewer than two trades"
    assert reasons["profit_factor"] == "no losing trade"
    assert "sharpe_ratio" not in reasons


def test_all_winners_have_no_profit_factor_and_all_losers_have_one_of_zero() -> None:
    winners = summary_of([101.0, 103.0], trade_records([1.0, 2.0]))
    losers = summary_of([99.0, 97.0], trade_records([-1.0, -2.0]))
    assert one(winners)["profit_factor"] == 0.0
    assert undefined(winners, 100.0, 100.0, 1.0)["profit_factor"] == "no losing trade"
    assert one(losers)["profit_factor"] == 0.0
    assert one(losers)["omega_ratio"] == 0.0
    assert not {"profit_factor", "omega_ratio", "sortino_ratio"} & set(undefined(losers, 100.0, 100.0, 1.0))


def test_a_curve_that_never_falls_has_no_sortino_omega_calmar_or_recovery() -> None:
    s = summary_of([101.0, 103.0, 104.0], trade_records([4.0]))
    found, reasons = one(s), undefined(s, 100.0, 100.0, 1.0)
    for name, reason in (
        ("sortino_ratio", "no bar lost money"),
        ("omega_ratio", "no bar lost money"),
        ("calmar_ratio", "equity never fell"),
        ("recovery_factor", "equity never fell"),
    ):
        assert found[name] == 0.0
        assert reasons[name] == reason
    assert found["sharpe_ratio"] > 0.0


def test_a_trade_that_nets_nothing_is_neither_won_nor_lost() -> None:
    found = one(summary_of([100.0], trade_records([0.0, 5.0, -5.0])))
    assert (found["total_trades"], found["winning_trades"], found["losing_trades"]) == (3, 1, 1)


@pytest.mark.parametrize("bars", [0, 1])
def test_fewer_than_two_bars_have_no_deviation(bars: int) -> None:
    s = summary_of([101.0][:bars], trade_records([1.0]))
    found, reasons = one(s), undefined(s, 100.0, 100.0, 1.0)
    assert found["sharpe_ratio"] == found["volatility"] == 0.0
    assert reasons["sharpe_ratio"] == reasons["volatility"] == "fewer than two bars"


def test_ruin_is_minus_one_hundred_percent_a_year_and_a_drawdown_above_one_hundred() -> None:
    s = summary_of([100.0, 40.0, -10.0, -10.0], trade_records([-110.0]))
    found = one(s, years=0.001)
    assert found["ruined"] is True
    assert found["cagr"] == -100.0
    assert found["total_return"] == pytest.approx(-110.0)
    assert found["max_drawdown"] == pytest.approx(110.0)
    assert found["calmar_ratio"] == pytest.approx(-100.0 / 110.0)
    assert "cagr" not in undefined(s, 100.0, 100.0, 0.001)


def test_below_thirty_days_there_is_no_cagr_and_no_calmar() -> None:
    s = summary_of(EQUITY, trade_records([6.92]))
    for days, defined in ((29.999, False), (30, True)):
        years = days * DAY_MS / YEAR_MS
        found, reasons = one(s, years=years), undefined(s, 100.0, 100.0, years)
        assert (found["cagr"] != 0.0) is defined
        assert (found["calmar_ratio"] != 0.0) is defined
        if not defined:
            assert reasons["cagr"] == reasons["calmar_ratio"] == "the span is shorter than 30 days"
    assert elapsed_years(times(30), DAY_MS) == MINIMUM_YEARS


def test_equal_returns_have_no_sharpe_although_their_sums_do_not_cancel() -> None:
    for change in (1e-3, 1e-5, 0.1, -1e-4):
        count = 100_000
        s = np.zeros(1, SUMMARY)
        s["bars"], s["trades"] = count, 1
        for name, power in (("return_sum", 1), ("return_square", 2), ("return_cube", 3), ("return_fourth", 4)):
            s[name] = np.cumsum(np.full(count, change**power))[-1]
        residue = s["return_square"][0] - s["return_sum"][0] ** 2 / count
        assert residue != 0.0  # rounding alone: taken at its word it would be a Sharpe ratio of millions
        assert one(s)["sharpe_ratio"] == one(s)["volatility"] == one(s)["skewness"] == 0.0
        assert undefined(s, 100.0, 100.0, 1.0)["sharpe_ratio"] == "the bar returns do not vary"


def test_equal_growth_of_an_equity_curve_has_no_sharpe() -> None:
    for growth in (1.01, 1.0 + 1e-6, 0.999):
        found = one(summary_of(100.0 * growth ** np.arange(1.0, 2001.0), trade_records([1.0])))
        assert found["sharpe_ratio"] == 0.0


def test_a_deviation_of_a_thousandth_of_the_mean_is_still_a_deviation() -> None:
    returns = 0.01 + 1e-5 * np.random.default_rng(4).standard_normal(10_000)
    s = np.zeros(1, SUMMARY)
    s["bars"], s["trades"] = len(returns), 1
    s["return_sum"], s["return_square"] = np.cumsum(returns)[-1], np.cumsum(returns**2)[-1]
    wanted = returns.mean() / returns.std(ddof=1) * 10.0
    assert one(s)["sharpe_ratio"] == pytest.approx(wanted, rel=1e-6)


def test_a_loss_within_the_rounding_of_one_return_is_none() -> None:
    equity = [101.0, 101.0 * (1.0 - 2e-16), 103.0]
    assert equity[1] < equity[0]
    s = summary_of(equity, trade_records([3.0]))
    assert set(undefined(s, 100.0, 100.0, 1.0)) >= {"sortino_ratio", "omega_ratio", "recovery_factor", "calmar_ratio"}
    assert one(s)["sortino_ratio"] == one(s)["recovery_factor"] == 0.0
    lost = summary_of([101.0, 101.0 * (1.0 - 1e-12), 103.0], trade_records([3.0]))
    assert one(lost)["sortino_ratio"] > 1e6
    assert one(lost)["recovery_factor"] > 1e6


def test_equal_daily_growth_has_no_daily_sharpe() -> None:
    for growth in (1.01, 1.0 + 1e-5, 1.0 + 1e-8, 0.999):
        equity = 100.0 * growth ** np.arange(1.0, 200.0)
        assert np.std(bar_returns(equity, 100.0)) > 0.0  # rounding alone
        assert path_of(equity)["undefined"]["daily_sharpe_ratio"] == "the daily returns do not vary"


def test_results_that_do_not_vary_have_no_sqn() -> None:
    s = summary_of([100.0, 99.0, 130.0], trade_records([10.1] * 3))
    assert one(s)["sqn"] == 0.0
    assert undefined(s, 100.0, 100.0, 1.0)["sqn"] == "the trades' results do not vary"


def test_a_ratio_too_large_to_hold_is_undefined_and_says_so() -> None:
    s = summary_of(EQUITY, trade_records([1.0, -1.0]))
    s["win_pnl"], s["loss_pnl"] = 1e300, -1e-300
    assert one(s)["profit_factor"] == 0.0
    assert undefined(s, 100.0, 100.0, 1.0)["profit_factor"] == "the value is too large to hold"


# -- Headline, one row and many ----------------------------------------------------------------------------------------


def random_summaries(rows: int, seed: int) -> RecordArray:
    rng = np.random.default_rng(seed)
    picked = [
        summary_of(
            100.0 * np.cumprod(1.0 + rng.normal(0.0, 0.01, int(rng.integers(1, 60)))),
            trade_records(rng.normal(0.0, 5.0, int(rng.integers(0, 9))).tolist()),
        )
        for _ in range(rows)
    ]
    return np.concatenate(picked)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 64, 257])
def test_a_sweep_equals_its_single_rows_to_the_bit(rows: int) -> None:
    s = random_summaries(rows, rows)
    rng = np.random.default_rng(rows)
    capital, years = rng.uniform(50.0, 150.0, rows), rng.uniform(0.01, 3.0, rows)
    years[0] = 0.5  # an exponent of exactly 2 is a square for one value and a power for many
    together = headline(s, capital, HOURS_PER_YEAR, years)
    for row in range(rows):
        alone = headline(s[row : row + 1], float(capital[row]), HOURS_PER_YEAR, float(years[row]))
        for name, column in together.items():
            assert column[row].tobytes() == alone[name][0].tobytes(), name


def test_undefined_names_are_exactly_the_columns_that_hold_no_value() -> None:
    s = random_summaries(60, 1)
    for row in range(len(s)):
        reasons = undefined(s, 100.0, HOURS_PER_YEAR, 1.0, row)
        found = one(s[row : row + 1], bars_per_year=HOURS_PER_YEAR)
        assert all(found[name] == 0.0 for name in reasons)
        assert all(reasons.values())


def test_no_rows_give_empty_columns() -> None:
    found = headline(np.zeros(0, SUMMARY), 100.0, HOURS_PER_YEAR, 1.0)
    assert all(len(column) == 0 for column in found.values())


def test_headline_equals_numpy_on_the_equity_curve() -> None:
    rng = np.random.default_rng(11)
    for count in (100, 2160, 20_000):
        returns = rng.standard_t(4, count) * 2e-3 + 1e-4
        returns[rng.random(count) < 0.4] = 0.0
        equity = np.asarray(100.0 * np.cumprod(1.0 + returns), dtype=np.float64)
        found = one(summary_of(equity, trade_records([1.0])), bars_per_year=HOURS_PER_YEAR)
        r = np.diff(equity, prepend=100.0) / np.concatenate(([100.0], equity[:-1]))
        root = math.sqrt(HOURS_PER_YEAR)
        assert found["sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * root, rel=1e-9)
        assert found["volatility"] == pytest.approx(100 * r.std(ddof=1) * root, rel=1e-9)
        downside = math.sqrt(np.mean(np.minimum(r, 0.0) ** 2))
        assert found["sortino_ratio"] == pytest.approx(r.mean() / downside * root, rel=1e-9)
        assert found["omega_ratio"] == pytest.approx(r[r > 0].sum() / -r[r < 0].sum(), rel=1e-9)
        assert found["skewness"] == pytest.approx(scipy.stats.skew(r), rel=1e-9, abs=1e-9)
        assert found["kurtosis"] == pytest.approx(scipy.stats.kurtosis(r, fisher=False), rel=1e-9)
        assert found["max_drawdown"] == pytest.approx(drawdown_curve(equity, 100.0).max(), rel=1e-12)


any_float = st.floats(-1e300, 1e300)


@settings(deadline=None, max_examples=200)
@given(st.lists(any_float, min_size=len(SUMMARY.names or ()), max_size=len(SUMMARY.names or ())), st.floats(0.0, 100.0))
def test_headline_is_finite_for_sums_that_make_no_sense(values: list[float], years: float) -> None:
    s = np.zeros(1, SUMMARY)
    for name, value in zip(SUMMARY.names or (), values, strict=True):
        s[name] = value if SUMMARY[name] == np.float64 else int(abs(value) % 1000)
    assert_plain_and_finite(one(s, years=years))


steps = st.floats(-1.2, 3.0) | st.just(0.0) | st.floats(-1e-9, 1e-9)


@settings(deadline=None, max_examples=150)
@given(st.lists(steps, min_size=1, max_size=60), st.sampled_from([HOUR_MS, DAY_MS, WEEK_MS]))
def test_metrics_of_any_equity_curve_are_finite(changes: list[float], step: int) -> None:
    equity = [100.0]
    for change in changes:  # as in a run, nothing happens once equity is gone
        equity.append(equity[-1] * (1.0 + change) if equity[-1] > 0.0 else equity[-1])
    net = np.diff(equity).tolist()
    s = summary_of(equity, trade_records(net))
    assert_plain_and_finite(one(s))
    assert_plain_and_finite(undefined(s, 100.0, 100.0, 1.0))
    assert_plain_and_finite(path_of(equity, step=step))
    assert_plain_and_finite(trade_metrics(trade_records(net)))


# -- The equity curve --------------------------------------------------------------------------------------------------

# Daily from 2025-01-30: up 10 %, down 10 %, back at the old peak on the fifth day, up 10 %, down 10 %.
CURVE = [100.0, 110.0, 99.0, 104.5, 110.0, 121.0, 108.9]
LOWS = [100.0, 95.0, 88.0, 99.0, 104.0, 105.0, 100.0]


def test_drawdown_is_percent_of_the_running_peak_and_positive() -> None:
    np.testing.assert_allclose(drawdown_curve(np.array(CURVE)), [0, 0, 10, 5, 0, 0, 10], atol=1e-12)
    np.testing.assert_allclose(drawdown_curve(np.array([90.0, 95.0]), 100.0), [10, 5])


def test_drawdown_table_has_peak_trough_recovery_and_length() -> None:
    table = drawdown_table(times(7), np.array(CURVE), 100.0)
    day = [int(t) for t in times(7)]
    assert [row["depth"] for row in table] == pytest.approx([10.0, 10.0])
    # Equal depths keep the order of time up to rounding, so the rows are found by their peaks.
    first, second = sorted(table, key=lambda row: row["peak_time"])
    assert (first["peak_time"], first["trough_time"], first["recovery_time"]) == (day[1], day[2], day[4])
    assert (first["bars"], first["duration_ms"]) == (3, 3 * DAY_MS)
    assert (second["peak_time"], second["trough_time"], second["recovery_time"]) == (day[5], day[6], None)
    assert (second["bars"], second["duration_ms"]) == (1, DAY_MS)


def test_drawdown_table_holds_the_five_deepest_deepest_first() -> None:
    equity = np.array([100, 99, 101, 98, 102, 97, 103, 96, 104, 95, 105, 94, 106.0])
    table = drawdown_table(times(13), equity, 100.0)
    depths = [(peak - low) / peak * 100 for peak, low in ((105, 94), (104, 95), (103, 96), (102, 97), (101, 98))]
    assert [row["depth"] for row in table] == pytest.approx(depths)
    assert drawdown_table(times(3), np.array([100.0, 101.0, 101.0]), 100.0) == []


def test_path_metrics_of_seven_days_are_what_a_pencil_gives() -> None:
    found = path_of(CURVE, low=LOWS)
    assert found["max_drawdown"] == pytest.approx(10.0)
    # From the peaks of the closes before: 5 of 100, 22 of 110, 11, 6, 5 of 110, 21 of 121.
    assert found["max_drawdown_intrabar"] == pytest.approx(20.0)
    assert (found["max_drawdown_duration_bars"], found["max_drawdown_duration_ms"]) == (3, 3 * DAY_MS)
    assert found["time_under_water"] == pytest.approx(300 / 7)
    assert found["ulcer_index"] == pytest.approx(math.sqrt((100 + 25 + 100) / 7))
    assert found["monthly_returns"] == [
        {"year": 2025, "month": 1, "percent": pytest.approx(10.0)},
        {"year": 2025, "month": 2, "percent": pytest.approx(-1.0)},
    ]
    assert found["yearly_returns"] == [{"year": 2025, "percent": pytest.approx(8.9)}]
    assert found["best_bar"]["percent"] == pytest.approx(10.0)
    assert found["worst_bar"]["percent"] == pytest.approx(-10.0)
    assert found["worst_bar"]["time"] in (times(7)[2], times(7)[6])
    assert found["cagr"] is None
    assert found["undefined"]["cagr"] == found["undefined"]["ulcer_performance_index"]
    assert found["undefined"]["cagr"] == "the span is shorter than 30 days"


def test_the_peak_within_a_bar_is_that_of_the_closes_before_it() -> None:
    # The low of 95 came before the close at 200, so it is a fall from 100.
    assert path_of([100.0, 200.0], low=[100.0, 95.0])["max_drawdown_intrabar"] == pytest.approx(5.0)


def test_daily_sharpe_of_daily_bars_is_their_sharpe() -> None:
    found = path_of(CURVE)
    assert found["daily_sharpe_ratio"] == pytest.approx(one(summary_of(CURVE), bars_per_year=365.0)["sharpe_ratio"])


def test_daily_sharpe_of_hourly_bars_takes_the_last_equity_of_each_day() -> None:
    closes = [103.0, 101.0, 104.0]
    equity = np.repeat(closes, 24)
    equity[::7] *= 0.98  # what happens within the day does not count
    equity[23::24] = closes
    r = np.array([103 / 100 - 1, 101 / 103 - 1, 104 / 101 - 1])
    found = path_of(equity, step=HOUR_MS)
    assert found["daily_sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(365))
    assert found["best_day"] == {"time": START, "percent": pytest.approx(3.0)}
    assert found["worst_day"] == {"time": START + DAY_MS, "percent": pytest.approx(100 * (101 / 103 - 1))}


def test_days_and_months_are_those_of_the_exchange() -> None:
    west = Calendar("WEST", 250, utc_offset_ms=-5 * HOUR_MS)
    # 2025-02-01 00:00 UTC is still January there, and 05:00 is the first bar of February.
    equity = np.array([101.0, 102.0, 103.0, 104.0, 105.0, 110.0])
    found = path_metrics(times(6, HOUR_MS, START + 2 * DAY_MS), equity, equity, HOUR_MS, west, 100.0)
    assert [(row["month"], row["percent"]) for row in found["monthly_returns"]] == [
        (1, pytest.approx(5.0)),
        (2, pytest.approx(100 * 5 / 105)),
    ]
    r = np.array([0.05, 5 / 105])
    assert found["daily_sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(250))


def test_sessions_are_annualised_by_the_calendar() -> None:
    open_ms = START + NSE.session_open_ms - NSE.utc_offset_ms
    time = np.concatenate([times(7, HOUR_MS, open_ms + day * DAY_MS) for day in range(3)])
    equity = np.repeat([101.0, 100.0, 103.0], 7)
    found = path_metrics(time, equity, equity, HOUR_MS, NSE, 100.0)
    r = np.array([0.01, 100 / 101 - 1, 0.03])
    assert found["daily_sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(248))


def test_weekly_bars_have_no_daily_sharpe() -> None:
    found = path_of(CURVE, step=WEEK_MS)
    assert found["daily_sharpe_ratio"] is None
    assert found["undefined"]["daily_sharpe_ratio"] == "the bars are longer than a day"


def test_flat_equity_has_no_drawdown_and_no_daily_sharpe() -> None:
    found = path_of([100.0] * 60)
    assert found["max_drawdown"] == found["ulcer_index"] == found["time_under_water"] == found["cagr"] == 0.0
    assert found["drawdowns"] == []
    assert found["max_drawdown_duration_bars"] == found["max_drawdown_duration_ms"] == 0
    assert found["undefined"] == {
        "ulcer_performance_index": "equity never fell",
        "daily_sharpe_ratio": "the daily returns do not vary",
    }


def test_one_bar_is_enough_for_path_metrics() -> None:
    found = path_of([90.0])
    assert found["max_drawdown"] == pytest.approx(10.0)
    assert found["drawdowns"][0]["peak_time"] == found["drawdowns"][0]["trough_time"] == START
    assert found["undefined"]["daily_sharpe_ratio"] == "fewer than two days"


def test_ruin_is_a_cagr_of_minus_one_hundred_and_returns_end_there() -> None:
    found = path_of([100.0, 40.0, -10.0, -10.0])
    assert found["cagr"] == -100.0
    assert found["max_drawdown"] == pytest.approx(110.0)
    np.testing.assert_allclose(bar_returns(np.array([100.0, 40.0, -10.0, -5.0]), 100.0), [0, -0.6, -1.25, 0])


@pytest.mark.parametrize("lengths", [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_arrays_that_do_not_fit_are_refused(lengths: tuple[int, int, int]) -> None:
    time, equity, low = times(lengths[0]), np.full(lengths[1], 100.0), np.full(lengths[2], 100.0)
    with pytest.raises(DataError, match="arrays of one length"):
        path_metrics(time, equity, low, DAY_MS, ALWAYS_OPEN, 100.0)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(0.0, 0.3)), min_size=2, max_size=60))
def test_intrabar_drawdown_is_never_smaller_than_that_of_closes(moves: list[tuple[float, float]]) -> None:
    equity = np.asarray(100.0 * np.cumprod([1.0 + change for change, _ in moves]), dtype=np.float64)
    low = equity * [1.0 - down for _, down in moves]
    found = path_of(equity, low=low)
    assert found["max_drawdown_intrabar"] >= found["max_drawdown"] - 1e-12
    assert found["max_drawdown"] == pytest.approx(drawdown_curve(equity, 100.0).max())
    growth = 1.0
    for row in found["monthly_returns"]:
        growth *= 1.0 + row["percent"] / 100.0
    assert growth == pytest.approx(equity[-1] / 100.0)
    if found["drawdowns"]:
        assert found["drawdowns"][0]["depth"] == found["max_drawdown"]
        assert found["max_drawdown_duration_bars"] >= found["drawdowns"][0]["bars"]


def test_buy_and_hold_covers_the_same_bars_from_the_first_close() -> None:
    found = buy_and_hold(np.array([50.0, 55.0, 49.5, 60.0]), 100.0, 1.0)
    r = np.array([0.0, 0.1, -0.1, 60.0 / 49.5 - 1.0])
    assert found["total_return"] == pytest.approx(20.0)
    assert found["cagr"] == pytest.approx(20.0)
    assert found["max_drawdown"] == pytest.approx(10.0)
    assert found["sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * 10)
    assert found["volatility"] == pytest.approx(100 * r.std(ddof=1) * 10)
    assert found["undefined"] == {}


def test_buy_and_hold_of_a_still_market_has_no_sharpe() -> None:
    found = buy_and_hold(np.full(5, 7.0), 100.0, 0.01)
    assert (found["sharpe_ratio"], found["volatility"], found["cagr"]) == (None, 0.0, None)
    assert set(found["undefined"]) == {"sharpe_ratio", "cagr"}
    assert set(buy_and_hold(np.array([7.0]), 100.0, 1.0)["undefined"]) == {"sharpe_ratio", "volatility"}
    with pytest.raises(DataError, match="at least one bar"):
        buy_and_hold(np.empty(0), 100.0, 1.0)


# -- Trades ------------------------------------------------------------------------------------------------------------


def test_trade_metrics_of_seven_trades_are_what_a_pencil_gives() -> None:
    trades = trade_records(
        [30.0, -10.0, 20.0, -10.0, -10.0, 40.0, 0.0],
        side=[1, 1, -1, -1, 1, 1, 1],
        held=[5, 2, 1, 0, 3, 10, 0],
        reasons=[Exit.TAKE_PROFIT, Exit.STOP_LOSS, Exit.TAKE_PROFIT, Exit.STOP_LOSS, Exit.STOP_LOSS,
                 Exit.TRAILING_STOP, Exit.END_OF_DATA],
    )  # fmt: skip
    found = trade_metrics(trades)
    assert found["average_trade"] == pytest.approx(60 / 7)
    assert (found["average_win"], found["average_loss"]) == (30.0, -10.0)
    assert (found["largest_win"], found["largest_loss"]) == (40.0, -10.0)
    assert found["payoff_ratio"] == 3.0
    assert found["kelly"] == pytest.approx(100 * (3 / 7 - (4 / 7) / 3))
    assert (found["longest_winning_streak"], found["longest_losing_streak"]) == (1, 2)
    assert (found["average_bars_held"], found["max_bars_held"]) == (3.0, 10)
    assert found["long"] == {"trades": 5, "wins": 2, "losses": 2, "win_rate": 40.0, "net_pnl": 50.0,
                             "average_trade": 10.0}  # fmt: skip
    assert found["short"]["net_pnl"] == 10.0
    assert {name: (group["trades"], group["net_pnl"]) for name, group in found["by_exit_reason"].items()} == {
        "stop_loss": (3, -30.0),
        "trailing_stop": (1, 40.0),
        "take_profit": (2, 50.0),
        "end_of_data": (1, 0.0),
    }
    # Squares 900 + 100 + 400 + 100 + 100 + 1600 = 3200, less 3600 / 7, over 6.
    assert found["t_statistic"] == pytest.approx(60 / 7 / math.sqrt((3200 - 3600 / 7) / 6) * math.sqrt(7))
    assert found["sqn"] == pytest.approx(found["t_statistic"])  # equal risk in all trades
    assert found["undefined"] == {}


def test_a_trade_that_nets_nothing_ends_a_streak() -> None:
    found = trade_metrics(trade_records([1.0, 1.0, 0.0, 1.0, -1.0, 0.0, -1.0, -1.0]))
    assert (found["longest_winning_streak"], found["longest_losing_streak"]) == (2, 2)


def test_sqn_of_more_than_one_hundred_trades_is_also_given_for_one_hundred() -> None:
    found = trade_metrics(trade_records([3.0, -1.0] * 200))
    assert found["sqn_100"] == pytest.approx(found["sqn"] / 2.0)
    assert trade_metrics(trade_records([3.0, -1.0]))["sqn_100"] == trade_metrics(trade_records([3.0, -1.0]))["sqn"]


def test_p_values_are_those_of_a_t_test() -> None:
    net = np.random.default_rng(3).normal(1.0, 4.0, 40).tolist()
    found = trade_metrics(trade_records(net))
    wanted = scipy.stats.ttest_1samp(net, 0.0)
    assert found["t_statistic"] == pytest.approx(wanted.statistic, rel=1e-12)
    assert found["p_value"] == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found["sqn_p_value"] == pytest.approx(wanted.pvalue, rel=1e-9)


def test_student_t_p_value_equals_scipy() -> None:
    for degrees in (1, 2, 3, 5, 10, 29, 100, 1000, 50_000):
        for t in (0.0, 1e-9, 0.1, 0.7, 1.0, 1.96, 3.0, 8.0, 30.0):
            wanted = 2.0 * scipy.stats.t.sf(t, degrees)
            assert student_t_p_value(t, degrees) == pytest.approx(wanted, rel=1e-9, abs=1e-290)
            assert student_t_p_value(-t, degrees) == student_t_p_value(t, degrees)


def test_excursions_are_money_ahead_and_money_behind() -> None:
    trades = trade_records([1.0, 1.0, 1.0], side=[1, -1, 1])
    trades["quantity"] = [2.0, 3.0, 1.0]
    trades["best_price"], trades["worst_price"] = [104.0, 95.0, 99.0], [97.0, 101.0, 99.0]
    favourable, adverse = excursions(trades)
    # The third was never ahead of its mean entry price.
    assert favourable.tolist() == [8.0, 15.0, 0.0]
    assert adverse.tolist() == [-6.0, -3.0, -1.0]
    found = trade_metrics(trades)
    assert (found["average_mfe"], found["average_mae"]) == (pytest.approx(23 / 3), pytest.approx(-10 / 3))


def test_without_trades_nothing_is_claimed() -> None:
    found = trade_metrics(trade_records([]))
    assert found["average_trade"] is None
    assert set(found["undefined"].values()) == {"no trades"}
    assert found["undefined"].keys() == {name for name, value in found.items() if value is None}
    assert found["by_exit_reason"] == {}
    assert found["longest_winning_streak"] == found["max_bars_held"] == 0
    assert found["long"]["win_rate"] is None
    assert set(found["cost_attribution"].values()) == {0.0}


@pytest.mark.parametrize(
    ("net", "reasons"),
    [
        ([5.0], {"average_loss": "no losing trade", "payoff_ratio": "no losing trade", "kelly": "no losing trade",
                 "largest_loss": "no losing trade", "t_statistic": "fewer than two trades",
                 "sqn": "fewer than two trades"}),
        ([-5.0, -5.0], {"average_win": "no winning trade", "payoff_ratio": "no winning trade",
                        "t_statistic": "the trades' results do not vary"}),
        ([0.0, 0.0], {"average_win": "no winning trade", "average_loss": "no losing trade"}),
    ],
)  # fmt: skip
def test_trade_metrics_that_are_undefined_say_why(net: list[float], reasons: dict[str, str]) -> None:
    found = trade_metrics(trade_records(net))
    assert found["undefined"].items() >= reasons.items()
    assert all(found[name] is None for name in found["undefined"])


def test_cost_attribution_goes_from_before_costs_to_net() -> None:
    assert cost_attribution(60.0, 12.0, 5.0, -2.0) == {
        "before_costs": 75.0,
        "slippage": 5.0,
        "gross_pnl": 70.0,
        "fees": 12.0,
        "funding": -2.0,
        "net_pnl": 60.0,
    }


amounts = st.floats(-1e9, 1e9)


@given(amounts, amounts, amounts, amounts)
def test_cost_attribution_closes_to_the_last_bit(net: float, fees: float, slippage: float, funding: float) -> None:
    found = cost_attribution(net, fees, slippage, funding)
    assert found["before_costs"] - found["slippage"] == found["gross_pnl"]
    assert found["gross_pnl"] - found["fees"] - found["funding"] == found["net_pnl"]
    largest = max(abs(net), abs(fees), abs(slippage), abs(funding))
    assert abs(found["net_pnl"] - net) <= 4e-15 * largest + 1e-300


# -- Against quantstats and empyrical, at 8,760 bars a year ------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> tuple[pd.Series, dict[str, Any], dict[str, Any]]:
    """Returns of 3,000 hours, our headline and our path metrics of them; years are counted in bars, as theirs are."""
    returns = np.random.default_rng(2).standard_t(5, 3000) * 3e-3 + 2e-4
    equity = np.asarray(100.0 * np.cumprod(1.0 + returns), dtype=np.float64)
    series = pd.Series(returns, index=pd.date_range("2025-01-01", periods=3000, freq="h"))
    found = one(summary_of(equity, trade_records([1.0])), bars_per_year=HOURS_PER_YEAR, years=3000 / HOURS_PER_YEAR)
    path = path_metrics(times(3000, HOUR_MS), equity, equity, HOUR_MS, ALWAYS_OPEN, 100.0)
    return series, found, path


Golden = tuple[pd.Series, dict[str, Any], dict[str, Any]]


def test_quantstats_agrees_where_its_definitions_are_ours(golden: Golden) -> None:
    returns, ours, path = golden
    periods = int(HOURS_PER_YEAR)
    for name, theirs in (
        ("sharpe_ratio", qs.sharpe(returns, periods=periods)),
        ("sortino_ratio", qs.sortino(returns, periods=periods)),
        ("omega_ratio", qs.omega(returns, periods=periods)),
        ("volatility", 100 * qs.volatility(returns, periods=periods)),
        ("max_drawdown", -100 * qs.max_drawdown(returns)),
        ("cagr", 100 * qs.cagr(returns, periods=periods)),
        ("calmar_ratio", qs.calmar(returns, periods=periods)),
    ):
        assert ours[name] == pytest.approx(theirs, rel=1e-9), name
    theirs_curve = -100 * qs.to_drawdown_series(returns).to_numpy()
    np.testing.assert_allclose(drawdown_curve(100 * np.cumprod(1 + returns.to_numpy()), 100.0), theirs_curve, atol=1e-9)
    assert path["best_bar"]["percent"] == pytest.approx(100 * qs.best(returns))


def test_empyrical_agrees_where_its_definitions_are_ours(golden: Golden) -> None:
    returns, ours, _ = golden
    periods = int(HOURS_PER_YEAR)
    for name, theirs in (
        ("sharpe_ratio", empyrical.sharpe_ratio(returns, annualization=periods)),
        ("sortino_ratio", empyrical.sortino_ratio(returns, annualization=periods)),
        ("omega_ratio", empyrical.omega_ratio(returns, annualization=periods)),
        ("volatility", 100 * empyrical.annual_volatility(returns, annualization=periods)),
        ("max_drawdown", -100 * empyrical.max_drawdown(returns)),
        ("cagr", 100 * empyrical.annual_return(returns, annualization=periods)),
        ("calmar_ratio", empyrical.calmar_ratio(returns, annualization=periods)),
    ):
        assert ours[name] == pytest.approx(theirs, rel=1e-9), name


def test_daily_sharpe_agrees_with_empyrical_on_daily_returns(golden: Golden) -> None:
    returns, _, path = golden
    daily = (1.0 + returns).resample("D").prod() - 1.0
    assert path["daily_sharpe_ratio"] == pytest.approx(empyrical.sharpe_ratio(daily, annualization=365), rel=1e-9)


def test_payoff_and_kelly_agree_with_quantstats_on_trade_results() -> None:
    net = np.random.default_rng(8).normal(0.1, 1.0, 50)
    found = trade_metrics(trade_records(net.tolist()))
    series = pd.Series(net / 100.0)
    assert found["payoff_ratio"] == pytest.approx(qs.payoff_ratio(series))
    assert found["kelly"] == pytest.approx(100 * qs.kelly_criterion(series))


def test_known_differences_to_quantstats_are_as_documented(golden: Golden) -> None:
    returns, ours, path = golden
    n = len(returns)
    # It divides the squared drawdowns by n - 1, and counts in fractions.
    assert path["ulcer_index"] == pytest.approx(100 * qs.ulcer_index(returns) * math.sqrt((n - 1) / n))
    # Its UPI takes the total return, ours the yearly growth over elapsed time.
    theirs = qs.ulcer_performance_index(returns)
    total = float(np.prod(1 + returns) - 1)
    assert path["ulcer_performance_index"] == pytest.approx(
        theirs * (path["cagr"] / 100 / total) * math.sqrt(n / (n - 1)), rel=1e-9
    )
    # Its moments are corrected for the sample size and the kurtosis is that in excess of 3.
    g1, g2 = ours["skewness"], ours["kurtosis"] - 3.0
    assert qs.skew(returns) == pytest.approx(g1 * math.sqrt(n * (n - 1)) / (n - 2))
    assert qs.kurtosis(returns) == pytest.approx(((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3)))
    # Its recovery factor is the sum of returns over the drawdown as a fraction, and loses the sign.
    assert qs.recovery_factor(-returns) > 0.0
    falling = 100 * np.cumprod(1 - returns.to_numpy())
    assert one(summary_of(falling, trade_records([falling[-1] - 100.0])))["recovery_factor"] < 0.0
    # Its profit factor is that of bars, which here is the omega ratio.
    assert qs.profit_factor(returns) == pytest.approx(ours["omega_ratio"])
    # Its exposure is the share of returns that are not 0, rounded up to a full percent.
    assert qs.exposure(pd.Series([0.01, 0.0, -0.02] * 100)) == 0.67
    # 252 by default: 5.9 times too little for hourly bars around the clock.
    assert ours["sharpe_ratio"] / qs.sharpe(returns) == pytest.approx(math.sqrt(8760 / 252))


def test_cagr_differs_from_theirs_by_the_length_of_a_year(golden: Golden) -> None:
    returns, _, path = golden
    growth = float(np.prod(1 + returns))
    assert path["cagr"] == pytest.approx(100 * (growth ** (365.2425 * 24 / 3000) - 1))
    assert path["cagr"] != pytest.approx(100 * empyrical.annual_return(returns, annualization=8760), rel=1e-5)


# -- The engine's own records ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_run(market_data: Path) -> BacktestResult:
    frame = polars.read_parquet(market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet").tail(9000)
    candles = Candles.of(frame, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H", audit="report")
    return backtest(candles, EmaRsiAtr(enable_rsi_filter=False, enable_trend_filter=False), 0.1)


def test_headline_of_a_real_run_equals_numpy_on_its_equity_curve(real_run: BacktestResult) -> None:
    found = one(real_run.summary, real_run.initial_capital, HOURS_PER_YEAR, real_run.years)
    equity = real_run.records.equity
    r = np.diff(equity) / equity[:-1]
    r = np.concatenate(([equity[0] / real_run.initial_capital - 1.0], r))
    assert found["total_trades"] > 50
    assert found["sharpe_ratio"] == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(HOURS_PER_YEAR), rel=1e-9)
    downside = math.sqrt(np.mean(np.minimum(r, 0.0) ** 2))
    assert found["sortino_ratio"] == pytest.approx(r.mean() / downside * math.sqrt(HOURS_PER_YEAR), rel=1e-9)
    assert found["volatility"] == pytest.approx(100 * r.std(ddof=1) * math.sqrt(HOURS_PER_YEAR), rel=1e-9)
    assert found["kurtosis"] == pytest.approx(scipy.stats.kurtosis(r, fisher=False), rel=1e-9)
    assert found["max_drawdown"] == pytest.approx(drawdown_curve(equity, real_run.initial_capital).max(), rel=1e-12)


def test_all_metrics_of_a_real_run_are_plain_and_agree_among_themselves(real_run: BacktestResult) -> None:
    found = all_metrics(real_run)
    assert_plain_and_finite(found)
    assert json.loads(json.dumps(found)) == found
    assert found["undefined"].keys() == {name for name, value in found.items() if value is None}
    single = trade_metrics(real_run.records.trades)
    assert found["sqn"] == pytest.approx(single["sqn"], rel=1e-9)
    assert found["cost_attribution"]["net_pnl"] == pytest.approx(found["net_pnl"], rel=1e-12)
    assert found["cost_attribution"]["gross_pnl"] == pytest.approx(found["gross_pnl"], rel=1e-9)
    for groups in ([found["long"], found["short"]], found["by_exit_reason"].values()):
        assert sum(group["trades"] for group in groups) == found["total_trades"]
        assert sum(group["net_pnl"] for group in groups) == pytest.approx(found["net_pnl"], rel=1e-9)
    growth = math.prod(1.0 + month["percent"] / 100.0 for month in found["monthly_returns"])
    assert 100.0 * (growth - 1.0) == pytest.approx(found["total_return"], rel=1e-9)
    assert found["average_trade"] == pytest.approx(found["expectancy"], rel=1e-9)
    assert found["average_mae"] < 0.0 < found["average_mfe"]
