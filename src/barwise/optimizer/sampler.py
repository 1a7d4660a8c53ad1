"""What every search method is: something that proposes points and is told what came of them.

The batch a sampler thinks in belongs to the method, not to the machine: how many rows are simulated at once, and by how
many workers, never changes what is proposed next.
"""

from typing import NamedTuple, Protocol

from barwise.core.layout import BoolArray, FloatArray


class Told(NamedTuple):
    """What came of a batch; n points that were run, in the order they were asked.

    Attributes:
        points: float64 [n, dimensions]; the valid points that were run for those that were proposed.
        values: float64 [n, objectives], larger is better whatever the metric; NaN where undefined.
        violation: float64 [n]; 0 where all guards are kept, else how far they are broken.
        steps: float64 [n, rungs]; the first objective (larger is better) at each rung, NaN beyond the last one reached.
        complete: bool [n]; False where the search gave the point up before the last rung.
    """

    points: FloatArray
    values: FloatArray
    violation: FloatArray
    steps: FloatArray
    complete: BoolArray


class Sampler(Protocol):
    """One search method at work on one space."""

    @property
    def name(self) -> str:
        """Its canonical name."""

    @property
    def batch(self) -> int:
        """How many points it wants to propose next, before it is told what came of them."""

    def ask(self, count: int) -> FloatArray:
        """Up to `count` proposals, float64 [n, dimensions], anywhere in the box; none when nothing is left to propose.

        Args:
            count: At most this many; the caller asks for `batch` at a time until its budget ends.
        """

    def tell(self, told: Told) -> None:
        """Learn from the points of the last `ask`, all of them and in its order."""
