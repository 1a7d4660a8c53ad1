"""What a whole run has found on one market, as the reports of a run read it.

The pipeline fills it in, stage by stage; the report, the table of many markets, the terminal and the manifest read
nothing else, so that none of them can know more than another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from barwise.optimizer.engine import OptimizationResult
    from barwise.result import BacktestResult
    from barwise.strategy.lookahead import LookAheadReport
    from barwise.validation.engine import ValidationReport

# done: run now; kept: answered from a checkpoint; skipped: it could not be run, and the text says why.
StageState = Literal["done", "kept", "skipped"]


@dataclass(frozen=True)
class StageDone:
    """One finished stage.

    Attributes:
        number: As the documentation counts them: 1 .. 10, 7.1 .. 7.3.
        name: In a word.
        text: What came out, in one line.
        seconds: How long it took when it was run; of a kept stage that was before.
        state: done | kept | skipped.
        market: Which of several markets it was for; "" where it was for all of them.
    """

    number: str
    name: str
    text: str
    seconds: float
    state: StageState = "done"
    market: str = ""


@dataclass(frozen=True, eq=False)
class RunFindings:
    """What the stages left, for one market.

    Attributes:
        name: Of the run and of its files: market, timeframe and a hash of everything that went in.
        baseline: The strategy as it was given, stage 5.
        optimization: Stage 7; None where it could not be run.
        validation: Stage 8; None where it could not be run.
        look_ahead: The long check for look-ahead; None where it was switched off.
        stages: What was gone through, in order, with why a stage was skipped.
        config: The resolved configuration: values by section and key.
        n_trials: Distinct configurations on record for these candles; None where nobody knows.
        hardware: The computer in a few words, by name; nothing in it says whose it is.
    """

    name: str
    baseline: "BacktestResult"
    optimization: "OptimizationResult | None"
    validation: "ValidationReport | None"
    look_ahead: "LookAheadReport | None"
    stages: tuple[StageDone, ...]
    config: Mapping[str, Mapping[str, Any]]
    n_trials: int | None
    hardware: Mapping[str, str]

    @property
    def chosen(self) -> "BacktestResult":
        """The backtest of the strategy the run ended with: the optimized one, else the baseline."""
        return self.baseline if self.optimization is None else self.optimization.best

    @property
    def verdict(self) -> str:
        """The verdict in a word or two; "" where stage 8 could not be run."""
        return "" if self.validation is None else self.validation.verdict
