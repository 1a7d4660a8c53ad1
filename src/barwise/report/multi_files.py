"""The files of many markets: a page, its JSON, and three tables for spreadsheets, all of them or none."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise.errors import ConfigError
from barwise.report.files import file_name, versions, write_together
from barwise.report.multi_document import day_text, document_of
from barwise.report.multi_markets import FIGURES, KIND_NAMES, KINDS, Together
from barwise.report.multi_page import multi_page
from barwise.report.tables import csv_text

if TYPE_CHECKING:
    from barwise.report.findings import RunFindings

_UNITS = {
    "sharpe_ratio": "Sharpe", "total_return": "net (%)", "max_drawdown": "max drawdown (%)", "net_pnl": "net (quote)",
    "total_trades": "trades",
}  # fmt: skip


@dataclass(frozen=True)
class MultiFiles:
    """The files of many markets; see docs/many-markets.md for what is in them."""

    html: Path
    json: Path
    markets_csv: Path
    correlation_csv: Path
    portfolio_csv: Path


def write_multi(
    name: str, findings: "Sequence[RunFindings]", home: Path, *, written: datetime | None = None
) -> MultiFiles:
    """Write what many markets say together below the home folder: all files or none.

    Args:
        name: Of the files, without ending; files of that name are replaced.
        findings: One per market.
        home: The folder that holds `data/`.
        written: When they were written, aware; by default now. The only thing that two runs of the same inputs do not
            share: `written` in the JSON, elements of the class `clock` on the page.

    Raises:
        ConfigError: The name is no file name.
        DataError: There is no market, or a file cannot be written; none of them is left behind.
    """
    if name != file_name(name):
        raise ConfigError(
            f"{name!r} is no name for the files of a report.",
            hint=f"use letters, digits, dots, underscores and hyphens: {file_name(name)!r}.",
        )
    when = (written or datetime.now(UTC)).astimezone(UTC)
    together = Together.of(name, findings)
    data = Path(home) / "data"
    results, exports = data / "results", data / "exports"
    places = MultiFiles(
        html=results / f"{name}.html",
        json=results / f"{name}.json",
        markets_csv=exports / f"{name}-markets.csv",
        correlation_csv=exports / f"{name}-correlation.csv",
        portfolio_csv=exports / f"{name}-portfolio.csv",
    )
    names = {kind: path.relative_to(home).as_posix() for kind, path in vars(places).items()}
    contents = {
        "html": multi_page(together, written=when, versions=versions(), files=names),
        "json": json.dumps(document_of(together, when), allow_nan=False),
        "markets_csv": markets_csv(together),
        "correlation_csv": correlation_csv(together),
        "portfolio_csv": portfolio_csv(together),
    }
    write_together({getattr(places, kind): text for kind, text in contents.items()})
    return places


def markets_csv(together: Together) -> str:
    """One row per market."""
    header = (
        "market", "run", "exchange", "symbol", "timeframe", "first bar (UTC)", "last bar (UTC)", "bars",
        "quantity (base)", "capital (quote)",
        *(f"{KIND_NAMES[kind]} {_UNITS[figure]}" for kind in KINDS for figure in FIGURES),
        "verdict", "no out-of-sample result", "p", "p (Holm)", "probability of a Sharpe above 0",
    )  # fmt: skip
    rows = []
    for market, adjusted in zip(together.markets, together.adjusted, strict=True):
        candles = market.baseline.candles
        figures = [(market.figures(kind) or {}).get(figure) for kind in KINDS for figure in FIGURES]
        rows.append(
            (
                market.label, market.findings.name, candles.exchange, candles.symbol, str(candles.timeframe),
                _moment(candles.time[0]), _moment(candles.time[-1]), len(candles), market.quantity,
                market.baseline.initial_capital, *figures, market.findings.verdict, market.why, market.p_value,
                adjusted, market.oos_psr,
            )
        )  # fmt: skip
    return csv_text(header, rows)


def _moment(time_ms: Any) -> datetime:
    return datetime.fromtimestamp(int(time_ms) / 1000, tz=UTC)


def correlation_csv(together: Together) -> str:
    """One row per pair of markets and kind of result."""
    header = ("result", "market", "other market", "correlation", "low (95 %)", "high (95 %)", "common days")
    return csv_text(
        header,
        (
            (
                KIND_NAMES[kind], first.label, group.members[column].label, pair.value, pair.low, pair.high, pair.days,
            )
            for kind in KINDS[:2]
            for group in (together.groups[kind],)
            for row, first in enumerate(group.members)
            for column, pair in enumerate(group.correlations[row])
            if column > row
        ),
    )  # fmt: skip


def portfolio_csv(together: Together) -> str:
    """One row per common day and kind of result: the equal-weight portfolio and the markets in it."""
    labels = [market.label for market in together.markets]
    header = (
        "result", "day", "return, rebalanced (%)", "value, rebalanced (start 1)", "drawdown, rebalanced (%)",
        "value, left apart (start 1)", *(f"return of {label} (%)" for label in labels),
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for kind in KINDS:
        group = together.groups[kind]
        if group.portfolio is None:
            continue
        portfolio, rebalanced = group.portfolio, group.portfolio.rebalanced
        places = {market.label: place for place, market in enumerate(group.members)}
        own = [places.get(label) for label in labels]
        for at, number in enumerate(portfolio.days.tolist()):
            returns = (None if place is None else 100.0 * portfolio.returns[place, at] for place in own)
            rows.append(
                (
                    KIND_NAMES[kind], day_text(number), 100.0 * rebalanced.returns[at], rebalanced.growth[at],
                    rebalanced.drawdown[at], portfolio.apart.growth[at], *returns,
                )
            )  # fmt: skip
    return csv_text(header, rows)
