"""The dashboard's application: what it serves, how it says that something is wrong, that it does what it describes."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from pydantic import Field
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

import barwise
from barwise import errors as package_errors
from barwise.dashboard import errors
from barwise.dashboard.api_base import json_text, parsed_json, view_of
from barwise.dashboard.app import PLOTLY, all_endpoints, create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX, Body, Endpoint, Endpoints, Query
from barwise.dashboard.openapi import document
from barwise.dashboard.state import EXTENSION
from barwise.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.dashboard_server import ENVIRONMENT, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
# Streams have no end, and a run that is begun is a process of its own: both have tests of their own.
NOT_TRIED = {("GET", "/live"), ("POST", "/runs"), ("POST", "/runs/<name>/resume")}
TRIED = [each for each in all_endpoints() if (each.method, each.path) not in NOT_TRIED]
# What exists in the home folder of these tests.
REAL = {
    "part": "baseline", "trade": 1, "exchange": "SAMPLE", "symbol": "SAMPLE-BTC", "timeframe": "1H",
}  # fmt: skip
# What a query made by chance does not find: two names of runs, a run over many markets.
NEEDS_MORE = {"/compare", "/multi/<name>"}


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with one small run of the whole way."""
    home = tmp_path_factory.mktemp("finished")
    subprocess.run(
        [
            sys.executable, "-m", "barwise", "run", "--yes", "--quiet", "--profile", "FAST", "--home", str(home),
            "--start", "2025-01-01", "--end", "2025-04-15",
            "--set", "validation.permutations=19", "--set", "optimization.num_trials=12",
        ],
        check=True,
        cwd=home,
        env=ENVIRONMENT,
    )  # fmt: skip
    return home


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    made = create_app(DashboardConfig(tmp_path))
    yield made
    made.extensions[EXTENSION].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def error_of(answer: Any) -> dict[str, str]:
    """The error of an answer, which must have the one form that errors have."""
    assert answer.content_type == "application/json"
    content = json.loads(answer.data)
    assert set(content) == {"error"}
    assert set(content["error"]) == {"kind", "message", "hint"}
    return dict(content["error"])


def described_by(app: Flask) -> dict[str, Any]:
    """What the app says of itself."""
    return dict(json.loads(app.test_client().get("/api/v1/openapi.json").data))


def check_schema(content: Any, schema: dict[str, Any], described: dict[str, Any]) -> None:
    """Hold an answer against its schema; another library's reading of it."""
    jsonschema: Any = import_module("jsonschema")  # it has no types
    jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(content)


def _parts_of(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def app_with(endpoints: Endpoints, home: Path) -> Flask:
    """A dashboard with endpoints of a test besides its own."""
    made = create_app(DashboardConfig(home))
    for endpoint in endpoints.all:
        made.add_url_rule(
            PREFIX + endpoint.path, endpoint=endpoint.path, view_func=view_of(endpoint), methods=[endpoint.method]
        )
    return made


class TestConfig:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]", "LOCALHOST"])
    def test_an_address_of_this_machine_needs_no_token(self, host: str, tmp_path: Path) -> None:
        assert DashboardConfig(tmp_path, host=host).is_local

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "example.org", "localhost.example.org"])
    def test_an_address_that_others_reach_needs_one(self, host: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="can be reached by others, and no token is set"):
            DashboardConfig(tmp_path, host=host)
        assert not DashboardConfig(tmp_path, host=host, token="a-token-of-24-characters").is_local

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"port": 65_536}, "65536 is not in 0"),
            ({"port": -1}, "-1 is not in 0"),
            ({"host": ""}, "is no address"),
            ({"host": "a b"}, "'a b' is no address"),
            ({"host": "evil\r\nX: y"}, "is no address"),
            ({"token": "short"}, "has 5 characters"),
            ({"token": "with a blank in the middle"}, "out of letters, digits"),
            ({"cors_origins": ("*",)}, r"'\*' is no origin"),
            ({"cors_origins": ("https://a.example/path",)}, "is no origin"),
            ({"cors_origins": ("https://.*.example",)}, "is no origin"),
            ({"cors_origins": ("null",)}, "'null' is no origin"),
            ({"max_body": 10}, "max_body is 10"),
            ({"max_streams": 0}, "max_streams is 0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=message):
            DashboardConfig(tmp_path, **wrong)

    def test_a_home_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="is a file"):
            DashboardConfig(tmp_path / "file")

    def test_the_token_is_in_no_message_and_no_repr(self, tmp_path: Path) -> None:
        assert "a-token-of-24-characters" not in repr(DashboardConfig(tmp_path, token="a-token-of-24-characters"))
        with pytest.raises(ConfigError) as caught:
            DashboardConfig(tmp_path, token="secret word")
        assert "secret word" not in str(caught.value)


class TestFlatModule:
    def test_its_main_is_the_command(self, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        import dashboard_app

        assert dashboard_app.main(["--host", "0.0.0.0", "--home", str(tmp_path)]) == 2
        assert "no token is set" in capfd.readouterr().err

    def test_a_script_in_the_clones_root_can_make_the_app(self, tmp_path: Path) -> None:
        program = (
            "import sys; sys.path.insert(0, 'src')\n"
            "from pathlib import Path\nfrom dashboard_app import DashboardConfig, create_app\n"
            f"app = create_app(DashboardConfig(Path({str(tmp_path)!r})))\n"
            "print(app.test_client().get('/api/v1/health').json['ok'])"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert answer.stdout == "True\n"


class TestPage:
    def test_the_page_has_the_value_that_changes_need(self, app: Flask) -> None:
        answer = app.test_client().get("/")
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert f'<meta name="csrf" content="{app.extensions[EXTENSION].csrf}">'.encode() in answer.data

    def test_two_starts_have_two_values(self, app: Flask, tmp_path: Path) -> None:
        other = create_app(DashboardConfig(tmp_path))
        assert app.extensions[EXTENSION].csrf != other.extensions[EXTENSION].csrf

    def test_the_page_has_no_inline_script_and_no_handler(self, client: FlaskClient) -> None:
        text = client.get("/").get_data(as_text=True)
        assert all(piece.split(">", 1)[1].startswith("</script>") for piece in text.split("<script")[1:])
        assert "javascript:" not in text
        assert not [word for word in text.split() if word.startswith("on") and "=" in word]
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text

    def test_a_script_is_asked_for_anew_and_answered_by_304(self, client: FlaskClient) -> None:
        first = client.get("/static/app.js")
        assert first.status_code == 200
        assert first.headers["Cache-Control"] == "no-cache"
        again = client.get("/static/app.js", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")

    def test_plotly_is_the_file_of_the_package_compressed_for_those_who_take_it(self, app: Flask) -> None:
        import plotly

        file = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        client = app.test_client()
        plain = client.get("/static/plotly.min.js")
        assert plain.data == file.read_bytes()
        assert "max-age=604800" in plain.headers["Cache-Control"]
        app.extensions[PLOTLY].compress()
        small = client.get("/static/plotly.min.js", headers={"Accept-Encoding": "br, gzip"})
        assert small.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(small.data) == file.read_bytes()
        assert small.headers["ETag"] != plain.headers["ETag"]
        assert small.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in client.get("/static/plotly.min.js").headers

    def test_nobody_waits_for_the_compression(self, client: FlaskClient) -> None:
        first = client.get("/static/plotly.min.js", headers={"Accept-Encoding": "gzip"})
        assert first.status_code == 200
        assert "Content-Encoding" not in first.headers

    def test_a_copy_that_is_good_is_not_sent_again(self, client: FlaskClient) -> None:
        tag = client.get("/static/plotly.min.js").headers["ETag"]
        again = client.get("/static/plotly.min.js", headers={"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b"")


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (package_errors.ConfigError("no."), 400),
            (package_errors.CheckpointError("no."), 409),
            (package_errors.DataError("no."), 422),
            (package_errors.BacktestError("no."), 422),
            (package_errors.CredentialError("no."), 422),
            (package_errors.RateLimitError("no."), 502),
            (package_errors.BarwiseError("no."), 500),
            (errors.NotFound("no."), 404),
            (errors.Forbidden("no."), 403),
            (errors.NotSignedIn("no."), 401),
            (errors.WrongHost("no."), 421),
            (errors.TooBusy("no."), 503),
        ],
    )
    def test_an_error_has_its_status_and_the_one_form(
        self, error: package_errors.BarwiseError, status: int, tmp_path: Path
    ) -> None:
        endpoints = Endpoints("test")

        @endpoints.get("/failing", "Fails.")
        def failing() -> None:
            raise error

        answer = app_with(endpoints, tmp_path).test_client().get("/api/v1/failing")
        assert answer.status_code == status
        assert error_of(answer) == {"kind": type(error).__name__, "message": "no.", "hint": ""}

    def test_who_is_too_early_is_told_when_to_come_again(self, tmp_path: Path) -> None:
        endpoints = Endpoints("test")

        @endpoints.get("/busy", "Is busy.")
        def busy() -> None:
            raise errors.TooBusy("all places are taken.", retry_after=7)

        assert app_with(endpoints, tmp_path).test_client().get("/api/v1/busy").headers["Retry-After"] == "7"

    def test_what_nobody_expected_is_in_the_log_and_not_in_the_answer(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        endpoints = Endpoints("test")

        @endpoints.get("/broken", "Is broken.")
        def broken() -> None:
            raise RuntimeError("the password is swordfish")

        answer = app_with(endpoints, tmp_path).test_client().get("/api/v1/broken")
        assert answer.status_code == 500
        assert error_of(answer)["kind"] == "UnexpectedError"
        assert b"swordfish" not in answer.data
        assert b"Traceback" not in answer.data
        assert caplog.records[-1].exc_info is not None

    def test_a_secret_in_a_message_is_taken_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BINANCE_API_SECRET", "swordfish-swordfish")
        endpoints = Endpoints("test")

        @endpoints.get("/telling", "Tells.")
        def telling() -> None:
            raise ConfigError("it was swordfish-swordfish.", hint="api_key=abcdefgh12345678 is wrong.")

        answer = app_with(endpoints, tmp_path).test_client().get("/api/v1/telling")
        assert error_of(answer) == {"kind": "ConfigError", "message": "it was ***.", "hint": "api_key=*** is wrong."}

    @pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v2/runs", "/static/nothing.js", "/api/v1/"])
    def test_a_path_that_is_not_there_is_404(self, path: str, client: FlaskClient) -> None:
        answer = client.get(path)
        assert answer.status_code == 404
        assert error_of(answer)["kind"] == "NotFound"

    def test_a_method_that_is_not_taken_is_405_with_those_that_are(self, app: Flask) -> None:
        answer = app.test_client().delete("/api/v1/health", headers={"X-Barwise-CSRF": app.extensions[EXTENSION].csrf})
        assert answer.status_code == 405
        assert error_of(answer)["kind"] == "MethodNotAllowed"
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


class Told(Query):
    """What the query of a test has."""

    points: int = Field(10, ge=1, le=100, description="How many.")
    part: str | None = None


class Sent(Body):
    """What a test sends."""

    name: str
    size: float = 1.0


class TestParameters:
    @pytest.fixture
    def app(self, tmp_path: Path) -> Flask:
        endpoints = Endpoints("test")

        @endpoints.get("/things/<name>/<int:number>", "Says what it was asked.", query=Told)
        def thing(name: str, number: int, query: Told) -> dict[str, Any]:
            return {"name": name, "number": number, "points": query.points, "part": query.part}

        @endpoints.post("/things", "Says what it was sent.", body=Sent)
        def sent(body: Sent) -> dict[str, Any]:
            return body.model_dump()

        return app_with(endpoints, tmp_path)

    def post(self, app: Flask, data: bytes, content_type: str = "application/json") -> Any:
        csrf = app.extensions[EXTENSION].csrf
        return app.test_client().post(
            "/api/v1/things", data=data, content_type=content_type, headers={"X-Barwise-CSRF": csrf}
        )

    def test_a_function_gets_the_parts_of_the_path_and_its_query(self, app: Flask) -> None:
        answer = app.test_client().get("/api/v1/things/a%20b/7?points=20&part=x")
        assert answer.json == {"name": "a b", "number": 7, "points": 20, "part": "x"}

    def test_a_function_gets_its_body(self, app: Flask) -> None:
        answer = self.post(app, b'{"name": "\\u00e9", "size": 2}')
        assert (answer.status_code, answer.json) == (200, {"name": "\u00e9", "size": 2.0})

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("ponts=3", "ponts is not a parameter of /things/<name>/<int:number>. Did you mean points?"),
            ("points=0", "points must be greater than or equal to 1; got 0."),
            ("points=a", "points must be a valid integer, unable to parse string as an integer; got a."),
            ("points=1&points=2", "points is given 2 times."),
            (f"points={'9' * 300}", f"got {'9' * 60}..."),
        ],
    )
    def test_a_wrong_query_is_told_in_one_sentence(self, query: str, message: str, app: Flask) -> None:
        answer = app.test_client().get(f"/api/v1/things/a/1?{query}")
        assert answer.status_code == 400
        assert message in error_of(answer)["message"]

    def test_what_takes_no_query_refuses_one(self, client: FlaskClient) -> None:
        assert client.get("/api/v1/health?verbose=1").status_code == 400

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "is not JSON (character 0)"),
            (b"{", "is not JSON (character 1)"),
            (b"\xff\xfe", "is not JSON"),
            (b"[]", "what was sent is a list"),
            (b'{"name": NaN}', "NaN, which is not JSON"),
            (b'{"name": "a", "size": -Infinity}', "-Infinity, which is not JSON"),
            (b'{"name": "a", "size": 1e999}', "the number 1e999 is too large"),
            (b'{"name": "a", "size": ' + b"9" * 5000 + b"}", "is too large"),
            (b'{"name": "a", "name": "b"}', "name is given twice"),
            (b'{"name": "\\ud800"}', "is not JSON"),
            (b'{"size": 1}', "name is missing"),
            (b'{"name": "a", "sise": 1}', "Did you mean size?"),
            (b'{"name": ["a"]}', "name must be a valid string; got ['a']"),
            (b'{"name": ' + b"[" * 30_000, "nested deeper than 16 levels"),
        ],
    )
    def test_a_wrong_body_is_told_in_one_sentence(self, data: bytes, message: str, app: Flask) -> None:
        answer = self.post(app, data)
        assert answer.status_code == 400
        assert message in error_of(answer)["message"]

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_a_body_of_another_type_is_refused(self, content_type: str, app: Flask) -> None:
        answer = self.post(app, b'{"name": "a"}', content_type)
        assert answer.status_code == 400
        assert "application/json is needed" in error_of(answer)["message"]

    def test_a_body_that_is_too_long_is_413(self, app: Flask) -> None:
        answer = self.post(app, b'{"name": "' + b"a" * 64 * 1024 + b'"}')
        assert answer.status_code == 413
        assert error_of(answer)["kind"] == "RequestEntityTooLarge"


class TestJson:
    def test_brackets_within_a_text_are_no_depth(self) -> None:
        assert parsed_json(b'{"a": "' + b"[" * 100 + b'\\"["}') == {"a": "[" * 100 + '"['}

    def test_nothing_in_an_answer_looks_like_markup(self) -> None:
        text = json_text({"symbol": "</script><img src=x onerror=alert(1)>&amp;\u2028"})
        assert not set(text) & set("<>&\u2028")
        assert json.loads(text)["symbol"] == "</script><img src=x onerror=alert(1)>&amp;\u2028"

    def test_numbers_that_are_not_finite_become_null(self) -> None:
        content = {"a": float("nan"), "b": [1.5, float("inf")], "c": np.array([1.0, np.nan]), "d": np.int64(3)}
        assert json.loads(json_text(content)) == {"a": None, "b": [1.5, None], "c": [1.0, None], "d": 3}


class TestDescription:
    def test_it_is_valid_openapi(self, app: Flask) -> None:
        described = described_by(app)
        assert described["openapi"] == "3.1.0"
        schemathesis.openapi.from_dict(described).validate()

    def test_it_has_every_path_and_method_once(self, app: Flask) -> None:
        described = described_by(app)["paths"]
        found = {(path, method.upper()) for path, methods in described.items() for method in methods}
        served_paths = {
            (rule.rule.replace("<int:", "<").replace("<", "{").replace(">", "}"), method)
            for rule in app.url_map.iter_rules()
            for method in rule.methods or ()
            if rule.rule.startswith(PREFIX) and method in {"GET", "POST"}
        }
        assert found == served_paths
        assert len(all_endpoints()) == len(found)

    def test_no_two_operations_have_one_name(self, app: Flask) -> None:
        paths = described_by(app)["paths"]
        names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
        assert len(names) == len(set(names))

    def test_a_query_is_described_with_its_limits_and_without_null(self) -> None:
        endpoint = Endpoint("GET", "/things/<int:n>", lambda: None, "Does.", Told, None, {"type": "object"}, "test")
        made = document([endpoint], needs_token=False)["paths"]["/api/v1/things/{n}"]["get"]
        parameters = {one["name"]: one for one in made["parameters"]}
        assert parameters["n"]["in"] == "path"
        assert parameters["points"]["schema"] == {
            "type": "integer", "minimum": 1, "maximum": 100, "default": 10, "description": "How many.",
        }  # fmt: skip
        assert parameters["part"]["schema"] == {"type": "string"}
        assert parameters["part"]["required"] is False
        assert made["security"] == []

    def test_what_changes_something_says_what_it_needs(self) -> None:
        endpoint = Endpoint("POST", "/things", lambda: None, "Does.", None, Sent, {"type": "object"}, "test")
        free = document([endpoint], needs_token=False)["paths"]["/api/v1/things"]["post"]
        guarded = document([endpoint], needs_token=True)["paths"]["/api/v1/things"]["post"]
        assert free["security"] == [{"page": []}]
        assert guarded["security"] == [{"token": []}, {"cookie": [], "page": []}]
        assert free["requestBody"]["content"]["application/json"]["schema"]["required"] == ["name"]

    @pytest.mark.parametrize("endpoint", TRIED, ids=lambda each: f"{each.method} {each.path}")
    def test_everything_answers_as_described(self, endpoint: Endpoint, finished_home: Path) -> None:
        app = create_app(DashboardConfig(finished_home))
        csrf = {"X-Barwise-CSRF": app.extensions[EXTENSION].csrf}
        described = described_by(app)
        path = PREFIX + endpoint.path.replace("<int:", "<").replace("<", "{").replace(">", "}")
        responses = described["paths"][path][endpoint.method.lower()]["responses"]
        operation = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)[path][endpoint.method]
        allowed, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
        cases = operation.as_strategy(generation_mode=allowed)
        if endpoint.query is not None or endpoint.body is not None:
            cases = one_of(cases, operation.as_strategy(generation_mode=wrong))
        real = {**REAL, "name": next((finished_home / "data" / "results").glob("*.html")).stem}
        statuses = set()

        @given(case=cases)
        @settings(
            max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def holds(case: schemathesis.Case[Any]) -> None:
            # As they come, most names are of nothing; with the real ones the query gets to be looked at.
            for parts in ({}, real):
                case.path_parameters = {name: parts.get(name, value) for name, value in case.path_parameters.items()}
                answer = case.call(headers=csrf)
                case.validate_response(answer, checks=CHECKS)
                content = responses[str(answer.status_code)]["content"].get("application/json")
                if content is not None:
                    check_schema(json.loads(answer.content), content["schema"], described)
                statuses.add(answer.status_code)

        holds()
        app.extensions[EXTENSION].close()
        if endpoint.method == "GET" and "<" not in endpoint.path.replace("<name>", ""):
            assert 200 in statuses or endpoint.path in NEEDS_MORE, statuses

    def test_every_parameterless_answer_about_a_run_is_as_described(self, finished_home: Path) -> None:
        app = create_app(DashboardConfig(finished_home))
        described = described_by(app)
        name = next((finished_home / "data" / "results").glob("*.html")).stem
        asked = 0
        for path, methods in described["paths"].items():
            if "get" not in methods or "{name}" not in path or set(_parts_of(path)) - {"name"} or "/multi/" in path:
                continue
            answer = app.test_client().get(path.replace("{name}", name))
            assert answer.status_code == 200, (path, answer.data)
            content = methods["get"]["responses"]["200"]["content"]
            assert answer.mimetype in content
            if answer.mimetype == "application/json":
                check_schema(answer.json, content["application/json"]["schema"], described)
            asked += 1
        assert asked >= 8
        app.extensions[EXTENSION].close()


class TestDocumentation:
    def test_the_page_lists_every_path_of_the_api_and_no_other(self) -> None:
        text = (REPOSITORY / "docs" / "dashboard.md").read_text(encoding="utf-8")
        listed = re.findall(r"^\| (GET|POST) \| `([^`]+)` \|", text, re.MULTILINE)
        assert sorted(listed) == sorted((endpoint.method, endpoint.path) for endpoint in all_endpoints())


class TestCommand:
    def test_it_says_where_it_is_and_ends_with_ctrl_c(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            assert json.loads(server.ask("/api/v1/health").body) == {"ok": True, "version": barwise.__version__}
            assert server.said[0] == f" Dashboard  http://127.0.0.1:{server.port}/\n"
            assert server.stop() == 0
        assert "Traceback" not in "".join(server.said)

    def test_a_port_that_is_taken_is_told_with_another_one(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            second = subprocess.run(
                [
                    sys.executable, "-m", "barwise", "dashboard", "--port", str(server.port), "--home", str(tmp_path)
                ],
                capture_output=True, text=True, check=False, cwd=tmp_path, env=ENVIRONMENT,
            )  # fmt: skip
        assert second.returncode == 2
        assert f"127.0.0.1 port {server.port} is taken" in second.stderr
        assert f"--port {server.port + 1}" in second.stderr

    def test_an_address_of_another_machine_is_told(self, tmp_path: Path) -> None:
        answer = subprocess.run(
            [
                sys.executable, "-m", "barwise", "dashboard", "--host", "192.0.2.1", "--home", str(tmp_path),
                "--token", "a-token-of-24-characters",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=ENVIRONMENT,
        )  # fmt: skip
        assert answer.returncode == 2
        assert "192.0.2.1 is no address of this machine" in answer.stderr
        assert "a-token-of-24-characters" not in answer.stderr
