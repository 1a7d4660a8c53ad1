"""The files of a run through the dashboard: all of them, as they lie on the disk, and nothing else.

A report has scripts and is shown by the dashboard's own address, so what a report that somebody changed can do there is
tried in a real browser.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect

from barwise.dashboard.api_files import endpoints
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX
from tests.dashboard_server import ENVIRONMENT, Server, served

PATIENCE_MS = 30_000
SECRET = "root:x:0:0:outside"
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
# What somebody who may write into the home folder would put into a report: it tells the title that it was there.
ATTACK = (
    "document.title = 'it ran';"
    "fetch('/api/v1/runs').then((answer) => answer.text())"
    ".then((text) => { document.title = text; }, () => { document.title += ', and fetch failed'; });"
)


class Home(NamedTuple):
    """A home folder with runs of two markets, the run over both, and a single backtest."""

    folder: Path
    multi: str
    btc: str
    eth: str
    backtest: str

    @property
    def names(self) -> tuple[str, ...]:
        return self[1:]

    def path(self, name: str, ending: str) -> Path:
        return self.folder / "data" / "results" / f"{name}{ending}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("files")

    def barwise(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "barwise", *words, "--quiet", "--home", str(folder)],
            check=True, cwd=folder, env=ENVIRONMENT,
        )  # fmt: skip

    barwise(
        "run", "--yes", "--profile", "FAST", "--start", "2024-01-01", "--end", "2024-03-15",
        "--market", "SAMPLE,SAMPLE-BTC,1H", "--market", "SAMPLE,SAMPLE-ETH,1H",
        "--set", "validation.permutations=0", "--set", "optimization.num_trials=12",
        "--set", "walk_forward.is_length_days=30",
    )  # fmt: skip
    results = folder / "data" / "results"
    document = json.loads(next(results.glob("run-multi-*.json")).read_text("utf-8"))
    runs = {row["symbol"]: row["run"] for row in document["markets"]}
    barwise("backtest", "--start", "2024-01-01", "--end", "2024-02-01")
    [backtest] = {path.stem for path in results.glob("*.html")} - {*runs.values(), document["name"]}
    return Home(folder, document["name"], runs["SAMPLE-BTC"], runs["SAMPLE-ETH"], backtest)


@pytest.fixture
def copied(home: Home, tmp_path: Path) -> Home:
    """The same in a folder of its own, to change things in, with a file beside it that nobody may see."""
    folder = tmp_path / "home"
    shutil.copytree(home.folder / "data", folder / "data", ignore=shutil.ignore_patterns("checkpoints"))
    (folder / "config").mkdir()
    (folder / "config" / ".env").write_text(f"BINANCE_API_SECRET={SECRET}\n", encoding="utf-8")
    (tmp_path / "outside").write_text(SECRET, encoding="utf-8")
    return home._replace(folder=folder)


@pytest.fixture
def client(copied: Home) -> Iterator[FlaskClient]:
    app = create_app(DashboardConfig(copied.folder))
    yield app.test_client()
    app.extensions["barwise"].close()


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Server]:
    with served(home.folder) as running:
        yield running


def listed(client: FlaskClient, name: str) -> list[dict[str, Any]]:
    answer = client.get(f"{PREFIX}/runs/{name}/files")
    assert answer.status_code == 200, answer.data
    found = json.loads(answer.data)
    import_module("jsonschema").Draft202012Validator(endpoints.all[0].answers).validate(found)
    return list(found["files"])


class Got(NamedTuple):
    """A whole answer, of which nothing is open any more."""

    status: int
    headers: Any
    body: bytes


def got(client: FlaskClient, name: str, which: str, method: str = "GET", **headers: str) -> Got:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    with client.open(f"{PREFIX}/runs/{name}/files/{which}", method=method, headers=named) as answer:
        return Got(answer.status_code, answer.headers, answer.data)


def on_disk(home: Home, name: str) -> dict[str, Path]:
    """Every file that a run has left, found by looking for it."""
    places = (home.folder / "data" / place for place in ("results", "exports", "raw_logs"))
    paths = (path for place in places for path in place.rglob(f"{name}*") if path.is_file())
    return {path.name: path for path in paths}


class TestWhatThereIs:
    @pytest.mark.parametrize("at", range(4), ids=["multi", "btc", "eth", "backtest"])
    def test_every_file_of_a_run_is_listed_and_comes_as_it_is(self, at: int, copied: Home, client: FlaskClient) -> None:
        name = copied.names[at]
        files, there = listed(client, name), on_disk(copied, name)
        assert {file["name"] for file in files} == set(there)
        assert files[0]["which"] == "report"
        for file in files:
            path = there[file["name"]]
            assert (file["bytes"], file["written_ms"]) == (path.stat().st_size, path.stat().st_mtime_ns // 1_000_000)
            assert file["about"].endswith(".")
            assert file["opens"] == (path.suffix == ".html")
            answer = got(client, name, file["which"])
            assert answer.status == 200
            assert answer.body == path.read_bytes()
            assert answer.headers["Content-Length"] == str(len(answer.body))

    def test_a_run_that_has_only_a_trail_has_only_that(self, copied: Home, client: FlaskClient) -> None:
        trail = copied.path(copied.btc, ".audit.jsonl")
        shutil.copy(trail, trail.with_name("run-x-1h-00000000.audit.jsonl"))
        assert [file["which"] for file in listed(client, "run-x-1h-00000000")] == ["trail"]

    def test_the_report_over_several_markets_leads_to_theirs(self, copied: Home, client: FlaskClient) -> None:
        page = copied.path(copied.multi, ".html").read_text("utf-8")
        assert f'href="{copied.btc}.html"' in page
        linked = got(client, copied.multi, f"{copied.btc}.html")
        assert linked.body == copied.path(copied.btc, ".html").read_bytes()
        assert linked.headers["Content-Security-Policy"] == policy(client, copied.btc)

    def test_it_leads_to_no_other(self, copied: Home, client: FlaskClient) -> None:
        for name, page in ((copied.multi, copied.backtest), (copied.btc, copied.eth), (copied.btc, copied.btc)):
            assert got(client, name, f"{page}.html").status == 404

    def test_the_nearest_word_is_told(self, copied: Home, client: FlaskClient) -> None:
        error = json.loads(got(client, copied.btc, "trial").body)["error"]
        assert "Did you mean trials?" in error["message"]
        assert "/files" in error["hint"]

    def test_both_paths_are_in_the_description(self, client: FlaskClient) -> None:
        paths = json.loads(client.get(f"{PREFIX}/openapi.json").data)["paths"]
        assert "get" in paths[f"{PREFIX}/runs/{{name}}/files"]
        found = paths[f"{PREFIX}/runs/{{name}}/files/{{which}}"]["get"]
        assert [part["name"] for part in found["parameters"]] == ["name", "which"]


class TestPieces:
    @pytest.mark.parametrize(
        ("asked", "first", "end"), [("bytes=10-19", 10, 20), ("bytes=0-0", 0, 1), ("bytes=-7", -7, None)]
    )
    def test_a_part_of_a_file_can_be_had(
        self, asked: str, first: int, end: int | None, copied: Home, client: FlaskClient
    ) -> None:
        whole = copied.path(copied.btc, ".audit.jsonl").read_bytes()
        answer = got(client, copied.btc, "trail", Range=asked)
        assert (answer.status, answer.body) == (206, whole[first:end])
        at = first % len(whole)
        assert answer.headers["Content-Range"] == f"bytes {at}-{at + len(answer.body) - 1}/{len(whole)}"

    def test_what_is_behind_the_end_is_refused_with_the_length(self, copied: Home, client: FlaskClient) -> None:
        length = copied.path(copied.btc, ".audit.jsonl").stat().st_size
        answer = got(client, copied.btc, "trail", Range=f"bytes={length}-")
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{length}")
        assert set(json.loads(answer.body)) == {"error"}

    def test_a_part_of_a_file_that_has_changed_is_the_whole_of_the_new_one(
        self, copied: Home, client: FlaskClient
    ) -> None:
        tag = got(client, copied.btc, "config").headers["ETag"]
        path = copied.path(copied.btc, ".config.toml")
        assert got(client, copied.btc, "config", Range="bytes=0-3", If_Range=tag).status == 206
        assert got(client, copied.btc, "config", If_None_Match=tag)[::2] == (304, b"")
        path.write_text("# changed\n", encoding="utf-8")
        answer = got(client, copied.btc, "config", Range="bytes=0-3", If_Range=tag)
        assert (answer.status, answer.body) == (200, b"# changed\n")

    def test_the_head_says_how_long_it_is(self, copied: Home, client: FlaskClient) -> None:
        answer = got(client, copied.btc, "report", "HEAD")
        length = copied.path(copied.btc, ".html").stat().st_size
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(length))

    def test_a_trail_that_grows_while_it_is_sent_ends_where_it_was(self, copied: Home, client: FlaskClient) -> None:
        path = copied.path(copied.btc, ".audit.jsonl")
        before = path.read_bytes()
        with client.get(f"{PREFIX}/runs/{copied.btc}/files/trail") as answer:
            with path.open("ab") as trail:
                trail.write(b'{"more": 1}\n')
            assert answer.data == before

    def test_a_table_of_256_megabytes_takes_no_memory(self, copied: Home) -> None:
        length, piece = 256 << 20, 1 << 20
        table = copied.folder / "data" / "exports" / f"{copied.btc}-equity.csv"
        os.truncate(table, length)
        with served(copied.folder) as big:
            assert big.ask(f"{PREFIX}/runs/{copied.btc}/files/config").status == 200
            before = big.resident_bytes()
            connection = http.client.HTTPConnection("127.0.0.1", big.port, timeout=60)
            connection.request("GET", f"{PREFIX}/runs/{copied.btc}/files/equity")
            answer = connection.getresponse()
            read, most = 0, 0
            while part := answer.read(piece):
                read += len(part)
                if read % (32 * piece) < piece:
                    most = max(most, big.resident_bytes())
            connection.close()
        assert read == length
        assert most - before < 32 << 20


class TestNothingElse:
    @pytest.mark.parametrize(
        "which",
        [
            "..", "...", ".env", "%2e%2e", "..%2f..%2f..%2fconfig%2f.env", "../../../config/.env", "/etc/passwd",
            "%2fetc%2fpasswd", "..%5c..%5cconfig%5c.env", "report%00", "report%2f..%2fconfig", "report/", "REPORT",
            "config.toml", ".config.toml", "-trades.csv", "trades.csv", ".html", "..%2foutside.html", "*", "",
            "ledger.sqlite", "%252e%252e%252foutside.html", "a" * 4_000, "report%0d%0aX-Injected:%20yes",
        ],
    )  # fmt: skip
    def test_no_word_is_a_path(self, which: str, home: Home, server: Server) -> None:
        answer = server.ask(f"{PREFIX}/runs/{home.btc}/files/{which}")
        assert answer.status in {400, 404}
        assert set(json.loads(answer.body)) == {"error"}
        assert "x-injected" not in answer.headers

    @pytest.mark.parametrize("name", ["..", ".env", "*", "run-*", "%2e%2e%2fconfig", "run-x", "ledger"])
    def test_no_name_is_one_either(self, name: str, server: Server) -> None:
        for path in ("", "/report", "/document", "/config"):
            assert server.ask(f"{PREFIX}/runs/{name}/files{path}").status in {400, 404}

    @pytest.mark.parametrize(
        ("which", "place"),
        [
            ("report", "results/{}.html"),
            ("config", "results/{}.config.toml"),
            ("trades", "exports/{}-trades.csv"),
            ("trade-log", "raw_logs/SAMPLE/SAMPLE-BTC/{}.jsonl"),
        ],
    )
    def test_a_link_to_somewhere_else_is_no_file(
        self, which: str, place: str, copied: Home, client: FlaskClient
    ) -> None:
        path = copied.folder / "data" / place.format(copied.btc)
        for elsewhere in (copied.folder.parent / "outside", copied.folder / "config" / ".env"):
            path.unlink()
            path.symlink_to(elsewhere)
            assert which not in [file["which"] for file in listed(client, copied.btc)]
            assert got(client, copied.btc, which).status == 404

    def test_a_folder_that_is_a_link_to_somewhere_else_has_no_logs(self, copied: Home, client: FlaskClient) -> None:
        logs = copied.folder / "data" / "raw_logs"
        elsewhere = copied.folder.parent / "elsewhere"
        (logs / "SAMPLE").rename(elsewhere)
        (logs / "SAMPLE").symlink_to(elsewhere)
        assert (logs / "SAMPLE" / "SAMPLE-BTC" / f"{copied.btc}.jsonl").is_file()
        assert got(client, copied.btc, "trade-log").status == 404

    def test_results_may_lie_on_another_disk(self, copied: Home, client: FlaskClient) -> None:
        results = copied.folder / "data" / "results"
        results.rename(copied.folder.parent / "disk")
        results.symlink_to(copied.folder.parent / "disk")
        assert got(client, copied.btc, "report").status == 200

    def test_a_pipe_is_no_file(self, copied: Home, client: FlaskClient) -> None:
        path = copied.path(copied.btc, ".config.toml")
        path.unlink()
        os.mkfifo(path)
        assert got(client, copied.btc, "config").status == 404

    def test_the_keys_are_in_no_list_and_no_file(self, copied: Home, client: FlaskClient) -> None:
        for name in copied.names:
            for file in listed(client, name):
                assert SECRET.encode() not in got(client, name, file["which"]).body


def rules_of(text: str) -> dict[str, str]:
    parts = (rule.strip().partition(" ") for rule in text.split(";"))
    return {name: value for name, _, value in parts}


def policy(client: FlaskClient, name: str) -> str:
    return str(got(client, name, "report", "HEAD").headers["Content-Security-Policy"])


class TestPolicy:
    def test_a_report_may_run_its_own_scripts_and_nothing_else(self, copied: Home, client: FlaskClient) -> None:
        for name in copied.names:
            page = copied.path(name, ".html").read_text("utf-8")
            scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
            assert len(scripts) == 2
            hashes = {f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts}
            rules = rules_of(policy(client, name))
            assert set(rules.pop("script-src").split()) == hashes
            assert rules == {
                "default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
                "style-src": "'unsafe-inline'", "img-src": "data: blob:", "sandbox": "allow-scripts allow-downloads",
            }  # fmt: skip

    @pytest.mark.parametrize(
        "changed",
        [
            "",  # the policy of the report taken out
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'unsafe-inline' 'unsafe-eval' *\">",
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'sha256-AAAA' 'nonce-AAAA'\">",
        ],
        ids=["none", "all", "no hashes"],
    )
    def test_of_a_report_that_does_not_name_its_scripts_none_runs(
        self, changed: str, copied: Home, client: FlaskClient
    ) -> None:
        path = copied.path(copied.btc, ".html")
        page = path.read_text("utf-8")
        path.write_text(re.sub(r"<meta http-equiv[^>]*>", changed, page, count=1), encoding="utf-8")
        rules = rules_of(policy(client, copied.btc))
        assert "script-src" not in rules
        assert (rules["default-src"], rules["sandbox"]) == ("'none'", "")

    def test_everything_else_is_downloaded_and_can_do_nothing(self, copied: Home, client: FlaskClient) -> None:
        for file in listed(client, copied.btc)[1:]:
            headers = got(client, copied.btc, file["which"], "HEAD").headers
            assert headers["Content-Disposition"] == f'attachment; filename="{file["name"]}"'
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert not headers["Content-Type"].startswith("text/html")
            rules = rules_of(headers["Content-Security-Policy"])
            assert (rules["default-src"], rules["sandbox"], rules["frame-ancestors"]) == ("'none'", "", "'none'")

    def test_from_elsewhere_only_a_link_to_a_report_is_followed(self, copied: Home, client: FlaskClient) -> None:
        report = f"{PREFIX}/runs/{copied.btc}/files/report"
        with client.get(report, headers=LINK) as answer:
            assert answer.status_code == 200
        for other in ("iframe", "embed", "object", "script", "image", "empty"):
            assert client.get(report, headers=LINK | {"Sec-Fetch-Dest": other}).status_code == 403
        assert client.get(report, headers=LINK | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403
        assert client.get(report, headers=LINK | {"Origin": "null"}).status_code == 403
        assert client.post(report, headers=LINK).status_code == 403
        for path in (f"runs/{copied.btc}/files", f"runs/{copied.btc}/files/document", "runs", "runs/x/files/report/y"):
            assert client.get(f"{PREFIX}/{path}", headers=LINK).status_code == 403

    def test_a_report_needs_the_token_too(self, copied: Home) -> None:
        app = create_app(DashboardConfig(copied.folder, token="correct-horse-battery-staple"))
        for which in ("", "/report", "/document"):
            answer = app.test_client().get(f"{PREFIX}/runs/{copied.btc}/files{which}")
            assert answer.status_code == 401
        app.extensions["barwise"].close()


@pytest.mark.browser
class TestInTheBrowser:
    def opened(self, chromium: Browser, server: Server, place: str) -> Page:
        page = chromium.new_page(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"http://127.0.0.1:{server.port}/{place}")
        page.locator("main .view h1").first.wait_for()
        return page

    @pytest.mark.parametrize("place", ["#/run/{}", "#/run/{}/optimization", "#/run/{}/validation"])
    def test_a_run_leads_to_its_report_and_its_files(
        self, place: str, chromium: Browser, server: Server, home: Home
    ) -> None:
        page = self.opened(chromium, server, place.format(home.btc))
        link = page.get_by_role("link", name="Report (opens a new tab)").first
        expect(link).to_have_attribute("href", f"{PREFIX}/runs/{home.btc}/files/report")
        expect(link).to_have_attribute("rel", "noopener")
        page.get_by_role("button", name="Files", exact=True).click()
        files = json.loads(server.ask(f"{PREFIX}/runs/{home.btc}/files").body)["files"]
        entries = page.get_by_role("dialog").get_by_role("listitem")
        expect(entries).to_have_count(len(files))
        for at, file in enumerate(files):
            expect(entries.nth(at)).to_contain_text(file["about"])
        with page.expect_download() as download:
            entries.get_by_role("link", name=f"{home.btc}-trades.csv").click()
        assert download.value.suggested_filename == f"{home.btc}-trades.csv"
        table = home.folder / "data" / "exports" / f"{home.btc}-trades.csv"
        assert Path(download.value.path()).read_bytes() == table.read_bytes()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Files", exact=True)).to_be_focused()
        page.close()

    def test_the_report_of_several_markets_opens_in_an_origin_of_its_own_and_works(
        self, chromium: Browser, server: Server, home: Home
    ) -> None:
        page = self.opened(chromium, server, f"#/market/{home.multi}")
        with page.expect_popup() as popup:
            page.locator(".heading").get_by_role("link", name="Report (opens a new tab)").click()
        report = popup.value
        said: list[str] = []
        report.on("console", lambda message: said.append(message.text))
        report.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=PATIENCE_MS)
        assert report.evaluate("[self.origin, window.opener]") == ["null", None]
        with report.expect_download() as download:
            report.locator(".modebar-btn").first.dispatch_event("click")
        assert download.value.suggested_filename.endswith(".png")
        assert said == []
        report.get_by_role("link", name="SAMPLE-BTC 1H").first.click()
        report.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=PATIENCE_MS)
        assert report.url.endswith(f"/{home.btc}.html")
        report.close()
        page.close()

    def test_not_even_a_script_that_may_run_reaches_the_api(
        self, chromium: Browser, server: Server, home: Home
    ) -> None:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.port}{PREFIX}/runs/{home.btc}/files/report")
        page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=PATIENCE_MS)
        answered: list[str] = []
        page.on("response", lambda answer: answered.append(answer.url))
        tried = page.evaluate(
            """async () => {
                const outcome = async (attempt) => {
                    try { return String(await attempt()); } catch (error) { return error.name; }
                };
                const loaded = (tag, name) => new Promise((done) => {
                    const node = document.createElement(tag);
                    node.onload = () => done("loaded");
                    node.onerror = () => done("refused");
                    node[name] = "/api/v1/runs";
                    document.body.append(node);
                    setTimeout(() => done("nothing"), 2000);
                });
                return {
                    fetch: await outcome(() => fetch("/api/v1/runs")),
                    post: await outcome(() => fetch("/api/v1/runs", { method: "POST", body: "{}" })),
                    cookie: await outcome(() => document.cookie),
                    storage: await outcome(() => localStorage.length),
                    window: await outcome(() => window.open("/")),
                    worker: await outcome(() => new Worker("/static/app.js")),
                    image: await loaded("img", "src"),
                    script: await loaded("script", "src"),
                };
            }"""
        )
        assert tried == {
            "fetch": "TypeError", "post": "TypeError", "cookie": "SecurityError", "storage": "SecurityError",
            "window": "null", "worker": "SecurityError", "image": "refused", "script": "refused",
        }  # fmt: skip
        assert [url for url in answered if url.startswith("http")] == []
        page.close()

    @pytest.mark.parametrize("how", ["added", "policy removed", "policy changed"])
    def test_a_report_with_a_script_of_somebody_else_reaches_nothing(
        self, how: str, chromium: Browser, copied: Home
    ) -> None:
        path = copied.path(copied.btc, ".html")
        text = path.read_text("utf-8").replace("</body>", f"<script>{ATTACK}</script></body>")
        text = text.replace("<body>", f'<body onload="{ATTACK}">')
        removed = re.sub(r"<meta http-equiv[^>]*>", "", text, count=1)
        named = f"sha256-{b64encode(sha256(ATTACK.encode()).digest()).decode()}"
        changed = re.sub(r"<meta http-equiv[^>]*>", f"<meta name=scripts content={named}>", text, count=1)
        path.write_text({"added": text, "policy removed": removed, "policy changed": changed}[how], encoding="utf-8")
        page = chromium.new_page()
        with served(copied.folder) as attacked:
            answered: list[str] = []
            page.on("response", lambda answer: answered.append(answer.url))
            address = f"http://127.0.0.1:{attacked.port}{PREFIX}/runs/{copied.btc}/files/report"
            page.goto(address)
            page.wait_for_load_state("load")
            expect(page.locator("h1")).to_be_visible()
            if how == "policy changed":
                expect(page).to_have_title(re.compile("it ran, and fetch failed"), timeout=PATIENCE_MS)
                # What is left to it is to go somewhere with its own window, as every page can: to the API it cannot.
                with page.expect_response(f"**{PREFIX}/runs") as gone:
                    page.evaluate(f"location.href = '{PREFIX}/runs'")
                assert gone.value.status == 403
                assert [url for url in answered if url.startswith("http")] == [address, gone.value.url]
            else:
                assert page.title().startswith("SAMPLE-BTC 1H")
                assert [url for url in answered if url.startswith("http")] == [address]
        # With nothing around it the same page does run the script.
        path.write_text(removed, encoding="utf-8")
        page.goto(path.as_uri())
        expect(page).to_have_title(re.compile("it ran, and fetch failed"), timeout=PATIENCE_MS)
        page.close()

    def test_a_report_without_scripts_says_what_its_charts_need(self, chromium: Browser, copied: Home) -> None:
        path = copied.path(copied.btc, ".html")
        path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", path.read_text("utf-8"), count=1), encoding="utf-8")
        page = chromium.new_page()
        with served(copied.folder) as changed:
            page.goto(f"http://127.0.0.1:{changed.port}{PREFIX}/runs/{copied.btc}/files/report")
            assert "The charts need JavaScript, which is switched off here." in page.locator("noscript").inner_text()
            expect(page.locator("h1")).to_be_visible()
        page.close()
