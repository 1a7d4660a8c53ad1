"""The report as one HTML file: it opens without a network, prints, and can be sent to someone else as it is.

The page carries Plotly's script, its own style and script, and the figures as data. A content security policy names the
two scripts by their hash and allows no request at all, so that no symbol's or strategy's name can run or load anything.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from importlib.resources import files as package_files
from typing import TYPE_CHECKING

from barwise.report import appendix, sections, statements
from barwise.report.cells import alignment_rules
from barwise.report.charts import Chart, cost_chart, distribution_chart, equity_chart, excursion_chart
from barwise.report.markup import Child, Markup, element, joined, json_block
from barwise.report.price_chart import candle_chart
from barwise.report.text import moment, money

if TYPE_CHECKING:
    from barwise.result import BacktestResult

NO_SCRIPT = "The charts need JavaScript, which is switched off here. Every figure in the tables is complete without it."


def render_page(
    result: "BacktestResult",
    *,
    written: datetime,
    versions: Mapping[str, str],
    files: Mapping[str, str],
    n_trials: int | None = None,
) -> str:
    """The page of one backtest.

    Args:
        result: What to show.
        written: When the report was made.
        versions: What made it, by name.
        files: The other files of the report, as the reader shall find them.
        n_trials: Distinct configurations on record for the candles, this one included; None where nobody knows.
    """
    title = f"{statements.market_name(result)} {result.candles.exchange}: {statements.strategy_name(result)}"
    drawn = [equity_chart(result), candle_chart(result)]
    if result.trades:
        drawn += [cost_chart(result), distribution_chart(result), excursion_chart(result)]
    charts = {chart.name: chart for chart in drawn}
    body = joined(
        *_notices(result),
        _header(result, written),
        element("main", *_main(result, charts, versions, n_trials)),
        appendix.footer(files, written),
    )
    return document(title, body, drawn)


def document(title: str, body: Markup, charts: Sequence[Chart], style: str = "") -> str:
    """A whole page that carries all it needs and may load and run nothing else.

    Args:
        title: Of the window.
        body: With a place for each chart (`figure_block`) and the button `theme`.
        charts: By different names.
        style: Rules beside those of page.css.
    """
    drawing = (package_files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    own_script = asset("page.js")
    policy = (
        f"default-src 'none'; script-src {hash_source(drawing)} {hash_source(own_script)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(asset("page.css") + alignment_rules() + style)),
    )
    scripts = (
        json_block("figures", {chart.name: chart.to_dict() for chart in charts}),
        element("script", Markup(drawing)),
        element("script", Markup(own_script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body, *scripts), lang='en')}\n"


def page_header(title: str, facts: Sequence[Child], terms: Sequence[Child]) -> Markup:
    """The head of a page: what it is about, and the switch of its theme.

    Args:
        title: In one or two words, such as the market.
        facts: Of the data and the strategy.
        terms: What holds for all times and amounts, and when the page was made.
    """
    return element(
        "header",
        element("div", element("h1", title), element("p", *facts), element("p", *terms, class_="muted")),
        element("button", "Dark theme", type="button", id="theme", hidden=True),
    )


def asset(name: str) -> str:
    """A file of this package as text."""
    return (package_files("barwise.report") / name).read_text("utf-8")


def hash_source(script: str) -> str:
    """What a content security policy calls one inline script."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _notices(result: "BacktestResult") -> list[Markup]:
    """What must be read before any number."""
    found = []
    if result.candles.synthetic:
        text = "SYNTHETIC: these prices were made up by a program. The result says nothing about any real market."
        found.append(element("p", text, class_="notice synthetic", role="note"))
    if result.ruined:
        found.append(element("p", statements.ruin(result), class_="notice ruined", role="note"))
    return found


def _header(result: "BacktestResult", written: datetime) -> Markup:
    terms = (
        f"Tested from {statements.tested_from(result)} UTC. All times are UTC, all money is quote currency, capital "
        f"{money(result.initial_capital)}. Written {moment(written)}."
    )
    return page_header(statements.market_name(result), [statements.facts(result)], [terms])


def _main(
    result: "BacktestResult", charts: Mapping[str, Chart], versions: Mapping[str, str], n_trials: int | None
) -> list[Markup]:
    """The sections in the order of reading: what came out, how sure it is, where it came from, what it stands on."""
    trades = [sections.no_trades()]
    if result.trades:
        trades = [
            element("div", figure_block(charts["distribution"]), figure_block(charts["excursions"]), class_="pair"),
            element("div", figure_block(charts["costs"]), sections.exits_table(result), class_="pair"),
        ]
    return [
        section(
            "Result",
            sections.cards(result),
            sections.band(result),
            sections.limits(result, n_trials),
            element("noscript", NO_SCRIPT),
        ),
        section("Equity", figure_block(charts["equity"], tall=True), sections.monthly_table(result)),
        section("Price and trades", figure_block(charts["candles"], tall=True)),
        section("What the trades made", *trades),
        section("Fills", sections.tier_table(result), sections.missed_table(result)),
        section("Trades", sections.trades_table(result)),
        section("All metrics", appendix.metrics_table(result)),
        section("Data", appendix.audit_table(result)),
        section("Settings", appendix.parameter_tables(result)),
        section("Fees", appendix.fees_table(result)),
        section("Reproducing this", appendix.reproduction_table(result, versions)),
    ]


def section(heading: str, *content: Markup) -> Markup:
    """A section with its heading, which can be linked to."""
    identifier = heading.lower().replace(" ", "-")
    return element("section", element("h2", heading, id=identifier), *content, aria_labelledby=identifier)


def figure_block(chart: Chart, *, tall: bool = False) -> Markup:
    """A chart with its message as heading; to a screen reader the drawing is one image of that name."""
    return element(
        "figure",
        element("h3", chart.title),
        element(
            "div", id=f"chart-{chart.name}", class_="plot tall" if tall else "plot", role="img", aria_label=chart.title
        ),
        element("figcaption", chart.note) if chart.note else joined(),
    )
