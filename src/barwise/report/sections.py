"""The parts of the page that need no drawing: cards, tables and notes, each one function from the result to markup."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from barwise.core.tiers import HORIZONS
from barwise.report import statements
from barwise.report.charts import evenly
from barwise.report.markup import Child, Markup, element, joined
from barwise.report.tables import tiers_of
from barwise.report.text import (
    NOT_AVAILABLE,
    counted,
    duration,
    money,
    moment,
    number,
    percent,
    price,
    with_unit,
    words,
)

if TYPE_CHECKING:
    from barwise.costs import FeeSchedule
    from barwise.data.candles import Candles
    from barwise.result import BacktestResult

MOST_TRADE_ROWS = 2_000
MOST_MISSED_ROWS = 50
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STRONGEST = 70  # percent of the full colour in the strongest cell of the heat table


class Cell(str):
    """Text of a table cell with a class: `text` is left-aligned, `long-text` may wrap, `gain` and `loss` colour it."""

    __slots__ = ("kind", "style")
    kind: str
    style: str | None

    def __new__(cls, text: str, kind: str, style: str | None = None) -> "Cell":
        """A cell's text, its classes and its inline style."""
        cell = super().__new__(cls, text)
        cell.kind, cell.style = kind, style
        return cell


def data_table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    foot: Sequence[Child] | None = None,
    class_: str | None = None,
) -> Markup:
    """A table in a region that scrolls by itself; the first cell of each row is its heading.

    Columns whose name starts with `<` are text and aligned left, all others are numbers.
    """
    left = [name.startswith("<") for name in header]
    names = [name.removeprefix("<") for name in header]

    def line(cells: Sequence[Child]) -> Markup:
        return element(
            "tr",
            *(
                _cell("th" if i == 0 else "td", cell, left=left[i], scope="row" if i == 0 else None)
                for i, cell in enumerate(cells)
            ),
        )

    table = element(
        "table",
        element("caption", caption),
        element(
            "thead",
            element(
                "tr",
                *(
                    element("th", name, scope="col", class_="text" if text else None)
                    for name, text in zip(names, left, strict=True)
                ),
            ),
        ),
        element("tbody", *map(line, rows)),
        element("tfoot", line(foot)) if foot is not None else None,
        class_=class_,
    )
    return element("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _cell(name: str, content: Child, *, left: bool, scope: str | None) -> Markup:
    kind, style = ("", None) if not isinstance(content, Cell) else (content.kind, content.style)
    classes = " ".join(part for part in ("text" if left and "text" not in kind else "", kind) if part)
    text = str(content) if isinstance(content, Cell) else content
    return element(name, text, class_=classes or None, style=style, scope=scope)


def _signed(value: float | None, text: str) -> str:
    """The text of a result, coloured by its sign."""
    return Cell(text, "gain" if value > 0 else "loss") if value else text


def _result(value: float | None) -> str:
    return _signed(value, money(value, signed=True))


def _swatch(role: str, text: str) -> Markup:
    """A name with the colour it has in the charts."""
    return joined(element("span", class_="swatch", style=f"background:var(--{role})", aria_hidden="true"), text)


# -- Result ------------------------------------------------------------------------------------------------------------


def cards(result: "BacktestResult") -> Markup:
    """The headline: what a trader asks first, each with the figure it has to be seen beside."""
    metrics, held = result.metrics, result.metrics["buy_and_hold"]
    longest = metrics["max_drawdown_duration_ms"]
    found: tuple[tuple[str, str, str], ...] = (
        (
            "Net result",
            _result(result.net_pnl),
            f"worst {money(result.band.worst, signed=True)}, best {money(result.band.best, signed=True)}",
        ),
        (
            "Return",
            _signed(result.total_return, percent(result.total_return, signed=True)),
            f"buy and hold {percent(held['total_return'], signed=True)}",
        ),
        (
            "Sharpe",
            number(metrics["sharpe_ratio"]),
            f"daily {number(metrics['daily_sharpe_ratio'])}, buy and hold {number(held['sharpe_ratio'])}",
        ),
        (
            "Max drawdown",
            percent(result.max_drawdown),
            f"longest {duration(longest)}, buy and hold {percent(held['max_drawdown'])}",
        ),
        (
            "Trades",
            f"{result.total_trades:,}",
            f"{percent(metrics['win_rate'], 0)} won, {metrics['long']['trades']:,} long, "
            f"{metrics['short']['trades']:,} short",
        ),
        ("Profit factor", number(metrics["profit_factor"]), "net wins over net losses"),
        (
            "Expectancy",
            _result(metrics["expectancy"]),
            f"a trade, {with_unit(metrics['expectancy_r'], 'R', 2, signed=True)}",
        ),
        ("Exposure", percent(metrics["exposure"]), "of the bars in a position"),
    )
    return element("dl", *(_card(*card) for card in found), class_="cards")


def _card(name: str, value: str, beside: str) -> Markup:
    kind = f"value {value.kind}" if isinstance(value, Cell) else "value"
    return element(
        "div",
        element("dt", name),
        element("dd", str(value), class_=kind),
        element("dd", beside, class_="beside"),
    )


def band(result: "BacktestResult") -> Markup:
    """The net result under the three readings of bars that leave the order of events open."""
    readings = {"worst": result.band.worst, "path": result.band.path, "best": result.band.best}
    low, high = min(0.0, *readings.values()), max(0.0, *readings.values())
    width = high - low

    def at(value: float) -> str:
        return f"{100.0 * (value - low) / width if width else 50.0:.2f}%"

    first, last = min(readings.values()), max(readings.values())
    hint = statements.certainty_hint(result)
    track = element(
        "div",
        element("div", class_="zero", style=f"left:{at(0.0)}"),
        element("div", class_="range", style=f"left:{at(first)};right:{100.0 - float(at(last)[:-1]):.2f}%"),
        *(element("div", class_="mark", style=f"left:{at(value)}", title=name) for name, value in readings.items()),
        class_="track",
        role="img",
        aria_label=f"Net result from {money(first, signed=True)} to {money(last, signed=True)}, zero marked",
    )
    return element(
        "div",
        element("h3", "How much hangs on the order inside a bar"),
        element("p", f"{_sentence(statements.certainty(result))}{f' To know, {hint}.' if hint else ''}"),
        track if result.trades else joined(),
        class_="band",
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def limits() -> Markup:
    """What one backtest cannot tell."""
    return element("p", statements.LIMITS, class_="limits muted")


def no_trades() -> Markup:
    """Said where charts of trades would stand."""
    return element("p", "No trade was made, so there is nothing to show here.")


# -- Equity ------------------------------------------------------------------------------------------------------------


def monthly_table(result: "BacktestResult") -> Markup:
    """Returns per calendar month and year, coloured by size."""
    months = {(row["year"], row["month"]): row["percent"] for row in result.metrics["monthly_returns"]}
    years = {row["year"]: row["percent"] for row in result.metrics["yearly_returns"]}
    strongest = max((abs(value) for value in months.values()), default=0.0)

    def cell(value: float | None) -> str:
        if value is None:
            return ""
        text = number(value, 2, signed=True)
        if not strongest or text == "0.00":
            return text
        strength = f"--strength:{_STRONGEST * abs(value) / strongest:.0f}%"
        return Cell(text, "up" if value > 0 else "down", strength)

    rows = [
        [str(year), *(cell(months.get((year, month))) for month in range(1, 13)), _signed(total, number(total, 2, signed=True))]
        for year, total in years.items()
    ]
    return joined(
        element("h3", "Returns by month"),
        data_table("Percent of the equity at the start of each month", ("<year", *_MONTHS, "year"), rows, class_="heat"),
    )


# -- Trades ------------------------------------------------------------------------------------------------------------

_EXIT_ROLES = {
    "stop_loss": "stop",
    "trailing_stop": "stop",
    "ruined": "stop",
    "take_profit": "target",
    "trailing_take_profit": "target",
}


def exits_table(result: "BacktestResult") -> Markup:
    """The trades by what ended them, and by side."""
    metrics = result.metrics
    groups = [
        (_swatch(_EXIT_ROLES.get(name, "muted"), words(name)), group)
        for name, group in statements.exits(result).items()
    ]
    sides = [(_swatch(side, side), metrics[side]) for side in ("long", "short")]
    header = ("<", "trades", "won", "net", "mean")

    def row(name: Markup, group: Mapping[str, Any]) -> list[Child]:
        return [
            name,
            f"{group['trades']:,}",
            percent(group["win_rate"], 0),
            _result(group["net_pnl"]),
            _result(group["average_trade"]),
        ]

    return element(
        "div",
        element("h3", "By exit reason and by side"),
        data_table("What ended the trades", header, (row(*entry) for entry in groups)),
        data_table("Long and short", header, (row(*entry) for entry in sides)),
    )


def tier_table(result: "BacktestResult") -> Markup:
    """How the entries were filled, tier by tier."""
    if not result.programs:
        return element("p", "The strategy gave no signal that could be used: no entry was tried.")
    rows = [
        (
            _swatch(f"tier-{row['tier']}", f"{row['tier']} {row['name']}"),
            f"{row['programs']:,}",
            f"{row['programs_filled']:,}",
            percent(row["fill_rate"], 0),
            price(row["quantity"]),
            percent(row["quantity_share"], 0),
            number(row["mean_bars_to_fill"], 1),
            with_unit(row["shortfall_bp"], "bp", signed=True),
            percent(row["maker_share"], 0),
            money(row["fees"]),
            *(with_unit(row[f"drift_{n}_bp"], "bp", signed=True) for n in HORIZONS),
        )
        for row in result.tier_statistics
    ]
    header = (
        "<tier", "programs", "filled", "fill rate", "quantity", "share", "bars to fill", "shortfall", "maker", "fees",
        *(f"drift {n}" for n in HORIZONS),
    )  # fmt: skip
    entered = sum(1 for program in result.programs if program.fills)
    sentence = (
        f"{entered:,} of {counted(len(result.programs), 'entry program')} were filled at least in part; the mean entry "
        f"came {with_unit(statements.shortfall_bp(result), 'bp', signed=True)} from the price at the signal (positive: "
        "dearer)."
    )
    outcomes = result.metrics.get("outcomes") or _outcomes(result)
    ended = "Programs ended: " + ", ".join(f"{words(name)} {count:,}" for name, count in outcomes.items()) + "."
    caption = (
        "Shortfall is against the price at the signal, drift is the move in favour 1, 5 and 20 execution bars after a fill"
    )
    return joined(element("p", sentence, " ", ended), data_table(caption, header, rows))


def _outcomes(result: "BacktestResult") -> dict[str, int]:
    """Programs by how they ended, the most frequent first."""
    counts: dict[str, int] = {}
    for program in result.programs:
        counts[program.outcome] = counts.get(program.outcome, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def missed_table(result: "BacktestResult") -> Markup:
    """The programs that bought nothing, and what the market did without them."""
    found = result.missed_programs
    programs = found["programs"]
    heading = element("h3", "Missed entries")
    if not programs:
        return joined(heading, element("p", "Every entry program got at least a part of its quantity."))
    rows = [
        (
            moment(result.programs[row["program"]].signal_time),
            _side("long" if row["side"] > 0 else "short"),
            words(row["outcome"]),
            price(row["arrival_price"]),
            *(with_unit(row[f"after_signal_{n}_bp"], "bp", signed=True) for n in HORIZONS),
            with_unit(row["best_bp"], "bp", signed=True),
        )
        for row in programs[:MOST_MISSED_ROWS]
    ]
    header = ("<signal", "<side", "<ended by", "price at signal", *(f"after {n}" for n in HORIZONS), "best")
    longest = HORIZONS[-1]
    share = percent(found[f"favourable_{longest}_share"], 0)
    sentence = (
        f"{counted(len(programs), 'program')} got nothing. {longest} bars after the signal the market had moved in favour "
        f"in {share} of them, by {with_unit(found[f'after_signal_{longest}_bp'], 'bp', signed=True)} in the mean."
    )
    caption = _first_of(len(programs), MOST_MISSED_ROWS, "missed program", "The JSON file has them all.")
    return joined(heading, element("p", sentence), data_table(f"{caption} Moves in favour after the signal", header, rows))


def _first_of(count: int, most: int, noun: str, elsewhere: str) -> str:
    """What a table shows of all there is."""
    return f"{counted(count, noun)}." if count <= most else f"{most:,} of {counted(count, noun)}. {elsewhere}"


def _side(side: str) -> Markup:
    return _swatch(side, side)


def trades_table(result: "BacktestResult") -> Markup:
    """Every trade, or 2,000 of them spread evenly."""
    trades = result.trades
    if not trades:
        return no_trades()
    rows = []
    for i in evenly(len(trades), MOST_TRADE_ROWS):
        trade = trades[i]
        risk = trade.initial_risk * trade.quantity
        rows.append(
            (
                str(trade.trade_id),
                trade.side,
                moment(trade.entry_time),
                price(trade.entry_price),
                moment(trade.exit_time),
                price(trade.exit_price),
                price(trade.quantity),
                tiers_of(trade.fills),
                words(trade.exit_reason),
                f"{trade.bars_held:,}",
                money(trade.gross_pnl, signed=True),
                money(trade.fees),
                money(trade.slippage),
                money(trade.funding, signed=True),
                _result(trade.net_pnl),
                number(trade.net_pnl / risk if risk > 0.0 else None, 2, signed=True),
                money(trade.mfe, signed=True),
                money(trade.mae, signed=True),
                "yes" if trade.ambiguous else "",
            )
        )
    header = (
        "trade", "<side", "<entry", "price", "<exit", "price", "quantity", "<tiers", "<reason", "bars", "gross", "fees",
        "slippage", "funding", "net", "R", "MFE", "MAE", "<unclear bar",
    )  # fmt: skip
    caption = _first_of(len(trades), MOST_TRADE_ROWS, "trade", "Spread evenly; the CSV file has them all.")
    note = element("p", "On paper the first 60 rows are shown; the CSV file has them all.", class_="print-only muted")
    return joined(
        data_table(caption, header, rows, class_="wide long-table"), note if len(rows) > 60 else joined()
    )


# -- Metrics -----------------------------------------------------------------------------------------------------------

_PERCENT = (
    "total_return", "cagr", "volatility", "max_drawdown", "max_drawdown_intrabar", "time_under_water", "exposure",
    "win_rate", "kelly", "fill_rate", "maker_share",
)  # fmt: skip
_PLAIN = (
    "sharpe_ratio", "daily_sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio", "ulcer_index",
    "ulcer_performance_index", "recovery_factor", "profit_factor", "payoff_ratio", "sqn", "sqn_100", "t_statistic",
    "p_value", "skewness", "kurtosis", "expectancy_r", "turnover_ratio", "average_bars_held",
)  # fmt: skip
_MONEY = (
    "net_pnl", "gross_pnl", "fees", "slippage", "funding", "turnover", "average_win", "average_loss", "largest_win",
    "largest_loss", "average_mfe", "average_mae",
)  # fmt: skip
_COUNTS = ("longest_winning_streak", "longest_losing_streak", "max_bars_held", "max_drawdown_duration_bars")


def metrics_table(result: "BacktestResult") -> Markup:
    """Every metric by name; where one is undefined, why."""
    metrics, reasons = result.metrics, result.metrics["undefined"]
    shown: dict[str, str] = {}
    for names, text in (
        (_PERCENT, lambda value: percent(value, 2)),
        (_PLAIN, lambda value: number(value, 3)),
        (_MONEY, money),
        (_COUNTS, lambda value: number(value, 0)),
    ):
        shown |= {name: text(metrics[name]) for name in names}
    rows = [
        (words(name), text, Cell(reasons.get(name, "") if text == NOT_AVAILABLE else "", "long-text"))
        for name, text in shown.items()
    ]
    half = -(-len(rows) // 2)
    header = ("<metric", "value", "<why not")
    if not any(str(row[2]) for row in rows):
        header, rows = header[:2], [row[:2] for row in rows]  # type: ignore[assignment, misc]
    caption = "Definitions: docs/metrics.md"
    return element(
        "div",
        data_table(caption, header, rows[:half]),
        data_table(f"{caption} (continued)", header, rows[half:]),
        class_="pair",
    )


# -- What it stands on -------------------------------------------------------------------------------------------------


def audit_table(result: "BacktestResult") -> Markup:
    """What was found in the candles."""
    detail = statements.detail_candles(result)
    parts = [_audit_of(result.candles)]
    if detail is not None:
        parts.append(_audit_of(detail))
    parts += [element("p", _sentence(note.rstrip("."))) for note in result.prepared.notes]
    return joined(*parts)


def _audit_of(candles: "Candles") -> Markup:
    audit, gaps = candles.audit, candles.audit.gaps
    text = f"{candles.timeframe}: {counted(audit.bars, 'bar')}, {counted(gaps.count, 'gap')}"
    if gaps.count:
        text += f" ({counted(gaps.missing, 'bar')} missing, the longest gap is {counted(gaps.longest, 'bar')})"
    if not audit.findings:
        return element("p", f"{text}. The audit found nothing to report.")
    rows = [
        (finding.severity, words(finding.kind), f"{finding.count:,}", Cell(finding.message, "long-text"))
        for finding in audit.findings
    ]
    return joined(
        element("p", f"{text}."),
        data_table(f"Findings in the {candles.timeframe} candles", ("<severity", "<kind", "count", "<finding"), rows),
    )


def _setting(value: Any) -> str:
    """A setting as it is written: on and off, nothing for None, numbers without exponent."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return price(value)
    if isinstance(value, Mapping):
        return str(value.get("name", "given"))
    return str(value)


def parameter_tables(result: "BacktestResult") -> Markup:
    """What the strategy and the account were set to."""
    strategy, execution = result.strategy.to_dict(), result.execution.to_dict()
    quantity = float(result.params["quantity"])
    return element(
        "div",
        data_table(
            f"Strategy {statements.strategy_name(result)}",
            ("<parameter", "value"),
            [(name, _setting(value)) for name, value in strategy.items()],
        ),
        data_table(
            "Execution",
            ("<setting", "value"),
            [("quantity of an entry", price(quantity)), *((name, _setting(value)) for name, value in execution.items())],
        ),
        class_="pair",
    )


def _rate(rate: float) -> str:
    return f"{price(100.0 * rate)} %" if rate < float("inf") else "always"


def fees_table(result: "BacktestResult") -> Markup:
    """The schedule of fees in force, with where it comes from."""
    fees = result.fees_schedule
    dated = f", as of {fees.as_of}" if fees.as_of else ""
    return joined(
        element("p", element("strong", fees.name), ". Source: ", _source(fees.source), f"{dated}."),
        data_table(
            "All-in rates of the notional",
            ("<side", "maker", "taker", "per order, at most", "at a rate of"),
            [_fee_row(fees, side) for side in ("buy", "sell")],
        ),
        _fee_parts(fees),
    )


def _fee_row(fees: "FeeSchedule", side: str) -> tuple[str, ...]:
    flat, rate = getattr(fees, f"{side}_order_flat"), getattr(fees, f"{side}_order_rate")
    per_order = (money(flat), _rate(rate)) if flat else ("none", "")
    return (side, _rate(getattr(fees, f"{side}_maker")), _rate(getattr(fees, f"{side}_taker")), *per_order)


def _fee_parts(fees: "FeeSchedule") -> Markup:
    if not fees.parts:
        return joined()
    rows = [
        (
            part.name,
            part.side,
            part.liquidity,
            _rate(part.rate),
            money(part.flat) if part.flat else "",
            Cell(part.basis, "long-text"),
            Cell(part.source, "long-text"),
            part.as_of,
        )
        for part in fees.parts
    ]
    header = ("<part", "<side", "<liquidity", "rate", "flat, at most", "<of what", "<source", "<as of")
    return data_table("What these rates are made of", header, rows)


def _source(text: str) -> Markup:
    """A source; only an https address becomes a link."""
    if text.startswith("https://") and not any(char.isspace() for char in text):
        return element("a", text, href=text, rel="noopener noreferrer")
    return joined(text)


def reproduction_table(result: "BacktestResult", versions: Mapping[str, str]) -> Markup:
    """What the same numbers can be made from again."""
    detail = statements.detail_candles(result)
    rows = [
        ("candles", result.candles.label),
        ("fingerprint of the candles", result.candles.fingerprint),
        *([("fingerprint of the detail candles", detail.fingerprint)] if detail is not None else []),
        ("first bar whose signal may be used", f"{result.trade_from:,} ({statements.tested_from(result)})"),
        ("reading of unclear bars", result.execution.intrabar),
        *((name, text) for name, text in versions.items()),
    ]
    caption = "The same candles, settings and versions give the same numbers to the last bit"
    return data_table(caption, ("<", "<"), rows)


def footer(files: Mapping[str, str], written: datetime) -> Markup:
    """Where the rest of the report is."""
    named = ", ".join(path for kind, path in files.items() if kind != "html")
    return element("footer", element("p", f"Written {moment(written)} UTC by barwise. Beside this page: {named}."))
