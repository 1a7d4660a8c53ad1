"""The tables of a run's page, each one function from what was found to markup, and the texts of figures in them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from barwise.report import appendix, sections, statements
from barwise.report.cells import Cell, data_table, money_result, signed
from barwise.report.findings import RunFindings, StageDone
from barwise.report.markup import Child, Markup, element, joined
from barwise.report.run_comparison import (
    BASELINE,
    DIFFERENCES,
    FIGURES,
    HELD,
    OPTIMIZED,
    OUT_OF_SAMPLE,
    Comparison,
    Figure,
    Part,
)
from barwise.report.run_document import changed_parameters
from barwise.report.text import NOT_AVAILABLE, counted, day, duration, money, number, percent, price, with_unit, words
from barwise.report.verdict_text import sentence

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult
    from barwise.validation.engine import ValidationReport
    from barwise.validation.walk_forward import WalkForwardResult

# What is a gain or a loss is told with its sign.
_SIGNED = frozenset({"net_pnl", "net_pnl_per_30_days", "total_return", "cagr", "expectancy", "expectancy_r"})
_DIFFERENCE_NAMES = {BASELINE: "vs baseline", OPTIMIZED: "vs optimized"}


def folded(summary: str, *content: Child) -> Markup:
    """Details for those who ask for them."""
    return element("details", element("summary", summary), *content)


def missing(text: str) -> Markup:
    """Why something is not here."""
    return element("p", told(text), class_="limits muted")


def listed(texts: Sequence[str]) -> Markup:
    """Sentences as a list."""
    return element("ul", *(element("li", told(text)) for text in texts))


def told(*texts: str) -> str:
    """Sentences in which a number is never parted from its percent sign."""
    return " ".join(sentence(text) for text in texts).replace(" %", "\u00a0%")


# -- Side by side ------------------------------------------------------------------------------------------------------


def figure_text(figure: Figure, value: float | None, *, plus: bool | None = None) -> str:
    """A figure as people read it.

    Args:
        figure: What it is.
        value: None where it is undefined.
        plus: A plus before what is positive; None = where the figure is a gain or a loss.
    """
    with_sign = figure.name in _SIGNED if plus is None else plus
    if figure.unit == "count":
        return number(value, 0, signed=with_sign)
    if figure.unit == "money":
        return money(value, signed=with_sign)
    if figure.unit == "percent":
        return percent(value, signed=with_sign)
    return with_unit(value, "R", 2, signed=with_sign) if figure.unit == "R" else number(value, signed=with_sign)


def difference_text(figure: Figure, value: float | None) -> str:
    """A difference with its sign, coloured by whether it is for the better; "" where it means nothing."""
    if value is None:
        return ""
    text = figure_text(figure, value, plus=True).replace("%", "pp")
    return signed(figure.better * value, text) if text.startswith(("+", "-")) else text


def _value_cell(part: Part, figure: Figure) -> str:
    value = part.figure(figure)
    if part.name == HELD and value is None:
        return ""
    text = figure_text(figure, value)
    return signed(value, text) if figure.name == "net_pnl" else text


def comparison_table(found: Comparison) -> Markup:
    """All figures of all parts, with the differences beside the part that is compared."""
    header = ["<"]
    for part in found.parts.values():
        header.append(part.label)
        header += [_DIFFERENCE_NAMES[pair.base] for pair in DIFFERENCES if _is_shown(found, pair.part, pair.base, part)]
    rows = []
    for figure in FIGURES:
        if figure.name == "funding" and not any(part.figure(figure) for part in found.parts.values()):
            continue
        row: list[Child] = [figure.label]
        for part in found.parts.values():
            row.append(_value_cell(part, figure))
            row += [
                difference_text(figure, found.difference(pair, figure))
                for pair in DIFFERENCES
                if _is_shown(found, pair.part, pair.base, part)
            ]
        rows.append(row)
    # On a phone the differences give way to the figures themselves (run.css), which they can be worked out from.
    class_ = "narrow comparison" if OPTIMIZED in found.parts else "narrow"
    return data_table("Money in quote currency; pp: percentage points", header, rows, class_=class_)


def _is_shown(found: Comparison, name: str, base: str, part: Part) -> bool:
    return part.name == name and base in found.parts


def spans_text(found: Comparison) -> list[str]:
    """Over which bars each part was made, and what that means for the differences."""
    spans = [
        f"{part.label}: {day(part.first_ms)} .. {day(part.end_ms - part.candles.timeframe.ms)}, "
        f"{counted(len(part.bars), 'bar')}"
        for part in found.parts.values()
        if part.name != HELD
    ]
    texts = ["; ".join(spans)]
    walked = found.parts.get(OUT_OF_SAMPLE)
    if walked is not None:
        if found.spans_differ and OPTIMIZED in found.parts:
            texts.append(
                "The walk-forward covers other bars, so what grows with the span is not subtracted there: compare what "
                "is per 30 days, a year or a trade"
            )
        texts.append(
            f"Over the bars of the walk-forward, holding the market made "
            f"{percent(walked.held['total_return'], signed=True)}"
        )
    optimized = found.parts.get(OPTIMIZED)
    if optimized is not None:
        later = int(optimized.bars[0] - found.parts[BASELINE].bars[0])
        if later:
            texts.append(
                f"The optimized strategy starts {counted(abs(later), 'bar')} {'later' if later > 0 else 'earlier'} "
                "than the baseline, where its own longest periods are defined"
            )
    return texts


# -- Costs and band ----------------------------------------------------------------------------------------------------

_COSTS = {
    "before_costs": "before costs", "slippage": "slippage", "gross_pnl": "gross, at fill prices", "fees": "fees",
    "funding": "funding", "net_pnl": "net",
}  # fmt: skip


def costs_table(found: Comparison) -> Markup:
    """From the result before costs to the net result, for every part that trades."""
    chains = {part.label: chain for part in found.parts.values() if (chain := part.costs()) is not None}
    names = [name for name in _COSTS if name != "funding" or any(chain["funding"] for chain in chains.values())]
    rows = []
    for name in names:
        amounts = [
            -chain[name] if name in ("slippage", "fees", "funding") else chain[name] for chain in chains.values()
        ]
        total = name.endswith("pnl") or name == "before_costs"
        rows.append([_COSTS[name], *(money_result(value) if total else money(value, signed=True) for value in amounts)])
    shares: list[Child] = ["share taken by costs"]
    for chain in chains.values():
        before = chain["before_costs"]
        taken = before - chain["net_pnl"]
        shares.append(percent(100.0 * taken / before, 0) if before > 0.0 else NOT_AVAILABLE)
    return data_table("Totals in quote currency", ("<", *chains), [*rows, shares], class_="narrow")


def bands(findings: RunFindings) -> Markup:
    """The three readings of unclear bars, for the baseline and for the optimized strategy."""
    found = {"Baseline": findings.baseline}
    if findings.optimization is not None:
        found["Optimized"] = findings.optimization.best
    heading = element("h3", "How much hangs on the order inside a bar")
    return element(
        "div",
        *(Markup(sections.band(result).replace(heading, element("h3", name))) for name, result in found.items()),
        class_="pair",
    )


# -- Walk-forward ------------------------------------------------------------------------------------------------------


def drift_table(walked: "WalkForwardResult") -> Markup | None:
    """What each window chose; None where every window chose the same."""
    if not walked.drift:
        return None
    rows = [
        (name, price(min(values)), price(max(values)), ", ".join(price(value) for value in values))
        for name, values in walked.drift.items()
    ]
    header = ("<parameter", "least", "most", "<window by window")
    return data_table("A parameter that jumps from window to window was fitted to noise", header, rows)


# -- Search ------------------------------------------------------------------------------------------------------------


def parameters_table(findings: RunFindings) -> Markup:
    """Where each parameter that was searched or changed began, where it ended, and in which box it was looked for."""
    before, after = findings.baseline.strategy, findings.chosen.strategy
    changed = changed_parameters(findings)
    rows: list[tuple[Child, ...]] = []
    searched = set()
    for stage in () if findings.optimization is None else findings.optimization.stages:
        for dimension in stage.space.dimensions:
            name = dimension.name
            searched.add(name)
            old, new = float(getattr(before, name)), float(getattr(after, name))
            wall = new in (dimension.low, dimension.high) and dimension.high > dimension.low
            rows.append(
                (
                    name,
                    price(old),
                    price(new),
                    "unchanged" if old == new else _change(old, new),
                    f"{price(dimension.low)} to {price(dimension.high)}",
                    stage.stage,
                    Cell("at the wall of its box" if wall else "", "long-text"),
                )
            )
    rows += [
        (name, setting(old), setting(new), "changed", "", "", "") for name, (old, new) in changed.items()
        if name not in searched
    ]  # fmt: skip
    header = ("<parameter", "baseline", "optimized", "change", "box", "<stage", "<note")
    return data_table("All other parameters stayed as they were", header, rows)


def _change(old: float, new: float) -> str:
    return percent(100.0 * (new / old - 1.0), 0, signed=True) if old else f"by {price(new - old)}"


def setting(value: Any) -> str:
    """A setting as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return price(value) if isinstance(value, float) else str(value)


def search_table(found: "OptimizationResult") -> Markup:
    """The stages of the search."""
    rows = [
        (
            stage.stage,
            stage.sampler,
            f"{stage.tried:,}",
            f"{stage.pruned:,}",
            number(stage.base_value, 3),
            number(stage.best_value, 3),
            Cell(seconds_text(stage.seconds), "clock"),
        )
        for stage in found.stages
    ]
    header = ("<stage", "<sampler", "trials", "given up", "before", "after", "time")
    objective = words(found.stages[0].objective.names[0])
    caption = f"By {objective}. Given up: at a rung, early"
    return data_table(caption, header, rows)


# -- Data, stages, reproduction ----------------------------------------------------------------------------------------


def seconds_text(seconds: float) -> str:
    """A length of time."""
    return f"{seconds:.1f} s" if seconds < 60.0 else duration(round(1000.0 * seconds))


def stages_table(stages: tuple[StageDone, ...]) -> Markup:
    """What was gone through, and how long it took."""
    several = any(stage.market for stage in stages)
    rows = [
        (
            stage.number,
            stage.name,
            *([stage.market] if several else []),
            stage.state,
            Cell("" if stage.state == "skipped" else seconds_text(stage.seconds), "clock"),
            Cell(stage.text, "long-text"),
        )
        for stage in stages
    ]
    header = ("<stage", "<name", *(["<market"] if several else []), "<state", "time", "<what came out")
    return data_table("kept: answered from a checkpoint, with the time it took before", header, rows)


def reproduction_table(findings: RunFindings, made_with: Mapping[str, str]) -> Markup:
    """What the same numbers can be made from again."""
    result, validation = findings.baseline, findings.validation
    detail = statements.detail_candles(result)
    rows: list[tuple[Child, ...]] = [
        ("run", findings.name),
        ("candles", result.candles.label),
        ("fingerprint of the candles", result.candles.fingerprint),
    ]
    if detail is not None:
        rows.append(("fingerprint of the detail candles", detail.fingerprint))
    if findings.n_trials is not None:
        rows.append(("configurations on record for these candles", f"{findings.n_trials:,}"))
    if findings.optimization is not None and findings.optimization.stages:
        rows.append(("objective", findings.optimization.stages[0].objective.label))
    if validation is not None and validation.walked is not None:
        config = validation.walked.config
        lengths = f"{config.is_length_days} + {config.oos_length_days} days, every {config.stride_days}"
        rows.append(("windows", f"{lengths}{', anchored' if config.anchored else ''}"))
    if validation is not None and validation.permutation is not None:
        rows.append(("shuffled markets planned", f"{validation.permutation.planned:,}"))
    rows += list(made_with.items())
    for name, value in findings.hardware.items():
        text: Child = Cell(str(value), "clock") if name == "measured_at" else str(value)
        rows.append((words(name), text))
    caption = "The same candles, configuration and versions give the same numbers to the last bit"
    return data_table(caption, ("<", "<"), rows)


def configuration_table(findings: RunFindings) -> Markup:
    """The resolved configuration."""
    rows = [
        (f"{section}.{name}", setting(value))
        for section, values in findings.config.items()
        for name, value in values.items()
    ]
    return data_table("As it was resolved for this run", ("<setting", "<value"), rows)


def monte_carlo_text(report: "ValidationReport") -> list[str]:
    """What the resampled trades say, in sentences."""
    texts = []
    if report.reshuffled is not None:
        found = report.reshuffled
        texts.append(
            f"The same {counted(found.trades, 'trade')} in other orders: one order in twenty falls by "
            f"{percent(found.drawdown.percentiles.get(95))} or more; {percent(found.observed_drawdown)} happened"
        )
    if report.missed is not None:
        missed = report.missed
        texts.append(
            f"Where {percent(missed.missed_share, 0)} of the trades never come about: "
            f"{money(missed.result.percentiles.get(5), signed=True)} in the worst twentieth, "
            f"{money(missed.result.percentiles.get(50), signed=True)} in the middle; without the best trade "
            f"{money(missed.without_best, signed=True)}"
        )
    jitters = [
        f"{percent(100.0 * one.profitable, 0)} with a profit up to {percent(100.0 * one.share, 0)} off"
        for one in report.jitters
    ]
    if jitters:
        texts.append(f"Every parameter a little off, in-sample: {', '.join(jitters)}")
    return texts


def overfitting_text(report: "ValidationReport") -> str:
    """What the trials of the search say about choosing the best of them."""
    found = report.selection
    if found.pbo is None:
        return "The trials cannot be compared: too few bars, or fewer than two of them traded."
    text = (
        f"Chosen on one half of the bars, the best trial ranks in the lower half of the other in "
        f"{percent(100.0 * found.pbo.pbo, 0)} of {found.pbo.splits:,} splits (probability of backtest overfitting; "
        f"noise has 50 %) and loses money there in {percent(100.0 * found.pbo.probability_of_loss, 0)}."
    )
    if found.spa is not None:
        text += (
            f" Hansen's test of the {found.spa.models:,} trials fixed beforehand: p = "
            f"{number(found.spa.p_consistent, 3)}."
        )
    return text


def data_part(findings: RunFindings) -> Markup:
    """The audit of the candles and the long check for look-ahead."""
    parts = [appendix.audit_table(findings.baseline)]
    if findings.look_ahead is not None:
        parts.append(element("p", str(findings.look_ahead)))
    return joined(*parts)
