"""What tests of the command line share: one call of it in this process, and what came of it."""

from collections.abc import Callable
from typing import NamedTuple

from barwise.cli import main


class Outcome(NamedTuple):
    """Exit code, and what was printed on stdout and stderr."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]

BREAKOUT = """
from barwise import Bars, Int, Plan, Strategy, rolling_max, shift


class Breakout(Strategy):
    lookback: int = Int(20, low=2)

    def plan(self, bars: Bars) -> Plan:
        return Plan.of(entry=bars.close > shift(rolling_max(bars.high, self.lookback)))
"""


def called(words: tuple[object, ...], streams: Callable[[], tuple[str, str]]) -> Outcome:
    """The command line with these words.

    Args:
        words: As typed, each of them made a text.
        streams: What has been printed since it was last asked, such as `capfd.readouterr`.
    """
    streams()
    code = main([str(word) for word in words])
    return Outcome(code, *streams())
