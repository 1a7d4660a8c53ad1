"""A trade's story in words: what the documents of `telling` say, as a person would read it.

Bars in which the same tier met the same thing are one line, and so are the many small moves of a trail; the document
has each of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, TypeAlias

from barwise.report.text import counted, moment, money, number, price, words

Document: TypeAlias = Mapping[str, Any]

_MOST_MOVES = 3
_WHY = {
    "not_reached": "limit not reached",
    "touched": "limit touched, not traded through",
    "undefined": "its line is not defined",
    "outside_band": "open beyond the VWAP band",
    "no_volume": "no volume",
    "below_lot": "the volume cap left less than one lot",
    "margin": "no margin for it",
    "chase": "the market had run away",
    "timeout": "time was up",
}
_ENDED = {
    "filled": "all of it was filled",
    "timeout": "the tiers' time was up, and the rest was cancelled",
    "chase": "the market had run away, and the rest was cancelled",
    "margin": "the account had no margin for the rest",
    "reversed": "a signal against it cancelled the rest",
    "position_closed": "the position was closed, which cancelled the rest",
    "end_of_data": "the run ended, which cancelled the rest",
}
_CUT = {
    "volume": "the cap on the bar's volume allowed no more",
    "lot": "floored to the lot",
    "margin": "the account's margin allowed no more",
}


def told(story: Document) -> list[str]:
    """The story of one trade, as lines for a terminal."""
    trade, outcome = story["trade"], story["result"]
    head = f" trade {trade['trade_id']}   {_sized(trade)} {_market(story['market'])}"
    sections = (
        ("Signal", _signal(story["signal"])),
        ("Entry", _entry(story["entry"], story["signal"])),
        ("Levels", _levels(story["levels"])),
        ("Exit", _exit(story["exit"])),
        ("Result", _result(outcome)),
        ("Certainty", _certainty(story["certainty"])),
    )
    lines = [f"{head}   net {money(outcome['net_pnl'], signed=True)}   {_in_r(outcome['r'])}"]
    for name, sentences in sections:
        lines.append("")
        lines += [f" {name if not place else '':<11}{text}" for place, text in enumerate(sentences)]
    return lines


def told_overview(overview: Document) -> list[str]:
    """All trades of a run, one line each, and the programs that did not become one."""
    trades, missed = overview["trades"], overview["missed"]
    lines = [f" {_market(overview['market'])}   {counted(len(trades), 'trade')}, times in UTC"]
    lines += [
        f" {trade['trade_id']:>5}  {_at(trade['entry_time'])} .. {_at(trade['exit_time'])}  {trade['side']:<5}  "
        f"{price(trade['quantity'])} at {price(trade['entry_price'])} -> {price(trade['exit_price'])}  "
        f"tier {'+'.join(map(str, trade['tiers']))}  {words(trade['exit_reason'])}  "
        f"net {money(trade['net_pnl'], signed=True)}  {_in_r(trade['r'])}{'  ambiguous' if trade['ambiguous'] else ''}"
        for trade in trades
    ]
    if missed:
        lines += ["", f" {counted(len(missed), 'program')} without a trade"]
        lines += [
            f" {program['program_id']:>5}  {_at(program['signal_time'])} .. {_at(program['end_time'])}  "
            f"{program['side']:<5}  {words(program['outcome'])}: {_met(program['tiers'])}"
            for program in missed
        ]
    return lines


def _met(tiers: Iterable[Document]) -> str:
    return "; ".join(map(_tier_met, tiers)) or "before a tier could work"


def _tier_met(tier: Document) -> str:
    met = ", ".join(_WHY[why] if len(tier["why"]) == 1 else f"{_WHY[why]} ({n})" for why, n in tier["why"].items())
    return f"tier {tier['tier']} {counted(tier['bars'], 'bar')}: {met}" if tier["tier"] < 5 else met


def _market(market: Document) -> str:
    name = " ".join(part for part in (market["exchange"], market["symbol"], market["timeframe"]) if part)
    finer = market["execution_timeframe"]
    detail = f", fills in {finer} bars" if finer != market["timeframe"] else ""
    return f"{name}{' SYNTHETIC' if market['synthetic'] else ''}{detail}, {market['strategy']}"


def _sized(trade: Document) -> str:
    return f"{trade['side']} {price(trade['quantity'])}"


def _at(time: str) -> str:
    return moment(datetime.fromisoformat(time))


def _in_r(value: float | None) -> str:
    return f"{number(value, 2, signed=True)} R"


def _signal(signal: Document) -> Iterator[str]:
    yield (
        f"{_at(signal['time'])} UTC, {signal['side']}, at a close of {price(signal['close'])}; "
        f"the risk unit is {price(signal['risk_unit'])}"
    )
    long = signal["side"] == "long"
    for found in signal["conditions"]:
        if found["condition"] == "crossing":
            fast, slow = found["ema_fast"], found["ema_slow"]
            yield (
                f"EMA({fast['period']}) crossed {'above' if long else 'below'} EMA({slow['period']}): "
                f"{price(fast['value'])} and {price(slow['value'])}, the bar before {price(fast['before'])} and "
                f"{price(slow['before'])}"
            )
        elif found["condition"] == "trend":
            trend = found["ema_trend"]
            yield f"the close is {'above' if long else 'below'} EMA({trend['period']}), {price(trend['value'])}"
        else:
            yield (
                f"the {'lowest' if long else 'highest'} RSI({found['period']}) of {found['lookback']} bars is "
                f"{number(found['extreme'], 1)}, at or {'below' if long else 'above'} {number(found['threshold'], 1)}"
            )
    lines = signal["lines"]
    yield f"tier 1's line is at {price(lines['anchor'])}, VWAP at {price(lines['vwap'])}"


def _entry(entry: Document, signal: Document) -> Iterator[str]:
    long = signal["side"] == "long"
    for (tier, why, filled), group in groupby(entry["steps"], lambda s: (s["tier"], s["why"], s["fill"] is not None)):
        steps = list(group)
        if filled:
            yield from (f"tier {tier}, {step['name']}, {_at(step['time'])}: {_filled(step)}" for step in steps)
            continue
        span = _at(steps[0]["time"])
        if len(steps) > 1:
            span += f" .. {_at(steps[-1]['time'])}, {counted(len(steps), 'bar')}"
        yield f"tier {tier}, {steps[0]['name']}, {span}: {_unfilled(why, steps, long)}"
    shortfall = entry["shortfall_bp"]
    yield (
        f"{price(entry['filled_quantity'])} of {price(entry['quantity'])} at a mean of {price(entry['entry_price'])}, "
        f"{number(abs(shortfall), 1)} bp {'worse' if shortfall > 0.0 else 'better'} than the signal's close: "
        f"{_ENDED[entry['outcome']]}"
    )


def _filled(step: Document) -> str:
    fill, tier = step["fill"], step["tier"]
    text = f"{price(fill['quantity'])} filled at {price(fill['price'])}, {fill['liquidity']}, fee {money(fill['fee'])}"
    if tier <= 2:
        text = f"limit {price(step['limit'])}; {text}"
        text += ", it came to the resting order" if fill["liquidity"] == "maker" else ", the open was already there"
    if fill["price"] != fill["reference"]:
        text += f" ({price(fill['reference'])} before slippage)"
    return f"{text}; {price(fill['wanted'])} was wanted: {_CUT[fill['cut']]}" if fill["cut"] else text


def _unfilled(why: str, steps: list[Document], long: bool) -> str:
    last = steps[-1]
    if why in ("not_reached", "outside_band"):
        side = 1.0 if long else -1.0
        nearest = min(steps, key=lambda step: side * (step["seen"] - step["limit"]))
        if why == "not_reached":
            extreme = "low" if long else "high"
            return f"limit {_range(steps)} not reached; the nearest {extreme} was {price(nearest['seen'])}"
        return f"opened {'above' if long else 'below'} {_range(steps)}, the edge of the VWAP band"
    if why == "touched":
        return f"limit {_range(steps)} touched but not traded through, which is no fill"
    if why == "chase":
        beyond = f"{'above' if long else 'below'} {price(last['limit'])}"
        return f"opened at {price(last['seen'])}, {beyond}, too far from the signal's close: stood down"
    return _WHY[why]


def _range(steps: list[Document]) -> str:
    limits = [step["limit"] for step in steps]
    low, high = price(min(limits)), price(max(limits))
    return low if low == high else f"{low} .. {high}"


def _levels(levels: Iterable[Document]) -> Iterator[str]:
    had_target = True
    for cause, group in groupby(levels, lambda level: level["cause"]):
        moves = list(group)
        if cause == "fill":
            yield from (
                f"{_at(move['time'])}: entry {price(move['entry_price'])}, stop {price(move['stop'])}, "
                f"{_target(move['target'])}"
                for move in moves
            )
            continue
        shown = moves if len(moves) <= _MOST_MOVES else [moves[0], moves[-1]]
        for place, move in enumerate(shown):
            dropped = had_target and move["target"] is None
            had_target = move["target"] is not None
            skipped = f", after {len(moves) - 2} more moves" if place and len(shown) < len(moves) else ""
            now = f"the stop is {price(move['stop'])} ({words(cause)})"
            if cause == "target_dropped":
                now = f"the stop stays at {price(move['stop'])}"
            yield (
                f"{_at(move['time'])}: best price {price(move['best'])}{skipped}; from the next bar on {now}"
                f"{' and the target is dropped' if dropped else ''}"
            )


def _target(target: float | None) -> str:
    return "no target" if target is None else f"target {price(target)}"


def _exit(leave: Document) -> Iterator[str]:
    reason, reference = leave["reason"], leave["reference"]
    if reason in ("stop_loss", "trailing_stop", "trailing_take_profit"):
        opened = (
            f", and the bar opened beyond it at {price(reference)}" if reference != leave["stop"] else " was reached"
        )
        text = f"the stop at {price(leave['stop'])}{opened}"
    elif reason == "take_profit":
        text = f"the target at {price(leave['target'])} was reached"
    else:
        text = {
            "opposite_signal": "an opposite signal",
            "strategy_exit": "the strategy's own exit",
            "end_of_data": "the data ended",
            "ruined": "the equity was used up",
        }[reason] + f", at a price of {price(reference)}"
    yield f"{_at(leave['time'])}, {words(reason)}: {text}; {counted(leave['bars_held'], 'bar')} held"
    yield (
        f"out at {price(leave['price'])}, {leave['liquidity']}, slippage {money(leave['slippage'])}, "
        f"fee {money(leave['fee'])}"
    )


def _result(result: Document) -> Iterator[str]:
    yield (
        f"gross {money(result['gross_pnl'], signed=True)} (slippage of {money(result['slippage'])} in it), fees "
        f"{money(result['fees'])}, funding {money(result['funding'], signed=True)}: net "
        f"{money(result['net_pnl'], signed=True)}"
    )
    yield f"the risk was {money(result['risk'])}, so that is {_in_r(result['r'])}"
    yield f"at most {money(result['mfe'], signed=True)} ahead and {money(result['mae'], signed=True)} behind"


def _certainty(certainty: Document) -> Iterator[str]:
    if not certainty["ambiguous"]:
        yield "no bar left the order of its events open; every reading gives the same trade"
        return
    bars = ", ".join(map(_at, certainty["bars"]))
    yield f"ambiguous: the order of events is open in {bars}; read as {certainty['reading']}"
    for other in certainty["other_readings"]:
        if other["same"]:
            yield f"read as {other['reading']}: the same"
        else:
            yield (
                f"read as {other['reading']}: {words(other['exit_reason'])} at {price(other['exit_price'])}, "
                f"{_at(other['exit_time'])}, net {money(other['net_pnl'], signed=True)} "
                f"({money(other['difference'], signed=True)})"
            )
