"""The engine against the slow reference simulator, which was written from the law alone and shares no code with it.

Every program, fill, trade and equity value of random markets and of real files must agree. `BARWISE_CASES` sets how
many random cases are run (300 by default): BARWISE_CASES=5000 python3 run.py test tests/test_differential.py
"""

import math
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from barwise.config import ExecutionConfig
from barwise.core.layout import Exit, Outcome
from barwise.costs import FeeSchedule
from barwise.data.candles import Candles
from barwise.data.files import read_funding
from barwise.engine import backtest
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.timeframe import Timeframe
from tests.reference.indicators import DEFAULT_RULES, default_trade_from, ema_rsi_atr_plan
from tests.reference.markets import random_case
from tests.reference.simulator import DEFAULT_EXECUTION, ReferenceRun, flat_rates, simulate

CASES = int(os.environ.get("BARWISE_CASES", "300"))
BATCH = 25
RELATIVE = 1e-9


class Planned(Strategy):
    """Hands over a plan that was made elsewhere."""

    columns: ClassVar[dict[str, Any]] = {}

    def plan(self, bars: Any) -> Plan:
        columns = type(self).columns
        return Plan.of(
            entry=np.array(columns["entry"], np.int8),
            exit=np.array(columns["exit"], np.int8),
            anchor=np.array(columns["anchor"], np.float64),
            vwap=np.array(columns["vwap"], np.float64),
            risk=np.array(columns["risk"], np.float64),
        )


def candles_of(bars: dict[str, Any]) -> Candles:
    columns = {name: bars[name] for name in ("time", "open", "high", "low", "close", "volume")}
    if "quote_volume" in bars:
        columns["quote_volume"] = bars["quote_volume"]
    timeframe = Timeframe.of_length(bars["timeframe_ms"])
    return Candles.of(columns, symbol="RANDOM", timeframe=timeframe, audit="off")


def run_engine(case: dict[str, Any]) -> BacktestResult:
    execution = dict(case["execution"])
    rates = dict(execution.pop("fees"))
    for side in ("buy", "sell"):
        if rates[f"{side}_order_flat"] == 0.0:  # min(0, rate * notional) is written as no per-order part at all
            rates[f"{side}_order_rate"] = 0.0
    fees = FeeSchedule("RANDOM", **rates, source="drawn at random", as_of="2026-01-01")
    kind = type("Planned", (Planned,), {"columns": case["plan"], "__module__": __name__})
    rules = {name: value for name, value in case["rules"].items() if name in Strategy.model_fields}
    return backtest(
        candles_of(case["signal_bars"]),
        kind(**rules),
        case["quantity"],
        execution=ExecutionConfig(**execution, fees=fees),
        detail=None if case["detail"] is None else candles_of(case["detail"]),
        funding=case["funding"],
        trade_from=case["trade_from"],
        check_lookahead=False,
    )


def same(ours: float, theirs: float, scale: float = 1.0) -> bool:
    ours, theirs = float(ours), float(theirs)
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    return abs(ours - theirs) <= RELATIVE * max(abs(ours), abs(theirs), scale)


def assert_equal_records(kind: str, ours: Any, theirs: list[Any], names: dict[str, float], context: str) -> None:
    """Every field of every record; `names` gives the scale below which differences of a field are rounding."""
    for row, (record, expected) in enumerate(zip(ours, theirs, strict=False)):
        for name, scale in names.items():
            value, wanted = record[name], getattr(expected, name)
            if name == "outcome":
                value = Outcome(int(value)).name.lower()
            elif name == "exit_reason":
                value = Exit(int(value)).name.lower()
            equal = value == wanted if isinstance(wanted, str) else same(value, wanted, scale)
            assert equal, (
                f"{context}: {kind} {row}: {name} is {value}, the reference says {wanted}\n{record}\n{expected}"
            )
    assert len(ours) == len(theirs), f"{context}: {len(ours)} {kind}s, the reference has {len(theirs)}"


def assert_same_run(result: BacktestResult, reference: ReferenceRun, capital: float, context: str) -> None:
    money, price = capital, 0.0
    assert_equal_records(
        "program", result.records.programs, reference.programs,
        {"signal_bar": 0, "start_bar": 0, "arrival_price": price, "atr": price, "quantity": 0, "side": 0,
         "end_bar": 0, "outcome": 0, "filled": 0, "entry_price": price},
        context,
    )  # fmt: skip
    assert_equal_records(
        "fill", result.records.fills, reference.fills,
        {"bar": 0, "program": 0, "tier": 0, "side": 0, "maker": 0, "price": price, "reference": price, "quantity": 0,
         "fee": 0},
        context,
    )  # fmt: skip
    assert_equal_records(
        "trade", result.records.trades, reference.trades,
        {"program": 0, "side": 0, "entry_bar": 0, "exit_bar": 0, "exit_reason": 0, "exit_maker": 0, "ambiguous": 0,
         "entry_signal_bar": 0, "exit_signal_bar": 0, "quantity": 0, "entry_price": price, "exit_price": price,
         "exit_reference": price, "initial_risk": price, "stop_price": price, "target_price": price,
         "best_price": price, "worst_price": price, "fees": 0, "slippage": money, "funding": money,
         "gross_pnl": money, "net_pnl": money},
        context,
    )  # fmt: skip
    assert result.ruined == reference.ruined, context
    assert same(result.final_equity, reference.final_equity, capital), context
    np.testing.assert_allclose(
        result.equity_curve, reference.equity, rtol=RELATIVE, atol=RELATIVE * capital, err_msg=context
    )


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_engine_equals_the_reference_on_random_markets(first: int) -> None:
    for seed in range(first, min(first + BATCH, CASES)):
        case = random_case(seed)
        if case["rules"]["max_chase_atr"] in (None, math.inf):  # a run no market makes
            case["rules"]["max_chase_atr"] = 1e12
        result = run_engine(case)
        # A venue stamps a settlement some milliseconds late; to the minute it is on the hour.
        case["funding"] = [(time // 60_000 * 60_000, rate) for time, rate in case["funding"]]
        assert_same_run(result, simulate(**case), result.initial_capital, f"seed {seed}")


def columns_of(candles: Candles) -> dict[str, Any]:
    columns = {name: getattr(candles, name).tolist() for name in ("time", "open", "high", "low", "close", "volume")}
    return columns | {"timeframe_ms": candles.timeframe.ms}


ACTIVE = {
    "enable_rsi_filter": False,
    "enable_trend_filter": False,
    "trailing_sl_threshold": 0.004,
    "trailing_tp_threshold": 0.01,
    "atr_tp_multiplier": 4.0,
}
REAL_RUNS = [
    # file, exchange, quantity, rules, execution, file of detail candles, file of funding
    ("binance_spot_BTCUSDT_1h_20200920_20250331", "BINANCE", 0.1, {}, {}, None, None),
    ("binance_spot_BTCUSDT_1h_20200920_20250331", "BINANCE", 0.3, ACTIVE, {"tick_size": 0.01, "lot_size": 1e-5},
     None, None),
    ("binance_spot_ETHUSDT_1h_20200920_20250331", "BINANCE", 9.0, ACTIVE, {"intrabar": "path"}, None, None),
    ("binance_spot_SOLUSDT_1h_20200920_20250331", "BINANCE", 90.0, ACTIVE,
     {"intrabar": "best", "limit_fill": "touch", "max_participation": 1e-4}, None, None),
    ("binance_spot_BTCUSDT_1h_20200920_20250331", "BINANCE", 0.1, ACTIVE, {},
     "binance_spot_BTCUSDT_5m_20250101_20250331", None),
    ("binance_um_BTCUSDT_4h_20220101_20250331", "BINANCE_UM", 0.5, ACTIVE, {"leverage": 3.0}, None,
     "binance_um_BTCUSDT_funding_20220101_20250331"),
    ("nse_RELIANCE_1d_20191001_20260821", "ZERODHA", 20.0, ACTIVE, {"tick_size": 0.05, "lot_size": 1.0}, None, None),
    ("kite_bse_RELIANCE_5m_20250825_20251015", "ZERODHA", 20.0, ACTIVE, {"tick_size": 0.1, "lot_size": 1.0}, None,
     None),
    ("dhan_NIFTY_5m_20260713_20260717", "DHAN", 1.0, ACTIVE, {}, None, None),
]  # fmt: skip


@pytest.mark.parametrize("run", REAL_RUNS, ids=lambda run: f"{run[0]}-{'detail' if run[5] else run[2]}")
def test_engine_equals_the_reference_on_real_files(run: Any, market_data: Path) -> None:
    file, exchange, quantity, rules, execution, detail_file, funding_file = run
    name = file.split("_")
    frame = pl.read_parquet(market_data / f"{file}.parquet")
    detail = None
    if detail_file is not None:
        fine = pl.read_parquet(market_data / f"{detail_file}.parquet")
        frame = frame.filter(pl.col("time") >= fine["time"].min())
        detail = Candles.of(fine, exchange=exchange, timeframe="5M")
    candles = Candles.of(frame, exchange=exchange, symbol=name[2], timeframe=name[-3], audit="report")
    funding = None if funding_file is None else read_funding(market_data / f"{funding_file}.parquet")
    full = {**DEFAULT_RULES, **rules}
    settings: dict[str, Any] = {"maker_fee": 0.0002, "taker_fee": 0.0005, **execution}
    ours = backtest(
        candles, EmaRsiAtr(**rules), quantity, execution=ExecutionConfig(**settings), detail=detail, funding=funding
    )
    reference = simulate(
        signal_bars=columns_of(candles),
        plan=ema_rsi_atr_plan(columns_of(candles), full, candles.calendar.utc_offset_ms),
        rules=full,
        execution=dict(DEFAULT_EXECUTION)
        | {name: value for name, value in settings.items() if not name.endswith("_fee")}
        | {"fees": flat_rates(settings["maker_fee"], settings["taker_fee"])},
        quantity=quantity,
        detail=None if detail is None else columns_of(detail),
        funding=funding or (),
        trade_from=default_trade_from(full),
    )
    assert len(reference.trades) > 0
    assert_same_run(ours, reference, ours.initial_capital, file)
