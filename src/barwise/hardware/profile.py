"""A machine with its speeds and the settings that follow from them, and the file they are kept in.

Every number is checked when the file is read: a wrong one would be an estimate that nobody can explain.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from barwise.data.files import write_atomically
from barwise.hardware.machine import Count, Hardware, look_at_hardware

logger = logging.getLogger(__name__)

FILE_NAME = "hardware_profile.json"
# Share of the cores in the hands of other programs from which on a measurement is doubtful.
BUSY = 0.5
# Samplers that are timed, with so many objectives, and the lengths of the searches they are timed on. GP and SKOPT are
# not among them: they think for up to a second about a point, and a profile is made in ten.
MEASURED_SAMPLERS: dict[tuple[str, int], tuple[int, ...]] = {
    ("TPE", 1): (50, 150, 300),
    ("TPE", 2): (50, 150),
    ("AUTO", 1): (500, 1_500, 3_000),
    ("CMA-ES", 1): (50, 150),
    ("NSGA-II", 1): (50, 150),
    ("NSGA-II", 2): (50, 150),
    ("NSGA-III", 1): (50, 150),
    ("NSGA-III", 2): (50, 150),
    ("QMC", 1): (150,),
    ("RANDOM", 1): (150,),
    ("GRID", 1): (150,),
}

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Timing(NamedTuple):
    """Seconds of one call over several rounds."""

    median: Seconds
    fastest: Seconds
    slowest: Seconds


@dataclass(frozen=True)
class ThreadSpeed:
    """A sweep of `rows` rows over `bars` bars, the kernel alone, on so many threads (or on the card: 0)."""

    threads: Annotated[int, Field(ge=0)]
    rows: Count
    bars: Count
    kernel: Timing

    @property
    def nanoseconds(self) -> float:
        """Per bar and row."""
        return self.kernel.median / self.rows / self.bars * 1e9

    @property
    def best_nanoseconds(self) -> float:
        """The same in the fastest round."""
        return self.kernel.fastest / self.rows / self.bars * 1e9


@dataclass(frozen=True)
class BatchSpeed:
    """One batch on the chosen threads: its plans (indicators, signals, parameters), and the kernel.

    `planning` is for rows with periods of their own, `same_periods` for rows that share their indicators, as in every
    stage but the first.
    """

    rows: Count
    bars: Count
    planning: Timing
    same_periods: Timing
    kernel: Timing

    @property
    def nanoseconds(self) -> float:
        """Planning and kernel, per bar and row."""
        return (self.planning.median + self.kernel.median) / self.rows / self.bars * 1e9

    @property
    def best_nanoseconds(self) -> float:
        """The same in the fastest rounds."""
        return (self.planning.fastest + self.kernel.fastest) / self.rows / self.bars * 1e9


@dataclass(frozen=True)
class LengthSpeed:
    """What so many bars cost once: made ready for sweeps with their first indicators, and one plain backtest."""

    bars: Count
    preparation: Timing
    replay: Timing


@dataclass(frozen=True)
class BookSpeed:
    """What a batch of so many rows costs besides plans and kernel: scores, rungs, and its place in the ledger."""

    rows: Count
    seconds: Seconds


@dataclass(frozen=True)
class SamplerSpeed:
    """A whole search of a sampler: the time it thinks, and the batches it asks in."""

    sampler: str
    trials: Count
    batches: Count
    seconds: Seconds
    objectives: Count = 1


@dataclass(frozen=True)
class HardwareProfile:
    """A machine, its speed, and the settings that follow from it.

    Attributes:
        measured_at: UTC, ISO 8601.
        memory_available: Bytes at that time; None where the system does not say.
        busy: Share of the usable cores that other programs took in the minute before; None where the system does not
            say. Above `BUSY` the times are too long, and all usable cores are chosen.
        loading_seconds: Of TPE and AUTO, what the first search of a process takes longer than the next one.
        card_speeds: The kernel on the graphics card; none where there is no card.
        threads, batch_size: Fastest, or as good as that and smaller.
        backend: For large batches: "cuda" where the card was faster than all threads, else "threads"; `backend_for`
            says it for any number of rows.
    """

    schema_version: Literal[1]
    measured_at: str
    hardware: Hardware
    memory_available: Annotated[int, Field(ge=0)] | None
    busy: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None
    thread_speeds: Annotated[tuple[ThreadSpeed, ...], Field(min_length=1)]
    batch_speeds: Annotated[tuple[BatchSpeed, ...], Field(min_length=1)]
    length_speeds: Annotated[tuple[LengthSpeed, ...], Field(min_length=1)]
    book_speeds: Annotated[tuple[BookSpeed, ...], Field(min_length=1)]
    sampler_speeds: Annotated[tuple[SamplerSpeed, ...], Field(min_length=1)]
    loading_seconds: dict[str, Seconds]
    card_speeds: tuple[ThreadSpeed, ...]
    threads: Count
    batch_size: Count
    backend: Literal["threads", "cuda"]

    @property
    def card_wins_from(self) -> int | None:
        """Fewest rows, of those that were timed, from which on the card was faster; None where it never is."""
        return card_wins_from(self.card_speeds, self.thread_speeds, self.batch_speeds)

    def backend_for(self, rows: int) -> Literal["threads", "cuda"]:
        """The faster of the two for batches of so many rows."""
        fewest = self.card_wins_from
        return "cuda" if fewest is not None and rows >= fewest else "threads"


_PROFILE = TypeAdapter(HardwareProfile)


def card_wins_from(
    cards: Sequence[ThreadSpeed], threads: Sequence[ThreadSpeed], batches: Sequence[BatchSpeed]
) -> int | None:
    """Fewest rows from which on the card beats all threads, at that number and at every larger one."""
    best = min(speed.best_nanoseconds for speed in threads)
    fewest = None
    for card in sorted(cards, key=lambda speed: -speed.rows):
        known = [speed for speed in batches if (speed.rows, speed.bars) == (card.rows, card.bars)]
        seconds = known[0].kernel.fastest if known else best * card.rows * card.bars / 1e9
        if card.kernel.fastest >= seconds:
            break
        fewest = card.rows
    return fewest


def save_profile(profile: HardwareProfile, path: Path) -> Path:
    """Write a profile as JSON, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    return write_atomically(path, _PROFILE.dump_json(profile, indent=2) + b"\n")


def load_profile(path: Path, hardware: Hardware | None = None) -> HardwareProfile | None:
    """The stored profile, or None where it must be measured again: the log says why.

    Args:
        path: The file.
        hardware: What the profile must be of; None = this machine.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        return None
    try:
        profile = _PROFILE.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        logger.warning("%s is no hardware profile of this version (%s: %s)", path, place, first["msg"])
        return None
    hardware = look_at_hardware() if hardware is None else hardware
    timed = {(speed.sampler, speed.objectives) for speed in profile.sampler_speeds}
    if not timed.issuperset(MEASURED_SAMPLERS):
        logger.info("%s was made before all of the samplers were timed", path)
        return None
    changed = [
        name for name in Hardware.__dataclass_fields__ if getattr(profile.hardware, name) != getattr(hardware, name)
    ]
    if changed:
        logger.info("%s is of another machine or other versions: %s differ", path, ", ".join(changed))
        return None
    return profile
