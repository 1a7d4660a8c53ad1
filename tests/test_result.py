"""The result as a thing to hold: what it derives from its records, how it prints, and that nobody can change it."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import pytest

from barwise.config import ExecutionConfig
from barwise.core.layout import Bars
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.result import SCHEMA_VERSION, BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import shift

ACTIVE = EmaRsiAtr(ema_fast=5, ema_slow=15, ema_trend=40, enable_rsi_filter=False)


@pytest.fixture(scope="module")
def candles() -> Candles:
    return sample_candles("SAMPLE-BTC", "1H", datetime(2025, 1, 1), datetime(2025, 3, 1))


@pytest.fixture(scope="module")
def result(candles: Candles) -> BacktestResult:
    return backtest(candles, ACTIVE, 0.1, execution=ExecutionConfig(max_participation=0.00002))


def test_a_result_and_its_records_cannot_be_changed(result: BacktestResult) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.trade_from = 0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.trades[0].net_pnl = 0.0  # type: ignore[misc]
    for record in result.records:
        assert not record.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        result.equity_curve[0] = 1.0


def test_what_is_derived_is_derived_once(result: BacktestResult) -> None:
    for name in ("trades", "programs", "fills", "metrics", "band", "drawdown_curve", "tier_statistics"):
        assert getattr(result, name) is getattr(result, name), name


def test_headline_numbers_are_the_metrics_of_the_same_name(result: BacktestResult) -> None:
    undefined = result.metrics["undefined"]
    for name in (
        "total_trades", "winning_trades", "losing_trades", "win_rate", "sharpe_ratio", "sortino_ratio", "max_drawdown",
        "total_return", "net_pnl", "gross_pnl", "fees", "slippage", "funding", "profit_factor", "recovery_factor",
        "expectancy", "final_equity",
    ):  # fmt: skip
        assert getattr(result, name) == (0.0 if name in undefined else result.metrics[name]), name


def test_a_ratio_that_is_undefined_is_0_as_an_attribute_and_none_with_its_reason_as_a_metric(candles: Candles) -> None:
    quiet = backtest(candles, EmaRsiAtr(allow_long=False, allow_short=False), 0.1)
    assert (quiet.sharpe_ratio, quiet.profit_factor, quiet.win_rate) == (0.0, 0.0, 0.0)
    for name in ("sharpe_ratio", "profit_factor", "win_rate"):
        assert quiet.metrics[name] is None
        assert quiet.metrics["undefined"][name] == "no trades"


def test_years_run_from_the_first_usable_bar_to_the_last_close(result: BacktestResult) -> None:
    assert result.trade_from == 39
    bars = len(result.candles) - 39
    assert result.years == pytest.approx(bars / (24.0 * 365.2425), rel=1e-12)
    assert result.years == pytest.approx(result.metrics["years"], rel=1e-12)


def test_the_equity_frame_stands_on_the_bars_whose_close_it_tells(result: BacktestResult) -> None:
    frame = result.equity_frame()
    assert frame["time"].to_list()[0] == datetime.fromtimestamp(int(result.candles.time[39]) / 1000, UTC)
    assert frame["close"].to_list() == result.candles.close[39:].tolist()
    assert frame["drawdown"].to_list() == result.drawdown_curve.tolist()
    assert result.drawdown_curve.min() >= 0.0


def test_the_fills_of_programs_and_of_trades_are_the_fills(result: BacktestResult) -> None:
    assert any(len(program.fills) > 1 for program in result.programs)
    together = [fill for program in result.programs for fill in program.fills]
    assert together == list(result.fills)
    by_program = {program.program_id: program for program in result.programs}
    for trade in result.trades:
        program = by_program[trade.program_id]
        assert trade.fills == program.fills
        assert trade.side == program.side
        assert trade.quantity == program.filled_quantity


def test_a_program_that_was_missed_has_no_shortfall_and_stands_among_the_missed(candles: Candles) -> None:
    waiting = ACTIVE.replace(
        hybrid_tier1_timeout=1, ema_touch_tolerance=-0.002, hybrid_tier2_timeout=0, max_chase_atr=0.1
    )
    found = backtest(candles, waiting, 0.1)
    missed = [program for program in found.programs if not program.fills]
    assert 0 < len(missed) < len(found.programs)
    assert all(program.shortfall_bp is None and program.filled_quantity == 0.0 for program in missed)
    assert [entry["program"] for entry in found.missed_programs["programs"]] == [each.program_id for each in missed]


def test_tiers_account_for_every_fill_and_all_its_quantity(result: BacktestResult) -> None:
    tables = result.tier_statistics
    assert [table["fills"] for table in tables] == [sum(f.tier == tier for f in result.fills) for tier in (1, 2, 3, 4)]
    assert sum(table["quantity"] for table in tables) == pytest.approx(sum(fill.quantity for fill in result.fills))
    assert sum(table["fees"] for table in tables) == pytest.approx(sum(fill.fee for fill in result.fills))
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables
    assert result.to_dict()["tiers"] == result.tier_statistics


def test_the_slippage_and_fees_of_the_trades_are_those_of_the_run(result: BacktestResult) -> None:
    for name in ("fees", "slippage", "funding", "gross_pnl", "net_pnl"):
        assert sum(trade[name] for trade in result.trades) == pytest.approx(getattr(result, name), abs=1e-6), name


# -- As text -----------------------------------------------------------------------------------------------------------


def test_what_is_printed_is_one_short_line_with_the_market_the_result_and_the_band(result: BacktestResult) -> None:
    text = repr(result)
    assert "\n" not in text
    assert len(text) < 300
    assert text.startswith("BacktestResult(SAMPLE SAMPLE-BTC 1H SYNTHETIC, EMA/RSI/ATR: ")
    assert f"{result.total_trades} trades, net {result.net_pnl:+,.2f}" in text
    assert f"Sharpe {result.sharpe_ratio:.2f}" in text
    assert f"max drawdown {result.max_drawdown:.2f} %" in text
    low, high = sorted((result.band.worst, result.band.best))
    assert f"between {low:+,.2f} and {high:+,.2f}" in text


def plain_candles(symbol: str) -> Candles:
    n = 120
    close = 100.0 + 5.0 * np.sin(np.arange(n) / 3.0)
    opens = np.concatenate(([100.0], close[:-1]))
    return Candles.of(
        {
            "time": 1_735_689_600_000 + 3_600_000 * np.arange(n),
            "open": opens,
            "high": np.maximum(opens, close) + 0.2,
            "low": np.minimum(opens, close) - 0.2,
            "close": close,
            "volume": np.full(n, 1e6),
        },
        symbol=symbol,
        timeframe="1H",
    )


class Marked(Strategy):
    """A strategy whose name is markup."""

    label: ClassVar[str] = "<b>mine</b> & 'yours'"

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close > shift(bars.close), entry_short=bars.close < shift(bars.close))


def test_in_a_notebook_names_are_text_and_never_markup() -> None:
    page = backtest(plain_candles("<script>alert(1)</script>"), Marked(), 1.0)._repr_html_()
    assert "<script" not in page.lower()
    assert "&lt;script&gt;" in page.lower()
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine&lt;/b&gt; &amp; " in page
    assert re.sub(r"</?(?:table|caption|tr|td|b)(?: style='[^'<>]*')?>", "", page).count("<") == 0


def test_in_a_notebook_synthetic_prices_are_called_so(result: BacktestResult) -> None:
    assert "SYNTHETIC" in result._repr_html_()
    assert "SYNTHETIC" not in backtest(plain_candles("REAL"), Marked(), 1.0)._repr_html_()
    assert f"{result.net_pnl:+,.2f}" in result._repr_html_()


def test_a_result_without_exchange_and_symbol_prints_without_holes() -> None:
    text = repr(backtest(plain_candles(""), Marked(), 1.0))
    assert text.startswith("BacktestResult(1H, <b>mine</b> & 'yours': ")


# -- As data -----------------------------------------------------------------------------------------------------------


def test_the_dict_says_what_was_run_on_what(candles: Candles, result: BacktestResult) -> None:
    found = result.to_dict()
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["synthetic"] is True
    assert (found["bars"], found["trade_from"]) == (len(candles), 39)
    assert (found["first_bar"], found["last_bar"]) == ("2025-01-01T00:00:00+00:00", "2025-02-28T23:00:00+00:00")
    assert found["fingerprint"] == candles.fingerprint
    assert found["strategy"] == {"name": "EmaRsiAtr", "parameters": ACTIVE.to_dict()}
    assert found["execution"]["max_participation"] == 0.00002
    assert found["fees_schedule"] == result.fees_schedule.to_dict()
    assert found["equity"]["equity"] == result.equity_curve.tolist()
    assert found["equity"]["time"] == candles.time[39:].tolist()
    assert EmaRsiAtr(**found["strategy"]["parameters"]) == ACTIVE
    assert FeeSchedule.from_dict(found["fees_schedule"]) == result.fees_schedule


def test_the_dict_holds_plain_types_alone(result: BacktestResult) -> None:
    def odd(value: Any, where: str) -> list[str]:
        if isinstance(value, dict):
            return [x for key, item in value.items() for x in odd(item, f"{where}.{key}")]
        if isinstance(value, list | tuple):
            return [x for at, item in enumerate(value) for x in odd(item, f"{where}[{at}]")]
        return [] if value is None or type(value) in (bool, int, float, str) else [f"{where}: {type(value)}"]

    assert odd(result.to_dict(), "result") == []


def test_a_run_with_a_flat_fee_per_order_is_json_too(candles: Candles) -> None:
    """Where the flat amount is always due its rate is infinite (docs/costs.md)."""
    flat = FeeSchedule("flat", 0.0, 0.0, 0.0, 0.0, 20.0, float("inf"), 20.0, float("inf"))
    run = backtest(candles, ACTIVE, 0.1, execution=ExecutionConfig(fees=flat))
    assert run.fees == pytest.approx(20.0 * (len(run.fills) + run.total_trades))
    assert json.loads(run.to_json())["fees_schedule"]["buy_order_rate"] == "inf"
