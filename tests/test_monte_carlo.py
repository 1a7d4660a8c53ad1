"""Monte Carlo against what can be worked out without it: all orders, all samples and all paths of small inputs."""

import json
import tracemalloc
from collections.abc import Callable
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barwise.core.curve import drawdown_curve
from barwise.core.layout import FloatArray
from barwise.errors import BarwiseError, ConfigError, DataError
from barwise.stats import monte_carlo
from barwise.stats.monte_carlo import (
    Distribution,
    Paths,
    bootstrap_paths,
    missed_fills,
    reshuffled_trades,
)

MONEY = st.floats(-1_000, 1_000).map(lambda value: round(value, 2))


def column(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float64)


def within(sampled: float, exact: float, deviation: float, samples: int) -> bool:
    """Whether a mean of samples is as near to the exact one as chance allows, five standard errors."""
    return bool(abs(sampled - exact) <= 5.0 * deviation / np.sqrt(samples) + 1e-9)


# -- Reshuffled trades -------------------------------------------------------------------------------------------------


def test_three_trades_in_all_six_orders() -> None:
    # From 100:  +30 -10 -20: 130 -> 100          30 money, 23.08 %      -10 +30 -20: 90, 120 -> 100    20, 16.67 %
    #            +30 -20 -10: the same            30 money, 23.08 %      -20 +30 -10: 80, 110 -> 100    20, 20.00 %
    #            -10 -20 +30, -20 -10 +30: 100 -> 70                     30 money, 30.00 %
    samples = 60_000
    found = reshuffled_trades(column(30, -10, -20), 100.0, samples, seed=3)
    assert found.final_equity == 100.0
    assert found.observed_drawdown == pytest.approx(3_000 / 130)
    assert found.observed_drawdown_money == 30.0
    quantiles = {1: 100 / 6, 5: 100 / 6, 25: 20.0, 50: 3_000 / 130, 75: 30.0, 95: 30.0, 99: 30.0}
    assert found.drawdown.percentiles == pytest.approx(quantiles)
    assert found.drawdown.minimum == pytest.approx(100 / 6)
    assert found.drawdown.maximum == pytest.approx(30.0)
    assert within(found.worse, 100 / 3, 100 * np.sqrt(2) / 3, samples)
    assert found.worse_money == 0.0  # as deep as the real one is not worse, also where sums differ in the last digit
    assert found.drawdown_money.mean is not None
    assert within(found.drawdown_money.mean, 80 / 3, 10 * np.sqrt(2) / 3, samples)
    shares = [count / samples for count in found.drawdown_money.counts if count]
    assert shares == pytest.approx([1 / 3, 2 / 3], abs=0.01)


def test_the_drawdowns_are_those_of_all_orders_of_six_trades() -> None:
    net, capital, samples = column(12.5, -40, 7, -3, 55, -20), 90.0, 20_000
    exact = np.array([drawdown_curve(capital + np.cumsum(order), capital).max() for order in permutations(net)])
    found = reshuffled_trades(net, capital, samples, seed=1)
    assert found.drawdown.mean is not None
    assert within(found.drawdown.mean, exact.mean(), exact.std(), samples)
    assert found.drawdown.minimum == pytest.approx(exact.min())
    assert found.drawdown.maximum == pytest.approx(exact.max())
    real = drawdown_curve(capital + np.cumsum(net), capital).max()
    assert found.observed_drawdown == pytest.approx(real)
    share = np.mean(exact > real + 1e-9)
    assert within(found.worse, 100 * share, 100 * np.sqrt(share * (1 - share)), samples)


@settings(max_examples=60, deadline=None)
@given(net=st.lists(MONEY, min_size=1, max_size=30), seed=st.integers(0, 1_000))
def test_a_drawdown_lies_between_the_largest_loss_and_the_sum_of_losses(net: list[float], seed: int) -> None:
    capital = 50_000.0
    found = reshuffled_trades(np.array(net), capital, 50, seed)
    losses = [-value for value in net if value < 0]
    low, high = found.drawdown_money.minimum, found.drawdown_money.maximum
    assert low is not None
    assert high is not None
    assert max(losses, default=0.0) - 1e-6 <= low <= high <= sum(losses) + 1e-6
    assert max(losses, default=0.0) - 1e-6 <= found.observed_drawdown_money <= sum(losses) + 1e-6
    assert found.final_equity == pytest.approx(capital + sum(net))
    assert sum(found.drawdown.counts) == found.drawdown.samples == 50


def test_losses_in_a_row_are_the_worst_order_and_alternation_is_nearly_the_best() -> None:
    row = reshuffled_trades(column(*[10.0] * 20, *[-9.0] * 20), 1_000.0, 2_000)
    turns = reshuffled_trades(column(*[10.0, -9.0] * 20), 1_000.0, 2_000)
    assert row.worse_money == 0.0
    assert turns.worse_money > 99.0
    assert row.final_equity == turns.final_equity == 1_020.0


def test_the_worst_order_has_no_worse_one_whatever_the_rounding_of_its_sums() -> None:
    sums = set()
    for losses in permutations((-0.1, -0.2, -0.3, -0.7)):
        found = reshuffled_trades(column(1.0, *losses), 1.7, 200)
        sums.add(found.observed_drawdown_money)
        assert found.worse_money == 0.0
    assert len(sums) > 1  # 1.3, but not always to the last digit


def test_more_than_everything_can_be_lost_on_paper() -> None:
    found = reshuffled_trades(column(-80, -80), 100.0, 10)
    assert found.final_equity == -60.0
    assert found.observed_drawdown == pytest.approx(160.0)


# -- Paths -------------------------------------------------------------------------------------------------------------


def exact_paths(returns: FloatArray, block: float) -> tuple[FloatArray, FloatArray]:
    """All paths of the stationary bootstrap, [n**n, n], and their chances, from its definition."""
    n = len(returns)
    paths, chances = [], []
    for rows in product(range(n), repeat=n):
        chance = 1.0 / n
        for before, now in pairwise(rows):
            chance *= (1.0 / block) / n + (1.0 - 1.0 / block) * (now == (before + 1) % n)
        paths.append(returns[list(rows)])
        chances.append(chance)
    assert sum(chances) == pytest.approx(1.0)
    return np.array(paths), np.array(chances)


@pytest.mark.parametrize("block", [1.0, 2.5, 40.0])
def test_paths_have_the_chances_of_the_stationary_bootstrap(block: float) -> None:
    returns, samples = column(0.10, -0.20, 0.05, 0.02), 20_000
    paths, chances = exact_paths(returns, block)
    equity = np.cumprod(1.0 + paths, axis=1)
    deepest = np.array([drawdown_curve(path, 1.0).max() for path in equity])
    deviations = paths.std(axis=1, ddof=1)
    found = bootstrap_paths(
        returns, block=block, resamples=samples, seed=2, bars_per_year=365.0, ruin_below=0.8, keep=5
    )

    def agree(sampled: float | None, exact: Any, weights: FloatArray = chances) -> None:
        mean = float(np.average(exact, weights=weights))
        deviation = float(np.sqrt(np.average((exact - mean) ** 2, weights=weights)))
        assert sampled is not None
        assert within(sampled, mean, deviation, samples)

    agree(found.final_return.mean, 100 * (equity[:, -1] - 1))
    agree(found.max_drawdown.mean, deepest)
    agree(found.loss_probability, 100.0 * (equity[:, -1] < 1))
    agree(found.ruin_probability, 100.0 * (equity.min(axis=1) <= 0.8))
    varies = deviations > 1e-12
    ratios = paths[varies].mean(axis=1) / deviations[varies] * np.sqrt(365.0)
    agree(found.sharpe_ratio.mean, ratios, chances[varies])
    agree(found.sharpe_ratio.undefined / samples, (~varies).astype(float))
    assert found.final_return.undefined == 0


def test_the_fan_begins_at_one_ends_at_the_final_return_and_has_the_points_asked_for() -> None:
    returns = 0.01 * np.random.default_rng(0).standard_normal(1_000)
    found = bootstrap_paths(returns, block=20, resamples=300, keep=11)
    assert found.points == (0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000)
    assert list(found.fan) == [5, 25, 50, 75, 95]
    for percent, line in found.fan.items():
        assert (len(line), line[0]) == (11, 1.0)
        assert line[-1] == pytest.approx(1 + found.final_return.percentiles[percent] / 100)
    lines = np.array(list(found.fan.values()))
    assert (np.diff(lines[:, 1:], axis=0) > 0).all()
    assert found.observed[0] == 1.0
    assert found.observed[1] == pytest.approx(np.prod(1 + returns[:100]))
    assert found.observed[-1] == pytest.approx(np.prod(1 + returns))
    assert len(bootstrap_paths(returns, block=20, resamples=2).points) == 201
    assert bootstrap_paths(returns[:3], block=1, resamples=2).points == (0, 1, 2, 3)


def test_a_path_that_loses_everything_stays_at_nothing() -> None:
    samples = 20_000
    found = bootstrap_paths(column(-1.5, 0.1), block=1, resamples=samples, seed=4, ruin_below=0.0)
    # Two draws out of two: one path in four never meets the ruin, and makes 21 %.
    assert within(found.ruin_probability, 75.0, 43.3, samples)
    assert found.loss_probability == found.ruin_probability
    assert found.final_return.minimum == -100.0
    assert found.final_return.maximum == pytest.approx(21.0)
    assert found.max_drawdown.maximum == 100.0
    assert found.observed == (1.0, 0.0, 0.0)


def test_blocks_keep_losses_together_and_drawdowns_deep() -> None:
    rng = np.random.default_rng(1)
    regime = np.repeat(rng.permutation([0.002, -0.002] * 20), 50)
    returns = regime + 0.005 * rng.standard_normal(len(regime))
    apart, together = (bootstrap_paths(returns, block=block, resamples=400) for block in (1, 100))
    assert together.max_drawdown.percentiles[50] > 1.4 * apart.max_drawdown.percentiles[50]


def test_idle_returns_have_no_sharpe_ratio_and_no_drawdown() -> None:
    found = bootstrap_paths(np.zeros(50), block=5, resamples=20)
    assert (found.sharpe_ratio.samples, found.sharpe_ratio.undefined) == (0, 20)
    assert found.sharpe_ratio.mean is None
    assert found.max_drawdown.maximum == 0.0
    assert found.loss_probability == 0.0
    assert found.final_return.counts == (20,)
    constant = bootstrap_paths(np.full(50, 0.001), block=5, resamples=20)
    assert constant.sharpe_ratio.undefined == 20
    assert constant.final_return.mean == pytest.approx(100 * (1.001**50 - 1))


def test_paths_agree_with_the_bootstrap_of_arch() -> None:
    arch = pytest.importorskip("arch.bootstrap", reason="arch is the oracle here")
    rng = np.random.default_rng(3)
    returns = 0.002 + 0.01 * np.convolve(rng.standard_normal(407), np.ones(8) / np.sqrt(8), mode="valid")
    found = bootstrap_paths(returns, block=30, resamples=3_000, seed=5)
    drawn = arch.StationaryBootstrap(30, returns, seed=np.random.default_rng(6))
    other = drawn.apply(
        lambda values: np.array([100 * (np.prod(1 + values) - 1), drawdown_curve(np.cumprod(1 + values), 1.0).max()]),
        3_000,
    )
    for mine, theirs in zip((found.final_return, found.max_drawdown), other.T, strict=True):
        assert mine.mean is not None
        # Two samples of 3,000: five standard errors of their difference.
        assert abs(mine.mean - theirs.mean()) < 5 * theirs.std() * np.sqrt(2 / 3_000)
        assert mine.percentiles[95] == pytest.approx(np.percentile(theirs, 95), rel=0.08)


# -- Missed fills ------------------------------------------------------------------------------------------------------


def test_four_trades_missed_in_all_sixteen_ways() -> None:
    net, share, samples = column(10, -5, 20, 1), 0.25, 40_000
    ways = np.array(list(product((0, 1), repeat=4)))
    chances = np.prod(np.where(ways, 1 - share, share), axis=1)
    results = ways @ net
    found = missed_fills(net, share, samples, seed=1)
    assert found.net_pnl == 26.0
    assert found.missed_share == 25.0
    assert found.result.mean is not None
    assert within(found.result.mean, 0.75 * 26, np.sqrt(share * (1 - share) * (net**2).sum()), samples)
    loses = float(chances[results < 0].sum())
    assert within(found.loss_probability, 100 * loses, 100 * np.sqrt(loses * (1 - loses)), samples)
    assert (found.result.minimum, found.result.maximum) == (-5.0, 31.0)
    assert found.without_best == 6.0  # one of four is missed, and it is the 20


@pytest.mark.parametrize(("share", "result", "without_best"), [(0.0, 26.0, 26.0), (1.0, 0.0, 0.0)])
def test_nothing_or_everything_is_missed(share: float, result: float, without_best: float) -> None:
    found = missed_fills(column(10, -5, 20, 1), share, 100)
    assert (found.result.minimum, found.result.maximum, found.without_best) == (result, result, without_best)


def test_the_number_of_best_trades_missed_is_rounded_up_but_not_by_a_rounding_error() -> None:
    net = np.arange(1.0, 101.0)
    assert missed_fills(net, 0.29, 1).without_best == net[:71].sum()  # 0.29 * 100 is 28.999999999999996
    assert missed_fills(net, 0.07, 1).without_best == net[:93].sum()  # 0.07 * 100 is 7.000000000000001
    assert missed_fills(net, 0.075, 1).without_best == net[:92].sum()


# -- All of them -------------------------------------------------------------------------------------------------------

EVERY: dict[str, Callable[..., Any]] = {
    "reshuffled_trades": lambda **more: reshuffled_trades(column(5, -3, 2, -4, 1), 100.0, **more),
    "bootstrap_paths": lambda **more: bootstrap_paths(column(0.01, -0.02, 0.03, 0.0), block=2, **more),
    "missed_fills": lambda **more: missed_fills(column(5, -3, 2, -4, 1), 0.4, **more),
}
every = pytest.mark.parametrize("simulate", EVERY.values(), ids=EVERY)


@every
def test_equal_seeds_give_equal_results_and_others_do_not(simulate: Callable[..., Any]) -> None:
    one = simulate(resamples=200, seed=5)
    assert one == simulate(resamples=200, seed=5)
    assert one != simulate(resamples=200, seed=6)


def test_one_seed_gives_each_simulation_random_numbers_of_its_own() -> None:
    firsts = {monte_carlo._generator(0, stream).random() for stream in range(3)}
    assert len(firsts) == 3


@every
def test_every_result_is_plain_json_with_finite_numbers(simulate: Callable[..., Any]) -> None:
    found = simulate(resamples=np.int64(50), seed=np.int64(0)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("name", ["reshuffled_trades", "missed_fills"])
def test_the_size_of_a_chunk_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = EVERY[name](resamples=101, seed=1)
    monkeypatch.setattr(monte_carlo, "_CHUNK", 12)
    assert EVERY[name](resamples=101, seed=1) == whole


@pytest.mark.parametrize("name", ["reshuffled_trades", "bootstrap_paths", "missed_fills"])
def test_memory_does_not_grow_with_the_product_of_length_and_resamples(name: str) -> None:
    values = 0.001 * np.random.default_rng(0).standard_normal(60_000)
    simulate: dict[str, Callable[[], Any]] = {
        "reshuffled_trades": lambda: reshuffled_trades(values, 1.0, 300),
        "bootstrap_paths": lambda: bootstrap_paths(values, block=50, resamples=300),
        "missed_fills": lambda: missed_fills(values, 0.1, 300),
    }
    tracemalloc.start()
    try:
        simulate[name]()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80 * 2**20  # 300 samples of 60,000 float64 at once are 137 MiB, and no array comes alone


def test_a_distribution_leaves_out_what_is_undefined_and_bins_what_hardly_differs() -> None:
    found = Distribution.of(column(1.0, float("nan"), 3.0, float("inf")))
    assert (found.samples, found.undefined, found.mean) == (2, 2, 2.0)
    assert (found.counts[0], found.counts[-1], found.edges[0], found.edges[-1]) == (1, 1, 1.0, 3.0)
    assert Distribution.of(column(1e9, 1e9 + 1e-6, 1e9)).counts == (3,)
    assert Distribution.of(column(float("nan"))).to_dict()["percentiles"] == {}


REFUSED: dict[str, tuple[type[BarwiseError], str, Callable[[], Any]]] = {
    "no trades": (DataError, r"net_pnl has shape \(0,\)", lambda: reshuffled_trades(column(), 100.0)),
    "no trades to miss": (DataError, r"net_pnl has shape \(0,\)", lambda: missed_fills(column(), 0.1)),
    "a result that is none": (
        DataError,
        r"net_pnl\[1\] is nan",
        lambda: reshuffled_trades(column(1, float("nan")), 100.0),
    ),
    "a table": (DataError, r"shape \(2, 2\)", lambda: missed_fills(np.ones((2, 2)), 0.1)),
    "no capital": (ConfigError, r"capital is 0\.0", lambda: reshuffled_trades(column(1), 0.0)),
    "no resamples": (ConfigError, "resamples is 0", lambda: missed_fills(column(1), 0.1, 0)),
    "half a resample": (ConfigError, r"resamples is 1\.5", lambda: reshuffled_trades(column(1), 1.0, 1.5)),  # type: ignore[arg-type]
    "a negative seed": (ConfigError, "seed is -1", lambda: reshuffled_trades(column(1), 1.0, 10, -1)),
    "a share in percent": (ConfigError, r"share is 5\.0", lambda: missed_fills(column(1), 5.0)),
    "one return": (DataError, r"bar_returns has shape \(1,\)", lambda: bootstrap_paths(column(0.1), block=1)),
    "no block": (ConfigError, r"block is 0\.5", lambda: bootstrap_paths(column(0.1, 0.2), block=0.5)),
    "one point": (ConfigError, "keep is 1", lambda: bootstrap_paths(column(0.1, 0.2), block=1, keep=1)),
    "no year": (ConfigError, "bars_per_year is 0", lambda: bootstrap_paths(column(0.1, 0.2), block=1, bars_per_year=0)),
    "ruin in percent": (ConfigError, "ruin_below is 50", lambda: bootstrap_paths(column(0, 1), block=1, ruin_below=50)),
    "too much to keep": (
        ConfigError,
        "20,100,000 values",
        lambda: bootstrap_paths(np.zeros(1_000), block=1, resamples=100_000),
    ),
    "percent taken for fractions": (
        DataError,
        "compound beyond what a float can hold",
        lambda: bootstrap_paths(np.full(2_000, 1.5), block=1, resamples=2),
    ),
}


@pytest.mark.parametrize(("kind", "message", "call"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(
    kind: type[BarwiseError], message: str, call: Callable[[], Paths]
) -> None:
    with pytest.raises(kind, match=message):
        call()
