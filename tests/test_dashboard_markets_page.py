"""Several markets in a real browser: the form that begins a run over them, the page on which it is watched, and the
form that is filled in by a run that is there or by the parameters of a strategy of one's own.
"""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from barwise.dashboard.run_state import holder_of, state_of
from barwise.hardware import measure_hardware, save_profile
from barwise.hardware.profile import FILE_NAME
from tests.command_line import BREAKOUT
from tests.dashboard_server import Server, served
from tests.test_dashboard_page import NARROW, PATIENCE_MS, WIDE, Open, findings, pages

pytestmark = pytest.mark.browser

RUN_MS = 240_000  # two small markets on a machine that has other things to do
OWN = BREAKOUT.replace("Int(20, low=2)", 'Int(20, low=2, high=200, help="bars of the channel")').replace(
    "    lookback", '    kind: Literal["high", "close"] = "high"\n    lookback'
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a strategy of one's own; what this computer is is known, because timing it takes long."""
    folder = tmp_path_factory.mktemp("markets")
    save_profile(measure_hardware(folder=folder, seconds_limit=0.2), folder / "data" / FILE_NAME)
    (folder / "strategies").mkdir()
    (folder / "strategies" / "breakout.py").write_text(f"from typing import Literal\n{OWN}")
    (folder / "broken.py").write_text("from barwise import Strategy\nclass Broken(Strategy):\n    no no\n")
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with served(home) as found:
        yield found


@pytest.fixture
def show(chromium: Browser, server: Server) -> Iterator[Open]:
    with pages(chromium, server.port) as opened:
        yield opened


def row(page: Page, number: int) -> Locator:
    """One of the markets of the form."""
    return page.get_by_role("group", name=f"Market {number}", exact=True)


def fill_in(page: Page, *, permutations: int, first: str = "2024-01-01") -> None:
    """A form of two small markets, as somebody would fill it in."""
    page.get_by_role("button", name="Add a market").click()
    row(page, 1).get_by_label("Symbol").fill("SAMPLE-BTC")
    row(page, 2).get_by_label("Symbol").fill("SAMPLE-ETH")
    row(page, 2).get_by_label("Quantity").fill("1")
    page.fill("[name='market.start']", first)
    page.fill("[name='market.end']", "2024-03-15")
    page.select_option("[name='optimization.profile']", "FAST")
    page.get_by_text("Search", exact=True).click()
    page.fill("[name='optimization.num_trials']", "20")
    page.get_by_text("Tests behind the verdict").click()
    page.fill("[name='validation.permutations']", str(permutations))
    page.get_by_text("Walk-forward windows").click()
    page.fill("[name='walk_forward.is_length_days']", "30")
    page.fill("[name='walk_forward.oos_length_days']", "15")


def begin(page: Page) -> str:
    """Start it, and the name of the run once its page is there."""
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/#/market/*/live", wait_until="commit", timeout=RUN_MS)
    found = re.search(r"#/market/(run-multi-[0-9a-f]{8})/live$", page.url)
    assert found is not None, page.url
    return found[1]


def market(page: Page, symbol: str) -> Locator:
    return page.locator(".live-markets tbody tr", has_text=symbol)


def test_two_markets_are_begun_from_the_form_and_watched_to_their_verdicts(show: Open, home: Path) -> None:
    page = show("#/new")
    fill_in(page, permutations=19)
    name = begin(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator(".live-markets tbody tr")).to_have_count(2)
    expect(page.locator(".live-markets tbody th").first).to_contain_text("SAMPLE SAMPLE-BTC 1H")
    other = show(f"#/market/{name}/live")

    # A click leads to the page of a market, as soon as that has begun.
    market(page, "SAMPLE-BTC").get_by_role("link").click(timeout=RUN_MS)
    page.wait_for_url("**/#/run/run-sample-btc-1h-*/live")
    expect(page.get_by_role("heading", level=1)).to_contain_text("run-sample-btc-1h-")
    page.go_back()

    for tab in (page, other):
        expect(tab.locator(".live-state")).to_contain_text("done", timeout=RUN_MS)
        expect(tab.get_by_role("progressbar", name="All markets")).to_have_attribute("aria-valuenow", "100")
        for symbol in ("SAMPLE-BTC", "SAMPLE-ETH"):
            expect(market(tab, symbol)).to_contain_text("all stages")
            expect(market(tab, symbol).locator(".badge")).to_be_visible()
            expect(market(tab, symbol)).to_contain_text("Sharpe ratio")
            bar = tab.get_by_role("progressbar", name=f"Progress of SAMPLE {symbol} 1H")
            expect(bar).to_have_attribute("aria-valuenow", "100")
    shown = [part.inner_text() for part in (page.locator(".live-markets"), page.locator(".figures"))]
    page.reload()
    expect(page.locator(".live-state")).to_contain_text("done")
    for tab in (page, other):
        for part, text in zip((".live-markets", ".figures"), shown, strict=True):
            expect(tab.locator(part)).to_have_text(text, use_inner_text=True)

    # Whoever has the address of a run comes to the page of all markets, and from there to what they found.
    page.evaluate("name => { location.hash = `#/run/${name}/live` }", name)
    page.wait_for_url(f"**/#/market/{name}/live", wait_until="commit")
    page.get_by_role("link", name="See all markets together").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Markets")
    expect(page.locator("main")).to_contain_text("Market by market")

    # And its settings fill the form.
    page.evaluate("name => { location.hash = `#/new?from=${name}` }", name)
    expect(page.locator("main")).to_contain_text(f"Filled with the settings of {name}")
    expect(row(page, 1).get_by_label("Symbol")).to_have_value("SAMPLE-BTC")
    expect(row(page, 2).get_by_label("Symbol")).to_have_value("SAMPLE-ETH")
    expect(row(page, 2).get_by_label("Quantity")).to_have_value("1")
    values = {
        "market.start": "2024-01-01", "market.end": "2024-03-15", "optimization.profile": "FAST",
        "optimization.num_trials": "20", "validation.permutations": "19", "walk_forward.is_length_days": "30",
    }  # fmt: skip
    for key, value in values.items():
        expect(page.locator(f"[name='{key}']")).to_have_value(value)
    expect(page.locator(".resolved")).to_contain_text("permutations = 19")
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)


def test_a_run_over_several_markets_that_is_stopped_goes_on_and_one_that_is_killed_is_interrupted(
    show: Open, home: Path
) -> None:
    page = show("#/new")
    fill_in(page, permutations=100_000, first="2024-01-02")
    name = begin(page)
    expect(market(page, "SAMPLE-BTC")).to_contain_text("shuffled markets", timeout=RUN_MS)
    expect(market(page, "SAMPLE-ETH")).to_contain_text("waits for its turn")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Resume").click(timeout=RUN_MS)
    expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=RUN_MS)
    expect(market(page, "SAMPLE-BTC")).to_contain_text("shuffled markets", timeout=RUN_MS)
    holder = holder_of(home, name)
    assert holder is not None
    os.killpg(holder, signal.SIGKILL)
    expect(page.locator(".live-state")).to_contain_text("interrupted", timeout=RUN_MS)
    expect(market(page, "SAMPLE-BTC")).to_contain_text("interrupted")
    expect(market(page, "SAMPLE-ETH")).to_contain_text("not begun")
    page.reload()
    expect(market(page, "SAMPLE-BTC")).to_contain_text("interrupted")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert state_of(home, name) == "interrupted"
    for size in (WIDE, NARROW):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for _ in ("dark", "light"):
            page.keyboard.press("t")
            assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_what_is_wrong_with_a_market_is_said_in_its_row(show: Open) -> None:
    page = show("#/new")
    for _ in range(2):
        page.get_by_role("button", name="Add a market").click()
    page.get_by_role("button", name="Remove market 2").click()
    expect(page.locator(".market-row")).to_have_count(2)
    row(page, 2).get_by_label("Symbol").fill("NOSUCH")
    expect(row(page, 2)).to_contain_text("NOSUCH is no symbol of the SAMPLE market")
    expect(row(page, 2).get_by_label("Symbol")).to_have_attribute("aria-invalid", "true")
    expect(row(page, 1).locator(".trouble")).to_be_empty()
    row(page, 2).get_by_label("Symbol").fill("SAMPLE-ETH")
    row(page, 2).get_by_label("Quantity").fill("much")
    expect(row(page, 2).get_by_label("Quantity")).to_have_attribute("aria-invalid", "true")
    expect(row(page, 2).get_by_label("Symbol")).not_to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Start the run").click()
    expect(row(page, 2).get_by_label("Quantity")).to_be_focused()
    row(page, 2).get_by_label("Quantity").fill("1")
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    assert page.url.endswith("#/new")


def test_a_strategy_of_ones_own_has_its_parameters_in_the_form(show: Open, home: Path) -> None:
    page = show("#/new")
    page.get_by_text("Strategy parameters").click()
    expect(page.locator("[name='strategy.ema_fast']")).to_be_visible()
    page.fill("[name='strategy.atr_sl_multiplier']", "2.5")
    page.select_option("[name='strategy.class']", "strategies/breakout.py:Breakout")
    lookback = page.locator("[name='strategy.lookback']")
    expect(lookback).to_be_visible()
    expect(lookback).to_have_value("20")
    field = page.locator(".field", has=lookback)
    expect(field).to_contain_text("bars of the channel; 2 or more, 200 at most")
    expect(page.locator("[name='strategy.ema_fast']")).to_have_count(0)
    expect(page.locator("[name='strategy.kind'] option")).to_have_text(["high", "close"])
    # What both have stays as it was set.
    expect(page.locator("[name='strategy.atr_sl_multiplier']")).to_have_value("2.5")
    lookback.fill("1")
    expect(field.locator(".trouble")).to_contain_text("lookback must be greater than or equal to 2")
    lookback.fill("55")
    page.select_option("[name='strategy.kind']", "close")
    expect(page.locator(".resolved")).to_contain_text("lookback = 55")
    expect(page.locator(".resolved")).to_contain_text('kind = "close"')

    page.select_option("[name='strategy.class']", "")
    own = page.locator("[name='strategy.file-and-class']")
    own.fill(str(home / "strategies" / "breakout.py:Nobody"))
    trouble = page.locator(".field", has=own).locator(".trouble")
    expect(trouble).to_contain_text("has no class Nobody")
    own.fill("/etc/strategy.py:Mine")
    expect(trouble).to_contain_text("not below the home folder")
    own.fill(str(home / "broken.py:Broken"))
    expect(trouble).to_contain_text("SyntaxError")
    own.fill(str(home / "strategies" / "breakout.py:Breakout"))
    expect(lookback).to_be_visible()
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    page.select_option("[name='strategy.class']", index=0)
    expect(page.locator("[name='strategy.ema_fast']")).to_be_attached()
    expect(page.locator(".resolved")).to_contain_text("ema_fast = 20")


def test_a_form_that_a_run_cannot_fill_says_why_and_is_there_all_the_same(chromium: Browser, server: Server) -> None:
    with pages(chromium, server.port, allowed="404 (NOT FOUND)") as opened:
        page = opened("#/new?from=run-nobody")
        expect(page.get_by_role("alert")).to_contain_text("there is no run run-nobody")
        expect(page.get_by_role("button", name="Start the run")).to_be_visible()


@pytest.fixture(scope="module", autouse=True)
def nothing_goes_on(home: Path) -> Iterator[None]:
    """No run outlives the tests, whatever came of them."""
    yield
    for lock in (home / "data" / "checkpoints").glob("*.lock"):
        holder = holder_of(home, lock.stem)
        end = time.monotonic() + PATIENCE_MS / 1000
        if holder is not None:
            os.killpg(holder, signal.SIGKILL)
        while holder_of(home, lock.stem) is not None:
            assert time.monotonic() < end
            time.sleep(0.05)
