"""The pages of a search, a verdict, a comparison, stored candles and many markets, in a real browser and app.

Every page must open without a word on the console or a request that leaves this machine, show the numbers that the API
has, be used with the keyboard, and fit a phone.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from barwise.data.candles import Candles
from barwise.data.store import CandleStore
from barwise.data.synthetic import sample_candles
from tests.dashboard_server import ENVIRONMENT, Server, served

pytestmark = pytest.mark.browser

WIDE, PHONE, HIGH = 1440, 390, 1000
VIEWS = ("optimization", "validation", "compare", "data", "series", "market")
PATIENCE_MS = 20_000
AXE: Any = import_module("axe_playwright_python.sync_playwright").Axe  # has no types


class Home(NamedTuple):
    """A home folder with runs of two markets and one stored series."""

    folder: Path
    multi: str
    btc: str
    eth: str


class Site(NamedTuple):
    """A dashboard that is being served, and what lies in its home."""

    server: Server
    home: Home

    def api(self, path: str) -> Any:
        answer = self.server.ask(f"/api/v1{path}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def url(self, place: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/{place}"

    def place(self, view: str) -> str:
        """The address of one of `VIEWS`."""
        btc, eth = self.home.btc, self.home.eth
        return {
            "optimization": f"#/run/{btc}/optimization",
            "validation": f"#/run/{btc}/validation",
            "compare": f"#/compare?runs={btc},{eth}",
            "data": "#/data",
            "series": "#/data/BINANCE/BTC%2FUSDT/1H",
            "market": f"#/market/{self.home.multi}",
        }[view]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("markets")
    subprocess.run(
        [
            sys.executable, "-m", "barwise", "run", "--yes", "--quiet", "--profile", "FAST", "--home", str(folder),
            "--start", "2024-01-01", "--end", "2024-04-01",
            "--market", "SAMPLE,SAMPLE-BTC,1H", "--market", "SAMPLE,SAMPLE-ETH,1H",
            "--set", "validation.permutations=19", "--set", "optimization.num_trials=60",
            "--set", "walk_forward.is_length_days=30",
        ],
        check=True,
        cwd=folder,
        env=ENVIRONMENT,
    )  # fmt: skip
    results = folder / "data" / "results"
    document = json.loads(next(results.glob("run-multi-*.json")).read_text("utf-8"))
    names = {row["symbol"]: row["run"] for row in document["markets"]}
    with_gaps(folder)
    return Home(folder, document["name"], names["SAMPLE-BTC"], names["SAMPLE-ETH"])


def with_gaps(folder: Path) -> None:
    """Three months of hours, without the hours 100 to 104 and 500, from a source that calls itself HTML."""
    found = sample_candles(start="2024-01-01", end="2024-04-01")
    kept = np.setdiff1d(np.arange(len(found)), [100, 101, 102, 103, 104, 500])
    columns = {name: getattr(found, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")}
    candles = Candles(
        **columns, quote_volume=None, timeframe=found.timeframe, exchange="BINANCE", symbol="BTC/USDT", synthetic=False
    )
    CandleStore(folder / "data" / "cache").put(candles, source="<img src=x onerror=alert(1)>")


@pytest.fixture(scope="module")
def site(home: Home) -> Iterator[Site]:
    with served(home.folder) as server:
        yield Site(server, home)


class Pages:
    """Opens views, and keeps one page of each: what is only looked at is opened once."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self._browser, self._site = browser, site
        self._kept: dict[str, Page] = {}
        self.complaints: list[str] = []

    def opened(self, place: str) -> Page:
        """A page of its own; nothing may stand on the console or be asked of another machine."""
        page = self._browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme="dark")
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self.complaints.append(f"{place}: {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"{place}: {error}"))
        page.on("request", self._asked)
        page.goto(self._site.url(place))
        page.wait_for_selector("main .view h1")
        return page

    def kept(self, view: str) -> Page:
        """A view with all its charts drawn, 1,440 wide and dark."""
        if view not in self._kept:
            self._kept[view] = self.opened(self._site.place(view))
            draw_everything(self._kept[view])
        return self._kept[view]

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            self.complaints.append(f"asked for {request.url}")


@pytest.fixture(scope="module")
def pages(chromium: Browser, site: Site) -> Pages:
    return Pages(chromium, site)


@pytest.fixture(autouse=True)
def _no_complaints(pages: Pages) -> Iterator[None]:
    pages.complaints.clear()
    yield
    assert pages.complaints == []


def draw_everything(page: Page) -> None:
    """Walk down the page until every chart on it is drawn: charts wait until they come near."""
    places = page.locator("main .plot:visible")
    for at in range(0, places.count(), 4):
        places.nth(at).scroll_into_view_if_needed()
    if places.count():
        places.last.scroll_into_view_if_needed()
    expect(page.locator("main .plot:visible:not(:has(.main-svg))")).to_have_count(0, timeout=PATIENCE_MS)


def row_of(table: Locator, name: str) -> list[str]:
    """The cells of the row with this heading."""
    row = table.locator("tbody tr").filter(has=table.page.locator("th", has_text=re.compile(f"^{re.escape(name)}$")))
    return [text.strip() for text in row.first.locator("td").all_inner_texts()]


def sheet(page: Page, caption: str) -> Locator:
    return page.get_by_role("region", name=re.compile(caption)).locator("table")


def number(value: float | None, decimals: int = 2) -> str:
    text = "n/a" if value is None else f"{value:,.{decimals}f}"
    return text.lstrip("-") if text.strip("-0.,") == "" else text


def percent(value: float, *, signed: bool = False) -> str:
    decimals = 1 if abs(value) >= 0.995 else 2
    return f"{value:{'+' if signed and round(value, decimals) else ''},.{decimals}f} %"


# -- Every view --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_draws_all_its_charts_and_says_nothing_on_the_console(pages: Pages, view: str) -> None:
    page = pages.kept(view)
    charts = {"optimization": 10, "validation": 12, "compare": 1, "data": 0, "series": 2, "market": 5}[view]
    if charts:  # a chart is drawn when it comes near, which takes its time on a busy machine
        expect(page.locator("main .plot .main-svg").nth(charts - 1)).to_be_attached(timeout=60_000)
    text = page.locator("main").inner_text()
    assert "undefined" not in text
    assert "NaN" not in text


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_no_serious_finding_of_axe_in_either_theme(pages: Pages, view: str) -> None:
    page = pages.kept(view)
    for options in (None, {"runOnly": ["color-contrast"]}):  # only colours change with the theme
        found = AXE().run(page, options=options).response["violations"]
        assert [
            (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ] == []
        page.keyboard.press("t")


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_a_phone(pages: Pages, view: str) -> None:
    page = pages.kept(view)
    page.set_viewport_size({"width": PHONE, "height": HIGH})
    try:
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    finally:
        page.set_viewport_size({"width": WIDE, "height": HIGH})


# -- The search --------------------------------------------------------------------------------------------------------


def test_the_search_shows_the_figures_of_its_document(pages: Pages, site: Site) -> None:
    document = site.api(f"/runs/{site.home.btc}/optimization")
    page = pages.kept("optimization")
    figures = page.locator("dl.figures").first.inner_text()
    assert number(document["stages"][-1]["best_value"]) in figures
    assert number(document["luck_line"]) in figures
    assert f"{sum(stage['num_trials'] for stage in document['stages']):,}" in figures
    stages = sheet(page, "^Stages")
    for stage in document["stages"]:
        cells = row_of(stages, stage["stage"])
        assert cells[2] == f"{stage['num_trials']:,}"
        assert cells[3] == f"{stage['states']['complete']:,}"
        assert cells[8] == number(stage["best_value"])
    runs = page.get_by_role("region", name=re.compile("^Runs that searched"))
    assert runs.locator("tbody tr").count() == len(document["ledger"]["runs"])


def test_the_history_has_one_mark_per_trial_with_a_value(pages: Pages, site: Site) -> None:
    course = site.api(f"/runs/{site.home.btc}/optimization")["history"]
    page = pages.kept("optimization")
    marks = page.evaluate(
        "document.querySelector('main .plot').data.filter((trace) => trace.mode === 'markers')"
        ".reduce((sum, trace) => sum + trace.x.length, 0)"
    )
    assert marks == len(course["trial"])


def test_the_toggle_shows_the_parameters_that_were_kept_too(pages: Pages, site: Site) -> None:
    parameters = site.api(f"/runs/{site.home.btc}/optimization")["parameters"]
    changed = [one for one in parameters if one["changed"]]
    assert 0 < len(changed) < len(parameters)
    page = pages.kept("optimization")
    table = sheet(page, "parameters changed")
    assert table.locator("tbody tr").count() == len(changed)
    toggle = page.get_by_label("Only what the search changed")
    toggle.uncheck()
    assert table.locator("tbody tr").count() == len(parameters)
    toggle.check()
    assert table.locator("tbody tr").count() == len(changed)


def test_clicking_an_axis_keeps_the_trials_that_pass_there(pages: Pages, site: Site) -> None:
    parallel = site.api(f"/runs/{site.home.btc}/optimization")["parallel"][0]
    page = pages.kept("optimization")
    chart = page.locator("figure.chart").filter(has_text="Each axis goes from")
    plot = chart.locator(".plot").first
    axis = parallel["axes"][0]
    low, high = (axis["low"] + part * (axis["high"] - axis["low"]) for part in (0.0, 0.2))
    ranked = [row for row, rank in enumerate(parallel["rank"]) if rank is not None]
    expected = sum(low <= axis["values"][row] <= high + 1e-9 for row in ranked)
    plot.evaluate("(node) => node.emit('plotly_click', {points: [{x: 0, y: 0.1, data: {name: 'axes'}}]})")
    expect(chart.locator("h3").first).to_contain_text(
        f"{expected} trial{'' if expected == 1 else 's'} of {len(ranked)} drawn pass"
    )
    chart.get_by_role("button", name="Show all trials again").click()
    expect(chart.locator("h3").first).to_contain_text("Where the best of")


def test_stages_are_chosen_with_the_arrow_keys(pages: Pages, site: Site) -> None:
    page = pages.opened(site.place("optimization"))
    page.get_by_role("tab", name="Stage 7.1").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Stage 7.2")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="Stage 7.2").locator("figure").first).to_be_visible()


# -- The verdict -------------------------------------------------------------------------------------------------------


def test_the_verdict_shows_its_word_its_reasons_and_every_test(pages: Pages, site: Site) -> None:
    document = site.api(f"/runs/{site.home.btc}/validation")
    page = pages.kept("validation")
    card = page.locator(".verdict-card").inner_text()
    assert document["verdict"] in card
    for text in (*document["reasons"], *document["would_change"], document["error_rate"]):
        assert text.strip(".")[1:] in card
    tests = {True: sheet(page, "^The rule looks"), False: sheet(page, "^Beside them")}
    for test in document["tests"]:
        outcome, shown, *_ = row_of(tests[test["decides"]], test["name"])
        if test["passed"] is not None:
            assert outcome == ("✓ passed" if test["passed"] else "✗ failed")
        if test["unit"] == "share" and test["value"] is not None:
            assert shown == percent(100.0 * test["value"])
        if test["unit"] == "Sharpe":
            assert shown == number(test["value"])


def test_the_null_distribution_holds_every_shuffled_market_and_marks_this_one(pages: Pages, site: Site) -> None:
    test = site.api(f"/runs/{site.home.btc}/validation")["permutation"]
    page = pages.kept("validation")
    chart = page.locator("figure.chart").filter(has_text="shuffled market")
    expect(chart.locator("h3")).to_contain_text(f"p = {test['p_value']:.3f}")
    drawn = chart.locator(".plot").evaluate(
        "(plot) => ({markets: plot.data.flatMap((trace) => trace.y).reduce((a, b) => a + b, 0), "
        "worse: plot.data.filter((trace) => trace.name === 'worse than here').flatMap((trace) => trace.y)"
        ".reduce((a, b) => a + b, 0), line: plot.layout.shapes[0].x0})"
    )
    known = [value for value in test["nulls"] if value is not None]
    assert drawn["markets"] == len(known)
    assert drawn["worse"] == sum(value < test["real"] for value in known)
    assert drawn["line"] == test["real"]


def test_the_splits_of_the_overfitting_histogram_are_all_there(pages: Pages, site: Site) -> None:
    document = site.api(f"/runs/{site.home.btc}/validation")
    page = pages.kept("validation")
    chart = page.locator("figure.chart").filter(has_text="of the splits").first
    below, above = chart.locator(".plot").evaluate(
        "(plot) => plot.data.map((trace) => trace.y.reduce((a, b) => a + b))"
    )
    assert below + above == document["selection"]["splits"]
    assert below / (below + above) == pytest.approx(document["selection"]["pbo"])


def test_windows_stand_in_the_table_as_in_the_document(pages: Pages, site: Site) -> None:
    walked = site.api(f"/runs/{site.home.btc}/validation")["walk_forward"]
    page = pages.kept("validation")
    page.get_by_text("All windows as a table").click()
    table = sheet(page, "^The windows")
    for window in walked["windows"]:
        cells = row_of(table, str(window["number"]))
        assert cells[0] == f"{window['is_start'][:10]} .. {window['is_end'][:10]}"
        assert cells[4] == number((window["out_of_sample"] or {}).get("sharpe_ratio"))
        assert cells[8] == ("yes" if window["scored"] else "no")


# -- Side by side ------------------------------------------------------------------------------------------------------


def test_the_best_of_each_figure_is_marked(pages: Pages, site: Site) -> None:
    found = site.api(f"/compare?runs={site.home.btc},{site.home.eth}")
    page = pages.kept("compare")
    figures = sheet(page, "marks the best")
    assert found["warnings"]
    for warning in found["warnings"]:
        expect(page.locator(".not-comparable")).to_contain_text(warning)
    labels = [metric["label"] for metric in found["metrics"]]
    for metric in found["metrics"]:
        if labels.count(metric["label"]) == 1:
            cells = row_of(figures, metric["label"])
            assert [at for at, text in enumerate(cells) if "★" in text] == (
                [] if metric["best"] is None else [metric["best"]]
            )
            if metric["unit"] == "ratio":
                assert [text.removeprefix("★ ") for text in cells] == [number(v) for v in metric["values"]]


def test_only_differences_can_be_shown(pages: Pages, site: Site) -> None:
    parameters = site.api(f"/compare?runs={site.home.btc},{site.home.eth}")["parameters"]
    page = pages.kept("compare")
    table = sheet(page, "parameters differ")
    assert table.locator("tbody tr").count() == sum(one["differs"] for one in parameters)
    page.get_by_label("Only differences").uncheck()
    assert table.locator("tbody tr").count() == len(parameters)
    page.get_by_label("Only differences").check()


def test_runs_are_left_out_and_added_again(pages: Pages, site: Site) -> None:
    page = pages.opened(site.place("compare"))
    page.get_by_role("button", name=f"Leave out {site.home.eth}").click()
    expect(page.get_by_text("Choose two or more runs")).to_be_visible()
    page.get_by_label("Add a run").select_option(site.home.eth)
    expect(page.get_by_role("list", name="Runs").locator("li")).to_have_count(2)
    expect(page).to_have_url(re.compile(f"runs={site.home.btc},{site.home.eth}"))


# -- Stored candles ----------------------------------------------------------------------------------------------------


def test_the_store_lists_bars_and_gaps(pages: Pages, site: Site) -> None:
    [stored] = site.api("/data")["markets"]
    assert (stored["gaps"], stored["missing"]) == (2, 6)
    cells = row_of(sheet(pages.kept("data"), "^Stored candles"), "BTC/USDT")
    assert cells[2] == f"{stored['bars']:,}"
    assert cells[5:7] == ["2", "6"]


def test_a_closer_look_fetches_finer_candles(pages: Pages, site: Site) -> None:
    page = pages.opened(site.place("series"))
    plot = page.locator(".plot.tall")
    expect(plot).to_have_attribute("data-timeframe", re.compile(".+"))
    coarse = plot.get_attribute("data-timeframe")
    assert coarse != "1H"
    with page.expect_response(re.compile(r"/data/BINANCE/.*start=")):
        page.get_by_role("button", name="7 d", exact=True).click()
    expect(plot).to_have_attribute("data-timeframe", "1H")
    expect(plot).to_have_attribute("data-candles", str(7 * 24))


def test_a_gap_is_shown_in_the_candles_when_it_is_chosen(pages: Pages, site: Site) -> None:
    [gap, _] = site.api("/data/BINANCE/BTC%252FUSDT/1H")["gaps"]["places"]
    assert gap["bars"] == 5
    page = pages.opened(site.place("series"))
    page.get_by_text("All 2 gaps as a table").click()
    row = sheet(page, "^Gaps").locator("tbody tr").first
    row.focus()
    with page.expect_response(re.compile(r"/data/BINANCE/.*start=")):
        page.keyboard.press("Enter")
    expect(page.locator(".candle-note")).to_contain_text("1 gap in it, shaded")
    first, last = page.locator(".plot.tall").evaluate(
        "(plot) => plot.layout.xaxis.range.map((end) => new Date(end).getTime())"
    )
    assert first < gap["start_ms"] < gap["end_ms"] < last


def test_the_audit_tells_what_it_found(pages: Pages, site: Site) -> None:
    findings = site.api("/data/BINANCE/BTC%252FUSDT/1H")["audit"]["findings"]
    assert findings
    table = sheet(pages.kept("series"), "What the audit found")
    for finding in findings:
        expect(table).to_contain_text(finding["message"])


# -- Many markets ------------------------------------------------------------------------------------------------------


def test_a_run_over_several_markets_stands_in_the_list_and_opens(pages: Pages, site: Site) -> None:
    page = pages.opened("#/runs")
    [name] = [run["name"] for run in site.api("/runs")["runs"] if run["kind"] == "multi"]
    row = page.locator("tr", has_text=name)
    row.wait_for()
    assert "2 markets" in row.inner_text()
    row.get_by_role("link").first.click()
    page.wait_for_url(f"**#/market/{name}")
    page.get_by_role("heading", level=1).wait_for()
    page.close()


def test_the_list_shows_what_was_out_of_sample_first_and_says_what_was_not(pages: Pages, site: Site) -> None:
    page = pages.opened("#/runs")
    heads = page.locator("thead tr.groups th")
    assert heads.all_inner_texts() == ["out-of-sample", "in-sample", "baseline"]
    shown = {"out_of_sample": 4, "optimized": 2, "baseline": 2}
    runs = site.api("/runs")["runs"]
    assert {run["kind"] for run in runs} == {"run", "multi"}
    for run in runs:
        row = page.locator("tbody tr", has_text=run["name"])
        for part, many in shown.items():
            figures = run["metrics"][part]
            expected = ["n/a"] * 4
            if figures is not None:
                sharpe = figures["sharpe_ratio"]
                expected = [
                    "n/a" if sharpe is None else f"{sharpe:+.2f}",
                    percent(figures["total_return"], signed=True),
                    percent(figures["max_drawdown"]),
                    f"{figures['trades']:,}",
                ]
            found = [text.strip() for text in row.locator(f".figure.{part}").all_inner_texts()]
            assert [text.replace("-0.00", "0.00") for text in expected[:many]] == found
    page.close()


def test_a_run_over_several_markets_has_its_verdicts_and_the_figures_of_all_in_the_list(
    pages: Pages, site: Site
) -> None:
    document = site.api(f"/multi/{site.home.multi}")
    page = pages.opened("#/runs")
    row = page.locator("tbody tr", has_text=site.home.multi)
    for word, many in document["verdicts"].items():
        expect(row).to_contain_text(re.compile(rf"{many} \S \W*{word}"))
    expect(row).to_contain_text("SYNTHETIC")
    together = document["portfolios"]["optimized"]["rebalanced"]
    expect(row.locator(".figure.optimized").first).to_have_text(f"{together['sharpe_ratio']:+.2f}")
    page.get_by_role("searchbox").fill("sample-eth")
    expect(row).to_be_visible()
    expect(page.locator("tbody tr", has_text=site.home.btc)).to_have_count(0)
    page.close()


def test_each_market_stands_in_the_table_with_its_figures(pages: Pages, site: Site) -> None:
    document = site.api(f"/multi/{site.home.multi}")
    page = pages.kept("market")
    table = page.get_by_role("region", name=re.compile("^Markets;")).locator("table")
    for at, market in enumerate(document["markets"]):
        row = table.locator("tbody tr").nth(at)
        cells = [text.strip() for text in row.locator("td").all_inner_texts()]
        assert market["verdict"] in cells[0]
        ratios = [(market[kind] or {}).get("sharpe_ratio") for kind in ("baseline", "optimized", "out_of_sample")]
        assert cells[1:4] == [number(ratio) for ratio in ratios]
        assert row.locator("a").first.get_attribute("href") == f"#/run/{market['run']}"


def test_the_curve_of_equal_parts_ends_where_the_document_says(pages: Pages, site: Site) -> None:
    outside = site.api(f"/multi/{site.home.multi}")["portfolios"]["out_of_sample"]
    page = pages.kept("market")
    figure = page.locator("figure.chart").filter(has_text="equal parts that are left alone")
    curve, deepest = figure.locator(".plot").evaluate(
        "(plot) => [plot.data.find((trace) => trace.name === 'out-of-sample').y,"
        " Math.min(...plot.data.find((trace) => trace.name === 'drawdown').y)]"
    )
    assert curve[-1] == pytest.approx(outside["apart"]["total_return"])
    assert -deepest == pytest.approx(outside["apart"]["max_drawdown"])


# -- Nothing there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("#/run/no-such-run/optimization", "Nothing was searched in this run"),
        ("#/run/no-such-run/validation", "No verdict of this run"),
        ("#/market/no-such-run", "No run of several markets has this name"),
        ("#/compare", "Choose two or more runs"),
        ("#/data/BINANCE/NOTHING/1H", "is not in the store"),
    ],
)
def test_what_is_not_there_says_what_to_do(chromium: Browser, site: Site, place: str, said: str) -> None:
    page = chromium.new_page()  # the browser itself notes the 404 on the console
    page.goto(site.url(place))
    expect(page.locator("main")).to_contain_text(said)
    page.close()
