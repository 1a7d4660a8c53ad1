"""One entry program and its position done again in plain Python, to see what the records leave out.

Records say what was filled and when a position was closed. They do not say at which limit a tier waited in a bar where
nothing was filled, or when a trail moved. Both follow from the bars, the plan's lines and the parameters, by
docs/execution.md; a comment names the section. What is derived here is compared with the records before it is told:
a story that does not end where the run ended is an error and no story.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from barwise.core.layout import Exit, Intrabar, Outcome
from barwise.core.rules import NEITHER, STOP, away_from_market, floor_to_step, order_fee, read_bar
from barwise.errors import BacktestError
from barwise.result import BacktestResult

# Below this share of the order a rest is rounding (section 4, as the kernel has it).
_DUST = 1e-9
# Cash after an exit at the open a program starts at is worked out here in other steps than the kernel's.
_RELATIVE = 1e-9
_AT_OPEN, _AT_LIMIT, _SLICE = "open", "limit", "slice"
_PRICES = ("entry_price", "exit_price", "exit_reference", "stop_price", "target_price", "best_price", "worst_price")
_MONEY = ("fees", "slippage", "funding", "gross_pnl", "net_pnl")


@dataclass(frozen=True)
class Filled:
    """What one execution bar filled.

    Attributes:
        price, reference: With and without slippage.
        wanted: What the tier asked for; more than `quantity` where `cut` says why: volume | margin | lot.
    """

    price: float
    reference: float
    quantity: float
    maker: bool
    fee: float
    wanted: float
    cut: str


@dataclass(frozen=True)
class Step:
    """What an entry program did in one execution bar.

    Attributes:
        bar: Execution bar.
        tier: 1 .. 5.
        limit: The price it could pay at most (a short: take at least): of the order in tiers 1 and 2, of the band in
            tier 3, of the chase guard in tier 4. NaN where there is none.
        seen: What was compared with it: the bar's most adverse extreme in tiers 1 and 2, else its open.
        why: filled | not_reached | touched | undefined | outside_band | no_volume | below_lot | margin | chase |
            timeout.
        fill: What was filled, or None.
    """

    bar: int
    tier: int
    limit: float
    seen: float
    why: str
    fill: Filled | None = None


@dataclass(frozen=True)
class Levels:
    """Where stop and target stood after something had changed them.

    Attributes:
        bar: Execution bar of the change; after a fill they are in force in it, else from the next one on.
        cause: fill, or the trail that set the stop (trailing_stop | trailing_take_profit), or target_dropped where the
            stop stayed.
        entry_price: E, the mean so far.
        best: B, the best price the position had provably seen.
        stop, target: Target NaN where trailing had dropped it.
    """

    bar: int
    cause: str
    entry_price: float
    best: float
    stop: float
    target: float


@dataclass(frozen=True)
class Closed:
    """How the position was left; fields as in TRADE, `fee` is that of the exit alone."""

    entry_bar: int
    exit_bar: int
    exit_reason: str
    exit_maker: bool
    quantity: float
    entry_price: float
    exit_price: float
    exit_reference: float
    initial_risk: float
    stop_price: float
    target_price: float
    best_price: float
    worst_price: float
    fee: float
    fees: float
    slippage: float
    funding: float
    gross_pnl: float
    net_pnl: float


@dataclass
class Replay:
    """Everything one program did, in order of time; bars are execution bars.

    Attributes:
        outcome, end_bar: As in PROGRAM; outcome by name.
        unclear: Bars that left the order of their events open.
        closed: The trade that came of it, or None.
    """

    steps: list[Step] = field(default_factory=list)
    levels: list[Levels] = field(default_factory=list)
    unclear: list[int] = field(default_factory=list)
    outcome: str = ""
    end_bar: int = -1
    closed: Closed | None = None


def replay(result: BacktestResult, program: int, reading: Intrabar | None = None) -> Replay:
    """Do one program of a finished run again.

    Args:
        result: The run.
        program: Row of its PROGRAM records.
        reading: Of bars that leave the order of events open; None: that of the run. Another one starts from the same
            cash, so it says what this trade alone would have been.

    Raises:
        BacktestError: With the run's own reading something differs from the records.
    """
    told = _Run(result, program, reading).all_bars()
    if reading is None:
        _check(result, program, told)
    return told


class _Run:
    """The kernel's variables of one program and one position."""

    def __init__(self, result: BacktestResult, program: int, reading: Intrabar | None) -> None:
        self.told = Replay()
        self.market, self.plan, self.p = result.prepared.market, result.plan, result.params
        self.reading = int(self.p["intrabar"]) if reading is None else int(reading)
        self.slip, self.lot, self.tick = (float(self.p[name]) for name in ("slippage", "lot_size", "tick_size"))
        self.touch = bool(self.p["fill_on_touch"])
        self.last_bar = int(self.market.act[len(result.candles) - 1]) - 1
        record, trades = result.records.programs[program], result.records.trades
        self.start = int(record["start_bar"])
        # While flat the equity is the cash, to the bit.
        self.cash = float(result.equity_curve[int(record["signal_bar"]) - result.trade_from])
        earlier = trades[trades["program"] < program]
        if len(earlier) and int(earlier["exit_bar"][-1]) == self.start:
            self.cash += self._gained_at_open(result, earlier[-1])
        # The program.
        self.d, self.arrival, self.unit = float(record["side"]), float(record["arrival_price"]), float(record["atr"])
        self.order = self.rest = float(self.p["quantity"])
        self.working, self.tier, self.tier_left, self.fresh, self.tier2_limit = True, 0, 0, True, math.nan
        # The position.
        self.entry_bar, self.q, self.entry_price, self.cost = -1, 0.0, 0.0, 0.0
        self.first_stop, self.stop, self.target, self.best = 0.0, 0.0, math.nan, 0.0
        self.trail, self.trail_kind, self.dropped = -self.d * math.inf, Exit.TRAILING_STOP, False
        self.seen_best = self.seen_worst = self.fees = self.slippage = self.funding = 0.0

    def _gained_at_open(self, result: BacktestResult, trade: Any) -> float:
        """What cash was above the equity at the signal's close, where a position was left at the open after it."""
        last_close = float(self.market.close[self.start - 1])
        unrealised = float(trade["side"] * trade["quantity"] * (last_close - trade["entry_price"]))
        fills = result.records.fills
        entry_fees = float(fills["fee"][fills["program"] == trade["program"]].sum())
        return float(trade["gross_pnl"]) - (float(trade["fees"]) - entry_fees) - unrealised

    def all_bars(self) -> Replay:
        i = self.start
        while self.working or self.q > 0.0:
            self._one_bar(i)
            i += 1
        return self.told

    def _one_bar(self, i: int) -> None:
        k = int(np.searchsorted(self.market.act, i, side="right")) - 1  # section 1: k(i)
        carried, how = self.q > 0.0, ""
        if i > self.start and i == self.market.act[k]:
            entry, leave = self._news(k)
        else:  # a signal is new in one execution bar only, and that of the first bar is the program's own
            entry, leave = 0.0, False
        if carried:
            self._exit_carried(i, entry, leave)
        if self.working and (entry == -self.d or (self.q == 0.0 and leave)):
            self._end_program(i, Outcome.REVERSED)
        if self.working:
            how = self._work(i, k)
        if how in (_AT_OPEN, _AT_LIMIT) and self.q > 0.0:
            self._exit_after_fill(i, how)
        if self.q > 0.0:
            self._end_of_bar(i, carried or how == _AT_OPEN, how == _AT_LIMIT)
        ruined = self.q == 0.0 and self.cash <= 0.0
        if self.working and (ruined or i == self.last_bar):
            self._end_program(i, Outcome.END_OF_DATA)

    def _news(self, k: int) -> tuple[float, bool]:
        """The entry signal at the close of signal bar k, and whether the strategy leaves this side there."""
        assert self.plan.risk is not None
        entry = float(self.plan.entry[k])
        allowed = self.p["allow_long"] if entry > 0.0 else self.p["allow_short"]
        if not (allowed and self.plan.risk[k] >= 0.0):
            entry = 0.0
        return entry, int(self.plan.exit[k]) in (int(self.d), 2)

    def _bar(self, i: int) -> tuple[float, float, float, float]:
        """Open, most favourable extreme, most adverse extreme, close."""
        m = self.market
        high, low = float(m.high[i]), float(m.low[i])
        fav, adv = (high, low) if self.d > 0.0 else (low, high)
        return float(m.open[i]), fav, adv, float(m.close[i])

    # -- 4. Entry.

    def _work(self, i: int, k: int) -> str:
        """The tier at work in this bar, and how it filled: at the open, at its limit, in a slice, or "" not at all."""
        d, unit, o = self.d, self.unit, self._bar(i)[0]
        while self.tier_left == 0 and self.tier < 5:
            self.tier += 1
            self.fresh = True
            if self.tier < 5:
                self.tier_left = int(self.p[f"tier{self.tier}_bars"])
            if self.tier == 2:
                offset = float(self.p["tier2_limit_offset_atr"])
                self.tier2_limit = self._limit(float(self.market.signal_close[k]) - d * offset * unit)
        guard = float(self.p["max_chase_atr"]) * unit
        if self.tier == 5:
            return self._stand_down(i, math.nan, "timeout", Outcome.TIMEOUT)
        if self.tier >= 3 and d * (o - self.arrival) > guard:
            return self._stand_down(i, self.arrival + d * guard, "chase", Outcome.CHASE)
        tier, fresh, left = self.tier, self.fresh, self.tier_left
        self.fresh, self.tier_left = False, left - 1
        if tier <= 2:
            return self._rest_at_limit(i, k, fresh)
        if tier == 3:
            assert self.plan.vwap is not None
            vwap, band = float(self.plan.vwap[k]), float(self.p["tier3_vwap_band_atr"]) * unit
            limit = vwap + d * band
            if not d * (o - vwap) <= band:
                return self._step(i, limit, o, "undefined" if math.isnan(limit) else "outside_band")
            mean = float(self.market.mean[i])
            return self._take(i, limit, o, mean * (1.0 + d * self.slip), mean, self.rest / left, _SLICE)
        limit = self.arrival + d * guard if math.isfinite(guard) else math.nan
        return self._take(i, limit, o, o * (1.0 + d * self.slip), o, self.rest, _AT_OPEN)

    def _rest_at_limit(self, i: int, k: int, fresh: bool) -> str:
        """Tiers 1 and 2 by the limit rules."""
        d, (o, _, adv, _) = self.d, self._bar(i)
        limit = self.tier2_limit
        if self.tier == 1:
            assert self.plan.anchor is not None
            limit = self._limit(float(self.plan.anchor[k]) * (1.0 + d * float(self.p["ema_touch_tolerance"])))
        if d * (o - limit) <= 0.0:
            if self.tier == 2 and not fresh:  # the market came to a resting order: its own price, nothing better
                return self._take(i, limit, adv, limit, limit, self.rest, _AT_OPEN, maker=True)
            slipped = o * (1.0 + d * self.slip)
            return self._take(i, limit, adv, limit if d * (slipped - limit) > 0.0 else slipped, o, self.rest, _AT_OPEN)
        if d * (adv - limit) < 0.0 or (self.touch and adv == limit):
            return self._take(i, limit, adv, limit, limit, self.rest, _AT_LIMIT, maker=True)
        why = "undefined" if math.isnan(limit) else "touched" if adv == limit else "not_reached"
        return self._step(i, limit, adv, why)

    def _limit(self, price: float) -> float:
        return float(away_from_market(price, self.d > 0.0, self.tick))

    def _step(self, i: int, limit: float, seen: float, why: str, fill: Filled | None = None) -> str:
        self.told.steps.append(Step(i, self.tier, limit, seen, why, fill))
        return ""

    def _stand_down(self, i: int, limit: float, why: str, outcome: Outcome) -> str:
        self._step(i, limit, self._bar(i)[0], why)
        self._end_program(i, outcome)
        return ""

    def _take(
        self, i: int, limit: float, seen: float, price: float, reference: float, wanted: float, how: str,
        *, maker: bool = False,
    ) -> str:  # fmt: skip
        """Volume cap, lot and margin; then the fill."""
        v, want, cut = float(self.market.volume[i]), wanted, ""
        if not v > 0.0:
            return self._step(i, limit, seen, "no_volume")
        cap = float(self.p["max_participation"]) * v
        if want > cap:
            want, cut = cap, "volume"
        floored = float(floor_to_step(want, self.lot))
        if floored <= 0.0:
            return self._step(i, limit, seen, "below_lot")
        if floored < want * (1.0 - _RELATIVE):
            cut = cut or "lot"
        want = floored
        equity = self.cash + self.d * self.q * (price - self.entry_price)
        room = float(self.p["leverage"]) * equity / price - self.q
        if want > room:
            want, cut = float(floor_to_step(room, self.lot)), "margin"
            if want <= _DUST * self.order:
                return self._stand_down(i, limit, "margin", Outcome.MARGIN)
        want = min(want, self.rest)
        fee = float(order_fee(self.p, self.d > 0.0, maker, want * price))
        fill = Filled(price, reference, want, maker, fee, wanted, cut)
        self._step(i, limit, seen, "filled", fill)
        self._fill(i, fill)
        return how

    def _fill(self, i: int, fill: Filled) -> None:
        d, price, want = self.d, fill.price, fill.quantity
        self.cash -= fill.fee
        if self.q == 0.0:
            self.entry_bar, self.entry_price, self.cost = i, price, price * want
            self.best = self.seen_best = self.seen_worst = price
        else:
            self.cost += price * want
            self.entry_price = self.cost / (self.q + want)
        self.q += want
        self.rest -= want
        self.fees += fill.fee
        self.slippage += abs(price - fill.reference) * want
        # -- 5. Levels from the new mean entry price.
        self.first_stop = self.entry_price - d * float(self.p["atr_sl_multiplier"]) * self.unit
        self._set_stop()
        if not self.dropped:
            target = self.entry_price + d * float(self.p["atr_tp_multiplier"]) * self.unit
            self.target = float(away_from_market(target, d < 0.0, self.tick))
        self.told.levels.append(Levels(i, "fill", self.entry_price, self.best, self.stop, self.target))
        if self.rest <= _DUST * self.order or (self.lot > 0.0 and self.rest < 0.5 * self.lot):
            self._end_program(i, Outcome.FILLED)

    def _end_program(self, i: int, outcome: Outcome) -> None:
        self.working = False
        self.told.outcome, self.told.end_bar = outcome.name.lower(), i

    # -- 5. Levels.

    def _set_stop(self) -> None:
        self.stop = self.trail if self.d * (self.trail - self.first_stop) > 0.0 else self.first_stop

    def _end_of_bar(self, i: int, from_open: bool, at_limit: bool) -> None:
        """Best price, trails, funding, ruin and the end of the data for a position that is still open."""
        d, p, (_, fav, adv, c) = self.d, self.p, self._bar(i)
        seen, suffered = fav if from_open else c, adv if from_open or at_limit else c
        self.seen_best = seen if d * (seen - self.seen_best) > 0.0 else self.seen_best
        self.seen_worst = suffered if d * (suffered - self.seen_worst) < 0.0 else self.seen_worst
        self.best = seen if d * (seen - self.best) > 0.0 else self.best
        before, had_target = self.stop, not self.dropped
        for kind, name in ((Exit.TRAILING_STOP, "trailing_sl"), (Exit.TRAILING_TAKE_PROFIT, "trailing_tp")):
            armed = d * (self.best - self.entry_price * (1.0 + d * float(p[f"{name}_threshold"]))) >= 0.0
            if p[f"{name}_enabled"] and armed:
                if kind == Exit.TRAILING_TAKE_PROFIT:
                    self.dropped, self.target = True, math.nan
                level = self.best - d * float(p[f"{name}_atr_multiplier"]) * self.unit
                if d * (level - self.trail) > 0.0:
                    self.trail, self.trail_kind = level, kind
        self._set_stop()
        if self.stop != before:
            self.told.levels.append(
                Levels(i, self.trail_kind.name.lower(), self.entry_price, self.best, self.stop, self.target)
            )
        elif had_target and self.dropped:
            self.told.levels.append(Levels(i, "target_dropped", self.entry_price, self.best, self.stop, self.target))
        if self.market.funding.size:
            paid = d * self.q * c * float(self.market.funding[i])
            self.cash -= paid
            self.funding += paid
        if self.cash + d * self.q * (c - self.entry_price) <= 0.0:
            self._leave(i, Exit.RUINED, c)
        elif i == self.last_bar:
            self._leave(i, Exit.END_OF_DATA, c)

    # -- 6. Exit.

    def _exit_carried(self, i: int, entry: float, leave: bool) -> None:
        d, (o, fav, adv, c) = self.d, self._bar(i)
        outcome = Outcome.REVERSED if entry == -d else Outcome.POSITION_CLOSED
        if entry == -d and self.p["exit_on_opposite_signal"]:
            self._leave(i, Exit.OPPOSITE_SIGNAL, o, outcome=outcome)
        elif leave:
            self._leave(i, Exit.STRATEGY_EXIT, o, outcome=outcome)
        elif d * (o - self.stop) <= 0.0:
            self._leave(i, Exit.STOP_LOSS, o, outcome=outcome)
        elif d * (o - self.target) >= 0.0:
            self._leave(i, Exit.TAKE_PROFIT, self.target, maker=True, outcome=outcome)
        else:
            self._read(i, o, fav, adv, c, outcome, at_limit=False)

    def _exit_after_fill(self, i: int, how: str) -> None:
        o, fav, adv, c = self._bar(i)
        if how == _AT_OPEN and self.d * (o - self.stop) <= 0.0:  # opened beyond its own stop
            self._leave(i, Exit.STOP_LOSS, o)
        else:
            self._read(i, o, fav, adv, c, Outcome.POSITION_CLOSED, at_limit=how == _AT_LIMIT)

    def _read(self, i: int, o: float, fav: float, adv: float, c: float, outcome: Outcome, *, at_limit: bool) -> None:
        """Rules 3 and 4, and the readings of what the bar leaves open."""
        met, unclear = read_bar(self.d, o, fav, adv, c, self.stop, self.target, at_limit, self.touch, self.reading)
        if unclear:
            self.told.unclear.append(i)
        if met == STOP:
            self._leave(i, Exit.STOP_LOSS, self.stop, outcome=outcome)
        elif met != NEITHER:
            self._leave(i, Exit.TAKE_PROFIT, self.target, maker=True, outcome=outcome)

    def _leave(
        self, i: int, reason: Exit, reference: float, *, maker: bool = False, outcome: Outcome = Outcome.POSITION_CLOSED
    ) -> None:
        """Section 7: close the whole position, and with it what is left of the program."""
        d, q, entry_price = self.d, self.q, self.entry_price
        if reason == Exit.STOP_LOSS and self.stop != self.first_stop:
            reason = self.trail_kind
        price = reference if maker else reference * (1.0 - d * self.slip)
        fee = float(order_fee(self.p, d < 0.0, maker, q * price))
        gross, fees = d * q * (price - entry_price), self.fees + fee
        self.told.closed = Closed(
            entry_bar=self.entry_bar,
            exit_bar=i,
            exit_reason=reason.name.lower(),
            exit_maker=maker,
            quantity=q,
            entry_price=entry_price,
            exit_price=price,
            exit_reference=reference,
            initial_risk=float(self.p["atr_sl_multiplier"]) * self.unit,
            stop_price=self.stop,
            target_price=self.target,
            best_price=self.seen_best if d * (self.seen_best - price) > 0.0 else price,
            worst_price=self.seen_worst if d * (self.seen_worst - price) < 0.0 else price,
            fee=fee,
            fees=fees,
            slippage=self.slippage + abs(price - reference) * q,
            funding=self.funding,
            gross_pnl=gross,
            net_pnl=gross - fees - self.funding,
        )
        self.cash += gross - fee
        self.q = 0.0
        if self.working:
            self._end_program(i, outcome if reason < Exit.END_OF_DATA else Outcome.END_OF_DATA)


def _check(result: BacktestResult, program: int, told: Replay) -> None:
    """Every value that the records have too must be theirs.

    Raises:
        BacktestError: One is not.
    """
    records = result.records
    record, own = records.programs[program], records.fills[records.fills["program"] == program]
    fills = [step for step in told.steps if step.fill is not None]
    _same(program, "outcome", Outcome(int(record["outcome"])).name.lower(), told.outcome)
    _same(program, "last bar", int(record["end_bar"]), told.end_bar)
    _same(program, "number of fills", len(own), len(fills))
    for step, fill in zip(fills, own, strict=True):
        assert step.fill is not None
        for name, value in (("bar", step.bar), ("tier", step.tier), ("maker", step.fill.maker)):
            _same(program, f"{name} of a fill", int(fill[name]), int(value))
        # What the margin leaves is a small difference of large amounts, so it is compared on the order's scale.
        order = float(record["quantity"])
        for name, scale in (("price", 0.0), ("reference", 0.0), ("quantity", order), ("fee", order * step.fill.price)):
            _close(program, f"{name} of a fill", fill[name], getattr(step.fill, name), scale)
    traded = records.trades[records.trades["program"] == program]
    _same(program, "number of trades", len(traded), int(told.closed is not None))
    if told.closed is None:
        return
    trade, closed = traded[0], told.closed
    _same(program, "exit reason", Exit(int(trade["exit_reason"])).name.lower(), closed.exit_reason)
    _same(program, "ambiguity", bool(trade["ambiguous"]), bool(told.unclear))
    for name in ("entry_bar", "exit_bar", "exit_maker"):
        _same(program, name, int(trade[name]), int(getattr(closed, name)))
    for name in ("quantity", "initial_risk", *_PRICES):
        _close(program, name, trade[name], getattr(closed, name), 0.0)
    for name in _MONEY:  # differences of amounts as large as the position
        _close(program, name, trade[name], getattr(closed, name), closed.quantity * closed.entry_price)


def _same(program: int, name: str, recorded: Any, derived: Any) -> None:
    if recorded != derived:
        raise BacktestError(
            f"the {name} of program {program} is {recorded} on record, and {derived} when the program is done again.",
            hint="this is a defect of barwise; please report it with the manifest of the run.",
        )


def _close(program: int, name: str, recorded: Any, derived: float, scale: float) -> None:
    recorded = float(recorded)
    both_undefined = math.isnan(recorded) and math.isnan(derived)
    if not (both_undefined or math.isclose(recorded, derived, rel_tol=_RELATIVE, abs_tol=_RELATIVE * scale)):
        _same(program, name, recorded, derived)
