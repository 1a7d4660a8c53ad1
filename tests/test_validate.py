"""The whole procedure: its report says what its parts found, and little data end in a verdict, not in an error."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.config import (
    ExecutionConfig,
    Float,
    OptimizationConfig,
    OptimizationProfile,
    WalForwardConfig,
    WalkForwardConfig,
)
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError, DataError
from barwise.optimizer.engine import optimize
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import ema
from barwise.sweeping import Sweeper
from barwise.validation.engine import PERMUTATIONS, ValidationReport, validate, walk_forward
from barwise.validation.permutation import permutation_test
from barwise.validation.stress import pieces_of, stressed
from barwise.validation.verdict import decide
from barwise.validation.walk_forward import walk
from tests.planted import FREE, Momentum, planted_candles

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", num_trials=30, seed=5, workers=1)
WINDOWS = WalkForwardConfig(is_length_days=40, oos_length_days=15, stride_days=15, min_trades_per_window=2)
NUMBERS = ("verdict", "p_value", "oos_psr", "dsr0", "pbo", "n_trials", "reasons", "luck_line")

Steps = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 5, 1))


def judged(candles: Any, ledger: Path, strategy: Strategy | None = BASE, **settings: Any) -> ValidationReport:
    search = settings.pop("search", SEARCH).replace(storage=str(ledger))
    chosen = {"windows": WINDOWS, "permutations": 19, "execution": COSTS, **settings}
    return validate(candles, strategy, 0.1, search=search, check_lookahead=False, **chosen)


@pytest.fixture(scope="module")
def told() -> Steps:
    return []


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("validate") / "ledger.sqlite"


@pytest.fixture(scope="module")
def report(candles: Candles, ledger_file: Path, told: Steps) -> ValidationReport:
    return judged(candles, ledger_file, on_step=lambda *step: told.append(step))


def without_times(report: ValidationReport) -> Any:
    """The report as JSON, less what names the run and how long it took."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            own = {"run", "seconds", "sampler_seconds", "duplicates", "bars_share"}
            return {name: stripped(inner) for name, inner in value.items() if name not in own}
        return [stripped(inner) for inner in value] if isinstance(value, list) else value

    return stripped(json.loads(json.dumps(report.to_dict(), allow_nan=False)))


# End to end.


def test_the_report_names_its_verdict_and_its_numbers(report: ValidationReport) -> None:
    assert report.verdict in {"LIKELY REAL", "UNPROVEN", "LIKELY OVERFIT", "TOO LITTLE DATA"}
    assert all(type(reason) is str for reason in report.reasons)
    assert report.reasons
    for name in ("p_value", "oos_psr", "dsr0", "pbo"):
        assert 0.0 <= getattr(report, name) <= 1.0
    assert report.n_trials > 60


def test_the_evidence_is_what_the_parts_found(
    candles: Candles, report: ValidationReport, ledger_file: Path, tmp_path: Path
) -> None:
    sweeper = Sweeper(candles, BASE, 0.1, execution=COSTS, workers=1, check_lookahead=False)
    alone = optimize(
        candles, BASE, 0.1, execution=COSTS, config=SEARCH.replace(storage=str(tmp_path / "a.sqlite")),
        check_lookahead=False,
    )  # fmt: skip
    assert report.best.strategy == alone.strategy
    walked = walk(sweeper, BASE, WINDOWS, SEARCH, run="test", storage=None)
    permuted = permutation_test(sweeper, BASE, SEARCH, 19)
    doubled = {scenario.name: scenario for scenario in stressed(sweeper, pieces_of(walked))}["slippage x 2"]
    e = report.decision.evidence
    assert (e.trades, e.windows) == (alone.best.total_trades, len(walked.scored))
    assert (e.p_value, e.oos_psr, e.oos_sharpe) == (permuted.p_value, walked.oos_psr, walked.metrics["sharpe_ratio"])
    assert (e.stressed_net, e.efficiency) == (doubled.net_pnl, walked.efficiency)
    assert report.selection.pbo is not None
    assert e.pbo == report.selection.pbo.pbo == report.pbo
    with Ledger(ledger_file) as ledger:
        assert report.n_trials == ledger.trials(DataSet.of(candles)) == report.selection.distinct
    assert e.effective_trials == report.selection.effective_trials
    by_day, by_bar = report.best.metrics["daily_sharpe_ratio"], report.best.sharpe_ratio
    apart = abs(by_day - by_bar) > 0.2 * abs(by_bar)
    assert e.annual_sharpe == (min(by_day, by_bar) if apart else by_bar)
    assert any("autocorrelated" in note for note in report.notes) == apart
    assert report.decision == decide(e)
    assert report.luck_line == e.luck_line


def test_the_same_seed_gives_the_same_report_and_another_ledger_changes_nothing(
    candles: Candles, report: ValidationReport, tmp_path: Path
) -> None:
    again = judged(candles, tmp_path / "other.sqlite")
    assert without_times(again) == without_times(report)
    assert [getattr(again, name) for name in NUMBERS] == [getattr(report, name) for name in NUMBERS]
    assert without_times(judged(candles, tmp_path / "third.sqlite", search=SEARCH.replace(seed=6))) != without_times(
        report
    )


def test_processes_and_threads_give_the_same_report(candles: Candles, report: ValidationReport, tmp_path: Path) -> None:
    for name, workers in (("processes", 2), ("threads", 2)):
        search = SEARCH.replace(backend=name, workers=workers)
        again = judged(candles, tmp_path / f"{name}.sqlite", search=search)
        assert without_times(again) == without_times(report)


def test_trials_of_an_earlier_search_count_too(candles: Candles, report: ValidationReport, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    earlier = SEARCH.replace(seed=77, storage=str(ledger))
    optimize(candles, BASE, 0.1, execution=COSTS, config=earlier, check_lookahead=False)
    again = judged(candles, ledger)
    assert again.n_trials > report.n_trials
    assert again.best.strategy == report.best.strategy
    assert again.luck_line > report.luck_line
    assert again.dsr0 is not None
    assert report.dsr0 is not None
    assert again.dsr0 < report.dsr0


def test_progress_goes_up_and_reaches_the_end_of_each_step(report: ValidationReport, told: Steps) -> None:
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert steps == ["search", "walk-forward", "permutations", "selection", "stress", "jitter", "monte carlo"]
    assert [step for step, _, _ in told] == sorted((step for step, _, _ in told), key=steps.index)
    for step in steps:
        shares = [done / total for name, done, total in told if name == step]
        assert shares[0] == 0.0
        assert shares == sorted(shares)
    assert report.permutation is not None
    ends = {step: (done, total) for step, done, total in told}
    assert (ends["search"], ends["walk-forward"]) == ((3, 3), (5, 5))
    assert ends["permutations"] == (len(report.permutation.nulls), 19)
    assert set(report.seconds) == set(steps)


def test_the_report_is_json(report: ValidationReport) -> None:
    said = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert said["kind"] == "validation"
    assert said["verdict"] == report.verdict
    assert said["reasons"] == list(report.reasons)
    assert len(said["walk_forward"]["windows"]) == 5
    assert len(said["search"]) == 3
    assert set(said["monte_carlo"]) == {"reshuffled", "paths", "missed"}
    assert said["market"]["fingerprint"] == report.candles.fingerprint


def test_a_planted_edge_is_likely_real_and_its_shuffle_is_not(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "search": SEARCH.replace(ranges={"period": (4, 40), "level": (0.2, 2.0)}, num_trials=60),
        "execution": FREE, "windows": WINDOWS.replace(is_length_days=60),
    }  # fmt: skip
    found = judged(planted_candles(4, 5000), tmp_path / "one.sqlite", Momentum(), **settings)
    assert found.p_value == 1 / 20
    assert found.verdict == "LIKELY REAL"
    assert len(found.reasons) == 3
    noise = sample_candles("SAMPLE-BTC", "1H", datetime(2024, 1, 1), datetime(2024, 7, 27))
    empty = judged(noise, tmp_path / "other.sqlite", Momentum(), **settings)
    assert empty.verdict != "LIKELY REAL"


# Other ways to ask.


def test_walk_forward_is_the_same_report_without_the_permutation_test(
    candles: Candles, report: ValidationReport, tmp_path: Path
) -> None:
    search = SEARCH.replace(storage=str(tmp_path / "ledger.sqlite"))
    settings: dict[str, Any] = {"windows": WINDOWS, "execution": COSTS, "check_lookahead": False}
    found = walk_forward(candles, BASE, 0.1, search=search, **settings)
    assert type(found) is ValidationReport
    assert found.permutation is None
    assert found.p_value is None
    assert found.verdict != "LIKELY REAL"
    assert (found.oos_psr, found.pbo, found.n_trials) == (report.oos_psr, report.pbo, report.n_trials)
    both = walk_forward(candles, BASE, 0.1, search=search, permutations=19, **settings)
    assert both.p_value == report.p_value
    json.dumps(found.to_dict(), allow_nan=False)


def test_one_given_configuration_is_no_evidence_from_bars_it_had_not_seen(candles: Candles, tmp_path: Path) -> None:
    found = judged(candles, tmp_path / "l.sqlite", windows=WINDOWS.replace(reoptimize=False), permutations=0)
    assert found.walked is not None
    assert found.walked.oos_psr is not None
    e = found.decision.evidence
    assert (e.oos_psr, e.oos_sharpe, e.stressed_net, e.efficiency) == (None, None, None, None)
    assert e.windows == len(found.walked.scored)
    assert any("stability check" in note for note in found.notes)


def test_another_sampler_is_replaced_and_the_report_says_so(
    candles: Candles, report: ValidationReport, tmp_path: Path
) -> None:
    found = judged(candles, tmp_path / "l.sqlite", search=SEARCH.replace(optuna_sampler="TPE"))
    assert any("not TPE" in note for note in found.notes)
    assert not any("AUTO" in note for note in report.notes)
    assert found.best.strategy == report.best.strategy


def test_detail_and_funding_are_used_by_all_but_the_shuffles(
    candles: Candles, report: ValidationReport, tmp_path: Path
) -> None:
    fine = sample_candles("SAMPLE-BTC", "15M", datetime(2025, 1, 1), datetime(2025, 5, 1))
    rates = ((int(time), 0.0003) for time in candles.time[::8])
    found = judged(candles, tmp_path / "l.sqlite", detail=fine, funding=rates)
    assert found.best.metrics["funding"] != 0.0
    assert found.walked is not None
    assert found.walked.metrics["funding"] != 0.0
    assert found.p_value == report.p_value
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_market_with_sessions_is_judged_too(market_data: Path, tmp_path: Path) -> None:
    path = market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet"
    candles = read_candles(path, exchange="BSE", symbol="RELIANCE")
    windows = WINDOWS.replace(is_length_days=20, oos_length_days=7, stride_days=7)
    found = judged(candles, tmp_path / "l.sqlite", windows=windows, search=SEARCH.replace(num_trials=12))
    assert found.walked is not None
    assert len(found.walked.windows) == 4
    assert found.permutation is not None
    assert found.decision.evidence.years == pytest.approx((2700 - found.best.trade_from) / (75 * 248))
    json.dumps(found.to_dict(), allow_nan=False)


def test_bars_of_a_week_are_judged_by_themselves(tmp_path: Path) -> None:
    weekly = sample_candles("SAMPLE-BTC", "1W", datetime(2018, 1, 1), datetime(2025, 1, 6))
    windows = WINDOWS.replace(is_length_days=730, oos_length_days=364, stride_days=364)
    found = judged(weekly, tmp_path / "l.sqlite", windows=windows, search=SEARCH.replace(num_trials=12))
    assert found.best.metrics["daily_sharpe_ratio"] is None
    assert found.decision.evidence.annual_sharpe == found.best.sharpe_ratio
    assert found.walked is not None
    assert len(found.walked.windows) == 5
    json.dumps(found.to_dict(), allow_nan=False)


def test_candles_may_be_a_list_of_dicts_with_their_identity_beside_them(candles: Candles, tmp_path: Path) -> None:
    found = judged(
        candles[: 60 * 24].to_dicts(), tmp_path / "l.sqlite", permutations=0, exchange="BINANCE", symbol="BTCUSDT",
        timeframe="1h",
    )  # fmt: skip
    assert (found.candles.exchange, found.candles.symbol, str(found.candles.timeframe)) == ("BINANCE", "BTCUSDT", "1H")


def test_without_settings_it_searches_the_balanced_profile_with_99_shuffles() -> None:
    assert PERMUTATIONS == {
        OptimizationProfile.FAST: 39, OptimizationProfile.BALANCED: 99, OptimizationProfile.THOROUGH: 199
    }  # fmt: skip
    assert OptimizationConfig().profile is OptimizationProfile.BALANCED
    assert WalForwardConfig() == WalkForwardConfig()


# Little data.


class Silent(Strategy):
    """Never trades."""

    patience: float = Float(0.5, low=0.1, high=0.9)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(np.zeros(bars.close.size, bool), anchor=ema(bars.close, 2))


def test_no_trades_at_all_are_too_little_data(candles: Candles, tmp_path: Path) -> None:
    found = judged(candles, tmp_path / "l.sqlite", Silent(), search=SEARCH.replace(ranges={"patience": (0.1, 0.9)}))
    assert found.verdict == "TOO LITTLE DATA"
    assert found.reasons[0] == "the result rests on 0 trades; below 30 nothing can be said."
    assert any("0 out-of-sample windows have enough trades" in reason for reason in found.reasons)
    assert any("no trial keeps the guards" in note for note in found.notes)
    assert (found.p_value, found.oos_psr, found.dsr0, found.pbo) == (1.0, None, None, None)
    json.dumps(found.to_dict(), allow_nan=False)


def test_data_shorter_than_the_windows_are_too_little_data(candles: Candles, tmp_path: Path) -> None:
    found = judged(candles[: 50 * 24], tmp_path / "l.sqlite", permutations=0)
    assert found.verdict == "TOO LITTLE DATA"
    assert found.walked is None
    assert found.scenarios == ()
    assert any("no walk-forward" in note and "needs 55 days; the candles span 50." in note for note in found.notes)
    assert any(reason.startswith("only 0 out-of-sample windows") for reason in found.reasons)
    json.dumps(found.to_dict(), allow_nan=False)


def test_two_windows_are_too_few(candles: Candles, tmp_path: Path) -> None:
    found = judged(candles[: 70 * 24], tmp_path / "l.sqlite", permutations=0)
    assert found.verdict == "TOO LITTLE DATA"
    assert found.walked is not None
    assert len(found.walked.windows) == 2
    assert "only 2 out-of-sample windows have enough trades; 3 are needed." in found.reasons


def test_a_handful_of_bars_is_a_verdict_and_no_error(candles: Candles, tmp_path: Path) -> None:
    # The box reaches to 58 bars: an RSI of 8 and its look-back of 50.
    for bars in (60, 62, 64, 70, 120):
        found = judged(candles[:bars], tmp_path / f"{bars}.sqlite")
        assert found.verdict == "TOO LITTLE DATA"
        json.dumps(found.to_dict(), allow_nan=False)


def test_bars_too_few_for_the_search_box_are_one_sentence(candles: Candles, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the search box reaches to .* bars; there are 58\."):
        judged(candles[:58], tmp_path / "l.sqlite")


# What is refused before any work.


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"permutations": 18}, "18 permutations cannot show a p-value of 5 %"),
        ({"permutations": -1}, "-1 permutations cannot show"),
        ({"search": SEARCH.replace(objective=("sharpe_ratio", "net_pnl"))}, "judges one objective; there are several"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_work(
    candles: Candles, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        judged(candles, tmp_path / "l.sqlite", **settings)
    assert not (tmp_path / "l.sqlite").exists()
