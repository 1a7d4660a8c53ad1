"""Checkpoints: a run that is killed at any moment goes on where it was, and ends as if nothing had happened.

A stage is a function of its inputs, so what it found is kept under a hash of them (`CheckpointStore`) and a run resumes
by finding the same hash again. Inside a stage of an hour a `Journal` keeps what is done. `RunLock` keeps two runs from
writing the same files, and `sweep_temporary` removes what a killed writer has left.
"""

from barwise.checkpoints.journal import Journal
from barwise.checkpoints.lock import RunLock
from barwise.checkpoints.snapshot import dump, load
from barwise.checkpoints.store import CheckpointStore, Described, Kept, StageKey
from barwise.checkpoints.temporary import sweep_temporary

__all__ = [
    "CheckpointStore",
    "Described",
    "Journal",
    "Kept",
    "RunLock",
    "StageKey",
    "dump",
    "load",
    "sweep_temporary",
]
