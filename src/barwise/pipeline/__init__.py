"""The main job: what its stages do, and how they are run one after the other.

`stages` has each stage as a plain function from its inputs to its output, which single commands use as well; `view` is
what a run tells while it runs.
"""

from barwise.pipeline.stages import (
    NOT_IN_THIS_JOB,
    Inputs,
    MainJob,
    Market,
    Rules,
    RunSettings,
    StageDone,
    choose_market,
    choose_rules,
    describe_inputs,
    describe_result,
    describe_rules,
    fetch_inputs,
    origin_of,
    put_on_record,
    run_baseline,
    run_main_job,
    write_run,
)
