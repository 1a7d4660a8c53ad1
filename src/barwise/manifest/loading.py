"""What a run on record was made from, read out of its manifest; and a refusal of a run done again that is not that run.

Everything but the data: where candles may be looked for is the caller's business. `barwise verify` asks whoever has
them, the dashboard nobody outside of its home folder.
"""

from pathlib import Path
from typing import Any

from barwise.config import ExecutionConfig
from barwise.costs import FeeSchedule
from barwise.errors import BarwiseError, CheckpointError
from barwise.manifest.comparison import UNREADABLE, Verification, damaged
from barwise.manifest.record import ENDING, Manifest, read_manifest
from barwise.strategy.base import Strategy

_BACKTEST = "backtest"


def kind_of(recorded: Manifest) -> str:
    """What sort of run a manifest is of; those of the first versions are all of backtests."""
    return str(recorded.get("kind", _BACKTEST))


def read_backtest(path: Path, hint: str) -> Manifest:
    """The manifest of one backtest.

    Args:
        path: Of the manifest.
        hint: What to do where it is that of something else.

    Raises:
        CheckpointError: It is damaged, or that of something else.
    """
    recorded = read_manifest(path)
    if kind_of(recorded) != _BACKTEST:
        raise CheckpointError(
            f"{path.name} is the manifest of a {recorded['kind']}, and a backtest is needed.", hint=hint
        )
    return recorded


def configured(recorded: Manifest, kind: type[Strategy]) -> tuple[Strategy, ExecutionConfig]:
    """The strategy with the parameters on record, and the execution settings.

    Args:
        recorded: The manifest.
        kind: The class that it names.

    Raises:
        ConfigError: The class does not take them any more.
        CheckpointError: The manifest is damaged.
    """
    try:
        settings = recorded["configuration"]
        execution: dict[str, Any] = dict(settings["execution"])
        fees = execution.get("fees")
        execution["fees"] = None if fees is None else FeeSchedule.from_dict(fees)
        return kind(**settings["strategy"]["parameters"]), ExecutionConfig(**execution)
    except BarwiseError:
        raise
    except UNREADABLE as error:
        raise damaged(error) from error


def span_on_record(recorded: Manifest) -> tuple[int, int]:
    """When the first and the last candle of a run open, ms UTC; the first is after the last where there was none.

    Raises:
        CheckpointError: The manifest is damaged.
    """
    try:
        candles = recorded["data"]["candles"]
        return int(candles["first_ms"]), int(candles["last_ms"])
    except UNREADABLE as error:
        raise damaged(error) from error


def require_same(found: Verification, path: Path) -> None:
    """Do nothing where a run that was done again is the one on record.

    Args:
        found: How they compare.
        path: Of the manifest on record.

    Raises:
        CheckpointError: It is not.
    """
    if not found.same:
        raise CheckpointError(
            f"the run done again is not the run on record: {found.differences[0]}",
            hint=f"barwise verify {path.name.removesuffix(ENDING)} names everything that differs.",
        )
