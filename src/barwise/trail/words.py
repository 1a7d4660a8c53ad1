"""The overview of a trail in words: what its document says, as a person would read it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from barwise.report.text import counted, moment, money, number, words

Document = Mapping[str, Any]

_MOST_CHANGED = 6
_WHY = {
    "side_not_allowed": "side not allowed",
    "risk_undefined": "no risk unit yet",
    "last_bar": "in the last bar",
    "no_execution_bar": "no bar to act in",
    "position_open": "a position was open",
    "program_working": "a program was at work",
    "ruined": "the account was ruined",
}


def told_trail(overview: Document) -> list[str]:
    """The overview of a run, as lines for a terminal."""
    sections = (
        ("Run", _run(overview)),
        ("Markets", (f"{market['label']}: {market['run']}" for market in overview["markets"])),
        ("Stages", map(_stage, overview["stages"])),
        ("Decisions", _parts(overview["parts"])),
        ("Search", map(_search, overview["searches"])),
        ("Windows", _windows(overview["walk_forward"])),
        ("Shuffles", _permutation(overview["permutation"])),
        ("Verdict", _verdict(overview["verdict"])),
        ("Files", overview["files"]),
    )
    lines: list[str] = []
    for name, sentences in sections:
        told = [f" {name if not place else '':<11}{text}" for place, text in enumerate(sentences)]
        lines += ["", *told] if told and lines else told
    return lines


def _at(time: str) -> str:
    return moment(datetime.fromisoformat(time))


def _run(overview: Document) -> Iterator[str]:
    market = overview["market"]
    if market is not None:
        name = " ".join(part for part in (market["exchange"], market["symbol"], market["timeframe"]) if part)
        span = f", {_at(market['first'])} .. {_at(market['last'])}" if market["first"] else ""
        yield f"{name}{' SYNTHETIC' if market['synthetic'] else ''}, {counted(market['bars'], 'bar')}{span}"
    if overview["begun"] is None:
        yield "nothing is written yet"
        return
    resumed = f", resumed {counted(overview['resumed'], 'time')}" if overview["resumed"] else ""
    text = f"begun {_at(overview['begun'])} UTC{resumed}"
    if overview["state"] == "open":
        yield f"{text}; it is at work, or was killed"
    else:
        why = f": {overview['why']}" if overview["why"] else ""
        yield f"{text}; {overview['state']} {_at(overview['ended'])} UTC{why}"
    yield f"{counted(overview['lines'], 'line')}, {counted(overview['events'], 'event')} among them"


def _stage(stage: Document) -> str:
    state = "" if stage["state"] in (None, "done") else f" ({stage['state']})"
    seconds = f", {number(stage['seconds'], 1)} s" if stage["seconds"] is not None and not state else ""
    return f"{stage['stage']} {stage['name']}: {stage['text']}{state}{seconds}"


def _parts(parts: Iterable[Document]) -> Iterator[str]:
    """One line for each backtest; the windows of a walk-forward together are one."""
    for name, group in groupby(parts, lambda part: part["part"].split("/")[0]):
        found = list(group)
        windows = f", {counted(len(found), 'window')}" if "/" in found[0]["part"] else ""
        counts = {kind: sum(part[kind] for part in found) for kind in found[0] if kind in _COUNTED}
        missed = f" ({counts['missed_programs']:,} without a fill)" if counts["missed_programs"] else ""
        yield (
            f"{name}{windows}: {counted(counts['signals'], 'signal')}, "
            f"{counted(counts['programs'], 'program')}{missed}, "
            f"{counted(counts['fills'], 'fill')}, {counted(counts['trades'], 'trade')}, "
            f"net {money(sum(part['net_pnl'] for part in found), signed=True)}"
        )
        without: dict[str, int] = {}
        for part in found:
            for why, times in part["signals_without_program"].items():
                without[why] = without.get(why, 0) + times
        if without:
            reasons = ", ".join(f"{_WHY[why]} ({times:,})" for why, times in without.items())
            yield f"  signals that started nothing: {reasons}"


_COUNTED = ("signals", "programs", "missed_programs", "fills", "trades")


def _search(search: Document) -> str:
    states = ", ".join(f"{times:,} {state}" for state, times in search["states"].items())
    text = f"{search['part']} {search['stage']}: {counted(search['trials'], 'trial')} ({states})"
    choice = search["choice"]
    if choice is None:
        return f"{text}; nothing is chosen yet"
    for name, after in choice["objectives"].items():
        text += f"; {words(name)} {number(choice['base_objectives'][name])} -> {number(after)}"
    changed = [f"{name} {before:g} -> {after:g}" for name, (before, after) in choice["changed"].items()]
    if len(changed) > _MOST_CHANGED:
        changed = [*changed[:_MOST_CHANGED], f"{len(changed) - _MOST_CHANGED} more"]
    text += f"; {', '.join(changed)}" if changed else "; the base stays"
    return f"{text}; interrupted" if choice["interrupted"] else text


def _windows(walked: Document | None) -> Iterator[str]:
    if walked is not None:
        kind = "" if walked["reoptimized"] else ", one configuration in all of them"
        yield (
            f"{counted(walked['windows'], 'window')}, {walked['scored']:,} of them scored{kind}; out-of-sample "
            f"{counted(walked['trades'], 'trade')}, net {money(walked['net_pnl'], signed=True)}, Sharpe "
            f"{number(walked['sharpe_ratio'])}"
        )


def _permutation(found: Document | None) -> Iterator[str]:
    if found is not None:
        yield (
            f"{found['beaten']:,} of {counted(found['done'], 'shuffled market')} as good as the real one "
            f"({found['planned']:,} were planned): p = {number(found['p_value'], 3)}"
        )


def _verdict(verdict: Document | None) -> Iterator[str]:
    if verdict is not None:
        yield f"{verdict['word']}, {counted(verdict['n_trials'], 'trial')} on record for these candles"
        yield from verdict["reasons"]
