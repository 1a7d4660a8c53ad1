"""Many markets on paper: every number is one of a single market's or can be worked out again from them."""

import csv
import html
import io
import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from rich.console import Console

from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BarwiseError, ConfigError, DataError
from barwise.optimizer.engine import optimize
from barwise.report.findings import RunFindings, StageDone
from barwise.report.multi_charts import MOST_DRAWN, multi_charts
from barwise.report.multi_document import multi_document
from barwise.report.multi_files import correlation_csv, markets_csv, portfolio_csv, write_multi
from barwise.report.multi_markets import LEAST_DAYS, Together
from barwise.report.multi_notes import holm_sentence, luck_sentence, notes, summary
from barwise.report.multi_page import multi_page
from barwise.report.multi_terminal import print_multi
from barwise.report.optimization_charts import plotly_figure
from barwise.stats.portfolio import holm
from barwise.stats.sharpe import expected_maximum
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.timeframe import DAY_MS
from barwise.validation.engine import validate
from tests.test_report_browser import NAMES, Browser

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
SIX_MEGABYTES = 6_000_000
TOO_SHORT = "the span of 40 days is shorter than one window of 80 days"
PLAIN = EmaRsiAtr(enable_rsi_filter=False)


def sample(symbol: str, timeframe: str, start: str, days: int) -> Candles:
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return sample_candles(symbol, timeframe, start=first, end=first + timedelta(days=days))


def sessions(symbol: str, start: str, days: int) -> Candles:
    """Daily bars of an Indian venue: midnight in India, weekdays only."""
    import polars

    frame = sample(symbol, "1D", start, days).to_polars()
    weekday = frame["time"].dt.weekday()
    frame = frame.filter(weekday <= 5).with_columns(polars.col("time") - timedelta(minutes=330))
    return Candles.of(frame, exchange="DHAN", symbol=symbol, timeframe="1D")


def found_on(candles: Candles, folder: Path, permutations: int) -> RunFindings:
    search = OptimizationConfig(
        profile="FAST", optuna_sampler="AUTO", num_trials=20, workers=1, storage=str(folder / "ledger.sqlite")
    )
    windows = WalkForwardConfig(is_length_days=60, oos_length_days=20, stride_days=20, min_trades_per_window=2)
    stages: tuple[StageDone, ...] = ()
    validation = None
    try:
        validation = validate(candles, PLAIN, 0.1, search=search, windows=windows, permutations=permutations)
    except BarwiseError as error:
        stages = (StageDone("8", "validation", error.message, 0.1, "skipped"),)
    return RunFindings(
        name=f"run-{candles.symbol}-{candles.timeframe}-0a1b2c3d".lower(),
        baseline=backtest(candles, PLAIN, 0.1),
        optimization=optimize(candles, PLAIN, 0.1, config=search),
        validation=validation,
        look_ahead=None,
        stages=stages,
        config={},
        n_trials=20,
        hardware={},
    )


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFindings, ...]:
    """Two hourly markets with shuffles, one of them in 4H over another span, an Indian one, one without stage 8."""
    folder = tmp_path_factory.mktemp("home")
    short = found_on(sample("SAMPLE-SOL", "1H", "2024-01-01", 40), folder, 0)
    return (
        found_on(sample("SAMPLE-BTC", "1H", "2024-01-01", 200), folder, 19),
        found_on(sample("SAMPLE-ETH", "1H", "2024-01-01", 200), folder, 19),
        found_on(sample("SAMPLE-BTC", "4H", "2023-09-01", 400), folder, 0),
        found_on(sessions("SAMPLE-ETH", "2021-01-01", 1_300), folder, 0),
        replace(short, validation=None, stages=(StageDone("8", "validation", TOO_SHORT, 0.1, "skipped"),)),
    )


@pytest.fixture(scope="module")
def together(findings: tuple[RunFindings, ...]) -> Together:
    return Together.of("run-multi-01234567", findings)


def document_of(findings: Sequence[RunFindings]) -> dict[str, Any]:
    return multi_document("run-multi-01234567", findings, WRITTEN)


def page_of(findings: Sequence[RunFindings]) -> str:
    together = Together.of("run-multi-01234567", findings)
    return multi_page(together, written=WRITTEN, versions={"barwise": "1"}, files={"json": "x.json"})


def text_of(page: str) -> str:
    """What a reader sees, without scripts and tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def printed(findings: Sequence[RunFindings], width: int = 80) -> str:
    out = io.StringIO()
    print_multi("multi", findings, Console(file=out, width=width, color_system=None, force_terminal=False))
    return out.getvalue()


def outside_equity(run: RunFindings) -> tuple[FloatArray, float]:
    assert run.validation is not None
    assert run.validation.walked is not None
    return run.validation.walked.equity, run.validation.walked.capital


def planted(run: RunFindings, daily: FloatArray, name: str = "") -> RunFindings:
    """The same run with an out-of-sample account that makes these returns, one at the start of each of its days."""
    assert run.validation is not None
    walked = run.validation.walked
    assert walked is not None
    days = walked.candles.time[walked.bars] // DAY_MS
    steps = np.append(True, np.diff(days) > 0)
    factors = np.ones(len(days))
    factors[steps] = 1.0 + np.resize(daily, int(steps.sum()))
    made = replace(walked, equity=walked.capital * np.cumprod(factors, dtype=np.float64))
    return replace(run, validation=replace(run.validation, walked=made), name=name or run.name)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# -- Numbers -----------------------------------------------------------------------------------------------------------


def test_each_row_has_the_numbers_of_its_market(findings: tuple[RunFindings, ...]) -> None:
    content = document_of(findings)
    assert (content["schema_version"], content["kind"]) == (1, "multi")
    assert content["written"] == "2025-04-01T12:04:05+00:00"
    for row, run in zip(content["markets"], findings, strict=True):
        assert row["run"] == run.name
        assert row["quantity"] == 0.1
        assert row["bars"] == len(run.baseline.candles)
        assert row["baseline"]["sharpe_ratio"] == run.baseline.metrics["sharpe_ratio"]
        assert run.optimization is not None
        assert row["optimized"]["total_return"] == run.optimization.best.metrics["total_return"]
        if run.validation is not None and run.validation.walked is not None:
            assert row["out_of_sample"]["max_drawdown"] == run.validation.walked.metrics["max_drawdown"]
            assert row["out_of_sample"]["total_trades"] == len(run.validation.walked.trades)
            assert row["verdict"] == run.validation.verdict
            assert row["oos_psr"] == run.validation.oos_psr
            assert row["p_value"] == run.validation.p_value
    assert [row["p_value_holm"] for row in content["markets"]] == holm([row["p_value"] for row in content["markets"]])
    assert [row["p_value"] is None for row in content["markets"]] == [False, False, True, True, True]
    json.dumps(content, allow_nan=False)


def test_a_market_without_stage_8_is_in_the_table_with_why(findings: tuple[RunFindings, ...]) -> None:
    content = document_of(findings)
    last = content["markets"][-1]
    assert last["out_of_sample"] is None
    assert last["verdict"] is None
    assert last["no_out_of_sample"] == TOO_SHORT
    assert content["verdicts"]["NO VERDICT"] == 1
    assert sum(content["verdicts"].values()) == 5
    assert last["label"] not in content["portfolios"]["out_of_sample"]["markets"]
    assert f"{TOO_SHORT[0].upper()}{TOO_SHORT[1:]}." in text_of(page_of(findings))
    assert "NO VERDICT" in text_of(page_of(findings))
    unknown = replace(findings[-1], stages=())
    assert document_of([unknown])["markets"][0]["no_out_of_sample"] == "stage 8 was not run"


def test_the_portfolio_is_that_of_pandas(findings: tuple[RunFindings, ...]) -> None:
    columns = []
    for run in findings[:2]:
        assert run.validation is not None
        walked = run.validation.walked
        assert walked is not None
        index = pandas.to_datetime(walked.candles.time[walked.bars], unit="ms").normalize()
        closes = pandas.Series(walked.equity, index=index).groupby(level=0).last()
        columns.append(closes / closes.shift(1, fill_value=walked.capital) - 1.0)
    daily = pandas.concat(columns, axis=1).dropna()
    mean = daily.mean(axis=1)
    growth = (1.0 + mean).cumprod()
    content = document_of(findings[:2])["portfolios"]["out_of_sample"]
    account = content["rebalanced"]
    assert content["days"] == len(daily) == 140
    assert account["total_return"] == pytest.approx(100.0 * (growth.iloc[-1] - 1.0))
    assert account["sharpe_ratio"] == pytest.approx(math.sqrt(365.0) * mean.mean() / mean.std())
    peak = growth.cummax().clip(lower=1.0)
    assert account["max_drawdown"] == pytest.approx(100.0 * (1.0 - growth / peak).max())
    apart = (1.0 + daily).cumprod().mean(axis=1)
    assert content["apart"]["total_return"] == pytest.approx(100.0 * (apart.iloc[-1] - 1.0))
    assert content["diversification_ratio"] == pytest.approx(daily.std().mean() / mean.std())
    matrix = document_of(findings[:2])["correlations"]["out_of_sample"]
    assert matrix["correlation"][0][1] == pytest.approx(daily.corr().iloc[0, 1])


def test_each_market_on_its_own_days_ends_where_its_walk_forward_ends(findings: tuple[RunFindings, ...]) -> None:
    for run in findings[:4]:
        equity, capital = outside_equity(run)
        account = document_of([run])["portfolios"]["out_of_sample"]["rebalanced"]
        assert account["total_return"] == pytest.approx(100.0 * (equity[-1] / capital - 1.0))


def test_the_order_of_markets_changes_only_their_order(findings: tuple[RunFindings, ...]) -> None:
    order = [3, 0, 4, 2, 1]
    before, after = document_of(findings), document_of([findings[place] for place in order])
    assert after["markets"] == [before["markets"][place] for place in order]
    for kind, found in before["portfolios"].items():
        assert after["portfolios"][kind]["days"] == found["days"]
        assert after["portfolios"][kind]["rebalanced"] == pytest.approx(found["rebalanced"])
        assert after["portfolios"][kind]["effective_bets"] == pytest.approx(found["effective_bets"])
    assert after["luck"] == before["luck"]


def test_the_same_market_again_adds_nothing(findings: tuple[RunFindings, ...]) -> None:
    one, three = document_of(findings[:1]), document_of([findings[0]] * 3)
    found = three["portfolios"]["out_of_sample"]
    assert found["rebalanced"] == pytest.approx(one["portfolios"]["out_of_sample"]["rebalanced"])
    assert found["effective_bets"] == pytest.approx(1.0)
    assert found["diversification_ratio"] == pytest.approx(1.0)
    assert three["correlations"]["out_of_sample"]["correlation"][0] == pytest.approx([1.0, 1.0, 1.0])
    assert [row["label"] for row in three["markets"]] == [f"SAMPLE-BTC 1H SAMPLE #{place}" for place in (1, 2, 3)]
    assert any("is one market" in note for note in three["notes"])


def test_the_in_sample_portfolios_are_those_of_the_markets_that_were_tested(together: Together) -> None:
    labels = [market.label for market in together.outside.members]
    assert len(labels) == 4
    assert all([market.label for market in group.members] == labels for group in together.groups.values())


def test_markets_of_two_calendars_share_the_days_that_are_sessions(findings: tuple[RunFindings, ...]) -> None:
    assert findings[3].baseline.candles.calendar.name == "NSE"
    group = Together.of("x", [findings[0], findings[3]]).outside
    assert group.portfolio is not None
    assert group.portfolio.periods_per_year == 248.0
    assert set(((group.portfolio.days + 3) % 7).tolist()) <= {0, 1, 2, 3, 4}
    said = notes(Together.of("x", [findings[0], findings[3]]))
    assert any("close at different hours" in note for note in said)
    assert any("spans and calendars differ" in note for note in said)


def test_the_strongest_market_stands_beside_what_luck_gives_it(together: Together) -> None:
    luck = together.luck
    assert luck is not None
    scores = {}
    for market in together.outside.members:
        assert market.walked is not None
        scores[market.label] = market.walked.metrics["sharpe_ratio"] * math.sqrt(market.oos_years)
    assert luck.strongest == max(scores, key=lambda label: scores[label])
    strongest = next(market for market in together.markets if market.label == luck.strongest)
    assert luck.by_luck == pytest.approx(expected_maximum(4) / math.sqrt(strongest.oos_years))
    assert luck.strongest in luck_sentence(together)
    assert luck_sentence(Together.of("x", [strongest.findings])) == ""


def test_the_years_of_a_market_are_those_of_its_out_of_sample_bars(together: Together) -> None:
    assert together.markets[0].oos_years == pytest.approx(140.0 / 365.0)


# -- Words -------------------------------------------------------------------------------------------------------------


def test_the_summary_counts_verdicts_days_and_tests(together: Together) -> None:
    first, second, *_ = summary(together)
    assert first.startswith("5 markets: ")
    assert "1 without a verdict" in first
    assert f"on {together.outside.days} common days" in second
    assert "4 markets of equal weight" in second


def test_holm_is_told_with_the_number_of_tests(findings: tuple[RunFindings, ...]) -> None:
    def with_p(run: RunFindings, p_value: float) -> RunFindings:
        assert run.validation is not None
        decision = run.validation.decision
        evidence = replace(decision.evidence, p_value=p_value)
        return replace(run, validation=replace(run.validation, decision=replace(decision, evidence=evidence)))

    two = [with_p(findings[0], 0.03), with_p(findings[1], 0.04)]
    assert holm_sentence(Together.of("x", two)).startswith("Of 2 permutation tests 2 have p of 5 % or less;")
    assert holm_sentence(Together.of("x", two)).endswith("(Holm), 0.")
    kept = [with_p(findings[0], 0.02), with_p(findings[1], 0.4)]
    assert holm_sentence(Together.of("x", kept)).endswith("tests 1 has p of 5 % or less; counting how many tests there "
                                                          "were (Holm), 1.")  # fmt: skip
    none = [with_p(findings[0], 0.2), with_p(findings[1], 0.4)]
    assert holm_sentence(Together.of("x", none)) == "None of 2 permutation tests has p of 5 % or less."
    assert holm_sentence(Together.of("x", two[:1])) == "The one permutation test has p = 0.030."
    assert holm_sentence(Together.of("x", findings[2:])) == ""
    # 2 tests of 19 shuffles: the smallest p is 1/20, Holm's 2/20; 39 shuffles bring it to 2/40.
    said = notes(Together.of("x", two))
    assert any("cannot be below 10.0 %" in note and "39 would allow 5 %" in note for note in said)
    assert any("no permutation test was run" in note for note in notes(Together.of("x", findings[2:])))


def test_too_few_common_days_name_the_market_that_is_in_the_way(findings: tuple[RunFindings, ...]) -> None:
    run = findings[2]
    assert run.validation is not None
    assert run.validation.walked is not None
    walked = run.validation.walked
    few = replace(walked, bars=walked.bars[:60], equity=walked.equity[:60])
    short = replace(run, validation=replace(run.validation, walked=few))
    together = Together.of("x", [*findings[:2], short])
    assert together.outside.portfolio is None
    assert together.outside.days < LEAST_DAYS
    said = " ".join(notes(together))
    assert f"Without {together.markets[2].label} there are 140." in said
    assert "2 pairs of markets share fewer than 30 out-of-sample days" in said
    assert "too few for a portfolio" in summary(together)[1]
    assert portfolio_csv(together).count("out-of-sample,") == 0
    page = text_of(page_of([*findings[:2], short]))
    assert f"The markets share {together.outside.days} out-of-sample day" in page
    assert document_of([*findings[:2], short])["portfolios"]["out_of_sample"]["rebalanced"] is None


def test_a_market_that_carries_the_portfolio_is_named(findings: tuple[RunFindings, ...]) -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(-0.0005, 0.001, 140), rng.normal(0.01, 0.03, 140)
    base = findings[0]
    runs = [planted(base, small, "a"), planted(base, small[::-1].copy(), "b"), planted(base, large, "c")]
    together = Together.of("x", runs)
    label = together.markets[2].label
    said = " ".join(notes(together))
    assert f"{label} carries" in said
    assert f"the profit is that of one market: without {label}" in said
    assert together.outside.portfolio is not None
    assert together.outside.portfolio.rebalanced.returns.tolist() == pytest.approx(
        ((small + small[::-1] + large) / 3.0).tolist()
    )


def test_planted_markets_show_the_correlation_they_were_made_with(findings: tuple[RunFindings, ...]) -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(0.0, 0.01, 140)
    runs = [planted(findings[0], one), planted(findings[1], 0.5 * one), planted(findings[1], -one)]
    content = document_of(runs)
    matrix = content["correlations"]["out_of_sample"]
    assert matrix["correlation"][0] == pytest.approx([1.0, 1.0, -1.0])
    assert matrix["days"] == [[140] * 3] * 3
    assert matrix["in_sample"] is False
    assert content["correlations"]["optimized"]["in_sample"] is True
    assert content["portfolios"]["out_of_sample"]["effective_bets"] == pytest.approx(1.0)


def test_one_configuration_in_all_windows_is_called_a_stability_check(findings: tuple[RunFindings, ...]) -> None:
    run = findings[0]
    assert run.validation is not None
    assert run.validation.walked is not None
    fixed = replace(run, validation=replace(run.validation, walked=replace(run.validation.walked, reoptimized=False)))
    assert any("a stability check" in note for note in notes(Together.of("x", [fixed, findings[1]])))


def test_no_market_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one"):
        write_multi("multi", [], tmp_path)


# -- Page --------------------------------------------------------------------------------------------------------------


def test_the_page_has_every_section_and_leads_to_each_market(findings: tuple[RunFindings, ...]) -> None:
    page = page_of(findings)
    text = text_of(page)
    for run in findings:
        assert f'href="{run.name}.html"' in page
    for heading in ("Result", "Markets", "Timeframes", "Equity of each market", "All markets together", "Notes"):
        assert f">{heading}</h2>" in page
    assert "SYNTHETIC" not in text
    assert "are synthetic and say nothing about a real market" in text
    assert "SYNTHETIC: these prices were made up" in text_of(page_of(findings[:2]))
    for word in ("left apart", "rebalanced daily", "p (Holm)", "in its own quote currency"):
        assert word in text
    assert len(page) < SIX_MEGABYTES
    for chart in multi_charts(Together.of("x", findings)).all():
        assert f'id="chart-{chart.name}"' in page


def test_plotly_takes_every_chart_and_thins_none_of_its_ends(together: Together) -> None:
    charts = multi_charts(together)
    assert len(charts.markets) == 5
    for chart in charts.all():
        plotly_figure(chart)
    first = charts.markets[0]
    assert [trace["name"] for trace in first.data] == ["baseline", "optimized", "out-of-sample"]
    equity, capital = outside_equity(together.markets[0].findings)
    assert first.data[2]["y"][-1] == pytest.approx(100.0 * (equity[-1] / capital - 1.0), rel=1e-4)
    assert [trace["name"] for trace in charts.markets[4].data] == ["baseline", "optimized"]


def test_symbols_that_want_to_be_markup_are_shown_as_they_are() -> None:
    frame = sample("SAMPLE-BTC", "1H", "2024-01-01", 60).to_polars()
    names = ("<img src=x onerror=alert(1)>", '"><script>alert(2)</script>', "=1+1")
    runs = [
        RunFindings(
            name="javascript:alert(3)/../x", baseline=backtest(frame, PLAIN, 0.5, symbol=name, timeframe="1H"),
            optimization=None, validation=None, look_ahead=None, stages=(), config={}, n_trials=None, hardware={},
        )
        for name in names
    ]  # fmt: skip
    page = page_of(runs)
    body = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page.split("<body>")[1], flags=re.DOTALL)
    assert "<img" not in body.lower()
    assert "<script" not in body.lower()
    assert "&lt;IMG SRC=X" in body.upper().replace("&LT;", "&lt;")
    assert 'href="javascript%3Aalert%283%29%2F..%2Fx.html"' in body
    assert table(markets_csv(Together.of("x", runs)))[2]["symbol"] == "'=1+1"
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', page, re.DOTALL)[0])
    assert "alert" not in json.dumps(figures).lower()
    assert "1+1" not in json.dumps(figures)


def test_more_markets_than_are_drawn_are_counted(findings: tuple[RunFindings, ...]) -> None:
    many = [findings[0], findings[1]] * (MOST_DRAWN // 2 + 3)
    page = page_of(many)
    assert f"The first {MOST_DRAWN} markets are drawn; 6 more are in the tables." in text_of(page)
    assert page.count('class="plot"') == MOST_DRAWN
    assert len(page) < SIX_MEGABYTES


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_draws_and_nothing_is_wider_than_the_screen(
    width: int, findings: tuple[RunFindings, ...], tmp_path: Path
) -> None:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    browser = Browser(program, tmp_path)
    page = write_multi("run-multi-01234567", findings, tmp_path / "home", written=WRITTEN).html
    dump, console = browser.run(page, "--dump-dom", "--window-size=1440,1000")
    assert console == []
    # One of each of five markets, and that of all.
    assert dump.count("js-plotly-plot") >= 6
    answer = browser.ask(
        page,
        """
        const wide = [...document.body.querySelectorAll("*")]
          .filter((item) => !item.closest(".scroll table, svg, .modebar"))
          .filter((item) => item.getBoundingClientRect().right > innerWidth + 1)
          .map((item) => item.outerHTML.slice(0, 90));
        const plots = [...document.querySelectorAll(".plot")].map((plot) => {
          const drawing = plot.querySelector(".main-svg").getBoundingClientRect();
          return Math.round(drawing.width) === plot.clientWidth && Math.round(drawing.height) === plot.clientHeight;
        });
        return { page: document.documentElement.scrollWidth, wide, plots };
        """,
        width,
    )
    assert answer == {"page": width, "wide": [], "plots": [True] * 6}


@pytest.mark.browser
def test_the_page_prints_on_a_few_pages(findings: tuple[RunFindings, ...], tmp_path: Path) -> None:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    page = write_multi("run-multi-01234567", findings, tmp_path / "home", written=WRITTEN).html
    target = tmp_path / "page.pdf"
    _, console = Browser(program, tmp_path).run(page, f"--print-to-pdf={target}")
    assert console == []
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", target.read_bytes())) <= 12


# -- Terminal ----------------------------------------------------------------------------------------------------------


def test_the_terminal_has_every_market_and_the_summary_in_80_columns(findings: tuple[RunFindings, ...]) -> None:
    text = printed(findings)
    assert max(map(len, text.splitlines())) <= 80
    one_line = " ".join(text.split())
    for sentence in summary(Together.of("x", findings)):
        assert sentence in one_line
    for label in ("SAMPLE-BTC", "SAMPLE-ETH", "SAMPLE-SOL"):
        assert label in text
    assert "no verdict" in text
    assert TOO_SHORT[1:30] in one_line
    assert "n/a" in text


# -- Files -------------------------------------------------------------------------------------------------------------


def test_the_files_are_in_their_places_and_agree(findings: tuple[RunFindings, ...], tmp_path: Path) -> None:
    name = "run-multi-01234567"
    files = write_multi(name, findings, tmp_path, written=WRITTEN)
    assert {kind: path.relative_to(tmp_path).as_posix() for kind, path in vars(files).items()} == {
        "html": f"data/results/{name}.html",
        "json": f"data/results/{name}.json",
        "markets_csv": f"data/exports/{name}-markets.csv",
        "correlation_csv": f"data/exports/{name}-correlation.csv",
        "portfolio_csv": f"data/exports/{name}-portfolio.csv",
    }
    content = json.loads(files.json.read_text("utf-8"))
    assert content == document_of(findings)
    rows = table(files.markets_csv.read_text("utf-8"))
    assert [row["market"] for row in rows] == [row["label"] for row in content["markets"]]
    assert float(rows[0]["baseline Sharpe"]) == content["markets"][0]["baseline"]["sharpe_ratio"]
    assert rows[-1]["out-of-sample Sharpe"] == ""
    assert rows[-1]["no out-of-sample result"] == TOO_SHORT
    days = [row for row in table(files.portfolio_csv.read_text("utf-8")) if row["result"] == "out-of-sample"]
    found = content["portfolios"]["out_of_sample"]
    assert len(days) == found["days"]
    assert (days[0]["day"], days[-1]["day"]) == (found["first_day"], found["last_day"])
    growth = math.prod(1.0 + float(row["return, rebalanced (%)"]) / 100.0 for row in days)
    assert 100.0 * (growth - 1.0) == pytest.approx(found["rebalanced"]["total_return"])
    own = [float(value) for key, value in days[0].items() if key.startswith("return of") and value]
    assert len(own) == 4
    assert float(days[0]["return, rebalanced (%)"]) == pytest.approx(sum(own) / 4.0)


def test_the_table_of_correlations_has_each_pair_once(together: Together) -> None:
    rows = table(correlation_csv(together))
    assert len(rows) == 2 * 6
    outside = [row for row in rows if row["result"] == "out-of-sample"]
    assert len({frozenset((row["market"], row["other market"])) for row in outside}) == 6
    pair = together.outside.correlations[0][1]
    assert float(outside[0]["correlation"]) == pair.value
    assert int(outside[0]["common days"]) == pair.days == 140


def test_two_writings_differ_only_by_the_clock(findings: tuple[RunFindings, ...], tmp_path: Path) -> None:
    early = write_multi("multi", findings, tmp_path / "a", written=WRITTEN)
    late = write_multi("multi", findings, tmp_path / "b", written=WRITTEN + timedelta(days=1, seconds=7))

    def without_clock(path: Path) -> str:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            return json.dumps(json.loads(text) | {"written": ""})
        return re.sub(r'<span class="clock">.*?</span>', "", text)

    assert early.html.read_text("utf-8") != late.html.read_text("utf-8")
    for kind, path in vars(early).items():
        assert without_clock(path) == without_clock(getattr(late, kind)), kind


def test_all_files_are_written_or_none(findings: tuple[RunFindings, ...], tmp_path: Path) -> None:
    in_the_way = tmp_path / "data" / "exports" / "multi-portfolio.csv"
    in_the_way.mkdir(parents=True)
    (in_the_way / "file").write_text("")
    with pytest.raises(DataError):
        write_multi("multi", findings, tmp_path)
    assert [path for path in tmp_path.rglob("multi*") if path.is_file()] == []


def test_a_name_that_is_a_path_is_refused(findings: tuple[RunFindings, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no name for the files"):
        write_multi("../multi", findings, tmp_path)
    assert list(tmp_path.iterdir()) == []
