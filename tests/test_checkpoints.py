"""Checkpoints give back what was kept, to the bit, or nothing: never a part of it, and never anybody's code."""

import io
import json
import logging
import math
import os
import pickle
import resource
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.checkpoints import CheckpointStore, StageKey, dump, load, sweep_temporary
from barwise.config import ExecutionConfig, Int, OptimizationConfig, OptimizationProfile, WalkForwardConfig
from barwise.core.layout import SUMMARY, Bars, Exit
from barwise.data.synthetic import sample_candles
from barwise.errors import CheckpointError, ConfigError
from barwise.optimizer.engine import OptimizationResult, optimize
from barwise.optimizer.evaluation import replay
from barwise.optimizer.space import Space
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import rolling_max, shift
from barwise.sweeping import Sweeper
from barwise.validation.engine import ValidationReport, validate

CANDLES = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 4, 1))
BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", profile=OptimizationProfile.FAST, num_trials=20, seed=5, workers=1)
WINDOWS = WalkForwardConfig(is_length_days=30, oos_length_days=10, stride_days=10, min_trades_per_window=1)
KEY = StageKey("walk-forward", "SAMPLE-BTC 1H", {"code": "c0de", "data": "da7a", "optimization.seed": "42"})
# At least so many, and more while none has come in the middle of a file.
KILLS, MOST_KILLS = 8, 40


class Breakout(Strategy):
    """A class of the user's own, not below barwise."""

    lookback: int = Int(20, low=5, high=60)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(bars.close > shift(rolling_max(bars.high, self.lookback)), exit=bars.close < bars.open)


@pytest.fixture(scope="module")
def sweeper() -> Sweeper:
    return Sweeper(CANDLES, BASE, 0.1, execution=COSTS, workers=1, check_lookahead=False)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("checkpoints") / "ledger.sqlite")


@pytest.fixture(scope="module")
def report(ledger: str) -> ValidationReport:
    return validate(
        CANDLES, BASE, 0.1, search=SEARCH.replace(storage=ledger), windows=WINDOWS, permutations=19, execution=COSTS,
        check_lookahead=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def optimization(ledger: str) -> OptimizationResult:
    config = SEARCH.replace(storage=ledger)
    return optimize(CANDLES, BASE, 0.1, config=config, execution=COSTS, check_lookahead=False)


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Equal in type, structure and every bit of every number."""
    assert type(one) is type(other), place
    if isinstance(one, BacktestResult):
        assert one.to_json() == other.to_json(), place
        for mine, theirs in zip((one.summary, *one.records), (other.summary, *other.records), strict=True):
            assert mine.tobytes() == theirs.tobytes(), place
        assert one.strategy == other.strategy
        assert one.execution == other.execution
    elif isinstance(one, (np.ndarray, np.generic)):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), place
    elif is_dataclass(one) or isinstance(one, Space):
        names = vars(one) if isinstance(one, Space) else [field.name for field in fields(one)]
        for name in names:
            assert_same(getattr(one, name), getattr(other, name), f"{place}.{name}")
    elif isinstance(one, Mapping):
        assert list(one) == list(other), place
        for name in one:
            assert_same(one[name], other[name], f"{place}[{name}]")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for at, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_same(mine, theirs, f"{place}[{at}]")
    elif isinstance(one, float):
        assert one.hex() == other.hex(), place
    else:
        assert one == other, place


# What comes back.


@pytest.mark.parametrize(
    "name",
    ["stages", "best", "walked", "permutation", "selection", "scenarios", "jitters", "reshuffled", "paths", "missed",
     "intervals", "decision"],
)  # fmt: skip
def test_every_step_of_a_validation_comes_back_to_the_bit(
    report: ValidationReport, sweeper: Sweeper, name: str
) -> None:
    found = getattr(report, name)
    assert found
    assert_same(load(dump(found, sweeper), sweeper), found)


def test_a_whole_validation_and_a_whole_optimization_come_back_with_the_same_reports(
    report: ValidationReport, optimization: OptimizationResult, sweeper: Sweeper
) -> None:
    again = load(dump(report, sweeper), sweeper)
    assert json.dumps(again.to_dict()) == json.dumps(report.to_dict())
    assert_same(again, report)
    searched = load(dump(optimization, sweeper), sweeper)
    assert_same(searched, optimization)
    assert searched.frame().equals(optimization.frame())
    assert searched.best_params == optimization.best_params


def test_the_candles_that_come_back_are_those_of_the_sweeper_themselves(
    report: ValidationReport, sweeper: Sweeper
) -> None:
    walked, first, again = load(dump((report.walked, CANDLES[:100], CANDLES[:100]), sweeper), sweeper)
    assert walked.candles is sweeper.candles
    assert first is again
    assert np.shares_memory(first.close, CANDLES.close)
    assert first == CANDLES[:100]


def test_an_object_that_was_there_twice_is_one_object_again(sweeper: Sweeper) -> None:
    one, other = replay(sweeper, BASE), replay(sweeper, BASE, 200, 900)
    back = load(dump([one, {"best": one}, other, one], sweeper), sweeper)
    assert back[0] is back[1]["best"] is back[3]
    assert back[0] is not back[2]
    assert_same(back[2], other)


def test_a_snapshot_leaves_out_what_can_be_worked_out(report: ValidationReport, sweeper: Sweeper) -> None:
    walked = report.walked
    assert walked is not None
    vars(walked).pop("trades", None)
    small = len(dump(walked, sweeper))
    assert walked.trades
    assert walked.to_dict()
    assert len(dump(walked, sweeper)) == small
    assert load(dump(walked, sweeper), sweeper).trades == walked.trades
    assert small < len(pickle.dumps(walked)) / 100


@pytest.mark.parametrize(
    "value",
    [
        None, True, 10**40, math.inf, -0.0, "text", b"bytes", {1, 2}, frozenset("a"),
        datetime(2025, 1, 1, tzinfo=UTC), date(2025, 1, 1), timedelta(hours=1), Path("a/b"), OrderedDict(b=1, a=2),
        np.arange(12.0)[::2], np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros(2, SUMMARY), np.float64(math.nan),
        np.array(["a", "bc"]), np.array([], dtype=np.int8), np.datetime64("2025-01-01"), Exit.TAKE_PROFIT,
        OptimizationProfile.THOROUGH, SEARCH, COSTS, Space(BASE, "joint", width=0.3),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_plain_values_come_back(sweeper: Sweeper, value: Any) -> None:
    assert_same(load(dump(value, sweeper), sweeper), value)


def test_a_strategy_of_the_users_own_comes_back_to_a_sweeper_of_that_strategy_alone(sweeper: Sweeper) -> None:
    own = Sweeper(CANDLES, Breakout(), 0.1, execution=COSTS, workers=1, check_lookahead=False)
    result = replay(own, Breakout(lookback=30))
    kept = dump([result, Breakout(lookback=40)], own)
    assert_same(load(kept, own)[0], result)
    assert load(kept, own)[1] == Breakout(lookback=40)
    with pytest.raises(CheckpointError, match="Breakout"):
        load(kept, sweeper)
    with pytest.raises(CheckpointError, match="Breakout cannot be kept"):
        dump(Breakout(), sweeper)


# What is refused.


def test_candles_of_another_run_are_not_kept_and_not_given_out(sweeper: Sweeper) -> None:
    for foreign in (CANDLES[1:], sample_candles("SAMPLE-ETH", "1H", datetime(2025, 1, 1), datetime(2025, 4, 1))):
        other = Sweeper(foreign, BASE, 0.1, execution=COSTS, workers=1, check_lookahead=False)
        for value in (foreign, replay(other, BASE)):
            with pytest.raises(CheckpointError, match="not the candles of the run"):
                dump(value, sweeper)
        with pytest.raises(CheckpointError, match=f"belong to other candles: {CANDLES.fingerprint}"):
            load(dump([CANDLES], sweeper), other)


def test_a_backtest_that_comes_out_differently_is_refused(sweeper: Sweeper) -> None:
    kept = dump(replay(sweeper, BASE), sweeper)
    larger = Sweeper(CANDLES, BASE, 0.2, execution=COSTS, workers=1, check_lookahead=False)
    with pytest.raises(CheckpointError, match="comes out differently"):
        load(kept, larger)
    # Costs and capital are those of the backtest itself, not of the sweeper.
    dearer = Sweeper(CANDLES, BASE, 0.1, execution=ExecutionConfig(taker_fee=0.002), workers=1, check_lookahead=False)
    assert_same(load(kept, dearer), replay(sweeper, BASE))


def user_objective(result: Any) -> float:
    return float(result.net_pnl)


def test_functions_and_objects_of_foreign_classes_are_not_kept(sweeper: Sweeper, ledger: str, tmp_path: Path) -> None:
    config = SEARCH.replace(storage=ledger, objective=user_objective, num_trials=4)
    searched = optimize(CANDLES, BASE, 0.1, config=config, execution=COSTS, check_lookahead=False)
    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match=r"user_objective cannot be kept") as refused:
        store.save(KEY, searched.stages, sweeper, 1.0)
    assert "run again" in refused.value.hint
    assert not store.folder.exists()
    foreign = (print, lambda: 0, partial(print), logging.getLogger("x"), store, sweeper, io.BytesIO(), os.system, len)
    for value in foreign:
        with pytest.raises(CheckpointError, match="cannot be kept"):
            dump([value], sweeper)


class Evil:
    """Calls whatever it is told to when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def by_name(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls something by its dotted name."""
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    return b"\x80\x05" + words + b"\x93" + pickle.dumps(arguments, 5)[2:-1] + b"R."


def packed(content: bytes) -> bytes:
    return zlib.compress(content)


@pytest.mark.parametrize("protocol", range(6))
def test_an_evil_pickle_is_refused_and_does_not_run(sweeper: Sweeper, tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    for call in ((os.system, f"touch {marker}"), (eval, f"open({str(marker)!r}, 'w').close()")):
        evil = pickle.dumps(Evil(*call), protocol)
        pickle.loads(evil)
        assert marker.exists()
        marker.unlink()
        for content in (evil, pickle.dumps([1, {"a": Evil(*call)}], protocol)):
            with pytest.raises(CheckpointError, match="damaged or foreign: they ask for"):
                load(packed(content), sweeper)
        assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("barwise.data.files", "write_atomically"),
        ("barwise.data.files", "Path.touch"),
        ("barwise.data.files", "os.mkdir"),
        ("barwise.data.files", "datetime"),
        ("barwise.checkpoints.snapshot", "pickle.loads"),
        ("barwise.checkpoints.snapshot", "sha256"),
        ("barwise.optimizer.ledger", "Ledger"),
        ("barwise.checkpoints.store", "CheckpointStore"),
        ("barwise.data.candles", "Candles.of"),
        ("barwise.__main__", "main"),
        ("barwise", "backtest"),
        ("barwise_evil", "anything"),
        ("builtins", "getattr"),
        ("builtins", "open"),
        ("pathlib", "Path.touch"),
        ("pathlib", "Path"),
        ("numpy", "load"),
        ("numpy", "save"),
        ("copyreg", "_reconstructor"),
        ("tests.test_checkpoints", "by_name"),
        ("tests.test_checkpoints", "Breakout"),
    ],
)
def test_no_name_reaches_anything_but_classes_of_values(
    sweeper: Sweeper, tmp_path: Path, module: str, name: str
) -> None:
    place = tmp_path / "place"
    with pytest.raises(CheckpointError, match="damaged or foreign: they ask for"):
        load(packed(by_name(module, name, str(place))), sweeper)
    assert not place.exists()
    # The same few bytes with a name that is allowed do work, so it is the name that was refused.
    assert load(packed(by_name("datetime", "date", 2025, 1, 2)), sweeper) == date(2025, 1, 2)


def test_bytes_that_are_no_snapshot_are_refused_in_one_sentence(sweeper: Sweeper) -> None:
    kept = dump({"a": [1.0, BASE]}, sweeper)
    for content in (
        b"",
        b"no snapshot",
        kept[:-1],
        kept[5:],
        packed(b""),
        packed(b"\x80\x05."),
        packed(b"\x80\x05K\x01Q."),
    ):
        with pytest.raises(CheckpointError, match="damaged or foreign"):
            load(content, sweeper)


# The store.


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "data" / "checkpoints")


def the_file(store: CheckpointStore) -> Path:
    [path] = store.folder.iterdir()
    return path


def test_what_is_saved_is_loaded_with_when_and_how_long(
    store: CheckpointStore, report: ValidationReport, sweeper: Sweeper
) -> None:
    assert store.load(KEY, sweeper) is None
    assert store.described(KEY) is None
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    store.save(KEY, report.walked, sweeper, 12.345)
    kept, described = store.load(KEY, sweeper), store.described(KEY)
    assert kept is not None
    assert described is not None
    assert_same(kept.value, report.walked)
    assert kept.seconds == described.seconds == 12.345
    assert before <= kept.made == described.made <= datetime.now(UTC)
    assert the_file(store).name == f"walk-forward-{KEY.digest[:24]}.checkpoint"
    assert described.size < the_file(store).stat().st_size
    store.save(KEY, "another", sweeper, 1.0)
    again = store.load(KEY, sweeper)
    assert again is not None
    assert again.value == "another"
    store.forget(KEY)
    store.forget(KEY)
    assert store.load(KEY, sweeper) is None


def test_the_first_line_says_in_json_what_the_file_is(store: CheckpointStore, sweeper: Sweeper) -> None:
    store.save(KEY, {"net": 1.5}, sweeper, 2.5)
    line, _, body = the_file(store).read_bytes().partition(b"\n")
    header = json.loads(line)
    assert body == dump({"net": 1.5}, sweeper)
    assert (header["version"], header["stage"], header["market"]) == (1, KEY.stage, KEY.market)
    assert (header["parts"], header["seconds"]) == (KEY.parts, 2.5)
    assert (header["length"], header["sha256"]) == (len(body), sha256(body).hexdigest())


def test_a_key_is_the_hash_of_all_its_parts_in_any_order() -> None:
    text = '{"market":"M","parts":{"a":"1","b":"2"},"stage":"7.1"}'
    digest = sha256(text.encode()).hexdigest()
    assert StageKey("7.1", "M", {"a": "1", "b": "2"}).digest == StageKey("7.1", "M", {"b": "2", "a": "1"}).digest
    assert StageKey("7.1", "M", {"a": "1", "b": "2"}).digest == digest
    others = [
        StageKey("7.2", "M", {"a": "1", "b": "2"}), StageKey("7.1", "N", {"a": "1", "b": "2"}),
        StageKey("7.1", "M", {"a": "1", "b": "3"}), StageKey("7.1", "M", {"a": "12", "b": ""}),
        StageKey("7.1", "M", {"a": "1"}), StageKey("7.1", "M", {"a": "1", "b": "2", "c": ""}),
    ]  # fmt: skip
    assert len({digest, *(key.digest for key in others)}) == 7
    for name in ("", "a/b", "../a", "a b", ".hidden"):
        with pytest.raises(ConfigError, match="no name of a stage"):
            StageKey(name, "M", {})


def assert_left_out(
    store: CheckpointStore, path: Path, content: bytes, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with this content is absent, for `load` and for `described`, is removed, and the log has one sentence."""
    for look in (partial(store.load, KEY, sweeper), partial(store.described, KEY)):
        path.write_bytes(content)
        caplog.clear()
        assert look() is None
        assert not path.exists()
        [record] = caplog.records
        assert (record.levelname, record.name) == ("WARNING", "barwise.checkpoints.store")
        assert record.getMessage().startswith(f"the checkpoint {path.name} is left out and its stage runs again: ")
        assert record.getMessage().count("\n") == 0


def test_a_file_with_any_one_byte_changed_is_left_out(
    store: CheckpointStore, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(KEY, {"a": [1.0, 2.0], "strategy": BASE}, sweeper, 2.5)
    path = the_file(store)
    content = path.read_bytes()
    for at in range(len(content)):
        for flip in (0x01, 0x20, 0xFF):
            changed = bytearray(content)
            changed[at] ^= flip
            assert_left_out(store, path, bytes(changed), sweeper, caplog)


def test_a_file_cut_off_or_grown_anywhere_is_left_out(
    store: CheckpointStore, report: ValidationReport, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(KEY, report.walked, sweeper, 2.5)
    path = the_file(store)
    content = path.read_bytes()
    assert len(content) > 5_000
    for length in (*range(0, len(content), 100), len(content) - 1):
        assert_left_out(store, path, content[:length], sweeper, caplog)
    for grown in (content + b"\n", content + content, b"\n" + content, content + b"\x00" * 4096):
        assert_left_out(store, path, grown, sweeper, caplog)
    path.write_bytes(content)
    kept = store.load(KEY, sweeper)
    assert kept is not None
    assert_same(kept.value, report.walked)


def test_a_foreign_file_is_left_out_whole_as_it_may_be(
    store: CheckpointStore, sweeper: Sweeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(KEY, "mine", sweeper, 1.0)
    path = the_file(store)
    line, _, _ = path.read_bytes().partition(b"\n")
    marker = tmp_path / "marker"

    def with_body(body: bytes, **changes: Any) -> bytes:
        header = json.loads(line) | {"length": len(body), "sha256": sha256(body).hexdigest()} | changes
        del header["header"]
        check = sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        return json.dumps(header | {"header": check}, sort_keys=True, separators=(",", ":")).encode() + b"\n" + body

    path.write_bytes(with_body(dump("other", sweeper)))
    kept = store.load(KEY, sweeper)
    assert kept is not None
    assert kept.value == "other"
    # Every hash is right, and still nothing runs.
    path.write_bytes(with_body(packed(pickle.dumps(Evil(os.system, f"touch {marker}")))))
    assert store.load(KEY, sweeper) is None
    assert not marker.exists()
    assert not path.exists()
    body = dump("other", sweeper)
    wrong: list[dict[str, Any]] = [{"version": 2}, {"market": "another"}, {"parts": {}}, {"surplus": 1}]
    for changes in wrong:
        assert_left_out(store, path, with_body(body, **changes), sweeper, caplog)


def test_a_file_that_cannot_be_read_is_absent_and_the_log_says_so(
    store: CheckpointStore, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.folder / f"walk-forward-{KEY.digest[:24]}.checkpoint"
    (path / "inside").mkdir(parents=True)
    assert store.load(KEY, sweeper) is None
    assert "cannot be read: Is a directory (and it cannot be removed: " in caplog.text
    assert store.explain(KEY) == "nothing of it is kept yet"


def test_a_full_disk_is_an_error_and_what_was_kept_is_still_there(store: CheckpointStore, sweeper: Sweeper) -> None:
    store.save(KEY, "before", sweeper, 1.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match="cannot be written: File too large"):
            store.save(KEY, np.random.default_rng(1).random(10_000), sweeper, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = store.load(KEY, sweeper)
    assert kept is not None
    assert kept.value == "before"
    assert the_file(store).name.startswith("walk-forward-")


# Why, and for how long.


def changed(**parts: str) -> StageKey:
    return StageKey(KEY.stage, KEY.market, {**KEY.parts, **{name.replace("__", "."): parts[name] for name in parts}})


def test_explain_says_what_has_changed_since_the_last_time(store: CheckpointStore, sweeper: Sweeper) -> None:
    assert store.explain(KEY) == "nothing of it is kept yet"
    store.save(KEY, 1, sweeper, 1.0)
    assert store.explain(KEY) == ""
    assert store.explain(changed(optimization__seed="43", code="new")) == (
        "optimization.seed was 42 and is 43; the code has changed"
    )
    assert store.explain(changed(data="new")) == "the data have changed"
    assert store.explain(changed(**{"strategy source": "new"})) == "the source of the strategy has changed"
    assert store.explain(changed(new__part="1")) == "new.part is new"
    assert store.explain(changed(optimization__seed="")) == "optimization.seed was 42 and is empty"
    assert store.explain(changed(optimization__seed="4" * 41)) == "optimization.seed has changed"
    assert (
        store.explain(StageKey(KEY.stage, KEY.market, {"code": "c0de", "data": "da7a"})) == "optimization.seed is gone"
    )
    assert store.explain(changed(a="1", b="2", c="3", d="4", data="5", code="6")) == (
        "a is new; b is new; c is new; d is new; and 2 more"
    )
    assert store.explain(StageKey(KEY.stage, "another market", KEY.parts)) == "nothing of it is kept yet"
    assert store.explain(StageKey("walk", KEY.market, KEY.parts)) == "nothing of it is kept yet"


def test_explain_compares_with_the_newest_and_passes_over_what_is_damaged(
    store: CheckpointStore, sweeper: Sweeper
) -> None:
    # Names of files are hashes, so their order is not that of time.
    for seed in range(10):
        store.save(changed(optimization__seed=str(seed)), seed, sweeper, 1.0)
        time.sleep(0.002)
        assert store.explain(KEY) == f"optimization.seed was {seed} and is 42"
    last = changed(optimization__seed="9")
    [path] = store.folder.glob(f"*{last.digest[:24]}*")
    path.write_bytes(b"garbage")
    assert store.explain(KEY) == "optimization.seed was 8 and is 42"
    assert path.exists()
    assert "optimization.seed was 8" in store.explain(last)
    assert not path.exists()


def test_prune_removes_what_was_used_longest_ago(store: CheckpointStore, sweeper: Sweeper) -> None:
    assert store.prune(0) == 0
    keys = [changed(optimization__seed=f"{seed:02}") for seed in range(6)]
    for at, key in enumerate(keys):
        store.save(key, at, sweeper, 1.0)
        [path] = store.folder.glob(f"*{key.digest[:24]}*")
        os.utime(path, (1_000_000 + at, 1_000_000 + at))
    (store.folder / "notes.txt").write_text("not a checkpoint")
    [size] = {path.stat().st_size for path in store.folder.glob("*.checkpoint")}
    assert store.load(keys[1], sweeper) is not None  # used now
    assert store.described(keys[0]) is not None  # looked at is not used
    assert store.prune(6 * size) == 0
    assert store.prune(6 * size - 1) == 1
    assert store.prune(3 * size) == 2
    assert [store.described(key) is not None for key in keys] == [False, True, False, False, True, True]
    assert store.prune(0) == 3
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"]


# Kill it.


def bulk(number: int) -> Any:
    """Large enough that writing it takes a while, and every part of it says which one it is."""
    return np.random.default_rng(number).random(300_000)


def save_for_ever(folder: Path, first: int) -> None:
    sweeper = Sweeper(CANDLES, BASE, 0.1, execution=COSTS, workers=1, check_lookahead=False)
    store = CheckpointStore(folder)
    for number in range(first, first + 1_000_000):
        store.save(changed(number=str(number % 3)), (number, bulk(number)), sweeper, float(number))


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_whole_checkpoints_or_none(
    store: CheckpointStore, processes: ForkServerContext, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(3)
    torn = 0
    for kill in range(MOST_KILLS):
        if kill >= KILLS and torn:
            break
        first = 1 + 1_000_000 * kill
        process = processes.Process(target=save_for_ever, args=(store.folder, first), daemon=True)
        process.start()
        keys = [changed(number=str(number)) for number in range(3)]
        deadline = time.monotonic() + 60.0
        while not any((found := store.described(key)) is not None and found.seconds >= first for key in keys):
            assert process.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if kill % 2:
            time.sleep(random.uniform(0.0, 0.2))
        else:  # most of the time goes into numbers; every other kill waits for a file that is being written
            while not any(store.folder.glob(".tmp-*")):
                assert time.monotonic() < deadline
        process.kill()
        process.join()
        for key in keys:
            kept = store.load(key, sweeper)
            if kept is not None:
                number, array = kept.value
                assert kept.seconds == number
                assert array.tobytes() == bulk(number).tobytes()
        left = [path for path in store.folder.iterdir() if path.suffix != ".checkpoint"]
        assert len(left) <= 1
        torn += len(left)
        assert sweep_temporary([store.folder]) == len(left)
        assert {path.suffix for path in store.folder.iterdir()} == {".checkpoint"}
    assert torn > 0, "no kill came while a file was being written"
    assert not caplog.records
