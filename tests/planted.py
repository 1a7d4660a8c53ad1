"""A market with one true edge in it, so that a search can be judged by whether it finds it.

Each bar's return is noise plus a small push. The push follows the last `PERIOD` bars: with them where they moved by
more than `LEVEL` deviations, against them where they moved by less. Who measures the move over `PERIOD` bars and trades
from `LEVEL` on is paid by every push; who measures over another span sees it blurred, who trades sooner is pushed
against, who trades later stays out of what is paid. That is a fact about the prices, found through the plan, the
kernel and its costs like that of any other market.
"""

from datetime import UTC, datetime

import numpy as np

from barwise.config import ExecutionConfig, Float, Int
from barwise.core.layout import Bars, FloatArray
from barwise.data.candles import Candles
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.indicators import atr, ema

PERIOD, LEVEL = 12, 1.0
HOUR_MS = 3_600_000
_FIRST_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000
_DEVIATION = 0.004
_PUSH = 0.35  # of the deviation
_STEPS = 8  # prices within a bar

# Costs are not what is tested, and a fee would only move the level.
FREE = ExecutionConfig(maker_fee=0.0, taker_fee=0.0, slippage=0.0, max_participation=None)


class Momentum(Strategy):
    """Goes with a move of more than `level` deviations over the last `period` bars, for as long as it is that large."""

    enable_hybrid_engine: bool = False
    trailing_sl_enabled: bool = False
    trailing_tp_enabled: bool = False
    atr_sl_multiplier: float = Float(8.0, above=0.0)
    atr_tp_multiplier: float = Float(8.0, above=0.0)
    period: int = Int(24, low=2, high=60, help="bars a move is measured over")
    level: float = Float(0.25, low=0.0, high=3.0, help="size a move must have, in deviations")

    def plan(self, bars: Bars) -> Plan:
        returns = np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))
        total = np.cumsum(returns)
        move = np.full(total.size, np.nan)
        move[self.period :] = (total[self.period :] - total[: -self.period]) / (_DEVIATION * np.sqrt(self.period))
        side = np.where(np.abs(move) > self.level, np.sign(move), 0.0)
        leave = np.where(side > 0, -1, np.where(side < 0, 1, 2))
        return Plan.of(side, exit=leave, anchor=ema(bars.close, 2), risk=atr(bars, 14), needs=[move])


def planted_candles(seed: int, bars: int = 2000) -> Candles:
    """A planted market: bars of one hour; the same seed gives the same ones."""
    random = np.random.default_rng(seed)
    shocks = random.standard_normal((bars, _STEPS)) * (_DEVIATION / np.sqrt(_STEPS))
    returns = np.zeros(bars)
    for bar in range(bars):
        move = returns[max(0, bar - PERIOD) : bar].sum() / (_DEVIATION * np.sqrt(PERIOD))
        push = _PUSH * _DEVIATION * np.sign(move) * (1.0 if abs(move) > LEVEL else -1.0)
        shocks[bar] += push / _STEPS
        returns[bar] = shocks[bar].sum()
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    inside: FloatArray = opened[:, None] * np.exp(np.cumsum(shocks, axis=1))
    columns = {
        "time": _FIRST_MS + HOUR_MS * np.arange(bars),
        "open": opened,
        "high": np.maximum(opened, np.maximum(close, inside.max(axis=1))),
        "low": np.minimum(opened, np.minimum(close, inside.min(axis=1))),
        "close": close,
        "volume": np.full(bars, 1000.0),
    }
    return Candles.of(columns, exchange="SAMPLE", symbol=f"PLANTED-{seed}", timeframe="1H")
