"""The kernel on a graphics card: the same code objects, compiled to plain exact arithmetic, with the same sums.

Where there is no card, its machine code is read instead of run, and the wrapper runs in numba-cuda's simulator, which
executes the same functions thread by thread in Python.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barwise.config import ExecutionConfig
from barwise.core import gpu, journal, kernel, rules
from barwise.core.layout import NO_RECORDS, SUMMARY, fresh_states
from barwise.data.synthetic import sample_candles
from barwise.prepare import parameter_records, prepare, resolved_fees
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.strategy.shared_lines import SharedLines
from tests.conftest import REPOSITORY

BARS, PAUSE = 400, 250
ROWS = 34  # more than one block of threads, and the second one not full
PROGRAM = """
import sys
import numpy as np
from barwise.core import gpu
from barwise.core.layout import SUMMARY, fresh_states
from tests.test_gpu import ROWS, workload

stop, close = int(sys.argv[2]), sys.argv[3] == "close"
summaries, states = np.zeros(ROWS, SUMMARY), fresh_states(ROWS)
gpu.simulate_rows_on_gpu(*workload(ROWS), stop, summaries, states, close)
np.savez(sys.argv[1], summaries=summaries, states=states)
"""


def workload(rows: int) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    """Market, plans and parameters of some rows over SAMPLE candles: all that a sweep passes before `stop`."""
    rng = np.random.default_rng(7)
    candles = sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-01-18")[:BARS]
    prepared = prepare(candles, None, [(candles.time[at], 0.0001) for at in range(0, BARS, 8)])
    strategy, execution = EmaRsiAtr(), ExecutionConfig(maker_fee=0.0002, taker_fee=0.0005)
    signal = {
        "ema_fast": rng.integers(2, 6, rows),
        "ema_slow": rng.integers(7, 15, rows),
        "enable_rsi_filter": np.zeros(rows, np.bool_),
        "enable_trend_filter": np.zeros(rows, np.bool_),
    }
    columns = {
        name: signal.get(name, np.broadcast_to(getattr(strategy, name), (rows,)))
        for name in strategy.signal_parameters()
    }
    planned = EmaRsiAtr.plan_rows(candles.bars, SharedLines(prepared.session_vwap), columns)
    assert planned is not None
    rules = {
        "atr_sl_multiplier": rng.uniform(0.5, 4.0, rows),
        "atr_tp_multiplier": rng.uniform(0.5, 6.0, rows),
        "trailing_sl_threshold": rng.uniform(0.0, 0.03, rows),
        "trailing_tp_enabled": rng.integers(0, 2, rows).astype(np.bool_),
        "tier2_limit_offset_atr": rng.uniform(0.0, 1.0, rows),
        "exit_on_opposite_signal": rng.integers(0, 2, rows).astype(np.bool_),
    }
    params = parameter_records(
        rows, strategy, rules, execution, resolved_fees(execution, candles.exchange), 0.1, prepared.ratio,
        prepared.steps,
    )  # fmt: skip
    return (
        prepared.market, planned.lines, planned.plans, planned.event_bars, planned.event_codes, planned.plan_of_row,
        params,
    )  # fmt: skip


def on_processor(rows: int, stop: int, close: bool) -> tuple[Any, Any]:
    summaries, states = np.zeros(rows, SUMMARY), fresh_states(rows)
    kernel.simulate_rows(*workload(rows), stop, 0, rows, NO_RECORDS, summaries, states, close)
    return summaries, states


@pytest.fixture(scope="module")
def assembly() -> str:
    if not gpu.gpu_compiler_available():
        pytest.skip("NVIDIA's compiler is not installed: pip install 'barwise[cuda]' to read the card's machine code")
    return gpu.ptx((8, 0))


def instructions(assembly: str) -> Counter[str]:
    return Counter(re.findall(r"^\s+(?:@!?%p\d+\s+)?([a-z][\w.:]*)", assembly, re.MULTILINE))


class TestMachineCode:
    def test_the_whole_law_is_one_function_without_calls(self, assembly: str) -> None:
        assert assembly.count(".entry") == 1
        assert ".func" not in assembly
        assert ".extern" not in assembly
        assert not [name for name in instructions(assembly) if name.startswith("call")]

    def test_nothing_spills_out_of_the_registers(self, assembly: str) -> None:
        assert ".local" not in assembly
        assert ".shared" not in assembly

    def test_every_operation_rounds_as_on_the_processor(self, assembly: str) -> None:
        arithmetic = re.compile(r"(add|sub|mul|div|fma|mad|rcp|sqrt|rsqrt|ex2|lg2)\b.*\.f(16|32|64)")
        found = {name for name in instructions(assembly) if arithmetic.match(name)}
        # No fused multiply-add, no approximation, no single precision, and no operation that a later pass may fuse.
        assert found == {"add.rn.f64", "sub.rn.f64", "mul.rn.f64", "div.rn.f64", "rcp.rn.f64"}
        # To a step down and up, never towards zero.
        rounded = {name for name in instructions(assembly) if re.match(r"cvt\..*\.f64\.f64", name)}
        assert rounded == {"cvt.rmi.f64.f64", "cvt.rpi.f64.f64"}

    def test_no_linker_makes_the_arithmetic_anew(self, assembly: str) -> None:
        launched, called = gpu._kernel(), gpu.device_functions().values()
        assert [function.targetoptions["lto"] for function in (launched, *called)] == [False] * (1 + len(called))

    def test_the_target_is_the_card_that_was_asked_for(self, assembly: str) -> None:
        assert re.search(r"^\.target sm_80$", assembly, re.MULTILINE)
        assert re.search(r"^\.target sm_90$", gpu.ptx((9, 0)), re.MULTILINE)


class TestOneLaw:
    def test_device_functions_run_the_code_objects_of_the_core(self) -> None:
        pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'barwise[cuda]'")
        found = gpu.device_functions()
        homes: dict[str, Any] = vars(rules) | vars(journal) | vars(kernel)
        assert {"simulate_rows", "simulate", "end_program", "end_trade", "read_bar", "order_fee"} <= set(found)
        for name, twin in found.items():
            assert twin.py_func.__code__ is homes[name].py_func.__code__
            for called in found.keys() & set(twin.py_func.__code__.co_names):
                assert twin.py_func.__globals__[called] is found[called]

    def test_the_processor_keeps_its_own_functions(self) -> None:
        pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'barwise[cuda]'")
        before = dict(kernel.simulate.py_func.__globals__)
        gpu.device_functions()
        assert kernel.simulate.py_func.__globals__ == before


class TestSimulatedCard:
    """The simulator reads `state.T` as a transposed record, so runs here start fresh."""

    @pytest.mark.parametrize(("stop", "ending"), [(BARS, "close"), (PAUSE, "pause")])
    def test_the_card_gives_the_sums_of_the_processor_to_the_bit(self, tmp_path: Path, stop: int, ending: str) -> None:
        pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'barwise[cuda]'")
        environment = {
            **os.environ,
            "NUMBA_ENABLE_CUDASIM": "1",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)]),
        }
        file = tmp_path / "card.npz"
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(file), str(stop), ending], env=environment, cwd=REPOSITORY, check=True
        )
        summaries, states = on_processor(ROWS, stop, ending == "close")
        assert summaries["trades"].min() > 0
        assert len(np.unique(summaries["final_equity"])) == ROWS
        with np.load(file) as found:
            for name in SUMMARY.names or ():
                np.testing.assert_array_equal(found["summaries"][name], summaries[name], err_msg=name)
            for name in states.dtype.names or ():
                np.testing.assert_array_equal(found["states"][name], states[name], err_msg=name)
        assert (states["bar"] == (-1 if ending == "close" else PAUSE - 1)).all()


SEARCH = """
import sys
from barwise import OptimizationConfig, StrategyConfig, optimize, sample_candles
settings = {"optuna_sampler": "RANDOM", "num_trials": 10, "multi_fidelity": False, "min_trades": 1, "seed": 3}
found = []
for backend in ("cuda", "threads"):
    config = OptimizationConfig(backend=backend, storage=f"{sys.argv[1]}/{backend}.sqlite", **settings)
    found.append(optimize(sample_candles()[:420], StrategyConfig(), 0.1, joint=True, config=config))
card, processor = found
assert card.strategy == processor.strategy, (card.best_params, processor.best_params)
assert card.best.summary.tobytes() == processor.best.summary.tobytes()
assert card.stages[0].trials.summaries.tobytes() == processor.stages[0].trials.summaries.tobytes()
print(card.n_trials, processor.n_trials)
"""


def test_an_optimization_on_the_card_ends_where_the_processors_does(tmp_path: Path) -> None:
    """The processor scores the best again, and both scores of them are on record, each under its device."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'barwise[cuda]'")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path)], env=environment, check=True, capture_output=True, text=True
    )
    on_card, on_processor_alone = map(int, done.stdout.split())
    assert on_card > on_processor_alone > 10


class TestRealCard:
    @pytest.fixture(autouse=True)
    def _needs_a_card(self) -> None:
        if not gpu.gpu_available():
            pytest.skip("no graphics card that numba-cuda can use")

    def test_the_card_gives_the_sums_of_the_processor(self) -> None:
        rows = 5_000
        expected, _ = on_processor(rows, BARS, True)
        summaries, states = np.zeros(rows, SUMMARY), fresh_states(rows)
        gpu.simulate_rows_on_gpu(*workload(rows), BARS, summaries, states, True)
        self.check(summaries, expected)

    def test_a_run_goes_on_from_its_state(self) -> None:
        rows = 100
        expected, _ = on_processor(rows, BARS, True)
        summaries, states = np.zeros(rows, SUMMARY), fresh_states(rows)
        gpu.simulate_rows_on_gpu(*workload(rows), PAUSE, summaries, states, False)
        gpu.simulate_rows_on_gpu(*workload(rows), BARS, summaries, states, True)
        self.check(summaries, expected)

    def check(self, found: Any, expected: Any) -> None:
        """Counts are equal, sums agree to twelve digits."""
        for name in SUMMARY.names or ():
            if SUMMARY[name].kind == "i":
                np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
            else:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-9, err_msg=name)


class TestWithoutCard:
    def test_the_module_loads_nothing_of_numba_cuda(self) -> None:
        program = (
            "import sys, barwise.core.gpu; print(*(name for name in sys.modules if name.startswith('numba.cuda')))"
        )
        assert run(program).strip() == ""

    def test_without_numba_cuda_there_is_no_card_and_no_compiler(self) -> None:
        program = (
            "import sys; sys.modules['numba_cuda'] = None\n"
            "from barwise.core import gpu; print(gpu.gpu_available(), gpu.gpu_compiler_available())"
        )
        assert run(program).split() == ["False", "False"]

    def test_without_a_card_a_sweep_on_it_is_refused_and_nothing_is_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        program = (
            "import numpy as np\n"
            "from barwise.core import gpu\n"
            "from barwise.core.layout import SUMMARY, fresh_states\n"
            "from barwise.errors import ConfigError\n"
            "from tests.test_gpu import BARS, workload\n"
            "summaries = np.zeros(2, SUMMARY)\n"
            "try:\n"
            "    gpu.simulate_rows_on_gpu(*workload(2), BARS, summaries, fresh_states(2), True)\n"
            "except ConfigError as error:\n"
            "    print(error.message, error.hint, summaries.tobytes().count(0) == summaries.nbytes)\n"
        )
        said = run(program)
        assert "no graphics card" in said
        assert "barwise[cuda]" in said
        assert said.rstrip().endswith("True")

    def test_without_the_compiler_there_is_no_assembly(self) -> None:
        program = (
            "import sys; sys.modules['numba_cuda'] = None\n"
            "from barwise.core import gpu\n"
            "from barwise.errors import ConfigError\n"
            "try:\n"
            "    gpu.ptx()\n"
            "except ConfigError as error:\n"
            "    print(error.message, error.hint)\n"
        )
        assert "NVVM" in run(program)


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
