"""The audit trail of a run: every decision with its inputs, one JSON line each, in a file that is only added to.

    with Trail(path, run=name) as trail:
        trail.say("run_begun")
        trail.add(backtest_events("baseline", result))

`events` makes events of results, `Trail` writes each of them once, `read` reads them, `first_difference` compares two
trails, `overview_of_trail` and `told_trail` say what one comes to. `line_schema` is the contract of a line.
"""

from barwise.trail.events import (
    Event,
    backtest_events,
    markets_events,
    run_events,
    trial_events,
    validation_events,
    window_events,
)
from barwise.trail.file import (
    ENDING,
    OVER_SEVERAL,
    Difference,
    Trail,
    deterministic,
    find_trail,
    first_difference,
    is_over_several,
    read,
)
from barwise.trail.overview import overview_of_trail
from barwise.trail.schema import line_schema
from barwise.trail.words import told_trail

__all__ = [
    "ENDING",
    "OVER_SEVERAL",
    "Difference",
    "Event",
    "Trail",
    "backtest_events",
    "deterministic",
    "find_trail",
    "first_difference",
    "is_over_several",
    "line_schema",
    "markets_events",
    "overview_of_trail",
    "read",
    "run_events",
    "told_trail",
    "trial_events",
    "validation_events",
    "window_events",
]
