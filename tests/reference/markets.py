"""Seeded random markets, plans and configurations for differential tests.

A case is the keyword arguments of `simulate()`. The markets are meant to be nasty, not realistic: gaps, holes, bars
without volume, bars that reach stop and target at once, grids on which prices touch exactly. On the `dyadic` grid every
price, multiplier and quantity is a short binary fraction, so that an exact touch is exact for any order of additions;
elsewhere an exact tie of a level with a price has probability zero, so no case depends on the last bit of a mean.
"""

import math
import random
from dataclasses import dataclass
from typing import Any

from tests.reference.indicators import DEFAULT_RULES, atr, default_trade_from, ema, ema_rsi_atr_plan, session_vwap

SIGNAL_MS = 3_600_000
FIRST_MS = 1_735_689_600_000  # 2025-01-01 UTC, the start of a session

GRIDS = ("continuous", "continuous", "cents", "dyadic", "dyadic")


@dataclass
class _Shape:
    """What a market looks like: the draws that bars, plan and configuration have to agree on."""

    grid: str
    ratio: int  # execution bars per signal bar
    count: int  # signal bars
    price: float
    move: float  # standard deviation of the relative move of one execution bar
    volume: float  # median base volume of an execution bar, 0 = a market without volume
    quantity: float


def random_case(seed: int) -> dict[str, Any]:
    """A case of 25 to 400 signal bars and 200 to 480 execution bars, before holes; same seed, same case."""
    rng = random.Random(seed)
    shape = _draw_shape(rng)
    execution_bars = _draw_bars(rng, shape)
    signal_bars, detail = _draw_timeframes(rng, shape, execution_bars)
    rules = _draw_rules(rng, shape)
    if shape.grid != "dyadic" and rng.random() < 0.3:
        plan = ema_rsi_atr_plan(signal_bars, rules)
        trade_from = default_trade_from(rules)
    else:
        plan = _draw_plan(rng, shape, signal_bars)
        trade_from = rng.choice((0, 1, 5, 15))
    return {
        "signal_bars": signal_bars,
        "plan": plan,
        "rules": rules,
        "execution": _draw_execution(rng, shape),
        "quantity": shape.quantity,
        "detail": detail,
        "funding": _draw_funding(rng, signal_bars),
        "trade_from": trade_from,
    }


def _draw_shape(rng: random.Random) -> _Shape:
    grid = rng.choice(GRIDS)
    ratio = rng.choice((1, 1, 1, 4, 12))
    count = {1: rng.randint(200, 400), 4: rng.randint(60, 100), 12: rng.randint(25, 40)}[ratio]
    if grid == "dyadic":
        price, quantity = rng.choice((64.0, 256.0)), rng.choice((0.5, 2.0, 8.0, 64.0))
    else:
        price, quantity = rng.choice((0.8, 12.0, 100.0, 2500.0)), rng.choice((0.3, 1.7, 40.0, 900.0))
        if grid == "cents":
            price = max(price, 12.0)
    move = rng.choice((0.002, 0.005, 0.012))
    # Relative to the order, so that the volume cap binds in some markets and not in others.
    volume = 0.0 if rng.random() < 0.06 else quantity * rng.choice((0.5, 3.0, 30.0, 1000.0))
    return _Shape(grid, ratio, count, price, move, volume, quantity)


# --------------------------------------------------------------------------------------------------------------- bars


def _on_grid(price: float, grid: str) -> float:
    if grid == "dyadic":
        return max(round(price * 4) / 4, 0.25)
    if grid == "cents":
        return max(round(price * 100) / 100, 0.01)
    return price


def _draw_bars(rng: random.Random, shape: _Shape) -> dict[str, Any]:
    """Complete execution bars: a trending, mean-reverting or free walk with gaps and the occasional huge bar."""
    columns: dict[str, Any] = {name: [] for name in ("time", "open", "high", "low", "close", "volume")}
    quote_volume: list[float] = []
    drift = rng.choice((0.0, 0.0, 0.15, -0.15)) * shape.move
    pull = rng.choice((0.0, 0.0, 0.05))
    gap_chance, huge_chance = rng.choice((0.0, 0.05, 0.3)), rng.choice((0.0, 0.02, 0.1))
    empty_chance = rng.choice((0.0, 0.02, 0.15))
    last = shape.price
    for i in range(shape.count * shape.ratio):
        move = shape.move * (6.0 if rng.random() < huge_chance else 1.0)
        start = last * math.exp(rng.gauss(0.0, 2.0 * shape.move)) if rng.random() < gap_chance else last
        path = [start]
        for _ in range(4):
            trend = drift / 4 + pull * math.log(shape.price / path[-1]) / 4
            path.append(path[-1] * math.exp(trend + rng.gauss(0.0, move / 2)))
        prices = [_on_grid(price, shape.grid) for price in path]
        volume = 0.0 if rng.random() < empty_chance else shape.volume * math.exp(rng.gauss(0.0, 0.7))
        typical = sum(prices) / len(prices)
        if shape.grid == "dyadic":
            volume, typical = math.ceil(volume * 8) / 8, _on_grid(typical, "dyadic")
        columns["time"].append(FIRST_MS + i * (SIGNAL_MS // shape.ratio))
        columns["open"].append(prices[0])
        columns["high"].append(max(prices))
        columns["low"].append(min(prices))
        columns["close"].append(prices[-1])
        columns["volume"].append(volume)
        quote_volume.append(volume * typical)
        last = path[-1]
    kind = rng.random()
    if kind < 0.5 or shape.grid == "dyadic":
        columns["quote_volume"] = quote_volume
    elif kind < 0.6:  # a vendor that leaves holes in the column
        columns["quote_volume"] = [math.nan if rng.random() < 0.2 else value for value in quote_volume]
    return columns


def _keep(columns: dict[str, Any], kept: list[int], timeframe_ms: int) -> dict[str, Any]:
    return {**{name: [column[i] for i in kept] for name, column in columns.items()}, "timeframe_ms": timeframe_ms}


def _draw_timeframes(
    rng: random.Random, shape: _Shape, complete: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Signal bars and, with a ratio above 1, the detail they were added up from; both with holes that still nest."""
    lost_signal_bars = {t for t in range(shape.count) if rng.random() < 0.02} if rng.random() < 0.3 else set()
    kept = [t for t in range(shape.count) if t not in lost_signal_bars]
    if shape.ratio == 1:
        return _keep(complete, kept, SIGNAL_MS), None
    added: dict[str, Any] = {name: [] for name in ("time", "open", "high", "low", "close", "volume")}
    for t in range(shape.count):
        inside = slice(t * shape.ratio, (t + 1) * shape.ratio)
        added["time"].append(complete["time"][inside][0])
        added["open"].append(complete["open"][inside][0])
        added["high"].append(max(complete["high"][inside]))
        added["low"].append(min(complete["low"][inside]))
        added["close"].append(complete["close"][inside][-1])
        added["volume"].append(sum(complete["volume"][inside]))
    lost_chance = rng.choice((0.0, 0.03, 0.2))
    also_lost = {t for t in range(shape.count) if rng.random() < lost_chance / 2}  # signal bars without any detail
    fine = [
        i
        for i in range(shape.count * shape.ratio)
        if i // shape.ratio not in lost_signal_bars | also_lost and rng.random() >= lost_chance
    ]
    return _keep(added, kept, SIGNAL_MS), _keep(complete, fine, SIGNAL_MS // shape.ratio)


# --------------------------------------------------------------------------------------------------------------- plan


def _draw_plan(rng: random.Random, shape: _Shape, bars: dict[str, Any]) -> dict[str, Any]:
    """A plan that owes nothing to indicators of the built-in strategy: random signals, exits and reference lines."""
    closes, count = bars["close"], len(bars["close"])
    entry_chance, exit_chance = rng.choice((0.05, 0.2, 0.6)), rng.choice((0.0, 0.0, 0.05, 0.2))
    undefined_chance = rng.choice((0.0, 0.0, 0.05))
    entry = [rng.choice((-1, 1)) if rng.random() < entry_chance else 0 for _ in range(count)]
    exit_ = [rng.choice((-1, 1, 2)) if rng.random() < exit_chance else 0 for _ in range(count)]
    if shape.grid == "dyadic":
        anchor = [close + rng.randint(-8, 8) * 0.25 for close in closes]
        vwap = [close + rng.randint(-8, 8) * 0.25 for close in closes]
        unit = max(0.25, 2.0 ** round(math.log2(shape.price * shape.move * math.sqrt(shape.ratio))))
        risk = [unit * rng.choice((0.0, 0.5, 1.0, 1.0, 2.0)) for _ in closes]
    else:
        # A line of prices that were traded lies on the tick already, give or take the last bit.
        anchor = ema(closes, rng.choice((2, 4, 9))) if rng.random() < 0.6 else list(closes)
        vwap = session_vwap(bars["time"], bars["high"], bars["low"], closes, bars["volume"])
        risk = atr(bars["high"], bars["low"], closes, rng.choice((3, 8)))
    for line in (anchor, vwap, risk):
        for t in range(count):
            if rng.random() < undefined_chance:
                line[t] = math.nan
    return {"entry": entry, "exit": exit_, "anchor": anchor, "vwap": vwap, "risk": risk}


# ------------------------------------------------------------------------------------------------------ configuration


def _draw_rules(rng: random.Random, shape: _Shape) -> dict[str, Any]:
    dyadic = shape.grid == "dyadic"

    steps = rng.choice((1, 1, 4))

    def some(low: float, high: float) -> float:
        if not dyadic:
            return rng.uniform(low, high)
        return max(rng.randint(math.ceil(low * steps), math.floor(high * steps)) / steps, 0.25)

    fast, rsi_lookback = rng.randint(2, 4), rng.randint(3, 12)
    slow = fast + rng.randint(1, 5)
    rules: dict[str, Any] = {
        **DEFAULT_RULES,
        "ema_fast": fast,
        "ema_slow": slow,
        "ema_trend": slow + rng.randint(1, 10),
        "rsi_period": rng.randint(2, 6),
        "rsi_long_threshold": 45,
        "rsi_short_threshold": 55,
        "rsi_lookback": rsi_lookback,
        "atr_period": rng.randint(2, 10),
        "enable_trend_filter": rng.random() < 0.3,
        "enable_rsi_filter": rng.random() < 0.3,
        "atr_sl_multiplier": some(0.5, 4.0),
        "atr_tp_multiplier": rng.choice((some(0.25, 1.5), some(0.5, 6.0))),
        "trailing_sl_enabled": rng.random() < 0.6,
        "trailing_tp_enabled": rng.random() < 0.5,
        "trailing_sl_threshold": rng.choice((0.0, 1 / 256, 1 / 64)) if dyadic else rng.uniform(0.0005, 0.02),
        "trailing_tp_threshold": rng.choice((1 / 128, 1 / 32)) if dyadic else rng.uniform(0.002, 0.03),
        "trailing_sl_atr_multiplier": rng.choice((None, some(0.5, 3.0))),
        "trailing_tp_atr_multiplier": some(0.25, 2.0),
        "enable_hybrid_engine": rng.random() < 0.8,
        "ema_touch_tolerance": rng.choice((0.0, 1 / 1024 if dyadic else rng.uniform(-0.001, 0.003))),
        "tier2_limit_offset_atr": rng.choice((0.0, some(0.0, 1.0), some(0.0, 1.0))),
        "tier3_vwap_band_atr": some(0.25, 4.0),
        "max_chase_atr": rng.choice((math.inf, some(0.25, 1.0), some(0.5, 3.0))),
        "exit_on_opposite_signal": rng.random() < 0.4,
        "allow_long": rng.random() < 0.92,
        "allow_short": rng.random() < 0.92,
    }
    for tier in (1, 2, 3, 4):
        rules[f"enable_hybrid_tier{tier}"] = rng.random() < 0.85
        rules[f"hybrid_tier{tier}_timeout"] = rng.choice((0, 1, 1, 1, 2, 2, 3, 5))
    if rng.random() < 0.03:  # nothing left to work with: every program stands down at once
        rules |= {f"enable_hybrid_tier{tier}": False for tier in (1, 2, 3, 4)}
    return rules


def _draw_execution(rng: random.Random, shape: _Shape) -> dict[str, Any]:
    dyadic = shape.grid == "dyadic"
    # Quantity against capital and leverage: mostly affordable, sometimes cut by margin, sometimes ruinous.
    notional = shape.price * shape.quantity
    leverage = rng.choice((0.5, 1.0, 1.0, 2.0, 20.0, 100.0))
    capital = notional / leverage * rng.choice((0.6, 1.0, 1.3, 3.0, 30.0, 300.0))
    if dyadic:
        tick, lot = rng.choice((0.0, 0.25, 0.25)), rng.choice((0.125, 0.25))  # a lot keeps mean entry prices exact
    else:
        tick = {"continuous": rng.choice((0.0, 0.0, shape.price / 1000)), "cents": 0.01}[shape.grid]
        lot = rng.choice((0.0, shape.quantity / 7.3, shape.quantity / 100.0))
    flat = rng.choice((0.0, notional * 0.0002))
    return {
        "initial_capital": capital,
        "leverage": leverage,
        "slippage": rng.choice((0.0, 1 / 1024) if dyadic else (0.0, 0.0005, 0.003)),
        "max_participation": rng.choice((None, 0.02, 0.1, 0.1, 1.0)),
        "limit_fill": rng.choice(("through", "touch")),
        "intrabar": rng.choice(("worst", "path", "best")),
        "tick_size": tick,
        "lot_size": lot,
        # All rates are positive: at rate 0 what margin leaves after a full fill is 0 or one rounding error above it.
        "fees": {
            "buy_maker": rng.uniform(0.0001, 0.0004),
            "buy_taker": rng.uniform(0.0003, 0.001),
            "sell_maker": rng.uniform(0.0001, 0.0004),
            "sell_taker": rng.uniform(0.0003, 0.001),
            "buy_order_flat": flat,
            "buy_order_rate": 0.0003,
            "sell_order_flat": flat,
            "sell_order_rate": 0.0005,
        },
    }


def _draw_funding(rng: random.Random, bars: dict[str, Any]) -> list[tuple[int, float]]:
    """Every eight hours, or at the hour of every fourth signal bar; venues stamp some of them a few ms late."""
    if rng.random() < 0.6:
        return []
    step = rng.choice((4, 8)) * SIGNAL_MS
    late = rng.choice((0, 0, 7))
    return [
        (time + rng.randint(0, late), rng.gauss(0.0001, 0.0008))
        for time in range(bars["time"][0], bars["time"][-1] + 3 * SIGNAL_MS, step)
    ]
