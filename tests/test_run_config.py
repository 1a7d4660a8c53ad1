"""One file of settings: what may stand in it, what comes before what, and that nothing is lost on the way."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from barwise.cli import main
from barwise.config import ExecutionConfig, OptimizationConfig, OptimizationProfile, WalkForwardConfig
from barwise.costs import fee_schedule
from barwise.errors import ConfigError
from barwise.manifest.strategies import load_strategy
from barwise.pipeline import RunSettings, choose_rules
from barwise.run_config import SECTIONS, RunConfig, ValidationSettings, example, keys_of, resolve, schema, toml_value
from barwise.strategy.base import Strategy
from barwise.strategy.ema_rsi_atr import EmaRsiAtr
from tests.no_network import cut_off

BREAKOUT = """
from barwise import Bars, Int, Plan, Strategy, rolling_max, shift


class Breakout(Strategy):
    lookback: int = Int(20, low=2, help="bars of the high")

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close > shift(rolling_max(bars.high, self.lookback)))
"""
SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch)


@pytest.fixture
def call(home: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process, with an empty folder as home and working directory."""

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return run


def resolved(text: str | None = None, **options: Any) -> RunConfig:
    """What a file with this text, in the working directory, comes to."""
    file = None
    if text is not None:
        file = Path("run.toml")
        file.write_text(text, encoding="utf-8")
    return resolve(file, load=load_strategy, **({"environment": {}} | options))


def uncommented(text: str) -> str:
    """An example file with every setting in force."""
    return re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)


class TestKeys:
    def test_nothing_said_is_the_default_of_every_class(self) -> None:
        found = resolved()
        assert found.settings == RunSettings()
        assert (found.strategy, found.execution) == (EmaRsiAtr(), ExecutionConfig())
        assert (found.optimization, found.walk_forward) == (OptimizationConfig(), WalkForwardConfig())
        assert found.validation == ValidationSettings()
        assert {source for of_section in found.sources.values() for source in of_section.values()} == {"default"}

    def test_every_setting_of_a_run_is_a_key_of_the_file(self) -> None:
        elsewhere = {"strategy": "strategy.class", "values": "[strategy] and [execution]", "check_lookahead": "option"}
        names = {"file" if field.name == "candle_file" else field.name for field in fields(RunSettings)}
        assert set(keys_of("market")) == names - set(elsewhere)
        assert set(keys_of("strategy")) == {"class", *EmaRsiAtr.model_fields}
        assert set(keys_of("execution")) == set(ExecutionConfig.model_fields)
        assert set(keys_of("optimization")) == set(OptimizationConfig.model_fields)
        assert set(keys_of("walk_forward")) == set(WalkForwardConfig.model_fields)

    def test_every_key_says_what_it_is(self) -> None:
        assert [(section, name) for section in SECTIONS for name, key in keys_of(section).items() if not key.help] == []

    def test_a_class_brings_its_own_keys(self, home: Path) -> None:
        (home / "breakout.py").write_text(BREAKOUT)
        found = resolved('[strategy]\nclass = "breakout.py:Breakout"\nlookback = 30\nallow_short = false')
        assert type(found.strategy).__name__ == "Breakout"
        assert found.settings.strategy is type(found.strategy)
        assert found.settings.values == {"lookback": "30", "allow_short": "false"}
        assert list(found.values["strategy"])[:2] == ["class", "lookback"]
        with pytest.raises(ConfigError, match=r"run.toml: ema_fast is not a key of \[strategy\]"):
            resolved('[strategy]\nclass = "breakout.py"\nema_fast = 10')


class TestValues:
    def test_values_arrive_with_their_types(self, home: Path) -> None:
        found = resolved(
            """
            [market]
            exchange = "BINANCE"
            start = 2025-01-01
            end = 2025-02-01T04:00:00Z
            quantity = 2
            file = "candles.csv"
            [strategy]
            ema_fast = 10
            enable_rsi_filter = false
            [execution]
            slippage = 1e-3
            max_participation = "none"
            fees = "ZERODHA:equity_intraday"
            [optimization]
            profile = "FAST"
            objective = ["sharpe_ratio", "calmar"]
            fixed = ["atr_period"]
            [optimization.ranges]
            ema_fast = [5, 40]
            [validation]
            permutations = 0
            """
        )
        settings = found.settings
        assert (settings.start, settings.end) == ("2025-01-01", "2025-02-01T04:00:00+00:00")
        assert (settings.exchange, settings.quantity, settings.candle_file) == ("BINANCE", 2.0, Path("candles.csv"))
        assert found.strategy == EmaRsiAtr(ema_fast=10, enable_rsi_filter=False)
        assert found.execution == ExecutionConfig(
            slippage=0.001, max_participation=None, fees=fee_schedule("ZERODHA", "equity_intraday")
        )
        assert found.optimization == OptimizationConfig(
            profile=OptimizationProfile.FAST,
            objective=("sharpe_ratio", "calmar"),
            fixed=("atr_period",),
            ranges={"ema_fast": (5.0, 40.0)},
        )
        assert found.validation.permutations == 0

    def test_the_stages_get_the_same_rules_as_the_sections_say(self, home: Path) -> None:
        found = resolved("[strategy]\natr_sl_multiplier = 1.1000000000000001\n[execution]\nleverage = 3")
        rules = choose_rules(found.settings)
        assert (rules.strategy, rules.execution) == (found.strategy, found.execution)
        assert found.strategy.atr_sl_multiplier == 1.1000000000000001

    def test_a_byte_order_mark_is_no_part_of_a_file(self, home: Path) -> None:
        assert resolved('\ufeff[market]\nsymbol = "SAMPLE-ETH"').settings.symbol == "SAMPLE-ETH"

    def test_windows_do_not_overlap_unless_somebody_says_so(self, home: Path) -> None:
        assert resolved("[walk_forward]\noos_length_days = 30").walk_forward.stride_days == 30
        assert resolved("[walk_forward]\noos_length_days = 30\nstride_days = 10").walk_forward.stride_days == 10

    @pytest.mark.parametrize(
        "value", ['quote " and \\ and tab\t', "line\nbreak \x00\x1f\x7f", "日本 €", "", 7, -0.5, 1e-05, 1e300, True]
    )
    def test_what_is_written_is_read_back(self, value: Any) -> None:
        assert tomllib.loads(f"x = {toml_value(value)}\ny = {toml_value([value, {'a b': value}])}") == {
            "x": value,
            "y": [value, {"a b": value}],
        }


class TestPrecedence:
    def test_options_come_before_set_before_the_environment_before_the_file(self, home: Path) -> None:
        text = '[market]\nsymbol = "A"\ntimeframe = "1D"\nexchange = "SAMPLE"\n[strategy]\nema_fast = 11\n'
        found = resolved(
            text,
            environment={
                "BARWISE_MARKET__SYMBOL": "B",
                "BARWISE_MARKET__TIMEFRAME": "2H",
                "BARWISE_STRATEGY__EMA_FAST": "12",
                "BARWISE_STRATEGY__EMA_SLOW": "42",
                "BARWISE_EXECUTION__LEVERAGE": "  ",
                "BARWISE_HOME": "no section",
                "SOMEBODY_ELSE__X": "1",
            },
            settings={"market.symbol": "C", "ema_fast": "13"},
            options={"market": {"symbol": "D", "timeframe": None}},
        )
        assert (found.settings.symbol, found.settings.timeframe, found.settings.exchange) == ("D", "2H", "SAMPLE")
        assert found.strategy == EmaRsiAtr(ema_fast=13, ema_slow=42)
        market, strategy = found.sources["market"], found.sources["strategy"]
        assert (market["symbol"], market["timeframe"], market["exchange"]) == ("option", "environment", "file")
        assert (strategy["ema_fast"], strategy["ema_slow"], strategy["ema_trend"]) == (
            "--set",
            "environment",
            "default",
        )
        assert found.sources["execution"]["leverage"] == "default"

    def test_lists_and_tables_are_said_as_in_toml(self) -> None:
        found = resolved(
            environment={"BARWISE_OPTIMIZATION__FIXED": '["ema_fast"]'},
            settings={"optimization.ranges": "{ema_slow = [60, 70]}", "optimization.num_trials": "none"},
        )
        assert found.optimization == OptimizationConfig(fixed=("ema_fast",), ranges={"ema_slow": (60.0, 70.0)})

    def test_a_file_and_an_option_that_differ_only_in_the_file_s_mistake_still_fail(self, home: Path) -> None:
        with pytest.raises(ConfigError, match="ema_fast must be a valid integer"):
            resolved("[strategy]\nema_fast = '10'", settings={"ema_fast": "10"})


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[market\n", r"^run\.toml is not TOML: .*line 1, column 8"),
            ("[market]\na = 1\na = 2", r"^run\.toml is not TOML: .*line 3, column 6"),
            ("[optimization]\nfixed = ['a',", r"^run\.toml is not TOML: .*at the end, line 2"),
            ("x = 5", r"^run\.toml: x is not a section"),
            ('symbol = "X"', r"^run\.toml: symbol stands outside of its section"),
            ("[markt]", r"^run\.toml: markt is not a section\. Did you mean market\?"),
            ("market = 5", r"^run\.toml: market must be a section; got 5"),
            ('[market]\nsymbl = "X"', r"^run\.toml: symbl is not a key of \[market\]\. Did you mean symbol\?"),
            (
                "[strategy]\nleverage = 2",
                r"^run\.toml: leverage is not a key of \[strategy\]\. It belongs to \[execution\]",
            ),
            ("[market]\nsymbol = 5", r"^run\.toml: \[market\] symbol must be a valid string; got 5"),
            ("[market]\nstart = true", r"^run\.toml: \[market\] start must be a valid date"),
            ("[market]\nstart = 08:00:00", r"^run\.toml: \[market\] start must be a valid date"),
            ("[market]\nquantity = 0", r"^run\.toml: \[market\] quantity: order quantity must be a positive number"),
            ("[market]\nquantity = nan", r"^run\.toml: \[market\] quantity: .*got nan"),
            ("[market]\nquantity = '0.1'", r"^run\.toml: \[market\] quantity must be a valid number; got '0\.1'"),
            ("[strategy]\nema_fast = true", r"^run\.toml: \[strategy\] ema_fast must be a valid integer; got True"),
            ("[strategy]\nema_fast = 10.5", r"^run\.toml: \[strategy\] ema_fast must be a valid integer"),
            ("[strategy]\nema_fast = 1", r"^run\.toml: \[strategy\] ema_fast must be greater than or equal to 2"),
            ("[strategy]\nema_slow = 10", r"^run\.toml: \[strategy\] ema_fast < ema_slow < ema_trend must hold"),
            (
                "[strategy]\nenable_rsi_filter = 1",
                r"^run\.toml: \[strategy\] enable_rsi_filter must be a valid boolean",
            ),
            ("[strategy]\nclass = 5", r"^run\.toml: \[strategy\] class must be a text; got 5"),
            ('[strategy]\nclass = "no.py:X"', r"^run\.toml: \[strategy\] there is no file no\.py"),
            ("[execution]\nfees = 'NOVENUE'", r"^run\.toml: \[execution\] fees: 'NOVENUE' has no fee schedule"),
            (
                "[execution]\nintrabar = 'wurst'",
                r"^run\.toml: \[execution\] intrabar must be 'worst', 'path' or 'best'",
            ),
            ("[execution]\nleverage = 'none'", r"^run\.toml: \[execution\] leverage must be a valid number; got None"),
            (
                "[execution]\nfees = 'ZERO'\nmaker_fee = 0.1",
                r"^run\.toml: \[execution\] give either fees or maker_fee/taker_fee",
            ),
            ("[optimization]\nprofile = 'SLOW'", r"^run\.toml: \[optimization\] profile must be 'FAST', 'BALANCED'"),
            ("[optimization]\nranges = {ema_fast = [5]}", r"^run\.toml: \[optimization\] ranges must be of its type"),
            ("[optimization]\nfidelity_levels = [0.5]", r"^run\.toml: \[optimization\] fidelity_levels must rise"),
            (
                "[validation]\npermutations = -1",
                r"^run\.toml: \[validation\] permutations must be greater than or equal",
            ),
        ],
    )
    def test_a_mistake_names_file_section_and_key(self, home: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message) as caught:
            resolved(text)
        assert "\n" not in caught.value.message

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("BARWISE_MARKT__SYMBOL", "X", r"^BARWISE_MARKT__SYMBOL: markt is not a section\. Did you mean market"),
            ("BARWISE_MARKET__SYMBL", "X", r"^BARWISE_MARKET__SYMBL: symbl is not a key of \[market\]\. Did you"),
            ("BARWISE_EXECUTION__LEVERAGE", "x", r"^BARWISE_EXECUTION__LEVERAGE: leverage must be a valid number"),
            ("BARWISE_STRATEGY__EMA_FAST", "60", r"^BARWISE_STRATEGY__EMA_FAST: ema_fast < ema_slow < ema_trend"),
            ("BARWISE_OPTIMIZATION__FIXED", "[ema", r"^BARWISE_OPTIMIZATION__FIXED: fixed must be a list or a table"),
        ],
    )
    def test_a_mistake_in_a_variable_names_it(self, name: str, value: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            resolved(environment={name: value})

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("markt.symbol", r"^--set markt\.symbol: markt is not a section\. Did you mean market"),
            ("market.symbl", r"^--set market\.symbl: symbl is not a key of \[market\]\. Did you mean symbol"),
            ("execution.leverage", r"^--set execution\.leverage: leverage must be a valid number"),
            ("symbol", r"^symbol is a key of \[market\], and only parameters"),
            ("ema_fsat", r"^ema_fsat is neither a parameter of EMA/RSI/ATR .* Did you mean ema_fast"),
        ],
    )
    def test_a_mistake_of_set_names_it(self, name: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            resolved(settings={name: "x"})

    def test_a_file_that_cannot_be_read_is_one_sentence(self, home: Path) -> None:
        (home / "run.toml").write_bytes(b"\xff\xfe[market]")
        for file, message in (
            ("rum.toml", r"^there is no file rum\.toml\. Did you mean run\.toml\?"),
            (".", r"^\. cannot be read"),
            ("run.toml", r"^run\.toml is not TOML: byte 0 is not UTF-8"),
        ):
            with pytest.raises(ConfigError, match=message):
                resolve(Path(file), environment={}, load=load_strategy)


class TestCredentials:
    @pytest.mark.parametrize(
        "text",
        [
            '[market]\napi_secret = "sesame"',
            'DHAN_ACCESS_TOKEN = "sesame"',
            '[binance]\napi_key = "sesame"',
            '[credentials]\nx = "sesame"',
            '[execution]\npassword = "sesame"',
            '[optimization]\nstorage = "postgresql://user:sesame@host/database"',
            '[optimization]\nstorage = "postgresql://host/database?user=me&password=sesame"',
        ],
    )
    def test_a_credential_in_a_file_is_refused_without_its_value(self, home: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="settings hold none") as caught:
            resolved(text)
        assert "sesame" not in str(caught.value)
        assert re.search(r"config/\.env|PGPASSWORD", caught.value.hint)

    def test_a_credential_by_another_way_is_refused_too(self) -> None:
        with pytest.raises(ConfigError, match="settings hold none") as of_variable:
            resolved(environment={"BARWISE_MARKET__API_KEY": "sesame"})
        with pytest.raises(ConfigError, match="settings hold none") as of_set:
            resolved(settings={"market.token": "sesame"})
        assert "sesame" not in f"{of_variable.value} {of_set.value}"

    @pytest.mark.parametrize(
        ("address", "written"),
        [
            ("postgresql://user:sesame@host/database", "postgresql://user@host/database"),
            ("postgresql://host/database?user=me&password=sesame", "postgresql://host/database?user=me"),
        ],
    )
    def test_a_password_of_the_ledger_reaches_the_search_and_no_file(
        self, home: Path, address: str, written: str
    ) -> None:
        found = resolved(environment={"BARWISE_OPTIMIZATION__STORAGE": address})
        assert found.optimization.storage == address
        assert "sesame" not in found.to_toml()
        assert "sesame" not in repr(found)
        assert found.values["optimization"]["storage"] == written
        # What the file says is again an address, without the password.
        assert resolved(found.to_toml()).optimization.storage == written

    def test_an_address_that_came_out_empty_is_not_the_default(self, home: Path) -> None:
        for given in (
            {"options": {"optimization": {"storage": ""}}},
            {"settings": {"optimization.storage": " "}},
            {"text": '[optimization]\nstorage = ""'},
        ):
            with pytest.raises(ConfigError, match="storage must name a ledger; got an empty text"):
                resolved(**given)
        assert resolved(settings={"optimization.storage": "none"}).optimization.storage is None


class TestRoundTrip:
    def test_the_example_changes_nothing_also_when_every_line_is_in_force(self, home: Path) -> None:
        assert resolved(example()).values == resolved().values
        found = resolved(uncommented(example()))
        assert found.values == resolved().values
        assert {source for of_section in found.sources.values() for source in of_section.values()} == {"file"}

    def test_the_example_of_a_class_names_it_and_has_its_parameters(self, home: Path) -> None:
        (home / "breakout.py").write_text(BREAKOUT)
        kind: type[Strategy] = load_strategy("breakout.py:Breakout")
        text = example(kind, "breakout.py:Breakout")
        assert re.search(r"^#lookback = 20 +# bars of the high$", text, re.MULTILINE)
        assert type(resolved(text).strategy).__name__ == "Breakout"

    def test_what_was_resolved_is_a_file_that_means_the_same(self, home: Path) -> None:
        first = resolved(
            '[market]\nsymbol = "SAMPLE-ETH"\nstart = 2024-01-01\n[strategy]\nema_fast = 12\natr_sl_multiplier = 0.1',
            settings={"fees": "ZERODHA", "optimization.ranges": "{ema_fast = [5, 40]}", "max_participation": "none"},
        )
        second = resolved(first.to_toml())
        assert second.values == first.values
        assert (second.strategy, second.execution) == (first.strategy, first.execution)
        assert second.optimization == first.optimization
        assert second.to_toml() == re.sub(r"# [a-z-]+$", "# file", first.to_toml(), flags=re.MULTILINE)

    def test_the_schema_has_every_key_its_bounds_and_its_default(self) -> None:
        sections = schema()["properties"]
        assert {name: set(content["properties"]) for name, content in sections.items()} == {
            name: set(keys_of(name)) for name in SECTIONS
        }
        assert all(content["additionalProperties"] is False for content in sections.values())
        fast = sections["strategy"]["properties"]["ema_fast"]
        assert (fast["type"], fast["minimum"], fast["default"]) == ("integer", 2, 20)
        share = sections["execution"]["properties"]["max_participation"]
        assert share["anyOf"] == [{"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0}, {"const": "none"}]
        assert sections["execution"]["properties"]["fees"]["default"] == "none"
        assert sections["execution"]["properties"]["intrabar"]["enum"] == ["worst", "path", "best"]
        assert sections["optimization"]["properties"]["ranges"]["type"] == "object"
        text = json.dumps(schema(), allow_nan=False)
        assert set(re.findall(r"#/\$defs/(\w+)", text)) == set(schema()["$defs"])
        assert '"null"' not in text


class TestCommands:
    def test_init_then_show_gives_the_defaults(self, call: Call, home: Path) -> None:
        assert call("config", "init")[0] == 0
        code, shown, _ = call("config", "show", "barwise.toml")
        assert code == 0
        assert shown == resolved().to_toml().rstrip() + "\n"
        again = call("config", "init")
        assert again[0] == 2
        assert "barwise.toml is there already" in again[2]

    def test_show_says_where_each_value_came_from(
        self, call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "run.toml").write_text("[strategy]\nema_fast = 12\n")
        monkeypatch.setenv("BARWISE_STRATEGY__EMA_SLOW", "60")
        words = ("config", "show", "run.toml", "--set", "leverage=2", "--set", "walk_forward.embargo=5")
        shown = call(*words)[1]
        for line in (
            "ema_fast = 12 +# file",
            "ema_slow = 60 +# environment",
            "leverage = 2.0 +# --set",
            "embargo = 5 +# --set",
        ):
            assert re.search(f"^{line}$", shown, re.MULTILINE), line
        document = json.loads(call(*words, "--json")[1])
        assert document["values"]["strategy"]["ema_slow"] == 60
        assert document["sources"]["strategy"]["ema_slow"] == "environment"

    def test_schema_is_one_json_document(self, call: Call) -> None:
        assert json.loads(call("config", "schema")[1]) == json.loads(json.dumps(schema()))

    def test_run_with_a_file_gives_the_same_result_as_the_same_options(self, call: Call, home: Path) -> None:
        (home / "run.toml").write_text(
            '[market]\nsymbol = "SAMPLE-ETH"\ntimeframe = "2H"\nstart = 2024-01-01\nend = 2024-04-01\nquantity = 2\n'
            "[strategy]\nema_fast = 12\nenable_rsi_filter = false\n[execution]\nslippage = 0.001\n"
            '[optimization]\nprofile = "FAST"\nnum_trials = 24\n[validation]\npermutations = 0\n'
        )
        by_hand = call(
            "run", "--symbol", "SAMPLE-ETH", "--timeframe", "2H", "--start", "2024-01-01", "--end", "2024-04-01",
            "--qty", "2", "--profile", "FAST", "--set", "ema_fast=12", "--set", "enable_rsi_filter=false",
            "--set", "slippage=0.001", "--set", "optimization.num_trials=24", "--set", "validation.permutations=0",
            "--json",
        )  # fmt: skip
        expected = json.loads(by_hand[1].splitlines()[-1])
        assert expected["runs"][0]["comparison"]["baseline"]["figures"]["trades"] > 0
        saved = home / "data" / "results" / f"{expected['name']}.config.toml"
        saved = saved.rename(home / "saved.toml")
        for file in ("run.toml", saved):
            found = json.loads(call("run", file, "--json")[1].splitlines()[-1])
            # The same name, and so everything was there already: a run is named by all that could change it.
            assert found["name"] == expected["name"]
            assert {stage["state"] for stage in found["stages"] if stage["number"] in ("7.1", "7.2", "7.3")} == {"kept"}
            assert found["runs"][0]["comparison"] == expected["runs"][0]["comparison"]

    def test_an_option_comes_before_the_file_of_a_backtest(self, call: Call, home: Path) -> None:
        (home / "run.toml").write_text('[market]\nsymbol = "SAMPLE-ETH"\n[strategy]\nema_fast = 12\n')
        words = ("backtest", "--no-report", "--json", *SPAN, "--config", "run.toml")
        result = json.loads(call(*words, "--symbol", "SAMPLE-BTC", "--set", "ema_fast=13")[1])
        assert result["symbol"] == "SAMPLE-BTC"
        assert result["strategy"]["parameters"]["ema_fast"] == 13
        assert json.loads(call(*words)[1])["strategy"]["parameters"]["ema_fast"] == 12

    def test_a_search_by_file_is_the_same_as_by_options(self, call: Call, home: Path) -> None:
        (home / "run.toml").write_text(
            '[optimization]\noptuna_sampler = "RANDOM"\nnum_trials = 6\nseed = 7\nfixed = ["atr_period"]\n'
            'choose = "robust"\nmulti_fidelity = false\n[optimization.ranges]\nema_fast = [5, 40]\n'
        )
        words = ("optimize", *SPAN, "--stage", "7.1", "--json", "--no-report")
        options = ("--sampler", "RANDOM", "--trials", "6", "--seed", "7", "--fix", "atr_period", "--robust", "--full")
        by_hand = call(*words, *options, "--range", "ema_fast=5:40", "--storage", "one.sqlite")
        by_file = call(*words, "--config", "run.toml", "--storage", "two.sqlite")
        assert (by_hand[0], by_file[0]) == (0, 0)
        one, two = (json.loads(outcome[1].splitlines()[-1]) for outcome in (by_hand, by_file))
        for part in ("parameters", "best", "plateau", "luck_line", "n_trials"):
            assert one[part] == two[part], part
        assert one["stages"][0]["space"] == two["stages"][0]["space"]
        assert one["stages"][0]["space"]["ema_fast"]["low"] == 5
        assert "atr_period" not in one["stages"][0]["space"]

    def test_a_search_by_file_leaves_its_settings_beside_the_report(self, call: Call, home: Path) -> None:
        (home / "run.toml").write_text("[optimization]\nnum_trials = 6\noptuna_sampler = 'RANDOM'\n")
        words = ("optimize", *SPAN, "--stage", "7.1", "--json")
        files = json.loads(call(*words, "--config", "run.toml", "--seed", "9")[1].splitlines()[-1])["files"]
        found = resolve(Path(files["config"]), environment={}, load=load_strategy)
        assert (found.optimization.num_trials, found.optimization.seed) == (6, 9)
        assert found.settings.start == "2024-01-01"
        assert "config" not in json.loads(call(*words, "--trials", "6")[1].splitlines()[-1])["files"]

    def test_the_windows_of_a_walk_forward_may_stand_in_the_file(self, call: Call, home: Path) -> None:
        (home / "run.toml").write_text("[walk_forward]\nis_length_days = 40\noos_length_days = 15\n")
        words = ("walk-forward", "--fixed", "--start", "2024-01-01", "--end", "2024-06-01", "--json")
        by_hand = call(*words, "--is-days", "40", "--oos-days", "15")
        by_file = call(*words, "--config", "run.toml")
        assert (by_hand[0], by_file[0]) == (0, 0)
        one, two = (json.loads(outcome[1].splitlines()[-1]) for outcome in (by_hand, by_file))
        assert one["windows"] == two["windows"]
        assert "is_length_days = 40" in Path(two["files"]["config"]).read_text()
        assert len(one["windows"]) == 7  # 152 days: 40 before, then as many whole 15 as fit
