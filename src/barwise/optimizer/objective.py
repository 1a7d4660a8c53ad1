"""What a search maximises: reported metrics, to the bit, and the guards a result must keep to count.

A guard that is broken is no score of minus something: a row has a score and, beside it, how far it breaks the guards.
Rows that keep them come first, and among those that do not, the one that is nearest to keeping them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from barwise.config import objective_name
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
        names: Metrics of `SweepResult.metrics`, and the names of the user's functions.
        min_trades: Fewer trades break the guard; at a rung its share of them.
        max_drawdown: Percent; a deeper drawdown breaks the guard; None = no guard.
        functions: By name, the user's functions of a BacktestResult, larger is better; in the order of `names`.
    """

    names: tuple[str, ...]
    min_trades: int = 0
    max_drawdown: float | None = None
    functions: Mapping[str, UserFunction] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        wanted: "str | UserFunction | Sequence[str | UserFunction]",
        min_trades: int = 0,
        max_drawdown: float | None = None,
    ) -> "Objective":
        """An objective by name, by a function of the result, or several of them.

        Raises:
            ConfigError: An unknown or repeated name.
        """
        several = (wanted,) if isinstance(wanted, str) or callable(wanted) else tuple(wanted)
        found = tuple(objective_name(one) if callable(one) else _metric(one) for one in several)
        if not found or len(set(found)) < len(found):
            raise ConfigError(
                "an objective is one metric or several different ones; got "
                f"{', '.join(str(objective_name(one)) for one in several) or 'none'}."
            )
        functions = {name: one for name, one in zip(found, several, strict=True) if callable(one)}
        return cls(found, min_trades, max_drawdown, functions)

    @property
    def directions(self) -> tuple[str, ...]:
        """For each name "maximize" or "minimize"."""
        return tuple("minimize" if name in _COSTS and name not in self.functions else "maximize" for name in self.names)

    @property
    def label(self) -> str:
        """All names in one word, as the ledger keeps it."""
        return "+".join(self.names)

    def score(self, metrics: Mapping[str, Any], share: float = 1.0, answers: FloatArray | None = None) -> Scored:
        """Scores of the rows of a sweep.

        Args:
            metrics: Columns of `SweepResult.metrics`.
            share: Of the bars the rows have seen; the least number of trades shrinks with it.
            answers: float64 [n, functions], what the user's functions gave for each row, where there are such.
        """
        columns = dict(metrics)
        if answers is not None:
            columns |= dict(zip(self.functions, answers.T, strict=True))
        reported = np.stack([np.asarray(columns[name], dtype=np.float64) for name in self.names], axis=1)
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

    def of_result(self, result: Any) -> list[float]:
        """The user's functions of one result, NaN where one gives no finite number.

        Raises:
            BacktestError: A function failed.
        """
        found = []
        for name, function in self.functions.items():
            try:
                value = float(function(result))
            except Exception as error:
                raise BacktestError(
                    f"the objective {name} failed for {result.strategy!r}: {type(error).__name__}: {error}",
                    hint="it gets a BacktestResult and returns one number, larger is better; NaN means no score.",
                ) from error
            found.append(value if np.isfinite(value) else float("nan"))
        return found

    def why_no_result(self, reported: FloatArray) -> str:
        """A note for a search of which no trial counts.

        Args:
            reported: float64 [n, objectives], of all trials.
        """
        silent = [name for at, name in enumerate(self.names) if np.isnan(reported[:, at]).all()]
        if silent:
            return (
                f"the objective {' and '.join(silent)} gives no finite number for any trial: what is returned is no "
                "result."
            )
        return "no trial keeps the guards (min_trades, max_drawdown): the nearest one is returned, which is no result."


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
            hint=f"the objectives are {', '.join(_METRICS)}, or FILE.py:FUNCTION, a function of the result.",
        )
    return found
