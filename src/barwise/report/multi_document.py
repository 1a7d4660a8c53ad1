"""What many markets say together as plain JSON, for programs that do not read pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from barwise.report.files import versions
from barwise.report.multi_markets import KINDS, Group, Market, Together
from barwise.report.multi_notes import notes, summary
from barwise.report.validation import finite
from barwise.timeframe import DAY_MS

if TYPE_CHECKING:
    from barwise.report.findings import RunFindings

SCHEMA_VERSION = 1


def multi_document(name: str, findings: "Sequence[RunFindings]", written: datetime) -> dict[str, Any]:
    """What many markets say together as plain JSON types; what is undefined is None.

    Args:
        name: Of the run of all markets.
        findings: One per market.
        written: When it was written, aware; under `written`, the only thing in it that depends on the clock.

    Raises:
        DataError: There is no market.
    """
    return document_of(Together.of(name, findings), written)


def document_of(together: Together, written: datetime) -> dict[str, Any]:
    """The same of findings that were put together already."""
    luck = together.luck
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": "multi",
        "name": together.name,
        "written": written.astimezone(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "summary": list(summary(together)),
        "markets": [
            _row(market, adjusted) for market, adjusted in zip(together.markets, together.adjusted, strict=True)
        ],
        "verdicts": {word: len(markets) for word, markets in together.verdicts.items()},
        "correlations": {kind: _matrix(together.groups[kind]) for kind in ("out_of_sample", "optimized")},
        "portfolios": {kind: _portfolio(group) for kind, group in together.groups.items()},
        "luck": None if luck is None else vars(luck).copy(),
        "notes": list(notes(together)),
    }
    cleaned: dict[str, Any] = finite(content)
    return cleaned


def _row(market: Market, adjusted: float | None) -> dict[str, Any]:
    candles = market.baseline.candles
    return {
        "label": market.label,
        "run": market.findings.name,
        "exchange": candles.exchange,
        "symbol": candles.symbol,
        "timeframe": str(candles.timeframe),
        "synthetic": candles.synthetic,
        "fingerprint": candles.fingerprint,
        "bars": len(candles),
        "first_ms": int(candles.time[0]),
        "last_ms": int(candles.time[-1]),
        "quantity": market.quantity,
        "initial_capital": market.baseline.initial_capital,
        **{kind: market.figures(kind) for kind in KINDS},
        "reoptimized": None if market.walked is None else market.walked.reoptimized,
        "verdict": market.findings.verdict or None,
        "no_out_of_sample": market.why or None,
        "p_value": market.p_value,
        "p_value_holm": adjusted,
        "oos_psr": market.oos_psr,
        "n_trials": market.findings.n_trials,
    }


def _matrix(group: Group) -> dict[str, Any]:
    return {
        "in_sample": group.kind != "out_of_sample",
        "markets": [market.label for market in group.members],
        **{
            name: [[getattr(pair, field) for pair in row] for row in group.correlations]
            for name, field in (("correlation", "value"), ("days", "days"), ("low", "low"), ("high", "high"))
        },
    }


def _portfolio(group: Group) -> dict[str, Any]:
    found = group.portfolio
    base = {
        "in_sample": group.kind != "out_of_sample",
        "markets": [market.label for market in group.members],
        "days": group.days,
    }
    if found is None:
        return base | {"rebalanced": None, "apart": None}
    return base | {
        "first_day": day_text(int(found.days[0])),
        "last_day": day_text(int(found.days[-1])),
        "days_per_year": found.periods_per_year,
        "rebalanced": found.rebalanced.to_dict(),
        "apart": found.apart.to_dict(),
        "accounts": [account.to_dict() for account in found.accounts],
        "risk_shares": None if found.risk_shares is None else list(found.risk_shares),
        "diversification_ratio": found.diversification_ratio,
        "effective_bets": found.effective_bets,
    }


def day_text(number: int) -> str:
    """A day since 1970-01-01 as a date."""
    return datetime.fromtimestamp(number * DAY_MS / 1000, tz=UTC).date().isoformat()
