"""Two manifests of what should be one run: is it the same, and if not, where does it begin to differ?

The order of the questions is that of cause and effect: the manifest itself, the data, the configuration; then the
events in order of time, the equity bar by bar, the headline. Code and libraries are told as a note, because another
version that gives the same numbers to the bit is no difference; where the numbers differ, the note is the likely cause.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from barwise.data.candles import Candles
from barwise.data.quality import counted, utc_text
from barwise.errors import CheckpointError
from barwise.manifest.record import TIME_OF, Manifest, digest_of, equity_of, unpacked

# What a value of another type than expected raises, wherever it is used.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        part: manifest | data | configuration | event | equity | metrics.
        text: In a sentence.
        time: Of the event, or the open of the bar, ISO 8601; None where it has none.
        field: Which value; "" where it is not one.
        was, now: The value on record and that of today; None where there is none.
    """

    part: str
    text: str
    time: str | None = None
    field: str = ""
    was: Any = None
    now: Any = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Verification:
    """What `barwise verify` found.

    Attributes:
        events, bars: How many were compared.
        differences: The first of each part, in order of cause and effect; empty where the run is the same to the bit.
        notes: What is not the same and changed nothing, or may have caused the differences.
    """

    events: int
    bars: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """The run is the same to the bit."""
        return not self.differences

    @property
    def first_event(self) -> Difference | None:
        """The first event that differs, or None."""
        return next((difference for difference in self.differences if difference.part == "event"), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "same": self.same,
            "events": self.events,
            "bars": self.bars,
            "differences": [asdict(difference) for difference in self.differences],
            "first_event": None if self.first_event is None else asdict(self.first_event),
            "notes": list(self.notes),
        }


def compare(recorded: Manifest, now: Manifest, candles: Candles, detail: Candles | None = None) -> Verification:
    """What is not the same in the manifest on record and in that of the same run done again.

    Args:
        recorded: The manifest on record.
        now: That of today.
        candles, detail: What today's run was made from, for the times of its bars.

    Raises:
        CheckpointError: The manifest on record is damaged.
    """
    try:
        differences = (
            *inputs_compared(recorded, now, candles, detail),
            *outcome_compared(recorded, now, candles),
        )
        return Verification(
            len(recorded["events"]["rows"]), int(now["equity"]["bars"]), differences, tuple(code_notes(recorded, now))
        )
    except UNREADABLE as error:
        raise damaged(error) from error


def damaged(error: Exception) -> CheckpointError:
    """That a manifest cannot be read, and why."""
    return CheckpointError(
        f"the manifest is damaged: {type(error).__name__}, {error}.", hint="take a copy of it, or do the run again."
    )


def inputs_compared(
    recorded: Manifest, now: Manifest, candles: Candles, detail: Candles | None
) -> Iterator[Difference]:
    """What is not the same in the manifest itself and in what the run was made from."""
    yield from _of_manifest(recorded)
    yield from _of_candles("candles", recorded["data"], now["data"], candles)
    yield from _of_candles("detail candles", recorded["data"], now["data"], detail)
    yield from _of_funding(recorded["data"], now["data"])
    yield from _of_configuration(recorded["configuration"], now["configuration"])


def outcome_compared(recorded: Mapping[str, Any], now: Mapping[str, Any], candles: Candles) -> Iterator[Difference]:
    """What is not the same in what came out of one backtest."""
    yield from _of_events(recorded["events"], now["events"])
    yield from _of_equity(recorded, now, candles)
    yield from _of_metrics(recorded["metrics"], now["metrics"])


def _of_manifest(recorded: Manifest) -> Iterator[Difference]:
    was, now = recorded.get("digest"), digest_of(recorded)
    if was != now:
        yield Difference(
            "manifest",
            "the manifest was changed after it was written: its hash does not fit.",
            None,
            "digest",
            was,
            now,
        )


def _of_candles(
    name: str, recorded: Mapping[str, Any], now: Mapping[str, Any], candles: Candles | None
) -> Iterator[Difference]:
    part = name.partition(" ")[0]
    was, found = recorded[part], now[part]
    if was is None or found is None or candles is None:
        if was is not found:
            had, has = ("none" if side is None else side["market"] for side in (was, found))
            yield Difference("data", f"the {name} were {had} and are {has}.", None, part, had, has)
        return
    if was["fingerprint"] == found["fingerprint"]:
        return
    before, after = was["fingerprint"], found["fingerprint"]
    old, new = unpacked(was["marks"], "<u4"), unpacked(found["marks"], "<u4")
    both = min(old.size, new.size)
    changed = np.flatnonzero(old[:both] != new[:both])
    time = None
    if was["market"] != found["market"]:
        where = f"they were of {was['market']} and are of {found['market']}"
    elif changed.size or old.size != new.size:
        bar = int(changed[0]) if changed.size else both
        time = _iso(candles, bar)
        opens = f"which opens at {utc_text(int(candles.time[bar]))}" if time else "which is not there any more"
        where = f"the first bar that differs is number {bar:,} of {old.size:,}, {opens}"
        where += "" if old.size == new.size else f"; there are {new.size:,} bars now"
    else:
        where = "no bar is known that differs"
    text = f"the {name} have changed: their fingerprint was {before} and is {after}; {where}."
    yield Difference("data", text, time, part, before, after)


def _of_funding(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    was, found = (None if part["funding"] is None else part["funding"]["fingerprint"] for part in (recorded, now))
    if was != found:
        text = f"the funding settlements have changed: their fingerprint was {was} and is {found}."
        yield Difference("data", text, None, "funding", was, found)


def _of_configuration(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """The first setting that is another; it can only be one that the inputs and the code decide, such as a fee."""
    for name, was, found in leaves(recorded, now):
        if was != found:
            text = f"{name} of the configuration was {shown(was)} and is {shown(found)}."
            yield Difference("configuration", text, None, name, was, found)
            return


def _of_events(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """The first event that is another."""
    old, new = recorded["rows"], now["rows"]
    total = f"of {counted(len(old), 'event')} on record"
    for at, (row, again) in enumerate(zip(old, new, strict=False)):
        if row == again and recorded["fields"][row[0]] == now["fields"][row[0]]:
            continue
        was, found = _event(recorded, row), _event(now, again)
        time = str(was[TIME_OF[row[0]]])
        name = f"event {at + 1:,} {total}, {_named(row[0], was)}"
        if row[0] != again[0]:
            text = f"{name}: there is {_named(again[0], found)} in its place."
            yield Difference("event", text, time, "event", row[0], again[0])
            return
        field = next((key for key in (*was, *found) if was.get(key, _ABSENT) != found.get(key, _ABSENT)), "")
        if field:
            text = f"{name}: {field} was {shown(was.get(field))} and is {shown(found.get(field))}."
            yield Difference("event", text, time, field, was.get(field), found.get(field))
            return
    if len(old) > len(new):
        row = old[len(new)]
        was = _event(recorded, row)
        text = f"event {len(new) + 1:,} {total}, {_named(row[0], was)}: it does not happen any more."
        yield Difference("event", text, str(was[TIME_OF[row[0]]]), "event", row[0], None)
    elif len(new) > len(old):
        row = new[len(old)]
        found = _event(now, row)
        text = f"after the last {total} there is {_named(row[0], found)}."
        yield Difference("event", text, str(found[TIME_OF[row[0]]]), "event", None, row[0])


def _event(events: Mapping[str, Any], row: list[Any]) -> dict[str, Any]:
    """An event by the names of its fields."""
    return dict(zip(events["fields"][row[0]], row[1:], strict=True))


def _named(kind: str, event: Mapping[str, Any]) -> str:
    """`the fill of program 4 at 2024-01-15 03:00 UTC`."""
    at = datetime.fromisoformat(str(event[TIME_OF[kind]]))
    owner = "" if kind == "program" else " of program"
    return f"the {event.get('side', '')} {kind}{owner} {event.get('program_id')} at {at:%Y-%m-%d %H:%M} UTC"


def _of_equity(recorded: Mapping[str, Any], now: Mapping[str, Any], candles: Candles) -> Iterator[Difference]:
    """The first bar whose equity is another, to the bit."""
    was, found = equity_of(recorded), equity_of(now)
    first = int(now["configuration"]["trade_from"])
    both = min(was.size, found.size)
    changed = np.flatnonzero(was[:both].view(np.uint64) != found[:both].view(np.uint64))
    if changed.size:
        bar = int(changed[0])
        before, after = float(was[bar]), float(found[bar])
        opens = utc_text(int(candles.time[first + bar]))
        text = f"equity at the close of the bar that opens at {opens} was {before!r} and is {after!r}."
        yield Difference("equity", text, _iso(candles, first + bar), "equity", _number(before), _number(after))
    elif was.size != found.size:
        text = f"equity is there for {found.size:,} bars and was for {was.size:,}, the same as far as both go."
        yield Difference("equity", text, None, "bars", was.size, found.size)


def _of_metrics(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """The first headline number that is another."""
    for name, was, found in leaves(recorded, now):
        if was != found:
            yield Difference("metrics", f"{name} was {shown(was)} and is {shown(found)}.", None, name, was, found)
            return


def code_notes(recorded: Manifest, now: Manifest) -> Iterator[str]:
    """Which parts of the code and which libraries are others than on record."""
    code = {"barwise": "barwise", "core": "the code of the core", "strategy": "the code of the strategy"}
    for name, words in code.items():
        was, found = recorded["code"].get(name), now["code"].get(name)
        if was != found:
            yield f"{words} is another: {str(was)[:12]} then, {str(found)[:12]} now."
    for name, was, found in leaves(recorded["libraries"], now["libraries"]):
        if was != found:
            yield f"{name} is another version: {shown(was)} then, {shown(found)} now."


def leaves(recorded: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every value of two nested tables side by side, by its dotted name; None where one has none."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in (*recorded, *(key for key in now if key not in recorded)):
            yield from leaves(recorded.get(key), now.get(key), f"{name}.{key}" if name else key)
    else:
        yield name, recorded, now


def shown(value: Any) -> str:
    """A value with all its digits."""
    return "nothing" if value is None else str(value) if isinstance(value, str) else repr(value)


def _iso(candles: Candles, bar: int) -> str | None:
    """When a bar opens; None where there is no such bar."""
    return datetime.fromtimestamp(int(candles.time[bar]) / 1000, UTC).isoformat() if bar < len(candles) else None


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)
