"""The lines that rows of sweeps share: one matrix, into which each line is computed and copied once.

A search asks for the same few periods batch after batch. Stacking them anew for each batch costs more, on a year of
minutes, than simulating its rows.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np

from barwise.core.layout import FloatArray, IntArray
from barwise.strategy.base import first_defined


class SharedLines:
    """Lines over the same bars, one per row of a matrix; row 0 is the session VWAP. Rows are never changed or moved.

    Threads may share it. A matrix that was handed out stays valid when lines are added.
    """

    def __init__(self, session_vwap: FloatArray) -> None:
        self._matrix = np.array(session_vwap, ndmin=2)
        self._starts = [first_defined(session_vwap)]
        self._row_of: dict[tuple[str, int], int] = {}
        self._waiting: list[FloatArray] = []
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all lines."""
        return len(self._starts) * int(self._matrix[0].nbytes)

    def rows_of(self, name: str, codes: IntArray, compute: Callable[[int], FloatArray]) -> IntArray:
        """The row of the line that each code stands for.

        Args:
            name: What kind of line it is; with the code it says all about it, in this sweep and in the next.
            codes: One integer per row of the sweep, a period for example.
            compute: Makes the line of a code, float64 [bars]; called once for each code that is new.
        """
        distinct, inverse = np.unique(codes, return_inverse=True)
        with self._lock:
            rows = [self._row(name, int(code), compute) for code in distinct]
        return np.array(rows, np.int64)[inverse]

    def _row(self, name: str, code: int, compute: Callable[[int], FloatArray]) -> int:
        row = self._row_of.get((name, code))
        if row is None:
            line = compute(code)
            row = self._row_of[name, code] = len(self._starts)
            self._starts.append(first_defined(line))
            self._waiting.append(line)
        return row

    @property
    def matrix(self) -> FloatArray:
        """All lines, float64 [lines, bars], C-contiguous."""
        with self._lock:
            count = len(self._starts)
            if self._waiting:
                written = count - len(self._waiting)
                if count > len(self._matrix):
                    # Room for more takes no memory before it is written to.
                    grown = np.empty((count + count // 2, self._matrix.shape[1]))
                    grown[:written] = self._matrix[:written]
                    self._matrix = grown
                for row, line in enumerate(self._waiting, written):
                    self._matrix[row] = line
                self._waiting.clear()
            return self._matrix[:count]

    @property
    def starts(self) -> IntArray:
        """First defined bar of each line."""
        with self._lock:
            return np.array(self._starts, np.int64)
