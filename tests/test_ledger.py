"""No evaluated trial is lost, none is counted twice, and whatever breaks says so in one sentence without a password."""

import hashlib
import json
import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from barwise.core.layout import SUMMARY
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.errors import BarwiseError, CheckpointError, ConfigError, DataError
from barwise.obs import redact
from barwise.optimizer.ledger import (
    SCHEMA_VERSION,
    Answers,
    Context,
    DataSet,
    Known,
    Ledger,
    Origin,
    Rows,
    configuration_keys,
)
from tests.conftest import REPOSITORY
from tests.forked import Start
from tests.postgres import PASSWORD, PostgresServer, postgres_server

HOUR_MS = 3_600_000
DATA = DataSet("ab" * 16, "BINANCE", "BTCUSDT", "1H", 1000 * HOUR_MS, 1999 * HOUR_MS, 1000)
CONTEXT = Context(DATA, "barwise.strategy.ema_rsi_atr.EmaRsiAtr", {"quantity": 0.1, "fees": {"maker": 0.0002}})
ORIGIN = Origin("20250401T120000-ab12", "7.1", "tpe", 7, "sharpe_ratio")
KILLS = 20
BATCH = 300
_NOBODY = 65534
PRELOADED = ("polars", "sqlalchemy")


def rows_of(values: Any, *, first: int = 200, stop: int = DATA.bars, seed: int = 0) -> Rows:
    """Evaluations of the configurations given as a matrix, with made-up results that depend on the seed alone."""
    matrix = np.asarray(values, np.float64)
    size, random = len(matrix), np.random.default_rng(seed)
    summaries = np.zeros(size, SUMMARY)
    for name in SUMMARY.names or ():
        summaries[name] = random.integers(0, 1000, size)
    summaries["net_pnl"] = random.normal(size=size)
    metrics = {name: random.normal(size=size) for name in ("net_pnl", "sharpe_ratio", "max_drawdown")}
    return Rows(
        configuration_keys(matrix),
        [json.dumps(dict(enumerate(row)), sort_keys=True) for row in matrix.tolist()],
        np.full(size, first, np.int64),
        np.full(size, stop, np.int64),
        summaries,
        {"total_trades": summaries["trades"], **metrics},
        random.normal(size=size),
    )


def random_rows(size: int, seed: int = 0, **settings: Any) -> Rows:
    return rows_of(np.random.default_rng(seed).random((size, 5)), seed=seed, **settings)


def first_of(rows: Rows, count: int) -> Rows:
    return Rows(
        rows.keys[:count],
        rows.parameters[:count],
        rows.first[:count],
        rows.stop[:count],
        rows.summaries[:count],
        {name: column[:count] for name, column in rows.metrics.items()},
        rows.scores[:count],
    )


def numbered(*numbers: int, **settings: Any) -> Rows:
    """Configurations of one parameter with these values."""
    return rows_of([[number] for number in numbers], **settings)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of ledger in turn, empty."""
    if request.param == "sqlite":
        return str(tmp_path / "data" / "ledger.sqlite")
    running: PostgresServer = request.getfixturevalue("server")
    return running.new_database()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


# Names of configurations, data sets and contexts.


def test_a_key_is_the_blake2b_of_the_values_as_little_endian_doubles() -> None:
    keys = configuration_keys(np.array([[9.0, 21.5], [0.1, -3.0]]))
    expected = [
        hashlib.blake2b(struct.pack("<2d", *row), digest_size=16).digest() for row in ((9.0, 21.5), (0.1, -3.0))
    ]
    assert keys == expected


def test_keys_are_equal_exactly_where_the_values_are() -> None:
    other_nan = np.array([0x7FF8_0000_0000_0001], np.uint64).view(np.float64)[0]
    keys = configuration_keys(np.array([[0.0, np.nan], [-0.0, other_nan], [0.0, 1.0], [1.0, 0.0], [0.0, -np.nan]]))
    assert keys[0] == keys[1] == keys[4]
    assert len(set(keys)) == 3
    values = np.random.default_rng(1).integers(0, 4, (500, 4)).astype(float)
    assert len(set(configuration_keys(values))) == len(np.unique(values, axis=0))


def test_keys_do_not_depend_on_the_order_in_memory_and_leave_the_values_alone() -> None:
    values = np.array([[1.0, np.nan, -0.0], [4.0, 5.0, 6.0]])
    assert configuration_keys(np.asfortranarray(values)) == configuration_keys(values)
    assert np.signbit(values[0, 2])


def test_a_data_set_is_what_its_candles_are() -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 1, 3))
    data = DataSet.of(candles)
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert data == DataSet(candles.fingerprint, "SAMPLE", "SAMPLE-BTC", "1H", start, start + 47 * HOUR_MS, 48)
    assert data.end_ms == start + 48 * HOUR_MS


def test_no_bars_are_no_data_set() -> None:
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 1, 3))
    empty: Candles = candles[:0]
    with pytest.raises(DataError, match="SAMPLE-BTC 1H SYNTHETIC: no bars"):
        DataSet.of(empty)


def test_every_part_of_a_context_changes_its_digest_and_the_order_of_names_does_not() -> None:
    described = CONTEXT.description
    others = [
        replace(CONTEXT, strategy="mine.Other"),
        replace(CONTEXT, description={**described, "quantity": 0.2}),
        replace(CONTEXT, description={**described, "fees": {"maker": 0.0003}}),
        replace(CONTEXT, description={}),
        replace(CONTEXT, data=replace(DATA, fingerprint="cd" * 16)),
        replace(CONTEXT, data=replace(DATA, timeframe="4H")),
        replace(CONTEXT, data=replace(DATA, bars=999)),
    ]
    assert len({context.digest for context in (CONTEXT, *others)}) == len(others) + 1
    assert len(CONTEXT.digest) == 64
    assert replace(CONTEXT, description=dict(reversed(list(described.items())))).digest == CONTEXT.digest


def test_a_description_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be what JSON can hold"):
        _ = replace(CONTEXT, description={"fees": object()}).digest


def test_a_seed_that_no_database_can_hold_is_refused_before_the_search() -> None:
    assert replace(ORIGIN, seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ConfigError, match="64 bits; got 9223372036854775808"):
        replace(ORIGIN, seed=2**63)


# What is recorded is what comes back.


def test_a_batch_is_new_once(where: str) -> None:
    rows = random_rows(50)
    with Ledger(where) as ledger:
        assert ledger.record(CONTEXT, ORIGIN, rows) == 50
        assert ledger.record(CONTEXT, ORIGIN, rows) == 0
        assert ledger.record(CONTEXT, ORIGIN, random_rows(0)) == 0
        more = rows_of(np.vstack([np.random.default_rng(0).random((50, 5)), np.random.default_rng(9).random((7, 5))]))
        assert ledger.record(CONTEXT, ORIGIN, more) == 7
    with Ledger(where) as ledger:
        assert ledger.record(CONTEXT, ORIGIN, more) == 0
        assert ledger.frame().height == 57


def test_a_configuration_twice_in_one_batch_is_recorded_once(where: str) -> None:
    with Ledger(where) as ledger:
        assert ledger.record(CONTEXT, ORIGIN, numbered(1, 2, 1, 1)) == 2


def test_the_first_entry_of_a_configuration_stays(where: str) -> None:
    before, after = numbered(1, seed=1), numbered(1, seed=2)
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, before)
        ledger.record(CONTEXT, ORIGIN, after)
        _, _, summaries = ledger.known(CONTEXT).get(before.keys, DATA.bars)
    assert summaries.tobytes() == before.summaries.tobytes()


def test_what_is_known_is_what_was_recorded_to_the_bit(where: str) -> None:
    whole, part, other = random_rows(200, 1), random_rows(100, 2, first=150, stop=330), random_rows(30, 3)
    whole.summaries["net_pnl"][:3] = [np.nan, np.inf, -0.0]
    with Ledger(where) as ledger:
        assert len(ledger.known(CONTEXT)) == 0
        ledger.record(CONTEXT, ORIGIN, whole)
        ledger.record(CONTEXT, ORIGIN, part)
        ledger.record(replace(CONTEXT, strategy="mine.Other"), ORIGIN, other)
        known = ledger.known(CONTEXT)
    assert len(known) == 300
    order = np.random.default_rng(4).permutation(200)
    found, first, summaries = known.get([whole.keys[row] for row in order], DATA.bars)
    assert found.all()
    assert (first == 200).all()
    assert summaries.tobytes() == whole.summaries[order].tobytes()
    for keys, stop in ((whole.keys, 330), (part.keys, DATA.bars), (other.keys, DATA.bars)):
        missing, first, summaries = known.get(keys, stop)
        assert not missing.any()
        assert not first.any()
        assert summaries.tobytes() == np.zeros(len(keys), SUMMARY).tobytes()


def test_each_configuration_can_be_asked_for_up_to_a_bar_of_its_own() -> None:
    known = Known()
    known.add(numbered(1, 2, 3, stop=330, first=20))
    known.add(numbered(2, 3, stop=660, first=30))
    keys = numbered(1, 2, 3, 4).keys
    found, first, _ = known.get(keys, np.array([660, 660, 330, 330]))
    assert found.tolist() == [False, True, True, False]
    assert first.tolist() == [0, 30, 20, 0]


def test_what_was_added_in_memory_is_what_the_ledger_loads(where: str) -> None:
    random, grown = np.random.default_rng(5), Known()
    with Ledger(where) as ledger:
        for seed in range(12):
            values = random.integers(0, 12, (int(random.integers(1, 20)), 1))
            rows = rows_of(values, first=int(random.choice([20, 30])), stop=int(random.choice([330, 1000])), seed=seed)
            ledger.record(CONTEXT, ORIGIN, rows)
            grown.add(rows)
        loaded = ledger.known(CONTEXT)
    assert len(loaded) == len(grown) > 12
    keys = numbered(*range(13)).keys
    for stop in (330, 1000):
        for one, other in zip(loaded.get(keys, stop), grown.get(keys, stop), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("order", [(20, 30), (30, 20)], ids=str)
def test_of_two_first_bars_the_earlier_one_answers_in_whatever_order_they_came(order: tuple[int, int]) -> None:
    known = Known()
    for first in order:
        known.add(numbered(1, first=first, seed=first))
    found, first_bars, summaries = known.get(numbered(1).keys, DATA.bars)
    assert (found.tolist(), first_bars.tolist(), len(known)) == ([True], [20], 1)
    assert summaries.tobytes() == numbered(1, seed=20).summaries.tobytes()


def test_columns_of_different_length_are_refused_and_nothing_is_recorded(where: str) -> None:
    with Ledger(where) as ledger:
        with pytest.raises(ConfigError, match="differ in length"):
            ledger.record(CONTEXT, ORIGIN, numbered(1, 2)._replace(scores=np.zeros(1)))
        assert ledger.frame().is_empty()


def test_a_batch_that_fails_leaves_nothing_and_the_next_one_of_its_context_is_whole(where: str) -> None:
    broken: list[Any] = ["{}", "{}", None]
    with Ledger(where) as ledger:
        with pytest.raises(CheckpointError, match="cannot be used"):
            ledger.record(CONTEXT, ORIGIN, numbered(1, 2, 3)._replace(parameters=broken))
        assert (ledger.trials(DATA), ledger.runs()) == (0, [])
        other = replace(CONTEXT, strategy="mine.Other")
        assert ledger.record(other, ORIGIN, numbered(4)) == 1
        assert ledger.record(CONTEXT, ORIGIN, numbered(1, 2, 3)) == 3
        assert len(ledger.known(other)) == 1
        assert len(ledger.known(CONTEXT)) == 3


# The number of trials.


def test_the_number_of_trials_is_that_of_distinct_configurations_over_all_rungs_runs_and_contexts(where: str) -> None:
    random, seen = np.random.default_rng(6), set()
    contexts = [CONTEXT, replace(CONTEXT, description={"quantity": 0.2})]
    with Ledger(where) as ledger:
        for seed in range(30):
            chosen, stop = int(random.integers(2)), int(random.choice([330, 660, 1000]))
            values = random.integers(0, 60, (int(random.integers(1, 15)), 2))
            origin = replace(ORIGIN, run=f"run {seed % 4}", stage=str(random.choice(["7.1", "manual"])))
            ledger.record(contexts[chosen], origin, rows_of(values, stop=stop, seed=seed))
            seen |= {(chosen, *row) for row in values.tolist()}
            assert ledger.trials(DATA) == len(seen)
        assert ledger.trials(DATA.fingerprint) == ledger.related(DATA) == len(seen) > 100
        assert ledger.trials("cd" * 16) == 0


def test_related_trials_are_those_of_the_same_market_whose_spans_overlap(where: str) -> None:
    def spanning(name: str, first: int, last: int, timeframe: str = "1H", symbol: str = "BTCUSDT") -> DataSet:
        return DataSet(name, "BINANCE", symbol, timeframe, first * HOUR_MS, last * HOUR_MS, 1000)

    sets = {
        spanning("before, and open while its last bar closes", 0, 999): 1,
        spanning("one hour shared", 0, 1000): 2,
        spanning("its last day reaches into the span", 0, 984, "1D"): 4,
        spanning("inside", 1200, 1300): 8,
        spanning("after", 2000, 2100): 16,
        spanning("another market", 1000, 1999, symbol="ETHUSDT"): 32,
    }
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, random_rows(64))
        for data, count in sets.items():
            # The same configurations: on another data set each is a trial of its own.
            ledger.record(replace(CONTEXT, data=data), ORIGIN, first_of(random_rows(64), count))
            assert ledger.trials(data) == count
        assert ledger.related(DATA) == 64 + 2 + 4 + 8
        assert ledger.trials(DATA) == 64


# For people.


def test_the_frame_shows_each_evaluation_with_its_origin_newest_last(where: str) -> None:
    started_ms = time.time_ns() // 1_000_000
    first, second = numbered(1, 2, seed=1), numbered(3, stop=330, seed=2)
    first.scores[1] = np.nan
    later = Origin("later", "joint", "random", None, "net_pnl")
    other = replace(CONTEXT, data=replace(DATA, fingerprint="cd" * 16, symbol="ETHUSDT"))
    with Ledger(where) as ledger:
        empty = ledger.frame()
        ledger.record(CONTEXT, ORIGIN, first)
        ledger.record(other, later, second)
        frame = ledger.frame()
        assert ledger.frame(DATA).equals(frame[:2])
        assert ledger.frame("cd" * 16).equals(frame[2:])
        assert ledger.frame(run="later").equals(frame[2:])
        assert ledger.frame(DATA, "later").is_empty()
    assert empty.is_empty()
    assert empty.schema == frame.schema
    assert frame["score"].to_list() == [first.scores[0], None, second.scores[0]]
    assert frame["key"].to_list() == [key.hex() for key in (*first.keys, *second.keys)]
    for name in ("net_pnl", "sharpe_ratio", "max_drawdown"):
        assert frame[name].to_list() == [*first.metrics[name], *second.metrics[name]]
    assert frame["trades"].to_list() == [*first.metrics["total_trades"], *second.metrics["total_trades"]]
    assert frame["parameters"].to_list() == ['{"0": 1.0}', '{"0": 2.0}', '{"0": 3.0}']
    last = frame.row(2, named=True)
    told = ("run", "stage", "sampler", "seed", "objective", "symbol", "timeframe", "strategy", "first_bar", "stop_bar")
    strategy = CONTEXT.strategy
    assert [last[name] for name in told] == [
        "later", "joint", "random", None, "net_pnl", "ETHUSDT", "1H", strategy, 200, 330,
    ]  # fmt: skip
    assert frame["seed"][0] == 7
    assert frame.schema["created"] == polars.Datetime("ms", "UTC")
    recorded = frame["created"].dt.timestamp("ms").to_list()
    assert started_ms <= recorded[0] <= recorded[2] <= time.time_ns() // 1_000_000


def test_runs_are_listed_with_their_stages_and_the_best_full_evaluation(where: str) -> None:
    def scored(number: int, scores: list[float], stop: int) -> Rows:
        rows = numbered(*range(number, number + len(scores)), stop=stop)
        return rows._replace(scores=np.array(scores))

    other = replace(CONTEXT, data=replace(DATA, fingerprint="cd" * 16))
    with Ledger(where) as ledger:
        assert ledger.runs() == []
        ledger.record(CONTEXT, ORIGIN, scored(0, [9.0, 8.0], stop=330))
        ledger.record(CONTEXT, ORIGIN, scored(0, [1.5, np.nan], stop=1000))
        ledger.record(CONTEXT, replace(ORIGIN, stage="7.2"), scored(10, [1.25], stop=1000))
        ledger.record(other, ORIGIN, scored(0, [np.nan], stop=1000))
        ledger.record(CONTEXT, replace(ORIGIN, run="again"), scored(0, [1.5], stop=1000))
        one, elsewhere, again = ledger.runs()
    assert (one.run, one.data, one.stages, one.evaluations, one.best) == (ORIGIN.run, DATA, ("7.1", "7.2"), 5, 1.5)
    assert (elsewhere.run, elsewhere.data, elsewhere.evaluations, elsewhere.best) == (ORIGIN.run, other.data, 1, None)
    assert (again.run, again.stages, again.evaluations, again.best) == ("again", ("7.1",), 0, 1.5)
    assert one.started_ms <= one.ended_ms <= again.started_ms


def test_the_sqlite_file_answers_a_plain_query(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1, 2))
    connection = sqlite3.connect(file)
    found = connection.execute("SELECT run, symbol, stop_bar, parameters FROM ledger ORDER BY id").fetchall()
    mode = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert found == [(ORIGIN.run, "BTCUSDT", 1000, f'{{"0": {number}.0}}') for number in (1, 2)]
    assert mode == ("wal",)


# Addresses.


def test_a_path_a_path_object_and_a_url_name_the_same_file(file: Path) -> None:
    with Ledger(str(file)) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
    with Ledger(file) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(2))
    with Ledger(f"sqlite:///{file}") as ledger:
        assert ledger.trials(DATA) == 2
        assert repr(ledger) == f"<Ledger {file}>"


def test_the_short_name_of_postgresql_in_a_url_is_taken_too(server: PostgresServer) -> None:
    where = server.new_database()
    with Ledger(where.replace("postgresql+psycopg://", "postgres://")) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
    with Ledger(where) as ledger:
        assert ledger.trials(DATA) == 1


def test_the_example_in_a_hint_is_still_one_after_secrets_were_taken_out(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger("mysql://host/db")
    assert "postgresql://user@host:5432/database" in caught.value.hint
    assert redact(caught.value.hint) == caught.value.hint


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "empty text"),
        ("postgresql://user:hunter22@host:port/db", r"URL postgresql://\.\.\. cannot be read"),
        ("postgresql://user:pass@hunter22@host/db", "more than one @"),
        ("postgresql://host:5432/db?user=me&password=pass@hunter22", "more than one @, or one after a question mark"),
        ("mysql://user:hunter22@host/db", "cannot be kept in mysql"),
        ("postgresql+psycopg2://user:hunter22@host/db", r"cannot be kept in postgresql\+psycopg2"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        (":memory:", "in memory would be forgotten"),
        ("://hunter22", "cannot be read"),
    ],
)
def test_an_address_that_cannot_hold_a_ledger_is_refused_without_its_password(
    where: str, message: str, home: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Ledger(where)
    assert "hunter22" not in str(caught.value)
    assert "data/ledger.sqlite" in caught.value.hint or "%40" in caught.value.hint
    assert list(home.iterdir()) == []


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="needs the PostgreSQL driver psycopg") as caught:
        Ledger("postgresql://user:hunter22@127.0.0.1:1/db")
    assert "barwise[postgres]" in caught.value.hint
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "postgresql://user:hunter%2F22@127.0.0.1:1/db",
        "postgresql://user@127.0.0.1:1/db?password=hunter%2F22",
        "postgresql+psycopg://user:hunter%2F22@127.0.0.1:1/db?connect_timeout=2",
    ],
)
def test_a_server_that_does_not_answer_is_named_without_the_password(where: str) -> None:
    with pytest.raises(ConfigError, match=r"server cannot be used: postgresql\+psycopg://user.*127\.0\.0\.1:1/db") as e:
        Ledger(where)
    assert "hunter" not in str(e.value)
    assert e.value.__cause__ is None
    assert e.value.__suppress_context__


def test_a_wrong_password_or_database_is_told_without_a_password(server: PostgresServer) -> None:
    for where, message in (
        (server.url(password="hunter/22"), "password authentication failed"),
        (server.url("no_such_database"), "does not exist"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            Ledger(where)
        assert not any(secret in str(caught.value) for secret in ("hunter", PASSWORD, "s3cret"))


def test_the_name_of_a_postgresql_ledger_has_no_password(server: PostgresServer) -> None:
    where = server.new_database().replace("postgresql+psycopg://", "postgresql://")
    with Ledger(where) as ledger:
        assert repr(ledger).startswith("<Ledger postgresql+psycopg://ledger_keeper:***@127.0.0.1:")
        assert ledger.record(CONTEXT, ORIGIN, numbered(1)) == 1


# What breaks.


def test_a_closed_ledger_says_so(where: str) -> None:
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
    with pytest.raises(CheckpointError, match="is closed"):
        ledger.trials(DATA)


def test_a_ledger_of_the_first_version_keeps_what_is_in_it_and_learns_to_keep_answers(where: str) -> None:
    import sqlalchemy as sql

    answers = Answers("goal", "ab", [b"k" * 16], np.array([200]), np.array([1000]), np.array([np.nan]))
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(3))
    engine = sql.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(sql.text("DROP TABLE ledger_answers"))
        connection.execute(sql.text("UPDATE ledger_version SET version = 1"))
    engine.dispose()
    with Ledger(where) as ledger:
        assert ledger.trials(DATA) == 1
        assert ledger.record(CONTEXT, ORIGIN, rows_of(np.empty((0, 1))), [answers]) == 0
    with Ledger(where) as ledger:
        known = ledger.known(CONTEXT, ["ab"])
        assert len(known) == 1
        asked, said = known.answers("ab", [b"k" * 16, b"l" * 16], np.array([200, 200]), 1000)
        assert asked.tolist() == [True, False]
        assert np.isnan(said).all()
        assert not known.answers("cd", [b"k" * 16], np.array([200]), 1000)[0].any()
        assert [run.evaluations for run in ledger.runs()] == [1]


def test_a_ledger_of_a_newer_version_is_refused(where: str) -> None:
    import sqlalchemy as sql

    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
    engine = sql.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE ledger_version SET version = version + 1"))
    engine.dispose()
    newer = f"its schema is {SCHEMA_VERSION + 1}, and this version knows {SCHEMA_VERSION}"
    with pytest.raises(CheckpointError, match=newer) as caught:
        Ledger(where)
    assert "update barwise" in caught.value.hint


def test_a_file_of_random_bytes_is_told_and_left_alone(file: Path) -> None:
    content = np.random.default_rng(8).bytes(20_000)
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged or no ledger at all: file is not a database") as caught:
        Ledger(file)
    assert "move it away" in caught.value.hint
    assert file.read_bytes() == content


def test_damage_inside_a_ledger_is_told(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.record(CONTEXT, ORIGIN, random_rows(500))
    content = bytearray(file.read_bytes())
    content[4096 * 8 :] = np.random.default_rng(8).bytes(len(content) - 4096 * 8)
    file.write_bytes(content)
    with Ledger(file) as ledger, pytest.raises(CheckpointError, match="is damaged or no ledger at all"):
        ledger.frame()


def test_a_ledger_that_another_program_keeps_locked_is_told_and_recovers(file: Path) -> None:
    with Ledger(file, timeout=0.05) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CheckpointError, match=r"is locked: another program has kept it for more than 0\.05 s"):
            ledger.record(CONTEXT, ORIGIN, numbered(2))
        assert ledger.trials(DATA) == 1
        other.execute("ROLLBACK")
        other.close()
        assert ledger.record(CONTEXT, ORIGIN, numbered(2)) == 1


def test_a_file_that_another_program_keeps_locked_cannot_become_a_ledger(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("CREATE TABLE theirs (name TEXT)")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CheckpointError, match="is locked"):
        Ledger(file, timeout=0.05)
    other.close()


def test_a_postgresql_ledger_that_is_locked_is_told_and_recovers(server: PostgresServer) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    where = server.new_database()
    with Ledger(where, timeout=0.05) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
        with psycopg.connect(where.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE ledger_batches IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(CheckpointError, match="is locked"):
                ledger.record(CONTEXT, ORIGIN, numbered(2))
        assert ledger.record(CONTEXT, ORIGIN, numbered(2)) == 1


def test_a_connection_that_the_server_has_ended_is_made_again(server: PostgresServer) -> None:
    where = server.new_database()
    name = where.rpartition("/")[2]
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
        ended = server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert ended == [(True,)]
        assert ledger.record(CONTEXT, ORIGIN, numbered(2)) == 1
        assert ledger.trials(DATA) == 2


def test_a_server_that_has_gone_is_told_without_the_password() -> None:
    with postgres_server() as running:
        ledger = Ledger(running.url())
        ledger.record(CONTEXT, ORIGIN, numbered(1))
    with ledger, pytest.raises(CheckpointError, match=r"connection to the ledger .* was lost") as caught:
        ledger.record(CONTEXT, ORIGIN, numbered(2))
    assert "what was recorded before is there" in caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_summary_of_a_wrong_length_is_never_read(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1, 2))
        other = sqlite3.connect(file)
        other.execute("UPDATE ledger_evaluations SET summary = x'00' WHERE id = 2")
        other.commit()
        other.close()
        with pytest.raises(CheckpointError, match="summaries of a length"):
            ledger.known(CONTEXT)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="cannot be made: File exists"):
        Ledger(tmp_path / "data" / "ledger.sqlite")


def open_as_somebody_else(path: Path, warm: Path, answer: Connection) -> None:
    Ledger(warm).close()  # loads what this account may not read any more
    if os.geteuid() == 0:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    try:
        Ledger(path)
    except BarwiseError as error:
        answer.send((type(error).__name__, str(error)))
    answer.close()


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_is_read_only_is_told(
    tmp_path: Path, processes: ForkServerContext, started: Start, exists: bool
) -> None:
    # Not below pytest's own folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "ledger.sqlite"
        if exists:
            with Ledger(path) as ledger:
                ledger.record(CONTEXT, ORIGIN, numbered(1))
            path.chmod(0o444)
        folder.chmod(0o555)
        receiver, sender = processes.Pipe(duplex=False)
        process = started(open_as_somebody_else, path, tmp_path / "warm.sqlite", sender)
        sender.close()
        kind, message = receiver.recv()
        process.join()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert kind == "CheckpointError"
    assert f"{path} cannot be opened for writing" in message
    assert "check the permissions" in message


def record_until_it_fails(path: Path) -> str:
    """Batches of 300 rows until one fails; what is on record afterwards must be what was recorded before."""
    with Ledger(path) as ledger:
        for batch in range(1000):
            try:
                ledger.record(CONTEXT, ORIGIN, random_rows(BATCH, batch))
            except BarwiseError as error:
                assert ledger.trials(DATA) == batch * BATCH > 0
                assert len(ledger.known(CONTEXT)) == batch * BATCH
                return f"{type(error).__name__}: {error}"
    return "never"


def record_in_small_files(path: Path, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
    answer.send(record_until_it_fails(path))
    answer.close()


def test_a_file_that_may_not_grow_is_told_and_what_was_recorded_before_is_readable(
    file: Path, processes: ForkServerContext, started: Start
) -> None:
    receiver, sender = processes.Pipe(duplex=False)
    process = started(record_in_small_files, file, sender)
    sender.close()
    answer = receiver.recv()
    process.join()
    assert answer.startswith(f"CheckpointError: The ledger {file} cannot be ")
    assert "hint: " in answer
    assert_whole_batches(file)


def test_a_full_disk_is_told_and_what_was_recorded_before_is_readable(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = shutil.which("unshare")
    own = [unshare or "unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=3m tmpfs {disk}"
    if unshare is None or subprocess.run([*own, mount], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here (unshare and mount of a tmpfs)")
    script = f"from tests.test_ledger import *; print(record_until_it_fails(Path('{disk}') / 'ledger.sqlite'))"
    done = subprocess.run(
        [*own, f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])},
    )  # fmt: skip
    assert done.stdout.startswith("CheckpointError: The ledger")
    assert "the disk is full." in done.stdout
    assert "hint: make room" in done.stdout


# Several processes.


def assert_whole_batches(path: Path) -> int:
    """Every batch in the file has all its rows, and the file is sound; the number of batches."""
    with Ledger(path) as ledger:
        total = ledger.trials(DATA)
    connection = sqlite3.connect(path)
    sizes = connection.execute(
        "SELECT asked, evaluations, (SELECT count(*) FROM ledger_evaluations WHERE batch_id = ledger_batches.id)"
        " FROM ledger_batches"
    ).fetchall()
    sound = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    assert set(sizes) <= {(BATCH, BATCH, BATCH)}
    assert sound == [("ok",)]
    assert total == BATCH * len(sizes)
    return len(sizes)


def record_for_ever(path: Path, log: Path) -> None:
    """Record batches, and write down each one that is said to be on record."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Ledger(path) as ledger:
        for batch in range(1_000_000):
            ledger.record(CONTEXT, ORIGIN, random_rows(BATCH, 1000 * os.getpid() + batch))
            os.write(descriptor, b".")


def test_after_twenty_kills_every_batch_is_there_wholly_or_not_at_all(
    file: Path, tmp_path: Path, started: Start
) -> None:
    log, random = tmp_path / "recorded", np.random.default_rng(9)
    log.touch()
    for kill in range(1, KILLS + 1):
        wanted = log.stat().st_size + int(random.integers(1, 4))
        process = started(record_for_ever, file, log)
        while log.stat().st_size < wanted:
            assert process.is_alive(), f"it ended by itself after {kill} kills"
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.012))
        process.kill()
        process.join()
        batches, said = assert_whole_batches(file), log.stat().st_size
        # A kill may fall between the commit and the note of it, once each.
        assert said <= batches <= said + kill


def open_new_files(folder: Path, start: Any, answer: Connection) -> None:
    for number in range(60):
        start.wait()
        Ledger(folder / f"{number}.sqlite").close()
    answer.send("all opened")
    answer.close()


def test_four_processes_that_open_a_new_file_at_the_same_moment_all_get_it(
    tmp_path: Path, processes: ForkServerContext, started: Start
) -> None:
    start, answers = processes.Barrier(4, timeout=60), []
    for _ in range(4):
        receiver, sender = processes.Pipe(duplex=False)
        started(open_new_files, tmp_path, start, sender)
        sender.close()
        answers.append(receiver)
    assert [receiver.recv() for receiver in answers] == ["all opened"] * 4


def record_at_once(where: str, start: Any, first: int, answer: Connection) -> None:
    start.wait()
    with Ledger(where) as ledger:
        answer.send([ledger.record(CONTEXT, ORIGIN, numbered(*range(at, at + 40))) for at in range(first, 600, 20)])
    answer.close()


def test_two_processes_that_make_and_fill_one_ledger_at_once_both_succeed(
    where: str, processes: ForkServerContext, started: Start
) -> None:
    start, answers = processes.Barrier(2, timeout=60), []
    for first in (0, 10):
        receiver, sender = processes.Pipe(duplex=False)
        started(record_at_once, where, start, first, sender)
        sender.close()
        answers.append(receiver)
    added = [receiver.recv() for receiver in answers]
    # 0 .. 619 by the one, 10 .. 629 by the other, and whoever came first has the credit.
    assert sum(map(sum, added)) == 630
    with Ledger(where) as ledger:
        assert ledger.trials(DATA) == 630
        assert ledger.frame()["key"].n_unique() == 630


def record_on_both_sides_of_a_fork(where: str, answer: Connection) -> None:
    with Ledger(where) as ledger:
        ledger.record(CONTEXT, ORIGIN, numbered(1))
        child = os.fork()
        if not child:
            added = ledger.record(CONTEXT, ORIGIN, numbered(1, 2))
            ledger.close()
            os._exit(added)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer.send((status, ledger.record(CONTEXT, ORIGIN, numbered(2, 3)), ledger.trials(DATA)))
    answer.close()


def test_a_forked_child_records_over_connections_of_its_own(
    where: str, processes: ForkServerContext, started: Start
) -> None:
    receiver, sender = processes.Pipe(duplex=False)
    started(record_on_both_sides_of_a_fork, where, sender)
    sender.close()
    assert receiver.recv() == (1, 1, 3)
