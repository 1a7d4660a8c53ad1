"""`barwise optimize` as it is typed: Ctrl-C, the bar, lines for programs, and every option that changes the search."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.command_line import Call
from tests.terminal import rows_of

REPOSITORY = Path(__file__).resolve().parents[1]
SPAN = ("--start", "2024-01-01", "--end", "2024-02-15")
QUICK = (*SPAN, "--sampler", "RANDOM", "--no-lookahead-check")
# A machine under load; nothing here waits that long elsewhere.
PATIENCE_S = 120.0


@pytest.fixture
def lines(call: Call) -> Callable[..., list[dict[str, Any]]]:
    """The command with `--json`: its lines, each of which must be JSON as the standard has it."""

    def run(*words: object) -> list[dict[str, Any]]:
        outcome = call("optimize", "--json", *words)
        assert outcome.code == 0, outcome.err

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        return [json.loads(line, parse_constant=refuse) for line in outcome.out.splitlines()]

    return run


@pytest.fixture
def typed(home: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the command in a process of its own, which does not outlive the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: object, **settings: Any) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "COLUMNS": "100"}
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "barwise", "optimize", *map(str, words)],
                cwd=home,
                env=environment,
                text=True,
                **settings,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def figures_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_in_the_middle_of_a_stage_ends_with_130_the_best_so_far_and_its_files(
    typed: Callable[..., "subprocess.Popen[str]"], home: Path
) -> None:
    process = typed(
        *QUICK, "--json", "--trials", 1_000_000, "--stage", "7.1", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["event"], first["stage"]) == ("progress", "7.1")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    *told, result = [first, *figures_of(out)]
    assert {line["event"] for line in told} == {"progress"}
    assert result["event"] == "result"
    assert result["interrupted"] is True
    done = told[-1]["done"]
    assert 0 < done <= result["stages"][0]["num_trials"] < 1_000_000
    assert result["stages"][0]["best_value"] >= told[-1]["best"]
    assert result["best"]["sharpe_ratio"] == result["stages"][0]["best_value"]
    assert result["plateau"] is None
    for path in result["files"].values():
        assert (home / path).stat().st_size > 0
    trials = pl.read_csv(home / result["files"]["trials_csv"])
    assert trials["sharpe_ratio"].max() == pytest.approx(result["best"]["sharpe_ratio"], abs=1e-12)
    assert "INTERRUPTED" in (home / result["files"]["html"]).read_text()


# -- The bar -----------------------------------------------------------------------------------------------------------


def screen_of(process: "subprocess.Popen[str]", terminal: int) -> str:
    """Everything a process sends to its terminal until it ends."""
    sent = b""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # what Linux says when the other end is closed
            break
        if not part:
            break
        sent += part
    return sent.decode()


def test_a_terminal_shows_one_bar_for_each_stage_with_the_best_so_far(
    typed: Callable[..., "subprocess.Popen[str]"],
) -> None:
    ours, theirs = pty.openpty()
    try:
        process = typed(*QUICK, "--trials", 192, "--no-report", stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        sent = screen_of(process, ours)
    finally:
        os.close(ours)
    assert process.wait(PATIENCE_S) == 0, sent
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", row) for row in rows_of(re.sub(r"\x1b\[[0-9;]*m", "", sent))]
    for stage in ("7.1", "7.2"):
        [bar] = [row for row in plain if row.startswith(stage)]
        assert "192/192 best " in bar, plain
        assert re.search(r"best -?\d+\.\d{3}  \d+ pruned  \d+\.\d M bars/s", bar), plain
    assert sum(row.startswith("7.3") for row in plain) == 1
    # It moved: what stood there before the end was redrawn.
    assert "64/192" in sent


def test_without_a_terminal_there_is_no_bar(call: Call) -> None:
    outcome = call("optimize", *QUICK, "--trials", 70, "--stage", "7.1", "--no-report")
    assert outcome.code == 0
    assert "bars/s" not in outcome.err
    assert "\x1b" not in outcome.err + outcome.out


# -- Lines for programs ------------------------------------------------------------------------------------------------


def test_progress_lines_rise_to_the_end_of_each_stage_and_the_result_is_last(lines: Callable[..., Any]) -> None:
    *progress, result = lines(*QUICK, "--trials", 130, "--no-report")
    assert {line["event"] for line in progress} == {"progress"}
    assert result["event"] == "result"
    by_stage = {stage: [line for line in progress if line["stage"] == stage] for stage in ("7.1", "7.2", "7.3")}
    for told, stage in zip(by_stage.values(), result["stages"], strict=True):
        assert [line["done"] for line in told] == [64, 128, 130]
        assert {line["total"] for line in told} == {130}
        assert told[-1]["best"] <= stage["best_value"]
        best = [line["best"] for line in told]
        assert best == sorted(best)
        assert told[-1]["eta_seconds"] == 0.0
        assert all(line["bars"] >= 0 and line["seconds"] > 0.0 for line in told)
        assert set(told[-1]["best_params"]) == set(stage["space"])


def test_a_stage_in_which_nothing_keeps_the_guards_has_no_best_and_is_still_json(lines: Callable[..., Any]) -> None:
    *progress, result = lines(*QUICK, "--trials", 64, "--stage", "7.1", "--min-trades", 5_000, "--no-report")
    assert [line["best"] for line in progress] == [None]
    assert any("no trial keeps the guards" in note for note in result["notes"])


# -- Options -----------------------------------------------------------------------------------------------------------


def boxes(result: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {name: (box["low"], box["high"]) for name, box in result["stages"][0]["space"].items()}


def test_wide_searches_from_two_fifths_to_two_and_a_half_times_the_base(lines: Callable[..., Any]) -> None:
    options = ("--trials", 10, "--stage", "7.1", "--no-report", "--set", "strategy.ema_trend=100")
    near, far = (lines(*QUICK, *options, *more)[-1] for more in ((), ("--wide",)))
    base = near["parameters"]["before"]["atr_period"]
    assert boxes(near)["atr_period"] == (round(base * 0.85), round(base * 1.15))
    assert boxes(far)["atr_period"] == (round(base * 0.4), base * 2.5)
    for name, (low, high) in boxes(near).items():
        assert boxes(far)[name][0] <= low < high <= boxes(far)[name][1], name


def test_a_timeout_ends_each_stage_with_a_note_and_exit_code_0(lines: Callable[..., Any]) -> None:
    result = lines(*QUICK, "--trials", 1_000_000, "--stage", "7.2", "--timeout", "0.000001", "--no-report")[-1]
    assert result["interrupted"] is False
    assert any(note.startswith("stage 7.2 stopped after its 1e-06 seconds") for note in result["notes"])


def test_processes_find_what_threads_find(lines: Callable[..., Any], tmp_path: Path) -> None:
    found = []
    for backend in ("threads", "processes"):
        options = ("--backend", backend, "--workers", 2, "--storage", tmp_path / f"{backend}.sqlite", "--no-report")
        result = lines(*QUICK, "--trials", 70, "--stage", "joint", *options)[-1]
        found.append((result["parameters"], result["best"], result["plateau"], result["n_trials"]))
    assert found[0] == found[1]


def test_a_deeper_drawdown_than_the_limit_is_no_result(lines: Callable[..., Any]) -> None:
    options = ("--trials", 64, "--stage", "7.2", "--objective", "net_pnl")
    free = lines(*QUICK, *options)[-1]
    trials = pl.read_csv(free["files"]["trials_csv"])
    # Between the shallowest and the one of the best: some keep it, the best does not.
    limit = (trials["max_drawdown"].min() + free["best"]["max_drawdown"]) / 2
    assert trials["max_drawdown"].min() < limit < free["best"]["max_drawdown"]
    kept = lines(*QUICK, *options, "--max-drawdown", repr(limit))[-1]
    assert kept["best"]["max_drawdown"] <= limit
    assert kept["best"]["net_pnl"] < free["best"]["net_pnl"]
    within = trials.filter((pl.col("max_drawdown") <= limit) & (pl.col("trades") >= 5))
    assert kept["best"]["net_pnl"] == pytest.approx(within["net_pnl"].max(), abs=1e-9)


def test_two_objectives_end_in_a_front_that_is_printed_and_written(call: Call, home: Path) -> None:
    options = ("--objective", "net_pnl", "--objective", "max_drawdown", "--sampler", "NSGA-II", "--trials", 60)
    words = (*SPAN, "--no-lookahead-check", "--stage", "joint", *options)
    outcome = call("optimize", *words)
    assert outcome.code == 0, outcome.err
    assert "Front" in outcome.out
    again = call("optimize", *words, "--json")
    result = json.loads(again.out.splitlines()[-1])
    front = [(point["net_pnl"], point["max_drawdown"]) for point in result["stages"][0]["front"]]
    assert front == sorted(front, reverse=True)
    for (gain, pain), (less, ease) in pairwise(front):
        assert gain > less
        assert pain > ease, "a point of the front that another one beats"
    trials = pl.read_csv(home / result["files"]["trials_csv"]).filter(pl.col("state") == "complete")
    for gain, pain in trials.select("net_pnl", "max_drawdown").iter_rows():
        assert any(best >= gain - 1e-9 and least <= pain + 1e-9 for best, least in front)
    assert "pareto-joint" in Path(result["files"]["html"]).read_text()
