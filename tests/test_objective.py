"""Scores are the reported metrics, guards are kept apart from them, and an order has no surprises."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError, ConfigError
from barwise.optimizer.objective import Objective, order, pareto_front
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import SweepResult, sweep

BASE = EmaRsiAtr(ema_fast=5, ema_slow=12, ema_trend=30, rsi_period=7)
# As the issue and the flat API write them, and where a backtest reports them.
NAMES = {
    "sharpe_ratio": "sharpe_ratio",
    "sharpe": "sharpe_ratio",
    "Sortino": "sortino_ratio",
    "calmar": "calmar_ratio",
    "profit_factor": "profit_factor",
    "net_pnl": "net_pnl",
    "expectancy": "expectancy",
    "SQN": "sqn",
    "max_drawdown": "max_drawdown",
}


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 1))


@pytest.fixture(scope="module")
def swept(candles: Candles) -> SweepResult:
    return sweep(candles, BASE, 0.1, grid={"ema_fast": range(3, 12), "atr_sl_multiplier": [0.7, 1.5, 3.0]})


def metrics_of(**columns: Any) -> dict[str, Any]:
    """Columns of a sweep, made up: 10 trades and a drawdown of 5 % where nothing else is said."""
    size = max(len(column) for column in columns.values())
    plain: dict[str, Any] = {
        "total_trades": np.full(size, 10),
        "max_drawdown": np.full(size, 5.0),
        "ruined": np.zeros(size, dtype=bool),
        "sharpe_ratio": np.zeros(size),
    }
    return plain | {name: np.array(column) for name, column in columns.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_metric_a_plain_backtest_reports_to_the_bit(
    candles: Candles, swept: SweepResult, name: str
) -> None:
    objective = Objective.of(name)
    assert objective.names == (NAMES[name],)
    score = objective.score(swept.metrics)
    sign = -1.0 if name == "max_drawdown" else 1.0
    assert (score.values == sign * score.reported).all()
    for row in range(0, len(swept), 5):
        changes = {column: values[row].item() for column, values in swept.columns.items()}
        alone = backtest(candles, BASE.replace(**changes), 0.1, check_lookahead=False)
        reported = alone.metrics[NAMES[name]]
        assert score.reported[row, 0] == (0.0 if reported is None else reported)


def test_a_guard_of_trades_shrinks_with_the_share_of_the_bars() -> None:
    objective = Objective.of("sharpe", min_trades=10)
    metrics = metrics_of(total_trades=[10, 9, 4, 3, 2, 1])
    # In full 10 are needed: 9 of them miss a tenth.
    assert objective.score(metrics).violation == pytest.approx([0.0, 0.1, 0.6, 0.7, 0.8, 0.9])
    # After a third of the bars 10 / 3: three miss a tenth of that, two miss 0.4 of it.
    assert objective.score(metrics, 1 / 3).violation == pytest.approx([0.0, 0.0, 0.0, 0.1, 0.4, 0.7])
    # However short the share is, one trade is always needed.
    assert objective.score(metrics, 0.05).violation.tolist() == [0.0] * 6


def test_a_guard_of_drawdown_is_in_percent_and_adds_to_that_of_trades() -> None:
    objective = Objective.of("sharpe", min_trades=10, max_drawdown=20.0)
    metrics = metrics_of(max_drawdown=[20.0, 25.0, 40.0, 30.0], total_trades=[10, 10, 10, 5])
    # Percent over the limit of 20 %, as a share of it; the last one also misses half of its trades.
    assert objective.score(metrics).violation == pytest.approx([0.0, 0.25, 1.0, 0.5 + 0.5])


def test_a_row_without_a_trade_ranks_behind_ruin_and_ruin_behind_every_other_broken_guard() -> None:
    objective = Objective.of("sharpe", min_trades=100, max_drawdown=1.0)
    metrics = metrics_of(
        total_trades=[0, 1, 1, 100], max_drawdown=[0.0, 100.0, 100.0, 0.5], ruined=[False, True, False, False],
        sharpe_ratio=[0.0, 9.0, -9.0, -20.0],
    )  # fmt: skip
    score = objective.score(metrics)
    assert order(score.values, score.violation).tolist() == [3, 2, 1, 0]


def test_without_guards_a_row_still_needs_a_trade() -> None:
    score = Objective.of("sharpe").score(metrics_of(total_trades=[0, 1], sharpe_ratio=[0.0, -5.0]))
    assert score.violation[0] > 0.0
    assert score.violation[1] == 0.0
    assert order(score.values, score.violation).tolist() == [1, 0]


def test_less_is_better_where_the_metric_is_a_cost() -> None:
    objective = Objective.of(("net_pnl", "drawdown", "fees"))
    assert objective.directions == ("maximize", "minimize", "minimize")
    assert objective.label == "net_pnl+max_drawdown+fees"
    score = objective.score(metrics_of(net_pnl=[1.0, 2.0], max_drawdown=[3.0, 4.0], fees=[5.0, 6.0]))
    assert score.reported.tolist() == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    assert score.values.tolist() == [[1.0, -3.0, -5.0], [2.0, -4.0, -6.0]]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("sharpe_rato", "sharpe_rato is not an objective. Did you mean sharpe_ratio?"),
        (("sharpe", "sharpe_ratio"), "one metric or several different ones; got sharpe, sharpe_ratio"),
        ((), "one metric or several different ones; got none"),
        (("net_pnl", "score"), "score is not an objective"),
    ],
)
def test_an_objective_that_is_none_is_refused_by_name(wanted: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace("?", r"\?")):
        Objective.of(wanted)


def test_a_function_gives_the_score_and_what_is_no_finite_number_is_none() -> None:
    answers = iter([1.5, float("inf"), float("nan"), np.float32(2.0), 3])

    def scripted(result: Any) -> Any:
        return next(answers)

    objective = Objective.of(scripted)
    found = [objective.of_result(object())[0] for _ in range(5)]
    assert found[0] == 1.5
    assert np.isnan(found[1:3]).all()
    assert found[3:] == [2.0, 3.0]
    metrics = metrics_of(sharpe_ratio=[9.0, 9.0, 9.0])
    score = objective.score(metrics, answers=np.array([[1.0], [np.nan], [-1.0]]))
    assert order(score.values, score.violation).tolist() == [0, 2, 1]
    assert score.violation[1] > 0.0


def test_a_function_that_fails_is_named_with_the_strategy_it_failed_for(candles: Candles) -> None:
    def my_score(result: Any) -> float:
        return float(result.no_such_thing)

    def no_number(result: Any) -> Any:
        return None

    result = backtest(candles, BASE, 0.1)
    with pytest.raises(BacktestError, match=r"the objective my_score failed for EmaRsiAtr.*AttributeError") as failed:
        Objective.of(my_score).of_result(result)
    assert isinstance(failed.value.__cause__, AttributeError)
    with pytest.raises(BacktestError, match=r"the objective no_number failed.*TypeError"):
        Objective.of(no_number).of_result(result)


# Order and front, against their definitions.


def random_scores(seed: int, size: int, objectives: int) -> tuple[Any, Any]:
    """Values with many ties and some NaN, and guards broken by some; whole numbers, so that ties are common."""
    random = np.random.default_rng(seed)
    values = random.integers(-3, 4, (size, objectives)).astype(float)
    values[random.random((size, objectives)) < 0.1] = np.nan
    return values, np.where(random.random(size) < 0.3, random.integers(0, 3, size), 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_order_is_that_of_its_definition(seed: int) -> None:
    values, violation = random_scores(seed, 60, 2)

    def key(row: int) -> Any:
        first = values[row, 0]
        return violation[row], np.inf if np.isnan(first) else -first, row

    expected = sorted(range(60), key=key)
    assert order(values, violation).tolist() == expected
    assert order(values[:, 0], violation).tolist() == expected


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_a_front_is_exactly_what_nothing_dominates(seed: int, objectives: int) -> None:
    values, violation = random_scores(seed, 80, objectives)
    allowed = [row for row in range(80) if violation[row] == 0.0 and not np.isnan(values[row]).any()]

    def dominates(other: int, row: int) -> bool:
        return bool((values[other] >= values[row]).all() and (values[other] > values[row]).any())

    undominated = [row for row in allowed if not any(dominates(other, row) for other in allowed)]
    # Of rows with equal values the earliest stands for all.
    expected = [
        row for row in undominated if not any(other < row and (values[other] == values[row]).all() for other in allowed)
    ]
    front = pareto_front(values, violation).tolist()
    assert sorted(front) == expected
    assert values[front, 0].tolist() == sorted(values[front, 0], reverse=True)


def test_nothing_within_the_guards_is_an_empty_front() -> None:
    front = pareto_front(np.zeros((3, 2)), np.ones(3))
    assert front.size == 0
    assert front.dtype == np.int64
