"""The command line: what it prints where, its exit codes, and that every failure is one sentence and no traceback."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import barwise
from barwise.cli import main
from barwise.cli.file_names import guessed_identity
from barwise.data.files import write_candles
from barwise.data.synthetic import sample_candles
from tests.command_line import BREAKOUT, Call, Outcome
from tests.conftest import REPOSITORY, shared_path
from tests.no_network import cut_off

SOURCE = Path(barwise.__file__).parents[1]
BTC_1H = "binance_spot_BTCUSDT_1h_20200920_20250331.parquet"
BTC_5M = "binance_spot_BTCUSDT_5m_20250101_20250331.parquet"
UM_BTC_4H = "binance_um_BTCUSDT_4h_20220101_20250331.parquet"
UM_BTC_FUNDING = "binance_um_BTCUSDT_funding_20220101_20250331.parquet"
RELIANCE_1D = "nse_RELIANCE_1d_20191001_20260821.parquet"
# A whole run that takes seconds.
QUICK_RUN = (
    "--profile", "FAST", "--set", "optimization.num_trials=24", "--set", "validation.permutations=0",
    "--set", "walk_forward.is_length_days=20", "--set", "walk_forward.oos_length_days=10",
    "--set", "walk_forward.min_trades_per_window=1",
)  # fmt: skip
EXAMPLES = shared_path() / "spec" / "examples.json"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may reach a venue."""
    cut_off(monkeypatch)


@pytest.fixture(scope="module")
def stored(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds real candles of Binance and NSE; nothing is written to it any more."""
    folder = tmp_path_factory.mktemp("stored")
    names = (
        BTC_1H,
        BTC_5M,
        "binance_spot_ETHUSDT_1h_20200920_20250331.parquet",
        "binance_spot_SOLUSDT_1h_20200920_20250331.parquet",
        "binance_um_LINKUSDT_4h_20220101_20250331.parquet",
        UM_BTC_4H,
        RELIANCE_1D,
    )
    for name in names:
        assert main(["data", "import", str(market_data / name), "--home", str(folder), "--quiet"]) == 0
    return folder


def process(home: Path, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "barwise", *map(str, words)],
        cwd=home,
        env=environment(home),
        text=True,
        check=False,
        timeout=120,
        **({"capture_output": True} | options),
    )


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "BARWISE_HOME": str(home)}


def files_of(home: Path) -> list[str]:
    """All files below a home but the logs."""
    paths = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] != "logs")


def assert_one_sentence(outcome: Outcome, message: str) -> None:
    """One error line with the message, one hint, no traceback on either stream."""
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, outcome.err
    assert re.search(message, errors[0]), errors[0]
    hints = [line for line in outcome.err.splitlines() if line.startswith("  hint: ")]
    assert len(hints) == 1, outcome.err
    assert len(hints[0]) > len("  hint: ")
    assert "Traceback" not in outcome.out + outcome.err


class TestProcess:
    """What only shows from outside."""

    def test_help_loads_nothing_heavy(self, tmp_path: Path) -> None:
        code = (
            "import sys; from barwise.cli import main; main(['--help']); main(['backtest', '--help'])\n"
            "heavy = {'numpy', 'numba', 'polars', 'pandas', 'plotly', 'rich', 'pyarrow', 'scipy'}\n"
            "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: barwise" in done.stdout

    def test_version_is_that_of_the_package(self, tmp_path: Path) -> None:
        done = process(tmp_path, "--version")
        assert (done.returncode, done.stdout) == (0, f"barwise {barwise.__version__}\n")

    def test_the_default_backtest_prints_a_page_and_says_where_its_files_are(self, tmp_path: Path) -> None:
        done = process(tmp_path, "backtest")
        assert done.returncode == 0, done.stderr
        assert "SAMPLE-BTC 1H" in done.stdout
        assert "SYNTHETIC" in done.stdout
        named = re.findall(r"data/\S+\.(?:html|jsonl|json|csv)", done.stdout)
        assert len(named) == 6
        assert all((tmp_path / name).stat().st_size for name in named)

    def test_json_is_the_whole_of_stdout(self, tmp_path: Path) -> None:
        done = process(tmp_path, "backtest", "--json", "--start", "2024-01-01", "--end", "2024-03-01")
        result = json.loads(done.stdout)
        assert done.returncode == 0
        assert result["bars"] == 60 * 24
        assert result["synthetic"] is True
        assert all(Path(path).is_file() for path in result["files"].values())

    def test_usage_configuration_and_data_fail_with_their_own_codes(self, tmp_path: Path) -> None:
        for words, code in (
            (("backtest", "--symbl", "X"), 2),
            (("backtest", "--set", "ema_fast=0"), 2),
            (("backtest", "--exchange", "BINANCE", "--symbol", "BTCUSDT"), 1),
        ):
            done = process(tmp_path, *words)
            assert done.returncode == code, done.stderr
            assert_one_sentence(Outcome(done.returncode, done.stdout, done.stderr), ".")
            assert not done.stdout

    def test_ctrl_c_ends_with_130_and_leaves_no_half_file(self, tmp_path: Path) -> None:
        (tmp_path / "slow.py").write_text(
            "import time, pathlib\n" + BREAKOUT + "        \n    def plan(self, bars):\n"
            "        pathlib.Path('waiting').touch()\n        time.sleep(60)\n"
        )
        # A shell that runs the tests in the background makes its children deaf to SIGINT; this one listens again.
        listening = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
        words = ["backtest", "--strategy", "slow.py:Breakout"]
        child = subprocess.Popen(
            [sys.executable, "-c", f"{listening}; from barwise.cli import main; sys.exit(main({words}))"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until = time.monotonic() + 100
            while not (tmp_path / "waiting").exists() and child.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=30)
        finally:
            child.kill()
        assert child.returncode == 130, err
        assert "interrupted" in err
        assert "Traceback" not in err
        assert not out
        assert [name for name in files_of(tmp_path) if name.startswith("data")] == []

    def test_a_reader_that_goes_away_ends_the_command_quietly(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = process(
                tmp_path,
                "backtest",
                "--json",
                "--no-report",
                capture_output=False,
                stdout=writing,
                stderr=subprocess.PIPE,
            )
        finally:
            os.close(writing)
        assert done.returncode == 1
        assert done.stderr == ""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    def test_a_full_disk_behind_stdout_is_one_sentence(self, tmp_path: Path) -> None:
        with Path("/dev/full").open("w") as full:
            done = process(tmp_path, "data", "list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == "error: the output cannot be written: No space left on device.\n"

    def test_a_closed_stdout_is_no_error(self, tmp_path: Path) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", '"$0" -m barwise data list >&-', sys.executable],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestRealCandles:
    @pytest.fixture
    def run(self, stored: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """The JSON result of a backtest over the store of real candles."""
        monkeypatch.setenv("BARWISE_HOME", str(stored))

        def backtest(*words: object) -> Any:
            outcome = call("backtest", "--no-report", "--json", *words)
            assert outcome.code == 0, outcome.err
            return json.loads(outcome.out)

        return backtest

    @pytest.mark.skipif(not EXAMPLES.is_file(), reason=f"no worked runs at {EXAMPLES}")
    @pytest.mark.parametrize("number", range(7))
    def test_the_worked_runs_come_out_through_the_command_line(self, number: int, run: Callable[..., Any]) -> None:
        example = json.loads(EXAMPLES.read_text())[number]
        identity = guessed_identity(Path(example["candles"]))
        words = [f"--{name}={value}" for name, value in identity.items()]
        words += ["--start", example["start"], "--end", example["end_exclusive"], "--qty", example["quantity"]]
        if example["detail"]:
            words += ["--detail", guessed_identity(Path(example["detail"]))["timeframe"]]
        for name, value in (example["strategy"] | example["execution"]).items():
            words += ["--set", f"{name}={value}"]
        result = run(*words)
        assert result["equity"]["equity"][-1] == pytest.approx(example["final_equity"], rel=1e-9)
        assert len(result["trades"]) == len(example["trades"])
        assert result["trade_from"] == example["trade_from"]

    def test_the_quick_start_is_2136_bars_and_22_trades(self, run: Callable[..., Any]) -> None:
        span = (
            "--start",
            "2025-01-01",
            "--end",
            "2025-03-31",
            "--set",
            "maker_fee=0.0002",
            "--set",
            "taker_fee=0.0005",
        )
        result = run("--exchange", "BINANCE", "--symbol", "BTCUSDT", "--timeframe", "1H", *span)
        assert result["bars"] == 2136
        assert len(result["trades"]) == 22
        assert result["equity"]["equity"][-1] == pytest.approx(98573.2084376694, rel=1e-12)
        in_detail = run("--exchange", "BINANCE", "--symbol", "BTCUSDT", "--timeframe", "1H", *span, "--detail", "5M")
        assert in_detail["bars"] == 2136
        times = {program["signal_time"] for program in result["programs"]}
        assert {program["signal_time"] for program in in_detail["programs"]} <= times, "detail never makes a signal"

    def test_a_perpetual_pays_its_funding(self, run: Callable[..., Any], market_data: Path) -> None:
        market = ("--exchange", "BINANCE_UM", "--symbol", "BTCUSDT", "--timeframe", "4H")
        without = run(*market)
        funded = run(*market, "--funding-file", market_data / UM_BTC_FUNDING)
        assert sum(trade["funding"] for trade in without["trades"]) == 0
        assert sum(trade["funding"] for trade in funded["trades"]) != 0
        net = sum(trade["net_pnl"] for trade in funded["trades"])
        assert funded["equity"]["equity"][-1] == pytest.approx(100_000 + net, rel=1e-9)

    def test_an_indian_share_pays_the_fees_of_its_broker(self, run: Callable[..., Any]) -> None:
        result = run("--exchange", "ZERODHA", "--symbol", "RELIANCE", "--timeframe", "1D", "--qty", "10")
        assert result["trades"]
        assert all(trade["fees"] > 0 for trade in result["trades"])
        assert "ZERODHA" in result["fees_schedule"]["name"]

    def test_the_store_of_real_candles_lists_checks_and_exports(
        self, stored: Path, call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BARWISE_HOME", str(stored))
        listed = json.loads(call("data", "list", "--json").out)
        assert {(series["exchange"], series["symbol"]) for series in listed["series"]} == {
            ("BINANCE", "BTCUSDT"),
            ("BINANCE", "ETHUSDT"),
            ("BINANCE", "SOLUSDT"),
            ("BINANCE_UM", "BTCUSDT"),
            ("BINANCE_UM", "LINKUSDT"),
            ("ZERODHA", "RELIANCE"),
        }
        checked = call("data", "check", "--exchange", "BINANCE", "--timeframe", "1H", "--json")
        assert checked.code == 0
        assert [one["gaps"]["missing"] for one in json.loads(checked.out)["checked"]] == [20, 20, 20]
        exported = call(
            "data", "export", "--exchange", "BINANCE", "--symbol", "BTCUSDT", "--end", "2020-10-01", "--out", "a.csv"
        )
        assert exported.code == 0, exported.err
        assert len((home / "a.csv").read_text().splitlines()) == 11 * 24 + 1

    def test_finer_candles_that_are_neither_stored_nor_to_be_had_are_an_error(
        self, stored: Path, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BARWISE_HOME", str(stored))
        outcome = call("backtest", "--exchange", "BINANCE", "--symbol", "ETHUSDT", "--detail", "1M")
        assert outcome.code == 1
        assert_one_sentence(outcome, "BINANCE could not be reached")


class TestImport:
    def test_the_name_of_a_file_says_what_the_file_does_not(self, call: Call, market_data: Path, home: Path) -> None:
        outcome = call("data", "import", market_data / BTC_1H)
        assert outcome.code == 0
        assert "taken from the name of the file: BINANCE BTCUSDT 1H" in outcome.err
        assert "39,676 bars" in outcome.out
        assert "10 gaps of 20 bars" in outcome.out, "the audit is printed"
        again = json.loads(call("data", "import", market_data / BTC_1H, "--json").out)
        assert (again["added"], again["skipped"], again["guessed"]["symbol"]) == (0, 39_676, "BTCUSDT")

    @pytest.mark.parametrize(
        ("name", "identity"),
        [
            ("binance_um_ADAUSDT_4h_20220101_20250331.parquet", ("BINANCE_UM", "ADAUSDT", "4H")),
            ("delta_india_BTCUSD_1m_20260602_20260606.parquet", ("DELTA", "BTCUSD", "1M")),
            ("dhan_NIFTY_ATM_CE_5m_20260119_20260716.parquet", ("DHAN", "NIFTY_ATM_CE", "5M")),
            ("kite_bse_RELIANCE_5m_20250825_20251015.parquet", ("ZERODHA", "RELIANCE", "5M")),
            ("nse_SBIN_1d_20191001_20260821.parquet", ("ZERODHA", "SBIN", "1D")),
            ("BTCUSDT-15m-2024-10.zip", (None, "BTCUSDT", "15M")),
            ("raw_BTCUSDT-1h-2024-10-28_spot.zip", (None, "BTCUSDT", "1H")),
            ("nse_tickbuilt_NIFTY_1m_202103_20210507.parquet", (None, None, None)),
            ("binance_um_BTCUSDT_mark_8h_20231201_20250331.parquet", (None, None, None)),
            ("binance_um_BTCUSDT_funding_20220101_20250331.parquet", (None, None, None)),
            ("candles.csv", (None, None, None)),
        ],
    )
    def test_names_are_read_as_far_as_they_tell(self, name: str, identity: tuple[str | None, ...]) -> None:
        found = guessed_identity(Path(name))
        assert tuple(found.get(part) for part in ("exchange", "symbol", "timeframe")) == identity

    def test_what_the_user_says_wins_over_the_name(self, call: Call, market_data: Path) -> None:
        outcome = call("data", "import", market_data / BTC_5M, "--exchange", "delta", "--symbol", "mine", "--json")
        imported = json.loads(outcome.out)
        assert (imported["exchange"], imported["symbol"], imported["timeframe"]) == ("DELTA", "MINE", "5M")
        assert imported["guessed"] == {"timeframe": "5M"}

    def test_what_a_file_of_ours_says_is_no_guess(self, call: Call, market_data: Path) -> None:
        call("data", "import", market_data / BTC_5M)
        market = ("--exchange", "BINANCE", "--symbol", "BTCUSDT", "--timeframe", "5M")
        assert call("data", "export", *market, "--out", "mine.parquet").code == 0
        imported = json.loads(call("data", "import", "mine.parquet", "--json").out)
        assert (imported["guessed"], imported["skipped"]) == ({}, 25_920)

    def test_two_rows_for_one_time_are_refused_until_one_is_chosen(self, call: Call, market_data: Path) -> None:
        words = ("data", "import", market_data / "dirty_cryptodatadownload_BTCUSDT_1h_2020.csv.gz")
        market = ("--exchange", "BINANCE", "--symbol", "BTCUSDT")
        refused = call(*words, *market)
        assert refused.code == 1
        assert_one_sentence(refused, "dirty_cryptodatadownload")
        assert "--set conflicts=first" in refused.err
        assert call(*words, *market, "--set", "conflicts=first").code == 0

    def test_unsound_candles_are_shown_refused_and_not_stored(self, call: Call, home: Path) -> None:
        frame = sample_candles(start="2024-01-01", end="2024-01-10").to_pandas().reset_index()
        frame.loc[5, "high"] = frame.loc[5, "low"] / 2
        frame.to_csv("broken.csv", index=False)
        outcome = call("data", "import", "broken.csv", "--exchange", "BINANCE", "--symbol", "BTCUSDT")
        assert outcome.code == 1
        assert "not usable" in outcome.out
        assert_one_sentence(outcome, "1 bar whose high is not the highest|high")
        assert files_of(home) == ["broken.csv"]

    def test_a_bar_that_has_not_closed_is_not_stored(self, call: Call, home: Path) -> None:
        hour = 3_600_000
        opens = [int(time.time() * 1000) // hour * hour - hour * back for back in (3, 2, 1, 0)]
        rows = [f"{opened},1,2,0.5,1,1" for opened in opens]
        Path("forming.csv").write_text("\n".join(["time,open,high,low,close,volume", *rows]))
        outcome = call("data", "import", "forming.csv", "--exchange", "BINANCE", "--symbol", "BTCUSDT")
        assert outcome.code == 1
        assert_one_sentence(outcome, "not closed")
        assert files_of(home) == ["forming.csv"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((), "does not say its exchange and symbol"),
            (("--symbol", "X"), "does not say its exchange,"),
            (("--exchange", "KRAKEN", "--symbol", "X"), "'KRAKEN' is not a venue"),
            (("--exchange", "SAMPLE", "--symbol", "SAMPLE-BTC"), "made when they are asked for"),
            (("--set", "conflict=first"), "Did you mean conflicts"),
            (("--set", "conflicts=frist"), "Did you mean first"),
            (("--timeframe", "3H"), "not a timeframe"),
        ],
    )
    def test_candles_of_no_market_are_not_stored(
        self, call: Call, home: Path, words: tuple[str, ...], message: str
    ) -> None:
        frame = sample_candles(start="2024-01-01", end="2024-01-10").to_pandas().reset_index()
        frame.to_csv("candles.csv", index=False)
        outcome = call("data", "import", "candles.csv", *words)
        assert outcome.code == 2
        assert_one_sentence(outcome, message)
        assert files_of(home) == ["candles.csv"]


class TestData:
    def test_an_empty_store_is_no_error(self, call: Call, home: Path) -> None:
        assert "Nothing stored" in call("data", "list").out
        assert json.loads(call("data", "list", "--json").out)["series"] == []
        assert call("data", "check").code == 0
        assert not list(home.iterdir())

    def test_the_list_shows_each_series_on_one_line(self, call: Call, market_data: Path) -> None:
        call("data", "import", market_data / BTC_1H)
        call("data", "import", market_data / BTC_5M)
        lines = call("data", "list").out.splitlines()
        assert lines[0].split() == ["exchange", "symbol", "timeframe", "bars", "missing", "corrected", "stored"]
        assert [line.split()[:6] for line in lines[1:]] == [
            ["BINANCE", "BTCUSDT", "1H", "39,676", "20", "0"],
            ["BINANCE", "BTCUSDT", "5M", "25,920", "0", "0"],
        ]
        assert lines[1].endswith("2020-09-20 00:00 .. 2025-04-01 00:00 UTC")
        assert len(call("data", "list", "--timeframe", "5m").out.splitlines()) == 2

    def test_check_fails_for_a_file_that_is_not_usable(self, call: Call) -> None:
        frame = sample_candles(start="2024-01-01", end="2024-01-10").to_pandas().reset_index()
        frame.loc[3, "close"] = float("nan")
        frame.to_csv("broken.csv", index=False)
        outcome = call("data", "check", "broken.csv")
        assert (outcome.code, outcome.err) == (1, "")
        assert "not usable" in outcome.out
        found = json.loads(call("data", "check", "broken.csv", "--json").out)
        assert found["ok"] is False
        assert found["checked"][0]["findings"][0]["kind"] == "not_finite"

    def test_check_of_what_is_not_stored_is_an_error(self, call: Call) -> None:
        outcome = call("data", "check", "--symbol", "BTCUSDT")
        assert outcome.code == 1
        assert_one_sentence(outcome, "nothing that is stored matches")

    @pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
    def test_an_export_reads_back_as_the_same_candles(self, call: Call, home: Path, name: str) -> None:
        from barwise.data.files import read_candles

        words = ("data", "export", "--start", "2024-01-01", "--end", "2024-02-01", "--out", name)
        assert call(*words).code == 0
        candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-02-01")
        again = read_candles(home / name, exchange="SAMPLE", symbol="SAMPLE-BTC")
        assert again.close.tolist() == candles.close.tolist()
        assert again.time.tolist() == candles.time.tolist()
        refused = call(*words)
        assert refused.code == 2
        assert_one_sentence(refused, "is there already")
        assert call(*words, "--force").code == 0

    def test_an_export_of_another_kind_is_refused_and_leaves_nothing(self, call: Call, home: Path) -> None:
        outcome = call("data", "export", "--out", "out.xlsx")
        assert outcome.code == 2
        assert_one_sentence(outcome, "neither .parquet nor .csv")
        assert files_of(home) == []


class TestBacktest:
    def test_settings_reach_the_strategy_and_the_account(self, call: Call) -> None:
        words = ("--set", "ema_fast=10", "--set", "ema_fast=12", "--set", "slippage=0.001", "--set", "leverage=2")
        result = json.loads(call("backtest", "--no-report", "--json", *words).out)
        assert result["strategy"]["parameters"]["ema_fast"] == 12, "the last one wins"
        assert (result["execution"]["slippage"], result["execution"]["leverage"]) == (0.001, 2.0)
        assert result["files"] == {}

    def test_quiet_prints_nothing_and_still_writes_the_report(self, call: Call, home: Path) -> None:
        outcome = call("backtest", "--quiet", "--end", "2024-03-01", "--start", "2024-01-01")
        assert outcome == (0, "", "")
        assert len(files_of(home)) == 8  # the report's six, its manifest, and the ledger

    def test_without_a_report_only_the_trial_goes_on_record(self, call: Call, home: Path) -> None:
        assert call("backtest", "--no-report").code == 0
        assert files_of(home) == ["data/ledger.sqlite"]

    def test_home_before_or_after_the_command_is_the_same_and_ends_with_it(self, call: Call, home: Path) -> None:
        span = ("--start", "2024-01-01", "--end", "2024-03-01", "--quiet")
        call("--home", "one", "backtest", *span)
        call("backtest", *span, "--home", "two")
        assert {name.split("/")[0] for name in files_of(home)} == {"one", "two"}
        assert os.environ["BARWISE_HOME"] == str(home)

    def test_a_file_says_what_its_name_says(self, call: Call, market_data: Path) -> None:
        outcome = call("backtest", "--no-report", "--json", "--file", market_data / RELIANCE_1D)
        result = json.loads(outcome.out)
        assert (result["exchange"], result["timeframe"], result["quantity"]) == ("ZERODHA", "1D", 1.0)

    def test_candles_of_no_exchange_run_without_fees_and_say_so(self, call: Call) -> None:
        write_candles(sample_candles(start="2024-01-01", end="2024-03-01"), "candles.csv")
        outcome = call("backtest", "--no-report", "--file", "candles.csv")
        assert outcome.code == 0
        assert "no fees are charged" in outcome.err
        assert "no fees" not in call("backtest", "--no-report", "--file", "candles.csv", "--set", "taker_fee=0.001").err

    def test_rows_out_of_order_are_sorted_and_the_page_says_so(self, call: Call) -> None:
        frame = sample_candles(start="2024-01-01", end="2024-03-01").to_pandas().reset_index()
        frame.sample(frac=1, random_state=1).to_csv("mixed.csv", index=False)
        outcome = call("backtest", "--no-report", "--file", "mixed.csv", "--exchange", "BINANCE", "--symbol", "X")
        assert outcome.code == 0
        assert "out of order" in outcome.err
        assert "out of order" in outcome.out

    def test_the_main_job_tells_each_stage_and_ends_with_the_verdict_and_its_files(
        self, call: Call, home: Path
    ) -> None:
        words = ("run", "--start", "2024-01-01", "--end", "2024-03-01", *QUICK_RUN)
        outcome = call(*words)
        assert outcome.code == 0, outcome.err
        stages = re.findall(r"^stage (\S+) +(.+?)(?:  |:|$)", outcome.err, re.MULTILINE)
        numbers = [number for number, _ in stages]
        assert list(dict.fromkeys(numbers)) == ["1", "2", "3", "4", "5", "6", "7.1", "7.2", "7.3", "7", "8", "9", "10"]
        assert "VERDICT" in outcome.out
        last = dict(re.findall(r"^ (\w+) +(\S.*)$", outcome.out[outcome.out.rindex("\n\n") :], re.MULTILINE))
        assert set(last) >= {"Report", "Results", "Tables", "Why", "Again"}
        name = last["Again"].split()[-1]
        assert (home / "data" / "results" / f"{name}.html").is_file()
        assert call(*last["Why"].split()[1:]).code == 0
        answered = call(*words, "--json")
        assert answered.code == 0
        lines = [json.loads(line) for line in answered.out.splitlines()]
        assert {line["event"] for line in lines} == {"plan", "stage", "progress", "stage_done", "result"}
        result = lines[-1]
        assert (result["event"], result["name"]) == ("result", name)
        assert {stage["number"] for stage in result["stages"]} == set(numbers)
        assert all(Path(path).is_file() for files in result["files"] for path in files.values())
        assert len(result["runs"]) == 1

    def test_the_threads_of_the_linear_algebra_are_settled_for_the_command_alone(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "own.py").write_text(
            "import os, sys\nsys.stderr.write('threads ' + os.environ['OPENBLAS_NUM_THREADS'])\n"
        )
        monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
        words = ("backtest", "--strategy", "own.py:None")
        assert process(home, *words).stderr.startswith("threads 1")
        assert main(["exchanges"]) == 0
        assert "OPENBLAS_NUM_THREADS" not in os.environ
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
        assert process(home, *words).stderr.startswith("threads 3")


class TestOwnStrategy:
    def test_a_class_of_a_file_runs_with_its_own_parameters(self, call: Call, home: Path) -> None:
        (home / "breakout.py").write_text(BREAKOUT)
        words = ("backtest", "--no-report", "--json", "--set", "lookback=30")
        result = json.loads(call(*words, "--strategy", "breakout.py:Breakout").out)
        assert result["strategy"]["name"] == "Breakout"
        assert result["strategy"]["parameters"]["lookback"] == 30
        assert json.loads(call(*words, "--strategy", "breakout.py").out)["trades"] == result["trades"]

    def test_a_class_of_a_module_in_the_working_directory_runs(self, call: Call, home: Path) -> None:
        (home / "own_strategies_for_a_test").mkdir()
        (home / "own_strategies_for_a_test" / "breakout.py").write_text(BREAKOUT)
        outcome = call("backtest", "--no-report", "--json", "--strategy", "own_strategies_for_a_test.breakout:Breakout")
        assert outcome.code == 0, outcome.err

    @pytest.mark.parametrize(
        ("content", "reference", "message"),
        [
            (None, "breakot.py:Breakout", "no file breakot.py. Did you mean breakout.py"),
            (None, "no_such_module:Breakout", "no module no_such_module"),
            (None, "breakout.py:Breakot", "no class Breakot. Did you mean Breakout"),
            (None, "breakout.py:Int", "Int of breakout.py is not a strategy"),
            ("x = 1", "breakout.py:", "which strategy"),
            (
                "import no_such_library",
                "breakout.py:Breakout",
                "cannot be imported: ModuleNotFoundError: .*no_such_library",
            ),
            ("1 / 0", "breakout.py:Breakout", "cannot be imported: ZeroDivisionError"),
            ("def broken(:", "breakout.py:Breakout", "cannot be imported: SyntaxError"),
            ("raise SystemExit(3)", "breakout.py:Breakout", "cannot be imported: SystemExit"),
        ],
    )
    def test_a_class_that_cannot_be_had_is_one_sentence(
        self, call: Call, home: Path, content: str | None, reference: str, message: str
    ) -> None:
        (home / "breakout.py").write_text(content or BREAKOUT)
        outcome = call("backtest", "--strategy", reference)
        assert outcome.code == 2
        assert_one_sentence(outcome, message)
        assert files_of(home) == ["breakout.py"] or files_of(home)[1].endswith(".pyc")

    def test_a_plan_that_fails_or_looks_ahead_is_one_sentence(self, call: Call, home: Path) -> None:
        (home / "breakout.py").write_text(BREAKOUT + "        \n    def plan(self, bars):\n        return 1 / 0\n")
        outcome = call("backtest", "--strategy", "breakout.py")
        assert outcome.code == 1
        assert_one_sentence(outcome, r"Breakout.plan\(\) failed: ZeroDivisionError")
        assert "ZeroDivisionError" in (home / "logs" / "error.log").read_text()
        (home / "ahead.py").write_text(BREAKOUT.replace("entry=bars.close", "entry=bars.close[::-1]"))
        outcome = call("backtest", "--strategy", "ahead.py", "--no-report")
        assert outcome.code == 1
        assert_one_sentence(outcome, "looks ahead")
        assert "--no-lookahead-check" in outcome.err
        assert call("backtest", "--strategy", "ahead.py", "--no-report", "--no-lookahead-check").code == 0

    def test_what_nobody_expected_is_one_sentence_and_the_log_has_the_traceback(self, call: Call, home: Path) -> None:
        (home / "breakout.py").write_text(
            BREAKOUT + "        \n    @classmethod\n    def signal_parameters(cls):\n        return 1 / 0\n"
        )
        outcome = call("backtest", "--strategy", "breakout.py", "--json")
        assert outcome.code == 1
        assert_one_sentence(outcome, "unexpected error ZeroDivisionError: division by zero")
        assert str(home / "logs" / "error.log") in outcome.err
        logged = json.loads((home / "logs" / "error.log").read_text().splitlines()[-1])
        assert "Traceback" in logged["exception"]
        assert json.loads(outcome.out)["error"]["exit_code"] == 1


def bad_files(home: Path) -> None:
    """Files that no backtest can run on, and one that it can."""
    candles = sample_candles(start="2024-01-01", end="2024-02-01")
    write_candles(candles, home / "good.csv")
    write_candles(candles[:50], home / "short.csv")
    (home / "empty.csv").write_text("")
    (home / "header.csv").write_text("time,open,high,low,close,volume\n")
    (home / "names.csv").write_text("fecha,apertura,maximo,minimo,cierre\n1704067200000,1,2,0.5,1\n")
    (home / "words.csv").write_text("time,open,high,low,close,volume\n1704067200000,one,2,0.5,1,1\n")
    frame = candles.to_pandas().reset_index()
    frame.loc[7, "close"] = float("nan")
    frame.to_csv(home / "nan.csv", index=False)
    (home / "cut.parquet").write_bytes(b"PAR1 cut off")
    (home / "folder.csv").mkdir()


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            ("bactest", 2, "No such command 'bactest'. Did you mean 'backtest'"),
            ("data imprt x", 2, "No such command 'imprt'. Did you mean 'import'"),
            ("backtest --symbl X", 2, "--symbl is not an option of barwise backtest. Did you mean --symbol"),
            ("backtest --qty many", 2, "Invalid value for '--qty'"),
            ("backtest --qty", 2, "--qty"),
            ("backtest surplus", 2, "surplus"),
            ("data import", 2, "Missing argument"),
            ("backtest --qty 0", 2, "order quantity must be a positive number"),
            ("backtest --qty -1", 2, "order quantity must be a positive number"),
            ("backtest --qty nan", 2, "order quantity must be a positive number"),
            ("backtest --qty 0.1 --set lot_size=1", 2, "order quantity 0.1 is below one lot of 1"),
            ("backtest --set initial_capital=0", 2, "initial_capital must be greater than 0; got '0'"),
            ("backtest --set leverage=-2", 2, "leverage must be greater than 0"),
            ("backtest --set ema_fast=fast", 2, "ema_fast must be a valid integer.*got 'fast'"),
            ("backtest --set ema_fsat=10", 2, "ema_fsat is neither .* Did you mean ema_fast"),
            ("backtest --set ema_fast", 2, "KEY=VALUE is needed"),
            ("backtest --set =3", 2, "KEY=VALUE is needed"),
            ("backtest --set intrabar=middle", 2, "intrabar must be 'worst', 'path' or 'best'"),
            ("backtest --timeframe 7H", 2, "'7H' is not a timeframe"),
            ("backtest --start yesterday", 2, "start: 'yesterday' is not a time"),
            ("backtest --start 2025-01-02 --end 2025-01-01", 2, "nothing lies in it"),
            ("backtest --start 2050-01-01", 1, "outside the SAMPLE market"),
            ("backtest --start 2024-01-01 --end 2024-01-05", 1, "needs at least 201 bars .*the span has 96"),
            ("backtest --detail 4H", 2, "4H do not nest in 1H"),
            ("backtest --exchange BINANCE --symbol BTCUSDT", 1, "BINANCE BTCUSDT 1H is not in the store"),
            ("backtest --exchange BINNCE --symbol BTCUSDT", 2, "Did you mean BINANCE"),
            ("backtest --home good.csv", 2, "is a file"),
            ("backtest --file nowhere.csv", 1, "no file nowhere.csv"),
            ("backtest --file folder.csv", 1, "folder.csv cannot be read"),
            ("backtest --file empty.csv", 1, "empty.csv: The file holds no table"),
            ("backtest --file header.csv", 1, "header.csv: "),
            ("backtest --file names.csv", 1, "names.csv: .*missing: time.*found: fecha"),
            ("backtest --file words.csv", 1, "words.csv: "),
            ("backtest --file nan.csv", 1, "nan.csv: .*missing or infinite, first close"),
            ("backtest --file cut.parquet", 1, "cut.parquet cannot be read"),
            ("backtest --file short.csv", 1, "needs at least 201 bars .*the span has 50"),
            ("backtest --file good.csv --timeframe 5M", 1, "1H apart, not 5M"),
            ("backtest --file good.csv --detail-file short.csv", 2, "1H do not nest in 1H"),
            ("backtest --file good.csv --funding-file good.csv", 1, "good.csv: .*funding_rate"),
            ("data check --set x=1", 2, "x is not a setting of barwise data check"),
            ("data list --set x=1", 2, "x is not a setting of barwise data list"),
            ("data list --exchange BINNACE", 2, "Did you mean BINANCE"),
            ("data import names.csv --exchange BINANCE --symbol X", 1, "names.csv: "),
            ("data import empty.csv --exchange BINANCE --symbol X", 1, "empty.csv: "),
            ("data export --exchange BINANCE --symbol X --out x.csv", 1, "BINANCE X 1H is not in the store"),
        ],
    )
    def test_each_mistake_is_one_sentence_with_its_exit_code_and_leaves_no_file(
        self, call: Call, home: Path, words: str, code: int, message: str
    ) -> None:
        bad_files(home)
        before = files_of(home)
        outcome = call(*shlex.split(words))
        assert outcome.code == code, outcome.err
        assert_one_sentence(outcome, message)
        assert files_of(home) == before
        assert not outcome.out or words.startswith("data import")

    def test_a_rule_between_parameters_says_what_must_hold_and_what_came(self, call: Call) -> None:
        outcome = call("backtest", "--set", "ema_fast=50")
        assert outcome.code == 2
        assert outcome.err.startswith("error: EmaRsiAtr: ema_fast < ema_slow < ema_trend must hold; got 50, 50, 200")

    @pytest.mark.parametrize(
        ("words", "kind"),
        [
            ("backtest --symbl X", "UsageError"),
            ("backtest --set ema_fast=fast", "ConfigError"),
            ("backtest --start 2024-01-01 --end 2024-01-05", "DataError"),
        ],
    )
    def test_a_failure_is_json_too_where_json_was_asked_for(self, call: Call, words: str, kind: str) -> None:
        outcome = call(*shlex.split(words), "--json")
        error = json.loads(outcome.out)["error"]
        assert error["kind"] == kind
        assert error["exit_code"] == outcome.code
        assert f"error: {error['message']}" in outcome.err
        assert error["hint"] in outcome.err

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            ("backtest --qty 0", "for example --qty 0.1"),
            ("backtest --qty 0.1 --set lot_size=1", "or --set lot_size=0"),
            ("backtest --start yesterday", "give a time such as 2025-01-01 or 2025-01-01T00:00:00Z"),
            ("backtest --file good.csv --timeframe 5M", "name it: --timeframe 1H"),
        ],
    )
    def test_hints_speak_of_options_and_not_of_python(self, call: Call, home: Path, words: str, hint: str) -> None:
        bad_files(home)
        assert hint in call(*shlex.split(words)).err.splitlines()[-1]

    def test_the_traceback_of_a_mistake_is_in_the_log(self, call: Call, home: Path) -> None:
        call("backtest", "--start", "2024-01-01", "--end", "2024-01-05")
        logged = json.loads((home / "logs" / "error.log").read_text().splitlines()[-1])
        assert logged["exception"].startswith("Traceback")
        assert "DataError" in logged["exception"]

    def test_a_home_that_cannot_be_written_is_one_sentence(self, call: Call, home: Path) -> None:
        (home / "data").write_text("a file where the folder should be")
        outcome = call("backtest", "--start", "2024-01-01", "--end", "2024-03-01")
        assert outcome.code == 1
        assert_one_sentence(outcome, "cannot be written")
        assert files_of(home) == ["data"]

    def test_no_words_at_all_show_the_help(self, call: Call) -> None:
        outcome = call()
        assert outcome.code == 2
        assert "Usage: barwise" in outcome.out + outcome.err


def documented_examples() -> Iterator[tuple[str, str]]:
    """The commands of docs/command-line.md and, first, the files that it shows."""
    text = (REPOSITORY / "docs" / "command-line.md").read_text(encoding="utf-8")
    for language, block in re.findall(r"```(python|console)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            yield "file", block
        else:
            yield from (("command", line.removeprefix("$ ")) for line in block.splitlines())


def test_every_example_of_the_documentation_runs(call: Call, home: Path, market_data: Path) -> None:
    for name in (BTC_1H, BTC_5M, UM_BTC_4H, UM_BTC_FUNDING):
        (home / name).symlink_to(market_data / name)
    commands = 0
    for kind, text in documented_examples():
        if kind == "file":
            (home / text.splitlines()[0].removeprefix("# ")).write_text(text)
            continue
        command, _, remark = text.partition("   # exit code ")
        words = shlex.split(command)
        assert words[0] == "barwise"
        outcome = call(*words[1:])
        assert outcome.code == int(remark or 0), f"{command}: {outcome.err}"
        commands += 1
    assert commands > 15


def test_every_option_that_takes_a_value_says_in_the_help_what_it_is(call: Call) -> None:
    of_data = (("data", name) for name in ("import", "list", "check", "compact", "export"))
    for command in (("backtest",), ("run",), ("fetch",), ("exchanges",), ("doctor",), *of_data):
        text = call(*command, "--help").out
        for option in ("--json", "--quiet", "--set KEY=VALUE", "--home PATH"):
            assert option in text, f"barwise {' '.join(command)} has no {option}"
