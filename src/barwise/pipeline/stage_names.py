"""What the stages of one market are called, in their order: the same words where they run and where they are shown."""

from typing import Final, NamedTuple


class Step(NamedTuple):
    """A part of stage 8.

    Attributes:
        key: As `validate` calls it.
        name: As people read it, while it is being done.
        planned: The line of the plan that it belongs to.
    """

    key: str
    name: str
    planned: str


SEARCHES: Final = {"7.1": "integers", "7.2": "real values", "7.3": "timeouts"}
WALK_FORWARD, SHUFFLED, VERDICT = "walk-forward", "shuffled", "verdict"
# Number and name of each stage that a market goes through by itself.
STAGES_OF_A_MARKET: Final = (
    ("5", "look-ahead"), ("5", "baseline"), *SEARCHES.items(), ("7", "neighbourhood"), ("8", VERDICT), ("9", "report"),
)  # fmt: skip
STEPS: Final = (
    Step("search", "search", VERDICT),
    Step("walk-forward", "walk-forward", WALK_FORWARD),
    Step("permutations", "shuffled markets", SHUFFLED),
    Step("selection", "overfitting of the search", VERDICT),
    Step("stress", "stress", VERDICT),
    Step("jitter", "jitter", VERDICT),
    Step("monte carlo", "other histories", VERDICT),
)
STEP_NAMES: Final = {step.key: step.name for step in STEPS}
