"""The permutation test of the whole search: how often does the same search find as much where nothing is to be found?

The bars of the market are shuffled: every move is still there, their order is not, so no rule that reads the past has
an edge. The same search, with the same budget, is run on each shuffled market. If the real market's best is no better
than what comes out of them, it is what searching alone finds. No formula has to guess how many trials there were, how
alike they are, how the search adapted, how fat the tails are or what the costs do: all of it is in the shuffled
searches too. The p-value is exact where bars are exchangeable (Masters 2018; Besag & Clifford 1991 for the early stop).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np

from barwise.backends import Backend
from barwise.config import OptimizationConfig
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.errors import ConfigError
from barwise.optimizer.objective import Objective
from barwise.optimizer.search import evaluator_of, search_all_stages
from barwise.stats.resampling import as_candles_like, permuted_bars, session_labels
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper

# The test ends when this share of the planned shuffles has beaten the real market: then p is above it, come what may.
_ENOUGH = 0.1
# The smallest p-value is 1 / (permutations + 1).
LEAST_PERMUTATIONS = 19


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """What the test found.

    Attributes:
        objective: Name of what was compared.
        real: Best value of the search on the real market, larger is better.
        nulls: float64, the best of each shuffled market, in order; -inf where no trial kept the guards.
        planned: Shuffles that were planned; fewer nulls than that mean an early stop.
        p_value: (1 + nulls as good as the real one) / (1 + nulls); after an early stop, the share of nulls as good.
        seconds: Wall time.
    """

    objective: str
    real: float
    nulls: FloatArray
    planned: int
    p_value: float
    seconds: float

    @property
    def beaten(self) -> int:
        """Shuffled markets whose best is at least the real one's."""
        return int((self.nulls >= self.real).sum())

    @property
    def stopped_early(self) -> bool:
        return len(self.nulls) < self.planned

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it; a null without a result is None."""
        return {
            "objective": self.objective,
            "real": _finite(self.real),
            "nulls": [_finite(value) for value in self.nulls.tolist()],
            "planned": self.planned,
            "beaten": self.beaten,
            "stopped_early": self.stopped_early,
            "p_value": self.p_value,
            "seconds": self.seconds,
        }


class Journal(Protocol):
    """Keeps the nulls one by one, so that a test that was ended goes on after the last of them."""

    @property
    def values(self) -> Sequence[float]:
        """Those that are there, in order."""

    def append(self, value: float) -> None:
        """Keep one more."""


class _Market(NamedTuple):
    """What a worker needs to search a shuffled market."""

    candles: Candles
    strategy: Strategy
    quantity: float
    execution: Any
    search: OptimizationConfig


def permutation_test(
    sweeper: Sweeper,
    strategy: Strategy,
    search: OptimizationConfig,
    permutations: int,
    *,
    backend: Backend | None = None,
    on_permutation: Callable[[int, int, int], None] | None = None,
    journal: Journal | None = None,
) -> PermutationTest:
    """Test a search against shuffled markets.

    Detail candles and funding belong to the order of the real bars, so neither side of the test uses them.

    Args:
        sweeper: The real market, rules and costs.
        strategy: Where every search starts.
        search: The search, the same on both sides; its seed also draws the shuffles.
        permutations: Shuffled markets, at most; the smallest p-value is 1 / (permutations + 1).
        backend: Workers that search markets side by side.
        on_permutation: Told after each: how many are done, how many were as good as the real one, how many are planned.
        journal: Keeps the nulls of this very test; those it has are not searched again.

    Raises:
        ConfigError: Fewer than 19 permutations, which cannot show a p-value of 5 %, or several objectives.
    """
    checked_permutations(permutations)
    if len(search.objectives) > 1:
        raise ConfigError("a permutation test compares one objective; there are several.", hint="name one objective.")
    started = perf_counter()
    market = _Market(sweeper.candles, strategy, sweeper.quantity, sweeper.execution, search)
    real = best_found(market, sweeper.threads)
    known = [] if journal is None else list(journal.values)[:permutations]
    tasks = range(1 + len(known), permutations + 1)
    found: Iterator[float] = map(partial(_best_of_shuffled, market), tasks)
    if backend is not None:
        found = backend.map(_best_of_shuffled, backend.share(market), tasks)
    enough = max(1, round(_ENOUGH * (permutations + 1)))
    nulls: list[float] = []
    beaten = 0
    for value in chain(known, found):
        nulls.append(value)
        beaten += value >= real
        if journal is not None and len(nulls) > len(known):
            journal.append(value)
        if on_permutation is not None:
            on_permutation(len(nulls), beaten, permutations)
        if beaten >= enough:
            break
    early = len(nulls) < permutations
    p_value = beaten / len(nulls) if early else (1 + beaten) / (1 + len(nulls))
    objective = Objective.of(search.objective).label
    return PermutationTest(objective, real, np.array(nulls), permutations, p_value, perf_counter() - started)


def checked_permutations(permutations: Any) -> int:
    """A number of shuffled markets that can show a p-value of 5 %.

    Raises:
        ConfigError: It is no whole number, or below 19.
    """
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < LEAST_PERMUTATIONS:
        raise ConfigError(
            f"{permutations!r} permutations cannot show a p-value of 5 %.",
            hint=f"use {LEAST_PERMUTATIONS} at least, better 99.",
        )
    return permutations


def best_found(market: _Market, workers: int = 1) -> float:
    """First objective (larger is better) of the best the search finds; -inf where no trial keeps the guards."""
    search = market.search
    sweeper = Sweeper(
        market.candles, market.strategy, market.quantity, execution=market.execution, workers=workers,
        check_lookahead=False,
    )  # fmt: skip
    value = -np.inf
    for found in search_all_stages(evaluator_of(sweeper, search, None), market.strategy, search, ""):
        if found.trials.violation[found.chosen] == 0.0:
            value = float(found.trials.values[found.chosen, 0])
    return value


def _best_of_shuffled(market: _Market, number: int) -> float:
    """The best the search finds on shuffle `number`."""
    random = np.random.default_rng(np.random.SeedSequence([market.search.seed, number]))
    return best_found(market._replace(candles=shuffled(market.candles, random)))


def shuffled(candles: Candles, random: np.random.Generator) -> Candles:
    """The candles with their gaps and bodies in random order; see `stats.resampling.permuted_bars`."""
    session = None
    if not candles.calendar.always_open:
        session = session_labels(candles.time, candles.timeframe.ms)
    bars = permuted_bars(
        candles.open, candles.high, candles.low, candles.close, candles.volume, random,
        quote_volume=candles.quote_volume, session=session,
    )  # fmt: skip
    return as_candles_like(candles, bars)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
