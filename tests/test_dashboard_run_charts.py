"""The charts of a run in a real browser: linked zoom, the story of a trade by its address, and a market that closes.

The dashboard is a process of its own with two runs that were really made: the whole way over a market that never
closes, and a backtest over sessions. Whatever a test does, the console stays silent.
"""

import math
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard_server import Server, served
from tests.test_dashboard_run_view import PATIENCE_MS, PHONE, WIDE, barwise, colours_on, queries

pytestmark = pytest.mark.browser

DAY_MS = 86_400_000
BARS_A_DAY = 75  # of 5 minutes, in a session of 09:15 to 15:30 in India
FIRST_DAY = datetime(2025, 9, 1, 3, 45, tzinfo=UTC)  # a Monday
DAYS = 20
RANGE = "node => node._fullLayout.xaxis.range.map((edge) => new Date(edge + 'Z').getTime())"

Open = Callable[..., Page]


class Site(NamedTuple):
    """A dashboard that is being served, and the runs in its home."""

    server: Server
    run: str
    sessions: str


def write_sessions(path: Path) -> None:
    """Candles of five minutes on weekdays, from the open of a session to its close."""
    chance, close = random.Random(5), 1400.0
    rows = ["time,open,high,low,close,volume"]
    for day in range(DAYS):
        opens = FIRST_DAY + timedelta(days=day + 2 * (day // 5))
        for bar in range(BARS_A_DAY):
            before, close = close, round(close * math.exp(chance.gauss(0.0, 0.002)), 2)
            high, low = max(before, close) + 0.4, min(before, close) - 0.4
            at = opens + timedelta(minutes=5 * bar)
            rows.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{before:.2f},{high:.2f},{low:.2f},{close:.2f},1000")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One run of the whole way, and one backtest over sessions."""
    home = tmp_path_factory.mktemp("charts")
    write_sessions(home / "sessions.csv")
    small = ("--set", "validation.permutations=19", "--set", "optimization.num_trials=12")
    free = ("--set", "strategy.enable_rsi_filter=false")
    barwise(home, "run", "--yes", "--profile", "FAST", *free, *small)
    market = ("--file", "sessions.csv", "--exchange", "ZERODHA", "--symbol", "NSE:TEST", "--timeframe", "5M")
    barwise(home, "backtest", *market, "--set", "enable_rsi_filter=false", spanned=False)
    results = home / "data" / "results"
    [trail] = results.glob("run-*.audit.jsonl")
    [alone] = results.glob("2*.manifest.json")
    with served(home) as server:
        yield Site(server, trail.name.removesuffix(".audit.jsonl"), alone.name.removesuffix(".manifest.json"))


@pytest.fixture
def show(chromium: Browser, site: Site) -> Iterator[Open]:
    """Pages with a run; at the end their consoles must be empty."""
    expect.set_options(timeout=PATIENCE_MS)
    said: list[str] = []
    contexts = []

    def opened(name: str = site.run, query: str = "", size: tuple[int, int] = WIDE, **more: Any) -> Page:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme="dark", **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"http://127.0.0.1:{site.server.port}/#/run/{name}{query}")
        page.wait_for_selector(".run-candles[data-timeframe]")
        page.wait_for_selector(".run-trades tbody tr[data-trade]")
        page.wait_for_selector(".run-equity .scatterlayer")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def window(page: Page) -> tuple[int, int]:
    """First and last instant that the candles show, ms."""
    node = page.locator(".run-candles")
    return int(node.get_attribute("data-start") or 0), int(node.get_attribute("data-end") or 0)


def settled(page: Page, wanted: Callable[[], bool]) -> None:
    """Waits until something holds; only a hang fails it."""
    for _ in range(PATIENCE_MS // 50):
        if wanted():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came: candles {window(page)}, curves {page.locator('.run-equity').evaluate(RANGE)}")


def near(one: Any, other: Any, slack: float) -> bool:
    return all(abs(a - b) < slack for a, b in zip(one, other, strict=True))


# -- Linked zoom -------------------------------------------------------------------------------------------------------


def test_a_zoom_of_the_curves_moves_the_candles_and_a_pan_of_the_candles_the_curves(show: Open) -> None:
    page = show(size=(1440, 1600))
    curves, candles = page.locator(".run-equity"), page.locator(".run-candles")
    curves.scroll_into_view_if_needed()
    before, whole = window(page), curves.evaluate(RANGE)
    box = page.locator(".run-equity .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 42, steps=4)
    page.mouse.up()
    settled(page, lambda: window(page) != before)
    settled(page, lambda: near(window(page), curves.evaluate(RANGE), DAY_MS / 24))
    first, last = window(page)
    assert last - first == pytest.approx(0.2 * (whole[1] - whole[0]), rel=0.02)
    candles.focus()
    page.keyboard.press("ArrowRight")
    settled(page, lambda: window(page)[0] > first)
    settled(page, lambda: near(window(page), curves.evaluate(RANGE), DAY_MS / 24))
    assert window(page)[0] - first == pytest.approx(0.2 * (last - first), rel=0.01)
    # Nobody answers the other once both stand still.
    page.wait_for_timeout(600)
    asked = [queries(page, end) for end in ("/candles", "/equity")]
    page.wait_for_timeout(800)
    assert asked == [[], []]


def test_a_double_click_on_either_chart_shows_all_in_both(show: Open, site: Site) -> None:
    page = show(size=(1440, 1600))
    curves, candles = page.locator(".run-equity"), page.locator(".run-candles")
    curves.scroll_into_view_if_needed()
    whole = curves.evaluate(RANGE)
    for reset in (curves.locator(".nsewdrag").first, candles):
        page.locator("[data-range=week]").click()
        settled(page, lambda: window(page)[1] - window(page)[0] == 7 * DAY_MS)
        settled(page, lambda: near(curves.evaluate(RANGE), window(page), DAY_MS / 24))
        reset.dblclick(position={"x": 200, "y": 60})
        settled(page, lambda: window(page)[1] - window(page)[0] > 100 * DAY_MS)
        settled(page, lambda: near(curves.evaluate(RANGE), whole, 1000))
    expect(page.locator("[data-range=all]")).to_have_attribute("aria-pressed", "true")


# -- A trade -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["optimized", "out_of_sample"])
def test_the_address_has_the_trade_and_a_reload_and_the_way_back_show_what_it_says(
    show: Open, site: Site, part: str
) -> None:
    page = show(query=f"?part={part}")
    before = window(page)
    page.locator("tr[data-trade]").nth(2).click()
    title = page.locator("#story-title")
    expect(title).to_be_focused()
    expect(page.locator(".run-story [data-amount=net_pnl]")).to_be_visible()
    told = title.inner_text()
    assert page.url.endswith(f"trade={told.removeprefix('Trade ')}")
    middle = r"document.querySelector('.run-candles').dataset"
    settled(page, lambda: window(page) != before)  # the candles have jumped there
    shown = window(page)
    page.reload()
    expect(title).to_have_text(told)
    expect(page.locator(f"[data-part={part}]")).to_have_attribute("aria-pressed", "true")
    settled(page, lambda: near(window(page), shown, 60_000))
    assert page.evaluate(f"{middle}.timeframe") == "1H"
    page.keyboard.press("j")
    expect(title).not_to_have_text(told)
    page.go_back()
    expect(page.locator(".run-story")).to_be_hidden()
    assert "trade=" not in page.url


def test_the_way_back_through_trades_keeps_the_page_that_is_there(show: Open) -> None:
    page = show()
    page.evaluate("document.querySelector('h1').dataset.seen = 'before'")
    title = page.locator("#story-title")
    told = []
    for row in (1, 3):
        page.locator("tr[data-trade]").nth(row).click()
        expect(title).to_have_text(f"Trade {page.url.split('trade=')[1]}")
        told.append(title.inner_text())
    page.go_back()
    expect(title).to_have_text(told[0])
    page.go_back()
    expect(page.locator(".run-story")).to_be_hidden()
    page.go_forward()
    expect(title).to_have_text(told[0])
    assert page.evaluate("document.querySelector('h1').dataset.seen") == "before"


def test_a_mark_in_the_chart_and_enter_open_the_trade_that_stands_there(show: Open) -> None:
    page = show(query="?trade=2")
    expect(page.locator(".run-story .story-part")).to_have_count(6)
    page.keyboard.press("Escape")
    expect(page.locator(".run-story")).to_be_hidden()
    candles = page.locator(".run-candles")
    candles.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#story-title")).to_have_text("Trade 2")
    box = candles.bounding_box()
    assert box is not None
    # The pointer over one of the marks says whose it is.
    for step in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.2 + step / 100), box["y"] + box["height"] * 0.3)
        page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"O [\d,.]+, H [\d,.]+, L [\d,.]+, C [\d,.]+, change"))


def test_a_layer_that_is_pressed_away_is_not_drawn(show: Open) -> None:
    page = show(query="?trade=2")
    expect(page.locator(".run-story .story-part")).to_have_count(6)
    keys = page.locator(".run-legend button")
    names = keys.all_inner_texts()
    assert {"EMA fast", "stop", "target", "entry program", "signal"} <= set(names)
    assert any(name.startswith("tier ") for name in names)
    before = colours_on(page)
    for name in names:
        page.locator(".run-legend").get_by_role("button", name=name, exact=True).click()
    settled(page, lambda: colours_on(page) < before)
    expect(keys.first).to_have_attribute("aria-pressed", "false")


# -- A market that closes ----------------------------------------------------------------------------------------------


def test_nights_and_weekends_are_no_holes(show: Open, site: Site) -> None:
    page = show(site.sessions)
    page.locator("[data-range=week]").click()
    settled(page, lambda: page.locator(".run-candles").get_attribute("data-timeframe") == "5M")
    script = """() => import("/static/views/run_axis.js").then(async ({ tradingTime }) => {
        const answer = await fetch(`/api/v1${location.hash.slice(1).replace("/run/", "/runs/")}/candles?points=20000`);
        const { time, closed } = await answer.json();
        const axis = tradingTime(closed);
        const places = time.map(axis.place);
        return {
            closed: closed.length,
            steps: [...new Set(places.slice(1).map((place, i) => place - places[i]))],
            back: time.every((at) => axis.time(axis.place(at)) === at),
            ticks: axis.ticks([places[0], places.at(-1)], 8).map((tick) => tick.text),
        };
    })"""
    found = page.evaluate(script)
    assert found["closed"] == DAYS - 1
    assert found["steps"] == [300_000]
    assert found["back"]
    assert 4 <= len(found["ticks"]) <= 12
    first, last = window(page)
    assert (datetime.fromtimestamp(first / 1000, UTC).hour, datetime.fromtimestamp(first / 1000, UTC).minute) == (3, 45)
    expect(page.locator(".run-holder.chart .run-note").first).to_contain_text(f"{5 * BARS_A_DAY} candles of 5M")
    assert last - first < 7 * DAY_MS


# -- A phone -----------------------------------------------------------------------------------------------------------


def test_a_finger_pans_the_candles_and_still_scrolls_the_page(show: Open) -> None:
    page = show(query="?trade=2", size=PHONE, has_touch=True, is_mobile=True)
    expect(page.locator(".run-story .story-part")).to_have_count(6)
    candles = page.locator(".run-candles")
    candles.scroll_into_view_if_needed()
    settled(page, lambda: page.locator(".run-busy").is_hidden())
    box = candles.bounding_box()
    assert box is not None
    x, y = box["x"] + 120, box["y"] + 120
    touches = page.context.new_cdp_session(page)

    def swipe(across: int, down: int) -> None:
        touches.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 11):
            point = {"x": x + across * step, "y": y + down * step}
            touches.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    before = window(page)
    swipe(10, 0)
    settled(page, lambda: window(page)[0] < before[0])
    moved, scrolled = window(page), page.evaluate("scrollY")
    swipe(0, -12)
    settled(page, lambda: page.evaluate("scrollY") > scrolled)
    assert window(page) == moved
    # The key of the chart stands below the candles and not over them.
    key, picture = page.locator(".run-legend").bounding_box(), candles.bounding_box()
    assert key is not None
    assert picture is not None
    assert key["y"] >= picture["y"] + picture["height"]


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_titles_and_names_of_the_pictures_say_what_was_found(show: Open, site: Site, size: tuple[int, int]) -> None:
    page = show(size=size)
    page.locator("#run-statistics").scroll_into_view_if_needed()
    page.wait_for_selector("#statistics-costs .plot .main-svg")
    expect(page.locator("#statistics-months h3")).to_have_text(re.compile(r"Months: \d of \d months gained"))
    expect(page.locator("#statistics-distribution h3")).to_have_text(re.compile(r"\d+ of \d+ trades won"))
    for chart in ("distribution", "excursions", "costs"):
        title = page.locator(f"#statistics-{chart} h3").inner_text()
        expect(page.locator(f"#statistics-{chart} .plot")).to_have_attribute("aria-label", f"{title}.")
    expect(page.locator(".run-equity")).to_have_attribute("aria-label", re.compile(r"optimized [+-][\d.]+ %"))
    expect(page.locator(".run-candles")).to_have_attribute("aria-label", re.compile(r"candles of .*trade"))
    # On a phone both heat maps fit without a scroll to the side.
    wide = page.locator("#statistics-hours .scroll").evaluate("node => node.scrollWidth - node.clientWidth")
    assert wide <= 1
