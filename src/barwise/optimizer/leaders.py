"""The best configurations of a whole search side by side: is the winner one of many, or a peak among peaks?

The highest value alone says nothing about how it was come by. Twenty of the best, each with what is left of it a step
away and with its result in every third of the span, show whether the winner is better or only luckier than the next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from barwise.core.curve import bar_returns
from barwise.core.figures import standardised_mean
from barwise.core.layout import FloatArray
from barwise.optimizer.insight import has_value
from barwise.optimizer.plateau import KEEPS, Evaluate, Plateau, measure_plateau, neighbourhood, values_around
from barwise.optimizer.space import Space
from barwise.optimizer.trials import StageResult
from barwise.result import BacktestResult
from barwise.strategy.base import Strategy

if TYPE_CHECKING:
    import polars

# How many configurations are compared.
LEADERS = 20
# A choice of which fewer neighbours keep the objective is a peak: something sturdier is named beside it.
STURDY = 0.5
_THIRDS = 3


@dataclass(frozen=True)
class Leader:
    """One of the best configurations.

    Attributes:
        rank: Among the different results of the whole search, 1 = best.
        stage: The stage that tried it.
        trial: Row of that stage's trials.
        chosen: Whether it is what the search ended with.
        parameters: Every parameter that any stage searched, by name.
        reported: The objectives, as reports show them.
        trades: Closed positions.
        net_pnl: Quote currency.
        max_drawdown: Percent, positive.
        kept: Share of its neighbours one step away in one parameter that keep at least 80 % of the first objective;
            None where that means nothing (see `Plateau.reason`) or was not measured.
        thirds: Annual Sharpe ratio of each third of the span; None where the account did not move.
    """

    rank: int
    stage: str
    trial: int
    chosen: bool
    parameters: dict[str, int | float]
    reported: tuple[float, ...]
    trades: int
    net_pnl: float
    max_drawdown: float
    kept: float | None
    thirds: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Leaders:
    """The best configurations of a search, best first.

    Attributes:
        names: The objectives.
        rows: At most `LEADERS`; and the choice, where its rank is a lower one.
    """

    names: tuple[str, ...]
    rows: tuple[Leader, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def sturdiest(self) -> Leader | None:
        """The row of which most neighbours keep the objective, of equals the better one; None where none is known."""
        measured = [(row.kept, -row.rank, row) for row in self.rows if row.kept is not None]
        return max(measured)[2] if measured else None

    def to_list(self) -> list[dict[str, Any]]:
        """The rows as JSON takes them."""
        return [
            {
                "rank": row.rank,
                "stage": row.stage,
                "trial": row.trial,
                "chosen": row.chosen,
                "objectives": dict(zip(self.names, row.reported, strict=True)),
                "trades": row.trades,
                "net_pnl": row.net_pnl,
                "max_drawdown": row.max_drawdown,
                "kept": row.kept,
                "sharpe_by_third": list(row.thirds),
                "parameters": row.parameters,
            }
            for row in self.rows
        ]

    def frame(self) -> "polars.DataFrame":
        """One line per row: rank, stage, trial, chosen, objectives, trades, result, kept, thirds, parameters.

        A parameter that has the name of another column is called parameter_<name>.
        """
        import polars

        lines = []
        for row in self.rows:
            line: dict[str, Any] = {"rank": row.rank, "stage": row.stage, "trial": row.trial, "chosen": row.chosen}
            line |= dict(zip(self.names, row.reported, strict=True))
            line |= {"trades": row.trades, "net_pnl": row.net_pnl, "max_drawdown": row.max_drawdown, "kept": row.kept}
            line |= {f"sharpe_third_{at}": value for at, value in enumerate(row.thirds, start=1)}
            for name, value in row.parameters.items():
                line[f"parameter_{name}" if name in line else name] = value
            lines.append(line)
        return polars.DataFrame(lines, infer_schema_length=None)


class Survey(NamedTuple):
    """What lies around the choice of a search, and around what came close to it.

    Attributes:
        plateau: The whole neighbourhood of the choice.
        leaders: The best configurations of the search.
        neighbours: Different configurations that were run to find this out.
        note: What to know before the choice is used; "" where enough of its neighbours are as good.
    """

    plateau: Plateau
    leaders: Leaders
    neighbours: int
    note: str


def survey(
    stages: Sequence[StageResult],
    space: Space,
    evaluate: Evaluate,
    replay: Callable[[Strategy], BacktestResult],
    *,
    steps: bool = True,
) -> Survey:
    """Look around the choice of a search, and compare it with the best others.

    The leaders are compared by their neighbours a step away in one parameter, all in one sweep. Whole neighbourhoods,
    pairs too, would be ten thousand configurations: more than the search tried, and each would count as tried.

    Args:
        stages: In order, at least one.
        space: Around the choice, with every parameter that a stage searched.
        evaluate: As in `measure_plateau`.
        replay: The plain backtest of a strategy.
        steps: Whether the neighbours of the leaders are run; False where each of them costs a whole backtest.
    """
    last, found = stages[-1], _candidates(stages)
    plateau = measure_plateau(evaluate, space, space.base, float(last.trials.values[last.chosen, 0]))
    around = []
    for one in found:
        point = np.array([float(getattr(one.strategy, name)) for name in space.names])
        # What the space cannot say, such as a parameter that is idle at the choice, has no neighbours in it.
        known = steps and space.configured(point) == one.strategy
        around.append(neighbourhood(space, point, pairs=False) if known else np.empty((0, point.size)))
    values = values_around(evaluate, space, around) if around else []
    edges = _edges(replay(stages[0].space.strategy))
    names = tuple(dict.fromkeys(name for stage in stages for name in stage.space.names))
    leaders = Leaders(
        last.objective.names,
        tuple(
            one.leader(names, _kept(one.value, own), sharpe_between(replay(one.strategy), edges))
            for one, own in zip(found, values, strict=True)
        ),
    )
    count = len(np.unique(np.concatenate([plateau.points, *around]), axis=0))
    return Survey(plateau, leaders, count, _note(plateau, leaders))


class _Candidate(NamedTuple):
    """A trial that came far enough to be compared."""

    rank: int
    stage: StageResult
    row: int
    chosen: bool

    @property
    def strategy(self) -> Strategy:
        return self.stage.space.configured(self.stage.trials.points[self.row])

    @property
    def value(self) -> float:
        return float(self.stage.trials.values[self.row, 0])

    def leader(self, names: Sequence[str], kept: float | None, thirds: tuple[float | None, ...]) -> Leader:
        trials, strategy = self.stage.trials, self.strategy
        summary = trials.summaries[self.row]
        return Leader(
            rank=self.rank,
            stage=self.stage.stage,
            trial=self.row,
            chosen=self.chosen,
            parameters={name: getattr(strategy, name) for name in names},
            reported=tuple(trials.reported[self.row].tolist()),
            trades=int(summary["trades"]),
            net_pnl=float(summary["net_pnl"]),
            max_drawdown=100.0 * float(summary["max_drawdown"]),
            kept=kept,
            thirds=thirds,
        )


def _candidates(stages: Sequence[StageResult]) -> list[_Candidate]:
    """The best trials of all stages that were run to the end, kept all guards, and differ in what came of them.

    A stage tries much of the one before again, and a timeout that changes no fill changes nothing: of trials with the
    same result to the bit the choice stands for all, else the first one.
    """
    last = stages[-1]
    rows = [
        (-float(stage.trials.values[row, 0]), not (stage is last and row == stage.chosen), at, int(row))
        for at, stage in enumerate(stages)
        for row in np.flatnonzero(has_value(stage.trials) & stage.trials.complete & (stage.trials.violation == 0.0))
    ]
    different: dict[bytes, _Candidate] = {}
    for _, other, at, row in sorted(rows):
        result = stages[at].trials.summaries[row].tobytes()
        different.setdefault(result, _Candidate(len(different) + 1, stages[at], row, not other))
    return [one for one in different.values() if one.rank <= LEADERS or one.chosen]


def _kept(value: float, around: FloatArray) -> float | None:
    """Share of neighbours that keep enough of a value; those without one of their own are lost."""
    return float((around >= KEEPS * value).mean()) if around.size and value > 0.0 else None


def _edges(base: BacktestResult) -> list[int]:
    """Signal bars at which the thirds of a span begin, and the one it ends before."""
    first, bars = base.trade_from, len(base.candles)
    return [first + round(at * (bars - first) / _THIRDS) for at in range(_THIRDS + 1)]


def sharpe_between(result: BacktestResult, edges: Sequence[int]) -> tuple[float | None, ...]:
    """Annual Sharpe ratio of each part of a backtest; None where the account did not move in it.

    Args:
        result: Of the same candles, wherever its own warm-up ends.
        edges: Signal bars: a part goes from one of them to the bar before the next.
    """
    candles, first = result.candles, result.trade_from
    returns = bar_returns(result.equity_curve, result.initial_capital)
    bars_per_year = candles.timeframe.bars_per_year(candles.calendar)
    return tuple(
        standardised_mean(returns[max(0, begin - first) : max(0, end - first)], bars_per_year)
        for begin, end in pairwise(edges)
    )


def _note(plateau: Plateau, leaders: Leaders) -> str:
    """Which of the leaders to prefer to a choice that is a peak; "" where it is none."""
    if plateau.kept is None or plateau.kept >= STURDY:
        return ""
    own = next((row.kept for row in leaders.rows if row.chosen), None)
    sturdiest = leaders.sturdiest
    if sturdiest is None or sturdiest.kept is None or own is None:
        return ""
    kept, share = _percent(plateau.kept), _percent(KEEPS)
    text = f"the result is a peak: only {kept} of its neighbours keep {share} of its objective."
    if sturdiest.kept <= own:
        return f"{text} None of the best {len(leaders)} is more robust."
    return (
        f"{text} Recommended instead is rank {sturdiest.rank} of the best {len(leaders)}, the most robust of them: "
        f"{_percent(sturdiest.kept)} of its single steps keep it, of those of the result {_percent(own)}."
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"
