"""The stages of the main job before the search: each from its inputs alone."""

from pathlib import Path

import pytest

from barwise import pipeline
from barwise.config import Int
from barwise.core.layout import Bars
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from barwise.engine import backtest
from barwise.errors import ConfigError, DataError
from barwise.pipeline import RunSettings
from barwise.strategy.base import Plan, Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr


class Levered(Strategy):
    """A strategy that has taken the name of an execution setting."""

    leverage: int = Int(3, low=1)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close > bars.open)


class TestStage3:
    def test_nothing_said_is_an_hourly_year_of_the_sample_market(self) -> None:
        market = pipeline.choose_market(RunSettings())
        assert (market.exchange, market.symbol, str(market.timeframe)) == ("SAMPLE", "SAMPLE-BTC", "1H")
        assert market.quantity == 0.1

    def test_a_symbol_of_the_sample_market_needs_no_exchange(self) -> None:
        assert pipeline.choose_market(RunSettings(symbol="sample-eth")).symbol == "SAMPLE-ETH"

    def test_dates_of_an_indian_venue_are_its_own_midnights(self) -> None:
        market = pipeline.choose_market(RunSettings("ZERODHA", "RELIANCE", "1D", "2025-01-01", "2025-01-02"))
        assert market.start == 1_735_669_800_000  # 2024-12-31 18:30 UTC = 2025-01-01 00:00 IST

    def test_shares_are_whole_where_nothing_is_said(self) -> None:
        assert pipeline.choose_market(RunSettings("ZERODHA", "RELIANCE")).quantity == 1.0

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (RunSettings(symbol="BTCUSDT"), "no exchange is named"),
            (RunSettings(symbol="SAMPLE-BTX"), "Did you mean SAMPLE-BTC"),
            (RunSettings(exchange="BINANCE"), "no symbol"),
            (RunSettings(exchange="BINANCES", symbol="BTCUSDT"), "Did you mean BINANCE"),
            (RunSettings(timeframe="2M"), "not a timeframe"),
            (RunSettings(start="2025-01-32"), "start: '2025-01-32' is not a time"),
            (RunSettings(start="2025-02-01", end="2025-01-01"), "nothing lies in it"),
            (RunSettings(detail="5M", detail_file=Path("x.csv")), "asked for twice"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, settings: RunSettings, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            pipeline.choose_market(settings)


class TestStage4:
    def test_values_go_to_the_strategy_and_to_the_account_by_their_names(self) -> None:
        values = {"ema_fast": "10", "enable_rsi_filter": "false", "leverage": "2", "slippage": "1e-3"}
        rules = pipeline.choose_rules(RunSettings(values=values))
        assert rules.strategy == EmaRsiAtr(ema_fast=10, enable_rsi_filter=False)
        assert (rules.execution.leverage, rules.execution.slippage) == (2.0, 0.001)
        described = pipeline.describe_rules(rules)
        assert described == "EMA/RSI/ATR, ema_fast=10, enable_rsi_filter=False, leverage=2.0, slippage=0.001"

    @pytest.mark.parametrize("text", ["none", "None", "null", ""])
    def test_none_switches_a_setting_off(self, text: str) -> None:
        assert (
            pipeline.choose_rules(RunSettings(values={"max_participation": text})).execution.max_participation is None
        )

    def test_fees_are_chosen_by_venue_and_product(self) -> None:
        rules = pipeline.choose_rules(RunSettings(values={"fees": "zerodha:equity_intraday"}))
        assert rules.execution.fees is not None
        assert "equity_intraday" in rules.execution.fees.name

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"ema_fsat": "10"}, "ema_fsat is neither .* Did you mean ema_fast"),
            ({"levrage": "2"}, "Did you mean leverage"),
            ({"ema_fast": "ten"}, "ema_fast must be a valid integer"),
            ({"ema_fast": "10.5"}, "ema_fast must be a valid integer"),
            ({"ema_fast": "60"}, "ema_fast < ema_slow < ema_trend"),
            ({"ema_fast": "none"}, "ema_fast must be a valid integer"),
            ({"enable_rsi_filter": "perhaps"}, "enable_rsi_filter must be a valid boolean"),
            ({"atr_sl_multiplier": "-1"}, "atr_sl_multiplier must be greater than 0"),
            ({"slippage": "nan"}, "slippage must be a finite number"),
            ({"initial_capital": "0"}, "initial_capital must be greater than 0"),
            ({"intrabar": "median"}, "intrabar must be 'worst', 'path' or 'best'"),
            ({"fees": "ZERODA"}, "has no fee schedule"),
            ({"fees": "ZERO", "taker_fee": "0.001"}, "not both"),
        ],
    )
    def test_an_unknown_name_or_an_impossible_value_is_refused(self, values: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            pipeline.choose_rules(RunSettings(values=values))

    def test_a_name_that_means_two_things_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="both a parameter of Levered and an execution setting"):
            pipeline.choose_rules(RunSettings(strategy=Levered, values={"leverage": "2"}))


class TestStage5:
    def test_candles_detail_and_baseline_are_those_of_the_public_functions(self, home: Path) -> None:
        settings = RunSettings(start="2024-01-01", end="2024-03-01", detail="15M")
        market = pipeline.choose_market(settings)
        inputs = pipeline.fetch_inputs(settings, market)
        candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-03-01")
        assert inputs.candles == candles
        assert inputs.detail is not None
        assert len(inputs.detail) == 4 * len(candles)
        result = pipeline.run_baseline(inputs, pipeline.choose_rules(settings), market.quantity)
        assert result.to_dict() == backtest(candles, EmaRsiAtr(), 0.1, detail=inputs.detail).to_dict()

    def test_a_file_is_cut_to_the_span(self, home: Path) -> None:
        candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01")
        file = write_candles(candles, home / "candles.parquet")
        settings = RunSettings(candle_file=file, start="2024-01-10", end="2024-01-12")
        inputs = pipeline.fetch_inputs(settings, pipeline.choose_market(settings))
        assert inputs.candles == candles.between("2024-01-10", "2024-01-12")

    def test_a_span_outside_the_file_is_refused_with_what_the_file_has(self, home: Path) -> None:
        candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01")
        settings = RunSettings(candle_file=write_candles(candles, home / "candles.parquet"), start="2025-01-01")
        with pytest.raises(DataError, match="2024-01-01 00:00 UTC to 2024-01-31 23:00 UTC"):
            pipeline.fetch_inputs(settings, pipeline.choose_market(settings))

    def test_detail_by_timeframe_needs_to_know_the_market(self, home: Path) -> None:
        rows = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01").to_pandas().reset_index()
        rows.to_csv(home / "anonymous.csv", index=False)
        settings = RunSettings(candle_file=home / "anonymous.csv", detail="5M")
        with pytest.raises(ConfigError, match="do not name theirs"):
            pipeline.fetch_inputs(settings, pipeline.choose_market(settings))
