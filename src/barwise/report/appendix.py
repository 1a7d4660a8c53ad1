"""The parts of the page a result stands on: all metrics, the data, the settings, the fees, and how to make it again."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from barwise.report import statements
from barwise.report.cells import Cell, data_table
from barwise.report.markup import Markup, element, joined
from barwise.report.text import NOT_AVAILABLE, counted, moment, money, number, percent, price, words

if TYPE_CHECKING:
    from barwise.costs import FeeSchedule
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult

# -- Metrics -----------------------------------------------------------------------------------------------------------

_PERCENT = (
    "total_return", "cagr", "volatility", "max_drawdown", "max_drawdown_intrabar", "time_under_water", "exposure",
    "win_rate", "kelly", "fill_rate", "maker_share",
)  # fmt: skip
_PLAIN = (
    "sharpe_ratio", "daily_sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio", "ulcer_index",
    "ulcer_performance_index", "recovery_factor", "profit_factor", "payoff_ratio", "sqn", "sqn_100", "t_statistic",
    "p_value", "skewness", "kurtosis", "expectancy_r", "turnover_ratio", "average_bars_held",
)  # fmt: skip
_MONEY = (
    "net_pnl", "gross_pnl", "fees", "slippage", "funding", "turnover", "average_win", "average_loss", "largest_win",
    "largest_loss", "average_mfe", "average_mae",
)  # fmt: skip
_COUNTS = ("longest_winning_streak", "longest_losing_streak", "max_bars_held", "max_drawdown_duration_bars")


def metrics_table(result: "BacktestResult") -> Markup:
    """Every metric by name; where one is undefined, why."""
    metrics, reasons = result.metrics, result.metrics["undefined"]
    shown: dict[str, str] = {}
    for names, text in (
        (_PERCENT, lambda value: percent(value, 2)),
        (_PLAIN, lambda value: number(value, 3)),
        (_MONEY, money),
        (_COUNTS, lambda value: number(value, 0)),
    ):
        shown |= {name: text(metrics[name]) for name in names}
    rows = [
        (words(name), text, Cell(reasons.get(name, "") if text == NOT_AVAILABLE else "", "long-text"))
        for name, text in shown.items()
    ]
    half = -(-len(rows) // 2)
    header = ("<metric", "value", "<why not")
    if not any(str(row[2]) for row in rows):
        header, rows = header[:2], [row[:2] for row in rows]  # type: ignore[assignment, misc]
    caption = "Definitions: docs/metrics.md"
    return element(
        "div",
        data_table(caption, header, rows[:half]),
        data_table(f"{caption} (continued)", header, rows[half:]),
        class_="pair",
    )


# -- What it stands on -------------------------------------------------------------------------------------------------


def audit_table(result: "BacktestResult") -> Markup:
    """What was found in the candles."""
    detail = statements.detail_candles(result)
    parts = [_audit_of(result.candles)]
    if detail is not None:
        parts.append(_audit_of(detail))
    parts += [element("p", f"{note[:1].upper()}{note[1:]}") for note in result.prepared.notes]
    return joined(*parts)


def _audit_of(candles: "Candles") -> Markup:
    audit, gaps = candles.audit, candles.audit.gaps
    text = f"{candles.timeframe}: {counted(audit.bars, 'bar')}, {counted(gaps.count, 'gap')}"
    if gaps.count:
        text += f" ({counted(gaps.missing, 'bar')} missing, the longest gap is {counted(gaps.longest, 'bar')})"
    if not audit.findings:
        return element("p", f"{text}. The audit found nothing to report.")
    rows = [
        (finding.severity, words(finding.kind), f"{finding.count:,}", Cell(finding.message, "long-text"))
        for finding in audit.findings
    ]
    return joined(
        element("p", f"{text}."),
        data_table(f"Findings in the {candles.timeframe} candles", ("<severity", "<kind", "count", "<finding"), rows),
    )


def _setting(name: str, value: Any, result: "BacktestResult") -> str:
    """A setting as people read it: on and off, no exponent, and what stands in for None."""
    if value is None:
        known = {
            "trailing_sl_atr_multiplier": "as atr_sl_multiplier",
            "max_participation": "no cap",
            "tick_size": f"the market's: {price(float(result.params['tick_size']))}",
            "lot_size": f"the market's: {price(float(result.params['lot_size']))}",
        }
        return known.get(name, "the venue's" if "fee" in name else "none")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return price(value)
    if isinstance(value, Mapping):
        return str(value.get("name", "given"))
    return str(value)


def parameter_tables(result: "BacktestResult") -> Markup:
    """What the strategy and the account were set to."""
    strategy, execution = (
        [(name, _setting(name, value, result)) for name, value in settings.to_dict().items()]
        for settings in (result.strategy, result.execution)
    )
    quantity = ("quantity of an entry", price(float(result.params["quantity"])))
    return element(
        "div",
        data_table(f"Strategy {statements.strategy_name(result)}", ("<parameter", "value"), strategy),
        data_table("Execution", ("<setting", "value"), [quantity, *execution]),
        class_="pair",
    )


def _rate(rate: float) -> str:
    return f"{price(100.0 * rate)} %" if rate < float("inf") else "always"


def fees_table(result: "BacktestResult") -> Markup:
    """The schedule of fees in force, with where it comes from."""
    fees = result.fees_schedule
    dated = f", as of {fees.as_of}" if fees.as_of else ""
    return joined(
        element("p", element("strong", fees.name), ". Source: ", _source(fees.source), f"{dated}."),
        data_table(
            "All-in rates of the notional",
            ("<side", "maker", "taker", "per order, at most", "at a rate of"),
            [_fee_row(fees, side) for side in ("buy", "sell")],
        ),
        _fee_parts(fees),
    )


def _fee_row(fees: "FeeSchedule", side: str) -> tuple[str, ...]:
    flat, rate = getattr(fees, f"{side}_order_flat"), getattr(fees, f"{side}_order_rate")
    per_order = (money(flat), _rate(rate)) if flat else ("none", "")
    return (side, _rate(getattr(fees, f"{side}_maker")), _rate(getattr(fees, f"{side}_taker")), *per_order)


def _fee_parts(fees: "FeeSchedule") -> Markup:
    if not fees.parts:
        return joined()
    rows = [
        (
            part.name,
            part.side,
            part.liquidity,
            _rate(part.rate),
            money(part.flat) if part.flat else "",
            Cell(part.basis, "long-text"),
            Cell(part.source, "long-text"),
            part.as_of,
        )
        for part in fees.parts
    ]
    header = ("<part", "<side", "<liquidity", "rate", "flat, at most", "<of what", "<source", "<as of")
    return data_table("What these rates are made of", header, rows)


def _source(text: str) -> Markup:
    """A source; only an https address becomes a link."""
    if text.startswith("https://") and not any(char.isspace() for char in text):
        return element("a", text, href=text, rel="noopener noreferrer")
    return joined(text)


def reproduction_table(result: "BacktestResult", versions: Mapping[str, str]) -> Markup:
    """What the same numbers can be made from again."""
    detail = statements.detail_candles(result)
    rows = [
        ("candles", result.candles.label),
        ("fingerprint of the candles", result.candles.fingerprint),
        *([("fingerprint of the detail candles", detail.fingerprint)] if detail is not None else []),
        ("first bar whose signal may be used", f"{result.trade_from:,} ({statements.tested_from(result)})"),
        ("reading of unclear bars", result.execution.intrabar),
        *((name, text) for name, text in versions.items()),
    ]
    caption = "The same candles, settings and versions give the same numbers to the last bit"
    return data_table(caption, ("<", "<"), rows)


def footer(files: Mapping[str, str], written: datetime) -> Markup:
    """Where the rest of the report is."""
    named = ", ".join(path for kind, path in files.items() if kind != "html")
    return element("footer", element("p", f"Written {moment(written)} UTC by barwise. Beside this page: {named}."))
