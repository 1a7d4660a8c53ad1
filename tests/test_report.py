"""The report of one backtest: its numbers are the result's, nothing can be injected, and it is whole or absent."""

import csv
import hashlib
import io
import json
import os
import re
import resource
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from rich.console import Console

from barwise.config import ExecutionConfig
from barwise.core.layout import Bars, Exit
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.obs import CREDENTIALS
from barwise.report import ReportFiles, print_summary, write_report
from barwise.report import charts as charts_module
from barwise.report.cells import data_table
from barwise.report.charts import distribution_chart, drawn_trades, equity_chart, evenly, extremes
from barwise.report.files import versions
from barwise.report.markup import element, json_block
from barwise.report.page import render_page
from barwise.report.price_chart import EXIT_MARKS, candle_chart, display_candles
from barwise.report.statements import verdict
from barwise.report.tables import cell, trades_csv
from barwise.report.text import duration, money, number, percent, price, words
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.validation.engine import judge_backtest
from tests.conftest import REPOSITORY

WRITTEN = datetime(2025, 4, 1, 12, 4, 5, tzinfo=UTC)
HOUR = 3_600_000
SIX_MEGABYTES = 6_000_000


class At(Strategy):
    """Goes long at given bars, with a risk of 2 a bar."""

    bars: tuple[int, ...] = ()

    def plan(self, bars: Bars) -> Plan:
        """One signal per bar named."""
        entry = np.zeros(len(bars.close), bool)
        entry[[bar for bar in self.bars if bar < entry.size]] = True
        line = np.full(len(bars.close), 2.0)
        return Plan.of(entry=entry, anchor=bars.close.copy(), vwap=bars.close.copy(), risk=line)


class Hostile(At):
    """A strategy with a name that wants to be markup."""

    label: ClassVar[str] = "[red]</script><script>alert('strategy')</script>"


def hours(closes: list[float], *, symbol: str = "TEST", exchange: str = "", scale: float = 1.0) -> Candles:
    """Hourly candles through the closes, each bar 0.5 to both sides."""
    rows = [
        {
            "time": 1_735_689_600_000 + i * HOUR,
            "open": scale * (closes[i - 1] if i else close),
            "high": scale * (max(close, closes[i - 1] if i else close) + 0.5),
            "low": scale * (min(close, closes[i - 1] if i else close) - 0.5),
            "close": scale * close,
            "volume": 1000.0 / scale,
        }
        for i, close in enumerate(closes)
    ]
    return Candles.of(rows, exchange=exchange, symbol=symbol, timeframe="1H")


@pytest.fixture(scope="module")
def sample() -> BacktestResult:
    """Half a year of the SAMPLE market."""
    return backtest(sample_candles(start="2024-01-01", end="2024-07-01"), EmaRsiAtr(enable_rsi_filter=False), 0.5)


@pytest.fixture(scope="module")
def one_trade() -> BacktestResult:
    """One signal, one trade."""
    return backtest(hours([100, 100, 101, 102, 104, 106, 107, 108, 108, 108]), At(bars=(2,)), 1.0, trade_from=1)


@pytest.fixture(scope="module")
def no_trade() -> BacktestResult:
    """No signal at all."""
    return backtest(hours([100.0] * 10), At(), 1.0, trade_from=1)


@pytest.fixture(scope="module")
def ruined() -> BacktestResult:
    """A leveraged long that a gap takes below zero."""
    execution = ExecutionConfig(initial_capital=100.0, leverage=20.0)
    closes = [100.0, 100.0, 100.0, 100.0, 100.0, 60.0, 60.0, 60.0]
    strategy = At(bars=(1,), enable_hybrid_engine=False, atr_sl_multiplier=1000.0, atr_tp_multiplier=1000.0)
    result = backtest(hours(closes), strategy, 15.0, execution=execution, trade_from=1)
    assert result.ruined
    return result


def page_of(result: BacktestResult) -> str:
    """The page with a fixed time and no other files."""
    return render_page(result, written=WRITTEN, versions=versions(), files={"json": "data/results/x.json"})


def printed(result: BacktestResult, width: int = 80) -> str:
    """The summary as a terminal without colours gets it."""
    out = io.StringIO()
    print_summary(result, Console(file=out, width=width, color_system=None, force_terminal=False))
    return out.getvalue()


class Page(HTMLParser):
    """What a browser would make of a page: elements, their text, and whether end tags match."""

    OMITTED: ClassVar[set[str]] = {"td", "th", "tr", "meta", "br"}

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it."""
        self.elements.append((tag, dict(attrs)))
        if tag not in self.OMITTED:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """It must close what is open."""
        assert self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "table":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        """Text of the innermost element, and of a table's cell."""
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
        if "tbody" in self.open and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of that tag."""
        return [attributes for name, attributes in self.elements if name == tag]


def without_scripts(page: str) -> str:
    """The page without what its scripts contain."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def figures(page: str) -> dict[str, Any]:
    """The data of the charts."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


# -- Terminal ----------------------------------------------------------------------------------------------------------


def test_the_summary_shows_the_results_numbers(sample: BacktestResult) -> None:
    text = printed(sample)
    for expected in (
        "SAMPLE-BTC 1H",
        "SYNTHETIC",
        "2024-01-01 .. 2024-06-30",
        "4,368 bars, 0 gaps",
        money(sample.net_pnl, signed=True),
        percent(sample.total_return, signed=True),
        f"{sample.sharpe_ratio:.2f}",
        percent(sample.metrics["buy_and_hold"]["total_return"], signed=True),
        f"{sample.total_trades} / {sample.win_rate:.0f} %",
        f"{sample.profit_factor:.2f}",
    ):
        assert expected in text, expected


def test_the_summary_counts_the_fills_of_every_tier_and_the_missed_programs(sample: BacktestResult) -> None:
    text = printed(sample)
    tiers = Counter(fill.tier for fill in sample.fills)
    assert [int(count) for count in re.findall(r"tier \d: (\d+)", text)] == [tiers[tier] for tier in (1, 2, 3, 4)]
    missed = sum(1 for program in sample.programs if not program.fills)
    assert f"missed: {missed} of {len(sample.programs)} programs" in text


def test_the_summary_has_no_line_longer_than_eighty_columns(
    sample: BacktestResult, ruined: BacktestResult, no_trade: BacktestResult
) -> None:
    for result in (sample, ruined, no_trade):
        assert max(len(line) for line in printed(result).splitlines()) <= 80


def test_the_summary_gives_the_verdict_of_one_backtest_and_says_what_it_cannot_tell(sample: BacktestResult) -> None:
    text = " ".join(printed(sample).split())
    word = str(judge_backtest(sample).word)
    assert word != "LIKELY REAL"
    assert f"Verdict {word}: " in text
    assert "no out-of-sample test was made" in text
    assert "How many configurations were tried on these candles is not known." in text


def test_the_verdict_counts_the_configurations_on_record_and_says_what_luck_makes_of_them(
    sample: BacktestResult,
) -> None:
    one, many = verdict(sample, 1), verdict(sample, 400)
    assert "It is the only configuration on record for these candles." in one.text
    luck = judge_backtest(sample, 400).evidence.luck_line
    assert (
        f"400 configurations are on record for these candles; the best of so many shows a Sharpe ratio of {luck:.2f}"
        in (many.text)
    )
    page = render_page(sample, written=WRITTEN, versions=versions(), files={}, n_trials=400)
    assert "400 configurations are on record" in page
    assert f"<strong>Verdict: {many.word}. </strong>" in page


def test_no_single_backtest_is_ever_called_real(one_trade: BacktestResult, ruined: BacktestResult) -> None:
    assert verdict(one_trade, 1).word == "TOO LITTLE DATA"
    assert verdict(ruined, 1).word in ("TOO LITTLE DATA", "UNPROVEN")


def test_the_summary_without_colours_has_no_escape_sequence(sample: BacktestResult) -> None:
    assert "\x1b" not in printed(sample)


def test_the_costs_of_the_summary_lead_from_before_costs_to_net(sample: BacktestResult) -> None:
    text = " ".join(printed(sample).split())
    chain = sample.metrics["cost_attribution"]
    steps = [("before costs", 1, "before_costs"), ("slippage", -1, "slippage"), ("gross", 1, "gross_pnl")]
    steps += [("fees", -1, "fees"), ("net", 1, "net_pnl")]
    assert " -> ".join(f"{name} {money(sign * chain[key], signed=True)}" for name, sign, key in steps) in text


def test_a_name_in_square_brackets_is_printed_and_not_taken_for_a_style() -> None:
    result = backtest(hours([100.0] * 10, symbol="[bold]X"), Hostile(), 1.0, trade_from=1)
    assert "[BOLD]X" in printed(result)
    assert "[red]" in printed(result)


def test_the_summary_says_when_the_money_was_gone(ruined: BacktestResult) -> None:
    assert "RUINED" in printed(ruined)


def test_the_summary_of_a_run_without_trades_has_no_made_up_number(no_trade: BacktestResult) -> None:
    text = printed(no_trade)
    assert re.search(r"Sharpe +n/a", text)
    assert re.search(r"profit factor +n/a", text)
    assert "no trade" in text


def test_the_summary_tells_of_missing_bars_and_missing_volume() -> None:
    candles = hours([100.0 + i % 3 for i in range(40)])
    rows = [{**row, "volume": 0.0} for row in candles if row["time"] != int(candles.time[20])]
    result = backtest(Candles.of(rows, timeframe="1H", audit="report"), At(bars=(2,)), 1.0, trade_from=1)
    text = " ".join(printed(result).split())
    assert "1 gap" in text
    assert "warning" in text
    assert "no volume" in text


# -- Page --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample", "one_trade", "no_trade", "ruined"])
def test_the_page_is_well_formed_and_named(name: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(name)
    text = page_of(result)
    page = Page(text)
    assert page.open == []
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html")[0]["lang"] == "en"
    assert result.candles.symbol in page.texts["title"][0]
    assert page.texts["h1"] == [f"{result.candles.symbol} 1H"]
    assert len(page.all("main")) == 1
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("name", ["sample", "one_trade", "no_trade", "ruined"])
def test_every_chart_has_a_name_for_those_who_cannot_see_it(name: str, request: pytest.FixtureRequest) -> None:
    text = page_of(request.getfixturevalue(name))
    page = Page(text)
    plots = {
        str(attributes["id"]): attributes for attributes in page.all("div") if "plot" in str(attributes.get("class"))
    }
    assert set(plots) == {f"chart-{chart}" for chart in figures(text)}
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots.values())
    assert len(page.all("figure")) == len(plots)


def test_every_table_has_a_caption_and_headings_with_scope(sample: BacktestResult) -> None:
    page = Page(page_of(sample))
    assert len(page.all("caption")) == len(page.all("table")) >= 10
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    regions = [attributes for attributes in page.all("div") if attributes.get("role") == "region"]
    assert len(regions) == len(page.all("table"))
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in regions)


def test_the_trades_table_has_every_trade_with_its_net_result(sample: BacktestResult) -> None:
    page = Page(page_of(sample))
    rows = [row for row in page.rows if len(row) == 19 and row[0]]
    assert [int(row[0]) for row in rows] == [trade.trade_id for trade in sample.trades]
    assert [row[9] for row in rows] == [money(trade.net_pnl, signed=True) for trade in sample.trades]
    assert [row[8] for row in rows] == [words(trade.exit_reason) for trade in sample.trades]


def test_the_page_shows_settings_fees_and_fingerprint(sample: BacktestResult) -> None:
    text = without_scripts(page_of(sample))
    assert sample.candles.fingerprint in text
    assert sample.fees_schedule.source in text
    assert sample.fees_schedule.as_of in text
    for name in (*sample.strategy.to_dict(), *sample.execution.to_dict(), "numba"):
        assert name in text, name


def test_synthetic_prices_are_called_synthetic_and_real_ones_are_not(
    sample: BacktestResult, one_trade: BacktestResult
) -> None:
    assert "SYNTHETIC: these prices were made up" in page_of(sample)
    assert "SYNTHETIC" not in without_scripts(page_of(one_trade))


def test_the_page_says_when_the_money_was_gone(ruined: BacktestResult, sample: BacktestResult) -> None:
    assert "RUINED" in without_scripts(page_of(ruined))
    assert "RUINED" not in without_scripts(page_of(sample))


def test_names_that_want_to_be_markup_stay_text() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    fees = FeeSchedule(evil, 0.0, 0.0, 0.0, 0.0, source=f"javascript:alert(3) {evil}")
    candles = hours([100.0] * 10, symbol=evil, exchange=evil)
    execution = ExecutionConfig(fees=fees)
    result = backtest(candles, Hostile(bars=(2,)), 1.0, trade_from=1, execution=execution)
    text = page_of(result)
    page = Page(text)
    assert len(page.all("script")) == 3
    assert page.all("img") == []
    assert page.texts["h1"] == [f"{result.candles.symbol} 1H"]
    assert "<script>alert" not in text.lower()
    assert page.all("a") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_no_name_of_a_user_reaches_the_data_of_a_chart() -> None:
    result = backtest(hours([100.0 + i % 5 for i in range(30)], symbol="EVIL"), Hostile(bars=(2,)), 1.0, trade_from=1)
    assert result.trades
    data = json.dumps(figures(page_of(result)))
    assert "EVIL" not in data
    assert "alert" not in data


def test_data_for_scripts_cannot_end_the_script() -> None:
    block = json_block("x", {"name": "</script><!--<script>&"})
    assert block.count("<") == 2
    inner = block[block.index(">") + 1 : block.rindex("</script>")]
    assert json.loads(inner) == {"name": "</script><!--<script>&"}


def test_text_and_attributes_are_escaped_by_default() -> None:
    assert element("p", "a<b", title='"><x>') == '<p title="&quot;&gt;&lt;x&gt;">a&lt;b</p>'
    assert "\x07" not in element("p", "bell\x07")
    assert "<i>" not in data_table("<i>", ("<i>", "<<i>"), [["<i>", "<i>"]])


def test_the_page_asks_for_nothing_from_anywhere(sample: BacktestResult) -> None:
    text = page_of(sample)
    page = Page(text)
    assert page.all("link") == page.all("iframe") == page.all("img") == []
    assert all("src" not in attributes for _, attributes in page.elements)
    style = "".join(page.texts["style"])
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attributes["content"] for attributes in page.all("meta") if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_only_the_two_scripts_of_the_page_may_run(sample: BacktestResult) -> None:
    text = page_of(sample)
    policy = next(str(attributes["content"]) for attributes in Page(text).all("meta") if "http-equiv" in attributes)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(digests) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert "script-src 'unsafe" not in policy


def test_the_page_is_less_than_six_megabytes_however_long_the_run() -> None:
    candles = sample_candles(timeframe="1M", start="2024-01-01", end="2024-03-24")
    strategy = EmaRsiAtr(
        enable_rsi_filter=False, enable_trend_filter=False, ema_fast=3, ema_slow=6, atr_sl_multiplier=0.6,
        atr_tp_multiplier=0.7,
    )  # fmt: skip
    result = backtest(candles, strategy, 0.01)
    assert result.total_trades > 4_000
    text = page_of(result)
    assert len(text.encode()) < SIX_MEGABYTES
    page = Page(text)
    assert len([row for row in page.rows if len(row) == 19 and row[0]]) == 2_000
    assert f"2,000 of {result.total_trades:,} trades" in text
    assert f"of {result.total_trades:,} trades are drawn" in text


# -- Charts ------------------------------------------------------------------------------------------------------------


def colours_of_the_style() -> dict[str, str]:
    """The custom properties of the light theme."""
    style = (Path(charts_module.__file__).parent / "page.css").read_text("utf-8")
    return dict(re.findall(r"--([a-z0-9-]+): ([^;]+);", style.split("[data-theme")[0]))


def roles_in(value: Any) -> set[str]:
    """Every colour role a specification names."""
    if isinstance(value, str):
        return {value[1:]} if value.startswith("@") else set()
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(roles_in(child) for child in children)) if children else set()


def test_every_colour_of_a_chart_is_defined_and_comes_from_the_palette(
    sample: BacktestResult, ruined: BacktestResult
) -> None:
    defined = colours_of_the_style()
    used = roles_in(figures(page_of(sample))) | roles_in(figures(page_of(ruined)))
    assert {"long", "short", "stop", "target", "tier-1", "ink"} <= used
    assert used <= set(defined)
    okabe_ito = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
    for role in ("long", "short", "stop", "target", "tier-1", "tier-2", "tier-3", "gain", "loss"):
        assert defined[role] in okabe_ito, role


def test_long_short_stop_target_and_the_tiers_have_colours_of_their_own() -> None:
    defined = colours_of_the_style()
    roles = ("long", "short", "stop", "target", "tier-1", "tier-2", "tier-3", "tier-4", "tier-5")
    assert len({defined[role] for role in roles}) == len(roles)


def test_every_fill_and_every_exit_is_marked_on_the_candles(sample: BacktestResult) -> None:
    traces = {trace["name"]: trace for trace in candle_chart(sample).data}
    for tier, count in Counter(fill.tier for fill in sample.fills).items():
        marked = [trace for name, trace in traces.items() if name.startswith(f"entry, tier {tier}")]
        assert len(marked[0]["x"]) == count
    for reason, count in Counter(trade.exit_reason for trade in sample.trades).items():
        assert len(traces[f"exit, {words(reason)}"]["x"]) == count
    assert sum(len(trace["x"]) for name, trace in traces.items() if name.endswith("position")) == 3 * len(sample.trades)


def test_every_exit_reason_has_a_mark_of_its_own() -> None:
    assert set(EXIT_MARKS) == {reason.name.lower() for reason in Exit}
    assert len(set(EXIT_MARKS.values())) == len(EXIT_MARKS)


def test_marks_stand_at_the_times_and_prices_of_the_trades(one_trade: BacktestResult) -> None:
    trade = one_trade.trades[0]
    traces = {trace["name"]: trace for trace in candle_chart(one_trade).data}
    leaving = traces[f"exit, {words(trade.exit_reason)}"]
    assert leaving["x"] == [trade.exit_time.timestamp() * 1000]
    assert leaving["y"] == [pytest.approx(trade.exit_price, rel=1e-7)]


def test_display_candles_lose_no_extreme_and_no_bar_at_either_end() -> None:
    candles = sample_candles(start="2024-01-01", end="2024-12-31").between("2024-01-01T03:00", "2024-12-30T05:00")
    (opens, highs, lows, closes), time, frame = display_candles(candles, most=1_000)
    assert str(frame) == "1D"
    assert len(time) == 365
    assert highs.max() == candles.high.max()
    assert lows.min() == candles.low.min()
    assert (opens[0], closes[-1]) == (candles.open[0], candles.close[-1])
    second_day = candles.between("2024-01-02", "2024-01-03")
    assert (opens[1], highs[1]) == (second_day.open[0], second_day.high.max())
    assert (lows[1], closes[1]) == (second_day.low.min(), second_day.close[-1])


def test_a_coarser_display_is_named_in_the_title(sample: BacktestResult, one_trade: BacktestResult) -> None:
    assert "drawn as 2H candles" in candle_chart(sample).title
    assert "drawn as" not in candle_chart(one_trade).title


def test_a_thinned_curve_keeps_its_highest_lowest_first_and_last_point() -> None:
    curve = np.cumsum(np.random.default_rng(3).normal(size=50_000))
    drawdown = np.maximum.accumulate(curve) - curve
    kept = extremes((curve, drawdown), 500)
    assert len(kept) <= 1_502
    assert {0, len(curve) - 1, int(curve.argmax()), int(curve.argmin()), int(drawdown.argmax())} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_the_equity_chart_ends_at_the_results_equity_and_holds_its_drawdown(sample: BacktestResult) -> None:
    strategy, held, drawdown = equity_chart(sample).data
    assert strategy["y"][-1] == pytest.approx(sample.final_equity, rel=1e-7)
    assert -min(drawdown["y"]) == pytest.approx(float(sample.drawdown_curve.max()), rel=1e-7)
    growth = 1.0 + sample.metrics["buy_and_hold"]["total_return"] / 100.0
    assert held["y"][-1] == pytest.approx(sample.initial_capital * growth, rel=1e-7)
    assert strategy["x"][-1] == int(sample.candles.time[-1]) + HOUR


def test_no_bin_of_the_distribution_holds_gains_and_losses(sample: BacktestResult) -> None:
    bars = distribution_chart(sample).data
    assert sum(sum(trace["y"]) for trace in bars) == sample.total_trades
    losses = next(trace for trace in bars if trace["name"] == "loss")
    assert sum(losses["y"]) == sample.losing_trades
    assert all(edges[1] <= 0.0 for edges in losses["customdata"])


def test_evenly_spread_choices_hold_the_first_and_the_last() -> None:
    assert evenly(5, 10) == [0, 1, 2, 3, 4]
    chosen = evenly(10_000, 2_000)
    assert len(chosen) == 2_000
    assert (chosen[0], chosen[-1]) == (0, 9_999)


def test_all_trades_are_drawn_where_there_are_few(sample: BacktestResult) -> None:
    assert drawn_trades(sample) == list(sample.trades)


def test_nights_of_an_exchange_are_cut_out_of_the_time_axis() -> None:
    start = 1_740_973_500_000  # 2025-03-03 03:45 UTC, Monday 09:15 in Mumbai
    rows = [
        {"time": start + day * 86_400_000 + bar * 300_000, "open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0,
         "volume": 10.0}
        for day in range(4)
        for bar in range(75)
    ]  # fmt: skip
    candles = Candles.of(rows, exchange="ZERODHA", symbol="X", timeframe="5M", audit="off")
    result = backtest(candles, At(), 1.0, trade_from=1)
    breaks = candle_chart(result).layout["xaxis"]["rangebreaks"]
    assert breaks[0] == {"pattern": "hour", "bounds": [10.0, 3.75]}


# -- Files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(sample: BacktestResult, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportFiles, Path]:
    """The files of the sample's report, and their home."""
    home = tmp_path_factory.mktemp("home")
    return write_report(sample, home, written=WRITTEN), home


def test_files_stand_in_the_places_of_the_specification(written: tuple[ReportFiles, Path]) -> None:
    files, home = written
    base = "20250401-120405-sample-btc-1h"
    assert {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()} == {
        f"data/results/{base}.json",
        f"data/results/{base}.html",
        f"data/exports/{base}-trades.csv",
        f"data/exports/{base}-equity.csv",
        f"data/exports/{base}-fills.csv",
        f"data/raw_logs/SAMPLE/SAMPLE-BTC/{base}.jsonl",
    }
    assert files.html.name == f"{base}.html"


def test_the_json_file_is_the_result(written: tuple[ReportFiles, Path], sample: BacktestResult) -> None:
    content = json.loads(written[0].json.read_text("utf-8"))
    plain = json.loads(sample.to_json())
    assert {name: content[name] for name in plain} == plain
    assert set(content) - set(plain) == {"data_audit", "written", "versions", "verdict"}
    assert content["written"] == "2025-04-01T12:04:05+00:00"
    assert content["data_audit"]["ok"] is True


def test_the_trades_table_reads_back_as_the_trades(written: tuple[ReportFiles, Path], sample: BacktestResult) -> None:
    with written[0].trades_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(sample.trades) > 10
    for row, trade in zip(rows, sample.trades, strict=True):
        assert int(row["trade_id"]) == trade.trade_id
        assert row["side"] == trade.side
        assert row["exit_reason"] == trade.exit_reason
        assert datetime.fromisoformat(row["entry_time (UTC)"]) == trade.entry_time
        assert datetime.fromisoformat(row["exit_time (UTC)"]) == trade.exit_time
        for column, name in (
            ("entry_price (quote)", "entry_price"),
            ("exit_price (quote)", "exit_price"),
            ("net_pnl (quote)", "net_pnl"),
            ("fees (quote)", "fees"),
            ("mae (quote)", "mae"),
            ("quantity (base)", "quantity"),
        ):
            assert float(row[column]) == trade[name], column


def test_the_equity_table_reads_back_as_the_equity_curve(
    written: tuple[ReportFiles, Path], sample: BacktestResult
) -> None:
    with written[0].equity_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [float(row[1]) for row in rows[1:]] == sample.equity_curve.tolist()
    assert datetime.fromisoformat(rows[1][0]).timestamp() * 1000 == sample.candles.time[sample.trade_from]


def test_the_fills_table_has_every_fill_with_its_program(
    written: tuple[ReportFiles, Path], sample: BacktestResult
) -> None:
    with written[0].fills_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(program.program_id, fill.tier, fill.price) for program in sample.programs for fill in program.fills]
    assert [(int(row["program_id"]), int(row["tier"]), float(row["price (quote)"])) for row in rows] == expected


def test_the_trade_log_has_a_line_for_everything_that_happened(
    written: tuple[ReportFiles, Path], sample: BacktestResult
) -> None:
    lines = [json.loads(line) for line in written[0].trade_log.read_text("utf-8").splitlines()]
    assert Counter(line["event"] for line in lines) == {
        "run": 1,
        "program": len(sample.programs),
        "fill": len(sample.fills),
        "trade": len(sample.trades),
    }
    assert all(line["schema_version"] == 1 for line in lines)
    assert lines[0]["fingerprint"] == sample.candles.fingerprint
    times = [line.get("signal_time") or line.get("exit_time") or line["time"] for line in lines[1:]]
    assert times == sorted(times)
    assert sum(line["net_pnl"] for line in lines if line["event"] == "trade") == pytest.approx(sample.net_pnl)


def test_a_trade_of_the_log_follows_its_fills_and_its_program(written: tuple[ReportFiles, Path]) -> None:
    lines = [json.loads(line) for line in written[0].trade_log.read_text("utf-8").splitlines()]
    seen: dict[int, list[str]] = {}
    for line in lines[1:]:
        seen.setdefault(line["program_id"], []).append(line["event"])
    for events in seen.values():
        assert events[0] == "program"
        assert "trade" not in events[:-1]


@pytest.mark.parametrize("name", ["one_trade", "no_trade", "ruined"])
def test_a_report_of_few_or_no_trades_is_complete(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    result = request.getfixturevalue(name)
    files = write_report(result, tmp_path)
    with files.trades_csv.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + result.total_trades
    assert json.loads(files.json.read_text("utf-8"))["metrics"]["total_trades"] == result.total_trades


def test_two_reports_of_one_run_differ_in_nothing(sample: BacktestResult, tmp_path: Path) -> None:
    reports = [write_report(sample, tmp_path / home, written=WRITTEN) for home in ("a", "b")]
    for first, second in zip(*(vars(report).values() for report in reports), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_only_page_and_json_know_when_they_were_written(sample: BacktestResult, tmp_path: Path) -> None:
    later = WRITTEN.replace(hour=20)
    first, second = (write_report(sample, tmp_path / f"{at.hour}", name="x", written=at) for at in (WRITTEN, later))
    same = {kind for kind, path in vars(first).items() if path.read_bytes() == getattr(second, kind).read_bytes()}
    assert same == {"trades_csv", "equity_csv", "fills_csv", "trade_log"}
    stamped = first.html.read_text("utf-8").replace("2025-04-01 12:04:05", "2025-04-01 20:04:05")
    assert stamped == second.html.read_text("utf-8")


def test_a_second_report_in_the_same_second_replaces_nothing(one_trade: BacktestResult, tmp_path: Path) -> None:
    first, second = (write_report(one_trade, tmp_path, written=WRITTEN) for _ in range(2))
    assert second.json.name == "20250401-120405-test-1h-2.json"
    assert not set(vars(first).values()) & set(vars(second).values())
    assert first.json.exists()


def test_a_report_of_a_given_name_replaces_the_one_before(one_trade: BacktestResult, tmp_path: Path) -> None:
    first = write_report(one_trade, tmp_path, name="mine")
    assert first.html.name == "mine.html"
    assert write_report(one_trade, tmp_path, name="mine") == first


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200, "a b"])
def test_a_name_that_is_no_file_name_is_refused(name: str, one_trade: BacktestResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no name for the files"):
        write_report(one_trade, tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symbol", ["../../../ESCAPE", "A/B", "..", "C:\\X", "\u0001", "ΩΩ"])
def test_no_symbol_leads_out_of_the_home_folder(symbol: str, tmp_path: Path) -> None:
    candles = hours([100.0] * 10, symbol=symbol)
    home = tmp_path / "home"
    files = write_report(backtest(candles, At(), 1.0, trade_from=1), home)
    assert list(tmp_path.iterdir()) == [home]
    depths = {kind: len(path.relative_to(home).parts) for kind, path in vars(files).items()}
    assert depths == {"json": 3, "html": 3, "trades_csv": 3, "equity_csv": 3, "fills_csv": 3, "trade_log": 5}


def test_a_home_that_is_a_file_is_a_data_error_with_a_hint(one_trade: BacktestResult, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("")
    with pytest.raises(DataError, match="cannot be written") as caught:
        write_report(one_trade, home)
    assert caught.value.hint


def test_a_report_that_cannot_be_finished_leaves_nothing(one_trade: BacktestResult, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "exports").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_report(one_trade, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["exports"]


def test_a_full_disk_is_a_data_error_and_leaves_nothing(one_trade: BacktestResult, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(DataError, match=r"\.html cannot be written"):
            write_report(one_trade, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_credential_and_no_folder_of_this_machine_is_in_a_report(
    one_trade: BacktestResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate(CREDENTIALS):
        monkeypatch.setenv(name, f"secret-value-{i}")
    home = tmp_path / "a-folder-of-mine"
    for path in vars(write_report(one_trade, home)).values():
        text = path.read_text("utf-8")
        assert "secret-value" not in text
        assert "a-folder-of-mine" not in text
        assert str(Path.home()) not in without_scripts(text)


# -- Cells and words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_starts_a_formula_is_quoted(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"


def test_a_symbol_that_is_a_formula_is_quoted_in_the_table() -> None:
    candles = hours([100, 100, 101, 102, 104, 106, 107, 108, 108, 108], symbol='=HYPERLINK("X")')
    rows = list(csv.reader(io.StringIO(trades_csv(backtest(candles, At(bars=(2,)), 1.0, trade_from=1)))))
    assert rows[1][1] == '\'=HYPERLINK("X")'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-7, "0.0000001"),
        (-1.5, "-1.5"),
        (-0.0, "0"),
        (123456789.125, "123456789.125"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e21, "1000000000000000000000"),
        (7, "7"),
        (None, ""),
        (True, "true"),
        (datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), "2025-01-02T03:04:05Z"),
    ],
)
def test_cells_are_plain(value: object, text: str) -> None:
    assert cell(value) == text


def test_tables_of_tiny_prices_have_no_exponent() -> None:
    candles = hours([100, 100, 101, 102, 104, 106, 107, 108, 108, 108], scale=1e-8)

    class Tiny(At):
        def plan(self, bars: Bars) -> Plan:
            return super().plan(bars)._replace(risk=np.full(len(bars.close), 2e-8))

    result = backtest(candles, Tiny(bars=(2,)), 1e6, trade_from=1)
    rows = list(csv.reader(io.StringIO(trades_csv(result))))
    assert len(rows) == 2
    assert not any(re.fullmatch(r"-?[\d.]+e[-+]?\d+", text) for text in rows[1])
    assert "e-" not in re.sub(r"[a-z]{2,}[a-z-]*", "", printed(result))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(1234.567, 2), "1,234.57"),
        (number(-0.0001, 2, signed=True), "0.00"),
        (number(None), "n/a"),
        (number(float("nan")), "n/a"),
        (money(-1426.6, signed=True), "-1,427"),
        (money(12.3, signed=True), "+12.30"),
        (money(999.999), "1,000"),
        (money(0.001234), "0.0012"),
        (money(0.0), "0.00"),
        (price(42123.456789), "42,123.457"),
        (price(0.0000123456), "0.0000123456"),
        (price(100.0), "100"),
        (price(0.0), "0"),
        (percent(12.34, signed=True), "+12.3 %"),
        (percent(-0.456), "-0.46 %"),
        (percent(None), "n/a"),
        (duration(90 * 60_000), "1.5 hours"),
        (duration(86_400_000), "1 day"),
        (duration(60_000), "1 minute"),
        (words("daily_sharpe_ratio"), "daily Sharpe ratio"),
        (words("stop_loss"), "stop loss"),
    ],
)
def test_numbers_and_names_read_as_people_write_them(text: str, expected: str) -> None:
    assert text == expected


def test_importing_the_report_loads_no_plotting_frame_or_terminal_library() -> None:
    code = (
        "import barwise.report, sys; print(sorted({'plotly', 'polars', 'pandas', 'rich', 'numba'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
