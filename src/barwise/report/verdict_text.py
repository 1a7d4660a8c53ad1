"""A verdict in words, shared by the terminal and the page so that both say the same."""

from typing import TYPE_CHECKING

from barwise.report.text import NOT_AVAILABLE, counted, money, number, percent

if TYPE_CHECKING:
    from barwise.validation.verdict import Evidence, Test, Verdict
    from barwise.validation.walk_forward import WalkForwardResult

# A verdict is never told by colour alone: each state of a test has a sign and a word.
SIGNS = {"passed": "✓", "failed": "✗", "not run": "-", "no value": "-", "no limit": "·"}
_OF_WALK_FORWARD = frozenset(
    {"scored windows", "out-of-sample probability", "out-of-sample Sharpe", "slippage x 2", "walk-forward efficiency"}
)
_OF_TRIALS = frozenset(
    {"backtest overfitting", "superior predictive ability", "deflated Sharpe, textbook", "effective trials"}
)
STABILITY_CHECK = (
    "STABILITY CHECK, NOT OUT-OF-SAMPLE: every window traded the same given configuration. If it was chosen on these "
    "candles, the windows have seen nothing new."
)


def sentence(text: str) -> str:
    """With a capital, unless it begins with a command, and a full stop."""
    text = text.strip()
    first = text[:1] if text.startswith("barwise ") else text[:1].upper()
    return f"{first}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def state(test: "Test", evidence: "Evidence") -> str:
    """`passed`, `failed`, `not run`, `no value` or `no limit`."""
    if test.passed is not None:
        return "passed" if test.passed else "failed"
    if test.value is not None:
        return "no limit"
    # Without a search nothing of its trials is known; the walk-forward and the shuffles are steps of their own.
    searched = evidence.windows is not None or evidence.p_value is not None or evidence.dsr is not None
    walked = bool(evidence.windows) or evidence.stressed_net is not None
    run = {
        "permutation test": evidence.p_value is not None,
        **dict.fromkeys(_OF_WALK_FORWARD, walked),
        **dict.fromkeys(_OF_TRIALS, searched),
    }
    return "no value" if run.get(test.name, True) else "not run"


def shown(test: "Test") -> str:
    """The number of a test in its unit."""
    value = test.value
    if value is None:
        return NOT_AVAILABLE
    if test.unit in ("trades", "windows"):
        return f"{int(value):,}"
    if test.unit == "share":
        return percent(100.0 * value)
    if test.unit == "years":
        return years(value)
    return money(value, signed=True) if test.unit == "money" else number(value)


def years(value: float) -> str:
    """A length of time in years, or in months below one."""
    if value == float("inf"):
        return "for ever"
    return f"{12.0 * value:.1f} months" if value < 1.0 else f"{value:.1f} years"


def luck_sentence(verdict: "Verdict") -> str:
    """How the Sharpe ratio found stands to what luck alone reaches."""
    evidence = verdict.evidence
    tried = counted(evidence.n_trials, "configuration")
    are = "is" if evidence.n_trials == 1 else "are"
    text = (
        f"{tried} {are} on record for these candles; over {years(evidence.years)} the best of so many without any edge"
    )
    return (
        f"{text} is expected to show a Sharpe ratio of {number(evidence.luck_line)}. "
        f"This one shows {number(evidence.annual_sharpe)}."
    )


def scores(walked: "WalkForwardResult") -> list[tuple[str, str, str]]:
    """The scores of a walk-forward: name, number, and what it is, or beside what it has to be seen."""
    low, high = walked.consistency_interval
    scored = counted(len(walked.scored), "window")
    kind = "out-of-sample" if walked.reoptimized else "stitched"
    none_scored = not walked.scored
    return [
        (
            "Consistency",
            NOT_AVAILABLE if none_scored else percent(100.0 * walked.consistency_score, 0),
            f"of {scored} with a profit; 95 % interval {100.0 * low:.0f} to {100.0 * high:.0f} %",
        ),
        (
            "Stability",
            NOT_AVAILABLE if len(walked.scored) < 2 else number(walked.stability_score),
            "1: all windows alike; near 0: they scatter widely",
        ),
        (
            "Efficiency",
            NOT_AVAILABLE if walked.efficiency is None else percent(100.0 * walked.efficiency, 0),
            "out-of-sample Sharpe over in-sample; noise about -10 %, an edge 30 to 40 %",
        ),
        (
            "Confidence",
            NOT_AVAILABLE if walked.oos_psr is None else percent(100.0 * walked.oos_psr, 0),
            f"probability that the {kind} Sharpe ratio is above 0",
        ),
        (
            "Overfitting indicator",
            NOT_AVAILABLE if none_scored else number(walked.overfitting_indicator),
            "1 - efficiency, from 0 to 1",
        ),
    ]
