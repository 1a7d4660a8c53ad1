"""Indicators and signals of docs/execution.md, sections 2 and 3, written as naively as they are defined.

Lists of plain floats in, lists of plain floats out, one value per bar, NaN where a value is not yet defined. Nothing of
barwise is imported: this is the other half of every comparison.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

NAN = math.nan
DAY_MS = 86_400_000

# docs/execution.md, section 3 and the table of StrategyConfig: the names and values of an untouched configuration.
DEFAULT_RULES: Mapping[str, Any] = {
    "ema_fast": 20,
    "ema_slow": 50,
    "ema_trend": 200,
    "rsi_period": 14,
    "rsi_long_threshold": 35,
    "rsi_short_threshold": 65,
    "rsi_lookback": 50,
    "atr_period": 14,
    "atr_sl_multiplier": 1.5,
    "atr_tp_multiplier": 2.0,
    "trailing_sl_threshold": 0.02,
    "trailing_tp_threshold": 0.03,
    "trailing_sl_atr_multiplier": None,
    "trailing_tp_atr_multiplier": 1.0,
    "enable_hybrid_engine": True,
    "enable_hybrid_tier1": True,
    "enable_hybrid_tier2": True,
    "enable_hybrid_tier3": True,
    "enable_hybrid_tier4": True,
    "hybrid_tier1_timeout": 5,
    "hybrid_tier2_timeout": 3,
    "hybrid_tier3_timeout": 4,
    "hybrid_tier4_timeout": 1,
    "ema_touch_tolerance": 0.0015,
    "tier2_limit_offset_atr": 0.1,
    "tier3_vwap_band_atr": 1.0,
    "max_chase_atr": 1.5,
    "enable_trend_filter": True,
    "enable_rsi_filter": True,
    "trailing_sl_enabled": True,
    "trailing_tp_enabled": True,
    "exit_on_opposite_signal": False,
    "allow_long": True,
    "allow_short": True,
}


def ema(values: Sequence[float], period: int) -> list[float]:
    """Exponential mean, seeded with the simple mean of the first `period` values at index period - 1."""
    line = [NAN] * len(values)
    if len(values) < period:
        return line
    line[period - 1] = sum(values[:period]) / period
    alpha = 2.0 / (period + 1)
    for t in range(period, len(values)):
        line[t] = line[t - 1] + alpha * (values[t] - line[t - 1])
    return line


def rsi(closes: Sequence[float], period: int) -> list[float]:
    """Wilder's relative strength index in 0..100, first at index `period`; 0 while nothing has moved at all."""
    line = [NAN] * len(closes)
    if len(closes) <= period:
        return line
    changes = [closes[t] - closes[t - 1] for t in range(1, len(closes))]  # changes[t - 1] belongs to bar t
    gain = sum(max(change, 0.0) for change in changes[:period]) / period
    loss = sum(max(-change, 0.0) for change in changes[:period]) / period
    for t in range(period, len(closes)):
        if t > period:
            change = changes[t - 1]
            gain = (gain * (period - 1) + max(change, 0.0)) / period
            loss = (loss * (period - 1) + max(-change, 0.0)) / period
        line[t] = 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 0.0
    return line


def atr(highs: Sequence[float], lows: Sequence[float], closes: Sequence[float], period: int) -> list[float]:
    """Wilder's average true range in price units, first at index `period` (the mean of the ranges 1..period)."""
    line = [NAN] * len(closes)
    if len(closes) <= period:
        return line
    ranges = [NAN, *(max(highs[t], closes[t - 1]) - min(lows[t], closes[t - 1]) for t in range(1, len(closes)))]
    line[period] = sum(ranges[1 : period + 1]) / period
    for t in range(period + 1, len(closes)):
        line[t] = (line[t - 1] * (period - 1) + ranges[t]) / period
    return line


def session_vwap(
    times: Sequence[int],
    highs: Sequence[float],
    lows: Sequence[float],
    closes: Sequence[float],
    volumes: Sequence[float],
    utc_offset_ms: int = 0,
) -> list[float]:
    """Volume-weighted typical price since the start of the local day; the typical price while it has no volume."""
    line = []
    day, money, volume = None, 0.0, 0.0
    for t in range(len(times)):
        today = (times[t] + utc_offset_ms) // DAY_MS
        if today != day:
            day, money, volume = today, 0.0, 0.0
        typical = (highs[t] + lows[t] + closes[t]) / 3.0
        money += typical * volumes[t]
        volume += volumes[t]
        line.append(money / volume if volume > 0.0 else typical)
    return line


def default_trade_from(rules: Mapping[str, Any]) -> int:
    """First signal bar at which every indicator that these rules use is defined (section 1)."""
    first = max(rules["ema_fast"] - 1, rules["ema_slow"] - 1, rules["atr_period"])
    if rules["enable_trend_filter"]:
        first = max(first, rules["ema_trend"] - 1)
    if rules["enable_rsi_filter"]:
        first = max(first, rules["rsi_period"] + rules["rsi_lookback"] - 1)
    return int(first)


def ema_rsi_atr_plan(bars: Mapping[str, Any], rules: Mapping[str, Any], utc_offset_ms: int = 0) -> dict[str, list[Any]]:
    """What the built-in strategy decides at the close of every signal bar (section 3), as the columns of a plan."""
    closes = bars["close"]
    fast, slow = ema(closes, rules["ema_fast"]), ema(closes, rules["ema_slow"])
    trend = ema(closes, rules["ema_trend"])
    strength = rsi(closes, rules["rsi_period"])
    lookback = rules["rsi_lookback"]
    entry = [0] * len(closes)
    for t in range(1, len(closes)):
        window = strength[max(0, t - lookback + 1) : t + 1]
        # A window that is not full yet has no lowest value: undefined, and every comparison with it is false.
        defined = len(window) == lookback and not any(math.isnan(value) for value in window)
        lowest, highest = (min(window), max(window)) if defined else (NAN, NAN)
        long = fast[t - 1] <= slow[t - 1] and fast[t] > slow[t]
        short = fast[t - 1] >= slow[t - 1] and fast[t] < slow[t]
        if rules["enable_trend_filter"]:
            long = long and closes[t] > trend[t]
            short = short and closes[t] < trend[t]
        if rules["enable_rsi_filter"]:
            long = long and lowest <= rules["rsi_long_threshold"]
            short = short and highest >= rules["rsi_short_threshold"]
        if long and rules["allow_long"]:
            entry[t] = 1
        elif short and rules["allow_short"]:
            entry[t] = -1
    return {
        "entry": entry,
        "exit": [0] * len(closes),
        "anchor": fast,
        "vwap": session_vwap(bars["time"], bars["high"], bars["low"], closes, bars["volume"], utc_offset_ms),
        "risk": atr(bars["high"], bars["low"], closes, rules["atr_period"]),
    }
