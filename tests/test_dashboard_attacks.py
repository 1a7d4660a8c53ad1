"""Attacks on the dashboard: each is made as an attacker would make it, against the real server where that matters."""

import hmac
import json
import random
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask

from barwise.dashboard.api_base import json_response
from barwise.dashboard.app import all_endpoints, create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX
from barwise.dashboard.security import POLICY, cookie_of
from barwise.dashboard.state import EXTENSION
from tests.dashboard_server import Server, Stream, served

TOKEN = "correct-horse-battery-staple"
SECRET = "root:x:0:0:outside"
CSRF = "X-Barwise-CSRF"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A home folder, with a file beside it that nobody may see."""
    home = tmp_path / "home"
    (home / "data" / "results").mkdir(parents=True)
    (home / "config").mkdir()
    (home / "config" / ".env").write_text(f"BINANCE_API_SECRET={SECRET}\n", encoding="utf-8")
    (tmp_path / "outside.json").write_text(json.dumps({"secret": SECRET}), encoding="utf-8")
    (tmp_path / "outside.html").write_text(SECRET, encoding="utf-8")
    return home


@pytest.fixture
def app(house: Path) -> Iterator[Flask]:
    made = create_app(DashboardConfig(house))
    yield made
    made.extensions[EXTENSION].close()


@pytest.fixture
def guarded(house: Path) -> Iterator[Flask]:
    """A dashboard with a token."""
    made = create_app(DashboardConfig(house, token=TOKEN))
    yield made
    made.extensions[EXTENSION].close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server without a token."""
    with served(tmp_path_factory.mktemp("home")) as running:
        yield running


def csrf_of(app: Flask) -> str:
    return str(app.extensions[EXTENSION].csrf)


def kind_of(body: bytes) -> str:
    """Of an error in the one form."""
    return str(json.loads(body)["error"]["kind"])


def paths_with(name: str) -> list[str]:
    """Every GET of the API that has parts, with this as each of them, and the files of the page."""
    found = [
        PREFIX + re.sub(r"<(\w+:)?\w+>", lambda part: "1" if part[1] else name, endpoint.path)
        for endpoint in all_endpoints()
        if endpoint.method == "GET" and "<" in endpoint.path
    ]
    return [*found, f"/static/{name}", f"/static/views/{name}"]


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        [
            "..",
            "../outside",
            "../../outside.json",
            "..%2f..%2foutside",
            "%2e%2e",
            "%2e%2e%2f%2e%2e%2foutside.html",
            "%252e%252e%252foutside",
            "..%5c..%5coutside",
            "..%c0%af..%c0%afoutside",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "outside%00.json",
            "%00",
            "%0d%0aX-Injected:%20yes",
            "a" * 5_000,
            "%f0%9f%92%a9",
            "%ff%fe",
            "~root",
            "con",
            "CON.json",
            "..%2f..%2fconfig%2f.env",
        ],
    )
    def test_no_name_leads_out_of_the_folder(self, name: str, server: Server) -> None:
        for path in paths_with(name):
            answer = server.ask(path)
            assert answer.status in {400, 404}, path
            assert set(json.loads(answer.body)) == {"error"}, path
            assert SECRET.encode() not in answer.body
            assert "x-injected" not in answer.headers

    def test_a_link_that_leads_out_of_the_folder_is_not_followed(self, house: Path, app: Flask) -> None:
        results = house / "data" / "results"
        (results / "run-leak-1h-00000000.json").symlink_to(house.parent / "outside.json")
        (results / "run-leak-1h-00000000.audit.jsonl").symlink_to(house.parent / "outside.json")
        (results / "run-away-1h-00000000").symlink_to(house.parent)
        client = app.test_client()
        for path in ("/api/v1/runs", *paths_with("run-leak-1h-00000000"), *paths_with("run-away-1h-00000000")):
            assert SECRET.encode() not in client.get(path).data, path

    def test_a_key_that_got_into_a_file_is_taken_out_of_the_answer(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BINANCE_API_SECRET", 'sword"fish&chips')
        with app.app_context():
            answer = json_response({"note": 'it was sword"fish&chips!', "n": 1})
        assert answer.get_json() == {"note": "it was ***!", "n": 1}

    def test_the_file_of_keys_is_in_no_answer(self, house: Path, app: Flask) -> None:
        client = app.test_client()
        for endpoint in all_endpoints():
            if endpoint.method == "GET" and "<" not in endpoint.path and endpoint.path != "/live":
                assert SECRET.encode() not in client.get(PREFIX + endpoint.path).data, endpoint.path


class TestForeignHost:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:{port}",
            "127.0.0.1.evil.example:{port}",
            "localhost.evil.example:{port}",
            "evil.example#localhost:{port}",
            "user@localhost:{port}",
            "localhost:{port}@evil.example",
            "192.168.1.20:{port}",
            "[::2]:{port}",
            "localhost:x",
            "localhost, evil.example",
            "",
        ],
    )
    def test_a_name_that_is_not_ours_is_refused_for_every_path(self, host: str, server: Server) -> None:
        for path in ("/", "/api/v1/health", "/static/app.js", "/nothing"):
            answer = server.ask(path, Host=host.format(port=server.port))
            assert answer.status == 421, path
            assert kind_of(answer.body) == "WrongHost"

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:9000"])
    def test_our_own_names_are_taken_with_any_port(self, host: str, server: Server) -> None:
        assert server.ask("/api/v1/health", Host=host).status == 200

    def test_two_hosts_at_once_are_refused(self, server: Server) -> None:
        head = b"GET /api/v1/health HTTP/1.1\r\nConnection: close\r\n"
        raw = server.send(head + b"Host: localhost\r\nHost: evil.example\r\n\r\n")
        assert raw.split()[1] in {b"400", b"421"}

    def test_no_host_is_refused(self, server: Server) -> None:
        assert server.send(b"GET /api/v1/health HTTP/1.0\r\n\r\n").split()[1] == b"421"

    def test_a_forwarded_host_counts_for_nothing(self, server: Server) -> None:
        assert server.ask("/api/v1/health", Host="evil.example", X_Forwarded_Host="localhost").status == 421
        assert server.ask("/api/v1/health", X_Forwarded_Host="evil.example").status == 200

    def test_on_all_addresses_only_ips_and_the_machines_own_names_are_taken(self, house: Path) -> None:
        client = create_app(DashboardConfig(house, host="0.0.0.0", token=TOKEN)).test_client()
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/api/v1/health", headers={"Host": "192.168.1.20:8765", **bearer}).status_code == 200
        assert client.get("/api/v1/health", headers={"Host": "[fe80::1]:8765", **bearer}).status_code == 200
        assert client.get("/api/v1/health", headers={"Host": "evil.example:8765", **bearer}).status_code == 421


class TestForeignPage:
    """What a page of another origin can make a browser send."""

    @pytest.mark.parametrize("endpoint", [each for each in all_endpoints() if each.method == "POST"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:9999"},
            {"Origin": "http://localhost.evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
        ids=str,
    )
    def test_a_foreign_origin_changes_nothing_even_with_the_right_value(
        self, endpoint: object, headers: dict[str, str], app: Flask
    ) -> None:
        path = PREFIX + re.sub(r"<\w+>", "run-a-1h-00000000", getattr(endpoint, "path"))  # noqa: B009
        answer = app.test_client().post(path, json={}, headers={CSRF: csrf_of(app), **headers})
        assert answer.status_code == 403
        assert kind_of(answer.data) == "Forbidden"

    @pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/form/check", "/api/v1/runs/x/stop", "/nothing", "/"])
    @pytest.mark.parametrize("value", [None, "", "wrong", "{other}"])
    def test_without_the_right_value_nothing_is_changed(
        self, path: str, value: str | None, app: Flask, house: Path
    ) -> None:
        other = csrf_of(create_app(DashboardConfig(house)))
        headers = {} if value is None else {CSRF: value.format(other=other)}
        answer = app.test_client().post(path, json={}, headers=headers)
        assert answer.status_code == 403
        assert list((house / "data" / "results").iterdir()) == []

    @pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
    def test_a_form_cannot_be_sent(self, kind: str, app: Flask) -> None:
        # Those three are what a page may send anywhere without asking.
        data = b'{"values": {}}'
        answer = app.test_client().post("/api/v1/runs", data=data, content_type=kind, headers={"Origin": "null"})
        assert answer.status_code == 403
        answer = app.test_client().post("/api/v1/runs", data=data, content_type=kind, headers={CSRF: csrf_of(app)})
        assert answer.status_code == 400

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    def test_other_methods_need_the_value_too(self, method: str, app: Flask) -> None:
        assert app.test_client().open("/api/v1/runs", method=method).status_code == 403

    @pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/live", "/api/v1/openapi.json"])
    def test_nothing_of_the_api_is_read_or_held_open_from_elsewhere(self, path: str, app: Flask) -> None:
        client = app.test_client()
        assert client.get(path, headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403

    def test_a_link_from_elsewhere_opens_the_page(self, app: Flask) -> None:
        assert app.test_client().get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200

    def test_no_origin_is_allowed_unless_it_is_configured(self, app: Flask, house: Path) -> None:
        asked = {"Origin": "https://notes.example.org", "Access-Control-Request-Method": "GET"}
        answer = app.test_client().options("/api/v1/runs", headers=asked)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]

        config = DashboardConfig(house, cors_origins=("https://notes.example.org",))
        client = create_app(config).test_client()
        answer = client.get("/api/v1/health", headers={"Origin": "https://notes.example.org"})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://notes.example.org"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        answer = client.options("/api/v1/health", headers=asked)
        assert "authorization" in answer.headers.get("Access-Control-Allow-Headers", "authorization").lower()
        for other in ("https://evil.example", "https://notesxexample.org", "https://notes.example.org.evil.example"):
            answer = client.get("/api/v1/health", headers={"Origin": other})
            assert answer.status_code == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
        answer = client.get("/", headers={"Origin": "https://notes.example.org"})
        assert "Access-Control-Allow-Origin" not in answer.headers  # the page has the value that changes need

    def test_a_configured_origin_still_changes_nothing_without_a_token(self, house: Path) -> None:
        config = DashboardConfig(house, cors_origins=("https://notes.example.org",))
        answer = (
            create_app(config)
            .test_client()
            .post("/api/v1/form/check", json={}, headers={"Origin": "https://notes.example.org"})
        )
        assert answer.status_code == 403


class TestPolicy:
    def test_every_answer_is_under_the_policy(self, server: Server) -> None:
        for path in ("/", "/static/app.js", "/static/plotly.min.js", "/api/v1/health", "/api/v1/runs", "/nothing"):
            headers = server.ask(path).headers
            assert headers["content-security-policy"] == POLICY, path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "server" not in headers
            if path.startswith("/api"):
                assert headers["cache-control"] == "no-store"

    def test_the_policy_lets_no_script_in_but_files_of_ours(self) -> None:
        rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"

    def test_a_script_in_a_name_stays_a_text(self, app: Flask) -> None:
        name = "</script><script>alert(document.domain)</script>"
        with app.app_context():
            answer = json_response({"symbol": name, "strategy": "<img src=x onerror=alert(1)>"})
        assert answer.mimetype == "application/json"
        assert b"<" not in answer.data
        assert json.loads(answer.data)["symbol"] == name
        for path in paths_with(quote(name, safe="")):
            found = app.test_client().get(path)
            assert b"<" not in found.data, path
            assert found.mimetype == "application/json"

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get"])
    def test_unusual_methods_give_nothing_back(self, method: str, server: Server) -> None:
        answer = server.ask("/api/v1/health", method, Cookie="secret=echoed")
        assert answer.status in {400, 403, 405}
        assert b"echoed" not in answer.body

    def test_options_changes_and_tells_nothing(self, server: Server) -> None:
        answer = server.ask("/api/v1/runs", "OPTIONS")
        assert answer.status == 200
        assert answer.body == b""
        assert not [name for name in answer.headers if name.startswith("access-control")]


class TestToken:
    def test_without_it_nothing_is_answered(self, guarded: Flask) -> None:
        client = guarded.test_client()
        for path in ("/", "/static/app.js", "/static/plotly.min.js", "/nothing", "/api/v1/health", "/api/v1/live"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert kind_of(answer.data) == "NotSignedIn"
        assert client.post("/api/v1/runs", json={}, headers={CSRF: csrf_of(guarded)}).status_code == 401

    @pytest.mark.parametrize(
        "given",
        [
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN.upper()}",
            "Bearer ",
            "Bearer",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \u00e9\u00e9\u00e9",
        ],
    )
    def test_a_wrong_one_is_none(self, given: str, guarded: Flask) -> None:
        answer = guarded.test_client().get("/api/v1/health", headers={"Authorization": given})
        assert answer.status_code == 401

    def test_a_program_sends_it_and_needs_no_page(self, guarded: Flask) -> None:
        client = guarded.test_client()
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/api/v1/health", headers=bearer).status_code == 200
        assert client.post("/api/v1/health", headers=bearer).status_code == 405  # past the check of pages

    def test_a_browser_brings_it_once_and_the_address_forgets_it(self, guarded: Flask) -> None:
        client = guarded.test_client()
        answer = client.get(f"/?token={TOKEN}&theme=dark")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/?theme=dark")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/api/v1/health").status_code == 200
        # The cookie alone changes nothing: a browser sends it by itself.
        assert client.post("/api/v1/runs", json={}).status_code == 403

    def test_the_token_is_taken_from_the_address_of_the_page_only(self, guarded: Flask) -> None:
        client = guarded.test_client()
        assert client.get(f"/api/v1/health?token={TOKEN}").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert "Set-Cookie" not in client.get("/?token=wrong").headers

    def test_the_cookie_of_another_token_is_none(self, guarded: Flask, house: Path) -> None:
        name, value = cookie_of(DashboardConfig(house, token="another-token-of-some-length"))
        client = guarded.test_client()
        client.set_cookie(name, value)
        assert client.get("/api/v1/health").status_code == 401

    def test_it_is_in_no_log_and_on_no_screen(self, tmp_path: Path) -> None:
        with served(tmp_path, "--token", TOKEN) as server:
            assert server.ask(f"/?token={TOKEN}").status == 303
            assert server.ask("/api/v1/health", Authorization=f"Bearer {TOKEN}").status == 200
            assert server.ask(f"/api/v1/nothing?token={TOKEN}", Authorization=f"Bearer {TOKEN}").status == 404
            assert server.stop() == 0
        assert TOKEN not in "".join(server.said)
        assert all(TOKEN not in file.read_text(encoding="utf-8") for file in tmp_path.rglob("*") if file.is_file())

    def test_both_sides_are_digests_before_they_are_compared(
        self, guarded: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[int, int]] = []
        real = hmac.compare_digest

        def watched(one: bytes, other: bytes) -> bool:
            seen.append((len(one), len(other)))
            return bool(real(one, other))

        monkeypatch.setattr(hmac, "compare_digest", watched)
        for given in ("", "a", TOKEN[:-1], TOKEN, "x" * 10_000):
            guarded.test_client().get("/api/v1/health", headers={"Authorization": f"Bearer {given}"})
        assert len(seen) >= 5
        assert set(seen) == {(32, 32)}


class TestSize:
    def test_a_body_that_is_too_long_is_refused_and_the_server_stays(self, app: Flask, server: Server) -> None:
        answer = server.ask("/api/v1/form/check", "POST", b" " * 100_000, Content_Type="application/json")
        assert answer.status in {403, 413}
        answer = app.test_client().post(
            "/api/v1/form/check", data=b" " * 100_000, content_type="application/json", headers={CSRF: csrf_of(app)}
        )  # type: ignore[assignment]
        assert getattr(answer, "status_code") == 413  # noqa: B009
        assert server.ask("/api/v1/health").status == 200

    def test_a_body_that_says_it_is_huge_is_not_even_read(self, server: Server) -> None:
        head = b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n"
        assert server.send(head).split()[1] == b"413"

    def test_a_body_in_pieces_has_the_same_limit(self, server: Server) -> None:
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        head = b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        # Who goes on sending may lose the line before the answer is read.
        assert server.send(head + piece * 20 + b"0\r\n\r\n")[9:12] in {b"", b"413"}
        assert server.ask("/api/v1/health").status == 200

    def test_a_head_without_end_is_refused(self, server: Server) -> None:
        head = b"GET /api/v1/health HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nX: "
        assert server.send(head + b"a" * 100_000 + b"\r\n\r\n")[9:12] in {b"", b"431"}
        assert server.ask("/api/v1/health").status == 200

    @pytest.mark.parametrize("data", [b"[" * 60_000, b'{"a":' * 10_000, b'{"values": ' + b"[" * 50_000])
    def test_a_deep_body_is_refused(self, data: bytes, app: Flask) -> None:
        answer = app.test_client().post(
            "/api/v1/form/check", data=data, content_type="application/json", headers={CSRF: csrf_of(app)}
        )
        assert answer.status_code == 400
        assert kind_of(answer.data) == "ConfigError"

    def test_random_bytes_never_break_the_server(self, server: Server) -> None:
        chance = random.Random(20250101)
        for _ in range(60):
            server.send(chance.randbytes(chance.randrange(1, 400)) + b"\r\n\r\n")
        for path in ("/%", "/%zz", "/?%", "/api/v1/runs?%ff=%fe", "/api/v1/runs/%", "//evil.example/", "/\\evil"):
            assert server.ask(path).status < 500, path
        assert server.ask("/api/v1/health").status == 200

    def test_a_line_end_in_a_path_makes_no_header(self, server: Server) -> None:
        for path in ("/%0d%0aSet-Cookie:%20a=b", "/?token=%0d%0aSet-Cookie:%20a=b", "/api/v1/runs/a%0aX:%20y"):
            answer = server.ask(path)
            assert not {"set-cookie", "x"} & set(answer.headers)
        head = b"GET /api/v1/health HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n"
        raw = server.send(head + b"Origin: a\r\n b\r\nX-Y: \x00\r\n\r\n")
        assert raw.split()[1] in {b"400", b"403"}


class TestManyStreams:
    def test_a_stream_that_was_left_makes_room(self, tmp_path: Path) -> None:
        with served(tmp_path) as running:

            def status() -> int:
                with closing(running.stream()) as stream:
                    return stream.status

            # Who asks for the head of a stream only takes no place.
            assert {running.ask("/api/v1/live", "HEAD").status for _ in range(150)} == {200}
            streams = [running.stream() for _ in range(100)]
            assert {each.status for each in streams} == {200}
            assert status() == 503
            for each in streams:
                each.close()
            patience = threading.Event()
            assert any(status() == 200 or patience.wait(0.1) for _ in range(200))

    def test_streams_beyond_the_limit_are_refused_and_the_others_are_answered(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            server.ask("/static/plotly.min.js")
            before = server.resident_bytes() if sys.platform == "linux" else 0
            streams: list[Stream] = []
            lock = threading.Lock()

            def come() -> None:
                stream = server.stream()
                with lock:
                    streams.append(stream)

            clients = [threading.Thread(target=come) for _ in range(200)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            assert sorted(each.status for each in streams) == [200] * 100 + [503] * 100
            refused = [each for each in streams if each.status == 503]
            assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
            assert kind_of(refused[0].rest()) == "TooBusy"
            # With all of them open, each number is still there for the asking.
            answers = [server.ask("/api/v1/health") for _ in range(50)]
            assert {each.status for each in answers} == {200}
            if before:
                assert server.resident_bytes() - before < 64 * 1024 * 1024
            # And Ctrl-C ends all of it at once, streams too.
            assert server.stop() == 0
            for each in streams:
                each.close()
