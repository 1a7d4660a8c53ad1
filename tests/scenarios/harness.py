"""How a scenario is written, run and compared: one table of candles, the rules, and what must come out of it.

A table has a header of column names (open high low close, and where wanted volume quote anchor vwap) and one line per
bar, counted from 0. What follows `<-` is a list of notes separated by commas. Four of them mean something, all others
are prose for the reader:

    long signal | short signal       the strategy's entry signal at the close of this bar
    leave long | short | either      the strategy's own exit signal at the close of this bar
    ATR 3.5                          the risk unit from this bar on (2.0 until somebody says otherwise)

A line that is a single dash is a bar the data does not have. Without a volume column the data have no volume at all, so
that nothing is capped. Without an anchor or vwap column the engine's own lines are used.

Everything is off unless a scenario switches it on: no slippage, no fees, no trailing, one unit ordered, and 100,000 of
capital.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig
from barwise.core.layout import Bars
from barwise.data.candles import Candles
from barwise.engine import backtest
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy

_START_MS = 1_735_689_600_000  # 2025-01-01 00:00 UTC, the first bar of a session
_MINUTE_MS = 60_000
_MINUTES = {"1H": 60, "30M": 30, "15M": 15}
_PRICES = ("open", "high", "low", "close")
_SIDE = {"long": 1, "short": -1}
_LEAVE = {"long": 1, "short": -1, "either": 2}
# A mirrored market: every price p becomes 200 - p, every long a short.
_MIRROR_SUM = 200.0

READINGS = ("worst", "path", "best")
# (bar, price, "tier 2", "maker" | "taker"[, quantity[, fee]])
FillRow = tuple[Any, ...]


@dataclass(frozen=True)
class Program:
    """An entry program as it must be recorded. `end` is the bar it ended in, `signal` the signal bar it came from."""

    side: str
    outcome: str
    end: int
    fills: Sequence[FillRow] = ()
    quantity: float | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Trade:
    """A trade as it must be recorded.

    Args:
        entry: (bar, price, tier, liquidity[, quantity[, fee]]) of its only fill, or (bar, mean price) where the
            scenario lists its programs with all their fills.
        exit: (bar, price, reason).
        gross, net: None = what the prices, fees and funding above say.
        slippage: None = not looked at.
    """

    side: str
    entry: FillRow
    exit: tuple[int, float, str]
    quantity: float | None = None
    gross: float | None = None
    fees: float = 0.0
    funding: float = 0.0
    net: float | None = None
    slippage: float | None = None
    ambiguous: bool = False


@dataclass(frozen=True)
class Scenario:
    """A table of candles, the rules, and what must come out.

    Args:
        name: A sentence that can be false.
        bars: The table of signal bars; of execution bars too where there is no `detail`.
        params: Trade rules, from `tiers` and its short forms.
        trades: Every trade. With `readings`, the trades under each reading of an unclear bar instead.
        programs: Every entry program; None = one per trade, filled by that trade's only fill.
        detail: Table of 30-minute bars under the hourly ones; all bar numbers of trades and programs then count these.
        funding: (bar, rate): settled at that bar's open; 1.5 is the middle of bar 1.
        equity: Equity at the signal bars' closes, where the scenario is about it.
        ruined: The run ended because equity was gone.
        price_level_matters: True where a rule depends on the price itself (margin), so that there is no mirror image.
    """

    name: str
    bars: str
    params: Mapping[str, Any]
    trades: Sequence[Trade] = ()
    programs: Sequence[Program] | None = None
    readings: Mapping[str, Sequence[Trade]] = field(default_factory=dict)
    quantity: float = 1.0
    execution: Mapping[str, Any] = field(default_factory=dict)
    detail: str | None = None
    funding: Sequence[tuple[float, float]] | None = None
    equity: Sequence[float] | None = None
    ruined: bool = False
    price_level_matters: bool = False

    @property
    def has_a_mirror_image(self) -> bool:
        """Whether p -> 200 - p leaves every rule in force as it is: none of them multiplies a price."""
        rules, costs = self.params, self.execution
        multiplied = (
            costs.get("slippage", 0.0),
            costs.get("maker_fee", 0.0),
            costs.get("taker_fee", 0.0),
            rules["ema_touch_tolerance"],
            rules["trailing_sl_threshold"] if rules["trailing_sl_enabled"] else 0.0,
            rules["trailing_tp_threshold"] if rules["trailing_tp_enabled"] else 0.0,
        )
        return not (any(multiplied) or "fees" in costs or self.funding or self.price_level_matters)


def tiers(
    t1: int = 0,
    t2: int = 0,
    t3: int = 0,
    t4: int = 0,
    *,
    stop: float = 1.5,
    target: float = 2.0,
    tolerance: float = 0.0,
    offset: float = 0.25,
    band: float = 1.0,
    chase: float = 1.5,
    trail_stop: float | None = None,
    trail_target: float | None = None,
    **rules: Any,
) -> dict[str, Any]:
    """Trade rules: the bars each tier works, multiples of the ATR, and thresholds from which stop and target trail."""
    return {
        "hybrid_tier1_timeout": t1,
        "hybrid_tier2_timeout": t2,
        "hybrid_tier3_timeout": t3,
        "hybrid_tier4_timeout": t4,
        "atr_sl_multiplier": stop,
        "atr_tp_multiplier": target,
        "ema_touch_tolerance": tolerance,
        "tier2_limit_offset_atr": offset,
        "tier3_vwap_band_atr": band,
        "max_chase_atr": chase,
        "trailing_sl_enabled": trail_stop is not None,
        "trailing_sl_threshold": trail_stop or 0.0,
        "trailing_tp_enabled": trail_target is not None,
        "trailing_tp_threshold": trail_target or 0.0,
        **rules,
    }


def tier1_only(bars: int = 1, **rules: Any) -> dict[str, Any]:
    """A limit at the anchor, nothing else."""
    return tiers(t1=bars, **rules)


def tier2_only(bars: int = 1, **rules: Any) -> dict[str, Any]:
    """A limit a quarter of the ATR behind the close, nothing else."""
    return tiers(t2=bars, **rules)


def tier3_only(bars: int = 1, **rules: Any) -> dict[str, Any]:
    """Slices at the bar's own VWAP, nothing else."""
    return tiers(t3=bars, **rules)


def market_order(bars: int = 1, **rules: Any) -> dict[str, Any]:
    """Tier 4 at the open, nothing else."""
    return tiers(t4=bars, **rules)


def clear(trades: Sequence[Trade]) -> dict[str, Sequence[Trade]]:
    """The same trades under every reading: nothing in these bars is open to one."""
    return dict.fromkeys(READINGS, trades)


def each(scenarios: Sequence[Scenario]) -> Callable[..., Any]:
    """Run a test once per scenario, under the scenario's own name."""
    return pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name) for one in scenarios])


@dataclass(frozen=True)
class _Table:
    """A parsed table; `row` is the line number of each bar that is there."""

    row: np.ndarray[Any, Any]
    columns: dict[str, np.ndarray[Any, Any]]
    entry: np.ndarray[Any, Any]
    leave: np.ndarray[Any, Any]
    risk: np.ndarray[Any, Any]

    def candles(self, timeframe: str) -> Candles:
        data = {name: self.columns[name] for name in (*_PRICES, "volume") if name in self.columns}
        if "quote" in self.columns:
            data["quote_volume"] = self.columns["quote"]
        time = _START_MS + self.row * _MINUTES[timeframe] * _MINUTE_MS
        return Candles.of({"time": time, **data}, symbol="T", timeframe=timeframe)

    def mirrored(self) -> "_Table":
        flipped = {name: _flip(column) for name, column in self.columns.items() if name not in ("volume", "quote")}
        flipped["high"], flipped["low"] = flipped["low"], flipped["high"]
        if "volume" in self.columns:
            flipped["volume"] = self.columns["volume"]
        if "quote" in self.columns:
            flipped["quote"] = np.round(_MIRROR_SUM * self.columns["volume"] - self.columns["quote"], 9)
        leave = np.where(np.abs(self.leave) == 1, -self.leave, self.leave)
        return _Table(self.row, flipped, -self.entry, leave, self.risk)


def _flip(price: Any) -> Any:
    """The mirrored price, as the decimal number it would be written as."""
    return np.round(_MIRROR_SUM - price, 9)


def _parse(text: str) -> _Table:
    lines = [line.strip() for line in text.strip().splitlines()]
    header = lines[0].split()
    rows, values, entry, leave, risk = [], [], [], [], []
    unit = 2.0
    for number, line in enumerate(lines[1:]):
        numbers, _, prose = line.partition("<-")
        if numbers.split() == ["-"]:
            continue
        rows.append(number)
        values.append([float(word) for word in numbers.split()])
        assert len(values[-1]) == len(header), f"line {number} has {len(values[-1])} numbers for {len(header)} columns"
        side = leaves = 0
        for note in (part.strip() for part in prose.split(",")):
            if signal := re.fullmatch(r"(long|short) signal", note):
                side = _SIDE[signal[1]]
            elif wish := re.fullmatch(r"leave (long|short|either)", note):
                leaves = _LEAVE[wish[1]]
            elif new_unit := re.fullmatch(r"ATR ([\d.]+|nan)", note):
                unit = float(new_unit[1])
        entry.append(side)
        leave.append(leaves)
        risk.append(unit)
    columns = dict(zip(header, np.array(values).T, strict=True))
    return _Table(np.array(rows), columns, np.array(entry), np.array(leave), np.array(risk))


def run(scenario: Scenario, *, mirror: bool = False, **execution: Any) -> BacktestResult:
    """Run a scenario through the public engine; `execution` overrides its own execution settings."""
    table = _parse(scenario.bars)
    detail = _parse(scenario.detail) if scenario.detail is not None else None
    if mirror:
        table = table.mirrored()
        detail = detail.mirrored() if detail is not None else None
    rules = dict(scenario.params)
    if mirror:
        rules |= {"allow_long": rules.get("allow_short", True), "allow_short": rules.get("allow_long", True)}
    plan = Plan.of(
        table.entry,
        exit=table.leave,
        anchor=table.columns.get("anchor"),
        vwap=table.columns.get("vwap"),
        risk=table.risk,
    )

    class AsGiven(Strategy):
        def plan(self, bars: Bars) -> Plan:
            return plan

    settings = {"slippage": 0.0, **scenario.execution, **execution}
    if "fees" not in settings:
        settings = {"maker_fee": 0.0, "taker_fee": 0.0, **settings}
    bar_ms = _MINUTES[_execution_timeframe(scenario)] * _MINUTE_MS
    return backtest(
        table.candles("1H"),
        AsGiven(**rules),
        scenario.quantity,
        execution=ExecutionConfig(**settings),
        detail=detail.candles("30M") if detail is not None else None,
        funding=[(int(_START_MS + bar * bar_ms), rate) for bar, rate in scenario.funding] if scenario.funding else None,
        trade_from=0,
        check_lookahead=False,
    )


def check(scenario: Scenario, *, mirror: bool = False) -> None:
    """Run a scenario and compare everything it says, and what the law says of every run."""
    if not scenario.readings:
        _compare(scenario, run(scenario, mirror=mirror), scenario.trades, mirror)
        return
    assert set(scenario.readings) == set(READINGS)
    for reading, trades in scenario.readings.items():
        result = run(scenario, mirror=mirror, intrabar=reading)
        _compare(scenario, result, trades, mirror)
        for name, its_trades in scenario.readings.items():
            band_net = sum(_trade_row(scenario, trade, mirror)["net"] for trade in its_trades)
            assert result.band[name] == _close_to(band_net), f"band.{name} of a run under {reading}"


def _compare(scenario: Scenario, result: BacktestResult, trades: Sequence[Trade], mirror: bool) -> None:
    programs = scenario.programs
    if programs is None:
        programs = [
            Program(trade.side, "filled", trade.entry[0], [trade.entry], quantity=trade.quantity) for trade in trades
        ]
    timeframe = _execution_timeframe(scenario)
    seen_programs = [_seen_program(program, timeframe) for program in result.programs]
    seen_trades = [
        _seen_trade(trade, maker, timeframe)
        for trade, maker in zip(result.trades, result.records.trades["exit_maker"], strict=True)
    ]
    expected_programs = [_program_row(scenario, program, mirror) for program in programs]
    expected_trades = [_trade_row(scenario, trade, mirror) for trade in trades]
    _same_rows("program", seen_programs, expected_programs)
    _same_rows("trade", seen_trades, expected_trades)
    _standing_law(scenario, result, mirror)
    assert result.ruined == scenario.ruined
    if scenario.equity is not None:
        assert list(result.equity_curve) == _close_to(list(scenario.equity))


def _standing_law(scenario: Scenario, result: BacktestResult, mirror: bool) -> None:
    """What section 8 says of every run, and what a program freezes at its signal (section 4)."""
    net = sum(trade.net_pnl for trade in result.trades)
    assert result.final_equity == pytest.approx(result.initial_capital + net, rel=1e-9)
    assert result.equity_curve[-1] == pytest.approx(result.final_equity, rel=1e-9)
    assert result.band.ambiguous_trades == sum(trade.ambiguous for trade in result.trades)
    table = _parse(scenario.bars)
    if mirror:
        table = table.mirrored()
    for program in result.programs:
        signal = list(table.row).index(_row_of(program.signal_time, "1H") - 1)
        side, arrival = _SIDE[program.side], table.columns["close"][signal]
        assert table.entry[signal] == side, "a program belongs to a signal of its side"
        assert (program.arrival_price, program.atr) == (arrival, table.risk[signal])
        filled = sum(fill.quantity for fill in program.fills)
        assert program.filled_quantity == _close_to(filled)
        if not program.fills:
            assert program.shortfall_bp is None
            continue
        mean = sum(fill.price * fill.quantity for fill in program.fills) / filled
        assert program.shortfall_bp == pytest.approx(side * (mean - arrival) / arrival * 1e4, abs=1e-6)
    timeframe = _execution_timeframe(scenario)
    for trade in result.trades:
        first, last = (
            _row_of(time, timeframe) * _MINUTES[timeframe] // 60 for time in (trade.entry_time, trade.exit_time)
        )
        assert trade.bars_held == sum((table.row > first) & (table.row <= last)), "bars held are signal bars"
        assert trade.net_pnl == _close_to(trade.gross_pnl - trade.fees - trade.funding)


def _same_rows(kind: str, seen: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    if len(seen) != len(expected):
        listed = "\n  ".join(str(row) for row in seen) or "none"
        pytest.fail(f"{len(expected)} {kind}s worked out by hand, {len(seen)} found:\n  {listed}")
    for number, (found, row) in enumerate(zip(seen, expected, strict=True)):
        # A column the scenario does not speak of holds None.
        spoken_of = {name: found[name] for name, value in row.items() if value is not None}
        assert spoken_of == {name: _close_to(row[name]) for name in spoken_of}, f"{kind} {number}"


def _program_row(scenario: Scenario, program: Program, mirror: bool) -> dict[str, Any]:
    ordered = scenario.quantity if program.quantity is None else program.quantity
    row: dict[str, Any] = {
        "side": _side(program.side, mirror),
        "outcome": program.outcome,
        "end": program.end,
        "signal": program.signal,
        "quantity": ordered,
        "number of fills": len(program.fills),
    }
    for number, (bar, price, tier, liquidity, *rest) in enumerate(program.fills):
        row |= {
            f"fill {number} bar": bar,
            f"fill {number} price": _flip(price) if mirror else price,
            f"fill {number} tier": tier,
            f"fill {number} liquidity": liquidity,
            f"fill {number} quantity": rest[0] if rest else ordered,
            f"fill {number} fee": rest[1] if len(rest) > 1 else 0.0,
        }
    return row


def _seen_program(program: Any, timeframe: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "side": program.side,
        "outcome": program.outcome,
        "end": _row_of(program.end_time, timeframe),
        "signal": _row_of(program.signal_time, "1H") - 1,  # the time is that of its bar's close
        "quantity": program.quantity,
        "number of fills": len(program.fills),
    }
    for number, fill in enumerate(program.fills):
        row |= {
            f"fill {number} bar": _row_of(fill.time, timeframe),
            f"fill {number} price": fill.price,
            f"fill {number} tier": f"tier {fill.tier}",
            f"fill {number} liquidity": fill.liquidity,
            f"fill {number} quantity": fill.quantity,
            f"fill {number} fee": fill.fee,
        }
    return row


def _trade_row(scenario: Scenario, trade: Trade, mirror: bool) -> dict[str, Any]:
    quantity = scenario.quantity if trade.quantity is None else trade.quantity
    entry_bar, entry_price, *_ = trade.entry
    exit_bar, exit_price, reason = trade.exit
    gross = _SIDE[trade.side] * quantity * (exit_price - entry_price) if trade.gross is None else trade.gross
    return {
        "side": _side(trade.side, mirror),
        "entry bar": entry_bar,
        "entry price": _flip(entry_price) if mirror else entry_price,
        "exit bar": exit_bar,
        "exit price": _flip(exit_price) if mirror else exit_price,
        "exit reason": reason,
        "exit liquidity": "maker" if reason == "take_profit" else "taker",  # section 6: every other exit takes
        "quantity": quantity,
        "gross": gross,
        "fees": trade.fees,
        "funding": trade.funding,
        "net": gross - trade.fees - trade.funding if trade.net is None else trade.net,
        "slippage": trade.slippage,
        "ambiguous": trade.ambiguous,
    }


def _seen_trade(trade: Any, maker: Any, timeframe: str) -> dict[str, Any]:
    return {
        "side": trade.side,
        "entry bar": _row_of(trade.entry_time, timeframe),
        "entry price": trade.entry_price,
        "exit bar": _row_of(trade.exit_time, timeframe),
        "exit price": trade.exit_price,
        "exit reason": trade.exit_reason,
        "exit liquidity": "maker" if maker else "taker",
        "quantity": trade.quantity,
        "gross": trade.gross_pnl,
        "fees": trade.fees,
        "funding": trade.funding,
        "net": trade.net_pnl,
        "slippage": trade.slippage,
        "ambiguous": trade.ambiguous,
    }


def _side(side: str, mirror: bool) -> str:
    return {"long": "short", "short": "long"}[side] if mirror else side


def _execution_timeframe(scenario: Scenario) -> str:
    return "1H" if scenario.detail is None else "30M"


def _row_of(time: datetime, timeframe: str) -> int:
    """Line of the table a bar stands in."""
    step = _MINUTES[timeframe] * _MINUTE_MS
    row, remainder = divmod(round(time.timestamp() * 1000) - _START_MS, step)
    assert remainder == 0
    return row


def _close_to(expected: Any) -> Any:
    """Numbers to ten digits, anything else as it is."""
    if isinstance(expected, (str, bool)):
        return expected
    return pytest.approx(expected, rel=1e-10, abs=1e-9)
