"""What the dashboard's API tells of a run: the library's own numbers to the bit, and how it stands."""

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from flask.testing import FlaskClient

from barwise.checkpoints import RunLock
from barwise.cli import main
from barwise.config import OptimizationConfig, WalkForwardConfig
from barwise.core.curve import drawdown_curve
from barwise.core.layout import Exit
from barwise.dashboard import results as results_module
from barwise.dashboard.again import repeated
from barwise.dashboard.api_run import endpoints
from barwise.dashboard.app import create_app
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX
from barwise.dashboard.errors import NotFound
from barwise.dashboard.memory import Memory, stamp_of
from barwise.dashboard.results import Results
from barwise.dashboard.run_tables import read_curves
from barwise.dashboard.trade_list import Column, Reason
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from barwise.errors import CheckpointError, ConfigError, DataError
from barwise.pipeline import RunSettings
from barwise.pipeline.job import Job, run_job
from barwise.pipeline.view import PlannedStage, Tick
from barwise.report.findings import RunFindings, StageDone
from barwise.report.multi_files import write_multi
from barwise.report.run_comparison import compare
from barwise.result import BacktestResult, Trade
from barwise.story import replay, story_of, told
from barwise.strategy.indicators import ema, rsi
from barwise.trail import Trail, read
from tests.command_line import BREAKOUT

SEARCH = OptimizationConfig(profile="FAST", optuna_sampler="AUTO", num_trials=24, workers=1)
WINDOWS = WalkForwardConfig(is_length_days=20, oos_length_days=10, stride_days=10, min_trades_per_window=1)
SPAN = RunSettings(
    start="2024-01-01", end="2024-04-01", values={"enable_rsi_filter": "false", "trailing_sl_threshold": "0.005"}
)
BACKTESTS = ("baseline", "optimized")
PARTS = (*BACKTESTS, "out_of_sample")
MULTI = "run-multi-0a1b2c3d"
HOST = "http://127.0.0.1:8765"


class Silent:
    """A view that listens to nothing."""

    def planned(self, stages: tuple[PlannedStage, ...]) -> None: ...
    def begun(self, number: str, name: str, market: str) -> None: ...
    def tick(self, tick: Tick) -> None: ...
    def finding(self, text: str) -> None: ...
    def done(self, stage: StageDone) -> None: ...


class Finished(NamedTuple):
    """A home folder with one run of everything and one of each single command, and what the run found."""

    home: Path
    name: str
    findings: RunFindings
    alone: dict[str, str]

    def result(self, part: str) -> BacktestResult:
        if part == "baseline":
            return self.findings.baseline
        assert self.findings.optimization is not None
        return self.findings.optimization.best

    def trades(self, part: str) -> list[tuple[int | None, Trade]]:
        if part != "out_of_sample":
            return [(None, trade) for trade in self.result(part).trades]
        pieces = compare(self.findings).parts[part].results
        return [(number, trade) for number, piece in enumerate(pieces, 1) for trade in piece.trades]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    home = tmp_path_factory.mktemp("home")
    span = ["--start", "2024-01-01", "--end", "2024-03-01", "--home", str(home), "--quiet"]
    small = ["--set", "optimization.num_trials=12", "--set", "optimization.workers=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARWISE_HOME", str(home))
        outcome = run_job(Job(SPAN, SEARCH, WINDOWS, 19, {}, "# settings\n"), home, Silent())
        assert outcome is not None
        write_multi(MULTI, outcome.findings, home)
        before = set(Results(home).names())
        alone = {}
        for kind, words in (
            ("backtest", ["backtest", *span]),
            ("optimization", ["optimize", *span, *small]),
            ("walk_forward", ["walk-forward", *span, *small, "--set", "walk_forward.is_length_days=20",
                              "--set", "walk_forward.oos_length_days=10", "--set", "walk_forward.stride_days=10"]),
        ):  # fmt: skip
            assert main(words) == 0
            [alone[kind]] = set(Results(home).names()) - before
            before |= {alone[kind]}
    return Finished(home, outcome.name, outcome.findings[0], alone)


@pytest.fixture(scope="module")
def client(finished: Finished) -> Iterator[FlaskClient]:
    app = create_app(DashboardConfig(finished.home))
    yield app.test_client()
    app.extensions["barwise"].close()


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Finished:
    """The same in a folder of its own, to change things in."""
    shutil.copytree(finished.home / "data", tmp_path / "data")
    return finished._replace(home=tmp_path)


def ask(client: FlaskClient, path: str, status: int = 200, **query: Any) -> Any:
    """A JSON answer, which must be what its endpoint declares where it is one."""
    answer = client.get(PREFIX + path, base_url=HOST, query_string=query)
    content = json.loads(answer.data)
    assert answer.status_code == status, content
    return content


def ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)


# -- Lists and documents -----------------------------------------------------------------------------------------------


class TestRuns:
    def test_the_row_of_a_run_has_the_figures_that_it_found(self, client: FlaskClient, finished: Finished) -> None:
        row = next(row for row in ask(client, "/runs")["runs"] if row["name"] == finished.name)
        baseline, optimized = (finished.result(part) for part in BACKTESTS)
        assert row["metrics"]["baseline"] == {
            "sharpe_ratio": baseline.sharpe_ratio, "total_return": baseline.total_return,
            "max_drawdown": baseline.max_drawdown, "trades": baseline.total_trades,
        }  # fmt: skip
        assert row["metrics"]["optimized"]["sharpe_ratio"] == optimized.sharpe_ratio
        assert row["metrics"]["out_of_sample"]["trades"] == len(finished.trades("out_of_sample"))
        assert row["market"] == {"exchange": "SAMPLE", "symbol": "SAMPLE-BTC", "timeframe": "1H", "synthetic": True}
        assert (row["kind"], row["state"], row["verdict"]) == ("run", "done", finished.findings.verdict)
        time = baseline.candles.time
        assert (row["bars"], row["first_ms"], row["last_ms"]) == (len(time), time[0], time[-1])
        assert row["begun_ms"] < row["ended_ms"]

    def test_runs_of_every_kind_are_listed_the_newest_first(self, client: FlaskClient, finished: Finished) -> None:
        rows = ask(client, "/runs")["runs"]
        kinds = {row["name"]: row["kind"] for row in rows}
        alone = {name: kind for kind, name in finished.alone.items()}
        assert kinds == {finished.name: "run", MULTI: "multi", **alone}
        begun = [row["begun_ms"] for row in rows]
        assert begun == sorted(begun, reverse=True)

    def test_a_run_over_several_markets_has_the_figures_of_equal_weight_and_its_verdicts(
        self, copied: Finished
    ) -> None:
        path = copied.home / "data" / "results" / f"{MULTI}.json"
        document = json.loads(path.read_text("utf-8"))
        [own] = document["markets"]
        other = own | {
            "label": "ETH 4H", "timeframe": "4H", "synthetic": False, "first_ms": own["first_ms"] - 5,
            "last_ms": own["last_ms"] - 5, "out_of_sample": None, "optimized": own["optimized"] | {"total_trades": 7},
        }  # fmt: skip
        weighted = {"sharpe_ratio": 0.5, "total_return": -1.5, "max_drawdown": 2.5, "volatility": 9.0}
        document |= {
            "markets": [own, other],
            "verdicts": {"UNPROVEN": 1, "LIKELY OVERFIT": 1},
            "portfolios": {
                "baseline": {"markets": [own["label"]], "rebalanced": weighted},
                "optimized": {"markets": [own["label"], "ETH 4H"], "rebalanced": weighted},
                "out_of_sample": {"markets": [own["label"]], "rebalanced": None},
            },
        }
        path.write_text(json.dumps(document), "utf-8")
        row = next(one for one in Results(copied.home).rows() if one["name"] == MULTI)
        figures = {"sharpe_ratio": 0.5, "total_return": -1.5, "max_drawdown": 2.5}
        assert row["metrics"] == {
            "baseline": figures | {"trades": own["baseline"]["total_trades"]},
            "optimized": figures | {"trades": own["optimized"]["total_trades"] + 7},
            "out_of_sample": None,
        }
        assert (row["markets"], row["labels"]) == (2, [own["label"], "ETH 4H"])
        assert (row["verdict"], row["verdicts"]) == (None, {"UNPROVEN": 1, "LIKELY OVERFIT": 1})
        assert row["market"] == {"exchange": "SAMPLE", "symbol": "", "timeframe": "", "synthetic": True}
        assert (row["first_ms"], row["last_ms"]) == (own["first_ms"] - 5, own["last_ms"])

    def test_a_run_over_several_markets_that_is_not_done_has_no_document(self, tmp_path: Path) -> None:
        path = trail_of(tmp_path, "run_begun", name=MULTI)
        with Trail(path, run=MULTI) as trail:
            trail.say("markets", markets=[{"label": "A", "run": "run-a"}, {"label": "B", "run": "run-b"}])
        app = create_app(DashboardConfig(tmp_path))
        [row] = ask(app.test_client(), "/runs")["runs"]
        error = ask(app.test_client(), f"/multi/{MULTI}", 404)["error"]
        app.extensions["barwise"].close()
        assert (row["kind"], row["markets"], row["verdicts"]) == ("multi", 2, {})
        assert "no document yet" in error["message"]

    def test_a_home_folder_without_runs_has_an_empty_list(self, tmp_path: Path) -> None:
        app = create_app(DashboardConfig(tmp_path))
        assert ask(app.test_client(), "/runs") == {"runs": []}
        app.extensions["barwise"].close()

    def test_a_run_is_its_document_with_its_state_and_parts(self, client: FlaskClient, finished: Finished) -> None:
        written = json.loads((finished.home / "data" / "results" / f"{finished.name}.json").read_text("utf-8"))
        assert ask(client, f"/runs/{finished.name}") == written | {"state": "done", "parts": list(PARTS)}

    def test_a_single_backtest_is_told_without_its_bars(self, client: FlaskClient, finished: Finished) -> None:
        found = ask(client, f"/runs/{finished.alone['backtest']}")
        assert (found["kind"], found["parts"]) == ("backtest", ["baseline"])
        assert found["metrics"]["total_trades"] > 0
        assert not found.keys() & {"equity", "trades", "programs"}

    def test_a_run_over_several_markets_has_a_path_of_its_own(self, client: FlaskClient, finished: Finished) -> None:
        found = ask(client, f"/multi/{MULTI}")
        assert (found["name"], found["kind"], found["state"]) == (MULTI, "multi", "done")
        assert [market["run"] for market in found["markets"]] == [finished.name]
        assert "no run over several markets" in ask(client, f"/multi/{finished.name}", 404)["error"]["message"]

    @pytest.mark.parametrize("name", ["nothing", "..", "...", "%2e%2e", ".audit", "a" * 200, "run sample", "run\\x"])
    def test_a_name_that_no_run_has_is_not_found(self, client: FlaskClient, name: str) -> None:
        for path in ("", "/equity", "/candles", "/overlays", "/trades", "/statistics", "/trail", "/log"):
            answer = client.get(f"{PREFIX}/runs/{name}{path}", base_url=HOST)
            assert answer.status_code == 404

    def test_the_nearest_name_is_told(self, client: FlaskClient, finished: Finished) -> None:
        error = ask(client, f"/runs/{finished.name[:-1]}", 404)["error"]
        assert finished.name in error["message"]

    def test_every_answer_is_what_its_schema_says(self, client: FlaskClient, finished: Finished) -> None:
        tried = 0
        for endpoint in endpoints.all:
            if endpoint.path.endswith(".csv"):
                continue
            names = [MULTI] if endpoint.path.startswith("/multi") else [finished.name, *finished.alone.values(), MULTI]
            with_part = endpoint.query is not None and "part" in endpoint.query.model_fields
            for name in names:
                for query in [{"part": part} for part in PARTS] if with_part else [{}]:
                    path = endpoint.path.replace("<name>", name).replace("<part>", "baseline")
                    path = path.replace("<int:trade>", "0")
                    answer = client.get(PREFIX + path, base_url=HOST, query_string=query)
                    if answer.status_code == 404 and name != finished.name:
                        continue  # what this kind of run does not have
                    assert answer.status_code == 200, (path, answer.data)
                    validator = import_module("jsonschema").Draft202012Validator(endpoint.answers)
                    validator.validate(json.loads(answer.data))
                    tried += 1
        assert tried > 30


# -- Charts ------------------------------------------------------------------------------------------------------------


class TestEquity:
    def test_every_curve_is_the_librarys_own_to_the_bit(self, client: FlaskClient, finished: Finished) -> None:
        series = {one["part"]: one for one in ask(client, f"/runs/{finished.name}/equity", points=20_000)["series"]}
        parts = compare(finished.findings).parts
        assert list(series) == list(parts)
        for name, part in parts.items():
            assert series[name]["time"] == part.times.tolist()
            assert series[name]["equity"] == part.equity.tolist()
            assert series[name]["drawdown"] == (-part.drawdown).tolist()

    def test_without_its_table_the_curve_is_that_of_the_backtest_done_again(self, copied: Finished) -> None:
        before = Results(copied.home).curves(copied.name)
        (copied.home / "data" / "exports" / f"{copied.name}-equity.csv").unlink()
        after = Results(copied.home).curves(copied.name)
        assert sorted(after) == ["baseline", "buy_and_hold", "optimized"]
        for part, curve in after.items():
            assert all(np.array_equal(own, other) for own, other in zip(curve, before[part], strict=True))

    def test_a_single_backtest_has_its_own_curve_and_the_market(self, finished: Finished) -> None:
        results = Results(finished.home)
        found, result = results.curves(finished.alone["backtest"]), None
        result = results.backtest(finished.alone["backtest"], "baseline")
        assert np.array_equal(found["baseline"].equity, result.equity_curve)
        assert np.array_equal(found["baseline"].drawdown, result.drawdown_curve)
        closes = result.candles.close[result.trade_from :]
        held = result.initial_capital * closes / closes[0]
        assert np.array_equal(found["buy_and_hold"].equity, held)
        assert np.array_equal(found["buy_and_hold"].drawdown, drawdown_curve(held, result.initial_capital))

    def test_a_walk_forward_that_begins_with_a_loss_is_below_its_capital_from_the_start(self, tmp_path: Path) -> None:
        table = tmp_path / "equity.csv"
        table.write_text(
            "bar_open (UTC),baseline equity at close (quote),out_of_sample equity at close (quote)\n"
            "2024-01-01T00:00:00Z,80,\n2024-01-01T01:00:00Z,120,90\n2024-01-01T02:00:00Z,60,75\n",
            "utf-8",
        )
        found = read_curves(table, "1H", 100.0)
        assert found["baseline"].drawdown.tolist() == [0.0, 0.0, 50.0]
        assert found["out_of_sample"].drawdown.tolist() == [10.0, 25.0]
        assert found["out_of_sample"].time.tolist() == [1_704_074_400_000, 1_704_078_000_000]

    def test_a_thinned_curve_has_fewer_points_and_every_extreme(self, client: FlaskClient, finished: Finished) -> None:
        [found] = ask(client, f"/runs/{finished.name}/equity", parts="baseline", points=50)["series"]
        curve = finished.findings.baseline.equity_curve
        assert len(found["time"]) <= 50
        assert found["bars"] == len(curve)
        assert (found["equity"][0], found["equity"][-1]) == (curve[0], curve[-1])
        assert (min(found["equity"]), max(found["equity"])) == (curve.min(), curve.max())
        assert min(found["drawdown"]) == -finished.findings.baseline.max_drawdown

    def test_a_span_has_the_closes_within_it(self, client: FlaskClient, finished: Finished) -> None:
        [whole] = ask(client, f"/runs/{finished.name}/equity", parts="baseline", points=20_000)["series"]
        start, end = whole["time"][100], whole["time"][150]
        query = {"parts": "baseline", "start": start, "end": end}
        [found] = ask(client, f"/runs/{finished.name}/equity", **query)["series"]
        assert found["time"] == whole["time"][100:150]
        assert found["equity"] == whole["equity"][100:150]

    def test_an_unknown_curve_is_an_error_with_the_nearest_name(self, client: FlaskClient, finished: Finished) -> None:
        error = ask(client, f"/runs/{finished.name}/equity", 400, parts="baseline,optimised")["error"]
        assert "Did you mean optimized?" in error["message"]


class TestCandles:
    @pytest.mark.parametrize("part", BACKTESTS)
    def test_bars_and_lines_are_the_librarys_own_to_the_bit(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        found = ask(client, f"/runs/{finished.name}/candles", part=part, points=20_000)
        result = finished.result(part)
        candles, strategy = result.candles, result.strategy
        assert found["timeframe"] == "1H"
        assert found["time"] == candles.time.tolist()
        for name in ("open", "high", "low", "close", "volume"):
            assert found[name] == getattr(candles, name).tolist()
        expected: dict[str, Any] = {
            name: ema(candles.close, getattr(strategy, name)) for name in ("ema_fast", "ema_slow", "ema_trend")
        }
        expected |= {"vwap": result.plan.vwap, "atr": result.plan.risk}
        assert found["lines"].keys() == expected.keys()
        for name, line in expected.items():
            assert found["lines"][name] == [None if np.isnan(value) else value for value in line.tolist()]

    def test_the_part_by_default_is_the_one_that_the_run_ended_with(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        assert finished.result("baseline").strategy != finished.result("optimized").strategy
        path = f"/runs/{finished.name}/candles"
        assert ask(client, path)["lines"] == ask(client, path, part="optimized")["lines"]

    def test_a_zoom_has_the_candles_of_its_span_only(self, client: FlaskClient, finished: Finished) -> None:
        time = finished.findings.baseline.candles.time
        query = {"start": int(time[300]), "end": int(time[400]), "points": 50}
        found = ask(client, f"/runs/{finished.name}/candles", **query)
        assert (found["timeframe"], found["bars_shown"]) == ("2H", 50)
        high = finished.findings.baseline.candles.high[300:400]
        assert found["high"] == high.reshape(50, 2).max(axis=1).tolist()

    def test_candles_of_the_walk_forward_have_no_lines(self, client: FlaskClient, finished: Finished) -> None:
        found = ask(client, f"/runs/{finished.name}/candles", part="out_of_sample", points=20_000)
        assert found["close"] == finished.findings.baseline.candles.close.tolist()
        assert found["lines"] == {}

    def test_the_rsi_is_there_where_the_strategy_looks_at_it(self, client: FlaskClient, finished: Finished) -> None:
        name = finished.alone["backtest"]
        result = Results(finished.home).backtest(name, "baseline")
        found = ask(client, f"/runs/{name}/candles", points=100)
        line = rsi(result.candles.close, result.strategy.to_dict()["rsi_period"])
        assert found["bars_shown"] < len(line)
        lows = [value for value in found["ranges"]["rsi"]["low"] if value is not None]
        assert min(lows) == np.nanmin(line)


class TestOverlays:
    def test_trades_that_are_open_within_the_span_are_drawn_and_no_others(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        trades = finished.findings.baseline.trades
        start, end = ms(trades[3].exit_time), ms(trades[7].entry_time)
        path = f"/runs/{finished.name}/overlays"
        found = ask(client, path, part="baseline", start=start, end=end)
        expected = [one.trade_id for one in trades if ms(one.exit_time) >= start and ms(one.entry_time) < end]
        assert [trade["trade_id"] for trade in found["trades"]] == expected == [3, 4, 5, 6]
        assert found["omitted"] == 0

    @pytest.mark.parametrize("part", PARTS)
    def test_fills_are_the_librarys_own(self, client: FlaskClient, finished: Finished, part: str) -> None:
        found = ask(client, f"/runs/{finished.name}/overlays", part=part, most=2_000)
        fills = [(piece, trade, fill) for piece, trade in finished.trades(part) for fill in trade.fills]
        expected = [
            {
                "piece": piece, "trade_id": trade.trade_id, "program_id": trade.program_id, "side": trade.side,
                "time": ms(fill.time), "tier": fill.tier, "price": fill.price, "quantity": fill.quantity,
                "fee": fill.fee, "liquidity": fill.liquidity,
            }
            for piece, trade, fill in fills
        ]  # fmt: skip
        assert found["fills"] == expected

    def test_a_stop_begins_at_its_initial_risk_and_ends_at_the_exit(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        found = ask(client, f"/runs/{finished.name}/overlays", part="baseline")
        assert found["levels"]
        trailed = 0
        for drawn, trade in zip(found["trades"], finished.findings.baseline.trades, strict=True):
            side = 1.0 if trade.side == "long" else -1.0
            (first, stop), (last, level) = drawn["stops"][0], drawn["stops"][-1]
            assert first == ms(trade.entry_time)
            if len(trade.fills) == 1:
                assert side * (trade.entry_price - stop) == pytest.approx(trade.initial_risk)
            assert last <= ms(trade.exit_time)
            times = [time for time, _ in drawn["stops"]]
            assert times == sorted(times)
            if trade.exit_reason == "trailing_stop":
                trailed += 1
                assert side * (level - stop) > 0.0
                assert drawn["trailing_from"] <= ms(trade.exit_time)
        assert trailed

    def test_a_trail_is_drawn_from_the_bar_after_the_one_that_moved_it(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        result = finished.findings.baseline
        trade = next(one for one in result.trades if one.exit_reason == "trailing_stop")
        moved = next(level for level in replay(result, trade.program_id).levels if level.cause == "trailing_stop")
        found = ask(client, f"/runs/{finished.name}/overlays", part="baseline")["trades"][trade.trade_id]
        assert found["trailing_from"] == int(result.candles.time[moved.bar + 1])

    def test_a_program_waits_at_the_limits_that_its_story_tells(self, client: FlaskClient, finished: Finished) -> None:
        result = finished.findings.baseline
        found = ask(client, f"/runs/{finished.name}/overlays", part="baseline")
        assert {program["program_id"] for program in found["programs"]} == set(range(len(result.programs)))
        for trade in result.trades[:5]:
            steps = story_of(result, trade.trade_id)["entry"]["steps"]
            program = found["programs"][trade.program_id]
            assert [order[1:] for order in program["orders"]] == [[step["tier"], step["limit"]] for step in steps]
            assert program["trade_id"] == trade.trade_id

    def test_of_more_trades_than_asked_for_an_even_choice_is_sent(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        count = len(finished.findings.baseline.trades)
        found = ask(client, f"/runs/{finished.name}/overlays", part="baseline", most=5)
        chosen = [trade["trade_id"] for trade in found["trades"]]
        assert len(chosen) == 5
        assert (chosen[0], chosen[-1]) == (0, count - 1)
        assert found["omitted"] == count - 5


# -- Trades ------------------------------------------------------------------------------------------------------------


class TestTrades:
    @pytest.mark.parametrize("part", PARTS)
    def test_all_trades_are_the_librarys_own_to_the_bit(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        found = ask(client, f"/runs/{finished.name}/trades", part=part, limit=5_000)
        expected = finished.trades(part)
        assert found["total"] == len(expected) > 0
        for row, (piece, trade) in zip(found["trades"], expected, strict=True):
            assert row["piece"] == piece
            assert (row["entry_time"], row["exit_time"]) == (ms(trade.entry_time), ms(trade.exit_time))
            assert row["r"] == trade.net_pnl / (trade.initial_risk * trade.quantity)
            for name in (
                "trade_id", "program_id", "side", "entry_price", "exit_price", "quantity", "exit_reason", "gross_pnl",
                "fees", "slippage", "funding", "net_pnl", "bars_held", "mfe", "mae", "initial_risk", "ambiguous",
            ):  # fmt: skip
                assert row[name] == trade[name]

    @pytest.mark.parametrize(
        ("query", "keeps"),
        [
            ({"side": "short"}, lambda trade: trade.side == "short"),
            ({"reason": "stop_loss"}, lambda trade: trade.exit_reason == "stop_loss"),
            ({"result": "win"}, lambda trade: trade.net_pnl > 0.0),
            ({"result": "loss", "side": "long"}, lambda trade: trade.net_pnl < 0.0 and trade.side == "long"),
            ({"tier": 2}, lambda trade: any(fill.tier == 2 for fill in trade.fills)),
        ],
    )
    def test_a_filter_keeps_what_it_says(
        self, client: FlaskClient, finished: Finished, query: dict[str, Any], keeps: Any
    ) -> None:
        for part in PARTS:
            expected = [(piece, trade.trade_id) for piece, trade in finished.trades(part) if keeps(trade)]
            found = ask(client, f"/runs/{finished.name}/trades", part=part, limit=5_000, **query)
            assert [(row["piece"], row["trade_id"]) for row in found["trades"]] == expected

    def test_a_span_is_that_of_the_entries(self, client: FlaskClient, finished: Finished) -> None:
        trades = finished.findings.baseline.trades
        query: dict[str, Any] = {"part": "baseline", "start": ms(trades[2].entry_time), "end": ms(trades[5].entry_time)}
        found = ask(client, f"/runs/{finished.name}/trades", **query)
        assert [row["trade_id"] for row in found["trades"]] == [2, 3, 4]

    def test_trades_are_sorted_and_paged_on_the_server(self, client: FlaskClient, finished: Finished) -> None:
        best = sorted(finished.findings.baseline.trades, key=lambda trade: -trade.net_pnl)
        query: dict[str, Any] = {"part": "baseline", "sort": "net_pnl", "order": "desc", "offset": 2, "limit": 3}
        found = ask(client, f"/runs/{finished.name}/trades", **query)
        assert [row["trade_id"] for row in found["trades"]] == [trade.trade_id for trade in best[2:5]]
        assert found["total"] == len(best)

    @pytest.mark.parametrize("column", get_args(Column))
    def test_every_column_can_be_sorted_by(self, client: FlaskClient, finished: Finished, column: str) -> None:
        rows = ask(client, f"/runs/{finished.name}/trades", part="baseline", sort=column)["trades"]
        values = [row[column] for row in rows]
        assert values == sorted(values)

    def test_every_way_to_leave_a_position_can_be_asked_for(self) -> None:
        assert set(get_args(Reason)) == {reason.name.lower() for reason in Exit}

    @pytest.mark.parametrize("part", PARTS)
    def test_the_csv_has_the_rows_of_the_table_of_the_run(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        answer = client.get(f"{PREFIX}/runs/{finished.name}/trades.csv", base_url=HOST, query_string={"part": part})
        assert answer.mimetype == "text/csv"
        assert f'filename="{finished.name}-{part}-trades.csv"' in answer.headers["Content-Disposition"]
        text = (finished.home / "data" / "exports" / f"{finished.name}-trades.csv").read_text("utf-8")
        header, *rows = csv.reader(io.StringIO(text))
        assert list(csv.reader(io.StringIO(answer.text))) == [header, *(row for row in rows if row[0] == part)]

    def test_the_csv_is_filtered_and_sorted_like_the_list(self, client: FlaskClient, finished: Finished) -> None:
        query = {"part": "baseline", "side": "long", "sort": "net_pnl", "order": "asc"}
        answer = client.get(f"{PREFIX}/runs/{finished.name}/trades.csv", base_url=HOST, query_string=query)
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        longs = [trade for trade in finished.findings.baseline.trades if trade.side == "long"]
        longs.sort(key=lambda trade: trade.net_pnl)
        assert [int(row["trade_id"]) for row in rows] == [trade.trade_id for trade in longs]

    def test_a_name_that_is_a_formula_is_none_in_the_csv(self, tmp_path: Path) -> None:
        file = tmp_path / "odd.csv"
        write_candles(sample_candles(start="2024-01-01", end="2024-03-01"), file)
        words = ["backtest", "--file", str(file), "--symbol", "=1+1", "--exchange", "", "--timeframe", "1H"]
        assert main([*words, "--home", str(tmp_path), "--quiet"]) == 0
        [name] = Results(tmp_path).names()
        app = create_app(DashboardConfig(tmp_path))
        answer = app.test_client().get(f"{PREFIX}/runs/{name}/trades.csv", base_url=HOST)
        app.extensions["barwise"].close()
        symbols = {row["symbol"] for row in csv.DictReader(io.StringIO(answer.text))}
        assert symbols == {"'=1+1"}

    @pytest.mark.parametrize(
        "query",
        [
            {"part": "best"}, {"side": "flat"}, {"sort": "colour"}, {"limit": 0}, {"limit": 5_001}, {"offset": -1},
            {"start": "yesterday"}, {"tier": 6}, {"colour": "red"}, {"end": 10**16},
        ],
    )  # fmt: skip
    def test_a_filter_that_cannot_be_is_an_error(
        self, client: FlaskClient, finished: Finished, query: dict[str, Any]
    ) -> None:
        assert ask(client, f"/runs/{finished.name}/trades", 400, **query)["error"]["kind"] == "ConfigError"


class TestStory:
    @pytest.mark.parametrize("part", BACKTESTS)
    def test_a_story_is_the_one_that_the_command_line_tells(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        expected = story_of(finished.result(part), 2)
        found = ask(client, f"/runs/{finished.name}/trades/{part}/2/story")
        assert found == {"story": expected, "lines": told(expected)}

    def test_a_trade_that_is_not_there_is_not_found(self, client: FlaskClient, finished: Finished) -> None:
        count = len(finished.findings.baseline.trades)
        error = ask(client, f"/runs/{finished.name}/trades/baseline/{count}/story", 404)["error"]
        assert f"trades 0 to {count - 1}" in error["message"]

    @pytest.mark.parametrize("part", ["out_of_sample", "best"])
    def test_a_part_without_a_manifest_has_no_stories(self, client: FlaskClient, finished: Finished, part: str) -> None:
        error = ask(client, f"/runs/{finished.name}/trades/{part}/0/story", 404)["error"]
        assert "baseline" in error["hint"]


# -- Statistics --------------------------------------------------------------------------------------------------------


class TestStatistics:
    @pytest.mark.parametrize("part", BACKTESTS)
    def test_a_backtest_is_told_in_the_librarys_own_numbers(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        found, result = ask(client, f"/runs/{finished.name}/statistics", part=part), finished.result(part)
        metrics = result.metrics
        assert [row["return"] for row in found["monthly"]] == [row["percent"] for row in metrics["monthly_returns"]]
        assert found["tiers"] == result.tier_statistics
        assert found["programs"] == result.program_totals
        assert found["band"] == {name: result.band[name] for name in ("worst", "path", "best", "ambiguous_trades")}
        assert {row.pop("reason"): row for row in found["exits"]} == metrics["by_exit_reason"]
        assert [row for row in found["sides"] if row.pop("side")] == [metrics["long"], metrics["short"]]

    @pytest.mark.parametrize("part", PARTS)
    def test_every_view_of_the_trades_adds_up_to_all_of_them(
        self, client: FlaskClient, finished: Finished, part: str
    ) -> None:
        found = ask(client, f"/runs/{finished.name}/statistics", part=part)
        trades = [trade for _, trade in finished.trades(part)]
        net = sum(trade.net_pnl for trade in trades)
        assert len(found["distribution"]["edges"]) == len(found["distribution"]["counts"]) + 1
        for counted in (found["distribution"]["counts"], [row["trades"] for row in found["hourly"]]):
            assert sum(counted) == len(trades)
        assert sum(row["trades"] for row in found["exits"]) == len(trades)
        for amounts in ([row["net"] for row in found["hourly"]], [row["net_pnl"] for row in found["exits"]]):
            assert sum(amounts) == pytest.approx(net)
        assert found["costs"][-1]["amount"] == pytest.approx(net)
        steps = [row["amount"] for row in found["costs"] if not row["is_total"]]
        assert found["costs"][0]["amount"] + sum(steps) == pytest.approx(net)
        assert [row["mfe"] for row in found["excursions"]] == [trade.mfe for trade in trades]
        entered = {(trade.entry_time.weekday(), trade.entry_time.hour) for trade in trades}
        assert {(row["weekday"], row["hour"]) for row in found["hourly"]} == entered

    def test_a_bin_counts_the_trades_between_its_edges(self, client: FlaskClient, finished: Finished) -> None:
        found = ask(client, f"/runs/{finished.name}/statistics", part="baseline")["distribution"]
        assert found["unit"] == "R"
        results = [one.net_pnl / (one.initial_risk * one.quantity) for one in finished.findings.baseline.trades]
        counted = np.histogram(results, found["edges"])[0]
        assert found["counts"] == counted.tolist()

    def test_the_months_of_the_walk_forward_compound_to_its_return(
        self, client: FlaskClient, finished: Finished
    ) -> None:
        found = ask(client, f"/runs/{finished.name}/statistics", part="out_of_sample")
        part = compare(finished.findings).parts["out_of_sample"]
        growth = np.prod([1.0 + row["return"] / 100.0 for row in found["monthly"]])
        assert growth == pytest.approx(part.equity[-1] / part.capital, rel=1e-12)
        wins = dict.fromkeys(("long", "short"), 0)
        for _, trade in finished.trades("out_of_sample"):
            wins[trade.side] += trade.net_pnl > 0.0
        assert {row["side"]: row["wins"] for row in found["sides"]} == wins


# -- Trail and log -----------------------------------------------------------------------------------------------------


class TestTrail:
    def test_pages_of_the_trail_make_the_whole_trail(self, client: FlaskClient, finished: Finished) -> None:
        expected = list(read(finished.home / "data" / "results" / f"{finished.name}.audit.jsonl"))
        found: list[dict[str, Any]] = []
        after, more = -1, True
        while more:
            page = ask(client, f"/runs/{finished.name}/trail", after=after, limit=100)
            assert len(page["lines"]) <= 100
            found += page["lines"]
            after, more = page["last_seq"], page["more"]
        assert found == expected
        end = ask(client, f"/runs/{finished.name}/trail", after=after)
        assert end == {"lines": [], "last_seq": after, "more": False}

    def test_kinds_of_lines_can_be_asked_for(self, client: FlaskClient, finished: Finished) -> None:
        lines = ask(client, f"/runs/{finished.name}/trail", kinds="verdict, run_done")["lines"]
        assert [line["kind"] for line in lines] == ["verdict", "run_done"]
        error = ask(client, f"/runs/{finished.name}/trail", 400, kinds="verdikt")["error"]
        assert "Did you mean verdict?" in error["message"]

    def test_a_run_without_a_trail_says_so(self, client: FlaskClient, finished: Finished) -> None:
        error = ask(client, f"/runs/{finished.alone['backtest']}/trail", 404)["error"]
        assert "no audit trail" in error["message"]

    def test_the_log_has_the_lines_of_this_run_in_order_of_time(self, copied: Finished) -> None:
        def line(second: int, run: str | None, message: str) -> str:
            said = {"time": f"2025-04-01T12:00:{second:02}+00:00", "level": "INFO", "message": message}
            return json.dumps(said | ({} if run is None else {"run": run})) + "\n"

        logs = copied.home / "logs"
        logs.mkdir()
        own = copied.name
        (logs / "backtest_engine.log.1").write_text(line(1, own, "first"), "utf-8")
        (logs / "backtest_engine.log").write_text(
            line(3, own, "third api_key=abcdef123456") + line(4, f"{own}x", "of another") + line(5, None, own) + "torn",
            "utf-8",
        )
        (logs / "optimization_engine.log").write_text(line(2, own, "second") + line(6, own, "sixth"), "utf-8")
        (logs / "error.log").write_text(line(6, own, "sixth"), "utf-8")
        app = create_app(DashboardConfig(copied.home))
        found = ask(app.test_client(), f"/runs/{own}/log")["lines"]
        last = ask(app.test_client(), f"/runs/{own}/log", lines=2)["lines"]
        app.extensions["barwise"].close()
        assert [one["message"] for one in found] == ["first", "second", "third api_key=***", "sixth"]
        assert found[0]["time"] == 1_743_508_801_000
        assert last == found[-2:]

    def test_the_log_of_a_run_of_the_page_is_what_its_job_said_at_the_times_of_the_trail(
        self, copied: Finished
    ) -> None:
        own = copied.name
        ended = {
            line["name"]: round(datetime.fromisoformat(line["time"]).timestamp() * 1000)
            for line in read(copied.home / "data" / "results" / f"{own}.audit.jsonl", {"stage_done"})
        }
        began = ended["look-ahead"] - 5_000
        job_of(
            copied.home, began, [own],
            {"event": "stage_done", "number": "1", "name": "credentials", "text": "none is needed", "market": ""},
            {"event": "progress", "number": "5", "name": "look-ahead", "done": 1, "total": 2, "market": ""},
            {"event": "stage_done", "number": "5", "name": "look-ahead", "text": "none found", "market": ""},
            "/lib/x.py:1: UserWarning: api_key=abcdef123456",
            {"event": "stage_done", "number": "7.1", "name": "integers", "text": "12 trials", "state": "kept"},
            {"event": "finding", "text": "the data have a gap"},
            {"error": {"kind": "DataError", "message": "no bars.", "hint": "fetch some."}},
            {"event": "result", "name": own},
        )  # fmt: skip
        app = create_app(DashboardConfig(copied.home))
        found = ask(app.test_client(), f"/runs/{own}/log")
        last = ask(app.test_client(), f"/runs/{own}/log", lines=1)["lines"]
        app.extensions["barwise"].close()
        assert [(line["time"], line["level"], line["message"]) for line in found["lines"]] == [
            (began, "INFO", "stage 1, credentials: none is needed"),
            (ended["look-ahead"], "INFO", "stage 5, look-ahead: none found"),
            (ended["look-ahead"], "WARNING", "/lib/x.py:1: UserWarning: api_key=***"),
            (ended["integers"], "INFO", "stage 7.1, integers: 12 trials, kept from before"),
            (ended["integers"], "INFO", "the data have a gap"),
            (ended["integers"], "ERROR", "no bars. fetch some."),
        ]
        assert found["sources"] == ["logs/jobs/job-0123456789ab.jsonl"]
        assert last == found["lines"][-1:]

    def test_a_warning_that_stands_in_a_log_file_is_not_told_twice(self, copied: Finished) -> None:
        own = copied.name
        job_of(copied.home, 0, [own], "warning: the clock is off", "another")
        line = {"time": "2025-04-01T12:00:01+00:00", "level": "WARNING", "message": "the clock is off", "run": own}
        (copied.home / "logs" / "backtest_engine.log").write_text(json.dumps(line) + "\n", "utf-8")
        app = create_app(DashboardConfig(copied.home))
        found = ask(app.test_client(), f"/runs/{own}/log")
        app.extensions["barwise"].close()
        assert [one["message"] for one in found["lines"]] == ["another", "the clock is off"]
        assert found["sources"] == ["logs/jobs/job-0123456789ab.jsonl", "logs/backtest_engine.log"]

    def test_of_a_job_over_several_markets_each_run_is_told_what_is_its_own(self, copied: Finished) -> None:
        own = copied.name
        row = next(one for one in Results(copied.home).rows() if one["name"] == own)
        label = " ".join(row["market"][part] for part in ("exchange", "symbol", "timeframe"))
        job_of(
            copied.home, 0, [MULTI, own, "run-other-1h-00000000"],
            {"event": "stage_done", "number": "3", "name": "input", "text": "for all", "market": ""},
            {"event": "stage_done", "number": "5", "name": "baseline", "text": "own", "market": label},
            {"event": "stage_done", "number": "5", "name": "baseline", "text": "other", "market": "SAMPLE OTHER 1H"},
        )  # fmt: skip
        app = create_app(DashboardConfig(copied.home))
        told = {
            name: [one["message"].rpartition(": ")[2] for one in ask(app.test_client(), f"/runs/{name}/log")["lines"]]
            for name in (own, MULTI)
        }
        app.extensions["barwise"].close()
        assert told == {own: ["for all", "own"], MULTI: ["for all", "own", "other"]}


def job_of(home: Path, began_ms: int, runs: list[str], *said: Mapping[str, Any] | str) -> None:
    """A job that has ended, with what it said."""
    job = "job-0123456789ab"
    record = {
        "job": job, "pid": 1, "began_ms": began_ms, "ended_ms": began_ms + 60_000, "runs": runs, "state": "done",
        "stopping": False, "error": None,
    }  # fmt: skip
    (home / "data" / "jobs").mkdir()
    (home / "data" / "jobs" / f"{job}.json").write_text(json.dumps(record), "utf-8")
    (home / "logs" / "jobs").mkdir(parents=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in said]
    (home / "logs" / "jobs" / f"{job}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


# -- How runs stand ----------------------------------------------------------------------------------------------------

NAME = "run-sample-btc-1h-00112233"


def trail_of(home: Path, *kinds: str, name: str = NAME) -> Path:
    """A trail that says these things."""
    path = home / "data" / "results" / f"{name}.audit.jsonl"
    with Trail(path, run=name) as trail:
        for kind in kinds:
            trail.say(kind)
    return path


class TestStates:
    @pytest.mark.parametrize(
        ("kinds", "state"),
        [
            (("run_begun", "run_done"), "done"),
            (("run_begun", "interrupted"), "interrupted"),
            (("run_begun", "failed"), "failed"),
            (("run_begun", "interrupted", "run_resumed", "run_done"), "done"),
            (("run_begun",), "interrupted"),
            (("run_begun", "run_done", "run_resumed"), "interrupted"),
        ],
    )
    def test_the_end_of_the_trail_says_how_a_run_stands(
        self, tmp_path: Path, kinds: tuple[str, ...], state: str
    ) -> None:
        trail_of(tmp_path, *kinds)
        results = Results(tmp_path)
        assert results.state(NAME) == state
        assert [row["state"] for row in results.rows()] == [state]

    def test_a_run_whose_lock_is_held_is_running_and_has_no_end(self, tmp_path: Path) -> None:
        trail_of(tmp_path, "run_begun", "stage_begun")
        results = Results(tmp_path)
        with RunLock(tmp_path / "data" / "checkpoints" / f"{NAME}.lock", "barwise run"):
            row = results.row(NAME)
            assert (row["state"], row["ended_ms"], row["kind"]) == ("running", None, "run")
            assert results.whole(NAME)["parts"] == []
        assert results.row(NAME)["state"] == "interrupted"
        assert results.row(NAME)["ended_ms"] is not None

    def test_a_lock_that_a_killed_run_has_left_means_nothing(self, tmp_path: Path) -> None:
        trail_of(tmp_path, "run_begun")
        lock = tmp_path / "data" / "checkpoints" / f"{NAME}.lock"
        lock.parent.mkdir()
        # The number is alive, it is ours, and nobody holds the lock.
        holder = {"pid": os.getpid(), "started": "2025-04-01T12:00:00+00:00", "command": "barwise run"}
        lock.write_text(json.dumps(holder), "utf-8")
        assert Results(tmp_path).state(NAME) == "interrupted"
        lock.write_text("torn", "utf-8")
        assert Results(tmp_path).state(NAME) == "interrupted"

    def test_a_run_that_was_taken_up_again_began_then(self, tmp_path: Path) -> None:
        path = trail_of(tmp_path, "run_begun", "interrupted", "run_resumed")
        times = [line["time"] for line in read(path)]
        begun = Results(tmp_path).row(NAME)["begun_ms"]
        assert begun == round(np.datetime64(times[2][:-6], "ms").astype(int))

    def test_a_word_in_a_text_is_no_end_of_a_run(self, tmp_path: Path) -> None:
        path = tmp_path / "data" / "results" / f"{NAME}.audit.jsonl"
        with Trail(path, run=NAME) as trail:
            trail.say("run_begun")
            trail.say("stage_done", stage="5", name="x", text='{"kind": "run_done"}', other={"kind": "run_done"})
        assert Results(tmp_path).state(NAME) == "interrupted"

    def test_a_word_in_a_value_is_no_beginning_of_a_run(self, tmp_path: Path) -> None:
        path = tmp_path / "data" / "results" / f"{NAME}.audit.jsonl"
        path.parent.mkdir(parents=True)
        lines = [
            {"time": f"2025-04-01T12:00:{second:02}+00:00", "run": NAME, "seq": second, "kind": kind, **more}
            for second, (kind, more) in enumerate(
                [("run_begun", {}), ("stage_done", {"told": {"kind": "run_begun"}}), ("run_done", {})]
            )
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        row = Results(tmp_path).row(NAME)
        assert (row["begun_ms"], row["ended_ms"]) == (1_743_508_800_000, 1_743_508_802_000)

    def test_the_market_of_a_run_at_work_is_known_from_its_trail(self, copied: Finished) -> None:
        results = copied.home / "data" / "results"
        (results / f"{copied.name}.json").unlink()
        row = Results(copied.home).row(copied.name)
        assert row["market"]["symbol"] == "SAMPLE-BTC"
        assert row["bars"] == len(copied.findings.baseline.candles)
        assert row["metrics"] == dict.fromkeys(PARTS)

    def test_a_line_that_is_being_written_is_not_read(self, tmp_path: Path) -> None:
        path = trail_of(tmp_path, "run_begun")
        with path.open("ab") as file:
            file.write(b'{"time": "2025-04-01T00:00:00+00:00", "run": "x", "seq": 1, "kind": "run_done"}')
        assert Results(tmp_path).state(NAME) == "interrupted"

    def test_an_older_trail_that_was_put_aside_is_no_run(self, tmp_path: Path) -> None:
        trail_of(tmp_path, "run_begun", "run_done")
        trail_of(tmp_path, "run_begun", "run_done", name=f"{NAME}.1")
        results = Results(tmp_path)
        assert results.names() == [NAME]
        with pytest.raises(NotFound):
            results.require(f"{NAME}.1")


class TestFiles:
    def test_a_link_that_leads_out_of_its_folder_is_no_run(self, copied: Finished, tmp_path: Path) -> None:
        outside = tmp_path / "secret.json"
        outside.write_text('{"kind": "run", "name": "secret"}', "utf-8")
        (copied.home / "data" / "results" / "linked.json").symlink_to(outside)
        results = Results(copied.home)
        assert "linked" not in results.names()
        with pytest.raises(NotFound):
            results.document("linked")

    def test_documents_of_stages_and_manifests_are_no_runs(self, finished: Finished) -> None:
        results = Results(finished.home)
        for ending in (".stage5", ".stage7", ".stage8", ".manifest", "-baseline.manifest"):
            with pytest.raises(NotFound):
                results.document(f"{finished.name}{ending}")

    @pytest.mark.parametrize(
        "text",
        ["", "torn {", "[1, 2]", '{"kind": "shopping list"}', '{"kind": "run"}', '{"metrics": 1}', "[" * 100_000],
    )
    def test_a_damaged_document_is_left_out_of_the_list_and_is_an_error(self, tmp_path: Path, text: str) -> None:
        folder = tmp_path / "data" / "results"
        folder.mkdir(parents=True)
        (folder / "odd.json").write_text(text, "utf-8")
        results = Results(tmp_path)
        assert results.rows() == []
        for wrong in (results.row, results.document, results.whole):
            with pytest.raises(DataError, match=r"odd\.json"):
                wrong("odd")

    def test_a_document_that_is_written_anew_is_read_anew(self, copied: Finished) -> None:
        results = Results(copied.home)
        path = copied.home / "data" / "results" / f"{copied.name}.json"
        assert results.row(copied.name)["verdict"] != "CHANGED"
        content = json.loads(path.read_text("utf-8"))
        content["verdict"]["word"] = "CHANGED"
        path.write_text(json.dumps(content), "utf-8")
        assert results.row(copied.name)["verdict"] == "CHANGED"
        assert results.document(copied.name)["verdict"]["word"] == "CHANGED"


# -- Backtests done again ----------------------------------------------------------------------------------------------


class TestAgain:
    @pytest.mark.parametrize("part", BACKTESTS)
    def test_a_part_done_again_is_the_run_to_the_bit(self, finished: Finished, part: str) -> None:
        found, expected = Results(finished.home).backtest(finished.name, part), finished.result(part)
        assert found.to_dict() == expected.to_dict()

    def test_many_who_ask_at_once_get_one_result(self, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []

        def counted(path: Path, home: Path) -> BacktestResult:
            made.append(path)
            return repeated(path, home)

        monkeypatch.setattr(results_module, "repeated", counted)
        results, together = Results(finished.home), threading.Barrier(12)
        found: list[BacktestResult] = []

        def one() -> None:
            together.wait()
            found.append(results.backtest(finished.name, "baseline"))

        threads = [threading.Thread(target=one) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert len(found) == 12
        assert all(result is found[0] for result in found)

    def test_a_manifest_that_is_written_anew_is_done_anew(self, copied: Finished) -> None:
        results = Results(copied.home)
        first = results.backtest(copied.name, "baseline")
        assert results.backtest(copied.name, "baseline") is first
        path = copied.home / "data" / "results" / f"{copied.name}-baseline.manifest.json"
        os.utime(path, ns=(1, 1))
        assert results.backtest(copied.name, "baseline") is not first

    @pytest.mark.parametrize(
        ("place", "value"), [(("metrics", "net_pnl"), 1.0), (("configuration", "execution", "slippage"), 0.01)]
    )
    def test_a_run_that_is_not_the_one_on_record_is_not_shown(
        self, copied: Finished, place: tuple[str, ...], value: float
    ) -> None:
        path = copied.home / "data" / "results" / f"{copied.name}-baseline.manifest.json"
        content = json.loads(path.read_text("utf-8"))
        owner = content
        for name in place[:-1]:
            owner = owner[name]
        owner[place[-1]] = value
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(CheckpointError, match="not the run on record"):
            Results(copied.home).backtest(copied.name, "baseline")

    @pytest.mark.parametrize("part", ["data", "inputs", "configuration"])
    def test_a_damaged_manifest_is_an_error(self, copied: Finished, part: str) -> None:
        path = copied.home / "data" / "results" / f"{copied.name}-baseline.manifest.json"
        content = json.loads(path.read_text("utf-8"))
        content[part] = {name: {} for name in content[part]}
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises((CheckpointError, ConfigError)):
            Results(copied.home).backtest(copied.name, "baseline")

    def test_a_strategy_and_candles_of_the_home_folder_are_found_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        home.mkdir()
        (home / "breakout.py").write_text(BREAKOUT, "utf-8")
        write_candles(sample_candles(start="2024-01-01", end="2024-02-15"), home / "bars.csv")
        monkeypatch.chdir(home)
        words = ["backtest", "--file", "bars.csv", "--strategy", "breakout.py:Breakout", "--timeframe", "1H"]
        assert main([*words, "--home", str(home), "--quiet"]) == 0
        monkeypatch.chdir(tmp_path)
        results = Results(home)
        [name] = results.names()
        again = results.again(name, "baseline")
        assert list(again.lines) == ["anchor", "vwap", "risk"]
        assert again.result.net_pnl == results.document(name)["metrics"]["net_pnl"]
        (home / "bars.csv").rename(tmp_path / "elsewhere.csv")
        with pytest.raises(DataError, match=r"bars\.csv"):
            Results(home).backtest(name, "baseline")

    def test_a_file_outside_of_the_home_folder_is_not_read(self, copied: Finished, tmp_path: Path) -> None:
        home = copied.home / "inner"
        shutil.copytree(copied.home / "data", home / "data")
        write_candles(copied.findings.baseline.candles, tmp_path / "outside.csv")
        path = home / "data" / "results" / f"{copied.name}-baseline.manifest.json"
        content = json.loads(path.read_text("utf-8"))
        for name in ("../outside.csv", str(tmp_path / "outside.csv")):
            content["inputs"]["candle_file"] = name
            path.write_text(json.dumps(content), "utf-8")
            with pytest.raises(DataError, match=r"was outside\.csv"):
                Results(home).backtest(copied.name, "baseline")

    def test_a_part_that_was_not_run_is_not_found(self, copied: Finished) -> None:
        (copied.home / "data" / "results" / f"{copied.name}-optimized.manifest.json").unlink()
        results = Results(copied.home)
        assert results.parts(copied.name) == ["baseline", "out_of_sample"]
        assert results.require_part(copied.name, None) == "baseline"
        with pytest.raises(NotFound, match="no part optimized"):
            results.again(copied.name, "optimized")

    def test_a_damaged_table_is_an_error(self, copied: Finished) -> None:
        exports = copied.home / "data" / "exports"
        (exports / f"{copied.name}-equity.csv").write_text("bar_open (UTC),x\nmonday,1\n", "utf-8")
        (exports / f"{copied.name}-trades.csv").write_text("part,piece\nout_of_sample,one\n", "utf-8")
        results = Results(copied.home)
        with pytest.raises(DataError, match="equity"):
            results.curves(copied.name)
        with pytest.raises(DataError, match="trades"):
            results.stitched(copied.name)


class TestMemory:
    def test_the_least_recently_used_value_is_forgotten_first(self) -> None:
        memory: Memory[int] = Memory(2)
        made: list[str] = []

        def get(key: str) -> int:
            return memory.get(key, (), lambda: made.append(key) or len(made))  # type: ignore[func-returns-value]

        for key in "abacab":
            get(key)
        # c takes the place of b, and b then that of c.
        assert made == ["a", "b", "c", "b"]

    def test_what_failed_is_tried_again(self) -> None:
        memory: Memory[int] = Memory(2)

        def fails() -> int:
            raise DataError("no")

        for _ in range(2):
            with pytest.raises(DataError):
                memory.get("key", (), fails)
        assert memory.get("key", (), lambda: 1) == 1

    def test_another_stamp_is_another_value(self, tmp_path: Path) -> None:
        memory: Memory[str] = Memory(2)
        path = tmp_path / "file"
        assert memory.get("key", stamp_of(path), lambda: "none") == "none"
        path.write_text("some", "utf-8")
        assert memory.get("key", stamp_of(path), lambda: "some") == "some"
        assert memory.get("key", stamp_of(path), lambda: "not asked") == "some"
