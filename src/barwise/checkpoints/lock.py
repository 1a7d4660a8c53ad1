"""One run at a time where two would write the same files, and no lock left behind by one that was killed.

The system holds the lock and frees it with the process, however that ends. What stands in the file is only for people:
it says who holds the lock. Where the system has no such locks, what stands in the file has to do.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from barwise.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A holder is without a name for the moment between taking the lock and writing it down; so often that is waited for.
_LOOKS, _PAUSE = 50, 0.02

# Locks of this process: where the system has none, its own process id alone would not tell them from a stale one.
_held: set[Path] = set()


class RunLock:
    """A lock on a file, held within a `with` block.

    Args:
        path: Its file; made where it is missing, emptied and left there afterwards.
        command: What the holder is doing, in a few words, for whoever finds the lock taken.

    Raises:
        CheckpointError: On entry: somebody holds it. The message says which process, and since when.
        CheckpointError: On entry: the file cannot be made or locked.
    """

    def __init__(self, path: Path, command: str = "") -> None:
        self.path = path
        self.command = command
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        descriptor = self._opened()
        try:
            self._take(descriptor)
            content = {
                "pid": os.getpid(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": self.command,
            }
            _write(descriptor, json.dumps(content).encode())
        except OSError as cause:
            os.close(descriptor)
            raise self._useless(cause) from cause
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self._place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _held.discard(self._place)
        try:
            # Emptied, never removed: somebody may be waiting on this very file, and would then hold a lock on nothing.
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @property
    def _place(self) -> Path:
        return self.path.resolve()

    def _opened(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as cause:
            raise self._useless(cause) from cause

    def _take(self, descriptor: int) -> None:
        """Have the lock, or raise the error that names its holder."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_PAUSE)
            if self._try_to_take(descriptor):
                return
            holder = _read(descriptor)
            if holder is not None and is_alive(holder["pid"]):
                raise self._refused(holder)
        # A holder in another container has a process id that means nothing here.
        raise self._refused(_read(descriptor))

    def _try_to_take(self, descriptor: int) -> bool:
        if fcntl is None:
            if self._place in _held:
                return False
            holder = _read(descriptor)
            return holder is None or holder["pid"] == os.getpid() or not is_alive(holder["pid"])
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _refused(self, holder: dict[str, Any] | None) -> CheckpointError:
        if holder is None:
            return CheckpointError(
                f"another process holds {self.path}, and has not said which one it is.",
                hint="run the same command again when that one has ended.",
            )
        own = self._place in _held
        who = "this process itself" if own else f"process {holder['pid']}"
        doing = f" ({holder['command']})" if holder["command"] else ""
        since = f"{datetime.fromisoformat(holder['started']):%Y-%m-%d %H:%M:%S} UTC"
        return CheckpointError(
            f"{who}{doing} has been working on the same run since {since}; it holds {self.path.name}.",
            hint="wait until it has ended."
            if own
            else f"wait until it has ended, or end it (kill {holder['pid']}), and run the same command again.",
        )

    def _useless(self, cause: OSError) -> CheckpointError:
        return CheckpointError(
            f"{self.path} cannot be locked: {cause.strerror}.",
            hint="check who may write there and that there is space, or use --home with a folder on a local disk.",
        )


def is_alive(pid: int) -> bool:
    """Whether a process with this id is there; one that belongs to somebody else is."""
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


if sys.platform == "win32":

    def _is_alive_on_windows(pid: int) -> bool:
        """There signal 0 is Ctrl-C, and asking has to be done otherwise."""
        import ctypes

        query, access_denied, still_active = 0x1000, 5, 259
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        process = kernel.OpenProcess(query, False, pid)
        if not process:
            return ctypes.get_last_error() == access_denied
        try:
            code = ctypes.c_ulong()
            return bool(kernel.GetExitCodeProcess(process, ctypes.byref(code))) and code.value == still_active
        finally:
            kernel.CloseHandle(process)


def _write(descriptor: int, content: bytes) -> None:
    """Instead of what a dead holder has left; never empty in between."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _read(descriptor: int) -> dict[str, Any] | None:
    """What the holder has written; None where there is nothing yet, or a part of it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        content = json.loads(os.read(descriptor, 1 << 16))
        datetime.fromisoformat(content["started"])
        return {"pid": int(content["pid"]), "started": content["started"], "command": str(content["command"])}
    except (ValueError, TypeError, KeyError):
        return None
