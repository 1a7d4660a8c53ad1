"""The statistics of one part by month, hour, size, tier, cost and exit, each made by the function the reports use.

The walk-forward has no backtest of its own. Its stitched equity and its trades are given to the same functions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np

from barwise.core.curve import path_metrics
from barwise.core.layout import TRADE, Exit
from barwise.core.outcomes import trade_metrics
from barwise.dashboard.run_tables import Curve
from barwise.report import statements
from barwise.report.charts import distribution_chart, evenly, in_risk_units
from barwise.report.validation import finite
from barwise.result import BacktestResult, Trade
from barwise.timeframe import Timeframe, calendar_of

MOST_EXCURSIONS = 2_000


@dataclass(frozen=True)
class _Walked:
    """As much of a result as the functions of the reports look at."""

    trades: tuple[Trade, ...]
    metrics: Mapping[str, Any]


def statistics_of(result: BacktestResult) -> dict[str, Any]:
    """The statistics of a backtest."""
    found = {
        **_shared(result),
        "tiers": result.tier_statistics,
        "programs": result.program_totals,
        "band": asdict(result.band),
    }
    cleaned: dict[str, Any] = finite(found)
    return cleaned


def statistics_of_walk(trades: Sequence[Trade], curve: Curve, document: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a walk-forward; tiers and band are those of backtests, which it has not.

    Args:
        trades: Of all its pieces.
        curve: The stitched equity.
        document: Of the run, for its market, its capital and its costs.
    """
    frame = Timeframe.parse(str(document["market"]["timeframe"]))
    calendar = calendar_of(str(document["market"]["exchange"]))
    opens = curve.time - frame.ms
    path = path_metrics(opens, curve.equity, curve.equity, frame.ms, calendar, float(document["capital"]))
    metrics = {**path, **trade_metrics(_records(trades)), "cost_attribution": document["costs"]["out_of_sample"]}
    found = _shared(cast("BacktestResult", _Walked(tuple(trades), metrics)))
    cleaned: dict[str, Any] = finite({**found, "tiers": [], "programs": None, "band": None})
    return cleaned


def _records(trades: Sequence[Trade]) -> Any:
    """The trades as far as their groups are made of them; what the tables do not have is 0."""
    found = np.zeros(len(trades), TRADE)
    for name in ("quantity", "initial_risk", "fees", "slippage", "funding", "gross_pnl", "net_pnl"):
        found[name] = [trade[name] for trade in trades]
    found["side"] = [1 if trade.side == "long" else -1 for trade in trades]
    found["exit_reason"] = [Exit[trade.exit_reason.upper()] for trade in trades]
    return found


def _shared(result: BacktestResult) -> dict[str, Any]:
    metrics, trades = result.metrics, result.trades
    drawn = [trades[i] for i in evenly(len(trades), MOST_EXCURSIONS)]
    return {
        "monthly": [
            {"year": row["year"], "month": row["month"], "return": row["percent"]} for row in metrics["monthly_returns"]
        ],
        "yearly": [{"year": row["year"], "return": row["percent"]} for row in metrics["yearly_returns"]],
        "hourly": _hourly(trades),
        "distribution": _distribution(result),
        "excursions": [
            {
                "trade_id": trade.trade_id,
                "side": trade.side,
                "mfe": trade.mfe,
                "mae": trade.mae,
                "net": trade.net_pnl,
                "risk": trade.initial_risk * trade.quantity,
            }
            for trade in drawn
        ],
        "excursions_omitted": len(trades) - len(drawn),
        "costs": [step._asdict() for step in statements.cost_steps(result)],
        "exits": [{"reason": reason, **group} for reason, group in statements.exits(result).items()],
        "sides": [{"side": side, **metrics[side]} for side in ("long", "short")],
    }


def _hourly(trades: Iterable[Trade]) -> list[dict[str, Any]]:
    """Net result and number of trades by weekday (Monday is 0) and hour of their entry, UTC, where there are any."""
    nets: dict[tuple[int, int], list[float]] = {}
    for trade in trades:
        nets.setdefault((trade.entry_time.weekday(), trade.entry_time.hour), []).append(trade.net_pnl)
    return [
        {"weekday": weekday, "hour": hour, "net": float(np.sum(found)), "trades": len(found)}
        for (weekday, hour), found in sorted(nets.items())
    ]


def _distribution(result: BacktestResult) -> dict[str, Any]:
    """How often which net result came out: the bins of the report's chart, and one between any two that are apart."""
    if not result.trades:
        return {"edges": [], "counts": [], "unit": "quote"}
    counts: Counter[tuple[float, float]] = Counter()
    for trace in distribution_chart(result).data:
        for (low, high), count in zip(trace["customdata"], trace["y"], strict=True):
            counts[low, high] += count
    edges = sorted({edge for span in counts for edge in span})
    return {
        "edges": edges,
        "counts": [counts[span] for span in pairwise(edges)],
        "unit": "R" if in_risk_units(result) else "quote",
    }
