"""What the profile of this machine decides for a search, where the user has said nothing.

Threads, batch size and the graphics card change how fast a search is, never what it finds: what it returns has been run
by the processor.
"""

from pathlib import Path
from typing import Any

from barwise.config import OptimizationConfig
from barwise.hardware.profile import FILE_NAME, HardwareProfile, load_profile
from barwise.optimizer.batch_search import first_batch
from barwise.optimizer.samplers import canonical_name
from barwise.optimizer.search import trials_of
from barwise.optimizer.space import STAGES

# Samplers that learn from few answers at a time ask for no more than this many points.
_FEW = 64


def suited(config: OptimizationConfig, profile: HardwareProfile) -> OptimizationConfig:
    """The settings with threads, batch size and backend of the profile, each where it was left open.

    Args:
        config: `workers` None, a `batch_size` that was not given and `backend` "auto" are open.
        profile: Of this machine.
    """
    if config.backend not in ("auto", "threads"):
        return config
    chosen: dict[str, Any] = {}
    if config.backend == "auto":
        chosen["backend"] = profile.backend_for(_largest_batch(config))
    if config.workers is None:
        chosen["workers"] = profile.threads
    if "batch_size" not in config.model_fields_set:
        chosen["batch_size"] = profile.batch_size
    return config.replace(**chosen)


def suited_here(config: OptimizationConfig, home: Path) -> OptimizationConfig:
    """The same by the profile that is stored in the home folder; as it is where there is none of this machine."""
    profile = load_profile(home / "data" / FILE_NAME)
    return config if profile is None else suited(config, profile)


def _largest_batch(config: OptimizationConfig) -> int:
    """Most rows that one batch of a search will have; only the batch search asks for many at a time."""
    if canonical_name(config.optuna_sampler) != "AUTO":
        return _FEW
    return max(first_batch(trials_of(config, stage)) for stage in STAGES)
