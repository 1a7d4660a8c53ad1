"""How sure a Sharpe ratio is, and how high luck alone would have brought it.

Everything here is per observation: one bar's return in, one bar's Sharpe ratio out. Only what has "annual" in its name
is annual, because a yearly ratio together with a number of bars is the most common way to prove anything. Kurtosis is
raw (a normal distribution has 3) for the same reason: a kurtosis no distribution can have is refused.

Formulas, sources and measured weaknesses: docs/statistics.md.
"""

import math
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from barwise.core.layout import FloatArray
from barwise.errors import ConfigError, DataError, did_you_mean

Evaluation = Literal["estimate", "benchmark"]
EffectiveMethod = Literal["average-correlation", "rank", "participation"]
HaircutMethod = Literal["bonferroni", "sidak"]

_EULER = 0.5772156649015329
_NORMAL = NormalDist()
# A return is the quotient of two equities less 1: a deviation below this, or below this share of the returns' size, is
# their rounding.
_RESOLUTION = 4.0 * float(np.finfo(np.float64).eps)
_ROUNDING = 1e-9
# Room for kurtosis and skewness that were rounded before they came here.
_SHAPE_SLACK = 1e-6
# Numbers converted to float64 at a time, and the largest matrix whose eigenvalues are asked for.
_CHUNK = 1 << 21
_MOST_EIGENVALUES = 4096


# -- What comes in -----------------------------------------------------------------------------------------------------


def checked_series(returns: ArrayLike, least: int = 2) -> FloatArray:
    """Returns as float64 [observations].

    Raises:
        DataError: Not one-dimensional, fewer than `least` values, or a value that is no finite number.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"returns are one value per observation; got an array of shape {values.shape}.")
    if values.size < least:
        raise DataError(f"at least {least} returns are needed; got {values.size}.", hint="use a longer span.")
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"return {place} is {values[place]}; all must be finite.")
    return values


def checked_matrix(returns: ArrayLike, least: int = 2) -> NDArray[Any]:
    """Returns [rows, observations] as they are if float32 or float64, else as float64.

    Raises:
        DataError: Not two-dimensional, fewer than `least` observations, no row, or a value that is no finite number.
    """
    values = np.asarray(returns)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if values.ndim != 2 or not values.shape[0]:
        raise DataError(f"returns are a matrix of one row per trial; got an array of shape {values.shape}.")
    if values.shape[1] < least:
        raise DataError(
            f"at least {least} observations are needed; got {values.shape[1]}.",
            hint="use a longer span; rows are trials and columns observations.",
        )
    if not np.isfinite(values).all():
        row, place = (int(found[0]) for found in np.nonzero(~np.isfinite(values)))
        raise DataError(f"return {place} of trial {row} is {values[row, place]}; all must be finite.")
    return values


def checked_confidence(confidence: float) -> float:
    """A confidence strictly between 0 and 1.

    Raises:
        ConfigError: It is not.
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence is a share between 0 and 1; got {confidence}.")
    return confidence


class Moments(NamedTuple):
    """Of returns: mean, sample deviation (T - 1), and population skewness and raw kurtosis.

    Where the returns do not vary, the deviation is 0 and skewness and kurtosis are NaN.
    """

    mean: float
    deviation: float
    skewness: float
    kurtosis: float

    @property
    def sharpe(self) -> float:
        """Mean over deviation, per observation; NaN where the returns do not vary."""
        return self.mean / self.deviation if self.deviation > 0.0 else math.nan


def moments(returns: ArrayLike) -> Moments:
    """What the tests below take, from returns [observations].

    Raises:
        DataError: Fewer than 2 returns, or one that is not finite.
    """
    values = checked_series(returns)
    mean = float(values.mean())
    centred = values - mean
    squares = centred * centred
    variance = float(squares.mean())
    size = math.sqrt(float(np.mean(values * values)))
    if math.sqrt(variance) <= max(_RESOLUTION, _ROUNDING * size):
        return Moments(mean, 0.0, math.nan, math.nan)
    return Moments(
        mean,
        math.sqrt(variance * values.size / (values.size - 1)),
        float(np.mean(squares * centred)) / variance**1.5,
        float(np.mean(squares * squares)) / variance**2,
    )


# -- The Sharpe ratio of one record ------------------------------------------------------------------------------------


def sharpe_variance(sr: float, observations: int, skewness: float, kurtosis: float) -> float:
    """Variance of an estimated Sharpe ratio of independent returns of any distribution.

    Args:
        sr: Sharpe ratio per observation.
        observations: Number of returns, at least 2.
        skewness, kurtosis: Of the returns; kurtosis is raw (normal = 3).

    Returns:
        In squared units of `sr`; NaN where an argument is.

    Raises:
        ConfigError: Fewer than 2 observations, or a kurtosis below 1 + skewness^2, which no distribution has.

    Source:
        Lo (2002), The Statistics of Sharpe Ratios; Mertens (2002); with T - 1 as in Bailey & Lopez de Prado (2012).
    """
    _check_observations(observations)
    return _spread(sr, skewness, kurtosis) / (observations - 1)


def sharpe_variance_ar1(sr: float, observations: int, skewness: float, kurtosis: float, rho: float) -> float:
    """Variance of an estimated Sharpe ratio where each return depends on the one before.

    Args:
        sr, observations, skewness, kurtosis: As in `sharpe_variance`.
        rho: First autocorrelation of the returns, -1 < rho < 1. With 0 it is `sharpe_variance` with T for T - 1.

    Returns:
        In squared units of `sr`; NaN where an argument is.

    Raises:
        ConfigError: As `sharpe_variance`, or `rho` is out of range.

    Source:
        Lopez de Prado, Lipton & Zoonekynd (2025), How to Use the Sharpe Ratio.
    """
    _check_observations(observations)
    if not -1.0 < rho < 1.0 and not math.isnan(rho):
        raise ConfigError(f"rho is an autocorrelation between -1 and 1; got {rho}.")
    return _spread(sr, skewness, kurtosis, rho) / observations


def probabilistic_sharpe(
    sr: float,
    observations: int,
    skewness: float,
    kurtosis: float,
    benchmark: float = 0.0,
    *,
    at: Evaluation = "estimate",
) -> float:
    """Probability that the true Sharpe ratio is above a benchmark: one record, one test, nothing chosen before.

    Args:
        sr: Sharpe ratio per observation.
        observations: Number of returns, at least 2.
        skewness, kurtosis: Of the returns; kurtosis is raw (normal = 3).
        benchmark: Sharpe ratio per observation to beat.
        at: Where the variance is evaluated: "estimate" as published in 2012, with T - 1; "benchmark" as published in
            2025, with T. They agree on bars and differ on monthly returns; compare a number only with its own kind.

    Returns:
        A probability. NaN where an argument is NaN or the variance is 0.

    Raises:
        ConfigError: Fewer than 2 observations, an impossible kurtosis, or another `at`.

    Source:
        Bailey & Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier, eq. 11; Lopez de Prado, Lipton & Zoonekynd
        (2025), How to Use the Sharpe Ratio.
    """
    if at not in get_args(Evaluation):
        raise ConfigError(
            f"{at!r} is no place to evaluate the variance at.{did_you_mean(str(at), get_args(Evaluation))}",
            hint='use "estimate" (2012) or "benchmark" (2025).',
        )
    if at == "estimate":
        variance = sharpe_variance(sr, observations, skewness, kurtosis)
    else:
        variance = sharpe_variance_ar1(benchmark, observations, skewness, kurtosis, 0.0)
    return _below((sr - benchmark) / math.sqrt(variance)) if variance > 0.0 else math.nan


def min_track_record(
    sr: float, skewness: float, kurtosis: float, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Observations after which a Sharpe ratio is above the benchmark with this confidence, if it stays as it is.

    Args:
        sr, benchmark: Sharpe ratios per observation.
        skewness, kurtosis: Of the returns; kurtosis is raw (normal = 3).
        confidence: Of the probabilistic Sharpe ratio to reach.

    Returns:
        Observations, not rounded; infinite where `sr` is not above the benchmark. NaN where an argument is.

    Raises:
        ConfigError: An impossible kurtosis, or a confidence outside 0 .. 1.

    Source:
        Bailey & Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier, eq. 13.
    """
    quantile = _NORMAL.inv_cdf(checked_confidence(confidence))
    spread = _spread(sr, skewness, kurtosis)
    if sr <= benchmark:
        return math.inf
    return 1.0 + spread * (quantile / (sr - benchmark)) ** 2


def lo_annualisation(returns: ArrayLike, periods_per_year: float, lags: int) -> float:
    """What to multiply a Sharpe ratio per observation with to make it annual, autocorrelation counted.

    Args:
        returns: [observations].
        periods_per_year: Observations of a year; without autocorrelation the result is its root.
        lags: Autocorrelations to estimate; those beyond are taken as 0. Few: each adds noise.

    Returns:
        The factor eta(q); NaN where the returns do not vary or the autocorrelations leave no variance.

    Raises:
        ConfigError: `periods_per_year` below 1 or a negative number of lags.
        DataError: Fewer than 2 returns, or one that is not finite.

    Source:
        Lo (2002), The Statistics of Sharpe Ratios, eq. 20.
    """
    if not periods_per_year >= 1.0 or math.isinf(periods_per_year):
        raise ConfigError(f"periods_per_year is a number of at least 1; got {periods_per_year}.")
    if lags < 0:
        raise ConfigError(f"lags is a number of autocorrelations, 0 or more; got {lags}.")
    values = checked_series(returns)
    if moments(values).deviation == 0.0:
        return math.nan
    most = min(lags, values.size - 1, math.ceil(periods_per_year) - 1)
    return _lo_factor(autocorrelations(values, most), periods_per_year)


def autocorrelations(returns: ArrayLike, lags: int) -> FloatArray:
    """Sample autocorrelations of lags 1 .. `lags` of returns that vary, all over the same T.

    Raises:
        DataError: Fewer than 2 returns, or one that is not finite.
    """
    values = checked_series(returns)
    centred = values - values.mean()
    products = [float(centred[lag:] @ centred[: centred.size - lag]) for lag in range(1, lags + 1)]
    return np.array(products) / float(centred @ centred)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share that was counted, also where it is 0 or 1 or the count is small.

    Args:
        successes, n: So many of `n`; with n = 0 nothing is known and the interval is (0, 1).
        confidence: Of the two-sided interval.

    Raises:
        ConfigError: Counts that cannot be, or a confidence outside 0 .. 1.

    Source:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if not 0 <= successes <= n:
        raise ConfigError(f"successes are between 0 and n; got {successes} of {n}.")
    z = _NORMAL.inv_cdf(0.5 + checked_confidence(confidence) / 2.0)
    if n == 0:
        return 0.0, 1.0
    share, weight = successes / n, z * z / n
    centre = (share + weight / 2.0) / (1.0 + weight)
    half = z * math.sqrt(share * (1.0 - share) / n + weight / (4.0 * n)) / (1.0 + weight)
    # Exact at the ends, where rounding would leave something like 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


# -- The best of many --------------------------------------------------------------------------------------------------


def expected_maximum(trials: float) -> float:
    """Expected highest of so many independent standard normal numbers; 0 for one.

    Args:
        trials: At least 1; an effective number need not be whole.

    Returns:
        At least 0: between 1 and 2 trials the approximation would fall below. It is 2 % too high at 10, 1 % at 100.

    Raises:
        ConfigError: Fewer than one trial.

    Source:
        Bailey & Lopez de Prado (2014), The Deflated Sharpe Ratio, eq. 1.
    """
    if not trials >= 1.0 or math.isinf(trials):
        raise ConfigError(f"trials is a number of at least 1; got {trials}.")
    if trials == 1.0:
        return 0.0
    below = _NORMAL.inv_cdf
    return max(0.0, -(1.0 - _EULER) * below(1.0 / trials) - _EULER * below(1.0 / (trials * math.e)))


def min_backtest_length(trials: float, target_sharpe_annual: float) -> float:
    """Years of data below which luck alone is expected to find an annual Sharpe ratio of the target.

    Args:
        trials: Configurations that were or will be tried, at least 1.
        target_sharpe_annual: Above 0.

    Raises:
        ConfigError: Fewer than one trial, or a target that is not positive.

    Source:
        Bailey, Borwein, Lopez de Prado & Zhu (2014), Pseudo-Mathematics and Financial Charlatanism, theorem 1.
    """
    if not target_sharpe_annual > 0.0:
        raise ConfigError(f"target_sharpe_annual is above 0; got {target_sharpe_annual}.")
    return (expected_maximum(trials) / target_sharpe_annual) ** 2


def deflated_sharpe(
    sr: float, observations: int, skewness: float, kurtosis: float, trials: float, trial_variance: float
) -> float:
    """Probability that the best of many trials has a true Sharpe ratio above what luck would have brought.

    The textbook form. It is nearly blind where the edge is real: good and bad parameters then differ, their variance
    raises the bar, and real edges are refused. `deflated_sharpe_null` has no such defect.

    Args:
        sr: Sharpe ratio per observation of the chosen trial.
        observations: Number of its returns, at least 2.
        skewness, kurtosis: Of its returns; kurtosis is raw (normal = 3).
        trials: Every configuration that could have been chosen, pruned ones too. The whole number, not an effective
            one: the variance of correlated trials is small already, and both together count the correlation twice.
        trial_variance: Variance over the trials of their Sharpe ratios per observation.

    Returns:
        A probability. NaN where an argument is NaN or the variance is 0.

    Raises:
        ConfigError: As `probabilistic_sharpe` and `expected_maximum`, or a negative variance.

    Source:
        Bailey & Lopez de Prado (2014), The Deflated Sharpe Ratio, eq. 1 and 2.
    """
    if trial_variance < 0.0:
        raise ConfigError(f"trial_variance is not negative; got {trial_variance}.")
    luck = math.sqrt(trial_variance) * expected_maximum(trials)
    return probabilistic_sharpe(sr, observations, skewness, kurtosis, luck)


def deflated_sharpe_null(sr: float, observations: int, skewness: float, kurtosis: float, trials: float) -> float:
    """DSR0: the deflated Sharpe ratio with the variance the trials have if none of them has an edge, 1/T.

    Args:
        sr, observations, skewness, kurtosis: As in `deflated_sharpe`.
        trials: Every configuration that could have been chosen; an effective number only for a search that is narrow
            and does not learn from its own results.

    Returns:
        A probability. NaN where an argument is NaN or the variance is 0.

    Raises:
        ConfigError: As `probabilistic_sharpe` and `expected_maximum`.

    Source:
        Bailey & Lopez de Prado (2014), The Deflated Sharpe Ratio, eq. 1 and 2, with the variance under the null.
    """
    _check_observations(observations)
    return deflated_sharpe(sr, observations, skewness, kurtosis, trials, 1.0 / observations)


class Haircut(NamedTuple):
    """What is left of a Sharpe ratio after the trials are counted.

    Attributes:
        p_value: Two-sided, of one test.
        adjusted_p_value: The same after `trials` tests.
        sharpe_annual: The Sharpe ratio whose single test has the adjusted p-value; the sign is kept.
    """

    p_value: float
    adjusted_p_value: float
    sharpe_annual: float


def haircut_sharpe(annual_sharpe: float, years: float, trials: int, method: HaircutMethod = "bonferroni") -> Haircut:
    """Cut a Sharpe ratio down to what its p-value is worth after many tests.

    Args:
        annual_sharpe: Annual Sharpe ratio of the chosen trial.
        years: Length of its record; the t statistic is the ratio times the root of it, taken as normal.
        trials: Configurations that could have been chosen, at least 1.
        method: "bonferroni" for any dependence, "sidak" for independent trials.

    Raises:
        ConfigError: An unknown method, years that are not positive, or fewer than one trial.

    Source:
        Harvey & Liu (2015), Backtesting, eq. 3 to 6 for independent tests.
    """
    if method not in get_args(HaircutMethod):
        raise ConfigError(
            f"{method!r} is not a correction.{did_you_mean(str(method), get_args(HaircutMethod))}",
            hint='use "bonferroni" or "sidak"; others need the p-values of all trials.',
        )
    if not years > 0.0:
        raise ConfigError(f"years is above 0; got {years}.")
    if trials < 1:
        raise ConfigError(f"trials is a number of at least 1; got {trials}.")
    p_value = math.erfc(abs(annual_sharpe) * math.sqrt(years / 2.0))
    if method == "bonferroni":
        adjusted = min(1.0, trials * p_value)
    else:
        adjusted = -math.expm1(trials * math.log1p(-p_value)) if p_value < 1.0 else 1.0
    if adjusted / 2.0 == 0.0:
        return Haircut(p_value, adjusted, annual_sharpe)  # too small for a float: nothing to cut
    left = max(0.0, -_NORMAL.inv_cdf(adjusted / 2.0)) / math.sqrt(years)
    return Haircut(p_value, adjusted, math.copysign(left, annual_sharpe))


def effective_trials(returns: ArrayLike, method: EffectiveMethod = "average-correlation") -> float:
    """How many independent trials the correlated trials of a search are worth.

    For a search that learns from its own results this is too lenient, whatever the method; see docs/statistics.md.

    Args:
        returns: [trials, observations]. Trials that do not vary are no trials here.
        method: "average-correlation"; "rank", the effective rank of the correlation matrix; or "participation", the
            participation ratio of its eigenvalues, the most lenient.

    Returns:
        Between 1 and the number of trials.

    Raises:
        ConfigError: An unknown method, or more than 4,096 trials and observations for the eigenvalues of "rank".
        DataError: No trial, fewer than 2 observations, or a return that is not finite.

    Source:
        Bailey & Lopez de Prado (2014), The Deflated Sharpe Ratio, appendix A.3; Roy & Vetterli (2007), The Effective
        Rank.
    """
    if method not in get_args(EffectiveMethod):
        raise ConfigError(
            f"{method!r} is no way to count trials.{did_you_mean(str(method), get_args(EffectiveMethod))}",
            hint=f"use {', '.join(get_args(EffectiveMethod))}.",
        )
    values = checked_matrix(returns)
    means, lengths = _row_lengths(values)
    if not (lengths > 0.0).all():
        values, means, lengths = values[lengths > 0.0], means[lengths > 0.0], lengths[lengths > 0.0]
    trials, observations = values.shape
    if trials <= 1:
        return 1.0
    if method == "average-correlation":
        # The mean correlation needs no matrix: it is in the length of the sum of the standardised trials.
        together = np.zeros(observations)
        for chunk in _chunks(trials, observations):
            together += (1.0 / lengths[chunk]) @ (values[chunk] - means[chunk, None])
        correlation = (float(together @ together) - trials) / (trials * (trials - 1))
        found = correlation + (1.0 - correlation) * trials
    else:
        side = min(trials, observations)
        if side > _MOST_EIGENVALUES:
            raise ConfigError(
                f'"{method}" takes up to {_MOST_EIGENVALUES:,} trials or observations; got {trials:,} trials of '
                f"{observations:,} observations.",
                hint='aggregate to daily returns, or use "average-correlation".',
            )
        correlations = _correlations(values, means, lengths)
        if method == "participation":
            found = trials**2 / float(np.sum(correlations * correlations))
        else:
            shares = np.linalg.eigvalsh(correlations) / trials
            shares = shares[shares > 0.0]
            found = math.exp(-float(shares @ np.log(shares)))
    return float(min(max(found, 1.0), trials))


# -- Inside ------------------------------------------------------------------------------------------------------------


def _check_observations(observations: int) -> None:
    if not observations >= 2:
        raise ConfigError(f"observations is a number of at least 2; got {observations}.")


def _spread(sr: float, skewness: float, kurtosis: float, rho: float = 0.0) -> float:
    """Variance of the estimate times the number of observations."""
    if kurtosis < (1.0 + skewness * skewness) * (1.0 - _SHAPE_SLACK):
        raise ConfigError(
            f"no distribution has kurtosis {kurtosis} with skewness {skewness}.",
            hint="give raw kurtosis: add 3 to an excess kurtosis.",
        )
    square = rho * rho / (1.0 - rho * rho)
    first = 1.0 + 2.0 * rho / (1.0 - rho)
    second = 1.0 + rho / (1.0 - rho) + square
    third = 1.0 + 2.0 * square
    return first - second * skewness * sr + third * (kurtosis - 1.0) / 4.0 * sr * sr


def _below(z: float) -> float:
    """The normal distribution function; by erfc, because 1 + erf loses all digits of a small probability."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _lo_factor(correlations: FloatArray, periods: float) -> float:
    weights = periods - np.arange(1, correlations.size + 1)
    variance = periods + 2.0 * float(weights @ correlations)
    return periods / math.sqrt(variance) if variance > 0.0 else math.nan


def _chunks(count: int, each: int) -> list[slice]:
    """Slices of `count` things of `each` numbers, so few at a time that memory stays bounded."""
    step = max(1, _CHUNK // each)
    return [slice(first, first + step) for first in range(0, count, step)]


def _row_lengths(values: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Mean of each row, and the Euclidean length of the row without it; 0 where the row does not vary."""
    rows, columns = values.shape
    means, lengths = np.empty(rows), np.empty(rows)
    for chunk in _chunks(rows, columns):
        part = values[chunk].astype(np.float64)
        size = np.sqrt(np.mean(part * part, axis=1))
        means[chunk] = part.mean(axis=1)
        part -= means[chunk, None]
        deviation = np.sqrt(np.mean(part * part, axis=1))
        varies = deviation > np.maximum(_RESOLUTION, _ROUNDING * size)
        lengths[chunk] = np.where(varies, deviation * math.sqrt(columns), 0.0)
    return means, lengths


def _correlations(values: NDArray[Any], means: FloatArray, lengths: FloatArray) -> FloatArray:
    """A matrix with the eigenvalues (but for zeros) of the trials' correlations, of the smaller of the two sizes."""
    rows, columns = values.shape
    found = np.zeros((min(rows, columns),) * 2)
    if rows <= columns:
        for chunk in _chunks(columns, rows):
            part = (values[:, chunk] - means[:, None]) / lengths[:, None]
            found += part @ part.T
    else:
        for chunk in _chunks(rows, columns):
            part = (values[chunk] - means[chunk, None]) / lengths[chunk, None]
            found += part.T @ part
    return found
