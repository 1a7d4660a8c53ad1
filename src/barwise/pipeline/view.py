"""What a run tells while it runs. The pipeline speaks, a view shows: bars on a terminal, lines in a log, JSON lines."""

import math
from dataclasses import dataclass
from typing import Protocol

from barwise.exchange.download import Progress
from barwise.report.findings import StageDone
from barwise.timeframe import DAY_MS


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan.

    Attributes:
        number, name: As in `StageDone`.
        text: What it will do.
        seconds: Estimated; None where nobody can know, 0 where it is kept from before.
        kept: A checkpoint has its output.
        reason: Why it will run, or why it need not, for --explain.
        market: Which of several markets it is for; "" where it is for all of them.
    """

    number: str
    name: str
    text: str
    seconds: float | None
    kept: bool = False
    reason: str = ""
    market: str = ""


@dataclass(frozen=True)
class Tick:
    """How far the stage at work is.

    Attributes:
        step: What is being counted: trials, windows, shuffled markets, ...
        done, total: Of them.
        best: Best value so far of what is searched for; None where there is none.
        best_name: What that value is, such as sharpe_ratio.
        text: Anything else in a few words.
        eta_seconds: Until this step is done; None where unknown.
    """

    step: str
    done: int
    total: int
    best: float | None = None
    best_name: str = ""
    text: str = ""
    eta_seconds: float | None = None

    @classmethod
    def of_download(cls, label: str, progress: Progress) -> "Tick":
        """A download in days of what was missing: what a venue has of them is known only when they have come.

        Args:
            label: What is downloaded, such as BINANCE BTCUSDT 1H.
            progress: How far it is.
        """
        days = math.ceil(progress.missing_ms / DAY_MS)
        limit = "" if progress.limit_used is None else f", limit {progress.limit_used:.0%}"
        text = f"{progress.rows:,} candles, {progress.requests:,} requests{limit}"
        done = math.floor(progress.share * days)
        return cls(f"days of {label}", done, days, text=text, eta_seconds=progress.eta_seconds)


class View(Protocol):
    """Who listens to a run."""

    def planned(self, stages: tuple[PlannedStage, ...]) -> None:
        """The plan, before anything slow."""

    def begun(self, number: str, name: str, market: str) -> None:
        """A stage begins."""

    def tick(self, tick: Tick) -> None:
        """The stage at work has come further; called often, from the thread that works."""

    def finding(self, text: str) -> None:
        """Something worth knowing now, in one sentence."""

    def done(self, stage: StageDone) -> None:
        """A stage has ended."""


class Silent:
    """A view that shows nothing."""

    def planned(self, stages: tuple[PlannedStage, ...]) -> None:
        """Nobody looks."""

    def begun(self, number: str, name: str, market: str) -> None:
        """Nobody looks."""

    def tick(self, tick: Tick) -> None:
        """Nobody looks."""

    def finding(self, text: str) -> None:
        """Nobody looks."""

    def done(self, stage: StageDone) -> None:
        """Nobody looks."""
