"""The SAMPLE market: a seeded synthetic venue, so that everything can be tried offline and against a known truth.

SYNTHETIC: every candle here is made by this module. It shows that the machinery works; it shows nothing about a
strategy. The candles carry `exchange="SAMPLE"` and `synthetic=True`, and whatever prints them says SYNTHETIC.
docs/sample-market.md tells users how it is made, which edge is planted and what it cannot do.

Why it is made in this way:

- A skeleton (regime of the day, variance of each hour, return of the day) covers the whole span and is cached: 6,580
  days. The minutes of a day are a Brownian bridge from the day's open to its close, so a day is made without the days
  before it. The shocks of the minutes and of the day have the same variances, which gives bridged minutes the
  covariances of independent draws: pinning the close plants no edge.
- Random words are counter-based (Philox4x64; Salmon et al., 2011): word n of a stream depends on the key and on n, not
  on what was asked before or together with it. The same span is the same bars, however it is cut.
- Only + - * / sqrt, rounding and comparisons touch the numbers, and sums are either sequential or of integers. IEEE 754
  settles each of these to the last bit, so machines, SIMD widths and NumPy versions agree. exp, log and NumPy's own
  normal draws give no such promise; hence `_exponential` and `_normals`.
- Prices are whole ticks; volumes and quote volumes are multiples of a power of two, whose sums are exact in any order.
  A coarse bar is the resample of the finer ones to the bit, whoever resamples.
"""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from math import sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from barwise.core.layout import FloatArray, IntArray
from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.data.columns import instant_ms
from barwise.data.quality import utc_text
from barwise.errors import DataError, did_you_mean
from barwise.timeframe import DAY_MS, MINUTE_MS, Timeframe

Instant: TypeAlias = datetime | date | str | int
_Words: TypeAlias = NDArray[np.uint64]

# Every constant below is part of the market: change one and all bars change for everyone (the golden test says so).
_SEED: Final = 187  # how it was chosen: docs/sample-market.md
_FIRST_MS: Final = 1_514_764_800_000  # 2018-01-01 00:00 UTC, a Monday: weeks start whole
_LAST_MS: Final = 2_082_758_400_000  # 2036-01-01 00:00 UTC, exclusive
_DAYS: Final = 940 * 7  # to the end of the week that 2035-12-31 opens
_DEFAULT_START_MS: Final = 1_704_067_200_000  # 2024-01-01
_DEFAULT_LENGTH_MS: Final = 366 * DAY_MS  # that year is a leap year
_MINUTES: Final = 1440  # of a day; a multiple of 4, the words of one Philox counter step
_CHUNK_DAYS: Final = 28  # whole weeks, few enough for the columns to stay in the processor's cache

# Volatility by hour (UTC) and by weekday (from Monday) in percent of its middle: the hours in which Europe and America
# overlap are loud, weekends are quiet. IntArray, because their sums are exact.
_HOUR_PERCENT: Final = (
    *(98, 92, 88, 84, 80, 78, 80, 86, 94, 98, 98, 98),
    *(106, 124, 134, 132, 124, 116, 108, 104, 104, 100, 94, 94),
)
_WEEKDAY_PERCENT: Final = (104, 106, 106, 108, 106, 80, 82)
# Volatility clusters on several time scales at once. Its logarithm is a sum of noises, each a broken line between
# independent knots that lie this many hours apart (compare the frequencies of Calvet & Fisher, 2004).
_KNOT_HOURS: Final = (1, 6, 24, 96, 480, 1920)
_KNOT_DEVIATION: Final = 0.24
_MEAN_CLUSTERING: Final = 1.65  # about the mean of exp(2 * noise): divides it out of the variance
_LARGEST_DAY: Final = 0.12  # a day's deviation without its jump: keeps bridged prices far above zero
_WICK: Final = 1.2  # times u**2 of mean 1/3: a Brownian minute exceeds its open and close by 0.4 deviations
_QUOTE_STEPS: Final = 1024.0  # quote volumes are multiples of 1/1024: a week of them sums exactly in float64


@dataclass(frozen=True)
class SampleSymbol:
    """A symbol of the SAMPLE venue.

    Attributes:
        name: What `sample_candles` takes.
        description: One line for a listing.
        tick_size: All prices are multiples of it, in quote currency.
        lot_size: Step of an order's quantity, in base currency.
    """

    name: str
    description: str
    tick_size: float
    lot_size: float


class _Regime(NamedTuple):
    """A state that lasts whole UTC days.

    `drift` is the mean return of a day (this is the planted edge), `volatility` multiplies the usual deviation,
    `mean_days` is the mean stay, `next` the chances of what follows; they sum to 1.
    """

    drift: float
    volatility: float
    mean_days: float
    next: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class _Chain:
    """A Markov chain of regimes, one step a day; `number` is the source whose stream drives it."""

    number: int
    first: str
    regimes: dict[str, _Regime]


_CYCLE: Final = _Chain(
    number=0,
    first="range",
    regimes={
        "rise": _Regime(0.0045, 0.90, 30.0, (("range", 0.50), ("fall", 0.35), ("crash", 0.15))),
        "fall": _Regime(-0.0035, 1.10, 20.0, (("range", 0.50), ("rise", 0.30), ("crash", 0.20))),
        "range": _Regime(0.0, 0.75, 25.0, (("rise", 0.55), ("fall", 0.40), ("crash", 0.05))),
        "crash": _Regime(-0.0250, 2.20, 4.0, (("recovery", 0.80), ("fall", 0.20))),
        "recovery": _Regime(0.0100, 1.40, 12.0, (("rise", 0.50), ("range", 0.50))),
    },
)
_TIDES: Final = _Chain(
    number=6,
    first="rise",
    regimes={
        "rise": _Regime(0.0060, 1.0, 20.0, (("fall", 1.0),)),
        "fall": _Regime(-0.0060, 1.0, 20.0, (("rise", 1.0),)),
    },
)
_STEADY: Final = _Chain(number=5, first="none", regimes={"none": _Regime(0.0, 1.0, 1.0, (("none", 1.0),))})


@dataclass(frozen=True)
class _Source:
    """What moves prices independently of all other sources: the market factor, or one symbol's own news.

    Attributes:
        number: Keys its random streams, for good; never used twice.
        chain: The regimes that multiply its volatility.
        drifts: It has the drift of those regimes, too.
        daily_volatility: Deviation of a usual day, jumps excluded, as a fraction of price.
        jump_chance: Of one jump on a day.
        jump_size: Middle of a jump's size, as a fraction of price; the sign is a fair coin.
    """

    number: int
    chain: _Chain
    drifts: bool
    daily_volatility: float
    jump_chance: float
    jump_size: float


@dataclass(frozen=True)
class _Recipe:
    """How a symbol is made.

    Attributes:
        beta: Its share in the market factor, 0 for none.
        own: Its own news.
        first_price: At the open of 2018-01-01.
        ticks_per_unit: 1 / tick_size, a whole number: ticks / ticks_per_unit is the double nearest to the decimal.
        volume_step: A power of two.
        minute_turnover: Quote volume of a usual minute.
    """

    symbol: SampleSymbol
    beta: float
    own: _Source
    first_price: float
    ticks_per_unit: int
    volume_step: float
    minute_turnover: float


_MARKET: Final = _Source(0, _CYCLE, True, 0.026, jump_chance=0.04, jump_size=0.025)
_RECIPES: Final = {
    recipe.symbol.name: recipe
    for recipe in (
        _Recipe(
            SampleSymbol("SAMPLE-BTC", "the market factor and little else; trends of weeks are planted", 0.1, 0.0001),
            beta=1.0,
            own=_Source(1, _CYCLE, False, 0.014, jump_chance=0.02, jump_size=0.015),
            first_price=14_000.0,
            ticks_per_unit=10,
            volume_step=0.125,
            minute_turnover=800_000.0,
        ),
        _Recipe(
            SampleSymbol(
                "SAMPLE-ETH", "follows the market a little more than fully; the same planted trends", 0.01, 0.001
            ),
            beta=1.1,
            own=_Source(2, _CYCLE, False, 0.019, jump_chance=0.03, jump_size=0.020),
            first_price=800.0,
            ticks_per_unit=100,
            volume_step=0.25,
            minute_turnover=400_000.0,
        ),
        _Recipe(
            SampleSymbol("SAMPLE-SOL", "loud, with much news of its own; the same planted trends", 0.0001, 0.01),
            beta=1.2,
            own=_Source(3, _CYCLE, False, 0.024, jump_chance=0.05, jump_size=0.030),
            first_price=30.0,
            ticks_per_unit=10_000,
            volume_step=1.0,
            minute_turnover=120_000.0,
        ),
        _Recipe(
            SampleSymbol(
                "SAMPLE-CALM", "quiet: about a quarter of the market's moves, and of its planted trends", 0.01, 0.01
            ),
            beta=0.25,
            own=_Source(4, _CYCLE, False, 0.006, jump_chance=0.01, jump_size=0.006),
            first_price=250.0,
            ticks_per_unit=100,
            volume_step=1.0,
            minute_turnover=40_000.0,
        ),
        _Recipe(
            SampleSymbol(
                "SAMPLE-TREND",
                "a strong edge planted on purpose, as a positive control: no market is so kind",
                0.0001,
                0.01,
            ),
            beta=0.0,
            own=_Source(6, _TIDES, True, 0.018, jump_chance=0.03, jump_size=0.015),
            first_price=300.0,
            ticks_per_unit=10_000,
            volume_step=1.0,
            minute_turnover=100_000.0,
        ),
        _Recipe(
            SampleSymbol("SAMPLE-NOISE", "no edge at all: a martingale, independent of the market", 0.001, 0.01),
            beta=0.0,
            own=_Source(5, _STEADY, False, 0.026, jump_chance=0.04, jump_size=0.025),
            first_price=500.0,
            ticks_per_unit=1000,
            volume_step=1.0,
            minute_turnover=150_000.0,
        ),
    )
}


def sample_symbols() -> tuple[SampleSymbol, ...]:
    """The symbols of the SAMPLE venue, in the order of their listing."""
    return tuple(recipe.symbol for recipe in _RECIPES.values())


def sample_candles(
    symbol: str = "SAMPLE-BTC",
    timeframe: str | Timeframe = "1H",
    start: Instant | None = None,
    end: Instant | None = None,
) -> Candles:
    """SYNTHETIC candles, the same to the bit on every call and every machine.

    Args:
        symbol: One of `sample_symbols()`.
        timeframe: Any of `Timeframe.names()`; all of them nest exactly.
        start: Bars open at or after it: datetime (naive = UTC), date, ISO string or ms UTC. Default: 2024-01-01, or
            366 days before `end` where that is given.
        end: Bars open before it. Default: 366 days after `start`, so that neither given means the year 2024.

    Returns:
        Candles of exchange SAMPLE with quote volume, marked `synthetic`.

    Raises:
        DataError: Unknown symbol; a span that is empty or outside 2018-01-01 .. 2036-01-01.
        ConfigError: Unknown timeframe.
    """
    recipe = _recipe(symbol)
    frame = Timeframe.parse(timeframe)
    start_ms, end_ms = _span(start, end)
    # From the first bar on the grid at or after the start to the last one that opens before the end.
    first_bar = -(-(start_ms - _FIRST_MS) // frame.ms)
    n_bars = -(-(end_ms - _FIRST_MS) // frame.ms) - first_bar
    if n_bars < 1:
        raise DataError(
            f"no bar of {frame} opens between {utc_text(start_ms)} and {utc_text(end_ms)}.",
            hint="move the end (it is exclusive) at least one bar beyond the start.",
        )
    columns = _bars(recipe, frame.ms, first_bar, n_bars)
    return Candles.of(
        columns, exchange=SYNTHETIC_EXCHANGE, symbol=recipe.symbol.name, timeframe=frame, synthetic=True, audit="off"
    )


def sample_regimes(
    symbol: str = "SAMPLE-BTC", start: Instant | None = None, end: Instant | None = None
) -> tuple[str, ...]:
    """The truth behind the candles: the regime of each UTC day that begins in the span.

    Args:
        symbol, start, end: As for `sample_candles`.

    Returns:
        One of rise, fall, range, crash, recovery per day; rise or fall for SAMPLE-TREND, none for SAMPLE-NOISE.

    Raises:
        DataError: Unknown symbol; a span that is empty or outside 2018-01-01 .. 2036-01-01.
    """
    start_ms, end_ms = _span(start, end)
    first_day, end_day = (-(-(moment - _FIRST_MS) // DAY_MS) for moment in (start_ms, end_ms))
    return _regime_of_days(_recipe(symbol).own.chain)[first_day:end_day]


def _recipe(symbol: str) -> _Recipe:
    name = str(symbol).strip().upper()
    if name not in _RECIPES:
        raise DataError(
            f"{symbol!r} is not a symbol of the SAMPLE market.{did_you_mean(name, _RECIPES)}",
            hint=f"use one of {', '.join(_RECIPES)}.",
        )
    return _RECIPES[name]


def _span(start: Instant | None, end: Instant | None) -> tuple[int, int]:
    """The span asked for in ms, half-open, with defaults filled in and limits held."""
    start_ms = None if start is None else instant_ms(start)
    end_ms = None if end is None else instant_ms(end)
    if start_ms is None:
        start_ms = _DEFAULT_START_MS if end_ms is None else max(_FIRST_MS, end_ms - _DEFAULT_LENGTH_MS)
    if end_ms is None:
        end_ms = min(_LAST_MS, start_ms + _DEFAULT_LENGTH_MS)
    limits = "the SAMPLE market runs from 2018-01-01 to 2036-01-01 (exclusive)"
    if not _FIRST_MS <= start_ms < _LAST_MS or end_ms > _LAST_MS:
        raise DataError(
            f"{utc_text(start_ms)} .. {utc_text(end_ms)} is outside the SAMPLE market.",
            hint=f"{limits}: move the span into it.",
        )
    if start_ms >= end_ms:
        raise DataError(
            f"the span {utc_text(start_ms)} .. {utc_text(end_ms)} is empty: its end is exclusive.",
            hint=f"give an end after the start; {limits}.",
        )
    return start_ms, end_ms


# --- random numbers ---


def _words(source: int, purpose: int, first: int, count: int) -> _Words:
    """Words `first .. first + count - 1` of a stream of 64 random bits each; `first` is a multiple of 4."""
    counter = np.array([first // 4, 0, 0, 0], dtype=np.uint64)
    key = np.array([_SEED, source * 64 + purpose], dtype=np.uint64)
    return np.random.Philox(counter=counter, key=key).random_raw(count)


# Streams of one source.
_REGIME, _SHOCK_OF_DAY, _JUMP, _SHOCK_OF_MINUTE, _SHAPE_OF_MINUTE, _KNOTS = range(6)


def _normals(words: _Words, words_per_draw: int) -> FloatArray:
    """Draws of mean 0 and deviation 1, nearly normal: sums of four 16-bit uniforms per word (Irwin-Hall).

    Excess kurtosis is -0.3 / words_per_draw: a minute's shape is not normal, which no hour shows, but a day's draw
    (64 words) is as normal as the sum of its minutes, which the bridge relies on.
    """
    low = np.uint64(0xFFFF)
    total = (words & low).astype(np.int64)
    for shift in (16, 32, 48):
        total += ((words >> np.uint64(shift)) & low).astype(np.int64)
    if words_per_draw > 1:
        total = total.reshape(-1, words_per_draw).sum(axis=1)
    deviation = sqrt((2**32 - 1) / 3 * words_per_draw)
    centred: FloatArray = (total - 131_070 * words_per_draw).astype(np.float64)
    return centred / deviation


def _uniforms(words: _Words, shift: int, bits: int) -> FloatArray:
    """`bits` of each word from `shift` on as a number in [0, 1)."""
    part = (words >> np.uint64(shift)) & np.uint64(2**bits - 1)
    return part.astype(np.float64) / float(2**bits)


def _exponential(exponent: FloatArray) -> FloatArray:
    """(1 + x/1024)**1024 by ten squarings: close enough to exp(x), and the same bits on every machine."""
    power = 1.0 + exponent / 1024.0
    for _ in range(10):
        power = power * power
    return power


# --- the skeleton: one row per day, made once and kept ---


class _Skeleton(NamedTuple):
    """One source over all days.

    Attributes:
        variance: (days, 24), of each hour's return.
        steady: (days,), the day's return without its jump.
        jump: (days,), 0 on most days.
        jump_minute: (days,), the minute that jumps.
    """

    variance: FloatArray
    steady: FloatArray
    jump: FloatArray
    jump_minute: IntArray


@lru_cache(maxsize=4)
def _regime_of_days(chain: _Chain) -> tuple[str, ...]:
    words = _words(chain.number, _REGIME, 0, _DAYS)
    leaving, choosing = _uniforms(words, 0, 32).tolist(), _uniforms(words, 32, 32).tolist()
    days = []
    name = chain.first
    for leave, choose in zip(leaving, choosing, strict=True):
        regime = chain.regimes[name]
        if leave * regime.mean_days < 1.0:
            name = _follower(regime, choose)
        days.append(name)
    return tuple(days)


def _follower(regime: _Regime, choice: float) -> str:
    for name, chance in regime.next[:-1]:
        choice -= chance
        if choice < 0.0:
            return name
    return regime.next[-1][0]


@lru_cache(maxsize=16)
def _skeleton(source: _Source) -> _Skeleton:
    regimes = [source.chain.regimes[name] for name in _regime_of_days(source.chain)]
    multiplier = np.array([regime.volatility for regime in regimes])
    drift = np.array([regime.drift if source.drifts else 0.0 for regime in regimes])

    hour, weekday = np.array(_HOUR_PERCENT) ** 2, np.array(_WEEKDAY_PERCENT) ** 2
    season = np.multiply.outer(np.resize(weekday, _DAYS), hour) * (168.0 / (int(hour.sum()) * int(weekday.sum())))
    usual = source.daily_volatility * source.daily_volatility / 24.0
    variance = season * (usual / _MEAN_CLUSTERING) * _clustering(source) * (multiplier * multiplier)[:, None]
    of_day = np.cumsum(variance, axis=1)[:, -1]
    variance *= np.minimum(1.0, _LARGEST_DAY * _LARGEST_DAY / of_day)[:, None]
    of_day = np.cumsum(variance, axis=1)[:, -1]

    shock = _normals(_words(source.number, _SHOCK_OF_DAY, 0, 64 * _DAYS), 64)
    words = _words(source.number, _JUMP, 0, _DAYS)
    sign = 4.0 * _uniforms(words, 0, 1) - 1.0  # one bit is 0 or 1/2
    size = _uniforms(words, 1, 16)
    happens = _uniforms(words, 17, 20) < source.jump_chance
    jump = np.where(happens, sign * source.jump_size * (0.5 + size + size * size * size), 0.0)
    jump_minute = (_uniforms(words, 37, 20) * _MINUTES).astype(np.int64)
    return _Skeleton(variance, drift + np.sqrt(of_day) * shock, jump, jump_minute)


def _clustering(source: _Source) -> FloatArray:
    """(days, 24): exp(2 * log volatility), before it is divided by its mean."""
    n_hours = 24 * _DAYS
    noise = np.zeros(n_hours)
    for place, spacing in enumerate(_KNOT_HOURS):
        n_lines = -(-n_hours // spacing)
        knots = _normals(_words(source.number, _KNOTS + place, 0, n_lines + 1), 1)
        way = np.arange(spacing) / spacing
        noise += (knots[:-1, None] + np.diff(knots)[:, None] * way).reshape(-1)[:n_hours]
    return _exponential(2.0 * _KNOT_DEVIATION * noise).reshape(_DAYS, 24)


@lru_cache(maxsize=16)
def _price_at_midnight(symbol: str) -> FloatArray:
    """(days + 1,): the price, not yet rounded, at which each day opens; it is the close of the day before."""
    recipe = _RECIPES[symbol]
    own, market = _skeleton(recipe.own), _skeleton(_MARKET)
    day = 1.0 + (own.steady + own.jump) + recipe.beta * (market.steady + market.jump)
    prices: FloatArray = np.multiply.accumulate(np.concatenate(([recipe.first_price], day)))
    return prices


# --- minutes, and bars of them ---


def _bars(recipe: _Recipe, length_ms: int, first_bar: int, n_bars: int) -> dict[str, NDArray[np.generic]]:
    """Columns of `n_bars` bars from bar `first_bar` (counted from 2018-01-01) on, made chunk by chunk.

    Whole days are made (whole weeks for 1W) and the bars outside the span dropped.
    """
    minutes = length_ms // MINUTE_MS
    unit_days = max(1, minutes // _MINUTES)
    first_day = first_bar * minutes // _MINUTES // unit_days * unit_days
    end_day = -(-(first_bar + n_bars) * minutes // (unit_days * _MINUTES)) * unit_days
    columns = {name: np.empty(n_bars) for name in ("open", "high", "low", "close", "volume", "quote_volume")}
    for day in range(first_day, end_day, _CHUNK_DAYS):
        bars = _merge(_minutes(recipe, day, min(_CHUNK_DAYS, end_day - day)), minutes)
        offset = day * _MINUTES // minutes - first_bar
        into = slice(max(0, offset), min(n_bars, offset + len(bars.open)))
        part = slice(into.start - offset, into.stop - offset)
        columns["open"][into] = bars.open[part] / recipe.ticks_per_unit
        columns["high"][into] = bars.high[part] / recipe.ticks_per_unit
        columns["low"][into] = bars.low[part] / recipe.ticks_per_unit
        columns["close"][into] = bars.close[part] / recipe.ticks_per_unit
        columns["volume"][into] = bars.volume[part] * recipe.volume_step
        columns["quote_volume"][into] = bars.quote[part] / _QUOTE_STEPS
    time = _FIRST_MS + length_ms * np.arange(first_bar, first_bar + n_bars, dtype=np.int64)
    return {"time": time, **columns}


class _Ticks(NamedTuple):
    """Bars in whole numbers: prices in ticks, volume and quote volume in their steps."""

    open: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    volume: IntArray
    quote: IntArray


def _merge(bars: _Ticks, size: int) -> _Ticks:
    """Bars of `size` bars each."""
    if size == 1:
        return bars
    open_, high, low, close, volume, quote = (column.reshape(-1, size) for column in bars)
    return _Ticks(
        open_[:, 0].copy(),
        high.max(axis=1),
        low.min(axis=1),
        close[:, -1].copy(),
        volume.sum(axis=1),
        quote.sum(axis=1),
    )


def _minutes(recipe: _Recipe, first_day: int, n_days: int) -> _Ticks:
    """All minutes of the days, flattened."""
    days = slice(first_day, first_day + n_days)
    price = _price_at_midnight(recipe.symbol.name)[first_day : first_day + n_days + 1]
    path, variance = _path(recipe.own, first_day, n_days), _skeleton(recipe.own).variance[days]
    if recipe.beta:
        path += recipe.beta * _path(_MARKET, first_day, n_days)
        variance = variance + recipe.beta * recipe.beta * _skeleton(_MARKET).variance[days]
    path += 1.0
    path *= price[:-1, None]
    path[:, -1] = price[1:]  # the bridge ends there but for the last bits
    close = np.rint(path * recipe.ticks_per_unit)
    # A market that never sleeps: a minute opens where the one before it closed.
    open_ = np.empty_like(close)
    open_[:, 0] = np.rint(price[:-1] * recipe.ticks_per_unit)
    open_[:, 1:] = close[:, :-1]

    words = _words(recipe.own.number, _SHAPE_OF_MINUTE, first_day * _MINUTES, n_days * _MINUTES).reshape(n_days, -1)
    deviation = np.sqrt(variance / 60.0)  # of a minute's return, by hour
    in_ticks = np.repeat(deviation * (price[:-1, None] * recipe.ticks_per_unit), 60, axis=1)
    above, below = _uniforms(words, 0, 16), _uniforms(words, 16, 16)
    low = np.maximum(np.minimum(open_, close) - np.rint(below * below * (_WICK * in_ticks)), 1.0)
    high = np.maximum(open_, close) + np.rint(above * above * (_WICK * in_ticks))
    high = np.maximum(high, low + 1.0)  # trade inside a minute moves the price at least once

    # Turnover follows volatility and the size of the move, with noise of mean 1; the cap tames the jumps.
    own, market = recipe.own.daily_volatility, recipe.beta * _MARKET.daily_volatility
    usual = sqrt((own * own + market * market) / _MINUTES)
    activity = np.repeat(deviation * (recipe.minute_turnover / usual), 60, axis=1)
    move = np.minimum(np.abs(close - open_) / in_ticks, 8.0)
    noise = _uniforms(words, 32, 32)
    turnover = activity * (0.5 + 0.63 * move) * (0.35 + 2.6 * (noise * noise * noise))
    typical = (open_ + high + low + close) / (4.0 * recipe.ticks_per_unit)
    volume = np.maximum(np.rint(turnover / typical / recipe.volume_step), 1.0)
    quote = np.rint(volume * recipe.volume_step * typical * _QUOTE_STEPS)
    return _Ticks(*(column.reshape(-1).astype(np.int64) for column in (open_, high, low, close, volume, quote)))


def _path(source: _Source, first_day: int, n_days: int) -> FloatArray:
    """(days, 1440): the source's return from the day's open to each minute's close.

    A Brownian bridge in the day's own time, in which variance passes evenly: the walk of the minutes, tilted so that
    it ends at the day's return. The increments have the covariances of independent draws because the day's shock has
    the variance that the walk would have had. A jump and what follows it is laid on top.
    """
    days = slice(first_day, first_day + n_days)
    variance, steady, jump, jump_minute = _skeleton(source)
    variance = variance[days]
    words = _words(source.number, _SHOCK_OF_MINUTE, first_day * _MINUTES, n_days * _MINUTES)
    walk = _normals(words, 1).reshape(n_days, _MINUTES)
    walk *= np.repeat(np.sqrt(variance / 60.0), 60, axis=1)
    walk = np.cumsum(walk, axis=1)
    passed = np.cumsum(variance, axis=1)
    before = passed - variance
    clock = (before[:, :, None] + variance[:, :, None] * (np.arange(1, 61) / 60.0)).reshape(n_days, _MINUTES)
    walk += clock * ((steady[days] - walk[:, -1]) / passed[:, -1])[:, None]
    walk += np.where(np.arange(_MINUTES) >= jump_minute[days, None], jump[days, None], 0.0)
    return walk
