"""Markets of known truth: where nothing is to be found, and where an edge of chosen size was planted.

SYNTHETIC, all of them. A test that is to tell luck from an edge has to be tried where the answer is known, on more
markets than there are real ones; the SAMPLE market is one market only. Each of these is made from a seed: another seed
is another market of the same kind.

`random_walk` and `clustered_volatility` are martingales: no rule that reads the past has an edge before costs.
`permuted_days` is a real market with its days in random order: whatever happens within a day is real, and nothing
leads from one day to the next. `planted_trend` drifts for a while after every crossing of two EMAs, so that whoever
follows that crossing has an edge, and the more the larger `drift` is.
"""

import math
from typing import Final

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.data.candles import SYNTHETIC_EXCHANGE, Candles
from barwise.errors import ConfigError, DataError
from barwise.timeframe import DAY_MS, Timeframe

_FIRST_MS: Final = 1_609_459_200_000  # 2021-01-01 00:00 UTC: whole days from the first bar on
_FRAME: Final = "1H"
_FIRST_PRICE: Final = 100.0
_DEVIATION: Final = 0.006  # of an hour's log return: 56 % a year, about that of BTCUSDT
_STEPS: Final = 12  # Brownian steps within a bar; high and low are the extremes of this path
_TAILS: Final = 5.0  # degrees of freedom of the mixture: raw kurtosis about 9
_LARGEST_SHOCK: Final = 36.0  # of the mixture, times its mean variance: keeps every mean finite
# GARCH(1, 1): variance remembers 98 % of itself from one hour to the next, a half-life of 34 hours.
_REACTION, _MEMORY = 0.08, 0.90
_VOLUME: Final = 10_000.0
_VOLUME_DEVIATION: Final = 0.5
# Sets these streams apart from those of a search with the same seed.
_OWN: Final = 7_919_000_000_000


def random_walk(seed: int, bars: int) -> Candles:
    """A martingale of 1H bars with fat tails: independent moves whose variances are drawn anew for every bar.

    Args:
        seed: Of this market.
        bars: How many, >= 2.

    Raises:
        ConfigError: Fewer than 2 bars.
    """
    random = _random(seed, bars, 1)
    return _market(_path(random, _DEVIATION**2 * _mixture(random, bars), np.zeros(bars)), random)


def clustered_volatility(seed: int, bars: int) -> Candles:
    """A martingale of 1H bars whose volatility clusters as GARCH(1, 1) with fat tails.

    Args:
        seed, bars: As in `random_walk`.

    Raises:
        ConfigError: Fewer than 2 bars.
    """
    random = _random(seed, bars, 2)
    mixture, shocks = _mixture(random, bars), random.standard_normal((bars, _STEPS)) / math.sqrt(_STEPS)
    usual = _DEVIATION**2
    squares = (mixture * shocks.sum(axis=1) ** 2).tolist()
    variance = np.empty(bars)
    expected = usual
    for bar, square in enumerate(squares):
        variance[bar] = expected
        expected = (1.0 - _REACTION - _MEMORY) * usual + (_REACTION * square + _MEMORY) * expected
        expected = min(expected, _LARGEST_SHOCK * usual)
    return _market(_path(random, variance * mixture, np.zeros(bars), shocks), random)


def planted_trend(seed: int, bars: int, *, drift: float, fast: int = 22, slow: int = 46, hold: int = 24) -> Candles:
    """A market of 1H bars in which following the crossings of two EMAs pays.

    From the bar after a crossing on, and for `hold` bars or up to the next crossing, the mean return of a bar is
    `drift` deviations in the direction of the crossing. The rest is a `random_walk`; with a drift of 0 all of it is, to
    the bit.

    Args:
        seed, bars: As in `random_walk`.
        drift: In deviations of a bar's return, >= 0.
        fast, slow: Periods of the EMAs of the closes, `fast` below `slow`.
        hold: Bars for which a crossing matters, >= 1.

    Raises:
        ConfigError: Fewer than 2 bars, or a setting out of its bounds.
    """
    if not (0.0 <= drift < 1.0 and 1 <= fast < slow and hold >= 1):
        raise ConfigError(
            f"an edge of drift {drift}, EMAs {fast} and {slow}, held for {hold} bars cannot be planted.",
            hint="0 <= drift < 1, 1 <= fast < slow and hold >= 1 must hold.",
        )
    random = _random(seed, bars, 1)
    variance = _DEVIATION**2 * _mixture(random, bars)
    shocks = random.standard_normal((bars, _STEPS)) / math.sqrt(_STEPS)
    moves = _moves(variance, np.zeros(bars), shocks)[:, -1].tolist()
    means = np.zeros(bars)
    side, left, close = 0, 0, 0.0
    near = far = _FIRST_PRICE
    above = False
    for bar, move in enumerate(moves):
        if left:
            means[bar] = side * drift * _DEVIATION
            left -= 1
        close += move + means[bar]
        price = _FIRST_PRICE * math.exp(close)
        near += (price - near) * 2.0 / (fast + 1)
        far += (price - far) * 2.0 / (slow + 1)
        if bar and (near > far) != above:
            side, left = (1 if near > far else -1), hold
        above = near > far
    return _market(_path(random, variance, means, shocks), random)


def permuted_days(candles: Candles, seed: int, bars: int | None = None) -> Candles:
    """Real days in random order: a span of the market is drawn, then the order of its days.

    A day keeps its bars, as ratios to the close before them, and with them its volumes. The move of the whole span is
    the real one. Days that lack a bar are left out.

    Args:
        candles: Of a market that never closes, with bars that divide a day.
        seed: Of this order.
        bars: Length of the span; None = all of it. Rounded down to whole days.

    Raises:
        DataError: The market has sessions, or fewer than two whole days of bars as asked for.
    """
    per_day, rest = divmod(DAY_MS, candles.timeframe.ms)
    if rest or not candles.calendar.always_open:
        raise DataError(
            "days can be put in another order where bars divide a day and the market never closes.",
            hint="use intraday candles of a crypto market.",
        )
    first = _whole_days(candles, per_day)
    days = len(first) if bars is None else bars // per_day
    if not 2 <= days <= len(first):
        raise DataError(
            f"{days:,} whole days were asked for; 2 to {len(first):,} can be had.",
            hint="use more candles, or fewer bars.",
        )
    random = np.random.default_rng(np.random.SeedSequence([_OWN, 3, seed]))
    begin = int(random.integers(len(first) - days + 1))
    chosen = random.permutation(first[begin : begin + days])
    rows = (chosen[:, None] + np.arange(per_day)).ravel()
    before = candles.close[rows - 1]
    growth = np.concatenate(([1.0], np.cumprod(candles.close[rows] / before)[:-1]))
    level = candles.close[first[begin] - 1] * growth / before
    time = candles.time[first[begin]] + candles.timeframe.ms * np.arange(len(rows))
    opens, highs, lows, closes = (
        column[rows] * level for column in (candles.open, candles.high, candles.low, candles.close)
    )
    return _candles(time, opens, highs, lows, closes, candles.volume[rows], candles.timeframe)


def _whole_days(candles: Candles, per_day: int) -> IntArray:
    """First bars of the UTC days that have all their bars, and a bar before them."""
    opens_day = np.flatnonzero(candles.time % DAY_MS == 0)
    last = opens_day + per_day - 1
    inside = (opens_day > 0) & (last < len(candles))
    opens_day, last = opens_day[inside], last[inside]
    whole: IntArray = opens_day[candles.time[last] - candles.time[opens_day] == DAY_MS - candles.timeframe.ms]
    return whole


def _random(seed: int, bars: int, kind: int) -> np.random.Generator:
    if bars < 2:
        raise ConfigError(f"a market of {bars} bars cannot be made.", hint="2 bars is the least.")
    return np.random.default_rng(np.random.SeedSequence([_OWN, kind, seed]))


def _mixture(random: np.random.Generator, bars: int) -> FloatArray:
    """Variances of mean about 1 that turn normal moves into moves of Student's t."""
    drawn: FloatArray = (_TAILS - 2.0) / random.chisquare(_TAILS, bars)
    return np.minimum(drawn, _LARGEST_SHOCK)


def _moves(variance: FloatArray, means: FloatArray, shocks: FloatArray) -> FloatArray:
    """Log prices over the open within each bar, [bars, steps]: a martingale in prices, plus the mean."""
    steps = np.arange(1, _STEPS + 1) / _STEPS
    # Half the variance is what the mean of exp(a normal number) exceeds 1 by.
    slope = means - 0.5 * variance
    moved: FloatArray = np.cumsum(np.sqrt(variance)[:, None] * shocks, axis=1) + slope[:, None] * steps
    return moved


def _path(
    random: np.random.Generator, variance: FloatArray, means: FloatArray, shocks: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Log open of each bar, and log prices within the bar over it."""
    if shocks is None:
        shocks = random.standard_normal((len(variance), _STEPS)) / math.sqrt(_STEPS)
    moves = _moves(variance, means, shocks)
    return np.concatenate(([0.0], np.cumsum(moves[:, -1])[:-1])), moves


def _market(path: tuple[FloatArray, FloatArray], random: np.random.Generator) -> Candles:
    starts, moves = path
    opens = _FIRST_PRICE * np.exp(starts)
    highs = opens * np.exp(np.maximum(moves.max(axis=1), 0.0))
    lows = opens * np.exp(np.minimum(moves.min(axis=1), 0.0))
    closes = opens * np.exp(moves[:, -1])
    volume = _VOLUME * np.exp(_VOLUME_DEVIATION * random.standard_normal(len(opens)))
    frame = Timeframe.parse(_FRAME)
    return _candles(_FIRST_MS + frame.ms * np.arange(len(opens)), opens, highs, lows, closes, volume, frame)


def _candles(
    time: IntArray, opens: FloatArray, highs: FloatArray, lows: FloatArray, closes: FloatArray, volume: FloatArray,
    frame: Timeframe,
) -> Candles:  # fmt: skip
    columns = {"time": time, "open": opens, "high": highs, "low": lows, "close": closes, "volume": volume}
    return Candles.of(
        columns, exchange=SYNTHETIC_EXCHANGE, symbol="TRUTH", timeframe=frame, synthetic=True, audit="off"
    )
