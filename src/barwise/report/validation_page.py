"""The verdict on paper: one word, why, what would change it, and every test behind it, as one HTML page.

A verdict that cannot be checked is an opinion. The page shows each test's number beside its threshold, what luck alone
would have shown, and how often the rule itself is wrong. What was not run says so instead of leaving a gap.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from barwise.report import appendix, statements
from barwise.report.cells import data_table, money_result
from barwise.report.charts import Chart
from barwise.report.markup import Markup, element, joined
from barwise.report.page import NO_SCRIPT, asset, document, figure_block, page_header, section
from barwise.report.sections import card
from barwise.report.text import NOT_AVAILABLE, counted, day, moment, money, number, percent, price
from barwise.report.trial_marks import ROLES
from barwise.report.validation_charts import ValidationCharts, WalkCharts, validation_charts, walk_charts
from barwise.report.validation_tables import (
    drawdown_table,
    interval_table,
    jitter_table,
    rates_table,
    reproduction_table,
    scenario_table,
    table_of_tests,
    windows_table,
)
from barwise.report.verdict_text import (
    STABILITY_CHECK,
    luck_sentence,
    scores,
    sentence,
)
from barwise.validation.error_rates import COMMAND, error_rates, error_sentence

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.strategy.lookahead import LookAheadReport
    from barwise.validation.engine import ValidationReport
    from barwise.validation.verdict import Verdict
    from barwise.validation.walk_forward import WalkForwardResult

_ROLES = " ".join(f"--{role}: {colour};" for role, colour in ROLES.items())
_STYLE = f":root {{ {_ROLES} }} .small-charts {{ --height: 220px; }}\n{asset('verdict.css')}"
_RULE = (
    "TOO LITTLE DATA: fewer than 30 trades, fewer than 3 out-of-sample windows with enough trades, or a span shorter "
    "than the minimum track record; then nothing else is claimed. LIKELY OVERFIT: the permutation test gives p above "
    "20 %, or the out-of-sample Sharpe ratio is not above 0, or the deflated Sharpe ratio is below 50 % while more "
    "than half of all splits say overfitting. LIKELY REAL: p of 5 % or less, an out-of-sample probability above 80 %, "
    "and still positive with twice the slippage. UNPROVEN: the rest."
)
_PIECES = "The out-of-sample pieces again, each from the same capital, so the sum is not that of the equity"
_CANNOT_KNOW = (
    "No verdict knows the order of prices inside a bar, what your own orders would have done to the market, a venue "
    "that fails, a market that changes, or the trials that nobody recorded. docs/what-this-backtest-cannot-know.md "
    "has the list."
)


# -- The page of a verdict ---------------------------------------------------------------------------------------------


def validation_page(
    report: "ValidationReport",
    *,
    written: datetime,
    versions: Mapping[str, str],
    files: Mapping[str, str],
    look_ahead: "LookAheadReport | None" = None,
    charts: ValidationCharts | None = None,
) -> str:
    """The page of one verdict: one HTML file that opens without a network.

    Args:
        report: What to show.
        written: When the page was made.
        versions: What made it, by name.
        files: The other files of the report, as the reader shall find them.
        look_ahead: What the long check for look-ahead found, where it was run.
        charts: From `validation_charts`, where they were made already.
    """
    drawn = validation_charts(report) if charts is None else charts
    best = report.best
    title = f"{statements.market_name(best)} {best.candles.exchange}: {report.verdict}"
    terms = (
        f"Run {report.run}. All times are UTC, all money is quote currency, capital {money(best.initial_capital)}. "
        f"Written {moment(written)}."
    )
    parts = [
        section("Verdict", _verdict(report.decision), element("noscript", NO_SCRIPT)),
        section("Tests", *_tests(report.decision)),
        section("Luck", element("p", luck_sentence(report.decision)), _figure(drawn.luck, "low")),
        section("Shuffled markets", *_permutation(report, drawn.permutation)),
        section("Walk-forward", *_walk_forward(report, drawn.walk)),
        section("Overfitting of the search", *_selection(report, drawn)),
        section("Other histories", *_monte_carlo(report, drawn)),
        section("Less kind worlds", *_stress(report)),
        section("The strategy that was judged", *_strategy(report)),
        *([section("Look-ahead", element("p", str(look_ahead)))] if look_ahead is not None else []),
        *([section("Notes", _listed(report.notes))] if report.notes else []),
        section("The rule and how often it is wrong", *_rule()),
        section("Reproducing this", reproduction_table(report, versions)),
    ]
    body = joined(
        *_notices(best.candles),
        page_header(statements.market_name(best), [statements.facts(best)], [terms]),
        element("main", *parts),
        appendix.footer(files, written),
    )
    return document(title, body, drawn.all(), _STYLE)


def _notices(candles: "Candles") -> list[Markup]:
    if not candles.synthetic:
        return []
    text = "SYNTHETIC: these prices were made up by a program. The verdict says nothing about any real market."
    return [element("p", text, class_="notice synthetic", role="note")]


def _figure(chart: Chart, size: str) -> Markup:
    """A chart of a height of its own."""
    drawn = figure_block(chart)
    return Markup(drawn.replace('class="plot"', f'class="plot {size}"'))


def _listed(texts: Sequence[str]) -> Markup:
    return element("ul", *(element("li", sentence(text)) for text in texts))


def _missing(text: str) -> Markup:
    """Why something is not here."""
    return element("p", sentence(text), class_="limits muted")


# -- Verdict and tests -------------------------------------------------------------------------------------------------


def _verdict(verdict: "Verdict") -> Markup:
    first, *others = verdict.reasons
    return joined(
        element(
            "div",
            element("p", str(verdict.word), class_="word"),
            element("p", sentence(first), class_="because"),
            _listed(others) if others else None,
            class_=f"verdict {str(verdict.word).lower().replace(' ', '-')}",
        ),
        *((element("h3", "What would change it"), _listed(verdict.would_change)) if verdict.would_change else ()),
    )


def _tests(verdict: "Verdict") -> list[Markup]:
    deciding, beside = ([test for test in verdict.tests if test.decides is decides] for decides in (True, False))
    return [
        table_of_tests("The rule looks at these", verdict, deciding, said="decides nothing"),
        table_of_tests("Beside them, deciding nothing", verdict, beside, said="decides nothing"),
    ]


def _permutation(report: "ValidationReport", chart: Chart | None) -> list[Markup]:
    test = report.permutation
    if test is None:
        return [
            _missing(
                "not run. The same search on shuffled markets would say what searching alone finds; without it nothing "
                "is more than UNPROVEN"
            )
        ]
    if chart is None:
        return [_missing("no trial kept the guards, here or on the shuffled markets: there is nothing to draw")]
    return [figure_block(chart)]


# -- Walk-forward ------------------------------------------------------------------------------------------------------


def _walk_forward(report: "ValidationReport", charts: WalkCharts | None) -> list[Markup]:
    if report.walked is None or charts is None:
        why = next((note for note in report.notes if note.startswith("no walk-forward")), "no walk-forward was made")
        return [_missing(why)]
    return walk_forward_parts(report.walked, charts)


def walk_forward_parts(walked: "WalkForwardResult", charts: WalkCharts) -> list[Markup]:
    """Scores, charts and table of a walk-forward."""
    net = float(walked.equity[-1]) - walked.capital if len(walked.equity) else 0.0
    total = walked.metrics
    headline = (
        (
            "Net result",
            money_result(net),
            f"{counted(len(walked.trades), 'trade')} in {counted(len(walked.pieces), 'piece')}",
        ),
        ("Sharpe", number(total["sharpe_ratio"]), "of the stitched series, annual"),
        ("Max drawdown", percent(total["max_drawdown"]), "of the stitched series"),
    )
    cards = element("dl", *(card(*one) for one in (*headline, *scores(walked))), class_="cards")
    parts = [] if walked.reoptimized else [element("p", STABILITY_CHECK, class_="notice ruined", role="note")]
    parts += [cards, figure_block(charts.windows)]
    if charts.stitched is not None:
        parts.append(figure_block(charts.stitched))
    else:
        parts.append(_missing("no window had a bar to trade"))
    parts.append(windows_table(walked, in_sample=True))
    if charts.drift:
        parts += [
            element("h4", "What each window chose"),
            element("p", "A parameter that jumps from window to window was fitted to noise.", class_="muted"),
            element("div", *(figure_block(chart) for chart in charts.drift), class_="small-charts"),
        ]
    elif walked.reoptimized:
        parts.append(_missing("every window chose the same parameters"))
    return parts


# -- Overfitting -------------------------------------------------------------------------------------------------------


def _selection(report: "ValidationReport", charts: ValidationCharts) -> list[Markup]:
    found = report.selection
    parts: list[Markup] = []
    if charts.logits is not None and charts.degradation is not None:
        parts.append(element("div", figure_block(charts.logits), figure_block(charts.degradation), class_="pair"))
    else:
        parts.append(_missing("the trials cannot be compared: too few bars, or fewer than two of them traded"))
    text = f"{found.trials:,} of {counted(found.distinct, 'configuration')} of the search were looked at."
    if found.path_sharpes.size:
        low, middle, high = (
            number(value) for value in (found.path_sharpes.min(), _median(found.path_sharpes), found.path_sharpes.max())
        )
        text += (
            f" Choosing anew in every training part of {len(found.path_sharpes)} cross-validated paths gives Sharpe "
            f"ratios from {low} to {high}, {middle} in the median; no path's training part holds or touches its test."
        )
    else:
        text += " The span is too short for cross-validated paths."
    if found.spa is not None:
        text += (
            f" Hansen's test of the {found.spa.models:,} trials that were fixed beforehand: p = "
            f"{number(found.spa.p_consistent, 3)}; White's reality check: {number(found.spa.reality_check, 3)}."
        )
    parts.append(element("p", text))
    if charts.cross_validated is not None:
        parts.append(_figure(charts.cross_validated, "low"))
    return parts


def _median(values: Any) -> float:
    ordered = sorted(values.tolist())
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0)


# -- Monte Carlo and stress --------------------------------------------------------------------------------------------


def _monte_carlo(report: "ValidationReport", charts: ValidationCharts) -> list[Markup]:
    parts: list[Markup] = []
    drawn = [chart for chart in (charts.fan, charts.drawdowns) if chart is not None]
    if drawn:
        parts.append(element("div", *(figure_block(chart) for chart in drawn), class_="pair"))
    if charts.fan is None:
        parts.append(_missing("no other histories: there is no out-of-sample result of more than 30 bars that varies"))
    if charts.drawdowns is None:
        parts.append(_missing("no reshuffled trades: fewer than two were made"))
    tables = [table for table in (drawdown_table(report), interval_table(report)) if table is not None]
    if tables:
        parts.append(element("div", *tables, class_="pair"))
    missed = report.missed
    if missed is not None:
        parts.append(
            element(
                "p",
                f"Where {percent(missed.missed_share, 0)} of the trades never come about: "
                f"{money(missed.result.percentiles.get(5), signed=True)} in the worst twentieth, "
                f"{money(missed.result.percentiles.get(50), signed=True)} in the middle, "
                f"{money(missed.without_best, signed=True)} without the best of them; with all "
                f"{counted(missed.trades, 'trade')} {money(missed.net_pnl, signed=True)}.",
            )
        )
    note = "None of these is a probability of an edge: a lucky sample stays lucky in all of its resamples."
    return [*parts, element("p", note, class_="limits muted")]


def _stress(report: "ValidationReport") -> list[Markup]:
    parts = (
        scenario_table(report, _PIECES) or _missing("without out-of-sample pieces there is nothing to stress"),
        jitter_table(report) or _missing("the neighbourhood of the chosen strategy could not be tried"),
    )
    return [element("div", *parts, class_="pair")]


# -- Strategy, rule, reproduction --------------------------------------------------------------------------------------


def _strategy(report: "ValidationReport") -> list[Markup]:
    start, best = report.stages[0].space.strategy, report.best
    changed = [
        (name, _setting(getattr(start, name)), _setting(getattr(best.strategy, name)))
        for name in type(best.strategy).model_fields
        if getattr(start, name) != getattr(best.strategy, name)
    ]
    text = (
        f"The best of the search on all bars: {money(best.net_pnl, signed=True)} with "
        f"{counted(best.total_trades, 'trade')}, Sharpe ratio {number(best.metrics['sharpe_ratio'])}, max drawdown "
        f"{percent(best.max_drawdown)}. All of this is in-sample."
    )
    if not changed:
        return [element("p", text), element("p", "The search kept every parameter it started from.")]
    return [
        element("p", text),
        data_table(
            "What the search changed; all other parameters stayed", ("<parameter", "started at", "chosen"), changed
        ),
    ]


def _setting(value: Any) -> str:
    if isinstance(value, float):
        return price(value)
    return NOT_AVAILABLE if value is None else str(value)


def _rule() -> list[Markup]:
    parts = [element("p", _RULE), element("p", error_sentence())]
    rates = error_rates()
    if rates is not None:
        parts.append(rates_table(rates))
    parts.append(element("p", f"{COMMAND} measures it again; docs/verdict.md explains each test."))
    parts.append(element("p", _CANNOT_KNOW, class_="limits"))
    return parts


# -- The page of a walk-forward ----------------------------------------------------------------------------------------


def walk_forward_page(
    walked: "WalkForwardResult", *, written: datetime, versions: Mapping[str, str], files: Mapping[str, str]
) -> str:
    """The page of a walk-forward by itself: no verdict, because most of its tests were not run.

    Args:
        walked: What to show.
        written: When the page was made.
        versions: What made it, by name.
        files: The other files, as the reader shall find them.
    """
    candles, charts = walked.candles, walk_charts(walked)
    market = f"{candles.symbol or 'unnamed market'} {candles.timeframe}"
    first, last = day(int(candles.time[0])), day(int(candles.time[-1]))
    facts = " · ".join(filter(None, (candles.exchange, type(walked.windows[0].strategy).name(), f"{first} .. {last}")))
    kind = "walk-forward" if walked.reoptimized else "stability check"
    terms = f"All times are UTC, all money is quote currency, capital {money(walked.capital)}."
    rows = [("candles", candles.label), ("fingerprint of the candles", candles.fingerprint), *versions.items()]
    no_verdict = "There is no verdict here: barwise validate runs the other tests too."
    main = [
        section(
            kind.capitalize(), *walk_forward_parts(walked, charts), _missing(no_verdict), element("noscript", NO_SCRIPT)
        ),
        *([section("Notes", _listed(walked.notes))] if walked.notes else []),
        section("Reproducing this", data_table("What it can be made from again", ("<", "<"), rows)),
    ]
    body = joined(
        *_notices(candles),
        page_header(market, [facts], [terms]),
        element("main", *main),
        appendix.footer(files, written),
    )
    return document(f"{market} {candles.exchange}: {kind}", body, charts.all(), _STYLE)
