"""What the profile of the machine decides for a search, and what it leaves to the user."""

from dataclasses import replace
from pathlib import Path

import pytest

from barwise.config import OptimizationConfig, OptimizationProfile
from barwise.hardware import FILE_NAME, HardwareProfile, ThreadSpeed, save_profile, suited, suited_here
from tests.test_hardware import profile_of, seconds


def profile_with_a_card(wins_from: int) -> HardwareProfile:
    """Threads take 4 ns per bar and row; a card takes 1 ns, from so many rows on, and a second below."""
    card = tuple(
        ThreadSpeed(1, rows, 2_000, seconds(1e-9 * rows * 2_000 if rows >= wins_from else 1.0))
        for rows in (256, 1024, 4096)
    )
    return profile_of(card_speeds=card, threads=2, batch_size=4096)


def test_what_was_left_open_is_chosen_by_the_profile() -> None:
    chosen = suited(OptimizationConfig(), profile_of(threads=3, batch_size=1024))
    assert (chosen.backend, chosen.workers, chosen.batch_size) == ("threads", 3, 1024)
    # All else is as it was.
    assert chosen.replace(backend="auto", workers=None, batch_size=8192) == OptimizationConfig().replace(
        backend="auto", workers=None, batch_size=8192
    )


def test_what_the_user_says_stays() -> None:
    said = OptimizationConfig(backend="threads", workers=7, batch_size=8192)
    assert suited(said, profile_with_a_card(256)) == said
    for elsewhere in ("processes", "ray", "cuda"):
        config = OptimizationConfig(backend=elsewhere)
        assert suited(config, profile_with_a_card(256)) == config


@pytest.mark.parametrize(
    ("sampler", "trials", "wins_from", "backend"),
    [
        # AUTO begins with a third of its trials at once: 5,000 of 15,000.
        ("AUTO", 15_000, 4096, "cuda"),
        ("AUTO", 3_000, 4096, "threads"),  # 1,000 rows are too few
        ("AUTO", 3_000, 256, "cuda"),
        ("TPE", 15_000, 256, "threads"),  # it asks for 16
        ("RANDOM", 15_000, 256, "threads"),  # 64
    ],
)
def test_the_card_is_chosen_where_it_was_faster_with_the_batches_of_the_sampler(
    sampler: str, trials: int, wins_from: int, backend: str
) -> None:
    config = OptimizationConfig(optuna_sampler=sampler, num_trials=trials)
    assert suited(config, profile_with_a_card(wins_from)).backend == backend


def test_the_largest_batch_counts_by_profile_too() -> None:
    # 3,000 trials of AUTO per stage with THOROUGH: 1,000 rows; 500 with FAST: 167.
    for profile, backend in ((OptimizationProfile.THOROUGH, "threads"), (OptimizationProfile.FAST, "threads")):
        config = OptimizationConfig(profile=profile, optuna_sampler="AUTO")
        assert suited(config, profile_with_a_card(1024)).backend == backend
    thorough = OptimizationConfig(profile=OptimizationProfile.THOROUGH, optuna_sampler="AUTO")
    assert suited(thorough, profile_with_a_card(256)).backend == "cuda"
    assert suited(thorough.replace(profile=OptimizationProfile.FAST), profile_with_a_card(256)).backend == "threads"


def test_without_a_profile_of_this_machine_nothing_is_chosen(tmp_path: Path) -> None:
    config = OptimizationConfig()
    path = tmp_path / "data" / FILE_NAME
    assert suited_here(config, tmp_path) == config
    other = profile_of(threads=3)
    save_profile(replace(other, hardware=replace(other.hardware, cores_usable=99)), path)
    assert suited_here(config, tmp_path) == config
    save_profile(other, path)
    assert suited_here(config, tmp_path).workers == 3
