"""The verdict's rate of errors, on few markets, and the command that counts it on many."""

import json
from pathlib import Path
from typing import Any

import pytest

from barwise.validation.error_rates import ErrorRates
from barwise.validation.verdict import Evidence, Word, decide
from benchmarks import calibration

REAL = Evidence(
    trades=150, years=1.0, annual_sharpe=3.0, needed_years=0.3, n_trials=2_000, p_value=0.025, windows=14,
    oos_sharpe=2.0, oos_psr=0.97, stressed_net=5_000.0, psr=0.99, dsr0=0.9, dsr=0.97, pbo=0.4, spa=0.01,
)  # fmt: skip
OVERFIT = Evidence(
    trades=150, years=1.0, annual_sharpe=2.0, needed_years=0.7, n_trials=2_000, p_value=0.5, windows=14,
    oos_sharpe=-1.0, oos_psr=0.2, stressed_net=-900.0, psr=0.97, dsr0=0.1, dsr=0.2, pbo=0.05, spa=None,
)  # fmt: skip


def line(market: str, seed: int, evidence: Evidence, **changes: Any) -> dict[str, Any]:
    """A finished run as the file has it."""
    task = {"market": market, "seed": seed, "profile": "FAST", "permutations": 19}
    found = {"evidence": vars(evidence), "consistency": 0.6, "shuffles": 19, "parameters": {}, "seconds": 2.0}
    return {**task, **found, **changes}


def test_shares_of_words_and_of_single_tests_are_counted_with_their_interval() -> None:
    assert (decide(REAL).word, decide(OVERFIT).word) == (Word.LIKELY_REAL, Word.LIKELY_OVERFIT)
    rows = [line("random-walk", seed, REAL if seed < 1 else OVERFIT) for seed in range(10)]
    found = calibration.summary(rows)
    real = found["words"]["LIKELY REAL"]
    assert (real["hits"], real["runs"], real["share"]) == (1, 10, 0.1)
    # Wilson's interval of 1 in 10, by hand: (0.1 + 1.9207/10 -+ 1.96 * sqrt(0.009 + 0.9604/100)) / 1.38415.
    assert real["low"] == pytest.approx(0.0179, abs=1e-4)
    assert real["high"] == pytest.approx(0.4042, abs=1e-4)
    assert sum(cell["hits"] for cell in found["words"].values()) == 10
    hits = {name: cell["hits"] for name, cell in found["tests"].items()}
    assert hits == {
        "permutation p <= 5 %": 1,
        "out-of-sample PSR > 95 %": 1,
        "out-of-sample PSR > 80 %": 1,
        "DSR0 > 95 %": 0,
        "textbook DSR > 95 %": 1,
        "PSR > 95 %": 10,
        "SPA p <= 5 %": 1,
        "PBO <= 0.1": 9,
        "PBO < 0.5": 10,
        "consistency >= 60 %": 10,
        "LIKELY REAL and not (DSR0 < 50 % and PBO > 50 %)": 1,
        "p > 20 % or out-of-sample Sharpe <= 0": 9,
        "TOO LITTLE DATA, and that as well": 0,
    }


def test_finished_runs_are_not_repeated_and_a_line_that_was_cut_off_is(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    whole = json.dumps(line("random-walk", 0, OVERFIT))
    file.write_text(f"{whole}\n{whole[:40]}")
    tasks = [calibration.Task("random-walk", seed, "FAST", 19) for seed in range(2)]
    rows = calibration.lines_of(file)
    assert len(rows) == 1
    assert calibration.missing_runs(tasks, rows) == tasks[1:]
    other = [calibration.Task("random-walk", 0, "BALANCED", 19), calibration.Task("clustered", 0, "FAST", 19)]
    assert calibration.missing_runs(other, rows) == other


def test_tables_are_printed_from_what_is_there_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.jsonl"
    rows = [line("random-walk", seed, OVERFIT) for seed in range(3)] + [line("clustered", 0, REAL, profile="BALANCED")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["--profile", "FAST", "--permutations", "19", "--markets", "random-walk", "clustered"]
    rates = tmp_path / "rates.json"
    assert calibration.main(["--runs", "0", "--out", str(file), "--publish", str(rates), *settings]) == 0
    out = capsys.readouterr().out
    assert "| random-walk | 1 | - | 3 | 0.0 % (0.0 to 56.1) | 0 % | 100 % | 0 % |" in out
    assert "clustered" not in out  # searched with another profile
    assert len(file.read_text().splitlines()) == 4
    told = ErrorRates.from_dict(json.loads(rates.read_text()))
    assert told.sentence() == "On 3 markets without an edge it said LIKELY REAL 0.0 % of the time."
    assert calibration.main(["--runs", "0", "--out", str(tmp_path / "none.jsonl"), *settings]) == 1


@pytest.mark.slow
def test_noise_is_rarely_called_real_and_a_strong_edge_mostly_is(tmp_path: Path) -> None:
    """A small version of docs/calibration.md; its seeds were not chosen, and its limits leave room for bad luck."""
    tasks = [
        calibration.Task(market, seed, "FAST", 19)
        for market, seeds in (("random-walk", 4), ("clustered", 4), ("edge-0.20", 5))
        for seed in range(seeds)
    ]
    rows = list(calibration.run_all(tasks, tmp_path / "runs.jsonl", 1))
    assert calibration.lines_of(tmp_path / "runs.jsonl") == rows
    words = [(row["market"], decide(Evidence(**row["evidence"])).word) for row in rows]
    noise = [word for market, word in words if market != "edge-0.20"]
    edge = [word for market, word in words if market == "edge-0.20"]
    # At an error rate of 5 %, two or more in eight happen in 6 % of all sets of seeds.
    assert noise.count(Word.LIKELY_REAL) <= 1
    assert edge.count(Word.LIKELY_REAL) >= 4
    assert all(row["shuffles"] == 19 for row in rows if row["market"] == "edge-0.20")
