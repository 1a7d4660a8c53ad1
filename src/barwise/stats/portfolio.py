"""What several accounts are worth together: daily returns on the days they share, correlations, an equal-weight sum.

Many good results on markets that move together are one result told many times. Everything here is for telling how many
there are: returns that are put on the same days, how far they go together and how surely that is known, what an account
of all of them would have done, and p-values that know how many tests there were.

Returns are fractions, returns of accounts and risks are PERCENT, a day is a number of days since 1970-01-01 in the
market's own calendar. What is undefined is None. Formulas, assumptions and sources: docs/many-markets.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import accumulate
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from barwise.core.curve import bar_returns, drawdown_curve
from barwise.core.figures import standardised_mean
from barwise.core.layout import FloatArray, IntArray
from barwise.errors import ConfigError, DataError
from barwise.stats.sharpe import checked_confidence, checked_series, effective_trials, moments, probabilistic_sharpe
from barwise.timeframe import DAY_MS, Calendar, Timeframe

_NORMAL = NormalDist()
# Fisher's z has the variance 1 / (n - 3).
_LEAST_FOR_INTERVAL = 4
_WEEKEND_MS = 2 * DAY_MS


# -- Days --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DayCurve:
    """An account at the end of each of its days.

    Attributes:
        days: int64, ascending and distinct: days since 1970-01-01.
        levels: float64, equity at the last close of each.
        capital: What the account started with.
        days_per_year: For making a figure annual: of the market's calendar, or fewer where bars are longer than a day.
    """

    days: IntArray
    levels: FloatArray
    capital: float
    days_per_year: float


def day_curve(time: IntArray, equity: FloatArray, capital: float, timeframe: Timeframe, calendar: Calendar) -> DayCurve:
    """The last equity of each day.

    Args:
        time: Opens of the bars in ms UTC, ascending; bars that are missing are no days without a return but no days.
        equity: At their closes.
        capital: Before the first of them.
        timeframe: Length of the bars.
        calendar: Its trading day is the day: the UTC day where a market never closes, else the session's local date. A
            weekly bar belongs to the last day of its week, Sunday or, where there are sessions, Friday.

    Raises:
        DataError: The arrays differ in length.
    """
    if len(time) != len(equity):
        raise DataError(f"an equity has one value per bar; got {len(equity)} values for {len(time)} bars.")
    local = time + calendar.utc_offset_ms
    if timeframe.ms > DAY_MS:
        local = local + timeframe.ms - 1 - (0 if calendar.always_open else _WEEKEND_MS)
    labels = local // DAY_MS
    ends = np.flatnonzero(np.append(np.diff(labels) != 0, True)) if len(labels) else np.empty(0, np.int64)
    per_year = min(float(calendar.days_per_year), timeframe.bars_per_year(calendar))
    return DayCurve(labels[ends], np.asarray(equity, np.float64)[ends], float(capital), per_year)


def common_days(curves: Sequence[DayCurve]) -> IntArray:
    """Days on which all of the accounts have an equity.

    Raises:
        DataError: There is no account.
    """
    if not curves:
        raise DataError("days in common need at least one account; got none.")
    return reduce(partial(np.intersect1d, assume_unique=True), (curve.days for curve in curves))


def days_without(curves: Sequence[DayCurve]) -> list[int]:
    """How many days the others have in common, for each of two accounts or more that could be left out.

    Raises:
        DataError: There are fewer than two accounts.
    """
    if len(curves) < 2:
        raise DataError(f"leaving out an account needs at least two; got {len(curves)}.")
    days, times = np.unique(np.concatenate([curve.days for curve in curves]), return_counts=True)
    shared, almost = int((times == len(curves)).sum()), days[times == len(curves) - 1]
    return [shared + len(np.setdiff1d(almost, curve.days, assume_unique=True)) for curve in curves]


def aligned_returns(curves: Sequence[DayCurve]) -> tuple[IntArray, FloatArray]:
    """Returns of several accounts between the days they have in common.

    No return is lost: where only some of the markets were open, what they did there is in their next common day. The
    first return of an account starts at its last equity before the first common day, or at its capital.

    Returns:
        The days, and the returns as fractions [accounts, days].

    Raises:
        DataError: There is no account.
    """
    days = common_days(curves)
    rows = np.zeros((len(curves), len(days)))
    for row, curve in zip(rows, curves, strict=True):
        if len(days):
            places = np.searchsorted(curve.days, days)
            start = curve.capital if places[0] == 0 else float(curve.levels[places[0] - 1])
            row[:] = bar_returns(curve.levels[places], start)
    return days, rows


# -- Correlation -------------------------------------------------------------------------------------------------------


class Correlation(NamedTuple):
    """How far two accounts go together.

    Attributes:
        value: Pearson's correlation of the daily returns; None where one of them does not vary or days are too few.
        days: That they have in common.
        low, high: Interval of the true value; None with fewer than 4 days.
    """

    value: float | None
    days: int
    low: float | None
    high: float | None


def correlation(first: FloatArray, second: FloatArray, confidence: float = 0.95) -> Correlation:
    """Pearson's correlation of two series of returns [days] with Fisher's interval.

    The interval takes the days for independent and the returns for normal; fat tails make the true one wider.

    Raises:
        DataError: Series of different length, or a return that is not finite.
        ConfigError: A confidence outside 0 .. 1.

    Source:
        Fisher (1921), On the probable error of a coefficient of correlation deduced from a small sample.
    """
    quantile = _NORMAL.inv_cdf(0.5 + checked_confidence(confidence) / 2.0)
    one, two = checked_series(first, 0), checked_series(second, 0)
    if one.size != two.size:
        raise DataError(f"a correlation is of returns on the same days; got {one.size} and {two.size} of them.")
    days = one.size
    if days < 2 or not (moments(one).deviation > 0.0 < moments(two).deviation):
        return Correlation(None, days, None, None)
    one, two = one - one.mean(), two - two.mean()
    # Rounding can bring the quotient of equal series past 1.
    value = max(-1.0, min(1.0, float(one @ two) / math.sqrt(float(one @ one) * float(two @ two))))
    if days < _LEAST_FOR_INTERVAL:
        return Correlation(value, days, None, None)
    if abs(value) == 1.0:
        return Correlation(value, days, value, value)
    centre, half = math.atanh(value), quantile / math.sqrt(days - 3)
    return Correlation(value, days, math.tanh(centre - half), math.tanh(centre + half))


def correlations(curves: Sequence[DayCurve], least: int = 2) -> tuple[tuple[Correlation, ...], ...]:
    """The matrix of all pairs, each on the days the two have in common, which may be more than all have in common.

    Args:
        curves: The accounts.
        least: Pairs with fewer common days have no value.
    """
    found: dict[tuple[int, int], Correlation] = {}
    for row, first in enumerate(curves):
        for column, second in enumerate(curves[: row + 1]):
            days, returns = aligned_returns((first, second))
            pair = correlation(*returns) if len(days) >= least else Correlation(None, len(days), None, None)
            found[row, column] = found[column, row] = pair
    every = range(len(curves))
    return tuple(tuple(found[row, column] for column in every) for row in every)


# -- Together ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Account:
    """An account and what its days say.

    Attributes:
        growth: float64, value at the end of each day where 1 is the start; what is gone stays gone.
        periods_per_year: Such days of a year.
    """

    growth: FloatArray
    periods_per_year: float

    @classmethod
    def of_returns(cls, returns: FloatArray, periods_per_year: float) -> "Account":
        """An account that compounds daily returns, which are fractions [days]."""
        return cls(_compounded(returns), periods_per_year)

    @cached_property
    def returns(self) -> FloatArray:
        """Daily, as fractions."""
        return bar_returns(self.growth, 1.0)

    @cached_property
    def drawdown(self) -> FloatArray:
        """Fall from the running peak at the end of each day, percent, positive."""
        return drawdown_curve(self.growth, 1.0)

    @property
    def total_return(self) -> float:
        """Over all days, percent."""
        return 100.0 * (float(self.growth[-1]) - 1.0) if len(self.growth) else 0.0

    @property
    def volatility(self) -> float | None:
        """Annual deviation of the daily returns, percent; None below two days."""
        if len(self.returns) < 2:
            return None
        return 100.0 * float(np.std(self.returns, ddof=1)) * math.sqrt(self.periods_per_year)

    @property
    def sharpe_ratio(self) -> float | None:
        """Annual, of the daily returns; None where they do not vary."""
        return standardised_mean(self.returns, self.periods_per_year)

    @property
    def max_drawdown(self) -> float:
        """Percent of the peak, at the ends of days."""
        return float(self.drawdown.max(initial=0.0))

    @property
    def psr(self) -> float | None:
        """Probability that the true Sharpe ratio is above 0, as if nothing had been chosen; None where undefined."""
        if len(self.returns) < 3:
            return None
        found = moments(self.returns)
        if not found.deviation > 0.0:
            return None
        value = probabilistic_sharpe(found.sharpe, len(self.returns), found.skewness, found.kurtosis)
        return None if math.isnan(value) else float(value)

    def to_dict(self) -> dict[str, float | None]:
        """The figures by name."""
        names = ("total_return", "volatility", "sharpe_ratio", "max_drawdown", "psr")
        return {name: getattr(self, name) for name in names}


def _compounded(returns: FloatArray) -> FloatArray:
    """Growth of 1, [days]; after a loss of everything the debt neither grows nor becomes money again."""
    growth = np.cumprod(1.0 + returns, dtype=np.float64)
    gone = np.flatnonzero(growth <= 0.0)
    if len(gone):
        growth[gone[0] :] = growth[gone[0]]
    return growth


@dataclass(frozen=True, eq=False)
class Portfolio:
    """Several accounts as one, each with the same share of the money.

    Attributes:
        days: int64, days since 1970-01-01.
        returns: Of each account, as fractions [accounts, days].
        periods_per_year: Such days of a year.
    """

    days: IntArray
    returns: FloatArray
    periods_per_year: float

    @cached_property
    def rebalanced(self) -> Account:
        """Every day starts with equal shares again; moving the money costs nothing here."""
        return Account.of_returns(self.returns.mean(axis=0), self.periods_per_year)

    @cached_property
    def apart(self) -> Account:
        """Equal shares at the start, then each account keeps what it makes."""
        growth = np.array([_compounded(row) for row in self.returns])
        return Account(growth.mean(axis=0), self.periods_per_year)

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        """Each account by itself, over the same days."""
        return tuple(Account.of_returns(row, self.periods_per_year) for row in self.returns)

    @property
    def diversification_ratio(self) -> float | None:
        """Mean volatility of the accounts over that of the rebalanced sum: 1 = nothing gained; None without risk.

        Source:
            Choueifaty & Coignard (2008), Toward Maximum Diversification.
        """
        together = self.rebalanced
        if together.sharpe_ratio is None:
            return None
        return float(np.mean(np.std(self.returns, axis=1, ddof=1)) / np.std(self.returns.mean(axis=0), ddof=1))

    @property
    def effective_bets(self) -> float | None:
        """How many independent accounts they are worth, 1 to N; None where fewer than two vary.

        The participation ratio of the eigenvalues of the correlation matrix, N^2 / sum of their squares. It counts
        every principal direction alike, where Meucci weighs them with the portfolio's own exposure.

        Source:
            Meucci (2009), Managing Diversification, for the idea of counting bets along principal directions.
        """
        vary = [account.sharpe_ratio is not None for account in self.accounts]
        return effective_trials(self.returns, "participation") if sum(vary) > 1 else None

    @property
    def risk_shares(self) -> tuple[float, ...] | None:
        """Each account's share of the variance of the rebalanced sum; they add up to 1, one that hedges is below 0."""
        if self.rebalanced.sharpe_ratio is None:
            return None
        together = self.returns.mean(axis=0)
        centred = together - float(together.mean())
        parts = self.returns @ centred / len(self.returns)
        return tuple((parts / float(centred @ centred)).tolist())

    def without(self, account: int) -> Account | None:
        """The rebalanced sum of the others; None where there is no other."""
        if len(self.returns) < 2:
            return None
        return Account.of_returns(np.delete(self.returns, account, axis=0).mean(axis=0), self.periods_per_year)


def equal_weight(curves: Sequence[DayCurve]) -> Portfolio:
    """The equal-weight portfolio of several accounts on the days all of them have in common.

    A year has as many days as that of the account with the fewest.

    Raises:
        DataError: There is no account.
    """
    days, returns = aligned_returns(curves)
    return Portfolio(days, returns, min(curve.days_per_year for curve in curves))


# -- Many tests --------------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted for their number, in their order: below a level with at most that chance of one false alarm.

    Holds whatever the tests have to do with each other, which is why it is right for markets that move together.

    Args:
        p_values: Of single tests; None where one was not made, which then does not count.

    Raises:
        ConfigError: A value outside 0 .. 1.

    Source:
        Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    made = {place: value for place, value in enumerate(p_values) if value is not None}
    wrong = [value for value in made.values() if not 0.0 <= value <= 1.0]
    if wrong:
        raise ConfigError(f"a p-value is between 0 and 1; got {wrong[0]}.")
    order = sorted(made, key=lambda place: made[place])
    scaled = (min(1.0, (len(order) - rank) * made[place]) for rank, place in enumerate(order))
    adjusted = dict(zip(order, accumulate(scaled, max), strict=True))
    return [adjusted.get(place) for place in range(len(p_values))]
