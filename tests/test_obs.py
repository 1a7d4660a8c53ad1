"""The log: who sees which line, where it lies, which run it belongs to, and that no credential ever stands in it."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from barwise import obs
from barwise.errors import ConfigError

SOURCE = Path(obs.__file__).parents[1]


@pytest.fixture(autouse=True)
def closed_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BARWISE_LOG", "BARWISE_HOME", *obs.CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    yield
    obs.close_logging()


def lines_of(home: Path, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "logs" / file).read_text(encoding="utf-8").splitlines()]


def all_log_text(home: Path) -> str:
    return "".join(file.read_text(encoding="utf-8") for file in (home / "logs").iterdir())


class TestHomeFolder:
    def test_the_folder_given_wins_over_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BARWISE_HOME", str(tmp_path / "environment"))
        assert obs.home_folder(tmp_path / "given") == tmp_path / "given"

    def test_the_environment_wins_over_the_working_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BARWISE_HOME", str(tmp_path / "environment"))
        assert obs.home_folder() == tmp_path / "environment"

    @pytest.mark.parametrize("value", [None, ""])
    def test_without_both_it_is_the_working_folder(
        self, value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if value is not None:
            monkeypatch.setenv("BARWISE_HOME", value)
        monkeypatch.chdir(tmp_path)
        assert obs.home_folder() == tmp_path

    def test_a_relative_folder_and_a_tilde_become_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert obs.home_folder(Path("here")) == tmp_path / "here"
        assert obs.home_folder(Path("~/there")) == tmp_path / "there"


class TestFiles:
    def test_each_part_writes_into_its_own_file(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        for name in ("barwise.engine", "barwise.data.store", "barwise.exchange.binance", "barwise.optimizer.search"):
            logging.getLogger(name).info("from %s", name)
        assert [line["logger"] for line in lines_of(tmp_path, "backtest_engine.log")] == [
            "barwise.engine",
            "barwise.data.store",
        ]
        assert [line["logger"] for line in lines_of(tmp_path, "exchange_manager.log")] == ["barwise.exchange.binance"]
        assert [line["message"] for line in lines_of(tmp_path, "optimization_engine.log")] == [
            "from barwise.optimizer.search"
        ]
        assert not (tmp_path / "logs" / "error.log").exists()

    @pytest.mark.parametrize(
        ("logger", "file"),
        [
            ("barwise.exchange.manager", "exchange_manager.log"),
            ("barwise.engine", "backtest_engine.log"),
            ("barwise.cli.app", "backtest_engine.log"),
            ("barwise.pipeline.job", "backtest_engine.log"),
            ("barwise.optimizer.search", "optimization_engine.log"),
            ("barwise.validation.engine", "optimization_engine.log"),
        ],
    )
    def test_an_error_with_its_traceback_is_in_the_file_of_its_part_and_in_that_of_errors(
        self, logger: str, file: str, tmp_path: Path
    ) -> None:
        obs.configure_logging(tmp_path)
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger(logger).exception("it broke")
        assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == sorted([file, "error.log"])
        for name in (file, "error.log"):
            [line] = lines_of(tmp_path, name)
            assert line["exception"].endswith("ValueError: inner\n")

    def test_what_another_library_marks_records_with_is_left_out(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.engine").info("a line", extra={"_marked_ns": 1, "bars": 2})
        [line] = lines_of(tmp_path, "backtest_engine.log")
        assert "_marked_ns" not in line
        assert line["bars"] == 2

    def test_every_line_says_when_where_and_in_which_process_it_was_written(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.engine").info("a line")
        [line] = lines_of(tmp_path, "backtest_engine.log")
        assert list(line) == ["time", "level", "logger", "message", "where", "process"]
        assert line["process"] == os.getpid()
        assert line["where"].startswith("test_obs.test_every_line")

    def test_of_old_files_three_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(obs, "_FILE_BYTES", 500)
        obs.configure_logging(tmp_path)
        for number in range(40):
            logging.getLogger("barwise.engine").info("line %d", number)
        names = {path.name for path in (tmp_path / "logs").iterdir()}
        assert names == {"backtest_engine.log", *(f"backtest_engine.log.{number}" for number in (1, 2, 3))}
        assert lines_of(tmp_path, "backtest_engine.log")[-1]["message"] == "line 39"

    def test_a_module_whose_name_only_begins_alike_is_not_of_that_part(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.exchanges_listed").info("one")
        assert len(lines_of(tmp_path, "backtest_engine.log")) == 1

    def test_errors_of_all_parts_stand_in_the_error_file_with_their_traceback(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        try:
            raise KeyError("nowhere")
        except KeyError:
            logging.getLogger("barwise.exchange").exception("the page is broken")
        logging.getLogger("barwise.engine").warning("not an error")
        [line] = lines_of(tmp_path, "error.log")
        assert line["message"] == "the page is broken"
        assert line["level"] == "ERROR"
        assert line["exception"].startswith("Traceback (most recent call last)")
        assert line["exception"].endswith("KeyError: 'nowhere'\n")

    def test_extra_fields_are_part_of_the_line_whatever_their_type(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        extra = {"bars": 2136, "nan": float("nan"), "where": Path("store"), "nested": {"rows": (1, None, "zwölf")}}
        logging.getLogger("barwise.data").info("loaded", extra=extra)
        [line] = lines_of(tmp_path, "backtest_engine.log")
        assert (line["bars"], line["nan"], line["where"]) == (2136, "nan", "store")
        assert line["nested"] == {"rows": [1, None, "zwölf"]}
        assert line["time"].endswith("+00:00")

    def test_a_silent_run_leaves_no_file_and_no_folder(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.engine").debug("below the level")
        obs.close_logging()
        assert list(tmp_path.iterdir()) == []

    def test_without_files_nothing_is_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        obs.configure_logging(tmp_path, files=False)
        logging.getLogger("barwise.engine").error("only on the console")
        assert list(tmp_path.iterdir()) == []
        assert "only on the console" in capsys.readouterr().err

    def test_a_full_file_is_rotated_and_no_line_is_lost(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(obs, "_FILE_BYTES", 2_000)
        obs.configure_logging(tmp_path)
        for number in range(20):
            logging.getLogger("barwise.engine").info("line %d", number)
        files = sorted(file.name for file in (tmp_path / "logs").iterdir())
        assert "backtest_engine.log.1" in files
        found = [line["message"] for file in files for line in lines_of(tmp_path, file)]
        assert sorted(found, key=lambda text: int(text.split()[1])) == [f"line {number}" for number in range(20)]

    def test_a_second_call_replaces_the_first(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path / "first")
        obs.configure_logging(tmp_path / "second")
        logging.getLogger("barwise").info("once")
        assert not (tmp_path / "first").exists()
        assert len(lines_of(tmp_path / "second", "backtest_engine.log")) == 1

    def test_where_the_folder_cannot_be_written_the_run_goes_on_and_hears_it_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "logs").write_text("a file where the folder should be")
        obs.configure_logging(tmp_path)
        for _ in range(3):
            logging.getLogger("barwise.engine").info("a line")
        said = capsys.readouterr().err
        assert said.count("warning: lines are missing in") == 1
        assert "Traceback" not in said


class TestConsole:
    def test_info_is_the_bare_message_and_worse_names_its_level(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        obs.configure_logging(tmp_path)
        logger = logging.getLogger("barwise.engine")
        logger.debug("not shown")
        logger.info("2,136 bars")
        logger.warning("volume is missing")
        assert capsys.readouterr().err == "2,136 bars\nwarning: volume is missing\n"

    def test_a_traceback_stays_in_the_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        obs.configure_logging(tmp_path)
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("barwise.engine").exception("it broke")
        assert capsys.readouterr().err == "error: it broke\n"

    def test_a_higher_console_level_leaves_the_files_complete(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        obs.configure_logging(tmp_path, console=logging.WARNING)
        logging.getLogger("barwise.engine").info("for the file")
        assert capsys.readouterr().err == ""
        assert len(lines_of(tmp_path, "backtest_engine.log")) == 1

    @pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
    def test_colours_appear_on_a_terminal_unless_they_are_unwanted(
        self, environment: dict[str, str], coloured: bool, tmp_path: Path
    ) -> None:
        program = (
            "import logging; from pathlib import Path; from barwise import obs; "
            f"obs.configure_logging(Path({str(tmp_path)!r})); logging.getLogger('barwise').warning('careful')"
        )
        inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        screen, terminal = pty.openpty()
        try:
            subprocess.run(
                [sys.executable, "-c", program],
                stderr=terminal,
                env={**inherited, "PYTHONPATH": str(SOURCE), **environment},
                check=True,
            )
            shown = os.read(screen, 1000).decode()
        finally:
            os.close(terminal)
            os.close(screen)
        assert shown == ("\x1b[33mwarning:\x1b[0m careful\r\n" if coloured else "warning: careful\r\n")


class TestLevels:
    def test_a_bare_level_is_that_of_the_package_and_a_module_has_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BARWISE_LOG", "warning, barwise.exchange=debug")
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.engine").info("not wanted")
        logging.getLogger("barwise.exchange.binance").debug("page 12")
        assert [line["message"] for line in lines_of(tmp_path, "exchange_manager.log")] == ["page 12"]
        assert not (tmp_path / "logs" / "backtest_engine.log").exists()

    def test_closing_gives_the_loggers_their_levels_back(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path, levels="error,barwise.data=debug")
        obs.close_logging()
        assert logging.getLogger("barwise").level == logging.NOTSET
        assert logging.getLogger("barwise.data").level == logging.NOTSET
        assert logging.getLogger("barwise").handlers == []

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("infos", "'infos' is not a level. Did you mean info?"),
            ("barwise.engine=loud", "'loud' is not a level."),
            ("barwise.engine=", "'' is not a level."),
            ("urllib3=debug", "'urllib3' is not a module of this package."),
            ("barwisely=debug", "'barwisely' is not a module of this package."),
        ],
    )
    def test_a_wrong_level_or_module_is_refused_with_what_is_allowed(self, text: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            obs.configure_logging(levels=text)
        assert said in caught.value.message
        assert caught.value.hint


def places_of(home: Path, file: str = "backtest_engine.log") -> dict[str, tuple[str | None, str | None]]:
    """(run, stage) of each line by its message; None where the line has no such field."""
    return {line["message"]: (line.get("run"), line.get("stage")) for line in lines_of(home, file)}


class TestCorrelation:
    def test_lines_inside_have_run_and_stage_and_those_around_it_have_not(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logger = logging.getLogger("barwise.engine")
        logger.info("before")
        with obs.correlated("run-btcusdt-1h-0a1b2c3d"):
            logger.info("in the run")
            with obs.correlated("run-btcusdt-1h-0a1b2c3d", "7.1"):
                logger.info("in the stage")
            logger.info("in the run again")
        logger.info("after")
        assert places_of(tmp_path) == {
            "before": (None, None),
            "in the run": ("run-btcusdt-1h-0a1b2c3d", None),
            "in the stage": ("run-btcusdt-1h-0a1b2c3d", "7.1"),
            "in the run again": ("run-btcusdt-1h-0a1b2c3d", None),
            "after": (None, None),
        }

    def test_every_file_has_them_and_the_console_stays_as_it_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        obs.configure_logging(tmp_path)
        with obs.correlated("run-a", "5"):
            logging.getLogger("barwise.exchange").error("refused")
        assert places_of(tmp_path, "exchange_manager.log") == {"refused": ("run-a", "5")}
        assert places_of(tmp_path, "error.log") == {"refused": ("run-a", "5")}
        assert capsys.readouterr().err == "error: refused\n"

    def test_an_error_inside_ends_it(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        with pytest.raises(KeyError), obs.correlated("run-a", "5"):
            raise KeyError
        logging.getLogger("barwise").info("after")
        assert places_of(tmp_path) == {"after": (None, None)}

    def test_a_thread_with_a_copied_context_stays_in_the_run_it_was_started_in(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logger = logging.getLogger("barwise.engine")
        with obs.correlated("run-a", "5"):
            context = copy_context()
        with obs.correlated("run-b", "6"):
            thread = threading.Thread(target=context.run, args=(logger.info, "from the thread"))
            thread.start()
            thread.join()
            logger.info("from here")
        assert places_of(tmp_path) == {"from the thread": ("run-a", "5"), "from here": ("run-b", "6")}

    def test_a_thread_of_a_pool_belongs_to_the_only_run_there_is(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(logging.getLogger("barwise").info, "made before the run").result()
            with obs.correlated("run-a"), obs.correlated("run-a", "7.2"):
                pool.submit(logging.getLogger("barwise").info, "in the stage").result()
            pool.submit(logging.getLogger("barwise").info, "after the run").result()
        assert places_of(tmp_path) == {
            "made before the run": (None, None),
            "in the stage": ("run-a", "7.2"),
            "after the run": (None, None),
        }

    def test_two_runs_at_once_keep_their_lines_apart_and_a_strange_thread_is_of_neither(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        logger = logging.getLogger("barwise.engine")
        both_there, done = threading.Barrier(3, timeout=30), threading.Barrier(3, timeout=30)

        def run(name: str) -> None:
            with obs.correlated(name, "5"):
                both_there.wait()
                logger.info("of %s", name)
                done.wait()

        threads = [threading.Thread(target=run, args=(name,)) for name in ("run-a", "run-b")]
        for thread in threads:
            thread.start()
        both_there.wait()
        logger.info("of nobody")
        done.wait()
        for thread in threads:
            thread.join()
        assert places_of(tmp_path) == {
            "of run-a": ("run-a", "5"),
            "of run-b": ("run-b", "5"),
            "of nobody": (None, None),
        }

    def test_a_line_that_names_its_own_run_keeps_it(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        with obs.correlated("run-a", "5"):
            logging.getLogger("barwise").info("a line", extra={"run": "an older one"})
        assert places_of(tmp_path) == {"a line": ("an older one", "5")}


class TestRedaction:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            (
                "GET /api/v3/order?symbol=BTCUSDT&signature=5EC4E7&timestamp=1",
                "symbol=BTCUSDT&signature=***&timestamp=1",
            ),
            ("{'apiKey': 'S3CR3T', 'symbol': 'BTCUSDT'}", "{'apiKey': '***', 'symbol': 'BTCUSDT'}"),
            ('{"X-MBX-APIKEY": "S3CR3T"}', '{"X-MBX-APIKEY": "***"}'),
            ("api_secret='S3CR3T with spaces'", "api_secret='***'"),
            ("Authorization: Bearer S3CR3T", "Authorization: ***"),
            ("{'Authorization': 'token key:S3CR3T', 'rows': 3}", "{'Authorization': '***', 'rows': 3}"),
            ("Set-Cookie: session=S3CR3T; path=/", "Set-Cookie: ***"),
            ("postgresql://user:S3CR3T@host/db", "postgresql://***@host/db"),
            ("access_token=S3CR3T", "access_token=***"),
            ("api-key: S3CR3T", "api-key: ***"),
            ("dhanClientId=1100S3CR3T", "dhanClientId=***"),
        ],
    )
    def test_what_stands_behind_a_telling_name_is_taken_out(self, text: str, left: str) -> None:
        assert obs.redact(text).endswith(left)
        assert "S3CR3T" not in obs.redact(text)

    @pytest.mark.parametrize(
        "text", ["BTCUSDT 1H: 2,136 bars", "design=5, assigned: 3", "a token of trust", "https://host:443/path?limit=5"]
    )
    def test_ordinary_lines_stay_as_they_are(self, text: str) -> None:
        assert obs.redact(text) == text

    @pytest.mark.parametrize("name", obs.CREDENTIALS)
    def test_the_value_of_a_credential_is_taken_out_wherever_it_stands(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        secret = "q7-Zw/9+Kp=="
        monkeypatch.setenv(name, secret)
        obs.configure_logging(tmp_path)
        logger = logging.getLogger("barwise.exchange")
        logger.error(f"in the message {secret}")  # noqa: G004 - a careless line is what this is about
        logger.error("in an argument %s", [secret])
        logger.error("in an extra field", extra={"seen": {"deep": [f"<{secret}>"], secret: 1}})
        try:
            raise RuntimeError(f"in the exception {secret}")
        except RuntimeError:
            logger.exception("in the traceback")
        logger.error("in the stack", stack_info=True)
        assert len(lines_of(tmp_path, "error.log")) == 5
        assert secret not in all_log_text(tmp_path) + capsys.readouterr().err

    def test_a_secret_read_from_a_file_is_taken_out_after_hide(self, tmp_path: Path) -> None:
        obs.hide("from-the-env-file", "x")
        obs.configure_logging(tmp_path)
        logging.getLogger("barwise.engine").info("x marks from-the-env-file")
        assert [line["message"] for line in lines_of(tmp_path, "backtest_engine.log")] == ["x marks ***"]

    def test_of_two_secrets_the_longer_one_goes_first(self) -> None:
        obs.hide("short-secret", "short-secret-and-more")
        assert obs.redact("<short-secret-and-more>") == "<***>"

    def test_an_extra_field_with_a_telling_name_is_hidden_whatever_its_type(self, tmp_path: Path) -> None:
        obs.configure_logging(tmp_path)
        extra = {"headers": {"api-key": b"S3CR3T", "signature": 123456, "accept": "json"}}
        logging.getLogger("barwise.exchange").info("asked", extra=extra)
        [line] = lines_of(tmp_path, "exchange_manager.log")
        assert line["headers"] == {"api-key": "***", "signature": "***", "accept": "json"}

    def test_the_names_are_those_of_the_example_file(self) -> None:
        example = (SOURCE.parent / "config" / ".env.example").read_text(encoding="utf-8")
        listed = [line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")]
        assert tuple(listed) == obs.CREDENTIALS
