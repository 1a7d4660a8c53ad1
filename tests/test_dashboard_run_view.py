"""The view of one run in a real browser: what it shows is what the library found, at every zoom and width.

The dashboard is a process of its own with runs that were really made. Whatever a test does, the console stays silent
and no request leaves this machine: the fixture that hands out pages looks at both.
"""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from barwise.dashboard.again import repeated
from barwise.report.text import money
from barwise.result import BacktestResult
from barwise.story import story_of, told
from tests.dashboard_server import ENVIRONMENT, Server, served

pytestmark = pytest.mark.browser

WIDE, PHONE = (1440, 900), (390, 844)
PATIENCE_MS = 30_000  # only for what hangs
SPAN = ("--start", "2024-01-01", "--end", "2024-05-15")
AXE: Any = import_module("axe_playwright_python.sync_playwright").Axe  # has no types
STORY = "section.story-part li"

Open = Callable[..., Page]


class Site(NamedTuple):
    """A dashboard that is being served, and the runs in its home."""

    server: Server
    home: Path
    run: str
    idle: str

    def api(self, path: str) -> Any:
        answer = self.server.ask(f"/api/v1{path}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)


def barwise(home: Path, *arguments: str, spanned: bool = True) -> None:
    span = SPAN if spanned else ()
    command = [sys.executable, "-m", "barwise", *arguments, "--home", str(home), *span, "--quiet"]
    subprocess.run(command, check=True, cwd=home, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One run of the whole way, and one backtest that never trades."""
    home = tmp_path_factory.mktemp("looked-at")
    small = ("--set", "validation.permutations=19", "--set", "optimization.num_trials=12")
    barwise(home, "run", "--yes", "--profile", "FAST", "--set", "strategy.enable_rsi_filter=false", *small)
    barwise(home, "backtest", "--set", "allow_long=false", "--set", "allow_short=false", "--no-lookahead-check")
    results = home / "data" / "results"
    [trail] = results.glob("run-*.audit.jsonl")
    [idle] = results.glob("2*.manifest.json")
    with served(home) as server:
        yield Site(server, home, trail.name.removesuffix(".audit.jsonl"), idle.name.removesuffix(".manifest.json"))


@pytest.fixture(scope="module")
def optimized(site: Site) -> BacktestResult:
    """The library's own result of the part that the view shows first."""
    return repeated(site.home / "data" / "results" / f"{site.run}-optimized.manifest.json", site.home)


@pytest.fixture
def show(chromium: Browser, site: Site) -> Iterator[Open]:
    """Pages with a run; at the end their consoles must be empty, and they must have asked nobody else."""
    expect.set_options(timeout=PATIENCE_MS)
    said: list[str] = []
    asked: set[str] = set()
    contexts = []

    def opened(name: str = site.run, size: tuple[int, int] = WIDE, scheme: Any = "dark") -> Page:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(f"http://127.0.0.1:{site.server.port}/#/run/{name}")
        page.wait_for_selector(".run-candles[data-timeframe]")
        page.wait_for_selector(".run-trades tbody tr[data-trade], #run-trades .empty")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert asked - {""} == {f"127.0.0.1:{site.server.port}"}


def to_statistics(page: Page) -> None:
    page.locator("#run-statistics").scroll_into_view_if_needed()
    page.wait_for_selector("#statistics-tiers")


def shown_trades(page: Page) -> list[int]:
    """The numbers of the trades in the table, those that are drawn."""
    return [int(row.get_attribute("data-trade") or -1) for row in page.locator("tr[data-trade]").all()]


def colours_on(page: Page) -> int:
    """How many colours the picture of the candles has where prices are."""
    script = """node => {
        const copy = new OffscreenCanvas(node.width, node.height);
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(node, 0, 0);
        const { data } = pen.getImageData(0, 0, node.width * 0.8, node.height * 0.6);
        const found = new Map();
        for (let i = 0; i < data.length; i += 4) {
            const name = `${data[i]} ${data[i + 1]} ${data[i + 2]}`;
            found.set(name, (found.get(name) ?? 0) + 1);
        }
        return [...found.values()].filter((count) => count > 20).length;
    }"""
    found: int = page.locator(".run-candles canvas").evaluate(script)
    return found


def queries(page: Page, end: str) -> list[dict[str, str]]:
    """What is asked of one endpoint from now on; the list grows."""
    found: list[dict[str, str]] = []

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.path.endswith(end):
            found.append({name: values[0] for name, values in parse_qs(address.query).items()})

    page.on("request", note)
    return found


# -- The first screen --------------------------------------------------------------------------------------------------


def test_verdict_and_figures_are_those_of_the_run(show: Open, site: Site) -> None:
    page, document = show(), site.api(f"/runs/{site.run}")
    expect(page.locator(".run-word .badge")).to_contain_text(document["verdict"]["word"])
    reasons = page.locator(".run-verdict ul").first.locator("li")
    assert reasons.count() == len(document["verdict"]["reasons"])
    row = page.locator("tr[data-figure=net_pnl] td")
    for place, part in enumerate(("baseline", "optimized", "out_of_sample")):
        value = document["comparison"][part]["figures"]["net_pnl"]
        expect(row.nth(place)).to_have_text(money(value, signed=True))
    difference = document["comparison"]["differences"]["optimized_minus_baseline"]["net_pnl"]
    expect(row.nth(4)).to_have_text(money(difference, signed=True))
    expect(page.locator("tr[data-figure=sortino_ratio]")).to_be_hidden()
    page.get_by_role("button", name=re.compile("All .* figures")).click()
    expect(page.locator("tr[data-figure=sortino_ratio]")).to_be_visible()


def test_equity_shows_four_curves_and_a_zoom_asks_for_finer_points(show: Open) -> None:
    page = show()
    page.wait_for_selector(".run-equity .scatterlayer")
    labels = page.locator(".run-equity .legendtext").all_text_contents()
    assert labels == ["baseline", "optimized", "out-of-sample", "buy and hold"]
    asked = queries(page, "/equity")
    page.locator(".run-equity").scroll_into_view_if_needed()
    box = page.locator(".run-equity .nsewdrag").first.bounding_box()
    assert box is not None
    with page.expect_response(lambda answer: "/equity" in answer.url):
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 62, steps=4)
        page.mouse.up()
    [query] = asked
    days = (int(query["end"]) - int(query["start"])) / 86_400_000
    assert 16 < days < 40  # a tenth of the span, and half of that to each side


# -- The candles -------------------------------------------------------------------------------------------------------


def test_a_zoom_asks_for_a_finer_window_and_shows_more_detail(show: Open) -> None:
    page = show()
    candles = page.locator(".run-candles")
    page.locator("[data-range=all]").click()
    expect(candles).to_have_attribute("data-timeframe", re.compile("^(4H|1D)$"))
    expect(page.locator("[data-range=all]")).to_have_attribute("aria-pressed", "true")
    coarse = candles.get_attribute("data-timeframe")
    assert coarse != "1H"
    asked = queries(page, "/candles")
    candles.focus()
    for _ in range(6):
        page.keyboard.press("+")
    expect(candles).to_have_attribute("data-timeframe", "1H")
    # Six presses in a row are one question, or a few: what came before the last is not waited for.
    assert 1 <= len(asked) <= 6
    first, last = (float(candles.get_attribute(f"data-{name}") or 0) for name in ("start", "end"))
    assert int(asked[-1]["start"]) <= first < last <= int(asked[-1]["end"])
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => Number(document.querySelector('.run-candles').dataset.start) < before", arg=first)
    moved = float(candles.get_attribute("data-start") or 0)
    assert first - moved == pytest.approx(0.2 * (last - first), rel=0.01)


def test_a_request_that_was_overtaken_is_given_up_and_the_old_picture_stays(show: Open) -> None:
    page = show()
    held: list[Route] = []
    page.route("**/candles?*", lambda route: held.append(route))  # noqa: PLW0108 - playwright marks the function
    page.locator("[data-range=all]").click()
    for _ in range(PATIENCE_MS // 50):
        if held:
            break
        page.wait_for_timeout(50)
    assert colours_on(page) > 5  # candles, lines and volume, of what was there before
    with page.expect_event("requestfailed", lambda request: "/candles" in request.url):
        page.locator("[data-range=week]").click()
    expect(page.locator(".run-candles")).to_have_attribute("data-timeframe", "1H")
    expect(page.locator(".run-holder.chart .run-note").first).to_contain_text(f"{7 * 24} candles of 1H")
    page.unroute_all(behavior="ignoreErrors")


def test_other_parts_are_shown_everywhere_below(show: Open, site: Site) -> None:
    page = show()
    to_statistics(page)
    for part in ("baseline", "out_of_sample"):
        page.locator(f"[data-part={part}]").click()
        total = site.api(f"/runs/{site.run}/trades?part={part}")["total"]
        expect(page.locator(".run-count")).to_have_text(f"{total} trades")
        counted = site.api(f"/runs/{site.run}/statistics?part={part}")["exits"]
        expect(page.locator("#statistics-exits tbody tr").first.locator("td").first).to_have_text(
            str(max(group["trades"] for group in counted))
        )
    page.locator("tr[data-trade]").first.click()
    expect(page.locator(".run-story")).to_contain_text("window 1")


# -- The trades --------------------------------------------------------------------------------------------------------


def test_filter_and_sort_change_the_table_and_the_csv(show: Open, site: Site, optimized: BacktestResult) -> None:
    page = show()
    link = page.locator(".run-csv")
    assert shown_trades(page)[:5] == [0, 1, 2, 3, 4]
    page.keyboard.press("/")
    expect(page.locator("[data-filter]")).to_be_focused()
    page.keyboard.type("short win")
    wanted = [trade for trade in optimized.trades if trade.side == "short" and trade.net_pnl > 0.0]
    assert 0 < len(wanted) < len(optimized.trades)
    expect(page.locator(".run-count")).to_have_text(f"{len(wanted)} trade{'' if len(wanted) == 1 else 's'}")
    with page.expect_response(lambda answer: "sort=net_pnl" in answer.url):
        page.locator("[data-sort=net_pnl]").click()
    expect(page.locator("th[data-key=net_pnl]")).to_have_attribute("aria-sort", "descending")
    wanted.sort(key=lambda trade: trade.net_pnl, reverse=True)
    ids = [trade.trade_id for trade in wanted]
    drawn = shown_trades(page)
    assert drawn == ids[: len(drawn)]
    answer = site.server.ask(link.get_attribute("href") or "")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [int(row["trade_id"]) for row in rows] == ids
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".run-count")).to_have_text(f"{len(optimized.trades)} trades")
    page.locator("select[name=reason]").select_option("stop_loss")
    stopped = sum(trade.exit_reason == "stop_loss" for trade in optimized.trades)
    expect(page.locator(".run-count")).to_have_text(f"{stopped} trade{'' if stopped == 1 else 's'}")


def test_words_in_the_filter_become_the_filters_of_the_api(show: Open) -> None:
    page = show()
    script = "text => import('/static/views/run_trades.js').then(module => module.understood(text))"
    day = 86_400_000
    for text, filters, unknown in (
        ("long t2", {"side": "long", "tier": "2"}, []),
        ("tier 3 trailing take profit", {"tier": "3", "reason": "trailing_take_profit"}, []),
        ("stop", {"reason": "stop_loss"}, []),
        ("2024-02", {"start": 1_706_745_600_000, "end": 1_706_745_600_000 + 29 * day}, []),
        ("2024-02-29", {"start": 1_709_164_800_000, "end": 1_709_164_800_000 + day}, []),
        ("loss banana", {"result": "loss"}, ["banana"]),
        ("#12", {"trade": 12}, []),
    ):
        assert page.evaluate(script, text) == {"filters": filters, "unknown": unknown}, text


def test_a_click_on_a_trade_jumps_there_and_tells_the_library_story(
    show: Open, site: Site, optimized: BacktestResult
) -> None:
    page = show()
    wanted = 2
    trade = optimized.trades[wanted]
    page.locator(f"tr[data-trade='{wanted}']").click()
    expect(page.locator(".run-story .story-part")).to_have_count(6)
    story = story_of(optimized, wanted)
    lines = [line.strip() for line in told(story)[1:] if line.strip()]
    for sentence, line in zip(page.locator(STORY).all_inner_texts(), lines, strict=True):
        assert line.endswith(sentence)
    for name in ("net_pnl", "gross_pnl", "mfe", "mae"):
        expect(page.locator(f"[data-amount={name}] dd")).to_have_text(money(story["result"][name], signed=True))
    expect(page.locator("[data-amount=fees] dd")).to_have_text(money(trade.fees))
    candles = page.locator(".run-candles")
    entry, leave = (moment.timestamp() * 1000 for moment in (trade.entry_time, trade.exit_time))
    page.wait_for_function("at => Number(document.querySelector('.run-candles').dataset.end) > at", arg=leave)
    first, last = (float(candles.get_attribute(f"data-{name}") or 0) for name in ("start", "end"))
    assert first < entry <= leave < last
    assert last - first < 40 * 86_400_000
    expect(page.locator(f"tr[data-trade='{wanted}']")).to_have_class("chosen")
    page.keyboard.press("Escape")
    expect(page.locator(".run-story")).to_be_hidden()


def test_keys_walk_through_the_trades_and_enter_tells_one(show: Open) -> None:
    page = show()
    page.locator(".run-trades-scroll").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("tr[data-index='2']")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#story-title")).to_have_text("Trade 1")
    expect(page.locator("#story-title")).to_be_focused()
    page.keyboard.press("Escape")  # back to the row
    expect(page.locator("tr[data-index='1']")).to_be_focused()
    page.keyboard.press("End")
    last = page.locator("tr[data-trade]").last
    expect(last).to_be_focused()
    page.locator("[data-filter]").fill("#3")
    expect(page.locator("#story-title")).to_have_text("Trade 3")


# -- The statistics ----------------------------------------------------------------------------------------------------


def test_heat_maps_and_sums_are_those_of_the_library(show: Open, optimized: BacktestResult) -> None:
    page = show()
    to_statistics(page)
    months = optimized.metrics["monthly_returns"]
    cells = page.locator(".run-heat.months tbody tr td:not(.total)").all_inner_texts()
    filled = [cell for cell in cells if cell]
    assert [float(cell) for cell in filled] == [pytest.approx(row["percent"], abs=0.0051) for row in months]
    nets: dict[tuple[int, int], float] = {}
    for trade in optimized.trades:
        at = (trade.entry_time.weekday(), trade.entry_time.hour)
        nets[at] = nets.get(at, 0.0) + trade.net_pnl
    assert page.locator(".run-heat.hours td[title]").count() == len(nets)
    (weekday, hour), net = max(nets.items(), key=lambda item: abs(item[1]))
    cell = page.locator(".run-heat.hours tbody tr").nth(weekday).locator("td").nth(hour)
    expect(cell).to_have_attribute("title", re.compile(re.escape(f"net {money(net, signed=True)}")))
    for chart in ("distribution", "excursions", "costs"):
        expect(page.locator(f"#statistics-{chart} .plot .main-svg").first).to_be_visible()
    first = page.locator("#statistics-tiers tbody tr").first.locator("td")
    expect(first.nth(1)).to_have_text(str(optimized.tier_statistics[0]["fills"]))


# -- When there is nothing, and everywhere -----------------------------------------------------------------------------


def test_a_backtest_without_trades_says_so_and_what_to_do(show: Open, site: Site) -> None:
    page = show(site.idle)
    expect(page.locator("#run-trades .empty")).to_contain_text("This part made no trade")
    expect(page.locator(".run-verdict")).to_contain_text("No trade was made")
    to_statistics(page)
    expect(page.locator("#statistics-costs .empty")).to_be_visible()
    expect(page.locator("[data-part]")).to_have_count(1)


@pytest.mark.parametrize("size", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_sticks_out_and_nothing_serious_is_found(show: Open, size: tuple[int, int], scheme: str) -> None:
    page = show(size=size, scheme=scheme)
    page.locator("tr[data-trade]").first.click()
    page.wait_for_selector(STORY)
    to_statistics(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    violations = AXE().run(page).response["violations"]
    serious = [found["id"] for found in violations if found["impact"] in {"serious", "critical"}]
    assert serious == [], [node["html"][:200] for found in violations for node in found["nodes"]]
