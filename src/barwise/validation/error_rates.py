"""How often the verdict is wrong, as measured: a rule without its error rate is an opinion.

`benchmarks/calibration.py` runs the whole procedure on markets of known truth and writes what came out into
`error_rates.json` beside this module. Until it has been run there is nothing to tell, and the reports say so.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from typing import Any

COMMAND = "benchmarks/calibration.py"
_FILE = "error_rates.json"


@dataclass(frozen=True)
class Measured:
    """Verdicts on one kind of market.

    Attributes:
        market: What it is, in words.
        runs: Markets that were searched and judged.
        likely_real: How many of them got LIKELY REAL.
        sharpe: Annual Sharpe ratio of the edge that is really there; 0 without one.
        years: Length of each market.
    """

    market: str
    runs: int
    likely_real: int
    sharpe: float
    years: float

    @property
    def share(self) -> float:
        """Share of LIKELY REAL."""
        return self.likely_real / self.runs


@dataclass(frozen=True)
class ErrorRates:
    """What was measured.

    Attributes:
        barwise: Version it was measured with.
        measured: Date, ISO 8601.
        noise: On markets without an edge: LIKELY REAL is wrong there.
        edges: On markets with an edge of known size: anything but LIKELY REAL has missed it.
    """

    barwise: str
    measured: str
    noise: tuple[Measured, ...]
    edges: tuple[Measured, ...]

    @property
    def false_share(self) -> float:
        """Share of LIKELY REAL on all markets without an edge together."""
        return sum(row.likely_real for row in self.noise) / sum(row.runs for row in self.noise)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "ErrorRates":
        """From the file's content: `barwise`, `measured`, and a list of markets with the fields of `Measured`."""
        rows = [Measured(**row) for row in content["markets"]]
        return cls(
            content["barwise"],
            content["measured"],
            tuple(row for row in rows if row.sharpe == 0.0),
            tuple(row for row in rows if row.sharpe != 0.0),
        )

    def to_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "barwise": self.barwise,
            "measured": self.measured,
            "markets": [vars(row).copy() for row in (*self.noise, *self.edges)],
        }

    def sentence(self) -> str:
        """The rates in a sentence or two."""
        runs = sum(row.runs for row in self.noise)
        markets = "market" if runs == 1 else "markets"
        share = 100.0 * self.false_share
        text = f"On {runs:,} {markets} without an edge it said LIKELY REAL {share:.1f} % of the time."
        found = "; ".join(
            f"a true Sharpe ratio of {row.sharpe:g} over {row.years:g} {'year' if row.years == 1.0 else 'years'} "
            f"in {100.0 * row.share:.0f} %"
            for row in self.edges
        )
        return f"{text} It finds an edge of {found}." if found else text


@cache
def error_rates() -> ErrorRates | None:
    """What was measured with this release's rule; None where nothing was."""
    path = package_files("barwise.validation") / _FILE
    if not path.is_file():
        return None
    return ErrorRates.from_dict(json.loads(path.read_text("utf-8")))


def error_sentence() -> str:
    """The verdict's own error rate in words, also where it is not known."""
    rates = error_rates()
    if rates is not None:
        return rates.sentence()
    return f"How often this rule is wrong has not been measured for this release; {COMMAND} measures it."
