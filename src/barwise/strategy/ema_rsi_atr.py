"""The built-in strategy: a crossing of two EMAs, with the trend and out of a stretched RSI, sized by ATR.

It is written with the public strategy API and nothing else; `plan_rows` is the same plan for many rows at once, and a
test holds the two equal to the bit.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator

from barwise.config import Bool, Float, Int
from barwise.core.events import crossings, filtered_events
from barwise.core.layout import PLAN, Bars, BoolArray
from barwise.errors import ConfigError
from barwise.strategy.base import Plan, PlanRows, Strategy
from barwise.strategy.indicators import (
    atr,
    crossed_above,
    crossed_below,
    ema,
    rolling_max,
    rolling_min,
    rsi,
)
from barwise.strategy.shared_lines import SharedLines

# A period and a lookback as one integer.
_PAIR = 1 << 31


class EmaRsiAtr(Strategy):
    """EMA crossing, filtered by trend and RSI (docs/execution.md, section 3); also known as `StrategyConfig`.

    A long needs the fast EMA to cross above the slow one, the close above the trend EMA, and an RSI that was at or
    below `rsi_long_threshold` within the last `rsi_lookback` bars. A short is the mirror image.
    """

    label: ClassVar[str] = "EMA/RSI/ATR"
    rising: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("ema_fast", "ema_slow", "ema_trend"),
        ("rsi_long_threshold", "rsi_short_threshold"),
    )

    ema_fast: int = Int(20, low=2, help="period of the fast EMA; tier 1 waits at this line")
    ema_slow: int = Int(50, low=2, help="period of the slow EMA")
    ema_trend: int = Int(200, low=2, help="period of the trend EMA")
    rsi_period: int = Int(14, low=2, help="period of the RSI")
    rsi_long_threshold: float = Float(35.0, low=0.0, high=100.0, help="RSI a long must have come from")
    rsi_short_threshold: float = Float(65.0, low=0.0, high=100.0, help="RSI a short must have come from")
    rsi_lookback: int = Int(
        50,
        low=1,
        stage="",
        help="bars the RSI condition looks back, the signal's bar included",
    )
    atr_period: int = Int(14, low=2, help="period of the ATR, the unit of stops and targets")
    enable_trend_filter: bool = Bool(True, help="trade with the trend EMA only")
    enable_rsi_filter: bool = Bool(True, help="trade out of a stretched RSI only")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.ema_fast < self.ema_slow < self.ema_trend:
            raise ValueError(
                f"ema_fast < ema_slow < ema_trend must hold; got {self.ema_fast}, {self.ema_slow}, {self.ema_trend}"
            )
        if not self.rsi_long_threshold < self.rsi_short_threshold:
            raise ValueError(
                "rsi_long_threshold < rsi_short_threshold must hold; "
                f"got {self.rsi_long_threshold:g}, {self.rsi_short_threshold:g}"
            )
        return self

    def plan(self, bars: Bars) -> Plan:
        fast, slow = ema(bars.close, self.ema_fast), ema(bars.close, self.ema_slow)
        long, short = crossed_above(fast, slow), crossed_below(fast, slow)
        needs = [slow]
        if self.enable_trend_filter:
            trend = ema(bars.close, self.ema_trend)
            long, short = long & (bars.close > trend), short & (bars.close < trend)
            needs.append(trend)
        if self.enable_rsi_filter:
            strength = rsi(bars.close, self.rsi_period)
            lowest, highest = (
                rolling_min(strength, self.rsi_lookback),
                rolling_max(strength, self.rsi_lookback),
            )
            long = long & (lowest <= self.rsi_long_threshold)
            short = short & (highest >= self.rsi_short_threshold)
            needs.append(lowest)
        return Plan.of(
            entry=long,
            entry_short=short,
            anchor=fast,
            risk=atr(bars, self.atr_period),
            needs=needs,
        )

    @classmethod
    def plan_rows(cls, bars: Bars, shared: SharedLines, columns: Mapping[str, Any]) -> PlanRows | None:
        if cls.plan is not EmaRsiAtr.plan:
            return None  # a subclass with a plan of its own is planned one set at a time
        column = {name: np.ascontiguousarray(columns[name]) for name in EmaRsiAtr.signal_parameters()}
        fast, slow, trend = (
            shared.rows_of("ema", column[name], lambda period: ema(bars.close, period))
            for name in ("ema_fast", "ema_slow", "ema_trend")
        )
        risk = shared.rows_of("atr", column["atr_period"], lambda period: atr(bars, period))
        rsi_of = column["rsi_period"] * _PAIR + column["rsi_lookback"]
        lowest = shared.rows_of(
            "lowest rsi", rsi_of, lambda code: rolling_min(rsi(bars.close, code // _PAIR), code % _PAIR)
        )
        highest = shared.rows_of(
            "highest rsi", rsi_of, lambda code: rolling_max(rsi(bars.close, code // _PAIR), code % _PAIR)
        )
        lines = shared.matrix

        use_trend: BoolArray = column["enable_trend_filter"].astype(np.bool_)
        use_rsi: BoolArray = column["enable_rsi_filter"].astype(np.bool_)
        pair_code, pair_of_row = np.unique(fast * len(lines) + slow, return_inverse=True)
        offsets, cross_bars, cross_sides = crossings(lines, pair_code // len(lines), pair_code % len(lines))
        first, counts, event_bars, event_codes = filtered_events(
            lines, bars.close, offsets, cross_bars, cross_sides, pair_of_row.astype(np.int64), trend, lowest, highest,
            use_trend, use_rsi, column["rsi_long_threshold"].astype(np.float64),
            column["rsi_short_threshold"].astype(np.float64),
        )  # fmt: skip
        start = shared.starts
        plans = np.zeros(fast.size, PLAN)
        plans["first_event"], plans["events"] = first, counts
        plans["anchor_line"], plans["vwap_line"], plans["risk_line"] = fast, 0, risk
        plans["start"] = np.maximum.reduce(
            [
                start[fast],
                start[slow],
                start[risk],
                np.where(use_trend, start[trend], 0),
                np.where(use_rsi, start[lowest], 0),
            ]
        )
        return PlanRows(plans, lines, event_bars, event_codes, np.arange(fast.size, dtype=np.int64))

    @classmethod
    def check_rows(cls, columns: Mapping[str, Any]) -> None:
        wrong = ~(
            (columns["ema_fast"] < columns["ema_slow"])
            & (columns["ema_slow"] < columns["ema_trend"])
            & (columns["rsi_long_threshold"] < columns["rsi_short_threshold"])
        )
        if wrong.any():
            row = int(wrong.argmax())
            found = ", ".join(
                f"{name} {columns[name][row]:g}"
                for name in ("ema_fast", "ema_slow", "ema_trend", "rsi_long_threshold", "rsi_short_threshold")
            )
            raise ConfigError(
                f"row {row} of the sweep breaks ema_fast < ema_slow < ema_trend or rsi_long_threshold < "
                f"rsi_short_threshold: {found}.",
                hint="leave such rows out.",
            )

    def idle_parameters(self) -> frozenset[str]:
        idle = super().idle_parameters()
        if not self.enable_trend_filter:
            idle |= {"ema_trend"}
        if not self.enable_rsi_filter:
            idle |= {"rsi_period", "rsi_long_threshold", "rsi_short_threshold"}
        return idle

    def needed_bars(self) -> dict[str, int]:
        needs = {"ema_slow": self.ema_slow, "atr_period": self.atr_period + 1}
        if self.enable_trend_filter:
            needs["ema_trend"] = self.ema_trend
        if self.enable_rsi_filter:
            needs["rsi_period + rsi_lookback"] = self.rsi_period + self.rsi_lookback
        return needs


StrategyConfig = EmaRsiAtr
