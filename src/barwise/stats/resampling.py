"""Markets that never were, made of the bars of one that was: the null and the alternative histories of all tests.

Whether a search has found something is asked by searching where there is nothing to find. Three such markets are made
here: `permuted_bars` has every move of the real one in random order (no pattern survives), `block_bootstrapped_bars`
has runs of days of it in random order (short patterns survive, what followed what does not), and `noise_future` has the
same past and another future (a strategy that looks ahead gives itself away).

A bar is taken apart into its gap, open over the close before, and its body, high, low and close over the open. These
are ratios, so that reordering adds their logarithms as it should, and putting them together again takes nothing but
products. So high >= max(open, close) and low <= min(open, close) hold exactly, and of the total move only the last
digits depend on the order. Prices do not stay on the market's ticks.

Columns are float64 of shape [n], prices > 0; sessions are integers of shape [n], see `session_labels`.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from barwise.core.layout import Bars, BoolArray, FloatArray, IntArray
from barwise.errors import ConfigError, DataError

if TYPE_CHECKING:
    from barwise.data.candles import Candles

# The walk of `noise_future`, in deviations of one bar's return before it; far enough from the past to show in any sum.
_NOISE_SCALE = (1.0, 3.0)
_NOISE_JUMP = (0.05, 0.25)
_NOISE_DEVIATION = 0.01  # of a bar, where the past has none
_NOISE_WIDTH = 2.0  # largest deviation of the last bar's log price: prices stay within a few powers of e
_NOISE_VOLUME = 0.5  # deviation of log volume


class SyntheticBars(NamedTuple):
    """Bars without times, read-only columns of one length: what is made here of the columns of a real market.

    `volume` is in base units; `quote_volume` is money, None where none was given.
    """

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    quote_volume: FloatArray | None


class _Moves(NamedTuple):
    """Bars first .. n-1 as ratios, shape [n - first]; row i is bar first + i."""

    gap: FloatArray  # open over the close before
    high: FloatArray  # high, low, close over the open
    low: FloatArray
    close: FloatArray


def session_labels(time: IntArray, timeframe_ms: int) -> IntArray:
    """The number of each bar's session: it counts up wherever a bar does not open at the close of the one before.

    So nights, weekends and holes in the data all begin a session, at any timeframe and without a calendar. A market
    that never closes and has no holes is one session.

    Args:
        time: Opens in ms UTC, ascending.
        timeframe_ms: Length of a bar.
    """
    labels = np.zeros(len(time), dtype=np.int64)
    np.cumsum(np.diff(time) > timeframe_ms, out=labels[1:])
    return labels


def permuted_bars(
    opens: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    closes: FloatArray,
    volume: FloatArray,
    rng: np.random.Generator,
    *,
    first: int = 1,
    quote_volume: FloatArray | None = None,
    session: IntArray | None = None,
) -> SyntheticBars:
    """The same moves in random order: a market with the same drift, variance and tails, and without any pattern.

    Gaps and bodies of the bars from `first` on are permuted independently of each other. The bars before stay as they
    are, and so does the move from the first close to the last, up to rounding. A bar's volume goes with its body; its
    quote volume is carried to the new price level, so that the bar's mean price (quote volume / volume) keeps its
    place within the bar.

    Args:
        opens, highs, lows, closes, volume: Columns of the real bars; volume in base units.
        rng: Two permutations are drawn from it, that of the gaps first.
        first: How many bars stay, >= 1: the gap of the first of all is not known.
        quote_volume: Money traded per bar.
        session: Number of each bar's session. With it, the gaps between sessions are permuted among themselves, and
            those within sessions among themselves: a night's move stays a night's move. Bodies are one pool all the
            same: the first hour of a session is not told from the others.

    Raises:
        DataError: The columns differ in length, a price is not positive, or no bar follows the first ones.
        ConfigError: `first` is below 1.

    Source:
        Masters (2018), Testing and Tuning Market Trading Systems: permutation of bars by gaps and bodies.
    """
    real = SyntheticBars(opens, highs, lows, closes, volume, quote_volume)
    moves = _moves(real, session, first)
    overnight = _overnight(session, first)
    gaps = _permutation_within(overnight, len(moves.gap), rng)
    bodies = rng.permutation(len(moves.gap))
    return _assembled(real, first, moves, gaps, bodies)


def block_bootstrapped_bars(
    opens: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    closes: FloatArray,
    volume: FloatArray,
    rng: np.random.Generator,
    *,
    block: float,
    first: int = 1,
    quote_volume: FloatArray | None = None,
    session: IntArray | None = None,
) -> SyntheticBars:
    """An alternative history: runs of consecutive bars, drawn with replacement and joined end to end.

    Stationary bootstrap of the bars from `first` on: runs begin anywhere, have geometric lengths of mean `block`, and
    go on at the beginning where they reach the end. What happens within a run is real; the total move is another one.

    Args:
        opens, highs, lows, closes, volume, quote_volume: As in `permuted_bars`.
        rng: Source of the runs.
        block: Mean length of a run in bars, >= 1. Five days or more keep the patterns that most strategies trade.
        first: How many bars stay, >= 1.
        session: Number of each bar's session. With it, a run begins at the same bar of a session as the place it is
            put to, and where sessions of different length drift apart, a gap of the right kind (between sessions, or
            within) is drawn for the bar.

    Raises:
        DataError: As in `permuted_bars`.
        ConfigError: `first` or `block` is below 1.

    Source:
        Politis & Romano (1994), The Stationary Bootstrap.
    """
    if not 1.0 <= block < math.inf:
        raise ConfigError(
            f"The mean block is {block} bars; it has to be 1 or more.", hint="give five days or more: 120 bars of 1H."
        )
    real = SyntheticBars(opens, highs, lows, closes, volume, quote_volume)
    moves = _moves(real, session, first)
    overnight = _overnight(session, first)
    slot = np.zeros(len(moves.gap), dtype=np.int64) if session is None else _bar_of_session(session)[first:]
    bodies = _block_sources(slot, block, rng)
    gaps = bodies if overnight is None else _of_same_kind(bodies, overnight, rng)
    return _assembled(real, first, moves, gaps, bodies)


def noise_future(bars: Bars, at: int, rng: np.random.Generator) -> Bars:
    """The same bars up to and including `at`, to the bit, and noise after it.

    The noise owes nothing to the bars it replaces, neither their mean nor their order nor their sum, so that a strategy
    can know nothing of it: a jump of 5 to 25 % up or down, then a random walk with one to three times the deviation of
    the past, and volume of its own. A leak that reads the next bar's direction alone meets the same direction in half
    of the draws, so draw more than one. Volume stays 0 where the past has none.

    Args:
        bars: The real bars.
        at: Last bar that stays, 0 .. n-1.
        rng: Source of the noise.

    Raises:
        DataError: There is no bar `at`, or a close up to it is not positive.
    """
    n = len(bars.time)
    if not 0 <= at < n:
        raise DataError(f"There is no bar {at} among {n:,} bars.", hint="bars count from 0.")
    _require_prices("close", bars.close[: at + 1])
    last, count = float(bars.close[at]), n - 1 - at
    past = float(np.std(np.diff(np.log(bars.close[: at + 1])))) if at else 0.0
    scaled = rng.uniform(*_NOISE_SCALE) * (past or _NOISE_DEVIATION)
    deviation = min(scaled, _NOISE_WIDTH / math.sqrt(max(count, 1)))
    jump = rng.choice((-1.0, 1.0)) * rng.uniform(*_NOISE_JUMP)
    closes = last * np.exp(jump + np.cumsum(deviation * rng.standard_normal(count)))
    opens = np.concatenate(([last * math.exp(jump)], closes))[:count]
    wicks = np.exp(deviation * np.abs(rng.standard_normal((2, count))))
    volume = float(np.mean(bars.volume[: at + 1])) * np.exp(_NOISE_VOLUME * rng.standard_normal(count))
    noise = (opens, np.maximum(opens, closes) * wicks[0], np.minimum(opens, closes) / wicks[1], closes, volume)
    columns = [_frozen(np.concatenate((real[: at + 1], made))) for real, made in zip(bars[1:], noise, strict=True)]
    return Bars(bars.time, *columns)


def as_candles_like(candles: "Candles", bars: SyntheticBars | Bars) -> "Candles":
    """Candles of made bars with the identity and the times of the real ones, marked synthetic and not audited.

    Args:
        candles: The real ones: exchange, symbol, timeframe and times are theirs.
        bars: As many bars. Plain `Bars` have no quote volume.

    Raises:
        DataError: There are more or fewer bars than candles.
    """
    return replace(
        candles,
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
        quote_volume=bars.quote_volume if isinstance(bars, SyntheticBars) else None,
        synthetic=True,
        notes=(),
    )


# -- Taking bars apart and putting them together -----------------------------------------------------------------------


def _moves(real: SyntheticBars, session: IntArray | None, first: int) -> _Moves:
    """The bars from `first` on as ratios; raises where they cannot be."""
    n = len(real.open)
    for name, column in {**real._asdict(), "session": session}.items():
        if column is not None and len(column) != n:
            raise DataError(f"Column {name} has {len(column):,} values, column open has {n:,}.")
    if first < 1:
        raise ConfigError(
            f"first is {first}; at least 1 bar has to stay.", hint="the gap before the first bar is not known."
        )
    if n <= first:
        raise DataError(
            f"{n:,} bars of which {first:,} stay leave nothing to resample.", hint="give more bars, or a lower first."
        )
    for name in ("open", "high", "low", "close"):
        _require_prices(name, getattr(real, name))
    base = real.open[first:]
    return _Moves(
        base / real.close[first - 1 : -1], real.high[first:] / base, real.low[first:] / base, real.close[first:] / base
    )


def _require_prices(name: str, price: FloatArray) -> None:
    # NaN fails both comparisons, because it goes through min and max.
    if not (price.min() > 0.0 and price.max() < math.inf):
        raise DataError(
            f"Column {name} has a price that is not positive and finite.",
            hint="candles.audit says where; mend the data first.",
        )


def _assembled(real: SyntheticBars, first: int, moves: _Moves, gaps: IntArray, bodies: IntArray) -> SyntheticBars:
    """The real bars before `first`, then bars of these gaps and bodies (rows of `moves`), each from the last close."""
    path = np.empty(2 * len(gaps) + 1)
    path[0] = real.close[first - 1]
    path[1::2] = moves.gap[gaps]
    path[2::2] = moves.close[bodies]
    np.multiply.accumulate(path, out=path)
    opens = path[1::2]

    def joined(column: FloatArray, made: FloatArray) -> FloatArray:
        return _frozen(np.concatenate((column[:first], made)))

    quote_volume = real.quote_volume
    if quote_volume is not None:
        quote_volume = joined(quote_volume, (quote_volume[first:] / real.open[first:])[bodies] * opens)
    return SyntheticBars(
        joined(real.open, opens),
        # A product of a larger and a smaller ratio with the same open keeps their order, whatever the rounding.
        joined(real.high, opens * moves.high[bodies]),
        joined(real.low, opens * moves.low[bodies]),
        joined(real.close, path[2::2]),
        joined(real.volume, real.volume[first:][bodies]),
        quote_volume,
    )


def _frozen(column: FloatArray) -> FloatArray:
    """The same array, read-only: candles take it without a copy."""
    column.setflags(write=False)
    return column


# -- Sessions ----------------------------------------------------------------------------------------------------------


def _overnight(session: IntArray | None, first: int) -> BoolArray | None:
    """Whether the gap of each bar from `first` on lies between two sessions; None where nobody tells sessions apart."""
    if session is None:
        return None
    between: BoolArray = session[first:] != session[first - 1 : -1]
    return between


def _bar_of_session(session: IntArray) -> IntArray:
    """How many bars of its session came before each bar."""
    bar = np.arange(len(session))
    begins = np.concatenate(([False], session[1:] != session[:-1]))
    slot: IntArray = bar - np.maximum.accumulate(np.where(begins, bar, 0))
    return slot


def _permutation_within(kind: BoolArray | None, count: int, rng: np.random.Generator) -> IntArray:
    """A random order of 0 .. count-1 that puts each row where one of its own kind was."""
    if kind is None:
        return rng.permutation(count)
    order = np.arange(count)
    for rows in (np.flatnonzero(~kind), np.flatnonzero(kind)):
        order[rows] = rng.permutation(rows)
    return order


def _block_sources(slot: IntArray, block: float, rng: np.random.Generator) -> IntArray:
    """Which row each place gets: runs of geometric lengths that begin at a random row of the place's own slot."""
    count = len(slot)
    place = np.arange(count)
    begins = rng.random(count) < 1.0 / block
    begins[0] = True
    starts = np.flatnonzero(begins)
    by_slot = np.argsort(slot, kind="stable")
    rows_of_slot = np.bincount(slot)
    offset = np.cumsum(rows_of_slot) - rows_of_slot
    wanted = slot[starts]
    source = np.zeros(count, dtype=np.int64)
    source[starts] = by_slot[offset[wanted] + rng.integers(rows_of_slot[wanted])]
    run = np.maximum.accumulate(np.where(begins, place, 0))
    rows: IntArray = (source[run] + place - run) % count
    return rows


def _of_same_kind(source: IntArray, kind: BoolArray, rng: np.random.Generator) -> IntArray:
    """The same rows, but a random one of the place's kind wherever the row is of the other kind."""
    rows = source.copy()
    for own in (False, True):
        places = np.flatnonzero((kind == own) & (kind[source] != own))
        if len(places):
            rows[places] = rng.choice(np.flatnonzero(kind == own), len(places))
    return rows
