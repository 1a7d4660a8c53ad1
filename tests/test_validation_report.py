"""The verdict on paper: its numbers are the report's, what is missing says why, and it is whole or absent."""

import html
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.core.layout import Bars
from barwise.data.synthetic import sample_candles
from barwise.errors import DataError
from barwise.report.files import versions
from barwise.report.optimization_charts import plotly_figure
from barwise.report.validation import (
    finite,
    validation_document,
    write_validation,
    write_walk_forward,
)
from barwise.report.validation_charts import (
    degradation_chart,
    drift_charts,
    fan_chart,
    logit_chart,
    luck_chart,
    path_chart,
    permutation_chart,
    stitched_chart,
    validation_charts,
    window_chart,
)
from barwise.report.validation_page import validation_page, walk_forward_page
from barwise.report.validation_terminal import print_validation, print_walk_forward
from barwise.report.verdict_text import SIGNS, sentence, shown, state
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.lookahead import check_lookahead
from barwise.validation import error_rates as rates_module
from barwise.validation.engine import ValidationReport, validate
from barwise.validation.error_rates import ErrorRates, Measured, error_rates, error_sentence
from barwise.validation.permutation import PermutationTest
from barwise.validation.verdict import Evidence, decide
from barwise.validation.walk_forward import WalkForwardResult
from tests.test_report_browser import NAMES, Browser

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
SIX_MEGABYTES = 6_000_000


class Never(Strategy):
    """Gives no signal at all."""

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=np.zeros(len(bars.close), bool), risk=np.ones(len(bars.close)))


def judged(folder: Path, days: int, strategy: Strategy, permutations: int, **windows: Any) -> ValidationReport:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    candles = sample_candles(start=start, end=datetime.fromtimestamp(start.timestamp() + 86_400 * days, UTC))
    return validate(
        candles, strategy, 0.1, permutations=permutations, windows=WalkForwardConfig(**windows),
        search=OptimizationConfig(
            profile="FAST", optuna_sampler="AUTO", num_trials=20, workers=1, storage=str(folder / "ledger.sqlite")
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ValidationReport:
    """Everything was run: six windows and shuffled markets."""
    return judged(
        tmp_path_factory.mktemp("whole"), 150, EmaRsiAtr(enable_rsi_filter=False), 19,
        is_length_days=30, oos_length_days=20, stride_days=20, min_trades_per_window=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def walked(report: ValidationReport) -> WalkForwardResult:
    assert report.walked is not None
    return report.walked


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ValidationReport:
    """Too short for a window, and no shuffled market."""
    return judged(tmp_path_factory.mktemp("tiny"), 40, EmaRsiAtr(), 0)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> ValidationReport:
    """A strategy that never trades."""
    return judged(tmp_path_factory.mktemp("idle"), 100, Never(), 0)


@pytest.fixture
def known_rates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ErrorRates]:
    """Rates in a file, as the calibration writes it."""
    rates = ErrorRates(
        "1.2.3",
        "2026-01-02",
        (Measured("random walk", 200, 3, 0.0, 1.0), Measured("clustered volatility", 200, 5, 0.0, 1.0)),
        (Measured("momentum", 100, 84, 2.0, 1.0),),
    )
    (tmp_path / "error_rates.json").write_text(json.dumps(rates.to_dict()))
    monkeypatch.setattr(rates_module, "package_files", lambda _: tmp_path)
    error_rates.cache_clear()
    yield rates
    error_rates.cache_clear()


@pytest.fixture
def no_rates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing was measured yet."""
    monkeypatch.setattr(rates_module, "package_files", lambda _: tmp_path / "empty")
    error_rates.cache_clear()
    yield
    error_rates.cache_clear()


def page_of(report: ValidationReport, **more: Any) -> str:
    return validation_page(report, written=WRITTEN, versions=versions(), files={"json": "x.json"}, **more)


def text_of(page: str) -> str:
    """What a reader sees, without scripts and tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def printed(show: Any, what: Any, width: int = 80, **more: Any) -> str:
    out = io.StringIO()
    show(what, Console(file=out, width=width, color_system=None, force_terminal=False), **more)
    return out.getvalue()


# -- What is said about a test -----------------------------------------------------------------------------------------


def test_a_test_is_passed_failed_not_run_or_without_value_by_sign_and_word() -> None:
    whole = Evidence(
        trades=40, years=2.0, annual_sharpe=1.0, needed_years=1.5, luck_line=2.0, p_value=0.03, windows=4,
        oos_sharpe=0.5, oos_psr=0.75, stressed_net=5.0, psr=0.9, dsr0=0.4, pbo=0.05,
    )  # fmt: skip
    states = {test.name: state(test, whole) for test in decide(whole).tests}
    assert states["permutation test"] == "passed"
    assert states["out-of-sample probability"] == "failed"
    assert states["Sharpe above 0"] == "no limit"
    assert states["walk-forward efficiency"] == "no value"
    alone = Evidence(trades=40, years=2.0, annual_sharpe=-1.0)
    states = {test.name: state(test, alone) for test in decide(alone).tests}
    assert states["trades"] == "passed"
    assert states["minimum track record"] == "no value"
    for name in ("permutation test", "out-of-sample Sharpe", "slippage x 2", "backtest overfitting", "scored windows"):
        assert states[name] == "not run", name
    assert set(SIGNS) == {"passed", "failed", "not run", "no value", "no limit"}


@pytest.mark.parametrize(
    ("evidence", "name", "text"),
    [
        ({"p_value": 0.125}, "permutation test", "12.5 %"),
        ({"needed_years": 0.5}, "minimum track record", "6.0 months"),
        ({"needed_years": 3.25}, "minimum track record", "3.2 years"),
        ({"needed_years": math.inf}, "minimum track record", "for ever"),
        ({"stressed_net": -1234.5}, "slippage x 2", "-1,234"),
        ({"oos_sharpe": 0.456}, "out-of-sample Sharpe", "0.46"),
        ({"windows": 12}, "scored windows", "12"),
        ({}, "permutation test", "n/a"),
    ],
)
def test_the_number_of_a_test_has_its_unit(evidence: dict[str, Any], name: str, text: str) -> None:
    tests = decide(Evidence(**{"trades": 40, "years": 2.0, "annual_sharpe": 1.0, **evidence})).tests
    assert shown(next(test for test in tests if test.name == name)) == text


def test_a_sentence_gets_a_capital_and_a_stop_but_a_command_stays_a_command() -> None:
    assert sentence("more data") == "More data."
    assert sentence("more data.") == "More data."
    assert sentence("barwise validate runs it.") == "barwise validate runs it."


# -- Charts ------------------------------------------------------------------------------------------------------------


def test_plotly_takes_every_chart_and_no_role_is_left(report: ValidationReport) -> None:
    charts = validation_charts(report).all()
    names = [chart.name for chart in charts]
    assert len(set(names)) == len(names)
    assert {"luck", "permutation", "windows", "stitched", "logits", "degradation", "fan", "drawdowns"} <= set(names)
    for chart in charts:
        for dark in (False, True):
            assert '"@' not in plotly_figure(chart, dark=dark).to_json(), chart.name


def test_the_luck_chart_stands_both_sharpe_ratios_beside_the_luck_line(report: ValidationReport) -> None:
    chart, evidence = luck_chart(report), report.decision.evidence
    outside, inside = chart.data
    assert inside["x"] == [pytest.approx(evidence.annual_sharpe, rel=1e-6)]
    assert outside["x"] == [pytest.approx(evidence.oos_sharpe, rel=1e-6)]
    [line] = chart.layout["shapes"]
    assert line["x0"] == line["x1"] == report.luck_line
    low, high = chart.layout["xaxis"]["range"]
    assert low < min(0.0, inside["x"][0], outside["x"][0])
    assert high > max(report.luck_line, inside["x"][0], outside["x"][0])
    more = "no more than" if evidence.annual_sharpe <= report.luck_line else "more than"
    assert f"is {more} luck" in chart.title


def test_the_histogram_has_every_shuffled_market_on_its_side_of_the_real_one() -> None:
    nulls = np.array([0.1, 0.2, 0.5, 0.9, 1.0, 2.0, -np.inf])
    test = PermutationTest("sharpe_ratio", 1.0, nulls, 19, 2 / 7, 0.1)
    chart = permutation_chart(test)
    assert chart is not None
    counts = {trace["name"]: sum(trace["y"]) for trace in chart.data}
    assert counts == {"worse than here": 4, "at least as good": 2}
    assert chart.layout["shapes"][0]["x0"] == 1.0
    assert chart.title == "2 of 7 shuffled markets gave the same search at least as much: p = 0.286"
    assert "ended after 7 of 19" in chart.note
    assert "On 1 shuffled market no trial kept the guards" in chart.note


def test_a_histogram_of_drawdowns_shows_them_as_they_are_reported_and_a_users_function_as_it_is() -> None:
    smaller_is_better = PermutationTest("max_drawdown", -2.0, np.array([-3.0, -1.0]), 2, 0.5, 0.1)
    chart = permutation_chart(smaller_is_better)
    assert chart is not None
    assert chart.layout["shapes"][0]["x0"] == 2.0
    own = permutation_chart(PermutationTest("<lambda>", 2.0, np.array([3.0, 1.0]), 2, 0.5, 0.1))
    assert own is not None
    assert own.layout["shapes"][0]["x0"] == 2.0
    assert "<" not in own.layout["xaxis"]["title"]["text"]


def test_without_any_value_there_is_no_histogram() -> None:
    assert permutation_chart(PermutationTest("sharpe_ratio", 1.0, np.array([-np.inf]), 19, 0.5, 0.1)) is None
    assert permutation_chart(PermutationTest("sharpe_ratio", -np.inf, np.array([1.0]), 19, 1.0, 0.1)) is None


def test_each_window_has_both_bars_and_its_trades(walked: WalkForwardResult) -> None:
    chart = window_chart(walked)
    inside, outside = chart.data
    for trace, part in ((inside, "in_sample"), (outside, "out_of_sample")):
        expected = [getattr(window, part).metrics["sharpe_ratio"] for window in walked.windows]
        assert trace["y"] == [None if value is None else pytest.approx(value, rel=1e-6) for value in expected]
    trades = [window.out_of_sample.total_trades for window in walked.windows if window.out_of_sample]
    assert outside["text"] == [str(count) for count in trades]
    faint = [opacity < 1.0 for opacity in outside["marker"]["opacity"]]
    assert faint == [not window.scored for window in walked.windows]
    assert ("Faint" in chart.note) == any(faint)


def test_the_stitched_curve_ends_at_the_stitched_equity_and_shades_every_other_window(
    walked: WalkForwardResult,
) -> None:
    chart = stitched_chart(walked)
    assert chart is not None
    assert chart.data[0]["y"][-1] == pytest.approx(walked.equity[-1], rel=1e-6)
    shades = [shape for shape in chart.layout["shapes"] if shape["type"] == "rect"]
    assert len(shades) == -(-len(walked.pieces) // 2)
    first = walked.windows[0].window
    assert shades[0]["x0"] == first.oos_start.timestamp() * 1000
    assert shades[0]["x1"] == first.oos_end.timestamp() * 1000
    assert stitched_chart(replace(walked, equity=np.empty(0), bars=np.empty(0, int))) is None


def test_the_steps_of_a_parameter_are_its_value_in_each_window(walked: WalkForwardResult) -> None:
    charts = {chart.name.removeprefix("drift-"): chart for chart in drift_charts(walked)}
    assert set(charts) == set(walked.drift)
    for name, values in walked.drift.items():
        [steps] = charts[name].data
        assert steps["y"] == pytest.approx([*values, values[-1]], rel=1e-6)
        assert steps["line"]["shape"] == "hv"


def test_the_logits_hold_every_split_and_the_scatter_the_line_of_all(report: ValidationReport) -> None:
    found = report.selection.pbo
    assert found is not None
    chart = logit_chart(found)
    assert sum(sum(trace["y"]) for trace in chart.data) == found.splits
    below = next(trace for trace in chart.data if trace["name"] == "below the middle")
    assert sum(below["y"]) / found.splits == pytest.approx(found.pbo)
    points, line = degradation_chart(found, 10_000.0).data
    assert len(points["x"]) == 1_000
    assert points["x"][0] == pytest.approx(100.0 * found.in_sample_best[0], rel=1e-6)
    rise = (line["y"][1] - line["y"][0]) / (line["x"][1] - line["x"][0])
    assert rise == pytest.approx(found.slope, rel=1e-3)


def test_each_cross_validated_path_is_a_dot_on_its_side_of_zero_with_the_median_marked() -> None:
    chart = path_chart(np.array([0.5, -1.0, 0.0, 2.0, 1.5]))
    assert chart is not None
    below, above = chart.data
    assert dict(zip(below["y"], below["x"], strict=True)) == {2: -1.0, 3: 0.0}
    assert dict(zip(above["y"], above["x"], strict=True)) == {1: 0.5, 4: 2.0, 5: 1.5}
    zero, middle = chart.layout["shapes"]
    assert (zero["x0"], middle["x0"]) == (0.0, 0.5)
    assert chart.layout["annotations"][0]["text"] == "median: 0.50"
    assert chart.title == "In 3 of 5 cross-validated paths the Sharpe ratio is above 0; its median is 0.50"
    low, high = chart.layout["xaxis"]["range"]
    assert low < -1.0 < 2.0 < high


def test_paths_on_one_side_of_zero_are_shown_with_it_and_paths_without_a_trade_not_at_all() -> None:
    chart = path_chart(np.array([1.0, 2.0]))
    assert chart is not None
    assert [trace["name"] for trace in chart.data] == ["above 0"]
    assert chart.layout["xaxis"]["range"][0] < 0.0
    assert path_chart(np.empty(0)) is None
    assert path_chart(np.zeros(5)) is None


def test_the_fan_runs_over_the_days_that_were_traded(report: ValidationReport, walked: WalkForwardResult) -> None:
    assert report.paths is not None
    chart = fan_chart(report.paths, walked)
    happened = next(trace for trace in chart.data if trace.get("name") == "what happened")
    assert happened["x"][-1] == pytest.approx(len(walked.bars) / 24.0)
    assert happened["y"][0] == 1.0
    assert happened["y"][-1] == pytest.approx(walked.equity[-1] / walked.capital, rel=1e-6)


# -- The page ----------------------------------------------------------------------------------------------------------


def test_the_page_says_the_word_why_and_what_would_change_it(report: ValidationReport) -> None:
    text = text_of(page_of(report))
    assert f"Verdict {report.verdict} {sentence(report.reasons[0])}" in text
    for told in (*report.reasons, *report.decision.would_change, *report.notes):
        assert sentence(told) in text


def test_every_test_is_on_the_page_with_sign_word_number_threshold_and_meaning(report: ValidationReport) -> None:
    text = text_of(page_of(report))
    for test in report.decision.tests:
        found = state(test, report.decision.evidence)
        threshold = "" if test.threshold == "decides nothing" else f"{test.threshold} "
        row = f"{test.name} {SIGNS[found]} {found} {shown(test)} {threshold}{sentence(test.meaning)}"
        assert row in text, test.name


def test_every_chart_has_its_place_and_every_place_its_chart(
    report: ValidationReport, tiny: ValidationReport, idle: ValidationReport
) -> None:
    for one in (report, tiny, idle):
        page = page_of(one)
        places = re.findall(r'id="chart-([^"]+)"', page)
        assert sorted(places) == sorted(chart.name for chart in validation_charts(one).all())


def test_what_was_not_run_says_why_instead_of_an_empty_chart(tiny: ValidationReport, idle: ValidationReport) -> None:
    text = text_of(page_of(tiny))
    assert tiny.verdict == "TOO LITTLE DATA"
    assert "No walk-forward: a walk-forward window of 60 + 20 days needs 80 days; the candles span 40." in text
    assert "Not run. The same search on shuffled markets" in text
    assert "No other histories: there is no out-of-sample result" in text
    assert "Without out-of-sample pieces there is nothing to stress." in text
    text = text_of(page_of(idle))
    assert "No reshuffled trades: fewer than two were made." in text
    assert "The trials cannot be compared" in text


def test_made_up_prices_are_said_to_be_made_up(report: ValidationReport) -> None:
    assert "SYNTHETIC: these prices were made up by a program." in text_of(page_of(report))


def test_the_look_ahead_check_stands_on_the_page_where_it_was_run(report: ValidationReport) -> None:
    found = check_lookahead(EmaRsiAtr(enable_rsi_filter=False), report.candles, prefixes=4, futures=2)
    assert "no look-ahead found" not in text_of(page_of(report))
    assert str(found) in text_of(page_of(report, look_ahead=found))
    assert "no look-ahead found" in " ".join(printed(print_validation, report, look_ahead=found).split())


def test_names_cannot_become_markup(report: ValidationReport) -> None:
    evil = replace(report, notes=("<script>alert('note')</script>",))
    assert "<script>alert" not in page_of(evil)
    assert "&lt;script&gt;alert" in page_of(evil)


def test_the_page_is_one_file_of_less_than_six_megabytes_that_may_load_nothing(report: ValidationReport) -> None:
    page = page_of(report)
    assert len(page.encode()) < SIX_MEGABYTES
    assert "default-src 'none'" in html.unescape(page)
    outside = re.findall(r'(?:src|href)="([^"]+)"', re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL))
    assert outside == []


def test_the_same_report_makes_the_same_page(report: ValidationReport) -> None:
    assert page_of(report) == page_of(report)


@pytest.mark.parametrize(
    ("runs", "years", "markets", "length"),
    [(1, 1.0, "1 market", "1 year"), (2, 2.0, "2 markets", "2 years"), (3, 0.5, "3 markets", "0.5 years")],
)
def test_one_is_told_in_the_singular(runs: int, years: float, markets: str, length: str) -> None:
    noise, edge = Measured("noise", runs, 0, 0.0, 1.0), Measured("edge", 2, 1, 2.0, years)
    assert ErrorRates("1", "2026-01-02", (noise,), (edge,)).sentence() == (
        f"On {markets} without an edge it said LIKELY REAL 0.0 % of the time. "
        f"It finds an edge of a true Sharpe ratio of 2 over {length} in 50 %."
    )


def test_without_measured_rates_the_page_says_that_nobody_knows_them(report: ValidationReport, no_rates: None) -> None:
    assert error_rates() is None
    told = "How often this rule is wrong has not been measured for this release; benchmarks/calibration.py measures it."
    assert error_sentence() == told
    assert told in text_of(page_of(report))
    assert told in " ".join(printed(print_validation, report).split())


def test_measured_rates_stand_on_the_page_in_words_and_as_a_table(
    report: ValidationReport, known_rates: ErrorRates
) -> None:
    assert error_rates() == known_rates
    # 3 of 200 and 5 of 200 are 8 of 400.
    assert known_rates.false_share == 0.02
    told = (
        "On 400 markets without an edge it said LIKELY REAL 2.0 % of the time. It finds an edge of a true Sharpe ratio "
        "of 2 over 1 year in 84 %."
    )
    text = text_of(page_of(report))
    assert told in text
    assert "Measured on 2026-01-02 with barwise 1.2.3" in text
    assert "random walk none 1.0 200 1.5 %" in text


def test_a_walk_forward_alone_has_a_page_without_a_verdict(walked: WalkForwardResult) -> None:
    text = text_of(walk_forward_page(walked, written=WRITTEN, versions=versions(), files={}))
    assert "There is no verdict here: barwise validate runs the other tests too." in text
    assert "STABILITY CHECK" not in text
    fixed = replace(walked, reoptimized=False)
    text = text_of(walk_forward_page(fixed, written=WRITTEN, versions=versions(), files={}))
    assert "STABILITY CHECK, NOT OUT-OF-SAMPLE" in text


# -- The terminal ------------------------------------------------------------------------------------------------------


def test_the_terminal_page_has_the_word_every_deciding_test_and_every_window_in_eighty_columns(
    report: ValidationReport, walked: WalkForwardResult
) -> None:
    text = printed(print_validation, report)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert f"VERDICT   {report.verdict}\n" in re.sub(r" +\n", "\n", text)
    for test in report.decision.tests:
        found = state(test, report.decision.evidence)
        line = rf"^ {re.escape(test.name)} +{re.escape(SIGNS[found])} {found} +{re.escape(shown(test))} "
        assert bool(re.search(line, text, re.MULTILINE)) == test.decides, test.name
    for window in walked.windows:
        assert window.out_of_sample is not None
        assert re.search(
            rf"^ +{window.number} .* {window.out_of_sample.total_trades} +{window.window.oos_start:%Y-%m-%d}",
            text,
            re.MULTILINE,
        )


def test_the_terminal_page_of_a_report_with_nothing_in_it_is_printed_too(
    tiny: ValidationReport, idle: ValidationReport
) -> None:
    for one in (tiny, idle):
        text = printed(print_validation, one)
        assert "VERDICT   TOO LITTLE DATA" in text
        assert "- not run" in text


def test_the_terminal_page_of_a_walk_forward_has_its_scores(walked: WalkForwardResult) -> None:
    text = printed(print_walk_forward, walked)
    assert max(map(len, text.splitlines())) <= 80
    assert f"consistency {100.0 * walked.consistency_score:.0f} %" in text
    assert f"overfitting indicator {walked.overfitting_indicator:.2f}" in text
    assert "STABILITY CHECK" not in text
    assert "STABILITY CHECK, NOT OUT-OF-SAMPLE" in printed(print_walk_forward, replace(walked, reoptimized=False))


# -- Files -------------------------------------------------------------------------------------------------------------


def test_the_files_hold_the_report(report: ValidationReport, walked: WalkForwardResult, tmp_path: Path) -> None:
    files = write_validation(report, tmp_path, written=WRITTEN)
    content = json.loads(files.json.read_text("utf-8"))
    assert content["verdict"] == report.verdict
    assert content["evidence"]["n_trials"] == report.n_trials
    assert [test["name"] for test in content["tests"]] == [test.name for test in report.decision.tests]
    assert len(content["walk_forward"]["windows"]) == len(walked.windows)
    assert content["schema_version"] == 1
    assert "Beside this page: data/results/" in files.html.read_text("utf-8")
    assert files.windows_csv is not None
    assert len(files.windows_csv.read_text("utf-8").splitlines()) == 1 + len(walked.windows)
    assert files.json.name.startswith("validation-")


def test_a_report_without_windows_has_no_table_of_windows(tiny: ValidationReport, tmp_path: Path) -> None:
    files = write_validation(tiny, tmp_path)
    assert files.windows_csv is None
    assert not (tmp_path / "data" / "exports").exists()


def test_a_walk_forward_is_written_under_the_name_of_what_it_is(walked: WalkForwardResult, tmp_path: Path) -> None:
    files = write_walk_forward(walked, tmp_path, written=WRITTEN)
    assert files.json.name == "walk-forward-20250401t120405-sample-btc-1h.json"
    fixed = write_walk_forward(replace(walked, reoptimized=False), tmp_path, written=WRITTEN)
    assert fixed.json.name.startswith("stability-check-")
    assert json.loads(fixed.json.read_text("utf-8"))["kind"] == "stability_check"


def test_numbers_that_json_has_no_word_for_become_none(report: ValidationReport) -> None:
    assert finite({"a": [math.inf, 1.0, (math.nan,)], "b": {"c": -math.inf}, "d": 3}) == {
        "a": [None, 1.0, [None]], "b": {"c": None}, "d": 3,
    }  # fmt: skip
    endless = replace(report, decision=decide(replace(report.decision.evidence, needed_years=math.inf)))
    json.dumps(validation_document(endless), allow_nan=False)


def test_where_a_file_cannot_be_written_none_is_left(report: ValidationReport, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "exports").write_text("in the way")
    with pytest.raises(DataError):
        write_validation(report, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "data" / "exports"]


# -- The browser -------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_browser_draws_every_chart_complains_about_nothing_and_fits_a_phone(
    report: ValidationReport, tiny: ValidationReport, tmp_path: Path
) -> None:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    browser = Browser(program, tmp_path)
    for name, one in (("whole", report), ("tiny", tiny)):
        page = tmp_path / f"{name}.html"
        page.write_text(page_of(one), "utf-8")
        dump, console = browser.run(page, "--dump-dom", "--window-size=1440,1000")
        assert console == []
        for chart in validation_charts(one).all():
            assert "main-svg" in dump.split(f'id="chart-{chart.name}"')[1].split("</figure>")[0], chart.name
        assert browser.ask(page, "return document.documentElement.scrollWidth", 390) <= 390
        assert [chart for chart in browser.on_paper(page) if not chart["fits"]] == []
