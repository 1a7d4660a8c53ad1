"""How long a validation and a single backtest will take: the arithmetic, on a machine of round numbers.

A search of 700 trials a stage over 1,000 bars costs on it, all bars at once: kernel 2,100 rows x 1,000 bars x 4 ns;
plans 7 x 1.01 ms in the first stage and 14 x 0.1 ms in the others; the sampler 3 x 1.2 ms; 10 ms to get ready and six
plain backtests of 0.1 ms; and in the ledger 3 x (7 x 3 ms + 2.16 ms).
"""

from typing import Any

import pytest

from barwise.config import OptimizationConfig
from barwise.data.synthetic import sample_candles
from barwise.errors import ConfigError
from barwise.hardware import estimate, estimate_backtest, estimate_validation, estimating
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper
from barwise.validation import engine, stress
from tests.test_hardware import profile_of

KERNEL, BOOKS = 0.0084, 3 * (7 * 0.003 + 0.00216)
SEARCH = KERNEL + (7 * 0.00101 + 14 * 1e-4) + 3 * 0.0012 + (0.01 + 6 * 1e-4) + BOOKS
# On one thread the kernel of this machine takes twice as long as on two, and shuffled markets are not put on record.
SHUFFLED = SEARCH - BOOKS + KERNEL
START = 1.5 * 0.25


def search_of(**changes: Any) -> OptimizationConfig:
    return OptimizationConfig(**({"num_trials": 700, "multi_fidelity": False, "optuna_sampler": "AUTO"} | changes))


def estimated(search: OptimizationConfig | None = None, **changes: Any) -> dict[str, float]:
    numbers = {"bars": 1_000, "windows": 4, "in_sample_bars": 1_000, "permutations": 99, "workers": 2, "first": False}
    return estimate_validation(profile_of(), search or search_of(), **(numbers | changes))


class TestSteps:
    def test_windows_are_searched_and_traded_one_after_the_other_where_there_are_no_processes(self) -> None:
        assert estimated(permutations=0)["walk-forward"] == pytest.approx(4 * (SEARCH + 3 * 1e-4))

    def test_processes_start_and_then_share_the_windows(self) -> None:
        assert estimated()["walk-forward"] == pytest.approx(START + 4 * (SEARCH + KERNEL) / 2 + 4 * 3 * 1e-4)

    def test_processes_share_the_shuffled_markets_after_the_search_of_the_real_one(self) -> None:
        assert estimated()["permutations"] == pytest.approx(SEARCH - BOOKS + 99 * SHUFFLED / 2)

    def test_a_process_that_had_no_window_starts_with_the_shuffled_markets(self) -> None:
        found = estimated(windows=1)
        assert found["walk-forward"] == pytest.approx(START + SEARCH + KERNEL + 3 * 1e-4)
        assert found["permutations"] == pytest.approx(SEARCH - BOOKS + (99 * SHUFFLED + START) / 2)
        assert estimated(windows=0)["permutations"] == pytest.approx(SEARCH - BOOKS + 99 * SHUFFLED / 2 + START)

    def test_few_shuffled_markets_stay_in_this_process_on_one_thread_each(self) -> None:
        assert estimated(permutations=29)["permutations"] == pytest.approx(SEARCH - BOOKS + 29 * SHUFFLED)
        assert estimated(workers=1)["permutations"] == pytest.approx(SEARCH - BOOKS + 99 * SHUFFLED)

    def test_a_search_that_asks_for_processes_gets_them_for_few_markets_too(self) -> None:
        found = estimated(search_of(backend="processes"), permutations=19)
        assert found["permutations"] == pytest.approx(SEARCH - BOOKS + 19 * SHUFFLED / 2)

    def test_the_rest_is_the_search_and_the_look_at_a_thousand_trials_costs_and_neighbours(self) -> None:
        judged = 1_000 * (264_000 + 31 * 1_000) * 8e-9
        worlds = 4 * 8 * 2 * 1e-4
        neighbours = 2 * (0.00101 + 200 * 1_000 * 4e-9)
        resampled = 13_700 * 1_000 * 8e-9
        assert estimated()["others"] == pytest.approx(SEARCH + 1e-4 + judged + worlds + neighbours + resampled)

    @pytest.mark.parametrize(("trials", "looked_at"), [(100, 300), (333, 999), (334, 1_000), (5_000, 1_000)])
    def test_a_thousand_trials_at_most_are_looked_at(self, trials: int, looked_at: int) -> None:
        search = estimate(
            profile_of(), bars=1_000, sampler="AUTO", trials_by_stage=(trials,) * 3, levels=(1.0,), neighbours=0,
            first=False,
        )  # fmt: skip
        rest = 1e-4 + 4 * 8 * 2 * 1e-4 + 2 * (0.00101 + 0.0008) + 13_700 * 1_000 * 8e-9
        found = estimated(search_of(num_trials=trials))["others"]
        assert found - search.known - rest == pytest.approx(looked_at * 295_000 * 8e-9)

    def test_without_windows_and_shuffled_markets_only_the_rest_is_left(self) -> None:
        found = estimated(windows=0, in_sample_bars=0, permutations=0)
        assert (found["walk-forward"], found["permutations"]) == (0.0, 0.0)
        assert found["others"] > SEARCH

    def test_only_the_first_search_of_a_process_loads(self) -> None:
        first, next_one = estimated(first=True), estimated()
        assert first.pop("others") - next_one.pop("others") == pytest.approx(0.25)
        assert first == next_one

    def test_whatever_sampler_is_named_the_batch_search_is_what_is_estimated(self) -> None:
        assert estimated(search_of(optuna_sampler="GP")) == estimated()
        asked, judged = (estimated(search_of(num_trials=None, optuna_sampler=name)) for name in ("TPE", "AUTO"))
        assert asked == judged

    def test_with_halving_the_kernel_sees_58_percent_of_the_bars_in_the_stages_that_are_halved(self) -> None:
        settings = {"min_rung_trades": 0}
        whole, halved = (estimated(search_of(multi_fidelity=on, **settings))["permutations"] for on in (False, True))
        assert whole - halved == pytest.approx(0.42 * 2 / 3 * KERNEL * (1 + 99))

    def test_without_trades_enough_for_a_rung_nothing_is_halved(self) -> None:
        assert estimated(search_of(multi_fidelity=True)) == estimated()

    @pytest.mark.parametrize("name", ["bars", "windows", "in_sample_bars", "permutations"])
    def test_more_of_anything_never_takes_less_time(self, name: str) -> None:
        changes: list[dict[str, Any]] = [{name: count} for count in (30, 31, 200, 2_000, 20_001, 100_000)]
        times = [sum(estimated(**change).values()) for change in changes]
        assert times == sorted(times)

    def test_more_workers_never_take_more_time_for_many_markets(self) -> None:
        times = [sum(estimated(workers=count, windows=40, permutations=999).values()) for count in (1, 2, 3, 8)]
        assert times == sorted(times, reverse=True)

    @pytest.mark.parametrize("wrong", [{"windows": -1}, {"permutations": -1}, {"workers": 0}, {"in_sample_bars": 0}])
    def test_impossible_numbers_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="must be 0 or more"):
            estimated(**wrong)


class TestWhatIsCountedIsWhatIsDone:
    """The numbers the estimate assumes are those of the validation."""

    def test_processes_are_used_from_as_many_shuffled_markets_on(self) -> None:
        assert estimating._WORTH_PROCESSES == engine._WORTH_PROCESSES

    def test_as_many_worlds_and_neighbours_are_run(self) -> None:
        sweeper = Sweeper(sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01"), EmaRsiAtr(), 0.1)
        assert len(stress.stressed(sweeper, [])) == estimating._WORLDS
        assert estimating._JITTERED_ROWS == stress._JITTERED


class TestBacktest:
    def test_a_backtest_is_made_ready_run_and_the_first_time_loaded(self) -> None:
        assert estimate_backtest(profile_of(), 1_000, first=False) == pytest.approx(0.01 + 1e-4)
        assert estimate_backtest(profile_of(), 1_000) == pytest.approx(0.4 * 0.25 + 0.01 + 1e-4)

    def test_a_backtest_of_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="bars must be 1 or more"):
            estimate_backtest(profile_of(), 0)
