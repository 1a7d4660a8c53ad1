"""What is said in Python below is said in options on the command line."""

import ast
import re
from pathlib import Path

import pytest

import barwise
from barwise.cli import hints
from barwise.cli.hints import in_options
from barwise.config import WalkForwardConfig
from barwise.data.synthetic import sample_candles
from barwise.errors import BarwiseError
from barwise.validation.windows import generate_windows
from tests.command_line import Call

SOURCES = Path(barwise.__file__).parent


def texts_of(path: Path) -> list[str]:
    """Every text of a module; what stands in the braces of one is `x`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def test_every_translation_is_of_something_that_is_still_said() -> None:
    below = [path for path in SOURCES.rglob("*.py") if "cli" not in path.relative_to(SOURCES).parts]
    said = [text for path in below for text in texts_of(path)]
    for pattern, _ in hints._IN_OPTIONS:
        assert any(re.search(pattern, text) for text in said), pattern


@pytest.mark.parametrize(
    ("in_python", "in_words"),
    [
        ("for example qty=0.1.", "for example --qty 0.1."),
        (
            'use a longer span, or keep it shorter with ranges={"ema_trend": (low, high)}.',
            'use a longer span, or keep it shorter with --set "optimization.ranges={ema_trend = [low, high]}".',
        ),
        ('for example ranges={"ema_fast": (5, 40)}.', 'for example --set "optimization.ranges={ema_fast = [5, 40]}".'),
        (
            "cut the candles with candles.between(...) or fetch more detail.",
            "cut the candles with --start and --end or fetch more detail.",
        ),
        ("widen the grid or use a longer span.", "widen the grid or use a longer span."),
    ],
)
def test_a_hint_in_options(in_python: str, in_words: str) -> None:
    assert in_options(in_python) == in_words


def test_a_walk_forward_that_has_no_room_names_options_that_exist(call: Call) -> None:
    with pytest.raises(BarwiseError) as caught:
        generate_windows(sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01"), WalkForwardConfig())
    assert "WalkForwardConfig" in caught.value.hint
    told = in_options(caught.value.hint)
    assert "(" not in told
    words = re.findall(r"(--set) (\S+)=DAYS", told)
    assert [key for _, key in words] == ["walk_forward.is_length_days", "walk_forward.oos_length_days"]
    outcome = call("config", "show", *(word for flag, key in words for word in (flag, f"{key}=9")))
    assert outcome.code == 0, outcome.err
    assert len(re.findall(r"^(?:is|oos)_length_days = 9\b", outcome.out, re.MULTILINE)) == 2


def test_the_option_of_a_range_is_one_that_the_command_line_reads(call: Call) -> None:
    option = in_options('ranges={"ema_fast": (5, 40)}')
    found = re.fullmatch(r'--set "(.*)"', option)
    assert found is not None
    outcome = call("config", "show", "--set", found.group(1))
    assert outcome.code == 0, outcome.err
    assert re.search(r"^ranges\b.*ema_fast\b.*\[5\.0, 40\.0\]", outcome.out, re.MULTILINE)
