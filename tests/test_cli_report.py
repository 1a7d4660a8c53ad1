"""`barwise report`: what lies in the home folder, and which page is opened."""

import json
import webbrowser
from pathlib import Path

import pytest

from tests.command_line import Call

SPAN = ("--start", "2024-01-01", "--end", "2024-03-01")


def test_without_a_report_it_says_how_to_make_one(call: Call) -> None:
    outcome = call("report")
    assert outcome.code == 0
    assert "barwise run makes one" in outcome.out


def test_reports_are_listed_newest_first_with_their_verdicts(call: Call, home: Path) -> None:
    for symbol in ("SAMPLE-BTC", "SAMPLE-ETH"):
        assert call("backtest", "--symbol", symbol, *SPAN, "--quiet").code == 0
    (home / "data" / "results" / "torn.html").write_text("<p>")
    (home / "data" / "results" / "torn.json").write_text('{"kind": ')
    outcome = call("report", "--json")
    reports = json.loads(outcome.out)["reports"]
    assert [report["market"] for report in reports] == ["SAMPLE SAMPLE-ETH 1H", "SAMPLE SAMPLE-BTC 1H"]
    assert {report["kind"] for report in reports} == {"backtest"}
    assert all(report["verdict"] in {"UNPROVEN", "TOO LITTLE DATA", "LIKELY OVERFIT"} for report in reports)
    assert "torn.html is left out" in outcome.err
    lines = call("report").out.splitlines()
    assert lines[0].split() == ["written", "kind", "market", "verdict", "name"]
    assert lines[1].endswith(reports[0]["name"])


def test_one_report_is_told_with_its_files(call: Call, home: Path) -> None:
    assert call("backtest", *SPAN, "--quiet").code == 0
    [page] = (home / "data" / "results").glob("*.html")
    text = call("report", page.stem).out
    assert str(page.name) in text
    assert f"{page.stem}-trades.csv" in text
    refused = call("report", page.stem[:-1])
    assert refused.code == 1
    assert f"Did you mean {page.stem}?" in refused.err


def test_the_newest_page_is_opened(call: Call, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opens(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", opens)
    assert call("report", "--open").code == 1
    assert call("backtest", *SPAN, "--quiet").code == 0
    [page] = (home / "data" / "results").glob("*.html")
    assert call("report", "--open").code == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    outcome = call("report", "--open")
    assert outcome.code == 1
    assert "by hand" in outcome.err
