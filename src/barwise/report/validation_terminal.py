"""The verdict in the terminal: the word, why, every test that decided it, and the walk-forward, in 80 columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from barwise.report import statements
from barwise.report.terminal import facts_grid
from barwise.report.text import NOT_AVAILABLE, counted, day, money, number, percent
from barwise.report.verdict_text import SIGNS, STABILITY_CHECK, luck_sentence, scores, sentence, shown, state
from barwise.validation.error_rates import error_sentence

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from barwise.strategy.lookahead import LookAheadReport
    from barwise.validation.engine import ValidationReport
    from barwise.validation.verdict import Verdict
    from barwise.validation.walk_forward import WalkForwardResult

_TEXT_WIDTH = 66  # of 80 columns, without the labels
_MOST_WINDOWS = 24
_STYLES = {
    "LIKELY REAL": "bold green", "UNPROVEN": "bold", "LIKELY OVERFIT": "bold red", "TOO LITTLE DATA": "bold yellow",
}  # fmt: skip
_STATES = {"passed": "green", "failed": "red"}


def print_validation(
    report: "ValidationReport", console: "Console", *, look_ahead: "LookAheadReport | None" = None
) -> None:
    """Print a verdict and what it stands on.

    Args:
        report: What to print.
        console: A rich console; its width and colours are respected, 80 columns are enough.
        look_ahead: What the long check for look-ahead found, where it was run.
    """
    parts = [_identity(report), _word(report.decision), _tests(report.decision)]
    if report.walked is not None:
        parts.append(_windows(report.walked))
    _print([*parts, _lines(report, look_ahead)], console)


def print_walk_forward(walked: "WalkForwardResult", console: "Console") -> None:
    """Print a walk-forward.

    Args:
        walked: What to print.
        console: A rich console; its width and colours are respected, 80 columns are enough.
    """
    from rich.text import Text

    candles, config = walked.candles, walked.config
    line = Text("  ").join(
        Text(text, style)
        for text, style in (
            (f"{candles.symbol or 'unnamed market'} {candles.timeframe}", "bold"),
            ("SYNTHETIC" if candles.synthetic else "", "bold reverse"),
            (candles.exchange, ""),
            (f"{day(int(candles.time[0]))} .. {day(int(candles.time[-1]))}", ""),
            (type(walked.windows[0].strategy).name(), ""),
        )
        if text
    )
    line.append(
        f"\n{config.is_length_days} days in-sample, {config.oos_length_days} out-of-sample, a window every "
        f"{config.stride_days} days{', anchored' if config.anchored else ''}",
        "dim",
    )
    parts: list[RenderableType] = [line]
    if not walked.reoptimized:
        parts.append(Text(STABILITY_CHECK, "bold yellow"))
    facts = [*_walk_facts(walked), *(("Note", sentence(note), "yellow") for note in walked.notes)]
    facts.append(("Verdict", "None from this alone: barwise validate runs the other tests too.", "dim"))
    _print([*parts, _windows(walked), facts_grid(facts)], console)


def _print(parts: "list[RenderableType]", console: "Console") -> None:
    from rich.padding import Padding

    for part in parts:
        console.print(Padding(part, (0, 1, 1, 1), expand=False), highlight=False, markup=False)


def _identity(report: "ValidationReport") -> "RenderableType":
    from rich.text import Text

    best = report.best
    facts = (
        (statements.market_name(best), "bold"),
        ("SYNTHETIC" if best.candles.synthetic else "", "bold reverse"),
        (best.candles.exchange, ""),
        (statements.span(best), ""),
        (statements.bars_and_gaps(best), ""),
        (statements.strategy_name(best), ""),
    )
    return Text("  ").join(Text(text, style) for text, style in facts if text)


def _word(verdict: "Verdict") -> "RenderableType":
    from rich.text import Text

    word = str(verdict.word)
    text = Text.assemble(("VERDICT   ", "bold"), (word, _STYLES[word]))
    for reason in verdict.reasons:
        text.append(f"\n{sentence(reason)}")
    for change in verdict.would_change:
        text.append(f"\nWould change it: {change}", "dim")
    return text


def _tests(verdict: "Verdict") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("test", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("threshold")
    for test in verdict.tests:
        if not test.decides:
            continue
        found = state(test, verdict.evidence)
        # What stands behind a semicolon explains, and the page has room for it.
        threshold = test.threshold.partition(";")[0].removesuffix(" there are")
        table.add_row(test.name, Text(f"{SIGNS[found]} {found}", _STATES.get(found, "dim")), shown(test), threshold)
    return table


def _windows(walked: "WalkForwardResult") -> "RenderableType":
    """The windows, the last ones where there are many."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("window", "Sharpe in", "Sharpe out", "net out", "trades"):
        table.add_column(head, justify="right")
    table.add_column("traded from")
    table.add_column("")
    left_out = len(walked.windows) - _MOST_WINDOWS
    for window in walked.windows[max(0, left_out) :]:
        inside, outside = window.in_sample, window.out_of_sample
        table.add_row(
            str(window.number),
            NOT_AVAILABLE if inside is None else number(inside.metrics["sharpe_ratio"]),
            NOT_AVAILABLE if outside is None else number(outside.metrics["sharpe_ratio"]),
            NOT_AVAILABLE if outside is None else money(outside.net_pnl, signed=True),
            "0" if outside is None else f"{outside.total_trades:,}",
            day(window.window.oos_start),
            "" if window.scored else "too few to score",
            style="" if window.scored else "dim",
        )
    if left_out > 0:
        table.caption = Text(f"the first {left_out:,} windows are in the files", "dim")
        table.caption_justify = "left"
    return table


def _walk_facts(walked: "WalkForwardResult") -> list[tuple[str, str, str]]:
    lines = [f"{name.lower()} {value}" for name, value, _ in scores(walked)]
    net = float(walked.equity[-1]) - walked.capital if len(walked.equity) else 0.0
    stitched = (
        f"net {money(net, signed=True)}, Sharpe {number(walked.metrics['sharpe_ratio'])}, max drawdown "
        f"{percent(walked.metrics['max_drawdown'])}, {counted(len(walked.trades), 'trade')}"
    )
    return [("Stitched", stitched, ""), ("Scores", _packed(lines), "")]


def _lines(report: "ValidationReport", look_ahead: "LookAheadReport | None") -> "RenderableType":
    facts: list[tuple[str, str, str]] = []
    if report.walked is not None:
        facts += _walk_facts(report.walked)
    facts.append(("Luck", luck_sentence(report.decision), ""))
    worlds = [f"{one.name} {money(one.net_pnl, signed=True)}" for one in report.scenarios]
    if worlds:
        facts.append(("Stress", _packed(worlds), ""))
    jitters = [
        f"{percent(100.0 * one.profitable, 0)} with a profit up to {percent(100.0 * one.share, 0)} off"
        for one in report.jitters
    ]
    if jitters:
        facts.append(("Jitter", f"of the parameters: {', '.join(jitters)}", ""))
    if report.reshuffled is not None:
        deep = percent(report.reshuffled.drawdown.percentiles.get(95))
        facts.append(("Drawdown", f"one order of the trades in twenty falls by {deep} or more", ""))
    if look_ahead is not None:
        facts.append(("Look-ahead", str(look_ahead), "" if look_ahead.ok else "bold red"))
    facts += [("Note", sentence(note), "yellow") for note in report.notes]
    facts.append(("Error rate", error_sentence(), "dim"))
    return facts_grid(facts)


def _packed(texts: Sequence[str]) -> str:
    """Texts side by side, none of them broken over two lines."""
    lines = [texts[0]]
    for text in texts[1:]:
        if len(lines[-1]) + len(text) + 3 <= _TEXT_WIDTH:
            lines[-1] += f"   {text}"
        else:
            lines.append(text)
    return "\n".join(lines)
