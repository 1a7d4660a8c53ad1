"""Numbers and names as people read them, the same in the terminal, on the page and in its charts.

Money is quote currency, percentages come in as percent, times as aware datetimes or ms UTC. What is undefined is `n/a`,
never 0 and never a gap.
"""

import math
from datetime import UTC, datetime

NOT_AVAILABLE = "n/a"
_SIGNIFICANT = 8
# Parts of names that are not spelt as they stand in a field.
_SPELT = {
    name.lower(): name for name in ("CAGR", "SQN", "MFE", "MAE", "R", "Sharpe", "Sortino", "Calmar", "Omega", "Kelly")
}
_SPELT["pnl"] = "result"
_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000


def number(value: float | None, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with thousands separators; `signed` puts a plus before gains, and zero has no sign."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    return text.lstrip("+-") if not text.strip("+-0.,") else text


def money(value: float | None, *, signed: bool = False) -> str:
    """An amount: whole units from 1,000 on, cents below, significant digits below a cent."""
    return number(value, money_decimals(value), signed=signed)


def money_decimals(value: float | None) -> int:
    """Decimals an amount of this size is shown with."""
    size = abs(value or 0.0)
    if not 0.0 < size < 0.1 or not math.isfinite(size):
        return 0 if size >= 999.995 else 2
    return min(1 - math.floor(math.log10(size)), 12)


def price(value: float | None) -> str:
    """A price or quantity with up to eight significant digits and no exponent."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    if value == 0.0:
        return "0"
    decimals = min(max(_SIGNIFICANT - 1 - math.floor(math.log10(abs(value))), 0), 16)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(value: float | None, decimals: int | None = None, *, signed: bool = False) -> str:
    """A percentage with its unit; by default with one decimal, below 1 % with two."""
    if decimals is None:
        decimals = 1 if abs(value or 0.0) >= 0.995 else 2
    text = number(value, decimals, signed=signed)
    return text if text == NOT_AVAILABLE else f"{text} %"


def with_unit(value: float | None, unit: str, decimals: int = 1, *, signed: bool = False) -> str:
    """A number with its unit, `n/a` without."""
    text = number(value, decimals, signed=signed)
    return text if text == NOT_AVAILABLE else f"{text} {unit}"


def counted(count: int, noun: str) -> str:
    """`1 trade`, `2 trades`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def words(name: str) -> str:
    """A record's name in words: `stop_loss` is `stop loss`, `daily_sharpe_ratio` is `daily Sharpe ratio`."""
    return " ".join(_SPELT.get(word, word) for word in name.split("_"))


def moment(value: datetime | int) -> str:
    """A UTC time to the minute, or to the second where it has seconds."""
    time = datetime.fromtimestamp(value / 1000, tz=UTC) if isinstance(value, int) else value.astimezone(UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S" if time.second else "%Y-%m-%d %H:%M")


def day(value: datetime | int) -> str:
    """The UTC date."""
    return moment(value)[:10]


def duration(length_ms: int) -> str:
    """A length of time in its largest sensible unit."""
    for unit, name in ((_DAY_MS, "day"), (_HOUR_MS, "hour"), (_MINUTE_MS, "minute")):
        if length_ms >= unit:
            amount = length_ms / unit
            text = f"{amount:,.0f}" if amount >= 10 or amount == round(amount) else f"{amount:.1f}"
            return f"{text} {name}{'' if text == '1' else 's'}"
    return counted(length_ms // _SECOND_MS, "second")
