"""The parts of the page about the trades: cards, tables and notes, each one function from the result to markup."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from barwise.core.tiers import HORIZONS
from barwise.report import statements
from barwise.report.cells import Cell, data_table, money_result, signed, swatch
from barwise.report.charts import evenly
from barwise.report.markup import Child, Markup, element, joined
from barwise.report.tables import tiers_of
from barwise.report.text import counted, duration, moment, money, number, percent, price, with_unit, words

if TYPE_CHECKING:
    from barwise.result import BacktestResult

MOST_TRADE_ROWS = 2_000
MOST_MISSED_ROWS = 50
_FAR_FROM_ZERO = 2.0  # widths of the band
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STRONGEST = 70  # percent of the full colour in the strongest cell of the heat table


# -- Result ------------------------------------------------------------------------------------------------------------


def cards(result: "BacktestResult") -> Markup:
    """The headline: what a trader asks first, each with the figure it has to be seen beside."""
    metrics, held = result.metrics, result.metrics["buy_and_hold"]
    longest = metrics["max_drawdown_duration_ms"]
    under_water = f"under water {duration(longest)}" if longest else "never under water"
    longs, shorts = metrics["long"]["trades"], metrics["short"]["trades"]
    sides = f"{percent(metrics['win_rate'], 0)} won, {longs:,} long, {shorts:,} short"
    found: tuple[tuple[str, str, str], ...] = (
        (
            "Net result",
            money_result(result.net_pnl),
            f"worst {money(result.band.worst, signed=True)}, best {money(result.band.best, signed=True)}",
        ),
        (
            "Return",
            signed(result.total_return, percent(result.total_return, signed=True)),
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
            f"{under_water}, buy and hold {percent(held['max_drawdown'])}",
        ),
        (
            "Trades",
            f"{result.total_trades:,}",
            sides if result.trades else "none was made",
        ),
        ("Profit factor", number(metrics["profit_factor"]), "net wins over net losses"),
        (
            "Expectancy",
            money_result(metrics["expectancy"]),
            f"a trade, {with_unit(metrics['expectancy_r'], 'R', 2, signed=True)}",
        ),
        ("Exposure", percent(metrics["exposure"]), "of the bars in a position"),
    )
    return element("dl", *(card(*shown) for shown in found), class_="cards")


def card(name: str, value: str, beside: str) -> Markup:
    """One figure with its name above and what it is compared with below."""
    kind = f"value {value.kind}" if isinstance(value, Cell) else "value"
    return element(
        "div",
        element("dt", name),
        element("dd", str(value), class_=kind),
        element("dd", beside.replace(" %", "\u00a0%"), class_="beside"),
    )


def band(result: "BacktestResult") -> Markup:
    """The net result under the three readings of bars that leave the order of events open."""
    readings = {"worst": result.band.worst, "path": result.band.path, "best": result.band.best}
    first, last = min(readings.values()), max(readings.values())
    # Zero is on the line where that leaves the band large enough to be read.
    near_zero = first - _FAR_FROM_ZERO * (last - first) <= 0.0 <= last + _FAR_FROM_ZERO * (last - first)
    low, high = (min(0.0, first), max(0.0, last)) if near_zero else (first, last)

    def at(value: float) -> str:
        return f"{100.0 * (value - low) / (high - low) if high > low else 50.0:.2f}%"

    zero = ", with zero marked" if near_zero else ""
    marks = [("mark", f"{name} {money(value, signed=True)}", value) for name, value in readings.items()]
    marks += [("zero", "0", 0.0)] if near_zero else []
    track = element(
        "div",
        element("div", class_="range", style=f"left:{at(first)};right:{100.0 - float(at(last)[:-1]):.2f}%"),
        *(element("div", element("span", text), class_=kind, style=f"left:{at(value)}") for kind, text, value in marks),
        class_="track",
        role="img",
        aria_label=f"Net result from {money(first, signed=True)} to {money(last, signed=True)}{zero}",
    )
    hint = statements.certainty_hint(result)
    told = [
        _capital(statements.certainty(result)),
        *((" (", element("span", hint, class_="whole"), ")") if hint else ()),
        ".",
    ]
    return element(
        "div",
        element("h3", "How much hangs on the order inside a bar"),
        element("p", *told),
        track if first < last else joined(),
        class_="band",
    )


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def limits(result: "BacktestResult", n_trials: int | None) -> Markup:
    """The verdict on one backtest, and what it cannot tell."""
    verdict = statements.verdict(result, n_trials)
    return joined(
        element("p", element("strong", f"Verdict: {verdict.word}. "), verdict.text, class_="limits", id="verdict"),
        element("p", statements.LIMITS, class_="limits muted"),
    )


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
        [
            str(year),
            *(cell(months.get((year, month))) for month in range(1, 13)),
            signed(total, number(total, 2, signed=True)),
        ]
        for year, total in years.items()
    ]
    return joined(
        element("h3", "Returns by month"),
        data_table(
            "Percent of the equity at the start of each month", ("<year", *_MONTHS, "year"), rows, class_="heat"
        ),
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
        (swatch(_EXIT_ROLES.get(name, "muted"), words(name)), group) for name, group in statements.exits(result).items()
    ]
    sides = [(swatch(side, side), metrics[side]) for side in ("long", "short")]
    header = ("<", "trades", "won", "net", "mean")

    def row(name: Markup, group: Mapping[str, Any]) -> list[Child]:
        return [
            name,
            f"{group['trades']:,}",
            percent(group["win_rate"], 0),
            money_result(group["net_pnl"]),
            money_result(group["average_trade"]),
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
            swatch(f"tier-{row['tier']}", f"{row['tier']} {row['name']}"),
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
        "worse than it)."
    )
    ended = ", ".join(f"{words(name)} {count:,}" for name, count in _outcomes(result).items())
    caption = (
        "Shortfall: against the price at the signal. Drift: move in favour 1, 5 and 20 execution bars after a fill"
    )
    return joined(element("p", f"{sentence} Programs ended: {ended}."), data_table(caption, header, rows))


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
    mean = with_unit(found[f"after_signal_{longest}_bp"], "bp", signed=True)
    sentence = (
        f"{counted(len(programs), 'program')} got nothing. {longest} bars after the signal the market had moved in "
        f"favour in {share} of them, by {mean} in the mean."
    )
    caption = _first_of(len(programs), MOST_MISSED_ROWS, "missed program", "The JSON file has them all.")
    return joined(
        heading, element("p", sentence), data_table(f"{caption} Moves in favour after the signal", header, rows)
    )


def _first_of(count: int, most: int, noun: str, elsewhere: str) -> str:
    """What a table shows of all there is."""
    return f"{counted(count, noun)}." if count <= most else f"{most:,} of {counted(count, noun)}. {elsewhere}"


def _side(side: str) -> Markup:
    return swatch(side, side)


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
                money_result(trade.net_pnl),
                number(trade.net_pnl / risk if risk > 0.0 else None, 2, signed=True),
                f"{trade.bars_held:,}",
                money(trade.gross_pnl, signed=True),
                money(trade.fees),
                money(trade.slippage),
                money(trade.funding, signed=True),
                money(trade.mfe, signed=True),
                money(trade.mae, signed=True),
                "yes" if trade.ambiguous else "",
            )
        )
    header = (
        "trade", "<side", "<entry", "price", "<exit", "price", "quantity", "<tiers", "<reason", "net", "R", "bars",
        "gross", "fees", "slippage", "funding", "MFE", "MAE", "<unclear bar",
    )  # fmt: skip
    caption = _first_of(len(trades), MOST_TRADE_ROWS, "trade", "Spread evenly; the CSV file has them all.")
    note = element("p", "On paper the first 60 rows are shown; the CSV file has them all.", class_="print-only muted")
    return joined(data_table(caption, header, rows, long=True), note if len(rows) > 60 else joined())
