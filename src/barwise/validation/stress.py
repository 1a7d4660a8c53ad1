"""What is left when the world is less kind: higher costs, a late entry, missed trades, slightly other parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core.layout import Bars, FloatArray
from barwise.costs import FeeSchedule
from barwise.optimizer.evaluation import parameter_columns, replay
from barwise.optimizer.space import Space
from barwise.strategy.base import Plan, Strategy
from barwise.sweeping import Sweeper
from barwise.validation.walk_forward import WalkForwardResult

FACTORS = (1.5, 2.0, 3.0)
# Shares by which every parameter may be off, and how many such configurations are tried for each.
JITTERS, _JITTERED = (0.05, 0.10), 200
_RATES = (
    "buy_maker", "buy_taker", "sell_maker", "sell_taker", "buy_order_flat", "buy_order_rate", "sell_order_flat",
    "sell_order_rate",
)  # fmt: skip
# A schedule refuses rates of a tenth and more, as percentages by mistake.
_HIGHEST_FEE = 0.0999


@dataclass(frozen=True)
class Scenario:
    """One unkind world: what the pieces of a walk-forward, or one backtest, would have made in it."""

    name: str
    net_pnl: float
    trades: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return vars(self).copy()


@dataclass(frozen=True)
class Jitter:
    """The neighbourhood of one configuration: every searched parameter off by up to a share of itself, at random.

    Attributes:
        share: How far off, as a fraction.
        tried: Configurations.
        profitable: Share of them with a net profit.
        median, worst_decile: Of their annual Sharpe ratios.
    """

    share: float
    tried: int
    profitable: float
    median: float
    worst_decile: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return vars(self).copy()


def stressed(sweeper: Sweeper, pieces: Sequence[tuple[Strategy, int, int]]) -> list[Scenario]:
    """Net results of some pieces in worlds with higher costs or late entries.

    Args:
        sweeper: Candles, rules and costs.
        pieces: (strategy, first signal bar, one past the last one) each. Every piece starts from the sweeper's capital,
            so that the sums can be compared.
    """
    execution, fees = sweeper.execution, sweeper.fees
    worlds: list[tuple[str, ExecutionConfig, bool]] = [("as it was", execution, False)]
    worlds += [
        (f"slippage x {factor:g}", execution.replace(slippage=min(0.5, execution.slippage * factor)), False)
        for factor in FACTORS
    ]
    worlds += [(f"fees x {factor:g}", with_fees(execution, fees, factor), False) for factor in FACTORS]
    worlds.append(("entry one bar later", execution, True))
    found = []
    for name, costs, late in worlds:
        results = [
            replay(sweeper, delayed(strategy) if late else strategy, first, stop, costs)
            for strategy, first, stop in pieces
        ]
        found.append(
            Scenario(name, sum(result.net_pnl for result in results), sum(result.total_trades for result in results))
        )
    return found


def pieces_of(walked: WalkForwardResult) -> list[tuple[Strategy, int, int]]:
    """The stitched pieces of a walk-forward, to run again."""
    return [(piece.strategy, piece.trade_from, len(piece.candles)) for piece in walked.pieces]


def with_fees(execution: ExecutionConfig, fees: FeeSchedule, factor: float) -> ExecutionConfig:
    """The same settings with every fee multiplied."""
    scaled = {name: getattr(fees, name) * factor for name in _RATES}
    scaled |= {name: min(_HIGHEST_FEE, scaled[name]) for name in _RATES[:4]}
    scaled_fees = FeeSchedule(f"fees x {factor:g}", **scaled)
    return execution.replace(fees=scaled_fees, maker_fee=None, taker_fee=None)


def delayed(strategy: Strategy) -> Strategy:
    """The same strategy with every signal one bar late, exits too."""
    kind = type(strategy)

    def plan(self: Strategy, bars: Bars) -> Plan:
        own = kind.plan(self, bars)
        late = [np.concatenate([np.zeros(1, np.int8), column[:-1]]) for column in (own.entry, own.exit)]
        return own._replace(entry=late[0], exit=late[1])

    late_kind = type(f"Delayed{kind.__name__}", (kind,), {"plan": plan, "__module__": kind.__module__})
    return late_kind(**{name: getattr(strategy, name) for name in strategy.model_fields_set})  # type: ignore[no-any-return]


def jittered(sweeper: Sweeper, strategy: Strategy, share: float, seed: int, fixed: Sequence[str] = ()) -> Jitter:
    """How a configuration does when every searched parameter is off by up to `share` of itself.

    A whole number may always be one off: it has no nearer neighbour.

    Raises:
        DataError: Too few bars for a neighbour.
    """
    space = Space(strategy, "joint", width=share, fixed=fixed)
    # A search moves each real value by a step at least, which can be more than the share.
    reals = [dimension for dimension in space.dimensions if not dimension.integer]
    ranges = {real.name: (real.base - share * abs(real.base), real.base + share * abs(real.base)) for real in reals}
    space = Space(strategy, "joint", width=share, ranges=ranges, fixed=fixed)
    random = np.random.default_rng(seed)
    points = space.valid(space.from_unit(random.random((_JITTERED, len(space.names)))))
    values = [
        {name: getattr(strategy, name) for name in type(strategy).model_fields} | space.values(point)
        for point in points
    ]
    swept = sweeper.sweep(parameter_columns(sweeper.strategy, values))
    ratios: FloatArray = swept.metrics["sharpe_ratio"]
    return Jitter(
        share,
        len(points),
        float((swept.metrics["net_pnl"] > 0.0).mean()),
        float(np.median(ratios)),
        float(np.quantile(ratios, 0.1)),
    )
