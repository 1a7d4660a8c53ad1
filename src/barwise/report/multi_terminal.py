"""Many markets in the terminal: one line each, what they make together, and a sentence over all, in 80 columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from barwise.report.multi_markets import NO_VERDICT, Kind, Market, Together
from barwise.report.multi_notes import notes, summary
from barwise.report.terminal import facts_grid
from barwise.report.text import NOT_AVAILABLE, number, percent
from barwise.report.verdict_text import sentence

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from barwise.report.findings import RunFindings

_STYLES = {
    "LIKELY REAL": "bold green", "UNPROVEN": "bold", "LIKELY OVERFIT": "bold red", "TOO LITTLE DATA": "bold yellow",
}  # fmt: skip


def print_multi(name: str, findings: "Sequence[RunFindings]", console: "Console") -> None:
    """Print what many markets say together.

    Args:
        name: Of the run of all markets.
        findings: One per market.
        console: A rich console; its width and colours are respected, 80 columns are enough.

    Raises:
        DataError: There is no market.
    """
    from rich.padding import Padding

    together = Together.of(name, findings)
    for part in (_table(together), _lines(together)):
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)


def _table(together: Together) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("market", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for head in ("base", "opt.", "out", "net out", "fall", "p", "Holm"):
        table.add_column(head, justify="right", no_wrap=True)
    for market, adjusted in zip(together.markets, together.adjusted, strict=True):
        outside = market.figures("out_of_sample")
        word = market.verdict
        table.add_row(
            Text(market.label),
            Text(word.lower() if word == NO_VERDICT else word, _STYLES.get(word, "dim")),
            _sharpe(market, "baseline"),
            _sharpe(market, "optimized"),
            _sharpe(market, "out_of_sample"),
            NOT_AVAILABLE if outside is None else percent(outside["total_return"], signed=True),
            NOT_AVAILABLE if outside is None else percent(outside["max_drawdown"]),
            number(market.p_value),
            number(adjusted),
        )
    table.caption = Text("base, opt., out: Sharpe ratio of the baseline, optimized in-sample, out-of-sample", "dim")
    table.caption_justify = "left"
    return table


def _sharpe(market: Market, kind: Kind) -> str:
    figures = market.figures(kind)
    return NOT_AVAILABLE if figures is None else number(figures["sharpe_ratio"])


def _lines(together: Together) -> "RenderableType":

    portfolio = together.outside.portfolio
    facts = [
        ("Together" if place == 0 else "", text, "bold" if place == 0 else "")
        for place, text in enumerate(summary(together))
    ]
    if portfolio is not None and len(portfolio.returns) > 1:
        apart, ratio = portfolio.apart, number(portfolio.diversification_ratio)
        text = f"{percent(apart.total_return, signed=True)} if never rebalanced, Sharpe {number(apart.sharpe_ratio)}"
        facts.append(("Apart", f"{text}; diversification ratio {ratio}", ""))
    facts += [
        ("Missing", f"{market.label}: {sentence(market.why)}", "yellow") for market in together.markets if market.why
    ]
    facts += [("Note", sentence(note), "yellow") for note in notes(together)]
    return facts_grid(facts)
