"""The page of a report in a real browser: it draws, complains about nothing, asks for nothing, and fits a phone.

Chromium runs headless without a network. What a script inside the page sees (sizes, colours, clicks) is asked of a copy
without its content security policy; everything else looks at the page as it was written.
"""

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.report import write_report
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
)
CHARTS = ("equity", "candles", "costs", "distribution", "excursions")


class Browser:
    """One page at a time, each with a profile of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder

    def run(self, page: Path, *flags: str) -> tuple[str, list[str]]:
        """What the browser prints about a page, and what the page's console says."""
        done = subprocess.run(
            [self.program, *QUIET, f"--user-data-dir={self.folder / 'profile'}", *flags, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        shutil.rmtree(self.folder / "profile", ignore_errors=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    def screenshot(self, page: Path, width: int, height: int) -> bytes:
        """The page as a PNG; nothing may stand on its console."""
        target = self.folder / "shot.png"
        _, console = self.run(page, f"--window-size={width},{height}", f"--screenshot={target}")
        assert console == []
        return target.read_bytes()

    def ask(self, page: Path, question: str, width: int, *flags: str) -> Any:
        """The answer of a script inside the page, in a frame of that width: no window is as narrow as a phone."""
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
        answer = "(answer) => parent.postMessage(JSON.stringify(answer), '*')"
        script = f"<script>(async () => {{ {question} }})().then({answer})</script>"
        copy, frame = self.folder / "copy.html", self.folder / "frame.html"
        copy.write_text(text.replace("</body>", f"{script}</body>"), "utf-8")
        frame.write_text(
            f"<pre id=answer></pre><iframe src='copy.html' style='border:0;width:{width}px;height:3000px'></iframe>"
            "<script>onmessage = (event) => { document.getElementById('answer').textContent = event.data }</script>",
            "utf-8",
        )
        dump, console = self.run(frame, "--window-size=1500,1000", "--dump-dom", *flags)
        assert console == []
        found = re.search(r'<pre id="answer">(.*?)</pre>', dump, re.DOTALL)
        assert found
        assert found[1], "the script did not answer"
        return json.loads(found[1])

    def on_paper(self, page: Path) -> list[dict[str, Any]]:
        """Every chart as it is printed: whether it is one of the small ones, and whether it fits into its place."""
        found: list[dict[str, Any]] = self.ask(page, ON_PAPER, 688)  # A4 between its margins
        return found


# The rules of the medium, as if they were those of the screen: a script cannot ask what a printed page looks like.
ON_PAPER = """
const media = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
  .filter((rule) => rule.media && rule.media.mediaText === "print");
const style = document.createElement("style");
style.textContent = media.flatMap((rule) => [...rule.cssRules]).map((rule) => rule.cssText).join("\\n");
document.head.append(style);
window.dispatchEvent(new Event("beforeprint"));
await new Promise((done) => setTimeout(done, 300));
return [...document.querySelectorAll(".js-plotly-plot")].map((plot) => {
  const place = plot.getBoundingClientRect(), drawn = plot.querySelector(".main-svg").getBoundingClientRect();
  return {
    small: plot.closest(".small-charts") !== null, fits: drawn.width <= place.width && drawn.height === place.height,
    place: [place.width, place.height], drawn: [drawn.width, drawn.height],
  };
});
"""


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Chromium; the test is skipped, visibly, where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser among {', '.join(NAMES)}: install Chromium to run this test")
    return Browser(program, tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every chart."""
    result = backtest(sample_candles(start="2024-01-01", end="2024-04-01"), EmaRsiAtr(enable_rsi_filter=False), 0.5)
    assert result.total_trades > 5
    return write_report(result, tmp_path_factory.mktemp("home")).html


def png_size(image: bytes) -> tuple[int, int]:
    """Width and height."""
    assert image.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", image[16:24])
    return int(width), int(height)


def test_every_chart_is_drawn_and_the_console_stays_empty(browser: Browser, page: Path) -> None:
    dump, console = browser.run(page, "--dump-dom", "--window-size=1440,1000")
    assert console == []
    for chart in CHARTS:
        drawing = dump.split(f'id="chart-{chart}"')[1].split("</figure>")[0]
        assert "main-svg" in drawing, chart
    assert dump.count("js-plotly-plot") >= len(CHARTS)


def test_a_page_with_an_error_would_have_been_noticed(browser: Browser, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!DOCTYPE html><title>x</title><script>missing.thing()</script>", "utf-8")
    _, console = browser.run(broken, "--dump-dom")
    assert any("missing is not defined" in line for line in console)


def test_a_script_that_is_not_ours_does_not_run(browser: Browser, page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "injected.html"
    text = page.read_text("utf-8")
    copy.write_text(text.replace("</body>", "<script>document.title = 'taken over'</script></body>"), "utf-8")
    dump, console = browser.run(copy, "--dump-dom")
    assert "taken over</title>" not in dump
    assert any("Content Security Policy" in line for line in console)


def test_a_name_that_wants_to_be_a_script_is_shown_as_it_is(browser: Browser, tmp_path: Path) -> None:
    candles = sample_candles(start="2024-01-01", end="2024-02-01").to_polars()
    name = "<img src=x onerror=\"document.title='taken over'\">"
    result = backtest(candles, EmaRsiAtr(ema_trend=60), 0.5, symbol=name, timeframe="1H")
    dump, console = browser.run(write_report(result, tmp_path / "home").html, "--dump-dom")
    assert console == []
    assert "taken over</title>" not in dump
    assert "&lt;IMG SRC=X" in dump.split("<h1>")[1].split("</h1>")[0]


def test_no_button_of_a_chart_sends_it_anywhere(browser: Browser, page: Path) -> None:
    dump, _ = browser.run(page, "--dump-dom", "--window-size=1440,1000")
    buttons = set(re.findall(r'class="modebar-btn[^"]*"[^>]*data-title="([^"]+)"', dump))
    assert buttons
    assert not {button for button in buttons if re.search("cloud|share|upload|edit", button, re.IGNORECASE)}


def test_the_page_is_drawn_at_the_width_of_a_desk_and_of_a_phone(browser: Browser, page: Path, tmp_path: Path) -> None:
    desk = browser.screenshot(page, 1440, 2000)
    assert png_size(desk) == (1440, 2000)
    frame = tmp_path / "phone.html"
    frame.write_text(
        f"<!DOCTYPE html><body style='margin:0'><iframe src='{page.as_uri()}' "
        "style='border:0;width:390px;height:2000px'></iframe>",
        "utf-8",
    )
    phone = browser.screenshot(frame, 500, 2000)
    assert png_size(phone) == (500, 2000)
    # An empty page of this size is a few thousand bytes.
    assert min(len(desk), len(phone)) > 50_000


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_but_tables_is_wider_than_the_screen(width: int, browser: Browser, page: Path) -> None:
    answer = browser.ask(
        page,
        """
        const wide = [...document.body.querySelectorAll("*")]
          .filter((item) => !item.closest(".scroll table, svg, .modebar"))
          .filter((item) => item.getBoundingClientRect().right > innerWidth + 1)
          .map((item) => item.outerHTML.slice(0, 90));
        return { page: document.documentElement.scrollWidth, screen: innerWidth, wide };
        """,
        width,
    )
    assert answer == {"page": width, "screen": width, "wide": []}


def test_charts_keep_their_size_on_a_phone(browser: Browser, page: Path) -> None:
    answer = browser.ask(
        page,
        """
        return [...document.querySelectorAll(".plot")].map((plot) => {
          const drawing = plot.querySelector(".main-svg").getBoundingClientRect();
          return [drawing.width, drawing.height, plot.clientWidth, plot.clientHeight].map(Math.round);
        });
        """,
        390,
    )
    assert len(answer) == len(CHARTS)
    assert all([width, height] == [room, tall] for width, height, room, tall in answer)


BRIGHTNESS = """
    const bright = (colour) => colour.match(/[0-9]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
    const seen = () => ({
      page: bright(getComputedStyle(document.body).backgroundColor),
      text: bright(getComputedStyle(document.body).color),
      chart: bright(document.querySelector("#chart-equity .main-svg").style.background),
      button: document.getElementById("theme").textContent,
    });
"""


@pytest.mark.parametrize(("scheme", "first", "button"), [(1, "light", "Dark theme"), (0, "dark", "Light theme")])
def test_the_page_follows_the_system_and_its_button(
    scheme: int, first: str, button: str, browser: Browser, page: Path
) -> None:
    question = f"{BRIGHTNESS} const before = seen(); document.getElementById('theme').click(); return [before, seen()];"
    before, after = browser.ask(page, question, 1200, f"--blink-settings=preferredColorScheme={scheme}")
    assert before["button"] == button
    light, dark = (before, after) if first == "light" else (after, before)
    assert light["page"] > 240 > 60 > light["text"]
    assert dark["page"] < 60 < 200 < dark["text"]
    assert light["chart"] > 240
    assert dark["chart"] < 60


def test_zooming_in_time_fits_the_prices_to_what_is_visible(browser: Browser, page: Path) -> None:
    answer = browser.ask(
        page,
        """
        const plot = document.getElementById("chart-candles");
        const whole = plot.layout.yaxis.range.slice();
        const times = plot.data[0].x;
        const [first, last] = [times[100], times[200]].map((time) => new Date(time).toISOString().slice(0, 19));
        const settled = () => new Promise((done) => setTimeout(done, 200));
        await Plotly.relayout(plot, { "xaxis.range": [first, last] });
        await settled();
        const part = plot.layout.yaxis.range.slice();
        const low = Math.min(...plot.data[0].low.slice(100, 201));
        const high = Math.max(...plot.data[0].high.slice(100, 201));
        await Plotly.relayout(plot, { "xaxis.autorange": true });
        await settled();
        return { whole, part, low, high, again: plot.layout.yaxis.range };
        """,
        1200,
    )
    room = 0.05 * (answer["high"] - answer["low"])
    assert answer["part"] == pytest.approx([answer["low"] - room, answer["high"] + room])
    assert answer["again"] == pytest.approx(answer["whole"])
    assert answer["part"][1] - answer["part"][0] < answer["whole"][1] - answer["whole"][0]


def test_printing_makes_a_light_document_of_several_pages(browser: Browser, page: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.pdf"
    _, console = browser.run(page, f"--print-to-pdf={target}", "--blink-settings=preferredColorScheme=0")
    assert console == []
    pdf = target.read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) <= 15
