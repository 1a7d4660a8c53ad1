"""A strategy of the user's own from a file, through every process that has to find it again."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import BREAKOUT, Call, Outcome
from tests.no_network import cut_off

SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")
SETTINGS = {
    "optimization.num_trials": 24,
    "optimization.workers": 2,
    "walk_forward.is_length_days": 20,
    "walk_forward.oos_length_days": 10,
    "walk_forward.min_trades_per_window": 1,
    "validation.permutations": 39,
}
RUN = (
    "run", "--yes", *SPAN, "--profile", "FAST",
    *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")),
)  # fmt: skip
# 39 shuffled markets on two cores are worth processes of their own.
VALIDATE = (
    "validate", *SPAN, "--profile", "FAST", "--permutations", "39", "--workers", "2", "--is-days", "20",
    "--oos-days", "10", "--min-trades-per-window", "1", "--set", "optimization.num_trials=24",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may reach a venue."""
    cut_off(monkeypatch)


@pytest.fixture
def breakout(home: Path) -> Path:
    """A strategy in a folder that is neither the working directory nor one of Python's, with a file it imports."""
    folder = home / "my strategies"
    folder.mkdir()
    text = BREAKOUT.replace("from barwise", "from breakout_helper import top\nfrom barwise", 1)
    text = text.replace("rolling_max(bars.high, self.lookback)", "top(bars, self.lookback)")
    (folder / "breakout.py").write_text(text)
    (folder / "breakout_helper.py").write_text(
        "from barwise import rolling_max\n\n\ndef top(bars, lookback):\n    return rolling_max(bars.high, lookback)\n"
    )
    return folder / "breakout.py"


def last_line(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out.splitlines()[-1])
    return found


def test_a_strategy_of_a_file_is_judged_with_shuffled_markets_in_processes(call: Call, breakout: Path) -> None:
    result = last_line(call(*VALIDATE, "--strategy", f"{breakout}:Breakout", "--json", "--no-report"))
    assert result["event"] == "result"
    assert 0.0 < result["permutation"]["p_value"] <= 1.0
    # One worker needs no processes; what is found does not depend on it.
    alone = (*VALIDATE[: VALIDATE.index("--workers")], "--workers", "1", *VALIDATE[VALIDATE.index("--workers") + 2 :])
    again = last_line(call(*alone, "--strategy", f"{breakout}:Breakout", "--json", "--no-report"))
    assert again["permutation"] | {"seconds": 0.0} == result["permutation"] | {"seconds": 0.0}


def test_a_strategy_of_a_module_in_the_working_directory_is_too(
    call: Call, breakout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(breakout.parent)
    for name in ("breakout", "breakout_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    result = last_line(call(*VALIDATE, "--strategy", "breakout:Breakout", "--json", "--no-report"))
    assert result["permutation"] is not None


def test_a_whole_run_with_a_strategy_of_a_file_is_kept_and_verified(call: Call, breakout: Path) -> None:
    own = ("--strategy", f"{breakout}:Breakout")
    first = last_line(call(*RUN, *own, "--json"))
    again = last_line(call(*RUN, *own, "--json"))
    assert again["name"] == first["name"]
    states = {stage["number"]: stage["state"] for stage in again["stages"] if stage["number"][0] in "78"}
    assert states == {"7.1": "kept", "7.2": "kept", "7.3": "kept", "7": "kept", "8": "kept"}
    verified = call("verify", first["name"])
    assert verified.code == 0, verified.out + verified.err
    assert " SAME " in verified.out
    # A line of the strategy more, and it is another run.
    breakout.write_text(breakout.read_text() + "\n# the same, but who knows that\n")
    other = last_line(call(*RUN, *own, "--set", "validation.permutations=0", "--json"))
    assert other["name"] != first["name"]
    assert {stage["state"] for stage in other["stages"]} == {"done"}
