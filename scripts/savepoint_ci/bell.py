"""How the end of a job reaches the process that holds its server: a byte in a named pipe, which no other process can have."""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Bell"]


class Bell:
    """A bell in the folder of a job's state; without named pipes nobody rings it.

    :param folder: where the pipe `end` is made.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe: int | None = None
        if sys.platform != "win32":
            with suppress(OSError):  # not every file system has named pipes
                path = folder / "end"
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
                # Also for writing: otherwise it would read as ended whenever nobody rings.
                self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def rings_within(self, seconds: float) -> bool:
        """Wait until somebody rings, or so long."""
        if self._pipe is None:
            time.sleep(seconds)
            return False
        return bool(select.select([self._pipe], [], [], seconds)[0])
