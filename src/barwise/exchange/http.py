"""One way to ask a venue: timeouts, limits, retries and errors, written once for all adapters.

A request waits for its place in the venue's limit, is sent, and is judged by the adapter's `judge`, which knows the
venue's error bodies. What can pass by itself (network, 5xx, a broken answer, a rate limit) is asked again after 1, 2
and 4 seconds, or later where the venue says so; a ban (418), a bad credential and a bad request never are. Nothing of
`requests` leaves this module, and no secret does: URLs are shown without their query.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_base

from barwise.errors import APIError, BarwiseError, RateLimitError
from barwise.obs import redact

logger = logging.getLogger(__name__)

CONNECT_S, READ_S = 5.0, 20.0
RETRIES = 3
# A venue may ask for a longer pause than this; then the caller is told instead of being kept waiting.
LONGEST_WAIT_S = 70.0
USER_AGENT = "barwise"


@dataclass(frozen=True)
class Answer:
    """A successful answer: the decoded body and the headers (case-insensitive)."""

    body: Any
    headers: Mapping[str, str]
    status: int = 200

    @property
    def server_time_ms(self) -> int | None:
        """The venue's clock from the Date header, to the second."""
        try:
            return int(parsedate_to_datetime(self.headers["Date"]).timestamp() * 1000)
        except (KeyError, TypeError, ValueError):
            return None


class TransientError(Exception):
    """A failure that may pass by itself; carries the error to raise when it does not.

    Args:
        error: What the caller sees after the last try.
        wait_s: The shortest pause the venue asked for.
    """

    def __init__(self, error: BarwiseError, wait_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s


class Limiter:
    """A budget of weight per window of time, shared by all threads that ask one venue.

    Args:
        weight: Allowed per window; a share is left for others who use the same address.
        window_s: Length of the window.
        clock, sleep: Monotonic seconds and a pause; replaced in tests.
    """

    def __init__(
        self,
        weight: float,
        window_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.weight = weight
        self.window_s = window_s
        self._clock, self._sleep = clock, sleep
        self._spent: deque[tuple[float, float]] = deque()
        self._blocked_until = 0.0
        self._lock = threading.Lock()

    def take(self, weight: float) -> None:
        """Wait until `weight` fits into the window, and spend it."""
        while True:
            with self._lock:
                now = self._clock()
                self._forget(now)
                pause = self._blocked_until - now
                if pause <= 0.0:
                    over = sum(spent for _, spent in self._spent) + weight - self.weight
                    if over <= 0.0 or not self._spent:
                        self._spent.append((now, weight))
                        return
                    pause = self._spent[0][0] + self.window_s - now
            self._sleep(max(pause, 0.001))

    def block(self, seconds: float) -> None:
        """Nobody asks for this long: the venue said so."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def correct(self, used: float) -> None:
        """The venue's own count of what was spent in this window; higher than ours where others spend too."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            missing = used - sum(spent for _, spent in self._spent)
            if missing > 0.0:
                self._spent.append((now, missing))

    @property
    def blocked_s(self) -> float:
        """Seconds until the venue may be asked again at all; 0 where it may now."""
        with self._lock:
            return max(self._blocked_until - self._clock(), 0.0)

    @property
    def used(self) -> float:
        """Share of the budget spent within the window, a fraction."""
        with self._lock:
            self._forget(self._clock())
            return sum(spent for _, spent in self._spent) / self.weight

    def _forget(self, now: float) -> None:
        """Drop what was spent before the window; the caller holds the lock."""
        while self._spent and self._spent[0][0] <= now - self.window_s:
            self._spent.popleft()


class _Waits(wait_base):
    """1, 2, 4 seconds after the failed try, or as long as the venue asks."""

    def __call__(self, retry_state: RetryCallState) -> float:
        failure = retry_state.outcome.exception() if retry_state.outcome is not None else None
        asked = failure.wait_s if isinstance(failure, TransientError) else 0.0
        return float(max(2 ** (retry_state.attempt_number - 1), asked))


class Client:
    """Asks one venue.

    Args:
        exchange: For messages.
        base_url: Scheme, host and path prefix.
        limiter: The venue's limit.
        judge: Called with (status, headers, decoded body or None, text) of every answer; raises a BarwiseError, or
            `TransientError` around one where another try may help, and returns where the answer is good.
        headers: Sent with every request.
        sleep: A pause in seconds; replaced in tests.
    """

    def __init__(
        self,
        exchange: str,
        base_url: str,
        limiter: Limiter,
        judge: Callable[[int, Mapping[str, str], Any, str], None],
        *,
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.exchange = exchange
        self.base_url = base_url.rstrip("/")
        self.limiter = limiter
        self.requests_sent = 0
        self._judge = judge
        self._headers = {"User-Agent": USER_AGENT, **(headers or {})}
        self._sleep = sleep
        self._local = threading.local()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        weight: float = 1.0,
        raw: bool = False,
    ) -> Answer:
        """Send one question until it is answered or given up.

        Args:
            path: Joined to the base URL.
            body: Sent as JSON; bytes as they are, and `headers` have to name their type.
            headers: More headers; a callable is asked anew for each try (signatures have timestamps).
            weight: What it costs of the limit.
            raw: The body is bytes, not JSON.

        Raises:
            CredentialError, RateLimitError, APIError, DataError: As the venue's answer says.
        """
        tries = Retrying(
            stop=stop_after_attempt(RETRIES + 1),
            wait=_Waits(),
            retry=retry_if_exception_type(TransientError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return tries(self._once, method, path, params, body, headers, weight, raw)
        except TransientError as failure:
            raise failure.error from failure.__cause__

    def _once(self, method: str, path: str, params: Any, body: Any, headers: Any, weight: float, raw: bool) -> Answer:
        pause = self.limiter.blocked_s
        if pause > LONGEST_WAIT_S:  # an earlier answer asked for it; say so instead of sleeping in silence
            raise too_fast(self.exchange, 429, pause)
        self.limiter.take(weight)
        extra = headers() if callable(headers) else headers or {}
        self.requests_sent += 1
        try:
            response = self._session().request(
                method, self.base_url + path, params=params, data=body if isinstance(body, bytes) else None,
                json=None if isinstance(body, bytes) else body, headers={**self._headers, **extra},
                timeout=(CONNECT_S, READ_S), allow_redirects=False,
            )  # fmt: skip
            content = response.content
        except requests.RequestException as error:
            # The library's text may hold the URL with its query; the class says enough.
            raise TransientError(self._unreachable(path, error)) from None
        text = "" if raw and response.ok else content.decode("utf-8", "replace")
        decoded = None
        if not raw or not response.ok:
            try:
                decoded = json.loads(text) if text else None
            except ValueError:
                decoded = None
        try:
            self._judge(response.status_code, response.headers, decoded, redact(text[:500]))
        except TransientError as failure:
            if failure.wait_s > 0.0:
                self.limiter.block(failure.wait_s)
            if failure.wait_s > LONGEST_WAIT_S:
                raise failure.error from None
            logger.debug("%s %s%s: %s", method, self.exchange, path, redact(str(failure)))
            raise
        if raw:
            return Answer(content, response.headers, response.status_code)
        if decoded is None:
            raise TransientError(
                APIError(
                    f"{self.exchange} answered {path} with something that is not JSON ({len(content)} bytes).",
                    hint="a proxy or a maintenance page may stand in between; try again later.",
                    status=response.status_code,
                )
            )
        return Answer(decoded, response.headers, response.status_code)

    def _session(self) -> requests.Session:
        """One session per thread: connections are reused, and sessions are not shared between threads."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        return session

    def _unreachable(self, path: str, error: requests.RequestException) -> APIError:
        kind = "could not be reached or broke off"
        if isinstance(error, requests.ConnectTimeout):
            kind = "did not accept a connection in time"
        elif isinstance(error, requests.Timeout):
            kind = "did not answer in time"
        return APIError(
            f"{self.exchange} {kind}: {path} ({type(error).__name__}).",
            hint="check the network and the venue's status page, then try again: what is stored stays.",
        )


def too_fast(exchange: str, status: int, retry_after: float | None, code: str | int | None = None) -> RateLimitError:
    """The error for a venue that was asked too often."""
    pause = f"for a pause of {retry_after:.0f} s" if retry_after else "for a pause"
    return RateLimitError(
        f"{exchange} asks {pause} (HTTP {status}).",
        hint="run the same command again after that; it goes on where it stopped.",
        status=status,
        code=code,
        retry_after=retry_after,
    )
