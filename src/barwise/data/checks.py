"""The data audit: what is wrong with a set of candles, said before money is bet on it.

A backtest believes every bar. This module is the one place that does not: it looks for what exchanges, vendors and
spreadsheets really do to candles, and says for each thing how often it occurs, where first, and what to do.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import Bars, BoolArray, FloatArray, IntArray
from barwise.data.gaps import LONGEST_HOLIDAY_DAYS, Gaps, IndianMarket, find_gaps
from barwise.data.quality import DataAudit, Finding, counted, length_text, utc_text
from barwise.timeframe import DAY_MS, WEEK_MS, Calendar, Timeframe

# A close-to-close move or a wick is an outlier beyond 20 robust standard deviations, but never below e^0.2 = 22 %: real
# hours of BTC, ETH and SOL stay inside, crashes, bonus issues and misplaced decimal points do not.
OUTLIER_SIGMAS = 20.0
OUTLIER_FLOOR = 0.2
# The standard deviation of a normal distribution is 1.4826 times its median absolute deviation.
_MAD_TO_SIGMA = 1.4826
_SESSIONS_NAMED = 5
_FEW_BARS = 20


def audit(
    bars: Bars,
    timeframe: Timeframe,
    calendar: Calendar,
    *,
    market: IndianMarket | None = None,
    quote_volume: FloatArray | None = None,
    now: int | None = None,
) -> DataAudit:
    """Look for everything that is known to be wrong with candles in practice.

    Args:
        bars: Columns of one length, in the order in which they came.
        timeframe: What the bars are said to be.
        calendar: When the market trades.
        market: See `indian_market`; with it, sessions without one bar are found.
        quote_volume: Traded money per bar, where the data has it.
        now: The present in ms UTC; with it, bars that have not closed yet are found. Never taken from the clock here.
    """
    time = bars.time
    if not len(time):
        return DataAudit(0, None, None, (_error("empty", 0, None, "There is not one bar."),))
    findings: list[Finding] = []
    ascending = bool((time[1:] > time[:-1]).all())
    if not ascending:
        findings += _check_order(bars)
    findings += _check_grid(time, timeframe, calendar)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        findings += _check_prices(bars)
        findings += _check_volume(bars, quote_volume)
        if now is not None:
            findings += _check_closed(time, timeframe, calendar, now)
        if not any(finding.severity == "error" for finding in findings):
            findings += _check_outliers(bars)
    gaps = find_gaps(time, timeframe, calendar, market) if ascending else Gaps()
    if gaps.count:
        findings.append(_gap_finding(gaps, calendar))
    if market is not None and timeframe.ms < WEEK_MS:
        findings += _check_years(time, calendar, market[0])
    return DataAudit(len(time), int(time.min()), int(time.max()), tuple(findings), gaps)


def _error(kind: str, count: int, first_time: int | None, message: str, hint: str = "") -> Finding:
    return Finding(kind, "error", count, first_time, message, hint)


def _warning(kind: str, count: int, first_time: int | None, message: str, hint: str = "") -> Finding:
    return Finding(kind, "warning", count, first_time, message, hint)


def differing_rows(columns: Iterable[FloatArray], left: NDArray[np.intp], right: NDArray[np.intp]) -> BoolArray:
    """Which pairs of rows (by index) differ in any of the columns; NaN equals NaN."""
    different: BoolArray = np.zeros(len(left), dtype=np.bool_)
    for column in columns:
        a, b = column[left], column[right]
        different |= (a != b) & ~(np.isnan(a) & np.isnan(b))
    return different


def _check_order(bars: Bars) -> list[Finding]:
    """Bars that go back in time, and times that occur more than once."""
    time = bars.time
    findings = []
    backwards = np.flatnonzero(time[1:] < time[:-1]) + 1
    if len(backwards):
        at = int(backwards[0])
        findings.append(
            _error(
                "order",
                len(backwards),
                int(time[at]),
                f"The bars are not in time order: {utc_text(int(time[at]))} comes after {utc_text(int(time[at - 1]))} "
                f"(row {at}).",
                "sort by time, oldest first; read_candles does that for files.",
            )
        )
    order = np.argsort(time, kind="stable")
    same = np.flatnonzero(time[order][1:] == time[order][:-1])
    if len(same):
        left, right = order[same], order[same + 1]
        different = differing_rows(bars[1:], left, right)
        if different.any():
            first = int(time[left[different]][0])
            findings.append(
                _error(
                    "conflicts",
                    int(different.sum()),
                    first,
                    f"Different values for the same time: {counted(int(different.sum()), 'bar')}, "
                    f"first {utc_text(first)}.",
                    "keep the source you trust and drop the other rows.",
                )
            )
        if not different.all():
            first = int(time[left[~different]][0])
            findings.append(
                _error(
                    "duplicates",
                    int((~different).sum()),
                    first,
                    f"Repeated with the same values: {counted(int((~different).sum()), 'bar')}, "
                    f"first {utc_text(first)}.",
                    "drop the repeated rows; read_candles does that for files.",
                )
            )
    return findings


def common_spacing(time: IntArray) -> tuple[int, float] | None:
    """The most common distance between neighbours in ms and its share; None with fewer than two distinct times."""
    # The first few thousand bars say it as well as all of them do, and sorting a million distances costs 50 ms.
    steps = np.diff(time[:4097])
    steps = steps[steps != 0]
    if not len(steps):
        return None
    values, counts = np.unique(np.abs(steps), return_counts=True)
    winner = int(np.argmax(counts))
    return int(values[winner]), float(counts[winner] / len(steps))


def _check_grid(time: IntArray, timeframe: Timeframe, calendar: Calendar) -> list[Finding]:
    """Another timeframe than the one named, bars between the grid points, and bars outside the session."""
    spacing = common_spacing(time)
    # Few bars far apart may be what an outage has left; many are another timeframe.
    enough = _FEW_BARS if spacing and spacing[0] > timeframe.ms else 3
    if spacing and len(time) >= enough and spacing[0] != timeframe.ms and spacing[1] > 0.5:
        as_named = float(np.mean(np.diff(time[:4097]) == timeframe.ms))
        if as_named < 0.1:
            return [
                _error(
                    "timeframe",
                    len(time),
                    int(time[0]),
                    f"The bars are {length_text(spacing[0])} apart, not {timeframe}.",
                    f"pass timeframe={Timeframe.of_length(spacing[0])!s}." if Timeframe.of_length(spacing[0]) else "",
                )
            ]
    off = np.flatnonzero((time - timeframe.grid_origin_ms(calendar)) % timeframe.ms)
    if len(off):
        first = int(time[off[0]])
        return [
            _error(
                "off_grid",
                len(off),
                first,
                f"Off the {timeframe} grid of a {calendar.name} market: {counted(len(off), 'bar')}, "
                f"first {utc_text(first)}.",
                _grid_hint(timeframe, calendar),
            )
        ]
    if calendar.always_open or not timeframe.intraday:
        return []
    return _check_sessions(time, timeframe, calendar)


def _grid_hint(timeframe: Timeframe, calendar: Calendar) -> str:
    if calendar.always_open:
        return "name the exchange if the market has sessions (NSE, ZERODHA, DHAN); else check time zone and units."
    if timeframe.intraday:
        return f"bars of {calendar.name} count from the session's open, 09:15 IST = 03:45 UTC; naive times are UTC."
    return f"daily bars of {calendar.name} are stamped 00:00 IST = 18:30 UTC of the day before; naive times are UTC."


def _check_sessions(time: IntArray, timeframe: Timeframe, calendar: Calendar) -> list[Finding]:
    """Prints outside the session, and sessions that are not complete."""
    findings = []
    since_open = (time - calendar.grid_origin_ms) % DAY_MS
    outside = np.flatnonzero(since_open >= calendar.session_ms)
    if len(outside):
        first = int(time[outside[0]])
        findings.append(
            _warning(
                "outside_session",
                len(outside),
                first,
                f"{counted(len(outside), 'bar')} outside the {calendar.name} session, first {utc_text(first)}.",
                "special sessions are real; a lone flat bar after the close is a vendor's late print: drop it.",
            )
        )
    expected = -(-calendar.session_ms // timeframe.ms)
    inside = time[since_open < calendar.session_ms]
    days, bars = np.unique((inside + calendar.utc_offset_ms) // DAY_MS, return_counts=True)
    short = np.flatnonzero(bars < expected)
    if len(short):
        first = int(days[short[0]]) * DAY_MS + calendar.grid_origin_ms
        findings.append(
            Finding(
                "short_sessions",
                "info",
                len(short),
                first,
                f"Sessions of fewer than {expected} bars: {len(short)} of {len(days)}, first {utc_text(first)}.",
            )
        )
    return findings


def _check_prices(bars: Bars) -> list[Finding]:
    """NaN and infinity, prices of zero and below, and bars whose high or low contradicts their other prices."""
    time, o, h, l, c, v = bars  # noqa: E741
    findings = []
    finite = np.isfinite(o) & np.isfinite(h) & np.isfinite(l) & np.isfinite(c) & np.isfinite(v)
    if not finite.all():
        at = int(np.argmin(finite))
        values = {name: float(column[at]) for name, column in zip(Bars._fields[1:], bars[1:], strict=True)}
        name = next(name for name, value in values.items() if not np.isfinite(value))
        findings.append(
            _error(
                "not_finite",
                int((~finite).sum()),
                int(time[at]),
                f"{counted(int((~finite).sum()), 'bar')} with a value that is missing or infinite, first {name} of "
                f"{utc_text(int(time[at]))} (row {at}).",
                "drop these rows or fetch them again.",
            )
        )
    positive = ~((o <= 0) | (h <= 0) | (l <= 0) | (c <= 0))
    if not positive.all():
        at = int(np.argmin(positive))
        findings.append(
            _error(
                "not_positive",
                int((~positive).sum()),
                int(time[at]),
                f"{counted(int((~positive).sum()), 'bar')} with a price of zero or below, first "
                f"{utc_text(int(time[at]))}: {_ohlc_text(bars, at)}.",
                "drop these rows or fetch them again.",
            )
        )
    contradictory = (h < o) | (h < c) | (h < l) | (l > o) | (l > c)
    if contradictory.any():
        at = int(np.argmax(contradictory))
        findings.append(
            _error(
                "ohlc",
                int(contradictory.sum()),
                int(time[at]),
                f"{counted(int(contradictory.sum()), 'bar')} whose high is not the highest or low not the lowest "
                f"price, first {utc_text(int(time[at]))}: {_ohlc_text(bars, at)}.",
                "check the order of the columns, then drop these rows or fetch them again.",
            )
        )
    return findings


def _ohlc_text(bars: Bars, at: int) -> str:
    return f"open {bars.open[at]:.10g}, high {bars.high[at]:.10g}, low {bars.low[at]:.10g}, close {bars.close[at]:.10g}"


def _check_volume(bars: Bars, quote_volume: FloatArray | None) -> list[Finding]:
    """Negative, absent and zero volume, and a quote volume that cannot belong to the volume."""
    time, volume = bars.time, bars.volume
    findings = []
    negative = volume < 0
    if negative.any():
        at = int(np.argmax(negative))
        findings.append(
            _error(
                "negative_volume",
                int(negative.sum()),
                int(time[at]),
                f"{counted(int(negative.sum()), 'bar')} with negative volume, first {utc_text(int(time[at]))}: "
                f"{volume[at]:.10g}.",
                "drop these rows or fetch them again.",
            )
        )
    zero = volume == 0
    if zero.all():
        findings.append(
            _warning(
                "no_volume",
                len(time),
                int(time[0]),
                "No bar has any volume: the participation cap is off and VWAP is the typical price.",
            )
        )
    elif zero.any():
        at = int(np.argmax(zero))
        findings.append(
            _warning(
                "zero_volume",
                int(zero.sum()),
                int(time[at]),
                f"{counted(int(zero.sum()), 'bar')} without volume, first {utc_text(int(time[at]))}: "
                "nothing can be entered there.",
            )
        )
    if quote_volume is not None:
        findings += _check_quote_volume(bars, quote_volume)
    return findings


def _check_quote_volume(bars: Bars, quote_volume: FloatArray) -> list[Finding]:
    """Quote volume over volume is the bar's mean price, so it has to lie between low and high."""
    time = bars.time
    broken = ~(np.isfinite(quote_volume) & (quote_volume >= 0))
    if broken.any():
        at = int(np.argmax(broken))
        return [
            _error(
                "quote_volume",
                int(broken.sum()),
                int(time[at]),
                f"{counted(int(broken.sum()), 'bar')} whose quote volume is missing, infinite or negative, first "
                f"{utc_text(int(time[at]))}: {quote_volume[at]:.10g}.",
                "leave the quote volume out.",
            )
        ]
    mean_price = quote_volume / bars.volume
    traded = bars.volume > 0
    # One part in a thousand forgives the rounding of tiny bars.
    outside = traded & ((mean_price < bars.low * 0.999) | (mean_price > bars.high * 1.001))
    if not outside.any():
        return []
    at = int(np.argmax(outside))
    share = float(outside.sum() / max(int(traded.sum()), 1))
    return [
        Finding(
            "quote_volume",
            "error" if share > 0.1 else "warning",
            int(outside.sum()),
            int(time[at]),
            f"{counted(int(outside.sum()), 'bar')} whose quote volume over volume, the mean price, lies outside low "
            f"and high, first {utc_text(int(time[at]))}: {mean_price[at]:.10g}.",
            "it is not the traded money of the same bar in the quote currency: leave it out."
            if share > 0.1
            else "fills of tier 3 use this mean price; leave the quote volume out if you doubt it.",
        )
    ]


def _check_closed(time: IntArray, timeframe: Timeframe, calendar: Calendar, now: int) -> list[Finding]:
    """Bars that close in the future are still forming; the last one of a session closes with the session."""
    close = time + timeframe.ms
    if not calendar.always_open and timeframe.ms < WEEK_MS:
        days = (time + calendar.utc_offset_ms) // DAY_MS
        session_close = days * DAY_MS + calendar.grid_origin_ms + calendar.session_ms
        close = np.where(time < session_close, np.minimum(close, session_close), close)
    forming = close > now
    if not forming.any():
        return []
    at = int(np.argmax(forming))
    return [
        _error(
            "unclosed",
            int(forming.sum()),
            int(time[at]),
            f"{counted(int(forming.sum()), 'bar')} not closed yet at {utc_text(now)}, first {utc_text(int(time[at]))}.",
            "drop the forming bar: its close, high, low and volume still change.",
        )
    ]


def _check_outliers(bars: Bars) -> list[Finding]:
    """Moves from close to close, and wicks, that are far beyond what the series does."""
    findings = []
    closes = bars.close
    ratio = closes[1:] / closes[:-1]
    if len(ratio) and (ratio.max() > np.exp(OUTLIER_FLOOR) or ratio.min() < np.exp(-OUTLIER_FLOOR)):
        moves = np.log(ratio)
        limit = _outlier_limit(moves)
        jumps = np.flatnonzero(np.abs(moves) > limit) + 1
        if len(jumps):
            at = int(jumps[np.argmax(np.abs(moves[jumps - 1]))])
            findings.append(
                _warning(
                    "outliers",
                    len(jumps),
                    int(bars.time[jumps[0]]),
                    f"{counted(len(jumps), 'jump')} of more than {np.expm1(limit):.0%} between two closes, first "
                    f"{utc_text(int(bars.time[jumps[0]]))}, largest {utc_text(int(bars.time[at]))}: "
                    f"{closes[at - 1]:.10g} to {closes[at]:.10g}.",
                    "a split, a bonus issue, a bad print, or a real crash: look before you trust the result.",
                )
            )
    top = bars.high / np.maximum(bars.open, closes)
    bottom = np.minimum(bars.open, closes) / bars.low
    reach = np.maximum(top, bottom)
    if reach.max() > np.exp(OUTLIER_FLOOR):
        wicks = np.log(reach)
        limit = _outlier_limit(wicks)
        spikes = np.flatnonzero(wicks > limit)
        if len(spikes):
            at = int(spikes[np.argmax(wicks[spikes])])
            findings.append(
                _warning(
                    "wicks",
                    len(spikes),
                    int(bars.time[spikes[0]]),
                    f"{counted(len(spikes), 'bar')} with a wick of more than {np.expm1(limit):.0%}, first "
                    f"{utc_text(int(bars.time[spikes[0]]))}, longest {utc_text(int(bars.time[at]))}: "
                    f"{_ohlc_text(bars, at)}.",
                    "stops and targets fill on wicks: make sure that they were traded.",
                )
            )
    return findings


def _outlier_limit(values: FloatArray) -> float:
    """Natural logarithm beyond which a value is an outlier of its series."""
    spread = float(np.median(np.abs(values - np.median(values))))
    return max(OUTLIER_SIGMAS * _MAD_TO_SIGMA * spread, OUTLIER_FLOOR)


def _gap_finding(gaps: Gaps, calendar: Calendar) -> Finding:
    start, bars = max(gaps.where, key=lambda place: place[1])
    inside = "" if calendar.always_open else " inside sessions"
    hint = "exchange outages are real; if the source has these bars, fetch them again."
    whole = ""
    if gaps.sessions:
        from barwise.data.sessions import as_of

        more = ", ..." if len(gaps.sessions) > _SESSIONS_NAMED else ""
        whole = f" No bar at all on {', '.join(map(str, gaps.sessions[:_SESSIONS_NAMED]))}{more} in India."
        hint = (
            f"the exchange traded on these days by its calendar of {as_of()}; only what nobody traded has no bar then. "
            "If the source has these bars, fetch them again."
        )
    return _warning(
        "gaps",
        gaps.count,
        gaps.where[0][0],
        f"{counted(gaps.count, 'gap')}{inside} of {counted(gaps.missing, 'bar')} in all, first "
        f"{utc_text(gaps.where[0][0])}, longest {counted(bars, 'bar')} from {utc_text(start)}.{whole}",
        hint,
    )


def _check_years(time: IntArray, calendar: Calendar, exchange: str) -> list[Finding]:
    """Bars in years whose holidays the calendar does not have."""
    from barwise.data.sessions import known_years

    days = (time + calendar.utc_offset_ms) // DAY_MS
    years = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    known = known_years(exchange)
    unknown = np.flatnonzero(~np.isin(years, known))
    if not len(unknown):
        return []
    first = int(time[unknown[0]])
    return [
        Finding(
            "unknown_years",
            "info",
            len(unknown),
            first,
            f"{counted(len(unknown), 'bar')} in years that the calendar of {exchange} does not know, first "
            f"{utc_text(first)}: breaks of up to {LONGEST_HOLIDAY_DAYS} days pass for holidays there.",
            f"it has {known[0]} to {known[-1]}; a newer version of this package may have more.",
        )
    ]
