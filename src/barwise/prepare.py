"""From candles, rules and costs to the arrays and records the kernel reads: everything a run needs, checked once.

Whatever runs the kernel (a backtest, a sweep) comes through here, so that the same inputs give the same arrays and the
same errors everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from barwise.config import ExecutionConfig, TradeRules
from barwise.core.indicators import session_vwap
from barwise.core.layout import PARAMS, FloatArray, IntArray, Intrabar, Market
from barwise.core.rules import floor_to_step
from barwise.costs import FeeSchedule, fee_schedule
from barwise.data.candles import SYNTHETIC_EXCHANGE, AuditPolicy, Candles
from barwise.errors import ConfigError, DataError
from barwise.timeframe import MINUTE_MS, Timeframe

_NO_FUNDING = np.empty(0, np.float64)
_INTRABAR = {"worst": Intrabar.WORST, "path": Intrabar.PATH, "best": Intrabar.BEST}
# Closes of detail and signal candles may differ by this much in the median before they count as two markets.
_SAME_MARKET = 1e-3
# Nothing can be filled in a signal bar without detail; a few holes are a vendor's, more are a mistake.
_LEAST_COVER = 0.5


@dataclass(frozen=True, eq=False)
class Prepared:
    """Candles made ready for the kernel.

    Attributes:
        candles: The signal candles.
        execution_candles: The candles fills happen in: the detail candles, or `candles` themselves.
        market: What the kernel reads.
        session_vwap: Default of a plan's vwap line, per signal bar.
        ratio: Execution bars per signal bar.
        steps: Tick and lot of the market; 0 where not known.
        notes: What the user should be told about these data.
    """

    candles: Candles
    execution_candles: Candles
    market: Market
    session_vwap: FloatArray
    ratio: int
    steps: tuple[float, float]
    notes: tuple[str, ...]


def prepare(
    candles: Candles,
    detail: Any = None,
    funding: Iterable[tuple[int, float]] | None = None,
) -> Prepared:
    """Make candles ready for the kernel.

    Args:
        candles: Signal candles.
        detail: Finer candles of the same market to execute in, of any type `Candles.of` takes; they nest in the signal
            candles.
        funding: (time in ms UTC, rate as a fraction) of each settlement; times are floored to the minute.

    Raises:
        DataError: Fewer than two bars, or detail candles that do not nest in or cover the signal candles.
        ConfigError: The detail timeframe does not divide the signal timeframe.
    """
    if len(candles) < 2:
        raise DataError(
            f"a backtest needs at least 2 bars; there are {len(candles)}.",
            hint="ask for a longer span.",
        )
    notes: list[str] = []
    bars, act, ratio = candles, np.arange(1, len(candles) + 1), 1
    if detail is not None:
        bars = as_candles(detail, candles.exchange, candles.symbol)
        act, ratio = _nesting(candles, bars)
    volume = bars.volume
    if not volume.any():
        volume = np.full(len(bars), np.inf)
        notes.append("these candles have no volume: the cap on participation is off.")
    market = Market(
        _frozen(act.astype(np.int64)),
        candles.close,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        _frozen(volume),
        _frozen(_bar_vwap(bars)),
        _frozen(_funding_per_bar(bars, funding)),
    )
    vwap = session_vwap(
        candles.time,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.calendar.utc_offset_ms,
    )
    return Prepared(
        candles,
        bars,
        market,
        _frozen(vwap),
        ratio,
        _market_steps(candles),
        tuple(notes),
    )


def _market_steps(candles: Candles) -> tuple[float, float]:
    """Tick and lot of a market whose rules are known without asking a venue."""
    if candles.exchange == SYNTHETIC_EXCHANGE:
        from barwise.data.synthetic import sample_symbols

        for symbol in sample_symbols():
            if symbol.name == candles.symbol:
                return symbol.tick_size, symbol.lot_size
    return 0.0, 0.0


def as_candles(data: Any, exchange: str = "", symbol: str = "", timeframe: "str | Timeframe | None" = None) -> Candles:
    """Candles of any data; those that are candles already were audited when they were made, by the user's policy."""
    policy: AuditPolicy = "off" if isinstance(data, Candles) else "raise"
    return Candles.of(data, exchange=exchange, symbol=symbol, timeframe=timeframe, audit=policy)


def _frozen(array: Any) -> Any:
    array.setflags(write=False)
    return array


def _nesting(candles: Candles, detail: Candles) -> tuple[IntArray, int]:
    """For each signal bar the first detail bar that opens at or after its close; and detail bars per signal bar."""
    step, fine = candles.timeframe.ms, detail.timeframe.ms
    if fine >= step or step % fine:
        raise ConfigError(
            f"detail candles of {detail.timeframe} do not nest in {candles.timeframe} bars.",
            hint="use a finer timeframe that divides the signal timeframe, such as 5M under 1H.",
        )
    if not len(detail):
        raise DataError(
            "there are no detail candles.", hint="fetch them for the span of the candles, or leave detail out."
        )
    holder = np.searchsorted(candles.time, detail.time, side="right") - 1
    inside = (holder >= 0) & (detail.time + fine <= candles.time[holder] + step)
    within_span = (detail.time >= candles.time[0]) & (detail.time < candles.time[-1] + step)
    if not inside[within_span].all():
        at = detail.time[within_span & ~inside][0]
        raise DataError(
            f"the detail bar at {_utc(at)} lies in no {candles.timeframe} bar.",
            hint="fetch both timeframes for the same span from the same venue, or resample the detail candles.",
        )
    covered = np.unique(holder[inside]).size / len(candles)
    if covered < _LEAST_COVER:
        first, last = detail.time[0], detail.time[-1] + fine
        raise DataError(
            f"only {covered:.0%} of the candles have detail candles: the detail covers {_utc(first)} to {_utc(last)}, "
            f"the candles {_utc(candles.time[0])} to {_utc(candles.time[-1] + step)}.",
            hint="cut the candles with candles.between(...) or fetch more detail.",
        )
    last_of = np.searchsorted(detail.time, candles.time + step, side="left") - 1
    has_bars = holder[last_of] == np.arange(len(candles))
    apart = np.abs(detail.close[last_of[has_bars]] / candles.close[has_bars] - 1.0)
    if float(np.median(apart)) > _SAME_MARKET:
        raise DataError(
            f"detail and signal candles are not of one market: their closes differ by {np.median(apart):.2%} in the "
            "median.",
            hint="fetch both from the same venue and symbol.",
        )
    return last_of + 1, step // fine


def _bar_vwap(bars: Candles) -> FloatArray:
    """Each bar's own mean price: quote volume / volume within the bar's range, else (high + low + close) / 3."""
    mean: FloatArray = (bars.high + bars.low + bars.close) / 3.0
    if bars.quote_volume is not None:
        known = (bars.volume > 0.0) & (bars.quote_volume > 0.0)
        np.divide(bars.quote_volume, bars.volume, out=mean, where=known)
    # Rounding alone can put a mean beside the one price of a flat bar, where nothing was ever traded.
    return np.clip(mean, bars.low, bars.high)


def _funding_per_bar(bars: Candles, funding: Iterable[tuple[int, float]] | None) -> FloatArray:
    """Sum of the rates charged on each execution bar: those in (its open, the next bar's open]."""
    try:
        settlements = [] if funding is None else list(funding)
        if not settlements:
            return _NO_FUNDING.copy()
        times = np.array([int(time) for time, _ in settlements], np.int64) // MINUTE_MS * MINUTE_MS
        rates = np.array([float(rate) for _, rate in settlements])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"funding must be pairs of (time in ms, rate as a fraction): {error}.",
            hint="use read_funding(path).",
        ) from None
    if not np.isfinite(rates).all() or (np.abs(rates) > 1.0).any():
        raise DataError(
            "funding rates must be finite fractions such as 0.0001.",
            hint="divide percentages by 100.",
        )
    charged = np.zeros(len(bars))
    bar = np.searchsorted(bars.time, times, side="left") - 1
    inside = (bar >= 0) & (times <= bars.time[-1] + bars.timeframe.ms)
    np.add.at(charged, bar[inside], rates[inside])
    return charged


def resolved_fees(execution: ExecutionConfig, exchange: str) -> FeeSchedule:
    """The fee schedule in force: the given one, or the venue's, with maker_fee and taker_fee replaced where given.

    Candles without an exchange cost nothing unless fees are given.
    """
    if execution.fees is not None:
        return execution.fees
    maker, taker = execution.maker_fee, execution.taker_fee
    if maker is not None and taker is not None:  # nothing of the venue's schedule is left, so it need not have one
        return FeeSchedule("own rates", buy_maker=maker, buy_taker=taker, sell_maker=maker, sell_taker=taker)
    schedule = fee_schedule(exchange or "ZERO")
    if maker is not None or taker is not None:
        schedule = schedule.with_rates(maker=maker, taker=taker)
    return schedule


def parameter_records(
    rows: int,
    rules: TradeRules,
    columns: Mapping[str, Any],
    execution: ExecutionConfig,
    fees: FeeSchedule,
    quantity: float,
    ratio: int,
    steps: tuple[float, float],
) -> Any:
    """PARAMS records for some rows of trade rules.

    Args:
        rows: How many.
        rules: Values of the rules that do not vary.
        columns: Rules that vary, one array of `rows` values each.
        execution, fees, quantity: As in `backtest`.
        ratio: Execution bars per signal bar.
        steps: (tick, lot) of the market, used where the execution settings leave them open.

    Raises:
        ConfigError: The quantity is not positive or below the lot.
    """
    p = np.zeros(rows, PARAMS)

    def rule(name: str) -> Any:
        return columns[name] if name in columns else getattr(rules, name)

    for name in (
        "atr_sl_multiplier", "atr_tp_multiplier", "trailing_sl_threshold", "trailing_tp_threshold",
        "trailing_tp_atr_multiplier", "trailing_sl_enabled", "trailing_tp_enabled", "ema_touch_tolerance",
        "tier2_limit_offset_atr", "tier3_vwap_band_atr", "exit_on_opposite_signal", "allow_long", "allow_short",
    ):  # fmt: skip
        p[name] = rule(name)
    trailing = rule("trailing_sl_atr_multiplier")
    p["trailing_sl_atr_multiplier"] = rule("atr_sl_multiplier") if trailing is None else trailing
    hybrid = np.asarray(rule("enable_hybrid_engine"), dtype=bool)
    p["max_chase_atr"] = np.where(hybrid, rule("max_chase_atr"), np.inf)
    for tier in (1, 2, 3, 4):
        timeout = np.asarray(rule(f"hybrid_tier{tier}_timeout"), dtype=np.int64)
        enabled = hybrid & np.asarray(rule(f"enable_hybrid_tier{tier}"), dtype=bool)
        alone = np.maximum(timeout, 1) if tier == 4 else 0  # without the hybrid engine an entry is a market order
        p[f"tier{tier}_bars"] = ratio * np.where(hybrid, np.where(enabled, timeout, 0), alone)

    for name in (
        "buy_maker", "buy_taker", "sell_maker", "sell_taker",
        "buy_order_flat", "buy_order_rate", "sell_order_flat", "sell_order_rate",
    ):  # fmt: skip
        p[name] = getattr(fees, name)
    tick = execution.tick_size if execution.tick_size is not None else steps[0]
    lot = execution.lot_size if execution.lot_size is not None else steps[1]
    p["tick_size"], p["lot_size"] = tick, lot
    p["quantity"] = order_quantity(quantity, lot)
    p["initial_capital"], p["leverage"], p["slippage"] = (
        execution.initial_capital,
        execution.leverage,
        execution.slippage,
    )
    p["max_participation"] = np.inf if execution.max_participation is None else execution.max_participation
    p["fill_on_touch"] = execution.limit_fill == "touch"
    p["intrabar"] = _INTRABAR[execution.intrabar]
    return p


def order_quantity(quantity: float, lot: float) -> float:
    """The order quantity on the lot grid.

    Raises:
        ConfigError: It is not a positive number or below one lot.
    """
    if isinstance(quantity, bool) or not isinstance(quantity, (int, float, np.number)) or not 0 < quantity < np.inf:
        raise ConfigError(
            f"order quantity must be a positive number of base units; got {quantity!r}.",
            hint="for example qty=0.1.",
        )
    floored = float(floor_to_step(float(quantity), lot))
    if floored <= 0.0:
        raise ConfigError(
            f"order quantity {quantity:g} is below one lot of {lot:g}.",
            hint=f"order at least {lot:g}, or set lot_size.",
        )
    return floored


def _utc(time_ms: Any) -> str:
    return f"{datetime.fromtimestamp(int(time_ms) / 1000, UTC):%Y-%m-%d %H:%M}"
