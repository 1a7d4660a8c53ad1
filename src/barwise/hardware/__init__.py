"""Stage 6: what this machine is, how fast it really is, and so how long a search will take before it is begun.

No table of processors says how fast a backtest runs, so everything is timed with the real thing: the kernel through
`Sweeper`, the records through a real ledger, the samplers by asking them. The candles are SAMPLE candles, which are at
hand offline and the same everywhere, so that two machines can be compared.

    profile = measure_hardware()
    save_profile(profile, home_folder() / "data" / "hardware_profile.json")
    estimate(profile, bars=8_760, sampler="TPE", trials_by_stage=(150, 150, 50)).seconds

The chosen settings change how fast a search is, never what it finds.
"""

from barwise.hardware.choosing import suited, suited_here
from barwise.hardware.estimating import Estimate, estimate, estimate_backtest, estimate_of, estimate_validation
from barwise.hardware.machine import Card, Hardware, look_at_hardware, memory_of, processor_quota
from barwise.hardware.measuring import BATCH_SIZES, measure_hardware
from barwise.hardware.profile import (
    BUSY,
    FILE_NAME,
    BatchSpeed,
    BookSpeed,
    HardwareProfile,
    LengthSpeed,
    SamplerSpeed,
    ThreadSpeed,
    Timing,
    load_profile,
    save_profile,
)

__all__ = [
    "BATCH_SIZES",
    "BUSY",
    "FILE_NAME",
    "BatchSpeed",
    "BookSpeed",
    "Card",
    "Estimate",
    "Hardware",
    "HardwareProfile",
    "LengthSpeed",
    "SamplerSpeed",
    "ThreadSpeed",
    "Timing",
    "estimate",
    "estimate_backtest",
    "estimate_of",
    "estimate_validation",
    "load_profile",
    "look_at_hardware",
    "measure_hardware",
    "memory_of",
    "processor_quota",
    "save_profile",
    "suited",
    "suited_here",
]
