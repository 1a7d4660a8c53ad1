"""A whole run as one HTML page that a trader can show to a partner: the verdict first, then what it stands on.

Everything is in the order of the questions that are asked: is it real, what did it make, what was paid, does it hold
on bars it had not seen, could it be luck, how was it found, and how can it be had again. What few will read is folded;
what was not run says why. Only elements of class `clock` depend on when and how fast the run was made.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from barwise.report import appendix, run_tables, sections, statements
from barwise.report.charts import Chart
from barwise.report.findings import RunFindings
from barwise.report.markup import Markup, element, joined
from barwise.report.optimization_terminal import plateau_sentence
from barwise.report.page import NO_SCRIPT, asset, document, figure_block, page_header, section
from barwise.report.run_charts import run_charts
from barwise.report.run_comparison import Comparison, compare
from barwise.report.run_document import commands, notes, skipped
from barwise.report.run_tables import folded, listed, missing, told
from barwise.report.sections import card
from barwise.report.text import moment, money
from barwise.report.trial_marks import ROLES
from barwise.report.validation_tables import scenario_table, table_of_tests, windows_table
from barwise.report.verdict_text import STABILITY_CHECK, luck_sentence, scores
from barwise.validation.error_rates import error_sentence

if TYPE_CHECKING:
    from barwise.validation.verdict import Verdict

_ROLES = " ".join(f"--{role}: {colour};" for role, colour in ROLES.items())
_NOT_A_PROBABILITY = "None of these is a probability of an edge: a lucky sample stays lucky in all of its resamples."
_EXPLAINED = "Every test is explained in docs/verdict.md"
_CANNOT_KNOW = (
    "No verdict knows the order of prices inside a bar, what your own orders would have done to the market, a venue "
    "that fails, or a market that changes. docs/what-this-backtest-cannot-know.md has the list."
)


def run_page(
    findings: RunFindings,
    *,
    written: datetime,
    versions: Mapping[str, str],
    files: Mapping[str, str],
) -> str:
    """The page of one run on one market: one HTML file that opens without a network.

    Args:
        findings: What to show.
        written: When the page is made, aware.
        versions: What made it, by name.
        files: The other files of the report, as the reader shall find them.
    """
    found = compare(findings)
    charts = run_charts(findings, found)
    baseline = findings.baseline
    word = findings.verdict or "no verdict"
    title = f"{statements.market_name(baseline)} {baseline.candles.exchange}: {word}"
    body = joined(
        *_notices(findings),
        _header(findings, written),
        element("main", *_main(findings, found, charts, versions)),
        _footer(files, written),
    )
    style = f":root {{ {_ROLES} }}\n{asset('verdict.css')}{asset('run.css')}"
    return document(title, body, list(charts.values()), style)


def _clock(text: str) -> Markup:
    """Text that two runs of the same inputs do not share."""
    return element("span", text, class_="clock")


def _notices(findings: RunFindings) -> list[Markup]:
    """What must be read before any number."""
    found = []
    if findings.baseline.candles.synthetic:
        text = "SYNTHETIC: these prices were made up by a program. The result says nothing about any real market."
        found.append(element("p", text, class_="notice synthetic", role="note"))
    if findings.look_ahead is not None and not findings.look_ahead.ok:
        text = "LOOKS AHEAD: the strategy uses prices it cannot have known. No market would pay what this page shows."
        found.append(element("p", text, class_="notice ruined", role="note"))
    if findings.optimization is not None and findings.optimization.interrupted:
        text = "INTERRUPTED: the search was ended before it was done. This is the best of what it had tried by then."
        found.append(element("p", text, class_="notice ruined", role="note"))
    if findings.chosen.ruined:
        found.append(element("p", statements.ruin(findings.chosen), class_="notice ruined", role="note"))
    return found


def _header(findings: RunFindings, written: datetime) -> Markup:
    result = findings.baseline
    terms = (
        f"Run {findings.name}. All times are UTC, all money is quote currency, capital "
        f"{money(result.initial_capital)}. Written "
    )
    return page_header(
        statements.market_name(result), [statements.facts(result)], [terms, _clock(moment(written)), "."]
    )


def _footer(files: Mapping[str, str], written: datetime) -> Markup:
    beside = ", ".join(path for kind, path in files.items() if kind != "html")
    return element(
        "footer", element("p", "Written ", _clock(moment(written)), f" UTC by barwise. Beside this page: {beside}.")
    )


def _main(
    findings: RunFindings, found: Comparison, charts: Mapping[str, Chart], versions: Mapping[str, str]
) -> list[Markup]:
    """The sections in the order of reading."""
    chosen = "optimized" if findings.optimization is not None else "baseline"
    said = [f"{part.capitalize()}: {text}" for part, text in notes(findings)]
    return [
        section("Verdict", *_verdict(findings), element("noscript", NO_SCRIPT)),
        section("Side by side", run_tables.comparison_table(found), _small(run_tables.spans_text(found))),
        section("Equity", figure_block(charts["equity"], tall=True)),
        section("Costs", *_costs(found, charts)),
        section("Order inside a bar", run_tables.bands(findings)),
        section("Walk-forward", *_walk_forward(findings, charts)),
        section("Shuffled markets", *_shuffled(findings, charts)),
        section("Luck", *_luck(findings, charts)),
        section("Search", *_search(findings, charts)),
        section("Fills by tier", *_tiers(findings)),
        section("Price and trades", _of_which(chosen), figure_block(charts["candles"], tall=True)),
        section("Other histories", *_other_histories(findings, charts)),
        section("Months", _of_which(chosen), sections.monthly_table(findings.chosen)),
        section("Data", run_tables.data_part(findings)),
        *([section("Notes", listed(said))] if said else []),
        section("Stages", run_tables.stages_table(findings.stages)),
        section("Reproducing this", *_reproduction(findings, versions)),
    ]  # fmt: skip


def _small(texts: list[str]) -> Markup:
    return element("p", told(*texts), class_="muted")


def _of_which(chosen: str) -> Markup:
    return element("p", f"Of the {chosen} strategy, in-sample.", class_="muted")


def _drawn(charts: Mapping[str, Chart], name: str, otherwise: str) -> list[Markup]:
    """A chart, or why there is none."""
    return [figure_block(charts[name])] if name in charts else [missing(otherwise)]


def _costs(found: Comparison, charts: Mapping[str, Chart]) -> list[Markup]:
    if "part-costs" not in charts:
        return [missing("no trade was made, so there are no costs")]
    return [figure_block(charts["part-costs"]), run_tables.costs_table(found)]


# -- Verdict -----------------------------------------------------------------------------------------------------------


def _verdict(findings: RunFindings) -> list[Markup]:
    sure = element("p", element("strong", "How sure: "), told(error_sentence(), _EXPLAINED))
    if findings.validation is None:
        box = _word("NO VERDICT", "unproven", skipped(findings, "8"), ())
        return [box, element("p", statements.LIMITS, class_="limits muted")]
    verdict = findings.validation.decision
    word = str(verdict.word)
    first, *others = verdict.reasons
    parts = [_word(word, word.lower().replace(" ", "-"), first, tuple(others)), sure]
    if verdict.would_change:
        parts += [element("h3", "What would change it"), listed(verdict.would_change)]
    tests = table_of_tests("All tests", verdict, verdict.tests)
    return [*parts, folded(_tests_in_words(verdict), tests, element("p", _CANNOT_KNOW))]


def _word(word: str, kind: str, because: str, others: tuple[str, ...]) -> Markup:
    return element(
        "div",
        element("p", word, class_="word"),
        element("p", told(because), class_="because"),
        listed(others) if others else None,
        class_=f"verdict {kind}",
        id="verdict-word",
    )


def _tests_in_words(verdict: "Verdict") -> str:
    deciding = [test for test in verdict.tests if test.decides]
    passed, failed = (sum(test.passed is value for test in deciding) for value in (True, False))
    return f"The tests behind it: {passed} of the {len(deciding)} that decide passed, {failed} failed"


# -- Out of sample and luck --------------------------------------------------------------------------------------------


def _walk_forward(findings: RunFindings, charts: Mapping[str, Chart]) -> list[Markup]:
    report = findings.validation
    if report is None:
        return [missing(skipped(findings, "8"))]
    walked = report.walked
    if walked is None:
        why = next((note for note in report.notes if note.startswith("no walk-forward")), "no walk-forward was made")
        return [missing(why)]
    drift = run_tables.drift_table(walked)
    warned = [] if walked.reoptimized else [element("p", STABILITY_CHECK, class_="notice ruined", role="note")]
    return [
        *warned,
        *_drawn(charts, "windows", "no part of any window has a Sharpe ratio"),
        element("dl", *(card(*score) for score in scores(walked)), class_="cards"),
        folded(f"The {len(walked.windows)} windows one by one", windows_table(walked)),
        missing("every window chose the same parameters") if drift is None else folded("What each window chose", drift),
    ]


def _shuffled(findings: RunFindings, charts: Mapping[str, Chart]) -> list[Markup]:
    report = findings.validation
    if report is None:
        return [missing(skipped(findings, "8"))]
    if report.permutation is None:
        return [missing("not run; without the same search on shuffled markets nothing is more than UNPROVEN")]
    return _drawn(charts, "permutation", "no trial kept the guards, here or on the shuffled markets")


def _luck(findings: RunFindings, charts: Mapping[str, Chart]) -> list[Markup]:
    report = findings.validation
    if report is None:
        return [missing(skipped(findings, "8"))]
    return [
        element("p", told(luck_sentence(report.decision))),
        *(_low(figure) for figure in _drawn(charts, "luck", "")),
        element("p", told(run_tables.overfitting_text(report))),
    ]


def _low(figure: Markup) -> Markup:
    return Markup(figure.replace('class="plot"', 'class="plot low"'))


# -- The search --------------------------------------------------------------------------------------------------------


def _search(findings: RunFindings, charts: Mapping[str, Chart]) -> list[Markup]:
    found = findings.optimization
    if found is None:
        return [missing(skipped(findings, "7"))]
    parts = _drawn(charts, "history", "there was nothing to search")
    parts += [element("h3", "What it changed"), run_tables.parameters_table(findings)]
    around = plateau_sentence(found)
    parts.append(element("h3", "What lies around it"))
    if around:
        parts.append(element("p", told(around)))
    parts += _drawn(charts, "plateau", "no neighbour of the result has a value, or none was looked at")
    if found.stages:
        parts.append(folded("The stages of the search", run_tables.search_table(found)))
    return parts


def _tiers(findings: RunFindings) -> list[Markup]:
    if findings.optimization is None:
        return [sections.tier_table(findings.baseline), folded("Fees", appendix.fees_table(findings.baseline))]
    return [
        element("h3", "Optimized"),
        sections.tier_table(findings.optimization.best),
        folded("Baseline", sections.tier_table(findings.baseline)),
        folded("Fees", appendix.fees_table(findings.baseline)),
    ]


# -- The rest ----------------------------------------------------------------------------------------------------------


def _other_histories(findings: RunFindings, charts: Mapping[str, Chart]) -> list[Markup]:
    report = findings.validation
    if report is None:
        return [missing(skipped(findings, "8"))]
    parts = _drawn(charts, "fan", "there is no out-of-sample result of more than 30 bars that varies")
    said = run_tables.monte_carlo_text(report)
    sentences = element("div", listed(said) if said else None, element("p", _NOT_A_PROBABILITY, class_="limits muted"))
    worlds = scenario_table(report, "Out-of-sample in less kind worlds, every piece from the same capital")
    return [*parts, sentences if worlds is None else element("div", worlds, sentences, class_="pair")]


def _reproduction(findings: RunFindings, versions: Mapping[str, str]) -> list[Markup]:
    return [
        element("pre", element("code", "\n".join(commands(findings)))),
        element(
            "p",
            "The first does the run again from its configuration, the second compares every event and every bar with "
            "the record, the third tells why a trade was entered and left.",
            class_="muted",
        ),
        run_tables.reproduction_table(findings, versions),
        *([folded("Configuration", run_tables.configuration_table(findings))] if findings.config else []),
        folded("Parameters and account", appendix.parameter_tables(findings.chosen)),
    ]
