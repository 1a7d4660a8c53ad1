"""Server-sent events: the messages of a listener as the bytes that a browser's EventSource reads."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from barwise.dashboard.live import Listener, Message

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
# A comment so often keeps proxies from closing a silent stream, and shows a server that its client has gone.
HEARTBEAT_SECONDS: Final = 15.0
# How often a silent stream asks whether its client is still there: a page that was closed frees its place by then.
_LOOK_SECONDS: Final = 1.0
# Milliseconds after which a browser that lost its connection comes again.
_RETRY: Final = 1000
_COMMENT: Final = b": still here\n\n"


def event_bytes(message: Message) -> bytes:
    """One event. JSON has its line ends escaped, but what has one of its own is cut there, as the format wants it."""
    lines = [f"event: {message.event}"]
    if message.number is not None:
        lines.append(f"id: {message.number}")
    lines += [f"data: {part}" for part in message.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class EventStream(Iterator[bytes]):
    """The body of an answer: it ends with the server, when the client has gone, or when the web server closes it.

    No generator: one that was never begun runs no `finally`, and would keep its place for ever.

    Args:
        listener: Whose messages; closed with the stream.
        heartbeat: Seconds of silence before a comment.
        gone: Whether the client has gone; None where the web server cannot tell, and notices it with the next comment.
    """

    def __init__(
        self, listener: Listener, heartbeat: float = HEARTBEAT_SECONDS, gone: Callable[[], bool] | None = None
    ) -> None:
        self._listener, self._heartbeat, self._gone = listener, heartbeat, gone
        self._begun = False

    def __next__(self) -> bytes:
        if not self._begun:
            # At once, so that the page knows that it is connected.
            self._begun = True
            return f"retry: {_RETRY}\n\n".encode()
        end = time.monotonic() + self._heartbeat
        while (left := end - time.monotonic()) > 0.0:
            messages = self._listener.next(min(left, _LOOK_SECONDS))
            if messages is None or (self._gone is not None and self._gone()):
                raise StopIteration
            if messages:
                return b"".join(map(event_bytes, messages))
        return _COMMENT

    def close(self) -> None:
        """Called by the web server, however the answer ended."""
        self._listener.close()
