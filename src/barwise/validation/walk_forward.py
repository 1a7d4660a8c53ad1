"""Walk-forward: search in the past, trade in what came after, and do it again, window by window.

Each window searches its in-sample bars anew and trades its out-of-sample bars with what it found. Indicators are warmed
up by the bars before each part. The out-of-sample part starts flat, and what is open at its end is closed there at
market, with costs. The account goes on from window to window, so the pieces are one equity curve that somebody who
re-optimized on those days would have had. It is one test that was fixed beforehand, whatever was searched inside.
"""

import json
import math
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from barwise.backends import Backend, open_backend
from barwise.config import ExecutionConfig, OptimizationConfig, WalkForwardConfig
from barwise.core import metrics
from barwise.core.curve import bar_returns, drawdown_curve
from barwise.core.figures import elapsed_years, standardised_mean
from barwise.core.layout import SUMMARY, FloatArray, IntArray, RecordArray
from barwise.data.candles import Candles
from barwise.data.files import write_atomically
from barwise.engine import checked_strategy
from barwise.errors import ConfigError, DataError
from barwise.obs import home_folder
from barwise.optimizer.evaluation import replay
from barwise.optimizer.ledger import Ledger
from barwise.optimizer.search import evaluator_of, search_all_stages
from barwise.result import BacktestResult, Trade
from barwise.stats.sharpe import moments, probabilistic_sharpe, wilson_interval
from barwise.strategy.base import Strategy
from barwise.sweeping import Sweeper
from barwise.timeframe import DAY_MS, Timeframe
from barwise.validation.windows import Span, Window, generate_windows, span_of

if TYPE_CHECKING:
    import polars

# A part of a window with fewer bars cannot be traded: the signal of one bar is acted on in the next.
_LEAST_BARS = 3
_UNSEARCHED = "the starting strategy was traded: {}"


@dataclass(frozen=True, eq=False)
class WindowResult:
    """One window.

    Attributes:
        number: From 1.
        window: Its times.
        span: Its signal bars.
        strategy: What was traded out-of-sample.
        in_sample, out_of_sample: Plain backtests of it over the two parts, each from the same capital; None where a
            part has too few bars.
        trials: Trials of its search; 0 without one.
        scored: Whether it counts in the scores: enough out-of-sample trades of a strategy that was searched for.
        notes: What a reader should know.
    """

    number: int
    window: Window
    span: Span
    strategy: Strategy
    in_sample: BacktestResult | None
    out_of_sample: BacktestResult | None
    trials: int
    scored: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The window as JSON takes it; None where a part was not run or a figure is undefined."""
        return {
            "number": self.number,
            **{name: moment.isoformat() for name, moment in self.window._asdict().items()},
            "trials": self.trials,
            "scored": self.scored,
            "parameters": self.strategy.to_dict(),
            "in_sample": _figures(self.in_sample),
            "out_of_sample": _figures(self.out_of_sample),
            "notes": list(self.notes),
        }


def _figures(result: BacktestResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    names = ("sharpe_ratio", "net_pnl", "total_trades", "win_rate", "max_drawdown", "profit_factor", "total_return")
    return {name: result.metrics[name] for name in names}


@dataclass(frozen=True, eq=False)
class WalkForwardResult:
    """What a walk-forward found.

    Attributes:
        candles: What it ran on.
        config: The windows' settings.
        windows: All windows, also those that do not count.
        reoptimized: False: one given configuration everywhere, which is a stability check and not out-of-sample where
            that configuration was found on these candles.
        capital: At the start, quote currency.
        bars: int64, signal bars of the stitched series, in order; bars between windows are not in it.
        equity: float64, at the close of each of them.
        seconds: Wall time.
        notes: What a reader should know.
    """

    candles: Candles
    config: WalkForwardConfig
    windows: tuple[WindowResult, ...]
    pieces: tuple[BacktestResult, ...]
    reoptimized: bool
    capital: float
    bars: IntArray
    equity: FloatArray
    seconds: float
    notes: tuple[str, ...]

    # -- The stitched series -------------------------------------------------------------------------------------------

    @cached_property
    def returns(self) -> FloatArray:
        """Bar returns of the stitched equity, as fractions."""
        return bar_returns(self.equity, self.capital)

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """All out-of-sample trades, in order; trade_id counts within a window."""
        return tuple(trade for piece in self.pieces for trade in piece.trades)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Headline metrics of the stitched series; None where undefined, the reason under "undefined"."""
        summary, years = self._summary, self._years
        per_year = self.candles.timeframe.bars_per_year(self.candles.calendar)
        reasons = metrics.undefined(summary, self.capital, per_year, years)
        found: dict[str, Any] = {
            name: None if name in reasons else column[0].item()
            for name, column in metrics.headline(summary, self.capital, per_year, years).items()
        }
        return found | {"undefined": reasons}

    @cached_property
    def tested_returns(self) -> FloatArray:
        """What the out-of-sample test rests on: bar returns; of a market that closes those of its days.

        Where a session is no whole number of bars (NSE's last hour has 15 minutes), bars are not of one length.
        """
        candles = self.candles
        if candles.calendar.always_open or candles.timeframe.ms >= DAY_MS or not len(self.bars):
            return self.returns
        days = (candles.time[self.bars] + candles.calendar.utc_offset_ms) // DAY_MS
        return bar_returns(self.equity[np.append(np.flatnonzero(np.diff(days)), len(days) - 1)], self.capital)

    @property
    def oos_sharpe(self) -> float | None:
        """Annual Sharpe ratio of the returns the test rests on; None where it is not defined."""
        if self.tested_returns is self.returns:
            found: float | None = self.metrics["sharpe_ratio"]
            return found
        return standardised_mean(self.tested_returns, self.candles.calendar.days_per_year)

    @property
    def oos_psr(self) -> float | None:
        """Probability that the true Sharpe ratio of the stitched series is above 0; None where it does not vary."""
        returns = self.tested_returns
        if len(returns) < _LEAST_BARS:
            return None
        mean, deviation, skewness, kurtosis = moments(returns)
        if not deviation > 0.0:
            return None
        found = probabilistic_sharpe(mean / deviation, len(returns), skewness, kurtosis)
        return None if math.isnan(found) else float(found)

    # -- Scores (docs/walk-forward.md) ---------------------------------------------------------------------------------

    @property
    def scored(self) -> tuple[WindowResult, ...]:
        """Windows with enough trades."""
        return tuple(window for window in self.windows if window.scored)

    @property
    def consistency_score(self) -> float:
        """Share of the scored windows with an out-of-sample profit; 0 where none is scored."""
        return sum(net > 0.0 for net in self._nets) / max(1, len(self._nets))

    @property
    def consistency_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of that share."""
        return wilson_interval(sum(net > 0.0 for net in self._nets), len(self._nets)) if self._nets else (0.0, 1.0)

    @property
    def stability_score(self) -> float:
        """How alike the windows' Sharpe ratios are: 1 / (1 + sd / max(|median|, error of one)); 0 below two windows."""
        ratios = self._sharpes("out_of_sample")
        if ratios.size < 2:
            return 0.0
        per_year = self.candles.timeframe.bars_per_year(self.candles.calendar)
        lengths = [window.span.oos_stop - window.span.oos_first for window in self.scored]
        error = math.sqrt(per_year / float(np.mean(lengths)))
        return float(1.0 / (1.0 + np.std(ratios, ddof=1) / max(abs(float(np.median(ratios))), error)))

    @property
    def efficiency(self) -> float | None:
        """Mean out-of-sample Sharpe ratio over the mean in-sample one; None where that is not above 0."""
        inside, outside = self._sharpes("in_sample"), self._sharpes("out_of_sample")
        if not inside.size or not float(inside.mean()) > 0.0:
            return None
        return float(outside.mean() / inside.mean())

    @property
    def overfitting_indicator(self) -> float:
        """1 - efficiency, within 0..1; 1 where the in-sample mean is not above 0."""
        return 1.0 if self.efficiency is None else float(1.0 - np.clip(self.efficiency, 0.0, 1.0))

    @property
    def confidence_score(self) -> float:
        """The stitched series' probability of a Sharpe ratio above 0; 0 where it is undefined."""
        return self.oos_psr or 0.0

    @cached_property
    def drift(self) -> dict[str, list[float]]:
        """Each searched parameter's value in each window; only those that ever changed."""
        names = type(self.windows[0].strategy).model_fields
        found = {}
        for name in names:
            values = [getattr(window.strategy, name) for window in self.windows]
            if len(set(values)) > 1:
                found[name] = [float(value) for value in values]
        return found

    def frame(self) -> "polars.DataFrame":
        """One row per window: times, in-sample and out-of-sample Sharpe ratio, net result and trades, parameters."""
        import polars

        rows = []
        for window in self.windows:
            row: dict[str, Any] = {"window": window.number, **window.window._asdict(), "scored": window.scored}
            for name, result in (("is", window.in_sample), ("oos", window.out_of_sample)):
                for figure in ("sharpe_ratio", "net_pnl", "total_trades"):
                    row[f"{name}_{figure}"] = None if result is None else result.metrics[figure]
            rows.append(row | {name: values[window.number - 1] for name, values in self.drift.items()})
        return polars.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single bars, as JSON takes it."""
        candles = self.candles
        return {
            "kind": "walk_forward" if self.reoptimized else "stability_check",
            "market": {
                "exchange": candles.exchange, "symbol": candles.symbol, "timeframe": str(candles.timeframe),
                "bars": len(candles), "fingerprint": candles.fingerprint,
            },
            "config": self.config.to_dict(),
            "reoptimized": self.reoptimized,
            "consistency_score": self.consistency_score,
            "consistency_interval": list(self.consistency_interval),
            "stability_score": self.stability_score,
            "efficiency": self.efficiency,
            "overfitting_indicator": self.overfitting_indicator,
            "confidence_score": self.confidence_score,
            "oos_psr": self.oos_psr,
            "out_of_sample": self.metrics,
            "drift": self.drift,
            "windows": [window.to_dict() for window in self.windows],
            "seconds": self.seconds,
            "notes": list(self.notes),
        }  # fmt: skip

    @property
    def _nets(self) -> list[float]:
        return [window.out_of_sample.net_pnl for window in self.scored if window.out_of_sample is not None]

    def _sharpes(self, part: str) -> FloatArray:
        """Sharpe ratios of one part of the scored windows; 0 where one is undefined."""
        return np.array(
            [getattr(window, part).sharpe_ratio for window in self.scored if getattr(window, part) is not None]
        )

    @cached_property
    def _years(self) -> float:
        """Elapsed years of the series: nights and weekends are part of it, what lies between windows is not."""
        runs = np.split(self.bars, np.flatnonzero(np.diff(self.bars) > 1) + 1)
        return sum(elapsed_years(self.candles.time[run], self.candles.timeframe.ms) for run in runs)

    @cached_property
    def _summary(self) -> RecordArray:
        """The pieces as one SUMMARY record, so that each metric has one definition, for a run and for the series."""
        total = np.zeros(1, SUMMARY)
        for piece in self.pieces:
            for name in _ADDED:
                total[name] += piece.summary[name]
        r = self.returns
        down = np.minimum(r, 0.0)
        depth = drawdown_curve(self.equity, self.capital)
        peak = np.maximum(np.maximum.accumulate(self.equity), self.capital)
        total["bars"], total["final_equity"] = len(r), self.equity[-1] if len(r) else self.capital
        total["status"] = max((int(piece.summary["status"][0]) for piece in self.pieces), default=0)
        total["return_sum"], total["return_square"] = r.sum(), (r * r).sum()
        total["return_cube"], total["return_fourth"] = (r**3).sum(), (r**4).sum()
        total["downside_sum"], total["downside_square"] = down.sum(), (down * down).sum()
        total["max_drawdown"] = depth.max(initial=0.0) / 100.0
        total["max_drawdown_money"] = (peak - self.equity).max(initial=0.0)
        return total


_ADDED = (
    "programs", "programs_filled", "fills", "maker_fills", "trades", "wins", "losses", "ambiguous", "bars_in_position",
    "net_pnl", "gross_pnl", "fees", "slippage", "funding", "win_pnl", "loss_pnl", "trade_square", "r_sum", "r_square",
    "turnover",
)  # fmt: skip


def walk(
    sweeper: Sweeper,
    strategy: Strategy,
    config: WalkForwardConfig,
    search: OptimizationConfig,
    *,
    run: str,
    storage: str | Path | None,
    backend: Backend | None = None,
    on_window: Callable[[WindowResult, int], None] | None = None,
) -> WalkForwardResult:
    """Walk a strategy forward over a sweeper's candles.

    Args:
        sweeper: Candles, rules and costs.
        strategy: Where each window's search starts; with `reoptimize` off, what every window trades.
        config: The windows.
        search: How each window searches.
        run: Id of the run in the ledger.
        storage: The ledger, where each window's trials are recorded as those of a data set of its own; None = nowhere.
        backend: Workers that search windows side by side; None = one window after the other.
        on_window: Told each window as it is done, and how many there are.

    Raises:
        DataError: The candles are shorter than one window, or no window's bars are enough for the search box.
    """
    started = perf_counter()
    candles = sweeper.candles
    planned = generate_windows(candles, config)
    spans = [span_of(candles, window) for window in planned]
    tasks = [
        _Task(number, span, strategy, config.reoptimize, search, run, storage) for number, span in enumerate(spans, 1)
    ]
    found: Iterator[tuple[Strategy, int, tuple[str, ...]]] = map(partial(_search_window, sweeper), tasks)
    if backend is not None:
        found = backend.map(_search_window, backend.share(sweeper), tasks)
    windows: list[WindowResult] = []
    pieces: list[BacktestResult] = []
    account = sweeper.execution.initial_capital
    for at, (chosen, trials, notes) in enumerate(found):
        windows.append(_traded(sweeper, at + 1, planned[at], spans[at], chosen, trials, notes, config))
        # Where windows overlap, the account follows each one until the next takes over.
        end = spans[at].oos_stop if at + 1 == len(spans) else min(spans[at].oos_stop, spans[at + 1].oos_first)
        if account > 0.0 and end - spans[at].oos_first >= _LEAST_BARS:
            execution = sweeper.execution.replace(initial_capital=account)
            pieces.append(replay(sweeper, chosen, spans[at].oos_first, end, execution))
            account = pieces[-1].final_equity
        if on_window is not None:
            on_window(windows[-1], len(spans))
    if config.reoptimize and not any(window.trials for window in windows):
        raise DataError(f"no window could be searched: {windows[-1].notes[0]}", hint="use a longer span.")
    return WalkForwardResult(
        candles=candles,
        config=config,
        windows=tuple(windows),
        pieces=tuple(pieces),
        reoptimized=config.reoptimize,
        capital=sweeper.execution.initial_capital,
        bars=np.concatenate(
            [np.arange(piece.trade_from, len(piece.candles)) for piece in pieces] or [np.empty(0, int)]
        ),
        equity=np.concatenate([piece.equity_curve for piece in pieces] or [np.empty(0)]),
        seconds=perf_counter() - started,
        notes=_notes(config, windows, account),
    )


class _Task(NamedTuple):
    """What a worker needs to search one window."""

    number: int
    span: Span
    strategy: Strategy
    reoptimize: bool
    search: OptimizationConfig
    run: str
    storage: str | Path | None


def _search_window(sweeper: Sweeper, task: _Task) -> tuple[Strategy, int, tuple[str, ...]]:
    """The best strategy of one window's in-sample bars, how many trials it took, and notes."""
    span = task.span
    if not task.reoptimize:
        return task.strategy, 0, ()
    if span.is_stop - span.is_first < _LEAST_BARS:
        return task.strategy, 0, (_UNSEARCHED.format("no in-sample bars to search in."),)
    search = task.search
    # A seed of its own for each window: the same points in every window would be one draw of luck for all of them.
    seed = int(np.random.SeedSequence([search.seed, task.number]).generate_state(1)[0])
    search = search.replace(seed=seed)
    with Ledger(task.storage) if task.storage is not None else nullcontext() as ledger:
        evaluator = evaluator_of(sweeper, search, ledger, (span.is_first, span.is_stop))
        try:
            stages = search_all_stages(evaluator, task.strategy, search, f"{task.run}-w{task.number}")
        except DataError as error:
            # The first windows of long bars end before the longest periods are defined; later ones do not.
            return task.strategy, 0, (_UNSEARCHED.format(error.message),)
    notes = [note for found in stages for note in found.notes if "guards" in note]
    return stages[-1].config, sum(len(found.trials) for found in stages), tuple(dict.fromkeys(notes))


def _traded(
    sweeper: Sweeper, number: int, window: Window, span: Span, strategy: Strategy, trials: int,
    notes: tuple[str, ...], config: WalkForwardConfig,
) -> WindowResult:  # fmt: skip
    """One window with both of its parts run by plain backtests."""
    inside = outside = None
    if span.is_stop - span.is_first >= _LEAST_BARS:
        inside = replay(sweeper, strategy, span.is_first, span.is_stop)
    if span.oos_stop - span.oos_first >= _LEAST_BARS:
        outside = replay(sweeper, strategy, span.oos_first, span.oos_stop)
    trades = 0 if outside is None else outside.total_trades
    enough = trades >= config.min_trades_per_window
    searched = trials > 0 or not config.reoptimize
    scored = outside is not None and inside is not None and searched and enough
    if not enough:
        notes = (*notes, f"{trades} out-of-sample trades, fewer than {config.min_trades_per_window}: not scored.")
    elif not scored:
        notes = (*notes, "a part of the window could not be searched or traded: not scored.")
    return WindowResult(number, window, span, strategy, inside, outside, trials, scored, notes)


def _notes(config: WalkForwardConfig, windows: Sequence[WindowResult], account: float) -> tuple[str, ...]:
    notes = []
    if not config.reoptimize:
        notes.append(
            "one given configuration in all windows: a stability check. If it was found on these candles, none of "
            "this is out-of-sample."
        )
    unsearched = [window for window in windows if config.reoptimize and not window.trials]
    if unsearched:
        notes.append(f"{len(unsearched)} of {len(windows)} windows could not be searched: {unsearched[0].notes[0]}")
    unscored = sum(not window.scored for window in windows)
    if unscored:
        notes.append(
            f"{unscored} of {len(windows)} windows were not searched or have fewer than {config.min_trades_per_window} "
            "trades: they are in the equity curve and not in the scores."
        )
    if config.stride_days < config.oos_length_days:
        notes.append("the windows overlap: the equity curve follows each one until the next takes over.")
    if account <= 0.0:
        notes.append("the account was ruined before the last window.")
    return tuple(notes)


class WalForwardEngine:
    """A walk-forward with the flat API's names; see `walk`.

    Args:
        candles, config, order_qty, exchange, symbol, timeframe: As in `BacktestEngine`; `config` is where each window's
            search starts.
        wfa_config: The windows.
        opt_config: How each window searches; by default the batch search with the BALANCED profile.
        execution, detail, funding, check_lookahead: As in `backtest`.
        on_window: Told each window as it is done, and how many there are.
    """

    def __init__(
        self,
        candles: Any,
        config: Strategy | None = None,
        order_qty: float = 1.0,
        exchange: str = "",
        symbol: str = "",
        timeframe: "str | Timeframe | None" = None,
        wfa_config: WalkForwardConfig | None = None,
        *,
        opt_config: OptimizationConfig | None = None,
        execution: ExecutionConfig | None = None,
        detail: Any = None,
        funding: Iterable[tuple[int, float]] | None = None,
        check_lookahead: bool = True,
        on_window: Callable[[WindowResult, int], None] | None = None,
    ) -> None:
        self.config = wfa_config if wfa_config is not None else WalkForwardConfig()
        if not isinstance(self.config, WalkForwardConfig):
            raise ConfigError(f"wfa_config must be a WalForwardConfig; got {type(self.config).__name__}.")
        self.search = opt_config if opt_config is not None else OptimizationConfig(optuna_sampler="AUTO")
        self._sweeper = Sweeper(
            candles, checked_strategy(config), order_qty, execution=execution, detail=detail, funding=funding,
            exchange=exchange, symbol=symbol, timeframe=timeframe, workers=self.search.workers,
            check_lookahead=check_lookahead,
        )  # fmt: skip
        self._on_window = on_window

    def generate_windows(self) -> list[Window]:
        """All windows as (is_start, is_end, oos_start, oos_end), aware UTC, half-open.

        Raises:
            DataError: The candles are shorter than one window.
        """
        return generate_windows(self._sweeper.candles, self.config)

    def run(self) -> WalkForwardResult:
        """Search and trade every window."""
        search = self.search
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        storage = search.storage or home_folder() / "data" / "ledger.sqlite"
        with ExitStack() as open_until_done:
            backend = None
            if search.backend in ("processes", "ray"):
                opened = open_backend(search.backend, search.workers, search.address)
                backend = open_until_done.enter_context(opened)
            return walk(
                self._sweeper, self._sweeper.strategy, self.config, search, run=run, storage=storage, backend=backend,
                on_window=self._on_window,
            )  # fmt: skip

    def save_results(self, result: WalkForwardResult, folder: Path | None = None) -> Path:
        """Write a result as JSON below data/results of the home folder; returns its path.

        Raises:
            DataError: The file cannot be written.
        """
        candles = result.candles
        symbol = re.sub(r"[^A-Za-z0-9._-]+", "-", candles.symbol).strip("-.") or "unnamed"
        name = f"walk-forward-{datetime.now(UTC):%Y%m%d-%H%M%S}-{symbol}-{candles.timeframe}".lower()
        path = home_folder(folder) / "data" / "results" / f"{name}.json"
        return write_atomically(path, json.dumps({"schema_version": 1, **result.to_dict()}, allow_nan=False))


WalkForwardEngine = WalForwardEngine
