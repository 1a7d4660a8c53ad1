"""The form of a new run: what can be said, what it would come to, and what is wrong with it, key by key.

What is checked is the very file that the run would be given, by the same function as on the command line. A strategy's
file is code, and this process never runs it: another one is asked, which may fail or hang as it likes.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from barwise.config import MarketChoice
from barwise.dashboard.job_environment import child_environment
from barwise.dashboard.jobs import toml_of
from barwise.data.files import write_atomically
from barwise.data.synthetic import sample_symbols
from barwise.errors import ConfigError, did_you_mean
from barwise.exchange.manager import VENUES
from barwise.obs import redact
from barwise.pipeline.stages import choose_market, each_market
from barwise.run_config import SECTIONS, RunConfig, keys_of, resolve, schema
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr

Sections = dict[str, dict[str, Any]]

DEFAULT_STRATEGY = str(keys_of("strategy")["class"].default)
# The search of the main job, where nobody says otherwise: that whose verdict has a measured error rate.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"optimization": {"optuna_sampler": "AUTO"}}
_PATHS = (("market", "file"), ("market", "detail_file"), ("market", "funding_file"), ("optimization", "storage"))
# What would have this computer talk to another one.
_ADDRESSES = (("optimization", "address"), ("optimization", "storage"))
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MOST_PROBLEMS = 20
# A strategy that takes longer than this to be imported is refused.
_PATIENCE_SECONDS = 30.0
_MOST_FILES, _LONGEST_FILE = 200, 1 << 18


class Problem(NamedTuple):
    """One thing that is wrong: with a key, with a section (key ""), or with all of it (both "").

    Attributes:
        section, key: What is wrong.
        message, hint: Why, and what to do.
        row: Which of several markets it is, from 0; None where it is none of them.
        part: What of that market, such as symbol; "" = all of it.
    """

    section: str
    key: str
    message: str
    hint: str
    row: int | None = None
    part: str = ""


@dataclass(frozen=True)
class Checked:
    """What a form comes to.

    Attributes:
        problems: What is wrong; none where it can be run.
        values: Every key of every section; empty where something is wrong.
    """

    problems: tuple[Problem, ...]
    values: Mapping[str, Mapping[str, Any]]


class Form:
    """The form of one dashboard.

    Args:
        home: The home folder.
        folder: The working directory of the runs, which paths are relative to.
        environment: Its BARWISE_SECTION__KEY variables are defaults of the form.

    Files of candles may lie in the home folder or in the working directory, those of strategies in the home folder.
    """

    def __init__(self, home: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._home, self._folder, self._environment = home, folder, environment

    def document(self) -> dict[str, Any]:
        """Everything that a run can be told.

        Raises:
            ConfigError: A variable of the environment is wrong.
        """
        told = self._told_by_environment()
        return {
            "schema": _schema(),
            "values": told.values,
            "sources": told.sources,
            "venues": list(VENUES),
            "samples": [sample.name for sample in sample_symbols()],
            "strategies": [DEFAULT_STRATEGY, *self._strategies()],
        }

    def check(self, values: Mapping[str, Mapping[str, Any]]) -> Checked:
        """What a run with these values would be.

        Args:
            values: By section and key, what differs from the defaults; None is "none".

        Raises:
            ConfigError: A variable of the environment is wrong.
        """
        problems: list[Problem] = []
        content = {section: dict(found) for section, found in values.items()}
        for problem in self._refused(content):
            problems.append(problem)
            _leave_out(content, problem)
        for section, key, value in self._defaults():
            content.setdefault(section, {}).setdefault(key, value)
        own = content.get("strategy", {}).get("class", DEFAULT_STRATEGY) == DEFAULT_STRATEGY
        with tempfile.TemporaryDirectory(prefix="barwise-") as folder:
            file = Path(folder) / "form.toml"
            told = _resolved(content, file, problems, own=own)
            if told is not None and not any(problem.section == "market" for problem in problems):
                problems += _wrong_markets(told, content)
            if problems or told is None:
                return Checked(tuple(problems[:_MOST_PROBLEMS]), {})
            if own:
                return Checked((), told.values)
            return self._asked_of_another(content, file)

    # -- What the command line would allow, and a page may not ---------------------------------------------------------

    def _refused(self, content: Sections) -> Iterator[Problem]:
        for section, found in list(content.items()):
            if section not in SECTIONS:
                guess = did_you_mean(section[:100], SECTIONS)
                yield Problem(section, "", f"this is not a section.{guess}", f"the sections are {', '.join(SECTIONS)}.")
                continue
            for key, value in list(found.items()):
                if not _WORD.fullmatch(key):
                    yield Problem(
                        section, key, f"this is not a key of [{section}].", "GET /api/v1/form lists the keys."
                    )
                elif not _is_printable(value):
                    yield Problem(section, key, f"{key} has characters that nobody types.", "letters, digits, signs.")
                else:
                    reason = self._why_not(section, key, value)
                    if reason is not None:
                        yield Problem(section, key, *reason)

    def _why_not(self, section: str, key: str, value: Any) -> tuple[str, str] | None:
        if (section, key) in _ADDRESSES and isinstance(value, str) and ("://" in value or key == "address"):
            if value.strip().lower() in {"", "none"}:
                return None
            variable = f"BARWISE_{section}__{key}".upper()
            return f"{key}: an address is not taken from a page.", f"start the dashboard with {variable} set."
        files = [value] if (section, key) in _PATHS else []
        places = [self._home, self._folder]
        if (section, key) == ("market", "markets") and isinstance(value, list):
            files = [one.get("file") for one in value if isinstance(one, dict)]
        if (section, key) == ("strategy", "class") and isinstance(value, str) and value != DEFAULT_STRATEGY:
            # A program, not data: whoever may write into the home folder may have it run, and nobody else.
            places = [self._home]
            files = [value.rpartition(":")[0] if ":" in value else value]
            if not files[0].endswith(".py"):
                return f"class: a page takes a strategy as FILE.py:CLASS; got {value}.", "name its file."
        for file in files:
            if isinstance(file, str) and not self._is_below(file, *places):
                below = " nor below ".join(map(str, dict.fromkeys(places)))
                return (
                    f"{key}: {file} is {'not' if len(set(places)) == 1 else 'neither'} below the home folder {below}.",
                    "put the file there, or run it on the command line, which takes any file.",
                )
        return None

    def _is_below(self, file: str, *places: Path) -> bool:
        if file.strip().lower() in {"", "none", "null"}:
            return True
        try:
            path = (self._folder / file.strip()).resolve()
            return any(path.is_relative_to(place.resolve()) for place in places)
        except (OSError, RuntimeError, ValueError):  # a loop of links, or no path at all
            return False

    # -- Defaults ------------------------------------------------------------------------------------------------------

    def _told_by_environment(self) -> RunConfig:
        environment = dict(self._environment)
        if environment.get("BARWISE_STRATEGY__CLASS", DEFAULT_STRATEGY) != DEFAULT_STRATEGY:
            # Its parameters are those of a class that is only known to the process that runs it.
            environment = {name: value for name, value in environment.items() if "STRATEGY__" not in name}
        return resolve(None, environment=environment, load=_built_in, defaults=_DEFAULTS)

    def _defaults(self) -> Iterator[tuple[str, str, Any]]:
        """What a run is told that nobody has said here."""
        told = self._told_by_environment()
        for section, sources in told.sources.items():
            for key, source in sources.items():
                # The ledger's address may hold a password, which no file does: see job_environment.
                if source == "environment" and (section, key) != ("optimization", "storage"):
                    yield section, key, told.values[section][key]
        for section, values in _DEFAULTS.items():
            for key, value in values.items():
                yield section, key, value

    def _strategies(self) -> list[str]:
        """Strategies that lie about, as a run is told of them; their files are looked at, never run."""
        found: dict[str, None] = {}
        places = (self._home, self._home / "strategies")
        files = [file for place in places if place.is_dir() for file in sorted(place.glob("*.py"))]
        for file in files[:_MOST_FILES]:
            name = str(file.relative_to(self._folder)) if file.is_relative_to(self._folder) else str(file)
            found |= dict.fromkeys(f"{name}:{kind}" for kind in _classes_of(file))
        return list(found)

    # -- A strategy of one's own ---------------------------------------------------------------------------------------

    def parameters(self, reference: str) -> dict[str, Any]:
        """What a strategy can be told: the JSON schema of its section, with what that refers to as `$defs`.

        Args:
            reference: FILE.py:CLASS, or the built-in one.

        Raises:
            ConfigError: It lies elsewhere, cannot be imported, or is no strategy.
        """
        if not _is_printable(reference):
            raise ConfigError("class: a name has letters, digits and signs.", hint="name it as FILE.py:CLASS.")
        refused = self._why_not("strategy", "class", reference)
        if refused is not None:
            raise ConfigError(refused[0], hint=refused[1])
        if reference == DEFAULT_STRATEGY:
            return _strategy_section(_schema())
        # What is wrong with it only this one tells in a form for programs.
        for problem in self.check({"strategy": {"class": reference}}).problems:
            raise ConfigError(problem.message, hint=problem.hint)
        return _strategy_section(self._said_by_another(["schema", "--strategy", reference]))

    def _asked_of_another(self, content: Sections, file: Path) -> Checked:
        write_atomically(file, toml_of(content), mode=0o600)
        try:
            answer = self._said_by_another(["show", str(file), "--json"])
        except ConfigError as silent:
            return Checked((Problem("strategy", "class", silent.message, silent.hint),), {})
        if "error" in answer:
            error = ConfigError(answer["error"]["message"], hint=answer["error"]["hint"])
            found = _located(error, file, content)
            if not found.key and found.section in {"", "strategy"}:
                found = found._replace(section="strategy", key="class")
            return Checked((found,), {})
        return Checked((), answer["values"])

    def _said_by_another(self, words: list[str]) -> dict[str, Any]:
        """What `barwise config` says, in a process of its own, which has no secrets and not for ever.

        Raises:
            ConfigError: It says nothing.
        """
        command = [sys.executable, "-P", "-m", "barwise", "config", *words, "--home", str(self._home)]
        try:
            done = subprocess.run(  # noqa: S603 - this program itself
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=self._folder,
                env=child_environment(self._environment, self._home, {}), timeout=_PATIENCE_SECONDS,
            )  # fmt: skip
            # A strategy may print what it likes; what counts stands at the end.
            text = done.stdout.decode(errors="replace").rstrip()
            return dict(json.loads(text[text.rindex("\n{") if "\n{" in text else 0 :]))
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"its file took more than {_PATIENCE_SECONDS:g} s to import.") from error
        except ValueError as error:
            raise ConfigError("its file cannot be imported.", hint="python FILE shows why.") from error


def _built_in(_: str) -> type[Strategy]:
    return EmaRsiAtr


@cache
def _schema() -> dict[str, Any]:
    return schema()


def _strategy_section(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {**whole["properties"]["strategy"], "$defs": whole["$defs"]}


def _resolved(content: Sections, file: Path, problems: list[Problem], *, own: bool) -> RunConfig | None:
    """The settings as far as they are right; what is wrong goes to `problems` and out of `content`, one by one."""
    while len(problems) < _MOST_PROBLEMS:
        known = content if own else {name: found for name, found in content.items() if name != "strategy"}
        write_atomically(file, toml_of(known), mode=0o600)
        try:
            return resolve(file, environment={}, load=_built_in)
        except ConfigError as error:
            problem = _located(error, file, known)
        problems.append(problem)
        if not _leave_out(content, problem):
            return None
    return None


def _wrong_markets(told: RunConfig, content: Sections) -> Iterator[Problem]:
    """What the first stages of a run would refuse."""
    given = content.get("market", {})
    choices = told.settings.markets
    wrong = False
    for row, choice in enumerate(choices):
        try:
            [alone] = each_market(replace(told.settings, markets=(choice,)))
            choose_market(alone)
        except ConfigError as error:
            wrong = True
            part = _meant(error.message, choice.to_dict(), MarketChoice.model_fields)
            yield Problem("market", "markets", redact(error.message), redact(error.hint), row, part)
    try:
        if not wrong:
            for one in each_market(told.settings):
                choose_market(one)
    except ConfigError as error:
        key = "markets" if choices else _meant(error.message, given, keys_of("market"))
        yield Problem("market", key, redact(error.message), redact(error.hint))


def _meant(message: str, given: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Which of the keys that were given a message is about; "" where nobody can tell."""
    named = (key for key in keys if given.get(key) is not None and key in message.split())
    shown = (key for key, value in given.items() if isinstance(value, str) and value and value in message)
    return next(named, "") or next(shown, "")


def _located(error: ConfigError, file: Path, content: Sections) -> Problem:
    """Which key an error about a file of settings is about."""
    message = error.message.removeprefix(f"{file}: ")
    match = re.match(r"\[(\w+)\] ", message)
    section, message = (match[1], message[match.end() :]) if match else ("", message)
    word = re.match(r"\w+", message)
    key = word.group() if word else ""
    if not section:  # an unknown key is named with its section behind it
        section = next((name for name, found in content.items() if f"[{name}]" in message and key in found), "")
    known = (*content.get(section, ()), *(keys_of(section) if section in SECTIONS else ()))
    found = Problem(section, key if key in known else "", redact(message), redact(error.hint))
    of_row = re.match(r"markets, number (\d+): (\w*)", message)
    if of_row is None:
        return found
    part = of_row[2] if of_row[2] in MarketChoice.model_fields else ""
    return found._replace(message=redact(message[of_row.start(2) :]), row=int(of_row[1]) - 1, part=part)


def _leave_out(content: Sections, problem: Problem) -> bool:
    """Take out what is wrong, so that the rest can be checked; whether there was anything to take out."""
    if problem.key in content.get(problem.section, {}):
        del content[problem.section][problem.key]
        return True
    return content.pop(problem.section, None) is not None


def _is_printable(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable()
    if isinstance(value, Mapping):
        return all(_WORD.fullmatch(name) and _is_printable(item) for name, item in value.items())
    return all(map(_is_printable, value)) if isinstance(value, list) else True


def _classes_of(file: Path) -> list[str]:
    """The strategies that a file declares."""
    try:
        if file.stat().st_size > _LONGEST_FILE:
            return []
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return []
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).rpartition(".")[2] in {"Strategy", "EmaRsiAtr"} for base in node.bases)
    ]
