"""The flat module backtest_strategies as a user's program sees it: what goes in, what comes out, what is refused."""

import inspect
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import barwise
from backtest_strategies import BacktestEngine, BacktestResult, backtest
from barwise import Bars, Candles, Float, Int, Plan, Strategy, atr, rolling_max, shift
from barwise.core.layout import TRADE
from barwise.result import Band, Fill, Program, Trade
from config import ExecutionConfig, StrategyConfig
from tests.conftest import REPOSITORY, shared_path
from tests.test_reference_examples import differences

EXAMPLES = shared_path() / "spec" / "examples.json"
RUNS: list[dict[str, Any]] = json.loads(EXAMPLES.read_text()) if EXAMPLES.is_file() else []
HOUR_MS = 3_600_000


def read(folder: Path, file: str, start: str, end: str, timeframe: str, symbol: str = "BTCUSDT") -> Candles:
    frame = pl.read_parquet(folder / file)
    return Candles.of(frame, exchange="BINANCE", symbol=symbol, timeframe=timeframe, audit="report").between(start, end)


@pytest.fixture(scope="module")
def bitcoin(market_data: Path) -> Candles:
    file = "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
    return read(market_data, file, "2025-01-01", "2025-03-31", "1H")


@pytest.fixture(scope="module")
def result(bitcoin: Candles) -> BacktestResult:
    return BacktestEngine(bitcoin, StrategyConfig(), 0.1, "BINANCE", "BTCUSDT", "1H").run()


def walk(bars: int = 400, seed: int = 0, volume: float = 500.0) -> Candles:
    """A made-up hourly market."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, bars)))
    opens = np.concatenate(([100.0], close[:-1]))
    columns = {
        "time": 1_735_689_600_000 + HOUR_MS * np.arange(bars),
        "open": opens,
        "high": np.maximum(opens, close) * 1.002,
        "low": np.minimum(opens, close) * 0.998,
        "close": close,
        "volume": np.full(bars, volume),
    }
    return Candles.of(columns, symbol="WALK", timeframe="1H", audit="report")


# -- The first example of the README -----------------------------------------------------------------------------------


def test_the_span_of_the_first_example_has_89_days_of_24_bars(bitcoin: Candles) -> None:
    assert len(bitcoin) == 2136


def test_every_documented_number_of_a_result_is_there_with_its_type_and_unit(result: BacktestResult) -> None:
    assert isinstance(result, BacktestResult)
    for name in ("total_trades", "winning_trades", "losing_trades"):
        assert type(getattr(result, name)) is int, name
    for name in (
        "win_rate", "sharpe_ratio", "sortino_ratio", "max_drawdown", "total_return", "net_pnl", "gross_pnl", "fees",
        "slippage", "funding", "profit_factor", "recovery_factor", "expectancy", "final_equity", "initial_capital",
    ):  # fmt: skip
        assert type(getattr(result, name)) is float, name
    net = [trade.net_pnl for trade in result.trades]
    assert result.total_trades == len(net) > 10
    assert result.winning_trades == sum(value > 0 for value in net)
    assert result.losing_trades == sum(value < 0 for value in net)
    assert result.win_rate == pytest.approx(100.0 * result.winning_trades / result.total_trades)
    assert result.net_pnl == pytest.approx(math.fsum(net))
    assert result.gross_pnl - result.fees - result.funding == pytest.approx(result.net_pnl)
    assert result.final_equity == pytest.approx(100_000.0 + result.net_pnl)
    assert result.total_return == pytest.approx(result.net_pnl / 1000.0)
    gains = math.fsum(value for value in net if value > 0)
    assert result.profit_factor == pytest.approx(gains / -math.fsum(value for value in net if value < 0))
    assert result.expectancy == pytest.approx(result.net_pnl / result.total_trades)
    assert result.funding == 0.0
    assert result.slippage > 0.0
    assert result.ruined is False


def test_sharpe_drawdown_and_recovery_follow_from_the_equity_curve(result: BacktestResult) -> None:
    equity = result.equity_curve
    assert equity.shape == result.drawdown_curve.shape == (2136 - 199,)
    assert equity[0] == 100_000.0
    returns = np.diff(equity, prepend=100_000.0) / np.concatenate(([100_000.0], equity[:-1]))
    assert result.sharpe_ratio == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(8760.0), rel=1e-9)
    peak = np.maximum.accumulate(equity)
    assert result.max_drawdown == pytest.approx(100.0 * ((peak - equity) / peak).max(), rel=1e-12)
    assert result.drawdown_curve.max() == pytest.approx(result.max_drawdown)
    assert result.recovery_factor == pytest.approx(result.net_pnl / (peak - equity).max(), rel=1e-9)


def test_a_trade_tells_its_times_prices_costs_and_fills(result: BacktestResult) -> None:
    for number, trade in enumerate(result.trades):
        assert isinstance(trade, Trade)
        assert trade.trade_id == number
        assert trade.side in ("long", "short")
        for moment in (trade.entry_time, trade.exit_time):
            assert moment.utcoffset() == timedelta(0)
            assert moment.minute == 0
        assert trade.bars_held == (trade.exit_time - trade.entry_time) / timedelta(hours=1)
        assert trade.exit_reason in (
            "stop_loss", "trailing_stop", "trailing_take_profit", "take_profit", "end_of_data",
        )  # fmt: skip
        assert trade.quantity == pytest.approx(sum(fill.quantity for fill in trade.fills))
        assert trade.net_pnl == trade.gross_pnl - trade.fees - trade.funding
        assert type(trade.ambiguous) is bool
        assert trade["net_pnl"] == trade.net_pnl  # read by name as well
        for fill in trade.fills:
            assert isinstance(fill, Fill)
            assert trade.entry_time <= fill.time <= trade.exit_time
            assert (fill.tier, fill.liquidity) in {
                (1, "maker"), (1, "taker"), (2, "maker"), (2, "taker"), (3, "taker"), (4, "taker")
            }  # fmt: skip
            assert fill.fee > 0.0
    with pytest.raises(KeyError):
        result.trades[0]["nothing"]
    assert "fills" in dict(result.trades[0])


def test_a_program_tells_its_signal_and_its_outcome_and_its_shortfall(result: BacktestResult) -> None:
    assert len(result.programs) >= result.total_trades
    closes = dict(zip(result.candles.time.tolist(), result.candles.close.tolist(), strict=True))
    for program in result.programs:
        assert isinstance(program, Program)
        signal_bar = int(program.signal_time.timestamp() * 1000) - HOUR_MS
        assert program.arrival_price == closes[signal_bar]
        assert program.atr > 0.0
        if not program.fills:
            assert program.shortfall_bp is None
            assert program.outcome != "filled"
            continue
        mean = math.fsum(fill.price * fill.quantity for fill in program.fills) / program.filled_quantity
        side = 1 if program.side == "long" else -1
        expected = side * (mean - program.arrival_price) / program.arrival_price * 1e4
        assert program.shortfall_bp == pytest.approx(expected, abs=1e-6)
    assert {fill for program in result.programs for fill in program.fills} == set(result.fills)


def test_the_band_holds_the_net_result_of_each_reading(bitcoin: Candles, result: BacktestResult) -> None:
    assert isinstance(result.band, Band)
    for reading in ("worst", "path", "best"):
        alone = backtest(bitcoin, StrategyConfig(), 0.1, execution=ExecutionConfig(intrabar=reading))
        assert getattr(result.band, reading) == alone.net_pnl
        assert alone.band.worst == result.band.worst
        assert alone.band.ambiguous_trades == sum(trade.ambiguous for trade in alone.trades)
    assert result.net_pnl == result.band.worst


def test_the_frames_hold_a_row_per_trade_and_per_bar(result: BacktestResult) -> None:
    trades, equity = result.trades_frame(), result.equity_frame()
    assert trades.height == result.total_trades
    assert trades["net_pnl"].to_list() == [trade.net_pnl for trade in result.trades]
    assert trades["entry_time"].dtype == pl.Datetime("ms", "UTC")
    assert trades["entry_time"].to_list() == [trade.entry_time for trade in result.trades]
    assert "fills" not in trades.columns
    assert equity.columns == ["time", "equity", "drawdown", "close"]
    assert equity.height == 2136 - 199
    assert equity["equity"].to_list() == result.equity_curve.tolist()
    assert trades.to_pandas().shape == trades.shape
    assert equity.to_pandas()["equity"].iloc[-1] == result.final_equity


def no_bad_numbers(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and no_bad_numbers(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(no_bad_numbers(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def test_the_dict_is_json_without_nan_and_comes_back_from_text(result: BacktestResult) -> None:
    found = result.to_dict()
    assert no_bad_numbers(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(result.to_json())
    assert found["schema_version"] == 1
    assert (found["exchange"], found["symbol"], found["timeframe"]) == ("BINANCE", "BTCUSDT", "1H")
    assert found["strategy"]["parameters"]["ema_fast"] == 20
    assert found["metrics"]["net_pnl"] == result.net_pnl
    assert len(found["trades"]) == result.total_trades
    assert len(found["programs"]) == len(result.programs)
    assert datetime.fromisoformat(found["trades"][0]["entry_time"]) == result.trades[0].entry_time
    assert found["band"] == {
        "worst": result.band.worst, "path": result.band.path, "best": result.band.best,
        "ambiguous_trades": result.band.ambiguous_trades,
    }  # fmt: skip


def test_a_result_without_a_single_trade_is_whole_and_is_json_too() -> None:
    quiet = backtest(walk(), StrategyConfig(allow_long=False, allow_short=False), 1.0)
    assert (quiet.total_trades, quiet.net_pnl, quiet.sharpe_ratio, quiet.profit_factor) == (0, 0.0, 0.0, 0.0)
    assert [*quiet.trades, *quiet.programs, *quiet.fills] == []
    assert quiet.trades_frame().height == 0
    assert quiet.trades_frame().schema["net_pnl"] == pl.Float64
    assert (quiet.equity_curve == 100_000.0).all()
    assert no_bad_numbers(json.loads(quiet.to_json()))
    assert "0 trades" in repr(quiet)


def test_an_engine_runs_as_often_as_wanted_with_the_same_bytes(bitcoin: Candles) -> None:
    engine = BacktestEngine(bitcoin, StrategyConfig(), 0.1)
    first, second = engine.run(), engine.run()
    assert first.to_json() == second.to_json()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.records, second.records, strict=True))


def test_the_costs_are_the_venues_own_unless_others_are_given(bitcoin: Candles) -> None:
    own = backtest(bitcoin, StrategyConfig(), 0.1)
    spot = barwise.fee_schedule("BINANCE")
    assert own.fees_schedule == spot
    fill = own.trades[0].fills[0]
    rate = spot.buy_maker if own.trades[0].side == "long" else spot.sell_maker
    assert fill.liquidity == "maker"
    assert fill.fee == pytest.approx(rate * fill.price * fill.quantity)
    free = backtest(bitcoin, StrategyConfig(), 0.1, execution=ExecutionConfig(maker_fee=0.0, taker_fee=0.0))
    assert free.fees == 0.0
    assert free.net_pnl == free.gross_pnl


# -- The worked runs of the law ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not RUNS, reason=f"no worked runs at {EXAMPLES}: set BARWISE_SHARED")
@pytest.mark.parametrize("example", RUNS, ids=[run["name"] for run in RUNS])
def test_the_engine_gives_every_program_fill_and_trade_of_a_worked_run(
    example: dict[str, Any], market_data: Path
) -> None:
    span = (example["start"], example["end_exclusive"])
    symbol, length = example["candles"].removeprefix("binance_").split("_")[1:3]
    candles = read(market_data, example["candles"], *span, length, symbol)
    detail = read(market_data, example["detail"], *span, "5M", symbol) if example["detail"] else None
    run = BacktestEngine(
        candles,
        StrategyConfig(**example["strategy"]),
        example["quantity"],
        execution=ExecutionConfig(**example["execution"]),
        detail=detail,
    ).run()
    assert run.trade_from == example["trade_from"]
    assert int((run.plan.entry[run.trade_from :] != 0).sum()) == example["signals"]

    def milliseconds(moment: datetime) -> int:
        return int(moment.timestamp() * 1000)

    names = ("quantity", "entry_price", "exit_price", "exit_reason", "fees", "gross_pnl", "net_pnl", "ambiguous")
    sides = {"long": 1, "short": -1}
    ours = {
        "final_equity": run.final_equity,
        "programs": [
            {
                "signal_time": milliseconds(program.signal_time),
                "side": sides[program.side],
                "arrival_price": program.arrival_price,
                "atr": program.atr,
                "outcome": program.outcome,
                "fills": [
                    [milliseconds(fill.time), fill.tier, fill.price, fill.quantity, fill.fee, fill.liquidity]
                    for fill in program.fills
                ],
            }
            for program in run.programs
        ],
        "trades": [
            {
                "side": sides[trade.side],
                "entry_time": milliseconds(trade.entry_time),
                "exit_time": milliseconds(trade.exit_time),
                **{name: trade[name] for name in names},
            }
            for trade in run.trades
        ],
    }
    expected = {name: example[name] for name in ("final_equity", "programs", "trades")}
    assert differences(ours, expected) == []


# -- A strategy of the user's own --------------------------------------------------------------------------------------


class Breakout(Strategy):
    """Buy the break of an N-bar high when the bar closes strong."""

    lookback: int = Int(20, low=10, high=60)
    strength: float = Float(0.7, low=0.5, high=0.95)

    def plan(self, bars: Bars) -> Plan:
        ceiling = shift(rolling_max(bars.high, self.lookback))
        span = np.maximum(bars.high - bars.low, 1e-12)
        strong = (bars.close - bars.low) / span > self.strength
        return Plan.of(entry=(bars.close > ceiling) & strong, anchor=ceiling, risk=atr(bars, 14))


def test_a_breakout_of_a_dozen_lines_runs_like_the_built_in_strategy(bitcoin: Candles) -> None:
    assert len(inspect.getsource(Breakout).splitlines()) <= 25
    found = backtest(bitcoin, Breakout(lookback=30), qty=0.1)
    assert found.total_trades > 20
    assert {trade.side for trade in found.trades} == {"long"}
    assert found.trade_from == 30  # the ceiling of 30 bars, one bar later
    ceiling = np.array([np.nan] * 30 + [bitcoin.high[t - 30 : t].max() for t in range(30, len(bitcoin))])
    for program in found.programs:
        bar = int(np.searchsorted(bitcoin.time, int(program.signal_time.timestamp() * 1000))) - 1
        assert bitcoin.close[bar] > ceiling[bar]
    same = BacktestEngine(bitcoin, Breakout(lookback=30), 0.1, "BINANCE", "BTCUSDT", "1H").run()
    assert same.to_json() == found.to_json()
    other = backtest(bitcoin, Breakout(lookback=30, atr_sl_multiplier=3.0), qty=0.1)
    assert other.net_pnl != found.net_pnl
    assert found.to_dict()["strategy"]["parameters"]["lookback"] == 30


def test_a_users_strategy_runs_as_a_script_from_the_clones_root() -> None:
    program = """
import sys; sys.path.insert(0, "src")
from backtest_strategies import backtest
from barwise import Bars, Int, Plan, Strategy, atr, rolling_max, sample_candles, shift

class Breakout(Strategy):
    lookback: int = Int(20, low=10, high=60)
    def plan(self, bars: Bars) -> Plan:
        ceiling = shift(rolling_max(bars.high, self.lookback))
        return Plan.of(entry=bars.close > ceiling, anchor=ceiling, risk=atr(bars, 14))

print(backtest(sample_candles(), Breakout(lookback=30), qty=0.1).total_trades)
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int(answer.stdout) > 50


def strategy_with(entry: Any = None, **columns: Any) -> Strategy:
    """A strategy that says the same for every span, cut to its length."""

    class Given(Strategy):
        def plan(self, bars: Bars) -> Plan:
            def own(values: Any) -> Any:
                return values(bars) if callable(values) else np.asarray(values)[: bars.close.size]

            return Plan.of(**{name: own(values) for name, values in {"entry": entry, **columns}.items()})

    return Given()


def rising(bars: Bars) -> Any:
    return bars.close > shift(bars.close)


def falling(bars: Bars) -> Any:
    return bars.close < shift(bars.close)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"entry": lambda bars: np.where(bars.close > 0, 1.0, np.nan) * np.nan}, "entry may hold -1, 0, 1 or bools"),
        ({"entry": lambda bars: np.full(bars.close.size, 2)}, "entry may hold -1, 0, 1 or bools; got dtype int64"),
        ({"entry": lambda bars: np.full(bars.close.size, 0.5)}, "entry may hold -1, 0, 1 or bools; got dtype float64"),
        ({"entry": lambda bars: np.full(bars.close.size, "buy")}, "entry may hold -1, 0, 1 or bools; got dtype <U3"),
        ({"entry": lambda bars: np.full(bars.close.size, None)}, "entry may hold -1, 0, 1 or bools; got dtype object"),
        ({"entry": lambda bars: np.zeros((bars.close.size, 1), bool)}, r"entry has shape \(400, 1\)"),
        ({"entry": lambda bars: rising(bars)[:-3]}, r"returned 397 values of entry for 400 bars"),
        ({"entry": rising, "entry_short": lambda bars: rising(bars)[1:]}, r"entry_short has shape \(399,\)"),
        ({"entry": rising, "exit": lambda bars: rising(bars)[1:]}, r"exit has shape \(399,\)"),
        ({"entry": rising, "exit": lambda bars: np.full(bars.close.size, 3)}, "exit may hold -1, 0, 1, 2 or bools"),
        ({"entry": rising, "anchor": lambda bars: bars.close[:10]}, r"anchor has shape \(10,\)"),
        ({"entry": rising, "risk": lambda _: np.float64(2.0)}, r"risk has shape"),
        ({"entry": lambda bars: bars.close / 0}, "entry may hold"),
        ({"entry": lambda bars: bars.nothing}, r"Given\.plan\(\) failed.*: AttributeError"),
        ({"entry": lambda bars: bars.close.sort()}, r"Given\.plan\(\) failed.*: ValueError"),  # read-only
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_plan_that_makes_no_sense_is_refused_with_the_reason(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(barwise.BacktestError, match=message):
        backtest(walk(), strategy_with(**columns), 1.0)


def test_a_strategy_without_a_plan_says_how_to_write_one() -> None:
    class Nothing(Strategy):
        """Has no plan."""

    with pytest.raises(barwise.BacktestError, match=r"Nothing has no plan\(\)") as caught:
        backtest(walk(), Nothing(), 1.0)
    assert "define plan(self, bars)" in caught.value.hint


def test_a_plan_that_raises_is_named_with_its_cause_kept() -> None:
    with pytest.raises(barwise.BacktestError, match=r"Given\.plan\(\) failed.*: ZeroDivisionError") as caught:
        backtest(walk(), strategy_with(lambda _: 1 // 0), 1.0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("answer", [None, {"entry": []}, np.zeros(400, bool), (1, 2)])
def test_what_is_no_plan_is_refused_by_its_type(answer: Any) -> None:
    class Wrong(Strategy):
        def plan(self, bars: Bars) -> Plan:
            return answer  # type: ignore[no-any-return]

    with pytest.raises(barwise.BacktestError, match=rf"Wrong\.plan\(\) returned {type(answer).__name__}, not a Plan"):
        backtest(walk(), Wrong(), 1.0)


@pytest.mark.parametrize("entry", [falling, lambda bars: -falling(bars).astype(int)], ids=["bools", "integers"])
def test_both_sides_of_a_bar_are_never_more_than_one_signal(entry: Any) -> None:
    """Section 3: a strategy hands over one signal in {-1, 0, +1} per bar, however it is written."""
    short = strategy_with(entry, entry_short=falling)
    try:
        found = backtest(walk(), short, 1.0)
    except barwise.BacktestError:
        return  # to refuse the contradiction is as good
    assert set(np.unique(found.plan.entry)) <= {-1, 0, 1}
    assert set(found.records.programs["side"].tolist()) <= {-1, 1}


@pytest.mark.parametrize("name", ["exit", "anchor", "vwap", "risk"])
def test_a_plan_put_together_by_hand_has_a_value_per_bar_in_every_column(name: str) -> None:
    """Machine code does not look whether a bar is there: a column that is too short would be read beyond its end."""

    class Patched(Strategy):
        def plan(self, bars: Bars) -> Plan:
            short: dict[str, Any] = {name: np.zeros(10, np.int8) if name == "exit" else np.full(10, 100.0)}
            return Plan.of(entry=rising(bars))._replace(**short)

    with pytest.raises(barwise.BacktestError, match=name):
        backtest(walk(), Patched(), 1.0, check_lookahead=False)


def test_where_long_and_short_hold_neither_is_taken() -> None:
    both = backtest(walk(), strategy_with(rising, entry_short=rising), 1.0)
    assert both.programs == ()
    sides = backtest(walk(), strategy_with(rising, entry_short=falling), 1.0)
    assert {program.side for program in sides.programs} == {"long", "short"}


def test_an_exit_in_bools_closes_either_side_at_the_next_open_and_in_numbers_the_side_it_names() -> None:
    candles = walk()
    rules = {"enable_hybrid_engine": False, "atr_sl_multiplier": 50.0, "atr_tp_multiplier": 50.0}
    everything = lambda bars: np.ones(bars.close.size, bool)  # noqa: E731 - a column of the plan
    either = backtest(candles, strategy_with(rising, entry_short=falling, exit=everything).replace(**rules), 1.0)
    closed = [trade for trade in either.trades if trade.exit_reason == "strategy_exit"]
    assert {trade.side for trade in closed} == {"long", "short"}
    assert {trade.bars_held for trade in closed} == {1}
    opens = dict(zip(candles.time.tolist(), candles.open.tolist(), strict=True))
    for trade in closed:
        slip = 0.0005 if trade.side == "short" else -0.0005
        assert trade.exit_price == pytest.approx(opens[int(trade.exit_time.timestamp() * 1000)] * (1.0 + slip))
    for number, side in ((1, "long"), (-1, "short")):
        only = lambda bars, number=number: np.full(bars.close.size, number)  # noqa: E731 - a column of the plan
        one = backtest(candles, strategy_with(rising, entry_short=falling, exit=only).replace(**rules), 1.0)
        assert {trade.side for trade in one.trades if trade.exit_reason == "strategy_exit"} == {side}


def test_a_column_that_the_strategy_keeps_stays_its_own() -> None:
    kept = np.full(400, 100.0)
    strategy = strategy_with(rising, anchor=lambda bars: kept if bars.close.size == 400 else kept[: bars.close.size])
    backtest(walk(), strategy, 1.0)
    assert kept.flags.writeable


def test_a_risk_that_is_not_a_number_gives_no_signal_and_an_infinite_one_no_broken_file() -> None:
    half = lambda bars: np.where(np.arange(bars.close.size) < 200, np.nan, 1.0)  # noqa: E731 - a column of the plan
    found = backtest(walk(), strategy_with(rising, risk=half), 1.0, trade_from=0)
    assert found.programs
    assert min(program.signal_time for program in found.programs) > datetime(2025, 1, 9, 8, tzinfo=UTC)
    endless = lambda bars: np.full(bars.close.size, np.inf)  # noqa: E731 - a column of the plan
    try:
        odd = backtest(walk(), strategy_with(rising, risk=endless), 1.0)
    except barwise.BacktestError:
        return  # to refuse such a column is as good
    assert no_bad_numbers(json.loads(odd.to_json()))


# -- What goes in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (StrategyConfig, "EmaRsiAtr is the class; a strategy object is needed"),
        (Breakout, "Breakout is the class; a strategy object is needed"),
        ({"ema_fast": 5}, "strategy must be a Strategy such as StrategyConfig.*got dict"),
        (ExecutionConfig(), "strategy must be a Strategy.*got ExecutionConfig"),
        ("EmaRsiAtr", "strategy must be a Strategy.*got str"),
    ],
)
def test_what_is_no_strategy_object_is_refused(strategy: Any, message: str) -> None:
    with pytest.raises(barwise.ConfigError, match=message):
        BacktestEngine(walk(), strategy, 1.0)


def test_no_strategy_means_the_built_in_one() -> None:
    assert backtest(walk(), None, 1.0).to_json() == backtest(walk(), StrategyConfig(), 1.0).to_json()


@pytest.mark.parametrize("execution", [{"slippage": 0.0}, StrategyConfig(), 0.001])
def test_what_are_no_execution_settings_is_refused(execution: Any) -> None:
    with pytest.raises(barwise.ConfigError, match="execution must be an ExecutionConfig"):
        backtest(walk(), execution=execution)


@pytest.mark.parametrize("quantity", [0, -1, math.nan, math.inf, True, "0.1", None, [1.0]])
def test_a_quantity_that_is_no_positive_number_is_refused(quantity: Any) -> None:
    with pytest.raises(barwise.ConfigError, match="order quantity must be a positive number"):
        backtest(walk(), None, quantity)


def test_a_quantity_below_the_lot_is_refused_and_one_above_it_is_floored() -> None:
    with pytest.raises(barwise.ConfigError, match=r"order quantity 0\.09 is below one lot of 0\.1") as caught:
        backtest(walk(), None, 0.09, execution=ExecutionConfig(lot_size=0.1))
    assert "order at least 0.1" in caught.value.hint
    run = BacktestEngine(walk(), None, 0.39, execution=ExecutionConfig(lot_size=0.1)).run()
    assert run.to_dict()["quantity"] == pytest.approx(0.3)
    assert BacktestEngine(walk(), None, 0.3, execution=ExecutionConfig(lot_size=0.1)).run().params["quantity"] == 0.3


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], barwise.DataError),
        ({}, barwise.DataError),
        (None, barwise.DataError),
        ("candles.csv", barwise.DataError),
        ([{"time": 1}], barwise.DataError),
        ([{"time": 1_735_689_600_000, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}], barwise.DataError),
    ],
)
def test_what_are_no_candles_is_a_data_error(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        BacktestEngine(data, StrategyConfig(), 0.1, "BINANCE", "BTCUSDT", "1H").run()


def broken(change: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [dict(candle) for candle in walk()]
    change(rows)
    return rows


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[7].update(close=math.nan),
        lambda rows: rows[7].update(high=1.0),
        lambda rows: rows[7].update(low=-5.0),
        lambda rows: rows[7].update(volume=-1.0),
        lambda rows: rows[7].update(time=rows[6]["time"]),
        lambda rows: rows[7].pop("close"),
        lambda rows: rows[7].update(open="cheap"),
    ],
    ids=["nan", "high below close", "negative", "negative volume", "twice", "missing", "text"],
)
def test_broken_candles_of_the_users_own_are_refused_before_anything_runs(change: Any) -> None:
    with pytest.raises(barwise.DataError):
        backtest(broken(change), None, 1.0, timeframe="1H")


def test_an_identity_that_contradicts_the_candles_is_refused() -> None:
    candles = Candles.of(walk().to_polars(), exchange="BINANCE", symbol="BTCUSDT", timeframe="1H")
    for identity in (("DELTA", "BTCUSDT", "1H"), ("BINANCE", "ETHUSDT", "1H"), ("BINANCE", "BTCUSDT", "4H")):
        with pytest.raises(barwise.DataError, match="These candles are BINANCE BTCUSDT 1H"):
            BacktestEngine(candles, StrategyConfig(), 0.1, *identity)
    assert BacktestEngine(candles, StrategyConfig(), 0.1, "binance", "btcusdt", "1h").run().candles == candles


@pytest.mark.parametrize(
    ("changes", "bars", "message"),
    [
        ({}, 200, r"WALK 1H needs at least 201 bars \(200 for ema_trend, 1 to trade\); the span has 200\."),
        ({}, 1, "a backtest needs at least 2 bars; there are 1"),
        ({"ema_trend": 51}, 60, r"needs at least 65 bars \(64 for rsi_period \+ rsi_lookback, 1 to trade\)"),
        ({"atr_period": 300}, 280, r"needs at least 302 bars \(301 for atr_period, 1 to trade\)"),
        ({"enable_trend_filter": False, "enable_rsi_filter": False}, 50, r"needs at least 51 bars \(50 for ema_slow"),
    ],
)
def test_too_few_bars_are_answered_with_how_many_are_needed_and_for_what(
    changes: dict[str, Any], bars: int, message: str
) -> None:
    with pytest.raises(barwise.DataError, match=message):
        backtest(walk(bars), StrategyConfig(**changes), 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_trend": 51},
        {"atr_period": 300},
        {"enable_trend_filter": False, "enable_rsi_filter": False},
        {"rsi_lookback": 1, "rsi_period": 250},
    ],
)
def test_as_many_bars_as_the_message_asks_for_are_enough_and_one_less_is_not(changes: dict[str, Any]) -> None:
    strategy = StrategyConfig(**changes)
    with pytest.raises(barwise.DataError) as caught:
        backtest(walk(20), strategy, 1.0)
    needed = int(caught.value.message.split("at least ")[1].split(" bars")[0].replace(",", ""))
    assert backtest(walk(needed), strategy, 1.0).trade_from == needed - 2
    with pytest.raises(barwise.DataError):
        backtest(walk(needed - 1), strategy, 1.0)


def test_a_users_strategy_without_a_usable_bar_is_told_so() -> None:
    with pytest.raises(barwise.DataError, match="Breakout has no usable signal within 20 bars"):
        backtest(walk(20), Breakout(), 1.0)


@pytest.mark.parametrize("start", [-1, 399, 400, 10**9, 1.0, "5", True])
def test_a_start_outside_the_data_is_refused(start: Any) -> None:
    with pytest.raises(barwise.ConfigError, match=r"trade_from must be a bar index from 0 to 398; got") as caught:
        backtest(walk(), None, 1.0, trade_from=start)
    assert "could never be acted on" in caught.value.hint


@pytest.mark.parametrize("start", [0, 250, np.int64(398)])
def test_signals_are_used_and_metrics_counted_from_the_given_start(start: int) -> None:
    candles = walk()
    found = backtest(candles, strategy_with(rising, risk=lambda bars: bars.close * 0.01), 1.0, trade_from=start)
    assert found.trade_from == start
    assert found.equity_curve.size == 400 - start
    opened = datetime.fromtimestamp(int(candles.time[start]) / 1000, UTC)
    assert all(program.signal_time > opened for program in found.programs)
    assert found.years == pytest.approx((400 - start) / 24 / 365.2425)


# -- How a run can end -------------------------------------------------------------------------------------------------


def test_a_run_that_loses_everything_ends_there_and_says_so() -> None:
    n = 60
    close = np.concatenate((np.full(30, 100.0), np.linspace(99.0, 20.0, 30)))
    opens = np.concatenate(([100.0], close[:-1]))
    candles = Candles.of(
        {
            "time": 1_735_689_600_000 + HOUR_MS * np.arange(n),
            "open": opens,
            "high": np.maximum(opens, close) + 0.1,
            "low": np.minimum(opens, close) - 0.1,
            "close": close,
            "volume": np.full(n, 1e6),
        },
        symbol="FALL",
        timeframe="1H",
    )
    once = lambda bars: np.arange(bars.close.size) == 29  # noqa: E731 - a column of the plan
    strategy = strategy_with(once, risk=lambda bars: np.full(bars.close.size, 1000.0)).replace(
        enable_hybrid_engine=False
    )
    execution = ExecutionConfig(initial_capital=1000.0, leverage=10.0, maker_fee=0.0, taker_fee=0.0, slippage=0.0)
    found = backtest(candles, strategy, 100.0, execution=execution)
    assert found.ruined
    trade = found.trades[-1]
    assert trade.exit_reason == "ruined"
    # 100 bought at 100 with 1,000: nothing is left at the first close at or below 90.
    ruin_bar = int(np.flatnonzero(close <= 90.0)[0])
    assert trade.exit_price == close[ruin_bar]
    assert int(trade.exit_time.timestamp() * 1000) == candles.time[ruin_bar]
    assert found.final_equity == pytest.approx(1000.0 + 100.0 * (close[ruin_bar] - 100.0))
    assert (found.equity_curve[ruin_bar - found.trade_from :] == found.final_equity).all()
    assert no_bad_numbers(json.loads(found.to_json()))


def test_an_open_position_is_closed_at_the_last_close() -> None:
    candles = walk()
    late = lambda bars: np.arange(bars.close.size) == 395  # noqa: E731 - a column of the plan
    rules = {"enable_hybrid_engine": False, "atr_sl_multiplier": 50.0, "atr_tp_multiplier": 50.0}
    trade = backtest(candles, strategy_with(late).replace(**rules), 1.0).trades[-1]
    assert trade.exit_reason == "end_of_data"
    assert trade.exit_price == candles.close[-1] * (1.0 - 0.0005)


def test_a_market_without_volume_is_traded_without_a_cap_and_the_user_is_told_once() -> None:
    silent, loud = backtest(walk(volume=0.0), None, 1.0), backtest(walk(volume=500.0), None, 1.0)
    assert silent.prepared.notes == ("these candles have no volume: the cap on participation is off.",)
    assert silent.to_dict()["notes"] == list(silent.prepared.notes)
    assert loud.prepared.notes == ()
    rules = StrategyConfig(enable_rsi_filter=False, enable_trend_filter=False, hybrid_tier3_timeout=0)
    huge = ExecutionConfig(initial_capital=1e12)
    uncapped = backtest(walk(volume=0.0), rules, 1e6, execution=huge)
    assert {program.outcome for program in uncapped.programs} >= {"filled"}
    assert max(fill.quantity for fill in uncapped.fills) == 1e6
    capped = backtest(walk(volume=500.0), rules, 1e6, execution=huge)
    assert max(fill.quantity for fill in capped.fills) == pytest.approx(50.0)


def test_a_run_keeps_all_two_hundred_fills_of_one_program() -> None:
    once = lambda bars: np.arange(bars.close.size) == 29  # noqa: E731 - a column of the plan
    rules = {"enable_hybrid_engine": False, "hybrid_tier4_timeout": 1000}
    strategy = strategy_with(once, risk=lambda bars: np.full(bars.close.size, 1000.0)).replace(**rules)
    found = backtest(walk(), strategy, 1e4, execution=ExecutionConfig(initial_capital=1e9))
    assert found.programs[0].outcome == "filled"
    assert len(found.fills) == len(found.trades[0].fills) == 200
    assert sum(fill.quantity for fill in found.fills) == pytest.approx(1e4)


def test_every_record_of_a_trade_reaches_the_user(result: BacktestResult) -> None:
    """A field that is added to the record is shown, or left out here on purpose."""
    shown = {name for name in TRADE.names or () if hasattr(result.trades[0], name)}
    hidden = {
        "program", "entry_bar", "exit_bar", "entry_signal_bar", "exit_signal_bar", "exit_reference", "stop_price",
        "target_price", "best_price", "worst_price", "exit_maker",
    }  # fmt: skip
    assert shown | hidden == set(TRADE.names or ())
