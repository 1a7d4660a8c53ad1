"""How often the verdict is wrong: the whole procedure on markets of known truth.

Run: python benchmarks/calibration.py [--runs N] [--workers N] [--markets NAME ...] [--out FILE] [--json] [--plot FILE]
     [--publish [FILE]]

A verdict is worth what its rate of errors is worth, and that rate cannot be derived: it has to be counted. Every run
makes a market, searches a strategy on it, walks it forward, searches its shuffled twins and judges. On markets without
an edge LIKELY REAL is an error; on markets with a planted edge everything else is one.

Every finished run is a line of --out, so that the command can be stopped at any time and goes on where it was; with
--runs 0 it only prints what is there. A line holds the evidence, not the word: a change of the rule in
validation/verdict.py needs no new run, a change of the search or of the tests does, and then a new file. --publish
writes the shares to where every report of a verdict reads them.

The strategy is the built-in one without its filters and with market orders: about 150 trades a year, so that the
windows of 20 days have enough of them to be scored. The costs are low, 1 bp of fee and 1 bp of slippage: at usual costs
a strategy without an edge loses so reliably that every test looks good. The search starts at EMAs of 20 and 50, while
the edge is planted at 22 and 46.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from barwise import __version__
from barwise.backends import open_backend
from barwise.config import ExecutionConfig, OptimizationConfig, OptimizationProfile
from barwise.data.candles import Candles
from barwise.data.files import read_candles
from barwise.data.truth import clustered_volatility, permuted_days, planted_trend, random_walk
from barwise.engine import backtest
from barwise.stats.sharpe import wilson_interval
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from barwise.validation.engine import validate
from barwise.validation.error_rates import ErrorRates
from barwise.validation.verdict import Evidence, Word, decide

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("BARWISE_SHARED", REPOSITORY.parent / "shared"))
RATES = REPOSITORY / "src" / "barwise" / "validation" / "error_rates.json"
REAL_FILE = "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
YEAR = 8_760
PERMUTATIONS = 39
# The leverage lets orders of a fixed quantity go on where the price has multiplied.
EXECUTION = ExecutionConfig(maker_fee=0.0001, taker_fee=0.0001, slippage=0.0001, leverage=10.0)
START = EmaRsiAtr(enable_trend_filter=False, enable_rsi_filter=False, enable_hybrid_engine=False)
PLANTED = START.replace(ema_fast=22, ema_slow=46)
# Of an order at the first price: a fifth of the capital, so that losses end no account.
NOTIONAL = 20_000.0
# Markets on which the planted strategy is measured are none of those on which the verdict is tried.
MEASURED, FIRST_MEASURED_SEED = 200, 1_000_000


@dataclass(frozen=True)
class Market:
    """A kind of market.

    Attributes:
        name: For --markets.
        words: What it is, for a reader of a report.
        make: Candles of a seed and so many bars.
        bars: Length.
        drift: Size of the planted edge in deviations of a bar's return; 0 = none.
    """

    name: str
    words: str
    make: Callable[[int, int], Candles]
    bars: int = YEAR
    drift: float = 0.0


def real_days(seed: int, bars: int) -> Candles:
    """A random year of BTCUSDT, its days in random order."""
    return permuted_days(real_candles(), seed, bars)


@cache
def real_candles() -> Candles:
    """BTCUSDT 1H of Binance's spot market, 2020-09 to 2025-03."""
    file = SHARED / "data" / "market" / REAL_FILE
    return read_candles(file, exchange="BINANCE", symbol="BTCUSDT", timeframe="1H", audit="report")


def planted(name: str, drift: float, bars: int = YEAR) -> Market:
    """A market with an edge."""
    return Market(name, "planted trend", partial(planted_trend, drift=drift), bars, drift)


NOISE = (
    Market("random-walk", "random walk with fat tails", random_walk),
    Market("clustered", "clustered volatility", clustered_volatility),
    Market("real-days", "BTCUSDT, its days in random order", real_days),
)
BY_SIZE = tuple(planted(f"edge-{drift:.2f}", drift) for drift in (0.04, 0.08, 0.12, 0.16, 0.20))
BY_LENGTH = tuple(
    planted(f"edge-0.08-{name}", 0.08, round(years * YEAR)) for name, years in (("6m", 0.5), ("2y", 2), ("4y", 4))
)
MARKETS = {market.name: market for market in (*NOISE, *BY_SIZE, *BY_LENGTH)}

# The single tests, each as it could stand alone.
TESTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "permutation p <= 5 %": lambda row: at_most(row["evidence"]["p_value"], 0.05),
    "out-of-sample PSR > 95 %": lambda row: above(row["evidence"]["oos_psr"], 0.95),
    "out-of-sample PSR > 80 %": lambda row: above(row["evidence"]["oos_psr"], 0.80),
    "DSR0 > 95 %": lambda row: above(row["evidence"]["dsr0"], 0.95),
    "textbook DSR > 95 %": lambda row: above(row["evidence"]["dsr"], 0.95),
    "PSR > 95 %": lambda row: above(row["evidence"]["psr"], 0.95),
    "SPA p <= 5 %": lambda row: at_most(row["evidence"]["spa"], 0.05),
    "PBO <= 0.1": lambda row: at_most(row["evidence"]["pbo"], 0.1),
    "PBO < 0.5": lambda row: row["evidence"]["pbo"] is not None and row["evidence"]["pbo"] < 0.5,
    "consistency >= 60 %": lambda row: bool(row["consistency"] >= 0.6),
    # Parts of the rule, to see what they do to it.
    "LIKELY REAL and not (DSR0 < 50 % and PBO > 50 %)": lambda row: (
        decide(Evidence(**row["evidence"])).word is Word.LIKELY_REAL
        and not (at_most(row["evidence"]["dsr0"], 0.5) and above(row["evidence"]["pbo"], 0.5))
    ),
    "p > 20 % or out-of-sample Sharpe <= 0": lambda row: (
        above(row["evidence"]["p_value"], 0.2) or at_most(row["evidence"]["oos_sharpe"], 0.0)
    ),
    "TOO LITTLE DATA, and that as well": lambda row: (
        decide(Evidence(**row["evidence"])).word is Word.TOO_LITTLE_DATA
        and (above(row["evidence"]["p_value"], 0.2) or at_most(row["evidence"]["oos_sharpe"], 0.0))
    ),
}


def at_most(value: float | None, limit: float) -> bool:
    """A test without a value is not passed."""
    return value is not None and value <= limit


def above(value: float | None, limit: float) -> bool:
    """A test without a value is not passed."""
    return value is not None and value > limit


# -- Running -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One run: the market, its seed, and how it is searched."""

    market: str
    seed: int
    profile: str
    permutations: int


def judged(_shared: Any, task: Task) -> dict[str, Any]:
    """The whole procedure on one market, as a line of the file."""
    market = MARKETS[task.market]
    candles = market.make(task.seed, market.bars)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        search = OptimizationConfig(
            profile=OptimizationProfile(task.profile),
            optuna_sampler="AUTO",
            seed=task.seed,
            workers=1,
            storage=str(Path(folder) / "ledger.sqlite"),
        )
        report = validate(
            candles, START, NOTIONAL / float(candles.close[0]), search=search, permutations=task.permutations,
            execution=EXECUTION, check_lookahead=False,
        )  # fmt: skip
    return {
        **asdict(task),
        "evidence": asdict(report.decision.evidence),
        "consistency": 0.0 if report.walked is None else report.walked.consistency_score,
        "shuffles": 0 if report.permutation is None else len(report.permutation.nulls),
        "parameters": {name: getattr(report.best.strategy, name) for name in ("ema_fast", "ema_slow")},
        "seconds": round(time.perf_counter() - started, 2),
    }


def missing_runs(tasks: Sequence[Task], rows: Sequence[dict[str, Any]]) -> list[Task]:
    """Tasks that no line answers."""
    done = {tuple(row[name] for name in Task.__dataclass_fields__) for row in rows}
    return [task for task in tasks if tuple(asdict(task).values()) not in done]


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Finished runs; a line that was cut off by a stop is not one."""
    if not file.is_file():
        return []
    found = []
    for line in file.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{file}: a line that was cut off is left out, its run is repeated.", file=sys.stderr)
    return found


def run_all(tasks: Sequence[Task], file: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Run the tasks and write each as soon as it is done."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.is_file() and file.stat().st_size > 0 and not file.read_text("utf-8").endswith("\n")
    with file.open("a", encoding="utf-8") as out:
        if cut_off:
            out.write("\n")
        for row in answers(tasks, workers):
            out.write(json.dumps(row, allow_nan=False) + "\n")
            out.flush()
            yield row


def answers(tasks: Sequence[Task], workers: int) -> Iterator[dict[str, Any]]:
    """Rows of the tasks, in their order."""
    if workers == 1:
        yield from (judged(None, task) for task in tasks)
        return
    with open_backend("processes", workers) as backend:
        yield from backend.map(judged, backend.share(None), tasks)


def planted_sharpe(market: Market) -> tuple[float, float]:
    """Annual Sharpe ratio of the planted strategy without a search: mean over years, and its standard error."""
    found = []
    for seed in range(FIRST_MEASURED_SEED, FIRST_MEASURED_SEED + MEASURED):
        candles = market.make(seed, YEAR)
        quantity = NOTIONAL / float(candles.close[0])
        found.append(backtest(candles, PLANTED, quantity, execution=EXECUTION, check_lookahead=False).sharpe_ratio)
    return statistics.mean(found), statistics.stdev(found) / math.sqrt(len(found))


# -- Tables ------------------------------------------------------------------------------------------------------------


def share(hits: int, runs: int) -> dict[str, Any]:
    """A share of runs with Wilson's 95 % interval."""
    low, high = wilson_interval(hits, runs)
    return {"hits": hits, "runs": runs, "share": hits / runs, "low": low, "high": high}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Words and single tests of the runs of one market."""
    words = Counter(decide(Evidence(**row["evidence"])).word for row in rows)
    return {
        "runs": len(rows),
        "words": {str(word): share(words[word], len(rows)) for word in Word},
        "tests": {name: share(sum(passed(row) for row in rows), len(rows)) for name, passed in TESTS.items()},
        "median_trades": statistics.median(row["evidence"]["trades"] for row in rows),
        "median_trials": statistics.median(row["evidence"]["n_trials"] for row in rows),
        "median_sharpe": statistics.median(row["evidence"]["annual_sharpe"] for row in rows),
        "median_seconds": statistics.median(row["seconds"] for row in rows),
    }


def calibration(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All tables of the runs there are."""
    names = [name for name in MARKETS if any(row["market"] == name for row in rows)]
    noise = [row for row in rows if MARKETS[row["market"]].drift == 0.0]
    found: dict[str, Any] = {name: summary([row for row in rows if row["market"] == name]) for name in names}
    sharpes: dict[float, tuple[float, float]] = {}
    for name in names:
        market = MARKETS[name]
        found[name] |= {"years": market.bars / YEAR, "drift": market.drift}
        if market.drift not in sharpes and market.drift:
            sharpes[market.drift] = planted_sharpe(market)
        if market.drift:
            found[name]["planted_sharpe"], found[name]["planted_sharpe_error"] = sharpes[market.drift]
    return {"markets": found, "noise": summary(noise) if noise else None}


def published(found: dict[str, Any]) -> ErrorRates:
    """What reports say of the verdict: markets without an edge, and one year with an edge, by its size."""
    rows = []
    for market in (*NOISE, *BY_SIZE):
        part = found["markets"].get(market.name)
        if part is not None:
            hits = part["words"][str(Word.LIKELY_REAL)]["hits"]
            sharpe = round(part["planted_sharpe"], 1) if market.drift else 0.0
            rows.append(
                {"market": market.words, "runs": part["runs"], "likely_real": hits, "sharpe": sharpe,
                 "years": part["years"]}
            )  # fmt: skip
    today = datetime.now(UTC).date().isoformat()
    return ErrorRates.from_dict({"barwise": __version__, "measured": today, "markets": rows})


def text_of(part: dict[str, Any]) -> str:
    """A share with its interval as a cell of a table."""
    return f"{100 * part['share']:.1f} % ({100 * part['low']:.1f} to {100 * part['high']:.1f})"


def print_row(cells: Sequence[str]) -> None:
    """One line of a Markdown table."""
    print("|", " | ".join(cells), "|")


def print_tables(found: dict[str, Any]) -> None:
    """Markdown, for docs/calibration.md."""
    markets = dict(found["markets"])
    if found["noise"] is not None:
        markets = {"all without an edge": found["noise"] | {"drift": 0.0, "years": 1.0}} | markets
    head = ["market", "years", "Sharpe planted", "runs", "LIKELY REAL (95 % interval)"]
    others = [str(word) for word in Word if word is not Word.LIKELY_REAL]
    print_row([*head, *others])
    print_row(["---"] * (len(head) + len(others)))
    for name, part in markets.items():
        sharpe = f"{part['planted_sharpe']:.2f} +- {part['planted_sharpe_error']:.2f}" if part["drift"] else "-"
        words = part["words"]
        rest = [f"{100 * words[word]['share']:.0f} %" for word in others]
        print_row([name, f"{part['years']:g}", sharpe, str(part["runs"]), text_of(words[str(Word.LIKELY_REAL)]), *rest])
    print()
    print_row(["passed alone", *markets])
    print_row(["---"] * (1 + len(markets)))
    for test in TESTS:
        print_row([test, *(f"{100 * part['tests'][test]['share']:.0f} %" for part in markets.values())])
    for title, name in (("trades", "trades"), ("trials", "trials"), ("Sharpe found", "sharpe"), ("seconds", "seconds")):
        print_row([f"median {title}", *(f"{part[f'median_{name}']:,.4g}" for part in markets.values())])


def power_figure(found: dict[str, Any]) -> Any:
    """Share of LIKELY REAL against the size of the edge and against the length of the data."""
    from plotly.graph_objects import Figure, Scatter
    from plotly.subplots import make_subplots

    markets = found["markets"]
    by_size = [markets[market.name] for market in BY_SIZE if market.name in markets]
    length_drift = BY_LENGTH[0].drift
    by_length = sorted(
        (part for part in markets.values() if part["drift"] == length_drift), key=lambda part: part["years"]
    )
    figure: Figure = make_subplots(
        1, 2, shared_yaxes=True, subplot_titles=["one year of bars", f"planted drift {length_drift:g}"]
    )
    word = str(Word.LIKELY_REAL)
    if found["noise"] is not None:
        by_size.insert(0, found["noise"] | {"planted_sharpe": 0.0})
    for column, (parts, x) in enumerate(((by_size, "planted_sharpe"), (by_length, "years")), start=1):
        shares = [part["words"][word] for part in parts]
        figure.add_trace(
            Scatter(
                x=[part[x] for part in parts],
                y=[cell["share"] for cell in shares],
                error_y={
                    "array": [cell["high"] - cell["share"] for cell in shares],
                    "arrayminus": [cell["share"] - cell["low"] for cell in shares],
                },
                customdata=[[cell["hits"], cell["runs"]] for cell in shares],
                hovertemplate="%{customdata[0]} of %{customdata[1]} runs<extra></extra>",
                mode="lines+markers",
                line={"color": "#0072B2"},
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title="annual Sharpe ratio of the planted strategy", row=1, col=1)
    years = [part["years"] for part in by_length]
    figure.update_xaxes(title="years of 1H bars", type="log", tickvals=years, ticktext=[f"{x:g}" for x in years],
                        row=1, col=2)  # fmt: skip
    figure.update_yaxes(range=[-0.02, 1.05], tickformat=".0%", title="LIKELY REAL", row=1, col=1)
    figure.update_layout(
        title="How often the verdict sees an edge that is there (SYNTHETIC markets, 95 % intervals)", height=420
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of each market, by default %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes, by default %(default)s")
    parser.add_argument("--markets", nargs="+", choices=list(MARKETS), default=list(MARKETS), metavar="NAME",
                        help=f"some of {', '.join(MARKETS)}; by default all")  # fmt: skip
    parser.add_argument("--profile", choices=[str(profile) for profile in OptimizationProfile], default="BALANCED",
                        help="of the search, by default %(default)s")  # fmt: skip
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS, help="by default %(default)s")
    parser.add_argument("--out", type=Path, default=Path("data") / "calibration.jsonl", help="by default %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--plot", type=Path, help="write the power curves as a page")
    parser.add_argument("--publish", type=Path, nargs="?", const=RATES, metavar="FILE",
                        help="write the rates for the reports, by default into the package")  # fmt: skip
    options = parser.parse_args(arguments)
    names = list(options.markets)
    if "real-days" in names and not (SHARED / "data" / "market" / REAL_FILE).is_file():
        print(f"real-days is left out: {SHARED} has no data/market/{REAL_FILE}; BARWISE_SHARED names the folder.",
              file=sys.stderr)  # fmt: skip
        names.remove("real-days")
    # Seed by seed, so that a run that is stopped has something of every market.
    tasks = [Task(name, seed, options.profile, options.permutations) for seed in range(options.runs) for name in names]
    todo = missing_runs(tasks, lines_of(options.out))
    started = time.perf_counter()
    for done, row in enumerate(run_all(todo, options.out, options.workers) if todo else (), start=1):
        left = (time.perf_counter() - started) / done * (len(todo) - done)
        word = decide(Evidence(**row["evidence"])).word
        print(f"{done}/{len(todo)}  {row['market']} {row['seed']}  {word}  {left / 60:.0f} min left", file=sys.stderr)
    settings = (options.profile, options.permutations)
    rows = [
        row for row in lines_of(options.out)
        if row["market"] in names and (row["profile"], row["permutations"]) == settings
    ]  # fmt: skip
    if not rows:
        print(f"{options.out} has no finished run with these settings.", file=sys.stderr)
        return 1
    found = calibration(rows)
    if options.plot:
        power_figure(found).write_html(options.plot, include_plotlyjs=True)
        print(f"the plot is in {options.plot}", file=sys.stderr)
    if options.publish and found["noise"] is None:
        print("not published: a rate of errors needs markets without an edge.", file=sys.stderr)
    elif options.publish:
        options.publish.write_text(json.dumps(published(found).to_dict(), indent=2) + "\n", "utf-8")
        print(f"the rates are in {options.publish}", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print_tables(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
