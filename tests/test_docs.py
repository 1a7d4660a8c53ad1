"""The pages for beginners say what the program says: every message is in the source, every command is understood."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from barwise.cli.app import app
from barwise.run_config import SECTIONS, keys_of
from tests.command_line import Call
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = ("command-line.md", "files-and-schemas.md", "get-started.md", "troubleshooting.md")
# A template with less text of its own would fit anything.
LEAST_LITERAL = 10
LEAST_WHOLE = 22


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# -- Messages ----------------------------------------------------------------------------------------------------------


@cache
def templates() -> tuple[re.Pattern[str], ...]:
    """Every text of the source with its open places, as a pattern."""
    found: dict[str, None] = {}
    for path in (*sorted((REPOSITORY / "src" / "barwise").rglob("*.py")), REPOSITORY / "run.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                # {name} of str.format and %s of the log are open places as well.
                parts = [None if odd else text for odd, text in _alternating(node.value)]
            else:
                continue
            for pattern in _patterns([part if part is None else str(part) for part in parts]):
                found.setdefault(pattern)
    return tuple(re.compile(pattern) for pattern in found)


@cache
def long_texts() -> tuple[str, ...]:
    """Texts without an open place that are put into others, such as "did not answer in time"."""
    literal = [pattern.pattern for pattern in templates() if ".*?" not in pattern.pattern]
    return tuple(text for text in (re.sub(r"\\(.)", r"\1", each) for each in literal) if len(text) >= LEAST_WHOLE)


def _alternating(text: str) -> Iterator[tuple[bool, str]]:
    for place, part in enumerate(re.split(r"(\{[a-z_]*(?::[^{}]*)?\}|%[sdr])", text)):
        yield place % 2 == 1, part


def _patterns(parts: list[str | None]) -> Iterator[str]:
    """One pattern for each line of a text; None is an open place."""
    lines: list[list[str | None]] = [[]]
    for part in parts:
        if part is None:
            lines[-1].append(None)
            continue
        first, *others = part.split("\n")
        lines[-1].append(first)
        lines += [[other] for other in others]
    for line in lines:
        if sum(len(part.strip()) for part in line if part) >= LEAST_LITERAL:
            yield "".join(".*?" if part is None else re.escape(part) for part in line)


def quoted_messages() -> list[str]:
    """The lines of the boxes of the page, without what the console puts in front."""
    boxes = re.findall(r"^```\n(.*?)^```$", read("troubleshooting.md"), re.DOTALL | re.MULTILINE)
    return [line.removeprefix("error: ") for box in boxes for line in box.splitlines() if line]


def is_of_the_source(message: str) -> bool:
    """Whether one text of the source is all of it, or a whole and long text of the source is a part of it."""
    return any(pattern.fullmatch(message) for pattern in templates()) or any(text in message for text in long_texts())


@pytest.mark.parametrize("message", quoted_messages())
def test_every_quoted_message_is_one_of_the_program(message: str) -> None:
    assert is_of_the_source(message)


@pytest.mark.parametrize(
    "message",
    [
        "BINANCE refuses requests from this planet (HTTP 451).",
        "The ledger data/ledger.sqlite is blocked: another program has kept it for more than 30 s.",
        "the result rests on 24 trades; below 30 nothing may be said.",
        "something else altogether",
    ],
)
def test_a_message_that_the_program_does_not_have_is_found_out(message: str) -> None:
    assert not is_of_the_source(message)


def test_every_entry_has_a_message_or_is_about_none() -> None:
    without = []
    for entry in re.split(r"^### ", read("troubleshooting.md"), flags=re.MULTILINE)[1:]:
        title, _, text = entry.partition("\n")
        if "```" not in text:
            without.append(title)
    assert without == [
        "Another tool says something else",
        "It was killed, or the power went",
        "No colours, or signs instead of letters",
    ]


# -- Commands ----------------------------------------------------------------------------------------------------------


def shown_commands(page: str) -> Iterator[str]:
    """Commands on lines that begin with $, and those named within a sentence."""
    text = read(page)
    for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
        yield line.partition("   #")[0].strip()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for words in re.findall(r"`([^`]+)`", prose):
        command = " ".join(words.split())
        if re.match(r"(barwise|python3? run\.py|python3? -m barwise)( |$)", command):
            yield command


def words_of(command: str) -> list[str] | None:
    """What of a command is for barwise; None where it is for the test runner of run.py or for another program."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # of the environment
        words = words[1:]
    for start in (["barwise"], ["python3", "run.py"], ["python3", "-m", "barwise"], ["python", "-m", "barwise"]):
        if words[: len(start)] == start:
            rest = words[len(start) :]
            return None if rest[:1] == ["test"] else rest
    return None


def check_command(words: list[str]) -> None:
    """Let the option parser read a command; nothing is run.

    Raises:
        Exception: There is no such command or option, or an argument is missing or of another type.
    """
    command: Any = typer.main.get_command(app)
    if words[:1] == ["--home"]:
        words = words[2:]
    while words and hasattr(command, "commands"):
        if words[0].startswith("--"):
            break
        if words[0] not in command.commands:
            raise ValueError(f"{words[0]} is not a command")
        command, words = command.commands[words[0]], words[1:]
    if not words or {"--help", "--version"} & set(words):
        return  # named alone, without what it needs
    command.make_context("barwise", list(words))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_is_understood(page: str) -> None:
    checked = 0
    for command in shown_commands(page):
        words = words_of(command)
        if words is None:
            continue
        try:
            check_command(words)
        except Exception as error:
            raise AssertionError(f"{page}: {command}: {error}") from error
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("page", PAGES)
def test_every_option_named_in_a_sentence_is_one_of_some_command(page: str) -> None:
    known = set(_options_of(typer.main.get_command(app)))
    prose = re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    named = {
        option for words in re.findall(r"`([^`]+)`", prose) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", words)
    }
    assert named - known == set()


def _options_of(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from _options_of(inner)
    yield "--help"


@pytest.mark.parametrize(
    "words", [["bactest"], ["backtest", "--symbl", "X"], ["fetch", "BINANCE"], ["audit", "--trade", "x"]]
)
def test_a_command_that_is_not_understood_is_found_out(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"bactest|symbl|symbol|integer"):
        check_command(words)


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_of_the_page_is_one_that_there_is(page: str) -> None:
    known = {"conflicts"}  # of barwise data import
    for section in SECTIONS:
        known |= {f"{section}.{key}" for key in keys_of(section)}
        if section in ("strategy", "execution"):
            known |= set(keys_of(section))
    text = read(page)
    # Those of the page's own strategies are settings too, and what is wrong there is wrong on purpose.
    known |= set(re.findall(r"^    (\w+): \w+ = (?:Bool|Choice|Float|Int)\(", text, re.MULTILINE))
    right = re.sub(r"^\$ .* # exit code \d+$", "", text, flags=re.MULTILINE)
    assert set(re.findall(r"--set\s+([\w.]+)=", right)) - known <= {"KEY"}


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_files_of_a_run_are_read_as_the_page_says(call: Call) -> None:
    """And they are those of the page: no other is written, none is missing."""
    words = ("run", "--yes", "--profile", "FAST", "--start", "2024-01-01", "--end", "2024-05-01")
    assert call(*words, "--set", "validation.permutations=0", "--quiet").code == 0
    [example, *_] = re.findall(r"^```python\n(.*?)^```$", read("files-and-schemas.md"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(example, "files-and-schemas.md", "exec"), names)
    assert set(names["trades"]["part"]) == {"baseline", "optimized", "out_of_sample"}
    assert str(names["equity"].index[-1]) == "2024-04-30 23:00:00+00:00"
    run = names["run"]
    told = re.findall(r"`([^`]*<run>[^`]*)`", read("files-and-schemas.md").partition("## The files of a run")[2])
    expected = {name.rpartition("/")[2].replace("<run>", run) for name in told if "<run>" in name and " " not in name}
    written = {path.name for path in Path("data").rglob("*") if path.is_file() and run in path.name}
    assert written - {f"{run}.lock"} == expected


# -- Links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: str) -> None:
    text = read(page)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        path = DOCS / name if name else DOCS / page
        assert path.is_file(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target
