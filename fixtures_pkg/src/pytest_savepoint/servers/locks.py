"""File locks that the kernel drops when their holder dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["FileLock"]

_PAUSE = 0.02


class FileLock:
    """An advisory lock on a file that is made when missing; shared or exclusive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, *, shared: bool = False, timeout: float = 0.0) -> bool:
        """Take the lock; False when others held it for all of `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self._try(shared=shared):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def _try(self, *, shared: bool) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # `clean` removed the folder between the two lines
            return False
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        # `clean` removes lock files while it holds them: a lock on a file that has no name any more excludes nobody.
        if os.fstat(file).st_nlink == 0:
            os.close(file)
            return False
        self._file = file
        return True

    def remove(self) -> None:
        """Remove the file of a lock that is held exclusively; whoever waits for it makes a new one."""
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
