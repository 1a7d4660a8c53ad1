"""The frame: what a clone needs to start, what an import costs, and what must never be in the repository.

run.py is tested as a user runs it, in clones with tiny locks whose only package is made here: real environments, real
pip, no network.
"""

import ast
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Self

import pytest

import barwise
from barwise.errors import BarwiseError
from tests.conftest import REPOSITORY

RUN = REPOSITORY / "run.py"
PYPROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {
    "ccxt",
    "flask",
    "numba",
    "numpy",
    "optuna",
    "pandas",
    "plotly",
    "polars",
    "pyarrow",
    "pydantic",
    "ray",
    "scipy",
}


def python(program: str, *, folder: Path = REPOSITORY) -> str:
    """What a fresh interpreter prints that has only the package's sources on its path."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


class TestPackage:
    @pytest.mark.parametrize("name", barwise.__all__)
    def test_every_public_name_can_be_fetched(self, name: str) -> None:
        assert getattr(barwise, name) is not None
        assert name in vars(barwise), "a fetched name is an ordinary global from then on"

    def test_the_type_checker_sees_the_names_that_are_fetched(self) -> None:
        tree = ast.parse(Path(barwise.__file__).read_text(encoding="utf-8"))
        [block] = [node for node in tree.body if isinstance(node, ast.If)]
        seen = {
            alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        assert seen | {"StrategyConfig": "barwise.strategy.ema_rsi_atr"} == barwise._MODULE_OF_NAME

    def test_all_errors_are_public(self) -> None:
        def below(error: type[BarwiseError]) -> set[str]:
            return {error.__name__}.union(*(below(child) for child in error.__subclasses__()))

        import barwise.errors

        tree = {name for name in below(BarwiseError) if hasattr(barwise.errors, name)}
        assert tree <= set(barwise.__all__)

    def test_an_unknown_name_is_answered_with_the_nearest_one(self) -> None:
        with pytest.raises(AttributeError, match=r"'backtst'\. Did you mean backtest\?"):
            barwise.backtst  # noqa: B018 - asking is the test

    def test_dir_lists_public_names_before_they_are_fetched(self) -> None:
        listed = python("import barwise; print(*dir(barwise))").split()
        assert set(barwise.__all__) <= set(listed)

    def test_importing_the_package_loads_nothing_heavy(self) -> None:
        loaded = set(python("import sys, barwise; print(*sys.modules)").split())
        assert "barwise" in loaded
        assert not HEAVY & loaded

    def test_names_that_need_nothing_heavy_load_nothing_heavy(self) -> None:
        loaded = set(python("import sys; from barwise import DataError, Timeframe; print(*sys.modules)").split())
        assert "barwise.timeframe" in loaded
        assert not HEAVY & loaded

    def test_the_package_is_marked_as_typed(self) -> None:
        assert (Path(barwise.__file__).parent / "py.typed").is_file()

    def test_python_dash_m_starts_the_command_line(self) -> None:
        answer = subprocess.run(
            [sys.executable, "-m", "barwise", "--help"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "backtest" in answer.stdout


class TestRepository:
    def test_config_is_no_package(self) -> None:
        assert not (REPOSITORY / "config" / "__init__.py").exists()
        assert python("import config; print(config.__file__)").strip() == str(REPOSITORY / "config.py")

    def test_the_example_of_credentials_holds_no_value(self) -> None:
        lines = (REPOSITORY / "config" / ".env.example").read_text(encoding="utf-8").splitlines()
        settings = [line for line in lines if line and not line.startswith("#")]
        assert settings
        assert all(re.fullmatch(r"[A-Z_]+=", line) for line in settings)

    @pytest.mark.parametrize("lock", ["requirements.txt", "requirements-test.txt"])
    def test_every_pin_has_hashes_and_no_line_names_a_machine_or_an_index(self, lock: str) -> None:
        text = (REPOSITORY / lock).read_text(encoding="utf-8")
        assert not re.search(
            r"://|^\s*-|file:\S|--index|--find|#.*\s/", text.replace("    --hash=sha256:", ""), re.MULTILINE
        )
        requirements = [entry for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE) if entry]
        assert all(re.match(r"[\w.-]+==[\w.]+ \\\n(    --hash=sha256:[0-9a-f]{64})", entry) for entry in requirements)

    def test_the_lock_for_tests_has_every_pin_of_the_other(self) -> None:
        assert pins("requirements.txt") <= pins("requirements-test.txt")

    def test_every_declared_dependency_is_locked(self) -> None:
        project = PYPROJECT["project"]
        assert names(project["dependencies"]) <= {pin.split("==")[0] for pin in pins("requirements.txt")}
        assert names(project["optional-dependencies"]["test"]) <= {
            pin.split("==")[0] for pin in pins("requirements-test.txt")
        }

    def test_every_library_that_the_package_imports_is_declared(self) -> None:
        imported: set[str] = set()
        optional: set[str] = set()
        extras = PYPROJECT["project"]["optional-dependencies"]
        of_extras = set().union(*(names(extras[extra]) for extra in extras if extra != "test"))
        for file in (REPOSITORY / "src").rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            lazy = {id(node) for function in functions for node in ast.walk(function)}
            for node in ast.walk(tree):
                found: set[str] = set()
                if isinstance(node, ast.Import):
                    found = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found = {node.module.split(".")[0]}
                found = {_DISTRIBUTIONS.get(name, name) for name in found}
                # What an extra brings may only be imported where it is used.
                optional |= found & of_extras if id(node) in lazy else set()
                imported |= found - of_extras if id(node) in lazy else found
        imported = {_DISTRIBUTIONS.get(name, name) for name in imported}
        assert imported - sys.stdlib_module_names - {"barwise"} <= names(PYPROJECT["project"]["dependencies"])
        assert optional == {"ccxt", "ray", "scikit-optimize"}

    def test_ci_runs_the_commands_that_the_readme_shows(self) -> None:
        ci = REPOSITORY / ".ci" / "run"
        assert os.access(ci, os.X_OK)
        ran = re.findall(r"^run (python3 run\.py.*)$", ci.read_text(encoding="utf-8"), re.MULTILINE)
        shown = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
        listed = {line.split("#")[0].strip() for line in shown if line.startswith("python3 run.py")}
        assert {"python3 run.py", "python3 run.py test"} <= listed
        # Importing needs a file of the reader's own.
        assert {command for command in listed if " data import " not in command} <= set(ran)

    def test_the_wheel_has_the_package_and_not_the_flat_api(self) -> None:
        wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel["packages"] == ["src/barwise"]
        assert PYPROJECT["project"]["scripts"] == {"barwise": "barwise.cli:main"}


# Where the name that is imported is not the one that is installed.
_DISTRIBUTIONS = {
    "dotenv": "python-dotenv",
    "flask_cors": "flask-cors",
    "pydantic_core": "pydantic",
    "skopt": "scikit-optimize",
}


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[\w.]+", (REPOSITORY / lock).read_text(encoding="utf-8"), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


class Clone:
    """A small clone of the project: run.py as it is, a command line that prints what it got, and locks of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root / "wheels"
        self.venv = root / ".venv"
        self.log = self.venv / "barwise-install.log"

    def create(self) -> "Clone":
        (self.root / "src" / "barwise").mkdir(parents=True)
        shutil.copy(RUN, self.root / "run.py")
        (self.root / "src" / "barwise" / "__init__.py").touch()
        (self.root / "src" / "barwise" / "cli.py").write_text(
            "import sys\nimport marker\n\n"
            "def main() -> int:\n    print('marker', marker.VERSION, *sys.argv[1:])\n    return len(sys.argv) - 1\n"
        )
        self.wheels.mkdir()
        self.lock("1")
        return self

    def lock(self, version: str) -> None:
        """Make a wheel of that version and lock it in both files."""
        digest = write_wheel(self.wheels, version)
        for lock in ("requirements.txt", "requirements-test.txt"):
            (self.root / lock).write_text(f"barwise-marker=={version} --hash=sha256:{digest}\n")

    def environment(self, **more: str) -> dict[str, str]:
        """The settings of pip that make it look at the wheels of this clone and nowhere else."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "COV"))}
        own = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri()}
        return {**kept, **own, **more}

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(self.root / "run.py"), *arguments],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, output, and what was said beside it."""
        process = self.start(*arguments, **environment)
        output, said = process.communicate(timeout=120)
        return process.returncode, output, said


def write_wheel(folder: Path, version: str) -> str:
    """A wheel of one module, `marker`, in the smallest form that pip installs; returns its SHA-256."""
    info = f"barwise_marker-{version}.dist-info"
    files = {
        "marker.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: barwise-marker\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text.encode())}\n")
    path = folder / f"barwise_marker-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, record: "".join(rows) + f"{record},,\n"}.items():
            wheel.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, tuple[int, str, str]]:
    """A clone after its first start, and how that start went. Its folder's name has a space, as people's folders do."""
    clone = Clone(tmp_path_factory.mktemp("first start") / "clone").create()
    return clone, clone.run("a", "b")


@pytest.fixture
def clone(made: tuple[Clone, tuple[int, str, str]], tmp_path: Path) -> Clone:
    """A clone that was started before, free to be spoilt: a copy of the first in another folder."""
    shutil.copytree(made[0].root, tmp_path / "clone", symlinks=True)
    return Clone(tmp_path / "clone")


class TestRun:
    def test_the_first_start_makes_the_environment_and_hands_the_arguments_on(
        self, made: tuple[Clone, tuple[int, str, str]]
    ) -> None:
        code, output, said = made[1]
        assert (code, output) == (2, "marker 1 a b\n")
        assert "Making .venv: this is the first start." in said
        assert "Installing requirements.txt" in said

    def test_without_arguments_it_is_the_main_job(self, made: tuple[Clone, tuple[int, str, str]]) -> None:
        assert made[0].run()[:2] == (2, "marker 1 run --yes\n")

    def test_the_second_start_installs_nothing_and_says_nothing(self, made: tuple[Clone, tuple[int, str, str]]) -> None:
        before = made[0].log.stat().st_mtime_ns
        assert made[0].run("x") == (1, "marker 1 x\n", "")
        assert made[0].log.stat().st_mtime_ns == before

    def test_the_working_folder_and_the_home_folder_are_the_users(
        self, made: tuple[Clone, tuple[int, str, str]], tmp_path: Path
    ) -> None:
        (tmp_path / "marker.py").write_text("VERSION = 'of the working folder'\n")
        answer = subprocess.run(
            [sys.executable, str(made[0].root / "run.py")],
            cwd=tmp_path,
            env=made[0].environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.stdout == "marker 1 run --yes\n"

    def test_the_script_in_the_environment_runs_from_a_folder_with_a_space(
        self, made: tuple[Clone, tuple[int, str, str]]
    ) -> None:
        script = made[0].venv / "bin" / "barwise"
        answer = subprocess.run([str(script), "y"], capture_output=True, text=True, check=False)
        assert (answer.returncode, answer.stdout) == (1, "marker 1 y\n")

    def test_a_changed_lock_is_installed_and_then_not_again(self, clone: Clone) -> None:
        clone.lock("2")
        code, output, said = clone.run("x")
        assert (code, output) == (1, "marker 2 x\n")
        assert "Making .venv" not in said
        assert clone.run("x") == (1, "marker 2 x\n", "")

    def test_a_moved_clone_still_starts_and_its_script_too(self, clone: Clone) -> None:
        assert clone.run("x")[:2] == (1, "marker 1 x\n")
        script = clone.venv / "bin" / "barwise"
        assert str(clone.venv) in script.read_text()

    def test_where_pip_fails_the_last_lines_are_shown_and_the_next_start_tries_again(self, clone: Clone) -> None:
        clone.lock("3")
        wheel = clone.wheels / "barwise_marker-3-py3-none-any.whl"
        wheel.rename(clone.root / "kept.whl")
        code, output, said = clone.run("x")
        assert (code, output) == (1, "")
        assert "pip could not install requirements.txt" in said
        assert "No matching distribution found for barwise-marker==3" in said
        assert str(clone.log) in said
        assert "Traceback" not in said
        (clone.root / "kept.whl").rename(wheel)
        code, output, said = clone.run("x")
        assert (code, output) == (1, "marker 3 x\n")
        assert "Making .venv" not in said, "pip had put things back, so the environment is kept"

    def test_a_package_that_differs_from_its_hash_is_refused(self, clone: Clone) -> None:
        clone.lock("4")
        with (clone.wheels / "barwise_marker-4-py3-none-any.whl").open("ab") as wheel:
            wheel.write(b"tampered")
        code, output, said = clone.run("x")
        assert (code, output) == (1, "")
        assert "DO NOT MATCH THE HASHES" in said

    def test_a_missing_lock_is_said_in_one_line(self, clone: Clone) -> None:
        (clone.root / "requirements.txt").unlink()
        code, _, said = clone.run("x")
        assert code == 1
        assert said.startswith("run.py: requirements.txt cannot be read")
        assert "Traceback" not in said

    def test_an_interpreter_that_is_gone_is_replaced(self, clone: Clone) -> None:
        (clone.venv / "bin" / "python").unlink()
        (clone.venv / "bin" / "python").symlink_to("/nowhere/python3")
        code, output, said = clone.run("x")
        assert (code, output) == (1, "marker 1 x\n")
        assert "Making .venv: it is broken." in said

    def test_an_environment_without_pip_is_made_anew(self, clone: Clone) -> None:
        [pip] = clone.venv.glob("lib/python*/site-packages/pip")
        shutil.rmtree(pip)
        clone.lock("5")
        code, output, said = clone.run("x")
        assert (code, output) == (1, "marker 5 x\n")
        assert "Making .venv: it is broken." in said

    def test_an_installation_that_was_killed_is_redone_from_nothing(self, clone: Clone) -> None:
        clone.lock("6")
        leftover = clone.venv / "leftover"
        leftover.touch()
        with SilentIndex() as index:
            process = clone.start("x", PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index.url)
            index.wait_for_a_question()
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        code, output, said = clone.run("x")
        assert (code, output) == (1, "marker 6 x\n")
        assert "Making .venv: the last installation was cut off." in said
        assert not leftover.exists()

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finding pip's process needs /proc")
    def test_a_pip_that_is_killed_alone_leaves_nothing_to_build_on(self, clone: Clone) -> None:
        clone.lock("10")
        with SilentIndex() as index:
            process = clone.start("x", PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index.url)
            index.wait_for_a_question()
            [pip] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(pip), signal.SIGKILL)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "pip could not install requirements.txt" in said
        assert "Making .venv: the last installation was cut off." in clone.run("x")[2]

    def test_a_folder_that_cannot_be_written_is_said_in_one_line(self, clone: Clone) -> None:
        clone.lock("11")
        (clone.root / ".venv.lock").unlink()
        (clone.root / ".venv.lock").mkdir()
        code, output, said = clone.run("x")
        assert (code, output) == (1, "")
        assert said.startswith("run.py: ")
        assert len(said.splitlines()) == 1

    def test_ctrl_c_during_the_installation_is_130_and_the_next_start_starts_over(self, clone: Clone) -> None:
        clone.lock("7")
        with SilentIndex() as index:
            process = clone.start("x", PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index.url)
            index.wait_for_a_question()
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in said
        assert clone.run("x")[:2] == (1, "marker 7 x\n")

    def test_two_starts_at_once_install_once(self, clone: Clone) -> None:
        clone.lock("8")
        both = [clone.start(name) for name in ("x", "y")]
        answers = [process.communicate(timeout=120) for process in both]
        assert [output for output, _ in answers] == ["marker 8 x\n", "marker 8 y\n"]
        assert sum(said.count("Installing") for _, said in answers) == 1

    def test_a_start_waits_for_a_pip_that_outlived_its_killed_start(self, clone: Clone) -> None:
        clone.lock("9")
        with SilentIndex() as index:
            first = clone.start("x", PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index.url)
            index.wait_for_a_question()
            first.kill()
            first.wait()
            second = clone.start("y")
            assert second.stderr is not None
            assert second.stderr.readline() == "Another start is making the environment; waiting for it.\n"
            os.killpg(first.pid, signal.SIGKILL)
            assert first.communicate() is not None
        output, said = second.communicate(timeout=120)
        assert output == "marker 9 y\n"
        assert "Making .venv: the last installation was cut off." in said

    def test_a_python_without_ensurepip_is_told_which_package_to_install(self, tmp_path: Path) -> None:
        clone = Clone(tmp_path / "clone").create()
        program = (
            "import sys, importlib.util; find = importlib.util.find_spec; "
            "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest); "
            f"sys.path.insert(0, {str(clone.root)!r}); import run; sys.exit(run.main(['x']))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program], env=clone.environment(), capture_output=True, text=True, check=False
        )
        assert answer.returncode == 1
        assert "apt install python3-venv" in answer.stderr
        assert not clone.venv.exists()

    @pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10)])
    def test_an_old_python_is_refused_in_one_sentence(self, version: tuple[int, int]) -> None:
        import run

        said = run.refuse(version, "posix")
        assert f"barwise needs Python 3.11 or newer; this is {version[0]}.{version[1]}." in said
        assert run.refuse((3, 11), "posix") == ""

    def test_the_oldest_python_of_run_py_is_that_of_the_package(self) -> None:
        import run

        assert PYPROJECT["project"]["requires-python"] == ">=" + ".".join(map(str, run.OLDEST_PYTHON))

    def test_an_operating_system_it_does_not_know_is_refused(self) -> None:
        import run

        assert "Linux and macOS" in run.refuse((3, 12), "nt")

    def test_old_pythons_can_read_as_far_as_the_refusal(self) -> None:
        ast.parse(RUN.read_text(encoding="utf-8"), feature_version=(3, 6))

    def test_run_py_needs_the_standard_library_only(self) -> None:
        tree = ast.parse(RUN.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


class SilentIndex:
    """A package index that takes every question and answers none."""

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(60)
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/simple"
        return self

    def wait_for_a_question(self) -> None:
        self._open.append(self._server.accept()[0])

    def __exit__(self, *_: object) -> None:
        for connection in (*self._open, self._server):
            connection.close()
