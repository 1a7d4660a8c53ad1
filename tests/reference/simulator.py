"""One backtest, slowly: docs/execution.md in plain Python, for comparison with the compiled engine trade by trade.

Written from that page alone. It shares no line with the engine, imports nothing of barwise and prefers being obviously
right to being fast: one object per position, one method per paragraph, the section named wherever a choice is made.
Rules are the law's long case; `d` (+1 long, -1 short) mirrors them. Times are int64 ms UTC of a bar's open, money is
quote currency, rates are fractions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

NAN = math.nan

# Section 7, the defaults of ExecutionConfig; fees come from the venue and are therefore not among them.
DEFAULT_EXECUTION: Mapping[str, Any] = {
    "initial_capital": 100_000.0,
    "leverage": 1.0,
    "slippage": 0.0005,
    "max_participation": 0.1,
    "limit_fill": "through",
    "intrabar": "worst",
    "tick_size": 0.0,
    "lot_size": 0.0,
}


def flat_rates(maker_fee: float, taker_fee: float) -> dict[str, float]:
    """A fee schedule that is the same on both sides and has no per-order part."""
    return {
        "buy_maker": maker_fee,
        "buy_taker": taker_fee,
        "sell_maker": maker_fee,
        "sell_taker": taker_fee,
        "buy_order_flat": 0.0,
        "buy_order_rate": 0.0,
        "sell_order_flat": 0.0,
        "sell_order_rate": 0.0,
    }


def on_grid(steps: int, step: float) -> float:
    """The decimal number steps * step, as a feed would write it: 1003 steps of 0.1 are 100.3 exactly."""
    return float(steps * Decimal(repr(step)))


@dataclass
class Program:
    """One entry program; bar numbers are execution bars, except `signal_bar`."""

    signal_bar: int
    start_bar: int
    end_bar: int
    arrival_price: float
    atr: float
    quantity: float
    filled: float
    entry_price: float  # NaN where nothing was filled
    side: int
    outcome: str
    last_tier: int  # 0 where no tier ever worked


@dataclass
class Fill:
    """One entry fill of a program."""

    bar: int
    program: int
    price: float
    reference: float  # before slippage
    quantity: float
    fee: float
    tier: int
    side: int
    maker: bool


@dataclass
class Trade:
    """One position from its first fill to its exit."""

    program: int
    entry_bar: int
    exit_bar: int
    entry_signal_bar: int
    exit_signal_bar: int
    quantity: float
    entry_price: float
    exit_price: float
    exit_reference: float
    initial_risk: float
    stop_price: float
    target_price: float  # NaN where trailing dropped it
    best_price: float
    worst_price: float
    fees: float
    slippage: float
    funding: float
    gross_pnl: float
    net_pnl: float
    side: int
    exit_reason: str
    exit_maker: bool
    ambiguous: bool


@dataclass
class ReferenceRun:
    """Everything one run leaves; `equity` has one value per signal bar from trade_from on."""

    programs: list[Program]
    fills: list[Fill]
    trades: list[Trade]
    equity: list[float]
    final_equity: float
    ruined: bool


@dataclass
class Bar:
    """One execution bar, with k(i) of section 1; `signal_bar` is the signal bar whose span it lies in."""

    index: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    own_vwap: float
    known: int
    signal_bar: int

    def best(self, d: int) -> float:
        """The extreme in favour of side d."""
        return self.high if d > 0 else self.low

    def worst(self, d: int) -> float:
        """The extreme against side d."""
        return self.low if d > 0 else self.high

    def worst_comes_first(self, d: int) -> bool:
        """Section 6, `path`: the extreme nearer to the open comes first, on a tie the adverse one."""
        return not abs(self.best(d) - self.open) < abs(self.open - self.worst(d))


@dataclass
class Work:
    """A program at work: its record so far and where it stands in the tiers."""

    record: Program
    number: int
    rest: float
    tier: int = 0
    bars_done: int = 0  # execution bars the current tier has already worked in
    limit: float = NAN  # tier 2: fixed when the tier starts


@dataclass
class Position:
    """An open position with the levels of section 5."""

    side: int
    atr: float
    program: int
    entry_bar: int
    entry_signal_bar: int
    quantity: float = 0.0
    cost: float = 0.0
    entry_price: float = NAN  # E
    hard_stop: float = NAN
    trail: float | None = None
    trail_kind: str = ""
    target: float = NAN
    target_dropped: bool = False
    best: float = NAN  # B
    best_seen: float = NAN
    worst_seen: float = NAN
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    ambiguous: bool = False

    def stop(self) -> float:
        """S of section 5: the tighter of the hard stop and the trail."""
        if self.trail is not None and self.side * (self.trail - self.hard_stop) > 0:
            return self.trail
        return self.hard_stop

    def stop_reason(self) -> str:
        """Section 6: a stop is named by what set it; on a tie by the hard stop."""
        if self.trail is not None and self.side * (self.trail - self.hard_stop) > 0:
            return self.trail_kind
        return "stop_loss"

    def see(self, price: float) -> None:
        """Widen the excursions of section 8 by a price the position provably saw."""
        if self.side * (price - self.best_seen) > 0:
            self.best_seen = price
        if self.side * (price - self.worst_seen) < 0:
            self.worst_seen = price


@dataclass
class Entry:
    """A fill that the market offers: at the open, at a limit inside the bar, or as a slice of the bar."""

    price: float
    reference: float
    maker: bool
    place: str  # "open", "inside", "slice"
    most: float


def simulate(
    signal_bars: Mapping[str, Any],
    plan: Mapping[str, Any],
    rules: Mapping[str, Any],
    execution: Mapping[str, Any],
    quantity: float,
    *,
    detail: Mapping[str, Any] | None = None,
    funding: Sequence[tuple[int, float]] = (),
    trade_from: int,
) -> ReferenceRun:
    """Run docs/execution.md over one market.

    Args:
        signal_bars: Columns time, open, high, low, close, volume and, where there is one, quote_volume as lists of one
            length, and timeframe_ms.
        plan: Columns entry (-1, 0, 1), exit (0 none, 1 closes a long, -1 closes a short, 2 closes either), anchor,
            vwap, risk, one value per signal bar, known at its close.
        rules: The fields of StrategyConfig by name.
        execution: The fields of ExecutionConfig by name; `fees` is a dict with the rates by side and liquidity.
        quantity: Ordered by every program, in base units.
        detail: Finer bars that carry the fills, in the form of `signal_bars`.
        funding: (time in ms, rate) pairs.
        trade_from: First signal bar whose signal may be used.

    Raises:
        ValueError: The quantity is less than one lot.
    """
    run = _Run(signal_bars, plan, rules, execution, quantity, detail, funding, trade_from)
    return run.all_bars()


class _Run:
    """The state of one run and one method per paragraph of the law."""

    def __init__(
        self,
        signal_bars: Mapping[str, Any],
        plan: Mapping[str, Any],
        rules: Mapping[str, Any],
        execution: Mapping[str, Any],
        quantity: float,
        detail: Mapping[str, Any] | None,
        funding: Sequence[tuple[int, float]],
        trade_from: int,
    ) -> None:
        self.signal_bars = signal_bars
        self.plan = plan
        self.rules = rules
        self.trade_from = trade_from
        self.funding = sorted(funding)
        self.source = signal_bars if detail is None else detail
        ratio = signal_bars["timeframe_ms"] // self.source["timeframe_ms"]

        self.slippage: float = execution["slippage"]
        self.leverage: float = execution["leverage"]
        self.fees: Mapping[str, float] = execution["fees"]
        self.tick: float = execution["tick_size"]
        self.lot: float = execution["lot_size"]
        self.touch_fills: bool = execution["limit_fill"] == "touch"
        self.reading: str = execution["intrabar"]
        # Section 4, volume cap: off where the whole data set has no volume, and where the user switches it off.
        self.has_volume = any(volume > 0 for volume in self.source["volume"])
        participation = execution["max_participation"]
        self.participation: float = math.inf if participation is None else participation

        self.quantity = self.floor_to_lot(quantity)
        if not self.quantity > 0:
            raise ValueError(f"quantity {quantity} is less than one lot of {self.lot}")

        # Section 4: a tier lasts its timeout in signal bars, times the ratio in execution bars.
        self.guarded = bool(rules["enable_hybrid_engine"])
        if rules["enable_hybrid_engine"]:
            self.tier_bars = {
                tier: rules[f"hybrid_tier{tier}_timeout"] * ratio if rules[f"enable_hybrid_tier{tier}"] else 0
                for tier in (1, 2, 3, 4)
            }
        else:
            self.tier_bars = {1: 0, 2: 0, 3: 0, 4: max(1, rules["hybrid_tier4_timeout"]) * ratio}
        chase = rules["max_chase_atr"]
        self.max_chase: float = math.inf if chase is None else chase
        own = rules["trailing_sl_atr_multiplier"]
        self.trailing_stop_multiplier: float = rules["atr_sl_multiplier"] if own is None else own

        self.initial_capital: float = execution["initial_capital"]
        self.cash: float = self.initial_capital
        self.position: Position | None = None
        self.work: Work | None = None
        self.programs: list[Program] = []
        self.fills: list[Fill] = []
        self.trades: list[Trade] = []
        self.marks: list[float] = []
        self.ruined = False

    # ------------------------------------------------------------------------------------------------ the bar loop

    def all_bars(self) -> ReferenceRun:
        bars = self.execution_bars()
        known_before = -1
        for bar in bars:
            signal, leave = 0, 0
            if bar.known != known_before:  # only what is new since the last execution bar
                signal, leave = self.news(bar.known)
            known_before = bar.known
            self.one_bar(bar, signal, leave)
            self.charge_funding(bar)
            if self.equity(bar.close) <= 0:
                # Section 7: equity <= 0 at a close ends the run.
                self.ruined = True
                self.stop_everything(bar, "ruined")
            elif bar.index == len(bars) - 1:
                # Section 6: at the end of the data an open position is closed at the last close.
                self.stop_everything(bar, "end_of_data")
            self.marks.append(self.equity(bar.close))
            if self.ruined:
                break
        return ReferenceRun(self.programs, self.fills, self.trades, self.curve(), self.cash, self.ruined)

    def execution_bars(self) -> list[Bar]:
        source = self.source
        quote = source.get("quote_volume")
        signal_times, span = self.signal_bars["time"], self.signal_bars["timeframe_ms"]
        bars = []
        known, inside = -1, -1
        for i in range(len(source["time"])):
            time = source["time"][i]
            # Section 1: k(i), the last signal bar that has closed at or before this open.
            while known + 1 < len(signal_times) and signal_times[known + 1] + span <= time:
                known += 1
            while inside + 1 < len(signal_times) and signal_times[inside + 1] <= time:
                inside += 1
            high, low, close, volume = source["high"][i], source["low"][i], source["close"][i], source["volume"][i]
            # Section 4, tier 3: quote volume / base volume where the data has it, else the typical price.
            if quote is not None and volume > 0 and quote[i] > 0:
                own_vwap = quote[i] / volume
            else:
                own_vwap = (high + low + close) / 3.0
            bars.append(Bar(i, source["open"][i], high, low, close, volume, own_vwap, known, inside))
        return bars

    def news(self, s: int) -> tuple[int, int]:
        """The entry signal and the strategy exit that the close of signal bar s brings."""
        if s < self.trade_from:
            return 0, 0
        signal = self.plan["entry"][s]
        forbidden = (signal > 0 and not self.rules["allow_long"]) or (signal < 0 and not self.rules["allow_short"])
        if forbidden or math.isnan(self.plan["risk"][s]):
            signal = 0
        return signal, self.plan["exit"][s]

    def one_bar(self, bar: Bar, signal: int, leave: int) -> None:
        carried = self.position is not None
        may_start = True

        # Section 4: an opposite signal cancels what is left. It was known before this bar opened, so it is the cause
        # even where the bar then closes the position (worked run "thin_volume", its 20th program).
        if self.work is not None and signal == -self.work.record.side:
            self.end_program(bar, "reversed")
        elif self.work is not None and self.work.record.filled == 0 and leave in (self.work.record.side, 2):
            self.end_program(bar, "reversed")
            may_start = False  # what is left to start would be the side the strategy has just given up

        # Section 6: exits of the quantity carried into the bar come before any entry fill.
        if self.position is not None:
            side = self.position.side
            reason = self.exit_carried(bar, signal, leave)
            if reason:
                # After an exit no new program starts in this bar, but the opposite signal may after rule 0.
                may_start = reason in ("opposite_signal", "strategy_exit") and signal == -side
                carried = False  # a position from here on is a new one

        # Section 4: a signal, while flat and with no program at work, starts a program.
        if signal != 0 and self.position is None and self.work is None and may_start:
            self.start_program(bar, signal)

        place = ""
        if self.work is not None:
            self.advance_tier(bar)
        if self.work is not None and not self.chased(bar):
            place = self.fill_entry(bar)
            if place and self.position is not None:
                self.exit_after_fill(bar, place)
        if self.position is not None:
            self.update_levels(bar, carried, place)

    # ---------------------------------------------------------------------------------------------- entry, section 4

    def start_program(self, bar: Bar, signal: int) -> None:
        s = bar.known
        record = Program(
            signal_bar=s,
            start_bar=bar.index,
            end_bar=bar.index,
            arrival_price=self.signal_bars["close"][s],
            atr=self.plan["risk"][s],
            quantity=self.quantity,
            filled=0.0,
            entry_price=NAN,
            side=signal,
            outcome="",
            last_tier=0,
        )
        self.programs.append(record)
        self.work = Work(record, len(self.programs) - 1, self.quantity)

    def end_program(self, bar: Bar, outcome: str) -> None:
        assert self.work is not None
        self.work.record.outcome = outcome
        self.work.record.end_bar = bar.index
        self.work.record.last_tier = self.work.tier
        self.work = None

    def advance_tier(self, bar: Bar) -> None:
        """Go to the tier that works in this bar; past the last one the program stands down (tier 5)."""
        work = self.work
        assert work is not None
        if work.tier and work.bars_done < self.tier_bars[work.tier]:
            return
        later = [tier for tier in (1, 2, 3, 4) if tier > work.tier and self.tier_bars[tier] > 0]
        if not later:
            self.end_program(bar, "timeout")
            return
        work.tier, work.bars_done = later[0], 0
        if work.tier == 2:  # the limit is fixed when the tier starts
            d = work.record.side
            price = self.signal_bars["close"][bar.known] - d * self.rules["tier2_limit_offset_atr"] * work.record.atr
            work.limit = self.round_limit(price, d)

    def chased(self, bar: Bar) -> bool:
        """Chase guard, tiers 3 and 4: the market has run too far from the arrival price."""
        work = self.work
        assert work is not None
        if not self.guarded or work.tier not in (3, 4):
            return False
        run_away = work.record.side * (bar.open - work.record.arrival_price)
        if run_away > self.max_chase * work.record.atr:
            self.end_program(bar, "chase")
            return True
        return False

    def fill_entry(self, bar: Bar) -> str:
        """Let the tier work in this bar; says where in the bar it was filled, "" for no fill."""
        work = self.work
        assert work is not None
        entry = self.offer(bar, work)
        work.bars_done += 1
        if entry is None:
            return ""
        most = min(entry.most, work.rest)
        # Volume cap; a bar of zero volume fills no entry.
        if self.has_volume:
            if bar.volume <= 0:
                return ""
            most = min(most, self.participation * bar.volume)
        most = self.floor_to_lot(most)
        if most <= 0:
            return ""
        # Margin: the notional may not exceed equity * leverage, both at the fill price.
        room = self.floor_to_lot(self.margin_room(work.record.side, entry.price))
        if room <= 1e-9 * work.record.quantity:  # a billionth of the order is rounding, not room
            self.end_program(bar, "margin")
            return ""
        self.book_entry(bar, work, entry, min(most, room))
        if self.floor_to_lot(work.rest) <= 0:
            self.end_program(bar, "filled")
        return entry.place

    def offer(self, bar: Bar, work: Work) -> Entry | None:
        """What the tier's row of the table and the limit rules allow in this bar, before the caps."""
        d = work.record.side
        k = bar.known
        if work.tier == 1:
            limit = self.round_limit(self.plan["anchor"][k] * (1 + d * self.rules["ema_touch_tolerance"]), d)
            return self.limit_offer(bar, d, limit, first_bar=True)  # re-priced, so every bar is an order's first
        if work.tier == 2:
            return self.limit_offer(bar, d, work.limit, first_bar=work.bars_done == 0)
        if work.tier == 3:
            distance = d * (bar.open - self.plan["vwap"][k])
            if not distance <= self.rules["tier3_vwap_band_atr"] * work.record.atr:
                return None
            slice_quantity = work.rest / (self.tier_bars[3] - work.bars_done)
            return Entry(bar.own_vwap * (1 + d * self.slippage), bar.own_vwap, False, "slice", slice_quantity)
        return Entry(bar.open * (1 + d * self.slippage), bar.open, False, "open", work.rest)

    def limit_offer(self, bar: Bar, d: int, limit: float, first_bar: bool) -> Entry | None:
        """The limit rules of section 4."""
        if d * (bar.open - limit) <= 0:
            if first_bar:  # marketable at the open
                slipped = bar.open * (1 + d * self.slippage)
                price = min(slipped, limit) if d > 0 else max(slipped, limit)
                return Entry(price, bar.open, False, "open", math.inf)
            return Entry(limit, limit, True, "open", math.inf)  # the market came to a resting order
        depth = d * (bar.worst(d) - limit)
        if depth < 0 or (depth == 0 and self.touch_fills):  # traded through, or touched
            return Entry(limit, limit, True, "inside", math.inf)
        return None

    def margin_room(self, d: int, price: float) -> float:
        """Largest f with (q + f) * price <= leverage * equity, at this price."""
        held = self.position.quantity if self.position is not None else 0.0
        return self.leverage * self.equity(price) / price - held

    def book_entry(self, bar: Bar, work: Work, entry: Entry, amount: float) -> None:
        d = work.record.side
        fee = self.fee(d, entry.maker, entry.price * amount)
        position = self.position
        if position is None:
            position = Position(d, work.record.atr, work.number, bar.index, bar.signal_bar)
            position.best = position.best_seen = position.worst_seen = entry.price
            self.position = position
        position.quantity += amount
        position.cost += amount * entry.price
        alone = position.quantity == amount  # one fill's mean is its price, not that price times and over a quantity
        position.entry_price = entry.price if alone else position.cost / position.quantity
        position.fees += fee
        position.slippage += abs(entry.price - entry.reference) * amount
        self.cash -= fee
        work.rest -= amount
        work.record.filled += amount
        work.record.entry_price = position.entry_price
        self.fills.append(
            Fill(bar.index, work.number, entry.price, entry.reference, amount, fee, work.tier, d, entry.maker)
        )
        # Section 5: both levels follow the mean entry price after every entry fill.
        position.hard_stop = position.entry_price - d * self.rules["atr_sl_multiplier"] * position.atr
        if not position.target_dropped:
            target = position.entry_price + d * self.rules["atr_tp_multiplier"] * position.atr
            position.target = self.round_limit(target, -d)

    # ----------------------------------------------------------------------------------------------- exits, section 6

    def exit_carried(self, bar: Bar, signal: int, leave: int) -> str:
        """Rules 0 to 4 for the quantity carried into the bar; says the reason, "" for no exit."""
        position = self.position
        assert position is not None
        d = position.side
        # Rule 0, and the strategy's own exits, which act like it.
        if self.rules["exit_on_opposite_signal"] and signal == -d:
            return self.close_position(bar, bar.open, "opposite_signal")
        if leave in (d, 2):
            return self.close_position(bar, bar.open, "strategy_exit")
        stop = position.stop()
        if d * (bar.open - stop) <= 0:  # rule 1
            return self.close_position(bar, bar.open, position.stop_reason())
        if not position.target_dropped and d * (bar.open - position.target) >= 0:  # rule 2
            return self.close_position(bar, position.target, "take_profit")
        return self.exit_stop_or_target(bar)  # rules 3 and 4

    def exit_stop_or_target(self, bar: Bar) -> str:
        """Rules 3 and 4 for a position held from the bar's open on, with case (a) of the intrabar readings."""
        position = self.position
        assert position is not None
        d = position.side
        if d * (bar.open - position.stop()) <= 0:  # a fill at the open may find its stop already passed: out at once
            return self.close_position(bar, bar.open, position.stop_reason())
        stop_hit = d * (bar.worst(d) - position.stop()) <= 0
        target_hit = self.target_reached(bar)
        if stop_hit and target_hit:
            position.ambiguous = True
            if self.reading == "best":
                stop_hit = False
            elif self.reading == "path":
                stop_hit = bar.worst_comes_first(d)
        if stop_hit:
            return self.close_position(bar, position.stop(), position.stop_reason())
        if target_hit:
            return self.close_position(bar, position.target, "take_profit")
        return ""

    def exit_after_fill(self, bar: Bar, place: str) -> None:
        """What may still happen in the bar of an entry fill, to the whole position."""
        if place == "open":
            self.exit_stop_or_target(bar)
        elif place == "inside":
            self.exit_after_inside_fill(bar)
        # A slice: nothing more in this bar.

    def exit_after_inside_fill(self, bar: Bar) -> None:
        position = self.position
        assert position is not None
        d = position.side
        # The price had to pass the limit before it could reach the stop: the stop counts.
        stop_hit = d * (bar.worst(d) - position.stop()) <= 0
        target_touched = self.target_reached(bar)
        if stop_hit:
            if target_touched:
                # Case (a). Under `path` both orders end at the stop: down first, the stop follows the fill; up first,
                # the fill comes on the way down and the stop below it is next.
                position.ambiguous = True
            if target_touched and self.reading == "best":
                self.close_position(bar, position.target, "take_profit")
            else:
                self.close_position(bar, position.stop(), position.stop_reason())
        elif target_touched and d * (bar.close - position.target) > 0:
            # It closed beyond the target, so the extreme came after the fill.
            self.close_position(bar, position.target, "take_profit")
        elif target_touched:
            position.ambiguous = True  # case (b)
            if self.reading == "best" or (self.reading == "path" and bar.worst_comes_first(d)):
                self.close_position(bar, position.target, "take_profit")

    def target_reached(self, bar: Bar) -> bool:
        position = self.position
        assert position is not None
        if position.target_dropped:
            return False
        beyond = position.side * (bar.best(position.side) - position.target)
        return beyond > 0 or (beyond == 0 and self.touch_fills)

    def close_position(self, bar: Bar, reference: float, reason: str) -> str:
        """Out: a target at its own price as maker, everything else worsened by slippage as taker."""
        position = self.position
        assert position is not None
        d = position.side
        maker = reason == "take_profit"
        price = reference if maker else reference * (1 - d * self.slippage)
        fee = self.fee(-d, maker, price * position.quantity)
        gross = d * position.quantity * (price - position.entry_price)
        self.cash += gross - fee
        position.fees += fee
        position.slippage += abs(price - reference) * position.quantity
        position.see(price)
        self.trades.append(
            Trade(
                program=position.program,
                entry_bar=position.entry_bar,
                exit_bar=bar.index,
                entry_signal_bar=position.entry_signal_bar,
                exit_signal_bar=bar.signal_bar,
                quantity=position.quantity,
                entry_price=position.entry_price,
                exit_price=price,
                exit_reference=reference,
                initial_risk=self.rules["atr_sl_multiplier"] * position.atr,
                stop_price=position.stop(),
                target_price=NAN if position.target_dropped else position.target,
                best_price=position.best_seen,
                worst_price=position.worst_seen,
                fees=position.fees,
                slippage=position.slippage,
                funding=position.funding,
                gross_pnl=gross,
                net_pnl=gross - position.fees - position.funding,
                side=d,
                exit_reason=reason,
                exit_maker=maker,
                ambiguous=position.ambiguous,
            )
        )
        self.position = None
        if self.work is not None:  # an exit of the position cancels what is left
            self.end_program(bar, "position_closed")
        return reason

    # ---------------------------------------------------------------------------------------- levels, section 5

    def update_levels(self, bar: Bar, carried: bool, place: str) -> None:
        """Best price, trail and excursions at the end of a bar in which the position is still open."""
        position = self.position
        assert position is not None
        d, rules = position.side, self.rules
        held_from_open = carried or place == "open"
        latest = bar.best(d) if held_from_open else bar.close
        if d * (latest - position.best) > 0:
            position.best = latest

        # Section 8, excursions: only what the position provably saw.
        position.see(latest)
        if held_from_open or place == "inside":
            position.see(bar.worst(d))
        position.see(bar.close)

        def armed(threshold: float) -> bool:
            return bool(d * (position.best - position.entry_price * (1 + d * threshold)) >= 0)

        if rules["trailing_sl_enabled"] and armed(rules["trailing_sl_threshold"]):
            self.raise_trail(position, self.trailing_stop_multiplier, "trailing_stop")
        if rules["trailing_tp_enabled"] and armed(rules["trailing_tp_threshold"]):
            position.target_dropped = True
            self.raise_trail(position, rules["trailing_tp_atr_multiplier"], "trailing_take_profit")

    @staticmethod
    def raise_trail(position: Position, multiplier: float, kind: str) -> None:
        """A trail never loosens; it changes its name only when it strictly tightens."""
        level = position.best - position.side * multiplier * position.atr
        if position.trail is None or position.side * (level - position.trail) > 0:
            position.trail, position.trail_kind = level, kind

    # ----------------------------------------------------------------------------------------- money, section 7

    def fee(self, trade_side: int, maker: bool, notional: float) -> float:
        """Rate by side and liquidity, plus the per-order part min(flat, rate * notional)."""
        side = "buy" if trade_side > 0 else "sell"
        rate = self.fees[f"{side}_{'maker' if maker else 'taker'}"]
        return rate * notional + min(self.fees[f"{side}_order_flat"], self.fees[f"{side}_order_rate"] * notional)

    def equity(self, price: float) -> float:
        position = self.position
        if position is None:
            return self.cash
        return self.cash + position.side * position.quantity * (price - position.entry_price)

    def charge_funding(self, bar: Bar) -> None:
        """Every funding time after this bar's open and up to the next bar's open, on what is open at the end."""
        position, times = self.position, self.source["time"]
        if position is None or not self.funding:
            return
        opened = times[bar.index]
        last = bar.index == len(times) - 1
        closed = opened + self.source["timeframe_ms"] if last else times[bar.index + 1]
        for time, rate in self.funding:
            if opened < time <= closed:
                cost = position.side * position.quantity * bar.close * rate
                self.cash -= cost
                position.funding += cost

    def stop_everything(self, bar: Bar, reason: str) -> None:
        """The run ends at this bar's close: for the position and for a program at work."""
        if self.work is not None:
            self.end_program(bar, "end_of_data")
        if self.position is not None:
            self.close_position(bar, bar.close, reason)

    def curve(self) -> list[float]:
        """Equity at the closes of the signal bars from trade_from on, at the last execution bar inside each."""
        times, span = self.source["time"], self.signal_bars["timeframe_ms"]
        curve, i, mark = [], 0, self.initial_capital
        for t in range(len(self.signal_bars["time"])):
            while i < len(self.marks) and times[i] < self.signal_bars["time"][t] + span:
                mark = self.marks[i]
                i += 1
            if t >= self.trade_from:
                curve.append(mark)
        return curve

    # ------------------------------------------------------------------------------------------------- tick and lot

    def floor_to_lot(self, amount: float) -> float:
        if self.lot <= 0 or math.isinf(amount):
            return amount
        lots = math.floor(amount / self.lot + 1e-9)
        return lots * self.lot

    def round_limit(self, price: float, d: int) -> float:
        """A limit price on the tick, away from the market: a buy (d > 0) down, a sell up."""
        if self.tick <= 0 or not math.isfinite(price):
            return price
        steps = price / self.tick
        whole = math.floor(steps + 1e-9) if d > 0 else math.ceil(steps - 1e-9)
        return on_grid(whole, self.tick)
