"""Monte Carlo: how else the same trades and the same returns could have come, and what luck alone did to the drawdown.

One history is one draw. `reshuffled_trades` asks what drawdown the same trades give in another order,
`bootstrap_paths` what equity the same returns give in other runs, and `missed_fills` what is left where some entries
were never filled. None of them can know more than the sample: a lucky sample stays lucky in all of its resamples, and
none of these numbers is the probability that a strategy has an edge (docs/monte-carlo.md).

Arrays in, dataclasses out; equal seeds give equal results. Samples are made in chunks, so memory grows with the number
of trades or bars and with the number of resamples, never with their product.

Units as in `core.metrics`: what comes OUT in returns, shares, probabilities and drawdowns is PERCENT, money is quote
currency, ratios are plain. What goes IN (bar returns, shares, thresholds) are fractions, as everywhere in settings.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import index
from typing import Any

import numpy as np

from barwise.core.figures import RESOLUTION
from barwise.core.layout import BoolArray, FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats.bootstrap import stationary_indices

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
FAN = (5, 25, 50, 75, 95)
# Values of one chunk of samples: a few arrays of 8 MB at a time.
_CHUNK = 2**20
_MOST_FAN_VALUES = 10**7
_BINS = 40
# Sums of the same numbers in another order differ by less than this share of their size.
_ROUNDING = 1e-9
# Every function draws from a stream of its own, so that equal seeds do not tie their results together.
_RESHUFFLE, _BOOTSTRAP, _MISSED = range(3)


@dataclass(frozen=True)
class Distribution:
    """What a number came out as over all samples, in the unit of the field that holds it.

    Attributes:
        samples: How many samples have the number.
        undefined: How many have not (a Sharpe ratio of returns that do not vary); they are left out of everything else.
        mean, minimum, maximum: None without samples.
        percentiles: 1, 5, 25, 50, 75, 95 and 99 % of the samples lie at or below these, linearly interpolated; empty
            without samples.
        edges: Of a histogram's bins of equal width, one more than bins.
        counts: Samples per bin, lower edge included; the last bin includes its upper edge.
    """

    samples: int
    undefined: int
    mean: float | None
    minimum: float | None
    maximum: float | None
    percentiles: Mapping[int, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: FloatArray) -> "Distribution":
        """The distribution of samples; those that are not finite count as undefined."""
        known = values[np.isfinite(values)]
        missing = len(values) - len(known)
        if not len(known):
            return cls(0, missing, None, None, None, {}, (), ())
        low, high = float(known.min()), float(known.max())
        # Values that differ by their rounding alone are one value, and cannot be cut into bins.
        alike = high - low <= _ROUNDING * max(abs(low), abs(high))
        counts, edges = np.histogram(known, bins=1 if alike else _BINS, range=(low, high) if not alike else None)
        return cls(
            len(known),
            missing,
            float(known.mean()),
            low,
            high,
            dict(zip(PERCENTILES, np.percentile(known, PERCENTILES).tolist(), strict=True)),
            tuple(edges.tolist()),
            tuple(counts.tolist()),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; percentiles are named p1 .. p99."""
        return asdict(self) | {
            "percentiles": _named(self.percentiles),
            "edges": list(self.edges),
            "counts": list(self.counts),
        }


@dataclass(frozen=True)
class Reshuffle:
    """The same trades in other orders.

    Results add up, so the final equity is the same in every order, and only the way there can differ: read the 95th
    percentile of the drawdown, not a probability of profit. Drawdowns are those of the closed trades' equity; open
    positions are not marked, so the drawdown on bars is larger.

    Attributes:
        trades, resamples, seed: Of the run.
        initial_capital, final_equity: Money; the same in all orders.
        observed_drawdown, observed_drawdown_money: Of the order that happened: percent of the peak, and money.
        drawdown, drawdown_money: Of the sampled orders.
        worse, worse_money: Percent of the sampled orders with a larger drawdown than the one that happened. Near 100:
            the real order was lucky. Near 0: losses came in a row, as they do where trades depend on each other.
    """

    trades: int
    resamples: int
    seed: int
    initial_capital: float
    final_equity: float
    observed_drawdown: float
    observed_drawdown_money: float
    drawdown: Distribution
    drawdown_money: Distribution
    worse: float
    worse_money: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self) | {"drawdown": self.drawdown.to_dict(), "drawdown_money": self.drawdown_money.to_dict()}


@dataclass(frozen=True)
class Paths:
    """Equity as it could have gone with the same returns in other runs.

    Attributes:
        bars, block, resamples, seed, bars_per_year: Of the run; `block` is the mean length in bars of what is drawn
            in one piece.
        points: Bars after the start at which the fan is known, ascending; the first is 0, the last is `bars`.
        fan: Equity as a multiple of that at the start: 5, 25, 50, 75 and 95 % of the paths are at or below it at each
            point. A line of the fan joins different paths and is none of them.
        observed: What happened, at the same points.
        final_return: Percent.
        sharpe_ratio: Times the root of `bars_per_year`: annual, or per bar where that is 1.
        max_drawdown: Percent of the peak, on bar closes.
        loss_probability: Percent of the paths that end below their start.
        ruin_below: Percent of the starting equity.
        ruin_probability: Percent of the paths that are at or below `ruin_below` at the close of any bar.
    """

    bars: int
    block: float
    resamples: int
    seed: int
    bars_per_year: float
    points: tuple[int, ...]
    fan: Mapping[int, tuple[float, ...]]
    observed: tuple[float, ...]
    final_return: Distribution
    sharpe_ratio: Distribution
    max_drawdown: Distribution
    loss_probability: float
    ruin_below: float
    ruin_probability: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; the lines of the fan are named p5 .. p95."""
        return asdict(self) | {
            "points": list(self.points),
            "fan": _named(self.fan),
            "observed": list(self.observed),
            "final_return": self.final_return.to_dict(),
            "sharpe_ratio": self.sharpe_ratio.to_dict(),
            "max_drawdown": self.max_drawdown.to_dict(),
        }


@dataclass(frozen=True)
class MissedFills:
    """The net result where some trades never came about.

    Attributes:
        trades, resamples, seed: Of the run.
        missed_share: Percent; the chance of each trade to be missed.
        net_pnl: Money, with all trades.
        result: Money, of the samples.
        loss_probability: Percent of the samples with a net result below 0.
        without_best: Money, where the best trades are the ones that are missed: `missed_share` of all, rounded up.
            Chance is kind here: a limit order is missed when the price runs away from it, which it does in good trades.
    """

    trades: int
    resamples: int
    seed: int
    missed_share: float
    net_pnl: float
    result: Distribution
    loss_probability: float
    without_best: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self) | {"result": self.result.to_dict()}


def reshuffled_trades(net_pnl: FloatArray, capital: float, resamples: int = 10_000, seed: int = 0) -> Reshuffle:
    """Drawdowns of the same trades in random orders.

    It takes the sizes of the trades as given: a strategy that sizes by its equity would trade other sizes in another
    order. It takes the trades as exchangeable: where losses follow losses, the orders made here are too kind.

    Args:
        net_pnl: Money per trade after all costs, in the order of their exits, shape [trades].
        capital: At the start, > 0.
        resamples: Orders to draw.
        seed: Of the draw, >= 0.

    Raises:
        DataError: There are no trades, or a result is not finite.
        ConfigError: The capital, the number of orders or the seed is impossible.
    """
    net = _values("net_pnl", net_pnl, 1, "trade")
    if not 0.0 < capital < math.inf:
        raise ConfigError(f"capital is {capital}; it has to be a positive amount of money.")
    count, rng = _whole("resamples", resamples, 1), _generator(seed, _RESHUFFLE)
    percent, money = np.empty(count), np.empty(count)
    for rows in _chunks(count, len(net)):
        orders = np.tile(net, (rows.stop - rows.start, 1))
        rng.permuted(orders, axis=1, out=orders)
        equity = np.cumsum(orders, axis=1, out=orders)
        equity += capital
        percent[rows], money[rows] = _drawdowns(equity, capital)
    real_percent, real_money = (float(found[0]) for found in _drawdowns(capital + np.cumsum(net)[np.newaxis], capital))
    return Reshuffle(
        len(net),
        count,
        index(seed),
        float(capital),
        capital + math.fsum(net),
        real_percent,
        real_money,
        Distribution.of(percent),
        Distribution.of(money),
        _share(percent > real_percent + _ROUNDING * (100.0 + real_percent)),
        _share(money > real_money + _ROUNDING * (capital + real_money)),
    )


def bootstrap_paths(
    bar_returns: FloatArray,
    *,
    block: float,
    resamples: int = 1_000,
    seed: int = 0,
    keep: int = 201,
    bars_per_year: float = 1.0,
    ruin_below: float = 0.5,
) -> Paths:
    """Equity paths of runs of the same returns, drawn with replacement and joined end to end.

    The stationary bootstrap: runs have geometric lengths of mean `block`, so that what depends on each other within a
    run stays together. Returns compound; a return of -100 % or less ends a path at 0.

    Args:
        bar_returns: Fractions, of equity from close to close, idle bars included as 0; shape [bars].
        block: Mean length of a run in bars, >= 1; `bootstrap.optimal_block(...).stationary` is one.
        resamples: Paths to draw, each as long as the real one.
        seed: Of the draw, >= 0.
        keep: Points of the fan, >= 2; fewer are kept where there are fewer bars.
        bars_per_year: Annualises the Sharpe ratio; 1 leaves it per bar.
        ruin_below: Share of the starting equity at which a path counts as ruined, in [0, 1).

    Raises:
        DataError: There are fewer than two returns, one is not finite, or they compound beyond what a float can hold.
        ConfigError: Another argument is impossible, or the points of all paths are more than 10 million.

    Source:
        Politis & Romano (1994), The Stationary Bootstrap.
    """
    returns = _values("bar_returns", bar_returns, 2, "bar return")
    count, rng = _whole("resamples", resamples, 1), _generator(seed, _BOOTSTRAP)
    for name, value, good in (
        ("block", block, 1.0 <= block < math.inf),
        ("bars_per_year", bars_per_year, 0.0 < bars_per_year < math.inf),
        ("ruin_below", ruin_below, 0.0 <= ruin_below < 1.0),
    ):
        if not good:
            raise ConfigError(f"{name} is {value}.", hint=_ALLOWED[name])
    n = len(returns)
    points = np.unique(np.linspace(0, n, min(_whole("keep", keep, 2), n + 1)).round().astype(np.int64))
    if len(points) * count > _MOST_FAN_VALUES:
        raise ConfigError(
            f"{len(points):,} points of {count:,} paths are {len(points) * count:,} values; "
            f"at most {_MOST_FAN_VALUES:,} can be kept.",
            hint="lower keep or resamples.",
        )
    levels = np.empty((count, len(points)))
    final, sharpe, drawdown, lowest = (np.empty(count) for _ in range(4))
    for rows in _chunks(count, n):
        drawn = returns[stationary_indices(n, block, rows.stop - rows.start, rng)]
        sharpe[rows] = _sharpe(drawn, bars_per_year)
        equity = _compounded(drawn)
        levels[rows] = _at(equity, points)
        final[rows], lowest[rows] = equity[:, -1], equity.min(axis=1)
        drawdown[rows] = _drawdowns(equity, 1.0)[0]
    lines = np.percentile(levels, FAN, axis=0)
    return Paths(
        n,
        float(block),
        count,
        index(seed),
        float(bars_per_year),
        tuple(points.tolist()),
        {percent: tuple(line.tolist()) for percent, line in zip(FAN, lines, strict=True)},
        tuple(_at(_compounded(returns[np.newaxis]), points)[0].tolist()),
        Distribution.of(100.0 * (final - 1.0)),
        Distribution.of(sharpe),
        Distribution.of(drawdown),
        _share(final < 1.0),
        100.0 * ruin_below,
        _share(lowest <= ruin_below),
    )


def missed_fills(net_pnl: FloatArray, share: float, resamples: int = 10_000, seed: int = 0) -> MissedFills:
    """The net result where each trade is missed with the same chance, independently of all others.

    Args:
        net_pnl: Money per trade after all costs, shape [trades].
        share: Chance of a trade to be missed, in [0, 1].
        resamples: Samples to draw.
        seed: Of the draw, >= 0.

    Raises:
        DataError: There are no trades, or a result is not finite.
        ConfigError: The share, the number of samples or the seed is impossible.
    """
    net = _values("net_pnl", net_pnl, 1, "trade")
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"share is {share}; it has to lie between 0 and 1.", hint="0.05 misses 5 % of the trades.")
    count, rng = _whole("resamples", resamples, 1), _generator(seed, _MISSED)
    result = np.empty(count)
    for rows in _chunks(count, len(net)):
        made = rng.random((rows.stop - rows.start, len(net))) >= share
        result[rows] = np.where(made, net, 0.0).sum(axis=1)
    missed = math.ceil(share * len(net) - _ROUNDING)
    return MissedFills(
        len(net),
        count,
        index(seed),
        100.0 * share,
        math.fsum(net),
        Distribution.of(result),
        _share(result < 0.0),
        math.fsum(np.sort(net)[: len(net) - missed]),
    )


# -- Samples -----------------------------------------------------------------------------------------------------------


def _chunks(resamples: int, length: int) -> list[slice]:
    """Samples that are made together, so that a chunk holds about `_CHUNK` values, and one sample at least."""
    rows = max(1, _CHUNK // length)
    return [slice(start, min(start + rows, resamples)) for start in range(0, resamples, rows)]


def _drawdowns(equity: FloatArray, start: float) -> tuple[FloatArray, FloatArray]:
    """The largest fall of each row from its running peak, in percent of the peak and in money.

    Args:
        equity: After each step, shape [rows, steps].
        start: Before the first step, > 0; the first peak.
    """
    peak = np.maximum.accumulate(equity, axis=1)
    np.maximum(peak, start, out=peak)
    fall = peak - equity
    money = fall.max(axis=1)
    fall /= peak
    return 100.0 * fall.max(axis=1), money


def _compounded(returns: FloatArray) -> FloatArray:
    """Equity after each bar as a multiple of that at the start, per row; raises where it exceeds all floats."""
    growth = np.maximum(1.0 + returns, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply.accumulate(growth, axis=1, out=growth)
    # Infinity stays to the end of its row, or becomes NaN where nothing is left of it.
    if not np.isfinite(growth[:, -1]).all():
        raise DataError(
            f"The returns, up to {100.0 * float(returns.max()):,.0f} % a bar, compound beyond what a float can hold.",
            hint="returns are fractions: 0.01 is 1 %.",
        )
    return growth


def _at(equity: FloatArray, points: IntArray) -> FloatArray:
    """Equity of each row at points counted in bars from the start; 1 at point 0."""
    return np.where(points == 0, 1.0, equity[:, np.maximum(points - 1, 0)])


def _sharpe(returns: FloatArray, bars_per_year: float) -> FloatArray:
    """Mean over sample deviation of each row times the root of `bars_per_year`; NaN where the returns do not vary."""
    mean, deviation = returns.mean(axis=1), returns.std(axis=1, ddof=1)
    size = np.sqrt(deviation * deviation + mean * mean)
    varies: BoolArray = deviation > np.maximum(RESOLUTION, _ROUNDING * size)
    ratio: FloatArray = np.divide(mean, deviation, out=np.full(len(mean), math.nan), where=varies)
    ratio *= math.sqrt(bars_per_year)
    return ratio


def _share(condition: BoolArray) -> float:
    """How many are true, in percent."""
    return 100.0 * int(np.count_nonzero(condition)) / len(condition)


def _named(by_percent: Mapping[int, Any]) -> dict[str, Any]:
    return {f"p{percent}": list(value) if isinstance(value, tuple) else value for percent, value in by_percent.items()}


# -- Arguments ---------------------------------------------------------------------------------------------------------

_ALLOWED = {
    "block": "a run has 1 bar or more on average; 120 bars of 1H are five days.",
    "bars_per_year": "take timeframe.bars_per_year(calendar); 1 leaves the Sharpe ratio per bar.",
    "ruin_below": "it is a share of the starting equity, from 0 to below 1; 0.5 is half of it.",
}


def _values(name: str, values: FloatArray, least: int, noun: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < least:
        raise DataError(
            f"{name} has shape {array.shape}; resampling needs a column of {least} or more.",
            hint=f"without {'a' if least == 1 else 'a second'} {noun} there is nothing to resample.",
        )
    if not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{name}[{at}] is {array[at]}; every value has to be a finite number.")
    return array


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{name} is {value!r}; it has to be a whole number of {least} or more.")
    return number


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(_whole("seed", seed, 0), spawn_key=(stream,)))
