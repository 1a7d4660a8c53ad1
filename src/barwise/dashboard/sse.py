"""Server-sent events: the messages of a listener as the bytes that a browser's EventSource reads."""

from collections.abc import Iterator
from typing import Final

from barwise.dashboard.live import Listener, Message

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
# A comment so often keeps proxies from closing a silent stream, and shows a server that its client has gone.
HEARTBEAT_SECONDS: Final = 15.0
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
    """The body of an answer: it ends with the server, or when the client has gone and the web server closes it.

    No generator: one that was never begun runs no `finally`, and would keep its place for ever.

    Args:
        listener: Whose messages; closed with the stream.
        heartbeat: Seconds of silence before a comment.
    """

    def __init__(self, listener: Listener, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._listener, self._heartbeat = listener, heartbeat
        self._begun = False

    def __next__(self) -> bytes:
        if not self._begun:
            # At once, so that the page knows that it is connected.
            self._begun = True
            return f"retry: {_RETRY}\n\n".encode()
        messages = self._listener.next(self._heartbeat)
        if messages is None:
            raise StopIteration
        return b"".join(map(event_bytes, messages)) or _COMMENT

    def close(self) -> None:
        """Called by the web server, however the answer ended."""
        self._listener.close()
