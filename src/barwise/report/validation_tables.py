"""The tables of a verdict's page: the tests, the windows, what other histories and less kind worlds made of it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from barwise.report.cells import Cell, data_table, money_result
from barwise.report.markup import Child, Markup
from barwise.report.text import NOT_AVAILABLE, counted, day, money, number, percent, words
from barwise.report.verdict_text import SIGNS, sentence, shown, state
from barwise.validation.error_rates import ErrorRates

if TYPE_CHECKING:
    from barwise.validation.engine import ValidationReport
    from barwise.validation.verdict import Test, Verdict
    from barwise.validation.walk_forward import WalkForwardResult

_INTERVALS = {"sharpe_ratio": "Sharpe ratio, annual", "total_return": "return", "max_drawdown": "max drawdown"}


def table_of_tests(caption: str, verdict: "Verdict", tests: "Iterable[Test]", *, said: str = "") -> Markup:
    """Tests with their numbers and what they mean.

    Args:
        caption: What these have in common.
        verdict: Whose tests they are.
        tests: Which of them.
        said: By the caption already, so no threshold says it once more.
    """
    rows: list[tuple[Child, ...]] = []
    for test in tests:
        found = state(test, verdict.evidence)
        rows.append(
            (
                test.name,
                Cell(f"{SIGNS[found]} {found}", found if found in ("passed", "failed") else "open"),
                shown(test),
                "" if test.threshold == said else test.threshold,
                Cell(sentence(test.meaning), "long-text"),
            )
        )
    return data_table(caption, ("<test", "<", "number", "<threshold", "<what it means"), rows, class_="tests")


def windows_table(walked: "WalkForwardResult", *, in_sample: bool = False) -> Markup:
    """The windows of a walk-forward one by one.

    Args:
        walked: What came of it.
        in_sample: Also over which days each was searched.
    """
    rows: list[tuple[Child, ...]] = []
    for window in walked.windows:
        span, inside, outside = window.window, window.in_sample, window.out_of_sample
        rows.append(
            (
                str(window.number),
                *([f"{day(span.is_start)} .. {day(span.is_end)}"] if in_sample else []),
                f"{day(span.oos_start)} .. {day(span.oos_end)}",
                f"{window.trials:,}",
                NOT_AVAILABLE if inside is None else number(inside.metrics["sharpe_ratio"]),
                NOT_AVAILABLE if outside is None else number(outside.metrics["sharpe_ratio"]),
                NOT_AVAILABLE if outside is None else money_result(outside.net_pnl),
                NOT_AVAILABLE if outside is None else percent(outside.max_drawdown),
                "0" if outside is None else f"{outside.total_trades:,}",
                "yes" if window.scored else "no",
            )
        )
    searched = ["<in-sample"] if in_sample else []
    header = (
        "window", *searched, "<traded", "trials", "Sharpe in", "Sharpe out", "net out", "drawdown", "trades", "<scored",
    )  # fmt: skip
    return data_table("Spans are half-open; every part starts from the same capital", header, rows)


def drawdown_table(report: "ValidationReport") -> Markup | None:
    """Drawdowns of the trades in other orders; None where too few were made."""
    found = report.reshuffled
    if found is None:
        return None
    rows = [
        (
            f"{share} % of the orders",
            percent(found.drawdown.percentiles[share]),
            money(found.drawdown_money.percentiles[share]),
        )
        for share in (50, 75, 95, 99)
    ]
    rows.insert(0, ("the order that happened", percent(found.observed_drawdown), money(found.observed_drawdown_money)))
    return data_table("Drawdown of closed trades at or below", ("<", "of the peak", "money"), rows)


def interval_table(report: "ValidationReport") -> Markup | None:
    """Bootstrap intervals of the chosen result; None where there are none."""
    if not report.intervals:
        return None

    def told(name: str, value: float) -> str:
        return number(value) if name == "sharpe_ratio" else percent(value)

    rows = [
        (_INTERVALS.get(name, words(name)), *(told(name, value) for value in (found.low, found.estimate, found.high)))
        for name, found in report.intervals.items()
    ]
    confidence = 100.0 * next(iter(report.intervals.values())).confidence
    caption = f"Bootstrap intervals of the chosen result, in-sample, {confidence:.0f} %"
    return data_table(caption, ("<", "low", "found", "high"), rows)


def scenario_table(report: "ValidationReport", caption: str) -> Markup | None:
    """The out-of-sample pieces with higher costs and worse fills; None without any."""
    if not report.scenarios:
        return None
    base = report.scenarios[0].net_pnl
    rows = [
        (
            one.name,
            money_result(one.net_pnl),
            "" if one is report.scenarios[0] else money_result(one.net_pnl - base),
            f"{one.trades:,}",
        )
        for one in report.scenarios
    ]
    return data_table(caption, ("<world", "net result", "difference", "trades"), rows)


def jitter_table(report: "ValidationReport") -> Markup | None:
    """What parameters near the chosen ones would have made; None where they were not tried."""
    if not report.jitters:
        return None
    rows = [
        (
            f"up to {percent(100.0 * one.share, 0)} off",
            f"{one.tried:,}",
            percent(100.0 * one.profitable, 0),
            number(one.median),
            number(one.worst_decile),
        )
        for one in report.jitters
    ]
    header = ("<every parameter", "tried", "with a profit", "median Sharpe", "worst tenth")
    return data_table("The neighbourhood of the chosen strategy, in-sample", header, rows)


def rates_table(rates: ErrorRates) -> Markup:
    """How often the rule says LIKELY REAL of markets whose edge is known."""
    rows = [
        (
            row.market,
            number(row.sharpe, 1) if row.sharpe else "none",
            number(row.years, 1),
            f"{row.runs:,}",
            percent(100.0 * row.share),
        )
        for row in (*rates.noise, *rates.edges)
    ]
    caption = f"Measured on {rates.measured} with barwise {rates.barwise}"
    return data_table(caption, ("<market", "true Sharpe", "years", "runs", "LIKELY REAL"), rows)


def reproduction_table(report: "ValidationReport", versions: Mapping[str, str]) -> Markup:
    """What the same verdict can be made from again."""
    candles, walked = report.candles, report.walked
    rows = [
        ("candles", candles.label),
        ("fingerprint of the candles", candles.fingerprint),
        ("run", report.run),
        ("configurations on record for these candles", f"{report.n_trials:,}"),
        ("objective", report.stages[0].objective.label),
    ]
    if walked is not None:
        config, anchored = walked.config, ", anchored" if walked.config.anchored else ""
        lengths = f"{config.is_length_days} + {config.oos_length_days} days, every {config.stride_days}{anchored}"
        rows.append(("windows", f"{lengths}, embargo {counted(config.embargo, 'bar')}"))
    if report.permutation is not None:
        rows.append(("shuffled markets planned", f"{report.permutation.planned:,}"))
    rows += [(f"seconds, {step}", f"{taken:.1f}") for step, taken in report.seconds.items()]
    return data_table("What the verdict can be made from again", ("<", "<"), [*rows, *versions.items()])
