"""Many markets on one page: how many verdicts of which kind, what all of them make together, and how alike they are.

The best market is not the headline. The page puts the sum of all of them first, says what the best of so many shows by
luck, and links to the page of each market for everything that is only about that one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from barwise.report import statements
from barwise.report.cells import Cell, data_table, signed, swatch
from barwise.report.markup import Child, Markup, element, joined
from barwise.report.multi_charts import LOOKS, MOST_DRAWN, MultiCharts, multi_charts
from barwise.report.multi_document import day_text
from barwise.report.multi_markets import KIND_NAMES, KINDS, LEAST_DAYS, Group, Kind, Market, Together
from barwise.report.multi_notes import ASSUMPTIONS, notes, summary
from barwise.report.page import NO_SCRIPT, document, figure_block, page_header, section
from barwise.report.sections import card
from barwise.report.text import NOT_AVAILABLE, counted, day, moment, number, percent, price
from barwise.report.verdict_text import sentence
from barwise.stats.portfolio import Account, Correlation
from barwise.timeframe import Timeframe

_STYLE = """
.summary { border-left: 10px solid var(--muted); background: var(--card); border-radius: 6px; padding: 1rem 1.3rem; }
.summary p { max-width: 60rem; }
.summary p:first-child { font-size: 1.35rem; font-weight: 700; line-height: 1.3; margin-top: 0; }
.summary p:last-child { margin-bottom: 0; }
.verdicts { list-style: none; display: flex; flex-wrap: wrap; gap: 0.7rem; margin: 1.2rem 0 0; padding: 0; }
.verdicts li {
  flex: 1 1 12rem; border-left: 6px solid var(--muted); border-radius: 4px; background: var(--card);
  padding: 0.5rem 0.8rem;
}
.verdicts strong { display: block; }
.verdicts span { color: var(--muted); font-size: 0.85rem; }
.verdicts .likely-real { border-color: var(--gain); }
.verdicts .likely-overfit { border-color: var(--loss); }
.verdicts .too-little-data { border-color: var(--short); }
.verdicts .unproven { border-color: var(--long); }
.small-charts { --height: 190px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.small-charts .modebar-container { display: none; }
.legend span + span { margin-left: 1.2rem; }
.legend > span { white-space: nowrap; }
.scroll:has(.correlations, .matrix) { width: fit-content; max-width: 100%; }
.correlations { width: auto; }
.correlations td, .correlations th { border: 1px solid var(--page); }
.correlations td { text-align: center; min-width: 6.2rem; }
.correlations td small { display: block; color: var(--ink); opacity: 0.75; }
.correlations td.same { color: var(--muted); }
.correlations td.with { background: color-mix(in srgb, var(--short) var(--strength), transparent); }
.correlations td.against { background: color-mix(in srgb, var(--long) var(--strength), transparent); }
.correlations tbody th { text-align: left; }
.matrix { width: auto; }
.matrix thead th:not(:first-child) { text-align: center; }
.matrix th, .matrix td { min-width: 5.5rem; }
.figures thead th { white-space: normal; overflow-wrap: normal; }
.figures th, .figures td { padding-inline: 0.4rem; }
.legend { break-after: avoid; }
td .why { display: block; color: var(--muted); white-space: normal; min-width: 9rem; text-align: left; }
@media print {
  .summary, .verdicts li { break-inside: avoid; }
  .small-charts { grid-template-columns: repeat(2, 1fr); }
  .wide table { font-size: 0.7rem; }
}
"""
_STRONGEST = 60  # percent of the full colour in the strongest cell
_MOST_NAMED = 6


def multi_page(
    together: Together,
    *,
    written: datetime,
    versions: Mapping[str, str],
    files: Mapping[str, str],
    charts: MultiCharts | None = None,
) -> str:
    """The page of many markets: one HTML file that opens without a network, beside the pages of its markets.

    Args:
        together: What to show.
        written: When the page was made; shown only in elements of the class `clock`.
        versions: What made it, by name.
        files: The other files, as the reader shall find them.
        charts: From `multi_charts`, where they were made already.
    """
    drawn = multi_charts(together) if charts is None else charts
    markets = together.markets
    count = counted(len(markets), "market")
    parts = [
        section("Result", _summary(together), _verdicts(together), element("noscript", NO_SCRIPT)),
        section("Markets", _verdict_table(together), _figure_table(together)),
        *_matrix_section(together),
        section("Equity of each market", _legend(), *_small_charts(together, drawn)),
        section("All markets together", *_portfolio(together, drawn)),
        section("How alike they are", *_correlations(together)),
        *([section("Notes", _listed(said))] if (said := notes(together)) else []),
        section("Reproducing this", _reproduction(together, versions)),
    ]
    names = sorted({statements.strategy_name(market.baseline) for market in markets})
    facts = (f"{', '.join(names)} · {_venues(markets)} · ", element("span", _span(markets), class_="whole"))
    header = page_header(count, facts, ["All times are UTC. ", _written(written)])
    body = joined(*_notices(markets), header, element("main", *parts), _footer(files, written))
    return document(f"{count}: {', '.join(names)}", body, drawn.all(), _STYLE)


def _written(written: datetime) -> Markup:
    return element("span", f"Written {moment(written)}.", class_="clock")


def _footer(files: Mapping[str, str], written: datetime) -> Markup:
    beside = ", ".join(path for kind, path in files.items() if kind != "html")
    return element("footer", element("p", _written(written), f" Made by barwise. Beside this page: {beside}."))


def _venues(markets: Sequence[Market]) -> str:
    return ", ".join(sorted({market.baseline.candles.exchange or "no venue" for market in markets}))


def _span(markets: Sequence[Market]) -> str:
    first = min(int(market.baseline.candles.time[0]) for market in markets)
    last = max(int(market.baseline.candles.time[-1]) for market in markets)
    return f"{day(first)} .. {day(last)}"


def _notices(markets: Sequence[Market]) -> list[Markup]:
    if not all(market.baseline.candles.synthetic for market in markets):
        return []
    text = "SYNTHETIC: these prices were made up by a program. The result says nothing about any real market."
    return [element("p", text, class_="notice synthetic", role="note")]


def _listed(texts: Sequence[str]) -> Markup:
    return element("ul", *(element("li", sentence(text)) for text in texts))


def _missing(text: str) -> Markup:
    """Why something is not here."""
    return element("p", sentence(text), class_="limits muted")


def _link(market: Market) -> Markup:
    """A market's name, leading to its own page, which lies beside this one."""
    return element("a", market.label, href=f"{quote(market.findings.name, safe='')}.html")


# -- Result ------------------------------------------------------------------------------------------------------------


def _summary(together: Together) -> Markup:
    return element("div", *(element("p", text) for text in summary(together)), class_="summary")


def _verdicts(together: Together) -> Markup:
    def tile(word: str, markets: Sequence[Market]) -> Markup:
        named = ", ".join(market.label for market in markets[:_MOST_NAMED])
        left = len(markets) - _MOST_NAMED
        text = f"{named} and {left:,} more" if left > 0 else named
        head = element("strong", f"{len(markets):,} {word}")
        return element("li", head, element("span", text), class_=word.lower().replace(" ", "-"))

    return element("ul", *(tile(word, markets) for word, markets in together.verdicts.items()), class_="verdicts")


# -- Markets -----------------------------------------------------------------------------------------------------------


def _verdict_table(together: Together) -> Markup:
    header = (
        "<market", "<verdict", "p", "p (Holm)", "Sharpe", "Sharpe > 0", "net", "max drawdown", "trades",
    )  # fmt: skip
    rows = []
    for market, adjusted in zip(together.markets, together.adjusted, strict=True):
        verdict: Child = market.verdict
        if market.why:
            verdict = joined(market.verdict, element("span", sentence(market.why), class_="why"))
        psr = NOT_AVAILABLE if market.oos_psr is None else percent(100.0 * market.oos_psr, 0)
        figures = _figures(market, "out_of_sample")
        rows.append(
            (
                _link(market), verdict, number(market.p_value, 3), number(adjusted, 3), figures[0], psr, *figures[1:],
            )
        )  # fmt: skip
    caption = "The verdicts, and what each market made out-of-sample; p of Holm counts how many tests there were"
    return _wide(data_table(caption, header, rows))


def _figures(market: Market, kind: Kind) -> tuple[str, str, str, str]:
    """Sharpe ratio, net, drawdown, trades."""
    found = market.figures(kind)
    if found is None:
        return (NOT_AVAILABLE,) * 4
    net = found["total_return"]
    return (
        number(found["sharpe_ratio"]),
        signed(net, percent(net, signed=True)),
        percent(found["max_drawdown"]),
        f"{found['total_trades']:,}",
    )


def _figure_table(together: Together) -> Markup:
    header = (
        "<market", "<venue", "<span", "bars", "quantity",
        "baseline Sharpe", "net", "max drawdown", "trades", "optimized Sharpe", "net", "max drawdown", "trades",
    )  # fmt: skip
    rows = [
        (
            market.label,
            market.baseline.candles.exchange,
            statements.span(market.baseline),
            f"{len(market.baseline.candles):,}",
            price(market.quantity),
            *_figures(market, "baseline"),
            *_figures(market, "optimized"),
        )
        for market in together.markets
    ]
    return _wide(data_table("What went in, and what came out in-sample", header, rows, class_="figures"))


def _wide(table: Markup) -> Markup:
    """A table of so many columns that paper needs smaller letters."""
    return element("div", table, class_="wide")


def _matrix_section(together: Together) -> list[Markup]:
    """Out-of-sample Sharpe ratios, timeframe by symbol, where there are several timeframes."""
    frames = sorted({str(market.baseline.candles.timeframe) for market in together.markets}, key=_length)
    if len(frames) < 2:
        return []
    cells: dict[tuple[str, str], list[float | None]] = {}
    names: dict[str, None] = {}
    venues = len({market.baseline.candles.exchange for market in together.markets}) > 1
    for market in together.markets:
        candles, figures = market.baseline.candles, market.figures("out_of_sample")
        name = f"{candles.symbol or 'unnamed market'}{f' {candles.exchange}' if venues else ''}"
        names[name] = None
        value = None if figures is None else figures["sharpe_ratio"]
        cells.setdefault((name, str(candles.timeframe)), []).append(value)
    largest = max((abs(value) for found in cells.values() for value in found if value is not None), default=0.0)

    def cell(name: str, frame: str) -> str:
        found = cells.get((name, frame))
        if found is None:
            return ""
        text = " / ".join(number(value) for value in found)
        if len(found) > 1 or not found[0] or not largest:
            return text
        strength = f"--strength:{_STRONGEST * abs(found[0]) / largest:.0f}%"
        return Cell(text, "up" if found[0] > 0.0 else "down", strength)

    rows = [(name, *(cell(name, frame) for frame in frames)) for name in names]
    table = data_table("Out-of-sample Sharpe ratio", ("<market", *frames), rows, class_="heat matrix")
    return [section("Timeframes", table)]


def _length(frame: str) -> int:
    return Timeframe(frame).ms


# -- Charts ------------------------------------------------------------------------------------------------------------


def _legend() -> Markup:
    texts = (element("span", swatch(LOOKS[kind][0], KIND_NAMES[kind])) for kind in KINDS)
    return element("p", *texts, class_="legend muted")


def _small_charts(together: Together, drawn: MultiCharts) -> list[Markup]:
    found = [element("div", *(figure_block(chart) for chart in drawn.markets), class_="small-charts")]
    left = len(together.markets) - len(drawn.markets)
    if left:
        found.append(_missing(f"the first {MOST_DRAWN} markets are drawn; {left:,} more are in the tables"))
    return found


# -- Together ----------------------------------------------------------------------------------------------------------


def _portfolio(together: Together, drawn: MultiCharts) -> list[Markup]:
    outside = together.outside.portfolio
    parts: list[Markup] = []
    if outside is None or drawn.portfolio is None:
        text = "no market has an out-of-sample result"
        if together.outside.members:
            text = f"the markets share {counted(together.outside.days, 'out-of-sample day')}; {LEAST_DAYS} are needed"
        parts.append(_missing(text))
    else:
        account = outside.rebalanced
        psr = NOT_AVAILABLE if account.psr is None else percent(100.0 * account.psr, 0)
        cards = (
            ("Return", _return(account), f"out-of-sample, {counted(len(outside.days), 'common day')}"),
            ("Sharpe", number(account.sharpe_ratio), f"of daily returns; above 0 with {psr}"),
            ("Max drawdown", percent(account.max_drawdown), f"volatility {percent(account.volatility)} a year"),
            (
                "Independent markets",
                number(outside.effective_bets, 1),
                f"of {len(outside.returns):,}; diversification ratio {number(outside.diversification_ratio)}",
            ),
        )
        parts += [element("dl", *(card(*one) for one in cards), class_="cards")]
        parts += [figure_block(drawn.portfolio, tall=True)]
    table = _account_table(together)
    if table is not None:
        parts.append(table)
    if outside is not None:
        parts.append(_risk_table(together.outside))
    return [*parts, element("p", ASSUMPTIONS, class_="limits muted")]


def _return(account: Account) -> str:
    return signed(account.total_return, percent(account.total_return, signed=True))


def _account_table(together: Together) -> Markup | None:
    rows = []
    for kind in KINDS:
        found = together.groups[kind].portfolio
        if found is None:
            continue
        for way, account in (("rebalanced daily", found.rebalanced), ("left apart", found.apart)):
            rows.append(
                (
                    KIND_NAMES[kind],
                    way,
                    f"{len(found.returns):,}",
                    f"{day_text(int(found.days[0]))} .. {day_text(int(found.days[-1]))}",
                    f"{len(found.days):,}",
                    _return(account),
                    percent(account.volatility),
                    number(account.sharpe_ratio),
                    percent(account.max_drawdown),
                )
            )
    if not rows:
        return None
    header = ("<result", "<shares", "markets", "<common span", "days", "return", "volatility", "Sharpe", "max drawdown")
    caption = "The same share of the money in every market, on the days all of them have"
    return data_table(caption, header, rows)


def _risk_table(group: Group) -> Markup:
    portfolio = group.portfolio
    assert portfolio is not None
    shares = portfolio.risk_shares or (None,) * len(group.members)
    rows = []
    for place, (market, account, share) in enumerate(zip(group.members, portfolio.accounts, shares, strict=True)):
        rest = portfolio.without(place)
        rows.append(
            (
                market.label,
                _return(account),
                percent(account.volatility),
                number(account.sharpe_ratio),
                NOT_AVAILABLE if share is None else percent(100.0 * share, 0),
                NOT_AVAILABLE if rest is None else _return(rest),
                NOT_AVAILABLE if rest is None else number(rest.sharpe_ratio),
            )
        )
    header = (
        "<market", "return", "volatility", "daily Sharpe", "share of the risk", "return without it",
        "Sharpe without it",
    )  # fmt: skip
    return data_table("Each market on the common out-of-sample days, and all of them without it", header, rows)


# -- Correlation -------------------------------------------------------------------------------------------------------


def _correlations(together: Together) -> list[Markup]:
    parts: list[Markup] = []
    for kind in ("out_of_sample", "optimized"):
        group = together.groups[kind]
        if len(group.members) < 2:
            if kind == "out_of_sample":
                parts.append(_missing("a correlation needs two markets with an out-of-sample result"))
            continue
        parts.append(element("h3", "Out-of-sample" if kind == "out_of_sample" else "Optimized, in-sample"))
        parts.append(_heat_map(group))
    left = len(together.markets) - MOST_DRAWN
    if left > 0:
        parts.append(_missing(f"the first {MOST_DRAWN} markets are shown; the rest is in the table of correlations"))
    text = (
        "Pearson's correlation of daily returns on the days each pair shares; below it Fisher's 95 % interval, which "
        "fat tails make too narrow. Accounts that stand still most of the time look less alike than they are when both "
        "have a position."
    )
    return [*parts, element("p", text, class_="limits muted")]


def _heat_map(group: Group) -> Markup:
    members = group.members[:MOST_DRAWN]
    labels = [market.label for market in members]
    rows = [
        element("tr", element("th", label, scope="row"), *(_pair(pair, i == j) for j, pair in enumerate(pairs)))
        for i, (label, pairs) in enumerate(zip(labels, (row[:MOST_DRAWN] for row in group.correlations), strict=False))
    ]
    days = [pair.days for i, row in enumerate(group.correlations) for pair in row[i + 1 :]]
    low, high = min(days), max(days)
    shared = counted(low, "day") if low == high else f"{low:,} to {counted(high, 'day')}"
    caption = f"Correlation of daily returns; each pair shares {shared}. Orange: together, blue: against each other"
    head = element("tr", element("th", "", scope="col"), *(element("th", label, scope="col") for label in labels))
    table = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *rows), class_="correlations"
    )
    return element("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _pair(pair: Correlation, same: bool) -> Markup:
    if same:
        return element("td", "1", class_="same")
    if pair.value is None:
        return element("td", NOT_AVAILABLE, element("small", counted(pair.days, "day")), class_="same")
    within = None
    if pair.low is not None and pair.high is not None:
        within = element("small", f"{number(pair.low)} .. {number(pair.high)}")
    strength = f"--strength:{_STRONGEST * abs(pair.value):.0f}%"
    kind = "with" if pair.value > 0.0 else "against"
    return element(
        "td", number(pair.value), within, class_=kind, style=strength, title=counted(pair.days, "common day")
    )


# -- Reproduction ------------------------------------------------------------------------------------------------------


def _reproduction(together: Together, versions: Mapping[str, str]) -> Markup:
    rows = [("run", together.name)]
    for market in together.markets:
        rows.append((f"run of {market.label}", market.findings.name))
        rows.append((f"fingerprint of {market.label}", market.baseline.candles.fingerprint))
    return data_table("What the same numbers can be made from again", ("<", "<"), [*rows, *versions.items()])
