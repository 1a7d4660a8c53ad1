"""How a trial and the value of an objective are drawn and told: the same in every chart of an optimization."""

import html
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from barwise.core.layout import FloatArray
from barwise.optimizer.trials import StageResult
from barwise.report.charts import Trace, compact
from barwise.report.text import counted, money, number, percent, words

_MIDDLE = (1.0, 99.0)  # percentiles that a frame holds where the rest lies far outside
_LARGEST_TAIL = 2.0
_ROOM = 0.06  # above and below what a frame holds
_IN_PERCENT = frozenset({"total_return", "cagr", "win_rate", "max_drawdown", "volatility"})
_IN_MONEY = frozenset({"net_pnl", "expectancy", "fees", "slippage", "funding"})
_COUNTED = frozenset({"total_trades", "ambiguous_trades", "losing_trades"})
# Roles beside those of page.css, from the same palette: one thing, one colour, in every chart of an optimization.
ROLES = {"done": "#56b4e9", "broken": "#e69f00", "chosen": "#d55e00", "luck": "#cc79a7", "up": "#0072b2"}
MOST_POINTS = 5_000  # of one chart; slices are smaller, and there are more of them
STATES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pruned": ("given up early", "@muted", {"opacity": 0.45}),
    "infeasible": ("broke a guard", "@broken", {"symbol": "circle-open"}),
    "complete": ("run to the end", "@done", {}),
}


def told(name: str, value: float | None) -> str:
    """A value of an objective as people read it."""
    if name in _IN_PERCENT:
        return percent(value)
    if name in _IN_MONEY:
        return money(value, signed=True)
    return number(value, 0) if name in _COUNTED else number(value)


def axis_title(name: str) -> dict[str, str]:
    """An objective with its unit, safe for Plotly, which reads markup: a user's function may be called `<lambda>`."""
    unit = " (%)" if name in _IN_PERCENT else " (quote currency)" if name in _IN_MONEY else ""
    return {"text": f"{html.escape(words(name))}{unit}"}


def brief(values: Iterable[float]) -> list[float]:
    """Numbers to five significant digits: a mark on a screen has no more."""
    return [float(f"{value:.5g}") for value in values]


def frame_of(values: FloatArray, *always: float) -> tuple[list[float], int]:
    """A range of the value axis that holds `always` and the middle of the values, and how many lie outside."""
    finite = values[np.isfinite(values)]
    ends = [value for value in always if math.isfinite(value)]
    if finite.size:
        middle = np.percentile(finite, _MIDDLE)
        far = np.ptp(finite) > _LARGEST_TAIL * np.ptp(middle)
        ends += (middle if far else np.array([finite.min(), finite.max()])).tolist()
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    room = _ROOM * (high - low) or _ROOM * abs(high) or 1.0
    low, high = low - room, high + room
    return compact((low, high)), int(((finite < low) | (finite > high)).sum())


def outside_text(outside: int) -> str:
    """Says of a chart how many trials its frame leaves out."""
    if not outside:
        return ""
    return (
        f" {counted(outside, 'trial')} {'lies' if outside == 1 else 'lie'} outside the frame: a double click shows all."
    )


def dots(name: str, color: str, x: Iterable[float], y: Iterable[float], **marker: Any) -> Trace:
    """Trials as dots."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": brief(y),
        "marker": {"color": color, "size": 5, "opacity": 0.7, **marker},
    }


def star(x: float, y: float, name: str = "chosen") -> Trace:
    """The chosen point: one shape and colour in every chart."""
    return {
        **dots(name, "@chosen", [x], [y]),
        "marker": {"color": "@chosen", "symbol": "star", "size": 15, "line": {"color": "@page", "width": 1.5}},
    }


def identifier(stage: StageResult) -> str:
    """A stage in the name of a chart."""
    return stage.stage.replace(".", "-")
