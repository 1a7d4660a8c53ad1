"""One large file that never changes while we run: read once, compressed once, and kept by browsers.

Plotly's script is nearly five megabytes, and the first chart waits for it. Compressing takes longer than sending on
this machine, so nobody waits for it: until it is done the file goes out as it is.
"""

import gzip
import hashlib
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from flask import Response, request

# A week without asking; then one question that the entity tag answers. An update of the package is another tag.
_KEPT: Final = "private, max-age=604800"


class LargeFile:
    """A file in memory, as it is and compressed.

    Args:
        path: Of the file.
        content_type: What it is.
    """

    def __init__(self, path: Path, content_type: str) -> None:
        self._path, self._content_type = path, content_type
        self._compressed: bytes | None = None
        self._begun = False
        self._lock = Lock()

    @cached_property
    def content(self) -> bytes:
        """The file as it is."""
        return self._path.read_bytes()

    @cached_property
    def _tag(self) -> str:
        return hashlib.blake2b(self.content, digest_size=12).hexdigest()

    def compress(self) -> None:
        """Compress it, which takes about a quarter of a second; a second call does nothing."""
        with self._lock:
            if self._compressed is None:
                # mtime=0: the same file is the same bytes after every start, as its tag says.
                self._compressed = gzip.compress(self.content, compresslevel=6, mtime=0)

    def prepare(self) -> None:
        """Begin to compress it beside everything else."""
        if not self._begun:
            self._begun = True
            Thread(target=self.compress, name="barwise-compress", daemon=True).start()

    def response(self) -> Response:
        """The answer to the current request: the file, the file compressed, or that the client's copy is good."""
        compressed = self._compressed if request.accept_encodings["gzip"] > 0 else None
        if compressed is None:
            self.prepare()
        answer = Response(self.content if compressed is None else compressed, content_type=self._content_type)
        answer.set_etag(self._tag if compressed is None else f"{self._tag}-gzip")
        answer.headers["Cache-Control"] = _KEPT
        answer.headers["Vary"] = "Accept-Encoding"
        if compressed is not None:
            answer.headers["Content-Encoding"] = "gzip"
        answer.make_conditional(request)
        return answer
