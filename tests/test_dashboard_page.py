"""The page of the dashboard in a real browser: its frame, the list of runs, the form, and a run that is watched.

Everything is asked of a dashboard in a process of its own, with runs that were really made. Whatever a test does, the
console stays silent, and no request leaves this machine: the fixture that hands out pages looks at both.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from tests.dashboard_server import Server, served

pytestmark = pytest.mark.browser

WIDE, NARROW = (1440, 900), (390, 844)
PATIENCE_MS = 60_000  # only for what hangs
SMALL = ("--set", "validation.permutations=19", "--set", "optimization.num_trials=12")

Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with two small runs of the whole way."""
    folder = tmp_path_factory.mktemp("watched")
    for end in ("2025-04-15", "2025-05-15"):
        subprocess.run(
            [
                sys.executable, "-m", "barwise", "run", "--yes", "--quiet", "--profile", "FAST", "--home", str(folder),
                "--start", "2025-01-01", "--end", end, *SMALL,
            ],
            check=True,
            cwd=folder,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with served(home) as found:
        yield found


@contextmanager
def pages(browser: Browser, port: int, allowed: str = "") -> Iterator[Open]:
    """Pages of one dashboard; at the end their consoles must be empty but for what is allowed."""
    said: list[str] = []
    asked: set[str] = set()
    contexts = []

    def opened(place: str = "#/runs", size: tuple[int, int] = WIDE) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme="dark")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(f"http://127.0.0.1:{port}/{place}")
        page.wait_for_selector("main h1", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in said if not allowed or allowed not in text] == []
    assert asked - {""} == {f"127.0.0.1:{port}"}


@pytest.fixture
def show(chromium: Browser, server: Server) -> Iterator[Open]:
    with pages(chromium, server.port) as opened:
        yield opened


def findings(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds on a page that is serious or worse."""
    violations = Axe().run(page).response["violations"]
    return [
        (found["id"], node["html"][:200])
        for found in violations
        if found["impact"] in {"serious", "critical"}
        for node in found["nodes"]
    ]


def run_names(home: Path) -> list[str]:
    return sorted(path.name.removesuffix(".audit.jsonl") for path in (home / "data" / "results").glob("*.audit.jsonl"))


# -- The list ----------------------------------------------------------------------------------------------------------


def test_the_list_shows_every_run_with_its_verdict_and_opens_it_with_enter(show: Open, home: Path) -> None:
    page = show()
    for name in run_names(home):
        expect(page.locator("tbody tr", has_text=name)).to_contain_text(re.compile("LIKELY|UNPROVEN|TOO LITTLE DATA"))
    expect(page.locator("svg.spark").first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    first = page.locator("tbody tr").first
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("tbody tr").nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(first).to_be_focused()
    link = first.locator("a").first.get_attribute("href")
    assert link is not None
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{link}")


def test_two_runs_selected_by_keys_are_compared(show: Open, home: Path) -> None:
    page = show()
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    for row in page.locator("tbody tr").all()[:2]:
        row.focus()
        page.keyboard.press("Space")
    expect(compare).to_have_text("Compare 2")
    page.keyboard.press("c")
    page.wait_for_url("**/#/compare?runs=*")
    assert len(page.url.partition("runs=")[2].split(",")) == 2
    page.wait_for_selector("main h1", state="attached")


def test_the_filter_takes_words_in_any_order_and_says_when_nothing_is_left(show: Open, home: Path) -> None:
    page = show()
    page.keyboard.press("/")
    name = run_names(home)[0]
    page.keyboard.type(f"done {name}")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(name)
    page.keyboard.type(" nothing-has-this")
    expect(page.locator("tbody")).to_have_text("No run matches the filter.")
    page.keyboard.press("Escape")
    expect(page.locator("[data-filter]")).not_to_be_focused()


# -- The frame ---------------------------------------------------------------------------------------------------------


def test_keys_go_everywhere_and_the_theme_is_remembered(show: Open) -> None:
    page = show()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text("New run")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    page.keyboard.press("t")
    light = background()
    assert light != dark
    page.reload()
    page.wait_for_selector("main h1", state="attached")
    assert background() == light


def test_the_skip_link_comes_first_and_leads_to_the_heading(show: Open) -> None:
    page = show()
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.body.prepend(Object.assign(document.createElement('i'), {tabIndex: -1, id: 'top'}))")
    page.locator("#top").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


@pytest.mark.parametrize("place", ["#/nowhere", "#/run/%E0%A4%A", "#/data/a/b"])
def test_an_address_of_nothing_says_so_and_where_to_go(place: str, show: Open) -> None:
    page = show(place)
    expect(page.get_by_role("alert")).to_contain_text("There is no such page.")
    expect(page.get_by_role("alert")).to_contain_text("Choose a place above.")


def test_an_empty_home_says_how_to_make_the_first_run_and_a_dead_server_what_to_do(
    chromium: Browser, tmp_path: Path
) -> None:
    with served(tmp_path) as server, pages(chromium, server.port, allowed="net::ERR_") as opened:
        page = opened()
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page.locator("main")).to_contain_text("barwise run")
        page.get_by_role("link", name="Start the first run").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("New run")
        server.stop()
        page.get_by_role("link", name="Runs").click()
        expect(page.get_by_role("alert")).to_contain_text("The dashboard does not answer.")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()


# -- A run from the form to its verdict --------------------------------------------------------------------------------


def test_what_is_wrong_is_said_at_its_field(show: Open) -> None:
    page = show("#/new")
    page.fill("[name='market.start']", "2025-13-01")
    broken = page.locator("[name='market.start'][aria-invalid=true]")
    expect(broken).to_be_visible()
    named = broken.get_attribute("aria-describedby")
    assert named is not None
    expect(page.locator(f"#{named.split()[-1]}")).to_contain_text("2025-13-01")
    # A folded field opens, and gets the focus when the run is to be started all the same.
    page.fill("[name='market.start']", "2025-01-01")
    page.evaluate("document.querySelector('[name=\"strategy.ema_fast\"]').value = '1'")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("[name='strategy.ema_fast']")).to_be_focused()
    expect(page.locator("[name='strategy.ema_fast']")).to_have_attribute("aria-invalid", "true")
    assert page.url.endswith("#/new")


def test_a_run_started_from_the_form_is_watched_to_its_verdict_and_a_second_tab_shows_the_same(
    show: Open, home: Path
) -> None:
    page = show("#/new")
    before = run_names(home)
    page.fill("[name='market.start']", "2025-01-01")
    page.fill("[name='market.end']", "2025-04-01")
    page.select_option("[name='optimization.profile']", "FAST")
    page.get_by_text("Tests behind the verdict").click()
    page.fill("[name='validation.permutations']", "19")
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/live", wait_until="commit", timeout=120_000)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".live-state")).to_contain_text("done")
    (name,) = set(run_names(home)) - set(before)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_role("region", name="Verdict").locator(".badge")).to_be_visible()
    expect(page.get_by_role("progressbar", name="The whole run")).to_have_attribute("aria-valuenow", "100")
    expect(page.locator(".js-plotly-plot .scatterlayer").first).to_be_attached()
    stages = page.locator(".stages").inner_text()
    assert [word for word in ("look-ahead", "baseline", "integers", "verdict", "report") if word not in stages] == []
    assert "waiting" not in stages

    other = show(f"#/run/{name}/live")
    expect(other.locator(".live-state")).to_contain_text("done")
    expect(other.get_by_role("region", name="Verdict").locator(".badge")).to_be_visible()
    for part in (".stages", ".figures", ".verdict", ".note >> nth=0", ".note >> nth=1"):
        expect(other.locator(part)).to_have_text(page.locator(part).inner_text(), use_inner_text=True)


# -- Both widths, both themes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_serious_in_either_theme_and_nothing_is_wider_than_the_screen(
    size: tuple[int, int], show: Open, home: Path
) -> None:
    page = show("#/runs", size)
    for place, ready in (
        ("#/runs", "svg.spark"),
        ("#/new", ".resolved:not(:empty)"),
        (f"#/run/{run_names(home)[0]}/live", ".js-plotly-plot"),
    ):
        page.evaluate("place => { location.hash = place }", place)
        page.wait_for_selector(f".view {ready}")
        for _ in ("dark", "light"):
            page.keyboard.press("t")
            assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.keyboard.press("?")
    assert findings(page) == []
