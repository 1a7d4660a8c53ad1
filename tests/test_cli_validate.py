"""`barwise validate` and `barwise walk-forward` as commands: what they print, what they write, and how they fail."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from barwise.cli import validate as validate_module
from barwise.data.candles import Candles
from barwise.strategy.base import Strategy
from barwise.validation.engine import validate as judge
from barwise.validation.walk_forward import WalkForwardResult
from tests.command_line import Call, Outcome
from tests.conftest import REPOSITORY
from tests.no_network import cut_off

MARKET = ("--start", "2024-01-01", "--end", "2024-03-11")
WINDOWS = ("--is-days", "30", "--oos-days", "10", "--min-trades-per-window", "1")
QUICK = ("--profile", "FAST", "--workers", "1", "--set", "enable_rsi_filter=false")
VALIDATE = ("validate", *MARKET, *WINDOWS, *QUICK, "--permutations", "0")
WALK = ("walk-forward", *MARKET, *WINDOWS, *QUICK)

PEEKS = """
import numpy as np

from barwise import Bars, Plan, Strategy, atr


class Peeks(Strategy):
    \"\"\"Buys before a bar that closes higher, in one bar of three hundred: the short check may miss it.\"\"\"

    def plan(self, bars: Bars) -> Plan:
        ahead = np.append(bars.close[1:], bars.close[-1]) > bars.close
        entry = ahead & (np.arange(len(bars.close)) % 37 == 5)
        return Plan.of(entry=entry, risk=atr(bars, 14))
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may reach a venue."""
    cut_off(monkeypatch)


def lines_of(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_validate_prints_the_verdict_writes_the_report_and_names_its_files(call: Call, home: Path) -> None:
    outcome = call(*VALIDATE)
    assert outcome.code == 0, outcome.err
    assert "VERDICT   TOO LITTLE DATA" in outcome.out
    assert "Look-ahead EmaRsiAtr on SAMPLE" in outcome.out
    written = sorted(path.relative_to(home) for path in (home / "data").rglob("validation-*"))
    assert [path.suffix for path in written] == [".csv", ".html", ".json", ".json"]
    assert written[-1].with_suffix("").suffix == ".manifest"
    for path in written:
        assert str(path) in outcome.out
    assert "stage 7.1" not in outcome.err
    assert "walk-forward (search took" in outcome.err


def test_validate_in_json_is_progress_per_step_and_the_result_at_the_end(call: Call) -> None:
    outcome = call(*VALIDATE, "--json", "--no-report")
    assert outcome.code == 0
    *progress, result = lines_of(outcome)
    assert {line["event"] for line in progress} == {"progress"}
    steps = list(dict.fromkeys(line["step"] for line in progress))
    assert steps == ["look-ahead", "search", "walk-forward", "selection", "stress", "jitter", "monte carlo"]
    assert [line["done"] for line in progress if line["step"] == "walk-forward"] == [0, 1, 2, 3, 4]
    assert result["event"] == "result"
    assert result["verdict"] == "TOO LITTLE DATA"
    assert result["files"] == {}
    assert result["look_ahead"]["ok"] is True
    assert len(result["walk_forward"]["windows"]) == 4


def test_the_options_of_validate_reach_the_procedure(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def watched(candles: Candles, strategy: Strategy, qty: float, **settings: Any) -> Any:
        seen.update(settings, strategy=strategy, qty=qty, bars=len(candles))
        return judge(candles, strategy, qty, **settings)

    monkeypatch.setattr("barwise.validation.engine.validate", watched)
    outcome = call(
        *VALIDATE, "--quiet", "--no-report", "--qty", "0.3", "--stride-days", "15", "--anchored", "--embargo", "4",
        "--seed", "7", "--storage", "own.sqlite", "--set", "ema_fast=9", "--set", "slippage=0.001",
        "--no-lookahead-check",
    )  # fmt: skip
    assert outcome == Outcome(0, "", "")
    windows, search = seen["windows"], seen["search"]
    assert (windows.is_length_days, windows.oos_length_days, windows.stride_days) == (30, 10, 15)
    assert (windows.anchored, windows.embargo, windows.min_trades_per_window, windows.reoptimize) == (True, 4, 1, True)
    assert (search.profile.name, search.seed, search.workers, search.optuna_sampler) == ("FAST", 7, 1, "AUTO")
    assert seen["permutations"] == 0
    assert seen["qty"] == 0.3
    assert seen["bars"] == 70 * 24
    assert seen["strategy"].ema_fast == 9
    assert seen["execution"].slippage == 0.001
    assert seen["check_lookahead"] is False
    assert Path("own.sqlite").is_file()
    assert not Path("data/ledger.sqlite").exists()


def test_the_stride_is_the_out_of_sample_length_unless_it_is_said(call: Call) -> None:
    outcome = call(*WALK, "--oos-days", "20", "--json", "--no-report")
    assert lines_of(outcome)[-1]["config"]["stride_days"] == 20


def test_shuffled_markets_are_searched_and_counted(call: Call) -> None:
    outcome = call("validate", *MARKET, *WINDOWS, *QUICK, "--permutations", "19", "--json", "--no-report")
    assert outcome.code == 0
    *progress, result = lines_of(outcome)
    done = [line["done"] for line in progress if line["step"] == "permutations"]
    assert done == list(range(len(result["permutation"]["nulls"]) + 1))
    assert 0.0 < result["permutation"]["p_value"] <= 1.0


def test_a_strategy_that_looks_ahead_gets_no_verdict(call: Call, home: Path) -> None:
    (home / "peeks.py").write_text(PEEKS)
    outcome = call("validate", *MARKET, "--strategy", "peeks.py:Peeks", "--permutations", "0", "--profile", "FAST")
    assert outcome.code == 1
    assert "Peeks on SAMPLE SAMPLE-BTC 1H SYNTHETIC, 1,680 bars: looks ahead" in outcome.err
    assert "hint: " in outcome.err
    assert "VERDICT" not in outcome.out
    assert not (home / "data" / "results").exists()


def test_walk_forward_prints_its_scores_and_no_verdict(call: Call, home: Path) -> None:
    outcome = call(*WALK)
    assert outcome.code == 0, outcome.err
    assert "consistency" in outcome.out
    assert "barwise validate runs the other tests too" in " ".join(outcome.out.split())
    assert "STABILITY CHECK" not in outcome.out
    assert len(list((home / "data" / "results").glob("walk-forward-*"))) == 3
    assert len(list((home / "data" / "exports").glob("walk-forward-*-windows.csv"))) == 1


def test_fixed_parameters_are_a_stability_check_and_no_search(call: Call, home: Path) -> None:
    outcome = call(*WALK, "--fixed", "--set", "ema_fast=11", "--json")
    assert outcome.code == 0
    *progress, result = lines_of(outcome)
    assert [(line["step"], line["done"], line["total"]) for line in progress] == [
        ("walk-forward", done, 4) for done in (1, 2, 3, 4)
    ]
    assert result["kind"] == "stability_check"
    assert {window["trials"] for window in result["windows"]} == {0}
    assert {window["parameters"]["ema_fast"] for window in result["windows"]} == {11}
    assert Path(result["files"]["html"]).name.startswith("stability-check-")
    text = call(*WALK, "--fixed").out
    assert "STABILITY CHECK, NOT OUT-OF-SAMPLE" in text


def test_quiet_prints_nothing_but_writes(call: Call, home: Path) -> None:
    assert call(*WALK, "--quiet") == Outcome(0, "", "")
    assert list((home / "data" / "results").glob("walk-forward-*.html"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("validate", "--profile", "BALANCE"), 2, "BALANCE is not a profile. Did you mean BALANCED?"),
        (("walk-forward", "--profile", "x"), 2, "x is not a profile."),
        (("validate", *MARKET, "--profile", "FAST", "--permutations", "5"), 2, "5 permutations cannot show a p-value"),
        (("walk-forward", *MARKET, "--is-days", "0"), 2, "is_length_days"),
        (("walk-forward", *MARKET, "--is-days", "90"), 1, "a walk-forward window of 90 + 20 days needs 110 days"),
        (("validate", "--backend", "thread"), 2, "thread"),
        (("validate", "--set", "ema_fsat=3"), 2, "ema_fsat"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(call: Call, words: tuple[str, ...], code: int, message: str) -> None:
    outcome = call(*words)
    assert outcome.code == code, outcome.err
    [error] = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert message in error
    assert "Traceback" not in outcome.err + outcome.out


def test_an_error_in_json_is_a_document(call: Call) -> None:
    outcome = call("walk-forward", *MARKET, "--is-days", "90", "--json")
    assert outcome.code == 1
    assert lines_of(outcome)[-1]["error"]["kind"] == "DataError"


@contextmanager
def started(home: Path, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "BARWISE_HOME": str(home)}
    with subprocess.Popen(
        [sys.executable, "-m", "barwise", *words], cwd=home, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_an_interrupt_ends_it_with_130_and_without_a_report(home: Path) -> None:
    words = ("validate", "--profile", "THOROUGH", "--json", "--workers", "1", "--no-lookahead-check")
    with started(home, *words) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "progress"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    # Where the key was pressed while an extension was imported, Python ends by the signal, which a shell calls 130 too.
    assert process.returncode in (130, -signal.SIGINT), err
    assert "interrupted." in err
    assert "Traceback" not in err + out
    assert json.loads(out.splitlines()[-1])["error"]["exit_code"] == 130
    assert not (home / "data" / "results").exists()


def test_a_terminal_gets_a_bar_per_step(
    call: Call, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    outcome = call(*WALK, "--fixed", "--no-report")
    assert outcome.code == 0
    with validate_module._bars() as tell:
        tell("search", 1, 3)
        tell("permutations", 5, 19)
    assert "shuffled markets" in capfd.readouterr().err


def test_every_option_that_takes_a_value_says_in_the_help_what_it_is(call: Call) -> None:
    for command in ("validate", "walk-forward"):
        text = call(command, "--help").out
        for option in ("--json", "--quiet", "--set KEY=VALUE", "--home PATH", "--is-days DAYS", "--embargo BARS"):
            assert option in text, f"barwise {command} has no {option}"


def test_the_engine_of_the_flat_api_and_the_command_agree(call: Call, home: Path) -> None:
    from barwise.config import OptimizationConfig, WalkForwardConfig
    from barwise.data.synthetic import sample_candles
    from barwise.strategy.ema_rsi_atr import EmaRsiAtr
    from walk_forward_engine import WalForwardEngine

    told = lines_of(call(*WALK, "--json", "--no-report"))[-1]
    found: WalkForwardResult = WalForwardEngine(
        sample_candles(start="2024-01-01", end="2024-03-11"), EmaRsiAtr(enable_rsi_filter=False), 0.1,
        wfa_config=WalkForwardConfig(is_length_days=30, oos_length_days=10, stride_days=10, min_trades_per_window=1),
        opt_config=OptimizationConfig(
            profile="FAST", optuna_sampler="AUTO", workers=1, storage=str(home / "other.sqlite")
        ),
    ).run()  # fmt: skip
    assert told["out_of_sample"]["net_pnl"] == found.metrics["net_pnl"]
    assert told["consistency_score"] == found.consistency_score


def test_what_an_interrupted_import_turns_into_is_still_an_interrupt(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_imported(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr("barwise.pipeline.fetch_inputs", half_imported)
        outcome = call("validate", "--profile", "FAST", "--json")
        handler = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.code == 130
    assert lines_of(outcome)[-1]["error"]["exit_code"] == 130
    assert "unexpected" not in outcome.err
    assert handler is signal.default_int_handler
