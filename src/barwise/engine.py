"""One backtest: a strategy over candles, to programs, fills, trades and everything derived from them.

    result = backtest(candles, EmaRsiAtr(ema_fast=10), qty=0.1)

`BacktestEngine` is the same with the flat API's arguments. Many rows of parameters at once: `barwise.sweeping`.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig
from barwise.core._jit import compiled_cache_is_cold
from barwise.core.kernel import simulate
from barwise.core.layout import (
    FILL,
    NO_EVENT,
    NO_RECORDS,
    PROGRAM,
    SUMMARY,
    TRADE,
    Intrabar,
    Orders,
    Records,
    event_codes,
    fresh_states,
)
from barwise.data.candles import Candles
from barwise.errors import ConfigError, DataError
from barwise.prepare import Prepared, as_candles, parameter_records, prepare, resolved_fees
from barwise.result import BacktestResult
from barwise.strategy.base import Plan, Strategy, checked_plan, first_defined
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.indicators import atr, ema
from barwise.strategy.lookahead import quick_check
from barwise.timeframe import Timeframe

logger = logging.getLogger(__name__)

_DEFAULT_ANCHOR_PERIOD = 20
_DEFAULT_RISK_PERIOD = 14
# Fills per program that fit without a second run of the kernel; more only cost that second run.
_FILLS_PER_PROGRAM = 4


def backtest(
    candles: Any,
    strategy: Strategy | None = None,
    qty: float = 1.0,
    *,
    execution: ExecutionConfig | None = None,
    detail: Any = None,
    funding: Iterable[tuple[int, float]] | None = None,
    trade_from: int | None = None,
    exchange: str = "",
    symbol: str = "",
    timeframe: "str | Timeframe | None" = None,
    check_lookahead: bool = True,
) -> BacktestResult:
    """Run a strategy over candles, to the last fill.

    Args:
        candles: `Candles`, a list of dicts (time in ms UTC, open, high, low, close, volume), a pandas or polars frame.
        strategy: What to run; the EMA/RSI/ATR strategy with its defaults where none is given.
        qty: Quantity of every entry program in base units, floored to the lot.
        execution: Costs and capital; by default the venue's public fees, 5 bp slippage, 100,000 capital, no leverage.
        detail: Finer candles of the same market; fills then happen in them instead of being assumed from the bar.
        funding: (time in ms UTC, rate as a fraction) of each funding settlement of a perpetual.
        trade_from: Index of the first signal bar whose signal may be used; by default the first bar where every
            indicator of the strategy is defined.
        exchange, symbol, timeframe: Identity of the candles, where they do not carry it.
        check_lookahead: Recompute the plan on a few prefixes of the data and refuse a strategy whose past changes.

    Raises:
        DataError: The candles are broken or too few.
        ConfigError: A parameter is wrong.
        BacktestError: The strategy's plan is malformed, or looks ahead.
    """
    return BacktestEngine(
        candles, strategy, qty, exchange, symbol, timeframe, execution=execution, detail=detail, funding=funding,
        trade_from=trade_from, check_lookahead=check_lookahead,
    ).run()  # fmt: skip


class BacktestEngine:
    """A backtest set up once and run as often as wanted; the arguments are those of `backtest`."""

    def __init__(
        self,
        candles: Any,
        strategy_config: Strategy | None = None,
        order_qty: float = 1.0,
        exchange: str = "",
        symbol: str = "",
        timeframe: "str | Timeframe | None" = None,
        *,
        execution: ExecutionConfig | None = None,
        detail: Any = None,
        funding: Iterable[tuple[int, float]] | None = None,
        trade_from: int | None = None,
        check_lookahead: bool = True,
    ) -> None:
        self.strategy = checked_strategy(strategy_config)
        self.execution = checked_execution(execution)
        self.candles = as_candles(candles, exchange, symbol, timeframe)
        self.prepared = prepare(self.candles, detail, funding)
        self.fees = resolved_fees(self.execution, self.candles.exchange)
        self.quantity = order_qty
        self._trade_from = trade_from
        self._check_lookahead = check_lookahead
        self._params = parameter_records(
            3,
            self.strategy,
            {},
            self.execution,
            self.fees,
            order_qty,
            self.prepared.ratio,
            self.prepared.steps,
        )
        # One record per reading of unclear bars, for the band; the configured one is kept with all its records.
        self._reading = int(self._params["intrabar"][0])
        self._params["intrabar"] = (Intrabar.WORST, Intrabar.PATH, Intrabar.BEST)

    def run(self) -> BacktestResult:
        """Run it; the same inputs give the same result to the bit."""
        announce_compilation()
        plan = complete_plan(self.strategy, self.prepared)
        if self._check_lookahead:
            quick_check(self.strategy, self.candles)
        start = first_usable_bar(plan, self.strategy, self.candles, self._trade_from)
        stop = len(self.candles)
        orders = kernel_orders(plan)
        records, summary = self._run_with_records(orders, start, stop)
        band = np.zeros(3, SUMMARY)
        for reading in range(3):
            if reading == self._reading:
                band[reading] = summary[0]
            else:
                simulate(
                    self.prepared.market,
                    orders,
                    self._params[reading],
                    start,
                    stop,
                    NO_RECORDS,
                    band[reading],
                    fresh_states(1)[0],
                    True,
                )
        return BacktestResult(
            prepared=self.prepared,
            strategy=self.strategy,
            execution=self.execution,
            fees_schedule=self.fees,
            plan=plan,
            trade_from=start,
            params=self._params[self._reading],
            summary=summary,
            band_summaries=band,
            records=records,
        )

    def _run_with_records(self, orders: Orders, start: int, stop: int) -> tuple[Records, Any]:
        summary = np.zeros(1, SUMMARY)
        room = orders.event_bar.size + 1
        fills = _FILLS_PER_PROGRAM * room
        while True:
            records = Records(
                np.zeros(room, PROGRAM),
                np.zeros(fills, FILL),
                np.zeros(room, TRADE),
                np.empty(stop - start),
                np.empty(stop - start),
            )
            simulate(
                self.prepared.market,
                orders,
                self._params[self._reading],
                start,
                stop,
                records,
                summary[0],
                fresh_states(1)[0],
                True,
            )
            if summary["fills"][0] <= fills:
                break
            fills = int(summary["fills"][0])
        counts = (int(summary[name][0]) for name in ("programs", "fills", "trades"))
        programs, filled, trades = (_read_only(array[:count]) for array, count in zip(records[:3], counts, strict=True))
        return Records(programs, filled, trades, _read_only(records.equity), _read_only(records.low_mark)), summary


def _read_only(array: Any) -> Any:
    array.setflags(write=False)
    return array


def announce_compilation() -> None:
    """Say so when the next call will compile for some seconds, to people whose program has not set up logging too."""
    if not compiled_cache_is_cold(simulate):
        return
    line = "compiling the engine for this machine; this happens once and takes some seconds"
    if logger.hasHandlers():
        logger.info(line)
    else:
        sys.stderr.write(f"barwise: {line}\n")


def checked_strategy(strategy: Any) -> Strategy:
    """The strategy, or the built-in one for None.

    Raises:
        ConfigError: It is something else.
    """
    if strategy is None:
        return EmaRsiAtr()
    if isinstance(strategy, type) and issubclass(strategy, Strategy):
        raise ConfigError(
            f"{strategy.__name__} is the class; a strategy object is needed.",
            hint=f"pass {strategy.__name__}().",
        )
    if not isinstance(strategy, Strategy):
        raise ConfigError(
            f"strategy must be a Strategy such as StrategyConfig(); got {type(strategy).__name__}.",
            hint="a class of your own derives from barwise.Strategy.",
        )
    return strategy


def checked_execution(execution: Any) -> ExecutionConfig:
    """The execution settings, or the defaults for None.

    Raises:
        ConfigError: It is something else.
    """
    if execution is None:
        return ExecutionConfig()
    if not isinstance(execution, ExecutionConfig):
        raise ConfigError(f"execution must be an ExecutionConfig; got {type(execution).__name__}.")
    return execution


def complete_plan(strategy: Strategy, prepared: Prepared) -> Plan:
    """The strategy's plan with the default lines filled in.

    Raises:
        BacktestError: plan() failed, or returned something that does not fit the bars.
    """
    bars = prepared.candles.bars
    plan = checked_plan(strategy, bars)
    return plan._replace(
        anchor=ema(bars.close, _DEFAULT_ANCHOR_PERIOD) if plan.anchor is None else plan.anchor,
        vwap=prepared.session_vwap if plan.vwap is None else plan.vwap,
        risk=atr(bars, _DEFAULT_RISK_PERIOD) if plan.risk is None else plan.risk,
    )


def first_usable_bar(plan: Plan, strategy: Strategy, candles: Candles, trade_from: int | None) -> int:
    """The first signal bar whose signal may be used.

    Raises:
        DataError: Too few bars for the strategy's indicators.
        ConfigError: `trade_from` lies outside the data.
    """
    if trade_from is not None:
        return checked_trade_from(trade_from, len(candles))
    assert plan.anchor is not None
    assert plan.risk is not None
    start = max(first_defined(plan.anchor), first_defined(plan.risk), plan.start or 0)
    if start > len(candles) - 2:
        raise too_few_bars(strategy, candles)
    return start


def checked_trade_from(trade_from: Any, bars: int) -> int:
    """A given first usable bar.

    Raises:
        ConfigError: It is no index of a bar before the last.
    """
    if isinstance(trade_from, bool) or not isinstance(trade_from, (int, np.integer)) or not 0 <= trade_from < bars - 1:
        raise ConfigError(
            f"trade_from must be a bar index from 0 to {bars - 2}; got {trade_from!r}.",
            hint="the last bar's signal could never be acted on.",
        )
    return int(trade_from)


def too_few_bars(strategy: Strategy, candles: Candles) -> DataError:
    """The error for a span that ends before the strategy's indicators are defined."""
    needs = strategy.needed_bars()
    name = f"{candles.symbol} {candles.timeframe}".strip()
    if not needs:
        return DataError(
            f"{name}: {type(strategy).__name__} has no usable signal within {len(candles):,} bars: an indicator is "
            "not defined before the last bar.",
            hint="ask for a longer span, or shorten the longest period.",
        )
    longest = max(needs, key=lambda part: needs[part])
    return DataError(
        f"{name} needs at least {needs[longest] + 1:,} bars ({needs[longest]:,} for {longest}, 1 to trade); the span "
        f"has {len(candles):,}.",
        hint=f"start at least {needs[longest] + 1 - len(candles):,} bars earlier, or lower {longest}.",
    )


def kernel_orders(plan: Plan) -> Orders:
    """A complete plan as the kernel reads it."""
    assert plan.anchor is not None
    assert plan.vwap is not None
    assert plan.risk is not None
    codes = event_codes(plan.entry, plan.exit)
    at = np.flatnonzero(codes != NO_EVENT)
    # A copy where the strategy keeps the array: it stays the strategy's own, and writable.
    lines = (_read_only(line.copy()) if line.flags.writeable else line for line in (plan.anchor, plan.vwap, plan.risk))
    return Orders(_read_only(at.astype(np.int32)), _read_only(codes[at]), *lines)
