"""The manifest of a run: what it was made from and every event of it, so that anyone can make sure of it later.

`describe_run` makes one of a backtest, and `describe_optimization`, `describe_walk_forward`, `describe_validation` and
`describe_job` make one of a search; `write_manifest` and `read_manifest` are its file. `compare` and `compare_searches`
find the first thing that is not the same in two of them. `repeated_search` does a search again; `loading` reads what a
run was made from out of its manifest, and `strategies` finds a class by the name that stands there.
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
    write_beside,
    write_manifest,
)
from barwise.manifest.repeating import Inputs, repeated_search
from barwise.manifest.search_comparison import compare_searches
from barwise.manifest.search_record import (
    describe_job,
    describe_optimization,
    describe_validation,
    describe_walk_forward,
)
from barwise.manifest.strategies import strategy_reference

__all__ = [
    "ENDING",
    "Difference",
    "Inputs",
    "Manifest",
    "Origin",
    "Verification",
    "compare",
    "compare_searches",
    "describe_job",
    "describe_optimization",
    "describe_run",
    "describe_validation",
    "describe_walk_forward",
    "find_manifest",
    "manifest_path",
    "portable",
    "read_manifest",
    "repeated_search",
    "strategy_reference",
    "write_beside",
    "write_manifest",
]
