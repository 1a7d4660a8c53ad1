"""Crossings of many pairs of lines, and the matrix that the lines of sweeps share."""

import threading
from itertools import pairwise, product

import numpy as np
import pytest

from barwise import EmaRsiAtr, sample_candles, sweep
from barwise.core.events import crossings
from barwise.strategy.shared_lines import SharedLines
from barwise.sweeping import Sweeper, checked_columns


def by_definition(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    """One bar after the other: above now and not above before, with a number in all four places."""
    found = []
    for t in range(1, len(a)):
        if a[t - 1] <= b[t - 1] and a[t] > b[t]:
            found.append((t, 1))
        elif a[t - 1] >= b[t - 1] and a[t] < b[t]:
            found.append((t, -1))
    return found


def found_by(lines: np.ndarray, upper: list[int], lower: list[int]) -> list[list[tuple[int, int]]]:
    offsets, bars, sides = crossings(lines, np.array(upper, np.int64), np.array(lower, np.int64))
    assert offsets[0] == 0
    assert offsets[-1] == bars.size == sides.size
    return [list(zip(bars[a:b].tolist(), sides[a:b].tolist(), strict=True)) for a, b in pairwise(offsets)]


def test_a_line_that_touches_another_crosses_it_when_it_leaves() -> None:
    lines = np.array([[1.0, 2.0, 3.0, 2.0, 2.0, 1.0, 1.0, 2.0, 3.0, 1.0], [2.0] * 10])
    # Equal at 1, above from 2: up at 2. Equal at 3 and 4, below at 5: down at 5. Equal at 7, above at 8; below at 9.
    assert found_by(lines, [0], [1]) == [[(2, 1), (5, -1), (8, 1), (9, -1)]]


def test_nothing_is_crossed_where_a_line_begins() -> None:
    nan = np.nan
    lines = np.array([[nan, nan, 3.0, 3.0, nan, 1.0, 3.0], [2.0] * 7])
    assert found_by(lines, [0, 1], [1, 0]) == [[(6, 1)], [(6, -1)]]


@pytest.mark.parametrize("bars", [1, 2, 7, 8, 9, 10, 15, 16, 17, 24, 25, 26, 63, 64, 65, 1000])
def test_crossings_are_those_of_the_definition(bars: int) -> None:
    rng = np.random.default_rng(bars)
    lines = rng.integers(0, 4, (6, bars)).astype(float)  # few values: many ties
    lines[rng.random((6, bars)) < 0.05] = np.nan
    lines[4:] = np.cumsum(rng.normal(size=(2, bars)), axis=1)  # and two that cross rarely
    pairs = list(product(range(6), range(6)))
    found = found_by(lines, [a for a, _ in pairs], [b for _, b in pairs])
    for (a, b), crossed in zip(pairs, found, strict=True):
        assert crossed == by_definition(lines[a], lines[b])


def test_a_line_is_computed_once_and_keeps_its_row() -> None:
    asked: list[int] = []

    def line(code: int) -> np.ndarray:
        asked.append(code)
        return np.array([np.nan] * code + [float(code)] * (5 - code))

    shared = SharedLines(np.full(5, 7.0))
    first = shared.rows_of("line", np.array([3, 1, 3]), line)
    assert first.tolist() == [2, 1, 2]
    before = shared.matrix
    second = shared.rows_of("line", np.array([1, 2]), line)
    assert second.tolist() == [1, 3]
    assert asked == [1, 3, 2]
    assert shared.rows_of("other", np.array([1]), lambda _: np.zeros(5)).tolist() == [4]
    np.testing.assert_array_equal(shared.matrix[2], line(3))
    assert shared.starts.tolist() == [0, 1, 3, 2, 0]
    assert shared.nbytes == 5 * 5 * 8
    assert before.shape == (3, 5)  # what was handed out is neither longer nor different
    np.testing.assert_array_equal(before, shared.matrix[:3])


def test_threads_that_share_lines_agree_on_their_rows() -> None:
    shared = SharedLines(np.zeros(64))
    rows: dict[int, dict[int, int]] = {}

    def ask(thread: int) -> None:
        codes = np.random.default_rng(thread).permutation(200).astype(np.int64)
        found = shared.rows_of("line", codes, lambda code: np.full(64, float(code)))
        matrix = shared.matrix
        assert (matrix[found, 0] == codes).all()
        rows[thread] = dict(zip(codes.tolist(), found.tolist(), strict=True))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows) == 4
    assert rows[0] == rows[1] == rows[2] == rows[3]


def test_lines_above_the_limit_are_given_up_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barwise.sweeping._LINE_BYTES", 1)
    candles = sample_candles("SAMPLE-BTC", "1H", "2024-01-01", "2024-03-01")
    sweeper = Sweeper(candles, EmaRsiAtr(), 0.1)
    for fast in ((10, 12, 14), (12, 15, 16)):
        columns = checked_columns(EmaRsiAtr, {"ema_fast": fast}, None)
        again = sweep(candles, EmaRsiAtr(), 0.1, rows={"ema_fast": fast})
        assert sweeper.sweep(columns).summaries.tobytes() == again.summaries.tobytes()
    assert (
        len(sweeper._lines.starts) == 9
    )  # session VWAP, three fast, slow, trend, ATR, two of the RSI: the first sweep left none
