"""The permutation test counts as it says, searches both sides alike, and tells a planted edge from none."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from barwise.backends import Backend, open_backend
from barwise.config import ExecutionConfig, OptimizationConfig
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError
from barwise.optimizer.engine import optimize
from barwise.stats.resampling import as_candles_like
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper
from barwise.validation.permutation import PermutationTest, permutation_test, shuffled
from tests.conftest import REPOSITORY
from tests.planted import FREE, Momentum, planted_candles

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
COSTS = ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
SEARCH = OptimizationConfig(optuna_sampler="AUTO", num_trials=12, seed=5, workers=1)
# Where a rule with an edge is found at once, and one without has something to choose from.
PLANTED = SEARCH.replace(ranges={"period": (4, 40), "level": (0.2, 2.0)}, num_trials=40)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 20))


def sweeper_of(candles: Candles) -> Sweeper:
    return Sweeper(candles, BASE, 0.1, execution=COSTS, workers=1, check_lookahead=False)


def searched_and_shuffled(candles: Candles, search: OptimizationConfig = SEARCH, **settings: Any) -> PermutationTest:
    return permutation_test(sweeper_of(candles), BASE, search, 19, **settings)


# The count, by hand.


class Scripted:
    """Workers whose shuffled markets are known beforehand: so much better (or worse) than 0 each."""

    name, workers = "threads", 1

    def __init__(self, values: Iterable[float]) -> None:
        self.values = list(values)
        self.asked = 0

    def share(self, value: Any) -> Any:
        return value

    def map(self, function: Any, shared: Any, tasks: Iterable[int]) -> Iterator[float]:
        for task in tasks:
            self.asked += 1
            yield self.values[task - 1]

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...


def counted(candles: Candles, permutations: int, script: str) -> tuple[PermutationTest, Scripted]:
    """A test whose nulls beat the real market at +, tie with it at =, stay below at -; the last one goes on."""
    real = searched_and_shuffled(candles).real
    values = [{"+": real + 1.0, "=": real, "-": real - 1.0, "0": -np.inf}[mark] for mark in script]
    workers = Scripted(values + values[-1:] * (permutations - len(values)))
    backend: Any = workers
    return permutation_test(sweeper_of(candles), BASE, SEARCH, permutations, backend=backend), workers


@pytest.mark.parametrize(
    ("permutations", "script", "runs", "p_value"),
    [
        (19, "-", 19, 1 / 20),
        (19, "+-", 19, 2 / 20),
        (19, "=-", 19, 2 / 20),  # as good as the real one is as good
        (19, "0-", 19, 1 / 20),  # a market without any result beats nothing
        (19, "++", 2, 2 / 2),
        (19, "+--+", 4, 2 / 4),
        (19, "+" + "-" * 16 + "+", 18, 2 / 18),
        (19, "-" * 17 + "++", 19, 3 / 20),  # the second one at the very end: nothing was stopped
        (39, "+++-", 39, 4 / 40),
        (39, "++++", 4, 4 / 4),
        (99, "+" * 9 + "-", 99, 10 / 100),
        (99, "-" * 40 + "+" * 10, 50, 10 / 50),
        (199, "+" * 19 + "-", 199, 20 / 200),
    ],
)
def test_the_p_value_by_hand(candles: Candles, permutations: int, script: str, runs: int, p_value: float) -> None:
    found, workers = counted(candles, permutations, script)
    assert len(found.nulls) == workers.asked == runs
    assert found.p_value == pytest.approx(p_value, rel=1e-15)
    assert found.stopped_early == (runs < permutations)
    assert found.planned == permutations


def test_an_early_stop_never_hides_a_verdict(candles: Candles) -> None:
    # Stopped with a tenth of the shuffles ahead, the whole count could only have been above 10 %.
    for permutations in (19, 39, 99, 199):
        enough = round(0.1 * (permutations + 1))
        assert counted(candles, permutations, "-" * 5 + "+" * enough)[0].stopped_early
        assert (1 + enough) / (1 + permutations) > 0.10
        assert not counted(candles, permutations, "+" * (enough - 1) + "-")[0].stopped_early


def test_it_is_told_as_it_goes_on(candles: Candles) -> None:
    told: list[tuple[int, int, int]] = []
    found = searched_and_shuffled(candles, on_permutation=lambda *counts: told.append(counts))
    assert [done for done, _, _ in told] == list(range(1, len(found.nulls) + 1))
    assert [beaten for _, beaten, _ in told] == np.cumsum(found.nulls >= found.real).tolist()
    assert {total for _, _, total in told} == {19}
    assert found.beaten == told[-1][1]


# Both sides.


def test_both_sides_are_what_the_optimizer_finds(candles: Candles, tmp_path: Path) -> None:
    found = searched_and_shuffled(candles)

    def best(market: Candles, name: str) -> float:
        config = SEARCH.replace(storage=str(tmp_path / name))
        settings: dict[str, Any] = {"execution": COSTS, "config": config, "check_lookahead": False}
        return optimize(market, BASE, 0.1, **settings).stages[-1].best_value

    assert found.real == best(candles, "real.sqlite")
    for number in (1, 2):
        random = np.random.default_rng(np.random.SeedSequence([SEARCH.seed, number]))
        assert found.nulls[number - 1] == best(shuffled(candles, random), f"{number}.sqlite")


def test_a_cost_is_compared_with_its_sign_turned(candles: Candles) -> None:
    found = searched_and_shuffled(candles, SEARCH.replace(objective="max_drawdown", min_trades=1))
    assert found.objective == "max_drawdown"
    assert found.real <= 0.0  # larger is better
    assert (found.nulls <= 0.0).all()


def test_a_shuffled_market_has_every_move_once_and_the_same_ends(candles: Candles) -> None:
    made = shuffled(candles, np.random.default_rng(3))
    assert made.synthetic
    assert (made.time == candles.time).all()
    assert made[0] == candles[0]
    for upper, lower in (("close", "open"), ("high", "open"), ("low", "open")):
        real = getattr(candles, upper)[1:] / getattr(candles, lower)[1:]
        mine = getattr(made, upper)[1:] / getattr(made, lower)[1:]
        assert np.sort(mine) == pytest.approx(np.sort(real), rel=1e-12)
        assert not np.allclose(mine, real)
    gaps = [np.sort(market.open[1:] / market.close[:-1]) for market in (made, candles)]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-12)
    assert made.close[-1] == pytest.approx(candles.close[-1], rel=1e-9)


def test_nights_stay_nights_in_a_market_with_sessions(market_data: Path) -> None:
    path = market_data / "kite_bse_RELIANCE_5m_20250825_20251015.parquet"
    candles = read_candles(path, exchange="BSE", symbol="RELIANCE")
    made = shuffled(candles, np.random.default_rng(3))
    night = np.diff(candles.time) > candles.timeframe.ms
    gaps = [market.open[1:] / market.close[:-1] for market in (candles, made)]
    assert 30 < night.sum() < 40
    for kind in (night, ~night):
        assert np.sort(gaps[1][kind]) == pytest.approx(np.sort(gaps[0][kind]), rel=1e-12)
    assert not np.allclose(gaps[0][night], gaps[1][night])


def test_the_same_seed_gives_the_same_test_and_another_seed_another_one(candles: Candles) -> None:
    once, again, other = (searched_and_shuffled(candles, SEARCH.replace(seed=seed)) for seed in (5, 5, 6))
    assert (once.real, once.nulls.tolist(), once.p_value) == (again.real, again.nulls.tolist(), again.p_value)
    assert once.nulls[0] != other.nulls[0]


def test_processes_change_nothing(candles: Candles) -> None:
    alone = searched_and_shuffled(candles)
    opened: Backend
    with open_backend("processes", 2) as opened:
        spread = searched_and_shuffled(candles, backend=opened)
    assert (spread.real, spread.nulls.tolist(), spread.p_value) == (alone.real, alone.nulls.tolist(), alone.p_value)


# What it is for.


def planted_test(candles: Candles) -> PermutationTest:
    sweeper = Sweeper(candles, Momentum(), 1.0, execution=FREE, workers=1, check_lookahead=False)
    return permutation_test(sweeper, Momentum(), PLANTED, 19)


def test_a_planted_edge_beats_every_shuffle_and_a_shuffled_market_does_not() -> None:
    market = planted_candles(4, 2000)
    found = planted_test(market)
    assert found.p_value == 1 / 20
    assert found.beaten == 0
    assert found.real > found.nulls.max()
    # The same market without its order: the edge is gone, and with it the result.
    empty = planted_test(shuffled(market, np.random.default_rng(11)))
    assert empty.p_value > 0.05
    assert empty.real < found.real


def test_a_market_without_a_trade_is_beaten_by_every_shuffle(candles: Candles) -> None:
    found = searched_and_shuffled(candles, SEARCH.replace(min_trades=10_000))
    assert found.real == -np.inf
    assert found.p_value == 1.0
    assert len(found.nulls) == 2
    said = found.to_dict()
    assert said["real"] is None
    assert said["nulls"] == [None, None]
    json.dumps(said, allow_nan=False)


def test_the_order_of_shuffled_bars_is_not_that_of_funding_or_detail(candles: Candles) -> None:
    fine = sample_candles("SAMPLE-BTC", "15M", datetime(2025, 1, 1), datetime(2025, 2, 20))
    rates = [(int(moment), 0.01) for moment in candles.time[::8]]
    sweeper = Sweeper(candles, BASE, 0.1, execution=COSTS, detail=fine, funding=rates, check_lookahead=False)
    with_both = permutation_test(sweeper, BASE, SEARCH, 19)
    assert with_both.real == searched_and_shuffled(candles).real
    assert with_both.nulls.tolist() == searched_and_shuffled(candles).nulls.tolist()


# What is refused, and how it ends.


@pytest.mark.parametrize("permutations", [18, 1, 0, -5, 19.0, True])
def test_fewer_than_19_permutations_can_show_nothing(candles: Candles, permutations: Any) -> None:
    with pytest.raises(ConfigError, match=f"{permutations} permutations cannot show a p-value of 5 %") as caught:
        permutation_test(sweeper_of(candles), BASE, SEARCH, permutations)
    assert "19 at least" in str(caught.value.hint)


def test_several_objectives_cannot_be_compared(candles: Candles) -> None:
    with pytest.raises(ConfigError, match="one objective; there are several"):
        searched_and_shuffled(candles, SEARCH.replace(objective=("sharpe_ratio", "max_drawdown")))
    assert (
        searched_and_shuffled(candles, SEARCH.replace(objective=("sharpe_ratio",))).real
        == searched_and_shuffled(candles).real
    )


_PROGRAM = """
from datetime import datetime
from barwise.backends import open_backend
from barwise.data.synthetic import sample_candles
from tests.test_permutation import BASE, SEARCH, sweeper_of
from barwise.validation.permutation import permutation_test

if __name__ == "__main__":
    candles = sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 2, 20))
    backend = open_backend("processes", 2)  # no `with`: whoever forgets it must not leave workers either
    search = SEARCH.replace(num_trials=600)
    permutation_test(
        sweeper_of(candles), BASE, search, 1999, backend=backend,
        on_permutation=lambda done, beaten, total: print(done, flush=True),
    )
"""


def processes_of(session: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state[0] != "Z" and int(state[3]) == session:
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(_PROGRAM)
    program = subprocess.Popen(
        [sys.executable, str(file)],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "1\n"
    assert len(processes_of(program.pid)) >= 3
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    for _ in range(600):
        if not processes_of(program.pid):
            break
        time.sleep(0.05)
    assert processes_of(program.pid) == []
    assert list(tmp_path.glob("barwise-*")) == []


def test_made_markets_have_the_identity_of_the_real_one(candles: Candles) -> None:
    made = shuffled(candles, np.random.default_rng(1))
    assert (made.exchange, made.symbol, made.timeframe) == (candles.exchange, candles.symbol, candles.timeframe)
    assert as_candles_like(candles, candles.bars).fingerprint != made.fingerprint
