"""The hardware profile: what is read from the system, the arithmetic of the estimates, the file, and the command.

That estimates come true is measured by benchmarks/hardware.py: no test may depend on how busy a machine is.
"""

import getpass
import json
import logging
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.cli import main
from barwise.config import OptimizationConfig, OptimizationProfile
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.hardware import (
    BATCH_SIZES,
    BatchSpeed,
    BookSpeed,
    Hardware,
    HardwareProfile,
    LengthSpeed,
    SamplerSpeed,
    ThreadSpeed,
    Timing,
    estimate,
    estimate_of,
    load_profile,
    look_at_hardware,
    measure_hardware,
    memory_of,
    processor_quota,
    save_profile,
)
from barwise.hardware.measuring import _modest
from barwise.hardware.profile import MEASURED_SAMPLERS
from barwise.optimizer.samplers import SAMPLERS
from barwise.optimizer.search import evaluator_of, planned_trials
from barwise.optimizer.space import STAGES
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

GIB = 2**30


def seconds(value: float) -> Timing:
    return Timing(value, value, value)


def profile_of(**changes: Any) -> HardwareProfile:
    """A machine of round numbers.

    Kernel 4 ns per bar and row, plans 1 ms + 10 ns per bar or 0.1 ms with the same periods, books 2 ms + 10 us per row,
    10 ms to get ready, a plain backtest 100 ns per bar, 0.5 s of loading.
    """
    sizes, lengths = (16, 64, 256, 1024, 4096), (2_000, 20_000)
    parts: dict[str, Any] = {
        "schema_version": 1,
        "measured_at": "2026-01-01T00:00:00+00:00",
        "hardware": look_at_hardware(),
        "memory_available": 4 * GIB,
        "busy": 0.0,
        "thread_speeds": (
            ThreadSpeed(1, 4096, 2_000, seconds(4096 * 2_000 * 8e-9)),
            ThreadSpeed(2, 4096, 2_000, seconds(4096 * 2_000 * 4e-9)),
        ),
        "batch_speeds": tuple(
            BatchSpeed(rows, bars, seconds(1e-3 + 1e-8 * bars), seconds(1e-4), seconds(4e-9 * rows * bars))
            for rows in sizes
            for bars in lengths
        ),
        "length_speeds": tuple(LengthSpeed(bars, seconds(0.01), seconds(1e-7 * bars)) for bars in lengths),
        "book_speeds": (BookSpeed(16, 0.00216), BookSpeed(512, 0.00712)),
        "sampler_speeds": (
            SamplerSpeed("TPE", 50, 4, 0.1),
            SamplerSpeed("TPE", 150, 10, 0.4),
            SamplerSpeed("TPE", 300, 19, 1.6),
            SamplerSpeed("AUTO", 500, 7, 0.001),
            SamplerSpeed("AUTO", 1_500, 7, 0.002),
            SamplerSpeed("AUTO", 3_000, 7, 0.003),
            SamplerSpeed("TPE", 150, 10, 1.2, objectives=2),
            *(
                SamplerSpeed(name, 150, 10, 0.15 * objectives, objectives)
                for name, objectives in MEASURED_SAMPLERS
                if name not in ("TPE", "AUTO")
            ),
        ),
        "loading_seconds": {"TPE": 0.5, "AUTO": 0.25},
        "card_speeds": (),
        "threads": 2,
        "batch_size": 1024,
        "backend": "threads",
    }
    return HardwareProfile(**(parts | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "data"


@pytest.fixture(scope="module")
def measured(folder: Path) -> HardwareProfile:
    """This machine, measured in the least time there is."""
    return measure_hardware(0.3, folder)


class TestMachine:
    def test_instruction_sets_are_those_the_kernel_of_the_system_lists(self) -> None:
        text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), None)
        if flags is None:
            pytest.skip("this system has no /proc/cpuinfo with flags")
        sets = look_at_hardware().instruction_sets
        for name, flag in (("sse4.2", "sse4_2"), ("avx2", "avx2"), ("fma", "fma"), ("avx512f", "avx512f")):
            assert (name in sets) == (flag in flags), name

    def test_cores_and_memory_are_no_more_than_the_system_has(self) -> None:
        found = look_at_hardware()
        assert 1 <= found.cores_usable <= found.cores_total == os.cpu_count()
        assert found.memory_total is not None
        assert found.memory_total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def test_two_looks_are_equal(self) -> None:
        assert look_at_hardware() == look_at_hardware()

    def test_either_there_is_a_card_or_a_reason_why_not(self) -> None:
        found = look_at_hardware()
        assert (found.card is None) == bool(found.no_card)

    def test_nothing_names_the_machine_or_its_user(self) -> None:
        found = asdict(look_at_hardware())
        assert set(found) == {
            "processor", "cores_usable", "cores_total", "memory_total", "instruction_sets", "card", "no_card",
            "versions",
        }  # fmt: skip
        words = json.dumps(found).replace('"', " ").split()
        assert platform.node() not in words
        assert getpass.getuser() not in words


def system(root: Path, group: str, **files: str) -> Path:
    """A system of 8 GiB, 6 of them available, with the process in a control group, and files below the groups."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(
        f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {6 * GIB // 1024} kB\n"
    )
    (root / "proc" / "self" / "cgroup").write_text(group)
    for name, content in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


class TestContainers:
    def test_without_limits_the_memory_is_the_machines(self, tmp_path: Path) -> None:
        root = system(tmp_path, "0::/\n")
        assert memory_of(root) == (8 * GIB, 6 * GIB)
        assert processor_quota(root) is None

    def test_the_limit_of_a_container_is_the_total_and_what_it_can_give_up_is_available(self, tmp_path: Path) -> None:
        root = system(
            tmp_path,
            "0::/batch/job\n",
            **{
                "batch/job/memory.max": f"{4 * GIB}\n",
                "batch/job/memory.current": f"{3 * GIB}\n",
                "batch/job/memory.stat": f"anon {2 * GIB}\ninactive_file {GIB}\n",
                "batch/job/cpu.max": "150000 100000\n",
            },
        )
        assert memory_of(root) == (4 * GIB, 2 * GIB)
        assert processor_quota(root) == 1.5

    def test_the_narrowest_of_nested_groups_counts(self, tmp_path: Path) -> None:
        root = system(
            tmp_path,
            "0::/outer/inner\n",
            **{
                "outer/memory.max": f"{2 * GIB}\n",
                "outer/memory.current": f"{GIB}\n",
                "outer/cpu.max": "50000 100000\n",
                "outer/inner/memory.max": "max\n",
                "outer/inner/cpu.max": "max 100000\n",
            },
        )
        assert memory_of(root) == (2 * GIB, GIB)
        assert processor_quota(root) == 0.5

    def test_a_group_whose_path_does_not_exist_inside_is_read_at_the_top(self, tmp_path: Path) -> None:
        root = system(tmp_path, "0::/kubepods/pod7\n", **{"memory.max": f"{GIB}\n", "memory.current": "0\n"})
        assert memory_of(root) == (GIB, GIB)

    def test_groups_of_the_first_version_are_read_too(self, tmp_path: Path) -> None:
        root = system(
            tmp_path,
            "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n1:name=systemd:/\n",
            **{
                "memory/docker/a/memory.limit_in_bytes": f"{2 * GIB}\n",
                "memory/docker/a/memory.usage_in_bytes": f"{GIB}\n",
                "memory/docker/a/memory.stat": f"cache 5\ntotal_inactive_file {GIB // 2}\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "cpu/docker/a/cpu.cfs_quota_us": "200000\n",
                "cpu/docker/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
        )
        assert memory_of(root) == (2 * GIB, GIB + GIB // 2)
        assert processor_quota(root) == 2.0

    def test_a_limit_above_the_machine_does_not_make_it_larger(self, tmp_path: Path) -> None:
        root = system(tmp_path, "0::/\n", **{"memory.max": f"{64 * GIB}\n", "memory.current": "0\n"})
        assert memory_of(root) == (8 * GIB, 6 * GIB)


class TestEstimate:
    def test_each_part_is_what_it_is_by_hand(self) -> None:
        found = estimate(profile_of(), bars=1_000, sampler="TPE", trials_by_stage=(150,), levels=(1.0,), neighbours=0)
        # 150 trials are 10 batches (19 for 300, rounded up) of 15 rows.
        assert found.sampler == pytest.approx(0.4)
        assert found.kernel == pytest.approx(150 * 1_000 * 4e-9)
        assert found.planning == pytest.approx(10 * (1e-3 + 1e-5))
        assert found.books == pytest.approx(11 * 0.00216)  # the base is a batch of its own
        assert found.preparation == pytest.approx(0.01 + 4 * 1e-4)
        assert found.loading == 0.5
        assert found.seconds == pytest.approx(0.4 + 0.0006 + 0.0101 + 0.02376 + 0.0104 + 0.5)

    def test_only_the_first_stage_plans_periods_of_each_row(self) -> None:
        found = estimate(profile_of(), bars=1_000, sampler="AUTO", trials_by_stage=(700, 700, 70), neighbours=0)
        assert found.planning == pytest.approx(7 * (1e-3 + 1e-5) + 14 * 1e-4)

    def test_halving_simulates_58_percent_of_the_bars(self) -> None:
        whole = estimate(profile_of(), bars=9_000, sampler="AUTO", trials_by_stage=(700,), levels=(1.0,), neighbours=0)
        halved = estimate(profile_of(), bars=9_000, sampler="AUTO", trials_by_stage=(700,), neighbours=0)
        assert halved.kernel / whole.kernel == pytest.approx(0.33 + 0.5 * 0.33 + 0.25 * 0.34)
        assert halved.planning == whole.planning

    def test_the_batch_search_works_in_seven_batches_however_many_trials(self) -> None:
        few = estimate(profile_of(), bars=2_000, sampler="auto", trials_by_stage=(700,), neighbours=0)
        many = estimate(profile_of(), bars=2_000, sampler="AUTO", trials_by_stage=(7_000,), neighbours=0)
        assert few.planning == pytest.approx(7 * (1e-3 + 2e-5))
        assert many.planning == pytest.approx(few.planning)
        assert many.kernel == pytest.approx(10 * few.kernel)

    def test_the_neighbours_of_the_result_and_the_steps_of_nineteen_others_are_a_batch_each(self) -> None:
        without = estimate(profile_of(), bars=2_000, sampler="TPE", trials_by_stage=(50,), neighbours=0)
        found = estimate(profile_of(), bars=2_000, sampler="TPE", trials_by_stage=(50,), neighbours=512)
        assert found.kernel - without.kernel == pytest.approx((512 + 19 * 32) * 2_000 * 4e-9)
        assert found.planning - without.planning == pytest.approx(2 * (1e-3 + 2e-5))
        assert found.books - without.books == pytest.approx(0.00712 * (1 + 19 * 32 / 512))
        assert found.preparation - without.preparation == pytest.approx(21 * 2_000 * 1e-7)

    def test_a_longer_search_than_was_timed_grows_by_the_power_of_the_last_two(self) -> None:
        found = estimate(profile_of(), bars=2_000, sampler="TPE", trials_by_stage=(600,))
        assert found.sampler == pytest.approx(1.6 * 2.0**2)  # four times as long for twice as many

    def test_between_two_searches_that_were_timed_time_grows_evenly(self) -> None:
        found = estimate(profile_of(), bars=2_000, sampler="TPE", trials_by_stage=(100, 25))
        assert found.sampler == pytest.approx(0.25 + 0.05)

    def test_only_the_first_search_of_a_process_loads(self) -> None:
        config = OptimizationConfig()
        first, second = (estimate_of(profile_of(), config, bars=5_000, first=first) for first in (True, False))
        assert (first.loading, second.loading) == (0.5, 0.0)
        assert first[1:] == second[1:]

    @pytest.mark.parametrize("search", OptimizationProfile)
    @pytest.mark.parametrize(("sampler", "times"), [("TPE", 1), ("AUTO", 10)])
    def test_a_configuration_is_estimated_with_its_own_trials(
        self, search: OptimizationProfile, sampler: str, times: int
    ) -> None:
        config = OptimizationConfig(profile=search, optuna_sampler=sampler)
        trials = [times * planned_trials(search, stage) for stage in STAGES]
        assert estimate_of(profile_of(), config, bars=30_000) == estimate(
            profile_of(), bars=30_000, sampler=sampler, trials_by_stage=trials
        )

    def test_a_configuration_without_multi_fidelity_simulates_all_bars_and_timeouts_are_never_halved(self) -> None:
        halved, whole = (OptimizationConfig(optuna_sampler="AUTO", multi_fidelity=on) for on in (True, False))
        with_half, with_all = (estimate_of(profile_of(), one, bars=30_000).kernel for one in (halved, whole))
        per_row = 30_000 * 4e-9
        assert with_all == pytest.approx((1_500 + 1_500 + 500 + 512 + 19 * 32) * per_row)
        assert with_half == pytest.approx((0.58 * 3_000 + 500 + 512 + 19 * 32) * per_row)

    @pytest.mark.parametrize(
        ("trades", "share"), [(0, 1.0), (30, 1.0), (31, 0.66 + 0.5 * 0.34), (60, 0.66 + 0.5 * 0.34), (61, 0.58)]
    )
    def test_rungs_of_fewer_than_twenty_trades_are_left_out(self, trades: int, share: float) -> None:
        config = OptimizationConfig(optuna_sampler="AUTO", num_trials=700)
        found = estimate_of(profile_of(), config, bars=9_000, joint=True, trades=trades)
        assert found.kernel == pytest.approx((700 * share + 512 + 19 * 32) * 9_000 * 4e-9)

    @pytest.mark.parametrize("end", ["2024-03-30", "2024-06-01", "2024-12-31"])
    def test_the_rungs_of_an_estimate_are_those_of_the_search(self, end: str) -> None:
        candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", end)
        base = backtest(candles, EmaRsiAtr(), 0.1, check_lookahead=False)
        config = OptimizationConfig(optuna_sampler="AUTO", num_trials=700)
        evaluator = evaluator_of(Sweeper(candles, EmaRsiAtr(), 0.1, check_lookahead=False), config, None)
        bars = len(candles)
        wanted = estimate(
            profile_of(), bars=bars, sampler="AUTO", trials_by_stage=(700,), levels=evaluator.levels
        )  # fmt: skip
        assert estimate_of(profile_of(), config, bars=bars, joint=True, trades=base.total_trades) == wanted
        # Nobody has to run it first: on SAMPLE hours the built-in strategy is known.
        assert estimate_of(profile_of(), config, bars=bars, joint=True) == wanted

    @pytest.mark.parametrize("sampler", ["TPE", "NSGA-II"])
    def test_two_objectives_take_the_time_of_two_and_all_bars(self, sampler: str) -> None:
        config = OptimizationConfig(optuna_sampler=sampler, objective=("sharpe_ratio", "max_drawdown"))
        found = estimate_of(profile_of(), config, bars=30_000, joint=True)
        of_150 = {"TPE": 1.2, "NSGA-II": 0.3}[sampler]
        assert found.sampler == pytest.approx(of_150 * 350 / 150)
        assert found.kernel == pytest.approx((350 + 512 + 19 * 32) * 30_000 * 4e-9)

    def test_a_function_of_the_result_takes_a_plain_backtest_for_each_trial_and_neighbour(self) -> None:
        plain = estimate(profile_of(), bars=2_000, sampler="TPE", trials_by_stage=(50,), levels=(1.0,))
        config = OptimizationConfig(objective=lambda result: result.net_pnl, num_trials=50)
        found = estimate_of(profile_of(), config, bars=2_000, joint=True)
        steps = 19 * 32 * 2_000 * 4e-9  # of the others that came close, which are then not run
        assert found.kernel - plain.kernel == pytest.approx((50 + 512) * 2_000 * 1e-7 - steps)

    def test_a_joint_search_has_the_trials_of_all_stages(self) -> None:
        config = OptimizationConfig(optuna_sampler="AUTO")
        found = estimate_of(profile_of(), config, bars=20_000, joint=True)
        assert found == estimate(profile_of(), bars=20_000, sampler="AUTO", trials_by_stage=(3_500,))

    @pytest.mark.parametrize("sampler", ["TPE", "AUTO"])
    def test_more_bars_never_take_less_time_however_noisy_the_measurement(self, sampler: str) -> None:
        for seed in range(20):
            rng = np.random.default_rng(seed)
            noisy = profile_of(
                batch_speeds=tuple(
                    BatchSpeed(
                        one.rows, one.bars, seconds(one.planning.median * rng.uniform(0.2, 5.0)),
                        seconds(one.planning.median * rng.uniform(0.2, 5.0)),
                        seconds(one.kernel.median * rng.uniform(0.2, 5.0)),
                    )
                    for one in profile_of().batch_speeds
                ),
                length_speeds=tuple(
                    LengthSpeed(bars, seconds(rng.uniform(0.0, 0.1)), seconds(rng.uniform(0.0, 0.1)))
                    for bars in (2_000, 20_000)
                ),
            )  # fmt: skip
            times = [
                estimate(noisy, bars=bars, sampler=sampler, trials_by_stage=(150, 150, 50)).known
                for bars in (1, 300, 1_999, 2_000, 2_136, 8_760, 19_999, 20_000, 52_560, 500_000)
            ]
            assert times == sorted(times), seed

    @pytest.mark.parametrize("sampler", ["TPE", "AUTO"])
    def test_more_trials_never_take_less_time(self, sampler: str) -> None:
        times = [
            estimate(profile_of(), bars=8_760, sampler=sampler, trials_by_stage=(trials,)).known
            for trials in (1, 5, 16, 17, 49, 50, 51, 150, 160, 161, 300, 301, 1_000, 5_000)
        ]
        assert times == sorted(times)

    def test_a_busy_moment_that_made_more_rows_look_cheaper_is_not_believed(self) -> None:
        speeds = [replace(one, kernel=seconds(1.0)) if one.rows == 256 else one for one in profile_of().batch_speeds]
        found = estimate(
            profile_of(batch_speeds=tuple(speeds)), bars=2_000, sampler="AUTO", trials_by_stage=(7 * 1024,),
            levels=(1.0,), neighbours=0,
        )  # fmt: skip
        assert found.kernel >= 7.0

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_each_sampler_has_an_estimate_or_says_that_its_own_time_is_not_known(self, sampler: str) -> None:
        found = estimate(profile_of(), bars=2_000, sampler=sampler, trials_by_stage=(50, 50))
        rest = [part for name, part in found._asdict().items() if name != "sampler"]
        assert found.known == pytest.approx(sum(rest) + (found.sampler or 0.0))
        assert min(rest) > 0.0
        if sampler in ("GP", "SKOPT"):
            assert found.sampler is found.seconds is None
        else:
            assert found.sampler is not None
            assert found.seconds == found.known

    def test_models_of_three_objectives_were_not_timed_and_drawing_takes_no_longer_with_them(self) -> None:
        goals = ("sharpe_ratio", "max_drawdown", "total_trades")
        times = {
            sampler: estimate_of(
                profile_of(), OptimizationConfig(optuna_sampler=sampler, objective=goals), bars=2_000
            ).sampler
            for sampler in ("TPE", "NSGA-III", "RANDOM")
        }
        assert times["TPE"] is times["NSGA-III"] is None
        assert times["RANDOM"] == pytest.approx(0.15 * 350 / 150)

    @pytest.mark.parametrize(("bars", "trials"), [(0, 50), (2_000, 0), (-1, 50)])
    def test_nothing_to_do_is_refused(self, bars: int, trials: int) -> None:
        with pytest.raises(ConfigError, match="must be 1 or more"):
            estimate(profile_of(), bars=bars, sampler="TPE", trials_by_stage=(trials,))


def card(**nanoseconds: float) -> tuple[ThreadSpeed, ...]:
    """Speeds of a card by its rows, as in card(r256=9.0)."""
    return tuple(
        ThreadSpeed(0, int(name[1:]), 2_000, seconds(value * 1e-9 * int(name[1:]) * 2_000))
        for name, value in nanoseconds.items()
    )


class TestChoice:
    def test_without_a_card_all_batches_run_on_threads(self) -> None:
        found = profile_of()
        assert found.card_wins_from is None
        assert found.backend_for(10**6) == "threads"

    def test_a_card_is_chosen_from_the_fewest_rows_with_which_it_wins(self) -> None:
        found = profile_of(card_speeds=card(r256=40.0, r1024=9.0, r4096=3.0, r16384=1.0))
        assert found.card_wins_from == 4096
        assert (found.backend_for(4095), found.backend_for(4096)) == ("threads", "cuda")

    def test_a_card_that_loses_with_more_rows_has_won_by_chance(self) -> None:
        found = profile_of(card_speeds=card(r1024=1.0, r4096=5.0, r16384=3.0))
        assert found.card_wins_from == 16_384

    def test_a_card_that_is_never_faster_is_never_chosen(self) -> None:
        assert profile_of(card_speeds=card(r256=1.0, r16384=4.1)).card_wins_from is None

    def test_settings_as_good_as_the_best_are_taken_in_their_smallest_size(self) -> None:
        speeds = [
            ThreadSpeed(threads, 1, 1, Timing(9.0, best, 20.0))
            for threads, best in ((1, 8.0), (2, 4.0), (4, 2.05), (8, 2.0))
        ]
        assert _modest(speeds, lambda speed: speed.threads).threads == 4


class TestMeasurement:
    def test_threads_are_the_powers_of_two_and_all(self, measured: HardwareProfile) -> None:
        cores = measured.hardware.cores_usable
        threads = [speed.threads for speed in measured.thread_speeds]
        assert threads == sorted({cores} | {2**power for power in range(12) if 2**power <= cores})

    def test_every_batch_size_is_timed_at_both_lengths(self, measured: HardwareProfile) -> None:
        found = {(speed.rows, speed.bars) for speed in measured.batch_speeds}
        assert found == {(rows, bars) for rows in BATCH_SIZES for bars in (2_136, 17_520)}

    def test_every_time_lies_within_its_spread_and_is_above_nothing(self, measured: HardwareProfile) -> None:
        timings = [speed.kernel for speed in measured.thread_speeds]
        timings += [part for speed in measured.batch_speeds for part in (speed.planning, speed.kernel)]
        timings += [part for speed in measured.length_speeds for part in (speed.preparation, speed.replay)]
        assert all(0.0 < one.fastest <= one.median <= one.slowest for one in timings)

    def test_each_sampler_is_timed_and_asks_in_its_own_batches(self, measured: HardwareProfile) -> None:
        found = {(speed.sampler, speed.objectives, speed.trials): speed.batches for speed in measured.sampler_speeds}
        assert found["TPE", 1, 50] == found["TPE", 2, 50] == 4  # of 16
        assert found["AUTO", 1, 500] == 7  # a start and six generations
        assert found["RANDOM", 1, 150] == 3  # of 64
        assert {(speed.sampler, speed.objectives) for speed in measured.sampler_speeds} == {*MEASURED_SAMPLERS}
        assert all(speed.seconds > 0.0 for speed in measured.sampler_speeds)

    def test_the_settings_are_among_those_that_were_timed(self, measured: HardwareProfile) -> None:
        assert measured.threads in {speed.threads for speed in measured.thread_speeds}
        assert measured.batch_size in BATCH_SIZES
        assert measured.backend == ("threads" if measured.card_wins_from is None else "cuda")

    def test_nothing_is_left_where_the_ledger_was_timed(self, measured: HardwareProfile, folder: Path) -> None:
        assert list(folder.iterdir()) == []

    def test_a_folder_that_is_a_file_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("")
        with pytest.raises(DataError, match="data cannot be written"):
            measure_hardware(0.01, tmp_path / "data")

    @pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
    def test_no_time_at_all_is_refused(self, limit: float) -> None:
        with pytest.raises(ConfigError, match="seconds_limit must be above 0"):
            measure_hardware(limit)


class TestFile:
    def test_what_was_saved_is_loaded(self, measured: HardwareProfile, tmp_path: Path) -> None:
        path = save_profile(measured, tmp_path / "data" / "hardware_profile.json")
        assert load_profile(path) == measured
        assert json.loads(path.read_text())["schema_version"] == 1

    def test_no_file_is_no_profile_and_no_message(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert load_profile(tmp_path / "hardware_profile.json") is None
        assert not caplog.records

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ('"schema_version":1', '"schema_version":2', "schema_version"),
            ('"threads":2,"batch', '"threads":0,"batch', "threads"),
            ('"backend":"threads"', '"backend":"abacus"', "backend"),
            ('"busy":0.0', '"busy":-1.0', "busy"),
            ('"busy":0.0', '"busy":NaN', "busy"),
            ('"book_speeds":', '"cook_speeds":', "book_speeds"),
            ("{", "", "the whole file"),
        ],
    )
    def test_a_damaged_file_is_no_profile_and_the_log_says_where(
        self, old: str, new: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = save_profile(profile_of(), tmp_path / "hardware_profile.json")
        text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
        assert old in text
        path.write_text(text.replace(old, new, 1))
        assert load_profile(path) is None
        assert reason in caplog.text

    def test_a_profile_from_before_all_samplers_were_timed_is_made_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        few = [speed for speed in profile_of().sampler_speeds if speed.sampler != "CMA-ES"]
        path = save_profile(profile_of(sampler_speeds=tuple(few)), tmp_path / "hardware_profile.json")
        with caplog.at_level(logging.INFO):
            assert load_profile(path) is None
        assert "before all of the samplers were timed" in caplog.text

    def test_a_folder_in_its_place_is_no_profile(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert load_profile(tmp_path) is None
        assert "cannot be read" in caplog.text

    @pytest.mark.parametrize(
        "change",
        [
            {"processor": "another"},
            {"cores_usable": 999},
            {"memory_total": 1},
            {"instruction_sets": ()},
            {"versions": {"numba": "0.1"}},
        ],
    )
    def test_a_profile_of_another_machine_or_version_is_not_used(
        self, change: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = save_profile(profile_of(), tmp_path / "hardware_profile.json")
        other: Hardware = replace(look_at_hardware(), **change)
        with caplog.at_level(logging.INFO):
            assert load_profile(path, other) is None
        assert f"{next(iter(change))} differ" in caplog.text


class TestCommand:
    @pytest.fixture
    def stored(self, home: Path) -> Path:
        """A home that has a profile already."""
        save_profile(profile_of(), home / "data" / "hardware_profile.json")
        return home

    def test_the_page_fits_80_columns_and_says_what_was_chosen(
        self, stored: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        assert main(["profile"]) == 0
        out = capfd.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        assert "2 threads, 1,024 rows at a time, backend threads" in out
        assert "kept from before: data/hardware_profile.json" in out
        for part in ("FAST", "BALANCED", "THOROUGH", "2,136 bars", "52,560 bars", "TPE", "AUTO"):
            assert part in out

    def test_a_card_has_its_lines_and_its_rows(
        self, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        cards = card(r4096=3.0, r16384=1.0)
        save_profile(profile_of(card_speeds=cards, backend="cuda"), home / "data" / "hardware_profile.json")
        assert main(["profile"]) == 0
        out = capfd.readouterr().out
        assert "card, 16,384 rows" in out
        assert "backend cuda from 4,096 rows on" in out

    def test_the_document_has_the_profile_and_an_estimate_for_each_search(
        self, stored: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["profile", "--json", "--bars", "8760"]) == 0
        found = json.loads(capfd.readouterr().out)
        assert found["stored"] is True
        assert found["profile"]["threads"] == 2
        assert len(found["estimates"]) == 6
        for one in found["estimates"]:
            config = OptimizationConfig(profile=one["profile"], optuna_sampler=one["sampler"])
            expected = estimate_of(profile_of(), config, bars=8_760)
            assert one["seconds"] == pytest.approx(expected.seconds)
            assert one["sampler_seconds"] == expected.sampler
            parts = ("loading", "preparation", "sampler", "planning", "kernel", "books")
            assert one["seconds"] == pytest.approx(sum(one[f"{part}_seconds"] for part in parts))

    def test_a_measurement_on_a_busy_machine_is_shown_with_a_warning(
        self, home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        save_profile(profile_of(busy=0.9), home / "data" / "hardware_profile.json")
        assert main(["profile"]) == 0
        assert "other programs kept 90 % of the cores busy" in capfd.readouterr().err

    @pytest.mark.parametrize("words", [["--bars", "0"], ["--bars", "many"], ["--set", "x=1"], ["--agian"]])
    def test_a_mistake_is_bad_usage_and_measures_nothing(
        self, words: list[str], home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["profile", *words]) == 2
        assert capfd.readouterr().err.startswith("error: ")
        assert not (home / "data").exists()

    def test_a_home_that_cannot_be_written_is_one_sentence(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (home / "data").write_text("a file where the folder should be")
        assert main(["profile"]) == 1
        assert "data cannot be written" in capfd.readouterr().err

    @pytest.mark.slow
    def test_the_first_call_measures_and_the_second_shows_the_same(
        self, home: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["profile", "--json"]) == 0
        first = json.loads(capfd.readouterr().out)
        assert main(["profile", "--json"]) == 0
        second = json.loads(capfd.readouterr().out)
        assert (first["stored"], second["stored"]) == (False, True)
        assert first["profile"] == second["profile"]
        assert first["estimates"] == second["estimates"]
        assert [path.name for path in (home / "data").iterdir()] == ["hardware_profile.json"]
