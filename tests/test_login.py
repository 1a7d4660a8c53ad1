"""`barwise login` against the loopback venues: the token of the day ends up in config/.env and works."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from barwise.cli import main
from barwise.exchange.credentials import read_environment, write_credential
from barwise.exchange.manager import ExchangeManager
from barwise.obs import redact
from tests.no_network import ManualClock, cut_off
from tests.venues.server import VenueServer

NOW = 1_785_000_000_000  # 2026-07-25


@pytest.fixture
def clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    return cut_off(monkeypatch)


@pytest.fixture
def server(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueServer]:
    """Venues whose addresses and keys are in the environment; the day's tokens are not."""
    with VenueServer({}, NOW) as started:
        for name, value in started.environment().items():
            if not name.endswith("_ACCESS_TOKEN"):
                monkeypatch.setenv(name, value)
        yield started


def test_zerodha_is_logged_in_by_the_address_the_login_page_leads_to(
    server: VenueServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", "ZERODHA", "--json"]) == 0
    url = json.loads(capsys.readouterr().out)["login_url"]
    assert url.startswith("https://kite.zerodha.com/connect/login?v=3&api_key=")
    used = server.zerodha.request_token
    landed = f"https://127.0.0.1/landing?status=success&request_token={used}"
    assert main(["login", "zerodha", "--request-token", landed]) == 0
    said = capsys.readouterr()
    written = home / "config" / ".env"
    token = server.zerodha.access_token
    assert used is not None
    assert used not in redact(f"the login has led to {used}")  # by itself, without a name that tells what it is
    assert f"ZERODHA_ACCESS_TOKEN={token}" in written.read_text().splitlines()
    assert token not in said.out + said.err
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    status = ExchangeManager().validate_connectivity("ZERODHA")
    assert status["status"] == "READY", status["message"]


def test_dhan_is_renewed_with_the_token_at_hand(
    server: VenueServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = server.dhan.access_token
    write_credential("DHAN_ACCESS_TOKEN", before)
    assert main(["login", "DHAN", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shadowed_by_environment"] is False
    assert server.dhan.access_token != before
    assert read_environment()["DHAN_ACCESS_TOKEN"] == server.dhan.access_token


def test_a_token_of_the_environment_is_named_because_it_wins(
    server: VenueServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DHAN_ACCESS_TOKEN", server.dhan.access_token)
    assert main(["login", "DHAN"]) == 0
    assert "unset it" in capsys.readouterr().out


def test_the_other_lines_of_the_file_stay(home: Path) -> None:
    path = home / "config" / ".env"
    path.parent.mkdir()
    path.write_text("# mine\nDHAN_ACCESS_TOKEN=old\nBINANCE_API_KEY=kept\n")
    write_credential("DHAN_ACCESS_TOKEN", "newtoken123")
    assert path.read_text() == "# mine\nBINANCE_API_KEY=kept\nDHAN_ACCESS_TOKEN=newtoken123\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["login", "BINANCE"], 2, "BINANCE has no tokens that end with the day"),
        (["login", "DHAN", "--request-token", "abc"], 2, "--request-token is ZERODHA's"),
        (["login", "ZERODHA", "--request-token", "wrongtoken1"], 1, "ZERODHA"),
        (["login", "DHAN"], 1, "DHAN_ACCESS_TOKEN"),
    ],
)
def test_what_cannot_be_logged_in_is_one_sentence_and_writes_nothing(
    server: VenueServer, home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (home / "config").exists()
