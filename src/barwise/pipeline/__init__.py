"""The main job: what its stages do, and how they are run one after the other.

`stages` has each stage as a plain function from its inputs to its output, which single commands use as well; `job` is
the whole way (imported only where it is run: it brings the optimizer and the reports), `market_run` one market's part
of it, and `view` what a run tells while it runs.
"""

from barwise.pipeline.stages import (
    Inputs,
    Market,
    Rules,
    RunSettings,
    choose_market,
    choose_rules,
    describe_inputs,
    describe_result,
    describe_rules,
    each_market,
    fetch_inputs,
    origin_of,
    put_on_record,
    run_baseline,
    write_run,
)

__all__ = [
    "Inputs",
    "Market",
    "Rules",
    "RunSettings",
    "choose_market",
    "choose_rules",
    "describe_inputs",
    "describe_result",
    "describe_rules",
    "each_market",
    "fetch_inputs",
    "origin_of",
    "put_on_record",
    "run_baseline",
    "write_run",
]
