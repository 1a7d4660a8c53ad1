"""The manifest of a run: what it was made from and every event of it, so that anyone can make sure of it later.

`describe_run` makes one of a result, `write_manifest` and `read_manifest` are its file, `compare` finds the first thing
that is not the same in two of them. Loading the inputs again is the caller's business (`barwise verify`).
"""

from barwise.manifest.comparison import Difference, Verification, compare
from barwise.manifest.record import (
    ENDING,
    Manifest,
    Origin,
    describe_run,
    find_manifest,
    manifest_path,
    portable,
    read_manifest,
    strategy_reference,
    write_manifest,
)

__all__ = [
    "ENDING",
    "Difference",
    "Manifest",
    "Origin",
    "Verification",
    "compare",
    "describe_run",
    "find_manifest",
    "manifest_path",
    "portable",
    "read_manifest",
    "strategy_reference",
    "write_manifest",
]
