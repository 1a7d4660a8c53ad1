"""Keys stay where they are: whatever goes wrong at a venue, no log, error, repr, stored file or output has one."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from barwise.cli import main
from barwise.errors import BarwiseError
from barwise.exchange.credentials import read_environment
from barwise.exchange.manager import ExchangeManager
from tests.no_network import cut_off
from tests.test_fetch import walk
from tests.venues import faults
from tests.venues.faults import Fault
from tests.venues.market import CREDENTIALS
from tests.venues.server import VenueServer

DAY_MS = 86_400_000
NOW = 1_785_000_000_000
# A client id of Dhan is ten digits, which no other number of these tests has.
SECRETS = tuple(CREDENTIALS.values())
MARKETS = {
    "BINANCE": "BTCUSDT",
    "BINANCE_UM": "BTCUSDT",
    "DELTA": "BTCUSD",
    "ZERODHA": "RELIANCE",
    "DHAN": "RELIANCE",
}
echo = ", ".join(SECRETS)
FAULTS: dict[str, Callable[[], Fault]] = {
    "none": lambda: faults.slow(0.0),
    "429": lambda: faults.too_many(1.0),
    "418": faults.banned,
    "403 page": faults.waf,
    "451": faults.forbidden_country,
    "500": lambda: faults.failing(500),
    "502 page": lambda: faults.failing(502, page=True),
    "page": faults.html_page,
    "empty": faults.empty_body,
    "truncated": faults.truncated,
    "cut": faults.cut,
    "reset": faults.reset,
    "expired": faults.expired,
    "400 that repeats the keys": lambda: faults.answering(400, f'{{"code": -1, "msg": "{echo}"}}'),
    "401 that repeats the keys": lambda: faults.answering(401, f'{{"message": "{echo}", "error_type": "X"}}'),
    "500 that repeats the keys": lambda: faults.answering(500, f"<html>{echo}</html>"),
}


def assert_none(text: str, where: str) -> None:
    for name, secret in CREDENTIALS.items():
        assert secret not in text, f"{name} in {where}"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_key_gets_out_whatever_the_venues_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    cut_off(monkeypatch)
    monkeypatch.setenv("BARWISE_LOG", "debug")
    (home / "config").mkdir()
    (home / "config" / ".env").write_text("".join(f"{name}={value}\n" for name, value in CREDENTIALS.items()))
    (home / "config" / ".env").chmod(0o600)
    days = {(venue, symbol, "1D"): walk(60, step=DAY_MS) for venue, symbol in MARKETS.items()}
    with VenueServer(days, NOW) as server:
        for name, value in server.environment().items():
            if name not in CREDENTIALS:
                monkeypatch.setenv(name, value)
        server.faults.on(FAULTS[fault](), nth=1, times=None)
        for venue, symbol in MARKETS.items():
            code = main(["fetch", venue, symbol, "1D", "--start", "2025-01-01", "--end", "2025-02-01", "--json"])
            assert fault != "none" or code == 0 or venue in {"ZERODHA", "DHAN"}
            try:
                ExchangeManager().fetch_ohlc(venue, symbol, "1D", "2025-01-01", "2025-02-20")
            except BarwiseError as error:
                assert_none(
                    "".join(traceback.format_exception(error)) + repr(error) + str(error.hint), f"{venue} error"
                )
            assert_none(str(ExchangeManager().validate_connectivity(venue)), f"{venue} status")
        main(["doctor", "--online"])
        main(["exchanges"])
        assert not server.log.orders
    assert_none("".join(capfd.readouterr()), "the output")
    for shown in (read_environment(), *ExchangeManager()._connections.values()):
        assert_none(repr(shown), "a repr")
    written = [path for path in home.rglob("*") if path.is_file() and path.name != ".env"]
    assert any(path.suffix == ".log" for path in written)
    for path in written:
        assert_none(path.read_bytes().decode("utf-8", "replace"), path.name)
