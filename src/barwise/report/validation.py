"""The verdict on paper: one word, why, what would change it, and every test behind it, as one HTML page and as files.

A verdict that cannot be checked is an opinion. The page shows each test's number beside its threshold, what luck alone
would have shown, and how often the rule itself is wrong. What was not run says so instead of leaving a gap.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barwise.report import statements
from barwise.report.cells import Cell, data_table, money_result
from barwise.report.charts import Chart
from barwise.report.files import file_name, versions, write_together
from barwise.report.markup import Child, Markup, element, joined
from barwise.report.optimization_charts import ROLES
from barwise.report.overfitting import overfitting_document
from barwise.report.page import NO_SCRIPT, document, figure_block, section
from barwise.report.sections import card
from barwise.report.text import NOT_AVAILABLE, counted, day, moment, money, number, percent, price, words
from barwise.report.validation_charts import ValidationCharts, WalkCharts, validation_charts, walk_charts
from barwise.report.verdict_text import (
    SIGNS,
    STABILITY_CHECK,
    luck_sentence,
    scores,
    sentence,
    shown,
    state,
)
from barwise.validation.error_rates import COMMAND, ErrorRates, error_rates, error_sentence

if TYPE_CHECKING:
    from barwise.data.candles import Candles
    from barwise.strategy.lookahead import LookAheadReport
    from barwise.validation.engine import ValidationReport
    from barwise.validation.verdict import Test, Verdict
    from barwise.validation.walk_forward import WalkForwardResult

_ROLES = " ".join(f"--{role}: {colour};" for role, colour in ROLES.items())
_STYLE = f""":root {{ {_ROLES} }}
.verdict {{
  border-left: 10px solid var(--muted); background: var(--card); border-radius: 6px; padding: 1.1rem 1.3rem;
}}
.verdict .word {{
  font-size: clamp(2rem, 6vw, 3.4rem); font-weight: 800; line-height: 1.1; letter-spacing: -0.02em; margin: 0;
}}
.verdict .because {{ font-size: 1.1rem; margin: 0.6rem 0 0; }}
.verdict ul {{ margin: 0.5rem 0 0; padding-left: 1.2rem; }}
.likely-real {{ border-color: var(--gain); }}
.likely-overfit {{ border-color: var(--loss); }}
.too-little-data {{ border-color: var(--short); }}
.unproven {{ border-color: var(--long); }}
td.passed {{ color: var(--gain-text); text-align: left; }}
td.failed {{ color: var(--loss-text); font-weight: 600; text-align: left; }}
td.open {{ color: var(--muted); text-align: left; }}
.small-charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 0 1rem; }}
.small-charts > * {{ min-width: 0; }}
.small-charts .plot {{ height: 220px; }}
.small-charts h3 {{ font-size: 0.92rem; }}
.plot.low {{ height: 230px; }}
.pair {{ align-items: start; }}
h4 {{ margin: 1.4rem 0 0; font-size: 0.95rem; }}
@media (max-width: 700px) {{
  .tests, .tests caption, .tests tbody {{ display: block; }}
  .tests thead {{ display: none; }}
  .tests tr {{ display: grid; grid-template-columns: minmax(0, 1fr) auto auto; padding: 0.35rem 0; }}
  .tests th, .tests td:nth-child(n + 4) {{ white-space: normal; }}
  .tests td:nth-child(4), .tests td:nth-child(5) {{ grid-column: 1 / -1; min-width: 0; color: var(--muted); }}
  .tests td:nth-child(4)::before {{ content: "threshold: "; }}
  .tests td:nth-child(4):empty {{ display: none; }}
}}
@media print {{
  .verdict {{ break-inside: avoid; }}
  .small-charts {{ grid-template-columns: 1fr; }}
  .plot.low, .small-charts .plot {{ height: 300px; }}
}}
"""
_RULE = (
    "TOO LITTLE DATA: fewer than 30 trades, fewer than 3 out-of-sample windows with enough trades, or a span shorter "
    "than the minimum track record; then nothing else is claimed. LIKELY OVERFIT: the permutation test gives p above "
    "20 %, or the out-of-sample Sharpe ratio is not above 0, or the deflated Sharpe ratio is below 50 % while more "
    "than half of all splits say overfitting. LIKELY REAL: p of 5 % or less, an out-of-sample probability above 80 %, "
    "and still positive with twice the slippage. UNPROVEN: the rest."
)
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
    facts = (
        best.candles.exchange,
        statements.strategy_name(best),
        statements.span(best),
        statements.bars_and_gaps(best),
    )
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
        section("Reproducing this", _reproduction(report, versions)),
    ]
    body = joined(
        *_notices(best.candles),
        _header(statements.market_name(best), facts, terms),
        element("main", *parts),
        _footer(files, written),
    )
    return document(title, body, drawn.all(), _STYLE)


def _notices(candles: "Candles") -> list[Markup]:
    if not candles.synthetic:
        return []
    text = "SYNTHETIC: these prices were made up by a program. The verdict says nothing about any real market."
    return [element("p", text, class_="notice synthetic", role="note")]


def _header(market: str, facts: Sequence[str], terms: str) -> Markup:
    return element(
        "header",
        element(
            "div",
            element("h1", market),
            element("p", " · ".join(fact for fact in facts if fact)),
            element("p", terms, class_="muted"),
        ),
        element("button", "Dark theme", type="button", id="theme", hidden=True),
    )


def _footer(files: Mapping[str, str], written: datetime) -> Markup:
    beside = ", ".join(path for kind, path in files.items() if kind != "html")
    return element("footer", element("p", f"Written {moment(written)} UTC by barwise. Beside this page: {beside}."))


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
    header = ("<test", "<", "number", "<threshold", "<what it means")
    deciding, beside = ([test for test in verdict.tests if test.decides is decides] for decides in (True, False))
    return [
        data_table("The rule looks at these", header, _test_rows(verdict, deciding), class_="tests"),
        data_table("Beside them, deciding nothing", header, _test_rows(verdict, beside), class_="tests"),
    ]


def _test_rows(verdict: "Verdict", tests: Sequence["Test"]) -> list[tuple[Child, ...]]:
    rows: list[tuple[Child, ...]] = []
    for test in tests:
        found = state(test, verdict.evidence)
        kind = found if found in ("passed", "failed") else "open"
        threshold = "" if test.threshold == "decides nothing" else test.threshold
        rows.append(
            (
                test.name,
                Cell(f"{SIGNS[found]} {found}", kind),
                shown(test),
                threshold,
                Cell(sentence(test.meaning), "long-text"),
            )
        )
    return rows


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
    parts.append(_window_table(walked))
    if charts.drift:
        parts += [
            element("h4", "What each window chose"),
            element("p", "A parameter that jumps from window to window was fitted to noise.", class_="muted"),
            element("div", *(figure_block(chart) for chart in charts.drift), class_="small-charts"),
        ]
    elif walked.reoptimized:
        parts.append(_missing("every window chose the same parameters"))
    return parts


def _window_table(walked: "WalkForwardResult") -> Markup:
    rows: list[tuple[Child, ...]] = []
    for window in walked.windows:
        inside, outside = window.in_sample, window.out_of_sample
        rows.append(
            (
                str(window.number),
                f"{day(window.window.is_start)} .. {day(window.window.is_end)}",
                f"{day(window.window.oos_start)} .. {day(window.window.oos_end)}",
                f"{window.trials:,}",
                NOT_AVAILABLE if inside is None else number(inside.metrics["sharpe_ratio"]),
                NOT_AVAILABLE if outside is None else number(outside.metrics["sharpe_ratio"]),
                NOT_AVAILABLE if outside is None else money_result(outside.net_pnl),
                NOT_AVAILABLE if outside is None else percent(outside.max_drawdown),
                "0" if outside is None else f"{outside.total_trades:,}",
                "yes" if window.scored else "no",
            )
        )
    header = (
        "window", "<in-sample", "<out-of-sample", "trials", "Sharpe in", "Sharpe out", "net out", "drawdown out",
        "trades out", "<scored",
    )  # fmt: skip
    return data_table("The windows; spans are half-open, every part starts from the same capital", header, rows)


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
    tables = [table for table in (_drawdown_table(report), _interval_table(report)) if table is not None]
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


def _drawdown_table(report: "ValidationReport") -> Markup | None:
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


_INTERVALS = {"sharpe_ratio": "Sharpe ratio, annual", "total_return": "return", "max_drawdown": "max drawdown"}


def _interval_table(report: "ValidationReport") -> Markup | None:
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


def _stress(report: "ValidationReport") -> list[Markup]:
    parts = [_scenario_table(report), _jitter_table(report)]
    return [element("div", *parts, class_="pair")]


def _scenario_table(report: "ValidationReport") -> Markup:
    if not report.scenarios:
        return _missing("without out-of-sample pieces there is nothing to stress")
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
    caption = "The out-of-sample pieces again, each from the same capital, so the sum is not that of the equity"
    return data_table(caption, ("<world", "net result", "difference", "trades"), rows)


def _jitter_table(report: "ValidationReport") -> Markup:
    if not report.jitters:
        return _missing("the neighbourhood of the chosen strategy could not be tried")
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
        parts.append(_rates_table(rates))
    parts.append(element("p", f"{COMMAND} measures it again; docs/verdict.md explains each test."))
    parts.append(element("p", _CANNOT_KNOW, class_="limits"))
    return parts


def _rates_table(rates: ErrorRates) -> Markup:
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


def _reproduction(report: "ValidationReport", versions: Mapping[str, str]) -> Markup:
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
    facts = (candles.exchange, type(walked.windows[0].strategy).name(), f"{first} .. {last}")
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
    body = joined(*_notices(candles), _header(market, facts, terms), element("main", *main), _footer(files, written))
    return document(f"{market} {candles.exchange}: {kind}", body, charts.all(), _STYLE)


# -- Files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ValidationFiles:
    """The files of one verdict or walk-forward; `windows_csv` is None where there is no window."""

    json: Path
    html: Path
    windows_csv: Path | None


def validation_document(report: "ValidationReport", look_ahead: "LookAheadReport | None" = None) -> dict[str, Any]:
    """The verdict as plain JSON types; what is infinite or undefined is None."""
    content = report.to_dict() | {"look_ahead": None if look_ahead is None else look_ahead.to_dict()}
    pbo, candles = report.selection.pbo, report.candles
    content["overfitting"] = (
        None if pbo is None else overfitting_document(pbo, candles.timeframe.bars_per_year(candles.calendar))
    )
    rates = error_rates()
    content["error_rates"] = None if rates is None else rates.to_dict()
    cleaned: dict[str, Any] = finite(content)
    return cleaned


def walk_forward_document(walked: "WalkForwardResult") -> dict[str, Any]:
    """The walk-forward as plain JSON types; what is infinite or undefined is None."""
    cleaned: dict[str, Any] = finite({"schema_version": 1, **walked.to_dict()})
    return cleaned


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_validation(
    report: "ValidationReport",
    home: Path,
    *,
    look_ahead: "LookAheadReport | None" = None,
    written: datetime | None = None,
) -> ValidationFiles:
    """Write a verdict below the home folder as JSON, HTML and a table of the windows: all of them or none.

    Args:
        report: What to write.
        home: The folder that holds `data/`. Files of the same run are replaced.
        look_ahead: What the long check for look-ahead found, where it was run.
        written: When it was written, aware; by default now.

    Raises:
        DataError: A file cannot be written; none that was written before it is left behind.
    """
    when = (written or datetime.now(UTC)).astimezone(UTC)
    places = _places(f"validation-{report.run}", report.candles, home, report.walked is not None)
    names = _names(places, home)
    contents = {
        "json": json.dumps(validation_document(report, look_ahead), allow_nan=False),
        "html": validation_page(report, written=when, versions=versions(), files=names, look_ahead=look_ahead),
    }
    if report.walked is not None:
        contents["windows_csv"] = report.walked.frame().write_csv()
    return _written(places, contents)


def write_walk_forward(walked: "WalkForwardResult", home: Path, *, written: datetime | None = None) -> ValidationFiles:
    """Write a walk-forward below the home folder as JSON, HTML and a table of the windows: all of them or none.

    Args:
        walked: What to write.
        home: The folder that holds `data/`.
        written: When it was written, aware; by default now. It is part of the names.

    Raises:
        DataError: A file cannot be written; none that was written before it is left behind.
    """
    when = (written or datetime.now(UTC)).astimezone(UTC)
    kind = "walk-forward" if walked.reoptimized else "stability-check"
    places = _places(f"{kind}-{when:%Y%m%dT%H%M%S}", walked.candles, home, True)
    contents = {
        "json": json.dumps(walk_forward_document(walked), allow_nan=False),
        "html": walk_forward_page(walked, written=when, versions=versions(), files=_names(places, home)),
        "windows_csv": walked.frame().write_csv(),
    }
    return _written(places, contents)


def _places(prefix: str, candles: "Candles", home: Path, windows: bool) -> ValidationFiles:
    stem = re.sub(r"-+", "-", f"{prefix}-{file_name(candles.symbol)}-{candles.timeframe}".lower())
    data = Path(home) / "data"
    return ValidationFiles(
        json=data / "results" / f"{stem}.json",
        html=data / "results" / f"{stem}.html",
        windows_csv=data / "exports" / f"{stem}-windows.csv" if windows else None,
    )


def _names(places: ValidationFiles, home: Path) -> dict[str, str]:
    return {kind: path.relative_to(home).as_posix() for kind, path in vars(places).items() if path is not None}


def _written(places: ValidationFiles, contents: Mapping[str, str]) -> ValidationFiles:
    write_together({getattr(places, kind): text for kind, text in contents.items()})
    return places
