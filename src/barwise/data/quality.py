"""What an audit of candles says: its findings, and the words for times, counts and lengths that they are told in.

Errors make the numbers wrong and stop the work; warnings are facts of the market or of the recording that a user should
know. What is looked for is in `checks`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from barwise.data.gaps import Gaps
from barwise.timeframe import DAY_MS, Timeframe

Severity: TypeAlias = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: A short stable name, for programs: "gaps", "ohlc", "duplicates", ...
        severity: "error" (numbers would be wrong), "warning" (true or likely, worth knowing) or "info".
        count: How many bars, rows or places.
        first_time: Open of the first bar concerned, ms UTC; None where it has no place in time.
        message: One sentence that names the first place.
        hint: What to do, or "".
    """

    kind: str
    severity: Severity
    count: int
    first_time: int | None
    message: str
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "first_time": self.first_time,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True)
class DataAudit:
    """What the audit of one set of candles found.

    Attributes:
        bars: Number of bars looked at.
        first, last: Opens of the first and the last bar in ms UTC, None where there is no bar.
        findings: In the order of the checks.
        gaps: Missing bars.
    """

    bars: int
    first: int | None
    last: int | None
    findings: tuple[Finding, ...] = ()
    gaps: Gaps = field(default_factory=Gaps)

    @property
    def ok(self) -> bool:
        """True where nothing makes the numbers wrong; warnings do not count."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop the work."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings a user should know."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def of_kind(self, kind: str) -> Finding | None:
        """The finding of that kind, or None."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def with_notes(self, notes: Iterable[Finding]) -> "DataAudit":
        """The same audit with what was noticed earlier, while reading, in front."""
        return DataAudit(self.bars, self.first, self.last, (*notes, *self.findings), self.gaps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "ok": self.ok,
            "bars": self.bars,
            "first": self.first,
            "last": self.last,
            "gaps": self.gaps.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        if self.first is None or self.last is None:
            head = "no bars"
        else:
            head = f"{self.bars:,} bars, {utc_text(self.first)} .. {utc_text(self.last)}"
        lines = [f"{head}: {'ok' if self.ok else 'not usable'}"]
        for finding in self.findings:
            lines.append(f"  {finding.severity:<8}{finding.message}")
            if finding.hint:
                lines.append(f"          hint: {finding.hint}")
        return "\n".join(lines)


def utc_text(time_ms: int) -> str:
    """An instant as people read it: `2025-01-01 04:00 UTC`, with seconds only where there are any."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1000, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return f"{time_ms} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC" if moment.second else "%Y-%m-%d %H:%M UTC")


def counted(count: int, noun: str) -> str:
    """`1 bar`, `2,160 bars`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def length_text(length_ms: int) -> str:
    """A length of time in words: `1H`, `8 hours`, `90 seconds`."""
    if timeframe := Timeframe.of_length(length_ms):
        return timeframe.name
    for unit, name in ((DAY_MS, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")):
        if length_ms % unit == 0:
            return counted(length_ms // unit, name)
    return f"{length_ms:,} ms"
