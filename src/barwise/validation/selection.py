"""What the trials of a search say about the search: would its choice have been a good one elsewhere?

The bar returns of the trials, all over the same bars, are cut into blocks; the best of some blocks is looked at in the
others. Nothing is searched again: the trials are run once more for their returns, because the ledger keeps their sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.data.candles import Candles
from barwise.errors import ConfigError, DataError
from barwise.optimizer.evaluation import parameter_columns, replay
from barwise.optimizer.trials import StageResult
from barwise.stats.overfitting import PBO, probability_of_overfitting
from barwise.stats.reality_check import SPA, superior_predictive_ability
from barwise.stats.sharpe import effective_trials
from barwise.stats.splits import paths, purged_splits
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper
from barwise.timeframe import DAY_MS

T = TypeVar("T")

# More trials are thinned out evenly: a thousand tell the shares to a percent or two.
MOST_TRIALS = 1_000
# Trials of the quasi-random start, which was fixed before any was run; Hansen's test is only valid for such.
_MOST_FIXED = 256
_SPA_RESAMPLES = 500
# Cross-validation groups; 6 with 2 in the test give 15 splits and 5 paths.
_GROUPS, _TEST_GROUPS = 6, 2
_BLOCKS = 16
# An embargo of this share of the bars, or of the longest period of the strategy where that is longer.
_EMBARGO = 0.01


@dataclass(frozen=True, eq=False)
class Selection:
    """What the trials say.

    Attributes:
        trials: How many were looked at, of how many distinct ones.
        distinct: Distinct configurations of the search.
        pbo: Probability of backtest overfitting; None where the trials cannot be compared.
        path_sharpes: float64, annual Sharpe ratio of each combinatorial out-of-sample path; empty where there are none.
        spa: Hansen's test of the trials that were fixed beforehand; None where there are too few days or none varies.
        sharpe_variance: Variance over the trials of their Sharpe ratios per bar.
        effective_trials: Independent trials they are worth, by effective rank (Roy & Vetterli 2007); None where none
            varies.
    """

    trials: int
    distinct: int
    pbo: PBO | None
    path_sharpes: FloatArray
    spa: SPA | None
    sharpe_variance: float
    effective_trials: float | None

    def to_dict(self) -> dict[str, Any]:
        """The shares and p-values, as JSON takes them."""
        pbo, spa = self.pbo, self.spa
        return {
            "trials": self.trials,
            "distinct": self.distinct,
            "pbo": None if pbo is None else pbo.pbo,
            "probability_of_loss": None if pbo is None else pbo.probability_of_loss,
            "degradation_slope": None if pbo is None or np.isnan(pbo.slope) else pbo.slope,
            "splits": None if pbo is None else pbo.splits,
            "path_sharpes": self.path_sharpes.tolist(),
            "spa": None if spa is None else spa.p_consistent,
            "reality_check": None if spa is None else spa.reality_check,
            "sharpe_variance": self.sharpe_variance,
            "effective_trials": self.effective_trials,
        }


def judge_selection(sweeper: Sweeper, stages: Sequence[StageResult], seed: int) -> Selection:
    """Look at the trials of a search, all stages together, pruned ones too.

    Args:
        sweeper: What they were run on.
        stages: Of the search.
        seed: Of the bootstrap.
    """
    strategies, fixed = _distinct(stages)
    distinct = len(strategies)
    taken = np.unique(np.linspace(0, distinct - 1, min(distinct, MOST_TRIALS)).round().astype(np.int64))
    returns = sweeper.bar_returns(parameter_columns(sweeper.strategy, [strategies[row] for row in taken]))
    deviation = returns.std(axis=1, ddof=1)
    varies = deviation > 0.0
    ratios = returns[varies].mean(axis=1, dtype=np.float64) / deviation[varies]
    return Selection(
        trials=len(taken),
        distinct=distinct,
        pbo=_or_none(lambda: probability_of_overfitting(returns, _BLOCKS)),
        path_sharpes=_paths(sweeper, returns, stages[-1].config),
        spa=_spa(sweeper, [strategies[row] for row in fixed[:_MOST_FIXED]], seed),
        sharpe_variance=float(ratios.var(ddof=1)) if ratios.size > 1 else 0.0,
        effective_trials=effective_trials(returns[varies], "rank") if ratios.size > 1 else None,
    )


def _distinct(stages: Sequence[StageResult]) -> tuple[list[dict[str, Any]], IntArray]:
    """Every configuration once, as all its numbers by name; and which of them the search began with."""
    first = next((at for at, stage in enumerate(stages) if stage.tried), 0)
    found: dict[tuple[Any, ...], int] = {}
    values: list[dict[str, Any]] = []
    fixed: list[int] = []
    for at, stage in enumerate(stages):
        constant = {name: getattr(stage.space.strategy, name) for name in type(stage.space.strategy).model_fields}
        for point, batch in zip(stage.trials.points, stage.trials.batch, strict=True):
            own = constant | stage.space.values(point)
            key = tuple(own.values())
            row = found.setdefault(key, len(values))
            if row == len(values):
                values.append(own)
            if at == first and batch == 1:
                fixed.append(row)
    return values, np.unique(np.array(fixed, dtype=np.int64))


def _paths(sweeper: Sweeper, returns: Any, chosen: Strategy) -> FloatArray:
    """Annual Sharpe ratios of the paths of combinatorial purged cross-validation, choosing by the Sharpe ratio.

    The longest trade of the search's choice stands for how long trades are held: so many bars are purged.
    """
    bars = returns.shape[1]
    needs = max(sweeper.strategy.needed_bars().values(), default=0)
    embargo = max(round(_EMBARGO * bars), needs)
    purge = max((trade.bars_held for trade in replay(sweeper, chosen).trades), default=0)
    try:
        splits = purged_splits(bars, _GROUPS, _TEST_GROUPS, purge, embargo)
    except (DataError, ConfigError):  # too short to be cut; the other tests say so
        return np.empty(0)
    pieces = np.empty((len(splits), bars))
    for split, train in enumerate(splits.train):
        inside = returns[:, train]
        deviation = inside.std(axis=1)
        ratio = np.divide(inside.mean(axis=1), deviation, out=np.full(len(returns), -np.inf), where=deviation > 0.0)
        pieces[split] = returns[int(np.argmax(ratio))]
    joined = paths(splits, pieces)
    deviation = joined.std(axis=1, ddof=1)
    per_year = sweeper.candles.timeframe.bars_per_year(sweeper.candles.calendar)
    ratios: FloatArray = np.divide(joined.mean(axis=1), deviation, out=np.zeros(len(joined)), where=deviation > 0.0)
    ratios *= np.sqrt(per_year)
    return ratios


def _spa(sweeper: Sweeper, fixed: list[dict[str, Any]], seed: int) -> SPA | None:
    """Hansen's test on daily returns of the trials that were fixed before any was run, against doing nothing."""
    if len(fixed) < 2:
        return None
    returns = sweeper.bar_returns(parameter_columns(sweeper.strategy, fixed))
    daily = _by_day(sweeper.candles, returns)
    return _or_none(lambda: superior_predictive_ability(daily, resamples=_SPA_RESAMPLES, seed=seed))


def _by_day(candles: Candles, returns: Any) -> FloatArray:
    """Bar returns summed by local day, float64 [rows, days]."""
    time = candles.time[len(candles) - returns.shape[1] :]
    day = (time + candles.calendar.utc_offset_ms) // DAY_MS
    first = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    summed: FloatArray = np.add.reduceat(returns.astype(np.float64), first, axis=1)
    return summed


def _or_none(compute: Callable[[], T]) -> T | None:
    """A statistic, or None where the data are too few for it."""
    try:
        return compute()
    except DataError:
        return None
