"""The same past with another future: bars that could have come, in place of those that did.

Cutting the data off also changes how many bars there are, and a strategy that needs a certain number fails instead of
showing what it knows. Here the number stays and only the content of the future changes. Every future comes twice, as
drawn and mirrored: whichever way the next bar went, one of the two goes the other way.
"""

import numpy as np

from barwise.core.layout import Bars, FloatArray
from barwise.data.candles import Candles
from barwise.errors import DataError

_SEED = 187


class OtherFutures:
    """Draws other futures for some candles; the same ones on every call.

    A future is a chain of the candles' own bars in random order, each with its shape, its gap to the close before it
    and its volume, without the drift of the whole sample. Times stay: they are known beforehand.

    Raises:
        DataError: A price is not positive, so bars have no shape.
    """

    def __init__(self, candles: Candles) -> None:
        self._bars = candles.bars
        prices = np.stack(candles.bars[1:5])
        if not (prices > 0.0).all():
            raise DataError(
                f"{candles.label}: the future cannot be replaced where a price is not positive.",
                hint="candles.audit says where; futures=0 leaves this part of the check out.",
            )
        # Logarithms of open, high, low and close over the close before, less the mean step of the close.
        shapes = np.log(prices[:, 1:] / prices[3, :-1])
        self._shapes: FloatArray = shapes - shapes[3].mean() if shapes.size else shapes

    def after(self, bar: int) -> tuple[Bars, Bars]:
        """Bars equal to the candles' own up to `bar`, with another future and with its mirror image behind it.

        Args:
            bar: Index of the last bar that stays, below the last one.
        """
        rng = np.random.default_rng((_SEED, bar))
        drawn = rng.integers(0, self._shapes.shape[1], self._bars.close.size - bar - 1)
        opens, highs, lows, closes = self._shapes[:, drawn]
        volume = self._bars.volume[1:][drawn]
        return (
            self._with(bar, opens, highs, lows, closes, volume),
            self._with(bar, -opens, -lows, -highs, -closes, volume),
        )

    def _with(
        self, bar: int, opens: FloatArray, highs: FloatArray, lows: FloatArray, closes: FloatArray, volume: FloatArray
    ) -> Bars:
        past = self._bars
        before = past.close[bar] * np.exp(np.concatenate(([0.0], np.cumsum(closes[:-1]))))
        future = [before * np.exp(steps) for steps in (opens, highs, lows, closes)]
        columns = [
            np.concatenate((column[: bar + 1], later))
            for column, later in zip(past[1:], (*future, volume), strict=True)
        ]
        for column in columns:
            column.setflags(write=False)  # as the strategy knows them; and indicators of one future are computed once
        return Bars(past.time, *columns)
