"""Runs side by side: figures as each run has them, a best one only where that means something, and honest warnings."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from barwise.config import ExecutionConfig
from barwise.dashboard.api_compare import Side, endpoints, parameters, rebased, side_of, warnings
from barwise.dashboard.run_tables import Curve
from barwise.engine import backtest
from barwise.report.files import write_report
from barwise.report.run_comparison import BASELINE, FIGURES, OPTIMIZED, OUT_OF_SAMPLE, compare
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.dashboard_runs import (
    BARE,
    WHOLE,
    Hostile,
    Whole,
    ask,
    check_schema,
    client_of,
    days_of,
    failure,
    whole_run,
    write_bare,
)

CHEAP, SHORT, OTHER, SCRIPT = "run-cheap", "run-short", "run-other", "run-script"
HOUR = 3_600_000
FEES = ("fees", "buy_maker")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    found = whole_run(tmp_path_factory.mktemp("home"))
    write_bare(found)
    write_bare(found, CHEAP, execution=ExecutionConfig(slippage=0.0))
    write_bare(found, SHORT, candles=days_of(60))
    write_bare(found, OTHER, candles=days_of(120, "SAMPLE-ETH"))
    write_bare(found, SCRIPT, strategy=Hostile(enable_rsi_filter=False))
    return found


@pytest.fixture(scope="module")
def client(whole: Whole) -> FlaskClient:
    return client_of(whole.home)


def compared(client: FlaskClient, *names: str, **query: Any) -> dict[str, Any]:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    found: dict[str, Any] = ask(client, f"/compare?runs={','.join(names)}{more}")
    check_schema(endpoints, "/compare", found)
    return found


def metric(found: dict[str, Any], name: str) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in found["metrics"]}
    return rows[name]


class TestFigures:
    @pytest.mark.parametrize("part", [BASELINE, OPTIMIZED, OUT_OF_SAMPLE])
    def test_they_are_those_of_the_part_that_is_asked_for(self, whole: Whole, client: FlaskClient, part: str) -> None:
        side = compare(whole.findings).parts[part]
        with client.application.app_context():
            found = side_of(WHOLE, part)
        for figure in FIGURES:
            assert found.figures[figure.name] == side.figure(figure), figure.name
        assert (found.first_ms, found.end_ms, found.bars) == (side.first_ms, side.end_ms, len(side.bars))
        assert found.curve is not None
        np.testing.assert_array_equal(found.curve.equity, side.equity)

    def test_a_run_is_compared_by_what_it_ended_with(self, client: FlaskClient) -> None:
        found = compared(client, WHOLE, BARE)
        assert [run["part"] for run in found["runs"]] == [OPTIMIZED, BASELINE]
        assert found["runs"][0]["verdict"]
        assert found["runs"][1]["verdict"] is None

    def test_less_drawdown_and_more_profit_are_best_and_trades_are_neither(self, client: FlaskClient) -> None:
        found = compared(client, BARE, CHEAP)
        for name in ("net_pnl", "total_return", "sharpe_ratio"):
            row = metric(found, name)
            assert row["better"] == "higher"
            assert row["best"] == row["values"].index(max(row["values"]))
        slippage = metric(found, "slippage")
        assert slippage["better"] == "lower"
        assert slippage["best"] == 1
        assert slippage["values"][1] == 0.0 < slippage["values"][0]
        trades = metric(found, "trades")
        assert trades["better"] is None
        assert trades["best"] is None

    def test_equal_figures_have_no_best_one(self, client: FlaskClient) -> None:
        found = compared(client, BARE, SCRIPT)
        assert all(row["best"] is None for row in found["metrics"])

    def test_what_grows_with_the_span_has_no_best_one_where_spans_differ(self, client: FlaskClient) -> None:
        found = compared(client, BARE, SHORT)
        grows = {figure.name for figure in FIGURES if figure.grows}
        assert all(row["best"] is None for row in found["metrics"] if row["name"] in grows)
        assert metric(found, "sharpe_ratio")["best"] is not None
        assert any("different spans" in text for text in found["warnings"])

    def test_a_single_backtest_has_the_figures_of_its_own_result(self, whole: Whole, tmp_path: Path) -> None:
        result = backtest(days_of(60), EmaRsiAtr(enable_rsi_filter=False), 0.1)
        names = []
        for slippage in (0.0005, 0.0):
            made = backtest(result.candles, result.strategy, 0.1, execution=ExecutionConfig(slippage=slippage))
            names.append(write_report(made, tmp_path).json.stem)
        client = client_of(tmp_path)
        found = compared(client, *names)
        assert metric(found, "net_pnl")["values"][0] == result.net_pnl
        days = (len(result.candles) - result.trade_from) / 24
        expected = 30 * result.total_trades / days
        assert metric(found, "trades_per_30_days")["values"][0] == pytest.approx(expected, rel=1e-9)
        assert found["runs"][0]["first_ms"] == int(result.candles.time[result.trade_from])
        assert failure(client, f"/compare?runs={','.join(names)}&part=optimized", 404)["kind"] == "NotFound"


class TestParameters:
    def test_differences_are_marked_and_equal_ones_are_not(self, whole: Whole, client: FlaskClient) -> None:
        found = compared(client, WHOLE, CHEAP)
        rows = {(row["group"], row["name"]): row for row in found["parameters"]}
        before, after = EmaRsiAtr(enable_rsi_filter=False).to_dict(), whole.optimization.strategy.to_dict()
        for name, value in before.items():
            assert rows["strategy", name]["values"] == [after[name], value]
            assert rows["strategy", name]["differs"] == (after[name] != value)
        assert rows["execution", "slippage"]["values"] == [0.0005, 0.0]
        assert rows["execution", "slippage"]["differs"]
        assert not rows["execution", "quantity"]["differs"]

    def test_a_parameter_that_one_run_does_not_have_is_null_there(self, client: FlaskClient) -> None:
        with client.application.app_context():
            one, other = side_of(BARE, None), side_of(CHEAP, None)
        less = replace(other, settings={key: value for key, value in other.settings.items() if key[1] != "ema_fast"})
        [row] = [row for row in parameters([one, less]) if row["name"] == "ema_fast"]
        assert row == {"group": "strategy", "name": "ema_fast", "values": [20, None], "differs": True}


class TestWarnings:
    def test_runs_that_are_alike_have_none(self, client: FlaskClient) -> None:
        assert compared(client, BARE, SCRIPT)["warnings"] == []

    def test_other_costs_markets_and_parts_are_said(self, client: FlaskClient) -> None:
        assert any("different costs" in text for text in compared(client, BARE, CHEAP)["warnings"])
        found = compared(client, BARE, OTHER)["warnings"]
        assert any("SAMPLE SAMPLE-BTC, SAMPLE SAMPLE-ETH" in text for text in found)
        assert any("different parts: optimized, baseline" in text for text in compared(client, WHOLE, BARE)["warnings"])

    def test_other_timeframes_sizes_and_made_up_prices_are_said(self, client: FlaskClient) -> None:
        with client.application.app_context():
            one = side_of(BARE, None)
        market = {**one.market, "timeframe": "2H", "synthetic": False}
        other = replace(
            one, market=market, bars=one.bars // 2, settings={**one.settings, ("execution", "quantity"): 5.0}
        )
        found = " ".join(warnings([one, other]))
        for word in ("timeframes: 1H, 2H", "SYNTHETIC", "different sizes"):
            assert word in found
        assert "different spans" not in found
        dearer = replace(one, settings={**one.settings, FEES: 0.5})
        assert "different costs" in " ".join(warnings([one, dearer]))


def curve(first: int, equity: list[float]) -> Curve:
    values = np.array(equity)
    return Curve(HOUR * np.arange(first, first + len(equity)), values, np.zeros(len(equity)))


@pytest.fixture
def side(client: FlaskClient) -> Side:
    with client.application.app_context():
        return side_of(BARE, None)


class TestEquity:
    def test_curves_begin_at_zero_where_the_later_one_begins(self, side: Side) -> None:
        one = replace(side, curve=curve(0, [100.0, 200.0, 250.0, 300.0, 100.0]))
        other = replace(side, curve=curve(2, [1000.0, 1100.0, 900.0, 5.0]))
        found = rebased([one, other], 100)
        assert found["begins_ms"] == 2 * HOUR
        assert found["time"] == [2 * HOUR, 3 * HOUR, 4 * HOUR]
        assert found["series"][0]["values"] == pytest.approx([0.0, 20.0, -60.0])
        assert found["series"][1]["values"] == pytest.approx([0.0, 10.0, -10.0])

    def test_a_coarser_curve_keeps_its_value_between_its_bars(self, side: Side) -> None:
        coarse = Curve(np.array([0, 2 * HOUR, 4 * HOUR]), np.array([100.0, 150.0, 50.0]), np.zeros(3))
        found = rebased([replace(side, curve=curve(0, [1.0] * 5)), replace(side, curve=coarse)], 100)
        assert found["series"][1]["values"] == pytest.approx([0.0, 0.0, 50.0, 50.0, -50.0])

    def test_spans_that_do_not_meet_begin_each_at_its_own_zero(self, side: Side) -> None:
        sides = [replace(side, curve=curve(0, [10.0, 20.0])), replace(side, curve=curve(3, [40.0, 20.0]))]
        found = rebased(sides, 100)
        assert found["begins_ms"] is None
        assert found["time"] == [0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
        assert found["series"][0]["values"] == [0.0, 100.0, None, None, None]
        assert found["series"][1]["values"] == [None, None, None, 0.0, -50.0]

    def test_many_bars_become_few_points_on_whole_bars_with_both_ends(self, side: Side) -> None:
        long = curve(5, np.linspace(100.0, 300.0, 10_001).tolist())
        found = rebased([replace(side, curve=long)] * 2, 50)
        time = np.array(found["time"])
        assert len(time) <= 50
        assert (time[0], time[-1]) == (5 * HOUR, 10_005 * HOUR)
        assert len(set(np.diff(time[:-1]).tolist())) == 1
        assert found["series"][0]["values"][-1] == pytest.approx(200.0)

    def test_a_run_without_a_table_and_one_that_lost_all_have_no_curve(self, side: Side) -> None:
        lost = replace(side, curve=curve(0, [0.0, 1.0, 2.0]))
        found = rebased([replace(side, curve=None), lost], 100)
        assert [series["values"] for series in found["series"]] == [[None, None, None]]
        assert rebased([replace(side, curve=None)], 100) == {"begins_ms": None, "time": [], "series": []}

    def test_figures_are_compared_where_a_curve_cannot_be_had(self, whole: Whole, tmp_path: Path) -> None:
        shutil.copytree(whole.home / "data" / "results", tmp_path / "data" / "results")
        (tmp_path / "data" / "exports").mkdir()
        (tmp_path / "data" / "exports" / f"{CHEAP}-equity.csv").write_text("nothing\n1\n", "utf-8")
        found = compared(client_of(tmp_path), BARE, CHEAP)
        assert found["equity"]["series"] == []
        assert metric(found, "net_pnl")["best"] is not None
        for name in (BARE, CHEAP):
            assert any(f"The equity of {name} is not drawn" in text for text in found["warnings"])

    def test_the_curve_of_a_run_ends_with_its_return(self, whole: Whole, client: FlaskClient) -> None:
        found = compared(client, BARE, CHEAP, points=50)
        result = whole.findings.baseline
        expected = 100.0 * (result.equity_curve[-1] / result.equity_curve[0] - 1.0)
        assert found["equity"]["series"][0]["values"][-1] == pytest.approx(expected, rel=1e-6)
        assert found["equity"]["time"][-1] == int(result.candles.time[-1]) + HOUR


class TestWhatCannotBeCompared:
    def test_one_run_or_the_same_twice_or_nine_are_refused(self, client: FlaskClient) -> None:
        assert "2 to 8 different runs" in failure(client, f"/compare?runs={BARE}", 400)["message"]
        assert "2 to 8 different runs" in failure(client, f"/compare?runs={BARE},{BARE}", 400)["message"]
        assert "9 runs" in failure(client, f"/compare?runs={','.join([BARE] * 9)}", 400)["message"]

    def test_a_run_or_part_that_is_not_there_is_named(self, client: FlaskClient) -> None:
        assert "no run nope" in failure(client, f"/compare?runs={BARE},nope", 404)["message"]
        assert "no part optimized" in failure(client, f"/compare?runs={BARE},{CHEAP}&part=optimized", 404)["message"]

    def test_a_search_by_itself_has_nothing_to_compare(self, client: FlaskClient, whole: Whole) -> None:
        from barwise.optimizer.saving import save_optimization

        name = save_optimization(whole.optimization, whole.home).json.stem
        assert "kind optimization" in failure(client, f"/compare?runs={BARE},{name}", 400)["message"]

    def test_a_run_that_is_going_on_has_no_result_yet(self, client: FlaskClient, whole: Whole) -> None:
        trail = whole.home / "data" / "results" / "run-going.audit.jsonl"
        trail.write_text(
            '{"time": "2025-01-01T00:00:00.000+00:00", "run": "run-going", "seq": 0, "kind": "run_begun", '
            '"market": "x"}\n',
            "utf-8",
        )
        assert "no result yet" in failure(client, f"/compare?runs={BARE},run-going", 404)["message"]

    @pytest.mark.parametrize("names", ["..%2F..%2Fetc,a", "%3Cscript%3E,b", "a%00,b", ",,", "a" * 900 + ",b"])
    def test_hostile_names_are_refused_without_markup(self, client: FlaskClient, names: str) -> None:
        answer = client.get(f"/api/v1/compare?runs={names}", headers={"Host": "127.0.0.1:8765"})
        assert answer.status_code in (400, 404)
        assert b"<script" not in answer.data

    def test_a_strategy_called_like_a_script_is_only_text(self, client: FlaskClient) -> None:
        answer = client.get(f"/api/v1/compare?runs={BARE},{SCRIPT}", headers={"Host": "127.0.0.1:8765"})
        assert answer.status_code == 200
        assert b"<script" not in answer.data
        assert answer.json is not None
        rows = {row["name"]: row["values"] for row in answer.json["parameters"] if row["group"] == "strategy"}
        assert rows["class"][1] == Hostile.name()
