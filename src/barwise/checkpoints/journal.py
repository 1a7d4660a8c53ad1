"""A journal of numbers: what a long stage has found one by one, so that it goes on after the last of them.

Each number is on the disk before the next one is asked for. A line that was torn by a kill or a power cut is cut off
when the journal is opened again, with all that follows it: what is left is the beginning, to the bit.
"""

import errno
import os
import zlib
from pathlib import Path

from barwise.data.files import flush_folder
from barwise.errors import CheckpointError


class Journal:
    """An append-only file of float64 numbers.

    Args:
        path: The file; made by the first `append`.

    Attributes:
        values: Every number that is in it, in order.

    Raises:
        CheckpointError: The file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: list[float] = []
        try:
            content = path.read_bytes()
            whole = self._read(content)
            if whole < len(content):
                os.truncate(path, whole)
        except FileNotFoundError:
            return
        except OSError as cause:
            raise self._useless("read", cause) from cause

    def append(self, value: float) -> None:
        """Write a number; it is on the disk when this returns.

        Raises:
            CheckpointError: The disk is full, or refuses; the journal stays as it was.
        """
        line = _line(len(self.values), value)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(descriptor)
                except BaseException:
                    os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
            if not self.values:
                flush_folder(self.path.parent)
        except OSError as cause:
            raise self._useless("written", cause) from cause
        self.values.append(float(value))

    def remove(self) -> None:
        """Take the file away: what it was for is done."""
        self.path.unlink(missing_ok=True)
        self.values = []

    def _read(self, content: bytes) -> int:
        """Take the numbers of the whole lines at the beginning; how many bytes those are."""
        whole = 0
        for line in content.splitlines(keepends=True):
            value = _value(line)
            if value is None or line != _line(len(self.values), value):
                break
            self.values.append(value)
            whole += len(line)
        return whole

    def _useless(self, what: str, cause: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self.path} cannot be {what}: {cause.strerror}.",
            hint="check that the folder is writable and has space.",
        )


def _line(index: int, value: float) -> bytes:
    """A number with its place and a checksum of both."""
    text = f"{index} {float(value).hex()}".encode()
    return b"%s %08x\n" % (text, zlib.crc32(text))


def _value(line: bytes) -> float | None:
    try:
        return float.fromhex(line.split(b" ")[1].decode("ascii"))
    except (ValueError, IndexError, OverflowError):
        return None
