"""Questions on a terminal: what is asked, what an answer has to be, and that nothing but answers comes out of it."""

import fcntl
import io
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer

from barwise.cli.options import parsed_settings
from barwise.cli.prompts import ask_for_missing
from barwise.cli.run import run
from barwise.cli.terminal import Terminal
from barwise.errors import ConfigError, DataError
from barwise.exchange.manager import VENUES
from barwise.manifest.strategies import load_strategy
from barwise.pipeline import choose_market
from barwise.run_config import RunConfig, resolve
from tests.no_network import cut_off

SOURCE = Path(__file__).resolve().parents[1] / "src"
TODAY = date(2026, 11, 23)
SAMPLE = {"exchange": "SAMPLE", "symbol": "SAMPLE-BTC", "timeframe": "1H", "quantity": 0.1}
PROFILE = {"profile": "BALANCED"}
WHOLE = {"market": SAMPLE, "optimization": PROFILE}
A_STRATEGY = """
from barwise import Bars, Int, Plan, Strategy


class Always(Strategy):
    gap: int = Int(20, low=2, help="bars between entries")

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close > 0)
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    cut_off(monkeypatch)


class Typed(io.StringIO):
    """What is typed, line by line, echoed to the screen as a terminal does."""

    def __init__(self, text: str, screen: io.StringIO) -> None:
        super().__init__(text)
        self._screen = screen

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        line = super().readline(-1 if size is None else size)
        self._screen.write(line)
        return line


class Asked:
    """A whole round of questions with fed answers.

    Attributes:
        screen: Everything that was shown.
        answers: What came of it; None where it ended early.
        prompts: The questions by name, in order, repetitions included.
    """

    def __init__(self, *lines: str, file: Path | None = None, **told: Any) -> None:
        self.told = said(**told)
        screen = io.StringIO()
        typed = Typed("".join(f"{line}\n" for line in lines), screen)
        self.answers: dict[str, dict[str, Any]] | None = None
        self.aborted = False
        try:
            self.answers = ask_for_missing(self.told, file=file, terminal=Terminal(typed, screen), today=TODAY)
        except typer.Abort:
            self.aborted = True
        self.left = typed.read()
        self.screen = screen.getvalue()

    @property
    def prompts(self) -> list[str]:
        return [re.sub(r" [(\[].*| *:.*|,.*", "", line) for line in self.screen.splitlines() if is_prompt(line)]

    @property
    def market(self) -> dict[str, Any]:
        assert self.answers is not None, self.screen
        return self.answers["market"]

    def default_of(self, name: str) -> str:
        """What Enter would have taken at the first question of that name; "" = it has no default."""
        line = next(line for line in self.screen.splitlines() if line.startswith((f"{name} ", f"{name}:")))
        found = re.search(r"\[([^\]]*)\]: ?", line)
        return found.group(1) if found else ""


def is_prompt(line: str) -> bool:
    return bool(re.match(r"(mode|venue|symbol|timeframes?|start|end|quantity|another|strategy|search|go on)\b", line))


def said(text: str | None = None, **told: Any) -> RunConfig:
    """What a run was told: a file's text, options, --set."""
    file = None
    if text is not None:
        file = Path("told.toml")
        file.write_text(text, encoding="utf-8")
    return resolve(file, load=load_strategy, **({"environment": {}} | told))


def market(**values: Any) -> dict[str, Any]:
    return {"options": {"market": values}}


def shown_again(asked: Asked) -> RunConfig:
    """What the command that was shown at the end comes to, read by the command's own parser."""
    words = shlex.split(next(line for line in asked.screen.splitlines() if line.startswith("  barwise run ")))
    app = typer.Typer()
    app.command()(run)
    given = typer.main.get_command(app).make_context("barwise run", words[2:]).params
    assert given["yes"]
    names = ("exchange", "symbol", "timeframe", "start", "end", "file", "detail")
    named = {name: given[name] for name in names} | {"quantity": given["qty"]}
    if given["market"]:
        parts = [dict(zip(ONE_OF_SEVERAL, text.split(","), strict=False)) for text in given["market"]]
        named["markets"] = [part | {"quantity": float(part.get("quantity", 0.1))} for part in parts]
    sections = {"strategy": {"class": given["strategy"]}, "optimization": {"profile": given["profile"]}}
    return said(options={"market": named, **sections}, settings=parsed_settings(given["settings"]))


ONE_OF_SEVERAL = ("exchange", "symbol", "timeframe", "quantity")
ENTER = ("",) * 12
# mode, venue, symbol, timeframe, start, end, quantity, strategy, search, go on
ORDER = ["mode", "venue", "symbol", "timeframe", "start", "end", "quantity", "strategy", "search", "go on?"]


class TestWhatIsAsked:
    def test_enter_everywhere_is_one_market_of_sample(self) -> None:
        asked = Asked(*ENTER)
        assert asked.answers == WHOLE
        assert asked.prompts == ORDER
        assert "SYNTHETIC" in asked.screen

    def test_enter_everywhere_is_the_run_that_nobody_was_asked_about(self) -> None:
        with_answers = choose_market(said(options=Asked(*ENTER).answers).settings)
        assert with_answers == choose_market(said().settings)

    @pytest.mark.parametrize(
        ("told", "left"),
        [
            (market(exchange="SAMPLE"), [name for name in ORDER if name != "venue"]),
            (market(symbol="SAMPLE-ETH"), [name for name in ORDER if name not in {"mode", "symbol"}]),
            (market(start="2024-01-01"), [name for name in ORDER if name != "start"]),
            (market(quantity=2.0), [name for name in ORDER if name != "quantity"]),
            ({"settings": {"ema_fast": "10"}}, [name for name in ORDER if name != "strategy"]),
            (
                {"settings": {"strategy.class": "barwise.strategy.ema_rsi_atr:EmaRsiAtr"}},
                [n for n in ORDER if n != "strategy"],
            ),
            ({"settings": {"optimization.profile": "FAST"}}, [name for name in ORDER if name != "search"]),
            ({"environment": {"BARWISE_MARKET__TIMEFRAME": "4H"}}, [name for name in ORDER if name != "timeframe"]),
            (market(file="candles.csv"), ["quantity", "strategy", "search", "go on?"]),
            ({"text": '[market]\nmarkets = [{symbol = "SAMPLE-ETH"}]'}, [*ORDER[4:6], *ORDER[7:]]),
            ({"text": '[market]\nmarkets = [{file = "a.csv"}]'}, ORDER[7:]),
            (market(detail_file="fine.csv"), ORDER[1:]),
            (market(funding_file="funding.csv"), ORDER[1:]),
            (market(detail="5M"), ORDER),
        ],
        ids=str,
    )
    def test_only_what_nobody_said_is_asked(self, told: dict[str, Any], left: list[str]) -> None:
        asked = Asked(*ENTER, **told)
        assert asked.prompts == left
        resolve(None, load=load_strategy, environment={}, options=asked.answers)

    def test_what_was_said_is_not_in_the_answers(self) -> None:
        asked = Asked(*ENTER, **market(exchange="sample", timeframe="4H", quantity=2.0))
        assert asked.answers == {"market": {"symbol": "SAMPLE-BTC"}, "optimization": PROFILE}

    def test_nothing_is_asked_where_everything_was_said(self) -> None:
        told = {
            "market": {**SAMPLE, "start": "2024-01-01", "end": "2024-03-01"},
            "strategy": {"class": "barwise.strategy.ema_rsi_atr:EmaRsiAtr"},
            "optimization": PROFILE,
        }
        asked = Asked(options=told)
        assert (asked.answers, asked.screen) == ({}, "")

    def test_a_value_that_was_left_open_on_purpose_is_asked_where_a_run_needs_one(self) -> None:
        asked = Asked("", "", "SAMPLE-SOL", *ENTER, settings={"market.symbol": "none"})
        assert asked.market["symbol"] == "SAMPLE-BTC"
        assert asked.prompts[0] == "venue"

    def test_a_command_has_its_own_default_of_the_search(self) -> None:
        asked = Asked(*ENTER, defaults={"optimization": {"profile": "FAST"}})
        assert asked.answers == {"market": SAMPLE, "optimization": {"profile": "FAST"}}


class TestDefaults:
    @pytest.mark.parametrize(
        ("venue", "symbol", "quantity"),
        [
            ("binance", "BTCUSDT", 0.1),
            ("Binance_UM", "BTCUSDT", 0.1),
            ("delta", "BTCUSD", 0.1),
            ("ZERODHA", "RELIANCE", 1.0),
            ("dhan", "RELIANCE", 1.0),
        ],
    )
    def test_every_venue_has_a_symbol_a_quantity_and_a_year_of_whole_days(
        self, venue: str, symbol: str, quantity: float
    ) -> None:
        # A venue that lacks its keys is asked about once more, and all questions of it then take their defaults.
        asked = Asked("", venue)
        assert asked.market == {
            "exchange": venue.upper(),
            "symbol": symbol,
            "timeframe": "1H",
            "start": "2025-11-23",  # 365 days before the day that is not over
            "end": "2026-11-23",
            "quantity": quantity,
        }

    def test_every_venue_is_offered(self) -> None:
        asked = Asked("", "?", *ENTER)
        assert [venue for venue in VENUES if venue not in asked.screen] == []

    def test_the_start_is_a_year_before_the_end_that_was_said(self) -> None:
        asked = Asked(*ENTER, **market(exchange="BINANCE", end="2024-03-01"))
        assert asked.default_of("start") == "2023-03-02"  # 2024 has a 29th of February
        assert asked.market["start"] == "2023-03-02"

    def test_a_year_before_a_day_in_india_is_a_day_in_india(self) -> None:
        assert Asked(*ENTER, **market(exchange="ZERODHA", end="2024-03-01")).default_of("start") == "2023-03-02"

    @pytest.mark.parametrize("start", ["2026-11-23", "2026-11-23T04:00", "2027-01-01"])
    def test_an_end_that_is_not_after_the_start_is_no_default(self, start: str) -> None:
        asked = Asked(*ENTER, **market(exchange="BINANCE", start=start))
        assert asked.default_of("end") == "open"
        assert "end" not in asked.market

    def test_a_span_may_stay_open_and_then_is_no_answer(self) -> None:
        asked = Asked("", "binance", "", "", "OPEN", "open", *ENTER)
        assert not {"start", "end"} & set(asked.market)

    def test_the_venue_of_a_symbol_is_guessed_from_it(self) -> None:
        assert Asked(*ENTER, **market(symbol="ETHUSDT")).market["exchange"] == "BINANCE"
        assert Asked(*ENTER, **market(symbol="sample-eth")).market["exchange"] == "SAMPLE"

    def test_the_quantity_is_at_least_one_lot(self) -> None:
        asked = Asked(*ENTER, settings={"lot_size": "0.5"})
        assert asked.market["quantity"] == 0.5

    def test_a_folder_of_files_is_asked_for_what_it_has(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / "ETHUSDT_1H.csv").touch()
        monkeypatch.setenv("BARWISE_REPLAY_DIR", str(home))
        asked = Asked("", "replay", "", "BTCUSDT", "ethusdt", *ENTER)
        assert asked.market["symbol"] == "ETHUSDT"
        assert asked.default_of("symbol") == ""
        assert "it has ETHUSDT_1H" in asked.screen
        (home / "BTCUSDT_4H.csv").touch()
        assert Asked("", "replay").market["symbol"] == "BTCUSDT"

    def test_where_there_is_no_default_the_end_of_the_input_is_an_error(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BARWISE_REPLAY_DIR", str(home))
        with pytest.raises(ConfigError, match="exchange REPLAY is named, but no symbol"):
            Asked("", "replay")


BINANCE = {"exchange": "BINANCE", "symbol": "BTCUSDT"}
BAD: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("mode", "sinle", "'sinle' is not a mode. Did you mean SINGLE?", "use SINGLE or MULTI.", {}),
    ("venue", "binanc", "'binanc' is not a venue. Did you mean BINANCE?", "use one of BINANCE,", {}),
    ("venue", "replay", "BARWISE_REPLAY_DIR is not set, so REPLAY has no files.", "set it to a folder", {}),
    ("venue", "SAMPLE", "SAMPLE has no market BTCUSDT.", "SAMPLE-BTC, SAMPLE-ETH", market(symbol="BTCUSDT")),
    ("symbol", "SAMPLE-ETC", "SAMPLE has no market SAMPLE-ETC. Did you mean SAMPLE-ETH?", "SAMPLE-BTC,", {}),
    ("timeframe", "3H", "'3H' is not a timeframe.", "use one of 1M, 5M, 15M,", {}),
    ("timeframe", "1H 4H", "'1H 4H' is not a timeframe.", "use one of 1M, 5M, 15M,", {}),
    ("start", "yesterday", "start: 'yesterday' is not a time.", "give a time such as 2025-01-01", {}),
    ("start", "2024-02-30", "start: '2024-02-30' is not a time.", "give a time such as 2025-01-01", {}),
    ("start", "2017-01-01", "is outside the SAMPLE market.", "the SAMPLE market runs from 2018-01-01", {}),
    ("start", "2024-03-01", "nothing lies in it.", "the end is exclusive", market(**BINANCE, end="2024-03-01")),
    ("end", "2020-01-01", "nothing lies in it.", "the end is exclusive", market(**BINANCE)),
    ("quantity", "0", "order quantity must be a positive number of base units; got 0.0.", "for example", {}),
    ("quantity", "-1", "order quantity must be a positive number", "for example", {}),
    ("quantity", "0,5", "got '0,5'.", "for example", {}),
    ("quantity", "nan", "got nan.", "for example", {}),
    ("quantity", "1e400", "got inf.", "for example", {}),
    (
        "quantity",
        "0.1",
        "order quantity 0.1 is below one lot of 0.5.",
        "order at least",
        {"settings": {"lot_size": ".5"}},
    ),
    ("strategy", "none.py:X", "there is no file none.py.", "check the path.", {}),
    ("strategy", "wrong.py", "wrong.py cannot be imported: ZeroDivisionError", "the log has the traceback", {}),
    ("strategy", "own.py:Alwys", "own.py has no class Alwys. Did you mean Always?", "it has Always.", {}),
    ("search", "quick", "'quick' is not a profile.", "use FAST or BALANCED or THOROUGH.", {}),
    ("search", "thorugh", "Did you mean THOROUGH?", "use FAST or BALANCED or THOROUGH.", {}),
    ("go on?", "maybe", "'maybe' is neither yes nor no.", "type y or n", {}),
    ("venue", "\x1b[A", r"'\x1b[A' holds keys that are no text.", "type the answer again.", {}),
]


class TestAnswers:
    @pytest.mark.parametrize(("name", "bad", "message", "hint", "told"), BAD, ids=[f"{b[0]} {b[1]!r}" for b in BAD])
    def test_a_bad_answer_is_refused_with_its_reason_and_asked_again(
        self, home: Path, name: str, bad: str, message: str, hint: str, told: dict[str, Any]
    ) -> None:
        (home / "wrong.py").write_text("1 / 0")
        (home / "own.py").write_text(A_STRATEGY)
        untouched = Asked(*ENTER, **told)
        before = untouched.prompts.index(name)
        asked = Asked(*ENTER[:before], bad, *ENTER, **told)
        shown = " ".join(asked.screen.split())
        assert message in shown
        assert f"hint: {hint}" in shown
        assert asked.prompts[before : before + 2] == [name, name]
        assert asked.answers == untouched.answers

    def test_a_timeframe_that_the_venue_cannot_make_is_refused(self) -> None:
        pytest.importorskip("ccxt")
        asked = Asked("", "ccxt:mercado", "", "5M", "30M", *ENTER)  # it has 15 minutes and longer
        assert "has no 5M candles and no finer ones to make them of." in " ".join(asked.screen.split())
        assert (asked.market["symbol"], asked.market["timeframe"]) == ("BTC/USDT", "30M")

    def test_a_question_mark_explains_every_question_and_changes_nothing(self) -> None:
        asked = Asked(*[line for _ in ORDER for line in ("?", "")])
        assert asked.answers == WHOLE
        assert asked.prompts == [name for name in ORDER for _ in range(2)]
        explained = asked.screen.split("\n")
        for place, line in enumerate(explained):
            if line.endswith(": ?"):
                assert re.match(r"  \w.*", explained[place + 1]), line

    def test_names_are_taken_in_any_case_with_blanks_around_them(self) -> None:
        asked = Asked(" single ", "\tSample", "sample-eth ", "4h", "", "", "2", "ema/rsi/atr", "fast", "YES")
        assert asked.answers == {
            "market": {"exchange": "SAMPLE", "symbol": "SAMPLE-ETH", "timeframe": "4H", "quantity": 2.0},
            "optimization": {"profile": "FAST"},
        }

    def test_a_strategy_of_ones_own_is_an_answer(self, home: Path) -> None:
        (home / "own.py").write_text(A_STRATEGY)
        asked = Asked(*[""] * 7, "own.py:Always", *ENTER)
        assert asked.answers == WHOLE | {"strategy": {"class": "own.py:Always"}}
        assert said(options=asked.answers).values["strategy"]["gap"] == 20

    def test_no_ends_the_run(self) -> None:
        asked = Asked(*[""] * 9, "n")
        assert asked.aborted
        assert Asked(*[""] * 9, "No").aborted


class TestKeys:
    NOTE = "ZERODHA_API_KEY, ZERODHA_API_SECRET, ZERODHA_ACCESS_TOKEN are not all set: put them into config/.env"

    def test_a_venue_without_its_keys_says_so_and_may_be_kept(self) -> None:
        asked = Asked("", "zerodha", "", *ENTER)
        assert " ".join(asked.screen.split()).count(self.NOTE) == 1
        assert asked.prompts[:4] == ["mode", "venue", "venue", "symbol"]
        assert asked.market["exchange"] == "ZERODHA"

    def test_a_venue_without_its_keys_may_be_changed_for_another(self) -> None:
        asked = Asked("", "zerodha", "dhan", "binance", *ENTER)
        assert "DHAN_CLIENT_ID, DHAN_ACCESS_TOKEN are not all set" in " ".join(asked.screen.split())
        assert asked.market["exchange"] == "BINANCE"

    def test_a_venue_that_was_named_before_only_says_so(self) -> None:
        asked = Asked(*ENTER, **market(exchange="ZERODHA"))
        assert self.NOTE in " ".join(asked.screen.split())
        assert "venue" not in asked.prompts

    def test_keys_that_are_there_are_neither_mentioned_nor_shown(self, home: Path) -> None:
        (home / "config").mkdir()
        names = ("ZERODHA_API_KEY", "ZERODHA_API_SECRET", "ZERODHA_ACCESS_TOKEN")
        (home / "config" / ".env").write_text("".join(f"{name}=s3cr3t-{name}\n" for name in names))
        asked = Asked("", "zerodha", *ENTER)
        assert asked.market["exchange"] == "ZERODHA"
        assert asked.prompts == ORDER
        assert "s3cr3t" not in asked.screen
        assert "_KEY" not in asked.screen

    def test_public_candles_need_none(self) -> None:
        assert "config/.env" not in Asked("", "binance", *ENTER).screen


class TestSeveralMarkets:
    def test_each_symbol_and_timeframe_is_a_market(self) -> None:
        asked = Asked(
            *["multi", "binance", "", "1h 4H,1H", "0.5"],
            *["ethusdt", "", "1D", "2"],
            *["SAMPLE-ETH", "", "", ""],
            *["", "2025-01-01", "2025-04-01", "", "", ""],
        )
        assert asked.market == {
            "markets": [
                {"exchange": "BINANCE", "symbol": "BTCUSDT", "timeframe": "1H", "quantity": 0.5},
                {"exchange": "BINANCE", "symbol": "BTCUSDT", "timeframe": "4H", "quantity": 0.5},
                {"exchange": "BINANCE", "symbol": "ETHUSDT", "timeframe": "1D", "quantity": 2.0},
                {"exchange": "SAMPLE", "symbol": "SAMPLE-ETH", "timeframe": "1H", "quantity": 0.1},
            ],
            "start": "2025-01-01",
            "end": "2025-04-01",
        }
        assert asked.left == ""

    def test_a_symbol_that_its_venue_does_not_have_is_asked_again(self) -> None:
        asked = Asked("MULTI", *[""] * 4, "SAMPLE-ETC", "", "SAMPLE-SOL", *ENTER)
        assert "Did you mean SAMPLE-ETH?" in asked.screen
        assert [one["symbol"] for one in asked.market["markets"]] == ["SAMPLE-BTC", "SAMPLE-SOL"]

    def test_a_market_is_taken_once(self) -> None:
        asked = Asked("MULTI", "", "", "1H", "0.1", "sample-btc", "", "1H 4H", "0.7", *ENTER)
        assert "SAMPLE SAMPLE-BTC 1H is chosen already" in " ".join(asked.screen.split())
        assert [(one["timeframe"], one["quantity"]) for one in asked.market["markets"]] == [("1H", 0.1), ("4H", 0.7)]

    def test_a_market_that_is_chosen_already_needs_no_second_quantity(self) -> None:
        asked = Asked("MULTI", "", "", "", "", "SAMPLE-BTC", "", "", "", *ENTER)
        assert asked.market["markets"] == [SAMPLE]
        assert asked.prompts.count("quantity") == 1

    def test_the_venue_of_the_market_before_is_the_default(self) -> None:
        asked = Asked("MULTI", "delta", "", "", "", "ETHUSD", *ENTER)
        assert [one["exchange"] for one in asked.market["markets"]] == ["DELTA", "DELTA"]

    def test_the_span_has_to_suit_every_venue(self) -> None:
        asked = Asked("MULTI", "binance", "", "", "", "SAMPLE-ETH", "", "", "", "", "2017-01-01", "2019-01-01", *ENTER)
        assert "is outside the SAMPLE market." in asked.screen
        assert asked.market["start"] == "2019-01-01"

    def test_what_was_said_before_holds_for_all_of_them(self) -> None:
        told = market(exchange="sample", timeframe="4H", quantity=0.3)
        asked = Asked("MULTI", "", "SAMPLE-ETH", *ENTER, **told)
        assert asked.market["markets"] == [
            {"exchange": "SAMPLE", "symbol": symbol, "timeframe": "4H", "quantity": 0.3}
            for symbol in ("SAMPLE-BTC", "SAMPLE-ETH")
        ]

    def test_without_a_timeframe_it_is_asked_again(self) -> None:
        asked = Asked("MULTI", "", "", ",", *ENTER)
        assert "a timeframe is needed." in asked.screen
        assert [one["timeframe"] for one in asked.market["markets"]] == ["1H"]

    def test_a_span_is_named_as_soon_as_one_market_is_real(self) -> None:
        asked = Asked("MULTI", *[""] * 4, "BTCUSDT", *ENTER)
        assert {one["exchange"] for one in asked.market["markets"]} == {"SAMPLE", "BINANCE"}
        assert (asked.market["start"], asked.market["end"]) == ("2025-11-23", "2026-11-23")

    def test_the_input_may_end_anywhere(self) -> None:
        lines = ["MULTI", "", "", "1H 4H", "0.5", "SAMPLE-ETH", "", "", "", "", "2024-01-01", "", "", "FAST", "y"]
        for count in range(1, len(lines) + 1):
            asked = Asked(*lines[:count])
            assert asked.answers is not None
            assert asked.market["markets"]
            said(options=asked.answers)


class TestTheEnd:
    @pytest.mark.parametrize("count", range(len(ORDER)))
    def test_the_end_of_the_input_takes_the_default_of_the_rest_and_says_so(self, count: int) -> None:
        asked = Asked(*ENTER[:count])
        assert asked.answers == WHOLE
        assert asked.screen.count("The input has ended: the rest takes its defaults.") == 1
        assert asked.prompts == ORDER[: count + 1]

    def test_a_line_that_the_end_of_the_input_cuts_is_an_answer(self) -> None:
        screen = io.StringIO()
        found = ask_for_missing(said(), terminal=Terminal(io.StringIO("\n\nSAMPLE-ETH"), screen), today=TODAY)
        assert found["market"]["symbol"] == "SAMPLE-ETH"

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            ([], {}),
            (["MULTI", "", "", "1H 4H", "0.5", "BTCUSDT", "", "", "", "", "", "", "own.py"], {}),
            (["MULTI", "", "SAMPLE-ETH"], {"options": {"market": {"timeframe": "4H", "quantity": 2.0}}}),
            ([], market(markets=[{"exchange": "SAMPLE", "symbol": "SAMPLE-SOL", "timeframe": "1H", "quantity": 0.1}])),
            ([], {"settings": {"market.markets": '[{symbol = "SAMPLE-SOL"}, {file = "a.csv"}]'}}),
            (["", "BINANCE", "", "4H", "2025-01-01", "2025-04-01T04:00", "1.23456789", "own.py:Always", "FAST"], {}),
            (["", "BINANCE"], {"settings": {"max_participation": "none", "fees": "ZERODHA:equity_intraday"}}),
            (
                ["", "SAMPLE-ETH"],
                {"options": {"market": {"exchange": "SAMPLE", "detail": "5M", "start": "2024-02-01"}}},
            ),
            ([], {"settings": {"optimization.ranges": "{ema_fast = [5, 40]}", "optimization.fixed": '["ema_slow"]'}}),
            ([], {"settings": {"allow_short": "false", "optimization.seed": "7"}}),
        ],
    )
    def test_the_command_that_is_shown_says_the_same(self, home: Path, lines: list[str], told: dict[str, Any]) -> None:
        (home / "own.py").write_text(A_STRATEGY)
        asked = Asked(*lines, **told)
        assert asked.answers is not None
        options = {section: dict(values) for section, values in told.get("options", {}).items()}
        for section, values in asked.answers.items():
            options[section] = options.get(section, {}) | values
        assert shown_again(asked).values == said(**(told | {"options": options})).values

    def test_a_file_of_settings_stays_part_of_the_command(self) -> None:
        text = '[market]\nexchange = "SAMPLE"\n[execution]\nleverage = 2.0'
        told: dict[str, Any] = {"text": text, "options": {"market": {"end": "2025-01-01"}}}
        asked = Asked("", "SAMPLE-ETH", *ENTER, file=Path("my settings.toml"), **told)
        assert (
            "  barwise run 'my settings.toml' --symbol SAMPLE-ETH --timeframe 1H --end 2025-01-01 --qty 0.1 "
            "--profile BALANCED --yes\n"
        ) in asked.screen

    def test_the_command_writes_values_as_a_file_of_settings_does(self) -> None:
        asked = Asked(*ENTER, settings={"allow_short": "False", "max_participation": "null", "slippage": "0.0010"})
        for words in ("strategy.allow_short=false", "execution.max_participation=none", "execution.slippage=0.001"):
            assert f" --set {words} " in asked.screen

    def test_what_was_answered_is_shown_before_the_last_question(self) -> None:
        asked = Asked("", "BINANCE", "ETHUSDT", "4H", "2025-01-01", "2025-04-01", "0.25", *ENTER)
        assert "  BINANCE ETHUSDT 4H, quantity 0.25\n  2025-01-01 .. 2025-04-01 (exclusive)\n" in asked.screen
        assert "  strategy EMA/RSI/ATR, search BALANCED\n" in asked.screen
        again = Asked(*ENTER, **market(exchange="BINANCE", symbol="ETHUSDT", quantity=2.5, end="2025-04-01"))
        assert "  BINANCE ETHUSDT 1H, quantity 2.5\n  2024-04-01 .. 2025-04-01 (exclusive)\n" in again.screen
        assert "  2 markets, as given\n" in Asked(*ENTER, **market(markets=[{"symbol": "SAMPLE-ETH"}] * 2)).screen
        assert "SYNTHETIC" not in asked.screen

    def test_an_impossible_thing_that_was_said_before_is_an_error_and_no_question(self) -> None:
        with pytest.raises(ConfigError, match="'BINANC' is not a venue"):
            Asked(*ENTER, **market(exchange="BINANC"))
        with pytest.raises((ConfigError, DataError), match="is not a time"):
            Asked(*ENTER, **market(exchange="BINANCE", symbol="X", start="soon"))


DRIVER = """
import fcntl, json, sys, termios
sys.modules["readline"] = None
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C of this terminal is for this process
from datetime import date
import typer
from barwise.cli.prompts import ask_for_missing
from barwise.manifest.strategies import load_strategy
from barwise.run_config import resolve

told = resolve(environment={}, load=load_strategy, options=json.loads(sys.argv[1]))
try:
    print(json.dumps(ask_for_missing(told, today=date(2026, 11, 23))))
except (KeyboardInterrupt, typer.Abort):
    sys.exit(130)
"""


class Pseudo:
    """A process that asks on a pseudo-terminal.

    Args:
        columns: Width of the terminal.
        told: Options by section and key.
    """

    _PATIENCE_S = 120.0

    def __init__(self, columns: int = 80, told: dict[str, Any] | None = None) -> None:
        self._screen, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, columns))
        self.shown = ""
        self._seen = 0
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, json.dumps(told or {})],
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=terminal,
                env={**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
                start_new_session=True,
            )
        finally:
            os.close(terminal)

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a question that begins so, and type a line, or one control character.

        A lone surrogate stands for a byte that is no UTF-8.
        """
        self._wait_for(prompt)
        os.write(self._screen, (text if text in {"\x03", "\x04"} else f"{text}\n").encode(errors="surrogateescape"))

    def _wait_for(self, prompt: str) -> None:
        until = time.monotonic() + self._PATIENCE_S
        pattern = re.compile(rf"^{re.escape(prompt)}[^\n]*: $", re.MULTILINE)
        while not pattern.search(self.shown, self._seen):
            assert time.monotonic() < until, f"no question {prompt!r} after:\n{self.shown}"
            assert self._read(until), f"it ended before the question {prompt!r}:\n{self.shown}"
        self._seen = len(self.shown)

    def _read(self, until: float) -> bool:
        """Whether anything came before the other side was closed."""
        ready, _, _ = select.select([self._screen], [], [], max(until - time.monotonic(), 0.0))
        if not ready:
            return True
        try:
            piece = os.read(self._screen, 65536)
        except OSError:  # what Linux says when the other side is closed
            return False
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)

    def end(self) -> tuple[int, str]:
        """Exit code and stdout of the process, after its last word."""
        until = time.monotonic() + self._PATIENCE_S
        while self._read(until):
            assert time.monotonic() < until, f"it does not end after:\n{self.shown}"
        out, _ = self._process.communicate(timeout=self._PATIENCE_S)
        return self._process.returncode, out.decode()

    def close(self) -> None:
        """Let go of the terminal, whatever has become of the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        os.close(self._screen)


@pytest.fixture
def pseudo() -> Iterator[Any]:
    """Makes processes on pseudo-terminals, and ends what is left of them."""
    made: list[Pseudo] = []

    def make(*arguments: Any, **named: Any) -> Pseudo:
        made.append(Pseudo(*arguments, **named))
        return made[-1]

    yield make
    for process in made:
        process.close()


class TestPseudoTerminal:
    def test_enter_everywhere_takes_the_defaults_and_stdout_has_nothing_but_the_result(self, pseudo: Any) -> None:
        session = pseudo()
        for name in ORDER:
            session.answer(name, "")
        code, out = session.end()
        assert (code, json.loads(out)) == (0, WHOLE)
        assert out.count("\n") == 1

    def test_bad_answers_are_asked_again_until_they_are_good(self, pseudo: Any) -> None:
        session = pseudo()
        for name, text in [
            ("mode", "?"),
            ("mode", "both"),
            ("mode", "single"),
            ("venue", "binanc"),
            ("venue", "\x1b[A"),
            ("venue", "\udcff"),
            ("venue", "binance"),
            ("symbol", "ethusdt"),
            ("timeframe", "7H"),
            ("timeframe", "4h"),
            ("start", "soon"),
            ("start", "2025-01-01"),
            ("end", "2024-01-01"),
            ("end", "2025-04-01"),
            ("quantity", "many"),
            ("quantity", "0.5"),
            ("strategy", "no.py:Such"),
            ("strategy", ""),
            ("search", "slow"),
            ("search", "fast"),
            ("go on?", "what"),
            ("go on?", "y"),
        ]:
            session.answer(name, text)
        code, out = session.end()
        assert code == 0, session.shown
        assert json.loads(out) == {
            "market": {
                "exchange": "BINANCE",
                "symbol": "ETHUSDT",
                "timeframe": "4H",
                "start": "2025-01-01",
                "end": "2025-04-01",
                "quantity": 0.5,
            },
            "optimization": {"profile": "FAST"},
        }
        assert session.shown.count("hint: ") == 11
        assert "SINGLE tests one market." in session.shown
        assert "the answer is not UTF-8." in session.shown

    def test_several_markets_with_two_timeframes(self, pseudo: Any) -> None:
        session = pseudo()
        for name, text in [
            *[("mode", "MULTI"), ("venue", ""), ("symbol", ""), ("timeframes", "1H 4H"), ("quantity", "0.2")],
            *[("another symbol", "SAMPLE-ETH"), ("venue", ""), ("timeframes", ""), ("quantity", "3")],
            *[("another symbol", ""), ("start", ""), ("end", ""), ("strategy", ""), ("search", ""), ("go on?", "")],
        ]:
            session.answer(name, text)
        code, out = session.end()
        assert code == 0, session.shown
        assert json.loads(out)["market"] == {
            "markets": [
                {"exchange": "SAMPLE", "symbol": "SAMPLE-BTC", "timeframe": "1H", "quantity": 0.2},
                {"exchange": "SAMPLE", "symbol": "SAMPLE-BTC", "timeframe": "4H", "quantity": 0.2},
                {"exchange": "SAMPLE", "symbol": "SAMPLE-ETH", "timeframe": "1H", "quantity": 3.0},
            ]
        }

    @pytest.mark.parametrize("answered", [0, 3, len(ORDER) - 1])
    def test_ctrl_c_ends_it_without_a_result_or_a_file(self, pseudo: Any, home: Path, answered: int) -> None:
        session = pseudo()
        for name in ORDER[:answered]:
            session.answer(name, "")
        session.answer(ORDER[answered], "\x03")
        assert session.end() == (130, "")
        assert "Traceback" not in session.shown
        assert list(home.iterdir()) == []

    def test_ctrl_d_takes_the_defaults_of_the_rest(self, pseudo: Any) -> None:
        session = pseudo()
        session.answer("mode", "")
        session.answer("venue", "")
        session.answer("symbol", "SAMPLE-SOL")
        session.answer("timeframe", "\x04")
        code, out = session.end()
        assert code == 0, session.shown
        assert json.loads(out) == {"market": SAMPLE | {"symbol": "SAMPLE-SOL"}, "optimization": PROFILE}
        assert session.shown.count("The input has ended: the rest takes its defaults.") == 1
        assert "  SAMPLE SAMPLE-SOL 1H, quantity 0.1\n" in session.shown

    def test_no_at_the_end_leaves_nothing(self, pseudo: Any, home: Path) -> None:
        session = pseudo(told={"market": SAMPLE | {"start": "2024-01-01", "end": "2024-03-01"}})
        session.answer("strategy", "")
        session.answer("search", "")
        session.answer("go on?", "n")
        assert session.end() == (130, "")
        assert list(home.iterdir()) == []

    def test_forty_columns_are_enough_and_there_are_no_colours(self, pseudo: Any) -> None:
        session = pseudo(columns=40)
        for name in ORDER[:-1]:
            session.answer(name, "?")
            if name != "mode":
                session.answer(name, "x.y" if name in {"venue", "timeframe", "start", "end", "quantity"} else "")
            if name in {"venue", "timeframe", "start", "end", "quantity", "mode"}:
                session.answer(name, "")
        session.answer("go on?", "")
        code, _ = session.end()
        assert code == 0, session.shown
        assert "\x1b" not in session.shown
        assert "mode [SINGLE]: " in session.shown  # without its choices, for which there is no room
        questions = session.shown[: session.shown.index("Next time without questions")]
        assert [line for line in questions.splitlines() if len(line) > 40] == []


def test_a_terminal_without_a_size_counts_as_eighty_columns() -> None:
    screen, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, bytes(8))
        with open(os.dup(terminal), "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
            Terminal(io.StringIO(), stream).say("word " * 40)
        lines = os.read(screen, 4096).decode().splitlines()
    finally:
        os.close(terminal)
        os.close(screen)
    assert max(map(len, lines)) in range(70, 80)
