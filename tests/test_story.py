"""The story of a trade: it ends where the run ended, its reasons are true of the bars, its words say the numbers."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from barwise.cli import main
from barwise.config import ExecutionConfig
from barwise.core.layout import Exit, Intrabar, Outcome
from barwise.data.candles import Candles
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import BacktestError, ConfigError
from barwise.result import BacktestResult
from barwise.story import overview_of, replay, story_of, told, told_overview
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.reference import indicators as reference
from tests.scenarios.harness import Scenario, market_order, run, tiers
from tests.test_differential import run_engine
from tests.test_properties import drawn

SEEDS = range(80)
SAMPLE_ROWS = range(8)

TWO_TIERS = Scenario(
    "tier 1 waits in vain, tier 2 is filled, the stop trails and is reached",
    bars="""
         open   high    low  close  anchor
        100.0  100.5   99.5  100.0    98.9   <- long signal
        100.5  101.0  100.2  100.6    99.0   <- 98.9 not reached
        100.4  100.8   99.0  100.0    99.0   <- 99.0 touched
        100.0  100.2   99.4  100.0    99.0   <- tier 2 at 99.5 = 100.0 - 0.25 * 2.0
        100.0  102.0   99.9  101.5    99.0   <- best 102.0 is above 101.49 = 99.5 * 1.02, trail 99.0
        101.0  101.2   98.9   99.2    99.0
    """,
    params=tiers(t1=2, t2=1, target=10, trail_stop=0.02),
)
BOTH_IN_ONE_BAR = Scenario(
    "stop 97.0 and target 104.0 lie in one bar whose low is nearer to its open",
    bars="""
         open   high    low  close
        100.0  100.5   99.5  100.0   <- long signal
        100.0  101.0   99.5  100.0
        100.0  104.5   96.5  100.0
        100.0  100.5   99.5  100.0
    """,
    params=market_order(),
)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process, with an empty folder as home and working directory."""

    def run_words(*words: object) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Ended(code, *capfd.readouterr())

    return run_words


@pytest.fixture(scope="module")
def sample() -> BacktestResult:
    return backtest(sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-08-01"), EmaRsiAtr(), 0.1)


def random_sample_run(row: int) -> BacktestResult:
    """A SAMPLE run with random parameters, rules, costs and, in every second row, finer candles."""
    draw = np.random.default_rng(row)
    symbol = str(draw.choice(["SAMPLE-BTC", "SAMPLE-ETH"]))
    fast = int(draw.integers(4, 15))
    strategy = EmaRsiAtr(
        ema_fast=fast,
        ema_slow=fast + int(draw.integers(5, 30)),
        ema_trend=int(draw.integers(60, 120)),
        enable_rsi_filter=bool(draw.integers(2)),
        enable_trend_filter=bool(draw.integers(2)),
        atr_sl_multiplier=float(draw.uniform(0.5, 3.0)),
        atr_tp_multiplier=float(draw.uniform(0.5, 5.0)),
        trailing_sl_threshold=float(draw.uniform(0.0, 0.02)),
        trailing_tp_threshold=float(draw.uniform(0.0, 0.03)),
        hybrid_tier1_timeout=int(draw.integers(0, 5)),
        hybrid_tier2_timeout=int(draw.integers(0, 4)),
        hybrid_tier3_timeout=int(draw.integers(0, 5)),
        hybrid_tier4_timeout=int(draw.integers(0, 2)),
        exit_on_opposite_signal=bool(draw.integers(2)),
        max_chase_atr=float(draw.uniform(0.2, 2.0)),
    )
    execution = ExecutionConfig(
        limit_fill=str(draw.choice(["through", "touch"])),
        intrabar=str(draw.choice(["worst", "path", "best"])),
        max_participation=float(draw.choice([0.0005, 0.1])),
    )
    span = (symbol, "1H", "2024-01-01", "2024-04-01")
    detail = sample_candles(symbol, "15M", *span[2:]) if row % 2 else None
    quantity = float(draw.choice([0.1, 5.0]))
    return backtest(
        sample_candles(*span), strategy, quantity, execution=execution, detail=detail, check_lookahead=False
    )


def assert_the_replay_is_the_record(result: BacktestResult, program: int) -> None:
    """What the story derives, against the raw records and not through the replay's own check."""
    again, records = replay(result, program), result.records
    record = records.programs[program]
    assert again.outcome == Outcome(int(record["outcome"])).name.lower()
    assert again.end_bar == record["end_bar"]
    made = [(step.bar, step.tier, step.fill) for step in again.steps if step.fill is not None]
    own = records.fills[records.fills["program"] == program]
    assert [(bar, tier) for bar, tier, _ in made] == list(zip(own["bar"].tolist(), own["tier"].tolist(), strict=True))
    order = float(record["quantity"])
    for name in ("price", "reference", "quantity", "fee"):
        values = [getattr(fill, name) for _, _, fill in made]
        assert values == pytest.approx(own[name].tolist(), rel=1e-9, abs=1e-9 * order)
    (*trades,) = records.trades[records.trades["program"] == program]
    assert (again.closed is not None) == bool(trades) == bool(made)
    for trade in trades:
        assert again.closed is not None
        assert again.closed.exit_reason == Exit(int(trade["exit_reason"])).name.lower()
        assert again.closed.exit_bar == trade["exit_bar"]
        last = again.levels[-1]
        for derived, name in ((last.stop, "stop_price"), (last.target, "target_price")):
            assert derived == pytest.approx(float(trade[name]), rel=1e-9, nan_ok=True)
        for name in ("exit_reference", "exit_price", "entry_price", "initial_risk"):
            assert getattr(again.closed, name) == pytest.approx(float(trade[name]), rel=1e-9)
        scale = 1e-9 * float(trade["quantity"] * trade["entry_price"])
        for name in ("net_pnl", "fees", "funding", "slippage"):
            assert getattr(again.closed, name) == pytest.approx(float(trade[name]), rel=1e-9, abs=scale)


class TestReplay:
    @pytest.mark.parametrize("first", SEEDS[::20])
    def test_every_program_of_a_random_market_ends_as_its_record_says(self, first: int) -> None:
        programs = 0
        for seed in range(first, first + 20):
            result = run_engine(drawn(seed))
            for program in range(len(result.records.programs)):
                assert_the_replay_is_the_record(result, program)
                programs += 1
        assert programs > 200

    # Accounts that are all but used up, or are so in the bar a program starts in.
    @pytest.mark.parametrize("seed", [966, 1122, 1340, 2110])
    def test_so_does_every_program_of_a_ruined_account(self, seed: int) -> None:
        result = run_engine(drawn(seed))
        assert result.final_equity < 0.01 * result.initial_capital
        for program in range(len(result.records.programs)):
            assert_the_replay_is_the_record(result, program)

    @pytest.mark.parametrize("row", SAMPLE_ROWS)
    def test_every_program_of_a_sample_run_with_random_parameters_ends_as_its_record_says(self, row: int) -> None:
        result = random_sample_run(row)
        assert len(result.records.programs) > 10
        for program in range(len(result.records.programs)):
            assert_the_replay_is_the_record(result, program)

    def test_the_reason_given_for_no_fill_is_true_of_its_bar(self) -> None:
        seen = set()
        for seed in SEEDS:
            result = run_engine(drawn(seed))
            market = result.prepared.market
            for program, record in enumerate(result.records.programs):
                side = int(record["side"])
                for step in replay(result, program).steps:
                    seen.add(step.why)
                    adverse = float((market.low if side > 0 else market.high)[step.bar])
                    opened = float(market.open[step.bar])
                    if step.why == "not_reached":
                        assert side * (adverse - step.limit) > 0.0
                    elif step.why == "touched":
                        assert adverse == step.limit
                        assert result.execution.limit_fill == "through"
                    elif step.why == "no_volume":
                        assert market.volume[step.bar] == 0.0
                    elif step.why in ("outside_band", "chase"):
                        assert side * (opened - step.limit) > 0.0
                    elif step.why == "below_lot":
                        share = float(result.params["max_participation"]) * market.volume[step.bar]
                        wanted = min(share, float(record["quantity"]))
                        assert wanted < result.params["lot_size"] or step.tier == 3
                    elif step.why == "undefined":
                        assert math.isnan(step.limit)
        assert seen == {
            "filled", "not_reached", "touched", "undefined", "outside_band", "no_volume", "below_lot", "margin",
            "chase", "timeout",
        }  # fmt: skip

    def test_a_program_works_in_every_bar_once_and_in_a_tier_no_longer_than_it_lasts(self) -> None:
        for seed in SEEDS[::2]:
            result = run_engine(drawn(seed))
            for program, record in enumerate(result.records.programs):
                steps = replay(result, program).steps
                bars = [step.bar for step in steps]
                assert bars == list(range(int(record["start_bar"]), int(record["start_bar"]) + len(bars)))
                order = [step.tier for step in steps]
                assert order == sorted(order)
                for tier in (1, 2, 3, 4):
                    working = [step for step in steps if step.tier == tier and step.why != "chase"]
                    assert len(working) <= result.params[f"tier{tier}_bars"]

    @pytest.mark.parametrize(
        ("table", "name", "value"),
        [
            ("fills", "price", 34_000.0),
            ("fills", "tier", 3),
            ("fills", "maker", 0),
            ("fills", "fee", 1.0),
            ("programs", "outcome", int(Outcome.CHASE)),
            ("trades", "stop_price", 34_000.0),
            ("trades", "target_price", math.nan),
            ("trades", "exit_reference", 34_000.0),
            ("trades", "exit_reason", int(Exit.TRAILING_STOP)),
            ("trades", "net_pnl", 0.0),
            ("trades", "worst_price", 1.0),
            ("trades", "ambiguous", 1),
        ],
    )
    def test_a_record_that_does_not_follow_from_the_bars_is_an_error(
        self, sample: BacktestResult, table: str, name: str, value: float
    ) -> None:
        changed = getattr(sample.records, table).copy()
        changed[name][0] = value
        with pytest.raises(BacktestError, match=r"on record, and .* when the program is done again"):
            replay(replace(sample, records=sample.records._replace(**{table: changed})), 0)

    def test_another_reading_gives_the_trade_that_a_run_with_that_reading_has(self) -> None:
        ambiguous = 0
        for seed in SEEDS:
            case = drawn(seed)
            case["execution"] = {**case["execution"], "intrabar": "worst"}
            worst = run_engine(case)
            best = run_engine({**case, "execution": {**case["execution"], "intrabar": "best"}})
            for trade in worst.records.trades[worst.records.trades["ambiguous"] == 1][:1]:
                # Up to its first ambiguous trade a run does not know the reading.
                program = int(trade["program"])
                other = replay(worst, program, Intrabar.BEST).closed
                expected = best.records.trades[best.records.trades["program"] == program][0]
                assert other is not None
                assert other.exit_bar == expected["exit_bar"]
                assert other.net_pnl == pytest.approx(expected["net_pnl"], rel=1e-9, abs=1e-6)
                ambiguous += 1
        assert ambiguous > 10


class TestStory:
    def test_every_story_and_the_list_are_plain_json_and_can_be_told(self, sample: BacktestResult) -> None:
        overview = overview_of(sample)
        assert json.loads(json.dumps(overview, allow_nan=False)) == overview
        assert len(overview["trades"]) == sample.total_trades > 20
        assert len(overview["trades"]) + len(overview["missed"]) == len(sample.programs)
        assert len(told_overview(overview)) >= len(sample.programs)
        for trade in sample.trades:
            story = story_of(sample, trade.trade_id)
            assert json.loads(json.dumps(story, allow_nan=False)) == story
            assert story["result"]["r"] == pytest.approx(trade.net_pnl / (trade.initial_risk * trade.quantity))
            assert [step["time"] for step in story["entry"]["steps"] if step["fill"]] == [
                fill.time.isoformat() for fill in trade.fills
            ]
            assert "nan" not in " ".join(told(story)).lower().split()

    def test_the_indicators_are_those_of_the_signals_bar_and_hold_its_conditions(self, sample: BacktestResult) -> None:
        close = sample.candles.close.tolist()
        fast, slow, trend = (reference.ema(close, period) for period in (20, 50, 200))
        for trade in sample.trades:
            story = story_of(sample, trade.trade_id)
            side = 1 if trade.side == "long" else -1
            t = int(sample.records.programs[trade.program_id]["signal_bar"])
            crossing, of_trend, of_rsi = story["signal"]["conditions"]
            assert crossing["ema_fast"] == {
                "period": 20,
                "before": pytest.approx(fast[t - 1], rel=1e-9),
                "value": pytest.approx(fast[t], rel=1e-9),
            }
            assert crossing["ema_slow"]["value"] == pytest.approx(slow[t], rel=1e-9)
            assert side * (crossing["ema_fast"]["value"] - crossing["ema_slow"]["value"]) > 0.0
            assert side * (crossing["ema_fast"]["before"] - crossing["ema_slow"]["before"]) <= 0.0
            assert of_trend["ema_trend"]["value"] == pytest.approx(trend[t], rel=1e-9)
            assert side * (story["signal"]["close"] - of_trend["ema_trend"]["value"]) > 0.0
            assert side * (of_rsi["extreme"] - of_rsi["threshold"]) <= 0.0
            assert story["signal"]["close"] == close[t]

    def test_a_strategy_of_ones_own_has_its_lines_and_no_conditions(self) -> None:
        signal = story_of(run(TWO_TIERS), 0)["signal"]
        assert signal["conditions"] == []
        assert (signal["lines"]["anchor"], signal["lines"]["risk"]) == (98.9, 2.0)

    def test_a_trade_worked_out_by_hand_is_told_tier_by_tier(self) -> None:
        story = story_of(run(TWO_TIERS), 0)
        steps = [(step["tier"], step["limit"], step["seen"], step["why"]) for step in story["entry"]["steps"]]
        assert steps == [
            (1, 98.9, 100.2, "not_reached"),
            (1, 99.0, 99.0, "touched"),
            (2, 99.5, 99.4, "filled"),
        ]
        levels = [(level["time"][11:13], level["cause"], level["stop"], level["target"]) for level in story["levels"]]
        assert levels == [("03", "fill", 96.5, 119.5), ("04", "trailing_stop", 99.0, 119.5)]
        text = "\n".join(told(story))
        for sentence in (
            "tier 1, EMA touch, 2025-01-01 01:00: limit 98.9 not reached; the nearest low was 100.2",
            "tier 1, EMA touch, 2025-01-01 02:00: limit 99 touched but not traded through, which is no fill",
            "tier 2, limit order, 2025-01-01 03:00: limit 99.5; 1 filled at 99.5, maker, fee 0.00, it came to",
            "1 of 1 at a mean of 99.5, 50.0 bp better than the signal's close: all of it was filled",
            "2025-01-01 03:00: entry 99.5, stop 96.5, target 119.5",
            "2025-01-01 04:00: best price 102; from the next bar on the stop is 99 (trailing stop)",
            "2025-01-01 05:00, trailing stop: the stop at 99 was reached; 2 bars held",
            "gross -0.50 (slippage of 0.00 in it), fees 0.00, funding 0.00: net -0.50",
            "the risk was 3.00, so that is -0.17 R",
            "no bar left the order of its events open",
        ):
            assert sentence in text

    def test_an_ambiguous_trade_says_what_the_other_readings_would_have_been(self) -> None:
        certainty = story_of(run(BOTH_IN_ONE_BAR), 0)["certainty"]
        assert (certainty["ambiguous"], certainty["reading"]) == (True, "worst")
        assert certainty["bars"] == ["2025-01-01T02:00:00+00:00"]
        path, best = certainty["other_readings"]
        assert (path["reading"], path["same"], path["net_pnl"]) == ("path", True, -3.0)
        assert (best["reading"], best["same"], best["exit_reason"], best["exit_price"]) == (
            "best",
            False,
            "take_profit",
            104.0,
        )
        assert (best["net_pnl"], best["difference"]) == (4.0, 7.0)
        text = "\n".join(told(story_of(run(BOTH_IN_ONE_BAR, intrabar="best"), 0)))
        assert "ambiguous: the order of events is open in 2025-01-01 02:00; read as best" in text
        assert "read as worst: stop loss at 97, 2025-01-01 02:00, net -3.00 (-7.00)" in text

    def test_many_moves_of_a_trail_are_told_as_the_first_and_the_last(self) -> None:
        rise = "\n".join(f"{101.0 + i}  {102.0 + i}  {100.5 + i}  {101.5 + i}" for i in range(6))
        bars = f"open high low close\n100.0 100.5 99.5 100.0 <- long signal\n100.0 100.5 99.5 100.0\n{rise}"
        result = run(Scenario("a steady rise", bars=bars, params=market_order(target=50, trail_stop=0.0)))
        story = story_of(result, 0)
        stops = [level["stop"] for level in story["levels"]]
        assert stops == [97.0, 97.5, 99.0, 100.0, 101.0, 102.0, 103.0, 104.0]
        trailed = [line for line in told(story) if "(trailing stop)" in line]
        assert len(trailed) == 2
        assert "the stop is 97.5" in trailed[0]
        assert "after 5 more moves; from the next bar on the stop is 104 " in trailed[1]

    @pytest.mark.parametrize(("mirror", "nearest"), [(False, "low was 99.6"), (True, "high was 100.4")])
    def test_bars_that_met_the_same_are_one_line_with_the_price_nearest_to_its_limit(
        self, mirror: bool, nearest: str
    ) -> None:
        bars = """
             open   high    low  close  anchor
            100.0  100.5   99.5  100.0    99.0   <- long signal
            100.0  100.5   99.7  100.0    99.0
            100.0  100.5   99.6  100.0    99.5   <- 0.6 above the limit known before it, the nearest
            100.5  101.0  100.2  100.6    99.0
            100.5  101.0  100.2  100.6    99.0
        """
        params = tiers(t1=3, t4=1)
        story = story_of(run(Scenario("three bars in vain", bars=bars, params=params), mirror=mirror), 0)
        (line,) = (line for line in told(story) if "tier 1, EMA touch" in line)
        assert "2025-01-01 01:00 .. 2025-01-01 03:00, 3 bars: limit " in line
        assert line.endswith(f"not reached; the nearest {nearest}")

    def test_the_signals_conditions_are_worded_by_side(self, sample: BacktestResult) -> None:
        sides = set()
        for trade in sample.trades:
            text = "\n".join(told(story_of(sample, trade.trade_id)))
            long = trade.side == "long"
            assert ("EMA(20) crossed above EMA(50)" if long else "EMA(20) crossed below EMA(50)") in text
            assert ("the close is above EMA(200)" if long else "the close is below EMA(200)") in text
            extreme, bound = ("lowest", "at or below 35.0") if long else ("highest", "at or above 65.0")
            (line,) = (line for line in text.splitlines() if f"the {extreme} RSI(14) of 50 bars" in line)
            assert line.endswith(bound)
            sides.add(trade.side)
        assert sides == {"long", "short"}

    @pytest.mark.parametrize("trade_id", [-1, 1])
    def test_a_trade_that_is_not_there_is_an_error_that_names_those_that_are(self, trade_id: int) -> None:
        with pytest.raises(ConfigError, match=f"no trade {trade_id}; this run has trade 0 alone"):
            story_of(run(TWO_TIERS), trade_id)

    def test_a_missed_program_says_what_each_tier_met(self) -> None:
        result = run(replace(TWO_TIERS, params=tiers(t1=2)))
        assert result.trades == ()
        (missed,) = overview_of(result)["missed"]
        assert missed["tiers"] == [
            {"tier": 1, "name": "EMA touch", "bars": 2, "why": {"not_reached": 1, "touched": 1}},
            {"tier": 5, "name": "stand-down", "bars": 1, "why": {"timeout": 1}},
        ]
        assert told_overview(overview_of(result))[-1].endswith(
            "timeout: tier 1 2 bars: limit not reached (1), limit touched, not traded through (1); time was up"
        )


class TestCommand:
    SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")

    def test_a_run_is_listed_and_each_trade_told_as_words_and_as_data(self, call: Call, home: Path) -> None:
        assert call("backtest", *self.SPAN, "--quiet").code == 0
        listed = json.loads(call("audit", "--json").out)
        quantity = max(trade["quantity"] for trade in listed["trades"])
        result = backtest(sample_candles("SAMPLE-BTC", "1H", *self.SPAN[1::2]), EmaRsiAtr(), quantity)
        assert len(listed["trades"]) > 5
        (manifest,) = (home / "data" / "results").glob("*.manifest.json")
        assert listed["run"] == manifest.name.removesuffix(".manifest.json")
        assert {name: listed[name] for name in ("market", "trades", "missed")} == overview_of(result)
        for name in (listed["run"], manifest):
            story = json.loads(call("audit", name, "--trade", 3, "--json").out)
            assert story["trade"]["trade_id"] == 3
            assert story["result"]["net_pnl"] == listed["trades"][3]["net_pnl"]
        words = call("audit", "--trade", 3)
        assert words.code == 0
        assert [line.strip() for line in words.out.splitlines()[2:]] == [line.strip() for line in told(story)]
        assert f"{len(listed['trades'])} trades" in call("audit").out

    def test_auditing_writes_nothing_and_quiet_prints_nothing(self, call: Call, home: Path) -> None:
        call("backtest", *self.SPAN, "--quiet")
        before = {path: path.stat().st_mtime_ns for path in (home / "data").rglob("*")}
        assert call("audit", "--trade", 0, "--quiet") == (0, "", "")
        assert {path: path.stat().st_mtime_ns for path in (home / "data").rglob("*")} == before

    def test_a_run_that_differs_from_its_manifest_is_refused(self, call: Call, home: Path) -> None:
        candles: Candles = sample_candles("SAMPLE-BTC", "1H", *self.SPAN[1::2])
        write_candles(candles, home / "candles.parquet")
        assert call("backtest", "--file", "candles.parquet", "--quiet").code == 0
        columns = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close")}
        for column in columns.values():
            column[700] *= 1.01
        write_candles(replace(candles, **columns), home / "candles.parquet")
        outcome = call("audit", "--trade", 0)
        assert (outcome.code, outcome.out) == (1, "")
        assert "the run done again is not the run on record: the candles have changed" in outcome.err
        assert "hint: barwise verify " in outcome.err

    def test_a_file_that_has_moved_can_be_pointed_to(self, call: Call, home: Path) -> None:
        write_candles(sample_candles("SAMPLE-BTC", "1H", *self.SPAN[1::2]), home / "candles.parquet")
        assert call("backtest", "--file", "candles.parquet", "--quiet").code == 0
        (home / "candles.parquet").rename(home / "moved.parquet")
        assert "--file FILE" in call("audit").err
        assert call("audit", "--trade", 0, "--file", "moved.parquet").code == 0

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (("--trade", 900), 2, "there is no trade 900; this run has trades 0 to"),
            (("--trade", -1), 2, "there is no trade -1"),
            (("nowhere",), 1, "there is no manifest of a run nowhere"),
            (("--set", "ema_fast=3"), 2, "ema_fast is not a setting of barwise audit"),
        ],
    )
    def test_what_cannot_be_told_is_one_sentence(
        self, call: Call, words: tuple[object, ...], code: int, message: str
    ) -> None:
        call("backtest", *self.SPAN, "--quiet")
        outcome = call("audit", *words)
        assert (outcome.code, outcome.out) == (code, "")
        assert message in outcome.err
        assert "Traceback" not in outcome.err
