"""The limiter and the client's manners, with a clock that only moves when somebody sleeps."""

from collections.abc import Mapping
from typing import Any

import pytest

from barwise.errors import RateLimitError
from barwise.exchange.http import LONGEST_WAIT_S, Client, Limiter


class Clock:
    """Monotonic seconds that pass in `sleep` alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter_of(clock: Clock, weight: float = 10.0, window_s: float = 60.0) -> Limiter:
    return Limiter(weight, window_s, clock=clock, sleep=clock.sleep)


def test_what_fits_into_the_window_is_not_kept_waiting(clock: Clock) -> None:
    limiter = limiter_of(clock)
    for _ in range(5):
        limiter.take(2.0)
    assert clock.slept == []
    assert limiter.used == 1.0


def test_what_does_not_fit_waits_until_the_oldest_leaves_the_window(clock: Clock) -> None:
    limiter = limiter_of(clock)
    limiter.take(6.0)
    clock.now += 20.0
    limiter.take(4.0)
    limiter.take(5.0)
    assert sum(clock.slept) == pytest.approx(40.0)
    assert limiter.used == pytest.approx(0.9)


def test_a_question_heavier_than_the_budget_is_asked_alone(clock: Clock) -> None:
    limiter = limiter_of(clock)
    limiter.take(25.0)
    assert clock.slept == []
    limiter.take(1.0)
    assert sum(clock.slept) == pytest.approx(60.0)


def test_the_venues_own_count_is_believed_where_it_is_higher(clock: Clock) -> None:
    limiter = limiter_of(clock)
    limiter.take(2.0)
    limiter.correct(9.0)
    assert limiter.used == pytest.approx(0.9)
    limiter.correct(1.0)
    assert limiter.used == pytest.approx(0.9)


def test_what_has_left_the_window_does_not_count_against_the_venues_figure(clock: Clock) -> None:
    limiter = limiter_of(clock)
    limiter.take(8.0)
    clock.now += 61.0
    limiter.correct(3.0)
    assert limiter.used == pytest.approx(0.3)


def test_nobody_asks_while_the_venue_wants_a_pause(clock: Clock) -> None:
    limiter = limiter_of(clock)
    limiter.block(30.0)
    assert limiter.blocked_s == pytest.approx(30.0)
    limiter.take(1.0)
    assert sum(clock.slept) == pytest.approx(30.0)
    assert limiter.blocked_s == 0.0


def test_a_long_pause_is_told_instead_of_slept_through(clock: Clock) -> None:
    def judge(status: int, headers: Mapping[str, str], body: Any, text: str) -> None:
        raise AssertionError("nothing may be sent")

    limiter = limiter_of(clock)
    limiter.block(LONGEST_WAIT_S + 170.0)
    client = Client("DELTA", "http://127.0.0.1:9", limiter, judge, sleep=clock.sleep)
    with pytest.raises(RateLimitError, match="pause of 240 s") as caught:
        client.ask("GET", "/v2/history/candles")
    assert caught.value.retry_after == pytest.approx(240.0)
    assert clock.slept == []
    assert client.requests_sent == 0
