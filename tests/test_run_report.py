"""The report of a whole run: its numbers are the results' own, what is missing says why, and it is whole or absent."""

import csv
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.report.files import versions
from barwise.report.findings import RunFindings, StageDone
from barwise.report.optimization_charts import plotly_figure
from barwise.report.run_charts import run_charts
from barwise.report.run_comparison import (
    BASELINE,
    DIFFERENCES,
    FIGURES,
    HELD,
    OPTIMIZED,
    OUT_OF_SAMPLE,
    Comparison,
    Part,
    _of_walk,
    compare,
    same_span,
)
from barwise.report.run_csv import comparison_csv, equity_csv, fills_csv, trade_log, trades_csv, trials_csv, windows_csv
from barwise.report.run_document import notes, run_document
from barwise.report.run_files import RunFiles, write_run_report
from barwise.report.run_page import run_page
from barwise.report.run_terminal import print_run
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.lookahead import check_lookahead
from barwise.validation.engine import ValidationReport, validate
from barwise.validation.error_rates import error_sentence
from barwise.validation.walk_forward import WalkForwardResult
from tests.test_report_browser import NAMES, Browser

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
SIX_MEGABYTES = 6_000_000
GOLDEN = Path(__file__).parent / "golden" / "run_report_schema.json"
# What is under these names is keyed by what a user, a strategy or a venue calls it.
MAPS = frozenset(
    {
        "comparison.baseline.undefined", "comparison.optimized.undefined", "comparison.out_of_sample.undefined",
        "comparison.buy_and_hold.undefined", "configuration", "configuration.*", "hardware", "intervals", "skipped",
        "optimization.plateau.per_parameter", "optimization.plateau.point", "optimization.plateau.steps",
        "optimization.stages[].space", "parameters.baseline", "parameters.changed", "parameters.execution",
        "parameters.fees", "parameters.optimized", "walk_forward.config", "walk_forward.drift",
        "walk_forward.out_of_sample.undefined", "walk_forward.windows[].parameters",
    }
)  # fmt: skip


class Never(Strategy):
    """Gives no signal at all."""

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=np.zeros(len(bars.close), bool), risk=np.ones(len(bars.close)))


class Hostile(EmaRsiAtr):
    """Calls itself a script."""

    @classmethod
    def name(cls) -> str:
        return "<script>document.title = 'taken over'</script>"


def days_of(days: int) -> Candles:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return sample_candles(start=start, end=start + timedelta(days=days))


def run_of(
    folder: Path, candles: Candles, strategy: Strategy, *, permutations: int = 0, trials: int = 20, **windows: Any
) -> RunFindings:
    """Findings as the pipeline leaves them."""
    search = OptimizationConfig(
        profile="FAST", optuna_sampler="AUTO", num_trials=trials, workers=1, storage=str(folder / "ledger.sqlite")
    )
    optimization = optimize(candles, strategy, 0.1, config=search)
    validation = validate(
        candles, strategy, 0.1, permutations=permutations, windows=WalkForwardConfig(**windows), search=search
    )
    baseline = backtest(candles, strategy, 0.1)
    return RunFindings(
        name="run-sample-btc-1h-0a1b2c3d",
        baseline=baseline,
        optimization=optimization,
        validation=validation,
        look_ahead=check_lookahead(strategy, candles, prefixes=5, futures=2),
        stages=(
            StageDone("3", "input", candles.label, 0.01),
            StageDone("5", "baseline", f"{baseline.total_trades} trades", 0.25, "kept"),
            StageDone("7.1", "optimization, integers", "done", 1.5),
            StageDone("8", "walk-forward and verdict", validation.verdict, 75.0),
        ),
        config={"market": {"symbol": candles.symbol, "quantity": 0.1}, "optimization": {"num_trials": trials}},
        n_trials=validation.n_trials,
        hardware={"processor": "two cores", "memory": "4 GiB"},
    )


def whole_run(folder: Path) -> RunFindings:
    """Everything was run: six windows and shuffled markets."""
    return run_of(
        folder, days_of(150), EmaRsiAtr(enable_rsi_filter=False), permutations=19,
        is_length_days=30, oos_length_days=20, stride_days=20, min_trades_per_window=2,
    )  # fmt: skip


def idle_run(folder: Path) -> RunFindings:
    """A strategy that never trades."""
    return run_of(folder, days_of(100), Never(), is_length_days=30, oos_length_days=20, stride_days=20)


def bare_run(findings: RunFindings) -> RunFindings:
    """Only a baseline: the stages after it were skipped."""
    return replace(
        findings,
        optimization=None,
        validation=None,
        look_ahead=None,
        n_trials=None,
        hardware={},
        stages=(
            StageDone("5", "baseline", "done", 0.25),
            StageDone("7", "optimization", "the span is shorter than the longest period of the box", 0.0, "skipped"),
            StageDone("8", "verdict", "without a search there is nothing to judge", 0.0, "skipped"),
        ),
    )


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> RunFindings:
    return whole_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> RunFindings:
    return idle_run(tmp_path_factory.mktemp("idle"))


@pytest.fixture(scope="module")
def bare(findings: RunFindings) -> RunFindings:
    return bare_run(findings)


@pytest.fixture(scope="module")
def report(findings: RunFindings) -> ValidationReport:
    assert findings.validation is not None
    return findings.validation


@pytest.fixture(scope="module")
def walked(report: ValidationReport) -> WalkForwardResult:
    assert report.walked is not None
    return report.walked


@pytest.fixture(scope="module")
def optimization(findings: RunFindings) -> OptimizationResult:
    assert findings.optimization is not None
    return findings.optimization


@pytest.fixture(scope="module")
def document(findings: RunFindings) -> dict[str, Any]:
    return run_document(findings, WRITTEN)


def page_of(findings: RunFindings) -> str:
    return run_page(findings, written=WRITTEN, versions=versions(), files={"json": "data/results/x.json", "html": "x"})


def text_of(page: str) -> str:
    """What a reader sees, folded parts too."""
    body = page.split("<body>")[1].split('<script type="application/json"', maxsplit=1)[0]
    return html.unescape(re.sub(r"<[^>]+>", "\n", body)).replace("\u00a0", " ")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# -- The comparison ----------------------------------------------------------------------------------------------------


def part(name: str, first: int, end: int, **metrics: float | None) -> Part:
    """A part by hand over some hours of the sample market."""
    candles = days_of(40)
    return Part(
        name=name, label=name, candles=candles, bars=np.arange(first, end), metrics=metrics, undefined={},
        equity=np.full(end - first, 1000.0), capital=1000.0, held={},
    )  # fmt: skip


def figure(name: str) -> Any:
    return next(one for one in FIGURES if one.name == name)


def test_differences_are_those_a_pencil_finds() -> None:
    found = Comparison(
        {
            BASELINE: part(BASELINE, 0, 720, net_pnl=100.0, win_rate=40.0, total_trades=12, max_drawdown=3.0),
            OPTIMIZED: part(OPTIMIZED, 0, 720, net_pnl=160.0, win_rate=55.0, total_trades=10, max_drawdown=2.0),
            OUT_OF_SAMPLE: part(OUT_OF_SAMPLE, 360, 720, net_pnl=40.0, win_rate=50.0, total_trades=7, max_drawdown=1.5),
        }
    )
    better, unseen = DIFFERENCES
    assert found.difference(better, figure("net_pnl")) == 60.0
    assert found.difference(better, figure("win_rate")) == 15.0
    assert found.difference(better, figure("trades")) == -2
    assert found.difference(better, figure("max_drawdown")) == -1.0
    # 720 hours are 30 days; 360 hours are 15, so 40 in them are 80 in 30 days.
    assert found.difference(better, figure("net_pnl_per_30_days")) == pytest.approx(60.0)
    assert found.difference(unseen, figure("net_pnl_per_30_days")) == pytest.approx(80.0 - 160.0)
    assert found.difference(unseen, figure("trades_per_30_days")) == pytest.approx(14.0 - 10.0)
    assert found.difference(unseen, figure("win_rate")) == -5.0
    # Half the span: neither its profit nor its drawdown can be subtracted from those of the whole.
    for total in ("net_pnl", "trades", "max_drawdown"):
        assert found.difference(unseen, figure(total)) is None
    assert found.spans_differ


def test_every_figure_that_grows_with_the_span_is_a_total_or_an_extreme() -> None:
    assert {one.name for one in FIGURES if one.grows} == {
        "trades", "net_pnl", "total_return", "max_drawdown", "fees", "slippage", "funding",
    }  # fmt: skip


def test_a_difference_with_an_undefined_figure_is_undefined() -> None:
    found = Comparison(
        {
            BASELINE: part(BASELINE, 0, 720, profit_factor=None, sortino_ratio=1.0),
            OPTIMIZED: part(OPTIMIZED, 0, 720, profit_factor=2.0, sortino_ratio=1.5),
        }
    )
    assert found.difference(DIFFERENCES[0], figure("profit_factor")) is None
    assert found.difference(DIFFERENCES[0], figure("sortino_ratio")) == 0.5
    assert found.difference(DIFFERENCES[1], figure("sortino_ratio")) is None


@pytest.mark.parametrize(
    ("first", "end", "same"),
    [(0, 800, True), (40, 800, True), (41, 800, False), (0, 799, False), (400, 800, False)],
)
def test_a_span_is_the_same_where_it_ends_together_and_is_no_more_than_a_twentieth_shorter(
    first: int, end: int, same: bool
) -> None:
    assert same_span(part(BASELINE, 0, 800), part(OPTIMIZED, first, end)) is same


def test_years_leave_out_what_lies_between_windows() -> None:
    gap = replace(part(OUT_OF_SAMPLE, 0, 48), bars=np.concatenate([np.arange(24), np.arange(100, 124)]))
    assert gap.years == pytest.approx(2 / 365.2425)


def test_parts_have_the_numbers_of_their_results_to_the_bit(
    findings: RunFindings, optimization: OptimizationResult, walked: WalkForwardResult, document: dict[str, Any]
) -> None:
    names = {one.name: one.metric for one in FIGURES if one.metric}
    results = {BASELINE: findings.baseline.metrics, OPTIMIZED: optimization.best.metrics, OUT_OF_SAMPLE: walked.metrics}
    for name, metrics in results.items():
        figures = document["comparison"][name]["figures"]
        for shown, metric in names.items():
            if metric in metrics:
                assert figures[shown] == metrics[metric], (name, shown)
    held = document["comparison"][HELD]["figures"]
    assert held["sharpe_ratio"] == findings.baseline.metrics["buy_and_hold"]["sharpe_ratio"]
    assert held["trades"] is held["net_pnl"] is None
    assert document["comparison"][OUT_OF_SAMPLE]["figures"]["daily_sharpe_ratio"] is not None


def test_the_stitched_series_sharpe_by_day_is_that_of_its_days(walked: WalkForwardResult) -> None:
    days = walked.candles.time[walked.bars] // 86_400_000
    last = np.flatnonzero(np.diff(days, append=days[-1] + 1))
    closes = np.concatenate([[walked.capital], walked.equity[last]])
    daily = closes[1:] / closes[:-1] - 1.0
    expected = daily.mean() / daily.std(ddof=1) * np.sqrt(365.0)
    assert _of_walk(walked).metrics["daily_sharpe_ratio"] == pytest.approx(expected, rel=1e-3)


def test_differences_in_the_document_are_those_of_its_own_figures(document: dict[str, Any]) -> None:
    comparison = document["comparison"]
    for pair in DIFFERENCES:
        told = comparison["differences"][pair.name]
        assert told["sharpe_ratio"] == (
            comparison[pair.part]["figures"]["sharpe_ratio"] - comparison[pair.base]["figures"]["sharpe_ratio"]
        )
    assert "net_pnl" in comparison["differences"]["optimized_minus_baseline"]
    assert "net_pnl" not in comparison["differences"]["out_of_sample_minus_optimized"]
    assert "net_pnl_per_30_days" in comparison["differences"]["out_of_sample_minus_optimized"]


def test_costs_lead_from_the_result_before_them_to_the_net_result(
    document: dict[str, Any], walked: WalkForwardResult
) -> None:
    for name in (BASELINE, OPTIMIZED, OUT_OF_SAMPLE):
        chain = document["costs"][name]
        assert chain["before_costs"] - chain["slippage"] == chain["gross_pnl"]
        assert chain["gross_pnl"] - chain["fees"] - chain["funding"] == chain["net_pnl"]
    assert document["costs"][OUT_OF_SAMPLE]["net_pnl"] == pytest.approx(walked.metrics["net_pnl"], rel=1e-12)
    assert document["costs"][OUT_OF_SAMPLE]["fees"] == pytest.approx(walked.metrics["fees"], rel=1e-12)


# -- The document ------------------------------------------------------------------------------------------------------


def test_the_document_has_the_verdict_with_every_test_and_its_error_rate(
    document: dict[str, Any], report: ValidationReport
) -> None:
    verdict = document["verdict"]
    assert (verdict["word"], verdict["reasons"]) == (report.verdict, list(report.reasons))
    assert verdict["would_change"] == list(report.decision.would_change)
    assert [test["name"] for test in verdict["tests"]] == [test.name for test in report.decision.tests]
    assert verdict["error_rate"] == error_sentence()
    assert verdict["evidence"]["p_value"] == report.p_value


def test_the_document_has_bands_tiers_windows_and_tests_of_the_results(
    document: dict[str, Any], findings: RunFindings, optimization: OptimizationResult, report: ValidationReport
) -> None:
    for name, result in ((BASELINE, findings.baseline), (OPTIMIZED, optimization.best)):
        assert document["band"][name] == vars(result.band)
        assert document["tiers"][name]["tiers"] == result.tier_statistics
    assert report.walked is not None
    assert report.permutation is not None
    assert len(document["walk_forward"]["windows"]) == len(report.walked.windows)
    assert document["permutation"]["p_value"] == report.permutation.p_value
    assert document["overfitting"]["pbo"] == report.pbo
    assert document["luck_line"] == report.luck_line
    assert [stage["stage"] for stage in document["optimization"]["stages"]] == ["7.1", "7.2", "7.3"]
    assert document["optimization"]["stages"][0]["best_value"] == optimization.stages[0].best_value
    assert "fan" not in document["monte_carlo"]["paths"]
    assert document["reproduce"]["fingerprint"] == findings.baseline.candles.fingerprint


def test_changed_parameters_are_those_of_the_search(document: dict[str, Any], optimization: OptimizationResult) -> None:
    changed = document["parameters"]["changed"]
    assert {name: one["to"] for name, one in changed.items()} == optimization.best_params
    for name, one in changed.items():
        assert one["from"] == getattr(optimization.baseline.strategy, name)


def test_the_document_is_plain_json_without_a_number_that_json_has_no_word_for(
    findings: RunFindings, idle: RunFindings, bare: RunFindings
) -> None:
    odd = replace(findings, config={"a": {"folder": Path("x"), "list": [Path("y"), 1]}})
    for one in (findings, idle, bare, odd):
        content = run_document(one, WRITTEN)
        assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert run_document(odd, WRITTEN)["configuration"] == {"a": {"folder": "x", "list": ["y", 1]}}


def test_what_was_not_run_is_null_and_says_why(bare: RunFindings) -> None:
    content = run_document(bare, WRITTEN)
    assert content["optimization"] is content["walk_forward"] is content["permutation"] is None
    assert content["comparison"][OPTIMIZED] is content["comparison"][OUT_OF_SAMPLE] is None
    assert content["comparison"]["differences"] == {pair.name: {} for pair in DIFFERENCES}
    assert content["verdict"]["word"] is None
    assert content["verdict"]["reasons"] == ["without a search there is nothing to judge"]
    assert content["skipped"]["7"] == "the span is shorter than the longest period of the box"


def types_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every path of a document with the type that is there; `*` for names that are data, `[]` for entries of a list."""
    if isinstance(value, dict):
        yield path, "object"
        for name, item in value.items():
            yield from types_of(item, f"{path}.{'*' if path in MAPS else name}".lstrip("."))
    elif isinstance(value, list):
        yield path, "array"
        for item in value:
            yield from types_of(item, f"{path}[]")
    elif isinstance(value, bool):
        yield path, "boolean"
    else:
        yield path, {type(None): "null", int: "number", float: "number", str: "string"}[type(value)]


def structure(*runs: RunFindings) -> dict[str, str]:
    """Types by path over several documents."""
    found: dict[str, set[str]] = {}
    for one in runs:
        for path, kind in types_of(run_document(one, WRITTEN)):
            found.setdefault(path, set()).add(kind)
    return {path: " or ".join(sorted(kinds)) for path, kinds in sorted(found.items())}


def write_golden(folder: Path) -> None:
    """Write the structure anew, after a change that was meant; a key that went needs a new schema version."""
    whole = whole_run(folder)
    text = json.dumps(structure(whole, idle_run(folder), bare_run(whole)), indent=1)
    GOLDEN.write_text(f"{text}\n", "utf-8")


def test_the_structure_of_the_document_is_the_one_on_record(
    findings: RunFindings, idle: RunFindings, bare: RunFindings
) -> None:
    known, found = json.loads(GOLDEN.read_text("utf-8")), structure(findings, idle, bare)
    changed = {path: (known.get(path), found.get(path)) for path in {*known, *found}}
    changed = {path: pair for path, pair in changed.items() if pair[0] != pair[1]}
    assert changed == {}, "meant? then write_golden(); a key that went or changed its type needs a new schema version"


def test_a_key_that_goes_would_be_noticed(findings: RunFindings) -> None:
    content = run_document(findings, WRITTEN)
    before = dict(types_of(content))
    del content["band"]["baseline"]["worst"]
    assert dict(types_of(content)) != before


def test_notes_are_told_once_and_the_gravest_come_first(findings: RunFindings, report: ValidationReport) -> None:
    told = notes(findings)
    assert len({text for _, text in told}) == len(told)
    assert {note for part, note in told if part == "validation"} >= set(report.notes)
    assert findings.optimization is not None
    ended = replace(findings, optimization=replace(findings.optimization, interrupted=True))
    assert notes(ended)[0][0] == "optimization"
    other = replace(report, best=findings.baseline)
    assert any("chose other parameters" in text for _, text in notes(replace(findings, validation=other)))


# -- The page ----------------------------------------------------------------------------------------------------------


def test_the_page_begins_with_the_verdict_why_and_how_sure(findings: RunFindings, report: ValidationReport) -> None:
    text = text_of(page_of(findings))
    word, because, sure = (
        text.index(one) for one in (f"\n{report.verdict}\n", report.reasons[0][1:], error_sentence()[:40])
    )
    assert word < because < sure < text.index("Side by side")


def test_the_page_shows_the_figures_of_every_part_and_their_differences(
    findings: RunFindings, walked: WalkForwardResult
) -> None:
    page = page_of(findings)
    table = page.split('id="side-by-side"')[1].split("</table>")[0]
    rows = {
        row[0]: row[1:] for row in (re.findall(r"<t[hd][^>]*>([^<]*)", line) for line in table.split("<tr>")) if row
    }
    before, after = findings.baseline.sharpe_ratio, findings.chosen.sharpe_ratio
    unseen, held = walked.metrics["sharpe_ratio"], findings.baseline.metrics["buy_and_hold"]["sharpe_ratio"]
    assert rows["Sharpe, annual"] == [
        f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}", f"{unseen:.2f}", f"{unseen - after:+.2f}",
        f"{held:.2f}",
    ]  # fmt: skip
    assert rows["trades"] == [
        f"{findings.baseline.total_trades}", f"{findings.chosen.total_trades}",
        f"{findings.chosen.total_trades - findings.baseline.total_trades:+}".replace("+0", "0"),
        f"{len(walked.trades)}", "", "",
    ]  # fmt: skip


def test_sections_are_in_the_order_of_the_questions(findings: RunFindings, report: ValidationReport) -> None:
    page = page_of(replace(findings, validation=replace(report, notes=("something to know.",))))
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert headings == [
        "Verdict", "Side by side", "Equity", "Costs", "Order inside a bar", "Walk-forward", "Shuffled markets", "Luck",
        "Search", "Fills by tier", "Price and trades", "Other histories", "Months", "Data", "Notes", "Stages",
        "Reproducing this",
    ]  # fmt: skip


def test_every_chart_has_its_place_and_plotly_takes_it(
    findings: RunFindings, idle: RunFindings, bare: RunFindings
) -> None:
    for one in (findings, idle, bare):
        page, charts = page_of(one), run_charts(one, compare(one))
        for name, chart in charts.items():
            assert page.count(f'id="chart-{name}"') == 1, name
            for dark in (False, True):
                assert '"@' not in plotly_figure(chart, dark=dark).to_json(), name
        assert len(re.findall(r'id="chart-', page)) == len(charts)
    assert set(run_charts(findings, compare(findings))) == {
        "equity", "part-costs", "windows", "permutation", "luck", "fan", "history", "plateau", "candles",
    }  # fmt: skip


def test_the_equity_chart_has_every_part_and_shades_what_was_out_of_sample(
    findings: RunFindings, walked: WalkForwardResult
) -> None:
    chart = run_charts(findings, compare(findings))["equity"]
    assert {trace["name"] for trace in chart.data} == {"baseline", "optimized", "out-of-sample", "buy and hold"}
    (shade,) = chart.layout["shapes"]
    assert shade["x0"] == int(walked.candles.time[walked.bars[0]])
    assert shade["x1"] == int(walked.candles.time[walked.bars[-1]]) + 3_600_000
    stitched = next(trace for trace in chart.data if trace["name"] == "out-of-sample")
    assert max(trace["line"]["width"] for trace in chart.data) == stitched["line"]["width"]
    assert stitched["y"][-1] == pytest.approx(walked.equity[-1], rel=1e-7)


def test_the_cost_chart_is_per_trade(findings: RunFindings, document: dict[str, Any]) -> None:
    chart = run_charts(findings, compare(findings))["part-costs"]
    for trace, name in zip(chart.data, (BASELINE, OPTIMIZED, OUT_OF_SAMPLE), strict=True):
        trades, costs = document["comparison"][name]["figures"]["trades"], document["costs"][name]
        assert trace["y"] == ["before costs", "slippage", "fees", "net"]
        expected = [costs["before_costs"], -costs["slippage"], -costs["fees"], costs["net_pnl"]]
        assert trace["x"] == pytest.approx([amount / trades for amount in expected], rel=1e-7)


def test_where_a_stage_was_not_run_its_sections_say_why(bare: RunFindings) -> None:
    page = page_of(bare)
    for heading, why in (
        ("walk-forward", "Without a search there is nothing to judge."),
        ("shuffled-markets", "Without a search there is nothing to judge."),
        ("luck", "Without a search there is nothing to judge."),
        ("other-histories", "Without a search there is nothing to judge."),
        ("search", "The span is shorter than the longest period of the box."),
    ):
        assert why in page.split(f'id="{heading}"')[1].split("</section>")[0], heading
    assert "NO VERDICT" in text_of(page)


def test_a_run_without_a_trade_has_a_page_too(idle: RunFindings) -> None:
    page = page_of(idle)
    assert "No trade was made, so there are no costs." in text_of(page)
    assert "TOO LITTLE DATA" in text_of(page)
    assert 'id="chart-part-costs"' not in page


def test_a_stability_check_is_not_called_out_of_sample(findings: RunFindings, report: ValidationReport) -> None:
    assert report.walked is not None
    fixed = replace(findings, validation=replace(report, walked=replace(report.walked, reoptimized=False)))
    page = page_of(fixed)
    assert "STABILITY CHECK, NOT OUT-OF-SAMPLE" in text_of(page)
    assert run_document(fixed, WRITTEN)["comparison"][OUT_OF_SAMPLE]["label"] == "stability check"


def test_what_must_be_known_before_any_number_stands_above_them(
    findings: RunFindings, optimization: OptimizationResult
) -> None:
    ended = replace(findings, optimization=replace(optimization, interrupted=True, stages=(), plateau=None))
    before = text_of(page_of(ended)).split("Verdict")[0]
    assert "SYNTHETIC: these prices were made up" in before
    assert "INTERRUPTED: the search was ended" in before
    assert "INTERRUPTED" not in page_of(findings)
    assert run_document(ended, WRITTEN)["optimization"]["stages"] == []


def hostile_run(findings: RunFindings) -> RunFindings:
    name = "=<img src=x onerror=\"document.title='taken over'\">"
    candles = days_of(60).to_polars()
    baseline = backtest(
        candles, Hostile(enable_rsi_filter=False), 0.1, symbol=name, exchange="<b>", timeframe="1H",
        execution=ExecutionConfig(maker_fee=0.001, taker_fee=0.001),
    )  # fmt: skip
    return replace(
        bare_run(findings),
        baseline=baseline,
        stages=(StageDone("8", "<i>", "</script><script>alert(1)</script>", 0.0, "skipped"),),
        config={"<u>": {"<s>": "<script>"}},
        hardware={"<em>": "<script>"},
    )


def test_names_that_want_to_be_markup_are_shown_as_they_are(findings: RunFindings) -> None:
    page = page_of(hostile_run(findings))
    body = page.split("<body>")[1].split('<script type="application/json"')[0]
    for tag in ("<img", "<script", "<i>", "<u>", "<s>", "<em>", "<b>", "<IMG"):
        assert tag not in body, tag
    assert "&lt;script&gt;document.title" in body
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in body.replace("&lt;/Script", "&lt;/script")


def test_the_page_loads_nothing(findings: RunFindings) -> None:
    page = page_of(findings)
    head, body = page.split("<body>")
    assert "default-src &#x27;none&#x27;" in head
    markup = head + body.split('<script type="application/json"')[0]
    assert not re.search(r"<(?:link|img|iframe|object|script|source)\b", markup)
    assert "url(" not in markup
    assert "@import" not in markup


@pytest.mark.slow
def test_the_page_of_a_run_on_forty_thousand_bars_stays_below_six_megabytes(market_data: Path, tmp_path: Path) -> None:
    path = market_data / "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
    candles = read_candles(path, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")
    assert len(candles) > 39_000
    found = run_of(
        tmp_path, candles, EmaRsiAtr(enable_rsi_filter=False), is_length_days=120, oos_length_days=90, stride_days=90
    )
    assert found.baseline.total_trades > 300
    assert len(page_of(found).encode()) < SIX_MEGABYTES


# -- The terminal ------------------------------------------------------------------------------------------------------


def printed(findings: RunFindings, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_run(findings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_the_word_the_parts_side_by_side_and_how_sure_it_is(
    width: int, findings: RunFindings, report: ValidationReport, walked: WalkForwardResult
) -> None:
    text = printed(findings, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert re.search(rf"^ VERDICT   {report.verdict} *$", text, re.MULTILINE)
    numbers = (findings.baseline.sharpe_ratio, findings.chosen.sharpe_ratio, walked.metrics["sharpe_ratio"])
    shown = " +".join(re.escape(f"{value:.2f}") for value in numbers)
    assert re.search(rf"^ Sharpe, annual +{shown} ", text, re.MULTILINE)
    whole = " ".join(text.split())
    assert "configurations are on record for these candles" in whole
    assert error_sentence() in whole
    assert "compare rates, not totals" in whole


def test_the_terminal_says_what_was_not_run(bare: RunFindings, idle: RunFindings) -> None:
    text = " ".join(printed(bare, 80).split())
    assert "VERDICT NONE Without a search there is nothing to judge." in text
    assert "Not run The span is shorter than the longest period of the box." in text
    assert "VERDICT TOO LITTLE DATA" in " ".join(printed(idle, 80).split())


def test_no_more_than_three_notes_are_printed_and_the_rest_is_counted(
    findings: RunFindings, report: ValidationReport
) -> None:
    many = replace(findings, validation=replace(report, notes=("one.", "two.", "three.", "four.", "five.")))
    text = printed(many, 80)
    assert "Three." in text
    assert "Four." not in text
    assert f"{len(notes(many)) - 3} more in the report" in text


# -- Tables ------------------------------------------------------------------------------------------------------------


def test_trades_and_fills_of_all_parts_come_back_to_the_bit(
    findings: RunFindings, optimization: OptimizationResult, walked: WalkForwardResult
) -> None:
    found = compare(findings)
    results = {BASELINE: [findings.baseline], OPTIMIZED: [optimization.best], OUT_OF_SAMPLE: list(walked.pieces)}
    rows, fills = rows_of(trades_csv(found)), rows_of(fills_csv(found))
    for name, pieces in results.items():
        mine = [row for row in rows if row["part"] == name]
        trades = [trade for piece in pieces for trade in piece.trades]
        assert len(mine) == len(trades) > 0
        for row, trade in zip(mine, trades, strict=True):
            assert float(row["net_pnl (quote)"]) == trade.net_pnl
            assert float(row["entry_price (quote)"]) == trade.entry_price
            assert row["exit_time (UTC)"] == f"{trade.exit_time:%Y-%m-%dT%H:%M:%SZ}"
        prices = [float(row["price (quote)"]) for row in fills if row["part"] == name]
        entered = [fill for piece in pieces for program in piece.programs for fill in program.fills]
        assert prices == [fill.price for fill in entered]
    numbers = {row["piece"] for row in rows if row["part"] == OUT_OF_SAMPLE}
    assert numbers <= {str(number) for number in range(1, len(walked.pieces) + 1)}
    assert {row["piece"] for row in rows if row["part"] == BASELINE} == {""}


def test_equity_of_all_parts_stands_beside_each_other_to_the_bit(
    findings: RunFindings, optimization: OptimizationResult, walked: WalkForwardResult
) -> None:
    rows = rows_of(equity_csv(compare(findings)))
    candles = findings.baseline.candles
    curves = {
        BASELINE: (range(findings.baseline.trade_from, len(candles)), findings.baseline.equity_curve),
        OPTIMIZED: (range(optimization.best.trade_from, len(candles)), optimization.best.equity_curve),
        OUT_OF_SAMPLE: (walked.bars.tolist(), walked.equity),
    }
    by_time = {row["bar_open (UTC)"]: row for row in rows}
    for name, (bars, values) in curves.items():
        column = f"{name} equity at close (quote)"
        for bar, value in zip(bars, values.tolist(), strict=True):
            time = np.datetime_as_string(candles.time[bar].astype("datetime64[ms]"), unit="s")
            assert float(by_time[f"{time}Z"][column]) == value
        assert sum(bool(row[column]) for row in rows) == len(values)


def test_the_comparison_table_has_the_figures_of_the_document(findings: RunFindings, document: dict[str, Any]) -> None:
    rows = {row["figure"]: row for row in rows_of(comparison_csv(compare(findings)))}
    for name in (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD):
        for figure_name, value in document["comparison"][name]["figures"].items():
            assert rows[figure_name][name] == "" if value is None else float(rows[figure_name][name]) == value
        assert rows["bars"][name] == str(document["comparison"][name]["span"]["bars"])
        assert rows["end"][name] == document["comparison"][name]["span"]["end"].replace("+00:00", "Z")
    for pair in DIFFERENCES:
        for figure_name, value in document["comparison"]["differences"][pair.name].items():
            assert float(rows[figure_name][pair.name]) == value
    assert rows["net_pnl"]["out_of_sample_minus_optimized"] == ""


def test_windows_and_trials_come_back_to_the_bit(optimization: OptimizationResult, walked: WalkForwardResult) -> None:
    windows = rows_of(windows_csv(walked))
    assert [int(row["window"]) for row in windows] == [window.number for window in walked.windows]
    for row, window in zip(windows, walked.windows, strict=True):
        assert window.out_of_sample is not None
        assert float(row["oos_net_pnl"]) == window.out_of_sample.net_pnl
        assert row["oos_start"] == f"{window.window.oos_start:%Y-%m-%dT%H:%M:%SZ}"
    frame, trials = optimization.frame(), rows_of(trials_csv(optimization))
    assert len(trials) == len(frame) == sum(len(stage.trials) for stage in optimization.stages)
    for row, value in zip(trials, frame["net_pnl"].to_list(), strict=True):
        assert float(row["net_pnl"]) == value
    ratios = [None if row["sharpe_ratio"] == "" else float(row["sharpe_ratio"]) for row in trials]
    assert ratios == [None if np.isnan(value) else value for value in frame["sharpe_ratio"].to_list()]


def test_tables_are_what_spreadsheets_take(findings: RunFindings, optimization: OptimizationResult) -> None:
    found = compare(findings)
    for text in (
        trades_csv(found),
        fills_csv(found),
        equity_csv(found),
        comparison_csv(found),
        trials_csv(optimization),
    ):
        assert text.endswith("\r\n")
        assert text.count("\r\n") == text.count("\n")
        cells = [value for row in csv.reader(io.StringIO(text, newline="")) for value in row]
        assert not any(re.fullmatch(r"[+-]?\d+(\.\d+)?[eE][+-]?\d+|nan|inf|-inf|None", value) for value in cells)
        assert not any(value[:1] in ("=", "@", "+", "\t") for value in cells)
        widths = {len(row) for row in csv.reader(io.StringIO(text, newline=""))}
        assert len(widths) == 1


def test_a_symbol_cannot_become_a_formula(findings: RunFindings) -> None:
    text = trades_csv(compare(hostile_run(findings)))
    symbols = {row["symbol"] for row in rows_of(text)}
    assert len(symbols) == 1
    assert symbols.pop().startswith("'=<IMG")


def test_the_trade_log_names_the_part_of_every_event(findings: RunFindings, walked: WalkForwardResult) -> None:
    events = [json.loads(line) for line in trade_log(compare(findings)).splitlines()]
    runs = [(event["part"], event["piece"]) for event in events if event["event"] == "run"]
    pieces: list[tuple[str, int | None]] = [(OUT_OF_SAMPLE, number) for number in range(1, len(walked.pieces) + 1)]
    assert runs == [(BASELINE, None), (OPTIMIZED, None), *pieces]
    nets = [event["net_pnl"] for event in events if event["event"] == "trade" and event["part"] == OUT_OF_SAMPLE]
    assert nets == [trade.net_pnl for trade in walked.trades]


# -- Files -------------------------------------------------------------------------------------------------------------


def contents(files: RunFiles) -> dict[str, str]:
    return {name: path.read_bytes().decode() for name, path in files.all().items()}


def test_every_file_lies_where_the_documentation_says(findings: RunFindings, tmp_path: Path) -> None:
    files = write_run_report(findings, tmp_path, written=WRITTEN)
    name = findings.name
    assert sorted(path.relative_to(tmp_path).as_posix() for path in files.all().values()) == sorted(
        [
            *(
                f"data/results/{name}{end}"
                for end in (".html", ".json", ".stage5.json", ".stage7.json", ".stage8.json")
            ),
            *(
                f"data/exports/{name}-{table}.csv"
                for table in ("comparison", "trades", "fills", "equity", "windows", "trials")
            ),
            f"data/raw_logs/SAMPLE/SAMPLE-BTC/{name}.jsonl",
        ]
    )
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(files.all().values())
    assert json.loads(files.stage5.read_text("utf-8"))["metrics"] == findings.baseline.metrics
    kinds = {}
    for path in (files.json, files.stage7, files.stage8):
        assert path is not None
        kinds[path.name] = json.loads(path.read_text("utf-8"))["kind"]
    assert list(kinds.values()) == ["run", "optimization", "validation"]
    for path in (files.json, files.stage7):
        assert path is not None
        assert json.loads(path.read_text("utf-8"))["written"] == WRITTEN.isoformat()
    assert f"data/exports/{name}-trades.csv" in files.html.read_text("utf-8")


def test_a_stage_that_was_not_run_this_time_leaves_no_file_of_last_time(
    findings: RunFindings, bare: RunFindings, tmp_path: Path
) -> None:
    write_run_report(findings, tmp_path, written=WRITTEN)
    files = write_run_report(bare, tmp_path, written=WRITTEN)
    assert files.stage7 is files.stage8 is files.windows_csv is files.trials_csv is None
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files.all().values())
    assert "stage7" not in files.html.read_text("utf-8").split("<footer>")[1].split("</footer>")[0]


def without_clock(name: str, text: str) -> str:
    """A file with everything blanked that the clock decides."""
    if name == "html":
        return re.sub(r'(<\w+[^>]*class="[^"]*\bclock\b[^"]*"[^>]*>)[^<]*', r"\1", text)
    if name in ("json", "stage5", "stage7", "stage8"):
        return json.dumps(blanked(json.loads(text)))
    return text


def blanked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: None if key in ("written", "seconds", "measured_at") else blanked(item) for key, item in value.items()
        }
    return [blanked(item) for item in value] if isinstance(value, list) else value


def test_two_reports_of_the_same_run_differ_only_where_the_clock_is_named(
    findings: RunFindings, report: ValidationReport, optimization: OptimizationResult, tmp_path: Path
) -> None:
    slower = replace(
        findings,
        stages=tuple(replace(stage, seconds=10.0 * stage.seconds + 61.0) for stage in findings.stages),
        optimization=replace(
            optimization,
            seconds=99.0,
            stages=tuple(replace(stage, seconds=stage.seconds + 5.0) for stage in optimization.stages),
        ),
        validation=replace(report, seconds=dict.fromkeys(report.seconds, 7.0)),
    )
    first = contents(write_run_report(findings, tmp_path / "a", written=WRITTEN))
    second = contents(write_run_report(slower, tmp_path / "b", written=WRITTEN + timedelta(days=40)))
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"html", "json", "stage7", "stage8"}
    for name, text in first.items():
        assert without_clock(name, text) == without_clock(name, second[name]), name


def test_the_same_findings_at_the_same_time_are_the_same_bytes(findings: RunFindings, tmp_path: Path) -> None:
    first = contents(write_run_report(findings, tmp_path, written=WRITTEN))
    assert contents(write_run_report(findings, tmp_path, written=WRITTEN)) == first


def test_where_a_file_cannot_be_written_none_is_left(findings: RunFindings, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "exports").write_text("in the way")
    with pytest.raises(DataError):
        write_run_report(findings, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "data" / "exports"]


@pytest.mark.parametrize("name", ["../run", "", "a/b", ".hidden", "run 1"])
def test_a_name_that_is_a_path_is_refused(name: str, bare: RunFindings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no name for the files"):
        write_run_report(replace(bare, name=name), tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- The browser -------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Chromium; the test is skipped, visibly, where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    return Browser(program, tmp_path)


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["whole", "idle", "bare", "hostile"])
def test_a_browser_draws_every_chart_complains_about_nothing_and_fits_a_phone(
    kind: str, findings: RunFindings, idle: RunFindings, bare: RunFindings, browser: Browser, tmp_path: Path
) -> None:
    one = {"whole": findings, "idle": idle, "bare": bare, "hostile": hostile_run(findings)}[kind]
    page = tmp_path / "page.html"
    page.write_text(page_of(one), "utf-8")
    dump, console = browser.run(page, "--dump-dom", "--window-size=1440,1000")
    assert console == []
    assert "taken over</title>" not in dump
    for name in run_charts(one, compare(one)):
        assert "main-svg" in dump.split(f'id="chart-{name}"')[1].split("</figure>")[0], name
    wide = """
        for (const one of document.querySelectorAll("details")) one.open = true;
        const found = [...document.body.querySelectorAll("*")]
          .filter((item) => !item.closest(".scroll table, svg, .modebar"))
          .filter((item) => item.getBoundingClientRect().right > innerWidth + 1)
          .map((item) => item.outerHTML.slice(0, 90));
        return { page: document.documentElement.scrollWidth, found };
    """
    for width in (390, 1440) if kind == "whole" else (390,):
        assert browser.ask(page, wide, width) == {"page": width, "found": []}, width


@pytest.mark.browser
def test_the_three_columns_that_matter_are_seen_on_a_phone_without_scrolling(
    findings: RunFindings, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text(page_of(findings), "utf-8")
    question = """
        const table = document.querySelector("table.comparison");
        const shown = (cell) => getComputedStyle(cell).display !== "none";
        const cells = [...table.querySelectorAll("thead th")].filter(shown);
        return cells.map((cell) => [cell.textContent, cell.getBoundingClientRect().right <= innerWidth]);
    """
    phone = dict(browser.ask(page, question, 390))
    assert {name: phone[name] for name in ("baseline", "optimized", "out-of-sample")} == {
        "baseline": True, "optimized": True, "out-of-sample": True,
    }  # fmt: skip
    assert "vs baseline" not in phone
    desk = dict(browser.ask(page, question, 1440))
    assert list(desk) == ["", "baseline", "optimized", "vs baseline", "out-of-sample", "vs optimized", "buy and hold"]
    assert all(desk.values())


@pytest.mark.browser
def test_the_page_prints_as_a_light_document_without_what_is_folded(
    findings: RunFindings, browser: Browser, tmp_path: Path
) -> None:
    page, target = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(page_of(findings), "utf-8")
    _, console = browser.run(page, f"--print-to-pdf={target}", "--blink-settings=preferredColorScheme=0")
    assert console == []
    pdf = target.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) <= 14
