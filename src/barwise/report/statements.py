"""What a result says in words and short lists, shared by the terminal and the page so that both say the same."""

from typing import TYPE_CHECKING, Any, NamedTuple

from barwise.core.tiers import program_totals
from barwise.report.text import counted, day, moment, money, number, words
from barwise.timeframe import Timeframe

if TYPE_CHECKING:
    from barwise.result import BacktestResult

LIMITS = "One backtest of one span: no out-of-sample test was made. Past fills do not promise future ones."
# Signal bars split into about this many detail bars settle most questions about their order.
_ENOUGH_DETAIL = 10


class CostStep(NamedTuple):
    """One step on the way from the result before costs to the net result; totals are not steps but sums so far."""

    name: str
    amount: float
    is_total: bool


class ShortVerdict(NamedTuple):
    """The verdict on one backtest: its word, and why in one line."""

    word: str
    text: str


def strategy_name(result: "BacktestResult") -> str:
    """What people call the strategy."""
    return type(result.strategy).name()


def facts(result: "BacktestResult", strategy: str = "") -> str:
    """Venue, strategy, span and data of a backtest, in one line.

    Args:
        result: The backtest.
        strategy: What its strategy is called here; "" = its own name.
    """
    detail = detail_candles(result)
    told = (
        result.candles.exchange,
        strategy or strategy_name(result),
        span(result),
        bars_and_gaps(result),
        f"fills in {detail.timeframe} candles" if detail is not None else "",
    )
    return " · ".join(filter(None, told))


def market_name(result: "BacktestResult") -> str:
    """Symbol and timeframe."""
    return f"{result.candles.symbol or 'unnamed market'} {result.candles.timeframe}"


def span(result: "BacktestResult") -> str:
    """First and last day of the data."""
    time = result.candles.time
    return f"{day(int(time[0]))} .. {day(int(time[-1]))}"


def bars_and_gaps(result: "BacktestResult") -> str:
    """`8,784 bars, 0 gaps`."""
    return f"{counted(len(result.candles), 'bar')}, {counted(result.candles.gaps.count, 'gap')}"


def detail_candles(result: "BacktestResult") -> Any:
    """The finer candles that fills happened in, or None where those were the signal candles themselves."""
    bars = result.prepared.execution_candles
    return None if bars is result.candles else bars


def tested_from(result: "BacktestResult") -> str:
    """When the first signal could be used."""
    return moment(int(result.candles.time[result.trade_from]))


def cost_steps(result: "BacktestResult") -> list[CostStep]:
    """Before costs, slippage, gross, fees, funding where there is any, net: costs are negative amounts."""
    chain = result.metrics["cost_attribution"]
    steps = [
        CostStep("before costs", chain["before_costs"], True),
        CostStep("slippage", -chain["slippage"], False),
        CostStep("gross", chain["gross_pnl"], True),
        CostStep("fees", -chain["fees"], False),
        CostStep("funding", -chain["funding"], False),
        CostStep("net", chain["net_pnl"], True),
    ]
    return [step for step in steps if step.name != "funding" or step.amount != 0.0]


def certainty(result: "BacktestResult") -> str:
    """How much of the net result hangs on the order of events inside bars."""
    band = result.band
    amounts = f"worst {money(band.worst, signed=True)} .. best {money(band.best, signed=True)}"
    amounts += f", path {money(band.path, signed=True)}"
    if not result.total_trades:
        return "no trade was made, so nothing depends on the order inside a bar"
    verb = "depends" if band.ambiguous_trades == 1 else "depend"
    return (
        f"{amounts}: {band.ambiguous_trades:,} of {counted(result.total_trades, 'trade')} {verb} on the order inside a "
        "bar"
    )


def certainty_hint(result: "BacktestResult") -> str:
    """How to know instead of assume; empty where nothing is open."""
    if not result.band.ambiguous_trades:
        return ""
    bar = result.prepared.execution_candles.timeframe
    finer = [frame for frame in map(Timeframe, Timeframe.names()) if frame.ms < bar.ms and bar.ms % frame.ms == 0]
    if not finer:
        return f"{bar} is the finest timeframe there is"
    enough = [frame for frame in finer if bar.ms >= _ENOUGH_DETAIL * frame.ms]
    return f"use --detail {(enough or finer)[-1]}"


def ruin(result: "BacktestResult") -> str:
    """When the run ended for lack of money; empty where it did not."""
    if not result.ruined:
        return ""
    ended = [trade.exit_time for trade in result.trades if trade.exit_reason == "ruined"]
    when = f" in the bar of {moment(ended[-1])} UTC" if ended else ""
    return f"RUINED: equity fell to 0 or below{when}, the position was closed there and the run ended."


def verdict(result: "BacktestResult", n_trials: int | None) -> ShortVerdict:
    """What can be said from one backtest, with the number of configurations on record for its candles.

    Args:
        n_trials: This one included; None where nobody knows.
    """
    # The rule brings the optimizer and SciPy with it, which a page without a verdict would not need.
    from barwise.validation.engine import judge_backtest

    found = judge_backtest(result, n_trials or 1)
    reason = found.reasons[0]
    if n_trials is None:
        tried = "How many configurations were tried on these candles is not known."
    elif n_trials == 1:
        tried = "It is the only configuration on record for these candles."
    else:
        luck = found.evidence.luck_line
        tried = f"{n_trials:,} configurations are on record for these candles"
        tried += f"; the best of so many shows a Sharpe ratio of {number(luck)} by luck alone."
    return ShortVerdict(str(found.word), f"{reason[:1].upper()}{reason[1:]} {tried} barwise validate runs the tests.")


def exits(result: "BacktestResult") -> dict[str, dict[str, Any]]:
    """The trades by exit reason, the most frequent first."""
    groups = result.metrics["by_exit_reason"]
    return dict(sorted(groups.items(), key=lambda item: (-item[1]["trades"], item[0])))


def exits_line(result: "BacktestResult") -> str:
    """`stop loss 12, take profit 4`."""
    found = exits(result)
    return ", ".join(f"{words(name)} {group['trades']:,}" for name, group in found.items()) or "no trade"


def missed(result: "BacktestResult") -> list[dict[str, Any]]:
    """The programs nothing was filled of."""
    programs: list[dict[str, Any]] = result.missed_programs["programs"]
    return programs


def shortfall_bp(result: "BacktestResult") -> float | None:
    """Implementation shortfall of all entries, weighted by filled quantity, in basis points; positive is a cost."""
    shortfall: float | None = program_totals(result.records.programs)["shortfall_bp"]
    return shortfall


def data_line(result: "BacktestResult") -> str:
    """What the audit of the candles says, in one line."""
    audit = result.candles.audit
    found = [*audit.errors, *audit.warnings]
    if not found:
        return "no warnings"
    more = f" (and {len(found) - 1:,} more in the report)" if len(found) > 1 else ""
    return f"{counted(len(found), 'warning')}: {found[0].message}{more}"
