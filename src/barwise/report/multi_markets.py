"""The runs on many markets put together: what each has, on which days they go together, what they are worth as one.

One strategy that was run on many markets was tested many times, and the best of many looks good by luck. So every
figure of one market stands beside those of all, every p-value beside one that knows how many tests there were, and the
headline is the out-of-sample sum of all markets and not the best of them. Page, terminal, JSON and tables read this and
compute nothing of their own.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from barwise.errors import DataError
from barwise.stats.portfolio import (
    Correlation,
    DayCurve,
    Portfolio,
    correlations,
    day_curve,
    days_without,
    equal_weight,
    holm,
)
from barwise.stats.sharpe import expected_maximum
from barwise.validation.verdict import Word

if TYPE_CHECKING:
    from barwise.report.findings import RunFindings
    from barwise.result import BacktestResult
    from barwise.validation.walk_forward import WalkForwardResult

# With fewer days neither a correlation nor a portfolio says anything: the interval of the first is wider than 0.7.
LEAST_DAYS = 30
NO_VERDICT = "NO VERDICT"

Kind = Literal["out_of_sample", "optimized", "baseline"]
KINDS: tuple[Kind, ...] = ("out_of_sample", "optimized", "baseline")
KIND_NAMES = {"out_of_sample": "out-of-sample", "optimized": "optimized (in-sample)", "baseline": "baseline"}
FIGURES = ("sharpe_ratio", "total_return", "max_drawdown", "net_pnl", "total_trades")


@dataclass(frozen=True, eq=False)
class Market:
    """One market of many.

    Attributes:
        label: Short and different from that of every other market.
        findings: Of its run.
    """

    label: str
    findings: "RunFindings"

    @property
    def baseline(self) -> "BacktestResult":
        """The strategy as it was given."""
        return self.findings.baseline

    @property
    def optimized(self) -> "BacktestResult | None":
        """The strategy the search ended with; None where stage 7 could not be run."""
        return None if self.findings.optimization is None else self.findings.optimization.best

    @property
    def walked(self) -> "WalkForwardResult | None":
        """The walk-forward where it traded a bar, else None."""
        walked = None if self.findings.validation is None else self.findings.validation.walked
        return walked if walked is not None and len(walked.equity) else None

    @property
    def why(self) -> str:
        """Why there is no out-of-sample result; "" where there is one."""
        validation = self.findings.validation
        if self.walked is not None:
            return ""
        if validation is None:
            stages = (stage for stage in self.findings.stages if stage.number.partition(".")[0] == "8")
            return next((stage.text for stage in stages if stage.state == "skipped"), "stage 8 was not run")
        if validation.walked is not None:
            return "no window had a bar to trade"
        return next(
            (note for note in validation.notes if note.startswith("no walk-forward")), "no walk-forward was made"
        )

    @property
    def verdict(self) -> str:
        """The verdict, `NO VERDICT` where there is none."""
        return self.findings.verdict or NO_VERDICT

    @property
    def p_value(self) -> float | None:
        """Of the permutation test; None where it was not run."""
        return None if self.findings.validation is None else self.findings.validation.p_value

    @property
    def oos_psr(self) -> float | None:
        """Probability that the out-of-sample Sharpe ratio is above 0."""
        return None if self.findings.validation is None else self.findings.validation.oos_psr

    @property
    def quantity(self) -> float:
        """Of every entry, in base units."""
        return float(self.baseline.params["quantity"])

    @property
    def oos_years(self) -> float:
        """Length of the out-of-sample series in years of bars; 0 where there is none."""
        if self.walked is None:
            return 0.0
        candles = self.walked.candles
        return len(self.walked.equity) / candles.timeframe.bars_per_year(candles.calendar)

    def figures(self, kind: Kind) -> dict[str, Any] | None:
        """Headline figures of one of the three results; None where there is none, values None where undefined."""
        source = self.walked if kind == "out_of_sample" else getattr(self, kind)
        return None if source is None else {name: source.metrics[name] for name in FIGURES}

    def curve(self, kind: Kind) -> DayCurve | None:
        """The account by day; None where there is none."""
        if kind == "out_of_sample":
            if self.walked is None:
                return None
            candles, walked = self.walked.candles, self.walked
            time, equity, capital = candles.time[walked.bars], walked.equity, walked.capital
        else:
            result: BacktestResult | None = getattr(self, kind)
            if result is None:
                return None
            candles, capital = result.candles, result.initial_capital
            time, equity = candles.time[result.trade_from :], result.equity_curve
        return day_curve(time, equity, capital, candles.timeframe, candles.calendar)


@dataclass(frozen=True, eq=False)
class Group:
    """The markets that go into one portfolio, on the days they share.

    Where two markets or more have an out-of-sample result, the in-sample portfolios are those of the same markets.

    Attributes:
        kind: Which result.
        members: Those that have it, in order.
        correlations: Of each pair, on the days the two share; empty for the baseline.
        portfolio: All of them; None below `LEAST_DAYS` common days.
        days: That all of them share.
        days_without: Most days that all but one share, and which one that is; None below three members.
    """

    kind: Kind
    members: tuple[Market, ...]
    correlations: tuple[tuple[Correlation, ...], ...]
    portfolio: Portfolio | None
    days: int
    days_without: tuple[int, Market] | None

    @classmethod
    def of(cls, kind: Kind, markets: Sequence[Market]) -> "Group":
        """The markets of one kind of result."""
        found = [(market, curve) for market in markets if (curve := market.curve(kind)) is not None]
        members, curves = tuple(market for market, _ in found), [curve for _, curve in found]
        if not curves:
            return cls(kind, (), (), None, 0, None)
        whole = equal_weight(curves)
        days, without = len(whole.days), None
        if len(curves) > 2:
            left = days_without(curves)
            most = max(range(len(left)), key=left.__getitem__)
            without = (left[most], members[most])
        matrix = () if kind == "baseline" else correlations(curves, LEAST_DAYS)
        return cls(kind, members, matrix, whole if days >= LEAST_DAYS else None, days, without)


@dataclass(frozen=True)
class Luck:
    """What the best of so many markets shows by luck alone.

    Attributes:
        markets: That were tested out-of-sample.
        strongest: Label of the one furthest above 0 for its length.
        sharpe_ratio: That it has, annual.
        by_luck: That the strongest of so many markets without an edge is expected to have over its span.
    """

    markets: int
    strongest: str
    sharpe_ratio: float
    by_luck: float


@dataclass(frozen=True, eq=False)
class Together:
    """Everything that is said about many markets.

    Attributes:
        name: Of the run and its files.
        markets: In the order they were given.
    """

    name: str
    markets: tuple[Market, ...]

    @classmethod
    def of(cls, name: str, findings: "Sequence[RunFindings]") -> "Together":
        """The findings of some runs.

        Raises:
            DataError: There are none.
        """
        if not findings:
            raise DataError("many markets need at least one; got none.", hint="run a market first.")
        labels = _labels([run.baseline for run in findings])
        return cls(name, tuple(Market(label, run) for label, run in zip(labels, findings, strict=True)))

    @cached_property
    def groups(self) -> dict[Kind, Group]:
        """By kind of result."""
        tested = [market for market in self.markets if market.walked is not None]
        return {kind: Group.of(kind, tested if len(tested) > 1 else self.markets) for kind in KINDS}

    @property
    def outside(self) -> Group:
        """The out-of-sample results."""
        return self.groups["out_of_sample"]

    @cached_property
    def adjusted(self) -> list[float | None]:
        """Holm's p-value of each market."""
        return holm([market.p_value for market in self.markets])

    @cached_property
    def verdicts(self) -> dict[str, tuple[Market, ...]]:
        """Markets by verdict, the best verdict first; those that occur."""
        counts = Counter(market.verdict for market in self.markets)
        return {
            word: tuple(market for market in self.markets if market.verdict == word)
            for word in (*map(str, Word), NO_VERDICT)
            if counts[word]
        }

    @cached_property
    def luck(self) -> Luck | None:
        """The strongest out-of-sample result beside what luck gives it; None where no Sharpe ratio is defined."""
        scored = [
            (market.oos_years, float(market.walked.metrics["sharpe_ratio"]), market.label)
            for market in self.outside.members
            if market.walked is not None and market.walked.metrics["sharpe_ratio"] is not None
        ]
        if not scored:
            return None
        # A ratio over a short span errs more: compared is how far each is from 0 in units of its own error.
        years, ratio, label = max(scored, key=lambda one: one[1] * math.sqrt(one[0]))
        return Luck(len(scored), label, ratio, expected_maximum(len(scored)) / math.sqrt(years))


def _labels(results: "Sequence[BacktestResult]") -> list[str]:
    """Symbol and timeframe; the venue and a number only where they are needed to tell markets apart."""
    short = [f"{result.candles.symbol or 'unnamed market'} {result.candles.timeframe}" for result in results]
    times = Counter(short)
    longer = [
        f"{text} {result.candles.exchange}".strip() if times[text] > 1 else text
        for text, result in zip(short, results, strict=True)
    ]
    times, seen = Counter(longer), Counter[str]()
    found = []
    for text in longer:
        seen[text] += 1
        found.append(f"{text} #{seen[text]}" if times[text] > 1 else text)
    return found
