"""The verdict is a table: every row of it, every boundary, and who wins where two rows apply."""

import itertools
import json
import math
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.config import ExecutionConfig
from barwise.core.layout import Bars
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema
from barwise.validation.engine import judge_backtest
from barwise.validation.verdict import Evidence, Verdict, Word, decide

REAL = Evidence(
    trades=120, years=3.0, annual_sharpe=1.5, needed_years=1.2, n_trials=500, luck_line=1.75, p_value=0.01, windows=12,
    oos_sharpe=0.9, oos_psr=0.95, stressed_net=1234.0, psr=0.995, dsr0=0.7, dsr=0.3, pbo=0.2, spa=0.04, efficiency=0.4,
    luck_years=2.5, effective_trials=40.0,
)  # fmt: skip


def word_of(**changes: Any) -> Word:
    return decide(replace(REAL, **changes)).word


def test_all_three_at_once_are_likely_real() -> None:
    found = decide(REAL)
    assert found.word is Word.LIKELY_REAL
    assert found.reasons == (
        "the search finds more than on shuffled markets: p = 0.010.",
        "on bars it had not seen the edge is above 0 with 95 %.",
        "it is still positive with twice the slippage.",
    )


# The table of decision 4, row by row: what is changed in the best case, and the word.


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"trades": 30}, Word.LIKELY_REAL),
        ({"trades": 29}, Word.TOO_LITTLE_DATA),
        ({"trades": 0}, Word.TOO_LITTLE_DATA),
        ({"windows": 3}, Word.LIKELY_REAL),
        ({"windows": 2}, Word.TOO_LITTLE_DATA),
        ({"windows": 0}, Word.TOO_LITTLE_DATA),
        ({"needed_years": 3.0}, Word.LIKELY_REAL),
        ({"needed_years": 3.0 + 1e-9}, Word.TOO_LITTLE_DATA),
        ({"needed_years": math.inf}, Word.TOO_LITTLE_DATA),
        ({"p_value": 0.05}, Word.LIKELY_REAL),
        ({"p_value": np.nextafter(0.05, 1)}, Word.UNPROVEN),
        ({"p_value": 0.20}, Word.UNPROVEN),
        ({"p_value": np.nextafter(0.20, 1)}, Word.LIKELY_OVERFIT),
        ({"p_value": 1.0}, Word.LIKELY_OVERFIT),
        ({"p_value": None}, Word.UNPROVEN),
        ({"oos_psr": np.nextafter(0.80, 1)}, Word.LIKELY_REAL),
        ({"oos_psr": 0.80}, Word.UNPROVEN),
        ({"oos_psr": None}, Word.UNPROVEN),
        ({"oos_sharpe": 0.0}, Word.LIKELY_OVERFIT),
        ({"oos_sharpe": 1e-9}, Word.LIKELY_REAL),
        ({"oos_sharpe": -0.5}, Word.LIKELY_OVERFIT),
        ({"stressed_net": 0.0}, Word.UNPROVEN),
        ({"stressed_net": 0.01}, Word.LIKELY_REAL),
        ({"stressed_net": None}, Word.UNPROVEN),
        ({"dsr0": 0.49, "pbo": 0.51}, Word.LIKELY_REAL),  # the tests of the rule have the word
        ({"dsr0": 0.49, "pbo": 0.51, "p_value": 0.06}, Word.LIKELY_OVERFIT),
        ({"dsr0": 0.5, "pbo": 0.51, "p_value": 0.06}, Word.UNPROVEN),
        ({"dsr0": 0.49, "pbo": 0.5, "p_value": 0.06}, Word.UNPROVEN),
        ({"dsr0": 0.5, "pbo": 0.51}, Word.LIKELY_REAL),
        ({"dsr0": 0.49, "pbo": 0.5}, Word.LIKELY_REAL),
        ({"dsr0": 0.49, "pbo": None}, Word.LIKELY_REAL),
        ({"dsr0": None, "pbo": 0.9}, Word.LIKELY_REAL),
        # What stands beside the verdict decides nothing.
        (
            {"psr": 0.1, "dsr": 0.0, "spa": 0.9, "efficiency": -2.0, "luck_line": 9.0, "luck_years": 99.0},
            Word.LIKELY_REAL,
        ),
        ({"dsr0": 0.01, "pbo": 0.05}, Word.LIKELY_REAL),
        # A search whose best lost money on the bars it was chosen on has found nothing, whatever else it says.
        ({"annual_sharpe": 0.0, "needed_years": None}, Word.UNPROVEN),
    ],
)
def test_every_row_of_the_table_and_every_boundary(changes: dict[str, Any], word: Word) -> None:
    assert word_of(**changes) is word


def test_too_little_data_beats_overfit_beats_real_beats_unproven() -> None:
    little, overfit, unproven = {"trades": 10}, {"oos_sharpe": -1.0}, {"oos_psr": 0.5}
    assert word_of(**little, **overfit, **unproven) is Word.TOO_LITTLE_DATA
    assert word_of(**little) is Word.TOO_LITTLE_DATA
    assert word_of(**overfit) is Word.LIKELY_OVERFIT
    assert word_of(**overfit, **unproven) is Word.LIKELY_OVERFIT
    assert word_of(**unproven) is Word.UNPROVEN


_SHARES = st.sampled_from([None, 0.0, 0.01, 0.05, 0.051, 0.2, 0.21, 0.5, 0.51, 0.8, 0.81, 1.0])
_NUMBERS = st.sampled_from([None, -2.0, 0.0, 0.3, 5.0])


@given(
    trades=st.sampled_from([0, 29, 30, 500]), windows=st.sampled_from([None, 0, 2, 3, 9]),
    needed=st.sampled_from([None, 1.0, 4.0]), sharpe=st.sampled_from([-1.0, 0.0, 2.0]), p=_SHARES, psr=_SHARES,
    dsr0=_SHARES, pbo=_SHARES, oos=_NUMBERS, stressed=_NUMBERS,
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_the_word_is_that_of_the_written_rule(
    trades: int, windows: int | None, needed: float | None, sharpe: float, p: float | None, psr: float | None,
    dsr0: float | None, pbo: float | None, oos: float | None, stressed: float | None,
) -> None:  # fmt: skip
    evidence = Evidence(
        trades, 3.0, sharpe, needed, p_value=p, windows=windows, oos_sharpe=oos, oos_psr=psr, stressed_net=stressed,
        dsr0=dsr0, pbo=pbo,
    )  # fmt: skip
    if trades < 30 or (windows is not None and windows < 3) or (needed or 0.0) > 3.0:
        expected = "TOO LITTLE DATA"
    elif (p or 0.0) > 0.2 or (oos is not None and oos <= 0.0) or (dsr0 in (0.0, 0.01, 0.05, 0.051, 0.2, 0.21)
                                                                  and (pbo or 0.0) > 0.5):  # fmt: skip
        expected = "LIKELY OVERFIT"
    elif p is not None and p <= 0.05 and (psr or 0.0) > 0.8 and (stressed or 0.0) > 0.0 and sharpe > 0.0:
        expected = "LIKELY REAL"
    else:
        expected = "UNPROVEN"
    found = decide(evidence)
    assert str(found.word) == expected
    assert found.reasons
    json.dumps(found.to_dict(), allow_nan=False)


# The sentences.


def said(**changes: Any) -> str:
    return " ".join(decide(replace(REAL, **changes)).reasons)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"trades": 17}, ["17 trades", "below 30"]),
        ({"windows": 2}, ["2 out-of-sample windows", "3 are needed"]),
        ({"needed_years": 4.25}, ["a Sharpe ratio of 1.50 needs 4.2 years", "there are 3.0 years"]),
        ({"years": 0.5}, ["needs 1.2 years", "there are 6.0 months"]),
        ({"needed_years": math.inf}, ["needs for ever"]),
        ({"p_value": 0.08}, ["p = 0.080", "5 % or less"]),
        ({"p_value": 0.41}, ["41 % of markets whose bars were shuffled"]),
        ({"oos_psr": 0.62}, ["with 62 % only", "more than 80 %"]),
        ({"oos_sharpe": -0.31}, ["a Sharpe ratio of -0.31"]),
        ({"dsr0": 0.2, "pbo": 0.6, "p_value": 0.06}, ["20 % deflated", "60 % of all splits"]),
        ({"stressed_net": -5.0}, ["twice the slippage nothing"]),
        ({"stressed_net": None}, ["was not tried with twice the slippage"]),
        ({"p_value": None}, ["the permutation test of the search was not run"]),
        ({"oos_psr": None, "stressed_net": None}, ["there is no out-of-sample result"]),
        ({"annual_sharpe": -0.2, "needed_years": None}, ["lost money on the very bars"]),
    ],
)
def test_reasons_name_their_numbers(changes: dict[str, Any], parts: list[str]) -> None:
    for part in parts:
        assert part in said(**changes)


def test_every_reason_that_holds_is_named() -> None:
    found = decide(replace(REAL, trades=5, windows=1, needed_years=9.0))
    assert len(found.reasons) == 3
    found = decide(replace(REAL, p_value=0.5, oos_sharpe=-1.0, dsr0=0.1, pbo=0.9))
    assert len(found.reasons) == 3
    found = decide(replace(REAL, p_value=0.1, oos_psr=0.7, stressed_net=-1.0))
    assert len(found.reasons) == 3


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"trades": 5}, "more data: a longer span"),
        ({"p_value": None}, "barwise validate runs the permutation test"),
        ({"p_value": 0.1}, "more data narrows every interval"),
        ({"p_value": 0.3}, "fewer parameters and a narrower search"),
        ({"stressed_net": -1.0}, "lower costs"),
        ({}, "paper trading"),
    ],
)
def test_it_says_what_would_change_it(changes: dict[str, Any], advice: str) -> None:
    assert any(line.startswith(advice) for line in decide(replace(REAL, **changes)).would_change)


def test_lower_costs_are_only_advised_where_costs_are_what_is_missing() -> None:
    assert not any("costs" in line for line in decide(replace(REAL, p_value=0.3)).would_change)


# The tests beside it.


def by_name(found: Verdict) -> dict[str, Any]:
    return {test.name: test for test in found.tests}


def test_each_test_stands_there_with_its_number_and_those_that_decide_come_first() -> None:
    found = decide(REAL)
    values = [test.value for test in found.tests]
    assert values == [120, 12, 1.2, 0.01, 0.95, 0.9, 1234.0, 0.7, 0.2, 1.75, 2.5, 40.0, 0.995, 0.3, 0.04, 0.4]
    decides = [test.decides for test in found.tests]
    assert decides == sorted(decides, reverse=True)
    assert all(test.meaning and test.threshold for test in found.tests)
    numbers = {field.name for field in fields(Evidence)} - {"years", "annual_sharpe", "n_trials"}
    assert len(found.tests) == len(numbers)


def test_a_test_passes_exactly_where_the_rule_lets_it() -> None:
    just = by_name(
        decide(
            replace(
                REAL,
                trades=30,
                windows=3,
                needed_years=3.0,
                p_value=0.05,
                oos_psr=0.801,
                oos_sharpe=0.01,
                stressed_net=0.01,
                dsr0=0.51,
                pbo=0.1,
            )
        )
    )
    short = by_name(
        decide(
            replace(
                REAL,
                trades=29,
                windows=2,
                needed_years=3.1,
                p_value=0.051,
                oos_psr=0.8,
                oos_sharpe=0.0,
                stressed_net=0.0,
                dsr0=0.5,
                pbo=0.11,
            )
        )
    )
    deciding = [name for name, test in just.items() if test.decides]
    assert len(deciding) == 9
    for name in deciding:
        assert just[name].passed is True, name
        assert short[name].passed is False, name


def test_a_test_that_was_not_run_has_no_number_and_did_not_fail() -> None:
    found = decide(Evidence(trades=100, years=2.0, annual_sharpe=1.0))
    assert {test.name for test in found.tests if test.passed is False} == set()
    assert by_name(found)["permutation test"].value is None
    assert by_name(found)["permutation test"].passed is None


def test_the_verdict_goes_into_json_and_back() -> None:
    for changes in ({}, {"trades": 3}, {"p_value": 0.9}, {"p_value": None, "pbo": None}):
        found = decide(replace(REAL, **changes))
        again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert again["verdict"] == str(found.word)
        assert again["evidence"] == asdict(found.evidence)
        assert again["reasons"] == list(found.reasons)
        assert [test["name"] for test in again["tests"]] == [test.name for test in found.tests]


def test_a_track_record_that_would_take_for_ever_goes_into_json_too() -> None:
    said = decide(replace(REAL, needed_years=math.inf)).to_dict()
    json.dumps(said, allow_nan=False)
    assert said["evidence"]["needed_years"] is None


# A single backtest.


class Often(Strategy):
    """In and out by the clock, so that there are trades whatever the market does."""

    enable_hybrid_engine: bool = False
    every: int = 6
    side: int = 1

    def plan(self, bars: Bars) -> Plan:
        clock = np.arange(bars.close.size) % self.every
        return Plan.of(self.side * (clock == 0), exit=clock == self.every // 2, anchor=ema(bars.close, 2))


FREE = ExecutionConfig(maker_fee=0.0, taker_fee=0.0, slippage=0.0)


@pytest.fixture(scope="module")
def results() -> list[BacktestResult]:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2024, 1, 1), datetime(2025, 1, 1))
    return [
        backtest(candles, strategy, 0.1, execution=costs, check_lookahead=False)
        for strategy, costs in itertools.product((Often(), Often(side=-1), EmaRsiAtr()), (FREE, None))
    ]


def test_a_single_backtest_is_never_likely_real(results: list[BacktestResult]) -> None:
    words = {str(judge_backtest(result, trials).word) for result in results for trials in (1, 1000)}
    assert "LIKELY REAL" not in words
    assert "UNPROVEN" in words
    assert words <= {"UNPROVEN", "TOO LITTLE DATA"}


def test_what_is_known_of_a_single_backtest_by_hand(results: list[BacktestResult]) -> None:
    from scipy import stats

    for result in results:
        e = judge_backtest(result, 500).evidence
        daily, own = result.metrics["daily_sharpe_ratio"], result.sharpe_ratio
        assert e.annual_sharpe == (min(daily, own) if abs(daily - own) > 0.2 * abs(own) else own)
        r = np.diff(result.equity_curve, prepend=100_000.0) / np.concatenate([[1e5], result.equity_curve[:-1]])
        ratio, bars = e.annual_sharpe / math.sqrt(8760.0), len(r)
        skewness, kurtosis = stats.skew(r), stats.kurtosis(r, fisher=False)
        spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
        assert e.years == pytest.approx(bars / 8760.0)
        assert e.psr == pytest.approx(stats.norm.cdf(ratio / math.sqrt(spread / (bars - 1))))
        luck = (1 - np.euler_gamma) * stats.norm.ppf(1 - 1 / 500) + np.euler_gamma * stats.norm.ppf(
            1 - 1 / (500 * math.e)
        )
        assert e.luck_line == pytest.approx(luck / math.sqrt(e.years), rel=1e-6)
        above = (ratio - luck / math.sqrt(bars)) / math.sqrt(spread / (bars - 1))
        assert e.dsr0 == pytest.approx(stats.norm.cdf(above), abs=1e-6)
        if ratio > 0.0:
            needed = 1.0 + spread * (stats.norm.ppf(0.95) / ratio) ** 2
            assert e.needed_years == pytest.approx(needed / 8760.0)
            assert e.luck_years == pytest.approx((luck / e.annual_sharpe) ** 2, rel=1e-6)
        else:
            assert e.needed_years is None
        assert (e.trades, e.n_trials, e.p_value, e.windows) == (result.total_trades, 500, None, None)


def test_where_days_and_bars_disagree_the_smaller_sharpe_ratio_is_judged() -> None:
    """By more than a fifth, either way and on either side of 0; the two are the same number of independent returns."""
    seen = set()
    for month in range(1, 12):
        candles = sample_candles("SAMPLE-BTC", "1H", datetime(2024, month, 1), datetime(2024, month, 11))
        for side in (1, -1):
            result = backtest(candles, Often(side=side, every=60), 0.1, execution=FREE, check_lookahead=False)
            by_day, by_bar = result.metrics["daily_sharpe_ratio"], result.sharpe_ratio
            apart = abs(by_day - by_bar) > 0.2 * abs(by_bar)
            seen.add((apart, by_day < by_bar, by_bar > 0.0))
            judged = judge_backtest(result).evidence.annual_sharpe
            assert judged == (min(by_day, by_bar) if apart else by_bar)
    assert {(True, True, True), (True, False, True), (True, True, False), (True, False, False)} <= seen
    assert any(not apart for apart, _, _ in seen)


def test_without_a_trade_there_is_too_little_data_and_no_exception() -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2024, 1, 1), datetime(2024, 2, 1))
    result = backtest(candles, Often(every=10_000_000, side=0), 0.1)
    found = judge_backtest(result)
    assert found.word is Word.TOO_LITTLE_DATA
    assert "0 trades" in found.reasons[0]
    assert (found.evidence.psr, found.evidence.dsr0, found.evidence.needed_years) == (None, None, None)
    json.dumps(found.to_dict(), allow_nan=False)
