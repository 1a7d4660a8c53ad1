"""What tests of the manager and the command line need so that no venue but one on loopback is asked."""

import pytest

from barwise.exchange.credentials import ADDRESSES, FOLDERS
from barwise.exchange.manager import ExchangeManager
from barwise.obs import CREDENTIALS


class ManualClock:
    """A monotonic clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def cut_off(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Point every address at a port on which nobody listens, forget all keys, and let pauses take no time."""
    for name in (*CREDENTIALS, *FOLDERS):
        monkeypatch.delenv(name, raising=False)
    for name in ADDRESSES:
        scheme = "ws" if "_WS_" in name else "http"
        monkeypatch.setenv(name, f"{scheme}://127.0.0.1:9")
    clock = ManualClock()
    monkeypatch.setattr(ExchangeManager(), "_sleep", clock.sleep)
    monkeypatch.setattr(ExchangeManager(), "_clock", clock)
    monkeypatch.setattr(ExchangeManager(), "_connections", {})
    return clock
