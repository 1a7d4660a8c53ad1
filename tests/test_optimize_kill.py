"""Kill it, lock it, fill the disk: the search goes on where it was, to the same end, and runs nothing twice."""

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig, Float, Int, OptimizationConfig
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import BarwiseError, CheckpointError, ConfigError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.ledger import BUSY_TIMEOUT, Ledger
from barwise.optimizer.search import Progress
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.indicators import crossed_above, crossed_below, ema, sma
from tests.forked import Start

PRELOADED = ("polars", "sqlalchemy", "optuna")

CANDLES = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 1))
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
KILLS = 9
FIELDS = ("points", "reported", "values", "violation", "steps", "complete", "sharpe", "summaries", "batch")
# What a row of the record says, without who put it there and when.
SAID = [
    "stage", "sampler", "seed", "objective", "fingerprint", "strategy", "key", "first_bar", "stop_bar", "trades",
    "net_pnl", "sharpe_ratio", "max_drawdown", "score", "parameters",
]  # fmt: skip


@dataclass
class Pace:
    """How long a plan takes; no part of what it says, and so kept where the record does not look."""

    seconds: float = 0.0


PACE = Pace()


class Slow(Strategy):
    """Takes its time over each plan."""

    period: int = Int(10, low=2, high=60)
    smooth: int = Int(4, low=1, high=30)
    margin: float = Float(0.002, low=0.0, high=0.05)

    def plan(self, bars: Bars) -> Plan:
        time.sleep(PACE.seconds)
        line, price = sma(bars.close, self.period), ema(bars.close, self.smooth)
        up, down = line * (1.0 + self.margin), line * (1.0 - self.margin)
        return Plan.of(crossed_above(price, up), entry_short=crossed_below(price, down), anchor=ema(bars.close, 5))


RANGES = {"period": (2.0, 60.0), "smooth": (1.0, 30.0)}


def config_of(storage: Path | str, sampler: str = "TPE", trials: int = 64) -> OptimizationConfig:
    return OptimizationConfig(
        storage=str(storage),
        optuna_sampler=sampler,
        num_trials=trials,
        workers=1,
        ranges=RANGES,
        min_trades=2,
        min_rung_trades=0,
    )


def search(storage: Path | str, sampler: str = "TPE", **settings: Any) -> OptimizationResult:
    return optimize(
        CANDLES, Slow(), 0.1, config=config_of(storage, sampler), execution=COSTS, check_lookahead=False, **settings
    )


def search_slowly(storage: Path, sampler: str, log: Path) -> None:
    """Writes down in a file, after each batch, how many bars the stage has simulated until then."""
    PACE.seconds = 0.002

    def note(progress: Progress) -> None:
        with log.open("a") as file:
            file.write(f"{progress.stage} {progress.done} {progress.bars}\n")

    search(storage, sampler, on_progress=note)


def bars_of_batches(log: Path) -> dict[tuple[str, int], int]:
    """Bars simulated by batch, (stage, trials after it); the base point's are with the first batch of its stage."""
    found: dict[tuple[str, int], int] = {}
    before: tuple[str, int] = "", 0
    for stage, done, bars in (line.split() for line in log.read_text().splitlines() if log.exists()):
        found[stage, int(done)] = int(bars) - (before[1] if before[0] == stage else 0)
        before = stage, int(bars)
    return found


def evaluations(storage: Path) -> int:
    """Rows on record, of batches that are whole; read beside the one that writes."""
    with sqlite3.connect(f"file:{storage}?mode=ro", uri=True) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM ledger_evaluations").fetchall()
    connection.close()
    return int(count)


def recorded_batches(storage: Path) -> int:
    with sqlite3.connect(f"file:{storage}?mode=ro", uri=True) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM ledger_batches").fetchall()
    connection.close()
    return int(count)


def assert_same_end(one: OptimizationResult, other: OptimizationResult) -> None:
    for mine, theirs in zip(one.stages, other.stages, strict=True):
        for name in FIELDS:
            assert getattr(mine.trials, name).tobytes() == getattr(theirs.trials, name).tobytes(), (mine.stage, name)
        assert mine.config == theirs.config
    assert one.strategy == other.strategy
    assert one.best.summary.tobytes() == other.best.summary.tobytes()
    assert one.n_trials == other.n_trials


def assert_same_record(one: Path, other: Path) -> None:
    with Ledger(one) as mine, Ledger(other) as theirs:
        assert mine.frame().select(SAID).equals(theirs.frame().select(SAID))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, OptimizationResult]]:
    """A search that nobody disturbs, by sampler: its ledger and its result."""
    folder = tmp_path_factory.mktemp("undisturbed")
    found: dict[str, tuple[Path, OptimizationResult]] = {}

    def of(sampler: str) -> tuple[Path, OptimizationResult]:
        if sampler not in found:
            storage = folder / f"{sampler}.sqlite"
            found[sampler] = storage, search(storage, sampler)
        return found[sampler]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["TPE", "AUTO"])
def test_after_many_kills_the_search_ends_as_if_there_had_been_none_and_nothing_recorded_was_run_again(
    tmp_path: Path,
    started: Start,
    undisturbed: Callable[[str], tuple[Path, OptimizationResult]],
    sampler: str,
) -> None:
    storage, random = tmp_path / "ledger.sqlite", np.random.default_rng(5)
    calm, expected = undisturbed(sampler)
    total = recorded_batches(calm)
    Ledger(storage).close()
    kills = 0
    for kill in range(KILLS):
        # Spread over the whole run; each comes at a random moment after there is something new on record.
        until = min(total - 1, max(recorded_batches(storage) + 1, (kill + 1) * total // (KILLS + 2)))
        process = started(search_slowly, storage, sampler, tmp_path / f"{kill}.log")
        while recorded_batches(storage) < until:
            assert process.is_alive(), f"the search was over after {kill} kills"
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.03))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
    assert kills >= 8
    search_slowly(storage, sampler, tmp_path / f"{KILLS}.log")
    PACE.seconds = 0.0

    logs = [tmp_path / f"{kill}.log" for kill in range(KILLS + 1)]
    batches = [bars_of_batches(log) for log in logs if log.exists()]
    assert len(batches) >= 8
    for batch in batches[-1]:
        costs = [run[batch] for run in batches if run.get(batch)]
        # Simulated once, or not seen to be: a kill may come after a batch is on record and before it is told.
        assert len(costs) <= 1, (batch, costs)
    simulated = sum(sum(run.values()) for run in batches)
    assert 0 < simulated <= sum(int(stage.trials.bars.sum()) for stage in expected.stages)

    found = search(storage, sampler)
    assert_same_end(found, expected)
    assert evaluations(storage) == evaluations(calm)
    assert_same_record(storage, calm)


def interrupted_search(storage: Path, answer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    PACE.seconds = 0.002
    found = search(storage)
    stages = [(stage.stage, stage.interrupted, len(stage.trials)) for stage in found.stages]
    answer.send((found.interrupted, stages, found.best.sharpe_ratio, found.stages[-1].best_value))
    answer.close()


def test_an_interrupt_from_outside_ends_the_stage_with_what_there_is_and_the_search_goes_on_later(
    tmp_path: Path,
    processes: ForkServerContext,
    started: Start,
    undisturbed: Callable[[str], tuple[Path, OptimizationResult]],
) -> None:
    storage = tmp_path / "ledger.sqlite"
    calm, expected = undisturbed("TPE")
    Ledger(storage).close()
    receiver, sender = processes.Pipe(duplex=False)
    process = started(interrupted_search, storage, sender)
    sender.close()
    # The base point's batch and two more: then one of them at least is not only on record but told to the search too.
    while recorded_batches(storage) < 3:
        assert process.is_alive()
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    interrupted, stages, sharpe, value = receiver.recv()
    process.join()
    assert process.exitcode == 0
    assert interrupted
    [(stage, ended, trials)] = stages
    assert (stage, ended) == ("7.1", True)
    assert 1 < trials < 65
    assert sharpe == value
    assert_same_end(search(storage), expected)
    assert_same_record(storage, calm)


# The storage.


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("mysql://me:secret@host/db", "A ledger cannot be kept in mysql"),
        ("postgresql://me:secret@127.0.0.1:1/db", "The ledger's server cannot be used"),
        ("sqlite://", "names no file"),
        ("postgresql://me:se@cret@host/db", "more than one @"),
    ],
)
def test_a_bad_url_is_refused_before_anything_is_run_and_without_its_password(storage: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        search(storage)
    assert "secret" not in str(refused.value)
    assert "cret@" not in str(refused.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger waits 0.2 s for another program instead of half a minute."""
    assert Ledger.__init__.__kwdefaults__ == {"timeout": BUSY_TIMEOUT}
    monkeypatch.setattr(Ledger.__init__, "__kwdefaults__", {"timeout": 0.2})


def hold(storage: Path, held: Connection) -> None:
    """Keep the ledger locked until told to stop."""
    connection = sqlite3.connect(storage, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    held.send("locked")
    held.recv()
    connection.execute("ROLLBACK")
    connection.close()
    held.send("free")


@pytest.mark.usefixtures("impatient")
def test_a_locked_ledger_ends_the_search_and_when_it_is_free_nothing_is_lost(
    tmp_path: Path,
    processes: ForkServerContext,
    started: Start,
    undisturbed: Callable[[str], tuple[Path, OptimizationResult]],
) -> None:
    storage = tmp_path / "ledger.sqlite"
    calm, expected = undisturbed("TPE")
    here, there = processes.Pipe()

    def lock(progress: Progress) -> None:
        if progress.stage == "7.2" and progress.done == 32:
            started(hold, storage, there)
            assert here.recv() == "locked"

    with pytest.raises(CheckpointError, match=r"is locked: another program has kept it for more than 0\.2 s") as ended:
        search(storage, on_progress=lock)
    assert "run the same command again" in str(ended.value)
    before = evaluations(storage)
    assert 0 < before < evaluations(calm)
    here.send("enough")
    assert here.recv() == "free"
    found = search(storage)
    assert_same_end(found, expected)
    assert_same_record(storage, calm)
    assert found.stages[0].trials.bars.sum() == 0
    assert found.stages[1].trials.bars[:33].sum() == 0


def test_a_damaged_ledger_is_named_and_one_beside_it_works(
    tmp_path: Path, undisturbed: Callable[[str], tuple[Path, OptimizationResult]]
) -> None:
    calm, expected = undisturbed("TPE")
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"no ledger at all " * 4096)
    with pytest.raises(CheckpointError, match=r"garbage\.sqlite is damaged or no ledger at all") as refused:
        search(garbage)
    assert "move it away" in str(refused.value)
    assert garbage.read_bytes() == b"no ledger at all " * 4096

    damaged = tmp_path / "damaged.sqlite"
    with sqlite3.connect(calm) as source:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    source.close()
    whole = calm.read_bytes()
    # The pages of the rows, not those of the schema.
    damaged.write_bytes(whole[:40_000] + b"\xff" * (len(whole) - 40_000))
    with pytest.raises(CheckpointError, match=r"damaged\.sqlite"):
        search(damaged)
    damaged.unlink()
    assert_same_end(search(damaged), expected)


def search_in_small_files(storage: Path, limit: int, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        search(storage)
        answer.send("finished")
    except BarwiseError as error:
        answer.send(f"{type(error).__name__}: {error}")
    answer.close()


def test_a_full_disk_ends_the_search_and_with_more_room_nothing_is_lost(
    tmp_path: Path,
    processes: ForkServerContext,
    started: Start,
    undisturbed: Callable[[str], tuple[Path, OptimizationResult]],
) -> None:
    storage = tmp_path / "ledger.sqlite"
    calm, expected = undisturbed("TPE")
    rows = []
    for limit in (150_000, 250_000):
        receiver, sender = processes.Pipe(duplex=False)
        process = started(search_in_small_files, storage, limit, sender)
        sender.close()
        answer = receiver.recv()
        process.join()
        assert answer.startswith(f"CheckpointError: The ledger {storage} cannot be "), answer
        assert "hint: " in answer
        rows.append(evaluations(storage))
    assert 0 < rows[0] < rows[1] < evaluations(calm)
    found = search(storage)
    assert_same_end(found, expected)
    assert_same_record(storage, calm)


def test_candles_that_change_are_another_record(tmp_path: Path) -> None:
    storage = tmp_path / "ledger.sqlite"
    first = search(storage)
    shorter: Candles = CANDLES[:-1]
    second = optimize(shorter, Slow(), 0.1, config=config_of(storage), execution=COSTS, check_lookahead=False)
    assert sum(int(stage.trials.bars.sum()) for stage in second.stages) > 0
    assert search(storage).n_trials == first.n_trials
