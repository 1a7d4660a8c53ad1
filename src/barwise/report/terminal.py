"""The page at the end of a run: what a trader has to know, on one screen of 80 columns, with or without colours."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from barwise.report import statements
from barwise.report.text import counted, money, number, percent, with_unit

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from barwise.result import BacktestResult

_LABEL_WIDTH = 10


def print_summary(result: "BacktestResult", console: "Console", n_trials: int | None = None) -> None:
    """Print the summary of one backtest.

    Args:
        result: What to print.
        console: A rich console; its width and colours are respected, 80 columns are enough.
        n_trials: Distinct configurations on record for the candles, this one included; None where nobody knows.
    """
    from rich.padding import Padding

    for part in (_identity(result), _headline(result), _lines(result, n_trials)):
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)


def _identity(result: "BacktestResult") -> "RenderableType":
    from rich.text import Text

    candles = result.candles
    facts = (
        (statements.market_name(result), "bold"),
        ("SYNTHETIC", "bold reverse" if candles.synthetic else None),
        (candles.exchange, ""),
        (statements.span(result), ""),
        (statements.bars_and_gaps(result), ""),
        (statements.strategy_name(result), ""),
    )
    line = Text("  ").join(Text(text, style) for text, style in facts if text and style is not None)
    detail = statements.detail_candles(result)
    fills_in = f"; fills in {detail.timeframe} candles" if detail is not None else ""
    line.append(
        f"\ntested from {statements.tested_from(result)} UTC; money in quote currency, capital "
        f"{money(result.initial_capital)}{fills_in}",
        "dim",
    )
    return line


def _headline(result: "BacktestResult") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    metrics, held = result.metrics, result.metrics["buy_and_hold"]
    in_r = with_unit(metrics["expectancy_r"], "R", 2, signed=True)
    rows = (
        ("net result", money(result.net_pnl, signed=True), ""),
        ("return", percent(result.total_return, signed=True), percent(held["total_return"], signed=True)),
        ("Sharpe", number(metrics["sharpe_ratio"]), number(held["sharpe_ratio"])),
        ("daily Sharpe", number(metrics["daily_sharpe_ratio"]), ""),
        ("max drawdown", percent(result.max_drawdown), percent(held["max_drawdown"])),
        ("trades / win rate", f"{result.total_trades:,} / {percent(metrics['win_rate'], 0)}", ""),
        ("profit factor", number(metrics["profit_factor"]), ""),
        ("expectancy", money(metrics["expectancy"], signed=True), ""),
        ("expectancy in R", in_r, ""),
        ("exposure", percent(metrics["exposure"]), percent(100.0)),
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("strategy", justify="right")
    table.add_column("buy and hold", justify="right")
    for name, value, beside in rows:
        style = ("green" if result.net_pnl > 0 else "red") if name == "net result" and result.net_pnl else ""
        table.add_row(name, Text(value, style), Text(beside, "dim"))
    return table


def _lines(result: "BacktestResult", n_trials: int | None) -> "RenderableType":

    hint = statements.certainty_hint(result)
    verdict = statements.verdict(result, n_trials)
    facts = [
        ("", statements.ruin(result), "bold red"),
        ("Costs", _costs(result), ""),
        ("Fills", _fills(result), ""),
        ("Exits", statements.exits_line(result), ""),
        ("Certainty", statements.certainty(result) + (f" ({hint})" if hint else ""), ""),
        ("Data", statements.data_line(result), "yellow" if result.candles.audit.warnings else ""),
        *(("Note", note, "yellow") for note in result.prepared.notes),
        ("Verdict", f"{verdict.word}: {verdict.text}", ""),
        ("Limits", statements.LIMITS, "dim"),
    ]
    return facts_grid(facts)


def facts_grid(facts: "Iterable[tuple[str, str, str]]") -> "RenderableType":
    """Facts as (label, text, style) below each other; what has no text is left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=_LABEL_WIDTH)
    table.add_column()
    for label, text, style in facts:
        if text:
            table.add_row(Text(label, "bold"), Text(text, style))
    return table


def _costs(result: "BacktestResult") -> str:
    return " -> ".join(f"{step.name} {money(step.amount, signed=True)}" for step in statements.cost_steps(result))


def _fills(result: "BacktestResult") -> str:
    if not result.programs:
        return "no entry program: the strategy gave no signal that could be used"
    tiers = "   ".join(f"tier {row['tier']}: {row['fills']:,}" for row in result.tier_statistics)
    missed = f"missed: {len(statements.missed(result)):,} of {counted(len(result.programs), 'program')}"
    maker = f"maker {percent(result.metrics['maker_share'], 0)}"
    shortfall = f"shortfall {with_unit(statements.shortfall_bp(result), 'bp', signed=True)}"
    return f"{tiers}\n{missed}   {maker}   {shortfall}"
