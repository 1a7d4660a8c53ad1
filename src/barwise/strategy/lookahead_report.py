"""What a look-ahead check found, in places, sentences and plain numbers: the same for people and for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, overload

import numpy as np

from barwise.data.quality import counted
from barwise.strategy.warm_up import WarmUp

Method = Literal["prefix", "noise"]


@dataclass(frozen=True)
class LookAhead:
    """One place where a plan changed after the fact.

    Attributes:
        bar: Index of the bar.
        time_ms: Its open, ms UTC.
        column: Which column of the plan.
        then, now: What the strategy said with the data up to that bar (method "noise": with other bars after it), and
            with all of it.
        method: "prefix": the future was cut off; "noise": it was replaced.
    """

    bar: int
    time_ms: int
    column: str
    then: float
    now: float
    method: Method = "prefix"

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.time_ms / 1000, UTC)
        if self.method == "noise":
            return (
                f"{self.column} at {when:%Y-%m-%d %H:%M} is {self.now:g} and would be {self.then:g} had other bars "
                "followed"
            )
        return (
            f"{self.column} at {when:%Y-%m-%d %H:%M} was {self.then:g} with the bars up to then and is {self.now:g} "
            "with later bars in hand"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a value that was not defined is None."""
        return asdict(self) | {
            name: None if np.isnan(value := getattr(self, name)) else value for name in ("then", "now")
        }


@dataclass(frozen=True)
class LookAheadReport(Sequence[LookAhead]):
    """What the long check found: a sequence of places, empty where nothing looks ahead.

    Attributes:
        strategy: Its class.
        market: The candles, in words.
        bars: How many.
        prefixes: Prefixes of the data that were planned again.
        futures: Other futures that were planned.
        places: In order of time.
        warm_up: How much the entries depend on where the data begins; a number, never a fault. None where no shorter
            span was to be planned.
    """

    strategy: str
    market: str
    bars: int
    prefixes: int
    futures: int
    places: tuple[LookAhead, ...]
    warm_up: WarmUp | None

    @property
    def ok(self) -> bool:
        """Nothing looks ahead."""
        return not self.places

    @overload
    def __getitem__(self, position: int) -> LookAhead: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[LookAhead, ...]: ...

    def __getitem__(self, position: int | slice) -> LookAhead | tuple[LookAhead, ...]:
        return self.places[position]

    def __len__(self) -> int:
        return len(self.places)

    def __str__(self) -> str:
        name = f"{self.strategy} on {self.market}, {counted(self.bars, 'bar')}"
        looked = f"{counted(self.prefixes, 'shorter span')} and {counted(self.futures, 'other future')}"
        if self.ok:
            text = f"{name}: no look-ahead found in {looked}."
        else:
            columns = Counter(place.column for place in self.places)
            where = ", ".join(f"{column} {count:,}" for column, count in columns.items())
            places = counted(len(self), "place")
            text = f"{name}: looks ahead, in {places} by {looked} ({where}); the first: {self[0]}."
        return text if self.warm_up is None else f"{text} {self.warm_up}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "strategy": self.strategy,
            "market": self.market,
            "bars": self.bars,
            "prefixes": self.prefixes,
            "futures": self.futures,
            "ok": self.ok,
            "places": [place.to_dict() for place in self.places],
            "warm_up": None if self.warm_up is None else self.warm_up.to_dict(),
            "text": str(self),
        }
