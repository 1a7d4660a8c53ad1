"""The verdict: one word by a rule that was fixed beforehand and whose error rate was measured, and the tests beside it.

The rule is a test, not a weighted score. LIKELY REAL needs three things at once: the search finds more here than on
shuffled markets, the walk-forward made money on bars it had not seen, and still does when every fill costs twice the
slippage. docs/verdict.md has the rule's own rate of errors, and the command that measures it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

# Fewer trades, or fewer windows with enough trades, and nothing is claimed at all.
LEAST_TRADES, LEAST_WINDOWS = 30, 3
# LIKELY REAL at most at this p-value and above this out-of-sample probability; LIKELY OVERFIT above that p-value.
REAL_P, REAL_PSR, OVERFIT_P = 0.05, 0.80, 0.20
OVERFIT_DSR, OVERFIT_PBO = 0.5, 0.5
# The probability of backtest overfitting has 0.5, not 1, as its value on noise; only this low does it say something.
GOOD_PBO = 0.1


class Word(StrEnum):
    """The verdict in a word or two."""

    LIKELY_REAL = "LIKELY REAL"
    UNPROVEN = "UNPROVEN"
    LIKELY_OVERFIT = "LIKELY OVERFIT"
    TOO_LITTLE_DATA = "TOO LITTLE DATA"


@dataclass(frozen=True)
class Evidence:
    """What the rule looks at; None where a test was not run or has no value.

    Attributes:
        trades: Of the chosen result.
        years: That it covers.
        annual_sharpe: Of the chosen result, in-sample.
        needed_years: Minimum track record at that Sharpe ratio and 95 % confidence; None where the ratio is not
            above 0.
        n_trials: Distinct configurations on record for these candles.
        luck_line: Sharpe ratio the best of so many trials has by luck alone.
        p_value: Of the permutation test of the whole search.
        windows: Out-of-sample windows with enough trades.
        oos_sharpe: Annual, of the stitched out-of-sample series.
        oos_psr: Probability that its true value is above 0.
        stressed_net: Net result of the stitched series with slippage x 2, quote currency.
        psr: Probability that the chosen result's Sharpe ratio is above 0, as if it were the only trial.
        dsr0: Deflated: above what the best of all trials has by luck, variance under the null.
        dsr: Deflated by the textbook, variance across the trials.
        pbo: Probability of backtest overfitting.
        spa: p-value of the test for superior predictive ability on the trials that were fixed beforehand.
        efficiency: Walk-forward efficiency.
        luck_years: Minimum backtest length: below it the best of so many trials reaches this Sharpe ratio by luck.
        effective_trials: How many independent trials they are worth, by the effective rank of their correlations.
    """

    trades: int
    years: float
    annual_sharpe: float
    needed_years: float | None = None
    n_trials: int = 1
    luck_line: float | None = None
    p_value: float | None = None
    windows: int | None = None
    oos_sharpe: float | None = None
    oos_psr: float | None = None
    stressed_net: float | None = None
    psr: float | None = None
    dsr0: float | None = None
    dsr: float | None = None
    pbo: float | None = None
    spa: float | None = None
    efficiency: float | None = None
    luck_years: float | None = None
    effective_trials: float | None = None


@dataclass(frozen=True)
class Test:
    """One line of the verdict's page.

    Attributes:
        name: What it is called.
        value: Its number; None where it was not run or has none.
        unit: "share", "years", "trades", "windows", "money", "Sharpe".
        threshold: What it is compared with, in words.
        passed: None where it decides nothing.
        decides: Whether the rule looks at it.
        meaning: One sentence.
    """

    name: str
    value: float | None
    unit: str
    threshold: str
    passed: bool | None
    decides: bool
    meaning: str


@dataclass(frozen=True)
class Verdict:
    """One word, why, and what would change it.

    Attributes:
        word: By the rule.
        reasons: Why, most important first.
        would_change: What could lead to another word.
        tests: All tests, those that decide first.
        evidence: What the rule looked at.
    """

    word: Word
    reasons: tuple[str, ...]
    would_change: tuple[str, ...]
    tests: tuple[Test, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "verdict": str(self.word),
            "reasons": list(self.reasons),
            "would_change": list(self.would_change),
            "tests": [_finite(asdict(test)) for test in self.tests],
            "evidence": _finite(asdict(self.evidence)),
        }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, with None for what JSON cannot hold: a track record that would take for ever."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def decide(evidence: Evidence) -> Verdict:
    """The verdict on some evidence, by the rule of docs/verdict.md."""
    short, missing = _too_little(evidence), _missing_for_real(evidence)
    refuted, lucky = _refuted(evidence), _explained_by_luck(evidence)
    if short:
        word, reasons = Word.TOO_LITTLE_DATA, short + refuted  # no verdict, but nobody should have to look for them
    elif refuted:
        word, reasons = Word.LIKELY_OVERFIT, refuted + lucky
    elif not missing:
        word, reasons = Word.LIKELY_REAL, _real(evidence)
    elif lucky:
        word, reasons = Word.LIKELY_OVERFIT, lucky
    else:
        word, reasons = Word.UNPROVEN, missing
    return Verdict(word, tuple(reasons), tuple(_would_change(word, evidence)), tuple(_tests(evidence)), evidence)


def _too_little(e: Evidence) -> list[str]:
    found = []
    if e.trades < LEAST_TRADES:
        found.append(f"the result rests on {e.trades} trades; below {LEAST_TRADES} nothing can be said.")
    if e.windows is not None and e.windows < LEAST_WINDOWS:
        found.append(f"only {e.windows} out-of-sample windows have enough trades; {LEAST_WINDOWS} are needed.")
    if e.needed_years is not None and e.needed_years > e.years:
        found.append(
            f"a Sharpe ratio of {e.annual_sharpe:.2f} needs {_years(e.needed_years)} to be told from 0; there are "
            f"{_years(e.years)}."
        )
    return found


def _refuted(e: Evidence) -> list[str]:
    """What no other test can make good."""
    found = []
    if e.p_value is not None and e.p_value > OVERFIT_P:
        found.append(f"the same search finds as much on {_share(e.p_value)} of markets whose bars were shuffled.")
    if e.oos_sharpe is not None and e.oos_sharpe <= 0.0:
        found.append(f"out-of-sample it made nothing: a Sharpe ratio of {e.oos_sharpe:.2f} on bars it had not seen.")
    return found


def _explained_by_luck(e: Evidence) -> list[str]:
    """Two formulas that agree; they give way to the tests of the rule, whose rate of errors is known.

    Where the trials are nearly alike, which of them is chosen makes no difference, and the probability of overfitting
    says nothing; there an edge that passes every test would be refused by it.
    """
    found = []
    if e.dsr0 is not None and e.pbo is not None and e.dsr0 < OVERFIT_DSR and e.pbo > OVERFIT_PBO:
        found.append(
            f"luck explains it ({_share(e.dsr0)} deflated), and the best in one half of the data is below the middle "
            f"in the other in {_share(e.pbo)} of all splits."
        )
    return found


def _missing_for_real(e: Evidence) -> list[str]:
    """What keeps the verdict from being LIKELY REAL, most important first."""
    found = []
    if e.annual_sharpe <= 0.0:
        found.append("it lost money on the very bars it was chosen on.")
    if e.p_value is None:
        found.append("the permutation test of the search was not run.")
    elif e.p_value > REAL_P:
        found.append(f"the permutation test gives p = {e.p_value:.3f}; {_share(REAL_P)} or less is needed.")
    if e.oos_psr is None:
        found.append("there is no out-of-sample result: it was not walked forward, or did not trade there.")
    elif e.oos_psr <= REAL_PSR:
        found.append(
            f"out-of-sample the edge is above 0 with {_share(e.oos_psr)} only; more than {_share(REAL_PSR)} is needed."
        )
    if e.oos_psr is not None and e.stressed_net is None:
        found.append("the out-of-sample result was not tried with twice the slippage.")
    elif e.stressed_net is not None and e.stressed_net <= 0.0:
        found.append("with twice the slippage nothing of the out-of-sample result is left.")
    return found


def _real(e: Evidence) -> list[str]:
    assert e.p_value is not None
    assert e.oos_psr is not None
    return [
        f"the search finds more than on shuffled markets: p = {e.p_value:.3f}.",
        f"on bars it had not seen the edge is above 0 with {_share(e.oos_psr)}.",
        "it is still positive with twice the slippage.",
    ]


def _would_change(word: Word, e: Evidence) -> list[str]:
    found = []
    if word is Word.TOO_LITTLE_DATA:
        found.append("more data: a longer span, or a finer timeframe with more trades.")
    if word in (Word.UNPROVEN, Word.TOO_LITTLE_DATA) and e.p_value is None:
        found.append("barwise validate runs the permutation test and the walk-forward.")
    if word is Word.UNPROVEN and e.p_value is not None:
        found.append("more data narrows every interval; an edge twice as strong needs a quarter of it.")
    if word in (Word.UNPROVEN, Word.LIKELY_OVERFIT) and e.n_trials > 1:
        found.append("fewer parameters and a narrower search: every trial raises what luck can reach.")
    if word is not Word.LIKELY_REAL and e.stressed_net is not None and e.stressed_net <= 0.0:
        found.append("lower costs: limit entries, a cheaper venue, fewer trades.")
    if word is Word.LIKELY_REAL:
        found.append("paper trading that stays below the walk-forward's interval; a market that is no longer this one.")
    return found


def _tests(e: Evidence) -> Sequence[Test]:
    def below(value: float | None, limit: float) -> bool | None:
        return None if value is None else value <= limit

    def above(value: float | None, limit: float) -> bool | None:
        return None if value is None else value > limit

    enough = None if e.windows is None else e.windows >= LEAST_WINDOWS
    long_enough = None if e.needed_years is None else e.years >= e.needed_years
    beats_luck = None if e.luck_line is None else e.annual_sharpe > e.luck_line
    return (
        Test("trades", e.trades, "trades", f"{LEAST_TRADES} or more", e.trades >= LEAST_TRADES, True,
             "how many trades the result rests on"),
        Test("scored windows", e.windows, "windows", f"{LEAST_WINDOWS} or more", enough, True,
             "out-of-sample windows with enough trades"),
        Test("minimum track record", e.needed_years, "years", f"at most the {_years(e.years)} there are", long_enough,
             True, "how long a track record of this Sharpe ratio must be before 0 can be ruled out"),
        Test("permutation test", e.p_value, "share", f"{_share(REAL_P)} or less", below(e.p_value, REAL_P), True,
             "share of shuffled markets on which the same search finds as much"),
        Test("out-of-sample probability", e.oos_psr, "share", f"above {_share(REAL_PSR)}",
             above(e.oos_psr, REAL_PSR), True,
             "probability that the walk-forward's true Sharpe ratio is above 0"),
        Test("out-of-sample Sharpe", e.oos_sharpe, "Sharpe", "above 0", above(e.oos_sharpe, 0.0), True,
             "of the stitched out-of-sample equity, annual"),
        Test("slippage x 2", e.stressed_net, "money", "above 0", above(e.stressed_net, 0.0), True,
             "what is left of the out-of-sample result when every taker fill slips twice as far"),
        Test("deflated Sharpe, null variance", e.dsr0, "share", f"above {_share(OVERFIT_DSR)}",
             above(e.dsr0, OVERFIT_DSR), True,
             "probability that the result is above what the best of all trials shows by luck"),
        Test("backtest overfitting", e.pbo, "share", f"{_share(GOOD_PBO)} or less; noise has about 50 %",
             below(e.pbo, GOOD_PBO), True,
             "share of splits in which the best of one half is below the middle of the other"),
        Test("luck line", e.luck_line, "Sharpe", f"below the {e.annual_sharpe:.2f} found", beats_luck, False,
             f"Sharpe ratio that the best of {e.n_trials:,} trials without an edge is expected to show over this span"),
        Test("minimum backtest length", e.luck_years, "years", f"at most the {_years(e.years)} there are",
             None if e.luck_years is None else e.years >= e.luck_years, False,
             "span over which luck alone no longer reaches this Sharpe ratio with so many trials"),
        Test("effective trials", e.effective_trials, "trials", "decides nothing", None, False,
             "independent trials that the correlated ones are worth; too lenient to deflate by where a search adapts"),
        Test("Sharpe above 0", e.psr, "share", "decides nothing", None, False,
             "as if the chosen result were the only trial: about half of noise passes 95 %"),
        Test("deflated Sharpe, textbook", e.dsr, "share", "decides nothing", None, False,
             "with the variance across trials, which grows with a real edge: almost blind"),
        Test("superior predictive ability", e.spa, "share", f"{_share(REAL_P)} or less", below(e.spa, REAL_P), False,
             "Hansen's test on the trials that were fixed before any was run"),
        Test("walk-forward efficiency", e.efficiency, "share", "decides nothing", None, False,
             "out-of-sample Sharpe over in-sample Sharpe: noise about -0.1, a real edge about 0.3 to 0.4"),
    )  # fmt: skip


def _share(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _years(years: float) -> str:
    if math.isinf(years):
        return "for ever"
    if years < 1.0:
        return f"{years * 12.0:.1f} months"
    return f"{years:.1f} years"
