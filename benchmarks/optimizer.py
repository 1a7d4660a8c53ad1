"""What a search costs: the stages, halving, the ledger, a long series, many rows, and how all of it grows.

Run: python benchmarks/optimizer.py [--part NAME] [--json] [--plot FILE.html]

Medians of several rounds, each with a new ledger in a temporary folder, so that nothing is answered from the record.
Absolute times belong to the machine that printed them; the ratios (sampler to search, halved to full, recorded to
unrecorded, per bar and row) are what to compare. Shares of bars depend on the seed alone. Nothing here is a test.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from barwise.backends import usable_cores
from barwise.config import OptimizationConfig
from barwise.core.layout import FloatArray
from barwise.data.candles import Candles
from barwise.data.synthetic import sample_candles
from barwise.optimizer.engine import OptimizationEngine, OptimizationResult
from barwise.optimizer.evaluation import Evaluator
from barwise.optimizer.ledger import Ledger, Origin
from barwise.optimizer.objective import Objective
from barwise.optimizer.sampler import Told
from barwise.optimizer.samplers import SAMPLERS, open_sampler, sobol_points
from barwise.optimizer.space import STAGES, Space
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.sweeping import Sweeper

SOURCE = Path(__file__).resolve().parents[1] / "src"
LEVELS = (0.33, 0.66, 1.0)
NO_HALVING = (1.0,)
COMPARED = ("TPE", "AUTO")
YEAR_OF_MINUTES = 525_600
FEW_TRIALS = (16, 64)
# A sweep of the optimizer's own size, and the sizes around it.
ROWS, BARS = 1_000, 2_160
ROW_COUNTS = (16, 64, 256, 1_024, 4_096, 16_384)
BAR_COUNTS = (2_160, 8_640, 52_560, YEAR_OF_MINUTES)
LONG_ROWS = 200
MEMORY_ROWS = (1, 10_000, 100_000)
BATCHES = (16, 500, 8_192)
SEEDS = range(10)
# Samplers with an optional package, which think for up to a second about a point.
SLOW_SAMPLERS = {"GP": "torch", "SKOPT": "skopt"}
SLOW_TRIALS = 60
HILL_SEEDS, HILL_TRIALS = range(9), (50, 150)
# Two integers and two reals of the widest box, and where in it the hill has its top.
HILL = ("rsi_period", "atr_period", "atr_sl_multiplier", "atr_tp_multiplier")
HILL_TOP = (0.3, 0.7, 0.35, 0.6)
SYMBOLS, YEARS = ("SAMPLE-BTC", "SAMPLE-ETH", "SAMPLE-TREND", "SAMPLE-NOISE"), range(2019, 2025)
PARTS = {"first 33 %": (0.0, 0.33), "first 66 %": (0.0, 0.66), "last 33 %": (0.67, 1.0)}
# The rounds of a measurement stop after this many seconds.
PATIENCE_S = 5.0


def medians_s(rounds: int, *works: Callable[[int], object]) -> list[float]:
    """Median seconds of one call of each, after one that does not count; each call is given its round, from 0.

    They take turns, so that what else the machine does meets all of them alike.
    """
    found: list[list[float]] = [[] for _ in works]
    for work in works:
        work(0)
    until = time.perf_counter() + PATIENCE_S * len(works)
    for at in range(rounds):
        if at >= 3 and time.perf_counter() > until:
            break
        for work, times in zip(works, found, strict=True):
            began = time.perf_counter()
            work(at + 1)
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in found]


def quarter() -> Candles:
    """The 2,136 hours from 2025-01-01 to 2025-03-31."""
    return sample_candles("SAMPLE-BTC", "1H", "2025-01-01", "2025-03-31")


def hours() -> Candles:
    """52,608 hours: the six years from 2019 on."""
    return sample_candles("SAMPLE-BTC", "1H", "2019-01-01", "2025-01-01")


def minutes(bars: int) -> Candles:
    """The first bars of a year of SAMPLE minutes."""
    return sample_candles("SAMPLE-BTC", "1M", "2024-01-01", "2024-12-31")[:bars]


def searched(candles: Candles, **settings: Any) -> tuple[OptimizationResult, float]:
    """All three stages with a ledger of their own, and the seconds they took, setting up included."""
    with tempfile.TemporaryDirectory() as folder:
        config = OptimizationConfig(storage=str(Path(folder) / "ledger.sqlite"), **settings)
        began = time.perf_counter()
        with OptimizationEngine(candles, EmaRsiAtr(), 0.1, opt_config=config) as engine:
            for stage in STAGES:
                engine.optimize(stage)
            seconds = time.perf_counter() - began
            return engine.result(), seconds


def stage_times(rounds: int) -> list[dict[str, Any]]:
    """The three BALANCED stages on 2,136 bars, the sampler's own time apart."""
    candles, found = quarter(), []
    for sampler in COMPARED:
        searched(candles, optuna_sampler=sampler)
        runs = [searched(candles, optuna_sampler=sampler) for _ in range(rounds)]
        stages = runs[0][0].stages
        total = statistics.median(seconds for _, seconds in runs)
        thinking = statistics.median(sum(stage.sampler_seconds for stage in run.stages) for run, _ in runs)
        trials = sum(len(stage.trials) for stage in stages)
        found.append(
            {
                "sampler": sampler,
                "trials": trials,
                "seconds": total,
                "sampler_seconds": thinking,
                "sampler_share": thinking / total,
                "ms_per_trial": total / trials * 1e3,
                "bars_share": bars_share(runs[0][0]),
                "best_sharpe": stages[-1].best_value,
            }
        )
    return found


def bars_share(result: OptimizationResult) -> float:
    """Bars simulated, of what full evaluations of all trials would have cost."""
    simulated = sum(int(stage.trials.bars.sum()) for stage in result.stages)
    return simulated / sum(stage.full_bars for stage in result.stages)


def halving_times(rounds: int) -> list[dict[str, Any]]:
    """Halving against full evaluation: the same 1,024 points, and whole searches by AUTO from several seeds."""
    found: list[dict[str, Any]] = []
    space = Space(EmaRsiAtr(), "joint", width=0.15)
    points = sobol_points(space, 1_024, 1)
    for candles in (quarter(), hours()):
        sweeper = Sweeper(candles, EmaRsiAtr(), 0.1, check_lookahead=False)
        halved, full = plain_evaluator(sweeper, LEVELS), plain_evaluator(sweeper, NO_HALVING)
        halved_s, full_s = medians_s(
            rounds,
            lambda _: evaluate(halved, space, points),  # noqa: B023
            lambda _: evaluate(full, space, points),  # noqa: B023
        )
        survivors, everything = evaluate(halved, space, points), evaluate(full, space, points)
        found.append(
            {
                "what": "the same 1,024 points",
                "bars": len(candles),
                "bars_share": float(survivors.bars.sum()) / full.full_bars(len(points)),
                "seconds_share": halved_s / full_s,
                "best_halved": float(survivors.reported[survivors.best, 0]),
                "best_full": float(everything.reported[everything.best, 0]),
            }
        )
    for candles in (quarter(), hours()):
        halvings, wholes = zip(
            *(
                [
                    searched(candles, optuna_sampler="AUTO", seed=seed, multi_fidelity=own, min_rung_trades=0)
                    for own in (True, False)
                ]
                for seed in SEEDS
            ),
            strict=True,
        )
        found.append(
            {
                "what": f"three stages of AUTO, medians of {len(SEEDS)} seeds",
                "bars": len(candles),
                "bars_share": statistics.median(bars_share(run) for run, _ in halvings),
                "seconds_share": statistics.median(
                    half[1] / full[1] for half, full in zip(halvings, wholes, strict=True)
                ),
                "best_halved": statistics.median(run.best.sharpe_ratio for run, _ in halvings),
                "best_full": statistics.median(run.best.sharpe_ratio for run, _ in wholes),
            }
        )
    return found


def rank_correlations() -> list[dict[str, Any]]:
    """Spearman's correlation of the Sharpe ratio on a part of the bars with that on all; medians over SAMPLE years.

    512 quasi-random configurations around the defaults, every parameter of the three stages varied. The first parts
    begin where all bars do, the last third ends where they do.
    """
    from scipy.stats import spearmanr

    space = Space(EmaRsiAtr(), "joint", width=0.25)
    columns = space.columns(space.valid(sobol_points(space, 512, 1)))
    found = []
    for symbol in SYMBOLS:
        correlations: dict[str, list[float]] = {name: [] for name in PARTS}
        survived = 0
        for year in YEARS:
            candles = sample_candles(symbol, "1H", f"{year}-01-01", f"{year + 1}-01-01")
            whole = sharpe_between(candles, columns, 0.0, 1.0)
            for name, (begin, end) in PARTS.items():
                part = sharpe_between(candles, columns, begin, end)
                correlations[name].append(float(spearmanr(part, whole).statistic))
                if (begin, end) == (0.0, LEVELS[0]):
                    survived += bool(part[whole.argmax()] >= np.median(part))
        medians = {name: statistics.median(values) for name, values in correlations.items()}
        found.append({"market": symbol, "years": len(YEARS)} | medians | {"best_survives_first_rung": survived})
    return found


def sharpe_between(candles: Candles, columns: dict[str, Any], begin: float, end: float) -> Any:
    """Sharpe ratios of rows on a part of the bars behind the warm-up, from one share of them to another."""
    whole = Sweeper(candles, EmaRsiAtr(), 0.1, check_lookahead=False)
    first = int(whole.start(columns).starts.max())
    from_bar, stop = (first + round(share * (len(candles) - first)) for share in (begin, end))
    part = Sweeper(candles[:stop], EmaRsiAtr(), 0.1, trade_from=from_bar, check_lookahead=False)
    return part.sweep(columns).metrics["sharpe_ratio"]


def plain_evaluator(sweeper: Sweeper, levels: Sequence[float], ledger: Ledger | None = None) -> Evaluator:
    """An evaluator of the Sharpe ratio."""
    return Evaluator(sweeper, Objective.of("sharpe_ratio", 5), levels, ledger, 8_192)


def evaluate(evaluator: Evaluator, space: Space, points: Any) -> Any:
    """Trials of valid points."""
    return evaluator.evaluate(
        space, space.valid(points), Origin("benchmark", space.stage, "none", None, "sharpe_ratio")
    )


def ledger_times(rounds: int) -> list[dict[str, float]]:
    """A batch with and without a ledger, new points in every round; and the same batch answered from the record."""
    found = []
    space = Space(EmaRsiAtr(), "joint", width=0.25)
    sweeper = Sweeper(quarter(), EmaRsiAtr(), 0.1, check_lookahead=False)
    for rows in BATCHES:
        batches = [sobol_points(space, rows, seed) for seed in range(rounds + 1)]
        with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
            without = plain_evaluator(sweeper, NO_HALVING)
            recording = plain_evaluator(sweeper, NO_HALVING, ledger)
            plain, recorded, again = medians_s(
                rounds,
                lambda at: evaluate(without, space, batches[at]),  # noqa: B023
                lambda at: evaluate(recording, space, batches[at]),  # noqa: B023
                lambda _: evaluate(recording, space, batches[0]),  # noqa: B023
            )
        found.append(
            {
                "rows": rows,
                "unrecorded_ms": plain * 1e3,
                "recorded_ms": recorded * 1e3,
                "recorded_to_unrecorded": recorded / plain,
                "ledger_ms": (recorded - plain) * 1e3,
                "ledger_us_per_row": (recorded - plain) / rows * 1e6,
                "answered_from_record_ms": again * 1e3,
            }
        )
    return found


def long_times() -> list[dict[str, Any]]:
    """`optimize` on a year of minutes with few trials a stage."""
    candles, found = minutes(YEAR_OF_MINUTES), []
    searched(candles[:BARS], num_trials=FEW_TRIALS[0])
    for few in FEW_TRIALS:
        result, seconds = searched(candles, num_trials=few)
        simulated = sum(int(stage.trials.bars.sum()) for stage in result.stages)
        found.append(
            {
                "bars": len(candles),
                "trials": sum(len(stage.trials) for stage in result.stages),
                "seconds": seconds,
                "sampler_seconds": sum(stage.sampler_seconds for stage in result.stages),
                "bars_simulated": simulated,
                "ns_per_bar_simulated": seconds / simulated * 1e9,
            }
        )
    return found


def memory() -> list[dict[str, float]]:
    """Peak memory of a process that sweeps 2,136 bars with more and more rows.

    Measured before everything else: a process is born with the peak of the one that started it.
    """
    found = []
    for rows in MEMORY_ROWS:
        answer = subprocess.run(
            [sys.executable, __file__, "--sweep-rows", str(rows)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(json.loads(answer.stdout))
    least = found[0]["peak_mb"]
    return [row | {"peak_to_one_row": row["peak_mb"] / least} for row in found]


def sweep_once(rows: int) -> dict[str, float]:
    """One sweep in this process, and the most memory the process has had."""
    space = Space(EmaRsiAtr(), "joint", width=0.25)
    candles = quarter()
    sweeper = Sweeper(candles, EmaRsiAtr(), 0.1, check_lookahead=False)
    columns = space.columns(space.valid(sobol_points(space, rows, 1)))
    began = time.perf_counter()
    sweeper.sweep(columns)
    seconds = time.perf_counter() - began
    # In kilobytes on Linux, in bytes on macOS.
    units_per_mb = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mb
    return {"rows": rows, "bars": len(candles), "seconds": seconds, "peak_mb": peak}


def thinking_s(
    name: str, space: Space, trials: int, seed: int, values_of: Callable[[FloatArray], FloatArray]
) -> tuple[float, FloatArray, FloatArray]:
    """(seconds a sampler thinks, points that were run, their values) in one search of a function that costs nothing.

    Args:
        values_of: float64 [n, objectives] of points of the unit cube, larger is better.
    """
    objectives = values_of(np.zeros((1, len(space.dimensions)))).shape[1]
    began = time.perf_counter()
    sampler = open_sampler(name, space, seed, objectives, trials)
    spent, left = time.perf_counter() - began, trials
    points, values = [], []
    while left:
        began = time.perf_counter()
        asked = sampler.ask(min(sampler.batch, left))
        spent += time.perf_counter() - began
        if not (n := len(asked)):
            break
        points.append(space.valid(asked))
        values.append(values_of(space.to_unit(points[-1])))
        told = Told(points[-1], values[-1], np.zeros(n), np.full((n, 0), np.nan), np.ones(n, bool))
        began = time.perf_counter()
        sampler.tell(told)
        spent, left = spent + time.perf_counter() - began, left - n
    return spent, np.concatenate(points), np.concatenate(values)


def usable_samplers() -> list[str]:
    """All samplers but those whose package is not installed."""
    return [name for name in SAMPLERS if name not in SLOW_SAMPLERS or find_spec(SLOW_SAMPLERS[name]) is not None]


def proposal_times(rounds: int) -> list[dict[str, Any]]:
    """The sampler's own time for each trial, ask and tell, with 16 parameters."""
    space = Space(EmaRsiAtr(), "joint", width=0.15)
    searches = [(name, 1, SLOW_TRIALS if name in SLOW_SAMPLERS else 150) for name in usable_samplers()]
    searches += [("TPE", 1, 300), ("TPE", 2, 150), ("NSGA-II", 2, 150), ("NSGA-III", 2, 150)]
    found = []
    for name, objectives, trials in searches:

        def work(seed: int, name: str = name, objectives: int = objectives, trials: int = trials) -> float:
            return thinking_s(name, space, trials, seed, lambda unit: -np.abs(unit[:, :objectives] - 0.3))[0]

        work(0)
        times = [work(seed) for seed in range(1 if name in SLOW_SAMPLERS else rounds)]
        found.append(
            {
                "sampler": name,
                "objectives": objectives,
                "trials": trials,
                "ms_per_trial": statistics.median(times) / trials * 1e3,
            }
        )
    return found


def planted_hill() -> list[dict[str, Any]]:
    """How near the best of some trials comes to the top of a hill; the smaller the better.

    Squared distance in widths of the box, medians over seeds.
    """
    strategy = EmaRsiAtr()
    names = Space(strategy, "joint", width=0.15).names
    space = Space(strategy, "joint", width=0.15, wide=True, fixed=[name for name in names if name not in HILL])

    def height(unit: FloatArray) -> FloatArray:
        heights: FloatArray = -((unit - np.array(HILL_TOP)) ** 2).sum(axis=1, keepdims=True)
        return heights

    found = []
    for name in usable_samplers():
        line: dict[str, Any] = {"sampler": name}
        for trials in HILL_TRIALS[: 1 if name in SLOW_SAMPLERS else None]:
            best = [-float(thinking_s(name, space, trials, seed, height)[2].max()) for seed in HILL_SEEDS]
            line[f"distance_of_{trials}"] = statistics.median(best)
        found.append(line)
    return found


def scaling(rounds: int) -> list[dict[str, Any]]:
    """Nanoseconds per bar and row of a sweep, along one of threads, rows and bars at a time."""
    cores = usable_cores()
    threads = sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})
    points = [("threads", BARS, ROWS, workers) for workers in threads]
    points += [("rows", BARS, rows, cores) for rows in ROW_COUNTS]
    points += [("bars", bars, LONG_ROWS, cores) for bars in BAR_COUNTS]
    space = Space(EmaRsiAtr(), "joint", width=0.15)
    found = []
    for along, bars, rows, workers in points:
        sweeper = Sweeper(minutes(bars), EmaRsiAtr(), 0.1, workers=workers, check_lookahead=False)
        columns = space.columns(space.valid(sobol_points(space, rows, 1)))
        (seconds,) = medians_s(rounds, lambda _: sweeper.sweep(columns))  # noqa: B023
        found.append(
            {
                "along": along,
                "threads": workers,
                "rows": rows,
                "bars": bars,
                "ns_per_bar_and_row": seconds / rows / bars * 1e9,
                "backtests_per_s": rows / seconds,
            }
        )
    return found


def scaling_figure(rows: Sequence[dict[str, Any]]) -> Any:
    """Three panels: time per bar and row over threads, rows and bars."""
    from plotly.graph_objects import Figure, Scatter
    from plotly.subplots import make_subplots

    names = ("threads", "rows", "bars")
    titles = {
        "threads": f"threads ({ROWS:,} rows, {BARS:,} bars)",
        "rows": f"rows ({BARS:,} bars)",
        "bars": f"bars ({LONG_ROWS:,} rows)",
    }
    figure: Figure = make_subplots(1, 3, shared_yaxes=True, subplot_titles=[f"over {titles[name]}" for name in names])
    for column, name in enumerate(names, start=1):
        part = [row for row in rows if row["along"] == name]
        figure.add_trace(
            Scatter(
                x=[row[name] for row in part],
                y=[row["ns_per_bar_and_row"] for row in part],
                customdata=[[row["threads"], row["rows"], row["bars"], row["backtests_per_s"]] for row in part],
                hovertemplate="%{customdata[0]} threads, %{customdata[1]:,} rows, %{customdata[2]:,} bars<br>"
                "%{y:.2f} ns per bar and row, %{customdata[3]:,.0f} backtests/s<extra></extra>",
                mode="lines+markers",
                line={"color": "#0072B2"},
                showlegend=False,
            ),
            row=1,
            col=column,
        )
        ticks = {"tickvals": [row[name] for row in part], "ticktext": [f"{row[name]:,}" for row in part]}
        figure.update_xaxes(type="log", title=name, row=1, col=column, **ticks)
    figure.update_yaxes(rangemode="tozero", title="ns per bar and row", row=1, col=1)
    figure.update_layout(title="What one bar of one backtest costs in a sweep, indicators included", height=420)
    return figure


def shown(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", metavar="NAME", help="measure this part only; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--plot", type=Path, metavar="FILE.html", help="write how a sweep scales as a page")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement; the median counts")
    parser.add_argument("--sweep-rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sweep_rows is not None:
        print(json.dumps(sweep_once(options.sweep_rows)))
        return
    if options.plot is not None and options.part and "scaling" not in options.part:
        parser.error("the plot is of the part scaling")
    parts: dict[str, Callable[[], Any]] = {
        "memory": memory,
        "stages": lambda: stage_times(options.rounds),
        "halving": lambda: halving_times(options.rounds),
        "rank correlations": rank_correlations,
        "ledger": lambda: ledger_times(options.rounds),
        "a year of minutes": long_times,
        "scaling": lambda: scaling(options.rounds),
        "proposals": lambda: proposal_times(options.rounds),
        "planted hill": planted_hill,
    }
    wanted = options.part or list(parts)
    if unknown := [name for name in wanted if name not in parts]:
        parser.error(f"{unknown[0]} is not a part; the parts are {', '.join(parts)}")
    found: dict[str, Any] = {"machine": {"python": platform.python_version(), "cores": usable_cores()}}
    for name in wanted:
        print(f"measuring {name} ...", file=sys.stderr)
        found[name] = parts[name]()
    if options.plot is not None:
        scaling_figure(found["scaling"]).write_html(options.plot, include_plotlyjs=True)
        print(f"the plot is in {options.plot}", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, rows in found.items():
        print(f"\n{name}")
        for row in rows if isinstance(rows, list) else [rows]:
            print("  " + "   ".join(f"{key} {shown(value)}" for key, value in row.items()))


if __name__ == "__main__":
    main()
