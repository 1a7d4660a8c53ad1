"""Two manifests of what should be one search: where does it begin to differ?

As for a backtest, the order of the questions is that of cause and effect: the manifest itself, the data, the
configuration; then the search event by event, which is the order of its work; then the backtests it ended with. Trials,
windows, shuffled markets and backtests are compared to the bit. Statistics made of them are sums that another processor
may add up in another order: where no more than their last digits differ, that is a note and no difference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from barwise.data.candles import Candles
from barwise.data.quality import counted
from barwise.manifest.comparison import (
    UNREADABLE,
    Difference,
    Verification,
    code_notes,
    damaged,
    inputs_compared,
    leaves,
    outcome_compared,
    shown,
)
from barwise.manifest.record import Manifest

# Two statistics nearer than this share of themselves differ in the order in which they were added up.
_LAST_DIGITS = 1e-9


def compare_searches(
    recorded: Manifest, now: Manifest, candles: Candles, detail: Candles | None = None
) -> Verification:
    """What is not the same in the manifest of a search on record and in that of the same search done again.

    Args:
        recorded: The manifest on record.
        now: That of today.
        candles, detail: What today's search was made from, for the times of its bars.

    Raises:
        CheckpointError: The manifest on record is damaged.
    """
    try:
        notes = list(code_notes(recorded, now))
        differences = [
            *inputs_compared(recorded, now, candles, detail),
            *_of_backtests(_whole(recorded, "baseline"), _whole(now, "baseline"), candles),
            *_of_events(recorded["events"], now["events"], notes),
            *_of_backtests(
                _whole(recorded, "optimized") | recorded["backtests"], _whole(now, "optimized") | now["backtests"],
                candles,
            ),
        ]  # fmt: skip
        backtests = {**_whole(now, "baseline"), **_whole(now, "optimized"), **now["backtests"]}.values()
        return Verification(
            len(recorded["events"]["rows"]) + sum(len(one["events"]["rows"]) for one in backtests),
            sum(int(one["equity"]["bars"]) for one in backtests),
            tuple(differences),
            tuple(notes),
        )
    except UNREADABLE as error:
        raise damaged(error) from error


def _whole(manifest: Manifest, name: str) -> dict[str, Any]:
    """A backtest whose whole manifest stands in that of a run, by its name; empty where there is none."""
    found = manifest.get(name)
    return {} if found is None else {name: found}


def _of_backtests(recorded: Mapping[str, Any], now: Mapping[str, Any], candles: Candles) -> Iterator[Difference]:
    """What is not the same in the first backtest that differs."""
    for name in (*recorded, *(name for name in now if name not in recorded)):
        if name not in recorded or name not in now:
            had, has = ("there" if name in side else "not there" for side in (recorded, now))
            text = f"the backtest called {name} was {had} and is {has}."
            yield Difference("event", text, None, name, had, has)
            return
        was, found = recorded[name], now[name]
        differences = list(outcome_compared(was, found, candles))
        changed = next(
            ((key, a, b) for key, a, b in leaves(was["configuration"], found["configuration"]) if a != b), None
        )
        if changed is not None:
            key, before, after = changed
            text = f"{key} was {shown(before)} and is {shown(after)}."
            differences.append(Difference("configuration", text, None, key, before, after))
        if differences:
            yield from (replace(one, text=f"the backtest called {name}: {one.text}") for one in differences)
            return


def _of_events(recorded: Mapping[str, Any], now: Mapping[str, Any], notes: list[str]) -> Iterator[Difference]:
    """The first event that is another; statistics that differ in their last digits go to the notes."""
    old, new = recorded["rows"], now["rows"]
    total = f"of {counted(len(old), 'event')} on record"
    was, found = _Search(recorded), _Search(now)
    near: list[str] = []
    for at, (row, again) in enumerate(zip(old, new, strict=False)):
        before, after = was.event(row), found.event(again)
        if row == again and before == after:
            continue
        name = f"event {at + 1:,} {total}, {_named(row[0], before)}"
        if _named(row[0], before) != _named(again[0], after):
            text = f"{name}: there is {_named(again[0], after)} in its place."
            yield Difference("event", text, _time(before), "event", _named(row[0], before), _named(again[0], after))
            break
        if row[0] == "figure" and _is_near(before["value"], after["value"]):
            near.append(_named("figure", before))
            continue
        field, one, other = next((leaf for leaf in leaves(before, after) if leaf[1] != leaf[2]), ("", None, None))
        text = f"{name}: {field.rpartition('.')[2]} was {shown(one)} and is {shown(other)}."
        yield Difference("event", text, _time(before), field, one, other)
        break
    else:
        yield from _of_length(was, found, total)
    if near:
        notes.append(
            f"of {counted(len(near), 'statistic')} the last digits differ, as where sums are added up in another "
            f"order: {near[0]} is the first."
        )


def _of_length(was: "_Search", found: "_Search", total: str) -> Iterator[Difference]:
    """The first event that one search has and the other has not, both being the same as far as both go."""
    old, new = len(was.rows), len(found.rows)
    if old > new:
        event = was.event(was.rows[new])
        name = _named(was.rows[new][0], event)
        text = f"event {new + 1:,} {total}, {name}: it does not happen any more."
        yield Difference("event", text, _time(event), "event", name, None)
    elif new > old:
        event = found.event(found.rows[old])
        name = _named(found.rows[old][0], event)
        yield Difference("event", f"after the last {total} there is {name}.", _time(event), "event", None, name)


class _Search:
    """The events of a search, read in their order: the trials of a stage are named by the box before them."""

    def __init__(self, events: Mapping[str, Any]) -> None:
        self.rows: Sequence[Sequence[Any]] = events["rows"]
        self._fields: Mapping[str, Sequence[str]] = events["fields"]
        self._parameters: Sequence[str] = ()
        self._objectives: Sequence[str] = ()

    def event(self, row: Sequence[Any]) -> dict[str, Any]:
        """An event by the names of its values, parameters and objectives by their own names."""
        event = dict(zip(self._fields[row[0]], row[1:], strict=True))
        if row[0] == "search":
            self._parameters, self._objectives = list(event["box"]), event["objectives"]
        elif row[0] == "trial":
            event["parameters"] = dict(zip(self._parameters, event["parameters"], strict=True))
            event["values"] = dict(zip(self._objectives, event["values"], strict=True))
        return event


def _named(kind: str, event: Mapping[str, Any]) -> str:
    """`trial 17 of stage 7.1 of the optimization`."""
    match kind:
        case "search":
            return f"the box of stage {event['stage']} of the {event['of']}"
        case "trial":
            return f"trial {event['number']:,} of stage {event['stage']} of the {event['of']}"
        case "choice":
            return f"the choice of stage {event['stage']} of the {event['of']}"
        case "window":
            return f"window {event['number']:,} of the walk-forward"
        case "market":
            number = event["number"]
            return f"shuffled market {number:,}" if number else "the real market beside the shuffled ones"
        case "figure":
            return f"{event['name']} of the {event['of']}"
        case _:
            return f"the {kind}"


def _time(event: Mapping[str, Any]) -> str | None:
    """When a window begins to trade; nothing else of a search has a time of the market."""
    return event.get("oos_start")


def _is_near(one: Any, other: Any) -> bool:
    """Whether two statistics are the same but for the order in which they were added up."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_near(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_near, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _LAST_DIGITS * max(abs(one), abs(other))
    return bool(one == other)
