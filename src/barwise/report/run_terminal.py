"""The last page of a run in the terminal: one word and why, the parts side by side, how sure it is, what to mind."""

from typing import TYPE_CHECKING

from barwise.report import statements
from barwise.report.findings import RunFindings
from barwise.report.run_comparison import BASELINE, FIGURES, HELD, OPTIMIZED, OUT_OF_SAMPLE, Comparison, compare
from barwise.report.run_document import notes, skipped
from barwise.report.run_tables import figure_text
from barwise.report.terminal import facts_grid
from barwise.report.text import money
from barwise.report.verdict_text import STABILITY_CHECK, luck_sentence, sentence
from barwise.validation.error_rates import error_sentence

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_MOST_NOTES = 3
_ROWS = (
    "net_pnl", "net_pnl_per_30_days", "total_return", "sharpe_ratio", "max_drawdown", "profit_factor", "trades",
    "win_rate", "fees", "slippage",
)  # fmt: skip
_STYLES = {
    "LIKELY REAL": "bold green", "UNPROVEN": "bold", "LIKELY OVERFIT": "bold red", "TOO LITTLE DATA": "bold yellow",
}  # fmt: skip


def print_run(findings: RunFindings, console: "Console") -> None:
    """Print what a run on one market has found.

    Args:
        findings: What to print.
        console: A rich console; its width and colours are respected, 80 columns are enough.
    """
    from rich.padding import Padding

    found = compare(findings)
    for part in (_identity(findings), _verdict(findings), _side_by_side(found), _lines(findings, found)):
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)


def _identity(findings: RunFindings) -> "RenderableType":
    from rich.text import Text

    result = findings.baseline
    facts = (
        (statements.market_name(result), "bold"),
        ("SYNTHETIC" if result.candles.synthetic else "", "bold reverse"),
        (result.candles.exchange, ""),
        (statements.span(result), ""),
        (statements.bars_and_gaps(result), ""),
        (statements.strategy_name(result), ""),
    )
    line = Text("  ").join(Text(text, style) for text, style in facts if text)
    return line.append(f"\nmoney in quote currency, capital {money(result.initial_capital)}", "dim")


def _verdict(findings: RunFindings) -> "RenderableType":
    from rich.text import Text

    report = findings.validation
    if report is None:
        return Text.assemble(("VERDICT   ", "bold"), ("NONE", "bold"), f"\n{sentence(skipped(findings, '8'))}")
    text = Text.assemble(("VERDICT   ", "bold"), (report.verdict, _STYLES[report.verdict]))
    for reason in report.reasons:
        text.append(f"\n{sentence(reason)}")
    for change in report.decision.would_change[:1]:
        text.append(f"\nWould change it: {change}", "dim")
    return text


def _side_by_side(found: Comparison) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    parts = [found.parts[name] for name in (BASELINE, OPTIMIZED, OUT_OF_SAMPLE, HELD) if name in found.parts]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for part in parts:
        table.add_column(part.label, justify="right")
    by_name = {figure.name: figure for figure in FIGURES}
    for figure in (by_name[name] for name in _ROWS):
        cells = []
        for part in parts:
            value = part.figure(figure)
            if part.name == HELD:
                cells.append(Text("" if value is None else figure_text(figure, value), "dim"))
                continue
            style = ("green" if value > 0 else "red") if figure.name == "net_pnl" and value else ""
            cells.append(Text(figure_text(figure, value), style))
        table.add_row(figure.label, *cells)
    return table


def _lines(findings: RunFindings, found: Comparison) -> "RenderableType":

    report, said = findings.validation, notes(findings)
    spans = f"the walk-forward trades {len(found.parts[OUT_OF_SAMPLE].bars):,}" if found.spans_differ else ""
    bars = f"{spans} of {len(found.parts[BASELINE].candles):,} bars: compare rates, not totals." if spans else ""
    kind = "Baseline" if findings.optimization is None else "Optimized"
    checked = report is not None and report.walked is not None and not report.walked.reoptimized
    facts = [
        ("", STABILITY_CHECK if checked else "", "bold yellow"),
        ("Spans", sentence(bars) if bars else "", ""),
        ("Certainty", f"{kind}: {statements.certainty(findings.chosen)}.", ""),
        ("Luck", luck_sentence(report.decision) if report is not None else "", ""),
        ("Data", statements.data_line(findings.baseline) if findings.baseline.candles.audit.warnings else "", "yellow"),
        ("Not run", _not_run(findings), "yellow"),
        *(("Note", sentence(text), "yellow") for _, text in said[:_MOST_NOTES]),
        ("", f"{len(said) - _MOST_NOTES:,} more in the report" if len(said) > _MOST_NOTES else "", "dim"),
        ("How sure", error_sentence() if report is not None else "", "dim"),
    ]
    return facts_grid(facts)


def _not_run(findings: RunFindings) -> str:
    """Why there is no optimized column; that there is no verdict is told where it would stand."""
    return sentence(skipped(findings, "7")) if findings.optimization is None else ""
