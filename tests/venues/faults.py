"""What goes wrong between a venue and its client, on demand.

A rule says where (venue, path, any predicate) and when (from the n-th such request on, how many times); a fault says
what. Faults of an answer replace it or damage it on its way; faults of the data change the candles before the venue
words them. Every use is noted in the request log.

    server.faults.on(too_many(retry_after=5), venue="BINANCE", path="/api/v3/klines", nth=3)
    server.faults.on(gap(4, 5), venue="DELTA", times=None)
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.venues.market import Change, Question, Reply, Row, RowChange, Wire

# Where the venues serve candles: faults of the data happen, and are counted, there only.
CANDLE_PATHS = ("klines", "Klines", "/history/candles", "/historical/", "/charts/")

HTML = (
    b"<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><center><h1>%s</h1></center>"
    b"<hr><center>cloudfront</center></body></html>\n"
)


def html(status: int, title: str) -> Reply:
    """A page of a gateway, as it stands in front of every venue."""
    words = title.encode()
    return Reply(HTML % (words, words), status, "text/html; charset=utf-8")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: For the request log.
        reply: Answers instead of the venue.
        edit: Changes the body; its length is stated correctly.
        rows, unit: Change the candles, or the unit of their times ("s", "ms", "us").
        sent: Share of the body that is sent before the connection breaks; None = all of it.
        pause_s: How long the answer halts in its middle.
        reset: The connection is reset before a byte of the answer.
        ban: The client is banned if it asks again before the pause is over (Binance).
    """

    name: str
    reply: Callable[[Wire, Question], Reply] | None = None
    edit: Callable[[bytes], bytes] | None = None
    rows: RowChange | None = None
    unit: str | None = None
    sent: float | None = None
    pause_s: float = 0.0
    reset: bool = False
    ban: float | None = None


# Faults of the answer


def too_many(retry_after: float | None = None, *, then_banned: bool = False) -> Fault:
    """429 in the venue's own words: Retry-After in seconds at Binance, X-RATE-LIMIT-RESET in ms at Delta, no header
    elsewhere. With `then_banned` Binance answers 418 to whoever asks again before the pause is over."""
    return Fault(
        f"429 retry_after={retry_after}",
        reply=lambda wire, _: wire.too_many(retry_after),
        ban=retry_after if then_banned else None,
    )


def banned(retry_after: float = 120.0) -> Fault:
    """418: the address is banned."""
    return Fault(f"418 retry_after={retry_after}", reply=lambda wire, _: wire.banned(retry_after))


def waf() -> Fault:
    """403 and a page of HTML, from a firewall that took the client for a robot."""
    return Fault("403 HTML", reply=lambda *_: html(403, "403 Forbidden"))


def forbidden_country() -> Fault:
    """451: the service is not offered where the client is."""
    body = (
        b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\' in '
        b"https://www.binance.com/en/terms. Please contact customer service if you believe you received this message "
        b'in error."}'
    )
    return Fault("451", reply=lambda *_: Reply(body, 451))


def failing(status: int = 503, *, page: bool = False) -> Fault:
    """A 5xx: in the venue's own words, or a page of its gateway."""
    if page:
        titles = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
        return Fault(f"{status} HTML", reply=lambda *_: html(status, f"{status} {titles.get(status, 'Error')}"))
    return Fault(f"{status}", reply=lambda wire, _: wire.failing(status))


def answering(status: int, body: bytes | str, headers: dict[str, str] | None = None) -> Fault:
    """Any other answer, word for word."""
    words = body.encode() if isinstance(body, str) else body
    kind = "application/json" if words[:1] in b"{[" else "text/html"
    return Fault(f"{status} scripted", reply=lambda *_: Reply(words, status, kind, dict(headers or {})))


def html_page() -> Fault:
    """200 and a page of HTML: a proxy, or maintenance."""
    return Fault("200 HTML", reply=lambda *_: html(200, "Scheduled maintenance"))


def empty_body() -> Fault:
    """200 and nothing."""
    return Fault("empty", edit=lambda _: b"")


def truncated(share: float = 0.5) -> Fault:
    """200 and the first part of the body only, with a Content-Length that agrees."""
    return Fault("truncated", edit=lambda body: body[: int(len(body) * share)])


def edited(edit: Callable[[bytes], bytes]) -> Fault:
    """200 and a body that `edit` has changed."""
    return Fault("edited", edit=edit)


def cut(share: float = 0.5) -> Fault:
    """The connection ends in the middle of the body."""
    return Fault("cut", sent=share)


def slow(seconds: float) -> Fault:
    """The answer halts in the middle of its body."""
    return Fault(f"slow {seconds} s", pause_s=seconds)


def reset() -> Fault:
    """The connection is reset before the answer."""
    return Fault("reset", reset=True)


def expired() -> Fault:
    """The credential is no longer valid, in the venue's own words."""
    return Fault("expired", reply=lambda wire, question: wire.expired(question))


# Faults of the data: positions count from 0 in the order of time, negative ones from the end


def _picked(rows: list[Row], positions: tuple[int, ...]) -> set[int]:
    return {at % len(rows) for at in positions if -len(rows) <= at < len(rows)}


def gap(*positions: int) -> Fault:
    """Candles missing from the answer."""

    def change(rows: list[Row]) -> list[Row]:
        gone = _picked(rows, positions)
        return [row for at, row in enumerate(rows) if at not in gone]

    return Fault("gap", rows=change)


def duplicated(*positions: int, times_close: float = 1.0) -> Fault:
    """Candles sent twice; with another close than before where `times_close` is not 1."""

    def change(rows: list[Row]) -> list[Row]:
        twice = _picked(rows, positions)
        out: list[Row] = []
        for at, row in enumerate(rows):
            out.append(row)
            if at in twice:
                out.append(_revised(row, times_close))
        return out

    return Fault("duplicated", rows=change)


def disordered(first: int = 1, second: int = -2) -> Fault:
    """Two candles in each other's place."""

    def change(rows: list[Row]) -> list[Row]:
        rows = list(rows)
        if len(rows) > 1:
            a, b = first % len(rows), second % len(rows)
            rows[a], rows[b] = rows[b], rows[a]
        return rows

    return Fault("disordered", rows=change)


def replaced(position: int, **values: Any) -> Fault:
    """One candle with other values: NaN, None, a negative price, a high under the low, whatever is named."""

    def change(rows: list[Row]) -> list[Row]:
        rows = list(rows)
        for at in _picked(rows, (position,)):
            rows[at] = rows[at]._replace(**values)
        return rows

    return Fault(f"replaced {sorted(values)}", rows=change)


def not_a_number(position: int = 1, column: str = "close") -> Fault:
    """A candle with NaN in it."""
    return replaced(position, **{column: float("nan")})


def null(position: int = 1, column: str = "close") -> Fault:
    """A candle with null in it."""
    return replaced(position, **{column: None})


def off_grid(position: int = 1, by_ms: int = 1000) -> Fault:
    """A candle that opens beside the grid."""

    def change(rows: list[Row]) -> list[Row]:
        rows = list(rows)
        for at in _picked(rows, (position,)):
            rows[at] = rows[at]._replace(time=rows[at].time + by_ms)
        return rows

    return Fault("off grid", rows=change)


def revised(*positions: int, times_close: float = 1.01) -> Fault:
    """Candles with another close than at other times: a venue that corrects its past. They stay consistent."""

    def change(rows: list[Row]) -> list[Row]:
        touched = _picked(rows, positions)
        return [_revised(row, times_close) if at in touched else row for at, row in enumerate(rows)]

    return Fault("revised", rows=change)


def wrong_unit(unit: str) -> Fault:
    """Times in another unit than the venue's own: "s", "ms" or "us"."""
    return Fault(f"unit {unit}", unit=unit)


def shifted(by_ms: int) -> Fault:
    """Every candle later by so much: the wrong time zone."""
    return Fault("shifted", rows=lambda rows: [row._replace(time=row.time + by_ms) for row in rows])


def changed(change: RowChange) -> Fault:
    """Whatever `change` makes of the candles."""
    return Fault("changed", rows=change)


def _revised(row: Row, times_close: float) -> Row:
    close = round(row.close * times_close, 8)
    return row._replace(close=close, high=max(row.high, close), low=min(row.low, close))


@dataclass
class Rule:
    """Where and when a fault happens; `seen` counts the requests that fit, `used` those that it hit."""

    fault: Fault
    venue: str | None
    path: str | None
    when: Callable[[Question], bool] | None
    nth: int
    times: int | None
    seen: int = 0
    used: int = 0

    def fits(self, question: Question) -> bool:
        of_data = self.fault.rows is not None or self.fault.unit is not None
        return (
            (not of_data or any(part in question.path for part in CANDLE_PATHS))
            and (self.venue is None or question.venue == self.venue)
            and (self.path is None or self.path in question.path)
            and (self.when is None or self.when(question))
        )

    def strikes(self, question: Question) -> bool:
        """Count the request where it fits, and say whether the fault happens to it."""
        if not self.fits(question):
            return False
        self.seen += 1
        hit = self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)
        self.used += hit
        return hit


class Faults:
    """The rules of a server. Those of the answer exclude each other: the first that strikes wins."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._lock = threading.Lock()

    def on(
        self,
        fault: Fault,
        *,
        venue: str | None = None,
        path: str | None = None,
        when: Callable[[Question], bool] | None = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Rule:
        """Let `fault` happen to the requests nth .. nth + times - 1 that fit; `times` None = to all from the nth on.

        Args:
            venue: BINANCE, BINANCE_UM, ARCHIVE, DELTA, ZERODHA or DHAN; None = any.
            path: A part of the path; None = any.
            when: Any other condition.
        """
        rule = Rule(fault, venue, path, when, nth, times)
        with self._lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        with self._lock:
            self.rules.clear()

    def strike(self, question: Question) -> tuple[Fault | None, Change, str]:
        """What happens to this request: to the answer, to the candles, and the names of it all for the log."""
        with self._lock:
            hits = [rule.fault for rule in self.rules if rule.strikes(question)]
        answer = next((fault for fault in hits if fault.rows is None and fault.unit is None), None)
        data = [fault for fault in hits if fault.rows is not None or fault.unit is not None]
        change = Change(
            tuple(fault.rows for fault in data if fault.rows is not None),
            next((fault.unit for fault in data if fault.unit is not None), None),
        )
        names = [fault.name for fault in ([answer] if answer else []) + data]
        return answer, change, ", ".join(names)
