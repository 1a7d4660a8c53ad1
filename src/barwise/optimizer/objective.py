"""What a search maximises: reported metrics, to the bit, and the guards a result must keep to count.

A guard that is broken is no score of minus something: a row has a score and, beside it, how far it breaks the guards.
Rows that keep them come first, and among those that do not, the one that is nearest to keeping them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.errors import BacktestError, ConfigError, did_you_mean

# What people call them; every other metric of a sweep goes by its own name.
_ALIASES = {
    "sharpe": "sharpe_ratio",
    "sortino": "sortino_ratio",
    "calmar": "calmar_ratio",
    "omega": "omega_ratio",
    "pnl": "net_pnl",
    "net_profit": "net_pnl",
    "return": "total_return",
    "drawdown": "max_drawdown",
    "trades": "total_trades",
}
# Metrics of which less is better; all others are maximised.
_COSTS = frozenset(
    {"max_drawdown", "fees", "slippage", "funding", "volatility", "ambiguous_trades", "losing_trades", "turnover_ratio"}
)
_METRICS = (
    "sharpe_ratio", "sortino_ratio", "calmar_ratio", "profit_factor", "net_pnl", "expectancy", "expectancy_r", "sqn",
    "omega_ratio", "recovery_factor", "total_return", "cagr", "win_rate", "total_trades", "max_drawdown", "fees",
    "slippage", "funding", "volatility", "ambiguous_trades", "losing_trades", "turnover_ratio",
)  # fmt: skip
# A row without a trade has no result at all, whatever the guards: it ranks behind every row that broke one.
_NO_TRADE, _RUINED = 1e6, 1e3

UserFunction = Callable[[Any], float]


class Scored(NamedTuple):
    """Scores of n rows.

    Attributes:
        reported: float64 [n, objectives], as reports show the metric; NaN where a user's function gave none.
        values: The same with its sign changed where less is better: larger is better.
        violation: float64 [n]; 0 where all guards are kept.
    """

    reported: FloatArray
    values: FloatArray
    violation: FloatArray


@dataclass(frozen=True)
class Objective:
    """One metric or several, and guards.

    Attributes:
        names: Metrics of `SweepResult.metrics`, or the name of the user's function.
        min_trades: Fewer trades break the guard; at a rung its share of them.
        max_drawdown: Percent; a deeper drawdown breaks the guard; None = no guard.
        function: The user's function of a BacktestResult, larger is better; then it is the only objective.
    """

    names: tuple[str, ...]
    min_trades: int = 0
    max_drawdown: float | None = None
    function: UserFunction | None = None

    @classmethod
    def of(
        cls, wanted: "str | Sequence[str] | UserFunction", min_trades: int = 0, max_drawdown: float | None = None
    ) -> "Objective":
        """An objective by name, by several names, or by a function of the result.

        Raises:
            ConfigError: An unknown or repeated name.
        """
        if callable(wanted):
            name = getattr(wanted, "__name__", type(wanted).__name__)
            return cls((name,), min_trades, max_drawdown, wanted)
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        found = tuple(_metric(name) for name in names)
        if not found or len(set(found)) < len(found):
            raise ConfigError(
                f"an objective is one metric or several different ones; got {', '.join(map(str, names)) or 'none'}."
            )
        return cls(found, min_trades, max_drawdown)

    @property
    def directions(self) -> tuple[str, ...]:
        """For each name "maximize" or "minimize"."""
        return tuple("minimize" if name in _COSTS else "maximize" for name in self.names)

    @property
    def label(self) -> str:
        """All names in one word, as the ledger keeps it."""
        return "+".join(self.names)

    def score(self, metrics: Mapping[str, Any], share: float = 1.0, reported: FloatArray | None = None) -> Scored:
        """Scores of the rows of a sweep.

        Args:
            metrics: Columns of `SweepResult.metrics`.
            share: Of the bars the rows have seen; the least number of trades shrinks with it.
            reported: What the user's function gave for each row, where there is one.
        """
        if reported is None:
            reported = np.stack([np.asarray(metrics[name], dtype=np.float64) for name in self.names], axis=1)
        signs = np.array([-1.0 if direction == "minimize" else 1.0 for direction in self.directions])
        trades: IntArray = metrics["total_trades"]
        needed = max(1.0, self.min_trades * share)
        violation = np.maximum(0.0, needed - trades) / needed
        if self.max_drawdown is not None:
            limit = max(self.max_drawdown, 1e-9)
            violation = violation + np.maximum(0.0, metrics["max_drawdown"] - limit) / limit
        violation = violation + np.where(trades == 0, _NO_TRADE, 0.0) + np.where(metrics["ruined"], _RUINED, 0.0)
        violation = violation + np.where(np.isnan(reported).any(axis=1), _NO_TRADE, 0.0)
        return Scored(reported, reported * signs, violation)

    def of_result(self, result: Any) -> float:
        """The user's function of one result, NaN where it gives no finite number.

        Raises:
            BacktestError: The function failed.
        """
        assert self.function is not None
        try:
            value = float(self.function(result))
        except Exception as error:
            raise BacktestError(
                f"the objective {self.names[0]} failed for {result.strategy!r}: {type(error).__name__}: {error}",
                hint="it gets a BacktestResult and returns one number, larger is better; NaN means no score.",
            ) from error
        return value if np.isfinite(value) else float("nan")


def order(values: FloatArray, violation: FloatArray) -> IntArray:
    """Rows from best to worst: least violation first, then the first objective, then the earlier row.

    Args:
        values: float64 [n, objectives] or [n], larger is better.
        violation: float64 [n].
    """
    first = values[:, 0] if values.ndim == 2 else values
    ranked = np.where(np.isnan(first), -np.inf, first)
    rows: IntArray = np.lexsort((np.arange(ranked.size), -ranked, violation))
    return rows


def pareto_front(values: FloatArray, violation: FloatArray) -> IntArray:
    """Rows that no other row beats in one objective without losing in another, best first objective first.

    Only rows that keep all guards take part; of rows with equal values the earliest stands for all.
    """
    rows = np.flatnonzero((violation == 0.0) & ~np.isnan(values).any(axis=1))
    # Best first objective first, of equals the best second one, and so on: nobody is beaten by one that comes later.
    rows = rows[np.lexsort((rows, *(-values[rows].T[::-1])))]
    front: list[int] = []
    for row in rows:
        kept = values[front]
        if not (kept >= values[row]).all(axis=1).any():
            front.append(int(row))
    return np.array(front, dtype=np.int64)


def _metric(name: Any) -> str:
    found = _ALIASES.get(str(name).lower(), str(name).lower())
    if found not in _METRICS:
        raise ConfigError(
            f"{name} is not an objective.{did_you_mean(found, _METRICS)}",
            hint=f"the objectives are {', '.join(_METRICS)}, or a function of the result.",
        )
    return found
