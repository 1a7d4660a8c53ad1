"""What is tried by hand is on record where the searches look for it, and counts as one of their trials."""

import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import barwise
from barwise.config import ExecutionConfig, OptimizationConfig
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import CheckpointError, ConfigError
from barwise.optimizer.identity import context_of
from barwise.optimizer.ledger import DataSet, Ledger
from barwise.optimizer.plateau import Plateau
from barwise.result import BacktestResult
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.command_line import Call
from tests.postgres import PASSWORD, USER, PostgresServer, postgres_server

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 1))[:1000]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def tried(candles: Candles, **settings: Any) -> BacktestResult:
    return barwise.backtest(candles, BASE, 0.1, check_lookahead=False, **settings)


# A backtest.


def test_a_backtest_on_record_is_one_trial_and_answers_the_search_that_starts_from_it(
    candles: Candles, home: Path
) -> None:
    result = tried(candles)
    assert barwise.record(result) == 1
    assert barwise.record(tried(candles)) == 1
    with Ledger(home / "data" / "ledger.sqlite") as ledger:
        [row] = ledger.frame().to_dicts()
        assert (row["stage"], row["net_pnl"], row["trades"]) == ("manual", result.net_pnl, result.total_trades)
        assert json.loads(row["parameters"]) == BASE.to_dict()
    config = OptimizationConfig(num_trials=3, optuna_sampler="RANDOM")
    found = barwise.optimize(candles, BASE, 0.1, config=config, check_lookahead=False)
    assert found.stages[0].trials.bars[0] == 0  # the base of the search is what was tried by hand


@pytest.mark.parametrize(
    "settings",
    [
        {"execution": ExecutionConfig(slippage=0.002)},
        {"trade_from": 300},
        {"funding": [(1_735_700_000_000 + at * 8 * HOUR_MS, 0.0001) for at in range(90)]},
        {"detail": sample_candles("SAMPLE-BTC", "30M", datetime(2025, 1, 1), datetime(2025, 3, 1))[:2000]},
    ],
    ids=["costs", "first bar", "funding", "detail"],
)
def test_a_backtest_of_another_kind_is_another_trial_and_answers_for_no_other(
    candles: Candles, home: Path, settings: dict[str, Any]
) -> None:
    assert barwise.record(tried(candles)) == 1
    assert barwise.record(tried(candles, **settings)) == 2
    assert barwise.record(tried(candles, **settings)) == 2
    plain = tried(candles)
    context = context_of(candles, BASE, plain.execution, plain.fees_schedule, 0.1, None, None, None)
    with Ledger(home / "data" / "ledger.sqlite") as ledger:
        known = ledger.known(context)
        assert len(known) == 1
        [key] = ledger.frame().unique("key")["key"]
        _, _, summaries = known.get([bytes.fromhex(key)], len(candles))
    assert summaries.tobytes() == plain.summary.tobytes()


def test_a_ledger_can_be_named_and_an_empty_name_is_none(candles: Candles, home: Path) -> None:
    result = tried(candles)
    assert barwise.record(result, home / "mine.sqlite") == 1
    assert not (home / "data").exists()
    with pytest.raises(ConfigError, match="a file or a database URL"):
        barwise.record(result, "")
    (home / "bad.sqlite").write_bytes(b"no ledger" * 100)
    with pytest.raises(CheckpointError, match="damaged or no ledger"):
        barwise.record(result, str(home / "bad.sqlite"))


def test_what_is_no_result_is_refused_by_its_type() -> None:
    with pytest.raises(ConfigError, match="a backtest or a sweep can be put on record; got EmaRsiAtr"):
        barwise.record(BASE)  # type: ignore[arg-type]


# A sweep.


def test_each_row_of_a_sweep_is_one_trial_and_is_what_a_backtest_of_it_is(candles: Candles, home: Path) -> None:
    grid: dict[str, list[Any]] = {
        "ema_fast": [4, 5, 6],
        "trailing_sl_enabled": [True, False],
        "atr_sl_multiplier": [1.0, 1.5],
    }
    swept = barwise.sweep(candles, BASE, 0.1, grid=grid, check_lookahead=False)
    assert barwise.record(swept) == 12
    assert barwise.record(swept) == 12
    # One of the rows is the strategy itself, another is not.
    assert barwise.record(tried(candles)) == 12
    other = barwise.backtest(candles, BASE.replace(ema_fast=9), 0.1, check_lookahead=False)
    assert barwise.record(other) == 13
    with Ledger(home / "data" / "ledger.sqlite") as ledger:
        frame = ledger.frame(DataSet.of(candles))
    for row in frame.head(12).to_dicts():
        again = barwise.backtest(candles, EmaRsiAtr(**json.loads(row["parameters"])), 0.1, check_lookahead=False)
        assert row["first_bar"] == again.trade_from
        assert (row["net_pnl"], row["score"]) == (again.net_pnl, again.sharpe_ratio)


def test_a_sweep_of_many_batches_is_on_record_whole(candles: Candles, home: Path) -> None:
    rows = {"atr_sl_multiplier": np.linspace(0.5, 4.0, 9000)}
    assert barwise.record(barwise.sweep(candles[:200], BASE, 0.1, rows=rows, check_lookahead=False)) == 9000


# The command line.


def test_a_backtest_goes_on_record_where_the_searches_of_the_same_settings_do(
    call: Call, home: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = server.new_database()
    monkeypatch.setenv("BARWISE_OPTIMIZATION__STORAGE", where)
    found = call("backtest", *SPAN, "--json")
    assert found.code == 0
    assert json.loads(found.out)["verdict"]["n_trials"] == 1
    assert not (home / "data" / "ledger.sqlite").exists()
    with Ledger(where) as ledger:
        assert ledger.frame()["stage"].to_list() == ["manual"]


def test_a_backtest_whose_ledger_cannot_be_used_is_told_and_says_that_it_is_not_on_record(call: Call) -> None:
    found = call("backtest", *SPAN, "--set", "optimization.storage=postgresql://me@127.0.0.1:1/db", "--no-report")
    assert found.code == 0
    assert "not on record in the trial ledger: The ledger's server cannot be used" in found.err
    assert "Sharpe" in found.out


@pytest.mark.parametrize("in_options", [False, True])
def test_no_file_of_a_search_has_the_password_of_its_ledger(
    call: Call, home: Path, server: PostgresServer, *, in_options: bool
) -> None:
    from urllib.parse import quote

    where = server.new_database()
    if in_options:
        name, secret = where.rpartition("/")[2], quote(PASSWORD, safe="")
        where = f"postgresql://127.0.0.1:{server.port}/{name}?user={USER}&password={secret}"
    (home / "run.toml").write_text("[optimization]\nseed = 3\n")
    found = call("optimize", *SPAN, "--trials", "4", "--storage", where, "--config", "run.toml", "--study", "s.journal")
    assert found.code == 0
    with Ledger(where) as ledger:
        assert ledger.runs()
    spellings = [spelling.encode() for spelling in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""))]
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".config.toml") for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(spelling in content for spelling in spellings), path
    assert PASSWORD not in found.out + found.err


@pytest.mark.parametrize("command", ["optimize", "validate", "walk-forward"])
def test_an_unset_variable_in_the_place_of_the_ledger_is_a_mistake(call: Call, home: Path, command: str) -> None:
    found = call(command, *SPAN, "--storage", "")
    assert found.code == 2
    assert "storage must name a ledger" in found.err
    assert not (home / "data" / "ledger.sqlite").exists()


@pytest.mark.parametrize("study", ["/no/such/folder/x.journal", "x.txt", "sqlite:////no/such/folder/x.db"])
def test_a_place_where_no_study_can_be_kept_is_told_before_the_search(call: Call, home: Path, study: str) -> None:
    found = call("optimize", *SPAN, "--trials", "4", "--study", study)
    assert found.code == 2
    assert found.err.startswith(f"error: no study can be kept in {study}: ")
    assert not (home / "data" / "ledger.sqlite").exists()


def test_studies_go_into_the_database_that_the_hint_gives_as_an_example(call: Call, home: Path) -> None:
    import optuna

    found = call("optimize", *SPAN, "--trials", "4", "--study", "sqlite:///study.db", "--no-report", "--json")
    assert found.code == 0
    assert json.loads(found.out.splitlines()[-1])["files"] == {"study": "sqlite:///study.db"}
    assert (home / "study.db").is_file()
    assert len(optuna.get_all_study_names("sqlite:///study.db")) == 3


PRESSED = """
import os, signal
from barwise import Bars, Int, Plan, Strategy, ema

plans = []


class Pressed(Strategy):
    period: int = Int(10, low=2, high=40)

    def plan(self, bars: Bars) -> Plan:
        plans.append(self.period)
        if len(plans) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        line = ema(bars.close, self.period)
        return Plan.of(entry=bars.close > line)
"""


@pytest.fixture
def plain_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("plain_interrupts")
def test_an_interrupted_search_ends_its_lines_with_the_result_and_counts_its_trials_alike(
    call: Call, home: Path
) -> None:
    (home / "pressed.py").write_text(PRESSED)
    found = call(
        "optimize", *SPAN, "--strategy", "pressed.py:Pressed", "--trials", "64", "--range", "period=2:40", "--json",
        "--no-lookahead-check",
    )  # fmt: skip
    assert found.code == 130
    events = [json.loads(line) for line in found.out.splitlines()]
    assert [event["event"] for event in events] == ["progress"] * (len(events) - 1) + ["result"]
    assert events[-1]["interrupted"]
    made = events[-1]["stages"][0]["num_trials"]
    assert made == events[-2]["done"]
    assert f"stage 7.1 was interrupted after {made} trials" in found.err


def test_a_plateau_is_printed_in_one_line() -> None:
    points = np.repeat(np.array([[1.0, 2.0]]), 4, axis=0)
    plateau = Plateau(("a", "b"), np.ones(2), np.array([1.0, 1.0]), 2.0, points, np.array([1.9, 1.7, 1.0, np.nan]))
    assert repr(plateau) == "<Plateau of 2: 50 % of 4 neighbours keep it>"
    lost = Plateau(("a", "b"), np.ones(2), np.array([1.0, 1.0]), -2.0, points, np.zeros(4))
    assert repr(lost).startswith("<Plateau of -2: 80 % of an objective that is not above zero")
